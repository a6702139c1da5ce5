"""Reading some frames of an object and passing over the others: a part of a slide needs few of its tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from dicombridge.part10 import EXPLICIT_VR_LITTLE_ENDIAN, PIXEL_DATA
from dicombridge.pixels import PixelFrames
from dicombridge.slide.frames import FrameBytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.multiframe import MultiFrame

__all__ = ["chosen_frames"]

Raw = tuple[int, "NDArray[np.uint8]", "NDArray[Any] | None"]
"""Index of a frame, its packed bits or none, its pixels or None: as :meth:`PixelFrames.raw` gives them."""

_IMAGE_PIXEL = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel")


def chosen_frames(part: MultiFrame, wanted: NDArray[np.bool_]) -> Iterator[Raw]:
    """Yield the frames of a file that are wanted; others are neither read nor decoded.

    Parameters
    ----------
    wanted
        (frames,)

    Raises
    ------
    UnreadableError, UnsupportedError
        The pixel data is damaged, or compressed in a way that nothing here decodes.
    """
    frames = part.frames
    if frames is None:
        return
    bits = frames.rows * frames.columns * frames.bits
    if wanted.all() or (frames.native and bits % 8):  # single bits that begin within bytes
        for index, (packed, pixels) in enumerate(frames.raw()):
            if wanted[index]:
                yield index, packed, pixels
    elif frames.native:
        yield from _native(part, frames, wanted, bits // 8)
    else:
        yield from _encapsulated(part, frames, wanted)


def _native(part: MultiFrame, frames: PixelFrames, wanted: NDArray[np.bool_], size: int) -> Iterator[Raw]:
    buffer, layout = part.top_level()
    start = layout.elements[PIXEL_DATA].start
    edges = np.flatnonzero(np.diff(wanted.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    for first, stop in edges.tolist():
        header = _header(part, stop - first)
        run = PixelFrames(
            part.path, buffer, start + first * size, start + stop * size, EXPLICIT_VR_LITTLE_ENDIAN, header
        )
        for index, (packed, pixels) in enumerate(run.raw(), start=first):
            yield index, packed, pixels


def _encapsulated(part: MultiFrame, frames: PixelFrames, wanted: NDArray[np.bool_]) -> Iterator[Raw]:
    with FrameBytes(part, frames.count, None) as stored:
        for index in np.flatnonzero(wanted).tolist():
            one = encapsulate([stored.read(index)])
            single = PixelFrames(part.path, one, 0, len(one), part.transfer_syntax_uid, _header(part, 1))
            packed, pixels = next(single.raw())
            yield index, packed, pixels


def _header(part: MultiFrame, count: int) -> Dataset:
    header = Dataset()
    for keyword in _IMAGE_PIXEL:
        if keyword in part.header:
            header[keyword] = part.header[keyword]
    header.NumberOfFrames = count
    return header
