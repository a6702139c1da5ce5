"""OpenID Connect: signing in with a code on another page or device, and programs with a secret of their own.

RFC 8628 (device authorization), RFC 6749 4.4 (client credentials) and 6 (refreshing), OpenID Connect Discovery 1.0.
"""

from __future__ import annotations

from typing import Any

from dicombridge.errors import AuthenticationError, UnreachableError
from dicombridge.web.authentication.base import Context, SignIn, Token, TokenCredentials
from dicombridge.web.authentication.endpoints import Endpoints, GrantError, as_text
from dicombridge.web.secrets import Secret

__all__ = ["OidcCredentials"]

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
LONGEST_SIGN_IN = 1800.0


class OidcCredentials(TokenCredentials):
    """Tokens of an OpenID Connect issuer, such as Keycloak or Microsoft Entra.

    Fields: ``issuer`` (or ``token_endpoint`` and ``device_endpoint``), ``client_id``, ``grant`` (``device``, which is
    the default, or ``client_credentials``), ``scope``, ``audience``, ``remember`` (``keychain``: sign in once, not once
    a session). Secrets: ``client_secret``, and ``refresh_token``, which is kept after signing in.

    All credentials of one server share its tokens, so that nobody has to sign in for every search. The refresh token
    is only ever the one in :class:`~dicombridge.web.secrets.Secrets`: many issuers give another with each use and
    refuse the one before, RFC 9700 4.14.2.
    """

    shared = True

    INTERVAL = 5.0
    """Seconds between questions whether somebody has signed in, where the issuer does not say. RFC 8628 3.2."""
    SLOWER = 5.0
    """Seconds that are added where the issuer asks for fewer questions. RFC 8628 3.5."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.client_id = context.needed_field("client_id")
        self.grant = context.field("grant", "device")
        if self.grant not in ("device", "client_credentials"):
            raise AuthenticationError(f"{context.server}: {self.grant!r} is neither 'device' nor 'client_credentials'.")
        self._endpoints = Endpoints(context)

    def fetch(self, forced: bool) -> Token:
        del forced  # every token comes from the issuer
        self.context.cancel.check()
        if self.grant == "client_credentials":
            self.context.needed("client_secret")
            return self._granted({"grant_type": "client_credentials", **self._wanted()})
        secrets, server = self.context.secrets, self.context.server
        refresh = secrets.get(server, "refresh_token")
        for _ in range(2):
            if not refresh:
                break
            try:
                return self._granted({"grant_type": "refresh_token", "refresh_token": refresh.reveal()}, refresh)
            except GrantError as error:
                if error.code not in ("invalid_grant", "invalid_token"):
                    raise
            # Another connection or process may have used it first, and have the next one.
            refresh = secrets.drop(server, "refresh_token", refresh)
        return self._sign_in()

    def _wanted(self) -> dict[str, str]:
        given = {name: self.context.field(name) for name in ("scope", "audience")}
        return {name: value for name, value in given.items() if value}

    def _sign_in(self) -> Token:
        """Let a person sign in, and wait for it."""
        context = self.context
        if context.sign_in is None:
            raise AuthenticationError(f"{context.server}: somebody has to sign in.", needs=("sign-in",))
        answer = self._endpoints.post(self._endpoints.device, {"client_id": self.client_id, **self._wanted()})
        code = Secret(as_text(answer, "device_code"))
        url = (
            answer.get("verification_uri_complete") or answer.get("verification_uri") or answer.get("verification_url")
        )
        if not isinstance(url, str) or not url.startswith(("https://", "http://")) or not code:
            raise AuthenticationError(f"{context.server}: the issuer does not say where to sign in.")
        seconds = min(_number(answer.get("expires_in"), LONGEST_SIGN_IN), LONGEST_SIGN_IN)
        interval = max(_number(answer.get("interval"), self.INTERVAL), 0.0)
        context.sign_in(SignIn(url, as_text(answer, "user_code"), seconds))
        until = self.clock() + seconds
        while self.clock() < until:
            context.cancel.wait(interval)
            try:
                return self._granted({"grant_type": DEVICE, "device_code": code.reveal()})
            except GrantError as error:
                if error.code == "slow_down":
                    interval += self.SLOWER
                elif error.code == "expired_token":
                    break
                elif error.code == "access_denied":
                    raise AuthenticationError(
                        f"{context.server}: signing in was refused.", needs=("sign-in",)
                    ) from None
                elif error.code != "authorization_pending":
                    raise
            except UnreachableError:
                interval = max(interval, 1.0) * 2  # RFC 8628 3.5: ask less often after a time-out
        raise AuthenticationError(f"{context.server}: nobody signed in in time.", needs=("sign-in",))

    def _granted(self, values: dict[str, str], refresh: Secret | None = None) -> Token:
        """Ask for a token, and keep what renews it."""
        answer = self._endpoints.post(self._endpoints.token, {**values, "client_id": self.client_id}, authenticate=True)
        token = Secret(as_text(answer, "access_token"))
        if not token or as_text(answer, "token_type", "bearer").lower() != "bearer":
            raise AuthenticationError(f"{self.context.server}: the issuer gave no bearer token.")
        next_refresh = Secret(as_text(answer, "refresh_token"))
        if next_refresh and next_refresh != refresh:
            self._keep(next_refresh)
        expires = answer.get("expires_in")
        return Token(token, None if expires is None else _number(expires, 0.0))

    def _keep(self, refresh: Secret) -> None:
        keep = self.context.field("remember") == "keychain"
        self.context.secrets.set(self.context.server, "refresh_token", refresh, keep=keep)


def _number(value: Any, default: float) -> float:
    """Return a number of seconds, which some issuers give as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return default
