"""The peers for structured reports work by themselves: what cornerstone's adapters write, they read again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from support import javascript, peers

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
FRAME_OF_REFERENCE = "1.2.826.0.1.3680043.8.498.9"

ORIGIN = np.array([-120.0, 35.5, 61.25])
TILT = math.radians(25)
ROW = np.array([math.cos(TILT), math.sin(TILT), 0.0])  # along a row
COLUMN = np.array([-math.sin(TILT) * math.cos(TILT), math.cos(TILT) ** 2, -math.sin(TILT)])
BETWEEN_ROWS, BETWEEN_COLUMNS = 0.7, 1.3

MASS = {"CodeValue": "4147007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Mass"}
SITES = [
    {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"},
    {"CodeValue": "7771000", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Left"},
]
REGION = {"mean": 12.5, "stdDev": 3.25, "max": 40.0, "area": 321.0, "areaUnit": "mm²", "modalityUnit": "HU"}

# tool -> (column, row) of its points in pixels from the centre of the first, and what else it has
TOOLS: dict[str, tuple[list[tuple[float, float]], dict[str, Any]]] = {
    "Length": ([(10.25, 20.5), (40, 33)], {"stats": {"length": 40.5, "unit": "mm"}}),
    "Bidirectional": (
        [(10, 20), (50, 20), (28, 12), (28, 30)],  # the longer axis first
        {"stats": {"length": 52.0, "width": 12.6, "unit": "mm", "widthUnit": "mm"}},
    ),
    "Angle": ([(10, 10), (30, 40), (60, 12)], {"stats": {"angle": 71.5}}),
    "CobbAngle": ([(10, 10), (30, 14), (12, 60), (40, 44)], {"stats": {"angle": 33.25}}),
    "EllipticalROI": ([(20, 30), (60, 30), (40, 20), (40, 40)], {"stats": REGION | {"min": -7.0}}),  # major axis first
    "CircleROI": (
        [(40, 30), (50, 30)],
        {"stats": REGION | {"min": -7.0, "radius": 13.0, "radiusUnit": "mm", "perimeter": 2 * math.pi * 13}},
    ),
    "RectangleROI": ([(10, 12), (50, 12), (10, 44), (50, 44)], {"stats": REGION | {"perimeter": 148.8}}),
    "PlanarFreehandROI": (
        [(10, 10), (30, 9), (41, 22), (28, 40), (12, 31)],
        {"closed": True, "stats": REGION | {"perimeter": 101.0}},
    ),
    "PlanarFreehandROIOpen": ([(10, 10), (30, 9), (41, 22), (28, 40)], {"closed": False, "stats": {"perimeter": 77.0}}),
    "LivewireContour": ([(5, 5), (25, 4), (26, 25), (6, 24)], {"closed": True, "stats": REGION}),
    "SplineROI": ([(5, 5), (25, 4), (26, 25), (6, 24)], {"closed": True, "stats": REGION, "splineType": "CATMULLROM"}),
    "Probe": ([(17.5, 23.75)], {}),
    "ArrowAnnotate": ([(17, 23), (40, 50)], {}),
}
WITH_IMAGE_ONLY: dict[str, tuple[list[tuple[float, float]], dict[str, Any]]] = {
    "UltrasoundDirectionalTool": ([(17, 23), (40, 50)], {}),
    "KeyImage": ([(17, 23)], {}),  # with isPoint, its identifier has one part more, and it comes back as a Probe
}


def image(number: int = 1, **attributes: Any) -> dict[str, Any]:
    position = ORIGIN + 4.0 * (number - 1) * np.cross(ROW, COLUMN)
    return {
        "PatientID": "P1",
        "PatientName": "Doe^Jane",
        "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
        "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.2",
        "SOPInstanceUID": f"1.2.826.0.1.3680043.8.498.3.{number}",
        "SOPClassUID": CT,
        "Rows": 80,
        "Columns": 100,
        "ImagePositionPatient": position.tolist(),
        "ImageOrientationPatient": [*ROW.tolist(), *COLUMN.tolist()],
        "PixelSpacing": [BETWEEN_ROWS, BETWEEN_COLUMNS],
        "FrameOfReferenceUID": FRAME_OF_REFERENCE,
        **attributes,
    }


IMAGES = [image(1), image(2)]


def placed(pixels: list[tuple[float, float]], on: dict[str, Any]) -> list[list[float]]:
    """Points in millimetres of pixels, of which whole numbers are centres."""
    origin = np.array(on["ImagePositionPatient"])
    return [(origin + column * BETWEEN_COLUMNS * ROW + row * BETWEEN_ROWS * COLUMN).tolist() for column, row in pixels]


def annotation(kind: str, on: dict[str, Any], with_image: bool = True) -> dict[str, Any]:
    pixels, more = (TOOLS | WITH_IMAGE_ONLY)[kind]
    where = {"image": on["SOPInstanceUID"]} if with_image else {"frameOfReference": FRAME_OF_REFERENCE}
    points = placed(pixels, on)
    found = {"tool": kind.removesuffix("Open"), "points": points, "label": f"{kind} 1 µ", "finding": MASS}
    if "splineType" in more:
        found["controlPoints"] = points[::2]
    return found | {"findingSites": SITES} | where | more


def distance(found: Any, wanted: Any) -> float:
    one, other = np.array(found), np.array(wanted)
    assert one.shape == other.shape
    return float(np.abs(one - other).max())


@dataclass
class Reports:
    """Files by name, and what was hydrated of the two with all annotations: kind -> annotation."""

    paths: dict[str, Path]
    on_images: dict[str, dict[str, Any]]
    in_space: dict[str, dict[str, Any]]
    corrected: bool


def by_label(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    annotations = [one for several in found.values() for one in several]
    assert all(one["tool"] == tool for tool, several in found.items() for one in several)
    return {one["label"].split()[0]: one for one in annotations}


@pytest.fixture(scope="module", params=[False, True], ids=["as OHIF", "corrected"])
def reports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reports:
    given = [annotation(kind, IMAGES[1]) for kind in TOOLS | WITH_IMAGE_ONLY]
    given += [annotation(kind, IMAGES[1], with_image=False) for kind in TOOLS]
    paths = javascript.make_reports(IMAGES, given, tmp_path_factory.mktemp("reports"), corrected=request.param)
    on_images = javascript.hydrated(paths["All"], IMAGES, corrected=request.param)
    in_space = javascript.hydrated(paths["All3D"], [])
    return Reports(paths, by_label(on_images), by_label(in_space), request.param)


def test_every_tool_has_its_report(reports: Reports) -> None:
    with_image = {*TOOLS, *WITH_IMAGE_ONLY, "All"}
    assert set(reports.paths) == with_image | {f"{kind}3D" for kind in [*TOOLS, "All"]}
    for name, path in reports.paths.items():
        read = pydicom.dcmread(path)
        assert read.SOPClassUID == (COMPREHENSIVE_3D_SR if name.endswith("3D") else ENHANCED_SR)
        assert read.PatientID == "P1"
        [measurements] = [item for item in read.ContentSequence if code_of(item) == "126010"]
        assert {code_of(item) for item in measurements.ContentSequence} == {"125007"}
        number = {"All": len(TOOLS | WITH_IMAGE_ONLY), "All3D": len(TOOLS)}.get(name, 1)
        assert len(measurements.ContentSequence) == number
    assert set(reports.on_images) == TOOLS.keys() | WITH_IMAGE_ONLY.keys()
    assert set(reports.in_space) == TOOLS.keys()


def code_of(item: pydicom.Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


@pytest.mark.parametrize("kind", TOOLS | WITH_IMAGE_ONLY)
def test_annotations_on_images_come_back(reports: Reports, kind: str) -> None:
    given, found = annotation(kind, IMAGES[1]), reports.on_images[kind]
    tool = found["tool"]
    assert tool == given["tool"]
    assert distance(found["points"], given["points"]) < 1e-3
    assert (found["image"], found["frame"]) == (IMAGES[1]["SOPInstanceUID"], 1)
    assert found["series"] == IMAGES[1]["SeriesInstanceUID"]
    assert found["frameOfReference"] == FRAME_OF_REFERENCE
    assert (found["label"], found["finding"], found["findingSites"]) == (given["label"], MASS, SITES)
    assert found["description"] == "Mass"
    assert found["closed"] == given.get("closed")
    parent = {"SplineROI": "PlanarFreehandROI:", "LivewireContour": "PlanarFreehandROI:", "KeyImage": "Probe:"}
    assert found["trackingIdentifier"] == f"Cornerstone3DTools@^0.1.0:{parent.get(tool, '')}{tool}"
    if kind == "SplineROI":
        assert found["splineType"] == "CATMULLROM"
        assert distance(found["controlPoints"], given["controlPoints"]) < 1e-3
    if kind == "PlanarFreehandROIOpen":  # whose handles are its ends, where none were given
        assert distance(found["controlPoints"], [given["points"][0], given["points"][-1]]) < 1e-3
    # Numbers come back. Of units only those do that are not left to metricHandler.js: it takes the code's value for the
    # code, and finds nothing.
    with_units = ("Length", "Bidirectional")
    for name, value in given.get("stats", {}).items():
        if isinstance(value, float):
            assert found["stats"][name] == pytest.approx(value, rel=1e-6)
        elif kind in with_units or (kind, name) == ("RectangleROI", "areaUnit"):
            assert found["stats"][name] == value
        else:
            assert not found["stats"].get(name)


@pytest.mark.parametrize("kind", TOOLS)
def test_annotations_without_image_come_back(reports: Reports, kind: str) -> None:
    given, found = annotation(kind, IMAGES[1], with_image=False), reports.in_space[kind]
    assert found["tool"] == given["tool"]
    assert distance(found["points"], given["points"]) < 1e-3
    assert (found["image"], found["frameOfReference"]) == (None, FRAME_OF_REFERENCE)
    assert (found["label"], found["finding"], found["findingSites"]) == (given["label"], MASS, SITES)
    assert found["closed"] == given.get("closed")
    assert found["stats"] is None  # which the adapters write, but read with an image only


def pixels_of(report: Path) -> NDArray[np.float64]:
    [group] = javascript.groups(report)
    [coordinates] = group["measurements"][0]["coordinates"]
    assert (coordinates["type"], coordinates["relationship"]) == ("SCOORD", "INFERRED FROM")
    assert coordinates["images"][0]["image"] == IMAGES[1]["SOPInstanceUID"]
    return np.array(coordinates["data"]).reshape(-1, 2)


def test_what_stands_in_a_report(reports: Reports) -> None:
    paths = reports.paths
    wanted = np.array(TOOLS["Length"][0]) + 0.5  # (0, 0) is the corner of the first pixel
    if not reports.corrected:  # core divides by the other number of Pixel Spacing: cornerstone3D issue 2758
        factors = np.array([BETWEEN_COLUMNS / BETWEEN_ROWS, BETWEEN_ROWS / BETWEEN_COLUMNS])
        wanted = np.array(TOOLS["Length"][0]) * factors + 0.5
    np.testing.assert_allclose(pixels_of(paths["Length"]), wanted, atol=1e-4)

    [group] = javascript.groups(paths["Length"])
    assert group["trackingIdentifier"] == "Cornerstone3DTools@^0.1.0:Length"
    assert (group["finding"]["value"], [site["value"] for site in group["findingSites"]]) == (
        "4147007",
        ["10200004", "7771000"],
    )
    [length] = group["measurements"]
    assert (length["name"]["value"], length["value"], length["units"]["value"]) == ("410668003", 40.5, "mm")

    [group] = javascript.groups(paths["Length3D"])
    [coordinates] = group["measurements"][0]["coordinates"]
    assert (coordinates["type"], coordinates["graphic"]) == ("SCOORD3D", "POLYLINE")
    assert coordinates["frameOfReference"] == FRAME_OF_REFERENCE
    points = np.array(coordinates["data"]).reshape(-1, 3)
    np.testing.assert_allclose(points, placed(TOOLS["Length"][0], IMAGES[1]), atol=1e-4)


def test_frames_of_an_image(tmp_path: Path) -> None:
    uid = "1.2.826.0.1.3680043.8.498.4"
    more = {"SOPInstanceUID": uid, "SOPClassUID": ENHANCED_MR, "NumberOfFrames": 2}
    frames = [image(number, FrameNumber=number, **more) for number in (1, 2)]
    given = [annotation("Length", frame) | {"frame": frame["FrameNumber"]} for frame in frames]
    report = javascript.make_reports(frames, given, tmp_path)["Length"]
    found = javascript.hydrated(report, frames)["Length"]
    assert [(one["image"], one["frame"]) for one in found] == [(uid, 1), (uid, 2)]
    for one, other in zip(found, given, strict=True):
        assert distance(one["points"], other["points"]) < 1e-3


def test_text_box_and_arrow(tmp_path: Path) -> None:
    box = placed([(60, 70)], IMAGES[0])[0]
    given = annotation("ArrowAnnotate", IMAGES[0]) | {"textBox": box, "arrowFirst": False}
    report = javascript.make_reports(IMAGES, [given], tmp_path)["ArrowAnnotate"]
    [found] = javascript.hydrated(report, IMAGES)["ArrowAnnotate"]
    assert distance([found["textBox"]], [box]) < 1e-3
    assert distance(found["points"], given["points"][::-1]) < 1e-3  # its point comes first, in the report and after
    assert found["text"] == found["label"] == given["label"]


@pytest.mark.parametrize("kind", ["Bidirectional", "EllipticalROI"])
def test_the_longer_axis_comes_first(tmp_path: Path, kind: str) -> None:
    """So what was drawn with the shorter first comes back in another order."""
    given = annotation(kind, IMAGES[0])
    given["points"] = given["points"][2:] + given["points"][:2]
    report = javascript.make_reports(IMAGES, [given], tmp_path)[kind]
    [found] = javascript.hydrated(report, IMAGES)[kind]
    assert distance(found["points"], given["points"][2:] + given["points"][:2]) < 1e-3


@pytest.mark.parametrize("kind", ["EllipticalROI", "RectangleROI", "PlanarFreehandROI"])
def test_regions_without_numbers_are_lost(tmp_path: Path, kind: str) -> None:
    """Their coordinates hang on the first number that there is: without one they are not written."""
    given = annotation(kind, IMAGES[0])
    del given["stats"]
    report = javascript.make_reports(IMAGES, [given], tmp_path)[kind]
    [group] = javascript.groups(report)
    assert (group["measurements"], group["coordinates"]) == ([], [])
    assert javascript.hydrated(report, IMAGES, complete=False) == {}
    with pytest.raises(AssertionError, match="No spatial coordinates"):
        javascript.hydrated(report, IMAGES)


def test_images_of_datasets() -> None:
    single = pydicom.Dataset()
    single.SOPInstanceUID, single.SOPClassUID, single.FrameOfReferenceUID = "1.2.3", CT, FRAME_OF_REFERENCE
    single.PatientName, single.Rows, single.Columns = "Doe^Jane", 80, 100
    single.PixelSpacing, single.ImagePositionPatient = [0.5, 0.25], [1, 2, 3]
    [entry] = javascript.image_entries(single)
    assert entry["PixelSpacing"] == [0.5, 0.25]
    assert (entry["PatientName"], entry["Rows"], entry["SOPInstanceUID"]) == ("Doe^Jane", 80, "1.2.3")

    measures, positions = pydicom.Dataset(), [pydicom.Dataset(), pydicom.Dataset()]
    measures.PixelSpacing = [2, 1]
    shared, frames = pydicom.Dataset(), [pydicom.Dataset(), pydicom.Dataset()]
    shared.PixelMeasuresSequence = [measures]
    for number, (position, frame) in enumerate(zip(positions, frames, strict=True)):
        position.ImagePositionPatient = [0, 0, number]
        frame.PlanePositionSequence = [position]
    multiple = pydicom.Dataset()
    multiple.SOPInstanceUID, multiple.NumberOfFrames = "1.2.4", 2
    multiple.SharedFunctionalGroupsSequence, multiple.PerFrameFunctionalGroupsSequence = [shared], frames
    found = javascript.image_entries(multiple)
    assert [(one["FrameNumber"], one["ImagePositionPatient"][2]) for one in found] == [(1, 0.0), (2, 1.0)]
    assert all(one["PixelSpacing"] == [2.0, 1.0] for one in found)


def test_a_missing_peer_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(peers, "NODE_FOLDER", tmp_path)
    monkeypatch.delenv("DICOMBRIDGE_WITHOUT_NODE", raising=False)
    with pytest.raises(AssertionError, match="npm ci"):
        javascript.hydrated(tmp_path / "x", [])
    monkeypatch.setenv("DICOMBRIDGE_WITHOUT_NODE", "1")
    with pytest.raises(pytest.skip.Exception):
        javascript.hydrated(tmp_path / "x", [])
