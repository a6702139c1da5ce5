"""A DICOMweb server as one small value, without any secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dicombridge.errors import DicomBridgeError
from dicombridge.web.addresses import Origin, local_path, origin, redacted, without_slash
from dicombridge.web.profile import Profile

__all__ = ["Authentication", "Server", "Tls"]

KINDS = ("none", "basic", "bearer", "gcloud", "google", "oidc", "certificate", "sigv4", "kheops")
SECRETS = frozenset(
    {
        "client_secret",
        "passphrase",
        "password",
        "refresh_token",
        "secret_key",
        "service_account",
        "session_token",
        "token",
    }
)
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-amz-security-token", "x-api-key"})

# RFC 9110 5.1, 5.5; what is beyond Latin-1 cannot be sent.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL = re.compile(r"[^\x20-\x7e\xa0-\xff]")


@dataclass(frozen=True)
class Authentication:
    """How a server lets people in, without the secrets themselves.

    Parameters
    ----------
    kind
        ``none``, ``basic``, ``bearer``, ``gcloud`` (the command line tool), ``google`` (application default credentials
        or a service account), ``oidc``, ``certificate`` (of the client, see :class:`Tls`), ``sigv4`` or ``kheops``.
    fields
        What the kind needs and everybody may read, e.g. ``user`` of ``basic``, ``issuer`` of ``oidc``.
    """

    kind: str = "none"
    fields: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DicomBridgeError(f"{self.kind!r} is not a kind of authentication; there are {', '.join(KINDS)}.")
        secret = sorted(SECRETS.intersection(self.fields))
        if secret:
            raise DicomBridgeError(f"{secret[0]!r} is a secret and no field: give it to dicombridge.web.secrets.")
        object.__setattr__(self, "fields", {str(key): str(value) for key, value in self.fields.items()})

    def __hash__(self) -> int:
        return hash((self.kind, tuple(sorted(self.fields.items()))))

    def get(self, name: str, default: str = "") -> str:
        """Return a field."""
        return self.fields.get(name, default)


@dataclass(frozen=True)
class Tls:
    """Whom we trust, and with what we show who we are. Certificates are always verified.

    Parameters
    ----------
    ca_bundle
        File with the certificates of authorities to trust instead of the usual ones.
    certificate, key
        Files with the client's certificate and its key; the key may be in the first file.
    """

    ca_bundle: str = ""
    certificate: str = ""
    key: str = ""


@dataclass(frozen=True)
class Server:
    """Where to query, retrieve from and store to: a DICOMweb server, a folder, or a zip file.

    Parameters
    ----------
    url
        Root of the services, e.g. ``https://host/dicom-web``; or a folder or zip file, as path or ``file://`` address.
    name
        What people call it.
    qido, wado, stow
        Roots of the three services where they differ from ``url``.
    authentication, tls, profile
        How to get in, whom to trust, what the server can do.
    headers
        Headers to send with each request, e.g. ``X-Goog-User-Project``; never a secret.

    Raises
    ------
    DicomBridgeError
        The address is none, or holds a user and password, which would show in logs and settings.

    Examples
    --------
    >>> server = Server("http://localhost:8042/dicom-web/", name="Orthanc")
    >>> server.url, server.wado_root, server.is_local
    ('http://localhost:8042/dicom-web', 'http://localhost:8042/dicom-web', False)
    >>> Server.from_json(server.to_json()) == server
    True
    """

    url: str
    name: str = ""
    qido: str = ""
    wado: str = ""
    stow: str = ""
    authentication: Authentication = field(default_factory=Authentication)
    tls: Tls = field(default_factory=Tls)
    profile: Profile = field(default_factory=Profile)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not str(self.url).strip():
            raise DicomBridgeError("A server needs an address, or a folder.")
        object.__setattr__(self, "url", _cleaned(str(self.url)))
        for service in ("qido", "wado", "stow"):
            object.__setattr__(self, service, _cleaned(getattr(self, service)))
        object.__setattr__(self, "headers", {str(name): str(value).strip() for name, value in self.headers.items()})
        secret = sorted(name for name in self.headers if name.lower() in SECRET_HEADERS)
        if secret:
            raise DicomBridgeError(f"The header {secret[0]!r} is a secret, which the authentication sends.")
        broken = [name for name, value in self.headers.items() if not _TOKEN.fullmatch(name) or _CONTROL.search(value)]
        if broken:
            raise DicomBridgeError(f"{broken[0]!r} is no header that can be sent.")

    def __hash__(self) -> int:
        return hash((self.url, self.name, self.qido, self.wado, self.stow, self.authentication, self.tls, self.profile))

    @property
    def path(self) -> Path | None:
        """The folder or zip file; None for a DICOMweb server."""
        return local_path(self.url)

    @property
    def is_local(self) -> bool:
        """Whether this is a folder or zip file."""
        return self.path is not None

    @property
    def qido_root(self) -> str:
        """Root address of queries."""
        return self.qido or self.url

    @property
    def wado_root(self) -> str:
        """Root address of retrieval."""
        return self.wado or self.url

    @property
    def stow_root(self) -> str:
        """Root address of storing."""
        return self.stow or self.url

    @property
    def origins(self) -> frozenset[Origin]:
        """Scheme, host and port of the server's services: its secrets go there and nowhere else."""
        if self.is_local:
            return frozenset()
        return frozenset(origin(root) for root in (self.qido_root, self.wado_root, self.stow_root))

    def __str__(self) -> str:
        return self.name or redacted(self.url)

    def changed(self, **values: Any) -> Server:
        """Return this server with other values."""
        return replace(self, **values)

    def to_json(self) -> dict[str, Any]:
        """Return the server as plain JSON values, without what is empty; there is no secret in it."""
        values: dict[str, Any] = {"url": self.url}
        values |= {name: getattr(self, name) for name in ("name", "qido", "wado", "stow") if getattr(self, name)}
        if self.authentication.kind != "none":
            values["authentication"] = {"kind": self.authentication.kind, **self.authentication.fields}
        tls = {name: value for name, value in vars(self.tls).items() if value}
        parts = {"tls": tls, "profile": self.profile.to_json(), "headers": dict(self.headers)}
        return values | {name: part for name, part in parts.items() if part}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Server:
        """Return the server that :meth:`to_json` gave.

        Raises
        ------
        DicomBridgeError
            These values are not those of a server.
        """
        try:
            given = dict(values.get("authentication") or {})
            return cls(
                url=values["url"],
                **{name: str(values.get(name) or "") for name in ("name", "qido", "wado", "stow")},
                authentication=Authentication(given.pop("kind", "none"), given),
                tls=Tls(**(values.get("tls") or {})),
                profile=Profile.from_json(values.get("profile") or {}),
                headers=values.get("headers") or {},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DicomBridgeError(f"These are not the values of a server: {error}.") from error


def _cleaned(url: str) -> str:
    """Return an address without slashes at its end; refuse one that holds a password."""
    url = url.strip()
    if not url:
        return ""
    if local_path(url) is not None:
        return url
    origin(url)
    if "@" in urlsplit(url).netloc:
        raise DicomBridgeError(f"{redacted(url)}: user and password do not belong in the address; use authentication.")
    if "?" in url or "#" in url:
        raise DicomBridgeError(f"{redacted(url)}: what follows ? or # does not belong in a root address.")
    return without_slash(url)
