"""Finding the root of a server: which of some addresses answers a query."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from dicombridge.errors import AuthenticationError, DamagedAnswerError, RefusedError, UnreachableError, WebError
from dicombridge.web.addresses import origin
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import DICOM_JSON, Connection
from dicombridge.web.retrying import NEVER
from dicombridge.web.servers import Authentication, Server, Tls
from dicombridge.web.sessions import Timeouts

__all__ = ["Found", "authentication_asked", "connected", "find_root"]

TIMEOUTS = Timeouts(8.0, 30.0)
_MOST_ANSWER = 16 << 20
_MOST_SCRIPT = 1 << 20


@dataclass
class Found:
    """A root.

    Attributes
    ----------
    server
        The server with this address.
    challenge
        ``WWW-Authenticate`` of its refusal to let us in.
    is_open
        It answered the query; otherwise it refused to let us in.
    error
        Why nothing was found.
    """

    server: Server
    challenge: str = ""
    is_open: bool = False
    error: WebError | None = None


def connected(server: Server, cancel: Cancel) -> Connection:
    """Return a connection that does not wait long and asks once."""
    return Connection(server, cancel=cancel, timeouts=TIMEOUTS, retries=NEVER)


def at(server: Server, root: str) -> Server:
    """Return a server with another root; with its credentials, and certificate, only where they were meant to go."""
    if root == server.qido_root:
        return server  # with its other roots, where it has several
    if origin(root) in server.origins:
        return server.changed(url=root, qido="")
    return Server(root, name=server.name, tls=Tls(server.tls.ca_bundle))


def find_root(server: Server, roots: Iterable[str], cancel: Cancel) -> Found:
    """Return the first root that answers a query, else the likeliest of those that want to know who asks.

    Parameters
    ----------
    server
        The server as it was entered: its credentials go to its own scheme, host and port only.
    roots
        Addresses to try.
    """
    locked: list[Found] = []
    error: WebError | None = None
    unreachable: set[object] = set()
    for root in roots:
        place = origin(root)
        if place in unreachable:
            continue
        tried = _tried(at(server, root), cancel)
        if tried.is_open:
            return tried
        if isinstance(tried.error, UnreachableError):
            unreachable.add(place)
        if isinstance(tried.error, AuthenticationError):
            locked.append(tried)
        error = error or tried.error
    if locked:
        return _likeliest(locked)
    return Found(server, error=error)


def _tried(server: Server, cancel: Cancel) -> Found:
    try:
        with connected(server, cancel) as connection:
            if _answers(connection):
                return Found(server, is_open=True)
        return Found(server, error=DamagedAnswerError(f"{server}: this is not a DICOMweb server."))
    except AuthenticationError as error:
        return Found(server, error.challenge, error=error)
    except WebError as error:
        return Found(server, error=error)


def _answers(connection: Connection) -> bool:
    """Whether a query is answered with DICOM JSON."""
    url = f"{connection.server.qido_root}/studies?limit=1"
    with connection.get(url, accept=DICOM_JSON, encoding="gzip") as answer:
        if answer.status == 204:
            return True
        found = answer.json(_MOST_ANSWER)
    if isinstance(found, dict):
        found = [found]
    return isinstance(found, list) and all(isinstance(item, dict) and _is_dicom(item) for item in found)


def _is_dicom(item: dict[str, object]) -> bool:
    return all(re.fullmatch(r"[0-9A-Fa-f]{8}", key) for key in item)


def _likeliest(locked: list[Found]) -> Found:
    """Choose among addresses that all refuse: servers do so before they look whether there is anything."""
    challenge = locked[0].challenge.lower()
    if "orthanc" in challenge:
        for found in locked:
            if found.server.url.endswith("/dicom-web"):
                return found
    for found in locked:
        if re.search(r"/(dicom-?web|rs|v\d)$", urlsplit(found.server.url).path, re.IGNORECASE):
            return found
    return locked[0]


def authentication_asked(server: Server, challenge: str) -> tuple[Authentication | None, str]:
    """Return the kind of authentication that a refusal asks for, and what to say of it.

    >>> authentication_asked(Server("https://host/x"), 'Basic realm="Archive"')
    (Authentication(kind='basic', fields={}), 'It wants a user and a password (Basic, "Archive").')
    """
    scheme = challenge.partition(" ")[0].lower().rstrip(",")
    realm = re.search(r'realm="?([^",]*)', challenge)
    named = f', "{realm[1]}"' if realm and realm[1] else ""
    if scheme == "basic":
        return Authentication("basic"), f"It wants a user and a password (Basic{named})."
    if scheme == "bearer":
        issuer = re.search(r'(?:authorization_uri|issuer)="?(https://[^",\s]+)', challenge)
        address = issuer[1] if issuer else realm[1] if realm and realm[1].startswith("https://") else ""
        if address:
            return Authentication("oidc", {"issuer": address}), f"It wants a token that {address} issues (Bearer)."
        return Authentication("bearer"), f"It wants a token (Bearer{named})."
    if scheme.startswith("aws4") or scheme == "aws":
        return Authentication("sigv4"), "It wants signed requests (AWS signature, version 4)."
    if scheme in ("negotiate", "ntlm", "digest"):
        return None, f"It wants {scheme}, which is not supported here."
    return None, "It wants to know who asks, but does not say how."


def scripts(base: str) -> Iterator[str]:
    """Yield addresses at which viewers have their configuration."""
    place = str(origin(base))
    path = urlsplit(base).path.rstrip("/")
    yield from dict.fromkeys([f"{place}{path}/app-config.js", f"{place}/app-config.js"])


def script(server: Server, url: str, cancel: Cancel) -> str:
    """Return the text of a viewer's configuration, "" where there is none."""
    try:
        with connected(server, cancel) as connection, connection.get(url, encoding="gzip") as answer:
            return answer.read(_MOST_SCRIPT).decode("utf-8", "replace")
    except (RefusedError, AuthenticationError, DamagedAnswerError, UnreachableError):
        return ""
