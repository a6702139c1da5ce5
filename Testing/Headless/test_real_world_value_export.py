"""Mapping objects that are written from volumes, checked by plain arithmetic on stored values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from pydicom.sr.coding import Code
from support.items import code
from support.peers import run, tool
from support.rwv_objects import (
    ADC_QUANTITY,
    ADC_UNITS,
    CT_38,
    ENHANCED_CT,
    assert_voxels,
    definition,
    group,
    headers_in,
    mapping_item,
    quantity_of,
    stored_values,
    units_of,
    values_of_file,
    write_object,
    write_pet,
)
from support.volumes import array_of

import dicombridge
from dicombridge.errors import ExportError

GE = "pet/sts_001_ge/pet"
ADC = Code("mm2/s", "UCUM", "square millimetre per second")


def written(node: Any, folder: Path, **options: Any) -> tuple[Path, Any]:
    """Export a node with the images below ``folder``; the file and its dataset."""
    with dicombridge.open_folder(folder) as database:
        (path,) = dicombridge.export(node, folder / "out", kind="RWVM", database=database, **options)
    return path, pydicom.dcmread(path)


def plain(folder: Path) -> Any:
    return dicombridge.load(folder)[0]


def changed(node: Any, change: Any) -> Any:
    """The node with other voxels, of 32-bit floats."""
    from vtkmodules.util.numpy_support import numpy_to_vtk

    values = change(array_of(node).astype(np.float64)).astype(np.float32)
    node.GetImageData().GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))
    return node


def items_of(dataset: Any) -> list[Any]:
    return [one.RealWorldValueMappingSequence[0] for one in dataset.ReferencedImageRealWorldValueMappingSequence]


# --- What is written -----------------------------------------------------------------------------------------------


def test_suv_of_a_real_series_become_slopes_for_stored_values(data: Path, tmp_path: Path) -> None:
    """PETDICOM's slope is for rescaled values, so that all others show another SUV."""
    with dicombridge.open_folder(data / GE) as database:
        (node,) = dicombridge.load(data / GE, mapping="SUVbw")
        (path,) = dicombridge.export(node, tmp_path, kind="RWVM", database=database)
        again = dicombridge.load(path, database=database)[0]
    images = headers_in(data / GE)
    assert_voxels(node, values_of_file(path, images))
    np.testing.assert_array_equal(array_of(again), array_of(node))
    dataset = pydicom.dcmread(path)
    factor = float(node.GetAttribute("DICOMBridge.SUVFactors"))
    by_image = {
        one.ReferencedSOPInstanceUID: outer.RealWorldValueMappingSequence[0].RealWorldValueSlope
        for outer in dataset.ReferencedImageRealWorldValueMappingSequence
        for one in outer.ReferencedImageSequence
    }
    slopes = {image.SOPInstanceUID: float(image.RescaleSlope) for image in images}
    assert by_image == {uid: factor * slope for uid, slope in slopes.items()}
    assert len(dataset.ReferencedImageRealWorldValueMappingSequence) == len(set(slopes.values())) > 100
    assert faults(path) == []
    files = [image.filename for image in images]
    done = run(tool("dcentvfy"), path, *files, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert [line for line in lines if line.startswith("Error") and str(path) in line] == []


def test_units_quantity_and_method_of_suv_in_the_codes_of_the_standard(tmp_path: Path) -> None:
    write_pet(tmp_path)
    (node,) = dicombridge.load(tmp_path, mapping="SUVbw")
    path, dataset = written(node, tmp_path)
    assert faults(path) == []
    assert path.name == f"RWVM_{dataset.SOPInstanceUID}.dcm"
    item = items_of(dataset)[0]
    assert item.MeasurementUnitsCodeSequence[0].CodeValue == "g/ml{SUVbw}"
    said = [
        (part.ConceptNameCodeSequence[0].CodeValue, part.ConceptCodeSequence[0].CodeValue)
        for part in item.QuantityDefinitionSequence
    ]
    assert said == [("246205007", "126400"), ("370129005", "126410")]
    assert (dataset.Modality, dataset.ContentLabel, item.LUTLabel) == ("RWV", "SUVBW", "SUVbw")
    with dicombridge.open_folder(tmp_path) as database:
        (again,) = dicombridge.load(path, database=database)
    assert (units_of(again), quantity_of(again)) == ("{SUVbw}g/ml", "126400")


def test_the_range_is_signed_or_not_as_the_images_are(data: Path, tmp_path: Path) -> None:
    write_pet(tmp_path / "pet")
    (node,) = dicombridge.load(tmp_path / "pet", mapping="SUVbw")
    item = items_of(written(node, tmp_path / "pet")[1])[0]
    assert item["RealWorldValueFirstValueMapped"].VR == "SS"
    assert (item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped) == (-32768, 32767)
    from image_support import write_slice

    for number in (1, 2):
        pixels = np.arange(20, dtype=np.uint16).reshape(4, 5) + number
        write_slice(tmp_path / "ct", number, (0, 0, number), pixels=pixels, BitsStored=12, HighBit=11)
    item = items_of(written(plain(tmp_path / "ct"), tmp_path / "ct", units=ADC)[1])[0]
    assert item["RealWorldValueFirstValueMapped"].VR == "US"
    assert (item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped) == (0, 4095)


def test_images_of_one_slope_share_an_item(data: Path, tmp_path: Path) -> None:
    write_pet(tmp_path, 6, RescaleSlope="2")
    (node,) = dicombridge.load(tmp_path, mapping="SUVbw")
    _, dataset = written(node, tmp_path)
    (outer,) = dataset.ReferencedImageRealWorldValueMappingSequence
    assert len(outer.ReferencedImageSequence) == 6
    assert len(dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 6


def test_frames_are_named_by_number(data: Path, tmp_path: Path) -> None:
    (image,) = headers_in((data / ENHANCED_CT).parent)
    groups = [group([image], mapping_item(slope, -1.0), frames=[frame]) for frame, slope in ((1, 2.0), (2, 3.0))]
    source = write_object(tmp_path / "map.dcm", [image], groups)
    (tmp_path / "image.dcm").write_bytes((data / ENHANCED_CT).read_bytes())
    with dicombridge.open_folder(tmp_path) as database:
        (node,) = dicombridge.load(source, database=database)
    path, dataset = written(node, tmp_path)
    assert faults(path) == []
    frames = {
        int(outer.ReferencedImageSequence[0].ReferencedFrameNumber): outer.RealWorldValueMappingSequence[0]
        for outer in dataset.ReferencedImageRealWorldValueMappingSequence
    }
    assert [frames[1].RealWorldValueSlope, frames[2].RealWorldValueSlope] == [2, 3]


def test_what_was_loaded_comes_back_as_it_was(tmp_path: Path) -> None:
    """Tables, ranges, definitions, label and author; the object that was loaded is named as predecessor."""
    images = write_pet(tmp_path / "pet")
    table = mapping_item(first=0, last=9999, lut=np.sqrt(np.arange(10000.0)), label="A")
    line = mapping_item(0.5, 7.0, first=10000, last=20000, label="A")
    for item in (table, line):
        item.QuantityDefinitionSequence.append(definition(("370129005", "SCT", "Measurement Method"), ADC_QUANTITY))
    source = write_object(tmp_path / "map.dcm", images, [group(images, table, line)])
    with dicombridge.open_folder(tmp_path) as database:
        (node,) = dicombridge.load(source, database=database)
    path, dataset = written(node, tmp_path)
    assert faults(path) == []
    (outer,) = dataset.ReferencedImageRealWorldValueMappingSequence
    first, second = outer.RealWorldValueMappingSequence
    assert np.frombuffer(first.RealWorldValueLUTData).tolist() == np.sqrt(np.arange(10000.0)).tolist()
    assert (second.RealWorldValueSlope, second.RealWorldValueIntercept) == (0.5, 7)
    assert second.RealWorldValueLastValueMapped == 20000
    assert second.LUTExplanation == "Test A"
    assert second.QuantityDefinitionSequence == line.QuantityDefinitionSequence
    assert (dataset.ContentLabel, dataset.ContentCreatorName) == ("MAP", "Doe^Jane")
    before = pydicom.dcmread(source).SOPInstanceUID
    predecessor = dataset.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert predecessor.ReferencedSOPInstanceUID == before != dataset.SOPInstanceUID


def test_patient_and_study_are_those_of_the_images_and_the_caller_has_the_last_word(tmp_path: Path) -> None:
    images = write_pet(tmp_path)
    (node,) = dicombridge.load(tmp_path, mapping="SUVbw")
    _, dataset = written(node, tmp_path, SeriesDescription="Mine", ContentCreatorName="Roe^Richard", label="HOT")
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        assert dataset.get(keyword) == images[0].get(keyword)
    assert dataset.SeriesInstanceUID != images[0].SeriesInstanceUID
    assert (dataset.SeriesDescription, dataset.ContentCreatorName) == ("Mine", "Roe^Richard")
    assert items_of(dataset)[0].LUTLabel == "HOT"
    assert written(node, tmp_path, ContentLabel="")[1].ContentLabel == "SUVBW"  # an empty field of Slicer's dialog
    with pytest.raises(ExportError, match="nonsense"):
        written(node, tmp_path, nonsense=1)
    with pytest.raises(ExportError, match="RealWorldValueMappingSequence"):
        written(node, tmp_path, RealWorldValueMappingSequence=[])


# --- Fitting -------------------------------------------------------------------------------------------------------


def test_a_volume_that_was_computed_is_fitted(tmp_path: Path) -> None:
    """Somebody multiplied the volume by a factor; its rescale slope differs from slice to slice."""
    images = write_pet(tmp_path)
    node = changed(plain(tmp_path), lambda voxels: 0.0002429 * voxels)
    path, dataset = written(node, tmp_path, units=ADC, quantity=Code(*ADC_QUANTITY))
    assert faults(path) == []
    slopes = [item.RealWorldValueSlope for item in items_of(dataset)]
    assert slopes == pytest.approx([0.0002429 * float(image.RescaleSlope) for image in images], rel=1e-7)
    assert [item.RealWorldValueIntercept for item in items_of(dataset)] == [0.0] * 4
    assert_voxels(node, values_of_file(path, images))
    with dicombridge.open_folder(tmp_path) as database:
        (again,) = dicombridge.load(path, database=database)
    assert (units_of(again), quantity_of(again)) == (ADC_UNITS[0], ADC_QUANTITY[0])


def test_an_offset_and_slices_of_their_own_are_fitted_too(tmp_path: Path) -> None:
    images = write_pet(tmp_path)
    node = changed(plain(tmp_path), lambda voxels: 1e-3 * voxels - 40)
    path, _ = written(node, tmp_path, units=ADC)
    np.testing.assert_allclose(values_of_file(path, images), array_of(node), rtol=1e-5, atol=1e-5)
    factors = np.array([1.0, -2.0, 0.5, 3.0]).reshape(4, 1, 1)
    node = changed(plain(tmp_path), lambda voxels: factors * voxels + factors)
    path, _ = written(node, tmp_path, units=ADC)
    np.testing.assert_allclose(values_of_file(path, images), array_of(node), rtol=1e-6)


def test_slices_of_one_value_are_fitted(tmp_path: Path) -> None:
    images = write_pet(tmp_path)
    for number in (0, 2):
        images[number].PixelData = np.full((4, 5), 12 * number, np.int16).tobytes()
        images[number].save_as(images[number].filename)
    node = changed(plain(tmp_path), lambda voxels: 0.5 * voxels)
    path, dataset = written(node, tmp_path, units=ADC)
    np.testing.assert_allclose(values_of_file(path, images), array_of(node), rtol=1e-6)
    assert all(item.RealWorldValueSlope > 0 for item in items_of(dataset))


def test_a_suv_that_was_edited_is_fitted_anew(tmp_path: Path) -> None:
    images = write_pet(tmp_path)
    (node,) = dicombridge.load(tmp_path, mapping="SUVbw")
    changed(node, lambda voxels: 2 * voxels)
    path, _ = written(node, tmp_path)
    assert_voxels(node, values_of_file(path, images))


def test_integers_of_a_ct_are_their_rescaled_values(data: Path, tmp_path: Path) -> None:
    (node,) = dicombridge.load(data / CT_38)
    (path,) = dicombridge.export(node, tmp_path, kind="RWVM", source=data / CT_38)
    images = headers_in(data / CT_38)
    np.testing.assert_allclose(values_of_file(path, images), array_of(node), atol=1e-6)
    item = items_of(pydicom.dcmread(path))[0]
    assert item.RealWorldValueIntercept == float(images[0].RescaleIntercept)
    assert faults(path) == []


# --- Refusals ------------------------------------------------------------------------------------------------------


def test_what_no_mapping_gives_is_refused(tmp_path: Path) -> None:
    write_pet(tmp_path)
    for change, reason in (
        (lambda voxels: np.sqrt(np.abs(voxels)), "no linear function"),
        (lambda voxels: np.where(voxels > 10000, 0.0, voxels), "no linear function"),
        (lambda voxels: np.where(voxels > 10000, np.nan, voxels), "no number"),
    ):
        with pytest.raises(ExportError, match=reason):
            written(changed(plain(tmp_path), change), tmp_path, units=ADC)
    assert list((tmp_path / "out").glob("*")) == []


def test_values_that_were_rounded_are_refused(tmp_path: Path) -> None:
    """A mapping would give them only nearly; a mask of what is bright would be a ramp."""
    from vtkmodules.util.numpy_support import numpy_to_vtk

    write_pet(tmp_path)
    node = plain(tmp_path)
    rounded = np.rint(0.3 * array_of(node)).astype(np.int32)
    node.GetImageData().GetPointData().SetScalars(numpy_to_vtk(rounded.ravel(), deep=True))
    with pytest.raises(ExportError, match="no linear function"):
        written(node, tmp_path, units=ADC)


def test_one_voxel_that_was_painted_is_found(tmp_path: Path) -> None:
    write_pet(tmp_path)
    (node,) = dicombridge.load(tmp_path, mapping="SUVbw")

    def painted(voxels: Any) -> Any:
        voxels[2, 1, 3] *= 1.01
        return voxels

    with pytest.raises(ExportError, match="slice 3 is off by"):
        written(changed(node, painted), tmp_path)


@pytest.mark.parametrize("attribute", ["SUVFactors", "ValueMapping", "ValueMappingObject", "ValueMappingName"])
def test_attributes_that_somebody_edited_do_no_harm(tmp_path: Path, attribute: str) -> None:
    images = write_pet(tmp_path / "pet")
    source = write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(0.5))])
    with dicombridge.open_folder(tmp_path) as database:
        (node,) = dicombridge.load(source, database=database)
    for value in ("", "nonsense", "1.5 x", "explicit;ISO_IR 6;AAAA", "3e300"):
        node.SetAttribute(f"DICOMBridge.{attribute}", value)
        path, _ = written(node, tmp_path)
        assert_voxels(node, values_of_file(path, images))


def test_images_must_be_at_hand(tmp_path: Path) -> None:
    images = write_pet(tmp_path / "pet")
    (node,) = dicombridge.load(tmp_path / "pet", mapping="SUVbw")
    with pytest.raises(ExportError, match="database="):
        dicombridge.export(node, tmp_path / "out", kind="RWVM")
    paths = dicombridge.export(node, tmp_path / "out", kind="RWVM", source=tmp_path / "pet")
    assert_voxels(node, values_of_file(paths[0], images))
    files = [image.filename for image in images]
    paths = dicombridge.export(node, tmp_path / "out", kind="RWVM", source=files)
    assert_voxels(node, values_of_file(paths[0], images))
    with pytest.raises(ExportError, match="neither a file"):
        dicombridge.export(node, tmp_path / "out", kind="RWVM", source="1.2.3.4.5")
    with dicombridge.open_folder(tmp_path / "pet") as database:
        series = str(images[0].SeriesInstanceUID)
        paths = dicombridge.export(node, tmp_path / "out", kind="RWVM", source=series, database=database)
    assert_voxels(node, values_of_file(paths[0], images))


def test_a_volume_that_was_moved_is_refused(tmp_path: Path) -> None:
    write_pet(tmp_path)
    (node,) = dicombridge.load(tmp_path, mapping="SUVbw")
    node.SetOrigin(1.0, 2.0, 3.0)
    with pytest.raises(ExportError, match="another grid"):
        written(node, tmp_path)


def test_a_volume_without_units_is_written_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pet(tmp_path, Units="NONE")
    _, dataset = written(plain(tmp_path), tmp_path)
    assert "has no units" in caplog.text
    assert items_of(dataset)[0].MeasurementUnitsCodeSequence[0] == code("1", "UCUM", "no units")


def test_the_array_matches_stored_values_of_the_test_images(tmp_path: Path) -> None:
    """The tests above stand on this: pydicom's stored values, rescaled, are the plain volume."""
    images = write_pet(tmp_path)
    slopes = np.array([float(image.RescaleSlope) for image in images]).reshape(-1, 1, 1)
    assert_voxels(plain(tmp_path), slopes * stored_values(images))
