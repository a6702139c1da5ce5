"""Images: which planes form a volume, and that what is doubtful is said."""

from __future__ import annotations

import logging
import random
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from image_support import LPS_RAS, database_of, files_in, load, stacks, write_slice
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from support.volumes import array_of, matrix_of

import dicombridge
from dicombridge import image
from dicombridge.errors import GeometryError, UnsupportedError
from dicombridge.image.headers import directions
from dicombridge.image.series import series_grid, series_grids

# --- What is not a plain stack ---------------------------------------------------------------------------------------


def test_gantry_tilt_keeps_every_slice_at_its_place(data: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    files = files_in(data / "images/geometry/gantry_tilt_siemens")
    (loadable,) = stacks(files)
    assert "shifted by 1.21 mm" in loadable.warning
    with caplog.at_level(logging.WARNING):
        (node,) = image.load(loadable, scene, None)
    assert "shifted by 1.21 mm" in caplog.text
    assert node.GetAttribute("DICOMBridge.Warning") == loadable.warning
    matrix, by_uid = matrix_of(node), {dataset.SOPInstanceUID: dataset for dataset in map(pydicom.dcmread, files)}
    for k, uid in enumerate(node.GetAttribute("DICOM.instanceUIDs").split()):
        position = np.array(by_uid[uid].ImagePositionPatient, float)
        np.testing.assert_allclose((LPS_RAS @ matrix @ [0, 0, k, 1])[:3], position, atol=1e-3)
    # The slices' shift is what distinguishes this from a box: 1.21 mm, from the headers.
    column, step = matrix[:3, 1] / np.linalg.norm(matrix[:3, 1]), matrix[:3, 2]
    assert abs(column @ step) == pytest.approx(1.21, abs=0.01)
    assert tuple(series_grid(files).geometry.spatial_shape) == (4, 512, 512)


def test_missing_slice_is_filled_and_said(data: Path, scene: Any) -> None:
    files = files_in(data / "images/geometry/slice_increment_ge")
    (loadable,) = stacks(files)
    assert "Missing slices: 4 of 5" in loadable.warning
    (node,) = image.load(loadable, scene, None)
    voxels = array_of(node)
    assert voxels.shape[0] == 5
    assert node.GetAttribute("DICOMBridge.MissingSlices") == "3"
    assert len(node.GetAttribute("DICOM.instanceUIDs").split()) == 4
    assert (voxels[3] == voxels[[0, 1, 2, 4]].min()).all()
    last = max((pydicom.dcmread(file) for file in files), key=lambda dataset: dataset.ImagePositionPatient[2])
    np.testing.assert_array_equal(voxels[4], last.pixel_array + int(last.RescaleIntercept))
    assert (matrix_of(node) @ [0, 0, 4, 1])[2] == pytest.approx(float(last.ImagePositionPatient[2]))
    grid = series_grid(files)
    assert [bool(uid) for uid in grid.instance_uids] == [True, True, True, False, True]
    assert "Missing slices" in grid.warning


def test_a_change_of_the_spacing_splits_the_series(tmp_path: Path, scene: Any) -> None:
    places = [0, 2, 4, 6, 8, 13, 18, 23, 28]
    files = [write_slice(tmp_path, number, (0, 0, z)) for number, z in enumerate(places, start=1)]
    first, second = stacks(files)
    assert "split into volumes of even distances" in first.warning
    assert [len(first.files), len(second.files)] == [5, 4]
    spacings = [load(loadable.files, scene)[0].GetSpacing()[2] for loadable in (first, second)]
    assert spacings == pytest.approx([2, 5])


def test_a_stray_slice_far_away_is_not_joined_by_air(tmp_path: Path) -> None:
    files = [write_slice(tmp_path, number, (0, 0, z)) for number, z in enumerate([0, 1, 2, 3, 200], start=1)]
    assert sorted(len(loadable.files) for loadable in stacks(files)) == [1, 4]


def test_jitter_is_one_volume_with_a_warning(tmp_path: Path, scene: Any) -> None:
    places = [0, 1, 2.3, 2.9, 4.4, 5, 6.25, 6.9, 8.5, 9]
    files = [write_slice(tmp_path, number, (0, 0, z)) for number, z in enumerate(places, start=1)]
    (loadable,) = stacks(files)
    assert "do not form a regular grid" in loadable.warning
    assert "0.5 to 1.6 mm" in loadable.warning
    assert "0.5 mm away" in loadable.warning
    (node,) = image.load(loadable, scene, None)
    matrix = matrix_of(node)
    assert (matrix @ [0, 0, 0, 1])[2] == 0
    assert (matrix @ [0, 0, 9, 1])[2] == pytest.approx(9)
    with pytest.raises(GeometryError, match="do not form a regular grid"):
        series_grid(files)
    assert series_grids(files) == []


def test_small_differences_of_many_gaps_are_no_irregularity(tmp_path: Path) -> None:
    """Bed positions of a PET join with gaps of 3.19 and 3.29 mm among those of 3.27 mm, and the grid is even."""
    gaps = [3.27] * 266
    gaps[131] = 3.19
    gaps[43] = gaps[87] = gaps[175] = gaps[219] = 3.29
    places = np.cumsum([0.0, *gaps]).round(4)
    files = [write_slice(tmp_path, number, (0, 0, z)) for number, z in enumerate(places, start=1)]
    (loadable,) = stacks(files)
    assert loadable.warning == ""
    assert series_grid(files).geometry.spacing[0] == pytest.approx(places[-1] / 266)


def test_orientations_and_sizes_are_split(tmp_path: Path, scene: Any) -> None:
    sagittal = (0, 1, 0, 0, 0, -1)
    files = [write_slice(tmp_path, number, (0, 0, number)) for number in (1, 2, 3)]
    files += [write_slice(tmp_path, number, (number, 0, 0), orientation=sagittal) for number in (4, 5)]
    files += [write_slice(tmp_path, number, (0, 0, number), pixels=np.zeros((6, 6), np.int16)) for number in (6, 7)]
    files += [write_slice(tmp_path, number, (0, 0, number), PixelSpacing=["1", "1"]) for number in (8, 9)]
    random.Random(3).shuffle(files)
    loadables = stacks(files)
    found = sorted(sorted(int(Path(file).stem) for file in loadable.files) for loadable in loadables)
    assert found == [[1, 2, 3], [4, 5], [6, 7], [8, 9]]
    assert all(loadable.selected for loadable in loadables)
    nodes = load(files, scene)
    assert len(nodes) == len({node.GetName() for node in nodes}) == 4
    with pytest.raises(GeometryError, match="4 different volumes"):
        series_grid(files)
    assert len(series_grids(files)) == 4


def test_rounded_cosines_are_one_orientation(tmp_path: Path) -> None:
    exact = (0.999981, 0.00479144, 0.00387589, -0.00540165, 0.984755, 0.173861)
    rounded = (0.999981, 0.00479144, 0.0038759, -0.00540165, 0.984755, 0.173861)
    normal = np.cross(exact[:3], exact[3:])
    files = [
        write_slice(tmp_path, number, normal * number * 3, orientation=exact if number % 2 else rounded)
        for number in range(1, 6)
    ]
    (loadable,) = stacks(files)
    assert loadable.warning == ""
    rough = directions(tuple(round(value, 3) for value in exact))
    assert rough is not None
    row, column = np.reshape(rough, (2, 3))
    assert abs(row @ column) < 1e-12
    assert np.abs(np.subtract(rough, exact)).max() < 2e-3


def test_dynamic_phases_are_split(data: Path, scene: Any) -> None:
    files = files_in(data / "seg/ucsf_breast_06/mr")
    first, second = stacks(files)
    assert first.name.endswith("acquisition 1")
    assert second.name.endswith("acquisition 2")
    for loadable, number in ((first, 1), (second, 2)):
        assert len(loadable.files) == 42
        assert {int(pydicom.dcmread(file, stop_before_pixels=True).AcquisitionNumber) for file in loadable.files} == {
            number
        }
    one, other = load(first.files, scene), load(second.files, scene)
    assert not (array_of(one[0]) == array_of(other[0])).all()
    np.testing.assert_allclose(matrix_of(one[0]), matrix_of(other[0]))
    # Both are on one grid, so a segmentation of either can be placed; the caller's references choose the instances.
    wanted = pydicom.dcmread(second.files[5], stop_before_pixels=True).SOPInstanceUID
    assert wanted in series_grid(files, referenced=[wanted]).instance_uids
    assert wanted not in series_grid(files).instance_uids


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", ["4.6", "2.3"]),
        ("TemporalPositionIdentifier", [1, 2]),
        ("ImageType", [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]),
    ],
)
def test_images_at_one_position_are_told_apart(tmp_path: Path, keyword: str, values: list[Any]) -> None:
    files = [
        write_slice(tmp_path, 10 * z + n, (0, 0, z), sop_class=MRImageStorage, **{keyword: values[n]})
        for z in range(4)
        for n in (0, 1)
    ]
    loadables = stacks(files)
    found = sorted(sorted(int(Path(file).stem) % 10 for file in loadable.files) for loadable in loadables)
    assert found == [[0] * 4, [1] * 4]
    assert [loadable.warning for loadable in loadables] == ["", ""]


def test_two_marks_together(tmp_path: Path) -> None:
    files = [
        write_slice(
            tmp_path, 100 * z + 10 * echo + phase, (0, 0, z), EchoTime=str(echo), TemporalPositionIdentifier=phase
        )
        for z in range(3)
        for echo in (1, 2)
        for phase in (1, 2)
    ]
    kinds = [{int(Path(file).stem) % 100 for file in loadable.files} for loadable in stacks(files)]
    assert kinds == [{11}, {21}, {12}, {22}]


def test_nothing_tells_them_apart(tmp_path: Path, scene: Any) -> None:
    files = [write_slice(tmp_path, 10 * n + z, (0, 0, z)) for z in range(4) for n in (1, 2)]
    loadables = stacks(files)
    assert [sorted(int(Path(file).stem) for file in loadable.files) for loadable in loadables] == [
        [10, 11, 12, 13],
        [20, 21, 22, 23],
    ]
    assert all("in the order of their instance numbers" in loadable.warning for loadable in loadables)


def test_the_same_instance_twice_counts_once(tmp_path: Path, scene: Any) -> None:
    files = [write_slice(tmp_path / "a", number, (0, 0, number)) for number in (1, 2, 3)]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (node,) = load([*files, *files_in(tmp_path / "b")], scene)
    assert array_of(node).shape[0] == 3


def test_multi_stack_enhanced_is_a_volume_a_stack(data: Path, scene: Any, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(data / "images/enhanced_mr/siemens_enhanced_anat.dcm")
    groups = dataset.PerFrameFunctionalGroupsSequence
    for number in range(4, 8):  # the same four places at a second time
        groups[number].PlanePositionSequence = groups[number - 4].PlanePositionSequence
        groups[number].FrameContentSequence[0].TemporalPositionIndex = 2
    path = tmp_path / "dynamic.dcm"
    dataset.save_as(path)
    nodes = load([str(path)], scene)
    assert [node.GetName() for node in nodes] == ["image - time point 1", "image - time point 2"]
    assert [node.GetAttribute("DICOMBridge.FrameNumbers") for node in nodes] == ["1 2 3 4", "5 6 7 8"]
    for node, frames in zip(nodes, (slice(0, 4), slice(4, 8)), strict=True):
        np.testing.assert_array_equal(array_of(node), dataset.pixel_array[frames])


# --- Examination ---------------------------------------------------------------------------------------------------


def test_examine_reads_the_cache_only(tmp_path: Path) -> None:
    files = [write_slice(tmp_path, number, (0, 0, number)) for number in (3, 1, 2)]
    database = database_of(files)
    shutil.rmtree(tmp_path)
    (loadable,) = image.examine(files, database)
    assert loadable.name == "7: Test"
    assert [Path(file).stem for file in loadable.files] == ["0001", "0002", "0003"]
    assert (loadable.kind, loadable.seriesInstanceUID, loadable.warning) == ("IMAGE", "1.2.3.4", "")
    assert (loadable.selected, loadable.confidence) == (True, 0.5)


def break_header(dataset: Dataset, keyword: str, value: Any) -> Dataset:
    broken = Dataset()
    broken.update(dataset)
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        if value is None:
            delattr(broken, keyword)
        else:
            setattr(broken, keyword, value)
    return broken


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagePositionPatient", None),
        ("ImagePositionPatient", ["1", "2"]),
        ("ImagePositionPatient", ["1", "2", "inf"]),
        ("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"]),
        ("ImageOrientationPatient", ["0", "0", "0", "0", "0", "0"]),
        ("PixelSpacing", ["0", "1"]),
        ("PixelSpacing", None),
        ("Rows", 0),
    ],
)
def test_images_that_cannot_be_placed_are_named(tmp_path: Path, keyword: str, value: Any) -> None:
    files = [write_slice(tmp_path, number, (0, 0, number)) for number in (1, 2, 3)]
    database = database_of(files)
    database.headers[files[1]] = break_header(database.headers[files[1]], keyword, value)
    whole, placeless = image.examine(files, database)
    assert whole.files == [files[0], files[2]]
    assert placeless.files == [files[1]]
    assert "cannot be placed in space" in placeless.warning
    assert not placeless.selected


def test_other_objects_are_left_alone(data: Path, scene: Any) -> None:
    files = [
        str(data / name)
        for name in ("images/nm/nm_adac.dcm", "images/projection/dx_image.dcm", "misc/hotiron.dcm", "seg/nothing.dcm")
    ]
    assert image.examine(files, database_of(files[:-1])) == []
    with pytest.raises(UnsupportedError, match=r"nm_adac.dcm.*only CT, MR and PET"):
        load(files[:1], scene)


def test_values_need_no_vtk(data: Path) -> None:
    folder = data / "rt/topas_abdomen/ct"
    code = (
        "import sys\n"
        "from dicombridge.image.series import read_series\n"
        f"(series,) = read_series({files_in(folder)!r})\n"
        "assert series.voxels().shape == (3, 512, 512)\n"
        "print([name for name in ('vtk', 'vtkmodules', 'slicer') if name in sys.modules])\n"
    )
    path = str(Path(dicombridge.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": path}
    )
    assert result.stdout.strip() == "[]", result.stderr


# --- The grid for other kinds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["images/geometry/hitachi_oblique", "seg/qin_headneck_0024/pet"])
def test_series_grid_is_the_loaded_grid(data: Path, scene: Any, folder: str) -> None:
    from dicombridge.geometry import ijk_to_ras

    files = files_in(data / folder)
    random.Random(5).shuffle(files)
    (node,) = load(files, scene)
    read, cached = series_grid(files), series_grid(files, database_of(files))
    for grid in (read, cached):
        np.testing.assert_array_equal(ijk_to_ras(grid.geometry), matrix_of(node))
        assert " ".join(grid.instance_uids) == node.GetAttribute("DICOM.instanceUIDs")
        assert grid.frame_numbers is None
        assert grid.warning == ""


def test_series_grid_of_frames(data: Path) -> None:
    path = data / "images/enhanced_ct/eCT_Supplemental.dcm"
    grid = series_grid([str(path)])
    uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
    assert (grid.instance_uids, grid.frame_numbers) == ((uid, uid), (2, 1))
    with pytest.raises(GeometryError, match="describes none of its 10 frames"):
        series_grid([str(data / "images/enhanced_mr/emri_small.dcm")])
    with pytest.raises(GeometryError, match="there are none"):
        series_grid([])
