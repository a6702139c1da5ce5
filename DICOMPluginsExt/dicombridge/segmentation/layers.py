"""Painting frames into label layers: as few arrays as overlapping segments allow.

A layer is an array of labels, [slice, row, column]. Segments that never share a voxel share a layer, as in Slicer's
segmentations. Frames are cut to the bytes that are not zero before they are unpacked: organs fill a small part of their
slices.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Overlap", "PackedPatch", "Patch", "colour_conflicts", "crop_bits", "crop_pixels", "find_conflicts", "paint"]


class Overlap(Exception):
    """Two segments share a voxel."""


@dataclass(frozen=True)
class Patch:
    """The part of a frame that is not zero.

    Attributes
    ----------
    row, column
        Of the first pixel of ``mask`` in the frame.
    mask
        (rows, columns) of 0 and 1, uint8.
    """

    row: int
    column: int
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class PackedPatch:
    """A patch in packed bits."""

    row: int
    column: int
    shape: tuple[int, int]
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, patch: Patch) -> PackedPatch:
        """Pack a patch."""
        height, width = patch.mask.shape
        return cls(patch.row, patch.column, (height, width), np.packbits(patch.mask))

    def unpacked(self) -> Patch:
        """Return the patch."""
        mask = np.unpackbits(self.bits, count=self.shape[0] * self.shape[1]).reshape(self.shape)
        return Patch(self.row, self.column, mask)


def crop_bits(packed: NDArray[np.uint8], rows: int, columns: int) -> Patch | None:
    """Return the part of a frame of packed bits that is not zero, None where all is.

    Parameters
    ----------
    packed
        Bits of a frame, row by row, the first pixel of a byte in its least significant bit.
    """
    if columns % 8:
        if not packed.any():
            return None
        bits = np.unpackbits(packed, count=rows * columns, bitorder="little")
        return crop_pixels(bits.reshape(rows, columns))
    width = columns // 8
    grid = packed[: rows * width].reshape(rows, width)
    # Eight bytes at a time where rows allow it, and along columns, where numpy's reductions are fast: finding the part
    # that is used takes as long as painting it.
    wide = grid.view(np.uint64) if width % 8 == 0 and grid.flags.aligned else grid
    used_rows = np.bitwise_or.reduce(np.ascontiguousarray(wide.T), axis=0).nonzero()[0]
    if not len(used_rows):
        return None
    first_row, last_row = int(used_rows[0]), int(used_rows[-1])
    used_bytes = np.bitwise_or.reduce(wide[first_row : last_row + 1], axis=0).view(np.uint8).nonzero()[0]
    first_byte, last_byte = int(used_bytes[0]), int(used_bytes[-1])
    block = np.ascontiguousarray(grid[first_row : last_row + 1, first_byte : last_byte + 1])
    return Patch(first_row, first_byte * 8, np.unpackbits(block, axis=1, bitorder="little"))


def crop_pixels(mask: NDArray[Any]) -> Patch | None:
    """Return the part of a frame of 0 and 1 (or booleans) that is not zero, None where all is."""
    used_rows = np.flatnonzero(mask.any(axis=1))
    if not len(used_rows):
        return None
    band = mask[used_rows[0] : used_rows[-1] + 1]
    used_columns = np.flatnonzero(band.any(axis=0))
    block = band[:, used_columns[0] : used_columns[-1] + 1]
    return Patch(int(used_rows[0]), int(used_columns[0]), block.astype(np.uint8, copy=False))


def paint(layer: NDArray[Any], place: int, patch: Patch, label: int, check: bool) -> None:
    """Set the voxels of a patch to a label.

    Parameters
    ----------
    layer
        [slice, row, column], changed in place.
    place
        Slice.
    check
        Raise where a voxel has another label already.

    Raises
    ------
    Overlap
        A voxel has another label already; the layer is then partly painted.
    """
    height, width = patch.mask.shape
    target = layer[place, patch.row : patch.row + height, patch.column : patch.column + width]
    # All bits set where the mask is 1: arithmetic on whole arrays is several times faster than indexing by a mask.
    full = np.negative(patch.mask.astype(layer.dtype, copy=False))
    taken = target & full
    if taken.any():
        if check and ((taken != 0) & (taken != label)).any():
            raise Overlap
        target[patch.mask.view(np.bool_)] = label
    else:
        np.bitwise_or(target, full & layer.dtype.type(label), out=target)


def find_conflicts(
    in_slice: Sequence[tuple[int, Patch]], known: Collection[tuple[int, int]] = ()
) -> set[tuple[int, int]]:
    """Return the pairs of segments that share a voxel of a slice, smaller number first.

    Parameters
    ----------
    in_slice
        (segment number, patch) of all frames of a slice.
    known
        Pairs that need no second look.
    """
    conflicts: set[tuple[int, int]] = set()
    if len(in_slice) < 2:
        return conflicts
    boxes = np.array([(p.row, p.column, p.row + p.mask.shape[0], p.column + p.mask.shape[1]) for _, p in in_slice])
    for index, (number, patch) in enumerate(in_slice):
        top, left, bottom, right = boxes[index]
        before = boxes[:index]
        near = (before[:, 0] < bottom) & (before[:, 1] < right) & (before[:, 2] > top) & (before[:, 3] > left)
        for other_index in np.flatnonzero(near).tolist():
            other_number, other = in_slice[other_index]
            pair = (min(number, other_number), max(number, other_number))
            if number != other_number and pair not in known and pair not in conflicts and _share(patch, other):
                conflicts.add(pair)
    return conflicts


def _share(one: Patch, other: Patch) -> bool:
    top, left = max(one.row, other.row), max(one.column, other.column)
    bottom = min(one.row + one.mask.shape[0], other.row + other.mask.shape[0])
    right = min(one.column + one.mask.shape[1], other.column + other.mask.shape[1])
    if top >= bottom or left >= right:
        return False
    a = one.mask[top - one.row : bottom - one.row, left - one.column : right - one.column]
    b = other.mask[top - other.row : bottom - other.row, left - other.column : right - other.column]
    return bool((a & b).any())


_SEARCH_STEPS = 20_000
"""Steps of the search for the fewest layers among 20 segments, fewer among more; real conflicts end far below."""


def colour_conflicts(numbers: Iterable[int], conflicts: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Give each segment a layer, 0 upwards, so that no two in conflict share one; as few layers as can be found.

    Saturation order (DSATUR) with a bounded search: exact for the conflicts of real objects, good for absurd ones.

    >>> colour_conflicts([1, 2, 3], [(1, 2), (2, 3)])
    {1: 1, 2: 0, 3: 1}
    """
    neighbours: dict[int, set[int]] = defaultdict(set)
    for one, other in conflicts:
        neighbours[one].add(other)
        neighbours[other].add(one)
    order = sorted(numbers)
    crowded = [number for number in order if neighbours[number]]
    best = _greedy(crowded, neighbours)
    best = _search(crowded, neighbours, best)
    return {number: best.get(number, 0) for number in order}


def _greedy(numbers: list[int], neighbours: Mapping[int, set[int]]) -> dict[int, int]:
    """Give out layers in saturation order: always the segment next whose neighbours use most layers."""
    layers: dict[int, int] = {}
    taken: dict[int, set[int]] = {number: set() for number in numbers}
    queue = [(0, -len(neighbours[number]), number) for number in numbers]
    heapq.heapify(queue)
    while queue:
        saturation, _, number = heapq.heappop(queue)
        if number in layers or -saturation != len(taken[number]):
            continue  # an entry from before a neighbour got its layer
        layer = next(layer for layer in range(len(taken[number]) + 1) if layer not in taken[number])
        layers[number] = layer
        for other in neighbours[number]:
            if other not in layers and layer not in taken[other]:
                taken[other].add(layer)
                heapq.heappush(queue, (-len(taken[other]), -len(neighbours[other]), other))
    return layers


def _next(numbers: list[int], neighbours: Mapping[int, set[int]], layers: Mapping[int, int]) -> int:
    """Return the open segment whose neighbours use most layers; of these the one with most neighbours."""
    return max(
        (number for number in numbers if number not in layers),
        key=lambda number: (
            len({layers[other] for other in neighbours[number] if other in layers}),
            len(neighbours[number]),
            -number,
        ),
    )


def _search(numbers: list[int], neighbours: Mapping[int, set[int]], best: dict[int, int]) -> dict[int, int]:
    """Improve on the greedy answer by branching, within a bounded number of steps."""
    if len(numbers) > 200:
        return best
    steps, most_steps = 0, _SEARCH_STEPS * 20 // max(len(numbers), 20)
    fewest = max(best.values(), default=-1) + 1
    layers: dict[int, int] = {}

    def branch(used: int) -> None:
        nonlocal steps, best, fewest
        steps += 1
        if steps > most_steps or used >= fewest:
            return
        if len(layers) == len(numbers):
            best, fewest = dict(layers), used
            return
        number = _next(numbers, neighbours, layers)
        taken = {layers[other] for other in neighbours[number] if other in layers}
        for layer in range(min(used + 1, fewest - 1)):
            if layer not in taken:
                layers[number] = layer
                branch(max(used, layer + 1))
                del layers[number]

    branch(0)
    return best
