"""One retrieval: one stream, more connections where one is the limit, and then what is still missing."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from dicombridge.errors import (
    AuthenticationError,
    CancelledError,
    DamagedAnswerError,
    DicomBridgeError,
    RefusedError,
    UnreachableError,
    WebError,
)
from dicombridge.web.connection import Connection
from dicombridge.web.retrieving.fetching import GONE, Fetcher, Patience
from dicombridge.web.retrieving.ledger import Ledger
from dicombridge.web.retrieving.receiving import Buffers
from dicombridge.web.retrieving.report import RetrieveReport, TransferProgress

__all__ = ["Retrieval", "UnsureListError"]

_TICK = 0.05
_PAGE = 100
_JOIN = 0.1
_AWAITED = 0.2
_FASTER, _SLOWER = 1.15, 0.75
"""More connections are worth it where they bring so many times as much; fewer are better where they bring less."""
_STEPS_TO_REST = 6
_RATE_SECONDS = 3.0
_LEAST_FOR_ESTIMATE = 3

Listing = Callable[[], Iterable[tuple[str, str]]]
"""Gives SOP Instance UIDs with those of their series."""

Counting = Callable[[], dict[str, int]]
"""Gives Series Instance UIDs with numbers of instances; nothing where the server does not say them all."""


class UnsureListError(DamagedAnswerError):
    """A list has come to an end, and may not be all that the server has."""


class Retrieval:
    """One retrieval from a DICOMweb server.

    Parameters
    ----------
    connection
        With the server.
    ledger
        What is wanted and there.
    listing
        Asks the server for its instances.
    counting
        Asks the server how many instances its series have.
    connections
        Most connections at a time.
    patience
        How long things may take.
    """

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger,
        listing: Listing,
        counting: Counting,
        connections: int,
        patience: Patience,
    ) -> None:
        self.connection, self.ledger, self.patience = connection, ledger, patience
        ledger.check = connection.cancel.check
        self.fetcher = Fetcher(connection, ledger, patience)
        self._list = listing
        self._count = counting
        self._counts: dict[str, int] = {}
        self._to_count = False
        self._most = max(connections, 1)
        self._threads: list[threading.Thread] = []
        self._running: set[str] = set()
        self._awake = threading.Event()
        """Set when a thread ends. Not for each instance: waking up for thousands of them takes time from the others."""
        self._listing: threading.Thread | None = None
        self._listing_lock = threading.Lock()
        self._begun = time.monotonic()
        self._fatal: BaseException | None = None
        self._stream_error: WebError | None = None
        self._listing_error: WebError | None = None
        self._unsure: dict[str, str] = {}
        """What is listed, where the server may have more."""
        self._is_whole = False
        """Whether the stream came to its end."""
        self._from_end = True
        self._was_streaming = False
        self._there_before = 0
        self._climb = _Climb(patience.step)
        self._rates: deque[tuple[float, int]] = deque()
        self._told = 0.0
        self._looked_for_room = 0.0

    def run(
        self,
        progress: Callable[[TransferProgress], object] | None,
        arrived: Callable[[list[Path]], object] | None,
    ) -> RetrieveReport:
        """Fetch what is missing; progress and arrivals are told in the caller's own thread."""
        ledger = self.ledger
        levels = self.connection.server.profile.retrieve_levels
        ledger.adopt()
        self._there_before = ledger.bytes
        # What is missing is fetched singly, where the server gives single instances.
        is_new = not ledger.done or "instance" not in levels
        is_all = ledger.wanted is None and ledger.only is None
        if is_new and is_all and ("study" if ledger.series is None else "series") in levels:
            self._start(self._streamed, "stream")
            self._to_count = True
        try:
            while self._is_busy():
                self._count_in_time(time.monotonic())
                self._list_in_time(time.monotonic())
                self._awake.wait(_TICK)
                self._awake.clear()
                if self.connection.cancel.cancelled:
                    raise CancelledError
                if self._fatal is not None:
                    raise self._fatal
                self._rate(time.monotonic())
                self._look_for_room()
                self._steer()
                self._tell(progress, arrived, always=False)
        except BaseException:
            self._stop()
            raise
        finally:
            # A thread that is about to connect cannot be interrupted; it ends by itself, without any effect.
            end = time.monotonic() + _JOIN if self._fatal else float("inf")
            for thread in self._threads:
                thread.join(min(max(end - time.monotonic(), 0.0), threading.TIMEOUT_MAX))
            self._tell(None, arrived, always=True)
        if self._fatal is not None:
            raise self._fatal
        self._tell(progress, arrived, always=True)
        return self._report()

    # --- Threads ----------------------------------------------------------------------------------------------------

    def _start(self, action: Callable[[], object], name: str) -> threading.Thread:
        def guarded() -> None:
            try:
                action()
            except BaseException as error:  # raised again in the caller's thread
                if self._fatal is None:
                    self._fatal = _explained(error, self.ledger.folder.path)
            finally:
                self._running.discard(name)
                self._awake.set()

        thread = threading.Thread(target=guarded, name=f"retrieve-{name}", daemon=True)
        self._threads.append(thread)
        self._running.add(name)
        thread.start()
        return thread

    def _stop(self) -> None:
        """Let all threads end at once."""
        if self._fatal is None:
            self._fatal = CancelledError()
        self.fetcher.stopped = True
        self.connection.session.shut()

    def _count_in_time(self, now: float) -> None:
        """Ask how many instances there are, when the server has begun to send them: it would begin later otherwise."""
        awaited = self._is_streaming and self.fetcher.first_byte is None
        if self._to_count and not (awaited and now - self._begun < _AWAITED):
            self._to_count = False
            self._start(self._counted, "counting")

    def _list_in_time(self, now: float) -> None:
        """Ask for the server's list, where its counts do not show that everything came.

        Not while a fast stream needs the server's attention: archives may take as long for the list as for the stream.
        """
        if self._listing is not None or self.ledger.wanted is not None:
            return
        if self._is_streaming:
            watched = now - (self.fetcher.first_byte or self._begun)
            is_fast = self.ledger.came > self.patience.fast * watched
            if watched < self.patience.measured or (is_fast and (self._counts or watched < self.patience.alone)):
                return
        elif "counting" in self._running:
            return
        elif self._is_counted():
            self.ledger.wanted = {uid: entry.series for uid, entry in self.ledger.done.items()}
            self._awake.set()  # it is done: nothing is left to wait for
            return
        self._list_now()

    def _is_counted(self) -> bool:
        """Whether a whole stream brought as many instances of each series as the server says that there are.

        Each of them says itself which series it is of, and came once, so these are the instances that are there.
        """
        ledger = self.ledger
        series = Counter(entry.series for entry in ledger.done.values())
        return bool(series) and series == self._counts and self._stream_error is None and not ledger.failed

    def _counted(self) -> None:
        # Then the list is asked for, and tells.
        with suppress(UnreachableError, RefusedError, DamagedAnswerError, AuthenticationError):
            self._counts = self._count()

    def _list_now(self) -> threading.Thread:
        """Return the thread that asks for the list; it is started once."""
        with self._listing_lock:
            if self._listing is None:
                self._listing = self._start(self._listed, "listing")
            return self._listing

    def _listed(self) -> None:
        uids: dict[str, str] = {}
        try:
            self._expect(uids)
            self.ledger.wanted = uids
        except UnsureListError as error:
            if not self._counts:
                self._counted()
            if self._counts == Counter(uids.values()):
                self.ledger.wanted = uids
            else:
                self._listing_error, self._unsure = error, uids
        except AuthenticationError as error:
            # Links and proxies may allow to download and not to search.
            if not (self._is_streaming or self._is_whole):
                raise
            self._listing_error = error
        except (UnreachableError, RefusedError, DamagedAnswerError) as error:
            self._listing_error = error

    def _expect(self, uids: dict[str, str]) -> None:
        """Fill in the server's list; what has come of it waits to be fetched, also where the rest does not come."""
        pending: dict[str, str] = {}
        try:
            for uid, series in self._list():
                self.fetcher.was_there = True
                uids[uid] = pending[uid] = series
                if len(pending) >= _PAGE:
                    self.ledger.expect(pending)
                    pending = {}
        finally:
            self.ledger.expect(pending)

    def _streamed(self) -> None:
        """Read the stream; again where nobody could say what it did not bring."""
        for attempt in range(self.patience.attempts):
            self._stream_error = None
            try:
                self.fetcher.stream()
                self._is_whole = True
                return
            except (UnreachableError, RefusedError, DamagedAnswerError) as error:
                self._stream_error = error
                if self.ledger.wanted is None:
                    self._list_now().join()
                if self.ledger.wanted is not None and "instance" in self.connection.server.profile.retrieve_levels:
                    return
                if not self.fetcher.wait_after(error, attempt):
                    return

    def _work(self, number: int) -> None:
        """Fetch one instance after the other, while so many threads should."""
        buffers = Buffers()
        while number < self._climb.workers and not self.fetcher.give_up_if_dead():
            # One of those that wait is what the stream brings now.
            found = self.ledger.next(self._from_end, left=int(self._is_streaming))
            if found is None:
                return
            try:
                self.fetcher.one(*found, buffers)
            finally:
                self.ledger.leave(found[0])

    # --- Steering ---------------------------------------------------------------------------------------------------

    @property
    def _is_streaming(self) -> bool:
        return "stream" in self._running

    def _is_busy(self) -> bool:
        if self._running or (self._listing is None and self.ledger.wanted is None):
            return True
        return "instance" in self.connection.server.profile.retrieve_levels and bool(self.ledger.waiting)

    def _steer(self) -> None:
        """Open more connections where one is the limit, or where there is no stream."""
        ledger, now = self.ledger, time.monotonic()
        if not ledger.waiting:
            return
        if "instance" not in self.connection.server.profile.retrieve_levels:
            return
        streaming = self._is_streaming
        most = self._most - streaming
        if not self._climb.workers:
            if not streaming:
                self._climb.begin(min(2, most), now, ledger.came)
            elif most and self._is_stream_slow(now):
                self._from_end = not ledger.is_last(list(ledger.done))
                self._climb.begin(min(max(4, most // 3), most), now, ledger.came, alone=self._rate(now))
        else:
            self._climb.look(now, ledger.came, most, self.fetcher.refusals)
            if self._was_streaming and not streaming:
                self._climb.workers = min(self._climb.workers + 1, most)  # its connection is free
        self._was_streaming = streaming
        self._threads = [one for one in self._threads if one.is_alive()]
        for number in range(min(self._climb.workers, len(ledger.waiting) - streaming)):
            if str(number) not in self._running:
                self._start(partial(self._work, number), str(number))

    def _is_stream_slow(self, now: float) -> bool:
        """Whether the stream has been watched long enough and will take long."""
        ledger, begun = self.ledger, self.fetcher.first_byte
        if begun is None or now - begun < self.patience.measured:
            return False
        rate = ledger.came / (now - begun)
        if rate > self.patience.fast:
            return False
        if not ledger.done:
            # Not even one instance: large ones may each take minutes; other connections do no harm then.
            return now - begun > self.patience.worthwhile
        return len(ledger.waiting) * ledger.bytes / len(ledger.done) > rate * self.patience.worthwhile

    def _look_for_room(self) -> None:
        """Refuse what will not fit before it fills the disk."""
        ledger, now = self.ledger, time.monotonic()
        if now - self._looked_for_room < 1.0 or len(ledger.done) < _LEAST_FOR_ESTIMATE or ledger.wanted is None:
            return
        self._looked_for_room = now
        left = len(ledger.waiting) + len(ledger.active)
        ledger.folder.look_for_room(left * ledger.bytes / len(ledger.done))

    # --- Telling ----------------------------------------------------------------------------------------------------

    def _tell(
        self,
        progress: Callable[[TransferProgress], object] | None,
        arrived: Callable[[list[Path]], object] | None,
        always: bool,
    ) -> None:
        now = time.monotonic()
        if not always and now - self._told < self.patience.told:
            return
        self._told = now
        files = self.ledger.take_arrived()
        if arrived is not None and files:
            arrived(files)
        if progress is not None:
            progress(self._progress(now))

    def _rate(self, now: float) -> float:
        """Bytes a second over the last seconds."""
        rates = self._rates
        rates.append((now, self.ledger.came))
        while len(rates) > 2 and now - rates[0][0] > _RATE_SECONDS:
            rates.popleft()
        seconds = now - rates[0][0]
        return (self.ledger.came - rates[0][1]) / seconds if seconds > 0 else 0.0

    def _progress(self, now: float) -> TransferProgress:
        ledger, rate = self.ledger, self._rate(now)
        total = None if ledger.wanted is None else len(ledger.wanted.keys() | ledger.done.keys())
        if total is None and self._counts:
            total = max(sum(self._counts.values()), len(ledger.done))
        done = len(ledger.done)
        size = None if total is None or not done else round(ledger.bytes / done * total)
        came = ledger.bytes
        if done != total:
            # With what is under way: one instance may be most of it.
            came = max(came, min(self._there_before + ledger.came, size or sys.maxsize))
        left = None if size is None or rate <= 0 else max(size - came, 0) / rate
        return TransferProgress(came, size, done, total, rate, left)

    def _report(self) -> RetrieveReport:
        """Sum up.

        Raises
        ------
        RefusedError
            The server does not have the study or series.
        WebError
            Nothing came, and the server does not say what there should be.
        """
        ledger = self.ledger
        if self._is_whole and self._unsure and self._unsure.keys() <= ledger.done.keys():
            ledger.wanted = self._unsure  # the whole stream brought no less than what is listed
        if not (ledger.wanted or ledger.done or ledger.missing or ledger.failed):
            raise self._nothing()
        for uid in ledger.wanted or ():
            if uid not in ledger.done and uid not in ledger.failed:
                if self._stream_error is None or uid in ledger.missing:
                    ledger.missing[uid] = None
                else:
                    ledger.failed[uid] = str(self._stream_error)
        notes = [self.fetcher.note] if self.fetcher.note else []
        is_listed = ledger.wanted is not None
        if self._stream_error is not None and ledger.done.keys() - (ledger.wanted or ledger.done).keys():
            is_listed = False
            notes.append(f"The server sent instances that it does not list; there may be more: {self._stream_error}")
        failed = dict(ledger.failed)
        if ledger.otherwise:
            notes.append(f"{ledger.otherwise} instances came in another transfer syntax than {ledger.asked}.")
        if ledger.wanted is None:
            notes.append(f"The number of instances could not be compared: {self._listing_error}")
            if self._stream_error is not None:
                notes.append(f"There may be more: {self._stream_error}")
        files = [ledger.folder.path / entry.file for entry in ledger.done.values()]
        return RetrieveReport(
            tuple(ledger.done),
            tuple(uid for uid in ledger.missing if uid not in failed),
            failed,
            tuple(files),
            ledger.bytes,
            ledger.fetched,
            is_listed,
            ledger.manifest.path,
            tuple(notes),
        )

    def _nothing(self) -> WebError:
        """Return why nothing came."""
        error, ledger = self._stream_error or self._listing_error, self.ledger
        status = error.status if isinstance(error, RefusedError) else 0
        if error is not None and status not in GONE:
            return error
        what = f"study {ledger.study}" if ledger.series is None else f"series {ledger.series} in study {ledger.study}"
        text = f"{self.connection.server}: the server has no instances of {what}."
        return RefusedError(text, error.details if error else "", status)


class _Climb:
    """Finds how many connections bring more: twice as many, as long as that brings more."""

    def __init__(self, step: float) -> None:
        self.workers = 0
        self._step = step
        self._since = 0.0
        self._came = 0
        self._before = 0.0
        self._rest = 0
        self._refusals = 0

    def begin(self, workers: int, now: float, came: int, alone: float = 0.0) -> None:
        """Start with some; ``alone`` is the rate without them."""
        self.workers, self._since, self._came, self._before = workers, now, came, alone

    def look(self, now: float, came: int, most: int, refusals: int) -> None:
        """Decide again, when a step is over; a server that says that it is too much gets half as many."""
        if now - self._since < self._step:
            return
        rate = (came - self._came) / (now - self._since)
        if refusals > self._refusals:
            self.workers, self._rest = max(self.workers // 2, 1), 10 * _STEPS_TO_REST
        elif self._rest:
            self._rest -= 1
        elif rate < self._before * _FASTER:
            self._rest = _STEPS_TO_REST
            self.workers = max(self.workers // 2, 1) if rate < self._before * _SLOWER else self.workers
        else:
            self.workers = min(2 * self.workers, max(most, 1))
        self._refusals, self._since, self._came, self._before = refusals, now, came, rate


def _explained(error: BaseException, folder: Path) -> BaseException:
    """Return our error for what the disk said."""
    if isinstance(error, OSError):
        return DicomBridgeError(f"{folder}: cannot be written to: {error.strerror}.")
    return error
