"""What examination offers for structure sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.errors import DicomBridgeError
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

SOP_CLASS = "0008,0016"
SERIES_INSTANCE_UID = "0020,000E"
SERIES_NUMBER = "0020,0011"
SERIES_DESCRIPTION = "0008,103E"
INSTANCE_NUMBER = "0020,0013"
STRUCTURE_SET_LABEL = "3006,0002"


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each structure set of a series; files of other classes are passed over.

    Values come from the database's tag cache. The header of the object itself is read once, without its contours. Bad
    files give a warning, never an exception.
    """
    kind = kind_named("RTSTRUCT")
    loadables = [_loadable(file, database) for file in files if database.fileValue(file, SOP_CLASS) in kind.sop_classes]
    if len(loadables) > 1:
        for number, loadable in enumerate(loadables, start=1):
            label = database.fileValue(loadable.files[0], STRUCTURE_SET_LABEL)
            instance = database.fileValue(loadable.files[0], INSTANCE_NUMBER) or str(number)
            loadable.name = f"{loadable.name} [{label or instance}]"
    return loadables


def _loadable(file: str, database: Database) -> Loadable:
    kind = kind_named("RTSTRUCT")
    number = database.fileValue(file, SERIES_NUMBER)
    label = database.fileValue(file, STRUCTURE_SET_LABEL)
    description = database.fileValue(file, SERIES_DESCRIPTION) or label or "Structure set"
    loadable = Loadable(
        files=[file],
        name=f"{number}: {description}" if number else description,
        tooltip="RT structure set as a segmentation node",
        selected=True,
        confidence=kind.confidence,
        kind=kind.name,
        seriesInstanceUID=database.fileValue(file, SERIES_INSTANCE_UID),
    )
    try:
        _look_into(loadable, database)
    except DicomBridgeError as error:
        loadable.warning = str(error)
    except ImportError:
        raise  # a package is too old or missing: that is for the plugin to say, and no fault of the file
    except Exception as error:  # examination of all series would end with an exception of one
        loadable.warning = f"{file}: its header cannot be understood ({type(error).__name__}: {error})."
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
    if not names:
        return otherwise
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    plural = "s" if len(names) > 1 else ""
    return f"{otherwise}: {len(names)} structure{plural} ({shown})"
