"""Images in the real world values of mappings that they carry, and PET series in SUV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from image_support import write_slice
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from support import damage, pt_headers
from support.rwv_objects import (
    ADC_QUANTITY,
    ADC_UNITS,
    CT_38,
    ENHANCED_CT,
    applied,
    assert_voxels,
    headers_in,
    mapping_item,
    quantity_of,
    stored_values,
    units_of,
    write_pet,
)
from support.volumes import array_of

import dicombridge
from dicombridge import real_world_value, suv
from dicombridge.errors import UnsupportedError

GE = "pet/sts_001_ge/pet"
FACTOR = 70000 / (350e6 * 2 ** (-3600 / 6586.2))
"""SUVbw per Bq/ml of write_pet's patient: 70 kg, 350 MBq at 10:00, scan at 11:00."""


def alternatives(folder: Path) -> list[Any]:
    with dicombridge.open_folder(folder) as database:
        return [one for one in dicombridge.examine(database) if one.kind == "RWVM"]


def rescaled(images: list[Dataset]) -> Any:
    """Stored values times rescale slope, plus intercept."""
    slopes = np.array([float(image.RescaleSlope) for image in images]).reshape(-1, 1, 1)
    intercepts = np.array([float(image.RescaleIntercept) for image in images]).reshape(-1, 1, 1)
    return stored_values(images) * slopes + intercepts


def adc(slope: float, intercept: float = 0.0, **options: Any) -> Dataset:
    return mapping_item(slope, intercept, label="ADC", units=ADC_UNITS, quantity=ADC_QUANTITY, **options)


# --- Mappings in images --------------------------------------------------------------------------------------------


def write_mr(folder: Path, items: list[list[Dataset]]) -> list[Dataset]:
    """A series of single-frame MR images with mappings at their top level."""
    generator = np.random.default_rng(3)
    paths = [
        write_slice(folder, number, (0, 0, 2 * number), pixels=generator.integers(0, 4096, (4, 5)).astype(np.uint16),
                    sop_class=MRImageStorage, RescaleSlope="3", RescaleIntercept="1",
                    RealWorldValueMappingSequence=of_image)
        for number, of_image in enumerate(items, start=1)
    ]  # fmt: skip
    return [pydicom.dcmread(path) for path in paths]


def test_mappings_of_single_frame_images_are_alternatives(tmp_path: Path) -> None:
    items = [[adc(1e-6 * number, 1e-3), mapping_item(2.0, label="T2")] for number in (1, 2, 3)]
    images = write_mr(tmp_path, items)
    found = alternatives(tmp_path)
    assert [one.name for one in found] == ["7: Test as ADC", "7: Test as T2"]
    assert [(one.confidence, one.selected) for one in found] == [(0.45, False)] * 2
    assert "square millimetre per second (mm2/s)" in found[0].tooltip
    node = dicombridge.load(found[0])[0]
    expected = [applied(of_image[0], stored_values([image])[0]) for of_image, image in zip(items, images, strict=True)]
    assert_voxels(node, np.stack(expected))
    assert (units_of(node), quantity_of(node)) == ("mm2/s", "113041")
    assert node.GetAttribute("DICOM.RWV.instanceUID") == images[0].SOPInstanceUID
    assert node.GetName() == "7: Test as ADC"


def test_the_plain_image_stays_the_best_reading(tmp_path: Path) -> None:
    write_mr(tmp_path, [[adc(1e-6)]] * 3)
    (node,) = dicombridge.load(tmp_path)
    assert node.GetName() == "7: Test"
    assert units_of(node) == "1"


def test_an_image_that_lacks_the_mapping_becomes_nan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_mr(tmp_path, [[adc(1e-6)], [mapping_item(2.0, label="T2")], [adc(1e-6)]])
    (node,) = dicombridge.load(tmp_path, mapping="ADC")
    expected = 1e-6 * stored_values(images)
    expected[1] = np.nan
    assert_voxels(node, expected)
    assert "1 of 3 slices are not mapped" in caplog.text


def test_the_mapping_of_a_real_enhanced_image(data: Path) -> None:
    """Its shared functional groups say: stored values less 1024 are a blood flow."""
    (one,) = alternatives((data / ENHANCED_CT).parent)
    assert one.name.endswith("as RCBF")
    image = pydicom.dcmread(data / ENHANCED_CT)
    (item,) = image.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    node = dicombridge.load(one)[0]
    order = [int(part) - 1 for part in node.GetAttribute("DICOMBridge.FrameNumbers").split()]
    assert_voxels(node, applied(item, image.pixel_array.astype(float))[order])
    assert units_of(node) == item.MeasurementUnitsCodeSequence[0].CodeValue


def test_frames_of_enhanced_images_have_mappings_of_their_own(data: Path, tmp_path: Path) -> None:
    image = pydicom.dcmread(data / ENHANCED_CT)
    del image.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    for number, frame in enumerate(image.PerFrameFunctionalGroupsSequence, start=1):
        frame.RealWorldValueMappingSequence = [adc(0.5 * number, -number)]
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.save_as(tmp_path / "image.dcm")
    (one,) = alternatives(tmp_path)
    assert one.options == {"mapping": "ADC"}
    node = dicombridge.load(one)[0]
    order = [int(part) for part in node.GetAttribute("DICOMBridge.FrameNumbers").split()]
    frames = image.pixel_array.astype(float)
    assert_voxels(node, np.stack([0.5 * number * frames[number - 1] - number for number in order]))


def test_images_without_mappings_have_no_alternatives(data: Path, tmp_path: Path) -> None:
    assert alternatives(data / CT_38) == []
    write_slice(tmp_path, 1, (0, 0, 0), sop_class=MRImageStorage)
    assert alternatives(tmp_path) == []


def test_one_header_of_a_series_is_read_and_nothing_written(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PETDICOM ran a program on, and wrote a file into, the patient's folder."""
    from dicombridge.image import headers

    read: list[str] = []
    original = headers.read_dataset

    def counted(path: str, *arguments: Any, **options: Any) -> Any:
        assert not options.get("pixels")
        read.append(path)
        return original(path, *arguments, **options)

    monkeypatch.setattr(headers, "read_dataset", counted)
    with dicombridge.open_folder(data / GE) as database:
        files = database.filesForSeries(next(iter(_series(database))))
        before = sorted((path.name, path.stat().st_mtime_ns) for path in (data / GE).iterdir())
        found = real_world_value.examine(files, database)
        assert sorted((path.name, path.stat().st_mtime_ns) for path in (data / GE).iterdir()) == before
    assert len(found) == 6
    assert len(read) == 1


def _series(database: Any) -> list[str]:
    return [
        series
        for patient in database.patients()
        for study in database.studiesForPatient(patient)
        for series in database.seriesForStudy(study)
    ]


# --- SUV -----------------------------------------------------------------------------------------------------------


def test_every_kind_of_suv_is_offered_and_loads(tmp_path: Path) -> None:
    images = write_pet(tmp_path)
    found = alternatives(tmp_path)
    assert [one.name for one in found] == [f"7: Test as {kind}" for kind in suv.SUV_TYPES]
    assert {(one.confidence, one.selected, one.warning) for one in found} == {(0.45, False, "")}
    node = dicombridge.load(found[0])[0]
    assert_voxels(node, FACTOR * rescaled(images))
    assert (units_of(node), quantity_of(node)) == ("{SUVbw}g/ml", "126400")
    assert node.GetAttribute("DICOM.RadiopharmaceuticalCodeValue") == "35321007"
    inputs = suv.inputs_of_series(images)
    for one in found:
        kind = one.options["mapping"]
        node = dicombridge.load(one)[0]
        assert units_of(node) == suv.UNITS[kind].value
        assert_voxels(node, suv.factors(inputs, kind).factor * rescaled(images))
        assert "Weight" in node.GetAttribute("DICOMBridge.SUVAudit") or kind == "SUVibw"
        assert (node.GetDisplayNode().GetLevel(), node.GetDisplayNode().GetWindow()) == (3, 6)


def test_suv_of_a_real_series_whose_slope_differs_per_slice(data: Path) -> None:
    (node,) = dicombridge.load(data / GE, mapping="SUVbw")
    images = headers_in(data / GE)
    assert len({str(image.RescaleSlope) for image in images}) > 100
    first = images[0]
    agent = first.RadiopharmaceuticalInformationSequence[0]
    # 10:35:00 to 11:20:11, as the header says
    elapsed, half_life = 2711, float(agent.RadionuclideHalfLife)
    assert (agent.RadiopharmaceuticalStartTime, first.SeriesTime) == ("103500.00", "112011.00")
    factor = 1000 * float(first.PatientWeight) / (float(agent.RadionuclideTotalDose) * 2 ** (-elapsed / half_life))
    assert_voxels(node, factor * rescaled(images))
    assert node.GetName() == "1: PET AC as SUVbw"


def test_the_image_loads_as_suv_by_an_option(tmp_path: Path) -> None:
    images = write_pet(tmp_path)
    for name in ("SUVbw", "suvBW", "{SUVbw}g/ml"):
        (node,) = dicombridge.load(tmp_path, mapping=name)
        assert_voxels(node, FACTOR * rescaled(images))
        assert node.GetName() == "7: Test as SUVbw"
        assert node.GetAttribute("DICOMBridge.Kind") == "RWVM"
    (plain,) = dicombridge.load(tmp_path)
    assert_voxels(plain, rescaled(images))


def test_what_is_missing_is_said_and_can_be_supplied(tmp_path: Path) -> None:
    images = write_pet(tmp_path, PatientWeight=None, PatientSize=None, PatientSex=None)
    (one,) = alternatives(tmp_path)
    assert one.name == "7: Test as SUVbw"
    assert "weight_kg" in one.warning
    with pytest.raises(UnsupportedError, match="weight_kg"):
        dicombridge.load(tmp_path, mapping="SUVbw")
    (node,) = dicombridge.load(tmp_path, mapping="SUVbw", weight_kg=35)
    assert_voxels(node, 0.5 * FACTOR * rescaled(images))
    assert "option weight_kg" in node.GetAttribute("DICOMBridge.SUVAudit")
    (again,) = dicombridge.load(one, weight_kg=70.0)
    assert_voxels(again, FACTOR * rescaled(images))


def test_counts_have_no_suv(tmp_path: Path) -> None:
    write_pet(tmp_path, Units="CNTS")
    (one,) = alternatives(tmp_path)
    assert "counts" in one.warning
    with pytest.raises(UnsupportedError, match="counts"):
        dicombridge.load(one)


def test_a_damaged_header_spoils_no_examination(tmp_path: Path) -> None:
    """PETDICOM's RuntimeError ended the examination of all series."""
    images = write_pet(tmp_path / "pet", RadiopharmaceuticalInformationSequence=None)
    write_slice(tmp_path / "ct", 1, (0, 0, 0))
    with dicombridge.open_folder(tmp_path) as database:
        found = dicombridge.examine(database)
    assert {one.kind for one in found if one.selected} == {"IMAGE"}
    assert len([one for one in found if one.selected]) == 2
    (one,) = [one for one in found if one.kind == "RWVM"]
    assert one.warning
    assert len(images) == len(one.files)


def test_a_mapping_of_the_image_comes_before_a_computed_suv(tmp_path: Path) -> None:
    images = write_pet(tmp_path, RealWorldValueMappingSequence=[mapping_item(0.125)])
    names = [one.options["mapping"] for one in alternatives(tmp_path)]
    assert sorted(names) == sorted(suv.SUV_TYPES)
    (node,) = dicombridge.load(tmp_path, mapping="SUVbw")
    assert_voxels(node, 0.125 * stored_values(images))
    (computed,) = dicombridge.load(tmp_path, mapping="SUVbw", weight_kg=70.0)
    assert_voxels(computed, FACTOR * rescaled(images))


def test_other_images_of_a_folder_are_loaded_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = write_pet(tmp_path / "pet")
    for number in (1, 2):
        write_slice(tmp_path / "ct", number, (0, 0, 3 * number), SeriesDescription="A CT")
    nodes = {node.GetName(): node for node in dicombridge.load(tmp_path, mapping="SUVbw")}
    assert sorted(nodes) == ["7: A CT", "7: Test as SUVbw"]
    assert_voxels(nodes["7: Test as SUVbw"], FACTOR * rescaled(images))
    assert array_of(nodes["7: A CT"]).max() == 2
    assert "A CT: is no PET image and has no SUVbw" in caplog.text


def test_an_unknown_mapping_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    write_pet(tmp_path)
    with pytest.raises(UnsupportedError, match=r"has no mapping 'ADC'; there are: SUVbw, SUVlbm"):
        dicombridge.load(tmp_path, mapping="ADC")


def test_two_stacks_become_two_volumes(tmp_path: Path) -> None:
    images = write_pet(tmp_path)
    for image in images:
        image.ImagePositionPatient[2] = float(image.ImagePositionPatient[2])
        image.FrameReferenceTime, image.InstanceNumber = "600000", int(image.InstanceNumber) + 10
        image.AcquisitionTime, image.RescaleSlope = "111000", "2"
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{image.SOPInstanceUID}.9"
        image.save_as(tmp_path / f"late{image.InstanceNumber}.dcm")
    with dicombridge.open_folder(tmp_path) as database:
        found = [one for one in dicombridge.examine(database) if one.options.get("mapping") == "SUVbw"]
        nodes = dicombridge.load(found, database=database)
        assert len({node.GetName() for node in nodes}) == 2
    late = 2 * stored_values(images) * FACTOR
    assert sum(np.allclose(array_of(node), late, rtol=1e-6) for node in nodes) == 1


def write_enhanced_pet(path: Path, **options: Any) -> Dataset:
    """A multi-frame PET image of two frames whose rescale slopes differ."""
    image = pt_headers.enhanced(**options)
    for number, frame in enumerate(image.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence = [pt_headers.item(ImagePositionPatient=[0, 0, 4 * number])]
    shared = image.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence = [pt_headers.item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
    shared.PixelMeasuresSequence = [pt_headers.item(PixelSpacing=[2, 2])]
    pixels = np.random.default_rng(8).integers(0, 30000, (2, 4, 5)).astype(np.uint16)
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3", "1.2.3.8"
    image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = 4, 5, 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.PixelData = pixels.tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)
    return pydicom.dcmread(path)


def test_suv_of_an_enhanced_image(tmp_path: Path) -> None:
    image = write_enhanced_pet(tmp_path / "enhanced.dcm")
    found = alternatives(tmp_path)
    names = [one.options["mapping"] for one in found]
    assert names == ["Bq/ml", *suv.SUV_TYPES]
    slopes = np.array([2.5, 5.0]).reshape(2, 1, 1)
    stored = image.pixel_array.astype(float)
    assert_voxels(dicombridge.load(found[0])[0], slopes * stored)
    assert_voxels(dicombridge.load(found[1])[0], FACTOR * slopes * stored)


def test_suv_of_an_enhanced_image_in_other_units_than_its_rescaled_values(tmp_path: Path) -> None:
    image = write_enhanced_pet(tmp_path / "enhanced.dcm", units=pt_headers.code("kBq/ml", "UCUM", "kBq/ml"))
    (node,) = dicombridge.load(tmp_path, mapping="SUVbw")
    slopes = np.array([2.5, 5.0]).reshape(2, 1, 1)
    assert_voxels(node, 1000 * FACTOR * slopes * image.pixel_array)


@pytest.mark.parametrize("mapping", ["SUVbw", "ADC"])
def test_damaged_images_give_our_errors(tmp_path: Path, mapping: str) -> None:
    """Flipped bytes and absurd attributes, in the radiopharmaceutical and the mapping among others."""
    images = write_pet(tmp_path, 3, RealWorldValueMappingSequence=[adc(0.5)])
    path = Path(images[1].filename)
    content = path.read_bytes()
    cases = [*damage.flips(content, 60), *damage.absurd_attributes(content), *damage.truncations(content, 10)]
    loaded = 0
    for case in cases:
        path.write_bytes(case.content)
        scene = dicombridge.new_scene()
        loadable = dicombridge.Loadable(files=[image.filename for image in images], name="damaged", kind="RWVM")
        try:
            loaded += bool(dicombridge.load(loadable, scene=scene, mapping=mapping))
        except dicombridge.DicomBridgeError as error:
            assert str(tmp_path) in str(error), case.name  # noqa: PT017
            assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0, case.name
        with dicombridge.open_folder(tmp_path) as database:
            real_world_value.examine([str(path)], database)
    assert 0 < loaded < len(cases)
