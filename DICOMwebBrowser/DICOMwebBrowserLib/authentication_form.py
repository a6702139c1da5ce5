"""The ways to get in to a server, each with its own fields and no others."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from dicombridge.web.authentication import WAYS
from DICOMwebBrowserLib import toolkit

__all__ = ["AuthenticationForm", "label_of"]

_FILES = frozenset({"key_file", "ca_bundle"})

# What hardly anybody needs, or what belongs to another part of the dialog.
_HIDDEN = frozenset(
    {"host", "grant", "token_endpoint", "device_endpoint", "ca_bundle", "remember", "payload", "profile"}
)


def label_of(name: str) -> str:
    """Return what a field or secret is called in the language of the person."""
    labels = {
        "user": _("User"),
        "password": _("Password"),
        "token": _("Token"),
        "account": _("Account"),
        "key_file": _("Key file"),
        "scope": _("Scope"),
        "service_account": _("Service account (JSON)"),
        "client_id": _("Client ID"),
        "issuer": _("Issuer"),
        "audience": _("Audience"),
        "client_secret": _("Client secret"),
        "refresh_token": _("Refresh token"),
        "passphrase": _("Passphrase of the key"),
        "access_key": _("Access key"),
        "secret_key": _("Secret key"),
        "session_token": _("Session token"),
        "region": _("Region"),
        "service": _("Service"),
    }
    return labels.get(name, name.replace("_", " ").capitalize())


def title_of(kind: str) -> str:
    """Return what a way in is called."""
    titles = {
        "none": _("Nothing"),
        "basic": _("User and password"),
        "bearer": _("Token"),
        "gcloud": _("Google Cloud command line tool"),
        "google": _("Google account or service account"),
        "oidc": _("Sign in in the browser (OpenID Connect)"),
        "certificate": _("Certificate"),
        "sigv4": _("AWS signature"),
        "kheops": _("Kheops link"),
    }
    return titles.get(kind, WAYS[kind].title)


class AuthenticationForm:
    """A combo box of the ways, and below it the fields of the chosen one.

    Parameters
    ----------
    form
        A QFormLayout to add to.
    """

    def __init__(self, form: Any) -> None:
        self.combo = qt.QComboBox()
        self.combo.accessibleName = _("Authentication")
        for kind in WAYS:
            self.combo.addItem(title_of(kind), kind)
        self.combo.currentIndexChanged.connect(lambda *_args: self._show_fields())
        form.addRow(_("Authentication"), self.combo)
        self.place = qt.QWidget()
        self._form = toolkit.form(self.place)
        form.addRow(self.place)
        self.edits: dict[str, Any] = {}
        self.secret_edits: dict[str, Any] = {}
        self.keep_box: Any = None
        self._given: dict[str, str] = {}
        self.labels: list[Any] = []
        self._rows: list[Any] = []
        self._show_fields()

    @property
    def kind(self) -> str:
        """The chosen way."""
        return str(self.combo.itemData(self.combo.currentIndex))

    def show(self, authentication: dict[str, str]) -> None:
        """Show the authentication of a server."""
        self._given = dict(authentication)
        kind = authentication.get("kind", "none")
        self.combo.currentIndex = max(0, list(WAYS).index(kind) if kind in WAYS else 0)
        self._show_fields()

    def values(self) -> dict[str, str]:
        """Return the public part of the authentication; fields that are not shown stay as they were."""
        shown = {name: str(edit.text).strip() for name, edit in self.edits.items()}
        hidden = {
            name: value
            for name, value in self._given.items()
            if name in WAYS[self.kind].fields and name not in shown and self._given.get("kind") == self.kind
        }
        return {"kind": self.kind, **{name: value for name, value in (hidden | shown).items() if value}}

    def secrets(self) -> dict[str, str]:
        """Return the secrets that were typed in."""
        return {name: str(edit.text) for name, edit in self.secret_edits.items() if edit.text}

    def problem(self) -> str:
        """Return what is missing or wrong in the fields, in words; "" where nothing is."""
        way, values = WAYS[self.kind], self.values()
        for name in way.fields[: way.needed]:
            if not values.get(name):
                return _("{what} is missing.").format(what=label_of(name))
        for name in _FILES.intersection(self.edits):
            if name in values and not toolkit.is_there(values[name]):
                return _("{what}: there is no file {path}.").format(what=label_of(name), path=values[name])
        return ""

    def forget(self) -> None:
        """Empty the fields of secrets."""
        for edit in self.secret_edits.values():
            edit.clear()

    @property
    def keeps(self) -> bool:
        """Whether secrets are to go into the keychain."""
        return self.keep_box is not None and bool(self.keep_box.checked)

    def _show_fields(self) -> None:
        for widget in self._rows:
            widget.hide()
            widget.deleteLater()
        self._rows, self.edits, self.secret_edits, self.keep_box = [], {}, {}, None
        self.labels = []
        way = WAYS[self.kind]
        for name in way.fields:
            if name not in _HIDDEN and name not in way.secrets:
                self.edits[name] = self._row(name, self._given.get(name, ""))
        for name in way.secrets:
            edit = self.secret_edits[name] = self._row(name, "")
            edit.echoMode = qt.QLineEdit.Password
            edit.placeholderText = _("unchanged where it is left empty")
        if way.secrets:
            self.keep_box = qt.QCheckBox(_("Keep in the keychain of this computer"))
            self.keep_box.toolTip = _(
                "Otherwise it is forgotten when Slicer ends. It is never written into the settings."
            )
            self._form.addRow("", self.keep_box)
            self._rows.append(self.keep_box)
        self.place.visible = bool(self._rows)

    def _row(self, name: str, value: str) -> Any:
        label, edit = qt.QLabel(label_of(name)), qt.QLineEdit()
        toolkit.put_text(edit, value)
        edit.accessibleName = label_of(name)
        edit.objectName = name
        label.setBuddy(edit)
        self._form.addRow(label, edit)
        self._rows += [label, edit]
        self.labels.append(label)
        if name in _FILES:
            toolkit.add_file_chooser(edit)
        return edit
