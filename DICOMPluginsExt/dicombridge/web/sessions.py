"""The HTTP session below a connection: requests of one server, with its credentials, TLS, and sockets that can be shut.

It is a ``requests.Session``, so that dicomweb-client can use it too, and what holds for our requests holds for those
that it sends.
"""

from __future__ import annotations

import socket
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dicombridge.errors import AuthenticationError, RefusedError
from dicombridge.web.addresses import is_loopback, origin
from dicombridge.web.servers import Server

__all__ = ["Credentials", "Session", "Timeouts"]

MOST_REDIRECTS = 5


class Timeouts(tuple[float, float]):
    """Seconds to wait for a connection, and for each next byte."""

    def __new__(cls, connect: float = 10.0, read: float = 60.0) -> Timeouts:
        """Make a pair, which is what requests takes."""
        return super().__new__(cls, (connect, read))


class Credentials(Protocol):
    """What lets a request in. :mod:`dicombridge.web.authentication` makes them."""

    def apply(self, request: requests.PreparedRequest) -> None:
        """Add headers to a request, or sign it."""

    def renew(self, challenge: str) -> bool:
        """Fetch new credentials after a 401, whose ``WWW-Authenticate`` is given; True where there is something new."""


class Session(requests.Session):
    """A session with one server.

    Parameters
    ----------
    server
        The server.
    credentials
        What lets requests in, None for nothing. They go to the server's own scheme, host and port, and nowhere else.
    connections
        Sockets that are kept open.
    stopped
        Whether everything is to be shut: a connection that comes about after that is of no use any more.

    Raises
    ------
    AuthenticationError
        A file with certificates is not there.
    """

    def __init__(
        self,
        server: Server,
        credentials: Credentials | None = None,
        connections: int = 8,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        for path in filter(None, (server.tls.ca_bundle, server.tls.certificate, server.tls.key)):
            if not Path(path).exists():  # requests would raise what looks like a connection that broke
                raise AuthenticationError(f"{server}: there is no file {path} with a certificate or key.")
        self.server = server
        self.credentials = credentials
        self.max_redirects = MOST_REDIRECTS
        self.headers.update({"User-Agent": "dicombridge", **server.headers})
        # Something is always set here, because requests would otherwise look for passwords in ~/.netrc.
        self.auth = self._let_in
        self.cookies.set_policy(_NO_COOKIES)
        if server.tls.ca_bundle:
            self.verify = server.tls.ca_bundle
        if server.tls.certificate:
            self.cert = (server.tls.certificate, server.tls.key) if server.tls.key else server.tls.certificate
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._sockets_lock = threading.Lock()
        self._stopped = stopped
        # Never None: OpenSSL would ask for the passphrase of a key on a terminal, and wait.
        passphrase = getattr(credentials, "key_password", "")
        adapter = _Adapter(self._opened, passphrase, pool_connections=4, pool_maxsize=connections)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Prefer the server's own authorities to those of the environment, which requests would let win."""
        merged = super().merge_environment_settings(url, proxies, stream, verify, cert)
        if self.server.tls.ca_bundle:
            merged["verify"] = self.server.tls.ca_bundle
        return merged

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, and once more with new credentials where the server refuses those that it got."""
        # dicomweb-client sets this without the port, and servers build addresses from it that lead nowhere.
        request.headers.pop("Host", None)
        response = super().send(request, **options)
        if response.status_code != HTTPStatus.UNAUTHORIZED or self.credentials is None:
            return response
        if not self._is_own(request.url or "") or not self.credentials.renew(
            response.headers.get("WWW-Authenticate", "")
        ):
            return response
        response.close()
        again = request.copy()
        for name in ("Authorization", "Cookie"):
            again.headers.pop(name, None)
        self._let_in(again)
        return super().send(again, **options)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Follow redirects within the server only, because elsewhere nobody has agreed to send anything.

        Raises
        ------
        RefusedError
            The server sends us to another one.
        """
        target = super().get_redirect_target(resp)
        if target is None:
            return None
        absolute = urljoin(resp.url, target)
        if origin(absolute) != origin(resp.url) or resp.request.method not in ("GET", "HEAD"):
            resp.close()
            raise RefusedError(
                f"{self.server}: the server sends us on to {origin(absolute)}, where we do not follow. "
                "If you trust that address, enter it as the server's.",
                status=resp.status_code,
            )
        return target

    def close(self) -> None:
        """Close all sockets; urllib3 leaves those of its pools to the garbage collector."""
        super().close()
        with self._sockets_lock:
            sockets = list(self._sockets)
        for one in sockets:
            with suppress(OSError, ValueError):
                one.close()

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Let a redirected request in anew: a signature is of one address, and requests would look into ~/.netrc."""
        del response
        prepared_request.headers.pop("Authorization", None)
        self._let_in(prepared_request)

    def shut(self) -> None:
        """Shut all sockets, from any thread: whoever reads from one or writes to one gets an error at once."""
        with self._sockets_lock:  # another thread may open one at this moment
            sockets = list(self._sockets)
        for one in sockets:
            _shut(one)

    def _opened(self, one: socket.socket) -> None:
        with self._sockets_lock:
            self._sockets.add(one)
        if self._stopped():  # while it was being opened, so that nobody else could shut it
            _shut(one)

    def _is_own(self, url: str) -> bool:
        return origin(url) in self.server.origins

    def _let_in(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Give a request to the server its credentials."""
        url = request.url or ""
        if self.credentials is None or not self._is_own(url):
            return request
        place = origin(url)
        if not place.is_private:
            raise AuthenticationError(
                f"{self.server}: credentials are not sent over plain http, where everybody on the way can read them. "
                "Use an address that begins with https://."
            )
        self.credentials.apply(request)
        return request


class _Adapter(HTTPAdapter):
    """Opens connections whose sockets are told to somebody who may shut them."""

    def __init__(self, opened: Callable[[socket.socket], None], passphrase: str, **options: Any) -> None:
        self._pools = _pools(opened)
        self._passphrase = passphrase
        super().__init__(max_retries=0, **options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, key_password=self._passphrase, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def send(
        self,
        request: requests.PreparedRequest,
        stream: Any = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send a request; one to this machine never through a proxy, which may be another machine."""
        if is_loopback(origin(request.url or "").host):
            proxies = {}
        return super().send(request, stream, timeout, verify, cert, proxies)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, key_password=self._passphrase, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _shut(one: socket.socket) -> None:
    with suppress(OSError, ValueError):
        # The method of the base class: that of SSL sockets would take apart what another thread is using.
        socket.socket.shutdown(one, socket.SHUT_RDWR)


def _pools(opened: Callable[[socket.socket], None]) -> dict[str, type[HTTPConnectionPool]]:
    """Return classes of pools whose connections tell their sockets.

    The socket and not the connection, because a response that ends with its connection takes the socket with it.
    """

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            opened(self.sock)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            opened(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _NoCookies:
    """Policy that takes and sends no cookies: a session of a server must not outlive its credentials."""

    return_ok = set_ok = domain_return_ok = path_return_ok = lambda *_arguments, **_options: False
    netscape, rfc2965, hide_cookie2 = True, False, False


_NO_COOKIES: Any = _NoCookies()
