"""Sending: from the scene, from Slicer's database, from files; what became of each object, and again what failed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import copying, local_state, sending, texts, toolkit
from DICOMwebBrowserLib.jobs import Group, Job
from DICOMwebBrowserLib.message_bar import MessageBar
from DICOMwebBrowserLib.outcome import Outcome
from DICOMwebBrowserLib.pacing import Pacer
from DICOMwebBrowserLib.profile_dialog import PACKAGE, ProfileDialog, install, is_available
from DICOMwebBrowserLib.servers import title_of
from DICOMwebBrowserLib.session import Session
from DICOMwebBrowserLib.signals import Connections

__all__ = ["SendPanel"]

_LONGEST_BUTTON = 36  # characters
ITEM_ROLE = qt.Qt.UserRole


class SendPanel:
    """Choose, see what it becomes, send, and see what the server said.

    Parameters
    ----------
    begun
        Called when something is on its way.
    """

    def __init__(self, session: Session, no_server: Callable[[], Any], begun: Callable[[], Any]) -> None:
        self.session, self._no_server, self._begun = session, no_server, begun
        self._pacer, self._connections, self._is_closed = Pacer(), Connections(), False
        self._exportables: dict[int, list[Any]] = {}
        self.kind_combos: dict[int, Any] = {}
        self._kinds: dict[int, str] = {}
        self._kept: set[Any] = set()
        self.source = "scene"
        self._make()
        self._connections.connect(session.servers.chosen, self._show_server)
        self._show_server()
        self.fill()

    def close(self) -> None:
        """Let go of the session."""
        self._is_closed = True
        self._connections.end()
        self._pacer.stop()

    # ------------------------------------------------------------------ what is offered

    def choose_source(self, source: str) -> None:
        """Offer ``scene``, ``database`` or ``files``."""
        self.source = source
        for name, button in self.source_buttons.items():
            button.checked = name == source
        self.add_files.visible = self.add_folder.visible = source == "files"
        self.copy_button.enabled = source != "scene"
        self.fill()

    def fill(self) -> None:
        """Offer anew what there is; what was checked stays so."""
        self.message.clear()
        kept = set(self.checked()) if self.tree.objectName == self.source else set()
        if kept or not self._pacer.is_running("fill"):
            self._kept = kept
        if self.source == "files":
            if self.tree.objectName != "files":
                self.tree.clear()
        else:
            self.tree.clear()
            self._exportables.clear()
            self.kind_combos.clear()
            self._pacer.run("fill", self._scene(self._kept) if self.source == "scene" else self._database(self._kept))
        self.tree.objectName = self.source
        self.tree.setHeaderLabels(
            {"scene": [_("In the scene"), _("Becomes"), _("Study")]}.get(
                self.source, [_("Series") if self.source == "database" else _("Files"), "", ""]
            )
        )
        self.tree.rootIsDecorated = self.source == "database"
        for column in (1, 2):
            self.tree.setColumnHidden(column, self.source != "scene")
        self._show_hint()

    def add_paths(self, paths: list[str]) -> None:
        """Offer files and folders."""
        for path in paths:
            item = qt.QTreeWidgetItem([path, "", ""])
            item.setData(0, ITEM_ROLE, path)
            item.setCheckState(0, qt.Qt.Checked)
            self.tree.addTopLevelItem(item)
        self._show_hint()

    def select_items(self, items: list[int]) -> None:
        """Check these items of the subject hierarchy, and no others."""
        self.choose_source("scene")
        wanted = set(items)

        def check() -> Iterator[None]:
            while self._pacer.is_running("fill"):
                yield
            for index in range(self.tree.topLevelItemCount):
                row = self.tree.topLevelItem(index)
                row.setCheckState(0, qt.Qt.Checked if int(row.data(0, ITEM_ROLE)) in wanted else qt.Qt.Unchecked)
            yield

        self._pacer.run("check", check())

    def _scene(self, kept: set[Any]) -> Iterator[None]:
        for choice in sending.scene_choices():
            found = sending.exportables(choice.item)
            yield
            becomes = "" if len(found) > 1 else sending.titles(found)[0] if found else _("nothing")
            row = qt.QTreeWidgetItem([choice.name, becomes, choice.study or _("none")])
            row.setData(0, ITEM_ROLE, choice.item)
            row.setSizeHint(0, qt.QSize(0, int(3.6 * toolkit.unit())))
            row.setToolTip(0, f"{choice.name}\n{choice.what}")
            row.setToolTip(2, f"{choice.study}\n{choice.study_uid}".strip() or _("It belongs to no study."))
            self.tree.addTopLevelItem(row)
            if found:
                row.setToolTip(1, str(found[0].tooltip))
                row.setCheckState(0, qt.Qt.Checked if choice.item in kept else qt.Qt.Unchecked)
                self._exportables[choice.item] = found
            else:
                row.setFlags(qt.Qt.ItemIsSelectable)
            if len(found) > 1:
                self._offer_kinds(row, choice, found)
        self._show_hint()

    def _offer_kinds(self, row: Any, choice: sending.Choice, found: list[Any]) -> None:
        """Let the person choose among what the plugins offer; what was chosen before is kept."""
        combo = self.kind_combos[choice.item] = qt.QComboBox()
        combo.accessibleName = _("What {name} becomes").format(name=choice.name)
        combo.sizePolicy = qt.QSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Expanding)
        combo.focusPolicy = qt.Qt.StrongFocus  # scrolling over the table is no choice
        for index, title in enumerate(sending.titles(found)):
            combo.addItem(title)
            combo.setItemData(index, str(found[index].tooltip), qt.Qt.ToolTipRole)
        plugins = [str(one.pluginClass) for one in found]
        kept = self._kinds.get(choice.item)
        combo.currentIndex = plugins.index(kept) if kept in plugins else 0

        def chosen(*_args: Any) -> None:
            self._kinds[choice.item] = plugins[combo.currentIndex]

        combo.currentIndexChanged.connect(chosen)
        self.tree.setItemWidget(row, 1, combo)

    def _database(self, kept: set[Any]) -> Iterator[None]:
        studies: dict[str, Any] = {}
        for one in sending.database_series():
            parent = studies.get(one.study)
            if parent is None:
                parent = studies[one.study] = qt.QTreeWidgetItem([f"{one.patient}: {one.study_title}", "", ""])
                parent.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsAutoTristate)
                parent.setCheckState(0, qt.Qt.Unchecked)
                self.tree.addTopLevelItem(parent)
            row = qt.QTreeWidgetItem([one.title, "", ""])
            row.setData(0, ITEM_ROLE, one.series)
            row.setCheckState(0, qt.Qt.Checked if one.series in kept else qt.Qt.Unchecked)
            parent.addChild(row)
            yield
        self._show_hint()

    def checked(self) -> list[Any]:
        """Return what is checked: items of the hierarchy, UIDs of series, or paths."""
        found = []
        for index in range(self.tree.topLevelItemCount):
            row = self.tree.topLevelItem(index)
            for one in [row.child(child) for child in range(row.childCount())] or [row]:
                if one.checkState(0) == qt.Qt.Checked and one.data(0, ITEM_ROLE) is not None:
                    found.append(one.data(0, ITEM_ROLE))
        return found

    # ------------------------------------------------------------------ sending

    def send(self) -> None:
        """Send what is checked to the chosen server."""
        self.message.clear()
        server = self.session.servers.current
        if not server:
            self._no_server()
            return
        chosen = self.checked()
        if not chosen:
            self.message.show("info", _("Check what is to be sent."))
            return
        try:
            paths, folders = self._paths(chosen)
        except sending.ExportError as error:
            self.message.show("error", str(error))
            return
        arguments: dict[str, Any] = {"server": server, "paths": paths, "check": bool(self.check_box.checked)}
        if self.deidentify_box.checked:
            # Chosen here, so that what failed and is sent again gets pseudonyms and UIDs that fit those of the others.
            arguments["deidentify"] = {"secret": secrets.token_hex(32)}
        title = _("To {server}").format(server=title_of(server))
        job = Job("store", title, title_of(server), arguments, Group("store"), own_folders=folders)
        self.outcome.follow(job)
        self.session.jobs.begin(job)
        self._begun()

    def copy_python(self) -> None:
        """Copy the call that sends the checked files."""
        if self.source != "scene" and self.checked():
            paths, _folders = self._paths(self.checked())
            code = copying.store_code(self.session.servers.current, paths, bool(self.check_box.checked))
            qt.QApplication.clipboard().setText(code)

    def _paths(self, chosen: list[Any]) -> tuple[list[str], list[str]]:
        """Return what the worker reads, and the folders that are to be removed when it is sent."""
        if self.source == "files":
            return [str(path) for path in chosen], []
        if self.source == "database":
            base = local_state.database()
            return [str(path) for series in chosen for path in base.filesForSeries(series)], []
        folders: list[str] = []
        for item in chosen:
            exportable = self._exportable(int(item))
            try:
                folders.append(sending.export(int(item), exportable))
            except sending.ExportError:
                for folder in folders:
                    sending.discard(folder)
                raise
        return folders, folders

    def _exportable(self, item: int) -> Any:
        combo = self.kind_combos.get(item)
        return self._exportables[item][combo.currentIndex if combo is not None else 0]

    # ------------------------------------------------------------------ widgets

    def _make(self) -> None:
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        toolkit.set_margins(column, 0, 0, 0, 0)
        self.message = MessageBar()
        column.addWidget(self._source_row())
        column.addWidget(self.message.widget)
        self.hint = toolkit.dimmed(qt.QLabel())
        self.hint.wordWrap = True
        column.addWidget(self.hint)
        self.tree = qt.QTreeWidget()
        self.tree.columnCount = 3
        self.tree.accessibleName = _("What can be sent")
        self.tree.alternatingRowColors = True
        self.tree.uniformRowHeights = True
        self.tree.minimumHeight = 16 * toolkit.unit()
        for index, width in enumerate((24, 25)):
            self.tree.setColumnWidth(index, width * toolkit.unit())
        column.addWidget(self.tree, 1)
        self.check_box = qt.QCheckBox(_("Ask the server afterwards whether it has them"))
        self.check_box.checked = True
        row = qt.QHBoxLayout()
        self.deidentify_box = qt.QCheckBox(_("Remove what says who the patient is"))
        self.profile_button = toolkit.button(
            "info", _("What changes..."), _("Show what is changed"), self._show_profile
        )
        self.deidentify_box.toggled.connect(self._deidentify_toggled)
        row.addWidget(self.deidentify_box)
        row.addWidget(self.profile_button)
        row.addStretch(1)
        self.send_button = qt.QPushButton()
        self.send_button.icon = toolkit.icon("send")
        self.send_button.clicked.connect(lambda *_args: self.send())
        column.addWidget(self.check_box)
        column.addLayout(row)
        what = _("Copy as Python what sends this; the scene has to become files first")
        self.copy_button = toolkit.button("copy", "", what, self.copy_python)
        last = qt.QHBoxLayout()
        last.addWidget(self.send_button, 1)
        last.addWidget(self.copy_button)
        column.addLayout(last)
        self.copy_button.enabled = False
        self.outcome = Outcome(self.session)
        column.addWidget(self.outcome.widget)

    def _source_row(self) -> Any:
        place = qt.QWidget()
        row = qt.QHBoxLayout(place)
        toolkit.set_margins(row, 0, 0, 0, 0)
        row.spacing = 2
        self.source_buttons = {}
        for name, title in (("scene", _("Scene")), ("database", _("Database")), ("files", _("Files"))):
            button = self.source_buttons[name] = qt.QPushButton(title)
            button.checkable = True
            button.checked = name == self.source
            button.clicked.connect(lambda *_args, name=name: self.choose_source(name))
            row.addWidget(button)
        row.addStretch(1)
        self.add_files = toolkit.button("add", _("Files..."), _("Add files"), self._choose_files)
        self.add_folder = toolkit.button("folder", _("Folder..."), _("Add a folder"), self._choose_folder)
        self.refresh = toolkit.button("retry", "", _("Look again"), self.fill)
        for button in (self.add_files, self.add_folder, self.refresh):
            row.addWidget(button)
        self.add_files.hide()
        self.add_folder.hide()
        return place

    def _show_hint(self) -> None:
        hints = {
            "scene": _("The scene has nothing to send yet."),
            "database": _("Slicer's DICOM database is empty."),
            "files": _("Add files or folders."),
        }
        is_empty = not self.tree.topLevelItemCount and not self._pacer.is_running("fill")
        self.hint.text = hints[self.source]
        self.hint.visible = is_empty

    def _show_server(self) -> None:
        server = self.session.servers.current
        whole = _("Send to {server}").format(server=title_of(server)) if server else _("Send")
        self.send_button.text = texts.shortened(whole, _LONGEST_BUTTON)  # a button does not shorten its text itself
        self.send_button.toolTip = whole

    def _deidentify_toggled(self, is_on: bool) -> None:
        """Nothing is installed before somebody wants it, and nothing without being asked."""
        if is_on and not is_available():
            self.deidentify_box.checked = False
            text = _("The profile comes with the package {name}, which is not a part of Slicer.").format(name=PACKAGE)
            self.message.show("info", text, "", [(_("Install it"), self._install_profile)])

    def _install_profile(self) -> None:
        self.message.show("info", _("{name} is being installed...").format(name=PACKAGE))
        install(self._profile_installed)

    def _profile_installed(self, problem: str) -> None:
        if self._is_closed:
            return
        self.message.clear()
        self.deidentify_box.checked = not problem
        if problem:
            text = _("{name} could not be installed.").format(name=PACKAGE)
            self.message.show("error", text, problem, [(_("Try again"), self._install_profile)])

    def _show_profile(self) -> None:
        if not is_available():
            self._deidentify_toggled(True)
            return
        self._profile_dialog = ProfileDialog(self.widget.window())
        self._profile_dialog.show()

    def _choose_files(self) -> None:
        found = qt.QFileDialog.getOpenFileNames(self.widget, _("Files to send"))
        # PySide adds the filter that was chosen; PythonQt does not.
        paths = found[0] if isinstance(found, tuple) and found and isinstance(found[0], list | tuple) else found
        self.add_paths([str(path) for path in paths or ()])

    def _choose_folder(self) -> None:
        path = str(qt.QFileDialog.getExistingDirectory(self.widget, _("Folder to send")) or "")
        if path:
            self.add_paths([path])
