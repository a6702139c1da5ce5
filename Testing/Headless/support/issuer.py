"""A small issuer of tokens: OpenID Connect, Google's token service, and a question whether a token is good."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["DEVICE", "Issuer", "Peer", "start_issuer", "start_peer"]

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
GOOGLE = "https://oauth2.googleapis.com/token"  # whom keys of service accounts sign for, wherever they are sent
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body of a form."""
        return dict(parse_qsl(self.body.decode()))

    @property
    def authorization(self) -> str:
        """The header of this name."""
        return self.headers.get("Authorization", "")

    @property
    def query(self) -> dict[str, str]:
        """What follows the question mark."""
        return dict(parse_qsl(urlsplit(self.path).query))


Answer = tuple[int, Any, dict[str, str]]


class Peer:
    """An HTTP server that answers as a function says, and keeps the requests that it got."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                one = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
                with peer.lock:
                    peer.asked.append(one)
                    status, values, headers = answer(one)
                data = values if isinstance(values, bytes) else json.dumps(values).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET

            def log_message(self, *_arguments: object) -> None:
                pass

        self.http = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the server."""
        self.http.shutdown()
        self.http.server_close()
        self._thread.join(5)


class _Quiet(ThreadingHTTPServer):
    """Clients that hang up are none of its business."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_arguments: object) -> None:
        pass


@dataclass
class Issuer:
    """What the issuer gives, and what it was asked.

    Parameters
    ----------
    client_secret
        The client must show it, where there is one.
    uses
        How many requests a token is good for, None for any number.
    expires_in
        Seconds that a token is said to be good for, None for nothing said.
    pending
        Errors that are given before somebody has signed in.
    refreshes
        Whether there are refresh tokens.
    public_key
        Of a service account, as text in PEM, for Google's way.
    """

    client_secret: str = ""
    uses: int | None = None
    expires_in: int | None = 3600
    pending: list[str] = field(default_factory=list)
    refreshes: bool = True
    public_key: str = ""
    methods: tuple[str, ...] = ("client_secret_basic", "client_secret_post")
    issuer: str = ""
    broken: Answer | None = None
    peer: Peer = field(init=False)
    left: dict[str, int | None] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)
    given: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return self.peer.url

    @property
    def check(self) -> str:
        """Address that says whether a token is good, and counts that as its use."""
        return f"{self.url}/check"

    def grants(self) -> list[str]:
        """Kinds of the grants that it was asked for."""
        return [one.form.get("grant_type", "") for one in self.peer.asked if one.path == "/token"]

    def revoke(self) -> None:
        """Let no token pass any more."""
        self.left = dict.fromkeys(self.left, 0)

    def answer(self, asked: Asked) -> Answer:
        """Answer a request."""
        path = urlsplit(asked.path).path
        if path == "/.well-known/openid-configuration":
            return 200, self._configuration(), {}
        if path.startswith("/check"):
            return self._checked(asked)
        if self.broken is not None:
            return self.broken
        if path == "/device":
            self.codes.append(secrets.token_urlsafe(12))
            return 200, self._device(self.codes[-1]), {}
        return self._token(asked) if path == "/token" else (404, {}, {})

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer or self.url,
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "token_endpoint_auth_methods_supported": list(self.methods),
        }

    def _device(self, code: str) -> dict[str, Any]:
        where = f"{self.url}/go"
        return {
            "device_code": code,
            "user_code": "ABCD-EFGH",
            "verification_uri": where,
            "verification_uri_complete": f"{where}?user_code=ABCD-EFGH",
            "expires_in": 60,
            "interval": 0.01,
        }

    def _checked(self, asked: Asked) -> Answer:
        token = asked.authorization.removeprefix("Bearer ")
        left = self.left.get(token, 0)
        if left == 0:
            return 401, {}, {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        if left is not None:
            self.left[token] = left - 1
        return 200, [], {}

    def _token(self, asked: Asked) -> Answer:
        form = asked.form
        if self.client_secret and not self._is_client(asked):
            return 401, {"error": "invalid_client", "error_description": f"not {asked.body.decode()}"}, {}
        match form.get("grant_type"):
            case "client_credentials":
                return 200, self._granted(refresh=False), {}
            case "refresh_token":
                if form.get("refresh_token") not in self.refresh_tokens:
                    return 400, {"error": "invalid_grant"}, {}
                self.refresh_tokens.discard(form["refresh_token"])
                return 200, self._granted(), {}
            case grant if grant == DEVICE:
                if form.get("device_code") not in self.codes:
                    return 400, {"error": "invalid_grant"}, {}
                if self.pending:
                    return 400, {"error": self.pending.pop(0)}, {}
                return 200, self._granted(), {}
            case grant if grant == JWT_BEARER and self._is_signed(form["assertion"]):
                return 200, self._granted(refresh=False), {}
        return 400, {"error": "unsupported_grant_type"}, {}

    def _granted(self, refresh: bool = True) -> dict[str, Any]:
        token = secrets.token_urlsafe(24)
        self.given.append(token)
        self.left[token] = self.uses
        values: dict[str, Any] = {"access_token": token, "token_type": "Bearer"}
        if self.expires_in is not None:
            values["expires_in"] = self.expires_in
        if refresh and self.refreshes:
            values["refresh_token"] = secrets.token_urlsafe(24)
            self.refresh_tokens.add(values["refresh_token"])
        return values

    def _is_client(self, asked: Asked) -> bool:
        if asked.authorization.startswith("Basic "):
            _, _, secret = base64.b64decode(asked.authorization[6:]).decode().partition(":")
            return unquote(secret) == self.client_secret
        return asked.form.get("client_secret") == self.client_secret

    def _is_signed(self, assertion: str) -> bool:
        from google.auth import jwt

        try:
            claims = jwt.decode(assertion, certs=self.public_key, audience=GOOGLE)
        except ValueError:
            return False
        return "scope" in claims


@contextmanager
def start_issuer(**options: Any) -> Iterator[Issuer]:
    """Start an issuer, see :class:`Issuer` for what it can be told, and end it."""
    issuer = Issuer(**options)
    with start_peer(issuer.answer) as peer:
        issuer.peer = peer
        yield issuer


@contextmanager
def start_peer(answer: Callable[[Asked], Answer]) -> Iterator[Peer]:
    """Start an HTTP server that answers as a function says, and end it."""
    peer = Peer(answer)
    try:
        yield peer
    finally:
        peer.stop()
