"""What examination offers for parametric maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.errors import DicomBridgeError
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from dicombridge.text import one_line
from dicombridge.tolerance import quiet
from dicombridge.value_mapping import mapping_of_item

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

SOP_CLASS = "0008,0016"
SERIES_INSTANCE_UID = "0020,000E"
SERIES_NUMBER = "0020,0011"
SERIES_DESCRIPTION = "0008,103E"
CONCATENATION_UID = "0020,9161"
INSTANCE_NUMBER = "0020,0013"
CONTENT_LABEL = "0070,0080"


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each parametric map object of a series; files of other classes are passed over.

    Values come from the database's tag cache. The header of the object itself is read once, without functional groups
    of frames and pixels, because only its sequences say which images it needs. Bad files give a warning, never an
    exception.
    """
    kind = kind_named("PM")
    groups: dict[str, list[str]] = {}
    for file in files:
        if database.fileValue(file, SOP_CLASS) in kind.sop_classes:
            groups.setdefault(database.fileValue(file, CONCATENATION_UID) or file, []).append(file)
    loadables = [_loadable(group, database) for group in groups.values()]
    if len(loadables) > 1:
        for number, loadable in enumerate(loadables, start=1):
            label = database.fileValue(loadable.files[0], CONTENT_LABEL)
            instance = database.fileValue(loadable.files[0], INSTANCE_NUMBER) or str(number)
            loadable.name = f"{loadable.name} [{label or instance}]"
    return loadables


def _loadable(files: list[str], database: Database) -> Loadable:
    first = files[0]
    number = database.fileValue(first, SERIES_NUMBER)
    description = (
        database.fileValue(first, SERIES_DESCRIPTION) or database.fileValue(first, CONTENT_LABEL) or "Parametric map"
    )
    loadable = Loadable(
        files=list(files),
        name=f"{number}: {description}" if number else description,
        tooltip="Parametric map as scalar volumes, or a sequence of them",
        selected=True,
        confidence=kind_named("PM").confidence,
        kind="PM",
        seriesInstanceUID=database.fileValue(first, SERIES_INSTANCE_UID),
    )
    try:
        _look_into(loadable, database)
    except DicomBridgeError as error:
        loadable.warning = str(error)
    except ImportError:
        raise  # a package is too old or missing: that is for the plugin to say, and no fault of the file
    except Exception as error:  # examination of all series would end with an exception of one
        loadable.warning = f"{first}: its header cannot be understood ({type(error).__name__}: {error})."
    return loadable


def _look_into(loadable: Loadable, database: Database) -> None:
    """Complete a loadable with what only the header's sequences say."""
    from dicombridge.multiframe import read_header
    from dicombridge.parametric_map.reading import is_tiled
    from dicombridge.references import instances_needed, references_of

    header = read_header(loadable.files[0])
    references = references_of(header)
    if not references:
        references = references_of(header, _table(loadable.files[0]))
    loadable.referencedInstanceUIDs = instances_needed(references, database)
    loadable.tooltip = _tooltip(header, loadable.files[0], loadable.tooltip)
    announced = header.get("InConcatenationTotalNumber") or 0
    if announced > len(loadable.files):
        missing = announced - len(loadable.files)
        loadable.warning = f"{missing} of the {announced} files of its concatenation are missing."
    if is_tiled(header):
        loadable.warning = "This is a parametric map of a whole slide image, which this version cannot load."
        loadable.selected, loadable.confidence = False, 0.1


def _table(file: str) -> Any:
    from dicombridge.multiframe import open_multiframe

    with open_multiframe(file, pixels=False) as opened:
        return opened.table


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
