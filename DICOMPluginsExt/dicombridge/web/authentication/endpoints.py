"""The addresses of an OpenID Connect issuer, and questions to them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dicombridge.errors import AuthenticationError, UnreachableError
from dicombridge.web.addresses import joined, origin
from dicombridge.web.authentication.base import Context
from dicombridge.web.secrets import Secret, hidden

if TYPE_CHECKING:
    import requests

__all__ = ["Endpoints", "GrantError", "as_text"]

TIMEOUT = (10.0, 30.0)
MOST_BYTES = 1 << 20
OK = 200
MOST_DESCRIPTION = 300


class GrantError(AuthenticationError):
    """The issuer gives no token. RFC 6749 5.2."""

    def __init__(self, message: str, details: str = "", code: str = "") -> None:
        super().__init__(message, details, needs=("client_secret",) if code == "invalid_client" else ("sign-in",))
        self.code = code


class Endpoints:
    """Addresses of an issuer, which it tells or which are given.

    Parameters
    ----------
    context
        The server and its authentication: fields ``issuer``, ``token_endpoint``, ``device_endpoint``, ``ca_bundle``.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: dict[str, Any] | None = None
        self._authorization: Secret | None = None  # held, so that it is known as a secret

    @property
    def token(self) -> str:
        """Address that gives tokens."""
        return self._address("token_endpoint", "token_endpoint")

    @property
    def device(self) -> str:
        """Address that begins signing in."""
        return self._address("device_endpoint", "device_authorization_endpoint")

    def post(self, url: str, values: dict[str, str], authenticate: bool = False) -> dict[str, Any]:
        """Ask an address of the issuer something.

        Parameters
        ----------
        url
            The address.
        values
            The form. It goes nowhere else: redirects are not followed.
        authenticate
            Show the client's secret where there is one. RFC 6749 2.3.1.

        Raises
        ------
        GrantError
            The issuer answers with an error.
        UnreachableError
            It does not answer.
        """
        headers = {}
        secret = self._context.secrets.get(self._context.server, "client_secret") if authenticate else None
        if secret:
            methods = (self._found or {}).get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
            if "client_secret_basic" in methods or "client_secret_post" not in methods:
                pair = f"{quote(values['client_id'], safe='')}:{quote(secret.reveal(), safe='')}"
                self._authorization = Secret(base64.b64encode(pair.encode()).decode("ascii"))
                headers["Authorization"] = f"Basic {self._authorization.reveal()}"
            else:
                values = {**values, "client_secret": secret.reveal()}
        status, answer = self._exchange("POST", url, values, headers)
        if status != OK or "error" in answer:
            code = hidden(as_text(answer, "error"))[:60] or str(status)
            description = hidden(as_text(answer, "error_description"))[:MOST_DESCRIPTION]
            raise GrantError(f"{self._context.server}: {origin(url)} gives no token: {code}.", description, code)
        return answer

    def _address(self, field: str, name: str) -> str:
        url = self._context.field(field)
        if not url:
            if self._found is None:
                self._found = self._discover()
            url = as_text(self._found, name)
        if not url:
            raise AuthenticationError(f"{self._context.server}: the issuer has no {name.replace('_', ' ')}.")
        return self._checked(url)

    def _discover(self) -> dict[str, Any]:
        issuer = self._context.needed_field("issuer")
        url = self._checked(joined(issuer, ".well-known", "openid-configuration"))
        status, answer = self._exchange("GET", url, None, {})
        if status != OK:
            raise AuthenticationError(f"{self._context.server}: {origin(url)} is no OpenID Connect issuer ({status}).")
        told = as_text(answer, "issuer")
        # Entra's common issuer has a place holder for the organisation.
        if told.rstrip("/") != issuer.rstrip("/") and "{tenantid}" not in told:
            raise AuthenticationError(
                f"{self._context.server}: the issuer calls itself something else: {told[:200]!r}."
            )
        return answer

    def _checked(self, url: str) -> str:
        place = origin(url)
        if not place.is_private:
            raise AuthenticationError(f"{self._context.server}: secrets are not sent to {place} over plain http.")
        return url

    def _exchange(
        self, method: str, url: str, values: dict[str, str] | None, headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """Send one request, and return status and JSON of the answer."""
        import requests

        from dicombridge.web.servers import Server, Tls
        from dicombridge.web.sessions import Session

        cancel = self._context.cancel
        cancel.check()
        bundle = self._context.field("ca_bundle") or self._context.server.tls.ca_bundle
        server = Server(str(origin(url)), tls=Tls(ca_bundle=bundle))
        with Session(server, stopped=lambda: cancel.cancelled) as session:
            forget = cancel.on_cancel(session.shut)
            try:
                with session.request(
                    method,
                    url,
                    data=values,
                    headers={"Accept": "application/json", **headers},
                    timeout=TIMEOUT,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    return response.status_code, _json(response)
            except (requests.RequestException, OSError, ValueError) as error:
                cancel.check()
                # From None: these errors hold the whole request.
                raise UnreachableError(
                    f"{self._context.server}: {origin(url)}, where one signs in, does not answer.",
                    details=type(error).__name__,
                ) from None
            finally:
                forget()


def as_text(values: dict[str, Any], name: str, default: str = "") -> str:
    """Return a text of an answer, the default where there is none."""
    value = values.get(name)
    return value if isinstance(value, str) and value else default


def _json(response: requests.Response) -> dict[str, Any]:
    """Return the JSON of an answer; nothing where it is something else."""
    body = b""
    for piece in response.iter_content(1 << 16):
        body += piece
        if len(body) > MOST_BYTES:
            return {}
    try:
        values = json.loads(body)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
