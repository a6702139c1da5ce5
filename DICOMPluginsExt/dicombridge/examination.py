"""What the examinations of all kinds share: which files are theirs, what a reading is called, how it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dicombridge.errors import DicomBridgeError
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from dicombridge.tags import (
    CONCATENATION_UID,
    INSTANCE_NUMBER,
    SERIES_DESCRIPTION,
    SERIES_INSTANCE_UID,
    SERIES_NUMBER,
    SOP_CLASS_UID,
)
from dicombridge.text import one_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicombridge.database import Database
    from dicombridge.references import Reference

__all__ = [
    "all_series",
    "counted",
    "files_of_kind",
    "first_loadable",
    "numbered",
    "objects_of_kind",
    "references_of_frames",
    "series_name",
    "tell_apart",
    "warning_of_damage",
]


def all_series(database: Database) -> list[str]:
    """Return each series once: a study whose files bear two Patient IDs is listed with both patients."""
    found = dict.fromkeys(
        series
        for patient in database.patients()
        for study in database.studiesForPatient(patient)
        for series in database.seriesForStudy(study)
    )
    return list(found)


def files_of_kind(kind: str, files: Sequence[str], database: Database) -> list[str]:
    """Return the files of a kind's SOP classes, by the tag cache."""
    classes = kind_named(kind).sop_classes
    return [file for file in files if database.fileValue(file, SOP_CLASS_UID) in classes]


def objects_of_kind(kind: str, files: Sequence[str], database: Database) -> list[list[str]]:
    """Return the files of a kind's SOP classes, those of a concatenation together (PS3.3 C.7.6.16.2.2.4)."""
    groups: dict[str, list[str]] = {}
    for file in files_of_kind(kind, files, database):
        groups.setdefault(database.fileValue(file, CONCATENATION_UID) or file, []).append(file)
    return list(groups.values())


def series_name(file: str, database: Database, *otherwise: str) -> str:
    """Return ``"<SeriesNumber>: <SeriesDescription>"``, as Slicer names volumes.

    Parameters
    ----------
    otherwise
        Stand for an empty description: the first one that is not empty.
    """
    names = (name.strip() for name in (database.fileValue(file, SERIES_DESCRIPTION), *otherwise))
    return numbered(file, database, next(filter(None, names), ""))


def numbered(file: str, database: Database, name: str) -> str:
    """Return a name on one line, with the Series Number of a file in front of it."""
    number = database.fileValue(file, SERIES_NUMBER).strip()
    return one_line(f"{number}: {name}" if number else name)


def first_loadable(kind: str, files: Sequence[str], database: Database, name: str, tooltip: str) -> Loadable:
    """Return the best reading of an object, with all that needs no look into its header."""
    return Loadable(
        files=list(files),
        name=name,
        tooltip=tooltip,
        selected=True,
        confidence=kind_named(kind).confidence,
        kind=kind,
        seriesInstanceUID=database.fileValue(files[0], SERIES_INSTANCE_UID),
    )


def counted(names: Sequence[str], noun: str, most: int = 8) -> str:
    """Return how many there are and what the first ones are called.

    >>> counted(["Liver", "Spleen"], "segment", most=1)
    '2 segments (Liver, ...)'
    """
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f"{len(names)} {noun}{'s' if len(names) > 1 else ''} ({shown})"


def references_of_frames(file: str, header: Dataset) -> list[Reference]:
    """Return what the header of a multi-frame object refers to; where it names nothing, what its frames refer to."""
    from dicombridge.multiframe import open_multiframe
    from dicombridge.references import references_of

    references = references_of(header)
    if not references:
        with open_multiframe(file, pixels=False) as opened:
            references = references_of(header, opened.table)
    return references


@contextmanager
def warning_of_damage(loadable: Loadable) -> Iterator[None]:
    """Make whatever a damaged header does the warning of its loadable: one must not end the examination of others."""
    try:
        yield
    except DicomBridgeError as error:
        loadable.warning = str(error)
    except ImportError:
        raise  # a package is too old or missing: that is for the plugin to say, and no fault of the file
    except Exception as error:  # damaged headers make pydicom raise nearly every kind of error
        loadable.warning = f"{loadable.files[0]}: its header cannot be understood ({type(error).__name__}: {error})."


def tell_apart(loadables: Sequence[Loadable], labels: Sequence[str], database: Database) -> None:
    """Add labels to the names of several objects of a series: where one has none, its instance number or its place."""
    if len(loadables) < 2:
        return
    for place, (loadable, label) in enumerate(zip(loadables, labels, strict=True), start=1):
        label = label or database.fileValue(loadable.files[0], INSTANCE_NUMBER) or str(place)
        loadable.name = f"{loadable.name} [{label}]"
