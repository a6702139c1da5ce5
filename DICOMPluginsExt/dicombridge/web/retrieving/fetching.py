"""Asking for instances: a whole study or series in one answer, or one instance after the other."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from dicombridge.errors import (
    AuthenticationError,
    CancelledError,
    DamagedAnswerError,
    RefusedError,
    UnreachableError,
    WebError,
)
from dicombridge.web.addresses import joined
from dicombridge.web.connection import Answer, Connection
from dicombridge.web.retrieving.ledger import Ledger
from dicombridge.web.retrieving.multipart import WRONG_LENGTH
from dicombridge.web.retrieving.receiving import Buffers, receive
from dicombridge.web.retrying import NEVER

__all__ = ["GONE", "Fetcher", "Patience"]

GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_NOT_THIS_TYPE = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE})
_LOOK = 0.1
_REPEATED_AT_MOST = 16
_REPEATED_AT_LEAST, _REPEATED_BYTES = 3, 8 << 20
_FAILURES_OF_A_DEAD_SERVER = 12


@dataclass(frozen=True)
class Patience:
    """How long things may take, in seconds, and how often they are tried.

    Attributes
    ----------
    measured
        How long one stream is watched before more connections are opened.
    step
        After which the effect of more connections is looked at.
    worthwhile
        A stream that will be done sooner is left alone.
    fast
        Bytes a second of a stream that is left alone too: there the server or the disk is the limit.
    alone
        So long such a stream runs before the server is asked for its list, which would keep it from sending.
    attempts
        How often an instance, or the stream, is asked for.
    stall
        A connection that gives nothing for so long is given up, and one that only trickles.
    told
        Between two reports of progress.
    reserve
        Bytes that stay free on the disk.
    """

    measured: float = 0.15
    step: float = 0.2
    worthwhile: float = 1.0
    fast: float = 60e6
    alone: float = 2.0
    attempts: int = 4
    stall: float = 60.0
    told: float = 0.1
    reserve: int = 256 << 20


class _Enough(Exception):
    """The stream brings what others have fetched; it is not an error."""


class Fetcher:
    """Asks one server for the instances of one ledger, from several threads.

    Parameters
    ----------
    connection
        With the server.
    ledger
        What is wanted and there.
    patience
        How long things may take.
    """

    def __init__(self, connection: Connection, ledger: Ledger, patience: Patience) -> None:
        self.connection, self.ledger, self.patience = connection, ledger, patience
        self.first_byte: float | None = None
        self.stopped = False
        """Set where another thread found that it is in vain."""
        self.failures = 0
        """Instances in a row that the server could not be reached for."""
        self.refusals = 0
        """How often the server said that this is too much."""
        self._accepts = _accepts(connection, ledger.asked)
        self._accept = 0
        self._not_before = 0.0
        self.was_there = False
        """Whether the server has answered anything."""
        self._lock = threading.Lock()

    @property
    def note(self) -> str:
        """What a person should know of the type that the server gave."""
        if self._accept and self.ledger.asked == "*":
            return "The server does not give instances as stored; it may have sent them in another transfer syntax."
        return ""

    def stream(self) -> None:
        """Fetch the whole study or series in one answer.

        Raises
        ------
        UnreachableError, RefusedError, DamagedAnswerError
            It did not come, or not to its end. What came is in the ledger.
        """
        ledger = self.ledger
        parts = ["studies", ledger.study] + (["series", ledger.series] if ledger.series else [])
        answer = self._ask(joined(self.connection.server.wado_root, *parts))
        with answer:
            try:
                receive(answer, ledger.folder, ledger.take, self._watch(in_stream=True))
            except _Enough:
                return

    def one(self, uid: str, series: str, buffers: Buffers) -> None:
        """Fetch an instance, if need be several times; what came of it is in the ledger."""
        ledger = self.ledger
        parts = ("studies", ledger.study, "series", series, "instances", uid)
        url = joined(self.connection.server.wado_root, *parts)
        tries, reason, lengths = 0, "", True
        while tries < 2 * self.patience.attempts:
            self._wait_for_turn()
            try:
                with self._ask(url) as answer:
                    taken = partial(ledger.take, uid=uid)
                    receive(answer, ledger.folder, taken, self._watch(), buffers, lengths)
                reason = ledger.failed.get(uid, "the server sent nothing")
                error = None
            except (UnreachableError, DamagedAnswerError, RefusedError) as caught:
                reason, error = str(caught), caught
            except AuthenticationError as forbidden:
                if not forbidden.is_forbidden:
                    raise
                ledger.gave_up(uid, str(forbidden))
                with self._lock:
                    self.failures += 1
                return
            if uid in ledger.done:
                self.failures = 0
                return
            if isinstance(error, RefusedError) and error.status in GONE:
                ledger.gave_up(uid, reason, missing=True)
                return
            if error is not None and not self._is_worth_another_try(error, tries // 2):
                break
            lengths = lengths and not reason.startswith(WRONG_LENGTH)
            # A server that has no time now has not failed.
            tries += 1 if isinstance(error, RefusedError) and error.status in _BUSY else 2
        ledger.gave_up(uid, reason)
        with self._lock:
            self.failures += isinstance(error, UnreachableError)

    def give_up_if_dead(self) -> bool:
        """Give up what waits where nothing comes any more; otherwise a dead server would cost hours."""
        if self.failures < _FAILURES_OF_A_DEAD_SERVER:
            return False
        reasons = list(self.ledger.failed.values())
        self.ledger.give_up_waiting(f"not asked for any more, because all failed: {reasons[-1] if reasons else ''}")
        return True

    def _ask(self, url: str) -> Answer:
        """Ask for instances in the first of the ways that the server takes."""
        while True:
            choice = self._accept
            try:
                answer = self.connection.get(url, accept=self._accepts[choice], retries=NEVER)
                self.was_there = True
                return answer
            except RefusedError as error:
                self.was_there = True
                if error.status not in _NOT_THIS_TYPE or choice + 1 >= len(self._accepts):
                    raise
                with self._lock:
                    self._accept = max(self._accept, choice + 1)

    def _is_worth_another_try(self, error: WebError, attempt: int) -> bool:
        """Decide whether to ask again, and until when all threads keep still."""
        retries = self.connection.retries
        asked = None
        if isinstance(error, RefusedError):
            if error.status not in retries.statuses:
                return False
            asked = error.retry_after
        elif type(error) is UnreachableError and not self.was_there:
            return False  # nobody listens there, or the name is misspelled: one is told at once
        delay = retries.delay(min(attempt, max(retries.times - 1, 0)), asked)
        if delay is None:
            return False
        if isinstance(error, RefusedError) and error.status in _BUSY:
            with self._lock:
                self.refusals += 1
                self._not_before = max(self._not_before, time.monotonic() + delay)
        else:
            self.wait(delay)
        return True

    def wait_after(self, error: WebError, attempt: int) -> bool:
        """Wait before the stream is asked for again; False where that is in vain."""
        worth = self._is_worth_another_try(error, attempt)
        if worth:
            self._wait_for_turn()
        return worth

    def _wait_for_turn(self) -> None:
        """Wait until the server wants to be asked again; not all threads at the same moment."""
        self.wait(0.0)
        self.connection.cancel.check()
        while (delay := self._not_before - time.monotonic()) > 0:
            self.wait(delay + random.uniform(0, min(delay, 0.2)))

    def wait(self, seconds: float) -> None:
        """Wait, unless the retrieval ends meanwhile."""
        end = time.monotonic() + seconds
        while True:
            if self.stopped:
                raise CancelledError
            left = end - time.monotonic()
            self.connection.cancel.wait(min(max(left, 0.0), _LOOK))
            if left <= 0:
                return

    def _watch(self, in_stream: bool = False) -> Callable[[int], None]:
        """Return what is called with each number of bytes that came."""
        ledger, cancel, stall = self.ledger, self.connection.cancel, self.patience.stall
        since, got = time.monotonic(), 0

        def came(count: int) -> None:
            nonlocal since, got
            ledger.add_bytes(count)
            got += count
            now = time.monotonic()
            if in_stream:
                if self.first_byte is None:
                    self.first_byte = now
                if _is_enough(*ledger.repeated):
                    raise _Enough
            if now - since > stall:
                if got < 100 * stall:
                    raise UnreachableError(f"{self.connection.server}: the server sends next to nothing.")
                since, got = now, 0
            if cancel.paused:
                cancel.check()
                since, got = time.monotonic(), 0
            if self.stopped:
                raise CancelledError
            cancel.check()

        return came


def _is_enough(number: int, size: int) -> bool:
    """Whether a stream brings again what others fetched, and not only in passing."""
    return number >= _REPEATED_AT_MOST or (number >= _REPEATED_AT_LEAST and size >= _REPEATED_BYTES)


def _accepts(connection: Connection, asked: str) -> list[str]:
    """Return the ways to ask for instances, best first (PS3.18 8.7.3.4)."""
    profile = connection.server.profile
    quoted = ['type="application/dicom"', "type=application/dicom"]
    if not profile.quoted_type:
        quoted.reverse()
    if asked != "*":
        return [f"multipart/related; {kind}; transfer-syntax={asked}" for kind in quoted]
    plain = [f"multipart/related; {kind}" for kind in quoted]
    stored = [f"{kind}; transfer-syntax=*" for kind in plain] if profile.any_transfer_syntax else []
    return [*stored, *plain]
