"""Fixtures of the plugins' tests; a test module takes them by ``pytest_plugins = ["standins.fixtures"]``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from standins.application import SlicerStandIn, discover, install
from standins.ctk_database import CtkDatabase
from standins.fake_kind import CT, CT_SERIES, HOOK, HOOKS, SEG, SEG_SERIES, Room, write_header


@pytest.fixture
def study(tmp_path: Path) -> CtkDatabase:
    """Three CT images and a segmentation of them, headers only."""
    folder = tmp_path / "study"
    folder.mkdir()
    for index in range(3):
        write_header(folder / f"ct{index}.dcm", CT, CT_SERIES, Modality="CT", SeriesNumber=2)
    write_header(folder / "seg.dcm", SEG, SEG_SERIES, Modality="SEG", SeriesNumber=7, SeriesDescription="Organs")
    return CtkDatabase(folder)


@pytest.fixture
def slicer_app(monkeypatch: pytest.MonkeyPatch, study: CtkDatabase) -> SlicerStandIn:
    """The running application with the study in its database and our hook discovered."""
    import dicombridge

    app = install(monkeypatch, dicombridge.new_scene(), study)
    monkeypatch.setattr("dicombridge.scene._application", {})
    discover(HOOKS, HOOK, monkeypatch)
    return app


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    fake = Room()
    monkeypatch.setitem(sys.modules, "dicombridge.segmentation", fake)
    return fake


@pytest.fixture
def no_highdicom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Slicer without highdicom, in which the room cannot be imported."""
    from DICOMBridgeLib import requirements

    monkeypatch.setitem(sys.modules, "dicombridge.segmentation", None)
    monkeypatch.setattr(requirements, "_is_met", lambda name, versions: name != "highdicom")
    monkeypatch.setattr(requirements, "_install", lambda wanted: None)  # the user declines
