"""Maps that highdicom and dcmqi write have here the values and the places that these programs gave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from support.nrrd import read_nrrd
from support.peers import run, tool
from support.pm_objects import planes_of
from support.volumes import array_of, lps_of_volume

import dicombridge
from dicombridge.demo.quantities import window_options

ADC = CodedConcept("113041", "DCM", "Apparent Diffusion Coefficient")
UM2_S = CodedConcept("um2/s", "UCUM", "um2/s")
NO_UNITS = CodedConcept("1", "UCUM", "no units")


@pytest.fixture
def images(data: Path) -> list[Any]:
    found = [pydicom.dcmread(path) for path in sorted((data / "pm" / "dcmqi_adc_source").glob("*.dcm"))]
    return sorted(found, key=lambda image: float(image.ImagePositionPatient[2]))


def write_by_highdicom(
    folder: Path, images: list[Any], pixels: NDArray[Any], mappings: Any, name: str = "map.dcm", **options: Any
) -> Path:
    dataset = ParametricMap(
        images, pixels, highdicom.UID(), 7, highdicom.UID(), 1, "Acme", "Mapper", "1", "1", False, mappings,
        **window_options(100.0, 200.0), **options,
    )  # fmt: skip
    path = folder / name
    dataset.save_as(path)
    return path


def expected_affine(images: list[Any]) -> NDArray[np.float64]:
    """(column, row, slice) to LPS mm, from the headers of the source images."""
    positions = np.array([[float(v) for v in image.ImagePositionPatient] for image in images])
    cosines = np.array([float(v) for v in images[0].ImageOrientationPatient])
    spacing = [float(v) for v in images[0].PixelSpacing]
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = cosines[:3] * spacing[1], cosines[3:] * spacing[0]
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine[:3, 3] = positions[0]
    return affine


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floating_point_maps_of_highdicom(scene: Any, tmp_path: Path, images: list[Any], dtype: str) -> None:
    pixels = planes_of(len(images), (256, 256), dtype)
    mapping = RealWorldValueMapping("ADC", "ADC", UM2_S, (-100.0, 100.0), slope=2.5, intercept=1.0,
                                    quantity_definition=ADC)  # fmt: skip
    path = write_by_highdicom(tmp_path, images, pixels, [mapping])
    (node,) = dicombridge.load(path, scene=scene)
    np.testing.assert_allclose(array_of(node), mapping.apply(pixels.astype(np.float64)), rtol=1e-6)
    np.testing.assert_allclose(lps_of_volume(node), expected_affine(images), atol=1e-3)
    assert node.GetVoxelValueQuantity().GetCodeValue() == "113041"
    assert node.GetVoxelValueUnits().GetCodeValue() == "um2/s"
    display = node.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (500.0, 251.0)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"])
@pytest.mark.parametrize("kind", ["slope", "table"])
def test_integer_maps_of_highdicom(scene: Any, tmp_path: Path, images: list[Any], kind: str, syntax: str) -> None:
    """Against all that highdicom does on reading: order of frames, geometry and values."""
    pixels = planes_of(len(images), (256, 256), np.uint16) % 4096
    table = np.sqrt(np.arange(4096.0))
    how: dict[str, Any] = {"slope": 0.01, "intercept": -3.0} if kind == "slope" else {"lut_data": table}
    mapping = RealWorldValueMapping("ADC", "ADC", UM2_S, (0, 4095), **how)
    path = write_by_highdicom(tmp_path, images, pixels, [mapping], transfer_syntax_uid=syntax)
    (node,) = dicombridge.load(path, scene=scene)
    volume = highdicom.imread(path).get_volume(apply_real_world_transform=True, dtype=np.float64)
    volume = volume.flip_spatial(0)  # its slices run downwards, so that (slice, row, column) is right-handed
    np.testing.assert_allclose(array_of(node), volume.array, rtol=1e-6)
    np.testing.assert_allclose(lps_of_volume(node), volume.affine[:, [2, 1, 0, 3]], atol=5e-3)


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_channels_of_highdicom(scene: Any, tmp_path: Path, images: list[Any], dtype: str) -> None:
    """They alternate frame by frame, and only the mappings tell them apart: the dimensions do not."""
    pixels = np.stack([planes_of(len(images), (256, 256), dtype, seed) for seed in range(4)], axis=-1)
    mappings = [
        [RealWorldValueMapping(f"M{n}", f"Map {n}", NO_UNITS, (-9.0, 70000.0), slope=1.0 + n, intercept=0.5)]
        for n in range(4)
    ]
    nodes = dicombridge.load(write_by_highdicom(tmp_path, images, pixels, mappings), scene=scene)
    assert [node.GetName().rpartition(" - ")[2] for node in nodes] == ["M0", "M1", "M2", "M3"]
    for number, node in enumerate(nodes):
        expected = mappings[number][0].apply(pixels[..., number].astype(np.float64))
        np.testing.assert_allclose(array_of(node), expected, rtol=1e-6)
        np.testing.assert_allclose(lps_of_volume(node), expected_affine(images), atol=1e-3)


def test_the_map_of_dcmqi(scene: Any, data: Path, tmp_path: Path) -> None:
    source = data / "pm" / "dcmqi_adc_source"
    truth = source / "truth" / "pm-example-float.nrrd"
    path = write_by_dcmqi(source, truth, tmp_path)
    (node,) = dicombridge.load(path, scene=scene)
    voxels, matrix = read_nrrd(truth)
    np.testing.assert_array_equal(array_of(node), voxels)
    np.testing.assert_allclose(lps_of_volume(node), matrix, atol=1e-3)
    assert node.GetVoxelValueQuantity().GetCodeMeaning() == "Apparent Diffusion Coefficient"
    assert node.GetVoxelValueUnits().GetCodeValue() == "um2/s"
    assert "Mono-exponential model" in node.GetAttribute("DICOMBridge.Definitions")


def write_by_dcmqi(source: Path, truth: Path, folder: Path) -> Path:
    metadata = {
        "SeriesDescription": "Apparent Diffusion Coefficient",
        "SeriesNumber": "701",
        "InstanceNumber": "1",
        "BodyPartExamined": "PROSTATE",
        "QuantityValueCode": coded("113041", "DCM", "Apparent Diffusion Coefficient"),
        "MeasurementUnitsCode": coded("um2/s", "UCUM", "um2/s"),
        "MeasurementMethodCode": coded("DWMRxxxx10", "99QIICR", "Mono-exponential model"),
        "SourceImageDiffusionBValues": ["0", "1400"],
        "AnatomicRegionSequence": coded("T-9200B", "SRT", "Prostate"),
        "FrameLaterality": "U",
        "DerivationCode": coded("110816", "DCM", "Time Course of Signal"),
        "DerivedPixelContrast": "ADC",
        "RealWorldValueSlope": "1",
    }
    (folder / "map.json").write_text(json.dumps(metadata))
    path = folder / "dcmqi.dcm"
    run(tool("itkimage2paramap"), "--inputImage", truth, "--inputDICOMDirectory", source,
        "--inputMetadata", folder / "map.json", "--outputDICOM", path)  # fmt: skip
    return path


def coded(value: str, scheme: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


def test_the_images_of_dcmqis_map_are_offered(data: Path, tmp_path: Path) -> None:
    source = data / "pm" / "dcmqi_adc_source"
    study = tmp_path / "study"
    study.mkdir()
    for image in source.glob("*.dcm"):
        (study / image.name).symlink_to(image)
    path = write_by_dcmqi(source, source / "truth" / "pm-example-float.nrrd", tmp_path)
    path.rename(study / "map.dcm")
    with dicombridge.open_folder(study, index=":memory:") as database:
        (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "PM"]
    uids = {str(pydicom.dcmread(image, stop_before_pixels=True).SOPInstanceUID) for image in source.glob("*.dcm")}
    assert set(loadable.referencedInstanceUIDs) == uids
    assert loadable.warning == ""
