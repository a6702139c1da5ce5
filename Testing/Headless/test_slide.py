"""Slides: what is offered, which level is loaded, where it lies on the slide, what the nodes remember."""

from __future__ import annotations

import base64
import logging
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid
from support import slides
from support.scenes import saved_and_read
from support.slide_folders import LEVEL, examined, load, opened
from support.slides import array_of, expected_point, in_scene

import dicombridge
from dicombridge import shadow
from dicombridge.errors import GeometryError, UnreadableError, UnsupportedError
from dicombridge.slide import choice
from dicombridge.slide.frames import FrameBytes
from dicombridge.slide.levels import read_levels
from dicombridge.slide.pixel_matrix import pixel_matrix_of

PHOTOGRAPH = "1.2.840.10008.5.1.4.1.1.77.1.4"
PLAIN = {
    "endoscopic": "1.2.840.10008.5.1.4.1.1.77.1.1",
    "microscopic": "1.2.840.10008.5.1.4.1.1.77.1.2",
    "slide-coordinates": "1.2.840.10008.5.1.4.1.1.77.1.3",
    "photographic": PHOTOGRAPH,
    "confocal": "1.2.840.10008.5.1.4.1.1.77.1.8",
}
CONFOCAL = "1.2.840.10008.5.1.4.1.1.77.1.8"
SLIDE_COORDINATES = "1.2.840.10008.5.1.4.1.1.77.1.3"


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
        "3: Slide 1 - level 0 (400 x 280, 0.5 um)",
        "3: Slide 1 - level 0 (400 x 280, 0.5 um)",
        "3: Slide 1 - level 1 (200 x 140, 1 um)",
        "3: Slide 1 - level 2 (100 x 70, 2 um)",
        "3: Slide 1 - overview (60 x 40, 0.5 mm)",
        "3: Slide 1 - label (30 x 20, 0.5 mm)",
    ]
    assert [one.selected for one in found] == [True, False, False, False, False, False]
    assert [one.options for one in found] == [{}, *({"level": level} for level in (0, 1, 2, "overview", "label"))]
    assert "largest level within 512 MB" in found[0].tooltip
    assert {len(one.files) for one in found} == {5}
    assert {one.warning for one in found} == {""}


def test_the_budget_chooses_the_level(pyramid: Path, monkeypatch: pytest.MonkeyPatch, scene: Any) -> None:
    monkeypatch.setattr(choice, "MOST_BYTES", 100 * 70 * 3)
    found = examined(pyramid)
    assert found[0].name.startswith("3: Slide 1 - level 2")
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


def test_only_the_overview_fits(
    pyramid: Path, monkeypatch: pytest.MonkeyPatch, scene: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a region, that is loaded, and said; with a region, it is never what was meant."""
    monkeypatch.setattr(choice, "MOST_BYTES", 40 * 60 * 3)
    first = examined(pyramid)[0]
    assert first.name == "3: Slide 1 - overview (60 x 40, 0.5 mm)"
    assert "No level of the slide fits" in first.warning
    with caplog.at_level(logging.WARNING):
        assert array_of(load(pyramid, scene)[0]).shape[1] == 40
    assert "the overview was taken" in caplog.text
    with pytest.raises(UnsupportedError, match=r"even the smallest level .* than the 0\.00687 MB .* smaller region"):
        load(pyramid, scene, region=(9.8, 19.8, 5.0, 5.0))


def test_names_of_slides_without_a_description(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / f"{number}.dcm"
        slides.write_level(path, LEVEL, slides.Series())
        changed(path, ContainerIdentifier=f"A-{number}")
    assert sorted(one.name for one in examined(tmp_path)) == [
        f"3: Slide A-{number} - level 0 (400 x 280, 0.5 um)" for number in (1, 2)
    ]


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


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGBaseline8Bit])
def test_a_region_reads_its_tiles_and_no_others(
    syntax: str, tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted where bytes leave the file: of a pyramid of three levels, four tiles of one."""
    slides.write_pyramid(tmp_path, replace(LEVEL, syntax=syntax))
    read: list[tuple[str, int]] = []
    original = FrameBytes.read

    def counted(self: FrameBytes, index: int) -> bytes:
        read.append((Path(self._name).name, index))
        return original(self, index)

    monkeypatch.setattr(FrameBytes, "read", counted)
    left, top = expected_point(LEVEL, 149.5, 269.5)[:2]
    load(tmp_path, scene, level=0, region=(left, top, 30 * LEVEL.spacing[0], 20 * LEVEL.spacing[1]))
    # Rows 120 to 149 and columns 250 to 269 are in tiles 1 and 2 of 5, and 3 and 4 of 7.
    assert read == [("level0.dcm", number) for number in (10, 11, 17, 18)]
    read.clear()
    load(tmp_path, scene, level=2)
    assert read == [("level2.dcm", number) for number in range(4)]


@pytest.mark.parametrize("name", ["overview", "label", "OVERVIEW"])
def test_by_name(name: str, pyramid: Path, scene: Any) -> None:
    (node,) = load(pyramid, scene, level=name)
    assert array_of(node).shape[1] == (20 if name == "label" else 40)


@pytest.mark.parametrize("level", [3, -1, "thumbnail", "nonsense"])
def test_no_such_level(level: Any, pyramid: Path, scene: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"levels 0 to 2, overview, label"):
        load(pyramid, scene, level=level)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("level", 0.0), ("level", [0]), ("level", True), ("level", np.array([0, 1])), ("focal_planes", 0),
        ("focal_planes", ["a"]), ("focal_planes", "01"), ("focal_planes", [0.5]), ("focal_planes", []),
        ("optical_path", 1),
    ],
)  # fmt: skip
def test_wrong_options(option: str, value: Any, pyramid: Path, scene: Any) -> None:
    with pytest.raises(UnsupportedError, match=f"option {option} is"):
        load(pyramid, scene, **{option: value})


def test_options_of_numpy(pyramid: Path, scene: Any) -> None:
    (node,) = load(pyramid, scene, level=np.int64(2), focal_planes=np.array([0]))
    assert array_of(node).shape == (1, 70, 100, 3)


def test_names_of_nodes(pyramid: Path, scene: Any) -> None:
    """After what was read, not after the loadable."""
    with opened(pyramid) as database:
        first = dicombridge.examine(database)[0]
        for options, name in (
            ({}, "level 0 (400 x 280, 0.5 um)"),
            ({"level": 2}, "level 2 (100 x 70, 2 um)"),
            ({"level": "label"}, "label (30 x 20, 0.5 mm)"),
            ({"level": 1, "region": (9.99, 19.98, 0.005, 0.005)}, "level 1 (200 x 140, 1 um) - region"),
        ):
            (node,) = dicombridge.load(first, scene=scene, database=database, **options)
            assert node.GetName() == f"3: Slide 1 - {name}"
        first.name = "mine"
        (node,) = dicombridge.load(first, scene=scene, database=database, level=2)
        assert node.GetName() == "mine - level 2 (100 x 70, 2 um)"


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
    tracemalloc.start()
    try:
        (node,) = load(tmp_path, scene, region=(9.98, 19.98, 0.02, 0.02))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
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


def test_what_places_pixels(tmp_path: Path, scene: Any) -> None:
    """Heights are micrometres in the header, mm in the matrix; an unknown size is no size."""
    (path,) = slides.write_level(tmp_path / "a.dcm", replace(LEVEL, origin=(10.0, 20.0, 125.0)))
    ((level,), _) = read_levels([str(path)])
    assert level.matrix.origin == (10.0, 20.0, 0.125)
    assert level.matrix == pixel_matrix_of(pydicom.dcmread(path))
    changed(path, TotalPixelMatrixRows=0)
    with pytest.raises(GeometryError, match="lacks size of its total pixel matrix"):
        load(tmp_path, scene)


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


@pytest.mark.parametrize("name", PLAIN)
def test_images_that_are_no_slides(name: str, tmp_path: Path, scene: Any) -> None:
    """Microscopic, photographic and endoscopic images, whose frames are no tiles."""
    level = write_photograph(tmp_path / "a.dcm", slides.Series(), PLAIN[name], PixelSpacing=[0.2, 0.1])
    (loadable,) = examined(tmp_path)
    assert (loadable.kind, loadable.confidence, loadable.selected) == ("SLIDE", 0.97, True)
    (node,) = load(tmp_path, scene)
    assert node.IsA("vtkMRMLVectorVolumeNode")
    np.testing.assert_array_equal(array_of(node)[0], level.pixels())
    np.testing.assert_allclose(node.GetSpacing(), (0.1, 0.2, 1.0))


def test_photographs_beside_a_slide(pyramid: Path, scene: Any) -> None:
    """What is said of levels and regions is not meant for them."""
    write_photograph(pyramid / "photograph.dcm", slides.Series(description="Skin"))
    found = load(pyramid, scene, level=2, region=(9.99, 19.98, 0.02, 0.02))
    assert sorted(node.GetName() for node in found) == [
        "3: Skin",
        "3: Slide 1 - level 2 (100 x 70, 2 um) - region",
    ]
    shapes = {node.GetName(): array_of(node).shape[1:3] for node in found}
    assert shapes["3: Skin"] == (30, 50)


def test_a_photograph_with_spacing(tmp_path: Path, scene: Any) -> None:
    write_photograph(tmp_path / "a.dcm", slides.Series(), PixelSpacing=[0.2, 0.1])
    (node,) = load(tmp_path, scene)
    np.testing.assert_allclose(node.GetSpacing(), (0.1, 0.2, 1.0))


def test_frames_of_a_microscope_are_slices(tmp_path: Path, scene: Any) -> None:
    """Frames that are no tiles, e.g. of a confocal microscope."""
    level = slides.Level(rows=30, columns=50, tile=(30, 50), samples=1)
    dataset = slides.dataset_of(slides.Series(), CONFOCAL)
    slides.describe_pixels(dataset, level)
    slides.set_frames(dataset, level, [level.pixels(plane=plane).tobytes() for plane in range(3)])
    slides.save(dataset, tmp_path / "a.dcm")
    (node,) = load(tmp_path, scene)
    np.testing.assert_array_equal(array_of(node), [level.pixels(plane=plane) for plane in range(3)])
    assert "distance of its frames" in node.GetAttribute("DICOMBridge.Warning")


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
