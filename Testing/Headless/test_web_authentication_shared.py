"""Several connections to one server that people sign in to: they share tokens, and leave each other's alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.issuer import Issuer, start_issuer
from support.signing_in import applied, asked, made, oidc

from dicombridge.web.authentication import SignIn
from dicombridge.web.authentication.base import TokenCredentials
from dicombridge.web.secrets import Secret, Secrets
from dicombridge.web.servers import Authentication, Server


@pytest.fixture
def secrets() -> Secrets:
    return Secrets({})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with start_issuer() as one:
        yield one


def test_one_sign_in_for_many_searches(issuer: Issuer, secrets: Secrets) -> None:
    """An issuer without refresh tokens: every connection has credentials of its own, and all use one token."""
    issuer.refreshes = False
    server = oidc(issuer)
    told: list[SignIn] = []
    for _ in range(3):
        asked(server, made(server, secrets, sign_in=told.append))
    assert (len(told), len(issuer.given)) == (1, 1)
    # What the server refuses is forgotten for all.
    issuer.revoke()
    for _ in range(2):
        asked(server, made(server, secrets, sign_in=told.append))
    assert (len(told), len(issuer.given)) == (2, 2)
    checks = [one for one in issuer.peer.asked if one.path.startswith("/check")]
    assert len(checks) == 3 + 3, "only the first after the refusal sends the refused token"


def test_whose_token_is_shared(issuer: Issuer, secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(TokenCredentials, "clock", staticmethod(lambda: now[0]))
    issuer.client_secret, issuer.expires_in = "geheim", 600
    server = oidc(issuer, grant="client_credentials")
    secrets.set(server, "client_secret", "geheim")

    def token(of: Server = server, known: Secrets = secrets) -> str:
        return applied(made(of, known))

    first = token()
    assert token(server.changed(name="The same under another name")) == first
    others = [oidc(issuer, grant="client_credentials", scope="more"), server.changed(url="https://pacs.example.org")]
    for other in others:
        secrets.set(other, "client_secret", "geheim")
        assert token(other) != token(), "another scope, another place"
    stranger = Secrets({})
    stranger.set(server, "client_secret", "geheim")
    assert token(server, stranger) != token()
    held = token()
    now[0] += 541
    later = token()
    assert later != held, "it ends soon"
    for change in (
        lambda: secrets.set(server, "client_secret", "geheim"),
        lambda: (secrets.forget(server, "client_secret"), secrets.set(server, "client_secret", "geheim")),
        lambda: (secrets.forget_all(), secrets.set(server, "client_secret", "geheim")),
    ):
        change()
        assert token() != later, "another secret, another token"
        later = token()


def test_a_refused_token_is_dropped_only_where_it_is_the_shared_one(issuer: Issuer, secrets: Secrets) -> None:
    server = oidc(issuer)
    told: list[SignIn] = []
    first, second = (made(server, secrets, sign_in=told.append) for _ in range(2))
    assert applied(first) == applied(second)
    issuer.revoke()
    asked(server, first)
    renewed = applied(made(server, secrets))
    asked(server, second)
    assert applied(second) != renewed, "the second had the refused one, and fetched its own"
    assert applied(made(server, secrets)) == applied(second)
    old = secrets.shared_token(server)
    assert old is not None
    secrets.drop_token(server, Secret("another"))
    assert secrets.shared_token(server) == old
    secrets.drop_token(server, old.value)
    assert secrets.shared_token(server) is None
    assert len(told) == 1


@pytest.mark.parametrize("remember", ["", "keychain"])
def test_refresh_tokens_that_change_with_each_use(
    remember: str, issuer: Issuer, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two connections take turns; neither uses, or throws away, what the other has just got."""
    kept = keychain(monkeypatch)
    server = oidc(issuer, **({"remember": remember} if remember else {}))
    told: list[SignIn] = []
    first, second = (made(server, secrets, sign_in=told.append) for _ in range(2))
    for one in (first, second, first, second, second, first):
        issuer.revoke()
        asked(server, one)
        stored = secrets.get(server, "refresh_token")
        assert stored is not None
        assert issuer.refresh_tokens == {stored.reveal()}
        assert list(kept.values()) == ([stored.reveal()] if remember else [])
    assert len(told) == 1
    assert issuer.grants().count("refresh_token") == 5, "none of them was refused"


def test_another_process_used_the_refresh_token(
    issuer: Issuer, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keychain(monkeypatch)
    server = oidc(issuer, remember="keychain")
    told: list[SignIn] = []
    ours = made(server, secrets, sign_in=told.append)
    asked(server, ours)
    theirs = Secrets({})
    asked(server, made(server, theirs))
    issuer.revoke()
    asked(server, ours)
    assert (len(told), issuer.grants()[-3:]) == (1, ["refresh_token"] * 3), "theirs, our old one, then theirs again"
    assert set(kept.values()) == issuer.refresh_tokens
    # Where that one is refused too, it is forgotten, and the person is asked.
    theirs.set(server, "refresh_token", "no good", keep=True)
    issuer.revoke()
    issuer.refresh_tokens.clear()
    asked(server, ours)
    assert len(told) == 2
    assert set(kept.values()) == issuer.refresh_tokens


def test_only_the_refused_secret_is_dropped(secrets: Secrets, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keychain(monkeypatch)
    server = Server("https://pacs.example.org", authentication=Authentication("oidc", {"client_id": "a"}))
    secrets.set(server, "refresh_token", "second", keep=True)
    assert secrets.drop(server, "refresh_token", Secret("first")) == Secret("second")
    assert list(kept.values()) == ["second"]
    assert secrets.drop(server, "refresh_token", Secret("second")) is None
    assert kept == {}
    assert secrets.get(server, "refresh_token") is None


def keychain(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Put a keychain in memory where that of the operating system is looked for; return what is in it."""
    kept: dict[str, str] = {}

    class Keychain:
        @staticmethod
        def get_password(_service: str, name: str) -> str | None:
            return kept.get(name)

        @staticmethod
        def set_password(_service: str, name: str, value: str) -> None:
            kept[name] = value

        @staticmethod
        def delete_password(_service: str, name: str) -> None:
            del kept[name]

    monkeypatch.setattr("dicombridge.web.secrets._keyring", lambda: Keychain)
    return kept
