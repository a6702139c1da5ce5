"""Storing: what is sent, what is sent again, what becomes of each instance. Against a server that answers as told."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from support.folders import write_ct
from support.stow_server import Reply, Request, StowServer, module, stow_server

from dicombridge.errors import (
    AuthenticationError,
    DicomBridgeError,
    RefusedError,
    UnreachableError,
    UnreadableError,
    UnsupportedError,
)
from dicombridge.web import Cancel, Connection, Server, store
from dicombridge.web.retrieving.report import TransferProgress
from dicombridge.web.storing import Outcome, StoreReport, StoringCancelledError
from dicombridge.web.storing.body import Body
from dicombridge.web.storing.items import read_item


@pytest.fixture
def stow() -> Iterator[StowServer]:
    with stow_server() as running:
        yield running


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """Thirty small files of one series."""
    return [tmp_path / "series" / f"{number:02d}.dcm" for number in range(30) if _written(tmp_path, number)]


def _written(folder: Path, number: int) -> bool:
    write_ct(folder / "series" / f"{number:02d}.dcm", InstanceNumber=number, SOPInstanceUID=f"1.2.3.4.{number}")
    return True


def sent(stow: StowServer) -> list[str]:
    return [uid for request in stow.requests for uid in request.uids]


# --- What is sent ----------------------------------------------------------------------------------------------------


def test_a_folder(stow: StowServer, series: list[Path], tmp_path: Path) -> None:
    (tmp_path / "series" / "deeper" / "still").mkdir(parents=True)
    (tmp_path / "series" / "deeper" / "readme.txt").write_text("no DICOM here")
    (tmp_path / "series" / "deeper" / "empty.dcm").touch()
    os.link(series[0], tmp_path / "series" / "deeper" / "still" / "copy.dcm")
    report = store(stow.server, tmp_path / "series")
    assert sorted(report.stored) == sorted(f"1.2.3.4.{number}" for number in range(30))
    assert stow.have == {f"1.2.3.4.{number}": path.read_bytes() for number, path in enumerate(series)}
    assert {Path(path).name: reason.split(" /")[0] for path, reason in report.skipped.items()} == {
        "readme.txt": "Is not a DICOM file.",
        "empty.dcm": "Is not a DICOM file.",
        "copy.dcm": "Is the same as",
    }
    assert report.complete
    assert report.bytes == sum(len(request.body) for request in stow.requests)


def test_requests_have_a_length_and_boundaries_of_their_own(stow: StowServer, series: list[Path]) -> None:
    store(stow.server, series, connections=1)
    assert sorted(len(request.uids) for request in stow.requests) == [10, 20]
    for request in stow.requests:
        assert int(request.headers["Content-Length"]) == len(request.body)
        assert "Transfer-Encoding" not in request.headers
        assert request.headers["Accept"].startswith("application/dicom+json")
        assert request.headers["Content-Type"].startswith('multipart/related; type="application/dicom"; boundary=')
    assert len({request.headers["Content-Type"] for request in stow.requests}) == 2
    assert {request.path for request in stow.requests} == {"/dicom-web/studies"}


def test_a_dataset_in_memory(stow: StowServer, series: list[Path]) -> None:
    read = pydicom.dcmread(series[0])
    made = pydicom.Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66", "1.2.3.5"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.PatientName = "1.2.3", "1.2.3.6", "Nobody"
    nameless = pydicom.Dataset()
    report = store(stow.server, [read, made, nameless])
    assert sorted(report.stored) == ["1.2.3.4.0", "1.2.3.5"]
    assert report.failed == {"dataset without SOP Instance UID": "It has no SOP Instance UID."}
    assert stow.have["1.2.3.4.0"] == series[0].read_bytes()
    assert not hasattr(made, "file_meta")
    assert pydicom.dcmread(BytesIO(stow.have["1.2.3.5"])).PatientName == "Nobody"


@pytest.mark.parametrize("with_meta", [True, False])
def test_a_file_without_the_header_gets_one(
    stow: StowServer, series: list[Path], tmp_path: Path, with_meta: bool
) -> None:
    whole = series[0].read_bytes()
    start = 132 if with_meta else whole.index(b"\x08\x00\x05\x00CS")
    bare = tmp_path / "bare"
    bare.write_bytes(whole[start:])
    report = store(stow.server, bare)
    assert report.stored == ["1.2.3.4.0"]
    arrived = stow.have["1.2.3.4.0"]
    assert arrived[128:132] == b"DICM"
    assert arrived.endswith(whole[start:])
    (tmp_path / "arrived").write_bytes(arrived)
    assert pydicom.dcmread(tmp_path / "arrived") == pydicom.dcmread(series[0])


def test_the_same_uid_twice(stow: StowServer, series: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other.dcm"
    write_ct(other, SOPInstanceUID="1.2.3.4.0", InstanceNumber=77)
    report = store(stow.server, [series[0], other])
    assert report.stored == ["1.2.3.4.0"]
    assert report.failed == {str(other): f"Has the same SOP Instance UID as {series[0]}, which was sent, but differs."}
    assert stow.have["1.2.3.4.0"] == series[0].read_bytes()


def test_what_cannot_be_stored_is_said_before_anything_is_sent(stow: StowServer, series: list[Path]) -> None:
    with pytest.raises(DicomBridgeError, match="A int cannot be stored"):
        store(stow.server, [series[0], 7])
    with pytest.raises(DicomBridgeError, match="check is 'some'"):
        store(stow.server, series, check="some")
    with pytest.raises(DicomBridgeError, match="is not a Study Instance UID"):
        store(stow.server, series, study="../x")
    with pytest.raises(UnsupportedError, match="does not store"), stow.connection(store=False) as connection:
        store(stow.server, series, connection=connection)
    assert store(stow.server, "/nowhere/at all").failed == {
        "/nowhere/at all": "Cannot be read: No such file or directory."
    }
    assert stow.requests == []


def test_a_study(stow: StowServer, series: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other.dcm"
    write_ct(other, SOPInstanceUID="1.2.9", StudyInstanceUID="1.2.8")
    report = store(stow.server, [series[0], other], study="1.2.3")
    assert [request.path for request in stow.requests] == ["/dicom-web/studies/1.2.3"]
    assert report.stored == ["1.2.3.4.0"]
    assert report.failed == {"1.2.9": "It belongs to study 1.2.8, and not to 1.2.3."}


def test_limits_of_the_server(stow: StowServer, series: list[Path]) -> None:
    size = series[0].stat().st_size
    with stow.connection(store_instances=7, store_bytes=3 * size + 2000) as connection:
        assert len(store(stow.server, series, connection=connection, batch=500).stored) == 30
        assert {len(request.uids) for request in stow.requests} == {3}
        assert max(len(request.body) for request in stow.requests) <= 3 * size + 2000
    with stow.connection(store_bytes=1000) as connection:
        report = store(stow.server, series[:1], connection=connection)
    assert report.failed == {"1.2.3.4.0": f"It has {size} bytes; a request to this server may have 1000."}


# --- What is sent again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        Reply(503, b"busy", {"Retry-After": "0"}),
        Reply(429, b""),
        Reply(504, b""),
        Reply(lost=True),
    ],
    ids=["503", "429", "504", "lost"],
)
def test_a_body_is_sent_again_whole(stow: StowServer, tmp_path: Path, first: Reply) -> None:
    """dicomweb-client sends an exhausted generator the second time, 0 bytes, and takes the 200 for success."""
    paths = []
    for number in range(4):
        path = tmp_path / f"{number}.dcm"
        write_ct(path, SOPInstanceUID=f"1.2.7.{number}", Rows=512, Columns=512, PixelData=os.urandom(1 << 19))
        paths.append(path)
    stow.answer = lambda request: first if len(stow.requests) < 3 else stow.store(request)
    counts: list[TransferProgress] = []
    with stow.connection() as connection:
        report = store(stow.server, paths, connection=connection, progress=counts.append)
    assert sorted(report.stored) == [f"1.2.7.{number}" for number in range(4)]
    bodies = [len(request.body) for request in stow.requests]
    assert bodies == [bodies[0]] * 3
    assert bodies[0] > 2 << 20
    assert stow.have == {f"1.2.7.{number}": path.read_bytes() for number, path in enumerate(paths)}
    assert report.bytes == bodies[0]
    assert counts[-1].bytes == bodies[0]


def test_a_server_that_stays_busy(stow: StowServer, series: list[Path]) -> None:
    stow.answer = lambda request: Reply(503, {"message": "Maintenance until noon."})
    with stow.connection() as connection:
        report = store(stow.server, series[:2], connection=connection)
    assert len(stow.requests) == 4
    assert set(report.failed.values()) == {"The server is busy (HTTP 503): Maintenance until noon."}
    stow.answer = stow.store
    done = report.again()
    assert (sorted(done.stored), done.failed) == (["1.2.3.4.0", "1.2.3.4.1"], {})


def test_only_what_failed_is_sent_again(stow: StowServer, series: list[Path]) -> None:
    def some(request: Request) -> Reply:
        bad = [uid for uid in request.uids if uid in ("1.2.3.4.3", "1.2.3.4.25")]
        return Reply(202, module(stow.keep(request, bad), dict.fromkeys(bad, 0xA700)))

    stow.answer = some
    report = store(stow.server, series)
    assert len(report.stored) == 28
    assert set(report.failed) == {"1.2.3.4.3", "1.2.3.4.25"}
    assert report.failed["1.2.3.4.3"] == "The server is out of resources, e.g. its disk is full (A700)."
    stow.answer = stow.store
    stow.requests.clear()
    done = report.again()
    assert sorted(sent(stow)) == ["1.2.3.4.25", "1.2.3.4.3"]
    assert (len(done.stored), done.failed, done.complete) == (30, {}, True)
    assert len(report.failed) == 2
    with pytest.raises(DicomBridgeError, match="does not hold what failed"):
        StoreReport(failed={"1.2": "No."}).again()
    with pytest.raises(DicomBridgeError, match="and not colour"):
        report.again(colour="red")


@pytest.mark.parametrize("status", [400, 409, 413, 500])
def test_one_bad_file_does_not_take_others_with_it(stow: StowServer, series: list[Path], status: int) -> None:
    bad = "1.2.3.4.11"
    stow.answer = lambda request: Reply(status, b"no") if bad in request.uids else stow.store(request)
    with stow.connection() as connection:
        report = store(stow.server, series, connection=connection)
    assert len(report.stored) == 29
    assert list(report.failed) == [bad]
    assert f"(HTTP {status}): no." in report.failed[bad]
    assert len(stow.requests) <= 2 + 2 * 5 + 3  # halves of halves, and an alone 500 three times more


def test_a_file_that_becomes_shorter_while_it_is_sent(stow: StowServer, series: list[Path]) -> None:
    item = read_item(series[0])
    body = Body([item])
    series[0].write_bytes(series[0].read_bytes()[:-100])
    with pytest.raises(UnreadableError, match="became 100 bytes shorter"):
        for _ in body:
            pass
    real = Path.open

    def cutting(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == series[5] and options.get("buffering") == 0:
            os.truncate(path, 5000)
        return real(path, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch, stow.connection() as connection:
        patch.setattr(Path, "open", cutting)
        report = store(stow.server, series[1:10], connection=connection)
    assert list(report.failed) == ["1.2.3.4.5"]
    assert "while it was sent" in report.failed["1.2.3.4.5"]
    assert len(report.stored) == 8


# --- What becomes of it ----------------------------------------------------------------------------------------------


def test_what_the_answer_does_not_mention_is_asked_after(stow: StowServer, series: list[Path]) -> None:
    def silent(request: Request) -> Reply:
        stow.keep(request, ["1.2.3.4.2"])
        return Reply(200, module([uid for uid in request.uids if uid not in ("1.2.3.4.1", "1.2.3.4.2")]))

    stow.answer = silent
    report = store(stow.server, series[:4])
    assert sorted(report.stored) == ["1.2.3.4.0", "1.2.3.4.1", "1.2.3.4.3"]
    assert report.failed == {}
    assert report.unconfirmed == {
        "1.2.3.4.2": "The server's answer does not mention it, and the server does not show it."
    }
    assert not report.complete
    stow.answer = stow.store
    assert report.again().complete


def test_what_is_there_is_not_sent(stow: StowServer, series: list[Path]) -> None:
    store(stow.server, series[:12])
    stow.requests.clear()
    report = store(stow.server, series, ask_first=True)
    assert sorted(sent(stow)) == sorted(f"1.2.3.4.{number}" for number in range(12, 30))
    assert sorted(report.duplicates) == sorted(f"1.2.3.4.{number}" for number in range(12))
    assert len(report.stored) == 18


def test_the_check_finds_what_is_not_there(stow: StowServer, series: list[Path]) -> None:
    def forgetful(request: Request) -> Reply:
        stow.keep(request, ["1.2.3.4.7"])
        return Reply(200, module(request.uids))

    stow.answer = forgetful
    with stow.connection() as connection:
        report = store(stow.server, series, connection=connection, check=True)
    assert len(report.checked) == len(report.stored) == 29
    assert report.unconfirmed == {"1.2.3.4.7": "The server said that it stored it, and does not show it."}


def test_outcomes_and_progress_come_in_the_callers_thread(stow: StowServer, series: list[Path]) -> None:
    threads: set[int] = set()
    outcomes: list[Outcome] = []
    steps: list[TransferProgress] = []

    def told(outcome: Outcome) -> None:
        threads.add(threading.get_ident())
        outcomes.append(outcome)

    def progress(step: TransferProgress) -> None:
        threads.add(threading.get_ident())
        steps.append(step)

    store(stow.server, [*series, Path(__file__)], stored=told, progress=progress)
    assert threads == {threading.get_ident()}
    assert {outcome.path for outcome in outcomes} == {*map(str, series), __file__}
    assert outcomes[-1].to_json().keys() == {"uid", "path", "state", "reason"}
    assert (steps[-1].instances, steps[-1].total_instances) == (30, 30)
    assert steps[-1].bytes == steps[-1].total_bytes == sum(len(request.body) for request in stow.requests)


# --- Servers that are not there, or not for us -----------------------------------------------------------------------


def test_a_server_that_does_not_exist(series: list[Path]) -> None:
    start = time.monotonic()
    with pytest.raises(UnreachableError, match="nothing listens"):
        store(Server("http://127.0.0.1:9/dicom-web"), series)
    assert time.monotonic() - start < 5  # repetitions take more than seven seconds


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, AuthenticationError, "wants to know who asks"),
        (403, AuthenticationError, "not allowed"),
        (404, RefusedError, "is this the root"),
        (405, RefusedError, "does not store"),
    ],
)
def test_a_server_that_does_not_take_anything(
    stow: StowServer, series: list[Path], status: int, error: type[Exception], words: str
) -> None:
    stow.answer = lambda request: Reply(status, b"")
    with pytest.raises(error, match=words):
        store(stow.server, series, connections=1)
    assert len(stow.requests) <= 2


def test_a_server_that_goes_away(stow: StowServer, series: list[Path]) -> None:
    stow.answer = lambda request: stow.store(request) if len(stow.requests) < 3 else Reply(lost=True)
    with stow.connection() as connection:
        report = store(stow.server, series, connection=connection, connections=1, batch=5)
        assert len(report.stored) == 10
        assert len(report.failed) == 20
        assert all(reason.startswith("Not sent: ") for reason in report.failed.values())
        stow.answer = stow.store
        assert report.again(connection=connection).complete
    assert set(sent(stow)) == {f"1.2.3.4.{number}" for number in range(30)}


def test_a_server_that_goes_away_between_halves(stow: StowServer, series: list[Path]) -> None:
    """What the answers before said stays said."""

    def answer(request: Request) -> Reply:
        if len(stow.requests) < 3:
            return stow.store(request) if len(request.uids) < 10 else Reply(400, b"")
        return Reply(403, b"")

    stow.answer = answer
    report = store(stow.server, series[:10], connections=1)
    assert sorted(report.stored) == [f"1.2.3.4.{number}" for number in range(5)]
    assert sorted(report.failed) == [f"1.2.3.4.{number}" for number in range(5, 10)]
    assert all("not allowed" in reason for reason in report.failed.values())


# --- Cancel and pause ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reads", [True, False], ids=["no answer", "no reading"])
def test_cancelled_while_the_server_does_nothing(
    stow: StowServer, series: list[Path], tmp_path: Path, reads: bool
) -> None:
    release, waiting = threading.Event(), threading.Event()

    def hang(handler: Any) -> bool:
        if len(stow.requests) < 1:
            return True
        if reads:
            handler.rfile.read(int(handler.headers["Content-Length"]))
        waiting.set()
        return not release.wait(20)

    write_ct(tmp_path / "large.dcm", SOPInstanceUID="1.2.8", PixelData=bytes(40 << 20))
    stow.before = hang
    cancel = Cancel()
    moments: list[float] = []

    def stop() -> None:
        waiting.wait(20)
        time.sleep(0.2)
        moments.append(time.monotonic())
        cancel.cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        with pytest.raises(StoringCancelledError) as caught:
            store(stow.server, [*series, tmp_path / "large.dcm"], cancel=cancel, connections=1, batch=5)
        assert time.monotonic() - moments[0] < 5  # and not the twenty seconds of the server
    finally:
        release.set()
        thread.join()
    report = caught.value.report
    assert len(report.stored) == 5
    stow.before = lambda handler: True
    stow.requests.clear()
    done = report.again()
    assert done.complete
    assert (len(done.stored), len(sent(stow))) == (31, 26)


def test_what_a_callers_function_raises_ends_it(stow: StowServer, series: list[Path]) -> None:
    release = threading.Event()
    stow.before = lambda handler: not release.wait(20)
    start = time.monotonic()
    try:
        with pytest.raises(ZeroDivisionError):
            store(stow.server, series, progress=lambda step: 1 // 0)
        assert time.monotonic() - start < 5  # and not the twenty seconds of the server
    finally:
        release.set()


def test_cancelled_before_the_start(stow: StowServer, series: list[Path]) -> None:
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(StoringCancelledError) as caught:
        store(stow.server, series, cancel=cancel)
    assert stow.requests == []
    assert len(caught.value.report.again().stored) == 30


def test_a_pause_is_between_requests(stow: StowServer, series: list[Path]) -> None:
    cancel = Cancel()

    def pausing(request: Request) -> Reply:
        if len(stow.requests) == 2:
            cancel.pause()
        return stow.store(request)

    stow.answer = pausing
    seen: list[int] = []

    def resume() -> None:
        while not cancel.paused:
            time.sleep(0.01)
        time.sleep(0.3)
        seen.append(len(stow.requests))
        cancel.resume()

    thread = threading.Thread(target=resume)
    thread.start()
    report = store(stow.server, series, cancel=cancel, connections=1, batch=5)
    thread.join()
    assert seen == [2]
    assert len(report.stored) == 30


def test_files_of_ours_do_not_stay(stow: StowServer, series: list[Path], tmp_path: Path) -> None:
    import gc
    import tempfile

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir()
        assert store(stow.server, pydicom.dcmread(series[0])).complete
        assert list((tmp_path / "temporary").iterdir()) == []
        stow.answer = lambda request: Reply(409, module([], dict.fromkeys(request.uids, 0x0110)))
        report = store(stow.server, pydicom.dcmread(series[1]))
        assert len(list((tmp_path / "temporary").rglob("*.dcm"))) == 1
        stow.answer = stow.store
        assert report.again().complete
        del report
        gc.collect()
        assert list((tmp_path / "temporary").iterdir()) == []


def test_a_connection_that_is_given_stays_open(stow: StowServer, series: list[Path]) -> None:
    with Connection(stow.server) as connection:
        store(stow.server, series[:1], connection=connection)
        store(stow.server, series[1:2], connection=connection)
    assert len(stow.requests) == 2
