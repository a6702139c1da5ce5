"""The other end of the worker's lines, for any transport, and without Qt.

:class:`Requests` makes lines and hands events to functions; it does no input or output of its own, so that a QProcess,
a socket or a test can drive it. :class:`~dicombridge.web.worker.client.WorkerProcess` is such a
driver in plain Python. With Qt::

    process = qt.QProcess()
    requests = Requests(lambda line: process.write(qt.QByteArray(line)))
    process.connect("readyReadStandardOutput()", lambda: requests.take(process.readAllStandardOutput().data()))
    timer.connect("timeout()", lambda: requests.dispatch(0.02))     # never longer than 20 ms in one go
    process.connect("finished(int,QProcess::ExitStatus)", lambda *_: requests.lost("The worker ended."))
    process.start(program, worker_arguments())

    search = requests.send("search", server="PACS", filters={"PatientName": "DOE*"},
                           on={"results": show_rows, "done": show_count, "failed": show_error})
    search.cancel()
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from dicombridge.errors import DicomBridgeError
from dicombridge.web.worker.protocol import ENDS, to_line

__all__ = ["Event", "Handler", "Requests", "Sent", "WorkerError"]

Event = dict[str, Any]
"""A line of the worker: ``event``, and the members that the protocol lists for it."""

Handler = Callable[[Event], object]


class WorkerError(DicomBridgeError):
    """A request failed; the worker's ``error`` as an exception.

    Attributes
    ----------
    kind
        Name of the worker's error class, e.g. ``"AuthenticationError"``; ``"WorkerLost"`` where the worker ended.
    details
        More text, or "".
    needs
        Names of the secrets that are missing.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message") or "The request failed."))
        self.kind = str(error.get("kind") or "")
        self.details = str(error.get("details") or "")
        self.needs = [str(name) for name in error.get("needs") or ()]


class Sent:
    """A request on its way.

    Attributes
    ----------
    id
        Its id; what ``job`` is in ``cancel``, ``pause``, ``resume`` and ``priority``.
    do, arguments
        What was asked for.
    end
        The event that ended it; None while it is at work.
    """

    def __init__(self, owner: Requests, id: str, do: str, arguments: dict[str, Any], on: Mapping[str, Handler]) -> None:
        self.id, self.do, self.arguments = id, do, arguments
        self.end: Event | None = None
        self._owner, self._on = owner, on
        self._handed = False

    def __repr__(self) -> str:
        return f"<Sent {self.id} {self.do}>"  # the arguments may hold a secret

    @property
    def ended(self) -> bool:
        """Whether done, failed or cancelled has come, and its functions were called."""
        return self._handed

    @property
    def result(self) -> dict[str, Any]:
        """What ``done`` brought.

        Raises
        ------
        WorkerError
            It failed, was cancelled, or has not ended.
        """
        name = self.end["event"] if self.end else "running"
        if name == "done" and self.end:
            return self.end.get("result") or {}
        if name == "failed" and self.end:
            raise WorkerError(self.end.get("error") or {})
        raise WorkerError({"kind": "CancelledError", "message": f"The request is {name}."})

    def cancel(self) -> None:
        """Ask the worker to stop it; ``cancelled`` comes within 200 ms, or ``done`` if that was on its way."""
        self._steer("cancel")

    def pause(self) -> None:
        """Ask the worker to pause a transfer; ``state`` says so when it is."""
        self._steer("pause")

    def resume(self) -> None:
        """Ask the worker to go on with a paused transfer."""
        self._steer("resume")

    def set_priority(self, priority: int) -> None:
        """Set the place of a transfer among the others; the highest goes first."""
        self._steer("priority", priority=priority)

    def _steer(self, do: str, **arguments: Any) -> None:
        if self.end is None:
            self._owner.send(do, job=self.id, **arguments)

    def _hand(self, event: Event) -> None:
        name = event.get("event", "")
        if name in ENDS:
            self.end = event
        handlers = [self._on.get(name), self._on.get("*")]
        if name in ENDS:
            handlers.append(self._on.get("ended"))
        try:
            for handler in handlers:
                if handler is not None:
                    handler(event)
        finally:
            self._handed = self.end is not None


class Requests:
    """Requests in the making and on their way.

    Parameters
    ----------
    write
        Takes a line (bytes) to the worker's stdin.
    on
        Functions for events without a request: ``ready``, ``failed`` (a line was no request), ``lost {error}``, and
        ``broken {error}`` (a function raised). ``*`` has all of them.

    Notes
    -----
    ``send`` may be called from any thread. Functions are called by ``dispatch``, in its thread, and may send. Where one
    raises and ``on`` has neither ``broken`` nor ``*``, ``dispatch`` raises it; the next ``dispatch`` goes on behind it.
    """

    def __init__(self, write: Callable[[bytes], object], on: Mapping[str, Handler] | None = None) -> None:
        self._write, self._on = write, dict(on or {})
        self._lock = threading.RLock()
        self._number = 0
        self._open: dict[str, Sent] = {}
        self._rest = bytearray()
        self._waiting: deque[bytes | Callable[[], object]] = deque()
        """Lines that came, and what else is to be called, in the order of `dispatch`."""
        self.ready: Event | None = None

    @property
    def open(self) -> list[Sent]:
        """Requests that have not ended."""
        with self._lock:
            return list(self._open.values())

    def send(self, do: str, *, on: Mapping[str, Handler] | None = None, **arguments: Any) -> Sent:
        """Send a request.

        Parameters
        ----------
        do
            A command of the protocol.
        on
            ``{event: function of the event}``; ``*`` is called with every event, ``ended`` with the last.
        **arguments
            Of the command; those that are None are left out.

        Returns
        -------
        Sent
            The request. Where the worker cannot be written to, ``dispatch`` ends it with ``failed``.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        with self._lock:
            self._number += 1
            sent = Sent(self, str(self._number), do, given, dict(on or {}))
            line = to_line({"id": sent.id, "do": do, **given})
            self._open[sent.id] = sent
            try:
                self._write(line)
            except OSError:
                self._open.pop(sent.id)
                event = {**_lost("The worker cannot be reached."), "id": sent.id}
                self._waiting.append(partial(self._call, sent._hand, event))
        return sent

    def take(self, data: bytes) -> None:
        """Keep what came from the worker's stdout, in pieces of any size; ``dispatch`` handles it."""
        with self._lock:
            start = len(self._rest)
            self._rest += data
            if b"\n" in data:
                end = self._rest.rindex(b"\n", start) + 1
                self._waiting.extend(bytes(self._rest[:end]).split(b"\n")[:-1])
                del self._rest[:end]

    def dispatch(self, seconds: float | None = None) -> bool:
        """Call the functions for what has come.

        Parameters
        ----------
        seconds
            Stop after this time, so that a window stays alive; None: all of it.

        Returns
        -------
        bool
            Whether there is more to dispatch.
        """
        stop = None if seconds is None else time.monotonic() + seconds
        while self._dispatch_one():
            if stop is not None and time.monotonic() >= stop:
                break
        with self._lock:
            return bool(self._waiting)

    def feed(self, data: bytes) -> None:
        """Take what came, and dispatch all of it."""
        self.take(data)
        self.dispatch()

    def lost(self, reason: str, seconds: float | None = None) -> bool:
        """End every request with ``failed``: the worker is gone. A new worker can be driven with the same object.

        Parameters
        ----------
        reason
            Message of the failure, for a person.
        seconds
            As for `dispatch`: what came before goes first, and may be much. Where there is more to dispatch after this
            time, start a new worker only after the event ``lost``: a request that is sent before it fails as well.

        Returns
        -------
        bool
            Whether there is more to dispatch.
        """
        with self._lock:
            self._rest.clear()
            self._waiting.append(partial(self._fail_all, reason))
        return self.dispatch(seconds)

    def _fail_all(self, reason: str) -> None:
        """Put the failures before all else, one by one: a function that raises must not keep others from theirs."""
        with self._lock:
            left, self._open = list(self._open.values()), {}
            self.ready = None
            self._waiting.appendleft(partial(self._tell, {**_lost(reason), "event": "lost", "requests": left}))
            for sent in reversed(left):
                self._waiting.appendleft(partial(self._call, sent._hand, {**_lost(reason), "id": sent.id}))

    def _dispatch_one(self) -> bool:
        with self._lock:
            if not self._waiting:
                return False
            one = self._waiting.popleft()
        if not isinstance(one, bytes):
            one()
            return True
        event = None
        with suppress(ValueError):  # what a library printed; an error of a function must not end here
            event = json.loads(one)
        if isinstance(event, dict):
            self._hand(event)
        return True

    def _hand(self, event: Event) -> None:
        id = event.get("id")
        with self._lock:
            sent = self._open.get(id) if isinstance(id, str) else None
            if sent is not None and event.get("event") in ENDS:
                del self._open[sent.id]
        if sent is not None:
            self._call(sent._hand, event)
        elif id is None:
            if event.get("event") == "ready":
                self.ready = event
            self._tell(event)

    def _call(self, function: Callable[[Event], object], event: Event) -> None:
        """One function that raises must not keep the events of other requests from theirs."""
        try:
            function(event)
        except Exception as error:
            if not {"broken", "*"} & set(self._on):
                raise
            self._tell({"event": "broken", "error": error})

    def _tell(self, event: Event) -> None:
        for name in (str(event.get("event")), "*"):
            if name in self._on:
                self._on[name](event)


def _lost(reason: str) -> Event:
    return {"event": "failed", "error": {"kind": "WorkerLost", "message": reason, "details": "", "needs": []}}
