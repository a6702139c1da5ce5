"""Which frame is which tile: of which place, focal plane and optical path (PS3.3 C.7.6.17.3, C.8.12.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import unpack_from
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.attribute_values import items_of
from dicombridge.errors import UnreadableError
from dicombridge.geometry import plausible
from dicombridge.slide.levels import Level
from dicombridge.slide.pixel_matrix import MM_PER_Z_UNIT, SAME_PLANE_MM, UNKNOWN_STEP_MM

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.functional_groups import FrameTable

__all__ = ["Tiling", "tiling_of"]

_PLANE_POSITION = 0x0048021A
_COLUMN_POSITION, _ROW_POSITION = 0x0048021E, 0x0048021F
_Z_OFFSET = 0x0040074A
_PATH_IDENTIFICATION, _PATH_IDENTIFIER = 0x00480207, 0x00480106
_MOST_TILES = 2**62
"""Tiles of a plane beyond any that there are; numpy counts no further."""
_UNKNOWN_FRAME_STEP_MM = 1.0
"""Between the frames of a photograph, which are shown as slices."""


@dataclass(frozen=True, eq=False)
class Tiling:
    """The frames of a level, as columns of a table.

    Attributes
    ----------
    file, frame
        (n,) Index of the file, and of the frame in it (from 0).
    row, column
        (n,) Place of the tile's first pixel in the total pixel matrix (from 0).
    plane, path
        (n,) Index of the focal plane (in ``offsets``) and of the optical path.
    offsets
        mm on the slide's z axis of each focal plane above the level's origin.
    whole
        Whether the tiles cover all of the total pixel matrix, in each plane and path.
    warnings
        What is missing or too much.
    """

    file: NDArray[np.int64]
    frame: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    plane: NDArray[np.int64]
    path: NDArray[np.int64]
    offsets: tuple[float, ...]
    whole: bool
    warnings: tuple[str, ...]

    def within(
        self, plane: int, path: int, rows: tuple[int, int], columns: tuple[int, int], tile: tuple[int, int]
    ) -> NDArray[np.int64]:
        """Return the indices of the frames that overlap a rectangle (first, one behind the last), in their order."""
        overlaps = (self.plane == plane) & (self.path == path)
        overlaps &= (self.row < rows[1]) & (self.row + tile[0] > rows[0])
        overlaps &= (self.column < columns[1]) & (self.column + tile[1] > columns[0])
        return np.flatnonzero(overlaps)


def tiling_of(level: Level, counts: Sequence[int], tables: Sequence[FrameTable]) -> Tiling:
    """Return which frame is which tile.

    Parameters
    ----------
    counts
        Number of frames of each file of the level.
    tables
        Per-frame functional groups of each file.

    Raises
    ------
    UnreadableError
        The frames do not say where they belong.
    """
    file = np.repeat(np.arange(len(counts)), counts)
    frame = np.concatenate([np.arange(count) for count in counts])
    if not level.is_tiled:
        zeros = np.zeros(len(frame), dtype=np.int64)
        offsets = tuple(number * (level.plane_spacing or _UNKNOWN_FRAME_STEP_MM) for number in range(len(frame)))
        unknown = len(frame) > 1 and not level.plane_spacing
        told = f"The distance of its frames is not known; {_UNKNOWN_FRAME_STEP_MM:g} mm was taken."
        warnings = (told,) if unknown else ()
        return Tiling(file, frame, zeros, zeros, frame.astype(np.int64), zeros, offsets, True, warnings)
    says = all(table.has(_PLANE_POSITION) for table in tables)
    if level.tiled_full or not says:
        return _full(level, file, frame, () if level.tiled_full else _no_positions(level, len(frame)))
    return _sparse(level, file, frame, tables)


def _no_positions(level: Level, frames: int) -> tuple[str, ...]:
    down, across = level.matrix.tiles
    if frames % (down * across):
        raise UnreadableError(
            level.files[0], f"does not say where its {frames} tiles lie in a grid of {down} x {across}."
        )
    return () if frames == 1 else ("The tiles do not say where they lie; they were taken row by row.",)


def _full(level: Level, file: NDArray[Any], frame: NDArray[Any], warnings: tuple[str, ...]) -> Tiling:
    """Lay tiles row by row, plane by plane, path by path."""
    down, across = level.matrix.tiles
    tiles = min(down * across, _MOST_TILES)
    number = frame + np.asarray(level.frame_offsets, dtype=np.int64)[file]
    place, beyond = number % tiles, number // tiles
    planes = min(level.focal_planes, _MOST_TILES)
    plane, path = beyond % planes, beyond // planes
    there = path < len(level.optical_paths)
    expected = tiles * planes * len(level.optical_paths)
    found = len(np.unique(number[there]))
    if found < expected:
        warnings += (f"{expected - found} of {expected} tiles are missing and left empty.",)
    if not there.all():
        warnings += (f"{int((~there).sum())} frames are more than there are tiles, and were left out.",)
    # A lie about the number of planes must not become a list of so many.
    known = min(planes, int(plane[there].max(initial=0)) + 1)
    offsets = tuple(number * (level.plane_spacing or UNKNOWN_STEP_MM) for number in range(known))
    if known > 1 and not level.plane_spacing:
        step = f"{UNKNOWN_STEP_MM * 1e3:g} um"
        warnings += (f"The distance of its focal planes is not known; {step} was taken.",)
    row, column = level.matrix.corners_of_tiles(place)
    columns = _kept(there, file, frame, row, column, plane, path)
    return _tiling(columns, offsets, found == expected, warnings)


def _sparse(level: Level, file: NDArray[Any], frame: NDArray[Any], tables: Sequence[FrameTable]) -> Tiling:
    """Lay tiles where each says that it lies."""
    values: list[list[Any]] = [[], [], [], []]
    for name, table in zip(level.files, tables, strict=True):
        _collect(name, level, table, int((file == level.files.index(name)).sum()), values)
    row, column = (np.array(one, dtype=np.int64) - 1 for one in values[:2])
    matrix = level.matrix
    inside = (row > -matrix.tile_rows) & (row < matrix.rows) & (column > -matrix.tile_columns)
    inside &= column < matrix.columns
    warnings = []
    if not inside.all():
        warnings.append(f"{int((~inside).sum())} tiles lie beyond the total pixel matrix, and were left out.")
    offsets, plane = _planes(np.array(values[2], dtype=float), level)
    identifiers = [path.identifier for path in level.optical_paths]
    numbers = {identifier: number for number, identifier in enumerate(identifiers)}
    path = np.array([numbers.get(one, -1) if one else 0 for one in values[3]], dtype=np.int64)
    if (path < 0).any():
        warnings.append(f"{int((path < 0).sum())} tiles are of optical paths that the header lacks, and were left out.")
    inside &= path >= 0
    columns = _kept(inside, file, frame, row, column, plane, path)
    return _tiling(columns, offsets, _covers(level, len(offsets), columns), tuple(warnings))


def _kept(there: NDArray[np.bool_], *columns: NDArray[Any]) -> list[NDArray[np.int64]]:
    return [column[there].astype(np.int64) for column in columns]


def _tiling(
    columns: Sequence[NDArray[np.int64]], offsets: tuple[float, ...], whole: bool, warnings: tuple[str, ...]
) -> Tiling:
    file, frame, row, column, plane, path = columns
    return Tiling(file, frame, row, column, plane, path, offsets, whole, warnings)


def _covers(level: Level, planes: int, columns: Sequence[NDArray[Any]]) -> bool:
    """Whether there is a tile at each place of the regular grid."""
    down, across = level.matrix.tiles
    if down * across * planes * len(level.optical_paths) > len(columns[0]):
        return False
    _, _, row, column, plane, path = columns
    regular = (row % level.matrix.tile_rows == 0) & (column % level.matrix.tile_columns == 0)
    places = np.unique(np.stack([row, column, plane, path])[:, regular], axis=1)
    return places.shape[1] == down * across * planes * len(level.optical_paths)


def _collect(name: str, level: Level, table: FrameTable, count: int, values: list[list[Any]]) -> None:
    """Append row, column, z (mm) and optical path of each frame of a file."""
    if table.frames < count:
        raise UnreadableError(name, f"says where {table.frames} of its {count} frames lie.")
    places = [table.column(_PLANE_POSITION, 0, tag)[:count] for tag in (_ROW_POSITION, _COLUMN_POSITION)]
    if any(len(value or b"") != 4 for column in places for value in column):
        raise UnreadableError(name, "has frames that do not say where in the total pixel matrix they lie.")
    for into, column in zip(values, places, strict=False):
        into.extend(unpack_from("<i", value or b"")[0] for value in column)
    heights = table.column(_PLANE_POSITION, 0, _Z_OFFSET)[:count]
    values[2].extend(_height(name, value) for value in heights)
    shared = items_of(level.header, "SharedFunctionalGroupsSequence")[:1]
    common = [str(one.get("OpticalPathIdentifier") or "") for group in shared
              for one in items_of(group, "OpticalPathIdentificationSequence")]  # fmt: skip
    otherwise = common[0].encode() if common else b""
    paths = table.column(_PATH_IDENTIFICATION, 0, _PATH_IDENTIFIER)[:count]
    values[3].extend((value or otherwise).rstrip(b"\0 ").decode("utf-8", "replace").strip() for value in paths)


def _height(name: str, value: bytes | None) -> float:
    try:
        height = float((value or b"0").rstrip(b"\0 ") or 0) * MM_PER_Z_UNIT
    except ValueError:
        height = float("nan")
    if not plausible(height):
        raise UnreadableError(name, f"has a frame whose z offset is {value!r}.")
    return height


def _planes(heights: NDArray[np.float64], level: Level) -> tuple[tuple[float, ...], NDArray[np.int64]]:
    """Return the distinct heights above the level's origin, ascending, and which of them each frame has."""
    order = np.argsort(heights, kind="stable")
    steps = np.diff(heights[order], prepend=heights[order[:1]]) > SAME_PLANE_MM
    plane = np.empty(len(heights), dtype=np.int64)
    plane[order] = np.cumsum(steps)
    firsts = heights[order][np.concatenate([[True], steps[1:]])]
    if len(firsts) == 1 and not firsts[0]:
        return (0.0,), plane  # the frames say no height; the origin may
    return tuple(float(height) - level.matrix.origin[2] for height in firsts), plane
