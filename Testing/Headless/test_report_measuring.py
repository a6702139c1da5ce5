"""What geometry measures, against arithmetic done otherwise: in oblique planes, after transforms, on images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fiducials import oblique
from support.seg_exports import segmentation_node, under_transform, volume_node

import dicombridge
from dicombridge.codes import Code, coded_entry
from dicombridge.errors import ExportError
from dicombridge.image.headers import Plane
from dicombridge.placing import pixels_to_patient
from dicombridge.report import concepts
from dicombridge.report.content import Graphic, InstanceReference
from dicombridge.report.contents import contents_of
from dicombridge.report.drawings import drawing_of
from dicombridge.report.groups import Group, Measurement, Region
from dicombridge.report.image_coordinates import (
    IN_PLANE_MM,
    ImageStack,
    in_image,
    in_space,
    patient_to_pixels,
    required_in_image,
)
from dicombridge.report.markup_regions import ellipse_of
from dicombridge.report.measuring import RADIUS, group_remeasured, measurements_of, remeasured
from dicombridge.report.statistics import segment_groups

ORIGIN = np.array([-120.5, 80.25, 700.125])


def in_plane(pairs: Any) -> Any:
    """Points of an oblique plane, far from the origin, by two coordinates in mm."""
    row, column = oblique()
    return ORIGIN + np.asarray(pairs, float) @ np.stack([row, column])


def closed(points: Any) -> Any:
    return np.vstack([points, points[:1]])


def values(found: list[Measurement]) -> dict[str, float]:
    return {f"{one.concept.meaning} {one.units.value}": one.value for one in found}  # type: ignore[union-attr,misc]


# --- Shapes ----------------------------------------------------------------------------------------------------------


def test_lengths_and_angles() -> None:
    line = Region("POLYLINE", in_plane([(0, 0), (3, 4)]))
    path = Region("POLYLINE", in_plane([(0, 0), (3, 4), (3, 10), (0, 10)]))
    angle = Region("POLYLINE", in_plane([(5, 0), (0, 0), (-5, 5)]), is_angle=True)
    assert values(measurements_of(line)) == pytest.approx({"Length mm": 5})
    assert values(measurements_of(path)) == pytest.approx({"Length mm": 14})
    assert values(measurements_of(angle)) == pytest.approx({"Angle deg": 135})
    assert measurements_of(line)[0].concept == Code("410668003", "SCT", "Length")
    assert measurements_of(line)[0].regions == (0,)


def test_a_tiny_angle_is_exact() -> None:
    arms = in_plane([(1000, 0), (0, 0), (1000, 1e-3)])
    assert measurements_of(Region("POLYLINE", arms, is_angle=True))[0].value == pytest.approx(
        np.degrees(1e-6), rel=1e-6
    )


def test_a_polygon_in_an_oblique_plane() -> None:
    # An L: 4 x 3 without 2 x 2.
    corners = [(0, 0), (4, 0), (4, 1), (2, 1), (2, 3), (0, 3)]
    # The longest diameter is from (4, 0) to (0, 3); across it, (3, 4) / 5, lie 0 for (0, 0) to 18 / 5 for (2, 3).
    expected = {"Area mm2": 8, "Perimeter mm": 14, "Long axis mm": 5, "Short axis mm": 18 / 5}
    for ring in (in_plane(corners), closed(in_plane(corners)), closed(in_plane(corners[::-1]))):
        assert values(measurements_of(Region("POLYGON", ring))) == pytest.approx(expected, abs=1e-9)
    ring = closed(in_plane(corners))
    assert values(measurements_of(Region("POLYLINE", ring))) == pytest.approx(expected, abs=1e-9)
    assert values(measurements_of(Region("POLYGON", ring), "sheet")) == pytest.approx({"Area mm2": 8})


def test_a_loop_in_no_plane_has_no_area() -> None:
    ring = closed(np.array([[0, 0, 0], [10, 0, 0], [10, 10, 5], [0, 10, 0.0]]))
    assert list(values(measurements_of(Region("POLYLINE", ring)))) == ["Perimeter mm"]


def test_many_points_against_a_circle() -> None:
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    ring = in_plane(25 * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    found = values(measurements_of(Region("POLYGON", closed(ring))))
    assert found["Area mm2"] == pytest.approx(np.pi * 625, rel=1e-5)
    assert found["Long axis mm"] == pytest.approx(50) == found["Short axis mm"]


def test_ellipses_circles_and_ellipsoids() -> None:
    ellipse = Region("ELLIPSE", in_plane([(-6, 0), (6, 0), (0, -2), (0, 2)]))
    round_one = Region("ELLIPSE", in_plane([(-6, 0), (6, 0), (0, -6), (0, 6)]))
    circle = Region("CIRCLE", in_plane([(1, 1), (4, 5)]))
    assert values(measurements_of(ellipse)) == pytest.approx(
        {"Long axis mm": 12, "Short axis mm": 4, "Area mm2": 12 * np.pi}
    )
    assert values(measurements_of(round_one)) == pytest.approx({"Diameter mm": 12, "Area mm2": 36 * np.pi})
    assert values(measurements_of(circle)) == pytest.approx({"Diameter mm": 10, "Area mm2": 25 * np.pi})
    row, column = oblique()
    axes = np.stack([3 * row, 7 * column, 5 * np.cross(row, column)])
    ends = np.concatenate([[ORIGIN - axis, ORIGIN + axis] for axis in axes])
    assert values(measurements_of(Region("ELLIPSOID", ends))) == pytest.approx(
        {"Volume mm3": 4 / 3 * np.pi * 105, "Long axis mm": 14, "Short axis mm": 10, "Perpendicular Axis mm": 6}
    )


def tetrahedron() -> list[Region]:
    corners = ORIGIN + np.array([[0, 0, 0], [6, 0, 0], [0, 5, 0], [0, 0, 4.0]])
    faces = [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]
    return [Region("POLYGON", closed(corners[list(face)])) for face in faces]


def test_closed_surfaces() -> None:
    assert values(measurements_of(tetrahedron())) == pytest.approx({"Volume mm3": 20})
    # With a face missing they enclose nothing, and each is a polygon by itself.
    assert {one.concept.meaning for one in measurements_of(tetrahedron()[:3])} >= {"Area", "Perimeter"}


def test_two_lines_are_long_and_short_axis() -> None:
    short, long = (Region("POLYLINE", in_plane(ends)) for ends in ([(0, 0), (0, 3)], [(-4, 1), (4, 1)]))
    found = measurements_of([short, long])
    assert [(one.concept.meaning, one.value, one.regions) for one in found] == [
        ("Long axis", pytest.approx(8), (1,)),
        ("Short axis", pytest.approx(3), (0,)),
    ]


@pytest.mark.parametrize("kind", ["", "arms"])
@pytest.mark.parametrize("ways", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_two_lines_apart_are_a_cobb_angle(ways: tuple[int, int], kind: str) -> None:
    """Whichever way they were drawn; lines of 30 and -10 degrees are 40 degrees apart."""
    upper = [(0, 20), (20 * np.cos(np.radians(30)), 20 + 20 * np.sin(np.radians(30)))]
    lower = [(0, 0), (20 * np.cos(np.radians(-10)), 20 * np.sin(np.radians(-10)))]
    regions = [Region("POLYLINE", in_plane(ends[::way])) for ends, way in zip((upper, lower), ways, strict=True)]
    [found] = measurements_of(regions, kind)
    assert (found.concept, found.value, found.regions) == (concepts.COBB_ANGLE, pytest.approx(40), (0, 1))
    assert found.units == concepts.DEGREE


@pytest.mark.parametrize(
    ("ends", "kind", "names"),
    [
        ([(3, -4), (4, 5)], "", ["Long axis", "Short axis"]),  # they cross
        ([(2, 0.5), (5, 6)], "", ["Long axis", "Short axis"]),  # one begins on the other, as far as a hand can
        ([(4, 2), (6, 9)], "", ["Long axis", "Short axis"]),  # 74 degrees
        ([(12, 1), (18, 9)], "", ["Cobb angle"]),  # beside its end, 53 degrees
        ([(4, 2), (6, 9)], "arms", ["Cobb angle"]),  # the user says so
        ([(0, 3), (10, 3)], "", ["Cobb angle"]),  # parallel
    ],
)
def test_axes_cross_or_stand_on_each_other(ends: Any, kind: str, names: list[str]) -> None:
    regions = [Region("POLYLINE", in_plane(one)) for one in ([(0, 0), (10, 0)], ends)]
    assert [one.concept.meaning for one in measurements_of(regions, kind)] == names
    # Of a loaded report, all is measured that it may say, of each line too.
    said = {one.concept.meaning for one in measurements_of(regions, every=True)}
    assert {"Long axis", "Short axis", "Cobb angle", "Length"} <= said


def test_points_and_missing_places_measure_nothing() -> None:
    assert measurements_of([Region("POINT", np.zeros((1, 3))), Region("POLYLINE", None)]) == []


# --- Measured again --------------------------------------------------------------------------------------------------


CENTIMETRE = Code("cm", "UCUM", "cm")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
SHEARED = np.array([[1, 0.25, 0, 5], [0, 1.5, 0, -3], [0.5, 0, 1, 7], [0, 0, 0, 1.0]])


def test_what_has_not_moved_is_kept_to_the_last_digit() -> None:
    kept = [Measurement(concepts.LENGTH, 5.01, concepts.MILLIMETRE, "5.010"), Measurement(concepts.MEAN, 3, HOUNSFIELD)]
    again, warnings = remeasured(kept, [], moved=False)
    assert (again, warnings) == (kept, [])


def test_what_follows_from_the_new_place_is_measured_and_the_rest_dropped() -> None:
    circle = Region("ELLIPSE", in_plane([(-6, 0), (6, 0), (0, -6), (0, 6)]))
    method = Code("1", "99T", "By hand")
    kept = [
        Measurement(Code("M-02550", "SRT", "Diameter"), 9.0, CENTIMETRE, "9", method),
        Measurement(RADIUS, 9.0, concepts.MILLIMETRE),
        Measurement(concepts.MEAN, 40.0, HOUNSFIELD),
        Measurement(concepts.AREA, 9.0, concepts.SQUARE_MILLIMETRE, derivation=concepts.MEAN),
        Measurement(concepts.AREA, None, concepts.SQUARE_MILLIMETRE),
        Measurement(concepts.AREA, 9.0, HOUNSFIELD),
    ]
    again, (warning,) = remeasured(kept, measurements_of(circle, every=True), moved=True)
    assert [(one.concept.value, one.value) for one in again] == [
        ("M-02550", pytest.approx(1.2)),
        (RADIUS.value, pytest.approx(6)),
        (concepts.AREA.value, pytest.approx(36 * np.pi)),
    ]
    assert (again[0].text, again[0].method, again[0].units) == ("", None, CENTIMETRE)
    assert warning.startswith("Mean, Mean Area, Area cannot")


def test_a_number_of_one_region_is_none_of_another() -> None:
    lines = [Region("POLYLINE", in_plane(ends)) for ends in ([(0, 0), (0, 3)], [(9, 9), (9, 14)], [(0, 0), (7, 0)])]
    new = measurements_of(lines, every=True)
    known, unknown = Measurement(concepts.LENGTH, 1.0, concepts.MILLIMETRE), Measurement(concepts.LENGTH, 1.0, None)
    assert remeasured([replace(known, regions=(1,))], new, True)[0][0].value == pytest.approx(5)
    assert remeasured([known], new, True)[0] == []
    assert remeasured([replace(unknown, regions=(1,))], new, True)[0] == []


def test_only_what_is_of_a_moved_region_is_measured_again() -> None:
    lines = [Region("POLYLINE", in_plane(ends)) for ends in ([(0, 0), (0, 3)], [(-4, 1), (4, 1)])]
    kept = Group(1, tracking_identifier="L", regions=lines)
    kept.measurements = [
        Measurement(concepts.LONG_AXIS, 99.0, concepts.MILLIMETRE, "99", regions=(1,)),
        Measurement(concepts.SHORT_AXIS, 99.0, concepts.MILLIMETRE, "99", regions=(0,)),
    ]
    again, warnings = group_remeasured(kept, lines, {0: (0,), 1: (1,)}, {0})
    assert [(one.value, one.text) for one in again] == [(99.0, "99"), (pytest.approx(3), "")]
    again, warnings = group_remeasured(kept, lines[1:], {1: (0,)}, set())
    assert [(one.concept.meaning, one.regions) for one in again] == [("Long axis", (0,))]
    assert warnings == ["'L': Short axis was left out with the region that it was of."]


# --- Ellipses under transforms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_an_ellipse_is_an_ellipse_after_any_linear_transform(seed: int) -> None:
    generator = np.random.default_rng(seed)
    region = Region("ELLIPSE", in_plane([(-6, 1), (8, 1), (1, -2), (1, 4)]))
    matrix, shift = generator.normal(size=(3, 3)) + np.eye(3), generator.normal(size=3) * 50
    drawing = drawing_of(region)
    assert drawing is not None
    ends = ellipse_of(drawing.points @ matrix.T + shift)
    assert ends is not None
    # Dense points of the transformed ellipse: the farthest and the nearest from its middle are the ends of the axes.
    angles = np.linspace(0, 2 * np.pi, 200_000)
    points = in_plane(np.stack([1 + 7 * np.cos(angles), 1 + 3 * np.sin(angles)], axis=1)) @ matrix.T + shift
    centre = in_plane([(1, 1)]) @ matrix.T + shift
    distances = np.linalg.norm(points - centre, axis=1)
    np.testing.assert_allclose(ends.mean(axis=0), centre[0], atol=1e-9)
    assert np.linalg.norm(ends[1] - ends[0]) / 2 == pytest.approx(distances.max(), rel=1e-8)
    assert np.linalg.norm(ends[3] - ends[2]) / 2 == pytest.approx(distances.min(), rel=1e-8)
    assert (ends[1] - ends[0]) @ (ends[3] - ends[2]) == pytest.approx(0, abs=1e-9)
    for end in ends:
        assert np.linalg.norm(points - end, axis=1).min() < 1e-2


def test_what_is_no_ellipse() -> None:
    ring = in_plane(np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], axis=1) * 9)
    assert ellipse_of(ring) is not None
    pulled = ring.copy()
    pulled[3] += 0.01
    assert ellipse_of(pulled) is None
    assert ellipse_of(ring[::2]) is None  # six points: too few to tell
    flat = np.outer(np.cos(np.arange(12) * np.pi / 6), [1.0, 2, 3])
    assert ellipse_of(flat) is None


# --- Images ----------------------------------------------------------------------------------------------------------


def plane(number: int = 0, frame: int = 0, spacing: tuple[float, float] = (1.5, 0.5), uid: str = "") -> Plane:
    row, column = oblique()
    position = ORIGIN + 4.0 * number * np.cross(row, column)
    orientation = tuple(np.concatenate([row, column]).tolist())
    return Plane(
        "", frame, "1.2", uid or f"1.{number}", "1.9", (100, 120), spacing, orientation, tuple(position.tolist()), None
    )


def stack(*planes: Plane, preferred: frozenset[str] = frozenset()) -> ImageStack:
    row, column = oblique()
    normals = np.array([np.cross(row, column)] * len(planes)).reshape(-1, 3)
    return ImageStack(list(planes), normals, np.array([one.position for one in planes]).reshape(-1, 3), preferred)


def test_pixels_by_hand_in_an_oblique_image() -> None:
    """9 mm along a row of pixels 0.5 mm wide are 18 columns; 6 mm down columns of pixels 1.5 mm high are 4 rows."""
    pixels = patient_to_pixels(plane(), in_plane([(0, 0), (9, 6), (-0.25, -0.75)]))
    np.testing.assert_allclose(pixels, [(0.5, 0.5), (18.5, 4.5), (0, 0)], atol=1e-9)
    given = np.random.default_rng(1).uniform(0, 100, (50, 2))
    np.testing.assert_allclose(patient_to_pixels(plane(), pixels_to_patient(plane(), given)), given, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "pairs", "expected"),
    [
        ("POINT", [(9, 6)], ("POINT", [(18.5, 4.5)])),
        ("MULTIPOINT", [(9, 6), (0, 0)], ("MULTIPOINT", [(18.5, 4.5), (0.5, 0.5)])),
        ("POLYLINE", [(0, 0), (9, 6)], ("POLYLINE", [(0.5, 0.5), (18.5, 4.5)])),
        ("POLYGON", [(0, 0), (9, 0), (9, 6), (0, 0)], ("POLYLINE", [(0.5, 0.5), (18.5, 0.5), (18.5, 4.5), (0.5, 0.5)])),
        (
            "ELLIPSE",
            [(1, 6), (17, 6), (9, 3), (9, 9)],
            ("ELLIPSE", [(2.5, 4.5), (34.5, 4.5), (18.5, 2.5), (18.5, 6.5)]),
        ),
    ],
)
def test_graphics_in_an_image(kind: str, pairs: Any, expected: tuple[str, Any]) -> None:
    found = in_image(Region(kind, in_plane(pairs), frame_of_reference_uid="1.9"), stack(plane(1), plane(0)))
    assert found is not None
    assert found.graphic is not None
    assert (found.type, found.graphic.type) == (expected[0], expected[0])
    np.testing.assert_allclose(found.graphic.data, expected[1], atol=1e-6)
    assert [one.sop_instance_uid for one in found.images] == ["1.0"]
    assert found.images[0].frames == ()
    again = in_space(found)
    assert again.type == kind
    np.testing.assert_allclose(again.points, in_plane(pairs), atol=1e-9)


def test_circles_are_circles_where_pixels_are_square() -> None:
    ring = Region("ELLIPSE", in_plane([(1, 6), (9, 6), (5, 2), (5, 10)]), frame_of_reference_uid="1.9")
    square = in_image(ring, stack(plane(spacing=(0.5, 0.5))))
    assert square is not None
    assert square.graphic is not None
    assert square.type == "CIRCLE"
    np.testing.assert_allclose(square.graphic.data, [(10.5, 12.5), (2.5, 12.5)], atol=1e-6)
    back = in_space(square).points
    assert back is not None
    np.testing.assert_allclose(np.linalg.norm(back - back.mean(axis=0), axis=1), 4, atol=1e-9)
    other = in_image(ring, stack(plane()))
    assert other is not None
    assert other.type == "ELLIPSE"


def test_which_plane_is_meant() -> None:
    row, column = oblique()
    normal = np.cross(row, column)
    line = Region("POLYLINE", in_plane([(0, 0), (9, 6)]) + 0.5 * IN_PLANE_MM * normal)
    frames = [plane(0, 7, uid="1.5"), plane(0, 3, uid="1.6"), plane(1, 8, uid="1.5")]
    first = in_image(line, stack(*frames))
    shown = in_image(line, stack(*frames, preferred=frozenset({"1.6"})))
    loaded = in_image(line, stack(*frames, preferred=frozenset({"1.6"})), ["1.5"])
    assert [one.images[0].frames for one in (first, shown, loaded) if one] == [(7,), (3,), (7,)]


@pytest.mark.parametrize(
    "what", ["between slices", "beside the pixels", "another frame of reference", "oblique", "solid"]
)
def test_what_lies_in_no_image(what: str) -> None:
    row, column = oblique()
    normal = np.cross(row, column)
    points = in_plane([(0, 0), (9, 6)])
    kind, frame = "POLYLINE", "1.9"
    if what == "between slices":
        points = points + 0.2 * normal
    elif what == "beside the pixels":
        points = points - 2 * row
    elif what == "another frame of reference":
        frame = "1.8"
    elif what == "oblique":
        points[1] += 0.2 * normal
    else:
        kind, points = "ELLIPSOID", np.repeat(points, 3, axis=0)
    region = Region(kind, points, frame_of_reference_uid=frame)
    assert in_image(region, stack(plane())) is None
    with pytest.raises(ExportError, match=r"'it'.*leave it out"):
        required_in_image(region, stack(plane()), "it")
    with pytest.raises(ExportError, match="source="):
        required_in_image(region, stack(), "it")


def test_what_is_in_an_image_already_stays() -> None:
    region = Region("POINT", in_plane([(0, 0)]), Graphic("POINT", np.array([[3.0, 4.0]])))
    assert in_image(region, stack()) is region


# --- Segments --------------------------------------------------------------------------------------------------------


def segments(scene: Any, known: bool = True) -> tuple[Any, Any, dict[str, Any], Any]:
    generator = np.random.default_rng(5)
    marks = generator.integers(0, 3, (5, 12, 10))
    masks = {"liver": marks == 1, "spleen": marks == 2}
    voxels = generator.normal(50, 20, marks.shape)
    node, volume = segmentation_node(scene, masks), volume_node(scene, voxels)
    volume.SetVoxelValueQuantity(coded_entry(ATTENUATION))
    volume.SetVoxelValueUnits(coded_entry(HOUNSFIELD))
    if known:
        node.SetAttribute("DICOM.instanceUIDs", "1.2.77")
        for number in range(2):
            node.GetSegmentation().GetNthSegment(number).SetTag("DICOMBridge.SegmentNumber", str(number + 3))
    return node, volume, masks, voxels


def test_segments_are_measured(scene: Any) -> None:
    node, volume, masks, voxels = segments(scene)
    groups = segment_groups(node, None, volume)
    assert [one.tracking_identifier for one in groups] == ["liver", "spleen"]
    assert [one.segments for one in groups] == [
        [InstanceReference("1.2.840.10008.5.1.4.1.1.66.4", "1.2.77", (), (number,))] for number in (3, 4)
    ]
    for group, mask in zip(groups, masks.values(), strict=True):
        inside = voxels[mask]
        size, *rest = group.measurements
        assert (size.concept, size.value) == (concepts.VOLUME, pytest.approx(mask.sum() * 0.8 * 0.9 * 2.5))
        assert {(one.concept, one.units) for one in rest} == {(ATTENUATION, HOUNSFIELD)}
        assert {one.derivation.meaning: one.value for one in rest if one.derivation} == pytest.approx(
            {
                "Mean": inside.mean(), "Minimum": inside.min(), "Maximum": inside.max(),
                "Standard Deviation": inside.std(ddof=1), "Median": np.median(inside),
            }
        )  # fmt: skip


def test_segments_and_images_on_other_grids_and_under_transforms(scene: Any) -> None:
    node, _, masks, _ = segments(scene)
    affine = np.array([[1.6, 0, 0, -11.0], [0, 1.8, 0, 22.0], [0, 0, 2.5, -33.0], [0, 0, 0, 1.0]])
    voxels = np.random.default_rng(6).normal(size=(5, 6, 5))
    volume = volume_node(scene, voxels, affine)
    coarse = masks["liver"][:, ::2, ::2]
    for _ in range(2):
        group = segment_groups(node, None, volume)[0]
        means = [one.value for one in group.measurements if one.concept == concepts.MEAN]
        assert means == [pytest.approx(voxels[coarse].mean())]
        transform = under_transform(node, SHEARED)
        volume.SetAndObserveTransformNodeID(transform.GetID())


def test_segments_of_no_object(scene: Any, tmp_path: Path) -> None:
    node, volume, _, _ = segments(scene, known=False)
    with pytest.raises(ExportError, match="export the segmentation as SEG first, and pass segmentation="):
        segment_groups(node, None, volume)
    (path,) = dicombridge.export([node], tmp_path, "SEG", source=volume)
    groups = segment_groups(node, None, volume, path)
    assert [one.segments[0].segments for one in groups] == [(1,), (2,)]
    assert groups[0].segments[0].sop_instance_uid in path.name
    added = node.GetSegmentation().AddEmptySegment("late", "late")
    assert added
    with pytest.raises(ExportError, match="has no segment 'late'"):
        segment_groups(node, None, volume, path)


def statistics_table(scene: Any, names: list[str]) -> Any:
    """A table as Slicer's SegmentStatisticsLogic.exportToTable makes it."""
    import vtk

    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Statistics")
    table.AddColumn().SetName("Segment")
    columns: dict[str, tuple[dict[str, str], list[float]]] = {
        "Volume mm3 (LM)": ({"Quantity": "118565006|SCT|Volume", "Units": "mm3|UCUM|cubic millimeter"}, [10.5, 20.5]),
        "Voxel count": ({"Quantity": "nvoxels|99QIICR|Number of voxels", "Units": "voxels|UCUM|voxels"}, [7, np.nan]),
        "Median": (
            {"Quantity": "112031|DCM|Attenuation Coefficient", "Units": "[hnsf'U]|UCUM|Hounsfield unit",
             "Derivation": "median|SCT|Median"}, [1.5, 2.5]),
        "Mean": ({"Quantity": "||", "Units": "||", "Derivation": "373098007|SCT|Mean"}, [3.5, 4.5]),
        "Roundness": ({}, [0.5, 0.5]),
    }  # fmt: skip
    for name, (codes, _) in columns.items():
        table.AddColumn(vtk.vtkDoubleArray()).SetName(name)
        for kind, code in codes.items():
            value, scheme, meaning = code.split("|")
            text = f"CodeValue:{value}|CodingSchemeDesignator:{scheme}|CodeMeaning:{meaning}"
            table.SetColumnProperty(name, f"DICOM.{kind}Code", text)
    for row, name in enumerate(names):
        table.AddEmptyRow()
        table.GetTable().GetColumn(0).SetValue(row, name)
        for column, (_, cells) in enumerate(columns.values(), start=1):
            table.GetTable().GetColumn(column).SetValue(row, cells[row % 2])
    return table


def test_a_table_of_segment_statistics(scene: Any) -> None:
    node, _, _, _ = segments(scene)
    table = statistics_table(scene, ["spleen", "id-1", "heart"])
    contents = contents_of([node, table], None)
    spleen, liver = contents.groups
    assert [one.tracking_identifier for one in contents.groups] == ["spleen", "liver"]
    assert [one.segments[0].segments for one in contents.groups] == [(4,), (3,)]
    assert [(m.concept.meaning, m.derivation and m.derivation.value, m.units and m.units.value, m.value)
            for m in spleen.measurements] == [
        ("Volume", None, "mm3", 10.5), ("Number of voxels", None, "{voxels}", 7.0),
        ("Attenuation Coefficient", "373099004", "[hnsf'U]", 1.5), ("Mean", None, "1", 3.5),
    ]  # fmt: skip
    assert [one.concept.meaning for one in liver.measurements] == ["Volume", "Attenuation Coefficient", "Mean"]
    assert any("'Roundness'" in text for text in contents.warnings)
    assert any("'heart' are none of 'Mine'" in text for text in contents.warnings)
