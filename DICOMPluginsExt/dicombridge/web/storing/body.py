"""The body of a store request: files as parts of one multipart message, read while they are sent. PS3.18 10.5.1."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from dicombridge.errors import UnreadableError

__all__ = ["CHUNK", "Body", "Sendable"]

CHUNK = 1 << 18
_HEAD = b"--%s\r\nContent-Type: application/dicom\r\n\r\n"
_END = b"--%s--\r\n"
_LINE = b"\r\n"


class Sendable(Protocol):
    """What becomes a part."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def prefix(self) -> bytes:
        """What a file without the header of PS3.10 lacks; sent before it."""

    @property
    def skip(self) -> int:
        """Bytes of the file that are not sent, because the prefix stands for them."""


class Body:
    """A multipart message with a length, which can be sent again whole: every iteration begins at the first byte.

    The boundary is new for each body and has 128 random bits, so that no file contains it.

    Parameters
    ----------
    items
        The files, in order.
    sent
        Called with the number of bytes of each piece that was handed over to the connection. A negative number takes
        back what an attempt before had counted.
    check
        Called before each piece; raises where the job was cancelled.

    Examples
    --------
    >>> body = Body([])
    >>> len(body) == len(b"".join(body)) == len(b"".join(body))
    True
    """

    def __init__(
        self,
        items: Sequence[Sendable],
        sent: Callable[[int], object] | None = None,
        check: Callable[[], object] | None = None,
    ) -> None:
        self.boundary = secrets.token_hex(16)
        self.begun = False
        """Whether somebody began to send it: then there was a connection."""
        self._items = items
        self._sent = sent
        self._check = check
        self._counted = 0
        mark = self.boundary.encode()
        self._head, self._end = _HEAD % mark, _END % mark
        parts = (len(self._head) + len(one.prefix) + one.size - one.skip + len(_LINE) for one in items)
        self._length = sum(parts) + len(self._end)

    @property
    def content_type(self) -> str:
        """``Content-Type`` of the request."""
        return f'multipart/related; type="application/dicom"; boundary={self.boundary}'

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[bytes | memoryview]:
        self.begun = True
        self.take_back()
        for piece in self.read_through():
            yield piece
            self._counted += len(piece)
            if self._sent is not None:
                self._sent(len(piece))

    def read_through(self) -> Iterator[bytes | memoryview]:
        """Yield the message for somebody who does not send it, as a signature does not: nothing counts as sent.

        Each piece must be used before the next.
        """
        for piece in self._pieces():
            if self._check is not None:
                self._check()
            yield piece

    def take_back(self) -> None:
        """Take back what was counted as sent, because it has to be sent again."""
        if self._sent is not None and self._counted:
            self._sent(-self._counted)
        self._counted = 0

    def _pieces(self) -> Iterator[bytes | memoryview]:
        """Yield the message; pieces of files share one buffer, so each must be used before the next."""
        buffer = memoryview(bytearray(CHUNK))
        for item in self._items:
            yield self._head + item.prefix
            left = item.size - item.skip
            try:
                with item.path.open("rb", buffering=0) as file:
                    file.seek(item.skip)
                    while left and (count := file.readinto(buffer[: min(left, CHUNK)])):
                        yield buffer[:count]
                        left -= count
            except OSError as error:
                raise UnreadableError(item.path, f"cannot be read: {error.strerror or error}.") from error
            if left:
                raise UnreadableError(item.path, f"became {left} bytes shorter while it was sent.")
            yield _LINE
        yield self._end
