"""One message above what it is about: in words, with details on demand and with what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import toolkit

__all__ = ["MessageBar"]


class MessageBar:
    """A bar that is hidden until there is something to say."""

    def __init__(self) -> None:
        self.widget = qt.QFrame()
        self.widget.objectName = "messageBar"
        self.widget.frameShape = qt.QFrame.NoFrame
        outer = qt.QVBoxLayout(self.widget)
        toolkit.set_margins(outer, 8, 6, 6, 6)
        outer.spacing = 4
        top = qt.QHBoxLayout()
        top.spacing = 8
        outer.addLayout(top)
        self.icon = qt.QLabel()
        self.label = qt.QLabel()
        self.label.wordWrap = True
        self.label.textFormat = qt.Qt.PlainText
        self.label.textInteractionFlags = qt.Qt.TextSelectableByMouse
        self.label.sizePolicy = qt.QSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Preferred)
        self.close_button = toolkit.button("close", "", _("Close this message"), self.clear)
        top.addWidget(self.icon)
        top.addWidget(self.label, 1)
        top.addWidget(self.close_button)
        self._row = qt.QHBoxLayout()
        self._row.spacing = 4
        outer.addLayout(self._row)
        self.details = qt.QPlainTextEdit()
        self.details.readOnly = True
        self.details.maximumHeight = 12 * toolkit.unit()
        self.details.accessibleName = _("Details of the message")
        outer.addWidget(self.details)
        self.details_button = toolkit.button("info", _("Details"), _("Show details"), self._toggle_details)
        self._buttons: list[Any] = []
        self._topic = ""
        self.widget.hide()

    @property
    def text(self) -> str:
        """What the bar says; "" where it is hidden."""
        return "" if self.widget.isHidden() else str(self.label.text)

    def show(
        self,
        kind: str,
        text: str,
        details: str = "",
        actions: list[tuple[str, Callable[[], Any]]] | None = None,
        topic: str = "",
    ) -> None:
        """Say something.

        Parameters
        ----------
        kind
            ``info``, ``warning`` or ``error``.
        text, details
            One sentence or two; what helps somebody who is asked for help.
        actions
            Texts of buttons, and what they do.
        topic
            What it is about, for :meth:`clear`.
        """
        self._topic = topic
        colour = toolkit.accent(kind)
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        self.widget.styleSheet = (
            f"#messageBar {{ background: rgba({red}, {green}, {blue}, 28); border-left: 3px solid {colour}; }}"
        )
        self.icon.pixmap = toolkit.picture("info" if kind == "info" else "warning", 16, colour)
        self.label.text = text
        self.details.plainText = details
        self.details.hide()
        self._drop_buttons()
        for title, function in actions or []:
            made = qt.QPushButton(title)
            made.clicked.connect(lambda *_args, function=function: self._act(function))
            self._add(made)
        if details:
            self._row.addWidget(self.details_button)
            self.details_button.show()
        else:
            self.details_button.hide()
        self._row.addStretch(1)
        self.widget.show()

    def clear(self, topic: str = "") -> None:
        """Hide the bar; with a topic, only where it says something about that."""
        if not topic or topic == self._topic:
            self.widget.hide()

    def click(self, title: str) -> None:
        """Press the button with a text; for tests and for the keyboard."""
        next(button for button in self._buttons if button.text == title).click()

    def _add(self, made: Any) -> None:
        self._buttons.append(made)
        self._row.addWidget(made)

    def _act(self, function: Callable[[], Any]) -> None:
        self.clear()
        function()

    def _toggle_details(self) -> None:
        if self.details.isHidden():
            self.details.show()
        else:
            self.details.hide()

    def _drop_buttons(self) -> None:
        while self._row.count():
            item = self._row.takeAt(0)
            widget = item.widget()
            if widget is not None and widget in self._buttons:
                widget.hide()
                widget.deleteLater()
        self._buttons.clear()
