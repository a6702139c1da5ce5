"""Where retrieved instances are written: ``SERIES/INSTANCE.dcm``, never half a file, never outside of the folder.

What comes in is a file ``*.part`` in the folder itself, which is renamed when it is whole. Names are UIDs that were
looked at (:func:`dicombridge.web.addresses.check_uid`), folders are opened without following links, and what is opened
then is used by its descriptor, so that nothing can be put in its place meanwhile.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
import time
from collections import deque
from contextlib import suppress
from itertools import count
from pathlib import Path

from dicombridge.errors import DicomBridgeError
from dicombridge.web.addresses import check_uid

__all__ = ["Folder", "PartFile"]

_BY_DESCRIPTOR = {os.open, os.mkdir, os.rename, os.unlink, os.stat} <= os.supports_dir_fd
"""Whether files can be named relative to an open folder; Windows cannot, and has no links that everybody may make."""
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_LOOKED_AFTER = 64 << 20
_SPARES = 2
_SECONDS_OF_OLD_PARTS = 24 * 3600.0
_in_use: set[str] = set()
"""Beginnings of names of the parts that this process writes."""
_numbers = count(1)


class Folder:
    """A folder that instances come into.

    Parameters
    ----------
    directory
        It is made where it does not exist. It may be a link itself: that is the user's choice.
    reserve
        Bytes that must stay free on its disk.

    Raises
    ------
    DicomBridgeError
        It cannot be made or opened.
    """

    def __init__(self, directory: Path, reserve: int = 0) -> None:
        self.path = directory.absolute()
        self._reserve = reserve
        self._lock = threading.RLock()  # also held while a folder's descriptor is used: another thread may close it
        self._since_look = 0
        self._series: dict[str, int] = {}
        self._token = f"{os.getpid()}-{next(_numbers)}"
        self._parts = count(1)
        self._spare: deque[PartFile] = deque()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, _FOLDER) if _BY_DESCRIPTOR else -1
        except OSError as error:
            raise DicomBridgeError(f"{directory}: this folder cannot be used: {error.strerror}.") from error
        _in_use.add(self._token)
        self.look_for_room(0)
        self._remove_old_parts()

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_error: object) -> None:
        while self._spare:
            self._spare.pop().discard()
        _in_use.discard(self._token)
        with self._lock:
            for descriptor in self._series.values():
                os.close(descriptor)
            self._series.clear()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def part(self) -> PartFile:
        """Return a new file to write into."""
        try:
            return self._spare.popleft()
        except IndexError:
            return PartFile(self, f"{self._token}-{next(self._parts)}.part")

    def prepare_part(self) -> None:
        """Make a next file ready: making one may wait for the disk, which who reads from a socket should not do."""
        if len(self._spare) < _SPARES:
            self._spare.append(PartFile(self, f"{self._token}-{next(self._parts)}.part"))

    def open_file(self, name: str, flags: int) -> int:
        """Open a file of the folder itself, without following a link."""
        if _BY_DESCRIPTOR:
            return os.open(name, flags | _NO_LINK, 0o666, dir_fd=self._descriptor)
        path = self.path / name
        if path.is_symlink():
            raise OSError(errno.ELOOP, "this is a link", str(path))
        return os.open(path, flags | _NO_LINK, 0o666)

    def remove(self, name: str) -> None:
        """Remove a file of the folder itself."""
        with suppress(FileNotFoundError):
            if _BY_DESCRIPTOR:
                os.unlink(name, dir_fd=self._descriptor)
            else:
                (self.path / name).unlink()

    def keep(self, part: str, series: str, instance: str) -> Path:
        """Give a finished part its name; a file or link that has the name is replaced, not written into."""
        name = f"{check_uid(instance)}.dcm"
        path = self.path / check_uid(series) / name
        if _BY_DESCRIPTOR:
            with self._lock:
                os.rename(part, name, src_dir_fd=self._descriptor, dst_dir_fd=self._series_folder(series, make=True))
        else:
            self._series_folder(series, make=True)
            (self.path / part).replace(path)
        return path

    def find(self, series: str, instance: str) -> int | None:
        """Open the file of an instance to read it; None where there is none, or something else than a file."""
        name = f"{check_uid(instance)}.dcm"
        flags = os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0)
        try:
            if _BY_DESCRIPTOR:
                with self._lock:
                    descriptor = os.open(name, flags, dir_fd=self._series_folder(series, make=False))
            else:
                self._series_folder(series, make=False)
                path = self.path / series / name
                if path.is_symlink():
                    return None
                descriptor = os.open(path, flags)
        except (OSError, DicomBridgeError):
            return None
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def took(self, count: int) -> None:
        """Note that so many bytes were written, and look now and then whether there is room for more."""
        self._since_look += count  # a race between threads only shifts the next look
        if self._since_look >= _LOOKED_AFTER:
            self._since_look = 0
            self.look_for_room(_LOOKED_AFTER)

    def look_for_room(self, needed: float) -> None:
        """Refuse what would fill the disk.

        Raises
        ------
        DicomBridgeError
            ``needed`` bytes more would not leave the reserve.
        """
        free = shutil.disk_usage(self.path).free
        if free - needed < self._reserve:
            raise DicomBridgeError(
                f"{self.path}: {free / 1e9:.1f} GB are free, {needed / 1e9:.1f} GB are needed and "
                f"{self._reserve / 1e9:.1f} GB should stay free. Make room, or choose another folder; "
                "what is there already is not fetched again."
            )

    def _series_folder(self, series: str, make: bool) -> int:
        """Return the descriptor of a series' folder; it is kept open."""
        name = check_uid(series)
        with self._lock:
            known = self._series.get(name)
            if known is not None:
                return known
            if not _BY_DESCRIPTOR:
                return self._checked_path(name, make)
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=self._descriptor)
            try:
                descriptor = os.open(name, _FOLDER | _NO_LINK, dir_fd=self._descriptor)
            except NotADirectoryError as error:
                raise DicomBridgeError(f"{self.path / name} is a link or a file, and should be a folder.") from error
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise DicomBridgeError(f"{self.path / name} is a link; links are not followed.") from error
                raise
            if len(self._series) >= 64:  # a study has some; descriptors are few
                os.close(self._series.pop(next(iter(self._series))))
            self._series[name] = descriptor
            return descriptor

    def _checked_path(self, name: str, make: bool) -> int:
        path = self.path / name
        if make:
            path.mkdir(exist_ok=True)
        if path.is_symlink() or path.resolve().parent != self.path.resolve():
            raise DicomBridgeError(f"{path} is a link; links are not followed.")
        return -1

    def _remove_old_parts(self) -> None:
        """Remove parts that nobody writes any more: of a process that was killed, or of a day ago."""
        for entry in os.scandir(self.path):
            if not entry.name.endswith(".part") or not entry.is_file(follow_symlinks=False):
                continue
            token = entry.name.removesuffix(".part").rpartition("-")[0]
            process = token.partition("-")[0]
            if token in _in_use or not process.isdecimal():
                continue
            with suppress(OSError):
                old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _SECONDS_OF_OLD_PARTS
                if old or not _is_running(int(process)):
                    self.remove(entry.name)


class PartFile:
    """A file that is being written."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self.descriptor = folder.open_file(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.size = 0

    def write(self, view: memoryview) -> None:
        """Append bytes."""
        left = len(view)
        while left:
            written = os.write(self.descriptor, view[-left:])
            left -= written
        self.size += len(view)
        self._folder.took(len(view))

    def keep(self, series: str, instance: str) -> tuple[Path, int]:
        """Close the file and give it its name; return its path and the time of its last change in nanoseconds."""
        changed = os.fstat(self.descriptor).st_mtime_ns
        self._close()
        return self._folder.keep(self._name, series, instance), changed

    def discard(self) -> None:
        """Close and remove the file."""
        self._close()
        self._folder.remove(self._name)

    def _close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _is_running(process: int) -> bool:
    """Whether there is such a process, as far as that can be asked; on Windows the question would end it."""
    if os.name == "nt":
        return True
    if process == os.getpid():
        return False  # this one knows which parts it writes
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
