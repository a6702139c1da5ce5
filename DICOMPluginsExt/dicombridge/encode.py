"""Encoding of many alike items in Explicit VR Little Endian, without a Dataset for each (PS3.5 7.1.2, 7.5)."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Any

from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

__all__ = ["decimal_string", "element", "encoded_dataset", "item", "sequence"]

_SHORT = Struct("<HH2sH").pack
_LONG = Struct("<HH2sHL").pack
_ITEM = b"\xfe\xff\x00\xe0"
_LENGTH = Struct("<L").pack
_PADDING = {b"UI": b"\0"}


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Return an element of a VR with a two byte length; the value is padded to even length."""
    if len(value) % 2:
        value += _PADDING.get(vr, b" ")
    return _SHORT(tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def item(content: bytes) -> bytes:
    """Return a sequence item."""
    return _ITEM + _LENGTH(len(content)) + content


def sequence(tag: int, items: Iterable[bytes]) -> bytes:
    """Return a sequence of the contents of its items."""
    value = b"".join([item(content) for content in items])
    return _LONG(tag >> 16, tag & 0xFFFF, b"SQ", 0, len(value)) + value


def encoded_dataset(dataset: Any) -> bytes:
    """Return the elements of a Dataset, e.g. an item of a sequence, with text in UTF-8."""
    output = DicomBytesIO()
    output.is_little_endian = True
    output.is_implicit_VR = False
    write_dataset(output, dataset, "ISO_IR 192")
    return output.getvalue()


def decimal_string(value: float) -> str:
    """Return the number as a decimal string, as exact as its 16 characters allow (PS3.5 6.2, DS).

    Examples
    --------
    >>> decimal_string(-12.5), decimal_string(1 / 3), decimal_string(-1e-7 / 3)
    ('-12.5', '0.33333333333333', '-3.333333333e-08')
    """
    value = float(value) + 0.0  # no negative zero
    text = repr(value)
    if len(text) <= 16:
        return text.removesuffix(".0")
    for digits in range(17, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{value:.9g}"  # not reached: nine digits with sign, point and exponent are at most 16 characters
