"""Single values of a dose's header, read tolerantly: what is missing or damaged is None."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dicombridge.text import plain_text
from dicombridge.tolerance import DAMAGE

__all__ = ["codes_text", "decimals", "one_decimal", "tag_numbers", "text_value", "whole"]


def _value(header: Any, keyword: str) -> Any:
    try:
        return header.get(keyword)
    except DAMAGE:  # pydicom converts late, and raises many kinds of error
        return None


def text_value(header: Any, keyword: str) -> str:
    """Return a single value as text, several ones joined by backslashes; empty where there is none."""
    value = _value(header, keyword)
    if value is None:
        return ""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return plain_text(value)
    return "\\".join(plain_text(one) for one in value)


def codes_text(header: Any, keyword: str) -> str:
    """Return code strings (VR CS) in upper case, as they should be."""
    return text_value(header, keyword).upper()


def decimals(header: Any, keyword: str) -> list[float] | None:
    """Return the numbers of an element, None where there is none or one of them is no number."""
    value = _value(header, keyword)
    if value is None or value == "":
        return None
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        return [float(one) for one in several] or None
    except (TypeError, ValueError):
        return None


def one_decimal(header: Any, keyword: str) -> float | None:
    """Return the only number of an element, None where there is none."""
    values = decimals(header, keyword)
    return values[0] if values is not None and len(values) == 1 else None


def whole(header: Any, keyword: str) -> int | None:
    """Return the only whole number of an element, None where there is none."""
    value = one_decimal(header, keyword)
    return int(value) if value is not None and value.is_integer() else None


def tag_numbers(header: Any, keyword: str) -> list[int]:
    """Return tags (VR AT) as numbers; empty where there are none."""
    value = _value(header, keyword)
    if value is None or value == "":
        return []
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        return [int(one) for one in several]
    except (TypeError, ValueError):
        return []
