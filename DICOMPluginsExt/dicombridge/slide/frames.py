"""Where the bytes of each frame lie in a file, and reading only those of one (PS3.5 A.4)."""

from __future__ import annotations

import mmap
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Any

from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.part10 import EXPLICIT_VR_BIG_ENDIAN, TruncatedError, items

if TYPE_CHECKING:
    from dicombridge.multiframe import MultiFrame

__all__ = ["FrameBytes"]

PIXEL_DATA = 0x7FE00010
_EXTENDED = 0x7FE00001, 0x7FE00002
_END_MARKERS = (b"\xff\xd9",)
"""End of image of JPEG and JPEG-LS, end of codestream of JPEG 2000: the same two bytes."""
_TAIL = 10
"""Bytes at the end of a fragment within which an end marker is looked for: padding follows it."""

Spans = list[tuple[int, int]]


class FrameBytes(AbstractContextManager["FrameBytes"]):
    """The stored bytes of the frames of an open file.

    Parameters
    ----------
    opened
        The file; its pixel data is not looked at before.
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
        self._buffer, layout = opened.top_level()
        span = layout.elements.get(PIXEL_DATA)
        if not layout.complete:
            raise UnreadableError(self._name, "is cut short: its last element ends beyond the end of the file.")
        if span is None:
            raise UnreadableError(self._name, "has no pixel data.")
        if opened.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN and int(opened.header.get("SamplesPerPixel") or 1) > 1:
            raise UnsupportedError(f"{self._name}: colour images in big endian are not read; rewrite it.")
        self.count = count
        self._frames: list[Spans] | None = None
        self._start, self._size = span.start, frame_size
        if frame_size is None:
            self._frames = self._found(span.start, span.stop, layout)
        elif count * frame_size > span.stop - span.start:
            needed, there = count * frame_size, span.stop - span.start
            raise UnreadableError(
                self._name, f"its {count} frames need {needed} bytes of pixel data, {there} are there."
            )
        # Not through the map: its pages would count as memory of this process.
        is_mapped = isinstance(self._buffer, mmap.mmap)
        self._file = Path(self._name).open("rb", buffering=0) if is_mapped else None  # noqa: SIM115 - closed on exit

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, index: int) -> bytes:
        """Return the bytes of a frame (from 0)."""
        if self._frames is None:
            assert self._size is not None
            begin = self._start + index * self._size
            return self._bytes(begin, begin + self._size)
        return b"".join([self._bytes(*span) for span in self._frames[index]])

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

    def _found(self, start: int, stop: int, layout: Any) -> list[Spans]:
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
        offsets = self._numbers("<L", *table) or self._extended(layout)
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

    def _extended(self, layout: Any) -> list[int]:
        """Return the Extended Offset Table (PS3.3 C.7.6.3.1.8); its lengths follow from the fragments."""
        span = layout.elements.get(_EXTENDED[0])
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
