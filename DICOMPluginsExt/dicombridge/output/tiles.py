"""Writing on a slide: a node's voxels as tiles of a total pixel matrix (PS3.3 C.7.6.17.3, C.8.12.6.1, C.8.12.14).

A node covers a part of the matrix, or all of it. Its tiles are those of the source image, so that a reader finds tile
under tile; what is empty is not written (TILED_SPARSE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from pydicom.dataset import Dataset

from dicombridge.encode import decimal_string, element, sequence
from dicombridge.errors import DicomBridgeError, ExportError
from dicombridge.geometry import grid_of_affine, unit_normal
from dicombridge.output.frames import shared_groups
from dicombridge.output.source import SliceSources, SlideImage, Source, shows
from dicombridge.placing import overlap
from dicombridge.slide.pixel_matrix import HALF, MM_PER_Z_UNIT, PixelMatrix, pixel_matrix_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.geometry import Grid

__all__ = ["TileGrid", "TilePlaces", "TileStack", "pixels_around", "slide_sources", "tile_grid"]

SAME_PIXELS = 0.01
"""Part of a pixel by which a node may be shifted against a matrix and still have its pixels."""
SAME_AXES = 1e-4
FAR_END = 0.1
"""Part of a pixel by which the last row and column of a node may be off; rounded spacings add up."""
SAME_PLANE = 0.25
"""Part of the distance of focal planes by which a slice may be away from the one that it shows."""
_DEPTH_DIGITS = 6
"""Of mm: focal planes within a nanometre are one."""

_ROW = (0x0048021F, 0x0048021A, "Row Position In Total Image Pixel Matrix")
_COLUMN = (0x0048021E, 0x0048021A, "Column Position In Total Image Pixel Matrix")
_PATH_IDENTIFIER = (0x00480207, 0, 0x00480106)
_HEIGHT = (0x0040074A, 0x0048021A, "Z Offset in Slide Coordinate System")
_SPECIMEN = (
    "ContainerIdentifier",
    "IssuerOfTheContainerIdentifierSequence",
    "ContainerTypeCodeSequence",
    "SpecimenDescriptionSequence",
)


@dataclass(frozen=True, eq=False)
class TileGrid:
    """A node's grid on a total pixel matrix.

    A tile's number is that of its place among all tiles that the node's grid touches: row by row, slice by slice.

    Attributes
    ----------
    matrix
        The total pixel matrix.
    header
        Of the object whose matrix it is.
    grid
        The node's: slices are focal planes.
    row, column
        Of the grid's first pixel in the matrix; it may begin before the matrix does.
    """

    matrix: PixelMatrix
    header: Any
    grid: Grid
    row: int
    column: int

    @property
    def corners(self) -> list[tuple[int, int]]:
        """(row, column) in the matrix, from 0, of the tiles of a slice."""
        matrix = self.matrix
        _, rows, columns = (int(size) for size in self.grid.spatial_shape)
        first = max(self.row, 0) // matrix.tile_rows, max(self.column, 0) // matrix.tile_columns
        stop = min(self.row + rows, matrix.rows), min(self.column + columns, matrix.columns)
        return [
            (row, column)
            for row in range(first[0] * matrix.tile_rows, stop[0], matrix.tile_rows)
            for column in range(first[1] * matrix.tile_columns, stop[1], matrix.tile_columns)
        ]

    @property
    def fills_its_tiles(self) -> bool:
        """Whether the node has a voxel for every pixel of its tiles that lies in the matrix."""
        matrix = self.matrix
        _, rows, columns = (int(size) for size in self.grid.spatial_shape)
        axes = (
            (self.row, rows, matrix.tile_rows, matrix.rows),
            (self.column, columns, matrix.tile_columns, matrix.columns),
        )
        return all(
            (first <= 0 or first % tile == 0) and (first + size >= whole or (first + size) % tile == 0)
            for first, size, tile, whole in axes
        )

    def leaves_out(self, array: NDArray[Any]) -> bool:
        """Whether voxels beyond the matrix have a value that is not 0."""
        rows = slice(max(-self.row, 0), max(self.matrix.rows - self.row, 0))
        columns = slice(max(-self.column, 0), max(self.matrix.columns - self.column, 0))
        inside = array[:, rows, columns]
        return bool(inside.shape != array.shape and np.count_nonzero(inside) != np.count_nonzero(array))


class TileStack(Sequence["NDArray[Any]"]):
    """An array, [slice, row, column], as its tiles, one a time; what the array does not cover is filled.

    Parameters
    ----------
    grid
        Where the array lies.
    array
        Its voxels.
    fill
        Value beyond the array, and beyond the matrix.
    """

    def __init__(self, grid: TileGrid, array: NDArray[Any], fill: float = 0) -> None:
        self._grid, self._array, self._fill = grid, array, fill
        self._corners = grid.corners
        self.dtype = array.dtype

    def __len__(self) -> int:
        return len(self._array) * len(self._corners)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, number: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[NDArray[Any]]: ...
    def __getitem__(self, number: int | slice) -> Any:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        matrix = self._grid.matrix
        place, tile = divmod(number, len(self._corners))
        row, column = self._corners[tile]
        image = np.full((matrix.tile_rows, matrix.tile_columns), self._fill, self.dtype)
        # Voxels beyond the matrix have no place in it, though the last tiles reach there.
        shown = min(matrix.tile_rows, matrix.rows - row), min(matrix.tile_columns, matrix.columns - column)
        plane = self._array[place]
        shared = overlap(plane.shape, row - self._grid.row, column - self._grid.column, shown)
        if shared is not None:
            image[shared[1]] = plane[shared[0]]
        return image

    def max(self, initial: float = 0) -> float:
        """Return the largest value of the array."""
        return max(initial, self._array.max(initial=initial))


def tile_grid(grid: Grid, source: Source, kept: Dataset | None, name: str) -> TileGrid | None:
    """Return where a node's grid lies on a slide, None where it is not of a slide.

    Parameters
    ----------
    grid
        The node's.
    source
        Its images; those of a slide are tried in their order.
    kept
        Header of the object that it was loaded from, None if there is none. Unless a source is given, it goes back to
        the matrix of that object, to the same tiles.
    name
        Of the node, for messages.

    Raises
    ------
    ExportError
        Its voxels are not those of the slide's pixels.
    """
    again = [kept] if kept is not None and "TotalPixelMatrixColumns" in kept and not source.given else []
    headers = [*again, *(slide.header for slide in source.slides)]
    reasons = []
    for header in headers:
        try:
            return _on_matrix(grid, pixel_matrix_of(header), header)
        except DicomBridgeError as error:
            reasons.append(str(error))
    if reasons:
        raise ExportError(f"{name!r} cannot be written on its slide: {reasons[0]}.")
    return None


def pixels_around(grid: Grid, source: Source) -> Grid | None:
    """Return the pixels of a level of the slide that hold a node's grid, None where there is no slide.

    The level is that of the volume which the node is seen on, else the one whose pixels are most like the node's.
    """
    affine = np.asarray(grid.affine, dtype=float)
    matrix = _matrix_for(affine, source)
    if matrix is None:
        return None
    slices, rows, columns = (int(size) for size in grid.spatial_shape)
    corners = np.array([[0, row, column, 1] for row in (0, rows - 1) for column in (0, columns - 1)], dtype=float)
    points = corners @ affine[:3].T
    pixels = matrix.to_pixels(points)
    left, top = np.floor(pixels.min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(pixels.max(axis=0)).astype(int).tolist()
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, matrix.columns), min(bottom, matrix.rows)
    if left >= right or top >= bottom:
        return None
    normal = unit_normal(matrix.orientation)
    height = float((affine[:3, 3] - np.asarray(matrix.origin)) @ normal)
    origin = matrix.to_slide(np.array([[left + HALF, top + HALF]]))[0] + normal * height
    found = np.eye(4)
    found[:3, 0] = affine[:3, 0]
    found[:3, 1:3] = matrix.affine[:, [1, 0]]
    found[:3, 3] = origin
    return grid_of_affine(found, (slices, bottom - top, right - left))


def _matrix_for(affine: NDArray[np.float64], source: Source) -> PixelMatrix | None:
    slides = source.slides
    if slides and source.volume is not None and shows(source.volume, slides[0]):
        return pixel_matrix_of(slides[0].header)
    found, reasons = [], []
    for slide in [one for one in slides if one.is_level] or slides:
        try:
            found.append(pixel_matrix_of(slide.header))
        except DicomBridgeError as error:
            reasons.append(error)
    if reasons and not found:
        raise reasons[0]
    size = np.linalg.norm(affine[:3, 1:3], axis=0).prod()
    return min(found, key=lambda matrix: abs(float(np.log(np.prod(matrix.spacing) / size))), default=None)


def _on_matrix(grid: Grid, matrix: PixelMatrix, header: Any) -> TileGrid:
    affine = np.asarray(grid.affine, dtype=float)
    _, rows, columns = (int(size) for size in grid.spatial_shape)
    corners = np.array([[0, 0, 0, 1], [0, 0, columns - 1, 1], [0, rows - 1, 0, 1]], dtype=float) @ affine[:3].T
    first, right, below = matrix.to_pixels(corners) - HALF
    expected = np.rint(first)
    steps = right - first - [columns - 1, 0], below - first - [0, rows - 1]
    normal = unit_normal(matrix.orientation)
    axis = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    away = max(float(np.abs(step).max()) for step in steps)
    if away > FAR_END or abs(abs(float(axis @ normal)) - 1) > SAME_AXES:
        raise ExportError("its pixels have another size or another direction; resample it to the slide's level first")
    if np.abs(first - expected).max() > SAME_PIXELS:
        shift = np.abs(first - expected).max()
        raise ExportError(
            f"its voxels lie {shift:.2g} pixels beside the slide's; resample it to the slide's level first"
        )
    column, row = (int(value) for value in expected)
    if row >= matrix.rows or column >= matrix.columns or row + rows <= 0 or column + columns <= 0:
        raise ExportError("it lies beside the slide")
    return TileGrid(matrix, header, grid, row, column)


class TilePlaces:
    """Where the frames of an object of a slide lie; the counterpart of :class:`dicombridge.output.frames.SlicePlaces`.

    Parameters
    ----------
    tiles
        The node's grid on the slide.
    used
        Numbers of the tiles that are written.
    """

    def __init__(self, tiles: TileGrid, used: Iterable[int]) -> None:
        self.tiles, self.grid = tiles, tiles.grid
        self.shape: tuple[int, int] = (tiles.matrix.tile_rows, tiles.matrix.tile_columns)
        self._corners = tiles.corners
        places = [self._place(number) for number in set(used)]
        self._ranks = [
            {value: rank for rank, value in enumerate(sorted({place[axis] for place in places}), start=1)}
            for axis in range(3)
        ]
        self._several = int(self.grid.spatial_shape[0]) > 1
        self.dimensions = [_ROW, _COLUMN, *([_HEIGHT] if self._several else [])]

    def _place(self, number: int) -> tuple[int, int, int]:
        place, tile = divmod(number, len(self._corners))
        return (*self._corners[tile], place)

    def index(self, place: int) -> tuple[int, ...]:
        """Return the Dimension Index Values of a tile."""
        of_axes = zip(self._ranks, self._place(place), strict=True)
        return tuple(rank[value] for rank, value in of_axes)[: 3 if self._several else 2]

    def _offset(self, row: int, column: int, place: int) -> tuple[float, float, float]:
        """Return X and Y (mm) and Z (micrometres) of a tile's first pixel."""
        matrix = self.tiles.matrix
        x, y, _ = matrix.to_slide(np.array([[column + HALF, row + HALF]]))[0]
        affine = np.asarray(self.grid.affine, dtype=float)
        normal = unit_normal(matrix.orientation)
        height = float((affine[:3, 3] + place * affine[:3, 0] - np.asarray(matrix.origin)) @ normal) * normal[2]
        first = self.tiles.header.TotalPixelMatrixOriginSequence[0]
        above = float(first.get("ZOffsetInSlideCoordinateSystem") or 0.0)
        return float(x), float(y), round(above + height / MM_PER_Z_UNIT, 6)

    def position(self, place: int) -> tuple[bytes, bytes]:
        """Return the Plane Position (Slide) Sequence of a tile: what stands before (0028,9132), and after it."""
        row, column, plane = self._place(place)
        tags = (0x0040072A, 0x0040073A, 0x0040074A)
        content = b"".join(
            element(tag, b"DS", decimal_string(value).encode("ascii"))
            for tag, value in zip(tags, self._offset(row, column, plane), strict=True)
        )
        content += element(0x0048021E, b"SL", pack("<l", column + 1)) + element(0x0048021F, b"SL", pack("<l", row + 1))
        return b"", sequence(0x0048021A, [content])

    def shared_groups(self) -> Dataset:
        """Return the item of the Shared Functional Groups Sequence: the orientation of a slide is not among them."""
        shared = shared_groups(self.grid)
        del shared.PlaneOrientationSequence
        measures = shared.PixelMeasuresSequence[0]
        measures.PixelSpacing = [decimal_string(value) for value in self.tiles.matrix.spacing]
        if not self._several:  # the slice of a node of one plane is as thick as is good to look at
            del measures.SpacingBetweenSlices
            known = self.tiles.header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].get("SliceThickness")
            measures.SliceThickness = known or measures.SliceThickness
        return shared

    def set_attributes(self, dataset: Dataset) -> None:
        """Set the Microscope Slide Layer Tile Organization module, the specimen, and size and organization of tiles."""
        matrix, header = self.tiles.matrix, self.tiles.header
        dataset.Rows, dataset.Columns = self.shape
        dataset.DimensionOrganizationType = "TILED_SPARSE"
        dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = matrix.rows, matrix.columns
        dataset.TotalPixelMatrixFocalPlanes = int(self.grid.spatial_shape[0])
        for keyword in ("TotalPixelMatrixOriginSequence", "ImageOrientationSlide"):
            dataset[keyword] = header[keyword]
        for keyword in _SPECIMEN:
            if keyword in header and keyword not in dataset:
                dataset[keyword] = deepcopy(header[keyword])
        for specimen in dataset.get("SpecimenDescriptionSequence") or ():
            _leave_out_empty_items(specimen)


def _leave_out_empty_items(specimen: Dataset) -> None:
    """Leave out what says nothing of how a specimen was prepared: some slides have empty content items (C.7.6.22)."""
    steps = []
    for step in specimen.get("SpecimenPreparationSequence") or ():
        items = step.get("SpecimenPreparationStepContentItemSequence") or ()
        said = [one for one in items if one.get("ValueType") and one.get("ConceptNameCodeSequence")]
        if said:
            step.SpecimenPreparationStepContentItemSequence = said
            steps.append(step)
    specimen.SpecimenPreparationSequence = steps


# --- Source frames ---------------------------------------------------------------------------------------------------


def slide_sources(tiles: TileGrid, source: Source, used: Iterable[int]) -> SliceSources:
    """Return the frame of the source image that each tile lies on: that under the tile's middle.

    Of several focal planes and optical paths it is the one at the tile's height, and of the path that the volume shows;
    where that is not known, the image is named without a frame.
    """
    slide = _slide_of(tiles, source)
    if slide is None:
        return SliceSources({}, False)
    try:
        matrix = pixel_matrix_of(slide.header)
        number_of = _frame_numbers(slide, matrix, _path_of(source))
    except DicomBridgeError:  # it names the image then, and no frame of it
        return SliceSources({}, False)
    header, own = slide.header, tiles.matrix
    sop_class, uid = str(header.SOPClassUID), str(header.SOPInstanceUID)
    by_tile: dict[int, list[tuple[str, str, int]]] = {}
    corners = tiles.corners
    affine = np.asarray(tiles.grid.affine, dtype=float)
    normal = unit_normal(matrix.orientation)
    for number in sorted(set(used)):
        place, tile = divmod(number, len(corners))
        row, column = corners[tile]
        depth = float((affine[:3, 3] + place * affine[:3, 0] - np.asarray(matrix.origin)) @ normal)
        size = min(own.tile_rows, own.rows - row), min(own.tile_columns, own.columns - column)
        middle = own.to_slide(np.array([[column + size[1] / 2, row + size[0] / 2]]))
        across, along = np.floor(matrix.to_pixels(middle)[0]).astype(int).tolist()
        frame = number_of(along, across, depth)
        if frame is not None:
            by_tile[number] = [(sop_class, uid, frame)]
    same = (own.tile_rows, own.tile_columns) == (matrix.tile_rows, matrix.tile_columns)
    same = same and all(frame for pairs in by_tile.values() for _, _, frame in pairs)
    apart = matrix.to_pixels(np.array([own.origin]))[0] - HALF
    return SliceSources(by_tile, bool(same and np.abs(apart).max() <= SAME_PIXELS))


def _slide_of(tiles: TileGrid, source: Source) -> SlideImage | None:
    """Return the source image: that whose matrix it is, or the one that was found first."""
    own = tiles.header.get("SOPInstanceUID")
    return next((slide for slide in source.slides if slide.header.get("SOPInstanceUID") == own), None) or next(
        iter(source.slides), None
    )


def _path_of(source: Source) -> str:
    """Return the identifier of the optical path that the node's volume shows, empty where nobody knows it."""
    from dicombridge.slide.volume import OPTICAL_PATH

    return str(source.volume.GetAttribute(OPTICAL_PATH) or "") if source.volume is not None else ""


FrameNumber = Callable[[int, int, float], "int | None"]
"""Returns the frame that holds a pixel (row and column from 0) at a depth (mm along the normal from the matrix): its
number, 0 where it is not known which one of several it is, None where there is none."""


def _frame_numbers(slide: SlideImage, matrix: PixelMatrix, path: str) -> FrameNumber:
    """Return what gives the frame numbers of a slide; of several frames at one place, the first."""
    header = slide.header
    if header.get("DimensionOrganizationType") == "TILED_FULL":
        return _full_numbers(header, matrix, path)
    return _sparse_numbers(slide, matrix, path)


def _full_numbers(header: Any, matrix: PixelMatrix, path: str) -> FrameNumber:
    """Count along rows, columns, focal planes, optical paths (PS3.3 C.7.6.17.3)."""
    from dicombridge.segmentation.tiles import full_depths

    tiles, depths = int(np.prod(matrix.tiles, dtype=object)), full_depths(header, matrix)
    paths = _optical_paths(header)
    channel = 0 if len(paths) < 2 else paths.index(path) if path in paths else None
    before = int(header.get("ConcatenationFrameOffsetNumber") or 0)
    count = int(header.get("NumberOfFrames") or 1)

    def number_of(row: int, column: int, depth: float) -> int | None:
        tile = matrix.number_of_tile(row, column)
        if tile is None:
            return None
        plane = _nearest(depths, depth)
        if plane is None or channel is None:
            return 0
        number = (channel * len(depths) + plane) * tiles + tile + 1 - before
        return number if 0 < number <= count else None

    return number_of


def _sparse_numbers(slide: SlideImage, matrix: PixelMatrix, path: str) -> FrameNumber:
    """Look up the places that frames say."""
    if not slide.path:
        return lambda row, column, depth: 0
    from dicombridge.multiframe import open_multiframe
    from dicombridge.segmentation.tiles import tile_places

    with open_multiframe(slide.path, pixels=False, until_pixels=True) as opened:
        places = tile_places([opened])
        raws = opened.table.column(*_PATH_IDENTIFIER)
    named = [(raw or b"").decode("utf-8", "replace").strip(" \0") for raw in raws]
    several = len(set(named)) > 1
    depths = np.unique(np.round(places.depths, _DEPTH_DIGITS))
    planes = np.searchsorted(depths, np.round(places.depths, _DEPTH_DIGITS)).tolist()
    numbers: dict[tuple[int | None, int], int] = {}
    tiles: set[int | None] = set()
    pairs = zip(places.rows.tolist(), places.columns.tolist(), planes, strict=True)
    for number, (row, column, plane) in enumerate(pairs, start=1):
        tile = matrix.number_of_tile(row, column)
        tiles.add(tile)
        if not several or named[number - 1] == path:
            numbers.setdefault((tile, plane), number)

    def number_of(row: int, column: int, depth: float) -> int | None:
        tile, plane = matrix.number_of_tile(row, column), _nearest(depths, depth)
        if tile is None:
            return None
        if plane is None or (several and path not in named):
            return 0 if tile in tiles else None
        return numbers.get((tile, plane))

    return number_of


def _optical_paths(header: Any) -> list[str]:
    return [str(item.get("OpticalPathIdentifier") or "").strip() for item in header.get("OpticalPathSequence") or ()]


def _nearest(depths: NDArray[np.float64], depth: float) -> int | None:
    """Return which of several focal planes lies at a depth, None where none does; a single one is that of all."""
    if len(depths) == 1:
        return 0
    away = np.abs(depths - depth)
    return int(away.argmin()) if away.min() <= SAME_PLANE * np.diff(np.sort(depths)).min() else None
