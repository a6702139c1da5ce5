"""Which files a folder holds, at any depth, and telling a person how far looking through them has come."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dicombridge.errors import UnreadableError

__all__ = ["FoundFile", "Ticker", "look_at", "scan_folder"]

_SECONDS_BETWEEN_TICKS = 0.1

Skipped = list[tuple[str, str]]


class FoundFile(NamedTuple):
    """A regular file, and by what a change of it is noticed."""

    path: str
    size: int
    mtime_ns: int


def look_at(path: str, skipped: Skipped) -> FoundFile | None:
    """Return the regular file at ``path``; otherwise None, with the reason added to ``skipped``."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path for each of many thousand files is slow
    except OSError as error:
        skipped.append((path, f"cannot be read ({error.strerror or error})"))
        return None
    if not stat.S_ISREG(status.st_mode):
        skipped.append((path, "is not a regular file"))
        return None
    return FoundFile(path, status.st_size, status.st_mtime_ns)


def scan_folder(directory: str, leave_out: Iterable[str], skipped: Skipped) -> Iterator[FoundFile | None]:
    """Yield the files of a folder at any depth, and None for each other entry, so that the caller can show life.

    Links to folders are followed, each folder once, so that a loop of links ends; real folders come first, so that
    a link changes no file's path.

    Parameters
    ----------
    leave_out
        Paths that are passed over in silence.
    skipped
        ``(path, reason)`` of what cannot be read is added here.

    Raises
    ------
    UnreadableError
        The folder itself cannot be listed.
    """
    silent = {identity for path in leave_out if (identity := _identity(path))}
    try:
        with os.scandir(directory):
            pass
    except OSError as error:
        raise UnreadableError(directory, f"cannot be read ({error.strerror or error})") from error
    visited: set[tuple[int, int]] = set()
    folders, links = [directory], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        identity = _identity(folder)
        if identity in visited:
            continue
        if identity:
            visited.add(identity)
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            skipped.append((folder, f"is a folder that cannot be read ({error.strerror or error})"))
            continue
        for entry in listed:
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(entry.path)
                yield None
                continue
            found = look_at(entry.path, skipped)
            yield None if found and silent and _identity(entry.path) in silent else found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say
        return False


def _identity(path: str) -> tuple[int, int] | None:
    """Return what two names of one file or folder have in common."""
    try:
        status = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


class Ticker:
    """Passes progress on, at most some times a second, and asks whether to go on."""

    def __init__(self, progress: Callable[[float, str], object] | None, cancelled: Callable[[], bool] | None) -> None:
        self._progress = progress
        self._cancelled = cancelled
        self._last = 0.0

    def cancelled(self) -> bool:
        """Whether the caller wants an end."""
        return self._cancelled is not None and bool(self._cancelled())

    def looking(self, found: int) -> None:
        """Tell that files are being looked for; their number is not known yet."""
        if self._progress is not None and self._due():
            self._progress(0.0, f"Looking for files: {found} found")

    def reading(self, number: int, count: int) -> None:
        """Tell that ``number`` of ``count`` files are read."""
        if self._progress is not None and self._due():
            self._progress(number / count, f"Reading headers: {number} of {count} files")

    def done(self, indexed: int, count: int) -> None:
        """Tell the end."""
        if self._progress is not None:
            self._progress(1.0, f"{count} files in the folder, {indexed} of them read now")

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_TICKS:
            return False
        self._last = now
        return True
