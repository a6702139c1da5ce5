"""The running Slicer around the DICOMweb browser: its application, its database, its base classes of modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pydicom
import pydicom.errors

from standins import application, qt_modules
from standins.ctk_database import CtkDatabase
from standins.pythonqt import Property, method

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "DICOMwebBrowser"
_PREFIXES = ("DICOMwebBrowserLib", "DICOMwebBrowser")


class SignalStandIn:
    """A signal of a C++ object."""

    def __init__(self) -> None:
        self.functions: list[Callable[..., Any]] = []

    def connect(self, function: Callable[..., Any]) -> bool:
        self.functions.append(function)
        return True

    def emit(self, *values: Any) -> None:
        for function in self.functions:
            function(*values)


class Application(application.Application):
    """``slicer.app`` with what the browser asks of it."""

    temporaryPath = Property("", None)

    def __init__(self, testing: bool, folder: Path) -> None:
        super().__init__(testing)
        self._temporaryPath = str(folder)
        self._signals: dict[str, SignalStandIn] = {}

    @method
    def connect(self, signal: Any, function: Any) -> bool:
        return self._signals.setdefault(str(signal), SignalStandIn()).connect(function)

    def _emit(self, signal: str, *values: Any) -> None:
        self._signals[signal].emit(*values)


class Database(CtkDatabase):
    """A database that files can be added to while it is asked, and that knows series by their UID at once."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._databaseDirectory = str(directory)
        self._by_series: dict[str, dict[str, str]] = {}
        self._by_study: dict[str, dict[str, None]] = {}
        self._by_instance: dict[str, str] = {}

    def _add(self, files: list[str]) -> None:
        """What the indexer does, in its thread."""
        for name in files:
            path = str(Path(name).absolute())
            try:
                header = pydicom.dcmread(path, stop_before_pixels=True, defer_size=1024)
            except (OSError, pydicom.errors.InvalidDicomError):
                continue  # what is no DICOM file is skipped, as the indexer does
            series, uid = str(header.SeriesInstanceUID), str(header.SOPInstanceUID)
            self._headers[path] = header
            self._by_series.setdefault(series, {})[uid] = path
            self._by_study.setdefault(str(header.StudyInstanceUID), {})[series] = None
            self._by_instance[uid] = path

    def _index(self, folder: Path) -> None:
        self._add([str(path) for path in sorted(Path(folder).rglob("*")) if path.is_file()])

    @method
    def instancesForSeries(self, series, hits=-1):
        return tuple(self._by_series.get(str(series), {}))

    @method
    def filesForSeries(self, series, hits=-1):
        files = tuple(self._by_series.get(str(series), {}).values())
        return files if hits < 0 else files[:hits]

    @method
    def seriesForStudy(self, study):
        return tuple(self._by_study.get(str(study), {}))

    def _of_series(self, series: Any, keyword: str) -> str:
        for path in self._by_series.get(str(series), {}).values():
            return str(self._headers[path].get(keyword, ""))
        return ""

    @method
    def descriptionForSeries(self, series):
        return self._of_series(series, "SeriesDescription")

    @method
    def descriptionForStudy(self, study):
        return next((self._of_series(one, "StudyDescription") for one in self._by_study.get(str(study), {})), "")

    @method
    def nameForPatient(self, patient):
        return self._patient_keys()[int(patient) - 1][1]

    @method
    def fileForInstance(self, uid):
        return self._by_instance.get(str(uid), "")


class ModuleBase:
    """``ScriptedLoadableModule``."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent


class WidgetBase:
    """``ScriptedLoadableModuleWidget``, with a panel as wide as Slicer's."""

    def __init__(self, parent: Any = None) -> None:
        from PySide6 import QtWidgets

        self.parent = parent or QtWidgets.QWidget()
        if self.parent.layout() is None:
            QtWidgets.QVBoxLayout(self.parent)
        self.layout = self.parent.layout()

    def setup(self) -> None:
        pass

    def resourcePath(self, name: str) -> str:
        return str(MODULE / "Resources" / name)


def add_plugins(monkeypatch: Any, app: Any) -> None:
    """Discover our hooks, and a plugin for images like Slicer's own."""
    from standins.core_plugins import add_volume_plugin

    for hook in sorted((ROOT / "DICOMPluginsExt").glob("*.py")):
        application.discover(hook.parent, hook.stem, monkeypatch)
    add_volume_plugin(app)


def install(monkeypatch: Any, scene: Any, folder: Path, testing: bool = True) -> Any:
    """Make Slicer look as in the running application, with an empty database in a folder; return what it has."""
    import slicer

    database = Database(folder / "database")
    app = application.install(monkeypatch, scene, database, testing)
    qt_modules.install(monkeypatch, MODULE)
    slicer_app = Application(testing, folder)
    monkeypatch.setattr(slicer, "app", slicer_app)
    monkeypatch.setattr(app.modules, "dicomPlugins", {}, raising=False)
    monkeypatch.setattr(slicer, "qSlicerFileDialog", SimpleNamespace(Read=1), raising=False)
    monkeypatch.setattr(slicer.util, "loadUI", qt_modules.load_ui)
    monkeypatch.setattr(slicer.util, "childWidgetVariables", qt_modules.ChildWidgets)
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    i18n = ModuleType("slicer.i18n")
    i18n.tr = lambda text: text  # type: ignore[attr-defined]
    i18n.translate = lambda context, text: text  # type: ignore[attr-defined]
    base = ModuleType("slicer.ScriptedLoadableModule")
    base.ScriptedLoadableModule, base.ScriptedLoadableModuleWidget = ModuleBase, WidgetBase  # type: ignore[attr-defined]
    base.ScriptedLoadableModuleLogic = base.ScriptedLoadableModuleTest = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "slicer.i18n", i18n)
    monkeypatch.setitem(sys.modules, "slicer.ScriptedLoadableModule", base)
    monkeypatch.syspath_prepend(str(MODULE))
    for name in [name for name in sys.modules if name.partition(".")[0] in _PREFIXES]:
        monkeypatch.delitem(sys.modules, name)
    return app
