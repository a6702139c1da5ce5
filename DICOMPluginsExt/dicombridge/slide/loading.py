"""From files to volumes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicombridge.errors import DicomBridgeError, UnreadableError, UnsupportedError
from dicombridge.progress import Progress, part, silent
from dicombridge.scene import transaction
from dicombridge.slide.choice import Region, box_of, check_budget, choose, paths_of
from dicombridge.slide.levels import Level, read_levels
from dicombridge.slide.tiles import OpenLevel
from dicombridge.slide.volume import Picture, add_picture, read_picture
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wish:
    """What the caller wants of the level."""

    region: Region | None
    icc: bool
    optical_path: str | None
    focal_planes: tuple[int, ...] | None

    def size_of(self, level: Level) -> int:
        """Return the bytes that this takes of a level; none where it has nothing of it."""
        try:
            box, _ = box_of(level.matrix, self.region)
        except DicomBridgeError:
            return 0  # said when it is read
        planes = level.focal_planes if self.focal_planes is None else len(self.focal_planes)
        return level.bytes_of(box.rows, box.columns, planes, len(paths_of(level, self.optical_path)))


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
    region
        x, y, width and height in mm of the slide: the pixels that this rectangle touches are read, no others. On a
        slide that lies rotated, those of the smallest upright rectangle of pixels around it.
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
        There is no such level, it does not fit, or there is no decoder.
    GeometryError
        The region lies outside of the image, or the image cannot be placed.
    """
    tell = progress or silent
    tell(0.0, "Reading headers")
    wish = _Wish(region, icc, optical_path, None if focal_planes is None else tuple(focal_planes))
    levels, errors = read_levels(loadable.files)
    for error in errors:
        if not levels:
            raise error
        _log.warning("%s", error)
    chosen = choose(levels, level, wish.size_of)
    if not chosen:
        raise UnreadableError(loadable.files[0], "is no image of a slide; examine the series again.")
    check_budget(chosen[0], sum(map(wish.size_of, chosen)))
    pictures: list[Picture] = []
    for number, one in enumerate(chosen):
        step = part(progress, 0.1 + 0.7 * number / len(chosen), 0.7 / len(chosen))
        with reading(one.files[0]):
            pictures.extend(_pictures(one, wish, step))
    if not pictures:
        there = ", ".join(repr(path.identifier) for one in chosen for path in one.optical_paths)
        raise UnsupportedError(f"{chosen[0].files[0]}: has no optical path {optical_path!r}; there are: {there}.")
    return _add(scene, loadable.name, pictures, tell)


def _pictures(level: Level, wish: _Wish, progress: Progress | None) -> list[Picture]:
    """Read the optical paths of a level."""
    box, warning = box_of(level.matrix, wish.region)
    if warning:
        _log.warning("%s: %s", level.files[0], warning)
    paths = paths_of(level, wish.optical_path)
    pictures = []
    with OpenLevel(level) as opened:
        planes = _planes(level, opened, wish.focal_planes)
        check_budget(level, level.bytes_of(box.rows, box.columns, len(planes), len(paths)))
        for number, path in enumerate(paths):
            tell = _told(part(progress, number / len(paths), 1 / len(paths)))
            pictures.append(read_picture(opened, level, box, path, planes, wish.icc, tell))
    return pictures


def _planes(level: Level, opened: OpenLevel, wanted: Sequence[int] | None) -> list[int]:
    there = len(opened.tiling.offsets)
    if wanted is None:
        return list(range(there))
    wrong = [number for number in wanted if not 0 <= number < there]
    if wrong or not wanted:
        raise UnsupportedError(f"{level.files[0]}: has focal planes 0 to {there - 1}, not {wrong or 'none'}.")
    return sorted(set(wanted))


def _told(progress: Progress | None) -> Callable[[float], object] | None:
    return None if progress is None else lambda fraction: progress(fraction, "Reading tiles")


def _add(scene: Any, name: str, pictures: Sequence[Picture], tell: Progress) -> list[Any]:
    nodes = []
    with transaction(scene):
        for number, picture in enumerate(pictures):
            label = picture.level.optical_paths[picture.path].title or str(number + 1)
            full = name if len(pictures) == 1 else f"{name} - {label}"
            for warning in picture.warnings:
                _log.warning("%s: %s", full, warning)
            nodes.append(add_picture(scene, picture, full))
            tell(0.8 + 0.2 * (number + 1) / len(pictures), "Loaded")
    return nodes
