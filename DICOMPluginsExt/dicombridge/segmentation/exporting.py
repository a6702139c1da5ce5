"""From nodes to files: the export half of the kind."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.errors import ExportError
from dicombridge.geometry import same_grid
from dicombridge.hierarchy import attributes_of_node
from dicombridge.references import Reference
from dicombridge.segmentation.arrays import NodeLabels, image_array, label_images, own_grid, to_grid
from dicombridge.segmentation.frames import Frame, binary_frames, dimension_modules, functional_groups, shared_groups
from dicombridge.segmentation.frames import slices_by_label as find_slices
from dicombridge.segmentation.header import Identity, new_header, set_references, split_options
from dicombridge.segmentation.nodes import (
    BACKGROUND_ATTRIBUTE,
    FRACTION_ROLE,
    SEGMENT_ID_ATTRIBUTE,
    TYPE_ATTRIBUTE,
    remembered_number,
    remembered_sources,
    segment_of_node,
    volume_geometry,
)
from dicombridge.segmentation.segments import Segment, segment_item
from dicombridge.segmentation.source import Source, find_source
from dicombridge.segmentation.writing import Pixels, remove_quietly, transfer_syntax, write_file
from dicombridge.shadow import dataset_from_text, remembered

if TYPE_CHECKING:
    from highdicom import VolumeGeometry
    from numpy.typing import NDArray

    from dicombridge.database import Database
    from dicombridge.geometry import SlantedGrid

    Grid = VolumeGeometry | SlantedGrid

__all__ = ["export"]

_log = logging.getLogger(__name__)

OWN_OPTIONS = ("segmentation_type", "compression", "source", "grid", "fractional_type")
TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")
"""Options of :func:`export` that are not DICOM keywords."""


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Callable[[float, str], None] | None = None,
    **options: Any,
) -> list[Path]:
    """Write segmentation nodes as DICOM segmentations, one file a node.

    Parameters
    ----------
    nodes
        ``vtkMRMLSegmentationNode``, and ``vtkMRMLScalarVolumeNode`` of fractions (0 to 1). Volumes of a segmentation
        that is among the nodes, or that names them, become its FRACTIONAL frames; others become an object of their own.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where the source images are looked up; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    segmentation_type : {"BINARY", "LABELMAP", "FRACTIONAL"}
        As the node was loaded, or BINARY. The keyword ``SegmentationType`` means the same.
    compression : {None, "deflate", "rle", "jpeg-ls", "jpeg-2000", "deflate-frames"}
        Lossless, or the UID of a transfer syntax. BINARY knows deflate, rle and deflate-frames.
    source
        A Series Instance UID of the database, paths of image files or a folder, or a volume node; found from the node
        where it is not given. Without any source, the object has a frame of reference of its own.
    grid : {"source", "own"}
        Voxels of the source images (the default where they are known), or of the segmentation.
    fractional_type : {"PROBABILITY", "OCCUPANCY"}
        As the node was loaded, or PROBABILITY.
    **options
        Attributes of the new object by DICOM keyword; the last word over whatever else would be written.

    Returns
    -------
    list of Path

    Raises
    ------
    ExportError
        The nodes cannot be written as asked; nothing was written.
    """
    own, keywords = split_options(options, OWN_OPTIONS)
    if keywords.get("SegmentationType"):
        own.setdefault("segmentation_type", keywords["SegmentationType"])
    keywords.pop("SegmentationType", None)
    jobs = _jobs(nodes)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{directory}: cannot be made: {error.strerror}.") from error
    written: list[tuple[Path, Path]] = []
    try:
        for number, (node, volumes) in enumerate(jobs):
            tell = _part(progress, number, len(jobs))
            values = _values(node, volumes, database, own)
            name = f"SEG_{values.dataset(keywords).SOPInstanceUID}.dcm"
            partial = directory / f".{name}.part"
            written.append((partial, directory / name))
            values.write(partial, tell)
        for partial, path in written:
            os.replace(partial, path)
    except BaseException:
        for partial, path in written:
            remove_quietly(partial)
            remove_quietly(path)
        raise
    return [path for _, path in written]


def _part(
    progress: Callable[[float, str], None] | None, number: int, count: int
) -> Callable[[float, str], None] | None:
    if progress is None:
        return None
    tell = progress
    return lambda fraction, message: tell((number + fraction) / count, message)


def _jobs(nodes: Sequence[Any]) -> list[tuple[Any, list[Any]]]:
    """Return (main node, fraction volumes) for each object to be written."""
    segmentations = [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]
    volumes = [node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode")]
    strangers = [node for node in nodes if node not in segmentations and node not in volumes]
    if strangers:
        raise ExportError(f"A {strangers[0].GetClassName()} cannot be exported as a segmentation.")
    jobs: list[tuple[Any, list[Any]]] = []
    for node in segmentations:
        named = [
            node.GetNthNodeReference(FRACTION_ROLE, number)
            for number in range(node.GetNumberOfNodeReferences(FRACTION_ROLE))
        ]
        jobs.append((node, [volume for volume in named if volume is not None]))
    claimed = {volume.GetID() for _, of_node in jobs for volume in of_node}
    free = [volume for volume in volumes if volume.GetID() not in claimed]
    if free and len(segmentations) == 1:
        jobs[0][1].extend(free)
    elif free:
        jobs.append((free[0], free))
    return jobs


@dataclass
class _Values:
    """A segmentation as plain values, ready to be written."""

    kind: str
    segments: list[Segment]
    grid: Grid
    arrays: dict[int, tuple[NDArray[Any], int]]
    fractions: dict[int, NDArray[Any]]
    frames: list[Frame]
    source: Source
    sources_by_slice: Mapping[int, list[tuple[str, str, int]]]
    background: Segment | None
    identity: Identity
    kept: Dataset | None
    attributes: Mapping[str, Any]
    transfer_syntax_uid: str
    warnings: list[str]

    _dataset: Dataset | None = None

    def dataset(self, keywords: Mapping[str, Any]) -> Dataset:
        """Return the header of the new object."""
        dataset = new_header(self.identity, self.source, self.kept, self.attributes, keywords)
        bits = _bits(self.kind, self.segments)
        dataset.NumberOfFrames = len(self.frames)
        _, dataset.Rows, dataset.Columns = (int(size) for size in self.grid.spatial_shape)
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit = bits - 1
        items = []
        if self.kind == "LABELMAP":
            dataset.PixelPaddingValue = 0
            background = self.background or _plain_background()
            items.append(segment_item(replace(background, number=0))[0])
        for segment in self.segments:
            item, warnings = segment_item(segment)
            items.append(item)
            self.warnings.extend(warnings)
        dataset.SegmentSequence = items
        set_references(dataset, _references(self.source, self.sources_by_slice), dataset.StudyInstanceUID)
        dimension_modules(dataset, by_segment=self.kind != "LABELMAP")
        dataset.SharedFunctionalGroupsSequence = [shared_groups(self.grid)]
        self._dataset = dataset
        return dataset

    def write(self, path: Path, progress: Callable[[float, str], None] | None) -> None:
        """Write the object whose header was made last."""
        if self._dataset is None:
            raise ExportError("The header was not made.")
        by_segment = self.kind != "LABELMAP"
        groups = functional_groups(self.frames, self.grid, self.sources_by_slice, by_segment)
        _, rows, columns = (int(size) for size in self.grid.spatial_shape)
        pixels = Pixels(self._pixels(), len(self.frames), rows, columns, _bits(self.kind, self.segments))
        write_file(path, self._dataset, groups, pixels, self.transfer_syntax_uid, progress)
        for warning in dict.fromkeys(self.warnings):
            _log.warning("%s", warning)

    def _pixels(self) -> Iterator[NDArray[Any]]:
        if self.kind == "BINARY":
            return binary_frames(self.frames, self.arrays)
        if self.kind == "LABELMAP":
            return self._label_frames()
        return self._fraction_frames()

    def _label_frames(self) -> Iterator[NDArray[Any]]:
        dtype = np.uint8 if _bits(self.kind, self.segments) == 8 else np.uint16
        _, rows, columns = (int(size) for size in self.grid.spatial_shape)
        tables = _label_tables(self.arrays, dtype)
        for frame in self.frames:
            image = np.zeros((rows, columns), dtype)
            for array, table in tables:
                labels = table[array[frame.place]]
                if ((image != 0) & (labels != 0)).any():
                    raise ExportError(
                        "Segments overlap, which a LABELMAP segmentation cannot hold; export as BINARY instead."
                    )
                image |= labels
            yield image

    def _fraction_frames(self) -> Iterator[NDArray[np.uint8]]:
        for frame in self.frames:
            if frame.segment in self.fractions:
                yield _quantised(self.fractions[frame.segment][frame.place])
            else:
                array, label = self.arrays[frame.segment]
                yield (array[frame.place] == label).astype(np.uint8) * np.uint8(255)


def _quantised(fractions: NDArray[Any]) -> NDArray[np.uint8]:
    scaled = np.rint(np.clip(np.nan_to_num(fractions), 0.0, 1.0) * 255)
    return scaled.astype(np.uint8)


def _label_tables(
    arrays: Mapping[int, tuple[NDArray[Any], int]], dtype: Any
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return each distinct layer with a table from its labels to segment numbers."""
    layers: dict[int, tuple[NDArray[Any], dict[int, int]]] = {}
    for number, (array, label) in arrays.items():
        layers.setdefault(id(array), (array, {}))[1][label] = number
    tables = []
    for array, numbers in layers.values():
        largest = max(int(array.max(initial=0)), *numbers, 0)
        table = np.zeros(largest + 1, dtype)
        for label, number in numbers.items():
            table[label] = number
        tables.append((array, table))
    return tables


def _bits(kind: str, segments: Sequence[Segment]) -> int:
    if kind == "BINARY":
        return 1
    if kind == "FRACTIONAL":
        return 8
    return 8 if max((segment.number for segment in segments), default=0) <= 255 else 16


def _plain_background() -> Segment:
    from pydicom.sr.coding import Code

    from dicombridge.codes import Terminology

    # 91723000: highdicom and dcmqi code the category of background likewise.
    code = Code("125040", "DCM", "Background")
    category = Code("309825002", "SCT", "Spatial and Relational Concept")
    return Segment(0, "Background", terminology=Terminology(category=category, type=code), algorithm_type="MANUAL")


def _values(node: Any, volumes: list[Any], database: Database | None, own: Mapping[str, Any]) -> _Values:
    is_segmentation = bool(node.IsA("vtkMRMLSegmentationNode"))
    if is_segmentation and not node.GetSegmentation().GetNumberOfSegments():
        raise ExportError(f"The segmentation {node.GetName()!r} has no segments.")
    kind = _type(node, volumes, own)
    source = find_source(node, database, own.get("source"))
    warnings = list(source.warnings)
    numbers, segments = _segments(node, volumes, kind)
    target = source.grid.geometry if source.grid is not None and own.get("grid", "source") == "source" else None
    fraction_grid = _fraction_grid(volumes, kind)
    if fraction_grid is not None:
        target = fraction_grid
    arrays: dict[int, tuple[NDArray[Any], int]] = {}
    grid: Any = target
    if is_segmentation:
        labels = _labels(node, target, source)
        grid = labels.grid
        warnings.extend(labels.warnings)
        for array, by_id in labels.layers:
            arrays.update({numbers[segment_id]: (array, label) for segment_id, label in by_id.items()})
    fractions = _fractions(volumes, numbers) if kind == "FRACTIONAL" else {}
    syntax = transfer_syntax(own.get("compression"), _bits(kind, segments))
    kept = remembered(node)
    frames, overlap = _frames(kind, segments, arrays, fractions, grid, source)
    background_text = node.GetAttribute(BACKGROUND_ATTRIBUTE)
    background = None
    if background_text and dataset_from_text(background_text) is not None:
        background = replace(_plain_background(), shadow=background_text)
    fractional_type = own.get("fractional_type") or _kept_fractional_type(volumes, kept)
    if fractional_type.upper() not in ("PROBABILITY", "OCCUPANCY"):
        raise ExportError(f"fractional_type is PROBABILITY or OCCUPANCY, not {fractional_type!r}.")
    identity = Identity(
        kind, fractional_type.upper(), overlap, _frame_of_reference(source, kept, node), str(node.GetName() or "")
    )
    return _Values(
        kind=kind,
        segments=segments,
        grid=grid,
        arrays=arrays,
        fractions=fractions,
        frames=frames,
        source=source,
        sources_by_slice=_sources_by_slice(node, source, grid),
        background=background,
        identity=identity,
        kept=kept,
        attributes=attributes_of_node(node.GetScene(), node) if node.GetScene() is not None else {},
        transfer_syntax_uid=syntax,
        warnings=warnings,
    )


def _type(node: Any, volumes: Sequence[Any], own: Mapping[str, Any]) -> str:
    given = own.get("segmentation_type")
    if given:
        kind = str(given).strip().upper()
        if kind not in TYPES:
            raise ExportError(f"segmentation_type is one of {', '.join(TYPES)}, not {given!r}.")
        return kind
    if not node.IsA("vtkMRMLSegmentationNode"):
        return "FRACTIONAL"
    kept = node.GetAttribute(TYPE_ATTRIBUTE)
    if kept == "FRACTIONAL":
        return "FRACTIONAL" if volumes else "BINARY"
    return kept if kept in TYPES else "BINARY"


def _kept_fractional_type(volumes: Sequence[Any], kept: Dataset | None) -> str:
    for volume in volumes:
        attribute = volume.GetAttribute("DICOMBridge.SegmentationFractionalType")
        if attribute:
            return str(attribute)
    return str((kept.get("SegmentationFractionalType") if kept is not None else None) or "PROBABILITY")


def _segments(node: Any, volumes: Sequence[Any], kind: str) -> tuple[dict[str, int], list[Segment]]:
    """Return segment numbers by segment ID, and the descriptions.

    A label map keeps the numbers that its segments had. In the other types numbers have to run from 1 without holes
    (PS3.3 C.8.20.2), so they are given anew; a segment's identity is its Tracking UID.
    """
    if not node.IsA("vtkMRMLSegmentationNode"):
        numbers = {volume.GetID(): number for number, volume in enumerate(volumes, start=1)}
        segments = [Segment(numbers[volume.GetID()], volume.GetName() or "Fraction") for volume in volumes]
        return numbers, segments
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
    kept = [remembered_number(segmentation.GetSegment(segment_id)) for segment_id in ids]
    if kind == "LABELMAP":
        given = _label_map_numbers(kept)
    else:
        positions = list(range(1, len(ids) + 1))
        given = (
            [number for number in kept if number is not None] if sorted(filter(None, kept)) == positions else positions
        )
    numbers = dict(zip(ids, given, strict=True))
    segments = [segment_of_node(segmentation.GetSegment(segment_id), numbers[segment_id]) for segment_id in ids]
    return numbers, sorted(segments, key=lambda segment: segment.number)


def _label_map_numbers(kept: Sequence[int | None]) -> list[int]:
    taken: set[int] = set()
    numbers: list[int | None] = []
    for number in kept:
        usable = number is not None and 0 < number <= 65535 and number not in taken
        numbers.append(number if usable else None)
        if usable and number is not None:
            taken.add(number)
    free = (number for number in range(1, 65536) if number not in taken)
    try:
        return [next(free) if number is None else number for number in numbers]
    except StopIteration:
        raise ExportError("A segmentation can have 65535 segments at the most.") from None


def _labels(node: Any, target: Grid | None, source: Source) -> NodeLabels:
    fallback = target
    if fallback is None and source.volume is not None and source.volume.GetImageData() is not None:
        fallback = volume_geometry(source.volume)
    layers = label_images(node, fallback)
    if target is not None:
        return to_grid(layers, target)
    own = own_grid(layers)
    if own is None:
        own = fallback
    if own is None:
        raise ExportError(
            f"The segmentation {node.GetName()!r} is empty and has no reference geometry, so there is no grid to write it on; "
            "give a source."
        )
    return to_grid(layers, own)


def _fraction_grid(volumes: Sequence[Any], kind: str) -> Grid | None:
    if kind != "FRACTIONAL" or not volumes:
        return None
    grids = [volume_geometry(volume) for volume in volumes]
    if not all(same_grid(grids[0], grid) for grid in grids[1:]):
        raise ExportError("The volumes of fractions lie on different grids; resample them to one first.")
    if any(volume.GetParentTransformNode() is not None for volume in volumes):
        raise ExportError("A volume of fractions is under a transform; harden the transform first.")
    return grids[0]


def _fractions(volumes: Sequence[Any], numbers: Mapping[str, int]) -> dict[int, NDArray[Any]]:
    fractions: dict[int, NDArray[Any]] = {}
    for volume in volumes:
        segment_id = volume.GetAttribute(SEGMENT_ID_ATTRIBUTE) or volume.GetID()
        number = numbers.get(segment_id, numbers.get(volume.GetID()))
        if number is None:
            raise ExportError(
                f"The volume {volume.GetName()!r} belongs to no segment: set its attribute {SEGMENT_ID_ATTRIBUTE} to a "
                "segment ID."
            )
        array = image_array(volume.GetImageData())
        if array.size and (np.nanmin(array) < -1e-6 or np.nanmax(array) > 1 + 1e-6):
            raise ExportError(
                f"The volume {volume.GetName()!r} has values outside of 0 to 1, so it holds no fractions."
            )
        fractions[number] = array
    return fractions


def _frames(
    kind: str,
    segments: Sequence[Segment],
    arrays: Mapping[int, tuple[NDArray[Any], int]],
    fractions: Mapping[int, NDArray[Any]],
    grid: Grid,
    source: Source,
) -> tuple[list[Frame], str]:
    """Return the frames to write, empty ones left out, and the value of Segments Overlap."""
    slices = int(grid.spatial_shape[0])
    places: dict[int, list[int]] = {}
    by_array: dict[int, dict[int, list[int]]] = {}
    for number, (array, label) in arrays.items():
        if id(array) not in by_array:
            by_array[id(array)] = find_slices(array)
        places[number] = by_array[id(array)].get(label, [])
    for number, array in fractions.items():
        places[number] = np.flatnonzero((array >= 0.5 / 255).any(axis=(1, 2))).tolist()
    wanted = [segment.number for segment in segments]
    if kind == "LABELMAP":
        used = sorted({place for number in wanted for place in places.get(number, [])})
        frames = [Frame(place, 0) for place in _with_frame_of_grid(used, slices, source)]
        return frames, "NO"
    frames = [Frame(place, number) for number in wanted for place in places.get(number, [])]
    used = sorted({frame.place for frame in frames})
    extra = [place for place in _with_frame_of_grid(used, slices, source) if place not in used]
    frames = [Frame(place, wanted[0]) for place in extra] + frames
    frames.sort(key=lambda frame: (wanted.index(frame.segment) if len(wanted) < 64 else frame.segment, frame.place))
    overlap = "NO" if len(by_array) <= 1 and not fractions else "UNDEFINED"
    return frames, overlap


def _with_frame_of_grid(used: list[int], slices: int, source: Source) -> list[int]:
    """Add the slices without which the grid could not be found again from the frames.

    Where there are source images, they tell the grid. Where there are none, the first two slices and the last one do: frames
    are placed by their positions, and two neighbours are needed to see the spacing. They are written empty.
    """
    if source.grid is not None or source.references:
        return used or [0]
    return sorted({*used, 0, min(1, slices - 1), slices - 1})


def _frame_of_reference(source: Source, kept: Dataset | None, node: Any) -> str:
    if source.header is not None and source.header.get("FrameOfReferenceUID"):
        return str(source.header.FrameOfReferenceUID)
    if kept is not None and kept.get("FrameOfReferenceUID"):
        return str(kept.FrameOfReferenceUID)
    for one in (source.volume, node):
        if one is not None and one.GetScene() is not None:
            uid = attributes_of_node(one.GetScene(), one).get("FrameOfReferenceUID")
            if uid:
                return str(uid)
    return str(generate_uid())


def _sources_by_slice(node: Any, source: Source, grid: Grid) -> dict[int, list[tuple[str, str, int]]]:
    """Return (SOP Class UID, SOP Instance UID, frame number) of the source images of each slice."""
    if source.grid is not None:
        if not same_grid(source.grid.geometry, grid, 0.1):
            return {}
        numbers = source.grid.frame_numbers or (0,) * len(source.grid.instance_uids)
        pairs = zip(source.grid.instance_uids, numbers, strict=True)
        return {place: [(source.grid.sop_class_uid, uid, number)] for place, (uid, number) in enumerate(pairs) if uid}
    classes = {reference.sop_instance_uid: reference.sop_class_uid for reference in source.references}
    kept = remembered_sources(node)
    if not kept or max(kept) >= int(grid.spatial_shape[0]):
        return {}
    return {
        place: [(classes[uid], uid, number) for uid, number in pairs if classes.get(uid)]
        for place, pairs in kept.items()
    }


def _references(source: Source, sources_by_slice: Mapping[int, list[tuple[str, str, int]]]) -> list[Reference]:
    """Return the instances that the new object refers to: those of the source images, or those that it came with."""
    if source.grid is not None and source.header is not None:
        study = str(source.header.get("StudyInstanceUID") or "")
        uids = dict.fromkeys(uid for uid in source.grid.instance_uids if uid)
        return [Reference(uid, source.grid.sop_class_uid, source.series_instance_uid, study) for uid in uids]
    named = {uid for pairs in sources_by_slice.values() for _, uid, _ in pairs}
    return [
        reference
        for reference in source.references
        if reference.series_instance_uid or reference.sop_instance_uid in named
    ]
