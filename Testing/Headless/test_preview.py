"""Previews: what lies where in the picture, and that the nodes stay as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.volumes import elements_of, volume_node

from dicombridge import geometry, preview
from dicombridge.errors import DicomBridgeError
from dicombridge.preview import slices

RED, GREEN = (1.0, 0.2, 0.1), (0.1, 0.9, 0.3)
SHAPE = (20, 40, 50)
# Oblique, and with three different spacings: a transposed axis or a lost sign moves every box.
TURN = np.deg2rad(25.0)
STRAIGHT = np.array([[0, 0, 2.0, -50.0], [0, 2.5, 0, -40.0], [4.0, 0, 0, -30.0], [0, 0, 0, 1.0]])
OBLIQUE = (
    np.array([[np.cos(TURN), -np.sin(TURN), 0, 0], [np.sin(TURN), np.cos(TURN), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    @ STRAIGHT
)


def _grid(affine: np.ndarray) -> Any:
    from highdicom import VolumeGeometry

    return VolumeGeometry(affine, SHAPE, "PATIENT")


def _scalars(values: np.ndarray) -> Any:
    from vtk.util.numpy_support import numpy_to_vtk

    return numpy_to_vtk(np.ascontiguousarray(values).ravel(), deep=True)


def _add_volume(scene: Any, values: np.ndarray, affine: np.ndarray, name: str = "Image") -> Any:
    to_ras = elements_of(geometry.vtk_matrix(geometry.ijk_to_ras(_grid(affine))))
    node = volume_node(scene, values, to_ras, name)
    node.CreateDefaultDisplayNodes()
    return node


def _add_segmentation(scene: Any, labels: np.ndarray, affine: np.ndarray, segments: list[tuple[str, Any]]) -> Any:
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Boxes")
    node.CreateDefaultDisplayNodes()
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(labels.shape[::-1])
    image.GetPointData().SetScalars(_scalars(labels.astype(np.uint8)))
    geometry.set_image_geometry(image, _grid(affine))
    for label, (name, colour) in enumerate(segments, start=1):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(*colour)
        segment.AddRepresentation("Binary labelmap", image)
        segment.SetLabelValue(label)
        node.GetSegmentation().AddSegment(segment, name)
    return node


def _boxes() -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[6:14, 8:20, 5:15] = 1
    labels[6:14, 22:34, 30:45] = 2
    return labels


@pytest.fixture(params=[STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def boxes(request: pytest.FixtureRequest, scene: Any) -> tuple[Any, Any, np.ndarray]:
    affine = request.param
    values = np.full(SHAPE, 100, dtype=np.int16)
    volume = _add_volume(scene, values, affine)
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(400, 100)
    node = _add_segmentation(scene, _boxes(), affine, [("Red", RED), ("Green", GREEN)])
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return node, volume, affine


def _ras(affine: np.ndarray, index: tuple[float, float, float]) -> np.ndarray:
    return (geometry.lps_ras_matrix() @ affine @ [*index, 1.0])[:3]


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal", "acquisition"])
def test_segment_is_where_it_projects(boxes: tuple[Any, Any, np.ndarray], view: str) -> None:
    node, _, affine = boxes
    subject = preview.subject_of_nodes([node])
    plane = slices.plane_of_view(subject, view, (300, 300))
    picture = slices.slice_picture(subject, plane)
    normal = np.cross(plane.right, plane.down)
    checked = 0
    # Every voxel near the plane, well inside a box or well outside all of them, has the colour that it must have.
    labels = _boxes()
    for index in np.ndindex(*[size // 2 for size in SHAPE]):
        voxel = tuple(2 * i for i in index)
        point = _ras(affine, voxel)
        if abs((point - plane.origin) @ normal) > 1e-6 + (0.6 if view != "acquisition" else 0.1):
            continue
        around = labels[tuple(slice(max(i - 2, 0), i + 3) for i in voxel)]
        if around.min() != around.max():
            continue
        row, column = plane.pixel_of(point)
        if not (0 <= row < 300 and 0 <= column < 300):
            continue
        grey = 127.5
        colour = {0: None, 1: RED, 2: GREEN}[int(around.max())]
        expected = np.full(3, grey) if colour is None else grey * 0.62 + np.array(colour) * 255 * 0.38
        assert np.abs(picture[row, column] - expected).max() <= 2, (voxel, row, column)
        checked += 1
    assert checked > 10


def test_outline_has_the_full_colour(boxes: tuple[Any, Any, np.ndarray]) -> None:
    node, _, _ = boxes
    subject = preview.subject_of_nodes([node])
    plane = slices.plane_of_view(subject, "acquisition", (300, 300))
    picture = slices.slice_picture(subject, plane).reshape(-1, 3)
    for colour in (RED, GREEN):
        exact = (np.abs(picture - np.array(colour) * 255).max(axis=1) <= 1).sum()
        assert 100 < exact < 2000


def test_plane_crosses_both_boxes_and_letters_tell_the_sides(boxes: tuple[Any, Any, np.ndarray]) -> None:
    node, _, _ = boxes
    subject = preview.subject_of_nodes([node])
    for view, right, down in (("axial", "L", "P"), ("coronal", "L", "I"), ("sagittal", "P", "I")):
        plane = slices.plane_of_view(subject, view, (100, 100))
        assert (slices.letters_of(plane.right), slices.letters_of(plane.down)) == (right, down)
    plane = slices.plane_of_view(subject, "axial", (100, 100))
    crossed = [region.name for region, _ in slices._cut(*subject.layers[0], plane)]
    assert crossed == ["Red", "Green"]


def test_parent_transform_moves_the_segment(scene: Any) -> None:
    import vtk

    node = _add_segmentation(scene, _boxes(), STRAIGHT, [("Red", RED), ("Green", GREEN)])
    before = preview.subject_of_nodes([node]).layers[0][0].corners
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 11.0)
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    after = preview.subject_of_nodes([node]).layers[0][0].corners
    np.testing.assert_allclose(after - before, np.tile([11.0, 0, 0], (8, 1)))


def test_probability_is_a_heat_overlay_on_the_image(scene: Any) -> None:
    image = _add_volume(scene, np.zeros(SHAPE, dtype=np.int16), STRAIGHT)
    probability = np.zeros(SHAPE, dtype=np.float32)
    probability[6:14, 8:20, 5:15] = 1.0
    overlay = _add_volume(scene, probability, STRAIGHT, "Probability")
    subject = preview.subject_of_nodes([image, overlay])
    assert subject.heat is not None
    assert subject.image is not None
    plane = slices.plane_of_view(subject, "axial", (300, 300))
    picture = slices.slice_picture(subject, plane)
    inside = picture[plane.pixel_of(_ras(STRAIGHT, (10, 14, 10)))]
    outside = picture[plane.pixel_of(_ras(STRAIGHT, (10, 30, 40)))]
    background = outside.astype(float)
    np.testing.assert_allclose(inside, background * 0.25 + np.array(slices.heat_colour(1.0)) * 0.75, atol=1.5)


def test_surfaces_have_the_segments_colours_and_the_node_is_unchanged(boxes: tuple[Any, Any, np.ndarray]) -> None:
    from dicombridge.preview.surfaces import surface_picture

    node, _, _ = boxes
    modified = node.GetSegmentation().GetMTime()
    picture = surface_picture([node], (300, 400)).astype(int)
    assert picture.shape == (300, 400, 3)
    reddish = (picture[..., 0] > 1.6 * picture[..., 1]) & (picture[..., 0] > 90)
    greenish = (picture[..., 1] > 1.6 * picture[..., 0]) & (picture[..., 1] > 90)
    assert reddish.sum() > 2000
    assert greenish.sum() > 2000
    # Seen from the front, the patient's right is on the left: Red has the smaller x in LPS.
    assert np.nonzero(reddish)[1].mean() < np.nonzero(greenish)[1].mean()
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    assert node.GetSegmentation().GetMTime() == modified


def test_render_writes_a_page_with_all_panels(boxes: tuple[Any, Any, np.ndarray], tmp_path: Path) -> None:
    from PIL import Image

    node, _, _ = boxes
    path = preview.render([node], tmp_path / "new" / "page.png", width=900)
    with Image.open(path) as page:
        picture = np.asarray(page).astype(int)
    assert picture.shape[1] == 900
    assert [file.name for file in path.parent.iterdir()] == ["page.png"]
    middle = picture.shape[0] // 2
    for part in (picture[:middle, :450], picture[:middle, 450:], picture[middle:, :450], picture[middle:, 450:]):
        assert part.std() > 10
    legend = picture[-50:].reshape(-1, 3)
    for colour in (RED, GREEN):
        assert (np.abs(legend - np.array(colour) * 255).max(axis=1) <= 1).sum() > 100


def test_hidden_and_empty_segments(scene: Any, tmp_path: Path) -> None:
    labels = _boxes()
    node = _add_segmentation(scene, labels, STRAIGHT, [("Red", RED), ("Green", GREEN), ("Nothing", (0, 0, 1))])
    node.GetDisplayNode().SetSegmentVisibility("Green", False)
    subject = preview.subject_of_nodes([node])
    assert [region.name for region in subject.regions] == ["Red", "Nothing"]
    assert [points.size > 0 for points in subject.samples[0]] == [True, False]
    preview.render([node], tmp_path / "page.png", width=500, views=["axial", "3d"])


def test_single_slice_and_label_only(scene: Any, tmp_path: Path) -> None:
    labels = _boxes()[8:9]
    node = _add_segmentation(scene, labels, STRAIGHT, [("Red", RED), ("Green", GREEN)])
    subject = preview.subject_of_nodes([node])
    assert preview.default_views(subject) == ("acquisition", "3d")
    preview.render(node, tmp_path / "page.png", width=600)


def test_errors_say_what_to_do(scene: Any, tmp_path: Path) -> None:
    with pytest.raises(DicomBridgeError, match="needs a volume"):
        preview.render([], tmp_path / "page.png")
    node = _add_segmentation(scene, _boxes(), STRAIGHT, [("Red", RED), ("Green", GREEN)])
    with pytest.raises(DicomBridgeError, match="1 to 4 views"):
        preview.render([node], tmp_path / "page.png", views=["upside down"])
    assert list(tmp_path.iterdir()) == []
