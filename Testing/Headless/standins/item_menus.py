"""Scripted plugins of the subject hierarchy: how Slicer finds their class, and what it asks them for a menu."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from standins.pythonqt import Property, QtObject, flag_in, method, text_in


class QAction(QtObject):
    """An entry of a menu; it is visible until somebody hides it."""

    objectName = Property("", text_in)
    visible = Property(True, flag_in)

    def __init__(self, text: str, parent: Any, /) -> None:
        self._text, self._slots = text, list[Callable[[], None]]()

    @method
    def connect(self, signal: str, slot: Any) -> bool:
        assert signal == "triggered()"
        self._slots.append(slot)
        return True


class qSlicerSubjectHierarchyScriptedPlugin(QtObject):
    """What stands between the application and a class in Python."""

    name = Property("UnnamedScriptedPlugin", text_in)

    def __init__(self, parent: Any, /) -> None:
        self._self: Any = None

    @method
    def setPythonSource(self, source: str) -> bool:
        """Instantiate the class of a module that is named as the file; "SubjectHierarchyPlugin" follows."""
        name = Path(source).stem
        made = getattr(sys.modules[name], f"{name}SubjectHierarchyPlugin", None)
        self._self = None if made is None else made(self)
        return made is not None


class PluginHandler(QtObject):
    """``qSlicerSubjectHierarchyPluginHandler``; ``_plugins`` are those that were registered."""

    def __init__(self) -> None:
        self._plugins: dict[str, qSlicerSubjectHierarchyScriptedPlugin] = {}
        self._item = 0

    @method
    def registerPlugin(self, plugin: Any) -> bool:
        assert plugin.name not in ("", "UnnamedScriptedPlugin", *self._plugins)
        self._plugins[plugin.name] = plugin
        return True

    @method
    def currentItem(self) -> int:
        return self._item

    def menu_of(self, item: int) -> dict[str, QAction]:
        """Open the menu of an item, and return what it offers."""
        self._item = item
        offered = {}
        for plugin in self._plugins.values():
            actions = plugin._self.itemContextMenuActions()
            for action in actions:
                action.visible = False
            plugin._self.showContextMenuActionsForItem(item)
            offered |= {action._text: action for action in actions if action.visible}
        return offered


def install_menus(monkeypatch: Any) -> PluginHandler:
    """Put ``qt`` and the handler of plugins where Slicer has them, for one test."""
    import slicer

    handler = PluginHandler()
    monkeypatch.setitem(sys.modules, "qt", SimpleNamespace(QAction=QAction))
    monkeypatch.setattr(
        slicer, "qSlicerSubjectHierarchyPluginHandler", SimpleNamespace(instance=lambda: handler), raising=False
    )
    monkeypatch.setattr(
        slicer, "qSlicerSubjectHierarchyScriptedPlugin", qSlicerSubjectHierarchyScriptedPlugin, raising=False
    )
    return handler
