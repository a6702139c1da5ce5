"""Numbers, dates and states in words."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

__all__ = ["count", "date", "duration", "first_of", "listed", "name", "rate", "shortened", "size", "time_of_day"]

_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(number: float | None) -> str:
    """Return a number of bytes for people.

    >>> size(263_000_000)
    '263 MB'
    """
    if number is None:
        return ""
    value = float(number)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def rate(bytes_per_second: float | None) -> str:
    """Return a rate for people; nothing where it is not known."""
    return _("{size}/s").format(size=size(bytes_per_second)) if bytes_per_second else ""


def duration(seconds: float | None) -> str:
    """Return a time for people: coarse, because nobody needs the seconds of an hour."""
    if seconds is None or seconds < 0:
        return ""
    if seconds < 60:
        return _("{n} s").format(n=max(1, round(seconds)))
    if seconds < 3600:
        return _("{n} min").format(n=round(seconds / 60))
    return _("{h} h {m} min").format(h=int(seconds // 3600), m=int(seconds % 3600 // 60))


def count(number: int, one: str, many: str) -> str:
    """Return ``one`` or ``many`` with the number put in; both have ``{n}``."""
    return (one if number == 1 else many).format(n=f"{number:,}")


def date(value: Any) -> str:
    """Return a DA (PS3.5 6.2) as ``2026-01-31``; anything else as it is."""
    text = first_of(value)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def time_of_day(value: Any) -> str:
    """Return a TM as ``14:05``; anything else as it is."""
    text = first_of(value)
    return f"{text[:2]}:{text[2:4]}" if len(text) >= 4 and text[:4].isdigit() else text


def name(value: Any) -> str:
    """Return a PN as people write it: ``Doe, Jane``; only its first group, and no empty parts."""
    parts = [part.strip() for part in first_of(value).split("=")[0].split("^")]
    family, given = parts[0], " ".join(part for part in parts[1:3] if part)
    return ", ".join(part for part in (family, given) if part)


def first_of(value: Any) -> str:
    """Return the first of several values, as text."""
    if isinstance(value, list | tuple):
        value = value[0] if value else ""
    return "" if value is None else str(value)


def listed(value: Any) -> str:
    """Return several values with commas."""
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value if one not in (None, ""))
    return "" if value is None else str(value).replace("\\", ", ")


def shortened(text: str, longest: int) -> str:
    """Return a text of at most so many characters.

    >>> shortened("The archive", 7)
    'The ar\N{HORIZONTAL ELLIPSIS}'
    """
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
