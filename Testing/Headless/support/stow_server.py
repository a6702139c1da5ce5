"""A DICOMweb server of the tests that answers store requests as it is told to, and remembers what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pydicom

from dicombridge.web import Connection, Server
from dicombridge.web.retrying import Retries

JSON = "application/dicom+json"


@dataclass
class Request:
    """One store request: its path, headers, whole body, and the instances in it."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    parts: list[bytes] = field(default_factory=list)
    uids: list[str] = field(default_factory=list)
    series: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Reply:
    """An answer; ``body`` may be JSON values. ``lost``: the connection is closed instead."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False


def module(
    stored: Sequence[str] = (), failed: Mapping[str, int | None] | None = None, warned: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return a Store Instances Response Module as DICOM JSON."""
    ok = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in stored]
    for item in ok:
        if code := (warned or {}).get(item["00081155"]["Value"][0]):
            item["00081196"] = {"vr": "US", "Value": [code]}
    bad: list[dict[str, Any]] = []
    for uid, reason in (failed or {}).items():
        bad.append({"00081155": {"vr": "UI", "Value": [uid]}})
        if reason is not None:
            bad[-1]["00081197"] = {"vr": "US", "Value": [reason]}
    return {"00081199": {"vr": "SQ", "Value": ok}, "00081198": {"vr": "SQ", "Value": bad}}


class StowServer:
    """The server; ``answer`` decides, and by default everything is stored."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.have: dict[str, bytes] = {}
        self.places: dict[str, tuple[str, str]] = {}
        self.answer: Callable[[Request], Reply] = self.store
        self.before: Callable[[Any], bool] = lambda handler: True
        """Called before the body is read; false: nothing is read or answered."""
        self.url = ""
        self.lock = threading.Lock()

    def store(self, request: Request) -> Reply:
        """Keep all, and say so."""
        self.keep(request)
        return Reply(200, module(request.uids))

    def keep(self, request: Request, but: Sequence[str] = ()) -> list[str]:
        """Keep what a request brings, except some; return the UIDs of what was kept."""
        kept = []
        for uid, part, place in zip(request.uids, request.parts, request.series, strict=True):
            if uid not in but:
                self.have[uid], self.places[uid] = part, place
                kept.append(uid)
        return kept

    @property
    def server(self) -> Server:
        """The server as our value."""
        return Server(self.url)

    def connection(self, **profile: Any) -> Connection:
        """Return a connection that does not wait long before it tries again."""
        from dataclasses import replace

        server = Server(self.url)
        server = server.changed(profile=replace(server.profile, **profile))
        return Connection(server, retries=Retries(times=3, first=0.01, longest=2.0))

    def found(self, path: str, query: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        """Answer a search for instances."""
        words = path.partition("/dicom-web/")[2].split("/")
        wanted = {words[number]: words[number + 1] for number in range(0, len(words) - 1, 2)}
        uids = query.get("SOPInstanceUID") or query.get("00080018")
        result = []
        for uid, (study, series) in sorted(self.places.items()):
            values = {"00080018": uid, "0020000D": study, "0020000E": series}
            here = wanted.get("studies", study) == study and wanted.get("series", series) == series
            if here and wanted.get("instances", uid) == uid and (uids is None or uid in uids):
                result.append({tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()})
        start = int(query.get("offset", ["0"])[0])
        return result[start : start + int(query.get("limit", ["1000000"])[0])]


def request_of(handler: BaseHTTPRequestHandler) -> Request:
    """Read a request, which must say how long it is."""
    length = int(handler.headers["Content-Length"])
    body = handler.rfile.read(length)
    request = Request(handler.path, dict(handler.headers), body)
    if len(body) == length:
        boundary = handler.headers["Content-Type"].rpartition("boundary=")[2].encode()
        pieces = body.split(b"--" + boundary)
        assert pieces[0] == b""
        assert pieces[-1] == b"--\r\n"
        for piece in pieces[1:-1]:
            head, _, content = piece.partition(b"\r\n\r\n")
            assert head == b"\r\nContent-Type: application/dicom"
            assert content.endswith(b"\r\n")
            request.parts.append(content[:-2])
            dataset = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
            request.uids.append(str(dataset.SOPInstanceUID))
            request.series.append((str(dataset.get("StudyInstanceUID")), str(dataset.get("SeriesInstanceUID"))))
    return request


@contextmanager
def stow_server() -> Iterator[StowServer]:
    """Run a server on a free loopback port."""
    stow = StowServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self.reply(Reply(200, stow.found(parts.path, parse_qs(parts.query))))

        def do_POST(self) -> None:
            if not stow.before(self):
                self.close_connection = True
                return
            request = request_of(self)
            with stow.lock:
                stow.requests.append(request)
                reply = stow.answer(request)
            self.reply(reply)

        def reply(self, reply: Reply) -> None:
            if reply.lost:
                self.close_connection = True
                return
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            headers = {"Content-Type": JSON} if not isinstance(reply.body, bytes) else {}
            for name, value in {**headers, "Content-Length": str(len(body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: Any) -> None:
            """A client that goes away is what some tests are about."""

    http = Quiet(("127.0.0.1", 0), Handler)
    stow.url = f"http://127.0.0.1:{http.server_port}/dicom-web"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield stow
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
