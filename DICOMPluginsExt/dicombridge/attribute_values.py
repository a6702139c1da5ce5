"""Attributes as values that a person reads and tables hold, whatever a damaged file says."""

from __future__ import annotations

import datetime
import math
from itertools import islice
from typing import Any

from pydicom.datadict import dictionary_description, dictionary_has_tag
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from dicombridge.codes import code_from_item
from dicombridge.text import one_line

__all__ = ["items_of", "number_of", "seconds_of", "value_of"]

LONGEST_TEXT = 1024
"""Characters of a value, the most that an ST may have (PS3.5 6.2)."""
LONGEST_LIST = 16384
"""Characters of several values: leaves of a collimator, spots of a layer."""
_MOST_VALUES = 1024
_EXACT = 2**53
"""Beyond it, a whole number is no number of a table any more."""


def items_of(dataset: Any, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent, damaged, or no sequence at all."""
    try:
        found = dataset.get(keyword)
        return [item for item in found or () if isinstance(item, Dataset)]
    except Exception:  # pydicom converts late and raises nearly every kind of error for damaged values
        return []


def value_of(dataset: Dataset, keyword: str) -> object:
    """Return an attribute for a table: a number, a text, or None where it is absent, empty or damaged.

    Dates and times are written as ISO 8601 does, several values are separated by backslashes, codes are told by their
    meaning, and pointers to attributes by the attribute's name.
    """
    try:
        if keyword not in dataset:
            return None
        element = dataset[keyword]
        value = element.value
        if element.VR == "SQ":
            return "; ".join(one_line(code_from_item(item).meaning) for item in value or ()) or None
        if isinstance(value, MultiValue | list | tuple):
            shown = "\\".join(str(_single(part, element.VR)) for part in islice(value, _MOST_VALUES))
            return _cut(shown, LONGEST_LIST, len(value) > _MOST_VALUES, f"{len(value)} values") or None
        single = _single(value, element.VR)
        return _cut(single, LONGEST_TEXT, False, f"{len(single)} characters") if isinstance(single, str) else single
    except Exception:  # pydicom converts late and raises nearly every kind of error
        return None


def _single(value: Any, vr: str) -> object:
    if value is None or value == "" or isinstance(value, bytes):
        return None
    if vr == "AT":
        tag = int(value)
        return dictionary_description(tag) if dictionary_has_tag(tag) else f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    if vr in ("DA", "TM", "DT"):
        return _date_or_time(str(value), vr)
    if isinstance(value, int):
        return int(value) if abs(value) <= _EXACT else str(value)[:32]
    if vr in ("DS", "FD", "FL", "OD", "OF"):
        number = float(value)
        return number if math.isfinite(number) else None
    return str(value)


def _date_or_time(text: str, vr: str) -> str:
    """Return 20260102 as 2026-01-02 and 093015.5 as 09:30:15.5, other texts as they are."""
    text = text.strip()
    digits = text.partition(".")[0]
    if vr == "DA" and len(digits) == 8 and digits.isdigit():
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    if vr == "TM" and len(digits) >= 4 and digits.isdigit():
        return ":".join(part for part in (text[:2], text[2:4], text[4:]) if part)
    if vr == "DT" and len(digits) >= 12 and digits[:12].isdigit():
        return f"{_date_or_time(text[:8], 'DA')} {_date_or_time(text[8:], 'TM')}"
    return text


def _cut(text: str, most: int, is_part: bool, length: str) -> str:
    """Return text on one line; where it is longer than ``most``, or a part already, the length of the whole is told."""
    return one_line(text) if len(text) <= most and not is_part else f"{one_line(text[:most])}... ({length})"


def number_of(dataset: Dataset, keyword: str) -> float | None:
    """Return an attribute as a finite number, or None."""
    value = value_of(dataset, keyword)
    return float(value) if isinstance(value, int | float) else None


def seconds_of(dataset: Dataset, date_keyword: str, time_keyword: str) -> float | None:
    """Return date and time as seconds since the epoch of the same clock, None where either is missing or none.

    >>> one, other = Dataset(), Dataset()
    >>> one.StudyDate, one.StudyTime, other.StudyDate, other.StudyTime = "20260101", "235959.5", "20260102", "000001"
    >>> seconds_of(other, "StudyDate", "StudyTime") - seconds_of(one, "StudyDate", "StudyTime")
    1.5
    """
    date, time = value_of(dataset, date_keyword), value_of(dataset, time_keyword)
    if not isinstance(date, str) or not isinstance(time, str):
        return None
    try:
        hours, minutes, seconds = (time + ":00:00").split(":")[:3]
        day = datetime.date.fromisoformat(date).toordinal()
        result = day * 86400.0 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
    return result if math.isfinite(result) else None
