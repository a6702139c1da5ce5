"""The worker with a real Orthanc behind it: every command, wrong passwords, kills, and jobs that go on afterwards."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from support.orthanc import Orthanc

from dicombridge.demo import phantom
from dicombridge.web.worker.client import Sent, WorkerError, WorkerProcess

LONG = 60.0


@pytest.fixture(scope="module")
def study(phantom_study: phantom.PhantomStudy) -> phantom.PhantomStudy:
    return phantom_study


@pytest.fixture(scope="module")
def seg(study: phantom.PhantomStudy) -> Any:
    """The header of a segmentation of the CT."""
    return pydicom.dcmread(study.segmentations[0].file, stop_before_pixels=True)


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcess]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    with WorkerProcess(tmp_path / "state") as one:
        yield one
    assert one.log == []


def _wait(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.01)


def _start(worker: WorkerProcess, do: str, **arguments: Any) -> tuple[Sent, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return worker.send(do, on={"*": events.append}, **arguments), events


def _digests(paths: Any) -> dict[str, str]:
    """SOP Instance UID -> SHA-256 of the file."""
    return {
        str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID): hashlib.sha256(
            Path(path).read_bytes()
        ).hexdigest()
        for path in paths
    }


def test_every_command(
    worker: WorkerProcess, orthanc: Orthanc, study: phantom.PhantomStudy, seg: Any, tmp_path: Path
) -> None:
    server = {"url": orthanc.url, "name": "PACS"}
    ct = sorted((study.directory / "ct").iterdir())
    place = {"server": server, "study": str(seg.StudyInstanceUID)}

    # store: a result for each instance, and progress that ends at the end
    sent, events = _start(worker, "store", server=server, paths=[str(ct[0].parent), seg.filename], check=True)
    _wait(lambda: sent.ended)
    assert sent.result["complete"]
    assert len(sent.result["stored"]) == len(sent.result["checked"]) == len(ct) + 1
    items = [item for event in events if event["event"] == "results" for item in event["items"]]
    assert {item["state"] for item in items} == {"stored"}
    assert {item["uid"] for item in items} == set(_digests([*ct, seg.filename]))
    progress = [event for event in events if event["event"] == "progress"]
    assert progress[-1]["instances"] == progress[-1]["total_instances"] == len(ct) + 1

    # doctor
    sent, events = _start(worker, "doctor", server=f"{orthanc.rest}/app/explorer.html")
    _wait(lambda: sent.ended)
    assert sent.result["server"]["url"] == orthanc.url
    told = [{name: event[name] for name in ("what", "ok", "text")} for event in events if event["event"] == "finding"]
    assert told == sent.result["findings"]

    # search, with the next page
    first = worker.ask("search", server=server, level="instance", series=study.ct.uid, limit=40, **_study(seg))
    rest = worker.ask(
        "search", server=server, level="instance", series=study.ct.uid, offset=first["offset"], **_study(seg)
    )
    assert (first["count"], first["more"], rest["count"], rest["more"]) == (40, True, 20, False)
    assert {item["SOPInstanceUID"] for item in first["items"] + rest["items"]} == set(_digests(ct))
    found = worker.ask("search", server=server, filters={"PatientName": "phantom*"}, fields=["PatientSex"])
    assert [(item["PatientName"], item["PatientSex"]) for item in found["items"]] == [("Phantom^Torso", "O")]

    # details, tags, thumbnails
    details = worker.ask("details", **place, series=str(seg.SeriesInstanceUID))
    assert details["instances"] == 1
    assert [(one["series"], one["what"]) for one in details["references"]] == [(study.ct.uid, "CT Image")]
    rows = worker.ask("tags", **place, series=str(seg.SeriesInstanceUID))["items"]
    assert {row["keyword"]: row["value"] for row in rows if row["depth"] == 0}["Modality"] == "SEG"
    (picture,) = worker.ask("thumbnails", **place, series=study.ct.uid, size=64)["items"]
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(picture["data"]))) as image:
        assert image.get_format_mimetype() == picture["media_type"]
        assert max(image.size) == 64

    # retrieve: files are told while they come, and are those that were stored
    sent, events = _start(worker, "retrieve", **place, directory=str(tmp_path / "in"), keep=True)
    _wait(lambda: sent.ended)
    assert sent.result["complete"]
    files = [file for event in events if event["event"] == "files" for file in event["files"]]
    assert sorted(files) == sorted(sent.result["files"])
    assert _digests(files) == _digests([*ct, seg.filename])
    assert worker.ask("jobs") == {"jobs": []}


def _study(seg: Any) -> dict[str, str]:
    return {"study": str(seg.StudyInstanceUID)}


def test_a_password_that_is_missing_wrong_and_right(
    worker: WorkerProcess, locked_orthanc: Orthanc, study: phantom.PhantomStudy
) -> None:
    server = {"url": locked_orthanc.url, "authentication": {"kind": "basic", "user": "anna"}}
    with pytest.raises(WorkerError) as missing:
        worker.ask("search", server=server, timeout=LONG)
    assert (missing.value.kind, missing.value.needs) == ("AuthenticationError", ["password"])
    worker.ask("secret", server=server, field="password", value="wrong-password", timeout=LONG)
    with pytest.raises(WorkerError) as wrong:
        worker.ask("search", server=server, timeout=LONG)
    assert wrong.value.kind == "AuthenticationError"
    assert "wrong-password" not in f"{wrong.value} {wrong.value.details}"
    worker.ask("secret", server=server, field="password", value="s3cret-Pass", timeout=LONG)
    assert worker.ask("search", server=server, timeout=LONG)["count"] == 0
    worker.ask("secret", server=server, field="password", timeout=LONG)  # forgotten
    with pytest.raises(WorkerError) as again:
        worker.ask("search", server=server, timeout=LONG)
    assert again.value.needs == ["password"]


def test_a_server_that_is_gone(worker: WorkerProcess, tmp_path: Path) -> None:
    server = {"url": "http://127.0.0.1:9/dicom-web"}
    for do, more in (
        ("search", {}),
        ("retrieve", {"study": "1.2", "directory": str(tmp_path / "in")}),
    ):
        with pytest.raises(WorkerError) as caught:
            worker.ask(do, server=server, timeout=LONG, **more)
        assert caught.value.kind == "UnreachableError"
        assert "127.0.0.1:9" in str(caught.value)


def test_a_worker_that_is_killed_leaves_jobs_that_go_on(
    orthanc: Orthanc, study: phantom.PhantomStudy, seg: Any, tmp_path: Path
) -> None:
    ct = sorted((study.directory / "ct").iterdir())
    orthanc.add(ct)
    arguments = {"server": {"url": orthanc.url}, **_study(seg), "directory": str(tmp_path / "in"), "keep": True}
    with WorkerProcess(tmp_path / "state") as worker:
        # Killed when the first files are there, which may be soon after the last too.
        sent, events = _start(worker, "retrieve", **arguments, connections=1)
        _wait(lambda: sent.ended or any(event["event"] == "files" for event in events))
        worker.kill()
        _wait(lambda: sent.ended)
    with WorkerProcess(tmp_path / "state") as worker:
        jobs = worker.ask("jobs", timeout=LONG)["jobs"]
        assert [job["state"] for job in jobs] in (["interrupted"], [])
        arguments = jobs[0]["arguments"] if jobs else arguments
        report = worker.ask("retrieve", timeout=LONG, **arguments)
        assert report["complete"]
        assert _digests(report["files"]) == _digests(ct)
        assert worker.ask("jobs", timeout=LONG) == {"jobs": []}
    assert [path for path in (tmp_path / "in").rglob("*") if path.suffix == ".part"] == []


def test_cancelled_retrievals_go_on_where_they_stopped(
    worker: WorkerProcess, orthanc: Orthanc, study: phantom.PhantomStudy, seg: Any, tmp_path: Path
) -> None:
    ct = sorted((study.directory / "ct").iterdir())
    orthanc.add(ct)
    arguments = {"server": {"url": orthanc.url}, **_study(seg), "directory": str(tmp_path / "in"), "keep": True}
    sent, events = _start(worker, "retrieve", **arguments)
    _wait(lambda: any(event["event"] in ("files", "progress") for event in events))
    begun = time.monotonic()
    sent.cancel()
    _wait(lambda: sent.ended)
    took = time.monotonic() - begun
    assert sent.end is not None
    if sent.end["event"] == "cancelled":  # it may have been faster than we
        assert took < 5
        (job,) = worker.ask("jobs", timeout=LONG)["jobs"]
        assert job["state"] == "cancelled"
        arguments = job["arguments"]
    report = worker.ask("retrieve", timeout=LONG, **arguments)
    assert report["complete"]
    assert _digests(report["files"]) == _digests(ct)
    assert worker.ask("jobs", timeout=LONG) == {"jobs": []}


def test_folders_are_servers(worker: WorkerProcess, study: phantom.PhantomStudy, seg: Any, tmp_path: Path) -> None:
    server = {"url": str(study.directory)}
    found = worker.ask("search", server=server, level="series", filters={"Modality": ["SEG", "RTSTRUCT"]}, timeout=LONG)
    assert {item["Modality"] for item in found["items"]} == {"SEG", "RTSTRUCT"}
    (picture,) = worker.ask("thumbnails", server=server, series=study.ct.uid, timeout=LONG, **_study(seg))["items"]
    assert picture["media_type"] in ("image/png", "image/jpeg")
    report = worker.ask(
        "retrieve",
        server=server,
        series=str(seg.SeriesInstanceUID),
        directory=str(tmp_path / "in"),
        timeout=LONG,
        **_study(seg),
    )
    assert _digests(report["files"]) == _digests([seg.filename])
    (tmp_path / "target").mkdir()
    stored = worker.ask("store", server={"url": str(tmp_path / "target")}, paths=[seg.filename], timeout=LONG)
    assert stored["stored"] == [str(seg.SOPInstanceUID)]
    listed = worker.ask("servers", timeout=LONG)
    assert listed["servers"] == []
    assert "orthanc" in {preset["name"] for preset in listed["presets"]}


@pytest.mark.parametrize("where", ["connecting", "answering"])
def test_cancel_is_answered_while_a_server_hangs(worker: WorkerProcess, seg: Any, tmp_path: Path, where: str) -> None:
    """200 ms are promised; the machine of this test may be busy, so that the best of the commands counts."""
    worker.ask("search", server={"url": str(tmp_path)}, timeout=LONG)  # what is imported once is no part of this
    took = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as stack:
        if where == "connecting":  # who comes to a full queue waits for the first packet's answer
            for _ in range(3):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(server.getsockname())
        place = {"server": {"url": f"http://127.0.0.1:{server.getsockname()[1]}/dicom-web"}}
        series = {**place, **_study(seg), "series": str(seg.SeriesInstanceUID)}
        for do, arguments in {
            "search": place,
            "details": series,
            "tags": series,
            "thumbnails": series,
            "doctor": place,
            "retrieve": {**series, "directory": str(tmp_path / "in")},
            "store": {**place, "paths": [seg.filename]},
        }.items():
            sent = worker.send(do, **arguments)
            if where == "answering":
                server.settimeout(LONG)
                accepted, _ = server.accept()
                stack.enter_context(accepted)
            else:
                time.sleep(0.5)
            assert not sent.ended
            begun = time.monotonic()
            sent.cancel()
            _wait(lambda sent=sent: sent.ended)
            took.append(time.monotonic() - begun)
            assert sent.end is not None
            assert sent.end["event"] == "cancelled", do
    assert min(took) < 0.2
    assert worker.ask("ping", timeout=LONG) == {}
