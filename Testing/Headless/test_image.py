"""Images: every voxel has the right value at the right place, and what is doubtful is said."""

from __future__ import annotations

import gzip
import logging
import random
import shutil
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit, MRImageStorage, generate_uid

import dicombridge
from dicombridge import image
from dicombridge.errors import GeometryError, UnreadableError, UnsupportedError
from dicombridge.image.headers import TAGS, directions, text_of
from dicombridge.image.series import read_series, series_grid, series_grids
from dicombridge.loadable import Loadable

slicer = pytest.importorskip("slicer")

LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
AXIAL = (1, 0, 0, 0, 1, 0)


class HeaderDatabase:
    """A tag cache and nothing else; the files behind it need not exist."""

    def __init__(self, headers: dict[str, Dataset]) -> None:
        self.headers = headers
        self.asked: set[str] = set()

    def fileValue(self, path: str, tag: str, /) -> str:
        self.asked.add(tag)
        assert tag == tag.upper()
        keywords = [keyword for keyword, known in TAGS.items() if known == tag]
        return text_of(self.headers[path], keywords[0]) if path in self.headers else ""


def database_of(files: Sequence[str]) -> HeaderDatabase:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return HeaderDatabase({file: pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in files})


def files_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.iterdir() if path.is_file())


def load(files: Sequence[str], scene: Any, name: str = "image") -> list[Any]:
    return image.load(Loadable(files=list(files), name=name), scene, None)


def array_of(node: Any) -> NDArray[Any]:
    from vtk.util.numpy_support import vtk_to_numpy

    columns, rows, slices = node.GetImageData().GetDimensions()
    return vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).reshape(slices, rows, columns)


def matrix_of(node: Any) -> NDArray[np.float64]:
    """IJK to RAS."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def assert_same_voxels(node: Any, voxels_ijk: NDArray[Any], ijk_to_ras: NDArray[np.float64], tolerance: float) -> None:
    """Every voxel of another reading has the value of the node's voxel at that place (within ``tolerance`` voxels)."""
    mine = array_of(node)
    assert mine.size == voxels_ijk.size
    index = np.indices(voxels_ijk.shape).reshape(3, -1)
    world = ijk_to_ras @ np.vstack([index, np.ones(index.shape[1])])
    place = (np.linalg.inv(matrix_of(node)) @ world)[:3]
    nearest = np.rint(place).astype(int)
    assert np.abs(place - nearest).max() <= tolerance
    i, j, k = nearest
    np.testing.assert_array_equal(mine[k, j, i], voxels_ijk[tuple(index)])


def quaternion_form(content: bytes) -> NDArray[np.float64]:
    """The qform of a NIfTI-1 file, see its nifti1.h."""
    assert struct.unpack_from("<h", content, 252)[0] > 0
    b, c, d, x, y, z = struct.unpack_from("<6f", content, 256)
    a = max(0.0, 1 - b * b - c * c - d * d) ** 0.5
    handedness, *spacing = struct.unpack_from("<4f", content, 76)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.multiply(spacing, [1, 1, -1 if handedness < 0 else 1])
    affine[:3, 3] = x, y, z
    return affine


def read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels [i, j, k] and the sform, else the qform (index to RAS mm) of a little endian NIfTI-1 file."""
    content = gzip.decompress(path.read_bytes())
    assert struct.unpack_from("<i", content, 0) == (348,)
    dimensions = struct.unpack_from("<8h", content, 40)
    (datatype,) = struct.unpack_from("<h", content, 70)
    (offset,) = struct.unpack_from("<f", content, 108)
    (sform_code,) = struct.unpack_from("<h", content, 254)
    affine = np.vstack([np.array(struct.unpack_from("<12f", content, 280)).reshape(3, 4), [0, 0, 0, 1]])
    if not sform_code:
        affine = quaternion_form(content)
    element_type = {2: "<u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 512: "<u2"}[datatype]
    count = int(np.prod(dimensions[1:4]))
    voxels = np.frombuffer(content, element_type, count, int(offset)).reshape(dimensions[1:4], order="F")
    return voxels, affine


# --- Synthetic series ----------------------------------------------------------------------------------------------


def as_text(value: float) -> str:
    return pydicom.valuerep.format_number_as_ds(float(value))


def write_slice(
    folder: Path,
    number: int,
    position: Sequence[float],
    *,
    pixels: NDArray[Any] | None = None,
    orientation: Sequence[float] = AXIAL,
    series: str = "1.2.3.4",
    sop_class: str = CTImageStorage,
    **attributes: Any,
) -> str:
    """Write a small single-frame image; its default pixels hold its number."""
    array = np.full((4, 5), number, np.int16) if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{series}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", series
    dataset.FrameOfReferenceUID = "1.2.3.9"
    dataset.PatientID, dataset.PatientName = "P-1", "DOE^JANE"
    dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = "CT", 7, "Test"
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [as_text(value) for value in position]
    dataset.ImageOrientationPatient = [as_text(value) for value in orientation]
    dataset.PixelSpacing = ["0.5", "0.75"]
    dataset.SliceThickness = "99"  # wrong on purpose: nobody may read it
    dataset.Rows, dataset.Columns = array.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = array.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = array.tobytes()
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{number:04}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return str(path)


def stacks(files: Sequence[str]) -> list[Loadable]:
    return image.examine(files, database_of(files))


# --- Geometry against other people's conversions ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "truth", "slice_direction"),
    [
        ("hitachi_oblique", "hitachi_oblique_truth/001_ground_truth.nii.gz", 1),
        # The slices of this NIfTI lie at z = 0, 2, ... 126 mm, those of the DICOM files at z = 0, -2, ... -126 mm.
        ("ibsi_orientation_phantom", "ibsi_orientation_phantom_truth/orientation.nii.gz", -1),
    ],
)
def test_voxels_lie_where_the_published_nifti_has_them(
    data: Path, scene: Any, folder: str, truth: str, slice_direction: int
) -> None:
    geometry = data / "images" / "geometry"
    files = files_in(geometry / folder)
    random.Random(1).shuffle(files)
    (node,) = load(files, scene)
    voxels, affine = read_nifti(geometry / truth)
    assert len(np.unique(voxels)) > 50
    assert_same_voxels(node, voxels, affine @ np.diag([1, 1, slice_direction, 1]), 1e-4)


SERIES = (
    "images/compressed/rle",
    "images/geometry/hfdl_sagittal",
    "images/geometry/hitachi_oblique",
    "images/geometry/ibsi_orientation_phantom",
    "pet/sts_001_ge/pet",
    "pm/dcmqi_adc_source",
    "rt/rt_utils/ct",
    "rt/sts_002_mim/ct/image",
    "rt/sts_002_mim/mr_t1/image",
    "rt/sts_002_mim/pet/image",
    "rt/topas_abdomen/ct",
    "seg/dcmqi_23x38x3/ct",
    "seg/dcmqi_liver/ct",
    "seg/qin_headneck_0024/pet",
)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*", "ignore::UserWarning:highdicom.*")
@pytest.mark.parametrize("folder", SERIES)
def test_each_slice_is_its_file_at_its_place(data: Path, scene: Any, folder: str) -> None:
    """Values and positions are computed here anew from each file by itself."""
    files = files_in(data / folder)
    (node,) = load(files, scene)
    voxels, matrix = array_of(node), matrix_of(node)
    datasets = {dataset.SOPInstanceUID: dataset for dataset in map(pydicom.dcmread, files)}
    uids = node.GetAttribute("DICOM.instanceUIDs").split()
    numbers = node.GetAttribute("DICOM.instanceNumbers").split()
    assert len(uids) == voxels.shape[0] == len(files) == len(set(uids))
    assert np.linalg.det(matrix[:3, :3]) > 0
    for k, (uid, number) in enumerate(zip(uids, numbers, strict=True)):
        dataset = datasets[uid]
        assert number == str(dataset.InstanceNumber or 0)
        slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        expected = dataset.pixel_array.astype(np.float64) * slope + intercept
        np.testing.assert_array_equal(voxels[k], expected.astype(voxels.dtype))
        row, column = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        position = np.array(dataset.ImagePositionPatient, float)
        between_rows, between_columns = (float(value) for value in dataset.PixelSpacing)
        for j, i in ((0, 0), (dataset.Rows - 1, 0), (0, dataset.Columns - 1)):
            wanted = position + column * between_rows * j + row * between_columns * i
            found = LPS_RAS @ matrix @ [i, j, k, 1]
            np.testing.assert_allclose(found[:3], wanted, atol=0.05)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*", "ignore::UserWarning:highdicom.*")
@pytest.mark.parametrize("folder", [folder for folder in SERIES if "sts_001" not in folder])
def test_highdicom_reads_the_same_volume(data: Path, scene: Any, folder: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    datasets = [pydicom.dcmread(path) for path in files_in(data / folder)]
    try:
        volume = highdicom.get_volume_from_series(datasets, apply_real_world_transform=False)
    except (AttributeError, KeyError, ValueError, RuntimeError, TypeError) as error:
        pytest.skip(f"highdicom does not read it: {error}")
    (node,) = load(files_in(data / folder), scene)
    voxels = np.asarray(volume.array).transpose(2, 1, 0).astype(array_of(node).dtype)
    affine = np.asarray(volume.affine)[:, [2, 1, 0, 3]]
    assert_same_voxels(node, voxels, LPS_RAS @ affine, 0.01)


ENHANCED = (
    "images/enhanced_ct/eCT_Supplemental.dcm",
    "images/enhanced_mr/hyperfine_enhanced.dcm",
    "images/enhanced_mr/philips_enhanced_anat.dcm",
    "images/enhanced_mr/siemens_enhanced_anat.dcm",
    "seg/dcmqi_23x38x3/legacy_converted_enhanced_ct.dcm",
)


def of_frame(dataset: Dataset, number: int, sequence: str) -> Dataset:
    own = dataset.PerFrameFunctionalGroupsSequence[number]
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    return (own.get(sequence) or shared[0].get(sequence))[0]


@pytest.mark.parametrize("file", ENHANCED)
def test_each_frame_of_an_enhanced_image_is_at_its_place(data: Path, scene: Any, file: str) -> None:
    path = data / file
    (node,) = load([str(path)], scene)
    voxels, matrix = array_of(node), matrix_of(node)
    dataset = pydicom.dcmread(path)
    frames = [int(number) for number in node.GetAttribute("DICOMBridge.FrameNumbers").split()]
    assert sorted(frames) == list(range(1, dataset.NumberOfFrames + 1))
    assert node.GetAttribute("DICOM.instanceUIDs") == dataset.SOPInstanceUID
    assert np.linalg.det(matrix[:3, :3]) > 0
    for k, frame in enumerate(frames):
        transformation = of_frame(dataset, frame - 1, "PixelValueTransformationSequence")
        slope, intercept = float(transformation.RescaleSlope), float(transformation.RescaleIntercept)
        expected = dataset.pixel_array[frame - 1].astype(np.float64) * slope + intercept
        np.testing.assert_array_equal(voxels[k], expected.astype(voxels.dtype))
        position = np.array(of_frame(dataset, frame - 1, "PlanePositionSequence").ImagePositionPatient, float)
        orientation = of_frame(dataset, frame - 1, "PlaneOrientationSequence").ImageOrientationPatient
        between_rows, between_columns = of_frame(dataset, frame - 1, "PixelMeasuresSequence").PixelSpacing
        row, column = np.array(orientation, float).reshape(2, 3)
        wanted = position + row * between_columns * 9 + column * between_rows * 5
        np.testing.assert_allclose((LPS_RAS @ matrix @ [9, 5, k, 1])[:3], wanted, atol=0.01)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom.*", "ignore::UserWarning:highdicom.*")
@pytest.mark.parametrize("file", ENHANCED)
def test_highdicom_reads_the_same_enhanced_volume(data: Path, scene: Any, file: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    try:
        volume = highdicom.imread(data / file).get_volume(apply_real_world_transform=False, dtype=np.float64)
    except (AttributeError, KeyError, ValueError, RuntimeError, TypeError) as error:
        pytest.skip(f"highdicom does not read it: {error}")
    (node,) = load([str(data / file)], scene)
    voxels = np.asarray(volume.array).transpose(2, 1, 0).astype(array_of(node).dtype)
    assert_same_voxels(node, voxels, LPS_RAS @ np.asarray(volume.affine)[:, [2, 1, 0, 3]], 0.01)


def test_enhanced_image_without_planes_is_refused_in_words(data: Path, scene: Any) -> None:
    with pytest.raises(GeometryError, match=r"emri_small\.dcm.*describes none of its 10 frames"):
        load([str(data / "images/enhanced_mr/emri_small.dcm")], scene)
    assert scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 0


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


# --- Values ----------------------------------------------------------------------------------------------------------


def random_pixels(element_type: Any, low: int, high: int) -> NDArray[Any]:
    return np.random.default_rng(4).integers(low, high, (4, 5), endpoint=True).astype(element_type)


@pytest.mark.parametrize(
    ("pixels", "slope", "intercept", "expected"),
    [
        (random_pixels(np.uint8, 0, 255), "1", "0", np.uint8),
        (random_pixels(np.uint16, 0, 65535), "1", "0", np.uint16),
        (random_pixels(np.int16, -32768, 32767), "1", "0", np.int16),
        (random_pixels(np.int16, -2000, 4000), "1", "-1024", np.int16),
        (np.array([[-32768, 0, 5, 6, 32767]] * 4, np.int16), "1", "-1024", np.int32),
        (random_pixels(np.uint16, 0, 65535), "1.0", "-1024.0", np.int32),
        (random_pixels(np.int16, -32768, 32767), "2", "1", np.int32),
        (random_pixels(np.uint16, 0, 65535), "-3", "7", np.int32),
        (random_pixels(np.int16, -32768, 32767), "0.1", "0", np.float32),
        (random_pixels(np.int16, -32768, 32767), "1", "0.5", np.float32),
    ],
)
def test_rescaled_values_are_exact_in_the_smallest_type(
    tmp_path: Path, scene: Any, pixels: NDArray[Any], slope: str, intercept: str, expected: Any
) -> None:
    file = write_slice(tmp_path, 1, (0, 0, 0), pixels=pixels, RescaleSlope=slope, RescaleIntercept=intercept)
    (node,) = load([file], scene)
    wanted = pixels.astype(np.float64) * float(slope) + float(intercept)
    assert array_of(node).dtype == expected
    np.testing.assert_array_equal(array_of(node)[0], wanted.astype(expected))


@pytest.mark.parametrize(
    "syntax", ["RLELossless", "JPEGLSLossless", "JPEG2000Lossless", "JPEG2000", "DeflatedExplicitVRLittleEndian"]
)
def test_compressed_pixels_are_what_pydicom_decodes(data: Path, scene: Any, tmp_path: Path, syntax: str) -> None:
    uid = getattr(pydicom.uid, syntax)
    for number, file in enumerate(files_in(data / "images/geometry/hfdl_sagittal")):
        dataset = pydicom.dcmread(file)
        if uid.is_encapsulated:
            options = {"j2k_cr": [10]} if syntax == "JPEG2000" else {}
            try:
                dataset.compress(uid, generate_instance_uid=False, **options)
            except (RuntimeError, NotImplementedError) as error:
                pytest.skip(f"no encoder for {uid.name}: {error}")
        else:
            dataset.file_meta.TransferSyntaxUID = uid
        dataset.save_as(tmp_path / f"{number}.dcm")
    (node,) = load(files_in(tmp_path), scene)
    by_uid = {dataset.SOPInstanceUID: dataset for dataset in map(pydicom.dcmread, files_in(tmp_path))}
    for k, instance in enumerate(node.GetAttribute("DICOM.instanceUIDs").split()):
        np.testing.assert_array_equal(array_of(node)[k], by_uid[instance].pixel_array)
    assert array_of(node).max() > 500


def test_memory_is_the_array_and_little_more(tmp_path: Path) -> None:
    import tracemalloc

    pixels = random_pixels(np.int16, 0, 100).repeat(64, 0).repeat(64, 1)
    files = [write_slice(tmp_path, n, (0, 0, n), pixels=pixels, RescaleIntercept="-1024") for n in range(50)]
    (series,) = read_series(files)
    size = pixels.nbytes * len(files)
    tracemalloc.start()
    try:
        voxels = series.voxels()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert voxels.nbytes == size
    assert peak < 1.3 * size


def test_slopes_differ_by_slice(tmp_path: Path, scene: Any) -> None:
    pixels = random_pixels(np.int16, 0, 32767)
    slopes = ("0.2094", "0.5", "1")
    files = [
        write_slice(tmp_path, n, (0, 0, n), pixels=pixels, RescaleSlope=slope, RescaleIntercept="0")
        for n, slope in enumerate(slopes)
    ]
    (node,) = load(files, scene)
    for k, slope in enumerate(slopes):
        np.testing.assert_array_equal(array_of(node)[k], (pixels * float(slope)).astype(np.float32))


def test_real_world_value_maps_are_not_applied(data: Path, scene: Any) -> None:
    path = data / "images/enhanced_ct/eCT_Supplemental.dcm"
    dataset = pydicom.dcmread(path)
    assert "RealWorldValueMappingSequence" in dataset.SharedFunctionalGroupsSequence[0]
    (node,) = load([str(path)], scene)
    transformation = of_frame(dataset, 0, "PixelValueTransformationSequence")
    assert array_of(node).min() == dataset.pixel_array.min() * float(transformation.RescaleSlope) + float(
        transformation.RescaleIntercept
    )


@pytest.mark.parametrize(
    ("file", "quantity", "units"),
    [
        ("rt/topas_abdomen/ct", "112031", "[hnsf'U]"),
        ("images/geometry/hfdl_sagittal", "110852", "1"),
        ("pet/sts_001_ge/pet", "110821", "Bq/ml"),
        ("rt/sts_002_mim/pet/image", "126400", "{SUVbw}g/ml"),
        ("images/enhanced_ct/eCT_Supplemental.dcm", None, None),  # a perfusion map: Rescale Type is not HU
    ],
)
def test_quantity_and_units(data: Path, scene: Any, file: str, quantity: str | None, units: str | None) -> None:
    path = data / file
    (node,) = load(files_in(path) if path.is_dir() else [str(path)], scene)
    entries = node.GetVoxelValueQuantity(), node.GetVoxelValueUnits()
    found = [entry.GetCodeValue() if entry is not None else None for entry in entries]
    assert found == [quantity, units]


def test_windows(tmp_path: Path, data: Path, scene: Any) -> None:
    file = write_slice(tmp_path, 1, (0, 0, 0), WindowCenter=["40", "-600"], WindowWidth=["400", "1500"])
    display = load([file], scene)[0].GetDisplayNode()
    assert display.GetNumberOfWindowLevelPresets() == 2
    presets = [(display.GetLevelPreset(n), display.GetWindowPreset(n)) for n in (0, 1)]
    assert presets == [(40, 400), (-600, 1500)]
    assert (display.GetAutoWindowLevel(), display.GetLevel(), display.GetWindow()) == (0, 40, 400)
    files = [write_slice(tmp_path, n, (0, 0, n), WindowCenter=str(n), WindowWidth="100") for n in (1, 2, 3)]
    assert load(files, scene)[0].GetDisplayNode().GetLevel() == 2  # that of the middle slice
    without = load(files_in(data / "images/geometry/ibsi_orientation_phantom"), scene)[0].GetDisplayNode()
    assert without.GetNumberOfWindowLevelPresets() == 0
    assert without.GetAutoWindowLevel() == 1


def test_monochrome1_is_shown_inverted_and_keeps_its_values(tmp_path: Path, scene: Any) -> None:
    file = write_slice(tmp_path, 9, (0, 0, 0), PhotometricInterpretation="MONOCHROME1")
    (node,) = load([file], scene)
    assert (array_of(node) == 9).all()
    assert node.GetDisplayNode().GetColorNodeID() == "vtkMRMLColorTableNodeInvertedGrey"


# --- Nodes -------------------------------------------------------------------------------------------------------


def test_a_scene_file_keeps_what_the_volume_knew(data: Path, scene: Any, tmp_path: Path) -> None:
    for folder in ("gantry_tilt_siemens", "slice_increment_ge", "hitachi_oblique"):
        load(files_in(data / "images" / "geometry" / folder), scene, folder)
    load([str(data / "images/enhanced_mr/philips_enhanced_anat.dcm")], scene, "philips")
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    again = dicombridge.new_scene()
    assert again.ReadFromMRB(str(path))
    for number in range(4):
        one = scene.GetNthNodeByClass(number, "vtkMRMLScalarVolumeNode")
        other = again.GetFirstNodeByName(one.GetName())
        np.testing.assert_array_equal(array_of(one), array_of(other))
        np.testing.assert_allclose(matrix_of(one), matrix_of(other), atol=1e-6)
        for name in one.GetAttributeNames():
            assert one.GetAttribute(name) == other.GetAttribute(name), name
        for method in ("GetVoxelValueQuantity", "GetVoxelValueUnits"):
            assert getattr(one, method)().GetAsString() == getattr(other, method)().GetAsString()


def test_subject_hierarchy_and_header(tmp_path: Path, scene: Any) -> None:
    from dicombridge import hierarchy, shadow

    files = [write_slice(tmp_path, number, (0, 0, -number)) for number in (1, 2, 3)]
    (node,) = load(files, scene)
    attributes = hierarchy.attributes_of_node(scene, node)
    assert attributes["PatientID"] == "P-1"
    assert attributes["SeriesInstanceUID"] == "1.2.3.4"
    assert attributes["SOPInstanceUIDs"] == ["1.2.3.4.3", "1.2.3.4.2", "1.2.3.4.1"]
    assert node.GetAttribute("DICOM.instanceUIDs") == "1.2.3.4.3 1.2.3.4.2 1.2.3.4.1"
    header = shadow.remembered(node)
    assert header is not None
    assert (header.SOPInstanceUID, "PixelData" in header) == ("1.2.3.4.3", False)


def test_progress_runs_from_nothing_to_all(tmp_path: Path, scene: Any) -> None:
    files = [write_slice(tmp_path, number, (0, 0, number)) for number in range(5)]
    seen: list[tuple[float, str]] = []
    image.load(Loadable(files=files, name="n"), scene, None, progress=lambda *step: seen.append(step))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert all(message for _, message in seen)


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


# --- Damage --------------------------------------------------------------------------------------------------------


def assert_fails_cleanly(files: Sequence[str], scene: Any, error: type[Exception], words: str) -> None:
    before = scene.GetNumberOfNodes()
    with pytest.raises(error, match=words):
        load(files, scene)
    assert scene.GetNumberOfNodes() == before


def truncated(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999])
def test_truncated_file(tmp_path: Path, scene: Any, share: float) -> None:
    files = [write_slice(tmp_path, number, (0, 0, number)) for number in (1, 2, 3)]
    load(files, scene)
    Path(files[1]).write_bytes(truncated(share)(Path(files[1]).read_bytes()))
    before = scene.GetNumberOfNodes()
    with pytest.raises(dicombridge.DicomBridgeError, match=r"0002\.dcm"):
        load(files, scene)
    assert scene.GetNumberOfNodes() == before


def test_flipped_bytes_give_our_errors_or_a_volume(data: Path, scene: Any, tmp_path: Path) -> None:
    source = data / "seg/dcmqi_23x38x3/legacy_converted_enhanced_ct.dcm"
    content = source.read_bytes()
    generator = random.Random(6)
    outcomes, loaded = set(), 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(8):
            damaged[generator.randrange(132, len(damaged))] = generator.randrange(256)
        path = tmp_path / "damaged.dcm"
        path.write_bytes(damaged)
        try:
            loaded += len(load([str(path)], scene))
            outcomes.add("loaded")
        except dicombridge.DicomBridgeError as error:
            outcomes.add(type(error).__name__ if "damaged.dcm" in str(error) else f"{error!r} names no file")
    assert scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == loaded
    assert (
        {"loaded", "UnreadableError"} <= outcomes <= {"loaded", "UnreadableError", "UnsupportedError", "GeometryError"}
    )


def test_absurd_sizes_ask_for_no_memory(tmp_path: Path, scene: Any) -> None:
    files = [write_slice(tmp_path, n, (0, 0, n), Rows=65535, Columns=65535) for n in range(200)]
    assert_fails_cleanly(files, scene, UnreadableError, "damaged pixel data")


def test_contradicting_frames(data: Path, tmp_path: Path, scene: Any) -> None:
    dataset = pydicom.dcmread(data / "seg/dcmqi_23x38x3/legacy_converted_enhanced_ct.dcm")
    dataset.NumberOfFrames = 1_000_000
    path = tmp_path / "frames.dcm"
    dataset.save_as(path)
    assert_fails_cleanly([str(path)], scene, UnreadableError, "1000000 frames, but describes 3")


def test_not_dicom(tmp_path: Path, scene: Any) -> None:
    path = tmp_path / "note.txt"
    path.write_text("just a note, long enough to be taken for something else" * 9)
    assert_fails_cleanly([str(path)], scene, UnreadableError, r"note\.txt")
    assert_fails_cleanly([str(tmp_path / "absent.dcm")], scene, UnreadableError, r"absent\.dcm: cannot be read")


def test_colour_is_declined(tmp_path: Path, scene: Any) -> None:
    rgb = np.zeros((4, 5, 3), np.uint8)
    file = write_slice(tmp_path, 1, (0, 0, 0), pixels=rgb, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    assert_fails_cleanly([file], scene, UnsupportedError, "colour images")


def test_single_frame_class_with_several_frames_is_declined(tmp_path: Path, scene: Any) -> None:
    file = write_slice(tmp_path, 1, (0, 0, 0), pixels=np.zeros((4, 5), np.int16), NumberOfFrames=2)
    assert_fails_cleanly([file], scene, UnsupportedError, "several frames")


def test_a_file_that_was_exchanged_after_the_headers_were_read(tmp_path: Path) -> None:
    files = [write_slice(tmp_path, number, (0, 0, number)) for number in (1, 2, 3)]
    (series,) = read_series(files)
    shutil.copy(files[0], files[2])
    with pytest.raises(UnreadableError, match="another image than before"):
        series.voxels()


def test_wrong_compressed_data(tmp_path: Path, scene: Any) -> None:
    file = write_slice(tmp_path, 1, (0, 0, 0), pixels=np.zeros((4, 5), np.uint8))
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8not a JPEG\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.SOPInstanceUID = generate_uid()
    dataset.save_as(file, implicit_vr=False, little_endian=True)
    before = scene.GetNumberOfNodes()
    with pytest.raises((UnreadableError, UnsupportedError), match=r"0001\.dcm"):
        load([file], scene)
    assert scene.GetNumberOfNodes() == before


@pytest.mark.parametrize("big_endian", [True, False])
def test_no_preamble_and_big_endian(tmp_path: Path, scene: Any, big_endian: bool) -> None:
    pixels = random_pixels(np.int16, -300, 300)
    file = write_slice(tmp_path, 1, (0, 0, 0), pixels=pixels)
    dataset = pydicom.dcmread(file)
    if big_endian:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        dataset.PixelData = pixels.astype(">i2").tobytes()
        pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    else:
        raw = Path(file).read_bytes()
        length = struct.unpack_from("<I", raw, 140)[0]
        Path(file).write_bytes(raw[144 + length :])
    (node,) = load([file], scene)
    np.testing.assert_array_equal(array_of(node)[0], pixels)
