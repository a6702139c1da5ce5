"""Where files and header values come from: the Database protocol, and a folder as a database.

``Database`` is the part of ctkDICOMDatabase that this library uses, under its own method names, so that
``slicer.dicomDatabase`` is one as it stands. What is missing is ``""`` or an empty sequence, never an exception.

============= ==============================================
folder        FolderDatabase: answers, refresh, report
scan          walking a folder
header_values reading the values of a file's header
indexed_tags  which of them are kept
index_file    the SQLite file
============= ==============================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from dicombridge.database.folder import FolderDatabase, Report
from dicombridge.errors import UnreadableError

__all__ = ["Database", "FolderDatabase", "Report", "open_files", "open_folder"]


@runtime_checkable
class Database(Protocol):
    """The subset of ctkDICOMDatabase that is used here.

    Arguments are positional, because wrapped C++ methods take no keywords. Lists may come as tuples. Tags are
    written ``"gggg,eeee"`` in upper case hexadecimal digits; values are text, several values joined by a backslash,
    and sequences are empty.
    """

    def patients(self) -> Sequence[str]:
        """Return the keys of all patients; they are good for :meth:`studiesForPatient` only."""

    def studiesForPatient(self, patient: str, /) -> Sequence[str]:
        """Return the Study Instance UIDs of a patient."""

    def seriesForStudy(self, study: str, /) -> Sequence[str]:
        """Return the Series Instance UIDs of a study."""

    def instancesForSeries(self, series: str, /) -> Sequence[str]:
        """Return the SOP Instance UIDs of a series."""

    def filesForSeries(self, series: str, /) -> Sequence[str]:
        """Return the absolute paths of a series' files."""

    def fileForInstance(self, instance: str, /) -> str:
        """Return the path of an instance."""

    def instanceForFile(self, path: str, /) -> str:
        """Return the SOP Instance UID of a file."""

    def seriesForFile(self, path: str, /) -> str:
        """Return the Series Instance UID of a file."""

    def studyForSeries(self, series: str, /) -> str:
        """Return the Study Instance UID of a series."""

    def patientForStudy(self, study: str, /) -> str:
        """Return the key of a study's patient."""

    def fileValue(self, path: str, tag: str, /) -> str:
        """Return the value of a top level element of a file, also of one outside the database."""

    def instanceValue(self, instance: str, tag: str, /) -> str:
        """Return the value of a top level element of an instance."""


def open_folder(
    directory: str | os.PathLike[str],
    progress: Callable[[float, str], object] | None = None,
    index: str | os.PathLike[str] | None = None,
) -> FolderDatabase:
    """Open a folder as a database and bring its index up to date.

    Parameters
    ----------
    directory
        A folder with DICOM files at any depth; or one DICOM file, which then is all that the database holds
        (its index is kept in memory).
    progress
        Called with a fraction (0 to 1) and a message that counts files.
    index
        File that keeps the index; ``":memory:"`` keeps it in memory. By default it is a file in the user's cache
        folder, so that nothing is written into the data.

    Raises
    ------
    UnreadableError
        There is no such folder, or the single file isn't an instance that can be read.
    """
    path = Path(directory).absolute()
    if path.is_file():
        database = open_files([path], progress)
        for _, reason in database.report.skipped:
            database.close()
            raise UnreadableError(path, reason)
        return database
    database = FolderDatabase(path, index)
    try:
        database.refresh(progress)
    except BaseException:
        database.close()
        raise
    return database


def open_files(
    paths: Iterable[str | os.PathLike[str]], progress: Callable[[float, str], object] | None = None
) -> FolderDatabase:
    """Return a database, kept in memory, of these files only; its report names those that it could not take."""
    files = [Path(path).absolute() for path in paths]
    directory = Path(os.path.commonpath([file.parent for file in files])) if files else Path.cwd()
    database = FolderDatabase(directory, ":memory:", files=files)
    database.refresh(progress)
    return database
