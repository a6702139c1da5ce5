"""Dose-volume histograms as tables and plots."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.dose.dvh import Histogram, Roi, mean_of
from dicombridge.tables import Column, add_table
from dicombridge.text import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["add_histograms"]

_VOLUME_UNITS = {"CM3": "cm3", "PERCENT": "%", "PER_U": "per u"}
_DOSE_UNITS = {"GY": "Gy", "RELATIVE": ""}
_TITLES = {
    "CUMULATIVE": "Volume with at least this dose",
    "DIFFERENTIAL": "Volume in the bin of this dose",
    "NATURAL": "Natural dose-volume histogram",
}


def add_histograms(scene: Any, name: str, histograms: Sequence[Histogram], rois: Mapping[int, Roi]) -> list[Any]:
    """Add histograms as nodes; call within a scene transaction.

    Returns
    -------
    list of nodes
        The table of the curves (dose and volume columns), the table of their figures, then for each type of histogram
        a chart and its series.
    """
    axes = _axes(histograms)
    names = _column_names(histograms, rois)
    curves = add_table(scene, f"{name} - DVH", _columns(histograms, axes, names))
    figures = add_table(scene, f"{name} - DVH figures", _figures(histograms, rois))
    nodes = [curves, figures]
    for kind in dict.fromkeys((one.type, one.volume_units, one.dose_units) for one in histograms):
        shown = [n for n, one in enumerate(histograms) if (one.type, one.volume_units, one.dose_units) == kind]
        series = [
            _add_series(scene, curves, names[n], _dose_name(axes[n][0]), _colour(histograms[n], rois, n)) for n in shown
        ]
        nodes += [_add_chart(scene, name, histograms[shown[0]], series), *series]
    return nodes


def _axes(histograms: Sequence[Histogram]) -> list[tuple[int, NDArray[np.float64]]]:
    """Return for each histogram the number of its dose axis, and that axis.

    Histograms of one dose mostly have the same bins and only end at different ones: those share the longest axis.
    """
    longest: list[NDArray[np.float64]] = []
    member: list[int] = []
    for one in histograms:
        for number, axis in enumerate(longest):
            common = min(len(axis), len(one.doses))
            if np.allclose(axis[:common], one.doses[:common], rtol=1e-9, atol=1e-9):
                if len(one.doses) > len(axis):
                    longest[number] = one.doses
                member.append(number)
                break
        else:
            longest.append(one.doses)
            member.append(len(longest) - 1)
    return [(number, longest[number]) for number in member]


def _dose_name(number: int) -> str:
    return "Dose" if number == 0 else f"Dose {number + 1}"


def _column_names(histograms: Sequence[Histogram], rois: Mapping[int, Roi]) -> list[str]:
    """Return the name of each volume column; the same region twice is told apart by its type, then by a number."""
    several_types = len({one.type for one in histograms}) > 1
    names: list[str] = []
    for one in histograms:
        name = one_line(one.name(rois)) or "?"
        if several_types:
            name = f"{name} ({one.type.lower()})"
        if name.startswith("Dose"):  # as the columns of doses are called
            name = f"Volume of {name}"
        unique, number = name, 2
        while unique in names:
            unique, number = f"{name} [{number}]", number + 1
        names.append(unique)
    return names


def _columns(
    histograms: Sequence[Histogram], axes: Sequence[tuple[int, NDArray[np.float64]]], names: Sequence[str]
) -> list[Column]:
    rows = max(len(axis) for _, axis in axes)
    columns = []
    told: set[int] = set()
    for one, (number, axis), name in zip(histograms, axes, names, strict=True):
        if number not in told:
            told.add(number)
            ends = "lower end of the bin" if one.type == "CUMULATIVE" else "middle of the bin"
            unit = _DOSE_UNITS.get(one.dose_units, one.dose_units)
            columns.append(Column(_dose_name(number), _padded(axis, rows), unit, f"Dose, {ends}"))
        properties = {
            "DVHType": one.type,
            "DoseColumn": _dose_name(number),
            "ReferencedROINumber": " ".join(map(str, one.included)),
            "ExcludedROINumber": " ".join(map(str, one.excluded)),
            "DoseType": one.dose_type,
        }
        unit = _VOLUME_UNITS.get(one.volume_units, one.volume_units)
        columns.append(Column(name, _padded(one.volumes, rows), unit, _TITLES[one.type], properties))
    return columns


def _padded(values: NDArray[np.float64], rows: int) -> list[float | None]:
    """Return as many values as the table has rows; beyond the end of a histogram there are none."""
    return [*values.tolist(), *[None] * (rows - len(values))]


def _figures(histograms: Sequence[Histogram], rois: Mapping[int, Roi]) -> list[Column]:
    units = {_DOSE_UNITS.get(one.dose_units, one.dose_units) for one in histograms}
    unit = units.pop() if len(units) == 1 else ""
    totals = [_total_volume(one) for one in histograms]
    stated = "as the object says; some planning systems give percent of the prescription"
    return [
        Column("Structure", [one_line(one.name(rois)) for one in histograms]),
        Column("ROI Number", [" ".join(map(str, one.included)) for one in histograms]),
        Column("Type", [one.type for one in histograms]),
        Column("Volume", totals, description="Whole volume, in the units beside"),
        Column("Volume units", [_VOLUME_UNITS.get(one.volume_units, one.volume_units) for one in histograms]),
        Column("Minimum dose", [one.minimum for one in histograms], unit, f"DVH Minimum Dose, {stated}"),
        Column("Maximum dose", [one.maximum for one in histograms], unit, f"DVH Maximum Dose, {stated}"),
        Column("Mean dose", [one.mean for one in histograms], unit, f"DVH Mean Dose, {stated}"),
        Column("Mean of the curve", [mean_of(one) for one in histograms], unit, "Computed from the histogram"),
    ]


def _total_volume(histogram: Histogram) -> float | None:
    if histogram.type == "CUMULATIVE":
        return float(histogram.volumes[0])
    return float(histogram.volumes.sum()) if histogram.type == "DIFFERENTIAL" else None


def _colour(histogram: Histogram, rois: Mapping[int, Roi], number: int) -> tuple[float, float, float]:
    """Return the colour of the region; where it is not known, hues a golden angle apart."""
    known = [rois[roi].colour for roi in histogram.included if roi in rois]
    return next((colour for colour in known if colour is not None), colorsys.hsv_to_rgb(number * 0.618 % 1, 0.9, 0.8))


def _add_series(scene: Any, table: Any, column: str, dose_column: str, colour: tuple[float, float, float]) -> Any:
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", scene.GenerateUniqueName(column.replace("&", "and")))
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(dose_column)
    series.SetYColumnName(column)
    series.SetPlotType(series.PlotTypeScatter)
    series.SetMarkerStyle(series.MarkerStyleNone)
    series.SetColor(*colour)
    return series


def _add_chart(scene: Any, name: str, first: Histogram, series: Sequence[Any]) -> Any:
    title = f"{name} - {first.type.lower()} DVH"
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(title.replace("&", "and")))
    dose_unit = _DOSE_UNITS.get(first.dose_units, first.dose_units)
    volume_unit = _VOLUME_UNITS.get(first.volume_units, first.volume_units)
    chart.SetTitle(one_line(title))
    chart.SetXAxisTitle(f"Dose [{dose_unit}]" if dose_unit else "Dose (relative)")
    chart.SetYAxisTitle(f"Volume [{volume_unit}]" if volume_unit else "Volume")
    for one in series:
        chart.AddAndObservePlotSeriesNodeID(one.GetID())
    return chart
