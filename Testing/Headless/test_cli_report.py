"""Reports and key object selections on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from support.sr_exports import groups_of, numbers_of, written
from support.sr_images import SeriesOfImages
from support.sr_objects import CASES, Expected
from support.sr_templates import write_other
from test_cli import _error, _good
from test_report_contents import add

import dicombridge
from dicombridge.cli.common import save_scene


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Expected]:
    """A report, the folder with its images, and what it says."""
    folder = tmp_path_factory.mktemp("report")
    path, expected = CASES["planar oblique"](folder)
    return path, folder, expected


@pytest.fixture(scope="module")
def scene_file(report: tuple[Path, Path, Expected], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report, its images, and a line that was drawn since."""
    _, folder, _ = report
    scene = dicombridge.new_scene()
    dicombridge.load(str(folder), scene=scene)
    add(scene, "Line", "Drawn", [(0, 0, 0), (3, 4, 0)])
    return save_scene(scene, tmp_path_factory.mktemp("scene") / "scene.mrb")


def only_file(text: str) -> Path:
    (path,) = json.loads(text)["files"]
    return Path(path)


def test_info(report: tuple[Path, Path, Expected], tmp_path: Path) -> None:
    path, folder, expected = report
    rows = [line.split() for line in _good("info", folder).splitlines()]
    assert ["50", "SR", "1", "SR"] in [row[:4] for row in rows]
    summary = json.loads(_good("info", path, "--json"))
    (series,) = summary["patients"][0]["studies"][0]["series"]
    (offer,) = series["loadables"]
    assert (offer["kind"], offer["referencesFound"]) == ("SR", 0)
    assert offer["references"] == len(expected.images.uids)
    selection, _ = write_other(tmp_path, "key objects")
    rows = [line.split() for line in _good("info", selection.parent).splitlines()]
    assert ["KO", "1", "KOS"] in [row[1:4] for row in rows]


def test_a_loaded_report_is_exported(report: tuple[Path, Path, Expected], scene_file: Path, tmp_path: Path) -> None:
    path, folder, expected = report
    options = ("--source", folder / "images", "--set", "SeriesDescription=again", "--json")
    text = _good("export", scene_file, "50: Messungen", "--kind", "SR", "-o", tmp_path / "out", *options)
    again, before = written([only_file(text)]), pydicom.dcmread(path)
    assert list(groups_of(again)) == [one.tracking_identifier for one in expected.groups]
    assert [numbers_of(one) for one in groups_of(again).values()] == [
        numbers_of(one) for one in groups_of(before).values()
    ]
    assert again.SeriesDescription == "again"


def test_a_line_is_exported(scene_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    dataset = written([only_file(_good("export", scene_file, "Drawn", "--kind", "SR", "-o", output, "--json"))])
    assert numbers_of(groups_of(dataset)["Drawn"]) == pytest.approx({"Length": 5})
    error = _error("export", scene_file, "Drawn", "--kind", "SR", "-o", tmp_path / "no", "--set", "profile=fancy")
    assert "profile='fancy' is not known; there are: standard, ohif" in error


def images_named(dataset: pydicom.Dataset) -> list[str]:
    items = [one for one in dataset.ContentSequence if one.ValueType == "IMAGE"]
    return [str(one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for one in items]


@pytest.mark.parametrize("with_source", [False, True])
def test_slices_are_exported(
    report: tuple[Path, Path, Expected], scene_file: Path, tmp_path: Path, with_source: bool
) -> None:
    _, folder, expected = report
    images: SeriesOfImages = expected.images
    scene = dicombridge.new_scene()
    volume = dicombridge.load(str(images.folder), scene=scene)[0]
    shown = volume.GetAttribute("DICOM.instanceUIDs").split()
    options = ["--set", "slices=1,3", "--set", "title=For Referring Provider", "--json"]
    options += ["--source", str(folder / "images")] if with_source else []
    text = _good("export", scene_file, volume.GetName(), "--kind", "KOS", "-o", tmp_path / "out", *options)
    dataset = written([only_file(text)])
    assert images_named(dataset) == [shown[1], shown[3]]
    assert dataset.ConceptNameCodeSequence[0].CodeValue == "113002"
    assert dataset.StudyInstanceUID == images.study
    assert np.isin(images_named(dataset), images.uids).all()
