"""How secrets become credentials of requests.

=================  ====================================================================================
``base``           what all have in common: one server only, no plain http, tokens renewed in time
``simple``         password, pasted token, Kheops link, certificate of the client
``gcloud``         Google's command line tool
``google``         application default credentials and service accounts, with ``google-auth``
``oidc``           OpenID Connect: device flow, client credentials; ``endpoints`` of an issuer
``sigv4``          signatures of Amazon's services
=================  ====================================================================================
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicombridge.web.authentication.base import BoundCredentials, Context, SignIn, sign_ins_told
from dicombridge.web.secrets import Secrets, session

if TYPE_CHECKING:
    from dicombridge.web.cancelling import Cancel
    from dicombridge.web.servers import Server

__all__ = ["WAYS", "SignIn", "Way", "credentials_for", "sign_ins_told"]


@dataclass(frozen=True)
class Way:
    """A kind of authentication, as a form would ask for it.

    Parameters
    ----------
    title
        For people to read.
    fields
        Public fields of :class:`~dicombridge.web.servers.Authentication`; those that are needed come first.
    needed
        How many of them are needed.
    secrets
        Names of secrets that can be given.
    home
        Module and class of the credentials, empty where there are none.
    """

    title: str
    fields: tuple[str, ...] = ()
    needed: int = 0
    secrets: tuple[str, ...] = ()
    home: str = ""


WAYS = {
    "none": Way("None"),
    "basic": Way("User and password", ("user",), 1, ("password",), "simple:BasicCredentials"),
    "bearer": Way("Token", (), 0, ("token",), "simple:BearerCredentials"),
    "gcloud": Way("Google Cloud command line tool", ("account", "host"), 0, (), "gcloud:GcloudCredentials"),
    "google": Way(
        "Google application default credentials or service account",
        ("key_file", "scope", "host"),
        0,
        ("service_account",),
        "google:GoogleCredentials",
    ),
    "oidc": Way(
        "OpenID Connect",
        (
            *("client_id", "issuer", "grant", "scope", "audience"),
            *("token_endpoint", "device_endpoint", "ca_bundle", "remember"),
        ),
        1,
        ("client_secret", "refresh_token"),
        "oidc:OidcCredentials",
    ),
    "certificate": Way("Certificate of the client", (), 0, ("passphrase",), "simple:CertificateCredentials"),
    "sigv4": Way(
        "AWS signature, version 4",
        ("access_key", "region", "service", "profile", "payload"),
        0,
        ("access_key", "secret_key", "session_token"),
        "sigv4:SigV4Credentials",
    ),
    "kheops": Way("Kheops link", (), 0, ("token",), "simple:BearerCredentials"),
}
"""Kind of authentication -> what it needs."""


def credentials_for(
    server: Server,
    secrets: Secrets | None = None,
    cancel: Cancel | None = None,
    sign_in: Callable[[SignIn], object] | None = None,
) -> BoundCredentials | None:
    """Return what lets requests in to a server, None where it asks for nothing.

    Secrets are looked for when a request needs them, so that one given later is found.

    Parameters
    ----------
    server
        The server.
    secrets
        Where to look; by default what this process knows.
    cancel
        Who may stop waiting for somebody to sign in.
    sign_in
        Called when a person must sign in; by default what :func:`sign_ins_told` set around this call.

    Raises
    ------
    AuthenticationError
        The authentication does not fit the server, or lacks a field that it needs.
    """
    home = WAYS[server.authentication.kind].home
    if server.is_local or not home:
        return None
    module, name = home.split(":")
    kind = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    credentials: BoundCredentials = kind(Context(server, secrets or session, cancel, sign_in))
    return credentials
