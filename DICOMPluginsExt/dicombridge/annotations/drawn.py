"""Models and markups -> shapes in slide mm, with what they were loaded with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.annotations.groups import GRAPHIC_TYPES
from dicombridge.annotations.kept import (
    ANNOTATION_ARRAY,
    COORDINATES_ARRAY,
    OWN_ARRAYS,
    WHOLE_NODE,
    KeptGroup,
    KeptShape,
    kept_group,
)
from dicombridge.annotations.outlines import CORNERS_OF_ELLIPSE
from dicombridge.annotations.polydata import array_named, array_names, cells_of
from dicombridge.errors import ExportError
from dicombridge.fiducials.positions import control_points
from dicombridge.geometry import lps_ras_points, plausible

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Drawn", "drawn_of", "merged"]

POINTS_OF_TYPE = {"ELLIPSE": CORNERS_OF_ELLIPSE, "RECTANGLE": 4}
"""Points that a drawn shape has; one that has others is a polygon by now."""
DRAWN_TYPES = {
    "vtkMRMLMarkupsFiducialNode": "POINT",
    "vtkMRMLMarkupsLineNode": "POLYLINE",
    "vtkMRMLMarkupsCurveNode": "POLYLINE",
    "vtkMRMLMarkupsClosedCurveNode": "POLYGON",
}
"""Graphic types of markups."""


@dataclass(eq=False)
class Drawn:
    """Shapes of one type.

    Attributes
    ----------
    points
        (points, 3) slide mm; of an ellipse 32 of its outline.
    starts
        (shapes + 1,) number of the first point of each shape.
    indices
        (shapes,) numbers that they were loaded with.
    stored
        Coordinates that they were loaded with, (points, 2 or 3), NaN for new points; of an ellipse 4 points. None where
        ``points`` are these.
    values
        (shapes,) measured values by name.
    kept
        The group that they were loaded from; None for new ones.
    """

    node: Any
    graphic_type: str
    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    indices: NDArray[np.int64]
    stored: NDArray[Any] | None = None
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    kept: KeptGroup | None = None


def drawn_of(node: Any, volume: Any, warnings: list[str]) -> list[Drawn]:
    """Return the shapes of a model or of markups, those of each type apart; parent transforms are applied.

    Parameters
    ----------
    volume
        The slide that they were drawn on; where it is below a transform too, places are relative to it.

    Raises
    ------
    ExportError
        A point is nowhere.
    """
    kept = kept_group(node)
    if node.IsA("vtkMRMLModelNode"):
        return _of_model(node, kept, volume, warnings)
    return _of_markups(node, kept, volume, warnings)


# --- Models ----------------------------------------------------------------------------------------------------------


def _of_model(node: Any, kept: KeptGroup | None, volume: Any, warnings: list[str]) -> list[Drawn]:
    data = node.GetPolyData()
    if data is None:
        return []
    if data.GetNumberOfStrips():
        warnings.append(f"{node.GetName()!r}: its triangle strips were left out.")
    points = _points_of(node, data, volume)
    found = []
    first_cell = 0
    for graphic_type, cells in (
        ("POINT", data.GetVerts()),
        ("POLYLINE", data.GetLines()),
        ("POLYGON", data.GetPolys()),
    ):
        offsets, ids = cells_of(cells)
        numbers = np.arange(first_cell, first_cell + len(offsets) - 1)
        first_cell += len(offsets) - 1
        for one, starts, point_ids, cell_ids in _of_cells(graphic_type, offsets, ids, numbers, points, kept):
            found.append(_drawn(node, data, one, points, starts, point_ids, cell_ids, kept))
    if not found and len(points):
        ids = np.arange(len(points))
        found.append(_drawn(node, data, "POINT", points, np.arange(len(points) + 1), ids, np.zeros(0, np.int64), kept))
    if not found and kept is not None:  # a group may have no shapes
        none = np.zeros(0, dtype=np.int64)
        found.append(_drawn(node, data, kept.graphic_type, points, np.zeros(1, np.int64), none, none, kept))
    return found


def _points_of(node: Any, data: Any, volume: Any) -> NDArray[np.float64]:
    """Return all points (n, 3) in slide mm, LPS as it were."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    if not data.GetNumberOfPoints():
        return np.zeros((0, 3))
    ras = vtk_to_numpy(_transformed(node, data.GetPoints(), volume).GetData())
    if not plausible([ras.min(), ras.max()]):
        raise ExportError(f"{node.GetName()!r} has a point that is not finite or beyond any slide.")
    return lps_ras_points(ras)


def _transformed(node: Any, points: Any, volume: Any) -> Any:
    """Return ``vtkPoints`` in the coordinates of the slide's volume, or of the world."""
    import slicer
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    parents = [one.GetParentTransformNode() if one is not None else None for one in (node, volume)]
    if parents[0] is parents[1]:
        return points
    general = vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*parents, general)
    moved = vtkPoints()
    moved.SetDataTypeToDouble()
    general.TransformPoints(points, moved)
    return moved


def _of_cells(
    graphic_type: str,
    offsets: NDArray[np.int64],
    ids: NDArray[np.int64],
    numbers: NDArray[np.int64],
    points: NDArray[np.float64],
    kept: KeptGroup | None,
) -> Iterable[tuple[str, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield type, starts, point numbers and cell numbers: of vertices as they are, of lines the closed ones apart."""
    lengths = np.diff(offsets)
    if graphic_type == "POINT":
        if len(ids):
            yield "POINT", np.arange(len(ids) + 1), ids, np.repeat(numbers, lengths)
        return
    closed = np.zeros(len(lengths), dtype=bool)
    if graphic_type == "POLYLINE" and (kept is None or GRAPHIC_TYPES[kept.graphic_type].closed):
        filled = lengths > (0 if kept is not None else 3)
        first, last = ids[offsets[:-1][filled]], ids[offsets[1:][filled] - 1]
        closed[filled] = (first == last) | (kept is None) & (points[first] == points[last]).all(axis=1)
    for wanted, is_closed in ((closed, True), (~closed & (lengths > 0), False)):
        if not wanted.any():
            continue
        taken = np.repeat(wanted, lengths)
        if is_closed:
            taken[offsets[1:][wanted] - 1] = False
        counts = lengths[wanted] - is_closed
        starts = np.concatenate([[0], np.cumsum(counts)])
        kind = "POLYGON" if is_closed else graphic_type
        if kept is not None:
            kind = _as_it_was(kept, kind, counts)
        yield kind, starts, ids[taken], numbers[wanted]


def _as_it_was(kept: KeptGroup, drawn: str, counts: NDArray[np.int64]) -> str:
    """Return the type that shapes were loaded as, where they still are such shapes."""
    if GRAPHIC_TYPES[kept.graphic_type].closed != GRAPHIC_TYPES[drawn].closed or kept.graphic_type == "POINT":
        return drawn
    wanted = POINTS_OF_TYPE.get(kept.graphic_type)
    return kept.graphic_type if wanted is None or (counts == wanted).all() else drawn


def _drawn(
    node: Any,
    data: Any,
    graphic_type: str,
    points: NDArray[np.float64],
    starts: NDArray[np.int64],
    point_ids: NDArray[np.int64],
    cell_ids: NDArray[np.int64],
    kept: KeptGroup | None,
) -> Drawn:
    cells, cell_data = data.GetNumberOfCells(), data.GetCellData()
    values = {}
    for name in array_names(cell_data):
        table = array_named(cell_data, name, cells)
        measured = table is not None and table.shape[1] == 1 and (table.dtype.kind == "f" or _was_measured(kept, name))
        if table is not None and measured and name not in OWN_ARRAYS and len(cell_ids):
            values[name] = table[cell_ids, 0]
    numbers = array_named(cell_data, ANNOTATION_ARRAY, cells)
    shapes = len(starts) - 1
    indices = numbers[cell_ids, 0] if numbers is not None and len(cell_ids) else np.arange(1, shapes + 1)
    stored = None
    if kept is not None and graphic_type == "ELLIPSE":
        table = array_named(cell_data, COORDINATES_ARRAY, cells)
        if table is not None and table.shape[1] in (8, 12):
            stored = table[cell_ids].reshape(4 * shapes, -1)
    elif kept is not None and kept.plane is not None:
        table = array_named(data.GetPointData(), COORDINATES_ARRAY, len(points))
        if table is not None and table.shape[1] == 2:
            stored = table[point_ids]
    everything = len(point_ids) == len(points) and bool((point_ids == np.arange(len(points))).all())
    places = points if everything else points[point_ids]
    return Drawn(node, graphic_type, places, starts, indices.astype(np.int64), stored, values, kept)


def _was_measured(kept: KeptGroup | None, name: str) -> bool:
    return kept is not None and name in kept.names


# --- Markups ---------------------------------------------------------------------------------------------------------


def _of_markups(node: Any, kept: KeptGroup | None, volume: Any, warnings: list[str]) -> list[Drawn]:
    graphic_type = DRAWN_TYPES[node.GetClassName()]
    numbers, points = control_points(node, volume, sampled=True)
    if graphic_type == "POINT":
        if len(numbers) < node.GetNumberOfControlPoints():
            lost = node.GetNumberOfControlPoints() - len(numbers)
            warnings.append(f"{node.GetName()!r}: {lost} points without a position were left out.")
        known = kept.shapes if kept is not None else {}
        keys = [str(node.GetNthControlPointID(number)) for number in numbers]
        shapes = [known.get(key) for key in keys]
        starts = np.arange(len(points) + 1, dtype=np.int64)
    else:
        if graphic_type == "POLYGON" and len(points) > 1 and (points[0] == points[-1]).all():
            points = points[:-1]
        shapes = [kept.shapes.get(WHOLE_NODE) if kept is not None else None]
        starts = np.array([0, len(points)], dtype=np.int64)
        if kept is not None:
            graphic_type = _as_it_was(kept, graphic_type, np.diff(starts))
        elif len(points) < GRAPHIC_TYPES[graphic_type].least:
            warnings.append(f"{node.GetName()!r} has too few points for a {graphic_type} and was left out.")
            return []
    if not len(points):
        return []
    return [_drawn_markups(node, graphic_type, points, starts, shapes, kept)]


def _drawn_markups(
    node: Any,
    graphic_type: str,
    points: NDArray[np.float64],
    starts: NDArray[np.int64],
    shapes: Sequence[KeptShape | None],
    kept: KeptGroup | None,
) -> Drawn:
    """Return shapes that are few, beside what is kept of each."""
    beyond = max((one.index for one in shapes if one is not None), default=0)
    indices = [one.index if one is not None else beyond + 1 + place for place, one in enumerate(shapes)]
    drawn = Drawn(node, graphic_type, points, starts, np.array(indices, dtype=np.int64), kept=kept)
    if kept is None:
        return drawn
    for name in kept.names:
        values = [one.values.get(name, np.nan) if one is not None else np.nan for one in shapes]
        drawn.values[name] = np.array(values, dtype=np.float64)
    each = 4 if graphic_type == "ELLIPSE" else 0
    counts = [each or int(count) for count in np.diff(starts)]
    dimensions = next((len(one.coordinates[0]) for one in shapes if one is not None and one.coordinates), 0)
    if dimensions:
        tables = []
        for one, count in zip(shapes, counts, strict=True):
            table = np.array(one.coordinates, dtype=float) if one is not None else np.zeros((0, dimensions))
            same = table.shape == (count, dimensions)
            tables.append(table if same else np.full((count, dimensions), np.nan))
        drawn.stored = np.concatenate(tables)
    return drawn


# --- Groups ----------------------------------------------------------------------------------------------------------


def merged(drawn: Sequence[Drawn]) -> list[Drawn]:
    """Put together what was loaded from one group and is several markups, in the order that they had."""
    groups: dict[object, list[Drawn]] = {}
    for one in drawn:
        key: object = id(one)
        if one.kept is not None and one.kept.shapes:
            key = (one.kept.object, one.kept.item, one.graphic_type)
        groups.setdefault(key, []).append(one)
    return [_merged(several) if len(several) > 1 else several[0] for several in groups.values()]


def _merged(several: list[Drawn]) -> Drawn:
    several.sort(key=lambda one: int(one.indices[0]))
    first = several[0]
    counts = np.concatenate([np.diff(one.starts) for one in several])
    names = list(dict.fromkeys(name for one in several for name in one.values))
    values = {
        name: np.concatenate([one.values.get(name, np.full(len(one.indices), np.nan)) for one in several])
        for name in names
    }
    stored = [one.stored for one in several]
    return Drawn(
        first.node,
        first.graphic_type,
        np.concatenate([one.points for one in several]),
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([one.indices for one in several]),
        np.concatenate([one for one in stored if one is not None]) if all(one is not None for one in stored) else None,
        values,
        first.kept,
    )
