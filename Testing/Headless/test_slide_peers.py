"""Pixels of slides as other software has them: wsidicom's regions, highdicom's total pixel matrix and colours."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless
from support import slides
from support.slide_folders import LEVEL, load
from support.slides import array_of, expected_point

from dicombridge.slide.levels import read_levels
from dicombridge.slide.tiles import Box, OpenLevel

SMALL = slides.Level()
ROUNDING, ROUNDING_ON_AVERAGE = 4, 0.5
"""By which the colours of a JPEG may differ between pydicom, which highdicom uses, and the JPEG library."""
REAL = (
    "sm/highdicom/sm_image.dcm",
    "sm/highdicom/sm_image_grayscale.dcm",
    "sm/highdicom/sm_image_jpegls.dcm",
    "sm/misc/multiframe_camelyon_challenge_image.dcm",
    "sm/panimg/full_no_bot.dcm",
    "seg/highdicom_sm/source_sm/sm_image_control.dcm",
)
WSIDICOM_READS = (ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, JPEGBaseline8Bit, JPEG2000)
"""And RLE, for which it wants one more package."""
ORIENTATIONS = ((0, -1, 0, -1, 0, 0), (1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, 1, 0))
"""The usual one, upright, mirrored."""
wants_wsidicom = pytest.mark.skipif(sys.version_info < (3, 11), reason="wsidicom needs Python 3.11")


def pixels_of(file: Path, box: Box, path: int = 0, plane: int = 0) -> NDArray[Any]:
    """Read a rectangle of the only level of a file."""
    ((level,), _) = read_levels([str(file)])
    with OpenLevel(level) as opened:
        target = np.full((box.rows, box.columns, 3)[: 3 if opened.samples == 3 else 2], 77, opened.dtype)
        opened.read(box, plane, path, target)
    return target


def assert_alike(found: NDArray[Any], expected: NDArray[Any], syntax: str) -> None:
    """Equal, but for how whole numbers are made of the colours of a JPEG."""
    away = np.abs(found.astype(int) - expected)
    is_jpeg = syntax == JPEGBaseline8Bit
    assert away.max() <= (ROUNDING if is_jpeg else 0)
    assert away.mean() <= (ROUNDING_ON_AVERAGE if is_jpeg else 0)


def wsidicom_region(source: Path, box: Box, level: int = 0, **of: Any) -> NDArray[Any]:
    import wsidicom  # here, because the test extra has it from Python 3.11 on

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with wsidicom.WsiDicom.open(source) as slide:
            region = slide.read_region((box.column, box.row), level, (box.columns, box.rows), as_array=True, **of)
            return np.asarray(region)


def highdicom_matrix(source: Path | Dataset, box: Box, icc: bool = False) -> NDArray[Any]:
    dataset = source if isinstance(source, Dataset) else pydicom.dcmread(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = highdicom.Image.from_dataset(dataset).get_total_pixel_matrix(
            row_start=box.row + 1,
            row_end=box.row + box.rows + 1,
            column_start=box.column + 1,
            column_end=box.column + box.columns + 1,
            apply_icc_profile=icc,
        )
    return np.asarray(found)


def completed(path: Path) -> Dataset:
    """A slide with what highdicom insists on, and what says nothing of its pixels."""
    dataset, origin, optics = pydicom.dcmread(path), Dataset(), Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = "0"
    optics.OpticalPathIdentifier = "1"
    dataset.setdefault("TotalPixelMatrixOriginSequence", [origin])
    dataset.setdefault("OpticalPathSequence", [optics])
    dataset.TotalPixelMatrixFocalPlanes = dataset.NumberOfOpticalPaths = 1
    if dataset.NumberOfFrames == 1:
        dataset.DimensionOrganizationType = "TILED_FULL"
        dataset.pop("PerFrameFunctionalGroupsSequence", None)
    dataset.DimensionIndexSequence = []
    for pointer in (0x0048021E, 0x0048021F):
        index = Dataset()
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, 0x0048021A
        index.DimensionOrganizationUID = "1.2.3"
        dataset.DimensionIndexSequence.append(index)
    return dataset


def boxes_of(rows: int, columns: int) -> list[Box]:
    """All of it, a part across tiles, the last pixel."""
    part = Box(rows // 3, columns // 3, rows // 2, columns // 2)
    return [Box(0, 0, rows, columns), part, Box(rows - 1, columns - 1, 1, 1)]


def size_of(file: Path) -> tuple[int, int]:
    ((level,), _) = read_levels([str(file)])
    return level.matrix.rows, level.matrix.columns


# --- Real slides ---------------------------------------------------------------------------------------------------


def test_these_are_all_real_slides(data: Path) -> None:
    of_slides = {"1.2.840.10008.5.1.4.1.1.77.1.6"}
    found = {
        path.relative_to(data).as_posix()
        for folder in ("sm", "seg/highdicom_sm")
        for path in (data / folder).rglob("*.dcm")
        if pydicom.dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID in of_slides
    }
    assert found == set(REAL)


@wants_wsidicom
@pytest.mark.parametrize("name", REAL)
def test_real_slides_equal_wsidicom(name: str, data: Path) -> None:
    for box in boxes_of(*size_of(data / name)):
        np.testing.assert_array_equal(pixels_of(data / name, box), wsidicom_region(data / name, box))


@pytest.mark.parametrize("name", REAL)
def test_real_slides_equal_highdicom(name: str, data: Path) -> None:
    dataset = pydicom.dcmread(data / name) if "highdicom" in name else completed(data / name)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    for box in boxes_of(*size_of(data / name)):
        assert_alike(pixels_of(data / name, box), highdicom_matrix(dataset, box), syntax)


# --- Made slides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [*slides.LOSSLESS[:4], JPEGBaseline8Bit, JPEG2000])
@pytest.mark.parametrize("sparse", [False, True])
def test_codecs_equal_highdicom(syntax: str, sparse: bool, tmp_path: Path) -> None:
    (file,) = slides.write_level(tmp_path / "a.dcm", replace(SMALL, syntax=syntax, sparse=sparse))
    box = Box(0, 0, SMALL.rows, SMALL.columns)
    assert_alike(pixels_of(file, box), highdicom_matrix(file, box), syntax)


@wants_wsidicom
@pytest.mark.parametrize("syntax", WSIDICOM_READS)
@pytest.mark.parametrize("sparse", [False, True])
def test_codecs_equal_wsidicom(syntax: str, sparse: bool, tmp_path: Path) -> None:
    (file,) = slides.write_level(tmp_path / "a.dcm", replace(SMALL, syntax=syntax, sparse=sparse))
    box = Box(7, 3, 50, 90)
    np.testing.assert_array_equal(pixels_of(file, box), wsidicom_region(file, box))


def region_of(level: slides.Level, box: Box) -> tuple[float, ...]:
    """x, y, width and height in mm of a rectangle of pixels."""
    first = np.array(expected_point(level, box.row - 0.5, box.column - 0.5)[:2])
    last = np.array(expected_point(level, box.row + box.rows - 0.5, box.column + box.columns - 0.5)[:2])
    return (*np.minimum(first, last), *np.abs(last - first))


def loaded_region(folder: Path, scene: Any, level: slides.Level, number: int, box: Box) -> NDArray[Any]:
    (node,) = load(folder, scene, level=number, region=region_of(level, box))
    return array_of(node)[0]


LEVELS_AND_BOXES = tuple(product(range(3), (Box(0, 0, 70, 100), Box(13, 21, 40, 50))))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGBaseline8Bit])
def test_levels_and_regions_equal_highdicom(
    syntax: str, orientation: Sequence[float], tmp_path: Path, scene: Any
) -> None:
    whole = replace(LEVEL, syntax=syntax, orientation=tuple(orientation))
    slides.write_pyramid(tmp_path, whole)
    for number, box in LEVELS_AND_BOXES:
        found = loaded_region(tmp_path, scene, slides.smaller(whole, 2**number), number, box)
        assert_alike(found, highdicom_matrix(tmp_path / f"level{number}.dcm", box), syntax)


@wants_wsidicom
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGBaseline8Bit])
def test_levels_and_regions_equal_wsidicom(syntax: str, tmp_path: Path, scene: Any) -> None:
    whole = replace(LEVEL, syntax=syntax)
    slides.write_pyramid(tmp_path, whole)
    for number, box in LEVELS_AND_BOXES:
        found = loaded_region(tmp_path, scene, slides.smaller(whole, 2**number), number, box)
        np.testing.assert_array_equal(found, wsidicom_region(tmp_path, box, number))


@wants_wsidicom
@pytest.mark.parametrize("sparse", [False, True])
def test_paths_and_planes_equal_wsidicom(sparse: bool, tmp_path: Path) -> None:
    level = replace(SMALL, samples=1, paths=(("a", "DAPI"), ("b", "Cy5")), planes=(0.0, 1.5, 3.0), sparse=sparse)
    (file,) = slides.write_level(tmp_path / "a.dcm", level)
    box = Box(7, 3, 50, 90)
    for (path, name), (plane, height) in product(enumerate("ab"), enumerate(level.planes)):
        expected = wsidicom_region(file, box, path=name, z=height)
        np.testing.assert_array_equal(pixels_of(file, box, path, plane), expected)


# --- Colour --------------------------------------------------------------------------------------------------------


def other_profile() -> bytes:
    """A profile whose red is the blue of sRGB: who applies it changes all colours."""
    from PIL import ImageCms

    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return content.replace(b"rXYZ", b"####").replace(b"bXYZ", b"rXYZ").replace(b"####", b"bXYZ")


def test_colours_equal_highdicom(tmp_path: Path, scene: Any) -> None:
    slides.write_level(tmp_path / "a.dcm", replace(LEVEL, icc=other_profile()))
    box = Box(0, 0, LEVEL.rows, LEVEL.columns)
    (node,) = load(tmp_path, scene, icc=True)
    expected = highdicom_matrix(tmp_path / "a.dcm", box, icc=True)
    np.testing.assert_array_equal(array_of(node)[0], expected)
    assert np.abs(expected.astype(int) - LEVEL.pixels()).mean() > 20
    (plain,) = load(tmp_path, scene)
    np.testing.assert_array_equal(array_of(plain)[0], LEVEL.pixels())


@pytest.mark.parametrize("name", ["sm/highdicom/sm_image.dcm", "sm/highdicom/sm_image_jpegls.dcm"])
def test_colours_of_real_slides_equal_highdicom(name: str, data: Path, scene: Any) -> None:
    (node,) = load(data / name, scene, icc=True)
    assert node.GetAttribute("DICOMBridge.ICCApplied") == "1"
    expected = highdicom_matrix(data / name, Box(0, 0, 50, 50), icc=True)
    np.testing.assert_array_equal(array_of(node)[0], expected)
