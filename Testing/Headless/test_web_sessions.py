"""The session below a connection: proxies and passwords of the environment, redirects, and cancelling in any moment."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from support.orthanc import free_port
from support.small_servers import Token, connect, reply

from dicombridge.errors import AuthenticationError, CancelledError, UnreachableError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import Connection
from dicombridge.web.retrying import NEVER
from dicombridge.web.servers import Authentication, Server, Tls
from dicombridge.web.sessions import Session, Timeouts


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_asked_without_a_proxy(peer: Any, no_proxies: pytest.MonkeyPatch, host: str) -> None:
    """Credentials over plain http are for this machine alone, and a proxy may be another one."""
    proxy = peer(lambda handler: reply(handler, 200, b"from the proxy"))
    there = peer(
        lambda handler: reply(handler, 307, Location="/b") if handler.path == "/a" else reply(handler, 200, b"ok")
    )
    no_proxies.setenv("http_proxy", proxy.url)
    url = there.url.replace("127.0.0.1", host)
    with (
        Connection(Server(url), credentials=Token(), retries=NEVER) as connection,
        connection.get(f"{url}/a") as answer,
    ):
        assert answer.read(100) == b"ok"
    assert not proxy.requests
    assert [request[2]["Authorization"] for request in there.requests] == ["Bearer first"] * 2


def test_a_proxy_that_is_not_there_is_named_and_its_password_is_not(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("https_proxy", f"http://anna:secret-77@127.0.0.1:{free_port()}")
    server = Server("https://nowhere.invalid/dicom-web")
    with Connection(server, retries=NEVER) as connection, pytest.raises(UnreachableError, match="the proxy") as caught:
        connection.get(server.url)
    assert "secret-77" not in f"{caught.value} {caught.value.details}"


@pytest.mark.parametrize("credentials", [None, Token()], ids=["without", "with"])
def test_redirected_requests_are_let_in_anew(
    peer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, credentials: Token | None
) -> None:
    """What requests would find in ~/.netrc is not sent, and a signature is made for the address that it is sent to."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login anna password found-secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    signed: list[str] = []

    class Signing(Token):
        def apply(self, request: requests.PreparedRequest) -> None:
            signed.append(request.path_url)
            request.headers["Authorization"] = f"Signed {request.path_url}"

    there = peer(
        lambda handler: reply(handler, 307, Location="/b") if handler.path == "/a" else reply(handler, 200, b"ok")
    )
    with connect(there, credentials=Signing() if credentials else None) as connection:
        connection.get(f"{there.url}/a").close()
    expected = ["Signed /a", "Signed /b"] if credentials else [None, None]
    assert [request[2].get("Authorization") for request in there.requests] == expected
    assert signed == ([] if credentials is None else ["/a", "/b"])


def test_cancelled_while_it_connects(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that comes about after everything was shut is shut too, and nobody waits for its answer."""
    import urllib3.util.connection

    done = threading.Event()
    there = peer(lambda handler: done.wait(10))
    cancel = Cancel()
    create = urllib3.util.connection.create_connection

    def slow(*arguments: Any, **options: Any) -> socket.socket:
        made = create(*arguments, **options)
        cancel.cancel()
        return made

    monkeypatch.setattr(urllib3.util.connection, "create_connection", slow)
    begin = time.monotonic()
    with connect(there, cancel=cancel, timeouts=Timeouts(5.0, 8.0)) as connection, pytest.raises(CancelledError):
        connection.get(there.url)
    assert time.monotonic() - begin < 4.0
    done.set()


def test_sockets_are_shut_while_others_are_opened() -> None:
    """Whoever cancels must not trip over a thread that is just connecting."""
    session = Session(Server("http://127.0.0.1/x"))
    pairs = [socket.socketpair() for _ in range(300)]
    for _, other in pairs:
        session._opened(other)
    stop, errors = threading.Event(), []

    def open_more() -> None:
        while not stop.is_set():
            for one, _ in pairs:
                session._sockets.discard(one)
            for one, _ in pairs:
                session._opened(one)

    thread = threading.Thread(target=open_more)
    thread.start()
    end = time.monotonic() + 0.5
    while time.monotonic() < end and not errors:
        try:
            session.shut()
        except RuntimeError as error:
            errors.append(error)
    stop.set()
    thread.join()
    session.close()
    for pair in pairs:
        for one in pair:
            one.close()
    assert errors == []


@pytest.mark.parametrize("name", ["ca_bundle", "certificate"])
def test_files_that_are_not_there_are_named(tmp_path: Path, name: str) -> None:
    server = Server("https://127.0.0.1:1/x", tls=Tls(**{name: str(tmp_path / "nothing.pem")}))
    with pytest.raises(AuthenticationError, match=r"there is no file .*nothing\.pem"):
        Connection(server)


def test_a_pause_that_comes_with_the_end_does_not_hold_it() -> None:
    for _ in range(200):
        cancel = Cancel()
        threads = [threading.Thread(target=function) for function in (cancel.pause, cancel.cancel)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not cancel.paused


def test_one_who_cannot_stop_does_not_keep_the_others_from_it() -> None:
    cancel, stopped = Cancel(), []
    cancel.on_cancel(lambda: {}["nothing"])
    cancel.on_cancel(lambda: stopped.append(1))
    cancel.on_cancel(cancel.cancel)  # and somebody who asks in the midst of it
    cancel.cancel()
    cancel.on_cancel(lambda: stopped.append(2))
    assert stopped == [1, 2]


def test_names_are_resolved_with_any_urllib3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 1.26, urllib3 has no class for a name that nobody knows."""
    import urllib3

    from dicombridge.web.connection import _translated

    error = urllib3.exceptions.HTTPError("x")
    error.__cause__ = socket.gaierror(-2, "Name or service not known")
    text = str(_translated(error, Server("https://a.invalid", authentication=Authentication())))
    assert "nobody knows the host" in text
