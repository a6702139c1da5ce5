"""The shape of the window: narrow in Slicer's panel, or wide in a window of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import toolkit

__all__ = ["Shape"]

_WIDE = 110
"""Characters from which on the preview stands beside the results, and not below them."""


class Shape(qt.QObject):
    """Puts the preview where there is room for it, and the whole panel into a window of its own where that is wanted.

    Parameters
    ----------
    shown
        Called when the panel is shown again.
    widened
        Called with whether the panel is wide, when that changes.
    """

    def __init__(self, root: Any, ui: Any, shown: Callable[[], Any], widened: Callable[[bool], Any]) -> None:
        qt.QObject.__init__(self)
        self._root, self._ui, self._shown, self._widened = root, ui, shown, widened
        self._home: Any = None
        ui.resultsSplitter.setStretchFactor(0, 1)
        ui.resultsSplitter.setStretchFactor(1, 0)
        root.installEventFilter(self)

    def close(self) -> None:
        """Go back into Slicer's panel, and stop watching."""
        self.detach(False)
        self._root.removeEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Follow the size of the panel, and go back into Slicer's when its own window is closed."""
        kind = event.type()
        if kind == qt.QEvent.Resize:
            is_wide = self._root.width > _WIDE * toolkit.unit()
            orientation = qt.Qt.Horizontal if is_wide else qt.Qt.Vertical
            if self._ui.resultsSplitter.orientation != orientation:
                self._ui.resultsSplitter.orientation = orientation
                self._widened(is_wide)
        elif kind == qt.QEvent.Close and self._home is not None:
            self._ui.windowButton.checked = False
            event.ignore()
            return True
        elif kind == qt.QEvent.Show:
            self._shown()
        return False

    def detach(self, is_wanted: bool) -> None:
        """Show the panel in a window of its own, or in Slicer's again."""
        if is_wanted == (self._home is not None):
            return
        if is_wanted:
            self._home = self._root.parentWidget()
            size = self._root.size
            if self._home is not None and self._home.layout() is not None:
                self._home.layout().removeWidget(self._root)
            self._root.setParent(self._home.window() if self._home is not None else None)
            toolkit.put(self._root, "windowFlags", qt.Qt.Window)
            self._root.windowTitle = _("DICOMweb Browser")
            self._root.resize(max(size.width(), 150 * toolkit.unit()), max(size.height(), 100 * toolkit.unit()))
        else:
            home, self._home = self._home, None
            toolkit.put(self._root, "windowFlags", qt.Qt.Widget)
            if home is not None and home.layout() is not None:
                home.layout().addWidget(self._root)
        margin = toolkit.unit() if is_wanted else 0
        toolkit.set_margins(self._root.layout(), margin, margin, margin, margin)
        self._root.show()
