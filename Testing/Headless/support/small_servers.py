"""Servers of a few lines, for what one request and its answer show."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from dicombridge.web.connection import Connection
from dicombridge.web.retrying import Retries
from dicombridge.web.servers import Server
from dicombridge.web.sessions import Timeouts

__all__ = ["QUICK", "Peer", "Token", "connect", "reply"]

QUICK = Retries(times=3, first=0.01, longest=2.0)


class Token:
    """Credentials that count how often they were asked for and renewed."""

    def __init__(self, value: str = "first", renewed: str = "") -> None:
        self.value, self.renewed = value, renewed
        self.challenges: list[str] = []

    def apply(self, request: requests.PreparedRequest) -> None:
        request.headers["Authorization"] = f"Bearer {self.value}"

    def renew(self, challenge: str) -> bool:
        self.challenges.append(challenge)
        self.value, self.renewed = self.renewed or self.value, ""
        return self.value != "first"


class Peer:
    """A server that answers as a function says, and keeps the requests that it got."""

    def __init__(self, answer: Callable[[Any], None]) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                peer.requests.append((self.command, self.path, dict(self.headers), body))
                answer(self)

            do_POST = do_GET

            def log_message(self, *_arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def reply(handler: Any, status: int, body: bytes = b"", **headers: str) -> None:
    """Answer a request."""
    handler.send_response(status)
    headers.setdefault("Content_Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def connect(peer: Peer, **options: Any) -> Connection:
    return Connection(Server(peer.url), **{"retries": QUICK, "timeouts": Timeouts(2.0, 2.0), **options})
