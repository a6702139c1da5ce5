"""From files to volumes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.progress import Progress, part, silent
from dicombridge.scene import transaction
from dicombridge.slide.choice import (
    Region,
    Wish,
    box_of,
    check_budget,
    checked_level,
    checked_path,
    checked_planes,
    checked_region,
    choose,
    is_same_image,
    pyramid_of,
)
from dicombridge.slide.levels import IMAGE, VOLUME, Level, read_levels
from dicombridge.slide.names import label_of, sized, title_of
from dicombridge.slide.pixel_matrix import SAME_PLANE_MM
from dicombridge.slide.tiles import Box, OpenLevel
from dicombridge.slide.volume import Picture, Slice, add_picture, read_picture
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load", "load_wished"]

_log = logging.getLogger(__name__)


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    level: int | str | None = None,
    region: Region | None = None,
    icc: bool = False,
    optical_path: str | None = None,
    focal_planes: Sequence[int] | None = None,
) -> list[Any]:
    """Load an image of a slide, or a part of it, in millimetres of the slide (PS3.3 C.8.12.2).

    Parameters
    ----------
    loadable
        All files of the slide's series, or some of them.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Not needed: images refer to nothing.
    progress
        Called with a fraction (0 to 1) and a message.
    level
        0 for the largest level of the pyramid, 1 for the next one, ...; ``"overview"``, ``"thumbnail"`` or ``"label"``.
        The default is the largest level of which the region fits into 512 MB; without a pyramid, what there is.
        Photographs, which are no slides, are loaded whatever is given here.
    region
        x, y, width and height in mm of the slide: the pixels that this rectangle touches are read, no others. On a
        slide that lies rotated, those of the smallest upright rectangle of pixels around it. Photographs are loaded
        as a whole.
    icc
        Whether the ICC profile is applied, which makes the colours sRGB.
    optical_path
        Identifier or description of one optical path; all, each as a node, where none is given.
    focal_planes
        Indices (from 0, ascending along the slide's z axis) of the focal planes; all, as slices, where none are given.

    Returns
    -------
    list of vtkMRMLVectorVolumeNode or vtkMRMLScalarVolumeNode
        RGB of 8 bits, or one channel; for each optical path one. A volume of one focal plane is 1 mm thick.

    Raises
    ------
    UnreadableError
        A file is damaged.
    UnsupportedError
        There is no such level, it does not fit, there is no decoder, or an option is of a wrong type.
    GeometryError
        The region lies outside of the image, or the image cannot be placed.
    """
    wish = Wish(
        region=checked_region(region),
        optical_path=checked_path(optical_path),
        focal_planes=checked_planes(focal_planes),
        icc=icc,
    )
    return load_wished(loadable, scene, wish, checked_level(level), progress)


def load_wished(
    loadable: Loadable,
    scene: Any,
    wish: Wish,
    level: int | str | None,
    progress: Progress | None = None,
    suffix: str = "",
) -> list[Any]:
    """Load as :func:`load` does.

    Parameters
    ----------
    suffix
        What the nodes' names end with.
    """
    tell = progress or silent
    tell(0.0, "Reading headers")
    levels, errors = read_levels(loadable.files)
    for error in errors:
        if not levels:
            raise error
        _log.warning("%s", error)
    if levels and all(one.flavour == IMAGE for one in levels):
        if level is not None or wish.region is not None:
            _log.info("%s: is no slide; it is loaded as a whole.", levels[0].files[0])
        level, wish = None, replace(wish, region=None)
    chosen = choose(levels, level, wish)
    if not chosen:
        raise UnreadableError(loadable.files[0], "is no image of a slide; examine the series again.")
    if level is None and chosen[0].flavour not in (VOLUME, IMAGE) and pyramid_of(levels):
        _log.warning(
            "%s: no level has what is wanted and fits; the %s was taken.", chosen[0].files[0], chosen[0].flavour.lower()
        )
    check_budget(chosen[0], wish.size_of(chosen) or 0)
    pictures = _pictures(chosen, wish, part(progress, 0.1, 0.7))
    return _add(scene, _names(loadable.name, levels, chosen, wish, pictures, suffix), pictures, tell)


def _pictures(chosen: Sequence[Level], wish: Wish, progress: Progress | None) -> list[Picture]:
    """Read each optical path of the images that are meant."""
    pictures = []
    with ExitStack() as stack:
        stacks: list[tuple[Box, list[Slice]]] = []
        for level, box, paths in wish.parts_of(chosen):
            _, warning = box_of(level.matrix, wish.region)
            if warning:
                _log.warning("%s: %s", level.files[0], warning)
            with reading(level.files[0]):
                _stack(level, box, paths, stack.enter_context(OpenLevel(level)), stacks)
        stacks = [(box, _planes(slices, wish.focal_planes)) for box, slices in stacks]
        sizes = (one[0].level.bytes_of(box.rows, box.columns, len(one), 1) for box, one in stacks)
        check_budget(chosen[0], sum(sizes))
        for number, (box, slices) in enumerate(stacks):
            tell = _told(part(progress, number / len(stacks), 1 / len(stacks)))
            with reading(slices[0].level.files[0]):
                pictures.append(read_picture(slices, box, wish.icc, tell))
    return pictures


def _stack(
    level: Level, box: Box, paths: Sequence[int], opened: OpenLevel, stacks: list[tuple[Box, list[Slice]]]
) -> None:
    """Put the focal planes of a level to those of the same image in other instances, else into a stack of their own."""
    for path in paths:
        new = [Slice(level, opened, plane, path) for plane in range(len(opened.tiling.offsets))]
        fitting = (slices for of_box, slices in stacks if of_box == box and _belongs(new, slices))
        slices = next(fitting, None)
        if slices is None:
            stacks.append((box, new))
        else:
            slices += new


def _belongs(new: Sequence[Slice], slices: Sequence[Slice]) -> bool:
    """Whether focal planes are others of the same optical path, place and kind of pixels."""
    one, other = new[0], slices[0]
    if not one.level.is_tiled or not is_same_image(one.level, other.level):
        return False
    if one.level.optical_paths[one.path] != other.level.optical_paths[other.path]:
        return False
    kinds = [(each.opened.samples, each.opened.dtype, each.level.photometric_interpretation) for each in (one, other)]
    heights = np.array([each.height for each in slices])
    return kinds[0] == kinds[1] and all(np.abs(heights - each.height).min() > SAME_PLANE_MM for each in new)


def _planes(slices: Sequence[Slice], wanted: Sequence[int] | None) -> list[Slice]:
    """Return the focal planes that are wanted, ascending along the slide's z axis."""
    ascending = sorted(slices, key=lambda one: one.height)
    if wanted is None:
        return ascending
    wrong = [number for number in wanted if not 0 <= number < len(ascending)]
    if wrong:
        there = f"has focal planes 0 to {len(ascending) - 1}, not {wrong}"
        raise UnsupportedError(f"{ascending[0].level.files[0]}: {there}.")
    return [ascending[number] for number in wanted]


def _told(progress: Progress | None) -> Callable[[float], object] | None:
    return None if progress is None else lambda fraction: progress(fraction, "Reading tiles")


def _names(
    name: str, levels: Sequence[Level], chosen: Sequence[Level], wish: Wish, pictures: Sequence[Picture], suffix: str
) -> list[str]:
    """Return what each node is called: after what was read, whatever the loadable that was chosen offers."""
    several = len(pictures) > 1 or len({path for level in chosen for path in level.optical_paths}) > 1
    title = title_of(levels[0].header)
    if name and not name.startswith(title):
        title = name  # the caller's own
    names = []
    for number, picture in enumerate(pictures, start=1):
        level = picture.levels[0]
        parts = [name if level.flavour == IMAGE else sized(title, label_of(level, levels), level)]
        parts += ["region"] if wish.region is not None else []
        parts += [level.optical_paths[picture.path].title or str(number)] if several else []
        names.append(" - ".join([*parts, suffix] if suffix else parts))
    return [f"{one} [{n}]" if names.count(one) > 1 else one for n, one in enumerate(names, start=1)]


def _add(scene: Any, names: Sequence[str], pictures: Sequence[Picture], tell: Progress) -> list[Any]:
    nodes = []
    with transaction(scene):
        for number, (name, picture) in enumerate(zip(names, pictures, strict=True)):
            for warning in picture.warnings:
                _log.warning("%s: %s", name, warning)
            nodes.append(add_picture(scene, picture, name))
            tell(0.8 + 0.2 * (number + 1) / len(pictures), "Loaded")
    return nodes
