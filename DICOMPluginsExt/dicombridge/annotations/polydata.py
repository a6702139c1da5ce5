"""Arrays <-> ``vtkPolyData``: cells from offsets and connectivity, points and numbers written in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["add_array", "array_named", "array_names", "cells_of", "connected", "new_poly_data"]


def _allocated(values: int, components: int, dtype: Any) -> tuple[Any, NDArray[Any]]:
    """Return a VTK array of numpy's type, and its memory (values, components)."""
    from vtkmodules.util.numpy_support import create_vtk_array, get_vtk_array_type, vtk_to_numpy

    array = create_vtk_array(get_vtk_array_type(np.dtype(dtype).type))
    array.SetNumberOfComponents(components)
    array.SetNumberOfTuples(values)
    return array, vtk_to_numpy(array).reshape(values, components)


def new_poly_data(count: int) -> tuple[Any, NDArray[np.float64]]:
    """Return data of so many points, and the memory of their coordinates (count, 3), to be filled."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkPolyData

    array, memory = _allocated(count, 3, np.float64)
    points = vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(array)
    data = vtkPolyData()
    data.SetPoints(points)
    return data, memory


def connected(starts: NDArray[np.int64], closed: bool) -> Any:
    """Return a ``vtkCellArray`` of which cell i has the points from ``starts[i]`` up to ``starts[i + 1]``.

    Parameters
    ----------
    closed
        Each cell ends with its first point again.
    """
    from vtkmodules.vtkCommonCore import vtkIdTypeArray
    from vtkmodules.vtkCommonDataModel import vtkCellArray

    cells, points = len(starts) - 1, int(starts[-1] - starts[0])
    arrays = vtkIdTypeArray(), vtkIdTypeArray()
    for array, length in zip(arrays, (cells + 1, points + cells * closed), strict=True):
        array.SetNumberOfTuples(length)
    offsets, ids = (_memory(array) for array in arrays)
    np.subtract(starts, starts[0], out=offsets)
    if not closed:
        ids[:] = np.arange(starts[0], starts[-1])
    else:
        offsets += np.arange(cells + 1)
        lengths = np.diff(starts)
        if cells:
            # Numbered on by steps of 1, but at the end of each cell back to its first point, then on to the next one.
            ids[:] = 1
            ids[offsets[1:] - 1] = 1 - lengths
            ids[offsets[1:-1]] = lengths[:-1]
            ids[0] = starts[0]
            np.cumsum(ids, out=ids)
    built = vtkCellArray()
    built.SetData(*arrays)
    return built


def _memory(array: Any) -> NDArray[Any]:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return np.asarray(vtk_to_numpy(array))


def cells_of(cells: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets (cells + 1,) and point numbers of a ``vtkCellArray``, in memory of their own."""
    from vtkmodules.vtkCommonCore import vtkIdTypeArray

    if cells is None or not cells.GetNumberOfCells():
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64)
    found = []
    for array in (cells.GetOffsetsArray(), cells.GetConnectivityArray()):
        copy = vtkIdTypeArray()  # VTK may keep them in 32 bits, or as a rule
        copy.DeepCopy(array)
        found.append(_memory(copy).astype(np.int64))
    return found[0], found[1]


def add_array(data: Any, name: str, values: NDArray[Any]) -> None:
    """Add numbers (tuples,) or (tuples, components) to cell data or point data."""
    table = values if values.ndim == 2 else values[:, None]
    array, memory = _allocated(len(table), table.shape[1], values.dtype)
    memory[:] = table
    array.SetName(name)
    data.AddArray(array)


def array_named(data: Any, name: str, tuples: int) -> NDArray[Any] | None:
    """Return numbers of cell data or point data, (tuples, components); None where there are no such."""
    array = data.GetArray(name)
    if array is None or array.GetNumberOfTuples() != tuples:
        return None
    return _memory(array).reshape(tuples, -1).copy()


def array_names(data: Any) -> list[str]:
    """Return the names of all arrays of numbers."""
    arrays = (data.GetArray(number) for number in range(data.GetNumberOfArrays()))
    return [str(array.GetName()) for array in arrays if array is not None and array.GetName()]
