"""Whom to trust, and with what to show who one is: the files of TLS."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import toolkit

__all__ = ["TlsForm"]


class TlsForm:
    """A box to tick, and below it the files; open and not to be closed where the authentication is a certificate.

    Parameters
    ----------
    layout
        A QVBoxLayout to add to.
    """

    def __init__(self, layout: Any) -> None:
        self.box = qt.QCheckBox(_("Own certificates (TLS)"))
        self.edits: dict[str, Any] = {}
        self.place = qt.QWidget()
        form = toolkit.form(self.place)
        toolkit.set_margins(form, 3 * toolkit.unit(), 0, 0, 0)
        self._labels = {
            "ca_bundle": _("CA bundle"),
            "certificate": _("Own certificate"),
            "key": _("Key of it"),
        }
        tips = {
            "ca_bundle": _("File with the certificates of authorities to trust instead of the usual ones"),
            "certificate": _("File with the certificate that says who you are"),
            "key": _("File with its key, where that is another one"),
        }
        for name, label in self._labels.items():
            edit = self.edits[name] = qt.QLineEdit()
            edit.accessibleName, edit.toolTip = label, tips[name]
            toolkit.add_file_chooser(edit)
            form.addRow(label, edit)
        self._is_needed = False
        self.box.toggled.connect(self._toggled)
        self._toggled(False)
        layout.addWidget(self.box)
        layout.addWidget(self.place)

    def values(self) -> dict[str, str]:
        """Return the files; none where the box is not ticked."""
        if not self.box.checked:
            return {}
        given = {name: str(edit.text).strip() for name, edit in self.edits.items()}
        return {name: path for name, path in given.items() if path}

    def show(self, tls: dict[str, str]) -> None:
        """Show the files of a server."""
        for name, edit in self.edits.items():
            edit.text = str(tls.get(name) or "")
        self.box.checked = bool(tls) or self._is_needed

    def require(self, is_needed: bool) -> None:
        """Say whether the authentication is the certificate."""
        self._is_needed = is_needed
        self.box.enabled = not is_needed
        self.box.checked = is_needed or any(str(edit.text).strip() for edit in self.edits.values())

    def problem(self) -> str:
        """Return what is wrong with the files, in words; "" where nothing is."""
        values = self.values()
        if self._is_needed and "certificate" not in values:
            return _("Choose the file with your own certificate, or another authentication.")
        if "key" in values and "certificate" not in values:
            return _("A key is of no use without the certificate that it belongs to.")
        for name, path in values.items():
            if not toolkit.is_there(path):
                return _("{what}: there is no file {path}.").format(what=self._labels[name], path=path)
        return ""

    def _toggled(self, is_shown: bool) -> None:
        self.place.visible = is_shown
