"""Segmentation nodes of any origin as DICOM segmentations: what is written, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support import peers
from support.items import read
from support.seg_exports import (
    AFFINE,
    SURFACE,
    assert_same_points,
    masks_of,
    oblique,
    points_of_file,
    points_of_masks,
    points_of_node,
    segmentation_node,
    under_transform,
    volume_node,
)
from support.seg_objects import ct_series

import dicombridge
from dicombridge.errors import ExportError

NAMES = ("Liver", "Spleen", "Kidney")
SHAPE = (5, 12, 10)
REFERENCE = "referenceImageGeometryRef"


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """A CT on the grid of the masks."""
    places = [(AFFINE @ [0, 0, place, 1])[:3] for place in range(SHAPE[0])]
    ct_series(tmp_path / "ct", places, spacing=(0.9, 0.8))
    return tmp_path / "ct"


def load_ct(ct: Path, scene: Any) -> Any:
    (volume,) = dicombridge.load(ct, scene=scene)
    return volume


def written(node: Any, tmp_path: Path, **options: Any) -> Path:
    (path,) = dicombridge.export(node, tmp_path / "out", **options)
    peers.assert_valid(path, tmp_path)
    return path


def loaded(path: Path, sources: Path | None = None) -> Any:
    database = dicombridge.open_folder(sources) if sources else None
    return dicombridge.load(path, scene=dicombridge.new_scene(), database=database)[0]


def moved(points: dict[str, Any], ras_matrix: np.ndarray[Any, Any]) -> dict[str, Any]:
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = flip @ ras_matrix @ flip
    return {name: (lps @ np.c_[some, np.ones(len(some))].T)[:3].T for name, some in points.items()}


# --- without DICOM ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("affine", [AFFINE, oblique()], ids=["axial", "oblique"])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_names_alone(scene: Any, tmp_path: Path, kind: str, affine: Any, shared: bool, caplog: Any) -> None:
    """A segmentation that never saw DICOM becomes an object that stands by itself."""
    masks = masks_of(1, NAMES)
    masks["Liver"][0] = masks["Spleen"][0] = masks["Kidney"][0] = False  # the grid does not begin with a segment
    node = segmentation_node(scene, masks, affine, shared=shared)
    node.GetSegmentation().GetSegment("id-1").RemoveTag("TerminologyEntry")  # the others have Slicer's default
    options = {"PatientName": "DOE^JANE", "PatientID": "P-7", "StudyInstanceUID": "1.2.3.4"}
    path = written(node, tmp_path, segmentation_type=kind, **options)
    dataset = read(path)
    assert_same_points(points_of_file(path), points_of_masks(masks, affine))
    assert_same_points(points_of_node(loaded(path)), points_of_masks(masks, affine))
    assert (dataset.PatientName, dataset.PatientID, dataset.StudyInstanceUID) == tuple(options.values())
    assert dataset.FrameOfReferenceUID
    assert "ReferencedSeriesSequence" not in dataset
    assert "PredecessorDocumentsSequence" not in dataset
    for item in dataset.SegmentSequence:
        if item.SegmentNumber:
            assert item.SegmentedPropertyTypeCodeSequence[0].CodeValue == "85756007"
            told = f"{item.SegmentLabel!r} has no terminology" in caplog.text
            assert told == (item.SegmentLabel == "Liver")
    # All is found again from the frames alone: the whole grid, not only what has labels.
    image = loaded(path).GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap")
    assert image.GetDimensions() == SHAPE[::-1]
    assert dataset.SegmentsOverlap == ("NO" if shared or kind == "LABELMAP" else "UNDEFINED")


def test_terminology_and_colours(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = segmentation_node(scene, masks_of(2, NAMES))
    liver = node.GetSegmentation().GetSegment("id-1")
    liver.SetTag(
        "TerminologyEntry",
        "Any context~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left~Any~SCT^818981001^Abdomen"
        "~SCT^24028007^Right",
    )
    liver.SetColor(1.0, 1.0, 1.0)
    first = read(written(node, tmp_path)).SegmentSequence[0]
    assert first.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    kind = first.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodingSchemeDesignator, kind.CodeMeaning) == ("SCT", "Kidney")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    region = first.AnatomicRegionSequence[0]
    assert (region.CodeValue, region.AnatomicRegionModifierSequence[0].CodeValue) == ("818981001", "24028007")
    lightness, a, b = first.RecommendedDisplayCIELabValue
    assert lightness > 65500
    assert max(abs(a - 32896), abs(b - 32896)) < 200
    assert "'Liver' has no terminology" not in caplog.text


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_empty_segments(scene: Any, ct: Path, tmp_path: Path, kind: str) -> None:
    masks = {"Nothing": np.zeros(SHAPE, bool), **masks_of(3, ["Liver"]), "Nothing more": np.zeros(SHAPE, bool)}
    node = segmentation_node(scene, masks, shared=False)
    node.GetSegmentation().AddEmptySegment("new", "Just added")  # as the "Add" button does: without any image
    for source in (None, ct):
        path = written(node, tmp_path / str(source is None), segmentation_type=kind, source=source)
        expected = {**points_of_masks(masks), "Just added": np.empty((0, 3))}
        assert_same_points(points_of_file(path), expected)
        assert_same_points(points_of_node(loaded(path, source)), expected)


def test_all_empty(scene: Any, ct: Path, tmp_path: Path) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Empty")
    node.GetSegmentation().AddEmptySegment("one", "One")
    with pytest.raises(ExportError, match=r"'Empty' is empty and has no reference geometry.*source"):
        dicombridge.export(node, tmp_path / "out")
    assert_same_points(points_of_file(written(node, tmp_path / "a", source=ct)), {"One": np.empty((0, 3))})
    volume = volume_node(scene, np.zeros(SHAPE, np.int16))
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    path = written(node, tmp_path / "b")
    assert_same_points(points_of_file(path), {"One": np.empty((0, 3))})
    assert (read(path).Rows, read(path).Columns) == SHAPE[1:]
    node.SetNodeReferenceID(REFERENCE, None)  # the geometry is also in the segmentation itself
    assert read(written(node, tmp_path / "c")).Rows == SHAPE[1]
    none = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "None")
    with pytest.raises(ExportError, match="'None' has no segments"):
        dicombridge.export(none, tmp_path / "out")


def test_many_segments(scene: Any, tmp_path: Path) -> None:
    names = [f"S{number}" for number in range(300)]
    masks = masks_of(4, names, (3, 40, 40))
    node = segmentation_node(scene, masks)
    path = written(node, tmp_path, segmentation_type="LABELMAP")
    assert read(path).BitsAllocated == 16
    assert_same_points(points_of_file(path), points_of_masks(masks))
    binary = read(written(node, tmp_path, segmentation_type="BINARY"))
    assert [item.SegmentNumber for item in binary.SegmentSequence] == list(range(1, 301))


# --- on source images ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["volume and database", "volume", "series", "folder", "files"])
def test_sources(scene: Any, ct: Path, tmp_path: Path, how: str) -> None:
    """However the images are known, every frame names its image, and patient and study are theirs."""
    masks = masks_of(5, NAMES)
    node = segmentation_node(scene, masks)
    database = dicombridge.open_folder(ct)
    options: dict[str, Any] = {}
    if how.startswith("volume"):
        node.SetReferenceImageGeometryParameterFromVolumeNode(load_ct(ct, scene))
    if how in ("volume and database", "series"):
        options["database"] = database
    if how in ("series", "folder", "files"):
        options["source"] = {"series": "1.2.3.40", "folder": ct, "files": sorted(ct.iterdir())}[how]
    path = written(node, tmp_path, **options)
    dataset = read(path)
    assert (dataset.PatientName, dataset.StudyInstanceUID) == ("DOE^JANE", "1.2.3")
    assert dataset.FrameOfReferenceUID == "1.2.3.9"
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "1.2.3.40"
    assert len(series.ReferencedInstanceSequence) == SHAPE[0]
    positions = {header.SOPInstanceUID: header.ImagePositionPatient for header in map(pydicom.dcmread, ct.iterdir())}
    for group in dataset.PerFrameFunctionalGroupsSequence:
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        assert group.PlanePositionSequence[0].ImagePositionPatient == positions[image.ReferencedSOPInstanceUID]
        assert image.SpatialLocationsPreserved == "YES"
        assert "ReferencedFrameNumber" not in image
    peers.assert_consistent(path, sorted(ct.iterdir()), tmp_path)
    assert_same_points(points_of_node(loaded(path, ct)), points_of_masks(masks))


@pytest.mark.parametrize("name", ["hyperfine_enhanced", "siemens_enhanced_anat", "philips_enhanced_anat"])
def test_multi_frame_source(scene: Any, data: Path, tmp_path: Path, name: str) -> None:
    image = data / "images" / "enhanced_mr" / f"{name}.dcm"
    (volume,) = dicombridge.load(image, scene=scene)
    header = read(image)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    from support.volumes import lps_of_volume

    affine = lps_of_volume(volume)
    shape = volume.GetImageData().GetDimensions()[::-1]
    masks = masks_of(6, ["A", "B"], shape)
    node = segmentation_node(scene, masks, affine)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for database in (None, dicombridge.open_folder(image)):
        path = written(node, tmp_path / str(database is None), database=database)
        dataset = read(path)
        assert_same_points(points_of_file(path), points_of_masks(masks, affine), 1e-4)
        for group in dataset.PerFrameFunctionalGroupsSequence:
            (source,) = group.DerivationImageSequence[0].SourceImageSequence
            assert source.ReferencedSOPInstanceUID == header.SOPInstanceUID
            frame = header.PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1]
            position = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
            ours = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
            assert np.abs(position - ours).max() < 0.01


def test_volume_without_dicom(scene: Any, tmp_path: Path) -> None:
    masks = masks_of(7, NAMES)
    node = segmentation_node(scene, masks)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node(scene, np.zeros(SHAPE, np.int16)))
    path = written(node, tmp_path)
    assert "ReferencedSeriesSequence" not in read(path)
    assert_same_points(points_of_file(path), points_of_masks(masks))


def test_cropped_reference_volume(scene: Any, ct: Path, tmp_path: Path) -> None:
    """A cropped volume remembers its series, but its slices are not those of the images: the database tells them."""
    masks = masks_of(8, NAMES)
    volume = load_ct(ct, scene)
    cropped = volume_node(scene, np.zeros((3, 6, 5), np.int16), AFFINE @ _shift(2, 3, 1), "Cropped")
    for attribute in ("DICOM.instanceUIDs", "DICOMBridge.Header"):
        cropped.SetAttribute(attribute, volume.GetAttribute(attribute))
    inside = {name: mask[1:4, 3:9, 2:7] for name, mask in masks.items()}
    node = segmentation_node(scene, inside, AFFINE @ _shift(2, 3, 1))
    node.SetReferenceImageGeometryParameterFromVolumeNode(cropped)
    expected = points_of_masks(inside, AFFINE @ _shift(2, 3, 1))
    alone = written(node, tmp_path / "alone")
    assert_same_points(points_of_file(alone), expected)
    assert read(alone).PatientName == "DOE^JANE"
    path = written(node, tmp_path / "database", database=dicombridge.open_folder(ct))
    assert_same_points(points_of_file(path), expected)
    assert (read(path).Rows, read(path).Columns) == SHAPE[1:]


def _shift(columns: float, rows: float, slices: float) -> np.ndarray[Any, Any]:
    matrix = np.eye(4)
    matrix[:3, 3] = columns, rows, slices
    return matrix


@pytest.mark.parametrize("grid", [None, "source", "own"])
def test_labels_beyond_the_images(scene: Any, ct: Path, tmp_path: Path, grid: str | None, caplog: Any) -> None:
    masks = masks_of(9, NAMES, (8, 12, 10))
    affine = AFFINE @ _shift(0, 0, -2)  # two slices below the images, one above
    node = segmentation_node(scene, masks, affine)
    path = written(node, tmp_path, source=ct, grid=grid)
    if grid == "source":
        expected = points_of_masks({name: mask[2:7] for name, mask in masks.items()})
        assert "outside of the grid of the source images were left out" in caplog.text
    else:
        expected = points_of_masks(masks, affine)
        assert ("beyond the images" in caplog.text) == (grid is None)
    assert_same_points(points_of_file(path), expected)
    assert_same_points(points_of_node(loaded(path, ct)), expected)
    with_image = [group for group in read(path).PerFrameFunctionalGroupsSequence if group.DerivationImageSequence]
    heights = {float(group.PlanePositionSequence[0].ImagePositionPatient[2]) for group in with_image}
    assert heights == {-33.0 + 2.5 * place for place in range(5)}


def test_finer_labels(scene: Any, ct: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An oversampled segmentation: on the images' voxels with a warning, or on its own without a loss."""
    coarse = np.zeros(SHAPE, bool)
    coarse[1:4, 3:9, 2:7] = True
    fine = coarse.repeat(2, axis=1).repeat(2, axis=2)
    half = AFFINE.copy()
    half[:3, 0] /= 2
    half[:3, 1] /= 2
    half[:3, 3] = (AFFINE @ [-0.25, -0.25, 0, 1])[:3]
    node = segmentation_node(scene, {"Box": fine}, half)
    own = written(node, tmp_path / "own", source=ct, grid="own")
    assert_same_points(points_of_file(own), points_of_masks({"Box": fine}, half))
    assert_same_points(points_of_node(loaded(own, ct)), points_of_masks({"Box": fine}, half))
    assert "resampled" not in caplog.text
    (image,) = read(own).PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0].SourceImageSequence
    assert "SpatialLocationsPreserved" not in image
    path = written(node, tmp_path / "source", source=ct)
    assert_same_points(points_of_file(path), points_of_masks({"Box": coarse}))
    assert "Labels were resampled" in caplog.text


# --- transforms and surfaces -----------------------------------------------------------------------------------------


def _turn(angle: float, offset: tuple[float, float, float]) -> np.ndarray[Any, Any]:
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.array([[c, -s, 0, offset[0]], [s, c, 0, offset[1]], [0, 0, 1, offset[2]], [0, 0, 0, 1]])


@pytest.mark.parametrize("matrix", [_turn(0, (5, -3, 2)), _turn(33, (1, 2, 3))], ids=["translation", "rotation"])
def test_linear_transform(scene: Any, tmp_path: Path, matrix: Any) -> None:
    masks = masks_of(10, NAMES)
    node = segmentation_node(scene, masks)
    under_transform(node, matrix)
    path = written(node, tmp_path)
    assert_same_points(points_of_file(path), moved(points_of_masks(masks), matrix))
    assert_same_points(points_of_node(loaded(path)), moved(points_of_masks(masks), matrix))
    assert_same_points(points_of_node(node), points_of_masks(masks))  # the node stays as it was


def test_transform_to_the_images(scene: Any, ct: Path, tmp_path: Path) -> None:
    """Moved by two slices against the images; moved together with the images is not moved at all."""
    masks = masks_of(11, NAMES)
    masks = {name: np.concatenate([mask[:3], np.zeros((2, 12, 10), bool)]) for name, mask in masks.items()}
    node = segmentation_node(scene, masks)
    volume = load_ct(ct, scene)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    transform = under_transform(node, _turn(0, (0, 0, 5.0)))
    path = written(node, tmp_path / "one", database=dicombridge.open_folder(ct))
    expected = {name: np.roll(mask, 2, axis=0) for name, mask in masks.items()}
    assert_same_points(points_of_file(path), points_of_masks(expected))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    together = written(node, tmp_path / "both", database=dicombridge.open_folder(ct))
    assert_same_points(points_of_file(together), points_of_masks(masks))


def test_shear_is_resampled(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rows and columns of DICOM are perpendicular."""
    box = np.zeros((5, 24, 20), bool)
    box[1:4, 6:18, 5:15] = True
    node = segmentation_node(scene, {"Box": box})
    shear = np.eye(4)
    shear[0, 1] = 0.5
    under_transform(node, shear)
    found = points_of_file(written(node, tmp_path))["Box"]
    truth = moved(points_of_masks({"Box": box}), shear)["Box"]
    assert len(found) == pytest.approx(len(truth), rel=0.1)
    assert np.abs(found.mean(axis=0) - truth.mean(axis=0)).max() < 0.3
    assert "resampled" in caplog.text


def test_bent_transform(scene: Any, tmp_path: Path) -> None:
    """A spline that moves one side by 4 mm and not the other."""
    import vtk

    box = np.zeros((5, 40, 40), bool)
    box[1:4, 8:32, 8:32] = True
    node = segmentation_node(scene, {"Box": box})
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    for x in (-60, 60):
        for y in (-80, 40):
            for z in (-60, 0):
                before.InsertNextPoint(x, y, z)
                after.InsertNextPoint(x, y + (4 if x > 0 else 0), z)
    spline.SetSourceLandmarks(before)
    spline.SetTargetLandmarks(after)
    under_transform(node, transform=spline)
    found = points_of_file(written(node, tmp_path))["Box"]
    truth = points_of_masks({"Box": box})["Box"].copy()
    ras = truth * [-1, -1, 1]
    bent = np.array([spline.TransformPoint(*point) for point in ras]) * [-1, -1, 1]
    assert np.abs(bent - truth).max() > 0.5
    assert len(found) == pytest.approx(len(truth), rel=0.1)
    assert np.abs(found.mean(axis=0) - bent.mean(axis=0)).max() < 0.3
    assert np.abs(found.min(axis=0) - bent.min(axis=0)).max() < 1.0


@pytest.mark.parametrize("how", ["model", "segment"])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_closed_surface(scene: Any, tmp_path: Path, how: str, offset: float) -> None:
    """A sphere of 10 mm on images of 1 mm; a transform may bring it there from far away."""
    import slicer
    import vtk

    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -16
    ct_series(tmp_path / "ct", [(-16, -16, -16 + place) for place in range(33)], shape=(33, 33), spacing=(1, 1))
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(10.0)
    sphere.SetCenter(-2.0 - offset, 1.0, 0.0)
    sphere.SetThetaResolution(60)
    sphere.SetPhiResolution(60)
    sphere.Update()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Surface")
    if how == "model":
        model = scene.AddNewNodeByClass("vtkMRMLModelNode", "Sphere")
        model.SetAndObservePolyData(sphere.GetOutput())
        assert slicer.vtkSlicerSegmentationsModuleLogic.ImportModelToSegmentationNode(model, node)
    node.GetSegmentation().SetSourceRepresentationName(SURFACE)
    if how == "segment":
        segment = slicer.vtkSegment()
        segment.SetName("Sphere")
        segment.AddRepresentation(SURFACE, sphere.GetOutput())
        node.GetSegmentation().AddSegment(segment)
    if offset:
        under_transform(node, _turn(0, (offset, 0, 0)))
    path = written(node, tmp_path, source=tmp_path / "ct")
    found = points_of_file(path)["Sphere"]
    assert len(found) == pytest.approx(4 / 3 * np.pi * 1000, rel=0.05)
    assert np.abs(found.mean(axis=0) - [2.0, -1.0, 0.0]).max() < 0.3
    assert (read(path).Rows, read(path).Columns) == (33, 33)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")
