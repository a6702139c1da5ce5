"""Measurement groups written by their templates, read back by highdicom, dciodvfy and our own reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from support.sr_groups import (
    ABNORMAL,
    ELLIPSOID,
    FRAME_OF_REFERENCE,
    LEFT,
    LIVER,
    MASS,
    RECIST,
    RICH,
    SECOND_SLICE,
    SEG,
    SEGMENTATION,
    SERIES,
    SLICE,
    SQUARE,
    TRACKING_UID,
    UPPER,
    complaints,
    groups_of,
    in_image,
    in_space,
    length,
    line,
    named,
    read_by_highdicom,
    read_by_us,
    shape,
    written,
)

from dicombridge.codes import Code, code_from_sequence
from dicombridge.errors import ExportError
from dicombridge.report import concepts, items, template
from dicombridge.report.content import Graphic, InstanceReference
from dicombridge.report.groups import Group, Measurement, Observer, Region

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
    (one,), (other,) = (template.group_items(Group(3, regions=[line()])) for _ in range(2))
    uids = {item.UID for group in (one, other) for item in group.ContentSequence if item.ValueType == "UIDREF"}
    assert len(uids) == 2
    assert one.ContentSequence[0].TextValue == "Group 3"


def test_regions_without_place_are_refused() -> None:
    with pytest.raises(ExportError, match=r"'lost'.*load the images"):
        template.group_items(Group(1, tracking_identifier="lost", regions=[Region("POINT", np.zeros((1, 3)))]))
    # Columns and rows without their image are nothing; the points that were made of them are.
    graphic = Graphic("POINT", np.array([[3.0, 4]]))
    kept = Region("POINT", np.array([[1.0, 2, 3]]), graphic, FRAME_OF_REFERENCE)
    (group,) = template.group_items(Group(1, regions=[kept]))
    assert [list(one.GraphicData) for one in group.ContentSequence if one.ValueType == "SCOORD3D"] == [[1, 2, 3]]


# --- Reports ---------------------------------------------------------------------------------------------------------

OBSERVERS = (
    Observer("Doe^Jane", organization="Clinic"),
    Observer("Robot", True, "1.2.826.0.1.3680043.8.498.8", "Maker", "Model", "4711"),
)


def test_what_a_report_says(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        *(case(name)[1] for name in CASES),
        RICH,
        observers=OBSERVERS,
        library=(SLICE, SECOND_SLICE),
    )
    assert complaints(path) == ([], [])
    root = read_by_us(path)
    assert shape(root)[:2] == [
        ("HAS CONCEPT MOD", "CODE", "Language of Content Item and Descendants"),
        ("HAS OBS CONTEXT", "CODE", "Observer Type"),
    ]
    assert [one.value.value for one in root.children[0].children] == ["US"]
    assert [one.value for one in named(root, concepts.PROCEDURE_REPORTED)] == [template.IMAGING_PROCEDURE]
    assert [one.concept.meaning for one in root.children if one.value_type == "CONTAINER" and one.concept] == [
        "Image Library",
        "Imaging Measurements",
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


def test_unknown_profiles() -> None:
    with pytest.raises(ExportError, match="standard, ohif"):
        template.group_items(Group(1), "other")
