"""A folder of DICOM files as a database, indexed once into SQLite and then incrementally."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from dicombridge.database.header_values import (
    MEDIA_STORAGE_DIRECTORY,
    read_indexed_values,
    read_values_up_to,
    tag_key,
    tag_number,
)
from dicombridge.database.index_file import COLUMNS, IN_MEMORY, default_index_path, open_index, set_aside
from dicombridge.database.indexed_tags import INDEXED_TAGS
from dicombridge.database.scan import FoundFile, Ticker, look_at, scan_folder
from dicombridge.errors import UnreadableError

__all__ = ["FolderDatabase", "Report"]

Progress = Callable[[float, str], object]

_BATCH = 500
"""Files per transaction: what an interruption can cost."""
_CACHED_FILES = 20_000
"""Files whose values are kept in memory."""
_CACHED_LAZY_FILES = 256
_INDEXED_KEYS = frozenset(key for key, _, _ in INDEXED_TAGS.values())
_LISTED = 50
"""Files of each sort that the text of a report names."""
_CLOSED = "its database was closed; open it again"


@dataclass
class Report:
    """What a refresh found; ``str()`` of it is a summary for a person.

    Attributes
    ----------
    indexed
        Number of files that were read and taken in.
    unchanged
        Number of files that were not read, since their size and time of change are those of the index.
    removed
        Number of files that are gone from disk and so from the index.
    skipped
        ``(path, reason)`` of each file that is not in the database.
    odd
        ``(path, what)`` of each file that is in the database but is unusual or damaged.
    duplicates
        ``(path, path of the instance)`` of each file whose SOP Instance UID an earlier path (in sorted order)
        has too. Only the earlier one is the instance.
    notes
        What happened to the index itself.
    cancelled
        The refresh was interrupted. What it read is kept, and the next refresh goes on from there.
    """

    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    odd: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cancelled: bool = False

    def __str__(self) -> str:
        lines = [f"{self.indexed} files indexed, {self.unchanged} unchanged, {self.removed} removed"]
        if self.cancelled:
            lines.append("Interrupted: call refresh() to go on.")
        lines.extend(self.notes)
        duplicates = [(path, f"has the SOP Instance UID of {kept}; left out") for path, kept in self.duplicates]
        parts = (("Skipped", self.skipped), ("Unusual", self.odd), ("Duplicates", duplicates))
        for title, entries in parts:
            if entries:
                lines.append(f"{title} ({len(entries)}):")
                lines.extend(f"  {path}: {reason}" for path, reason in entries[:_LISTED])
                if len(entries) > _LISTED:
                    lines.append(f"  ... and {len(entries) - _LISTED} more")
        return "\n".join(lines)


class FolderDatabase:
    """The DICOM files of a folder, behind the :class:`~dicombridge.database.Database` protocol.

    Queries answer from the index as the last :meth:`refresh` left it; :func:`~dicombridge.database.open_folder`
    opens and refreshes. Only headers are read, never pixel data, and nothing is written into the folder.

    Parameters
    ----------
    directory
        The folder. Links to folders are followed, each folder once.
    index
        File that keeps the index, or ``":memory:"``; by default one in the user's cache folder. It holds header
        values, names of patients among them, and may be deleted at any time.
    files
        Only these files of the folder.

    Raises
    ------
    UnreadableError
        ``directory`` is not a folder.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        index: str | os.PathLike[str] | None = None,
        *,
        files: Sequence[str | os.PathLike[str]] | None = None,
    ) -> None:
        self.directory = Path(os.path.abspath(directory))  # noqa: PTH100 - Path.absolute() keeps ".."
        if not self.directory.is_dir():
            problem = "is not a folder" if self.directory.exists() else "does not exist"
            raise UnreadableError(directory, f"{problem}; give a folder with DICOM files")
        self.report = Report()
        self._only = None if files is None else sorted({os.fspath(Path(file).absolute()) for file in files})
        self._lock = threading.RLock()
        self._values: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._lazy: OrderedDict[str, tuple[int, dict[str, str]]] = OrderedDict()
        self._index_is_own = index is None
        wanted = default_index_path(self.directory) if index is None else os.fspath(index)
        self._notes: list[str] = []
        self.index, self._connection = open_index(wanted, str(self.directory), self._index_is_own, self._notes)
        self.report.notes = list(self._notes)

    # -- life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the index; the database can't be used any more."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> FolderDatabase:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            with self._lock:
                query = "SELECT count(DISTINCT patient), count(DISTINCT study), count(DISTINCT series), count(*)"
                row = self._connection.execute(f"{query} FROM files WHERE {_INSTANCE}").fetchone()
        except sqlite3.Error:
            return f"FolderDatabase({str(self.directory)!r}, closed)"
        counts = f"{row[0]} patients, {row[1]} studies, {row[2]} series, {row[3]} instances"
        return f"FolderDatabase({str(self.directory)!r}: {counts})"

    # -- indexing --------------------------------------------------------------------------------------------

    def refresh(self, progress: Progress | None = None, cancelled: Callable[[], bool] | None = None) -> Report:
        """Bring the index up to date with the folder: read what is new or changed, forget what is gone.

        Parameters
        ----------
        progress
            Called with a fraction (0 to 1) and a message that counts files.
        cancelled
            Asked before each file; true ends the refresh. What was read is kept, also when an exception (a
            KeyboardInterrupt, or one of ``progress``) ends it, and the next refresh goes on from there.

        Returns
        -------
        Report
            Also kept as :attr:`report`.

        Raises
        ------
        UnreadableError
            The folder is gone; the index is left as it is.
        """
        with self._lock:
            try:
                return self._refresh(progress, cancelled)
            except sqlite3.ProgrammingError as error:
                raise UnreadableError(self.directory, _CLOSED) from error
            except sqlite3.Error as error:
                self._replace_index(error)
                return self._refresh(progress, cancelled)

    def _refresh(self, progress: Progress | None, cancelled: Callable[[], bool] | None) -> Report:
        report = self.report = Report(notes=list(self._notes))
        ticker = Ticker(progress, cancelled)
        found: list[FoundFile] = []
        for file in self._scan(report):
            if file is not None:
                found.append(file)
            ticker.looking(len(found))
            if ticker.cancelled():
                report.cancelled = True
                self._complete(report)
                return report
        changed = self._compare(found, report)
        try:
            self._index(changed, report, ticker)
        finally:
            self._values.clear()
            self._lazy.clear()
            self._mark_duplicates()
            self._complete(report)
        if not report.cancelled:
            ticker.done(len(changed), len(found))
        return report

    def _scan(self, report: Report) -> Iterator[FoundFile | None]:
        if self._only is not None:
            return (look_at(path, report.skipped) for path in self._only)
        own = [self.index + suffix for suffix in ("", "-journal", ".damaged")]
        return scan_folder(os.fspath(self.directory), own, report.skipped)

    def _compare(self, found: list[FoundFile], report: Report) -> list[FoundFile]:
        """Remove what is gone, and return the new and changed files."""
        known = {
            os.fsdecode(path): (size, mtime)
            for path, size, mtime in self._connection.execute("SELECT path, size, mtime_ns FROM files")
        }
        changed = [file for file in found if known.get(file.path) != (file.size, file.mtime_ns)]
        gone = known.keys() - {file.path for file in found}
        with self._connection:
            self._connection.executemany("DELETE FROM files WHERE path = ?", ((os.fsencode(path),) for path in gone))
        report.unchanged = len(found) - len(changed)
        report.removed = len(gone)
        return sorted(changed)

    def _index(self, changed: list[FoundFile], report: Report, ticker: Ticker) -> None:
        """Read files and keep their values, a batch a transaction, so that the index is locked for moments only."""
        rows: list[tuple[Any, ...]] = []
        try:
            for number, file in enumerate(changed):
                if ticker.cancelled():
                    report.cancelled = True
                    return
                ticker.reading(number, len(changed))
                try:
                    row = _row(file)
                except OSError as error:  # not kept: the next refresh tries again
                    report.skipped.append((file.path, f"cannot be read ({error.strerror or error})"))
                    rows.append((os.fsencode(file.path), -1, -1, *[None] * (len(COLUMNS) - 3)))
                    continue
                report.indexed += row[3] is not None
                rows.append(row)
                if len(rows) >= _BATCH:
                    self._keep(rows)
                    rows = []
        finally:
            self._keep(rows)

    def _keep(self, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            with self._connection:
                self._connection.executemany(
                    f"INSERT OR REPLACE INTO files VALUES ({'?, ' * (len(COLUMNS) - 1)}?)", rows
                )

    def _mark_duplicates(self) -> None:
        """Let the first path of each SOP Instance UID be the instance."""
        several = "SELECT sop FROM files WHERE sop IS NOT NULL GROUP BY sop HAVING count(*) > 1"
        first = "SELECT min(f.path) FROM files f WHERE f.sop = files.sop AND f.path < files.path"
        with self._connection:
            self._connection.execute("UPDATE files SET duplicate_of = NULL WHERE duplicate_of IS NOT NULL")
            self._connection.execute(f"UPDATE files SET duplicate_of = ({first}) WHERE sop IN ({several})")

    def _complete(self, report: Report) -> None:
        """Name all odd files that the index knows, also those that this refresh did not read."""
        query = "SELECT path, sop, duplicate_of, note FROM files WHERE note <> '' OR duplicate_of IS NOT NULL"
        for path, sop, duplicate_of, note in self._connection.execute(query + " ORDER BY path"):
            if note:
                (report.skipped if sop is None else report.odd).append((os.fsdecode(path), note))
            if duplicate_of is not None:
                report.duplicates.append((os.fsdecode(path), os.fsdecode(duplicate_of)))
        report.skipped.sort()

    def _replace_index(self, error: sqlite3.Error) -> None:
        """Go on after the index file failed: with a new one where it is damaged, else in memory."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._notes.append(f"The index {self.index} failed ({error}).")
        damaged = not isinstance(error, sqlite3.OperationalError) and self.index != IN_MEMORY
        wanted = self.index if damaged and set_aside(self.index, self._notes) else IN_MEMORY
        if wanted == IN_MEMORY:
            self._notes.append("The index is kept in memory; the folder is read anew the next time.")
        self.index, self._connection = open_index(wanted, str(self.directory), self._index_is_own, self._notes)
        self._values.clear()

    # -- queries, with ctkDICOMDatabase's names ----------------------------------------------------------------

    def patients(self) -> tuple[str, ...]:
        """Return the keys of all patients: Patient ID, or Study Instance UID where that is missing."""
        return self._column(f"SELECT DISTINCT patient FROM files WHERE {_INSTANCE} ORDER BY patient")

    def studiesForPatient(self, patient: str, /) -> tuple[str, ...]:
        """Return the Study Instance UIDs of a patient, the oldest first."""
        return self._column(
            f"SELECT study FROM files WHERE {_INSTANCE} AND patient = ? GROUP BY study ORDER BY min(study_time), study",
            patient,
        )

    def seriesForStudy(self, study: str, /) -> tuple[str, ...]:
        """Return the Series Instance UIDs of a study, by series number."""
        return self._column(
            f"SELECT series FROM files WHERE {_INSTANCE} AND study = ? GROUP BY series"
            " ORDER BY min(series_number) IS NULL, min(series_number), series",
            study,
        )

    def instancesForSeries(self, series: str, hits: int = -1, /) -> tuple[str, ...]:
        """Return the SOP Instance UIDs of a series, in the order of :meth:`filesForSeries`."""
        return self._column(f"SELECT sop FROM files {_OF_SERIES}", series, hits)

    def filesForSeries(self, series: str, hits: int = -1, /) -> tuple[str, ...]:
        """Return the absolute paths of a series' files by instance number, then path; at most ``hits`` if not -1."""
        return tuple(map(os.fsdecode, self._column(f"SELECT path FROM files {_OF_SERIES}", series, hits)))

    def fileForInstance(self, instance: str, /) -> str:
        """Return the path of an instance."""
        rows = self._rows(f"SELECT path FROM files WHERE {_INSTANCE} AND sop = ?", instance)
        return os.fsdecode(rows[0][0]) if rows else ""

    def instanceForFile(self, path: str, /) -> str:
        """Return the SOP Instance UID of a file of the folder."""
        return self._one("SELECT sop FROM files WHERE path = ?", _key(path))

    def seriesForFile(self, path: str, /) -> str:
        """Return the Series Instance UID of a file of the folder."""
        return self._one("SELECT series FROM files WHERE path = ?", _key(path))

    def studyForSeries(self, series: str, /) -> str:
        """Return the Study Instance UID of a series."""
        return self._one(f"SELECT study FROM files WHERE {_INSTANCE} AND series = ? ORDER BY path", series)

    def patientForStudy(self, study: str, /) -> str:
        """Return the key of a study's patient."""
        return self._one(f"SELECT patient FROM files WHERE {_INSTANCE} AND study = ? ORDER BY path", study)

    def allFiles(self) -> tuple[str, ...]:
        """Return the absolute paths of all instances, sorted."""
        return tuple(map(os.fsdecode, self._column(f"SELECT path FROM files WHERE {_INSTANCE} ORDER BY path")))

    def studies(self) -> tuple[str, ...]:
        """Return the Study Instance UIDs of all studies, the latest first."""
        return self._column(f"SELECT study FROM files WHERE {_INSTANCE} GROUP BY study ORDER BY {_LATEST_FIRST}")

    def seriesSummaries(self, study: str, /) -> list[tuple[str, int, dict[str, str]]]:
        """Return series of a study: UID, number of instances, indexed values of the file whose path is the first."""
        query = f"SELECT series, count(*), tags, min(path) FROM files WHERE {_INSTANCE} AND study = ? GROUP BY series"
        rows = self._rows(f"{query} ORDER BY min(series_number) IS NULL, min(series_number), series", study)
        return [(series, count, json.loads(tags)) for series, count, tags, _ in rows]

    def instanceSummaries(self, series: str, /) -> Iterator[tuple[str, int, dict[str, str]]]:
        """Yield the instances of a series as :meth:`filesForSeries` has them: path, bytes, indexed values."""
        for path, size, tags in self._rows(f"SELECT path, size, tags FROM files {_OF_SERIES}", series, -1):
            yield os.fsdecode(path), size, json.loads(tags)

    def fileValue(self, path: str, tag: str, /) -> str:
        """Return the value of a top level element of a file as text; read from disk where the index lacks it."""
        name = os.fspath(path)
        values = self._values.get(name)
        if values is not None:
            value = values.get(tag)
            if value is not None:
                return value
        number = tag_number(tag)
        if number is None or not name:
            return ""
        key = tag_key(number)
        if values is None:
            name = os.path.abspath(name)  # noqa: PTH100 - Path.absolute() keeps ".."
            values = self._values_of(name)
        if values is None or key not in _INDEXED_KEYS:
            values = self._values_from_disk(name, number)
        return values.get(key, "")

    def instanceValue(self, instance: str, tag: str, /) -> str:
        """Return the value of a top level element of an instance as text."""
        path = self.fileForInstance(instance)
        return self.fileValue(path, tag) if path else ""

    def _values_of(self, path: str) -> dict[str, str] | None:
        """Return the indexed values of a file; those of its whole series come into memory with it."""
        with self._lock:
            values = self._values.get(path)
            if values is not None:
                return values
            query = "SELECT path, tags FROM files WHERE sop IS NOT NULL AND (path = ?1 OR series ="
            rows = self._rows(f"{query} (SELECT series FROM files WHERE path = ?1))", _key(path))
            for other, tags in rows:
                self._values[os.fsdecode(other)] = json.loads(tags)
            values = self._values.get(path)
            while len(self._values) > _CACHED_FILES:
                self._values.popitem(last=False)
            return values

    def _values_from_disk(self, path: str, tag: int) -> dict[str, str]:
        with self._lock:
            reached, values = self._lazy.get(path, (-1, {}))
            if reached >= tag:
                return values
            try:
                values = read_values_up_to(path, tag).values
            except (UnreadableError, OSError):
                values, tag = {}, 0xFFFFFFFF
            self._lazy[path] = (tag, values)
            while len(self._lazy) > _CACHED_LAZY_FILES:
                self._lazy.popitem(last=False)
            return values

    def _rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(query, arguments).fetchall()
            except sqlite3.ProgrammingError as error:
                raise UnreadableError(self.directory, _CLOSED) from error
            except sqlite3.Error as error:
                raise UnreadableError(self.index, f"the index cannot be read ({error}); call refresh()") from error

    def _column(self, query: str, *arguments: object) -> tuple[Any, ...]:
        return tuple(row[0] for row in self._rows(query, *arguments))

    def _one(self, query: str, *arguments: object) -> str:
        rows = self._rows(query + " LIMIT 1", *arguments)
        return str(rows[0][0] or "") if rows else ""


_INSTANCE = "sop IS NOT NULL AND duplicate_of IS NULL"
_LATEST_FIRST = "max(study_time) DESC, study"
_OF_SERIES = f"WHERE {_INSTANCE} AND series = ? ORDER BY instance_number IS NULL, instance_number, path LIMIT ?"
_NEEDED = (("0008,0018", "SOP"), ("0020,000D", "Study"), ("0020,000E", "Series"))


def _row(file: FoundFile) -> tuple[Any, ...]:
    """Read a file and return its row in the table; a file that is no instance has a note and no UIDs."""
    start = (os.fsencode(file.path), file.size, file.mtime_ns)
    blank = [None] * (len(COLUMNS) - len(start) - 1)
    try:
        header = read_indexed_values(file.path)
    except UnreadableError as error:
        return (*start, *blank, error.reason)
    values = header.values
    note = "; ".join(header.notes)
    if MEDIA_STORAGE_DIRECTORY in (values.get("0002,0002"), values.get("0008,0016")):
        return (*start, *blank, "is a DICOMDIR, a list of other files, which are looked at one by one")
    for key, level in _NEEDED:
        if not values.get(key):
            also = f" and {note}" if note else ""
            return (*start, *blank, f"has no {level} Instance UID{also}, so it is left out")
    study = values["0020,000D"]
    return (
        *start,
        values["0008,0018"],
        values["0020,000E"],
        study,
        values.get("0010,0020") or study,  # ctkDICOMDatabase's rule
        values.get("0008,0020", "") + values.get("0008,0030", ""),
        _integer(values.get("0020,0011", "")),
        _integer(values.get("0020,0013", "")),
        None,
        json.dumps(values, ensure_ascii=False, separators=(",", ":")),
        note,
    )


def _integer(text: str) -> int | None:
    """Return the first number of an IS value, or None."""
    try:
        number = int(float(text.partition("\\")[0]))
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 2**63 else None


def _key(path: str) -> bytes:
    """Return a path as the index keeps it."""
    return os.fsencode(os.path.abspath(path)) if path else b""  # noqa: PTH100 - Path.absolute() keeps ".."
