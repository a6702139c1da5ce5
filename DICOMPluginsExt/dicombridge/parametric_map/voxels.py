"""Frames into the arrays of maps: each stored frame is read once, straight into the voxels where these are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.parametric_map.mappings import Reading, stretched
from dicombridge.placing import overlap
from dicombridge.progress import Progress
from dicombridge.value_mapping import apply_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.parametric_map.reading import Map, MapFile

__all__ = ["read_voxels"]

Allocate = Callable[["tuple[int, int, int]", Any], "NDArray[Any]"]


@dataclass(frozen=True, eq=False)
class _Target:
    """A part of a slice that a frame, or a part of one, goes to."""

    array: NDArray[Any]
    part: tuple[slice, slice]
    reading: Reading
    number: int


@dataclass
class _Counts:
    """Voxels for whose stored value the file has no meaning, by map."""

    extended: dict[int, int] = field(default_factory=dict)
    undefined: dict[int, int] = field(default_factory=dict)

    def add(self, target: _Target, outside: int) -> None:
        counts = self.extended if target.reading.is_linear else self.undefined
        counts[target.number] = counts.get(target.number, 0) + outside


def read_voxels(result: MapFile, allocate: Allocate, progress: Progress | None = None) -> list[list[NDArray[Any]]]:
    """Return the voxels, [slice, row, column], of each map at each time point; what no frame fills is NaN.

    Parameters
    ----------
    allocate
        Returns an array for a shape and a type, whose content does not matter.
    progress
        Called with a fraction (0 to 1) and a message.

    Raises
    ------
    UnreadableError, UnsupportedError
        The pixel data is damaged, or compressed in a way that nothing here decodes.
    """
    arrays = [[_allocated(one, time, allocate) for time in range(len(one.frames.times))] for one in result.maps]
    first_part = result.parts[0].frames
    size = (first_part.rows, first_part.columns) if first_part is not None else (0, 0)
    targets = _targets(result.maps, arrays, size)
    counts = _Counts()
    total = sum(part.frames.count for part in result.parts if part.frames is not None)
    every = max(1, total // 50)
    offset = 0
    for part in result.parts:
        frames = part.frames
        if frames is None:
            continue
        buffer = np.empty((frames.rows, frames.columns), frames.dtype)

        def target_of(number: int, offset: int = offset, buffer: NDArray[Any] = buffer) -> NDArray[Any] | None:
            if progress is not None and (offset + number) % every == 0:
                progress(0.95 * (offset + number) / total, f"Frame {offset + number + 1} of {total}")
            of_frame = targets.get(offset + number)
            if not of_frame:
                return None
            return of_frame[0].array if _is_direct(of_frame[0], buffer) else buffer

        for number in frames.fill(target_of):
            of_frame = targets[offset + number]
            first = of_frame[0]
            stored = first.array if _is_direct(first, buffer) else buffer
            for target in of_frame:
                _apply(target, stored if stored is target.array else stored[target.part], counts)
        offset += frames.count
    result.warnings.extend(_warnings(result, counts))
    return arrays


def _allocated(one: Map, time: int, allocate: Allocate) -> NDArray[Any]:
    array = allocate(one.shape, one.dtype)
    places = one.frames.times[time]
    filled = set() if one.partial else set(one.stack.slices[places].tolist())
    if len(filled) < len(array) and one.dtype.kind == "f":
        empty = [place for place in range(len(array)) if place not in filled]
        array[empty] = np.nan
    return array


def _targets(
    maps: Sequence[Map], arrays: Sequence[Sequence[NDArray[Any]]], size: tuple[int, int]
) -> dict[int, list[_Target]]:
    targets: dict[int, list[_Target]] = {}
    for one, of_map in zip(maps, arrays, strict=True):
        for time, array in zip(one.frames.times, of_map, strict=True):
            for number in time.tolist():
                place, row, column = (
                    int(part[number]) for part in (one.stack.slices, one.stack.rows, one.stack.columns)
                )
                shared = overlap(array.shape[1:], row, column, size)
                if shared is None:
                    continue
                target = _Target(array[place][shared[0]], shared[1], one.readings[number], one.number)
                targets.setdefault(int(one.stack.frames[number]), []).append(target)
    return targets


def _is_direct(target: _Target, buffer: NDArray[Any]) -> bool:
    """Whether a frame can be read straight into its place."""
    array = target.array
    if array.shape != buffer.shape:
        return False
    return target.reading.is_identity and array.dtype == buffer.dtype and bool(array.flags.c_contiguous)


def _apply(target: _Target, stored: NDArray[Any], counts: _Counts) -> None:
    outside = stretched(target.reading, stored)
    if outside:
        counts.add(target, outside)
    if target.array is not stored:
        if target.reading.is_identity:
            target.array[...] = stored
        else:
            apply_all(target.reading.mappings, stored, target.array)


def _warnings(result: MapFile, counts: _Counts) -> list[str]:
    def called(number: int) -> str:
        name = result.maps[number - 1].name
        return f"map {number} ({name})" if name else "the map"

    warnings = [
        f"{count} voxels of {called(number)} have stored values beyond the range for which the file says what they "
        "mean; slope and intercept were applied to them too."
        for number, count in counts.extended.items()
    ]
    return warnings + [
        f"{count} voxels of {called(number)} have stored values without a meaning; they became not a number (NaN)."
        for number, count in counts.undefined.items()
    ]
