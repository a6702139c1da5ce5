"""Recommended display colours: CIELab as DICOM encodes it, and RGB as MRML has it.

DICOM's Lab values are those of the ICC profile connection space (PS3.3 C.10.7.1.1): relative to the white of D50.
sRGB is defined for D65 (IEC 61966-2-1), so that the conversion adapts the white with the Bradford matrix, as ICC
profiles do. Many programs leave the adaptation out and write Lab relative to D65 (dcmqi and highdicom do), and no
attribute tells which was meant. Greys are the same in both; the more saturated a colour, the more it differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["WHITE", "cielab_of_rgb", "rgb_of_cielab"]


class _Space(NamedTuple):
    """One choice of the white that Lab refers to."""

    white: Any
    xyz_of_srgb: Any
    srgb_of_xyz: Any


def _space(white: Sequence[float], xyz_of_srgb: Sequence[Sequence[float]]) -> _Space:
    """Scale the rows of the rounded matrix, so that sRGB's white becomes exactly L = 100, a = b = 0."""
    matrix = np.array(xyz_of_srgb)
    matrix *= (np.array(white) / matrix.sum(axis=1))[:, np.newaxis]
    return _Space(np.array(white), matrix, np.linalg.inv(matrix))


_SPACES = {
    # White of ICC.1:2022 6.3.4.3; linear sRGB to XYZ adapted to D50 with the Bradford matrix.
    "D50": _space(
        (0.9642, 1.0, 0.8249),
        ((0.4360747, 0.3850649, 0.1430804), (0.2225045, 0.7168786, 0.0606169), (0.0139322, 0.0971045, 0.7141733)),
    ),
    # IEC 61966-2-1, nothing adapted.
    "D65": _space(
        (0.95047, 1.0, 1.08883),
        ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041)),
    ),
}

WHITE = "D65"
"""The white that is used where the caller names none."""

_EPSILON = 216 / 24389  # (6/29)^3
_KAPPA = 24389 / 27

# PS3.3 C.10.7.1.1: L* 0..100 and a*, b* -128..127 are spread over 0..65535.
_LOWEST = np.array([0.0, -128.0, -128.0])
_RANGE = np.array([100.0, 255.0, 255.0])


def rgb_of_cielab(cielab: Sequence[int], white: str = WHITE) -> tuple[float, float, float]:
    """Convert DICOM's encoded CIELab to sRGB.

    Parameters
    ----------
    cielab
        L, a, b as in Recommended Display CIELab Value (0062,000D): 0..65535 each (PS3.3 C.10.7.1.1).
    white
        ``"D50"`` as the standard has it, or ``"D65"`` as several programs write it.

    Returns
    -------
    tuple of float
        Red, green, blue, 0..1; a colour that sRGB does not have is clamped.

    Examples
    --------
    >>> rgb_of_cielab((65535, 32896, 32896))
    (1.0, 1.0, 1.0)
    """
    space = _SPACES[white]
    lightness, a, b = np.asarray(cielab, dtype=float) / 65535 * _RANGE + _LOWEST
    y = (lightness + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(f**3 > _EPSILON, f**3, (116 * f - 16) / _KAPPA) * space.white
    linear = np.clip(space.srgb_of_xyz @ xyz, 0.0, 1.0)
    red, green, blue = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    # Sixteen bits tell colours apart down to about 1e-5: digits beyond that are noise of the arithmetic.
    return round(float(red), 6), round(float(green), 6), round(float(blue), 6)


def cielab_of_rgb(rgb: Sequence[float], white: str = WHITE) -> list[int]:
    """Convert sRGB to DICOM's encoded CIELab; the reverse of :func:`rgb_of_cielab`.

    Parameters
    ----------
    rgb
        Red, green, blue, 0..1; values outside are clamped.
    white
        As for :func:`rgb_of_cielab`.

    Returns
    -------
    list of int
        L, a, b as in Recommended Display CIELab Value (0062,000D): 0..65535 each (PS3.3 C.10.7.1.1).

    Examples
    --------
    >>> cielab_of_rgb((1, 1, 1))
    [65535, 32896, 32896]
    """
    space = _SPACES[white]
    values: Any = np.clip(np.asarray(rgb, dtype=float), 0.0, 1.0)
    linear = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    ratio = space.xyz_of_srgb @ linear / space.white
    f = np.where(ratio > _EPSILON, np.cbrt(ratio), (_KAPPA * ratio + 16) / 116)
    lab = np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
    encoded = np.clip(np.rint((lab - _LOWEST) / _RANGE * 65535), 0, 65535)
    return [int(value) for value in encoded]
