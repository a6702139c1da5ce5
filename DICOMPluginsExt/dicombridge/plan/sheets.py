"""A plan as tables: which there are, their columns, and which cells a person may edit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_VR

from dicombridge.plan.values import Path, Record, Setting
from dicombridge.tables import Column, cell_text

__all__ = ["Field", "Sheet", "column", "others", "records_sheet", "shown", "unit_of"]

_UNITS = {
    "Angle": "deg",
    "Distance": "mm",
    "Dose": "Gy",
    "Position": "mm",
    "Tolerance": "",
    "Thickness": "mm",
}
# Units of attributes whose names do not end as the ones above.
_SPECIAL_UNITS = {
    "ApplicatorOpening": "mm",
    "ApplicatorOpeningX": "mm",
    "ApplicatorOpeningY": "mm",
    "BeamDosePointDepth": "mm",
    "BeamDosePointEquivalentDepth": "mm",
    "BeamDosePointSSD": "mm",
    "ChannelLength": "mm",
    "ChannelTotalTime": "s",
    "DoseRateSet": "MU/min",
    "DoseReferencePointCoordinates": "mm",
    "GantryAngleTolerance": "deg",
    "BeamLimitingDeviceAngleTolerance": "deg",
    "OrganAtRiskOverdoseVolumeFraction": "%",
    "PatientSupportAngleTolerance": "deg",
    "ReferenceAirKermaRate": "uGy/h",
    "ScanningSpotSize": "mm",
    "SetupVerificationTolerance": "mm",
    "SnoutPositionTolerance": "mm",
    "SourceActiveLength": "mm",
    "SourceApplicatorLength": "mm",
    "SourceApplicatorStepSize": "mm",
    "SourceIsotopeHalfLife": "d",
    "SourceToSurfaceDistance": "mm",
    "TableTopPitchAngleTolerance": "deg",
    "TableTopRollAngleTolerance": "deg",
    "TableTopVerticalPositionTolerance": "mm",
    "TableTopLongitudinalPositionTolerance": "mm",
    "TableTopLateralPositionTolerance": "mm",
    "TargetUnderdoseVolumeFraction": "%",
    "TotalReferenceAirKerma": "uGy",
    "TransferTubeLength": "mm",
    "VirtualSourceAxisDistances": "mm",
}


_FRACTIONAL = frozenset({"DS", "FD", "FL"})
_NUMERIC = _FRACTIONAL | {"IS", "SL", "SS", "UL", "US"}


@dataclass(frozen=True)
class Field:
    """A column of a sheet of records.

    Attributes
    ----------
    keyword
        DICOM keyword of the attribute.
    title
        Header of the column.
    editable
        Whether export writes what a person changed.
    """

    keyword: str
    title: str
    editable: bool = False


@dataclass
class Sheet:
    """One table of a plan.

    Attributes
    ----------
    key
        What it is, also the role of the node reference.
    title
        For a person.
    columns
        As :mod:`dicombridge.tables` wants them.
    paths
        For each row, where the item that it shows stands in the dataset; empty where nothing can be edited.
    editable
        Header of a column -> DICOM keyword that an edit of it changes.
    """

    key: str
    title: str
    columns: list[Column]
    paths: Sequence[Path] = ()
    editable: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values) if self.columns else 0


def unit_of(keyword: str) -> str:
    """Return the unit of an attribute as the standard fixes it, empty where it has none."""
    if keyword in _SPECIAL_UNITS:
        return _SPECIAL_UNITS[keyword]
    return next((unit for end, unit in _UNITS.items() if keyword.endswith(end)), "")


def shown(value: Setting | None) -> str:
    """Return a value as text: several numbers with a space between them.

    Examples
    --------
    >>> shown((1.0, 2.5)), shown(6.0), shown(None)
    ('1 2.5', '6', '')
    """
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(f"{number:.10g}" for number in value)
    return f"{value:.10g}" if isinstance(value, float) else cell_text(value)


def column(title: str, values: Sequence[Any], unit: str = "", description: str = "", keyword: str = "") -> Column:
    """Return a column; its DICOM keyword, where it has one, stays with it."""
    safe = [cell_text(value) if isinstance(value, str) else value for value in values]
    return Column(title, safe, unit, description, {"DICOMKeyword": keyword} if keyword else {})


def records_sheet(
    key: str,
    title: str,
    records: Sequence[Record],
    fields: Sequence[Field],
    first: Sequence[Column] = (),
    details: bool = True,
) -> Sheet:
    """Return the sheet of alike records: one row each.

    Columns that no record has a value for are left out, but for those that can be edited.

    Parameters
    ----------
    first
        Columns that come before.
    details
        Whether attributes without a column of their own are listed in a last one.
    """
    columns = list(first)
    for one in fields:
        values = [record.settings.get(one.keyword) for record in records]
        if any(value is not None for value in values) or one.editable:
            columns.append(_of_settings(one.title, values, one.keyword))
    if details:
        named = {one.keyword for one in fields}
        rest = [others(record.settings, named) for record in records]
        if any(rest):
            columns.append(column("Others", rest, description="Attributes without a column of their own"))
    editable = {one.title: one.keyword for one in fields if one.editable}
    return Sheet(key, title, columns, [record.path for record in records], editable)


def others(settings: Mapping[str, Setting], named: Iterable[str]) -> str:
    """Return the attributes that are not named as ``keyword=value`` texts."""
    named = set(named)
    return "; ".join(f"{keyword}={shown(value)}" for keyword, value in settings.items() if keyword not in named)


def _of_settings(title: str, values: Sequence[Setting | None], keyword: str) -> Column:
    unit = unit_of(keyword)
    vr = dictionary_VR(keyword)
    numbers = [value for value in values if isinstance(value, float)]
    if vr not in _NUMERIC or len(numbers) < sum(value is not None for value in values):
        return column(title, [shown(value) for value in values], unit, keyword=keyword)
    if vr not in _FRACTIONAL and len(numbers) == len(values):
        return column(title, [int(number) for number in numbers], unit, keyword=keyword)
    # A column without any value is one of numbers too, so that a person can enter one.
    return column(title, [math.nan if value is None else value for value in values], unit, keyword=keyword)
