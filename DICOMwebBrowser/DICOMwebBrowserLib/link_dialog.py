"""The question before a link is followed: any web page can make one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import texts, toolkit
from DICOMwebBrowserLib.links import Link

__all__ = ["LinkDialog"]


class LinkDialog:
    """Shows where a link leads to; nothing is asked of that server before somebody agrees.

    Parameters
    ----------
    agreed
        Called with ``load`` or ``show`` when the person agrees.
    """

    def __init__(self, link: Link, is_known: bool, agreed: Callable[[str], Any], parent: Any = None) -> None:
        self.dialog = qt.QDialog(parent)
        self.dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
        self.dialog.windowTitle = _("Open a link")
        self.dialog.minimumWidth = 60 * toolkit.unit()
        layout = qt.QVBoxLayout(self.dialog)
        layout.spacing = 10
        question = qt.QLabel(_("A link asks Slicer to fetch images. Open it only if you know where it comes from."))
        question.wordWrap = True
        layout.addWidget(question)
        form = qt.QFormLayout()
        series = texts.count(len(link.series), _("{n} series"), _("{n} series")) if link.series else _("all")
        known = _("one of your servers") if is_known else _("not one of your servers")
        rows = [(_("Host"), f"{link.host}  ({known})"), (_("Address"), link.server), (_("Study"), link.study)]
        rows.append((_("Series"), series))
        if link.token:
            rows.append((_("Sign in"), _("with a token of the link, which is forgotten when Slicer ends")))
        self.labels = {}
        for title, text in rows:
            label = self.labels[title] = qt.QLabel(text)
            label.textFormat = qt.Qt.PlainText
            label.wordWrap = True
            label.textInteractionFlags = qt.Qt.TextSelectableByMouse
            form.addRow(title, label)
        layout.addLayout(form)
        row = qt.QHBoxLayout()
        row.addStretch(1)
        self.buttons = {}
        for name, title in (("", _("Do not open")), ("show", _("Show what is there")), ("load", _("Load"))):
            button = self.buttons[name] = qt.QPushButton(title)
            button.autoDefault = False
            button.clicked.connect(lambda *_args, name=name: self._answer(name, agreed))
            row.addWidget(button)
        self.buttons[""].default = True
        layout.addLayout(row)

    def show(self) -> None:
        """Show the question; nothing waits for the answer."""
        self.dialog.show()
        self.dialog.raise_()

    def _answer(self, name: str, agreed: Callable[[str], Any]) -> None:
        self.dialog.close()
        if name:
            agreed(name)
