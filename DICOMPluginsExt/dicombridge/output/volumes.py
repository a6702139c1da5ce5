"""The voxels of a volume node where its transforms put them, on a grid that DICOM can hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.geometry import (
    DIRECTION_TOLERANCE,
    geometry_of_matrix,
    grid_of_affine,
    lps_ras_points,
    volume_geometry,
    with_slices_reversed,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.geometry import Grid

__all__ = ["PlacedVoxels", "points_from_world", "sampled", "voxels_of_node"]

MOST_VOXELS = 2**31
"""Of a grid that voxels are resampled to."""


@dataclass(frozen=True)
class PlacedVoxels:
    """Voxels of a volume node.

    Attributes
    ----------
    voxels
        (slices, rows, columns)
    grid
        In the frame of reference, the node's transforms applied; slices run along row x column cosines.
    resampled
        The voxels were interpolated.
    warnings
        Why, for a person.
    """

    voxels: NDArray[Any]
    grid: Grid
    resampled: bool = False
    warnings: list[str] = field(default_factory=list)


def voxels_of_node(node: Any, outside: float = 0.0, slanted: bool = False) -> PlacedVoxels:
    """Return the voxels of a volume node where they lie in the world; the node itself is not changed.

    A linear transform moves the grid. Where DICOM cannot hold that grid, or the transform is not linear, values are
    interpolated linearly.

    Parameters
    ----------
    outside
        Value of interpolated voxels that lie beyond the volume.
    slanted
        The object has a position for each slice, so that slices may be shifted against each other (gantry tilt).

    Raises
    ------
    ExportError
        The node has no voxels, or its transform cannot be used.
    """
    from vtkmodules.util.numpy_support import vtk_to_numpy

    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or scalars.GetNumberOfComponents() != 1 or min(image.GetDimensions()) < 1:
        raise ExportError(f"{node.GetName()!r} has no voxels of one value each.")
    columns, rows, slices = image.GetDimensions()
    voxels = vtk_to_numpy(scalars).reshape(slices, rows, columns)
    transform = node.GetParentTransformNode()
    grid = volume_geometry(node)
    if transform is None:
        return _straight(voxels, grid, outside, slanted)
    if transform.IsTransformToWorldLinear():
        return _straight(voxels, _moved(node, transform), outside, slanted)
    warning = "Its transform is not linear; the values were interpolated on the volume's own grid."
    found = _straight(voxels, grid, outside, slanted)
    warped = sampled(voxels, grid, found.grid, outside, points_from_world(transform))
    return PlacedVoxels(warped, found.grid, True, [*found.warnings, warning])


def _moved(node: Any, transform: Any) -> Grid:
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    to_world, matrix = vtkMatrix4x4(), vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(to_world)
    node.GetIJKToRASMatrix(matrix)
    vtkMatrix4x4.Multiply4x4(to_world, matrix, matrix)
    columns, rows, slices = node.GetImageData().GetDimensions()
    return geometry_of_matrix(matrix, (slices, rows, columns))


def _straight(voxels: NDArray[Any], grid: Grid, outside: float, slanted: bool) -> PlacedVoxels:
    """Return voxels on a grid whose slices lie straight above each other, in the direction of the normal."""
    affine = np.asarray(grid.affine, dtype=float)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.linalg.det(axes[:, [2, 1, 0]]) < 0:  # left-handed: the last slice becomes the first one
        voxels, grid = voxels[::-1], with_slices_reversed(grid)
    between = axes.T @ axes - np.eye(3)
    if np.abs(between[1:, 1:] if slanted else between).max() <= DIRECTION_TOLERANCE:
        return PlacedVoxels(voxels, grid)
    straight = _box(grid)
    warning = "Its slices are shifted against each other, which DICOM has no place for; the values were interpolated."
    return PlacedVoxels(sampled(voxels, grid, straight, outside), straight, True, [warning])


def _box(grid: Grid) -> Grid:
    """Return the smallest straight grid of the same voxel sizes and row direction that holds all voxels of a grid."""
    affine = np.asarray(grid.affine, dtype=float)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    row = affine[:3, 2] / lengths[2]
    normal = np.cross(row, affine[:3, 1])
    normal /= np.linalg.norm(normal)
    axes = np.column_stack([normal, np.cross(normal, row), row])
    last = np.asarray(grid.spatial_shape, dtype=float) - 1
    corners = np.array(np.meshgrid(*[[0.0, end] for end in last], indexing="ij")).reshape(3, -1)
    places = axes.T @ (affine[:3, :3] @ corners + affine[:3, 3:])
    spacing = np.array([abs(float(affine[:3, 0] @ normal)), lengths[1], lengths[2]])
    low, high = places.min(axis=1), places.max(axis=1)
    shape = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
    if spacing.min() <= 0 or float(np.prod(shape.astype(float))) > MOST_VOXELS:
        raise ExportError("The volume is too slanted to be resampled to straight slices.")
    straight = np.eye(4)
    straight[:3, :3] = axes * spacing
    straight[:3, 3] = axes @ low
    return grid_of_affine(straight, shape.tolist())


def points_from_world(transform: Any) -> Any:
    """Return what takes (n, 3) LPS points of the world into the node's own coordinates."""
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    general = vtkGeneralTransform()
    transform.GetTransformFromWorld(general)

    def map_points(points: NDArray[np.float64]) -> NDArray[np.float64]:
        from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkPoints

        given, found = vtkPoints(), vtkPoints()
        given.SetData(numpy_to_vtk(lps_ras_points(points), deep=True))
        found.SetDataTypeToDouble()
        general.TransformPoints(given, found)
        return lps_ras_points(vtk_to_numpy(found.GetData()))

    return map_points


def sampled(
    voxels: NDArray[Any], grid: Grid, target: Grid, outside: float = 0.0, map_points: Any = None
) -> NDArray[Any]:
    """Return voxels on another grid, interpolated linearly, slice by slice; float32, or float64 where they are.

    Parameters
    ----------
    voxels, grid
        (slices, rows, columns) and where they lie.
    outside
        Value beyond the outermost voxels' centres.
    map_points
        Takes (n, 3) LPS mm points of the target into the coordinates of the grid; None where they are the same.
    """
    slices, rows, columns = (int(size) for size in target.spatial_shape)
    to_index = np.linalg.inv(np.asarray(grid.affine, dtype=float))
    affine = np.asarray(target.affine, dtype=float)
    plane = np.array(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), dtype=float).reshape(2, -1)
    result = np.empty((slices, rows, columns), np.float64 if voxels.dtype == np.float64 else np.float32)
    for place in range(slices):
        points = (affine[:3, :3] @ np.vstack([np.full(plane.shape[1], float(place)), plane]) + affine[:3, 3:]).T
        if map_points is not None:
            points = map_points(points)
        result[place] = _interpolated(voxels, points @ to_index[:3, :3].T + to_index[:3, 3], outside).reshape(
            rows, columns
        )
    return result


def _interpolated(voxels: NDArray[Any], index: NDArray[np.float64], outside: float) -> NDArray[np.float64]:
    """Return values at (n, 3) fractional indices of slice, row and column."""
    last = np.array(voxels.shape) - 1
    near = np.rint(index)
    index = np.where(np.abs(index - near) < 1e-6, near, index)  # a voxel's centre is on the grid, rounding or not
    within = np.logical_and(index >= 0, index <= last).all(axis=1)
    index = index[within]
    lower = np.clip(np.floor(index).astype(int), 0, np.maximum(last - 1, 0))
    weight = index - lower
    total = np.zeros(len(index))
    for corner in np.ndindex(2, 2, 2):
        at = np.minimum(lower + corner, last)
        part = np.where(corner, weight, 1 - weight).prod(axis=1)
        total += np.where(
            part, part * voxels[at[:, 0], at[:, 1], at[:, 2]], 0.0
        )  # a NaN counts only where it has weight
    result = np.full(within.shape[0], outside)
    result[within] = total
    return result
