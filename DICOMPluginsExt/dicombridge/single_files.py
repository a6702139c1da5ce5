"""Examination of objects that are one file each: one loadable a file, told apart by what their headers say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pydicom.dataset import Dataset

from dicombridge.examination import files_of_kind, first_loadable, series_name, tell_apart, warning_of_damage
from dicombridge.loadable import Loadable
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["Told", "examine_single_files"]


class Told(NamedTuple):
    """What a person is told of an object.

    Attributes
    ----------
    label
        Tells it from others of its series; may be empty.
    tooltip, warning
        As a loadable has them.
    """

    label: str
    tooltip: str
    warning: str = ""


def examine_single_files(
    kind: str,
    files: Sequence[str],
    database: Database,
    otherwise: str,
    describe: Callable[[Dataset], Told],
) -> list[Loadable]:
    """Offer one loadable for each file of a kind's classes; bad files give a warning, never an exception.

    Parameters
    ----------
    kind
        Name of its row.
    files, database
        As every ``examine`` has them.
    otherwise
        Name of an object whose series has no description.
    describe
        Given the header, returns what a person is told of the object.
    """
    with quiet():
        pairs = [_loadable(kind, file, database, otherwise, describe) for file in files_of_kind(kind, files, database)]
        tell_apart([loadable for loadable, _ in pairs], [label for _, label in pairs], database)
    return [loadable for loadable, _ in pairs]


def _loadable(
    kind: str, file: str, database: Database, otherwise: str, describe: Callable[[Dataset], Told]
) -> tuple[Loadable, str]:
    from dicombridge.multiframe import read_header
    from dicombridge.references import instances_needed, references_of

    loadable = first_loadable(kind, [file], database, series_name(file, database, otherwise), otherwise)
    label = ""
    with warning_of_damage(loadable):
        header = read_header(file)
        loadable.referencedInstanceUIDs = instances_needed(references_of(header), database)
        label, loadable.tooltip, loadable.warning = describe(header)
    return loadable, label
