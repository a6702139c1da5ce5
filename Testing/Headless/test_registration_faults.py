"""Faults that other readers of registrations have and we may not; and registrations that contradict themselves.

SlicerRT multiplies all matrices of all items into one, tells fixed from moving by their studies, refers to a series
where instances are due, and names no references for the browser.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from support.registrations import (
    AFFINE,
    FIXED,
    IDENTITY,
    MOVING,
    OTHER,
    RIGID,
    SCALED,
    SPATIAL_FIDUCIALS,
    TRANSLATION,
    deformation,
    deformed,
    loaded,
    matrix,
    matrix_item,
    moved,
    points,
    registered,
    registration,
    rotation,
    to_parent,
    written,
)
from support.rt_structures import write_images

import dicombridge
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.registration.attributes import FIXED_ROLE, MOVING_ROLE, SOURCE_FRAME
from dicombridge.registration.reading import read_registration

# --- What others get wrong -----------------------------------------------------------------------------------------


def test_frames_are_not_multiplied_into_one(tmp_path: Path) -> None:
    ds = registration([registered(FIXED), registered(MOVING, [RIGID]), registered(OTHER, [AFFINE], "AFFINE")])
    nodes = {node.GetAttribute(SOURCE_FRAME): node for node in loaded(written(ds, tmp_path / "reg.dcm"))}
    assert sorted(nodes) == [MOVING, OTHER]
    for item in ds.RegistrationSequence[1:]:
        found = to_parent(nodes[item.FrameOfReferenceUID], points())
        np.testing.assert_allclose(found, moved(item, points()), rtol=0, atol=1e-9)


def test_the_direction_is_not_reversed(tmp_path: Path) -> None:
    """What lies at the origin of the moving frame comes to the matrix' last column in the fixed one."""
    (node,) = loaded(written(registration([registered(MOVING, [RIGID])]), tmp_path / "reg.dcm"))
    np.testing.assert_allclose(to_parent(node, np.zeros((1, 3))), [RIGID[:3, 3]], atol=1e-12)


def test_fixed_and_moving_may_be_of_one_study(tmp_path: Path, scene: Any) -> None:
    folder = tmp_path / "study"
    write_images(folder / "ct", frame_of_reference=FIXED, study="1.2.3.1", patient="reg-1")
    write_images(folder / "pt", modality="MR", frame_of_reference=MOVING, study="1.2.3.1", patient="reg-1")
    written(registration(), folder / "reg.dcm")
    nodes = dicombridge.load(folder, scene=scene)
    (node,) = [one for one in nodes if one.IsA("vtkMRMLTransformNode")]
    assert node.GetNodeReferenceID(FIXED_ROLE) != node.GetNodeReferenceID(MOVING_ROLE)


def test_references_are_instances(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    fixed = write_images(folder / "ct", frame_of_reference=FIXED, study="1.2.3.1")
    written(registration(), folder / "reg.dcm")
    database = dicombridge.open_folder(folder)
    (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "REG"]
    assert set(loadable.referencedInstanceUIDs) == set(fixed.uids)
    scene = dicombridge.new_scene()
    (node,) = dicombridge.load(loadable, scene=scene, database=database)
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    said = hierarchy.GetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.ReferencedInstanceUIDs").split()
    assert set(said) == set(fixed.uids)
    database.close()


def test_two_registrations_do_not_need_each_other(tmp_path: Path) -> None:
    written(registration(), tmp_path / "one.dcm")
    written(registration(), tmp_path / "other.dcm")
    database = dicombridge.open_folder(tmp_path)
    assert [one.referencedInstanceUIDs for one in dicombridge.examine(database)] == [[], []]
    database.close()


# --- What a person should know -------------------------------------------------------------------------------------

FALSELY_RIGID = matrix(np.diag([1.02, 1, 1]), (1, 2, 3))
MIRROR = matrix(np.diag([1, 1, -1.0]))


@pytest.mark.parametrize(
    ("given", "matrix_type", "words"),
    [
        (FALSELY_RIGID, "RIGID", r"called rigid is not: its axes are off by 0\.04"),
        (MIRROR, "RIGID", "called rigid is not: it mirrors"),
        (AFFINE, "RIGID_SCALE", "shears, too"),
        (MIRROR, "AFFINE", "mirrors: left becomes right"),
        (RIGID, None, "type of a matrix is none"),
        (RIGID, "ELASTIC", "type of a matrix is ELASTIC"),
    ],
)
def test_doubtful_matrices_are_used_and_told(
    given: Any, matrix_type: str | None, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ds = registration([registered(FIXED), registered(MOVING, [given], matrix_type)])
    path = written(ds, tmp_path / "reg.dcm")
    (node,) = loaded(path)
    np.testing.assert_allclose(to_parent(node, points()), moved(ds.RegistrationSequence[1], points()), atol=1e-9)
    assert [record for record in caplog.records if "Item 2: " in record.getMessage()]
    database = dicombridge.open_folder(tmp_path)
    (loadable,) = dicombridge.examine(database)
    assert re.search(words, loadable.warning), loadable.warning
    assert re.search(words, caplog.text)
    database.close()


@pytest.mark.parametrize(
    ("given", "matrix_type"),
    [
        (RIGID, "RIGID"),
        (np.round(RIGID, 4), "RIGID"),  # rounded is not wrong
        (SCALED, "RIGID_SCALE"),
        (matrix(np.diag([1.1, 0.9, 1.2]) @ rotation(0.1, 0.2, 0.3)), "RIGID_SCALE"),  # scaled after the rotation
        (AFFINE, "AFFINE"),
    ],
)
def test_good_matrices_are_not_doubted(given: Any, matrix_type: str) -> None:
    assert read_registration(registration([registered(MOVING, [given], matrix_type)]), "reg.dcm").warnings == []


def test_a_registered_frame_that_moves_is_told() -> None:
    found = read_registration(registration([registered(FIXED, [RIGID])]), "reg.dcm")
    assert "moves the registered frame of reference itself" in found.warnings[0]
    assert len(found.to_load) == 1


def test_only_the_first_of_several_registrations_counts() -> None:
    """Its matrices are alternatives or mistakes; a product of all would be none of them."""
    item = registered(MOVING, [RIGID])
    item.MatrixRegistrationSequence.append(registered(MOVING, [TRANSLATION]).MatrixRegistrationSequence[0])
    found = read_registration(registration([registered(FIXED), item]), "reg.dcm")
    np.testing.assert_allclose(found.items[1].matrix, RIGID, atol=1e-12)
    assert "has 2 registrations where the standard has one" in found.warnings[0]


def test_a_missing_registered_frame_is_that_of_the_identity_item() -> None:
    found = read_registration(registration(frame=None), "reg.dcm")
    assert found.registered_frame_uid == FIXED
    assert "has no Frame of Reference UID" in found.warnings[0]
    assert [item.frame_of_reference_uid for item in found.to_load] == [MOVING]


# --- What cannot be loaded -----------------------------------------------------------------------------------------


def without(dataset: Dataset, keyword: str) -> Dataset:
    del dataset[keyword]
    return dataset


def numbers(values: list[float]) -> Dataset:
    item = registered(MOVING)
    item.MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrix = values
    return item


SINGULAR = matrix([[1, 2, 3], [2, 4, 6], [0, 0, 1]])
WRONG = {
    "singular": ([registered(MOVING, [SINGULAR], "AFFINE")], "item 1 .*matrix 1: it is singular"),
    "zeros": ([registered(MOVING, [RIGID, np.diag([0, 0, 0, 1.0])], "AFFINE")], "matrix 2: it is singular"),
    "perspective": ([registered(MOVING, [matrix() + np.eye(4)[[3, 0, 1, 2]] * 0.1])], "last row is not 0, 0, 0, 1"),
    "columns": ([registered(MOVING, [TRANSLATION.T])], "written column by column"),
    "twelve numbers": ([numbers([1.0] * 12)], "it has 12 numbers, a matrix has 16"),
    "no numbers": ([numbers([])], "it has 0 numbers"),
    "far": ([numbers([*RIGID.ravel()[:3], 1e9, *RIGID.ravel()[4:]])], "beyond 1e\\+06"),
    "no matrix": ([without(registered(MOVING), "MatrixRegistrationSequence")], "item 1 .*has no matrix"),
    "no frame": ([registered(FIXED), registered(None, [RIGID])], "item 2 .*neither a frame of reference nor images"),
    "no items": ([], "no Registration Sequence"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str, tmp_path: Path) -> None:
    """An error that names the file and the item; examination says the same as a warning."""
    items, words = WRONG[name]
    path = written(registration(items), tmp_path / "reg.dcm")
    with pytest.raises(UnreadableError, match=rf"(?s)reg\.dcm: .*{words}"):
        loaded(path)
    database = dicombridge.open_folder(tmp_path)
    (loadable,) = dicombridge.examine(database)
    assert loadable.warning.startswith(str(path))
    assert loadable.name == "9: PET to CT"
    database.close()


@pytest.mark.parametrize("items", [[registered(MOVING, [RIGID])], [registered(MOVING), registered(OTHER)]])
def test_without_a_registered_frame_nothing_is_guessed(items: list[Dataset], tmp_path: Path) -> None:
    """No identity item, or two: it is not known where the matrices lead to."""
    with pytest.raises(UnreadableError, match="has no Frame of Reference UID"):
        loaded(written(registration(items, frame=None), tmp_path / "reg.dcm"))


def test_another_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="is no spatial registration"):
        loaded(written(registration(SOPClassUID=SPATIAL_FIDUCIALS), tmp_path / "fid.dcm"), kind="REG")
    with pytest.raises(UnsupportedError, match="is no spatial registration"):
        loaded(written(deformation([deformed(MOVING, post=RIGID)]), tmp_path / "deform.dcm"), kind="REG")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_any_encoding_is_read(syntax: str, tmp_path: Path) -> None:
    ds = registration([registered(FIXED), registered(MOVING, [RIGID, TRANSLATION])])
    (node,) = loaded(written(ds, tmp_path / "reg.dcm", syntax))
    np.testing.assert_allclose(to_parent(node, points()), moved(ds.RegistrationSequence[1], points()), atol=1e-9)


def test_identity_and_matrix_item_are_what_they_seem() -> None:
    """The tests' own objects: numbers that are written are numbers that are meant, to 16 characters."""
    assert np.array_equal(np.reshape(matrix_item(IDENTITY).FrameOfReferenceTransformationMatrix, (4, 4)), IDENTITY)
    kept = np.array(matrix_item(RIGID).FrameOfReferenceTransformationMatrix, dtype=float).reshape(4, 4)
    assert np.abs(kept - RIGID).max() < 1e-12


def test_examination_says_nothing_to_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(registration([registered(MOVING, [FALSELY_RIGID])]), tmp_path / "reg.dcm")
    database = dicombridge.open_folder(tmp_path)
    with caplog.at_level(logging.WARNING):
        dicombridge.examine(database)
    assert caplog.records == []
    database.close()
