"""One job's connection with a server: requests, answers that are read piece by piece, and clear errors."""

from __future__ import annotations

import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException
from typing import Any

import requests
import urllib3

from dicombridge.errors import (
    AuthenticationError,
    CancelledError,
    DamagedAnswerError,
    RefusedError,
    UnreachableError,
)
from dicombridge.web.addresses import origin
from dicombridge.web.cancelling import Cancel
from dicombridge.web.retrying import Retries, retry_after
from dicombridge.web.secrets import hidden
from dicombridge.web.servers import Server
from dicombridge.web.sessions import Credentials, Session, Timeouts

__all__ = ["DICOM_JSON", "Answer", "Connection"]

DICOM_JSON = "application/dicom+json, application/json;q=0.9"
BUFFER = 1 << 18
MOST_JSON = 512 << 20
MOST_EXPLANATION = 1 << 16

# urllib3 has a class of its own from 2.0 on; before, the error of the socket is in the chain.
_UNKNOWN_NAME = (socket.gaierror, getattr(urllib3.exceptions, "NameResolutionError", socket.gaierror))


class Connection:
    """One job's connection with a server.

    Parameters
    ----------
    server
        A DICOMweb server.
    credentials
        What lets requests in; by default what the server's authentication and the known secrets give.
    cancel
        Who may stop the job; all sockets are shut then.
    timeouts
        Seconds for connecting, and for each next byte.
    retries
        How often what failed for a while is asked again. Only requests that change nothing are repeated.

    Raises
    ------
    AuthenticationError
        A secret is missing.
    """

    def __init__(
        self,
        server: Server,
        credentials: Credentials | None = None,
        cancel: Cancel | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
    ) -> None:
        self.server = server
        self.cancel = cancel or Cancel()
        if credentials is None and server.authentication.kind != "none":
            from dicombridge.web.authentication import credentials_for

            credentials = credentials_for(server, cancel=self.cancel)
        self.timeouts = timeouts or Timeouts()
        self.retries = retries or Retries()
        self.session = Session(server, credentials, server.profile.connections, lambda: self.cancel.cancelled)
        self._pace = _Pace(server.profile.requests_per_second)
        self._forget = self.cancel.on_cancel(self.session.shut)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all sockets."""
        self._forget()
        self.session.close()

    def get(
        self,
        url: str,
        accept: str = "*/*",
        params: Mapping[str, str] | list[tuple[str, str]] | None = None,
        encoding: str = "identity",
        headers: Mapping[str, str] | None = None,
        retries: Retries | None = None,
    ) -> Answer:
        """Ask for something; what fails for a while is asked again.

        Parameters
        ----------
        url
            The address.
        accept
            ``Accept`` of the request.
        params
            What follows the question mark.
        encoding
            ``identity`` for pixels, because compressing them costs servers ten times the time; ``gzip`` for JSON.
        headers
            More headers.
        retries
            Instead of the connection's own.

        Returns
        -------
        Answer
            To be closed, with a status below 300; its body is read piece by piece.

        Raises
        ------
        UnreachableError, AuthenticationError, RefusedError, DamagedAnswerError, CancelledError
        """
        retries = retries or self.retries
        number = 0
        while True:
            try:
                return self._request("GET", url, accept, encoding, headers=headers, params=params)
            except RefusedError as error:
                if error.status not in retries.statuses:
                    raise
                delay = retries.delay(number, error.retry_after)
                if delay is None:
                    raise
            except _LostError:
                delay = retries.delay(number)
                if delay is None:
                    raise
            number += 1
            self.cancel.wait(delay)

    def send(
        self, method: str, url: str, body: Any, headers: Mapping[str, str] | None = None, accept: str = DICOM_JSON
    ) -> Answer:
        """Send something, once.

        Parameters
        ----------
        method
            ``POST`` or ``PUT``.
        url
            The address.
        body
            Bytes, or something with ``__len__`` whose ``__iter__`` begins anew each time: it is sent with its length,
            and sent again whole where credentials had to be renewed.
        headers
            ``Content-Type`` and others.
        accept
            ``Accept`` of the request.

        Returns
        -------
        Answer
            To be closed. Status 409 and others that come with a list of what failed are errors too, see
            ``RefusedError.details``; who wants to read the answer itself uses :meth:`exchange`.

        Raises
        ------
        UnreachableError, AuthenticationError, RefusedError, DamagedAnswerError, CancelledError
        """
        return self._request(method, url, accept, "gzip", data=body, headers=headers)

    def exchange(
        self, method: str, url: str, body: Any, headers: Mapping[str, str] | None = None, accept: str = DICOM_JSON
    ) -> Answer:
        """Send something once, as :meth:`send`, and return the answer whatever its status is, except 401 and 403."""
        return self._request(method, url, accept, "gzip", refuse=False, data=body, headers=headers)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what requests, urllib3 and sockets raise into our errors; also for what dicomweb-client does."""
        try:
            self.cancel.check()
            yield
        except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError, EOFError) as error:
            if self.cancel.cancelled:
                raise CancelledError from None
            raise _translated(error, self.server) from error
        except ValueError as error:
            # What http.client and SSL raise where another thread shut the socket.
            if self.cancel.cancelled:
                raise CancelledError from None
            # Its text may hold a header that could not be sent, and with it a secret.
            raise DamagedAnswerError(
                f"{self.server}: the answer cannot be read.", details=type(error).__name__
            ) from None

    def _request(
        self,
        method: str,
        url: str,
        accept: str,
        encoding: str,
        refuse: bool = True,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        self.cancel.check()
        self._pace.wait(self.cancel)
        all_headers = {"Accept": accept, "Accept-Encoding": encoding, **(headers or {})}
        with self.translated():
            response = self.session.request(
                method, url, headers=all_headers, stream=True, timeout=self.timeouts, **options
            )
        answer = Answer(self, response)
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise self._not_let_in(answer)
            if refuse:
                raise self._refused(answer)
        return answer

    def _not_let_in(self, answer: Answer) -> AuthenticationError:
        challenge = hidden(answer.headers.get("WWW-Authenticate", ""))
        explanation = answer.explanation()
        if answer.status == HTTPStatus.FORBIDDEN:
            text = f"{self.server}: this is not allowed (403)."
            return AuthenticationError(text, explanation, challenge=challenge, is_forbidden=True)
        if self.server.authentication.kind == "none":
            asked = challenge.partition(" ")[0] or "something that it does not name"
            text = f"{self.server}: the server wants to know who asks (401, {asked})."
        else:
            text = f"{self.server}: the server does not accept the credentials (401)."
        needs = getattr(self.session.credentials, "needs", ())
        return AuthenticationError(text, explanation, needs, challenge)

    def _refused(self, answer: Answer) -> RefusedError:
        explanation = answer.explanation()
        reason = hidden(answer.reason) or "an error"
        first = explanation.strip().splitlines()[0][:200] if explanation.strip() else ""
        short = f": {first}" if first and not first.startswith(("<", "{", "[")) else ""
        return RefusedError(
            f"{self.server}: the server answered {answer.status} {reason}{short}",
            explanation,
            answer.status,
            retry_after(answer.headers.get("Retry-After")),
        )


class Answer:
    """What a server answers; the body is read piece by piece."""

    def __init__(self, connection: Connection, response: requests.Response) -> None:
        self._connection = connection
        self._response = response
        self.status: int = response.status_code
        self.reason: str = response.reason or ""
        self.headers: Mapping[str, str] = response.headers
        self.url: str = response.url
        # http.client's own response: it undoes chunking and reads into our memory without a copy.
        self._stream = response.raw._fp
        self._inflater = _inflater(self.headers.get("Content-Encoding", ""))

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the answer; its socket is used again only where the body was read to the end."""
        with suppress(OSError, ValueError, urllib3.exceptions.HTTPError):
            if self._stream.isclosed():
                self._response.raw.release_conn()  # requests would close the connection, because it has read nothing
                return
            self._stream.close()
            self._response.raw.close()
            self._response.close()

    @property
    def length(self) -> int | None:
        """Bytes of the body as the header says, as it is on the wire; None where it does not say."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() and text.isascii() else None

    @property
    def is_encoded(self) -> bool:
        """Whether the body comes compressed; then :meth:`readinto` gives compressed bytes."""
        return self._inflater is not None

    def readinto(self, buffer: memoryview | bytearray) -> int:
        """Read the next bytes as they are on the wire into a buffer, as soon as there are some.

        Returns
        -------
        int
            How many; 0 at the end of the body. A body that ends before its length looks the same: compare with
            :attr:`length`.

        Raises
        ------
        UnreachableError, DamagedAnswerError, CancelledError
        """
        with self._connection.translated():
            count = _read_some(self._stream, memoryview(buffer))
        if not count:
            self._connection.cancel.check()  # a socket that was shut looks like the end of a body without a length
        return count

    def chunks(self, size: int = BUFFER, limit: int | None = None) -> Iterator[bytes]:
        """Read the body in pieces, decompressed.

        Parameters
        ----------
        size
            Most bytes of a piece.
        limit
            Most bytes of all, counted after decompression.

        Raises
        ------
        DamagedAnswerError
            There are more bytes than the limit, fewer than the header says, or the compression is broken.
        """
        got = given = 0
        buffer = memoryview(bytearray(size))
        while count := self.readinto(buffer):
            got += count
            for piece in self._inflated(bytes(buffer[:count]), size):
                given += len(piece)
                if limit is not None and given > limit:
                    raise DamagedAnswerError(f"{self._connection.server}: the answer is larger than {limit} bytes.")
                yield piece
        if not got and self.status == HTTPStatus.OK and not (self.length == 0 or self._stream.chunked):
            # A connection that is cut within the headers looks like an empty answer to http.client.
            raise DamagedAnswerError(f"{self._connection.server}: the answer ends before it begins.")
        if self.length is not None and got != self.length:
            raise DamagedAnswerError(f"{self._connection.server}: the answer ends after {got} of {self.length} bytes.")
        if self._inflater is not None and got and not self._inflater.eof:
            raise DamagedAnswerError(f"{self._connection.server}: the compressed answer is cut short.")

    def read(self, limit: int) -> bytes:
        """Read the whole body, decompressed, of at most ``limit`` bytes."""
        return b"".join(self.chunks(limit=limit))

    def json(self, limit: int = MOST_JSON) -> Any:
        """Read the body as JSON; None where it is empty.

        Raises
        ------
        DamagedAnswerError
            It is none.
        """
        body = self.read(limit)
        if not body.strip():
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            start = body[:80].decode("utf-8", "replace")
            raise DamagedAnswerError(
                f"{self._connection.server}: the answer is not JSON. Is this the root of a DICOMweb server?", start
            ) from error

    def explanation(self) -> str:
        """Return the text with which the server explains an error, and close the answer.

        Some servers repeat what they were sent, so what is known to be a secret is replaced.
        """
        with self, suppress(DamagedAnswerError, UnreachableError):
            pieces = b""
            for piece in self.chunks():
                pieces += piece
                if len(pieces) >= MOST_EXPLANATION:
                    break
            return hidden(pieces[:MOST_EXPLANATION].decode("utf-8", "replace"))
        return ""

    def _inflated(self, data: bytes, size: int) -> Iterator[bytes]:
        """Decompress in bounded pieces: a few bytes may stand for gigabytes."""
        if self._inflater is None:
            yield data
            return
        while data and not self._inflater.eof:
            try:
                piece = self._inflater.decompress(data, size)
            except zlib.error as error:
                message = f"{self._connection.server}: the compressed answer is broken."
                raise DamagedAnswerError(message) from error
            data = self._inflater.unconsumed_tail
            if piece:
                yield piece


class _Pace:
    """Keeps requests within a number a second, over all threads."""

    def __init__(self, per_second: float | None) -> None:
        self._step = 1.0 / per_second if per_second else 0.0
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, cancel: Cancel) -> None:
        if not self._step:
            return
        with self._lock:
            now = time.monotonic()
            at = max(self._next, now)
            self._next = at + self._step
        if at > now:
            cancel.wait(at - now)


class _LostError(UnreachableError):
    """A connection that was there and broke, or timed out: worth another try, other than a name that nobody knows."""


def _read_some(stream: Any, view: memoryview) -> int:
    """Read what is there; ``readinto`` of http.client would wait until the buffer is full, or the connection closed."""
    if stream.fp is None or not view:
        return 0
    left = stream._get_chunk_left() if stream.chunked else stream.length
    if stream.fp is None:  # that was the last chunk
        return 0
    count = int(stream.fp.readinto1(view if left is None else view[:left]) or 0)
    if stream.chunked:
        if not count:
            raise EOFError("within a chunk")
        stream.chunk_left -= count
        return count
    if left is not None:
        stream.length -= count
    if not count or stream.length == 0:
        stream._close_conn()
    return count


def _inflater(encoding: str) -> Any:
    """Return what decompresses gzip or deflate, None for what is not compressed."""
    return zlib.decompressobj(zlib.MAX_WBITS | 32) if encoding.lower() in ("gzip", "x-gzip", "deflate") else None


def _translated(error: Exception, server: Server) -> Exception:
    """Return our error for one of requests, urllib3 or sockets; texts of these may hold addresses with secrets."""
    chain = list(_chain(error))
    host = str(origin(server.url)) if not server.is_local else str(server)
    if isinstance(error, ValueError):
        return DamagedAnswerError(f"{server}: the answer cannot be read.", details=type(error).__name__)
    if any(isinstance(one, requests.exceptions.ProxyError) for one in chain):
        return _LostError(f"{server}: the proxy on the way to {host} does not let us through or does not answer.")
    if any(isinstance(one, _UNKNOWN_NAME) for one in chain):
        return UnreachableError(f"{server}: nobody knows the host of {host}. Is the address spelled right?")
    if any(isinstance(one, requests.exceptions.SSLError | urllib3.exceptions.SSLError) for one in chain):
        reason = next((str(one.verify_message) for one in chain if hasattr(one, "verify_message")), "")
        return UnreachableError(
            f"{server}: the server's certificate is not trusted{': ' + reason if reason else ''}. "
            "If its authority is your own, give its file as the CA bundle.",
            details=type(error).__name__,
        )
    if any(isinstance(one, ConnectionRefusedError) for one in chain):
        return UnreachableError(f"{server}: nothing listens at {host}. Is the server running?")
    if any(isinstance(one, requests.ConnectTimeout | urllib3.exceptions.ConnectTimeoutError) for one in chain):
        return UnreachableError(f"{server}: {host} does not answer.")
    if any(isinstance(one, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError) for one in chain):
        return _LostError(f"{server}: {host} stopped answering.")
    if any(isinstance(one, requests.TooManyRedirects) for one in chain):
        return RefusedError(f"{server}: the server sends us round in circles.")
    return _LostError(f"{server}: the connection with {host} broke.", details=type(chain[-1]).__name__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was raised from; requests hides reasons in arguments too."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
