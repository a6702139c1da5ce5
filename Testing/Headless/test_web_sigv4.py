"""AWS Signature Version 4: against the test suite that AWS published, and against botocore."""

from __future__ import annotations

import datetime
import hashlib
import io
import random
import re
import string
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.compat
import botocore.credentials
import pytest
import requests
from support.issuer import Peer, start_peer

from dicombridge.errors import AuthenticationError, DamagedAnswerError
from dicombridge.web.authentication import credentials_for
from dicombridge.web.authentication.sigv4 import (
    UNSIGNED,
    Key,
    SigV4Credentials,
    canonical_query,
    payload_hash,
    signature,
)
from dicombridge.web.connection import Connection
from dicombridge.web.secrets import Secret, Secrets
from dicombridge.web.servers import Authentication, Server

ACCESS = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SCOPE = "20150830/us-east-1/service/aws4_request"
DATE = ("X-Amz-Date", "20150830T123600Z")
HOST = ("Host", "example.amazonaws.com")
FORM = "application/x-www-form-urlencoded"
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwth"
    "Ax7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAk"
    "iY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
POST = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
POST_QUERY = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"

# Name in AWS's suite: method, path, query, headers beside host and date, body, signature.
SUITE: dict[str, tuple[str, str, str, list[tuple[str, str]], str, str]] = {
    "get-vanilla": ("GET", "/", "", [], "", VANILLA),
    "get-vanilla-query": ("GET", "/", "", [], "", VANILLA),
    "get-vanilla-empty-query-key": (
        *("GET", "/", "Param1=value1", [], ""),
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    "get-vanilla-query-order-key-case": (
        *("GET", "/", "Param2=value2&Param1=value1", [], ""),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-vanilla-query-unreserved": (
        *("GET", "/", f"{UNRESERVED}={UNRESERVED}", [], ""),
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    "get-vanilla-utf8-query": (
        *("GET", "/", "%E1%88%B4=bar", [], ""),
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    "get-header-key-duplicate": (
        *("GET", "/", "", [("My-Header1", one) for one in ("value2", "value2", "value1")], ""),
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-order": (
        *("GET", "/", "", [("My-Header1", one) for one in ("value4", "value1", "value3", "value2")], ""),
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    "get-header-value-trim": (
        *("GET", "/", "", [("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')], ""),
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "get-unreserved": (
        *("GET", f"/{UNRESERVED}", "", [], ""),
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-utf8": (
        *("GET", "/\u1234", "", [], ""),
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "get-relative": ("GET", "/example/..", "", [], "", VANILLA),
    "get-relative-relative": ("GET", "/example1/example2/../..", "", [], "", VANILLA),
    "get-slash": ("GET", "//", "", [], "", VANILLA),
    "get-slash-dot-slash": ("GET", "/./", "", [], "", VANILLA),
    "get-slash-pointless-dot": (
        *("GET", "/./example", "", [], ""),
        "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    "get-slashes": (
        *("GET", "//example//", "", [], ""),
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    "get-space": (
        *("GET", "/example space/", "", [], ""),
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "post-vanilla": ("POST", "/", "", [], "", POST),
    "post-vanilla-query": ("POST", "/", "Param1=value1", [], "", POST_QUERY),
    "post-vanilla-empty-query-value": ("POST", "/", "Param1=value1", [], "", POST_QUERY),
    "post-header-key-case": ("POST", "/", "", [], "", POST),
    "post-header-key-sort": (
        *("POST", "/", "", [("My-Header1", "value1")], ""),
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-header-value-case": (
        *("POST", "/", "", [("My-Header1", "VALUE1")], ""),
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    "post-sts-header-before": (
        *("POST", "/", "", [("X-Amz-Security-Token", TOKEN)], ""),
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
    "post-sts-header-after": ("POST", "/", "", [], "", POST),
    "post-x-www-form-urlencoded": (
        *("POST", "/", "", [("Content-Type", FORM)], "Param1=value1"),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "post-x-www-form-urlencoded-parameters": (
        *("POST", "/", "", [("Content-Type", f"{FORM}; charset=utf8")], "Param1=value1"),
        "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
    ),
}
PATHS = ("", "/", "/a%20b", "/~x'(1)*", "/%E6%97%A5", "/a%2Fb", "/a:b@c,d;e")


class OneShot:
    """A body that can be read once only."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        raise StopIteration


class Anew:
    """A body that begins anew each time."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> SigV4Credentials:
    """Credentials of AWS HealthImaging with a key, at a fixed moment."""
    server = Server(
        "https://dicom-medical-imaging.eu-west-1.amazonaws.com/datastore/1", authentication=Authentication("sigv4")
    )
    secrets = Secrets({})
    secrets.set(server, "access_key", ACCESS)
    secrets.set(server, "secret_key", SECRET)
    secrets.set(server, "session_token", TOKEN)
    moment = datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.timezone.utc)
    monkeypatch.setattr(SigV4Credentials, "clock", staticmethod(lambda: moment))
    credentials = credentials_for(server, secrets)
    assert isinstance(credentials, SigV4Credentials)
    return credentials


def of_botocore(request: requests.PreparedRequest, monkeypatch: pytest.MonkeyPatch, body: bytes) -> str:
    """What botocore signs the same request with, as it would send it."""
    moment = datetime.datetime(2026, 3, 4, 5, 6, 7)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_arguments, **_options: moment, raising=False)
    monkeypatch.setattr(botocore.compat, "get_current_datetime", lambda *_a, **_o: moment, raising=False)
    other = botocore.awsrequest.AWSRequest(request.method, request.url, data=body)
    for name in ("x-amz-content-sha256", "Content-Type"):
        if name in request.headers:
            other.headers[name] = request.headers[name]
    key = botocore.credentials.Credentials(ACCESS, SECRET, TOKEN)
    botocore.auth.SigV4Auth(key, "medical-imaging", "eu-west-1").add_auth(other)
    assert other.headers["X-Amz-Date"] == request.headers["x-amz-date"]
    return str(other.headers["Authorization"])


@pytest.mark.parametrize("name", SUITE)
def test_published_suite(name: str) -> None:
    method, path, query, headers, body, expected = SUITE[name]
    names = ";".join(sorted({one.lower() for one, _ in [HOST, DATE, *headers]}))
    assert (
        signature(
            method,
            path,
            canonical_query(query),
            [*headers, DATE, HOST],
            hashlib.sha256(body.encode()).hexdigest(),
            Key(ACCESS, Secret(SECRET)),
            "us-east-1",
            "service",
        )
        == f"AWS4-HMAC-SHA256 Credential={ACCESS}/{SCOPE}, SignedHeaders={names}, Signature={expected}"
    )


def test_against_botocore(signer: SigV4Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred requests with odd values of queries, and bodies."""
    chance = random.Random(7)
    letters = string.ascii_letters + string.digits + " ^*?=&+%/\\:;@'\"!()[]{}~-_.\u00e4\u65e5"
    for number in range(200):
        words = ["".join(chance.choices(letters, k=chance.randrange(9))) for _ in range(6)]
        pairs = [(f"key{word}", value) for word, value in zip(words[::2], words[1::2], strict=True)]
        query = urlencode(pairs, quote_via=quote if number % 2 else requote)
        body = chance.randbytes(number) if number % 3 else b""
        request = requests.Request(
            "POST" if body else "GET",
            f"{signer.context.server.url}/studies/1.2.{number}{chance.choice(PATHS)}?{query}",
            data=body,
            headers={"Content-Type": 'multipart/related; type="application/dicom"'} if body else {},
        ).prepare()
        signer.apply(request)
        assert request.headers["Authorization"] == of_botocore(request, monkeypatch, body), request.url
        assert sorted(sent(request)) == sorted(pairs)


def requote(text: str, *arguments: Any, **options: Any) -> str:
    """Blanks as plus signs, as requests writes them."""
    return quote(text, *arguments, **options).replace("%20", "+")


def sent(request: requests.PreparedRequest) -> list[tuple[str, str]]:
    """What a server understands that takes a plus sign as it is, as Amazon's do."""
    from urllib.parse import unquote

    pairs = [part.partition("=") for part in urlsplit(request.url or "").query.split("&")]
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def test_bodies() -> None:
    data = bytes(range(256)) * 9000
    whole = hashlib.sha256(data).hexdigest()
    assert payload_hash(data) == whole
    assert payload_hash(Anew(data[:5], b"", data[5:])) == whole
    stream = io.BytesIO(b"before" + data)
    stream.seek(6)
    assert payload_hash(stream) == whole
    assert stream.tell() == 6, "the body is sent from where it stood"
    assert payload_hash(None) == hashlib.sha256(b"").hexdigest()
    assert payload_hash("\u00e4") == hashlib.sha256("\u00e4".encode()).hexdigest()
    assert payload_hash(OneShot()) == UNSIGNED
    assert payload_hash(iter([data])) == UNSIGNED


def test_a_streamed_body_arrives_whole(signer: SigV4Credentials) -> None:
    with start_peer(lambda _asked: (200, {}, {})) as peer:
        credentials, server = local(peer)
        with Connection(server, credentials) as connection:
            body = Anew(b"first ", b"second")
            connection.send("POST", f"{server.url}/studies", body, {"Content-Type": "text/plain"}).close()
            connection.get(f"{server.url}/studies", params={"PatientName": "A B*"}).close()
    post, get = peer.asked
    assert post.body == b"first second"
    assert post.headers["x-amz-content-sha256"] == hashlib.sha256(post.body).hexdigest()
    assert "content-type;host;x-amz-content-sha256;x-amz-date" in post.authorization
    assert get.path == "/studies?PatientName=A%20B%2A"
    for asked in peer.asked:
        assert asked.authorization == resigned(asked.headers, asked.method, asked.path)


def local(peer: Peer, **fields: str) -> tuple[SigV4Credentials, Server]:
    server = Server(peer.url, authentication=Authentication("sigv4", {"region": "us-east-1", **fields}))
    secrets = Secrets({})
    secrets.set(server, "access_key", ACCESS)
    secrets.set(server, "secret_key", SECRET)
    credentials = credentials_for(server, secrets)
    assert isinstance(credentials, SigV4Credentials)
    return credentials, server


def resigned(headers: Any, method: str, path: str) -> str:
    """Sign what a server got, from what it got alone."""
    lower = {name.lower(): value for name, value in headers.items()}
    match = re.search(r"SignedHeaders=([^,]+)", lower["authorization"])
    assert match is not None
    names = match[1].split(";")
    parts = urlsplit(path)
    return signature(
        method,
        parts.path,
        parts.query,
        [(name, lower[name]) for name in names],
        lower["x-amz-content-sha256"],
        Key(ACCESS, Secret(SECRET)),
        "us-east-1",
        "medical-imaging",
    )


def test_unsigned_body_where_it_is_asked_for() -> None:
    with start_peer(lambda _asked: (200, {}, {})) as peer:
        credentials, server = local(peer, payload="unsigned")
        with Connection(server, credentials) as connection:
            connection.send("POST", f"{server.url}/studies", b"abc").close()
    assert peer.asked[0].headers["x-amz-content-sha256"] == UNSIGNED
    assert peer.asked[0].authorization == resigned(peer.asked[0].headers, "POST", "/studies")


def test_signing_again_replaces_the_first_signature(signer: SigV4Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    request = requests.Request("GET", f"{signer.context.server.url}/studies").prepare()
    signer.apply(request)
    first = dict(request.headers)
    later = datetime.datetime(2026, 3, 4, 6, 0, 0, tzinfo=datetime.timezone.utc)
    monkeypatch.setattr(SigV4Credentials, "clock", staticmethod(lambda: later))
    signer.apply(request)
    assert request.headers["x-amz-date"] == "20260304T060000Z"
    assert request.headers["Authorization"] != first["Authorization"]
    assert len(request.headers) == len(first)


def test_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, region in {
        "dicom-medical-imaging.us-east-1.amazonaws.com": "us-east-1",
        "dicom-medical-imaging.us-gov-west-1.amazonaws.com": "us-gov-west-1",
        "vpce-1.dicom-medical-imaging.ap-southeast-2.amazonaws.com": "ap-southeast-2",
        "example.org": "",
        "us-east-1.amazonaws.com.example.org": "",
    }.items():
        server = Server(f"https://{host}/datastore/1", authentication=Authentication("sigv4"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        credentials = credentials_for(server, Secrets({}))
        assert credentials is not None
        request = requests.Request("GET", f"{server.url}/studies").prepare()
        if region:
            credentials.apply(request)
            assert f"/{region}/medical-imaging/aws4_request" in request.headers["Authorization"]
        else:
            with pytest.raises(AuthenticationError, match="region"):
                credentials.apply(request)


def test_keys_of_the_environment_and_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    with start_peer(lambda _asked: (200, {}, {})) as peer:

        def signed_by(**fields: str) -> str:
            server = Server(peer.url, authentication=Authentication("sigv4", {"region": "us-east-1", **fields}))
            request = requests.Request("GET", peer.url).prepare()
            credentials = credentials_for(server, Secrets({}))
            assert credentials is not None
            credentials.apply(request)
            assert request.headers.get("x-amz-security-token") == ("temporary" if fields else None)
            match = re.search(r"Credential=(\w+)/", request.headers["Authorization"])
            assert match is not None
            return match[1]

        with pytest.raises(AuthenticationError) as caught:
            signed_by()
        assert caught.value.needs == ("access_key", "secret_key")
        file.write_text(
            "[default]\naws_access_key_id = FILE\naws_secret_access_key = a%b\n"
            "[work]\naws_access_key_id=WORK\naws_secret_access_key=c\naws_session_token=temporary\n"
        )
        assert signed_by() == "FILE"
        assert signed_by(profile="work") == "WORK"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "VARIABLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "d")
        assert signed_by() == "VARIABLE"
        assert signed_by(profile="work") == "WORK"


@pytest.mark.parametrize(
    ("name", "value", "needs"),
    [
        ("session_token", "IQoJb3Jp\nHIDDENPART", ("session_token",)),
        ("session_token", "IQoJb3Jp\r\nX-Other: HIDDENPART", ("session_token",)),
        ("session_token", "HIDDENPART\u00e4", ("session_token",)),
        ("access_key", "AKID\nHIDDENPART", ("access_key", "secret_key")),
        ("access_key", "AKID HIDDENPART", ("access_key", "secret_key")),
    ],
)
def test_what_cannot_stand_in_a_header_is_not_shown(name: str, value: str, needs: tuple[str, ...]) -> None:
    with start_peer(lambda _asked: (200, {}, {})) as peer:
        server = Server(peer.url, authentication=Authentication("sigv4", {"region": "us-east-1"}))
        secrets = Secrets({})
        for key, text in {"access_key": ACCESS, "secret_key": SECRET, name: value}.items():
            secrets.set(server, key, text)
        with (
            Connection(server, credentials_for(server, secrets)) as connection,
            pytest.raises(AuthenticationError, match="is none") as caught,
        ):
            connection.get(f"{server.url}/studies")
    assert caught.value.needs == needs
    assert "HIDDENPART" not in "".join(traceback.format_exception(caught.value))
    assert peer.asked == []


def test_a_header_that_http_client_refuses_is_not_shown() -> None:
    """Whoever lets in a line break, its error does not repeat the header."""

    class Careless(SigV4Credentials):
        def _check_key(self) -> None:
            pass

    with start_peer(lambda _asked: (200, {}, {})) as peer:
        credentials, server = local(peer)
        credentials.context.secrets.set(server, "session_token", "IQoJb3Jp\nHIDDENPART")
        with (
            Connection(server, Careless(credentials.context)) as connection,
            pytest.raises(DamagedAnswerError) as caught,
        ):
            connection.get(f"{server.url}/studies")
    assert caught.value.details == "ValueError"
    assert "HIDDENPART" not in "".join(traceback.format_exception(caught.value))
