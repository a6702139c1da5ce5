"""A dataset as an outline: one row for each attribute, for objects that have no better form yet.

What a person reads in a viewer of headers, bounded in rows, depth and length, so that any object can be shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydicom.datadict import dictionary_description, dictionary_has_tag, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicombridge.codes import code_from_item, code_from_sequence
from dicombridge.tables import Column
from dicombridge.text import one_line

__all__ = [
    "LONGEST_VALUE",
    "MOST_DEPTH",
    "MOST_ROWS",
    "NamedReference",
    "OutlineRow",
    "named_references",
    "outline",
    "outline_columns",
    "reference_columns",
]

MOST_ROWS = 20_000
"""Rows of an outline; a table of more is nothing that anybody reads."""
MOST_DEPTH = 16
"""Levels of sequences; real objects of the second generation have up to nine."""
LONGEST_VALUE = 120
"""Characters of a value that are shown."""

_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_MOST_VALUES = 64
"""Values of one attribute that are turned into text at all."""


@dataclass(frozen=True)
class OutlineRow:
    """One attribute of a dataset.

    Attributes
    ----------
    level
        0 at the top, 1 in the items of its sequences, and so on.
    name
        Name of the attribute in the data dictionary (PS3.6); private ones begin with their creator.
    value
        As text; values beyond :data:`LONGEST_VALUE` are cut, and their length is told.
    code
        Unit of a number, or value and scheme of a coded concept, whose meaning then is the value.
    item
        Numbers of the items that it is in, from the outermost one, e.g. ``"2.1"``; empty at the top.
    tag
        ``"(gggg,eeee)"``.
    """

    level: int
    name: str
    value: str
    code: str = ""
    item: str = ""
    tag: str = ""


def outline(
    dataset: Dataset,
    skip: Collection[str] = (),
    most_rows: int = MOST_ROWS,
    most_depth: int = MOST_DEPTH,
) -> list[OutlineRow]:
    """Return the attributes of a dataset and of the items of its sequences, in their order.

    A sequence of codes is one row. Damaged values are named as such. Where the outline ends before the dataset does,
    the last row says so.

    Parameters
    ----------
    dataset
        Any dataset; pixel data and other binary values are told by their length.
    skip
        Keywords of attributes to leave out, at every level.
    most_rows, most_depth
        Bounds.

    Examples
    --------
    >>> item = Dataset()
    >>> item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", "One"
    >>> dataset = Dataset()
    >>> dataset.PatientID, dataset.AnatomicRegionSequence = "7", [item]
    >>> [(row.name, row.value, row.code) for row in outline(dataset)]
    [('Anatomic Region Sequence', 'One', '1, 99X'), ('Patient ID', '7', '')]
    """
    rows = list(islice(_rows(dataset, frozenset(skip), 0, "", most_depth), most_rows + 1))
    if len(rows) > most_rows:
        rows[-1] = OutlineRow(0, "...", f"The outline ends here, after {most_rows} attributes; the object has more.")
    return rows


def _rows(dataset: Dataset, skip: frozenset[str], level: int, item: str, depth: int) -> Iterator[OutlineRow]:
    unit = _unit(dataset)
    for tag in sorted(dataset.keys()):
        if keyword_for_tag(tag) in skip or (tag.is_private and tag.element < 0x100) or tag.element == 0:
            continue
        name, place = _name(dataset, tag), f"({tag.group:04X},{tag.element:04X})"
        try:
            element = dataset[tag]
            is_sequence = element.VR == "SQ"
            text = "" if is_sequence else _text(element)
        except Exception as error:  # pydicom converts late and raises nearly every kind of error for damaged values
            yield OutlineRow(level, name, f"unreadable value ({type(error).__name__})", "", item, place)
            continue
        if not is_sequence:
            code = unit if keyword_for_tag(tag) in _MEASURED else _sop_class_name(element)
            yield OutlineRow(level, name, text, code, item, place)
            continue
        yield from _sequence_rows(OutlineRow(level, name, "", "", item, place), element.value or (), skip, depth)


def _sequence_rows(row: OutlineRow, items: Any, skip: frozenset[str], depth: int) -> Iterator[OutlineRow]:
    codes = [code_from_item(item) for item in items] if _all_codes(items) else []
    if codes:
        meanings = _cut("; ".join(code.meaning for code in codes))
        listed = _cut("; ".join(f"{code.value}, {code.scheme_designator}" for code in codes))
        yield OutlineRow(row.level, row.name, meanings, listed, row.item, row.tag)
        return
    count = f"{len(items)} item{'' if len(items) == 1 else 's'}"
    if depth <= 0 and len(items):
        count += ", nested too deeply to be shown"
    yield OutlineRow(row.level, row.name, count, "", row.item, row.tag)
    if depth > 0:
        for number, item in enumerate(items, start=1):
            place = f"{row.item}.{number}" if row.item else str(number)
            yield from _rows(item, skip, row.level + 1, place, depth - 1)


_CODE_KEYWORDS = frozenset(
    {
        "CodeValue",
        "LongCodeValue",
        "URNCodeValue",
        "CodingSchemeDesignator",
        "CodingSchemeVersion",
        "CodeMeaning",
        "MappingResource",
        "MappingResourceUID",
        "ContextIdentifier",
        "ContextUID",
        "ContextGroupVersion",
        "CodingSchemeUID",
    }
)
_MEASURED = frozenset({"NumericValue", "FloatingPointValue"})


def _all_codes(items: Any) -> bool:
    """Whether items are nothing but codes; those with modifiers or more are shown as other items are."""
    return bool(items) and all(
        {"CodeValue", "LongCodeValue", "URNCodeValue"}
        & (found := {keyword_for_tag(tag) for tag in islice(item.keys(), 16)})
        and found <= _CODE_KEYWORDS
        for item in items
    )


def _unit(dataset: Dataset) -> str:
    try:
        code = code_from_sequence(dataset, "MeasurementUnitsCodeSequence")
    except Exception:  # pydicom converts late and raises nearly every kind of error
        return ""
    return code.value if code is not None else ""


def _name(dataset: Dataset, tag: Any) -> str:
    if not tag.is_private:
        return (
            dictionary_description(tag) if dictionary_has_tag(tag) else f"Unknown ({tag.group:04X},{tag.element:04X})"
        )
    try:
        block = dataset.get_item((tag.group, tag.element >> 8))
        creator = dataset[block.tag].value if block is not None else ""
    except Exception:  # pydicom converts late and raises nearly every kind of error
        creator = ""
    return one_line(f"{creator or 'Private, creator unknown'}: ({tag.group:04X},xx{tag.element & 0xFF:02X})")


def _sop_class_name(element: Any) -> str:
    if element.VR != "UI" or not isinstance(element.value, str):
        return ""
    name = UID(element.value).name
    return "" if name == element.value else name


def _text(element: Any) -> str:
    value = element.value
    if value is None or (isinstance(value, bytes) and not value):
        return ""
    if isinstance(value, bytes):
        return f"{len(value)} bytes" if element.VR in _BINARY else _cut(value.decode("ascii", "replace"))
    if element.VR == "AT":
        return _cut("; ".join(map(_pointer, value if element.VM > 1 else [value])))
    if element.VM > 1:
        shown = "\\".join(str(part) for part in islice(value, _MOST_VALUES))
        if len(value) > _MOST_VALUES or len(shown) > LONGEST_VALUE:
            return f"{one_line(shown[:LONGEST_VALUE])}... ({len(value)} values)"
        return one_line(shown)
    return _cut(str(value))


def _pointer(value: Any) -> str:
    """Return the name of the attribute that a value of VR AT points to."""
    return _name_of_tag(int(value))


def _name_of_tag(tag: int) -> str:
    return dictionary_description(tag) if dictionary_has_tag(tag) else f"Unknown ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _cut(text: str) -> str:
    if len(text) <= LONGEST_VALUE:
        return one_line(text)
    return f"{one_line(text[:LONGEST_VALUE])}... ({len(text)} characters)"


def outline_columns(rows: list[OutlineRow]) -> list[Column]:
    """Return an outline as the columns of a table; names are indented by their level."""
    return [
        Column("Level", [row.level for row in rows], description="0 at the top, more within sequences"),
        Column("Attribute", ["· " * row.level + row.name for row in rows]),
        Column("Value", [row.value for row in rows]),
        Column("Unit or code", [row.code for row in rows], description="Unit, code and scheme, or name of a UID"),
        Column("Item", [row.item for row in rows], description="Numbers of the items, from the outermost one"),
        Column("Tag", [row.tag for row in rows]),
    ]


# --- References ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NamedReference:
    """A reference to another object and what it is for.

    Attributes
    ----------
    purpose
        Name of the sequence that it is in, and the coded purpose where there is one.
    sop_class, sop_instance_uid, series_instance_uid
        Name of the SOP class (its UID where it has none), and UIDs; the series is often unknown.
    """

    purpose: str
    sop_class: str
    sop_instance_uid: str
    series_instance_uid: str = ""


def named_references(dataset: Dataset) -> list[NamedReference]:
    """Return all references of a dataset, those of the workflow too, each with its purpose, each once."""
    return list(dict.fromkeys(islice(_references(dataset, "", "", MOST_DEPTH), MOST_ROWS)))


def _references(dataset: Dataset, around: str, series: str, depth: int) -> Iterator[NamedReference]:
    series = _value(dataset, "SeriesInstanceUID") if around else ""
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
        except Exception:  # pydicom converts late and raises nearly every kind of error
            continue
        if tag == 0x00081155 and element.value:
            sop_class = _value(dataset, "ReferencedSOPClassUID")
            yield NamedReference(_purpose(dataset, around), UID(sop_class).name, str(element.value), series)
        elif element.VR == "SQ" and depth > 0:
            for item in element.value or ():
                for found in _references(item, _name(dataset, tag), series, depth - 1):
                    yield found if found.series_instance_uid or not series else _in_series(found, series)


def _in_series(reference: NamedReference, series: str) -> NamedReference:
    return NamedReference(reference.purpose, reference.sop_class, reference.sop_instance_uid, series)


def _purpose(dataset: Dataset, sequence: str) -> str:
    try:
        code = code_from_sequence(dataset, "PurposeOfReferenceCodeSequence")
    except Exception:  # pydicom converts late and raises nearly every kind of error
        code = None
    name = sequence.removesuffix(" Sequence")
    return f"{name}: {one_line(code.meaning)}" if code is not None else name


def _value(dataset: Dataset, keyword: str) -> str:
    try:
        return one_line(str(dataset.get(keyword) or ""))
    except Exception:  # pydicom converts late and raises nearly every kind of error
        return ""


def reference_columns(references: list[NamedReference]) -> list[Column]:
    """Return references as the columns of a table."""
    return [
        Column("Purpose", [reference.purpose for reference in references]),
        Column("SOP class", [reference.sop_class for reference in references]),
        Column("SOP Instance UID", [reference.sop_instance_uid for reference in references]),
        Column("Series Instance UID", [reference.series_instance_uid for reference in references]),
    ]
