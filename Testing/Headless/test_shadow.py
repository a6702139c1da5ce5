"""What nodes and segments remember of their DICOM object, also through a saved scene."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from support.scenes import add_node, saved_and_read

from dicombridge import shadow, text


def test_decimal_strings_stay_as_they_were_written(scene: Any) -> None:
    header = Dataset()
    header.add_new(0x00180050, "DS", "1.50")
    node = add_node(scene)
    shadow.remember(node, header)
    read = shadow.remembered(node)
    assert read is not None
    assert str(read.SliceThickness) == "1.50"


# --- Headers -------------------------------------------------------------------------------------------------------


def readable_tags(dataset: Dataset) -> set[int]:
    tags = set()
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except Exception:
            continue
        if tag.element and not (isinstance(element.value, bytes) and len(element.value) > 16384):
            tags.add(int(tag))
    return tags


FOLDERS = [
    "seg",
    "sr",
    "pm",
    "rwvm",
    "kos",
    "ann",
    "misc",
    "pr",
    "encapsulated",
    "images/enhanced_mr",
    "images/nm",
    "rt",
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_header_is_remembered(scene: Any, data: Path, folder: str) -> None:
    count = 0
    for path in sorted((data / folder).rglob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, force=True)
            tags = readable_tags(dataset)
        node = add_node(scene)
        shadow.remember(node, dataset)
        read = shadow.remembered(node)
        assert read is not None
        kept = set(map(int, read.keys()))
        assert not kept & {0x7FE00010, 0x7FE00008, 0x7FE00009, 0x52009230}
        lost = {hex(tag) for tag in tags - kept if tag >> 16 != 0x7FE0 and tag not in shadow.NOT_REMEMBERED}
        assert lost == set(), path
        different = [element for element in read if element.VR != "SQ" and element.value != dataset[element.tag].value]
        assert different == [], path
        count += 1
    assert count > 0


def test_unreadable_element_is_left_out(scene: Any, data: Path) -> None:
    dataset = pydicom.dcmread(data / "rt" / "topas_abdomen" / "ct" / "1.dcm")
    tags = readable_tags(dataset)
    assert len(tags) < len(dataset.keys())
    node = add_node(scene)
    shadow.remember(node, dataset)
    read = shadow.remembered(node)
    assert read is not None
    assert read.SOPInstanceUID == dataset.SOPInstanceUID
    assert set(map(int, read.keys())) <= tags


def header_with_everything() -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientName = "Müller^Änne=肝"
    header.PixelSpacing = [0.5, 0.123456789]
    header.ImageType = ["DERIVED", "PRIMARY"]
    header.SeriesNumber = 7
    header.StudyDate = ""
    header.ContentDescription = 'quote " | bar; colon: <&>\\percent %7C\tend'
    header.FrameIncrementPointer = 0x00540010
    header.RedPaletteColorLookupTableDescriptor = [256, 0, 16]
    header.add_new(0x00091001, "LO", "private")
    header.add_new(0x00090010, "LO", "MAKER")
    header.add_new(0x00091002, "OB", b"\x00\x01\xff\x02")
    item = Dataset()
    item.CodeValue = "1"
    item.PixelData = b"\0" * 10
    header.ReferencedSeriesSequence = [item, Dataset()]
    header.add_new(0x00081115, "SQ", [])
    header.PerFrameFunctionalGroupsSequence = [Dataset()]
    header.PixelData = b"\0" * 10
    header.add_new(0x60003000, "OW", b"\0" * 20000)
    return header


def test_header_survives_a_saved_scene(scene: Any, tmp_path: Path) -> None:
    node = add_node(scene)
    assert shadow.remembered(node) is None
    header = header_with_everything()
    shadow.remember(node, header)
    again = saved_and_read(scene, tmp_path)
    read = shadow.remembered(again.GetFirstNodeByClass("vtkMRMLTextNode"))
    expected = header_with_everything()
    for tag in (0x52009230, 0x7FE00010, 0x60003000):
        del expected[tag]
    for item in expected.get("ReferencedSeriesSequence") or []:
        item.pop("PixelData", None)
    assert read is not None
    assert read.keys() == expected.keys()
    assert [element for element in read if element.value != expected[element.tag].value] == []
    assert "PixelData" in header


def test_remembered_is_a_copy(scene: Any) -> None:
    node = add_node(scene)
    shadow.remember(node, header_with_everything())
    first = shadow.remembered(node)
    assert first is not None
    first.PatientName = "someone else"
    assert str(shadow.remembered(node).PatientName) == "Müller^Änne=肝"  # type: ignore[union-attr]


@pytest.mark.parametrize("attribute", ["", "{", "explicit", "explicit;ISO_IR 6;%%%", "json;ISO_IR 6;AAAA"])
def test_edited_attribute_is_no_header(scene: Any, attribute: str) -> None:
    node = add_node(scene)
    node.SetAttribute(shadow.HEADER_ATTRIBUTE, attribute)
    assert shadow.remembered(node) is None


def test_an_unreadable_element_in_an_item_is_left_out(scene: Any) -> None:
    header = Dataset()
    header.PatientID = "P"
    item = Dataset()
    item.CodeValue = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        item.add_new(0x00280010, "US", "not a number")
    header.ReferencedSeriesSequence = [item]
    node = add_node(scene)
    shadow.remember(node, header)
    read = shadow.remembered(node)
    assert read is not None
    assert [list(map(int, one.keys())) for one in read.ReferencedSeriesSequence] == [[0x00080100]]


def test_what_breaks_the_rules_is_kept_without_a_warning(scene: Any) -> None:
    header = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header.PatientID = "x" * 80
        header.SOPInstanceUID = "1.02.x"
    node = add_node(scene)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shadow.remember(node, header)
        read = shadow.remembered(node)
    assert read is not None
    assert (read.PatientID, read.SOPInstanceUID) == ("x" * 80, "1.02.x")


# --- Text ----------------------------------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=st.sampled_from("a%|\n\r\t\x00\x1f:~^57CDAE02 é肝"), max_size=20))
def test_tag_text_comes_back(value: str) -> None:
    encoded = shadow.tag_text(value)
    assert shadow.tag_value(encoded) == value
    assert not set(encoded) & set("|\n\r\x00\x1f")


def test_tag_text_survives_a_saved_segmentation(scene: Any, tmp_path: Path) -> None:
    import vtk

    values = ["a|b", "a:b:c", "a\nb", "a\rb", "50 % %7C %25", "back\\nslash\\", "\x00\x1f", "a:=b", "a;b", "é肝"]
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(2, 2, 2)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().Fill(1)
    segment = slicer.vtkSegment()
    segment.SetName("without a name, WriteToMRB ends the process")
    segment.AddRepresentation("Binary labelmap", image)
    for i, value in enumerate(values):
        segment.SetTag(f"Test.{i}", shadow.tag_text(value))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.GetSegmentation().AddSegment(segment, "Segment_1")
    again = saved_and_read(scene, tmp_path).GetFirstNodeByClass("vtkMRMLSegmentationNode")
    read = again.GetSegmentation().GetSegment("Segment_1")
    found = vtk.reference("")
    assert [read.GetTag(f"Test.{i}", found) and shadow.tag_value(str(found)) for i in range(len(values))] == values


def test_plain_text_drops_lone_surrogates() -> None:
    assert text.plain_text("a\ud800b") == "ab"
