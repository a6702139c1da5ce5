"""Asking for a secret that a server wants; it goes to the worker, and where that is wished to the keychain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import toolkit
from DICOMwebBrowserLib.authentication_form import label_of
from DICOMwebBrowserLib.servers import title_of
from DICOMwebBrowserLib.session import Session

__all__ = ["SecretDialog"]


class SecretDialog:
    """One line a secret, and whether the keychain keeps it."""

    def __init__(
        self, session: Session, server: dict[str, Any], names: list[str], then: Callable[[], Any], parent: Any = None
    ) -> None:
        self._session, self._server, self._then = session, server, then
        self.dialog = qt.QDialog(parent)
        self.dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
        self.dialog.windowTitle = _("Sign in")
        self.dialog.windowModality = qt.Qt.WindowModal
        self.dialog.minimumWidth = 48 * toolkit.unit()
        layout = qt.QVBoxLayout(self.dialog)
        layout.spacing = 10
        layout.addWidget(qt.QLabel(_("{server} asks who you are.").format(server=title_of(server))))
        form = qt.QFormLayout()
        self.edits = {}
        for name in names:
            edit = self.edits[name] = qt.QLineEdit()
            edit.echoMode = qt.QLineEdit.Password
            edit.accessibleName = label_of(name)
            form.addRow(label_of(name), edit)
        layout.addLayout(form)
        self.keep_box = qt.QCheckBox(_("Keep in the keychain of this computer"))
        layout.addWidget(self.keep_box)
        row = qt.QHBoxLayout()
        row.addStretch(1)
        cancel, self.ok_button = qt.QPushButton(_("Cancel")), qt.QPushButton(_("Sign in"))
        cancel.autoDefault = False
        self.ok_button.default = True
        cancel.clicked.connect(lambda *_args: self.dialog.reject())
        self.ok_button.clicked.connect(lambda *_args: self._give())
        row.addWidget(cancel)
        row.addWidget(self.ok_button)
        layout.addLayout(row)

    def show(self) -> None:
        """Show the dialog; it does not hold up anything else."""
        self.dialog.show()
        next(iter(self.edits.values())).setFocus()

    def _give(self) -> None:
        for name, edit in self.edits.items():
            if edit.text:
                self._session.give_secret(self._server, name, str(edit.text), bool(self.keep_box.checked))
                edit.clear()
        self.dialog.accept()
        self._then()
