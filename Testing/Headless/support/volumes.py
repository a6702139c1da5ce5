"""Volume nodes: making them without DICOM, and reading them without the library."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def image_data(array: NDArray[Any], image: Any = None) -> Any:
    """Return ``vtkImageData`` (or the given image) with a copy of the voxels of [slice, row, column]."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData() if image is None else image
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
    return image


def vtk_matrix(array: NDArray[Any]) -> Any:
    """Return a 4x4 array as a ``vtkMatrix4x4``."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix


def volume_node(scene: Any, array: NDArray[Any], to_ras: NDArray[Any] | None = None, name: str = "Volume") -> Any:
    """Return a new scalar volume of [slice, row, column] that never saw DICOM; ``to_ras`` is IJK to RAS."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(image_data(array))
    if to_ras is not None:
        node.SetIJKToRASMatrix(vtk_matrix(to_ras))
    return node


def array_of_image(image: Any) -> NDArray[Any]:
    """Voxels of ``vtkImageData``, [slice, row, column]; not a copy."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def array_of(node: Any) -> NDArray[Any]:
    """Voxels of a volume node, [slice, row, column]; not a copy."""
    return array_of_image(node.GetImageData())


def elements_of(matrix: Any) -> NDArray[np.float64]:
    """Return a ``vtkMatrix4x4`` as an array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrix_of(node: Any) -> NDArray[np.float64]:
    """4x4 matrix of a volume node: column, row, slice to RAS mm."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return elements_of(matrix)


def lps_of_volume(node: Any) -> NDArray[np.float64]:
    """4x4 matrix of a volume node: column, row, slice to LPS mm, written down here anew."""
    to_lps = matrix_of(node)
    to_lps[:2] *= -1
    return to_lps
