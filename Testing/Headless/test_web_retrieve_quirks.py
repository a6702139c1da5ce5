"""Servers that are odd for good, and what a retrieval makes of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fault_server import SERIES, STUDY, Answer, FaultServer, World, instance_file, serve_faults

from dicombridge.errors import DicomBridgeError
from dicombridge.web.connection import Connection
from dicombridge.web.profile import Profile
from dicombridge.web.retrieving import Patience, RetrieveReport, folder, retrieve
from dicombridge.web.retrying import Retries
from dicombridge.web.servers import Server
from dicombridge.web.sessions import Timeouts

PATIENCE = Patience(measured=0.05, step=0.05, worthwhile=0.05, reserve=0)
RETRIES = Retries(times=4, first=0.01, longest=5.0)


class OddWorld(World):
    """A world whose answers somebody else changes."""

    def __init__(self, seed: int, change: Callable[[OddWorld, str, Answer], Answer | None]) -> None:
        super().__init__(seed)
        self.change = change
        self.times: list[tuple[float, str]] = []

    def answer(self, path: str, authorization: str, name: str) -> tuple[Answer, None]:  # type: ignore[override]
        with self.lock:
            self.note(path, name)
            self.times.append((time.monotonic(), path))
            usual = self._results(path) or self._multipart(self._parts(path), "")
            return self.change(self, path, usual) or usual, None


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as one:
        yield one


def fetched(server: FaultServer, world: World, directory: Path, profile: Profile | None = None) -> RetrieveReport:
    name = directory.name
    server.worlds[name] = world
    where = Server(f"{server.url}/{name}", profile=profile or Profile())
    with Connection(where, timeouts=Timeouts(2.0, 2.0), retries=RETRIES) as connection:
        return retrieve(where, STUDY, SERIES, None, directory, connection=connection, connections=3, patience=PATIENCE)


def contents(report: RetrieveReport) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in report.files}


def test_lengths_that_are_always_wrong(server: FaultServer, tmp_path: Path) -> None:
    """The boundary says where a part ends, and the same bytes must come twice."""

    def change(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        if path.endswith("/instances"):
            return None
        world.lengths = True
        text = world._multipart(world._parts(path), "")
        for content in world.files.values():
            text.body = text.body.replace(b"Content-Length: %d\r" % len(content), b"Content-Length: 17\r")
        return text

    world = OddWorld(1, change)
    report = fetched(server, world, tmp_path)
    assert report.complete
    assert contents(report) == world.files
    assert all(world.asked[path] == 3 for path in world.asked if "/instances/" in path)


def test_an_end_that_nothing_tells(server: FaultServer, tmp_path: Path) -> None:
    """One part, no length, no chunks: a cut just before the pixels shows nowhere but in the second answer."""

    def change(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        if path.endswith("/instances"):
            return None
        if "/instances/" not in path:
            return Answer("406 Not Acceptable")
        content = world.files[path.rpartition("/")[2]]
        if world.asked[path] == 2:
            content = content[: content.rindex(b"\xe0\x7f\x10\x00OW")]
        return Answer(headers={"Content-Type": "application/dicom", "Connection": "close"}, body=content, length=False)

    world = OddWorld(2, change)
    report = fetched(server, world, tmp_path)
    assert report.complete
    assert contents(report) == world.files


def test_one_part_with_a_length(server: FaultServer, tmp_path: Path) -> None:
    def change(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        if "/instances/" not in path:
            return None if path.endswith("/instances") else Answer("501 Not Implemented")
        content = world.files[path.rpartition("/")[2]]
        return Answer(headers={"Content-Type": "application/dicom"}, body=content, chunked=len(world.asked) % 2 == 0)

    world = OddWorld(3, change)
    report = fetched(server, world, tmp_path)
    assert contents(report) == world.files
    assert all(world.asked[path] == 1 for path in world.asked if "/instances/" in path), "once is enough"


def test_a_server_that_does_not_give_what_it_keeps(server: FaultServer, tmp_path: Path) -> None:
    """It refuses transfer-syntax=*; then it is asked without, and that is told."""

    def change(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        head = server.seen[-1].decode()
        return Answer("406 Not Acceptable") if "transfer-syntax=*" in head else None

    world = OddWorld(4, change)
    report = fetched(server, world, tmp_path)
    assert report.complete
    assert len(report.notes) == 1
    assert "transfer syntax" in report.notes[0]
    told = fetched(server, OddWorld(4, change), tmp_path / "asked", Profile(any_transfer_syntax=False))
    assert told.complete


def test_another_transfer_syntax_than_asked_for(server: FaultServer, tmp_path: Path) -> None:
    """It is whole, and better than nothing; but it is told."""
    world = OddWorld(12, lambda *_: None)
    server.worlds["syntax"] = world
    where = Server(f"{server.url}/syntax")
    asked = "1.2.840.10008.1.2.4.70"
    report = retrieve(where, STUDY, SERIES, None, tmp_path, transfer_syntax=asked, patience=PATIENCE)
    assert contents(report) == world.files
    assert report.notes == (f"{len(world.files)} instances came in another transfer syntax than {asked}.",)


def test_all_wait_as_long_as_the_server_asks(server: FaultServer, tmp_path: Path) -> None:
    begun: list[float] = []

    def change(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        if "/instances/" not in path:
            return None
        if len(begun) < 1:
            begun.append(time.monotonic())
            return Answer("429 Too Many Requests", {"Retry-After": "1"})
        return None

    world = OddWorld(5, change)
    report = fetched(server, world, tmp_path, Profile(retrieve_levels=("instance",)))
    assert report.complete
    later = [moment for moment, path in world.times if "/instances/" in path and moment > begun[0] + 0.05]
    assert min(later) >= begun[0] + 1.0
    assert all(world.asked[path] <= 2 for path in world.asked if "/instances/" in path)


def test_so_many_requests_a_second(server: FaultServer, tmp_path: Path) -> None:
    world = OddWorld(6, lambda *_: None)
    profile = Profile(retrieve_levels=("instance",), requests_per_second=20.0)
    assert fetched(server, world, tmp_path, profile).complete
    moments = sorted(moment for moment, _ in world.times)
    assert moments[-1] - moments[0] >= 0.9 * (len(moments) - 1) / 20.0
    assert sum(world.asked.values()) == len(world.files) + 2, "the list, and whether there is more of it"


def test_a_server_that_lists_nothing(server: FaultServer, tmp_path: Path) -> None:
    """What came is there and whole; that nobody could compare the number is told."""

    def change(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        return Answer("404 Not Found") if path.endswith("/instances") else None

    world = OddWorld(7, change)
    world.counted = None
    report = fetched(server, world, tmp_path)
    assert contents(report) == world.files
    assert (report.listed, report.complete) == (False, False)
    assert report.summary == f"{len(world.files)} verified, the server does not say of how many"
    assert any("compared" in note for note in report.notes)


def test_only_the_list_knows_what_is_missing(server: FaultServer, tmp_path: Path) -> None:
    """A closed answer without one instance, which is fetched singly; another that the server has lost."""
    world = OddWorld(8, lambda *_: None)
    lost = sorted(world.files)[-1]

    def change(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        if path.endswith("/instances"):
            return None
        if path.endswith(lost):
            return Answer("404 Not Found")
        if "/instances/" in path:
            return None
        return world._multipart(list(world.files.values())[1:-1], "")

    world.change = change
    report = fetched(server, world, tmp_path)
    assert report.missing == (lost,)
    assert contents(report) == {uid: content for uid, content in world.files.items() if uid != lost}


def queries(world: World) -> int:
    """How often the list of instances was asked for."""
    return sum(number for path, number in world.asked.items() if path.endswith("/instances"))


def test_counts_that_agree_spare_the_list(server: FaultServer, tmp_path: Path) -> None:
    """Archives may take as long for a list as for the instances themselves."""
    world = OddWorld(11, lambda *_: None)
    report = fetched(server, world, tmp_path)
    assert contents(report) == world.files
    assert (report.complete, report.summary) == (True, f"{len(world.files)} of {len(world.files)} verified")
    assert queries(world) == 0


@pytest.mark.parametrize("more", [-1, 1, None], ids=["fewer", "more", "none"])
def test_counts_that_do_not_agree(more: int | None, server: FaultServer, tmp_path: Path) -> None:
    """Then the list says which instances there are."""
    world = OddWorld(13, lambda *_: None)
    world.counted = None if more is None else len(world.files) + more
    report = fetched(server, world, tmp_path)
    assert contents(report) == world.files
    assert report.complete
    assert queries(world) == 2, "once more, whether that is all"


def test_a_count_shows_what_a_closed_answer_left_out(server: FaultServer, tmp_path: Path) -> None:
    world = OddWorld(15, lambda *_: None)
    left_out = sorted(world.files)[0]

    def change(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        if path.endswith(SERIES):
            return world._multipart([one for uid, one in world.files.items() if uid != left_out], "")
        return None

    world.change = change
    report = fetched(server, world, tmp_path)
    assert contents(report) == world.files
    assert report.complete
    assert sum(number for path, number in world.asked.items() if path.endswith(left_out)) == 1


def test_a_list_of_evil_names(server: FaultServer, tmp_path: Path) -> None:
    evil = ["../../../tmp/evil", "1.2/../3", "1.2\u0663"]

    def change(world: OddWorld, path: str, usual: Answer) -> Answer | None:
        if not path.endswith("/instances"):
            return None
        items = json.loads(usual.body)
        for uid in evil:
            items.append({**items[0], "00080018": {"vr": "UI", "Value": [uid]}})
        usual.body = json.dumps(items).encode()
        return usual

    world = OddWorld(9, change)
    world.counted = len(world.files) + len(evil)
    report = fetched(server, world, tmp_path / "in")
    assert contents(report) == world.files
    assert set(report.failed) == set(evil)
    assert all("is not a" in reason for reason in report.failed.values())
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert all(b"evil" not in head for head in server.seen)


def test_without_descriptors_of_folders(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where files are named by their whole paths."""
    monkeypatch.setattr(folder, "_BY_DESCRIPTOR", False)
    world = OddWorld(10, lambda *_: None)
    assert contents(fetched(server, world, tmp_path / "one")) == world.files
    assert fetched(server, world, tmp_path / "one").fetched == 0
    directory, target = tmp_path / "two", tmp_path / "target"
    directory.mkdir()
    target.mkdir()
    (directory / SERIES).symlink_to(target, target_is_directory=True)
    with pytest.raises(DicomBridgeError, match="link"):
        fetched(server, world, directory)
    assert list(target.iterdir()) == []
    assert not list(directory.glob("*.part"))


def test_a_disk_that_fills_up(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error that says how much is needed; what was complete by then stays."""
    left = [10_000_000]

    class Usage:
        free = 0

    def usage(_path: Any) -> Usage:
        one = Usage()
        one.free = left[0]
        return one

    monkeypatch.setattr(folder.shutil, "disk_usage", usage)
    monkeypatch.setattr(folder, "_LOOKED_AFTER", 1000)
    world = OddWorld(11, lambda *_: None)
    world.files = {f"{SERIES}.{n}": instance_file(f"{SERIES}.{n}", bytes(3000)) for n in range(1, 9)}

    def arrived(files: list[Path]) -> None:
        left[0] = 0

    server.worlds["disk"] = world
    where = Server(f"{server.url}/disk", profile=Profile(retrieve_levels=("instance",), requests_per_second=20.0))
    patience = Patience(told=0.0, reserve=1000)
    with pytest.raises(DicomBridgeError, match="Make room"):
        retrieve(where, STUDY, SERIES, None, tmp_path, arrived=arrived, connections=1, patience=patience)
    whole = {path.stem: path.read_bytes() for path in tmp_path.rglob("*.dcm")}
    assert 0 < len(whole) < 8
    assert whole == {uid: world.files[uid] for uid in whole}
    assert not list(tmp_path.glob("*.part"))
