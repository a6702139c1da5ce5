"""Where the pixels of a slide lie: the total pixel matrix of a tiled image (PS3.3 C.8.12.4.1, C.7.6.2.1.1).

Tiles are parts of one large image. Coordinates in it are columns and rows from the corner of its first pixel (0, 0),
whose centre is (0.5, 0.5); those on the slide are millimetres in the slide's frame of reference, which take the place
of LPS in all of this library: a slide lies in the scene as an image of a patient does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import GeometryError
from dicombridge.geometry import plausible

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "HALF",
    "MM_PER_Z_UNIT",
    "SAME_PLANE_MM",
    "SINGLE_SLICE_MM",
    "UNEVEN",
    "UNKNOWN_STEP_MM",
    "PixelMatrix",
    "pixel_matrix_of",
]

MM_PER_Z_UNIT = 1e-3
"""Z Offset in Slide Coordinate System is in micrometres, where X and Y are in mm (PS3.3 C.8.12.2.1.1)."""
HALF = 0.5
"""Column and row of the centre of the first pixel."""
SINGLE_SLICE_MM = 1.0
"""Thickness of a node of one focal plane: that of a glass slide, so that all that lies on it shares the slice shown."""
UNKNOWN_STEP_MM = 1e-3
"""Between focal planes of which no header says how far they are apart."""
SAME_PLANE_MM = 1e-6
"""Focal planes nearer than a nanometre are one; they are some hundreds of them apart."""
UNEVEN = 0.05
"""Part of their distance by which focal planes may be away from an even place."""


@dataclass(frozen=True)
class PixelMatrix:
    """The total pixel matrix of an image.

    Attributes
    ----------
    rows, columns
        Its size.
    tile_rows, tile_columns
        Of a frame.
    origin
        (3,) mm: centre of its first pixel on the slide (Total Pixel Matrix Origin Sequence).
    orientation
        (6,) direction cosines along its rows and its columns (Image Orientation (Slide)).
    spacing
        mm between rows, between columns.
    frame_of_reference_uid
        Of the slide.
    """

    rows: int
    columns: int
    tile_rows: int
    tile_columns: int
    origin: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    frame_of_reference_uid: str = ""

    @property
    def tiles(self) -> tuple[int, int]:
        """Number of tiles below each other, and beside each other; the last ones may reach beyond the matrix."""
        return -(-self.rows // self.tile_rows), -(-self.columns // self.tile_columns)

    def corners_of_tiles(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return first row and first column (n,) of tiles, which are counted from 0, row by row (PS3.3 C.7.6.17.3)."""
        across = self.tiles[1]
        return numbers // across * self.tile_rows, numbers % across * self.tile_columns

    def number_of_tile(self, row: int, column: int) -> int | None:
        """Return the number of the tile that holds a pixel (from 0), None where there is none; the reverse of above."""
        (down, across), below, beside = self.tiles, row // self.tile_rows, column // self.tile_columns
        return below * across + beside if 0 <= below < down and 0 <= beside < across else None

    @property
    def affine(self) -> NDArray[np.float64]:
        """(3, 3) of (column, row, 1), from the centre of the first pixel, to slide mm."""
        along_row, along_column = np.asarray(self.orientation[:3]), np.asarray(self.orientation[3:])
        columns = along_row * self.spacing[1], along_column * self.spacing[0], np.asarray(self.origin)
        return np.stack(columns, axis=1)

    def to_slide(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, 3) slide mm of (n, 2) columns and rows from the corner of the first pixel."""
        centred = np.asarray(pixels, dtype=np.float64) - HALF
        matrix = self.affine
        return np.asarray(centred @ matrix[:, :2].T + matrix[:, 2], dtype=np.float64)

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, 2) columns and rows from the corner of the first pixel of (n, 3) slide mm, along the normal."""
        matrix = self.affine
        relative = np.asarray(points, dtype=np.float64) - matrix[:, 2]
        return np.asarray(relative @ np.linalg.pinv(matrix[:, :2]).T + HALF, dtype=np.float64)


def pixel_matrix_of(header: Any) -> PixelMatrix:
    """Return the total pixel matrix that a header describes; shared functional groups say the spacing.

    Raises
    ------
    GeometryError
        The header does not say where the pixels lie.
    """
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or ()), None)
    measures = next(iter((shared.get("PixelMeasuresSequence") if shared is not None else None) or ()), None)
    spacing = _numbers((measures if measures is not None else header).get("PixelSpacing"), 2)
    orientation = _numbers(header.get("ImageOrientationSlide"), 6)
    first = next(iter(header.get("TotalPixelMatrixOriginSequence") or ()), None)
    offsets = [first.get(f"{axis}OffsetInSlideCoordinateSystem") for axis in "XYZ"] if first is not None else []
    origin = _numbers([*offsets[:2], offsets[2] if offsets[2] is not None else 0.0] if offsets else None, 3)
    if origin is not None:
        origin = (*origin[:2], origin[2] * MM_PER_Z_UNIT)
    sizes = [header.get(name) for name in ("TotalPixelMatrixRows", "TotalPixelMatrixColumns", "Rows", "Columns")]
    wanted = {"pixel spacing": spacing, "orientation on the slide": orientation, "origin on the slide": origin}
    lacks = [name for name, value in wanted.items() if value is None]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        lacks.append("size of its total pixel matrix")
    if lacks:
        raise GeometryError(f"the slide cannot be placed: its header lacks {', '.join(lacks)}")
    rows, columns, tile_rows, tile_columns = (int(size) for size in sizes)
    assert origin is not None
    assert orientation is not None
    assert spacing is not None
    frame = str(header.get("FrameOfReferenceUID") or "")
    place = (origin[0], origin[1], origin[2])
    return PixelMatrix(rows, columns, tile_rows, tile_columns, place, orientation, (spacing[0], spacing[1]), frame)


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """Return so many finite numbers, None where they are no such."""
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and plausible(np.array(found)) else None
