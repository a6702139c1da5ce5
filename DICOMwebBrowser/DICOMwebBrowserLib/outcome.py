"""What a server said of each object that was sent to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import texts, toolkit
from DICOMwebBrowserLib.jobs import Job
from DICOMwebBrowserLib.pacing import Pacer
from DICOMwebBrowserLib.session import Session
from DICOMwebBrowserLib.signals import Connections

__all__ = ["Outcome"]

_MARKS = {
    "stored": ("verified", "good"),
    "duplicate": ("verified", "good"),
    "unconfirmed": ("part", "warning"),
    "failed": ("warning", "error"),
    "skipped": ("info", "info"),
}


def words(state: str) -> str:
    """Return what became of an object, in words."""
    named = {
        "stored": _("stored"),
        "duplicate": _("was there already"),
        "unconfirmed": _("not confirmed"),
        "failed": _("not stored"),
        "skipped": _("skipped"),
    }
    return named.get(state, state)


class Outcome:
    """A table with a row an object; what failed can be sent again."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.job: Job | None = None
        self._pacer, self._connections = Pacer(), Connections()
        self._connections.connect(session.jobs.changed, self._changed)
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        toolkit.set_margins(column, 0, 4, 0, 0)
        row = qt.QHBoxLayout()
        self.summary = qt.QLabel()
        self.summary.wordWrap = True
        self.summary.textFormat = qt.Qt.PlainText
        self.retry_button = qt.QPushButton(_("Send what failed again"))
        self.retry_button.icon = toolkit.icon("retry")
        self.retry_button.clicked.connect(lambda *_args: self.retry())
        row.addWidget(self.summary, 1)
        row.addWidget(self.retry_button)
        column.addLayout(row)
        self.table = qt.QTreeWidget()
        self.table.accessibleName = _("What became of each object")
        self.table.setHeaderLabels([_("Object"), _("Became"), _("Reason")])
        self.table.rootIsDecorated = False
        self.table.uniformRowHeights = True
        self.table.maximumHeight = 24 * toolkit.unit()
        for index, width in enumerate((24, 14)):
            self.table.setColumnWidth(index, width * toolkit.unit())
        column.addWidget(self.table)
        self.widget.hide()

    def close(self) -> None:
        """Let go of the session."""
        self._connections.end()
        self._pacer.stop()

    def follow(self, job: Job) -> None:
        """Show what becomes of a transfer."""
        self.job = job
        self.table.clear()
        self.retry_button.hide()
        self.summary.text = _("On its way...")
        self.widget.show()

    def retry(self) -> None:
        """Send again those that failed, and only those."""
        if self.job is not None:
            self.session.jobs.retry(self.job)

    def _changed(self, job: Job) -> None:
        if job is not self.job:
            return
        if self.table.topLevelItemCount > len(job.results):
            self.table.clear()  # sent again, without those that failed
        if not job.has_ended:
            self.summary.text = _("On its way...")
            self.retry_button.hide()
        else:
            self.summary.text = str(job.report.get("summary") or job.error.get("message") or words(job.state))
            self.retry_button.visible = job.state in ("partial", "failed")
        if not self._pacer.is_running("fill"):
            self._pacer.run("fill", self._fill())

    def _fill(self) -> Iterator[None]:
        while self.job is not None and self.table.topLevelItemCount < len(self.job.results):
            one: dict[str, Any] = self.job.results[self.table.topLevelItemCount]
            state = str(one.get("state") or "")
            name = str(one.get("path") or one.get("uid") or "").replace("\\", "/").rpartition("/")[2]
            row = qt.QTreeWidgetItem([name, words(state), texts.first_of(one.get("reason"))])
            row.setToolTip(0, str(one.get("uid") or ""))
            row.setToolTip(2, row.text(2))
            if state in _MARKS:
                icon, kind = _MARKS[state]
                row.setIcon(1, toolkit.icon(icon, 14, toolkit.accent(kind)))
            self.table.addTopLevelItem(row)
            yield
