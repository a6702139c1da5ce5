"""What the stored values of each frame mean: the Real World Value Mapping functional group (PS3.3 C.7.6.16.2.11)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code, modern
from dicombridge.parametric_map.groups import FrameGroups, RawItem
from dicombridge.value_mapping import ValueMapping, count_outside, families, mapping_of_item

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.multiframe import MultiFrame

__all__ = ["Reading", "frame_readings", "stretched", "value_type"]

VALUE_MAPPINGS = 0x00409096
_PLAIN = (1e-20, 1e20)
"""Slopes and tables between these sizes keep 16-bit numbers well inside the range of float32."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One quantity that stored values stand for.

    Attributes
    ----------
    mappings
        The items that describe it: one, or several for different ranges of stored values. At least one.
    item
        The first of them as it is encoded, None where the file has none.
    """

    mappings: tuple[ValueMapping, ...]
    item: RawItem | None

    @property
    def meaning(self) -> tuple[Any, ...]:
        """What tells one quantity from another, whatever the slope of a frame is."""
        first = self.mappings[0]
        pairs = tuple((_key(concept), _key(value)) for concept, value in first.definitions)
        return (first.label, _key(first.units), pairs)

    @property
    def is_identity(self) -> bool:
        """Whether the values are the stored values, bit by bit."""
        return len(self.mappings) == 1 and self.mappings[0].is_identity

    @property
    def is_linear(self) -> bool:
        """Whether one slope and intercept describe all values."""
        return len(self.mappings) == 1 and self.mappings[0].lut is None


def _key(value: object) -> object:
    if isinstance(value, Code):
        code = modern(value)
        return (code.value, code.scheme_designator)
    return value


def frame_readings(opened: MultiFrame, groups: FrameGroups, frames: int) -> list[tuple[Reading, ...]]:
    """Return for each frame the quantities that its stored values stand for, the main one first.

    Raises
    ------
    UnreadableError
        A mapping is damaged.
    """
    representation = opened.header.get("PixelRepresentation")
    signed = None if representation is None else representation == 1
    known: dict[object, tuple[Reading, ...]] = {}
    found = []
    keys = opened.table.below(VALUE_MAPPINGS) if opened.table.frames else [None] * frames
    for frame, key in enumerate(keys):
        readings = known.get(key)
        if readings is None:
            items = groups.items(frame, VALUE_MAPPINGS)
            readings = known[key] = tuple(_readings(items, signed, opened.path))
        found.append(readings)
    return found


def _readings(items: Sequence[RawItem], signed: bool | None, path: str) -> Iterable[Reading]:
    """Sort items into quantities: those of one quantity are for different ranges of stored values."""
    mappings = [mapping_of_item(item.dataset, signed, path) for item in items]
    encoded = dict(zip(map(id, mappings), items, strict=True))
    if not mappings:
        yield Reading((ValueMapping(),), None)
    for family in families(mappings):
        yield Reading(tuple(family), encoded[id(family[0])])


def value_type(stored: np.dtype[Any], readings: Iterable[Reading], has_gaps: bool) -> np.dtype[Any]:
    """Return the type of a map's voxels: that of the stored values where these are the values, else floating point.

    Whole numbers of up to 16 bits become float32, whose rounding (6e-8 of a value) is below that of any slope that was
    measured; of 32 bits, float64. A missing slice needs a type that has NaN.
    """
    readings = list(readings)
    if stored.kind == "f":
        narrow = stored.itemsize == 4 and all(map(_is_plain, readings))
        return np.dtype(np.float32 if narrow else np.float64)
    if not has_gaps and all(reading.is_identity for reading in readings):
        return stored.newbyteorder("=")
    narrow = stored.itemsize <= 2 and all(map(_is_plain, readings))
    return np.dtype(np.float32 if narrow else np.float64)


def _is_plain(reading: Reading) -> bool:
    for mapping in reading.mappings:
        numbers = np.abs([mapping.slope, mapping.intercept] if mapping.lut is None else mapping.lut)
        numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
        if numbers.size and not (numbers.min() >= _PLAIN[0] and numbers.max() <= _PLAIN[1]):
            return False
    return True


def stretched(reading: Reading, stored: NDArray[Any]) -> int:
    """Return how many stored values lie outside the range for which the file says what they mean.

    A range of one value is none: dcmqi and others write 0 to 0, because 16 bits cannot hold a floating point range.
    NaN is no value.
    """
    first = reading.mappings[0]
    if len(reading.mappings) == 1 and (first.first == first.last or (first.lut is None and np.isinf(first.last))):
        return 0
    if stored.dtype.kind == "f" and np.isnan(stored.min()):
        stored = stored[~np.isnan(stored)]
    return count_outside(reading.mappings, stored)
