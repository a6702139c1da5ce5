"""Lines, curves, angles and boxes of markups, as polylines in space; and what of them lies in a plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.preview.slices import Plane

__all__ = ["Stroke", "evenly_along", "has_stroke", "stroke_of_model", "stroke_of_node", "strokes_in_plane"]

_DRAWN = ("CurveNode", "LineNode", "AngleNode", "ROINode")
_UNITS = {"mm2": "mm²", "mm3": "mm³"}
_EDGES = [(one, one | bit) for one in range(8) for bit in (1, 2, 4) if not one & bit]
"""Pairs of corners of a box; bit n of a corner's number says at which end of axis n it is."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """How a markup is drawn.

    Attributes
    ----------
    name
        Of the node.
    value
        Its first number, with its unit; empty where it has none.
    colour
        Red, green, blue, 0 to 1.
    lines
        Each (n, 3) RAS mm; of a closed one, the last point is the first one again.
    knots
        (n, 3) RAS mm: points that are marked, as a line's ends are.
    is_box
        Whether the lines are the edges of a box, which a plane cuts in a polygon.
    is_many
        Whether these are many small shapes, drawn fine, whose name stands in the legend.
    """

    name: str
    value: str
    colour: tuple[float, float, float]
    lines: tuple[NDArray[np.float64], ...]
    knots: NDArray[np.float64]
    is_box: bool = False
    is_many: bool = False

    @property
    def length_mm(self) -> float:
        """Of all its lines."""
        return sum(float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in self.lines)


def has_stroke(node: Any) -> bool:
    """Whether a markup is a line, a curve, an angle or a box; the others are points."""
    return any(node.IsA(f"vtkMRMLMarkups{name}") for name in _DRAWN)


def stroke_of_node(node: Any) -> Stroke | None:
    """Return how a line, a curve, an angle or a box is drawn; None for one that has too few points, or is hidden."""
    display = node.GetDisplayNode()
    if display is not None and not display.GetVisibility():
        return None
    colour = tuple(display.GetSelectedColor()) if display is not None else (1.0, 0.5, 0.5)
    name, value = node.GetName() or "", _value(node)
    nothing = np.zeros((0, 3))
    if node.IsA("vtkMRMLMarkupsROINode"):
        corners = _corners(node)
        lines = tuple(corners[list(edge)] for edge in _EDGES)
        return Stroke(name, value, colour, lines, nothing, is_box=True) if np.ptp(corners, axis=0).any() else None
    if node.IsA("vtkMRMLMarkupsCurveNode"):
        line, knots = _points(node.GetCurvePointsWorld()), nothing
    else:
        count = node.GetNumberOfControlPoints()
        line = np.array([node.GetNthControlPointPositionWorld(number) for number in range(count)]).reshape(-1, 3)
        knots = line
    return Stroke(name, value, colour, (line,), knots) if len(line) > 1 else None


def stroke_of_model(node: Any) -> Stroke | None:
    """Return the lines and points of a model, as annotations of a slide are; None for one that has surfaces."""
    data, display = node.GetPolyData(), node.GetDisplayNode()
    if data.GetNumberOfPolys() or data.GetNumberOfStrips() or not data.GetNumberOfPoints():
        return None
    points = _in_world(_points(data.GetPoints()), node)
    lines = tuple(points[cell] for cell in _cells(data.GetLines()) if len(cell) > 1)
    single = [points[cell] for cell in _cells(data.GetVerts())]
    knots = np.concatenate([np.zeros((0, 3)), *single])
    return Stroke(node.GetName() or "", "", tuple(display.GetColor()), lines, knots, is_many=True)


def _cells(cells: Any) -> list[NDArray[np.int64]]:
    """Return the numbers of the points of each cell."""
    from vtk.util.numpy_support import vtk_to_numpy

    if not cells.GetNumberOfCells():
        return []
    return np.split(vtk_to_numpy(cells.GetConnectivityArray()), vtk_to_numpy(cells.GetOffsetsArray())[1:-1])


def _in_world(points: NDArray[np.float64], node: Any) -> NDArray[np.float64]:
    import vtk

    if node.GetParentTransformNode() is None:
        return points
    to_world = vtk.vtkGeneralTransform()
    node.GetParentTransformNode().GetTransformToWorld(to_world)
    return np.array([to_world.TransformPoint(*point) for point in points]).reshape(-1, 3)


def _points(points: Any) -> NDArray[np.float64]:
    from vtk.util.numpy_support import vtk_to_numpy

    if points is None or not points.GetNumberOfPoints():
        return np.zeros((0, 3))
    return np.array(vtk_to_numpy(points.GetData()), dtype=np.float64)


def _corners(node: Any) -> NDArray[np.float64]:
    """Return (8, 3) RAS mm of a box; bit n of a corner's number says at which end of axis n it is."""
    import vtk

    ends = np.array([[number >> axis & 1 for axis in range(3)] for number in range(8)]) - 0.5
    to_world = vtk.vtkGeneralTransform()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetTransformToWorld(to_world)
    to_world.Concatenate(node.GetObjectToNodeMatrix())
    return np.array([to_world.TransformPoint(*corner) for corner in ends * np.array(node.GetSize())])


def _value(node: Any) -> str:
    """Return the first number that somebody gave to a markup, such as one of a report, as text with its unit."""
    for number in range(node.GetNumberOfMeasurements()):
        one = node.GetNthMeasurement(number)
        if one.IsA("vtkMRMLStaticMeasurement") and one.GetValueDefined():
            unit = one.GetUnits() or ""
            return f"{one.GetValue():.4g} {_UNITS.get(unit, unit)}".strip()
    return ""


# In a plane --------------------------------------------------------------------------------------------------------


def strokes_in_plane(
    strokes: Sequence[Stroke], plane: Plane, reach_mm: float
) -> Iterator[tuple[Stroke, list[NDArray[np.float64]], NDArray[np.float64]]]:
    """Yield each stroke of which something lies in a plane, with (n, 2) rows and columns of its lines and knots there.

    Parameters
    ----------
    strokes
        What there is.
    plane
        The picture.
    reach_mm
        What is nearer to the plane than this lies in it; what is farther away is cut off.
    """
    normal = np.cross(plane.right, plane.down)
    for stroke in strokes:
        lines = [_section_of_box(stroke, plane, normal)] if stroke.is_box else stroke.lines
        pieces = [
            plane.places_of(piece)
            for line in lines
            for piece in _within((line - plane.origin) @ normal, line, reach_mm)
        ]
        near = np.abs((stroke.knots - plane.origin) @ normal) <= reach_mm
        if pieces or near.any():
            yield stroke, pieces, plane.places_of(stroke.knots[near])


def _within(height: NDArray[np.float64], line: NDArray[np.float64], reach: float) -> Iterator[NDArray[np.float64]]:
    """Yield the pieces of a polyline whose height over a plane is at most so much, either way."""
    if len(line) > 1 and np.abs(height).max() <= reach:
        yield line  # at once: annotations come by the thousand
        return
    piece: list[NDArray[np.float64]] = []
    for (low, high), (start, end) in zip(pairwise(height), pairwise(line), strict=True):
        first, last = _part_within(float(low), float(high), reach)
        if first >= last:
            continue
        if first > 0.0 or not piece:
            if piece:
                yield np.array(piece)
            piece = [start + first * (end - start)]
        piece.append(start + last * (end - start))
        if last < 1.0:
            yield np.array(piece)
            piece = []
    if piece:
        yield np.array(piece)


def _part_within(low: float, high: float, reach: float) -> tuple[float, float]:
    """Return from where to where (0 to 1) a segment between two heights is within reach of height 0."""
    if low == high:
        return (0.0, 1.0) if abs(low) <= reach else (1.0, 0.0)
    crossings = sorted(((-reach - low) / (high - low), (reach - low) / (high - low)))
    return max(crossings[0], 0.0), min(crossings[1], 1.0)


def _section_of_box(stroke: Stroke, plane: Plane, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the polygon (n, 3) in which a plane cuts a box; without points where it does not."""
    found = []
    for start, end in stroke.lines:
        low, high = (float((point - plane.origin) @ normal) for point in (start, end))
        if low != high and low * high <= 0:
            found.append(start + low / (low - high) * (end - start))
    if len(found) < 3:
        return np.zeros((0, 3))
    points = np.array(found)
    offset = points - points.mean(axis=0)
    order = np.argsort(np.arctan2(offset @ plane.down, offset @ plane.right))
    return points[[*order, order[0]]]


def evenly_along(stroke: Stroke, count: int = 200) -> NDArray[np.float64]:
    """Return (n, 3) RAS mm of points at even distances along a stroke."""
    found = []
    for line in stroke.lines:
        steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
        place = np.concatenate([[0.0], np.cumsum(steps)])
        wanted = np.linspace(0.0, place[-1], count)
        found.append(np.stack([np.interp(wanted, place, line[:, axis]) for axis in range(3)], axis=1))
    return np.concatenate(found)
