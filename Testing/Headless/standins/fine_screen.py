"""The window on a screen with more pixels than points, in a process of its own: Qt reads the factor once.

``QT_SCALE_FACTOR=2 python -m standins.fine_screen FOLDER`` leaves pictures there, and writes what it measured as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dicombridge
from standins import browser_app, qt_modules

qt_modules.as_pythonqt([__name__])
widgets, gui = qt_modules.QtWidgets, qt_modules.QtGui
PATIENCE = 60.0


def cut_off(root: Any) -> Iterator[str]:
    """Return which texts below a widget have less room than they need, and no tool tip that says the rest."""
    kinds = (widgets.QAbstractButton, widgets.QLabel, widgets.QComboBox)
    for one in (child for kind in kinds for child in root.findChildren(kind)):
        text = str(one.currentText if isinstance(one, widgets.QComboBox) else one.text)
        if not one.isVisibleTo(root) or not text or text in str(one.toolTip).split("\n"):
            continue
        hint, size = one.sizeHint, one.size
        if isinstance(one, widgets.QLabel) and one.wordWrap:
            short = one.heightForWidth(size.width()) > size.height()
        elif isinstance(one, widgets.QToolButton) and one.toolButtonStyle == qt_modules.QtCore.Qt.ToolButtonIconOnly:
            short = one.iconSize.width() > size.width() or one.iconSize.height() > size.height()
        else:
            short = hint.width() > size.width() or hint.height() > size.height()
        if short:
            yield f"{type(one).__name__} {text!r}: {size.width()} x {size.height()} of {hint.width()} x {hint.height()}"


def icons(root: Any) -> list[tuple[str, float, int]]:
    """Return of each icon that is shown: whose it is, points of a side, and pixels that there are for them."""
    found = []
    for one in root.findChildren(widgets.QAbstractButton):
        if one.isVisibleTo(root) and not one.icon.isNull():
            pixmap = one.icon.pixmap(one.iconSize, root.devicePixelRatioF())
            found.append((str(one.objectName or one.accessibleName), float(one.iconSize.width()), pixmap.width()))
    for one in root.findChildren(widgets.QLabel):
        if one.isVisibleTo(root) and not one.pixmap.isNull():
            points = one.pixmap.width() / one.pixmap.devicePixelRatio()
            found.append((str(one.objectName or one.accessibleName), points, one.pixmap.width()))
    return found


def measured(name: str, root: Any, folder: Path) -> dict[str, Any]:
    """Grab a widget, and return what there is to say of it."""
    for _ in range(3):  # layouts are asked for and made by events
        qt_modules.application().processEvents()
    grabbed = root.grab()
    grabbed.save(str(folder / f"{name}.png"))
    return {
        "ratio": root.devicePixelRatioF(),
        "points": [root.width, root.height],
        "pixels": [grabbed.width(), grabbed.height()],
        "cut_off": list(cut_off(root)),
        "icons": icons(root),
    }


def run(folder: Path) -> dict[str, Any]:
    """Show the main states of the window."""
    from support.browser import Browser

    from dicombridge.web.presets import PRESETS

    window = Browser({"log": str(folder / "log"), "instances": 400, "pause": 30})
    found = {}
    try:
        window.use()
        window.search("")
        series = window.open_study("1.2.826.0")
        window.wait(lambda: window.window.tree.select("1.2.826.0", series[0]), PATIENCE)
        preview = window.window.preview
        window.wait(lambda: len(preview.frames) == 9, PATIENCE)
        window.wait(lambda: "MB" in str(preview.facts.text), PATIENCE)
        window.ui.downloadButton.click()
        rows = window.window.jobs.rows
        window.wait(lambda: any("of 400 objects" in str(row.text.text) for row in rows.values()), PATIENCE)
        found["window"] = measured("window", window.panel, folder)
        shown, asked = preview.picture.pixmap, map(json.loads, (folder / "log").read_text().splitlines())
        found["preview"] = {
            "label": preview.picture.width,
            "shown": [shown.width(), shown.devicePixelRatio()],
            "asked": [one["size"] for one in asked if "size" in one],
        }
        window.ui.findSection.collapsed, window.ui.sendSection.collapsed = True, False
        found["send"] = measured("send", window.panel, folder)
        window.wait(lambda: window.session.servers.templates, PATIENCE)
        window.session.servers._came({"presets": [one.to_json() for one in PRESETS]})
        window.window.servers.add("azure")
        dialog = window.window.servers._dialog
        assert dialog is not None
        dialog.tls.box.click()
        dialog.save_button.click()
        found["dialog"] = measured("dialog", dialog.dialog, folder)
        dialog.dialog.reject()
    finally:
        window.close()
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1])
    with pytest.MonkeyPatch.context() as patch:
        settings = qt_modules.QtCore.QSettings
        settings.setDefaultFormat(settings.IniFormat)
        settings.setPath(settings.IniFormat, settings.UserScope, str(target / "settings"))
        browser_app.install(patch, dicombridge.new_scene(), target)
        measures = run(target)
    (target / "measures.json").write_text(json.dumps(measures))
