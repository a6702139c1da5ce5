"""The node of a loaded segmentation among others: hierarchy, reference geometry, surfaces, scene files, failures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from support.seg_nodes import image_of, mask_of, names, points_by_segment, segment_ids, tag
from support.seg_objects import (
    AXIAL,
    Frame,
    blobs,
    ct_series,
    positions_along,
    refer_to_series,
    save,
    segment_item,
    segmentation,
    stack_frames,
)
from support.volumes import array_of_image

import dicombridge
from dicombridge.errors import DicomBridgeError

ROLE = "referenceImageGeometryRef"
PARAMETER = "Reference image geometry"


class Study:
    """A CT series of 6 slices, and a segmentation of two of them."""

    def __init__(self, folder: Path, **image: Any) -> None:
        self.folder = folder
        self.positions = positions_along(AXIAL, 6, 2.5)
        self.uids = ct_series(folder / "ct", self.positions, **image)
        first = blobs(1, 2)
        self.masks = {1: first, 2: blobs(2, 2) & ~first & 1}
        segments = [segment_item(1, "liver"), segment_item(2, "spleen")]
        frames = stack_frames(self.masks, self.positions[2:4], self.uids[2:4])
        self.dataset: Dataset = segmentation(frames, segments=segments)
        refer_to_series(self.dataset, self.uids[2:4])
        self.path = save(self.dataset, folder / "seg" / "seg.dcm")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def hierarchy_of(scene: Any) -> Any:
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def snapshot(scene: Any) -> tuple[list[str], list[str]]:
    """All nodes, and all items of the hierarchy, as text."""
    nodes = [scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())]
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    items: list[int] = []
    if hierarchy is not None:
        hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    return nodes, [f"{item} {hierarchy.GetItemName(item)} {hierarchy.GetItemParent(item)}" for item in items]


# --- as somebody outside would call it -------------------------------------------------------------------------------


def test_the_public_way(study: Study, scene: Any) -> None:
    import slicer

    nodes = dicombridge.load(str(study.path), scene=scene)
    node = nodes[0]
    assert node.IsA("vtkMRMLSegmentationNode")
    assert node.GetScene() is scene
    assert node.GetName() == "50: Organs"
    segmentation_object = node.GetSegmentation()
    assert segmentation_object.GetNumberOfSegments() == 2
    assert segmentation_object.GetSourceRepresentationName() == "Binary labelmap"
    assert segmentation_object.GetNumberOfLayers() == 1
    segment_id = segmentation_object.GetSegmentIdBySegmentName("spleen")
    internal = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segment_id)
    assert internal.shape == (2, 12, 10)
    np.testing.assert_array_equal(internal == 2, study.masks[2] != 0)
    assert node.GetDisplayNode() is not None


def test_array_on_the_grid_of_a_volume(study: Study, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    modules = SimpleNamespace(segmentations=SimpleNamespace(logic=lambda: logic))
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)  # as inside Slicer
    monkeypatch.setattr(slicer, "modules", modules, raising=False)
    (volume,) = dicombridge.load(study.folder / "ct", scene=scene)
    (node,) = dicombridge.load(study.path, scene=scene)
    for number, segment_id in enumerate(segment_ids(node), start=1):
        array = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume)
        assert array.shape == (6, 12, 10)
        np.testing.assert_array_equal(array[2:4] != 0, study.masks[number] != 0)
        assert not array[:2].any()
        assert not array[4:].any()


def test_loadable_and_series(study: Study, scene: Any) -> None:
    with dicombridge.open_folder(study.folder) as database:
        image, seg = dicombridge.examine(database)
        assert (image.kind, seg.kind) == ("IMAGE", "SEG")
        assert set(seg.referencedInstanceUIDs) == set(study.uids)
        by_loadable = dicombridge.load(seg, scene=scene, database=database)
        by_series = dicombridge.load("1.2.3.50", scene=scene, database=database)
    for node in (by_loadable[0], by_series[0]):
        assert image_of(node.GetSegmentation().GetNthSegment(0)).GetDimensions() == (10, 12, 6)
    assert by_loadable[0].GetName() != by_series[0].GetName()


def test_progress_is_told(study: Study, scene: Any) -> None:
    told: list[float] = []
    dicombridge.load(study.path, scene=scene, progress=lambda fraction, message: told.append(fraction))
    assert told
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] <= 1


# --- subject hierarchy -----------------------------------------------------------------------------------------------


def test_place_in_the_hierarchy(study: Study, scene: Any) -> None:
    """Patient, study, series and their attributes, as Slicer's own code looks for them (plugins D4)."""
    (node,) = dicombridge.load(study.path, scene=scene)
    hierarchy = hierarchy_of(scene)
    item = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemUID(item, "DICOM") == "1.2.3.50"
    assert hierarchy.GetItemUID(item, "DICOMInstanceUID") == study.dataset.SOPInstanceUID
    assert hierarchy.GetItemAttribute(item, "DICOM.Modality") == "SEG"
    assert hierarchy.GetItemAttribute(item, "DICOM.SeriesNumber") == "50"
    assert hierarchy.GetItemAttribute(item, "DICOM.FrameOfReferenceUID") == "1.2.3.9"
    assert set(hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs").split()) == set(study.uids[2:4])
    parent = hierarchy.GetItemParent(item)
    assert hierarchy.GetItemLevel(parent) == "Study"
    assert hierarchy.GetItemUID(parent, "DICOM") == "1.2.3"
    patient = hierarchy.GetItemParent(parent)
    assert hierarchy.GetItemLevel(patient) == "Patient"
    assert hierarchy.GetItemUID(patient, "DICOM") == "P-1"
    assert hierarchy.GetItemAttribute(patient, "DICOM.PatientName") == "DOE^JANE"
    assert node.GetAttribute("DICOM.instanceUIDs") == study.dataset.SOPInstanceUID


def test_fractions_lie_beside_their_segmentation(tmp_path: Path, scene: Any) -> None:
    frames = stack_frames({1: blobs(1, 2) * 255, 2: blobs(2, 2) * 255}, positions_along(AXIAL, 2, 2))
    path = save(segmentation(frames, kind="FRACTIONAL"), tmp_path / "seg.dcm")
    node, *volumes = dicombridge.load(path, scene=scene)
    hierarchy = hierarchy_of(scene)
    study_item = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
    for number, volume in enumerate(volumes):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(volume)) == study_item
        assert node.GetNthNodeReference("DICOMBridge.FractionVolume", number) is volume


# --- reference geometry ----------------------------------------------------------------------------------------------


def geometry_of(node: Any) -> str:
    return str(node.GetSegmentation().GetConversionParameter(PARAMETER))


@pytest.mark.parametrize("other_study", [False, True])
@pytest.mark.parametrize("image_first", [True, False])
def test_reference_geometry(tmp_path: Path, scene: Any, other_study: bool, image_first: bool) -> None:
    """Set when the images are in the scene, whatever their study's item; else when they come."""
    study = Study(tmp_path, **({"StudyInstanceUID": "1.2.3.99"} if other_study else {}))
    steps = [study.folder / "ct", study.path]
    loaded = [dicombridge.load(step, scene=scene)[0] for step in (steps if image_first else steps[::-1])]
    volume, node = loaded if image_first else loaded[::-1]
    assert volume.IsA("vtkMRMLScalarVolumeNode")
    assert node.GetNodeReference(ROLE) is volume
    assert geometry_of(node).rstrip(";").split(";")[-6:] == ["0", "9", "0", "11", "0", "5"]


def test_reference_geometry_is_not_that_of_other_images(study: Study, scene: Any, tmp_path: Path) -> None:
    ct_series(tmp_path / "other", study.positions, series="1.2.3.77")
    dicombridge.load(tmp_path / "other", scene=scene)
    (node,) = dicombridge.load(study.path, scene=scene)
    assert node.GetNodeReference(ROLE) is None


def test_without_references_the_grid_is_its_own(tmp_path: Path, scene: Any) -> None:
    dataset = segmentation(stack_frames({1: blobs(1, 3)}, positions_along(AXIAL, 3, 2)))
    (node,) = dicombridge.load(save(dataset, tmp_path / "seg.dcm"), scene=scene)
    assert geometry_of(node).rstrip(";").split(";")[-6:] == ["0", "9", "0", "11", "0", "2"]


# --- closed surface --------------------------------------------------------------------------------------------------


def test_surface_only_when_asked(study: Study, scene: Any) -> None:
    (plain,) = dicombridge.load(study.path, scene=scene)
    assert not plain.GetSegmentation().ContainsRepresentation("Closed surface")
    (node,) = dicombridge.load(study.path, scene=scene, closed_surface=True)
    for segment_id in segment_ids(node):
        surface = node.GetSegmentation().GetSegment(segment_id).GetRepresentation("Closed surface")
        assert surface.GetNumberOfPoints() > 0


def test_surface_lies_around_the_voxels(tmp_path: Path, scene: Any) -> None:
    import vtk

    mask = np.zeros((6, 12, 10), np.uint8)
    mask[2:5, 3:9, 2:7] = 1
    dataset = segmentation(stack_frames({1: mask}, positions_along(AXIAL, 6, 2.5)))
    (node,) = dicombridge.load(save(dataset, tmp_path / "seg.dcm"), scene=scene, closed_surface=True)
    surface = vtk.vtkPolyData()
    node.GetClosedSurfaceRepresentation("Segment_1", surface)
    points = points_by_segment(dataset)[1] * [-1, -1, 1]
    bounds = np.array(surface.GetBounds()).reshape(3, 2)
    np.testing.assert_allclose(bounds.mean(axis=1), (points.max(axis=0) + points.min(axis=0)) / 2, atol=0.6)


# --- transaction -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["add_series", "set_reference_geometry", "_remember", "_add_fraction"])
def test_a_failing_load_leaves_the_scene_as_it_was(
    study: Study, scene: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    dicombridge.load(study.folder / "ct", scene=scene)
    before = snapshot(scene)
    path = study.path
    if step == "_add_fraction":
        frames = stack_frames({1: blobs(1, 2) * 255}, study.positions[:2])
        path = save(segmentation(frames, kind="FRACTIONAL"), study.folder / "fractions.dcm")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("made up")

    with monkeypatch.context() as patch:
        patch.setattr(f"dicombridge.segmentation.loading.{step}", fail)
        with pytest.raises(OSError, match="made up"):
            dicombridge.load(path, scene=scene)
    assert snapshot(scene) == before
    assert dicombridge.load(path, scene=scene)


def test_a_folder_loads_wholly_or_not_at_all(study: Study, scene: Any) -> None:
    """The image and the first segmentation are good; the last one's pixels are cut off."""
    second = segmentation(stack_frames({1: blobs(1, 2)}, study.positions[:2]), SeriesInstanceUID="1.2.3.51")
    second.NumberOfFrames = 3000
    save(second, study.folder / "zz" / "bad.dcm")
    before = snapshot(scene)
    with pytest.raises(DicomBridgeError, match=r"bad\.dcm"):
        dicombridge.load(study.folder, scene=scene)
    assert snapshot(scene) == before


# --- scene files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_scene_file_keeps_everything(tmp_path: Path, scene: Any, kind: str) -> None:
    """Names, tags, attributes, voxels and hierarchy are the same after saving and reading an .mrb."""
    positions = positions_along(AXIAL, 3, 2)
    segments = [
        segment_item(2, "größer | ~ ^ 50 %", SegmentDescription="a|b", TrackingID="x|y", TrackingUID="1.2.3"),
        segment_item(5, "empty"),
        segment_item(9, "last"),
    ]
    if kind == "LABELMAP":
        values = np.where(blobs(1, 3) != 0, 2, blobs(2, 3) * 9).astype(np.uint8)
        frames = [Frame(0, position, image) for position, image in zip(positions, values, strict=True)]
    else:
        full = 1 if kind == "BINARY" else 255
        frames = stack_frames({2: blobs(1, 3) * full, 9: blobs(2, 3) * full}, positions)
    path = save(segmentation(frames, kind=kind, segments=segments), tmp_path / "seg.dcm")
    before = dicombridge.load(path, scene=scene)
    archive = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(archive))
    again = dicombridge.new_scene()
    assert again.ReadFromMRB(str(archive))
    for old in before:
        new = again.GetFirstNodeByName(old.GetName())
        assert new is not None
        for name in old.GetAttributeNames():
            assert new.GetAttribute(name) == old.GetAttribute(name), name
        if not old.IsA("vtkMRMLSegmentationNode"):
            np.testing.assert_array_equal(array_of_image(new.GetImageData()), array_of_image(old.GetImageData()))
            continue
        assert segment_ids(new) == segment_ids(old)
        assert names(new) == names(old)
        for segment_id in segment_ids(old):
            one, other = (node.GetSegmentation().GetSegment(segment_id) for node in (old, new))
            for key in ("TerminologyEntry", "Description", "TrackingIdentifier", "DICOMBridge.Segment"):
                assert tag(other, key) == tag(one, key), key
            assert other.GetColor() == pytest.approx(one.GetColor(), abs=1e-5)
            assert int(mask_of(other).sum()) == int(mask_of(one).sum())
        item = hierarchy_of(again).GetItemByDataNode(new)
        assert hierarchy_of(again).GetItemUID(item, "DICOM") == "1.2.3.50"


@pytest.mark.parametrize("nasty", ["a\x01b", "a\x0bb\nc", "tab\there", 'quote " < & >', "%7C|", "x" * 64, " blank "])
def test_names_that_no_scene_file_holds(tmp_path: Path, scene: Any, nasty: str) -> None:
    """One control character in any name, and the whole scene file could not be read again."""
    frames = stack_frames({1: blobs(1, 3) * 255}, positions_along(AXIAL, 3, 2))
    segments = [segment_item(1, nasty)]
    dataset = segmentation(frames, kind="FRACTIONAL", segments=segments, SeriesDescription=nasty)
    node, _ = dicombridge.load(save(dataset, tmp_path / "seg.dcm"), scene=scene)
    archive = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(archive))
    again = dicombridge.new_scene()
    assert again.ReadFromMRB(str(archive))
    new = again.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert new is not None
    assert names(new) == names(node)
    assert new.GetName() == node.GetName()
