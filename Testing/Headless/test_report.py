"""Structured reports of highdicom, of dcmqi and made by hand: what they say is on the nodes, in the right place."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sr_nodes import assert_shows, column_names, column_of, lps_points, markups_of
from support.sr_objects import CASES
from support.sr_odd import ODD

import dicombridge
import dicombridge.report
from dicombridge.report.reading import read_report

REPORTS = {**CASES, **ODD}


def vtk_calldata(observer: Any) -> Any:
    """Let an observer be called with the object of its event."""
    from vtkmodules.util.misc import calldata_type
    from vtkmodules.util.vtkConstants import VTK_OBJECT

    return calldata_type(VTK_OBJECT)(observer)


def loaded(path: Path, folder: Path, **options: Any) -> tuple[list[Any], Any]:
    """Load a report with all that lies beside it as database."""
    database = dicombridge.open_folder(folder)
    scene = dicombridge.new_scene()
    nodes = dicombridge.load(path, scene=scene, database=database, **options)
    nodes[0].dicombridge_scene = scene
    return nodes, database


@pytest.mark.parametrize("name", REPORTS)
def test_what_a_report_says_is_shown_where_it_is(name: str, tmp_path: Path) -> None:
    path, expected = REPORTS[name](tmp_path)
    nodes, database = loaded(path, tmp_path)
    report = read_report(str(path), "SR", database)
    assert_shows(nodes, report.groups, expected)
    names = [who.name for group in report.groups for who in group.observers]
    assert {*expected.persons, *expected.devices} <= set(names) or not report.groups


@pytest.mark.parametrize("name", REPORTS)
def test_every_item_is_in_table_and_text(name: str, tmp_path: Path) -> None:
    path, expected = REPORTS[name](tmp_path)
    nodes, _ = loaded(path, tmp_path)
    tables = [node for node in nodes if node.IsA("vtkMRMLTableNode")]
    content = next(table for table in tables if "Level" in column_names(table))
    (text,) = [node for node in nodes if node.IsA("vtkMRMLTextNode")]
    assert column_of(content, "Item")[0] == "1"
    concepts = column_of(content, "Concept")
    assert all(concept in text.GetText() for concept in concepts if concept)
    for group in expected.groups:
        assert group.tracking_uid in column_of(content, "Value") or not group.tracking_uid


def test_rows_and_columns_of_content(tmp_path: Path) -> None:
    path, expected = ODD["by reference"](tmp_path)
    nodes, _ = loaded(path, tmp_path)
    columns = ("Item", "Level", "Relation", "Type", "Concept", "Value", "Units", "Reference")
    table = next(node for node in nodes if "Level" in column_names(node) and node.IsA("vtkMRMLTableNode"))
    (group,) = expected.groups
    rows = list(zip(*(column_of(table, name) for name in columns), strict=True))
    image = group.regions[0].image
    assert rows[[row[0] for row in rows].index("1.6.1") :] == [
        ("1.6.1", 3, "CONTAINS", "CONTAINER", "Measurement Group", "", "", ""),
        ("1.6.1.1", 4, "HAS OBS CONTEXT", "TEXT", "Tracking Identifier", "by reference", "", ""),
        ("1.6.1.2", 4, "HAS OBS CONTEXT", "UIDREF", "Tracking Unique Identifier", group.tracking_uid, "", ""),
        ("1.6.1.3", 4, "CONTAINS", "CODE", "Finding", "Mass", "", ""),
        ("1.6.1.4", 4, "CONTAINS", "SCOORD", "Image Region", "POLYLINE of 2 points", "", ""),
        ("1.6.1.4.1", 5, "SELECTED FROM", "IMAGE", "", image, "", image),
        ("1.6.1.5", 4, "CONTAINS", "NUM", "Length", "10.5", "mm", ""),
        ("1.6.1.5.1", 5, "INFERRED FROM", "", "", "see item 1.6.1.4", "", ""),
    ]


def test_rows_and_columns_of_groups(tmp_path: Path) -> None:
    """A column is a measurement by its codes, so that groups with different measurements do not shift (B3)."""
    path, expected = CASES["everything"](tmp_path)
    nodes, _ = loaded(path, tmp_path)
    table = nodes[0]
    assert column_of(table, "Tracking UID") == [one.tracking_uid for one in expected.groups]
    for row, group in enumerate(expected.groups):
        for measurement in group.measurements:
            columns = [
                name
                for name in column_names(table)
                if f"CodeValue:{measurement.concept[0]}|" in table.GetColumnProperty(name, "DICOM.QuantityCode")
                and f"CodeValue:{measurement.units[0]}|" in table.GetColumnProperty(name, "DICOM.UnitsCode")
            ]
            values = [column_of(table, name)[row] for name in columns]
            assert any(np.isclose(value, measurement.value) for value in values)


def test_nodes_refer_to_each_other_and_lie_in_a_folder(tmp_path: Path) -> None:
    path, expected = CASES["planar oblique"](tmp_path) if "planar oblique" in CASES else CASES["planar axial"](tmp_path)
    nodes, _ = loaded(path, tmp_path)
    scene, table = nodes[0].GetScene(), nodes[0]
    shown = markups_of(nodes)
    assert [table.GetNthNodeReference("DICOMBridge.ReportMarkups", n) for n in range(len(shown))] == shown
    assert all(node.GetNodeReference("DICOMBridge.Report") is table for node in nodes[1:])
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    (folder,) = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes}
    assert hierarchy.GetItemName(folder) == table.GetName()
    assert hierarchy.GetItemLevel(hierarchy.GetItemParent(folder)) == "Study"
    assert hierarchy.GetItemUID(hierarchy.GetItemParent(folder), "DICOM") == expected.images.study


def test_a_row_leads_to_its_markups(tmp_path: Path) -> None:
    path, _ = ODD["bidirectional"](tmp_path)
    nodes, _ = loaded(path, tmp_path)
    (number,) = column_of(nodes[0], "Group")
    assert dicombridge.report.nodes_of_group(nodes[0], number) == markups_of(nodes)
    assert len(markups_of(nodes)) == 2
    assert dicombridge.report.nodes_of_group(nodes[0], number + 1) == []


def test_without_images_the_table_loads_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, expected = CASES["planar axial"](tmp_path)
    (alone := tmp_path / "alone").mkdir()
    path = path.rename(alone / "sr.dcm")
    (loadable,) = dicombridge.examine(dicombridge.open_folder(alone))
    assert "not in the database" in loadable.warning
    with caplog.at_level(logging.WARNING):
        nodes, _ = loaded(path, alone)
    assert "is not in the database" in caplog.text
    assert markups_of(nodes) == []
    assert column_of(nodes[0], "Tracking UID") == [one.tracking_uid for one in expected.groups]


def test_every_instance_of_the_series_is_a_reference(tmp_path: Path) -> None:
    """Also the slices on which nothing was drawn: a volume of the others would be none."""
    path, expected = ODD["bidirectional"](tmp_path) if "bidirectional" in ODD else CASES["planar axial"](tmp_path)
    database = dicombridge.open_folder(tmp_path)
    (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "SR"]
    assert set(expected.images.uids) <= set(loadable.referencedInstanceUIDs)
    assert loadable.files == [str(path)]


def test_a_segmentation_that_a_group_names_is_linked(tmp_path: Path) -> None:
    path, expected = CASES["segments"](tmp_path)
    database = dicombridge.open_folder(tmp_path)
    (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "SR"]
    uids = {uid for group in expected.groups for uid, _, _ in group.segments}
    assert uids <= set(loadable.referencedInstanceUIDs)
    scene = dicombridge.new_scene()
    everything = dicombridge.load(str(tmp_path), scene=scene)
    tables = [node for node in everything if node.GetNumberOfNodeReferences("DICOMBridge.ReportedSegmentation")]
    assert [table.GetNodeReference("DICOMBridge.ReportedSegmentation").GetClassName() for table in tables] == [
        "vtkMRMLSegmentationNode"
    ]
    assert all(any(uid in cell for uid in uids) for cell in column_of(tables[0], "Segment") if cell)
    assert path.exists()


def test_more_shapes_than_markups_are_a_list_and_a_model(tmp_path: Path) -> None:
    path, expected = CASES["planar axial"](tmp_path)
    nodes, _ = loaded(path, tmp_path, most_markups=2)
    points, model = markups_of(nodes)
    single = [one.regions[0].points for one in expected.groups if one.regions[0].type == "POINT"]
    np.testing.assert_allclose(lps_points(points), np.concatenate(single), atol=1e-3)
    others = [row + 1 for row, one in enumerate(expected.groups) if one.regions[0].type != "POINT"]
    array = model.GetPolyData().GetCellData().GetArray("Group")
    assert [array.GetValue(cell) for cell in range(array.GetNumberOfTuples())] == others


@pytest.mark.parametrize(("most", "between"), [(1, 1), (1000, 10)])
def test_outlines_of_very_many_markups_have_their_corners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, between: int
) -> None:
    """The outline is the same one; a circle is a spline in any case."""
    monkeypatch.setattr("dicombridge.report.nodes.MOST_OUTLINES", most)
    path, expected = CASES["planar axial"](tmp_path)
    nodes, _ = loaded(path, tmp_path)
    said = [one.regions[0] for one in expected.groups]
    shown = {region.type: node for region, node in zip(said, markups_of(nodes), strict=True)}
    outline = next(one.points for one in said if one.type == "POLYLINE" and (one.points[0] == one.points[-1]).all())
    assert shown["POLYLINE"].GetCurveClosed()
    assert shown["POLYLINE"].GetNumberOfPointsPerInterpolatingSegment() == between
    length = np.linalg.norm(np.diff(outline, axis=0), axis=1).sum()
    assert shown["POLYLINE"].GetCurveLengthWorld() == pytest.approx(length, rel=1e-5)
    assert shown["CIRCLE"].GetNumberOfPointsPerInterpolatingSegment() == 10
    radius = np.linalg.norm(np.diff(next(one.points for one in said if one.type == "CIRCLE"), axis=0))
    assert shown["CIRCLE"].GetCurveLengthWorld() == pytest.approx(2 * np.pi * radius, rel=1e-3)


def test_vendor_documents_of_private_data_are_left_alone(data: Path) -> None:
    database = dicombridge.open_folder(data / "sr" / "misc")
    files = [Path(one.files[0]).name for one in dicombridge.examine(database)]
    assert "siemens_phoenix_ve.dcm" not in files
    assert {"basic_text_discharge_summary.dcm", "report_dfl"} <= set(files)


def test_markups_are_added_in_one_batch(tmp_path: Path) -> None:
    """Each node that is added outside of one lets all of Slicer's views and tables look at the scene again."""
    path, expected = CASES["planar axial"](tmp_path / "shapes")
    scene, seen = dicombridge.new_scene(), []

    @vtk_calldata
    def added(caller: Any, event: str, node: Any) -> None:
        if node.IsA("vtkMRMLMarkupsNode"):
            seen.append(bool(caller.IsBatchProcessing()))

    scene.AddObserver(scene.NodeAddedEvent, added)
    batches: list[str] = []
    scene.AddObserver(scene.EndBatchProcessEvent, lambda caller, event: batches.append(event))
    dicombridge.load(path, scene=scene, database=dicombridge.open_folder(tmp_path / "shapes"))
    assert seen == [True] * len(expected.groups)
    assert len(batches) == 1
