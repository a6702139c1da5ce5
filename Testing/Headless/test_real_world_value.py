"""Mapping objects: their mappings applied to the stored values of the images that they name."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.rwv_objects import (
    ADC_QUANTITY,
    ADC_UNITS,
    CT_38,
    ENHANCED_CT,
    applied,
    assert_voxels,
    group,
    headers_in,
    mapping_item,
    quantity_of,
    stored_values,
    units_of,
    write_object,
    write_pet,
)
from support.volumes import array_of, matrix_of

import dicombridge
from dicombridge.errors import MissingReferenceError, UnreadableError, UnsupportedError
from dicombridge.hierarchy import attributes_of_node
from dicombridge.kinds import kind_named

REAL = "rwvm/qiicr_headneck_0003/rwvm.dcm"


def offered(folder: Path) -> list[Any]:
    with dicombridge.open_folder(folder) as database:
        return [one for one in dicombridge.examine(database) if one.kind == "RWVM" and one.confidence > 0.5]


def loaded(folder: Path, name: str = "", **options: Any) -> Any:
    """The node of the mapping object's reading whose name ends so."""
    with dicombridge.open_folder(folder) as database:
        (one,) = [one for one in dicombridge.examine(database) if one.confidence > 0.9 and one.name.endswith(name)]
        return dicombridge.load(one, database=database, **options)[0]


# --- Examine -------------------------------------------------------------------------------------------------------


def test_a_real_object_names_all_its_images_and_says_that_they_are_absent(data: Path) -> None:
    with dicombridge.open_folder((data / REAL).parent) as database:
        (loadable,) = dicombridge.examine(database)
        assert loadable.name == "1: PET SUV Factors"
        assert (loadable.kind, loadable.confidence, loadable.selected) == ("RWVM", 0.97, False)
        assert len(loadable.referencedInstanceUIDs) == 191
        assert "None of the 191 images" in loadable.warning
        assert "{SUVbw}g/ml" in loadable.tooltip
        assert "Standardized Uptake Value" in loadable.tooltip
        with pytest.raises(MissingReferenceError, match=r"rwvm\.dcm: none of the 191 images"):
            dicombridge.load(loadable, database=database)


def test_a_real_object_has_the_mapping_that_its_elements_say(data: Path) -> None:
    from dicombridge.real_world_value.readings import readings_of_object

    header = pydicom.dcmread(data / REAL)
    (reading,) = readings_of_object(header, "rwvm.dcm")
    assert len(reading.items) == 191
    mapping = reading.first
    assert (mapping.slope, mapping.intercept, mapping.first, mapping.last) == (0.000375125, 0, 0, 32761)
    assert mapping.quantity.value == "126400"


def test_every_mapping_of_an_object_is_offered(tmp_path: Path) -> None:
    """PETDICOM took item [0] and left the others."""
    images = write_pet(tmp_path / "pet")
    other = mapping_item(2.0, 5.0, label="ADC", units=ADC_UNITS, quantity=ADC_QUANTITY)
    write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5), other)])
    suv, adc = offered(tmp_path)
    assert (suv.name, adc.name) == ("9: Mapped as SUVbw", "9: Mapped as ADC")
    assert suv.options == {"mapping": "SUVbw"}
    assert suv.selected and adc.selected  # noqa: PT018
    assert set(suv.referencedInstanceUIDs) == {image.SOPInstanceUID for image in images}
    node = loaded(tmp_path, "ADC")
    assert_voxels(node, 2 * stored_values(images) + 5)
    assert (units_of(node), quantity_of(node)) == ("mm2/s", "113041")


def test_missing_images_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_pet(tmp_path / "pet")
    write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5))])
    Path(images[3].filename).unlink()
    (one,) = offered(tmp_path)
    assert one.selected
    assert one.warning == "1 of the 4 images that it maps are not in the database."
    assert_voxels(loaded(tmp_path), 0.5 * stored_values(images[:3]))
    assert "1 of the 4 images" in caplog.text


def test_two_objects_of_one_series_are_told_apart(tmp_path: Path) -> None:
    images = write_pet(tmp_path / "pet")
    for number, name in enumerate(("a", "b"), start=1):
        item = mapping_item(float(number))
        write_object(tmp_path / f"{name}.dcm", images, [group(images, item)], ContentLabel=f"MAP {number}")
    assert sorted(one.name for one in offered(tmp_path)) == ["9: Mapped [MAP 1]", "9: Mapped [MAP 2]"]


def test_damaged_mappings_are_offered_with_a_warning_and_refused(tmp_path: Path) -> None:
    images = write_pet(tmp_path / "pet")
    path = write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(None, None))])
    (one,) = offered(tmp_path)
    assert "neither a slope nor a table" in one.warning
    with pytest.raises(UnreadableError, match=r"map\.dcm.*neither a slope nor a table"):
        dicombridge.load(path)
    write_object(tmp_path / "map.dcm", images, [group(images)])
    with pytest.raises(UnreadableError, match="holds no real world value mapping"):
        loaded(tmp_path)


# --- Values --------------------------------------------------------------------------------------------------------


def test_slopes_are_for_stored_values_of_each_image(tmp_path: Path) -> None:
    """Not for rescaled ones, as PETDICOM has it: the rescale slope of these images differs from slice to slice."""
    images = write_pet(tmp_path / "pet")
    items = [mapping_item(0.1 * (number + 1), number) for number in range(4)]
    groups = [group([image], item) for image, item in zip(images, items, strict=True)]
    write_object(tmp_path / "map.dcm", images, groups)
    expected = [applied(item, stored) for item, stored in zip(items, stored_values(images), strict=True)]
    node = loaded(tmp_path)
    assert_voxels(node, np.stack(expected))
    assert node.GetImageData().GetScalarTypeAsString() == "float"


def test_tables_and_ranges_in_one_mapping(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_pet(tmp_path / "pet")
    stored = stored_values(images)
    table = mapping_item(first=0, last=9999, lut=np.sqrt(np.arange(10000.0)), label="low", units=ADC_UNITS)
    line = mapping_item(0.5, 7.0, first=10000, last=20000, label="high", units=ADC_UNITS)
    write_object(tmp_path / "map.dcm", images, [group(images, table, line)])
    expected = np.where(stored < 10000, np.sqrt(np.maximum(stored, 0)), 0.5 * stored + 7)
    expected[stored > 20000] = math.nan
    node = loaded(tmp_path)
    assert_voxels(node, expected)
    wrong = int(np.count_nonzero(stored > 20000))
    assert wrong > 5
    assert f"{wrong} voxels have stored values that no mapping is for; they became NaN." in caplog.text
    assert f"{wrong} voxels" in node.GetAttribute("DICOMBridge.Warning")
    display = node.GetDisplayNode()
    low, high = np.nanmin(expected), np.nanmax(expected)
    assert display.GetLevel() == pytest.approx((low + high) / 2, rel=1e-5)
    assert display.GetWindow() == pytest.approx(high - low, rel=1e-5)


def test_a_line_is_applied_beyond_its_range_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_pet(tmp_path / "pet")
    stored = stored_values(images)
    write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5, last=1000))])
    assert_voxels(loaded(tmp_path), 0.5 * stored)
    assert f"{np.count_nonzero(stored > 1000)} voxels have stored values beyond" in caplog.text
    assert "(0 to 1000)" in caplog.text


def test_frames_may_have_mappings_of_their_own(data: Path, tmp_path: Path) -> None:
    (image,) = headers_in((data / ENHANCED_CT).parent)
    groups = [group([image], mapping_item(slope, -1.0), frames=[frame]) for frame, slope in ((1, 2.0), (2, 3.0))]
    write_object(tmp_path / "map.dcm", [image], groups)
    (tmp_path / "image.dcm").write_bytes((data / ENHANCED_CT).read_bytes())
    frames = stored_values([image])[0]
    mapped = {1: 2 * frames[0] - 1, 2: 3 * frames[1] - 1}
    node = loaded(tmp_path)
    order = [int(part) for part in node.GetAttribute("DICOMBridge.FrameNumbers").split()]
    assert sorted(order) == [1, 2]
    assert_voxels(node, np.stack([mapped[frame] for frame in order]))


def test_frames_without_a_mapping_become_nan(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (image,) = headers_in((data / ENHANCED_CT).parent)
    write_object(tmp_path / "map.dcm", [image], [group([image], mapping_item(2.0), frames=[2])])
    (tmp_path / "image.dcm").write_bytes((data / ENHANCED_CT).read_bytes())
    node = loaded(tmp_path)
    place = node.GetAttribute("DICOMBridge.FrameNumbers").split().index("2")
    assert_voxels(node, np.stack([2 * stored_values([image])[0, 1] if n == place else np.full((512, 512), math.nan)
                                  for n in range(2)]))  # fmt: skip
    assert "1 of 2 slices are not mapped" in caplog.text


def test_items_without_images_are_for_all_of_them(tmp_path: Path) -> None:
    images = write_pet(tmp_path / "pet")
    outer = group(images, mapping_item(0.5))
    del outer.ReferencedImageSequence
    write_object(tmp_path / "map.dcm", images, [outer])
    assert_voxels(loaded(tmp_path), 0.5 * stored_values(images))


def test_images_of_two_series_become_two_volumes(data: Path, tmp_path: Path) -> None:
    pet = write_pet(tmp_path / "pet")
    ct = headers_in(data / CT_38)
    for image in ct:
        (tmp_path / Path(image.filename).name).write_bytes(Path(image.filename).read_bytes())
    write_object(tmp_path / "map.dcm", pet, [group(pet, mapping_item(0.5)), group(ct, mapping_item(2.0, 1.0))])
    with dicombridge.open_folder(tmp_path) as database:
        (one,) = [one for one in dicombridge.examine(database) if one.confidence > 0.9]
        nodes = dicombridge.load(one, database=database)
        by_count = {array_of(node).shape[0]: node for node in nodes}
        assert_voxels(by_count[4], 0.5 * stored_values(pet))
        assert_voxels(by_count[3], 2 * stored_values(ct) + 1)
        assert len({node.GetName() for node in nodes}) == 2


# --- Nodes ---------------------------------------------------------------------------------------------------------


def test_the_node_says_what_it_is_and_survives_a_saved_scene(tmp_path: Path) -> None:
    from dicombridge.cli.common import read_scene, save_scene

    images = write_pet(tmp_path / "pet")
    path = write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5))])
    uid = str(pydicom.dcmread(path).SOPInstanceUID)
    node = loaded(tmp_path)
    save_scene(node.GetScene(), str(tmp_path / "scene.mrb"))
    scene = read_scene(str(tmp_path / "scene.mrb"))
    again = scene.GetFirstNodeByName(node.GetName())
    for one in (node, again):
        assert one.GetAttribute("DICOM.RWV.instanceUID") == uid
        assert one.GetAttribute("DICOM.instanceUIDs").split() == [image.SOPInstanceUID for image in images]
        assert one.GetAttribute("DICOM.RadiopharmaceuticalCodeValue") == "35321007"
        assert one.GetAttribute("DICOM.RadionuclideCodeValue") == "77004003"
        assert (units_of(one), quantity_of(one)) == ("{SUVbw}g/ml", "126400")
        known = attributes_of_node(one.GetScene(), one)
        assert (known["SOPInstanceUIDs"], known["Modality"]) == ([uid], "RWV")
        assert known["ReferencedInstanceUIDs"] == [image.SOPInstanceUID for image in images]
        assert (known["PatientID"], known["FrameOfReferenceUID"]) == ("P-1", "1.2.3.9")
    assert_voxels(again, 0.5 * stored_values(images))


def test_suv_are_shown_as_pet_modules_show_them(tmp_path: Path) -> None:
    images = write_pet(tmp_path / "pet", WindowCenter="100", WindowWidth="400")
    other = mapping_item(2.0, 5.0, label="ADC", units=ADC_UNITS, quantity=ADC_QUANTITY)
    write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5), other)])
    suv = loaded(tmp_path, "SUVbw").GetDisplayNode()
    assert (suv.GetLevel(), suv.GetWindow()) == (3, 6)
    assert suv.GetColorNodeID() == "vtkMRMLColorTableNodeInvertedGrey"
    adc = loaded(tmp_path, "ADC").GetDisplayNode()
    assert adc.GetColorNodeID() == "vtkMRMLColorTableNodeGrey"
    slope = float(images[2].RescaleSlope)
    assert adc.GetWindow() == pytest.approx(2 / slope * 400)
    assert adc.GetLevel() == pytest.approx(2 / slope * 100 + 5)


def test_the_place_is_that_of_the_images(tmp_path: Path) -> None:
    images = write_pet(tmp_path / "pet")
    write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5))])
    with dicombridge.open_folder(tmp_path / "pet") as database:
        (plain,) = dicombridge.load([dicombridge.examine(database)[0]], database=database)
    np.testing.assert_allclose(matrix_of(loaded(tmp_path)), matrix_of(plain))


def test_a_mapping_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    images = write_pet(tmp_path / "pet")
    write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5))])
    with pytest.raises(UnsupportedError, match=r"map\.dcm: has no mapping 'ADC'; there are: SUVbw"):
        loaded(tmp_path, mapping="ADC")
    for name in ("suvBW", "{SUVbw}g/ml", "Standardized Uptake Value"):
        assert_voxels(loaded(tmp_path, mapping=name), 0.5 * stored_values(images))


def test_nothing_is_logged_where_nothing_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_pet(tmp_path / "pet")
    write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5))])
    with caplog.at_level(logging.WARNING):
        loaded(tmp_path)
    assert caplog.text == ""


def test_confidence_is_above_that_of_the_competitor() -> None:
    assert kind_named("RWVM").confidence > 0.9
