"""What examination offers for parametric maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.examination import (
    first_loadable,
    objects_of_kind,
    references_of_frames,
    series_name,
    tell_apart,
    warning_of_damage,
)
from dicombridge.loadable import Loadable
from dicombridge.tags import CONTENT_LABEL
from dicombridge.text import one_line
from dicombridge.tolerance import quiet
from dicombridge.value_mapping import mapping_of_item

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each parametric map object of a series; files of other classes are passed over.

    Values come from the database's tag cache. The header of the object itself is read once, without functional groups
    of frames and pixels, because only its sequences say which images it needs. Bad files give a warning, never an
    exception.
    """
    loadables = [_loadable(group, database) for group in objects_of_kind("PM", files, database)]
    labels = [database.fileValue(loadable.files[0], CONTENT_LABEL) for loadable in loadables]
    tell_apart(loadables, labels, database)
    return loadables


def _loadable(files: list[str], database: Database) -> Loadable:
    name = series_name(files[0], database, database.fileValue(files[0], CONTENT_LABEL), "Parametric map")
    tooltip = "Parametric map as scalar volumes, or a sequence of them"
    loadable = first_loadable("PM", files, database, name, tooltip)
    with warning_of_damage(loadable):
        _look_into(loadable, database)
    return loadable


def _look_into(loadable: Loadable, database: Database) -> None:
    """Complete a loadable with what only the header's sequences say."""
    from dicombridge.multiframe import read_header
    from dicombridge.references import instances_needed

    header = read_header(loadable.files[0])
    loadable.referencedInstanceUIDs = instances_needed(references_of_frames(loadable.files[0], header), database)
    loadable.tooltip = _tooltip(header, loadable.files[0], loadable.tooltip)
    announced = header.get("InConcatenationTotalNumber") or 0
    if announced > len(loadable.files):
        missing = announced - len(loadable.files)
        loadable.warning = f"{missing} of the {announced} files of its concatenation are missing."


def _tooltip(header: Any, path: str, otherwise: str) -> str:
    """Name the quantity where the header tells it, which it does where all frames have the same."""
    groups = header.get("SharedFunctionalGroupsSequence") or []
    items = (groups[0].get("RealWorldValueMappingSequence") or []) if groups else []
    frames = header.get("NumberOfFrames") or 1
    named = []
    for item in items:
        mapping = mapping_of_item(item, path=path)
        quantity = mapping.quantity.meaning if mapping.quantity is not None else mapping.explanation or mapping.label
        units = f" in {mapping.units.meaning}" if mapping.units is not None and mapping.units.value != "1" else ""
        named.append(f"{quantity}{units}")
    if not named:
        return f"{otherwise} ({frames} frames)"
    maps = f"{len(named)} maps: " if len(named) > 1 else ""
    return one_line(f"{otherwise}: {maps}{', '.join(dict.fromkeys(named))} ({frames} frames)")
