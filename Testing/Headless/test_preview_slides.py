"""Pictures of slides: colours, the lines of annotations, segmentations, and a scale instead of a patient's sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.volumes import volume_node

from dicombridge import preview
from dicombridge.preview import slices
from dicombridge.preview.annotations import draw_strokes
from dicombridge.preview.subject import Grid, Subject

RED, YELLOW = (1.0, 0.0, 0.0), (1.0, 1.0, 0.0)
SPACING = 0.001
MARGIN, TOP = 16, 78
"""Pixels of a page beside and above its picture."""


def slide(scene: Any, pixels: NDArray[np.uint8], kind: str = "SLIDE") -> Any:
    """Return a colour volume of one slice whose rows run along R, columns along A, 1 um a pixel."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(pixels.reshape(-1, 3), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Slide")
    node.SetAndObserveImageData(image)
    node.SetSpacing(SPACING, SPACING, 1.0)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevelMinMax(0, 255)
    node.SetAttribute("DICOMBridge.Kind", kind)
    return node


def outlines(scene: Any, shapes: list[list[tuple[float, float]]], z: float = 0.0, dots: bool = False) -> Any:
    """Return a model of closed lines, or of points, whose corners are columns and rows (centres of pixels)."""
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    points, cells, data = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetDataTypeToDouble()
    for shape in shapes:
        ids = [points.InsertNextPoint(column * SPACING, row * SPACING, z) for column, row in shape]
        for group in [[one] for one in ids] if dots else [[*ids, ids[0]]]:
            cells.InsertNextCell(len(group), group)
    data.SetPoints(points)
    (data.SetVerts if dots else data.SetLines)(cells)
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", "Nuclei")
    node.SetAndObservePolyData(data)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetColor(*YELLOW)
    return node


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """(300, 400) with four quarters of different colours."""
    found = np.zeros((300, 400, 3), np.uint8)
    found[:150, :200], found[:150, 200:] = (200, 30, 90), (20, 180, 60)
    found[150:, :200], found[150:, 200:] = (240, 230, 250), (10, 20, 130)
    return found


def drawn(nodes: Any, path: Path, width: int = 432) -> NDArray[np.int64]:
    """Return the page; at 432 pixels, one of the picture is one of the slide."""
    with Image.open(preview.render(nodes, path, width=width)) as page:
        return np.asarray(page).astype(int)


def test_colours_are_those_of_the_slide(scene: Any, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    page = drawn(slide(scene, pixels), tmp_path / "slide.png")
    shown = page[TOP : TOP + 300, MARGIN : MARGIN + 400]
    for row, column in ((40, 60), (40, 330), (250, 60), (200, 210)):
        np.testing.assert_array_equal(shown[row, column], pixels[row, column])


def test_a_slide_has_one_panel_and_a_scale(scene: Any, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    """A patient's sides would mean nothing, nor would planes across it."""
    pixels[:] = (120, 60, 90)
    node = slide(scene, pixels)
    subject = preview.subject_of_nodes(node)
    assert subject.on_slide
    assert preview.default_views(subject) == ("acquisition",)
    shown = drawn(node, tmp_path / "slide.png")[TOP : TOP + 300, MARGIN : MARGIN + 400]
    changed = (shown != (120, 60, 90)).any(axis=2)
    assert changed[-40:, -90:].any()
    changed[-40:, -90:] = False
    assert not changed.any()
    # 50 um is the longest round length of at most a sixth.
    white = (shown[-16] > 250).all(axis=1)
    assert white.sum() == pytest.approx(50, abs=2)


def test_other_colour_volumes_are_of_a_patient(scene: Any, pixels: NDArray[np.uint8]) -> None:
    subject = preview.subject_of_nodes(slide(scene, pixels, kind="IMAGE"))
    assert not subject.on_slide
    assert subject.image is not None
    assert subject.image.is_colour


@pytest.mark.parametrize("z", [0.0, 0.02])
def test_annotations_are_drawn_where_they_lie(scene: Any, pixels: NDArray[np.uint8], tmp_path: Path, z: float) -> None:
    """Also those of another focal plane, as Slicer projects them."""
    square = [(50.0, 60.0), (80.0, 60.0), (80.0, 90.0), (50.0, 90.0)]
    shapes = [square, [(300.0, 200.0), (330.0, 200.0), (315.0, 240.0)]]
    model = outlines(scene, shapes, z)
    nodes = [slide(scene, pixels), model]
    subject = preview.subject_of_nodes(nodes)
    assert subject.models == []
    assert [(one.name, one.is_many, len(one.lines)) for one in subject.strokes] == [("Nuclei", True, 2)]
    page = drawn(nodes, tmp_path / "slide.png")
    yellow = (page[..., :2] > 140).all(axis=2) & (page[..., 2] < 110)
    shown = yellow[TOP : TOP + 300, MARGIN : MARGIN + 400]
    for column, row in ((65, 60), (80, 75), (50, 75), (315, 200)):
        assert shown[row - 1 : row + 2, column - 1 : column + 2].any(), (column, row)
    assert not shown[65:86, 55:76].any()  # lines, no faces
    assert yellow[TOP + 300 :].sum() > 200  # the legend's patch
    rows, columns = np.nonzero(shown)
    assert (rows.min(), columns.min()) == pytest.approx((60, 50), abs=1)
    assert (rows.max(), columns.max()) == pytest.approx((240, 330), abs=1)


def test_points_are_dots(scene: Any, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    model = outlines(scene, [[(100.0, 80.0), (300.0, 220.0)]], dots=True)
    page = drawn([slide(scene, pixels), model], tmp_path / "slide.png")
    yellow = (page[..., :2] > 140).all(axis=2) & (page[..., 2] < 110)
    assert yellow[TOP + 80, MARGIN + 100]
    assert yellow[TOP + 220, MARGIN + 300]
    assert 20 < yellow[TOP : TOP + 300].sum() < 90


def test_what_lies_under_a_transform_is_drawn_where_it_is_seen(scene: Any, pixels: NDArray[np.uint8]) -> None:
    model = outlines(scene, [[(10.0, 10.0), (20.0, 10.0), (20.0, 20.0)]])
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    matrix.SetElement(0, 3, 0.1)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(matrix)
    model.SetAndObserveTransformNodeID(transform.GetID())
    (stroke,) = preview.subject_of_nodes([slide(scene, pixels), model]).strokes
    np.testing.assert_allclose(stroke.lines[0][0], [0.11, 0.01, 0.0])


def test_models_with_faces_or_without_a_slide_stay_models(scene: Any, pixels: NDArray[np.uint8]) -> None:
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    source = vtkSphereSource()
    source.Update()
    ball = scene.AddNewNodeByClass("vtkMRMLModelNode", "Ball")
    ball.SetAndObservePolyData(source.GetOutput())
    ball.CreateDefaultDisplayNodes()
    lines = outlines(scene, [[(10.0, 10.0), (20.0, 10.0), (20.0, 20.0)]])
    ct = volume_node(scene, np.zeros((12, 40, 40), np.int16), name="CT")
    assert preview.subject_of_nodes([slide(scene, pixels), ball]).models == [ball]
    assert preview.subject_of_nodes([ct, lines]).models == [lines]
    assert preview.subject_of_nodes([lines]).models == [lines]
    empty = outlines(scene, [])
    assert preview.subject_of_nodes([slide(scene, pixels), empty]).strokes == []


def test_large_slides_are_averaged(scene: Any) -> None:
    """Of a slide with far more pixels than the picture, none is skipped: a fine chessboard becomes grey."""
    board = np.indices((800, 800)).sum(axis=0) % 2 * 200
    node = slide(scene, np.repeat(board[..., None], 3, axis=2).astype(np.uint8))
    subject = preview.subject_of_nodes(node)
    plane = slices.plane_of_view(subject, "acquisition", (100, 100))
    picture = slices.slice_picture(subject, plane, enlarge=2)
    assert picture.shape == (200, 200, 3)
    assert (np.abs(picture.astype(int) - 100) <= 1).all()


def test_averages_lie_where_their_pixels_did(scene: Any) -> None:
    """One red block of a large slide is drawn at its place."""
    pixels = np.zeros((810, 830, 3), np.uint8)
    pixels[400:480, 160:240, 0] = 255
    subject = preview.subject_of_nodes(slide(scene, pixels))
    plane = slices.plane_of_view(subject, "acquisition", (81, 83))
    picture = slices.slice_picture(subject, plane)
    rows, columns = np.nonzero(picture[..., 0] > 128)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 47, 16, 23)
    assert (picture[41:47, 17:23, 0] == 255).all()


def test_heat_lies_over_colours() -> None:
    """A map over a slide: bright where it is high, the slide where it is low."""
    matrix = np.diag([SPACING, SPACING, 1.0, 1.0])
    values = np.zeros((1, 40, 40))
    values[:, :, 20:] = 1.0
    image = Grid(np.full((1, 40, 40, 3), 90, np.uint8), matrix)
    subject = Subject(image=image, window=(0.0, 255.0), heat=Grid(values, matrix), on_slide=True)
    picture = slices.slice_picture(subject, slices.plane_of_view(subject, "acquisition", (40, 40)), enlarge=2)
    np.testing.assert_array_equal(picture[:, :36], 90)
    assert (picture[:, 44:, 0] > 180).all()


def test_many_annotations_are_drawn_at_once(scene: Any, pixels: NDArray[np.uint8]) -> None:
    """20 000 polygons take no longer than their lines do: each is placed without a step for each of its edges."""
    from PIL import ImageDraw

    random = np.random.default_rng(0)
    corners = random.uniform(10, 280, (20_000, 1, 2)) + np.array([[0, 0], [3, 0], [3, 3], [0, 3]])
    subject = preview.subject_of_nodes([slide(scene, pixels), outlines(scene, corners.tolist())])
    plane = slices.plane_of_view(subject, "acquisition", (300, 400))
    picture = Image.new("RGB", (800, 600))
    assert draw_strokes(ImageDraw.Draw(picture), subject, plane, 2) == []
    assert np.asarray(picture)[..., 0].mean() > 100
