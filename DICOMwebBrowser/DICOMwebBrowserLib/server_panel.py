"""The row with the servers: choosing one, adding, changing, removing, links."""

from __future__ import annotations

from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import toolkit
from DICOMwebBrowserLib.server_dialog import ServerDialog
from DICOMwebBrowserLib.servers import title_of
from DICOMwebBrowserLib.session import Session
from DICOMwebBrowserLib.signals import Connections

__all__ = ["ServerPanel"]


class ServerPanel:
    """Connects the combo box and its buttons with the session's servers."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui, self.session = ui, session
        self._connections = Connections()
        self._is_filling = False
        self._dialog: ServerDialog | None = None
        ui.serverComboBox.placeholderText = _("Choose a server")
        ui.addServerButton.icon = toolkit.icon("add")
        ui.addServerButton.clicked.connect(lambda *_args: self.add())
        ui.serverMenuButton.icon = toolkit.icon("menu")
        self.menu = qt.QMenu(ui.serverMenuButton)
        self.menu.aboutToShow.connect(self._fill_menu)
        ui.serverMenuButton.setMenu(self.menu)
        ui.serverMenuButton.styleSheet = "QToolButton::menu-indicator { image: none; }"
        ui.serverComboBox.currentIndexChanged.connect(lambda *_args: self._chosen())
        self._connections.connect(session.servers.changed, self.fill)
        self._connections.connect(session.servers.chosen, self.fill)
        self.fill()
        session.servers.ask_presets()

    def close(self) -> None:
        """Let go of the session."""
        self._connections.end()

    def fill(self) -> None:
        """Show the servers as they are now."""
        combo, servers = self.ui.serverComboBox, self.session.servers
        self._is_filling = True
        combo.clear()
        for server in servers.own:
            combo.addItem(toolkit.icon("server"), title_of(server), title_of(server))
        others = [server for server in servers.all if not servers.is_own(server)]
        if others and servers.own:
            combo.insertSeparator(combo.count)
        for server in others:
            combo.addItem(toolkit.icon("server", 16, toolkit.blended()), title_of(server), title_of(server))
        names = [combo.itemData(index) for index in range(combo.count)]
        current = title_of(servers.current)
        combo.currentIndex = names.index(current) if current in names else -1
        combo.enabled = bool(names)
        combo.toolTip = str(servers.current.get("url") or _("Add a server first"))
        self._is_filling = False

    def add(self, template: str = "") -> None:
        """Open the dialog for a new server."""
        self._open(ServerDialog(self.session, None, template, self.ui.serverComboBox.window()))

    def edit(self) -> None:
        """Open the dialog for the chosen server; a preset becomes one of the person's own."""
        server = self.session.servers.current
        if server:
            self._open(ServerDialog(self.session, server, "", self.ui.serverComboBox.window()))

    def remove(self) -> None:
        """Take the chosen server off the list, after a question."""
        import slicer

        server = self.session.servers.current
        question = _("Remove {name} from the list?").format(name=title_of(server))
        if slicer.util.confirmYesNoDisplay(question):
            self.session.servers.remove(server)

    def _open(self, dialog: ServerDialog) -> None:
        self._dialog = dialog
        dialog.dialog.windowModality = qt.Qt.WindowModal
        dialog.dialog.finished.connect(lambda *_args: dialog.close())
        dialog.dialog.show()

    def _chosen(self) -> None:
        name = self.ui.serverComboBox.itemData(self.ui.serverComboBox.currentIndex)
        if not self._is_filling and name:
            self.session.servers.choose(str(name))

    def _fill_menu(self) -> None:
        self.menu.clear()
        servers = self.session.servers
        server = servers.current
        own = bool(server) and servers.is_own(server)
        toolkit.action(self.menu, _("Edit..."), self.edit, "edit", bool(server))
        toolkit.action(self.menu, _("Remove"), self.remove, "close", own)
        add = self.menu.addMenu(_("Add"))
        toolkit.action(add, _("Any DICOMweb server..."), self.add)
        for template in servers.templates:
            toolkit.action(add, f"{template['title']}...", partial(self.add, template["name"]))
        self.menu.addSeparator()
        toolkit.action(self.menu, _("Copy the address"), partial(_copy_address, server), "copy", bool(server))


def _copy_address(server: dict[str, Any]) -> None:
    qt.QApplication.clipboard().setText(str(server.get("url") or ""))
