"""A whole store: batches over a few connections, what became of each instance, and the check afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from dicombridge.errors import CancelledError, DicomBridgeError, UnsupportedError, WebError
from dicombridge.web.addresses import check_uid
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import Connection
from dicombridge.web.retrieving.report import TransferProgress
from dicombridge.web.saved import as_server
from dicombridge.web.servers import Server
from dicombridge.web.storing.checking import check_stored, is_there, listed
from dicombridge.web.storing.deidentifying import Deidentification, chosen
from dicombridge.web.storing.items import Item, OwnFolder, Sources, Told
from dicombridge.web.storing.report import Outcome, StoreReport, StoringCancelledError
from dicombridge.web.storing.sending import Sender

__all__ = ["store"]

CONNECTIONS = 4
"""Requests at a time, where the server takes so many."""
MOST_BYTES = 128 << 20
"""Bytes of a request, beyond which it gets no further instance: what a failure costs should be bounded."""
_TICK = 0.1  # seconds between progress reports
_SPEED_OVER = 3.0  # seconds

Progress = Callable[[TransferProgress], object]
_Running = dict["Future[tuple[list[Outcome], WebError | CancelledError | None]]", list[Item]]


def store(
    server: Server | str | Path,
    what: Any,
    *,
    progress: Progress | None = None,
    stored: Callable[[Outcome], object] | None = None,
    cancel: Cancel | None = None,
    check: bool | str = False,
    connections: int | None = None,
    batch: int | None = None,
    deidentify: Deidentification | Mapping[str, Any] | bool | None = None,
    connection: Connection | None = None,
    study: str = "",
    ask_first: bool = False,
    export_options: Mapping[str, Any] | None = None,
) -> StoreReport:
    """Store objects on a server, or in a folder. PS3.18 10.5.

    Files are read while they are sent, so memory does not grow with them. What fails does not keep the rest from being
    stored; a request that the server refuses as a whole is divided until it is clear which instance it was.

    Parameters
    ----------
    server
        A server, what :func:`dicombridge.web.server` takes (a saved name, an address), or a folder as a path, which may
        be a new one.
    what
        A path, a folder (with all below it), a pydicom dataset, an MRML node, or several of these. Nodes in a list of
        their own are exported together.
    progress
        Called with a :class:`TransferProgress` some ten times a second, in the caller's thread.
    stored
        Called with an :class:`Outcome` when it is known what became of an instance or file, in the caller's thread.
    cancel
        Who may stop or pause this.
    check
        True: the server is asked afterwards whether it has what it stored. ``"one"``: one instance is also retrieved
        and compared with what was sent; ``"all"``: each.
    connections
        Requests at a time; by default a few.
    batch
        Instances in a request; by default, and at most, what the server's profile says.
    deidentify
        True, or a :class:`Deidentification` with its options (or these as a mapping): objects are de-identified by the
        Basic Profile of PS3.15 E before they are sent. Needs the extra ``dicom-anonymizer``.
    connection
        An open connection with the server, whose ``cancel`` then counts; otherwise one is opened and closed.
    study
        Study Instance UID to which everything must belong; what does not is not sent.
    ask_first
        The server is asked before what it has, and this is not sent again.
    export_options
        For nodes: ``kind``, ``database`` and options of :func:`dicombridge.export`.

    Returns
    -------
    StoreReport
        What became of each instance; its ``again()`` sends what failed once more.

    Raises
    ------
    StoringCancelledError
        It was cancelled; the error has the report of what was done.
    UnreachableError, AuthenticationError, RefusedError
        Not a single instance could be sent.
    UnsupportedError
        The server is a zip file, or stores nothing, or the software for de-identification is not there.
    """
    given = as_server(server) if connection is None else connection.server
    if check not in (False, True, "one", "all"):
        raise DicomBridgeError(f"check is {check!r}; it can be False, True, 'one' or 'all'.")
    options = {
        "progress": progress,
        "stored": stored,
        "check": check,
        "connections": connections,
        "batch": batch,
        "study": check_uid(study, "Study Instance UID") if study else "",
        "ask_first": ask_first,
    }
    supply = _Supply(what, chosen(deidentify), dict(export_options or {}))
    job = _Job(given, cancel or (connection.cancel if connection else Cancel()), connection, options, supply)
    return job.run(StoreReport())


class _Supply:
    """What is to be stored, and how far it has been read; outlives a job that was cancelled."""

    def __init__(self, what: Any, deidentify: Deidentification | None, export_options: dict[str, Any]) -> None:
        self._given = (what, export_options)
        self._deidentify = deidentify
        self._rest: Iterator[Item] | None = None
        self.folder = OwnFolder()
        self.sources: Sources | None = None
        self.listener: Told | None = None

    def items(self, check: Callable[[], object]) -> Iterator[Item]:
        """Return the items that nobody has taken yet; files are listed at the first call."""
        if self._rest is None:
            what, export_options = self._given
            self.sources = Sources(what, self.folder, self._tell, export_options, check)
            items = iter(self.sources)
            self._rest = items if self._deidentify is None else self._deidentify.items(items, self.folder, self._tell)
        return self._rest

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left; true only after a look."""
        for item in self._rest or ():
            self._rest = chain([item], self._rest or ())
            return False
        return self._rest is not None

    def _tell(self, path: str, state: str, reason: str) -> None:
        if self.listener is not None:
            self.listener(path, state, reason)


class _Job:
    """One store."""

    def __init__(
        self,
        server: Server,
        cancel: Cancel,
        connection: Connection | None,
        options: dict[str, Any],
        supply: _Supply,
        first: Sequence[Item] = (),
    ) -> None:
        self._server, self._cancel, self._connection, self._options = server, cancel, connection, options
        self._supply, self._first = supply, first
        self._report = StoreReport()
        self._meter = _Meter(options["progress"])
        self._left: dict[str, Item] = {}
        self._done: list[Item] = []
        self._items: dict[str, Item] = {}
        self._stop: WebError | None = None
        self._have: dict[tuple[str, str], set[str]] = {}

    def run(self, report: StoreReport) -> StoreReport:
        """Store all, and return the report, which is added to."""
        self._report = report
        self._meter.instances, self._meter.bytes = report.total, report.bytes
        self._items = {item.uid: item for item in self._first}
        self._supply.listener = self._tell
        start = time.monotonic()
        try:
            self._run()
        except CancelledError:
            raise StoringCancelledError(report) from None
        finally:
            self._finish(start)
        if self._stop is not None and not report.stored and not report.duplicates:
            raise self._stop
        return report

    def _run(self) -> None:
        self._cancel.check()
        items = chain(self._first, self._supply.items(self._cancel.check))
        if self._server.is_local:
            from dicombridge.web.storing.folders import store_in_folder

            for outcome in store_in_folder(self._server, self._wanted(items), self._cancel, self._meter.sent):
                if outcome.state == "stored":
                    self._report.checked.append(outcome.uid)
                self._add(outcome)
                self._meter.tell(self._supply.sources)
            self._meter.tell(self._supply.sources, last=True)
            return
        if not self._server.profile.store:
            raise UnsupportedError(f"{self._server} does not store.")
        with self._connected() as connection:
            self._send_all(connection, items)
            if self._options["check"]:
                check_stored(connection, self._done, self._options["check"], self._checked)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        if self._connection is not None:
            yield self._connection
        else:
            with Connection(self._server, cancel=self._cancel) as connection:
                yield connection

    # --- Sending ---------------------------------------------------------------------------------------------------

    def _send_all(self, connection: Connection, items: Iterable[Item]) -> None:
        """Send batches in a few threads; everything else happens in this one."""
        sender = Sender(connection, self._options["study"], self._meter.sent, lambda item: is_there(connection, item))
        number = self._options["connections"] or min(CONNECTIONS, connection.server.profile.connections)
        items = self._wanted(items)
        if self._options["ask_first"]:
            items = self._not_there(connection, items)
        running: _Running = {}
        with ThreadPoolExecutor(max(1, number), "store") as pool:
            try:
                for batch in self._batches(items):
                    if self._stop is not None:
                        self._give_up(batch)
                        continue
                    running[pool.submit(sender.send, batch)] = batch
                    while len(running) >= max(1, number):
                        self._collect(running)
                while running:
                    self._collect(running)
            except BaseException:
                self._cancel.cancel()  # also where a caller's function raised: requests must not go on for minutes
                for future in running:
                    future.cancel()
                wait(running)
                self._collect_finished(running)
                raise
        self._meter.tell(self._supply.sources, last=True)

    def _collect(self, running: _Running) -> None:
        """Wait until a batch is done, or a moment, and tell how far it is."""
        done, _ = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
        for future in done:
            batch = running.pop(future)
            outcomes, error = future.result()
            for outcome in outcomes:
                self._add(outcome)
            if isinstance(error, CancelledError):
                raise error
            if error is not None:
                self._stop = error
                self._give_up([item for item in batch if item.uid in self._items])
        self._meter.tell(self._supply.sources)

    def _collect_finished(self, running: _Running) -> None:
        """Add what batches that were under way when everything ended had come to."""
        for future in running:
            if not future.cancelled() and future.exception() is None:
                for outcome in future.result()[0]:
                    self._add(outcome)

    def _give_up(self, items: Sequence[Item]) -> None:
        """Tell of what is not sent any more, because the server is gone or does not let us in."""
        for item in items:
            self._add(Outcome(item.uid, item.source, "failed", f"Not sent: {self._stop}"))

    def _wanted(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield what belongs to the study; items are known from here on."""
        study = self._options["study"]
        for item in items:
            self._items[item.uid] = item
            self._cancel.check()
            if study and item.study != study:
                words = f"It belongs to study {item.study or '(none)'}, and not to {study}."
                self._add(Outcome(item.uid, item.source, "failed", words))
            else:
                yield item

    def _batches(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        profile = self._server.profile
        number = max(1, min(self._options["batch"] or profile.store_instances, profile.store_instances))
        most = min(profile.store_bytes or MOST_BYTES, MOST_BYTES)
        batch: list[Item] = []
        size = 0
        for item in items:
            if profile.store_bytes is not None and item.bytes + 1024 > profile.store_bytes:
                words = f"It has {item.bytes} bytes; a request to this server may have {profile.store_bytes}."
                self._add(Outcome(item.uid, item.source, "failed", words))
                continue
            if batch and (len(batch) >= number or size + item.bytes + 256 > most):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += item.bytes + 256
        if batch:
            yield batch

    def _not_there(self, connection: Connection, items: Iterable[Item]) -> Iterator[Item]:
        """Leave out what the server has; each series is asked for once."""
        for item in items:
            place = (item.study, item.series)
            if place not in self._have:
                self._have[place] = listed(connection, *place) if all(place) else set()
            if item.uid in self._have[place]:
                self._add(Outcome(item.uid, item.source, "duplicate", "It is there already; it was not sent."))
            else:
                yield item

    # --- What became of it -----------------------------------------------------------------------------------------

    def _tell(self, path: str, state: str, reason: str) -> None:
        self._announce(Outcome("", path, state, reason))

    def _add(self, outcome: Outcome) -> None:
        item = self._items.pop(outcome.uid)
        self._left.pop(item.uid, None)
        if outcome.state not in ("stored", "duplicate"):
            self._left[item.uid] = item
        elif outcome.state == "stored" and self._options["check"]:
            self._done.append(item)
        else:
            item.dispose()
        self._meter.instances += 1
        self._announce(outcome)

    def _announce(self, outcome: Outcome) -> None:
        self._report.add(outcome)
        if self._options["stored"] is not None:
            self._options["stored"](outcome)

    def _checked(self, item: Item, there: bool, different: str) -> None:
        if there:
            self._report.checked.append(item.uid)
            if different:
                self._report.warn(item.uid, different)
            item.dispose()
            return
        words = "The server said that it stored it, and does not show it."
        self._report.stored.remove(item.uid)
        self._left[item.uid] = item
        self._announce(Outcome(item.uid, item.source, "unconfirmed", words))

    def _finish(self, start: float) -> None:
        """Complete the report, with what :meth:`StoreReport.again` needs."""
        for item in self._items.values():
            self._left[item.uid] = item
            self._report.add(Outcome(item.uid, item.source, "failed", "Not sent."))
        self._report.seconds += time.monotonic() - start
        self._report.bytes = self._meter.bytes
        self._report.keep(self._left.values(), self._again)
        self._report = StoreReport()  # the caller's should not be kept by what it keeps
        if not self._left and not self._cancel.cancelled and self._supply.is_empty:
            self._supply.folder.remove()

    def _again(self, before: StoreReport, items: Sequence[Item], **changes: Any) -> StoreReport:
        known = {"cancel", "connection", *self._options}
        if unknown := set(changes) - known:
            raise DicomBridgeError(f"again() takes {', '.join(sorted(known))}, and not {', '.join(sorted(unknown))}.")
        connection = changes.pop("connection", None)
        cancel = changes.pop("cancel", None) or (connection.cancel if connection else Cancel())
        job = _Job(self._server, cancel, connection, {**self._options, **changes}, self._supply, items)
        return job.run(before.without_failures())


class _Meter:
    """Counts what is sent, in any thread, and tells of it, in one."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._told = 0.0
        self._points: list[tuple[float, int]] = [(time.monotonic(), 0)]
        self.bytes = 0
        self.instances = 0

    def sent(self, count: int) -> None:
        """Count bytes; a negative number takes back."""
        with self._lock:
            self.bytes += count

    def tell(self, sources: Sources | None, last: bool = False) -> None:
        """Tell the progress, if it is time to."""
        now = time.monotonic()
        if self._progress is None or sources is None or (now - self._told < _TICK and not last):
            return
        self._told = now
        self._points = [point for point in self._points if now - point[0] < _SPEED_OVER] or self._points[-1:]
        then, before = self._points[0]
        self._points.append((now, self.bytes))
        speed = max(0.0, (self.bytes - before) / (now - then)) if now > then else 0.0
        left = max(0, sources.bytes - self.bytes)
        seconds = left / speed if speed else None
        self._progress(
            TransferProgress(self.bytes, max(sources.bytes, self.bytes), self.instances, sources.files, speed, seconds)
        )
