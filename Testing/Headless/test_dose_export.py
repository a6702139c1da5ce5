"""Doses written: numbers, scaling, grid, what is said of them and what they refer to."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.items import read
from support.rt_doses import PLAN, dose, dose_at, export, exported, faults, loaded, some_doses, volume, voxels, written
from support.scenes import saved_and_read
from support.volumes import matrix_of

from dicombridge.errors import ExportError
from dicombridge.tolerance import quiet

# --- Numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [
    "rt/pydicom/rtdose.dcm", "rt/pydicom/rtdose_rle.dcm", "rt/topas_abdomen/rtdose.dcm", "rt/pinnacle/RTDOSE.dcm",
    "rt/raystation_proton/rtdose_plan.dcm", "rt/eclipse_breast/rtdose.dcm",
])  # fmt: skip
def test_unedited_doses_come_back_bit_for_bit(path: str, data: Path, tmp_path: Path) -> None:
    """The same scaling, to the letter, and the same stored numbers."""
    original = read(data / path)
    node = loaded(data / path)[0]
    again = exported(node, tmp_path)
    assert again["DoseGridScaling"].value.original_string == original["DoseGridScaling"].value.original_string
    np.testing.assert_array_equal(again.pixel_array, original.pixel_array)
    assert again.BitsAllocated == original.BitsAllocated
    for keyword in ("DoseUnits", "DoseType", "DoseSummationType", "TissueHeterogeneityCorrection", "DVHSequence"):
        assert again.get(keyword) == original.get(keyword), keyword
    with quiet():  # pydicom's own example has UIDs that break the rules
        assert again.ReferencedRTPlanSequence[0] == original.ReferencedRTPlanSequence[0]
    assert again.SOPInstanceUID != original.SOPInstanceUID
    assert again.SeriesInstanceUID != original.SeriesInstanceUID
    assert again.StudyInstanceUID == original.StudyInstanceUID
    assert again.PatientID == original.PatientID


def test_bit_for_bit_also_beyond_float32(tmp_path: Path) -> None:
    stored = np.random.default_rng(2).integers(0, 2**32, (5, 3, 4), dtype=np.uint32)
    (node,) = loaded(written(dose(stored, DoseGridScaling="1.7e-8"), tmp_path / "dose.dcm"))
    again = exported(node, tmp_path / "out")
    np.testing.assert_array_equal(again.pixel_array, stored)
    assert again.DoseGridScaling == 1.7e-8


def test_bit_for_bit_through_a_scene_file(data: Path, tmp_path: Path) -> None:
    node = loaded(data / "rt/topas_abdomen/rtdose.dcm")[0]
    scene = saved_and_read(node.GetScene(), tmp_path)
    again = exported(scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"), tmp_path / "out")
    original = read(data / "rt/topas_abdomen/rtdose.dcm")
    np.testing.assert_array_equal(again.pixel_array, original.pixel_array)
    assert again.DoseGridScaling == original.DoseGridScaling


@pytest.mark.parametrize(("bits", "steps"), [(16, 65535), (32, 4294967295), (None, 4294967295)])
def test_error_is_bounded_and_told(
    bits: int | None, steps: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, scene: Any
) -> None:
    """Half a step at most, and the log says how much it is."""
    caplog.set_level(logging.INFO)
    given = some_doses()
    ds = exported(volume(scene, given), tmp_path, bits=bits, **PLAN)
    assert ds.BitsAllocated == ds.BitsStored == ds.HighBit + 1 == (bits or 32)
    assert ds.PixelRepresentation == 0
    found = ds.pixel_array * float(ds.DoseGridScaling)
    error = float(np.abs(found - given.astype(np.float64)).max())
    assert error <= float(given.max()) / steps / 2 * (1 + 1e-9)
    assert ds.pixel_array.max() >= steps * (1 - 1e-9), "bits are wasted"
    assert f"differs by more than {error:.3g} Gy" in caplog.text


def test_32_bits_are_as_good_as_float32(tmp_path: Path, scene: Any) -> None:
    given = some_doses() + np.float32(0.5)
    ds = exported(volume(scene, given), tmp_path, **PLAN)
    np.testing.assert_allclose(ds.pixel_array * float(ds.DoseGridScaling), given, rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64, np.int32])
def test_voxels_of_other_types(dtype: Any, tmp_path: Path, scene: Any) -> None:
    given = (np.arange(24).reshape(2, 3, 4) * 3).astype(dtype)
    ds = exported(volume(scene, given), tmp_path, **PLAN)
    np.testing.assert_allclose(ds.pixel_array * float(ds.DoseGridScaling), given, rtol=1e-8, atol=1e-7)


def test_no_dose_at_all(tmp_path: Path, scene: Any) -> None:
    ds = exported(volume(scene, np.zeros((2, 2, 2), np.float32)), tmp_path, **PLAN)
    assert not ds.pixel_array.any()
    assert ds.DoseGridScaling > 0


def test_edited_doses_are_scaled_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the histograms, which are of the doses before, are left out with a warning."""
    from test_dose_dvh import histogram, with_histograms

    path = written(with_histograms([histogram([(1, "INCLUDED")], [1, 9])]), tmp_path / "dose.dcm")
    node, *_ = loaded(path)
    kept = exported(node, tmp_path / "kept")
    assert len(kept.DVHSequence) == 1
    saved = saved_and_read(node.GetScene(), tmp_path).GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert exported(saved, tmp_path / "saved").DVHSequence == kept.DVHSequence
    from vtkmodules.util.numpy_support import vtk_to_numpy

    vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())[:] *= np.float32(1.2345)
    ds = exported(node, tmp_path / "out")
    assert "DVHSequence" not in ds
    assert "histograms were left out" in caplog.text
    assert ds.BitsAllocated == 16, "as it was loaded"
    np.testing.assert_allclose(ds.pixel_array * float(ds.DoseGridScaling), voxels(node), atol=float(ds.DoseGridScaling))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_doses_that_are_no_numbers(bad: float, tmp_path: Path, scene: Any) -> None:
    given = some_doses()
    given[0, 0, 0] = bad
    with pytest.raises(ExportError, match="not finite"):
        export([volume(scene, given)], tmp_path, **PLAN)
    assert list(tmp_path.iterdir()) == []


def test_negative_doses(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Only errors of doses may be negative; what interpolation leaves below 0 is 0."""
    given = some_doses() - 5
    with pytest.raises(ExportError, match="dose_type='ERROR'"):
        export([volume(scene, given)], tmp_path, **PLAN)
    ds = exported(volume(scene, given), tmp_path, dose_type="ERROR", **PLAN)
    assert ds.PixelRepresentation == 1
    np.testing.assert_allclose(
        ds.pixel_array * float(ds.DoseGridScaling), given, atol=float(np.abs(given).max()) / 2**31
    )
    given = some_doses()
    given[0, 0, 0] = -1e-7
    ds = exported(volume(scene, given), tmp_path, **PLAN)
    assert ds.pixel_array[0, 0, 0] == 0
    assert "were written as 0" in caplog.text


@pytest.mark.parametrize(("compression", "bits"), [("deflate", 32), ("rle", 16), ("deflate-frames", 16)])
def test_compressed(compression: str, bits: int, tmp_path: Path, scene: Any) -> None:
    node = volume(scene, some_doses())
    (path,) = export([node], tmp_path, compression=compression, bits=bits, **PLAN)
    (again,) = loaded(path)
    np.testing.assert_allclose(voxels(again), some_doses(), atol=float(some_doses().max()) / 2**bits)


# --- Grids -----------------------------------------------------------------------------------------------------------

GRIDS = {
    "axial": np.array([[-2, 0, 0, 10], [0, -2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1.0]]),
    "left-handed": np.array([[-2, 0, 0, 10], [0, -2, 0, 20], [0, 0, -3, 30], [0, 0, 0, 1.0]]),
    "coronal": np.array([[-2, 0, 0, 10], [0, 0, 3, 20], [0, -2.5, 0, 30], [0, 0, 0, 1.0]]),
    "oblique": np.array([[1.6, -1.08, 0.72, 5], [1.2, 1.44, -0.96, 6], [0, 2.4, 2.4, 7], [0, 0, 0, 1.0]]),
}
GRIDS["oblique"][:3, :3] = np.linalg.qr(GRIDS["oblique"][:3, :3])[0] * [2, 2.5, 3]


@pytest.mark.parametrize("matrix", GRIDS.values(), ids=GRIDS)
def test_every_dose_stays_in_its_place(matrix: Any, tmp_path: Path, scene: Any) -> None:
    given = some_doses()
    (path,) = export([volume(scene, given, matrix)], tmp_path, **PLAN)
    ds = read(path)
    assert list(ds.GridFrameOffsetVector)[:2] == pytest.approx([0, float(np.linalg.norm(matrix[:3, 2]))])
    assert "SpacingBetweenSlices" not in ds
    (again,) = loaded(path)
    for place, row, column in np.ndindex(given.shape):
        x, y, z = (matrix @ [column, row, place, 1])[:3]
        assert dose_at(again, (-x, -y, z)) == pytest.approx(float(given[place, row, column]), rel=1e-6)


def moved(node: Any, transform_matrix: Any) -> Any:
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(transform_matrix, float).ravel().tolist())
    transform = node.GetScene().AddNewNodeByClass("vtkMRMLTransformNode", "move")
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def test_linear_transform_moves_the_grid(tmp_path: Path, scene: Any) -> None:
    """On a copy: the node keeps its transform and its matrix."""
    given, turn = some_doses(), np.array([[0.8, -0.6, 0, 1], [0.6, 0.8, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1.0]])
    node = volume(scene, given)
    before = matrix_of(node)
    moved(node, turn)
    (path,) = export([node], tmp_path, **PLAN)
    np.testing.assert_array_equal(matrix_of(node), before)
    assert node.GetParentTransformNode() is not None
    (again,) = loaded(path)
    for place, row, column in [(0, 0, 0), (4, 5, 6), (2, 1, 3)]:
        x, y, z = (turn @ before @ [column, row, place, 1])[:3]
        assert dose_at(again, (-x, -y, z)) == pytest.approx(float(given[place, row, column]), rel=1e-6)


def ramp(points: Any) -> Any:
    """A dose that is linear in space, so that linear interpolation gives it back exactly."""
    return 50 + points[..., 0] - 0.5 * points[..., 1] + 2 * points[..., 2]


def ras_points(matrix: Any, shape: tuple[int, int, int]) -> Any:
    place, row, column = np.meshgrid(*[np.arange(size) for size in shape], indexing="ij")
    return np.stack([column, row, place, np.ones(shape)], axis=-1) @ np.asarray(matrix).T


def test_slanted_grid_is_interpolated(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    matrix = np.array([[-2, 0, 0.5, 10], [0, -2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1.0]])
    given = ramp(ras_points(matrix, (5, 6, 9))).astype(np.float32)
    (path,) = export([volume(scene, given, matrix)], tmp_path, **PLAN)
    assert "interpolated" in caplog.text
    (again,) = loaded(path)
    found, expected = voxels(again), ramp(ras_points(matrix_of(again), voxels(again).shape))
    inside = found > 0
    assert inside.sum() > 0.8 * given.size
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-5)


def test_transform_that_is_not_linear(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A grid transform that moves everything by (1, 2, -1.5) mm, as a deformation would."""
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    matrix = GRIDS["axial"]
    given = ramp(ras_points(matrix, (5, 6, 7))).astype(np.float32)
    node = volume(scene, given, matrix)
    field = vtkImageData()
    field.SetDimensions(3, 3, 3)
    field.SetOrigin(-100, -100, -100)
    field.SetSpacing(100, 100, 100)
    field.GetPointData().SetScalars(numpy_to_vtk(np.tile([1.0, 2.0, -1.5], (27, 1)), deep=True))
    warp = slicer.vtkOrientedGridTransform()
    warp.SetDisplacementGridData(field)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    transform.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(transform.GetID())
    (path,) = export([node], tmp_path, **PLAN)
    assert "not linear" in caplog.text
    (again,) = loaded(path)
    expected = ramp(ras_points(matrix, (5, 6, 7))[..., :3] - [1.0, 2.0, -1.5])
    found = voxels(again)
    inside = found > 0
    assert inside.sum() > 0.3 * given.size
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-4)


def test_single_slice(tmp_path: Path, scene: Any) -> None:
    given = some_doses()[:1]
    (path,) = export([volume(scene, given)], tmp_path, **PLAN)
    ds = read(path)
    assert not {"NumberOfFrames", "FrameIncrementPointer", "GridFrameOffsetVector"} & {one.keyword for one in ds}
    assert faults(path, tmp_path) == []
    np.testing.assert_allclose(voxels(loaded(path)[0]), given, rtol=1e-6)
