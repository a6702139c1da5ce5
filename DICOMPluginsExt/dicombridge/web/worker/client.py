"""The other end of the worker's lines: a worker as a child process, in plain Python.

For other transports, e.g. a QProcess, see :class:`Requests` in :mod:`dicombridge.web.worker.asking`.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from dicombridge.web.worker.asking import Event, Handler, Requests, Sent, WorkerError
from dicombridge.web.worker.protocol import ENDS

__all__ = ["Requests", "Sent", "WorkerError", "WorkerProcess", "worker_arguments", "worker_environment"]

MODULE = "dicombridge.web.worker"
_LINES_OF_LOG = 200


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
    Functions are called in the reading thread. What one of `send` raises goes to ``broken`` or, without that, to
    `threading.excepthook`, and the thread goes on. Use as a context manager, or call `close`.

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
            self._dispatch()
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
        BaseException
            What a function of `on` raised; the request was cancelled, if it had not ended.
        """
        items: list[Any] = []
        errors: list[BaseException] = []
        ended = threading.Event()

        def gather(event: Event) -> None:
            if errors:  # nobody waits for it any more
                return
            try:
                if event["event"] == "results":
                    items.extend(event["items"])
                for name in (event["event"], "*"):
                    if on and name in on:
                        on[name](event)
            except BaseException as error:
                errors.append(error)
            finally:
                if errors or event["event"] in ENDS:
                    ended.set()

        sent = self.send(do, on={"*": gather}, **arguments)
        in_time = ended.wait(timeout)
        if errors:
            sent.cancel()
            raise errors[0]
        if not in_time:
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
        try:
            while data := self._received():
                self.requests.take(data)
                self._dispatch()
        finally:
            self._ended = True
            self._dispatch(partial(self.requests.lost, "The worker ended."))

    def _received(self) -> bytes:
        """Return what the worker wrote; nothing at the end of the pipe, or where it was closed."""
        assert self._process.stdout
        with suppress(OSError, ValueError):
            return self._process.stdout.read(1 << 16) or b""
        return b""

    def _dispatch(self, first: Callable[[], object] | None = None) -> None:
        """Dispatch all; a function that raises must not end the thread, or nobody would hear of anything again."""
        dispatch = first or self.requests.dispatch
        while True:
            try:
                dispatch()
            except BaseException as error:
                where = threading.current_thread()
                threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, where)))
                dispatch = self.requests.dispatch
            else:
                return

    def _read_log(self) -> None:
        assert self._process.stderr
        rest = b""
        with suppress(OSError, ValueError):
            while data := self._process.stderr.read(1 << 12):
                *lines, rest = (rest + data).split(b"\n")
                self._log.extend(line.decode("utf-8", "replace") for line in lines)
        if rest:
            self._log.append(rest.decode("utf-8", "replace"))
