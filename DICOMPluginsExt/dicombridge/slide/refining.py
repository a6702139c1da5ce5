"""From a coarse image of a slide to the pixels of a part of it: where a markup points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import GeometryError, MissingReferenceError, UnreadableError
from dicombridge.geometry import lps_ras_points
from dicombridge.hierarchy import attributes_of_node
from dicombridge.loadable import Loadable
from dicombridge.progress import Progress
from dicombridge.scene import default_database, transaction
from dicombridge.slide.choice import Region, Wish, checked_level, checked_region
from dicombridge.slide.loading import load_wished
from dicombridge.slide.volume import OPTICAL_PATH
from dicombridge.tolerance import naming, quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["refine"]


@quiet()
def refine(
    node: Any,
    roi: Any,
    database: Database | None = None,
    progress: Progress | None = None,
    *,
    files: Sequence[str] | None = None,
    level: int | None = None,
    icc: bool = False,
) -> list[Any]:
    """Load the best level of the part of a slide that a markup encloses, as new nodes beside a coarser one.

    Parameters
    ----------
    node
        Volume that was loaded from the slide: overview, or a level. Its parent transform becomes that of the new nodes.
    roi
        Markup: a region of interest, a plane, a closed curve; its bounding box (RAS, upright) counts.
    database
        Where the slide's files are; inside Slicer, its own database is the default.
    progress
        Called with a fraction (0 to 1) and a message.
    files
        The slide's files, where there is no database.
    level
        As of :func:`~dicombridge.slide.loading.load`; by default the largest one of which the part fits.
    icc
        Whether the ICC profile is applied.

    Returns
    -------
    list of vtkMRMLVectorVolumeNode or vtkMRMLScalarVolumeNode

    Raises
    ------
    MissingReferenceError
        The slide's files are not known.
    GeometryError
        The markup has no extent, or lies outside of the slide.
    """
    scene = node.GetScene()
    database = default_database() if database is None else database
    found = list(files) if files is not None else _files_of(node, database)
    # The coarser image may be of another optical path than the levels have.
    path = node.GetAttribute(OPTICAL_PATH) or None
    wish = Wish(region=checked_region(_region_of(node, roi)), optical_path=path, prefers=True, icc=icc)
    with transaction(scene), naming(found):
        loadable = Loadable(files=found, name="", kind="SLIDE")
        nodes = load_wished(loadable, scene, wish, checked_level(level), progress, roi.GetName() or "")
        for new in nodes:
            new.SetAttribute("DICOMBridge.Kind", "SLIDE")
            new.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    return nodes


def _files_of(node: Any, database: Database | None) -> list[str]:
    """Return the files of the series that a node was loaded from."""
    if database is None:
        raise MissingReferenceError(f"{node.GetName()}: to refine it, give the database or the files of its slide.")
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    if not uids:
        raise UnreadableError(node.GetName(), "was not loaded from a slide.")
    series = attributes_of_node(node.GetScene(), node).get("SeriesInstanceUID") or ""
    for uid in uids:
        file = database.fileForInstance(uid)
        if file:
            series = database.seriesForFile(file)
    files = [file for file in database.filesForSeries(series) if file] if series else []
    if not files:
        raise MissingReferenceError(f"{node.GetName()}: the files of its slide are not in the database.")
    return files


def _region_of(node: Any, roi: Any) -> Region:
    """Return the bounding box of a markup in mm of the slide, as the volume lies in the scene."""
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    bounds = [0.0] * 6
    roi.GetRASBounds(bounds)
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    if not (np.isfinite(bounds).all() and (high[:2] > low[:2]).all()):
        raise GeometryError(f"{roi.GetName()}: encloses nothing, so there is no part of the slide to load.")
    corners = np.array(list(product(*zip(low, high, strict=True))))
    parent = node.GetParentTransformNode()
    if parent is not None:
        to_local = vtkGeneralTransform()
        parent.GetTransformFromWorld(to_local)
        corners = np.array([to_local.TransformPoint(*corner) for corner in corners])
    slide = lps_ras_points(corners)
    (x, y), (right, down) = slide[:, :2].min(axis=0), slide[:, :2].max(axis=0)
    return float(x), float(y), float(right - x), float(down - y)
