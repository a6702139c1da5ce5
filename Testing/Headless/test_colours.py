"""Recommended display colours, against the standard's encoding and highdicom's arithmetic."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicombridge.colours import cielab_of_rgb, rgb_of_cielab

GRID = list(itertools.product((0, 1, 2, 7, 10, 11, 31, 64, 100, 128, 159, 191, 223, 254, 255), repeat=3))


def bytes_of(rgb: tuple[float, float, float]) -> tuple[int, ...]:
    return tuple(round(255 * component) for component in rgb)


def scaled(colour: tuple[int, ...]) -> list[float]:
    return [component / 255 for component in colour]


@pytest.mark.parametrize("white", ["D50", "D65"])
def test_bytes_survive(white: str) -> None:
    changed = [c for c in GRID if bytes_of(rgb_of_cielab(cielab_of_rgb(scaled(c), white), white)) != c]
    assert changed == []


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        # L*, a*, b* relative to D50 as published for sRGB primaries (Bradford adaptation).
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (54.29, 80.81, 69.89)),
        ((0, 1, 0), (87.82, -79.29, 80.99)),
        ((0, 0, 1), (29.57, 68.30, -112.03)),
    ],
)
def test_primaries_relative_to_d50(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    encoded = np.array(cielab_of_rgb(rgb, "D50"))
    decoded = encoded / 65535 * [100, 255, 255] - [0, 128, 128]
    np.testing.assert_allclose(decoded, lab, atol=0.03)


def test_arithmetic_agrees_with_highdicom() -> None:
    from highdicom.color import CIELabColor

    for colour in GRID[::7]:
        # highdicom refers to D65, with a matrix of four digits: 8 steps of 65535 are 0.012 of L*.
        np.testing.assert_allclose(cielab_of_rgb(scaled(colour), "D65"), CIELabColor.from_rgb(*colour).value, atol=8)


@pytest.mark.parametrize("white", ["D50", "D65"])
def test_greys_are_neutral(white: str) -> None:
    for level in range(256):
        assert cielab_of_rgb([level / 255] * 3, white)[1:] == [32896, 32896]


def test_out_of_gamut_is_clamped() -> None:
    for lab in itertools.product((0, 20000, 40000, 65535), repeat=3):
        rgb = rgb_of_cielab(lab)
        assert all(0.0 <= component <= 1.0 for component in rgb)
    assert rgb_of_cielab((65535, 65535, 65535))[0] == 1.0
    assert cielab_of_rgb((2.0, 1.5, 7.0)) == [65535, 32896, 32896]
    assert cielab_of_rgb((-1.0, 0.0, -0.5)) == [0, 32896, 32896]


def test_plain_values_come_out() -> None:
    assert all(type(component) is float for component in rgb_of_cielab((1, 2, 3)))
    assert all(type(component) is int for component in cielab_of_rgb(np.array([0.1, 0.2, 0.3])))


def test_a_real_colour(data: Path) -> None:
    dataset = pydicom.dcmread(data / "seg" / "dcmqi_liver" / "liver.dcm", stop_before_pixels=True)
    encoded = dataset.SegmentSequence[0].RecommendedDisplayCIELabValue
    # dcmqi wrote Slicer's colour of the liver relative to D65.
    assert bytes_of(rgb_of_cielab(encoded, "D65")) == (221, 130, 101)
    assert bytes_of(rgb_of_cielab(encoded, "D50")) == (217, 130, 101)
