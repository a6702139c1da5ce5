"""The frames of a new segmentation: their functional groups and their pixels, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.sr.coding import Code

from dicombridge.encode import element, sequence
from dicombridge.output.frames import SlicePlaces, code_sequence, derivation_images, frame_content
from dicombridge.part10 import PER_FRAME_GROUPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.output.tiles import TilePlaces, TileStack

__all__ = ["Frame", "binary_frames", "dimensions", "functional_groups", "slices_by_label"]

_DERIVATION = code_sequence(0x00089215, Code("113076", "DCM", "Segmentation"))
_SEGMENT_NUMBER = (0x0062000B, 0x0062000A, "Segment Number")


@dataclass(frozen=True)
class Frame:
    """One frame to be written: the slice or tile, and for BINARY and FRACTIONAL the segment, that it shows."""

    place: int
    segment: int


def slices_by_label(array: NDArray[Any] | TileStack) -> dict[int, list[int]]:
    """Return the slices, or tiles, in which each label of a layer occurs; 0 is left out."""
    slices: dict[int, list[int]] = {}
    for place, image in enumerate(array):
        if array.dtype.itemsize <= 2 and array.dtype.kind == "u":
            labels = np.flatnonzero(np.bincount(image.ravel()))
        else:
            labels = np.unique(image)
        for label in labels.tolist():
            if label:
                slices.setdefault(int(label), []).append(place)
    return slices


def dimensions(places: SlicePlaces | TilePlaces, by_segment: bool) -> list[tuple[int, int, str]]:
    """Return the dimensions of the frames: segment, but in label maps, then position."""
    return [_SEGMENT_NUMBER, *places.dimensions] if by_segment else list(places.dimensions)


def functional_groups(
    frames: Sequence[Frame],
    places: SlicePlaces | TilePlaces,
    sources: Mapping[int, Sequence[tuple[str, str, int]]],
    by_segment: bool,
    preserved: bool = True,
) -> bytes:
    """Return the Per-frame Functional Groups Sequence, encoded in Explicit VR Little Endian.

    Parameters
    ----------
    places
        Where slices, or tiles, lie.
    sources
        By slice or tile: (SOP Class UID, SOP Instance UID, frame number or 0) of the source images.
    by_segment
        Each frame names its segment (all types but LABELMAP).
    preserved
        The pixels of each frame lie where those of its source images lie (Spatial Locations Preserved).
    """
    used = sorted({frame.place for frame in frames})
    of_place = {place: b"".join(places.position(place)) for place in used}
    # A functional group of one frame is one of all frames (PS3.3 C.7.6.16.1.1), also where there is nothing to say.
    is_derived = any(sources.get(place) for place in used)
    derivation = {
        place: derivation_images(sources.get(place, ()), preserved, _DERIVATION) if is_derived else b""
        for place in used
    }
    contents = []
    for frame in frames:
        index = places.index(frame.place)
        index = (frame.segment, *index) if by_segment else index
        content = derivation[frame.place] + frame_content(index) + of_place[frame.place]
        contents.append(content + (_segment_identification(frame.segment) if by_segment else b""))
    return sequence(PER_FRAME_GROUPS, contents)


def _segment_identification(number: int) -> bytes:
    return sequence(0x0062000A, [element(0x0062000B, b"US", pack("<H", number))])


def binary_frames(
    frames: Sequence[Frame], arrays: Mapping[int, tuple[NDArray[Any] | TileStack, int]], empty: NDArray[np.bool_]
) -> Iterator[NDArray[np.bool_]]:
    """Yield the pixels of BINARY frames; ``arrays`` holds layer and label of each segment number that has voxels."""
    for frame in frames:
        if frame.segment in arrays:
            array, label = arrays[frame.segment]
            yield array[frame.place] == label
        else:
            yield empty
