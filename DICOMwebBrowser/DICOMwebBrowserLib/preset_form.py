"""The words that a preset's address lacks, e.g. the workspace of Azure: a field for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import toolkit
from DICOMwebBrowserLib.servers import from_template

__all__ = ["PresetForm", "label_of_word"]

# Google has lists to pick from, and a folder is its own address.
_WITHOUT_FIELDS = frozenset({"google", "local"})


def label_of_word(name: str) -> str:
    """Return what a word of an address is called in the language of the person."""
    labels = {
        "workspace": _("Workspace"),
        "service": _("DICOM service"),
        "tenant": _("Tenant"),
        "client_id": _("Client ID"),
        "region": _("Region"),
        "datastore": _("Data store ID"),
        "project": _("Project"),
        "location": _("Location"),
        "dataset": _("Dataset"),
        "store": _("DICOM store"),
    }
    return labels.get(name, name.replace("_", " ").capitalize())


class PresetForm:
    """Fields for the words of a preset; hidden where the usual words do, or where there is a better way to choose them.

    Parameters
    ----------
    typed
        Called when a word is another one.
    """

    def __init__(self, typed: Callable[[], Any]) -> None:
        self._typed = typed
        self._template: dict[str, Any] = {}
        self.labels: list[Any] = []
        self.edits: dict[str, Any] = {}
        self.widget = qt.QWidget()
        self._form = toolkit.form(self.widget)
        self.widget.hide()

    def show(self, template: dict[str, Any] | None) -> None:
        """Show the fields of a preset; of None, none."""
        for widget in (*self.labels, *self.edits.values()):
            widget.hide()
            widget.deleteLater()
        self.labels, self.edits, self._template = [], {}, template or {}
        words = self._template.get("words") or {}
        is_complete = all(words.values()) or self._template.get("name") in _WITHOUT_FIELDS
        alone = set((self._template.get("fields") or {}).values())
        for word, usual in words.items():
            if not is_complete and f"{{{word}}}" not in alone - self._in_address():
                self._add(word, str(usual))
        self.widget.visible = bool(self.edits)

    def server(self) -> dict[str, Any]:
        """Return the preset's server with the words that are there; the others stay in braces."""
        return from_template(self._template, {word: str(edit.text).strip() for word, edit in self.edits.items()})

    def fields(self) -> dict[str, str]:
        """Return the fields of the authentication in which one of the words stands."""
        texts = self._template.get("fields") or {}
        named = [key for key, text in texts.items() if any(f"{{{word}}}" in text for word in self.edits)]
        found = self.server().get("authentication") or {}
        return {key: found.get(key, "") for key in named}

    def _in_address(self) -> set[str]:
        address = str(self._template.get("address") or "")
        return {f"{{{word}}}" for word in self._template.get("words") or {} if f"{{{word}}}" in address}

    def _add(self, word: str, usual: str) -> None:
        label, edit = qt.QLabel(label_of_word(word)), qt.QLineEdit()
        edit.text = usual
        edit.objectName = word
        edit.accessibleName = label_of_word(word)
        edit.textEdited.connect(lambda *_args: self._typed())
        label.setBuddy(edit)
        self._form.addRow(label, edit)
        self.labels.append(label)
        self.edits[word] = edit
