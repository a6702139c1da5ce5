"""Annotation groups -> models; -> markups where there are few shapes and somebody wants to edit them."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.annotations.groups import GRAPHIC_TYPES, Annotations, Group, measured_name
from dicombridge.annotations.kept import (
    ANNOTATION_ARRAY,
    COORDINATES_ARRAY,
    GROUP_ARRAY,
    GROUP_ATTRIBUTE,
    OWN_ARRAYS,
    TERMINOLOGY_ATTRIBUTE,
    WHOLE_NODE,
    KeptGroup,
    KeptShape,
    kept_text,
)
from dicombridge.annotations.outlines import outlines_of_axes
from dicombridge.annotations.placement import affine_to_slide
from dicombridge.annotations.polydata import add_array, connected, new_poly_data
from dicombridge.codes import Terminology, code_from_sequence, terminology_tag
from dicombridge.colours import rgb_of_cielab
from dicombridge.geometry import lps_ras_points, plausible
from dicombridge.text import node_name, plain_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["add_nodes", "terminology_of_item"]

LINE_WIDTH, POINT_SIZE = 2, 6
"""In pixels of the screen: shapes of a slide are micrometres large."""
STEP = 1 << 14
"""Points that are placed at once."""
MARKUPS = {"POLYLINE": "vtkMRMLMarkupsCurveNode", "POINT": "vtkMRMLMarkupsFiducialNode"}
CLOSED_CURVE = "vtkMRMLMarkupsClosedCurveNode"


def add_nodes(scene: Any, annotations: Annotations, place: int, most_markups: int) -> list[Any]:
    """Add the nodes of the group at a place (from 0); call within a scene transaction.

    Of a group of at most ``most_markups`` shapes: a list of its points, or a line, curve or closed curve a shape; of
    others one model.

    Raises
    ------
    ValueError
        Its points are beyond any slide.
    """
    group = annotations.groups[place]
    kept = _kept(annotations, group, place)
    if 0 < group.count <= most_markups:
        return _add_markups(scene, group, kept)
    return [_add_model(scene, group, kept, group.number or place + 1)]


def _kept(annotations: Annotations, group: Group, place: int) -> KeptGroup:
    plane = annotations.plane if annotations.coordinate_type == "2D" else None
    pairs = plane is None and group.coordinates.shape[1] == 2
    names: dict[str, Any] = {}
    for one in group.measurements:
        names[measured_name(one.name, one.units, [*OWN_ARRAYS, *names])] = (one.name, one.units)
    return KeptGroup(
        object=annotations.uid,
        item=group.text,
        graphic_type=group.graphic_type,
        dtype=f"f{group.coordinates.dtype.itemsize}",
        z=_common_z(annotations, group) if pairs else None,
        plane=plane,
        names=names,
        name=node_name(group.label),
        colour=_colour(group, place),
        terminology=plain_text(terminology_of_item(group.item)),
    )


def _common_z(annotations: Annotations, group: Group) -> float:
    """Return where points without z are shown: in the first of their planes, else in that of the slide."""
    if group.common_z:
        return group.common_z[0]
    return annotations.plane.z if annotations.plane is not None else 0.0


def _colour(group: Group, place: int) -> tuple[float, ...]:
    """Return red, green, blue (0 to 1): the recommended ones, else hues that differ clearly between neighbours."""
    cielab = group.item.get("RecommendedDisplayCIELabValue")
    if cielab is not None and not isinstance(cielab, int | str) and len(cielab) == 3:
        return rgb_of_cielab([int(value) for value in cielab])
    return tuple(round(value, 6) for value in colorsys.hsv_to_rgb((0.33 + 0.61803398875 * place) % 1, 0.8, 0.9))


def terminology_of_item(item: Any) -> str:
    """Return what Slicer's terminology widgets show of a group (PS3.3 C.37.1.2, 10.5)."""
    kinds = list(item.get("AnnotationPropertyTypeCodeSequence") or [])
    regions = list(item.get("AnatomicRegionSequence") or [])
    return terminology_tag(
        Terminology(
            code_from_sequence(item, "AnnotationPropertyCategoryCodeSequence"),
            code_from_sequence(item, "AnnotationPropertyTypeCodeSequence"),
            code_from_sequence(kinds[0], "AnnotationPropertyTypeModifierCodeSequence") if kinds else None,
            region=code_from_sequence(item, "AnatomicRegionSequence"),
            region_modifier=code_from_sequence(regions[0], "AnatomicRegionModifierSequence") if regions else None,
        )
    )


# --- Places ----------------------------------------------------------------------------------------------------------


def _place(group: Group, kept: KeptGroup, out: NDArray[np.float64]) -> None:
    """Write the places (points, 3) RAS mm of a group's coordinates into ``out``."""
    dimensions = group.coordinates.shape[1]
    matrix = lps_ras_points(affine_to_slide(dimensions, kept.plane, kept.z or 0.0).T)
    # In steps that stay in the processor's cache: millions of points are bound by memory.
    part = np.ones((min(STEP, len(out)), dimensions + 1))
    for begin in range(0, len(out), STEP):
        stored = group.coordinates[begin : begin + STEP]
        ones = part[: len(stored)]
        placed = out[begin : begin + STEP]
        with np.errstate(over="ignore", invalid="ignore"):  # damaged numbers are found below
            ones[:, :dimensions] = stored
            np.matmul(ones, matrix, out=placed)
        if not plausible([placed.min(), placed.max()]):
            raise ValueError("has coordinates that are no numbers, or beyond any slide")


# --- Models ----------------------------------------------------------------------------------------------------------


def _add_model(scene: Any, group: Group, kept: KeptGroup, number: int) -> Any:
    import slicer

    node = slicer.vtkMRMLModelNode()
    node.SetName(scene.GenerateUniqueName(kept.name))
    node.SetAndObservePolyData(_poly_data(group, kept, number))
    _describe(node, kept)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(*kept.colour)
    display.SetLineWidth(LINE_WIDTH)
    display.SetPointSize(POINT_SIZE)
    display.SetLighting(False)
    display.SetScalarVisibility(False)
    # Shapes lie in the plane of the slide, so that a slice of it would not cut them.
    display.SetSliceDisplayModeToProjection()
    display.SetVisibility2D(True)
    return node


def _poly_data(group: Group, kept: KeptGroup, number: int) -> Any:
    if group.graphic_type == "ELLIPSE":
        data = _ellipses(group, kept)
    else:
        begin = int(group.starts[0]) if group.count else 0
        shown = replace(group, coordinates=group.coordinates[begin:], starts=group.starts - begin)
        data, points = new_poly_data(len(shown.coordinates))
        _place(shown, kept, points)
        cells = connected(shown.starts, GRAPHIC_TYPES[group.graphic_type].closed)
        (data.SetVerts if group.graphic_type == "POINT" else data.SetLines)(cells)
        if kept.plane is not None:
            add_array(data.GetPointData(), COORDINATES_ARRAY, shown.coordinates)
    cell_data = data.GetCellData()
    add_array(cell_data, ANNOTATION_ARRAY, np.arange(1, group.count + 1, dtype=np.int32))
    add_array(cell_data, GROUP_ARRAY, np.full(group.count, number, dtype=np.int32))
    for name, one in zip(kept.names, group.measurements, strict=True):
        add_array(cell_data, name, one.values)
    return data


def _ellipses(group: Group, kept: KeptGroup) -> Any:
    ends = np.empty((len(group.coordinates), 3))
    _place(group, kept, ends)
    outlines = outlines_of_axes(ends.reshape(-1, 4, 3))
    data, points = new_poly_data(outlines.shape[0] * outlines.shape[1])
    points[:] = outlines.reshape(-1, 3)
    data.SetLines(connected(np.arange(group.count + 1, dtype=np.int64) * outlines.shape[1], closed=True))
    stored = group.coordinates.reshape(group.count, -1)
    add_array(data.GetCellData(), COORDINATES_ARRAY, stored)
    return data


def _describe(node: Any, kept: KeptGroup) -> None:
    node.SetAttribute(GROUP_ATTRIBUTE, kept_text(kept))
    node.SetAttribute(TERMINOLOGY_ATTRIBUTE, kept.terminology)


# --- Markups ---------------------------------------------------------------------------------------------------------


def _add_markups(scene: Any, group: Group, kept: KeptGroup) -> list[Any]:
    points = np.empty((len(group.coordinates), 3))
    _place(group, kept, points)
    scene.StartState(scene.BatchProcessState)
    try:
        if group.graphic_type == "POINT":
            return [_add_points(scene, group, kept, points)]
        nodes = []
        for number, (start, stop) in enumerate(zip(group.starts[:-1], group.starts[1:], strict=True)):
            nodes.append(_add_shape(scene, group, kept, points[start:stop], number))
        return nodes
    finally:
        scene.EndState(scene.BatchProcessState)


def _shape(group: Group, kept: KeptGroup, number: int) -> KeptShape:
    stored = group.coordinates[group.starts[number] : group.starts[number + 1]]
    measured = zip(kept.names, group.measurements, strict=True)
    values = {name: float(one.values[number]) for name, one in measured if not np.isnan(one.values[number])}
    return KeptShape(number + 1, stored.astype(float).tolist(), values)


def _add_points(scene: Any, group: Group, kept: KeptGroup, points: NDArray[np.float64]) -> Any:
    node = _new_markups(scene, "vtkMRMLMarkupsFiducialNode", kept.name, points)
    was_modified = node.StartModify()
    shapes = {}
    for number in range(group.count):
        node.SetNthControlPointLabel(number, f"{plain_text(group.label)}-{number + 1}")
        shapes[str(node.GetNthControlPointID(number))] = _shape(group, kept, number)
    node.EndModify(was_modified)
    return _added(scene, node, replace(kept, shapes=shapes))


def _add_shape(scene: Any, group: Group, kept: KeptGroup, points: NDArray[np.float64], number: int) -> Any:
    closed = GRAPHIC_TYPES[group.graphic_type].closed
    if group.graphic_type == "ELLIPSE":
        points = outlines_of_axes(points[None])[0]
    class_name = CLOSED_CURVE if closed else MARKUPS[group.graphic_type]
    if not closed and len(points) == 2:
        class_name = "vtkMRMLMarkupsLineNode"
    name = kept.name if group.count == 1 else f"{kept.name} ({number + 1})"
    node = _new_markups(scene, class_name, name, points)
    if node.IsA("vtkMRMLMarkupsCurveNode"):
        node.SetCurveTypeToLinear()
    shapes = {WHOLE_NODE: _shape(group, kept, number)}
    return _added(scene, node, replace(kept, shapes=shapes))


def _new_markups(scene: Any, class_name: str, name: str, points: NDArray[np.float64]) -> Any:
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints

    node = getattr(slicer, class_name)()
    node.SetName(scene.GenerateUniqueName(name))
    positions = vtkPoints()
    positions.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    node.SetControlPointPositionsWorld(positions)
    return node


def _added(scene: Any, node: Any, kept: KeptGroup) -> Any:
    _describe(node, kept)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(*kept.colour)
    display.SetSelectedColor(*kept.colour)
    return node
