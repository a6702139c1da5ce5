"""Which frames make a map: what may tell two frames at the same place apart, and how they are sorted by it.

Dimensions are a hint only: some files index what does not vary, others have none. So the frames are split by the marks
that do tell frames at one place apart, and by no others.
"""

from __future__ import annotations

import struct
from calendar import timegm
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.multiframe import MultiFrame

__all__ = ["MapFrames", "Mark", "marks_of_files", "sort_frames"]

_POSITION_POINTERS = frozenset({0x00200032, 0x00209057, 0x00209056, 0x00209111, 0x00209113, 0x00209116})
_POSITION_POINTERS |= {0x0040072A, 0x0040073A, 0x0040074A, 0x0048021A, 0x0048021E, 0x0048021F}  # of a slide's tiles
"""Dimensions that only say where a frame lies."""

_TIME_POINTERS = {
    0x00209128: "index",  # Temporal Position Index
    0x0020930D: "seconds",  # Temporal Position Time Offset
    0x00209310: "index",  # Temporal Position Sequence
    0x00189074: "date and time",  # Frame Acquisition DateTime
    0x00189151: "date and time",  # Frame Reference DateTime
    0x00209153: "milliseconds",  # Nominal Cardiac Trigger Delay Time
}
_TIME_KINDS = ("seconds", "milliseconds", "percent", "date and time", "index")
_TIME_UNITS = {"index": "", "percent": "%"}
"""Where it is not seconds."""

DIMENSION_INDEX_VALUES = (0x00209111, 0, 0x00209157)


@dataclass(frozen=True)
class Mark:
    """One value a frame, which may tell it from other frames.

    Attributes
    ----------
    name
        In words; part of a node's name.
    values
        One a frame; None where a frame has none.
    time
        Empty, or what kind of time the values are: ``seconds``, ``milliseconds``, ``percent`` (of a cycle),
        ``date and time``, ``index``.
    """

    name: str
    values: Sequence[Hashable]
    time: str = ""


@dataclass(frozen=True)
class MapFrames:
    """The frames of one map.

    Attributes
    ----------
    name
        What tells it from the other maps of its quantity, e.g. ``"b-value 800"``; empty where there are none.
    times
        Indices of its frames, into those that were sorted: one array a time point; one array for all without time.
    time_values
        seconds or percent of each time point, or its number where the file knows no time; empty without time.
    time_unit
        ``s``, ``%`` of a cycle, or empty for numbers.
    """

    name: str
    times: tuple[NDArray[np.int64], ...]
    time_values: tuple[float, ...] = ()
    time_unit: str = ""


# --- Marks ---------------------------------------------------------------------------------------------------------


def _number(raw: bytes) -> Hashable:
    return struct.unpack_from("<d", raw)[0] if len(raw) >= 8 else None


def _single(raw: bytes) -> Hashable:
    return struct.unpack_from("<f", raw)[0] if len(raw) >= 4 else None


def _whole(raw: bytes) -> Hashable:
    return struct.unpack_from("<L", raw)[0] if len(raw) >= 4 else None


def _short(raw: bytes) -> Hashable:
    return struct.unpack_from("<H", raw)[0] if len(raw) >= 2 else None


def _text(raw: bytes) -> Hashable:
    return raw.decode("ascii", "replace").strip(" \0")


_MARKS: tuple[tuple[str, tuple[int, ...], Callable[[bytes], Hashable], str], ...] = (
    ("time", (0x00209310, 0, 0x0020930D), _number, "seconds"),
    ("time point", (0x00209111, 0, 0x00209128), _whole, "index"),
    ("trigger time", (0x00189118, 0, 0x00209153), _number, "milliseconds"),
    ("cardiac phase", (0x00189118, 0, 0x00209241), _single, "percent"),
    ("respiratory phase", (0x00209253, 0, 0x00209245), _single, "percent"),
    ("stack", (0x00209111, 0, 0x00209056), _text, ""),
    ("b-value", (0x00189117, 0, 0x00189087), _number, ""),
    ("echo time", (0x00189114, 0, 0x00189082), _number, ""),
    ("frame type", (0x00409092, 0, 0x00089007), _text, ""),
    ("diffusion directionality", (0x00189117, 0, 0x00189075), _text, ""),
    ("gradient", (0x00189117, 0, 0x00189076, 0, 0x00189089), lambda raw: raw, ""),
    ("acquisition", (0x00209111, 0, 0x00209156), _short, ""),
    ("frame label", (0x00209111, 0, 0x00209453), _text, ""),
)
"""Name, path in the functional groups, decoding, kind of time."""

_FIRST_BY_THE_WAY = "acquisition"
"""Values say more to a person than the index of a dimension does, but from here on the index is the better mark."""


def marks_of_files(parts: Sequence[MultiFrame]) -> list[Mark]:
    """Return all marks that vary between the frames of an object, those of time first, the most telling ones first."""
    of_parts = [_marks(part) for part in parts]
    marks = []
    for together in zip(*of_parts, strict=True) if len({len(one) for one in of_parts}) == 1 else ():
        values = [value for mark in together for value in mark.values]
        marks.append(Mark(together[0].name, values, together[0].time))
    timed = sorted((mark for mark in marks if mark.time), key=lambda mark: _TIME_KINDS.index(mark.time))
    return [mark for mark in [*timed, *(mark for mark in marks if not mark.time)] if len(set(mark.values)) > 1]


def _marks(opened: MultiFrame) -> list[Mark]:
    marks = []
    for name, path, decode, time in _MARKS:
        if name == _FIRST_BY_THE_WAY:
            marks.extend(_dimensions(opened))
        marks.append(Mark(name, _decoded(opened.table.column(*path), decode), time))
    return marks


def _decoded(column: Sequence[bytes | None], decode: Callable[[bytes], Hashable]) -> list[Hashable]:
    known: dict[bytes | None, Hashable] = {raw: None if raw is None else decode(raw) for raw in set(column)}
    return [known[raw] for raw in column]


def _dimensions(opened: MultiFrame) -> list[Mark]:
    """Return a mark for each dimension but those of position (PS3.3 C.7.6.17)."""
    column = opened.table.column(*DIMENSION_INDEX_VALUES)
    marks = []
    for number, item in enumerate(opened.header.get("DimensionIndexSequence") or []):
        pointer = int(item.get("DimensionIndexPointer") or 0)
        if pointer in _POSITION_POINTERS:
            continue
        place = slice(4 * number, 4 * number + 4)
        indices = [None if raw is None or len(raw) < place.stop else _whole(raw[place]) for raw in column]
        name = str(item.get("DimensionDescriptionLabel") or f"dimension {number + 1}")
        time = _TIME_POINTERS.get(pointer, "")
        group = int(item.get("FunctionalGroupPointer") or 0)
        if time == "date and time" and group:
            marks.append(Mark(name, _decoded(opened.table.column(group, 0, pointer), _text), time))
        marks.append(Mark(name, indices, "index" if time else ""))
    return marks


# --- Sorting -------------------------------------------------------------------------------------------------------


def sort_frames(
    places: NDArray[np.int64], marks: Sequence[Mark], frames: NDArray[np.int64]
) -> tuple[list[MapFrames], str]:
    """Sort the frames of one quantity and one stack into maps that have one frame at each place.

    Parameters
    ----------
    places
        (n,) place of each frame: equal numbers are the same place.
    marks
        Of all frames of the object.
    frames
        (n,) Indices of these frames into the marks.

    Returns
    -------
    list of MapFrames
        Its arrays hold indices into ``places``. In the order of their first frames.
    str
        A warning, empty where all frames can be told apart.
    """
    chosen, warning = _telling(places, [_taken(mark, frames) for mark in marks])
    others = [mark for mark in chosen if not mark.time]
    timed = [mark for mark in chosen if mark.time]
    by_map: dict[tuple[Hashable, ...], dict[tuple[Hashable, ...], list[int]]] = {}
    for number in range(len(places)):
        key = tuple(mark.values[number] for mark in others)
        moment = tuple(mark.values[number] for mark in timed)
        by_map.setdefault(key, {}).setdefault(moment, []).append(number)
    return [_map_frames(others, key, timed, moments) for key, moments in by_map.items()], warning


def _taken(mark: Mark, frames: NDArray[np.int64]) -> Mark:
    return Mark(mark.name, [mark.values[frame] for frame in frames.tolist()], mark.time)


def _telling(places: NDArray[np.int64], marks: Sequence[Mark]) -> tuple[list[Mark], str]:
    """Return the marks that are needed to tell all frames at one place apart."""
    identity = np.unique(places, return_inverse=True)[1].ravel()
    most = int(np.bincount(identity).max(initial=0))
    distinct = int(identity.max(initial=-1)) + 1
    chosen: list[Mark] = []
    # A mark with many more values than there are frames at a place, e.g. a moment for each, cuts the maps to pieces;
    # it is taken only where no other one tells the frames apart.
    for limit in (2 * most, len(places)):
        for mark in marks:
            if distinct == len(places):
                return chosen, ""
            codes = _codes(mark.values)
            values = int(codes.max()) + 1
            if mark in chosen or not 1 < values <= limit:
                continue
            pairs = np.unique(identity * values + codes, return_inverse=True)[1].ravel()
            if int(pairs.max()) + 1 > distinct:
                chosen.append(mark)
                identity, distinct = pairs, int(pairs.max()) + 1
    if distinct == len(places):
        return chosen, ""
    order = np.argsort(identity, kind="stable")
    first = np.searchsorted(identity[order], identity[order])
    repeat = np.empty(len(places), dtype=np.int64)
    repeat[order] = np.arange(len(places)) - first + 1
    chosen.append(Mark("repeat", repeat.tolist()))
    return chosen, "Several frames lie at the same place and nothing tells what they show; they became maps in order."


def _codes(values: Sequence[Hashable]) -> NDArray[np.int64]:
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int64)


def _map_frames(
    others: Sequence[Mark],
    key: Sequence[Hashable],
    timed: Sequence[Mark],
    moments: dict[tuple[Hashable, ...], list[int]],
) -> MapFrames:
    name = ", ".join(f"{mark.name} {_shown(value)}" for mark, value in zip(others, key, strict=True))
    if len(moments) < 2:
        return MapFrames(name, (np.array(next(iter(moments.values())), dtype=np.int64),))
    seconds = [_seconds(timed[0].time, moment[0]) for moment in moments]
    in_time = all(value is not None for value in seconds) and len(set(seconds)) == len(seconds)
    values = [float(value or 0) for value in seconds] if in_time else [float(n) for n in range(1, len(seconds) + 1)]
    start = min(values) if timed[0].time == "date and time" else 0.0
    order = sorted(range(len(values)), key=lambda number: values[number]) if in_time else range(len(values))
    arrays = list(moments.values())
    return MapFrames(
        name,
        tuple(np.array(arrays[number], dtype=np.int64) for number in order),
        tuple(values[number] - start for number in order),
        _TIME_UNITS.get(timed[0].time, "s") if in_time else "",
    )


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        numbers = np.frombuffer(value[: len(value) // 8 * 8], "<f8")
        return " ".join(f"{number:.3g}" for number in numbers)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _seconds(kind: str, value: Any) -> float | None:
    """Return a time in seconds, an index as it is; None where it is no number."""
    if value is None:
        return None
    if kind != "date and time":
        number = float(value) / (1000 if kind == "milliseconds" else 1)
        return number if np.isfinite(number) else None
    from pydicom.valuerep import DT

    try:
        moment = DT(str(value))
    except (ValueError, OverflowError):
        return None
    if moment is None:
        return None
    if moment.tzinfo is not None:
        return float(moment.timestamp())
    return timegm(moment.timetuple()) + moment.microsecond / 1e6  # a clock that nobody changes in between
