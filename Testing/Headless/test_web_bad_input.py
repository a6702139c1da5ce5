"""What people and files get wrong: each is one clear sentence, at once, and never an accident of a library."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.fault_server import SERIES, serve_faults
from support.folders import write_ct
from support.orthanc import Orthanc, free_port
from support.scripted_quirks import Quirks
from support.scripted_server import scripted
from test_web_retrieve_quirks import Answer, OddWorld, fetched

from dicombridge import web
from dicombridge.cli import main
from dicombridge.errors import DicomBridgeError, RefusedError, UnreachableError
from dicombridge.web.addresses import local_path
from dicombridge.web.connection import _LostError
from dicombridge.web.profile import Profile
from dicombridge.web.retrieving.folder import Folder
from dicombridge.web.saved import SavedServers, SettingsFile
from dicombridge.web.servers import Server
from dicombridge.web.storing import items
from dicombridge.web.worker.client import Sent, WorkerProcess
from dicombridge.web.worker.handlers import error_of

NOBODY = "https://127.0.0.1:1/dicom-web"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["query", "http://[::1"], "Invalid IPv6"),
        (["query", "http://a b/x"], "is not an address"),
        (["query", "localhost:8042/dicom-web"], "begins with http:// or https://"),
        (["query", "~nobody-of-this-name/x"], "home"),
        (["query", NOBODY, "--filter", "limit=3"], "'limit' is not the keyword"),
        (["query", NOBODY, "--filter", "level=series"], "'level' is not the keyword"),
        (["query", NOBODY, "--limit", "-3"], "below 1"),
        (["query", NOBODY, "--offset", "-1"], "below 0"),
        (["query", NOBODY, "--limit", "x"], "invalid whole number value: 'x'"),
        (["query", NOBODY, "--ca-bundle", "/nowhere/ca.pem"], "there is no file /nowhere/ca.pem"),
        (["retrieve", NOBODY, "1.2.3", "-o", "x/y", "--connections", "0"], "below 1"),
        (["thumbnail", NOBODY, "1.2.3/1.2.4", "-o", "x.png", "--size", "0"], "below 16"),
        (["doctor", "http://[::1"], "cannot be read"),
        (["doctor", "~nobody-of-this-name/x"], "home"),
    ],
)
def test_one_line_at_once(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    output, errors = capsys.readouterr()
    assert (code, output, len(errors.splitlines())) == (1, "", 1)
    assert words in errors
    assert "unexpected" not in errors


def test_limits_of_a_search_are_not_below_nought() -> None:
    for wrong in ({"limit": -1}, {"offset": -1}):
        with pytest.raises(DicomBridgeError, match="not below 0"):
            web.search(Server(NOBODY), **wrong)  # type: ignore[arg-type]


def test_addresses_of_files() -> None:
    assert local_path("file://localhost/data/a%20b") == Path("/data/a b")
    assert local_path("file:///data/a") == Path("/data/a")


def test_every_function_takes_what_people_call_a_server(tmp_path: Path, own_cache: Path) -> None:
    """A server, its saved name or address, or a folder as text or path."""
    SavedServers(SettingsFile()).save(Server(str(tmp_path / "a"), name="Mine"))
    write_ct(tmp_path / "one.dcm", SOPInstanceUID="1.2.3.77")
    for server in (Server(str(tmp_path / "a")), tmp_path / "a", str(tmp_path / "a"), "Mine"):
        report = web.store(server, tmp_path / "one.dcm")
        assert report.complete
        (item,) = web.search(server, "instance")
        study, series = item["StudyInstanceUID"], item["SeriesInstanceUID"]
        assert [one.instance for one in web.instances(server, study)] == ["1.2.3.77"]
        assert web.details(server, study, series).instances == 1
        assert len(list(web.metadata(server, study, series))) == 1
        assert len(web.thumbnails(server, study, series)) == 1
        assert web.retrieve(server, study, directory=tmp_path / "in").verified == ("1.2.3.77",)
    for wrong in (None, 5, "nobody-has-saved-this"):
        with pytest.raises(DicomBridgeError, match="is no"):
            web.search(wrong)  # type: ignore[arg-type]
        with pytest.raises(DicomBridgeError, match=r"cannot be stored|is no"):
            web.store(tmp_path / "a" if wrong is None else wrong, wrong)  # type: ignore[arg-type]


# Servers that somebody else wrote ---------------------------------------------------------------------------------


def test_profiles_of_others_do_no_harm(tmp_path: Path) -> None:
    profile = {"connections": "many", "page_size": None, "store_bytes": -5, "fuzzy": 1, "notes": "abc", "store": False}
    values = {"url": NOBODY, "profile": profile, "headers": {"X": 5}}
    (tmp_path / "servers.json").write_text(json.dumps({"servers": [values]}))
    (found,) = SavedServers(SettingsFile(tmp_path / "settings.json")).import_file(tmp_path / "servers.json")
    assert found.profile == Profile(store=False)
    assert found.headers == {"X": "5"}


def test_every_value_of_a_profile_is_taken_over() -> None:
    whole = Profile("P", 7, True, 9, "all", False, True, ("A", "B"), False, True, ("series",), notes=("Slow.",))
    whole = Server(NOBODY, profile=whole).changed().profile
    assert Profile.from_json(json.loads(json.dumps(whole.to_json()))) == whole
    assert Profile.from_json({"requests_per_second": 2}).requests_per_second == 2
    assert Profile.from_json({"requests_per_second": 0.5}).requests_per_second == 0.5


@pytest.mark.parametrize("header", [{"X": "a\r\nAuthorization: b"}, {"X\n": "a"}, {"Ä": "a"}])
def test_headers_are_single_lines(header: dict[str, str]) -> None:
    with pytest.raises(DicomBridgeError, match="no header"):
        Server(NOBODY, headers=header)


# Retrieve ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["not found", "no content", "single instances"])
def test_what_the_server_does_not_have_is_an_error(tmp_path: Path, how: str) -> None:
    """Not "0 of 0 verified", whatever the server says of a series that it does not have."""

    def nothing(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        if path.endswith("/instances"):
            return Answer("200 OK", {"Content-Type": "application/dicom+json"}, b"[]")
        return Answer("404 Not Found" if how == "not found" else "204 No Content")

    profile = Profile(retrieve_levels=("instance",)) if how == "single instances" else None
    with serve_faults() as server, pytest.raises(RefusedError, match=f"no instances of series {SERIES} in study"):
        fetched(server, OddWorld(1, nothing), tmp_path / "in", profile)


def test_a_server_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(UnreachableError, match="nothing listens"):
        web.retrieve(Server(f"http://127.0.0.1:{free_port()}"), "1.2", "1.3", directory=tmp_path)
    assert time.monotonic() - begin < 5.0, "with repetitions it would be seven seconds"


def test_a_study_of_many_series_goes_into_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some folders are kept open; none is closed while another thread names a file in it."""
    usual = os.rename
    with Folder(tmp_path) as folder:

        def others() -> None:
            for number in range(70):
                os.close(folder.find(f"1.{number}", "1.2") or os.open(tmp_path, os.O_RDONLY))

        for number in range(70):
            (tmp_path / f"1.{number}").mkdir()
        part = folder.part()
        part.write(memoryview(b"first"))

        def slow(*arguments: Any, **options: Any) -> None:
            thread = threading.Thread(target=others)
            threads.append(thread)
            thread.start()
            thread.join(0.3)
            usual(*arguments, **options)

        threads: list[threading.Thread] = []
        monkeypatch.setattr(os, "rename", slow)
        path, _ = part.keep("1.500", "1.2")
        monkeypatch.undo()
        threads[0].join()
    assert path.read_bytes() == b"first"
    assert [one.name for one in tmp_path.rglob("*.dcm")] == ["1.2.dcm"]


# Store ------------------------------------------------------------------------------------------------------------


def test_nothing_to_store_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    with scripted(Quirks()) as one:
        for what, words in (("notes.txt", "is not a DICOM file"), ("empty", "there are no DICOM objects to store")):
            assert main(["store", one.url, str(tmp_path / what)]) == 1
            assert words in capsys.readouterr().err


def test_a_file_that_cannot_be_read_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may well be an object; only what is none is skipped."""
    (tmp_path / "a.dcm").write_bytes(b"x" * 200)
    (tmp_path / "notes.txt").write_bytes(b"x" * 200)
    told: list[tuple[str, str]] = []
    usual = Path.open

    def locked(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.suffix == ".dcm":
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", locked)
    sources = items.Sources(
        tmp_path, lambda: tmp_path, lambda path, state, reason: told.append((Path(path).name, state))
    )
    assert list(sources) == []
    assert told == [("a.dcm", "failed"), ("notes.txt", "skipped")]


def test_a_check_without_room_for_it_does_not_undo_what_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orthanc: Orthanc
) -> None:
    from dicombridge.web import retrieving

    def full(*_arguments: Any, **_options: Any) -> None:
        raise DicomBridgeError("the disk is full")

    write_ct(tmp_path / "a.dcm", SOPInstanceUID="1.2.3.77")
    monkeypatch.setattr(retrieving, "retrieve", full)
    report = web.store(Server(orthanc.url), tmp_path, check="all")
    assert (report.stored, report.complete) == (["1.2.3.77"], True)
    assert report.warnings == {"1.2.3.77": "It could not be retrieved: the disk is full"}


# The worker, and Ctrl-C -------------------------------------------------------------------------------------------


def test_the_worker_names_public_kinds_of_errors() -> None:
    assert error_of(_LostError("gone"))["kind"] == "UnreachableError"
    assert error_of(RefusedError("no"))["kind"] == "RefusedError"


def test_an_interrupt_in_the_midst_of_a_lock_does_not_hang(tmp_path: Path) -> None:
    """The main thread may hold the locks of its own cancelling when the signal comes."""
    script = tmp_path / "child.py"
    script.write_text(
        "import sys\n"
        "from dicombridge.cli.network import interruptible\n"
        "with interruptible() as cancel:\n"
        "    print('ready', flush=True)\n"
        "    while not cancel.cancelled:\n"
        "        with cancel._cancelled._cond:\n"
        "            sum(range(2000))\n"
        "print('ended')\n"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            killer = threading.Timer(5.0, process.kill)
            killer.start()
            rest = process.stdout.read()
            killer.cancel()
        assert (rest, process.returncode) == ("ended\n", 0)


def test_a_worker_that_talks_much_and_a_client_that_does_too(tmp_path: Path) -> None:
    """Both write more than a pipe holds; neither waits for the other for ever."""
    talker = tmp_path / "talker.py"
    talker.write_text(
        "import json, sys\n"
        "out = sys.stdout\n"
        "for line in sys.stdin:\n"
        "    id = json.loads(line)['id']\n"
        "    for _ in range(40):\n"
        "        print(json.dumps({'id': id, 'event': 'told', 'text': 'x' * 20000}), flush=True)\n"
        "    print(json.dumps({'id': id, 'event': 'done', 'result': {}}), flush=True)\n"
    )
    with WorkerProcess(command=[sys.executable, str(talker)]) as worker:
        sender = threading.Thread(
            target=lambda: sent.extend(worker.send("ping", text="y" * 1_000_000) for _ in range(4)), daemon=True
        )
        sent: list[Sent] = []
        sender.start()
        sender.join(10)
        end = time.monotonic() + 10
        while time.monotonic() < end and not (len(sent) == 4 and all(one.ended for one in sent)):
            time.sleep(0.01)
        ended = [one.ended for one in sent]
        if not all(ended):
            worker.kill()
    assert ended == [True] * 4
