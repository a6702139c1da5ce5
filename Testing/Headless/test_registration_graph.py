"""The registration graph: what lies in a source frame of reference is put under its transform, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance import Cancelled, Steps
from support.damage_child import scene_state
from support.registrations import (
    FIXED,
    MOVING,
    OTHER,
    RIGID,
    TRANSLATION,
    Matrix,
    deformation,
    deformed,
    grid_item,
    loaded,
    matrix,
    moved,
    points,
    ras,
    registered,
    registration,
    rotation,
    smooth_field,
    written,
)
from support.scenes import saved_and_read

import dicombridge
from dicombridge.errors import MissingReferenceError
from dicombridge.hierarchy import add_series
from dicombridge.registration.applying import Applied

ONWARD = matrix(rotation(-0.4, 0.1, 0.7), (-60.0, 5.0, 33.0))


def add(scene: Any, node_class: str, frame: str = "", instances: Sequence[str] = (), referenced: Any = ()) -> Any:
    """A node as a loader would leave it, a series of its own."""
    node = scene.AddNewNodeByClass(node_class, f"{node_class} {frame}")
    attributes = {
        "PatientID": "reg-1",
        "StudyInstanceUID": "1.2.3.1",
        "SeriesInstanceUID": f"1.2.8.{scene.GetNumberOfNodes()}",
        "FrameOfReferenceUID": frame,
        "SOPInstanceUIDs": list(instances),
        "ReferencedInstanceUIDs": list(referenced),
    }
    add_series(scene, node, attributes)
    return node


KINDS = (
    "vtkMRMLScalarVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLMarkupsFiducialNode",
    "vtkMRMLMarkupsCurveNode",
    "vtkMRMLModelNode",
    "vtkMRMLLabelMapVolumeNode",
)


def transform_of(applied: Applied, node: Any) -> Any:
    (transform,) = [transform for one, transform in applied.moved if one is node]
    return transform


def world_of(node: Any, lps: Matrix) -> Matrix:
    """Where points of a node (LPS) are shown (LPS)."""
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    to_world = vtkGeneralTransform()
    node.GetParentTransformNode().GetTransformToWorld(to_world)
    return ras([to_world.TransformPoint(*point) for point in ras(lps)])


def test_all_of_the_source_frame_moves(tmp_path: Path, scene: Any) -> None:
    moving = [add(scene, name, MOVING) for name in KINDS]
    others = [add(scene, name, frame) for name in KINDS for frame in (FIXED, OTHER, "")]
    ds = registration()
    nodes = loaded(written(ds, tmp_path / "reg.dcm"), scene)
    assert all(node.GetTransformNodeID() is None for node in moving)  # not unless asked
    applied = dicombridge.apply_registration(nodes)
    assert [node for node, _ in applied.moved] == moving
    assert all(transform is nodes[0] for _, transform in applied.moved)
    assert all(node.GetParentTransformNode() is nodes[0] for node in moving)
    assert all(node.GetTransformNodeID() is None for node in others)
    assert (applied.left, applied.chained, applied.transforms) == ([], [], nodes)
    np.testing.assert_allclose(
        world_of(moving[0], points()), moved(ds.RegistrationSequence[1], points()), rtol=0, atol=1e-9
    )


def test_applying_again_changes_nothing(tmp_path: Path, scene: Any) -> None:
    add(scene, KINDS[0], MOVING)
    loaded(written(registration(), tmp_path / "reg.dcm"), scene)
    assert len(dicombridge.apply_registration(scene=scene).moved) == 1
    again = dicombridge.apply_registration(scene=scene)
    assert (again.moved, again.left) == ([], [])


@pytest.mark.parametrize("kind", ["REG", "DEFORM"])
def test_the_option_of_load_applies(kind: str, tmp_path: Path, scene: Any) -> None:
    volume = add(scene, KINDS[0], MOVING)
    ds = registration() if kind == "REG" else deformation([deformed(MOVING, grid_item(smooth_field()))])
    (node,) = dicombridge.load(written(ds, tmp_path / "reg.dcm"), scene=scene, apply=True)
    assert volume.GetParentTransformNode() is node


@pytest.mark.parametrize("kind", ["REG", "DEFORM"])
def test_a_load_that_fails_applies_nothing(kind: str, tmp_path: Path, scene: Any) -> None:
    """Nodes that were there before are changed after the last step that can fail."""
    volume = add(scene, KINDS[0], MOVING)
    ds = registration() if kind == "REG" else deformation([deformed(MOVING, grid_item(smooth_field()))])
    path = written(ds, tmp_path / "reg.dcm")
    counted = Steps()
    dicombridge.load(path, scene=dicombridge.new_scene(), progress=counted, apply=True)
    before = scene_state(scene)
    for step in range(counted.count):
        with pytest.raises(Cancelled):
            dicombridge.load(path, scene=scene, progress=Steps(stop_at=step), apply=True)
        assert volume.GetTransformNodeID() is None
        assert scene_state(scene) == before


def test_a_path_is_loaded_and_applied(tmp_path: Path, scene: Any) -> None:
    volume = add(scene, KINDS[0], MOVING)
    applied = dicombridge.apply_registration(written(registration(), tmp_path / "reg.dcm"), scene)
    assert transform_of(applied, volume).GetScene() is scene


def test_without_a_registration_there_is_an_error(scene: Any) -> None:
    volume = add(scene, KINDS[0], MOVING)
    with pytest.raises(MissingReferenceError, match="no registration in the scene"):
        dicombridge.apply_registration(scene=scene)
    with pytest.raises(MissingReferenceError, match="no registration among what was given"):
        dicombridge.apply_registration([volume])
    with pytest.raises(MissingReferenceError, match="no registration among what was given"):
        dicombridge.apply_registration([], scene)


def test_what_has_a_transform_is_left(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    volume, other = add(scene, KINDS[0], MOVING), add(scene, KINDS[0], MOVING)
    own = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "by hand")
    volume.SetAndObserveTransformNodeID(own.GetID())
    applied = dicombridge.apply_registration(loaded(written(registration(), tmp_path / "reg.dcm"), scene))
    assert volume.GetParentTransformNode() is own
    assert [node for node, _ in applied.moved] == [other]
    ((left, reason),) = applied.left
    assert left is volume
    assert "under the transform by hand already" in reason
    assert reason in caplog.text


def test_two_registrations_of_a_frame_do_not_fight(tmp_path: Path, scene: Any) -> None:
    volume = add(scene, KINDS[0], MOVING)
    first = loaded(written(registration(), tmp_path / "reg.dcm"), scene)
    second = loaded(written(registration([registered(MOVING, [TRANSLATION])]), tmp_path / "other.dcm"), scene)
    applied = dicombridge.apply_registration([*first, *second])
    assert [transform for _, transform in applied.moved] == first
    assert [node for node, _ in applied.left] == [volume]


def test_what_cannot_be_deformed_is_left(tmp_path: Path, scene: Any) -> None:
    volume, roi = add(scene, KINDS[0], MOVING), add(scene, "vtkMRMLAnnotationROINode", MOVING)
    if roi is None or roi.CanApplyNonLinearTransforms():
        roi = add(scene, "vtkMRMLCameraNode", MOVING)
    ds = deformation([deformed(MOVING, grid_item(smooth_field()))])
    applied = dicombridge.apply_registration(loaded(written(ds, tmp_path / "deform.dcm"), scene))
    assert [node for node, _ in applied.moved] == [volume]
    assert all("cannot be deformed" in reason for _, reason in applied.left)


# --- Images --------------------------------------------------------------------------------------------------------


def test_images_alone_tell_what_moves(tmp_path: Path, scene: Any) -> None:
    """Of two series in one frame, only the one that is named, and what was made on it."""
    named = add(scene, KINDS[0], FIXED, ["1.2.5.1", "1.2.5.2"])
    on_it = add(scene, KINDS[1], FIXED, ["1.2.6.1"], ["1.2.5.2"])
    other = add(scene, KINDS[0], FIXED, ["1.2.7.1"])
    unrelated = add(scene, KINDS[0], MOVING, ["1.2.7.2"])
    ds = registration([registered(FIXED), registered(FIXED, [RIGID], images=["1.2.5.1", "1.2.5.2"])])
    applied = dicombridge.apply_registration(loaded(written(ds, tmp_path / "reg.dcm"), scene))
    assert [node for node, _ in applied.moved] == [named, on_it]
    assert [one.GetTransformNodeID() for one in (other, unrelated)] == [None, None]


def test_images_without_a_frame(tmp_path: Path, scene: Any) -> None:
    named, other = add(scene, KINDS[0], "", ["1.2.5.1"]), add(scene, KINDS[0], "", ["1.2.5.2"])
    ds = registration([registered(None, [RIGID], images=["1.2.5.1"])])
    applied = dicombridge.apply_registration(loaded(written(ds, tmp_path / "reg.dcm"), scene))
    assert [node for node, _ in applied.moved] == [named]
    assert other.GetTransformNodeID() is None


def test_images_beside_a_frame_name_its_series_only(tmp_path: Path, scene: Any) -> None:
    """The usual object: a frame and all images of a series; contours in that frame go along."""
    named = add(scene, KINDS[0], MOVING, ["1.2.5.1"])
    contours = add(scene, KINDS[1], MOVING, ["1.2.6.1"])
    ds = registration([registered(FIXED, images=["1.2.7.1"]), registered(MOVING, [RIGID], images=["1.2.5.1"])])
    applied = dicombridge.apply_registration(loaded(written(ds, tmp_path / "reg.dcm"), scene))
    assert [node for node, _ in applied.moved] == [named, contours]


def test_images_tell_series_of_one_frame_apart(tmp_path: Path, scene: Any) -> None:
    one, two = add(scene, KINDS[0], MOVING, ["1.2.5.1"]), add(scene, KINDS[0], MOVING, ["1.2.5.2"])
    third = add(scene, KINDS[0], MOVING, ["1.2.5.3"])
    ds = registration([
        registered(MOVING, [RIGID], images=["1.2.5.1"]), registered(MOVING, [TRANSLATION], images=["1.2.5.2"])
    ])  # fmt: skip
    nodes = loaded(written(ds, tmp_path / "reg.dcm"), scene)
    applied = dicombridge.apply_registration(nodes)
    assert applied.moved == [(one, nodes[0]), (two, nodes[1])]
    assert third.GetTransformNodeID() is None


def test_a_part_of_a_volume_is_told(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    volume = add(scene, KINDS[0], "", ["1.2.5.1", "1.2.5.2", "1.2.5.3"])
    ds = registration([registered(None, [RIGID], images=["1.2.5.1", "1.2.5.2"])])
    applied = dicombridge.apply_registration(loaded(written(ds, tmp_path / "reg.dcm"), scene))
    assert [node for node, _ in applied.moved] == [volume]
    assert "names 2 of the 3 images" in caplog.text


def test_a_registration_of_the_world_does_not_move_it(tmp_path: Path, scene: Any) -> None:
    volume = add(scene, KINDS[0], FIXED)
    dicombridge.apply_registration(loaded(written(registration([registered(FIXED)]), tmp_path / "reg.dcm"), scene))
    assert volume.GetTransformNodeID() is None


# --- Frames that only the remembered object says, and what lies below a series --------------------------------------


def test_what_is_below_a_series_goes_along(tmp_path: Path, scene: Any) -> None:
    """Points and models of a plan are children of its item, which has the frame."""
    import slicer

    parent = add(scene, KINDS[1], MOVING)
    child = scene.AddNewNodeByClass(KINDS[2], "points")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.CreateItem(hierarchy.GetItemByDataNode(parent), child)
    applied = dicombridge.apply_registration(loaded(written(registration(), tmp_path / "reg.dcm"), scene))
    assert [node for node, _ in applied.moved] == [parent, child]


def test_structure_sets_say_their_frame_in_a_sequence(tmp_path: Path, scene: Any) -> None:
    from support.rt_structures import Drawing, Drawn, write_images, write_structure_set

    images = write_images(tmp_path / "ct", frame_of_reference=MOVING)
    square = np.array([[2, 5, 5], [2, 5, 12], [2, 12, 12], [2, 12, 5]], dtype=float)
    drawn = Drawn(images.lps(square), image=images.uids[2])
    write_structure_set(tmp_path / "rs.dcm", [Drawing("Box", [drawn])], images)
    written(registration(), tmp_path / "reg.dcm")
    nodes = dicombridge.load(tmp_path, scene=scene)
    applied = dicombridge.apply_registration(nodes)
    moved_classes = {node.GetClassName() for node, _ in applied.moved}
    assert moved_classes == {"vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLModelNode"}  # its contours


# --- Chains --------------------------------------------------------------------------------------------------------


def chained(tmp_path: Path, scene: Any) -> tuple[Any, Any, list[Any]]:
    """OTHER -> MOVING, and MOVING -> FIXED: two objects."""
    first = registration([registered(MOVING), registered(OTHER, [ONWARD])], frame=MOVING)
    second = registration()
    nodes = [
        *loaded(written(first, tmp_path / "first.dcm"), scene),
        *loaded(written(second, tmp_path / "second.dcm"), scene),
    ]
    return first, second, nodes


@pytest.mark.parametrize("given", [[0], [0, 1], [1, 0]])
def test_a_chain_leads_through_both(given: list[int], tmp_path: Path, scene: Any) -> None:
    far, near, fixed = (add(scene, KINDS[0], frame) for frame in (OTHER, MOVING, FIXED))
    first, second, nodes = chained(tmp_path, scene)
    applied = dicombridge.apply_registration([nodes[number] for number in given], chain=True)
    assert applied.chained == [(nodes[0], nodes[1])]
    assert nodes[0].GetParentTransformNode() is nodes[1]
    expected = moved(second.RegistrationSequence[1], moved(first.RegistrationSequence[1], points()))
    np.testing.assert_allclose(world_of(far, points()), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        world_of(near, points()), moved(second.RegistrationSequence[1], points()), rtol=0, atol=1e-9
    )
    assert fixed.GetTransformNodeID() is None


def test_a_chain_through_a_deformation(tmp_path: Path, scene: Any) -> None:
    from support.registrations import points_in, sampled

    far = add(scene, KINDS[0], OTHER)
    grid = grid_item(smooth_field())
    first = registration([registered(OTHER, [ONWARD])], frame=MOVING)
    second = deformation([deformed(MOVING, grid, RIGID)])
    nodes = loaded(written(first, tmp_path / "first.dcm"), scene)
    loaded(written(second, tmp_path / "second.dcm"), scene)
    dicombridge.apply_registration(nodes, chain=True)
    world = points_in(grid)
    between = sampled(second.DeformableRegistrationSequence[0], world)
    back = np.linalg.inv(np.reshape(first.RegistrationSequence[0].MatrixRegistrationSequence[0].MatrixSequence[0]
                                    .FrameOfReferenceTransformationMatrix, (4, 4)).astype(float))  # fmt: skip
    source = between @ back[:3, :3].T + back[:3, 3]
    np.testing.assert_allclose(world_of(far, source), world, rtol=0, atol=1e-3)  # VTK iterates an inverse


def test_chains_are_not_made_unless_asked(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    add(scene, KINDS[0], OTHER), add(scene, KINDS[0], MOVING)
    _, _, nodes = chained(tmp_path, scene)
    applied = dicombridge.apply_registration(nodes)
    assert applied.chained == []
    assert nodes[0].GetParentTransformNode() is None
    assert "apply both with chain=True" in caplog.text


def test_a_circle_is_not_closed(tmp_path: Path, scene: Any) -> None:
    there = loaded(written(registration(), tmp_path / "there.dcm"), scene)
    back = loaded(written(registration([registered(FIXED, [TRANSLATION])], frame=MOVING), tmp_path / "back.dcm"), scene)
    applied = dicombridge.apply_registration([*there, *back], chain=True)
    assert applied.chained == []
    assert all("leads back to where it comes from" in reason for _, reason in applied.left)
    assert [node.GetParentTransformNode() for node in (*there, *back)] == [None, None]


def test_of_two_ways_on_none_is_chosen(tmp_path: Path, scene: Any) -> None:
    _, _, nodes = chained(tmp_path, scene)
    third = registration([registered(MOVING, [TRANSLATION])], frame="1.2.3.88")
    loaded(written(third, tmp_path / "third.dcm"), scene)
    applied = dicombridge.apply_registration(nodes[:1], chain=True)
    assert applied.chained == []
    assert "2 registrations lead on" in applied.left[0][1]


def test_the_graph_survives_in_a_scene_file(tmp_path: Path, scene: Any) -> None:
    """Also what is needed to apply it only then."""
    far, near = add(scene, KINDS[2], OTHER), add(scene, KINDS[2], MOVING)
    _, _, nodes = chained(tmp_path, scene)
    dicombridge.apply_registration(nodes, chain=True)
    after = [world_of(node, points()) for node in (far, near)]
    again = saved_and_read(scene, tmp_path)
    twins = [again.GetFirstNodeByName(node.GetName()) for node in (far, near)]
    for twin, expected in zip(twins, after, strict=True):
        np.testing.assert_allclose(world_of(twin, points()), expected, rtol=0, atol=1e-9)
        twin.SetAndObserveTransformNodeID(None)
    applied = dicombridge.apply_registration(scene=again, chain=True)
    assert len(applied.moved) == 2
    for twin, expected in zip(twins, after, strict=True):
        np.testing.assert_allclose(world_of(twin, points()), expected, rtol=0, atol=1e-9)


def test_a_load_that_is_taken_back_leaves_data_free(tmp_path: Path, scene: Any) -> None:
    """Where the second of two objects fails, what the first one moved is where it was."""
    volume = add(scene, KINDS[0], MOVING)
    good = dicombridge.Loadable(files=[str(written(registration(), tmp_path / "reg.dcm"))], name="good", kind="REG")
    bad = dicombridge.Loadable(files=[str(tmp_path / "absent.dcm")], name="absent", kind="REG")
    with pytest.raises(dicombridge.DicomBridgeError, match=r"absent\.dcm"):
        dicombridge.load([good, bad], scene=scene, apply=True)
    assert volume.GetParentTransformNode() is None
    assert volume.GetTransformNodeID() is None


def test_maps_made_on_named_images_go_along_and_other_images_do_not(tmp_path: Path, scene: Any) -> None:
    named = add(scene, KINDS[0], FIXED, ["1.2.5.1"])
    planned_on_it = add(scene, KINDS[0], FIXED, ["1.2.6.1"], ["1.2.5.1"])
    made_of_it = add(scene, KINDS[0], FIXED, ["1.2.6.2"], ["1.2.5.1"])
    made_of_it.SetAttribute("DICOMBridge.Kind", "PM")
    ds = registration([registered(FIXED), registered(FIXED, [RIGID], images=["1.2.5.1"])])
    applied = dicombridge.apply_registration(loaded(written(ds, tmp_path / "reg.dcm"), scene))
    assert [node for node, _ in applied.moved] == [named, made_of_it]
    assert planned_on_it.GetTransformNodeID() is None
