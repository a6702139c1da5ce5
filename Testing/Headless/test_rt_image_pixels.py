"""What the volumes of RT images hold: pixels, frames, attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from pydicom.uid import RLELossless
from support.items import item
from support.rt_images import loaded, lps, of_plan, ramp, write_image
from support.rt_records import PLAN_UID
from support.scenes import saved_and_read
from support.volumes import array_of

import dicombridge
from dicombridge.errors import UnsupportedError


def test_a_real_portal_image(data: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Elekta iView: 1024 x 1024 pixels of 0.402 mm, gantry 0, source to image 1600 mm, neither position nor isocentre.

    Half of the image is 1023 / 2 * 0.402 = 205.623 mm; the plane lies 1600 - 1000 = 600 mm behind the isocentre.
    """
    path = data / "rt" / "rtimage" / "rtimage_elekta_iview.dcm"
    (node,) = dicombridge.load(path, scene=scene)
    assert lps(node, 0, 0) == [-205.623, 600, 205.623]
    assert lps(node, 1023, 1023) == [205.623, 600, -205.623]
    assert len(caplog.messages) == 3
    stored = pydicom.dcmread(path).pixel_array
    assert node.GetImageData().GetScalarTypeAsString() == "unsigned short"
    np.testing.assert_array_equal(array_of(node)[0], stored)


def test_the_images_of_these_tests_are_valid(tmp_path: Path) -> None:
    assert faults(write_image(tmp_path)) == []


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.int32])
def test_all_bits(dtype: Any, tmp_path: Path, scene: Any) -> None:
    pixels = ramp(dtype=dtype)
    limits = np.iinfo(dtype)
    pixels[0, 0, :2] = limits.min, limits.max
    node = loaded(tmp_path, scene, pixels=pixels)
    np.testing.assert_array_equal(array_of(node), pixels)
    assert array_of(node).dtype == dtype


def test_unused_bits_are_not_values(tmp_path: Path, scene: Any) -> None:
    """Twelve bits, signed: 0xF001 has the value 1, 0x0FFF the value -1."""
    pixels = ramp(dtype=np.uint16)
    pixels[0, 0, :2] = 0xF001, 0x0FFF
    node = loaded(tmp_path, scene, pixels=pixels, BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert array_of(node)[0, 0, :3].tolist() == [1, -1, 2]


RESCALED: dict[str, tuple[dict[str, Any], Any, str]] = {
    "whole": ({"RescaleSlope": 2, "RescaleIntercept": -5}, 2 * ramp().astype(int) - 5, "short"),
    "large": ({"RescaleSlope": 5000, "RescaleIntercept": 0}, 5000 * ramp().astype(int), "int"),
    "fractions": ({"RescaleSlope": 0.25, "RescaleIntercept": 1}, ramp() / 4 + 1, "float"),
    "table": (
        {
            "ModalityLUTSequence": [
                item(LUTDescriptor=[15, 0, 16], ModalityLUTType="OD", LUTData=np.arange(15, 0, -1, np.uint16).tobytes())
            ]
        },
        15 - ramp().astype(int),
        "unsigned short",
    ),
}


@pytest.mark.parametrize("case", RESCALED)
def test_rescaled(case: str, tmp_path: Path, scene: Any) -> None:
    values, expected, scalar_type = RESCALED[case]
    node = loaded(tmp_path, scene, **values)
    np.testing.assert_array_equal(array_of(node), expected)
    assert node.GetImageData().GetScalarTypeAsString() == scalar_type


def test_display(tmp_path: Path, scene: Any) -> None:
    """MONOCHROME1 is shown inverted; the first window is the display's, the others are presets."""
    values = {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": [7, 3], "WindowWidth": [14, 6]}
    display = loaded(tmp_path, scene, **values).GetDisplayNode()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeInvertedGrey"
    assert (display.GetLevel(), display.GetWindow(), display.GetAutoWindowLevel()) == (7, 14, 0)
    assert display.GetNumberOfWindowLevelPresets() == 2


def test_compressed(tmp_path: Path, scene: Any) -> None:
    path = write_image(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    (node,) = dicombridge.load(path, scene=scene)
    np.testing.assert_array_equal(array_of(node), ramp())


def exposures(*angles: float, numbered: bool = True) -> list[Any]:
    items = [item(GantryAngle=angle, MetersetExposure=number) for number, angle in enumerate(angles, start=1)]
    for number, one in enumerate(items, start=1):
        if numbered:
            one.ReferencedFrameNumber = number
    return items[::-1] if numbered else items


@pytest.mark.parametrize("numbered", [True, False])
def test_each_frame_has_its_own_exposure(numbered: bool, tmp_path: Path, scene: Any) -> None:
    """The middle pixel lies 500 mm from the isocentre (10, 20, 30): behind, at the right, and, at 0 again, behind.

    The third frame has no exposure, so the angle of the image counts.
    """
    pixels = ramp(frames=3)
    path = write_image(tmp_path, pixels=pixels, ExposureSequence=exposures(180, 90, numbered=numbered))
    nodes = dicombridge.load(path, scene=scene)
    assert [lps(node, 2, 1) for node in nodes] == [[10, -480, 30], [-490, 20, 30], [10, 520, 30]]
    assert [node.GetAttribute("DicomRtImport.GantryAngle") for node in nodes] == ["180", "90", "0"]
    assert [node.GetAttribute("DICOMBridge.Meterset") for node in nodes] == ["1.0", "2.0", None]
    assert [node.GetName() for node in nodes] == [f"7: DRR (frame {number})" for number in (1, 2, 3)]
    np.testing.assert_array_equal(np.concatenate([array_of(node) for node in nodes]), pixels)


def test_chosen_frames(tmp_path: Path, scene: Any) -> None:
    pixels = ramp(frames=4)
    nodes = dicombridge.load(write_image(tmp_path, pixels=pixels), scene=scene, frames=[4, 2])
    np.testing.assert_array_equal(np.concatenate([array_of(node) for node in nodes]), pixels[[1, 3]])
    with pytest.raises(UnsupportedError, match="frames 1 to 4"):
        dicombridge.load(tmp_path / "image.dcm", scene=scene, frames=[5])


def test_many_frames_are_bounded(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    from dicombridge.rt_image.settings import MOST_VOLUMES

    pixels = np.arange((MOST_VOLUMES + 2) * 4).astype(np.uint16).reshape(-1, 2, 2)
    path = write_image(tmp_path, pixels=pixels)
    with dicombridge.open_folder(tmp_path) as database:
        (offered,) = dicombridge.examine(database)
    assert offered.warning == f"Of its {MOST_VOLUMES + 2} frames, the first {MOST_VOLUMES} are loaded."
    nodes = dicombridge.load(path, scene=scene)
    assert len(nodes) == MOST_VOLUMES
    np.testing.assert_array_equal(array_of(nodes[-1])[0], pixels[MOST_VOLUMES - 1])
    assert f"has {MOST_VOLUMES + 2} frames" in caplog.text


def test_colour_is_refused(tmp_path: Path, scene: Any) -> None:
    path = write_image(tmp_path, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    with pytest.raises(UnsupportedError, match=r"image\.dcm.*colour"):
        dicombridge.load(path, scene=scene)


# What SlicerRT looks for, on the node and in the subject hierarchy.
ATTRIBUTES = {
    "DicomRtImport.RtImage": "1",
    "DicomRtImport.RtImageSid": "1500",
    "DicomRtImport.RtImagePosition": "-6 2",
    "DicomRtImport.SourceAxisDistance": "1000",
    "DicomRtImport.GantryAngle": "270",
    "DicomRtImport.CouchAngle": "15",
    "DicomRtImport.CollimatorAngle": "30",
    "DicomRtImport.JawPositions": "-50.0 50.0 -40.0 45.5",
    "DicomRtImport.BeamNumber": "1",
}


def test_attributes_survive(tmp_path: Path, scene: Any) -> None:
    values = {
        **of_plan(),
        "GantryAngle": 270,
        "PatientSupportAngle": 15,
        "BeamLimitingDeviceAngle": 30,
        "BeamLimitingDeviceSequence": [
            item(RTBeamLimitingDeviceType="ASYMY", LeafJawPositions=[-40, 45.5]),
            item(RTBeamLimitingDeviceType="X", LeafJawPositions=[-50, 50]),
        ],
    }
    before = loaded(tmp_path, scene, **values)
    placed = lps(before, 0, 0)
    again = saved_and_read(scene, tmp_path)
    node = again.GetFirstNodeByName("7: DRR")
    hierarchy = again.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    described = hierarchy.GetItemByDataNode(node)
    assert {name: node.GetAttribute(name) for name in ATTRIBUTES} == ATTRIBUTES
    assert {name: hierarchy.GetItemAttribute(described, name) for name in ATTRIBUTES} == ATTRIBUTES
    assert hierarchy.GetItemAttribute(described, "DICOM.ReferencedInstanceUIDs") == PLAN_UID
    assert node.GetAttribute("DICOM.instanceUIDs") == hierarchy.GetItemUID(described, "DICOMInstanceUID")
    np.testing.assert_allclose(lps(node, 0, 0), placed, atol=1e-4)
    np.testing.assert_array_equal(array_of(node), ramp())
    from dicombridge.shadow import remembered

    assert remembered(node).RTImageLabel == "AP"


def test_images_of_one_series_are_told_apart(tmp_path: Path) -> None:
    series = "1.2.826.0.1.3680043.8.498.90"
    for name in ("AP", "LAT"):
        write_image(
            tmp_path, f"{name}.dcm", SeriesInstanceUID=series, RTImageLabel=name, GantryAngle=90 * (name == "LAT")
        )
    with dicombridge.open_folder(tmp_path) as database:
        offered = dicombridge.examine(database)
    assert {one.name: one.tooltip.partition(": ")[2] for one in offered} == {
        "7: DRR [AP]": "AP, gantry 0 degrees",
        "7: DRR [LAT]": "LAT, gantry 90 degrees",
    }
