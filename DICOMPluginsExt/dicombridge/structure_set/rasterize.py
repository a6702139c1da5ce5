"""Polygons as pixels: the fill rule, and nothing of DICOM.

The rule: a pixel belongs to a region where its centre is inside by the even-odd rule. A centre that lies exactly on
an edge belongs to the region on the right of a left edge or below an upper edge, and not to the one on the left of a
right edge or above a lower edge. So two regions that share an edge share no pixel, and leave none out.

Coordinates are (row, column) in pixels; whole numbers are centres of pixels. They are snapped to 2^-20 of a pixel
first, so that a centre is on an edge where decimal strings say so, and not where rounding errors of a matrix do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dicombridge.segmentation.layers import Patch

__all__ = ["bounding_boxes", "even_odd"]

_SNAP = 2.0**20
_MOST_CROSSINGS = 1 << 21
"""Crossings of edges and rows that are found at a time: bounds the memory."""
_MOST_PIXELS = 1 << 22
"""Pixels that are filled at a time."""


class _Edges(NamedTuple):
    """Edges that cross the centre line of at least one row, sorted by plane."""

    plane: NDArray[np.int64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    slope: NDArray[np.float64]
    first: NDArray[np.int64]
    rows: NDArray[np.int64]

    def part(self, start: int, stop: int) -> _Edges:
        return self.at(slice(start, stop))

    def at(self, which: Any) -> _Edges:
        plane, row, column, slope, first, rows = (array[which] for array in self)
        return _Edges(plane, row, column, slope, first, rows)


def even_odd(
    points: NDArray[np.float64], starts: NDArray[np.int64], planes: NDArray[np.int64], shape: tuple[int, int]
) -> Iterator[tuple[int, Patch]]:
    """Fill closed polygons; those of one plane together.

    Parameters
    ----------
    points
        (n, 2) row and column of the vertices of all polygons. The last vertex of each is joined to its first.
    starts
        (m + 1,) where the vertices of each polygon begin, and the end of the last one.
    planes
        (m,) number of the plane of each polygon, in any order.
    shape
        Rows and columns of a plane; what lies outside is cut off.

    Yields
    ------
    tuple
        Plane and the pixels that are inside, planes in rising order; planes without any are left out.
    """
    edges = _edges(points, starts, planes, shape[0])
    if not len(edges.plane):
        return
    begins = np.flatnonzero(np.diff(edges.plane, prepend=edges.plane[0] - 1))
    left, right = _column_range(edges, shape[1])
    width = max(int(right.max()) - int(left.min()), 1)
    height = int((edges.first + edges.rows).max()) - int(edges.first.min())
    crossings = np.add.reduceat(edges.rows, begins)
    for first, last in _chunks(crossings, max(1, _MOST_PIXELS // max(width * height, 1))):
        stop = int(begins[last]) if last < len(begins) else len(edges.plane)
        start = int(begins[first])
        yield from _filled(edges.part(start, stop), left[start:stop], right[start:stop], begins[first:last] - start)


def bounding_boxes(points: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (m, 4) lowest row and column, highest row and column of polygons, none of which may be empty."""
    low = np.minimum.reduceat(points, starts[:-1], axis=0)
    high = np.maximum.reduceat(points, starts[:-1], axis=0)
    return np.hstack([low, high])


def _edges(points: NDArray[np.float64], starts: NDArray[np.int64], planes: NDArray[np.int64], rows: int) -> _Edges:
    snapped = np.rint(points * _SNAP) / _SNAP
    row, column = np.ascontiguousarray(snapped[:, 0]), np.ascontiguousarray(snapped[:, 1])
    following = np.arange(1, len(row) + 1)
    sizes = np.diff(starts)
    used = sizes > 0
    following[starts[1:][used] - 1] = starts[:-1][used]
    to_row = row[following]
    # An edge crosses the rows from its upper end, inclusive, to its lower end, exclusive.
    first = np.ceil(np.clip(np.minimum(row, to_row), 0, rows)).astype(np.int64)
    count = np.ceil(np.clip(np.maximum(row, to_row), 0, rows)).astype(np.int64) - first
    plane = np.repeat(planes, sizes)
    crossing = np.flatnonzero(count > 0)
    if np.any(np.diff(plane[crossing]) < 0):
        crossing = crossing[np.argsort(plane[crossing], kind="stable")]
    row, column, target = row[crossing], column[crossing], following[crossing]
    slope = (snapped[target, 1] - column) / (snapped[target, 0] - row)
    return _Edges(plane[crossing], row, column, slope, first[crossing], count[crossing])


def _columns(edges: _Edges, rows: NDArray[np.int64], columns: int | None = None) -> NDArray[np.int64]:
    """Return the first column whose centre is right of, or on, each edge in a row."""
    place = edges.column + (rows - edges.row) * edges.slope
    if columns is not None:
        place = np.clip(place, 0, columns)
    return np.ceil(np.rint(place * _SNAP) / _SNAP).astype(np.int64)


def _column_range(edges: _Edges, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and highest column of each edge's crossings."""
    at_first = _columns(edges, edges.first, columns)
    at_last = _columns(edges, edges.first + edges.rows - 1, columns)
    return np.minimum(at_first, at_last), np.maximum(at_first, at_last)


def _chunks(crossings: NDArray[np.int64], most_planes: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of planes that are filled together."""
    totals = np.concatenate([[0], np.cumsum(crossings)])
    first = 0
    while first < len(crossings):
        fits = int(np.searchsorted(totals, totals[first] + _MOST_CROSSINGS, side="right")) - 1
        last = min(max(fits, first + 1), first + most_planes, len(crossings))
        yield first, last
        first = last


def _filled(
    edges: _Edges, left: NDArray[np.int64], right: NDArray[np.int64], begins: NDArray[np.int64]
) -> Iterator[tuple[int, Patch]]:
    """Fill some planes: mark where each row enters and leaves the region, then sum up along the row."""
    tops = np.minimum.reduceat(edges.first, begins)
    bottoms = np.maximum.reduceat(edges.first + edges.rows, begins)
    lefts, rights = np.minimum.reduceat(left, begins), np.maximum.reduceat(right, begins)
    top, left_most = int(tops.min()), int(lefts.min())
    height, width = int(bottoms.max()) - top, (int(rights.max()) - left_most + 64) // 64 * 64
    number = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(edges.plane))))
    marks = np.zeros((len(begins), height, width), np.uint8)
    ends = np.cumsum(edges.rows)
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + _MOST_CROSSINGS, side="right")), start + 1)
        _mark(marks, edges.part(start, stop), number[start:stop], top, left_most)
        start = stop
    filled = _summed(marks)
    boxes = np.stack([tops, bottoms, lefts, rights], axis=1).tolist()
    for index, (plane, (first, last, low, high)) in enumerate(zip(edges.plane[begins].tolist(), boxes, strict=True)):
        mask = filled[index, first - top : last - top, low - left_most : high - left_most]
        if mask.any():
            yield plane, Patch(first, low, mask)


def _summed(marks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the running sum, modulo 2, along rows whose length is a multiple of 64: of 64 pixels in a word at once."""
    words = np.packbits(marks, axis=2, bitorder="little").view("<u8")
    for shift in (1, 2, 4, 8, 16, 32):
        words ^= words << np.uint64(shift)
    for number in range(1, words.shape[2]):
        words[:, :, number] ^= -(words[:, :, number - 1] >> np.uint64(63))
    return np.unpackbits(words.view(np.uint8), axis=2, bitorder="little")


def _mark(marks: NDArray[np.uint8], edges: _Edges, number: NDArray[np.int64], top: int, left: int) -> None:
    """Toggle the pixels at which rows cross edges; two crossings at one pixel cancel each other."""
    _, height, width = marks.shape
    which = np.repeat(np.arange(len(edges.rows)), edges.rows)
    begins = np.cumsum(edges.rows) - edges.rows
    rows = np.arange(len(which)) + (edges.first - begins)[which]
    columns = np.clip(_columns(edges.at(which), rows, left + width), left, left + width - 1)
    keys = np.sort((number[which] * height + (rows - top)) * width + (columns - left))
    last_of_run = np.flatnonzero(np.diff(keys, append=-1))
    runs = np.diff(last_of_run, prepend=-1)
    marks.reshape(-1)[keys[last_of_run[runs % 2 == 1]]] ^= 1
