"""Reports between us and highdicom, dcmqi and dcmjs: they find in ours what was drawn, we in theirs what they say."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset
from support import javascript
from support.items import read
from support.sr_dcmqi import MEASURED, tid1500_json, write_tid1500
from support.sr_images import SeriesOfImages, write_multi_frame, write_series
from support.sr_markups import (
    ABNORMAL,
    LEFT,
    LIVER,
    MASS,
    Drawn,
    assert_report_valid,
    draw,
    load_images,
    same_points,
    same_ring,
)
from support.sr_nodes import column_names, column_of, markups_of

import dicombridge

SERIES = {
    "oblique": lambda folder: write_series(folder, "oblique"),
    "square": lambda folder: write_series(folder, "sagittal", spacing=(0.8, 0.8)),
    "multi-frame": lambda folder: write_multi_frame(folder, "oblique"),
}
SPACE, IMAGE = "patient", "image"
TARGET = "Target 1"
"""The group of two lines, whose numbers tell which line they are of: TID 1501, where highdicom knows no regions."""


@dataclass
class Written:
    """A report of what was drawn on a series."""

    images: SeriesOfImages
    drawn: list[Drawn]
    path: Path
    coordinates: str

    def of(self, name: str) -> Drawn:
        return next(one for one in self.drawn if one.name == name)


@pytest.fixture(scope="module", params=[(name, where) for name in SERIES for where in (SPACE, IMAGE)], ids="-".join)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    name, coordinates = request.param
    folder = tmp_path_factory.mktemp("report")
    images = SERIES[name](folder / "images")
    scene, volume, database = load_images(images)
    drawn = draw(scene, images, volume)
    nodes = list(dict.fromkeys(node for one in drawn for node in one.nodes))
    (path,) = dicombridge.export(
        nodes, folder / "out", kind="SR", database=database, source=volume, coordinates=coordinates
    )
    return Written(images, drawn, path, coordinates)


# --- They read ours --------------------------------------------------------------------------------------------------


def by_highdicom(path: Path) -> dict[str, tuple[str, Any]]:
    """Template and measurement group by tracking identifier."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of highdicom, on values of a private class of its own
        content = highdicom.sr.srread(path).content
    found = {
        "1410": content.get_planar_roi_measurement_groups(),
        "1411": content.get_volumetric_roi_measurement_groups(),
        "1501": content.get_image_measurement_groups(),
    }
    return {one.tracking_identifier: (template, one) for template, groups in found.items() for one in groups}


def template_of(drawn: Drawn) -> str:
    return "1411" if drawn.name == "solid" else "1410" if len(drawn.types) == 1 else "1501"


def assert_says(measurements: Sequence[Any], drawn: Drawn) -> None:
    """``measurements``: concept, scheme, value, unit."""
    found = {(value, scheme): (number, unit) for value, scheme, number, unit in measurements}
    assert len(found) == len(measurements)
    assert set(drawn.values) <= set(found), drawn.name
    if not drawn.values:
        assert found == {}
    for concept, (value, unit) in drawn.values.items():
        assert found[concept][1] == unit
        # Coordinates came from files with decimal strings; nothing else is rounded before it is measured.
        assert found[concept][0] == pytest.approx(value, rel=1e-6), drawn.name


def assert_there(kind: str, data: Any, number: int, drawn: Drawn, report: Written) -> None:
    """Compare Graphic Type and data of a region, (n, 2) in an image and (n, 3) in space, with what was drawn."""
    wanted, images = drawn.points[number], report.images
    found = np.asarray(data, float)
    in_image = report.coordinates == IMAGE and drawn.plane is not None
    assert found.shape[1] == (2 if in_image else 3), drawn.name
    expected = drawn.types[number]
    if in_image:
        assert drawn.plane is not None
        found = images.of_graphic(drawn.plane, found)
        is_circle = drawn.name == "circle" and images.spacing[0] == images.spacing[1]
        expected = {"POLYGON": "POLYLINE", "ELLIPSE": "CIRCLE" if is_circle else "ELLIPSE"}.get(expected, expected)
    assert kind == expected, drawn.name
    if kind == "CIRCLE":
        wanted = np.stack([wanted.mean(axis=0), wanted[0]])
    if drawn.types[number] == "POLYGON":
        assert (found[0] == found[-1]).all()
        found = found[:-1]
        # Corners of planes and boxes begin where they begin.
        assert same_ring(found, wanted) if drawn.name in ("sheet", "solid") else same_points(found, wanted), drawn.name
    else:
        assert same_points(found, wanted), drawn.name


def test_highdicom_finds_the_groups(report: Written) -> None:
    found = by_highdicom(report.path)
    assert set(found) == {one.name for one in report.drawn}
    assert len({str(group.tracking_uid) for _, group in found.values()}) == len(report.drawn)
    for drawn in report.drawn:
        template, group = found[drawn.name]
        assert template == template_of(drawn), drawn.name
        assert group.finding_category == highdicom.sr.CodedConcept(*ABNORMAL)
        assert group.finding_type == highdicom.sr.CodedConcept(*MASS)
        [site] = group.finding_sites
        assert (site.value, site.laterality) == (highdicom.sr.CodedConcept(*LIVER), highdicom.sr.CodedConcept(*LEFT))
        measured = group.get_measurements()
        assert_says([(*_pair(one.name), one.value, one.unit.value) for one in measured], drawn)


def _pair(code: Any) -> tuple[str, str]:
    return code.value, code.scheme_designator


def test_highdicom_finds_planar_regions_where_they_were_drawn(report: Written) -> None:
    found = by_highdicom(report.path)
    planar = [one for one in report.drawn if template_of(one) == "1410"]
    assert len(planar) == len(report.drawn) - 3
    for drawn in planar:
        roi = found[drawn.name][1].roi
        assert_there(roi.graphic_type.value, roi.value, 0, drawn, report)
        if report.coordinates == IMAGE:
            assert drawn.plane is not None
            [image] = roi.ContentSequence
            assert image.referenced_sop_instance_uid == report.images.uid(drawn.plane)
            assert image.referenced_sop_class_uid == report.images.sop_class
            assert image.referenced_frame_numbers == report.images.frames(drawn.plane)
        else:
            assert roi.frame_of_reference_uid == report.images.frame_of_reference


def test_highdicom_finds_the_surface_of_a_box(report: Written) -> None:
    _, group = by_highdicom(report.path)["solid"]
    drawn = report.of("solid")
    surface = group.roi
    assert surface.graphic_type.value == "POLYGON"
    assert surface.frame_of_reference_uid == report.images.frame_of_reference
    assert len(surface.graphic_data) == 6
    for face in drawn.points:
        assert sum(same_ring(np.asarray(data)[:-1], face) for data in surface.graphic_data) == 1
    assert str(surface.source_series_for_segmentation.value) == report.images.series


def test_a_box_between_two_slices_is_one_surface(tmp_path: Path) -> None:
    images = SERIES["oblique"](tmp_path / "images")
    scene, volume, database = load_images(images)
    *_, solid = draw(scene, images, volume)
    solid.nodes[0].SetSize(12.0, 8.0, 5.0)  # two steps between planes, around one of them
    (path,) = dicombridge.export(
        solid.nodes, tmp_path / "out", kind="SR", database=database, source=volume, coordinates=IMAGE
    )
    template, group = by_highdicom(path)["solid"]
    assert template == "1411"
    assert len(group.roi.graphic_data) == 6
    scene = dicombridge.new_scene()
    [again] = markups_of(dicombridge.load(str(path), scene=scene, database=database))
    assert again.GetSize() == pytest.approx((12, 8, 5), abs=1e-4)


def test_dcmjs_finds_the_same(report: Written) -> None:
    groups = {one["trackingIdentifier"]: one for one in javascript.groups(report.path)}
    assert set(groups) == {one.name for one in report.drawn}
    by_peer = by_highdicom(report.path)
    for drawn in report.drawn:
        group = groups[drawn.name]
        assert group["trackingUID"] == by_peer[drawn.name][1].tracking_uid
        assert group["finding"] == dict(zip(("value", "scheme", "meaning"), MASS, strict=True))
        assert [site["value"] for site in group["findingSites"]] == [LIVER[0]]
        comments = [one["text"] for one in group["texts"] if one["name"]["value"] == "121106"]
        assert comments == [drawn.comment] * bool(drawn.comment)
        measured = group["measurements"]
        assert_says(
            [(one["name"]["value"], one["name"]["scheme"], one["value"], one["units"]["value"]) for one in measured],
            drawn,
        )
        if drawn.name == "solid":
            continue  # whose faces have no order; highdicom has compared them
        places = [*group["coordinates"], *(one for number in measured for one in number["coordinates"])]
        assert len(places) == len(drawn.points)
        if drawn.name == TARGET:
            by_number = {one["name"]["value"]: one["coordinates"] for one in measured}
            # The shorter line was drawn first; each number is below its own line.
            places = [*by_number["103340004"], *by_number["103339001"]]
        for number, place in enumerate(places):
            in_image = report.coordinates == IMAGE
            assert place["type"] == ("SCOORD" if in_image else "SCOORD3D")
            data = np.reshape(place["data"], (-1, 2 if in_image else 3))
            assert_there(place["graphic"], data, number, drawn, report)
            if in_image:
                assert drawn.plane is not None
                [image] = place["images"]
                assert image["image"] == report.images.uid(drawn.plane)
                assert image["frames"] == (report.images.frames(drawn.plane) or [])
            else:
                assert place["frameOfReference"] == report.images.frame_of_reference


def test_dciodvfy_and_dcentvfy(report: Written, tmp_path: Path) -> None:
    assert_report_valid(report.path, report.images.paths, tmp_path)


# --- Segments --------------------------------------------------------------------------------------------------------


@pytest.fixture
def liver(data: Path, tmp_path: Path) -> Path:
    """A report of the statistics of the segmentation of the shared data in its CT."""
    source = tmp_path / "source"
    source.mkdir()
    for path in [data / "seg/dcmqi_liver/liver.dcm", *sorted((data / "seg/dcmqi_liver/ct").iterdir())]:
        (source / path.name).write_bytes(path.read_bytes())
    database = dicombridge.open_folder(source)
    scene = dicombridge.new_scene()
    nodes = dicombridge.load(str(source), scene=scene)
    (segmentation,) = [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]
    (volume,) = [node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode")]
    (path,) = dicombridge.export(segmentation, tmp_path / "out", kind="SR", database=database, volume=volume)
    return path


def test_dcmqi_reads_statistics_of_segments(liver: Path, data: Path, tmp_path: Path) -> None:
    seg = read(data / "seg/dcmqi_liver/liver.dcm")
    [item] = seg.SegmentSequence
    slices = [read(one) for one in sorted((data / "seg/dcmqi_liver/ct").iterdir())]
    values, voxel = _voxels(seg, slices)
    [group] = tid1500_json(liver)["Measurements"]
    assert group["ReferencedSegment"] == int(item.SegmentNumber)
    assert group["segmentationSOPInstanceUID"] == seg.SOPInstanceUID
    assert group["SourceSeriesForImageSegmentation"] == slices[0].SeriesInstanceUID
    # The segment has no identifiers of its own.
    assert group["TrackingIdentifier"] == item.SegmentLabel
    [of_dcmjs] = javascript.groups(liver)
    assert group["TrackingUniqueIdentifier"] == of_dcmjs["trackingUID"]
    assert group["Finding"]["CodeValue"] in _codes(item.SegmentedPropertyTypeCodeSequence)
    found = {_said(one): (float(one["value"]), one["units"]["CodeValue"]) for one in group["measurementItems"]}
    assert len(found) == len(group["measurementItems"]) == 6
    wanted = {
        "373098007": values.mean(), "255605001": values.min(), "56851009": values.max(),
        "386136009": values.std(ddof=1), "373099004": np.median(values),
    }  # fmt: skip
    for derivation, value in wanted.items():
        number, unit = found["112031", derivation]
        assert number == pytest.approx(value, rel=1e-6)
        assert unit == "[hnsf'U]"
    number, unit = found["118565006", ""]
    assert number == pytest.approx(len(values) * voxel, rel=1e-6)
    assert unit == "mm3"
    assert_report_valid(
        liver, [data / "seg/dcmqi_liver/liver.dcm", *sorted((data / "seg/dcmqi_liver/ct").iterdir())], tmp_path
    )


def _codes(sequence: Any) -> set[str]:
    from dicombridge.codes import Code, modern

    [code] = sequence
    now = modern(Code(code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning))
    return {str(code.CodeValue), now.value}


def _said(measured: dict[str, Any]) -> tuple[str, str]:
    return measured["quantity"]["CodeValue"], measured.get("derivationModifier", {}).get("CodeValue", "")


def _voxels(seg: Dataset, slices: list[Dataset]) -> tuple[Any, float]:
    """Values of the voxels in the one segment of a segmentation, and their volume, of the pixels alone."""
    by_place = {tuple(np.round(one.ImagePositionPatient, 3)): one for one in slices}
    masks = seg.pixel_array.reshape(-1, int(seg.Rows), int(seg.Columns)) != 0
    values = []
    for mask, groups in zip(masks, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if not mask.any():
            continue
        image = by_place[tuple(np.round(groups.PlanePositionSequence[0].ImagePositionPatient, 3))]
        values.append(image.pixel_array[mask] * float(image.RescaleSlope) + float(image.RescaleIntercept))
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    step = float(measures.get("SpacingBetweenSlices", measures.SliceThickness))
    return np.concatenate(values), float(np.prod([float(one) for one in measures.PixelSpacing])) * step


# --- We read theirs --------------------------------------------------------------------------------------------------


def test_we_read_dcmqi_and_it_reads_it_again(data: Path, tmp_path: Path) -> None:
    path = write_tid1500(tmp_path / "dcmqi", data, TrackingUniqueIdentifier="1.2.826.0.1.99")
    scene = dicombridge.new_scene()
    nodes = dicombridge.load(str(path), scene=scene)
    table = nodes[0]
    assert markups_of(nodes) == []
    assert column_of(table, "Tracking UID") == ["1.2.826.0.1.99"]
    for measured in MEASURED:
        quantity, unit = measured["quantity"][0], measured["units"][0]
        [name] = [
            name
            for name in column_names(table)
            if f"CodeValue:{quantity}|" in table.GetColumnProperty(name, "DICOM.QuantityCode")
        ]
        assert f"CodeValue:{unit}|" in table.GetColumnProperty(name, "DICOM.UnitsCode")
        derivation = table.GetColumnProperty(name, "DICOM.DerivationCode") or ""
        said = measured.get("derivationModifier")
        assert derivation.partition("|")[0] == (f"CodeValue:{said[0]}" if said else "")
        assert column_of(table, name) == [float(measured["value"])]
    (again,) = dicombridge.export(table, tmp_path / "again", kind="SR")
    before, after = tid1500_json(path)["Measurements"], tid1500_json(again)["Measurements"]
    assert len(before) == 1
    assert before == after
