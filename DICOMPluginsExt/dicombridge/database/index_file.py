"""The SQLite file that keeps a folder's index: where it lies, its schema, and what happens when it is unusable."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import sys
from pathlib import Path

from dicombridge.database.indexed_tags import INDEXED_TAGS

__all__ = ["COLUMNS", "IN_MEMORY", "default_index_path", "open_index", "set_aside"]

IN_MEMORY = ":memory:"

COLUMNS = (
    "path BLOB PRIMARY KEY",  # bytes, since names of files need not be text
    "size INTEGER",
    "mtime_ns INTEGER",
    "sop TEXT",  # NULL in this and the next columns: the file is not an instance, and note says why
    "series TEXT",
    "study TEXT",
    "patient TEXT",
    "study_time TEXT",
    "series_number INTEGER",
    "instance_number INTEGER",
    "duplicate_of BLOB",  # path of the file that is the instance
    "tags TEXT",  # JSON object: tag key -> value
    "note TEXT",
)
"""Columns of the table ``files``: one row a file, whether DICOM or not, so that no file is read twice."""

_SCHEMA = (
    f"CREATE TABLE files ({', '.join(COLUMNS)}) WITHOUT ROWID",
    "CREATE TABLE root (path TEXT)",
    "CREATE INDEX by_sop ON files (sop, path)",
    "CREATE INDEX by_series ON files (series)",
    "CREATE INDEX by_study ON files (study)",
    "CREATE INDEX by_patient ON files (patient)",
)
# The format includes how values are made from bytes: count this up when that changes.
_FORMAT = 1
_DIGEST = hashlib.sha256(repr((_FORMAT, _SCHEMA, sorted(INDEXED_TAGS))).encode()).digest()
_VERSION = int.from_bytes(_DIGEST[:4], "big") >> 1
_APPLICATION_ID = 0x44434252  # "DCBR"; offset 68 of the file
_PATIENCE = 30.0
"""Seconds to wait while another process writes; a batch takes it milliseconds."""


def default_index_path(directory: Path) -> str:
    """Return the index file of a folder: in the user's cache folder, named by a hash of the folder's path."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:32]
    return os.fspath(base / "dicombridge" / f"{name}.sqlite")


def open_index(path: str, root: str, is_own: bool, notes: list[str]) -> tuple[str, sqlite3.Connection]:
    """Open the index, make it anew where it is damaged or outdated, or fall back to memory; never fail.

    Parameters
    ----------
    path
        The file, or ``":memory:"``.
    root
        Folder that the index is about; an index of another folder is emptied.
    is_own
        The file's place was chosen by this module, not by the caller.
    notes
        What happened, in words, is added here.

    Returns
    -------
    str
        What was opened: ``path`` or ``":memory:"``.
    Connection
        Ready to use, by any thread.
    """
    for attempt in range(2):
        try:
            return path, _connect(path, root, is_own)
        except (sqlite3.Error, OSError) as error:
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            mine = is_own or _is_index(path)
            if attempt or not damaged or not mine or not set_aside(path, notes):
                notes.append(
                    f"The index {path} cannot be used ({error}); it is kept in memory, so the folder is read anew "
                    "the next time. Choose another file with index=."
                )
                break
    return IN_MEMORY, _connect(IN_MEMORY, root, is_own)


def set_aside(path: str, notes: list[str]) -> bool:
    """Rename a damaged index, so that a new one can be made; false where that fails."""
    aside = f"{path}.damaged"
    try:
        Path(path).replace(aside)
    except OSError:
        return False
    with contextlib.suppress(OSError):
        Path(f"{path}-journal").unlink()
    notes.append(f"The index {path} was damaged; it was renamed to {aside} and made anew.")
    return True


def _connect(path: str, root: str, is_own: bool) -> sqlite3.Connection:
    if path != IN_MEMORY:
        file = Path(path)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_own or not file.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # it holds names of patients
    connection = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            connection.execute("BEGIN IMMEDIATE")  # two processes may come at once; also shows that it's writable
            _prepare(connection, path, root)
        return connection
    except BaseException:
        connection.close()
        raise


def _prepare(connection: sqlite3.Connection, path: str, root: str) -> None:
    """Make the tables, where they aren't there or are those of another version or folder."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == _VERSION:
        row = connection.execute("SELECT path FROM root").fetchone()
        if row and row[0] == os.fsencode(root):
            return
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if tables and connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise sqlite3.OperationalError(f"{path} is a database of another program")
    for table in tables:
        connection.execute(f'DROP TABLE "{table}"')
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO root VALUES (?)", (os.fsencode(root),))
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")


def _is_index(path: str) -> bool:
    """Whether a file begins as an index of ours does."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(72)
    except OSError:
        return False
    return start[:16] == b"SQLite format 3\0" and start[68:72] == _APPLICATION_ID.to_bytes(4, "big")
