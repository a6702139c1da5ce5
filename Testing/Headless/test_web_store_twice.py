"""Storing: the same file given twice, and what counts as sent before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.folders import write_ct
from support.stow_server import Reply, Request, StowServer, module, stow_server

from dicombridge.errors import UnreachableError
from dicombridge.web import Cancel, Connection, Server, store
from dicombridge.web.authentication import credentials_for
from dicombridge.web.authentication.sigv4 import payload_hash
from dicombridge.web.retrieving.report import TransferProgress
from dicombridge.web.retrying import Retries
from dicombridge.web.secrets import Secrets
from dicombridge.web.servers import Authentication
from dicombridge.web.storing import Outcome
from dicombridge.web.storing.body import Body
from dicombridge.web.storing.items import Item, read_item
from dicombridge.web.storing.sending import Sender

A, B = "1.2.3.4.0", "1.2.3.4.1"
TWICE = "Is given more than once; it is stored once."


@pytest.fixture
def stow() -> Iterator[StowServer]:
    with stow_server() as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files of half a megabyte, more than one piece of a body."""
    paths = [tmp_path / "given" / "a.dcm", tmp_path / "given" / "b.dcm"]
    for uid, path in zip((A, B), paths, strict=True):
        write_ct(path, SOPInstanceUID=uid, Rows=512, Columns=512, PixelData=os.urandom(1 << 19))
    return paths


def signed(url: str) -> Connection:
    """Return a connection whose requests are signed, and which tries again soon."""
    server = Server(url, authentication=Authentication("sigv4", {"region": "us-east-1"}))
    secrets = Secrets({})
    secrets.set(server, "access_key", "AKIDEXAMPLE")
    secrets.set(server, "secret_key", "wJalrXUtnFEMI")
    return Connection(server, credentials_for(server, secrets), retries=Retries(times=2, first=0.01, longest=0.1))


# --- The same path twice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 50])
def test_a_folder_and_a_file_in_it(stow: StowServer, files: list[Path], batch: int) -> None:
    steps: list[TransferProgress] = []
    report = store(stow.server, [files[0].parent, files[1], files[1]], batch=batch, progress=steps.append)
    assert sorted(uid for request in stow.requests for uid in request.uids) == [A, B]
    assert (sorted(report.stored), report.skipped, report.failed) == ([A, B], {str(files[1]): TWICE}, {})
    assert report.complete
    assert stow.have == {A: files[0].read_bytes(), B: files[1].read_bytes()}
    assert (steps[-1].instances, steps[-1].total_instances) == (2, 2)


def test_the_same_file_twice_to_a_folder(files: list[Path], tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    report = store(tmp_path / "out", [files[0], files[0]], stored=outcomes.append)
    assert (report.stored, report.duplicates, report.skipped) == ([A], [], {str(files[0]): TWICE})
    assert sorted(one.state for one in outcomes) == ["skipped", "stored"]
    assert [path.read_bytes() for path in (tmp_path / "out").rglob(f"{A}.dcm")] == [files[0].read_bytes()]


def test_a_file_of_ours_is_not_removed_because_it_is_given_twice(stow: StowServer, files: list[Path]) -> None:
    one, other = (replace(read_item(files[0]), temporary=True) for _ in range(2))
    content = files[0].read_bytes()
    report = store(stow.server, [one, other])
    assert (report.stored, report.failed) == ([A], {})
    assert stow.have == {A: content}


# --- What a signature reads is not sent ------------------------------------------------------------------------------


def test_a_hash_of_a_body_does_not_count_as_sent(files: list[Path]) -> None:
    counts: list[int] = []
    body = Body([read_item(path) for path in files], counts.append)
    hashed = payload_hash(body)
    assert (body.begun, counts) == (False, [])
    assert hashed == hashlib.sha256(b"".join(bytes(piece) for piece in body)).hexdigest()
    assert body.begun
    assert sum(counts) == len(body)


def test_a_hash_can_be_cancelled(files: list[Path]) -> None:
    seen: list[bool] = []
    body = Body([read_item(files[0])], check=lambda: seen.append(True))
    payload_hash(body)
    assert len(seen) >= 4  # the head, two pieces of the file, the end


def test_a_refused_connection_is_not_tried_again_with_a_signature(files: list[Path]) -> None:
    counts: list[int] = []
    items = [read_item(path) for path in files]
    with signed("http://127.0.0.1:9/dicom-web") as connection:
        waits: list[float] = []
        connection.cancel = _Waits(waits)
        outcomes, error = Sender(connection, "", counts.append, _never).send(items)
    assert isinstance(error, UnreachableError)
    assert "nothing listens" in str(error)
    assert (outcomes, waits, counts) == ([], [], [])
    assert [item.sent for item in items] == [False, False]


def test_a_signed_body_counts_once(stow: StowServer, files: list[Path]) -> None:
    counts: list[int] = []
    with signed(stow.url) as connection:
        outcomes, error = Sender(connection, "", counts.append, _never).send([read_item(path) for path in files])
    assert (error, [one.state for one in outcomes]) == (None, ["stored", "stored"])
    assert min(counts) > 0, "nothing had to be taken back"
    assert sum(counts) == len(stow.requests[0].body)
    assert stow.requests[0].headers["x-amz-content-sha256"] == hashlib.sha256(stow.requests[0].body).hexdigest()


class _Waits(Cancel):
    """Remembers how long it was waited."""

    def __init__(self, waits: list[float]) -> None:
        super().__init__()
        self._waits = waits

    def wait(self, seconds: float) -> None:
        self._waits.append(seconds)


def _never(item: Item) -> bool:
    raise AssertionError(f"the server was asked after {item.uid}")


# --- Somebody on the way lost the answer -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ours"), [(408, True), (502, True), (504, True), (503, False), (429, False)], ids=str
)
def test_it_exists_after_a_gateway_lost_the_answer(
    stow: StowServer, files: list[Path], status: int, ours: bool
) -> None:
    """What may be our own upload of a moment ago is stored; after a plain refusal it is somebody else's."""

    def answer(request: Request) -> Reply:
        if len(stow.requests) == 1:
            return Reply(status, b"")
        return Reply(409, module([], dict.fromkeys(request.uids, 45070)))

    stow.answer = answer
    with stow.connection() as connection:
        report = store(stow.server, files, connection=connection)
    assert (report.stored, report.duplicates) == (([A, B], []) if ours else ([], [A, B]))


def test_it_exists_when_it_is_stored_again_later(stow: StowServer, files: list[Path]) -> None:
    stow.answer = lambda request: Reply(504, b"")
    with stow.connection() as connection:
        report = store(stow.server, files, connection=connection)
        assert sorted(report.failed) == [A, B]
        stow.answer = lambda request: Reply(409, module([], dict.fromkeys(request.uids, 45070)))
        again = report.again(connection=connection)
    assert (sorted(again.stored), again.duplicates, again.failed) == ([A, B], [], {})
