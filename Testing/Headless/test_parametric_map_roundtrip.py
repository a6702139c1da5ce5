"""Maps that come from DICOM and go back: what they were survives, and what was edited is new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from support.items import code
from support.pm_objects import MapFrame, group, mapping_item, parametric_map, planes_of, write
from support.scenes import saved_and_read
from support.volumes import array_of, lps_of_volume

import dicombridge
from dicombridge.codes import Code, coded_entry

ADC = ("113041", "DCM", "Apparent Diffusion Coefficient")
UM2_S = ("um2/s", "UCUM", "um2/s")
METHOD = (("370129005", "SCT", "Measurement Method"), ("X1", "99ACME", "Mono-exponential model"))


def frames_of(pixels: Any, items: Any = None, **groups: Any) -> list[MapFrame]:
    frames = []
    for number, plane in enumerate(pixels):
        own = dict(groups) if items is None else {"RealWorldValueMappingSequence": [items[number]], **groups}
        frames.append(MapFrame((1.5, -2.5, 3.0 * number), plane, own, sources=[(f"1.2.3.9.{number}", 0)]))
    return frames


def round_trip(dataset: Any, folder: Path, **options: Any) -> tuple[list[Any], pydicom.Dataset, list[Any]]:
    """Nodes of a map, the map that they are written as, and the nodes of that."""
    nodes = dicombridge.load(write(dataset, folder), scene=dicombridge.new_scene())
    (path,) = dicombridge.export(nodes, folder / "out", **options)
    assert faults(path) == []
    return nodes, pydicom.dcmread(path), dicombridge.load(path, scene=dicombridge.new_scene())


def test_16_bits_keep_their_slope(tmp_path: Path) -> None:
    """The stored numbers are the very same, not the nearest of another scale."""
    pixels = planes_of(4, dtype=np.uint16)
    item = mapping_item(0.1, -20.0, label="ADC", units=UM2_S, quantity=ADC, values=(0, 65535))
    nodes, written, again = round_trip(parametric_map(frames_of(pixels), mappings=[item]), tmp_path)
    assert written.PixelData == pixels.tobytes()
    found = written.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (found.RealWorldValueSlope, found.RealWorldValueIntercept) == (0.1, -20.0)
    np.testing.assert_array_equal(array_of(again[0]), array_of(nodes[0]))


def test_edited_16_bits_get_a_slope_of_their_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    item = mapping_item(0.1, -20.0, units=UM2_S, values=(0, 65535))
    dataset = parametric_map(frames_of(planes_of(3, dtype=np.uint16)), mappings=[item])
    nodes = dicombridge.load(write(dataset, tmp_path), scene=dicombridge.new_scene())
    array_of(nodes[0])[1] *= 1.37
    expected = array_of(nodes[0]).copy()
    (path,) = dicombridge.export(nodes, tmp_path / "out")
    (again,) = dicombridge.load(path, scene=dicombridge.new_scene())
    step = (expected.max() - expected.min()) / 65535
    assert np.abs(array_of(again) - expected).max() <= 0.501 * step
    assert "as uint16: no value is off by more than" in caplog.text


def test_a_table_stays_a_table(tmp_path: Path) -> None:
    pixels = planes_of(3, dtype=np.uint16) % 1000
    table = (np.arange(1000.0) - 500) ** 3  # not sorted by chance
    item = mapping_item(None, label="CUBE", units=UM2_S, values=(0, 999), lut=table)
    nodes, written, again = round_trip(parametric_map(frames_of(pixels), mappings=[item]), tmp_path)
    found = written.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert list(found.RealWorldValueLUTData) == table.tolist()
    assert written.PixelData == pixels.tobytes()
    np.testing.assert_array_equal(array_of(again[0]), array_of(nodes[0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_float_with_a_slope_is_written_as_what_it_means(tmp_path: Path, dtype: Any) -> None:
    """Its values are the product already; the slope would have to be undone, and 1 is exact."""
    item = mapping_item(0.3, 1.0, label="ADC", units=UM2_S, quantity=ADC)
    nodes, written, again = round_trip(parametric_map(frames_of(planes_of(3, dtype=dtype)), mappings=[item]), tmp_path)
    found = written.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (found.RealWorldValueSlope, found.RealWorldValueIntercept, found.LUTLabel) == (1.0, 0.0, "ADC")
    assert array_of(again[0]).tobytes() == array_of(nodes[0]).tobytes()


def test_what_the_quantity_is_defined_by(tmp_path: Path) -> None:
    """Method, b-values and all else of the definition; a new unit of the node takes the place of the old one."""
    definitions = [METHOD, (("113043", "DCM", "Source image diffusion b-value"), 1400.0)]
    item = mapping_item(1.0, label="ADC", units=UM2_S, quantity=ADC, definitions=definitions)
    dataset = parametric_map(frames_of(planes_of(2)), mappings=[item])
    nodes = dicombridge.load(write(dataset, tmp_path), scene=dicombridge.new_scene())
    nodes[0].SetVoxelValueUnits(coded_entry(Code("mm2/s", "UCUM", "mm2/s")))
    (path,) = dicombridge.export(nodes, tmp_path / "out")
    found = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert found.MeasurementUnitsCodeSequence[0].CodeValue == "mm2/s"
    quantity, method, b_value = found.QuantityDefinitionSequence
    assert quantity.ConceptCodeSequence[0].CodeValue == "113041"
    assert method.ConceptCodeSequence[0].CodeValue == "X1"
    assert (b_value.NumericValue, b_value.MeasurementUnitsCodeSequence[0].CodeValue) == (1400, "s/mm2")


def test_sources_derivation_and_anatomy(tmp_path: Path) -> None:
    dataset = parametric_map(frames_of(planes_of(3)), mappings=[mapping_item(units=UM2_S)])
    dataset.ReferencedSeriesSequence = group(
        SeriesInstanceUID="1.2.3.8",
        ReferencedInstanceSequence=[
            group(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.4", ReferencedSOPInstanceUID=f"1.2.3.9.{n}")[0]
            for n in range(3)
        ],
    )
    anatomy = group(FrameLaterality="L", AnatomicRegionSequence=[code("76752008", "SCT", "Breast")])
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = anatomy
    _, written, again = round_trip(dataset, tmp_path)
    for number, groups in enumerate(written.PerFrameFunctionalGroupsSequence):
        derivation = groups.DerivationImageSequence[0]
        assert derivation.DerivationCodeSequence[0].CodeValue == "110816"
        assert [one.ReferencedSOPInstanceUID for one in derivation.SourceImageSequence] == [f"1.2.3.9.{number}"]
    (found,) = written.SharedFunctionalGroupsSequence[0].FrameAnatomySequence
    assert (found.FrameLaterality, found.AnatomicRegionSequence[0].CodeValue) == ("L", "76752008")
    (series,) = written.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "1.2.3.8"
    assert len(again) == 1


def test_header_and_predecessor(tmp_path: Path) -> None:
    dataset = parametric_map(
        frames_of(planes_of(2)), mappings=[mapping_item(units=UM2_S)], PatientName="DOE^JANE", PatientID="42"
    )
    dataset.add_new(0x00091001, "LO", "private")
    dataset.add_new(0x00090010, "LO", "ACME")
    _, written, _ = round_trip(dataset, tmp_path, SeriesDescription="again")
    assert (str(written.PatientName), written.PatientID, written.SeriesDescription) == ("DOE^JANE", "42", "again")
    assert (written.ContentLabel, str(written.ContentCreatorName)) == ("MAPS", "DOE^JOHN")
    assert written[0x00091001].value == "private"
    assert written.SOPInstanceUID != dataset.SOPInstanceUID
    assert written.SeriesInstanceUID != dataset.SeriesInstanceUID
    (study,) = written.PredecessorDocumentsSequence
    earlier = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert earlier.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert written.ContributingEquipmentSequence[-1].Manufacturer == "Acme"


def test_missing_slices_stay_missing(tmp_path: Path) -> None:
    frames = [frame for number, frame in enumerate(frames_of(planes_of(6))) if number not in (2, 3)]
    nodes, written, again = round_trip(parametric_map(frames, mappings=[mapping_item(units=UM2_S)]), tmp_path)
    assert written.NumberOfFrames == 4
    np.testing.assert_array_equal(array_of(again[0]), array_of(nodes[0]))
    assert np.isnan(array_of(again[0])[2:4]).all()
    np.testing.assert_allclose(lps_of_volume(again[0]), lps_of_volume(nodes[0]), atol=1e-9)


def test_several_maps_come_back_as_one_object(tmp_path: Path) -> None:
    items = [mapping_item(label=f"M{n}", units=unit) for n, unit in enumerate([UM2_S, ("s", "UCUM", "s")])]
    pixels = planes_of(6)
    frames = frames_of(pixels[:3], [items[0]] * 3) + frames_of(pixels[3:], [items[1]] * 3)
    nodes, written, again = round_trip(parametric_map(frames), tmp_path)
    assert written.NumberOfFrames == 6
    for one, other in zip(nodes, again, strict=True):
        assert one.GetAttribute("DICOMBridge.MapNumber") == other.GetAttribute("DICOMBridge.MapNumber")
        np.testing.assert_array_equal(array_of(one), array_of(other))
        assert one.GetVoxelValueUnits().GetCodeValue() == other.GetVoxelValueUnits().GetCodeValue()


def test_through_a_saved_scene(tmp_path: Path) -> None:
    """What the export needs is in the scene file; the window too."""
    item = mapping_item(0.1, -20.0, label="ADC", units=UM2_S, quantity=ADC, values=(0, 65535))
    pixels = planes_of(4, dtype=np.uint16)
    dataset = parametric_map(frames_of(pixels), mappings=[item], window=(30000, 40000))
    scene = dicombridge.new_scene()
    dicombridge.load(write(dataset, tmp_path), scene=scene)
    again = saved_and_read(scene, tmp_path)
    node = again.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    (path,) = dicombridge.export(node, tmp_path / "out")
    written = pydicom.dcmread(path)
    assert path.name.startswith("PM_")
    assert written.PixelData == pixels.tobytes()
    window = written.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    assert (float(window.WindowCenter), float(window.WindowWidth)) == pytest.approx((30000, 40000))
