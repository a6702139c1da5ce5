"""The parts of a multipart/related answer, found while it comes in (RFC 2046 5.1, PS3.18 8.6.1.2).

A series of gigabytes must pass through a few hundred kilobytes, at the speed at which it comes in. So bytes are never
joined or copied here: the parser looks at the buffer into which the socket wrote, and hands on views of it. Where a
part says how long it is, that many bytes are handed on unseen, and then the boundary must follow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.message import Message
from enum import Enum, auto
from typing import Protocol

from dicombridge.errors import DamagedAnswerError

__all__ = [
    "LONGEST_HEADERS",
    "LONGEST_PREAMBLE",
    "WRONG_LENGTH",
    "MultipartParser",
    "Parts",
    "boundary_of",
    "media_type",
]

LONGEST_PREAMBLE = 65536
"""Bytes before the first boundary; more means that there is none."""
LONGEST_HEADERS = 32768
"""Bytes of the headers of one part."""
WRONG_LENGTH = "no boundary follows where it should by the length that it gives"
"""Beginning of the fault of a part that says that it is longer or shorter than it is."""
_LONGEST_PADDING = 256
_LONGEST_BOUNDARY = 200


class Parts(Protocol):
    """What takes the parts."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins; the names of its headers are in lower case."""

    def data(self, view: memoryview) -> None:
        """More of it, valid until the buffer is used again."""

    def end(self, fault: str) -> None:
        """It ends; ``fault`` says what is wrong with it, empty where its boundary followed where it should."""


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    COUNTED = auto()  # in a part whose length is known
    BEHIND = auto()  # where the boundary must follow a part of known length
    SEARCHED = auto()  # in a part that ends where the boundary is
    LOST = auto()  # behind a part whose length was wrong
    CLOSED = auto()


class MultipartParser:
    """Finds parts in buffers.

    Parameters
    ----------
    boundary
        As the Content-Type of the answer gives it.
    parts
        What takes them.
    lengths
        Whether the lengths that parts give are believed, and checked; otherwise boundaries alone count.

    Examples
    --------
    >>> class Printed:
    ...     def begin(self, headers): print(dict(headers))
    ...     def data(self, view): print(bytes(view))
    ...     def end(self, fault): print(repr(fault))
    >>> parser = MultipartParser("b", Printed())
    >>> text = bytearray(b"--b\\r\\nContent-Type: application/dicom\\r\\n\\r\\n1234\\r\\n--b--")
    >>> parser.feed(text, 0, len(text)) == len(text)
    {'content-type': 'application/dicom'}
    b'1234'
    ''
    True
    >>> parser.finish()
    True
    """

    def __init__(self, boundary: str, parts: Parts, lengths: bool = True) -> None:
        self._dashes = b"--" + boundary.encode("latin-1")
        self._delimiter = b"\r\n" + self._dashes
        self._parts = parts
        self._lengths = lengths
        self._state = _State.PREAMBLE
        self._seen = 0
        self._left = 0
        self._announced = 0
        self._steps = {
            _State.PREAMBLE: self._preamble,
            _State.HEADERS: self._headers,
            _State.COUNTED: self._counted,
            _State.BEHIND: self._behind,
            _State.SEARCHED: self._searched,
            _State.LOST: self._searched,
            _State.CLOSED: self._closed,
        }

    @property
    def closed(self) -> bool:
        """Whether the closing delimiter was seen: all parts came."""
        return self._state is _State.CLOSED

    def feed(self, buffer: bytearray, start: int, stop: int) -> int:
        """Take what lies at ``start:stop``.

        Returns
        -------
        int
            Where what could not be understood yet begins. It must come again, at the beginning of the next call.

        Raises
        ------
        DamagedAnswerError
            This is no multipart answer with this boundary, or the headers of a part have no end.
        """
        position = start
        with memoryview(buffer) as view:
            while True:
                state = self._state
                advanced = self._steps[state](buffer, view, position, stop)
                if advanced == position and self._state is state:
                    return position
                position = advanced

    def finish(self) -> bool:
        """Say that nothing more comes; return whether the answer was complete."""
        if self._state in (_State.COUNTED, _State.BEHIND, _State.SEARCHED):
            self._state = _State.LOST
            self._parts.end("the answer ends in the middle of it")
        return self.closed

    def _preamble(self, buffer: bytearray, view: memoryview, position: int, stop: int) -> int:
        found = buffer.find(self._dashes, position, stop)
        if found < 0:
            kept = max(position, stop - len(self._dashes) + 1)
            return self._count_preamble(kept - position, kept)
        end = self._line_end(buffer, found + len(self._dashes), stop)
        if end is None:
            return self._count_preamble(found - position, found)
        return end or self._count_preamble(found + 2 - position, found + 2)

    def _count_preamble(self, count: int, position: int) -> int:
        self._seen += count
        if self._seen > LONGEST_PREAMBLE:
            raise DamagedAnswerError("The answer has no part that begins with its boundary.")
        return position

    def _line_end(self, buffer: bytearray, position: int, stop: int) -> int | None:
        """Return where the line of a boundary ends, 0 where it is none, None where that shows later; set the state."""
        if stop - position < 2:
            return None
        if buffer[position : position + 2] == b"--":
            self._state = _State.CLOSED
            return position + 2
        end = position
        while end < stop and buffer[end] in b" \t" and end - position < _LONGEST_PADDING:
            end += 1
        if stop - end < 2:
            return None
        if buffer[end : end + 2] != b"\r\n":
            return 0
        self._state = _State.HEADERS
        return end + 2

    def _headers(self, buffer: bytearray, view: memoryview, position: int, stop: int) -> int:
        if buffer[position : position + 2] == b"\r\n":
            lines, after = b"", position + 2
        else:
            end = buffer.find(b"\r\n\r\n", position, stop)
            if end < 0 or end - position > LONGEST_HEADERS:
                if stop - position > LONGEST_HEADERS:
                    raise DamagedAnswerError(f"A part has more than {LONGEST_HEADERS} bytes of headers.")
                return position
            lines, after = bytes(view[position:end]), end + 4
        headers = _parsed_headers(lines)
        length = headers.get("content-length", "") if self._lengths else ""
        if re.fullmatch(r"[0-9]{1,15}", length):
            self._announced = self._left = int(length)
            self._state = _State.COUNTED
        else:
            self._state = _State.SEARCHED
        self._parts.begin(headers)
        return after

    def _counted(self, buffer: bytearray, view: memoryview, position: int, stop: int) -> int:
        count = min(self._left, stop - position)
        if count:
            self._parts.data(view[position : position + count])
            self._left -= count
        if not self._left:
            self._state = _State.BEHIND
        return position + count

    def _behind(self, buffer: bytearray, view: memoryview, position: int, stop: int) -> int:
        size = min(len(self._delimiter), stop - position)
        if view[position : position + size] == self._delimiter[:size]:
            if size < len(self._delimiter):
                return position
            end = self._line_end(buffer, position + size, stop)
            if end is None:
                return position
            if end:
                self._parts.end("")
                return end
        self._state = _State.LOST
        self._parts.end(f"{WRONG_LENGTH}, {self._announced} bytes")
        return position

    def _searched(self, buffer: bytearray, view: memoryview, position: int, stop: int) -> int:
        """Hand on what lies before the next boundary; in the state LOST it is nobody's."""
        lost = self._state is _State.LOST
        found = buffer.find(self._delimiter, position, stop)
        end: int | None = None
        if found < 0:
            kept = max(position, stop - len(self._delimiter) + 1)
        else:
            end = self._line_end(buffer, found + len(self._delimiter), stop)
            kept = found + 2 if end == 0 else found
        if kept > position and not lost:
            self._parts.data(view[position:kept])
        if not end:
            return kept
        if not lost:
            self._parts.end("")
        return end

    def _closed(self, buffer: bytearray, view: memoryview, position: int, stop: int) -> int:
        return stop  # an epilogue means nothing


def _parsed_headers(lines: bytes) -> dict[str, str]:
    headers = {}
    for line in lines.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


def media_type(content_type: str) -> str:
    """Return the type of a Content-Type without its parameters.

    >>> media_type('Multipart/Related; type="application/dicom"; boundary=x')
    'multipart/related'
    """
    return content_type.partition(";")[0].strip().lower()


def boundary_of(content_type: str) -> str:
    """Return the boundary that a Content-Type names.

    >>> boundary_of('multipart/related; type="application/dicom"; boundary="a b"')
    'a b'

    Raises
    ------
    DamagedAnswerError
        It names none.
    """
    message = Message()
    message["Content-Type"] = re.sub(r"[\r\n]", " ", content_type)
    boundary = message.get_boundary() or ""
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
        raise DamagedAnswerError("The answer is multipart and does not say what separates its parts.")
    return boundary
