"""The job list on disk: retrievals that are to be finished, also after the computer was switched off.

One file a job, replaced in one go, so that a crash leaves the old text or the new one. Each worker holds a lock file
while it lives, and its jobs name that file: whoever can lock it knows that the worker is gone, and the job interrupted.
No file here holds a secret, because the value of a server has none.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dicombridge.errors import DicomBridgeError
from dicombridge.web.locking import try_lock
from dicombridge.web.places import user_folder

__all__ = ["JobList", "default_state_folder"]

_NAME = re.compile(r"[0-9a-f]{32}")
_LARGEST = 64 << 20  # bytes of a job: a list of a million UIDs
_STALE = 3600.0  # seconds after which nobody is still writing a text of some kilobytes
_LOG = logging.getLogger(__name__)


def default_state_folder() -> Path:
    """Return the folder where this user's job list is kept."""
    return user_folder("state")


class JobList:
    """The jobs in a folder.

    Parameters
    ----------
    folder
        Made when the first job is written, readable for its owner alone: UIDs are about patients.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "jobs"
        self._lock: _Lock | None = None
        self._own: set[str] = set()
        self._changing = threading.RLock()

    def add(self, do: str, arguments: Mapping[str, Any], job: str | None = None) -> str:
        """Write a job that begins, or begins again.

        Parameters
        ----------
        do, arguments
            The request; its server is an object without secrets.
        job
            The entry that it goes on with; a new one where there is none.

        Returns
        -------
        str
            Name of the entry.

        Raises
        ------
        DicomBridgeError
            This job is at work already, here or in another window.
        OSError
            The list cannot be written.
        """
        name = job if job and _NAME.fullmatch(job) else uuid.uuid4().hex
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._changing, self._alone():  # two windows that open together find the same jobs interrupted
            if self._lock is None:
                self._tidy()
                self._lock = _Lock(self._folder / f"worker-{os.getpid()}-{uuid.uuid4().hex[:8]}.lock")
            old = self._read(self._file(name)) or {}
            at_work = old.get("state") == "running" and _is_alive(self._folder / old["owner"], self._lock.path)
            if at_work and (name in self._own or old["owner"] != self._lock.path.name):
                raise DicomBridgeError("This job is at work already, here or in another window.")
            self._own.add(name)
            self._write(
                {
                    "job": name,
                    "do": do,
                    "arguments": {**arguments, "job": name},
                    "state": "running",
                    "error": None,
                    "owner": self._lock.path.name,
                    "begun": old.get("begun") or time.time(),
                }
            )
        return name

    def leave(self, job: str, state: str, error: Mapping[str, Any] | None = None) -> None:
        """Note why a job that began here stopped."""
        with self._changing:
            try:
                if entry := self._read(self._file(job)):
                    self._write({**entry, "state": state, "error": dict(error) if error else None, "owner": ""})
            finally:
                self._own.discard(job)

    def remove(self, job: str) -> None:
        """Take a job from the list; one that is not there is no error."""
        with self._changing:
            if _NAME.fullmatch(job):
                self._file(job).unlink(missing_ok=True)
            self._own.discard(job)

    def unfinished(self) -> list[dict[str, Any]]:
        """Return what is to be finished, oldest first: ``{"job", "do", "arguments", "state", "error"}``."""
        entries = [entry for file in self._folder.glob("*.json") if (entry := self._read(file))]
        alive: dict[str, bool] = {}
        found = []
        for entry in sorted(entries, key=lambda entry: (entry["begun"], entry["job"])):
            owner = entry["owner"]
            if entry["state"] == "running" and entry["job"] not in self._own:
                if owner not in alive:
                    alive[owner] = _is_alive(self._folder / owner)
                if alive[owner]:
                    continue
                entry["state"] = "interrupted"
            found.append({name: entry[name] for name in ("job", "do", "arguments", "state", "error")})
        return found

    def close(self) -> None:
        """Give the lock back: jobs that are still running here are interrupted from now on."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other workers from taking a job in this moment; a second at most, for a list is not worth more."""
        file = os.open(self._folder / "list.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            for _ in range(100):
                if try_lock(file):
                    break
                time.sleep(0.01)
            yield
        finally:
            os.close(file)

    def _tidy(self) -> None:
        """Remove what workers that were killed left: their locks, and texts that did not become entries."""
        for file in self._folder.glob("worker-*.lock"):
            _is_alive(file)
        for file in self._folder.glob("*.part"):
            with suppress(OSError):
                if time.time() - file.stat().st_mtime > _STALE:
                    file.unlink()

    def _file(self, job: str) -> Path:
        return self._folder / f"{job}.json"

    def _read(self, file: Path) -> dict[str, Any] | None:
        """Return an entry; None for what is none, because a damaged file must not hide the others."""
        try:
            if file.stat().st_size > _LARGEST or not _NAME.fullmatch(file.stem):
                return None
            entry = json.loads(file.read_bytes())
            good = (
                isinstance(entry, dict)
                and entry["job"] == file.stem
                and isinstance(entry["arguments"], dict)
                and isinstance(entry["begun"], int | float)
                and all(isinstance(entry[name], str) for name in ("do", "state", "owner"))
                and Path(entry["owner"]).name == entry["owner"]
                and "error" in entry
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, RecursionError) as error:
            _LOG.warning("%s is no job (%s).", file.name, type(error).__name__)
            return None
        return entry if good else None

    def _write(self, entry: Mapping[str, Any]) -> None:
        target = self._file(entry["job"])
        temporary = target.with_suffix(f".{uuid.uuid4().hex[:8]}.part")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(json.dumps(entry).encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


class _Lock:
    """A locked file; the system gives it back when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not try_lock(self._file):
            os.close(self._file)
            raise OSError(f"{path} is locked")

    def close(self) -> None:
        os.close(self._file)
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _is_alive(path: Path, own: Path | None = None) -> bool:
    """Return whether a worker holds this lock; the file that a dead one left is removed."""
    if path == own:
        return True
    if not path.name or not path.is_file():
        return False
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return path.exists()
    try:
        alive = not try_lock(file, shared=True)  # shared, so that two who look do not see each other
    finally:
        os.close(file)
    if not alive:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return alive
