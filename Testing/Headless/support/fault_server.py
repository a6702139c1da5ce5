"""A DICOMweb server that does everything wrong, by seed: each address below it is a world of its own.

Everything is written to the socket by hand, so that an answer can be cut at any byte. A world has a series of small
instances and a number of faults for each resource, after which it is well again; ``incurable`` ones never are.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import socketserver
import struct
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

STALL = 2.5
"""Seconds for which nothing comes; clients of the tests wait for less."""
BOMB = 32 << 20
ZEROS = bytes(1 << 18)
STUDY, SERIES = "1.2.826.99.1", "1.2.826.99.1.1"


def instance_file(uid: str, pixels: bytes, study: str = STUDY, series: str = SERIES) -> bytes:
    """Return a small CT file, made by hand."""

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        value += (b"\0" if vr in (b"UI", b"OW", b"OB") else b" ") * (len(value) % 2)
        length = struct.pack("<HL", 0, len(value)) if vr in (b"OW", b"OB") else struct.pack("<H", len(value))
        return struct.pack("<HH", group, number) + vr + length + value

    sop_class = b"1.2.840.10008.5.1.4.1.1.2"
    meta = element(2, 1, b"OB", b"\0\1") + element(2, 2, b"UI", sop_class) + element(2, 3, b"UI", uid.encode())
    meta += element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1")
    dataset = element(8, 0x16, b"UI", sop_class) + element(8, 0x18, b"UI", uid.encode())
    dataset += element(0x10, 0x10, b"PN", b"Fault^Server")
    dataset += element(0x20, 0xD, b"UI", study.encode()) + element(0x20, 0xE, b"UI", series.encode())
    dataset += element(0x7FE0, 0x10, b"OW", pixels)
    return b"\0" * 128 + b"DICM" + element(2, 0, b"UL", struct.pack("<L", len(meta))) + meta + dataset


@dataclass
class Answer:
    """What is sent, before a fault changes it."""

    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunked: bool = False
    length: bool = True

    def wire(self) -> bytes:
        """Return it as bytes."""
        headers, body = dict(self.headers), self.body
        if self.chunked:
            headers["Transfer-Encoding"] = "chunked"
            middle = len(body) // 3
            body = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (body[:middle], body[middle:]) if one)
            body += b"0\r\n\r\n"
        elif self.length:
            headers.setdefault("Content-Length", str(len(body)))
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + body


class World:
    """One series, its faults, and what was asked for.

    Parameters
    ----------
    seed
        All that is random comes from it.
    incurable
        Number of instances that never come right.
    """

    def __init__(self, seed: int, incurable: int = 0, faults: tuple[str, ...] = ()) -> None:
        self.random = random.Random(seed)
        count = self.random.randint(2, 6)
        self.files = {}
        for number in range(count):
            uid = f"{SERIES}.{seed}.{number + 1}"
            self.files[uid] = instance_file(uid, self.random.randbytes(2 * self.random.randint(10, 700)))
        self.counted = len(self.files) if seed % 2 else None
        """How many instances it says that the series has; some servers do not."""
        self.names = faults or tuple(FAULTS)
        self.lasting = faults or INCURABLE
        self.incurable = set(self.random.sample(sorted(self.files), incurable))
        self.left: dict[str, int] = {}
        self.asked: Counter[str] = Counter()
        self.asked_as: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """The same by the name that the world was asked under."""
        self.token = 1
        self.elsewhere = ""
        self.lock = threading.Lock()
        self.lengths = self.random.random() < 0.5
        self.used: Counter[str] = Counter()

    def answer(
        self, path: str, authorization: str, name: str
    ) -> tuple[Answer, Callable[[bytes, socket.socket], bool] | None]:
        """Return what to answer, and what sends it where that is not done in the usual way."""
        with self.lock:
            self.note(path, name)
            if authorization != f"Bearer token-{self.token}":
                return Answer("401 Unauthorized", {"WWW-Authenticate": "Bearer"}), None
            if path not in self.left:
                self.left[path] = self.random.choice((0, 0, 1, 1, 2)) if "/instances/" in path else 1
            faulty = self.left[path] > 0
            self.left[path] -= faulty
            permanent = path.rpartition("/")[2] in self.incurable
            kind = self.random.choice(self.lasting if permanent else self.names) if faulty or permanent else "none"
            if path.endswith(("/instances", "/series")):
                kind = kind if kind in LIST_FAULTS else "none"
            self.used[kind] += 1
            parts = self._parts(path)
            fault = FAULTS.get(kind)
            changed = fault.parts(self, parts) if fault and fault.parts else parts
            answer = self._results(path) or self._multipart(changed, kind)
            if fault and fault.answer:
                fault.answer(self, answer)
            return answer, (lambda wire, one: fault.send(self, wire, one)) if fault and fault.send else None

    def note(self, path: str, name: str) -> None:
        """Count what is asked for."""
        self.asked[path] += 1
        self.asked_as[name][path] += 1

    def _parts(self, path: str) -> list[bytes]:
        uid = path.rpartition("/")[2]
        if "/instances/" in path:
            return [self.files[uid]] if uid in self.files else []
        return [one for name, one in self.files.items() if name not in self.incurable]

    def _results(self, path: str) -> Answer | None:
        """Return the answer to a query, None where instances are asked for."""
        if path.endswith("/instances"):
            return self._list()
        return self._series() if path.endswith("/series") else None

    def _series(self) -> Answer:
        item: dict[str, Any] = {"0020000E": {"vr": "UI", "Value": [SERIES]}}
        if self.counted is not None:
            item["00201209"] = {"vr": "IS", "Value": [self.counted]}
        return Answer(headers={"Content-Type": "application/dicom+json"}, body=json.dumps([item]).encode())

    def _list(self) -> Answer:
        items = [
            {
                "00080018": {"vr": "UI", "Value": [uid]},
                "0020000D": {"vr": "UI", "Value": [STUDY]},
                "0020000E": {"vr": "UI", "Value": [SERIES]},
            }
            for uid in self.files
        ]
        return Answer(headers={"Content-Type": "application/dicom+json"}, body=json.dumps(items).encode())

    def _multipart(self, parts: list[bytes], fault: str) -> Answer:
        boundary = f"b{self.random.randrange(1 << 40):x}"
        body = b""
        for number, part in enumerate(parts):
            length = len(part)
            if fault == "part_length" and number == len(parts) // 2:
                length = max(0, length + self.random.choice((-9, -2, -1, 1, 2, 4, 200, 1 << 40)))
            told = b"Content-Length: %d\r\n" % length if self.lengths or fault == "part_length" else b""
            if fault == "part_headers":
                told += b"X-Long: " + b"x" * 200_000 + b"\r\n"
            body += b"\r\n--%s\r\nContent-Type: application/dicom\r\n%s\r\n" % (boundary.encode(), told) + part
        if fault != "no_closing":
            body += b"\r\n--%s--\r\n" % boundary.encode()
        said = "c" + boundary if fault == "boundary" else boundary
        kind = f'multipart/related; type="application/dicom"; boundary={said}'
        way = self.random.random()
        headers = {"Content-Type": kind} | ({} if way < 0.6 else {"Connection": "close"})
        return Answer(headers=headers, body=body, chunked=way < 0.3, length=way < 0.6)


@dataclass(frozen=True)
class Fault:
    """What goes wrong: with the instances, with the answer, or while it is sent (True: the connection can go on)."""

    parts: Callable[[World, list[bytes]], list[bytes]] | None = None
    answer: Callable[[World, Answer], None] | None = None
    send: Callable[[World, bytes, socket.socket], bool] | None = None


def _cut(world: World, wire: bytes, one: socket.socket) -> bool:
    one.sendall(wire[: world.random.randrange(len(wire))])
    return False


def _reset(world: World, wire: bytes, one: socket.socket) -> bool:
    one.sendall(wire[: world.random.randrange(len(wire))])
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def _slow(world: World, wire: bytes, one: socket.socket) -> bool:
    time.sleep(world.random.choice((0.02, STALL)))
    one.sendall(wire)
    return True


def _stall(world: World, wire: bytes, one: socket.socket) -> bool:
    one.sendall(wire[: world.random.randrange(len(wire))])
    time.sleep(STALL)
    return False


def _trickle(world: World, wire: bytes, one: socket.socket) -> bool:
    place = world.random.randrange(len(wire))
    one.sendall(wire[:place])
    for number in range(place, min(place + 20, len(wire))):
        one.sendall(wire[number : number + 1])
        time.sleep(0.001)
    one.sendall(wire[place + 20 :])
    return True


def _bad_chunk(world: World, wire: bytes, one: socket.socket) -> bool:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/related; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
    one.sendall(head + world.random.choice((b"zz\r\n", b"10\r\nshort", b"-5\r\n", b"")))
    return False


def _garbage(world: World, wire: bytes, one: socket.socket) -> bool:
    one.sendall(world.random.randbytes(world.random.randint(1, 300)))
    return False


def _status(*statuses: str) -> Fault:
    def answer(world: World, one: Answer) -> None:
        one.status, one.body = world.random.choice(statuses), b"not now"
        one.headers = {"Retry-After": "0"} if world.random.random() < 0.7 else {}
        one.chunked, one.length = False, True

    return Fault(answer=answer)


def _token_expires(world: World, one: Answer) -> None:
    world.token += 1
    one.status, one.body, one.headers = "401 Unauthorized", b"", {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    one.chunked, one.length = False, True


def _redirect(world: World, one: Answer) -> None:
    one.status, one.headers, one.body = "302 Found", {"Location": world.elsewhere + "/studies"}, b""
    one.chunked, one.length = False, True


def _bomb(world: World, one: Answer) -> None:
    """Zeros, or an image that never ends; the bytes are few."""
    start = world.random.choice(
        (b"", one.body[: one.body.find(b"DICM") + 4] + b"\x08\x00\x05\x00UN\0\0\xff\xff\xff\x7f")
    )
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    beginning = packer.compress(start)
    zeros = b"".join(packer.compress(ZEROS) for _ in range(BOMB // len(ZEROS)))
    one.body = beginning + zeros + packer.flush()
    one.headers["Content-Encoding"] = "gzip"
    one.chunked = False


def _gzip(world: World, one: Answer) -> None:
    """It is right, only compressed although nobody asked for that."""
    one.body = gzip.compress(one.body, 1)
    one.headers["Content-Encoding"] = "gzip"


def _answer_length(world: World, one: Answer) -> None:
    change = world.random.choice((-50, -1, 1, 50))
    one.headers["Content-Length"] = str(max(0, len(one.body) + change))
    one.chunked, one.length = False, True


def _many_headers(world: World, one: Answer) -> None:
    if world.random.random() < 0.5:
        one.headers |= {f"X-{number}": "y" * 100 for number in range(2000)}
    else:
        one.headers["X-Long"] = "y" * 300_000


def _web_page(world: World, one: Answer) -> None:
    one.headers = {"Content-Type": world.random.choice(("text/html", "application/json", ""))}
    one.body, one.chunked, one.length = b"<html>Sign in</html>" * 40, False, True


def _shorter(world: World, parts: list[bytes]) -> list[bytes]:
    """An instance loses some of its end, or of its middle, and nothing says so."""
    if not parts:
        return parts
    number = world.random.randrange(len(parts))
    one = parts[number]
    lost = world.random.randint(1, 19)
    place = world.random.choice((len(one) - lost, len(one) // 2 - lost))
    return [*parts[:number], one[:place] + one[place + lost :], *parts[number + 1 :]]


def _foreign(world: World, parts: list[bytes]) -> list[bytes]:
    return [instance_file(f"{SERIES}.777", b"12", series="1.2.3.4"), *parts[1:]]


def _odd_name(world: World, parts: list[bytes]) -> list[bytes]:
    return [instance_file("../../../evil", b"12"), *parts[1:]]


FAULTS: dict[str, Fault] = {
    "cut": Fault(send=_cut),
    "reset": Fault(send=_reset),
    "slow": Fault(send=_slow),
    "stall": Fault(send=_stall),
    "trickle": Fault(send=_trickle),
    "bad_chunk": Fault(send=_bad_chunk),
    "garbage": Fault(send=_garbage),
    "part_length": Fault(),
    "part_headers": Fault(),
    "no_closing": Fault(),
    "boundary": Fault(),
    "answer_length": Fault(answer=_answer_length),
    "many_headers": Fault(answer=_many_headers),
    "web_page": Fault(answer=_web_page),
    "gzip": Fault(answer=_gzip),
    "bomb": Fault(answer=_bomb),
    "busy": _status("503 Busy", "429 Too Many Requests"),
    "error": _status("500 Oh", "502 No", "504 Late"),
    "token": Fault(answer=_token_expires),
    "redirect": Fault(answer=_redirect),
    "duplicates": Fault(parts=lambda world, parts: [one for part in parts for one in (part, part)]),
    "omitted": Fault(parts=lambda world, parts: parts[: len(parts) // 2]),
    "shorter": Fault(parts=_shorter),
    "foreign": Fault(parts=_foreign),
    "odd_name": Fault(parts=_odd_name),
}
LIST_FAULTS = frozenset({"slow", "trickle", "busy", "error", "token", "gzip", "cut", "reset", "garbage"})
INCURABLE = ("cut", "no_closing", "boundary", "web_page", "shorter", "foreign", "odd_name", "redirect", "omitted")


class FaultServer(socketserver.ThreadingTCPServer):
    """Serves worlds at ``/NAME``.

    A world may have a name for each retrieval: a busy server sees some requests only when their client has given them
    up, or was killed, and the next one is on its way.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.worlds: dict[str, World] = {}
        self.seen: list[bytes] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients leave; that is no error here."""


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.settimeout(20)
        waiting = b""
        while True:
            while b"\r\n\r\n" not in waiting:
                try:
                    more = self.request.recv(65536)
                except OSError:
                    return
                if not more:
                    return
                waiting += more
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            self.server.seen.append(head)
            if not self._answer(head.decode("latin-1")):
                return

    def _answer(self, head: str) -> bool:
        path = head.split(" ")[1].partition("?")[0]
        _, name, rest = path.split("/", 2)
        world = self.server.worlds.get(name)
        found = re.search(r"^authorization: (.*?)\r?$", head, re.IGNORECASE | re.MULTILINE)
        if world is None:
            self.request.sendall(Answer("404 Not Found").wire())
            return True
        answer, send = world.answer(rest, found.group(1) if found else "", name)
        wire = answer.wire()
        if send is not None:
            return send(wire, self.request)
        self.request.sendall(wire)
        return "close" not in answer.headers.get("Connection", "") and (answer.chunked or answer.length)


@contextmanager
def serve_faults() -> Iterator[FaultServer]:
    """Run a server in threads."""
    with FaultServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
