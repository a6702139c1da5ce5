"""Images: every voxel has the right value at the right place."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from image_support import LPS_RAS, assert_same_voxels, files_in, load, of_frame, random_pixels, read_nifti, write_slice
from numpy.typing import NDArray
from support.volumes import array_of, matrix_of

import dicombridge
from dicombridge import image
from dicombridge.errors import GeometryError
from dicombridge.image.series import read_series
from dicombridge.loadable import Loadable

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
    import highdicom

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
    import highdicom

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


# --- Values ----------------------------------------------------------------------------------------------------------


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
            dataset.compress(uid, generate_instance_uid=False, **options)
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
