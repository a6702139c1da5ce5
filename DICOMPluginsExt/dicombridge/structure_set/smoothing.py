"""From the outlines of pixels to the paths that are written: as they are, or smooth, with as few points as allowed.

A smooth path has one point for each edge between a pixel of the label and one outside of it, and each point stays on
the line between the centres of these two pixels. So, however the points are moved along their lines, the path separates
the same centres as the outline did, and the mask that a reader makes of it is the same (these are the constrained
elastic surface nets of S. F. F. Gibson, MICCAI 1998, in a plane). They are moved by a low-pass filter that does not
shrink (G. Taubin, ICCV 1995), for the volume within a contour shall be that of its pixels.

Points of a level edge move up and down, those of an upright edge sidewards. So where an edge ends, the next point does
not move in the direction in which those of the edge do, and how these move depends on nothing but the length of their
edge and the sides to which the way turns at its ends. The moves of all such edges are computed once and looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.structure_set.outlines import Outlines

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = ["INSET", "KEEPS_MASK", "Paths", "pixel_paths", "simplified", "smooth_paths"]

FARTHEST = 0.4
"""Pixels by which a point may leave the edge; at half a pixel it would be at the centre of a pixel."""
KEEPS_MASK = 0.07
"""Pixels by which a path may be moved without crossing the centre of a pixel: its points on two sides of a centre are
0.1 away from it, so the line between them is 0.07 away."""

INSET = 0.001
"""Pixels by which outlines of pixels lie inside these. Right between pixels a place is at half a pixel, which readers
round one way or the other, each as it pleases; a micrometre inside there is nothing to decide."""

ROUNDS = 8
"""Passes of the filter: enough to make straight lines of the stairs of oblique edges."""
FORTH, BACK = 0.5, -0.53
"""Taubin's factors: what one pass smoothes away below its limit of frequency, the next one brings back."""
_REACH = 2 * ROUNDS
"""Points from the end of an edge that what lies beyond it can move: each pass reaches one farther, twice a round."""

CHANNEL = 0.25
"""Height above a row's upper edge, in pixels, at which holes of pixel outlines are joined: between centres of pixels,
so that no reader has to decide whether a centre that lies on the way is inside."""


@dataclass(frozen=True)
class Paths:
    """Closed loops of several slices, as they will be written.

    Attributes
    ----------
    points
        (n, 2) x, y as in :class:`~dicombridge.structure_set.outlines.Outlines`, one loop after the other.
    starts
        (loops + 1,) where each loop begins, and the end.
    labels, slices
        (loops,) of each loop.
    links
        Pairs of points, of a loop around a hole and of its parent, where both can be joined.
    holes
        (loops,) whether a loop goes around a hole.
    """

    points: Floats
    starts: Integers
    labels: Integers
    slices: Integers
    links: Integers
    holes: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class _Joined:
    """Outlines of several slices as one."""

    points: Integers
    starts: Integers
    labels: Integers
    slices: Integers
    edges: Integers  # (links, 3): edge of a hole, edge of its parent, row
    holes: NDArray[np.bool_]


def _together(outlines: Sequence[tuple[int, Outlines]]) -> _Joined:
    points, starts, labels, slices, edges, holes = [], [np.zeros(1, np.int64)], [], [], [], []
    offset = 0
    for number, one in outlines:
        points.append(one.points)
        starts.append(one.starts[1:] + offset)
        labels.append(one.labels)
        slices.append(np.full(len(one), number))
        is_hole = np.zeros(len(one), np.bool_)
        for loop, link in one.links.items():
            is_hole[loop] = True
            edges.append((link.edge + offset, link.parent_edge + offset, link.row))
        holes.append(is_hole)
        offset += len(one.points)
    return _Joined(
        np.concatenate([*points, np.zeros((0, 2), np.int64)]),
        np.concatenate(starts),
        np.concatenate([*labels, np.zeros(0, np.int64)]),
        np.concatenate([*slices, np.zeros(0, np.int64)]),
        np.array(edges, np.int64).reshape(-1, 3),
        np.concatenate([*holes, np.zeros(0, np.bool_)]),
    )


def following(starts: Integers) -> Integers:
    """Return for each point of loops the next one; ``starts`` as in :class:`Paths`, every loop has points."""
    result = np.arange(1, int(starts[-1]) + 1)
    result[starts[1:] - 1] = starts[:-1]
    return result


def pixel_paths(outlines: Sequence[tuple[int, Outlines]]) -> Paths:
    """Return the outlines of slices (number, outlines), a hair inside, and a point wherever a hole is linked."""
    all_of = _together(outlines)
    edges = all_of.edges
    at = np.concatenate([edges[:, 0], edges[:, 1]])
    rows = np.concatenate([edges[:, 2], edges[:, 2]])
    corners, down = _inset(all_of)
    added = np.stack([corners[at, 0], rows + CHANNEL], axis=1)
    # Several links may end at one edge; they come in the direction in which it runs.
    order = np.lexsort((np.where(down[at], rows, -rows), at))
    places = at[order] + 1 + np.arange(len(order))
    new = np.empty((len(corners) + len(at), 2))
    is_added = np.zeros(len(new), np.bool_)
    is_added[places] = True
    new[places], new[~is_added] = added[order], corners
    new_place = np.empty(len(at), np.int64)
    new_place[order] = places
    starts = all_of.starts + np.searchsorted(np.sort(at), all_of.starts, side="left")
    links = new_place.reshape(2, -1).T
    return Paths(new, starts, all_of.labels, all_of.slices, links, all_of.holes)


def _inset(outlines: _Joined) -> tuple[Floats, NDArray[np.bool_]]:
    """Return corners moved into the label, which is on the right hand, and whether the edge from each runs down."""
    points = outlines.points.astype(float)
    after = following(outlines.starts)
    step = outlines.points[after] - outlines.points
    level = np.arange(0, len(points), 2)
    upright = level + 1
    inwards = INSET * np.sign(step[level, 0])
    points[level, 1] += inwards
    points[after[level], 1] += inwards
    inwards = INSET * np.sign(step[upright, 1])
    points[upright, 0] -= inwards
    points[after[upright], 0] -= inwards
    return points, step[:, 1] > 0


def smooth_paths(outlines: Sequence[tuple[int, Outlines]]) -> Paths:
    """Return smooth paths around the same centres of pixels as the outlines of slices (number, outlines)."""
    all_of = _together(outlines)
    corners, after = all_of.points, following(all_of.starts)
    # Edges are level and upright by turns: from every corner the way leads on along one axis, and points move across.
    way = np.arange(len(corners)) % 2
    each = np.arange(len(corners))
    step = corners[after, way] - corners[each, way]
    lengths, direction = np.abs(step), np.sign(step)
    first = np.concatenate([[0], np.cumsum(lengths)])
    edge = np.repeat(each, lengths)
    place = np.arange(int(first[-1])) - first[edge]
    # The points of the edges before and after stay half a pixel beside this one, whichever way they turned.
    before_and_after = np.empty((len(corners), 2), np.int64)
    before_and_after[after, 0] = -direction
    before_and_after[:, 1] = direction[after]
    along = (corners[each, way] + 0.5 * direction)[edge] + direction[edge] * place
    across = corners[each, 1 - way][edge] + _moves(lengths, before_and_after, edge, place)
    is_level = (way == 0)[edge]
    moved = np.stack([np.where(is_level, along, across), np.where(is_level, across, along)], axis=1)
    ends = all_of.edges[:, :2]
    begin_y, down = corners[ends, 1], direction[ends] > 0
    row = all_of.edges[:, 2:]
    links = first[ends] + np.where(down, row - begin_y, begin_y - row - 1)
    return Paths(moved, first[all_of.starts], all_of.labels, all_of.slices, links, all_of.holes)


def _moves(lengths: Integers, before_and_after: Integers, edge: Integers, place: Integers) -> Floats:
    """Return how far points move across their edges.

    Parameters
    ----------
    lengths
        Of the edges, in points.
    before_and_after
        (edges, 2) on which side of an edge the point before it lies, and the one after it: -1 or 1.
    edge, place
        Of each point: its edge, and which point of that it is.
    """
    table, starts = _table_of_moves()
    # All that is farther from the ends than the filter reaches stays where it is, however much of it there is.
    short = np.minimum(lengths, _REACH + 1 + _REACH)
    begin = starts[short, (before_and_after[:, 0] + 1) // 2, (before_and_after[:, 1] + 1) // 2]
    in_table = np.maximum(np.minimum(place, _REACH), place + (short - lengths)[edge])
    in_table += begin[edge]
    return table[in_table]


@cache
def _table_of_moves() -> tuple[Floats, Integers]:
    """Return the moves of all kinds of edges one after the other, and where each begins: by length and sides."""
    starts = np.zeros((_REACH + 1 + _REACH + 1, 2, 2), np.int64)
    moves: list[float] = []
    for length, before, after in np.ndindex(starts.shape):
        starts[length, before, after] = len(moves)
        moves += _filtered(length, before - 0.5, after - 0.5).tolist()
    return np.array(moves), starts


def _filtered(length: int, before: float, after: float) -> Floats:
    """Return how far the points of an edge move; before and after it are points that do not move in this direction."""
    values = np.zeros(length + 2)
    values[0], values[-1] = before, after
    for _ in range(ROUNDS):
        for factor in (FORTH, BACK):
            values[1:-1] += factor * (0.5 * (values[:-2] + values[2:]) - values[1:-1])
        values[1:-1] = np.clip(values[1:-1], -FARTHEST, FARTHEST)
    return values[1:-1]


class _Neighbours:
    """Values of the points before and after each point of closed loops."""

    def __init__(self, starts: Integers) -> None:
        self._first, self._last = starts[:-1], starts[1:] - 1

    def before(self, values: NDArray[Any]) -> NDArray[Any]:
        result = np.empty_like(values)
        result[1:] = values[:-1]
        result[self._first] = values[self._last]
        return result

    def after(self, values: NDArray[Any]) -> NDArray[Any]:
        result = np.empty_like(values)
        result[:-1] = values[1:]
        result[self._last] = values[self._first]
        return result


def simplified(paths: Paths, tolerance: float, spacing: Sequence[float]) -> Paths:
    """Return paths with fewer points, none of which was farther from the new path than the tolerance.

    Parameters
    ----------
    tolerance
        mm; 0 removes the points on straight lines alone.
    spacing
        mm between columns, and between rows.
    """
    keep = np.zeros(len(paths.points), np.bool_)
    keep[paths.links.ravel()] = True
    x, y = (paths.points[:, axis] * spacing[axis] for axis in (0, 1))
    index, starts = np.arange(len(x)), paths.starts
    error = np.zeros(len(x))  # of the edge that begins at a point: how far points that it replaced may be from it
    limit = tolerance + 1e-9
    while len(index):
        of = _Neighbours(starts)
        merged = np.maximum(of.before(error), error)
        merged += _distances(x, y, of)
        merged[keep | (merged > limit)] = np.inf
        sizes = np.diff(starts)
        merged[np.repeat(sizes <= 4, sizes)] = np.inf
        # The cheapest of its neighbours goes; of equal ones every other, so that a straight line takes few rounds.
        key = merged.copy()
        key[1::2] += 1e-12
        gone = (key < of.before(key)) & (key <= of.after(key)) & np.isfinite(key)
        _spare_the_last(gone, starts)
        places = np.flatnonzero(gone)
        if not len(places):
            break
        first = starts[np.searchsorted(starts, places, side="right") - 1]
        last = starts[np.searchsorted(starts, places, side="right")] - 1
        error[np.where(places == first, last, places - 1)] = merged[places]
        stays = ~gone
        starts = starts - np.searchsorted(places, starts)
        index, error, x, y, keep = (values[stays] for values in (index, error, x, y, keep))
    new_place = np.zeros(len(paths.points), np.int64)
    new_place[index] = np.arange(len(index))
    links = new_place[paths.links]
    return Paths(paths.points[index], starts, paths.labels, paths.slices, links, paths.holes)


def _spare_the_last(gone: NDArray[np.bool_], starts: Integers) -> None:
    """Let nothing go from loops of which fewer than four points would be left."""
    sizes = np.diff(starts)
    left = sizes - np.add.reduceat(gone, starts[:-1], dtype=np.int64)
    gone &= np.repeat(left >= 4, sizes)


def _distances(x: Floats, y: Floats, of: _Neighbours) -> Floats:
    """Return how far points are from the straight lines between their neighbours."""
    from_x, from_y = of.before(x), of.before(y)
    way_x, way_y = of.after(x), of.after(y)
    way_x -= from_x
    way_y -= from_y
    x, y = x - from_x, y - from_y
    length = way_x * way_x + way_y * way_y
    length[length == 0] = 1.0
    part = (way_x * x + way_y * y) / length
    np.clip(part, 0.0, 1.0, out=part)
    x -= part * way_x
    y -= part * way_y
    return np.sqrt(x * x + y * y)
