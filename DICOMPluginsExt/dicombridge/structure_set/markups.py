"""POINT contours as point lists, open contours as curves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicombridge.geometry import lps_ras_points
from dicombridge.structure_set.contours import GEOMETRIC_TYPES, OPEN_NONPLANAR, OPEN_PLANAR, POINT
from dicombridge.structure_set.nodes import (
    CONTOUR_NUMBER_ATTRIBUTE,
    GEOMETRIC_TYPE_ATTRIBUTE,
    ROI_NUMBER_ATTRIBUTE,
    SEGMENT_ID_ATTRIBUTE,
)
from dicombridge.text import node_name

if TYPE_CHECKING:
    from dicombridge.structure_set.reading import Roi

__all__ = ["add_markups"]

_log = logging.getLogger(__name__)

MOST_POINTS = 5000
"""Control points of all markups of a region; Slicer handles each as an object."""
MOST_CURVES = 200
"""Curves of a region."""


def add_markups(scene: Any, roi: Roi, segment_id: str, colour: Sequence[float]) -> list[Any]:
    """Add markups for the contours of a region that enclose nothing; return the nodes.

    All POINT contours of a region are one node, each open contour is one. A region with more of them than can be
    handled keeps them as contours only.
    """
    contours = roi.contours
    open_ones = np.flatnonzero(np.isin(contours.types, (OPEN_PLANAR, OPEN_NONPLANAR)))
    points = [contours.of(number) for number in np.flatnonzero(contours.types == POINT).tolist()]
    found = _finite(np.concatenate(points)) if points else np.zeros((0, 3))
    sizes = np.diff(contours.starts)[open_ones]
    if len(open_ones) > MOST_CURVES or int(sizes.sum()) + len(found) > MOST_POINTS:
        _log.warning(
            "%s: its %d open contours and %d points are too many for markups; they were kept as contours.",
            roi.segment.label,
            len(open_ones),
            len(found),
        )
        return []
    nodes = []
    if len(found):
        nodes.append(_add(scene, "vtkMRMLMarkupsFiducialNode", roi.segment.label, found))
        nodes[0].SetAttribute(GEOMETRIC_TYPE_ATTRIBUTE, GEOMETRIC_TYPES[POINT])
    for number in open_ones.tolist():
        of_curve = _finite(contours.of(number))
        if not len(of_curve):
            continue
        name = roi.segment.label if len(open_ones) == 1 else f"{roi.segment.label} {number + 1}"
        curve = _add(scene, "vtkMRMLMarkupsCurveNode", name, of_curve)
        curve.SetCurveTypeToLinear()
        curve.SetAttribute(GEOMETRIC_TYPE_ATTRIBUTE, GEOMETRIC_TYPES[int(contours.types[number])])
        curve.SetAttribute(CONTOUR_NUMBER_ATTRIBUTE, str(number + 1))
        nodes.append(curve)
    for node in nodes:
        node.SetAttribute(ROI_NUMBER_ATTRIBUTE, str(roi.roi_number))
        node.SetAttribute(SEGMENT_ID_ATTRIBUTE, segment_id)
        node.GetDisplayNode().SetSelectedColor(*colour)
        node.GetDisplayNode().SetColor(*colour)
    return nodes


def _finite(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points[np.isfinite(points).all(axis=1)]


def _add(scene: Any, node_class: str, name: str, points: NDArray[np.float64]) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints

    node = scene.AddNewNodeByClass(node_class, scene.GenerateUniqueName(node_name(name)))
    node.CreateDefaultDisplayNodes()
    positions = vtkPoints()
    positions.SetData(numpy_to_vtk(lps_ras_points(points), deep=True))
    node.SetControlPointPositionsWorld(positions)
    return node
