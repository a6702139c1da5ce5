"""Retrieval from a server that does everything wrong: nothing lost, doubled or damaged, no secret told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.fault_runs import AT_A_TIME, CALLS, RUNS, SHORT, Token, check_folder, fetched, peak
from support.fault_server import BOMB, FAULTS, SERIES, STALL, STUDY, FaultServer, World, serve_faults

from dicombridge.errors import AuthenticationError, CancelledError, DicomBridgeError, RefusedError, WebError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import Connection
from dicombridge.web.retrieving import Patience, retrieve
from dicombridge.web.retrying import Retries
from dicombridge.web.servers import Server
from dicombridge.web.sessions import Timeouts


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultServer]:
    with serve_faults() as server:
        yield server


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[FaultServer]:
    """Another host, which must see no secret."""
    with serve_faults() as server:
        yield server


def test_a_thousand_faulty_servers(tmp_path: Path) -> None:
    """Nothing is lost, doubled or damaged; no secret goes elsewhere; memory and files are bounded."""
    here = Path(__file__).parent
    command = [sys.executable, "-m", "support.fault_runs", str(tmp_path)]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["runs"] == RUNS
    assert found["told"] == [], "a secret was told"
    assert found["asked"] > RUNS
    assert found["bytes"] < AT_A_TIME * BOMB, "memory grows with what servers send"
    assert found["files"] < 3 * AT_A_TIME, "files or sockets stay open"


@pytest.mark.parametrize("fault", list(FAULTS))
def test_each_fault(fault: str, faulty: FaultServer, elsewhere: FaultServer, tmp_path: Path) -> None:
    """Each comes to an end, and was really there."""
    world = World(4711, faults=(fault,))
    world.elsewhere = elsewhere.url
    faulty.worlds[fault] = world
    report = None
    for _ in range(CALLS):
        with suppress(WebError):
            report = fetched(faulty, fault, world, tmp_path)
        check_folder(tmp_path, world, report)
        if report is not None and report.complete:
            break
    assert report is not None
    assert report.summary == f"{len(world.files)} of {len(world.files)} verified"
    assert world.used[fault]


def test_redirects_to_elsewhere_are_refused(faulty: FaultServer, elsewhere: FaultServer, tmp_path: Path) -> None:
    world = World(1, incurable=1, faults=("redirect",))
    world.elsewhere = elsewhere.url
    faulty.worlds["redirected"] = world
    seen = len(elsewhere.seen)
    report = fetched(faulty, "redirected", world, tmp_path)
    (uid,) = world.incurable
    assert elsewhere.url in report.failed[uid]
    assert uid not in report.verified
    assert len(elsewhere.seen) == seen
    fetched(faulty, "redirected", world, tmp_path)  # no instance is redirected more than twice
    assert set(fetched(faulty, "redirected", world, tmp_path).failed) == {uid}, "the others are well again"


def test_a_refused_token_ends_it(faulty: FaultServer, tmp_path: Path) -> None:
    """It is an error, not a report of failures; what came stays, and the next call goes on."""
    world = World(2, faults=("slow",))
    faulty.worlds["locked"] = world
    where = Server(f"{faulty.url}/locked")

    class Stale(Token):
        def renew(self, challenge: str) -> bool:
            return False

    stale = Stale(world)
    world.token += 1
    with Connection(where, stale, timeouts=Timeouts(1.0, 1.0)) as connection, pytest.raises(AuthenticationError):
        retrieve(where, STUDY, SERIES, None, tmp_path, connection=connection, patience=SHORT)
    assert fetched(faulty, "locked", world, tmp_path).complete


def test_bombs_take_neither_disk_nor_memory(
    faulty: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(3, faults=("bomb",))
    faulty.worlds["bomb"] = world
    written = 0
    write = os.write

    def counted(descriptor: int, data: memoryview) -> int:
        nonlocal written
        written += len(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    report = fetched(faulty, "bomb", world, tmp_path)
    assert report.complete
    assert peak() - before < BOMB
    assert written < world.used["bomb"] * (BOMB + (1 << 20)) + (1 << 20)
    check_folder(tmp_path, world, report)


def test_a_full_disk_is_refused_before_it_is_full(faulty: FaultServer, tmp_path: Path) -> None:
    world = World(5, faults=("slow",))
    faulty.worlds["full"] = world
    where = Server(f"{faulty.url}/full")
    patience = Patience(reserve=1 << 60)
    with Connection(where, Token(world)) as connection, pytest.raises(DicomBridgeError, match="Make room"):
        retrieve(where, STUDY, SERIES, None, tmp_path, connection=connection, patience=patience)
    assert not world.asked
    assert not list(tmp_path.rglob("*.dcm"))


def test_cancel_interrupts_what_stalls(faulty: FaultServer, tmp_path: Path) -> None:
    """Far sooner than the server's pause ends, or any timeout; what came before stays."""
    world = World(6, faults=("stall",))
    faulty.worlds["stalled"] = world
    where = Server(f"{faulty.url}/stalled")
    cancel = Cancel()
    asked = threading.Event()
    answer = world.answer
    world.answer = lambda *arguments: (asked.set(), answer(*arguments))[1]  # type: ignore[method-assign]
    moments = []

    def stop() -> None:
        asked.wait(10)
        time.sleep(0.1)
        moments.append(time.monotonic())
        cancel.cancel()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with Connection(where, Token(world), cancel, Timeouts(20.0, 20.0)) as connection, pytest.raises(CancelledError):
        retrieve(where, STUDY, SERIES, None, tmp_path, connection=connection, patience=SHORT)
    took = time.monotonic() - moments[0]
    stopper.join()
    assert took < STALL / 2, "0.2 s, and some more for machines that do other things"
    assert not list(tmp_path.glob("*.part"))
    assert fetched(faulty, "stalled", world, tmp_path).complete


def test_a_dead_server_is_soon_given_up(faulty: FaultServer, tmp_path: Path) -> None:
    """Nothing is known: an error. It comes after a bounded number of tries."""
    world = World(8)
    with pytest.raises(WebError):
        fetched(faulty, "nowhere", world, tmp_path)
    where = Server("http://127.0.0.1:9")
    with (
        Connection(where, retries=Retries(times=2, first=0.01)) as connection,
        pytest.raises((RefusedError, WebError), match="nothing listens"),
    ):
        retrieve(where, STUDY, SERIES, None, tmp_path, connection=connection, patience=SHORT)
