"""The command line, as a user's shell sees it: exit codes, output, one line for an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest

import dicombridge
from dicombridge.demo import comparison, phantom

PACKAGE = Path(dicombridge.__file__).parents[1]


def _run(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    command = [sys.executable, "-m", "dicombridge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder, env=environment)


def _good(*arguments: object) -> str:
    process = _run(*arguments)
    assert process.returncode == 0, process.stderr
    return process.stdout


def _error(*arguments: object) -> str:
    """Return the one line that a failing command prints."""
    process = _run(*arguments)
    assert process.returncode == 1, process.stdout
    lines = process.stderr.splitlines()
    assert len(lines) == 1, process.stderr
    assert lines[0].startswith("dicombridge: error: ")
    return lines[0].removeprefix("dicombridge: error: ")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> phantom.PhantomStudy:
    return phantom.write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def scene_file(study: phantom.PhantomStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "phantom.mrb"
    _good("load", study.directory, "-o", path)
    return path


# Help and version -------------------------------------------------------------------------------------------------


def test_version() -> None:
    assert _good("--version") == f"dicombridge {dicombridge.__version__}\n"


@pytest.mark.parametrize("command", ["info", "load", "export", "convert", "demo"])
def test_help_of_each_command(command: str) -> None:
    text = _good(command, "--help")
    assert f"usage: dicombridge {command}" in text
    assert command in _good("--help")


def test_wrong_usage_is_one_line() -> None:
    assert "COMMAND" in _error()
    assert "'bogus'" in _error("bogus")
    assert "--output" in _error("load", "somewhere")
    assert "'sideways'" in _error("convert", "x", "--to", "SEG", "-o", "y", "--type", "sideways").lower()


# info -------------------------------------------------------------------------------------------------------------


def test_info_lists_series_and_kinds(study: phantom.PhantomStudy) -> None:
    lines = _good("info", study.directory).splitlines()
    assert lines[0] == "Phantom^Torso  DICOMBRIDGE-PHANTOM"
    assert lines[1] == "  2025-01-02  DICOMBridge phantom"
    table = [line.split(maxsplit=4) for line in lines[3:]]
    assert [row[:4] for row in table] == [
        ["2", "CT", "60", "IMAGE"],
        ["3", "MR", "24", "IMAGE"],
        ["4", "PT", "40", "IMAGE"],
        ["5", "CT", "60", "IMAGE"],
        ["6", "CT", "60", "IMAGE"],
        ["11", "SEG", "1", "SEG"],
        ["12", "SEG", "1", "SEG"],
        ["13", "SEG", "1", "SEG"],
        ["14", "SEG", "1", "SEG"],
        ["15", "OT", "1", "PM"],
        ["20", "RTSTRUCT", "1", "RTSTRUCT"],
        ["21", "RTPLAN", "1", "RTPLAN"],
        ["22", "RTDOSE", "1", "RTDOSE"],
        ["30", "REG", "1", "REG"],
        ["31", "REG", "1", "DEFORM"],
        ["40", "SR", "1", "SR"],
        ["50", "SM", "2", "SLIDE"],
        ["51", "ANN", "1", "ANN"],
        ["52", "SEG", "1", "SEG"],
    ]
    assert "CT organ map" in table[6][4]


def test_info_json(study: phantom.PhantomStudy) -> None:
    summary = json.loads(_good("info", study.directory, "--json"))
    assert summary["skipped"] == []
    (patient,) = summary["patients"]
    assert patient["PatientID"] == "DICOMBRIDGE-PHANTOM"
    series = {one["SeriesNumber"]: one for one in patient["studies"][0]["series"]}
    assert series["2"]["SeriesInstanceUID"] == study.ct.uid
    (offer,) = [offer for offer in series["11"]["loadables"] if offer["selected"]]
    assert (offer["kind"], offer["references"], offer["referencesFound"]) == ("SEG", 60, 60)


@pytest.mark.parametrize("form", ["--json", None])
def test_info_does_nothing_to_a_terminal(form: str | None, study: phantom.PhantomStudy, tmp_path: Path) -> None:
    """A description may hold what terminals take for the beginning of a command."""
    ds = pydicom.dcmread(study.ct.files[0])
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SeriesDescription = "Br\u00fcste \u009b2J\u0090"
    ds.save_as(tmp_path / "ct.dcm")
    told = _good("info", tmp_path, *filter(None, [form]))
    assert "Br\u00fcste" in told
    assert not {"\u009b", "\u0090"} & set(told)
    if form:
        ((series,),) = ([one for study in json.loads(told)["patients"][0]["studies"] for one in study["series"]],)
        assert series["SeriesDescription"] == ds.SeriesDescription


def test_info_of_one_file_says_what_is_missing(study: phantom.PhantomStudy) -> None:
    text = _good("info", study.segmentations[0].file)
    assert "! 60 of 60 referenced instances are not here" in text


def test_info_names_skipped_files(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "short.dcm").write_bytes(study.ct.files[0].read_bytes()[:100])
    (tmp_path / "good.dcm").write_bytes(study.ct.files[0].read_bytes())
    summary = json.loads(_good("info", tmp_path, "--json"))
    assert {Path(entry["path"]).name for entry in summary["skipped"]} == {"notes.txt", "short.dcm"}
    assert all(entry["reason"] for entry in summary["skipped"])


def test_info_of_nothing(tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in _error("info", tmp_path / "nowhere")
    assert "no DICOM file" in _error("info", tmp_path)
    (tmp_path / "a.txt").write_text("text")
    assert "a.txt" in _error("info", tmp_path / "a.txt")


def test_info_into_a_closed_pipe_is_quiet(study: phantom.PhantomStudy) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    command = [sys.executable, "-m", "dicombridge", "info", str(study.directory), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


# load -------------------------------------------------------------------------------------------------------------


def test_load_writes_a_scene_that_reads_back(scene_file: Path, study: phantom.PhantomStudy) -> None:
    scene = dicombridge.new_scene()
    assert scene.ReadFromMRB(str(scene_file))
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 6  # one of them is of the structure set
    truth = study.segmentations[1]
    node = next(
        node
        for node in (scene.GetNthNodeByClass(i, "vtkMRMLSegmentationNode") for i in range(6))
        if truth.name in node.GetName()
    )
    read = comparison.arrays_of_node(node, truth.source.affine, truth.source.values.shape)
    assert comparison.equal(read, truth.segments)
    assert [path.name for path in scene_file.parent.iterdir()] == [scene_file.name]


def test_load_one_kind_as_json_with_preview(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    from PIL import Image

    output, picture = tmp_path / "s.mrb", tmp_path / "p.png"
    arguments = ("load", study.directory, "-o", output, "--preview", picture, "--kind", "seg", "--json")
    nodes = json.loads(_good(*arguments))["nodes"]
    assert {node["kind"] for node in nodes} == {"SEG"}
    assert sum(node["class"] == "vtkMRMLSegmentationNode" for node in nodes) == 5
    with Image.open(picture) as page:
        assert page.size[0] == 1200


def test_load_several_paths(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    output = tmp_path / "s.mrb"
    truth = study.segmentations[3]
    nodes = json.loads(_good("load", truth.file, study.mr.directory, "-o", output, "--json"))["nodes"]
    assert [node["kind"] for node in nodes] == ["IMAGE", "SEG"]
    scene = dicombridge.new_scene()
    assert scene.ReadFromMRB(str(output))
    segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    source = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
    assert source is not None
    assert source.GetName() == nodes[0]["name"]


def test_load_failures_leave_nothing(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    output = tmp_path / "out" / "s.mrb"
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(study.segmentations[0].file.read_bytes()[:3000])
    assert "broken.dcm" in _error("load", broken, "-o", output)
    assert "nothing of kind IMAGE" in _error("load", study.segmentations[0].file, "-o", output, "--kind", "IMAGE")
    assert "'RTWHAT'" in _error("load", study.directory, "-o", output, "--kind", "RTWHAT")
    assert ".mrb" in _error("load", study.directory, "-o", tmp_path / "s.nrrd")
    assert "nowhere" in _error("load", tmp_path / "nowhere", "-o", output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.dcm"]


# export and convert -----------------------------------------------------------------------------------------------


def test_export_by_name(scene_file: Path, study: phantom.PhantomStudy, tmp_path: Path) -> None:
    from pydicom import dcmread

    truth = study.segmentations[0]
    text = _good(
        *("export", scene_file, f"11: {truth.name}", "--kind", "SEG", "-o", tmp_path / "new"),
        *("--source", study.ct.directory, "--set", "SeriesDescription=by name", "--json"),
    )
    (path,) = json.loads(text)["files"]
    assert dcmread(path).SeriesDescription == "by name"
    read = comparison.arrays_of_file(path, truth.source.affine, truth.source.values.shape)
    assert comparison.equal(read, truth.segments)


def test_export_errors(scene_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "new"
    assert "11: CT organs and lesion" in _error("export", scene_file, "Nobody", "--kind", "SEG", "-o", output)
    node = "11: CT organs and lesion"
    assert "'BOGUS'" in _error("export", scene_file, node, "--kind", "BOGUS", "-o", output)
    assert "KEYWORD=VALUE" in _error("export", scene_file, node, "--kind", "SEG", "-o", output, "--set", "oops")
    assert "there is no such file" in _error("export", tmp_path / "no.mrb", node, "--kind", "SEG", "-o", output)
    (tmp_path / "bad.mrb").write_bytes(b"this is no archive")
    assert "not a scene" in _error("export", tmp_path / "bad.mrb", node, "--kind", "SEG", "-o", output)
    assert not output.exists()


@pytest.mark.parametrize("type_", ["BINARY", "LABELMAP"])
def test_convert_to_another_type(study: phantom.PhantomStudy, tmp_path: Path, type_: str) -> None:
    import highdicom

    truth = study.segmentations[1]
    text = _good(
        *("convert", truth.file, "--to", "SEG", "--type", type_, "-o", tmp_path / "new"),
        *("--source", study.ct.directory, "--json"),
    )
    (path,) = json.loads(text)["files"]
    assert highdicom.seg.segread(path).segmentation_type.value == type_
    read = comparison.arrays_of_file(path, truth.source.affine, truth.source.values.shape)
    assert comparison.equal(read, truth.segments)


def test_convert_errors(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    output = tmp_path / "new"
    assert "not written" in _error("convert", study.segmentations[0].file, "--to", "IMAGE", "-o", output)
    assert "13 objects" in _error("convert", study.directory, "--to", "SEG", "-o", output)
    assert not output.exists()


def test_unexpected_errors_are_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    from dicombridge import cli
    from dicombridge.cli import info

    def fail(path: str) -> None:
        raise ValueError("two\nlines")

    monkeypatch.setattr(info, "describe", fail)
    assert cli.main(["info", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("dicombridge: error: unexpected ValueError: two lines")
    assert message.count("\n") == 1
    with pytest.raises(ValueError, match="two"):
        cli.main(["info", str(tmp_path), "--debug"])
