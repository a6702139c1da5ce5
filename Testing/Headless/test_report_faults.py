"""Faults of other software that ours must not repeat: Slicer's TID 1500 plugin, and cornerstone's adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.sr_documents import (
    COMPREHENSIVE_3D_SR,
    LENGTH,
    MM,
    content,
    dcm,
    document,
    group,
    measurement_report,
    number,
    region,
    save,
)
from support.sr_images import write_series
from support.sr_nodes import column_of, lps_points, markups_of
from support.sr_objects import CASES

import dicombridge
from dicombridge.report.kept import kept_groups


def loaded(path: Path, folder: Path) -> tuple[list[Any], Any]:
    database, scene = dicombridge.open_folder(folder), dicombridge.new_scene()
    nodes = dicombridge.load(path, scene=scene, database=database)
    nodes[0].dicombridge_scene = scene
    return nodes, database


def two_series(folder: Path) -> tuple[Path, list[Any]]:
    """Write a report with one line on each of two series of a study, whose planes stand upright to each other."""
    images = [write_series(folder / "first", "axial")]
    images.append(write_series(folder / "second", "sagittal", study=images[0].study))
    made = [
        group(f"line {n}", f"2.25.{n + 7}", region(one, n, "POLYLINE", [(4.5, 8.25), (30, 20)]), number(LENGTH, 5, MM))
        for n, one in enumerate(images)
    ]
    return save(document(measurement_report(made), COMPREHENSIVE_3D_SR, images[0]), folder / "sr" / "sr.dcm"), images


def test_regions_lie_on_the_series_that_they_name(tmp_path: Path) -> None:
    """Slicer's plugin takes the first series of the evidence for all of them (B3)."""
    path, images = two_series(tmp_path)
    nodes, _ = loaded(path, tmp_path)
    for n, (node, one) in enumerate(zip(markups_of(nodes), images, strict=True)):
        np.testing.assert_allclose(lps_points(node), one.of_graphic(n, [(4.5, 8.25), (30, 20)]), atol=1e-3)


@pytest.mark.parametrize("name", ["planar axial", "planar sagittal", "planar oblique"])
def test_half_a_pixel_and_unequal_spacings(name: str, tmp_path: Path) -> None:
    """Slicer's plugin shifts by half a pixel, exchanges the spacings, and takes every image for an axial one (B3)."""
    path, expected = CASES[name](tmp_path)
    nodes, _ = loaded(path, tmp_path)
    images = expected.images
    assert images.spacing[0] != images.spacing[1]
    for node in markups_of(nodes):
        kept = kept_groups(node)
        assert kept is not None
        for number_, one in enumerate(kept.groups.values()):
            if one.tracking_identifier == "first pixel":  # 0.5 \ 0.5 is its centre, which Image Position tells
                plane = list(images.uids).index(one.regions[0].images[0].sop_instance_uid)
                np.testing.assert_allclose(lps_points(node)[number_], images.origins[plane], atol=1e-4)
                return
    pytest.fail("there is no point in the first pixel")


def test_planar_and_volumetric_groups_of_one_report_are_all_shown(tmp_path: Path) -> None:
    """Slicer's plugin leaves out the volumetric ones where there are planar ones, and all their numbers (B3)."""
    images = write_series(tmp_path / "images", "oblique")
    line, square = [(4.5, 8.25), (30, 20)], np.array([(5, 5), (20, 5), (20, 16), (5, 16), (5, 5)])
    faces = [images.of_pixels(plane, square) for plane in range(3)]
    surface = [
        content("SCOORD3D", dcm("121231", "Volume Surface"), ("POLYGON", face, images.frame_of_reference))
        for face in faces
    ]
    volume = number(("118565006", "SCT", "Volume"), 77.5, ("mm3", "UCUM", "mm3"))
    made = [
        group("planar", "2.25.7", region(images, 1, "POLYLINE", line), number(LENGTH, 5, MM)),
        group("volumetric", "2.25.8", *surface, volume, template="1411"),
    ]
    path = save(document(measurement_report(made), COMPREHENSIVE_3D_SR, images), tmp_path / "sr" / "sr.dcm")
    nodes, _ = loaded(path, tmp_path)
    assert column_of(nodes[0], "Tracking Identifier") == ["planar", "volumetric"]
    np.testing.assert_equal([column_of(nodes[0], name) for name in ("Length", "Volume")], [[5, np.nan], [np.nan, 77.5]])
    first, *others = markups_of(nodes)
    np.testing.assert_allclose(lps_points(first), images.of_graphic(1, line), atol=1e-3)
    for node, face in zip(others, faces, strict=True):
        np.testing.assert_allclose(lps_points(node), face[:-1], atol=1e-3)
    assert not any(node.GetLocked() for node in markups_of(nodes))


def test_no_finding_and_no_site(tmp_path: Path) -> None:
    """Slicer's plugin fails where a group has none (B3)."""
    images = write_series(tmp_path / "images")
    made = group("bare", "2.25.9", region(images, 0, "POLYLINE", [(4.5, 8.25), (30, 20)]), finding=None)
    path = save(document(measurement_report([made]), COMPREHENSIVE_3D_SR, images), tmp_path / "sr" / "sr.dcm")
    nodes, _ = loaded(path, tmp_path)
    assert len(markups_of(nodes)) == 1
    assert column_of(nodes[0], "Tracking Identifier") == ["bare"]


def test_tracking_uids_survive_saving(tmp_path: Path) -> None:
    """dcmjs invents new ones at each save, so that nobody knows two versions of a finding as one (B10)."""
    path, expected = CASES["planar axial"](tmp_path)
    nodes, database = loaded(path, tmp_path)
    (again,) = dicombridge.export(nodes, tmp_path / "out", kind="SR", database=database)
    uids = [str(one.UID) for one in items_of(pydicom.dcmread(again)) if one.get("UID") and tracking(one)]
    assert uids == [one.tracking_uid for one in expected.groups]


def test_coordinates_of_zero_survive(tmp_path: Path) -> None:
    """dcmjs takes a coordinate 0 of an array for none (B10)."""
    scene = dicombridge.new_scene()
    line = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "from zero")
    line.AddControlPoint(0, 0, 0)
    line.AddControlPoint(0, 12.5, 0)
    (path,) = dicombridge.export(line, tmp_path, kind="SR")
    data = [list(one.GraphicData) for one in items_of(pydicom.dcmread(path)) if "GraphicData" in one]
    assert data == [[0, 0, 0, 0, -12.5, 0]]


def test_long_meanings_are_cut_to_their_vr(tmp_path: Path) -> None:
    """cornerstone writes labels of any length as Code Meaning, whose VR takes 64 characters (B10)."""
    scene = dicombridge.new_scene()
    line = scene.AddNewNodeByClass(
        "vtkMRMLMarkupsLineNode", "a label that is far longer than sixty-four characters " * 3
    )
    line.AddControlPoint(1, 2, 3)
    line.AddControlPoint(4, 5, 6)
    codes = "SCT^123037004^Anatomical Structure"
    line.SetAttribute("Terminologies.TerminologyEntry", f"x~{codes}~SCT^1^{'m' * 100}~^^~y~^^~^^")
    (path,) = dicombridge.export(line, tmp_path, kind="SR")
    meanings = [str(code.CodeMeaning) for code in codes_of(pydicom.dcmread(path))]
    assert max(map(len, meanings)) == 64
    texts = [str(one.TextValue) for one in items_of(pydicom.dcmread(path)) if "TextValue" in one]
    assert any(len(text) > 64 for text in texts), "a text may be as long as it is"


def items_of(dataset: Any) -> list[Any]:
    found, waiting = [], [dataset]
    while waiting:
        item = waiting.pop(0)
        found.append(item)
        waiting.extend(item.get("ContentSequence") or ())
    return found


def codes_of(dataset: Any) -> list[Any]:
    found = []
    for item in items_of(dataset):
        for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            found += list(item.get(keyword) or ())
    return found


def tracking(item: Any) -> bool:
    name = item.ConceptNameCodeSequence[0]
    return bool(name.CodeValue == "112040")
