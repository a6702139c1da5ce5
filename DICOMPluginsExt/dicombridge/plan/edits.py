"""What a person changed in the nodes of a plan, as changes of single attributes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR

from dicombridge.encode import decimal_string
from dicombridge.errors import ExportError
from dicombridge.geometry import lps_ras_points, plausible
from dicombridge.plan.contents import sheets_of
from dicombridge.plan.nodes import BEAMS_ATTRIBUTE, DWELLS, ISOCENTRES, isocentre_label
from dicombridge.plan.sheets import Sheet
from dicombridge.plan.values import Beam, Path, Plan
from dicombridge.tables import Column, cell_text, column_values
from dicombridge.text import plain_text

__all__ = ["SAME_PLACE_MM", "Edit", "edits_of"]

_log = logging.getLogger(__name__)

SAME_PLACE_MM = 1e-3
"""A point that is nearer than this to where it was did not move."""
_SIX_DIGITS = 1e-5
"""Relative difference that is none: table files keep six digits."""


@dataclass(frozen=True)
class Edit:
    """One attribute that is to have another value.

    Attributes
    ----------
    path
        Item that it is in.
    keyword
        DICOM keyword.
    value
        As the attribute wants it; None where it was emptied.
    what
        For a person: what changed.
    """

    path: Path
    keyword: str
    value: str | list[str] | None
    what: str


def edits_of(parts: Mapping[str, Any], plan: Plan) -> list[Edit]:
    """Return what differs between the nodes of a plan and the plan that they came from.

    Tables, points and columns that are gone say nothing: what they showed is written as it was.

    Parameters
    ----------
    parts
        The nodes by what they are, as :func:`dicombridge.plan.nodes.parts_of` returns them.
    plan
        As it was.

    Raises
    ------
    ExportError
        Something was changed that cannot be edited, or to a value that cannot be.
    """
    edits = [edit for sheet in sheets_of(plan) if sheet.key in parts for edit in _of_sheet(parts[sheet.key], sheet)]
    points = parts.get(ISOCENTRES)
    if points is not None:
        renamed = {edit.path for edit in edits if edit.keyword == "BeamName"}
        edits.extend(_of_isocentres(points, plan, renamed))
    dwells = parts.get(DWELLS)
    if dwells is not None:
        _check_dwells(dwells, plan)
    return edits


# --- Tables --------------------------------------------------------------------------------------------------------


def _of_sheet(table: Any, sheet: Sheet) -> Iterator[Edit]:
    rows = table.GetNumberOfRows()
    if rows != sheet.rows:
        raise ExportError(
            f"{table.GetName()}: has {rows} rows, and the plan {sheet.rows}. Rows can be neither added nor removed; "
            "load the plan again, or remove the whole table."
        )
    known = {plain_text(one.name) for one in sheet.columns}
    added = {table.GetColumnName(number) for number in range(table.GetNumberOfColumns())} - known
    if added:
        _log.warning("%s: columns that a plan has no place for are not written: %s.", table.GetName(), sorted(added))
    for one in sheet.columns:
        values = column_values(table, plain_text(one.name))
        if values is None:
            continue
        for row in _changed(one, values):
            where = f"{table.GetName()}, row {row + 1}, {one.name}"
            keyword = sheet.editable.get(one.name)
            if keyword is None:
                names = ", ".join(sheet.editable) or "none"
                raise ExportError(
                    f"{where}: was changed from {one.values[row]!r} to {values[row]!r}, which a plan cannot be edited "
                    f"by. Undo it; columns of this table that can be edited: {names}."
                )
            value = _value(keyword, values[row], where)
            if value is None and keyword == "BeamName" and sheet.paths[row][0][0] == "IonBeamSequence":
                raise ExportError(f"{where}: is empty; a beam of ions needs a name (PS3.3 C.8.8.25).")
            yield Edit(sheet.paths[row], keyword, value, f"{where}: {values[row]}")


def _changed(one: Column, values: Sequence[Any]) -> list[int]:
    return [row for row, (was, now) in enumerate(zip(one.values, values, strict=True)) if not _same(was, now)]


def _same(was: object, now: object) -> bool:
    """Whether a cell is as it was; a table file may give numbers for text that reads as such, and the reverse."""
    if isinstance(was, int | float):
        first, second = float(was), _number(now)
        if math.isnan(first) or math.isnan(second):
            return math.isnan(first) and math.isnan(second)
        return math.isclose(first, second, rel_tol=_SIX_DIGITS, abs_tol=1e-12)
    if isinstance(now, str):
        return cell_text(plain_text(was)) == cell_text(plain_text(now))
    if _is_nan(now):
        return cell_text(plain_text(was)).lower() in ("", "nan")
    return math.isclose(_number(was), _number(now), rel_tol=_SIX_DIGITS)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _number(value: object) -> float:
    """Return a cell as a number; NaN where it is none."""
    try:
        return float(str(value).strip())
    except ValueError:
        return math.nan


def _value(keyword: str, now: object, where: str) -> str | None:
    """Return what a person entered as the attribute wants it.

    Raises
    ------
    ExportError
        It is no number where one is needed, or a negative one.
    """
    vr = dictionary_VR(keyword)
    if vr not in ("DS", "IS"):
        text = plain_text("" if _is_nan(now) else now)
        return text or None
    if _is_nan(now) or not str(now).strip():
        return None
    number = _number(now)
    if not math.isfinite(number) or number < 0 or (vr == "IS" and not number.is_integer()):
        kind = "a whole number" if vr == "IS" else "a number"
        raise ExportError(f"{where}: {now!r} is not {kind} of at least 0.")
    return str(int(number)) if vr == "IS" else decimal_string(number)


# --- Points --------------------------------------------------------------------------------------------------------


def _of_isocentres(node: Any, plan: Plan, renamed: set[Path]) -> Iterator[Edit]:
    places = _control_points(node)
    for pair in (node.GetAttribute(BEAMS_ATTRIBUTE) or "").split():
        point_id, _, number = pair.rpartition(":")
        if not number.isdigit() or int(number) >= len(plan.beams):
            raise ExportError(f"{node.GetName()}: its attribute {BEAMS_ATTRIBUTE} was changed; load the plan again.")
        beam = plan.beams[int(number)]
        index = places.pop(point_id, None)
        if index is None:
            raise ExportError(
                f"{node.GetName()}: the isocentre of beam {beam.name or beam.number} was removed, which no beam can be "
                "without. Put it back, or remove all of these points to leave the isocentres as they were."
            )
        yield from _of_isocentre(node, index, beam)
        label = plain_text(node.GetNthControlPointLabel(index))
        if label and label != isocentre_label(beam):
            if beam.path in renamed:
                _log.warning("%s: label %s is not written: the table has another name.", node.GetName(), label)
            else:
                yield Edit(beam.path, "BeamName", label, f"name of beam {beam.number}: {label}")
    if places:
        _log.warning("%s: %d points of no beam are not written.", node.GetName(), len(places))


def _control_points(node: Any) -> dict[str, int]:
    """Return index by ID of the points that have a place."""
    import slicer

    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    return {
        node.GetNthControlPointID(index): index
        for index in range(node.GetNumberOfControlPoints())
        if node.GetNthControlPointPositionStatus(index) == defined
    }


def _of_isocentre(node: Any, index: int, beam: Beam) -> Iterator[Edit]:
    was = np.array(beam.isocentre)
    (now,) = lps_ras_points([node.GetNthControlPointPositionWorld(index)])
    if not plausible(now):
        raise ExportError(f"{node.GetName()}: the isocentre of beam {beam.name or beam.number} is at no place: {now}.")
    moved = now - was
    if np.linalg.norm(moved) <= SAME_PLACE_MM:
        return
    what = f"isocentre of beam {beam.name or beam.number}: moved by {np.linalg.norm(moved):.3f} mm"
    for path, position in _isocentre_items(beam):
        yield Edit(path, "IsocenterPosition", [decimal_string(round(value, 6)) for value in position + moved], what)


def _isocentre_items(beam: Beam) -> Iterator[tuple[Path, Any]]:
    """Yield each control point that has an isocentre of its own, not an inherited one, and where that is."""
    sequence = "IonControlPointSequence" if beam.ion else "ControlPointSequence"
    for number, point in enumerate(beam.control_points):
        if "IsocenterPosition" in point.own:
            yield (*beam.path, (sequence, number)), np.array(point.settings["IsocenterPosition"])


def _check_dwells(node: Any, plan: Plan) -> None:
    """Refuse dwell positions that were moved: times and applicators belong to where they were."""
    places = [dwell.position for channel in plan.channels for dwell in channel.dwells]
    placed = [place for place in places if place is not None and plausible(place)]
    count = node.GetNumberOfControlPoints()
    now = lps_ras_points([node.GetNthControlPointPositionWorld(index) for index in range(count)] or np.empty((0, 3)))
    if count != len(placed) or (count and np.abs(now - np.array(placed)).max() > SAME_PLACE_MM):
        raise ExportError(
            f"{node.GetName()}: dwell positions were moved, added or removed, which a plan cannot be edited by. Undo "
            "it, or remove all of these points to leave the dwell positions as they were."
        )
