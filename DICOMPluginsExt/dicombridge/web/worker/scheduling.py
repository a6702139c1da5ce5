"""Who goes first: transfers have a few places and priorities, everything else goes beside them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from dicombridge.errors import CancelledError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.worker.output import Batches, Latest, Lines, Ticker
from dicombridge.web.worker.protocol import ENDS, Request

__all__ = ["Job", "Scheduler"]

QUICK = 6
"""How many searches, details, thumbnails and the like run at once."""

TRANSFERS = 2
"""How many retrievals and stores run at once."""

GRACE = 0.1
"""Seconds that a cancelled job has to end by itself, before the client is told that it has ended."""


class Job:
    """A request at work, and the way of its events to the client.

    Attributes
    ----------
    cancel
        Stops and pauses what runs.
    place
        What no two jobs may use at once, e.g. the directory; "" where there is no such thing.
    """

    def __init__(self, request: Request, lines: Lines, ticker: Ticker, number: int = 0) -> None:
        self.request, self.number = request, number
        self.cancel = Cancel()
        self.priority = int(request.arguments.get("priority") or 0)
        self.place = str(request.arguments.get("directory") or "")
        self.on_end: Callable[[dict[str, Any]], object] | None = None
        self.held = False  # by the person; the scheduler itself makes transfers wait too
        self.state = ""
        self._lines = lines
        self._lock = threading.RLock()
        self._ended = False
        self.results = Batches(lambda items: self.emit("results", items=items), ticker)
        self.files = Batches(lambda files: self.emit("files", files=files), ticker)
        self.progress = Latest(lambda values: self.emit("progress", **values), ticker)

    @property
    def ended(self) -> bool:
        """Whether the client was told the end."""
        return self._ended

    def emit(self, event: str, **members: Any) -> None:
        """Send an event, unless the request has ended."""
        with self._lock:
            if not self._ended:
                self._lines.send({"id": self.request.id, "event": event, **members})

    def tell(self, text: str) -> None:
        """Send a sentence for the person."""
        self.emit("told", text=str(text))

    def set_state(self, state: str) -> None:
        """Send ``waiting``, ``running`` or ``paused`` where that is new."""
        with self._lock:
            if state != self.state:
                self.state = state
                self.emit("state", state=state)

    def end(self, event: str, **members: Any) -> None:
        """Send the last event; a second end does nothing."""
        assert event in ENDS
        if event != "cancelled":
            for held in (self.results, self.files, self.progress):
                held.flush()
        with self._lock:
            if self._ended:
                return
            if self.on_end is not None:
                self.on_end({"event": event, **members})
            self.emit(event, **members)
            self._ended = True


class Scheduler:
    """Runs jobs in threads.

    Parameters
    ----------
    run
        Does a job; returns the result.
    failed
        Makes ``error`` of an exception.
    transfers
        How many transfers run at once.
    """

    def __init__(
        self, run: Callable[[Job], Any], failed: Callable[[BaseException], dict[str, Any]], transfers: int = TRANSFERS
    ) -> None:
        self._run, self._failed, self._places = run, failed, {"quick": QUICK, "transfer": transfers}
        self._lock = threading.RLock()
        self._waiting: list[Job] = []
        self._threads: dict[Job, threading.Thread] = {}
        self._jobs: dict[str, Job] = {}
        self.closing = False

    def add(self, job: Job) -> None:
        """Take a job; it runs when it is its turn."""
        with self._lock:
            self._jobs[job.request.id] = job
            if job.request.command.lane == "transfer":
                job.set_state("waiting")
            self._waiting.append(job)
            self._schedule()

    def find(self, id: str) -> Job | None:
        """Return the job of a request that has not ended."""
        with self._lock:
            job = self._jobs.get(id)
            return None if job is None or job.ended else job

    def cancel(self, job: Job) -> None:
        """End a job: at once where it waits, soon where it runs, and for the client in any case."""
        with self._lock:
            if job in self._waiting:
                self._waiting.remove(job)
                self._forget(job)
                job.cancel.cancel()
                job.end("cancelled")
                return
        # Shutting sockets may take a while itself, and the next line of the client must not wait for that.
        timer = threading.Timer(GRACE, self._abandon, [job])
        timer.daemon = True
        timer.start()
        threading.Thread(target=job.cancel.cancel, name=f"cancel {job.request.id}", daemon=True).start()

    def hold(self, job: Job, held: bool) -> None:
        """Pause a transfer for the person, or let it go on; its place goes to the next one."""
        with self._lock:
            job.held = held
            self._schedule()

    def set_priority(self, job: Job, priority: int) -> None:
        """Change the place of a transfer among the others."""
        with self._lock:
            job.priority = priority
            self._schedule()

    def close(self, seconds: float) -> bool:
        """Cancel everything. Returns whether all threads have ended.

        Parameters
        ----------
        seconds
            For all threads together.
        """
        with self._lock:
            self.closing = True
            jobs = [*self._waiting, *self._threads]
            threads = list(self._threads.values())
        for job in jobs:
            self.cancel(job)
        stop = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(stop - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in threads)

    # What follows is called with the lock held.

    def _schedule(self) -> None:
        if self.closing:
            return
        running = [job for job in self._threads if not job.ended]
        quick = sum(job.request.command.lane == "quick" for job in running)
        waiting = [job for job in self._waiting if job.request.command.lane == "quick"]
        for job in sorted(waiting, key=lambda job: (job.request.command.urgency, job.number)):
            if quick >= self._places["quick"]:
                break
            quick += 1
            self._start(job)
        self._schedule_transfers()

    def _schedule_transfers(self) -> None:
        """Give the places to the transfers of the highest priority; who loses its place waits where it is."""
        all_jobs = [job for job in [*self._threads, *self._waiting] if job.request.command.lane == "transfer"]
        going: list[Job] = []
        for job in sorted((job for job in all_jobs if not job.ended), key=lambda job: (-job.priority, job.number)):
            # A job that was abandoned, or waits in the middle, still has its files open.
            taken = any(other.place == job.place for other in self._threads if job.place and other is not job)
            starts_taken = job not in self._threads and (taken or any(o.place == job.place != "" for o in going))
            if job.held or starts_taken or len(going) >= self._places["transfer"]:
                continue
            going.append(job)
        for job in all_jobs:
            if job.ended or job in going:
                continue
            if job in self._threads:
                job.cancel.pause()
            job.set_state("paused" if job.held else "waiting")
        for job in going:
            if job in self._threads:
                job.cancel.resume()
                job.set_state("running")
            else:
                self._start(job)

    def _start(self, job: Job) -> None:
        self._waiting.remove(job)
        thread = threading.Thread(target=self._work, args=[job], name=f"job {job.request.id}", daemon=True)
        self._threads[job] = thread
        if job.request.command.lane == "transfer":
            job.set_state("running")
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            del self._threads[job]
            self._forget(job)
            job.end("failed", error=self._failed(error))

    def _forget(self, job: Job) -> None:
        if self._jobs.get(job.request.id) is job:
            del self._jobs[job.request.id]

    # Threads of jobs.

    def _work(self, job: Job) -> None:
        try:
            try:
                result = self._run(job)
            except CancelledError as error:
                report = getattr(error, "report", None)
                job.end("cancelled", **({"result": report.to_json()} if report is not None else {}))
            except BaseException as error:  # what a job cannot do must not end the worker
                if job.cancel.cancelled:  # its sockets were shut under it
                    job.end("cancelled")
                else:
                    job.end("failed", error=self._failed(error))
            else:
                job.end("done", result=result)
        finally:
            with self._lock:
                self._threads.pop(job, None)
                self._forget(job)
                self._schedule()

    def _abandon(self, job: Job) -> None:
        """Tell the client that a job is cancelled, although its thread hangs."""
        job.end("cancelled")
        with self._lock:
            self._forget(job)
            self._schedule()
