"""Pictures of lines, curves, angles and boxes: drawn where they lie, named where they are seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from support.volumes import volume_node

from dicombridge import preview
from dicombridge.errors import DicomBridgeError
from dicombridge.preview import slices, strokes
from dicombridge.preview.annotations import Label, draw_labels, draw_strokes

GREEN = (0.0, 1.0, 0.0)


@pytest.fixture
def image(scene: Any) -> Any:
    """(12, 40, 40) voxels of nothing."""
    return volume_node(scene, np.zeros((12, 40, 40), np.int16), name="CT")


def centre(node: Any, i: float, j: float, k: float) -> NDArray[np.float64]:
    """Return the RAS place of a voxel."""
    grid = preview.subject_of_nodes([node]).frame
    return np.asarray(grid.ijk_to_ras[:3, :3] @ [i, j, k] + grid.ijk_to_ras[:3, 3])


def markup(scene: Any, kind: str, points: Any, name: str = "") -> Any:
    node = scene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node", name or kind)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSelectedColor(*GREEN)
    for point in points:
        node.AddControlPoint(*(float(value) for value in point))
    if node.IsA("vtkMRMLMarkupsCurveNode"):
        node.SetCurveTypeToLinear()
    return node


def box(scene: Any, middle: Any, size: Any) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetSelectedColor(*GREEN)
    node.SetXYZ(*middle)
    node.SetSize(*size)
    return node


def square(image: Any, k: float) -> list[NDArray[np.float64]]:
    return [centre(image, i, j, k) for i, j in ((10, 10), (30, 10), (30, 30), (10, 30))]


def axial(image: Any, nodes: list[Any]) -> tuple[NDArray[np.int64], slices.Plane, Any]:
    """Return the pixels of an axial picture of 500 x 500, and the plane."""
    from dicombridge.preview.page import _panel

    subject = preview.subject_of_nodes([image, *nodes])
    picture, _ = _panel(subject, "axial", (500, 500))
    return np.asarray(picture).astype(int), slices.plane_of_view(subject, "axial", (500, 500)), subject


def is_green(pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (pixels[..., 1] > 120) & (pixels[..., 0] < 90)


def green_along(pixels: NDArray[np.int64], plane: slices.Plane, start: Any, end: Any) -> float:
    """Return how much of the way between two places is green."""
    wanted = np.linspace(start, end, 60)
    places = np.rint(plane.places_of(wanted)).astype(int)
    return float(np.mean([is_green(pixels[r - 1 : r + 2, c - 1 : c + 2]).any() for r, c in places]))


@pytest.mark.parametrize(("kind", "sides"), [("Line", 1), ("Angle", 2), ("Curve", 3), ("ClosedCurve", 4)])
def test_every_side_is_drawn_where_it_lies(scene: Any, image: Any, kind: str, sides: int) -> None:
    corners = square(image, 8)
    given = corners[: {"Line": 2, "Angle": 3}.get(kind, 4)]
    pixels, plane, _ = axial(image, [markup(scene, kind, given)])
    drawn = [green_along(pixels, plane, corners[n], corners[(n + 1) % 4]) for n in range(4)]
    assert [part > 0.97 for part in drawn] == [number < sides for number in range(4)], drawn
    assert not is_green(pixels[tuple(np.rint(plane.places_of(np.mean([corners], axis=1)))[0].astype(int))])


def test_the_plane_is_that_of_the_shape(scene: Any, image: Any) -> None:
    for k in (2, 8, 11):
        node = markup(scene, "ClosedCurve", square(image, k))
        _, plane, _ = axial(image, [node])
        assert plane.origin[2] == pytest.approx(centre(image, 0, 0, k)[2])
        scene.RemoveNode(node)


def test_what_is_on_another_slice_is_not_drawn(scene: Any, image: Any) -> None:
    here = [markup(scene, "ClosedCurve", square(image, 8), name) for name in ("one", "two")]
    there = markup(scene, "Line", [centre(image, 3, 3, 10), centre(image, 3, 36, 10)])
    pixels, plane, subject = axial(image, [*here, there])
    assert [stroke.name for stroke, _, _ in strokes.strokes_in_plane(subject.strokes, plane, 0.5)] == ["one", "two"]
    assert green_along(pixels, plane, centre(image, 3, 3, 8), centre(image, 3, 36, 8)) == 0.0


def test_a_slanted_line_is_cut_off(scene: Any, image: Any) -> None:
    """From slice 0 to slice 10: within half a slice of slice 5 is a tenth of it."""
    line = markup(scene, "Line", [centre(image, 5, 20, 0), centre(image, 35, 20, 10)])
    stroke = strokes.stroke_of_node(line)
    assert stroke is not None
    middle = centre(image, 0, 0, 5)
    plane = slices.Plane(middle, np.array([-1.0, 0, 0]), np.array([0, -1.0, 0]), 1.0, (50, 50))
    ((_, (piece,), knots),) = strokes.strokes_in_plane([stroke], plane, 0.05 * abs(np.ptp(stroke.lines[0][:, 2])))
    ends = plane.places_of(stroke.lines[0])
    np.testing.assert_allclose(piece, ends[0] + np.array([[0.45], [0.55]]) * (ends[1] - ends[0]), atol=1e-9)
    assert len(knots) == 0


def test_a_line_that_leaves_the_plane_and_comes_back_is_two_pieces() -> None:
    corners = np.array([[0.0, 0, 0], [10, 0, 0], [10, 0, 20], [20, 0, 20], [20, 0, 0], [30, 0, 0]])
    stroke = strokes.Stroke("arch", "", GREEN, (corners,), corners[:0])
    plane = slices.Plane(np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), 1.0, (50, 50))
    ((_, pieces, _),) = strokes.strokes_in_plane([stroke], plane, 2.0)
    assert [piece[:, 1].tolist() for piece in pieces] == [[0, 10, 10], [20, 20, 30]]


def test_a_box_is_cut_in_a_polygon(scene: Any, image: Any) -> None:
    middle = centre(image, 20, 20, 6)
    node = box(scene, middle, (10, 16, 4))
    # A place at which the plane of the middle slice cuts the four upright edges.
    pixels, plane, _ = axial(image, [node])
    reach = np.array([[-5, -8, 0], [5, -8, 0], [5, 8, 0], [-5, 8, 0]])
    corners = middle + reach
    assert all(green_along(pixels, plane, corners[n], corners[(n + 1) % 4]) > 0.97 for n in range(4))
    stroke = strokes.stroke_of_node(node)
    assert stroke is not None
    far = slices.Plane(middle + np.array([0, 0, 2.1]), plane.right, plane.down, 1.0, (50, 50))
    assert list(strokes.strokes_in_plane([stroke], far, 0.5)) == []
    assert len(stroke.lines) == 12


def test_parent_transforms_move_strokes(scene: Any, image: Any) -> None:
    import vtk

    corners = square(image, 8)
    nodes = [
        markup(scene, "Line", corners[:2]),
        markup(scene, "ClosedCurve", corners),
        box(scene, (0, 0, 0), (4, 6, 8)),
    ]
    before = [strokes.stroke_of_node(node) for node in nodes]
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 11.0)
    matrix.SetElement(1, 1, 2.0)
    transform.SetMatrixTransformToParent(matrix)
    for node, old in zip(nodes, before, strict=True):
        node.SetAndObserveTransformNodeID(transform.GetID())
        new = strokes.stroke_of_node(node)
        assert old is not None
        assert new is not None
        for one, other in zip(old.lines, new.lines, strict=True):
            first, last = one[[0, -1]], other[[0, -1]]
            np.testing.assert_allclose(last, first * [1, 2, 1] + [11, 0, 0], atol=1e-9)


def test_hidden_and_unfinished_markups_are_left_out(scene: Any, image: Any) -> None:
    hidden = markup(scene, "Line", square(image, 8)[:2])
    hidden.GetDisplayNode().SetVisibility(False)
    unfinished = markup(scene, "Line", square(image, 8)[:1])
    empty = markup(scene, "ClosedCurve", [])
    subject = preview.subject_of_nodes([image, hidden, unfinished, empty])
    assert (subject.strokes, subject.marks) == ([], [])


def test_a_stroke_tells_its_name_and_its_number(scene: Any, image: Any) -> None:
    import slicer

    node = markup(scene, "Line", square(image, 8)[:2], "Long axis")
    assert [(one.name, one.value) for one in preview.subject_of_nodes([image, node]).strokes] == [("Long axis", "")]
    measurement = slicer.vtkMRMLStaticMeasurement()
    measurement.SetName("Area (report)")
    measurement.SetUnits("mm2")
    measurement.SetValue(38.04159)
    node.AddMeasurement(measurement)
    assert preview.subject_of_nodes([image, node]).strokes[0].value == "38.04 mm²"


def test_labels_stand_apart_and_inside_the_picture() -> None:
    class Recorder:
        """Writes down where texts are put; a letter is 8 wide, a line 16 high."""

        def __init__(self) -> None:
            self.boxes: list[tuple[float, float, float, float]] = []

        def multiline_textbbox(self, place: Any, text: str, anchor: str, **_: Any) -> tuple[float, float, float, float]:
            wide, high = 8 * max(map(len, text.split("\n"))), 16 * len(text.split("\n"))
            left = place[0] - {"l": 0, "m": wide / 2, "r": wide}[anchor[0]]
            top = place[1] - {"a": 0, "m": high / 2, "d": high}[anchor[1]]
            return left, top, left + wide, top + high

        def multiline_text(self, place: Any, text: str, anchor: str, **_: Any) -> None:
            self.boxes.append(self.multiline_textbbox(place, text, anchor))

    recorder = Recorder()
    around = (100.0, 100.0, 160.0, 140.0)
    shapes = [around, around, around, (380.0, 200.0, 398.0, 220.0)]
    draw_labels(recorder, [Label("Lesion\n12 mm", (0, 255, 0), shape) for shape in shapes], (400, 400))
    assert len(recorder.boxes) == 4
    for number, one in enumerate(recorder.boxes):
        assert min(one) >= 0
        assert max(one) <= 400
        for other in [*recorder.boxes[:number], *shapes]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


def test_a_line_that_crosses_the_plane_has_no_label(scene: Any, image: Any) -> None:
    upright = markup(scene, "Line", [centre(image, 20, 20, 0), centre(image, 20, 20, 11)], "Upright")
    flat = markup(scene, "ClosedCurve", square(image, 8), "Flat")
    subject = preview.subject_of_nodes([image, upright, flat])
    plane = slices.plane_of_view(subject, "axial", (200, 200))
    named = draw_strokes(ImageDraw.Draw(Image.new("RGB", (400, 400))), subject, plane, 2)
    assert [label.text for label in named] == ["Flat"]


def test_strokes_are_tubes_in_3d_and_need_no_image(scene: Any, image: Any, tmp_path: Path) -> None:
    node = markup(scene, "ClosedCurve", square(image, 8), "Outline")
    subject = preview.subject_of_nodes([node])
    assert preview.default_views(subject) == ("3d",)
    assert subject.title == "Outline"
    pixels = np.asarray(Image.open(preview.render([node], tmp_path / "outline.png", width=500))).astype(int)
    assert ((pixels[..., 1] > 2 * pixels[..., 0]) & (pixels[..., 1] > 90)).sum() > 500
    with pytest.raises(DicomBridgeError, match="3D"):
        preview.render([node], tmp_path / "plane.png", views=["axial"])
