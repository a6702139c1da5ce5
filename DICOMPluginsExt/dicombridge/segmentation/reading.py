"""A DICOM segmentation as plain values: segments, grids and label layers (PS3.3 A.51, C.8.20).

No VTK here: the arrays to paint into are given by the caller, so that they can be memory of a MRML node from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import DicomBridgeError, UnreadableError, UnsupportedError
from dicombridge.multiframe import MultiFrame, open_multiframe
from dicombridge.progress import Progress
from dicombridge.references import Reference, references_of_file, series_of_references
from dicombridge.segmentation.planes import FrameStack, concatenated, frame_planes, place_stacks, source_uids
from dicombridge.segmentation.segments import SEGMENT_SEQUENCE, Segment, is_background, segments_of_file
from dicombridge.segmentation.selecting import chosen_frames
from dicombridge.segmentation.tiles import Region, channels, is_tiled, place_tiles, tile_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database
    from dicombridge.image.series import SourceGrid

__all__ = ["SegmentationFile", "iterate_frames", "open_segmentation"]

SEGMENT_NUMBER = (0x0062000A, 0, 0x0062000B)
LARGEST_VOLUME = 2**33
"""Voxels of the largest grid that is allocated: 8 GiB of labels, far beyond any scanner's volume."""

GridsOf = Callable[[Sequence[Reference]], "list[SourceGrid]"]


@dataclass
class SegmentationFile:
    """An open segmentation.

    Attributes
    ----------
    path
        Of its first file.
    header
        Dataset of its first file, without frames.
    segmentation_type
        BINARY, FRACTIONAL or LABELMAP.
    parts
        Its files; several make a concatenation (PS3.3 C.7.6.16.2.2.4). Frames are counted through all of them.
    segment_numbers
        Segment of each frame; -1 in label maps, whose pixels say it.
    segments
        In the order of the Segment Sequence; frames' segments that are not described are added.
    backgrounds
        Pixel values of a label map that are no segment.
    background_segment
        The segment that describes the background, None where there is none.
    stacks
        Frames by grid. More than one where orientations or spacings differ.
    source_frames
        For each stack, for each slice, the (SOP Instance UID, frame number or 0) of the slice's source images.
    references
        All that it refers to.
    warnings
        What is doubtful.
    shadow
        Header of its first file as it was encoded (:mod:`dicombridge.shadow`), without segments and frames.
    """

    path: str
    header: Any
    shadow: str
    segmentation_type: str
    parts: list[MultiFrame]
    segment_numbers: NDArray[np.int64]
    segments: list[Segment]
    backgrounds: frozenset[int]
    background_segment: Segment | None
    stacks: list[FrameStack] = field(default_factory=list)
    source_frames: list[dict[int, list[tuple[str, int]]]] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def maximum_fractional_value(self) -> int:
        """Value that stands for 1 (PS3.3 C.8.20.2.3)."""
        value = self.header.get("MaximumFractionalValue")
        try:
            return int(value) if value else 255
        except (TypeError, ValueError):
            return 255


def open_segmentation(
    files: Sequence[str],
    database: Database | None,
    stack: ExitStack,
    more_grids: GridsOf | None = None,
    region: Region | None = None,
) -> SegmentationFile:
    """Open the files of one segmentation object and find out where its frames lie.

    Parameters
    ----------
    files
        One file, or all files of a concatenation.
    database
        Where source images are looked up; may be None.
    stack
        Keeps the files open.
    more_grids
        Returns further grids of source images, for references; asked after the database.
    region
        Part of a slide, in its mm; tiles beside it are left out.

    Raises
    ------
    UnreadableError, UnsupportedError, GeometryError, MissingReferenceError
    """
    opened = [stack.enter_context(open_multiframe(file)) for file in files]
    opened.sort(key=lambda one: int(one.header.get("InConcatenationNumber") or 0))
    first = opened[0]
    kind = _segmentation_type(first)
    segments, warnings = segments_of_file(first)
    for one in opened:
        warnings.extend(_drop_surplus_groups(one))
    numbers = [_segment_numbers(one, kind, segments) for one in opened]
    backgrounds: frozenset[int] = frozenset()
    background_segment = None
    if kind == "LABELMAP":
        backgrounds = _backgrounds(first.header, segments)
        background_segment = next((segment for segment in segments if segment.number in backgrounds), None)
        segments = [segment for segment in segments if segment.number not in backgrounds]
    else:
        segments = _with_undescribed(segments, np.concatenate(numbers), warnings)
    result = SegmentationFile(
        path=first.path,
        header=first.header,
        shadow=first.shadow(without=(SEGMENT_SEQUENCE,)),
        segmentation_type=kind,
        parts=opened,
        segment_numbers=np.concatenate(numbers),
        segments=segments,
        backgrounds=backgrounds,
        background_segment=background_segment,
        warnings=warnings,
    )
    _find_references(result)
    if is_tiled(first):
        _find_tiles(result, region)
    else:
        if region is not None:
            result.warnings.append("It is not of a slide, so all of it was loaded, not a region.")
        _find_stacks(result, database, more_grids)
    _find_sources(result)
    return result


def _segmentation_type(opened: MultiFrame) -> str:
    header = opened.header
    kind = str(header.get("SegmentationType") or "").upper()
    if kind == "LABELMAP" or header.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7":
        kind = "LABELMAP"
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise UnsupportedError(f"{opened.path}: its Segmentation Type is {kind!r}, not BINARY, FRACTIONAL or LABELMAP.")
    if opened.frames is None:
        raise UnreadableError(opened.path, "has no pixel data.")
    expected = {"BINARY": (1, 8), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}[kind]
    if opened.frames.bits not in expected:
        raise UnreadableError(opened.path, f"is {kind} with {opened.frames.bits} bits a pixel, which cannot be.")
    return kind


def _backgrounds(header: Any, segments: Sequence[Segment]) -> frozenset[int]:
    """Return the pixel values of a label map that are no segment.

    The Pixel Padding Value, or 0 where there is none; and a segment that is coded as background (PS3.3 C.8.20.2.3.3
    asks for one where background pixels are encoded), which dcmqi writes beside another padding value.
    """
    try:
        padding = int(header.get("PixelPaddingValue") or 0)
    except (TypeError, ValueError):
        padding = 0
    described = {segment.number for segment in segments if is_background(segment)}
    return frozenset(described | {padding})


def _drop_surplus_groups(opened: MultiFrame) -> list[str]:
    """Forget functional groups of frames that are not there (test files of pydicom were cut to one frame that way)."""
    count = opened.frames.count if opened.frames is not None else 0
    surplus = opened.table.frames - count
    if surplus <= 0 or not count:
        return []
    opened.table.keep(count)
    return [f"There are functional groups of {surplus} more frames than there are frames; they were left out."]


def _segment_numbers(opened: MultiFrame, kind: str, segments: list[Segment]) -> NDArray[np.int64]:
    """Return the segment number of each frame; -1 in label maps, whose pixels say it."""
    count = opened.frames.count if opened.frames is not None else 0
    table = opened.table
    if table.frames not in (0, count):
        raise UnreadableError(
            opened.path, f"has {count} frames, but functional groups of {table.frames}; it contradicts itself."
        )
    if kind == "LABELMAP":
        return np.full(count, -1, dtype=np.int64)
    if not table.has(*SEGMENT_NUMBER) and opened.header.get("DimensionOrganizationType") == "TILED_FULL":
        return _segments_in_order(opened, segments)
    shared = _shared_segment_number(opened.header)
    if shared is None and len(segments) == 1:
        shared = segments[0].number
    raws = table.column(*SEGMENT_NUMBER) if table.frames else [None] * count
    numbers = [shared if raw is None or len(raw) < 2 else int.from_bytes(raw[:2], "little") for raw in raws]
    if any(number is None for number in numbers):
        raise UnreadableError(opened.path, f"frame {numbers.index(None) + 1} does not say which segment it shows.")
    return np.array(numbers, dtype=np.int64)


def _segments_in_order(opened: MultiFrame, segments: Sequence[Segment]) -> NDArray[np.int64]:
    """Return the segment number of each tile, where these are not said because all tiles of all segments are there."""
    of_frame = channels(opened)
    if int(of_frame.max(initial=0)) >= len(segments):
        raise UnreadableError(
            opened.path, f"has tiles for {int(of_frame.max()) + 1} segments and describes {len(segments)}."
        )
    return np.array([segment.number for segment in segments], dtype=np.int64)[of_frame]


def _shared_segment_number(header: Any) -> int | None:
    groups = header.get("SharedFunctionalGroupsSequence")
    items = groups[0].get("SegmentIdentificationSequence") if groups else None
    value = items[0].get("ReferencedSegmentNumber") if items else None
    return None if value is None else int(value)


def _with_undescribed(segments: list[Segment], numbers: NDArray[np.int64], warnings: list[str]) -> list[Segment]:
    known = {segment.number for segment in segments}
    missing = [number for number in np.unique(numbers).tolist() if number not in known]
    if missing:
        warnings.append(f"Segments without a description were named by their number: {missing}.")
    return segments + [Segment(number, f"Segment {number}") for number in missing]


def _find_references(result: SegmentationFile) -> None:
    references: dict[str, Reference] = {}
    for opened in result.parts:
        for reference in references_of_file(opened):
            references.setdefault(reference.sop_instance_uid or reference.series_instance_uid, reference)
    result.references = list(references.values())


def _find_stacks(result: SegmentationFile, database: Database | None, more_grids: GridsOf | None) -> None:
    rows, columns = _frame_size(result)
    planes = concatenated(
        [frame_planes(part, part.frames.count, database) for part in result.parts if part.frames is not None]
    )
    result.warnings.extend(planes.warnings)
    frame_of_reference = str(result.header.get("FrameOfReferenceUID") or "")
    sources = _source_grids(result, database)
    if more_grids is not None:
        sources += more_grids(result.references)
    result.stacks = place_stacks(planes, rows, columns, sources, frame_of_reference)
    for stack in result.stacks:
        voxels = int(np.prod([int(size) for size in stack.geometry.spatial_shape], dtype=np.int64)) * _layers(result)
        if voxels > LARGEST_VOLUME:
            raise UnreadableError(
                result.path, f"its frames span a grid of {voxels:.3g} voxels: it is damaged, or too large."
            )


def _find_tiles(result: SegmentationFile, region: Region | None) -> None:
    _frame_size(result)
    places = tile_places(result.parts)
    result.warnings.extend(places.warnings)
    result.stacks = place_tiles(places, region, _layers(result))


def _frame_size(result: SegmentationFile) -> tuple[int, int]:
    sizes = {(part.frames.rows, part.frames.columns) for part in result.parts if part.frames is not None}
    if len(sizes) != 1:
        raise UnreadableError(result.path, "is in several files whose frames differ in size.")
    return sizes.pop()


def _layers(result: SegmentationFile) -> int:
    """Return how many arrays a grid needs: fractions are a volume each."""
    return max(1, len(result.segments)) if result.segmentation_type == "FRACTIONAL" else 1


def _find_sources(result: SegmentationFile) -> None:
    uids: list[list[str]] = []
    numbers: list[list[int]] = []
    for part in result.parts:
        part_uids, part_numbers = source_uids(part)
        uids.extend(part_uids)
        numbers.extend(part_numbers)
    result.source_frames = [_sources_by_slice(stack, uids, numbers) for stack in result.stacks]


def _sources_by_slice(
    stack: FrameStack, uids: list[list[str]], numbers: list[list[int]]
) -> dict[int, list[tuple[str, int]]]:
    by_slice: dict[int, dict[tuple[str, int], None]] = {}
    if len(uids) <= int(stack.frames.max(initial=-1)):
        return {}
    for frame, place in zip(stack.frames.tolist(), stack.slices.tolist(), strict=True):
        pairs = by_slice.setdefault(place, {})
        pairs.update(dict.fromkeys(zip(uids[frame], numbers[frame], strict=True)))
    return {place: list(pairs) for place, pairs in by_slice.items() if pairs}


def _source_grids(result: SegmentationFile, database: Database | None) -> list[SourceGrid]:
    """Return the grids of the referenced series that the database has, the most referenced one first."""
    if database is None:
        return []
    from dicombridge.image.series import series_grids

    grids: list[SourceGrid] = []
    for series_uid, instances in series_of_references(result.references, database).items():
        try:
            files = [file for file in database.filesForSeries(series_uid) if file]
            of_series = series_grids(files, database)
        except DicomBridgeError as error:
            result.warnings.append(f"The referenced series {series_uid} gives no grid: {error}")
            continue
        wanted = set(instances)
        grids.extend(sorted(of_series, key=lambda grid: -len(wanted.intersection(grid.instance_uids))))
    return grids


def iterate_frames(
    result: SegmentationFile, stack: FrameStack, progress: Progress | None = None
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[Any] | None]]:
    """Yield (frame index, packed bits or empty, pixels or None) of the frames of a stack, from all files.

    The progress is told now and then.
    """
    total = len(result.segment_numbers)
    wanted = np.zeros(total, dtype=np.bool_)
    wanted[stack.frames] = True
    every = max(1, len(stack.frames) // 50)
    first, done = 0, 0
    for part in result.parts:
        if part.frames is None:
            continue
        for index, packed, pixels in chosen_frames(part, wanted[first : first + part.frames.count]):
            if progress is not None and done % every == 0:
                progress(done / len(stack.frames), f"Frame {first + index + 1} of {total}")
            yield first + index, packed, pixels
            done += 1
        first += part.frames.count
