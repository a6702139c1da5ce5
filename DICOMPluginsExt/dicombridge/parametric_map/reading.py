"""A parametric map object as plain values: its maps, where they lie and what their values are (PS3.3 A.75, C.8.32).

No VTK here: the arrays to read into are given by the caller, so that they can be memory of a MRML node from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import UnreadableError
from dicombridge.multiframe import MultiFrame, open_multiframe
from dicombridge.parametric_map.descriptions import derivation, windows
from dicombridge.parametric_map.groups import FrameGroups
from dicombridge.parametric_map.mappings import Reading, frame_readings, value_type
from dicombridge.parametric_map.maps import MapFrames, Mark, marks_of_files, sort_frames
from dicombridge.references import Reference, references_of_file
from dicombridge.segmentation.planes import (
    FramePlanes,
    FrameStack,
    concatenated,
    frame_planes,
    place_stacks,
    source_uids,
)
from dicombridge.segmentation.tiles import Region, TilePlaces, covers, is_tiled, place_tiles, tile_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database

__all__ = ["Map", "MapFile", "open_maps"]

LARGEST_OBJECT = 2**33
"""Voxels of all maps of an object that are allocated: 32 GiB of float32, beyond any object that was ever sent."""
MOST_MAPS = 1024
"""Nodes that one object may become; more is damage."""


@dataclass(frozen=True)
class Map:
    """One map: one quantity on one grid, at one time or at several.

    Attributes
    ----------
    number
        From 1, in the order of the object.
    name
        What tells it from the other maps of the object; empty where it is the only one.
    stack
        The grid, and where each frame of the map lies on it.
    readings
        What the stored values of each of these frames are; of a map without frames, what those elsewhere are.
    frames
        Which of them belong to which time point; one entry where there is no time.
    dtype
        Of the voxels.
    missing
        Slices that no frame fills, at some time point.
    partial
        Whether the frames cover parts of their slices only.
    sources
        For each slice, the (SOP Instance UID, frame number or 0) of its source images.
    derivation
        Item of the Derivation Code Sequence as text (:mod:`dicombridge.shadow`), or empty.
    windows
        Centre and width of the suggested windows, in real world values.
    """

    number: int
    name: str
    stack: FrameStack
    readings: tuple[Reading, ...]
    frames: MapFrames
    dtype: np.dtype[Any]
    missing: tuple[int, ...]
    partial: bool
    sources: dict[int, list[tuple[str, int]]]
    derivation: str = ""
    windows: tuple[tuple[float, float], ...] = ()

    @property
    def reading(self) -> Reading:
        """What the values are: that of the first frame; others differ in slope at most."""
        return self.readings[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        slices, rows, columns = (int(size) for size in self.stack.geometry.spatial_shape)
        return slices, rows, columns

    @property
    def first_frame(self) -> int:
        """Index of the first frame in the object."""
        return int(self.stack.frames.min())


@dataclass
class MapFile:
    """An open parametric map object.

    Attributes
    ----------
    path
        Of its first file.
    header
        Dataset of its first file, without frames.
    shadow
        The header as it was encoded (:mod:`dicombridge.shadow`).
    parts
        Its files; several make a concatenation (PS3.3 C.7.6.16.2.2.4). Frames are counted through all of them.
    groups
        The functional groups of each file.
    maps
        What it holds.
    references
        All that it refers to.
    warnings
        What is doubtful.
    """

    path: str
    header: Any
    shadow: str
    parts: list[MultiFrame]
    groups: list[FrameGroups]
    maps: list[Map] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def stored_type(self) -> np.dtype[Any]:
        """Type of the stored values."""
        frames = self.parts[0].frames
        return np.dtype(np.float32) if frames is None else frames.dtype.newbyteorder("=")

    def group_of(self, frame: int) -> tuple[FrameGroups, int]:
        """Return the functional groups of the file that has a frame, and its index in there."""
        for part, groups in zip(self.parts, self.groups, strict=True):
            count = part.frames.count if part.frames is not None else 0
            if frame < count:
                return groups, frame
            frame -= count
        raise IndexError(frame)


def open_maps(
    files: Sequence[str], database: Database | None, stack: ExitStack, region: Region | None = None
) -> MapFile:
    """Open the files of one object and find out which maps its frames make.

    Parameters
    ----------
    files
        One file, or all files of a concatenation.
    database
        Where source images are looked up that tell where frames lie; may be None.
    stack
        Keeps the files open.
    region
        Part of a slide, in its mm; tiles beside it are left out.

    Raises
    ------
    UnreadableError, UnsupportedError, GeometryError, MissingReferenceError
    """
    opened = [stack.enter_context(open_multiframe(file)) for file in files]
    opened.sort(key=lambda one: int(one.header.get("InConcatenationNumber") or 0))
    first = opened[0]
    warnings = [warning for one in opened if (warning := _check(one))]
    if len({(part.frames.rows, part.frames.columns, part.frames.dtype) for part in opened if part.frames}) != 1:
        raise UnreadableError(first.path, "is in several files whose frames differ in size or type.")
    announced = int(first.header.get("InConcatenationTotalNumber") or 0)
    if announced > len(opened):
        warnings.append(f"{announced - len(opened)} of the {announced} files of its concatenation are missing.")
    groups = [FrameGroups(one) for one in opened]
    result = MapFile(first.path, first.header, first.shadow(), opened, groups, warnings=warnings)
    references: dict[str, Reference] = {}
    for one in opened:
        for reference in references_of_file(one):
            references.setdefault(reference.sop_instance_uid or reference.series_instance_uid, reference)
    result.references = list(references.values())
    _find_maps(result, _places_of_frames(result, database, region))
    return result


def _check(opened: MultiFrame) -> str:
    """Raise where a file is no map that can be loaded; return what is doubtful about it."""
    if opened.frames is None:
        raise UnreadableError(opened.path, "has no pixel data.")
    if opened.frames.bits == 1:
        raise UnreadableError(opened.path, "has pixels of single bits, which no parametric map has.")
    described, count = opened.table.frames, opened.frames.count
    if 0 < described < count:
        raise UnreadableError(
            opened.path, f"has {count} frames, but functional groups of {described}; it contradicts itself."
        )
    if described > count:
        opened.table.keep(count)
        return f"There are functional groups of {described - count} more frames than there are frames; they are unused."
    return ""


def _counts(result: MapFile) -> list[int]:
    return [part.frames.count for part in result.parts if part.frames is not None]


PlaceFrames = Callable[["NDArray[np.int64]"], list[FrameStack]]
"""Returns some frames of an object on grids."""


def _places_of_frames(result: MapFile, database: Database | None, region: Region | None) -> PlaceFrames:
    """Return what places frames: as planes of a patient, or as tiles of a slide."""
    if is_tiled(result.parts[0]):
        tiles: TilePlaces = tile_places(result.parts)
        result.warnings.extend(tiles.warnings)
        return lambda frames: place_tiles(tiles.taken(frames), region)
    if region is not None:
        result.warnings.append("It is not of a slide, so all of it was loaded, not a region.")
    planes = concatenated(
        [frame_planes(part, count, database) for part, count in zip(result.parts, _counts(result), strict=True)]
    )
    result.warnings.extend(planes.warnings)
    first = result.parts[0].frames
    assert first is not None  # _check has seen to it
    frame_of_reference = str(result.header.get("FrameOfReferenceUID") or "")
    return lambda frames: place_stacks(_taken(planes, frames), first.rows, first.columns, [], frame_of_reference)


def _taken(planes: FramePlanes, frames: NDArray[np.int64]) -> FramePlanes:
    return replace(
        planes,
        positions=planes.positions[frames],
        orientations=planes.orientations[frames],
        spacings=planes.spacings[frames],
    )


def _find_maps(result: MapFile, place: PlaceFrames) -> None:
    counts = _counts(result)
    marks = marks_of_files(result.parts)
    readings: list[tuple[Reading, ...]] = []
    for part, groups, count in zip(result.parts, result.groups, counts, strict=True):
        readings.extend(frame_readings(part, groups, count))
    if any(reading.item is None for of_frame in readings for reading in of_frame):
        result.warnings.append("Its frames do not say what their values mean; they are as they are stored.")
    sources = _sources(result)
    found: list[tuple[tuple[int, int], Map]] = []
    quantities = _by_quantity(readings)
    for order, (frames, of_frames) in quantities:
        for one in _maps_of_quantity(result, place, marks, frames, of_frames, sources):
            found.append(((order, one.first_frame), one))
            if len(found) > MOST_MAPS:
                raise UnreadableError(result.path, f"its frames make more than {MOST_MAPS} maps; it is damaged.")
    if not found:
        result.warnings.append("No tile of it lies in the region; its voxels are not a number (NaN).")
        found.extend(_empty(result, place, quantities))
    found.sort(key=lambda pair: pair[0])
    names = _names([one for _, one in found], len(quantities))
    result.maps = [
        replace(one, number=number, name=name)
        for number, ((_, one), name) in enumerate(zip(found, names, strict=True), start=1)
    ]
    voxels = sum(float(np.prod(one.shape, dtype=float)) * len(one.frames.times) for one in result.maps)
    if voxels > LARGEST_OBJECT:
        raise UnreadableError(result.path, f"its maps span {voxels:.3g} voxels: it is damaged, or too large.")


def _empty(
    result: MapFile, place: PlaceFrames, quantities: Sequence[tuple[int, tuple[NDArray[np.int64], list[Reading]]]]
) -> list[tuple[tuple[int, int], Map]]:
    """Return the maps, one a quantity, of a region in which no tile lies."""
    none = np.zeros(0, dtype=np.int64)
    found = []
    for order, (frames, readings) in quantities[:MOST_MAPS]:
        first = int(frames[0])
        groups, number = result.group_of(first)
        stack = replace(place(frames)[0], frames=none, slices=none, rows=none, columns=none)
        empty = Map(
            number=0,
            name="",
            stack=stack,
            readings=(readings[0],),
            frames=MapFrames("", (none,)),
            dtype=value_type(result.stored_type, readings[:1], True),
            missing=(),
            partial=True,
            sources={},
            derivation=derivation(groups, number),
            windows=windows(groups, number, readings[0]),
        )
        found.append(((order, first), empty))
    return found


def _by_quantity(
    readings: Sequence[tuple[Reading, ...]],
) -> list[tuple[int, tuple[NDArray[np.int64], list[Reading]]]]:
    """Return (place in the order, (frames, their readings)) of each quantity: main ones first, then alternatives."""
    meanings: dict[int, Any] = {}
    by_meaning: dict[Any, tuple[list[int], list[Reading], int]] = {}
    for frame, of_frame in enumerate(readings):
        for alternative, reading in enumerate(of_frame):
            meaning = meanings.get(id(reading))
            if meaning is None:
                # Alternatives of one frame are maps of their own, even where they are called alike.
                alike = sum(other.meaning == reading.meaning for other in of_frame[:alternative])
                meaning = meanings[id(reading)] = (reading.meaning, alike)
            frames, kept, _ = by_meaning.setdefault(meaning, ([], [], alternative))
            frames.append(frame)
            kept.append(reading)
    return [(order, (np.array(frames, dtype=np.int64), kept)) for frames, kept, order in by_meaning.values()]


def _maps_of_quantity(
    result: MapFile,
    place: PlaceFrames,
    marks: Sequence[Mark],
    frames: NDArray[np.int64],
    readings: Sequence[Reading],
    sources: tuple[list[list[str]], list[list[int]]],
) -> list[Map]:
    # What else a mapping says (its explanation, its slope) tells frames apart where nothing else does.
    explained = Mark("explanation", [reading.mappings[0].explanation for reading in readings])
    sloped = Mark("mapping", [_whole_mapping(reading) for reading in readings])
    maps = []
    of_stack = [Mark(mark.name, [mark.values[n] for n in frames.tolist()], mark.time) for mark in marks]
    for stack in place(frames):
        if not len(stack.frames):
            continue  # a region without tiles
        places = _places(stack)
        sorted_frames, warning = sort_frames(places, [*of_stack, explained, sloped], stack.frames)
        if warning:
            result.warnings.append(warning)
        for one in sorted_frames:
            maps.append(_map(result, stack, one, frames, readings, sources))
    return maps


def _whole_mapping(reading: Reading) -> tuple[float, ...]:
    first = reading.mappings[0]
    return (first.slope, first.intercept, first.first, first.last)


def _places(stack: FrameStack) -> NDArray[np.int64]:
    """Return equal numbers for frames that lie at the same place of a grid."""
    places = np.stack([stack.slices, stack.rows, stack.columns], axis=1)
    return np.asarray(np.unique(places, axis=0, return_inverse=True)[1].ravel(), dtype=np.int64)


def _map(
    result: MapFile,
    stack: FrameStack,
    one: MapFrames,
    frames: NDArray[np.int64],
    readings: Sequence[Reading],
    sources: tuple[list[list[str]], list[list[int]]],
) -> Map:
    """Return the map of some frames of a stack; its arrays then count the map's own frames."""
    chosen = np.concatenate(one.times)
    starts = np.cumsum([0, *(len(time) for time in one.times)])
    times = tuple(np.arange(begin, end) for begin, end in pairwise(starts.tolist()))
    local = stack.frames[chosen]
    own = replace(
        stack,
        frames=frames[local],
        slices=stack.slices[chosen],
        rows=stack.rows[chosen],
        columns=stack.columns[chosen],
    )
    of_map = tuple(readings[number] for number in local.tolist())
    slices = int(stack.geometry.spatial_shape[0])
    missing = sorted({place for time in times for place in set(range(slices)) - set(own.slices[time].tolist())})
    rows, columns = (int(size) for size in stack.geometry.spatial_shape[1:])
    frame = result.parts[0].frames
    partial = frame is not None and (rows, columns) != (frame.rows, frame.columns)
    if partial and frame is not None:
        partial = not all(covers(own, time, (frame.rows, frame.columns)) for time in times)
    if missing:
        result.warnings.append(f"{len(missing)} of {slices} slices are missing; their voxels are not a number (NaN).")
    elif partial:
        result.warnings.append("The frames cover parts of their planes; the other voxels are not a number (NaN).")
    groups, number = result.group_of(int(own.frames.min()))
    dtype = value_type(result.stored_type, dict.fromkeys(of_map), bool(missing) or partial)
    return Map(
        number=0,
        name=one.name,
        stack=own,
        readings=of_map,
        frames=replace(one, times=times),
        dtype=dtype,
        missing=tuple(missing),
        partial=partial,
        sources=_sources_by_slice(own, sources),
        derivation=derivation(groups, number),
        windows=windows(groups, number, of_map[0]),
    )


def _sources(result: MapFile) -> tuple[list[list[str]], list[list[int]]]:
    uids: list[list[str]] = []
    numbers: list[list[int]] = []
    for part, count in zip(result.parts, _counts(result), strict=True):
        part_uids, part_numbers = source_uids(part)
        uids.extend(part_uids or [[]] * count)
        numbers.extend(part_numbers or [[]] * count)
    return uids, numbers


def _sources_by_slice(
    stack: FrameStack, sources: tuple[list[list[str]], list[list[int]]]
) -> dict[int, list[tuple[str, int]]]:
    by_slice: dict[int, dict[tuple[str, int], None]] = {}
    for frame, place in zip(stack.frames.tolist(), stack.slices.tolist(), strict=True):
        pairs = zip(sources[0][frame], sources[1][frame], strict=True)
        by_slice.setdefault(place, {}).update(dict.fromkeys(pairs))
    return {place: list(pairs) for place, pairs in by_slice.items() if pairs}


def _names(maps: Sequence[Map], quantities: int) -> list[str]:
    """Return what tells maps apart: their quantity, and what they were sorted by; at last their number."""
    if len(maps) < 2:
        return [""] * len(maps)
    names = []
    for one in maps:
        mapping = one.reading.mappings[0]
        quantity = mapping.quantity.meaning if mapping.quantity is not None else mapping.label or mapping.explanation
        names.append(", ".join(part for part in (quantity if quantities > 1 else "", one.name) if part))
    labels = [one.reading.mappings[0].label for one in maps]
    names = [
        f"{name} {label}".strip() if names.count(name) > 1 and label not in name else name
        for name, label in zip(names, labels, strict=True)
    ]
    return [
        name if name and names.count(name) == 1 else f"{name} (map {number})".strip()
        for number, name in enumerate(names, start=1)
    ]
