"""What examination offers for segmentations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.examination import (
    counted,
    first_loadable,
    objects_of_kind,
    references_of_frames,
    series_name,
    tell_apart,
    warning_of_damage,
)
from dicombridge.loadable import Loadable
from dicombridge.tags import CONTENT_LABEL
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

SEGMENTATION_TYPE = "0062,0001"


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each segmentation object of a series; files of other classes are passed over.

    Values come from the database's tag cache. The header of the object itself is read once, without functional groups
    of frames and pixels, because only its sequences say which images it needs. Bad files give a warning, never an
    exception.
    """
    loadables = [_loadable(group, database) for group in objects_of_kind("SEG", files, database)]
    labels = [database.fileValue(loadable.files[0], CONTENT_LABEL) for loadable in loadables]
    tell_apart(loadables, labels, database)
    return loadables


def _loadable(files: list[str], database: Database) -> Loadable:
    name = series_name(files[0], database, database.fileValue(files[0], CONTENT_LABEL), "Segmentation")
    segmentation_type = database.fileValue(files[0], SEGMENTATION_TYPE)
    tooltip = f"{segmentation_type.capitalize() or 'DICOM'} segmentation as a segmentation node"
    loadable = first_loadable("SEG", files, database, name, tooltip)
    with warning_of_damage(loadable):
        _look_into(loadable, database)
    return loadable


def _look_into(loadable: Loadable, database: Database) -> None:
    """Complete a loadable with what only the header's sequences say."""
    from dicombridge.multiframe import read_header
    from dicombridge.references import instances_needed

    header = read_header(loadable.files[0])
    references = references_of_frames(loadable.files[0], header)
    loadable.referencedInstanceUIDs = instances_needed(references, database)
    loadable.tooltip = _tooltip(header, loadable.tooltip)
    tiled = "TotalPixelMatrixColumns" in header  # these have a grid of their own in any case
    if not tiled and references and not any(database.fileForInstance(uid) for uid in loadable.referencedInstanceUIDs):
        loadable.warning = (
            "The images that it was made on are not in the database; the segmentation will have a grid of its own."
        )


def _tooltip(header: Any, otherwise: str) -> str:
    segments = header.get("SegmentSequence") or []
    labels = [str(item.get("SegmentLabel") or item.get("SegmentNumber") or "?") for item in segments]
    return f"{otherwise}: {counted(labels, 'segment')}" if labels else otherwise
