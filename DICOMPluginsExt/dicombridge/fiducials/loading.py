"""From a file to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dicombridge.fiducials.kept import OTHERS_ATTRIBUTE, others_text
from dicombridge.fiducials.nodes import markups_of_set
from dicombridge.fiducials.reading import Fiducials, FiducialSet, read_fiducials
from dicombridge.hierarchy import add_series, attributes_of_dataset
from dicombridge.references import instances_needed
from dicombridge.scene import transaction
from dicombridge.shadow import HEADER_ATTRIBUTE
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Callable[[float, str], None] | None = None,
) -> list[Any]:
    """Load a Spatial Fiducials object into a scene (PS3.3 C.21.2).

    Parameters
    ----------
    loadable
        One file.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where images are looked up, in which fiducials without patient coordinates lie; may be None.
    progress
        Called with a fraction (0 to 1) and a message.

    Returns
    -------
    list of nodes
        For each set a ``vtkMRMLMarkupsFiducialNode`` of its points, whose labels are the identifiers; then a line,
        curve, closed curve or point list for each other fiducial (:mod:`~dicombridge.fiducials.shapes`). Identifiers,
        codes, UIDs and uncertainties are kept in the attribute ``DICOMBridge.Fiducials``. Fiducials whose image is
        missing are not shown, which is logged, but written again on export.

    Raises
    ------
    UnreadableError
        The file is damaged, no Spatial Fiducials object, or has no fiducial with a place.
    MissingReferenceError
        All fiducials lie in images that are not in the database.
    """
    file = loadable.files[0]
    _tell(progress, 0.0, "Reading fiducials")
    with reading(file):
        content = read_fiducials(file, database)
        referenced = instances_needed(content.references, database)
    for warning in content.warnings:
        _log.warning("%s: %s", content.path, warning)
    _tell(progress, 0.5, "Adding markups")
    with transaction(scene):
        pairs: list[tuple[Any, FiducialSet]] = []
        for one in content.sets:
            name = loadable.name if len(content.sets) == 1 else f"{loadable.name} (set {one.number})"
            pairs.extend((node, one) for node in markups_of_set(scene, name, one))
            _tell(progress, 0.5 + 0.4 * one.number / len(content.sets), f"Set {one.number} of {len(content.sets)}")
        # Who asks for the object's main node wants points, where there are any.
        pairs.sort(key=lambda pair: not pair[0].IsA("vtkMRMLMarkupsFiducialNode"))
        for node, one in pairs:
            _remember(scene, node, content, one, referenced)
        nodes = [node for node, _ in pairs]
        others = [(one, [each for each in one.fiducials if each.points is None]) for one in content.sets]
        if any(missing for _, missing in others):
            nodes[0].SetAttribute(OTHERS_ATTRIBUTE, others_text([pair for pair in others if pair[1]]))
        _tell(progress, 1.0, "Loaded")
    return nodes


def _tell(progress: Callable[[float, str], None] | None, fraction: float, message: str) -> None:
    if progress is not None:
        progress(fraction, message)


def _remember(scene: Any, node: Any, content: Fiducials, one: FiducialSet, referenced: list[str]) -> None:
    """Keep on the node what DICOM knew, and put it into the subject hierarchy."""
    uid = str(content.header.get("SOPInstanceUID") or "")
    node.SetAttribute(HEADER_ATTRIBUTE, content.shadow)
    node.SetAttribute("DICOM.instanceUIDs", uid)
    attributes = attributes_of_dataset(content.header)
    attributes["SOPInstanceUIDs"] = [uid]
    attributes["FrameOfReferenceUID"] = one.frame_of_reference_uid
    attributes["ReferencedInstanceUIDs"] = list(one.images) or referenced
    add_series(scene, node, attributes)
