"""Credentials of tests, and a server behind an issuer that people sign in at."""

from __future__ import annotations

from typing import Any

import requests

from dicombridge.web.authentication import credentials_for
from dicombridge.web.authentication.base import BoundCredentials
from dicombridge.web.connection import Connection
from dicombridge.web.retrying import NEVER
from dicombridge.web.secrets import Secrets
from dicombridge.web.servers import Authentication, Server
from support.issuer import Issuer

__all__ = ["applied", "asked", "made", "oidc"]


def made(server: Server, secrets: Secrets, **options: Any) -> BoundCredentials:
    """The credentials of a server that has some."""
    credentials = credentials_for(server, secrets, **options)
    assert credentials is not None
    return credentials


def applied(credentials: BoundCredentials, url: str = "") -> str:
    """The header that a request gets."""
    request = requests.Request("GET", url or f"{credentials.context.server.url}/studies").prepare()
    credentials.apply(request)
    return str(request.headers["Authorization"])


def oidc(issuer: Issuer, **fields: str) -> Server:
    """A server behind the issuer: it asks it whether a token is good."""
    values = {"issuer": issuer.url, "client_id": "viewer", **fields}
    return Server(issuer.check, authentication=Authentication("oidc", values))


def asked(server: Server, credentials: BoundCredentials, times: int = 1) -> None:
    """Ask the server, with one connection."""
    with Connection(server, credentials, retries=NEVER) as connection:
        for _ in range(times):
            connection.get(f"{server.url}/studies").close()
