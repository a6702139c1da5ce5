"""Faults that other importers of segmentations into Slicer have or had: what each was, and that it is not one here.

The source images are those of the published observations: 8 slices of 20 x 30 pixels, spacing 0.8, 1.2 and 2.5 mm.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from support.items import code, read
from support.seg_nodes import (
    assert_segment_is,
    image_of,
    lps_of_ijk,
    mask_of,
    names,
    points_by_segment,
    segment_named,
    tag,
)
from support.seg_objects import (
    AXIAL,
    blobs,
    ct_series,
    positions_along,
    refer_to_series,
    save,
    segmentation,
    stack_frames,
)
from support.volumes import array_of_image

import dicombridge
from dicombridge.shadow import dataset_from_text

SPACING = (1.2, 0.8)
SHAPE = (30, 20)
ORGANS = {1: "liver", 2: "spleen", 3: "kidney"}


class Source:
    """The images, in a folder and as a database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.positions = positions_along(AXIAL, 8, 2.5)
        self.uids = ct_series(folder / "ct", self.positions, shape=SHAPE, spacing=SPACING, SliceThickness="2.5")
        self.database = dicombridge.open_folder(folder / "ct")

    def highdicom(self, pixels: NDArray[Any], kind: str, name: str = "seg.dcm", **options: Any) -> Path:
        """Write a segmentation of three organs with highdicom."""
        import highdicom as hd
        from pydicom.sr.codedict import codes

        organs = [codes.SCT.Liver, codes.SCT.Spleen, codes.SCT.Kidney]
        descriptions = [
            hd.seg.SegmentDescription(number, label, codes.SCT.Organ, organs[number - 1], "MANUAL")
            for number, label in ORGANS.items()
        ]
        if kind == "FRACTIONAL" and pixels.ndim == 3:
            descriptions = descriptions[:1]
        images = [pydicom.dcmread(path) for path in sorted((self.folder / "ct").iterdir())]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = hd.seg.Segmentation(
                images, pixels, kind, descriptions, hd.UID(), 7, hd.UID(), 1, "Acme", "Model", "1", "2", **options
            )
        return save(dataset, self.folder / "seg" / name)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def labels(empty: int = 0) -> NDArray[np.uint8]:
    """Three touching organs in the middle slices."""
    array = np.zeros((8, *SHAPE), np.uint8)
    array[2:6, 5:25, 3:9], array[2:6, 5:25, 9:12], array[3:5, 5:25, 12:18] = 1, 2, 3
    array[array == empty] = 0
    return array


@pytest.mark.parametrize("with_source", [True, False])
@pytest.mark.parametrize("empty", [1, 2, 3])
def test_1_empty_segment(source: Source, scene: Any, empty: int, with_source: bool) -> None:
    """The segment after an empty one got its name, codes and colour, because segments were counted, not numbered."""
    pixels = labels(empty)
    path = source.highdicom(pixels, "BINARY")
    (node,) = dicombridge.load(path, scene=scene, database=source.database if with_source else None)
    assert names(node) == list(ORGANS.values())
    expected = points_by_segment(read(path))
    for number, label in ORGANS.items():
        segment = segment_named(node, label)
        assert tag(segment, "TerminologyEntry").split("~")[2].split("^")[2].lower() == label
        assert int(mask_of(segment).sum()) == int((pixels == number).sum())
        assert_segment_is(node, number, expected[number])


def test_2_fractional(source: Source, scene: Any) -> None:
    """256 grey values were taken for 256 segments, and the import ended with an IndexError."""
    pixels = np.random.default_rng(1).random((8, *SHAPE)).astype(np.float32)
    path = source.highdicom(pixels, "FRACTIONAL")
    node, volume = dicombridge.load(path, scene=scene, database=source.database)
    assert names(node) == ["liver"]
    np.testing.assert_allclose(array_of_image(volume.GetImageData()), pixels, atol=0.5 / 255 + 1e-6)
    mask = mask_of(segment_named(node, "liver"))
    np.testing.assert_array_equal(mask, np.rint(pixels * 255) >= 127.5)


def test_label_map(source: Source, scene: Any) -> None:
    """Its background was listed as a segment."""
    path = source.highdicom(labels(), "LABELMAP")
    (node,) = dicombridge.load(path, scene=scene, database=source.database)
    assert names(node) == list(ORGANS.values())
    np.testing.assert_array_equal(array_of_image(image_of(segment_named(node, "liver"))), labels())


@pytest.mark.parametrize("keywords", [("SliceThickness", "SpacingBetweenSlices"), ("SpacingBetweenSlices",)])
def test_3_no_spacing(source: Source, scene: Any, keywords: tuple[str, ...]) -> None:
    """ "No sufficient information to derive slice spacing", although the positions say it."""
    dataset = pydicom.dcmread(source.highdicom(labels(), "BINARY"))
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    for keyword in keywords:
        measures.pop(keyword, None)
    (node,) = dicombridge.load(save(dataset, source.folder / "no.dcm"), scene=scene)
    for number, points in points_by_segment(dataset).items():
        assert_segment_is(node, number, points)
    assert image_of(segment_named(node, "liver")).GetDimensions() == (20, 30, 4)


def test_4_thickness_is_no_spacing(source: Source, scene: Any) -> None:
    """Frames 2.5 mm apart with a thickness of 1 mm came onto a grid of 1 mm, with holes and in wrong places."""
    dataset = pydicom.dcmread(source.highdicom(labels(), "BINARY"))
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness = "1"
    measures.pop("SpacingBetweenSlices", None)
    (node,) = dicombridge.load(save(dataset, source.folder / "thin.dcm"), scene=scene)
    image = image_of(segment_named(node, "liver"))
    assert image.GetDimensions() == (20, 30, 4)
    assert lps_of_ijk(image)[2, 2] == pytest.approx(2.5, abs=1e-9)
    for number, points in points_by_segment(dataset).items():
        assert_segment_is(node, number, points)


@pytest.mark.parametrize("empty", [0, 2])
def test_5_grid_does_not_shrink(source: Source, scene: Any, empty: int) -> None:
    """The grid was cut to the frames that are not empty; labels took 16 bits each."""
    path = source.highdicom(labels(empty), "BINARY")
    (node,) = dicombridge.load(path, scene=scene, database=source.database)
    image = image_of(segment_named(node, "liver"))
    assert image.GetDimensions() == (20, 30, 8)
    assert image.GetScalarTypeAsString() == "unsigned char"
    np.testing.assert_array_equal(array_of_image(image), labels(empty))


def test_5_first_and_last_slice_only(source: Source, scene: Any) -> None:
    pixels = labels() * 0
    pixels[[0, 7], 3:9, 4:8] = 1
    path = source.highdicom(pixels, "BINARY")
    (node,) = dicombridge.load(path, scene=scene, database=source.database)
    np.testing.assert_array_equal(mask_of(segment_named(node, "liver")), pixels == 1)
    (alone,) = dicombridge.load(path, scene=scene)
    assert_segment_is(alone, 1, points_by_segment(read(path))[1])


def test_5_without_frame_of_reference(source: Source, scene: Any) -> None:
    """Nothing but the derivation images tells where the frames lie."""
    dataset = pydicom.dcmread(source.highdicom(labels(), "BINARY"))
    expected = points_by_segment(dataset)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    shared = dataset.SharedFunctionalGroupsSequence[0]
    del shared.PlaneOrientationSequence, shared.PixelMeasuresSequence, dataset.FrameOfReferenceUID
    path = save(dataset, source.folder / "unplaced.dcm")
    (node,) = dicombridge.load(path, scene=scene, database=source.database)
    for number, points in expected.items():
        assert_segment_is(node, number, points)


def test_6_several_regions_and_modifiers(source: Source, scene: Any) -> None:
    """All but the first ones were dropped."""
    dataset = pydicom.dcmread(source.highdicom(labels(), "BINARY"))
    item = dataset.SegmentSequence[1]
    item.AnatomicRegionSequence = [code("39607008", "SCT", "Lung"), code("10200004", "SCT", "Liver")]
    kind = item.SegmentedPropertyTypeCodeSequence[0]
    kind.SegmentedPropertyTypeModifierCodeSequence = [code("7771000", "SCT", "Left"), code("1", "99X", "Upper")]
    (node,) = dicombridge.load(save(dataset, source.folder / "regions.dcm"), scene=scene)
    segment = segment_named(node, "spleen")
    assert "SCT^39607008^Lung" in tag(segment, "TerminologyEntry")
    assert "SCT^7771000^Left" in tag(segment, "TerminologyEntry")
    assert dataset_from_text(tag(segment, "DICOMBridge.Segment")) == item
    (path,) = dicombridge.export(node, source.folder / "out", database=source.database)
    again = pydicom.dcmread(path).SegmentSequence[1]
    assert again.AnatomicRegionSequence == item.AnatomicRegionSequence
    assert again.SegmentedPropertyTypeCodeSequence == item.SegmentedPropertyTypeCodeSequence


def test_7_no_surface_unless_asked(tmp_path: Path, scene: Any) -> None:
    """A closed surface of each of a hundred organs took minutes before anything was seen."""
    masks = {number: np.zeros((10, 64, 64), np.uint8) for number in range(1, 105)}
    for number, mask in masks.items():
        mask[:, number // 11 * 5 : number // 11 * 5 + 5, number % 11 * 5 : number % 11 * 5 + 5] = 1
    path = save(segmentation(stack_frames(masks, positions_along(AXIAL, 10, 2))), tmp_path / "seg.dcm")
    start = time.perf_counter()
    (node,) = dicombridge.load(path, scene=scene)
    assert time.perf_counter() - start < 30
    assert node.GetSegmentation().GetNumberOfSegments() == 104
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_8_no_subprocess_and_no_temporary_files(source: Source, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two loads in one second shared a folder; label volumes passed through the scene."""
    import slicer
    import vtk

    paths = [source.highdicom(labels(), "BINARY"), source.highdicom(labels(2), "BINARY", "other.dcm")]

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("no other program and no temporary file is needed")

    for module, function in ((subprocess, "Popen"), (tempfile, "mkstemp"), (tempfile, "mkdtemp")):
        monkeypatch.setattr(module, function, refuse)
    added: list[str] = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def note(_: Any, __: str, node: Any) -> None:
        added.append(node.GetClassName())

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, note)
    nodes = [dicombridge.load(path, scene=scene)[0] for path in paths]
    assert [int(mask_of(segment_named(node, "spleen")).sum()) for node in nodes] == [int((labels() == 2).sum()), 0]
    assert added.count("vtkMRMLSegmentationNode") == 2
    assert not [name for name in added if "Volume" in name or "Storage" in name]


def test_9_references_of_all_series_from_the_index(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first referenced series was looked at, and each of its files was read as a whole."""
    others = ct_series(tmp_path / "ct2", source.positions, series="1.2.3.88")
    dataset = segmentation(stack_frames({1: blobs(1, 8, SHAPE)}, source.positions), spacing=SPACING)
    refer_to_series(dataset, source.uids[:2])
    first = dataset.ReferencedSeriesSequence[0]
    refer_to_series(dataset, others[3:4], "1.2.3.88")
    dataset.ReferencedSeriesSequence = [first, dataset.ReferencedSeriesSequence[0]]
    save(dataset, tmp_path / "seg" / "seg.dcm")
    with dicombridge.open_folder(tmp_path) as database:
        opened: list[str] = []
        real = Path.open

        def note(path: Path, *arguments: Any, **options: Any) -> Any:
            opened.append(path.name)
            return real(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", note)
        monkeypatch.setattr(pydicom, "dcmread", lambda *_, **__: pytest.fail("examination reads no whole file"))
        (loadable,) = [one for one in dicombridge.examine(database, "1.2.3.50")]
    assert set(loadable.referencedInstanceUIDs) == {*source.uids, *others}
    assert set(opened) <= {"seg.dcm"}


def test_10_images_of_another_study_or_loaded_later(tmp_path: Path, scene: Any) -> None:
    """The reference geometry was looked for among the neighbours in the hierarchy, once."""
    positions = positions_along(AXIAL, 4, 2)
    uids = ct_series(tmp_path / "ct", positions, StudyInstanceUID="1.2.3.99", PatientID="P-1")
    dataset = segmentation(stack_frames({1: blobs(1, 4)}, positions, uids))
    path = save(dataset, tmp_path / "seg" / "seg.dcm")
    (before,) = dicombridge.load(path, scene=scene)
    (volume,) = dicombridge.load(tmp_path / "ct", scene=scene)
    (after,) = dicombridge.load(path, scene=scene)
    assert before.GetNodeReference("referenceImageGeometryRef") is volume
    assert after.GetNodeReference("referenceImageGeometryRef") is volume


def plain_node(scene: Any) -> Any:
    """A segmentation that never saw DICOM: one segment of 3 x 4 x 2 voxels, one without any."""
    import slicer
    import vtk

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    for name, filled in (("drawn", True), ("empty", False)):
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(8, 9, 5)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        array_of_image(image)[:] = 0
        array_of_image(image)[1:3, 2:6, 4:7] = filled
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.AddRepresentation("Binary labelmap", image)
        node.GetSegmentation().AddSegment(segment)
    return node


def test_11_export_without_any_source(scene: Any, tmp_path: Path) -> None:
    """Export was offered and then failed late: "reference volume not found"."""
    (path,) = dicombridge.export(plain_node(scene), tmp_path / "out", kind="SEG")
    dataset = pydicom.dcmread(path)
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["drawn", "empty"]
    assert len(points_by_segment(dataset)[1]) == 2 * 4 * 3
    (again,) = dicombridge.load(path, scene=scene)
    assert names(again) == ["drawn", "empty"]
    assert int(mask_of(segment_named(again, "drawn")).sum()) == 2 * 4 * 3


def test_12_export_keeps_what_there_was(source: Source, scene: Any) -> None:
    """Descriptions became category names, tracking was lost, numbers became 1, placeholders came in."""
    dataset = pydicom.dcmread(source.highdicom(labels(2), "BINARY"))
    dataset.ContentCreatorName, dataset.ContentLabel = "MAKER^MARY", "ORGANS"
    for item in dataset.SegmentSequence:
        item.SegmentDescription = f"about {item.SegmentLabel}"
        item.TrackingID, item.TrackingUID = f"id {item.SegmentNumber}", f"1.2.3.{item.SegmentNumber}"
    (node,) = dicombridge.load(save(dataset, source.folder / "in.dcm"), scene=scene, database=source.database)
    (path,) = dicombridge.export(node, source.folder / "out", database=source.database)
    again = pydicom.dcmread(path)
    for old, new in zip(dataset.SegmentSequence, again.SegmentSequence, strict=True):
        for keyword in ("SegmentNumber", "SegmentLabel", "SegmentDescription", "TrackingID", "TrackingUID"):
            assert new[keyword].value == old[keyword].value, keyword
    assert str(again.ContentCreatorName) == "MAKER^MARY"
    assert again.ContentLabel == "ORGANS"
    assert "QIICR" not in str(again)
    assert not [element for element in again if element.keyword.startswith("ClinicalTrial")]
    assert again.SOPInstanceUID != dataset.SOPInstanceUID
    expected, got = points_by_segment(dataset), points_by_segment(again)
    assert {number: len(points) for number, points in got.items()} == {n: len(points) for n, points in expected.items()}


@pytest.mark.parametrize("options", [{"segmentation_type": "LABELMAP"}, {"compression": "rle"}])
def test_12_more_than_plain_binary(source: Source, scene: Any, options: dict[str, str]) -> None:
    (node,) = dicombridge.load(source.highdicom(labels(), "BINARY"), scene=scene, database=source.database)
    (path,) = dicombridge.export(node, source.folder / "out", database=source.database, **options)
    (again,) = dicombridge.load(path, scene=scene, database=source.database)
    assert names(again) == list(ORGANS.values())
    for number, label in ORGANS.items():
        np.testing.assert_array_equal(mask_of(segment_named(again, label)), labels() == number)


def test_12_parent_transform_is_applied(source: Source, scene: Any, tmp_path: Path) -> None:
    import vtk

    node = plain_node(scene)
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 12.5)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(shift)
    node.SetAndObserveTransformNodeID(transform.GetID())
    (path,) = dicombridge.export(node, tmp_path / "out", kind="SEG")
    points = points_by_segment(pydicom.dcmread(path))[1]
    assert sorted(set(points[:, 0].round(6))) == [-18.5, -17.5, -16.5]  # LPS; columns 4 to 6, moved


def test_overlap(source: Source, scene: Any) -> None:
    """Fine elsewhere too: both are whole, in as many layers as need be."""
    pixels = np.stack([labels() == 1, labels() > 0, labels() == 3], axis=-1).astype(np.uint8)
    path = source.highdicom(pixels, "BINARY")
    (node,) = dicombridge.load(path, scene=scene, database=source.database)
    assert node.GetSegmentation().GetNumberOfLayers() == 2
    for at, label in enumerate(ORGANS.values()):
        np.testing.assert_array_equal(mask_of(segment_named(node, label)), pixels[..., at] != 0)
