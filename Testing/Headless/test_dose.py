"""Doses as volumes: values, units, what they say of themselves, how they look, what examination tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from support.items import reference
from support.rt_doses import (
    RT_PLAN,
    RT_STRUCTURE_SET,
    dose,
    dose_at,
    examined,
    loaded,
    numbers,
    rle_frame,
    room,
    voxels,
    written,
)
from support.scenes import saved_and_read
from support.volumes import matrix_of

import dicombridge
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.loadable import Loadable

# --- Values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<u4"])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_unsigned_numbers(dtype: str, syntax: str, tmp_path: Path) -> None:
    stored = numbers(3, 2, 5, dtype)
    ds = dose(stored, offsets=(0, 1, 2), DoseGridScaling="0.0123456789")
    (node,) = loaded(written(ds, tmp_path / "dose.dcm", syntax))
    assert voxels(node).dtype == np.float32
    np.testing.assert_allclose(voxels(node), stored * 0.0123456789, rtol=1e-7)


@pytest.mark.parametrize("dtype", ["<i2", "<i4"])
def test_signed_numbers(dtype: str, tmp_path: Path) -> None:
    stored = numbers(dtype=dtype) - np.array(200, dtype)
    ds = dose(stored, DoseType="ERROR", DoseGridScaling="0.5")
    (node,) = loaded(written(ds, tmp_path / "dose.dcm"))
    np.testing.assert_array_equal(voxels(node), stored * 0.5)
    assert voxels(node).min() < 0 < voxels(node).max()


def test_big_endian(tmp_path: Path) -> None:
    stored = numbers(dtype="<u4") + 70000
    (node,) = loaded(written(dose(stored.astype(">u4")), tmp_path / "dose.dcm", ExplicitVRBigEndian))
    np.testing.assert_allclose(voxels(node), stored * 0.001, rtol=1e-7)


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<i4"])
def test_compressed_numbers(dtype: str, tmp_path: Path) -> None:
    stored = numbers(dtype=dtype) - np.array(100 if dtype == "<i4" else 0, dtype)
    ds = dose(stored, DoseType="ERROR" if dtype == "<i4" else "PHYSICAL")
    ds.PixelData = encapsulate([rle_frame(frame) for frame in stored])
    (node,) = loaded(written(ds, tmp_path / "dose.dcm", RLELossless))
    np.testing.assert_allclose(voxels(node), stored * 0.001, rtol=1e-7)


def test_numbers_beyond_float32_stay_exact(tmp_path: Path) -> None:
    """Neighbouring stored numbers of 32 bits would fall together in float32."""
    stored = np.array([[[2**32 - 1, 2**32 - 2, 2**31 + 1, 1]]], "<u4")
    (node,) = loaded(written(dose(stored, DoseGridScaling="1e-8"), tmp_path / "dose.dcm"))
    assert voxels(node).dtype == np.float64
    np.testing.assert_array_equal(voxels(node), stored * 1e-8)


def test_overlay_bits_above_the_numbers_are_no_dose(tmp_path: Path) -> None:
    stored = numbers() | 0x8000
    (node,) = loaded(written(dose(stored, BitsStored=12, HighBit=11), tmp_path / "dose.dcm"))
    np.testing.assert_allclose(voxels(node), numbers() * 0.001, rtol=1e-6)


@pytest.mark.parametrize("path", ["rt/pydicom/rtdose.dcm", "rt/topas_abdomen/rtdose.dcm", "rt/pinnacle/RTDOSE.dcm"])
def test_relative_error_is_below_1e_6(path: str, data: Path) -> None:
    from support.items import read

    ds = read(data / path)
    exact = ds.pixel_array.astype(np.float64) * float(ds.DoseGridScaling)
    (node, *_) = loaded(data / path)
    np.testing.assert_allclose(voxels(node), exact, rtol=1e-6, atol=0)


def test_without_preamble_and_meta_header(tmp_path: Path) -> None:
    whole = written(dose(), tmp_path / "whole.dcm", ImplicitVRLittleEndian).read_bytes()
    begin = whole.index(b"\x08\x00\x16\x00", 132)
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(whole[begin:])
    (node,) = loaded(bare)
    np.testing.assert_allclose(voxels(node), numbers() * 0.001, rtol=1e-6)


def test_number_of_frames_that_is_no_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """``1A`` occurs; the pixel data tells how many there are."""
    path = written(dose(NumberOfFrames=57), tmp_path / "dose.dcm")
    path.write_bytes(path.read_bytes().replace(b"(\x00\x08\x00IS\x02\x0057", b"(\x00\x08\x00IS\x02\x001A"))
    (node,) = loaded(path)
    np.testing.assert_allclose(voxels(node), numbers() * 0.001, rtol=1e-6)
    assert "NumberOfFrames is '1A'; its pixel data holds 5 frames" in caplog.text


def test_number_of_frames_that_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All planes that are there are loaded."""
    (node,) = loaded(written(dose(NumberOfFrames=None), tmp_path / "dose.dcm"))
    np.testing.assert_allclose(voxels(node), numbers() * 0.001, rtol=1e-6)
    assert "NumberOfFrames is missing; its pixel data holds 5 frames" in caplog.text


def test_more_frames_than_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ds = dose(NumberOfFrames=3, GridFrameOffsetVector=[0, 2.5, 5])
    (node,) = loaded(written(ds, tmp_path / "dose.dcm"))
    np.testing.assert_allclose(voxels(node), numbers()[:3] * 0.001, rtol=1e-6)
    assert "holds 5 frames; by its NumberOfFrames, only the first 3 were read" in caplog.text


def test_another_object_is_refused(data: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"rtplan\.dcm.*no RT Dose"):
        loaded(data / "rt/plans/rtplan.dcm")


# --- What it says of itself ------------------------------------------------------------------------------------------


def test_node_says_what_it_is_a_dose_of(tmp_path: Path) -> None:
    ds = dose(
        TissueHeterogeneityCorrection=["IMAGE", "ROI_OVERRIDE"],
        DoseComment="Monte Carlo",
        SpatialTransformOfDose="RIGID",
        ReferencedStructureSetSequence=[reference(RT_STRUCTURE_SET, "1.2.3.9")],
    )
    (node,) = loaded(written(ds, tmp_path / "dose.dcm"))
    said = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    assert said["DicomRtImport.DoseVolume"] == "1"
    assert said["DICOMBridge.DoseUnits"] == "GY"
    assert said["DICOMBridge.DoseType"] == "PHYSICAL"
    assert said["DICOMBridge.DoseSummationType"] == "PLAN"
    assert said["DICOMBridge.DoseGridScaling"] == "0.001"
    assert said["DICOMBridge.TissueHeterogeneityCorrection"] == "IMAGE\\ROI_OVERRIDE"
    assert said["DICOMBridge.DoseComment"] == "Monte Carlo"
    assert said["DICOMBridge.SpatialTransformOfDose"] == "RIGID"
    assert said["DICOMBridge.ReferencedPlanUIDs"] == "1.2.3.4.5"
    assert said["DICOMBridge.ReferencedStructureSetUIDs"] == "1.2.3.9"
    assert said["DICOM.instanceUIDs"] == ds.SOPInstanceUID


@pytest.mark.parametrize(
    ("units", "dose_type", "unit", "quantity"),
    [
        ("GY", "PHYSICAL", "Gy", "128513"),
        ("GY", "EFFECTIVE", "Gy", None),
        ("GY", "ERROR", "Gy", None),
        ("RELATIVE", "PHYSICAL", "1", None),
        ("CGY", "PHYSICAL", None, None),
    ],
)
def test_units_and_quantity_of_voxels(
    units: str, dose_type: str, unit: str | None, quantity: str | None, tmp_path: Path
) -> None:
    (node,) = loaded(written(dose(DoseUnits=units, DoseType=dose_type), tmp_path / "dose.dcm"))
    entries = node.GetVoxelValueUnits(), node.GetVoxelValueQuantity()
    assert [entry.GetCodeValue() if entry is not None else None for entry in entries] == [unit, quantity]
    if unit is not None:
        assert entries[0].GetCodingSchemeDesignator() == "UCUM"


def study_attributes(node: Any) -> tuple[str, str]:
    hierarchy = node.GetScene().GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    study = hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(node), "Study")
    assert study
    return tuple(hierarchy.GetItemAttribute(study, f"DicomRtImport.DoseUnit{name}") for name in ("Name", "Value"))


def test_study_says_what_slicer_rt_asks(tmp_path: Path) -> None:
    """Dose units by name, in upper case, and the exact text of the scaling."""
    (node,) = loaded(written(dose(DoseGridScaling="1.00000E-3"), tmp_path / "dose.dcm"))
    assert study_attributes(node) == ("GY", "1.00000E-3")


def test_two_doses_of_one_study(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The second one has another scaling and other units: the study keeps what the first said, each node its own."""
    scene = dicombridge.new_scene()
    (first,) = loaded(written(dose(), tmp_path / "one.dcm"), scene)
    other = dose(DoseGridScaling="0.25", DoseUnits="RELATIVE")
    (second,) = loaded(written(other, tmp_path / "two.dcm"), scene)
    assert study_attributes(second) == study_attributes(first) == ("GY", "0.001")
    assert first.GetAttribute("DICOMBridge.DoseGridScaling") == "0.001"
    assert second.GetAttribute("DICOMBridge.DoseGridScaling") == "0.25"
    assert (first.GetVoxelValueUnits().GetCodeValue(), second.GetVoxelValueUnits().GetCodeValue()) == ("Gy", "1")
    np.testing.assert_allclose(voxels(first), numbers() * 0.001, rtol=1e-6)
    np.testing.assert_allclose(voxels(second), numbers() * 0.25, rtol=1e-6)
    assert first.GetName() != second.GetName()
    assert caplog.text == ""


# --- How it looks ----------------------------------------------------------------------------------------------------


def test_colours_and_window(tmp_path: Path) -> None:
    (node,) = loaded(written(dose(), tmp_path / "dose.dcm"))
    display, highest = node.GetDisplayNode(), float(voxels(node).max())
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeReverseRainbow"
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((0, highest))
    assert not display.GetAutoWindowLevel()
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == pytest.approx(0.01 * highest)


def test_colours_of_slicer_rt_where_there_are_any(tmp_path: Path) -> None:
    scene = dicombridge.new_scene()
    table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "Dose_ColorTable")
    (node,) = loaded(written(dose(), tmp_path / "dose.dcm"), scene)
    assert node.GetDisplayNode().GetColorNodeID() == table.GetID()


@pytest.mark.parametrize("level", [0, 500])
def test_uniform_dose_has_a_window(level: int, tmp_path: Path) -> None:
    stored = np.full((2, 2, 2), level, "<u2")
    (node,) = loaded(written(dose(stored, offsets=(0, 1)), tmp_path / "dose.dcm"))
    assert node.GetDisplayNode().GetWindow() > 0


def test_error_of_a_dose_shows_negative_values(tmp_path: Path) -> None:
    stored = numbers(dtype="<i2") - np.int16(200)
    (node,) = loaded(written(dose(stored, DoseType="ERROR"), tmp_path / "dose.dcm"))
    assert node.GetDisplayNode().GetWindowLevelMin() == pytest.approx(stored.min() * 0.001)
    assert not node.GetDisplayNode().GetApplyThreshold()


def test_survives_in_a_scene_file(tmp_path: Path) -> None:
    (node,) = loaded(written(dose(SeriesDescription="A & B"), tmp_path / "dose.dcm"))
    scene = saved_and_read(node.GetScene(), tmp_path)
    again = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    np.testing.assert_array_equal(voxels(again), voxels(node))
    np.testing.assert_allclose(matrix_of(again), matrix_of(node), atol=1e-9)
    for name in node.GetAttributeNames():
        assert again.GetAttribute(name) == node.GetAttribute(name), name
    assert again.GetVoxelValueUnits().GetCodeValue() == "Gy"
    assert again.GetVoxelValueQuantity().GetCodeValue() == "128513"
    assert study_attributes(again) == ("GY", "0.001")
    display = again.GetDisplayNode()
    assert display.GetWindowLevelMax() == pytest.approx(float(voxels(node).max()))


# --- Examination -----------------------------------------------------------------------------------------------------


def loadables(folder: Path) -> list[Loadable]:
    database = dicombridge.open_folder(folder)
    try:
        files = [str(path) for path in sorted(folder.rglob("*.dcm"))]
        found: list[Loadable] = room().examine(files, database)
        return found
    finally:
        database.close()


def test_loadable(tmp_path: Path) -> None:
    ds = dose()
    (one,) = examined(written(ds, tmp_path / "dose.dcm"), tmp_path)
    assert (one.name, one.kind, one.selected, one.confidence) == ("7: Plan dose", "RTDOSE", True, 0.99)
    assert one.seriesInstanceUID == ds.SeriesInstanceUID
    assert one.referencedInstanceUIDs == ["1.2.3.4.5"]
    assert one.warning == ""
    assert "physical" in one.tooltip


def test_doses_of_one_series_are_told_apart(data: Path) -> None:
    found = loadables(data / "rt/raystation_proton")
    assert sorted(one.name for one in found) == ["1: Slope101010E_o_1 [beam 1]", "1: Slope101010E_o_1 [plan]"]


def test_images_are_found_through_plan_and_structure_set(data: Path) -> None:
    """The dose names plan and structure set only; the images that it needs are those of the structure set."""
    (one,) = loadables(data / "rt/eclipse_breast")
    from support.items import read

    folder = data / "rt/eclipse_breast"
    wanted = {str(read(folder / name).SOPInstanceUID) for name in ("rtplan.dcm", "rtss.dcm", "ct.0.dcm")}
    assert set(one.referencedInstanceUIDs) == wanted
    assert "9 dose-volume histograms" in one.tooltip


def test_images_of_the_same_frame_of_reference(data: Path, tmp_path: Path) -> None:
    """Neither plan nor structure set is there, but the images lie in the same frame of reference."""
    import shutil

    from support.items import read

    folder = data / "rt/topas_abdomen/ct"
    shutil.copytree(folder, tmp_path / "ct", copy_function=shutil.copyfile)
    images = [read(path) for path in sorted(folder.iterdir())]
    ds = dose(FrameOfReferenceUID=images[0].FrameOfReferenceUID, PatientID=images[0].PatientID)
    written(ds, tmp_path / "dose.dcm")
    (one,) = loadables(tmp_path)
    assert {str(image.SOPInstanceUID) for image in images} <= set(one.referencedInstanceUIDs)
    assert one.warning == ""
    written(dose(FrameOfReferenceUID=images[0].FrameOfReferenceUID), tmp_path / "dose.dcm")
    (one,) = loadables(tmp_path)
    assert "another Patient ID" in one.warning


def test_no_images_at_all(tmp_path: Path) -> None:
    (one,) = examined(written(dose(FrameOfReferenceUID=None), tmp_path / "dose.dcm"), tmp_path)
    assert one.referencedInstanceUIDs == ["1.2.3.4.5"]
    (node,) = loaded(tmp_path / "dose.dcm")
    assert dose_at(node, (-20, -30, 40)) == pytest.approx(0.003)


def test_references_in_sequences_of_unknown_vr(data: Path) -> None:
    """Some software writes sequences that it does not know as UN; this plan is named in one."""
    (one,) = examined(data / "rt/pydicom/rtdose_rle.dcm", data)
    assert one.referencedInstanceUIDs == ["1.2.123.456.78.9.0123.4567.89012345678901"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"DoseUnits": "CGY"}, "neither GY nor RELATIVE"),
        ({"DoseUnits": None}, "DoseUnits are missing"),
        ({"DoseType": "STRANGE"}, "DoseType is 'STRANGE'"),
        ({"DoseGridScaling": None}, "DoseGridScaling is missing"),
        ({"DoseGridScaling": "-0.5"}, "negative"),
        ({"PixelRepresentation": 1}, "signed"),
    ],
)
def test_doubts_are_told_before_and_while_loading(
    values: dict[str, Any], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(dose(**values), tmp_path / "dose.dcm")
    (one,) = examined(path, tmp_path)
    assert words in one.warning
    options = {"dose_grid_scaling": 0.001} if "DoseGridScaling" in values and not values["DoseGridScaling"] else {}
    (node, *_) = loaded(path, **options)
    assert words in caplog.text
    assert words in node.GetAttribute("DICOMBridge.Warning")


def test_plan_in_a_loadable_is_passed_over(data: Path) -> None:
    found = loadables(data / "rt/plans")
    assert found == []


def test_private_reference_sequences_do_not_matter(tmp_path: Path) -> None:
    ds = dose()
    block = ds.private_block(0x3287, "ACME", create=True)
    item = Dataset()
    item.ReferencedSOPInstanceUID = "9.9.9"
    block.add_new(0x01, "SQ", [item])
    (one,) = examined(written(ds, tmp_path / "dose.dcm"), tmp_path)
    assert one.referencedInstanceUIDs == ["1.2.3.4.5"]


def test_missing_scaling_is_not_guessed(tmp_path: Path) -> None:
    path = written(dose(DoseGridScaling=None), tmp_path / "dose.dcm")
    with pytest.raises(UnreadableError, match="dose_grid_scaling"):
        loaded(path)
    (node,) = loaded(path, dose_grid_scaling=2.0)
    np.testing.assert_array_equal(voxels(node), numbers() * 2.0)
    assert node.GetAttribute("DICOMBridge.DoseGridScaling") == "2.0"
    assert RT_PLAN.endswith("481.5")
