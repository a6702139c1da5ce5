"""Codes, against Slicer's own terminologies logic and real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
import slicer
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicombridge import codes
from dicombridge.codes import Terminology

ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
KIDNEY = Code("64033007", "SCT", "Kidney")
LEFT = Code("7771000", "SCT", "Left")
FULL = Terminology(ANATOMY, KIDNEY, LEFT, Code("818983003", "SCT", "Abdomen"), Code("24028007", "SCT", "Right"))


def same(code: Code | None, other: Code | None) -> bool:
    """Compare all fields: codes compare equal without their meaning, and SRT to SCT."""
    return code is other or (code is not None and other is not None and tuple(code) == tuple(other))


def item_of(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def slicer_reads(tag: str) -> Any | None:
    """Let Slicer's own logic read the tag; its complaint about a refused one is not what is tested."""
    import vtk

    entry = slicer.vtkSlicerTerminologyEntry()
    vtk.vtkObject.GlobalWarningDisplayOff()
    accepted = slicer.vtkSlicerTerminologiesModuleLogic.DeserializeTerminologyEntry(tag, entry)
    vtk.vtkObject.GlobalWarningDisplayOn()
    return entry if accepted else None


def code_in_slicer(entry: Any) -> tuple[str | None, str | None, str | None] | None:
    return (entry.GetCodeValue(), entry.GetCodingSchemeDesignator(), entry.GetCodeMeaning()) if entry else None


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (dict(CodeValue="1", CodingSchemeDesignator="SCT", CodeMeaning="one"), ("1", "SCT", "one", None)),
        (dict(CodeValue="1", CodingSchemeDesignator="SCT"), ("1", "SCT", "1", None)),
        (dict(CodeValue="1", CodingSchemeDesignator="SCT", CodeMeaning=""), ("1", "SCT", "1", None)),
        (dict(LongCodeValue="9" * 20, CodingSchemeDesignator="SCT", CodeMeaning="x"), ("9" * 20, "SCT", "x", None)),
        (dict(URNCodeValue="urn:oid:1.2.3", CodeMeaning="u"), ("urn:oid:1.2.3", "", "u", None)),
        (
            dict(CodeValue="", LongCodeValue="9" * 20, CodingSchemeDesignator="SCT", CodingSchemeVersion="2020"),
            ("9" * 20, "SCT", "9" * 20, "2020"),
        ),
        ({}, ("", "", "", None)),
    ],
)
def test_code_from_item(elements: dict[str, str], expected: tuple[str, ...]) -> None:
    assert tuple(codes.code_from_item(item_of(**elements))) == expected


def test_code_from_sequence() -> None:
    dataset = item_of(AnatomicRegionSequence=[codes.code_item(KIDNEY)])
    assert same(codes.code_from_sequence(dataset, "AnatomicRegionSequence"), KIDNEY)
    assert codes.code_from_sequence(dataset, "AnatomicRegionModifierSequence") is None
    for empty in ([], [Dataset()]):
        dataset.AnatomicRegionSequence = empty
        assert codes.code_from_sequence(dataset, "AnatomicRegionSequence") is None


@pytest.mark.parametrize(
    ("value", "keyword"),
    [
        ("1" * 16, "CodeValue"),
        ("1" * 17, "LongCodeValue"),
        ("urn:oid:1.2.840.10008", "URNCodeValue"),
        ("urn:x:1", "URNCodeValue"),
        ("https://example.org/code/1", "URNCodeValue"),
        ("[hnsf'U]", "CodeValue"),
    ],
)
def test_code_item_uses_one_value_attribute(value: str, keyword: str) -> None:
    code = Code(value, "99TEST", "a meaning", "1")
    item = codes.code_item(code)
    assert [k for k in ("CodeValue", "LongCodeValue", "URNCodeValue") if k in item] == [keyword]
    assert same(codes.code_from_item(item), code)


def test_code_item_fits_its_vrs() -> None:
    assert len(codes.code_item(Code("1", "SCT", "x" * 100)).CodeMeaning) == 64
    assert codes.code_item(Code("1", "SCT", "")).CodeMeaning == "1"
    assert "CodingSchemeVersion" not in codes.code_item(KIDNEY)
    assert "CodingSchemeDesignator" not in codes.code_item(Code("urn:x:1", "", "x"))


def test_code_item_of_highdicom() -> None:
    from highdicom.sr import CodedConcept

    assert same(codes.code_from_item(codes.code_item(CodedConcept("1", "SCT", "one"))), Code("1", "SCT", "one"))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code("T-71000", "SRT", "Kidney"), ("64033007", "SCT", "Kidney", None)),
        (Code("T-71000", "SNM3", "Kidney"), ("64033007", "SCT", "Kidney", None)),
        (Code("T-71000", "99SDM", "Kidney", "1"), ("64033007", "SCT", "Kidney", None)),
        (Code("T-71000", "99OTHER", "Kidney"), ("T-71000", "99OTHER", "Kidney", None)),
        (Code("T-00000000", "SRT", "no such"), ("T-00000000", "SRT", "no such", None)),
        (Code("121070", "DCM", "Findings"), ("121070", "DCM", "Findings", None)),
    ],
)
def test_modern(code: Code, expected: tuple[str, ...]) -> None:
    assert tuple(codes.modern(code)) == expected


def test_coded_entry_survives_as_text_in_a_volume_node(scene: Any) -> None:
    code = Code("{SUVbw}g/ml", "UCUM", "a|b:c ~ 50 % ^ é")
    entry = slicer.vtkCodedEntry()
    assert entry.SetFromString(codes.coded_entry(code).GetAsString())
    assert same(codes.code_from_entry(entry), code)


def test_coded_entry_shows_what_it_was_given() -> None:
    entry = codes.coded_entry(Code("10^-6.mm2/s", "UCUM", "10^-6 mm2/s ~ 1 %"))
    assert (entry.GetCodeValue(), entry.GetCodeMeaning()) == ("10^-6.mm2/s", "10^-6 mm2/s ~ 1 %")


def test_code_from_entry_of_nothing() -> None:
    assert codes.code_from_entry(None) is None
    assert codes.code_from_entry(slicer.vtkCodedEntry()) is None


def test_slicer_reads_all_fields() -> None:
    entry = slicer_reads(codes.terminology_tag(FULL))
    assert entry is not None
    assert (entry.GetTerminologyContextName(), entry.GetRegionContextName()) == (FULL.context, FULL.region_context)
    read = (
        entry.GetCategoryObject(),
        entry.GetTypeObject(),
        entry.GetTypeModifierObject(),
        entry.GetRegionObject(),
        entry.GetRegionModifierObject(),
    )
    given_ = (FULL.category, FULL.type, FULL.type_modifier, FULL.region, FULL.region_modifier)
    assert [code_in_slicer(code) for code in read] == [code[:3] for code in given_ if code is not None]


def test_tag_is_what_slicer_writes() -> None:
    tag = codes.terminology_tag(FULL)
    assert slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(slicer_reads(tag)) == tag


@pytest.mark.parametrize("empty", [None, Code("", "SCT", "no value")])
def test_defaults_stand_in_for_category_and_type(empty: Code | None) -> None:
    tag = codes.terminology_tag(Terminology(empty, empty))
    assert tag.split("~")[1:] == [*["SCT^85756007^Tissue"] * 2, "^^", codes.REGION_CONTEXT, "^^", "^^"]
    assert slicer_reads(tag) is not None


TAGS = [
    "C~SCT^1^a~SCT^2^b~^^~R~SCT^3^c~^^",
    "C~SCT^1^~SCT^2^~^^~~^^~^^",
    "~SCT^1^a~SCT^2^b~^^~~^^~^^",
    "C~^1^a~SCT^2^b~^9^~R~SCT^3^c~SCT^5^",
    "C~ SCT ^ 1 ^ a ~SCT^2^b~^^~~^^~^^",
    "C~SCT^1^a~SCT^2^b~^^~R~^^~SCT^4^d",
    "C~SCT^1^a~SCT^2^b~SCT^4~R~SCT^5~SCT^4^d^e",
    "C~SCT^1^a~^^~^^~~^^~^^",
    "C~^^~SCT^2^b~^^~~^^~^^",
    "C~SCT^^a~SCT^2^b~^^~~^^~^^",
    "C~SCT^1~SCT^2^b~^^~~^^~^^",
    "C~SCT^1^a^x~SCT^2^b~^^~~^^~^^",
    "C~SCT^1^a~SCT^2^b~^^~R~SCT^3^c",
    "C~SCT^1^a~SCT^2^b~^^~R~SCT^3^c~^^~more",
    "nonsense",
    "",
]


@pytest.mark.parametrize("tag", TAGS)
def test_parse_agrees_with_slicer(tag: str) -> None:
    entry, terminology = slicer_reads(tag), codes.parse_terminology(tag)
    assert (entry is None) == (terminology is None)
    if entry is None or terminology is None:
        return
    pairs = (
        (entry.GetCategoryObject(), terminology.category),
        (entry.GetTypeObject(), terminology.type),
        (entry.GetTypeModifierObject(), terminology.type_modifier),
        (entry.GetRegionObject(), terminology.region),
        (entry.GetRegionModifierObject(), terminology.region_modifier),
    )
    for theirs, ours in pairs:
        value, scheme, meaning = code_in_slicer(theirs) or (None, None, None)
        expected = (value, scheme, meaning or value) if value else None
        assert (ours[:3] if ours else None) == expected
    assert (entry.GetTerminologyContextName() or "") == terminology.context


def test_parse_without_a_tag() -> None:
    assert codes.parse_terminology(None) is None


def test_parse_takes_empty_fields_for_no_codes() -> None:
    # Slicer refuses this one: its splitter drops the last empty field.
    read = codes.parse_terminology("C~SCT^1^a~SCT^2^b~~~~")
    assert read == Terminology(Code("1", "SCT", "a"), Code("2", "SCT", "b"), context="C", region_context="")


TEXT = st.text(alphabet=st.sampled_from("ab ~^|%\n\r\t:57ECD0A\u00e4\u809d"), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(value=TEXT, scheme=TEXT, meaning=TEXT, context=TEXT)
def test_any_text_survives_the_tag(value: str, scheme: str, meaning: str, context: str) -> None:
    code = Code(value, scheme, meaning)
    tag = codes.terminology_tag(Terminology(code, KIDNEY, region=code, context=context))
    assert not set(tag) & set("|\n\r")
    entry, read = slicer_reads(tag), codes.parse_terminology(tag)
    assert entry is not None
    assert read is not None
    assert same(read.category, code)
    assert same(read.region, code)
    assert read.context == context


def test_every_code_of_the_real_segmentations(data: Path) -> None:
    count = 0
    for path in sorted((data / "seg").rglob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        for segment in dataset.get("SegmentSequence") or []:
            category = codes.code_from_sequence(segment, "SegmentedPropertyCategoryCodeSequence")
            kind = codes.code_from_sequence(segment, "SegmentedPropertyTypeCodeSequence")
            if category is None or kind is None:
                continue
            count += 1
            read = codes.parse_terminology(codes.terminology_tag(Terminology(category, kind)))
            assert read is not None
            assert tuple(read.category or ())[:3] == tuple(category)[:3]
            assert codes.code_item(kind) == segment.SegmentedPropertyTypeCodeSequence[0]
            assert codes.modern(kind).scheme_designator != "SRT"
    assert count > 20
