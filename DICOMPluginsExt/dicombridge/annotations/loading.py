"""From a file to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dicombridge.annotations.groups import Annotations
from dicombridge.annotations.nodes import add_nodes
from dicombridge.annotations.reading import read_annotations
from dicombridge.errors import UnreadableError
from dicombridge.hierarchy import add_series, attributes_of_dataset
from dicombridge.progress import Progress, silent
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
    progress: Progress | None = None,
    *,
    most_markups: int = 0,
) -> list[Any]:
    """Load Microscopy Bulk Simple Annotations into a scene (PS3.3 A.86, C.37.1).

    Parameters
    ----------
    loadable
        One file.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where the slide image is looked up, in whose pixels 2D coordinates are; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    most_markups
        Groups of at most so many shapes become markups, which can be edited point by point: a list of points, or a
        line, curve or closed curve a shape. By default all groups are models, which have room for any number.

    Returns
    -------
    list of nodes
        A ``vtkMRMLModelNode`` a group, in slide mm: a vertex a point, a line a polyline, a closed line a polygon,
        rectangle or ellipse (of 32 corners). Its cell arrays are ``Annotation``, the number of the shape in its group,
        ``Group``, that of the group, and one for each measurement, NaN where there is none. Groups that are markups
        come last. Codes, algorithm, coordinates as they are stored and all else is kept
        (:mod:`~dicombridge.annotations.kept`).

    Raises
    ------
    UnreadableError
        The file is damaged or contradicts itself.
    MissingReferenceError
        Coordinates are pixels of a slide image that is not in the database.
    """
    tell = progress or silent
    tell(0.0, "Reading annotations")
    with reading(loadable.files[0]):
        annotations = read_annotations(loadable.files[0], database)
        referenced = instances_needed(annotations.references, database)
    for warning in annotations.warnings:
        _log.warning("%s: %s", annotations.path, warning)
    count = len(annotations.groups)
    with transaction(scene):
        nodes = []
        for place, group in enumerate(annotations.groups):
            tell(0.3 + 0.6 * place / count, f"Group {place + 1} of {count}: {group.count} shapes")
            try:
                nodes += add_nodes(scene, annotations, place, most_markups)
            except ValueError as error:
                raise UnreadableError(annotations.path, f"its annotation group {place + 1} {error}.") from error
        # Who asks for the object's main node wants a model, where there is one.
        nodes.sort(key=lambda node: not node.IsA("vtkMRMLModelNode"))
        tell(0.9, "Describing")
        for node in nodes:
            _remember(scene, node, annotations, referenced)
        tell(1.0, "Loaded")
    return nodes


def _remember(scene: Any, node: Any, annotations: Annotations, referenced: list[str]) -> None:
    """Keep on the node what DICOM knew, and put it into the subject hierarchy."""
    node.SetAttribute(HEADER_ATTRIBUTE, annotations.shadow)
    node.SetAttribute("DICOM.instanceUIDs", annotations.uid)
    attributes = attributes_of_dataset(annotations.header)
    attributes["SOPInstanceUIDs"] = [annotations.uid]
    attributes["ReferencedInstanceUIDs"] = referenced
    if not attributes.get("FrameOfReferenceUID") and annotations.plane is not None:
        attributes["FrameOfReferenceUID"] = annotations.plane.matrix.frame_of_reference_uid
    add_series(scene, node, attributes)
