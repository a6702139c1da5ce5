"""Small parts of windows, the same for Qt 5 and Qt 6: icons in the colour of the text, buttons, margins, dialogs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

__all__ = [
    "action",
    "add_file_chooser",
    "button",
    "dimmed",
    "form",
    "icon",
    "is_there",
    "line_up",
    "picture",
    "place_of",
    "popup",
    "put",
    "put_text",
    "run_dialog",
    "set_margins",
    "small",
    "unit",
]

_ICONS = Path(__file__).parents[1] / "Resources" / "Icons"
_INK = "#000000"
_cache: dict[tuple[str, str, int], Any] = {}


def unit() -> int:
    """Return the width of a character, by which sizes are chosen, so that they suit every screen."""
    return max(6, int(qt.QFontMetrics(qt.QApplication.font()).averageCharWidth()))


def picture(name: str, size: int, colour: str = "") -> Any:
    """Return a pixmap of one of our icons, in the colour of the text or another; as fine as the finest screen."""
    if not colour:
        colour = qt.QApplication.palette().color(qt.QPalette.ButtonText).name()
    fineness = max(2, math.ceil(qt.QApplication.instance().devicePixelRatio()))
    key = (name, colour, fineness * size)
    if key not in _cache:
        text = (_ICONS / f"{name}.svg").read_text(encoding="utf-8").replace(_INK, colour)
        text = text.replace('width="24" height="24"', f'width="{fineness * size}" height="{fineness * size}"', 1)
        pixmap = qt.QPixmap()
        pixmap.loadFromData(qt.QByteArray(text.encode("utf-8")), "SVG")
        pixmap.setDevicePixelRatio(fineness)
        _cache[key] = pixmap
    return _cache[key]


def icon(name: str, size: int = 16, colour: str = "") -> Any:
    """Return one of our icons; dimmed where its button is disabled."""
    found = qt.QIcon(picture(name, size, colour))
    grey = qt.QApplication.palette().color(qt.QPalette.Disabled, qt.QPalette.ButtonText).name()
    found.addPixmap(picture(name, size, grey), qt.QIcon.Disabled)
    return found


def button(icon_name: str, text: str, tip: str, clicked: Callable[[], Any], parent: Any = None) -> Any:
    """Return a flat tool button: with an icon, and with a text where one is given."""
    made = qt.QToolButton(parent)
    made.autoRaise = True
    made.icon = icon(icon_name)
    made.text = text or tip
    made.toolTip = tip
    made.accessibleName = tip
    made.toolButtonStyle = qt.Qt.ToolButtonTextBesideIcon if text else qt.Qt.ToolButtonIconOnly
    made.focusPolicy = qt.Qt.StrongFocus
    made.clicked.connect(lambda *_args: clicked())
    return made


def action(menu: Any, text: str, triggered: Callable[[], Any], icon_name: str = "", enabled: bool = True) -> Any:
    """Add an entry to a menu."""
    made = menu.addAction(text)
    if icon_name:
        made.icon = icon(icon_name)
    made.enabled = enabled
    made.triggered.connect(lambda *_args: triggered())
    return made


def set_margins(layout: Any, left: int, top: int, right: int, bottom: int) -> None:
    """Set the margins of a layout: a method in Qt 5, a property in Qt 6."""
    if hasattr(layout, "setContentsMargins"):
        layout.setContentsMargins(left, top, right, bottom)
    else:
        layout.contentsMargins = qt.QMargins(left, top, right, bottom)


def put(target: Any, name: str, value: Any) -> None:
    """Set what is a property in one binding of Qt and has only a setter in the other."""
    if callable(getattr(target, name)):
        getattr(target, f"set{name[0].upper()}{name[1:]}")(value)
    else:
        setattr(target, name, value)


def place_of(event: Any) -> Any:
    """Return where the mouse is, within its widget: ``position`` in Qt 6, which is to do without ``pos`` of Qt 5."""
    return event.position().toPoint() if hasattr(event, "position") else event.pos()


def form(parent: Any = None) -> Any:
    """Return a form layout; that of a widget within another form has no margins, and the same spacing."""
    made = qt.QFormLayout(parent) if parent is not None else qt.QFormLayout()
    made.fieldGrowthPolicy = qt.QFormLayout.AllNonFixedFieldsGrow
    made.horizontalSpacing = made.verticalSpacing = 8
    if parent is not None:
        set_margins(made, 0, 0, 0, 0)
    return made


def line_up(labels: list[Any]) -> None:
    """Make labels of several forms as wide as the widest, so that the fields beside them begin in one line."""
    width = max((label.sizeHint.width() for label in labels), default=0)
    for label in labels:
        label.minimumWidth = width


def put_text(edit: Any, text: str) -> None:
    """Put a text into a line and show its beginning: of an address, that is what matters."""
    edit.text = text
    edit.cursorPosition = 0


def is_there(path: str) -> bool:
    """Whether there is a file or folder of this name."""
    info = qt.QFileInfo(path)
    return bool(info.isFile() or info.isDir())


def add_file_chooser(edit: Any) -> None:
    """Let a file be chosen for a line of text, with a button at its end."""
    chooser = edit.addAction(icon("folder"), qt.QLineEdit.TrailingPosition)
    chooser.triggered.connect(lambda *_args: _choose_file(edit))


def _choose_file(edit: Any) -> None:
    found = qt.QFileDialog.getOpenFileName(edit.window(), _("Choose a file"), edit.text)
    path = found[0] if isinstance(found, tuple | list) else found
    if path:
        edit.text = str(path)


def run_dialog(dialog: Any) -> bool:
    """Show a dialog until it is closed; return whether it was accepted."""
    run = getattr(dialog, "exec_", None) or dialog.exec
    return bool(run())


def popup(menu: Any, position: Any) -> None:
    """Show a menu; it goes by itself."""
    menu.setAttribute(qt.Qt.WA_DeleteOnClose)
    menu.popup(position)


def dimmed(widget: Any) -> Any:
    """Give a label the colour of text that is there to help, readable on dark and on light; return it."""
    colour = blended()
    widget.styleSheet = f"color: {colour};"
    return widget


def blended(strength: float = 0.62) -> str:
    """Return a colour between that of the text and that of the window."""
    palette = qt.QApplication.palette()
    text, window = palette.color(qt.QPalette.WindowText), palette.color(qt.QPalette.Window)
    parts = [
        round(strength * getattr(text, part)() + (1 - strength) * getattr(window, part)())
        for part in ("red", "green", "blue")
    ]
    return "#{:02x}{:02x}{:02x}".format(*parts)


def small(widget: Any) -> Any:
    """Make the text of a widget a little smaller; return it."""
    font = qt.QFont(widget.font)
    if font.pointSizeF() > 0:
        font.setPointSizeF(font.pointSizeF() * 0.9)
    widget.font = font
    return widget


def is_dark() -> bool:
    """Whether the window is darker than its text."""
    palette = qt.QApplication.palette()
    return bool(palette.color(qt.QPalette.Window).lightness() < palette.color(qt.QPalette.WindowText).lightness())


def accent(kind: str) -> str:
    """Return a colour for good, warning, error, info: readable on dark and on light."""
    light = {"good": "#2e7d32", "warning": "#a15c00", "error": "#b3261e", "info": "#1f6fb2"}
    dark = {"good": "#7ccf82", "warning": "#f0b35a", "error": "#ff8a80", "info": "#7fbdf0"}
    return (dark if is_dark() else light)[kind]
