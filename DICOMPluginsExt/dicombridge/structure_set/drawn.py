"""Markups as contours: points, lines and curves (PS3.3 C.8.8.6.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.geometry import lps_ras_points
from dicombridge.structure_set.contours import POINT
from dicombridge.structure_set.encoding import Contour, PlaneText, image_items, points_text
from dicombridge.structure_set.nodes import CONTOUR_NUMBER_ATTRIBUTE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.structure_set.kept import KeptContours

__all__ = ["MARKUPS", "is_in_place", "markups_contours", "same_markups"]

MARKUPS = ("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsLineNode", "vtkMRMLMarkupsCurveNode")
"""Classes that can be written; closed curves are curves too."""

LINEAR = 0
"""``vtkCurveGenerator::CURVE_TYPE_LINEAR_SPLINE``: the curve is the straight lines between its control points."""
SAME_MM = 1e-6
"""Points nearer than this are the same: what turning signs and storing a scene may do to a number."""
IN_PLANE_MM = 0.01
"""Points nearer than this to a plane lie in it."""


def markups_contours(
    node: Any,
    volume: Any,
    planes: Sequence[PlaneText],
    images: Mapping[int, Sequence[tuple[str, str, int]]],
    warnings: list[str],
) -> list[Contour]:
    """Return the contours of a markups node: one for each point, or one for all of a line or curve.

    Parameters
    ----------
    volume
        The volume node that shows the source images, None if there is none: coordinates are relative to it.
    planes
        The slices, to find in whose plane points lie.
    images
        Images of slices.
    warnings
        What of the markups a contour cannot hold is appended.
    """
    is_points = bool(node.IsA("vtkMRMLMarkupsFiducialNode"))
    is_closed = bool(node.IsA("vtkMRMLMarkupsClosedCurveNode"))
    points = _lps_points(node, volume)
    if is_points:
        return [
            Contour("POINT", 1, points_text(point), _images(_nearest(point[None], planes, 0.5), images))
            for point in points
        ]
    least = 3 if is_closed else 2
    if len(points) < least:
        if len(points):
            warnings.append(f"{node.GetName()!r} has {len(points)} points, which is no contour, and was left out.")
        return []
    place = _nearest(points, planes, 0.0)
    if is_closed and not _is_planar(points):
        warnings.append(
            f"{node.GetName()!r} does not lie in a plane; it was written as an open contour that ends where it begins."
        )
        points = np.vstack([points, points[:1]])
        is_closed = False
    kind = "CLOSED_PLANAR" if is_closed else "OPEN_PLANAR" if _is_planar(points) else "OPEN_NONPLANAR"
    return [Contour(kind, len(points), points_text(points), _images(place, images))]


def is_in_place(node: Any, volume: Any) -> bool:
    """Whether a node lies to the source images as it was loaded: under the same transform as these, or none."""
    of_images = volume.GetParentTransformNode() if volume is not None else None
    return node.GetParentTransformNode() is of_images


def same_markups(node: Any, volume: Any, kept: KeptContours | None) -> bool:
    """Whether markups still have the points of the contours that they were loaded with."""
    if kept is None:
        return False
    contours = [(values, number) for values in kept.values for number in range(len(values))]
    if node.IsA("vtkMRMLMarkupsFiducialNode"):
        of_points = [values.of(number) for values, number in contours if values.types[number] == POINT]
        before = np.concatenate(of_points) if of_points else np.zeros((0, 3))
    else:
        text = str(node.GetAttribute(CONTOUR_NUMBER_ATTRIBUTE) or "")
        place = int(text) - 1 if text.isdigit() else -1
        if not 0 <= place < len(contours):
            return False
        values, number = contours[place]
        before = values.of(number)
    before = before[np.isfinite(before).all(axis=1)]
    now = _lps_points(node, volume)
    return now.shape == before.shape and bool(np.abs(now - before).max(initial=0.0) < SAME_MM)


def _lps_points(node: Any, volume: Any) -> NDArray[np.float64]:
    """Return the points of markups, (n, 3) LPS mm, in the coordinates of the images."""
    import slicer
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    points = vtkPoints()
    points.SetDataTypeToDouble()
    is_curve = bool(node.IsA("vtkMRMLMarkupsCurveNode"))
    if is_curve and node.GetCurveType() != LINEAR and node.GetCurvePointsWorld() is not None:
        points.DeepCopy(node.GetCurvePointsWorld())
    else:
        node.GetControlPointPositionsWorld(points)
    transform = volume.GetParentTransformNode() if volume is not None else None
    ras = np.array([points.GetPoint(number) for number in range(points.GetNumberOfPoints())]).reshape(-1, 3)
    if transform is not None:
        general = vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, transform, general)
        ras = np.array([general.TransformPoint(*point) for point in ras.tolist()]).reshape(-1, 3)
    if not np.isfinite(ras).all():
        raise ExportError(f"{node.GetName()!r} has a point without a position.")
    return lps_ras_points(ras)


def _is_planar(points: NDArray[np.float64]) -> bool:
    centred = points - points.mean(axis=0)
    if len(points) < 3:
        return True
    normal = np.linalg.svd(centred, full_matrices=False)[2][-1]
    return bool(np.abs(centred @ normal).max() <= IN_PLANE_MM)


def _nearest(points: NDArray[np.float64], planes: Sequence[PlaneText], part: float) -> int | None:
    """Return the slice in whose plane all points lie; ``part`` of the distance between slices away at the most."""
    if not planes:
        return None
    normal = np.cross(planes[0].column, planes[0].row)
    normal /= np.linalg.norm(normal)
    heights = np.array([plane.origin @ normal for plane in planes])
    away = np.abs((points @ normal)[:, np.newaxis] - heights).max(axis=0)
    place = int(np.argmin(away))
    spacing = float(np.abs(np.diff(heights)).min()) if len(heights) > 1 else 2 * IN_PLANE_MM
    return place if away[place] <= max(IN_PLANE_MM, part * spacing) else None


def _images(place: int | None, images: Mapping[int, Sequence[tuple[str, str, int]]]) -> bytes:
    return image_items(images.get(place, ())) if place is not None else b""
