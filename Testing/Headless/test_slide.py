"""Slides: what is offered, which level is loaded, where it lies on the slide, what the nodes remember."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import generate_uid
from support import slides
from support.scenes import saved_and_read
from support.volumes import lps_of_volume

import dicombridge
from dicombridge import shadow, slide
from dicombridge.errors import GeometryError, MissingReferenceError, UnreadableError, UnsupportedError
from dicombridge.slide import choice

LEVEL = slides.Level(rows=280, columns=400, tile=(64, 64))
PHOTOGRAPH = "1.2.840.10008.5.1.4.1.1.77.1.4"
SLIDE_COORDINATES = "1.2.840.10008.5.1.4.1.1.77.1.3"


def array_of(node: Any) -> NDArray[Any]:
    """Return (slices, rows, columns), with 3 more for RGB."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    image = node.GetImageData()
    shape = image.GetDimensions()[::-1]
    colours = (3,) if image.GetNumberOfScalarComponents() == 3 else ()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*shape, *colours)


@contextmanager
def opened(folder: Path) -> Iterator[Any]:
    database = dicombridge.open_folder(folder)
    try:
        yield database
    finally:
        database.close()


def examined(folder: Path) -> list[Any]:
    with opened(folder) as database:
        return dicombridge.examine(database)


def load(folder: Path, scene: Any, **options: Any) -> list[Any]:
    return dicombridge.load(folder, scene=scene, **options)


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    """Three levels, overview and label."""
    folder = tmp_path / "slide"
    folder.mkdir()
    slides.write_pyramid(folder, LEVEL)
    return folder


def level_of(number: int) -> slides.Level:
    return slides.smaller(LEVEL, 2**number)


# --- Examine -------------------------------------------------------------------------------------------------------


def test_what_is_offered(pyramid: Path) -> None:
    found = examined(pyramid)
    assert [one.name for one in found] == [
        "3: Slide - level 0 (400 x 280, 0.5 um)",
        "3: Slide - level 0 (400 x 280, 0.5 um)",
        "3: Slide - level 1 (200 x 140, 1 um)",
        "3: Slide - level 2 (100 x 70, 2 um)",
        "3: Slide - overview (60 x 40, 0.5 mm)",
        "3: Slide - label (30 x 20, 0.5 mm)",
    ]
    assert [one.selected for one in found] == [True, False, False, False, False, False]
    assert [one.options for one in found] == [{}, *({"level": level} for level in (0, 1, 2, "overview", "label"))]
    assert "largest level within 512 MB" in found[0].tooltip
    assert {len(one.files) for one in found} == {5}
    assert {one.warning for one in found} == {""}


def test_the_budget_chooses_the_level(pyramid: Path, monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    monkeypatch.setattr(choice, "MOST_BYTES", 100 * 70 * 3)
    found = examined(pyramid)
    assert found[0].name.startswith("3: Slide - level 2")
    assert "MB" in found[1].warning
    assert array_of(load(pyramid, scene)[0]).shape == (1, 70, 100, 3)
    with pytest.raises(UnsupportedError, match=r"level0\.dcm.*give a region"):
        load(pyramid, scene, level=0)
    # A region is read from the best level of which it fits.
    node = load(pyramid, scene, region=(9.99, 19.98, 0.02, 0.02))[0]
    assert node.GetSpacing()[0] == pytest.approx(0.00025)


def test_nothing_fits(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "MOST_BYTES", 100)
    found = examined(pyramid)
    assert found[0].selected
    assert "give a region" in found[0].warning


@pytest.mark.parametrize("names", [("label.dcm",), ("overview.dcm", "label.dcm")])
def test_without_a_pyramid(names: tuple[str, ...], pyramid: Path, scene: Any) -> None:
    for path in pyramid.iterdir():
        if path.name not in names:
            path.unlink()
    found = examined(pyramid)
    assert names[0].removesuffix(".dcm") in found[0].name
    assert len(found) == (1 if len(names) == 1 else 3)
    assert array_of(load(pyramid, scene)[0]).shape[1] == (40 if "overview" in names[0] else 20)


def test_references(pyramid: Path) -> None:
    """What the images refer to, but neither themselves nor the other levels."""
    other, own = generate_uid(), pydicom.dcmread(pyramid / "level1.dcm").SOPInstanceUID
    dataset = pydicom.dcmread(pyramid / "level0.dcm")
    items = [pydicom.Dataset(), pydicom.Dataset()]
    for item, uid in zip(items, (other, own), strict=True):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = slides.WHOLE_SLIDE, uid
    dataset.ReferencedImageSequence = items
    slides.save(dataset, pyramid / "level0.dcm")
    found = examined(pyramid)
    assert [one.referencedInstanceUIDs for one in found[:3]] == [[other], [other], []]


def test_a_damaged_neighbour_is_said(pyramid: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    dataset = pydicom.dcmread(pyramid / "level1.dcm")
    dataset.SamplesPerPixel = 2
    slides.save(dataset, pyramid / "level1.dcm")
    found = examined(pyramid)
    assert "level1.dcm" in found[0].warning
    with caplog.at_level(logging.WARNING):
        assert load(pyramid, scene)
    assert "level1.dcm" in caplog.text


# --- Load ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_levels(number: int, pyramid: Path, scene: Any) -> None:
    (node,) = load(pyramid, scene, level=number)
    assert node.IsA("vtkMRMLVectorVolumeNode")
    np.testing.assert_array_equal(array_of(node)[0], level_of(number).pixels())
    assert node.GetAttribute("DICOM.instanceUIDs") == pydicom.dcmread(pyramid / f"level{number}.dcm").SOPInstanceUID


@pytest.mark.parametrize("name", ["overview", "label", "OVERVIEW"])
def test_by_name(name: str, pyramid: Path, scene: Any) -> None:
    (node,) = load(pyramid, scene, level=name)
    assert array_of(node).shape[1] == (20 if name == "label" else 40)


@pytest.mark.parametrize("level", [3, -1, "thumbnail", "nonsense"])
def test_no_such_level(level: Any, pyramid: Path, scene: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"levels 0 to 2, overview, label"):
        load(pyramid, scene, level=level)


def test_what_a_node_remembers(pyramid: Path, scene: Any) -> None:
    (node,) = load(pyramid, scene, level=1)
    remembered = shadow.remembered(node)
    assert remembered is not None
    assert remembered.TotalPixelMatrixRows == 140
    assert "PixelData" not in remembered
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemUID(item, "DICOM") == remembered.SeriesInstanceUID
    assert hierarchy.GetItemAttribute(item, "DICOM.FrameOfReferenceUID") == remembered.FrameOfReferenceUID
    assert node.GetAttribute("DICOMBridge.SlideRegion") == "0 0 140 200"
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 255)


def test_saved_and_read_again(pyramid: Path, scene: Any, tmp_path: Path) -> None:
    (node,) = load(pyramid, scene, level=2)
    expected = array_of(node).copy()
    again = saved_and_read(scene, tmp_path)
    volume = again.GetFirstNodeByClass("vtkMRMLVectorVolumeNode")
    np.testing.assert_array_equal(array_of(volume), expected)


# --- Place ---------------------------------------------------------------------------------------------------------

ORIENTATIONS = {
    "usual": (0, -1, 0, -1, 0, 0),
    "upright": (1, 0, 0, 0, 1, 0),
    "turned": (-1, 0, 0, 0, -1, 0),
    "mirrored": (-1, 0, 0, 0, 1, 0),
    "oblique": (0.8, 0.6, 0, -0.6, 0.8, 0),
}


def expected_point(level: slides.Level, row: float, column: float) -> list[float]:
    """Return the slide's mm of a pixel's centre, written down here anew (PS3.3 C.8.12.4.1.4, C.7.6.2.1.1)."""
    along_row, along_column = level.orientation[:3], level.orientation[3:]
    assert level.origin is not None
    origin = [*level.origin[:2], 0.0]
    between_rows, between_columns = level.spacing
    return [
        origin[axis] + along_row[axis] * between_columns * column + along_column[axis] * between_rows * row
        for axis in range(3)
    ]


def in_scene(node: Any, row: int, column: int, slice_: int = 0) -> NDArray[Any]:
    return (lps_of_volume(node) @ [column, row, slice_, 1])[:3]


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
        ((100.0, 100.0, 1.0, 1.0), r"outside of the image, which has x from 9\.86 to 10"),
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
    with pytest.raises(UnsupportedError, match="'a', 'b'"):
        load(tmp_path, scene, optical_path="c")


def test_paths_in_instances_of_their_own(tmp_path: Path, scene: Any) -> None:
    """Some scanners write each channel of a level as an instance: together they are one level."""
    series = slides.Series()
    for number, path in enumerate((("a", "DAPI"), ("b", "Cy5"))):
        level = replace(LEVEL, samples=1, paths=(path,), instance=number + 1)
        slides.write_level(tmp_path / f"{number}.dcm", level, series)
    assert len(examined(tmp_path)) == 1
    assert len(load(tmp_path, scene)) == 2


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


# --- Colour --------------------------------------------------------------------------------------------------------


def test_icc_profile(tmp_path: Path, scene: Any) -> None:
    """Kept always; applied when asked for, as Pillow applies it."""
    from PIL import Image, ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    slides.write_level(tmp_path / "a.dcm", replace(LEVEL, icc=profile))
    (node,) = load(tmp_path, scene)
    assert base64.b64decode(node.GetAttribute("DICOMBridge.ICCProfile")) == profile
    assert node.GetAttribute("DICOMBridge.ICCApplied") is None
    np.testing.assert_array_equal(array_of(node)[0], LEVEL.pixels())
    (applied,) = load(tmp_path, scene, icc=True)
    assert applied.GetAttribute("DICOMBridge.ICCApplied") == "1"
    expected = ImageCms.profileToProfile(
        Image.fromarray(LEVEL.pixels()), ImageCms.getOpenProfile(tmp_profile(tmp_path, profile)),
        ImageCms.createProfile("sRGB"),
    )  # fmt: skip
    np.testing.assert_array_equal(array_of(applied)[0], np.asarray(expected))


def tmp_profile(folder: Path, profile: bytes) -> str:
    path = folder / "profile.icc"
    path.write_bytes(profile)
    return str(path)


def test_no_icc_profile(pyramid: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(pyramid, scene, icc=True)
    assert "no ICC profile" in caplog.text


def test_a_damaged_icc_profile(tmp_path: Path, scene: Any) -> None:
    slides.write_level(tmp_path / "a.dcm", replace(LEVEL, icc=b"not a profile" * 20))
    assert load(tmp_path, scene)
    with pytest.raises(UnreadableError, match="ICC profile cannot be applied"):
        load(tmp_path, scene, icc=True)


# --- Absurd headers ------------------------------------------------------------------------------------------------


def changed(path: Path, **values: Any) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    slides.save(dataset, path)


@pytest.mark.parametrize("sparse", [False, True])
def test_absurd_sizes_take_no_memory(sparse: bool, tmp_path: Path, scene: Any) -> None:
    slides.write_level(tmp_path / "a.dcm", replace(LEVEL, sparse=sparse))
    changed(tmp_path / "a.dcm", TotalPixelMatrixRows=2**32 - 1, TotalPixelMatrixColumns=2**32 - 1)
    assert "give a region" in examined(tmp_path)[0].warning
    with pytest.raises(UnsupportedError, match=r"a\.dcm.*MB"):
        load(tmp_path, scene)
    (node,) = load(tmp_path, scene, region=(9.98, 19.98, 0.02, 0.02))
    assert array_of(node).size < 100_000


def test_absurd_numbers_of_planes(tmp_path: Path, scene: Any) -> None:
    slides.write_level(tmp_path / "a.dcm", LEVEL)
    changed(tmp_path / "a.dcm", TotalPixelMatrixFocalPlanes=2**32 - 1)
    with pytest.raises(UnsupportedError, match="MB"):
        load(tmp_path, scene)


def test_what_the_header_lacks_is_guessed(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    slides.write_level(tmp_path / "a.dcm", LEVEL)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    for keyword in ("TotalPixelMatrixOriginSequence", "ImageOrientationSlide", "SharedFunctionalGroupsSequence"):
        delattr(dataset, keyword)
    slides.save(dataset, tmp_path / "a.dcm")
    (loadable,) = examined(tmp_path)
    for word in ("origin", "orientation", "spacing"):
        assert word in loadable.warning
    with caplog.at_level(logging.WARNING):
        (node,) = load(tmp_path, scene)
    assert "orientation" in caplog.text
    np.testing.assert_allclose(node.GetSpacing()[:2], (0.00025, 0.0005), rtol=1e-5)  # by the imaged volume's size
    np.testing.assert_allclose(in_scene(node, 0, 0), (0, 0, 0), atol=1e-12)


# --- Photographs and the like --------------------------------------------------------------------------------------


def write_photograph(path: Path, series: slides.Series, sop_class: str = PHOTOGRAPH, **values: Any) -> slides.Level:
    level = slides.Level(rows=30, columns=50, tile=(30, 50))
    dataset = slides.dataset_of(series, sop_class)
    slides.describe_pixels(dataset, level)
    slides.set_frames(dataset, level, [level.pixels().tobytes()])
    del dataset.NumberOfFrames
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    slides.save(dataset, path)
    return level


def test_photographs(tmp_path: Path, scene: Any) -> None:
    series = slides.Series(description="Skin")
    for number in (1, 2):
        level = write_photograph(tmp_path / f"{number}.dcm", series, InstanceNumber=number)
    found = examined(tmp_path)
    assert [one.name for one in found] == ["3: Skin [1]", "3: Skin [2]"]
    assert all(one.selected and "pixel spacing" in one.warning for one in found)
    nodes = load(tmp_path, scene)
    assert len(nodes) == 2
    np.testing.assert_array_equal(array_of(nodes[0])[0], level.pixels())
    assert nodes[0].GetSpacing() == (1.0, 1.0, 1.0)


def test_a_photograph_with_spacing(tmp_path: Path, scene: Any) -> None:
    write_photograph(tmp_path / "a.dcm", slides.Series(), PixelSpacing=[0.2, 0.1])
    (node,) = load(tmp_path, scene)
    np.testing.assert_allclose(node.GetSpacing(), (0.1, 0.2, 1.0))


def test_slide_coordinates(tmp_path: Path, scene: Any) -> None:
    """The centre of the image is known, not its first pixel (PS3.3 C.8.12.2)."""
    centre = pydicom.Dataset()
    centre.XOffsetInSlideCoordinateSystem, centre.YOffsetInSlideCoordinateSystem = "30", "40"
    centre.ZOffsetInSlideCoordinateSystem = "500"
    write_photograph(
        tmp_path / "a.dcm", slides.Series(), SLIDE_COORDINATES, PixelSpacing=[0.2, 0.1],
        ImageCenterPointCoordinatesSequence=[centre],
    )  # fmt: skip
    (node,) = load(tmp_path, scene)
    middle = (in_scene(node, 0, 0) + in_scene(node, 29, 49)) / 2
    np.testing.assert_allclose(middle, (30, 40, 0.5), atol=1e-9)


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
    assert fine.GetName().endswith("here")


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
    matrix = coarse.GetImageToWorldMatrix() if hasattr(coarse, "GetImageToWorldMatrix") else None
    assert matrix is None
    from support.volumes import vtk_matrix

    transform.SetMatrixTransformToParent(vtk_matrix(np.array([[1, 0, 0, 5], [0, 1, 0, 6], [0, 0, 1, 0], [0, 0, 0, 1]])))
    coarse.SetAndObserveTransformNodeID(transform.GetID())
    centre = np.array(expected_point(LEVEL, 100, 200)) + (-5, -6, 0)
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


# --- Memory --------------------------------------------------------------------------------------------------------


def test_reading_takes_a_frame_beside_the_pixels(tmp_path: Path, watched: Callable[[], int], scene: Any) -> None:
    level = replace(LEVEL, rows=2048, columns=2048, tile=(256, 256))
    slides.write_level(tmp_path / "a.dcm", level)
    load(tmp_path, scene, region=(9.9, 19.9, 0.01, 0.01))
    watched()
    load(tmp_path, scene)
    assert watched() < 2 << 20  # numpy's own memory; the pixels are VTK's


@pytest.fixture
def watched() -> Iterator[Callable[[], int]]:
    """Return the peak of Python's memory since the last call."""
    import tracemalloc

    tracemalloc.start()

    def peak() -> int:
        found = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        return found[1] - watched_before.pop() if watched_before else watched_before.append(found[0]) or 0

    watched_before: list[int] = []
    yield peak
    tracemalloc.stop()
