"""The list of transfers: how far, how fast, how long still, and what can be done with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import local_state, texts, toolkit
from DICOMwebBrowserLib.jobs import Job
from DICOMwebBrowserLib.pacing import Delay, Pacer
from DICOMwebBrowserLib.session import Session
from DICOMwebBrowserLib.signals import Connections

__all__ = ["JobsPanel", "words_of"]

_DOT = " \N{MIDDLE DOT} "
_WAITING_ROWS = 10


def words_of(job: Job) -> str:
    """Return what a transfer is doing, in a line."""
    progress, state = job.progress, job.state
    if state == "failed":
        return str(job.error.get("message") or job.note or _("It failed."))
    if state == "cancelled":
        return _("Cancelled; what came is kept, and a retry goes on from there.")
    if state in ("done", "partial"):
        summary = str(job.report.get("summary") or "")
        return _DOT.join(part for part in (summary, job.note if job.note != summary else "") if part) or _("Done.")
    named = {"waiting": _("Waiting"), "paused": _("Paused"), "indexing": _("Putting it into the database...")}
    named |= {"ready": _("Waits for what belongs to it"), "loading": _("Loading...")}
    parts = [named.get(state, ""), _amount(progress)]
    if state == "running":
        left = texts.duration(progress.get("seconds_left"))
        parts += [texts.rate(progress.get("bytes_per_second")), _("{time} left").format(time=left) if left else ""]
    elif state == "waiting" and job.note:
        parts.append(job.note)
    return _DOT.join(part for part in parts if part)


def _amount(progress: dict[str, Any]) -> str:
    here, total = progress.get("instances"), progress.get("total_instances")
    if here is None:
        return ""
    counted = _("{n} of {total} objects").format(n=f"{here:,}", total=f"{total:,}") if total else f"{here:,}"
    size = texts.size(progress.get("bytes"))
    whole = texts.size(progress.get("total_bytes"))
    return _DOT.join(part for part in (counted, f"{size} / {whole}" if size and whole else size) if part)


def fraction(job: Job) -> float | None:
    """Return how far a transfer is, None where nobody knows."""
    for part, whole in (("bytes", "total_bytes"), ("instances", "total_instances")):
        if job.progress.get(whole):
            return min(1.0, (job.progress.get(part) or 0) / job.progress[whole])
    return None


class JobRow:
    """One transfer."""

    def __init__(self, job: Job, panel: JobsPanel) -> None:
        self.job = job
        self.widget = qt.QFrame()
        column = qt.QVBoxLayout(self.widget)
        toolkit.set_margins(column, 4, 6, 2, 6)
        column.spacing = 3
        top = qt.QHBoxLayout()
        top.spacing = 4
        self.icon = qt.QLabel()
        self.title = qt.QLabel(job.title)
        self.title.textFormat = qt.Qt.PlainText
        self.title.toolTip = f"{job.title}\n{job.server_name}\n{job.directory}".strip()
        self.title.sizePolicy = qt.QSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Preferred)
        jobs = panel.session.jobs
        self.pause = toolkit.button("pause", "", _("Pause"), self._pause_or_resume)
        self.retry = toolkit.button("retry", "", _("Try again"), lambda: panel.retry(job))
        self.folder = toolkit.button("folder", "", _("Open the folder"), lambda: panel.open_folder(job))
        self.cancel = toolkit.button("close", "", _("Cancel"), lambda: jobs.cancel(job))
        self.remove = toolkit.button("close", "", _("Take off the list"), lambda: jobs.remove(job))
        self._jobs = jobs
        top.addWidget(self.icon)
        top.addWidget(self.title, 1)
        for made in (self.pause, self.retry, self.folder, self.cancel, self.remove):
            top.addWidget(made)
        self.bar = qt.QProgressBar()
        self.bar.textVisible = False
        self.bar.maximumHeight = 6
        self.bar.accessibleName = _("Progress of {title}").format(title=job.title)
        self.text = toolkit.small(qt.QLabel())
        self.text.wordWrap = True
        self.text.textFormat = qt.Qt.PlainText
        column.addLayout(top)
        column.addWidget(self.bar)
        column.addWidget(self.text)
        self._state = ""
        self.show()

    def show(self) -> None:
        """Show the transfer as it is now."""
        job = self.job
        self.text.text = words_of(job)
        done = fraction(job)
        if job.has_ended or (done is None and job.state != "running"):
            self.bar.setRange(0, 1000)
        elif done is None:
            self.bar.setRange(0, 0)
        else:
            self.bar.setRange(0, 1000)
            self.bar.value = int(1000 * done)
        if job.state != self._state:
            self._state = job.state
            self._show_state()

    def _show_state(self) -> None:
        job, state = self.job, self.job.state
        self.pause.visible = state in ("running", "paused")
        self.pause.icon = toolkit.icon("play" if state == "paused" else "pause")
        self.pause.toolTip = self.pause.accessibleName = _("Go on") if state == "paused" else _("Pause")
        self.retry.visible = state in ("failed", "partial", "cancelled")
        self.folder.visible = bool(job.directory) and job.has_ended
        self.cancel.visible = state in ("waiting", "running", "paused")
        self.remove.visible = job.has_ended
        self.bar.visible = not job.has_ended
        kind = {"done": "good", "partial": "warning", "failed": "error"}.get(state, "")
        name = {"done": "verified", "partial": "part", "failed": "warning", "cancelled": "close"}.get(state, "")
        if job.do == "store":
            name = name or "send"
        colour = toolkit.accent(kind) if kind else toolkit.blended()
        self.icon.pixmap = toolkit.picture(name or "download", 16, colour)
        self.icon.toolTip = _("Every object came whole") if job.is_verified else ""
        self.text.styleSheet = f"color: {colour};" if kind in ("warning", "error") else f"color: {toolkit.blended()};"

    def _pause_or_resume(self) -> None:
        if self.job.state == "paused":
            self._jobs.resume(self.job)
        else:
            self._jobs.pause(self.job)


class JobsPanel:
    """The list, newest last; what ended well can be swept away."""

    def __init__(self, session: Session, counted: Callable[[int], Any]) -> None:
        self.session, self._counted = session, counted
        self.rows: dict[int, JobRow] = {}
        self._changed: dict[int, Job] = {}
        self._delay, self._pacer = Delay(100, self._show_changed), Pacer()
        self._connections = Connections()
        self._make()
        for signal, function in (
            (session.jobs.added, self._added),
            (session.jobs.changed, self._note),
            (session.jobs.removed, self._removed),
        ):
            self._connections.connect(signal, function)
        self._pacer.run_now("rows", self._rows_of(list(session.jobs.jobs)))
        self._show_empty()

    def close(self) -> None:
        """Let go of the session; the transfers go on."""
        self._connections.end()
        self._delay.stop()
        self._pacer.stop()

    def retry(self, job: Job) -> None:
        """Ask again for what failed."""
        self.session.jobs.retry(job)

    def open_folder(self, job: Job) -> None:
        """Show the files of a transfer on the desktop; say so where there are none."""
        folder = local_state.folder_of_files(job.series, job.directory)
        if not folder:
            self.session.notice.emit("info", _("There are no files of this transfer on this computer."), job.directory)
        elif not qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(folder)):
            self.session.notice.emit("warning", _("The folder cannot be opened: {path}").format(path=folder), "")

    def _make(self) -> None:
        self.widget = qt.QWidget()
        outer = qt.QVBoxLayout(self.widget)
        toolkit.set_margins(outer, 0, 0, 0, 0)
        outer.spacing = 4
        self.empty = toolkit.dimmed(qt.QLabel(_("Nothing on its way. What you load, download or send is listed here.")))
        self.empty.wordWrap = True
        self.scroll = qt.QScrollArea()
        self.scroll.widgetResizable = True
        self.scroll.frameShape = qt.QFrame.NoFrame
        self.scroll.horizontalScrollBarPolicy = qt.Qt.ScrollBarAlwaysOff
        self.scroll.minimumHeight = 22 * toolkit.unit()
        inner = qt.QWidget()
        self._column = qt.QVBoxLayout(inner)
        toolkit.set_margins(self._column, 0, 0, 0, 0)
        self._column.spacing = 0
        self._column.addStretch(1)
        self.scroll.setWidget(inner)
        bottom = qt.QHBoxLayout()
        self.summary = toolkit.small(toolkit.dimmed(qt.QLabel()))
        self.sweep = toolkit.button("close", _("Clear finished"), _("Take off the list what ended"), self._sweep)
        bottom.addWidget(self.summary, 1)
        bottom.addWidget(self.sweep)
        outer.addWidget(self.empty)
        outer.addWidget(self.scroll)
        outer.addLayout(bottom)

    def _rows_of(self, jobs: list[Job]) -> Iterator[None]:
        for job in jobs:
            if job in self.session.jobs.jobs:
                self._added(job)
            yield

    def _added(self, job: Job) -> None:
        """Make a row; of those that only wait the first ones have one, the others get theirs when they begin."""
        waiting = sum(row.job.state == "waiting" for row in self.rows.values()) if job.state == "waiting" else 0
        if waiting < _WAITING_ROWS:
            self._make_row(job)
        self._delay.soon()

    def _make_row(self, job: Job) -> None:
        row = self.rows[job.number] = JobRow(job, self)
        self._column.insertWidget(self._column.count() - 1, row.widget)

    def _removed(self, job: Job) -> None:
        row = self.rows.pop(job.number, None)
        if row is not None:
            row.widget.hide()
            row.widget.deleteLater()
        self._show_empty()

    def _note(self, job: Job) -> None:
        self._changed[job.number] = job
        self._delay.soon()

    def _show_changed(self) -> None:
        self._pacer.run_now("changed", self._shown())

    def _shown(self) -> Iterator[None]:
        while self._changed:
            number, job = self._changed.popitem()
            if number in self.rows:
                self.rows[number].show()
            elif job.state != "waiting" and job in self.session.jobs.jobs:
                self._make_row(job)
            yield
        self._show_empty()

    def _sweep(self) -> None:
        self.session.jobs.remove_ended()

    def _show_empty(self) -> None:
        jobs = self.session.jobs
        running = len(jobs.running)
        self.empty.visible = not self.rows
        self.scroll.visible = bool(self.rows)
        wanted = min(len(self.rows), 4) * 11 * toolkit.unit()
        self.scroll.minimumHeight = min(wanted, 22 * toolkit.unit())
        self.scroll.maximumHeight = max(wanted, 1)
        self.sweep.visible = any(job.state in ("done", "cancelled") for job in jobs.jobs)
        self.summary.text = texts.count(running, _("{n} on its way"), _("{n} on their way")) if running else ""
        self._counted(running)
