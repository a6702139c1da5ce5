"""Retrieving from a folder or zip file: verified copies, in the same way and with the same report."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dicombridge.errors import UnreadableError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.retrieving.ledger import Ledger
from dicombridge.web.retrieving.receiving import BUFFER, Received
from dicombridge.web.retrieving.report import RetrieveReport, TransferProgress
from dicombridge.web.servers import Server

if TYPE_CHECKING:
    from dicombridge.web.local import Archive

__all__ = ["copy"]


def copy(
    server: Server,
    ledger: Ledger,
    progress: Callable[[TransferProgress], object] | None,
    arrived: Callable[[list[Path]], object] | None,
    cancel: Cancel,
    told: float = 0.1,
) -> RetrieveReport:
    """Copy what a ledger wants from a folder or zip file.

    Parameters
    ----------
    server
        The folder or zip file.
    ledger
        What is wanted and there.
    progress, arrived, cancel
        As of :func:`dicombridge.web.retrieving.retrieve`.
    told
        Seconds between two reports of progress.

    Raises
    ------
    CancelledError
        Somebody asked to stop.
    UnreadableError
        There is no such study or series.
    """
    from dicombridge.web import local

    begun = last = time.monotonic()
    with local.open(server, cancel) as archive:
        sources = _sources(archive, ledger)
        ledger.adopt(dict.fromkeys(sources, ledger.series or ""))
        total = sum(path.stat().st_size for path in sources.values())
        ledger.folder.look_for_room(total - ledger.bytes)
        for uid, path in sources.items():
            cancel.check()
            if uid not in ledger.done:
                _copy(path, uid, ledger, cancel)
            now = time.monotonic()
            if now - last >= told:
                last = now
                _tell(ledger, progress, arrived, total, len(sources), now - begun)
    _tell(ledger, progress, arrived, total, len(sources), time.monotonic() - begun)
    missing = sorted(ledger.only - sources.keys()) if ledger.only is not None else []
    files = tuple(ledger.folder.path / entry.file for entry in ledger.done.values())
    return RetrieveReport(
        tuple(ledger.done),
        tuple(missing),
        dict(ledger.failed),
        files,
        ledger.bytes,
        ledger.fetched,
        True,
        ledger.manifest.path,
    )


def _sources(archive: Archive, ledger: Ledger) -> dict[str, Path]:
    """Return the files of the instances that are wanted; of two files of one instance, the first."""
    sources: dict[str, Path] = {}
    for path in archive.files(ledger.study, ledger.series):
        uid = str(archive.database.instanceForFile(str(path)))
        if ledger.only is None or uid in ledger.only:
            sources.setdefault(uid, path)
    if not sources:
        raise UnreadableError(archive.path, "has no such study, series or instance")
    return sources


def _copy(path: Path, uid: str, ledger: Ledger, cancel: Cancel) -> None:
    part = ledger.folder.part()
    digest = hashlib.sha256()
    buffer = bytearray(BUFFER)
    view = memoryview(buffer)
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                cancel.check()
                part.write(view[:count])
                digest.update(view[:count])
    except OSError as error:
        part.discard()
        ledger.gave_up(uid, f"it cannot be read: {error.strerror}")
        return
    except BaseException:
        part.discard()
        raise
    ledger.take(Received(part, digest.hexdigest(), "", True), uid)


def _tell(
    ledger: Ledger,
    progress: Callable[[TransferProgress], object] | None,
    arrived: Callable[[list[Path]], object] | None,
    total: int,
    count: int,
    seconds: float,
) -> None:
    files = ledger.take_arrived()
    if arrived is not None and files:
        arrived(files)
    if progress is not None:
        rate = ledger.bytes / seconds if seconds > 0 else 0.0
        left = (total - ledger.bytes) / rate if rate else None
        progress(TransferProgress(ledger.bytes, total, len(ledger.done), count, rate, left))
