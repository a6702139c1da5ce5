"""What examination offers: mapping objects, and images in real world values as alternatives to plain ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dicombridge.examination import first_loadable, series_name, warning_of_damage
from dicombridge.image.headers import MULTI_FRAME_CLASSES
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from dicombridge.real_world_value.readings import (
    MAPPINGS,
    STORAGE,
    Reading,
    readings_of_items,
    readings_of_object,
)
from dicombridge.real_world_value.uptake import PET_CLASSES, offered_uptakes
from dicombridge.tags import CONTENT_LABEL, INSTANCE_NUMBER, SOP_CLASS_UID
from dicombridge.tolerance import quiet
from dicombridge.value_mapping import mappings_of_sequence

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

ALTERNATIVE = 0.45
"""Confidence of an image in other values; Slicer gives alternatives of its own the same, and plain images 0.5."""

_MAPPING_SEQUENCE = 0x00409096
_NAMES = ((0x00409210,), (0x004008EA, 0, 0x00080100))
"""LUT Label, and Code Value of the Measurement Units Code Sequence."""


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer each mapping of the mapping objects among these files, and images in the real world values that they have.

    One header is read for each mapping object, and one for all images of a class: whether a series maps its values, or
    has what SUV need, no tag cache knows. Bad files give a warning, never an exception.
    """
    loadables: list[Loadable] = []
    images: dict[str, list[str]] = {}
    for file in map(str, files):
        sop_class = str(database.fileValue(file, SOP_CLASS_UID) or "")
        if sop_class == STORAGE:
            loadables.extend(_of_object(file, database))
        elif sop_class in kind_named("RWVM").also_examines:
            images.setdefault(sop_class, []).append(file)
    _tell_apart(loadables, database)
    for sop_class, of_class in images.items():
        loadables.extend(_of_images(of_class, sop_class, database))
    return loadables


# --- Mapping objects -----------------------------------------------------------------------------------------------


def _of_object(file: str, database: Database) -> list[Loadable]:
    name = series_name(file, database, database.fileValue(file, CONTENT_LABEL), kind_named("RWVM").title)
    loadable = first_loadable("RWVM", [file], database, name, "Images in real world values")
    found = [loadable]
    with warning_of_damage(loadable):
        found = _mappings_of_object(loadable, database)
    return found


def _mappings_of_object(loadable: Loadable, database: Database) -> list[Loadable]:
    from dicombridge.multiframe import read_header
    from dicombridge.references import instances_needed, references_of

    file = loadable.files[0]
    header = read_header(file)
    references = references_of(header)
    loadable.referencedInstanceUIDs = instances_needed(references, database)
    readings = readings_of_object(header, file)
    named = [reference.sop_instance_uid for reference in references if reference.sop_instance_uid]
    missing = sum(not database.fileForInstance(uid) for uid in named)
    if missing == len(named):
        loadable.warning = f"None of the {len(named)} images that it maps is in the database; load them first."
        loadable.selected = False
    elif missing:
        loadable.warning = f"{missing} of the {len(named)} images that it maps are not in the database."
    return [_of_reading(loadable, one, len(readings) > 1) for one in readings]


def _of_reading(loadable: Loadable, one: Reading, several: bool) -> Loadable:
    return replace(
        loadable,
        name=f"{loadable.name} as {one.name}" if several else loadable.name,
        tooltip=f"{one.words}, by the mapping {one.name}",
        options={"mapping": one.name},
    )


def _tell_apart(loadables: list[Loadable], database: Database) -> None:
    """Add the content label to names of several objects of a series."""
    if len({loadable.files[0] for loadable in loadables}) < 2:
        return
    for loadable in loadables:
        label = database.fileValue(loadable.files[0], CONTENT_LABEL)
        loadable.name += f" [{label or database.fileValue(loadable.files[0], INSTANCE_NUMBER) or 'object'}]"


# --- Images --------------------------------------------------------------------------------------------------------


def _of_images(files: list[str], sop_class: str, database: Database) -> list[Loadable]:
    """Return the alternatives of the images of one class of a series; none, at the cost of one header, mostly."""
    try:
        offers = list(_offers(files[0], sop_class))
    except ImportError:
        raise
    except Exception:  # what is wrong with the image, its own kind says; there is nothing to add to it
        return []
    if not offers:
        return []
    from dicombridge.image import examine as examine_images

    found: list[Loadable] = []
    for plain in examine_images(files, database):
        if plain.confidence < ALTERNATIVE:
            continue  # cannot be placed in space
        for name, words, warning in offers:
            found.append(
                replace(
                    plain,
                    name=f"{plain.name} as {name}",
                    tooltip=f"{words}. {plain.tooltip}",
                    warning=" ".join(filter(None, (warning, plain.warning))),
                    selected=False,
                    confidence=ALTERNATIVE,
                    kind="RWVM",
                    options={"mapping": name},
                )
            )
    return found


def _offers(file: str, sop_class: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, words for a person, and warning of each alternative that the header of one image offers."""
    from dicombridge.image.headers import read_dataset
    from dicombridge.multiframe import open_multiframe

    if sop_class in MULTI_FRAME_CLASSES:
        with open_multiframe(file, pixels=False) as opened:
            header: Any = opened.header
            labels = _labels_of_frames(opened.table)
    else:
        header, labels = read_dataset(file), {}
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or []), None)
    names = set()
    for holder in (header, shared):
        if holder is not None and holder.get(MAPPINGS):
            for one in readings_of_items([([("", 0)], mappings_of_sequence(holder.get(MAPPINGS), path=file))]):
                names.add(one.name)
                yield one.name, one.words, ""
    for name in labels:
        if name not in names:
            names.add(name)
            yield name, "Real world values of each frame's own mapping", ""
    if sop_class in PET_CLASSES:
        yield from (offer for offer in offered_uptakes(header) if offer[0] not in names)


def _labels_of_frames(table: Any) -> dict[str, None]:
    """Return the names of the mappings that frames have of their own, each once: the labels, else the units."""
    labels: dict[str, None] = {}
    number = 0
    while table.has(_MAPPING_SEQUENCE, number):
        columns = [table.column(_MAPPING_SEQUENCE, number, *path) for path in _NAMES]
        for raw in zip(*columns, strict=True):
            labels.setdefault(next((name for part in raw if (name := _text(part))), ""))
        number += 1
    labels.pop("", None)
    return labels


def _text(raw: bytes | None) -> str:
    return (raw or b"").strip(b"\0 ").decode("utf-8", "replace")
