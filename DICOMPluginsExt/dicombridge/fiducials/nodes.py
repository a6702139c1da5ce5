"""Sets of fiducials -> markups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.fiducials.kept import FIDUCIALS_ATTRIBUTE, SHAPE_ATTRIBUTE, WHOLE_NODE, set_text
from dicombridge.fiducials.shapes import CLOUD, drawing_of
from dicombridge.geometry import lps_ras_points
from dicombridge.text import node_name, plain_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.fiducials.reading import Fiducial, FiducialSet

__all__ = ["markups_of_set"]


def markups_of_set(scene: Any, name: str, one: FiducialSet) -> list[Any]:
    """Add the markups of a set to a scene: a list of all its points first, then a node for each other fiducial."""
    placed = [fiducial for fiducial in one.fiducials if fiducial.points is not None]
    points = [fiducial for fiducial in placed if fiducial.shape == "POINT"]
    nodes = [_add_points(scene, name, one, points)] if points else []
    return nodes + [_add_shape(scene, one, fiducial) for fiducial in placed if fiducial.shape != "POINT"]


def _add_points(scene: Any, name: str, one: FiducialSet, fiducials: list[Fiducial]) -> Any:
    positions = np.concatenate([fiducial.points for fiducial in fiducials if fiducial.points is not None])
    node = _markups(scene, CLOUD, name, positions)
    kept = {}
    for number, fiducial in enumerate(fiducials):
        node.SetNthControlPointLabel(number, fiducial.label)
        node.SetNthControlPointDescription(number, plain_text(fiducial.description))
        kept[str(node.GetNthControlPointID(number))] = fiducial
    return _add(scene, node, "POINT", set_text(one, kept))


def _add_shape(scene: Any, one: FiducialSet, fiducial: Fiducial) -> Any:
    drawing = drawing_of(fiducial.shape, np.asarray(fiducial.points))
    node = _markups(scene, drawing.node_class, fiducial.label, drawing.points)
    if node.IsA("vtkMRMLMarkupsCurveNode"):
        node.SetCurveTypeToLinear()
    # Of a node's own description nothing is left in a scene file.
    node.SetNthControlPointDescription(0, plain_text(fiducial.description))
    return _add(scene, node, fiducial.shape, set_text(one, {WHOLE_NODE: fiducial}))


def _markups(scene: Any, node_class: str, name: str, points: NDArray[np.float64]) -> Any:
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints

    node = getattr(slicer, node_class)()
    node.SetName(scene.GenerateUniqueName(node_name(name)))
    positions = vtkPoints()
    positions.SetData(numpy_to_vtk(lps_ras_points(points), deep=True))
    node.SetControlPointPositionsWorld(positions)
    return node


def _add(scene: Any, node: Any, shape: str, kept: str) -> Any:
    node.SetAttribute(SHAPE_ATTRIBUTE, shape)
    node.SetAttribute(FIDUCIALS_ATTRIBUTE, kept)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    return node
