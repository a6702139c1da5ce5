"""The dialog in which a server is added or changed, and tested before anybody relies on it."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from dicombridge.errors import DicomBridgeError
from dicombridge.web.servers import Server
from DICOMwebBrowserLib import toolkit
from DICOMwebBrowserLib.authentication_form import AuthenticationForm
from DICOMwebBrowserLib.google_picker import GooglePicker
from DICOMwebBrowserLib.message_bar import MessageBar
from DICOMwebBrowserLib.preset_form import PresetForm, label_of_word
from DICOMwebBrowserLib.servers import from_template, missing_words, title_of
from DICOMwebBrowserLib.session import Session
from DICOMwebBrowserLib.tls_form import TlsForm

__all__ = ["ServerDialog"]

_MARKS = {True: ("verified", "good"), False: ("warning", "warning"), None: ("info", "info")}


class ServerDialog:
    """Add or edit a server.

    Parameters
    ----------
    server
        The server to edit; None for a new one.
    template
        Name of the preset to begin with.
    """

    def __init__(
        self, session: Session, server: dict[str, Any] | None = None, template: str = "", parent: Any = None
    ) -> None:
        self.session, self._before = session, server
        self._profile: dict[str, Any] = dict((server or {}).get("profile") or {})
        self._extra = {
            key: value for key, value in (server or {}).items() if key in ("qido", "wado", "stow", "headers")
        }
        self._sent: Any = None
        self._saved = False
        self.dialog = qt.QDialog(parent)
        self.dialog.windowTitle = _("Edit server") if server else _("Add a server")
        self.dialog.minimumWidth = 72 * toolkit.unit()
        layout = qt.QVBoxLayout(self.dialog)
        layout.spacing = 10
        self._make_form(layout)
        self._make_findings(layout)
        self._make_buttons(layout)
        self._show(server or {})
        if template:
            self._choose_template(template)

    @property
    def is_new(self) -> bool:
        """Whether a server is being added."""
        return self._before is None

    def values(self) -> dict[str, Any]:
        """Return the server as it stands in the dialog, without secrets.

        Raises
        ------
        DicomBridgeError
            It is none yet; the message says why.
        """
        url = str(self.url_edit.text).strip()
        given = {
            **self._extra,
            "url": url,
            "name": str(self.name_edit.text).strip(),
            "authentication": self.authentication.values(),
            "tls": self.tls.values(),
            "profile": self._profile,
        }
        made = Server.from_json(given)
        return made.to_json() if made.name else made.changed(name=_name_from(made)).to_json()

    def test(self) -> None:
        """Ask the doctor: it finds the address, measures what the server can do, and says so in words."""
        self._clear_findings()
        self.message.clear()
        if self._sent is not None and not self._sent.ended:
            self._sent.cancel()
            return
        problem = self._lacking()
        subject: Any
        try:
            subject = self.values()
            problem = problem or self._unusable()
        except DicomBridgeError as error:
            subject = str(self.url_edit.text).strip()  # any text that was pasted: the doctor may know what it is
            problem = problem or ("" if subject else str(error))
        if problem:
            self.message.show("error", problem)
            return
        self._give_secrets(subject, keep=False)
        self.findings.show()
        self._show_testing(True)
        self._sent = self.session.worker.ask(
            "doctor",
            {
                "finding": self._add_finding,
                "sign-in": lambda event: self._show_sign_in(event),
                "done": lambda event: self._diagnosed(event.get("result") or {}),
                "failed": lambda event: self._failed(event["error"]),
                "ended": lambda event: self._show_testing(False),
            },
            server=subject,
        )

    def save(self) -> None:
        """Keep the server and close; say what is missing where it cannot be kept."""
        problem, values = self._lacking(), {}
        try:
            values = self.values()
            problem = problem or self._unusable() or self._taken(title_of(values))
        except DicomBridgeError as error:
            problem = problem or str(error)
        if problem:
            self.message.show("error", problem)
            return
        self._give_secrets(values, keep=self.authentication.keeps)
        self.session.servers.put(values, title_of(self._before) if self._before else "")
        self._saved = True
        self.dialog.accept()

    def run(self) -> bool:
        """Show the dialog; return whether a server was kept."""
        toolkit.run_dialog(self.dialog)
        self.close()
        return self._saved

    def close(self) -> None:
        """Stop what the dialog still asks, and forget what was typed in of secrets."""
        self.authentication.forget()
        if self._sent is not None and not self._sent.ended:
            self._sent.cancel()

    def _lacking(self) -> str:
        """Return which words of a preset are missing still; "" where none is."""
        texts = [str(self.url_edit.text).strip(), *self.authentication.values().values()]
        words = [word for text in texts if text.lower().startswith("http") for word in missing_words(text)]
        names = ", ".join(map(label_of_word, dict.fromkeys(words)))
        return _("Still missing: {names}.").format(names=names) if names else ""

    def _unusable(self) -> str:
        """Return what is missing or wrong of how one gets in; "" where nothing is."""
        return self.authentication.problem() or self.tls.problem()

    def _taken(self, name: str) -> str:
        """Return that a name is another server's, which this one would replace; "" where it is free."""
        before = title_of(self._before) if self._before else ""
        if name == before or all(title_of(one) != name for one in self.session.servers.own):
            return ""
        return _("Another of your servers is called {name}. Choose another name.").format(name=name)

    # ------------------------------------------------------------------ widgets

    def _make_form(self, layout: Any) -> None:
        form = self._form = toolkit.form()
        self.template_combo = qt.QComboBox()
        self.template_combo.accessibleName = _("Kind of server")
        self.template_combo.addItem(_("Any DICOMweb server"), "")
        for template in self.session.servers.templates:
            self.template_combo.addItem(template["title"], template["name"])
        self.template_combo.currentIndexChanged.connect(lambda *_args: self._template_chosen())
        self.template_combo.visible = self.is_new
        if self.is_new:
            form.addRow(_("Kind"), self.template_combo)
        self.google = GooglePicker(self.session, self._google_chosen)
        form.addRow(self.google.widget)
        self.preset = PresetForm(self._words_typed)
        form.addRow(self.preset.widget)
        self.url_edit = self._edit(_("Paste an address from anywhere, or a folder"), _("Address"))
        self.url_edit.textEdited.connect(lambda *_args: self._address_edited())
        self.url_edit.addAction(toolkit.icon("folder"), qt.QLineEdit.TrailingPosition).triggered.connect(
            lambda *_args: self._choose_folder()
        )
        form.addRow(_("Address"), self.url_edit)
        self.name_edit = self._edit(_("as the address"), _("Name"))
        form.addRow(_("Name"), self.name_edit)
        self.authentication = AuthenticationForm(form)
        layout.addLayout(form)
        self.tls = TlsForm(layout)
        self.authentication.combo.currentIndexChanged.connect(lambda *_args: self._authentication_chosen())

    def _make_findings(self, layout: Any) -> None:
        self.message = MessageBar()
        layout.addWidget(self.message.widget)
        self.findings = qt.QScrollArea()
        self.findings.accessibleName = _("What the test found")
        self.findings.widgetResizable = True
        self.findings.horizontalScrollBarPolicy = qt.Qt.ScrollBarAlwaysOff
        self.findings.minimumHeight = 40 * toolkit.unit()
        self.findings.hide()
        layout.addWidget(self.findings, 1)
        layout.addStretch(0)
        self._clear_findings()

    def _clear_findings(self) -> None:
        self.finding_labels: list[Any] = []
        place = qt.QWidget()
        self._finding_rows = qt.QVBoxLayout(place)
        self._finding_rows.spacing = 5
        self._finding_rows.addStretch(1)
        self.findings.setWidget(place)

    def _make_buttons(self, layout: Any) -> None:
        row = qt.QHBoxLayout()
        self.test_button = qt.QPushButton(_("Test connection"))
        self.test_button.autoDefault = False
        self.test_button.clicked.connect(lambda *_args: self.test())
        self.save_button = qt.QPushButton(_("Save"))
        self.save_button.default = True
        self.save_button.clicked.connect(lambda *_args: self.save())
        cancel = qt.QPushButton(_("Cancel"))
        cancel.autoDefault = False
        cancel.clicked.connect(lambda *_args: self.dialog.reject())
        row.addWidget(self.test_button)
        row.addStretch(1)
        row.addWidget(cancel)
        row.addWidget(self.save_button)
        layout.addLayout(row)

    def _edit(self, placeholder: str, name: str) -> Any:
        edit = qt.QLineEdit()
        edit.placeholderText = placeholder
        edit.accessibleName = name
        return edit

    def _show(self, server: dict[str, Any]) -> None:
        toolkit.put_text(self.url_edit, str(server.get("url") or ""))
        self.name_edit.text = str(server.get("name") or "")
        self.authentication.show(dict(server.get("authentication") or {"kind": "none"}))
        self.tls.show(dict(server.get("tls") or {}))
        self.google.widget.hide()
        self._line_up()

    def _line_up(self) -> None:
        own = [self._form.labelForField(one) for one in (self.url_edit, self.name_edit, self.authentication.combo)]
        if self.is_new:
            own.append(self._form.labelForField(self.template_combo))
        google = [] if self.google.widget.isHidden() else self.google.labels
        toolkit.line_up([*own, *google, *self.preset.labels, *self.authentication.labels])

    # ------------------------------------------------------------------ presets

    def _choose_template(self, name: str) -> None:
        names = ["", *(template["name"] for template in self.session.servers.templates)]
        self.template_combo.currentIndex = names.index(name) if name in names else 0

    def _template_chosen(self) -> None:
        name = self.template_combo.itemData(self.template_combo.currentIndex)
        template = next((one for one in self.session.servers.templates if one["name"] == name), None)
        self.google.widget.visible = name == "google"
        self.preset.show(template)
        if template is None:
            return
        if name == "google":
            self.google.begin()
        server = from_template(template, {})
        self._profile = dict(server.get("profile") or {})
        if name == "local":
            server["url"] = server["name"] = ""
        self._show(server)
        self.google.widget.visible = name == "google"
        self._line_up()
        next(iter(self.preset.edits.values()), self.url_edit).setFocus()

    def _words_typed(self) -> None:
        """Put the words of a preset where they belong."""
        toolkit.put_text(self.url_edit, self.preset.server()["url"])
        for name, value in self.preset.fields().items():
            if name in self.authentication.edits:
                toolkit.put_text(self.authentication.edits[name], value)

    def _google_chosen(self, words: dict[str, str]) -> None:
        template = next(one for one in self.session.servers.templates if one["name"] == "google")
        toolkit.put_text(self.url_edit, from_template(template, words)["url"])
        self.name_edit.text = words.get("store", "")

    def _authentication_chosen(self) -> None:
        self.tls.require(self.authentication.kind == "certificate")
        self._line_up()

    def _address_edited(self) -> None:
        self._profile = {}  # that of another server

    def _choose_folder(self) -> None:
        path = str(qt.QFileDialog.getExistingDirectory(self.dialog, _("Choose a folder"), self.url_edit.text) or "")
        if path:
            self.url_edit.text = path
            self._address_edited()

    # ------------------------------------------------------------------ the test

    def _give_secrets(self, server: Any, keep: bool) -> None:
        for field, value in self.authentication.secrets().items():
            self.session.give_secret(server, field, value, keep)

    def _show_testing(self, is_testing: bool) -> None:
        self.test_button.text = _("Stop the test") if is_testing else _("Test connection")

    def _add_finding(self, event: dict[str, Any]) -> None:
        name, kind = _MARKS[event.get("ok")]
        mark, label = qt.QLabel(), qt.QLabel(str(event.get("text") or event.get("what") or ""))
        mark.pixmap = toolkit.picture(name, 14, toolkit.accent(kind))
        label.wordWrap = True
        label.textFormat = qt.Qt.PlainText
        row = qt.QHBoxLayout()
        row.spacing = 8
        row.addWidget(mark, 0, qt.Qt.AlignTop)
        row.addWidget(label, 1)
        self._finding_rows.insertLayout(self._finding_rows.count() - 1, row)
        self.finding_labels.append(label)

    def _diagnosed(self, result: dict[str, Any]) -> None:
        """Take over what the doctor found out: the right address, the way in, and what the server can do."""
        server = result.get("server") or {}
        if not server:
            return
        typed = self.authentication.secrets()
        self._profile = dict(server.get("profile") or {})
        self.url_edit.text = str(server.get("url") or self.url_edit.text)
        found = server.get("authentication") or {"kind": "none"}
        if found.get("kind", "none") != self.authentication.kind:
            self.authentication.show(found)
            for name, value in typed.items():
                if name in self.authentication.secret_edits:
                    self.authentication.secret_edits[name].text = value

    def _show_sign_in(self, event: dict[str, Any]) -> None:
        url, code = str(event.get("url") or ""), str(event.get("code") or "")
        self.message.show(
            "info",
            _("Sign in at {url} with the code {code}").format(url=url, code=code),
            "",
            [(_("Open the browser"), lambda: qt.QDesktopServices.openUrl(qt.QUrl(url)))],
        )

    def _failed(self, error: dict[str, Any]) -> None:
        self.message.show("error", str(error.get("message") or ""), str(error.get("details") or ""))
        for name in error.get("needs") or []:
            if name in self.authentication.secret_edits:
                self.authentication.secret_edits[name].setFocus()


def _name_from(server: Server) -> str:
    """Return a name for a server that was given none: its host, or its folder."""
    if server.path is not None:
        return server.path.name or str(server.path)
    return next(iter(server.origins)).host
