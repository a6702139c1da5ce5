"""Shape Type (0070,0306): which points a fiducial has, and how it is drawn (PS3.3 C.21.2.1.1).

=========  =====================  ===============================================================================
shape      points                 drawn as
=========  =====================  ===============================================================================
POINT      1                      a control point of the set's point list
LINE       2                      line; its ends have no meaning beyond the axis that they give
PLANE      3                      closed curve: the triangle that gives the plane
SURFACE    3 or more              point list of its own: their order has no meaning, so nothing connects them
RULER      2 or more              open curve along the marks
L_SHAPE    3: A, B, C             open curve
T_SHAPE    3: A, B, D             open curve A, B, C, D, where C is the middle of A and B, from which D stands out
SHAPE      2 or more              closed curve if the last point is the first one, line if there are two, else open
=========  =====================  ===============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "CLOSED",
    "CLOUD",
    "CURVE",
    "LINE",
    "Drawing",
    "contour_points",
    "drawing_of",
    "fits",
    "fitting_shape",
    "shape_of_class",
]

CLOUD = "vtkMRMLMarkupsFiducialNode"
LINE = "vtkMRMLMarkupsLineNode"
CURVE = "vtkMRMLMarkupsCurveNode"
CLOSED = "vtkMRMLMarkupsClosedCurveNode"

_EXACTLY = {"POINT": 1, "LINE": 2, "PLANE": 3, "L_SHAPE": 3, "T_SHAPE": 3}
_AT_LEAST = {"SURFACE": 3, "RULER": 2, "SHAPE": 2}


@dataclass(frozen=True, eq=False)
class Drawing:
    """How a fiducial is drawn: the class of the node, and (n, 3) control points."""

    node_class: str
    points: NDArray[np.float64]


def fits(shape: str, count: int) -> bool:
    """Whether a fiducial of a shape may have so many points; a term that is not in the standard may have any.

    >>> fits("LINE", 2), fits("LINE", 3), fits("RULER", 9)
    (True, False, True)
    """
    if shape in _EXACTLY:
        return count == _EXACTLY[shape]
    return count >= _AT_LEAST.get(shape, 1)


def fitting_shape(shape: str, count: int) -> str:
    """Return the shape, or the one that so many points have where the shape cannot have them.

    >>> fitting_shape("PLANE", 3), fitting_shape("PLANE", 4), fitting_shape("", 1)
    ('PLANE', 'SHAPE', 'POINT')
    """
    if shape and fits(shape, count):
        return shape
    return "POINT" if count == 1 else "SHAPE"


def drawing_of(shape: str, points: NDArray[np.float64]) -> Drawing:
    """Return how the points of a fiducial, of a shape that they fit, are drawn."""
    count = len(points)
    if shape == "SURFACE" or count < 2:
        return Drawing(CLOUD, points)
    if shape == "PLANE":
        return Drawing(CLOSED, points)
    if shape == "T_SHAPE":
        return Drawing(CURVE, np.vstack([points[:2], points[:2].mean(axis=0), points[2:]]))
    if shape == "LINE" or (shape == "SHAPE" and count == 2):
        return Drawing(LINE, points)
    if shape == "SHAPE" and count > 3 and np.array_equal(points[0], points[-1]):
        return Drawing(CLOSED, points[:-1])
    return Drawing(CURVE, points)


def contour_points(shape: str, node_class: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points of a fiducial from the control points of its node; the reverse of :func:`drawing_of`."""
    if shape == "T_SHAPE" and len(points) == 4:
        return points[[0, 1, 3]]
    if shape == "SHAPE" and node_class == CLOSED:
        return np.vstack([points, points[:1]])
    return points


def shape_of_class(node_class: str) -> str:
    """Return the shape that markups of a class have where nothing else is said."""
    return {CLOUD: "POINT", LINE: "LINE"}.get(node_class, "SHAPE")
