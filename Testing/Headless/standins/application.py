"""A stand-in for the running application: the names that Slicer puts into the ``slicer`` package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from standins.pythonqt import Property, QtObject, flag_in, method, text_in, texts_in
from standins.settings import Settings
from standins.widgets import qSlicerDICOMExportable, qSlicerDICOMLoadable


class LoadableModule(QtObject):
    """``qSlicerScriptedLoadableModule``, the ``parent`` of a hook."""

    title = Property("", text_in)
    categories = Property((), texts_in)
    contributors = Property((), texts_in)
    associatedNodeTypes = Property((), texts_in)
    dependencies = Property((), texts_in)
    helpText = Property("", text_in)
    acknowledgementText = Property("", text_in)
    hidden = Property(False, flag_in)
    name = Property("", None)
    path = Property("", None)


class Application(QtObject):
    """``slicer.app``."""

    def __init__(self, testing: bool) -> None:
        self._testing = testing
        self._settings = Settings()
        self._slots: dict[str, list[Any]] = {}

    @method
    def settings(self) -> Settings:
        return self._settings

    @method
    def connect(self, signal: str, slot: Any) -> bool:
        self._slots.setdefault(signal, []).append(slot)
        return True

    @method
    def testingEnabled(self) -> bool:
        return self._testing

    @method
    def processEvents(self, flags: Any = None) -> None:
        raise AssertionError("events in the middle of a load let the user click on things")


class MainWindow(QtObject):
    """The main window's status bar; ``_messages`` is what it showed and ``_painted`` how often it was painted."""

    def __init__(self) -> None:
        self._messages: list[str] = []
        self._painted = 0

    @method
    def statusBar(self) -> MainWindow:
        return self

    @method
    def repaint(self) -> None:
        self._painted += 1


class SlicerStandIn:
    """What :func:`install` put in place."""

    def __init__(self, scene: Any, database: Any, window: MainWindow, modules: SimpleNamespace) -> None:
        self.scene, self.database, self.window, self.modules = scene, database, window, modules

    @property
    def hierarchy(self) -> Any:
        import slicer

        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)


def install(monkeypatch: Any, scene: Any, database: Any, testing: bool = True) -> SlicerStandIn:
    """Make ``slicer`` look as in the running application, and ``DICOMLib`` importable, for one test."""
    import slicer

    window = MainWindow()
    modules = SimpleNamespace()
    for name, value in {
        "mrmlScene": scene,
        "dicomDatabase": database,
        "modules": modules,
        "app": Application(testing),
        "qSlicerDICOMExportable": qSlicerDICOMExportable,
        "qSlicerDICOMLoadable": qSlicerDICOMLoadable,
    }.items():
        monkeypatch.setattr(slicer, name, value, raising=False)
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: window)
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, duration=0: window._messages.append(text))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return SlicerStandIn(scene, database, window, modules)


def discover(folder: Path, name: str, monkeypatch: Any) -> LoadableModule:
    """Discover one hook as Slicer does: run the file as a top-level module, instantiate the class of that name."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    parent = LoadableModule()
    getattr(importlib.import_module(name), name)(parent)
    return parent
