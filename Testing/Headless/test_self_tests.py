"""The self tests for Slicer, run here with stand-ins for Slicer, so that in Slicer only Slicer itself is news."""

from __future__ import annotations

import importlib
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from standins.application import discover, install
from standins.core_plugins import add_volume_plugin
from standins.ctk_database import CtkDatabase

import dicombridge

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "Testing" / "Slicer"


def imported(name: str) -> ModuleType:
    """Import a module with the folder of the self tests on the path, as ``slicer.testing.runUnitTest`` has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module(name)


def cases_of(module: ModuleType) -> Iterator[type[unittest.TestCase]]:
    """What unittest takes for tests of a module: all classes that it names, also those that it imported."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            yield value


MODULES = [imported(path.stem) for path in sorted(FOLDER.glob("*SelfTest.py"))]
SEGMENTATION, PARAMETRIC_MAP, REAL_WORLD_VALUE = (
    imported(f"DICOMBridge{name}SelfTest") for name in ("Segmentation", "ParametricMap", "RealWorldValue")
)
CASES = [
    pytest.param(case, name, id=f"{module.__name__}-{name}")
    for module in MODULES
    if module.__name__ != "DICOMwebBrowserSelfTest"  # it needs Qt, too: test_browser_self_test.py
    for case in cases_of(module)
    for name in unittest.TestLoader().getTestCaseNames(case)
]


@pytest.fixture
def slicer_with_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer with our hooks, a volume plugin like its own, and DICOMUtils with databases that can be exchanged."""
    import slicer

    app = install(monkeypatch, dicombridge.new_scene(), CtkDatabase())
    monkeypatch.setattr("dicombridge.scene._application", {})
    for hook in sorted((ROOT / "DICOMPluginsExt").glob("*.py")):
        discover(hook.parent, hook.stem, monkeypatch)
    add_volume_plugin(app)
    from DICOMLib import DICOMUtils

    @contextmanager
    def temporary_database(directory: str) -> Iterator[Any]:
        original, slicer.dicomDatabase = slicer.dicomDatabase, CtkDatabase()
        yield slicer.dicomDatabase
        slicer.dicomDatabase = original

    monkeypatch.setattr(DICOMUtils, "TemporaryDICOMDatabase", temporary_database, raising=False)
    monkeypatch.setattr(DICOMUtils, "importDicom", lambda folder, db: db._index(Path(folder)), raising=False)


def test_segmentation_phantom(tmp_path: Path) -> None:
    sources = SEGMENTATION.write_ct(tmp_path)
    seg = SEGMENTATION.write_seg(tmp_path, sources)
    assert len(list(tmp_path.glob("ct*.dcm"))) == 8
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["Liver", "Nothing", "Kidney"]
    assert SEGMENTATION.voxel_counts() == {"Liver": 4 * 8 * 10, "Nothing": 0, "Kidney": 2 * 5 * 8}
    assert SEGMENTATION.counts_in_file(tmp_path / "seg.dcm") == SEGMENTATION.voxel_counts()


def test_parametric_map_phantom(tmp_path: Path) -> None:
    written = PARAMETRIC_MAP.write_map(tmp_path, SEGMENTATION.write_ct(tmp_path))
    values = np.frombuffer(written.FloatPixelData, np.float32).reshape(SEGMENTATION.SHAPE)
    np.testing.assert_array_equal(values, PARAMETRIC_MAP.diffusion())
    assert np.unique(values).size == values.size


def test_pet_phantom(tmp_path: Path) -> None:
    datasets = REAL_WORLD_VALUE.write_pet(tmp_path)
    assert len(list(tmp_path.glob("pt*.dcm"))) == len(datasets) == 6
    # Stored 500 times the slope of slice 4, per ml, of 350 MBq in 70 kg.
    assert REAL_WORLD_VALUE.uptakes()[4, 1, 8] == pytest.approx(498 * 1.5 * 70000 / 350e6)


def test_all_are_cases_of() -> None:
    """Each module has one test case, named as its file, so that nothing is run twice."""
    assert [[case.__name__ for case in cases_of(module)] for module in MODULES] == [[m.__name__] for m in MODULES]
    assert len(CASES) > 20


@pytest.mark.usefixtures("slicer_with_modules")
@pytest.mark.parametrize(("case", "name"), CASES)
def test_in_stand_ins(case: type[unittest.TestCase], name: str) -> None:
    result = unittest.TestResult()
    case(name).run(result)
    assert result.testsRun == 1
    assert [text for _, text in result.errors + result.failures] == []
