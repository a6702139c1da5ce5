"""What all kinds of credentials have in common: where they go, and tokens that are fetched anew in time."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicombridge.errors import AuthenticationError, UnreachableError
from dicombridge.web.addresses import origin
from dicombridge.web.cancelling import Cancel
from dicombridge.web.secrets import Secret, Secrets, SharedToken

if TYPE_CHECKING:
    from requests import PreparedRequest

    from dicombridge.web.servers import Server

__all__ = ["BoundCredentials", "Context", "SignIn", "Token", "TokenCredentials", "sign_ins_told"]

EARLY_SECONDS = 60.0
EARLY_SHARE = 0.2


@dataclass(frozen=True)
class SignIn:
    """What a person must do to sign in.

    Parameters
    ----------
    url
        Address to open in a browser.
    code
        What to type there; it opens nothing by itself.
    seconds
        How long both are good for.
    """

    url: str
    code: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"url": self.url, "code": self.code, "seconds": self.seconds}


_teller: ContextVar[Callable[[SignIn], object] | None] = ContextVar("dicombridge_sign_in", default=None)


@contextmanager
def sign_ins_told(function: Callable[[SignIn], object]) -> Iterator[None]:
    """Call something when a person must sign in, for credentials that are made in this block."""
    token = _teller.set(function)
    try:
        yield
    finally:
        _teller.reset(token)


class Context:
    """What credentials work with.

    Parameters
    ----------
    server
        The server that they let in to.
    secrets
        Where secrets are looked for.
    cancel
        Who may stop waiting for somebody to sign in.
    sign_in
        Called when a person must sign in; None where there is none to ask.
    """

    def __init__(
        self,
        server: Server,
        secrets: Secrets,
        cancel: Cancel | None = None,
        sign_in: Callable[[SignIn], object] | None = None,
    ) -> None:
        self.server = server
        self.secrets = secrets
        self.cancel = cancel or Cancel()
        self.sign_in = sign_in or _teller.get()

    def field(self, name: str, default: str = "") -> str:
        """Return a public field of the server's authentication."""
        return self.server.authentication.get(name, default)

    def needed_field(self, name: str) -> str:
        """Return a public field without which the kind does not work."""
        value = self.field(name)
        if not value:
            kind = self.server.authentication.kind
            raise AuthenticationError(f"{self.server}: the authentication {kind!r} needs the field {name!r}.")
        return value

    def needed(self, name: str) -> Secret:
        """Return a secret.

        Raises
        ------
        AuthenticationError
            Nobody gave it; ``needs`` names it.
        """
        secret = self.secrets.get(self.server, name)
        if not secret:
            readable = name.replace("_", " ")
            raise AuthenticationError(
                f"{self.server}: the {readable} is missing. It can be typed in, kept in the keychain, or stand in the "
                f"environment as DICOMBRIDGE_{name.upper()}, with the address in DICOMBRIDGE_SERVER.",
                needs=(name,),
            )
        return secret


class BoundCredentials(ABC):
    """Credentials that are sent to one server only, and over plain http only within this machine."""

    needs: tuple[str, ...] = ()
    """What to ask a person for when the server refuses these credentials."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.context.server}>"

    @property
    def key_password(self) -> str:
        """Passphrase of the client's private key, empty where there is none."""
        server = self.context.server
        secret = self.context.secrets.get(server, "passphrase") if server.tls.certificate else None
        return secret.reveal() if secret else ""

    def apply(self, request: PreparedRequest) -> None:
        """Let a request in.

        Raises
        ------
        AuthenticationError
            A secret is missing, or this is not where it may go.
        """
        place = origin(request.url or "")
        if place not in self.context.server.origins:
            raise AuthenticationError(f"{self.context.server}: its credentials are not sent to {place}.")
        if not place.is_private:
            raise AuthenticationError(f"{self.context.server}: credentials are not sent over plain http.")
        self.let_in(request)

    @abstractmethod
    def let_in(self, request: PreparedRequest) -> None:
        """Add what lets a request in."""

    def renew(self, challenge: str) -> bool:
        """Return False: there is nothing to fetch anew."""
        del challenge
        return False


@dataclass(frozen=True)
class Token:
    """What opens a server for a while.

    Parameters
    ----------
    value
        The token.
    seconds
        How long it is good for from now on; None where nobody says.
    """

    value: Secret
    seconds: float | None = None


class TokenCredentials(BoundCredentials):
    """A bearer token that is fetched, and fetched anew shortly before it ends and when the server refuses it.

    RFC 6750. Threads share the token: whichever finds it old fetches the next, the others wait.
    """

    needs = ("sign-in",)
    shared = False
    """Whether other credentials of the same server, way in and :class:`Secrets` take over the token."""
    clock = staticmethod(time.monotonic)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._lock = threading.Lock()
        self._token: Secret | None = None
        self._until = self._end = 0.0
        self._last = threading.local()

    @abstractmethod
    def fetch(self, forced: bool) -> Token:
        """Return a token; a new one if ``forced``, because the server refused the last."""

    def token(self) -> Secret:
        """Return the token that is good now."""
        with self._lock:
            if (self._token is None or self.clock() >= self._until) and not self._take_over():
                try:
                    self._fetch(forced=False)
                except UnreachableError:
                    if self._token is None or self.clock() >= self._end:
                        raise
                    # It is good for a while yet, and whoever gives the next may be back by then.
            assert self._token is not None
            return self._token

    def let_in(self, request: PreparedRequest) -> None:
        token = self.token()
        self._last.token = token
        request.headers["Authorization"] = bearer(token, self.context.server)

    def renew(self, challenge: str) -> bool:
        """Fetch another token, unless another thread has done so since this one sent its request."""
        refused = getattr(self._last, "token", None)
        with self._lock:
            if refused is not None and self._token is not None and self._token != refused:
                return True
            if self.shared and refused is not None:
                self.context.secrets.drop_token(self.context.server, refused)
            # Never taken over from others here: theirs may be refused too, and a request is sent again only once.
            self._fetch(forced=True)
            return self._token != refused

    def _take_over(self) -> bool:
        """Use the token that other credentials fetched, where it is good for a while yet."""
        found = self.context.secrets.shared_token(self.context.server) if self.shared else None
        if found is None or self.clock() >= found.until:
            return False
        self._token, self._until, self._end = found
        return True

    def _fetch(self, forced: bool) -> None:
        token = self.fetch(forced)
        self._token = token.value
        seconds = float("inf") if token.seconds is None else token.seconds
        self._end = self.clock() + seconds
        self._until = self._end - min(EARLY_SECONDS, seconds * EARLY_SHARE)
        if self.shared:
            found = SharedToken(token.value, self._until, self._end)
            self.context.secrets.share_token(self.context.server, found)


def is_word(text: str) -> bool:
    """Return whether a text is one word of visible ASCII characters, as what stands in a header has to be."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def bearer(token: Secret, server: Server) -> str:
    """Return the value of ``Authorization`` for a token. RFC 6750 2.1.

    Raises
    ------
    AuthenticationError
        This is no token: an error text, or something with line breaks, which could become headers of its own.
    """
    value = token.reveal()
    if not is_word(value):
        raise AuthenticationError(f"{server}: what should be a token is none.", needs=("token",))
    return f"Bearer {value}"
