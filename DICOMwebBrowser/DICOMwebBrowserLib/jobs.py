"""Transfers: what was asked for, how far it is, and what becomes of it. They outlive the window and the worker."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import local_state, texts
from DICOMwebBrowserLib.indexing import Indexing
from DICOMwebBrowserLib.settings import Settings
from DICOMwebBrowserLib.signals import Signal
from DICOMwebBrowserLib.worker import Worker

__all__ = ["ENDED", "Group", "Job", "Jobs"]

ENDED = frozenset({"done", "partial", "failed", "cancelled"})
"""States in which nothing happens any more."""

_ON_THEIR_WAY = frozenset({"waiting", "running", "paused"})
_numbers = itertools.count(1)


@dataclass(eq=False)
class Group:
    """Transfers that belong to one wish: what is to be loaded is loaded when all of them have come."""

    action: str
    jobs: list[Job] = field(default_factory=list)
    is_complete: bool = True
    """Whether no more are coming."""


@dataclass(eq=False)
class Job:
    """One transfer.

    Attributes
    ----------
    do
        ``retrieve`` or ``store``.
    title, server_name
        For people.
    arguments
        Of the request to the worker.
    state
        ``waiting``, ``running``, ``paused``, ``indexing``, ``ready`` (to be loaded), ``loading``, or one of
        :data:`ENDED`.
    progress, report, error
        The last of the worker's.
    results, settled
        What became of each object; how many of them, at the beginning, are not asked for again.
    kept
        Its name in the worker's list on disk.
    has_part
        Whether the database has some of what is to be retrieved, so that only the rest is asked for.
    own_folders
        Folders that were made for it, and that go with it.
    wants
        ``cancel`` or ``pause`` where a person asked for that; the worker may end before it does it.
    """

    do: str
    title: str
    server_name: str
    arguments: dict[str, Any]
    group: Group
    state: str = "waiting"
    progress: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)
    settled: int = 0
    kept: str = ""
    note: str = ""
    sign_in: dict[str, Any] = field(default_factory=dict)
    has_part: bool = False
    own_folders: list[str] = field(default_factory=list)
    number: int = field(default_factory=lambda: next(_numbers))
    sent: Any = None
    wants: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing happens any more."""
        return self.state in ENDED

    @property
    def series(self) -> str:
        """UID of the series that is retrieved."""
        return str(self.arguments.get("series") or "")

    @property
    def directory(self) -> str:
        """Where the files come to."""
        return str(self.arguments.get("directory") or "")

    @property
    def is_verified(self) -> bool:
        """Whether all that there is came, and was checked."""
        return self.do == "retrieve" and self.state == "done" and bool(self.report)


class Jobs:
    """The list of transfers.

    Parameters
    ----------
    worker, indexing, settings
        Who does the work, who puts files into the database, where wishes are kept over a restart.
    load
        Loads series into the scene; takes their UIDs, returns what to say of it and whether it is an error.

    Attributes
    ----------
    added, changed, removed
        Signals (job).
    failed
        Signal (job): it needs a person, e.g. a password.
    """

    def __init__(
        self, worker: Worker, indexing: Indexing, settings: Settings, load: Callable[[list[str]], tuple[str, bool]]
    ) -> None:
        self._worker, self._indexing, self._settings, self._load = worker, indexing, settings, load
        self.added, self.changed, self.removed, self.failed = Signal(), Signal(), Signal(), Signal()
        self.jobs: list[Job] = []
        worker.restarted.connect(self._resume_all)
        worker.failed.connect(self._worker_failed)

    @property
    def running(self) -> list[Job]:
        """Those that have not ended."""
        return [job for job in self.jobs if not job.has_ended]

    def begin(self, job: Job) -> None:
        """Begin a transfer; one that has ended, because everything is here already, is listed only."""
        job.group.jobs.append(job)
        self._add(job)
        if not job.has_ended and job.state != "ready":
            self._ask(job)

    def take_over(self, series: set[str], group: Group) -> set[str]:
        """Let transfers that have not ended belong to another wish: what is only being downloaded is to be loaded, too.

        Returns which of the series they are.
        """
        found = [job for job in self.running if job.do == "retrieve" and job.series in series]
        for job in found:
            if group.action != "load":
                continue  # what is to be loaded is downloaded as well
            before, job.group = job.group, group
            before.jobs.remove(job)
            group.jobs.append(job)
            if job.kept:
                self._kept(job, job.kept)
            self._group_moved(before)
        return {job.series for job in found}

    def complete(self, group: Group) -> None:
        """Say that no more transfers are coming to a group; what is ready may be loaded then."""
        group.is_complete = True
        self._group_moved(group)

    def pause(self, job: Job) -> None:
        """Pause a transfer."""
        job.wants = "pause"
        if job.sent is not None:
            job.sent.pause()
        elif job.state == "waiting":
            self._set(job, "paused")

    def resume(self, job: Job) -> None:
        """Go on with a paused transfer; ask again where the worker that paused it is gone."""
        job.wants = ""
        if job.sent is not None:
            job.sent.resume()
        elif job.state == "paused":
            self._set(job, "waiting")
            self._ask(job)

    def cancel(self, job: Job) -> None:
        """Cancel a transfer; what has come stays, and a retry goes on from there."""
        job.wants = "cancel"
        if job.sent is not None and not job.sent.ended:
            job.sent.cancel()
        elif job.state in _ON_THEIR_WAY:
            self._set(job, "cancelled")
            self._group_moved(job.group)

    def retry(self, job: Job) -> None:
        """Ask again for what failed or was cancelled; what is there is not fetched or sent again."""
        if not job.has_ended:
            return
        job.error, job.report, job.note, job.progress, job.wants = {}, {}, "", {}, ""
        if job.do == "store" and job.state == "partial":
            _narrow(job)
        del job.results[job.settled :]
        job.state = "waiting"
        self._ask(job)
        self.changed.emit(job)

    def retry_signed_in(self, server: dict[str, Any]) -> None:
        """Ask again for all that failed for want of a secret of a server."""
        for job in list(self.jobs):
            if job.state == "failed" and job.error.get("needs") and _address(job) == server.get("url"):
                self.retry(job)

    def remove(self, job: Job) -> None:
        """Take a transfer that has ended off the list, and forget it for good."""
        if job.has_ended and job in self.jobs:
            self.jobs.remove(job)
            self._forget(job)
            _discard_folders(job)
            self.removed.emit(job)

    def remove_ended(self) -> None:
        """Take all that ended well, or were cancelled, off the list."""
        for job in [job for job in self.jobs if job.state in ("done", "cancelled")]:
            self.remove(job)

    def close(self) -> None:
        """Remove what was made for transfers; nothing of a scene stays on the disk when Slicer has ended."""
        for job in self.jobs:
            _discard_folders(job)

    def load_unfinished(self) -> None:
        """Take up what an earlier session of Slicer left unfinished."""
        self._worker.ask("jobs", {"done": lambda event: self._unfinished(event["result"].get("jobs", []))})

    # ------------------------------------------------------------------ the worker

    def _add(self, job: Job) -> None:
        self.jobs.append(job)
        self.added.emit(job)

    def _set(self, job: Job, state: str) -> None:
        job.state = state
        if job.has_ended:
            job.progress["bytes_per_second"] = job.progress["seconds_left"] = None
        self.changed.emit(job)

    def _ask(self, job: Job) -> None:
        """Send a transfer; of what is here in part, find out first what is missing."""
        if job.has_part and not job.arguments.get("instances"):
            self._look(job)
        else:
            self._send(job)

    def _look(self, job: Job) -> None:
        items: list[dict[str, Any]] = []
        job.note = _("Comparing with what is in the database...")
        job.sent = self._worker.ask(
            "search",
            {
                "results": lambda event: items.extend(event["items"]),
                "sign-in": lambda event: self._sign_in(job, event),
                "done": lambda event: self._looked(job, [str(one.get("SOPInstanceUID") or "") for one in items]),
                "failed": lambda event: self._not_looked(job, event["error"]),
                "cancelled": lambda event: self._cancelled(job),
            },
            server=job.arguments["server"],
            level="instance",
            study=job.arguments["study"],
            series=job.series,
        )

    def _looked(self, job: Job, listed: list[str]) -> None:
        if self._is_held(job):
            return
        base = local_state.database()
        here = set(base.instancesForSeries(job.series)) if base else set()
        missing = [uid for uid in listed if uid and uid not in here]
        job.sent, job.note, job.sign_in = None, "", {}
        if listed and not missing:
            job.note = _("It was in the database already.")
            self._set(job, "ready" if job.group.action == "load" else "done")
            self._group_moved(job.group)
            return
        if len(missing) < len(listed):
            job.arguments["instances"] = missing
            count = len(listed) - len(missing)
            job.note = texts.count(
                count, _("{n} object was in the database already."), _("{n} objects were in the database already.")
            )
        self._send(job)
        self.changed.emit(job)

    def _not_looked(self, job: Job, error: dict[str, Any]) -> None:
        """Fetch all of it where the server does not say what it has; where it is not reached, the transfer says so."""
        if error.get("kind") == "WorkerLost":
            self._failed(job, error)
        elif not self._is_held(job):
            job.sent, job.note = None, ""
            self._send(job)

    def _is_held(self, job: Job) -> bool:
        """Cancel or pause a transfer whose answer was on its way when a person asked for that; return whether so."""
        if not job.wants:
            return False
        job.sent, job.note, job.sign_in = None, "", {}
        self._set(job, "cancelled" if job.wants == "cancel" else "paused")
        self._group_moved(job.group)
        return True

    def _send(self, job: Job) -> None:
        arguments = dict(job.arguments)
        if job.do == "retrieve":
            arguments |= {"keep": True, "job": job.kept or None}
        job.sent = self._worker.ask(
            job.do,
            {
                "kept": lambda event: self._kept(job, event["job"]),
                "state": lambda event: self._set(job, event["state"]),
                "progress": lambda event: self._progress(job, event),
                "files": lambda event: self._indexing.add(event["files"]),
                "results": lambda event: self._results(job, event["items"]),
                "told": lambda event: self._told(job, event["text"]),
                "sign-in": lambda event: self._sign_in(job, event),
                "done": lambda event: self._done(job, event.get("result") or {}),
                "failed": lambda event: self._failed(job, event["error"]),
                "cancelled": lambda event: self._cancelled(job),
            },
            **arguments,
        )

    def _kept(self, job: Job, name: str) -> None:
        """Remember what the person wants with it; who the patient is, the worker's list and the settings do not say."""
        job.kept = name
        wishes = self._settings.value("Wishes", {})
        wishes[name] = job.group.action
        self._settings.set_value("Wishes", wishes)

    def _forget(self, job: Job) -> None:
        if job.kept:
            wishes = self._settings.value("Wishes", {})
            if wishes.pop(job.kept, None) is not None:
                self._settings.set_value("Wishes", wishes)
            if job.state != "done":
                self._worker.ask("forget", job=job.kept)
            job.kept = ""

    def _progress(self, job: Job, event: dict[str, Any]) -> None:
        job.progress = {key: value for key, value in event.items() if key not in ("event", "id")}
        if job.state == "waiting":
            job.state = "running"
        self.changed.emit(job)

    def _results(self, job: Job, items: list[dict[str, Any]]) -> None:
        job.results.extend(items)
        self.changed.emit(job)

    def _told(self, job: Job, text: str) -> None:
        job.note = text
        self.changed.emit(job)

    def _sign_in(self, job: Job, event: dict[str, Any]) -> None:
        job.sign_in = event
        self.failed.emit(job)

    def _done(self, job: Job, report: dict[str, Any]) -> None:
        job.report, job.sent, job.sign_in = report, None, {}
        is_partial = any(report.get(key) for key in ("missing", "failed", "unconfirmed"))
        if job.do == "store":
            if not is_partial:
                _discard_folders(job)
            self._set(job, "partial" if is_partial else "done")
            return
        if is_partial:
            job.note = str(report.get("summary") or "")
        self._set(job, "indexing")
        self._indexing.when_done(lambda: self._indexed(job, is_partial))

    def _indexed(self, job: Job, is_partial: bool) -> None:
        wants_load = job.group.action == "load"
        if not is_partial and not wants_load:
            self._forget_wish(job)
        self._set(job, "ready" if wants_load and not is_partial else "partial" if is_partial else "done")
        self._group_moved(job.group)

    def _forget_wish(self, job: Job) -> None:
        wishes = self._settings.value("Wishes", {})
        if wishes.pop(job.kept, None) is not None:
            self._settings.set_value("Wishes", wishes)

    def _failed(self, job: Job, error: dict[str, Any]) -> None:
        job.sent = None
        if error.get("kind") == "WorkerLost":
            del job.results[job.settled :]
            if not self._is_held(job):
                self._set(job, "waiting")  # sent again when the worker is back
            return
        job.error = error
        self._set(job, "failed")
        self._group_moved(job.group)
        self.failed.emit(job)

    def _cancelled(self, job: Job) -> None:
        job.sent = None
        self._set(job, "cancelled")
        self._group_moved(job.group)

    # ------------------------------------------------------------------ after it

    def _group_moved(self, group: Group) -> None:
        """Load what came, once nothing of the group is on its way: a segmentation wants its images first."""
        ready = [job for job in group.jobs if job.state == "ready"]
        is_waiting = any(job.state in (*_ON_THEIR_WAY, "indexing") for job in group.jobs)
        if not ready or is_waiting or not group.is_complete:
            return
        for job in ready:
            self._set(job, "loading")
        said, is_error = self._load([job.series for job in ready if job.series])
        for job in ready:
            job.note = said if is_error or job is ready[0] else ""
            if is_error:
                job.error = {"kind": "LoadError", "message": said, "details": "", "needs": []}
            self._forget_wish(job)
            self._set(job, "failed" if is_error else "done")

    def _resume_all(self) -> None:
        for job in self.jobs:
            if job.state == "waiting" and job.sent is None:
                self._ask(job)

    def _worker_failed(self, message: str, details: str) -> None:
        lost = [job for job in self.jobs if job.state in _ON_THEIR_WAY]
        for job in lost:
            job.error = {"kind": "WorkerLost", "message": message, "details": details, "needs": []}
            self._set(job, "failed")
        for group in dict.fromkeys(job.group for job in lost):
            self._group_moved(group)

    def _unfinished(self, entries: list[dict[str, Any]]) -> None:
        wishes = self._settings.value("Wishes", {})
        known = {job.kept for job in self.jobs if job.kept}
        there = known | {str(entry.get("job") or "") for entry in entries}
        # Of what had come, but was not loaded before Slicer ended, nothing is left to be done.
        self._settings.set_value("Wishes", {name: wish for name, wish in wishes.items() if name in there})
        for entry in entries:
            name = str(entry.get("job") or "")
            if entry.get("do") != "retrieve" or name in known or entry.get("state") == "running":
                continue
            arguments = {key: value for key, value in entry["arguments"].items() if key not in ("keep", "job")}
            server = arguments.get("server")
            job = Job(
                "retrieve",
                title_of_unfinished(arguments),
                str(server.get("name") or server.get("url")) if isinstance(server, dict) else str(server),
                arguments,
                Group(str(wishes.get(name, "download"))),
                kept=name,
            )
            job.group.jobs.append(job)
            job.error = entry.get("error") or {}
            is_interrupted = entry.get("state") == "interrupted"
            job.state = "waiting" if is_interrupted else str(entry.get("state") or "failed")
            job.note = _("Begun before Slicer was restarted.")
            self._add(job)
            if is_interrupted:
                self._send(job)


def _address(job: Job) -> str:
    server = job.arguments.get("server")
    return str(server.get("url") or "") if isinstance(server, dict) else str(server or "")


def _narrow(job: Job) -> None:
    """Leave of a store that came to its end only what failed; of one that did not, nobody knows what it did not try."""
    again = [one for one in job.results if one.get("state") in ("failed", "unconfirmed")]
    if again and all(one.get("path") for one in again):
        job.results = [one for one in job.results if one not in again]
        job.arguments["paths"] = [str(one["path"]) for one in again]
        job.settled = len(job.results)


def _discard_folders(job: Job) -> None:
    for folder in job.own_folders:
        qt.QDir(folder).removeRecursively()
    job.own_folders.clear()


def title_of_unfinished(arguments: dict[str, Any]) -> str:
    """Return a title for what was begun earlier: settings and job list do not say what it was, the database may."""
    series = str(arguments.get("series") or "")
    base = local_state.database()
    described = str(base.descriptionForSeries(series)) if base and series else ""
    return described or _("Series ...{end}").format(end=(series or str(arguments.get("study") or ""))[-12:])
