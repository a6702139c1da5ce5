"""``QSettings``, and the widgets of Qt and CTK of which the settings of a DICOM plugin are made."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from standins.pythonqt import Property, QtObject, flag_in, method, text_in


class Settings(QtObject):
    """A settings file; ``_values`` holds what was written."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    @method
    def value(self, key: Any, default: Any = None) -> Any:
        """Return the value as it was set in this session, or the default."""
        return self._values.get(text_in(key), default)

    @method
    def setValue(self, key: Any, value: Any) -> None:
        """Set a value."""
        self._values[text_in(key)] = value

    def _restart(self) -> None:
        """Do what the file does: flags and numbers come back as text."""
        written = {True: "true", False: "false"}
        self._values = {key: written.get(value, str(value)) for key, value in self._values.items()}


class CheckBox(QtObject):
    """``QCheckBox``: what it says and whether it is checked are properties."""

    text = Property("", text_in)
    toolTip = Property("", text_in)
    checked = Property(False, flag_in)


class GroupBox(QtObject):
    """``ctkCollapsibleGroupBox``, made without a layout; ``_layout`` is the one that it got."""

    def __init__(self) -> None:
        self._layout: FormLayout | None = None


class FormLayout(QtObject):
    """``QFormLayout``; ``_rows`` is what it holds."""

    def __init__(self, parent: Any = None, /) -> None:
        self._rows: list[Any] = []
        if isinstance(parent, GroupBox):
            parent._layout = self

    @method
    def addRow(self, first: Any, second: Any = None) -> None:
        """Add a widget, or a label and a widget."""
        for one in (first, second):
            if not isinstance(one, QtObject | str | None):
                raise ValueError(f"Called addRow({first!r}, {second!r}) with wrong arguments")
        self._rows.append((first, second))


class SettingsPanel(QtObject):
    """``ctkSettingsPanel``, which keeps properties of widgets in the settings; ``_properties`` lists them by key."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._properties: dict[str, tuple[Any, str]] = {}

    @method
    def registerProperty(
        self, key: Any, widget: Any, name: Any, signal: Any, label: Any = "", options: Any = None, settings: Any = None
    ) -> None:
        """Show what the settings have, and keep what the widget is changed to.

        Qt only says on the console that a property or a signal does not exist; here that is an error.
        """
        if not isinstance(getattr(type(widget), name), Property):
            raise AttributeError(f"{widget!r} has no property {name!r}")
        if signal not in ("2toggled(bool)", "2clicked(bool)"):
            raise ValueError(f"{signal!r} is no signal as qt.SIGNAL writes it")
        self._properties[text_in(key)] = (widget, name)
        stored = self._settings.value(key)
        if stored is not None:
            setattr(widget, name, str(stored).lower() in ("true", "1"))

    def _apply(self) -> None:
        """Do what the dialog does when it is left with OK."""
        for key, (widget, name) in self._properties.items():
            self._settings.setValue(key, getattr(widget, name))


def install_qt(monkeypatch: Any) -> None:
    """Make ``qt`` importable, with the few names that a settings entry needs."""
    module = ModuleType("qt")
    module.QCheckBox, module.QFormLayout = CheckBox, FormLayout  # type: ignore[attr-defined]
    module.SIGNAL = lambda text: f"2{text}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "qt", module)
