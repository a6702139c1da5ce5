"""Retrievals from many worlds of faults, each until everything is there; as a program, a thousand of them.

In a process of its own, so that its memory is that of nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import requests

from dicombridge.errors import WebError
from dicombridge.web.connection import Connection
from dicombridge.web.retrieving import Patience, RetrieveReport, retrieve
from dicombridge.web.retrying import Retries
from dicombridge.web.servers import Server
from dicombridge.web.sessions import Timeouts
from support.fault_server import SERIES, STUDY, FaultServer, World, serve_faults

__all__ = ["AT_A_TIME", "CALLS", "RUNS", "SHORT", "Token", "check_folder", "fetched", "peak", "run"]

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


def fetched(server: FaultServer, name: str, world: World, directory: Path) -> RetrieveReport:
    """Retrieve once."""
    where = Server(f"{server.url}/{name}")
    retries = Retries(times=4, first=0.01, longest=1.5)
    with Connection(where, Token(world), None, Timeouts(5.0, 1.0), retries) as connection:
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
    names = [f"w{seed}.{call}" for call in range(CALLS)]
    faulty.worlds |= dict.fromkeys(names, world)
    try:
        for name in names:
            report = None
            before = {path.stem for path in directory.rglob("*.dcm")}
            with suppress(WebError):
                report = fetched(faulty, name, world, directory)
            check_folder(directory, world, report)
            asked = world.asked_as[name].copy()
            again = {path.rpartition("/")[2] for path in asked if "/instances/" in path}
            assert not before & again, "fetched again, although it was there"
            assert sum(asked.values()) <= 16 * (len(world.files) + 2), "this is a siege"
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
        for name in names:
            del faulty.worlds[name]


def peak() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def main(folder: Path) -> dict[str, object]:
    """Run all; return what was wrong, and what it took."""
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    with serve_faults() as faulty, serve_faults() as elsewhere:
        before, files = peak(), len(list(Path("/proc/self/fd").iterdir()))
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            found = list(pool.map(lambda seed: run(seed, faulty, elsewhere, folder / str(seed)), range(RUNS)))
        return {
            "runs": len(found),
            "wrong": [text for text in found if text],
            "told": [head.decode("latin-1") for head in elsewhere.seen if b"token" in head.lower()],
            "asked": sum(b"token" in head for head in faulty.seen),
            "bytes": peak() - before,
            "files": len(list(Path("/proc/self/fd").iterdir())) - files,
        }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
