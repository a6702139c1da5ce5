"""Parametric maps as volume nodes: values, geometry, quantity, window, and what the nodes remember."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from support.pm_objects import MapFrame, mapping_item, parametric_map, planes_of, set_pixels, write
from support.scenes import saved_and_read
from support.seg_objects import AXIAL, SAGITTAL
from support.volumes import array_of, lps_of_volume

import dicombridge
from dicombridge.errors import MissingReferenceError
from dicombridge.shadow import dataset_from_text, remembered

ADC = ("113041", "DCM", "Apparent Diffusion Coefficient")
UM2_S = ("um2/s", "UCUM", "um2/s")
METHOD = ("370129005", "SCT", "Measurement Method")
MODEL = ("DWMRxxxx10", "99QIICR", "Mono-exponential model")


def frames_of(pixels: Any, step: float = 3.0, **options: Any) -> list[MapFrame]:
    return [MapFrame((-10, 20, step * k), plane, **options) for k, plane in enumerate(pixels)]


def loaded(path: Path, scene: Any, count: int = 1) -> list[Any]:
    nodes = dicombridge.load(path, scene=scene)
    assert len(nodes) == count
    return nodes


@pytest.mark.parametrize("name", ["parametric_map_float", "parametric_map_double_float"])
def test_real_maps_have_highdicoms_values(data: Path, scene: Any, name: str) -> None:
    path = data / "pm" / "highdicom" / f"{name}.dcm"
    (node,) = loaded(path, scene)
    peer = highdicom.imread(path)  # 0.27 applies no transforms to floating point pixels; these are the identity
    np.testing.assert_array_equal(array_of(node)[0], peer.pixel_array)
    assert array_of(node).dtype == (np.float64 if "double" in name else np.float32)
    affine = peer.get_volume_geometry().affine
    np.testing.assert_allclose(lps_of_volume(node)[:, [0, 1, 3]], affine[:, [2, 1, 3]], atol=1e-6)
    assert (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()) == (1.0, 0.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_maps_are_bit_exact(scene: Any, tmp_path: Path, dtype: str) -> None:
    pixels = planes_of(4, dtype=dtype)
    pixels[1, 2, 3], pixels[1, 2, 4], pixels[2, 0, 0] = np.nan, np.inf, np.finfo(dtype).tiny / 4
    (node,) = loaded(write(parametric_map(frames_of(pixels), mappings=[mapping_item()]), tmp_path), scene)
    assert array_of(node).dtype == dtype
    assert array_of(node).tobytes() == pixels.tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32"])
def test_integers_become_real_world_values(scene: Any, tmp_path: Path, dtype: str) -> None:
    pixels = planes_of(3, dtype=dtype)
    slope, intercept = 0.0123456789, -7.25
    (node,) = loaded(
        write(parametric_map(frames_of(pixels), mappings=[mapping_item(slope, intercept)]), tmp_path), scene
    )
    expected = pixels.astype(np.float64) * slope + intercept
    np.testing.assert_allclose(array_of(node), expected, rtol=1e-7)
    assert array_of(node).dtype == (np.float64 if "32" in dtype else np.float32)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_integers_that_are_the_values_stay_integers(scene: Any, tmp_path: Path, dtype: str) -> None:
    pixels = planes_of(3, dtype=dtype)
    (node,) = loaded(write(parametric_map(frames_of(pixels), mappings=[mapping_item()]), tmp_path), scene)
    assert array_of(node).dtype == dtype
    np.testing.assert_array_equal(array_of(node), pixels)


def test_slope_and_intercept_of_float_maps_are_applied(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(3, dtype=np.float32)
    dataset = parametric_map(frames_of(pixels), mappings=[mapping_item(0.001, 2.0)])
    (node,) = loaded(write(dataset, tmp_path), scene)
    np.testing.assert_allclose(array_of(node), pixels.astype(np.float64) * 0.001 + 2.0, rtol=1e-6)


def test_a_table_is_applied_and_what_it_lacks_is_nan(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.arange(2 * 6 * 8, dtype=np.uint16).reshape(2, 6, 8)
    lut = np.linspace(-1.0, 1.0, 81) ** 3
    dataset = parametric_map(frames_of(pixels), mappings=[mapping_item(values=(10, 90), lut=lut)])
    with caplog.at_level(logging.WARNING):
        (node,) = loaded(write(dataset, tmp_path), scene)
    inside = (pixels >= 10) & (pixels <= 90)
    expected = np.where(inside, lut[np.clip(pixels.astype(int) - 10, 0, 80)], np.nan)
    np.testing.assert_allclose(array_of(node), expected, rtol=1e-6)
    assert f"{(~inside).sum()} voxels" in caplog.text


def test_several_ranges_make_one_map(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.arange(2 * 6 * 8, dtype=np.uint16).reshape(2, 6, 8)
    items = [mapping_item(2.0, 1.0, values=(0, 49)), mapping_item(-0.5, 100.0, values=(50, 80))]
    with caplog.at_level(logging.WARNING):
        (node,) = loaded(write(parametric_map(frames_of(pixels), mappings=items), tmp_path), scene)
    expected = np.where(pixels < 50, 2.0 * pixels + 1, np.where(pixels < 81, -0.5 * pixels + 100, np.nan))
    np.testing.assert_allclose(array_of(node), expected)
    assert "15 voxels" in caplog.text


def test_beyond_its_range_one_line_goes_on_with_a_warning(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.arange(2 * 6 * 8, dtype=np.uint16).reshape(2, 6, 8)
    dataset = parametric_map(frames_of(pixels), mappings=[mapping_item(0.5, 0.0, values=(0, 90))])
    with caplog.at_level(logging.WARNING):
        (node,) = loaded(write(dataset, tmp_path), scene)
    np.testing.assert_array_equal(array_of(node), pixels / 2)
    assert "5 voxels" in caplog.text


def test_a_range_of_one_value_is_none(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As dcmqi writes it for floating point maps."""
    dataset = parametric_map(frames_of(planes_of(2)), mappings=[mapping_item(values=(0, 0))])
    with caplog.at_level(logging.WARNING):
        loaded(write(dataset, tmp_path), scene)
    assert caplog.text == ""


def test_nan_is_not_beyond_a_range(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = np.clip(planes_of(2), -1, 1)
    pixels[0, 0, 0] = np.nan
    dataset = parametric_map(frames_of(pixels), mappings=[mapping_item(values=(-1.0, 1.0), vr="FD")])
    with caplog.at_level(logging.WARNING):
        loaded(write(dataset, tmp_path), scene)
    assert caplog.text == ""


def test_several_meanings_of_one_frame_are_several_maps(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(3, dtype=np.uint16)
    items = [
        mapping_item(0.1, 5.0, label="T1", units=("ms", "UCUM", "millisecond"), quantity=("113063", "DCM", "T1")),
        mapping_item(2.0, 0.0, label="R1", units=("/s", "UCUM", "per second"), quantity=("126339", "DCM", "R1")),
    ]
    nodes = loaded(write(parametric_map(frames_of(pixels), mappings=items), tmp_path), scene, count=2)
    for node, factor, offset, unit in zip(nodes, (0.1, 2.0), (5.0, 0.0), ("ms", "/s"), strict=True):
        np.testing.assert_allclose(array_of(node), pixels.astype(float) * factor + offset, rtol=1e-6)
        assert node.GetVoxelValueUnits().GetCodeValue() == unit
    assert [node.GetName().rpartition(" - ")[2] for node in nodes] == ["T1", "R1"]
    assert [node.GetAttribute("DICOMBridge.MapNumber") for node in nodes] == ["1", "2"]


def test_the_scale_of_each_frame_is_its_own(scene: Any, tmp_path: Path) -> None:
    """As in PET: one map whose slices were scaled to use all of their bits."""
    pixels = planes_of(5, dtype=np.uint16)
    slopes = [0.5, 0.25, 3.0, 0.125, 7.0]
    frames = [
        MapFrame((0, 0, 2.0 * k), plane, {"RealWorldValueMappingSequence": [mapping_item(slope)]})
        for k, (plane, slope) in enumerate(zip(pixels, slopes, strict=True))
    ]
    (node,) = loaded(write(parametric_map(frames), tmp_path), scene)
    np.testing.assert_allclose(array_of(node), pixels * np.array(slopes)[:, None, None], rtol=1e-7)


def test_without_a_mapping_the_values_are_as_stored(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = planes_of(3)
    with caplog.at_level(logging.WARNING):
        (node,) = loaded(write(parametric_map(frames_of(pixels)), tmp_path), scene)
    np.testing.assert_array_equal(array_of(node), pixels)
    assert "do not say what their values mean" in caplog.text
    assert node.GetVoxelValueUnits() is None


# --- Geometry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, (0.8, 0.6, 0, -0.6, 0.8, 0)])
@pytest.mark.parametrize("order", ["up", "down", "shuffled"])
def test_slices_lie_where_the_frames_do(scene: Any, tmp_path: Path, orientation: Any, order: str) -> None:
    pixels = planes_of(5)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    origin = np.array([5.0, -3.0, 7.0])
    frames = [MapFrame(origin + 2.5 * k * normal, plane) for k, plane in enumerate(pixels)]
    numbers = {"up": [0, 1, 2, 3, 4], "down": [4, 3, 2, 1, 0], "shuffled": [3, 0, 4, 1, 2]}[order]
    dataset = parametric_map([frames[k] for k in numbers], mappings=[mapping_item()], orientation=orientation)
    (node,) = loaded(write(dataset, tmp_path), scene)
    np.testing.assert_array_equal(array_of(node), pixels)
    expected = np.eye(4)
    expected[:3] = np.stack([row * 1.25, column * 0.8, normal * 2.5, origin], axis=1)
    np.testing.assert_allclose(lps_of_volume(node), expected, atol=1e-6)
    assert np.linalg.det(lps_of_volume(node)[:3, :3]) > 0


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_missing_slices_are_nan(scene: Any, tmp_path: Path, dtype: str, caplog: pytest.LogCaptureFixture) -> None:
    pixels = planes_of(5, dtype=dtype)
    frames = [frame for k, frame in enumerate(frames_of(pixels)) if k != 2]
    with caplog.at_level(logging.WARNING):
        (node,) = loaded(write(parametric_map(frames, mappings=[mapping_item()]), tmp_path), scene)
    expected = pixels.astype(np.float32)
    expected[2] = np.nan
    np.testing.assert_array_equal(array_of(node), expected)
    assert node.GetAttribute("DICOMBridge.MissingSlices") == "2"
    assert "1 of 5 slices" in caplog.text


def test_stacks_of_other_orientation_are_volumes_of_their_own(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(6)
    frames = [MapFrame((0, 0, 2.0 * k), pixels[k], orientation=AXIAL) for k in range(3)]
    frames += [MapFrame((2.0 * k, 0, 0), pixels[3 + k], orientation=SAGITTAL) for k in range(3)]
    nodes = loaded(write(parametric_map(frames, mappings=[mapping_item()]), tmp_path), scene, count=2)
    assert sorted(array_of(node).tobytes() for node in nodes) == sorted(
        [pixels[:3].tobytes(), pixels[[5, 4, 3]].tobytes()]
    )


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_frames_that_were_cut_out_lie_where_they_were(scene: Any, tmp_path: Path, dtype: str) -> None:
    """Frames of one size that begin elsewhere in each slice are put on a grid that holds them all."""
    pixels = planes_of(3, dtype=dtype)
    shifts = [(0, 0), (2, 1), (1, 3)]
    frames = [
        MapFrame((1.25 * column, 0.8 * row, 3.0 * k), plane)
        for k, (plane, (row, column)) in enumerate(zip(pixels, shifts, strict=True))
    ]
    (node,) = loaded(write(parametric_map(frames, mappings=[mapping_item(2.0)]), tmp_path), scene)
    expected = np.full((3, 8, 11), np.nan)
    for k, (row, column) in enumerate(shifts):
        expected[k, row : row + 6, column : column + 8] = 2.0 * pixels[k]
    np.testing.assert_allclose(array_of(node), expected)
    np.testing.assert_allclose(lps_of_volume(node), np.diag([1.25, 0.8, 3.0, 1.0]), atol=1e-6)


def test_descriptions_of_frames_that_are_not_there_are_left(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = planes_of(4)
    dataset = parametric_map(frames_of(pixels), mappings=[mapping_item()])
    set_pixels(dataset, pixels[:3])
    dataset.NumberOfFrames = 3
    with caplog.at_level(logging.WARNING):
        (node,) = loaded(write(dataset, tmp_path), scene)
    np.testing.assert_array_equal(array_of(node), pixels[:3])
    assert "1 more frames" in caplog.text


def test_frames_without_a_place_lie_where_their_sources_lie(scene: Any, data: Path, tmp_path: Path) -> None:
    folder = data / "pm" / "dcmqi_adc_source"
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.glob("*.dcm"))[:4]]
    pixels = planes_of(4, (256, 256))
    frames = [
        MapFrame((0, 0, 0), plane, sources=[(image.SOPInstanceUID, 0)])
        for plane, image in zip(pixels, images, strict=True)
    ]
    dataset = parametric_map(frames, mappings=[mapping_item()])
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        del groups.PlanePositionSequence
    del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    path = write(dataset, tmp_path)
    with pytest.raises(MissingReferenceError):
        dicombridge.load(path, scene=scene)
    with dicombridge.open_folder(folder, index=":memory:") as database:
        (node,) = dicombridge.load(path, scene=scene, database=database)
    order = np.argsort([float(image.ImagePositionPatient[2]) for image in images])
    np.testing.assert_array_equal(array_of(node), pixels[order])
    np.testing.assert_allclose(
        lps_of_volume(node)[:3, 3], [float(v) for v in images[order[0]].ImagePositionPatient], atol=1e-4
    )


# --- What the file says of the values ------------------------------------------------------------------------------


def test_quantity_units_and_definitions(scene: Any, tmp_path: Path) -> None:
    definitions = [(METHOD, MODEL), (("113240", "DCM", "Source image diffusion b-value"), 1400.0)]
    item = mapping_item(units=UM2_S, quantity=ADC, definitions=definitions, explanation="Größe", label="ADC")
    path = write(parametric_map(frames_of(planes_of(2)), mappings=[item]), tmp_path)
    (node,) = loaded(path, scene)
    assert node.GetVoxelValueQuantity().GetCodeValue() == "113041"
    assert node.GetVoxelValueUnits().GetCodeValue() == "um2/s"
    assert node.GetAttribute("DICOMBridge.Definitions") == (
        "Measurement Method: Mono-exponential model; Source image diffusion b-value: 1400"
    )
    again = dataset_from_text(node.GetAttribute("DICOMBridge.ValueMapping"))
    assert again is not None
    assert again == item


def test_retired_codes_of_dcmqi_are_understood(scene: Any, tmp_path: Path) -> None:
    item = mapping_item(units=UM2_S, definitions=[(("G-C1C6", "SRT", "Quantity"), ADC)])
    (node,) = loaded(write(parametric_map(frames_of(planes_of(2)), mappings=[item]), tmp_path), scene)
    assert node.GetVoxelValueQuantity().GetCodeValue() == "113041"


def test_the_window_is_turned_into_real_world_values(scene: Any, tmp_path: Path) -> None:
    """It is given in rescaled values, and voxels are real world values (PS3.3 C.7.6.16.2.10b)."""
    dataset = parametric_map(
        frames_of(planes_of(2, dtype=np.uint16)),
        mappings=[mapping_item(0.5, 10.0)],
        window=(300, 200),
        rescale=(2, 100),
    )
    (node,) = loaded(write(dataset, tmp_path), scene)
    display = node.GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert (display.GetWindow(), display.GetLevel()) == (50.0, 60.0)


def test_without_a_window_nearly_all_values_are_shown(scene: Any, tmp_path: Path) -> None:
    pixels = np.linspace(0, 1000, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
    pixels[0, 0, 0], pixels[0, 0, 1] = 1e30, np.nan
    (node,) = loaded(write(parametric_map(frames_of(pixels), mappings=[mapping_item()]), tmp_path), scene)
    display = node.GetDisplayNode()
    assert display.GetLevel() == pytest.approx(500, abs=10)
    assert display.GetWindow() == pytest.approx(990, abs=10)


# --- What stays ----------------------------------------------------------------------------------------------------


def test_all_that_is_remembered_survives_a_scene_file(scene: Any, tmp_path: Path) -> None:
    uids = [generate_uid() for _ in range(2)]
    pixels = planes_of(2)
    frames = [MapFrame((0, 0, k), pixels[k], sources=[(uids[k], k)]) for k in range(2)]
    dataset = parametric_map(frames, mappings=[mapping_item(units=UM2_S, quantity=ADC)], window=(0, 3))
    loaded(write(dataset, tmp_path), scene)
    node = saved_and_read(scene, tmp_path).GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    np.testing.assert_array_equal(array_of(node), pixels)
    assert node.GetVoxelValueQuantity().GetCodeValue() == "113041"
    assert node.GetAttribute("DICOM.instanceUIDs") == dataset.SOPInstanceUID
    assert node.GetAttribute("DICOMBridge.StoredType") == "float32"
    header = remembered(node)
    assert header is not None
    assert (header.PatientName, header.ContentLabel) == ("DOE^JANE", "MAPS")
    assert header.SharedFunctionalGroupsSequence == dataset.SharedFunctionalGroupsSequence
    derivation = dataset_from_text(node.GetAttribute("DICOMBridge.Derivation"))
    assert derivation is not None
    assert derivation.CodeValue == "110816"
    from dicombridge.source_instances import remembered_sources

    assert remembered_sources(node) == {0: [(uids[0], 0)], 1: [(uids[1], 1)]}


def test_implicit_vr_is_the_same(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(2, dtype=np.int16)
    item = mapping_item(0.5, 1.0, values=(-32768, 32767), vr="SS", units=UM2_S, quantity=ADC)
    dataset = parametric_map(frames_of(pixels), mappings=[item])
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    (node,) = loaded(write(dataset, tmp_path), scene)
    np.testing.assert_allclose(array_of(node), pixels.astype(float) * 0.5 + 1)
    assert node.GetVoxelValueQuantity().GetCodeValue() == "113041"


def test_examine_says_what_it_is(tmp_path: Path) -> None:
    items = [mapping_item(units=UM2_S, quantity=ADC)]
    write(parametric_map(frames_of(planes_of(2)), mappings=items), tmp_path)
    with dicombridge.open_folder(tmp_path, index=":memory:") as database:
        (loadable,) = dicombridge.examine(database)
    assert (loadable.kind, loadable.name, loadable.confidence) == ("PM", "60: Maps", 0.97)
    assert loadable.tooltip.endswith("Apparent Diffusion Coefficient in um2/s (2 frames)")
    assert loadable.warning == ""
