"""Google: the command line tool (a fake one), google-auth (a local token service), and lists of stores."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.issuer import Issuer, start_issuer, start_peer

from dicombridge.errors import AuthenticationError, CancelledError, DicomBridgeError, UnreachableError, WebError
from dicombridge.web import google
from dicombridge.web.authentication import credentials_for
from dicombridge.web.authentication.gcloud import run_gcloud
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import Connection
from dicombridge.web.google import GoogleCloudPlatform
from dicombridge.web.saved import SavedServers, SettingsFile
from dicombridge.web.secrets import Secrets
from dicombridge.web.servers import Authentication, Server

# Keeps its arguments and environment, and answers the few questions that are asked.
TOOL = """#!{python}
import json, os, sys, time
words = sys.argv[1:]
folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(json.dumps([words, dict(os.environ), sys.stdin.read()]) + "\\n")
text = " ".join(words)
if os.path.exists(os.path.join(folder, "fails")):
    print("ERROR: (gcloud) account anna@example.org has token ya29.from-before", file=sys.stderr)
    print("not-a-token")
    sys.exit(1)
if os.path.exists(os.path.join(folder, "sleeps")):
    time.sleep(30)
number = sum(1 for _ in open(os.path.join(folder, "calls")))
if "print-access-token" in words:
    print(f"ya29.token-{{number}}")
elif "projects list" in text:
    print("beta\\nalpha\\n")
elif "datasets list" in text:
    print("brains\\teurope-west2\\nhearts\\tus-central1\\n")
elif "dicom-stores list" in text:
    print("projects/alpha/locations/europe-west2/datasets/brains/dicomStores/first\\nsecond\\n")
"""


class Tool:
    """The fake command line tool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        path = folder / "gcloud"
        path.write_text(TOOL.format(python=sys.executable))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self) -> list[tuple[list[str], dict[str, str], str]]:
        path = self.folder / "calls"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    one = Tool(tmp_path / "sdk bin")
    monkeypatch.setenv("PATH", f"{one.folder}{os.pathsep}{os.environ['PATH']}")
    return one


@pytest.fixture
def no_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("dicombridge.web.authentication.gcloud.ELSEWHERE", ())
    monkeypatch.delenv("CLOUDSDK_ROOT_DIR", raising=False)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def token_service(key: rsa.RSAPrivateKey) -> Iterator[Issuer]:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    with start_issuer(public_key=public) as one:
        yield one


def account(key: rsa.RSAPrivateKey, service: Issuer) -> str:
    """The JSON key of a made up service account."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "alpha",
            "private_key_id": "1",
            "private_key": private.decode(),
            "client_email": "robot@alpha.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{service.url}/token",
        }
    )


def header(server: Server, secrets: Secrets | None = None, cancel: Cancel | None = None) -> str:
    credentials = credentials_for(server, secrets or Secrets({}), cancel)
    assert credentials is not None
    request = requests.Request("GET", server.url).prepare()
    credentials.apply(request)
    return str(request.headers["Authorization"])


GCLOUD = Server("https://healthcare.googleapis.com/v1/x/dicomWeb", authentication=Authentication("gcloud"))
GOOGLE = GCLOUD.changed(authentication=Authentication("google"))


def test_token_of_the_tool(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nonexistent/slicer")
    monkeypatch.setenv("DICOMBRIDGE_PASSWORD", "s3cret")
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nonexistent/kept")
    assert header(GCLOUD) == "Bearer ya29.token-1"
    words, environment, stdin = tool.calls[0]
    assert words == ["auth", "print-access-token"]
    assert "PYTHONHOME" not in environment, "Slicer's Python is not the tool's"
    assert "DICOMBRIDGE_PASSWORD" not in environment
    assert environment["CLOUDSDK_CONFIG"] == "/nonexistent/kept"
    assert environment["CLOUDSDK_CORE_DISABLE_PROMPTS"] == "1"
    assert stdin == "", "it cannot wait for an answer"
    header(GCLOUD.changed(authentication=Authentication("gcloud", {"account": "anna@example.org"})))
    assert tool.calls[1][0] == ["auth", "print-access-token", "--account=anna@example.org"]


def test_tokens_of_the_tool_are_fetched_again(tool: Tool) -> None:
    """One token for many requests; a new one when the server refuses it."""
    seen = []

    def answer(asked: Any) -> Any:
        seen.append(asked.authorization)
        return (401, {}, {}) if len(seen) == 3 else (200, [], {})

    with start_peer(answer) as peer:
        server = Server(peer.url, authentication=Authentication("gcloud"))
        with Connection(server) as connection:
            for _ in range(4):
                connection.get(peer.url).close()
    assert seen == [f"Bearer ya29.token-{number}" for number in (1, 1, 1, 2, 2)]


def test_the_tools_failure_is_no_token(tool: Tool) -> None:
    (tool.folder / "fails").touch()
    with pytest.raises(AuthenticationError, match="Are you signed in") as caught:
        header(GCLOUD)
    assert caught.value.needs == ("sign-in",)
    assert "anna@example.org" in caught.value.details
    with pytest.raises(WebError):
        GoogleCloudPlatform().token()


def test_no_tool(no_tool: None) -> None:
    with pytest.raises(AuthenticationError, match="'gcloud' is not installed"):
        header(GCLOUD)


def test_the_tool_is_found_where_installers_put_it(no_tool: None, tmp_path: Path, monkeypatch: Any) -> None:
    tool = Tool(tmp_path / "elsewhere")
    monkeypatch.setattr("dicombridge.web.authentication.gcloud.ELSEWHERE", (str(tool.folder),))
    assert header(GCLOUD) == "Bearer ya29.token-1"


@pytest.mark.parametrize("how", ["cancel", "time"])
def test_a_silent_tool_is_ended(how: str, tool: Tool) -> None:
    (tool.folder / "sleeps").touch()
    cancel = Cancel()
    timer = threading.Timer(0.3, cancel.cancel)
    start = time.monotonic()
    if how == "cancel":
        timer.start()
        with pytest.raises(CancelledError):
            run_gcloud(["projects", "list"], cancel)
        timer.join()
    else:
        with pytest.raises(WebError, match="did not answer"):
            run_gcloud(["projects", "list"], seconds=0.3)
    assert time.monotonic() - start < 15, "it would sleep for thirty seconds"


@pytest.mark.parametrize(
    "url",
    [
        "https://googleapis.com.example.org/v1",
        "https://example.org/healthcare.googleapis.com",
        "https://healthcare.googleapis.com.evil.org",
        "http://healthcare.googleapis.com/v1",
        "https://evilgoogleapis.com",
    ],
)
@pytest.mark.parametrize("kind", ["gcloud", "google"])
def test_google_tokens_go_to_google(url: str, kind: str, tool: Tool) -> None:
    with pytest.raises(AuthenticationError, match="not Google's"):
        header(Server(url, authentication=Authentication(kind)))
    if url.startswith("http:"):
        return
    assert tool.calls == []
    named = {"host": url.split("/")[2]}
    assert credentials_for(Server(url, authentication=Authentication(kind, named)), Secrets({})) is not None


@pytest.mark.parametrize("kind", ["gcloud", "google"])
def test_a_file_does_not_say_who_has_the_token(kind: str, tool: Tool, tmp_path: Path) -> None:
    """The field that lets another host have the token counts only where the person here wrote it."""
    url = "https://dicom.evil.example/dicom-web"
    fields = {"host": "dicom.evil.example", "scope": "a", "account": "anna@example.org"}
    evil = Server(url, name="Hospital archive", authentication=Authentication(kind, fields))
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"servers": [evil.to_json()]}))
    saved = SavedServers(SettingsFile(tmp_path / "settings.json"))
    (found,) = saved.import_file(path)
    assert found.authentication == Authentication(kind, {"scope": "a", "account": "anna@example.org"})
    assert saved.all() == [found]
    with pytest.raises(AuthenticationError, match="not taken over from an imported file"):
        header(found)
    assert tool.calls == []
    assert saved.import_file(path) == [], "it is here already"
    # What the person here said stays.
    own = evil.changed(name="Our proxy")
    saved.save(own)
    saved.export(path)
    assert saved.import_file(path) == []
    assert saved.get("Our proxy") == own


@pytest.mark.parametrize("where", ["secret", "file", "default"])
def test_service_account(
    where: str, key: rsa.RSAPrivateKey, token_service: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """google-auth signs with the key, and the service, which knows the public half alone, gives tokens for it."""
    text = account(key, token_service)
    path = tmp_path / "key.json"
    path.write_text(text)
    secrets = Secrets({})
    fields = {"key_file": str(path)} if where == "file" else {}
    token_service.uses = 4
    server = Server(token_service.check, authentication=Authentication("google", fields))
    if where == "secret":
        secrets.set(server, "service_account", text)
    if where == "default":
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with Connection(server, credentials_for(server, secrets)) as connection:
        for _ in range(10):
            connection.get(server.url).close()
    assert token_service.grants() == ["urn:ietf:params:oauth:grant-type:jwt-bearer"] * 3


def test_service_accounts_that_fail(key: rsa.RSAPrivateKey, token_service: Issuer, tmp_path: Path) -> None:
    secrets = Secrets({})
    for text in ("not json", "[]", '{"type": "authorized_user"}', '{"type": "service_account", "private_key": "abcd"}'):
        secrets.set(GOOGLE, "service_account", text)
        with pytest.raises(AuthenticationError, match="not the JSON key") as caught:
            header(GOOGLE, secrets)
        assert caught.value.needs == ("service_account",)
    other = rsa.generate_private_key(65537, 2048)
    secrets.set(GOOGLE, "service_account", account(other, token_service))
    with pytest.raises(AuthenticationError, match="does not accept"):
        header(GOOGLE, secrets)
    with pytest.raises(AuthenticationError, match="No such file"):
        header(GOOGLE.changed(authentication=Authentication("google", {"key_file": str(tmp_path / "absent")})))
    closed = json.loads(account(key, token_service))
    closed["token_uri"] = "http://127.0.0.1:1/token"
    secrets.set(GOOGLE, "service_account", json.dumps(closed))
    with pytest.raises(UnreachableError, match="token service"):
        header(GOOGLE, secrets)


def test_without_google_auth(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "google" or name.startswith("google.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(AuthenticationError, match=r"dicombridge\[google\]"):
        header(GOOGLE)


def test_lists_of_the_tool(tool: Tool) -> None:
    platform = GoogleCloudPlatform()
    assert platform.projects() == ["beta", "alpha"]
    assert platform.datasets("alpha") == ["brains\teurope-west2", "hearts\tus-central1"]
    assert platform.dicomStores("alpha", "brains") == ["first", "second"]
    assert "--location=europe-west2" in tool.calls[-1][0], "looked up, because the tool wants it"
    before = len(tool.calls)
    assert platform.dicomStores("alpha", "brains\teurope-west2") == ["first", "second"]
    assert len(tool.calls) == before + 1
    assert tool.calls[-1][0][0] == "--project=alpha"
    assert platform.token() == f"ya29.token-{before + 2}"
    assert platform.gcloud("--project 'a b' projects list").split() == ["beta", "alpha"]
    assert tool.calls[-1][0] == ["--project", "a b", "projects", "list"]
    assert platform.findgcloud() == str(tool.folder / "gcloud")
    assert google.names("datasets", "alpha", "us-central1") == ["hearts"]
    assert google.names("stores", "alpha", "us-central1", "hearts") == ["first", "second"]
    with pytest.raises(DicomBridgeError, match="Which project"):
        google.names("datasets")
    with pytest.raises(DicomBridgeError, match="none of"):
        google.names("buckets", "alpha")


@pytest.fixture
def cloud() -> Iterator[Callable[[bool], tuple[str, list[Any]]]]:
    """Google's lists, two items a page, as its documentation says; or one that knows no places at once."""
    stops = []

    def start(everywhere: bool) -> tuple[str, list[Any]]:
        root = "projects/alpha/locations"
        places = ["europe-west2", "us-central1"]
        datasets = {place: [f"{root}/{place}/datasets/set-{number}" for number in range(3)] for place in places}
        lists: dict[str, tuple[str, list[dict[str, str]]]] = {
            "/projects": (
                "projects",
                [{"projectId": name, "lifecycleState": state} for name, state in PROJECTS.items()],
            ),
            f"/{root}": ("locations", [{"locationId": place} for place in places]),
            f"/{root}/us-central1/datasets/set-1/dicomStores": (
                "dicomStores",
                [{"name": f"{datasets['us-central1'][1]}/dicomStores/store-{number}"} for number in range(5)],
            ),
        }
        for place in places:
            lists[f"/{root}/{place}/datasets"] = ("datasets", [{"name": name} for name in datasets[place]])
        if everywhere:
            lists[f"/{root}/-/datasets"] = ("datasets", [{"name": one} for some in datasets.values() for one in some])

        def answer(asked: Any) -> Any:
            if not asked.authorization.startswith("Bearer "):
                return 401, {}, {}
            path = asked.path.partition("?")[0]
            if path not in lists:
                return 404, {"error": {"status": "NOT_FOUND"}}, {}
            name, items = lists[path]
            first = int(asked.query.get("pageToken", 0))
            more = {"nextPageToken": str(first + 2)} if first + 2 < len(items) else {}
            return 200, {name: items[first : first + 2], **more}, {}

        context = start_peer(answer)
        peer = context.__enter__()
        stops.append(context)
        return peer.url, peer.asked

    yield start
    for context in stops:
        context.__exit__(None, None, None)


PROJECTS = {"beta": "ACTIVE", "alpha": "ACTIVE", "gone": "DELETE_REQUESTED"}


@pytest.mark.parametrize("everywhere", [True, False])
def test_lists_without_the_tool(
    everywhere: bool,
    cloud: Callable[[bool], tuple[str, list[Any]]],
    key: rsa.RSAPrivateKey,
    token_service: Issuer,
    no_tool: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "key.json"
    path.write_text(account(key, token_service))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    url, asked = cloud(everywhere)
    platform = GoogleCloudPlatform(projects_root=url, healthcare_root=url)
    assert platform.projects() == ["alpha", "beta"]
    assert platform.locations("alpha") == ["europe-west2", "us-central1"]
    expected = [f"set-{number}\t{place}" for place in ("europe-west2", "us-central1") for number in range(3)]
    assert platform.datasets("alpha") == expected
    stores = [f"store-{number}" for number in range(5)]
    assert platform.dicomStores("alpha", "set-1", "us-central1") == stores
    assert platform.dicomStores("alpha", "set-1\tus-central1") == stores
    with pytest.raises(WebError, match="no dataset"):
        platform.dicomStores("alpha", "absent")
    assert platform.token() in token_service.given
    assert all(one.authorization.removeprefix("Bearer ") in token_service.given for one in asked)
