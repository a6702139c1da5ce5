"""The attributes of an object on the server, in a table that can be searched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import texts, toolkit
from DICOMwebBrowserLib.message_bar import MessageBar
from DICOMwebBrowserLib.pacing import Pacer
from DICOMwebBrowserLib.session import Session

__all__ = ["TagsDialog"]


class TagsDialog:
    """A window with the attributes of the first object of a series; nothing of it is downloaded."""

    def __init__(self, session: Session, study: str, series: str, title: str, parent: Any = None) -> None:
        self._session, self._place = session, (study, series)
        self._pacer = Pacer()
        self._items: list[dict[str, Any]] = []
        self.dialog = qt.QDialog(parent)
        self.dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
        self.dialog.windowTitle = title
        layout = qt.QVBoxLayout(self.dialog)
        self.search = qt.QLineEdit()
        self.search.placeholderText = _("Attribute, number or value")
        self.search.clearButtonEnabled = True
        self.search.accessibleName = _("Search in the attributes")
        self.search.textChanged.connect(lambda *_args: self._filter())
        self.message = MessageBar()
        self.table = qt.QTreeWidget()
        self.table.accessibleName = _("Attributes")
        self.table.setHeaderLabels([_("Number"), _("Attribute"), _("VR"), _("Value")])
        self.table.rootIsDecorated = False
        self.table.uniformRowHeights = True
        self.table.alternatingRowColors = True
        for column, width in enumerate((13, 30, 5)):
            self.table.setColumnWidth(column, width * toolkit.unit())
        self.count = toolkit.dimmed(qt.QLabel(_("Asking the server...")))
        for widget in (self.search, self.message.widget, self.table, self.count):
            layout.addWidget(widget)
        self.dialog.resize(90 * toolkit.unit(), 70 * toolkit.unit())
        self.dialog.finished.connect(lambda *_args: self.close())
        self._sent: Any = None
        self._ask()

    def show(self) -> None:
        """Show the window beside the others."""
        self.dialog.show()
        self.search.setFocus()

    def close(self) -> None:
        """Stop asking."""
        self._pacer.stop()
        if self._sent is not None and not self._sent.ended:
            self._sent.cancel()

    def _ask(self) -> None:
        study, series = self._place
        self._sent = self._session.worker.ask(
            "tags",
            {
                "results": lambda event: self._came(event["items"]),
                "done": lambda event: self._filter(),
                "failed": lambda event: self._failed(event["error"]),
            },
            server=self._session.query.server,
            study=study,
            series=series,
        )

    def _came(self, items: list[dict[str, Any]]) -> None:
        self._items += items
        if not self._pacer.is_running("fill"):
            self._pacer.run("fill", self._fill())

    def _fill(self) -> Iterator[None]:
        while self.table.topLevelItemCount < len(self._items):
            one = self._items[self.table.topLevelItemCount]
            texts_of_row = [str(one.get(key) or "") for key in ("tag", "keyword", "vr")] + [
                texts.listed(one.get("value"))
            ]
            row = qt.QTreeWidgetItem(texts_of_row)
            row.setToolTip(3, texts_of_row[3][:500])
            self.table.addTopLevelItem(row)
            yield
        self._filter()

    def _filter(self) -> None:
        self._pacer.run("filter", self._filtered(str(self.search.text).casefold()))

    def _filtered(self, wanted: str) -> Iterator[None]:
        shown = 0
        for index in range(self.table.topLevelItemCount):
            row = self.table.topLevelItem(index)
            fits = any(wanted in row.text(column).casefold() for column in range(4))
            row.setHidden(not fits)
            shown += fits
            yield
        self.count.text = texts.count(shown, _("{n} attribute"), _("{n} attributes"))

    def _failed(self, error: dict[str, Any]) -> None:
        self.count.text = ""
        again = (_("Try again"), self._ask)
        self.message.show("error", error.get("message") or "", error.get("details") or "", [again])
