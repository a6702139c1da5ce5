"""Outlines of the labels of a slice: closed loops along the edges of pixels.

Coordinates here are those of pixel corners: (x, y) is the corner between the columns x - 1 and x and the rows y - 1
and y, so that the pixel of column c and row r reaches from (c, r) to (c + 1, r + 1). All labels of a slice are
outlined at once, because a structure set has a hundred of them.

Loops are directed so that the label is on the right hand of who walks along them with y downwards: an outer loop runs
clockwise on the screen, that of a hole against it. Pixels that touch at a corner alone are two regions; so a hole whose
pixels touch at corners is one hole, and its loop passes that corner twice. Filling by the even-odd rule at the centres
of the pixels gives back exactly the label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

__all__ = ["Link", "Outlines", "label_outlines"]


class Link(NamedTuple):
    """Where a hole can be joined with a loop around it: a way along one row, through nothing but the label.

    Attributes
    ----------
    parent
        The loop on the left: the outer one, or another hole that has a link to it by itself or through others.
    row
        Row of pixels through which the way leads.
    edge, parent_edge
        Edges of the loops at which it ends, both upright and as high as that row at least: an edge is the number of
        the point among all points of the slice at which it begins.
    """

    parent: int
    row: int
    edge: int
    parent_edge: int


@dataclass(frozen=True)
class Outlines:
    """All loops of a slice.

    Attributes
    ----------
    points
        (n, 2) x, y of the corners of all loops, one loop after the other; edges are level and upright by turns, the
        first edge of each loop is level. The last corner of a loop joins with its first one.
    starts
        (loops + 1,) where each loop begins in ``points``, and their end.
    labels
        (loops,) the label that each loop outlines.
    links
        By loop, for loops around holes.
    """

    points: Integers
    starts: Integers
    labels: Integers
    links: dict[int, Link]

    def __len__(self) -> int:
        return len(self.labels)


class _Runs(NamedTuple):
    """Straight edges between two corners, in the direction of walking; ``bit`` is 1 for right and down.

    A corner is one number, y times ``width`` and x.
    """

    label: Integers
    begin: Integers
    end: Integers
    bit: Integers


def label_outlines(image: NDArray[Any]) -> Outlines:
    """Return the outlines of all labels (pixels that are not 0) of an image, [row, column].

    Examples
    --------
    >>> found = label_outlines(np.array([[0, 7], [7, 7]]))
    >>> found.labels.tolist(), found.points.tolist()
    ([7], [[1, 0], [2, 0], [2, 2], [0, 2], [0, 1], [1, 1]])
    """
    image = np.asarray(image)
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Outlines(np.zeros((0, 2), np.int64), np.zeros(1, np.int64), np.zeros(0, np.int64), {})
    top, left = int(rows[0]), int(columns[0])
    padded = np.pad(image[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    level, upright = _level_runs(padded), _upright_runs(padded)
    order, starts = _loops(level, upright)
    corners = np.stack([level.begin[order], level.end[order]], axis=1).ravel()
    points = np.stack(np.divmod(corners, padded.shape[1])[::-1], axis=1)
    labels = level.label[order[starts[:-1]]]
    links = _links(points, 2 * starts, labels)
    points += (left, top)
    moved = {loop: link._replace(row=link.row + top) for loop, link in links.items()}
    return Outlines(points, 2 * starts, labels, moved)


def _level_runs(padded: NDArray[Any]) -> _Runs:
    """Return the straight edges between rows of an image with a frame of zeros."""
    flat, width = padded.ravel(), padded.shape[1]
    at = np.flatnonzero(flat[:-width] != flat[width:])
    # The label is on the right hand: above a label one walks to the right. Corners are counted without the frame.
    return _runs(at, flat[at + width], flat[at], lambda place: place - 1)


def _upright_runs(padded: NDArray[Any]) -> _Runs:
    """Return the straight edges between columns of an image with a frame of zeros."""
    flat, (height, width) = padded.ravel(), padded.shape
    at = np.flatnonzero(flat[:-1] != flat[1:])
    row, column = np.divmod(at, width)
    along = column * height + row
    # Pixels are looked at row by row, which is how they lie in memory, and the few edges are put in order afterwards.
    order = np.argsort(along)
    at = at[order]

    def corner(place: Integers) -> Integers:
        column, row = np.divmod(place, height)
        return (row - 1) * width + column

    return _runs(along[order], flat[at], flat[at + 1], corner)


def _runs(place: Integers, forth: NDArray[Any], back: NDArray[Any], corner: Callable[[Integers], Integers]) -> _Runs:
    """Return the straight edges that edges of pixels make up.

    Parameters
    ----------
    place
        Of each edge of a pixel: numbers in rising order, which follow each other where the edges do.
    forth, back
        Labels on its two sides: of those that are walked around in the direction of places, and against it.
    corner
        Returns the corner where the edge at a place begins.
    """
    parts = []
    for side, bit in ((forth, 1), (back, 0)):
        used = np.flatnonzero(side)
        label, at = side[used], place[used]
        new = np.ones(len(label) + 1, np.bool_)
        new[1:-1] = (label[1:] != label[:-1]) | (at[1:] != at[:-1] + 1)
        bounds = np.flatnonzero(new)
        low, high = corner(at[bounds[:-1]]), corner(at[bounds[1:] - 1] + 1)
        begin, end = (low, high) if bit else (high, low)
        parts.append((label[bounds[:-1]].astype(np.int64), begin, end, np.full(len(low), bit)))
    return _Runs(*(np.concatenate(pair) for pair in zip(*parts, strict=True)))


def _loops(level: _Runs, upright: _Runs) -> tuple[Integers, Integers]:
    """Return the level edges in the order of the loops, and where each loop begins among them."""
    size = int(max(corners.max() for runs in (level, upright) for corners in (runs.begin, runs.end))) + 1

    def keys(runs: _Runs, corners: Integers, bit: Integers) -> Integers:
        return np.argsort((runs.label * size + corners) * 2 + bit)

    # Where two pixels of a label touch at a corner alone, two edges end and two begin; from each the way turns right.
    after_level, after_upright = np.empty(len(level.label), np.int64), np.empty(len(upright.label), np.int64)
    after_level[keys(level, level.end, level.bit)] = keys(upright, upright.begin, upright.bit)
    after_upright[keys(upright, upright.end, 1 - upright.bit)] = keys(level, level.begin, level.bit)
    following = after_upright[after_level]
    key = level.label * size + level.begin
    key_before = np.empty_like(key)
    key_before[following] = key
    # A loop begins at its top, which is one of the edges that lie higher than those before and after.
    tops = np.flatnonzero((key <= key[following]) & (key <= key_before))
    tops = tops[np.argsort(key[tops], kind="stable")]
    after_that = following.tolist()
    order: list[int] = []
    starts = [0]
    for first in tops.tolist():
        at = first
        while (after := after_that[at]) >= 0:
            order.append(at)
            after_that[at] = -1  # been there
            at = after
        if len(order) > starts[-1]:
            starts.append(len(order))
    return np.array(order, np.int64), np.array(starts, np.int64)


def _links(points: Integers, starts: Integers, labels: Integers) -> dict[int, Link]:
    """Return for each hole a way to a loop on its left, from its leftmost edge.

    The loop found there is the outer one or another hole, which begins still farther left: so the links of all holes
    lead to an outer loop and never in a circle.
    """
    following = np.arange(1, len(points) + 1)
    following[starts[1:] - 1] = starts[:-1]
    twice = points[:, 0] * points[following, 1] - points[:, 1] * points[following, 0]
    areas = np.add.reduceat(twice, starts[:-1])
    holes = np.flatnonzero(areas < 0)
    if not len(holes):
        return {}
    loop_of = np.repeat(np.arange(len(labels)), np.diff(starts))
    edges = np.arange(1, len(points), 2)  # the upright ones
    x, low, high = points[edges, 0], *np.sort([points[edges, 1], points[following[edges], 1]], axis=0)
    height = high - low
    rows = np.repeat(low - np.cumsum(height) + height, height) + np.arange(height.sum())
    unit_edges, unit_x = np.repeat(edges, height), np.repeat(x, height)
    rows_in_all, width = int(rows.max()) + 1, int(x.max()) + 1
    keys = (labels[loop_of[unit_edges]] * rows_in_all + rows) * width + unit_x
    order = np.argsort(keys, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    first_unit = np.cumsum(height) - height
    links = {}
    for hole in holes.tolist():
        mine = np.arange(starts[hole] // 2, starts[hole + 1] // 2)
        leftmost = int(mine[np.argmin(x[mine])])
        unit = int(first_unit[leftmost] + height[leftmost] // 2)
        on_left = int(unit_edges[order[place[unit] - 1]])
        links[hole] = Link(int(loop_of[on_left]), int(rows[unit]), int(edges[leftmost]), on_left)
    return links
