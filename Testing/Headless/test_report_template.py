"""Measurement groups written by their templates, read back by highdicom, dciodvfy and our own reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from support import javascript, peers

from dicombridge.codes import Code, code_from_sequence
from dicombridge.errors import ExportError
from dicombridge.multiframe import open_multiframe
from dicombridge.report import concepts, items, template
from dicombridge.report.content import ContentItem, Graphic, InstanceReference, read_content
from dicombridge.report.groups import Algorithm, Evaluation, Group, Measurement, Observer, Region, Site, TimePoint

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


# --- Items -----------------------------------------------------------------------------------------------------------


def test_numbers_are_exact() -> None:
    third = items.number("CONTAINS", concepts.LENGTH, 1 / 3, None).MeasuredValueSequence[0]
    assert len(str(third.NumericValue)) <= 16
    assert third.FloatingPointValue == 1 / 3
    assert third.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    short = items.number("CONTAINS", concepts.LENGTH, 2.0, concepts.MILLIMETRE).MeasuredValueSequence[0]
    assert str(short.NumericValue) == "2"
    assert "FloatingPointValue" not in short


@pytest.mark.parametrize(
    ("text", "written_as"),
    [("12.50", "12.50"), ("+1.25E1", "+1.25E1"), ("12.6", "12.5"), ("12,5", "12.5"), ("12.500000000000000", "12.5")],
)
def test_numbers_keep_their_text_while_it_is_theirs(text: str, written_as: str) -> None:
    item = items.number("CONTAINS", concepts.LENGTH, 12.5, concepts.MILLIMETRE, text=text)
    assert str(item.MeasuredValueSequence[0].NumericValue) == written_as


@pytest.mark.parametrize(
    ("value", "reason"), [(None, "114010"), (float("nan"), "114000"), (-np.inf, "114001"), (np.inf, "114002")]
)
def test_missing_numbers_say_why(value: float | None, reason: str) -> None:
    item = items.number("CONTAINS", concepts.LENGTH, value, concepts.MILLIMETRE)
    assert len(item.MeasuredValueSequence) == 0
    assert item.NumericValueQualifierCodeSequence[0].CodeValue == reason
    given = items.number(
        "CONTAINS", concepts.LENGTH, value, None, qualifier=Code("114006", "DCM", "Measurement failure")
    )
    assert given.NumericValueQualifierCodeSequence[0].CodeValue == "114006"


def test_references_have_frames_or_segments() -> None:
    def named_of(sop_class: str, *more: tuple[int, ...]) -> list[str]:
        item = items.image("CONTAINS", None, InstanceReference(sop_class, "1.2.3", *more))
        return [element.keyword for element in item.ReferencedSOPSequence[0]][2:]

    assert named_of(SEG, (3,), (2,)) == ["ReferencedFrameNumber"]
    assert named_of(SEG, (), (2,)) == ["ReferencedSegmentNumber"]
    # A frame of a label map shows all its segments.
    assert named_of("1.2.840.10008.5.1.4.1.1.66.7", (3,), (2,)) == ["ReferencedSegmentNumber"]


def test_text_fits_its_vr() -> None:
    assert items.text("CONTAINS", concepts.COMMENT, " a\x00b\x1b\nc\ud800 ").TextValue == "a b \nc?"
    assert items.person_name("CONTAINS", concepts.PERSON_OBSERVER_NAME, "Müller^" + "x" * 80).PersonName.family_name
    assert len(str(items.person_name("CONTAINS", concepts.PERSON_OBSERVER_NAME, "x" * 80).PersonName)) == 64
    code = items.code("CONTAINS", concepts.FINDING, Code("1", "", "µ" * 64)).ConceptCodeSequence[0]
    assert len(code.CodeMeaning.encode()) <= 64
    assert code.CodingSchemeDesignator == "99UNKNOWN"


def test_uids_are_valid() -> None:
    assert items.uid_of("1.2.3") == "1.2.3"
    assert items.uid_of("lesion-1") == items.uid_of("lesion-1") != items.uid_of("lesion-2")
    assert pydicom.uid.UID(items.uid_of("1.02")).is_valid


def test_polygons_are_closed_once() -> None:
    open_ = items.scoord3d("CONTAINS", None, "POLYGON", SQUARE, FRAME_OF_REFERENCE).GraphicData
    closed = items.scoord3d(
        "CONTAINS", None, "POLYGON", np.vstack([SQUARE, SQUARE[:1]]), FRAME_OF_REFERENCE
    ).GraphicData
    assert len(open_) == 15
    assert list(open_) == list(closed)
    flat = items.scoord("CONTAINS", None, Graphic("POLYGON", SQUARE[:, :2]), SLICE)
    assert (flat.GraphicType, len(flat.GraphicData)) == ("POLYLINE", 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: items.scoord3d("CONTAINS", None, "CIRCLE", SQUARE[:2], FRAME_OF_REFERENCE), "CIRCLE"),
        (lambda: items.scoord("CONTAINS", None, Graphic("ELLIPSOID", SQUARE[:, :2]), SLICE), "ELLIPSOID"),
        (lambda: items.scoord3d("CONTAINS", None, "POINT", SQUARE[:1] * np.nan, FRAME_OF_REFERENCE), "no numbers"),
        (lambda: items.image("CONTAINS", None, InstanceReference("", "1.2.3")), "unknown"),
    ],
)
def test_what_cannot_be_written(make: Callable[[], Dataset], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        make()


# --- Templates -------------------------------------------------------------------------------------------------------

SEGMENT = InstanceReference(SEG, SEGMENTATION, segments=(2,))
SEGMENT_FRAME = InstanceReference(SEG, SEGMENTATION, (7,), (2,))
STRUCTURE = InstanceReference("1.2.840.10008.5.1.4.1.1.481.3", "1.2.826.0.1.3680043.8.498.5", segments=(4,))
CONTOURS = [in_space("POLYGON", SQUARE), in_space("POLYGON", SQUARE + np.array([0.0, 0, 2]))]
CLOSED = [[1, 1], [9, 1], [9, 9], [1, 1]]

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "line": ("1410", {"regions": [line()]}),
    "point": ("1410", {"regions": [in_space("POINT", [[1, 2, 3]])]}),
    "in image": ("1410", {"regions": [in_image("CIRCLE", [[5, 5], [9, 5]])]}),
    "contour": ("1410", {"regions": [in_space("POLYGON", SQUARE)]}),
    "frame of segmentation": ("1410", {"segments": [SEGMENT_FRAME], "sources": [SLICE]}),
    "segment": ("1411", {"segments": [SEGMENT], "sources": [SLICE, SECOND_SLICE]}),
    "segment of series": ("1411", {"segments": [SEGMENT], "source_series": [SERIES]}),
    "segment and both sources": ("1411", {"segments": [SEGMENT], "sources": [SLICE], "source_series": [SERIES]}),
    "frame of series": ("1411", {"segments": [SEGMENT_FRAME], "source_series": [SERIES]}),
    "segment without source": ("1501", {"segments": [SEGMENT]}),
    "segments": ("1501", {"segments": [replace(SEGMENT, segments=(1, 2))], "sources": [SLICE]}),
    "ellipsoid": ("1411", {"regions": [ELLIPSOID], "source_series": [SERIES]}),
    "ellipsoid without source": ("1501", {"regions": [ELLIPSOID]}),
    "contours": ("1411", {"regions": CONTOURS, "sources": [SLICE]}),
    "contours drawn on images": ("1411", {"regions": [replace(one, images=(SLICE,)) for one in CONTOURS]}),
    "contours without source": ("1501", {"regions": CONTOURS}),
    "contours in images": (
        "1411",
        {"regions": [in_image("POLYLINE", CLOSED), in_image("POLYLINE", CLOSED, SECOND_SLICE)]},
    ),
    "points": ("1501", {"regions": [in_space("MULTIPOINT", SQUARE)]}),
    "lines": ("1501", {"regions": [line(), line(1, 0, 0)]}),
    "lines in images": ("1501", {"regions": [in_image("POLYLINE", CLOSED[:2]), in_image("POLYLINE", CLOSED[1:3])]}),
    "structure": ("1411", {"structures": [STRUCTURE]}),
    "whole structure set": ("1501", {"structures": [replace(STRUCTURE, segments=())]}),
    "region and segment": ("1501", {"regions": [line()], "segments": [SEGMENT], "sources": [SLICE]}),
    "images only": ("1501", {"sources": [SLICE]}),
    "own purpose": ("1501", {"regions": [replace(line(), purpose=concepts.ORIGINAL_SOURCE)]}),
}


def case(name: str, **more: Any) -> tuple[str, Group]:
    identifier, fields = CASES[name]
    known: dict[str, Any] = {"tracking_identifier": name, "tracking_uid": TRACKING_UID, "measurements": [length()]}
    return identifier, Group(1, **(known | fields | more))


@pytest.mark.parametrize("name", CASES)
def test_templates(name: str, tmp_path: Path) -> None:
    identifier, group = case(name)
    path = written(tmp_path, group)
    errors, doubts = complaints(path)
    assert errors == []
    assert doubts == []
    [container] = groups_of(read_by_us(path))
    assert container.template == identifier == template.template_of(group)
    coordinates = [one.graphic for one in container.walk() if one.graphic is not None]
    assert len(coordinates) == len(group.regions)
    for found, region in zip(coordinates, group.regions, strict=True):
        wanted = region.graphic.data if region.graphic is not None else region.points
        assert wanted is not None
        closed = np.vstack([wanted, wanted[:1]]) if found.type == "POLYGON" else wanted
        np.testing.assert_allclose(found.data, closed, rtol=1e-6)
        assert found.frame_of_reference_uid == region.frame_of_reference_uid
    references = [one for item in container.walk() for one in item.references]
    # A reference has frames or segments, never both.
    segments = {replace(one, segments=() if one.frames else one.segments) for one in group.segments}
    assert segments | set(group.sources) <= set(references)
    assert {one.sop_instance_uid for one in group.structures} <= {one.sop_instance_uid for one in references}


@pytest.mark.parametrize("name", CASES)
def test_highdicom_finds_the_groups(name: str, tmp_path: Path) -> None:
    identifier, group = case(name)
    content = read_by_highdicom(written(tmp_path, group))
    found = {
        "1410": content.get_planar_roi_measurement_groups(),
        "1411": content.get_volumetric_roi_measurement_groups(),
        "1501": content.get_image_measurement_groups(),
    }
    assert {key for key, value in found.items() if value} == {identifier}
    [one] = found[identifier]
    assert (one.tracking_identifier, one.tracking_uid) == (name, TRACKING_UID)
    [measurement] = one.get_measurements()
    assert (measurement.name, measurement.value, measurement.unit.value) == (concepts.LENGTH, 40.5, "mm")


def test_highdicom_reads_regions(tmp_path: Path) -> None:
    names = ("line", "in image", "contour")
    content = read_by_highdicom(written(tmp_path, *(case(name)[1] for name in names)))
    straight, circle, polygon = (one.roi for one in content.get_planar_roi_measurement_groups())
    np.testing.assert_array_equal(straight.value, [[1, 2, 3], [4, 6, 3]])
    assert straight.frame_of_reference_uid == FRAME_OF_REFERENCE
    assert circle.graphic_type.value == "CIRCLE"
    np.testing.assert_array_equal(circle.value, [[5, 5], [9, 5]])
    assert circle.ContentSequence[0].referenced_sop_instance_uid == SLICE.sop_instance_uid
    np.testing.assert_array_equal(polygon.value, np.vstack([SQUARE, SQUARE[:1]]))


def test_highdicom_reads_volumes(tmp_path: Path) -> None:
    names = ("segment", "segment of series", "ellipsoid", "contours", "contours drawn on images", "contours in images")
    content = read_by_highdicom(written(tmp_path, *(case(name)[1] for name in names)))
    segment, of_series, ellipsoid, contours, drawn, in_images = content.get_volumetric_roi_measurement_groups()
    assert segment.referenced_segment.referenced_segment_numbers == [2]
    assert segment.referenced_segment.referenced_sop_instance_uid == SEGMENTATION
    assert [one.referenced_sop_instance_uid for one in segment.referenced_segment.source_images_for_segmentation] == [
        SLICE.sop_instance_uid,
        SECOND_SLICE.sop_instance_uid,
    ]
    assert of_series.referenced_segment.source_series_for_segmentation.value == SERIES
    assert ellipsoid.roi.graphic_type.value == "ELLIPSOID"
    for group in (contours, drawn):
        assert [len(data) for data in group.roi.graphic_data] == [5, 5]
        assert [one.referenced_sop_instance_uid for one in group.roi.source_images_for_segmentation] == [
            SLICE.sop_instance_uid
        ]
    assert [len(one.value) for one in in_images.roi] == [4, 4]


def test_highdicom_reads_a_frame_of_a_segmentation(tmp_path: Path) -> None:
    [group] = read_by_highdicom(written(tmp_path, case("frame of segmentation")[1])).get_planar_roi_measurement_groups()
    frame = group.referenced_segmentation_frame
    assert (frame.referenced_frame_numbers, frame.referenced_segment_numbers) == ([7], None)
    assert frame.source_image_for_segmentation.referenced_sop_instance_uid == SLICE.sop_instance_uid


def test_highdicom_reads_what_a_group_says(tmp_path: Path) -> None:
    [group] = read_by_highdicom(written(tmp_path, RICH)).get_planar_roi_measurement_groups()
    assert (group.tracking_identifier, group.tracking_uid) == (RICH.tracking_identifier, TRACKING_UID)
    assert (group.finding_category, group.finding_type, group.method) == (ABNORMAL, MASS, RECIST)
    [site] = group.finding_sites
    assert (site.value, site.laterality, site.topographical_modifier) == (LIVER, LEFT, UPPER)
    # highdicom takes the order of the time point for a measurement too.
    [third], [area] = (group.get_measurements(concept) for concept in (concepts.LENGTH, concepts.AREA))
    assert (third.value, third.derivation, third.method) == (1 / 3, concepts.MEAN, RECIST)
    assert third.qualifier.value == "114009"
    assert [one.value for one in third.finding_sites] == [LIVER]
    assert (area.value, area.unit.value) == (12.5, "mm2")
    [margins] = group.get_qualitative_evaluations(Code("121404", "DCM", "Margins"))
    assert margins.value == Code("129715009", "SCT", "Smooth")


def test_we_read_what_a_group_says(tmp_path: Path) -> None:
    path = written(tmp_path, RICH)
    assert complaints(path) == ([], [])
    [group] = groups_of(read_by_us(path))
    assert shape(group) == [
        *(("HAS OBS CONTEXT", "TEXT", meaning) for meaning in ("Activity Session", "Tracking Identifier")),
        ("HAS OBS CONTEXT", "UIDREF", "Tracking Unique Identifier"),
        *(("CONTAINS", "CODE", meaning) for meaning in ("Finding category", "Finding")),
        *(("HAS OBS CONTEXT", "TEXT", f"{whose} Time Point Identifier") for whose in ("Subject", "Protocol")),
        ("HAS OBS CONTEXT", "TEXT", "Time Point"),
        ("HAS OBS CONTEXT", "CODE", "Time Point Type"),
        ("HAS OBS CONTEXT", "NUM", "Time Point Order"),
        ("CONTAINS", "SCOORD3D", "Image Region"),
        ("CONTAINS", "COMPOSITE", "Real World Value Map used for measurement"),
        *(("HAS CONCEPT MOD", "CODE", meaning) for meaning in ("Measurement Method", "Finding Site")),
        *(("HAS CONCEPT MOD", "TEXT", f"Algorithm {what}") for what in ("Name", "Version", "Parameters", "Parameters")),
        *(("CONTAINS", "NUM", meaning) for meaning in ("Length", "Area")),
        ("CONTAINS", "CODE", "Margins"),
        *(("CONTAINS", "TEXT", meaning) for meaning in ("Impression", "Comment")),
    ]
    assert [one.value for one in named(group, concepts.COMMENT)] == ["growing\nslowly"]
    assert [one.value for one in named(group, concepts.TRACKING_IDENTIFIER)] == ["Lesion 1 µ"]
    third, area = (one for one in group.children if one.value_type == "NUM" and one.relation == "CONTAINS")
    assert (third.value, area.value, area.text) == (1 / 3, 12.5, "12.50")
    assert shape(third) == [
        *(("HAS CONCEPT MOD", "CODE", meaning) for meaning in ("Measurement Method", "Derivation", "Finding Site")),
        *(("HAS CONCEPT MOD", "TEXT", f"Algorithm {what}") for what in ("Name", "Version")),
    ]


def test_numbers_name_the_regions_that_they_are_of(tmp_path: Path) -> None:
    axes = (concepts.LONG_AXIS, concepts.SHORT_AXIS)
    measurements = [Measurement(axis, 5.0 - i, concepts.MILLIMETRE, regions=(i,)) for i, axis in enumerate(axes)]
    group = Group(1, tracking_identifier="x", measurements=measurements, regions=[line(), line(1, 0, 0), line(2, 0, 0)])
    path = written(tmp_path, group)
    assert complaints(path) == ([], [])
    [container] = groups_of(read_by_us(path))
    numbers = [one for one in container.children if one.value_type == "NUM"]
    starts = [[child.graphic.data[0, 0] for child in one.children if child.graphic is not None] for one in numbers]
    assert starts == [[1.0], [2.0]]
    assert {child.relation for one in numbers for child in one.children} == {"INFERRED FROM"}
    [alone] = [one for one in container.children if one.graphic is not None]
    assert alone.graphic is not None
    assert alone.graphic.data[0, 0] == 3.0
    [found] = read_by_highdicom(path).get_image_measurement_groups()
    coordinates = [one.referenced_coordinates[0].value[0, 0] for one in found.get_measurements()]
    assert coordinates == [1.0, 2.0]


def test_groups_without_identity_get_one() -> None:
    one, other = (template.group_item(Group(3, regions=[line()])) for _ in range(2))
    uids = {item.UID for group in (one, other) for item in group.ContentSequence if item.ValueType == "UIDREF"}
    assert len(uids) == 2
    assert one.ContentSequence[0].TextValue == "Group 3"


def test_regions_without_place_are_refused() -> None:
    with pytest.raises(ExportError, match=r"'lost'.*load the images"):
        template.group_item(Group(1, tracking_identifier="lost", regions=[Region("POINT", np.zeros((1, 3)))]))
    # Columns and rows without their image are nothing; the points that were made of them are.
    graphic = Graphic("POINT", np.array([[3.0, 4]]))
    kept = Region("POINT", np.array([[1.0, 2, 3]]), graphic, FRAME_OF_REFERENCE)
    group = template.group_item(Group(1, regions=[kept]))
    assert [list(one.GraphicData) for one in group.ContentSequence if one.ValueType == "SCOORD3D"] == [[1, 2, 3]]


# --- Reports ---------------------------------------------------------------------------------------------------------

OBSERVERS = (
    Observer("Doe^Jane", organization="Clinic"),
    Observer("Robot", True, "1.2.826.0.1.3680043.8.498.8", "Maker", "Model", "4711"),
)


def test_what_a_report_says(tmp_path: Path) -> None:
    procedure = Code("24627-2", "LN", "CT Chest")
    path = written(
        tmp_path,
        *(case(name)[1] for name in CASES),
        RICH,
        procedures=(procedure,),
        observers=OBSERVERS,
        library=(SLICE, SECOND_SLICE),
        evaluations=(Evaluation(Code("121072", "DCM", "Impression"), "fine"),),
    )
    assert complaints(path) == ([], [])
    root = read_by_us(path)
    assert shape(root)[:2] == [
        ("HAS CONCEPT MOD", "CODE", "Language of Content Item and Descendants"),
        ("HAS OBS CONTEXT", "CODE", "Observer Type"),
    ]
    assert [one.value.value for one in root.children[0].children] == ["US"]
    assert [one.value for one in named(root, concepts.PROCEDURE_REPORTED)] == [procedure]
    assert [one.concept.meaning for one in root.children if one.value_type == "CONTAINER" and one.concept] == [
        "Image Library",
        "Imaging Measurements",
        "Qualitative Evaluations",
    ]
    library = named(root, concepts.IMAGE_LIBRARY)[0].children[0].children
    assert [one.references[0] for one in library] == [SLICE, SECOND_SLICE]
    assert len(groups_of(root)) == len(CASES) + 1
    content = read_by_highdicom(path)
    person, device = content.get_observer_contexts()
    assert person.observer_identifying_attributes.name == "Doe^Jane"
    assert device.observer_identifying_attributes.uid == OBSERVERS[1].uid
    assert device.observer_identifying_attributes.serial_number == "4711"


def test_a_report_of_nothing_is_valid(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert complaints(path) == ([], [])
    dataset = pydicom.dcmread(path)
    assert code_from_sequence(dataset, "ConceptNameCodeSequence") == concepts.IMAGING_MEASUREMENT_REPORT
    root = read_by_us(path)
    assert root.template == "1500"
    [device] = named(root, concepts.DEVICE_OBSERVER_NAME)
    assert device.value == "DICOMBridge"
    [procedure] = named(root, concepts.PROCEDURE_REPORTED)
    assert procedure.value == template.IMAGING_PROCEDURE


def test_evaluations_alone_need_no_measurements() -> None:
    evaluations = (Evaluation(Code("121072", "DCM", "Impression"), MASS),)
    report = template.measurement_report((), evaluations=evaluations, country=None)
    assert [one.ConceptNameCodeSequence[0].CodeMeaning for one in report.ContentSequence][
        -1
    ] == "Qualitative Evaluations"
    assert "Imaging Measurements" not in str(report)
    assert "ContentSequence" not in report.ContentSequence[0]


def test_unknown_profiles() -> None:
    with pytest.raises(ExportError, match="standard, ohif"):
        template.group_item(Group(1), "other")


# --- OHIF ------------------------------------------------------------------------------------------------------------

IMAGE = {
    "PatientID": "P1",
    "PatientName": "Doe^Jane",
    "StudyInstanceUID": STUDY,
    "SeriesInstanceUID": SERIES,
    "SOPInstanceUID": SLICE.sop_instance_uid,
    "SOPClassUID": CT,
    "Rows": 80,
    "Columns": 100,
    "ImagePositionPatient": [-10.0, 20.0, 30.0],
    "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    "PixelSpacing": [0.5, 0.5],
    "FrameOfReferenceUID": FRAME_OF_REFERENCE,
}


def drawn(kind: str, pixels: Any, **more: Any) -> Region:
    """A region in the image above; (0, 0) is the corner of its first pixel."""
    flat = np.array(pixels, dtype=float)
    points = np.column_stack([(flat - 0.5) * 0.5, np.zeros(len(flat))]) + IMAGE["ImagePositionPatient"]
    graphic = Graphic(kind, flat)
    return Region(kind, points, graphic, FRAME_OF_REFERENCE, (SLICE,), concepts.IMAGE_REGION, **more)


def measured(concept: Code, value: float = 7.5, units: Code = concepts.MILLIMETRE, **more: Any) -> Measurement:
    return Measurement(concept, value, units, **more)


AREA = measured(concepts.AREA, 12.0, concepts.SQUARE_MILLIMETRE)
MEAN = measured(Code("373098007", "SCT", "Mean value"), 42.0, Code("[hnsf'U]", "UCUM", "Hounsfield unit"))
BOX = [[10, 10], [30, 10], [30, 20], [10, 20]]
FREEHAND = [[10, 10], [30, 12], [25, 28], [12, 25], [8, 17]]
AXES = [drawn("POLYLINE", [[30, 5], [30, 25]]), drawn("POLYLINE", [[10, 15], [60, 15]])]

RIGHT_ANGLE = [drawn("POLYLINE", [[10, 10], [30, 10], [30, 30]], is_angle=True)]
ELLIPSE = [drawn("ELLIPSE", [[10, 20], [50, 20], [30, 10], [30, 30]])]
NINETY = [measured(concepts.ANGLE, 90.0, concepts.DEGREE)]
COBB = [measured(concepts.COBB_ANGLE, 90.0, concepts.DEGREE, regions=(0, 1))]
LINE = [drawn("POLYLINE", BOX[:2])]
DIAMETERS = [measured(concepts.SHORT_AXIS, 10.0, regions=(0,)), measured(concepts.LONG_AXIS, 25.0, regions=(1,))]
BOTH = {"area": 12.0, "mean": 42.0}

TOOLS: dict[str, tuple[str, list[Region], list[Measurement], dict[str, float]]] = {
    "line": ("Length", LINE, [measured(concepts.LENGTH)], {"length": 7.5}),
    "line without number": ("Length", LINE, [], {"length": 10.0}),
    "axes": ("Bidirectional", AXES, DIAMETERS, {"length": 25.0, "width": 10.0}),
    "angle": ("Angle", RIGHT_ANGLE, NINETY, {"angle": 90.0}),
    "angle without number": ("Angle", RIGHT_ANGLE, [], {"angle": 90.0}),
    "angle of two lines": ("CobbAngle", AXES, COBB, {"angle": 90.0}),
    "ellipse": ("EllipticalROI", ELLIPSE, [MEAN, AREA], BOTH),
    "ellipse without number": ("EllipticalROI", ELLIPSE, [], {"area": np.pi * 10 * 5}),
    "circle": ("CircleROI", [drawn("CIRCLE", [[30, 20], [40, 20]])], [AREA, MEAN], BOTH),
    "rectangle": ("RectangleROI", [drawn("POLYGON", BOX)], [AREA], {"area": 12.0}),
    "closed rectangle": ("RectangleROI", [drawn("POLYLINE", [*BOX, BOX[0]])], [], {"area": 50.0}),
    "contour": ("PlanarFreehandROI", [drawn("POLYGON", FREEHAND)], [AREA, MEAN], BOTH),
    "open contour": ("PlanarFreehandROI", [drawn("POLYLINE", FREEHAND)], [], {}),
    "point": ("Probe", [drawn("POINT", BOX[:1])], [], {}),
}
SITES = (Site(LIVER, LEFT),)


def drawn_group(name: str, **more: Any) -> Group:
    _, regions, measurements, _ = TOOLS[name]
    group = Group(1, (), "", False, name, TRACKING_UID, finding=MASS, sites=SITES)
    return replace(replace(group, regions=regions, measurements=measurements), **more)


def hydrated(path: Path) -> list[dict[str, Any]]:
    return [one for found in javascript.hydrated(path, [IMAGE]).values() for one in found]


@pytest.mark.parametrize("name", TOOLS)
def test_cornerstone_takes_up_groups(name: str, tmp_path: Path) -> None:
    tool, regions, _, stats = TOOLS[name]
    path = written(tmp_path, drawn_group(name), profile="ohif")
    assert complaints(path) == ([], [])
    [found] = hydrated(path)
    assert (found["tool"], found["trackingIdentifier"]) == (tool, f"Cornerstone3DTools@^0.1.0:{tool}")
    assert (found["trackingUID"], found["label"], found["image"]) == (TRACKING_UID, name, SLICE.sop_instance_uid)
    assert found["finding"]["CodeValue"] == MASS.value
    assert [site["CodeValue"] for site in found["findingSites"]] == [LIVER.value]
    assert {key: found["stats"][key] for key in stats} == pytest.approx(stats, rel=1e-6)
    wanted = np.vstack([one.points for one in (regions[::-1] if name == "axes" else regions) if one.points is not None])
    if tool == "RectangleROI":
        wanted = wanted[[0, 1, 3, 2]]
    np.testing.assert_allclose(found["points"], wanted, atol=1e-4)
    assert found["closed"] in (None, name == "contour")
    [group] = read_by_highdicom(path).get_image_measurement_groups()
    assert group.tracking_uid == TRACKING_UID


def test_own_identifiers_and_labels(tmp_path: Path) -> None:
    group = drawn_group("point", comment="see here")
    path = written(tmp_path, group, profile="ohif")
    [found] = hydrated(path)
    assert (found["tool"], found["label"]) == ("ArrowAnnotate", "see here")
    [container] = groups_of(read_by_us(path))
    texts = {one.concept.meaning: one.value for one in container.children if one.value_type == "TEXT" and one.concept}
    assert texts == {
        "Tracking Identifier": "Cornerstone3DTools@^0.1.0:ArrowAnnotate",
        "Lesion Identifier": "point",
        "Comment": "see here",
    }


def test_free_text_findings_are_labels(tmp_path: Path) -> None:
    finding = Code("CORNERSTONEFREETEXT", "CORNERSTONEJS", "from long ago")
    path = written(tmp_path, drawn_group("line", finding=finding, tracking_identifier=""), profile="ohif")
    assert complaints(path)[0] == []
    [found] = hydrated(path)
    assert found["label"] == "from long ago"


def test_cornerstones_groups_keep_their_identifier(tmp_path: Path) -> None:
    identifier = "Cornerstone3DTools@^0.1.0:PlanarFreehandROI:SplineROI"
    own = [
        replace(drawn("MULTIPOINT", FREEHAND[::2]), purpose=Code("ControlPoints", "99CS3D", "Control Points")),
        replace(drawn("POINT", [[50, 60]]), purpose=Code("TextPosition", "99CS3D", "Text Annotation Position")),
    ]
    closed = drawn("POLYLINE", [*FREEHAND, FREEHAND[0]])
    group = drawn_group("contour", regions=[own[0], closed, own[1]], tracking_identifier=identifier, comment="label")
    [found] = hydrated(written(tmp_path, group, profile="ohif"))
    assert (found["tool"], found["trackingIdentifier"], found["label"]) == ("SplineROI", identifier, "label")
    np.testing.assert_allclose(found["controlPoints"], own[0].points, atol=1e-4)  # type: ignore[arg-type]
    np.testing.assert_allclose(found["textBox"], own[1].points[0], atol=1e-4)  # type: ignore[index]
    np.testing.assert_allclose(found["points"], closed.points[:-1], atol=1e-4)  # type: ignore[index]


def test_groups_of_several_regions_become_several_annotations(tmp_path: Path) -> None:
    regions = [drawn("MULTIPOINT", FREEHAND), drawn("POLYGON", BOX)]
    group = drawn_group("point", regions=regions, measurements=[replace(AREA, regions=(1,)), MEAN])
    path = written(tmp_path, group, profile="ohif")
    found = hydrated(path)
    assert sorted(one["tool"] for one in found) == ["Probe"] * 5 + ["RectangleROI"]
    assert len({one["trackingUID"] for one in found}) == 6
    assert found[0]["trackingUID"] == TRACKING_UID
    assert [one["stats"]["area"] for one in found if one["tool"] == "RectangleROI"] == [12.0]
    with pytest.raises(ExportError, match="becomes 6 groups"):
        template.group_item(group, "ohif")


def test_tools_that_a_group_has_outgrown(tmp_path: Path) -> None:
    outgrown = drawn_group("line", tracking_identifier="Cornerstone3DTools@^0.1.0:Bidirectional", comment="one axis")
    [found] = hydrated(written(tmp_path, outgrown, profile="ohif"))
    assert (found["tool"], found["label"]) == ("Length", "one axis")


def test_regions_outside_of_images_are_refused() -> None:
    with pytest.raises(ExportError, match=r"'tilted'.*plane of an image"):
        template.group_item(Group(1, tracking_identifier="tilted", regions=[line()]), "ohif")


def test_groups_without_regions_are_as_in_the_standard() -> None:
    _, group = case("segment")
    assert template.group_item(group, "ohif") == template.group_item(group)
