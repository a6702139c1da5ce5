"""The browser's self test for Slicer, run here with stand-ins for Slicer and Qt and with the real worker."""

from __future__ import annotations

import importlib
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from standins import browser_app, qt_modules

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])

FOLDER = browser_app.ROOT / "Testing" / "Slicer"
NAME = "DICOMwebBrowserSelfTest"


@pytest.fixture
def databases(with_plugins: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """DICOMUtils with databases that can be exchanged."""
    import slicer
    from DICOMLib import DICOMUtils

    @contextmanager
    def temporary_database(directory: str) -> Iterator[Any]:
        original, slicer.dicomDatabase = slicer.dicomDatabase, browser_app.Database(Path(directory))
        yield slicer.dicomDatabase
        slicer.dicomDatabase = original

    monkeypatch.setattr(DICOMUtils, "TemporaryDICOMDatabase", temporary_database, raising=False)
    monkeypatch.setattr(DICOMUtils, "importDicom", lambda folder, db: db._index(Path(folder)), raising=False)


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("name", ["test_find", "test_load", "test_send_back"])
def test_in_stand_ins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module(NAME)
    qt_modules.as_pythonqt([NAME])
    result = unittest.TestResult()
    getattr(module, NAME)(name).run(result)
    assert result.testsRun == 1
    assert [text for _, text in result.errors + result.failures] == []


def test_all_of_them_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    case = getattr(importlib.import_module(NAME), NAME)
    assert set(unittest.TestLoader().getTestCaseNames(case)) == {"test_find", "test_load", "test_send_back"}
