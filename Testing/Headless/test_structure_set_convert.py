"""``dicombridge convert``: segmentations as structure sets, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from support.rt_set_exports import Study, masks_of_node, study
from support.seg_nodes import segment_named, tag

import dicombridge
from dicombridge.cli import main
from dicombridge.codes import Code, Terminology, terminology_tag

BODY = Terminology(Code("123037004", "SCT", "Anatomical Structure"), Code("10200004", "SCT", "Liver"))
LUNG = Terminology(
    Code("123037004", "SCT", "Anatomical Structure"),
    Code("39607008", "SCT", "Lung"),
    Code("7771000", "SCT", "Left"),
    Code("51185008", "SCT", "Chest"),
)


@pytest.fixture
def one(tmp_path: Path) -> Study:
    """Masks with codes."""
    made = study(tmp_path)
    segmentation = made.node.GetSegmentation()
    for number, terminology in enumerate((BODY, LUNG)):
        segmentation.GetNthSegment(number).SetTag("TerminologyEntry", terminology_tag(terminology))
    return made


def code(sequence: Any) -> tuple[str, str, str]:
    return str(sequence[0].CodeValue), str(sequence[0].CodingSchemeDesignator), str(sequence[0].CodeMeaning)


def convert(path: Path, kind: str, one: Study, folder: Path, *more: str) -> Path:
    assert main(["convert", str(path), "--to", kind, "--source", str(one.images.folder), "-o", str(folder), *more]) == 0
    (result,) = folder.glob("*.dcm")
    assert faults(result) == []
    return result


def test_there_and_back(one: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Codes, names and voxels of a segmentation survive both ways."""
    (first,) = dicombridge.export(one.node, tmp_path / "seg", kind="SEG", database=one.database)
    drawn = convert(first, "RTSTRUCT", one, tmp_path / "drawn")
    last = convert(drawn, "SEG", one, tmp_path / "again")
    before, after = pydicom.dcmread(first), pydicom.dcmread(last)
    assert not [element.keyword for element in after if element.tag.group == 0x3006]
    for was, now in zip(before.SegmentSequence, after.SegmentSequence, strict=True):
        assert now.SegmentLabel == was.SegmentLabel
        for keyword in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"):
            assert code(now[keyword].value) == code(was[keyword].value)
    assert code(after.SegmentSequence[1].AnatomicRegionSequence) == ("51185008", "SCT", "Chest")
    node = dicombridge.load(last, scene=dicombridge.new_scene(), database=one.database)[0]
    for name, mask in masks_of_node(node, one.images).items():
        assert np.array_equal(mask, one.masks[name]), name
        colours = [segment_named(found, name).GetColor() for found in (one.node, node)]
        assert colours[1] == pytest.approx(colours[0], abs=1 / 255), name
    assert capsys.readouterr().out.count("RTSTRUCT_") == 1


def test_codes_stand_where_the_standard_has_them(one: Study, tmp_path: Path) -> None:
    """PS3.3 C.8.8.8: category and identification, the modifier within that, and the region."""
    dataset = pydicom.dcmread(one.export(tmp_path / "out"))
    liver, lung = dataset.RTROIObservationsSequence[:2]
    assert code(liver.SegmentedPropertyCategoryCodeSequence) == ("123037004", "SCT", "Anatomical Structure")
    assert code(liver.RTROIIdentificationCodeSequence) == ("10200004", "SCT", "Liver")
    assert liver.RTROIInterpretedType == "ORGAN"
    identification = lung.RTROIIdentificationCodeSequence[0]
    assert code(identification.SegmentedPropertyTypeModifierCodeSequence) == ("7771000", "SCT", "Left")
    assert code(lung.AnatomicRegionSequence) == ("51185008", "SCT", "Chest")


def test_what_every_new_segment_has_is_no_code(one: Study, tmp_path: Path) -> None:
    """Slicer gives a new segment the terminology Tissue, which says nothing of a region and must not become a code."""
    import slicer

    entry = tag(slicer.vtkSegment(), "TerminologyEntry")
    assert "Tissue" in entry
    one.node.GetSegmentation().GetNthSegment(2).SetTag("TerminologyEntry", entry)
    observation = pydicom.dcmread(one.export(tmp_path / "out")).RTROIObservationsSequence[2]
    assert observation.RTROIInterpretedType == ""
    assert not [element.keyword for element in observation if element.VR == "SQ"]


def test_options_reach_the_kind(one: Study, tmp_path: Path) -> None:
    (first,) = dicombridge.export(one.node, tmp_path / "seg", kind="SEG", database=one.database)
    options = ("--set", "contours=pixel", "--set", "holes=xor", "--set", "StructureSetLabel=Mine")
    dataset = pydicom.dcmread(convert(first, "RTSTRUCT", one, tmp_path / "drawn", *options))
    assert dataset.StructureSetLabel == "Mine"
    kinds = {contour.ContourGeometricType for contour in dataset.ROIContourSequence[0].ContourSequence}
    assert kinds == {"CLOSEDPLANAR_XOR"}
