"""Which instances are there, with their SHA-256: a file of JSON lines that only grows.

A line is written in one piece when its file has its name. So whoever is killed loses no line but the one under way, and
several jobs may write the same manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from dicombridge.errors import CancelledError, DicomBridgeError
from dicombridge.web.addresses import check_uid
from dicombridge.web.retrieving.folder import Folder

__all__ = ["MANIFEST", "Entry", "Manifest", "digest_of"]

MANIFEST = "manifest.jsonl"
_PIECE = 1 << 18


@dataclass(frozen=True)
class Entry:
    """One instance that is there, whole.

    Attributes
    ----------
    study, series, instance, sop_class
        UIDs, as they stand in the file.
    transfer_syntax, asked
        That of the file, and the one that was asked for (``*``: as stored).
    bytes, sha256
        Of the file.
    changed
        When the file was last changed, in nanoseconds: a file that is as it was is not hashed again.
    """

    study: str
    series: str
    instance: str
    sop_class: str
    transfer_syntax: str
    asked: str
    bytes: int
    sha256: str
    changed: int

    @property
    def file(self) -> str:
        """Path of the file in the folder."""
        return f"{self.series}/{self.instance}.dcm"


class Manifest:
    """The manifest of a folder.

    Parameters
    ----------
    folder
        The folder.
    """

    def __init__(self, folder: Folder) -> None:
        self.path = folder.path / MANIFEST
        self._descriptor = folder.open_file(MANIFEST, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._lock = threading.Lock()
        size = os.fstat(self._descriptor).st_size
        os.lseek(self._descriptor, max(size - 1, 0), os.SEEK_SET)
        if size and os.read(self._descriptor, 1) != b"\n":
            self._write(b"\n")  # somebody was killed within a line

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:  # a thread that is not awaited may still want to write, and the number is somebody else's soon
            os.close(self._descriptor)
            self._descriptor = -1

    def entries(self, study: str, series: str | None) -> dict[str, Entry]:
        """Return the entries of a study or series, the last of each instance; what is no entry is skipped."""
        found: dict[str, Entry] = {}
        with self.path.open("rb") as lines:
            for line in lines:
                if study.encode() not in line:
                    continue
                entry = _entry(line)
                if entry and entry.study == study and series in (None, entry.series):
                    found[entry.instance] = entry
        return found

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        # Not dataclasses.asdict, which looks into every value: this is done for each of thousands of instances.
        self._write(json.dumps({"file": entry.file, **vars(entry)}, separators=(",", ":")).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with self._lock:
            if self._descriptor < 0:
                raise CancelledError
            written = os.write(self._descriptor, line)
            if written != len(line):  # a full disk: half a line is no line, and the next one must not continue it
                os.write(self._descriptor, b"\n")


def _entry(line: bytes) -> Entry | None:
    try:
        values: dict[str, Any] = json.loads(line)
        entry = Entry(**{field.name: values[field.name] for field in fields(Entry)})
        check_uid(entry.series)
        check_uid(entry.instance)
    except (ValueError, KeyError, TypeError, DicomBridgeError):
        return None  # a line cut short, or of something else: the file is verified again then
    return entry


def digest_of(descriptor: int, check: Callable[[], object]) -> str:
    """Return the SHA-256 of an open file; ``check`` is called now and then, and may raise to end this."""
    digest = hashlib.sha256()
    buffer = bytearray(_PIECE)
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
        while count := file.readinto(buffer):
            check()
            digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()
