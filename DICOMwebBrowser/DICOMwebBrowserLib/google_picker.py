"""Project, location, dataset and store of Google Cloud, picked from lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import toolkit
from DICOMwebBrowserLib.session import Session

__all__ = ["GooglePicker"]

_STEPS = (("projects", "project"), ("locations", "location"), ("datasets", "dataset"), ("stores", "store"))


class GooglePicker:
    """Four combo boxes; each is filled from Google when the one before it is chosen.

    Parameters
    ----------
    chosen
        Called with ``{"project", "location", "dataset", "store"}`` once all four are.
    """

    def __init__(self, session: Session, chosen: Callable[[dict[str, str]], Any]) -> None:
        self._session, self._chosen = session, chosen
        self.widget = qt.QWidget()
        form = toolkit.form(self.widget)
        titles = {
            "project": _("Project"),
            "location": _("Location"),
            "dataset": _("Dataset"),
            "store": _("DICOM store"),
        }
        self.combos: dict[str, Any] = {}
        self.labels: list[Any] = []
        for step, (_what, word) in enumerate(_STEPS):
            combo = self.combos[word] = qt.QComboBox()
            combo.editable = True  # the account may use what it may not list
            combo.accessibleName = titles[word]
            combo.activated.connect(lambda *_args, step=step: self._picked(step))
            label = qt.QLabel(titles[word])
            label.setBuddy(combo)
            self.labels.append(label)
            form.addRow(label, combo)
        self.note = toolkit.dimmed(qt.QLabel())
        self.note.wordWrap = True
        form.addRow(self.note)
        self.widget.hide()

    def begin(self) -> None:
        """Ask for the projects."""
        self._ask(0)

    def words(self) -> dict[str, str]:
        """Return what is chosen so far."""
        return {word: str(combo.currentText).strip() for word, combo in self.combos.items() if combo.currentText}

    def _ask(self, step: int) -> None:
        what, word = _STEPS[step]
        before = {name: value for _what, name in _STEPS[:step] if (value := self.words().get(name))}
        for _later, name in _STEPS[step:]:
            self.combos[name].clear()
        self.note.text = _("Asking Google...")
        self.note.show()
        self._session.worker.ask(
            "google",
            {
                "done": lambda event: self._came(word, event["result"].get("names") or []),
                "failed": lambda event: self._failed(event["error"]),
            },
            what=what,
            **{name: value for name, value in before.items() if name in ("project", "location", "dataset")},
        )

    def _came(self, word: str, names: list[str]) -> None:
        combo = self.combos[word]
        for name in names:
            combo.addItem(str(name).split("\t")[0])
        combo.currentIndex = -1
        self.note.text = "" if names else _("Google lists nothing here; a name can be typed in.")
        self.note.visible = not names

    def _failed(self, error: dict[str, Any]) -> None:
        self.note.text = str(error.get("message") or "")
        self.note.show()

    def _picked(self, step: int) -> None:
        if step + 1 < len(_STEPS):
            self._ask(step + 1)
        elif len(self.words()) == len(_STEPS):
            self._chosen(self.words())
