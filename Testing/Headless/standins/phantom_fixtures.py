"""Fixtures with the phantom study; a test module takes them by ``pytest_plugins = ["standins.phantom_fixtures"]``."""

from __future__ import annotations

import pytest

from dicombridge.demo.phantom import PhantomStudy, write_study
from standins.ctk_database import CtkDatabase
from standins.phantom import Session, copy_of


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> PhantomStudy:
    """CT, MR, PET, segmentations, a parametric map and a treatment, written once."""
    return write_study(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="session")
def phantom_database(phantom: PhantomStudy) -> CtkDatabase:
    return CtkDatabase(phantom.directory)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, phantom: PhantomStudy, phantom_database: CtkDatabase) -> Session:
    """The application with the phantom study."""
    return Session(monkeypatch, phantom, copy_of(phantom_database))
