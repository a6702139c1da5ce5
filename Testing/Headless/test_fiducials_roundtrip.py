"""Fiducials that were loaded, edited and written again: nothing that DICOM knew is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from support import fiducials as fid
from support.fiducials import Mark, MarkSet
from support.rt_structures import Images, write_images
from support.scenes import saved_and_read
from test_fiducials_export import points_of, under

import dicombridge
from dicombridge.registration.attributes import REGISTERED_FRAME


def described() -> MarkSet:
    """Fiducials with attributes of which no node shows anything."""
    sets = fid.every_shape()
    definition = fid.image_item("1.2.840.10008.5.1.4.1.1.481.3", "1.2.3.4.5")
    definition.ReferencedROINumber = 4
    sets.marks[0].values.update(DefinitionSourceSequence=[definition])
    sets.marks[1].values.update(FiducialDescription="Achse")
    return sets


def write(folder: Path) -> Path:
    path = fid.write_fiducials(folder / "f.dcm", [described()], ContentCreatorName="Maker^A", PatientComments="kept")
    dataset = pydicom.dcmread(path)
    item = dataset.FiducialSetSequence[0].FiducialSequence[2]
    item.add_new(0x00990010, "LO", "MAKER")
    item.add_new(0x00991001, "LO", "a private value")
    dataset.save_as(path)
    return path


def exported(nodes: list[Any], folder: Path, database: Any = None, **options: Any) -> Any:
    (path,) = dicombridge.export(nodes, folder, database=database, **options)
    return pydicom.dcmread(path)


def test_all_of_an_item_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = pydicom.dcmread(path)
    after = exported(dicombridge.load(path), tmp_path / "out")
    assert after.FiducialSetSequence == before.FiducialSetSequence
    assert after.FiducialSetSequence[0].FiducialSequence[2][0x00991001].value == "a private value"
    assert (after.ContentCreatorName, after.PatientComments) == ("Maker^A", "kept")
    assert after.SOPInstanceUID != before.SOPInstanceUID
    named = after.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == before.SOPInstanceUID


def test_a_saved_scene_knows_as_much(tmp_path: Path) -> None:
    path = write(tmp_path)
    scene = saved_and_read(dicombridge.load(path)[0].GetScene(), tmp_path)
    nodes = [scene.GetNthNodeByClass(n, "vtkMRMLMarkupsNode") for n in range(10)]
    after = exported([node for node in nodes if node is not None], tmp_path / "out")
    assert after.FiducialSetSequence == pydicom.dcmread(path).FiducialSetSequence


def test_edits_are_written_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = {item.FiducialIdentifier: item for item in pydicom.dcmread(path).FiducialSetSequence[0].FiducialSequence}
    nodes = dicombridge.load(path)
    points, shapes = nodes[0], {node.GetName(): node for node in nodes[1:]}
    points.SetNthControlPointPositionWorld(0, 1.0, 2.0, 3.0)
    points.SetNthControlPointDescription(0, "corrected")
    points.SetNthControlPointLabel(1, "left ear")
    points.AddControlPointWorld(7.0, 8.0, 9.0)
    points.SetNthControlPointLabel(2, "AXIS")
    shapes["AXIS"].SetName("midline")
    shapes["RING"].SetNthControlPointPositionWorld(0, 1.0, 1.0, 1.0)
    left = [node for node in nodes if node.GetName() not in ("ZIG", "BAR")]
    after = exported(left, tmp_path / "out")
    items = list(after.FiducialSetSequence[0].FiducialSequence)
    assert [item.FiducialIdentifier for item in items] == [
        "NASION", "midline", "left ear", "MSP", "SKIN", "RULE", "ELL", "TEE", "RING", "AXIS",
    ]  # fmt: skip
    moved = items[0]
    np.testing.assert_array_equal(points_of(moved), [(-1, -2, 3)])
    assert moved.FiducialDescription == "corrected"
    assert moved.FiducialUID != before["NASION"].FiducialUID  # another place is another assignment
    assert moved.FiducialIdentifierCodeSequence == before["NASION"].FiducialIdentifierCodeSequence
    assert moved.DefinitionSourceSequence == before["NASION"].DefinitionSourceSequence
    assert moved.ContourUncertaintyRadius == 0.75
    assert items[1].FiducialUID == before["AXIS"].FiducialUID
    assert items[1].FiducialDescription == "Achse"
    assert items[2].FiducialUID == before["LPA"].FiducialUID
    np.testing.assert_array_equal(points_of(items[8])[[0, -1]], [(-1, -1, 1), (-1, -1, 1)])
    np.testing.assert_array_equal(points_of(items[9]), [(-7, -8, 9)])
    for item in items[3:8]:
        assert item == before[item.FiducialIdentifier]


def test_the_middle_of_a_t_follows_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nodes = {node.GetName(): node for node in dicombridge.load(write(tmp_path))}
    nodes["TEE"].SetNthControlPointPositionWorld(2, 0.0, -3.0, 4.0)
    dataset = exported([nodes["TEE"]], tmp_path / "out")
    np.testing.assert_array_equal(
        points_of(dataset.FiducialSetSequence[0].FiducialSequence[0]), [(-8, 0, 4), (8, 0, 4), (0, 12, 4)]
    )
    assert "3 mm from the middle" in caplog.text


def test_a_copy_of_a_scene_may_rename(tmp_path: Path) -> None:
    """A scene numbers names that are taken; that is no other identifier."""
    scene = dicombridge.new_scene()
    path = write(tmp_path)
    dicombridge.load(path, scene=scene)
    nodes = dicombridge.load(path, scene=scene)
    assert nodes[-1].GetName() == "BAR_1"
    after = exported(nodes, tmp_path / "out")
    assert after.FiducialSetSequence == pydicom.dcmread(path).FiducialSetSequence


def test_copies_are_fiducials_of_their_own(tmp_path: Path) -> None:
    scene = dicombridge.new_scene()
    nodes = dicombridge.load(write(tmp_path), scene=scene)
    copy = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "copy")
    copy.CopyContent(nodes[0])
    for name in ("DICOMBridge.Fiducials", "DICOMBridge.FiducialShape", "DICOMBridge.Header"):
        copy.SetAttribute(name, nodes[0].GetAttribute(name))
    items = exported([nodes[0], copy], tmp_path / "out", kind="FID").FiducialSetSequence[0].FiducialSequence
    assert [item.FiducialIdentifier for item in items] == ["NASION", "NASION-2", "LPA", "LPA-2"]
    assert len({item.FiducialUID for item in items}) == 4
    assert items[1].FiducialDescription == "Bridge of the nose"


def test_two_objects_are_two_files(tmp_path: Path) -> None:
    scene = dicombridge.new_scene()
    paths = [fid.write_fiducials(tmp_path / f"{n}.dcm", [MarkSet([Mark("A", points=[(n, 0, 0)])])]) for n in (1, 2)]
    nodes = [node for path in paths for node in dicombridge.load(path, scene=scene)]
    new = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "new")
    new.AddControlPointWorld(0, 0, 0)
    written = [pydicom.dcmread(path) for path in dicombridge.export([*nodes, new], tmp_path / "out", kind="FID")]
    assert [len(one.FiducialSetSequence) for one in written] == [2, 1]
    assert [points_of(one.FiducialSetSequence[0].FiducialSequence[0])[0, 0] for one in written] == [1, 2]


# --- Fiducials in images -------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return write_images(tmp_path / "ct", orientation=(1, 0, 0, 0, 0, -1), spacing=(0.75, 1.25))


def test_pixel_coordinates_come_back(tmp_path: Path, images: Images) -> None:
    path = fid.write_fiducials(tmp_path / "f" / "f.dcm", [fid.in_images(images)], images.study)
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(path, database=database)
        after = exported(nodes, tmp_path / "out", database)
    assert after.FiducialSetSequence == pydicom.dcmread(path).FiducialSetSequence
    named = after.ReferencedSeriesSequence[0]
    assert named.SeriesInstanceUID == images.series
    assert {one.ReferencedSOPInstanceUID for one in named.ReferencedInstanceSequence} == set(images.uids)
    assert faults(next((tmp_path / "out").iterdir())) == []


def test_moved_out_of_the_image(tmp_path: Path, images: Images, caplog: pytest.LogCaptureFixture) -> None:
    path = fid.write_fiducials(tmp_path / "f" / "f.dcm", [fid.in_images(images)], images.study)
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(path, database=database)
        nodes[0].SetNthControlPointPositionWorld(1, -1.5, 2.5, 3.5)
        (one,) = exported(nodes, tmp_path / "out", database).FiducialSetSequence
    assert faults(next((tmp_path / "out").iterdir())) == []
    assert one.FrameOfReferenceUID == images.frame_of_reference
    first, second, track = one.FiducialSequence
    np.testing.assert_array_equal(points_of(second), [(1.5, -2.5, 3.5)])
    assert "GraphicCoordinatesDataSequence" not in second
    np.testing.assert_allclose(points_of(first), images.lps([(1, 4.25 - 0.5, 3.5 - 0.5)]), atol=1e-9)
    assert first.GraphicCoordinatesDataSequence[0].GraphicData == [3.5, 4.25]
    assert len(track.GraphicCoordinatesDataSequence) == 2
    assert "P2: moved" in caplog.text


def test_fiducials_without_their_images_are_kept(tmp_path: Path, images: Images) -> None:
    mixed = [Mark("A", points=[(1, 2, 3)]), *fid.in_images(images).marks]
    path = fid.write_fiducials(tmp_path / "f" / "f.dcm", [MarkSet(mixed, frame=""), fid.in_images(images)])
    scene = saved_and_read(dicombridge.load(path)[0].GetScene(), tmp_path)
    (node,) = [
        scene.GetNthNodeByClass(n, "vtkMRMLMarkupsNode")
        for n in range(scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode"))
    ]
    before = pydicom.dcmread(path).FiducialSetSequence
    placed, first, second = exported([node], tmp_path / "out").FiducialSetSequence
    assert placed.FrameOfReferenceUID
    assert [item.FiducialIdentifier for item in placed.FiducialSequence] == ["A"]
    assert list(first.FiducialSequence) == list(before[0].FiducialSequence)[1:]
    assert second == before[1]


# --- Transforms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("says", ["volume", "attribute"])
def test_under_a_registration_they_come_out_in_its_frame(tmp_path: Path, images: Images, says: str) -> None:
    path = fid.write_fiducials(tmp_path / "f" / "f.dcm", [MarkSet([Mark("A", points=[(-1, -2, 3)])])], images.study)
    scene = dicombridge.new_scene()
    with dicombridge.open_folder(tmp_path / "ct") as database:
        fixed = dicombridge.load(images.series, scene=scene, database=database)[0]
    nodes = dicombridge.load(path, scene=scene)
    transform = under(scene, *nodes)
    if says == "volume":
        transform.SetNodeReferenceID("spatialRegistrationFixed", fixed.GetID())
    else:
        transform.SetAttribute(REGISTERED_FRAME, images.frame_of_reference)
    (one,) = exported(nodes, tmp_path / "out").FiducialSetSequence
    assert one.FrameOfReferenceUID == images.frame_of_reference
    # (x, y, z) -> (-y + 5, x - 3, z + 7) in RAS
    np.testing.assert_allclose(points_of(one.FiducialSequence[0]), [(-(-2 + 5), -(1 - 3), 10)], atol=1e-12)


def test_under_any_other_transform_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = fid.write_fiducials(tmp_path / "f.dcm", [MarkSet([Mark("A", points=[(-1, -2, 3)])])])
    nodes = dicombridge.load(path)
    under(nodes[0].GetScene(), *nodes)
    (one,) = exported(nodes, tmp_path / "out").FiducialSetSequence
    assert one.FrameOfReferenceUID == fid.FRAME
    np.testing.assert_allclose(points_of(one.FiducialSequence[0]), [(-3, 2, 10)], atol=1e-12)
    assert "under a transform that does not say" in caplog.text


def test_a_source_is_the_last_word(tmp_path: Path, images: Images) -> None:
    mark = Mark("A", points=[(-1, -2, 3)], pixels=[fid.Pixels(images.uids[0], [(1, 1)])])
    path = fid.write_fiducials(tmp_path / "f" / "f.dcm", [MarkSet([mark], frame="1.2.3.4")])
    before = pydicom.dcmread(path).FiducialSetSequence
    with dicombridge.open_folder(tmp_path / "ct") as database:
        nodes = dicombridge.load(path, database=database)
        (one,) = exported(nodes, tmp_path / "out", database, source=images.series).FiducialSetSequence
    assert one.FrameOfReferenceUID == images.frame_of_reference
    assert len(one.ReferencedImageSequence) == len(images.uids)
    assert "GraphicCoordinatesDataSequence" not in one.FiducialSequence[0]
    assert one.FiducialSequence[0].FiducialUID != before[0].FiducialSequence[0].FiducialUID
