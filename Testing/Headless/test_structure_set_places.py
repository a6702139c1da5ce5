"""Structure sets on images of any position, beyond their edges, and under transforms: in and out again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from support.rt_set_exports import SHAPE, disc, loaded, masks_of_node, study
from support.rt_structures import Drawing, Drawn, box, write_images, write_structure_set
from support.seg_exports import segmentation_node, under_transform

import dicombridge
from dicombridge.geometry import lps_ras_points

POSITIONS = {
    "prone": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "on the right side": (0.0, 1.0, 0.0, -1.0, 0.0, 0.0),
    "on the left side": (0.0, -1.0, 0.0, 1.0, 0.0, 0.0),
    "double oblique": (0.8, 0.6, 0.0, -0.48, 0.64, 0.6),
}


def there_and_back(images: Any, folder: Path, shape: tuple[int, int, int], **options: Any) -> None:
    """A rectangle on pixel centres is filled as the rule says; what is drawn around it encloses the same pixels."""
    contours = [Drawn(images.lps(box(place, 4, 5, 12, 20)), image=images.uids[place]) for place in (1, 2)]
    path = write_structure_set(folder / "rs.dcm", [Drawing("box", contours, observation={})], images)
    expected = np.zeros(shape, np.bool_)
    expected[1:3, 4:12, 5:20] = True
    with dicombridge.open_folder(images.folder) as database:
        nodes = dicombridge.load(path, database=database)
        assert np.array_equal(masks_of_node(nodes[0], images, shape)["box"], expected)
        (again,) = dicombridge.export(nodes, folder / "out", kind="RTSTRUCT", database=database, **options)
        read = dicombridge.load(again, database=database)
    assert faults(again) == []
    assert np.array_equal(masks_of_node(read[0], images, shape)["box"], expected)
    contours = pydicom.dcmread(again).ROIContourSequence[0].ContourSequence
    named = [str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID) for contour in contours]
    assert named == images.uids[1:3]
    normal = np.cross(images.affine[:3, 2], images.affine[:3, 1])
    for contour, place in zip(contours, (1, 2), strict=True):
        points = np.reshape([float(value) for value in contour.ContourData], (-1, 3))
        plane = images.affine[:3, 3] + place * images.affine[:3, 0]
        assert np.abs((points - plane) @ normal / np.linalg.norm(normal)).max() < 1e-3


@pytest.mark.parametrize("contours", ["smooth", "pixel"])
@pytest.mark.parametrize("orientation", POSITIONS.values(), ids=POSITIONS)
def test_patients_lie_as_they_lie(orientation: tuple[float, ...], contours: str, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", orientation=orientation, spacing=(0.75, 1.25), step=3.3)
    there_and_back(images, tmp_path, (5, 20, 24), contours=contours)


@pytest.mark.parametrize("contours", ["smooth", "pixel"])
def test_a_tilted_gantry(contours: str, tmp_path: Path) -> None:
    """Each slice is shifted against the one before; contours lie where its pixels lie, not where a box has them."""
    images = write_images(tmp_path / "images", spacing=(0.75, 1.25), step=3.3)
    for number, file in enumerate(sorted(images.folder.iterdir())):
        dataset = pydicom.dcmread(file)
        dataset.ImagePositionPatient[1] += 1.1 * number
        dataset.save_as(file)
    images.affine[1, 0] = 1.1
    there_and_back(images, tmp_path, (5, 20, 24), contours=contours)


# --- Transforms ----------------------------------------------------------------------------------------------------


def bending(scene: Any) -> Any:
    """A transform node, RAS to RAS: 3 mm to the right, and further where y is far from 0."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonTransforms import vtkThinPlateSplineTransform

    before, after = vtkPoints(), vtkPoints()
    for place in np.ndindex(3, 3, 3):
        x, y, z = (100.0 * (np.array(place) - 1)).tolist()
        before.InsertNextPoint(x, y, z)
        after.InsertNextPoint(x + 3.0 + 2e-4 * y * y, y, z)
    spline = vtkThinPlateSplineTransform()
    spline.SetSourceLandmarks(before)
    spline.SetTargetLandmarks(after)
    spline.SetBasisToR()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "bending")
    node.SetAndObserveTransformToParent(spline)
    return node


def moved_middle(one: Any, transform: Any) -> np.ndarray:
    """Where a transform puts the middle of the disc, LPS mm."""
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    general = vtkGeneralTransform()
    transform.GetTransformToWorld(general)
    middle = one.images.lps(np.argwhere(one.masks["Disc"])).mean(axis=0)
    (ras,) = lps_ras_points([middle])
    return np.asarray(lps_ras_points([general.TransformPoint(*ras.tolist())])[0])


@pytest.mark.parametrize("surface", [False, True], ids=["labels", "closed surface"])
def test_a_bending_transform_is_applied(surface: bool, tmp_path: Path) -> None:
    one = study(tmp_path, {"Disc": np.repeat(disc(9.4)[None], 6, axis=0)})
    if surface:
        one.node.CreateClosedSurfaceRepresentation()
        one.node.GetSegmentation().SetSourceRepresentationName("Closed surface")
        one.node.GetSegmentation().RemoveRepresentation("Binary labelmap")
    transform = bending(one.scene)
    one.node.SetAndObserveTransformNodeID(transform.GetID())
    path = one.export(tmp_path / "out", grid="source")
    assert faults(path) == []
    mask = masks_of_node(loaded(path, one)[0], one.images)["Disc"]
    expected = moved_middle(one, transform)
    assert np.linalg.norm(expected - one.images.lps(np.argwhere(one.masks["Disc"])).mean(axis=0)) > 3
    inner = mask[1:5]  # a surface ends within its outermost slices
    found = one.images.lps(np.add(np.argwhere(inner), (1, 0, 0))).mean(axis=0)
    assert np.abs(found - expected).max() < 0.4
    assert inner.sum() == pytest.approx(one.masks["Disc"][1:5].sum(), rel=0.06)


def test_images_and_segments_under_one_transform_stay_together(tmp_path: Path) -> None:
    """Contours are in the coordinates of the images, wherever both were moved in the scene."""
    one = study(tmp_path, {"Disc": np.repeat(disc(9.4)[None], 6, axis=0)})
    shift = np.eye(4)
    shift[:3, 3] = (7.0, -3.0, 11.0)
    under_transform(one.node, shift)
    volume = one.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    volume.SetAndObserveTransformNodeID(one.node.GetTransformNodeID())
    mask = masks_of_node(loaded(one.export(tmp_path / "out"), one)[0], one.images)["Disc"]
    assert np.array_equal(mask, one.masks["Disc"])


# --- Beyond the images ---------------------------------------------------------------------------------------------


def test_segments_that_reach_beyond_the_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By default nothing is lost, and contours beyond name no image; in the images' own slices it is cut, and told."""
    one = study(tmp_path, {"unused": np.zeros(SHAPE, bool)})
    reaching = np.zeros((10, 60, 60), bool)
    reaching[1:9, 5:40, 5:40] = True
    affine = one.images.affine[:, [2, 1, 0, 3]].copy()
    affine[:3, 3] -= affine[:3, :3] @ (10, 10, 2)  # columns, rows, slices
    node = segmentation_node(one.scene, {"Reaching": reaching}, affine, name="Reaching")
    node.SetReferenceImageGeometryParameterFromVolumeNode(one.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"))
    found = {}
    with caplog.at_level(logging.WARNING):
        for grid in ("own", "source"):
            path = one.export(tmp_path / grid, node, **({"grid": grid} if grid == "source" else {}))
            assert faults(path) == []
            contours = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence
            found[grid] = [str(item.ContourImageSequence[0].ReferencedSOPInstanceUID)
                           if "ContourImageSequence" in item else "" for item in contours]  # fmt: skip
            low = min(float(value) for item in contours for value in item.ContourData[0::3])
            edge = one.images.affine[0, 3] - (5.5 if grid == "own" else 0.5) * 0.75
            assert low == pytest.approx(edge, abs=0.5 * 0.75)
    assert found["source"] == one.images.uids
    assert found["own"] == ["", *one.images.uids, ""]
    assert "name no image" in caplog.text
    assert "outside of the grid of the source images were left out" in caplog.text
