"""Deformable Spatial Registrations become transforms that move points as the standard's equation does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from support.registrations import (
    AFFINE,
    FIXED,
    MOVING,
    OTHER,
    RIGID,
    SCALED,
    TRANSLATION,
    Dataset,
    code,
    deformation,
    deformed,
    field,
    from_parent,
    grid_item,
    loaded,
    matrix,
    points,
    points_in,
    reference,
    rotation,
    sampled,
    smooth_field,
    to_parent,
    written,
)
from support.rt_structures import write_images
from support.scenes import saved_and_read

import dicombridge
from dicombridge.cli.common import read_scene, save_scene
from dicombridge.deformation.nodes import INTERPOLATION, restore_interpolation
from dicombridge.deformation.undefined import UNDEFINED_COUNT, undefined_vectors
from dicombridge.errors import UnsupportedError
from dicombridge.registration.attributes import (
    FIXED_ROLE,
    MOVING_ROLE,
    REGISTERED_FRAME,
    REGISTRATION_ITEM,
    SOURCE_FRAME,
)
from dicombridge.registration.nodes import MATRIX_TYPE, REGISTRATION_COMMENT, REGISTRATION_TYPE, SOURCE_IMAGES
from dicombridge.shadow import remembered

TURNED = rotation(0.4, -0.3, 0.6)
OBLIQUE = [*TURNED[:, 0], *TURNED[:, 1]]
SHEARING = matrix([[1, 0.3, 0.1], [0, 1.1, -0.2], [0.05, 0, 0.9]], (5, 6, -7))

CASES: dict[str, list[Dataset]] = {
    "grid": [deformed(MOVING, grid_item(field()))],
    "oblique grid": [deformed(MOVING, grid_item(field(), orientation=OBLIQUE))],
    "rows are columns": [deformed(MOVING, grid_item(field(), orientation=(0, 1, 0, 1, 0, 0)))],
    "feet first": [deformed(MOVING, grid_item(field(), orientation=(1, 0, 0, 0, -1, 0)))],
    "left-handed grid": [deformed(MOVING, grid_item(field(), resolution=(3, 4, -5)))],
    "oblique left-handed grid": [
        deformed(MOVING, grid_item(field(), orientation=OBLIQUE, resolution=(3.5, -4.25, 5.125)))
    ],
    "one plane": [deformed(MOVING, grid_item(field((1, 6, 7))))],
    "one vector": [deformed(MOVING, grid_item(field((1, 1, 1))))],
    "matrix before": [deformed(MOVING, grid_item(field()), pre=RIGID)],
    "matrix after": [deformed(MOVING, grid_item(field()), post=RIGID)],
    "matrix, oblique grid, matrix": [
        deformed(MOVING, grid_item(field(), orientation=OBLIQUE), RIGID, AFFINE, matrix_type="AFFINE")
    ],
    "scaling before": [deformed(MOVING, grid_item(field()), SCALED, RIGID, matrix_type="RIGID_SCALE")],
    "shearing before": [
        deformed(MOVING, grid_item(field(), orientation=OBLIQUE), SHEARING, TRANSLATION, matrix_type="AFFINE")
    ],
    "matrices without a grid": [deformed(MOVING, None, RIGID, AFFINE, matrix_type="AFFINE")],
    "three frames": [
        deformed(MOVING, grid_item(field(), orientation=OBLIQUE), RIGID, TRANSLATION),
        deformed(OTHER, grid_item(field((4, 3, 5), seed=11), origin=(-20, -20, -20), resolution=(9, 9, 9))),
        deformed("1.2.3.77", None, None, AFFINE, matrix_type="AFFINE"),
    ],
}


def grid_of(items: list[Dataset]) -> Dataset:
    """The first grid, for points that matter."""
    return next(
        (item.DeformableRegistrationGridSequence[0] for item in items if "DeformableRegistrationGridSequence" in item),
        grid_item(field()),
    )


@pytest.mark.parametrize("name", CASES)
def test_points_are_sampled_as_the_standard_says(name: str, tmp_path: Path) -> None:
    """Registered frame -> source frame is the transform from parent; 1,000 points in and around the grid, 1e-4 mm."""
    items = CASES[name]
    nodes = loaded(written(deformation(items), tmp_path / "deform.dcm"))
    assert len(nodes) == len(items)
    places = points_in(grid_of(items), margin=0.25)
    for node, item in zip(nodes, items, strict=True):
        np.testing.assert_allclose(from_parent(node, places), sampled(item, places), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["grid", "matrix, oblique grid, matrix", "left-handed grid", "shearing before"])
def test_the_other_direction_is_its_inverse(name: str, tmp_path: Path) -> None:
    """Source frame -> registered frame has no formula: VTK iterates to 1e-4 mm, where nothing folds."""
    (item,) = CASES[name]
    grid = item.DeformableRegistrationGridSequence[0]
    calm = grid_item(
        smooth_field(), orientation=grid.ImageOrientationPatient, resolution=np.array(grid.GridResolution) * 2
    )
    one = deformed(MOVING, calm)
    for keyword in ("PreDeformationMatrixRegistrationSequence", "PostDeformationMatrixRegistrationSequence"):
        if keyword in item:
            setattr(one, keyword, item[keyword].value)
    (node,) = loaded(written(deformation([one]), tmp_path / "deform.dcm"))
    places = points_in(calm)
    np.testing.assert_allclose(to_parent(node, sampled(one, places)), places, rtol=0, atol=5e-4)


def test_the_offset_is_that_of_the_point_before_the_matrix(tmp_path: Path) -> None:
    """d(x), not d(Mpre x): the grid lies in the registered frame. Here both differ by 30 mm."""
    vectors = np.zeros((4, 5, 6, 3), np.float32)
    vectors[..., 0] = np.arange(6) * 30
    grid = grid_item(vectors, origin=(0, 0, 0), resolution=(10, 10, 10))
    ds = deformation([deformed(MOVING, grid, matrix(shift=(10, 0, 0)))])
    (node,) = loaded(written(ds, tmp_path / "deform.dcm"))
    np.testing.assert_allclose(from_parent(node, np.array([[20.0, 10, 10]])), [[20 + 10 + 60, 10, 10]], atol=1e-3)


def test_the_matrix_after_is_applied_after(tmp_path: Path) -> None:
    vectors = np.zeros((2, 2, 2, 3), np.float32) + np.float32([7, 0, 0])
    ds = deformation([deformed(MOVING, grid_item(vectors), post=matrix(rotation(0, 0, np.pi / 2)))])
    (node,) = loaded(written(ds, tmp_path / "deform.dcm"))
    np.testing.assert_allclose(from_parent(node, np.zeros((1, 3))), [[0, 7, 0]], atol=1e-6)


def test_vectors_are_where_the_standard_puts_them(tmp_path: Path) -> None:
    """One vector at column 1, row 2, plane 3 of an oblique grid: it works there and not at other centres."""
    vectors = np.zeros((5, 4, 3, 3), np.float32)
    vectors[3, 2, 1] = 5, -6, 7
    grid = grid_item(vectors, orientation=OBLIQUE)
    (node,) = loaded(written(deformation([deformed(MOVING, grid)]), tmp_path / "deform.dcm"))
    k, j, i = (one.ravel() for one in np.indices((5, 4, 3)))
    centres = np.array(grid.ImagePositionPatient) + np.stack([i * 3, j * 4, k * 5], axis=1) @ TURNED.T
    found = from_parent(node, centres) - centres
    np.testing.assert_allclose(found, vectors.reshape(-1, 3), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "node_class"),
    [
        ("grid", "vtkMRMLGridTransformNode"),
        ("matrix after", "vtkMRMLTransformNode"),
        ("matrices without a grid", "vtkMRMLLinearTransformNode"),
    ],
)
def test_node_classes(name: str, node_class: str, tmp_path: Path) -> None:
    (node,) = loaded(written(deformation(CASES[name]), tmp_path / "deform.dcm"))
    assert node.GetClassName() == node_class


def test_identity_matrices_are_left_out(tmp_path: Path) -> None:
    ds = deformation([deformed(MOVING, grid_item(field()), np.eye(4), np.eye(4))])
    (node,) = loaded(written(ds, tmp_path / "deform.dcm"))
    assert node.GetClassName() == "vtkMRMLGridTransformNode"


@pytest.mark.parametrize("name", CASES)
def test_all_survives_in_a_scene_file(name: str, tmp_path: Path) -> None:
    """Matrices, vectors and their places exactly; how to interpolate, with the help of an attribute."""
    items = CASES[name]
    nodes = loaded(written(deformation(items), tmp_path / "deform.dcm"))
    again = saved_and_read(nodes[0].scene_of_test, tmp_path)
    places = points_in(grid_of(items), margin=0.25)
    for node, item in zip(nodes, items, strict=True):
        twin = again.GetFirstNodeByName(node.GetName())
        assert twin.GetClassName() == node.GetClassName()
        restore_interpolation(twin)
        np.testing.assert_allclose(from_parent(twin, places), sampled(item, places), rtol=0, atol=1e-4)
        assert {one: twin.GetAttribute(one) for one in node.GetAttributeNames()} == {
            one: node.GetAttribute(one) for one in node.GetAttributeNames()
        }


def test_a_scene_that_is_read_interpolates_as_it_did(tmp_path: Path) -> None:
    """Scene files are read as cubic; our reader of scenes brings the object's way back, without being asked."""
    (item,) = CASES["oblique grid"]
    (node,) = loaded(written(deformation([item]), tmp_path / "deform.dcm"))
    again = read_scene(str(save_scene(node.scene_of_test, tmp_path / "scene.mrb")))
    places = points_in(grid_of([item]))
    twin = again.GetFirstNodeByName(node.GetName())
    np.testing.assert_allclose(from_parent(twin, places), sampled(item, places), rtol=0, atol=1e-4)


def test_cubic_interpolation_agrees_at_the_vectors(tmp_path: Path) -> None:
    (item,) = CASES["oblique grid"]
    path = written(deformation([item]), tmp_path / "deform.dcm")
    (linear,), (cubic,) = loaded(path), loaded(path, interpolation="cubic")
    assert [node.GetAttribute(INTERPOLATION) for node in (linear, cubic)] == ["linear", "cubic"]
    grid = item.DeformableRegistrationGridSequence[0]
    k, j, i = (one.ravel() for one in np.indices((4, 3, 5)) + 1)
    centres = np.array(grid.ImagePositionPatient) + np.stack([i * 3, j * 4, k * 5], axis=1) @ TURNED.T
    np.testing.assert_allclose(from_parent(cubic, centres), from_parent(linear, centres), rtol=0, atol=1e-3)
    between = points_in(grid)
    assert np.abs(from_parent(cubic, between) - from_parent(linear, between)).max() > 0.01
    with pytest.raises(UnsupportedError, match="no interpolation 'nearest'; please choose linear or cubic"):
        loaded(path, interpolation="nearest")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_any_encoding_is_read(syntax: str, tmp_path: Path) -> None:
    item = deformed(MOVING, grid_item(field(), orientation=OBLIQUE), RIGID, TRANSLATION)
    expected = sampled(item, places := points_in(item.DeformableRegistrationGridSequence[0]))
    (node,) = loaded(written(deformation([item]), tmp_path / "deform.dcm", syntax))
    np.testing.assert_allclose(from_parent(node, places), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("label", ["AB", "ABCD", "ABCDEF"])
def test_numbers_may_begin_at_any_even_offset(label: str, tmp_path: Path) -> None:
    item = deformed(MOVING, grid_item(field()), FrameOfReferenceTransformationComment=label)
    (node,) = loaded(written(deformation([item]), tmp_path / "deform.dcm"))
    places = points_in(item.DeformableRegistrationGridSequence[0])
    np.testing.assert_allclose(from_parent(node, places), sampled(item, places), rtol=0, atol=1e-4)


# --- Undefined vectors ---------------------------------------------------------------------------------------------


def test_undefined_vectors_move_nothing_and_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    vectors = field((6, 5, 7))
    vectors[0] = np.nan
    vectors[3, 2, 1] = np.nan
    vectors[4, 4, 4, 1] = np.nan  # one component is enough
    item = deformed(MOVING, grid_item(vectors, orientation=OBLIQUE), RIGID, TRANSLATION)
    (node,) = loaded(written(deformation([item]), tmp_path / "deform.dcm"))
    places = points_in(item.DeformableRegistrationGridSequence[0], margin=0.2)
    found = from_parent(node, places)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, sampled(item, places), rtol=0, atol=1e-4)
    assert "Item 1: 37 of 210 vectors are undefined (NaN)" in caplog.text
    assert node.GetAttribute(UNDEFINED_COUNT) == "37"
    expected = np.isnan(vectors).any(axis=-1).ravel()
    kept = undefined_vectors(node, 210)
    assert kept is not None
    assert np.array_equal(kept, expected)
    assert undefined_vectors(node, 209) is None  # of another grid
    again = saved_and_read(node.scene_of_test, tmp_path)
    kept = undefined_vectors(again.GetFirstNodeByName(node.GetName()), 210)
    assert kept is not None
    assert np.array_equal(kept, expected)


def test_defined_vectors_have_no_mask(tmp_path: Path) -> None:
    (node,) = loaded(written(deformation(CASES["grid"]), tmp_path / "deform.dcm"))
    assert node.GetAttribute(UNDEFINED_COUNT) is None
    assert undefined_vectors(node, 210) is None


@pytest.mark.parametrize("text", ["210:", "210:!!", "210:AAAA", "210", ":", "x:AAAA"])
def test_an_edited_mask_is_none(text: str, tmp_path: Path) -> None:
    (node,) = loaded(written(deformation(CASES["grid"]), tmp_path / "deform.dcm"))
    node.SetAttribute("DICOMBridge.UndefinedVectors", text)
    assert undefined_vectors(node, 210) is None


# --- What the object says ------------------------------------------------------------------------------------------


def test_what_the_object_says_is_on_the_node(tmp_path: Path) -> None:
    item = deformed(
        MOVING, grid_item(field()), RIGID, AFFINE, images=["1.2.5.1", reference("1.2.5.2")], matrix_type="AFFINE",
        FrameOfReferenceTransformationComment="für später",
        RegistrationTypeCodeSequence=[code("125024", "Image Content-based Alignment")],
    )  # fmt: skip
    ds = deformation([item], SpecificCharacterSet="ISO_IR 192")
    (node,) = loaded(written(ds, tmp_path / "deform.dcm"))
    said = {
        SOURCE_FRAME: MOVING,
        REGISTERED_FRAME: FIXED,
        REGISTRATION_ITEM: "0",
        MATRIX_TYPE: "AFFINE",
        REGISTRATION_TYPE: "125024^DCM^Image Content-based Alignment",
        REGISTRATION_COMMENT: "für später",
        SOURCE_IMAGES: "1.2.5.1 1.2.5.2",
        "DICOM.instanceUIDs": ds.SOPInstanceUID,
    }
    assert {name: node.GetAttribute(name) for name in said} == said
    kept = remembered(node)
    assert kept is not None
    (again,) = kept.DeformableRegistrationSequence
    del item.DeformableRegistrationGridSequence[0].VectorGridData
    assert again == item


def test_examine_reads_no_vectors(tmp_path: Path) -> None:
    """Files whose vectors are cut off are examined as before, but for the warning; and both frames are offered."""
    folder = tmp_path / "study"
    fixed = write_images(folder / "ct", frame_of_reference=FIXED, study="1.2.3.1")
    moving = write_images(folder / "mr", modality="MR", frame_of_reference=MOVING, study="1.2.3.1")
    ds = deformation([deformed(MOVING, grid_item(field()), RIGID)], SeriesDescription="Warped")
    written(ds, folder / "deform.dcm")
    database = dicombridge.open_folder(folder)
    (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "DEFORM"]
    assert set(loadable.referencedInstanceUIDs) == {*fixed.uids, *moving.uids}
    assert (loadable.name, loadable.confidence, loadable.warning) == ("9: Warped", 0.97, "")
    assert all(text in loadable.tooltip for text in (FIXED, MOVING, "7x5x6 vectors", "Image Content-based Alignment"))
    database.close()


def test_nodes_name_both_sides(tmp_path: Path, scene: Any) -> None:
    write_images(tmp_path / "ct", frame_of_reference=FIXED, study="1.2.3.1")
    write_images(tmp_path / "mr", modality="MR", frame_of_reference=MOVING, study="1.2.3.1")
    volumes = dicombridge.load(tmp_path, scene=scene)
    (node,) = loaded(written(deformation(CASES["matrix before"]), tmp_path / "deform.dcm"), scene)
    frames = {one.GetNodeReferenceID("display"): one for one in volumes}
    assert len(frames) == 2
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    for role, frame in ((FIXED_ROLE, FIXED), (MOVING_ROLE, MOVING)):
        volume = node.GetNodeReference(role)
        item = hierarchy.GetItemByDataNode(volume)
        assert hierarchy.GetItemAttribute(item, "DICOM.FrameOfReferenceUID") == frame


def test_a_volume_resampled_through_it_lands_on_the_fixed_one(tmp_path: Path) -> None:
    """A blob at a known place of the source is found where the formula says that it is sampled."""
    item = deformed(MOVING, grid_item(smooth_field(), resolution=(8, 8, 8)), RIGID, TRANSLATION)
    (node,) = loaded(written(deformation([item]), tmp_path / "deform.dcm"))
    fixed = points_in(item.DeformableRegistrationGridSequence[0], 50)

    def phantom(lps: Any) -> Any:
        return np.sin(lps[:, 0] / 20) + np.cos(lps[:, 1] / 15) * lps[:, 2] / 100

    resampled = phantom(from_parent(node, fixed))
    np.testing.assert_allclose(resampled, phantom(sampled(item, fixed)), rtol=0, atol=1e-4)
    assert np.abs(resampled - phantom(fixed)).max() > 0.5  # it does move


def test_points_of_the_tests_are_not_all_alike() -> None:
    """The tests' own formula: matrices, grids and points without symmetry."""
    item = CASES["matrix, oblique grid, matrix"][0]
    found = sampled(item, points(50))
    assert np.abs(found - points(50)).min(axis=0).max() > 1
