"""The search fields: one line, dates, modalities, words of the description."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import search_terms, toolkit
from DICOMwebBrowserLib.session import Session

__all__ = ["FindPanel"]


class FindPanel:
    """Connects the search fields with the session's query.

    Parameters
    ----------
    ui
        The window's widgets by name.
    """

    def __init__(self, ui: Any, session: Session, no_server: Callable[[], Any]) -> None:
        self.ui, self.session, self._no_server = ui, session, no_server
        self.modality_buttons: dict[str, Any] = {}
        self._make_modalities()
        for key, title in search_terms.DATES().items():
            ui.dateComboBox.addItem(title, key)
        today = qt.QDate.currentDate()
        ui.toDateEdit.date = today
        ui.fromDateEdit.date = today.addDays(-7)
        ui.searchEdit.addAction(toolkit.icon("search"), qt.QLineEdit.LeadingPosition)
        ui.searchButton.icon = toolkit.icon("search")
        toolkit.small(toolkit.dimmed(ui.meaningLabel)).hide()
        self._restore()
        ui.searchButton.clicked.connect(lambda *_args: self.search_or_stop())
        ui.searchEdit.returnPressed.connect(self.search)
        ui.descriptionEdit.returnPressed.connect(self.search)
        ui.searchEdit.textChanged.connect(lambda *_args: self._explain())
        ui.dateComboBox.currentIndexChanged.connect(lambda *_args: self._show_dates())
        self._show_dates()
        self._explain()

    @property
    def date_key(self) -> str:
        """The chosen date preset."""
        return str(self.ui.dateComboBox.itemData(self.ui.dateComboBox.currentIndex))

    @property
    def modalities(self) -> list[str]:
        """The chosen modalities, as DICOM calls them."""
        pressed = [key for key, button in self.modality_buttons.items() if button.checked]
        return [modality for key in pressed for modality in search_terms.MODALITIES[key]]

    @property
    def has_wildcard(self) -> bool:
        """Whether the chosen server is known not to have no ``*``."""
        return (self.session.servers.current.get("profile") or {}).get("wildcard") is not False

    def attempts(self) -> list[search_terms.Attempt]:
        """Return the readings of the search line."""
        return search_terms.attempts(self.ui.searchEdit.text, self.has_wildcard)

    def filters(self) -> dict[str, Any]:
        """Return the filters beside the search line."""
        found: dict[str, Any] = search_terms.description_filter(self.ui.descriptionEdit.text, self.has_wildcard)
        days = [_day(edit.date) for edit in (self.ui.fromDateEdit, self.ui.toDateEdit)]
        if value := search_terms.date_range(self.date_key, *days):
            found["StudyDate"] = value
        if self.modalities:
            found["ModalitiesInStudy"] = self.modalities
        return found

    def search(self) -> None:
        """Search with what the fields say."""
        server = self.session.servers.current
        if not server:
            self._no_server()
            return
        self.keep()
        self.session.query.start(server, self.attempts(), self.filters())

    def search_or_stop(self) -> None:
        """Do what the button says."""
        if self.session.query.is_running:
            self.session.query.stop()
        else:
            self.search()

    def show_running(self, is_running: bool) -> None:
        """Let the button say what it does."""
        self.ui.searchButton.text = _("Stop") if is_running else _("Search")
        self.ui.searchButton.icon = toolkit.icon("stop" if is_running else "search")

    def keep(self) -> None:
        """Keep the fields for the next window of this session; not for the next session, because they name patients."""
        self.session.state["find"] = {
            "line": str(self.ui.searchEdit.text),
            "description": str(self.ui.descriptionEdit.text),
            "date": self.ui.dateComboBox.currentIndex,
            "modalities": [key for key, button in self.modality_buttons.items() if button.checked],
        }

    # ------------------------------------------------------------------ widgets

    def _make_modalities(self) -> None:
        layout = self.ui.modalityRow.layout()
        for key, modalities in search_terms.MODALITIES.items():
            button = qt.QToolButton()
            button.text = key
            button.checkable = True
            button.autoRaise = True
            button.focusPolicy = qt.Qt.StrongFocus
            button.toolTip = _("Only studies with {modalities}").format(modalities=", ".join(modalities))
            button.accessibleName = button.toolTip
            button.sizePolicy = qt.QSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
            layout.addWidget(button)
            self.modality_buttons[key] = button
        colour = qt.QApplication.palette().color(qt.QPalette.Highlight)
        tint = f"rgba({colour.red()}, {colour.green()}, {colour.blue()}, %d)"
        # Flat until pressed; then tinted, so that it is seen at a glance what the list is limited to.
        self.ui.modalityRow.styleSheet = (
            f"QToolButton {{ border: 1px solid {tint % 70}; border-radius: 3px; padding: 2px 1px; }}"
            f"QToolButton:hover {{ background: {tint % 40}; }}"
            f"QToolButton:focus {{ border-color: {tint % 255}; }}"
            f"QToolButton:checked {{ background: {tint % 110}; border-color: {tint % 200}; }}"
        )

    def _restore(self) -> None:
        kept = self.session.state.get("find")
        if not kept:
            return
        self.ui.searchEdit.text = kept["line"]
        self.ui.descriptionEdit.text = kept["description"]
        self.ui.dateComboBox.currentIndex = kept["date"]
        for key in kept["modalities"]:
            self.modality_buttons[key].checked = True

    def _show_dates(self) -> None:
        is_range = self.date_key == "range"
        self.ui.fromDateEdit.visible = is_range
        self.ui.toDateEdit.visible = is_range

    def _explain(self) -> None:
        words = [attempt.words for attempt in self.attempts() if attempt.words]
        if not words:
            self.ui.meaningLabel.hide()
            return
        text = _("Looks for {first}").format(first=words[0])
        for more in words[1:]:
            text += _(", else {more}").format(more=more)
        self.ui.meaningLabel.text = text
        self.ui.meaningLabel.show()


def _day(value: Any) -> date:
    return date(value.year(), value.month(), value.day())
