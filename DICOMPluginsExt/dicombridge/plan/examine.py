"""What examination offers for plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.examination import counted, files_of_kind, first_loadable, numbered, warning_of_damage
from dicombridge.loadable import Loadable
from dicombridge.tags import PATIENT_ID, SERIES_DESCRIPTION, SOP_CLASS_UID
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

ION_PLAN = "1.2.840.10008.5.1.4.1.1.481.8"


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each plan of a series; files of other classes are passed over.

    Values come from the database's tag cache. The header of the object itself is read once, because its sequences say
    which structure set, doses and images it needs. Bad files give a warning, never an exception.
    """
    plans = files_of_kind("RTPLAN", files, database)
    return [_loadable(file, database, several=len(plans) > 1) for file in plans]


def _loadable(file: str, database: Database, several: bool) -> Loadable:
    ion = database.fileValue(file, SOP_CLASS_UID) == ION_PLAN
    description = database.fileValue(file, SERIES_DESCRIPTION)
    tooltip = "RT Ion Plan as tables, points and models" if ion else "RT Plan as tables, points and models"
    loadable = first_loadable("RTPLAN", [file], database, description, tooltip)
    label = ""
    with warning_of_damage(loadable):
        label = _look_into(loadable, database)
    name = description or label or "RT Plan"
    if several and label and label != name:
        name = f"{name} [{label}]"
    loadable.name = numbered(file, database, name)
    return loadable


def _look_into(loadable: Loadable, database: Database) -> str:
    """Complete a loadable with what only the header says, and return the plan's label."""
    from dicombridge.multiframe import open_multiframe
    from dicombridge.references import instances_needed, references_of_file

    with open_multiframe(loadable.files[0], pixels=False) as opened:
        header, references = opened.header, references_of_file(opened)
    loadable.referencedInstanceUIDs = instances_needed(references, database)
    loadable.tooltip = f"{loadable.tooltip}: {_content(header)}"
    loadable.warning = " ".join(_warnings(header, database, loadable.files[0]))
    return str(header.get("RTPlanLabel") or header.get("RTPlanName") or "").strip()


def _content(header: Any) -> str:
    beams = [*(header.get("BeamSequence") or ()), *(header.get("IonBeamSequence") or ())]
    parts = []
    if beams:
        parts.append(counted([str(beam.get("BeamName") or beam.get("BeamNumber") or "?") for beam in beams], "beam"))
    channels = sum(len(setup.get("ChannelSequence") or ()) for setup in header.get("ApplicationSetupSequence") or ())
    if channels:
        parts.append(f"{channels} channel{'s' if channels > 1 else ''}")
    fractions = [group.get("NumberOfFractionsPlanned") for group in header.get("FractionGroupSequence") or ()]
    said = [str(count) for count in fractions if count is not None]
    if said:
        parts.append(f"{' + '.join(said)} fraction{'s' if said != ['1'] else ''}")
    return ", ".join(parts) or "no beams"


def _warnings(header: Any, database: Database, file: str) -> list[str]:
    found = []
    if not (header.get("BeamSequence") or header.get("IonBeamSequence") or header.get("ApplicationSetupSequence")):
        found.append("The plan has neither beams nor application setups.")
    if str(header.get("RTPlanGeometry") or "") == "TREATMENT_DEVICE":
        found.append("The plan was made without images, so that its place in a patient is not known.")
    structure_sets = [
        str(item.get("ReferencedSOPInstanceUID") or "") for item in header.get("ReferencedStructureSetSequence") or ()
    ]
    present = [path for path in map(database.fileForInstance, filter(None, structure_sets)) if path]
    if structure_sets and not present:
        found.append("The structure set that it was made on is not in the database.")
    own = database.fileValue(file, PATIENT_ID)
    others = {database.fileValue(path, PATIENT_ID) for path in present} - {own}
    if others:
        found.append(f"Its structure set is of another patient: {', '.join(sorted(others))} instead of {own}.")
    return found
