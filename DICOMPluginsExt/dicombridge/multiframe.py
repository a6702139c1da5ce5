"""An open multi-frame object: its header as a Dataset, its per-frame values as columns, its frames one at a time.

The file is mapped, not read: neither the pixel data nor the per-frame functional groups are copied. Files in an
encoding that :mod:`dicombridge.part10` leaves to pydicom are read by pydicom and written anew in memory.
"""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from dicombridge.deflated import BEGINNING, inflated
from dicombridge.errors import UnreadableError
from dicombridge.functional_groups import FrameTable, read_frame_table
from dicombridge.part10 import (
    DEFLATED_EXPLICIT_VR,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    PER_FRAME_GROUPS,
    PIXEL_DATA,
    Buffer,
    Layout,
    NeedsPydicom,
    TruncatedError,
    items,
    read_layout,
)
from dicombridge.pixels import PixelFrames
from dicombridge.shadow import LONGEST_BINARY, NOT_REMEMBERED, bytes_to_text

__all__ = ["MultiFrame", "open_multiframe", "read_header"]

PIXEL_DATA_TAGS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
"""The three elements that pixels may be in (PS3.3 C.7.6.3, C.7.6.24, C.7.6.25), and their keywords."""
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002)
_REWRITTEN = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN})
"""Transfer syntaxes whose pixel data is not compressed, so that it stays as it is when the file is written anew."""


@dataclass
class MultiFrame:
    """An open object.

    Attributes
    ----------
    path
        As the caller named it.
    header
        All elements but the per-frame functional groups and the pixel data.
    table
        The per-frame functional groups; empty where the object has none.
    frames
        The pixel data; None where the object has none.
    transfer_syntax_uid
        Of the file.
    implicit_vr
        Encoding of what was read.
    """

    path: str
    header: Any
    table: FrameTable
    frames: PixelFrames | None
    transfer_syntax_uid: str
    implicit_vr: bool
    _buffer: Buffer
    _layout: Layout

    def shadow(self, without: Collection[int] = ()) -> str:
        """Return the header as a text form (:mod:`dicombridge.shadow`), as it is encoded in the file.

        Parameters
        ----------
        without
            Tags of elements to leave out, beside bulk data.
        """
        spans = self._layout.elements
        parts = []
        for tag, begin, end in self._layout.parts():
            binary = spans[tag].vr in _BINARY_VRS and end - begin > LONGEST_BINARY
            if not (tag in NOT_REMEMBERED or tag in without or tag & 0xFFFF == 0 or binary):
                parts.append(self._buffer[begin:end])
        return bytes_to_text(b"".join(parts), self.implicit_vr, self.character_set)

    @property
    def character_set(self) -> str:
        """Specific Character Set (0008,0005), its values joined by backslashes."""
        names = self.header.get("SpecificCharacterSet") or "ISO_IR 6"
        return names if isinstance(names, str) else "\\".join(names)

    def top_level(self) -> tuple[Buffer, Layout]:
        """Return the bytes of the file and where its top level elements lie, for those who walk them themselves."""
        return self._buffer, self._layout

    def raw_items(self, tag: int) -> list[bytes]:
        """Return the items of a top level sequence as they are encoded; empty where there is none."""
        span = self._layout.elements.get(tag)
        if span is None:
            return []
        try:
            return [
                self._buffer[start:stop] for start, stop in items(self._buffer, span.start, span.stop, self.implicit_vr)
            ]
        except TruncatedError as error:
            raise UnreadableError(self.path, f"its sequence {tag:08X} is damaged: {error}.") from error


@contextmanager
def open_multiframe(
    path: str | Path, pixels: bool = True, without: Collection[int] = (), until_pixels: bool = False
) -> Iterator[MultiFrame]:
    """Open a multi-frame object; without ``pixels``, whatever follows the per-frame groups is not looked at.

    Parameters
    ----------
    without
        Tags of long sequences that are left out of ``header``; :meth:`MultiFrame.top_level` still has them.
    until_pixels
        :meth:`MultiFrame.top_level` ends before Pixel Data, unless the whole file had to be decoded. To find the end of
        compressed pixels each of their items is visited, which reads all of a large file from its disk.

    Raises
    ------
    UnreadableError
        The file is no DICOM file, is cut short or contradicts itself.
    """
    name = str(path)
    with _mapped(path) as buffer:
        try:
            layout = read_layout(buffer, stop_before=_is_pixel_data if until_pixels else None)
        except NeedsPydicom:
            yield _otherwise(name, buffer, pixels, whole=True, without=without)
            return
        if pixels and not layout.complete:
            raise UnreadableError(name, "is cut short: its last element ends beyond the end of the file.")
        yield _open(name, buffer, layout, pixels, without)


def _is_pixel_data(tag: int) -> bool:
    return tag == PIXEL_DATA


def read_header(path: str | Path, without: Collection[int] = ()) -> Any:
    """Return the Dataset of a file without per-frame functional groups and pixel data, which are not read.

    Parameters
    ----------
    without
        Tags of other long sequences that are left out.

    Raises
    ------
    UnreadableError
        The file is no DICOM file, or its header is cut short.
    """
    name = str(path)
    with _mapped(path) as buffer:
        try:
            layout = read_layout(buffer, stop_before=lambda tag: tag >= 0x7FE00001)
        except NeedsPydicom:
            return _otherwise(name, buffer, pixels=False, whole=False, without=without).header
        return _header(name, buffer, layout, without)


@contextmanager
def _mapped(path: str | Path) -> Iterator[Buffer]:
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield buffer
    except ValueError as error:
        if "empty file" in str(error):
            raise UnreadableError(path, "is empty.") from error
        raise
    except OSError as error:
        raise UnreadableError(path, f"cannot be read: {error.strerror or error}.") from error


def _open(name: str, buffer: Buffer, layout: Layout, pixels: bool, without: Collection[int] = ()) -> MultiFrame:
    header = _header(name, buffer, layout, without)
    table = FrameTable()
    span = layout.elements.get(PER_FRAME_GROUPS)
    if span is not None:
        try:
            table = read_frame_table(buffer, span.start, span.stop, layout.implicit_vr)
        except (TruncatedError, NeedsPydicom) as error:
            raise UnreadableError(name, f"its per-frame functional groups are damaged: {error}.") from error
    frames = None
    if pixels:
        tag = next((tag for tag in PIXEL_DATA_TAGS if tag in layout.elements), None)
        if tag is not None:
            value, syntax = layout.elements[tag], layout.transfer_syntax_uid
            frames = PixelFrames(name, buffer, value.start, value.stop, syntax, header, PIXEL_DATA_TAGS[tag])
    return MultiFrame(name, header, table, frames, layout.transfer_syntax_uid, layout.implicit_vr, buffer, layout)


def _header(name: str, buffer: Buffer, layout: Layout, without: Collection[int] = ()) -> Any:
    """Parse all elements but the large ones with pydicom."""
    from pydicom.filereader import read_dataset

    if not layout.begins:
        raise UnreadableError(name, "has no elements, so it is not a DICOM object.")
    large = {PER_FRAME_GROUPS, *PIXEL_DATA_TAGS, *_OFFSET_TABLES, *without}
    parts: list[bytes] = []
    for tag, begin, end in layout.parts():
        if tag not in large and layout.elements[tag].stop <= len(buffer):
            parts.append(buffer[begin:end])
    content = b"".join(parts)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = read_dataset(BytesIO(content), layout.implicit_vr, True, bytelength=len(content))
    except Exception as error:  # pydicom converts late and raises nearly every kind of error
        raise UnreadableError(name, f"its header cannot be read: {error}.") from error
    if "SOPClassUID" not in header:
        raise UnreadableError(name, "has no SOP Class UID, so it is not a DICOM object.")
    return header


def _otherwise(name: str, buffer: Buffer, pixels: bool, whole: bool, without: Collection[int] = ()) -> MultiFrame:
    """Read what the light reader declines: inflated first, or through pydicom, then the same way."""
    content = inflated(buffer, name, beginning=not whole)
    if content is None:
        return _through_pydicom(name, pixels, without)
    try:
        layout = read_layout(content, size=None if whole else 1 << 62)
    except NeedsPydicom as error:
        raise UnreadableError(name, f"is deflated, and what is in it is no dataset: {error}.") from error
    if not whole and len(content) >= BEGINNING and max(layout.elements) < PER_FRAME_GROUPS:
        return _otherwise(name, buffer, pixels, whole=True, without=without)  # the header is longer than that
    if pixels and not layout.complete:
        raise UnreadableError(name, "is cut short: its last element ends beyond the end of the file.")
    opened = _open(name, content, layout, pixels, without)
    opened.transfer_syntax_uid = DEFLATED_EXPLICIT_VR
    return opened


def _through_pydicom(name: str, pixels: bool, without: Collection[int] = ()) -> MultiFrame:
    """Read with pydicom, which understands big endian and much that is odd, then go the same way."""
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import ExplicitVRLittleEndian

    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            dataset = pydicom.dcmread(name, force=False)
            cut = _is_cut(dataset) or any("end of file" in str(one.message).lower() for one in told)
            syntax = str(dataset.file_meta.TransferSyntaxUID)
            if not dataset.original_encoding[1] and "PixelData" in dataset and dataset.get("BitsAllocated", 8) > 1:
                # pydicom does not swap the bytes of pixel data on writing.
                array = dataset.pixel_array
                dataset.PixelData = array.astype(array.dtype.newbyteorder("<")).tobytes()
            elif not dataset.original_encoding[1] and "PixelData" in dataset:
                dataset.PixelData = _bits_of_words(dataset)
            elif not dataset.original_encoding[1]:
                _swap_floating_point(dataset)
            for _ in dataset.iterall():
                pass  # every raw value is decoded while its own byte order is known
            if syntax not in _REWRITTEN:
                raise UnreadableError(name, "its elements are not encoded as the standard says.")
            output = BytesIO()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            pydicom.dcmwrite(output, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
    except UnreadableError:
        raise
    except InvalidDicomError as error:
        raise UnreadableError(name, "is not a DICOM file.") from error
    except Exception as error:  # pydicom converts late and raises nearly every kind of error
        raise UnreadableError(name, f"cannot be read: {error}.") from error
    buffer = output.getvalue()
    try:
        layout = read_layout(buffer)
    except NeedsPydicom as error:
        raise UnreadableError(name, f"cannot be read: {error}.") from error
    if cut:
        if pixels:
            raise UnreadableError(name, "is cut short: its last element ends beyond the end of the file.")
        layout = replace(layout, complete=False)
    opened = _open(name, buffer, layout, pixels, without)
    opened.transfer_syntax_uid = syntax
    return opened


def _is_cut(dataset: Any) -> bool:
    """Whether a value is shorter than its length says; pydicom takes what is there."""
    raws = list(map(dataset.get_item, dataset.keys()))
    return any(
        isinstance(getattr(raw, "value", None), bytes) and len(raw.value) < getattr(raw, "length", 0) < 0xFFFFFFFF
        for raw in raws
    )


def _swap_floating_point(dataset: Any) -> None:
    """Make the floating point pixels of a big endian object little endian ones."""
    import numpy as np

    for keyword, dtype in (("FloatPixelData", "f4"), ("DoubleFloatPixelData", "f8")):
        if keyword in dataset:
            swapped = np.frombuffer(dataset[keyword].value, f">{dtype}").astype(f"<{dtype}")
            setattr(dataset, keyword, swapped.tobytes())


def _bits_of_words(dataset: Any) -> bytes:
    """Return the bits of big endian single-bit pixel data in little endian order (PS3.5 8.1.1, annex D)."""
    import numpy as np

    frames = np.asarray(dataset.pixel_array, dtype=np.uint8)
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    return packed + b"\0" * (len(packed) % 2)
