"""The other end of the worker's lines, for any transport, and without Qt.

:class:`Requests` makes lines and hands events to functions; it does no input or output of its own, so that a QProcess,
a socket or a test can drive it. :class:`WorkerProcess` is such a driver in plain Python. With Qt::

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
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from dicombridge.errors import DicomBridgeError
from dicombridge.web.worker.protocol import ENDS, to_line

__all__ = ["Requests", "Sent", "WorkerError", "WorkerProcess", "worker_arguments", "worker_environment"]

Event = dict[str, Any]
"""A line of the worker: ``event``, and the members that the protocol lists for it."""

Handler = Callable[[Event], object]

MODULE = "dicombridge.web.worker"
_LINES_OF_LOG = 200


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
    ``send`` may be called from any thread. Functions are called by ``dispatch``, in its thread, and may send.
    """

    def __init__(self, write: Callable[[bytes], object], on: Mapping[str, Handler] | None = None) -> None:
        self._write, self._on = write, dict(on or {})
        self._lock = threading.RLock()
        self._number = 0
        self._open: dict[str, Sent] = {}
        self._rest = bytearray()
        self._lines: deque[bytes] = deque()
        self._local: deque[tuple[Sent, Event]] = deque()
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
            The request. Where the worker cannot be written to, it ends with ``failed`` at the next ``dispatch``.
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
                self._local.append((sent, _lost("The worker cannot be reached.")))
        return sent

    def take(self, data: bytes) -> None:
        """Keep what came from the worker's stdout, in pieces of any size; ``dispatch`` handles it."""
        with self._lock:
            start = len(self._rest)
            self._rest += data
            if b"\n" in data:
                end = self._rest.rindex(b"\n", start) + 1
                self._lines.extend(bytes(self._rest[:end]).split(b"\n")[:-1])
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
            return bool(self._lines or self._local)

    def feed(self, data: bytes) -> None:
        """Take what came, and dispatch all of it."""
        self.take(data)
        self.dispatch()

    def lost(self, reason: str) -> None:
        """End every request with ``failed``: the worker is gone. A new worker can be driven with the same object."""
        self.dispatch()
        with self._lock:
            self._rest.clear()
            left, self._open = list(self._open.values()), {}
            self.ready = None
        for sent in left:
            self._call(sent._hand, {**_lost(reason), "id": sent.id})
        self._tell(_lost(reason) | {"event": "lost", "requests": left})

    def _dispatch_one(self) -> bool:
        with self._lock:
            if self._local:
                sent, event = self._local.popleft()
                line = None
            elif self._lines:
                line = self._lines.popleft()
            else:
                return False
        if line is None:
            self._call(sent._hand, {**event, "id": sent.id})
            return True
        with suppress(ValueError):
            event = json.loads(line)
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


# In plain Python --------------------------------------------------------------------------------------------------


def worker_arguments(state: str | os.PathLike[str] | None = None, transfers: int | None = None) -> list[str]:
    """Return the arguments for Python that start a worker.

    Parameters
    ----------
    state
        Folder of the job list; by default one of the user.
    transfers
        How many run at once; 2 by default.
    """
    # -u: nothing that a library prints may wait in a buffer. No -I, because PYTHONPATH says where the library is.
    arguments = ["-u", "-m", MODULE]
    if state is not None:
        arguments += ["--state", os.fspath(state)]
    if transfers is not None:
        arguments += ["--transfers", str(transfers)]
    return arguments


def worker_environment() -> dict[str, str]:
    """Return what the worker's environment has beside that of this process: where this library is."""
    library = str(Path(__file__).resolve().parents[3])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != library]
    return {"PYTHONPATH": os.pathsep.join([library, *others]), "PYTHONUTF8": "1"}


class WorkerProcess:
    """A worker as a child process, with a thread that reads it.

    Parameters
    ----------
    state, transfers
        See `worker_arguments`.
    command
        Program and arguments, where it is not this Python with `worker_arguments`.
    on
        Functions for events without a request; see `Requests`.

    Notes
    -----
    Functions are called in the reading thread. Use as a context manager, or call `close`.

    Examples
    --------
    ::

        with WorkerProcess() as worker:
            print(worker.ask("search", server="PACS", level="study"))
    """

    def __init__(
        self,
        state: str | os.PathLike[str] | None = None,
        transfers: int | None = None,
        command: Sequence[str] | None = None,
        on: Mapping[str, Handler] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            command or [sys.executable, *worker_arguments(state, transfers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **worker_environment()},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self.pid = self._process.pid
        self._ended = False
        self._log: deque[str] = deque(maxlen=_LINES_OF_LOG)
        self.requests = Requests(self._write, on)
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        work = (self._read, self._read_log, self._send_on)
        self._threads = [threading.Thread(target=one, daemon=True) for one in work]
        for thread in self._threads:
            thread.start()

    @property
    def log(self) -> list[str]:
        """The last lines of the worker's stderr."""
        return list(self._log)

    def send(self, do: str, *, on: Mapping[str, Handler] | None = None, **arguments: Any) -> Sent:
        """Send a request; see `Requests.send`."""
        sent = self.requests.send(do, on=on, **arguments)
        if self._ended:  # nobody else dispatches any more that it could not be sent
            self.requests.dispatch()
        return sent

    def ask(
        self, do: str, *, on: Mapping[str, Handler] | None = None, timeout: float | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Send a request and wait for its end.

        Returns
        -------
        dict
            The result; with the items of all ``results`` events as ``items``, where there were any.

        Raises
        ------
        WorkerError
            It failed, or was cancelled, or the worker ended.
        TimeoutError
            It did not end in `timeout` seconds; it was cancelled.
        """
        items: list[Any] = []
        ended = threading.Event()

        def gather(event: Event) -> None:
            if event["event"] == "results":
                items.extend(event["items"])
            for name in (event["event"], "*"):
                if on and name in on:
                    on[name](event)
            if event["event"] in ENDS:
                ended.set()

        sent = self.send(do, on={"*": gather}, **arguments)
        if not ended.wait(timeout):
            sent.cancel()
            raise TimeoutError(f"{do} did not end in {timeout} seconds.")
        return {**sent.result, "items": items} if items else sent.result

    def close(self, seconds: float = 5) -> int:
        """End the worker: its jobs are cancelled, and what came stays. Returns its exit code.

        Parameters
        ----------
        seconds
            After which it is killed, if it still runs.
        """
        self._outgoing.put(None)
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(seconds)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()
        return code

    def kill(self) -> None:
        """End the worker at once, as a crash would."""
        self._process.kill()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        if self._ended:
            raise BrokenPipeError
        self._outgoing.put(line)

    def _send_on(self) -> None:
        """Write in a thread of its own: a worker that waits for us to read would make whoever writes here wait too."""
        assert self._process.stdin
        with suppress(OSError, ValueError), self._process.stdin as pipe:
            while (line := self._outgoing.get()) is not None:
                view = memoryview(line)
                while view:  # a raw pipe may take a part
                    view = view[pipe.write(view) or 0 :]

    def _read(self) -> None:
        assert self._process.stdout
        with suppress(OSError, ValueError):
            while data := self._process.stdout.read(1 << 16):
                self.requests.feed(data)
        self._ended = True
        self.requests.lost("The worker ended.")

    def _read_log(self) -> None:
        assert self._process.stderr
        rest = b""
        with suppress(OSError, ValueError):
            while data := self._process.stderr.read(1 << 12):
                *lines, rest = (rest + data).split(b"\n")
                self._log.extend(line.decode("utf-8", "replace") for line in lines)
        if rest:
            self._log.append(rest.decode("utf-8", "replace"))
