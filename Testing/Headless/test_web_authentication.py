"""Ways in: what is sent, to whom, and what happens when it ends in the middle of a job."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.issuer import Issuer, Peer, start_issuer, start_peer
from support.signing_in import applied, asked, made, oidc

from dicombridge.errors import AuthenticationError, CancelledError, DicomBridgeError, RefusedError, UnreachableError
from dicombridge.web.authentication import WAYS, SignIn, credentials_for, sign_ins_told
from dicombridge.web.authentication.base import BoundCredentials, TokenCredentials
from dicombridge.web.authentication.oidc import OidcCredentials
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import Connection
from dicombridge.web.retrying import NEVER
from dicombridge.web.secrets import Secrets
from dicombridge.web.servers import KINDS, SECRETS, Authentication, Server


@pytest.fixture
def secrets() -> Secrets:
    return Secrets({})


@pytest.fixture
def open_peer() -> Iterator[Peer]:
    """A server that lets everybody in and keeps what it was sent."""
    with start_peer(lambda _asked: (200, [], {})) as peer:
        yield peer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with start_issuer() as one:
        yield one


def test_every_kind_has_a_way() -> None:
    assert set(WAYS) == set(KINDS)
    assert {name for way in WAYS.values() for name in way.secrets} - {"access_key"} == SECRETS
    for kind, way in WAYS.items():
        fields = dict.fromkeys(way.fields[: way.needed], "x")
        server = Server("https://healthcare.googleapis.com/v1", authentication=Authentication(kind, fields))
        if kind == "certificate":
            continue
        credentials = credentials_for(server, Secrets({}))
        assert (credentials is None) == (kind == "none"), kind
    assert credentials_for(Server("folder"), Secrets({})) is None


def test_basic(open_peer: Peer, secrets: Secrets) -> None:
    server = Server(open_peer.url, authentication=Authentication("basic", {"user": "J\u00fcrgen"}))
    credentials = made(server, secrets)
    with pytest.raises(AuthenticationError, match="password is missing") as caught:
        asked(server, credentials)
    assert caught.value.needs == ("password",)
    assert open_peer.asked == [], "nothing is sent without the password"
    secrets.set(server, "password", "pa:ss w\u00f6rd")
    asked(server, credentials)
    sent = base64.b64decode(open_peer.asked[0].authorization.removeprefix("Basic ")).decode()
    assert sent == "J\u00fcrgen:pa:ss w\u00f6rd"
    with pytest.raises(AuthenticationError, match="colon"):
        applied(made(server.changed(authentication=Authentication("basic", {"user": "a:b"})), secrets))
    with pytest.raises(AuthenticationError, match="'user'"):
        applied(made(server.changed(authentication=Authentication("basic")), secrets))


@pytest.mark.parametrize("kind", ["bearer", "kheops"])
def test_pasted_token(kind: str, open_peer: Peer, secrets: Secrets) -> None:
    server = Server(open_peer.url, authentication=Authentication(kind))
    credentials = made(server, secrets)
    with pytest.raises(AuthenticationError) as caught:
        asked(server, credentials)
    assert caught.value.needs == ("token",)
    secrets.set(server, "token", "abc.def")
    asked(server, credentials)
    assert open_peer.asked[0].authorization == "Bearer abc.def"
    assert not credentials.renew("Bearer")
    secrets.set(server, "token", "another")
    assert credentials.renew("Bearer"), "another was given meanwhile"


@pytest.mark.parametrize("text", ["ERROR: (gcloud.auth) there is no account", "a\r\nX-Evil: 1", "\u00e4", ""])
def test_what_is_no_token_is_not_sent(text: str, open_peer: Peer, secrets: Secrets) -> None:
    server = Server(open_peer.url, authentication=Authentication("bearer"))
    secrets.set(server, "token", text)
    with pytest.raises(AuthenticationError) as caught:
        asked(server, made(server, secrets))
    assert caught.value.needs == ("token",)
    assert open_peer.asked == []


def jwt(**claims: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in ({}, claims)]
    return ".".join([*parts, "c2ln"])


def test_a_token_that_ended_is_named_so(open_peer: Peer, secrets: Secrets) -> None:
    server = Server(open_peer.url, authentication=Authentication("bearer"))
    secrets.set(server, "token", jwt(exp=1_000_000_000))
    with pytest.raises(AuthenticationError, match="was good until 2001-09-0"):
        asked(server, made(server, secrets))
    for good in (jwt(exp=time.time() + 100), jwt(sub="x"), "a.b.c"):
        secrets.set(server, "token", good)
        assert applied(made(server, secrets)) == f"Bearer {good}"


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.org/studies",
        "https://pacs.example.org:8443/studies",
        "http://pacs.example.org/studies",
        "https://pacs.example.org.evil.org/studies",
        "https://pacs.example.org@evil.org/studies",
    ],
)
def test_credentials_are_for_one_place(url: str, secrets: Secrets) -> None:
    server = Server("https://pacs.example.org/rs", authentication=Authentication("bearer"))
    secrets.set(server, "token", "abc")
    credentials = made(server, secrets)
    assert applied(credentials, "https://PACS.example.org:443/rs/studies") == "Bearer abc"
    with pytest.raises(AuthenticationError, match="are not sent to"):
        applied(credentials, url)


def test_no_credentials_over_plain_http(secrets: Secrets) -> None:
    for url, fine in {
        "http://pacs.example.org/rs": False,
        "http://10.0.0.1/rs": False,
        "http://localhost.example.org/rs": False,
        "http://localhost:8042/rs": True,
        "http://[::1]:8042/rs": True,
    }.items():
        server = Server(url, authentication=Authentication("bearer"))
        secrets.set(server, "token", "abc")
        if fine:
            assert applied(made(server, secrets)) == "Bearer abc"
        else:
            with pytest.raises(AuthenticationError, match="plain http"):
                applied(made(server, secrets))


def test_client_credentials(secrets: Secrets) -> None:
    for methods in (("client_secret_basic",), ("client_secret_post",)):
        with start_issuer(client_secret="s e/c+ret", methods=methods) as issuer:
            server = oidc(issuer, grant="client_credentials", scope="dicom", audience="pacs")
            credentials = made(server, secrets)
            with pytest.raises(AuthenticationError) as caught:
                asked(server, credentials)
            assert caught.value.needs == ("client_secret",)
            secrets.set(server, "client_secret", "s e/c+ret")
            asked(server, credentials, times=3)
            assert issuer.grants() == ["client_credentials"], "one token for all requests"
            form = next(one for one in issuer.peer.asked if one.path == "/token").form
            assert (form["scope"], form["audience"]) == ("dicom", "pacs")
            assert ("client_secret" in form) == ("client_secret_post" in methods)


def test_device_flow(issuer: Issuer, secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OidcCredentials, "SLOWER", 0.01)
    issuer.pending = ["authorization_pending", "slow_down", "authorization_pending"]
    told: list[SignIn] = []
    server = oidc(issuer, scope="openid")
    credentials = made(server, secrets, sign_in=told.append)
    asked(server, credentials, times=2)
    assert told == [SignIn(f"{issuer.url}/go?user_code=ABCD-EFGH", "ABCD-EFGH", 60.0)]
    assert len(issuer.grants()) == 4
    # A token is refreshed without asking the person again, and with the newest refresh token each time.
    for number in (1, 2, 3):
        issuer.revoke()
        asked(server, credentials)
        assert issuer.grants().count("refresh_token") == number
    # Where refreshing is refused too, the person is asked again.
    issuer.revoke()
    issuer.refresh_tokens.clear()
    asked(server, credentials)
    assert len(told) == 2
    assert len(issuer.refresh_tokens) == 1
    # What renews the token is remembered: other credentials of the same server need nobody.
    asked(server, made(server, secrets))
    assert len(told) == 2


def test_sign_in_is_told_to_whoever_asked_for_it(issuer: Issuer, secrets: Secrets) -> None:
    server = oidc(issuer)
    told: list[SignIn] = []
    with sign_ins_told(told.append):
        credentials = made(server, secrets)
    asked(server, credentials)
    assert [one.code for one in told] == ["ABCD-EFGH"]


def test_nobody_to_sign_in(issuer: Issuer, secrets: Secrets) -> None:
    server = oidc(issuer)
    with pytest.raises(AuthenticationError, match="has to sign in") as caught:
        asked(server, made(server, secrets))
    assert caught.value.needs == ("sign-in",)
    assert issuer.peer.asked == [], "no code is asked for that nobody would see"


@pytest.mark.parametrize(
    ("error", "text"), [("access_denied", "was refused"), ("expired_token", "in time"), ("invalid_client", "no token")]
)
def test_signing_in_that_fails(error: str, text: str, issuer: Issuer, secrets: Secrets) -> None:
    issuer.pending = ["authorization_pending", error]
    server = oidc(issuer)
    with pytest.raises(AuthenticationError, match=text):
        asked(server, made(server, secrets, sign_in=lambda _told: None))
    assert len(issuer.grants()) == 2


def test_cancel_while_somebody_signs_in(issuer: Issuer, secrets: Secrets) -> None:
    issuer.pending = ["authorization_pending"] * 10_000
    server = oidc(issuer)
    cancel = Cancel()
    credentials = made(server, secrets, cancel=cancel, sign_in=lambda _told: timer.start())
    timer = threading.Timer(0.1, cancel.cancel)
    with pytest.raises(CancelledError):
        asked(server, credentials)
    timer.join()
    assert len(issuer.given) == 0


def test_cancel_while_the_issuer_is_silent(secrets: Secrets) -> None:
    silence = threading.Event()

    def wait(_asked: Any) -> Any:
        silence.wait(10)
        return 200, {}, {}

    with start_peer(wait) as peer:
        server = Server(
            "https://pacs.example.org",
            authentication=Authentication("oidc", {"client_id": "a", "issuer": peer.url, "grant": "device"}),
        )
        cancel = Cancel()
        credentials = made(server, secrets, cancel=cancel, sign_in=lambda _told: None)
        moments: list[float] = []
        timer = threading.Timer(0.2, lambda: (moments.append(time.monotonic()), cancel.cancel()))
        timer.start()
        with pytest.raises(CancelledError):
            applied(credentials)
        assert time.monotonic() - moments[0] < 5.0, "far from the time-out"
        silence.set()
        timer.join()


@pytest.mark.parametrize("grant", ["client_credentials", "device"])
def test_tokens_end_in_the_middle_of_a_job(grant: str, secrets: Secrets) -> None:
    """Each token is good for seven requests; the job of sixty sees none of it."""
    with start_issuer(uses=7, client_secret="geheim") as issuer:
        server = oidc(issuer, grant=grant)
        secrets.set(server, "client_secret", "geheim")
        told: list[SignIn] = []
        asked(server, made(server, secrets, sign_in=told.append), times=60)
        checks = [one for one in issuer.peer.asked if one.path.startswith("/check")]
        assert len(issuer.given) == 9
        assert len(checks) == 60 + 8
        assert len(told) == (grant == "device")


def test_threads_share_a_token(issuer: Issuer, secrets: Secrets) -> None:
    issuer.client_secret = "geheim"
    server = oidc(issuer, grant="client_credentials")
    secrets.set(server, "client_secret", "geheim")
    credentials = made(server, secrets)
    start = threading.Barrier(8)

    def work(_number: int) -> None:
        with Connection(server, credentials, retries=NEVER) as connection:
            for turn in range(3):
                start.wait(30)
                connection.get(server.url).close()
                if start.wait(30) == 0 and turn < 2:
                    issuer.revoke()
                start.wait(30)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(issuer.given) == 3, "one for each time that the token was revoked, not one a thread"


def test_tokens_are_renewed_before_they_end(issuer: Issuer, secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(TokenCredentials, "clock", staticmethod(lambda: now[0]))
    issuer.client_secret, issuer.expires_in = "geheim", 600
    server = oidc(issuer, grant="client_credentials")
    secrets.set(server, "client_secret", "geheim")
    credentials = made(server, secrets)
    tokens = set()
    for seconds in (0, 500, 539, 541, 600, 1082):
        now[0] = 1000.0 + seconds
        tokens.add(applied(credentials))
        assert len(tokens) == 1 + (seconds > 540) + (seconds > 1081), seconds


def test_an_issuer_that_is_away_for_a_while(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(TokenCredentials, "clock", staticmethod(lambda: now[0]))
    with start_issuer(client_secret="geheim", expires_in=600) as issuer:
        server = oidc(issuer, grant="client_credentials")
        secrets.set(server, "client_secret", "geheim")
        credentials = made(server, secrets)
        first = applied(credentials)
    now[0] += 590
    assert applied(credentials) == first, "it is good for ten seconds yet"
    now[0] += 10
    with pytest.raises(UnreachableError):
        applied(credentials)


def test_a_server_that_refuses_every_token_is_asked_twice(issuer: Issuer, secrets: Secrets) -> None:
    issuer.client_secret, issuer.uses = "geheim", 0
    server = oidc(issuer, grant="client_credentials")
    secrets.set(server, "client_secret", "geheim")
    with pytest.raises(AuthenticationError, match="does not accept"):
        asked(server, made(server, secrets))
    assert len(issuer.given) == 2


@pytest.mark.parametrize(
    ("broken", "error", "text"),
    [
        ((500, b"<html>", {}), AuthenticationError, "gives no token: 500"),
        ((200, {"access_token": 5}, {}), AuthenticationError, "no bearer token"),
        ((200, {"access_token": "a", "token_type": "mac"}, {}), AuthenticationError, "no bearer token"),
        ((200, b" " * (2 << 20), {}), AuthenticationError, "no bearer token"),
        ((302, {}, {"Location": "http://127.0.0.1:1/"}), RefusedError, "sends us on"),
        ((200, b"\xff", {}), AuthenticationError, "no bearer token"),
    ],
)
def test_broken_issuers(broken: Any, error: Any, text: str, issuer: Issuer, secrets: Secrets) -> None:
    issuer.client_secret, issuer.broken = "geheim", broken
    server = oidc(issuer, grant="client_credentials")
    secrets.set(server, "client_secret", "geheim")
    with pytest.raises(error, match=text):
        asked(server, made(server, secrets))
    assert all("geheim" not in str(one) for one in issuer.peer.asked if one.path != "/token")


def test_issuers_that_are_none(secrets: Secrets) -> None:
    fields = {"client_id": "a", "grant": "client_credentials"}

    def of(**more: str) -> BoundCredentials:
        server = Server("https://pacs.example.org", authentication=Authentication("oidc", {**fields, **more}))
        secrets.set(server, "client_secret", "geheim")
        return made(server, secrets)

    with pytest.raises(AuthenticationError, match="over plain http"):
        applied(of(issuer="http://issuer.example.org"))
    with pytest.raises(AuthenticationError, match="over plain http"):
        applied(of(token_endpoint="http://issuer.example.org/token"))
    with pytest.raises(AuthenticationError, match="'issuer'"):
        applied(of())
    with pytest.raises(AuthenticationError, match="'implicit'"):
        of(issuer="https://issuer.example.org", grant="implicit")
    with pytest.raises(UnreachableError, match="where one signs in"):
        applied(of(issuer="http://127.0.0.1:1"))
    with start_issuer(issuer="https://evil.example.org") as issuer, pytest.raises(AuthenticationError, match="itself"):
        applied(of(issuer=issuer.url))
    with (
        start_peer(lambda _asked: (404, {}, {})) as peer,
        pytest.raises(AuthenticationError, match=r"no OpenID Connect issuer \(404\)"),
    ):
        applied(of(issuer=peer.url))


def test_secrets_are_no_fields() -> None:
    for name in sorted(SECRETS):
        with pytest.raises(DicomBridgeError, match=f"'{name}' is a secret") as caught:
            Authentication("bearer", {name: "abcdef"})
        assert "abcdef" not in str(caught.value)
    with pytest.raises(DicomBridgeError, match="is a secret") as caught:
        Server("https://example.org", headers={"authorization": "Bearer abcdef"})
    assert "abcdef" not in str(caught.value)
    with pytest.raises(DicomBridgeError, match="root address") as caught:
        Server("https://example.org/rs?access_token=abcdef")
    assert "abcdef" not in str(caught.value)
