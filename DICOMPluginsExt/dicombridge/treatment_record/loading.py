"""From files to table nodes: the load half of the kind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.attribute_values import items_of
from dicombridge.errors import UnreadableError
from dicombridge.progress import Progress
from dicombridge.table_objects import Field, Table, load_tables
from dicombridge.treatment_record.beams import BEAM_SEQUENCES, beam_tables
from dicombridge.treatment_record.brachy import SETUP_SEQUENCE, brachy_tables
from dicombridge.treatment_record.session import dose_tables, reference_table, session_table
from dicombridge.treatment_record.summary import summary_tables

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)

_NEVER_ABSENT = {
    "1.2.840.10008.5.1.4.1.1.481.4": BEAM_SEQUENCES,
    "1.2.840.10008.5.1.4.1.1.481.6": (SETUP_SEQUENCE, "RecordedSourceSequence"),
    "1.2.840.10008.5.1.4.1.1.481.7": ("CurrentTreatmentStatus", "FractionGroupSummarySequence"),
    "1.2.840.10008.5.1.4.1.1.481.9": BEAM_SEQUENCES,
}
"""SOP class -> what a whole record has at least one of (PS3.3 C.8.8.21 to C.8.8.23, C.8.8.26)."""

_BEAM = Field("Beam", "ReferencedBeamNumber", of=1)
_SETUP = Field("Application setup", "ReferencedBrachyApplicationSetupNumber", of=1)


def load(loadable: Loadable, scene: Any, database: Database | None, progress: Progress | None = None) -> list[Any]:
    """Load a treatment record as tables: the session first, then whatever of its contents has rows.

    Beams, control points, leaves and jaws, beam modifiers, overrides, corrections; sources, application setups,
    channels, dwell positions, pulses; fraction groups, fractions; doses; references.

    Parameters
    ----------
    loadable
        One record.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Not needed.
    progress
        Called with a fraction (0 to 1) and a message.

    Returns
    -------
    list of vtkMRMLTableNode
        The main one refers to the others, and to the plan that was treated, where that is in the scene.

    Raises
    ------
    UnreadableError
        The file is damaged.
    """
    nodes = load_tables(loadable, scene, progress, lambda header: _tables(loadable.files[0], header))
    if len(nodes) == 1:
        _log.warning("%s: the treatment record has neither beams nor anything else that was recorded.", loadable.name)
    return nodes


def _tables(file: str, header: Dataset) -> list[Table]:
    wanted = _NEVER_ABSENT.get(str(header.get("SOPClassUID") or ""), ())
    if not any(keyword in header for keyword in wanted):
        raise UnreadableError(file, "has no session: it is cut short, or not the record that it says it is.")
    sessions = [item for keyword in (*BEAM_SEQUENCES, SETUP_SEQUENCE) for item in items_of(header, keyword)]
    parent = _SETUP if items_of(header, SETUP_SEQUENCE) else _BEAM
    return [
        session_table(header, sessions),
        *beam_tables(header),
        *(brachy_tables(header) if SETUP_SEQUENCE in header or "RecordedSourceSequence" in header else []),
        *summary_tables(header),
        *dose_tables(header, (*BEAM_SEQUENCES, SETUP_SEQUENCE), parent),
        reference_table(header),
    ]
