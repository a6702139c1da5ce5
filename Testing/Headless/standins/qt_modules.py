"""``qt`` and ``ctk`` as PythonQt shows them, on PySide6: what a window of ours needs of them, and no more.

In PythonQt properties are values and not methods; PySide6 can do the same for chosen modules (its ``true_property``
feature). Code that sticks to that, to plain enumerations and to ``.connect`` runs on both.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

try:
    from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets
    from shibokensupport import feature
except ImportError as error:
    libraries = "libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0 fonts-dejavu-core"
    raise ImportError(f"{error}. The tests of the window need PySide6 and, on Debian, {libraries}.") from error

_TRUE_PROPERTY = 0x02

if sys.version_info < (3, 12):
    # Each time that such a property is set, PySide 6.12 gives away a reference of None that it does not have; from
    # Python 3.12 on None is not counted. So None gets more references than anybody can give away.
    ctypes.c_ssize_t.from_address(id(None)).value += 1 << 40


def as_pythonqt(names: Iterable[str]) -> None:
    """Let modules, which need not be imported yet, see properties as values."""
    for name in names:
        feature.set_selection(_TRUE_PROPERTY, name)


as_pythonqt([__name__])


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A heading that hides and shows what is below it."""

    toggled = QtCore.Signal(bool)
    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self._own_hidden: list[Any] = []
        self.focusPolicy = QtCore.Qt.StrongFocus
        self._place()

    def _get_text(self) -> str:
        return self._text

    def _set_text(self, text: str) -> None:
        self._text = text
        self.accessibleName = text
        self.update()

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        if bool(collapsed) == self._collapsed:
            return
        self._collapsed = bool(collapsed)
        self._place()
        below = [child for child in self.children() if isinstance(child, QtWidgets.QWidget)]
        if self._collapsed:
            self._own_hidden = [child for child in below if child.isHidden()]
        for child in below:
            child.visible = not self._collapsed and child not in self._own_hidden
        self.contentsCollapsed.emit(self._collapsed)

    text = QtCore.Property(str, _get_text, _set_text)
    collapsed = QtCore.Property(bool, _get_collapsed, _set_collapsed)

    @property
    def _heading(self) -> int:
        return self.fontMetrics().height() + 8

    def _place(self) -> None:
        self.setContentsMargins(0, self._heading, 0, 0)
        if self._collapsed:
            self.setFixedHeight(self._heading)
        else:
            self.minimumHeight, self.maximumHeight = 0, 16777215

    def childEvent(self, event: Any) -> None:
        super().childEvent(event)
        if event.added() and isinstance(event.child(), QtWidgets.QWidget) and self._collapsed:
            event.child().visible = False

    def mousePressEvent(self, event: Any) -> None:
        if event.position().y() <= self._heading:
            self._set_collapsed(not self._collapsed)

    def keyPressEvent(self, event: Any) -> None:
        if event.key() == QtCore.Qt.Key_Space:  # as a QAbstractButton: Enter is for others
            self._set_collapsed(not self._collapsed)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self._heading)
        option.state |= QtWidgets.QStyle.State_On if not self._collapsed else QtWidgets.QStyle.State_Raised
        self.style().drawPrimitive(QtWidgets.QStyle.PE_PanelButtonTool, option, painter, self)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, self._heading // 2 - 5, 10, 10)
        kind = QtWidgets.QStyle.PE_IndicatorArrowRight if self._collapsed else QtWidgets.QStyle.PE_IndicatorArrowDown
        self.style().drawPrimitive(kind, arrow, painter, self)
        painter.drawText(option.rect.adjusted(24, 0, 0, 0), QtCore.Qt.AlignVCenter, self._text)
        painter.end()


class ctkDICOMIndexer(QtCore.QObject):
    """Indexes behind the caller's back and says when it is through.

    CTK's does so in a thread. A thread of Python would hold up the event loop, which is not what this stands for, so
    that a timer reads a few files at a time.
    """

    indexingComplete = QtCore.Signal(int, int, int, int)
    progress = QtCore.Signal(int)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.backgroundImportEnabled = False
        self._database: Any = None
        self.batches: list[int] = []

    def setDatabase(self, database: Any) -> None:
        self._database = database

    def addListOfFiles(self, files: Any, copy: bool = False) -> None:
        if copy:
            raise AssertionError("a second copy of every file")
        if not self.backgroundImportEnabled:
            raise AssertionError("this would wait")
        self.batches.append(len(files))
        self._files = list(files)
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self._work)
        self._timer.start(1)

    def _work(self) -> None:
        some, self._files = self._files[:4], self._files[4:]
        self._database._add(some)
        if not self._files:
            self._timer.stop()
            self.indexingComplete.emit(0, 0, 0, self.batches[-1])


class QtModule(ModuleType):
    """``qt``: all of Qt's classes in one module."""

    def __getattr__(self, name: str) -> Any:
        for module in (QtCore, QtGui, QtWidgets):
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"module 'qt' has no attribute {name!r}")

    def SIGNAL(self, text: str) -> str:
        return f"2{text}"


def load_ui(path: str) -> Any:
    """``slicer.util.loadUI``."""
    loader = QtUiTools.QUiLoader()
    loader.registerCustomWidget(ctkCollapsibleButton)
    widget = loader.load(str(path))
    if widget is None:
        raise RuntimeError(f"{path} cannot be read")
    return widget


class ChildWidgets:
    """``slicer.util.childWidgetVariables``: every named widget below one, as an attribute."""

    def __init__(self, root: Any) -> None:
        for child in [root, *root.findChildren(QtCore.QObject)]:
            name = child.objectName
            if name and not name.startswith("qt_"):
                setattr(self, name, child)


def application() -> Any:
    """Return the one QApplication of the tests."""
    found = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    found.organizationName, found.applicationName = "NA-MIC", "Slicer"
    return found


def install(monkeypatch: Any, folder: Path) -> None:
    """Make ``qt`` and ``ctk`` importable, and let the modules of a folder see them as PythonQt shows them."""
    application()
    ctk = ModuleType("ctk")
    ctk.ctkCollapsibleButton, ctk.ctkDICOMIndexer = ctkCollapsibleButton, ctkDICOMIndexer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "qt", QtModule("qt"))
    monkeypatch.setitem(sys.modules, "ctk", ctk)
    names = [path.relative_to(folder).with_suffix("").as_posix().replace("/", ".") for path in folder.rglob("*.py")]
    as_pythonqt(name.removesuffix(".__init__") for name in names)
