"""Spatial fiducials in: sets as markups, with all that is said about them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import fiducials as fid
from support.fiducials import Mark, MarkSet, labels_of, lps_of
from support.rt_structures import write_images
from support.scenes import saved_and_read

import dicombridge
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.fiducials.kept import FIDUCIALS_ATTRIBUTE, SHAPE_ATTRIBUTE, kept_set

CLASSES = {
    "AXIS": "vtkMRMLMarkupsLineNode",
    "MSP": "vtkMRMLMarkupsClosedCurveNode",
    "SKIN": "vtkMRMLMarkupsFiducialNode",
    "RULE": "vtkMRMLMarkupsCurveNode",
    "ELL": "vtkMRMLMarkupsCurveNode",
    "TEE": "vtkMRMLMarkupsCurveNode",
    "RING": "vtkMRMLMarkupsClosedCurveNode",
    "ZIG": "vtkMRMLMarkupsCurveNode",
    "BAR": "vtkMRMLMarkupsLineNode",
}


def load(path: Path, scene: Any, database: Any = None) -> list[Any]:
    return dicombridge.load(path, scene=scene, database=database)


def by_name(nodes: list[Any]) -> dict[str, Any]:
    return {node.GetName(): node for node in nodes}


def test_every_shape_is_drawn_as_what_it_is(scene: Any, tmp_path: Path) -> None:
    marks = fid.every_shape()
    nodes = load(fid.write_fiducials(tmp_path / "f.dcm", [marks]), scene)
    found = by_name(nodes)
    points = found.pop("9: Landmarks")
    assert nodes[0] is points
    assert labels_of(points) == ["NASION", "LPA"]
    np.testing.assert_array_equal(lps_of(points), [(1.25, -80.5, 30.125), (70.0, 10.0, -5.5)])
    assert {name: node.GetClassName() for name, node in found.items()} == CLASSES
    given = {mark.identifier: np.array(mark.points) for mark in marks.marks}
    for name in ("AXIS", "MSP", "SKIN", "RULE", "ELL", "ZIG", "BAR"):
        np.testing.assert_array_equal(lps_of(found[name]), given[name])
    np.testing.assert_array_equal(lps_of(found["RING"]), given["RING"][:3])
    # A T is drawn along its bar to the middle, from which the stem goes: A, B, C, D.
    np.testing.assert_array_equal(lps_of(found["TEE"]), [(-8, 0, 4), (8, 0, 4), (0, 0, 4), (0, 12, 4)])
    for name, node in found.items():
        assert node.GetAttribute(SHAPE_ATTRIBUTE) == next(m.shape for m in marks.marks if m.identifier == name)
        if node.IsA("vtkMRMLMarkupsCurveNode"):
            assert node.GetCurveTypeAsString(node.GetCurveType()) == "linear"


def test_what_is_said_about_a_fiducial_is_kept(scene: Any, tmp_path: Path) -> None:
    path = fid.write_fiducials(tmp_path / "f.dcm", [fid.every_shape()])
    nodes = load(path, scene)
    points, axis = nodes[0], by_name(nodes)["AXIS"]
    assert points.GetNthControlPointDescription(0) == "Bridge of the nose"
    kept = json.loads(points.GetAttribute(FIDUCIALS_ATTRIBUTE))
    assert kept["set"] == 1
    assert kept["frame_of_reference_uid"] == fid.FRAME
    one = kept["fiducials"][points.GetNthControlPointID(0)]
    assert (one["identifier"], one["radius_mm"], one["shape"]) == ("NASION", 0.75, "POINT")
    assert tuple(one["code"]) == fid.NASION
    assert one["category"] == ["111412", "DCM", "Anatomic landmark"]
    assert one["uid"].startswith("1.2.826")
    assert json.loads(axis.GetAttribute(FIDUCIALS_ATTRIBUTE))["fiducials"][""]["radius_mm"] == 2.0


def test_several_sets_are_lists_of_their_own(scene: Any, tmp_path: Path) -> None:
    sets = [
        MarkSet([Mark("A", points=[(1, 2, 3)]), Mark("B", points=[(4, 5, 6)])], frame="1.2.3"),
        MarkSet([Mark("L", "LINE", [(0, 0, 0), (1, 1, 1)])], frame="1.2.4"),
        MarkSet([Mark("A", points=[(7, 8, 9)])], frame="1.2.5"),
    ]
    nodes = load(fid.write_fiducials(tmp_path / "f.dcm", sets), scene)
    assert [node.GetName() for node in nodes] == ["9: Landmarks (set 1)", "9: Landmarks (set 3)", "L"]
    assert [labels_of(node) for node in nodes[:2]] == [["A", "B"], ["A"]]
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    items = [hierarchy.GetItemByDataNode(node) for node in nodes]
    frames = [hierarchy.GetItemAttribute(item, "DICOM.FrameOfReferenceUID") for item in items]
    assert frames == ["1.2.3", "1.2.5", "1.2.4"]
    parents = {hierarchy.GetItemParent(item) for item in items}
    assert len(parents) == 1
    assert hierarchy.GetItemLevel(parents.pop()) == "Study"


def test_codes_stand_in_for_identifiers_that_are_missing(scene: Any, tmp_path: Path) -> None:
    marks = [
        Mark("", points=[(1, 1, 1)], code=("1", "99X", "Left tragus")),
        Mark("", points=[(2, 2, 2)]),
        Mark("A", points=[(3, 3, 3)]),
        Mark("A", points=[(4, 4, 4)]),
        Mark("A-2", points=[(5, 5, 5)]),
    ]
    nodes = load(fid.write_fiducials(tmp_path / "f.dcm", [MarkSet(marks)]), scene)
    assert labels_of(nodes[0]) == ["Left tragus", "F-2", "A", "A-3", "A-2"]


def test_text_in_the_character_set_of_the_object(scene: Any, tmp_path: Path) -> None:
    mark = Mark("Ohr höher", points=[(1, 1, 1)], values={"FiducialDescription": "Größe & Lage <so>"})
    path = fid.write_fiducials(tmp_path / "f.dcm", [MarkSet([mark])], SpecificCharacterSet="ISO_IR 100")
    scene = saved_and_read(load(path, scene)[0].GetScene(), tmp_path)
    node = scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
    assert labels_of(node) == ["Ohr höher"]
    assert node.GetNthControlPointDescription(0) == "Größe & Lage <so>"


@pytest.mark.parametrize(
    ("mark", "node_class", "shape", "told"),
    [
        (Mark("X", "LINE", [(0, 0, 0), (1, 0, 0), (2, 1, 0)]), "vtkMRMLMarkupsCurveNode", "SHAPE", "are no LINE"),
        (Mark("X", "PLANE", [(0, 0, 0), (1, 0, 0)]), "vtkMRMLMarkupsLineNode", "SHAPE", "are no PLANE"),
        (Mark("X", "SPHERE", [(0, 0, 0), (1, 0, 0)]), "vtkMRMLMarkupsCurveNode", "SPHERE", ""),
        (Mark("X", "", [(0, 0, 0), (1, 0, 0)]), "vtkMRMLMarkupsLineNode", "SHAPE", "are no shape that is named"),
    ],
)
def test_shapes_with_other_points(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, mark: Mark, node_class: str, shape: str, told: str
) -> None:
    nodes = load(fid.write_fiducials(tmp_path / "f.dcm", [MarkSet([mark])]), scene)
    assert [node.GetClassName() for node in nodes] == [node_class]
    assert nodes[0].GetAttribute(SHAPE_ATTRIBUTE) == shape
    np.testing.assert_array_equal(lps_of(nodes[0]), mark.points)
    assert told in caplog.text
    assert bool(caplog.text) == bool(told)


def test_a_point_of_many_positions_is_many_points(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    marks = MarkSet([Mark("ALL", points=[(0, 0, 1), (0, 0, 2), (0, 0, 3)]), Mark("LAST", points=[(9, 9, 9)])])
    nodes = load(fid.write_fiducials(tmp_path / "f.dcm", [marks]), scene)
    assert labels_of(nodes[0]) == ["ALL", "ALL-2", "ALL-3", "LAST"]
    np.testing.assert_array_equal(lps_of(nodes[0])[:, 2], [1, 2, 3, 9])
    assert "ALL" in caplog.text
    uids = [one.uid for one in kept_set(nodes[0]).fiducials.values()]  # type: ignore[union-attr]
    assert [bool(uid) for uid in uids] == [True, False, False, True]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"ContourData": ["1", "2"]}, "not triplets"),
        ({"ContourData": None, "NumberOfContourPoints": None}, "no position"),
        ({"ContourData": ["1e30", "0", "0"]}, "not finite or beyond"),
        ({"NumberOfContourPoints": 7}, "number of points that it declares"),
        ({"ContourUncertaintyRadius": float("nan")}, "is no length"),
        ({"ContourUncertaintyRadius": -1.0}, "is no length"),
    ],
)
def test_odd_fiducials_do_not_spoil_the_others(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, values: dict[str, Any], told: str
) -> None:
    marks = [Mark("ODD", points=[(1, 2, 3)], values=values), Mark("GOOD", points=[(4, 5, 6)])]
    with caplog.at_level(logging.WARNING):
        nodes = load(fid.write_fiducials(tmp_path / "f.dcm", [MarkSet(marks)]), scene)
    labels = labels_of(nodes[0])
    left_out = told in ("not triplets", "no position", "not finite or beyond")
    assert labels == (["GOOD"] if left_out else ["ODD", "GOOD"])
    assert told in caplog.text
    assert "ODD" in caplog.text


def test_an_object_without_a_place_says_why(scene: Any, tmp_path: Path) -> None:
    path = fid.write_fiducials(
        tmp_path / "f.dcm", [MarkSet([Mark("A", points=[(1, 2, 3)], values={"ContourData": None})])]
    )
    with pytest.raises(UnreadableError, match=r"no fiducial that has a place.*no position"):
        load(path, scene)
    empty = fid.write_fiducials(tmp_path / "e.dcm", [MarkSet([])])
    with pytest.raises(UnreadableError, match="no fiducial that has a place"):
        load(empty, scene)
    with dicombridge.open_folder(empty) as database:
        assert "no fiducials" in dicombridge.examine(database)[0].warning


def test_too_many_shapes_are_refused(scene: Any, tmp_path: Path) -> None:
    marks = [Mark(f"L{n}", "LINE", [(n, 0, 0), (n, 1, 0)]) for n in range(1001)]
    path = fid.write_fiducials(tmp_path / "f.dcm", [MarkSet(marks)])
    with pytest.raises(UnsupportedError, match=r"f\.dcm: has 1001 lines"):
        load(path, scene)


def test_examine_names_what_is_needed(tmp_path: Path) -> None:
    images = write_images(tmp_path / "ct")
    fid.write_fiducials(tmp_path / "pixels" / "f.dcm", [fid.in_images(images)], images.study)
    alone = MarkSet([Mark("A", points=[(1, 2, 3)])], frame=images.frame_of_reference)
    fid.write_fiducials(tmp_path / "frame" / "f.dcm", [alone], SeriesNumber=10)
    with dicombridge.open_folder(tmp_path) as database:
        found = {one.name: one for one in dicombridge.examine(database) if one.kind == "FID"}
    pixels, frame = found["9: Landmarks"], found["10: Landmarks"]
    assert (pixels.confidence, pixels.warning) == (0.97, "")
    assert pixels.tooltip == "Spatial fiducials as markups: 3 fiducials (P1, P2, TRACK)"
    assert set(pixels.referencedInstanceUIDs) == set(frame.referencedInstanceUIDs) == set(images.uids)
    assert "frame of reference" in frame.warning
    with dicombridge.open_folder(tmp_path / "pixels") as database:
        (missing,) = dicombridge.examine(database)
    assert missing.warning.startswith("3 of 3 fiducials lie in images that are not in the database")
    assert set(missing.referencedInstanceUIDs) == set(images.uids)
