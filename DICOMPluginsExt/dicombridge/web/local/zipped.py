"""A zip file as a folder: its DICOM files are unpacked into a temporary folder that goes when the process ends.

What a process that was killed leaves, the next one removes: in each folder is a file that its owner keeps locked.
"""

from __future__ import annotations

import atexit
import lzma
import os
import shutil
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicombridge.database import FolderDatabase
from dicombridge.errors import UnreadableError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.locking import try_lock

__all__ = ["is_zip", "unpacked"]

_START = 132
_CHUNK = 1 << 20
_SPARE = 256 << 20
"""Bytes that are left free on the disk."""
_WITHOUT_PREAMBLE = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")

_PREFIX = "dicombridge-zip-"
_OWNER, _FILES = "owner", "files"
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError, RuntimeError)

_lock = threading.Lock()
_open: dict[tuple[str, int, int], FolderDatabase] = {}
_owned: dict[Path, int] = {}
"""Temporary folder -> descriptor of its locked file."""


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
    CancelledError
        Somebody asked to stop, also while another job unpacks.
    """
    stop = cancel or Cancel()
    status = path.stat()
    key = (str(path.absolute()), status.st_size, status.st_mtime_ns)
    with _alone(stop):
        if key not in _open:
            if not _owned:
                atexit.register(_close_all)
            _open[key] = _unpack(path, stop)
        return _open[key]


@contextmanager
def _alone(cancel: Cancel) -> Iterator[None]:
    while not _lock.acquire(timeout=0.1):
        cancel.check()
    try:
        yield
    finally:
        _lock.release()


def _unpack(path: Path, cancel: Cancel) -> FolderDatabase:
    _remove_left()
    place = Path(tempfile.mkdtemp(prefix=_PREFIX))
    folder = place / _FILES
    try:
        _owned[place] = os.open(place / _OWNER, os.O_RDWR | os.O_CREAT, 0o600)
        try_lock(_owned[place])
        folder.mkdir()
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if any(one.flag_bits & 1 for one in members):
                raise UnreadableError(path, "is encrypted; unpack it, and give the folder")
            size = sum(one.file_size for one in members)
            if size + _SPARE > shutil.disk_usage(folder).free:
                raise UnreadableError(path, f"unpacks to {size >> 20} MB, for which {place.parent} has no space")
            for number, one in enumerate(members):
                cancel.check()
                # Names within a zip file may lead anywhere, so they are not used.
                _extract(archive, one, folder / f"{number:07d}.dcm", cancel)
        return _indexed(folder, cancel)
    except BaseException as error:
        _remove(place)
        if isinstance(error, _DAMAGE):
            words = "cannot be unpacked" if getattr(error, "errno", None) else "is a damaged zip file"
            raise UnreadableError(path, f"{words} ({error})") from error
        raise


def _indexed(folder: Path, cancel: Cancel) -> FolderDatabase:
    database = FolderDatabase(folder, ":memory:")
    try:
        if database.refresh(cancelled=lambda: cancel.cancelled).cancelled:
            cancel.check()
    except BaseException:
        database.close()
        raise
    return database


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


def _remove(place: Path) -> None:
    file = _owned.pop(place, None)
    if file is not None:
        os.close(file)
    shutil.rmtree(place, ignore_errors=True)


def _remove_left() -> None:
    """Remove folders whose process is gone; those of other users, and such as are being made, cannot be opened."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            file = os.open(place / _OWNER, os.O_RDWR)
        except OSError:
            continue
        try:
            is_left = not place.is_symlink() and try_lock(file)
        finally:
            os.close(file)
        if is_left:
            shutil.rmtree(place, ignore_errors=True)


def _close_all() -> None:
    with _lock:
        for database in _open.values():
            database.close()
        for place in list(_owned):
            _remove(place)
        _open.clear()
