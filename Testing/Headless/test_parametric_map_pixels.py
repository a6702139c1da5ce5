"""Pixel data of parametric maps in every encoding: three elements, both byte orders, compressed and not."""

from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from support.damage import deflated, written
from support.pm_objects import MapFrame, mapping_item, parametric_map, planes_of, set_pixels, write
from support.volumes import array_of

import dicombridge
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.multiframe import open_multiframe

SLOPE, INTERCEPT = 0.25, -3.0
TYPES = ("float32", "float64", "uint8", "uint16", "int16", "uint32", "int32")


def map_of(pixels: Any, *, identity: bool = False, **attributes: Any) -> Dataset:
    frames = [MapFrame((0, 0, 2.0 * k), plane) for k, plane in enumerate(pixels)]
    item = mapping_item() if identity else mapping_item(SLOPE, INTERCEPT)
    return parametric_map(frames, mappings=[item], **attributes)


def values(path: Path, scene: Any) -> Any:
    (node,) = dicombridge.load(path, scene=scene)
    return array_of(node)


def write_big_endian(dataset: Dataset, path: Path) -> Path:
    """pydicom does not swap the bytes of pixel data, so they are given as they shall be in the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword in ("FloatPixelData", "DoubleFloatPixelData", "PixelData"):
            if keyword in dataset:
                size = dataset.BitsAllocated // 8
                swapped = np.frombuffer(dataset[keyword].value, f"<u{size}").astype(f">u{size}")
                setattr(dataset, keyword, swapped.tobytes())
        if dataset.BitsAllocated == 8:
            dataset["PixelData"].VR = "OB"  # bytes in words would be swapped
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("dtype", TYPES)
def test_big_endian(scene: Any, tmp_path: Path, dtype: str) -> None:
    pixels = planes_of(3, dtype=dtype)
    path = write_big_endian(map_of(pixels), tmp_path / "map.dcm")
    np.testing.assert_allclose(values(path, scene), pixels.astype(float) * SLOPE + INTERCEPT, rtol=1e-6)


@pytest.mark.parametrize("dtype", TYPES)
def test_deflated(scene: Any, tmp_path: Path, dtype: str) -> None:
    pixels = planes_of(3, dtype=dtype)
    dataset = map_of(pixels)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = write(dataset, tmp_path)
    np.testing.assert_allclose(values(path, scene), pixels.astype(float) * SLOPE + INTERCEPT, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=["RLE", "J2K", "JPEG-LS"])
def test_compressed_integers(scene: Any, tmp_path: Path, syntax: Any, dtype: str) -> None:
    if syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls")
    pixels = planes_of(3, (32, 40), dtype=dtype)
    dataset = map_of(pixels)
    dataset.compress(syntax, generate_instance_uid=False)
    path = write(dataset, tmp_path)
    np.testing.assert_allclose(values(path, scene), pixels.astype(float) * SLOPE + INTERCEPT, rtol=1e-6)


def test_frames_deflated_one_by_one(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(3, dtype=np.int16)
    dataset = map_of(pixels)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.8.1"
    dataset.PixelData = encapsulate([deflated(plane.astype("<i2").tobytes()) for plane in pixels])
    dataset["PixelData"].is_undefined_length = True
    path = tmp_path / "map.dcm"
    path.write_bytes(written(dataset))
    np.testing.assert_allclose(values(path, scene), pixels.astype(float) * SLOPE + INTERCEPT)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_bits_above_those_stored_are_no_part_of_the_value(scene: Any, tmp_path: Path, dtype: str) -> None:
    pixels = (planes_of(2, dtype=dtype) >> 4).astype(dtype)
    dataset = map_of(pixels)
    dataset.BitsStored, dataset.HighBit = 12, 11
    with_overlay = (pixels.view("u2") & 0x0FFF) | 0xA000
    dataset.PixelData = with_overlay.astype("<u2").tobytes()
    path = write(dataset, tmp_path)
    np.testing.assert_allclose(values(path, scene), pixels.astype(float) * SLOPE + INTERCEPT)


def test_odd_sizes_in_bytes(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(3, (5, 7), dtype=np.uint8)
    path = write(map_of(pixels), tmp_path)
    np.testing.assert_allclose(values(path, scene), pixels.astype(float) * SLOPE + INTERCEPT)


def test_compressed_floating_point_numbers_are_refused(scene: Any, tmp_path: Path) -> None:
    dataset = map_of(planes_of(2))
    dataset.file_meta.TransferSyntaxUID = RLELossless
    with pytest.raises(UnsupportedError, match="floating point pixels are compressed"):
        dicombridge.load(write(dataset, tmp_path), scene=scene)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_bits_allocated_are_a_contradiction(scene: Any, tmp_path: Path, dtype: str) -> None:
    dataset = map_of(planes_of(2, dtype=dtype))
    dataset.BitsAllocated = 16
    with pytest.raises(UnreadableError, match=r"has 16 bits allocated, where (32|64) are expected"):
        dicombridge.load(write(dataset, tmp_path), scene=scene)


def test_too_few_pixels_are_an_error(scene: Any, tmp_path: Path) -> None:
    dataset = map_of(planes_of(4))
    set_pixels(dataset, planes_of(3))
    with pytest.raises(UnreadableError, match="4 frames need"):
        dicombridge.load(write(dataset, tmp_path), scene=scene)


def test_pixels_are_read_where_they_shall_be(tmp_path: Path) -> None:
    """No copy of the data is made on the way, and none of it is mapped."""
    pixels = planes_of(64, (128, 128), dtype=np.float32)
    path = write(map_of(pixels), tmp_path)
    target = np.empty_like(pixels)
    with open_multiframe(path) as opened:
        assert opened.frames is not None
        tracemalloc.start()
        try:
            numbers = list(opened.frames.fill(lambda number: target[number] if number % 2 else None))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert numbers == list(range(1, 64, 2))
    np.testing.assert_array_equal(target[1::2], pixels[1::2])
    assert peak < pixels[0].nbytes / 2
