"""Painting frames into label layers: as few arrays as overlapping segments allow.

A layer is an array of labels, [slice, row, column]. Segments that never share a voxel share a layer, as in Slicer's
segmentations. Frames are cut to the bytes that are not zero before they are unpacked: organs fill a small part of their slices.
"""

from __future__ import annotations

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
    # Eight bytes at a time where rows allow it: finding the rows is half of the work.
    wide = grid.view(np.uint64) if width % 8 == 0 and grid.flags.aligned else grid
    used_rows = np.flatnonzero(wide.any(axis=1))
    if not len(used_rows):
        return None
    first_row, last_row = int(used_rows[0]), int(used_rows[-1])
    band = grid[first_row : last_row + 1]
    used_bytes = np.flatnonzero(band.any(axis=0))
    first_byte, last_byte = int(used_bytes[0]), int(used_bytes[-1])
    block = np.ascontiguousarray(band[:, first_byte : last_byte + 1])
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
    mask = patch.mask.view(np.bool_)
    if check and _touched(target, mask, label):
        raise Overlap
    target[mask] = label


def _touched(target: NDArray[Any], mask: NDArray[np.bool_], label: int) -> bool:
    taken = target[mask]
    return bool((taken != 0).any()) and bool(((taken != 0) & (taken != label)).any())


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
    for index, (number, patch) in enumerate(in_slice):
        for other_number, other in in_slice[:index]:
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
"""Steps of the search for the fewest layers; real conflicts are small and end far below."""


def colour_conflicts(numbers: Iterable[int], conflicts: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Give each segment a layer, 0 upwards, so that no two in conflict share one; as few layers as can be found.

    Saturation order (DSATUR) with a bounded search: exact for the conflicts of real objects, good for absurd ones.

    >>> colour_conflicts([1, 2, 3], [(1, 2), (2, 3)])
    {1: 0, 2: 1, 3: 0}
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
    layers: dict[int, int] = {}
    while len(layers) < len(numbers):
        number = _next(numbers, neighbours, layers)
        taken = {layers[other] for other in neighbours[number] if other in layers}
        layers[number] = next(layer for layer in range(len(taken) + 1) if layer not in taken)
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
    steps = 0
    fewest = max(best.values(), default=-1) + 1
    layers: dict[int, int] = {}

    def branch(used: int) -> None:
        nonlocal steps, best, fewest
        steps += 1
        if steps > _SEARCH_STEPS or used >= fewest:
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
