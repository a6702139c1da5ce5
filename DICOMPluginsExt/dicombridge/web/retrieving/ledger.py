"""Which instances are wanted, under way, there or lost, for all threads of one retrieval."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dicombridge.errors import DamagedAnswerError, DicomBridgeError
from dicombridge.web.addresses import check_uid
from dicombridge.web.retrieving.folder import Folder
from dicombridge.web.retrieving.manifest import Entry, Manifest, digest_of
from dicombridge.web.retrieving.receiving import Received
from dicombridge.web.retrieving.whole import Contents, check_whole

__all__ = ["Ledger"]


class Ledger:
    """The instances of one retrieval.

    Parameters
    ----------
    folder, manifest
        Where they go.
    study, series
        UIDs of what is retrieved; ``series`` is None for a whole study.
    asked
        Transfer syntax that was asked for.
    """

    def __init__(self, folder: Folder, manifest: Manifest, study: str, series: str | None, asked: str) -> None:
        self.folder, self.manifest = folder, manifest
        self.study, self.series, self.asked = study, series, asked
        self._lock = threading.Lock()
        self.wanted: dict[str, str] | None = None
        """UIDs of the instances that should be there, with those of their series; None while nobody knows."""
        self.only: frozenset[str] | None = None
        """Where single instances were asked for: no others are taken."""
        self.done: dict[str, Entry] = {}
        self.waiting: dict[str, str] = {}
        self.active: set[str] = set()
        self.missing: dict[str, None] = {}
        self.failed: dict[str, str] = {}
        self._arrived: list[Path] = []
        self.fetched = 0
        self.bytes = 0
        self.came = 0
        self.otherwise = 0
        """Instances that came in another transfer syntax than that which was asked for."""
        self.repeated = (0, 0)
        """How many instances in a row the stream brought that others fetch too, and their bytes."""
        self.check: Callable[[], object] = lambda: None
        """Called while files that are there are looked at; it may raise to end this."""
        self._entries: dict[str, Entry] | None = None
        self._unproven: dict[str, str] = {}
        self._singly: set[str] = set()
        self._keeping: set[str] = set()

    # --- What there was ---------------------------------------------------------------------------------------------

    def adopt(self, uids: Mapping[str, str] | None = None) -> None:
        """Take over what earlier retrievals left: files of the manifest, and files of ``uids`` without a line in it."""
        if self._entries is None:
            self._entries = self.manifest.entries(self.study, self.series)
        entries = self._entries
        found = {uid: entry.series for uid, entry in entries.items()} if uids is None else dict(uids)
        for uid, series in found.items():
            self.check()
            if self.only is not None and uid not in self.only:
                continue
            with self._lock:
                if uid in self.done or uid in self._keeping:  # the stream brings it at this moment
                    continue
                self._keeping.add(uid)
            entry = entries.get(uid)
            descriptor = self.folder.find(entry.series if entry else series, uid)
            if descriptor is not None:
                try:
                    self._adopt(descriptor, uid, entry)
                finally:
                    os.close(descriptor)
            with self._lock:
                self._keeping.discard(uid)

    def _adopt(self, descriptor: int, uid: str, entry: Entry | None) -> None:
        status = os.fstat(descriptor)
        if entry is not None and entry.asked != self.asked:
            if self.asked == "*":
                return  # the server may have changed it on the way; as stored it has to come again
            entry = None
        if entry is not None and (status.st_size, status.st_mtime_ns) == (entry.bytes, entry.changed):
            self._note(entry, new=False)
            return
        try:
            contents = self._checked(descriptor, status.st_size, uid)
        except DicomBridgeError:
            return  # it is fetched again, and replaced
        if entry is None and self.asked not in ("*", contents.transfer_syntax):
            return
        digest = digest_of(descriptor, self.check)
        if entry is not None and entry.sha256 != digest:
            return
        again = self._entry(contents, status.st_size, digest, status.st_mtime_ns)
        self.manifest.add(again)
        self._note(again, new=False)

    # --- What comes -------------------------------------------------------------------------------------------------

    def take(self, received: Received, uid: str | None = None) -> bool:
        """Keep a part that came to its end if it is whole and one that is wanted; otherwise discard it.

        Parameters
        ----------
        received
            The part.
        uid
            SOP Instance UID, where one instance was asked for.

        Returns
        -------
        bool
            Whether the instance is there now.
        """
        part = received.part
        try:
            if received.fault:
                raise DamagedAnswerError(received.fault)
            contents = self._checked(part.descriptor, part.size, uid)
        except DicomBridgeError as error:
            part.discard()
            self._fault(uid, str(error))
            return False
        except BaseException:
            part.discard()
            raise
        with self._lock:
            known = contents.instance in self.done or contents.instance in self._keeping
            if uid is None:
                number, size = self.repeated
                again = contents.instance in self._singly
                self.repeated = (number + 1, size + part.size) if again else (0, 0)
            # Where it is not certain where it ends, the same bytes must come twice.
            unsure = not received.proven and self._unproven.get(contents.instance) != received.sha256
            if unsure:
                self._unproven[contents.instance] = received.sha256
            elif not known:
                self._keeping.add(contents.instance)
        if known or unsure:
            part.discard()
            if unsure and not known:
                self._fault(contents.instance, "its end is not certain")
            return known
        size = part.size
        try:
            path, changed = part.keep(contents.series, contents.instance)
        except BaseException:
            part.discard()
            raise
        entry = self._entry(contents, size, received.sha256, changed)
        self.manifest.add(entry)
        self._note(entry, new=True, path=path)
        return True

    def _checked(self, descriptor: int, size: int, uid: str | None) -> Contents:
        """Return what a file is if it is whole and belongs here."""
        contents = check_whole(descriptor, size)
        check_uid(contents.instance, "SOP Instance UID")
        check_uid(contents.series, "Series Instance UID")
        if uid is not None and contents.instance != uid:
            raise DamagedAnswerError(f"the server sent another instance, {contents.instance}")
        if contents.study != self.study or self.series not in (None, contents.series):
            raise DamagedAnswerError("it belongs to another study or series")
        if self.only is not None and contents.instance not in self.only:
            raise DamagedAnswerError("nobody asked for it")
        return contents

    def _entry(self, contents: Contents, size: int, digest: str, changed: int) -> Entry:
        return Entry(
            contents.study,
            contents.series,
            contents.instance,
            contents.sop_class,
            contents.transfer_syntax,
            self.asked,
            size,
            digest,
            changed,
        )

    def _note(self, entry: Entry, new: bool, path: Path | None = None) -> None:
        with self._lock:
            if entry.instance in self.done:  # two threads had the same one; its file is there once
                return
            self.done[entry.instance] = entry
            self.bytes += entry.bytes
            self.fetched += new
            self.otherwise += self.asked not in ("*", entry.transfer_syntax)
            self._arrived.append(path or self.folder.path / entry.file)
            for others in (self.waiting, self.missing, self.failed):
                others.pop(entry.instance, None)

    def _fault(self, uid: str | None, reason: str) -> None:
        with self._lock:
            if uid is not None and uid not in self.done:
                self.failed[uid] = reason

    # --- What is asked for singly -----------------------------------------------------------------------------------

    def expect(self, uids: Mapping[str, str]) -> None:
        """Say of some instances that they should be there, with their series; what is not there waits to be fetched."""
        self.adopt(uids)
        with self._lock:
            for uid, series in uids.items():
                if uid not in self.done and uid not in self._singly:
                    self.waiting[uid] = series

    def want(self, uids: Mapping[str, str]) -> None:
        """Say of all instances that they should be there: these and no more."""
        self.expect(uids)
        self.wanted = dict(uids)

    def next(self, last: bool, left: int = 0) -> tuple[str, str] | None:
        """Take an instance to fetch, with its series, from the end of the list or from its beginning; leave some."""
        with self._lock:
            if len(self.waiting) <= left:
                return None
            uid = next(reversed(self.waiting) if last else iter(self.waiting))
            self.active.add(uid)
            self._singly.add(uid)
            return uid, self.waiting.pop(uid)

    def gave_up(self, uid: str, reason: str, missing: bool = False) -> None:
        """Say that an instance is not to be had."""
        with self._lock:
            if uid in self.done:
                return
            if missing:
                self.missing[uid] = None
                self.failed.pop(uid, None)
            else:
                self.failed[uid] = reason

    def leave(self, uid: str) -> None:
        """Say that nobody fetches an instance any more."""
        with self._lock:
            self.active.discard(uid)

    def give_up_waiting(self, reason: str) -> None:
        """Give all up that wait."""
        with self._lock:
            waiting, self.waiting = list(self.waiting), {}
        for uid in waiting:
            self.gave_up(uid, reason)

    def take_arrived(self) -> list[Path]:
        """Return the files that have come since this was last called."""
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return arrived

    def add_bytes(self, count: int) -> None:
        """Count what came over any connection."""
        with self._lock:
            self.came += count

    def is_last(self, uids: Iterable[str]) -> bool:
        """Whether instances that came are rather those at the end of the list."""
        places = {uid: number for number, uid in enumerate(self.wanted or ())}
        known = [places[uid] for uid in uids if uid in places]
        return bool(known) and sum(known) / len(known) > len(places) / 2
