"""How values become stored ones: what is exact, what is told, and what no map can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.pm_objects import planes_of
from support.volumes import array_of
from test_parametric_map_export import again, volume_node, written

import dicombridge
from dicombridge.codes import Code, coded_entry
from dicombridge.errors import ExportError
from dicombridge.geometry import vtk_matrix


def mapping_of(dataset: pydicom.Dataset) -> pydicom.Dataset:
    return dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]


def spread(dtype: Any, low: int, step: int) -> Any:
    return (np.arange(4 * 6 * 8) * step + low).astype(dtype).reshape(4, 6, 8)


# --- Whole numbers in 16 bits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_whole_numbers_are_exact_in_16_bits(
    scene: Any, tmp_path: Path, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    values = spread(dtype, *((3, 1) if dtype == "uint8" else (7, 300) if dtype == "uint16" else (-20000, 200)))
    path, dataset = written(volume_node(scene, values), tmp_path, pixel_type="uint16")
    item = mapping_of(dataset)
    assert (item.RealWorldValueSlope, item.RealWorldValueIntercept) == (1, values.min())
    assert item.RealWorldValueLastValueMapped == int(values.max()) - int(values.min())
    np.testing.assert_array_equal(array_of(again(path)[0]), values)
    assert "is off by" not in caplog.text


def test_whole_numbers_beyond_16_bits_have_an_error_that_is_told(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = spread("int32", -5, 1000)
    path, dataset = written(volume_node(scene, values), tmp_path, pixel_type="uint16")
    half_step = mapping_of(dataset).RealWorldValueSlope / 2
    assert half_step == pytest.approx(191000 / 65535 / 2)
    assert 0 < np.abs(array_of(again(path)[0]) - values).max() <= half_step * 1.001
    assert f"as uint16: no value is off by more than {half_step:.3g} um2/s" in caplog.text


# --- Rounding to floating point ------------------------------------------------------------------------------------


def test_rounding_to_float32_is_told(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = planes_of(4, dtype=np.float64)
    path, _ = written(volume_node(scene, values), tmp_path, pixel_type="float32")
    worst = np.abs(array_of(again(path)[0]).astype(float) - values).max()
    assert worst > 0
    assert f"as float32: no value is off by more than {worst:.3g} um2/s" in caplog.text


@pytest.mark.parametrize(
    ("dtype", "low", "options", "error"),
    [("int32", 2**25 + 1, {"pixel_type": "float32"}, 2), ("int64", 2**60 + 1, {}, 128)],
)
def test_whole_numbers_that_floats_cannot_hold_are_told(
    scene: Any, tmp_path: Path, dtype: str, low: int, options: Any, error: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Floats of that size are 4 or 256 apart."""
    values = spread(dtype, low, 1)
    path, _ = written(volume_node(scene, values), tmp_path, **options)
    back = array_of(again(path)[0])
    assert 0 < max(abs(int(one) - int(other)) for one, other in zip(back.flat, values.flat, strict=True)) <= error
    assert f"no value is off by more than {error} um2/s" in caplog.text


def test_values_without_rounding_are_not_told(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(volume_node(scene, spread("int32", 0, 5)), tmp_path, pixel_type="float32")
    written(volume_node(scene, planes_of(4, dtype=np.float32)), tmp_path / "wide", pixel_type="float64")
    assert "is off by" not in caplog.text


# --- Windows, labels, units ----------------------------------------------------------------------------------------


def test_a_window_is_one_for_every_reader_even_where_values_are_absurd(scene: Any, tmp_path: Path) -> None:
    """dciodvfy takes widths of 1e20 and more for negative."""
    values = planes_of(3, dtype=np.float64)
    values[0, 0, 0] = 1e300
    path, dataset = written(volume_node(scene, values), tmp_path)
    assert 0 < dataset.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0].WindowWidth <= 9e18
    assert array_of(again(path)[0])[0, 0, 0] == 1e300


def test_labels_with_letters_of_several_bytes(scene: Any, tmp_path: Path) -> None:
    _, dataset = written(volume_node(scene, planes_of(2), name="Größenänderungen"), tmp_path)
    assert mapping_of(dataset).LUTLabel == "Größenänderun"
    assert dataset.ContentDescription == "Größenänderungen"


def test_maps_of_one_name_have_names_of_their_own(scene: Any, tmp_path: Path) -> None:
    path, _ = written([volume_node(scene, planes_of(2, seed=n), name="Map") for n in range(2)], tmp_path)
    names = [node.GetName().rpartition(" - ")[2] for node in again(path)]
    assert names == ["Apparent Diffusion Coefficient Map", "Apparent Diffusion Coefficient Map 2"]


@pytest.mark.parametrize("spelling", ["{SUVbw}g/ml", "g/ml{SUVbw}"])
def test_units_of_suv_are_written_as_the_standard_spells_them(scene: Any, tmp_path: Path, spelling: str) -> None:
    """PS3.16 CID 85; on nodes they are what Slicer's modules look for."""
    node = volume_node(scene, planes_of(2), codes=False)
    node.SetVoxelValueUnits(coded_entry(Code(spelling, "UCUM", "Standardized Uptake Value body weight")))
    path, dataset = written(node, tmp_path)
    assert mapping_of(dataset).MeasurementUnitsCodeSequence[0].CodeValue == "g/ml{SUVbw}"
    (back,) = again(path)
    assert back.GetVoxelValueUnits().GetCodeValue() == "{SUVbw}g/ml"


def test_a_map_keeps_the_spelling_that_it_came_with(scene: Any, tmp_path: Path) -> None:
    path, dataset = written(volume_node(scene, planes_of(2), codes=False), tmp_path, units="g/ml{SUVbw}")
    mapping_of(dataset).MeasurementUnitsCodeSequence[0].CodeValue = "{SUVbw}g/ml"
    dataset.save_as(path)
    _, again_written = written(again(path), tmp_path / "again")
    assert mapping_of(again_written).MeasurementUnitsCodeSequence[0].CodeValue == "{SUVbw}g/ml"


def test_a_method_can_be_given(scene: Any, tmp_path: Path) -> None:
    node = volume_node(scene, planes_of(2))
    path, dataset = written(node, tmp_path, method="113250^DCM^Mono-exponential diffusion model")
    pairs = [
        (item.ConceptNameCodeSequence[0].CodeMeaning, item.ConceptCodeSequence[0].CodeValue)
        for item in mapping_of(dataset).QuantityDefinitionSequence
    ]
    assert pairs == [("Quantity", "113041"), ("Measurement Method", "113250")]
    (back,) = again(path)
    assert back.GetAttribute("DICOMBridge.Definitions") == "Measurement Method: Mono-exponential diffusion model"
    _, anew = written(back, tmp_path / "again", method=("X1", "99ACME", "Another one"))
    methods = [item.ConceptCodeSequence[0].CodeValue for item in mapping_of(anew).QuantityDefinitionSequence]
    assert methods == ["113041", "X1"]


# --- Label maps ----------------------------------------------------------------------------------------------------


def test_labels_are_written_but_not_interpolated(scene: Any, tmp_path: Path) -> None:
    labels = np.random.default_rng(4).integers(0, 5, (3, 6, 8)).astype(np.uint8)
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    node.SetAndObserveImageData(volume_node(scene, labels).GetImageData())
    path, _ = written(node, tmp_path)
    np.testing.assert_array_equal(array_of(again(path)[0]), labels)
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(vtk_matrix(sheared))
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(ExportError, match="'Labels': its labels would have to be interpolated"):
        dicombridge.export(node, tmp_path / "sheared", kind="PM")
    assert not list((tmp_path / "sheared").glob("*"))


# --- Indices of sequences ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "indices", "told"),
    [("s", ["0", "30"], False), ("", ["1", "2"], False), ("%", ["0", "30"], True), ("", ["before", "after"], True)],
)
def test_an_index_that_is_no_time_is_told_to_be_lost(
    scene: Any, tmp_path: Path, unit: str, indices: list[str], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    import slicer

    sequence = slicer.vtkMRMLSequenceNode()
    sequence.SetIndexUnit(unit)
    sequence.SetIndexType(slicer.vtkMRMLSequenceNode.TextIndex)
    scene.AddNode(sequence)
    planes = planes_of(2)
    for index, values in zip(indices, planes, strict=True):
        sequence.SetDataNodeAtValue(volume_node(scene, values[None]), index)
    path, _ = written(sequence, tmp_path)
    (back,) = again(path)
    for number, values in enumerate(planes):
        np.testing.assert_array_equal(array_of(back.GetNthDataNode(number))[0], values)
    assert ("nothing of it was written but the order" in caplog.text) == told
