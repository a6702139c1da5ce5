"""From files to table nodes: the load half of the kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.outline import named_references, outline, outline_columns, reference_columns
from dicombridge.progress import Progress
from dicombridge.second_generation_rt.radiations import radiation_table
from dicombridge.second_generation_rt.summary import object_table, summary_tables
from dicombridge.table_objects import Table, load_tables

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]


def load(loadable: Loadable, scene: Any, database: Database | None, progress: Progress | None = None) -> list[Any]:
    """Load a second-generation radiotherapy object as tables.

    What the object is comes first, then its outline, its references, and, where it has any: intents, prescriptions,
    treatment phases, dosimetric objectives, conceptual volumes, radiations, control points, beam tasks.

    Parameters
    ----------
    loadable
        One object.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where the radiations of a set are looked up, for their energies; may be None.
    progress
        Called with a fraction (0 to 1) and a message.

    Returns
    -------
    list of vtkMRMLTableNode
        The main one refers to the others.

    Raises
    ------
    UnreadableError
        The file is damaged.
    """
    return load_tables(loadable, scene, progress, lambda header: _tables(header, database))


def _tables(header: Dataset, database: Database | None) -> list[Table]:
    return [
        object_table(header),
        Table("Outline", outline_columns(outline(header))),
        Table("References", reference_columns(named_references(header))),
        *summary_tables(header),
        radiation_table(header, database),
    ]
