"""What a compressed frame says of its own size, before a decoder believes it.

Decoders allocate what the codestream announces: a frame of some kilobytes that lies can take all memory of a machine.
"""

from __future__ import annotations

from struct import error, unpack_from

__all__ = ["size_in_codestream"]

_JPEG_2000 = b"\xff\x4f\xff\x51"
"""Start of a codestream and its image size (ISO/IEC 15444-1 A.5.1)."""
_WITHIN = 4096
"""Bytes in which a codestream begins: some writers put the boxes of a JP2 file before it, which PS3.5 A.4.4 forbids."""
_START_OF_IMAGE, _START_OF_SCAN = b"\xff\xd8", 0xDA
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""Second byte of the markers that begin a frame of JPEG (ISO/IEC 10918-1 B.2.2), and of JPEG-LS."""
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Second byte of markers without a length."""


def size_in_codestream(content: bytes) -> tuple[int, int] | None:
    """Return rows and columns that a compressed frame announces.

    Parameters
    ----------
    content
        JPEG, JPEG-LS, JPEG 2000 or HTJ2K.

    Returns
    -------
    tuple of int or None
        None where it is something else, or says nothing.

    Examples
    --------
    >>> size_in_codestream(bytes.fromhex("ffd8 fff7 000b 08 0010 0020 01 01 11 00"))
    (16, 32)
    """
    try:
        if content[:2] == _START_OF_IMAGE:
            return _of_jpeg(content)
        begin = content.find(_JPEG_2000, 0, _WITHIN)
        if begin < 0:
            return None
        right, bottom, left, top = unpack_from(">4I", content, begin + 8)
    except error:
        return None
    return bottom - top, right - left


def _of_jpeg(content: bytes) -> tuple[int, int] | None:
    place = len(_START_OF_IMAGE)
    while True:
        prefix, marker = unpack_from(">2B", content, place)
        if prefix != 0xFF or marker == _START_OF_SCAN:
            return None
        if marker == 0xFF:  # fill bytes
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _FRAMES:
            rows, columns = unpack_from(">2H", content, place + 5)
            return int(rows), int(columns)
        else:
            place += 2 + max(int(unpack_from(">H", content, place + 2)[0]), 2)
