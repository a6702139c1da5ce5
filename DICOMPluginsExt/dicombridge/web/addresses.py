"""Addresses of servers, and identifiers that become parts of addresses and of file names."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from dicombridge.errors import DicomBridgeError

__all__ = ["Origin", "check_uid", "is_loopback", "joined", "local_path", "origin", "redacted", "without_slash"]

_PORTS = {"http": 80, "https": 443}
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64
_HOST = re.compile(r"[^\s\x00-\x1f\x7f<>\"'\\^`{|}]+")


class Origin(NamedTuple):
    """What a secret is bound to: the scheme, host and port of an address."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if _PORTS.get(self.scheme) == self.port else f":{self.port}")

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what is sent there: by https, or within this machine."""
        return self.scheme == "https" or is_loopback(self.host)


def origin(url: str) -> Origin:
    """Return scheme, host and port of an address, with the scheme's own port where none is given.

    >>> origin("https://Example.org/dicom-web")
    Origin(scheme='https', host='example.org', port=443)
    >>> str(origin("http://[::1]:8042/x"))
    'http://[::1]:8042'

    Raises
    ------
    DicomBridgeError
        This is no http or https address with a host.
    """
    parts = _split(url)
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname or not _HOST.fullmatch(parts.netloc):
        raise DicomBridgeError(f"{redacted(url)!r} is not an address that begins with http:// or https://.")
    return Origin(scheme, parts.hostname.lower().rstrip("."), parts.port or _PORTS[scheme])


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "localhost.example.org", "10.0.0.1")]
    [True, True, True, False, False]
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def joined(root: str, *parts: str) -> str:
    """Return an address below a root, without doubled slashes; the parts are taken as they are.

    >>> joined("http://host/dicom-web/", "studies", "1.2.3")
    'http://host/dicom-web/studies/1.2.3'
    """
    return "/".join([without_slash(root), *parts])


def without_slash(url: str) -> str:
    """Return an address without slashes at its end, which some servers answer with an error when more follows."""
    return url.strip().rstrip("/")


def redacted(url: str) -> str:
    """Return an address without user, password, query and fragment: any of them may hold a secret.

    >>> redacted("https://anna:secret@host:8042/dicom-web?token=abc#x")
    'https://host:8042/dicom-web'
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(an address that cannot be read)"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def check_uid(uid: str, what: str = "UID") -> str:
    """Return a UID if it is one; what comes from a server must not become part of a path unseen. PS3.5 9.1.

    Leading zeros of components, which the standard forbids, occur in real objects and do no harm.

    >>> check_uid("1.2.840.10008")
    '1.2.840.10008'
    >>> check_uid("../etc/passwd")
    Traceback (most recent call last):
      ...
    dicombridge.errors.DicomBridgeError: '../etc/passwd' is not a UID: digits and dots, at most 64 characters.

    Raises
    ------
    DicomBridgeError
        It has other characters than digits and dots, begins or ends with a dot, or is longer than 64 characters.
    """
    if not isinstance(uid, str) or len(uid) > _LONGEST_UID or not _UID.fullmatch(uid) or not uid.isascii():
        shown = str(uid)[:_LONGEST_UID]
        raise DicomBridgeError(f"{shown!r} is not a {what}: digits and dots, at most {_LONGEST_UID} characters.")
    return uid


def local_path(url: str) -> Path | None:
    """Return the file or folder that an address is, None for an address of a server.

    >>> local_path("https://host/x") is None
    True
    >>> local_path("file:///data/a%20b").as_posix()
    '/data/a b'

    Raises
    ------
    DicomBridgeError
        It begins like an address of another kind, or with the home of a user whom nobody knows.
    """
    scheme, mark, rest = url.partition("://")
    if mark and scheme.lower() in _PORTS:
        return None
    if mark and scheme.lower() == "file":
        rest = rest[len("localhost") :] if rest.lower().startswith("localhost/") else rest
        return Path(url2pathname(urlsplit(f"file://{rest}").path) if rest.startswith("/") else unquote(rest))
    if mark:
        raise DicomBridgeError(f"{redacted(url)!r}: an address begins with http://, https:// or file://.")
    try:
        return Path(url).expanduser()
    except RuntimeError as error:
        raise DicomBridgeError(f"{url!r}: {error}") from error


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # this is where a port that is no number shows
    except ValueError as error:
        raise DicomBridgeError(f"{redacted(url)!r} is not an address: {error}.") from error
    return parts
