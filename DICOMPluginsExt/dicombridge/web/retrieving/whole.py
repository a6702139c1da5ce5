"""Whether a DICOM file is whole: a walk over the lengths of its elements, in any transfer syntax (PS3.5 7).

The values themselves are not read: of an image of a gigabyte, a few kilobytes are looked at. A deflated dataset has to
be inflated for that, in pieces.
"""

from __future__ import annotations

import os
import zlib
from struct import Struct
from typing import NamedTuple

from dicombridge.errors import DamagedAnswerError
from dicombridge.part10 import (
    DEFLATED_EXPLICIT_VR,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LONG_VRS,
    SHORT_VRS,
    NeedsPydicom,
    read_meta,
)

__all__ = ["INFLATED_AT_MOST", "Contents", "check_whole"]

INFLATED_AT_MOST = 1 << 32
"""Bytes to which a deflated dataset may grow while it is walked."""
_HEAD = 32768
_NEXT = 4096
_STEP = 65536
_DEEPEST = 128
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_SOP_CLASS, _INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_SYNTAX = 0x00020010
_UIDS = frozenset((_SYNTAX, _SOP_CLASS, _INSTANCE, _STUDY, _SERIES))
_META_LENGTH = b"\x02\0\0\0UL"
_LONGEST_UID = 256
_FIRST_LETTERS = (b"AA", b"ZZ")


class Contents(NamedTuple):
    """What a whole file says of itself; empty where it does not."""

    instance: str
    series: str
    study: str
    sop_class: str
    transfer_syntax: str


class _Encoding(NamedTuple):
    implicit: bool
    tag: Struct
    short: Struct
    long: Struct


_LITTLE = (Struct("<HH"), Struct("<H"), Struct("<L"))
_BIG = (Struct(">HH"), Struct(">H"), Struct(">L"))
_IMPLICIT = _Encoding(True, *_LITTLE)
_EXPLICIT = _Encoding(False, *_LITTLE)
_EXPLICIT_BIG = _Encoding(False, *_BIG)


class _File:
    """Windows of a file."""

    def __init__(self, descriptor: int, size: int, head: bytes) -> None:
        self._descriptor = descriptor
        self._size = size
        self._window, self._base = head, 0

    def at(self, position: int, count: int) -> tuple[bytes, int]:
        """Return bytes and the offset of ``position`` in them, with ``count`` bytes there, or all that is left."""
        offset = position - self._base
        if offset < 0 or offset + count > len(self._window):
            self._window = _read(self._descriptor, max(count, _NEXT), position)
            self._base = position
            offset = 0
        return self._window, offset

    def reaches(self, position: int) -> bool:
        """Whether there are so many bytes."""
        return position <= self._size

    def ends(self, position: int) -> bool:
        """Whether nothing lies behind a position."""
        return position >= self._size


class _Deflated:
    """The same of what a deflated file contains; only forward."""

    def __init__(self, descriptor: int, start: int) -> None:
        self._descriptor = descriptor
        self._next = start
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._window, self._base = b"", 0
        self._rest = b""

    def at(self, position: int, count: int) -> tuple[bytes, int]:
        """As of a file."""
        while position + count > self._base + len(self._window) and self._grow(position):
            pass
        return self._window, min(position - self._base, len(self._window))

    def reaches(self, position: int) -> bool:
        """As of a file."""
        while position > self._base + len(self._window):
            if not self._grow(position):
                return False
        return True

    def ends(self, position: int) -> bool:
        """As of a file; the stream must have an end too."""
        while position >= self._base + len(self._window):
            if not self._grow(position):
                return True
        return False

    def _grow(self, position: int) -> bool:
        """Inflate more; what lies before ``position`` is not needed any more."""
        if self._inflater.eof:
            return False
        if not self._rest:
            self._rest = _read(self._descriptor, _STEP, self._next)
            self._next += len(self._rest)
        ended = not self._rest
        try:
            piece = self._inflater.decompress(self._rest, _STEP)
        except zlib.error as error:
            raise DamagedAnswerError(f"its deflated dataset is damaged: {error}") from error
        self._rest = self._inflater.unconsumed_tail
        if ended and not piece and not self._inflater.eof:
            raise DamagedAnswerError("its deflated dataset is cut short")
        dropped = min(max(position - self._base, 0), len(self._window))
        self._window = self._window[dropped:] + piece
        self._base += dropped
        if self._base > INFLATED_AT_MOST:
            raise DamagedAnswerError(f"its deflated dataset grows to more than {INFLATED_AT_MOST} bytes")
        return True


def check_whole(descriptor: int, size: int) -> Contents:
    """Walk over a file and return what it is.

    Parameters
    ----------
    descriptor
        The open file.
    size
        Its length in bytes.

    Raises
    ------
    DamagedAnswerError
        It is no DICOM file, or ends before its last element does, or something that is no element follows its pixels.
        The message is the end of a sentence that begins with the file.
    """
    head = _read(descriptor, _HEAD, 0)
    if len(head) < 8:
        raise DamagedAnswerError("it is empty" if not size else "it is no DICOM file")
    syntax, start = _beginning(head)
    source: _File | _Deflated
    if syntax == DEFLATED_EXPLICIT_VR:
        source, start = _Deflated(descriptor, start), 0
    else:
        source = _File(descriptor, size, head)
    encoding = {IMPLICIT_VR_LITTLE_ENDIAN: _IMPLICIT, EXPLICIT_VR_BIG_ENDIAN: _EXPLICIT_BIG}.get(syntax, _EXPLICIT)
    uids = _top_level(source, start, encoding)
    if not uids.get(_INSTANCE):
        raise DamagedAnswerError("it has no SOP Instance UID")
    instance, series, study, sop_class = (uids.get(tag, "") for tag in (_INSTANCE, _SERIES, _STUDY, _SOP_CLASS))
    return Contents(instance, series, study, sop_class, syntax)


def _beginning(head: bytes) -> tuple[str, int]:
    """Return the transfer syntax, and where the dataset begins."""
    if len(head) >= 144 and head[128:132] == b"DICM" and head[132:138] == _META_LENGTH:
        (length,) = _EXPLICIT.long.unpack_from(head, 140)
        end = 144 + length
        meta: dict[int, str] = {}
        # Most files; others are looked at element by element.
        if _plain_elements(head, 144, min(end, len(head)), meta) == end <= len(head) - 8 and _SYNTAX in meta:
            return meta[_SYNTAX], end
    try:
        syntax, start, _ = read_meta(head)
    except NeedsPydicom as error:
        raise DamagedAnswerError("it is no DICOM file") from error
    return syntax, start


def _top_level(source: _File | _Deflated, position: int, encoding: _Encoding) -> dict[int, str]:
    """Return the UIDs that matter, after a walk to the end."""
    uids: dict[int, str] = {}
    behind_pixels = False
    if encoding is _EXPLICIT and isinstance(source, _File):
        head, offset = source.at(position, 0)
        position += _plain_elements(head, offset, len(head), uids) - offset
    while not source.ends(position):
        tag, length, value, vr = _element(source, position, encoding)
        if behind_pixels and tag < _PIXEL_DATA:
            if _only_zeros(source, position):
                break
            raise DamagedAnswerError("something that is no element follows its pixel data")
        if tag >> 16 == 0xFFFE:
            if length or tag == _ITEM:
                raise DamagedAnswerError(f"an item lies outside of a sequence at offset {position}")
            position = value  # an end too many, which some writers put behind compressed pixels
            continue
        if length == _UNDEFINED:
            position = _behind_items(source, value, _inner(encoding, vr), 0)
        else:
            position = value + length
            if not source.reaches(position):
                raise DamagedAnswerError(f"it ends before its element {tag >> 16:04X},{tag & 0xFFFF:04X} does")
            if tag in _UIDS and length <= _LONGEST_UID:
                data, offset = source.at(value, length)
                uids[tag] = data[offset : offset + length].rstrip(b"\0 ").decode("latin-1")
        behind_pixels = behind_pixels or tag == _PIXEL_DATA
    return uids


def _plain_elements(head: bytes, offset: int, stop: int, uids: dict[int, str]) -> int:
    """Walk over what most files have before their pixels, and return where something else begins.

    The same walk as that of the caller, for the most common case alone: it is done for each of thousands of instances.
    """
    tag_of, short_of, long_of = _EXPLICIT.tag.unpack_from, _EXPLICIT.short.unpack_from, _EXPLICIT.long.unpack_from
    while offset + 8 <= stop:
        vr = head[offset + 4 : offset + 6]
        if vr in SHORT_VRS:
            value, length = offset + 8, short_of(head, offset + 6)[0]
        elif vr in LONG_VRS and offset + 12 <= stop:
            value, length = offset + 12, long_of(head, offset + 8)[0]
        else:
            break
        group, number = tag_of(head, offset)
        tag = group << 16 | number
        if tag >= _PIXEL_DATA or value + length > stop:  # this includes an undefined length
            break
        if tag in _UIDS and length <= _LONGEST_UID:
            uids[tag] = head[value : value + length].rstrip(b"\0 ").decode("latin-1")
        offset = value + length
    return offset


def _inner(encoding: _Encoding, vr: bytes) -> _Encoding:
    """UN of undefined length holds a sequence in implicit VR (PS3.5 6.2.2 note 7)."""
    return _IMPLICIT if vr == b"UN" else encoding


def _element(source: _File | _Deflated, position: int, encoding: _Encoding) -> tuple[int, int, int, bytes]:
    """Return tag, length, offset of the value and VR of the element at a position."""
    data, offset = source.at(position, 12)
    left = len(data) - offset
    if left < 8:
        raise DamagedAnswerError(f"it ends within an element at offset {position}")
    group, number = encoding.tag.unpack_from(data, offset)
    vr = data[offset + 4 : offset + 6]
    if encoding.implicit or group == 0xFFFE or not _FIRST_LETTERS[0] <= vr <= _FIRST_LETTERS[1]:
        # Letters that are no VR: an element in implicit VR among explicit ones, as pydicom reads it too.
        return group << 16 | number, encoding.long.unpack_from(data, offset + 4)[0], position + 8, b""
    if vr in LONG_VRS:
        if left < 12:
            raise DamagedAnswerError(f"it ends within an element at offset {position}")
        return group << 16 | number, encoding.long.unpack_from(data, offset + 8)[0], position + 12, vr
    return group << 16 | number, encoding.short.unpack_from(data, offset + 6)[0], position + 8, vr


def _behind_items(source: _File | _Deflated, position: int, encoding: _Encoding, depth: int) -> int:
    """Return where the items of a sequence, or of compressed pixels, of undefined length end."""
    if depth > _DEEPEST:
        raise DamagedAnswerError(f"its sequences are nested deeper than {_DEEPEST}")
    while True:
        data, offset = source.at(position, 8)
        if len(data) - offset < 8:
            raise DamagedAnswerError("it ends within a sequence, or within its pixel data")
        group, number = encoding.tag.unpack_from(data, offset)
        (length,) = encoding.long.unpack_from(data, offset + 4)
        tag = group << 16 | number
        position += 8
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise DamagedAnswerError(f"something that is no item lies in a sequence at offset {position - 8}")
        if length == _UNDEFINED:
            position = _behind_item(source, position, encoding, depth)
        else:
            position += length
            if not source.reaches(position):
                raise DamagedAnswerError("it ends within an item, or within its pixel data")


def _behind_item(source: _File | _Deflated, position: int, encoding: _Encoding, depth: int) -> int:
    """Return where an item of undefined length ends."""
    while True:
        tag, length, value, vr = _element(source, position, encoding)
        if tag == _ITEM_END:
            return value
        if length == _UNDEFINED:
            position = _behind_items(source, value, _inner(encoding, vr), depth + 1)
        else:
            position = value + length
            if not source.reaches(position):
                raise DamagedAnswerError("it ends within an item")


def _only_zeros(source: _File | _Deflated, position: int) -> bool:
    """Whether only padding follows."""
    while not source.ends(position):
        data, offset = source.at(position, 1)
        if data.count(0, offset) != len(data) - offset:
            return False
        position += len(data) - offset
    return True


def _read(descriptor: int, count: int, position: int) -> bytes:
    """Read at a position; Windows has no pread."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, position)
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.read(descriptor, count)
