"""Linear transforms -> Spatial Registration objects, and back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from pydicom.dataset import Dataset
from support.peers import run, tool
from support.registration_exports import (
    ASYMMETRIC,
    FIXED,
    MOVING,
    OTHER,
    Study,
    applied,
    item_matrix,
    item_of,
    numbers_of,
    random_points,
    ras,
    registration_item,
    spatial_registration,
    through_node,
)

import dicombridge
from dicombridge.registration.matrix_writing import matrix_type

SCALED = ASYMMETRIC @ np.array([[2.0, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 1.25, 0], [0, 0, 0, 1]])
SHEARED = ASYMMETRIC @ np.array([[1.0, 0.3, 0, 0], [0, 1, -0.1, 0], [0, 0, 1.25, 0], [0, 0, 0, 1]])
MIRRORED = ASYMMETRIC @ np.array([[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
MATRICES = {"RIGID": ASYMMETRIC, "RIGID_SCALE": SCALED, "AFFINE": SHEARED}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "in")


def moving_under(study: Study, node: Any) -> Any:
    study.volumes[MOVING].SetAndObserveTransformNodeID(node.GetID())
    return node


def set_matrix(node: Any, lps: Any) -> None:
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    matrix.DeepCopy(ras(lps).ravel().tolist())
    node.SetMatrixTransformToParent(matrix)


# --- Direction -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MATRICES)
def test_matrix_leads_from_moving_to_registered(study: Study, kind: str) -> None:
    node = moving_under(study, study.linear(MATRICES[kind]))
    written = study.export(node, kind="REG", fixed=study.volumes[FIXED])
    assert written.FrameOfReferenceUID == FIXED
    assert [item.FrameOfReferenceUID for item in written.RegistrationSequence] == [FIXED, MOVING]
    points = random_points()
    found = applied(item_matrix(item_of(written, MOVING)), points)
    assert np.abs(found - through_node(node, points)).max() < 1e-9
    assert np.abs(found - applied(MATRICES[kind], points)).max() < 1e-9
    types = [
        item.MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrixType
        for item in written.RegistrationSequence
    ]
    assert types == ["RIGID", kind]


def test_identity_item_of_the_registered_frame(study: Study) -> None:
    node = moving_under(study, study.linear(ASYMMETRIC))
    item = item_of(study.export(node, kind="REG", fixed=study.volumes[FIXED]), FIXED)
    registration = item.MatrixRegistrationSequence[0]
    assert np.array_equal(item_matrix(item), np.eye(4))
    assert registration.RegistrationTypeCodeSequence[0].CodeValue == "125021"


@pytest.mark.parametrize("kind", MATRICES)
def test_export_then_import_is_the_identity_on_points(study: Study, kind: str) -> None:
    node = moving_under(study, study.linear(MATRICES[kind]))
    paths = dicombridge.export(node, study.folder / "out", kind="REG", database=study.database, fixed=FIXED)
    (again,) = dicombridge.load(paths[0], scene=study.scene, database=study.database)
    points = random_points()
    assert np.abs(through_node(again, points) - through_node(node, points)).max() < 1e-9
    back = through_node(again, through_node(node, points), to_parent=False)
    assert np.abs(back - points).max() < 1e-9


def test_direction_from_parent_writes_the_inverse(study: Study) -> None:
    node = study.linear(np.linalg.inv(ASYMMETRIC))
    options = {"moving": study.volumes[MOVING], "fixed": study.volumes[FIXED]}
    written = study.export(node, kind="REG", direction="from_parent", **options)
    assert np.abs(item_matrix(item_of(written, MOVING)) - ASYMMETRIC).max() < 1e-12


@pytest.mark.parametrize("by", ["references", "loaded"])
def test_swapped_sides_write_the_inverse(study: Study, by: str) -> None:
    """SlicerRT #108: a round trip must not invert, and who swaps moving and fixed wants the inverse."""
    if by == "loaded":
        file = spatial_registration(study.folder / "reg.dcm", registration_item(MOVING, ASYMMETRIC))
        (node,) = dicombridge.load(file, scene=study.scene, database=study.database)
    else:
        node = study.linear(ASYMMETRIC)
        node.SetNodeReferenceID("spatialRegistrationMoving", study.volumes[MOVING].GetID())
        node.SetNodeReferenceID("spatialRegistrationFixed", study.volumes[FIXED].GetID())
    written = study.export(node, kind="REG", moving=FIXED, fixed=MOVING)
    assert written.FrameOfReferenceUID == MOVING
    points = random_points()
    found = applied(item_matrix(item_of(written, FIXED)), points)
    assert np.abs(found - through_node(node, points, to_parent=False)).max() < 1e-9
    straight = study.export(node, "again", kind="REG", moving=MOVING, fixed=FIXED)
    assert np.abs(applied(item_matrix(item_of(straight, MOVING)), points) - through_node(node, points)).max() < 1e-9


def test_chain_of_transforms_up_to_that_of_the_fixed_volume(study: Study) -> None:
    """What counts is where the data lie relative to each other."""
    inner, outer, of_fixed = study.linear(ASYMMETRIC), study.linear(SHEARED), study.linear(SCALED)
    inner.SetAndObserveTransformNodeID(outer.GetID())
    study.volumes[FIXED].SetAndObserveTransformNodeID(of_fixed.GetID())
    moving_under(study, inner)
    written = study.export(inner, kind="REG", fixed=study.volumes[FIXED])
    expected = np.linalg.inv(SCALED) @ SHEARED @ ASYMMETRIC
    assert np.abs(item_matrix(item_of(written, MOVING)) - expected).max() < 1e-10


# --- Sides ---------------------------------------------------------------------------------------------------------


def test_sides_from_node_references(study: Study) -> None:
    node = study.linear(ASYMMETRIC)
    node.SetNodeReferenceID("spatialRegistrationMoving", study.volumes[MOVING].GetID())
    node.SetNodeReferenceID("spatialRegistrationFixed", study.volumes[FIXED].GetID())
    written = study.export(node, kind="REG")
    assert written.FrameOfReferenceUID == FIXED
    assert np.abs(item_matrix(item_of(written, MOVING)) - ASYMMETRIC).max() < 1e-12


@pytest.mark.parametrize("how", ["node", "series", "frame"])
def test_sides_as_given(study: Study, how: str) -> None:
    def given(frame: str) -> Any:
        header = pydicom.dcmread(study.files[frame][0])
        return {"node": study.volumes[frame], "series": str(header.SeriesInstanceUID), "frame": frame}[how]

    written = study.export(study.linear(ASYMMETRIC), kind="REG", moving=given(MOVING), fixed=given(FIXED))
    assert [item.FrameOfReferenceUID for item in written.RegistrationSequence] == [FIXED, MOVING]
    assert (written.PatientID, written.StudyInstanceUID) == ("REG1", "1.2.9")
    named = {
        one.ReferencedSOPInstanceUID for series in written.get("ReferencedSeriesSequence", [])
        for one in series.ReferencedInstanceSequence
    }  # fmt: skip
    assert named == (set() if how == "frame" else {*study.instances(FIXED), *study.instances(MOVING)})
    assert {one.ReferencedSOPInstanceUID for one in written.get("ReferencedImageSequence", [])} == named


def test_without_a_database_the_volumes_know_their_images(study: Study) -> None:
    sides = {"moving": study.volumes[MOVING], "fixed": study.volumes[FIXED]}
    (path,) = dicombridge.export(study.linear(ASYMMETRIC), study.folder / "out", **sides)
    written = pydicom.dcmread(path)
    assert written.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.1"  # a linear transform is one where nothing else is said
    named = {one.ReferencedSOPInstanceUID for one in written.ReferencedImageSequence}
    assert named == {*study.instances(FIXED), *study.instances(MOVING)}
    assert (written.PatientID, written.StudyInstanceUID) == ("REG1", "1.2.9")


def test_items_name_images_on_demand(study: Study) -> None:
    options = {"moving": study.volumes[MOVING], "fixed": study.volumes[FIXED], "list_images": "yes"}
    written = study.export(study.linear(ASYMMETRIC), kind="REG", **options)
    for frame in (FIXED, MOVING):
        named = [one.ReferencedSOPInstanceUID for one in item_of(written, frame).ReferencedImageSequence]
        assert sorted(named) == sorted(study.instances(frame))


def test_images_of_one_frame_of_reference_are_told_apart(tmp_path: Path) -> None:
    from support.registration_exports import write_series

    study = Study(tmp_path / "in", (FIXED,))
    paths = write_series(tmp_path / "in" / "second", FIXED, (9, 20, 24))
    study.database.refresh()
    second = str(pydicom.dcmread(paths[0]).SeriesInstanceUID)
    node = study.linear(ASYMMETRIC)
    written = study.export(node, kind="REG", moving=second, fixed=study.volumes[FIXED])
    assert [item.FrameOfReferenceUID for item in written.RegistrationSequence] == [FIXED, FIXED]
    named = [{one.ReferencedSOPInstanceUID for one in item.ReferencedImageSequence}
             for item in written.RegistrationSequence]  # fmt: skip
    assert named == [set(study.instances(FIXED)), {f"{second}.{number}" for number in range(1, 10)}]
    assert np.abs(item_matrix(written.RegistrationSequence[1]) - ASYMMETRIC).max() < 1e-12
    with pytest.raises(dicombridge.errors.ExportError, match="same frame of reference"):
        study.export(node, "no", kind="REG", moving=FIXED, fixed=study.volumes[FIXED])


def test_several_transforms_into_one_frame_are_one_object(tmp_path: Path) -> None:
    study = Study(tmp_path / "in", (FIXED, MOVING, OTHER))
    nodes = [study.linear(ASYMMETRIC, "One"), study.linear(SHEARED, "Two")]
    for node, frame in zip(nodes, (MOVING, OTHER), strict=True):
        study.volumes[frame].SetAndObserveTransformNodeID(node.GetID())
    written = study.export(nodes, kind="REG", fixed=study.volumes[FIXED])
    assert [item.FrameOfReferenceUID for item in written.RegistrationSequence] == [FIXED, MOVING, OTHER]
    assert np.abs(item_matrix(item_of(written, MOVING)) - ASYMMETRIC).max() < 1e-12
    assert np.abs(item_matrix(item_of(written, OTHER)) - SHEARED).max() < 1e-12
    for node, frame in zip(nodes, (FIXED, MOVING), strict=True):
        node.SetNodeReferenceID("spatialRegistrationFixed", study.volumes[frame].GetID())
    paths = dicombridge.export(nodes, tmp_path / "two", kind="REG", database=study.database)
    frames = {str(pydicom.dcmread(path).FrameOfReferenceUID) for path in paths}
    assert frames == {FIXED, MOVING}


def test_all_frames_under_a_transform_become_items(tmp_path: Path) -> None:
    study = Study(tmp_path / "in", (FIXED, MOVING, OTHER))
    node = study.linear(ASYMMETRIC)
    for frame in (MOVING, OTHER):
        study.volumes[frame].SetAndObserveTransformNodeID(node.GetID())
    written = study.export(node, kind="REG", fixed=study.volumes[FIXED])
    assert [item.FrameOfReferenceUID for item in written.RegistrationSequence] == [FIXED, MOVING, OTHER]


def test_without_sides_the_message_says_what_to_give(study: Study) -> None:
    node = study.linear(ASYMMETRIC)
    with pytest.raises(dicombridge.errors.ExportError, match="moving="):
        dicombridge.export(node, study.folder / "out", kind="REG")
    moving_under(study, node)
    with pytest.raises(dicombridge.errors.ExportError, match="fixed="):
        dicombridge.export(node, study.folder / "out", kind="REG", database=study.database)
    with pytest.raises(dicombridge.errors.ExportError, match="neither a node nor a UID"):
        dicombridge.export(node, study.folder / "out", kind="REG", fixed="the CT")
    with pytest.raises(dicombridge.errors.ExportError, match="direction"):
        dicombridge.export(node, study.folder / "out", kind="REG", fixed=FIXED, direction="up")
    assert not list(study.folder.glob("out/*"))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.array([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "singular"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.1, 0, 0, 1]]), "last row"),
    ],
)
def test_matrices_that_are_no_registration(study: Study, matrix: Any, message: str) -> None:
    node = study.linear(np.eye(4))
    set_matrix(node, matrix)
    with pytest.raises(dicombridge.errors.ExportError, match=message):
        dicombridge.export(node, study.folder / "out", kind="REG", moving=MOVING, fixed=FIXED)
    assert not list(study.folder.glob("out/*"))


def test_deformations_are_sent_to_the_other_kind(study: Study) -> None:
    node = study.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Bent")
    import slicer

    node.SetAndObserveTransformToParent(slicer.vtkOrientedBSplineTransform())
    with pytest.raises(dicombridge.errors.ExportError, match="DEFORM"):
        dicombridge.export(node, study.folder / "out", kind="REG", moving=MOVING, fixed=FIXED)


# --- Types and codes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [
        (np.eye(4), "RIGID"),
        (ASYMMETRIC, "RIGID"),
        (np.round(ASYMMETRIC, 6), "RIGID"),
        (np.round(ASYMMETRIC, 3), "AFFINE"),
        (SCALED, "RIGID_SCALE"),
        (SCALED.T @ np.diag([1.0, 1, 1, 0]) + np.diag([0.0, 0, 0, 1]), "RIGID_SCALE"),
        (SHEARED, "AFFINE"),
        (MIRRORED, "AFFINE"),
        (np.diag([1.0001, 1, 1, 1]), "RIGID_SCALE"),
    ],
)
def test_matrix_type(matrix: Any, kind: str) -> None:
    assert matrix_type(matrix) == kind


@pytest.mark.parametrize("given", ["Visual Alignment", "125025", "125025^DCM^Visual Alignment"])
def test_registration_type_and_comment(study: Study, given: str) -> None:
    node = moving_under(study, study.linear(ASYMMETRIC))
    written = study.export(node, kind="REG", fixed=FIXED, registration_type=given, comment="By eye")
    registration = item_of(written, MOVING).MatrixRegistrationSequence[0]
    code = registration.RegistrationTypeCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("125025", "DCM", "Visual Alignment")
    assert registration.FrameOfReferenceTransformationComment == "By eye"
    with pytest.raises(dicombridge.errors.ExportError, match="visual alignment"):
        study.export(node, "no", kind="REG", fixed=FIXED, registration_type="by eye")


def test_unknown_type_is_empty(study: Study) -> None:
    written = study.export(moving_under(study, study.linear(ASYMMETRIC)), kind="REG", fixed=FIXED)
    registration = item_of(written, MOVING).MatrixRegistrationSequence[0]
    assert len(registration.RegistrationTypeCodeSequence) == 0
    assert "RegistrationTypeCodeSequence" in registration


def test_options_of_the_caller_have_the_last_word(study: Study) -> None:
    node = moving_under(study, study.linear(ASYMMETRIC, "Größe & Sinn"))
    written = study.export(node, kind="REG", fixed=FIXED, SeriesDescription="mine", ContentLabel="MINE")
    assert (written.SeriesDescription, written.ContentLabel) == ("mine", "MINE")
    assert written.ContentDescription == "Größe & Sinn"
    with pytest.raises(dicombridge.errors.ExportError, match="FrameOfReferenceUID"):
        study.export(node, "no", kind="REG", fixed=FIXED, FrameOfReferenceUID="1.2")


# --- Loaded and exported again -------------------------------------------------------------------------------------


def loaded(study: Study, *items: Dataset) -> list[Any]:
    file = spatial_registration(study.folder / "reg.dcm", *items)
    study.database.refresh()
    return dicombridge.load(file, scene=study.scene, database=study.database)


def texts(item: Dataset) -> list[list[str]]:
    """The numbers of an item's matrices as they stand in the file."""
    matrices = item.MatrixRegistrationSequence[0].MatrixSequence
    return [[value.original_string for value in one.FrameOfReferenceTransformationMatrix] for one in matrices]


def test_unedited_matrices_come_back_as_they_were(study: Study) -> None:
    several = [np.round(matrix, 6) for matrix in (ASYMMETRIC, SHEARED, ASYMMETRIC)]
    identity = registration_item(FIXED, np.eye(4))
    nodes = loaded(
        study, registration_item(MOVING, *several, kind="AFFINE"), identity, registration_item(OTHER, SCALED)
    )
    written = study.export(nodes, kind="REG")
    assert [item.FrameOfReferenceUID for item in written.RegistrationSequence] == [MOVING, FIXED, OTHER]
    assert texts(item_of(written, MOVING)) == [numbers_of(matrix) for matrix in several]
    assert texts(item_of(written, OTHER)) == [numbers_of(SCALED)]
    assert texts(item_of(written, FIXED)) == [numbers_of(np.eye(4))]
    for frame in (MOVING, OTHER):
        registration = item_of(written, frame).MatrixRegistrationSequence[0]
        assert registration.FrameOfReferenceTransformationComment == f"By hand, {frame}"
        assert registration.RegistrationTypeCodeSequence[0].CodeValue == "125022"
        assert registration.UsedFiducialsSequence[0].FiducialUID == "1.2.3.78"
    assert item_of(written, MOVING).MatrixRegistrationSequence[0].MatrixSequence[1][
        "FrameOfReferenceTransformationMatrixType"
    ].value == "AFFINE"  # fmt: skip
    assert (written.ContentDescription, written.ContentCreatorName) == ("PET to CT", "Doe^J")
    assert written.SOPInstanceUID != "1.2.3.9.1"
    equipment = written.ContributingEquipmentSequence[0]
    assert (equipment.Manufacturer, written.Manufacturer) == ("Another", "DICOMBridge")


def test_unedited_after_a_scene_file(study: Study, tmp_path: Path) -> None:
    from dicombridge.cli.common import read_scene, save_scene

    (node,) = loaded(study, registration_item(MOVING, ASYMMETRIC, SHEARED, kind="AFFINE"))
    name = node.GetName()
    save_scene(study.scene, tmp_path / "scene.mrb")
    scene = read_scene(str(tmp_path / "scene.mrb"))
    again = scene.GetFirstNodeByName(name)
    written = study.export(again, kind="REG")
    assert texts(item_of(written, MOVING)) == [numbers_of(ASYMMETRIC), numbers_of(SHEARED)]


def test_edited_matrix_replaces_those_of_its_item(study: Study) -> None:
    nodes = loaded(
        study, registration_item(MOVING, ASYMMETRIC, SHEARED, kind="AFFINE"), registration_item(OTHER, SCALED)
    )
    set_matrix(nodes[0], SHEARED)
    written = study.export(nodes, kind="REG")
    item = item_of(written, MOVING)
    (matrix,) = item.MatrixRegistrationSequence[0].MatrixSequence
    assert matrix.FrameOfReferenceTransformationMatrixType == "AFFINE"
    assert np.abs(item_matrix(item) - SHEARED).max() < 1e-12
    assert item.MatrixRegistrationSequence[0].FrameOfReferenceTransformationComment == f"By hand, {MOVING}"
    assert texts(item_of(written, OTHER)) == [numbers_of(SCALED)]


def test_transform_that_is_not_exported_leaves_its_item_out(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    identity = registration_item(FIXED, np.eye(4))
    nodes = loaded(study, identity, registration_item(MOVING, ASYMMETRIC), registration_item(OTHER, SCALED))
    with caplog.at_level(logging.WARNING):
        written = study.export(nodes[1], kind="REG")
    assert [item.FrameOfReferenceUID for item in written.RegistrationSequence] == [FIXED, OTHER]
    assert MOVING in caplog.text


def test_image_specific_items_come_back(study: Study) -> None:
    item = registration_item(FIXED, ASYMMETRIC, images=("1.2.3.1.620.1", "1.2.3.1.620.2"))
    nodes = loaded(study, registration_item(FIXED, np.eye(4)), item)
    written = study.export(nodes, kind="REG")
    again = written.RegistrationSequence[1]
    assert [one.ReferencedSOPInstanceUID for one in again.ReferencedImageSequence] == ["1.2.3.1.620.1", "1.2.3.1.620.2"]
    assert texts(again) == [numbers_of(ASYMMETRIC)]


def test_items_of_images_alone_come_back_without_the_images(study: Study) -> None:
    item = registration_item("", ASYMMETRIC, images=("1.2.3.55.1", "1.2.3.55.2"))
    del item.FrameOfReferenceUID
    (node,) = loaded(study, item)
    (again,) = study.export(node, kind="REG").RegistrationSequence
    assert "FrameOfReferenceUID" not in again
    assert [one.ReferencedSOPInstanceUID for one in again.ReferencedImageSequence] == ["1.2.3.55.1", "1.2.3.55.2"]
    assert texts(again) == [numbers_of(ASYMMETRIC)]
    with pytest.raises(dicombridge.errors.ExportError, match="moving="):
        study.export(node, "no", kind="REG", fixed=OTHER)


def test_loaded_for_another_target_is_a_new_registration(study: Study) -> None:
    (node,) = loaded(study, registration_item(MOVING, ASYMMETRIC))
    written = study.export(node, kind="REG", fixed=OTHER)
    assert written.FrameOfReferenceUID == OTHER
    assert [item.FrameOfReferenceUID for item in written.RegistrationSequence] == [OTHER, MOVING]


# --- Files ---------------------------------------------------------------------------------------------------------


def test_valid_and_consistent_with_the_images(study: Study) -> None:
    node = moving_under(study, study.linear(SHEARED))
    paths = dicombridge.export(node, study.folder / "out", kind="REG", database=study.database, fixed=FIXED)
    item = registration_item(MOVING, ASYMMETRIC)
    del item.MatrixRegistrationSequence[0].UsedFiducialsSequence  # which are in no file here
    (again,) = loaded(study, item)
    paths += dicombridge.export(again, study.folder / "again", kind="REG", database=study.database)
    others = [study.folder / "reg.dcm", *(path for files in study.files.values() for path in files)]
    for path in paths:
        assert faults(path) == []
        done = run(tool("dcentvfy"), path, *others, check=False)
        assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []


def test_cancelled_export_leaves_nothing(study: Study) -> None:
    node = moving_under(study, study.linear(SHEARED))
    told: list[float] = []

    def stop(fraction: float, message: str) -> None:
        told.append(fraction)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dicombridge.export(node, study.folder / "out", kind="REG", fixed=FIXED, progress=stop)
    assert told == sorted(told)
    assert list((study.folder / "out").iterdir()) == []
