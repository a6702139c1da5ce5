"""Parametric maps of slides, in tiles: in and out, equal to highdicom."""

from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from support.pm_objects import mapping_item
from support.tiled_masks import errors_of
from support.tiled_objects import ORIGIN, TURNED, UPRIGHT, affine_of, map_by_hand, slide, write
from support.volumes import array_of_image, elements_of

import dicombridge
from dicombridge.errors import ExportError, GeometryError, UnreadableError, UnsupportedError
from dicombridge.segmentation import tiles

TYPES = ["float32", "float64", "uint16"]
ORGANIZATIONS = ["TILED_FULL", "TILED_SPARSE"]


def values(dtype: str, planes: int = 1, shape: tuple[int, int] = (50, 70)) -> NDArray[Any]:
    found = np.arange(planes * shape[0] * shape[1]).reshape(planes, *shape)
    return (found * (0.37 if dtype.startswith("float") else 1)).astype(dtype)


def mapping_of(dtype: str) -> Dataset:
    """A mapping of all stored values: a slope for integers, the identity for others."""
    if dtype == "uint16":
        return mapping_item(0.5, 10.0, values=(0, 65535))
    mapping = mapping_item()
    mapping.DoubleFloatRealWorldValueFirstValueMapped, mapping.DoubleFloatRealWorldValueLastValueMapped = -1e9, 1e9
    return mapping


def voxels(node: Any) -> NDArray[Any]:
    return array_of_image(node.GetImageData())


def lps_of(node: Any) -> NDArray[np.float64]:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ elements_of(matrix)


def total_matrix(path: Path, **part: int) -> NDArray[Any]:
    """(rows, columns) of real world values as highdicom reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        # Floating point pixels have no such attribute; highdicom writes it, and reads none without.
        dataset.PixelRepresentation = 0
        image = hd.Image.from_dataset(dataset)
        _ = image.pixel_array  # highdicom decodes single frames of Pixel Data only
        found = image.get_total_pixel_matrix(apply_real_world_transform=True, dtype=np.float64, **part)
    return np.asarray(found)


@pytest.mark.parametrize("orientation", [UPRIGHT, TURNED])
@pytest.mark.parametrize("organization", ORGANIZATIONS)
@pytest.mark.parametrize("dtype", TYPES)
def test_equal_to_what_was_written(
    tmp_path: Path, scene: Any, dtype: str, organization: str, orientation: tuple[float, ...]
) -> None:
    mapping = mapping_of(dtype)
    stored = values(dtype)
    dataset = map_by_hand(stored, organization=organization, orientation=orientation, mapping=mapping)
    path = write(dataset, tmp_path, "map.dcm")
    (node,) = dicombridge.load(path, scene=scene)
    expected = stored * 0.5 + 10 if dtype == "uint16" else stored
    np.testing.assert_array_equal(voxels(node), expected)
    np.testing.assert_allclose(lps_of(node)[:3, [0, 1, 3]], affine_of(dataset), rtol=0, atol=1e-12)
    if organization == "TILED_SPARSE":  # highdicom 0.27 reads TILED_FULL of slides and segmentations only
        np.testing.assert_allclose(total_matrix(path), expected[0], rtol=1e-12)


def test_tiles_that_are_missing_have_no_value(tmp_path: Path, scene: Any) -> None:
    stored = values("uint16")
    dataset = map_by_hand(
        stored, keep=lambda row, column: (row, column) != (16, 24), mapping=mapping_item(values=(0, 65535))
    )
    (node,) = dicombridge.load(write(dataset, tmp_path, "map.dcm"), scene=scene)
    found = voxels(node)
    assert np.isnan(found[0, 16:32, 24:48]).all()
    assert np.isnan(found).sum() == 16 * 24
    np.testing.assert_array_equal(np.nan_to_num(found[0, :16]), stored[0, :16])


@pytest.mark.parametrize("organization", ORGANIZATIONS)
def test_focal_planes_are_slices(tmp_path: Path, scene: Any, organization: str) -> None:
    stored = values("float32", 3)
    dataset = map_by_hand(stored, organization=organization, orientation=UPRIGHT, heights_um=(0.0, 1.5, 3.0))
    (node,) = dicombridge.load(write(dataset, tmp_path, "map.dcm"), scene=scene)
    np.testing.assert_array_equal(voxels(node), stored)
    np.testing.assert_allclose(lps_of(node)[:3, 2], [0, 0, 0.0015], atol=1e-12)


def test_a_region(tmp_path: Path, scene: Any) -> None:
    stored = values("float64")
    path = write(map_by_hand(stored, orientation=UPRIGHT), tmp_path, "map.dcm")
    x, y = ORIGIN[0] + 9.5 * 0.00025, ORIGIN[1] + 14.5 * 0.0005
    (node,) = dicombridge.load(path, scene=scene, region=(x, y, 30 * 0.00025, 20 * 0.0005))
    np.testing.assert_array_equal(voxels(node), stored[:, 15:35, 10:40])
    with pytest.raises(GeometryError, match="beside the slide"):
        dicombridge.load(path, scene=scene, region=(0, 0, 1, 1))


def test_planes_of_unknown_distance(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    dataset = map_by_hand(
        values("float32", 3), organization="TILED_FULL", orientation=UPRIGHT, heights_um=(0.0, 1.5, 3.0)
    )
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    (node,) = dicombridge.load(write(dataset, tmp_path, "map.dcm"), scene=scene)
    np.testing.assert_allclose(lps_of(node)[:3, 2], [0, 0, 0.001], atol=1e-12)
    assert "distance of its focal planes is not known; 1 um was taken" in caplog.text


def test_a_region_without_tiles(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    dataset = map_by_hand(values("float32"), orientation=UPRIGHT, keep=lambda row, column: row > 0)
    path = write(dataset, tmp_path, "map.dcm")
    (node,) = dicombridge.load(path, scene=scene, region=(*ORIGIN, 0.001, 0.001))
    assert voxels(node).shape == (1, 3, 5)
    assert np.isnan(voxels(node)).all()
    np.testing.assert_allclose(lps_of(node)[:3, 3], [*ORIGIN, 0.0], atol=1e-12)
    assert "No tile of it lies in the region" in caplog.text


def test_few_tiles_of_many_gigapixels(tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = values("float32")
    dataset = map_by_hand(stored, keep=lambda row, column: row == 16)
    dataset.TotalPixelMatrixRows = dataset.TotalPixelMatrixColumns = 2_000_000
    path = write(dataset, tmp_path, "map.dcm")
    (node,) = dicombridge.load(path, scene=scene)
    np.testing.assert_array_equal(voxels(node)[:, :, :70], stored[:, 16:32])
    np.testing.assert_allclose(lps_of(node)[:3, 3], affine_of(dataset) @ [0, 16, 1], atol=1e-12)
    monkeypatch.setattr(tiles, "MOST_PIXELS", 100)
    with pytest.raises(UnsupportedError, match="region="):
        dicombridge.load(path, scene=scene)


def _without_places(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence


def _far_away(dataset: Dataset) -> None:
    position = dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence[0]
    position.RowPositionInTotalImagePixelMatrix = 2_000_000


def _no_origin(dataset: Dataset) -> None:
    del dataset.TotalPixelMatrixOriginSequence


def _full_of_another_size(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.DimensionOrganizationType, dataset.TotalPixelMatrixRows = "TILED_FULL", 2**32 - 1


def _more_frames_than_there_are(dataset: Dataset) -> None:
    dataset.NumberOfFrames = 2**31 - 1


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_without_places, UnreadableError, "do not say where"),
        (_far_away, UnreadableError, "frame 4 lies outside of the total pixel matrix"),
        (_no_origin, GeometryError, "origin on the slide"),
        (_full_of_another_size, UnreadableError, "tiles"),
        (_more_frames_than_there_are, UnreadableError, "frames"),
    ],
)
def test_damage_is_told(tmp_path: Path, scene: Any, damage: Any, error: type[Exception], message: str) -> None:
    """In bounded memory, and the scene stays as it was."""
    dataset = map_by_hand(values("float32"))
    damage(dataset)
    path = write(dataset, tmp_path, "map.dcm")
    nodes_before = scene.GetNumberOfNodes()
    tracemalloc.start()
    try:
        with pytest.raises(error, match=message):
            dicombridge.load(path, scene=scene)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert scene.GetNumberOfNodes() == nodes_before


def test_examine_offers_them(tmp_path: Path) -> None:
    write(map_by_hand(values("float32")), tmp_path, "map.dcm")
    with dicombridge.open_folder(tmp_path, index=":memory:") as database:
        (loadable,) = dicombridge.examine(database)
    assert (loadable.kind, loadable.warning, loadable.confidence, loadable.selected) == ("PM", "", 0.97, True)


# --- Out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [UPRIGHT, TURNED])
@pytest.mark.parametrize("organization", ORGANIZATIONS)
@pytest.mark.parametrize("dtype", TYPES)
def test_written_again(
    tmp_path: Path, scene: Any, dtype: str, organization: str, orientation: tuple[float, ...]
) -> None:
    mapping = mapping_of(dtype)
    dataset = map_by_hand(values(dtype), organization=organization, orientation=orientation, mapping=mapping)
    path = write(dataset, tmp_path, "map.dcm")
    (node,) = dicombridge.load(path, scene=scene)
    (again,) = dicombridge.export(node, tmp_path / "out", kind="PM")
    assert errors_of(again) == []
    after = pydicom.dcmread(again)
    assert after.DimensionOrganizationType == "TILED_SPARSE"
    assert after.NumberOfFrames == 12
    np.testing.assert_allclose(total_matrix(again), voxels(node)[0], rtol=1e-6)
    (twice,) = dicombridge.load(again, scene=scene)
    np.testing.assert_array_equal(voxels(twice), voxels(node))
    np.testing.assert_allclose(lps_of(twice), lps_of(node), atol=1e-12)


def test_missing_tiles_stay_missing(tmp_path: Path, scene: Any) -> None:
    dataset = map_by_hand(values("float32"), keep=lambda row, column: (row, column) != (16, 24))
    (node,) = dicombridge.load(write(dataset, tmp_path, "map.dcm"), scene=scene)
    (again,) = dicombridge.export(node, tmp_path / "out", kind="PM")
    after = pydicom.dcmread(again)
    assert after.NumberOfFrames == 11
    (twice,) = dicombridge.load(again, scene=scene)
    np.testing.assert_array_equal(voxels(twice), voxels(node))


def test_several_maps_and_planes(tmp_path: Path, scene: Any) -> None:
    dataset = map_by_hand(values("float32", 2), heights_um=(0.0, 2.0))
    (first,) = dicombridge.load(write(dataset, tmp_path, "map.dcm"), scene=scene)
    second = map_by_hand(values("float32", 2) * 2, heights_um=(0.0, 2.0))
    (other,) = dicombridge.load(write(second, tmp_path, "other.dcm"), scene=scene)
    for node in (first, other):
        node.RemoveAttribute("DICOMBridge.Header")
    source = write(slide(), tmp_path / "slide", "slide.dcm")
    (out,) = dicombridge.export([first, other], tmp_path / "out", kind="PM", source=source)
    assert errors_of(out) == []
    nodes = dicombridge.load(out, scene=scene)
    assert len(nodes) == 2
    for found, expected in zip(nodes, (first, other), strict=True):
        np.testing.assert_array_equal(voxels(found), voxels(expected))


def volume_on(scene: Any, matrix: NDArray[np.float64], array: NDArray[Any]) -> Any:
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "computed")
    to_ras = vtk.vtkMatrix4x4()
    to_ras.DeepCopy((np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix).ravel().tolist())
    node.SetIJKToRASMatrix(to_ras)
    node.SetAndObserveImageData(image)
    return node


@pytest.mark.parametrize("pixel_type", TYPES)
def test_a_volume_on_a_part_of_a_level(tmp_path: Path, scene: Any, pixel_type: str, caplog: Any) -> None:
    source = slide()
    path = write(source, tmp_path / "slide", "slide.dcm")
    affine = affine_of(source)
    matrix = np.eye(4)
    matrix[:3, :2], matrix[:3, 3], matrix[2, 2] = affine[:, :2], affine @ [21, 11, 1], -1
    array = values("float32", shape=(20, 30))
    node = volume_on(scene, matrix, array)
    (out,) = dicombridge.export(node, tmp_path / "out", kind="PM", source=path, pixel_type=pixel_type)
    assert errors_of(out) == []
    after = pydicom.dcmread(out)
    assert (after.NumberOfFrames, after.Rows, after.TotalPixelMatrixColumns) == (6, 16, 70)
    found = total_matrix(out, row_start=12, row_end=32, column_start=22, column_end=52)
    step = 0.5 * (array.max() - array.min()) / 65535 if pixel_type == "uint16" else 0
    np.testing.assert_allclose(found, array[0], rtol=1e-6, atol=step)
    assert ("beyond the volume" in caplog.text) == (pixel_type == "uint16")
    image = after.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert (image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber) == (source.SOPInstanceUID, 1)


def test_a_volume_between_pixels_is_refused(tmp_path: Path, scene: Any) -> None:
    source = slide()
    path = write(source, tmp_path / "slide", "slide.dcm")
    affine = affine_of(source)
    matrix = np.eye(4)
    matrix[:3, :2], matrix[:3, 3], matrix[2, 2] = affine[:, :2], affine @ [21.5, 11, 1], -1
    node = volume_on(scene, matrix, values("float32", shape=(20, 30)))
    with pytest.raises(ExportError, match=r"0\.5 pixels beside the slide's"):
        dicombridge.export(node, tmp_path / "out", kind="PM", source=path)
