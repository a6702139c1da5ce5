"""Markups -> regions: where their control points are now, as the standard's graphic types (PS3.3 C.18.9).

=====================  ================================================================================================
node                   region
=====================  ================================================================================================
point list             POINT each (:func:`point_regions`), or one MULTIPOINT where it was loaded as one
line, angle            POLYLINE of two or three points
curve                  POLYLINE; of a curve that is no polygon, points along it
closed curve           POLYGON; ELLIPSE where its control points are those that an ellipse is drawn with
                       (:mod:`dicombridge.report.drawings`); closed POLYLINE where it lies in no plane
plane                  POLYGON of its corners
ROI box                POLYGON a face, which together are a volume surface; ELLIPSOID where it was loaded as one
model                  as it was loaded: a region of more points than markups are drawn for
=====================  ================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.fiducials.positions import LINEAR, SAME_MM, control_points
from dicombridge.geometry import lps_ras_points, plausible
from dicombridge.report.concepts import VOLUME_SURFACE
from dicombridge.report.drawings import box_of_faces, drawing_of
from dicombridge.report.groups import Region
from dicombridge.report.measuring import PLANAR_MM, off_plane_mm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

__all__ = ["FIT_MM", "SAME_AXES_MM", "NodeRegion", "ellipse_of", "kind_of_node", "point_regions", "regions_of"]

FIT_MM = 1e-4
"""Control points that are nearer than this to an ellipse's are an ellipse's."""
FEWEST_OF_ELLIPSE = 8
"""Control points; through five any closed curve would be an ellipse."""
SAME_AXES_MM = 1e-3
"""Axes of a box that end nearer than this are the same: those that were loaded are perpendicular to 24 bits only."""
SAME_FLOAT_MM = 1e-4
"""Points of a model may be single floats."""


@dataclass(frozen=True, eq=False)
class NodeRegion:
    """A region that a node shows.

    Attributes
    ----------
    region
        As it is now; the one that was loaded, coordinates as they were written included, where it has not moved.
    moved
        Whether it lies elsewhere than when it was loaded; True for one that was made here.
    """

    region: Region
    moved: bool


def regions_of(
    node: Any, volume: Any, frame: str, kept: Sequence[Region] = (), warnings: list[str] | None = None
) -> list[NodeRegion]:
    """Return the regions that a node shows as one shape; a list of points only where it is a MULTIPOINT.

    Parameters
    ----------
    volume
        The volume node of the source images; positions are relative to its parent transform.
    frame
        Frame of Reference UID of the result (LPS mm).
    kept
        The regions that the node was loaded with, in the same frame of reference.
    warnings
        What is not as the user may think is appended.

    Raises
    ------
    ExportError
        The node has too few points, or one that is nowhere.
    """
    said = [] if warnings is None else warnings
    maker = next((one for name, one in _MAKERS.items() if node.IsA(name)), None)
    if maker is None:
        raise ExportError(f"A {node.GetClassName()} cannot be exported in a structured report.")
    if node.IsA("vtkMRMLMarkupsNode"):
        _tell_undefined(node, said)
    if kept and _lost_its_size(node) and node.GetParentTransformNode() is None:
        # Outside Slicer, nothing can read the file that a scene keeps a box in.
        said.append(f"{node.GetName()!r} has lost its size with its file; it was written as it was loaded.")
        return [NodeRegion(one, False) for one in kept]
    shape = maker(node, volume, kept, said)
    if kept and _is_same(node, shape.drawn, kept):
        return [NodeRegion(one, False) for one in kept]
    regions = shape.regions()
    # What has moved is the same item of its document, where numbers may hang on it.
    positions = [one.position for one in kept] if len(kept) == len(regions) else [()] * len(regions)
    purpose = kept[0].purpose if kept else None
    return [
        NodeRegion(replace(one, frame_of_reference_uid=frame, purpose=one.purpose or purpose, position=position), True)
        for one, position in zip(regions, positions, strict=True)
    ]


def _lost_its_size(node: Any) -> bool:
    return node.IsA("vtkMRMLMarkupsROINode") and not any(node.GetSize())


def point_regions(
    node: Any, volume: Any, frame: str, kept: Mapping[str, Region], warnings: list[str]
) -> list[tuple[int, NodeRegion]]:
    """Return number and region of each control point of a point list.

    Parameters
    ----------
    kept
        The regions that the points were loaded with, in the same frame of reference, by control point ID.
    """
    _tell_undefined(node, warnings)
    found = []
    for number, point in zip(*control_points(node, volume, sampled=False), strict=True):
        before = kept.get(str(node.GetNthControlPointID(number)))
        if before is not None and _near(point[None], before.points, SAME_MM):
            found.append((number, NodeRegion(before, False)))
        else:
            purpose = before.purpose if before is not None else None
            position = before.position if before is not None else ()
            region = Region("POINT", point[None], frame_of_reference_uid=frame, purpose=purpose, position=position)
            found.append((number, NodeRegion(region, True)))
    return found


def kind_of_node(node: Any) -> str:
    """Return the kind (:mod:`dicombridge.report.measuring`) that a node's regions do not tell."""
    return "sheet" if node.IsA("vtkMRMLMarkupsPlaneNode") else ""


def _tell_undefined(node: Any, warnings: list[str]) -> None:
    defined = [
        node.GetNthControlPointPositionStatus(number) == node.PositionDefined
        for number in range(node.GetNumberOfControlPoints())
    ]
    if not all(defined):
        warnings.append(f"{node.GetName()!r}: {defined.count(False)} points without a position were left out.")


# --- Whether it has moved --------------------------------------------------------------------------------------------


def _is_same(node: Any, drawn: Points, kept: Sequence[Region]) -> bool:
    """Whether a node is still drawn as the regions that it was loaded with are."""
    if node.IsA("vtkMRMLMarkupsROINode"):
        ends = box_of_faces(kept) if len(kept) > 1 else kept[0].points
        return ends is not None and _same_ends(drawn, ends)
    drawing = drawing_of(kept[0]) if len(kept) == 1 else None
    if drawing is None:
        return False
    is_round = kept[0].type in ("CIRCLE", "ELLIPSE")
    if not is_round and node.IsA("vtkMRMLMarkupsCurveNode") and node.GetCurveType() != LINEAR:
        return False  # the same control points, but another way between them
    return _near(drawn, drawing.points, SAME_FLOAT_MM if node.IsA("vtkMRMLModelNode") else SAME_MM)


def _near(one: Points, other: Points | None, tolerance: float) -> bool:
    return other is not None and one.shape == other.shape and bool(np.abs(one - other).max() < tolerance)


def _same_ends(one: Points, other: Points) -> bool:
    """Whether the ends of the axes of two boxes are the same, in whatever order."""
    near = np.linalg.norm(one[:, None] - other[None], axis=2) < SAME_AXES_MM
    return bool(one.shape == other.shape and near.any(axis=0).all() and near.any(axis=1).all())


# --- Shapes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Shape:
    """What a node shows: the points that it is drawn with, and how to make regions of them."""

    drawn: Points
    regions: Callable[[], list[Region]]


def _list(node: Any, volume: Any, kept: Sequence[Region], warnings: list[str]) -> _Shape:
    points = _at_least(node, control_points(node, volume, sampled=False)[1], 1)
    return _Shape(points, lambda: [Region("MULTIPOINT", points)])


def _line(node: Any, volume: Any, kept: Sequence[Region], warnings: list[str]) -> _Shape:
    points = _at_least(node, control_points(node, volume, sampled=False)[1], 2)
    return _Shape(points, lambda: [Region("POLYLINE", points)])


def _angle(node: Any, volume: Any, kept: Sequence[Region], warnings: list[str]) -> _Shape:
    points = _at_least(node, control_points(node, volume, sampled=False)[1], 3)
    # As it was loaded: dcmjs writes two lines, and so the vertex twice.
    is_of_lines = len(kept) == 1 and kept[0].points is not None and len(kept[0].points) == 4
    written = points[[0, 1, 1, 2]] if is_of_lines else points
    return _Shape(points, lambda: [Region("POLYLINE", written, is_angle=True)])


def _curve(node: Any, volume: Any, kept: Sequence[Region], warnings: list[str]) -> _Shape:
    points = _at_least(node, control_points(node, volume, sampled=False)[1], 2)
    return _Shape(points, lambda: [Region("POLYLINE", control_points(node, volume, sampled=True)[1])])


def _closed_curve(node: Any, volume: Any, kept: Sequence[Region], warnings: list[str]) -> _Shape:
    points = _at_least(node, control_points(node, volume, sampled=False)[1], 3)

    def regions() -> list[Region]:
        ends = ellipse_of(points)
        if ends is not None:
            return [Region("ELLIPSE", ends)]
        ring = _ring(control_points(node, volume, sampled=True)[1])
        if off_plane_mm(ring) <= PLANAR_MM:
            return [Region("POLYGON", ring)]
        warnings.append(
            f"{node.GetName()!r} lies in no plane, which a POLYGON has to (PS3.3 C.18.9): it was written as a line "
            "that ends where it starts, without an area."
        )
        return [Region("POLYLINE", ring)]

    return _Shape(points, regions)


def _plane(node: Any, volume: Any, kept: Sequence[Region], warnings: list[str]) -> _Shape:
    from vtkmodules.vtkCommonCore import vtkPoints

    corners = vtkPoints()
    if node.GetIsPlaneValid():
        node.GetPlaneCornerPoints(corners)
    ras = np.array([corners.GetPoint(number) for number in range(corners.GetNumberOfPoints())]).reshape(-1, 3)
    points = _placed(node, volume, _at_least(node, ras, 4))
    return _Shape(points, lambda: [Region("POLYGON", _ring(points))])


def _box(node: Any, volume: Any, kept: Sequence[Region], warnings: list[str]) -> _Shape:
    matrix = node.GetObjectToNodeMatrix()
    to_node = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(3)])
    half = np.array(node.GetSize()) / 2
    if not (plausible(half) and half.min() > 0):
        raise ExportError(f"The box {node.GetName()!r} has no size; complete it, or leave it out.")

    def placed(signs: Points) -> Points:
        return _placed(node, volume, signs * half @ to_node[:, :3].T + to_node[:, 3])

    ends = placed(np.kron(np.eye(3), [[-1.0], [1.0]]).astype(np.float64))
    if len(kept) == 1 and kept[0].type == "ELLIPSOID":
        return _Shape(ends, lambda: [Region("ELLIPSOID", _principal_ends(ends))])
    return _Shape(ends, lambda: [Region("POLYGON", face, purpose=VOLUME_SURFACE) for face in _faces(placed)])


def _model(node: Any, volume: Any, kept: Sequence[Region], warnings: list[str]) -> _Shape:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    mesh = node.GetPolyData()
    if not kept or mesh is None or not mesh.GetNumberOfPoints():
        raise ExportError(
            f"The model {node.GetName()!r} comes from no structured report and cannot be written to one; export it as "
            "a segmentation, and the report on that."
        )
    points = _placed(node, volume, vtk_to_numpy(mesh.GetPoints().GetData()).astype(float))
    return _Shape(points, lambda: [Region(kept[0].type, points, is_angle=kept[0].is_angle)])


_MAKERS: dict[str, Callable[[Any, Any, Sequence[Region], list[str]], _Shape]] = {
    "vtkMRMLMarkupsFiducialNode": _list,
    "vtkMRMLMarkupsLineNode": _line,
    "vtkMRMLMarkupsAngleNode": _angle,
    "vtkMRMLMarkupsClosedCurveNode": _closed_curve,  # is a curve too
    "vtkMRMLMarkupsCurveNode": _curve,
    "vtkMRMLMarkupsPlaneNode": _plane,
    "vtkMRMLMarkupsROINode": _box,
    "vtkMRMLModelNode": _model,
}


def _at_least(node: Any, points: Points, count: int) -> Points:
    if len(points) < count:
        raise ExportError(
            f"{node.GetName()!r} has {len(points)} points with a position, of the {count} that it needs; complete it, "
            "or leave it out."
        )
    return points


def _placed(node: Any, volume: Any, ras: Points) -> Points:
    """Return points of a node's own coordinates (RAS) in LPS mm, parent transforms of node and images applied."""
    import slicer
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    of_images = volume.GetParentTransformNode() if volume is not None else None
    general = vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), of_images, general)
    placed = np.array([general.TransformPoint(*point) for point in ras.tolist()]).reshape(-1, 3)
    if not plausible(placed):
        raise ExportError(f"{node.GetName()!r} has a point that is not finite or beyond any patient.")
    return lps_ras_points(placed)


def _ring(points: Points) -> Points:
    """Return points with the first one again at the end, to the last digit."""
    ends_at_start = len(points) > 1 and np.abs(points[0] - points[-1]).max() < SAME_MM
    return np.vstack([points[:-1] if ends_at_start else points, points[:1]])


def _faces(placed: Callable[[Points], Points]) -> list[Points]:
    """Return the faces of a box, each closed, anticlockwise as seen from outside.

    Parameters
    ----------
    placed
        Returns where points are that are given in halves of the box from its middle.
    """
    square = 2.0 * np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) - 1.0
    centre = placed(np.zeros((1, 3)))[0]
    faces = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            corners = placed(np.insert(square, axis, side, axis=1))
            outward = np.cross(corners[1] - corners[0], corners[3] - corners[0]) @ (corners.mean(axis=0) - centre)
            corners = corners if outward > 0 else corners[::-1]
            # A face that a transform has bent is two flat ones.
            parts = [corners] if off_plane_mm(corners) <= PLANAR_MM else [corners[:3], corners[[0, 2, 3]]]
            faces += [_ring(part) for part in parts]
    return faces


# --- Ellipses --------------------------------------------------------------------------------------------------------


def ellipse_of(points: Points) -> Points | None:
    """Return the ends of major and minor axis of the ellipse that points were drawn for, None if they were for none.

    Parameters
    ----------
    points
        (n, 3) mm: c + a cos(2 pi k / n) + b sin(2 pi k / n), where a and b are conjugate radii. An ellipse stays one
        under any linear transform, but its axes become such radii.

    Returns
    -------
    (4, 3) mm
        As PS3.3 C.18.9 orders them; nearest to the direction of a first. Of a circle, a and b themselves.

    Examples
    --------
    >>> angles = np.arange(8) * np.pi / 4
    >>> ring = np.stack([3 * np.cos(angles), 2 * np.sin(angles), np.ones(8)], axis=1)
    >>> (ellipse_of(ring).round(12) + 0.0).tolist()
    [[3.0, 0.0, 1.0], [-3.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.0, -2.0, 1.0]]
    """
    count = len(points)
    if count < FEWEST_OF_ELLIPSE:
        return None
    angles = 2 * np.pi * np.arange(count) / count
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centre = points.mean(axis=0)
    radii = 2 / count * waves.T @ (points - centre)
    if np.linalg.norm(points - centre - waves @ radii, axis=1).max() > FIT_MM:
        return None
    axes = _principal(radii)
    if np.linalg.norm(axes[1]) <= FIT_MM:
        return None
    return np.stack([centre + axes[0], centre - axes[0], centre + axes[1], centre - axes[1]])


def _principal(radii: Points) -> Points:
    """Return the principal axes, the longest first, of an ellipse or ellipsoid with conjugate radii (n, 3).

    Each points to where the radius points that it is nearest to; perpendicular radii are the axes themselves.
    """
    lengths = np.linalg.norm(radii, axis=1)
    if np.abs(radii @ radii.T - np.eye(len(radii)) * lengths**2).max() <= 1e-9 * lengths.max() ** 2:
        return radii[np.argsort(-np.round(lengths, 6), kind="stable")]
    _, sizes, directions = np.linalg.svd(radii, full_matrices=False)
    if sizes[0] - sizes[-1] <= FIT_MM:  # of a circle any radii are the axes, if they are made perpendicular
        directions, _ = np.linalg.qr(radii.T)
        directions = directions.T
    along = directions @ radii.T
    signs = np.sign(along[np.arange(len(radii)), np.abs(along).argmax(axis=1)])
    return np.asarray(directions * (sizes * signs)[:, None], dtype=np.float64)


def _principal_ends(ends: Points) -> Points:
    """Return the ends of perpendicular axes for those of an ellipsoid that a transform may have sheared."""
    radii = (ends[::2] - ends[1::2]) / 2
    centre = ends.mean(axis=0)
    axes = _principal(radii)
    return np.stack([centre + sign * axis for axis in axes for sign in (1, -1)])
