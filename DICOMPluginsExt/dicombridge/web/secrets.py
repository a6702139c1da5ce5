"""Passwords, tokens and keys: in memory, in the operating system's keychain, or from the environment.

They are never in a settings file, on a command line, in a log, in the text of an error or in a scene. Each belongs to
exactly one server, that is to scheme, host and port of its services, and to one way in, so that a server whose address
was changed, by hand or by an imported file, asks again.

Where a secret is looked for, in this order:

1. what was given in this process (:func:`set_secret`, standard input),
2. the environment: ``DICOMBRIDGE_SERVER`` is an address and ``DICOMBRIDGE_PASSWORD``, ``DICOMBRIDGE_TOKEN``, ... are
   what opens it; or ``DICOMBRIDGE_SECRETS``, for several servers, is JSON: ``{"https://host": {"password": "..."}}``,
3. the keychain, through the package ``keyring`` (extra ``keychain``).
"""

from __future__ import annotations

import base64
import getpass
import itertools
import json
import logging
import os
import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TextIO
from urllib.parse import quote

from dicombridge.errors import DicomBridgeError, UnsupportedError
from dicombridge.web.addresses import origin

if TYPE_CHECKING:
    from dicombridge.web.servers import Authentication, Server

__all__ = [
    "Secret",
    "Secrets",
    "SharedToken",
    "forget_secret",
    "get_secret",
    "hidden",
    "read_secret",
    "session",
    "set_secret",
]

KEYCHAIN = "dicombridge"
BINDING = ("user", "issuer", "token_endpoint", "device_endpoint", "client_id", "access_key", "account", "token_uri")
"""Fields of an authentication that say whose secret it is, or where else it is sent."""
SHORTEST_HIDDEN = 4
PLAIN_TEXT_PRIORITY = 1  # keyring's own measure: what it recommends has at least this, files of plain text have less

_LOG = logging.getLogger(__name__)
# By number and not as a set: of two equal secrets, each must be known as long as it is held.
_known: weakref.WeakValueDictionary[int, Secret] = weakref.WeakValueDictionary()
_numbers = itertools.count()
_known_lock = threading.Lock()


class Secret:
    """A text that does not show where a value is printed, and that cannot be written to a file by accident.

    >>> secret = Secret("abc")
    >>> secret, f"{secret}"
    (Secret(...), 'Secret(...)')
    >>> secret.reveal()
    'abc'
    >>> opener = Secret("Simsim, open")
    >>> hidden("Bearer Simsim, open")
    'Bearer (secret)'
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        with _known_lock:
            _known[next(_numbers)] = self

    def reveal(self) -> str:
        """Return the text itself, for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not written anywhere.")


def hidden(text: str) -> str:
    """Return a text in which every secret that this process knows is replaced.

    For texts that come from elsewhere, such as explanations of servers and programs: some repeat what they were sent.
    """
    with _known_lock:
        values = {secret.reveal() for secret in _known.values()}
    forms = {form for value in values if len(value) >= SHORTEST_HIDDEN for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "(secret)")
    return text


class SharedToken(NamedTuple):
    """An access token that other credentials of the same server may use too.

    Parameters
    ----------
    value
        The token.
    until, end
        When to fetch the next, and when it ends: seconds of the monotonic clock.
    """

    value: Secret
    until: float
    end: float


class Secrets:
    """Secrets of this process, those of its environment, and those in the keychain.

    All methods may be called from any thread.

    Parameters
    ----------
    environment
        Variables; by default those of the process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._lock = threading.Lock()
        self._memory: dict[tuple[str, str], Secret] = {}
        self._absent: set[tuple[str, str]] = set()
        self._outside: dict[tuple[str, str], Secret] = {}  # held, so that they are known as secrets
        self._tokens: dict[str, dict[Authentication, SharedToken]] = {}  # in memory only
        self._keychain_lock = threading.Lock()

    def __repr__(self) -> str:
        return "<Secrets>"

    def get(self, server: Server, field: str) -> Secret | None:
        """Return a secret of a server, None where nobody gave it.

        Parameters
        ----------
        server
            The server; its origins and its authentication say which secret is meant, its name does not.
        field
            Name of the secret, e.g. ``password``.
        """
        key = (_place(server), field)
        with self._lock:
            if key in self._memory:
                return self._memory[key]
        value = self._from_environment(server, field)
        with self._lock:
            if value is not None:
                self._outside[key] = value
                return value
            if key in self._absent:
                return None
        value = _from_keychain(*key)
        with self._lock:
            if value is None:
                self._absent.add(key)
                return None
            return self._memory.setdefault(key, value)

    def set(self, server: Server, field: str, value: str | Secret, keep: bool = False) -> None:
        """Remember a secret until the process ends.

        Parameters
        ----------
        server, field
            As of :meth:`get`.
        value
            The secret.
        keep
            Also put it into the keychain of the operating system.

        Raises
        ------
        UnsupportedError
            There is no keychain, or only one that would write a file that everybody can read. It is remembered in
            memory all the same.
        """
        secret = value if isinstance(value, Secret) else Secret(value)
        key = (_place(server), field)
        with self._lock:
            self._memory[key] = secret
            self._absent.discard(key)
            self._tokens.pop(key[0], None)
        if keep:
            with self._keychain_lock:
                _to_keychain(*key, secret)

    def forget(self, server: Server, field: str) -> None:
        """Forget a secret, also in the keychain; what is in the environment stays."""
        key = (_place(server), field)
        with self._lock:
            self._memory.pop(key, None)
            self._absent.discard(key)
            self._tokens.pop(key[0], None)
        with self._keychain_lock:
            _remove_from_keychain(*key)

    def drop(self, server: Server, field: str, refused: Secret) -> Secret | None:
        """Forget a secret that was refused, but not another that has taken its place; return that other.

        Parameters
        ----------
        server, field
            As of :meth:`get`.
        refused
            The secret that is of no use any more.
        """
        key = (_place(server), field)
        with self._lock:
            other = self._memory.get(key)
            if other is not None and other != refused:
                return other
            self._memory.pop(key, None)
        # With a lock of its own: whoever has just got the next one writes it before this, or after, not in between.
        with self._keychain_lock:
            if _from_keychain(*key) == refused:
                _remove_from_keychain(*key)
        other = self.get(server, field)
        return None if other == refused else other

    def shared_token(self, server: Server) -> SharedToken | None:
        """Return the access token that was fetched for this place and this way in, None where there is none."""
        with self._lock:
            return self._tokens.get(_place(server), {}).get(server.authentication)

    def share_token(self, server: Server, token: SharedToken) -> None:
        """Let other credentials of this place use an access token, until a secret of the place changes."""
        with self._lock:
            self._tokens.setdefault(_place(server), {})[server.authentication] = token

    def drop_token(self, server: Server, refused: Secret) -> None:
        """Forget an access token that the server refused, but not another that has taken its place."""
        with self._lock:
            tokens = self._tokens.get(_place(server), {})
            found = tokens.get(server.authentication)
            if found is not None and found.value == refused:
                del tokens[server.authentication]

    def kept(self, server: Server, field: str) -> bool:
        """Return whether the keychain has this secret."""
        return _from_keychain(_place(server), field) is not None

    def forget_all(self) -> None:
        """Forget what is in memory."""
        with self._lock:
            self._memory.clear()
            self._absent.clear()
            self._tokens.clear()

    def _from_environment(self, server: Server, field: str) -> Secret | None:
        origins = server.origins
        if not origins:
            return None
        given = self._environment.get(f"DICOMBRIDGE_{field.upper()}")
        if given is not None and _is_for(self._environment.get("DICOMBRIDGE_SERVER", ""), origins):
            return Secret(given)
        text = self._environment.get("DICOMBRIDGE_SECRETS")
        for address, fields in _read_several(text).items() if text else ():
            if _is_for(address, origins) and isinstance(fields, dict) and field in fields:
                return Secret(str(fields[field]))
        return None


session = Secrets()
"""The secrets of this process."""


def get_secret(server: Server, field: str) -> Secret | None:
    """Return a secret of a server, see :meth:`Secrets.get`."""
    return session.get(server, field)


def set_secret(server: Server, field: str, value: str | Secret, keep: bool = False) -> None:
    """Remember a secret of a server, see :meth:`Secrets.set`."""
    session.set(server, field, value, keep)


def forget_secret(server: Server, field: str) -> None:
    """Forget a secret of a server, see :meth:`Secrets.forget`."""
    session.forget(server, field)


def read_secret(stream: TextIO, prompt: str = "Password: ") -> Secret:
    """Read one secret from standard input: a line, or what somebody types without its being shown.

    Raises
    ------
    DicomBridgeError
        There is nothing to read.
    """
    line = getpass.getpass(prompt) if stream.isatty() else stream.readline().rstrip("\r\n")
    if not line:
        raise DicomBridgeError("No secret was given on standard input.")
    return Secret(line)


def _place(server: Server) -> str:
    """Return the text under which secrets of a server are kept: where they go, and whose they are."""
    origins = " ".join(sorted(str(one) for one in server.origins))
    authentication = server.authentication
    whose = [f"{name}={quote(authentication.get(name), safe='')}" for name in BINDING if authentication.get(name)]
    return " ".join([origins, authentication.kind, *whose])


def _is_for(address: str, origins: frozenset[Any]) -> bool:
    """Return whether all services of a server are where a secret may go."""
    try:
        return bool(address) and origins == {origin(address)}
    except DicomBridgeError:
        return False


def _read_several(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        # From None: the error of the parser holds the text.
        raise DicomBridgeError('DICOMBRIDGE_SECRETS is not JSON like {"https://host": {"password": "..."}}.') from None
    return values


def _forms(value: str) -> set[str]:
    """Return a secret as it may come back: as it is, in an address, in JSON, in a header."""
    plain = value.encode("utf-8")
    coded = base64.b64encode(plain).decode("ascii")
    return {value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1], coded}


def _keyring() -> Any:
    """Return the module ``keyring`` where it is installed and has a keychain worth the name."""
    try:
        import keyring
    except ImportError:
        return None
    try:
        return keyring if keyring.get_keyring().priority >= PLAIN_TEXT_PRIORITY else None
    except Exception as error:  # backends raise whatever their libraries do
        _LOG.warning("The keychain cannot be used (%s).", type(error).__name__)
        return None


def _from_keychain(place: str, field: str) -> Secret | None:
    keyring = _keyring()
    if keyring is None:
        return None
    try:
        value = keyring.get_password(KEYCHAIN, f"{field} {place}")
    except Exception as error:  # locked, refused, or a library's own
        _LOG.warning("The keychain could not be read (%s).", type(error).__name__)
        return None
    return None if value is None else Secret(value)


def _to_keychain(place: str, field: str, secret: Secret) -> None:
    keyring = _keyring()
    if keyring is None:
        raise UnsupportedError(
            "There is no keychain to keep secrets in: install the extra dicombridge[keychain], and on Linux a secret "
            "service such as GNOME Keyring or KWallet. Until then secrets are remembered while the program runs."
        )
    try:
        keyring.set_password(KEYCHAIN, f"{field} {place}", secret.reveal())
    except Exception as error:  # locked, refused, too long, or a library's own; its text may hold the secret
        reason = type(error).__name__
        raise UnsupportedError(
            f"The keychain did not take the secret ({reason}). It is remembered in memory."
        ) from None


def _remove_from_keychain(place: str, field: str) -> None:
    keyring = _keyring()
    if keyring is None:
        return
    try:
        if keyring.get_password(KEYCHAIN, f"{field} {place}") is not None:
            keyring.delete_password(KEYCHAIN, f"{field} {place}")
    except Exception as error:
        reason = type(error).__name__
        raise UnsupportedError(f"The keychain did not give up the secret ({reason}).") from None
