"""Google's application default credentials, and keys of service accounts, through the package ``google-auth``."""

from __future__ import annotations

import datetime
import json
from typing import Any

from dicombridge.errors import AuthenticationError, UnreachableError
from dicombridge.web.authentication.base import Context, Token, TokenCredentials
from dicombridge.web.authentication.gcloud import check_google_hosts
from dicombridge.web.secrets import Secret, hidden

__all__ = ["GoogleCredentials"]

EVERYTHING = "https://www.googleapis.com/auth/cloud-platform"
HEALTHCARE = "https://www.googleapis.com/auth/cloud-healthcare"


class GoogleCredentials(TokenCredentials):
    """Tokens of a service account or of the application default credentials.

    The key of a service account is a file (field ``key_file``) or the secret ``service_account`` with the file's text.
    Without either, the application default credentials are used, which ``gcloud auth application-default login`` sets.

    Raises
    ------
    AuthenticationError
        The server is not Google's.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        check_google_hosts(context)
        self._credentials: Any = None

    def fetch(self, forced: bool) -> Token:
        del forced  # a token is only fetched here when it is needed
        try:
            import google.auth.exceptions
            import google.auth.transport.requests
        except ImportError:
            raise AuthenticationError(
                f"{self.context.server}: Google's credentials need the package google-auth: install the extra "
                "dicombridge[google], or use the authentication 'gcloud'."
            ) from None
        self.context.cancel.check()
        try:
            if self._credentials is None:
                self._credentials = self._find()
            with _session() as session:
                self._credentials.refresh(google.auth.transport.requests.Request(session))
        except google.auth.exceptions.TransportError:
            raise UnreachableError(f"{self.context.server}: Google's token service does not answer.") from None
        except google.auth.exceptions.DefaultCredentialsError:
            raise AuthenticationError(
                f"{self.context.server}: there are no application default credentials. "
                "The command that sets them is 'gcloud auth application-default login'.",
                needs=("sign-in",),
            ) from None
        except google.auth.exceptions.GoogleAuthError as error:
            raise AuthenticationError(
                f"{self.context.server}: Google does not accept these credentials.",
                details=hidden(str(error)),
                needs=("sign-in",),
            ) from None
        return Token(Secret(str(self._credentials.token)), _seconds(self._credentials.expiry))

    def _find(self) -> Any:
        key = self._key()
        scope = self.context.field("scope", HEALTHCARE if key else EVERYTHING).split()
        if key is None:
            import google.auth

            return google.auth.default(scopes=scope)[0]
        from google.oauth2 import service_account

        kind: Any = service_account.Credentials  # untyped in part
        try:
            return kind.from_service_account_info(key, scopes=scope)
        except (ValueError, KeyError):
            raise self._no_key() from None

    def _key(self) -> dict[str, Any] | None:
        path = self.context.field("key_file")
        secret = self.context.secrets.get(self.context.server, "service_account")
        if not path and not secret:
            return None
        try:
            text = secret.reveal() if secret else _read(path)
            key = json.loads(text)
        except OSError as error:
            raise AuthenticationError(f"{self.context.server}: {path}: {error.strerror}.") from error
        except ValueError:
            raise self._no_key() from None  # the parser's error holds the text
        if not isinstance(key, dict) or key.get("type") != "service_account":
            raise self._no_key()
        # Held, so that the key itself is known as a secret and not only the JSON around it.
        self._private = Secret(str(key.get("private_key", "")))
        return key

    def _no_key(self) -> AuthenticationError:
        return AuthenticationError(
            f"{self.context.server}: this is not the JSON key of a service account.", needs=("service_account",)
        )


def _read(path: str) -> str:
    from pathlib import Path

    return Path(path).expanduser().read_text("utf-8")


def _session() -> Any:
    import requests

    session = requests.Session()
    session.auth = lambda request: request  # something, because requests would look for passwords in ~/.netrc
    return session


def _seconds(expiry: datetime.datetime | None) -> float | None:
    """Return how long a token is good for; google-auth gives the moment without a time zone, in UTC."""
    if expiry is None:
        return None
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return max((expiry - now).total_seconds(), 0.0)
