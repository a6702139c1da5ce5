"""What somebody edited in the table of a loaded report: numbers, names, comments and rows.

Columns are found by what they are (:data:`~dicombridge.report.sheets.COLUMN`), those that a person added by title. The
table is compared cell by cell with the one that the document's groups make; a cell that says the same as when it
was loaded changes nothing, so that what was edited in markups and what was edited in the table are both written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dicombridge.report.groups import Group, Measurement
from dicombridge.report.sheets import (
    COLUMN,
    GROUP_COLUMN,
    column_titles,
    group_columns,
    measurement_columns,
    values_of_column,
)
from dicombridge.tables import cell_text, column_values
from dicombridge.text import plain_text

__all__ = ["with_table_edits"]

STORED = ".6g"
"""How the file of a table holds numbers: what differs by that alone is no edit."""
TEXTS = {"Tracking Identifier": "tracking_identifier", "Comment": "comment"}
"""Columns of text that can be edited, and what of a group they are."""


@dataclass(frozen=True)
class _Cell:
    """A number that was edited: the measurement that the cell showed, or one of its column where it showed none."""

    shown: Measurement | None
    like: Measurement
    value: float


def with_table_edits(
    groups: Sequence[Group], table: Any, document: Sequence[Group], warnings: list[str]
) -> list[Group]:
    """Return groups as the table of their report says them now.

    Parameters
    ----------
    groups
        As nodes show them; new ones are returned as they are.
    table
        Main table of the report.
    document
        The report's groups as it was loaded.
    warnings
        What was edited and cannot be written is appended.
    """
    rows = _rows(table)
    if rows is None:
        warnings.append(f"{table.GetName()!r} has no column {GROUP_COLUMN} any more; what was edited in it is lost.")
        return list(groups)
    unknown = sorted(set(rows) - {group.number for group in document})
    if unknown:
        named = ", ".join(map(str, unknown))
        warnings.append(f"{table.GetName()!r}: rows of new groups ({named}) cannot be written; add markups for them.")
    _warn_of_others(table, document, rows, warnings)
    numbers, texts = _edited_numbers(table, document, rows), _edited_texts(table, document, rows)
    loaded = {group.number: group for group in document}
    result = []
    for group in groups:
        if not group.position:
            result.append(group)
        elif group.number in rows:
            kept = loaded.get(group.number, group)
            measurements = _measurements(group, kept, numbers.get(group.number, []))
            changed = replace(group, measurements=measurements)
            for name, text in texts.get(group.number, {}).items():
                setattr(changed, name, text)
            result.append(changed)
    return result


def _rows(table: Any) -> dict[int, int] | None:
    """Return group number -> row; None where the column of numbers is gone."""
    values = values_of_column(table, GROUP_COLUMN)
    if values is None:
        return None
    found: dict[int, int] = {}
    for row, value in enumerate(values):
        number = _number(value)
        if number is not None and number == int(number):
            found.setdefault(int(number), row)
    return found


def _number(value: object) -> float | None:
    """Return the number of a cell; None where it is empty, or not a number."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# --- Numbers ---------------------------------------------------------------------------------------------------------


def _edited_numbers(table: Any, document: Sequence[Group], rows: Mapping[int, int]) -> dict[int, list[_Cell]]:
    """Return the cells of measurements that were edited, by group number."""
    found: dict[int, list[_Cell]] = {}
    for column, shown in measurement_columns(document):
        now = values_of_column(table, column.properties[COLUMN], column.name) or ()
        like = next(one for one in shown if one is not None)
        for group, one in zip(document, shown, strict=True) if now else ():
            if group.number not in rows:
                continue
            value, before = _number(now[rows[group.number]]), one.value if one is not None else None
            if not _same(value, before):
                cell = _Cell(one, like, math.nan if value is None else value)
                found.setdefault(group.number, []).append(cell)
    return found


def _same(value: float | None, before: float | None) -> bool:
    was = before if before is not None and math.isfinite(before) else None
    if value is None or was is None:
        return value is was
    return value in (was, float(format(was, STORED)))


def _measurements(group: Group, kept: Group, cells: Sequence[_Cell]) -> list[Measurement]:
    """Return the measurements of a group with the cells that were edited, in the order of the document."""
    if not cells:
        return group.measurements
    found = {one.position: one for one in group.measurements if one.position}
    new = [one for one in group.measurements if not one.position]
    for cell in cells:
        if math.isnan(cell.value):
            found.pop(cell.shown.position if cell.shown is not None else (), None)
        elif cell.shown is not None:
            # What was left out because it could not be measured again is there again: the user says what it is.
            now = found.get(cell.shown.position) or _of_regions_now(cell.shown, group, kept)
            found[cell.shown.position] = replace(now, value=cell.value, text="", qualifier=None)
        else:
            like = cell.like
            new.append(
                Measurement(like.concept, cell.value, like.units, method=like.method, derivation=like.derivation)
            )
    return [*sorted(found.values(), key=lambda one: one.position), *new]


def _of_regions_now(one: Measurement, group: Group, kept: Group) -> Measurement:
    """Return a measurement with the regions that it was inferred from where they are in the group now."""
    now = {region.position: number for number, region in enumerate(group.regions) if region.position}
    before = [kept.regions[number].position for number in one.regions]
    return replace(one, regions=tuple(now[position] for position in before if position in now))


# --- Texts -----------------------------------------------------------------------------------------------------------


def _edited_texts(table: Any, document: Sequence[Group], rows: Mapping[int, int]) -> dict[int, dict[str, str]]:
    """Return what was edited in columns of text, by group number."""
    found: dict[int, dict[str, str]] = {}
    for title, name in TEXTS.items():
        for group, now in _texts(table, title, document, rows):
            if now != cell_text(getattr(group, name)):
                found.setdefault(group.number, {})[name] = now
    return found


def _texts(table: Any, title: str, document: Sequence[Group], rows: Mapping[int, int]) -> Iterator[tuple[Group, str]]:
    """Yield the groups with the text that a column shows of them now."""
    yield from _cells(values_of_column(table, title) or (), document, rows)


def _cells(values: Sequence[Any], document: Sequence[Group], rows: Mapping[int, int]) -> Iterator[tuple[Group, str]]:
    for group in document if values else ():
        if group.number in rows:
            yield group, cell_text(values[rows[group.number]])


def _warn_of_others(table: Any, document: Sequence[Group], rows: Mapping[int, int], warnings: list[str]) -> None:
    """Warn of edits in columns that are only shown, and of columns that the report does not have."""
    columns = group_columns(document)
    named = {plain_text(column.name): column.properties[COLUMN] for column in columns}
    before = {
        column.properties[COLUMN]: dict(zip([group.number for group in document], column.values, strict=True))
        for column in columns
    }
    editable = {GROUP_COLUMN, *TEXTS, *(column.properties[COLUMN] for column, _ in measurement_columns(document))}
    lost = []
    for title in column_titles(table):
        what = str(table.GetColumnProperty(title, COLUMN) or "") or named.get(title, title)
        if what in editable:
            continue
        was, now = before.get(what, {}), column_values(table, title) or ()
        if any(text != cell_text(was.get(group.number)) for group, text in _cells(now, document, rows)):
            lost.append(title)
    if lost:
        warnings.append(
            f"{table.GetName()!r}: what was edited in {', '.join(lost)} cannot be written from a table; "
            "codes are set on the markups."
        )
