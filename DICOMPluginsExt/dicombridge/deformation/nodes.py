"""Items of a deformable registration -> transform nodes.

The standard's formula (PS3.3 C.20.3.1.1) takes a point x of the registered frame to where its source frame is sampled::

    source = Mpost (Mpre x + d(x))

d is the offset at x, in a grid that lies in the registered frame ("the start coordinate, in the Registered RCS, of the
deformation grid"), and is added after Mpre. So d is looked up at x, not at Mpre x. VTK applies one transform after the
other, and its grid knows the point after Mpre only: the same grid, moved by Mpre, gives the same offset there. Its
vectors stay as they are.

registered -> source is the transform *from parent* of a node that is applied to data of the source frame. One node has
all three (``vtkGeneralTransform``), which a scene file keeps: matrices, vectors and the grid's place come back exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.geometry import lps_ras_matrix, ras_transform_of_lps, vtk_matrix
from dicombridge.registration.values import DeformedFrame, is_identity
from dicombridge.text import node_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["INTERPOLATION", "INVERSE_TOLERANCE_MM", "add_deformation", "restore_interpolation", "vectors_for"]

INTERPOLATION = "DICOMBridge.Interpolation"
"""Node attribute: how offsets between the vectors are found, linear or cubic. A scene file does not say it, and is read
as cubic; :func:`restore_interpolation` brings it back. At the vectors themselves both are the same."""

INVERSE_TOLERANCE_MM = 1e-4
"""To which source -> registered is found, which has no formula: VTK iterates. A scene file does not keep it either."""


def vectors_for(count: int) -> tuple[Any, NDArray[np.float32]]:
    """Return a ``vtkFloatArray`` for so many vectors, not filled, and its memory as (count * 3,) array."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkFloatArray

    array = vtkFloatArray()
    array.SetName("Displacement")
    array.SetNumberOfComponents(3)
    array.SetNumberOfTuples(count)
    return array, vtk_to_numpy(array).reshape(-1)


def add_deformation(scene: Any, name: str, item: DeformedFrame, vectors: Any, interpolation: str = "linear") -> Any:
    """Add the node of an item, whose transform from parent is the formula above.

    Parameters
    ----------
    vectors
        ``vtkFloatArray``, RAS mm, i fastest; None where the item has no grid.
    interpolation
        ``"linear"`` or ``"cubic"``, between the vectors.

    Returns
    -------
    vtkMRMLTransformNode
        A ``vtkMRMLGridTransformNode`` of a grid alone, a ``vtkMRMLLinearTransformNode`` of matrices alone, a
        ``vtkMRMLTransformNode`` of both.
    """
    import slicer

    matrices = [None if one is None or is_identity(one.values) else one.values for one in (item.pre, item.post)]
    pre, post = (np.eye(4) if matrix is None else matrix for matrix in matrices)
    if item.grid is None:
        node = slicer.vtkMRMLLinearTransformNode()
        node.SetMatrixTransformFromParent(vtk_matrix(ras_transform_of_lps(post @ pre)))
    else:
        grid = _grid_transform(pre @ item.grid.index_to_lps, item.grid.dimensions, vectors)
        if all(matrix is None for matrix in matrices):
            node, transform = slicer.vtkMRMLGridTransformNode(), grid
        else:
            node, transform = slicer.vtkMRMLTransformNode(), _one_after_the_other(matrices[0], grid, matrices[1])
        node.SetAndObserveTransformFromParent(transform)
        node.SetAttribute(INTERPOLATION, interpolation)
        restore_interpolation(node)
    node.SetName(scene.GenerateUniqueName(node_name(name)))
    scene.AddNode(node)
    return node


def _grid_transform(index_to_lps: NDArray[np.float64], dimensions: tuple[int, int, int], vectors: Any) -> Any:
    """Return a ``vtkOrientedGridTransform`` (RAS) of a grid of any orientation and handedness."""
    import slicer
    from vtkmodules.vtkCommonDataModel import vtkImageData

    index_to_ras = lps_ras_matrix() @ index_to_lps
    spacing = np.linalg.norm(index_to_ras[:3, :3], axis=0)
    image = vtkImageData()
    image.SetDimensions(*dimensions)
    image.SetOrigin(*index_to_ras[:3, 3])
    image.SetSpacing(*spacing)
    image.GetPointData().SetScalars(vectors)
    direction = np.eye(4)
    direction[:3, :3] = index_to_ras[:3, :3] / spacing
    transform = slicer.vtkOrientedGridTransform()
    transform.SetGridDirectionMatrix(vtk_matrix(direction))
    transform.SetDisplacementGridData(image)
    transform.SetInverseTolerance(INVERSE_TOLERANCE_MM)
    return transform


def _one_after_the_other(pre: Any, grid: Any, post: Any) -> Any:
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform, vtkTransform

    whole = vtkGeneralTransform()
    whole.PostMultiply()
    for one in (pre, grid, post):
        if isinstance(one, np.ndarray):
            linear = vtkTransform()
            linear.SetMatrix(vtk_matrix(ras_transform_of_lps(one)))
            whole.Concatenate(linear)
        elif one is not None:
            whole.Concatenate(one)
    return whole


def restore_interpolation(node: Any) -> None:
    """Interpolate between the vectors of a node's grid as its attribute says; without one, nothing is changed.

    For nodes of a scene that was read from a file: grids that are read interpolate in cubic form.
    """
    from vtkmodules.vtkCommonCore import vtkCollection

    said = node.GetAttribute(INTERPOLATION)
    if said not in ("linear", "cubic"):
        return
    parts = vtkCollection()
    node.FlattenGeneralTransform(parts, node.GetTransformFromParent())
    for number in range(parts.GetNumberOfItems()):
        part: Any = parts.GetItemAsObject(number)
        if part.IsA("vtkOrientedGridTransform"):
            part.SetInterpolationModeToLinear() if said == "linear" else part.SetInterpolationModeToCubic()
            part.SetInverseTolerance(INVERSE_TOLERANCE_MM)
