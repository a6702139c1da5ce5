"""Attributes of patients, studies, series and instances: which are asked for, and DICOM JSON as plain values.

Plain values are text, numbers and lists; names of persons are text. An attribute without a value is ``""``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from dicombridge.errors import DicomBridgeError

__all__ = ["FIELDS", "LEVELS", "UIDS", "checked_keyword", "is_listed", "key_of", "level_of", "plain", "vr_of"]

LEVELS = ("patient", "study", "series", "instance")

UIDS = {
    "patient": ("PatientID",),
    "study": ("StudyInstanceUID",),
    "series": ("StudyInstanceUID", "SeriesInstanceUID"),
    "instance": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
}
"""What identifies something of a level, the last of them within the others."""

FIELDS = {
    "patient": ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    "study": (
        *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber", "StudyID"),
        *("ModalitiesInStudy", "ReferringPhysicianName", "PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
        *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    ),
    "series": (
        *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate"),
        *("SeriesTime", "BodyPartExamined", "ProtocolName", "Manufacturer", "NumberOfSeriesRelatedInstances"),
    ),
    "instance": (
        *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
        *("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "SamplesPerPixel"),
    ),
}
"""What results of a level have where the server knows it. PS3.18 10.6.3.3, and StudyDescription, which people want."""

_PATIENT = frozenset(
    {"PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "OtherPatientIDs"}
)
_STUDY = frozenset({*FIELDS["study"], "RequestedProcedureID", "SOPClassesInStudy", "InstitutionName"}) - _PATIENT
_SERIES = (
    frozenset({*FIELDS["series"], "SeriesInstanceUID", "Modality", "Laterality", "PerformedProcedureStepStartDate"})
    - _STUDY
)
_LISTED = frozenset({"ModalitiesInStudy", "SOPClassesInStudy", "ImageType"})
_INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_DECIMALS = frozenset({"DS", "FD", "FL"})
_ONE_TEXT = frozenset({"LT", "ST", "UR", "UT", "OB", "OW", "UN", "SQ"})
_TEXTS = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UI"})
_SUGGESTED = sorted({keyword for fields in FIELDS.values() for keyword in fields})


def checked_keyword(name: str) -> str:
    """Return the keyword of an attribute that is given by keyword or by tag.

    >>> checked_keyword("00100010"), checked_keyword("PatientName")
    ('PatientName', 'PatientName')

    Raises
    ------
    DicomBridgeError
        There is no such attribute.
    """
    if tag_for_keyword(name) is not None:
        return name
    text = name.replace(",", "").strip("()")
    try:
        keyword = keyword_for_tag(int(text, 16)) if len(text) == 8 else ""
    except ValueError:
        keyword = ""
    if keyword:
        return str(keyword)
    close = difflib.get_close_matches(name, _SUGGESTED, 1)
    hint = f" Is {close[0]} meant?" if close else ""
    raise DicomBridgeError(f"{name!r} is not the keyword of a DICOM attribute.{hint}")


def key_of(keyword: str) -> str:
    """Return the tag of a keyword as DICOM JSON has it.

    >>> key_of("PatientName")
    '00100010'
    """
    return f"{tag_for_keyword(keyword):08X}"


def vr_of(keyword: str) -> str:
    """Return the value representation of an attribute, the first where there is a choice."""
    return str(dictionary_VR(keyword))[:2]


def is_listed(keyword: str) -> bool:
    """Whether the value is a list even if there is one value only."""
    return keyword in _LISTED


def level_of(keyword: str) -> str:
    """Return the level that an attribute belongs to.

    >>> [level_of(keyword) for keyword in ("PatientID", "StudyDate", "Modality", "Rows")]
    ['patient', 'study', 'series', 'instance']
    """
    if keyword in _PATIENT:
        return "patient"
    if keyword in _STUDY:
        return "study"
    return "series" if keyword in _SERIES else "instance"


def plain(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataset of DICOM JSON (PS3.18 annex F) as keywords and plain values.

    Attributes without a keyword keep their tag; what is not as the standard says is taken as well as it goes.

    >>> plain({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]}, "00280010": {"vr": "US", "Value": ["8"]}})
    {'PatientName': 'A^B', 'Rows': 8}
    """
    result = {}
    for key, element in dataset.items():
        keyword = _keyword(key)
        if keyword and isinstance(element, dict):
            result[keyword] = _value(keyword, element)
    return result


@lru_cache(maxsize=4096)
def _keyword(key: str) -> str:
    try:
        return str(keyword_for_tag(int(key, 16)) or key.upper())
    except (TypeError, ValueError):
        return ""


def _value(keyword: str, element: dict[str, Any]) -> Any:
    vr = element.get("vr") or ""
    raw = element.get("Value")
    if type(raw) is list and len(raw) == 1 and type(raw[0]) is str and vr in _TEXTS and keyword not in _LISTED:
        text = raw[0]
        if "\\" not in text:  # nearly all of what comes is such a text
            return text.strip()
    values = list(_plain_values(vr, raw if isinstance(raw, list) else [] if raw is None else [raw]))
    if vr == "SQ" or (is_listed(keyword) and values):
        return values
    if not values:
        return [] if is_listed(keyword) else ""
    return values[0] if len(values) == 1 else values


def _plain_values(vr: str, values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, dict):
            yield plain(value) if vr == "SQ" else _name(value)
        elif value is None:
            yield ""
        elif isinstance(value, str) and "\\" in value and vr not in _ONE_TEXT:
            yield from (_number(vr, part) for part in value.split("\\"))  # a server that did not take it apart
        else:
            yield _number(vr, value)


def _name(value: dict[str, Any]) -> str:
    alphabetic = str(value.get("Alphabetic") or "").rstrip("^")
    if len(value) == 1 and alphabetic:
        return alphabetic
    others = (str(value.get(group) or "").rstrip("^") for group in ("Ideographic", "Phonetic"))
    return "=".join([alphabetic, *others]).rstrip("=")


def _number(vr: str, value: Any) -> Any:
    """Return numbers as numbers, also where they come as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return str(value)
    try:
        if vr in _INTEGERS:
            return int(float(value)) if not isinstance(value, int) else value
        if vr in _DECIMALS:
            return float(value)
    except (ValueError, OverflowError):
        return str(value)
    return value.strip() if isinstance(value, str) else value if not vr else str(value)
