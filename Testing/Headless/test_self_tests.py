"""The self tests for Slicer, run here with stand-ins for Slicer, so that in Slicer only Slicer itself is news."""

from __future__ import annotations

import importlib.util
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from standins.application import discover, install
from standins.ctk_database import CtkDatabase

import dicombridge
from dicombridge.kinds import kind_named

ROOT = Path(__file__).parents[2]


def imported(name: str) -> ModuleType:
    path = ROOT / "Testing" / "Slicer" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


SEGMENTATION = imported("DICOMBridgeSegmentationSelfTest")


@pytest.fixture
def slicer_with_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer with our hooks, a volume plugin like its own, and DICOMUtils with databases that can be exchanged."""
    import slicer

    app = install(monkeypatch, dicombridge.new_scene(), CtkDatabase())
    monkeypatch.setattr("dicombridge.scene._application", {})
    for hook in sorted((ROOT / "DICOMPluginsExt").glob("*.py")):
        discover(hook.parent, hook.stem, monkeypatch)
    from DICOMLib import DICOMPlugin, DICOMUtils

    class VolumePlugin(DICOMPlugin):
        """Reads images as Slicer's DICOMScalarVolumePlugin does, and like it offers segmentations at 0.5, too."""

        def examineFiles(self, files: Any) -> list[Any]:
            files = list(files)
            known = kind_named("IMAGE").room.examine(files, slicer.dicomDatabase)
            return known or [dicombridge.Loadable(files=files, confidence=0.5)]

        def load(self, loadable: Any) -> Any:
            return dicombridge.load(loadable, scene=slicer.mrmlScene, database=slicer.dicomDatabase)

    @contextmanager
    def temporary_database(directory: str) -> Iterator[Any]:
        original, slicer.dicomDatabase = slicer.dicomDatabase, CtkDatabase()
        yield slicer.dicomDatabase
        slicer.dicomDatabase = original

    app.modules.dicomPlugins["DICOMScalarVolumePlugin"] = VolumePlugin
    monkeypatch.setattr(DICOMUtils, "TemporaryDICOMDatabase", temporary_database, raising=False)
    monkeypatch.setattr(DICOMUtils, "importDicom", lambda folder, db: db._index(Path(folder)), raising=False)


def test_segmentation_phantom(tmp_path: Path) -> None:
    sources = SEGMENTATION.write_ct(tmp_path)
    seg = SEGMENTATION.write_seg(tmp_path, sources)
    assert len(list(tmp_path.glob("ct*.dcm"))) == 8
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["Liver", "Nothing", "Kidney"]
    assert SEGMENTATION.voxel_counts() == {"Liver": 4 * 8 * 10, "Nothing": 0, "Kidney": 2 * 5 * 8}
    assert SEGMENTATION.counts_in_file(tmp_path / "seg.dcm") == SEGMENTATION.voxel_counts()


@pytest.mark.usefixtures("slicer_with_modules")
@pytest.mark.parametrize("name", unittest.TestLoader().getTestCaseNames(SEGMENTATION.DICOMBridgeSegmentationSelfTest))
def test_segmentation(name: str) -> None:
    result = unittest.TestResult()
    SEGMENTATION.DICOMBridgeSegmentationSelfTest(name).run(result)
    assert result.testsRun == 1
    assert [text for _, text in result.errors + result.failures] == []
