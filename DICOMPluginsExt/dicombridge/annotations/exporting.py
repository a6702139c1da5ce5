"""From nodes to files: the export half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from dicombridge.annotations.contents import GroupOptions, NewGroup, new_group
from dicombridge.annotations.drawn import DRAWN_TYPES, Drawn, drawn_of, merged
from dicombridge.annotations.items import group_item
from dicombridge.annotations.kept import kept_group
from dicombridge.annotations.placement import Plane
from dicombridge.annotations.slides import Slide, find_slide, shown_on
from dicombridge.errors import ExportError
from dicombridge.geometry import volume_geometry
from dicombridge.output.files import Job, write_file, write_together
from dicombridge.output.header import (
    NewObject,
    apply_keywords,
    instance_item,
    new_header,
    record_predecessor,
    set_references,
    split_options,
)
from dicombridge.output.options import code_option
from dicombridge.output.source import Source, frame_of_reference, known_attributes
from dicombridge.progress import Progress, silent
from dicombridge.references import Reference
from dicombridge.registration.leading import frame_led_into
from dicombridge.shadow import remembered
from dicombridge.text import shortened

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["export"]

_log = logging.getLogger(__name__)

MICROSCOPY_BULK_SIMPLE_ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.91.1"
COORDINATES = ("2D", "3D")
OUT_OF_PLANE = 0.5
"""Widths of a pixel that a point may be from the plane of the slide and still be one of its pixels."""
SAME_EDGE = 1e-6
"""Part of half a slice by which a point may be beyond its edge."""
OWN_OPTIONS = (
    "algorithm_name",
    "algorithm_version",
    "category",
    "coordinates",
    "label",
    "measurements",
    "source",
    "type",
)
NOT_OPTIONS = ("AnnotationGroupSequence", "AnnotationCoordinateType", "PixelOriginInterpretation", "Modality")
RENEWED = (
    "AnnotationCoordinateType",
    "AnnotationGroupSequence",
    "ContentDate",
    "ContentTime",
    "PixelOriginInterpretation",
    "ReferencedImageSequence",
)
SPECIMEN = (
    "ContainerIdentifier",
    "IssuerOfTheContainerIdentifierSequence",
    "AlternateContainerIdentifierSequence",
    "ContainerTypeCodeSequence",
    "ContainerDescription",
    "ContainerComponentSequence",
    "SpecimenDescriptionSequence",
)
"""The Specimen module (PS3.3 C.7.6.22), which annotations share with their slide."""


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write models and markups as Microscopy Bulk Simple Annotations (PS3.3 A.86, C.37.1).

    Parameters
    ----------
    nodes
        Models: vertices are points, lines polylines, closed lines and faces polygons; a group for each of these.
        Markups: point lists, lines, curves and closed curves; a group each. Cell arrays of floating point numbers are
        measurements. What was loaded from one object is written to one, and what is new to the first of them; groups
        that were not edited are written as they were. Parent transforms are applied; volumes and tables are left out.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where the slide image is looked up; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    source
        The slide image: a volume node, a Series Instance UID of the database, paths of files or a folder; of several
        levels the largest one. By default that which annotations were loaded with, or drawn on.
    coordinates
        ``"2D"``, columns and rows of the slide image, or ``"3D"``, mm on the slide. By default as they were loaded, for
        new ones 2D where the slide image is known. Shapes that left the plane of the image are written in 3D.
    label, category, type, algorithm_name, algorithm_version
        Of new groups: the label is otherwise the name of the node, property category and type (codes) those of its
        terminology; groups without an algorithm are MANUAL.
    measurements
        Codes by the name of a cell array: ``{"Area": ("42798000^SCT^Area", "um2")}``; also as JSON in the attribute
        ``DICOMBridge.Measurements`` of the node.
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
    coordinates = own.get("coordinates") or None
    if coordinates not in (None, *COORDINATES):
        raise ExportError(f"coordinates={coordinates!r} is not known; there are: {', '.join(COORDINATES)}.")
    of_groups = _group_options(own)
    jobs = [_job(group, database, own.get("source"), coordinates, of_groups, keywords) for group in _objects(nodes)]
    return write_together(directory, jobs, progress)


def _group_options(own: Mapping[str, Any]) -> GroupOptions:
    measurements = own.get("measurements") or {}
    if not isinstance(measurements, Mapping):
        raise ExportError('measurements are codes by the name of an array: {"Area": ("42798000^SCT^Area", "um2")}.')
    return GroupOptions(
        label=str(own.get("label") or ""),
        category=code_option(own.get("category"), "category"),
        type=code_option(own.get("type"), "type"),
        algorithm_name=str(own.get("algorithm_name") or ""),
        algorithm_version=str(own.get("algorithm_version") or ""),
        measurements=measurements,
    )


def _objects(nodes: Sequence[Any]) -> list[list[Any]]:
    """Return the nodes of each object: by the object that they were loaded from, new ones in the first."""
    objects: dict[str, list[Any]] = {}
    new = []
    for node in nodes:
        if node.IsA("vtkMRMLVolumeNode") or node.IsA("vtkMRMLTableNode"):
            continue
        if not node.IsA("vtkMRMLModelNode") and node.GetClassName() not in DRAWN_TYPES:
            raise ExportError(f"A {node.GetClassName()} cannot be exported as annotations of a slide.")
        kept = kept_group(node)
        if kept is None:
            new.append(node)
        else:
            objects.setdefault(kept.object, []).append(node)
    if not objects and not new:
        raise ExportError("There is no model or markups node to export as annotations of a slide.")
    if new:
        objects.setdefault(next(iter(objects), "new"), []).extend(new)
    return list(objects.values())


def _job(
    nodes: Sequence[Any],
    database: Database | None,
    source: Any,
    coordinates: str | None,
    options: GroupOptions,
    keywords: Mapping[str, Any],
) -> Job:
    """Return what prepares one file."""

    def prepare(progress: Progress | None) -> tuple[str, Callable[[Path], None]]:
        tell = progress or silent
        tell(0.0, "Collecting annotations")
        warnings: list[str] = []
        slide = find_slide(nodes[0], kept_group(nodes[0]), database, source)
        drawn = merged([one for node in nodes for one in drawn_of(node, slide.volume, warnings)])
        empty = [one for one in drawn if len(one.starts) < 2]  # of which the standard wants coordinates
        warnings.extend(f"{one.node.GetName()!r} has no shapes and was left out." for one in empty)
        drawn = [one for one in drawn if one not in empty]
        if not drawn:
            names = ", ".join(repr(node.GetName()) for node in nodes)
            raise ExportError(f"There is no shape with a place in {names}.")
        plane = _plane(nodes[0], drawn, slide, coordinates, warnings)
        tell(0.4, f"Describing {len(drawn)} groups")
        dataset = _dataset(nodes[0], _groups(drawn, plane, options, warnings), plane, slide, keywords)
        for warning in dict.fromkeys(warnings):
            _log.warning("%s", warning)

        def write(path: Path) -> None:
            tell(0.8, "Writing")
            write_file(path, dataset)

        return f"ANN_{dataset.SOPInstanceUID}.dcm", write

    return prepare


def _groups(drawn: Sequence[Drawn], plane: Plane | None, options: GroupOptions, warnings: list[str]) -> list[NewGroup]:
    """Return groups in the order of their numbers; those that are new, or double, get the next ones."""
    groups = [new_group(one, plane, options, warnings) for one in drawn]
    groups.sort(key=lambda one: _number(one.item) or 1 << 31)
    taken: set[int] = set()
    uids: set[str] = set()
    for group in groups:
        number = _number(group.item)
        if not number or number in taken:
            group.item.AnnotationGroupNumber = number = max(taken, default=0) + 1
        taken.add(number)
        if str(group.item.AnnotationGroupUID) in uids:  # one group became several, of another type each
            from pydicom.uid import generate_uid

            group.item.AnnotationGroupUID = generate_uid()
        uids.add(str(group.item.AnnotationGroupUID))
    return groups


def _number(item: Dataset) -> int:
    """Return the number of a group, 0 where it has none; damaged ones may have several."""
    value = item.get("AnnotationGroupNumber")
    return value if isinstance(value, int) and value > 0 else 0


def _plane(
    node: Any, drawn: Sequence[Drawn], slide: Slide, coordinates: str | None, warnings: list[str]
) -> Plane | None:
    """Return the plane in whose pixels coordinates are written, None for mm on the slide."""
    kept = kept_group(node)
    wanted = coordinates or (kept.coordinate_type if kept is not None else "2D" if slide.plane is not None else "3D")
    if wanted == "3D":
        return None
    if slide.plane is None:
        raise ExportError("2D coordinates are pixels of a slide image, and none is known; name it with source=.")
    frame, of_slide = frame_led_into(node), slide.plane.matrix.frame_of_reference_uid
    reason = ""
    if frame and of_slide and frame != of_slide:
        reason = "its registration leads into another frame of reference than that of the slide image"
    farthest = max(_distance(one, slide.plane, slide.volume or shown_on(one.node)) for one in drawn)
    if not reason and farthest > OUT_OF_PLANE:
        reason = f"a point is {farthest:.3g} widths of a pixel away from the plane of the slide image"
    if not reason:
        return slide.plane
    if coordinates is None:
        warnings.append(f"{node.GetName()!r}: {reason}; annotations were written in 3D coordinates.")
        return None
    if frame and of_slide and frame != of_slide:
        raise ExportError(f"{node.GetName()!r} cannot be written in 2D coordinates: {reason}.")
    warnings.append(f"{node.GetName()!r}: {reason}; it was projected along the normal.")
    return slide.plane


def _distance(drawn: Drawn, plane: Plane, volume: Any) -> float:
    """Return how far a point is from the plane of the slide, in widths of a pixel.

    A volume of one focal plane is shown as thick as the glass (1 mm): what is drawn anywhere in it is of that plane.
    """
    points = drawn.points
    if drawn.kept is None and volume is not None and volume.GetImageData() is not None and len(points):
        shown = volume_geometry(volume)
        affine = np.asarray(shown.affine, dtype=float)
        across = affine[:3, 0]
        length = float(np.linalg.norm(across))
        apart = np.abs((points - affine[:3, 3]) @ (across / length))
        if int(shown.spatial_shape[0]) == 1 and float(apart.max()) <= length / 2 * (1 + SAME_EDGE):
            points = plane.matrix.to_slide(plane.matrix.to_pixels(points))
    return plane.distance_in_pixels(points)


# --- The dataset -----------------------------------------------------------------------------------------------------


def _dataset(
    node: Any, groups: Sequence[NewGroup], plane: Plane | None, slide: Slide, keywords: Mapping[str, Any]
) -> Dataset:
    kept = remembered(node) if kept_group(node) is not None else None
    source = Source(header=slide.header, volume=slide.volume, references=slide.references, given=slide.given)
    frame = frame_of_reference(node, source, kept) if plane is None else ""
    new = NewObject(MICROSCOPY_BULK_SIMPLE_ANNOTATIONS, "ANN", "Slide annotations", str(node.GetName()), frame)
    dataset = new_header(new, slide.header, kept, known_attributes(node, source), RENEWED)
    _identify(dataset, str(node.GetName()), slide)
    dataset.AnnotationCoordinateType = "3D" if plane is None else "2D"
    if plane is not None:
        dataset.PixelOriginInterpretation = "FRAME" if plane.frame else "VOLUME"
    image = _image_item(plane or slide.plane, slide, kept)
    if image is not None:
        dataset.ReferencedImageSequence = [image]
    dataset.AnnotationGroupSequence = [group_item(group) for group in groups]
    set_references(dataset, slide.references, str(dataset.StudyInstanceUID))
    record_predecessor(dataset, kept)
    apply_keywords(dataset, keywords)
    return dataset


def _identify(dataset: Dataset, name: str, slide: Slide) -> None:
    """Say what the modules of content and specimen demand."""
    if not dataset.get("ContentLabel"):
        dataset.ContentLabel = "SM_ANN"
    if "ContentDescription" not in dataset:
        dataset.ContentDescription = shortened(name, 64)
    if "ContentCreatorName" not in dataset:
        dataset.ContentCreatorName = ""
    for keyword in SPECIMEN:
        if slide.header is not None and keyword not in dataset and keyword in slide.header:
            dataset[keyword] = slide.header[keyword]
    if "Laterality" not in dataset and "SpecimenDescriptionSequence" not in dataset:
        dataset.Laterality = ""  # of a paired body part it must be there, even if nobody knows it (PS3.3 C.7.3.1)


def _image_item(plane: Plane | None, slide: Slide, kept: Dataset | None) -> Dataset | None:
    """Return the item of the image whose pixels are annotated; of 3D ones that which they were made on."""
    if plane is not None:
        item = instance_item(Reference(plane.sop_instance_uid, plane.sop_class_uid))
        if plane.frame:
            item.ReferencedFrameNumber = plane.frame
        return item
    before = list((kept.get("ReferencedImageSequence") if kept is not None else None) or [])
    return before[0] if before and not slide.given else None
