"""One job's connection with a server: credentials, redirects, retries, bounds, and shutting its sockets."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.orthanc import Orthanc, free_port
from support.small_servers import Token, connect, reply

from dicombridge.errors import (
    AuthenticationError,
    CancelledError,
    DamagedAnswerError,
    RefusedError,
    UnreachableError,
)
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import Connection
from dicombridge.web.retrying import Retries
from dicombridge.web.servers import Authentication, Server
from dicombridge.web.sessions import Timeouts


def read_all(connection: Connection, url: str) -> None:
    with connection.get(url) as answer:
        while answer.readinto(bytearray(100)):
            pass


def test_json_comes_compressed_and_is_read(peer: Any) -> None:
    body = gzip.compress(b'[{"a": 1}]')
    there = peer(lambda handler: reply(handler, 200, body, Content_Encoding="gzip"))
    with connect(there) as connection, connection.get(f"{there.url}/studies", encoding="gzip") as answer:
        assert answer.json() == [{"a": 1}]
    assert there.requests[0][2]["Accept-Encoding"] == "gzip"


def test_pixels_come_as_they_are(peer: Any) -> None:
    body = bytes(range(256)) * 5000
    there = peer(lambda handler: reply(handler, 200, body))
    with connect(there) as connection, connection.get(there.url) as answer:
        assert answer.length == len(body)
        assert answer.read(len(body)) == body
    assert there.requests[0][2]["Accept-Encoding"] == "identity"


def test_a_short_body_is_damage(peer: Any) -> None:
    def cut(handler: Any) -> None:
        reply(handler, 200, b"abc", Content_Length="10")
        handler.close_connection = True

    there = peer(cut)
    with (
        connect(there) as connection,
        connection.get(there.url) as answer,
        pytest.raises(DamagedAnswerError, match="3 of 10"),
    ):
        answer.read(100)


def test_a_gzip_bomb_is_bounded(peer: Any) -> None:
    there = peer(lambda handler: reply(handler, 200, gzip.compress(bytes(50 << 20)), Content_Encoding="gzip"))
    with (
        connect(there) as connection,
        connection.get(there.url, encoding="gzip") as answer,
        pytest.raises(DamagedAnswerError, match="larger than"),
    ):
        answer.json(limit=1 << 20)


def test_what_fails_for_a_while_is_asked_again(peer: Any) -> None:
    def answer(handler: Any) -> None:
        if len(there.requests) < 3:
            reply(handler, 429 if len(there.requests) == 1 else 503, Retry_After="0")
        else:
            reply(handler, 200, b"here")

    there = peer(answer)
    with connect(there) as connection, connection.get(there.url) as got:
        assert got.read(10) == b"here"
    assert len(there.requests) == 3


def test_a_long_retry_after_is_given_to_the_caller(peer: Any) -> None:
    there = peer(lambda handler: reply(handler, 503, Retry_After="3600"))
    with connect(there) as connection, pytest.raises(RefusedError) as caught:
        connection.get(there.url)
    assert (caught.value.status, caught.value.retry_after) == (503, 3600.0)
    assert len(there.requests) == 1


def test_what_will_not_succeed_is_asked_once(peer: Any) -> None:
    there = peer(lambda handler: reply(handler, 400, b"no such filter"))
    with connect(there) as connection, pytest.raises(RefusedError, match="400 Bad Request: no such filter"):
        connection.get(there.url)
    assert len(there.requests) == 1


def test_posts_are_sent_once(peer: Any) -> None:
    there = peer(lambda handler: reply(handler, 503))
    with connect(there) as connection, pytest.raises(RefusedError):
        connection.send("POST", there.url, b"data")
    assert [request[3] for request in there.requests] == [b"data"]


def test_renewed_credentials_send_the_body_again_whole(peer: Any) -> None:
    class Body:
        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Iterator[bytes]:
            yield b"abc"
            yield b"def"

    def answer(handler: Any) -> None:
        fresh = handler.headers["Authorization"] == "Bearer second"
        reply(handler, 200 if fresh else 401, b"", **({} if fresh else {"WWW_Authenticate": "Bearer error=expired"}))

    there = peer(answer)
    token = Token("first", "second")
    with connect(there, credentials=token) as connection:
        connection.send("POST", there.url, Body()).close()
    assert token.challenges == ["Bearer error=expired"]
    assert [(request[2]["Content-Length"], request[3]) for request in there.requests] == [("6", b"abcdef")] * 2


def test_refused_credentials_are_not_tried_for_ever(peer: Any) -> None:
    there = peer(lambda handler: reply(handler, 401, WWW_Authenticate='Basic realm="x"'))
    with (
        connect(there, credentials=Token("first", "second")) as connection,
        pytest.raises(AuthenticationError) as caught,
    ):
        connection.get(there.url)
    assert caught.value.challenge == 'Basic realm="x"'
    assert len(there.requests) == 2


def test_other_servers_get_nothing(peer: Any) -> None:
    other = peer(lambda handler: reply(handler, 200, b"stolen"))
    there = peer(lambda handler: reply(handler, 302, Location=f"{other.url}/x?y"))
    with connect(there, credentials=Token()) as connection:
        with pytest.raises(RefusedError, match=r"sends us on to http://127\.0\.0\.1"):
            connection.get(there.url)
        with connection.translated(), pytest.raises(RefusedError):
            connection.session.get(there.url)  # as dicomweb-client does
        connection.get(f"{other.url}/direct").close()
    assert ["Authorization" in request[2] for request in other.requests] == [False]


def test_redirects_within_the_server_are_followed(peer: Any) -> None:
    def answer(handler: Any) -> None:
        if handler.path == "/there":
            reply(handler, 200, b"ok")
        else:
            reply(handler, 307, Location="/there")

    there = peer(answer)
    with connect(there, credentials=Token()) as connection, connection.get(f"{there.url}/here") as got:
        assert got.read(10) == b"ok"


def test_circles_end(peer: Any) -> None:
    there = peer(lambda handler: reply(handler, 307, Location="/again"))
    with connect(there) as connection, pytest.raises(RefusedError, match="circles"):
        connection.get(there.url)


def test_credentials_need_https_beyond_this_machine() -> None:
    server = Server("http://10.255.255.1/dicom-web", authentication=Authentication("basic", {"user": "anna"}))
    with Connection(server, credentials=Token("very-secret")) as connection:
        with pytest.raises(AuthenticationError, match="plain http") as caught:
            connection.get(server.url)
        assert "very-secret" not in str(caught.value)


def test_netrc_is_not_read(peer: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login anna password found-secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    there = peer(lambda handler: reply(handler, 200))
    assert requests.utils.get_netrc_auth(there.url) is not None, "requests itself would have sent this"
    with connect(there) as connection:
        connection.get(there.url).close()
    assert "Authorization" not in there.requests[0][2]


def test_the_host_keeps_its_port(peer: Any) -> None:
    from dicomweb_client.api import DICOMwebClient

    there = peer(lambda handler: reply(handler, 200, b"[]", Content_Type="application/dicom+json"))
    with connect(there) as connection:
        client = DICOMwebClient(there.url, session=connection.session)
        client.set_http_retry_params(retry=False)
        assert client.search_for_studies() == []
    assert there.requests[0][2]["Host"] == there.url.removeprefix("http://")


@pytest.mark.parametrize("sent", [False, True], ids=["first byte", "stalled"])
def test_cancel_interrupts_at_once(peer: Any, sent: bool) -> None:
    done = threading.Event()

    def hang(handler: Any) -> None:
        if sent:
            handler.send_response(200)
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(b"x" * 10)
        done.wait(10)
        handler.close_connection = True

    there = peer(hang)
    took = []
    for _ in range(5):
        cancel = Cancel()
        moments: list[float] = []

        def stop(cancel: Cancel = cancel, moments: list[float] = moments) -> None:
            moments.append(time.monotonic())
            cancel.cancel()

        timer = threading.Timer(0.3, stop)
        with connect(there, cancel=cancel, timeouts=Timeouts(5.0, 60.0)) as connection:
            timer.start()
            with pytest.raises(CancelledError):
                read_all(connection, there.url)
            took.append(time.monotonic() - moments[0])
        timer.join()
    done.set()
    assert min(took) < 0.2, "the machine may be busy, so that the best of a few counts"


def test_a_stalled_server_is_left(peer: Any) -> None:
    done = threading.Event()
    there = peer(lambda handler: (reply(handler, 200, b"x", Content_Length="10"), done.wait(5)))
    with (
        connect(there, timeouts=Timeouts(1.0, 0.2)) as connection,
        connection.get(there.url) as answer,
        pytest.raises(UnreachableError, match="stopped answering"),
    ):
        answer.read(100)
    done.set()


def test_nobody_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Connection(Server(url)) as connection, pytest.raises(UnreachableError, match=f"nothing listens at {url}"):
        connection.get(url)


def test_a_name_that_nobody_knows_is_told_at_once() -> None:
    server = Server("https://nowhere.invalid/dicom-web")
    begin = time.monotonic()
    with Connection(server) as connection, pytest.raises(UnreachableError, match="nobody knows the host"):
        connection.get(server.url)
    assert time.monotonic() - begin < 25, "dicomweb-client needs thirty seconds to give up"


def test_huge_headers_are_damage_or_loss(peer: Any) -> None:
    there = peer(lambda handler: reply(handler, 200, X="a" * (1 << 18)))
    with connect(there, retries=Retries(times=0)) as connection, pytest.raises((DamagedAnswerError, UnreachableError)):
        connection.get(there.url)


def test_requests_keep_their_pace(peer: Any) -> None:
    from dicombridge.web.profile import Profile

    there = peer(lambda handler: reply(handler, 200))
    server = Server(there.url, profile=Profile(requests_per_second=20.0))
    begin = time.monotonic()
    with Connection(server) as connection:
        for _ in range(6):
            connection.get(there.url).close()
    assert time.monotonic() - begin >= 0.25


def test_orthanc_answers(orthanc: Orthanc) -> None:
    server = Server(orthanc.url)
    with Connection(server) as connection, connection.get(f"{server.qido_root}/studies", encoding="gzip") as answer:
        assert answer.json() == []


def test_a_locked_orthanc_says_what_it_wants(locked_orthanc: Orthanc) -> None:
    server = Server(locked_orthanc.url)
    with Connection(server) as connection, pytest.raises(AuthenticationError, match="401, Basic") as caught:
        connection.get(f"{server.qido_root}/studies")
    assert caught.value.challenge.startswith("Basic realm=")
