"""What a person means by a search line: filters of a query, and the same in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from slicer.i18n import tr as _

__all__ = ["DATES", "MODALITIES", "Attempt", "attempts", "date_range", "description_filter"]

_UID = re.compile(r"[0-9]+(\.[0-9]+){3,}")
_PREFIX = re.compile(r"(id|name|accession|acc|uid)\s*:\s*(.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Attempt:
    """One reading of a search line; the next one is tried where this finds nothing."""

    level: str
    filters: dict[str, str]
    words: str


def attempts(line: str, wildcard: bool = True) -> list[Attempt]:
    """Return what a search line may mean, the likeliest first.

    Parameters
    ----------
    line
        A name (``doe``, ``doe, jane``, ``Doe^Jane``), a patient ID, an accession number or a UID; ``id:``, ``name:``,
        ``acc:`` or ``uid:`` in front says which.
    wildcard
        Whether the server understands ``*``.

    Examples
    --------
    >>> [attempt.filters for attempt in attempts("doe, jane")]
    [{'PatientName': 'doe*^jane*'}]
    >>> [attempt.filters for attempt in attempts("4711")]
    [{'PatientID': '4711'}, {'AccessionNumber': '4711'}]
    """
    text = " ".join(line.split())
    if not text:
        return [Attempt("study", {}, "")]
    found = _PREFIX.fullmatch(text)
    kind, text = (found.group(1).lower(), found.group(2)) if found else ("", text)
    if kind == "id":
        return [_patient_id(text)]
    if kind in ("acc", "accession"):
        return [_accession(text)]
    if kind == "uid" or (not kind and _UID.fullmatch(text)):
        return _uids(text)
    if kind == "name":
        return _names(text, wildcard)
    if any(character.isdigit() for character in text) and not any(mark in text for mark in "^, *?"):
        named = _names(text, wildcard) if not text.isdigit() and not re.search(r"\d{3}", text) else []
        return [_patient_id(text), _accession(text), *named]
    return _names(text, wildcard)


def _patient_id(text: str) -> Attempt:
    return Attempt("study", {"PatientID": text}, _("patient ID {text}").format(text=text))


def _accession(text: str) -> Attempt:
    return Attempt("study", {"AccessionNumber": text}, _("accession number {text}").format(text=text))


def _uids(text: str) -> list[Attempt]:
    return [
        Attempt("study", {"StudyInstanceUID": text}, _("the study with this UID")),
        Attempt("series", {"SeriesInstanceUID": text}, _("the series with this UID")),
    ]


def _names(text: str, wildcard: bool) -> list[Attempt]:
    """Return the readings of a name: as it is where it has signs of its own, family first, or given name first."""
    star = "*" if wildcard else ""
    if any(mark in text for mark in "^*?"):
        return [_name(text)]
    family, comma, given = (part.strip() for part in text.partition(","))
    if comma:
        return [_name(f"{family}{star}^{given}{star}" if given else f"{family}{star}")]
    words = text.split(" ")
    if len(words) == 1:
        return [_name(f"{text}{star}"), *([_name(f"*{text}*")] if wildcard else [])]
    first, last = words[0], words[-1]
    return [_name(f"{first}{star}^{' '.join(words[1:])}{star}"), _name(f"{last}{star}^{' '.join(words[:-1])}{star}")]


def _name(text: str) -> Attempt:
    return Attempt("study", {"PatientName": text}, _("patient name {text}").format(text=text))


def description_filter(text: str, wildcard: bool = True) -> dict[str, str]:
    """Return the filter for words in the study description."""
    text = " ".join(text.split())
    if not text:
        return {}
    has_own = any(mark in text for mark in "*?")
    return {"StudyDescription": text if has_own or not wildcard else f"*{text}*"}


# What the buttons stand for. Radiography is split by DICOM into its generations, and nobody asks for one of these.
MODALITIES: dict[str, tuple[str, ...]] = {
    "CT": ("CT",),
    "MR": ("MR",),
    "PT": ("PT", "NM"),
    "US": ("US",),
    "XR": ("CR", "DX", "MG", "XA", "RF"),
    "SEG": ("SEG",),
    "SR": ("SR",),
    "RT": ("RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE"),
    "SM": ("SM", "ANN"),
}


def DATES() -> dict[str, str]:
    """Return the date presets: key -> title."""
    return {
        "any": _("Any date"),
        "today": _("Today"),
        "yesterday": _("Yesterday"),
        "week": _("Last 7 days"),
        "month": _("Last 30 days"),
        "year": _("Last 12 months"),
        "range": _("From ... to ..."),
    }


def date_range(key: str, first: date | None = None, last: date | None = None, today: date | None = None) -> Any:
    """Return the value of StudyDate for a preset, "" for any date. PS3.4 C.2.2.2.5.

    >>> date_range("week", today=date(2026, 3, 8))
    '20260301-20260308'
    """
    today = today or date.today()
    days = {"today": (0, 0), "yesterday": (1, 1), "week": (7, 0), "month": (30, 0), "year": (365, 0)}
    if key in days:
        from_day, to_day = (today - timedelta(days=back) for back in days[key])
        return f"{from_day:%Y%m%d}" if from_day == to_day else f"{from_day:%Y%m%d}-{to_day:%Y%m%d}"
    if key == "range":
        if first and last and first > last:
            first, last = last, first
        return "-".join(f"{day:%Y%m%d}" if day else "" for day in (first, last)) if first or last else ""
    return ""
