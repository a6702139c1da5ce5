"""Spatial Registrations become linear transforms that move points as the standard's equation does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
    Dataset,
    code,
    from_parent,
    loaded,
    matrix,
    moved,
    points,
    reference,
    registered,
    registration,
    rotation,
    to_parent,
    written,
)
from support.rt_structures import write_images
from support.scenes import saved_and_read

import dicombridge
from dicombridge.geometry import lps_ras_vectors, ras_transform_of_lps
from dicombridge.registration.attributes import (
    FIXED_ROLE,
    MOVING_ROLE,
    REGISTERED_FRAME,
    REGISTRATION_ITEM,
    SOURCE_FRAME,
)
from dicombridge.registration.nodes import MATRIX_TYPE, REGISTRATION_COMMENT, REGISTRATION_TYPE, SOURCE_IMAGES
from dicombridge.registration.reading import read_registration
from dicombridge.shadow import remembered

TURN, SHIFT = matrix(rotation(0, 0, np.pi / 2)), matrix(shift=(10.0, 0, 0))

CASES = {
    "rigid": [registered(FIXED), registered(MOVING, [RIGID])],
    "rigid with scale": [registered(FIXED), registered(MOVING, [SCALED], "RIGID_SCALE")],
    "affine": [registered(FIXED), registered(MOVING, [AFFINE], "AFFINE")],
    "three matrices": [registered(MOVING, [RIGID, AFFINE, TRANSLATION], "AFFINE")],
    "no identity item": [registered(MOVING, [RIGID])],
    "identity item last": [registered(MOVING, [RIGID]), registered(FIXED)],
    "three frames": [
        registered(FIXED),
        registered(MOVING, [RIGID, TRANSLATION]),
        registered(OTHER, [AFFINE], "AFFINE"),
        registered("1.2.3.77", [TRANSLATION, SCALED], "RIGID_SCALE"),
    ],
    "images only": [registered(None, [RIGID], images=["1.2.5.1", "1.2.5.2"])],
    "same frame, other images": [registered(FIXED), registered(FIXED, [RIGID], images=["1.2.5.1"])],
    "identity of another frame": [registered(FIXED), registered(MOVING)],
}


def moving_items(ds: Dataset) -> list[Dataset]:
    """The items that are not the identity of the registered frame."""
    return [
        item
        for item in ds.RegistrationSequence
        if item.get("FrameOfReferenceUID") != ds.FrameOfReferenceUID
        or np.abs(moved(item, points(4)) - points(4)).max() > 0
    ]


@pytest.mark.parametrize("name", CASES)
def test_points_move_as_the_standard_says(name: str, tmp_path: Path) -> None:
    """Item's frame -> registered frame is the transform to parent; 1,000 points, 1e-9 mm, and back again."""
    ds = registration(CASES[name])
    nodes = loaded(written(ds, tmp_path / "reg.dcm"))
    items = moving_items(ds)
    assert len(nodes) == len(items) >= 1
    for node, item in zip(nodes, items, strict=True):
        expected = moved(item, points())
        np.testing.assert_allclose(to_parent(node, points()), expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(from_parent(node, expected), points(), rtol=0, atol=1e-9)
        assert node.GetClassName() == "vtkMRMLLinearTransformNode"


def test_the_last_matrix_comes_first(tmp_path: Path) -> None:
    """M1 M2 p: "item order corresponds to matrix multiplication order"; shifted to x = 10, then turned to y = 10."""
    ds = registration([registered(MOVING, [TURN, SHIFT])])
    (node,) = loaded(written(ds, tmp_path / "reg.dcm"))
    np.testing.assert_allclose(to_parent(node, np.zeros((1, 3))), [[0, 10, 0]], atol=1e-12)
    ds = registration([registered(MOVING, [SHIFT, TURN])])
    (node,) = loaded(written(ds, tmp_path / "other.dcm"))
    np.testing.assert_allclose(to_parent(node, np.zeros((1, 3))), [[10, 0, 0]], atol=1e-12)


def test_values_are_those_of_the_object(tmp_path: Path) -> None:
    ds = registration(CASES["three frames"])
    found = read_registration(ds, "reg.dcm")
    assert found.registered_frame_uid == FIXED
    assert [item.frame_of_reference_uid for item in found.items] == [FIXED, MOVING, OTHER, "1.2.3.77"]
    assert [item.matrix_type for item in found.items] == ["RIGID", "RIGID", "AFFINE", "RIGID_SCALE"]
    assert [item.is_registered_frame for item in found.items] == [True, False, False, False]
    assert [len(item.matrices) for item in found.items] == [1, 2, 1, 2]
    assert found.warnings == []
    assert [item.index for item in found.to_load] == [1, 2, 3]
    np.testing.assert_allclose(found.items[1].matrix, RIGID @ TRANSLATION, atol=1e-12)


def test_a_lone_identity_is_loaded(tmp_path: Path) -> None:
    """It moves nothing, but an object that loads as nothing would look like a fault."""
    (node,) = loaded(written(registration([registered(FIXED)]), tmp_path / "reg.dcm"))
    np.testing.assert_allclose(to_parent(node, points()), points(), atol=0)


def test_what_the_object_says_is_on_the_node(tmp_path: Path) -> None:
    fiducials = Dataset()
    fiducials.ReferencedSOPClassUID, fiducials.ReferencedSOPInstanceUID = SPATIAL_FIDUCIALS, "1.2.9.1"
    fiducials.FiducialUID = "1.2.9.1.1"
    segments = reference("1.2.9.2", "1.2.840.10008.5.1.4.1.1.66.4")
    ds = registration([
        registered(FIXED),
        registered(
            MOVING, [RIGID], images=["1.2.5.1", reference("1.2.5.2", frames=(2, 3))],
            FrameOfReferenceTransformationComment="checked by eye",
            RegistrationTypeCodeSequence=[code("125022", "Fiducial Alignment")],
            UsedFiducialsSequence=[fiducials], UsedSegmentsSequence=[segments],
        ),
    ])  # fmt: skip
    (node,) = loaded(written(ds, tmp_path / "reg.dcm"))
    said = {
        SOURCE_FRAME: MOVING,
        REGISTERED_FRAME: FIXED,
        REGISTRATION_ITEM: "1",
        MATRIX_TYPE: "RIGID",
        REGISTRATION_TYPE: "125022^DCM^Fiducial Alignment",
        REGISTRATION_COMMENT: "checked by eye",
        SOURCE_IMAGES: "1.2.5.1 1.2.5.2",
        "DICOM.instanceUIDs": ds.SOPInstanceUID,
    }
    assert {name: node.GetAttribute(name) for name in said} == said
    kept = remembered(node)
    assert kept is not None
    assert kept.RegistrationSequence[1] == ds.RegistrationSequence[1]
    (item,) = [one for one in read_registration(ds, "reg.dcm").items if one.index == 1]
    assert [one.FiducialUID for one in item.fiducials] == ["1.2.9.1.1"]
    assert [one.ReferencedSOPInstanceUID for one in item.segments] == ["1.2.9.2"]
    assert item.images[1].frames == (2, 3)


def test_all_survives_in_a_scene_file(tmp_path: Path) -> None:
    ds = registration(CASES["three frames"])
    nodes = loaded(written(ds, tmp_path / "reg.dcm"))
    scene = nodes[0].scene_of_test
    again = saved_and_read(scene, tmp_path)
    for node, item in zip(nodes, moving_items(ds), strict=True):
        twin = again.GetFirstNodeByName(node.GetName())
        np.testing.assert_allclose(to_parent(twin, points()), moved(item, points()), rtol=0, atol=1e-9)
        assert {name: twin.GetAttribute(name) for name in node.GetAttributeNames()} == {
            name: node.GetAttribute(name) for name in node.GetAttributeNames()
        }


def study(folder: Path) -> tuple[Any, Any, Any]:
    """A fixed CT, a moving PET and their registration, which names no images."""
    fixed = write_images(folder / "ct", frame_of_reference=FIXED, study="1.2.3.1", patient="reg-1")
    moving = write_images(folder / "pt", modality="MR", frame_of_reference=MOVING, study="1.2.3.1", patient="reg-1")
    written(registration(SeriesDescription="PET to CT & back"), folder / "reg.dcm")
    return fixed, moving, dicombridge.open_folder(folder)


def test_examine_offers_all_of_both_frames(tmp_path: Path) -> None:
    fixed, moving, database = study(tmp_path / "study")
    (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "REG"]
    assert set(loadable.referencedInstanceUIDs) == {*fixed.uids, *moving.uids}
    assert loadable.name == "9: PET to CT & back"
    assert loadable.confidence == 0.97
    assert loadable.selected
    assert loadable.warning == ""
    assert all(text in loadable.tooltip for text in (FIXED, MOVING, "rigid", "Frame of Reference Identity"))
    database.close()


def test_named_images_are_offered_with_their_series(tmp_path: Path) -> None:
    fixed, moving, database = study(tmp_path / "study")
    database.close()
    ds = registration([registered("1.2.3.99", [RIGID], images=[moving.uids[1]])], frame="1.2.3.98")
    written(ds, tmp_path / "study" / "other.dcm")
    database = dicombridge.open_folder(tmp_path / "study")
    (loadable,) = dicombridge.examine(database, ds.SeriesInstanceUID)
    assert set(loadable.referencedInstanceUIDs) == set(moving.uids)
    assert not set(fixed.uids) & set(loadable.referencedInstanceUIDs)
    database.close()


def test_nodes_name_both_sides(tmp_path: Path, scene: Any) -> None:
    """Node references to the volumes, as SlicerRT names them; subject hierarchy; a name with the source's series."""
    fixed, moving, database = study(tmp_path / "study")
    nodes = dicombridge.load(dicombridge.examine(database), scene=scene, database=database)
    (node,) = [one for one in nodes if one.IsA("vtkMRMLTransformNode")]
    volumes = {one.GetAttribute("DICOM.instanceUIDs"): one for one in nodes if one.IsA("vtkMRMLVolumeNode")}
    assert node.GetNodeReference(MOVING_ROLE) is volumes[" ".join(moving.uids)]
    assert node.GetNodeReference(FIXED_ROLE) is volumes[" ".join(fixed.uids)]
    assert node.GetNumberOfNodeReferences(MOVING_ROLE) == node.GetNumberOfNodeReferences(FIXED_ROLE) == 1
    assert node.GetName() == f"9: PET to CT and back - {MOVING}"
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemAttribute(item, "DICOM.FrameOfReferenceUID") == FIXED
    assert hierarchy.GetItemAttribute(item, "DICOM.Modality") == "REG"
    referenced = hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs").split()
    assert set(referenced) == {*fixed.uids, *moving.uids}
    assert all(volume.GetTransformNodeID() is None for volume in volumes.values())  # not applied unless asked
    database.close()


def test_volumes_that_come_later_are_named_when_it_is_applied(tmp_path: Path, scene: Any) -> None:
    fixed, moving, database = study(tmp_path / "study")
    by_kind: dict[str, list[Any]] = {}
    for one in dicombridge.examine(database):
        by_kind.setdefault(one.kind, []).append(one)
    (node,) = dicombridge.load(by_kind["REG"], scene=scene, database=database)
    volumes = dicombridge.load(by_kind["IMAGE"], scene=scene, database=database)
    assert node.GetNumberOfNodeReferences(MOVING_ROLE) == 0
    for _ in range(2):
        dicombridge.apply_registration(scene=scene)
        for role, images in ((MOVING_ROLE, moving), (FIXED_ROLE, fixed)):
            (volume,) = [one for one in volumes if one.GetAttribute("DICOM.instanceUIDs") == " ".join(images.uids)]
            assert node.GetNumberOfNodeReferences(role) == 1
            assert node.GetNodeReference(role) is volume
            assert (volume.GetParentTransformNode() is node) == (role == MOVING_ROLE)
    database.close()


def test_identity_tolerance_is_narrow(tmp_path: Path) -> None:
    """A registration of a hundredth of a millimetre is one."""
    ds = registration([registered(FIXED, [matrix(shift=(0.01, 0, 0))], images=["1.2.5.1"]), registered(FIXED)])
    nodes = loaded(written(ds, tmp_path / "reg.dcm"))
    assert [node.GetAttribute(REGISTRATION_ITEM) for node in nodes] == ["0"]


def test_transforms_change_their_axes_on_both_sides() -> None:
    turned = ras_transform_of_lps(RIGID)
    lps = points(10)
    flip = np.array([-1.0, -1.0, 1.0])
    expected = (lps @ RIGID[:3, :3].T + RIGID[:3, 3]) * flip
    np.testing.assert_allclose((lps * flip) @ turned[:3, :3].T + turned[:3, 3], expected, atol=1e-10)
    assert np.array_equal(ras_transform_of_lps(turned), RIGID)
    assert np.array_equal(ras_transform_of_lps(IDENTITY), IDENTITY)


@pytest.mark.parametrize("count", [0, 1, 2, 1023, 1024, 1025, 5000])
def test_vectors_change_their_axes_whatever_their_number(count: int) -> None:
    vectors = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)
    out = np.empty(3 * count, np.float32)
    lps_ras_vectors(vectors.ravel(), out)
    np.testing.assert_array_equal(out.reshape(-1, 3), vectors * np.float32([-1, -1, 1]))
