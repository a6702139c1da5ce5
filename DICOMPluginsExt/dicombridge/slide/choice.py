"""Which image of a slide is meant, which part of it, and whether that fits into the memory budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, product

import numpy as np

from dicombridge.errors import GeometryError, UnsupportedError
from dicombridge.geometry import plausible
from dicombridge.slide.levels import IMAGE, VOLUME, Level
from dicombridge.slide.pixel_matrix import PixelMatrix
from dicombridge.slide.tiles import Box

__all__ = ["MOST_BYTES", "Region", "box_of", "check_budget", "choose", "fits", "paths_of", "pyramid_of"]

MOST_BYTES = 512 << 20
"""Memory of the pixels that are loaded at once: what is larger is loaded in regions."""

Region = tuple[float, float, float, float]
"""x, y, width and height in mm of the slide."""

_BY_NAME = ("OVERVIEW", "THUMBNAIL", "LABEL", "LOCALIZER")
"""Images that are no level of the pyramid, those first that say more of the slide."""
_ROUNDING = 1e-6
"""Part of a pixel by which a region may miss a pixel's edge: what an exact edge loses on its way through mm."""


def pyramid_of(levels: Sequence[Level]) -> list[list[Level]]:
    """Return the levels of the pyramid, the largest first.

    Scanners may write the optical paths or focal planes of a level as instances of their own, so a level is a list.
    """

    def size(level: Level) -> tuple[int, int]:
        return level.matrix.rows, level.matrix.columns

    volumes = [level for level in levels if level.flavour == VOLUME]
    volumes.sort(key=lambda level: (size(level)[0] * size(level)[1], size(level)), reverse=True)
    return [list(group) for _, group in groupby(volumes, key=size)]


def choose(levels: Sequence[Level], wanted: int | str | None, size_of: Callable[[Level], int]) -> list[Level]:
    """Return the images that are meant.

    Parameters
    ----------
    wanted
        Index of a level, 0 is the largest; ``"overview"``, ``"thumbnail"`` or ``"label"``; or None for the largest
        level within the memory budget, the overview where there is no pyramid.
    size_of
        Bytes that would be read of an image.

    Raises
    ------
    UnsupportedError
        There is no such image.
    """
    pyramid = pyramid_of(levels)
    others = {name: found for name in _BY_NAME if (found := [one for one in levels if one.flavour == name])}
    if wanted is None:
        offered = [*pyramid, [one for one in levels if one.flavour == IMAGE], *others.values()]
        offered = [group for group in offered if group]
        fitting = (group for group in offered if fits(sum(map(size_of, group))))
        return next(fitting, offered[0] if offered else [])
    if isinstance(wanted, str):
        found = others.get(wanted.upper(), [])
    else:
        found = pyramid[wanted] if 0 <= wanted < len(pyramid) else []
    if not found:
        names = [f"levels 0 to {len(pyramid) - 1}"] if pyramid else []
        there = ", ".join([*names, *map(str.lower, others)]) or "none that can be chosen"
        raise UnsupportedError(f"The slide has no level {wanted!r}; there are: {there}.")
    return found


def paths_of(level: Level, wanted: str | None) -> list[int]:
    """Return the indices of the optical paths with that identifier or description; all where none is given."""
    paths = level.optical_paths
    return [n for n, path in enumerate(paths) if wanted is None or wanted in (path.identifier, path.description)]


def fits(size: int) -> bool:
    """Return whether so many bytes of pixels are loaded at once."""
    return size <= MOST_BYTES


def check_budget(level: Level, size: int) -> None:
    """Refuse what does not fit.

    Raises
    ------
    UnsupportedError
        It takes more than :data:`MOST_BYTES`.
    """
    if not fits(size):
        raise UnsupportedError(
            f"{level.files[0]}: the image ({level.size}) would take {size / 2**20:.0f} MB of memory, more than the "
            f"{MOST_BYTES >> 20} MB that are loaded at once; give a region, or load a smaller level."
        )


def box_of(matrix: PixelMatrix, region: Region | None) -> tuple[Box, str]:
    """Return the pixels that a region of the slide touches, and a warning where it reaches beyond the image.

    Raises
    ------
    GeometryError
        It is no region, or lies outside of the image.
    """
    if region is None:
        return Box(0, 0, matrix.rows, matrix.columns), ""
    try:
        x, y, width, height = (float(value) for value in region)
    except (TypeError, ValueError):
        raise GeometryError(f"A region is four numbers, x, y, width and height in mm, not {region!r}.") from None
    if not plausible([x, y, width, height]) or min(width, height) <= 0:
        raise GeometryError(f"The region {region!r} has no area; its numbers are x, y, width and height in mm.")
    corners = [(x + width * right, y + height * down, matrix.origin[2]) for right, down in product((0, 1), (0, 1))]
    pixels = matrix.to_pixels(np.array(corners))
    first = np.floor(pixels.min(axis=0) + _ROUNDING)
    last = np.ceil(pixels.max(axis=0) - _ROUNDING)
    size = np.array([matrix.columns, matrix.rows], dtype=float)
    begin, end = np.clip(first, 0, size), np.clip(last, 0, size)
    if (end <= begin).any():
        raise GeometryError(f"The region {_told(region)} lies outside of the image, which has {_extent(matrix)}.")
    beyond = (first < -1).any() or (last > size + 1).any()
    warning = f"The region {_told(region)} reaches beyond the image ({_extent(matrix)}) and was cut." if beyond else ""
    (column, row), (columns, rows) = begin.astype(int), (end - begin).astype(int)
    return Box(int(row), int(column), int(rows), int(columns)), warning


def _told(region: Region) -> str:
    return "({:.6g}, {:.6g}, {:.6g} x {:.6g} mm)".format(*map(float, region))


def _extent(matrix: PixelMatrix) -> str:
    corners = matrix.to_slide(np.array(list(product((0, matrix.columns), (0, matrix.rows))), dtype=float))
    low, high = corners.min(axis=0), corners.max(axis=0)
    return f"x from {low[0]:.6g} to {high[0]:.6g} and y from {low[1]:.6g} to {high[1]:.6g} mm"
