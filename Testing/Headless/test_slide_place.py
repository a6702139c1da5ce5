"""Where slides lie: in the scene, in regions, in depth; and parts of them in finer pixels."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from support import slides
from support.slide_folders import LEVEL, examined, load, opened
from support.slides import array_of, expected_point, in_scene
from support.volumes import lps_of_volume, vtk_matrix

from dicombridge import slide
from dicombridge.errors import GeometryError, MissingReferenceError, UnsupportedError
from dicombridge.slide import pixel_matrix


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    """Three levels, overview and label."""
    folder = tmp_path / "slide"
    folder.mkdir()
    slides.write_pyramid(folder, LEVEL)
    return folder


# --- Place ---------------------------------------------------------------------------------------------------------

ORIENTATIONS = {
    "usual": (0, -1, 0, -1, 0, 0),
    "upright": (1, 0, 0, 0, 1, 0),
    "turned": (-1, 0, 0, 0, -1, 0),
    "mirrored": (-1, 0, 0, 0, 1, 0),
    "oblique": (0.8, 0.6, 0, -0.6, 0.8, 0),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_place_on_the_slide(name: str, tmp_path: Path, scene: Any) -> None:
    level = replace(LEVEL, orientation=ORIENTATIONS[name])
    slides.write_level(tmp_path / "a.dcm", level)
    (node,) = load(tmp_path, scene)
    for row, column in product((0, 279, 17), (0, 399, 33)):
        np.testing.assert_allclose(in_scene(node, row, column), expected_point(level, row, column), atol=1e-9)
    assert np.linalg.det(lps_of_volume(node)[:3, :3]) > 0
    assert node.GetSpacing()[2] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_place_equals_highdicom(name: str, tmp_path: Path, scene: Any) -> None:
    """Pixels go to the slide as highdicom's transformer takes them there."""
    from highdicom.spatial import PixelToReferenceTransformer

    level = replace(LEVEL, orientation=ORIENTATIONS[name])
    slides.write_level(tmp_path / "a.dcm", level)
    (node,) = load(tmp_path, scene)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    transformer = PixelToReferenceTransformer.for_image(dataset, for_total_pixel_matrix=True)
    pixels = np.array([(0, 0), (399, 0), (0, 279), (123, 45)])
    found = [in_scene(node, row, column) for column, row in pixels]
    np.testing.assert_allclose(found, transformer(pixels), atol=1e-6)


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("number", [0, 1])
def test_regions_on_the_slide(name: str, number: int, tmp_path: Path, scene: Any) -> None:
    """A region gives the pixels that it touches, at their place; what was asked for is inside."""
    whole = replace(LEVEL, orientation=ORIENTATIONS[name])
    slides.write_pyramid(tmp_path, whole, levels=2, extras=False)
    level = slides.smaller(whole, 2**number)
    corners = np.array([expected_point(level, row, column) for row, column in product((20.3, 60.8), (31.2, 90.1))])
    low, high = corners.min(axis=0), corners.max(axis=0)
    region = (low[0], low[1], high[0] - low[0], high[1] - low[1])
    (node,) = load(tmp_path, scene, level=number, region=region)
    first_row, first_column, rows, columns = map(int, node.GetAttribute("DICOMBridge.SlideRegion").split())
    expected = level.pixels()[first_row : first_row + rows, first_column : first_column + columns]
    np.testing.assert_array_equal(array_of(node)[0], expected)
    np.testing.assert_allclose(in_scene(node, 0, 0), expected_point(level, first_row, first_column), atol=1e-9)
    # In pixels from corners, so half a pixel beyond the centres that the corners above are.
    if name != "oblique":
        assert (first_row, first_column, rows, columns) == (20, 31, 42, 60)
    else:
        assert first_row <= 20
        assert first_column <= 31
        assert first_row + rows >= 61


def test_a_region_is_exact_at_pixel_edges(pyramid: Path, scene: Any) -> None:
    """What is exactly 64 pixels wide is not read as 65 or 66."""
    left, top = expected_point(LEVEL, 63.5, 127.5)[:2], expected_point(LEVEL, -0.5, 63.5)[:2]
    region = (left[0], left[1], top[0] - left[0], top[1] - left[1])
    (node,) = load(pyramid, scene, level=0, region=region)
    assert node.GetAttribute("DICOMBridge.SlideRegion") == "0 64 64 64"


def test_a_region_beyond_the_image_is_cut(pyramid: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        (node,) = load(pyramid, scene, level=2, region=(9.9, 19.0, 5.0, 5.0))
    assert "beyond the image" in caplog.text
    assert array_of(node).shape[2] == 100


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ((100.0, 100.0, 1.0, 1.0), r"outside of the image, which has x from 9\.86025 to 10\.0002"),
        ((9.9, 19.9, 0.0, 1.0), "no area"),
        ((9.9, 19.9, -1.0, 1.0), "no area"),
        ((float("nan"), 19.9, 1.0, 1.0), "no area"),
        ((1.0, 2.0, 3.0), "four numbers"),
        ("here", "four numbers"),
    ],
)
def test_wrong_regions(region: Any, message: str, pyramid: Path, scene: Any) -> None:
    with pytest.raises(GeometryError, match=message):
        load(pyramid, scene, region=region)
    assert scene.GetFirstNodeByClass("vtkMRMLVolumeNode") is None


# --- Optical paths and focal planes --------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
def test_fluorescence(sparse: bool, tmp_path: Path, scene: Any) -> None:
    level = replace(LEVEL, samples=1, bits=16, paths=(("a", "DAPI"), ("b", "Cy5")), sparse=sparse)
    slides.write_level(tmp_path / "a.dcm", level)
    (loadable,) = examined(tmp_path)
    assert "2 optical paths" in loadable.tooltip
    nodes = load(tmp_path, scene)
    assert [node.GetClassName() for node in nodes] == ["vtkMRMLScalarVolumeNode"] * 2
    assert [node.GetName().rpartition(" - ")[2] for node in nodes] == ["DAPI", "Cy5"]
    assert [node.GetAttribute("DICOMBridge.OpticalPath") for node in nodes] == ["a", "b"]
    for number, node in enumerate(nodes):
        assert array_of(node).dtype == np.uint16
        np.testing.assert_array_equal(array_of(node)[0], level.pixels(path=number))
        assert node.GetDisplayNode().GetWindow() > 1000
    for wanted in ("b", "Cy5"):
        (node,) = load(tmp_path, scene, optical_path=wanted)
        np.testing.assert_array_equal(array_of(node)[0], level.pixels(path=1))
        assert node.GetName().endswith("um) - Cy5")
    with pytest.raises(UnsupportedError, match="'a', 'b'"):
        load(tmp_path, scene, optical_path="c")


def test_paths_in_instances_of_their_own(tmp_path: Path, scene: Any) -> None:
    """Some scanners write each channel of a level as an instance: together they are one level."""
    series = slides.Series()
    for number, path in enumerate((("a", "DAPI"), ("b", "Cy5"))):
        level = replace(LEVEL, samples=1, paths=(path,), instance=number + 1)
        slides.write_level(tmp_path / f"{number}.dcm", level, series)
    (loadable,) = examined(tmp_path)
    assert "2 optical paths" in loadable.tooltip
    assert "focal planes" not in loadable.tooltip
    assert len(load(tmp_path, scene)) == 2
    (node,) = load(tmp_path, scene, optical_path="b")
    assert node.GetName().endswith(" - Cy5")


def test_levels_without_the_path_are_left_out(tmp_path: Path, scene: Any) -> None:
    series = slides.Series()
    for number, path in enumerate(("a", "b")):
        level = replace(slides.smaller(LEVEL, number + 1), paths=((path, ""),), instance=number + 1)
        slides.write_level(tmp_path / f"{number}.dcm", level, series)
    (node,) = load(tmp_path, scene, optical_path="b")
    assert array_of(node).shape[1:3] == (140, 200)
    with pytest.raises(UnsupportedError, match="no optical path 'b'; there are: 'a'"):
        load(tmp_path, scene, optical_path="b", level=0)
    with pytest.raises(UnsupportedError, match="no optical path 'c'; there are: 'a', 'b'"):
        load(tmp_path, scene, optical_path="c")


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", ["usual", "upright"])
def test_focal_planes_in_instances_of_their_own(name: str, sparse: bool, tmp_path: Path, scene: Any) -> None:
    """They are slices of one volume."""
    series, heights, written = slides.Series(), (4.0, 2.0, 6.0), []
    for number, height in enumerate(heights):
        level = replace(
            LEVEL, samples=1, planes=(height,), sparse=sparse, orientation=ORIENTATIONS[name],
            origin=(10.0, 20.0, height), instance=number + 1,
        )  # fmt: skip
        pixels = replace(level, planes=heights).pixels(plane=number)
        (path,) = slides.write_level(tmp_path / f"{number}.dcm", level, series)
        dataset = pydicom.dcmread(path)
        slides.set_frames(dataset, level, [part.tobytes() for part in tiles_of_image(level, pixels)])
        slides.save(dataset, path)
        written.append((pixels, str(dataset.SOPInstanceUID)))
    (loadable,) = examined(tmp_path)
    assert "3 focal planes as slices" in loadable.tooltip
    assert "optical paths" not in loadable.tooltip
    (node,) = load(tmp_path, scene)
    order = (1, 0, 2) if name == "upright" else (2, 0, 1)
    np.testing.assert_array_equal(array_of(node), [written[number][0] for number in order])
    for slice_, number in enumerate(order):
        assert in_scene(node, 5, 7, slice_)[2] == pytest.approx(heights[number] / 1000)
    assert set(node.GetAttribute("DICOM.instanceUIDs").split()) == {uid for _, uid in written}
    (highest,) = load(tmp_path, scene, focal_planes=[2])
    np.testing.assert_array_equal(array_of(highest), [written[2][0]])
    with pytest.raises(UnsupportedError, match="focal planes 0 to 2"):
        load(tmp_path, scene, focal_planes=[3])


def tiles_of_image(level: slides.Level, image: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the tiles of an image of one channel, in the order of TILED_FULL."""
    (down, across), (height, width) = level.grid, level.tile
    padded = np.pad(image, [(0, down * height - level.rows), (0, across * width - level.columns)])
    for row, column in product(range(0, down * height, height), range(0, across * width, width)):
        yield padded[row : row + height, column : column + width]


def test_scan_areas_are_images_of_their_own(tmp_path: Path, scene: Any) -> None:
    """Of the same size, but elsewhere on the slide: a region is read from that which it touches."""
    series = slides.Series()
    for number, x in enumerate((10.0, 30.0)):
        level = replace(LEVEL, origin=(x, 20.0), instance=number + 1)
        slides.write_level(tmp_path / f"{number}.dcm", level, series)
    assert [one.options for one in examined(tmp_path)] == [{}, {"level": 0}, {"level": 1}]
    assert len(load(tmp_path, scene)) == 1
    for x in (10.0, 30.0):
        (node,) = load(tmp_path, scene, region=(x - 0.02, 19.98, 0.01, 0.01))
        assert in_scene(node, 0, 0)[0] == pytest.approx(x - 0.01, abs=0.001)
    with pytest.raises(GeometryError, match="outside of the image"):
        load(tmp_path, scene, region=(20.0, 19.98, 0.01, 0.01))


def test_pyramids_are_told_apart(tmp_path: Path, scene: Any) -> None:
    series = slides.Series()
    for number in range(2):
        (path,) = slides.write_level(tmp_path / f"{number}.dcm", replace(LEVEL, instance=number + 1), series)
        dataset = pydicom.dcmread(path)
        dataset.PyramidUID = f"1.2.{number}"
        slides.save(dataset, path)
    assert [one.options for one in examined(tmp_path)] == [{}, {"level": 0}, {"level": 1}]


@pytest.mark.parametrize("name", ["usual", "upright"])
def test_focal_planes_of_unknown_distance(name: str, tmp_path: Path, scene: Any) -> None:
    """Of TILED_FULL: in the same direction as where the header says the distance."""
    level = replace(LEVEL, planes=(0.0, 1.0, 2.0), orientation=ORIENTATIONS[name])
    (path,) = slides.write_level(tmp_path / "a.dcm", level)
    (stated,) = load(tmp_path, scene)
    assert stated.GetAttribute("DICOMBridge.Warning") is None
    dataset = pydicom.dcmread(path)
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    slides.save(dataset, path)
    (guessed,) = load(tmp_path, scene)
    assert "focal planes is not known; 1 um" in guessed.GetAttribute("DICOMBridge.Warning")
    assert pixel_matrix.UNKNOWN_STEP_MM == 1e-3
    np.testing.assert_array_equal(array_of(guessed), array_of(stated))
    np.testing.assert_allclose(lps_of_volume(guessed), lps_of_volume(stated), atol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", ["usual", "upright"])
def test_focal_planes(name: str, sparse: bool, tmp_path: Path, scene: Any) -> None:
    """They are slices along the slide's z axis; of an image that is seen from below, the last plane comes first."""
    planes = (2.0, 3.5, 5.0)
    level = replace(LEVEL, planes=planes, sparse=sparse, orientation=ORIENTATIONS[name], origin=(10.0, 20.0, 2.0))
    slides.write_level(tmp_path / "a.dcm", level)
    (node,) = load(tmp_path, scene)
    order = (0, 1, 2) if name == "upright" else (2, 1, 0)
    for slice_, plane in enumerate(order):
        np.testing.assert_array_equal(array_of(node)[slice_], level.pixels(plane=plane))
        assert in_scene(node, 5, 7, slice_)[2] == pytest.approx(planes[plane] / 1000)
        np.testing.assert_allclose(in_scene(node, 5, 7, slice_)[:2], expected_point(level, 5, 7)[:2], atol=1e-9)
    assert np.linalg.det(lps_of_volume(node)[:3, :3]) > 0
    (middle,) = load(tmp_path, scene, focal_planes=[1])
    np.testing.assert_array_equal(array_of(middle)[0], level.pixels(plane=1))
    assert in_scene(middle, 0, 0)[2] == pytest.approx(0.0035)
    with pytest.raises(UnsupportedError, match="focal planes 0 to 2"):
        load(tmp_path, scene, focal_planes=[3])


def test_uneven_focal_planes(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    slides.write_level(tmp_path / "a.dcm", replace(LEVEL, planes=(0.0, 1.0, 4.0), sparse=True))
    with caplog.at_level(logging.WARNING):
        (node,) = load(tmp_path, scene)
    assert "not evenly spaced" in caplog.text
    assert "not evenly spaced" in node.GetAttribute("DICOMBridge.Warning")


# --- Refining ------------------------------------------------------------------------------------------------------


def markup_around(scene: Any, kind: str, centre: NDArray[Any], size: float) -> Any:
    """Return a markup whose bounding box is so large, around a point of the slide (LPS mm)."""
    ras = centre * (-1, -1, 1)
    node = scene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node", "here")
    if kind == "ROI":
        node.SetCenter(*ras)
        node.SetSize(size, size, 2)
    else:
        for right, up in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            node.AddControlPoint(ras[0] + right * size / 2, ras[1] + up * size / 2, ras[2])
        if kind == "ClosedCurve":
            node.SetCurveTypeToLinear()
    return node


@pytest.mark.parametrize("kind", ["ROI", "ClosedCurve"])
def test_refine(kind: str, pyramid: Path, scene: Any) -> None:
    (coarse,) = load(pyramid, scene, level=2)
    centre = np.array(expected_point(LEVEL, 100, 200))
    roi = markup_around(scene, kind, centre, 0.01)
    with opened(pyramid) as database:
        (fine,) = slide.refine(coarse, roi, database)
    assert fine.GetSpacing()[0] == pytest.approx(LEVEL.spacing[1])
    row, column, rows, columns = map(int, fine.GetAttribute("DICOMBridge.SlideRegion").split())
    assert (row, column, rows, columns) == (90, 180, 21, 41)
    np.testing.assert_array_equal(array_of(fine)[0], LEVEL.pixels()[row : row + rows, column : column + columns])
    assert fine.GetName() == "3: Slide 1 - level 0 (400 x 280, 0.5 um) - region - here"


def test_refine_from_another_optical_path(tmp_path: Path, scene: Any) -> None:
    """An overview is of a camera of its own; levels that have the path of the coarser image give that alone."""
    series = slides.Series()
    fluorescence = replace(LEVEL, samples=1, paths=(("a", "DAPI"), ("b", "Cy5")))
    slides.write_level(tmp_path / "level.dcm", fluorescence, series)
    overview = replace(LEVEL, rows=70, columns=100, spacing=(0.002, 0.001), paths=(("x", ""),), flavour="OVERVIEW")
    slides.write_level(tmp_path / "overview.dcm", overview, series)
    (coarse,) = load(tmp_path, scene, level="overview")
    roi = markup_around(scene, "ROI", np.array(expected_point(LEVEL, 100, 200)), 0.01)
    with opened(tmp_path) as database:
        found = slide.refine(coarse, roi, database)
        assert [node.GetAttribute("DICOMBridge.OpticalPath") for node in found] == ["a", "b"]
        (again,) = slide.refine(found[1], roi, database, level=0)
        assert again.GetAttribute("DICOMBridge.OpticalPath") == "b"


def test_refine_by_files_and_level(pyramid: Path, scene: Any) -> None:
    (coarse,) = load(pyramid, scene, level=2)
    roi = markup_around(scene, "ROI", np.array(expected_point(LEVEL, 100, 200)), 0.01)
    files = [str(path) for path in pyramid.iterdir()]
    (fine,) = slide.refine(coarse, roi, files=files, level=1)
    assert fine.GetSpacing()[0] == pytest.approx(2 * LEVEL.spacing[1])


def test_refine_below_a_transform(pyramid: Path, scene: Any) -> None:
    """The markup counts where it is seen; the new node moves with the old one."""
    (coarse,) = load(pyramid, scene, level=2)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[:2, 3] = 5, 6
    transform.SetMatrixTransformToParent(vtk_matrix(shift))
    coarse.SetAndObserveTransformNodeID(transform.GetID())
    centre = np.array(expected_point(LEVEL, 100, 200)) + np.array([-5, -6, 0])
    roi = markup_around(scene, "ROI", centre, 0.01)
    with opened(pyramid) as database:
        (fine,) = slide.refine(coarse, roi, database)
    assert fine.GetAttribute("DICOMBridge.SlideRegion") == "90 180 21 41"
    assert fine.GetTransformNodeID() == transform.GetID()


def test_refine_cannot(pyramid: Path, scene: Any, tmp_path: Path) -> None:
    (coarse,) = load(pyramid, scene, level=2)
    centre = np.array(expected_point(LEVEL, 100, 200))
    roi = markup_around(scene, "ROI", centre, 0.01)
    with pytest.raises(MissingReferenceError, match="database"):
        slide.refine(coarse, roi)
    (tmp_path / "empty").mkdir()
    with opened(tmp_path / "empty") as database, pytest.raises(MissingReferenceError, match="not in the database"):
        slide.refine(coarse, roi, database)
    with opened(pyramid) as database:
        far = markup_around(scene, "ROI", centre + 100, 0.01)
        with pytest.raises(GeometryError, match="outside"):
            slide.refine(coarse, far, database)
        empty = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "nothing")
        with pytest.raises(GeometryError, match="encloses nothing"):
            slide.refine(coarse, empty, database)


def test_heights_are_in_micrometres() -> None:
    """X and Y of an origin are in mm, Z is not (PS3.3 C.8.12.2.1.1)."""
    from pydicom.dataset import Dataset

    from dicombridge.slide.pixel_matrix import pixel_matrix_of

    header, origin = Dataset(), Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = "20.5", "40.25"
    origin.ZOffsetInSlideCoordinateSystem = "125"
    header.TotalPixelMatrixOriginSequence, header.ImageOrientationSlide = [origin], [0, -1, 0, -1, 0, 0]
    header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns = 64, 96
    header.Rows = header.Columns = 32
    header.PixelSpacing = [0.5, 0.25]
    matrix = pixel_matrix_of(header)
    assert matrix.origin == (20.5, 40.25, 0.125)
    assert matrix.to_slide(np.array([[0.5, 0.5], [2.5, 1.5]])).tolist() == [[20.5, 40.25, 0.125], [20.0, 39.75, 0.125]]
    np.testing.assert_allclose(matrix.to_pixels(np.array([[20.0, 39.75, 0.125]])), [[2.5, 1.5]])
