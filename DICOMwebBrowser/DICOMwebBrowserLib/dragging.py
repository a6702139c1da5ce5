"""Series that are dragged from the results: as links, which Slicer hands back to us where they are dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from DICOMwebBrowserLib import toolkit

__all__ = ["DragSource"]


class DragSource(qt.QObject):
    """An event filter for the viewport of a table.

    Parameters
    ----------
    viewport
        Where a drag begins.
    links
        Returns the links of what is selected.
    """

    def __init__(self, viewport: Any, links: Callable[[], list[str]]) -> None:
        qt.QObject.__init__(self)
        self._viewport, self._links = viewport, links
        self._pressed: Any = None
        viewport.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Begin a drag when the mouse moves far enough with its button down; everything else goes on as it was."""
        kind = event.type()
        if kind == qt.QEvent.MouseButtonPress:
            self._pressed = toolkit.place_of(event) if event.button() == qt.Qt.LeftButton else None
        elif kind == qt.QEvent.MouseButtonRelease:
            self._pressed = None
        elif kind == qt.QEvent.MouseMove and self._pressed is not None:
            way = toolkit.place_of(event) - self._pressed
            if way.manhattanLength() >= qt.QApplication.startDragDistance():
                self._pressed = None
                return self._drag()
        return False

    def _drag(self) -> bool:
        links = self._links()
        if not links:
            return False
        data = qt.QMimeData()
        # As bytes, because not every PythonQt makes a list of addresses from a list.
        data.setData("text/uri-list", qt.QByteArray("\r\n".join(links).encode("ascii")))
        data.setText("\n".join(links))
        drag = qt.QDrag(self._viewport)
        drag.setMimeData(data)
        run = getattr(drag, "exec_", None) or drag.exec
        run(qt.Qt.CopyAction)
        return True
