"""Reading a dataset without its pixels, and copying these from file to file as they are."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, NamedTuple

from dicombridge.errors import DicomBridgeError
from dicombridge.part10 import NeedsPydicom, read_layout

__all__ = ["PixelBytes", "append_pixels", "read_without_pixels"]

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_CHUNK = 1 << 18


class PixelBytes(NamedTuple):
    """Where the pixel data element lies in a file, its tag and length included."""

    start: int
    stop: int


def read_without_pixels(path: Path) -> tuple[Any, PixelBytes | None]:
    """Read a dataset; its pixels are left in the file where they can be copied from there as they are.

    Returns
    -------
    dataset
        With pixels where these are needed in memory: deflated, big endian, or not the last element but padding.
    pixels
        Where they lie otherwise; None where there are none.
    """
    import pydicom

    place = _place(path)
    if place is None:
        return pydicom.dcmread(path, force=True), None
    dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    return dataset, place


def append_pixels(path: Path, source: Path, pixels: PixelBytes | None) -> None:
    """Copy the pixel data element of a file to the end of another one in the same encoding."""
    if pixels is None:
        return
    with path.open("ab") as target, source.open("rb") as file:
        file.seek(pixels.start)
        left = pixels.stop - pixels.start
        while left and (piece := file.read(min(left, _CHUNK))):
            target.write(piece)
            left -= len(piece)


def _place(path: Path) -> PixelBytes | None:
    """Return where the pixels lie, None where pydicom has to handle them; what follows them is not copied."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            layout = read_layout(whole)
    except (NeedsPydicom, DicomBridgeError, ValueError):
        return None
    found = [(tag, begin, end) for tag, begin, end in layout.parts() if tag in _PIXELS]
    if not layout.complete or not layout.meta or len(found) != 1:
        return None
    return PixelBytes(found[0][1], found[0][2])
