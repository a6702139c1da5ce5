"""From nodes to files: the export half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicombridge.errors import ExportError
from dicombridge.fiducials.contents import Contents, NewSet, contents_of, remembered_fiducials
from dicombridge.fiducials.items import LONGEST_DS, set_items
from dicombridge.output.files import Job, write_file, write_together
from dicombridge.output.header import (
    NewObject,
    apply_keywords,
    new_header,
    record_predecessor,
    set_references,
    split_options,
)
from dicombridge.part10 import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicombridge.placing import image_reference
from dicombridge.references import Reference
from dicombridge.tags import SOP_CLASS_UID
from dicombridge.text import shortened

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicombridge.database import Database

__all__ = ["export"]

_log = logging.getLogger(__name__)

SPATIAL_FIDUCIALS_STORAGE = "1.2.840.10008.5.1.4.1.1.66.2"
MARKUPS = ("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsLineNode", "vtkMRMLMarkupsCurveNode")
"""Classes that can be written; closed curves are curves too."""
OWN_OPTIONS = ("source", "uncertainty_mm")
NOT_OPTIONS = ("FiducialSetSequence", "FrameOfReferenceUID", "Modality")
RENEWED = ("FiducialSetSequence", "ReferencedSeriesSequence", "StudiesContainingOtherReferencedInstancesSequence")


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Callable[[float, str], None] | None = None,
    **options: Any,
) -> list[Path]:
    """Write markups as Spatial Fiducials objects, in patient coordinates (PS3.3 C.21.2).

    Parameters
    ----------
    nodes
        Lists of points (each a set), lines, curves and closed curves. What was loaded from one object is written to one
        object, and what is new to the first of them. Parent transforms are applied; volumes are passed over.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where the images are looked up; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    source
        The images whose frame of reference the points are in: a Series Instance UID of the database, paths of image
        files or a folder, or a volume node. By default the volume that markups were drawn on; for loaded ones the
        frame of reference that they came with, or the one to which the registration leads that they are under.
    uncertainty_mm
        Contour Uncertainty Radius of fiducials that were made here.
    **options
        Attributes of the new object by DICOM keyword; the last word.

    Returns
    -------
    list of Path

    Raises
    ------
    ExportError
        The nodes cannot be written as asked; nothing was written.
    """
    own, keywords = split_options(options, OWN_OPTIONS, NOT_OPTIONS)
    radius = _radius(own.get("uncertainty_mm"))
    jobs = [_job(group, database, own.get("source"), radius, keywords) for group in _groups(nodes)]
    return write_together(directory, jobs, progress)


def _radius(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        radius = float(value)
    except (TypeError, ValueError):
        radius = -1.0
    if not 0 <= radius <= 1000:
        raise ExportError(f"uncertainty_mm is a length from 0 to 1000 mm, not {value!r}.")
    return radius


def _groups(nodes: Sequence[Any]) -> list[list[Any]]:
    """Return the nodes of each object: by the object that they were loaded from, new ones in the first."""
    groups: dict[str, list[Any]] = {}
    new = []
    for node in nodes:
        if node.IsA("vtkMRMLVolumeNode"):
            continue
        if not any(node.IsA(name) for name in MARKUPS):
            raise ExportError(f"A {node.GetClassName()} cannot be exported as spatial fiducials.")
        kept = remembered_fiducials([node])
        if kept is None:
            new.append(node)
        else:
            groups.setdefault(str(kept.get("SOPInstanceUID") or ""), []).append(node)
    if not groups and not new:
        raise ExportError("There is no markups node to export as spatial fiducials.")
    if new:
        groups.setdefault(next(iter(groups), "new"), []).extend(new)
    return list(groups.values())


def _job(
    group: Sequence[Any],
    database: Database | None,
    source: Any,
    radius_mm: float | None,
    keywords: Mapping[str, Any],
) -> Job:
    """Return what prepares one file."""

    def prepare(tell: Callable[[float, str], None] | None) -> tuple[str, Callable[[Path], None]]:
        _tell(tell, 0.0, "Collecting fiducials")
        contents = contents_of(group, database, source)
        _tell(tell, 0.5, "Describing fiducials")
        dataset = _dataset(contents, database, radius_mm, keywords)
        for warning in dict.fromkeys(contents.warnings):
            _log.warning("%s", warning)

        def write(path: Path) -> None:
            _tell(tell, 0.9, "Writing")
            write_file(path, dataset, _transfer_syntax(dataset))

        return f"FID_{dataset.SOPInstanceUID}.dcm", write

    return prepare


def _tell(progress: Callable[[float, str], None] | None, fraction: float, message: str) -> None:
    if progress is not None:
        progress(fraction, message)


def _transfer_syntax(dataset: Dataset) -> str:
    """Return explicit VR, or implicit VR where a surface has more coordinates than explicit VR has room for."""
    for one in dataset.FiducialSetSequence:
        for item in one.FiducialSequence:
            # At most 16 characters and a backslash a coordinate.
            if 3 * int(item.get("NumberOfContourPoints") or 0) * 17 > LONGEST_DS:
                return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_LITTLE_ENDIAN


def _dataset(
    contents: Contents, database: Database | None, radius_mm: float | None, keywords: Mapping[str, Any]
) -> Dataset:
    new = NewObject(SPATIAL_FIDUCIALS_STORAGE, "FID", "Spatial fiducials", contents.name)
    dataset = new_header(new, contents.source.header, contents.kept, contents.attributes, RENEWED)
    if not dataset.get("ContentLabel"):
        dataset.ContentLabel = "FIDUCIALS"
    if "ContentDescription" not in dataset:
        dataset.ContentDescription = shortened(contents.name, 64)
    if "Laterality" not in dataset:
        dataset.Laterality = ""  # of a paired body part it must be there, even if nobody knows it (PS3.3 C.7.3.1)
    items = []
    for one in contents.sets:
        items += set_items(one, _images(one), radius_mm, contents.warnings)
    dataset.FiducialSetSequence = items
    set_references(dataset, _references(dataset, contents, database), str(dataset.StudyInstanceUID))
    record_predecessor(dataset, contents.kept)
    apply_keywords(dataset, keywords)
    return dataset


def _images(one: NewSet) -> list[tuple[str, str]]:
    """Return class and UID of the images that a new set is in, where they have its frame of reference."""
    grid, header = one.source.grid, one.source.header
    if grid is None or header is None or header.get("FrameOfReferenceUID") != one.frame_of_reference_uid:
        return []
    return [(grid.sop_class_uid, uid) for uid in dict.fromkeys(grid.instance_uids) if uid]


def _references(dataset: Dataset, contents: Contents, database: Database | None) -> list[Reference]:
    """Return all images that the sets name, with their series."""
    known = {
        reference.sop_instance_uid: reference
        for one in contents.sets
        for reference in one.source.references
        if reference.series_instance_uid
    }
    found: dict[str, Reference] = {}
    for sop_class, uid in _named(dataset):
        if uid and uid not in found:
            found[uid] = known.get(uid) or _looked_up(sop_class, uid, contents, database)
    return list(found.values())


def _named(dataset: Dataset) -> list[tuple[str, str]]:
    images = []
    for one in dataset.FiducialSetSequence:
        images += list(one.get("ReferencedImageSequence") or ())
        for item in one.FiducialSequence:
            for part in item.get("GraphicCoordinatesDataSequence") or ():
                images += list(part.get("ReferencedImageSequence") or ())
    return [image_reference(image)[:2] for image in images]


def _looked_up(sop_class: str, uid: str, contents: Contents, database: Database | None) -> Reference:
    file = database.fileForInstance(uid) if database is not None else ""
    if file and database is not None:
        series = database.seriesForFile(file)
        sop_class = sop_class or database.fileValue(file, SOP_CLASS_UID)
        return Reference(uid, sop_class, series, database.studyForSeries(series))
    for one in contents.sets:
        if one.source.grid is not None and uid in one.source.grid.instance_uids:
            return Reference(uid, sop_class, one.source.series_instance_uid)
    return Reference(uid, sop_class)
