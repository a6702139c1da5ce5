"""Credentials that somebody gives: password, token, Kheops link, certificate of the client."""

from __future__ import annotations

import base64
import binascii
import json
import ssl
import time
from typing import TYPE_CHECKING

from dicombridge.errors import AuthenticationError
from dicombridge.web.authentication.base import BoundCredentials, Context, bearer
from dicombridge.web.secrets import Secret

if TYPE_CHECKING:
    from requests import PreparedRequest

__all__ = ["BasicCredentials", "BearerCredentials", "CertificateCredentials"]

JWT_PARTS = 3


class BasicCredentials(BoundCredentials):
    """User and password, as UTF-8. RFC 7617."""

    needs = ("password",)
    _pair: Secret  # held, so that it is known as a secret as long as these credentials are

    def let_in(self, request: PreparedRequest) -> None:
        user = self.context.needed_field("user")
        if ":" in user or not user.isprintable():
            raise AuthenticationError(f"{self.context.server}: a user's name has no colon and no line break.")
        password = self.context.needed("password").reveal()
        self._pair = Secret(base64.b64encode(f"{user}:{password}".encode()).decode("ascii"))
        request.headers["Authorization"] = f"Basic {self._pair.reveal()}"


class BearerCredentials(BoundCredentials):
    """A token that somebody pasted: RFC 6750. It cannot be renewed, but another may have been given meanwhile.

    That of a Kheops link is one too.
    """

    needs = ("token",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sent: Secret | None = None

    def let_in(self, request: PreparedRequest) -> None:
        token = self.context.needed("token")
        ended = _ended(token)
        if ended is not None:
            raise AuthenticationError(
                f"{self.context.server}: the token was good until {ended}. Please give a new one.", needs=("token",)
            )
        self._sent = token
        request.headers["Authorization"] = bearer(token, self.context.server)

    def renew(self, challenge: str) -> bool:
        del challenge
        token = self.context.secrets.get(self.context.server, "token")
        return bool(token) and token != self._sent


class CertificateCredentials(BoundCredentials):
    """The client's certificate, which TLS shows; requests stay as they are.

    Raises
    ------
    AuthenticationError
        The certificate or its key cannot be read, or its passphrase is missing or wrong.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        tls = context.server.tls
        if not tls.certificate:
            raise AuthenticationError(f"{context.server}: the file of the client's certificate is not given.")
        passphrase = self.key_password
        try:
            trial = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # Always with a password: otherwise OpenSSL would ask for it on a terminal that nobody may be looking at.
            trial.load_cert_chain(tls.certificate, tls.key or None, passphrase)
        except FileNotFoundError as error:
            names = " or ".join(filter(None, (tls.certificate, tls.key)))
            raise AuthenticationError(f"{context.server}: there is no file {names}.") from error
        except (ssl.SSLError, OSError) as error:
            text = "its passphrase is wrong, or it is none" if passphrase else "it is none, or needs a passphrase"
            raise AuthenticationError(
                f"{context.server}: the client's certificate or key cannot be used: {text}.",
                details=type(error).__name__,
                needs=("passphrase",),
            ) from None

    def let_in(self, request: PreparedRequest) -> None:
        """Leave the request as it is."""


def _ended(token: Secret) -> str | None:
    """Return when a JSON web token ended, None where it has not or does not say. RFC 7519 4.1.4."""
    parts = token.reveal().split(".")
    if len(parts) != JWT_PARTS:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        until = float(claims["exp"])
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(until)) if until < time.time() else None
    except (ValueError, KeyError, TypeError, OverflowError, OSError, binascii.Error):
        return None
