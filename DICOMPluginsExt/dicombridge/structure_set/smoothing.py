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
from typing import TYPE_CHECKING

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
REACH = 2 * ROUNDS
"""Points from the end of an edge that what lies beyond it can move: each pass reaches one farther, twice a round."""
LONGEST = REACH + 1 + REACH
"""Points of the longest edge that there is to look up: its ends move without regard of each other."""

FEWEST = 4
"""Points that are left of a loop."""
_NUDGES = 1e-12 * np.array([int(f"{number:010b}"[::-1], 2) for number in range(1024)]) / 1024
"""What is added to the costs of points, so that of equal ones every other goes first, then every other of those left:
a straight line takes few rounds."""

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
    after = following(all_of.starts)
    # Edges are level and upright by turns. So are the coordinates along the edge that begins at a corner: x, y, x, y.
    corners = all_of.points.reshape(-1, 4)
    along, across = corners[:, ::3].ravel(), corners[:, 1:3].ravel()
    step = across[after] - along
    lengths, direction = np.abs(step), np.sign(step)
    first = np.concatenate([[0], np.cumsum(lengths)])
    edge = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(int(first[-1])) - first[edge]
    ahead = (along + 0.5 * direction)[edge] + direction[edge] * place
    aside = across[edge] + _moves(lengths, _kinds(direction, after), edge, place)
    is_level = edge % 2 == 0
    moved = np.stack([np.where(is_level, ahead, aside), np.where(is_level, aside, ahead)], axis=1)
    ends = all_of.edges[:, :2]
    begin, row = along[ends], all_of.edges[:, 2:]
    links = first[ends] + np.where(direction[ends] > 0, row - begin, begin - row - 1)
    return Paths(moved, first[all_of.starts], all_of.labels, all_of.slices, links, all_of.holes)


def _kinds(direction: Integers, after: Integers) -> Integers:
    """Return what kinds of edges there are: on which sides of them the points before and after them lie.

    These are points of the edges before and after, half a pixel from the corner: where the next way leads to, and
    where the one before came from.
    """
    kinds = np.empty_like(direction)
    kinds[after] = 1 - direction
    kinds += (1 + direction[after]) // 2
    return kinds


def _moves(lengths: Integers, kinds: Integers, edge: Integers, place: Integers) -> Floats:
    """Return how far points move across their edges.

    Parameters
    ----------
    lengths, kinds
        Of the edges; the length in points.
    edge, place
        Of each point: its edge, and which point of that it is.
    """
    table = _table_of_moves()
    # All that is farther from the ends than the filter reaches stays where it is, however much of it there is.
    short = np.minimum(lengths, LONGEST)
    begin = kinds * table.shape[1] + short * (short - 1) // 2
    in_table = np.maximum(np.minimum(place, REACH), place + (short - lengths)[edge])
    in_table += begin[edge]
    return table.ravel()[in_table]


@cache
def _table_of_moves() -> Floats:
    """Return the moves of points, of each kind of edge one row: of an edge of one point, of one of two, and so on."""
    before, after = np.array([-0.5, -0.5, 0.5, 0.5]), np.array([-0.5, 0.5, -0.5, 0.5])
    return np.concatenate([_filtered(length, before, after) for length in range(1, LONGEST + 1)]).T.copy()


def _filtered(length: int, before: Floats, after: Floats) -> Floats:
    """Return how far the points of edges move, [point, edge]; before and after them are points that stay."""
    values = np.zeros((length + 2, len(before)))
    values[0], values[-1] = before, after
    for _ in range(ROUNDS):
        for factor in (FORTH, BACK):
            values[1:-1] += factor * (0.5 * (values[:-2] + values[2:]) - values[1:-1])
        values[1:-1] = np.clip(values[1:-1], -FARTHEST, FARTHEST)
    return values[1:-1]


def simplified(paths: Paths, tolerance: float, spacing: Sequence[float]) -> Paths:
    """Return paths with fewer points, none of which was farther from the new path than the tolerance.

    Parameters
    ----------
    tolerance
        mm; 0 removes the points on straight lines alone.
    spacing
        mm between columns, and between rows.
    """
    limit = tolerance + 1e-9
    loops = _Loops(paths, spacing)
    candidates = np.flatnonzero(loops.costs <= limit)
    waits = np.zeros(len(paths.points), np.bool_)
    waits[candidates] = True
    while len(gone := loops.spared(candidates[loops.are_least(candidates)])):
        beside = loops.remove(gone)
        # Costs change only beside points that went; all others cost what they did.
        waits[gone], waits[beside] = False, loops.costs[beside] <= limit
        candidates = np.flatnonzero(waits)
    index = np.flatnonzero(loops.stays)
    starts, links = np.searchsorted(index, paths.starts), np.searchsorted(index, paths.links)
    return Paths(paths.points[index], starts, paths.labels, paths.slices, links, paths.holes)


class _Loops:
    """Closed loops of points that are removed one by one; each knows its neighbours.

    Attributes
    ----------
    costs
        mm by which points that are no longer there may be off the path if this one goes too; infinite for points that
        have to stay.
    stays
        Whether a point is still there.
    """

    def __init__(self, paths: Paths, spacing: Sequence[float]) -> None:
        self._x, self._y = (paths.points[:, axis] * spacing[axis] for axis in (0, 1))
        self._sizes = np.diff(paths.starts)
        self._loop = np.repeat(np.arange(len(self._sizes)), self._sizes)
        every = np.arange(len(self._x))
        self._nudges = _NUDGES[(every - paths.starts[self._loop]) % len(_NUDGES)]
        self._nudges[paths.links.ravel()] = np.inf
        self._nudges[(self._sizes <= FEWEST)[self._loop]] = np.inf
        self._errors = np.zeros(len(every))  # of the edge that begins at a point, how far what it replaced is from it
        self._after = following(paths.starts)
        self._before = np.empty_like(self._after)
        self._before[self._after] = every
        self.stays = np.ones(len(every), np.bool_)
        self.costs = self._costs(every)

    def are_least(self, points: Integers) -> NDArray[np.bool_]:
        """Return whether points cost less than their neighbours; so no two neighbours are."""
        costs = self.costs[points]
        return (costs < self.costs[self._before[points]]) & (costs <= self.costs[self._after[points]])

    def spared(self, points: Integers) -> Integers:
        """Return the points that may go together: none of loops of which fewer than four would be left."""
        loops = self._loop[points]
        left = self._sizes - np.bincount(loops, minlength=len(self._sizes))
        return points[(left >= FEWEST)[loops]]

    def remove(self, points: Integers) -> Integers:
        """Remove points, no two of which are neighbours, and return those beside them; these have new costs."""
        self._sizes -= np.bincount(self._loop[points], minlength=len(self._sizes))
        self.stays[points] = False
        before, after = self._before[points], self._after[points]
        self._after[before], self._before[after] = after, before
        self._errors[before] = self.costs[points]
        is_beside = np.zeros(len(self.stays), np.bool_)
        is_beside[before] = is_beside[after] = True
        beside = np.flatnonzero(is_beside)
        self.costs[beside] = self._costs(beside)
        return beside

    def _costs(self, points: Integers) -> Floats:
        before, after = self._before[points], self._after[points]
        costs = np.maximum(self._errors[before], self._errors[points])
        costs += self._distances(points, before, after)
        costs += self._nudges[points]
        return costs

    def _distances(self, points: Integers, before: Integers, after: Integers) -> Floats:
        """Return how far points are from the straight lines between their neighbours."""
        from_x, from_y = self._x[before], self._y[before]
        way_x, way_y = self._x[after], self._y[after]
        x, y = self._x[points], self._y[points]
        for values, origin in ((way_x, from_x), (way_y, from_y), (x, from_x), (y, from_y)):
            values -= origin
        length = way_x * way_x
        length += way_y * way_y
        part = way_x * x
        part += way_y * y
        part /= np.maximum(length, np.finfo(float).tiny)
        np.clip(part, 0.0, 1.0, out=part)
        x -= part * way_x
        y -= part * way_y
        x *= x
        y *= y
        x += y
        return np.sqrt(x, out=x)  # hypot takes twice as long
