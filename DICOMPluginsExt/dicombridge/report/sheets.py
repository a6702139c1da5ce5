"""Measurement groups -> the columns of a table: a row a group, a column a measurement by its codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dicombridge.codes import Code, modern
from dicombridge.report.concepts import key
from dicombridge.tables import Column, column_values
from dicombridge.text import plain_text

if TYPE_CHECKING:
    from dicombridge.report.content import InstanceReference
    from dicombridge.report.groups import Group, Measurement, Site

__all__ = [
    "COLUMN",
    "GROUP_COLUMN",
    "column_titles",
    "group_columns",
    "measurement_column_key",
    "measurement_columns",
    "measurement_name",
    "values_of_column",
]

GROUP_COLUMN = "Group"
"""Number of the group, which the markups that show it keep too."""

QUANTITY, UNITS, METHOD, DERIVATION = (
    f"DICOM.{name}" for name in ("QuantityCode", "UnitsCode", "MeasurementMethodCode", "DerivationCode")
)
"""Column properties with full codes, under the names that Slicer's Segment Statistics gives them."""

COLUMN = "DICOMBridge.Column"
"""Column property that tells what a column is, whatever its title: a person's words, of which two may be the same."""
FIXED = (
    GROUP_COLUMN, "Tracking Identifier", "Tracking UID", "Finding Category", "Finding", "Finding Site", "Time Point",
    "Activity Session", "Comment", "Method", "Algorithm", "Observer", "Shape", "Segment", "Structure",
    "Real World Value Map", "Image",
)  # fmt: skip
"""Titles of the columns that are no measurements and no evaluations; none of these has such a title."""

ColumnKey = tuple[tuple[str, str], tuple[str, str], tuple[str, str], tuple[str, str], int]


def measurement_column_key(one: Measurement, again: int = 0) -> ColumnKey:
    """Return what tells the column of a measurement: concept, units, method, derivation; ``again`` for a repeat."""
    return key(one.concept), key(one.units), key(one.method), key(one.derivation), again


def group_columns(groups: Sequence[Group]) -> list[Column]:
    """Return the columns of the table of groups; columns in which no group says anything are left out."""
    numbers = [column for column, _ in measurement_columns(groups)]
    columns = [
        Column(GROUP_COLUMN, [one.number for one in groups], description="Place in the document"),
        Column("Tracking Identifier", [one.tracking_identifier for one in groups]),
        Column("Tracking UID", [one.tracking_uid for one in groups], description="Tracking Unique Identifier"),
        Column("Finding Category", [_meaning(one.category) for one in groups]),
        Column("Finding", [_meaning(one.finding) for one in groups]),
        Column("Finding Site", ["; ".join(map(_site_text, one.sites)) for one in groups]),
        Column("Time Point", [_time_point(one) for one in groups]),
        Column("Activity Session", [one.activity_session for one in groups]),
        *numbers,
        *_evaluation_columns(groups, [column.name for column in numbers]),
        Column("Comment", [one.comment for one in groups]),
        Column("Method", [_meaning(one.method) for one in groups], description="Measurement Method of the group"),
        Column("Algorithm", [_algorithm(one) for one in groups]),
        Column("Observer", ["; ".join(filter(None, (who.name or who.uid for who in one.observers))) for one in groups]),
        Column("Shape", [", ".join(dict.fromkeys(region.type for region in one.regions)) for one in groups]),
        Column("Segment", [_references(one.segments) for one in groups], description="Referenced segments"),
        Column(
            "Structure", [_references(one.structures, "ROI") for one in groups], description="Referenced structures"
        ),
        Column("Real World Value Map", [_references(one.real_world_value_maps) for one in groups]),
        Column("Image", [_images(one) for one in groups], description="SOP Instance UID and frame of its regions"),
    ]
    columns = [one if COLUMN in one.properties else replace(one, properties={COLUMN: one.name}) for one in columns]
    return [columns[0], *(one for one in columns[1:] if any(value not in ("", None) for value in one.values))]


def measurement_columns(groups: Sequence[Group]) -> list[tuple[Column, list[Measurement | None]]]:
    """Return the columns of measurements, each with the measurement that each of its cells shows."""
    cells: dict[ColumnKey, list[Measurement | None]] = {}
    for row, group in enumerate(groups):
        taken: set[ColumnKey] = set()
        for one in group.measurements:
            again = 0
            while (name := measurement_column_key(one, again)) in taken:
                again += 1
            taken.add(name)
            cells.setdefault(name, [None] * len(groups))[row] = one
    first = [next(one for one in shown if one is not None) for shown in cells.values()]
    names = _unique([measurement_name(one, name[-1]) for one, name in zip(first, cells, strict=True)], FIXED)
    found = []
    for place, (title, one, shown) in enumerate(zip(names, first, cells.values(), strict=True), start=1):
        properties = {COLUMN: f"Measurement {place}", **_codes(one)}
        column = Column(title, list(map(_number, shown)), _unit(one), _description(one), properties)
        found.append((column, shown))
    return found


def _number(one: Measurement | None) -> float:
    """Return what a cell shows; a column without any value is one of numbers all the same."""
    return one.value if one is not None and one.value is not None else float("nan")


def measurement_name(one: Measurement, again: int = 0) -> str:
    """Return what a person calls a measurement: its concept, derivation and method."""
    modifiers = [_meaning(code) for code in (one.derivation, one.method) if code is not None]
    name = one.concept.meaning + (f" ({', '.join(modifiers)})" if modifiers else "")
    return f"{name} {again + 1}" if again else name


def _unique(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Return names that differ, from each other and from the others: two concepts may have one meaning."""
    taken = set(others)
    found = []
    for name in map(plain_text, names):
        again = 1
        title = name
        while title in taken:
            again += 1
            title = f"{name} [{again}]"
        taken.add(title)
        found.append(title)
    return found


def _unit(one: Measurement) -> str:
    return one.units.value if one.units is not None and one.units.value != "1" else ""


def _description(one: Measurement) -> str:
    units = f" in {one.units.meaning}" if one.units is not None else ""
    return f"{one.concept.meaning}{units}"


def _codes(one: Measurement) -> dict[str, str]:
    named = ((QUANTITY, one.concept), (UNITS, one.units), (METHOD, one.method), (DERIVATION, one.derivation))
    return {name: code_text(code) for name, code in named if code is not None}


def code_text(code: Code) -> str:
    """Return a code as ``vtkCodedEntry::GetAsString`` writes it, which is how Slicer keeps it in a column."""
    from dicombridge.text import percent_encoded

    value, scheme, meaning = map(percent_encoded, (code.value, code.scheme_designator, code.meaning))
    return f"CodeValue:{value}|CodingSchemeDesignator:{scheme}|CodeMeaning:{meaning}"


def _evaluation_columns(groups: Sequence[Group], others: Iterable[str]) -> list[Column]:
    """Return a column a concept, under titles that the others do not have."""
    names: dict[tuple[str, str], Code] = {}
    cells: dict[tuple[str, str], list[str]] = {}
    for row, group in enumerate(groups):
        for one in group.evaluations:
            name = key(one.concept)
            names.setdefault(name, modern(one.concept))
            values = cells.setdefault(name, [""] * len(groups))
            said = one.value if isinstance(one.value, str) else one.value.meaning
            values[row] = "; ".join(filter(None, (values[row], said)))
    titles = _unique([code.meaning for code in names.values()], [*FIXED, *others])
    columns = zip(titles, names.values(), cells.values(), strict=True)
    return [
        Column(title, values, properties={COLUMN: f"Evaluation {place}", QUANTITY: code_text(code)})
        for place, (title, code, values) in enumerate(columns, start=1)
    ]


# --- Back from the table ---------------------------------------------------------------------------------------------


def column_titles(table: Any) -> list[str]:
    """Return the titles of a table node's columns."""
    return [str(table.GetTable().GetColumnName(number)) for number in range(table.GetNumberOfColumns())]


def values_of_column(table: Any, what: str, title: str = "") -> list[Any] | None:
    """Return the values of the column that says that it is this, else of the one that says nothing but its title.

    Parameters
    ----------
    what
        Its property :data:`COLUMN`.
    title
        Where it is another than that; None is returned where there is no such column.
    """
    said = {name: str(table.GetColumnProperty(name, COLUMN) or "") for name in column_titles(table)}
    name = next((name for name, one in said.items() if one == what), plain_text(title or what))
    return column_values(table, name) if said.get(name) in (what, "") else None


# --- Texts of cells --------------------------------------------------------------------------------------------------


def _meaning(code: Code | None) -> str:
    return code.meaning if code is not None else ""


def _site_text(site: Site) -> str:
    modifiers = [site.laterality.meaning] if site.laterality is not None else []
    modifiers += [code.meaning for code in site.modifiers]
    return f"{site.code.meaning} ({', '.join(modifiers)})" if modifiers else site.code.meaning


def _time_point(group: Group) -> str:
    point = group.time_point
    return "" if point is None else point.label or point.subject_identifier or point.protocol_identifier


def _algorithm(group: Group) -> str:
    one = group.algorithm or next((each.algorithm for each in group.measurements if each.algorithm is not None), None)
    return f"{one.name} {one.version}".strip() if one is not None else ""


def _references(references: Sequence[InstanceReference], segment: str = "segment") -> str:
    return "; ".join(_reference(one, segment) for one in dict.fromkeys(references))


def _reference(one: InstanceReference, segment: str) -> str:
    parts = [(segment, one.segments), ("frame", one.frames)]
    return " ".join(
        [one.sop_instance_uid, *(f"{name} {','.join(map(str, values))}" for name, values in parts if values)]
    )


def _images(group: Group) -> str:
    return _references([one for region in group.regions for one in region.images] or group.sources)
