"""Fixtures of the browser's tests; a test module takes them by ``pytest_plugins = ["standins.browser_fixtures"]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from standins import browser_app, qt_modules

qt_modules.as_pythonqt([__name__])


@pytest.fixture
def running_slicer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The running Slicer, with settings of its own and an empty database."""
    import dicombridge

    settings = qt_modules.QtCore.QSettings
    settings.setDefaultFormat(settings.IniFormat)
    settings.setPath(settings.IniFormat, settings.UserScope, str(tmp_path / "settings"))
    app = browser_app.install(monkeypatch, dicombridge.new_scene(), tmp_path)
    monkeypatch.setattr("dicombridge.scene._application", {})
    return app


@pytest.fixture
def with_plugins(running_slicer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Slicer with the plugins that load and export."""
    browser_app.add_plugins(monkeypatch, running_slicer)
    return running_slicer


@pytest.fixture
def browser(running_slicer: Any) -> Iterator[Callable[..., Any]]:
    """Make windows of the browser; all are closed in the end, with their workers."""
    from support.browser import Browser

    made: list[Any] = []

    def make(options: dict[str, Any] | None = None, state: Path | None = None) -> Any:
        made.append(Browser(options, state))
        return made[-1]

    yield make
    for one in made:
        if one.widget.window is not None:
            one.close()
