"""Are the voxels the same? Nodes, files and truth, brought onto one grid and compared one by one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge import geometry
from dicombridge.errors import GeometryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["arrays_of_file", "arrays_of_fractions", "arrays_of_node", "equal", "node_grid", "on_grid"]

_AXES = [0, 1, 2]

Arrays = dict[str, "NDArray[Any]"]


def on_grid(
    values: NDArray[Any], affine: NDArray[np.float64], target: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Return values put onto another grid, without interpolation; 0 where there are none.

    Parameters
    ----------
    values
        (slices, rows, columns).
    affine, target
        (4, 4) ``(slice, row, column, 1)`` to LPS mm, of the values and of the result.
    shape
        Slices, rows, columns of the result.

    Raises
    ------
    GeometryError
        The voxels of one grid are not voxels of the other, or something would fall off the target.
    """
    between = np.linalg.inv(target) @ affine
    step, offset = np.rint(between[_AXES, _AXES]).astype(int), np.rint(between[:3, 3]).astype(int)
    exact = np.eye(4)
    exact[_AXES, _AXES], exact[:3, 3] = step, offset
    if not np.allclose(between, exact, atol=1e-3) or (np.abs(step) != 1).any():
        raise GeometryError("The voxels of the two grids do not coincide.")
    result = np.zeros(shape, dtype=values.dtype)
    found = np.nonzero(values)
    places = [index * step[axis] + offset[axis] for axis, index in enumerate(found)]
    if any((place < 0).any() or (place >= size).any() for place, size in zip(places, shape, strict=True)):
        raise GeometryError("There are voxels outside the grid of the image.")
    result[tuple(places)] = values[found]
    return result


def arrays_of_node(node: Any, target: NDArray[np.float64], shape: tuple[int, ...]) -> Arrays:
    """Return segment name -> bool array on the target grid, of a segmentation node."""
    from dicombridge.preview import label_layers

    result: Arrays = {}
    for grid, regions in label_layers(node, hidden=True):
        affine = geometry.geometry_of_matrix(grid.ijk_to_ras, grid.values.shape).affine
        for region in regions:
            mask = grid.values == region.label
            result[region.name] = on_grid(mask, affine, target, shape) if mask.any() else np.zeros(shape, dtype=bool)
    return result


def arrays_of_fractions(nodes: list[Any], target: NDArray[np.float64], shape: tuple[int, ...]) -> Arrays:
    """Return segment name -> float array on the target grid, of a segmentation and its volumes of fractions."""
    segmentation = nodes[0].GetSegmentation()
    result: Arrays = {}
    for volume in nodes[1:]:
        values, affine = node_grid(volume)
        segment = segmentation.GetSegment(volume.GetAttribute("DICOMBridge.SegmentID") or "")
        name = segment.GetName() if segment is not None else volume.GetName()
        result[name] = on_grid(values, affine, target, shape)
    return result


def node_grid(volume: Any) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return a volume node's (slices, rows, columns) and its affine ``(slice, row, column, 1)`` to LPS mm."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    image = volume.GetImageData()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return values, np.asarray(geometry.geometry_of_matrix(matrix, values.shape).affine)


def arrays_of_file(file: str | Path, target: NDArray[np.float64] | None, shape: tuple[int, ...] | None) -> Arrays:
    """Return segment label -> array, read by highdicom: bool, or float 0 to 1 for FRACTIONAL.

    Where ``target`` is None, on the grid of the file.
    """
    import highdicom as hd

    segmentation = hd.seg.segread(file)
    fractional = segmentation.segmentation_type.value == "FRACTIONAL"
    volume = segmentation.get_volume(
        combine_segments=False, rescale_fractional=fractional, allow_missing_positions=True
    )
    values = volume.array if fractional else volume.array.astype(bool)
    result: Arrays = {}
    for index, number in enumerate(segmentation.segment_numbers):
        label = segmentation.get_segment_description(number).segment_label
        one = np.ascontiguousarray(values[..., index])
        result[label] = one if target is None or shape is None else on_grid(one, volume.affine, target, shape)
    return result


def equal(one: Arrays, other: Arrays) -> bool:
    """Whether both have the same segments with the same voxels (fractions to one part in a million)."""
    return set(one) == set(other) and all(
        one[label].shape == other[label].shape and np.allclose(one[label], other[label], atol=1e-6) for label in one
    )
