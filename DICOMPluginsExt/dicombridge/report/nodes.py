"""Regions of groups -> markups, and models where there are too many points for markups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code, Terminology, terminology_tag
from dicombridge.geometry import lps_ras_points
from dicombridge.report.concepts import key
from dicombridge.report.drawings import CLOUD, MODEL, ROI, Drawing, box_of_faces, drawing_of
from dicombridge.report.groups import Group
from dicombridge.report.kept import GROUP_ARRAY, GROUP_ATTRIBUTE, WHOLE_NODE, KeptGroups, kept_text
from dicombridge.report.sheets import measurement_name
from dicombridge.scene import nodes_in
from dicombridge.text import node_name, plain_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GROUP_ARRAY", "TERMINOLOGY_ATTRIBUTE", "Shape", "add_shapes", "shapes_of", "terminology_of_group"]

TERMINOLOGY_ATTRIBUTE = "Terminologies.TerminologyEntry"
"""Attribute of markups and models that Slicer's terminology widgets read: finding, category and site."""
MOST_DISPLAY_NODES = 200
"""Markups of a report with a display node each; nobody colours more of them one by one."""
MOST_OUTLINES = 1000
"""Markups of a report whose outlines have points between their corners too, for the day when somebody makes them
splines; of more, they take a third of the memory for nothing."""
MOST_MEASUREMENTS = 50
"""Measurements that a node lists; its table has all."""


@dataclass(frozen=True, eq=False)
class Shape:
    """One node to be.

    Attributes
    ----------
    name
        Of the node.
    groups
        The group that it shows; of a list of points, the group of each point.
    regions
        Numbers of the group's regions that it shows.
    """

    name: str
    drawing: Drawing
    groups: tuple[Group, ...]
    regions: tuple[int, ...] = (0,)


# --- What is shown as what -------------------------------------------------------------------------------------------


def shapes_of(groups: Sequence[Group], name: str, most_markups: int) -> list[Shape]:
    """Return the nodes that show the regions of groups; none for what has no place.

    Points that say nothing beyond where and what they are, are one list for each finding. Where there are more than
    ``most_markups`` shapes, all points are one list, and all else is one model (see :func:`add_shapes`).
    """
    landmarks: dict[Any, list[Group]] = {}
    shapes: list[Shape] = []
    for group in groups:
        if _is_landmark(group):
            landmarks.setdefault(_saying(group), []).append(group)
        else:
            shapes.extend(_shapes_of_group(group))
    for alike in landmarks.values():
        if len(alike) == 1:
            shapes.extend(_shapes_of_group(alike[0]))
        else:
            finding = alike[0].finding
            shapes.append(_list_of_points(f"{name} - {finding.meaning if finding is not None else 'Points'}", alike))
    if len(shapes) <= most_markups:
        return sorted(shapes, key=lambda shape: shape.groups[0].number)
    points: list[Shape] = []
    others: list[Shape] = []
    for shape in shapes:
        is_point = shape.drawing.node_class == CLOUD and len(shape.drawing.points) == 1
        (points if is_point else others).append(shape)
    listed = [_list_of_points(f"{name} - Points", [shape.groups[0] for shape in points])] if points else []
    return listed + others


def _is_landmark(group: Group) -> bool:
    if len(group.regions) != 1 or group.measurements or group.evaluations or group.comment:
        return False
    region = group.regions[0]
    return region.type == "POINT" and region.points is not None


def _saying(group: Group) -> str:
    """Return what tells points of one list from those of another; codes that mean the same may differ, as text not."""
    return repr((key(group.finding), group.sites, group.time_point))


def _list_of_points(name: str, groups: Sequence[Group]) -> Shape:
    points = np.concatenate([np.asarray(group.regions[0].points) for group in groups])
    return Shape(name, Drawing(CLOUD, points), tuple(groups))


def _shapes_of_group(group: Group) -> Iterable[Shape]:
    box = box_of_faces(group.regions)
    if box is not None:
        yield Shape(group.label, Drawing(ROI, box), (group,), tuple(range(6)))
        return
    for number, region in enumerate(group.regions):
        drawing = drawing_of(region)
        if drawing is None:
            continue
        name = group.label
        if len(group.regions) > 1:
            about = [one for one in group.measurements if one.regions == (number,)]
            name = f"{name} - {measurement_name(about[0])}" if len(about) == 1 else f"{name} ({number + 1})"
        yield Shape(name, drawing, (group,), (number,))


def terminology_of_group(group: Group) -> str:
    """Return what Slicer's terminology widgets show of a group; empty for one without a finding."""
    if group.finding is None:
        return ""
    site = group.sites[0] if group.sites else None
    modifier: Code | None = None
    if site is not None:
        modifier = site.laterality or next(iter(site.modifiers), None)
    return terminology_tag(
        Terminology(
            group.category or Code("49755003", "SCT", "Morphologically Abnormal Structure"),
            group.finding,
            region=site.code if site is not None else None,
            region_modifier=modifier,
        )
    )


# --- Nodes -----------------------------------------------------------------------------------------------------------


def add_shapes(scene: Any, shapes: Sequence[Shape], report_uid: str, name: str, most_markups: int) -> list[Any]:
    """Add the nodes of shapes to a scene, in one batch; call within a scene transaction.

    Of more than ``most_markups`` shapes, those that are no lists of points become one ``vtkMRMLModelNode``: an outline
    a cell, whose group the cell array ``Group`` says.
    """
    scene.StartState(scene.BatchProcessState)
    try:
        if len(shapes) <= most_markups:
            looks = _Looks(scene, len(shapes))
            return [_add_shape(scene, shape, report_uid, looks) for shape in shapes]
        lists = [shape for shape in shapes if len(shape.groups) > 1]
        others = [shape for shape in shapes if len(shape.groups) == 1]
        looks = _Looks(scene, len(lists))
        nodes = [_add_shape(scene, shape, report_uid, looks) for shape in lists]
        return [*nodes, _add_model(scene, f"{name} - Shapes", others)]
    finally:
        scene.EndState(scene.BatchProcessState)


class _Looks:
    """Names and display nodes of many new nodes; a scene looks through all that it has for each new one.

    Up to :data:`MOST_DISPLAY_NODES` markups have a display node each; of more, some of one class share theirs: not
    all, because each new observer of a node is put behind all that it has.
    """

    def __init__(self, scene: Any, count: int) -> None:
        self.are_many = count > MOST_OUTLINES
        self._taken = {node.GetName() for node in nodes_in(scene)}
        self._shared: dict[str, tuple[str, int]] | None = {} if count > MOST_DISPLAY_NODES else None
        self._last: dict[str, int] = {}

    def name(self, wanted: str) -> str:
        """Return a name that no node has, made as a scene makes it: ``Lesion``, ``Lesion_1``."""
        found, number = wanted, self._last.get(wanted, 0)
        while found in self._taken:
            number += 1
            found = f"{wanted}_{number}"
        self._last[wanted] = number
        self._taken.add(found)
        return found

    def show(self, node: Any) -> None:
        """Give a node a display node, its own or a shared one."""
        known, uses = self._shared.get(node.GetClassName(), ("", 0)) if self._shared is not None else ("", 0)
        if known and uses < MOST_DISPLAY_NODES:
            node.SetAndObserveDisplayNodeID(known)
        else:
            node.CreateDefaultDisplayNodes()
            known, uses = str(node.GetDisplayNodeID()), 0
        if self._shared is not None:
            self._shared[node.GetClassName()] = known, uses + 1


def _add_shape(scene: Any, shape: Shape, report_uid: str, looks: _Looks) -> Any:
    if shape.drawing.node_class == MODEL:
        return _add_model(scene, shape.name, [shape], report_uid)
    import slicer

    node = getattr(slicer, shape.drawing.node_class)()
    node.SetName(looks.name(node_name(shape.name)))
    # First of all: markups outside of a scene look for the units of their measurements in vain, and log it.
    scene.AddNode(node)
    if node.IsA("vtkMRMLMarkupsCurveNode") and not _is_round(shape):
        node.SetCurveTypeToLinear()
        if looks.are_many:
            node.SetNumberOfPointsPerInterpolatingSegment(1)
    if shape.drawing.node_class == ROI:
        _set_box(node, shape.drawing.points)
    else:
        _set_control_points(node, shape.drawing.points)
    kept = {WHOLE_NODE: shape.groups[0]}
    if len(shape.groups) > 1:
        kept = _label_points(node, shape.groups)
    elif shape.drawing.node_class == CLOUD:
        for number in range(node.GetNumberOfControlPoints()):
            label = shape.name if number == 0 else f"{shape.name}-{number + 1}"
            node.SetNthControlPointLabel(number, plain_text(label))
    _describe(node, shape, kept, report_uid)
    looks.show(node)
    _add_measurements(node, shape)
    return node


def _is_round(shape: Shape) -> bool:
    return shape.groups[0].regions[shape.regions[0]].type in ("CIRCLE", "ELLIPSE")


def _set_control_points(node: Any, points: NDArray[np.float64]) -> None:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints

    positions = vtkPoints()
    positions.SetData(numpy_to_vtk(lps_ras_points(points), deep=True))
    node.SetControlPointPositionsWorld(positions)


def _set_box(node: Any, ends: NDArray[np.float64]) -> None:
    """Let a ROI be the box along three axes, of which the ends are given (6, 3) LPS mm."""
    from dicombridge.geometry import vtk_matrix

    ras = lps_ras_points(ends)
    axes = (ras[1::2] - ras[::2]) / 2
    lengths = np.linalg.norm(axes, axis=1)
    directions = np.array([axis / length if length else axis for axis, length in zip(axes, lengths, strict=True)])
    if np.linalg.det(directions) < 0:
        directions[2] = -directions[2]  # an axis has no sign, but a rotation must not mirror
    matrix = np.eye(4)
    matrix[:3, :3] = directions.T
    matrix[:3, 3] = ras.mean(axis=0)
    node.SetROIType(node.ROITypeBox)
    node.SetAndObserveObjectToNodeMatrix(vtk_matrix(matrix))
    node.SetSize(*(2 * lengths))


def _label_points(node: Any, groups: Sequence[Group]) -> dict[str, Group]:
    """Label the points of a list by the groups that they are; return the groups by control point ID."""
    was_modified = node.StartModify()
    kept = {}
    for number, group in enumerate(groups):
        node.SetNthControlPointLabel(number, plain_text(group.label))
        if group.comment:
            node.SetNthControlPointDescription(number, plain_text(group.comment))
        kept[str(node.GetNthControlPointID(number))] = group
    node.EndModify(was_modified)
    return kept


def _describe(node: Any, shape: Shape, kept: dict[str, Group], report_uid: str) -> None:
    group = shape.groups[0]
    node.SetAttribute(GROUP_ATTRIBUTE, kept_text(KeptGroups(report_uid, kept, shape.regions, node.GetName())))
    terminology = terminology_of_group(group)
    if terminology and len(set(map(_saying, shape.groups))) == 1:
        node.SetAttribute(TERMINOLOGY_ATTRIBUTE, plain_text(terminology))


def _add_measurements(node: Any, shape: Shape) -> None:
    """Show the numbers of the report in the node's list of measurements, beside those that Slicer computes itself."""
    import slicer

    if len(shape.groups) > 1:
        return
    group = shape.groups[0]
    about = [one for one in group.measurements if not one.regions or set(one.regions) & set(shape.regions)]
    for one in about[:MOST_MEASUREMENTS]:
        if one.value is None:
            continue
        measurement = slicer.vtkMRMLStaticMeasurement()
        measurement.SetName(plain_text(f"{measurement_name(one)} (report)"))
        # Not their codes, which the attribute has: a copy of a measurement with codes ends Slicer when it is freed.
        if one.units is not None:
            measurement.SetUnits(plain_text(one.units.value))
        measurement.SetValue(one.value)
        node.AddMeasurement(measurement)


def _add_model(scene: Any, name: str, shapes: Sequence[Shape], report_uid: str = "") -> Any:
    import slicer

    node = slicer.vtkMRMLModelNode()
    node.SetName(scene.GenerateUniqueName(node_name(name)))
    node.SetAndObservePolyData(_poly_data(shapes))
    if report_uid:
        # Its millions of points the document holds already.
        _describe(node, shapes[0], {WHOLE_NODE: replace(shapes[0].groups[0], regions=[])}, report_uid)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    return node


def _poly_data(shapes: Sequence[Shape]) -> Any:
    """Return points and outlines of shapes: a cell an outline, or a point of a list."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    points = np.concatenate([shape.drawing.points for shape in shapes])
    verts, lines, groups_of_verts, groups_of_lines = [], [], [], []
    begin = 0
    for shape in shapes:
        count, number = len(shape.drawing.points), shape.groups[0].number
        ids = np.arange(begin, begin + count)
        begin += count
        region = shape.groups[0].regions[shape.regions[0]]
        if shape.drawing.node_class == CLOUD or region.type in ("POINT", "MULTIPOINT"):
            verts.append(np.column_stack([np.ones(count, dtype=np.int64), ids]).ravel())
            groups_of_verts += [number] * count
        else:
            closed = "Closed" in shape.drawing.node_class or region.type == "POLYGON"
            outline = np.append(ids, ids[0]) if closed else ids
            lines.append(np.insert(outline, 0, len(outline)))
            groups_of_lines.append(number)
    data = vtkPolyData()
    positions = vtkPoints()
    positions.SetData(numpy_to_vtk(lps_ras_points(points), deep=True))
    data.SetPoints(positions)
    for cells, use in ((verts, data.SetVerts), (lines, data.SetLines)):
        if cells:
            array = vtkCellArray()
            array.ImportLegacyFormat(numpy_to_vtkIdTypeArray(np.concatenate(cells).astype(np.int64), deep=True))
            use(array)
    numbers = numpy_to_vtk(np.array(groups_of_verts + groups_of_lines, dtype=np.int32), deep=True)
    numbers.SetName(GROUP_ARRAY)
    data.GetCellData().AddArray(numbers)
    return data
