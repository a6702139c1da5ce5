"""Datasets in Deflated Explicit VR Little Endian (PS3.5 A.5), inflated within bounds.

A thousand bytes of a deflate stream can stand for a million, so a small file could fill any memory. What is inflated is
bounded by what the dataset itself announces, and by :data:`INFLATED_AT_MOST`.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path
from struct import pack

from dicombridge.errors import UnreadableError
from dicombridge.part10 import (
    DEFLATED_EXPLICIT_VR,
    EXPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAX_UID,
    Buffer,
    NeedsPydicom,
    Span,
    read_layout,
    read_meta,
)

__all__ = ["BEGINNING", "INFLATED_AT_MOST", "inflated", "plain_source"]

INFLATED_AT_MOST = 1 << 30
"""Bytes of the largest dataset that is inflated; a larger one can be sent uncompressed."""
BEGINNING = 1 << 20
"""Bytes that are inflated at first: all of most datasets, and of others a header that says how long they are."""
_STEP = 1 << 20
_GROUP_OF_PATIENT = 0x0010
"""A dataset begins with an element of group 0008, or, where that is missing, of group 0010 at the latest."""


def inflated(buffer: Buffer, name: str, beginning: bool = False) -> bytes | None:
    """Return a deflated file as one in Explicit VR Little Endian; None where it is not deflated.

    Parameters
    ----------
    buffer
        The whole file.
    name
        Of the file, for messages.
    beginning
        Only the first :data:`BEGINNING` bytes are wanted, in which a header lies.

    Raises
    ------
    UnreadableError
        The stream is damaged, or would become larger than :data:`INFLATED_AT_MOST`.
    """
    try:
        uid, start, meta = read_meta(buffer)
    except NeedsPydicom:
        if DEFLATED_EXPLICIT_VR.encode() in buffer[:4096]:
            raise UnreadableError(name, "says that it is deflated, but its file meta information is damaged.") from None
        return None
    if uid != DEFLATED_EXPLICIT_VR:
        return None
    stream = bytes(buffer[start:])
    before = _plain_meta(bytes(buffer[:start]), meta[TRANSFER_SYNTAX_UID])
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        head = inflater.decompress(stream, BEGINNING)
        if not 0 < int.from_bytes(head[:2], "little") < _GROUP_OF_PATIENT + 1:
            raise UnreadableError(name, "is deflated, and what is in it is no dataset.")
        if beginning or inflater.eof:
            return before + head
        return before + _whole(stream, before, head, name)
    except zlib.error as error:
        raise UnreadableError(name, f"is deflated and cannot be inflated: {error}.") from error


def _plain_meta(content: bytes, syntax: Span) -> bytes:
    """Return preamble and file meta information with Explicit VR Little Endian as transfer syntax."""
    uid = EXPLICIT_VR_LITTLE_ENDIAN.encode()
    uid += b"\0" * (len(uid) % 2)
    shorter = syntax.stop - syntax.start - len(uid)
    content = content[: syntax.start - 2] + pack("<H", len(uid)) + uid + content[syntax.stop :]
    if content[132:140] == pack("<HH2sH", 2, 0, b"UL", 4):  # the group length, where there is one (PS3.10 7.1)
        length = int.from_bytes(content[140:144], "little")
        content = content[:140] + pack("<L", max(length - shorter, 0)) + content[144:]
    return content


def _whole(stream: bytes, before: bytes, head: bytes, name: str) -> bytes:
    """Inflate a large dataset: first without keeping it, to learn its size."""
    try:
        announced = read_layout(before + head, size=1 << 62).dataset_stop - len(before)
    except NeedsPydicom as error:
        raise UnreadableError(name, f"is deflated, and what is in it is no dataset: {error}.") from error
    size = announced
    if announced <= INFLATED_AT_MOST:
        size = 0
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        rest = stream
        while rest and not inflater.eof and size <= INFLATED_AT_MOST:
            size += len(inflater.decompress(rest, _STEP))
            rest = inflater.unconsumed_tail
    if size > INFLATED_AT_MOST:
        raise UnreadableError(
            name, f"is deflated and would grow from {len(stream)} to more than {INFLATED_AT_MOST} bytes; it is damaged."
        )
    return zlib.decompress(stream, -zlib.MAX_WBITS, size or 1)


def plain_source(path: str, beginning: bool = False) -> str | BytesIO:
    """Return what pydicom can read without inflating: the path, or the inflated file where it is deflated.

    Raises
    ------
    UnreadableError
        As :func:`inflated`.
    OSError
        The file cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(4096)
        if DEFLATED_EXPLICIT_VR.encode() not in head:
            return path
        content = inflated(head + file.read(), path, beginning)
    return path if content is None else BytesIO(content)
