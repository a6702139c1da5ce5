"""The tour's comparisons for structure sets, doses and plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import dicombridge
from dicombridge.demo import comparison
from dicombridge.geometry import lps_ras_points
from dicombridge.tables import column_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.demo.phantom import Truth
    from dicombridge.demo.tour import Row, Tour

__all__ = [
    "compare_converted",
    "compare_dose",
    "compare_dose_exported",
    "compare_plan",
    "compare_plan_exported",
    "compare_structures",
    "compare_structures_exported",
]

_DICE = 0.995
"""Of a structure from its outlines (of 240 points) with the exact organ."""


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return 2.0 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1.0)


def compare_structures(row: Row, tour: Tour) -> None:
    """Filled outlines against the voxels that are inside the organ's formula."""
    truth = tour.study.treatment
    _compare_masks(row, tour.nodes_of(truth.structure_set)[0], truth.masks, truth.source, _DICE)


def _compare_masks(row: Row, node: Any, masks: dict[str, NDArray[np.bool_]], source: Any, least: float) -> None:
    got = comparison.arrays_of_node(node, source.affine, source.values.shape)
    row.segments, row.voxels = len(got), sum(int(mask.sum()) for mask in got.values())
    agreed = all(_dice(got[name], mask) >= least for name, mask in masks.items() if name in got and mask.any())
    row.checks["truth"] = set(got) == set(masks) and agreed


def compare_structures_exported(row: Row, tour: Tour) -> None:
    """Nothing was edited, so every contour comes back with the very digits that it had."""
    truth = tour.study.treatment
    (path,) = dicombridge.export(
        tour.nodes_of(truth.structure_set),
        tour.directory / "exported" / "structures",
        kind="RTSTRUCT",
        database=tour.database,
    )
    before, after = _contours(truth.structure_set), _contours(path)
    row.segments, row.voxels = len(after), 0
    row.checks["truth"] = {name: len(found) for name, found in after.items()} == truth.contours
    row.checks["pydicom"] = before == after


def _contours(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Return structure name -> geometric type and coordinates, as they are written, of each contour."""
    from pydicom import dcmread

    dataset = dcmread(path)
    names = {int(item.ROINumber): str(item.ROIName) for item in dataset.StructureSetROISequence}
    return {
        names[int(item.ReferencedROINumber)]: [
            (str(contour.ContourGeometricType), "\\".join(str(value) for value in contour.ContourData))
            for contour in item.get("ContourSequence", [])
        ]
        for item in dataset.ROIContourSequence
    }


def compare_converted(row: Row, tour: Tour, truth: Truth) -> None:
    """A segmentation as a structure set: outlines of its voxels, filled again, are its voxels."""
    nodes = tour.nodes_of(truth.file)
    folder = tour.directory / "exported" / f"{truth.file.stem}_rtstruct"
    (path,) = dicombridge.export(nodes, folder, kind="RTSTRUCT", database=tour.database, contours="pixel")
    again = dicombridge.load(path, scene=dicombridge.new_scene(), database=tour.database)
    masks = {name: mask for name, mask in truth.segments.items() if mask.any()}
    empty = {name: mask for name, mask in truth.segments.items() if not mask.any()}
    _compare_masks(row, again[0], masks | empty, truth.source, 1.0)


def compare_dose(row: Row, tour: Tour) -> None:
    """A dose in Gy against stored value x scaling."""
    truth = tour.study.treatment
    _compare_dose(row, tour.nodes_of(truth.dose)[0], truth)


def compare_dose_exported(row: Row, tour: Tour) -> None:
    """The same, written by us."""
    from pydicom import dcmread

    truth = tour.study.treatment
    nodes = tour.nodes_of(truth.dose)[:1]
    folder = tour.directory / "exported" / "dose"
    (path,) = dicombridge.export(nodes, folder, kind="RTDOSE", database=tour.database)
    again = dicombridge.load(path, scene=dicombridge.new_scene(), database=tour.database)
    _compare_dose(row, again[0], truth)
    before, after = dcmread(truth.dose), dcmread(path)
    planned, written = (one.pixel_array * float(one.DoseGridScaling) for one in (before, after))
    row.checks["pydicom"] = bool(np.allclose(planned, written, rtol=1e-6, atol=1e-6))


def _compare_dose(row: Row, node: Any, truth: Any) -> None:
    values, affine = comparison.node_grid(node)
    row.voxels = values.size
    row.checks["truth"] = values.shape == truth.dose_values.shape and bool(
        np.allclose(values, truth.dose_values, rtol=1e-6, atol=1e-6)
        and np.allclose(affine, truth.dose_affine, atol=1e-5)
    )


def compare_plan(row: Row, tour: Tour) -> None:
    """Monitor units of each beam in the table, isocentres where they were planned."""
    truth = tour.study.treatment
    nodes = tour.nodes_of(truth.plan)
    row.segments = len(truth.metersets)
    row.checks["truth"] = _plan_agrees(nodes, truth)


def _plan_agrees(nodes: list[Any], truth: Any) -> bool:
    metersets = column_values(nodes[0], "Meterset") or []
    marks = next(node for node in nodes if node.IsA("vtkMRMLMarkupsFiducialNode"))
    places = [marks.GetNthControlPointPosition(number) for number in range(marks.GetNumberOfControlPoints())]
    (expected,) = lps_ras_points([truth.isocentre])
    return (
        len(metersets) == len(places) == len(truth.metersets)
        and bool(np.allclose(metersets, truth.metersets))
        and bool(np.allclose(places, expected, atol=1e-6))
    )


def compare_plan_exported(row: Row, tour: Tour) -> None:
    """A plan that nobody changed: every beam as it was."""
    from pydicom import dcmread

    truth = tour.study.treatment
    folder = tour.directory / "exported" / "plan"
    (path,) = dicombridge.export(tour.nodes_of(truth.plan), folder, kind="RTPLAN", database=tour.database)
    again = dicombridge.load(path, scene=dicombridge.new_scene(), database=tour.database)
    row.segments = len(truth.metersets)
    row.checks["truth"] = _plan_agrees(again, truth)
    before, after = dcmread(truth.plan), dcmread(path)
    row.checks["pydicom"] = bool(
        before.BeamSequence == after.BeamSequence and before.FractionGroupSequence == after.FractionGroupSequence
    )
