"""A torso drawn with formulas: every organ is a function of a point in the patient (LPS, mm).

Because the organs are functions and not voxels, the same body can be scanned on any grid (axial CT, oblique MR), and
the truth of a segmentation is exact on each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.float64]
    Points = tuple[Field, Field, Field]

__all__ = ["ORGANS", "ct_values", "mr_values", "points_of_grid"]

# Every organ function returns a level: 0 in the middle, 1 at the surface, above 1 outside, smooth in between.


def _ellipsoid(points: Points, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Field:
    return np.sqrt(sum(((p - c) / r) ** 2 for p, c, r in zip(points, centre, radii, strict=True)))


def _cylinder(points: Points, centre_x: Field | float, centre_y: Field | float, radius: Field | float) -> Field:
    x, y, _ = points
    return np.hypot(x - centre_x, y - centre_y) / radius


def _body(points: Points) -> Field:
    x, y, _ = points
    return ((np.abs(x) / 152.0) ** 2.6 + (np.abs(y) / 108.0) ** 2.6) ** (1 / 2.6)


def _diaphragm(points: Points) -> Field:
    """Height (mm) of the two domes below the lungs; the right one is higher, as the liver lies below it."""
    x, y, _ = points
    dome = 62.0 * np.exp(-(((x + 72.0) / 55.0) ** 2) - ((y + 8.0) / 62.0) ** 2)
    dome += 48.0 * np.exp(-(((x - 75.0) / 50.0) ** 2) - ((y + 8.0) / 62.0) ** 2)
    return dome


def _lung(points: Points, side: float) -> Field:
    z = points[2]
    bag = _ellipsoid(points, (side * 76.0, -2.0, 62.0), (52.0, 78.0, 105.0))
    heart = _ellipsoid(points, (22.0, -38.0, 62.0), (50.0, 42.0, 58.0))
    above = 1.0 + (_diaphragm(points) - z) / 40.0
    return np.maximum.reduce([bag, above, 2.0 - heart, 1.0 + (30.0 - points[0] * side) / 40.0])


def _liver(points: Points) -> Field:
    x, _, z = points
    bulk = _ellipsoid(points, (-58.0, -12.0, -8.0), (84.0, 80.0, 72.0))
    below = 1.0 + (z - (_diaphragm(points) - 5.0)) / 70.0
    # The lower edge rises towards the left lobe.
    edge = 1.0 + ((-62.0 + 0.62 * (x + 120.0) * (x > -120.0)) - z) / 70.0
    hilum = 2.0 - _ellipsoid(points, (-18.0, 40.0, -40.0), (45.0, 42.0, 60.0))
    return np.maximum.reduce([bulk, below, edge, hilum])


def _lesion(points: Points) -> Field:
    return _ellipsoid(points, (-88.0, -20.0, -2.0), (19.0, 17.0, 15.0))


def _kidney(points: Points, side: float) -> Field:
    x, y, z = points
    height = z + 62.0 + 6.0 * side
    tilted = (x - side * (62.0 - 0.22 * height), y - 48.0 + 0.12 * height, height)
    bean = _ellipsoid(tilted, (0.0, 0.0, 0.0), (25.0, 22.0, 46.0))
    sinus = _ellipsoid(tilted, (side * -23.0, -3.0, 0.0), (18.0, 9.0, 17.0))
    return np.maximum(bean, 2.0 - sinus)


def _spleen(points: Points) -> Field:
    x, y, z = points
    bulk = _ellipsoid((x, y, z), (92.0, 32.0, -8.0), (32.0, 42.0, 44.0))
    hollow = 2.0 - _ellipsoid((x, y, z), (62.0, 12.0, -12.0), (28.0, 36.0, 44.0))
    return np.maximum.reduce([bulk, hollow, _under(points, 4.0)])


def _aorta(points: Points) -> Field:
    z = points[2]
    return _cylinder(points, 14.0 - 10.0 * np.exp(-(((z + 90.0) / 70.0) ** 2)), 30.0 + 0.03 * z, 11.5 + 0.012 * z)


def _spine(points: Points) -> Field:
    x, y, z = points
    phase = np.cos(2 * np.pi * z / 31.0)
    body = _cylinder(points, 0.0, 62.0, 20.5 + 2.0 * np.abs(phase) ** 0.5)
    arch = np.hypot(x / 19.0, (y - 88.0) / 15.0)
    process = np.maximum.reduce([np.abs(x) / 4.5, np.abs(y - 94.0) / 11.0, 1.0 + (-0.2 - phase)])
    lateral = np.maximum.reduce([np.abs(x) / 34.0, np.abs(y - 82.0) / 5.5, 1.0 + (0.35 - phase)])
    canal = 2.0 - np.hypot(x / 10.0, (y - 88.0) / 8.0)
    return np.maximum(np.minimum.reduce([body, arch, process, lateral]), canal)


def _disc(points: Points) -> Field:
    x, y, z = points
    return np.maximum(np.hypot(x, y - 62.0) / 19.0, 1.0 + (np.cos(2 * np.pi * z / 31.0) + 0.86))


def _rib(points: Points) -> Field:
    x, y, z = points
    wall = np.abs(_body(points) - 0.87) / 0.032
    slope = np.cos(2 * np.pi * (z + 0.35 * y + 0.02 * np.abs(x)) / 34.0)
    return np.maximum.reduce([wall, 1.0 + (0.55 - slope), 1.0 + (18.0 - z) / 40.0, 1.0 + (20.0 - np.abs(x)) / 20.0])


ORGANS: dict[str, Callable[[Points], Field]] = {
    "Body": _body,
    "Right lung": lambda points: _lung(points, -1.0),
    "Left lung": lambda points: _lung(points, 1.0),
    "Liver": _liver,
    "Liver lesion": _lesion,
    "Spleen": _spleen,
    "Right kidney": lambda points: _kidney(points, -1.0),
    "Left kidney": lambda points: _kidney(points, 1.0),
    "Aorta": _aorta,
    "Spine": _spine,
}
"""Level functions by organ name: a point is inside where the level is at most 1."""


def _bowel(points: Points) -> Field:
    """Loops: the walls of a gyroid look much like small bowel on any plane."""
    x, y, z = (p / 8.5 for p in points)
    gyroid = np.sin(x) * np.cos(y * 0.9) + np.sin(y * 0.9) * np.cos(z * 0.8) + np.sin(z * 0.8) * np.cos(x)
    room = _ellipsoid(points, (8.0, -26.0, -75.0), (112.0, 52.0, 62.0))
    return np.maximum(1.0 + (0.15 - gyroid), room)


def _stomach(points: Points) -> Field:
    return np.maximum(_ellipsoid(points, (52.0, -30.0, -8.0), (38.0, 34.0, 36.0)), _under(points, 6.0))


def _under(points: Points, gap: float) -> Field:
    return 1.0 + (points[2] - (_diaphragm(points) - gap)) / 50.0


_HEART = ("Heart", lambda points: _ellipsoid(points, (20.0, -36.0, 62.0), (46.0, 38.0, 54.0)))

# Organ, HU (portal venous phase), T1-weighted MR value; later rows paint over earlier ones.
_TISSUES: tuple[tuple[str, Callable[[Points], Field], float, float], ...] = (
    ("Fat", ORGANS["Body"], -95.0, 820.0),
    ("Muscle", lambda points: _body(points) / 0.92, 52.0, 360.0),
    ("Visceral fat", lambda points: _body(points) / 0.82, -70.0, 700.0),
    ("Rib", _rib, 420.0, 240.0),
    (*_HEART, 150.0, 250.0),
    ("Bowel", _bowel, 42.0, 420.0),
    ("Stomach", _stomach, 30.0, 330.0),
    ("Right lung", ORGANS["Right lung"], -830.0, 40.0),
    ("Left lung", ORGANS["Left lung"], -830.0, 40.0),
    ("Liver", ORGANS["Liver"], 112.0, 520.0),
    ("Liver lesion", ORGANS["Liver lesion"], 48.0, 300.0),
    ("Spleen", ORGANS["Spleen"], 128.0, 400.0),
    ("Right kidney", ORGANS["Right kidney"], 185.0, 450.0),
    ("Left kidney", ORGANS["Left kidney"], 185.0, 450.0),
    ("Aorta", ORGANS["Aorta"], 215.0, 110.0),
    ("Spine", ORGANS["Spine"], 330.0, 600.0),
    ("Disc", _disc, 95.0, 330.0),
)


def points_of_grid(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> Points:
    """Return x, y and z (LPS, mm) of the voxel centres of a grid.

    Parameters
    ----------
    affine
        (4, 4) maps ``(slice, row, column, 1)`` to LPS.
    shape
        Slices, rows, columns.
    """
    index = np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij")
    x, y, z = (sum(affine[axis, k] * index[k] for k in range(3)) + affine[axis, 3] for axis in range(3))
    return x, y, z


def ct_values(points: Points, seed: int) -> NDArray[np.int16]:
    """Return what a CT scanner would see, in HU."""
    values = _soften(_paint(points, -1000.0, column=2))
    noise = np.random.default_rng(seed).normal(0.0, 11.0, values.shape)
    return np.clip(np.rint(values + noise), -1024, 3071).astype(np.int16)


def mr_values(points: Points, seed: int) -> NDArray[np.uint16]:
    """Return what a T1-weighted MR scan would show (no unit), with the receive coil's uneven brightness."""
    values = _soften(_paint(points, 0.0, column=3))
    coil = 1.0 + 0.0016 * points[1] - 0.0006 * points[0]
    random = np.random.default_rng(seed)
    # The magnitude of a complex signal: the noise of an MR image is Rician.
    real, imaginary = (random.normal(0.0, 14.0, values.shape) for _ in range(2))
    return np.clip(np.rint(np.hypot(values * coil + real, imaginary)), 0, 4095).astype(np.uint16)


def _paint(points: Points, air: float, column: int) -> NDArray[np.float64]:
    values = np.full(points[0].shape, air)
    for tissue in _TISSUES:
        values[tissue[1](points) <= 1.0] = tissue[column]
    return values


def _soften(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blur rows and columns by about half a pixel, as a scanner's point spread function does."""
    for axis in (1, 2):
        before, after = np.roll(values, 1, axis), np.roll(values, -1, axis)
        values = 0.6 * values + 0.2 * before + 0.2 * after
    return values
