"""Coded concepts: as DICOM items, as MRML coded entries, and as Slicer's terminology strings.

A concept is a :class:`pydicom.sr.coding.Code` everywhere between reading and writing. Two codes are equal when value,
scheme and scheme version are; the meaning does not count, and an SRT code equals the SCT code that replaced it (but the
two hash differently, so pass keys of dictionaries through :func:`modern` first).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr._snomed_dict import mapping as _SNOMED  # the table is not public, pydicom's Code.__eq__ uses it
from pydicom.sr.coding import Code

from dicombridge.text import percent_decoded, percent_encoded

__all__ = [
    "CATEGORY_CONTEXT",
    "DEFAULT_CATEGORY",
    "DEFAULT_TYPE",
    "REGION_CONTEXT",
    "Code",
    "Terminology",
    "code_from_entry",
    "code_from_item",
    "code_from_sequence",
    "code_item",
    "coded_entry",
    "modern",
    "parse_terminology",
    "terminology_tag",
]

CATEGORY_CONTEXT = "Segmentation category and type - DICOM master list"
"""Slicer's name for the list that segment categories and types come from."""

REGION_CONTEXT = "Anatomic codes - DICOM master list"
"""Slicer's name for the list that anatomic regions come from."""

DEFAULT_CATEGORY = Code("85756007", "SCT", "Tissue")
"""Category of a segment without codes."""

DEFAULT_TYPE = Code("85756007", "SCT", "Tissue")
"""Type of a segment without codes."""


# --- DICOM items ---------------------------------------------------------------------------------------------------


def code_from_item(item: Dataset) -> Code:
    """Read one item of a code sequence (PS3.3 8.8, Table 8.8-1).

    Tolerant: the value may be a Code Value, a Long Code Value or a URN, and what is missing becomes ``""``, except that
    the meaning becomes the value.

    Examples
    --------
    >>> item = Dataset()
    >>> item.CodeValue, item.CodingSchemeDesignator = "10200004", "SCT"
    >>> code_from_item(item)
    Code(value='10200004', scheme_designator='SCT', meaning='10200004', scheme_version=None)
    """
    value = next(filter(None, (_text(item, keyword) for keyword in ("CodeValue", "LongCodeValue", "URNCodeValue"))), "")
    return Code(
        value,
        _text(item, "CodingSchemeDesignator"),
        _text(item, "CodeMeaning") or value,
        _text(item, "CodingSchemeVersion") or None,
    )


def code_from_sequence(dataset: Dataset, keyword: str) -> Code | None:
    """Return the first code of the code sequence ``keyword``, or None where it is absent, empty or has no value."""
    sequence = dataset.get(keyword) or []
    code = code_from_item(sequence[0]) if len(sequence) else None
    return code if code is not None and code.value else None


def code_item(code: Any) -> Dataset:
    """Return the code as an item of a code sequence (PS3.3 8.8, Table 8.8-1).

    The value goes to Code Value up to 16 characters, to URN Code Value if it is a URN or URL, else to Long Code Value.
    A meaning is cut at 64 characters, the most that its VR (LO) takes; an empty one becomes the value.

    Parameters
    ----------
    code
        A :class:`~pydicom.sr.coding.Code` or anything with its attributes, e.g. highdicom's ``CodedConcept``.
    """
    item = Dataset()
    if re.match(r"(urn:|https?://)", code.value, re.IGNORECASE):
        item.URNCodeValue = code.value
    elif len(code.value) > 16:
        item.LongCodeValue = code.value
    else:
        item.CodeValue = code.value
    # A URN needs no scheme (Type 1C), the others do.
    if code.scheme_designator or "URNCodeValue" not in item:
        item.CodingSchemeDesignator = code.scheme_designator
    if code.scheme_version:
        item.CodingSchemeVersion = code.scheme_version
    item.CodeMeaning = (code.meaning or code.value)[:64]
    return item


def _text(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    return "" if value is None else str(value).strip()


def modern(code: Code) -> Code:
    """Return the SNOMED CT code for a retired SNOMED one (SRT, SNM3, 99SDM), else the code itself (PS3.16 8.1).

    Examples
    --------
    >>> modern(Code("T-62000", "SRT", "Liver"))
    Code(value='10200004', scheme_designator='SCT', meaning='Liver', scheme_version=None)
    """
    if code.scheme_designator not in _RETIRED_SNOMED:
        return code
    value = _SNOMED["SRT"].get(code.value)
    return code if value is None else Code(value, "SCT", code.meaning)


_RETIRED_SNOMED = frozenset({"SRT", "SNM3", "99SDM"})


# --- MRML coded entries --------------------------------------------------------------------------------------------


def coded_entry(code: Code) -> Any:
    """Return the code as a ``vtkCodedEntry``; the scheme version, which MRML has no place for, is left out."""
    import slicer

    entry = slicer.vtkCodedEntry()
    # A volume node writes its entries as "CodeValue:...|CodingSchemeDesignator:...|CodeMeaning:..."
    entry.SetValueSchemeMeaning(*map(percent_encoded, (code.value, code.scheme_designator, code.meaning)))
    return entry


def code_from_entry(entry: Any) -> Code | None:
    """Return the code of a ``vtkCodedEntry``, or None if there is none or it has no value."""
    if entry is None or not entry.GetCodeValue():
        return None
    value, scheme, meaning = (
        percent_decoded(text or "")
        for text in (entry.GetCodeValue(), entry.GetCodingSchemeDesignator(), entry.GetCodeMeaning())
    )
    return Code(value, scheme, meaning or value)


# --- Terminology strings -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terminology:
    """What Slicer keeps of a segment's codes in its tag ``TerminologyEntry``.

    Attributes
    ----------
    category, type, type_modifier
        Segmented Property Category, Type and Type Modifier (PS3.3 C.8.20.4).
    region, region_modifier
        Anatomic Region and Anatomic Region Modifier (PS3.3 10.5).
    context, region_context
        Slicer's names for the lists that the codes come from.
    """

    category: Code | None
    type: Code | None
    type_modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None
    context: str = CATEGORY_CONTEXT
    region_context: str = REGION_CONTEXT


def terminology_tag(terminology: Terminology) -> str:
    """Return what Slicer's terminologies logic reads: seven fields between ``~``, codes as ``scheme^value^meaning``.

    The logic refuses an entry without category or type, so that the defaults stand in. It knows no escape either:
    ``~`` and ``^`` inside a field, and what cuts a tag short in a segmentation file, are percent-encoded.

    Examples
    --------
    >>> liver = Code("10200004", "SCT", "Liver")
    >>> terminology_tag(Terminology(Code("123037004", "SCT", "Anatomical Structure"), liver)).split("~")[1:3]
    ['SCT^123037004^Anatomical Structure', 'SCT^10200004^Liver']
    """
    return "~".join(
        (
            _encoded(terminology.context),
            _code_field(_given(terminology.category) or DEFAULT_CATEGORY),
            _code_field(_given(terminology.type) or DEFAULT_TYPE),
            _code_field(terminology.type_modifier),
            _encoded(terminology.region_context),
            _code_field(terminology.region),
            _code_field(terminology.region_modifier),
        )
    )


def parse_terminology(tag: str | None) -> Terminology | None:
    """Read a terminology string, of Slicer or of :func:`terminology_tag`.

    As in Slicer's logic, there is none without category and type, and an optional code that is malformed is no code.
    """
    fields = (tag or "").split("~")
    if len(fields) != 7:
        return None
    category, kind, type_modifier, region, region_modifier = (_code_of_field(fields[i]) for i in (1, 2, 3, 5, 6))
    if category is None or kind is None:
        return None
    if region is None:  # nothing is left to modify; Slicer's logic does not read further either
        region_modifier = None
    return Terminology(
        category, kind, type_modifier, region, region_modifier, percent_decoded(fields[0]), percent_decoded(fields[4])
    )


def _given(code: Code | None) -> Code | None:
    return code if code is not None and code.value else None


def _encoded(text: str) -> str:
    return percent_encoded(text, "~^|")


def _code_field(code: Code | None) -> str:
    if code is None or not code.value:
        return "^^"
    return "^".join(_encoded(part) for part in (code.scheme_designator, code.value, code.meaning))


def _code_of_field(field: str) -> Code | None:
    parts = [percent_decoded(part) for part in field.split("^")]
    if len(parts) != 3 or not parts[1]:
        return None
    return Code(parts[1], parts[0], parts[2] or parts[1])
