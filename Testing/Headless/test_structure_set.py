"""Structure sets as nodes: what each region becomes, and where its voxels lie."""

from __future__ import annotations

import gzip
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from support.items import code
from support.rt_structures import Drawing, Drawn, Images, box, circle, write_images, write_structure_set
from support.scenes import saved_and_read
from support.seg_nodes import image_of, lps_of_ijk, mask_of, names, points_of_mask, segment_ids, segment_named, tag

import dicombridge
from dicombridge.structure_set.kept import is_unedited, kept_contours
from dicombridge.structure_set.nodes import CONTOURS_ROLE, PLANAR_CONTOUR, datasets_of_text

REAL = (
    "pet/sts_001_ge/rtstruct_pet.dcm",
    "rt/eclipse_breast/rtss.dcm",
    "rt/innereye/rtstruct_mod.dcm",
    "rt/pinnacle/RTSTRUCT.dcm",
    "rt/pydicom/rtstruct.dcm",
    "rt/raystation_proton/rtstruct.dcm",
    "rt/rt_utils/invalid_reference_rt.dcm",
    "rt/rt_utils/rt.dcm",
    "rt/sts_002_mim/ct/rtstruct.dcm",
    "rt/sts_002_mim/mr_t1/rtstruct.dcm",
    "rt/sts_002_mim/pet/rtstruct.dcm",
)


def loaded(path: Path, scene: Any, folder: Path | None = None, **options: Any) -> list[Any]:
    database = dicombridge.open_folder(folder or path.parent)
    try:
        series = database.seriesForFile(str(path))
        (loadable,) = [one for one in dicombridge.examine(database, [series]) if one.files == [str(path)]]
        return dicombridge.load(loadable, scene=scene, database=database, **options)
    finally:
        database.close()


def voxels(node: Any, name: str) -> np.ndarray:
    segment = segment_named(node, name)
    points = points_of_mask(mask_of(segment), lps_of_ijk(image_of(segment)))
    return points[np.lexsort(np.round(points, 3).T)]


def voxels_of_images(images: Images, mask: np.ndarray) -> np.ndarray:
    points = images.lps(np.argwhere(mask))
    return points[np.lexsort(np.round(points, 3).T)]


def read(path: Path) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)


# --- Real files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REAL)
def test_every_region_is_there(data: Path, scene: Any, name: str) -> None:
    """Each has a segment of its name, number and colour; the contours are kept to the byte and the point."""
    path = data / name
    node = loaded(path, scene)[0]
    dataset, content = read(path), path.read_bytes()
    assert names(node) == [str(item.ROIName) for item in dataset.StructureSetROISequence]
    kept = kept_contours(node)
    for item in dataset.ROIContourSequence:
        of_roi = kept[int(item.ReferencedROINumber)]
        assert of_roi.item_bytes in content
        original = list(item.get("ContourSequence") or [])
        assert [kind for kind, _ in of_roi.contours] == [one.ContourGeometricType for one in original]
        for (_, points), one in zip(of_roi.contours, original, strict=True):
            assert points.ravel().tolist() == [float(value) for value in one.ContourData]
    for segment_id, item in zip(segment_ids(node), dataset.StructureSetROISequence, strict=True):
        segment = node.GetSegmentation().GetSegment(segment_id)
        assert tag(segment, "DicomRtImport.RoiNumber") == str(item.ROINumber)
        of_item = [one for one in dataset.ROIContourSequence if one.ReferencedROINumber == item.ROINumber]
        colours = [one.ROIDisplayColor for one in of_item if "ROIDisplayColor" in one]
        if colours:
            assert [round(255 * part) for part in segment.GetColor()] == [int(value) for value in colours[0]]
        assert is_unedited(node, segment_id)


@pytest.mark.parametrize("name", REAL[::3])
def test_all_survives_a_scene_file(data: Path, scene: Any, tmp_path: Path, name: str) -> None:
    node = loaded(data / name, scene)[0]
    read_again = saved_and_read(scene, tmp_path)
    again = read_again.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    assert again.GetNodeReference(CONTOURS_ROLE) is not None
    before, after = kept_contours(node), kept_contours(again)
    assert {number: one.items for number, one in before.items()} == {number: one.items for number, one in after.items()}
    assert all(is_unedited(again, one) for one in segment_ids(again))


@pytest.mark.parametrize(("name", "folder"), [("CT", "ct"), ("MR_T1", "mr_t1"), ("PET", "pet")])
def test_the_published_masks(data: Path, scene: Any, name: str, folder: str) -> None:
    """The masks that the IBSI published with its data, of the same contours."""
    node = loaded(data / "rt/sts_002_mim" / folder / "rtstruct.dcm", scene)[0]
    (truth,) = (data / "rt/sts_002_mim" / folder / "truth").iterdir()
    content = gzip.decompress(truth.read_bytes())
    columns, rows, slices = np.frombuffer(content, "<i2", 3, 42).tolist()
    dtype = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 512: "<u2"}[
        int(np.frombuffer(content, "<i2", 1, 70)[0])
    ]
    begin = int(np.frombuffer(content, "<f4", 1, 108)[0])
    expected = np.frombuffer(content, dtype, slices * rows * columns, begin).reshape(slices, rows, columns) != 0
    mask = mask_of(segment_named(node, f"GTV_Mass_{name}"))
    best = max(dice(mask, expected[:, ::up, ::left]) for up in (1, -1) for left in (1, -1))
    assert best >= 0.97  # another fill rule: see test_structure_set_peers for those that can be asked


def dice(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return 0.0
    return 2.0 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


# --- Descriptions --------------------------------------------------------------------------------------------------


def test_descriptions(tmp_path: Path, scene: Any) -> None:
    images = write_images(tmp_path / "ct")
    density = Dataset()
    density.ROIPhysicalProperty, density.ROIPhysicalPropertyValue = "REL_ELEC_DENSITY", "1.05"
    region = Drawing(
        "Liver | left & right",
        [Drawn(images.lps(circle(1, 10, 11, 5)))],
        number=17,
        colour=(10, 200, 30),
        structure={"ROIDescription": "drawn; twice", "ROIVolume": "12.5", "ROIGenerationAlgorithm": "SEMIAUTOMATIC"},
        observation={
            "RTROIInterpretedType": "ORGAN",
            "ROIObservationLabel": "liver",
            "ROIInterpreter": "Doe^John",
            "ROIPhysicalPropertiesSequence": [density],
            "RTROIIdentificationCodeSequence": [code("10200004", "SCT", "Liver")],
        },
    )
    path = write_structure_set(tmp_path / "rs.dcm", [region], images)
    for one in (scene, saved_and_read_with(path, scene, tmp_path)):
        node = one.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        segment = segment_named(node, "Liver | left & right")
        assert tag(segment, "DicomRtImport.RoiNumber") == "17"
        assert tag(segment, "DICOMBridge.RTROIInterpretedType") == "ORGAN"
        assert tag(segment, "DICOMBridge.ROIObservationLabel") == "liver"
        assert tag(segment, "DICOMBridge.ROIInterpreter") == "Doe^John"
        assert tag(segment, "DICOMBridge.ROIGenerationAlgorithm") == "SEMIAUTOMATIC"
        assert tag(segment, "DICOMBridge.ROIDescription") == "drawn; twice"
        assert tag(segment, "DICOMBridge.ROIVolume") == "12.5"
        assert (
            tag(segment, "DICOMBridge.ROIPhysicalProperties") == '[{"property": "REL_ELEC_DENSITY", "value": "1.05"}]'
        )
        assert tag(segment, "TerminologyEntry").split("~")[1:3] == [
            "SCT^123037004^Anatomical Structure",
            "SCT^10200004^Liver",
        ]
        (item,) = datasets_of_text(tag(segment, "DICOMBridge.StructureSetROI"))
        assert (item.ROIName, item.ROIVolume) == ("Liver | left & right", 12.5)
        (observation,) = datasets_of_text(tag(segment, "DICOMBridge.RTROIObservations"))
        assert observation.ROIPhysicalPropertiesSequence[0].ROIPhysicalPropertyValue == 1.05


def saved_and_read_with(path: Path, scene: Any, folder: Path) -> Any:
    loaded(path, scene)
    (folder / "saved").mkdir()
    return saved_and_read(scene, folder / "saved")


def test_regions_without_contours_colour_item_or_description(tmp_path: Path, scene: Any) -> None:
    images = write_images(tmp_path / "ct")
    drawn = [Drawn(images.lps(circle(1, 10, 11, 5)))]
    regions = [
        Drawing("empty", [], colour=(1, 2, 3)),
        Drawing("no item", [], has_item=False),
        Drawing("no colour", drawn),
        Drawing("no colour either", drawn),
    ]
    node = loaded(write_structure_set(tmp_path / "rs.dcm", regions, images), scene)[0]
    assert names(node) == ["empty", "no item", "no colour", "no colour either"]
    assert not mask_of(segment_named(node, "empty")).any()
    assert not mask_of(segment_named(node, "no item")).any()
    assert segment_named(node, "no colour").GetColor() != segment_named(node, "no colour either").GetColor()


# --- Geometry ------------------------------------------------------------------------------------------------------


ORIENTATIONS = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "feet first": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": (0.8, 0.6, 0.0, -0.48, 0.64, 0.6),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_the_grid_of_the_images(tmp_path: Path, scene: Any, orientation: tuple[float, ...]) -> None:
    """A rectangle with its corners on pixel centres, on images in any orientation: the rule holds to the pixel."""
    images = write_images(tmp_path / "mr", orientation=orientation, spacing=(0.75, 1.25), step=3.3, modality="MR")
    region = Drawing("box", [Drawn(images.lps(box(place, 4, 5, 12, 20)), image=images.uids[place]) for place in (1, 2)])
    node = loaded(write_structure_set(tmp_path / "rs.dcm", [region], images), scene)[0]
    expected = np.zeros((5, 20, 24), np.bool_)
    expected[1:3, 4:12, 5:20] = True
    assert image_of(segment_named(node, "box")).GetDimensions() == (24, 20, 5)
    np.testing.assert_allclose(voxels(node, "box"), voxels_of_images(images, expected), atol=1e-4)


def test_without_images_a_grid_of_its_own(tmp_path: Path, scene: Any) -> None:
    images = write_images(tmp_path / "ct")
    region = Drawing("circle", [Drawn(images.lps(circle(place, 10, 11, 6, 200))) for place in range(4)])
    path = write_structure_set(tmp_path / "alone" / "rs.dcm", [region], images)
    node = loaded(path, scene)[0]
    found = voxels(node, "circle")
    spacing = image_of(segment_named(node, "circle")).GetSpacing()
    assert spacing == pytest.approx((0.25, 0.25, 2.0))
    assert len(found) * math.prod(spacing) == pytest.approx(4 * 2 * math.pi * 36, rel=0.02)
    assert sorted(set(found[:, 2])) == pytest.approx([30, 32, 34, 36])
    node = loaded(path, scene, pixel_size_mm=0.5)[0]
    assert image_of(segment_named(node, "circle")).GetSpacing() == pytest.approx((0.5, 0.5, 2.0))


def test_one_plane_only(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    region = Drawing("flat", [Drawn(circle(5, 10, 11, 6)[:, ::-1])])
    with caplog.at_level(logging.WARNING):
        node = loaded(write_structure_set(tmp_path / "rs.dcm", [region]), scene)[0]
    assert set(voxels(node, "flat")[:, 2]) == {5.0}
    assert "one plane only" in caplog.text


def test_contour_offset_vector(tmp_path: Path, scene: Any) -> None:
    images = write_images(tmp_path / "ct")
    offset = images.affine[:3, 0] + 3 * images.affine[:3, 2]  # a slice up, three columns on
    region = Drawing("moved", [Drawn(images.lps(box(1, 4, 5, 8, 9)), offset=offset.tolist())])
    node = loaded(write_structure_set(tmp_path / "rs.dcm", [region], images), scene)[0]
    expected = np.zeros((5, 20, 24), np.bool_)
    expected[2, 4:8, 8:12] = True
    np.testing.assert_allclose(voxels(node, "moved"), voxels_of_images(images, expected), atol=1e-4)


def test_contours_on_every_second_slice_are_told(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is invented between them, and a person has to know that volumes are half of what they look like."""
    images = write_images(tmp_path / "ct", (9, 20, 24))
    regions = [
        Drawing(name, [Drawn(images.lps(circle(place, 10, 11, 6))) for place in range(0, 9, step)])
        for name, step in (("coarse", 2), ("coarser", 3), ("fine", 1))
    ]
    with caplog.at_level(logging.WARNING):
        node = loaded(write_structure_set(tmp_path / "rs.dcm", regions, images), scene)[0]
    assert "2 regions (coarse, coarser) have contours on every second slice at most" in caplog.text
    assert mask_of(segment_named(node, "coarse")).any(axis=(1, 2)).tolist() == [True, False] * 4 + [True]


def test_contours_beyond_the_images_are_not_cut_off(
    tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture
) -> None:
    images = write_images(tmp_path / "ct")
    region = Drawing("couch", [Drawn(images.lps(box(place, 15, -3, 28, 30))) for place in (-1, 0, 1)])
    with caplog.at_level(logging.WARNING):
        node = loaded(write_structure_set(tmp_path / "rs.dcm", [region], images), scene)[0]
    assert len(voxels(node, "couch")) == 3 * 13 * 33
    assert "beyond the images" in caplog.text
    assert is_unedited(node, segment_ids(node)[0])


def test_contours_across_the_images_get_a_grid_of_their_own(
    tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture
) -> None:
    images = write_images(tmp_path / "ct", (20, 20, 24), step=1.0)
    upright = [circle(column, 10, 10, 6)[:, [1, 2, 0]] for column in (8, 9, 10)]
    regions = [
        Drawing("axial", [Drawn(images.lps(circle(3, 10, 10, 5)))]),
        Drawing("sagittal", [Drawn(images.lps(points)) for points in upright]),
    ]
    with caplog.at_level(logging.WARNING):
        nodes = loaded(write_structure_set(tmp_path / "rs.dcm", regions, images), scene)
    segmentations = [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]
    assert [names(node) for node in segmentations] == [["axial"], ["sagittal"]]
    assert "a grid of their own: sagittal" in caplog.text
    found = voxels(segmentations[1], "sagittal")
    assert sorted(set(np.round(found[:, 0], 3))) == pytest.approx([-2, -1, 0])  # the columns 8, 9, 10
    assert all(is_unedited(node, segment_ids(node)[0]) for node in segmentations)


def test_regions_on_several_series(tmp_path: Path, scene: Any) -> None:
    ct = write_images(tmp_path / "ct")
    mr = write_images(tmp_path / "mr", orientation=ORIENTATIONS["oblique"], modality="MR", study=ct.study)
    regions = [
        Drawing("on CT", [Drawn(ct.lps(circle(1, 10, 11, 5)), image=ct.uids[1])]),
        Drawing("on MR", [Drawn(mr.lps(circle(2, 10, 11, 5)), image=mr.uids[2])]),
    ]
    path = write_structure_set(tmp_path / "rs.dcm", regions, ct)
    nodes = [node for node in loaded(path, scene) if node.IsA("vtkMRMLSegmentationNode")]
    assert {tuple(names(node)) for node in nodes} == {("on CT",), ("on MR",)}
    for node in nodes:
        images, name, place = (ct, "on CT", 1) if names(node) == ["on CT"] else (mr, "on MR", 2)
        inside = np.linalg.inv(images.affine) @ np.vstack([voxels(node, name).T, np.ones(len(voxels(node, name)))])
        assert set(np.round(inside[0], 3)) == {place}


# --- Points and open contours --------------------------------------------------------------------------------------


def test_points_and_open_contours(tmp_path: Path, scene: Any) -> None:
    """A point is a point, an open line stays open; each region still has its segment."""
    images = write_images(tmp_path / "ct")
    path_points = images.lps([[1, 3, 3], [2, 5, 9], [3, 8, 12]])
    regions = [
        Drawing("isocentre", [Drawn(path_points[:1], "POINT"), Drawn(path_points[2:], "POINT")], colour=(255, 0, 0)),
        Drawing("wire", [Drawn(path_points, "OPEN_NONPLANAR"), Drawn(path_points[::-1], "OPEN_PLANAR")]),
    ]
    nodes = loaded(write_structure_set(tmp_path / "rs.dcm", regions, images), scene)
    assert names(nodes[0]) == ["isocentre", "wire"]
    assert not any(mask_of(segment_named(nodes[0], name)).any() for name in names(nodes[0]))
    (points,) = [node for node in nodes if node.IsA("vtkMRMLMarkupsFiducialNode")]
    curves = [node for node in nodes if node.IsA("vtkMRMLMarkupsCurveNode")]
    expected = path_points * (-1, -1, 1)
    np.testing.assert_allclose(positions(points), expected[[0, 2]])
    np.testing.assert_allclose(positions(curves[0]), expected)
    np.testing.assert_allclose(positions(curves[1]), expected[::-1])
    assert [node.GetAttribute("DICOMBridge.ContourGeometricType") for node in (points, *curves)] == [
        "POINT",
        "OPEN_NONPLANAR",
        "OPEN_PLANAR",
    ]
    assert points.GetDisplayNode().GetSelectedColor() == pytest.approx((1, 0, 0))
    assert all(node.GetAttribute("DICOMBridge.ROINumber") in "12" for node in (points, *curves))
    planar = segment_named(nodes[0], "wire").GetRepresentation(PLANAR_CONTOUR)
    assert [planar.GetCell(number).GetNumberOfPoints() for number in range(planar.GetNumberOfCells())] == [3, 3]


def positions(node: Any) -> np.ndarray:
    return np.array([node.GetNthControlPointPosition(number) for number in range(node.GetNumberOfControlPoints())])


# --- Edited or not -------------------------------------------------------------------------------------------------


def test_one_voxel_makes_the_difference(tmp_path: Path, scene: Any) -> None:
    images = write_images(tmp_path / "ct")
    regions = [Drawing(name, [Drawn(images.lps(circle(1, 10, 11, 5)))]) for name in ("one", "other", "hidden")]
    node = loaded(write_structure_set(tmp_path / "rs.dcm", regions, images), scene)[0]
    segment_named(node, "other").SetName("renamed")
    assert [is_unedited(node, one) for one in segment_ids(node)] == [True, True, True]
    segment = segment_named(node, "one")
    array = mask_of(segment)
    image_of(segment).SetScalarComponentFromDouble(0, 0, 0, 0, segment.GetLabelValue())
    assert mask_of(segment).sum() == array.sum() + 1
    assert [is_unedited(node, one) for one in segment_ids(node)] == [False, True, True]
    assert not is_unedited(node, "no such segment")
