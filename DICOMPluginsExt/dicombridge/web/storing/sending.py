"""One batch: sent, its answer read, sent again where that helps, and split where it was refused as a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus

from dicombridge.errors import (
    CancelledError,
    DamagedAnswerError,
    RefusedError,
    UnreachableError,
    UnreadableError,
    WebError,
)
from dicombridge.web.addresses import check_uid, joined
from dicombridge.web.connection import Connection
from dicombridge.web.retrying import retry_after
from dicombridge.web.storing.answers import StoreAnswer, read_answer
from dicombridge.web.storing.body import Body
from dicombridge.web.storing.items import Item
from dicombridge.web.storing.looking import look
from dicombridge.web.storing.reasons import BUSY, DUPLICATE, FAILED, Reason, http_words
from dicombridge.web.storing.report import Outcome

__all__ = ["Sender", "failure"]

LONGEST_ANSWER = 64 << 20
_NOT_SAID = "The server's answer does not mention it, and the server does not show it."
_DAMAGED = "The server's answer was damaged, and the server does not show it."
_REFUSALS_WORTH_WAITING = frozenset(
    (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    )
)
_MAYBE_STORED = frozenset((HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT))
"""What is said where the server's own answer is not known: it may have stored all."""
_HOPELESS = frozenset((HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED))
"""What is the same for every instance, so that it makes no sense to send the next one."""


class Sender:
    """Sends batches of one job; used by several threads at once.

    Parameters
    ----------
    connection
        Of the job.
    study
        Study Instance UID to which all go, or empty.
    sent
        Called with numbers of bytes as they are handed over; negative ones take back.
    is_there
        Asks the server whether it has an instance.
    """

    def __init__(
        self,
        connection: Connection,
        study: str,
        sent: Callable[[int], object],
        is_there: Callable[[Item], bool],
    ) -> None:
        root = joined(connection.server.stow_root, "studies")
        self._connection = connection
        self._cancel = connection.cancel
        self._url = joined(root, check_uid(study, "Study Instance UID")) if study else root
        self._sent = sent
        self._is_there = is_there
        self._answered = threading.Event()

    def send(self, items: Sequence[Item]) -> tuple[list[Outcome], WebError | CancelledError | None]:
        """Send a batch.

        Returns
        -------
        list of Outcome
            One for each item, or for those before the error.
        WebError or CancelledError
            Why nothing more can be sent; None where all went its way.
        """
        outcomes: list[Outcome] = []
        try:
            self._send(items, outcomes)
        except (WebError, CancelledError) as error:
            return outcomes, error
        return outcomes, None

    def _send(self, items: Sequence[Item], outcomes: list[Outcome]) -> None:
        waiting = [(list(items), 0)]
        while waiting:
            batch, tries = waiting.pop(0)
            self._cancel.check()
            try:
                status, answer = self._exchange(batch)
            except UnreadableError as error:
                rest = [item for item in batch if str(item.path) != error.path]
                outcomes += [failure(item, f"It {error.reason}") for item in batch if str(item.path) == error.path]
                waiting += [(rest, tries)] if rest else []
                continue
            except DamagedAnswerError:
                outcomes += [self._asked_after(item, _DAMAGED) for item in batch]
                continue
            decided, smaller, busy = self._decide(batch, status, answer)
            outcomes += decided
            waiting += [(group, 0) for group in smaller]
            if busy and (delay := self._connection.retries.delay(tries)) is not None:
                self._cancel.wait(delay)
                waiting.append((busy, tries + 1))
            else:
                outcomes += [failure(item, answer.failed[item.uid].words) for item in busy]

    # --- Requests ------------------------------------------------------------------------------------------------

    def _exchange(self, items: Sequence[Item]) -> tuple[int, StoreAnswer]:
        """Send a request until the server answers something that is not for the moment only; each time all of it."""
        retries, number = self._connection.retries, 0
        while True:
            body = Body(items, self._sent, self._cancel_only)
            try:
                with self._connection.exchange("POST", self._url, body, {"Content-Type": body.content_type}) as got:
                    self._answered.set()
                    if got.status not in _REFUSALS_WORTH_WAITING and not self._is_busy(got.status, len(items)):
                        return got.status, read_answer(got.read(LONGEST_ANSWER), got.headers)
                    told = read_answer(got.read(LONGEST_ANSWER), got.headers)
                    if got.status in _MAYBE_STORED:
                        for item in items:
                            item.sent = True
                    asked = retry_after(got.headers.get("Retry-After"))
                    delay = retries.delay(number, asked)
                    if delay is None:
                        return got.status, told
            except (UnreachableError, CancelledError) as error:
                for item in items:
                    item.sent = item.sent or body.begun
                if isinstance(error, CancelledError):
                    raise
                # Where nobody ever answered it is not for the moment: a misspelled name should fail at once.
                delay = retries.delay(number) if body.begun or self._answered.is_set() else None
                if delay is None:
                    raise
            body.take_back()
            number += 1
            self._cancel.wait(delay)

    def _is_busy(self, status: int, count: int) -> bool:
        """Return whether to send the same again; one bad object may make a server fail, so a batch is split instead."""
        return status == HTTPStatus.INTERNAL_SERVER_ERROR and count == 1

    def _cancel_only(self) -> None:
        """Stop in the middle of a request where the job is cancelled; a pause waits for its end."""
        if self._cancel.cancelled:
            self._cancel.check()

    # --- Answers -------------------------------------------------------------------------------------------------

    def _decide(
        self, items: Sequence[Item], status: int, answer: StoreAnswer
    ) -> tuple[list[Outcome], list[list[Item]], list[Item]]:
        """Return what became of items, smaller groups to be sent anew, and those for which the server is too busy."""
        if status in _HOPELESS and not answer.failed and not answer.stored:
            raise RefusedError(f"{self._connection.server}: {http_words(status, answer.told)}", status=status)
        outcomes, unclear, busy = [], [], []
        for item in items:
            if item.uid in answer.stored:
                outcomes.append(Outcome(item.uid, item.source, "stored", _joined(item.notes, answer.stored[item.uid])))
            elif item.uid not in answer.failed:
                unclear.append(item)
            elif answer.failed[item.uid].kind == BUSY:
                busy.append(item)
            else:
                outcomes.append(_not_stored(item, answer.failed[item.uid]))
        if not unclear:
            return outcomes, [], busy
        if status < HTTPStatus.MULTIPLE_CHOICES and not answer.nameless:
            outcomes += [self._asked_after(item, _NOT_SAID) for item in unclear]
        elif len(items) == 1:
            reason = answer.nameless[0] if answer.nameless else Reason(FAILED, http_words(status, answer.told))
            outcomes.append(_not_stored(items[0], reason))
        elif status in _REFUSALS_WORTH_WAITING:  # after all repetitions; smaller requests would not change it
            outcomes += [failure(item, http_words(status, answer.told)) for item in unclear]
        else:
            for item in unclear:
                item.sent = True
            return outcomes, _halves(unclear), busy
        return outcomes, [], busy

    def _asked_after(self, item: Item, words: str) -> Outcome:
        if self._is_there(item):
            return Outcome(item.uid, item.source, "stored", item.notes)
        return Outcome(item.uid, item.source, "unconfirmed", words)


def _not_stored(item: Item, reason: Reason) -> Outcome:
    if reason.kind != DUPLICATE:
        return failure(item, reason.words)
    if item.sent:  # an answer was lost: what is there now is what we sent
        return Outcome(item.uid, item.source, "stored", item.notes)
    return Outcome(item.uid, item.source, "duplicate", reason.words)


def failure(item: Item, words: str) -> Outcome:
    """Return that an item was not stored, with what a look at its file tells."""
    return Outcome(item.uid, item.source, "failed", _joined(words, look(item)))


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _halves(items: Sequence[Item]) -> list[list[Item]]:
    """Return two groups that are half as large; a single item stays as it is."""
    middle = (len(items) + 1) // 2
    return [list(group) for group in (items[:middle], items[middle:]) if group]
