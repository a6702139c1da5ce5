"""Files that came go into Slicer's DICOM database, where they are, in batches and behind the window's back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from DICOMwebBrowserLib import local_state
from DICOMwebBrowserLib.pacing import Delay
from DICOMwebBrowserLib.signals import Signal

__all__ = ["Indexing"]

_BATCH = 5000
"""Files; before each batch, the indexer reads the dates of all files of the database while the window waits."""

_PAUSE, _LONGEST_PAUSE = 400, 12_800
"""Milliseconds in which files are gathered; longer each time while they keep coming, because a batch has its price."""


class Indexing:
    """A queue of files in front of ``ctkDICOMIndexer``, which works in a thread of its own.

    Attributes
    ----------
    indexed
        Signal (number of files): a batch is in the database.
    """

    def __init__(self) -> None:
        self.indexed = Signal()
        self._indexer: Any = None
        self._files: list[str] = []
        self._then: list[tuple[int, Callable[[], None]]] = []
        self._queued = self._finished = 0
        self._running, self._pause = 0, _PAUSE
        self._delay = Delay(_PAUSE, self._next)

    def add(self, files: list[str]) -> None:
        """Index files, soon."""
        self._files.extend(files)
        self._queued += len(files)
        self._begin_soon()

    def when_done(self, then: Callable[[], None]) -> None:
        """Call a function when all files added so far are in the database."""
        self._then.append((self._queued, then))
        if not self._running:
            self._delay.start(0)

    def _next(self) -> None:
        if self._running:
            return
        database = local_state.database()
        batch, self._files = self._files[:_BATCH], self._files[_BATCH:]
        if not batch or database is None:
            self._finished += len(batch)
            self._tell()
            return
        self._running, self._pause = len(batch), min(2 * self._pause, _LONGEST_PAUSE)
        indexer = self._made()
        indexer.setDatabase(database)
        indexer.addListOfFiles(batch, False)  # not copied: the files stay where they came to

    def _made(self) -> Any:
        if self._indexer is None:
            import ctk

            self._indexer = ctk.ctkDICOMIndexer()
            self._indexer.backgroundImportEnabled = True
            self._indexer.indexingComplete.connect(self._complete)
        return self._indexer

    def _complete(self, *_counts: Any) -> None:
        count, self._running = self._running, 0
        self._finished += count
        self.indexed.emit(count)
        self._tell()
        if self._files:
            self._begin_soon()

    def _begin_soon(self) -> None:
        if self._running:
            return
        if len(self._files) >= _BATCH:
            self._delay.start(0)
        else:
            self._delay.soon(self._pause)

    def _tell(self) -> None:
        ready = [then for limit, then in self._then if limit <= self._finished]
        self._then = [(limit, then) for limit, then in self._then if limit > self._finished]
        if ready and not self._files:
            self._pause = _PAUSE  # all that was on its way has come
        for then in ready:
            then()
        if self._then and not self._running:
            self._delay.start(0)
