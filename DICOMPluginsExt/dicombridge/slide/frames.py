"""Where the bytes of each frame lie in a file, and reading only those of one (PS3.5 A.4).

Where an offset table tells, a frame is looked up in it, and nothing of the others is touched: a slide has gigabytes,
and looking at the items of all frames reads them all from the disk. What a table says is believed only where there are
items that fit it; else all items are visited.
"""

from __future__ import annotations

import mmap
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from struct import Struct, error
from typing import TYPE_CHECKING

from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.part10 import (
    EXPLICIT_VR_BIG_ENDIAN,
    ITEM,
    PIXEL_DATA,
    SEQUENCE_DELIMITER,
    UNDEFINED_LENGTH,
    NeedsPydicom,
    TruncatedError,
    elements,
    items,
)

if TYPE_CHECKING:
    from dicombridge.multiframe import MultiFrame

__all__ = ["FrameBytes"]

_EXTENDED = 0x7FE00001, 0x7FE00002
_END_MARKERS = (b"\xff\xd9",)
"""End of image of JPEG and JPEG-LS, end of codestream of JPEG 2000: the same two bytes."""
_TAIL = 10
"""Bytes at the end of a fragment within which an end marker is looked for: padding follows it."""

Spans = list[tuple[int, int]]
_ITEM = Struct("<HHL")


class FrameBytes(AbstractContextManager["FrameBytes"]):
    """The stored bytes of the frames of an open file.

    Parameters
    ----------
    opened
        The file; its pixel data is not looked at before, if it was opened until its pixels.
    count
        Number of Frames.
    frame_size
        Bytes of a frame that is not compressed; None where the frames are compressed.

    Raises
    ------
    UnreadableError
        There is no pixel data, or not as much as announced.
    """

    def __init__(self, opened: MultiFrame, count: int, frame_size: int | None) -> None:
        self._name = opened.path
        self._buffer, self._layout = opened.top_level()
        if not self._layout.complete:
            raise UnreadableError(self._name, "is cut short: its last element ends beyond the end of the file.")
        if opened.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN and int(opened.header.get("SamplesPerPixel") or 1) > 1:
            raise UnsupportedError(f"{self._name}: colour images in big endian are not read; rewrite it.")
        self.count = count
        self._frames: list[Spans] | None = None
        self._begins: list[int] | None = None
        self._start, self._size = 0, frame_size
        # Not through the map: its pages would count as memory of this process.
        is_mapped = isinstance(self._buffer, mmap.mmap)
        self._file = Path(self._name).open("rb", buffering=0) if is_mapped else None  # noqa: SIM115 - closed on exit
        try:
            self._look_up()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _look_up(self) -> None:
        if self._size is not None:
            self._start, stop = self._value()
            if self.count * self._size > stop - self._start:
                needed, there = self.count * self._size, stop - self._start
                raise UnreadableError(
                    self._name, f"its {self.count} frames need {needed} bytes of pixel data, {there} are there."
                )
            return
        self._begins = self._table()
        if self._begins is None:
            self._frames = self._found(*self._value())

    def _value(self) -> tuple[int, int]:
        """Return where the value of Pixel Data lies; all items of compressed frames are visited."""
        span = self._layout.elements.get(PIXEL_DATA)
        if span is not None:
            return span.start, span.stop
        place, size = self._layout.dataset_stop, len(self._buffer)
        try:
            element = next(elements(self._buffer, place, size, self._layout.implicit_vr), None)
        except (TruncatedError, NeedsPydicom, error) as reason:
            raise UnreadableError(self._name, f"its pixel data is damaged or cut short: {reason}.") from reason
        if element is None or element.tag != PIXEL_DATA:
            raise UnreadableError(self._name, "has no pixel data.")
        return element.start, element.stop

    def read(self, index: int) -> bytes:
        """Return the bytes of a frame (from 0)."""
        if self._begins is not None:
            try:
                return b"".join([self._bytes(*span) for span in self._fragments(index, self._begins)])
            except TruncatedError:  # the table lies of this frame
                self._begins, self._frames = None, self._found(*self._value())
        if self._frames is None:
            assert self._size is not None
            begin = self._start + index * self._size
            return self._bytes(begin, begin + self._size)
        return b"".join([self._bytes(*span) for span in self._frames[index]])

    # --- By a table ------------------------------------------------------------------------------------------------

    def _table(self) -> list[int] | None:
        """Return where the first item of each frame begins; None where no table says it, or what it says is not so."""
        size = len(self._buffer)
        place = self._layout.dataset_stop + (8 if self._layout.implicit_vr else 12)
        if PIXEL_DATA in self._layout.elements or place + _ITEM.size > size:
            return None
        group, number, length = _ITEM.unpack_from(self._buffer, place)
        first = place + _ITEM.size + length
        if self._buffer[place - 4 : place] != b"\xff\xff\xff\xff" or group << 16 | number != ITEM or first > size:
            return None
        offsets = self._numbers("<L", place + _ITEM.size, first) or self._extended()
        if len(offsets) != self.count or offsets[0] != 0 or any(one >= two for one, two in pairwise(offsets)):
            return None
        begins = [first + offset for offset in offsets]
        try:
            self._fragments(len(begins) - 1, begins)
        except TruncatedError:
            return None
        return begins

    def _fragments(self, index: int, begins: list[int]) -> Spans:
        """Return the fragments from where a frame begins to the next one, or to the end of Pixel Data.

        Raises
        ------
        TruncatedError
            There are no such items.
        """
        place, stop = begins[index], begins[index + 1] if index + 1 < len(begins) else None
        found: Spans = []
        while place != stop:
            if place + _ITEM.size > len(self._buffer):
                raise TruncatedError("a frame begins beyond the end of the file")
            group, number, length = _ITEM.unpack(self._bytes(place, place + _ITEM.size))
            tag, begin = group << 16 | number, place + _ITEM.size
            if tag == SEQUENCE_DELIMITER and stop is None and found:
                return found
            place = begin + length
            if tag != ITEM or length == UNDEFINED_LENGTH or place > (stop or len(self._buffer)):
                raise TruncatedError("a frame has no items")
            found.append((begin, place))
        return found

    # --- By all items ----------------------------------------------------------------------------------------------

    def _bytes(self, begin: int, end: int) -> bytes:
        if self._file is None:
            return bytes(self._buffer[begin:end])
        self._file.seek(begin)
        parts, missing = [], end - begin
        while missing:
            part = self._file.read(missing)
            if not part:
                raise UnreadableError(self._name, "became shorter while it was read.")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def _found(self, start: int, stop: int) -> list[Spans]:
        """Return the fragments of each frame of encapsulated pixel data."""
        try:
            fragments = list(items(self._buffer, start, stop, True))
        except TruncatedError as error:
            raise UnreadableError(self._name, f"its compressed pixel data is damaged: {error}.") from error
        if not fragments:
            raise UnreadableError(self._name, "its compressed pixel data is empty.")
        table, fragments = fragments[0], fragments[1:]
        if len(fragments) < self.count:
            raise UnreadableError(self._name, f"has {len(fragments)} compressed frames instead of {self.count}.")
        if len(fragments) == self.count:
            # A frame has at least one fragment (PS3.5 A.4), so each has one, whatever a table says.
            return [[fragment] for fragment in fragments]
        if self.count == 1:
            return [fragments]
        offsets = self._numbers("<L", *table) or self._extended()
        frames = self._by_offsets(fragments, offsets) or self._by_markers(fragments)
        if frames is None:
            raise UnreadableError(
                self._name, f"has {len(fragments)} fragments that cannot be assigned to its {self.count} frames."
            )
        return frames

    def _numbers(self, kind: str, begin: int, end: int) -> list[int]:
        read = Struct(kind)
        content = self._buffer[begin : end - (end - begin) % read.size]
        return [int(number) for (number,) in read.iter_unpack(content)]

    def _extended(self) -> list[int]:
        """Return the Extended Offset Table (PS3.3 C.7.6.3.1.8); its lengths follow from the fragments."""
        span = self._layout.elements.get(_EXTENDED[0])
        return [] if span is None else self._numbers("<Q", span.start, span.stop)

    def _by_offsets(self, fragments: Spans, offsets: list[int]) -> list[Spans] | None:
        """Return the fragments of each frame as a table tells; None where it cannot be true."""
        if len(offsets) != self.count:
            return None
        first = fragments[0][0] - 8  # a table counts from the tag of the first fragment's item
        places = {begin - 8 - first: place for place, (begin, _) in enumerate(fragments)}
        starts = [places.get(offset, -1) for offset in offsets]
        if starts[0] != 0 or any(one >= two for one, two in pairwise(starts)):
            return None
        ends = [*starts[1:], len(fragments)]
        return [fragments[begin:end] for begin, end in zip(starts, ends, strict=True)]

    def _by_markers(self, fragments: Spans) -> list[Spans] | None:
        """Return the fragments of each frame by the end markers of their images; None where they do not tell."""
        frames: list[Spans] = [[]]
        for begin, end in fragments:
            frames[-1].append((begin, end))
            tail = self._buffer[max(begin, end - _TAIL) : end]
            if any(marker in tail for marker in _END_MARKERS):
                frames.append([])
        if not frames[-1]:
            frames.pop()
        return frames if len(frames) == self.count else None
