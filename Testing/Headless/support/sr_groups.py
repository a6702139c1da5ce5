"""Measurement groups made by hand, written as a report, and read again by others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicombridge.codes import Code
from dicombridge.multiframe import open_multiframe
from dicombridge.report import concepts, template
from dicombridge.report.content import ContentItem, Graphic, InstanceReference, read_content
from dicombridge.report.groups import Algorithm, Evaluation, Group, Measurement, Region, Site, TimePoint
from support import peers

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"

CT = "1.2.840.10008.5.1.4.1.1.2"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
FRAME_OF_REFERENCE = "1.2.826.0.1.3680043.8.498.9"
SLICE = InstanceReference(CT, "1.2.826.0.1.3680043.8.498.3.1")
SECOND_SLICE = InstanceReference(CT, "1.2.826.0.1.3680043.8.498.3.2")
SERIES = "1.2.826.0.1.3680043.8.498.2"
SEGMENTATION = "1.2.826.0.1.3680043.8.498.4"
STUDY = "1.2.826.0.1.3680043.8.498.1"
TRACKING_UID = "1.2.826.0.1.3680043.8.498.77"

LIVER = Code("10200004", "SCT", "Liver")
LEFT = Code("7771000", "SCT", "Left")
UPPER = Code("261183002", "SCT", "Upper")
MASS = Code("4147007", "SCT", "Mass")
ABNORMAL = Code("49755003", "SCT", "Morphologically abnormal structure")
RECIST = Code("112022", "DCM", "RECIST 1.1")
SQUARE = np.array([[0.0, 0, 5], [10, 0, 5], [10, 10, 5], [0, 10, 5]])


def length(value: float | None = 40.5, **more: Any) -> Measurement:
    return Measurement(concepts.LENGTH, value, concepts.MILLIMETRE, **more)


def in_space(kind: str, points: Any, **more: Any) -> Region:
    return Region(kind, np.array(points, dtype=float), frame_of_reference_uid=FRAME_OF_REFERENCE, **more)


def in_image(kind: str, pixels: Any, image: InstanceReference = SLICE, **more: Any) -> Region:
    return Region(kind, None, Graphic(kind, np.array(pixels, dtype=float)), images=(image,), **more)


def line(*shift: float) -> Region:
    return in_space("POLYLINE", np.array([[1.0, 2, 3], [4, 6, 3]]) + np.array(shift or 0.0))


ELLIPSOID = in_space("ELLIPSOID", [[-3, 0, 0], [3, 0, 0], [0, -2, 0], [0, 2, 0], [0, 0, -1], [0, 0, 1]])

RICH = Group(
    1,
    tracking_identifier="Lesion 1 µ",
    tracking_uid=TRACKING_UID,
    activity_session="2",
    category=ABNORMAL,
    finding=MASS,
    sites=(Site(LIVER, LEFT, (UPPER,)),),
    method=RECIST,
    algorithm=Algorithm("U-Net", "1.2", ("threshold=0.5", "steps=3")),
    time_point=TimePoint("Week 6", Code("113852", "DCM", "Irradiation Event"), 2, "S-2", "P-6"),
    comment="growing\nslowly",
    measurements=[
        length(
            1 / 3,
            method=RECIST,
            derivation=concepts.MEAN,
            qualifier=Code("114009", "DCM", "Value out of range"),
            sites=(Site(LIVER),),
            algorithm=Algorithm("Caliper", "3"),
        ),
        Measurement(concepts.AREA, 12.5, concepts.SQUARE_MILLIMETRE, text="12.50"),
    ],
    evaluations=[
        Evaluation(Code("121404", "DCM", "Margins"), Code("129715009", "SCT", "Smooth")),
        Evaluation(Code("121072", "DCM", "Impression"), "benign"),
    ],
    regions=[line()],
    real_world_value_maps=[InstanceReference("1.2.840.10008.5.1.4.1.1.67", "1.2.826.0.1.3680043.8.498.6")],
)


# --- Documents -------------------------------------------------------------------------------------------------------


def document(*groups: Group, **options: Any) -> Dataset:
    """A Comprehensive 3D SR with what a header must have."""
    dataset = template.measurement_report(groups, **options)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = COMPREHENSIVE_3D_SR, generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Doe^Jane", "P1", "", ""
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20240101", "120000", "1", ""
    dataset.ReferringPhysicianName = ""
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "SR", 1, 1
    dataset.Manufacturer, dataset.ManufacturerModelName = "DICOMBridge", "tests"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", "1"
    dataset.ContentDate, dataset.ContentTime = "20240101", "120000"
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.PreliminaryFlag = "FINAL"
    dataset.PerformedProcedureCodeSequence, dataset.ReferencedPerformedProcedureStepSequence = [], []
    evidence = [item.ReferencedSOPSequence[0] for item in walk(dataset) if "ReferencedSOPSequence" in item]
    if evidence:
        series, study = Dataset(), Dataset()
        series.SeriesInstanceUID = SERIES
        by_uid = {one.ReferencedSOPInstanceUID: one for one in evidence}
        series.ReferencedSOPSequence = [plain(one) for one in by_uid.values()]
        study.StudyInstanceUID, study.ReferencedSeriesSequence = STUDY, [series]
        dataset.CurrentRequestedProcedureEvidenceSequence = [study]
    return dataset


def plain(reference: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.ReferencedSOPClassUID
    item.ReferencedSOPInstanceUID = reference.ReferencedSOPInstanceUID
    return item


def walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence") or []:
        yield child
        yield from walk(child)


def written(path: Path, *groups: Group, **options: Any) -> Path:
    document(*groups, **options).save_as(path / "report.dcm", enforce_file_format=True)
    return path / "report.dcm"


def complaints(path: Path) -> tuple[list[str], list[str]]:
    done = peers.run(peers.tool("dciodvfy"), "-new", path, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(line.strip() == "Comprehensive3DSR" for line in lines), f"dciodvfy saw no report: {lines}"
    return [one for one in lines if one.startswith("Error")], [one for one in lines if one.startswith("Warning")]


def read_by_highdicom(path: Path) -> Any:
    return hd.sr.srread(path).content


def read_by_us(path: Path) -> ContentItem:
    with open_multiframe(path, pixels=False) as opened:
        tree = read_content(opened)
    assert not tree.faults
    return tree.root


def groups_of(root: ContentItem) -> list[ContentItem]:
    return [item for item in root.walk() if concepts.is_one_of(item.concept, [concepts.MEASUREMENT_GROUP])]


def named(item: ContentItem, concept: Code) -> list[ContentItem]:
    return [child for child in item.children if concepts.is_one_of(child.concept, [concept])]


def shape(item: ContentItem) -> list[Any]:
    """Value types, relations and meanings below an item."""
    return [(one.relation, one.value_type, one.concept.meaning if one.concept else "") for one in item.children]
