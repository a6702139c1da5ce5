"""On which images, and on which grid, a node is exported."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.uid import generate_uid

from dicombridge.errors import DicomBridgeError, ExportError
from dicombridge.examination import all_series
from dicombridge.geometry import DIRECTION_TOLERANCE, POSITION_TOLERANCE_MM, volume_geometry
from dicombridge.hierarchy import attributes_of_node
from dicombridge.multiframe import read_header
from dicombridge.references import Reference, references_of, series_of_references
from dicombridge.shadow import remembered
from dicombridge.source_instances import remembered_grid, remembered_sources
from dicombridge.tags import SOP_CLASS_UID

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.geometry import Grid
    from dicombridge.image.series import SourceGrid

__all__ = [
    "SliceSources",
    "SlideImage",
    "Source",
    "find_source",
    "frame_of_reference",
    "instances_to_name",
    "known_attributes",
    "shows",
    "slice_sources",
]

REFERENCE_ROLE = "referenceImageGeometryRef"
_NO_LEVELS = frozenset({"LABEL", "OVERVIEW", "THUMBNAIL", "LOCALIZER"})
"""Image Types of a slide's images that are no levels of its pyramid."""


@dataclass
class Source:
    """The images that a node belongs to.

    Attributes
    ----------
    header
        Dataset of one of the images; None if there are none at hand.
    series_instance_uid
        Of the images.
    grid
        Their grid; None if there are none at hand, or if they form none.
    others
        The other grids of the same series: time points, echoes, stacks apart.
    references
        What the node referred to when it was loaded.
    given
        Whether the caller named the source.
    volume
        The volume node of the reference geometry; also one that is not from DICOM. None if there is none.
    warnings
        Why there is no grid.
    slides
        Whole slide images (levels) of the same series, which have no grid but a total pixel matrix: those that the
        node names first, and last what is no level of the pyramid.
    """

    header: Any = None
    series_instance_uid: str = ""
    grid: SourceGrid | None = None
    others: list[SourceGrid] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    given: bool = False
    volume: Any = None
    warnings: list[str] = field(default_factory=list)
    slides: list[SlideImage] = field(default_factory=list)

    @property
    def is_found(self) -> bool:
        """Whether there are images on whose pixels a node can be written."""
        return self.grid is not None or bool(self.slides)


@dataclass(frozen=True)
class SlideImage:
    """A level of a slide.

    Attributes
    ----------
    header
        Its header, or what a volume node remembers of it.
    path
        Its file; empty where it is not at hand.
    """

    header: Any
    path: str

    @property
    def is_level(self) -> bool:
        """Whether it is a level of the pyramid, not the label or an overview (Image Type, PS3.3 C.8.12.4.1.1)."""
        image_type = self.header.get("ImageType") or ()
        values = [image_type] if isinstance(image_type, str) else image_type
        return not _NO_LEVELS.intersection(str(value).upper() for value in values)


def find_source(node: Any, database: Database | None, source: Any = None) -> Source:
    """Find the source images of a node.

    Parameters
    ----------
    source
        What the caller says: a Series Instance UID of the database, paths of image files or a folder, a volume node, or
        None. Then the reference geometry node is asked, then what the node was loaded with.

    Raises
    ------
    ExportError
        The caller's source cannot be used.
    """
    if source is None:
        source = _registered_volume(node)
    found = Source(volume=node.GetNodeReference(REFERENCE_ROLE))
    header = remembered(node)
    if header is not None:
        named = references_of(header)
        found.references = [reference for reference in named if _is_writable(reference)]
        if len(found.references) < len(named):
            warning = f"{len(named) - len(found.references)} references with invalid UIDs were left out."
            found.warnings.append(warning)
    if source is not None:
        found.given = True
        _use_given(found, source, database)
    elif database is not None:
        _use_database(found, _candidates(node, found), database, found.volume, _instances_in_slices(node))
    if not found.is_found and found.volume is not None:
        _use_volume(found, found.volume)
    if database is not None:
        found.references = [_with_series(reference, database) for reference in found.references]
    _leave_other_frame(found, node)
    return found


def _registered_volume(node: Any) -> Any | None:
    """Return the fixed volume of the registration that a node lies below: it is exported on the images of that."""
    from dicombridge.registration.leading import fixed_volume_above

    return fixed_volume_above(node)


def _leave_other_frame(found: Source, node: Any) -> None:
    """Let go of images that a registration above the node moves: it lies in the registered frame, beside their grid."""
    from dicombridge.registration.leading import frame_led_into

    frame = frame_led_into(node)
    if not frame or found.header is None or found.header.get("FrameOfReferenceUID") == frame:
        return
    found.header = copy(found.header)
    found.header.FrameOfReferenceUID = frame
    found.grid, found.others, found.slides = None, [], []
    found.warnings.append("The images of the frame of reference into which its registration leads are not at hand.")


def _is_writable(reference: Reference) -> bool:
    """Whether all UIDs of a reference are UIDs (PS3.5 9.1); damaged objects have others."""
    uids = (
        reference.sop_instance_uid,
        reference.sop_class_uid,
        reference.series_instance_uid,
        reference.study_instance_uid,
    )
    return all(re.fullmatch(r"[0-9.]{0,64}", uid) for uid in uids)


def _with_series(reference: Reference, database: Database) -> Reference:
    """Return a reference that names its series; many objects name the instance alone."""
    file = database.fileForInstance(reference.sop_instance_uid) if reference.sop_instance_uid else ""
    if not file or (reference.series_instance_uid and reference.sop_class_uid):
        return reference
    series = reference.series_instance_uid or database.seriesForFile(file)
    sop_class = reference.sop_class_uid or database.fileValue(file, SOP_CLASS_UID)
    study = reference.study_instance_uid or database.studyForSeries(series)
    return replace(reference, series_instance_uid=series, sop_class_uid=sop_class, study_instance_uid=study)


def _use_given(found: Source, source: Any, database: Database | None) -> None:
    from dicombridge.database import open_folder

    if hasattr(source, "GetAttribute"):
        found.volume = source
        uids = (source.GetAttribute("DICOM.instanceUIDs") or "").split()
        if uids and database is not None:
            _use_database(found, [Reference(uid) for uid in uids], database, source)
        return
    if isinstance(source, str | Path) and not Path(source).exists():
        if database is None or not database.filesForSeries(str(source)):
            raise ExportError(f"The source {source} is neither a file, a folder nor a series of the database.")
        _use_series(found, str(source), database, None, set())
        return
    paths = [source] if isinstance(source, str | Path) else list(source)
    with open_folder(paths[0]) if len(paths) == 1 else _open_files(paths) as own:
        series = all_series(own)
        wanted = {reference.sop_instance_uid for reference in found.references}
        series.sort(key=lambda uid: -len(wanted.intersection(own.instancesForSeries(uid))))
        for uid in series:
            _use_series(found, uid, own, None, wanted)
            if found.is_found:
                return
    raise ExportError(f"The source {source} holds no image series with a regular grid. {' '.join(found.warnings)}")


def _open_files(paths: Sequence[Any]) -> Any:
    from dicombridge.database import open_files

    return open_files(paths)


def _instances_in_slices(node: Any) -> set[str]:
    """Return the images that the slices of a node were made from: one object may refer to other series as well."""
    return {uid for pairs in remembered_sources(node).values() for uid, _ in pairs}


def _candidates(node: Any, found: Source) -> list[Reference]:
    """Return references to the source images, the most telling ones first."""
    uids: list[str] = []
    if found.volume is not None:
        uids += (found.volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    uids += sorted(_instances_in_slices(node))
    scene = node.GetScene()
    if scene is not None:
        uids += attributes_of_node(scene, node).get("ReferencedInstanceUIDs", [])
    return [Reference(uid) for uid in dict.fromkeys(uids)] + found.references


def _use_database(
    found: Source, references: list[Reference], database: Database, volume: Any, in_slices: Collection[str] = ()
) -> None:
    of_volume = set((volume.GetAttribute("DICOM.instanceUIDs") or "").split()) if volume is not None else set()
    series = series_of_references(references, database)
    # The series of the reference volume is what the user sees the node on; then that of the slices.
    telling = (of_volume, set(in_slices))
    first = sorted(series, key=lambda uid: [-len(one.intersection(series[uid])) for one in telling])
    for uid in first:
        _use_series(found, uid, database, volume, of_volume or set(series[uid]))
        if found.is_found:
            return


def _use_series(found: Source, series_uid: str, database: Database, volume: Any, wanted: set[str]) -> None:
    from dicombridge.geometry import same_grid
    from dicombridge.image.series import series_grids
    from dicombridge.image.volume import FRAME_NUMBERS

    files = [file for file in database.filesForSeries(series_uid) if file]
    if not files:
        return
    try:
        found.header = _first_header(files)
        if "TotalPixelMatrixColumns" in found.header:
            _use_slides(found, series_uid, files, wanted, volume)
            return
        grids = series_grids(files, database)
    except DicomBridgeError as error:
        found.warnings.append(str(error))
        return
    found.series_instance_uid = series_uid
    grids.sort(key=lambda grid: -len(wanted.intersection(grid.instance_uids)))
    if volume is not None and volume.GetImageData() is not None:
        shown = volume_geometry(volume)
        # The time points of a multi-frame image are of one instance and on one grid; the frames tell them apart.
        numbers = set(_numbers(volume, FRAME_NUMBERS))
        grids.sort(key=lambda grid: -len(numbers.intersection(grid.frame_numbers or ())))
        grids.sort(key=lambda grid: not same_grid(grid.geometry, shown, 0.1))
    if grids:
        found.grid, *found.others = grids
    else:
        found.warnings.append(f"The images of series {series_uid} form no regular grid.")


def _first_header(files: Sequence[str]) -> Any:
    """Return the header of the first file that can be read; the others of a slide need none of it."""
    for file in files[:-1]:
        with suppress(DicomBridgeError):
            return read_header(file)
    return read_header(files[-1])


def _use_slides(found: Source, series_uid: str, files: Sequence[str], wanted: set[str], volume: Any) -> None:
    """Use the levels of a slide; each is an instance with a matrix of its own."""
    slides = []
    for file in files:
        try:
            slides.append(SlideImage(read_header(file), file))
        except DicomBridgeError as error:
            found.warnings.append(str(error))
    found.slides = [slide for slide in slides if "TotalPixelMatrixColumns" in slide.header]
    found.slides.sort(key=lambda slide: slide.header.get("SOPInstanceUID") not in wanted)
    found.slides.sort(key=lambda slide: not slide.is_level)
    if volume is not None:  # what the node is seen on, though it may be an overview
        found.slides.sort(key=lambda slide: not shows(volume, slide))
    found.header = found.slides[0].header
    found.series_instance_uid = series_uid


def shows(volume: Any, slide: SlideImage) -> bool:
    """Whether a volume node was loaded from an image of a slide."""
    return str(slide.header.get("SOPInstanceUID")) in (volume.GetAttribute("DICOM.instanceUIDs") or "").split()


def _use_volume(found: Source, volume: Any) -> None:
    """Use what a volume node remembers of its images, where there is no database that has them."""
    from dicombridge.image.series import SourceGrid
    from dicombridge.image.volume import FRAME_NUMBERS, MISSING_SLICES

    header = remembered(volume)
    if header is None or not header.get("SOPClassUID"):
        return
    found.header = header
    found.series_instance_uid = str(header.get("SeriesInstanceUID") or "")
    if "TotalPixelMatrixColumns" in header:
        found.slides = [SlideImage(header, "")]
        return
    if volume.GetImageData() is None:
        return
    geometry = volume_geometry(volume)
    slices = int(geometry.spatial_shape[0])
    uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    numbers = _numbers(volume, FRAME_NUMBERS)
    missing = set(_numbers(volume, MISSING_SLICES))
    if numbers and len(uids) == 1:
        uids = [uids[0] if number else "" for number in numbers]
    else:
        rest = iter(uids)
        uids = ["" if place in missing else next(rest, "") for place in range(len(uids) + len(missing))]
    # Somebody may have cropped or resampled the volume since; then its slices are not those of the images.
    if len(uids) != slices or (int(header.Rows), int(header.Columns)) != tuple(geometry.spatial_shape[1:]):
        return
    found.grid = SourceGrid(geometry, tuple(uids), tuple(numbers) or None, str(header.SOPClassUID), "")


def _numbers(volume: Any, attribute: str) -> list[int]:
    return [int(text) for text in (volume.GetAttribute(attribute) or "").split() if text.isdigit()]


def known_attributes(node: Any, source: Source) -> dict[str, Any]:
    """Return what the subject hierarchy knows of patient and study, by DICOM keyword.

    A node that was made in Slicer has no patient of its own there: it is of the patient of its volume.
    """
    attributes: dict[str, Any] = {}
    for one in (source.volume, node):
        if one is not None and one.GetScene() is not None:
            known = attributes_of_node(one.GetScene(), one)
            attributes.update({keyword: value for keyword, value in known.items() if value})
    return attributes


def frame_of_reference(node: Any, source: Source, kept: Any) -> str:
    """Return the Frame of Reference UID: of a registration above, of the images, else as it was, else a new one."""
    from dicombridge.registration.leading import frame_led_into

    if frame_led_into(node):
        return frame_led_into(node)
    for header in (source.header, kept):
        if header is not None and header.get("FrameOfReferenceUID"):
            return str(header.FrameOfReferenceUID)
    return str(known_attributes(node, source).get("FrameOfReferenceUID") or generate_uid())


@dataclass(frozen=True)
class SliceSources:
    """From which images the slices of a grid were made.

    Attributes
    ----------
    by_slice
        (SOP Class UID, SOP Instance UID, frame number or 0) of the images that lie in each slice.
    preserved
        Whether every pixel of a frame lies where the pixel of the image with the same row and column lies.
    lost
        Number of images that the node came with and that no slice names any more.
    """

    by_slice: dict[int, list[tuple[str, str, int]]]
    preserved: bool
    lost: int = 0


def slice_sources(node: Any, source: Source, grid: Grid) -> SliceSources:
    """Return the images in the slices of a grid: those that the node came with, or those of the source series.

    Slices are found by where they lie, never by their number: a node may have been cropped or moved since.
    """
    classes = {reference.sop_instance_uid: reference.sop_class_uid for reference in source.references}
    of_images: dict[int, list[tuple[str, str, int]]] = {}
    for images in [source.grid, *source.others] if source.grid is not None else []:
        numbers = images.frame_numbers or (0,) * len(images.instance_uids)
        for place, index in _common_slices(images.geometry.affine, len(numbers), grid).items():
            if images.instance_uids[index]:
                pair = (images.sop_class_uid, images.instance_uids[index], numbers[index])
                of_images.setdefault(place, [pair])
        classes.update(dict.fromkeys(images.instance_uids, images.sop_class_uid))
    kept = _kept_sources(node, grid, classes)
    named = {uid for pairs in kept.values() for _, uid, _ in pairs}
    shown = {uid for pairs in of_images.values() for _, uid, _ in pairs}
    if source.given and not named & shown:
        kept = {}  # the caller wants other images than those that it came with
    by_slice = dict(kept)
    for place, pairs in of_images.items():
        if pairs[0][1] not in {uid for _, uid, _ in kept.get(place, ())}:
            by_slice[place] = pairs
    first = source.grid.geometry if source.grid is not None else None
    lost = _instances_in_slices(node) - {uid for pairs in by_slice.values() for _, uid, _ in pairs}
    return SliceSources(by_slice, first is None or _same_pixels(first, grid), len(lost))


def _kept_sources(node: Any, grid: Grid, classes: dict[str, str]) -> dict[int, list[tuple[str, str, int]]]:
    """Return what the node was loaded with, on the slices of a grid; images of unknown class are left out."""
    kept = remembered_sources(node)
    affine = remembered_grid(node)
    if not kept or affine is None:
        return {}
    found = {}
    for place, index in _common_slices(affine, max(kept) + 1, grid).items():
        pairs = [(classes[uid], uid, frame) for uid, frame in kept.get(index, ()) if classes.get(uid)]
        if pairs:
            found[place] = pairs
    return found


def _common_slices(affine: Any, slices: int, grid: Grid) -> dict[int, int]:
    """Return which slices of a grid lie in the plane of which slice of another one."""
    other, own = np.asarray(affine, dtype=float), np.asarray(grid.affine, dtype=float)
    normals = [np.cross(one[:3, 1], one[:3, 2]) for one in (other, own)]
    cosine = float(normals[0] @ normals[1]) / float(np.linalg.norm(normals[0]) * np.linalg.norm(normals[1]))
    if np.sqrt(max(0.0, 1 - cosine**2)) > DIRECTION_TOLERANCE:
        return {}
    places = np.arange(int(grid.spatial_shape[0]))
    points = own[:3, 3] + places[:, None] * own[:3, 0]
    index = (np.linalg.inv(other)[0, :3] @ (points - other[:3, 3]).T).ravel()
    nearest = np.rint(index)
    distance = np.abs(index - nearest) * abs(float(other[:3, 0] @ normals[0])) / float(np.linalg.norm(normals[0]))
    good = (distance <= 5 * POSITION_TOLERANCE_MM) & (nearest >= 0) & (nearest < slices)
    return {int(place): int(nearest[place]) for place in places[good]}


def _same_pixels(images: Grid, grid: Grid) -> bool:
    """Whether the pixels of two grids' slices have the same rows and columns, wherever along the normal they lie."""
    between = np.linalg.inv(np.asarray(images.affine, dtype=float)) @ np.asarray(grid.affine, dtype=float)
    rows_and_columns = [int(size) for size in images.spatial_shape[1:]] == [
        int(size) for size in grid.spatial_shape[1:]
    ]
    same_axes = np.abs(between[1:3, 1:3] - np.eye(2)).max() < 1e-3
    return bool(rows_and_columns and same_axes and np.abs(between[1:3, 3]).max() < 0.1)


def instances_to_name(source: Source, sources: SliceSources) -> tuple[list[Reference], list[str]]:
    """Return all instances that the new object refers to, and warnings about those that it no longer does."""
    found: dict[str, Reference] = {}
    if source.grid is not None and source.header is not None:
        study = str(source.header.get("StudyInstanceUID") or "")
        named = {uid for pairs in sources.by_slice.values() for _, uid, _ in pairs}
        uids = [uid for uid in source.grid.instance_uids if uid]
        uids += [uid for grid in source.others for uid in grid.instance_uids if uid in named]
        for uid in uids:
            found.setdefault(uid, Reference(uid, source.grid.sop_class_uid, source.series_instance_uid, study))
    for slide in source.slides:
        header = slide.header
        uid, sop_class, series, study = (
            str(header.get(keyword) or "")
            for keyword in ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID")
        )
        if any(uid == named for pairs in sources.by_slice.values() for _, named, _ in pairs):
            found[uid] = Reference(uid, sop_class, series, study)
    kept = {one.sop_instance_uid: one for one in source.references if one.sop_instance_uid}
    if source.given and found and not kept.keys() & found.keys():
        warning = f"References to {len(kept)} images were left out: other source images were given."
        return list(found.values()), [warning] if kept else []
    for uid, reference in kept.items():
        if reference.series_instance_uid and reference.sop_class_uid:
            found.setdefault(uid, reference)
    lost = [uid for uid in kept if uid not in found]
    warnings = [f"References to {len(lost)} images without a known series were left out."] if lost else []
    if sources.lost:
        warnings.append(f"{sources.lost} images that the node came with lie in none of its slices any more.")
    return list(found.values()), warnings
