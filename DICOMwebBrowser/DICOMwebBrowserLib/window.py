"""The window: its panels put together, and what happens between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import copying, links, texts, toolkit
from DICOMwebBrowserLib.dragging import DragSource
from DICOMwebBrowserLib.find_panel import FindPanel
from DICOMwebBrowserLib.jobs import Job
from DICOMwebBrowserLib.jobs_panel import JobsPanel
from DICOMwebBrowserLib.message_bar import MessageBar
from DICOMwebBrowserLib.preview import Preview
from DICOMwebBrowserLib.results_tree import ResultsTree
from DICOMwebBrowserLib.secret_dialog import SecretDialog
from DICOMwebBrowserLib.send_panel import SendPanel
from DICOMwebBrowserLib.server_panel import ServerPanel
from DICOMwebBrowserLib.servers import title_of
from DICOMwebBrowserLib.session import Session
from DICOMwebBrowserLib.shape import Shape
from DICOMwebBrowserLib.signals import Connections
from DICOMwebBrowserLib.tags_dialog import TagsDialog

__all__ = ["Window"]


class Window:
    """All of the module's panel.

    Parameters
    ----------
    root, ui
        The widget of the .ui file, and its widgets by name.
    session
        What the window shows; it goes on when the window is gone.
    """

    def __init__(self, root: Any, ui: Any, session: Session) -> None:
        self.root, self.ui, self.session = root, ui, session
        self._connections = Connections()
        self._dialogs: list[Any] = []
        self._was_running = False
        self.message = MessageBar()
        root.layout().insertWidget(1, self.message.widget)
        self.servers = ServerPanel(ui, session)
        self.find = FindPanel(ui, session, self.servers.add)
        self.preview = Preview(session, ui.previewPlace)
        self.tree = ResultsTree(ui.resultsTree, session, self._selection_changed, lambda: self.get("load"))
        self.jobs = JobsPanel(session, self._show_job_count)
        ui.jobsSection.layout().addWidget(self.jobs.widget)
        self.send = SendPanel(session, self.servers.add, self._show_jobs)
        ui.sendSection.layout().addWidget(self.send.widget)
        self.shape = Shape(root, ui, self._restore, self._widened)
        self._drag = DragSource(ui.resultsTree.viewport(), self._links)
        self._connect()
        self._order_for_keyboard()
        self._show_query()
        self._selection_changed()

    def close(self) -> None:
        """Let go of the session; transfers and searches go on without a window."""
        self.find.keep()
        self._connections.end()
        for part in (self.servers, self.tree, self.preview, self.jobs, self.send, self.send.outcome, self.shape):
            part.close()

    # ------------------------------------------------------------------ wiring

    def _connect(self) -> None:
        ui, session = self.ui, self.session
        for button, icon, function in (
            (ui.loadButton, "load", lambda: self.get("load")),
            (ui.downloadButton, "download", lambda: self.get("download")),
            (ui.tagsButton, "tags", self.show_tags),
            (ui.columnsButton, "columns", self._show_columns),
            (ui.moreButton, "", session.query.more),
            (ui.allButton, "", lambda: session.query.more(True)),
        ):
            if icon:
                button.icon = toolkit.icon(icon)
            button.clicked.connect(lambda *_args, function=function: function())
        ui.windowButton.icon = toolkit.icon("window")
        ui.windowButton.toggled.connect(self.shape.detach)
        ui.resultsTree.customContextMenuRequested.connect(self._show_menu)
        for keys, widget, function in (
            ("Ctrl+Return", self.root, lambda: self.get("load")),
            ("Ctrl+D", self.root, lambda: self.get("download")),
            ("Ctrl+F", self.root, self._go_to_search),
            ("F5", self.root, self.find.search),
            # Not itemActivated: on most systems that comes after a double click as well.
            ("Return", ui.resultsTree, self.tree.open_or_close),
            ("Enter", ui.resultsTree, self.tree.open_or_close),
            ("Ctrl+C", ui.resultsTree, lambda: self._copy(self._uids())),
        ):
            self._shortcut(keys, widget, function)
        for signal, slot in (
            (session.query.changed, self._show_query),
            (session.query.told, lambda text: self.message.show("info", text, topic="query")),
            (session.query.failed, self._query_failed),
            (session.notice, self.message.show),
            (session.worker.sign_in, self._show_sign_in),
            (session.jobs.failed, self._job_failed),
            (session.indexing.indexed, lambda count: self.preview.check_references()),
            (session.servers.chosen, self._server_chosen),
        ):
            self._connections.connect(signal, slot)

    def _order_for_keyboard(self) -> None:
        """Let Tab go from top to bottom: what is made here came after everything of the .ui file."""
        ui, preview = self.ui, self.preview
        order = [ui.descriptionEdit, *self.find.modality_buttons.values(), ui.resultsTree, preview.reference_box]
        order += [preview.play_button, preview.slider, ui.moreButton, ui.allButton, ui.columnsButton]
        order += [ui.loadButton, ui.downloadButton, ui.tagsButton, ui.jobsSection, ui.sendSection]
        for before, after in itertools.pairwise(order):
            qt.QWidget.setTabOrder(before, after)

    def _shortcut(self, keys: str, widget: Any, function: Callable[[], Any]) -> None:
        made = qt.QAction(widget)
        made.shortcut = qt.QKeySequence(keys)
        made.shortcutContext = qt.Qt.WidgetWithChildrenShortcut
        made.triggered.connect(lambda *_args: function())
        widget.addAction(made)

    # ------------------------------------------------------------------ getting

    def get(self, action: str) -> None:
        """Retrieve what is selected, to load it or into the database only."""
        places = self.tree.places()
        if not places:
            self.message.show("info", _("Select studies or series first."))
            return
        # What is referred to comes first, so that it is there when the other one is loaded.
        self.session.retrieving.get([*self.preview.wanted_references(), *places], action)
        self._show_jobs()

    def offer(self, items: list[int]) -> None:
        """Show the sending part, with these items of the subject hierarchy checked."""
        self.ui.sendSection.collapsed = False
        self.ui.findSection.collapsed = True
        self.send.select_items(items)

    def show_tags(self) -> None:
        """Show the attributes of the selected series."""
        study, series = self._one_series()
        if not series:
            self.message.show("info", _("Select a series first."))
            return
        title = texts.first_of(self.session.results.series_item(study, series).get("SeriesDescription"))
        dialog = TagsDialog(self.session, study, series, title or _("Attributes"), self.root.window())
        self._dialogs.append(dialog)
        dialog.dialog.finished.connect(lambda *_args: self._dialogs.remove(dialog))
        dialog.show()

    def _one_series(self) -> tuple[str, str]:
        places = [place for place in self.tree.places() if place[1]]
        return places[0] if len(places) == 1 else ("", "")

    def _selection_changed(self) -> None:
        places = self.tree.places()
        self.ui.loadButton.enabled = self.ui.downloadButton.enabled = bool(places)
        study, series = self._one_series()
        self.ui.tagsButton.enabled = bool(series)
        self.preview.show(study, series)

    def _widened(self, is_wide: bool) -> None:
        self.preview.set_wide(is_wide)
        self.tree.set_wide(is_wide)

    def _restore(self) -> None:
        """Somebody came back to the window: what is in the database may have changed."""
        self.tree.check_states()
        self.send.fill()

    # ------------------------------------------------------------------ telling

    def _show_query(self) -> None:
        query, results = self.session.query, self.session.results
        found = len(results.studies)
        if query.is_running and not self._was_running:
            self.message.clear("query")  # what was wrong with the one before
        self._was_running = query.is_running
        self.find.show_running(query.is_running)
        self.ui.resultsStack.currentIndex = 1 if found else 0
        if not found:
            self._show_empty()
        counted = texts.count(found, _("{n} study"), _("{n} studies")) if found else ""
        if query.is_running:
            counted = _("{studies} so far...").format(studies=counted) if found else ""
        elif query.has_more:
            counted = _("{studies}, and there are more").format(studies=counted)
        elif query.is_stopped and found:
            counted = _("{studies}, stopped").format(studies=counted)
        self.ui.countLabel.text = counted
        self.ui.columnsButton.visible = bool(found)
        self.ui.moreButton.visible = self.ui.allButton.visible = query.has_more and not query.is_running

    def _show_empty(self) -> None:
        query = self.session.query
        server = self.session.servers.current
        if query.is_running:
            icon, text = "search", _("Asking {server}...").format(server=title_of(query.server))
        elif query.was_asked and self.message.text and not query.is_stopped:
            icon, text = "server", _("No results; the message above says why.")
        elif query.was_asked:
            icon, text = "inbox", _("Nothing found. Fewer letters, another date or another server may help.")
        elif server:
            icon, text = (
                "study",
                _("Press Search to list the studies of {server}, or type whom you look for.").format(
                    server=title_of(server)
                ),
            )
        else:
            icon = "server"
            text = _("Choose a server above, or add one with +: paste its address, or a folder with DICOM files.")
        self.ui.emptyIconLabel.pixmap = toolkit.picture(icon, 44, toolkit.blended(0.35))
        self.ui.emptyLabel.text = text
        self.ui.emptyLabel.styleSheet = f"color: {toolkit.blended(0.7)};"

    def _server_chosen(self) -> None:
        if not self.session.query.was_asked:
            self._show_empty()

    def _query_failed(self, error: dict[str, Any], again: Callable[[], Any]) -> None:
        self._show_error(error, self.session.query.server, again, "query")
        self._show_query()

    def _job_failed(self, job: Job) -> None:
        if job.sign_in and not job.has_ended:
            self._show_sign_in(job.sign_in)
        elif job.error.get("needs"):
            self._show_error(job.error, job.arguments.get("server") or {}, lambda: self.session.jobs.retry(job))

    def _show_sign_in(self, event: dict[str, Any]) -> None:
        if not event:
            self.message.clear("sign-in")
            return
        url, code = str(event.get("url") or ""), str(event.get("code") or "")
        text = _("Sign in at {url} with the code {code}").format(url=url, code=code)
        open_browser = (_("Open the browser"), lambda: qt.QDesktopServices.openUrl(qt.QUrl(url)))
        self.message.show("info", text, "", [open_browser], "sign-in")

    def _show_error(
        self, error: dict[str, Any], server: dict[str, Any], again: Callable[[], Any], topic: str = ""
    ) -> None:
        """Say what is wrong, and offer what helps: a secret that is missing, another address, another try."""
        actions: list[tuple[str, Callable[[], Any]]] = []
        needs = [str(name) for name in error.get("needs") or []]
        if needs:
            actions.append((_("Sign in..."), lambda: self._ask_secrets(server, needs, again)))
        elif error.get("kind") == "AuthenticationError":
            actions.append((_("Edit the server..."), self.servers.edit))
        if not needs:
            actions.append((_("Try again"), again))
        self.message.show("error", str(error.get("message") or ""), str(error.get("details") or ""), actions, topic)

    def _ask_secrets(self, server: dict[str, Any], names: list[str], again: Callable[[], Any]) -> None:
        def signed_in() -> None:
            again()
            self.session.jobs.retry_signed_in(server)  # others failed for want of the same

        dialog = SecretDialog(self.session, server, names, signed_in, self.root.window())
        self._dialogs.append(dialog)
        dialog.dialog.finished.connect(lambda *_args: self._dialogs.remove(dialog))
        dialog.show()

    def _show_job_count(self, running: int) -> None:
        title = _("Transfers ({n})").format(n=running) if running else _("Transfers")
        if self.ui.jobsSection.text != title:
            self.ui.jobsSection.text = title

    def _show_jobs(self) -> None:
        self.ui.jobsSection.collapsed = False

    # ------------------------------------------------------------------ menus

    def menu(self) -> Any:
        """Return the menu for what is selected."""
        menu = qt.QMenu(self.root)
        places = self.tree.places()
        has_some, series = bool(places), self._one_series()[1]
        toolkit.action(menu, _("Load"), lambda: self.get("load"), "load", has_some)
        toolkit.action(menu, _("Download"), lambda: self.get("download"), "download", has_some)
        toolkit.action(menu, _("Tags..."), self.show_tags, "tags", bool(series))
        menu.addSeparator()
        toolkit.action(menu, _("Copy as Python"), self._copy_python, "copy", self.session.query.was_asked)
        toolkit.action(menu, _("Copy link"), lambda: self._copy("\n".join(self._links())), "link", has_some)
        toolkit.action(menu, _("Copy UID"), lambda: self._copy(self._uids()), "", has_some)
        menu.addSeparator()
        columns = self.tree.column_menu()
        columns.title = _("Columns")
        menu.addMenu(columns)
        return menu

    def _show_menu(self, position: Any) -> None:
        toolkit.popup(self.menu(), self.ui.resultsTree.viewport().mapToGlobal(position))

    def _show_columns(self) -> None:
        toolkit.popup(self.tree.column_menu(), self.ui.columnsButton.mapToGlobal(qt.QPoint(0, 0)))

    def _copy_python(self) -> None:
        """Copy what retrieves the selection, or what searches as the window did."""
        query, places = self.session.query, self.tree.places()
        if places:
            self._copy(copying.retrieve_code(query.server, places))
        elif query.attempt is not None:
            self._copy(copying.search_code(query.server, query.attempt.level, query.filters))

    def _uids(self) -> str:
        return "\n".join(series or study for study, series in self.tree.places())

    def _links(self) -> list[str]:
        url = str(self.session.query.server.get("url") or "")
        return [links.link_to(url, study, series) for study, series in self.tree.places()] if "://" in url else []

    def _copy(self, text: str) -> None:
        if text:
            qt.QApplication.clipboard().setText(text)

    def _go_to_search(self) -> None:
        self.ui.findSection.collapsed = False
        self.ui.searchEdit.setFocus()
        self.ui.searchEdit.selectAll()
