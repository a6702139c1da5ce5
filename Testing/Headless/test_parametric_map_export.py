"""Parametric maps out: values, mappings, codes, sources and places, read back by other programs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from conformance import faults
from numpy.typing import NDArray
from support import volumes
from support.nrrd import read_nrrd
from support.peers import assert_consistent, run, tool
from support.pm_objects import planes_of
from support.volumes import array_of, lps_of_volume

import dicombridge
from dicombridge.codes import Code, coded_entry
from dicombridge.errors import ExportError
from dicombridge.geometry import vtk_matrix

ADC = Code("113041", "DCM", "Apparent Diffusion Coefficient")
UM2_S = Code("um2/s", "UCUM", "square micrometer per second")
OBLIQUE = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])


def volume_node(scene: Any, values: NDArray[Any], name: str = "ADC", matrix: Any = None, codes: bool = True) -> Any:
    """A volume as a module of Slicer makes one: voxels, a matrix to RAS, perhaps a quantity and its units."""
    if matrix is None:
        matrix = np.eye(4)
        matrix[:3, :3] = OBLIQUE * [1.5, 1.25, 3.0]
        matrix[:3, 3] = (-30.0, 12.5, 100.0)
    node = volumes.volume_node(scene, values, matrix, name)
    if codes:
        node.SetVoxelValueQuantity(coded_entry(ADC))
        node.SetVoxelValueUnits(coded_entry(UM2_S))
    return node


def written(nodes: Any, folder: Path, **options: Any) -> tuple[Path, pydicom.Dataset]:
    (path,) = dicombridge.export(nodes, folder / "out", kind="PM", **options)
    assert faults(path) == []
    return path, pydicom.dcmread(path)


def again(path: Path, database: Any = None) -> list[Any]:
    return dicombridge.load(path, scene=dicombridge.new_scene(), database=database)


# --- Values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_written_bit_for_bit(scene: Any, tmp_path: Path, dtype: str) -> None:
    values = planes_of(4, dtype=dtype)
    values[1, 2, 3], values[2, 0, 0], values[3, 5, 7] = np.nan, np.inf, -0.0
    node = volume_node(scene, values)
    path, dataset = written(node, tmp_path)
    keyword = {"float32": "FloatPixelData", "float64": "DoubleFloatPixelData"}[dtype]
    assert dataset[keyword].value == values.tobytes()
    assert "PixelData" not in dataset
    (back,) = again(path)
    assert array_of(back).tobytes() == values.tobytes()
    np.testing.assert_allclose(lps_of_volume(back), lps_of_volume(node), atol=1e-9)


@pytest.mark.parametrize(("dtype", "largest", "stored"), [("int16", 2**15 - 1, 32), ("int32", 2**24 + 1, 64)])
def test_integers_become_floats_that_hold_them(
    scene: Any, tmp_path: Path, dtype: str, largest: int, stored: int
) -> None:
    values = np.arange(4 * 6 * 8, dtype=dtype).reshape(4, 6, 8)
    values[0, 0, 0], values[3, 5, 7] = -5, largest
    path, dataset = written(volume_node(scene, values), tmp_path)
    assert dataset.BitsAllocated == stored
    (back,) = again(path)
    np.testing.assert_array_equal(array_of(back), values)


def test_16_bits_have_the_error_that_is_told(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = planes_of(4) * 1000
    node = volume_node(scene, values)
    path, dataset = written(node, tmp_path, pixel_type="uint16")
    item = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    half_step = item.RealWorldValueSlope / 2
    assert half_step == pytest.approx((values.max() - values.min()) / 65535 / 2)
    assert f"no value is off by more than {half_step:.3g} um2/s" in caplog.text
    theirs = highdicom.imread(path).get_volume(apply_real_world_transform=True, dtype=np.float64)
    by_place = theirs.array if np.linalg.det(theirs.affine[:3, [2, 1, 0]]) > 0 else theirs.array[::-1]
    assert np.abs(by_place - values).max() <= half_step * 1.001
    assert np.abs(array_of(again(path)[0]) - values).max() <= half_step * 1.001


@pytest.mark.parametrize("compression", ["rle", "jpeg-ls", "jpeg-2000", "deflate", "deflate-frames"])
def test_compressed_integers(scene: Any, tmp_path: Path, compression: str) -> None:
    values = planes_of(3, (40, 48)) * 10
    options: dict[str, Any] = {"kind": "PM", "pixel_type": "uint16"}
    (plain,) = dicombridge.export(volume_node(scene, values), tmp_path / "plain", **options)
    (path,) = dicombridge.export(volume_node(scene, values), tmp_path / "small", compression=compression, **options)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID != pydicom.dcmread(plain).file_meta.TransferSyntaxUID
    np.testing.assert_array_equal(array_of(again(path)[0]), array_of(again(plain)[0]))


def test_deflated_floats(scene: Any, tmp_path: Path) -> None:
    values = np.zeros((3, 40, 48), np.float32)
    values[1, 10:20] = 1.5
    (path,) = dicombridge.export(volume_node(scene, values), tmp_path, kind="PM", compression="deflate")
    assert path.stat().st_size < values.nbytes / 3
    assert pydicom.dcmread(path).FloatPixelData == values.tobytes()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"compression": "rle"}, "cannot hold floating point values"),
        ({"pixel_type": "int8"}, "pixel_type is one of"),
        ({"pixel_type": "uint16"}, "without a value"),
        ({"grid": "source"}, "no source images"),
        ({"grid": "mine"}, "grid is"),
        ({"units": "a^b"}, "units is a code"),
        ({"FloatPixelData": b""}, "follows from what is written"),
        ({"nonsense": 1}, "Unknown option nonsense"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(scene: Any, tmp_path: Path, options: Any, reason: str) -> None:
    values = planes_of(2)
    values[0, 0, 0] = np.nan
    with pytest.raises(ExportError, match=reason):
        dicombridge.export(volume_node(scene, values), tmp_path / "out", kind="PM", **options)
    assert list((tmp_path / "out").glob("*")) == []


def test_values_beyond_float32(scene: Any, tmp_path: Path) -> None:
    values = np.full((2, 6, 8), 1e300)
    with pytest.raises(ExportError, match="float64"):
        dicombridge.export(volume_node(scene, values), tmp_path, kind="PM", pixel_type="float32")


# --- Codes ---------------------------------------------------------------------------------------------------------


def test_codes_of_the_node(scene: Any, tmp_path: Path) -> None:
    path, dataset = written(volume_node(scene, planes_of(2)), tmp_path)
    item = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert item.MeasurementUnitsCodeSequence[0].CodeValue == "um2/s"
    (definition,) = item.QuantityDefinitionSequence
    assert definition.ConceptNameCodeSequence[0].CodeValue == "246205007"
    assert definition.ConceptCodeSequence[0].CodeMeaning == "Apparent Diffusion Coefficient"
    (back,) = again(path)
    assert back.GetVoxelValueQuantity().GetAsPrintableString() == coded_entry(ADC).GetAsPrintableString()


def test_codes_of_the_caller(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = volume_node(scene, planes_of(2), codes=False)
    options = {
        "quantity": "110808^DCM^Fractional Anisotropy",
        "units": "1",
        "label": "FA",
        "derivation": "113050^DCM^X",
    }
    _, dataset = written(node, tmp_path, ContentLabel="FA_MAP", **options)
    item = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (item.LUTLabel, item.MeasurementUnitsCodeSequence[0].CodeValue) == ("FA", "1")
    assert item.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "110808"
    assert dataset.ContentLabel == "FA_MAP"
    assert "unit" not in caplog.text
    dicombridge.export(node, tmp_path / "none", kind="PM")
    assert "has no unit" in caplog.text


# --- Several maps, and time ----------------------------------------------------------------------------------------


def test_several_maps_in_one_object(scene: Any, tmp_path: Path) -> None:
    """highdicom tells them apart by their label; we load each with its own unit."""
    arrays = [planes_of(3, seed=seed) for seed in range(3)]
    nodes = [volume_node(scene, array, f"Map {n}") for n, array in enumerate(arrays)]
    nodes[1].SetVoxelValueUnits(coded_entry(Code("s", "UCUM", "second")))
    path, dataset = written(nodes, tmp_path)
    assert dataset.NumberOfFrames == 9
    labels = [g.RealWorldValueMappingSequence[0].LUTLabel for g in dataset.PerFrameFunctionalGroupsSequence]
    assert labels == [f"Map {n}" for n in range(3) for _ in range(3)]
    back = again(path)
    assert [node.GetVoxelValueUnits().GetCodeValue() for node in back] == ["um2/s", "s", "um2/s"]
    for node, array in zip(back, arrays, strict=True):
        np.testing.assert_array_equal(array_of(node), array)


def test_maps_on_different_grids_become_different_objects(scene: Any, tmp_path: Path) -> None:
    one = volume_node(scene, planes_of(3))
    other = volume_node(scene, planes_of(4), "other", matrix=np.diag([2.0, 2.0, 4.0, 1.0]))
    paths = dicombridge.export([one, other], tmp_path, kind="PM")
    assert sorted(pydicom.dcmread(path).NumberOfFrames for path in paths) == [3, 4]


@pytest.mark.parametrize(
    ("unit", "expected"), [("s", [0.0, 2.5, 10.0]), ("ms", [0.0, 0.0025, 0.01]), ("", [1.0, 2.0, 3.0])]
)
def test_a_sequence_has_a_time_dimension(scene: Any, tmp_path: Path, unit: str, expected: list[float]) -> None:
    arrays = [planes_of(2, seed=seed) for seed in range(3)]
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Perfusion")
    sequence.SetIndexUnit(unit)
    for time, array in zip(["0", "2.5", "10"], arrays, strict=True):
        sequence.SetDataNodeAtValue(volume_node(scene, array), time)
    path, dataset = written(sequence, tmp_path)
    assert dataset.NumberOfFrames == 6
    assert len(dataset.DimensionIndexSequence) == 2
    (back,) = again(path)
    assert back.IsA("vtkMRMLSequenceNode")
    times = [float(back.GetNthIndexValue(number)) for number in range(back.GetNumberOfDataNodes())]
    assert times == pytest.approx(expected)
    for number, array in enumerate(arrays):
        np.testing.assert_array_equal(array_of(back.GetNthDataNode(number)), array)


# --- Sources and places --------------------------------------------------------------------------------------------


@pytest.fixture
def study(data: Path) -> Path:
    return data / "pm" / "dcmqi_adc_source"


def test_a_volume_of_images_names_them(scene: Any, study: Path, tmp_path: Path) -> None:
    """A module computed new values in a copy of the images' volume: every slice names its image."""
    with dicombridge.open_folder(study, index=":memory:") as database:
        (image,) = dicombridge.load(study, scene=scene, database=database)
        image.SetVoxelValueUnits(coded_entry(UM2_S))
        _, dataset = written(image, tmp_path, database=database, SeriesDescription="ADC")
    positions = {}
    for path in study.glob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        positions[str(header.SOPInstanceUID)] = [float(value) for value in header.ImagePositionPatient]
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        (named,) = groups.DerivationImageSequence[0].SourceImageSequence
        position = [float(value) for value in groups.PlanePositionSequence[0].ImagePositionPatient]
        np.testing.assert_allclose(position, positions[named.ReferencedSOPInstanceUID], atol=0.02)
    (series,) = dataset.ReferencedSeriesSequence
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence} == set(positions)
    assert (dataset.FrameOfReferenceUID, dataset.PatientID) == (header.FrameOfReferenceUID, header.PatientID)
    assert dataset.Modality == "MR"


def test_files_of_one_study_agree(scene: Any, study: Path, tmp_path: Path) -> None:
    with dicombridge.open_folder(study, index=":memory:") as database:
        (image,) = dicombridge.load(study, scene=scene, database=database)
        path, _ = written(image, tmp_path, database=database)
    assert_consistent(path, sorted(study.glob("*.dcm")), tmp_path)


def test_the_grid_of_the_source(scene: Any, study: Path, tmp_path: Path) -> None:
    """Values between voxels are interpolated linearly: a linear function of the place stays one."""
    with dicombridge.open_folder(study, index=":memory:") as database:
        (image,) = dicombridge.load(study, scene=scene, database=database)
        coarse = np.zeros((8, 30, 32), np.float32)
        coarse += np.arange(8)[:, None, None] * 7 + np.arange(30)[:, None] * 0.5 - np.arange(32)
        matrix = np.eye(4)
        # to_lps is in LPS; the same grid in RAS has its first two rows negated.
        whole = lps_of_volume(image) * np.array([[-1], [-1], [1], [1]])
        scale = np.diag([4.0, 4.0, 2.0, 1.0])
        scale[:3, 3] = (60, 60, 1)
        matrix = whole @ scale
        node = volume_node(scene, coarse, matrix=matrix)
        path, dataset = written(node, tmp_path, database=database, source=image, grid="source")
        (back,) = again(path, database)
    assert (dataset.Rows, dataset.Columns) == (256, 256)
    np.testing.assert_allclose(lps_of_volume(back), lps_of_volume(image), atol=1e-3)
    values = array_of(back)
    for slice_, row, column in ((1, 60, 60), (3, 62, 61), (6, 101, 130)):
        expected = (slice_ - 1) / 2 * 7 + (row - 60) / 4 * 0.5 - (column - 60) / 4
        assert values[slice_, row, column] == pytest.approx(expected, abs=1e-3)
    assert np.isnan(values[0, 0, 0])


def test_a_transform_moves_the_map(scene: Any, tmp_path: Path) -> None:
    values = planes_of(3)
    node = volume_node(scene, values, matrix=np.diag([2.0, 2.0, 3.0, 1.0]))
    turn = np.eye(4)
    turn[:3, :3] = OBLIQUE
    turn[:3, 3] = (5, 6, 7)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    transform.SetMatrixTransformToParent(vtk_matrix(turn))
    before = lps_of_volume(node)
    node.SetAndObserveTransformNodeID(transform.GetID())
    path, _ = written(node, tmp_path)
    (back,) = again(path)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(lps_of_volume(back), flip @ turn @ flip @ before, atol=1e-9)
    np.testing.assert_array_equal(array_of(back), values)
    assert node.GetTransformNodeID() == transform.GetID()


def test_a_tilted_gantry_stays_tilted(scene: Any, data: Path, tmp_path: Path) -> None:
    """Frames have positions, so slices that are shifted against each other need no interpolation."""
    (image,) = dicombridge.load(data / "images" / "geometry" / "gantry_tilt_siemens", scene=scene)
    path, _ = written(image, tmp_path)
    (back,) = again(path)
    np.testing.assert_allclose(lps_of_volume(back), lps_of_volume(image), atol=0.02)
    np.testing.assert_array_equal(array_of(back), array_of(image))


def test_a_sheared_volume_is_interpolated(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rows and columns that are not perpendicular have no place in DICOM: a linear function of the place stays one."""
    matrix = np.eye(4)
    matrix[0, 1] = 0.25
    values = np.zeros((3, 20, 24), np.float32) + np.arange(24, dtype=np.float32) + 0.25 * np.arange(20)[:, None]
    node = volume_node(scene, values.astype(np.float32), matrix=matrix)  # the value is R, whatever the grid
    path, _ = written(node, tmp_path)
    assert "interpolated" in caplog.text
    (back,) = again(path)
    got, place = array_of(back), lps_of_volume(back)
    found = np.argwhere(np.isfinite(got))
    expected = [-(place @ [column, row, slice_, 1.0])[0] for slice_, row, column in found]
    assert len(found) > 3 * 20 * 15
    np.testing.assert_allclose(got[np.isfinite(got)], expected, atol=1e-4)


def test_without_a_source_it_has_a_frame_of_reference_of_its_own(scene: Any, tmp_path: Path) -> None:
    node = volume_node(scene, planes_of(2))
    _, one = written(node, tmp_path / "one", PatientName="DOE^JANE", PatientID="7")
    _, other = written(node, tmp_path / "other")
    assert one.FrameOfReferenceUID != other.FrameOfReferenceUID
    assert (str(one.PatientName), one.PatientID) == ("DOE^JANE", "7")
    assert "ReferencedSeriesSequence" not in one


# --- Other programs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slices", [1, 5])
def test_dcmqi_reads_it(scene: Any, tmp_path: Path, slices: int) -> None:
    """32-bit floats only: its reader ends with a signal for all other maps, those of highdicom included."""
    values = planes_of(slices)
    node = volume_node(scene, values)
    path, _ = written(node, tmp_path)
    run(tool("paramap2itkimage"), "--inputDICOM", path, "--outputDirectory", tmp_path, "--prefix", "theirs")
    (found,) = tmp_path.glob("theirs*.nrrd")
    voxels, matrix = read_nrrd(found)
    np.testing.assert_array_equal(voxels, values)
    np.testing.assert_allclose(matrix, lps_of_volume(node), atol=1e-4)


def test_highdicom_reads_it(scene: Any, tmp_path: Path) -> None:
    arrays = [planes_of(3, seed=seed, dtype=np.uint16).astype(np.float32) for seed in range(2)]
    nodes = [volume_node(scene, array, f"Map {n}") for n, array in enumerate(arrays)]
    path, dataset = written(nodes, tmp_path, pixel_type="uint16")
    image = highdicom.imread(path)
    frames = image.get_frames(apply_real_world_transform=True, dtype=np.float64)
    for number, array in enumerate(arrays):
        item = dataset.PerFrameFunctionalGroupsSequence[3 * number].RealWorldValueMappingSequence[0]
        assert np.abs(frames[3 * number : 3 * number + 3] - array).max() <= item.RealWorldValueSlope / 2 * 1.001


def test_progress_can_cancel(scene: Any, tmp_path: Path) -> None:
    def stop(fraction: float, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dicombridge.export(volume_node(scene, planes_of(3)), tmp_path / "out", kind="PM", progress=stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_source_is_said_where_it_forms_no_grid(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    node = volume_node(scene, planes_of(2))
    with pytest.raises(ExportError, match="absent"):
        dicombridge.export(node, tmp_path, kind="PM", source="absent")
