"""Values of a file's header as text, as ctkDICOMDatabase gives them, read without the pixel data.

Files are read with the light walker of :mod:`dicombridge.part10`; pydicom reads what that declines (big endian,
deflated, elements out of order, unusual VRs).
"""

from __future__ import annotations

import mmap
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from dicombridge.database.indexed_tags import INDEXED_TAGS
from dicombridge.deflated import plain_source
from dicombridge.errors import DicomBridgeError, UnreadableError
from dicombridge.part10 import (
    DEFLATED_EXPLICIT_VR,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LONG_VRS,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    Buffer,
    NeedsPydicom,
    TruncatedError,
    elements,
    read_layout,
)

__all__ = ["HeaderValues", "read_indexed_values", "read_values_up_to", "tag_key", "tag_number"]

FIRST_READ = 64 * 1024
"""Bytes of a file that are read at once: the header of nearly every single-frame object."""
LONGEST_TEXT = 64 * 1024
"""Longer values are not kept as text."""
PIXEL_GROUP = 0x7FE0
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"

_UNUSUAL_ENCODINGS = {DEFLATED_EXPLICIT_VR: "deflated", EXPLICIT_VR_BIG_ENDIAN: "in big endian byte order"}

StopBefore = Callable[[int], bool]

_BEHIND_META = 0x00030000
_BEHIND_INDEXED_TAGS = max(INDEXED_TAGS) + 1
_START = struct.Struct("<HH2sH").unpack_from
_START_LONG = struct.Struct("<HH4xL").unpack_from
_START_IMPLICIT = struct.Struct("<HHL").unpack_from
_LONG = struct.Struct("<L").unpack_from
_CHARACTER_SET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_WHOLE_TEXT_VRS = frozenset({"LT", "ST", "UR", "UT"})
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_NO_TEXT_VRS = frozenset({"SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN"})


@dataclass
class HeaderValues:
    """What was read of a file.

    Attributes
    ----------
    values
        Text by tag key ("0010,0020"); elements that are absent or have no text form are not in it.
    notes
        What is unusual about the file, each as the end of a sentence that starts with its path.
    """

    values: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_note(self, note: str) -> None:
        """Add a note, unless it is empty."""
        if note:
            self.notes.append(note)


def tag_number(key: str) -> int | None:
    """Return the tag of a key such as "0008,103E", or None where it isn't one.

    >>> f"{tag_number('0008,103e'):08X}"
    '0008103E'
    """
    group, comma, element = key.partition(",")
    if not comma or len(group) != 4 or len(element) != 4:
        return None
    try:
        return int(group, 16) << 16 | int(element, 16)
    except ValueError:
        return None


def tag_key(tag: int) -> str:
    """Return the key of a tag, in upper case.

    >>> tag_key(0x0008103E)
    '0008,103E'
    """
    return f"{tag >> 16:04X},{tag & 0xFFFF:04X}"


def read_indexed_values(path: str) -> HeaderValues:
    """Read the indexed tags of a file, and note what is unusual about it.

    Raises
    ------
    UnreadableError
        The file is empty or isn't DICOM, or nothing can be made of it.
    OSError
        The file cannot be opened or read.
    """
    return _read(path, _stop_of_index, indexed_only=True)


def read_values_up_to(path: str, tag: int) -> HeaderValues:
    """Read all top level values of a file up to and with ``tag``; never the pixel data. Raises as above."""
    last = min(tag, (PIXEL_GROUP << 16) - 1)
    return _read(path, lambda found: found > last, indexed_only=False)


def _stop_of_index(tag: int) -> bool:
    """Whether no indexed tag follows; per-frame groups and pixel data are never walked."""
    return tag >= _BEHIND_INDEXED_TAGS


def _read(path: str, stop_before: StopBefore, indexed_only: bool) -> HeaderValues:
    with Path(path).open("rb", buffering=0) as file:
        head = file.read(FIRST_READ)
        if not head:
            raise UnreadableError(path, "is empty")
        size = len(head) if len(head) < FIRST_READ else file.seek(0, 2)
        if not _may_be_dicom(head):
            raise UnreadableError(path, "is not DICOM")
        try:
            header = _read_lightly(file, head, size, stop_before, indexed_only)
        except (NeedsPydicom, TruncatedError, struct.error, ValueError) as declined:
            header = _read_with_pydicom(path, file, size, stop_before, indexed_only)
            syntax = header.values.get("0002,0010", "")
            encoding = {DEFLATED_EXPLICIT_VR: "deflated", EXPLICIT_VR_BIG_ENDIAN: "in big endian byte order"}.get(
                syntax
            )
            header.add_note(f"is {encoding}" if encoding else f"is not quite as the standard says ({declined})")
    if not header.values:
        if not _has_prefix(head):
            raise UnreadableError(path, "is not DICOM")
        raise UnreadableError(path, "has the mark of a DICOM file, but is cut short or damaged right behind it")
    if not _has_prefix(head):
        header.notes.append("has no preamble (a DICOM file should begin with 128 bytes and 'DICM')")
    return header


def _has_prefix(head: bytes) -> bool:
    return head[128:132] == b"DICM"


def _may_be_dicom(head: bytes) -> bool:
    """Whether it is worth a closer look: 'DICM', or a dataset without preamble in either byte order."""
    if _has_prefix(head):
        return True
    if len(head) < 8:
        return False
    little = head[0] in (2, 4, 8) and head[1] == 0 and head[3] < 0x20
    big = head[0] == 0 and head[1] in (2, 4, 8) and head[2] < 0x20
    return (little or big) and head[:8].count(0) < 8


def _read_lightly(file: BinaryIO, head: bytes, size: int, stop_before: StopBefore, indexed_only: bool) -> HeaderValues:
    if indexed_only and _has_prefix(head):
        header = _read_indexed(file, head, head, size)
        if header is None:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                header = _read_indexed(file, head, whole, size)
        if header is not None:
            return header
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        layout = read_layout(whole, stop_before)
        header = HeaderValues()
        decoder = _Decoder(header.values, little_endian=True)
        for spans in (layout.meta, layout.elements):
            for tag, span in spans.items():
                if span.stop <= size and not (indexed_only and tag not in INDEXED_TAGS):
                    decoder.add(tag, span.vr, whole[span.start : min(span.stop, span.start + LONGEST_TEXT + 1)])
        header.values.setdefault("0002,0010", layout.transfer_syntax_uid)
        if indexed_only:
            end = layout.dataset_stop if layout.complete else -1
            header.add_note(_tail_note(file, whole, end, layout.implicit_vr, size))
        return header


def _read_indexed(file: BinaryIO, head: bytes, buffer: Buffer, size: int) -> HeaderValues | None:
    """Read the indexed tags from the beginning of a file, or the whole of it; None where ``head`` is too short."""
    found: list[tuple[int, bytes, int, int]] = []
    position = _walk_indexed(head, 132, False, found, _BEHIND_META)
    header = HeaderValues()
    decoder = _Decoder(header.values, little_endian=True)
    for tag, vr, start, stop in found:
        decoder.add(tag, vr.decode("ascii"), head[start:stop])
    syntax = header.values.get("0002,0010", "")
    if position < 0 and len(head) == size:
        raise NeedsPydicom("it is cut short within its header")
    if position < 0 or not syntax or syntax in (DEFLATED_EXPLICIT_VR, EXPLICIT_VR_BIG_ENDIAN):
        raise NeedsPydicom(f"transfer syntax {syntax!r}")
    found.clear()
    implicit_vr = syntax == IMPLICIT_VR_LITTLE_ENDIAN
    position = _walk_indexed(buffer, position, implicit_vr, found, _BEHIND_INDEXED_TAGS)
    if len(buffer) < size and (position < 0 or position + 12 > len(buffer)):
        return None
    for tag, vr, start, stop in found:
        decoder.add(tag, vr.decode("ascii"), buffer[start : min(stop, start + LONGEST_TEXT + 1)])
    header.add_note(_tail_note(file, buffer, position, implicit_vr, size))
    return header


def _walk_indexed(
    buffer: Buffer, position: int, implicit_vr: bool, found: list[tuple[int, bytes, int, int]], limit: int
) -> int:
    """Collect ``(tag, vr, start, stop)`` of the indexed tags before ``limit``; return where the walk ended.

    This is :func:`dicombridge.part10.read_layout` for the one case that thousands of files have, at a third of its
    time. -1: the buffer ends within an element.
    """
    available = len(buffer)
    last = -1
    while position + 8 <= available:
        group, number, vr, length = _START(buffer, position)
        tag = group << 16 | number
        if tag >= limit:
            return position
        if tag <= last:
            raise NeedsPydicom(f"element {tag_key(tag)} comes after {tag_key(last)}")
        last = tag
        start = position + 8
        if implicit_vr:
            (length,) = _LONG(buffer, position + 4)
            vr = b""
        elif vr in LONG_VRS:
            if position + 12 > available:
                return -1
            (length,) = _LONG(buffer, start)
            start += 4
        elif vr not in SHORT_VRS:
            raise NeedsPydicom(f"VR {vr!r} of element {tag_key(tag)}")
        if length == UNDEFINED_LENGTH:
            try:
                position = next(elements(buffer, position, available, implicit_vr)).next
            except TruncatedError:
                return -1
            continue
        stop = start + length
        if stop > available:
            return -1
        if tag in INDEXED_TAGS:
            found.append((tag, vr, start, stop))
        position = stop
    return position if position == available else -1


def _tail_note(file: BinaryIO, buffer: Buffer, position: int, implicit_vr: bool, size: int) -> str:
    """Return what is wrong with the part of the file from ``position`` on, which isn't read, as far as lengths tell."""
    if position == size:
        return ""
    width = 8 if implicit_vr else 12
    if position < 0 or position + width > size:
        return "is cut short within its header"
    group, element, length = (_START_IMPLICIT if implicit_vr else _START_LONG)(buffer, position)
    if group == PIXEL_GROUP and element == 0x10 and length != UNDEFINED_LENGTH:
        there = size - position - width
        return "" if there >= length else f"is cut short: {there} of {length} bytes of its pixel data are there"
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        try:
            _walk_tail(whole, implicit_vr, position, size)
        except TruncatedError as error:
            return f"is cut short ({error})"
        except NeedsPydicom:
            return ""  # odd, but not shorter than it says
    return ""


def _walk_tail(whole: mmap.mmap, implicit_vr: bool, position: int, size: int) -> None:
    """Raise TruncatedError where the elements from ``position`` on do not end within the file."""
    if whole[position : position + 2] == b"\x00\x52":
        # Per-frame groups are thousands of items: jump over them to the pixel data.
        found = whole.find(b"\xe0\x7f\x10\x00" + (b"" if implicit_vr else b"O"), position)
        position = found if found > 0 else position
    if whole[position : position + 4] == b"\xe0\x7f\x10\x00" and not implicit_vr:
        (length,) = struct.unpack_from("<L", whole, position + 8)
        if (
            length == UNDEFINED_LENGTH
        ):  # frames are not walked: the delimiter is at the end, or trailing elements follow it
            end = whole.rfind(b"\xfe\xff\xdd\xe0", max(position, size - FIRST_READ))
            if end < 0:
                raise TruncatedError("its compressed pixel data has no end")
            position = end + 8
    for _ in elements(whole, position, size, implicit_vr):
        pass


def _read_with_pydicom(
    path: str, file: BinaryIO, size: int, stop_before: StopBefore, indexed_only: bool
) -> HeaderValues:
    from pydicom.filereader import read_partial

    header = HeaderValues()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = plain_source(path, beginning=True)  # pydicom would inflate all of it, however much that is
            file.seek(0)
            dataset = read_partial(
                file if source is path else source,
                lambda tag, _vr, _length: int(tag) >> 16 >= PIXEL_GROUP or bool(stop_before(int(tag))),
                defer_size=None,
                force=True,
            )
            little_endian = bool(dataset.original_encoding[1]) if dataset.original_encoding[1] is not None else True
            decoder = _Decoder(header.values, little_endian=little_endian)
            for tag, vr, value in _raw_values(dataset):
                if not (indexed_only and tag not in INDEXED_TAGS):
                    decoder.add(tag, vr, value)
            if source is not path:
                header.values["0002,0010"] = DEFLATED_EXPLICIT_VR
        except (DicomBridgeError, OSError):
            raise
        except Exception as error:  # whatever damaged data does to pydicom is a damaged file
            raise UnreadableError(path, f"cannot be read as DICOM ({error or type(error).__name__})") from error
    if header.values.get("0002,0010") == EXPLICIT_VR_BIG_ENDIAN and indexed_only:
        header.notes.extend(_big_endian_tail(file, size))
    return header


def _raw_values(dataset: Any) -> Iterator[tuple[int, str, bytes]]:
    """Yield tag, VR and bytes of a dataset's own elements and of its file meta information."""
    for part, meta in ((getattr(dataset, "file_meta", None), True), (dataset, False)):
        if part is None:
            continue
        for tag in sorted(part.keys()):
            item = part.get_item(tag)
            value = getattr(item, "value", None)
            if isinstance(value, bytes):
                yield int(tag), str(item.VR or ""), value
            elif meta and isinstance(value, str):
                yield int(tag), "UI", value.encode("ascii", "replace")
            elif isinstance(value, str) and int(tag) == 0x00080005:
                yield int(tag), "CS", value.encode("ascii", "replace")


def _big_endian_tail(file: BinaryIO, size: int) -> list[str]:
    """Note big endian pixel data that is cut short; pydicom stopped before its tag."""
    position = file.tell()
    start = file.read(12)
    if len(start) == 12:
        group, element, _vr, length = struct.unpack(">HH4sL", start)
        there = size - position - 12
        if (group, element) == (PIXEL_GROUP, 0x10) and length != UNDEFINED_LENGTH and there < length:
            return [f"is cut short: {there} of {length} bytes of its pixel data are there"]
    return []


class _Decoder:
    """Turns raw values into text, in the order of their tags (what an element depends on comes before it)."""

    def __init__(self, values: dict[str, str], little_endian: bool) -> None:
        self.values = values
        self.order = "<" if little_endian else ">"
        self.encodings: Any = None

    def add(self, tag: int, vr: str, raw: bytes) -> None:
        known = INDEXED_TAGS.get(tag)
        if not vr or vr == "UN":
            vr = known[1] if known else _dictionary_vr(tag)
        if vr in _NO_TEXT_VRS or len(raw) > LONGEST_TEXT:
            return
        key = known[0] if known else tag_key(tag)
        if " or " in vr:
            vr = "SS" if vr == "US or SS" and self.values.get("0028,0103") == "1" else vr[:2]
            if vr in _NO_TEXT_VRS:
                return
        meta_order = "<" if tag >> 16 == 2 else self.order
        if vr in _NUMBERS:
            self.values[key] = _numbers(raw, meta_order + "{}" + _NUMBERS[vr])
        elif vr == "AT":
            self.values[key] = _tags(raw, meta_order)
        else:
            self.values[key] = self._text(vr, raw.rstrip(b"\0 "))

    def _text(self, vr: str, raw: bytes) -> str:
        if raw.isascii() and b"\x1b" not in raw:
            text = raw.decode("ascii")
        elif vr in _CHARACTER_SET_VRS:
            text = self._decoded(vr, raw)
        else:
            text = raw.decode("latin-1")
        if " " in text and vr not in _WHOLE_TEXT_VRS:
            text = "\\".join(part.strip(" ") for part in text.split("\\"))
        return text

    def _decoded(self, vr: str, raw: bytes) -> str:
        from pydicom.charset import convert_encodings, decode_bytes
        from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.encodings is None:
                try:
                    self.encodings = convert_encodings(self.values.get("0008,0005", "").split("\\"))
                except (LookupError, ValueError):
                    self.encodings = ["iso8859"]
            if vr == "PN":
                groups = (decode_bytes(group, self.encodings, PN_DELIMS) for group in raw.split(b"="))
                return "=".join(groups)
            return decode_bytes(raw, self.encodings, TEXT_VR_DELIMS)


def _numbers(raw: bytes, pattern: str) -> str:
    """Return binary numbers as text; ``pattern`` is byte order, a place for the count, and the type."""
    width = struct.calcsize(pattern.format(1))
    if len(raw) % width and raw.isascii():  # seen in the wild: a decimal string under a binary VR
        return raw.decode("ascii").strip("\0 ")
    numbers = struct.unpack_from(pattern.format(len(raw) // width), raw)
    return "\\".join(repr(number).removesuffix(".0") for number in numbers)


def _tags(raw: bytes, order: str) -> str:
    halves = struct.unpack_from(f"{order}{len(raw) // 4 * 2}H", raw)
    return "\\".join(f"({group:04X},{element:04X})" for group, element in zip(halves[::2], halves[1::2], strict=True))


def _dictionary_vr(tag: int) -> str:
    from pydicom.datadict import dictionary_VR

    if tag & 0xFFFF == 0:
        return "UL"  # group length
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"
