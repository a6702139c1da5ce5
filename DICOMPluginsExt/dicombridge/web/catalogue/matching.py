"""Whether values match what is looked for, as PS3.4 C.2.2.2 says; also where a server does not do it."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from dicombridge.errors import DicomBridgeError
from dicombridge.web.catalogue.attributes import vr_of

__all__ = ["Wanted", "fuzzy_match", "is_pattern", "matches", "wanted"]

Wanted = tuple[str, ...]
"""Texts of which one has to match; ranges and wildcards are in them."""

_RANGES = {"DA": 8, "TM": 6, "DT": 14}
_EXACT = frozenset({"UI", "IS", "DS", "US", "UL", "SS", "SL", "FD", "FL", "AS", "AT"})
"""VRs without wildcards (PS3.4 C.2.2.2.4)."""


def wanted(keyword: str, value: Any) -> Wanted:
    """Return what is looked for as texts.

    Parameters
    ----------
    keyword
        The attribute.
    value
        Text, a number, a date or time; a pair of dates or times (None for an open end) for a range of them; or a list
        of texts, of which one has to match.

    Returns
    -------
    tuple
        Empty where everything matches.

    Raises
    ------
    DicomBridgeError
        This is no date or no range.

    Examples
    --------
    >>> wanted("StudyDate", (datetime.date(2020, 1, 1), None)), wanted("Modality", ["CT", "MR"])
    (('20200101-',), ('CT', 'MR'))
    """
    vr = vr_of(keyword)
    if vr in _RANGES and isinstance(value, tuple) and len(value) == 2:
        low, high = ("" if end is None else _text(keyword, vr, end) for end in value)
        return (f"{low}-{high}",) if low or high else ()
    values = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    texts = []
    for one in values:
        text = _text(keyword, vr, one)
        if vr == "UI" or keyword in ("Modality", "ModalitiesInStudy", "SOPClassesInStudy"):
            texts += [part for part in re.split(r"[\\,\s]+", text) if part]
        else:
            texts.append(text)
    texts = [text for text in dict.fromkeys(texts) if text not in ("", "*")]
    return tuple(texts)


def _text(keyword: str, vr: str, value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.strftime({"DA": "%Y%m%d", "TM": "%H%M%S"}.get(vr, "%Y%m%d%H%M%S"))
    if isinstance(value, datetime.date):
        return value.strftime("%Y%m%d")
    if isinstance(value, datetime.time):
        return value.strftime("%H%M%S")
    text = "" if value is None else str(value).strip()
    if vr == "DA" and text:
        text = re.sub(r"\b(\d{4})[-./](\d\d)[-./](\d\d)\b", r"\1\2\3", text)
        if not re.fullmatch(r"\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8}", text.replace(" ", "")):
            raise DicomBridgeError(f"{keyword}={text}: a date is YYYYMMDD, a range of dates YYYYMMDD-YYYYMMDD.")
        return text.replace(" ", "")
    return text.replace(":", "") if vr == "TM" else text


def is_pattern(keyword: str, text: str) -> bool:
    """Whether a text has wildcards that mean something for this attribute."""
    return ("*" in text or "?" in text) and vr_of(keyword) not in _EXACT and vr_of(keyword) not in _RANGES


def matches(item: Mapping[str, Any], keyword: str, texts: Wanted, fuzzy: bool = False) -> bool | None:
    """Return whether an item of plain values matches; None where it does not have the attribute, so nobody knows.

    Letters of either case match each other, because servers differ there; ``fuzzy`` is for names of persons.

    >>> matches({"StudyDate": "20200305"}, "StudyDate", ("20200101-20201231",))
    True
    >>> matches({"PatientName": "Müller^Eva"}, "PatientName", ("mul*",)) , matches({}, "PatientName", ("mul*",))
    (False, None)
    >>> matches({"PatientName": "Müller^Eva"}, "PatientName", ("eva mul",), fuzzy=True)
    True
    """
    if keyword not in item:
        return None
    if not texts:
        return True
    value = item[keyword]
    values = [str(one) for one in (value if isinstance(value, list) else [value])] or [""]
    vr = vr_of(keyword)
    if fuzzy and vr == "PN":
        return any(fuzzy_match(one, text) for one in values for text in texts)
    if vr in _RANGES:
        return any(_in_range(one, text, _RANGES[vr], vr) for one in values for text in texts)
    if vr in ("IS", "DS", "US", "UL", "SS", "SL", "FD", "FL"):
        return any(_same_number(one, text) for one in values for text in texts)
    if vr in _EXACT:
        return any(one == text for one in values for text in texts)
    is_name = vr == "PN"
    return any(_compiled(text, is_name).fullmatch(_folded(one, is_name)) for one in values for text in texts)


def fuzzy_match(name: str, text: str) -> bool:
    """Whether each word of a text begins some part of a name; accents and case do not count."""
    parts = [part for part in re.split(r"[\^=\s,-]+", _unaccented(name)) if part]
    words = [word for word in re.split(r"[\^=\s,*?-]+", _unaccented(text)) if word]
    return all(any(part.startswith(word) for part in parts) for word in words)


def _unaccented(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _folded(text: str, is_name: bool) -> str:
    """Return text without what does not count: case, blanks at the ends, empty components at the end of a name."""
    folded = unicodedata.normalize("NFC", text).strip().casefold()
    return folded.rstrip("^= ") if is_name else folded


@lru_cache(maxsize=512)
def _compiled(text: str, is_name: bool) -> re.Pattern[str]:
    """Return a pattern for what PS3.4 C.2.2.2.4 writes with ``*`` and ``?``."""
    parts = {"*": ".*", "?": "."}
    folded = _folded(text, is_name)
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in folded), re.DOTALL)


def _in_range(value: str, text: str, digits: int, vr: str) -> bool:
    value = _digits(value, vr)
    if not value:
        return False
    low, dash, high = text.partition("-") if vr != "DT" else _parted_times(text)
    low, high = _digits(low, vr), _digits(high, vr)
    if not dash:
        return value.startswith(low)
    # What is short means its whole minute or year: 10 is within 10-10, and up to 10 is up to 10:59.
    return (not low or value.ljust(digits, "0") >= low.ljust(digits, "0")) and (
        not high or value[:digits].ljust(digits, "0") <= high.ljust(digits, "9")
    )


def _parted_times(text: str) -> tuple[str, str, str]:
    """Part a range of date and time, where a minus may also begin the offset from UTC."""
    found = re.fullmatch(r"([\d.]*(?:[+-]\d{4}(?=-|$))?)(-)([\d.]*(?:[+-]\d{4})?)", text)
    return (found[1], found[2], found[3]) if found else (text, "", "")


def _digits(text: str, vr: str) -> str:
    if vr == "DA":
        return text.replace(".", "").replace("-", "").strip()
    return re.split(r"[.+-]", text.replace(":", ""))[0].strip()


def _same_number(value: str, text: str) -> bool:
    try:
        return float(value) == float(text)
    except ValueError:
        return value == text
