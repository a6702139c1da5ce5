"""Datasets as outlines, and values as tables hold them."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from support.items import code, item, reference

from dicombridge.attribute_values import items_of, number_of, seconds_of, value_of
from dicombridge.outline import LONGEST_VALUE, OutlineRow, named_references, outline, outline_columns


def raw(tag: int, vr: str, value: bytes) -> RawDataElement:
    """An element as it comes from a file, not decoded yet."""
    return RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)


def test_levels_and_items() -> None:
    dataset = item(
        PatientID="7",
        BeamSequence=[
            item(BeamNumber=1, ControlPointSequence=[item(GantryAngle=10), item(GantryAngle=20)]),
            item(BeamNumber=2),
        ],
    )
    assert outline(dataset) == [
        OutlineRow(0, "Patient ID", "7", "", "", "(0010,0020)"),
        OutlineRow(0, "Beam Sequence", "2 items", "", "", "(300A,00B0)"),
        OutlineRow(1, "Beam Number", "1", "", "1", "(300A,00C0)"),
        OutlineRow(1, "Control Point Sequence", "2 items", "", "1", "(300A,0111)"),
        OutlineRow(2, "Gantry Angle", "10.0", "", "1.1", "(300A,011E)"),
        OutlineRow(2, "Gantry Angle", "20.0", "", "1.2", "(300A,011E)"),
        OutlineRow(1, "Beam Number", "2", "", "2", "(300A,00C0)"),
    ]


def test_codes_are_one_row() -> None:
    dataset = item(AnatomicRegionSequence=[code("10200004", "SCT", "Liver"), code("78961009", "SCT", "Spleen")])
    assert outline(dataset) == [
        OutlineRow(0, "Anatomic Region Sequence", "Liver; Spleen", "10200004, SCT; 78961009, SCT", "", "(0008,2218)")
    ]


def test_codes_with_modifiers_are_not() -> None:
    modified = code("10200004", "SCT", "Liver")
    modified.AnatomicRegionModifierSequence = [code("7771000", "SCT", "Left")]
    rows = outline(item(AnatomicRegionSequence=[modified]))
    assert [row.value for row in rows] == ["1 item", "10200004", "SCT", "Liver", "Left"]


def test_units_of_numbers() -> None:
    dataset = item(NumericValue=2.5, MeasurementUnitsCodeSequence=[code("Gy", "UCUM", "Gray")])
    assert [(row.value, row.code) for row in outline(dataset)] == [("Gray", "Gy, UCUM"), ("2.5", "Gy")]


def test_private_elements_are_told_by_their_creator() -> None:
    dataset = Dataset()
    block = dataset.private_block(0x3287, "MAKER & SON", create=True)
    block.add_new(0x10, "LO", "note")
    dataset.add_new(0x00111234, "UN", b"12345")
    assert [(row.name, row.value) for row in outline(dataset)] == [
        ("Private, creator unknown: (0011,xx34)", "5 bytes"),
        ("MAKER & SON: (3287,xx10)", "note"),
    ]


def test_long_values_are_cut_and_told() -> None:
    dataset = item(LeafJawPositions=list(range(500)), PixelData=b"\0" * 1000, DerivationDescription="x" * 300)
    dataset["PixelData"].VR = "OW"
    values = {row.name: row.value for row in outline(dataset)}
    assert values["Pixel Data"] == "1000 bytes"
    assert values["Derivation Description"] == "x" * LONGEST_VALUE + "... (300 characters)"
    assert values["Leaf/Jaw Positions"].startswith("0.0\\1.0\\2.0")
    assert values["Leaf/Jaw Positions"].endswith("... (500 values)")


def test_bounds_are_told() -> None:
    rows = outline(item(BeamSequence=[item(BeamNumber=number) for number in range(50)]), most_rows=10)
    assert len(rows) == 11
    assert rows[-1].value == "The outline ends here, after 10 attributes; the object has more."
    nested = item(BeamSequence=[item(ControlPointSequence=[item(GantryAngle=1)])])
    values = [row.value for row in outline(nested, most_depth=1)]
    assert values == ["1 item", "1 item, nested too deeply to be shown"]


def test_skipped() -> None:
    dataset = item(PatientID="7", BeamSequence=[item(BeamNumber=1, BeamName="A")])
    assert [row.name for row in outline(dataset, skip={"PatientID", "BeamName"})] == ["Beam Sequence", "Beam Number"]


def test_damaged_values_are_named() -> None:
    dataset = Dataset()
    dataset[0x00280010] = raw(0x00280010, "US", b"\1")
    dataset.Columns = 5
    rows = {row.name: row.value for row in outline(dataset)}
    assert rows["Columns"] == "5"
    assert rows["Rows"].startswith("unreadable value")


def test_texts_are_of_one_line() -> None:
    """Tabs and line ends would break the file that a table is saved in."""
    rows = outline(item(BeamDescription="one\r\ntwo\tthree\0"))
    assert rows[0].value == "one  two three"


def test_columns() -> None:
    columns = outline_columns(outline(item(BeamSequence=[item(BeamNumber=1)])))
    assert [column.name for column in columns] == ["Level", "Attribute", "Value", "Unit or code", "Item", "Tag"]
    assert columns[1].values == ["Beam Sequence", "· Beam Number"]


def test_references_have_purposes() -> None:
    purposeful = reference(
        "1.2.840.10008.5.1.4.1.1.2", "1.1", PurposeOfReferenceCodeSequence=[code("1", "99X", "Source")]
    )
    series = item(SeriesInstanceUID="2.0", ReferencedInstanceSequence=[reference("1.2.840.10008.5.1.4.1.1.4", "2.1")])
    found = named_references(item(SourceImageSequence=[purposeful, purposeful], ReferencedSeriesSequence=[series]))
    assert [(one.purpose, one.sop_class, one.sop_instance_uid, one.series_instance_uid) for one in found] == [
        ("Referenced Instance", "MR Image Storage", "2.1", "2.0"),
        ("Source Image: Source", "CT Image Storage", "1.1", ""),
    ]


# --- Values ----------------------------------------------------------------------------------------------------------

VALUES: dict[str, tuple[dict[str, Any], str, object]] = {
    "whole": ({"BeamNumber": 3}, "BeamNumber", 3),
    "number": ({"GantryAngle": "12.5"}, "GantryAngle", 12.5),
    "several": ({"LeafJawPositions": [-1, 2.5]}, "LeafJawPositions", "-1.0\\2.5"),
    "empty": ({"GantryAngle": None}, "GantryAngle", None),
    "absent": ({}, "GantryAngle", None),
    "date": ({"TreatmentDate": "20260102"}, "TreatmentDate", "2026-01-02"),
    "time": ({"TreatmentTime": "0915"}, "TreatmentTime", "09:15"),
    "date and time": ({"OverrideDateTime": "20260102091500.25"}, "OverrideDateTime", "2026-01-02 09:15:00.25"),
    "code": ({"AnatomicRegionSequence": [code("1", "99X", "One")]}, "AnatomicRegionSequence", "One"),
    "pointer": ({"OverrideParameterPointer": 0x300A011E}, "OverrideParameterPointer", "Gantry Angle"),
    "unknown pointer": ({"OverrideParameterPointer": 0x300A9999}, "OverrideParameterPointer", "(300A,9999)"),
}


@pytest.mark.parametrize("case", VALUES)
def test_values(case: str) -> None:
    attributes, keyword, expected = VALUES[case]
    assert value_of(item(**attributes), keyword) == expected


@pytest.mark.parametrize("text", [b"NaN", b"1e999", b"-inf", b"ABC"])
def test_numbers_that_are_none(text: bytes) -> None:
    dataset = Dataset()
    dataset[0x300A011E] = raw(0x300A011E, "DS", text)
    assert value_of(dataset, "GantryAngle") in (None, "ABC")
    assert number_of(dataset, "GantryAngle") is None


def test_dates_of_older_versions_are_left_as_they_are() -> None:
    dataset = Dataset()
    dataset[0x30080250] = raw(0x30080250, "DA", b"2026.01.02")
    assert value_of(dataset, "TreatmentDate") == "2026.01.02"


def test_numbers_beyond_a_table_are_text() -> None:
    dataset = Dataset()
    dataset[0x300A00C0] = DataElement(0x300A00C0, "IS", "1" + "0" * 40, already_converted=True)
    assert number_of(dataset, "BeamNumber") is None


def test_lists_are_whole_or_told() -> None:
    """All leaves of the largest collimator; what is longer is cut, and says so."""
    leaves = [number + 0.125 for number in range(160)]
    text = value_of(item(LeafJawPositions=leaves), "LeafJawPositions")
    assert isinstance(text, str)
    assert [float(part) for part in text.split("\\")] == leaves
    long = value_of(item(LeafJawPositions=[0] * 2000), "LeafJawPositions")
    assert isinstance(long, str)
    assert long.count("\\") == 1023
    assert long.endswith("... (2000 values)")
    assert value_of(item(RTPhysicianIntentNarrative="x" * 5000), "RTPhysicianIntentNarrative") == (
        "x" * 1024 + "... (5000 characters)"
    )


def test_seconds_need_both() -> None:
    assert seconds_of(item(StudyDate="20260101"), "StudyDate", "StudyTime") is None
    odd = item(StudyDate="20260101")
    odd[0x00080030] = raw(0x00080030, "TM", b"AB")
    assert seconds_of(odd, "StudyDate", "StudyTime") is None


def test_items_of_what_is_no_sequence() -> None:
    assert items_of(item(PatientID="7"), "PatientID") == []
    assert items_of(Dataset(), "BeamSequence") == []
    assert items_of(item(BeamSequence=[item(BeamNumber=4)]), "BeamSequence") == [item(BeamNumber=4)]
