"""Where the elements of a DICOM file lie, found without making an object of each (PS3.5 7, PS3.10 7).

pydicom reads everything and tolerates much; it also takes some hundred microseconds an item, and a segmentation has
thousands of items and a pixel data element that should not be copied. This module only finds spans of bytes. What it
does not understand at once (big endian, deflated, odd encodings) it leaves to others by raising :class:`NeedsPydicom`.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct, error
from typing import NamedTuple

from dicombridge.errors import DicomBridgeError

__all__ = [
    "DEFLATED_EXPLICIT_VR",
    "EXPLICIT_VR_BIG_ENDIAN",
    "EXPLICIT_VR_LITTLE_ENDIAN",
    "IMPLICIT_VR_LITTLE_ENDIAN",
    "LONG_VRS",
    "SHORT_VRS",
    "TRANSFER_SYNTAX_UID",
    "Buffer",
    "Element",
    "Layout",
    "NeedsPydicom",
    "Span",
    "TruncatedError",
    "elements",
    "items",
    "read_layout",
    "read_meta",
]

Buffer = bytes | mmap.mmap

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
DEFLATED_EXPLICIT_VR = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"

ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD
UNDEFINED_LENGTH = 0xFFFFFFFF
TRANSFER_SYNTAX_UID = 0x00020010
PER_FRAME_GROUPS = 0x52009230
PIXEL_DATA = 0x7FE00010
MAXIMUM_DEPTH = 128
"""Nesting of sequences beyond which a file is taken for damaged: real objects stay below 20, reports too."""

_TAG = Struct("<HH").unpack_from
_LONG = Struct("<L").unpack_from
_SHORT = Struct("<H").unpack_from
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations whose length has 32 bits in explicit VR (PS3.5 7.1.2)."""
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Those whose length has 16 bits."""


class NeedsPydicom(DicomBridgeError):
    """The encoding is one that only pydicom reads."""


class TruncatedError(DicomBridgeError):
    """The data ends before an element does."""


class Span(NamedTuple):
    """The bytes ``start:stop`` of a value; ``vr`` is empty in implicit VR."""

    vr: str
    start: int
    stop: int


class Element(NamedTuple):
    """One element: its tag (group << 16 | element), VR, where it begins, its value, and where the next one begins."""

    tag: int
    vr: bytes
    begin: int
    start: int
    stop: int
    next: int
    undefined_length: bool


@dataclass(frozen=True)
class Layout:
    """Where the top level elements of a file lie.

    Attributes
    ----------
    transfer_syntax_uid
        From the file meta information; implicit VR little endian for a file that has none.
    implicit_vr
        Encoding of the dataset.
    meta
        Spans of the file meta information (group 0002), which is always explicit VR.
    elements
        Spans of the dataset's elements by tag. Where ``complete`` is false, the last one may end beyond the buffer.
    begins
        Offset of each element's tag.
    complete
        The walk reached the end of the buffer, or the tag to stop at, between two elements.
    dataset_start
        Offset of the first byte after the file meta information.
    dataset_stop
        Offset at which the walk ended.
    """

    transfer_syntax_uid: str
    implicit_vr: bool
    meta: dict[int, Span]
    elements: dict[int, Span]
    begins: dict[int, int]
    complete: bool
    dataset_start: int
    dataset_stop: int

    def parts(self) -> Iterator[tuple[int, int, int]]:
        """Yield (tag, where it begins, where the next one begins) of each top level element."""
        begins = list(self.begins.items())  # in the order of the file
        ends = [begin for _, begin in begins[1:]] + [self.dataset_stop]
        for (tag, begin), end in zip(begins, ends, strict=True):
            yield tag, begin, end


def elements(
    buffer: Buffer,
    start: int,
    stop: int,
    implicit_vr: bool,
    depth: int = 0,
    partial: bool = False,
    stop_before: Callable[[int], bool] | None = None,
) -> Iterator[Element]:
    """Yield the elements of a dataset or item that lies at ``start:stop``.

    Parameters
    ----------
    partial
        The buffer is the beginning of a file: an element whose value ends beyond ``stop`` is yielded all the same.
    stop_before
        The walk ends before the first tag for which this is true: the items of compressed pixels are not walked then.

    Raises
    ------
    TruncatedError
        An element ends beyond ``stop``.
    NeedsPydicom
        A VR is not one of the standard's.
    """
    position = start
    while position < stop:
        if position + 8 > stop:
            raise TruncatedError(f"{stop - position} stray bytes at offset {position}")
        group, number = _TAG(buffer, position)
        tag = group << 16 | number
        vr = b""
        if group == 0xFFFE:
            if tag == ITEM_DELIMITER:
                return
            raise TruncatedError(f"item tag {tag:08X} outside a sequence at offset {position}")
        if stop_before is not None and stop_before(tag):
            return
        if implicit_vr:
            (length,) = _LONG(buffer, position + 4)
            value = position + 8
        else:
            vr = buffer[position + 4 : position + 6]
            if vr in SHORT_VRS:
                (length,) = _SHORT(buffer, position + 6)
                value = position + 8
            elif vr in LONG_VRS:
                if position + 12 > stop:
                    raise TruncatedError(f"element {tag:08X} is cut at offset {position}")
                (length,) = _LONG(buffer, position + 8)
                value = position + 12
            else:
                raise NeedsPydicom(f"VR {vr!r} of element {tag:08X} at offset {position}")
        if length == UNDEFINED_LENGTH:
            # UN of undefined length holds an implicit VR sequence (PS3.5 6.2.2 note 7).
            end_value, end = _undefined_end(buffer, value, stop, implicit_vr or vr == b"UN", depth + 1)
            yield Element(tag, vr, position, value, end_value, end, True)
        else:
            end = value + length
            if end > stop and not partial:
                raise TruncatedError(f"element {tag:08X} needs {length} bytes, {max(stop - value, 0)} are there")
            yield Element(tag, vr, position, value, end, end, False)
        position = end


def items(buffer: Buffer, start: int, stop: int, implicit_vr: bool, depth: int = 0) -> Iterator[tuple[int, int]]:
    """Yield ``(start, stop)`` of the content of each item of a sequence's (or encapsulated pixel data's) value."""
    position = start
    while position < stop:
        if position + 8 > stop:
            raise TruncatedError(f"{stop - position} stray bytes in a sequence at offset {position}")
        group, number = _TAG(buffer, position)
        tag = group << 16 | number
        (length,) = _LONG(buffer, position + 4)
        if tag == SEQUENCE_DELIMITER:
            return
        if tag != ITEM:
            raise TruncatedError(f"tag {tag:08X} where an item is due, at offset {position}")
        position += 8
        if length == UNDEFINED_LENGTH:
            inner, position_after = _item_end(buffer, position, stop, implicit_vr, depth + 1)
            yield position, inner
            position = position_after
        else:
            if position + length > stop:
                raise TruncatedError(f"an item needs {length} bytes, {stop - position} are there")
            yield position, position + length
            position += length


def _undefined_end(buffer: Buffer, start: int, stop: int, implicit_vr: bool, depth: int) -> tuple[int, int]:
    """Return where the value of undefined length at ``start`` ends, without and with its delimiter."""
    if depth > MAXIMUM_DEPTH:
        raise TruncatedError(f"sequences nested deeper than {MAXIMUM_DEPTH}")
    position = start
    while True:
        if position + 8 > stop:
            raise TruncatedError("a sequence has no end")
        group, number = _TAG(buffer, position)
        tag = group << 16 | number
        (length,) = _LONG(buffer, position + 4)
        if tag == SEQUENCE_DELIMITER:
            return position, position + 8
        if tag != ITEM:
            raise TruncatedError(f"tag {tag:08X} where an item is due, at offset {position}")
        position += 8
        if length == UNDEFINED_LENGTH:
            _, position = _item_end(buffer, position, stop, implicit_vr, depth)
        else:
            position += length
            if position > stop:
                raise TruncatedError("an item ends beyond its sequence")


def _item_end(buffer: Buffer, start: int, stop: int, implicit_vr: bool, depth: int) -> tuple[int, int]:
    """Return where the content of an item of undefined length ends, without and with its delimiter."""
    position = start
    for element in elements(buffer, start, stop, implicit_vr, depth):
        position = element.next
    if position + 8 > stop or _TAG(buffer, position) != (0xFFFE, 0xE00D):
        raise TruncatedError("an item has no end")
    return position, position + 8


def read_layout(buffer: Buffer, stop_before: Callable[[int], bool] | None = None, size: int | None = None) -> Layout:
    """Find the top level elements of a DICOM file.

    Parameters
    ----------
    buffer
        The file, or its beginning.
    stop_before
        The walk ends before the first tag for which this is true.
    size
        Size of the whole file where ``buffer`` is only its beginning.

    Raises
    ------
    NeedsPydicom
        Not a little endian file, deflated, or not recognised as DICOM at all: pydicom may know more.
    """
    available = len(buffer)
    partial = size is not None and size > available
    meta: dict[int, Span] = {}
    uid, position = _begin(buffer, meta)
    if uid in (DEFLATED_EXPLICIT_VR, EXPLICIT_VR_BIG_ENDIAN):
        raise NeedsPydicom(f"transfer syntax {uid}")
    implicit_vr = uid == IMPLICIT_VR_LITTLE_ENDIAN
    spans: dict[int, Span] = {}
    begins: dict[int, int] = {}
    complete = True
    end = position
    last = -1
    try:
        for element in elements(buffer, position, available, implicit_vr, partial=partial, stop_before=stop_before):
            if element.tag <= last:
                raise NeedsPydicom(f"element {element.tag:08X} comes after {last:08X}")
            last = element.tag
            spans[element.tag] = Span(element.vr.decode("ascii"), element.start, element.stop)
            begins[element.tag] = element.begin
            end = element.next
            if end > available:
                complete = False
                break
    except (TruncatedError, error):
        if not spans:
            raise NeedsPydicom("no element could be read") from None
        complete = False
    return Layout(uid, implicit_vr, meta, spans, begins, complete, position, end)


def read_meta(buffer: Buffer) -> tuple[str, int, dict[int, Span]]:
    """Return the transfer syntax of a file, where its dataset begins, and the elements of its file meta information.

    Raises
    ------
    NeedsPydicom
        The file is not recognised as DICOM.
    """
    meta: dict[int, Span] = {}
    return (*_begin(buffer, meta), meta)


def _begin(buffer: Buffer, meta: dict[int, Span]) -> tuple[str, int]:
    position = 132 if buffer[128:132] == b"DICM" else 0
    try:
        if len(buffer) >= position + 8 and _TAG(buffer, position)[0] == 2:
            position = _read_meta(buffer, position, len(buffer), meta)
    except (TruncatedError, error) as truncated:
        raise NeedsPydicom(f"file meta information: {truncated}") from truncated
    syntax = meta.get(TRANSFER_SYNTAX_UID)
    if syntax is None:
        return _guess_syntax(buffer, position), position
    return bytes(buffer[syntax.start : syntax.stop]).rstrip(b"\0 ").decode("ascii", "replace"), position


def _read_meta(buffer: Buffer, start: int, stop: int, meta: dict[int, Span]) -> int:
    """Fill ``meta`` with the elements of group 0002 and return where the dataset begins."""
    position = start
    for element in elements(buffer, start, stop, implicit_vr=False, partial=True):
        if element.tag >> 16 != 2:
            break
        meta[element.tag] = Span(element.vr.decode("ascii"), element.start, element.stop)
        position = element.next
        # The next tag is read by hand: behind the meta information another encoding begins.
        if position + 2 > stop or _SHORT(buffer, position)[0] != 2:
            break
    return position


def _guess_syntax(buffer: Buffer, position: int) -> str:
    """Return the transfer syntax of a dataset without file meta information."""
    if len(buffer) < position + 8:
        raise NeedsPydicom("too short")
    group, number = _TAG(buffer, position)
    if group not in (0x0008, 0x0002) or number > 0x2000:
        raise NeedsPydicom("does not begin as a DICOM dataset does")
    vr = bytes(buffer[position + 4 : position + 6])
    if vr in SHORT_VRS or vr in LONG_VRS:
        return EXPLICIT_VR_LITTLE_ENDIAN
    return IMPLICIT_VR_LITTLE_ENDIAN
