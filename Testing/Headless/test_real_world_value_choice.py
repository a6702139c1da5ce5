"""Which of several mappings is loaded, under which name, and what callers may say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.rwv_objects import (
    ADC_QUANTITY,
    ADC_UNITS,
    assert_voxels,
    group,
    mapping_item,
    stored_values,
    units_of,
    write_enhanced_dynamic_pet,
    write_object,
    write_pet,
)
from support.volumes import array_of

import dicombridge
from dicombridge.errors import ExportError
from dicombridge.geometry import vtk_matrix


def adc(slope: float = 2.0) -> Any:
    return mapping_item(slope, 5.0, label="ADC", units=ADC_UNITS, quantity=ADC_QUANTITY)


def load(path: Path, folder: Path, **options: Any) -> list[Any]:
    with dicombridge.open_folder(folder) as database:
        return dicombridge.load(path, scene=dicombridge.new_scene(), database=database, **options)


def tails(nodes: list[Any]) -> list[str]:
    return [node.GetName().partition(": ")[2] for node in nodes]


# --- A file, with a database of its references ---------------------------------------------------------------------


def test_a_file_of_a_pet_is_one_image_whatever_it_could_be_too(tmp_path: Path) -> None:
    """With a database, all kinds of SUV came along that nobody had selected."""
    images = write_pet(tmp_path)
    (node,) = load(Path(images[0].filename), tmp_path)
    assert tails([node]) == ["Test"]


def test_each_mapping_of_an_object_is_loaded_once(tmp_path: Path) -> None:
    images = write_pet(tmp_path)
    path = write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5), adc())])
    nodes = load(path, tmp_path)
    assert tails(nodes) == ["Mapped as SUVbw", "Mapped as ADC"]
    assert_voxels(nodes[0], 0.5 * stored_values(images))
    assert_voxels(nodes[1], 2 * stored_values(images) + 5)


# --- A mapping that the caller names -------------------------------------------------------------------------------


def test_a_named_mapping_of_an_object_is_one_node_of_its_name(tmp_path: Path) -> None:
    """There were two nodes with the same values, one of which was called by the other mapping."""
    images = write_pet(tmp_path)
    path = write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5), adc())])
    (node,) = load(path, tmp_path, mapping="mm2/s")
    assert tails([node]) == ["Mapped as ADC"]
    assert_voxels(node, 2 * stored_values(images) + 5)


def test_another_kind_of_suv_than_the_loadable_is_for_has_its_own_name(tmp_path: Path) -> None:
    write_pet(tmp_path)
    with dicombridge.open_folder(tmp_path) as database:
        (weight,) = [one for one in dicombridge.examine(database) if one.options.get("mapping") == "SUVbw"]
        (node,) = dicombridge.load(weight, scene=dicombridge.new_scene(), database=database, mapping="suvlbm (James)")
    assert tails([node]) == ["Test as SUVlbm"]
    assert units_of(node) == "{SUVlbm}g/ml"


def test_without_a_weight_the_suv_that_people_look_for_says_what_is_missing(tmp_path: Path) -> None:
    """Height and sex suffice for the ideal body weight; that was all that was offered."""
    write_pet(tmp_path, PatientWeight=None)
    with dicombridge.open_folder(tmp_path) as database:
        offered = {one.options.get("mapping"): one for one in dicombridge.examine(database)}
    assert "SUVibw" in offered
    assert not offered["SUVibw"].warning
    assert "weight" in offered["SUVbw"].warning
    assert "option weight_kg" in offered["SUVbw"].warning
    assert not offered["SUVbw"].selected


def test_an_intercept_is_no_part_of_the_slope(tmp_path: Path) -> None:
    """SUV = factor x (slope x stored value + intercept): -50 Bq/ml at 0."""
    images = write_pet(tmp_path / "pet", RescaleIntercept="-50")
    factor = 70e3 / (350e6 * 2 ** (-3600 / 6586.2))
    slopes = np.array([float(image.RescaleSlope) for image in images]).reshape(-1, 1, 1)
    expected = factor * (slopes * stored_values(images) - 50)
    (node,) = dicombridge.load(tmp_path / "pet", mapping="SUVbw")
    np.testing.assert_allclose(array_of(node), expected, rtol=1e-6, atol=1e-8)
    with dicombridge.open_folder(tmp_path / "pet") as database:
        (path,) = dicombridge.export(node, tmp_path / "out", kind="RWVM", database=database)
    for group_item, slope in zip(
        pydicom.dcmread(path).ReferencedImageRealWorldValueMappingSequence, slopes.ravel(), strict=True
    ):
        (item,) = group_item.RealWorldValueMappingSequence
        assert item.RealWorldValueSlope == pytest.approx(factor * slope, rel=1e-12)
        assert item.RealWorldValueIntercept == pytest.approx(factor * -50, rel=1e-12)


# --- Items that contradict each other, or do not quite fit ---------------------------------------------------------


@pytest.mark.parametrize("apart", [True, False])
def test_two_items_for_the_same_values_are_two_readings(tmp_path: Path, apart: bool) -> None:
    """Nothing says which one is right; the first one of them used to be taken in silence."""
    images = write_pet(tmp_path)
    items = mapping_item(2.0), mapping_item(3.0)
    groups = [group(images, one) for one in items] if apart else [group(images, *items)]
    nodes = load(write_object(tmp_path / "map.dcm", images, groups), tmp_path)
    assert len({node.GetName() for node in nodes}) == 2
    assert_voxels(nodes[0], 2 * stored_values(images))
    assert_voxels(nodes[1], 3 * stored_values(images))


def test_pieces_of_a_curve_in_several_groups_are_one_reading(tmp_path: Path) -> None:
    images = write_pet(tmp_path)
    low, high = mapping_item(2.0, last=9999), mapping_item(1.0, 1e4, first=10000, last=32767)
    path = write_object(tmp_path / "map.dcm", images, [group(images, low), group(images, high)])
    (node,) = load(path, tmp_path)
    stored = stored_values(images)
    assert (stored < 10000).any()
    assert (stored > 10000).any()
    expected = stored + 1e4
    expected[stored < 10000] = 2 * stored[stored < 10000]
    assert_voxels(node, expected)


def test_images_of_one_frame_may_be_named_with_its_number(tmp_path: Path) -> None:
    images = write_pet(tmp_path, 1)
    path = write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(2.0), frames=[1])])
    (node,) = load(path, tmp_path)
    assert_voxels(node, 2 * stored_values(images))


def test_another_reading_of_what_is_loaded_is_not_called_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pet(tmp_path, 3, CorrectedImage=None)
    dicombridge.load(tmp_path)
    assert "left out" not in caplog.text


def test_an_object_whose_images_are_elsewhere_says_so_in_an_overview(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dicombridge.cli import main

    images = write_pet(tmp_path / "pet")
    path = write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(2.0))])
    assert main(["info", str(path)]) == 0
    assert "None of the 4 images that it maps is in the database" in capsys.readouterr().out


# --- Export --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "quantity"), [("mm2/s", "113041^DCM^ADC"), ("mm2/s^UCUM^mm2/s", ("113041", "DCM", "ADC"))]
)
def test_units_and_quantity_may_be_text(tmp_path: Path, units: Any, quantity: Any) -> None:
    """As a command line gives them."""
    images = write_pet(tmp_path / "pet")
    (node,) = dicombridge.load(tmp_path / "pet")
    with dicombridge.open_folder(tmp_path / "pet") as database:
        (path,) = dicombridge.export(
            node, tmp_path / "out", kind="RWVM", database=database, units=units, quantity=quantity
        )
    (back,) = load(path, tmp_path / "pet")
    assert units_of(back) == "mm2/s"
    assert back.GetVoxelValueQuantity().GetCodeValue() == "113041"
    slopes = [float(image.RescaleSlope) for image in images]
    assert_voxels(back, stored_values(images) * [[[slope]] for slope in slopes])


@pytest.mark.parametrize("options", [{"units": "a^b"}, {"quantity": "ADC"}])
def test_codes_that_are_none_are_refused_in_words(tmp_path: Path, options: dict[str, str]) -> None:
    write_pet(tmp_path / "pet")
    (node,) = dicombridge.load(tmp_path / "pet")
    with dicombridge.open_folder(tmp_path / "pet") as database, pytest.raises(ExportError, match="is a code"):
        dicombridge.export(node, tmp_path / "out", kind="RWVM", database=database, **options)
    assert not list((tmp_path / "out").glob("*"))


def test_a_transform_is_no_part_of_a_mapping(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_pet(tmp_path / "pet")
    (node,) = dicombridge.load(tmp_path / "pet", mapping="SUVbw")
    transform = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(vtk_matrix([[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    node.SetAndObserveTransformNodeID(transform.GetID())
    with dicombridge.open_folder(tmp_path / "pet") as database:
        (path,) = dicombridge.export(node, tmp_path / "out", kind="RWVM", database=database)
    assert "its transform is no part of a mapping" in caplog.text
    (back,) = load(path, tmp_path / "pet")
    factor = 70e3 / (350e6 * 2 ** (-3600 / 6586.2))
    slopes = [float(image.RescaleSlope) for image in images]
    assert_voxels(back, factor * stored_values(images) * [[[slope]] for slope in slopes])


def test_each_time_point_of_a_multi_frame_image_is_mapped_by_its_own_frames(tmp_path: Path) -> None:
    """All of them are of one instance and on one grid; the first one's frames were taken for those of all."""
    pixels = np.random.default_rng(2).integers(0, 30000, (3, 2, 4, 5)).astype(np.uint16)
    write_enhanced_dynamic_pet(tmp_path / "dynamic.dcm", pixels)
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(tmp_path, mapping="SUVbw")
        for time, node in enumerate(nodes):
            (path,) = dicombridge.export(node, tmp_path / f"out{time}", kind="RWVM", database=database)
            (item,) = pydicom.dcmread(path).ReferencedImageRealWorldValueMappingSequence
            (image,) = item.ReferencedImageSequence
            assert list(image.ReferencedFrameNumber) == [2 * time + 1, 2 * time + 2]
            slope = 2.5 * 70e3 / (350e6 * 2 ** (-3600 / 6586.2))
            assert item.RealWorldValueMappingSequence[0].RealWorldValueSlope == pytest.approx(slope, rel=1e-9)
            (back,) = dicombridge.load(path, scene=dicombridge.new_scene(), database=database)
            assert_voxels(back, pixels[time] * slope)


def test_a_first_slice_without_a_mapping_is_no_obstacle(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 30000, (1, 3, 4, 5)).astype(np.uint16)
    image = write_enhanced_dynamic_pet(tmp_path / "image.dcm", pixels)
    path = write_object(tmp_path / "map.dcm", [image], [group([image], mapping_item(2.0), frames=[2, 3])])
    expected = 2.0 * pixels[0]
    expected[0] = np.nan
    (node,) = load(path, tmp_path)
    assert_voxels(node, expected)
    with dicombridge.open_folder(tmp_path) as database:
        (again,) = dicombridge.export(node, tmp_path / "out", kind="RWVM", database=database)
    (item,) = pydicom.dcmread(again).ReferencedImageRealWorldValueMappingSequence
    assert list(item.ReferencedImageSequence[0].ReferencedFrameNumber) == [2, 3]
    (back,) = load(again, tmp_path)
    assert_voxels(back, expected)


def test_ranges_that_are_others_for_signed_images(tmp_path: Path) -> None:
    """33000 to 34000 are -32536 to -31536 then, and no part of 30000 to 40000 any more."""
    images = write_pet(tmp_path)
    items = mapping_item(2.0, first=30000, last=40000), mapping_item(3.0, first=33000, last=34000)
    path = write_object(tmp_path / "map.dcm", images, [group(images, *items)])
    nodes = load(path, tmp_path)
    assert len(nodes) == 2
    assert_voxels(nodes[1], 3 * stored_values(images))
