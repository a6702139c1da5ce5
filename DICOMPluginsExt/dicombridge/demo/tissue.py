"""The drawn tissue: glands and nuclei in stroma, as haematoxylin and eosin stain them, by formulas.

Whatever lies on the slide is known to the last digit: nuclei are ellipses, a gland is what its formula says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GLANDS", "Gland", "Nucleus", "draw_tissue", "gland_levels", "scatter_nuclei"]

_SEED = 7
_CORNERS = 24
"""Of the polygon around a nucleus."""
_LUMEN = 0.44
_STROMA, _FIBRE = np.array([238.0, 196.0, 216.0]), np.array([214.0, 142.0, 178.0])
_CYTOPLASM, _MUCUS, _CHROMATIN = (
    np.array([204.0, 152.0, 200.0]),
    np.array([247.0, 243.0, 247.0]),
    np.array([84.0, 58.0, 136.0]),
)


@dataclass(frozen=True)
class Gland:
    """A gland in pixels: its centre (column, row), half axes, and how they are turned (degrees)."""

    centre: tuple[float, float]
    axes: tuple[float, float]
    turn: float


GLANDS = (
    Gland((235.0, 220.0), (150.0, 112.0), 20.0),
    Gland((560.0, 560.0), (165.0, 120.0), -35.0),
    Gland((610.0, 190.0), (112.0, 92.0), 80.0),
    Gland((195.0, 560.0), (100.0, 128.0), 10.0),
)
"""All lie left of column 768, so that a segmentation of them has tiles to leave out."""


@dataclass(frozen=True)
class Nucleus:
    """An ellipse in pixels: its centre (column, row), half axes, and how they are turned (radians)."""

    centre: tuple[float, float]
    axes: tuple[float, float]
    turn: float

    @property
    def outline(self) -> NDArray[np.float32]:
        """(n, 2): column and row of its corners; the first pixel's centre is at 0, 0."""
        angles = np.linspace(0.0, 2.0 * np.pi, _CORNERS, endpoint=False)
        along, across = self.axes[0] * np.cos(angles), self.axes[1] * np.sin(angles)
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        places = np.stack([along * cosine - across * sine, along * sine + across * cosine], axis=1)
        return np.asarray(places + self.centre, dtype=np.float32)


def gland_levels(
    columns: NDArray[np.float64] | float, rows: NDArray[np.float64] | float
) -> tuple[NDArray[np.float64], ...]:
    """Return for each gland how far out places (pixels) are: 1 on its surface, 0 at its centre."""
    return tuple(_gland_level(number, columns, rows) for number in range(len(GLANDS)))


def _gland_level(
    number: int, columns: NDArray[np.float64] | float, rows: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    gland = GLANDS[number]
    right, down = columns - gland.centre[0], rows - gland.centre[1]
    cosine, sine = np.cos(np.deg2rad(gland.turn)), np.sin(np.deg2rad(gland.turn))
    along = (right * cosine + down * sine) / gland.axes[0]
    across = (down * cosine - right * sine) / gland.axes[1]
    angle = np.arctan2(across, along)
    wavy = 1.0 + 0.05 * np.sin(3 * angle + number) + 0.03 * np.sin(5 * angle + 2 * number)
    return np.asarray(np.hypot(along, across) / wavy)


# Nuclei ------------------------------------------------------------------------------------------------------------


def scatter_nuclei(shape: tuple[int, int]) -> tuple[Nucleus, ...]:
    """Return the nuclei: a row of them along the wall of each gland, others here and there in the stroma."""
    random = np.random.default_rng(_SEED)
    nuclei = [nucleus for gland in range(len(GLANDS)) for nucleus in _along_wall(gland, random)]
    for _ in range(900):
        centre = random.uniform((16.0, 16.0), (shape[1] - 16.0, shape[0] - 16.0))
        in_glands = min(float(level) for level in gland_levels(centre[0], centre[1])) < 1.13
        if in_glands or any(np.hypot(*(centre - one.centre)) < 34.0 for one in nuclei):
            continue
        axes = random.uniform((9.0, 3.4), (12.5, 4.8))
        nuclei.append(_nucleus(centre, axes, 0.35 + 0.5 * np.sin(centre[0] / 170.0) + random.normal(0.0, 0.15)))
    return tuple(nuclei)


def _along_wall(number: int, random: np.random.Generator) -> list[Nucleus]:
    """Return nuclei that point to the lumen, side by side, at four fifths of the way out."""
    gland = GLANDS[number]
    angles = np.linspace(0.0, 2.0 * np.pi, 720, endpoint=False)
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    unit = gland_levels(gland.centre[0] + rays[:, 0], gland.centre[1] + rays[:, 1])[number]
    wall = np.array(gland.centre) + rays * (0.82 / unit)[:, None]
    steps = np.linalg.norm(np.diff(wall, axis=0, append=wall[:1]), axis=1)
    count = int(steps.sum() // 24.0)
    along = (np.arange(count) + random.uniform(-0.12, 0.12, count)) / count * steps.sum()
    places = np.searchsorted(np.cumsum(steps), along % steps.sum())
    axes = random.uniform((9.5, 5.6), (12.0, 7.2), (count, 2))
    turns = angles[places] + random.normal(0.0, 0.12, count)
    return [_nucleus(wall[place], axis, turn) for place, axis, turn in zip(places, axes, turns, strict=True)]


def _nucleus(centre: NDArray[np.float64], axes: NDArray[np.float64], turn: float) -> Nucleus:
    return Nucleus((float(centre[0]), float(centre[1])), (float(axes[0]), float(axes[1])), float(turn))


# Drawing -----------------------------------------------------------------------------------------------------------


def draw_tissue(shape: tuple[int, int], nuclei: tuple[Nucleus, ...]) -> NDArray[np.uint8]:
    """Return (rows, columns, 3) of the stained tissue."""
    random = np.random.default_rng(_SEED)
    row, column = (axis.astype(np.float64) for axis in np.mgrid[: shape[0], : shape[1]])
    warp, tone, grain = (_clouds(shape, cell, random) for cell in (64, 24, 2))
    fibres = 0.5 + 0.5 * np.sin((row - 0.35 * column + 60.0 * warp) / 5.0 + 3.0 * tone)
    share = np.clip(fibres * (0.55 + 0.45 * tone), 0.0, 1.0)[..., None]
    picture = _STROMA * (1 - share) + _FIBRE * share
    for number, gland in enumerate(GLANDS):
        window = _window(gland.centre, 1.2 * max(gland.axes))
        picture[window] = _wall(number, picture[window], column[window], row[window], tone[window])
    for nucleus in nuclei:
        _stain(picture, nucleus, tone)
    return np.clip(np.rint(picture + 5.0 * grain[..., None]), 0, 255).astype(np.uint8)


def _window(centre: tuple[float, float], reach: float) -> tuple[slice, slice]:
    """Return the rows and columns around a place."""
    column, row = (slice(max(int(place - reach), 0), int(np.ceil(place + reach)) + 1) for place in centre)
    return row, column


def _wall(
    number: int,
    picture: NDArray[np.float64],
    columns: NDArray[np.float64],
    rows: NDArray[np.float64],
    tone: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return a part of the picture with a gland in it: cells around a lumen, on a membrane."""
    level, centre = _gland_level(number, columns, rows), GLANDS[number].centre
    angle = np.arctan2(rows - centre[1], columns - centre[0])
    cells = _CYTOPLASM + (8.0 * np.sin(angle * 55.0) + 10.0 * tone)[..., None]
    picture = _blended(picture, cells, _soft(1.0 - level, 60.0))
    picture = _blended(picture, _MUCUS, _soft(_LUMEN + 0.03 * tone - level, 60.0))
    return _blended(picture, _FIBRE * 0.86, 0.7 * np.exp(-(((level - 1.0) / 0.018) ** 2)))


def _blended(below: NDArray[np.float64], above: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(below * (1 - share[..., None]) + above * share[..., None])


def _soft(inside: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    """Return 0 outside (negative), 1 inside, and what lies between on the border."""
    return np.asarray(np.clip(0.5 + inside * sharpness, 0.0, 1.0))


def _stain(picture: NDArray[np.float64], nucleus: Nucleus, tone: NDArray[np.float64]) -> None:
    """Draw a nucleus: its middle is lighter than its rim."""
    window = _window(nucleus.centre, max(nucleus.axes) + 2)
    rows, columns = np.indices(tone[window].shape)
    right, down = columns + (window[1].start - nucleus.centre[0]), rows + (window[0].start - nucleus.centre[1])
    cosine, sine = np.cos(nucleus.turn), np.sin(nucleus.turn)
    along, across = right * cosine + down * sine, down * cosine - right * sine
    level = np.hypot(along / nucleus.axes[0], across / nucleus.axes[1])
    colour = _CHROMATIN + (34.0 * (1.0 - np.minimum(level, 1.0)) + 26.0 * tone[window])[..., None]
    picture[window] = _blended(picture[window], colour, 0.94 * _soft(1.0 - level, 4.0))


def _clouds(shape: tuple[int, int], cell: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return smooth noise, about -1 to 1: random numbers so many pixels apart, and straight lines between them."""
    coarse = random.uniform(-1.0, 1.0, (shape[0] // cell + 2, shape[1] // cell + 2))
    row, column = (np.arange(size) / cell for size in shape)
    top, left = row.astype(int), column.astype(int)
    down, right = (_eased(place % 1.0) for place in (row, column))
    above, below = coarse[top], coarse[top + 1]
    mixed = above * (1 - down[:, None]) + below * down[:, None]
    return np.asarray(mixed[:, left] * (1 - right) + mixed[:, left + 1] * right)


def _eased(part: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(part * part * (3.0 - 2.0 * part))
