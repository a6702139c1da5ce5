"""Where the tiles of a slide's segmentation or parametric map lie (PS3.3 C.7.6.17.3, C.8.12.6.1).

A tile is a frame that shows a part of a total pixel matrix. Its place is written with it, or follows from its number
(TILED_FULL). Either way it is in whole pixels, so tiles fit a grid exactly: that of the matrix, or of a part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import GeometryError, UnreadableError, UnsupportedError
from dicombridge.geometry import grid, plausible, unit_normal
from dicombridge.segmentation.planes import FrameStack
from dicombridge.slide.pixel_matrix import (
    HALF,
    MM_PER_Z_UNIT,
    SAME_PLANE_MM,
    SINGLE_SLICE_MM,
    UNEVEN,
    UNKNOWN_STEP_MM,
    PixelMatrix,
    pixel_matrix_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.multiframe import MultiFrame

__all__ = [
    "Region",
    "TilePlaces",
    "channels",
    "covers",
    "full_depths",
    "is_tiled",
    "is_tiled_header",
    "place_tiles",
    "tile_places",
]

Region = Sequence[float]
"""x, y, width, height in slide mm: from (x, y) to (x + width, y + height)."""

SLIDE_POSITION = 0x0048021A
_ROW = (SLIDE_POSITION, 0, 0x0048021F)
_COLUMN = (SLIDE_POSITION, 0, 0x0048021E)
_Z_OFFSET = (SLIDE_POSITION, 0, 0x0040074A)

MOST_FOCAL_PLANES = 4096
MOST_TILES = 2**31
"""Tiles of a segment; frames are counted no further (Number of Frames is an integer string)."""

WHOLE_MATRIX = 2**26
"""Pixels up to which a node covers a whole total pixel matrix; a larger one is cut to the box around its tiles."""
MOST_PIXELS = 2**31
"""Pixels of the largest grid that is allocated: 2 GiB of labels."""


def is_tiled(opened: MultiFrame) -> bool:
    """Whether an object is of a slide, in tiles."""
    return is_tiled_header(opened.header) or opened.table.has(SLIDE_POSITION)


def is_tiled_header(header: Any) -> bool:
    """Whether a header is that of a slide's object in tiles."""
    organization = str(header.get("DimensionOrganizationType") or "")
    return organization.startswith("TILED") or "TotalPixelMatrixColumns" in header


@dataclass(frozen=True)
class TilePlaces:
    """Where the frames of an object lie.

    Attributes
    ----------
    path
        Of the object, for messages.
    matrix
        Its total pixel matrix.
    rows, columns
        (frames,) in the matrix, from 0: first pixel of each frame.
    depths
        (frames,) mm along the normal from the plane of the matrix: focal planes.
    warnings
        What was guessed.
    """

    path: str
    matrix: PixelMatrix
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    depths: NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    def taken(self, frames: NDArray[np.int64]) -> TilePlaces:
        """Return the places of some frames."""
        return replace(self, rows=self.rows[frames], columns=self.columns[frames], depths=self.depths[frames])


def tile_places(parts: Sequence[MultiFrame]) -> TilePlaces:
    """Return where the frames of all files of an object lie in its total pixel matrix.

    Raises
    ------
    GeometryError
        The header does not say where the matrix lies.
    UnreadableError
        A frame has no place, or one outside of the matrix, or there are not as many frames as the matrix has tiles.
    """
    path, header = parts[0].path, parts[0].header
    matrix = pixel_matrix_of(header)
    if not any(_has_places(part) for part in parts):
        _check_full(parts, matrix)
    found = [_explicit(part) if _has_places(part) else _implicit(part, matrix) for part in parts]
    rows, columns, heights = (np.concatenate(values) for values in zip(*found, strict=True))
    outside = (rows <= -matrix.tile_rows) | (rows >= matrix.rows)
    outside |= (columns <= -matrix.tile_columns) | (columns >= matrix.columns)
    if outside.any() or not plausible(heights):
        number = int(np.flatnonzero(outside | ~np.isfinite(heights))[:1].sum()) + 1
        raise UnreadableError(path, f"frame {number} lies outside of the total pixel matrix; it contradicts itself.")
    normal = unit_normal(matrix.orientation)
    return TilePlaces(path, matrix, rows, columns, heights * normal[2], _guesses(parts))


def _guesses(parts: Sequence[MultiFrame]) -> tuple[str, ...]:
    """Return what is not known of where frames lie."""
    guessed = any(
        not _has_places(part) and _focal_planes(part.header) > 1 and not _spacing_of_planes(part.header)
        for part in parts
    )
    taken = f"The distance of its focal planes is not known; {UNKNOWN_STEP_MM * 1e3:g} um was taken."
    return (taken,) if guessed else ()


def _count(part: MultiFrame) -> int:
    if part.frames is not None:
        return part.frames.count
    count = part.header.get("NumberOfFrames")
    return count if isinstance(count, int) and count > 0 else part.table.frames


def _has_places(part: MultiFrame) -> bool:
    return part.table.has(*_ROW) or _shared_position(part) is not None


def _shared_position(part: MultiFrame) -> Any:
    groups = part.header.get("SharedFunctionalGroupsSequence")
    items = groups[0].get("PlanePositionSlideSequence") if groups else None
    return items[0] if items else None


def _origin_z(header: Any) -> float:
    first = header.TotalPixelMatrixOriginSequence[0]
    return float(first.get("ZOffsetInSlideCoordinateSystem") or 0.0)


Places = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.float64]"]
"""Rows and columns from 0, mm above the matrix."""


def _explicit(part: MultiFrame) -> Places:
    """Return the places that frames say (Plane Position (Slide) Sequence), counted from 1 there."""
    count, origin = _count(part), _origin_z(part.header)
    shared = _shared_position(part)
    if shared is not None:
        rows, columns = (
            np.full(count, int(shared.get(f"{axis}PositionInTotalImagePixelMatrix") or 1)) for axis in ("Row", "Column")
        )
        z = np.full(count, float(shared.get("ZOffsetInSlideCoordinateSystem") or origin))
    else:
        rows, columns = (_whole_numbers(part, path) for path in (_ROW, _COLUMN))
        z = np.array([_decimal(raw, origin) for raw in part.table.column(*_Z_OFFSET)])
    if len(rows) != count:
        raise UnreadableError(part.path, f"has {count} frames and the places of {len(rows)}; it contradicts itself.")
    return rows.astype(np.int64) - 1, columns.astype(np.int64) - 1, (z - origin) * MM_PER_Z_UNIT


def _whole_numbers(part: MultiFrame, path: tuple[int, ...]) -> NDArray[np.int64]:
    raws = part.table.column(*path)
    lacking = next((number for number, raw in enumerate(raws, start=1) if raw is None or len(raw) < 4), None)
    if lacking is not None:
        raise UnreadableError(part.path, f"frame {lacking} does not say where in the total pixel matrix it lies.")
    return np.array([int.from_bytes(raw[:4], "little", signed=True) for raw in raws if raw], dtype=np.int64)


def _decimal(raw: bytes | None, otherwise: float) -> float:
    try:
        return float(raw.decode("ascii").strip(" \0")) if raw else otherwise
    except ValueError:
        return float("nan")


def _focal_planes(header: Any) -> int:
    value = header.get("TotalPixelMatrixFocalPlanes")
    return value if isinstance(value, int) and 0 < value <= MOST_FOCAL_PLANES else 1


def _check_full(parts: Sequence[MultiFrame], matrix: PixelMatrix) -> None:
    first = parts[0]
    if str(first.header.get("DimensionOrganizationType") or "") != "TILED_FULL":
        raise UnreadableError(first.path, "its frames do not say where in the total pixel matrix they lie.")
    tiles = int(np.prod(matrix.tiles, dtype=object)) * _focal_planes(first.header)
    count = sum(map(_count, parts))
    is_part = bool(first.header.get("ConcatenationUID"))
    if tiles > MOST_TILES or (count % tiles and not is_part):
        raise UnreadableError(
            first.path, f"has {count} frames, where its total pixel matrix has {tiles} tiles; it contradicts itself."
        )


def _numbers(part: MultiFrame) -> NDArray[np.int64]:
    """Return the number of each frame, from 0, through all files of a concatenation."""
    return int(part.header.get("ConcatenationFrameOffsetNumber") or 0) + np.arange(_count(part), dtype=np.int64)


def _implicit(part: MultiFrame, matrix: PixelMatrix) -> Places:
    """Return the places that follow from the order: along rows, then columns, then focal planes, then channels."""
    down, across = matrix.tiles
    numbers = _numbers(part)
    plane = numbers // (down * across) % _focal_planes(part.header)
    return *matrix.corners_of_tiles(numbers % (down * across)), _full_heights(part.header)[plane]


def _full_heights(header: Any) -> NDArray[np.float64]:
    """Return mm above the matrix of each focal plane; the spacing is all that tells, there are no positions."""
    spacing = _spacing_of_planes(header) or UNKNOWN_STEP_MM
    return np.arange(_focal_planes(header), dtype=np.float64) * spacing


def full_depths(header: Any, matrix: PixelMatrix) -> NDArray[np.float64]:
    """Return mm along the normal, from the plane of the matrix, of each focal plane of a TILED_FULL object."""
    return np.asarray(_full_heights(header) * unit_normal(matrix.orientation)[2], dtype=np.float64)


def _spacing_of_planes(header: Any) -> float:
    """Return the distance of focal planes, mm, that the shared Pixel Measures say; 0 where they say none."""
    groups = header.get("SharedFunctionalGroupsSequence")
    items = groups[0].get("PixelMeasuresSequence") if groups else None
    try:
        value = float(items[0].get("SpacingBetweenSlices")) if items else 0.0
    except (TypeError, ValueError):
        return 0.0
    return value if plausible(value) else 0.0


def channels(part: MultiFrame) -> NDArray[np.int64]:
    """Return for each frame of a TILED_FULL object its channel, from 0: of segmentations, the place of its segment.

    Segments, and optical paths, vary the slowest (PS3.3 C.7.6.17.3).
    """
    matrix = pixel_matrix_of(part.header)
    tiles = int(np.prod(matrix.tiles, dtype=object)) * _focal_planes(part.header)
    return np.asarray(_numbers(part) // tiles, dtype=np.int64)


# --- Grids -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Box:
    """Rows and columns of a matrix, the last ones not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def pixels(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


def place_tiles(places: TilePlaces, region: Region | None = None, layers: int = 1) -> list[FrameStack]:
    """Return the tiles on grids: one for all focal planes where these are evenly spaced, else one for each.

    A grid covers the whole matrix where that is small (:data:`WHOLE_MATRIX`), else the box around the tiles. Tiles
    may reach beyond a grid: what is there is not shown.

    Parameters
    ----------
    region
        Only this part of the slide; tiles beside it are left out.
    layers
        Arrays that are allocated for each grid.

    Raises
    ------
    UnsupportedError
        A grid would be larger than :data:`MOST_PIXELS`.
    GeometryError
        The region lies beside the slide.
    """
    matrix = places.matrix
    box = _Box(0, 0, matrix.rows, matrix.columns) if region is None else _box_of_region(matrix, region)
    stacks = []
    for frames, slices, first, step in _focal_stacks(places):
        count = int(slices.max(initial=0)) + 1
        own = box
        if region is None and box.pixels * count * layers > WHOLE_MATRIX:
            own = _box_around(places.taken(frames))
        if own.pixels * count * layers > MOST_PIXELS:
            raise UnsupportedError(
                f"{places.path}: its tiles span {own.right - own.left} x {own.bottom - own.top} pixels on {count} "
                f"planes, more than fits ({MOST_PIXELS:.3g}). Load a part: region=(x_mm, y_mm, width_mm, height_mm)."
            )
        inside = _touching(places.taken(frames), own)
        stacks.append(_stack(places, own, frames[inside], slices[inside], first, step, count))
    return stacks


def _stack(
    places: TilePlaces,
    box: _Box,
    frames: NDArray[np.int64],
    slices: NDArray[np.int64],
    first: float,
    step: float,
    count: int,
) -> FrameStack:
    matrix = places.matrix
    normal = unit_normal(matrix.orientation)
    corner = matrix.to_slide(np.array([[box.left + HALF, box.top + HALF]]))[0] + normal * first
    shape = (count, box.bottom - box.top, box.right - box.left)
    frame_uid = matrix.frame_of_reference_uid
    geometry = grid(corner.tolist(), matrix.orientation, matrix.spacing, (normal * step).tolist(), shape, frame_uid)
    return FrameStack(geometry, frames, slices, places.rows[frames] - box.top, places.columns[frames] - box.left, None)


def _box_of_region(matrix: PixelMatrix, region: Region) -> _Box:
    """Return the rows and columns that a region touches; on a turned slide, those of the box around it."""
    try:
        values = np.asarray(region, dtype=float)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (4,) or not plausible(values) or values[2:].min() <= 0:
        raise UnsupportedError(f"region= is x, y, width and height in mm, not {region!r}.")
    x, y, width, height = values
    corners = [[x + across, y + along, matrix.origin[2]] for across in (0, width) for along in (0, height)]
    pixels = matrix.to_pixels(np.array(corners))
    edge = 1e-6  # of a pixel: an edge between two pixels belongs to none of the two beyond it
    left, top = np.floor(pixels.min(axis=0) + edge).astype(int).tolist()
    right, bottom = np.ceil(pixels.max(axis=0) - edge).astype(int).tolist()
    box = _Box(max(top, 0), max(left, 0), min(bottom, matrix.rows), min(right, matrix.columns))
    if box.top >= box.bottom or box.left >= box.right:
        raise GeometryError(f"The region {tuple(values.tolist())} lies beside the slide.")
    return box


def _box_around(places: TilePlaces) -> _Box:
    matrix = places.matrix
    bottom = int(places.rows.max()) + matrix.tile_rows
    right = int(places.columns.max()) + matrix.tile_columns
    top, left = max(int(places.rows.min()), 0), max(int(places.columns.min()), 0)
    return _Box(top, left, min(bottom, matrix.rows), min(right, matrix.columns))


def _touching(places: TilePlaces, box: _Box) -> NDArray[np.bool_]:
    matrix = places.matrix
    rows = (places.rows < box.bottom) & (places.rows + matrix.tile_rows > box.top)
    return np.asarray(rows & (places.columns < box.right) & (places.columns + matrix.tile_columns > box.left))


def _focal_stacks(places: TilePlaces) -> list[tuple[NDArray[np.int64], NDArray[np.int64], float, float]]:
    """Return frames, their slices, depth of the first slice, and distance of slices, for each even set of planes."""
    order = np.argsort(places.depths, kind="stable")
    new = np.diff(places.depths[order], prepend=-np.inf) > SAME_PLANE_MM
    plane = np.empty(len(order), dtype=np.int64)
    plane[order] = np.cumsum(new) - 1
    depths = places.depths[order][new]
    gaps = np.diff(depths)
    step = float(gaps.min(initial=np.inf))
    slots = np.rint(np.concatenate([[0.0], np.cumsum(gaps)]) / step) if len(gaps) else np.zeros(1)
    even = bool((np.abs(slots * step - (depths - depths[0])) <= UNEVEN * step).all()) if len(gaps) else True
    if even and slots[-1] < MOST_FOCAL_PLANES:
        distance = (depths[-1] - depths[0]) / slots[-1] if len(gaps) else SINGLE_SLICE_MM
        return [(np.arange(len(plane)), slots.astype(np.int64)[plane], float(depths[0]), float(distance))]
    return [
        (frames, np.zeros(len(frames), dtype=np.int64), float(depth), step)
        for number, depth in enumerate(depths)
        for frames in [np.flatnonzero(plane == number)]
    ]


def covers(stack: FrameStack, chosen: NDArray[np.int64], frame: tuple[int, int]) -> bool:
    """Whether some frames of a stack, by their index in it, leave no pixel of its grid out.

    Only tiles that lie side by side on one lattice are known to; others count as leaving something out.
    """
    slices, rows, columns = (int(size) for size in stack.geometry.spatial_shape)
    places = np.stack([stack.slices[chosen], stack.rows[chosen], stack.columns[chosen]], axis=1)
    if not len(places):
        return False
    corners = places[:, 1:] - places[0, 1:]
    if (corners % frame).any():
        return False
    lattice_start = places[:, 1:].min(axis=0)
    if (lattice_start > 0).any():
        return False
    needed = slices * int(np.prod(-(-(np.array([rows, columns]) - lattice_start) // frame)))
    return len(np.unique(places, axis=0)) == needed
