"""The worker process, which does all that takes time: started, watched and, when it dies, started again."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from dicombridge.web.worker.client import Requests, Sent, worker_arguments, worker_environment
from DICOMwebBrowserLib.pacing import SLICE, Delay
from DICOMwebBrowserLib.signals import Signal

__all__ = ["Worker", "python_program"]

_RESTARTS = 3
"""Times in a row that a worker which ends at once is started again."""

_SETTLED = 20.0
"""Seconds after which a worker that ends did not end at once."""

_SILENCE = 30.0
"""Seconds without an answer to a ping after which a worker is taken for stuck, and ended."""

_LINES_OF_LOG = 200


def python_program() -> str:
    """Return the Python that runs the worker: Slicer's own, with the packages that come with it."""
    return shutil.which("PythonSlicer") or sys.executable


class Worker:
    """One worker process behind a QProcess.

    Parameters
    ----------
    program, arguments
        What to run; by default the worker of :mod:`dicombridge.web`.

    Attributes
    ----------
    died
        Signal (text): the process ended by itself and is started again; its requests have ended with ``failed``.
    restarted
        Signal: requests can be sent again.
    failed
        Signal (message, details): it cannot be started, and no other attempt is made.
    sign_in
        Signal (event with ``url`` and ``code``): a request waits for somebody to sign in; empty when it has ended.
    """

    def __init__(self, program: str = "", arguments: list[str] | None = None) -> None:
        self._program, self._arguments = program, arguments
        self.died, self.restarted, self.failed, self.sign_in = Signal(), Signal(), Signal(), Signal()
        self.requests = Requests(self._write, {"lost": lambda event: None, "broken": self._broken})
        self._process: Any = None
        self._dead: Any = None
        self._log: deque[str] = deque(maxlen=_LINES_OF_LOG)
        self._started_at, self._restarts, self._closing, self._has_started = 0.0, 0, False, False
        self._asked_at: float | None = None
        self._dispatch_timer = qt.QTimer()
        self._dispatch_timer.interval = 1
        self._dispatch_timer.timeout.connect(self._dispatch)
        self._watch_timer = qt.QTimer()
        self._watch_timer.interval = 5000
        self._watch_timer.timeout.connect(self._watch)
        self._restart_delay = Delay(0, self._restart)

    @property
    def log(self) -> str:
        """The last lines that the worker wrote to its log."""
        return "\n".join(self._log)

    @property
    def pid(self) -> int:
        """Of the process; 0 where none runs."""
        return int(self._process.processId()) if self.is_running else 0

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.state() != qt.QProcess.NotRunning

    def ask(self, do: str, on: Mapping[str, Callable[[Any], Any]] | None = None, **arguments: Any) -> Sent:
        """Send a request; the process is started where there is none. Never waits."""
        if not self.is_running:
            self._start()
        return self.requests.send(do, on=self._with_sign_in(on or {}), **arguments)

    def _with_sign_in(self, on: Mapping[str, Callable[[Any], Any]]) -> Mapping[str, Callable[[Any], Any]]:
        """Any request may wait for somebody to sign in; what does not show that itself is shown by the window."""
        if "sign-in" in on:
            return on
        is_shown: list[bool] = []

        def show(event: Any) -> None:
            is_shown.append(True)
            self.sign_in.emit(event)

        def ended(event: Any) -> None:
            if is_shown:
                self.sign_in.emit({})
            if "ended" in on:
                on["ended"](event)

        return {**on, "sign-in": show, "ended": ended}

    def close(self) -> None:
        """End the process: what has come stays, and transfers are resumed by the next one."""
        self._closing = True
        for timer in (self._dispatch_timer, self._watch_timer):
            timer.stop()
        self._restart_delay.stop()
        if self.is_running:
            self._process.closeWriteChannel()  # it ends itself then
            if not self._process.waitForFinished(500):
                self._process.kill()
                self._process.waitForFinished(500)
        self._process = None

    # ------------------------------------------------------------------ process

    def _start(self) -> None:
        self._closing = False
        self._process = process = qt.QProcess()
        environment = qt.QProcessEnvironment.systemEnvironment()
        for name, value in worker_environment().items():
            environment.insert(name, value)
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_log)
        process.started.connect(self._started)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._error)
        self._started_at, self._asked_at, self._has_started = time.monotonic(), None, False
        arguments = worker_arguments() if self._arguments is None else self._arguments
        process.start(self._program or python_program(), arguments)
        self._watch_timer.start()

    def _write(self, line: bytes) -> None:
        if not self.is_running:
            raise BrokenPipeError
        self._process.write(qt.QByteArray(line))

    def _read(self, *_args: Any) -> None:
        if self._process is not None:
            self._asked_at = None
            self.requests.take(self._process.readAllStandardOutput().data())
            self._dispatch_timer.start()

    def _dispatch(self) -> None:
        if not self.requests.dispatch(SLICE):
            self._dispatch_timer.stop()

    def _read_log(self, *_args: Any) -> None:
        if self._process is not None:
            text = self._process.readAllStandardError().data().decode("utf-8", "replace")
            self._log.extend(text.splitlines())

    def _broken(self, event: Any) -> None:
        import logging

        logging.getLogger(__name__).error("DICOMwebBrowser: an answer was not understood.", exc_info=event["error"])

    # ------------------------------------------------------------------ its end

    def _error(self, *_args: Any) -> None:
        """Of the errors, only that of a program that cannot be started is not followed by ``finished``.

        Which error it is cannot be asked: in Qt 5, ``error`` is a signal as well.
        """
        if not self._has_started:
            self._finished()

    def _started(self, *_args: Any) -> None:
        self._has_started = True

    def _finished(self, *_args: Any) -> None:
        if self._closing or self._process is None:
            return
        self._read()
        self._read_log()
        # This is called by the process: it must not go while it still speaks.
        self._dead, self._process = self._process, None
        self._watch_timer.stop()
        self._restarts = 0 if time.monotonic() - self._started_at > _SETTLED else self._restarts + 1
        self.requests.lost(_("The process that talks to servers ended."))
        if self._restarts > _RESTARTS:
            self._restarts = 0
            self.failed.emit(_("The process that talks to servers cannot be kept running."), self.log)
            return
        if self._restarts <= 1:
            self.died.emit(_("The process that talks to servers ended unexpectedly and was started again."))
        self._restart_delay.start(0 if self._restarts <= 1 else 500 * 2**self._restarts)

    def _restart(self) -> None:
        if not self.is_running:
            self._start()
        self.restarted.emit()

    def _watch(self) -> None:
        """Ask now and then whether it is alive; a worker that is stuck is ended, and so started again."""
        if not self.is_running:
            return
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self.requests.send("ping")
        elif time.monotonic() - self._asked_at > _SILENCE:
            self._process.kill()
