"""Signatures of Amazon's services, AWS Signature Version 4: the secret key signs requests and is never sent.

The rules are those of the chapter "AWS Signature Version 4 for API requests" of the IAM User Guide.
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from dicombridge.errors import AuthenticationError
from dicombridge.web.authentication.base import BoundCredentials, is_word
from dicombridge.web.secrets import Secret

if TYPE_CHECKING:
    from requests import PreparedRequest

__all__ = ["UNSIGNED", "Key", "SigV4Credentials", "canonical_query", "payload_hash", "signature"]

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
SERVICE = "medical-imaging"
BLOCK = 1 << 20
_HOST = re.compile(r"(?:[a-z0-9-]+\.)*(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]+)\.amazonaws\.com(?:\.cn)?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Key:
    """An access key.

    Parameters
    ----------
    access
        Its identifier, which is sent.
    secret
        The key, which is not.
    token
        Session token of temporary keys, which is sent.
    """

    access: str
    secret: Secret
    token: Secret | None = None


class SigV4Credentials(BoundCredentials):
    """Signed requests.

    Fields: ``region`` (else taken from the host's name), ``service`` (else ``medical-imaging``), ``profile`` (a section
    of ``~/.aws/credentials``), ``payload`` (``unsigned`` for bodies that are not to be read twice). The key is that of
    the secrets ``access_key``, ``secret_key`` and ``session_token``, else of the variables ``AWS_ACCESS_KEY_ID`` and
    so on, else of the file.
    """

    needs = ("access_key", "secret_key")
    clock: Callable[[], datetime] = staticmethod(lambda: datetime.now(timezone.utc))
    _key: Key  # held, so that it is known as a secret as long as these credentials are

    def let_in(self, request: PreparedRequest) -> None:
        self._key = self._find_key()
        self._check_key()
        parts = urlsplit(request.url or "")
        # What is signed is what is sent: a blank may be written in two ways, and only one can be signed.
        query = canonical_query(parts.query)
        request.url = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", query, ""))
        hashed = UNSIGNED if self.context.field("payload") == "unsigned" else payload_hash(request.body)
        headers = {
            "host": _host(parts.scheme, parts.hostname or "", parts.port),
            "x-amz-content-sha256": hashed,
            "x-amz-date": self.clock().strftime("%Y%m%dT%H%M%SZ"),
        }
        if self._key.token:
            headers["x-amz-security-token"] = self._key.token.reveal()
        for name in [name for name in request.headers if name.lower().startswith("x-amz-")]:
            del request.headers[name]  # those of an earlier signature
        signed = dict(headers)
        if request.headers.get("Content-Type"):
            signed["content-type"] = str(request.headers["Content-Type"])
        request.headers["Authorization"] = signature(
            request.method or "GET",
            parts.path or "/",
            query,
            list(signed.items()),
            hashed,
            self._key,
            self._region(parts.hostname or ""),
            self.context.field("service", SERVICE),
        )
        request.headers.update({name: value for name, value in headers.items() if name != "host"})

    def _check_key(self) -> None:
        """Refuse what cannot stand in a header; http.client would show all of it in its error."""
        if not is_word(self._key.access):
            raise AuthenticationError(
                f"{self.context.server}: what should be an access key is none.", needs=("access_key", "secret_key")
            )
        if self._key.token and not is_word(self._key.token.reveal()):
            raise AuthenticationError(
                f"{self.context.server}: what should be a session token is none.", needs=("session_token",)
            )

    def _region(self, host: str) -> str:
        match = _HOST.fullmatch(host)
        region = self.context.field("region") or (match["region"] if match else "")
        if not region:
            raise AuthenticationError(f"{self.context.server}: signing needs the field 'region', e.g. us-east-1.")
        return region

    def _find_key(self) -> Key:
        server, secrets = self.context.server, self.context.secrets
        access = self.context.field("access_key")
        given = secrets.get(server, "access_key")
        access = access or (given.reveal() if given else "")
        secret = secrets.get(server, "secret_key")
        if access and secret:
            return Key(access, secret, secrets.get(server, "session_token"))
        profile = self.context.field("profile")
        found = (None if profile else _key_of_environment()) or _key_of_file(profile)
        if found is None or (access and access != found.access):
            raise AuthenticationError(
                f"{server}: the access key is missing. It can be typed in, or stand in AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or in a profile of the file ~/.aws/credentials.",
                needs=("access_key", "secret_key"),
            )
        return found


def signature(
    method: str,
    path: str,
    query: str,
    headers: Sequence[tuple[str, str]],
    hashed: str,
    key: Key,
    region: str,
    service: str,
) -> str:
    """Return the value of ``Authorization`` for a request.

    Parameters
    ----------
    method, path, query
        As they are in the request line; the query as :func:`canonical_query` gives it.
    headers
        Those to sign, ``host`` and ``x-amz-date`` (UTC, ``YYYYMMDDTHHMMSSZ``) among them; a name may occur repeatedly.
    hashed
        SHA-256 of the body in hexadecimal digits, or :data:`UNSIGNED`.
    key, region, service
        Who signs, and for what.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(" ".join(value.split()))
    names = sorted(values)
    lines = [f"{name}:{','.join(values[name])}" for name in names]
    signed = ";".join(names)
    request = "\n".join([method, _canonical_path(path), query, *lines, "", signed, hashed])
    moment = values["x-amz-date"][0]
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    one = f"AWS4{key.secret.reveal()}".encode()
    for part in scope.split("/"):
        one = _hmac(one, part)
    mark = _hmac(one, text).hex()
    return f"{ALGORITHM} Credential={key.access}/{scope}, SignedHeaders={signed}, Signature={mark}"


def canonical_query(query: str) -> str:
    """Return a query with its parts encoded in the one way that is signed, and sorted.

    >>> canonical_query("b=2&a=x+y&a=%5E*&empty")
    'a=%5E%2A&a=x%20y&b=2&empty='
    """
    pairs = [(_encoded(name), _encoded(value)) for name, value in parse_qsl(query, keep_blank_values=True)]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def payload_hash(body: Any) -> str:
    """Return the SHA-256 of a body in hexadecimal digits.

    A body that can be read more than once is read through, a piece at a time; with its own ``read_through`` where it
    has one, because it may count what is sent. One that cannot is left unsigned: TLS alone protects it then.
    """
    if body is None or isinstance(body, str | bytes | bytearray | memoryview):
        data = body.encode() if isinstance(body, str) else body or b""
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256()
    if hasattr(body, "read") and hasattr(body, "seek") and hasattr(body, "tell"):
        start = body.tell()
        while piece := body.read(BLOCK):
            digest.update(piece)
        body.seek(start)
        return digest.hexdigest()
    if isinstance(body, Iterable) and iter(body) is not body:
        for piece in body.read_through() if hasattr(body, "read_through") else body:
            digest.update(piece)
        return digest.hexdigest()
    return UNSIGNED


def _canonical_path(path: str) -> str:
    """Return a path without ``.``, ``..`` and doubled slashes, encoded once more than in the request line."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    slash = "/" if parts and path.endswith(("/", "/.", "/..")) else ""
    return quote("/" + "/".join(parts) + slash, safe="/~")


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _host(scheme: str, host: str, port: int | None) -> str:
    """Return the ``Host`` header as it will be sent."""
    host = f"[{host}]" if ":" in host else host
    return host if port is None or port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"


def _key_of_environment() -> Key | None:
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    token = os.environ.get("AWS_SESSION_TOKEN")
    return Key(access, Secret(secret), Secret(token) if token else None) if access and secret else None


def _key_of_file(profile: str) -> Key | None:
    path = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    except configparser.Error:
        raise AuthenticationError(f"{path}: this is not a file of AWS credentials.") from None
    section = profile or os.environ.get("AWS_PROFILE") or "default"
    values = dict(parser.items(section)) if parser.has_section(section) else {}
    access, secret = values.get("aws_access_key_id"), values.get("aws_secret_access_key")
    token = values.get("aws_session_token")
    return Key(access, Secret(secret), Secret(token) if token else None) if access and secret else None
