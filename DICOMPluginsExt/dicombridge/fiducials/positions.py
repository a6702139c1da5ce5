"""Where the points of markups lie, and in whose coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.geometry import lps_ras_points, plausible

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SAME_MM", "control_points", "reference_volume"]

LINEAR = 0
"""``vtkCurveGenerator::CURVE_TYPE_LINEAR_SPLINE``: the curve is the straight lines between its control points."""
SAME_MM = 1e-6
"""Points nearer than this are the same: what turning signs and storing a scene may do to a number."""
REFERENCE_ROLE = "referenceImageGeometryRef"


def control_points(node: Any, volume: Any, sampled: bool) -> tuple[list[int], NDArray[np.float64]]:
    """Return the numbers of the control points that have a position, and their positions (n, 3) LPS mm.

    Parent transforms are applied. Where the images' volume is under a transform too, positions are relative to it.

    Parameters
    ----------
    sampled
        Whether a curve that is no polygon is given as points along it; then there are no numbers.

    Raises
    ------
    ExportError
        A position is not finite.
    """
    if sampled and node.IsA("vtkMRMLMarkupsCurveNode") and node.GetCurveType() != LINEAR:
        curve = node.GetCurvePointsWorld()
        if curve is not None and curve.GetNumberOfPoints():
            ras = [curve.GetPoint(number) for number in range(curve.GetNumberOfPoints())]
            return [], _checked(node, _without_transform_of(volume, np.array(ras)))
    numbers = [
        number
        for number in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(number) == node.PositionDefined
    ]
    ras = [tuple(node.GetNthControlPointPositionWorld(number)) for number in numbers]
    return numbers, _checked(node, _without_transform_of(volume, np.array(ras, dtype=float).reshape(-1, 3)))


def _without_transform_of(volume: Any, ras: NDArray[np.float64]) -> NDArray[np.float64]:
    import slicer
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    transform = volume.GetParentTransformNode() if volume is not None else None
    if transform is None:
        return ras
    general = vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, transform, general)
    return np.array([general.TransformPoint(*point) for point in ras.tolist()]).reshape(-1, 3)


def _checked(node: Any, ras: NDArray[np.float64]) -> NDArray[np.float64]:
    if not plausible(ras):
        raise ExportError(f"{node.GetName()!r} has a point that is not finite or beyond any patient.")
    return lps_ras_points(ras)


def reference_volume(node: Any) -> Any:
    """Return the volume that markups were drawn on: its reference geometry, else what a point was placed on."""
    volume = node.GetNodeReference(REFERENCE_ROLE)
    scene = node.GetScene()
    if volume is None and scene is not None and node.GetNumberOfControlPoints():
        volume = scene.GetNodeByID(str(node.GetNthControlPointAssociatedNodeID(0) or ""))
    return volume if volume is not None and volume.IsA("vtkMRMLVolumeNode") else None
