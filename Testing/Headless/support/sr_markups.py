"""Markups of every shape, drawn in slices of an image series, and what a report of them has to say.

What is expected is computed here, from the points that went in; nothing of it is taken from the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dicombridge
from support.peers import assert_consistent, run, tool
from support.sr_images import SeriesOfImages

Points = NDArray[np.float64]
Concept = tuple[str, str]
"""Value and scheme."""

LENGTH, AREA, PERIMETER = ("410668003", "SCT"), ("42798000", "SCT"), ("131191004", "SCT")
LONG_AXIS, SHORT_AXIS = ("103339001", "SCT"), ("103340004", "SCT")
COBB_ANGLE = ("285285000", "SCT")
ANGLE, DIAMETER, VOLUME = ("1483009", "SCT"), ("81827009", "SCT"), ("118565006", "SCT")
MASS, LIVER, LEFT = ("4147007", "SCT", "Mass"), ("10200004", "SCT", "Liver"), ("7771000", "SCT", "Left")
ABNORMAL = ("49755003", "SCT", "Morphologically Abnormal Structure")
TERMINOLOGY = (
    f"x~SCT^{ABNORMAL[0]}^{ABNORMAL[2]}~SCT^{MASS[0]}^{MASS[2]}~^^~y~SCT^{LIVER[0]}^{LIVER[2]}~SCT^{LEFT[0]}^{LEFT[2]}"
)
"""What Slicer's terminology widget writes of a mass on the left of the liver."""

# (column, row) from the centre of the first pixel
LINE = [(4.25, 6.5), (30.0, 20.0)]
CORNER = [(-0.5, -0.5), (10.0, 12.0)]  # begins where columns and rows are 0
ARMS = [(5.0, 5.0), (20.0, 25.0), (40.0, 8.0)]
PATH = [(4.0, 4.0), (12.0, 6.0), (20.5, 18.0), (33.0, 21.0)]
RING = [(10.0, 8.0), (30.0, 7.0), (38.0, 20.0), (24.0, 33.0), (8.0, 25.0)]
BOX = [(10.0, 10.0), (34.0, 10.0), (34.0, 30.0), (10.0, 30.0)]
TURNED = [(20.0, 5.0), (28.0, 13.0), (20.0, 21.0), (12.0, 13.0)]
AXES = ([(24.0, 5.0), (25.0, 14.0)], [(6.0, 15.0), (44.0, 18.0)])
ENDPLATES = ([(8.0, 6.0), (30.0, 9.0)], [(29.0, 31.0), (7.0, 22.0)])  # drawn from either side
MARKS = [(3.0, 3.0), (7.5, 12.25)]


@dataclass
class Drawn:
    """What was drawn, and is one measurement group.

    Attributes
    ----------
    types, points
        Of its regions: Graphic Type in space, and (n, 3) LPS mm as they went in, a polygon's first point not repeated.
    values
        Value and unit by concept.
    plane
        Number of the plane in which it lies; None where it lies in none.
    """

    name: str
    nodes: list[Any]
    types: list[str]
    points: list[Points]
    values: dict[Concept, tuple[float, str]] = field(default_factory=dict)
    plane: int | None = 0
    comment: str = ""


def load_images(images: SeriesOfImages) -> tuple[Any, Any, Any]:
    """Load a series; return scene, its volume and the database of its folder."""
    database = dicombridge.open_folder(images.folder)
    scene = dicombridge.new_scene()
    (volume,) = [
        node
        for node in dicombridge.load(images.series, scene=scene, database=database)
        if node.IsA("vtkMRMLScalarVolumeNode")
    ]
    return scene, volume, database


def length(points: Points) -> float:
    return float(np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1)).sum())


def area(points: Points, images: SeriesOfImages) -> float:
    """The shoelace formula along row and column of a plane."""
    x, y = points @ images.row, points @ images.column
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def angle(one: Points, other: Points) -> float:
    return float(np.degrees(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))))


def add(scene: Any, kind: str, name: str, lps: Points, volume: Any = None) -> Any:
    """Add markups of points, as somebody places them in slices of a volume."""
    node = scene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node", name)
    for number, (x, y, z) in enumerate(np.asarray(lps).tolist()):
        node.AddControlPointWorld(-x, -y, z)
        if volume is not None:
            node.SetNthControlPointAssociatedNodeID(number, volume.GetID())
    if "Curve" in kind:
        node.SetCurveTypeToLinear()
    return node


def around(centre: Points, first: Points, second: Points) -> Points:
    """32 points on an ellipse."""
    angles = 2 * np.pi * np.arange(32) / 32
    return np.asarray(centre + np.outer(np.cos(angles), first) + np.outer(np.sin(angles), second))


def _matrix(images: SeriesOfImages, centre: Points) -> Any:
    """Object to world (RAS): axes along row, column and normal of the planes, in LPS."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    to_ras = np.array([-1.0, -1.0, 1.0])
    columns = [images.row * to_ras, images.column * to_ras, np.cross(images.row, images.column) * to_ras]
    for column, values in enumerate([*columns, centre * to_ras]):
        for row in range(3):
            matrix.SetElement(row, column, float(values[row]))
    return matrix


def draw(scene: Any, images: SeriesOfImages, volume: Any, *, solid: bool = True) -> list[Drawn]:
    """Draw one of each: ``solid`` also a box, which lies in no plane. All are masks on the left of the liver."""
    flat = [_draw_lines, _draw_contours, _draw_round, _draw_sheet, _draw_points]
    everything = [one for draw_some in flat for one in draw_some(scene, images, volume)]
    if solid:
        everything.append(_draw_box(scene, images))
    for one in everything:
        for node in one.nodes:
            node.SetAttribute("Terminologies.TerminologyEntry", TERMINOLOGY)
    return everything


def _draw_lines(scene: Any, images: SeriesOfImages, volume: Any) -> list[Drawn]:
    line, corner = images.of_pixels(1, LINE), images.of_pixels(0, CORNER)
    arms, path = images.of_pixels(2, ARMS), images.of_pixels(3, PATH)
    axes = [images.of_pixels(2, one) for one in AXES]
    nodes = [add(scene, "Line", name, one, volume) for name, one in zip(("short", "long"), axes, strict=True)]
    for node in nodes:
        node.SetAttribute("DICOMBridge.GroupName", "Target 1")
    spans = {LONG_AXIS: (length(axes[1]), "mm"), SHORT_AXIS: (length(axes[0]), "mm")}
    endplates = [images.of_pixels(0, one) for one in ENDPLATES]
    plates = [add(scene, "Line", name, one, volume) for name, one in zip(("upper", "lower"), endplates, strict=True)]
    for node in plates:
        node.SetAttribute("DICOMBridge.GroupName", "T5 to L1")
    tilt = {COBB_ANGLE: (angle(endplates[0][1] - endplates[0][0], endplates[1][0] - endplates[1][1]), "deg")}
    between = {ANGLE: (angle(arms[0] - arms[1], arms[2] - arms[1]), "deg")}
    return [
        _drawn("line", add(scene, "Line", "line", line, volume), line, {LENGTH: (length(line), "mm")}, 1),
        _drawn("corner", add(scene, "Line", "corner", corner, volume), corner, {LENGTH: (length(corner), "mm")}, 0),
        _drawn("angle", add(scene, "Angle", "angle", arms, volume), arms, between, 2),
        _drawn("path", add(scene, "Curve", "path", path, volume), path, {LENGTH: (length(path), "mm")}, 3),
        Drawn("Target 1", nodes, ["POLYLINE"] * 2, axes, spans, 2),
        Drawn("T5 to L1", plates, ["POLYLINE"] * 2, endplates, tilt, 0),
    ]


def _drawn(name: str, node: Any, points: Points, values: Any, plane: int, kind: str = "POLYLINE") -> Drawn:
    return Drawn(name, [node], [kind], [points], values, plane)


def _draw_contours(scene: Any, images: SeriesOfImages, volume: Any) -> list[Drawn]:
    found = []
    for plane, (name, pixels) in enumerate((("ring", RING), ("box", BOX), ("turned", TURNED))):
        points = images.of_pixels(plane, pixels)
        values = {
            AREA: (area(points, images), "mm2"),
            PERIMETER: (length(np.vstack([points, points[:1]])), "mm"),
        }
        node = add(scene, "ClosedCurve", name, points, volume)
        found.append(_drawn(name, node, points, values, plane, "POLYGON"))
    return found


def _draw_round(scene: Any, images: SeriesOfImages, volume: Any) -> list[Drawn]:
    between_rows, between_columns = images.spacing
    found = []
    for name, plane, pixel, radii in (
        ("ellipse", 3, (24.0, 20.0), (11 * between_columns, 8 * between_rows)),
        ("circle", 1, (20.0, 18.0), (6.5, 6.5)),
    ):
        centre = images.of_pixels(plane, [pixel])[0]
        first, second = radii[0] * images.row, radii[1] * images.column
        ends = np.stack([centre + first, centre - first, centre + second, centre - second])
        values = {AREA: (np.pi * radii[0] * radii[1], "mm2")}
        spans = (
            {DIAMETER: (13.0, "mm")}
            if name == "circle"
            else {LONG_AXIS: (2 * radii[0], "mm"), SHORT_AXIS: (2 * radii[1], "mm")}
        )
        node = add(scene, "ClosedCurve", name, around(centre, first, second), volume)
        found.append(_drawn(name, node, ends, values | spans, plane, "ELLIPSE"))
    return found


def _draw_sheet(scene: Any, images: SeriesOfImages, volume: Any) -> list[Drawn]:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode", "sheet")
    centre = images.of_pixels(1, [(22.0, 15.0)])[0]
    x, y, z = (column * [-1, -1, 1] for column in (images.row, images.column, np.cross(images.row, images.column)))
    node.SetAxesWorld(x.tolist(), y.tolist(), z.tolist())
    node.SetCenterWorld((centre * [-1, -1, 1]).tolist())
    node.SetSize(10.0, 8.0)
    halves = [(-5, -4), (5, -4), (5, 4), (-5, 4)]
    corners = np.array([centre + one * images.row + other * images.column for one, other in halves])
    return [_drawn("sheet", node, corners, {AREA: (80.0, "mm2")}, 1, "POLYGON")]


def _draw_points(scene: Any, images: SeriesOfImages, volume: Any) -> list[Drawn]:
    points = images.of_pixels(1, MARKS)
    node = add(scene, "Fiducial", "marks", points, volume)
    for number, label in enumerate(("apex", "base")):
        node.SetNthControlPointLabel(number, label)
    node.SetNthControlPointDescription(1, "see here, µ")
    apex, base = (
        Drawn(label, [node], ["POINT"], [points[n : n + 1]], {}, 1) for n, label in enumerate(("apex", "base"))
    )
    base.comment = "see here, µ"
    return [apex, base]


def _draw_box(scene: Any, images: SeriesOfImages) -> Drawn:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "solid")
    centre = images.of_pixels(2, [(20.0, 20.0)])[0]
    node.SetAndObserveObjectToNodeMatrix(_matrix(images, centre))
    node.SetSize(12.0, 8.0, 4.0)
    normal = np.cross(images.row, images.column)
    faces = []
    for axis in range(3):
        for side in (-1, 1):
            signs = np.insert(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]), axis, side, axis=1)
            faces.append(centre + signs * [6.0, 4.0, 2.0] @ np.stack([images.row, images.column, normal]))
    return Drawn("solid", [node], ["POLYGON"] * 6, faces, {VOLUME: (384.0, "mm3")}, None)


def same_points(found: Any, wanted: Points, tolerance: float = 1e-5) -> bool:
    """Whether points are the same in order; tolerance is that of 24 bits, in millimetres of a body."""
    found = np.asarray(found, float)
    return found.shape == wanted.shape and bool(np.abs(found - wanted).max() <= tolerance)


def same_ring(found: Any, wanted: Points, tolerance: float = 1e-5) -> bool:
    """Whether points are the same contour, wherever it begins and whichever way it runs; not the first one again."""
    both = (np.asarray(found, float), np.asarray(found, float)[::-1])
    return any(same_points(np.roll(one, shift, axis=0), wanted, tolerance) for one in both for shift in range(len(one)))


def errors_of(path: Path) -> list[str]:
    """What dciodvfy finds wrong in a report."""
    done = run(tool("dciodvfy"), "-new", path, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(line.strip().endswith("SR") for line in lines), f"dciodvfy saw no report: {lines}"
    return [line for line in lines if line.startswith("Error")]


def assert_report_valid(path: Path, others: Sequence[Path], folder: Path, known: Sequence[str] = ()) -> None:
    """dciodvfy finds no error, but ``known`` ones, and dcentvfy none of patient, study and references."""
    assert [line for line in errors_of(path) if line not in known] == []
    assert_consistent(path, list(others), folder)
