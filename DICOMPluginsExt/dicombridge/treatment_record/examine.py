"""What examination offers for treatment records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicombridge.attribute_values import items_of, value_of
from dicombridge.loadable import Loadable
from dicombridge.single_files import Told, examine_single_files
from dicombridge.table_objects import plan_uids
from dicombridge.treatment_record.session import title_of

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]


def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each treatment record of a series; files of other classes are passed over.

    A series often holds a record for each beam and fraction, so their names tell date, fraction and beams.
    """
    return examine_single_files(
        "RTRECORD", files, database, "RT treatment record", lambda header: _told(header, database)
    )


def _told(header: Dataset, database: Database) -> Told:
    """Return what tells a record from others of its series, and its tooltip."""
    beams = [*items_of(header, "TreatmentSessionBeamSequence"), *items_of(header, "TreatmentSessionIonBeamSequence")]
    setups = items_of(header, "TreatmentSessionApplicationSetupSequence")
    parts = [str(value_of(header, "TreatmentDate") or value_of(header, "MostRecentTreatmentDate") or "")]
    fraction = next((value for item in (*beams, *setups) if (value := value_of(item, "CurrentFractionNumber"))), None)
    if fraction is not None:
        parts.append(f"fraction {fraction}")
    names = [str(value_of(item, "BeamName") or value_of(item, "ReferencedBeamNumber") or "?") for item in beams]
    if names:
        parts.append(("beam " if len(names) == 1 else "beams ") + ", ".join(names[:4]) + ", ..." * (len(names) > 4))
    label = ", ".join(part for part in parts if part)
    plans = plan_uids(header)
    missing = sum(1 for uid in plans if not database.fileForInstance(uid))
    kind = title_of(UID(str(header.get("SOPClassUID") or "")))
    tooltip = f"{kind} as tables" + (f": {label}" if label else "")
    if missing:
        tooltip += "; the plan that was treated is not in the database"
    return Told(label, tooltip)
