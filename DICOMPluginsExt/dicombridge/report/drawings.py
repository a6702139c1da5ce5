"""How regions are drawn: the class of the node, and its control points.

===================  ================================================================================================
Graphic Type         drawn as
===================  ================================================================================================
POINT, MULTIPOINT    point list
POLYLINE, POLYGON    line (2 points), angle (3 points that a measurement calls an angle, or 4 with the vertex twice),
                     closed curve (every POLYGON, where the last point is the first one, and four corners of a
                     rectangle), else open curve
CIRCLE, ELLIPSE      closed curve through 32 points: c + a cos(2 pi k / 32) + b sin(2 pi k / 32), from which centre and
                     axes follow exactly, after any linear transform too
ELLIPSOID            ROI box around it, along its axes
six faces of a box   ROI box (:func:`box_of_faces`)
===================  ================================================================================================

More points than a person can handle one by one are drawn as a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.report.groups import Region

__all__ = [
    "ANGLE",
    "CLOSED",
    "CLOUD",
    "CURVE",
    "LINE",
    "MODEL",
    "POINTS_OF_ELLIPSE",
    "ROI",
    "Drawing",
    "box_of_faces",
    "drawing_of",
    "is_ring",
]

CLOUD = "vtkMRMLMarkupsFiducialNode"
LINE = "vtkMRMLMarkupsLineNode"
ANGLE = "vtkMRMLMarkupsAngleNode"
CURVE = "vtkMRMLMarkupsCurveNode"
CLOSED = "vtkMRMLMarkupsClosedCurveNode"
ROI = "vtkMRMLMarkupsROINode"
MODEL = "vtkMRMLModelNode"

POINTS_OF_ELLIPSE = 32
MOST_CONTROL_POINTS = 5000
"""Of one node; a control point is an object with a label, a model's point is three numbers."""
SAME_CORNER_MM = 1e-3
"""Two faces of a box meet in corners that are nearer than this: coordinates are written with 24 bits."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """How a region is drawn: the class of the node, and (n, 3) control points (LPS mm).

    Of a ROI box, the points are the ends of its three axes, as those of an ELLIPSOID.
    """

    node_class: str
    points: NDArray[np.float64]


def drawing_of(region: Region) -> Drawing | None:
    """Return how a region is drawn; None where it has no place."""
    points = region.points
    if points is None or not len(points):
        return None
    if region.type in ("CIRCLE", "ELLIPSE"):
        return Drawing(CLOSED, _on_ellipse(region))
    if region.type == "ELLIPSOID":
        return Drawing(ROI, points)
    if len(points) > MOST_CONTROL_POINTS:
        return Drawing(MODEL, points)
    if region.type in ("POINT", "MULTIPOINT") or len(points) == 1:
        return Drawing(CLOUD, points)
    if region.is_angle and len(points) in (3, 4):
        return Drawing(ANGLE, points[[0, 1, -1]])
    closed = is_ring(points)
    if closed or (region.type == "POLYGON" and len(points) > 2):
        return Drawing(CLOSED, points[:-1] if closed else points)
    if _is_rectangle(points):
        return Drawing(CLOSED, points)  # four corners of a box: nobody measures three of its sides
    if len(points) == 2:
        return Drawing(LINE, points)
    return Drawing(CURVE, points)


def is_ring(points: NDArray[np.float64]) -> bool:
    """Whether points (n, 2 or 3) are a line that ends where it starts, around something."""
    return len(points) > 3 and bool(np.array_equal(points[0], points[-1]))


def _is_rectangle(points: NDArray[np.float64]) -> bool:
    if len(points) != 4:
        return False
    sides = np.roll(points, -1, axis=0) - points
    lengths = np.linalg.norm(sides, axis=1)
    corners = np.abs(np.sum(sides * np.roll(sides, -1, axis=0), axis=1))
    return bool(lengths.min() > 0 and (corners < 1e-3 * lengths * np.roll(lengths, -1)).all())


def _on_ellipse(region: Region) -> NDArray[np.float64]:
    """Return points on a circle or an ellipse, the first one at the end of its first axis."""
    points = np.asarray(region.points)
    if region.type == "CIRCLE":
        centre, first = points[0], points[1] - points[0]
        normal = np.asarray(region.normal) if region.normal else _any_normal(first)
        second = np.cross(normal, first)
    else:
        # Ends of the major axis, then of the minor one.
        centre = points.mean(axis=0)
        first, second = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
    angles = 2 * np.pi * np.arange(POINTS_OF_ELLIPSE) / POINTS_OF_ELLIPSE
    return np.asarray(centre + np.outer(np.cos(angles), first) + np.outer(np.sin(angles), second), dtype=np.float64)


def _any_normal(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a unit vector across a vector: for a circle of which nothing says in which plane it lies."""
    across = np.cross(vector, np.eye(3)[int(np.argmin(np.abs(vector)))])
    length = float(np.linalg.norm(across))
    return across / length if length else np.array([0.0, 0.0, 1.0])


def box_of_faces(regions: Sequence[Region]) -> NDArray[np.float64] | None:
    """Return the ends (6, 3) of the axes of a box whose faces six polygons are; None where they are no box.

    A volume surface of TID 1411 is several polygons; of a box it has one for each face.
    """
    if len(regions) != 6 or any(one.type != "POLYGON" or one.points is None for one in regions):
        return None
    faces = [np.asarray(one.points) for one in regions]
    faces = [
        face[:-1] if len(face) == 5 and np.allclose(face[0], face[-1], atol=SAME_CORNER_MM) else face for face in faces
    ]
    if any(len(face) != 4 for face in faces):
        return None
    corners = np.concatenate(faces)
    centres = np.array([face.mean(axis=0) for face in faces])
    centre = centres.mean(axis=0)
    ends: list[NDArray[np.float64]] = []
    for place, one in enumerate(centres):
        if any(np.allclose(one, other, atol=SAME_CORNER_MM) for other in ends):
            continue
        opposite = 2 * centre - one
        if not any(np.allclose(opposite, other, atol=SAME_CORNER_MM) for other in np.delete(centres, place, axis=0)):
            return None
        ends += [opposite, one] if len(ends) % 2 else [one, opposite]
    axes = [(ends[2 * axis + 1] - ends[2 * axis]) / 2 for axis in range(3)] if len(ends) == 6 else []
    if not axes or any(
        abs(float(np.dot(axes[one], axes[other]))) > SAME_CORNER_MM for one, other in ((0, 1), (0, 2), (1, 2))
    ):
        return None
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    wanted = centre + signs @ np.array(axes)
    near = np.linalg.norm(corners[:, None] - wanted[None], axis=2) < SAME_CORNER_MM * 10
    return np.array(ends) if near.any(axis=1).all() and (near.sum(axis=0) == 3).all() else None
