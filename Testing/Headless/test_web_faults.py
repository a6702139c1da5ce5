"""Retrieval from a server that does everything wrong: nothing lost, doubled or damaged, no secret told."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from support.fault_server import BOMB, FAULTS, SERIES, STUDY, FaultServer, World, serve_faults

from dicombridge.errors import AuthenticationError, CancelledError, DicomBridgeError, RefusedError, WebError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import Connection
from dicombridge.web.retrieving import Patience, RetrieveReport, retrieve
from dicombridge.web.retrying import Retries
from dicombridge.web.servers import Server
from dicombridge.web.sessions import Timeouts

RUNS = 1000
AT_A_TIME = 24
SHORT = Patience(measured=0.01, step=0.02, worthwhile=0.01, attempts=4, stall=2.0, reserve=0)
CALLS = 6
"""How often a retrieval is started until all is there; each goes on where the one before stopped."""


class Token:
    """Credentials that are renewed as a person's would be."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known = world.token

    def apply(self, request: requests.PreparedRequest) -> None:
        request.headers["Authorization"] = f"Bearer token-{self.known}"

    def renew(self, challenge: str) -> bool:
        self.known = self.world.token
        return True


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultServer]:
    with serve_faults() as server:
        yield server


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[FaultServer]:
    """Another host, which must see no secret."""
    with serve_faults() as server:
        yield server


def fetched(
    server: FaultServer, name: str, world: World, directory: Path, cancel: Cancel | None = None
) -> RetrieveReport:
    """Retrieve once."""
    where = Server(f"{server.url}/{name}")
    retries = Retries(times=4, first=0.01, longest=1.5)
    with Connection(where, Token(world), cancel, Timeouts(1.0, 0.25), retries) as connection:
        return retrieve(where, STUDY, SERIES, None, directory, connections=3, connection=connection, patience=SHORT)


def check_folder(directory: Path, world: World, report: RetrieveReport | None) -> None:
    """What is in the folder is what was sent, once, with its line in the manifest; nothing else is there."""
    files = {path.stem: path for path in directory.rglob("*.dcm")}
    assert {uid: path.read_bytes() for uid, path in files.items()} == {uid: world.files[uid] for uid in files}
    assert len(files) == len(list(directory.rglob("*.dcm")))
    assert {path.name for path in directory.iterdir()} <= {SERIES, "manifest.jsonl"}, "something is left over"
    lines = [json.loads(line) for line in (directory / "manifest.jsonl").read_text().splitlines()]
    digests = {uid: hashlib.sha256(content).hexdigest() for uid, content in world.files.items()}
    noted = Counter(line["instance"] for line in lines)
    assert noted == Counter(files.keys()), f"{noted - Counter(files.keys())} {Counter(files.keys()) - noted}"
    assert all(line["sha256"] == digests[line["instance"]] for line in lines)
    if report is not None:
        assert set(report.verified) == set(files)
        assert set(report.files) == set(files.values())
        accounted = [*report.verified, *report.missing, *report.failed]
        assert len(accounted) == len(set(accounted))
        if report.listed:
            assert set(accounted) >= set(world.files)


def run(seed: int, faulty: FaultServer, elsewhere: FaultServer, directory: Path) -> str:
    """One world, until everything is there; what was wrong with it comes back as words."""
    incurable = seed % 7 == 0
    world = World(seed, incurable=2 if incurable else 0)
    world.elsewhere = elsewhere.url
    name = f"w{seed}"
    faulty.worlds[name] = world
    try:
        for _ in range(CALLS):
            report = None
            before = {path.stem for path in directory.rglob("*.dcm")}
            asked = Counter(world.asked)
            with suppress(WebError):
                report = fetched(faulty, name, world, directory)
            check_folder(directory, world, report)
            again = {path.rpartition("/")[2] for path in (world.asked - asked) if "/instances/" in path}
            assert not before & again, "fetched again, although it was there"
            assert sum((world.asked - asked).values()) <= 16 * (len(world.files) + 2), "this is a siege"
            if world.incurable and report is not None and report.listed:
                # A cut behind the closing boundary takes nothing away: then even an incurable instance is there whole.
                left = set(report.missing) | set(report.failed)
                assert world.incurable - set(report.verified) <= left
                assert all(report.failed.values())
                world.incurable = set()
            elif report is not None and report.complete:
                assert set(report.verified) == set(world.files)
                return ""
        return f"{seed}: not complete after {CALLS} calls: {report}"
    except AssertionError as error:
        return f"{seed}: {traceback.extract_tb(error.__traceback__)[-1].line}: {error}"
    finally:
        del faulty.worlds[name]


def peak() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def test_a_thousand_faulty_servers(
    faulty: FaultServer, elsewhere: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "urllib3")  # what it says of a thousand servers would be kept in memory
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, files = peak(), len(list(Path("/proc/self/fd").iterdir()))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(lambda seed: run(seed, faulty, elsewhere, tmp_path / str(seed)), range(RUNS)))
    assert [text for text in found if text] == []
    assert not [head for head in elsewhere.seen if b"token" in head.lower()], "a secret was told"
    assert any(b"token" in head for head in faulty.seen)
    assert peak() - before < AT_A_TIME * 16e6, "memory grows with what servers send"
    assert len(list(Path("/proc/self/fd").iterdir())) < files + 3 * AT_A_TIME, "files or sockets stay open"


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
    assert took < 0.5, "0.2 s, and some more for machines that do other things"
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
