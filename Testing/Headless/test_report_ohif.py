"""The profile for OHIF: Cornerstone3D's adapters take up what is written, and others read it too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import javascript
from support.sr_groups import (
    CT,
    FRAME_OF_REFERENCE,
    LEFT,
    LIVER,
    MASS,
    SERIES,
    SLICE,
    STUDY,
    TRACKING_UID,
    complaints,
    groups_of,
    line,
    read_by_highdicom,
    read_by_us,
    written,
)
from test_report_template import case

from dicombridge.codes import Code
from dicombridge.errors import ExportError
from dicombridge.report import concepts, template
from dicombridge.report.content import Graphic
from dicombridge.report.groups import Group, Measurement, Region, Site

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


def test_tools_that_a_group_has_outgrown(tmp_path: Path) -> None:
    outgrown = drawn_group("line", tracking_identifier="Cornerstone3DTools@^0.1.0:Bidirectional", comment="one axis")
    [found] = hydrated(written(tmp_path, outgrown, profile="ohif"))
    assert (found["tool"], found["label"]) == ("Length", "one axis")


def test_regions_outside_of_images_are_refused() -> None:
    with pytest.raises(ExportError, match=r"'tilted'.*plane of an image"):
        template.group_items(Group(1, tracking_identifier="tilted", regions=[line()]), "ohif")


def test_groups_without_regions_are_as_in_the_standard() -> None:
    _, group = case("segment")
    assert template.group_items(group, "ohif") == template.group_items(group)
