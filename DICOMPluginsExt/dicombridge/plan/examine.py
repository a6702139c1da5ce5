"""What examination offers for plans."""

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
PATIENT_ID = "0010,0020"
SERIES_INSTANCE_UID = "0020,000E"
SERIES_NUMBER = "0020,0011"
SERIES_DESCRIPTION = "0008,103E"
ION_PLAN = "1.2.840.10008.5.1.4.1.1.481.8"


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each plan of a series; files of other classes are passed over.

    Values come from the database's tag cache. The header of the object itself is read once, because its sequences say
    which structure set, doses and images it needs. Bad files give a warning, never an exception.
    """
    kind = kind_named("RTPLAN")
    plans = [file for file in files if database.fileValue(file, SOP_CLASS) in kind.sop_classes]
    return [_loadable(file, database, several=len(plans) > 1) for file in plans]


def _loadable(file: str, database: Database, several: bool) -> Loadable:
    ion = database.fileValue(file, SOP_CLASS) == ION_PLAN
    number = database.fileValue(file, SERIES_NUMBER)
    description = database.fileValue(file, SERIES_DESCRIPTION)
    loadable = Loadable(
        files=[file],
        name=description,
        tooltip="RT Ion Plan as tables, points and models" if ion else "RT Plan as tables, points and models",
        selected=True,
        confidence=kind_named("RTPLAN").confidence,
        kind="RTPLAN",
        seriesInstanceUID=database.fileValue(file, SERIES_INSTANCE_UID),
    )
    label = ""
    try:
        label = _look_into(loadable, database)
    except DicomBridgeError as error:
        loadable.warning = str(error)
    except ImportError:
        raise  # a package is too old or missing: that is for the plugin to say, and no fault of the file
    except Exception as error:  # examination of all series would end with an exception of one
        loadable.warning = f"{file}: its header cannot be understood ({type(error).__name__}: {error})."
    name = description or label or "RT Plan"
    if several and label and label != name:
        name = f"{name} [{label}]"
    loadable.name = f"{number}: {name}" if number else name
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
    names = ", ".join(str(beam.get("BeamName") or beam.get("BeamNumber") or "?") for beam in beams[:8])
    parts = []
    if beams:
        plural = "s" if len(beams) > 1 else ""
        parts.append(f"{len(beams)} beam{plural} ({names}{', ...' if len(beams) > 8 else ''})")
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
