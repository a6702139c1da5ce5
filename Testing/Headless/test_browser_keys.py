"""The whole way with keys alone, as a keyboard sends them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtTest import QTest
from standins import qt_modules
from support.browser import Browser

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
Make = Callable[..., Browser]
Qt = qt_modules.QtCore.Qt


def asked(log: Path, do: str) -> list[dict[str, Any]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [one for line in lines if (one := json.loads(line))["do"] == do]


def focus() -> Any:
    return qt_modules.application().focusWidget()


def press(key: Any, modifier: Any = Qt.NoModifier) -> None:
    """Press a key where the keyboard is."""
    QTest.keyClick(focus() or qt_modules.application().activeWindow(), key, modifier)


@pytest.fixture
def window(browser: Make, tmp_path: Path) -> Browser:
    made = browser({"log": str(tmp_path / "log")})
    made.use()
    # Windows that earlier tests opened may still be there, and have the keyboard.

    def is_active() -> bool:
        made.panel.activateWindow()
        return qt_modules.application().activeWindow() is made.panel.window()

    made.wait(is_active, what="the window is active")
    made.ui.serverComboBox.setFocus()
    made.wait(lambda: focus() is made.ui.serverComboBox, what="the keyboard is where it begins")
    return made


def searched(window: Browser) -> None:
    window.wait(lambda: not window.session.query.is_running)
    window.wait(lambda: not window.window.tree.is_busy)


def test_find_open_and_get_without_a_mouse(window: Browser, tmp_path: Path) -> None:
    log, tree = tmp_path / "log", window.ui.resultsTree
    press(Qt.Key_F, Qt.ControlModifier)
    assert focus() is window.ui.searchEdit
    QTest.keyClicks(focus(), "person")
    press(Qt.Key_Return)
    searched(window)
    assert asked(log, "search")[0]["filters"] == {"PatientName": "person*"}
    press(Qt.Key_F5)
    searched(window)
    assert len(asked(log, "search")) == 2

    seen = []
    while focus() is not tree:
        press(Qt.Key_Tab)
        seen.append(focus())
        assert len(seen) < 40, " ".join([str(one.objectName or one.accessibleName or one) for one in seen])
    buttons = list(window.window.find.modality_buttons.values())
    assert seen[-1 - len(buttons) : -1] == buttons  # from top to bottom, as one sees them

    press(Qt.Key_Home)
    press(Qt.Key_Down)
    assert window.window.tree.current_place() == ("1.2.826.1", "")
    press(Qt.Key_C, Qt.ControlModifier)
    assert qt_modules.application().clipboard().text() == "1.2.826.1"
    press(Qt.Key_Return)  # opens it
    window.wait(lambda: "1.2.826.1" in window.session.results.series)
    assert tree.currentItem().isExpanded()
    press(Qt.Key_Return)  # and closes it
    assert not tree.currentItem().isExpanded()
    press(Qt.Key_Right)
    press(Qt.Key_Down)
    assert window.window.tree.places() == [("1.2.826.1", "1.2.826.1.1")]
    press(Qt.Key_Down, Qt.ShiftModifier)
    assert len(window.window.tree.places()) == 2
    press(Qt.Key_Up)

    press(Qt.Key_D, Qt.ControlModifier)
    window.wait(window.ended)
    assert [(job.series, job.group.action) for job in window.session.jobs.jobs] == [("1.2.826.1.1", "download")]
    press(Qt.Key_Down)
    press(Qt.Key_Return, Qt.ControlModifier)
    window.wait(lambda: window.ended(2))
    job = window.session.jobs.jobs[1]
    assert (job.series, job.group.action) == ("1.2.826.1.2", "load")


def test_a_transfer_is_paused_and_taken_off_with_keys(window: Browser) -> None:
    press(Qt.Key_F5)
    searched(window)
    window.window.tree.select("1.2.826.0")
    press(Qt.Key_D, Qt.ControlModifier)
    window.wait(lambda: window.ended(4))
    job = window.session.jobs.jobs[0]
    row = window.window.jobs.rows[job.number]
    window.wait(lambda: row.remove.visible)
    window.ui.resultsTree.setFocus()
    for _ in range(60):
        press(Qt.Key_Tab)
        if focus() is row.remove:
            break
    press(Qt.Key_Space)
    assert job not in window.session.jobs.jobs


def test_the_menu_key_opens_the_menu(window: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    press(Qt.Key_F5)
    searched(window)
    shown: list[Any] = []
    monkeypatch.setattr("DICOMwebBrowserLib.toolkit.popup", lambda menu, position: shown.append((menu, position)))
    tree = window.ui.resultsTree
    window.window.tree.select("1.2.826.1")
    tree.setFocus()
    place = tree.visualItemRect(tree.currentItem()).center()
    event = qt_modules.QtGui.QContextMenuEvent(
        qt_modules.QtGui.QContextMenuEvent.Keyboard, place, tree.viewport().mapToGlobal(place)
    )
    qt_modules.application().sendEvent(tree.viewport(), event)
    ((menu, position),) = shown
    assert menu.actions()[0].text == "Load"
    assert tree.viewport().rect.contains(tree.viewport().mapFromGlobal(position))


def test_a_double_click_opens_and_closes(window: Browser) -> None:
    press(Qt.Key_F5)
    searched(window)
    tree = window.ui.resultsTree
    item = tree.topLevelItem(0)

    def double_click() -> None:
        place = tree.visualItemRect(item).center()
        QTest.mouseClick(tree.viewport(), Qt.LeftButton, Qt.NoModifier, place)
        QTest.mouseDClick(tree.viewport(), Qt.LeftButton, Qt.NoModifier, place)

    double_click()
    assert item.isExpanded()
    window.wait(lambda: item.childCount() == 4)
    double_click()
    assert not item.isExpanded()


def test_dialogs_answer_to_keys(window: Browser) -> None:
    window.window.servers.add()
    dialog = window.window.servers._dialog
    assert dialog is not None
    window.wait(lambda: dialog.dialog.isActiveWindow)
    assert focus().window() is dialog.dialog
    dialog.url_edit.setFocus()
    QTest.keyClicks(dialog.url_edit, "https://pacs.example.org/rs")
    press(Qt.Key_Return)  # saves
    assert window.session.servers.current["url"] == "https://pacs.example.org/rs"
    assert not dialog.dialog.visible
    window.window.servers.add()
    other = window.window.servers._dialog
    assert other is not None
    window.wait(lambda: other.dialog.isActiveWindow)
    press(Qt.Key_Escape)
    assert not other.dialog.visible
