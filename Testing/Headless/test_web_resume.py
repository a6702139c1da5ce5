"""A retrieval that is killed at any moment goes on where it stopped, and ends complete and verified."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.fault_server import SERIES, STUDY, Answer, FaultServer, World, instance_file, serve_faults

from dicombridge.errors import CancelledError, UnreachableError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import Connection
from dicombridge.web.retrieving import Patience, RetrieveReport, TransferProgress, retrieve
from dicombridge.web.servers import Server

KILLS = 50
INSTANCES = 41
PATIENCE = Patience(measured=0.05, step=0.05, worthwhile=0.05, reserve=0)


class SlowWorld(World):
    """Without faults, but it takes its time."""

    def __init__(self, seed: int, instances: int = INSTANCES, pause: float = 0.002) -> None:
        super().__init__(seed)
        self.files = {}
        self.pause = pause
        self.streams = 0
        for number in range(instances):
            uid = f"{SERIES}.{seed}.{number + 1}"
            self.files[uid] = instance_file(uid, self.random.randbytes(6000))

    def answer(self, path: str, authorization: str, name: str) -> tuple[Answer, object]:  # type: ignore[override]
        with self.lock:
            self.note(path, name)
            if path.endswith("/instances"):
                return self._list(), None
            self.streams += "/instances/" not in path
            return self._multipart(self._parts(path), ""), self._slowly

    def _slowly(self, wire: bytes, one: socket.socket) -> bool:
        for start in range(0, len(wire), 4000):
            one.sendall(wire[start : start + 4000])
            time.sleep(self.pause)
        return False


def child(url: str, directory: str) -> None:
    """What is killed."""
    retrieve(Server(url), STUDY, SERIES, None, directory, connections=3, patience=PATIENCE)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with serve_faults() as one:
        yield one


def noted(directory: Path) -> list[str]:
    """UIDs of the manifest's lines; the last may be cut."""
    path = directory / "manifest.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    found = []
    for number, line in enumerate(lines):
        try:
            found.append(json.loads(line)["instance"])
        except ValueError:
            assert number == len(lines) - 1 or not line
    return found


def check(directory: Path, world: World) -> dict[str, Path]:
    """Every file that has its name is whole; all but the last few have their line, once."""
    files = {path.stem: path for path in directory.rglob("*.dcm")}
    for uid, path in files.items():
        assert path.read_bytes() == world.files[uid]
    lines = noted(directory)
    assert len(lines) == len(set(lines))
    assert set(lines) <= set(files)
    assert len(set(files) - set(lines)) <= 3, "no more than were under way"
    return files


def asked_singly(world: World, name: str) -> set[str]:
    """Instances that were asked for one by one, under a name."""
    return {path.rpartition("/")[2] for path in world.asked_as[name].copy() if "/instances/" in path}


def test_killed_at_any_moment(server: FaultServer, tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["dicombridge.web.retrieving", "dicombridge.web.catalogue"])
    source = random.Random(11)
    killed = finished = partly = 0
    while killed < KILLS:
        world = SlowWorld(finished)
        directory = tmp_path / str(finished)
        for number in range(100):
            name = f"killed{finished}.{number}"
            server.worlds[name] = world
            process = processes.Process(target=child, args=(f"{server.url}/{name}", str(directory)))
            before = check(directory, world) if number else {}
            process.start()
            if number % 8 != 1:  # otherwise it may be killed before it asks for anything
                while process.is_alive() and not world.asked_as[name]:
                    time.sleep(0.002)
            end = time.monotonic() + source.uniform(0.0, 0.2)
            while not (killing := time.monotonic() >= end) and process.is_alive():
                time.sleep(0.005)
            if killing:
                with suppress(ProcessLookupError):  # it ended in this very moment
                    process.kill()
            process.join()
            code = process.exitcode
            process.close()
            files = check(directory, world) if directory.exists() else {}
            assert set(before) <= set(files), "something is lost"
            assert not asked_singly(world, name) & set(before), "fetched again"
            if code == 0:
                break
            assert code == -signal.SIGKILL
            killed += 1
            partly += 0 < len(files) < INSTANCES
        finished += 1
        report = retrieve(Server(f"{server.url}/{name}"), STUDY, SERIES, None, directory, patience=PATIENCE)
        assert (report.summary, report.fetched) == (f"{INSTANCES} of {INSTANCES} verified", 0)
        assert {path.name for path in directory.iterdir()} == {SERIES, "manifest.jsonl"}
        assert set(noted(directory)) == set(world.files)
    assert partly > KILLS // 5, "most kills came too early or too late to mean anything"


def test_cancelled_and_resumed(server: FaultServer, tmp_path: Path) -> None:
    """Only what is missing is fetched; what arrived was told before."""
    world = SlowWorld(100)
    server.worlds["cancelled"] = world
    where = Server(f"{server.url}/cancelled")
    cancel = Cancel()
    told: list[Path] = []

    def arrived(files: list[Path]) -> None:
        told.extend(files)
        if len(told) >= 10:
            cancel.cancel()

    calm = Patience(measured=60.0, told=0.0, reserve=0)
    with pytest.raises(CancelledError):
        retrieve(where, STUDY, SERIES, None, tmp_path, arrived=arrived, cancel=cancel, patience=calm)
    files = check(tmp_path, world)
    assert set(told) == set(files.values())
    assert 10 <= len(files) < INSTANCES
    assert not list(tmp_path.glob("*.part"))
    streams = world.streams
    server.worlds["resumed"] = world
    report = retrieve(Server(f"{server.url}/resumed"), STUDY, SERIES, None, tmp_path, patience=calm)
    assert report.complete
    assert report.fetched == INSTANCES - len(files)
    assert world.streams == streams
    assert asked_singly(world, "resumed") == set(world.files) - set(files)


def test_pause(server: FaultServer, tmp_path: Path) -> None:
    world = SlowWorld(101)
    server.worlds["paused"] = world
    cancel = Cancel()
    seen: list[TransferProgress] = []
    paused: list[int] = []

    def progress(one: TransferProgress) -> None:
        seen.append(one)
        if one.instances >= 5 and not paused:
            cancel.pause()
            paused.append(one.instances)

            def go_on() -> None:
                time.sleep(0.3)
                paused.append(len(list(tmp_path.rglob("*.dcm"))))
                time.sleep(0.2)
                paused.append(len(list(tmp_path.rglob("*.dcm"))))
                cancel.resume()

            threading.Thread(target=go_on, daemon=True).start()

    patience = Patience(measured=60.0, told=0.0, reserve=0)
    where = Server(f"{server.url}/paused")
    report = retrieve(where, STUDY, SERIES, None, tmp_path, progress=progress, cancel=cancel, patience=patience)
    assert report.complete
    assert paused[1] == paused[2] < INSTANCES, "something came while it was paused"
    assert [one.instances for one in seen] == sorted(one.instances for one in seen)
    last = seen[-1]
    size = sum(map(len, world.files.values()))
    assert (last.instances, last.total_instances, last.bytes, last.total_bytes) == (INSTANCES, INSTANCES, size, size)
    assert last.seconds_left == 0


def left(report: RetrieveReport) -> tuple[str, int]:
    return report.summary, report.fetched


def test_what_was_changed_is_fetched_again(server: FaultServer, tmp_path: Path) -> None:
    """A file that is gone, cut, changed, replaced by a link or a folder; a manifest that is gone or nonsense."""
    world = SlowWorld(102, instances=8, pause=0.0)
    server.worlds["changed"] = world
    where = Server(f"{server.url}/changed")

    def again() -> tuple[str, int]:
        return left(retrieve(where, STUDY, SERIES, None, tmp_path, patience=PATIENCE))

    assert again() == ("8 of 8 verified", 8)
    paths = [tmp_path / SERIES / f"{uid}.dcm" for uid in world.files]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-7])
    paths[2].write_bytes(paths[2].read_bytes()[:-1] + b"?")
    outside = tmp_path.parent / "outside.dcm"
    outside.write_bytes(paths[3].read_bytes())
    paths[3].unlink()
    paths[3].symlink_to(outside)
    os.utime(paths[4])
    assert again() == ("8 of 8 verified", 4)
    assert not paths[3].is_symlink()
    assert all(path.read_bytes() == world.files[path.stem] for path in paths)
    assert outside.read_bytes() == world.files[paths[3].stem]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(b'{"instance": 3}\nnonsense\n[]\n' + manifest.read_bytes()[:150])
    asked = Counter(world.asked)
    assert left(retrieve(where, STUDY, SERIES, sorted(world.files), tmp_path, patience=PATIENCE)) == (
        "8 of 8 verified",
        0,
    )
    assert world.asked == asked
    manifest.unlink()
    assert left(retrieve(where, STUDY, SERIES, sorted(world.files), tmp_path, patience=PATIENCE)) == (
        "8 of 8 verified",
        0,
    )


def test_a_server_that_is_away_for_a_moment(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answered with its list, so that the address is right: an instance that it is away for is asked for again."""
    server.worlds["away"] = SlowWorld(105, instances=4, pause=0.0)
    where = Server(f"{server.url}/away")
    assert left(retrieve(where, STUDY, SERIES, None, tmp_path, patience=PATIENCE)) == ("4 of 4 verified", 4)
    next(tmp_path.rglob("*.dcm")).unlink()
    get, away = Connection.get, []

    def asked(connection: Connection, url: str, **options: Any) -> Any:
        if "/instances/" in url and not away:
            away.append(url)
            raise UnreachableError("nothing listens there")
        return get(connection, url, **options)

    monkeypatch.setattr(Connection, "get", asked)
    assert left(retrieve(where, STUDY, SERIES, None, tmp_path, patience=PATIENCE)) == ("4 of 4 verified", 1)
    assert away


def test_links_are_not_followed(server: FaultServer, tmp_path: Path) -> None:
    world = SlowWorld(103, instances=3, pause=0.0)
    server.worlds["linked"] = world
    where = Server(f"{server.url}/linked")
    target, directory = tmp_path / "target", tmp_path / "directory"
    target.mkdir()
    directory.mkdir()
    (directory / SERIES).symlink_to(target, target_is_directory=True)
    with pytest.raises(Exception, match="link"):
        retrieve(where, STUDY, SERIES, None, directory, patience=PATIENCE)
    (directory / SERIES).unlink()
    (directory / "manifest.jsonl").unlink()
    (directory / "manifest.jsonl").symlink_to(target / "manifest")
    with pytest.raises(Exception, match="link"):
        retrieve(where, STUDY, SERIES, None, directory, patience=PATIENCE)
    assert list(target.iterdir()) == []


def test_parts_of_others_stay(server: FaultServer, tmp_path: Path) -> None:
    """What a killed process left is removed; what another one writes, or is none of ours, stays."""
    world = SlowWorld(104, instances=2, pause=0.0)
    server.worlds["others"] = world
    alive = tmp_path / f"{os.getppid()}-1-1.part"
    dead = tmp_path / "2147483000-1-1.part"
    theirs = tmp_path / "holiday.part"
    for path in (alive, dead, theirs):
        path.write_bytes(b"x")
    retrieve(Server(f"{server.url}/others"), STUDY, SERIES, None, tmp_path, patience=PATIENCE)
    assert (alive.exists(), dead.exists(), theirs.exists()) == (True, False, True)
