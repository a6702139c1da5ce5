"""Which image of a slide is meant, which part of it, and whether that fits into the memory budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from operator import index
from typing import Any, NoReturn, SupportsIndex

import numpy as np

from dicombridge.errors import GeometryError, UnsupportedError
from dicombridge.geometry import plausible
from dicombridge.slide.levels import IMAGE, VOLUME, Level, OpticalPath
from dicombridge.slide.pixel_matrix import PixelMatrix
from dicombridge.slide.tiles import Box

__all__ = [
    "MOST_BYTES",
    "Region",
    "Wish",
    "box_of",
    "check_budget",
    "checked_level",
    "checked_path",
    "checked_planes",
    "checked_region",
    "choose",
    "fits",
    "is_same_image",
    "paths_of",
    "pyramid_of",
]

MOST_BYTES = 512 << 20
"""Memory of the pixels that are loaded at once: what is larger is loaded in regions."""

Region = tuple[float, float, float, float]
"""x, y, width and height in mm of the slide."""

_BY_NAME = ("OVERVIEW", "THUMBNAIL", "LABEL", "LOCALIZER")
"""Images that are no level of the pyramid, those first that say more of the slide."""
_SAME_SPACING, _SAME_DIRECTION = 1e-3, 1e-4
"""Part of the spacing, and of a unit vector, by which instances of one image may differ."""
_ROUNDING = 1e-6
"""Part of a pixel by which a region may miss a pixel's edge: what an exact edge loses on its way through mm."""


@dataclass(frozen=True)
class Wish:
    """What the caller wants of an image.

    Attributes
    ----------
    region
        As :func:`checked_region` returns it; None for all of the image.
    optical_path
        Identifier or description of one; None for all.
    prefers
        Whether all optical paths are wanted of an image that lacks that one.
    focal_planes
        Indices of those that are wanted, ascending along the slide's z axis; None for all.
    icc
        Whether the ICC profile is applied.
    """

    region: Region | None = None
    optical_path: str | None = None
    prefers: bool = False
    focal_planes: tuple[int, ...] | None = None
    icc: bool = False

    def parts_of(self, group: Sequence[Level]) -> list[tuple[Level, Box, list[int]]]:
        """Return which pixels and which optical paths (their indices) are wanted of each image that has them."""
        touched = [(level, box) for level in group if (box := _box_within(level.matrix, self.region)) is not None]
        parts = [(level, box, paths_of(level, self.optical_path)) for level, box in touched]
        parts = [part for part in parts if part[2]]
        if not parts and self.prefers:
            return [(level, box, paths_of(level, None)) for level, box in touched]
        return parts

    def size_of(self, group: Sequence[Level]) -> int | None:
        """Return the bytes that this takes of the images of a level; None where it has nothing of it."""
        parts = self.parts_of(group)
        size, taken = 0, Counter[OpticalPath]()
        for level, box, paths in parts:
            for path in (level.optical_paths[n] for n in paths):
                planes = level.focal_planes
                if self.focal_planes is not None:
                    planes = min(planes, len(self.focal_planes) - taken[path])
                taken[path] += planes
                size += level.bytes_of(box.rows, box.columns, planes, 1)
        return size if parts else None


def is_same_image(one: Level, other: Level) -> bool:
    """Return whether two instances have the same pixels of the slide: they differ in optical path or focal plane."""
    a, b = one.matrix, other.matrix
    if (a.rows, a.columns, one.pyramid_uid) != (b.rows, b.columns, other.pyramid_uid):
        return False
    apart = np.abs(np.subtract(a.origin[:2], b.origin[:2])).max()
    return bool(
        apart < min(a.spacing) / 2
        and np.allclose(a.spacing, b.spacing, rtol=_SAME_SPACING, atol=0)
        and np.allclose(a.orientation, b.orientation, atol=_SAME_DIRECTION)
    )


def pyramid_of(levels: Sequence[Level]) -> list[list[Level]]:
    """Return the levels of the pyramid, the largest first.

    Scanners may write the optical paths or focal planes of a level as instances of their own, so a level is a list.
    Scan areas of the same size at different places of the slide are levels of their own.
    """

    def size(level: Level) -> tuple[int, int, int]:
        rows, columns = level.matrix.rows, level.matrix.columns
        return rows * columns, rows, columns

    pyramid: list[list[Level]] = []
    for level in sorted((one for one in levels if one.flavour == VOLUME), key=size, reverse=True):
        same = (group for group in reversed(pyramid) if is_same_image(group[0], level))
        group = next(same, None)
        if group is None:
            pyramid.append([level])
        else:
            group.append(level)
    return pyramid


def choose(levels: Sequence[Level], wanted: int | str | None, wish: Wish) -> list[Level]:
    """Return the images that are meant.

    Parameters
    ----------
    wanted
        Index of a level, 0 is the largest; ``"overview"``, ``"thumbnail"`` or ``"label"``; or None for the largest
        level within the memory budget. Where there is no pyramid, or nothing of it fits and no region is wanted, that
        is the overview.
    wish
        What is wanted of the image. Images that have nothing of it are passed over.

    Raises
    ------
    UnsupportedError
        There is no such image or optical path, or a region does not fit in any level.
    GeometryError
        The region lies outside of the images.
    """
    pyramid = pyramid_of(levels)
    others = {name: found for name in _BY_NAME if (found := [one for one in levels if one.flavour == name])}
    if wanted is None:
        offered = [*pyramid, [one for one in levels if one.flavour == IMAGE], *others.values()]
        if pyramid and wish.region is not None:
            offered = pyramid
        return _best([group for group in offered if group], wish)
    if isinstance(wanted, str):
        found = others.get(wanted.upper(), [])
    else:
        found = pyramid[wanted] if 0 <= wanted < len(pyramid) else []
    if not found:
        names = [f"levels 0 to {len(pyramid) - 1}"] if pyramid else []
        there = ", ".join([*names, *map(str.lower, others)]) or "none that can be chosen"
        raise UnsupportedError(f"The slide has no level {wanted!r}; there are: {there}.")
    if wish.size_of(found) is None:
        _refuse(found, wish)
    return found


def _best(offered: Sequence[list[Level]], wish: Wish) -> list[Level]:
    """Return the first images that fit; those without a region even where nothing fits."""
    sizes = [(group, size) for group in offered if (size := wish.size_of(group)) is not None]
    if not sizes:
        if offered:
            _refuse([level for group in offered for level in group], wish)
        return []
    fitting = next((group for group, size in sizes if fits(size)), None)
    if fitting is None and wish.region is not None:
        least = min(size for _, size in sizes)
        raise UnsupportedError(
            f"{offered[0][0].files[0]}: even the smallest level would take {least / 2**20:.3g} MB of memory for the "
            f"region {_told(wish.region)}, more than the {MOST_BYTES / 2**20:.3g} MB that are loaded at once; give a "
            f"smaller region."
        )
    return sizes[0][0] if fitting is None else fitting


def _refuse(levels: Sequence[Level], wish: Wish) -> NoReturn:
    """Say why there is nothing of what is wanted."""
    if all(_box_within(level.matrix, wish.region) is None for level in levels):
        box_of(levels[0].matrix, wish.region)
    there = ", ".join(dict.fromkeys(repr(path.identifier) for level in levels for path in level.optical_paths))
    raise UnsupportedError(f"{levels[0].files[0]}: has no optical path {wish.optical_path!r}; there are: {there}.")


def checked_level(level: object) -> int | str | None:
    """Return the option ``level``.

    Raises
    ------
    UnsupportedError
        It is neither a whole number nor a name.
    """
    if level is None or isinstance(level, str):
        return level
    number = _whole(level)
    if number is None:
        raise UnsupportedError(f"The option level is a whole number or a name such as 'overview', not {level!r}.")
    return number


def checked_planes(planes: object) -> tuple[int, ...] | None:
    """Return the option ``focal_planes``.

    Raises
    ------
    UnsupportedError
        It is no list of whole numbers.
    """
    if planes is None:
        return None
    numbers = [] if isinstance(planes, str) or not isinstance(planes, Iterable) else [_whole(one) for one in planes]
    found = tuple(sorted({number for number in numbers if number is not None}))
    if not found or None in numbers:
        raise UnsupportedError(f"The option focal_planes is a list of whole numbers such as [0, 1], not {planes!r}.")
    return found


def checked_path(path: object) -> str | None:
    """Return the option ``optical_path``.

    Raises
    ------
    UnsupportedError
        It is no text.
    """
    if path is None or isinstance(path, str):
        return path
    raise UnsupportedError(f"The option optical_path is an identifier or a description as text, not {path!r}.")


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return None
    try:
        return index(value)
    except TypeError:  # an array of numpy
        return None


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


def checked_region(region: Any) -> Region | None:
    """Return the option ``region``.

    Raises
    ------
    GeometryError
        It is no region.
    """
    if region is None:
        return None
    try:
        x, y, width, height = (float(value) for value in region)
    except (TypeError, ValueError):
        raise GeometryError(f"A region is four numbers, x, y, width and height in mm, not {region!r}.") from None
    if not plausible([x, y, width, height]) or min(width, height) <= 0:
        raise GeometryError(f"The region {region!r} has no area; its numbers are x, y, width and height in mm.")
    return x, y, width, height


def box_of(matrix: PixelMatrix, region: Region | None) -> tuple[Box, str]:
    """Return the pixels that a region of the slide touches, and a warning where it reaches beyond the image.

    Raises
    ------
    GeometryError
        It lies outside of the image.
    """
    if region is None:
        return Box(0, 0, matrix.rows, matrix.columns), ""
    x, y, width, height = region
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


def _box_within(matrix: PixelMatrix, region: Region | None) -> Box | None:
    """Return the pixels that a region touches, None where it touches none."""
    try:
        return box_of(matrix, region)[0]
    except GeometryError:
        return None


def _told(region: Region) -> str:
    return "({:.6g}, {:.6g}, {:.6g} x {:.6g} mm)".format(*map(float, region))


def _extent(matrix: PixelMatrix) -> str:
    corners = matrix.to_slide(np.array(list(product((0, matrix.columns), (0, matrix.rows))), dtype=float))
    low, high = corners.min(axis=0), corners.max(axis=0)
    return f"x from {low[0]:.6g} to {high[0]:.6g} and y from {low[1]:.6g} to {high[1]:.6g} mm"
