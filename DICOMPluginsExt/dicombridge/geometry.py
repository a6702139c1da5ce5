"""Where voxels lie: the one file that flips axes.

Conventions
-----------
* DICOM speaks LPS (x to the patient's left, y to posterior, z to head, mm; PS3.3 C.7.6.2.1.1), MRML speaks RAS.
* Arrays are indexed ``[slice, row, column]``. VTK's index is IJK = (column, row, slice).
* A grid is a highdicom ``VolumeGeometry``: its affine maps ``(slice, row, column, 1)`` to LPS. Slices run along
  the cross product of the row and the column cosines, so the grid is right-handed, as MRML volumes from DICOM are.
* Geometry comes from plane positions and orientations only. SliceThickness and SpacingBetweenSlices are never
  read: the first is not a distance between planes, and both are often wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dicombridge.errors import GeometryError

if TYPE_CHECKING:
    from highdicom import VolumeGeometry
    from numpy.typing import NDArray

    Grid: TypeAlias = "VolumeGeometry | SlantedGrid"
    """Where voxels lie, upright or slanted; a name for annotations."""

__all__ = [
    "DIRECTION_TOLERANCE",
    "FARTHEST_MM",
    "POSITION_TOLERANCE_MM",
    "PlaneStack",
    "SlantedGrid",
    "geometry_of_matrix",
    "grid",
    "grid_of_affine",
    "ijk_to_ras",
    "lps_ras_matrix",
    "lps_ras_points",
    "lps_ras_vectors",
    "plausible",
    "ras_transform_of_lps",
    "same_grid",
    "set_image_geometry",
    "stack_planes",
    "unit_normal",
    "volume_geometry",
    "vtk_matrix",
    "with_slices_reversed",
]

POSITION_TOLERANCE_MM = 0.02
"""Planes nearer than this are one plane, and a plane this near to its regular place is at it.

Positions are decimal strings, often rounded to two digits (e.g. Siemens), so neighbouring spacings differ by up to
0.01 mm although the scanner's table moved evenly.
"""

SPACING_RELATIVE_TOLERANCE = 0.02
"""Part of the spacing that a plane may be away from its regular place before the stack counts as irregular."""

DIRECTION_TOLERANCE = 1e-3
"""Largest difference between direction cosines of parallel planes: cosines are often rounded to three digits."""

FARTHEST_MM = 1e6
"""A kilometre: no image of a patient lies or reaches farther from its origin, but damaged numbers do."""

MOST_SLICES = 2**16
"""Slices of a regular grid, missing ones included; planes that would need more do not belong together."""

_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def plausible(lengths: Any) -> bool:
    """Whether positions, spacings or directions are numbers that an image of a patient can have.

    >>> plausible([0.5, -120.0]), plausible([0.5, float("nan")]), plausible([1e300])
    (True, False, False)
    """
    values = np.asarray(lengths, dtype=float)
    return bool((np.abs(values) <= FARTHEST_MM).all())  # NaN is not


def lps_ras_matrix() -> NDArray[np.float64]:
    """Return the 4x4 matrix that turns LPS points into RAS points and RAS points into LPS points."""
    return _LPS_RAS.copy()


def lps_ras_points(points: Any) -> NDArray[np.float64]:
    """Turn (n, 3) points from LPS to RAS, or from RAS to LPS; the result is a new array.

    >>> lps_ras_points([[1.0, 2.0, 3.0]]).tolist()
    [[-1.0, -2.0, 3.0]]
    """
    return np.asarray(points, dtype=float) * np.diagonal(_LPS_RAS)[:3]


def lps_ras_vectors(vectors: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Turn many vectors from LPS to RAS, or back, from one place in memory to another (or the same) in one pass.

    Parameters
    ----------
    vectors, out
        (n * 3,) contiguous: x, y, z of each vector.

    Examples
    --------
    >>> one = np.array([1, 2, 3], dtype=np.float32)
    >>> lps_ras_vectors(one, one)
    >>> one.tolist()
    [-1.0, -2.0, 3.0]
    """
    # Rows of many vectors: numpy is slow where the innermost loop has three steps.
    width = min(3 * 1024, vectors.size)
    signs = np.tile(np.diagonal(_LPS_RAS)[:3].astype(vectors.dtype), width // 3)
    whole = vectors.size // width * width if width else 0
    if whole:
        np.multiply(vectors[:whole].reshape(-1, width), signs, out=out[:whole].reshape(-1, width))
    np.multiply(vectors[whole:], signs[: vectors.size - whole], out=out[whole:])


def ras_transform_of_lps(matrix: Any) -> NDArray[np.float64]:
    """Return the 4x4 matrix in RAS of a transform that a 4x4 matrix describes in LPS, or the other way round.

    Both the points that go in and those that come out change their axes: F M F. It undoes itself, exactly.

    >>> shift = np.eye(4)
    >>> shift[:3, 3] = 1, 2, 3
    >>> ras_transform_of_lps(shift)[:3, 3].tolist()
    [-1.0, -2.0, 3.0]
    """
    return _LPS_RAS @ np.asarray(matrix, dtype=float) @ _LPS_RAS


def unit_normal(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Return the unit normal (LPS) of a plane: row cosines x column cosines (PS3.3 C.7.6.2.1.1).

    Raises
    ------
    GeometryError
        The six numbers are not two perpendicular directions.

    Examples
    --------
    >>> unit_normal([1, 0, 0, 0, 1, 0]).tolist()
    [0.0, 0.0, 1.0]
    """
    cosines = np.asarray(orientation, dtype=float)
    if cosines.shape != (6,) or not plausible(cosines):
        raise GeometryError(f"Image orientation is not six numbers: {orientation!r}.")
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.allclose(lengths, 1.0, atol=0.01) or abs(row @ column) > 0.01:
        raise GeometryError(f"Image orientation is not two perpendicular unit vectors: {cosines.tolist()}.")
    normal = np.cross(row, column)
    return normal / np.linalg.norm(normal)


@dataclass(frozen=True)
class PlaneStack:
    """Parallel planes, sorted along their normal.

    Attributes
    ----------
    positions
        (n, 3) LPS mm: the distinct plane positions along the normal.
    index
        (frames,) For every input frame, the slice that it lies in (0 to slices - 1).
    slices
        Number of slices of the regular grid, missing ones included.
    spacing
        mm between slices of the regular grid.
    regular
        Every plane is within tolerance of its place on the grid.
    missing
        Slices of the grid in which no frame lies.
    step
        (3,) LPS mm from one slice to the next. Parallel to the normal unless the stack is sheared.
    shear_mm
        Largest in-plane shift from one slice to the next; 0 for an orthogonal stack, above it for gantry tilt.
    """

    positions: NDArray[np.float64]
    index: NDArray[np.int64]
    slices: int
    spacing: float
    regular: bool
    missing: tuple[int, ...]
    step: NDArray[np.float64]
    shear_mm: float


def stack_planes(
    positions: Any,
    orientation: Sequence[float],
    *,
    default_spacing: float = 1.0,
) -> PlaneStack:
    """Sort planes along their normal and find the spacing from their positions alone.

    Gaps are allowed: the spacing is the largest distance of which all plane distances are whole multiples; where
    there is none, the stack is irregular and the spacing is the median distance.

    Parameters
    ----------
    positions
        (frames, 3) LPS mm: ImagePositionPatient of each frame, in any order, repeats allowed.
    orientation
        ImageOrientationPatient that all frames share.
    default_spacing
        mm; used for a single plane, whose spacing positions cannot tell.

    Raises
    ------
    GeometryError
        There is no plane, or a number is not finite.
    """
    points = np.asarray(positions, dtype=float).reshape(-1, 3)
    if not len(points) or not plausible(points):
        raise GeometryError(f"Plane positions are missing, not finite, or beyond {FARTHEST_MM:g} mm.")
    normal = unit_normal(orientation)
    distance = points @ normal
    order = np.argsort(distance, kind="stable")
    sorted_distance = distance[order]
    new_plane = np.concatenate([[True], np.diff(sorted_distance) > POSITION_TOLERANCE_MM])
    plane_of_sorted = np.cumsum(new_plane) - 1
    planes = sorted_distance[new_plane]
    corners = points[order][new_plane]
    plane_of_frame = np.empty(len(points), dtype=np.int64)
    plane_of_frame[order] = plane_of_sorted
    if len(planes) == 1:
        step = normal * default_spacing
        return PlaneStack(corners, plane_of_frame, 1, default_spacing, True, (), step, 0.0)
    spacing, place, regular = _regular_places(planes)
    slices = int(place[-1]) + 1
    missing = tuple(sorted(set(range(slices)) - set(place.tolist()))) if regular else ()
    in_plane = (corners - corners[0]) - np.outer(planes - planes[0], normal)
    shear = in_plane[-1] / max(int(place[-1]), 1)
    residual = np.abs(in_plane - np.outer(place, shear)).max()
    regular = regular and bool(residual <= max(POSITION_TOLERANCE_MM, SPACING_RELATIVE_TOLERANCE * spacing))
    shear_mm = float(np.linalg.norm(shear))
    drift = shear_mm * max(int(place[-1]), 1)
    if drift <= max(POSITION_TOLERANCE_MM, SPACING_RELATIVE_TOLERANCE * spacing):
        shear, shear_mm = np.zeros(3), 0.0
    return PlaneStack(
        corners, place[plane_of_frame], slices, spacing, regular, missing, normal * spacing + shear, shear_mm
    )


def _regular_places(planes: NDArray[np.float64]) -> tuple[float, NDArray[np.int64], bool]:
    """Return spacing, grid place of each plane, and whether the planes fit the grid."""
    gaps = np.diff(planes)
    extent = float(planes[-1] - planes[0])
    smallest, median = float(gaps.min()), float(np.median(gaps))
    # The spacing divides the smallest gap; a gap of 3 beside one of 2 means a spacing of 1. Beyond a quarter of the
    # smallest gap any set of distances would look regular, so the search ends there. The median comes first: gaps of
    # beds that were joined are a little off, and would make the smallest one a bad guess.
    for guess in (median, smallest, smallest / 2, smallest / 3, smallest / 4):
        # Gap by gap, so that a small error of the guess does not add up over hundreds of planes.
        steps = np.rint(gaps / guess)
        if steps.min() < 1 or steps.sum() >= MOST_SLICES:
            continue
        place = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
        spacing = extent / int(place[-1])
        error = np.abs(planes - planes[0] - place * spacing).max()
        if error <= max(POSITION_TOLERANCE_MM, SPACING_RELATIVE_TOLERANCE * spacing):
            return spacing, place, True
    return median, np.arange(len(planes), dtype=np.int64), False


@dataclass(frozen=True, eq=False)
class SlantedGrid:
    """A grid whose slices are shifted against each other (gantry tilt), which ``VolumeGeometry`` does not allow.

    Attributes
    ----------
    affine
        4x4: (slice, row, column, 1) to LPS mm.
    spatial_shape
        Slices, rows, columns.
    frame_of_reference_uid
        As in ``VolumeGeometry``.
    """

    affine: NDArray[np.float64]
    spatial_shape: tuple[int, int, int]
    frame_of_reference_uid: str | None = None


def grid(
    origin: Sequence[float],
    orientation: Sequence[float],
    pixel_spacing: Sequence[float],
    step: Sequence[float],
    shape: Sequence[int],
    frame_of_reference_uid: str | None = None,
) -> VolumeGeometry | SlantedGrid:
    """Return the grid of a stack of planes.

    Parameters
    ----------
    origin
        (3,) LPS mm: centre of the first voxel, i.e. ImagePositionPatient of the first slice.
    orientation
        (6,) ImageOrientationPatient: cosines along a row (of increasing column), then along a column.
    pixel_spacing
        PixelSpacing: mm between rows, then mm between columns (PS3.3 10.7.1.3).
    step
        (3,) LPS mm from one slice to the next.
    shape
        Slices, rows, columns.
    frame_of_reference_uid
        FrameOfReferenceUID of the positions, where known.
    """
    cosines = np.asarray(orientation, dtype=float)
    between_rows, between_columns = float(pixel_spacing[0]), float(pixel_spacing[1])
    if not (plausible([between_rows, between_columns]) and min(between_rows, between_columns) > 0):
        raise GeometryError(f"Pixel spacing is not two positive lengths: {between_rows:g}, {between_columns:g} mm.")
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = cosines[3:] * between_rows
    affine[:3, 2] = cosines[:3] * between_columns
    affine[:3, 3] = origin
    return grid_of_affine(affine, shape, frame_of_reference_uid)


def grid_of_affine(
    affine: Any, shape: Sequence[int], frame_of_reference_uid: str | None = None
) -> VolumeGeometry | SlantedGrid:
    """Return the grid of a 4x4 matrix from (slice, row, column, 1) to LPS mm; ``shape`` is slices, rows, columns.

    Raises
    ------
    GeometryError
        The matrix is not finite, or its axes lie in one plane.
    """
    from highdicom import VolumeGeometry

    affine = np.array(affine, dtype=float)
    slices, rows, columns = (int(size) for size in shape)
    axes = affine[:3, :3]
    if not plausible(affine):
        raise GeometryError(f"The grid is not finite, or lies beyond {FARTHEST_MM:g} mm.")
    lengths = np.linalg.norm(axes, axis=0)
    if lengths.min() <= 0:
        raise GeometryError("The grid has an axis without length.")
    directions = axes / lengths
    if abs(np.linalg.det(directions)) < 1e-3:
        raise GeometryError("The axes of the grid lie in one plane.")
    cosines = directions.T @ directions - np.eye(3)
    if np.abs(cosines).max() > DIRECTION_TOLERANCE:
        return SlantedGrid(affine, (slices, rows, columns), frame_of_reference_uid or None)
    try:
        return VolumeGeometry(affine, (slices, rows, columns), "PATIENT", frame_of_reference_uid or None)
    except ValueError:  # highdicom's limit of what is perpendicular is narrower than rounded cosines are
        return SlantedGrid(affine, (slices, rows, columns), frame_of_reference_uid or None)


def with_slices_reversed(geometry: VolumeGeometry | SlantedGrid) -> VolumeGeometry | SlantedGrid:
    """Return the same voxels with the last slice first, which turns a left-handed grid into a right-handed one."""
    affine = np.array(geometry.affine, dtype=float)
    affine[:3, 3] += affine[:3, 0] * (int(geometry.spatial_shape[0]) - 1)
    affine[:3, 0] = -affine[:3, 0]
    return grid_of_affine(affine, geometry.spatial_shape, geometry.frame_of_reference_uid)


def ijk_to_ras(geometry: VolumeGeometry | SlantedGrid) -> NDArray[np.float64]:
    """Return the 4x4 matrix from VTK's IJK = (column, row, slice) to RAS mm."""
    slice_row_column_to_lps = np.asarray(geometry.affine, dtype=float)
    ijk_to_lps = slice_row_column_to_lps[:, [2, 1, 0, 3]]
    return _LPS_RAS @ ijk_to_lps


def geometry_of_matrix(
    matrix: Any, shape: Sequence[int], frame_of_reference_uid: str | None = None
) -> VolumeGeometry | SlantedGrid:
    """Return the grid of an IJK-to-RAS matrix (4x4 array or vtkMatrix4x4); ``shape`` is slices, rows, columns."""
    if hasattr(matrix, "GetElement"):
        matrix = [[matrix.GetElement(row, column) for column in range(4)] for row in range(4)]
    ijk_to_lps = _LPS_RAS @ np.asarray(matrix, dtype=float)
    return grid_of_affine(ijk_to_lps[:, [2, 1, 0, 3]], shape, frame_of_reference_uid)


def volume_geometry(volume: Any) -> VolumeGeometry | SlantedGrid:
    """Return the grid of a ``vtkMRMLVolumeNode``; parent transforms are not looked at."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    columns, rows, slices = volume.GetImageData().GetDimensions() if volume.GetImageData() else (0, 0, 0)
    return geometry_of_matrix(matrix, (slices, rows, columns))


def vtk_matrix(array: Any) -> Any:
    """Return a 4x4 array as vtkMatrix4x4."""
    # Not ``import vtk``: outside of Slicer that loads all of VTK, which takes longer than a segmentation.
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=float).ravel().tolist())
    return matrix


def set_image_geometry(image: Any, geometry: VolumeGeometry | SlantedGrid) -> None:
    """Give a ``vtkOrientedImageData`` the geometry of a grid."""
    image.SetImageToWorldMatrix(vtk_matrix(ijk_to_ras(geometry)))


def same_grid(
    one: VolumeGeometry | SlantedGrid, other: VolumeGeometry | SlantedGrid, tolerance_mm: float = 1e-3
) -> bool:
    """Whether two grids have the same shape and their corner voxels are within ``tolerance_mm``."""
    if tuple(one.spatial_shape) != tuple(other.spatial_shape):
        return False
    last = np.asarray(one.spatial_shape, dtype=float) - 1
    corners = np.array(np.meshgrid(*[[0.0, n] for n in last], indexing="ij")).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    difference = (np.asarray(one.affine) - np.asarray(other.affine)) @ corners
    return bool(np.linalg.norm(difference[:3], axis=0).max() <= tolerance_mm)
