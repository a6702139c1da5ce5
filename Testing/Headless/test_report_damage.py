"""Documents with a fault somewhere load with all that is right in them, and say what is wrong; all templates open."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sr_nodes import assert_shows, column_names, column_of, markups_of
from support.sr_odd import BROKEN, write_million_points
from support.sr_templates import OTHERS, write_other

import dicombridge
from dicombridge.multiframe import read_header
from dicombridge.report.reading import read_report

SILENT = {
    "100 levels",
    "NUM without sequence",  # the standard's way to say that there is no value, but for the sequence itself
    "NUM without item",
    "NUM without number",
    "NUM without units",
    "no concept",
    "empty concept",
    "no relationship",
    "POINT of two",
    "SCOORD3D without frame",
    "open POLYGON",
    "CIRCLE without radius",
}
"""Faults that lose nothing, of which nothing has to be said."""


def loaded(path: Path, folder: Path, **options: Any) -> list[Any]:
    scene = dicombridge.new_scene()
    nodes = dicombridge.load(path, scene=scene, database=dicombridge.open_folder(folder), **options)
    nodes[0].dicombridge_scene = scene
    return nodes


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_right_in_a_broken_document_is_shown(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, expected = BROKEN[name](tmp_path)
    with caplog.at_level(logging.WARNING):
        nodes = loaded(path, tmp_path)
    report = read_report(str(path), "SR", dicombridge.open_folder(tmp_path))
    assert_shows(nodes, report.groups, expected)
    identifiers = column_of(nodes[0], "Tracking Identifier")
    assert "bad" in identifiers or "good" in identifiers
    said = [record.message for record in caplog.records if record.name.startswith("dicombridge.report")]
    assert said or name in SILENT, "nothing was said"


def test_a_million_points_are_a_model(tmp_path: Path) -> None:
    """A control point is an object; a model's point is three numbers."""
    path, expected = write_million_points(tmp_path)
    start = time.process_time()
    nodes = loaded(path, tmp_path)
    (model,) = markups_of(nodes)
    assert model.IsA("vtkMRMLModelNode")
    assert model.GetPolyData().GetNumberOfPoints() == len(expected.groups[0].regions[0].points) == 1_000_000
    x, y, z = model.GetPolyData().GetPoint(999_999)
    np.testing.assert_allclose((-x, -y, z), expected.groups[0].regions[0].points[-1], atol=1e-4)
    assert time.process_time() - start < 60  # a bound on the order of magnitude: not an hour


@pytest.mark.parametrize("name", OTHERS)
def test_documents_of_all_templates_open(name: str, tmp_path: Path) -> None:
    path, _ = write_other(tmp_path, name)
    nodes = loaded(path, tmp_path)
    tables = [node for node in nodes if node.IsA("vtkMRMLTableNode")]
    content = next(table for table in tables if "Level" in column_names(table))
    assert column_of(content, "Concept")[0] == OTHERS[name].title[2]
    assert len(column_of(content, "Item")) > 2
    (text,) = [node for node in nodes if node.IsA("vtkMRMLTextNode")]
    assert text.GetText().startswith(OTHERS[name].title[2])
    report = read_report(str(path), nodes[0].GetAttribute("DICOMBridge.Kind"), dicombridge.open_folder(tmp_path))
    placed = [region for group in report.groups for region in group.regions if region.points is not None]
    assert len(markups_of(nodes)) == len(placed)
    geometry = [item for item in report.root.walk() if item.value_type in ("SCOORD", "SCOORD3D")]
    assert bool(geometry) == bool(placed)


REAL = {
    "dcmjs/tid1500_dcmjs_point_ellipse_polyline.dcm": 6,
    "dcmqi_liver/sr-tid1500-ct-liver-example.dcm": 1,
    "dcmqi_liver/tid1500_dcmqi.dcm": 1,
    "highdicom/sr_document.dcm": 1,
    "highdicom/sr_document_with_multiple_groups.dcm": 4,
    "misc/basic_text_discharge_summary.dcm": 0,
    "misc/report_dfl": 0,
    "offis/reportsi.dcm": 0,
    "offis/test-SR.dcm": 1,
    "qiicr_headneck_0003/sr.dcm": 1,
}
"""File -> measurement groups, or loose geometry, in it."""


VENDOR = "misc/siemens_phoenix_ve.dcm"


def test_all_real_documents_are_opened_here(data: Path) -> None:
    files = [path for path in (data / "sr").rglob("*") if path.is_file()]
    modalities = {path.relative_to(data / "sr").as_posix(): read_header(path).get("Modality") for path in files}
    assert {name for name, modality in modalities.items() if modality == "SR"} == {*REAL, VENDOR}


@pytest.mark.parametrize("name", REAL)
def test_every_real_document_opens(name: str, data: Path) -> None:
    nodes = loaded(data / "sr" / name, (data / "sr" / name).parent)
    tables = [node for node in nodes if node.IsA("vtkMRMLTableNode")]
    groups = [table for table in tables if "Group" in column_names(table)]
    assert sum(table.GetNumberOfRows() for table in groups) == REAL[name]
    assert any(node.IsA("vtkMRMLTextNode") for node in nodes)


def test_the_real_key_object_selection_opens(data: Path) -> None:
    nodes = loaded(data / "kos" / "kos_key_object_selection.dcm", data / "kos")
    assert nodes[0].GetAttribute("DICOMBridge.Kind") == "KOS"
    assert any(column_of(nodes[0], "Reference"))
