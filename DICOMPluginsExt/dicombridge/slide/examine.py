"""What examination offers for slides: a sensible first choice, then every image of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.errors import DicomBridgeError
from dicombridge.examination import files_of_kind, first_loadable, series_name
from dicombridge.loadable import Loadable
from dicombridge.slide.choice import MOST_BYTES, Wish, choose, fits, pyramid_of
from dicombridge.slide.levels import IMAGE, VOLUME, Level, OpticalPath, read_levels
from dicombridge.slide.names import sized, title_of
from dicombridge.tags import INSTANCE_NUMBER, SERIES_INSTANCE_UID
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

_ALTERNATIVE = 0.45
"""Below the first choice: of equals, Slicer's browser selects all."""
_THICKNESS = "a single focal plane is shown 1 mm thick"


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer the images of slides among these files; files of other classes are passed over. Only headers are read.

    The selected loadable of a slide is its largest level that fits into the memory budget; all levels, overview, label
    and thumbnail follow. A photograph is one loadable. Bad files give a warning, never an exception.
    """
    series: dict[str, list[str]] = {}
    for file in files_of_kind("SLIDE", files, database):
        series.setdefault(database.fileValue(file, SERIES_INSTANCE_UID), []).append(file)
    return [loadable for of_series in series.values() for loadable in _loadables(of_series, database)]


def _loadables(files: Sequence[str], database: Database) -> list[Loadable]:
    try:
        levels, errors = read_levels(files)
    except ImportError:
        raise  # a package is too old or missing: that is for the plugin to say, and no fault of the file
    except Exception as error:
        return [_damaged(files, database, f"{files[0]}: cannot be understood ({type(error).__name__}: {error}).")]
    photographs = [level for level in levels if level.flavour == IMAGE]
    slides = [level for level in levels if level.flavour != IMAGE]
    loadables = [_photograph(level, database, len(photographs) > 1) for level in photographs]
    if slides:
        # Files that cannot be read are among them, so that it is said again when the others are loaded.
        apart = {file for level in photographs for file in level.files}
        loadables += _of_slide(slides, [file for file in files if file not in apart], database)
    if not loadables:
        return [_damaged(files, database, " ".join(map(str, errors)))]
    if errors:
        loadables[0].warning = " ".join([*filter(None, [loadables[0].warning]), *map(str, errors)])
    return loadables


def _damaged(files: Sequence[str], database: Database, reason: str) -> Loadable:
    name = series_name(files[0], database, "Slide")
    loadable = first_loadable("SLIDE", files, database, name, "Image of a slide")
    loadable.warning = reason
    return loadable


def _photograph(level: Level, database: Database, several: bool) -> Loadable:
    name = series_name(level.files[0], database, "Photograph")
    number = database.fileValue(level.files[0], INSTANCE_NUMBER)
    tooltip = f"Image of {level.matrix.columns} x {level.matrix.rows} pixels as a volume of one slice, 1 mm thick"
    full = f"{name} [{number}]" if several and number else name
    loadable = first_loadable("SLIDE", level.files, database, full, tooltip)
    _complete(loadable, [level], database)
    return loadable


def _of_slide(levels: Sequence[Level], files: Sequence[str], database: Database) -> list[Loadable]:
    """Return the first choice, then everything that can be chosen, by name."""
    pyramid = pyramid_of(levels)
    best = choose(levels, None, Wish())
    choices: list[tuple[int | str, list[Level], str]] = [
        (number, group, f"level {number}") for number, group in enumerate(pyramid)
    ]
    for flavour in dict.fromkeys(level.flavour for level in levels if level.flavour != VOLUME):
        group = [level for level in levels if level.flavour == flavour]
        choices.append((flavour.lower(), group, flavour.lower()))
    title = title_of(levels[0].header)
    loadables = []
    for option, group, label in choices:
        name = sized(title, label, group[0])
        loadable = first_loadable("SLIDE", files, database, name, _tooltip(group, label))
        loadable.options, loadable.selected = {"level": option}, False
        loadable.confidence = _ALTERNATIVE
        _complete(loadable, group, database)
        loadables.append((group == best, loadable))
    # Without a level of its own, so that a region given to load is read from the best level for it.
    chosen = next(loadable for is_best, loadable in loadables if is_best)
    first = first_loadable("SLIDE", files, database, chosen.name, _best_tooltip(chosen.tooltip, best))
    first.warning, first.referencedInstanceUIDs = chosen.warning, list(chosen.referencedInstanceUIDs)
    if pyramid and best not in pyramid:
        told = f"No level of the slide fits into the {MOST_BYTES >> 20} MB that are loaded at once"
        told += (
            f", so this is another image of it ({best[0].flavour.lower()}); to load a part of a level, give a region."
        )
        first.warning = " ".join(filter(None, [first.warning, told]))
    others = [loadable for _, loadable in loadables]
    return [first, *(others if len(others) > 1 else [])]


def _tooltip(group: Sequence[Level], label: str) -> str:
    # Instances of one level are its optical paths, or focal planes of the same one.
    planes = Counter[OpticalPath]()
    for level in group:
        for path in level.optical_paths:
            planes[path] += level.focal_planes if level.flavour == VOLUME or not planes[path] else 0
    paths, most = [path.title or "?" for path in planes], max(planes.values())
    parts = [f"{label.capitalize()} of the slide, {_megabytes(group)} MB of pixels"]
    if len(paths) > 1:
        parts.append(f"{len(paths)} optical paths as volumes of their own ({', '.join(paths[:8])})")
    parts.append(f"{most} focal planes as slices" if most > 1 else _THICKNESS)
    return "; ".join(parts)


def _best_tooltip(tooltip: str, best: Sequence[Level]) -> str:
    if best[0].flavour != VOLUME:
        return tooltip
    if not fits(sum(level.all_bytes for level in best)):
        return f"{tooltip}; no level fits into {MOST_BYTES >> 20} MB"
    return f"{tooltip}; the largest level within {MOST_BYTES >> 20} MB"


def _megabytes(group: Sequence[Level]) -> int:
    return max(1, round(sum(level.all_bytes for level in group) / 2**20))


def _complete(loadable: Loadable, group: Sequence[Level], database: Any) -> None:
    """Add what the images refer to, and what is doubtful."""
    from dicombridge.references import instances_needed, references_of

    warnings = [level.warning for level in group]
    size = sum(level.all_bytes for level in group)
    if not fits(size):
        limit = MOST_BYTES >> 20
        warnings.append(f"It takes {size >> 20} MB, more than the {limit} MB that are loaded at once: give a region.")
    needed: dict[str, None] = {}
    for level in group:
        try:
            needed.update(dict.fromkeys(instances_needed(references_of(level.header), database)))
        except DicomBridgeError as error:
            warnings.append(str(error))
        except Exception as error:  # damaged values of a header that is read all the same
            warnings.append(f"{level.files[0]}: its references are damaged ({type(error).__name__}: {error}).")
    own = {database.seriesForFile(file) for file in loadable.files}
    for uid in list(needed):
        file = database.fileForInstance(uid)
        if (file and database.seriesForFile(file) in own) or uid in _uids(group):
            del needed[uid]
    loadable.referencedInstanceUIDs = list(needed)
    loadable.warning = " ".join(dict.fromkeys(filter(None, warnings)))


def _uids(group: Sequence[Level]) -> set[str]:
    """Return the SOP Instance UIDs of images."""
    return {uid for level in group for uid in level.sop_instance_uids}
