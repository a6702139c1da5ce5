"""Nothing is called complete that may not be: short lists, forbidden ones, files of another transfer syntax."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.fault_server import SERIES, STUDY, instance_file
from support.small_servers import Peer, reply

from dicombridge.errors import AuthenticationError, CancelledError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.catalogue import instances
from dicombridge.web.retrieving import Patience, retrieve
from dicombridge.web.retrieving.folder import Folder
from dicombridge.web.retrieving.manifest import Entry, Manifest
from dicombridge.web.servers import Server

QUICK = Patience(measured=0.05, step=0.05, reserve=0, attempts=2)
FILES = {f"{SERIES}.{number}": instance_file(f"{SERIES}.{number}", b"%08d" % number) for number in range(1, 301)}
IMPLICIT = "1.2.840.10008.1.2"


class Archive:
    """A server of one series of 300 instances.

    Attributes
    ----------
    cap
        Most results of a query.
    offsets
        Whether it looks at ``offset``.
    sent
        Instances of its stream, which breaks off behind them; None for a whole stream.
    forbidden
        Which paths it answers with 403.
    """

    def __init__(self) -> None:
        self.cap, self.offsets = 1000, True
        self.sent: int | None = None
        self.forbidden: Callable[[str], bool] = lambda path: False
        self.peer = Peer(self._answer)

    def _answer(self, handler: Any) -> None:
        parts = urlsplit(handler.path)
        words = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self.forbidden(parts.path):
            reply(handler, 403, b"no")
        elif parts.path.endswith("/instances"):
            start = int(words.get("offset", 0)) if self.offsets else 0
            uids = list(FILES)[start : start + min(int(words.get("limit", self.cap)), self.cap)]
            reply(
                handler, 200, json.dumps([_item(uid) for uid in uids]).encode(), Content_Type="application/dicom+json"
            )
        elif parts.path.endswith("/series"):
            reply(handler, 200, json.dumps([_item("")]).encode(), Content_Type="application/dicom+json")
        else:
            one = parts.path.rpartition("/")[2]
            uids = [one] if one in FILES else list(FILES)[: self.sent]
            body = b"".join(b"--B\r\nContent-Type: application/dicom\r\n\r\n" + FILES[uid] + b"\r\n" for uid in uids)
            body += b"" if self.sent is not None and len(uids) > 1 else b"--B--\r\n"
            reply(handler, 200, body, Content_Type='multipart/related; type="application/dicom"; boundary=B')

    @property
    def server(self) -> Server:
        """Its address."""
        return Server(self.peer.url)

    def retrieve(self, directory: Path, **options: Any) -> Any:
        """Retrieve the series."""
        return retrieve(self.server, STUDY, SERIES, None, directory, **{"patience": QUICK, **options})


def _item(uid: str) -> dict[str, Any]:
    item = {"0020000D": {"vr": "UI", "Value": [STUDY]}, "0020000E": {"vr": "UI", "Value": [SERIES]}}
    return {**item, "00080018": {"vr": "UI", "Value": [uid]}} if uid else item


@pytest.fixture
def archive() -> Iterator[Archive]:
    one = Archive()
    yield one
    one.peer.stop()


@pytest.mark.parametrize("cap", [64, 128, 299, 300, 512])
def test_a_cap_that_is_no_round_number(cap: int, archive: Archive, tmp_path: Path) -> None:
    """A page of 128 results where 5000 were asked for is not the last one for sure."""
    archive.cap, archive.sent = cap, 139
    assert [one.instance for one in instances(archive.server, STUDY, SERIES)] == list(FILES)
    report = archive.retrieve(tmp_path)
    assert (report.complete, report.summary) == (True, "300 of 300 verified")


def test_a_list_that_may_be_short_proves_nothing(archive: Archive, tmp_path: Path) -> None:
    """A hundred results, the same for every offset, and a stream that breaks off."""
    archive.cap, archive.offsets, archive.sent = 100, False, 139
    report = archive.retrieve(tmp_path)
    assert len(report.verified) == 138, "nobody knows where the last one ends"
    assert not report.complete
    assert any("no more than 100" in note for note in report.notes)
    archive.sent = None
    whole = archive.retrieve(tmp_path / "whole")
    assert len(whole.verified) == 300
    assert whole.complete, "the stream came to its end, and nothing is listed that it did not bring"


def test_who_may_not_search_may_download(archive: Archive, tmp_path: Path) -> None:
    archive.forbidden = lambda path: path.endswith(("/instances", "/series"))
    for number in range(3):
        report = archive.retrieve(tmp_path / str(number))
        assert len(report.verified) == 300
        assert not report.complete, "nobody says how many there are"
        assert any("403" in note for note in report.notes)
    archive.forbidden = lambda path: True
    with pytest.raises(AuthenticationError, match="403"):
        archive.retrieve(tmp_path / "nothing")


def test_one_forbidden_instance_is_one_failure(archive: Archive, tmp_path: Path) -> None:
    secret = list(FILES)[200]
    archive.sent = 139
    archive.forbidden = lambda path: path.endswith(f"/{secret}")
    report = archive.retrieve(tmp_path)
    assert len(report.verified) == 299
    assert list(report.failed) == [secret]
    assert "403" in report.failed[secret]


def test_as_stored_is_not_what_was_asked_for_otherwise(archive: Archive, tmp_path: Path) -> None:
    """Files that came in a transfer syntax of one's choice may have been changed by the server."""
    some = list(FILES)[:3]
    asked = "1.2.840.10008.1.2.1"
    first = retrieve(archive.server, STUDY, SERIES, some, tmp_path, transfer_syntax=asked, patience=QUICK)
    assert (first.fetched, first.complete) == (3, True)
    stored = retrieve(archive.server, STUDY, SERIES, some, tmp_path, patience=QUICK)
    assert (stored.fetched, stored.complete) == (3, True)
    assert retrieve(archive.server, STUDY, SERIES, some, tmp_path, patience=QUICK).fetched == 0
    again = retrieve(archive.server, STUDY, SERIES, some, tmp_path, transfer_syntax=asked, patience=QUICK)
    assert again.fetched == 0, "as it is stored it has this transfer syntax"


def test_nothing_is_written_to_a_manifest_that_is_closed(tmp_path: Path) -> None:
    """Its number may be that of another file by then."""
    with Folder(tmp_path) as folder:
        with Manifest(folder) as manifest:
            pass
        stranger = os.open(tmp_path / "stranger", os.O_RDWR | os.O_CREAT)
        with pytest.raises(CancelledError):
            manifest.add(Entry(STUDY, SERIES, "1.2", "1.3", IMPLICIT, "*", 1, "", 0))
        os.close(stranger)
    assert (tmp_path / "stranger").read_bytes() == b""


def test_cancel_while_files_are_looked_at(archive: Archive, tmp_path: Path) -> None:
    """Files without a line in the manifest are read again, which may take long."""
    archive.retrieve(tmp_path)
    (tmp_path / "manifest.jsonl").unlink()
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(CancelledError):
        retrieve(archive.server, STUDY, SERIES, sorted(FILES), tmp_path, cancel=cancel, patience=QUICK)
    assert (tmp_path / "manifest.jsonl").read_bytes() == b"", "it was over before the first was read"
