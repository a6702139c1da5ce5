"""The worker itself: reads lines, starts jobs, and ends when nobody is there any more."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO

from dicombridge.web import secrets
from dicombridge.web.worker import protocol
from dicombridge.web.worker.handlers import HANDLERS, error_of, resolve
from dicombridge.web.worker.jobs import JobList, default_state_folder
from dicombridge.web.worker.output import Lines, Ticker
from dicombridge.web.worker.protocol import BadRequestError, Request
from dicombridge.web.worker.scheduling import TRANSFERS, Job, Scheduler

__all__ = ["Worker", "lines_of", "serve"]

Handler = Callable[[Job, JobList], Any]

FAREWELL = 1.0
"""Seconds that jobs have to end when the client is gone."""

_LOG = logging.getLogger(__name__)


class Worker:
    """Takes requests, and sends events.

    Parameters
    ----------
    write
        Takes a line (bytes) to the client, all of it.
    state
        Folder of the job list.
    transfers
        How many run at once.
    handlers
        ``{command: function of the job and the job list}``; those of the engine by default.
    broken
        Called when the client does not read any more.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        state: Path,
        transfers: int = TRANSFERS,
        handlers: Mapping[str, Handler] = HANDLERS,
        broken: Callable[[], object] = lambda: None,
    ) -> None:
        self.jobs = JobList(state)
        self._handlers = handlers
        self._lines = Lines(write, broken)
        self._ticker = Ticker()
        self._scheduler = Scheduler(self._run, error_of, transfers)
        self._number = 0
        self._secrets: list[secrets.Secret] = []  # those that were forgotten are not for the log either

    def greet(self) -> None:
        """Say that the worker is ready."""
        from dicombridge import __version__

        self._lines.send({"event": "ready", "version": __version__, "pid": os.getpid(), "protocol": protocol.VERSION})

    def take(self, line: bytes | None) -> None:
        """Handle one line of the client; None stands for one that was too long. Never raises."""
        if line is not None and not line.strip():
            return
        try:
            request = protocol.parse(line if line is not None else b" " * (protocol.MAXIMUM_LINE + 1))
        except BadRequestError as error:
            at_work = error.id is not None and self._scheduler.find(error.id)
            id = None if at_work else error.id
            self._lines.send({"id": id, "event": "failed", "error": error_of(error)})
            return
        if self._scheduler.find(request.id):
            repeated = BadRequestError(f"The id {request.id!a} is that of a request which is still at work.")
            self._lines.send({"id": None, "event": "failed", "error": error_of(repeated)})
            return
        self._begin(request)

    def close(self) -> bool:
        """Cancel all jobs; those that are kept are listed as interrupted. Returns whether all threads have ended."""
        self._ticker.close()
        ended = self._scheduler.close(FAREWELL)
        self.jobs.close()
        return ended

    def _begin(self, request: Request) -> None:
        self._number += 1
        job = Job(request, self._lines, self._ticker, self._number)
        try:
            if request.do in ("cancel", "pause", "resume", "priority"):
                job.end("done", result={"found": self._steer(request)})
            elif request.do == "secret" and not self._needs_keychain(request):
                job.end("done", result={})
            elif request.command.lane == "now":
                job.end("done", result=self._handlers[request.do](job, self.jobs))
            else:
                self._prepare(job)
                self._scheduler.add(job)
        except Exception as error:  # e.g. the server of a request is none, or the job list cannot be written
            job.end("failed", error=error_of(error))

    def _needs_keychain(self, request: Request) -> bool:
        """Put a secret where the next request finds it; return whether the keychain has to be asked too."""
        given = request.arguments
        if given["value"] is None:
            return True
        secret = secrets.Secret(given["value"])
        self._secrets.append(secret)
        secrets.set_secret(resolve(given["server"]), given["field"], secret)
        return bool(given["keep"])

    def _steer(self, request: Request) -> bool:
        job = self._scheduler.find(request.arguments["job"])
        if job is None:
            return False
        if request.do == "cancel":
            self._scheduler.cancel(job)
        elif job.request.command.lane != "transfer":
            raise BadRequestError(f"{job.request.do} cannot be paused, and has no priority; retrieve and store can.")
        elif request.do == "priority":
            self._scheduler.set_priority(job, request.arguments["priority"])
        else:
            self._scheduler.hold(job, request.do == "pause")
        return True

    def _prepare(self, job: Job) -> None:
        """Check what can be checked at once, and write jobs that are kept to the list."""
        given = job.request.arguments
        if job.request.command.lane != "transfer":
            return
        server = resolve(given["server"])
        if job.place:
            job.place = os.path.normcase(os.path.realpath(job.place))
        if given.get("keep") or given.get("job"):
            given["keep"] = True
            known = {name: value for name, value in given.items() if value is not None and name != "job"}
            try:
                name = self.jobs.add(job.request.do, {**known, "server": server.to_json()}, given["job"])
            except OSError as error:
                job.tell(f"The job list cannot be written ({error.strerror}): this will not be listed after a restart.")
                return
            job.emit("kept", job=name)
            job.on_end = lambda end: self._note(name, end)

    def _note(self, name: str, end: dict[str, Any]) -> None:
        """Write to the job list how a job ended, unless it ended because the worker does."""
        if self._scheduler.closing and end["event"] != "done":
            return
        try:
            if end["event"] == "done" and not (end["result"].get("missing") or end["result"].get("failed")):
                self.jobs.remove(name)
            elif end["event"] == "done":
                self.jobs.leave(name, "partial")
            else:
                error = end.get("error")
                self.jobs.leave(name, end["event"], error and {key: error[key] for key in ("kind", "message")})
        except OSError as error:
            _LOG.warning("The job list could not be written: %s", error.strerror)

    def _run(self, job: Job) -> Any:
        from dicombridge.web.authentication.base import sign_ins_told

        with sign_ins_told(lambda sign_in: job.emit("sign-in", **sign_in.to_json())):
            return self._handlers[job.request.do](job, self.jobs)


# The process ------------------------------------------------------------------------------------------------------


def lines_of(stream: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines of a stream, None for one that is too long, of which nothing is kept."""
    while line := stream.readline(protocol.MAXIMUM_LINE + 1):
        if len(line) <= protocol.MAXIMUM_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(1 << 20)
        yield None


def serve(
    state: Path | None = None, transfers: int = TRANSFERS, handlers: Mapping[str, Handler] = HANDLERS
) -> NoReturn:
    """Serve on stdin and stdout until stdin closes, then end the process."""
    source, write = _take_over()
    _log_to(sys.stderr)
    gone = threading.Event()

    def broken() -> None:
        # The reading thread sits in a read that nothing interrupts.
        if not gone.is_set():
            gone.set()
            threading.Thread(target=leave, name="leave", daemon=True).start()

    def leave() -> None:
        worker.close()
        os._exit(0)

    worker = Worker(write, state or default_state_folder(), transfers, handlers, broken)
    worker.greet()
    with suppress(KeyboardInterrupt):
        for line in lines_of(source):
            worker.take(line)
    # A client that does not read would keep a job in its write, and the end of the process waiting for it.
    gone.set()
    last = threading.Timer(FAREWELL + 1, os._exit, [0])
    last.daemon = True
    last.start()
    worker.close()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    # Without the interpreter's end, which waits for the threads of pools: they may hang in a socket or a name look-up.
    os._exit(0)


def _take_over() -> tuple[BinaryIO, Callable[[bytes], object]]:
    """Return stdin and a function that writes stdout, and put both out of reach of everybody else.

    What libraries and children print goes to stderr, and children find nothing to read: a line of theirs among ours
    would be nonsense to the client, and a line of ours in their stdin would be lost.
    """
    source_file, target_file = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with suppress(OSError):
        os.dup2(2, 1)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # until the process ends
    sys.stdout = sys.stderr
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(source_file, os.O_BINARY)
        msvcrt.setmode(target_file, os.O_BINARY)

    def write(line: bytes) -> None:
        view = memoryview(line)
        while view:
            view = view[os.write(target_file, view) :]

    return os.fdopen(source_file, "rb", buffering=1 << 16), write


def _log_to(stream: TextIO) -> None:
    class Hiding(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return secrets.hidden(super().format(record))

    handler = logging.StreamHandler(stream)
    handler.setFormatter(Hiding("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # These two write addresses, with what follows the question mark, where somebody sets the level lower.
    for name in ("urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.ERROR)
