"""Secrets: where they are looked for, whose they are, and all the places where they must not show."""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import pickle
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.errors
import pytest
import requests
from support.issuer import start_issuer, start_peer

from dicombridge.errors import DicomBridgeError, UnsupportedError, WebError
from dicombridge.web import secrets as web_secrets
from dicombridge.web.authentication import credentials_for
from dicombridge.web.connection import Connection
from dicombridge.web.retrying import NEVER
from dicombridge.web.saved import SavedServers, SettingsFile
from dicombridge.web.secrets import Secret, Secrets, hidden, read_secret
from dicombridge.web.servers import Authentication, Server

SERVER = Server("https://pacs.example.org/rs", authentication=Authentication("basic", {"user": "anna"}))


class Keychain(keyring.backend.KeyringBackend):
    """A keychain in memory."""

    priority = -9  # type: ignore[assignment]  # nobody else's choice

    def __init__(self, priority: float = 9.0) -> None:
        super().__init__()
        self.priority = priority
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class Locked(Keychain):
    """One that refuses, and repeats what it was given."""

    def get_password(self, service: str, username: str) -> str | None:
        raise keyring.errors.KeyringLocked(f"locked: {service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise keyring.errors.PasswordSetError(f"cannot keep {password}")


@pytest.fixture
def keychain() -> Iterator[Callable[[keyring.backend.KeyringBackend], Any]]:
    before = keyring.get_keyring()

    def use(backend: keyring.backend.KeyringBackend) -> Any:
        keyring.set_keyring(backend)
        return backend

    use(keyring.backends.fail.Keyring())
    yield use
    keyring.set_keyring(before)


def value_of(secrets: Secrets, server: Server = SERVER, field: str = "password") -> str | None:
    found = secrets.get(server, field)
    return found.reveal() if found else None


def with_fields(kind: str, **fields: str) -> Server:
    return SERVER.changed(authentication=Authentication(kind, fields))


def test_a_secret_belongs_to_one_place() -> None:
    secrets = Secrets({})
    secrets.set(SERVER, "password", "first")
    same = [SERVER.changed(name="renamed"), SERVER.changed(url="https://PACS.example.org:443/other")]
    assert [value_of(secrets, one) for one in same] == ["first", "first"]
    others = [
        SERVER.changed(url="https://pacs.example.org:8443/rs"),
        SERVER.changed(url="http://pacs.example.org/rs"),
        SERVER.changed(url="https://pacs.example.org.evil.org/rs"),
        SERVER.changed(stow="https://store.example.org/rs"),
        with_fields("basic", user="bert"),
        with_fields("bearer"),
    ]
    assert [value_of(secrets, one) for one in others] == [None] * len(others)
    assert value_of(secrets, field="token") is None
    # A refresh token goes to the issuer: another issuer must not get it.
    secrets.set(with_fields("oidc", issuer="https://a.example.org", client_id="x"), "refresh_token", "r")
    assert (
        value_of(secrets, with_fields("oidc", issuer="https://b.example.org", client_id="x"), "refresh_token") is None
    )
    secrets.forget(SERVER, "password")
    assert value_of(secrets) is None


def test_places_cannot_be_made_to_look_alike() -> None:
    secrets = Secrets({})
    secrets.set(
        with_fields("oidc", client_id="x client_secret=y", issuer="https://a.example.org"), "client_secret", "1"
    )
    other = with_fields("oidc", client_id="x", issuer="https://a.example.org client_secret=y")
    assert value_of(secrets, other, "client_secret") is None


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://pacs.example.org", "from outside"),
        ("https://pacs.example.org:443/whatever", "from outside"),
        ("https://other.example.org", None),
        ("http://pacs.example.org", None),
        ("pacs.example.org", None),
        ("", None),
    ],
)
def test_environment(address: str, found: str | None) -> None:
    single = {"DICOMBRIDGE_SERVER": address, "DICOMBRIDGE_PASSWORD": "from outside"}
    assert value_of(Secrets(single)) == found
    several = {"DICOMBRIDGE_SECRETS": json.dumps({address: {"password": "from outside"}, "https://x.org": {}})}
    assert value_of(Secrets(several)) == found
    assert value_of(Secrets({"DICOMBRIDGE_PASSWORD": "from outside"})) is None, "it must say for whom"
    given = Secrets(single)
    given.set(SERVER, "password", "typed in")
    assert value_of(given) == "typed in"
    elsewhere = SERVER.changed(wado="https://images.example.org/rs")
    assert value_of(Secrets(single), elsewhere) is None, "a part of this server is somewhere else"


def test_damaged_environment() -> None:
    for text in ("not json: s3cret-Value", '["s3cret-Value"]', '{"s3cret-Value'):
        with pytest.raises(DicomBridgeError, match="DICOMBRIDGE_SECRETS") as caught:
            value_of(Secrets({"DICOMBRIDGE_SECRETS": text}))
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_standard_input() -> None:
    stream = io.StringIO("pa ss w\u00f6rd \nnext\n")
    assert read_secret(stream).reveal() == "pa ss w\u00f6rd "
    assert stream.readline() == "next\n"
    with pytest.raises(DicomBridgeError, match="No secret"):
        read_secret(io.StringIO(""))


def test_keychain(keychain: Callable[..., Any]) -> None:
    backend = keychain(Keychain())
    first = Secrets({})
    first.set(SERVER, "password", "in memory")
    assert backend.kept == {}, "nothing is kept unless somebody asks for it"
    first.set(SERVER, "password", "for long", keep=True)
    assert list(backend.kept.values()) == ["for long"]
    assert first.kept(SERVER, "password")
    later = Secrets({})
    assert value_of(later) == "for long"
    assert value_of(later, with_fields("basic", user="bert")) is None
    assert value_of(later, SERVER.changed(url="https://evil.example.org/rs")) is None
    later.forget(SERVER, "password")
    assert backend.kept == {}
    assert value_of(later) is None
    assert value_of(Secrets({})) is None


def test_keychain_is_asked_once(keychain: Callable[..., Any]) -> None:
    backend = keychain(Keychain())
    asked: list[str] = []
    original = backend.get_password
    backend.get_password = lambda service, name: (asked.append(name), original(service, name))[1]
    secrets = Secrets({})
    for _ in range(5):
        assert value_of(secrets) is None
    assert len(asked) == 1
    secrets.set(SERVER, "password", "given now")
    assert value_of(secrets) == "given now"


@pytest.mark.parametrize("backend", [keyring.backends.fail.Keyring, lambda: Keychain(0.5)], ids=["none", "plain text"])
def test_no_keychain_worth_the_name(backend: Any, keychain: Callable[..., Any]) -> None:
    """keyring gives less than 1 to those that write files that everybody can read."""
    used = keychain(backend())
    secrets = Secrets({})
    with pytest.raises(UnsupportedError, match=r"dicombridge\[keychain\]"):
        secrets.set(SERVER, "password", "s3cret-Value", keep=True)
    assert value_of(secrets) == "s3cret-Value", "in memory all the same"
    assert not getattr(used, "kept", {})
    secrets.forget(SERVER, "password")


def test_without_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    secrets = Secrets({})
    assert value_of(secrets) is None
    with pytest.raises(UnsupportedError, match=r"dicombridge\[keychain\]"):
        secrets.set(SERVER, "password", "x", keep=True)


def test_a_keychain_that_refuses(keychain: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    keychain(Locked())
    secrets = Secrets({})
    assert value_of(secrets) is None
    assert "KeyringLocked" in caplog.text
    value = "-".join(["s3cret", "Value"])  # a traceback shows lines of this file
    with pytest.raises(UnsupportedError, match="PasswordSetError") as caught:
        secrets.set(SERVER, "password", value, keep=True)
    assert value not in "".join(traceback.format_exception(caught.value))


def test_secrets_do_not_show() -> None:
    secret = Secret("s3cret-Value")
    holder = {"key": [secret]}
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!s:>30}", f"{holder}"]
    assert all("s3cret" not in one for one in shown)
    for write in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match="not written anywhere"):
            write(secret)  # type: ignore[operator]
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert Secret("s3cret-Value") == secret
    assert Secret("other") != secret
    assert not Secret("")


def test_hidden() -> None:
    for forgotten in (0, 1):
        keep_two = [Secret("twice"), Secret("twice")]
        del keep_two[forgotten]
        assert hidden("once twice") == "once (secret)"
    held = [Secret("pa ss/w\u00f6rd"), Secret("pa ss"), Secret("abc")]
    texts = [
        "pa ss/w\u00f6rd",
        "pa%20ss%2Fw%C3%B6rd",
        "pa%20ss/w%C3%B6rd",
        '{"a": "pa ss/w\\u00f6rd"}',
        "cGEgc3Mvd8O2cmQ=",
    ]
    assert [hidden(f"<{text}>") for text in texts] == [
        *["<(secret)>"] * 3,
        '<{"a": "(secret)"}>',
        "<(secret)>",
    ]
    assert hidden("abc pa ss") == "abc (secret)", "three letters are in too many words"
    del held
    assert hidden("pa ss") == "pa ss", "what nobody holds any more is not known"


MARKS = ["s3cret-Password", "s3cret-Token", "s3cret-Client", "s3cret-Refresh", "s3cret-Key", "s3cret-Session"]


class Scenario:
    """A server that repeats whatever it gets, and one set of secrets for every kind."""

    def __init__(self, url: str, issuer: str, kind: str) -> None:
        fields = {
            "basic": {"user": "anna"},
            "oidc": {"issuer": issuer, "client_id": "viewer", "grant": "device"},
            "oidc-client": {"issuer": issuer, "client_id": "viewer", "grant": "client_credentials"},
            "sigv4": {"region": "us-east-1", "access_key": "AKIDEXAMPLE"},
            "google": {},
        }
        self.secrets = Secrets({})
        authentication = Authentication(kind.partition("-")[0], fields.get(kind, {}))
        self.server = Server(url, name=kind, authentication=authentication)
        google = {"type": "service_account", "private_key": "s3cret-Key", "client_email": "a", "token_uri": issuer}
        given = {
            "password": "s3cret-Password",
            "token": "s3cret-Token",
            "client_secret": "s3cret-Client",
            "refresh_token": "s3cret-Refresh",
            "secret_key": "s3cret-Key",
            "session_token": "s3cret-Session",
            "service_account": json.dumps(google),
            "passphrase": "s3cret-Password",
        }
        for field, value in given.items():
            self.secrets.set(self.server, field, value)


def told_by(error: BaseException) -> Iterator[str]:
    """All texts of an error and of those behind it, also of those that are not shown."""
    yield "".join(traceback.format_exception(error))
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        yield f"{one} {one!r} {one.args} {getattr(one, 'details', '')} {getattr(one, 'challenge', '')}"
        waiting += [one.__cause__, one.__context__]


def coded(mark: str) -> list[str]:
    """A secret as it may appear: as it is, and within base64 at any of the three places."""
    import base64

    inner = [base64.b64encode(b"x" * shift + mark.encode())[4 if shift else 0 : -4].decode() for shift in (0, 1, 2)]
    return [mark, *inner]


KINDS = ["basic", "bearer", "kheops", "oidc", "oidc-client", "sigv4", "google"]


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_are_nowhere_to_be_found(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], scene: Any
) -> None:
    """Errors of all sorts are provoked; then every place is searched where a secret might have got to."""
    caplog.set_level(logging.DEBUG)
    places: list[str] = []

    def echo(asked: Any) -> Any:
        text = f"{asked.headers} {asked.body!r}"
        status = 401 if "refuse" in asked.path else 500
        flat = text.replace("\r", "").replace("\n", "")
        if asked.path == "/.well-known/openid-configuration":
            where = {name: f"{peer.url}/token" for name in ("token_endpoint", "device_authorization_endpoint")}
            return 200, {"issuer": peer.url, **where}, {}
        if asked.path == "/token":
            return 400, {"error": f"invalid {text}", "error_description": text}, {}
        return status, text.encode(), {"WWW-Authenticate": f"Bearer {flat.encode('ascii', 'replace').decode()}"}

    sent: list[str] = []
    with start_peer(echo) as peer, start_issuer(client_secret="s3cret-Client") as issuer:
        issuer.refresh_tokens.add("s3cret-Refresh")
        for other in (peer.url, issuer.url, "http://127.0.0.1:1"):
            scenario = Scenario(peer.url, other, kind)
            server, secrets = scenario.server, scenario.secrets
            credentials = credentials_for(server, secrets)
            assert credentials is not None
            with Connection(server, credentials, retries=NEVER) as connection:
                for path in ("studies", "refuse"):
                    with pytest.raises(WebError) as caught:
                        connection.get(f"{server.url}/{path}")
                    places += told_by(caught.value)
                with pytest.raises(WebError) as caught:
                    connection.send("POST", f"{server.url}/studies", b"abc")
                places += told_by(caught.value)
                request = requests.Request("GET", "https://elsewhere.example.org/").prepare()
                with pytest.raises(WebError) as caught:
                    credentials.apply(request)
                places += [*told_by(caught.value), str(dict(request.headers))]
                places += [repr(one) for one in (credentials, connection, connection.session, secrets, server)]
                places += [repr(vars(credentials)), repr(vars(credentials.context)), repr(vars(secrets))]
            saved = SavedServers(SettingsFile(tmp_path / "servers.json"))
            saved.save(server)
            saved.export(tmp_path / "exported.json")
            attribute = json.dumps(server.to_json())
            scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode").SetAttribute("Server", attribute)
        sent = [f"{one.headers} {one.body!r}" for one in (*peer.asked, *issuer.peer.asked)]
    scene.SetURL(str(tmp_path / "scene.mrml"))
    assert scene.Commit()
    places += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    places += [caplog.text, *(str(vars(record)) for record in caplog.records), *capfd.readouterr()]
    places += [" ".join(sys.argv), command_lines()]
    forms = [form for mark in MARKS for form in coded(mark)]
    assert any(form in one for one in sent for form in forms) == (kind != "google"), "they are in use"
    for form in forms:
        found = [place for place in places if form in place]
        assert found == [], form


def command_lines() -> str:
    """Command lines and environments of this process and its children."""
    folder = Path("/proc")
    if not folder.is_dir():
        return ""
    texts = []
    for one in folder.glob("[0-9]*"):
        try:
            if one.name == str(os.getpid()) or f"PPid:\t{os.getpid()}\n" in (one / "status").read_text():
                texts.append((one / "cmdline").read_text(errors="replace"))
        except OSError:
            continue
    return " ".join(texts)


def test_the_search_finds_what_is_there() -> None:
    """The test above could not fail if it looked in the wrong places."""
    try:
        try:
            raise ValueError("Bearer s3cret-Token")
        except ValueError:
            raise WebError("no") from None
    except WebError as error:
        places = list(told_by(error))
    assert any("s3cret-Token" in place for place in places)
    headers = requests.Request("GET", "http://x/", auth=("anna", "s3cret-Password")).prepare().headers
    assert any(form in headers["Authorization"] for form in coded("s3cret-Password"))


def test_settings_are_the_owners_alone(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path / "folder" / "servers.json")
    SavedServers(file).save(SERVER.changed(name="pacs"))
    assert stat.S_IMODE(file.path.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR


def test_the_process_has_one_set_of_secrets() -> None:
    web_secrets.set_secret(SERVER, "password", "s3cret-Value")
    found = web_secrets.get_secret(SERVER, "password")
    assert found is not None
    assert found.reveal() == "s3cret-Value"
    credentials = credentials_for(SERVER)
    assert credentials is not None
    request = requests.Request("GET", SERVER.url).prepare()
    credentials.apply(request)
    assert request.headers["Authorization"].startswith("Basic ")
    web_secrets.forget_secret(SERVER, "password")
    assert web_secrets.get_secret(SERVER, "password") is None
