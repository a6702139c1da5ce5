"""Reading attributes of damaged and of multi-frame headers: text or None, never an exception."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from dicombridge.image.headers import text_of
from dicombridge.suv.values import Sourced
from dicombridge.tolerance import quiet

__all__ = ["Header", "frames_of", "items", "label"]

MULTI_FRAME_PET = ("1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1")
"""Enhanced PET and Legacy Converted Enhanced PET Image Storage."""

_GROUPS = (
    "FrameContentSequence",
    "PETFrameCorrectionFactorsSequence",
    "PixelValueTransformationSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)
"""Functional groups whose attributes may stand for those of a single-frame image (PS3.3 C.7.6.16.2)."""


@functools.lru_cache(maxsize=256)
def label(keyword: str) -> str:
    """Return an attribute as people cite it.

    >>> label("PatientWeight")
    "Patient's Weight (0010,1030)"
    """
    from pydicom.datadict import dictionary_description, tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


@quiet()
def items(dataset: Any, keyword: str) -> list[Any]:
    """Return the items of a sequence; empty where it is absent or is none."""
    try:
        value = dataset.get(keyword) if dataset is not None else None
        return [item for item in value or [] if hasattr(item, "get")]
    except Exception:  # pydicom parses late and raises nearly every kind of error for damaged bytes
        return []


class Header:
    """What holds for one frame: the attributes of its functional groups, of the shared ones, and of the dataset."""

    def __init__(self, dataset: Any, groups: Sequence[Any] = (), number: int = 0) -> None:
        self.dataset = dataset
        self.groups = groups
        self.number = number
        self._layers = [item for name in _GROUPS for group in groups for item in items(group, name)[:1]] + [dataset]

    def text(self, keyword: str) -> str:
        """Return the values joined by backslashes, empty where the attribute is absent, empty or damaged."""
        for layer in self._layers:
            found = text_of(layer, keyword)
            if found:
                return found
        return ""

    def sourced_text(self, keyword: str) -> Sourced[str] | None:
        """Return one value in capitals."""
        text = self.text(keyword).strip("\0 ").upper()
        return Sourced(text, label(keyword)) if text else None

    def number_of(self, keyword: str, scale: float = 1.0) -> Sourced[float] | None:
        """Return one finite number, multiplied with a scale."""
        return finite(self.text(keyword), label(keyword), scale)

    def sequence(self, keyword: str) -> list[Any]:
        """Return the items of a sequence from wherever it stands first, functional groups included."""
        for layer in (*self._layers, *self.groups):
            found = items(layer, keyword)
            if found:
                return found
        return []

    @quiet()
    def private(self, group: int, creator: str, element: int) -> str:
        """Return a private element as text; only if the private creator is the right one (PS3.5 7.8.1)."""
        for layer in self._layers:
            try:
                value = layer.private_block(group, creator)[element].value
            except Exception:  # no such block or element, or a damaged one
                continue
            if isinstance(value, (bytes, bytearray)):
                value = value.decode("ascii", "replace")
            if value is not None and not (isinstance(value, Sequence) and not isinstance(value, str)):
                return str(value).strip("\0 ")
        return ""


def finite(text: str, source: str, scale: float = 1.0) -> Sourced[float] | None:
    """Return a finite number with its source, or None."""
    try:
        value = float(text) * scale
    except ValueError:
        return None
    return Sourced(value, source) if math.isfinite(value) else None


def frames_of(dataset: Any) -> Iterator[Header]:
    """Yield what holds for each frame; a multi-frame header that was read without per-frame groups counts as one."""
    if text_of(dataset, "SOPClassUID") not in MULTI_FRAME_PET:
        yield Header(dataset)
        return
    shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
    own = items(dataset, "PerFrameFunctionalGroupsSequence")
    for number, item in enumerate(own or [None], start=1):
        yield Header(dataset, [*([item] if item is not None else []), *shared], number)
