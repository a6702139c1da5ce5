"""The tour's comparisons for reports and key objects: numbers, codes and places, by our nodes and by highdicom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import dicombridge
from dicombridge.codes import Code, code_from_entry
from dicombridge.demo import anatomy
from dicombridge.demo.findings import Finding, Outline, Quantity, ReportTruth
from dicombridge.geometry import lps_ras_points
from dicombridge.report.kept import WHOLE_NODE, kept_groups
from dicombridge.report.sheets import GROUP_COLUMN
from dicombridge.tables import column_values

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dicombridge.demo.tour import Row, Tour

__all__ = [
    "compare_key_slices",
    "compare_report",
    "compare_report_exported",
    "compare_report_for_ohif",
    "markups_of",
]

_KEY_SLICES = (24, 29, 35)
_EXACT_MM = 1e-4
"""Coordinates are written with 24 bits (VR FL)."""
_TRACKING_IDENTIFIER = "112039"
_MEASUREMENT_GROUP = "125007"
_CENTRE = "111010"


def compare_report(row: Row, tour: Tour) -> None:
    """Tables and markups against the truth; and what highdicom reads in the file."""
    truth = tour.study.report
    nodes = tour.nodes_of(truth.file)
    (lesion,) = (node for node in markups_of(nodes) if node.GetName() == truth.findings[0].label)
    levels = anatomy.ORGANS["Liver lesion"](tuple(_control_points(lesion).T))
    row.segments = len(truth.findings)
    row.checks["truth"] = _nodes_say(nodes, truth) and bool(np.allclose(levels, 1.0, atol=1e-5))
    row.checks["highdicom"] = _highdicom_says(truth.file, truth)


def compare_report_exported(row: Row, tour: Tour) -> None:
    """The same, written by us."""
    truth = tour.study.report
    folder = tour.directory / "exported" / "report"
    (path,) = dicombridge.export(tour.nodes_of(truth.file)[:1], folder, kind="SR", database=tour.database)
    again = dicombridge.load(path, scene=dicombridge.new_scene(), database=tour.database)
    row.segments = len(truth.findings)
    row.checks["truth"] = _nodes_say(again, truth)
    row.checks["highdicom"] = _highdicom_says(path, truth)


def compare_report_for_ohif(row: Row, tour: Tour) -> None:
    """Shapes as OHIF edits them, drawn anew: every group is of one of its tools, lies on an image, and is measured."""
    from pydicom import dcmread

    truth = tour.study.report
    scene = dicombridge.new_scene()
    shapes = [_drawn_again(scene, node) for node in markups_of(tour.nodes_of(truth.file))]
    folder = tour.directory / "exported" / "report_ohif"
    (path,) = dicombridge.export(
        shapes, folder, kind="SR", database=tour.database, profile="ohif", source=truth.source.uid
    )
    groups = [item for item in _items(dcmread(path)) if _concept(item) == _MEASUREMENT_GROUP]
    shown = [one for one in groups if any(item.ValueType == "SCOORD" for item in _items(one))]
    tools = [item.TextValue for one in shown for item in one.ContentSequence if _concept(item) == _TRACKING_IDENTIFIER]
    # The first number of a group is the one that its tool is for; a point has none.
    numbers = [next(item for item in _items(one) if item.ValueType == "NUM") for one in groups]
    values = [float(one.MeasuredValueSequence[0].NumericValue) for one in numbers if _concept(one) != _CENTRE]
    expected = [quantity.value for one in truth.findings if one.outlines for quantity in one.quantities]
    row.segments = len(groups)
    row.checks["truth"] = len(values) == len(expected) and bool(np.allclose(values, expected, rtol=1e-5))
    row.checks["pydicom"] = len(tools) == len(groups) == sum(len(one.outlines) for one in truth.findings) and all(
        tool.startswith("Cornerstone3DTools@") for tool in tools
    )


def _drawn_again(scene: Any, node: Any) -> Any:
    """Return a markup of the same shape that knows of no report, as if somebody had drawn it in Slicer."""
    copy = scene.AddNewNodeByClass(node.GetClassName(), node.GetName())
    for number in range(node.GetNumberOfControlPoints()):
        copy.AddControlPoint(*node.GetNthControlPointPositionWorld(number))
    if node.IsA("vtkMRMLMarkupsCurveNode"):
        copy.SetCurveType(node.GetCurveType())
    return copy


def compare_key_slices(row: Row, tour: Tour) -> None:
    """Slices that were chosen, written by us: what a document refers to are the files of those very slices."""
    import highdicom as hd
    from pydicom import dcmread

    series = tour.study.ct
    folder = tour.directory / "exported" / "key_slices"
    (path,) = dicombridge.export(
        tour.nodes_of(series.files[0])[:1], folder, kind="KOS", database=tour.database, slices=list(_KEY_SLICES)
    )
    document = hd.ko.KeyObjectSelectionDocument.from_dataset(dcmread(path))
    expected = [str(dcmread(series.files[place], stop_before_pixels=True).SOPInstanceUID) for place in _KEY_SLICES]
    found = [str(one.referenced_sop_instance_uid) for one in document.content.get_references()]
    row.segments = len(found)
    row.checks["truth"] = found == expected
    row.checks["highdicom"] = [document.resolve_reference(uid)[1:] for uid in found] == [
        (series.uid, uid) for uid in expected
    ]


# What nodes say ----------------------------------------------------------------------------------------------------


def markups_of(nodes: Sequence[Any]) -> list[Any]:
    """Return the markups of a report."""
    return [node for node in nodes if node.IsA("vtkMRMLMarkupsNode")]


def _nodes_say(nodes: Sequence[Any], truth: ReportTruth) -> bool:
    """Whether the table of groups and the markups say what the truth says, and no more."""
    table = nodes[0]
    uids = column_values(table, "Tracking UID") or []
    if uids != [one.uid for one in truth.findings] or column_values(table, GROUP_COLUMN) is None:
        return False
    if set(column_values(table, "Observer") or [truth.observer]) != {truth.observer}:
        return False
    shown = [(node, kept.groups[WHOLE_NODE], kept) for node in markups_of(nodes) if (kept := kept_groups(node))]
    agreed = []
    for row, finding in enumerate(truth.findings):
        own = [(node, group, kept) for node, group, kept in shown if group.tracking_uid == finding.uid]
        outlines = [_outline(node, group.regions[kept.regions[0]].type) for node, group, kept in own]
        codes = [(group.finding, group.sites[0].code) for _, group, _ in own]
        agreed += [
            _row_says(table, row, finding),
            _same_quantities(_quantities_of_row(table, row), finding),
            _same_outlines(outlines, finding),
            all(_pairs(said) == _pairs((finding.finding, finding.site)) for said in codes),
        ]
    return all(agreed)


def _row_says(table: Any, row: int, finding: Finding) -> bool:
    """Whether the words of a row are right: label, finding, site and segment."""
    uid, number = finding.segment or ("", 0)
    expected = {
        "Tracking Identifier": finding.label,
        "Finding": finding.finding.meaning,
        "Finding Site": finding.site.meaning if finding.site is not None else "",
        "Segment": f"{uid} segment {number}" if uid else "",
    }
    return all((column_values(table, name) or [])[row] == text for name, text in expected.items())


def _quantities_of_row(table: Any, row: int) -> list[Quantity]:
    """Return the numbers in a row, with the codes that their columns bear."""
    found = []
    for column in range(table.GetNumberOfColumns()):
        name = table.GetColumnName(column)
        values = column_values(table, name) or []
        concept, unit, derivation = (
            _code_of_column(table, name, key) for key in ("QuantityCode", "UnitsCode", "DerivationCode")
        )
        if concept is not None and unit is not None and np.isfinite(values[row]):
            found.append(Quantity(concept, float(values[row]), unit, derivation))
    return found


def _code_of_column(table: Any, name: str, key: str) -> Code | None:
    import slicer

    text = table.GetColumnProperty(name, f"DICOM.{key}")
    entry = slicer.vtkCodedEntry()
    return code_from_entry(entry) if text and entry.SetFromString(text) else None


def _outline(node: Any, graphic: str) -> Outline:
    """Return the shape that a markup has; of an ellipse, the ends of its axes, which are among its 32 points."""
    points = _control_points(node)
    if graphic == "ELLIPSE":
        points = points[[16, 0, 24, 8]]
    elif node.IsA("vtkMRMLMarkupsClosedCurveNode"):
        points = np.concatenate([points, points[:1]])
    return Outline(graphic, points)


def _control_points(node: Any) -> NDArray[np.float64]:
    """Return (n, 3) LPS mm."""
    return lps_ras_points(
        [node.GetNthControlPointPositionWorld(number) for number in range(node.GetNumberOfControlPoints())]
    )


# What highdicom reads ----------------------------------------------------------------------------------------------


def _highdicom_says(path: Path, truth: ReportTruth) -> bool:
    """Whether highdicom reads in a file what the truth says, and no more."""
    import highdicom as hd

    content = hd.sr.srread(path).content
    groups = [
        *content.get_planar_roi_measurement_groups(),
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]
    by_uid = {str(group.tracking_uid): group for group in groups}
    observers = [one.observer_identifying_attributes.name for one in content.get_observer_contexts()]
    if len(groups) != len(truth.findings) or observers != [truth.observer]:
        return False
    return all(finding.uid in by_uid and _group_says(by_uid[finding.uid], finding, truth) for finding in truth.findings)


def _group_says(group: Any, finding: Finding, truth: ReportTruth) -> bool:
    measurements = group.get_measurements()
    numbers = [Quantity(one.name, float(one.value), one.unit, one.derivation) for one in measurements]
    if finding.segment is not None:
        segment = group.referenced_segment
        said: Any = (str(segment.referenced_sop_instance_uid), *segment.referenced_segment_numbers)
        outlines = []
    else:
        said = None
        roi = getattr(group, "roi", None)
        shapes = [roi] if roi is not None else [shape for one in measurements for shape in one.referenced_coordinates]
        outlines = [Outline(shape.graphic_type.value, _patient_points(shape, truth)) for shape in shapes]
    return (
        str(group.tracking_identifier) == finding.label
        and _pairs((group.finding_type, group.finding_sites[0].value)) == _pairs((finding.finding, finding.site))
        and said == finding.segment
        and _same_quantities(numbers, finding)
        and _same_outlines(outlines, finding)
    )


def _patient_points(shape: Any, truth: ReportTruth) -> NDArray[np.float64]:
    """Return (n, 3) LPS mm of coordinates; those on an image by highdicom's own arithmetic."""
    import highdicom as hd
    from pydicom import dcmread

    values = np.asarray(shape.value, dtype=np.float64).reshape(-1, 3 if shape.ValueType == "SCOORD3D" else 2)
    if shape.ValueType == "SCOORD3D":
        return values
    uid = shape.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    headers = (dcmread(file, stop_before_pixels=True) for file in truth.source.files)
    image = next(one for one in headers if one.SOPInstanceUID == uid)
    return np.asarray(hd.spatial.ImageToReferenceTransformer.for_image(image)(values), dtype=np.float64)


# Comparing ---------------------------------------------------------------------------------------------------------


def _pairs(codes: Iterable[Any]) -> list[tuple[str, str] | None]:
    return [None if code is None else (code.value, code.scheme_designator) for code in codes]


def _same_quantities(said: Sequence[Quantity], finding: Finding) -> bool:
    codes = [{tuple(_pairs((one.concept, one.unit, one.derivation))): one.value for one in many}
             for many in (said, finding.quantities)]  # fmt: skip
    return len(said) == len(finding.quantities) and codes[0].keys() == codes[1].keys() and bool(
        np.allclose([codes[0][key] for key in codes[1]], list(codes[1].values()), rtol=1e-9)
    )  # fmt: skip


def _same_outlines(said: Sequence[Outline], finding: Finding) -> bool:
    return len(said) == len(finding.outlines) and all(
        one.graphic == other.graphic
        and one.points.shape == other.points.shape
        and bool(np.allclose(one.points, other.points, rtol=0.0, atol=_EXACT_MM))
        for one, other in zip(said, finding.outlines, strict=True)
    )


def _items(item: Any) -> list[Any]:
    """Return all content items below one, in the order of the document."""
    return [found for child in item.get("ContentSequence", []) for found in (child, *_items(child))]


def _concept(item: Any) -> str:
    names = item.get("ConceptNameCodeSequence") or []
    return str(names[0].CodeValue) if names else ""
