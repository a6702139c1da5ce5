"""A zip file as a folder: its DICOM files are unpacked into a temporary folder that goes when the process ends."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
import zipfile
import zlib
from pathlib import Path

from dicombridge.database import FolderDatabase
from dicombridge.errors import UnreadableError
from dicombridge.web.cancelling import Cancel

__all__ = ["is_zip", "unpacked"]

_START = 132
_CHUNK = 1 << 20
_SPARE = 256 << 20
"""Bytes that are left free on the disk."""
_WITHOUT_PREAMBLE = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")

_lock = threading.Lock()
_open: dict[tuple[str, int, int], FolderDatabase] = {}


def is_zip(path: Path) -> bool:
    """Whether a file is a zip file, by what is in it."""
    try:
        return zipfile.is_zipfile(path)
    except OSError as error:
        raise UnreadableError(path, f"cannot be read ({error.strerror or error})") from error


def unpacked(path: Path, cancel: Cancel | None = None) -> FolderDatabase:
    """Return a database of a zip file's DICOM files, the same one as long as the file does not change.

    Raises
    ------
    UnreadableError
        The file is damaged, encrypted, or does not fit on the disk.
    """
    status = path.stat()
    key = (str(path.absolute()), status.st_size, status.st_mtime_ns)
    with _lock:
        if key not in _open:
            if not _open:
                atexit.register(_close_all)
            _open[key] = _unpack(path, cancel or Cancel())
        return _open[key]


def _unpack(path: Path, cancel: Cancel) -> FolderDatabase:
    folder = Path(tempfile.mkdtemp(prefix="dicombridge-zip-"))
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if any(one.flag_bits & 1 for one in members):
                raise UnreadableError(path, "is encrypted; unpack it, and give the folder")
            size = sum(one.file_size for one in members)
            if size + _SPARE > shutil.disk_usage(folder).free:
                raise UnreadableError(path, f"unpacks to {size >> 20} MB, for which {folder.parent} has no space")
            for number, one in enumerate(members):
                cancel.check()
                # Names within a zip file may lead anywhere, so they are not used.
                _extract(archive, one, folder / f"{number:07d}.dcm", cancel)
        database = FolderDatabase(folder, ":memory:")
        database.refresh()
        return database
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError)):
            raise UnreadableError(path, f"is a damaged zip file ({error})") from error
        raise


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, cancel: Cancel) -> None:
    with archive.open(member) as source:
        start = source.read(_START)
        if start[128:] != b"DICM" and not start.startswith(_WITHOUT_PREAMBLE):
            return
        with path.open("xb") as target:
            target.write(start)
            while piece := source.read(_CHUNK):
                cancel.check()
                target.write(piece)


def _close_all() -> None:
    with _lock:
        for database in _open.values():
            database.close()
            shutil.rmtree(database.directory, ignore_errors=True)
        _open.clear()
