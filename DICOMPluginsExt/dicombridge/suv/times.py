"""Moments of a PET study: parsing, time zones, the average of a decaying frame (no patient, no dose here)."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone

__all__ = [
    "average_count_rate_s",
    "clock_seconds",
    "date_and_time",
    "decayed",
    "in_zone",
    "parse_datetime",
    "parse_offset",
    "seconds_between",
]

_DATE = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})")
_TIME = re.compile(r"(\d{2}):?(?:(\d{2}):?(?:(\d{2})(?:[.](\d{1,6}))?)?)?")
_DATETIME = re.compile(r"(\d{8})(\d{4}(?:\d{2}(?:[.]\d{1,6})?)?)([+-]\d{4})?")
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")


def clock_seconds(time: str) -> float | None:
    """Return a TM (PS3.5 6.2) as seconds after midnight, None if it is none. A leap second counts as the one before.

    >>> clock_seconds("235960.5"), clock_seconds("12:30"), clock_seconds("2561")
    (86399.5, 45000.0, None)
    """
    match = _TIME.fullmatch(time.strip())
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[:3])
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600.0 + minutes * 60 + min(seconds, 59) + float(f"0.{match[4] or 0}")


def date_and_time(date: str, time: str, zone: timezone | None = None) -> datetime | None:
    """Return the moment of a DA and a TM; None if one of them is missing or is no date or time of an examination."""
    match, seconds = _DATE.fullmatch(date.strip()), clock_seconds(time)
    if match is None or seconds is None or not 1800 <= int(match[1]) <= 2300:
        return None
    try:
        day = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=zone)
    except ValueError:
        return None
    return day + timedelta(seconds=seconds)


def parse_datetime(text: str, zone: timezone | None = None) -> datetime | None:
    """Return a DT (PS3.5 6.2); its own offset from UTC precedes ``zone``. None where it has no time of day.

    >>> parse_datetime("20200102030405.5+0100").isoformat()
    '2020-01-02T03:04:05.500000+01:00'
    >>> parse_datetime("2020") is None
    True
    """
    match = _DATETIME.fullmatch(text.strip())
    if match is None:
        return None
    own = parse_offset(match[3] or "")
    return date_and_time(match[1], match[2], own if own is not None else zone)


def parse_offset(text: str) -> timezone | None:
    """Return an offset from UTC such as ``-0530``, None if it is none (PS3.3 C.12.1.1, Timezone Offset From UTC)."""
    match = _OFFSET.fullmatch(text.strip())
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset)


def in_zone(moment: datetime, other: datetime) -> datetime:
    """Return a moment that a caller gave without a zone in the zone of the header, and the reverse."""
    if moment.tzinfo is None and other.tzinfo is not None:
        return moment.replace(tzinfo=other.tzinfo)
    return moment.replace(tzinfo=None) if other.tzinfo is None else moment


def seconds_between(early: datetime, late: datetime) -> float:
    """Return seconds from one moment to the other; where only one has a zone, both are in that one."""
    return (late - in_zone(early, late)).total_seconds()


def decayed(dose_bq: float, seconds: float, half_life_s: float) -> float:
    """Return what is left of an activity (Bq) after some seconds.

    >>> decayed(400.0, 220.0, 110.0)
    100.0
    """
    return float(dose_bq * 2.0 ** (-seconds / half_life_s))


def average_count_rate_s(duration_s: float, half_life_s: float) -> float:
    """Return when within a frame the count rate equals its average over the frame: seconds after its start.

    ``1/k * ln(k*T / (1 - exp(-k*T)))`` with ``k = ln 2 / half-life``, as in QIBA's vendor-neutral pseudo-code for SUV.
    It is a little before the middle of the frame.

    >>> round(average_count_rate_s(300.0, 6586.2), 2)
    149.61
    """
    decay = math.log(2) / half_life_s * duration_s
    if decay < 1e-9:
        return duration_s / 2
    return float(math.log(decay / -math.expm1(-decay)) / decay * duration_s)
