"""Items of a dataset, read with tolerance: what cannot be read is noted and counts as absent."""

from __future__ import annotations

import functools
import math
import sys
from array import array
from collections.abc import Iterator
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dicombridge.plan.values import Path, Setting
from dicombridge.tolerance import DAMAGE

__all__ = ["Item", "keyword_of"]

_NUMBERS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
_BINARY = {"FL": "f", "FD": "d"} if sys.byteorder == "little" else {}
"""VRs whose values are those of an ``array`` of this type, where the machine has the byte order of the file."""
MOST_PROBLEMS = 20
"""Beyond so many, a file is bad as a whole, and a longer list helps nobody."""


@functools.cache
def keyword_of(tag: int) -> str:
    """Return the keyword of a tag, empty for private and unknown ones."""
    return keyword_for_tag(tag)


@functools.cache
def _vr(keyword: str) -> str:
    return str(dictionary_VR(keyword))


class Item:
    """An item, where it stands, and the list of problems that all items of the dataset share."""

    def __init__(self, dataset: Dataset, path: Path = (), problems: list[str] | None = None) -> None:
        self.dataset, self.path = dataset, path
        self.problems = problems if problems is not None else []

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.dataset

    def items(self, keyword: str) -> list[Item]:
        """Return the items of a sequence; none where there is no such sequence, or it is none at all."""
        value = self._raw(keyword)
        if value is None or isinstance(value, str | bytes):
            return []
        try:
            return [
                Item(one, (*self.path, (keyword, place)), self.problems)
                for place, one in enumerate(value)
                if isinstance(one, Dataset)
            ]
        except TypeError:
            return []

    def text(self, keyword: str) -> str:
        """Return a value as text; several are joined by backslashes."""
        value = self._raw(keyword)
        if value is None:
            return ""
        if isinstance(value, str | bytes) or not hasattr(value, "__iter__") or _vr(keyword) == "PN":
            return str(value)
        return "\\".join(map(str, value))

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return all values as numbers; none at all where one of them is not a finite number."""
        try:
            found = self._numbers(keyword)
        except DAMAGE:
            self._note(keyword, "is not a number")
            return ()
        if all(map(math.isfinite, found)):
            return found
        self._note(keyword, "is not a finite number")
        return ()

    def _numbers(self, keyword: str) -> tuple[float, ...]:
        tag = tag_for_keyword(keyword)
        raw = self.dataset.get_item(tag) if tag is not None and tag in self.dataset else None
        if isinstance(raw, RawDataElement) and raw.is_little_endian and raw.value is not None:
            # pydicom makes an object of each number, which takes most of the time of a plan with moving leaves.
            vr = raw.VR if raw.VR not in (None, "UN") else _vr(keyword)
            if vr in ("DS", "IS"):
                text = raw.value.rstrip(b" \0")
                return tuple(map(float, text.split(b"\\"))) if text else ()
            if vr in _BINARY:
                return tuple(map(float, array(_BINARY[vr], raw.value)))
        value = self._raw(keyword)
        if value is None or value == "":
            return ()
        several = [value] if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else value
        return tuple(map(float, several))

    def number(self, keyword: str) -> float | None:
        """Return the first value as a number."""
        return next(iter(self.numbers(keyword)), None)

    def whole(self, keyword: str) -> int | None:
        """Return the first value as a whole number."""
        value = self.number(keyword)
        return None if value is None else int(value)

    def position(self, keyword: str) -> tuple[float, ...] | None:
        """Return three coordinates (mm)."""
        found = self.numbers(keyword)
        return found if len(found) == 3 else None

    def settings(self, *without: str) -> dict[str, Setting]:
        """Return all standard attributes that have a value and are no sequences, by keyword."""
        return dict(self._settings(without))

    def setting(self, keyword: str) -> Setting | None:
        """Return a value as its VR has it: a number, several, or text; None where it is empty."""
        if _vr(keyword) in _NUMBERS:
            found = self.numbers(keyword)
            if not found:
                return None
            return found[0] if len(found) == 1 else found
        return self.text(keyword).strip() or None

    def _settings(self, without: tuple[str, ...]) -> Iterator[tuple[str, Setting]]:
        for tag in list(self.dataset.keys()):
            keyword = keyword_of(int(tag))
            if keyword and keyword not in without and _vr(keyword) not in ("SQ", "OB", "OW", "UN"):
                value = self.setting(keyword)
                if value is not None:
                    yield keyword, value

    def _raw(self, keyword: str) -> Any:
        tag = tag_for_keyword(keyword)
        if tag is None or tag not in self.dataset:
            return None
        try:
            return self.dataset[tag].value
        except DAMAGE:
            self._note(keyword, "cannot be read")
            return None

    def _note(self, keyword: str, what: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            where = "".join(f"{name}[{place + 1}]." for name, place in self.path)
            self.problems.append(f"{where}{keyword} {what} and was left out.")
