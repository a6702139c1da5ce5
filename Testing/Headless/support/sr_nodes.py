"""What a loaded report shows, as plain values, and whether it is what a report says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicombridge.codes import Code
from dicombridge.report.groups import Group
from dicombridge.report.kept import KeptGroups, group_values, kept_groups
from support.sr_objects import Expected, ExpectedGroup, ExpectedRegion, Pair

MARKUPS = "vtkMRMLMarkupsNode"
MODEL = "vtkMRMLModelNode"
TOLERANCE_MM = 1e-3
MANY = 5000
"""Points of a region that its node does not keep a second time."""


def markups_of(nodes: Sequence[Any]) -> list[Any]:
    """Return the markups and models among nodes."""
    return [node for node in nodes if node.IsA(MARKUPS) or node.IsA("vtkMRMLModelNode")]


def lps_points(node: Any) -> NDArray[np.float64]:
    """Return the control points of markups where they are in the world, (n, 3) LPS mm."""
    points = [node.GetNthControlPointPositionWorld(number) for number in range(node.GetNumberOfControlPoints())]
    return np.array([(-x, -y, z) for x, y, z in points]).reshape(-1, 3)


def column_of(table: Any, name: str) -> list[Any]:
    """Return the values of a column of a table node."""
    array = table.GetTable().GetColumnByName(name)
    assert array is not None, f"{name} is not among {column_names(table)}"
    return [array.GetValue(row) for row in range(array.GetNumberOfValues())]


def column_names(table: Any) -> list[str]:
    """Return the names of a table's columns."""
    return [table.GetTable().GetColumnName(number) for number in range(table.GetNumberOfColumns())]


def pair(code: Any) -> Pair | None:
    """Return value and scheme of a code, of retired SNOMED codes those that replaced them."""
    from dicombridge.report.concepts import key

    return key(code) if code is not None else None


def current(said: Pair | None) -> Pair | None:
    """Return a code that a report says, a retired SNOMED one as that which replaced it."""
    return pair(Code(*said, "")) if said is not None else None


def shown(nodes: Sequence[Any]) -> dict[int, list[tuple[Any, KeptGroups]]]:
    """Return the nodes that show each group, by its number; a list of points is under each of its groups."""
    found: dict[int, list[tuple[Any, KeptGroups]]] = {}
    for node in markups_of(nodes):
        kept = kept_groups(node)
        assert kept is not None
        for group in kept.groups.values():
            found.setdefault(group.number, []).append((node, kept))
    return found


def assert_says(group: Group, said: ExpectedGroup) -> None:
    """Compare a group's words and numbers with what a report says."""
    assert group.tracking_identifier == said.tracking_identifier or group.is_loose
    assert group.tracking_uid == said.tracking_uid
    assert (pair(group.finding) == current(said.finding)) or group.is_loose
    assert pair(group.category) == said.category
    assert list(map(sides, group.sites)) == list(map(_sides, said.sites))
    assert group.activity_session == said.session
    if said.method is not None:
        assert pair(group.method) == said.method
    assert _of_algorithm(group.algorithm) == said.algorithm
    point = group.time_point
    if point is None:
        assert said.time_point == {}
    else:
        found = {
            "label": point.label, "type": pair(point.type), "order": point.order,
            "subject": point.subject_identifier, "protocol": point.protocol_identifier,
        }  # fmt: skip
        assert {name: value for name, value in found.items() if value not in (None, "")} == said.time_point
    assert [one.sop_instance_uid for one in group.real_world_value_maps] == list(
        filter(None, [said.real_world_value_map])
    )
    assert [one.sop_instance_uid for one in group.sources] == said.source_images
    assert group.source_series == list(filter(None, [said.source_series]))
    assert len(group.measurements) == len(said.measurements)
    for one, wanted in zip(group.measurements, said.measurements, strict=True):
        assert (pair(one.concept), pair(one.units)) == (current(wanted.concept), wanted.units)
        assert one.value is not None
        np.testing.assert_allclose(one.value, wanted.value, rtol=1e-12)
        assert (pair(one.derivation), pair(one.qualifier)) == (wanted.derivation, wanted.qualifier)
        if wanted.method is not None:
            assert pair(one.method or group.method) == wanted.method
        assert _of_algorithm(one.algorithm) == wanted.algorithm
        assert list(map(sides, one.sites)) == list(map(_sides, wanted.sites))
        for points in wanted.points:
            regions = [group.regions[number].points for number in one.regions]
            assert any(found is not None and np.abs(found - points).max() < TOLERANCE_MM for found in regions)
    purpose = ("130400", "DCM")  # Geometric purpose of region, a row of its own in TID 1410: a statement like others
    evaluations = [(pair(one.concept), pair(one.value)) for one in group.evaluations if isinstance(one.value, Code)]
    assert [one for one in evaluations if one[0] != purpose] == said.evaluations
    assert [
        (one.sop_instance_uid, number, list(one.frames)) for one in group.segments for number in one.segments
    ] == said.segments


def sides(site: Any) -> list[Pair | None]:
    """Return site, laterality and topographical modifiers, the latter as far as there are any."""
    return [pair(site.code), pair(site.laterality), *map(pair, site.modifiers)]


def _sides(said: Sequence[Pair | None]) -> list[Pair | None]:
    return [*map(current, said[:2]), *(current(one) for one in said[2:] if one is not None)]


def _of_algorithm(algorithm: Any) -> tuple[str, str] | None:
    return (algorithm.name, algorithm.version) if algorithm is not None else None


def assert_lies(found: Any, said: ExpectedRegion) -> None:
    """Compare a region with where a report says that it is."""
    assert found.type == said.type
    assert pair(found.purpose) == said.purpose or said.purpose == ("", "")
    assert found.points is not None
    np.testing.assert_allclose(found.points, said.points, atol=TOLERANCE_MM)
    if said.image:
        assert found.images[0].sop_instance_uid == said.image
        assert found.images[0].frames == ((said.frame,) if said.frame else ())


def _lies_there(found: Any, said: ExpectedRegion) -> bool:
    same_shape = found.points is not None and found.points.shape == np.shape(said.points)
    return same_shape and bool(np.abs(found.points - said.points).max() < TOLERANCE_MM)


def class_of(said: ExpectedRegion, group: ExpectedGroup) -> str:
    """Return the class of the markups that a region is drawn as, without what all of them have."""
    by_type = {"POINT": "Fiducial", "MULTIPOINT": "Fiducial", "ELLIPSOID": "ROI"}
    if said.type != "POLYLINE":
        return by_type.get(said.type, "ClosedCurve")
    points = np.asarray(said.points)
    in_degrees = any(one.units[0] == "deg" for one in group.measurements)
    if len(points) > 3 and np.allclose(points[0], points[-1]):
        return "ClosedCurve"
    return {2: "Line", 3: "Angle" if in_degrees else "Curve"}.get(len(points), "Curve")


def assert_drawn(node: Any, kept: KeptGroups, group: Group, said: ExpectedRegion) -> None:
    """Compare the control points of a node with where a report says that its region is."""
    points = lps_points(node)
    if said.type in ("CIRCLE", "ELLIPSE"):
        wanted = np.asarray(said.points)
        centre = wanted[0] if said.type == "CIRCLE" else wanted.mean(axis=0)
        np.testing.assert_allclose(points.mean(axis=0), centre, atol=TOLERANCE_MM)
        ends = wanted[1:] if said.type == "CIRCLE" else wanted
        # The ends of the axes are among the points, and the others are opposite to each other.
        assert all(np.linalg.norm(points - end, axis=1).min() < TOLERANCE_MM for end in ends)
        np.testing.assert_allclose(points[:16] + points[16:], np.tile(2 * centre, (16, 1)), atol=TOLERANCE_MM)
        if said.type == "CIRCLE":
            radius = float(np.linalg.norm(wanted[1] - wanted[0]))
            np.testing.assert_allclose(np.linalg.norm(points - centre, axis=1), radius, atol=TOLERANCE_MM)
        return
    if said.type == "ELLIPSOID":
        assert node.IsA("vtkMRMLMarkupsROINode")
        ends = np.asarray(said.points)
        axes = (ends[1::2] - ends[::2]) / 2
        matrix = np.array([[node.GetObjectToWorldMatrix().GetElement(i, j) for j in range(4)] for i in range(3)])
        np.testing.assert_allclose(matrix[:, 3] * [-1, -1, 1], ends.mean(axis=0), atol=TOLERANCE_MM)
        np.testing.assert_allclose(np.array(node.GetSize()) / 2, np.linalg.norm(axes, axis=1), atol=TOLERANCE_MM)
        along = (matrix[:, :3].T * [-1, -1, 1]) * np.array(node.GetSize())[:, None] / 2
        for axis, wanted in zip(along, axes, strict=True):  # an axis has no sign
            assert min(np.abs(axis - wanted).max(), np.abs(axis + wanted).max()) < TOLERANCE_MM
        return
    wanted = np.asarray(said.points)
    if "Closed" in node.GetClassName() and np.allclose(wanted[0], wanted[-1]):
        wanted = wanted[:-1]
    if len(kept.groups) > 1:  # a list of points: this group is one of them
        place = next(number for number, one in enumerate(kept.groups.values()) if one.number == group.number)
        points = points[place : place + 1]
    np.testing.assert_allclose(points, wanted, atol=TOLERANCE_MM)


def assert_shows(nodes: Sequence[Any], groups: Sequence[Group], expected: Expected) -> None:
    """Compare groups and the nodes that show them with all that a report says of them."""
    by_number = shown(nodes)
    found = [group for group in groups if group.tracking_uid or group.is_loose]
    wanted = {one.tracking_uid: one for one in expected.groups}
    assert {group.tracking_uid for group in found} >= set(wanted)
    for group in found:
        said = wanted.get(group.tracking_uid)
        if said is None:
            continue
        assert_says(group, said)
        for _, kept in by_number.get(group.number, ()):  # what a node keeps is what was read
            (of_node,) = [one for one in kept.groups.values() if one.number == group.number]
            assert of_node.regions or len(group.regions[0].points) > MANY
            assert group_values(replace(of_node, regions=[])) == group_values(replace(group, regions=[]))
        inferred = sum(len(one.points) for one in said.measurements)  # below numbers, which compare them
        assert len(said.regions) <= len(group.regions) <= len(said.regions) + inferred
        for region in said.regions:
            number = next(n for n, one in enumerate(group.regions) if _lies_there(one, region))
            assert_lies(group.regions[number], region)
            drawn = [(node, kept) for node, kept in by_number[group.number] if number in kept.regions]
            assert drawn, f"{region.type} of {said.tracking_identifier} is not shown"
            wanted_class = MODEL if len(region.points) > MANY else f"vtkMRMLMarkups{class_of(region, said)}Node"
            assert drawn[0][0].GetClassName() == wanted_class
            assert_drawn(*drawn[0], group, region)
