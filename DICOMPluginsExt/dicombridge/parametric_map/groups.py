"""Functional groups of single frames, as they are encoded: the few that are not alike in all frames (PS3.3 C.7.6.16).

:class:`~dicombridge.functional_groups.FrameTable` has the values of all frames; here are whole items, each of which is
read once, however many frames have the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dicombridge.errors import UnreadableError
from dicombridge.multiframe import MultiFrame
from dicombridge.part10 import PER_FRAME_GROUPS, NeedsPydicom, TruncatedError, elements, items
from dicombridge.shadow import bytes_to_text, dataset_from_text

__all__ = ["FrameGroups", "RawItem"]

SHARED_GROUPS = 0x52009229


@dataclass(frozen=True)
class RawItem:
    """An item of a sequence as it is encoded in the file."""

    content: bytes
    implicit_vr: bool
    character_set: str

    @property
    def text(self) -> str:
        """The text form (:mod:`dicombridge.shadow`)."""
        return bytes_to_text(self.content, self.implicit_vr, self.character_set)

    @cached_property
    def dataset(self) -> Any:
        """The item as a Dataset; empty where it cannot be read."""
        from pydicom.dataset import Dataset

        found = dataset_from_text(self.text)
        return Dataset() if found is None else found

    def items(self, tag: int) -> list[RawItem]:
        """Return the items of a sequence of this item.

        Raises
        ------
        TruncatedError
            The item contradicts its own lengths.
        """
        for element in elements(self.content, 0, len(self.content), self.implicit_vr):
            if element.tag == tag:
                # UN of undefined length holds implicit VR (PS3.5 6.2.2).
                inner = self.implicit_vr or element.vr == b"UN"
                return [
                    RawItem(self.content[start:stop], inner, self.character_set)
                    for start, stop in items(self.content, element.start, element.stop, inner)
                ]
        return []


class FrameGroups:
    """The functional groups of one file.

    Parameters
    ----------
    opened
        The file, which stays open as long as frames are asked for.
    """

    def __init__(self, opened: MultiFrame) -> None:
        self._opened = opened
        raw = opened.raw_items(SHARED_GROUPS)
        self._shared = RawItem(raw[0], opened.implicit_vr, opened.character_set) if raw else None

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        buffer, layout = self._opened.top_level()
        span = layout.elements.get(PER_FRAME_GROUPS)
        if span is None:
            return []
        return list(items(buffer, span.start, span.stop, layout.implicit_vr))

    def items(self, frame: int, tag: int) -> list[RawItem]:
        """Return the items of a functional group: the frame's own, else the shared ones.

        Raises
        ------
        UnreadableError
            The functional groups contradict their own lengths.
        """
        try:
            found: list[RawItem] = []
            if frame < len(self._spans):
                start, stop = self._spans[frame]
                buffer, _ = self._opened.top_level()
                own = RawItem(buffer[start:stop], self._opened.implicit_vr, self._opened.character_set)
                found = own.items(tag)
            if not found and self._shared is not None:
                found = self._shared.items(tag)
            return found
        except (TruncatedError, NeedsPydicom) as error:
            path = self._opened.path
            raise UnreadableError(path, f"its functional group {tag:08X} is damaged: {error}.") from error

    def item(self, frame: int, tag: int) -> Any | None:
        """Return the first item of a functional group as a Dataset, None where there is none."""
        found = self.items(frame, tag)
        return found[0].dataset if found else None
