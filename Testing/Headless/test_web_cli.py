"""The commands that talk to servers, with a real Orthanc and with folders: output, exit codes, secrets, interrupts."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from support.orthanc import Orthanc

import dicombridge
from dicombridge.cli import main, tables
from dicombridge.demo import phantom

PACKAGE = Path(dicombridge.__file__).parents[1]
PASSWORD = "s3cret-Pass"  # of the fixture
LONG = 60.0

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def study(phantom_study: phantom.PhantomStudy) -> phantom.PhantomStudy:
    return phantom_study


@pytest.fixture(scope="module")
def seg(study: phantom.PhantomStudy) -> Any:
    """The header of a segmentation of the CT."""
    return pydicom.dcmread(study.segmentations[0].file, stop_before_pixels=True)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings and cache of each test's own; and no secrets left in this process."""
    from dicombridge.web import secrets

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
    monkeypatch.setenv("DICOMBRIDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
    for name in ("DICOMBRIDGE_SERVER", "DICOMBRIDGE_PASSWORD", "DICOMBRIDGE_TOKEN", "DICOMBRIDGE_SECRETS"):
        monkeypatch.delenv(name, raising=False)
    yield
    secrets.session.forget_all()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in this process; what it does to the logging of the library is undone."""
    logger = logging.getLogger("dicombridge")
    before = (logger.propagate, logger.level, logger.handlers)

    def command(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    yield command
    logger.propagate, logger.level, logger.handlers = before


def _good(run: Run, *arguments: object) -> str:
    code, output, errors = run(*arguments)
    assert (code, errors) == (0, "")
    return output


def _error(run: Run, *arguments: object) -> str:
    """Return the one line that a failing command prints."""
    code, _, errors = run(*arguments)
    assert code == 1
    assert errors.startswith("dicombridge: error: ")
    assert len(errors.splitlines()) == 1, errors
    return errors.removeprefix("dicombridge: error: ").strip()


def _rows(output: str) -> list[list[str]]:
    """Return the cells of a plain table; columns are two blanks apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in output.splitlines()]


def _digests(paths: list[Path]) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


# A real server ----------------------------------------------------------------------------------------------------


def test_there_and_back(run: Run, orthanc: Orthanc, study: phantom.PhantomStudy, seg: Any, tmp_path: Path) -> None:
    """Saved, examined, stored, found, retrieved: the bytes are those that were stored."""
    assert _good(run, "servers", "add", "PACS", orthanc.url) == f"PACS: {orthanc.url}\n"
    sent = [path for path in study.directory.rglob("*") if path.is_file() and path.parent.name in ("ct", "seg")]
    assert len(sent) > 60
    assert (
        _good(run, "store", "PACS", *sent, "--check")
        == f"{len(sent)} of {len(sent)} stored, {len(sent)} found when asked for\n"
    )
    assert len(orthanc.instance_ids()) == len(sent)

    rows = _rows(_good(run, "query", "PACS", "--filter", "PatientName=phantom*"))
    assert rows[0][:3] == ["StudyDate", "PatientName", "PatientID"]
    assert rows[1][:3] == ["20250102", "Phantom^Torso", "DICOMBRIDGE-PHANTOM"]
    assert rows[1][-2:] == [str(len(sent)), seg.StudyInstanceUID]
    assert rows[2] == ["1 study"]
    series = json.loads(_good(run, "query", "PACS", "--level", "series", "--study", seg.StudyInstanceUID, "--json"))
    assert {one["SeriesInstanceUID"] for one in series} == {
        pydicom.dcmread(path, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID for path in sent
    }
    assert json.loads(_good(run, "query", "PACS", "--filter", "PatientID=nobody", "--json")) == []

    text = _good(run, "retrieve", "PACS", seg.StudyInstanceUID, "-o", tmp_path / "in")
    assert text == f"{len(sent)} of {len(sent)} verified, in {tmp_path / 'in'}\n"
    came = list((tmp_path / "in").rglob("*.dcm"))
    assert _digests(came) == _digests(sent)
    one = f"{seg.StudyInstanceUID}/{seg.SeriesInstanceUID}/{seg.SOPInstanceUID}"
    report = json.loads(_good(run, "retrieve", "PACS", one, "-o", tmp_path / "one", "--json"))
    assert report["verified"] == [seg.SOPInstanceUID]
    assert _digests([Path(path) for path in report["files"]]) == _digests([Path(study.segmentations[0].file)])


def test_load_from_the_server_brings_what_is_referred_to(
    run: Run, orthanc: Orthanc, study: phantom.PhantomStudy, seg: Any, tmp_path: Path
) -> None:
    orthanc.add([Path(study.segmentations[0].file), *(study.directory / "ct").iterdir()])
    link = f"dicomweb:{orthanc.url}/{seg.StudyInstanceUID}/{seg.SeriesInstanceUID}"
    loaded = json.loads(_good(run, "load", link, "-o", tmp_path / "scene.mrb", "--json"))
    assert [(node["kind"], node["class"]) for node in loaded["nodes"]] == [
        ("IMAGE", "vtkMRMLScalarVolumeNode"),
        ("SEG", "vtkMRMLSegmentationNode"),
    ]
    orthanc.stop()  # what the cache has is still verified against the server's own list
    assert "nothing listens" in _error(run, "load", link, "-o", tmp_path / "again.mrb")


def test_load_as_a_function(orthanc: Orthanc, study: phantom.PhantomStudy, seg: Any) -> None:
    orthanc.add([Path(study.segmentations[0].file), *(study.directory / "ct").iterdir()])
    nodes = dicombridge.load(f"dicomweb:{orthanc.url}/{seg.StudyInstanceUID}/{seg.SeriesInstanceUID}")
    assert [node.GetClassName() for node in nodes] == ["vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"]
    assert nodes[1].GetNodeReference("referenceImageGeometryRef") is nodes[0]


def test_a_chain_of_references_is_followed(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    """A dose names its plan, the plan its structure set, and that its images."""
    from dicombridge.web.opening import files_of

    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in study.directory.rglob("*.dcm")]
    (dose,) = (one for one in headers if one.Modality == "RTDOSE")
    link = f"dicomweb:{study.directory}/{dose.StudyInstanceUID}/{dose.SeriesInstanceUID}"
    files = files_of(link, cache=tmp_path)
    assert {pydicom.dcmread(path, specific_tags=["Modality"]).Modality for path in files} == {
        *("RTDOSE", "RTPLAN", "RTSTRUCT", "CT")
    }
    assert len(files) == 63
    assert all(path.is_relative_to(tmp_path) for path in files)


def test_links_that_lead_nowhere(run: Run, study: phantom.PhantomStudy, tmp_path: Path) -> None:
    for place, reason in (("1.2.3", "there is no study 1.2.3"), ("1.2.3/1.2.4", "no such study, series or instance")):
        message = _error(run, "load", f"dicomweb:{study.directory}/{place}", "-o", tmp_path / "scene.mrb")
        assert reason in message
    assert list(tmp_path.iterdir()) == []


def test_thumbnails(run: Run, orthanc: Orthanc, study: phantom.PhantomStudy, tmp_path: Path) -> None:
    from PIL import Image

    orthanc.add((study.directory / "ct").iterdir())
    where = f"{pydicom.dcmread(next((study.directory / 'ct').iterdir())).StudyInstanceUID}/{study.ct.uid}"
    assert (
        _good(run, "thumbnail", orthanc.url, where, "-o", tmp_path / "a.png", "--size", 64) == f"{tmp_path / 'a.png'}\n"
    )
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.format, max(picture.size)) == ("PNG", 64)
        assert len(set(picture.convert("L").tobytes())) > 10  # something is to be seen
    shown = json.loads(_good(run, "thumbnail", orthanc.url, where, "-o", tmp_path / "b.gif", "--frames", 3, "--json"))
    assert len({frame["instance"] for frame in shown["frames"]}) == 3
    with Image.open(tmp_path / "b.gif") as film:
        assert film.n_frames == 3
    assert ".png, .jpg" in _error(run, "thumbnail", orthanc.url, where, "-o", tmp_path / "c.txt")
    assert "STUDY/SERIES[/INSTANCE]" in _error(run, "thumbnail", orthanc.url, "1.2", "-o", tmp_path / "c.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.gif"]


def test_store_a_node_of_a_scene(
    run: Run, orthanc: Orthanc, study: phantom.PhantomStudy, seg: Any, tmp_path: Path
) -> None:
    _good(run, "load", study.segmentations[0].file, study.directory / "ct", "-o", tmp_path / "scene.mrb")
    text = _good(
        run,
        *("store", orthanc.url, "--scene", tmp_path / "scene.mrb", "11: CT organs and lesion", "--kind", "SEG"),
        *("--source", study.directory / "ct", "--set", "SeriesDescription=sent"),
    )
    assert text.startswith("1 of 1 stored")
    (item,) = json.loads(_good(run, "query", orthanc.url, "--level", "series", "--json"))
    assert (item["Modality"], item["SeriesDescription"]) == ("SEG", "sent")
    assert item["StudyInstanceUID"] == seg.StudyInstanceUID
    assert "--scene needs --kind" in _error(run, "store", orthanc.url, "--scene", "a.mrb", "b")
    assert "for --scene" in _error(run, "store", orthanc.url, "a.dcm", "--kind", "SEG")
    assert "or --scene" in _error(run, "store", orthanc.url)


def test_doctor(run: Run, orthanc: Orthanc) -> None:
    """What a person pastes is the address of Orthanc's own pages."""
    assert _good(run, "doctor", f"{orthanc.rest}/app/explorer.html", "--save", "Found").splitlines()[-1] == (
        f"{orthanc.url}, saved as Found"
    )
    report = json.loads(_good(run, "doctor", "Found", "--json"))
    assert report["server"]["url"] == orthanc.url
    assert any(finding["ok"] for finding in report["findings"])
    assert json.loads(_good(run, "query", "Found", "--json")) == []


# Secrets ----------------------------------------------------------------------------------------------------------


def test_passwords_come_from_the_environment(
    run: Run, locked_orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("query", locked_orthanc.url, "--user", "anna", "--json")
    assert "the password is missing" in _error(run, *asked)
    monkeypatch.setenv("DICOMBRIDGE_SERVER", locked_orthanc.url)
    monkeypatch.setenv("DICOMBRIDGE_PASSWORD", PASSWORD)
    assert json.loads(_good(run, *asked)) == []
    monkeypatch.setenv("DICOMBRIDGE_PASSWORD", "wrong-password")
    message = _error(run, *asked)
    assert "does not accept the credentials (401)" in message
    assert "wrong-password" not in message
    assert "wants to know who asks (401, Basic)" in _error(run, "query", locked_orthanc.url)


def test_passwords_come_from_standard_input(locked_orthanc: Orthanc) -> None:
    command = [*_program(), "query", locked_orthanc.url, "--user", "anna", "--password-stdin", "--json"]
    for given, code in ((PASSWORD + "\n", 0), ("wrong\n", 1), ("", 1)):
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=LONG, env=_environment())
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == code
        assert PASSWORD not in done.stdout + done.stderr


def test_passwords_are_asked_for_on_a_terminal(locked_orthanc: Orthanc) -> None:
    output = _on_terminal(
        [*_program(), "query", locked_orthanc.url, "--user", "anna"],
        [("Password of", PASSWORD + "\n"), ("0 studies", "")],
    )
    assert PASSWORD not in output


def test_no_argument_takes_a_secret(run: Run) -> None:
    for command in ("query", "retrieve", "store", "thumbnail", "doctor", "servers add"):
        text = _good(run, *command.split(), "--help")
        options = {word.strip(",=[]") for word in text.split() if word.startswith(("--", "[--"))}
        assert "--password-stdin" in options
        assert not options & {"--password", "--token", "--secret", "--bearer"}
    message = _error(run, "servers", "add", "x", "https://h/x", "--auth", "basic", "--field", f"password={PASSWORD}")
    assert "is a secret" in message
    assert PASSWORD not in message
    assert PASSWORD not in _error(run, "query", f"https://anna:{PASSWORD}@localhost/dicom-web")


# Saved servers ----------------------------------------------------------------------------------------------------


def test_servers_are_listed_added_exported_imported_and_removed(run: Run, tmp_path: Path) -> None:
    assert _good(run, "servers").startswith("No servers are saved.")
    _good(run, "servers", "add", "One", "https://one.example.org/dicom-web/", "--user", "anna")
    _good(run, "servers", "add", "Two", "--preset", "orthanc", "--word", "host=two.example.org", "--auth", "bearer")
    _good(run, "servers", "add", "Here", tmp_path)
    assert _rows(_good(run, "servers", "list"))[1:] == [
        ["One", "https://one.example.org/dicom-web", "basic"],
        ["Two", "http://two.example.org:8042/dicom-web", "bearer", "Orthanc"],
        ["Here", str(tmp_path)],
    ]
    assert _good(run, "servers", "export", tmp_path / "file.json").startswith("3 servers in")
    assert _good(run, "servers", "remove", "One") == "One is forgotten.\n"
    assert "'One'" in _error(run, "servers", "remove", "One")
    (new,) = json.loads(_good(run, "servers", "import", tmp_path / "file.json", "--json"))
    assert new["name"] == "One"
    assert new["authentication"] == {"kind": "basic", "user": "anna"}
    assert [one["name"] for one in json.loads(_good(run, "servers", "--json"))] == ["Two", "Here", "One"]


def test_what_servers_refuse(run: Run, tmp_path: Path) -> None:
    assert "an address, or --preset" in _error(run, "servers", "add", "x")
    assert "no folder or zip file that is there" in _error(run, "servers", "add", "x", tmp_path / "absent")
    assert "'bogus' is not a preset" in _error(run, "servers", "add", "x", "--preset", "bogus")
    assert "--word host" in _error(run, "servers", "add", "x", "--preset", "orthanc", "--word", "host")
    assert "'magic' is not a kind" in _error(run, "servers", "add", "x", "https://h/x", "--auth", "magic")
    assert "absent.json" in _error(run, "servers", "import", tmp_path / "absent.json")
    names = {row[0] for row in _rows(_good(run, "servers", "presets"))[1:]}
    assert {"orthanc", "dcm4chee", "google", "azure", "aws", "idc", "kheops", "local"} <= names


# Folders and zip files --------------------------------------------------------------------------------------------


def test_a_folder_and_a_zip_are_servers_too(run: Run, study: phantom.PhantomStudy, seg: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in (study.directory / "seg").iterdir():
            archive.write(path, f"seg/{path.name}")
    for server in (study.directory, tmp_path / "study.zip"):
        found = json.loads(_good(run, "query", server, "--level", "series", "--filter", "Modality=SEG", "--json"))
        assert seg.SeriesInstanceUID in {one["SeriesInstanceUID"] for one in found}
        target = tmp_path / f"from-{server.suffix}"
        place = f"{seg.StudyInstanceUID}/{seg.SeriesInstanceUID}"
        assert "1 of 1 verified" in _good(run, "retrieve", server, place, "-o", target)
        assert _digests(list(target.rglob("*.dcm"))) == _digests([Path(study.segmentations[0].file)])


# Errors, partial transfers, interrupts ----------------------------------------------------------------------------


def test_what_does_not_work_is_one_line(run: Run, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/dicom-web"
    assert "nothing listens" in _error(run, "query", nobody)
    assert "'Nowhere' is no saved server" in _error(run, "query", "Nowhere")
    assert "not the keyword" in _error(run, "query", tmp_path, "--filter", "Patient=x")
    assert "--filter PatientName: this is not KEYWORD=VALUE" in _error(
        run, "query", tmp_path, "--filter", "PatientName"
    )
    assert "'frame'" in _error(run, "query", tmp_path, "--level", "frame")
    assert "not a UID" in _error(run, "retrieve", nobody, "../x", "-o", tmp_path / "in")
    assert "STUDY[/SERIES[/INSTANCE]]" in _error(run, "retrieve", nobody, "1/2/3/4", "-o", tmp_path / "in")
    assert "dicomweb:SERVER/STUDY" in _error(run, "load", "dicomweb:PACS", "-o", tmp_path / "x.mrb")
    assert "absent.dcm" in _error(run, "store", nobody, tmp_path / "absent.dcm")
    assert list(tmp_path.iterdir()) == []


def test_a_partial_retrieval_lists_what_is_not_there(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dicombridge.web import retrieving
    from dicombridge.web.retrieving import RetrieveReport

    report = RetrieveReport(("1.1",), ("1.2",), {"1.3": "cut short"}, (), 5, 1, True, tmp_path / "m", ("A note.",))
    monkeypatch.setattr(retrieving, "retrieve", lambda *_, **__: report)
    code, output, errors = run("retrieve", "https://127.0.0.1/x", "1.2.3", "-o", tmp_path)
    assert code == 1
    assert output.splitlines() == ["1.2: missing: the server does not have it", "1.3: cut short"]
    assert errors.splitlines() == [
        "dicombridge: warning: A note.",
        "dicombridge: error: 1 of 3 verified, 1 missing, 1 failed.",
    ]


def test_a_partial_store_lists_what_was_not_stored(run: Run, orthanc: Orthanc, tmp_path: Path, seg: Any) -> None:
    (tmp_path / "in").mkdir()
    whole = Path(seg.filename).read_bytes()
    (tmp_path / "in" / "a.dcm").write_bytes(whole)
    (tmp_path / "in" / "b.dcm").write_bytes(whole[: len(whole) // 2].replace(b"CT organs", b"CT orGANs"))
    code, output, errors = run("store", orthanc.url, tmp_path / "in")
    assert code == 1
    assert any("b.dcm" in line or seg.SOPInstanceUID in line for line in output.splitlines())
    assert errors.startswith("dicombridge: error: 1 of ")
    assert len(errors.splitlines()) == 1
    assert len(orthanc.instance_ids()) == 1


def test_what_a_server_says_does_nothing_to_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from dicombridge.errors import RefusedError
    from dicombridge.web import catalogue

    def search(*_: Any, told: Callable[[str], object], **__: Any) -> Iterator[dict[str, Any]]:
        told("the server says \x1b[2J")
        yield {"PatientName": "\x1b]0;title\x07\nDoe"}
        raise RefusedError("it answered \x9b31m\r")

    monkeypatch.setattr(catalogue, "search", search)
    code, output, errors = run("query", "https://127.0.0.1/x", "--level", "patient")
    assert code == 1
    assert output.splitlines()[1].strip() == "?]0;title? Doe"
    assert errors.splitlines() == ["dicombridge: warning: the server says ?[2J", "dicombridge: error: it answered ?31m"]


@pytest.mark.parametrize("command", ["query SERVER", "retrieve SERVER 1.2.3 -o OUT", "store SERVER FILE"])
def test_an_interrupt_ends_a_command_that_waits(command: str, seg: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LONG)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/dicom-web"
        words = (
            command.replace("SERVER", address)
            .replace("OUT", str(tmp_path / "in"))
            .replace("FILE", seg.filename)
            .split()
        )
        process = subprocess.Popen(
            [*_program(), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
        )
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(LONG)
            assert b"HTTP/1.1" in accepted.recv(1000)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=LONG)
    assert time.monotonic() - begun < 20  # it would wait for minutes otherwise
    assert process.returncode == 1
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert "ancelled" in errors or "interrupted" in errors


# What people see --------------------------------------------------------------------------------------------------


def test_a_table_on_a_terminal_and_a_bar(orthanc: Orthanc, study: phantom.PhantomStudy, tmp_path: Path) -> None:
    output = _on_terminal([*_program(), "store", orthanc.url, str(study.directory / "ct")], [("60 of 60 stored", "")])
    assert "Storing" in output
    output = _on_terminal([*_program(), "query", orthanc.url], [("1 study", "")])
    assert "StudyDate" in output
    assert "\u2500" in output  # a line that plain columns have not
    assert "Phantom^Torso" in output


def test_plain_tables_are_streamed_and_do_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with tables.Table(("Name", "Count")) as table:
        for number in range(tables.FIRST_ROWS - 1):
            table.add(f"N{number}", number)
        assert capsys.readouterr().out == ""
        table.add("\x1b[2J[bold]Doe\r\nJane", None)
        first = capsys.readouterr().out.splitlines()
        assert len(first) == tables.FIRST_ROWS + 1
        table.add("late", ["a", 2])
    assert capsys.readouterr().out.split() == ["late", "a,", "2"]
    assert first[0] == "Name" + " " * 16 + "Count"
    assert first[-1] == "?[2J[bold]Doe Jane"


def test_tables_on_a_terminal_without_rich(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(tables.importlib.util, "find_spec", lambda name: None)
    with tables.Table(("Name", "Count")) as table:
        table.add("a", 1)
    assert capsys.readouterr().out == "Name  Count\na     1\n"


def test_commands_do_not_load_each_others_libraries() -> None:
    code = "import sys; from dicombridge.cli import main; main(['servers']); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, env=_environment(), check=True
    )
    loaded = set(done.stdout.splitlines()[-1].replace("'", "").strip("[]").split(", "))
    assert not loaded & {"requests", "pydicom", "numpy", "vtkmodules", "rich", "dicomweb_client"}


def _program() -> list[str]:
    return [sys.executable, "-m", "dicombridge"]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PACKAGE), "TERM": "xterm", "COLUMNS": "200"}


def _on_terminal(command: list[str], talk: list[tuple[str, str]]) -> str:
    """Run a command on a terminal: wait for each text and type the answer to it. Returns all that was shown."""
    spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    process = subprocess.Popen(
        [sys.executable, "-c", spawn, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
    )
    assert process.stdin
    assert process.stdout
    shown = b""
    with process, process.stdin, process.stdout:
        for awaited, answer in talk:
            while awaited.encode() not in shown:
                piece = os.read(process.stdout.fileno(), 10_000)
                assert piece, shown.decode()
                shown += piece
            process.stdin.write(answer.encode())
            process.stdin.flush()
        while piece := os.read(process.stdout.fileno(), 10_000):
            shown += piece
        assert process.wait(LONG) == 0, shown.decode()
    return shown.decode()
