"""Nodes -> measurement groups: new markups, loaded ones, transforms, images, segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from support.fiducials import oblique
from support.rt_structures import Images, write_images
from support.seg_exports import under_transform

import dicombridge
from dicombridge.codes import Code, Terminology, terminology_tag
from dicombridge.errors import ExportError
from dicombridge.report import concepts
from dicombridge.report.content import Graphic, InstanceReference
from dicombridge.report.contents import GROUP_NAME_ATTRIBUTE, ContentOptions, Contents, contents_of
from dicombridge.report.groups import Group, Measurement, Region, Site
from dicombridge.report.kept import MARKUPS_ROLE, REPORT_ROLE
from dicombridge.report.nodes import TERMINOLOGY_ATTRIBUTE, add_shapes, shapes_of
from dicombridge.shadow import remember

HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
CATEGORY = Code("49755003", "SCT", "Morphologically Abnormal Structure")
MASS, CYST = Code("4147007", "SCT", "Mass"), Code("367643001", "SCT", "Cyst")
KIDNEY, LEFT, UPPER = Code("64033007", "SCT", "Kidney"), Code("7771000", "SCT", "Left"), Code("1", "99T", "Upper pole")
FRAME = "1.2.3.4"
SHEARED = np.array([[1, 0.25, 0, 5], [0, 1.5, 0, -3], [0.5, 0, 1, 7], [0, 0, 0, 1.0]])


def add(scene: Any, node_class: str, name: str, lps: Any = ()) -> Any:
    node = scene.AddNewNodeByClass(f"vtkMRMLMarkups{node_class}Node", name)
    for number, (x, y, z) in enumerate(np.asarray(lps, float).tolist()):
        node.AddControlPointWorld(-x, -y, z)
        node.SetNthControlPointLabel(number, f"{name}{number}")
    if "Curve" in node_class:
        node.SetCurveTypeToLinear()
    return node


def move(node: Any, number: int = 0, by: float = 2.0) -> None:
    position = list(node.GetNthControlPointPosition(number))
    position[2] += by
    node.SetNthControlPointPosition(number, *position)


def loaded(scene: Any, *groups: Group) -> list[Any]:
    """The nodes of groups, as the library loads them, and their table."""
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Report")
    header = Dataset()
    header.SOPInstanceUID, header.SOPClassUID = "1.2.9", "1.2.840.10008.5.1.4.1.1.88.34"
    remember(table, header)
    nodes = add_shapes(scene, shapes_of(groups, "Report", 100), "1.2.9", "Report", 100)
    for node in nodes:
        node.SetNodeReferenceID(REPORT_ROLE, table.GetID())
        table.AddNodeReferenceID(MARKUPS_ROLE, node.GetID())
    return [table, *nodes]


def region(kind: str, points: Any, **values: Any) -> Region:
    points = np.asarray(points, float)
    return Region(kind, points, Graphic(kind, points, FRAME), FRAME, **values)


def lesion(number: int = 1, points: Any = ((0, 0, 0), (3, 4, 0)), kind: str = "POLYLINE") -> Group:
    return Group(
        number, (1, 4, number), "1410", tracking_identifier=f"Lesion {number}", tracking_uid=f"1.5.{number}",
        finding=MASS, sites=(Site(KIDNEY, LEFT),), regions=[region(kind, points)],
        measurements=[
            Measurement(concepts.LENGTH, 5.001, concepts.MILLIMETRE, "5.001", regions=(0,)),
            Measurement(concepts.MEAN, 40.0, HOUNSFIELD, "40"),
        ],
    )  # fmt: skip


def labels(contents: Contents) -> list[str]:
    return [group.tracking_identifier for group in contents.groups]


def numbers(group: Group) -> dict[str, Any]:
    return {one.concept.meaning: one.value for one in group.measurements}


# --- New markups -----------------------------------------------------------------------------------------------------


def test_each_new_node_is_a_group(scene: Any) -> None:
    nodes = [
        add(scene, "Line", "line", [(0, 0, 0), (3, 4, 0)]),
        add(scene, "Angle", "angle", [(5, 0, 0), (0, 0, 0), (0, 5, 0)]),
        add(scene, "Curve", "path", [(0, 0, 0), (3, 4, 0), (3, 10, 0)]),
        add(scene, "ClosedCurve", "ring", [(0, 0, 0), (4, 0, 0), (4, 3, 0), (0, 3, 0)]),
        add(scene, "Fiducial", "P", [(1, 2, 3), (4, 5, 6)]),
    ]
    nodes[0].SetNthControlPointDescription(0, "seen twice")
    nodes[4].SetNthControlPointDescription(1, "the second")
    contents = contents_of(nodes, None)
    assert [(one.number, one.tracking_identifier) for one in contents.groups] == [
        (1, "line"), (2, "angle"), (3, "path"), (4, "ring"), (5, "P0"), (6, "P1"),
    ]  # fmt: skip
    line, angle, path, ring, _, point = contents.groups
    assert [one.regions[0].type for one in contents.groups] == ["POLYLINE"] * 3 + ["POLYGON", "POINT", "POINT"]
    assert [numbers(one) for one in (line, angle, path)] == [
        {"Length": pytest.approx(5)}, {"Angle": pytest.approx(90)}, {"Length": pytest.approx(11)},
    ]  # fmt: skip
    assert numbers(ring)["Area"] == pytest.approx(12)
    assert angle.regions[0].is_angle
    np.testing.assert_allclose(ring.regions[0].points, [(0, 0, 0), (4, 0, 0), (4, 3, 0), (0, 3, 0), (0, 0, 0)])
    np.testing.assert_allclose(point.regions[0].points, [(4, 5, 6)])
    assert (line.comment, point.comment) == ("seen twice", "the second")
    frames = {one.regions[0].frame_of_reference_uid for one in contents.groups}
    assert len(frames) == 1
    assert frames != {""}
    assert (contents.table, contents.report_uid, contents.kept) == (None, "", None)


def test_plane_and_box(scene: Any) -> None:
    plane, box = add(scene, "Plane", "plane"), add(scene, "ROI", "box")
    plane.SetCenter([0, 0, 10])
    plane.SetNormal([0, 0, 1])
    plane.SetSize(10, 20)
    box.SetCenter([1, 2, 3])
    box.SetSize([10, 20, 30])
    under_transform(box, SHEARED)
    first, second = contents_of([plane, box], None).groups
    assert numbers(first) == {"Area": pytest.approx(200)}
    assert first.regions[0].type == "POLYGON"
    assert len(second.regions) == 6
    assert {one.purpose for one in second.regions} == {concepts.VOLUME_SURFACE}
    assert numbers(second)["Volume"] == pytest.approx(6000 * np.linalg.det(SHEARED[:3, :3]))
    corners = np.unique(
        np.round(np.vstack([one.points for one in second.regions if one.points is not None]), 6), axis=0
    )
    ras = np.array([[x, y, z] for x in (-4, 6) for y in (-8, 12) for z in (-12, 18)]) @ SHEARED[:3, :3].T
    expected = (ras + SHEARED[:3, 3]) * [-1, -1, 1]
    np.testing.assert_allclose(corners, expected[np.lexsort(expected.T[::-1])], atol=1e-6)


def test_a_spline_is_written_as_it_runs(scene: Any) -> None:
    node = add(scene, "ClosedCurve", "ring", [(10, 0, 0), (0, 10, 0), (-10, 0, 0), (0, -10, 0)])
    node.SetCurveTypeToCardinalSpline()
    (group,) = contents_of([node], None).groups
    points = group.regions[0].points
    assert points is not None
    assert len(points) > 20
    np.testing.assert_array_equal(points[0], points[-1])
    assert 220 < numbers(group)["Area"] < 330


def test_a_closed_curve_in_no_plane_is_no_polygon(scene: Any) -> None:
    node = add(scene, "ClosedCurve", "bent", [(0, 0, 0), (9, 0, 0), (9, 9, 5), (0, 9, 0)])
    contents = contents_of([node], None)
    assert contents.groups[0].regions[0].type == "POLYLINE"
    assert list(numbers(contents.groups[0])) == ["Perimeter"]
    assert "lies in no plane" in contents.warnings[0]


def test_nodes_of_one_name_are_one_group(scene: Any) -> None:
    nodes = [add(scene, "Line", "a", [(0, 0, 0), (8, 0, 0)]), add(scene, "Line", "b", [(1, 0, 0), (1, 3, 0)])]
    for node in nodes:
        node.SetAttribute(GROUP_NAME_ATTRIBUTE, "Target 1")
    (group,) = contents_of(nodes, None).groups
    assert group.tracking_identifier == "Target 1"
    assert numbers(group) == {"Long axis": pytest.approx(8), "Short axis": pytest.approx(3)}


def test_lines_that_are_called_a_cobb_angle(scene: Any) -> None:
    """A wide one looks like two axes."""
    steep = (9 * np.cos(np.radians(70)), 3 + 9 * np.sin(np.radians(70)), 0)
    ends = ([(0, 0, 0), (9, 0, 0)], [(0, 3, 0), steep])
    for name, said in (("Cobb T5-L1", {"Cobb angle": 70}), ("Target", {"Long axis": 9, "Short axis": 9})):
        nodes = [add(scene, "Line", f"{name} {number}", one) for number, one in enumerate(ends)]
        for node in nodes:
            node.SetAttribute(GROUP_NAME_ATTRIBUTE, name)
        (group,) = contents_of(nodes, None).groups
        assert numbers(group) == pytest.approx(said)


def test_what_a_new_node_is_said_to_be(scene: Any) -> None:
    nodes = [add(scene, "Line", name, [(0, 0, 0), (8, 0, 0)]) for name in "abc"]
    for node, modifier in zip(nodes, (LEFT, UPPER, None), strict=True):
        said = Terminology(CATEGORY, MASS, LEFT if modifier is None else None, KIDNEY, modifier)
        node.SetAttribute(TERMINOLOGY_ATTRIBUTE, terminology_tag(said))
    contents = contents_of(nodes, None)
    assert {(one.category, one.finding) for one in contents.groups} == {(CATEGORY, MASS)}
    assert [one.sites[0] for one in contents.groups] == [Site(KIDNEY, LEFT), Site(KIDNEY, None, (UPPER,)), Site(KIDNEY)]
    assert "'Left' was left out" in contents.warnings[0]


def test_points_without_position_are_left_out(scene: Any) -> None:
    points = add(scene, "Fiducial", "P", [(1, 2, 3), (4, 5, 6)])
    points.SetNthControlPointPositionMissing(0)
    contents = contents_of([points], None)
    assert labels(contents) == ["P1"]
    assert contents.warnings == ["'P': 1 points without a position were left out."]


def test_what_cannot_be_written(scene: Any) -> None:
    line = add(scene, "Line", "half", [(1, 2, 3)])
    nowhere = add(scene, "Line", "nowhere", [(1, 2, 3), (np.nan, 0, 0)])
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "skin")
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode", "view")
    empty = add(scene, "Fiducial", "none")
    for node, message in (
        (line, "'half' has 1 points.*complete it"), (nowhere, "'nowhere' has a point that is not finite"),
        (model, "'skin' comes from no structured report"), (camera, "vtkMRMLCameraNode cannot be exported"),
        (empty, "nothing to report in 'none'"),
    ):  # fmt: skip
        with pytest.raises(ExportError, match=message):
            contents_of([node], None)
    with pytest.raises(ExportError, match="coordinates is"):
        contents_of([line], None, None, ContentOptions(coordinates="both"))


# --- Loaded markups --------------------------------------------------------------------------------------------------


def test_what_has_not_moved_is_as_it_was(scene: Any) -> None:
    circle = [(0.1, 0.2, 0.3), (6.7, 0.2, 0.3), (3.4, -3.1, 0.3), (3.4, 3.5, 0.3)]
    row, column = oblique()
    axes = np.stack([3 * row, 7 * column, 5 * np.cross(row, column)])
    solid = np.concatenate([[9 - axis, 9 + axis] for axis in axes]).astype(np.float32)
    before = [
        lesion(1), lesion(2, circle, "ELLIPSE"), lesion(3, solid, "ELLIPSOID"),
        lesion(4, [(0, 0, 0), (9, 0, 0), (9, 9, 0), (0, 0, 0)], "POLYGON"), lesion(5, [(1, 2, 3)], "POINT"),
        lesion(6, [(1, 2, 3), (4, 5, 6)], "MULTIPOINT"),
    ]  # fmt: skip
    table, *markups = loaded(scene, *before)
    for nodes in ([table], markups[::-1]):
        contents = contents_of(nodes, None)
        assert [one.number for one in contents.groups] == [1, 2, 3, 4, 5, 6]
        assert contents.warnings == []
        assert (contents.table, contents.report_uid) == (table, "1.2.9")
        assert contents.kept is not None
        for one, other in zip(before, contents.groups, strict=True):
            assert [m.text for m in other.measurements] == ["5.001", "40"]
            assert (other.tracking_uid, other.finding, other.sites) == (one.tracking_uid, one.finding, one.sites)
            (now,) = other.regions
            assert now.graphic is not None
            np.testing.assert_array_equal(now.graphic.data, one.regions[0].points)
            assert now.type == one.regions[0].type


def test_what_has_moved_is_measured_again(scene: Any) -> None:
    _, first, second = loaded(scene, lesion(1), lesion(2))
    move(first, 1, by=12)
    contents = contents_of([first, second], None)
    assert numbers(contents.groups[0]) == {"Length": pytest.approx(13)}
    assert contents.groups[0].tracking_uid == "1.5.1"
    assert contents.groups[0].regions[0].graphic is None
    assert contents.groups[0].regions[0].frame_of_reference_uid == FRAME
    assert numbers(contents.groups[1]) == {"Length": 5.001, "Mean": 40}
    assert contents.warnings == [
        "'Lesion 1' has moved: Mean cannot be measured from the new place alone and was left out."
    ]


def test_a_circle_under_a_shear_is_an_ellipse(scene: Any) -> None:
    _, node = loaded(scene, lesion(1, [(-6, 0, 0), (6, 0, 0), (0, -6, 0), (0, 6, 0)], "ELLIPSE"))
    under_transform(node, SHEARED)
    contents = contents_of([node], None)
    (group,) = contents.groups
    assert group.regions[0].type == "ELLIPSE"
    # A circle of radius 6 in the plane z = 0, in LPS: its conjugate radii are the first two columns.
    radii = 6 * (np.diag([-1, -1, 1]) @ SHEARED[:3, :3] @ np.diag([-1, -1, 1]))[:, :2]
    points = group.regions[0].points
    assert points is not None
    expected = 2 * np.linalg.svd(radii)[1]
    np.testing.assert_allclose(np.linalg.norm(points[1::2] - points[::2], axis=1), expected, atol=1e-9)
    assert "does not say into which frame of reference" in contents.warnings[0]


def test_two_lines_of_one_group_stay_one_group(scene: Any) -> None:
    group = lesion(1)
    group.regions.append(region("POLYLINE", [(0, 0, 0), (0, 0, 2)]))
    group.measurements = [
        Measurement(concepts.LONG_AXIS, 5.0, concepts.MILLIMETRE, "5.0", regions=(0,)),
        Measurement(concepts.SHORT_AXIS, 2.0, concepts.MILLIMETRE, "2.0", regions=(1,)),
    ]
    _, long, short = loaded(scene, group)
    (same,) = contents_of([short, long], None).groups
    assert [one.graphic is not None for one in same.regions] == [True, True]
    assert [one.text for one in same.measurements] == ["5.0", "2.0"]
    assert same.tracking_identifier == "Lesion 1"
    move(short, 1, by=1)
    (moved,) = contents_of([short, long], None).groups
    assert [(one.value, one.text) for one in moved.measurements] == [(5.0, "5.0"), (pytest.approx(3), "")]
    scene.RemoveNode(long)
    contents = contents_of([short], None)
    assert [one.regions for one in contents.groups[0].measurements] == [(0,)]
    assert "Long axis was left out with the region" in contents.warnings[0]


def test_boxes_come_back_as_faces(scene: Any) -> None:
    made = add(scene, "ROI", "box")
    made.SetSize([10, 20, 30])
    (new,) = contents_of([made], None).groups
    faces = [region("POLYGON", np.asarray(one.points).astype(np.float32), purpose=one.purpose) for one in new.regions]
    before = Group(1, tracking_identifier="box", regions=faces, measurements=new.measurements)
    for one in before.regions:
        one.frame_of_reference_uid = FRAME
    _, node = loaded(scene, before)
    assert node.IsA("vtkMRMLMarkupsROINode")
    (same,) = contents_of([node], None).groups
    assert all(one.graphic is not None for one in same.regions)
    node.SetSize([10, 20, 60])
    (longer,) = contents_of([node], None).groups
    assert len(longer.regions) == 6
    assert numbers(longer)["Volume"] == pytest.approx(12000)


def test_a_list_of_points(scene: Any) -> None:
    before = [
        Group(number, tracking_identifier=f"P{number}", tracking_uid=f"1.6.{number}", finding=MASS,
              regions=[region("POINT", [(number, 0, 0)])])
        for number in (1, 2, 3)
    ]  # fmt: skip
    _, node = loaded(scene, *before)
    node.RemoveNthControlPoint(1)
    move(node, 0)
    node.SetNthControlPointLabel(1, "apex")
    node.SetNthControlPointDescription(1, "of the lung")
    node.AddControlPointWorld(9, 9, 9)
    contents = contents_of([node], None)
    assert [(one.number, one.tracking_uid) for one in contents.groups] == [(1, "1.6.1"), (3, "1.6.3"), (4, "")]
    assert labels(contents)[:2] == ["P1", "apex"]
    assert contents.groups[1].comment == "of the lung"
    np.testing.assert_allclose(contents.groups[0].regions[0].points, [(1, 0, 2)])
    assert contents.groups[1].regions[0].graphic is not None


def test_what_was_said_of_a_node_since_it_was_loaded(scene: Any) -> None:
    group = lesion(1)
    group.category, group.sites = None, (Site(KIDNEY, LEFT, (UPPER,)), Site(CYST))
    _, node = loaded(scene, group)
    (same,) = contents_of([node], None).groups
    assert (same.category, same.sites) == (None, group.sites)
    node.SetAttribute(TERMINOLOGY_ATTRIBUTE, terminology_tag(Terminology(CATEGORY, CYST, None, KIDNEY, LEFT)))
    (other,) = contents_of([node], None).groups
    assert (other.category, other.finding, other.sites) == (None, CYST, group.sites)
    node.SetAttribute(TERMINOLOGY_ATTRIBUTE, terminology_tag(Terminology(CATEGORY, MASS, None, MASS, LEFT)))
    (other,) = contents_of([node], None).groups
    assert (other.finding, other.sites) == (MASS, (Site(MASS, LEFT), Site(CYST)))


def test_new_names(scene: Any) -> None:
    of_viewer = lesion(2)
    of_viewer.tracking_identifier, of_viewer.comment = "Cornerstone3DTools@^0.1.0:Length", "spot"
    _, plain, viewer = loaded(scene, lesion(1), of_viewer)
    assert labels(contents_of([plain, viewer], None)) == ["Lesion 1", of_viewer.tracking_identifier]
    plain.SetName("Target")
    viewer.SetName("Spot 7 of the liver, a new spot")
    assert contents_of([viewer], None).groups[0].comment == "Spot 7 of the liver, a new spot"
    viewer.SetName("Target 2")
    contents = contents_of([plain, viewer], None)
    assert labels(contents) == ["Target", of_viewer.tracking_identifier]
    assert contents.groups[1].comment == "Target 2"


def test_a_copied_node_is_another_finding(scene: Any) -> None:
    group = lesion(1)
    group.measurements = []  # vtkMRMLMeasurement::Copy frees codes twice
    _, node = loaded(scene, group)
    copy = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "Copy")
    copy.Copy(node)
    copy.SetName("Lesion 1 copy")
    first, second = contents_of([node, copy], None).groups
    assert (first.tracking_uid, second.tracking_uid) == ("1.5.1", "")
    assert (second.number, second.tracking_identifier) == (2, "Lesion 1 copy")


def test_groups_that_no_node_shows_come_with_the_table(scene: Any) -> None:
    hidden = Group(2, segments=[InstanceReference("1.1", "1.2.7", (), (3,))])
    missing = Group(4, regions=[Region("POINT", None, Graphic("POINT", np.array([[1.0, 2.0]])))])
    deleted, shown = lesion(3), lesion(1)
    table, node, gone = loaded(scene, shown, deleted)
    scene.RemoveNode(gone)
    options = ContentOptions(document=[shown, hidden, deleted, missing])
    assert [one.number for one in contents_of([table], None, None, options).groups] == [1, 2, 4]
    assert [one.number for one in contents_of([node], None, None, options).groups] == [1]


# --- Images ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Images:
    row, column = oblique()
    return write_images(tmp_path / "ct", orientation=[*row, *column], spacing=(1.5, 0.5), step=2.0)


@pytest.fixture
def database(images: Images) -> Iterator[Any]:
    with dicombridge.open_folder(images.folder) as database:
        yield database


def test_coordinates_in_images(scene: Any, images: Images, database: Any) -> None:
    line = add(scene, "Line", "line", images.lps([(3, 0, 0), (3, 4, 18)]))
    slant = add(scene, "Line", "slant", images.lps([(3, 0, 0), (4, 4, 18)]))
    options = ContentOptions(coordinates="image")
    contents = contents_of([line, slant], database, images.series, options)
    first, second = (one.regions[0] for one in contents.groups)
    assert first.graphic is not None
    np.testing.assert_allclose(first.graphic.data, [(0.5, 0.5), (18.5, 4.5)], atol=1e-6)
    assert [one.sop_instance_uid for one in first.images] == [images.uids[3]]
    assert first.frame_of_reference_uid == images.frame_of_reference
    assert (second.graphic, second.images) == (None, ())
    assert "'slant' lies in no slice of the source images (within 0.1 mm)" in contents.warnings[0]
    assert contents.source.header.SeriesInstanceUID == images.series
    with pytest.raises(ExportError, match="'slant' lies in no slice"):
        contents_of([line, slant], database, images.series, ContentOptions(profile="ohif"))
    (space,) = contents_of([line], database, images.series).groups
    assert space.regions[0].graphic is None
    assert space.regions[0].frame_of_reference_uid == images.frame_of_reference


def test_images_without_database(scene: Any, images: Images) -> None:
    line = add(scene, "Line", "line", images.lps([(3, 0, 0), (3, 4, 18)]))
    options = ContentOptions(coordinates="image")
    (group,) = contents_of([line], None, images.folder, options).groups
    graphic = group.regions[0].graphic
    assert graphic is not None
    np.testing.assert_allclose(graphic.data, [(0.5, 0.5), (18.5, 4.5)], atol=1e-6)


def test_what_was_loaded_in_an_image_stays_in_images(scene: Any, images: Images, database: Any) -> None:
    image = InstanceReference("1.2.840.10008.5.1.4.1.1.2", images.uids[3])
    pixels = np.array([(0.5, 0.5), (18.5, 4.5)])
    placed = Region(
        "POLYLINE",
        images.lps([(3, 0, 0), (3, 4, 18)]),
        Graphic("POLYLINE", pixels),
        images.frame_of_reference,
        (image,),
    )
    _, node = loaded(scene, Group(1, tracking_identifier="L", regions=[placed]))
    (same,) = contents_of([node], database).groups
    assert same.regions[0].graphic is not None
    np.testing.assert_array_equal(same.regions[0].graphic.data, pixels)
    ends = images.lps([(2, 0, 0), (2, 4, 16)]) * [-1, -1, 1]
    for number, end in enumerate(ends):
        node.SetNthControlPointPosition(number, *end)
    (moved,) = contents_of([node], database).groups
    assert moved.regions[0].graphic is not None
    np.testing.assert_allclose(moved.regions[0].graphic.data, [(0.5, 0.5), (16.5, 4.5)], atol=1e-6)
    assert moved.regions[0].images[0].sop_instance_uid == images.uids[2]
    (space,) = contents_of([node], database, None, ContentOptions(coordinates="patient")).groups
    assert space.regions[0].graphic is None
    np.testing.assert_allclose(space.regions[0].points, images.lps([(2, 0, 0), (2, 4, 16)]), atol=1e-9)
