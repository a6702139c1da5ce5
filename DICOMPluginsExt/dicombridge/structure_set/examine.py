"""What examination offers for structure sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.examination import counted, files_of_kind, first_loadable, series_name, tell_apart, warning_of_damage
from dicombridge.loadable import Loadable
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

STRUCTURE_SET_LABEL = "3006,0002"


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each structure set of a series; files of other classes are passed over.

    Values come from the database's tag cache. The header of the object itself is read once, without its contours. Bad
    files give a warning, never an exception.
    """
    loadables = [_loadable(file, database) for file in files_of_kind("RTSTRUCT", files, database)]
    labels = [database.fileValue(loadable.files[0], STRUCTURE_SET_LABEL) for loadable in loadables]
    tell_apart(loadables, labels, database)
    return loadables


def _loadable(file: str, database: Database) -> Loadable:
    name = series_name(file, database, database.fileValue(file, STRUCTURE_SET_LABEL), "Structure set")
    loadable = first_loadable("RTSTRUCT", [file], database, name, "RT structure set as a segmentation node")
    with warning_of_damage(loadable):
        _look_into(loadable, database)
    return loadable


def _look_into(loadable: Loadable, database: Database) -> None:
    """Complete a loadable with what only the header's sequences say."""
    from dicombridge.belonging import frames_of_reference, images_of
    from dicombridge.multiframe import read_header
    from dicombridge.references import instances_needed, references_of

    header = read_header(loadable.files[0], without=(0x30060039,))
    references = references_of(header)
    belonging = images_of(header, database)
    if belonging.how != "instance" and "ReferencedFrameOfReferenceSequence" not in header:
        # Only the contours name images then.
        references = _references_of_contours(loadable.files[0])
        patient = str(header.get("PatientID") or "")
        belonging = images_of(references, database, frames_of_reference(header), patient)
    needed = dict.fromkeys(instances_needed(references, database))
    if belonging.series_instance_uid:
        needed.update(dict.fromkeys(database.instancesForSeries(belonging.series_instance_uid)))
    loadable.referencedInstanceUIDs = list(needed)
    loadable.tooltip = _tooltip(header, loadable.tooltip)
    loadable.warning = belonging.warning
    if not belonging.series_instance_uid:
        loadable.warning += " The structures will have a grid of their own."


def _references_of_contours(file: str) -> list[Any]:
    from dicombridge.structure_set.reading import read_structure_set

    return read_structure_set(file).references


def _tooltip(header: Any, otherwise: str) -> str:
    names = [
        str(item.get("ROIName") or item.get("ROINumber") or "?") for item in header.get("StructureSetROISequence") or ()
    ]
    return f"{otherwise}: {counted(names, 'structure')}" if names else otherwise
