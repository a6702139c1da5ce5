"""Values of a folder's index as those of DICOM JSON: text, numbers, lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dicombridge.database.indexed_tags import INDEXED_TAGS
from dicombridge.web.catalogue.attributes import is_listed

__all__ = ["KEYS", "plain_value", "plain_values"]

_KNOWN = {key: (keyword, vr[:2]) for key, vr, keyword in INDEXED_TAGS.values()}
KEYS = {keyword: key for key, (keyword, _) in _KNOWN.items()}
"""Keyword -> key of the index."""
_WHOLE = frozenset({"LT", "ST", "UR", "UT"})
_INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_DECIMALS = frozenset({"DS", "FD", "FL"})


def plain_values(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return keyword -> plain value of a file's indexed values.

    >>> plain_values({"0028,0010": "512", "0008,0008": "ORIGINAL", "0018,0050": "2.5"})
    {'Rows': 512, 'ImageType': ['ORIGINAL'], 'SliceThickness': 2.5}
    """
    known = [(*_KNOWN[key], text) for key, text in tags.items() if key in _KNOWN]
    return {keyword: plain_value(keyword, vr, text) for keyword, vr, text in known}


def plain_value(keyword: str, vr: str, text: str) -> Any:
    """Return the plain value of an attribute's text, in which a backslash parts values."""
    if not text:
        return [] if is_listed(keyword) else ""
    values = [text] if vr in _WHOLE else [_number(vr, part.strip()) for part in text.split("\\")]
    return values if len(values) > 1 or is_listed(keyword) else values[0]


def _number(vr: str, text: str) -> Any:
    try:
        if vr in _INTEGERS:
            return int(float(text))
        if vr in _DECIMALS:
            return float(text)
    except (ValueError, OverflowError):
        pass
    return text
