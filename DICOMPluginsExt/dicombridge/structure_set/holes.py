"""Holes: contours around them joined with the contour that they lie in (PS3.3 C.8.8.6.3, the keyhole technique)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dicombridge.structure_set.smoothing import Paths

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["with_keyholes"]


def with_keyholes(paths: Paths) -> Paths:
    """Return paths without loops around holes: each is part of the outer loop, by a channel without width.

    Islands in holes are outer loops of their own. The links of the holes lead, one through the other, to an outer loop
    (:func:`~dicombridge.structure_set.outlines.label_outlines`), so that every hole becomes part of one.
    """
    if not len(paths.links):
        return paths
    bounds = paths.starts.tolist()
    touched = set((np.searchsorted(paths.starts, paths.links.ravel(), side="right") - 1).tolist())
    after: dict[int, int] = {}
    before: dict[int, int] = {}  # of the points of loops around holes
    for loop in touched:
        begin, end = bounds[loop], bounds[loop + 1]
        after.update(zip(range(begin, end - 1), range(begin + 1, end), strict=True))
        after[end - 1] = begin
        if paths.holes[loop]:
            before.update(zip(range(begin + 1, end), range(begin, end - 1), strict=True))
            before[begin] = end - 1
    copies: dict[int, int] = {}
    new = bounds[-1]
    for of_hole, of_parent in paths.links.tolist():
        # There and back: parent, hole all around, the same point of the hole again, the same point of the parent.
        hole_again, parent_again = new, new + 1
        new += 2
        copies[hole_again], copies[parent_again] = of_hole, of_parent
        after[parent_again], after[hole_again] = after[of_parent], parent_again
        after[before[of_hole]], after[of_parent] = hole_again, of_hole
        before[of_hole] = of_parent
        if after[parent_again] in before:
            before[after[parent_again]] = parent_again
    order: list[NDArray[np.int64]] = []
    outer = np.flatnonzero(~paths.holes)
    for loop in outer.tolist():
        first, end = bounds[loop], bounds[loop + 1]
        if loop not in touched:
            order.append(np.arange(first, end))
            continue
        way = [first]
        while (at := after[way[-1]]) != first:
            way.append(at)
        order.append(np.array([copies.get(at, at) for at in way]))
    return Paths(
        paths.points[np.concatenate(order)],
        np.cumsum([0, *map(len, order)]),
        paths.labels[outer],
        paths.slices[outer],
        np.zeros((0, 2), np.int64),
        np.zeros(len(outer), np.bool_),
    )
