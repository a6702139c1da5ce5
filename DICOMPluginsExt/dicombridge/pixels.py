"""Frames of pixel data, one at a time, from the bytes of a file (PS3.5 8).

Uncompressed frames are copied one at a time, or read from the file straight into an array of the caller. Compressed
ones are decoded as pydicom decodes them; two encodings of segmentations that pydicom 3.0 does not decode are read here:
single bits in RLE (PS3.5 annex G) and Deflated Image Frame Compression (PS3.5 8.2.16).
"""

from __future__ import annotations

import mmap
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codestreams import size_in_codestream
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.part10 import (
    DEFLATED_EXPLICIT_VR,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    Buffer,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DEFLATED_IMAGE_FRAME", "RLE_LOSSLESS", "PixelFrames"]

DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
_NATIVE = frozenset(
    {IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR, EXPLICIT_VR_BIG_ENDIAN}
)


_BITS = {"PixelData": (1, 8, 16, 32), "FloatPixelData": (32,), "DoubleFloatPixelData": (64,)}
"""Bits Allocated that each of the three pixel data elements may have here (PS3.3 C.7.6.3, C.7.6.24, C.7.6.25)."""


class PixelFrames:
    """The frames of single-sample pixel data: integers, or floating point numbers.

    Parameters
    ----------
    name
        The file, for messages.
    buffer, start, stop
        Where the value of Pixel Data lies.
    transfer_syntax_uid
        How it is encoded.
    header
        Dataset with the attributes of the Image Pixel module (PS3.3 C.7.6.3).
    keyword
        Which element the value is of: ``PixelData``, ``FloatPixelData`` or ``DoubleFloatPixelData``.

    Attributes
    ----------
    count, rows, columns, bits
        Number of frames; frame size in pixels; Bits Allocated.
    dtype
        Of the stored values: unsigned or signed integers, float32 or float64.

    Raises
    ------
    UnreadableError
        The attributes are missing, absurd, or promise more than the file holds.
    """

    def __init__(
        self,
        name: str,
        buffer: Buffer,
        start: int,
        stop: int,
        transfer_syntax_uid: str,
        header: Any,
        keyword: str = "PixelData",
    ) -> None:
        self._name = name
        self._buffer = buffer
        self._start, self._stop = start, stop
        self._header = header
        self._syntax = transfer_syntax_uid
        self.rows = self._positive("Rows", 65535)
        self.columns = self._positive("Columns", 65535)
        allowed = _BITS[keyword]
        is_float = keyword != "PixelData"
        self.bits = allowed[0] if is_float and "BitsAllocated" not in header else self._positive("BitsAllocated", 64)
        self.count = self._positive("NumberOfFrames", 2**31 - 1)
        if int(header.get("SamplesPerPixel") or 1) != 1:
            raise UnsupportedError(f"{name}: has several samples per pixel, where one is expected.")
        if self.bits not in allowed:
            expected = " or ".join(map(str, allowed))
            raise UnreadableError(name, f"has {self.bits} bits allocated, where {expected} are expected.")
        self._unsigned = np.dtype("u1" if self.bits == 1 else f"<{'f' if is_float else 'u'}{self.bits // 8}")
        signed = not is_float and self.bits > 1 and header.get("PixelRepresentation") == 1
        self.dtype = np.dtype(f"<i{self.bits // 8}") if signed else self._unsigned
        self.native = transfer_syntax_uid in _NATIVE
        if is_float and not self.native:
            raise UnsupportedError(f"{name}: its floating point pixels are compressed ({transfer_syntax_uid}).")
        if self.native:
            needed = (self.count * self.rows * self.columns * self.bits + 7) // 8
            if needed > stop - start:
                raise UnreadableError(
                    name, f"its {self.count} frames need {needed} bytes of pixel data, {stop - start} are there."
                )

    def _positive(self, keyword: str, largest: int) -> int:
        value = self._header.get(keyword)
        if keyword == "NumberOfFrames" and value is None:
            return 1
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise UnreadableError(self._name, f"its {keyword} is {value!r}.") from None
        if not 0 < number <= largest:
            raise UnreadableError(self._name, f"its {keyword} is {number}.")
        return number

    @property
    def bytes_per_frame(self) -> int:
        """Size of a decoded frame; single bits are padded to whole bytes."""
        return (self.rows * self.columns * self.bits + 7) // 8

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield every frame, (rows, columns), integers as unsigned ones; single bits as 0 and 1."""
        for packed, frame in self.raw():
            yield self.unpack(packed) if frame is None else frame

    def raw(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any] | None]]:
        """Yield every frame: ``(bits, None)`` where its bits are packed and aligned to bytes, else ``(empty, pixels)``.

        The first pixel of a byte is its least significant bit (PS3.5 8.1.1). The arrays may be views that are only
        valid until the next frame.
        """
        empty = np.empty(0, dtype=np.uint8)
        if self.bits > 1:
            source = self._native_pixels() if self.native else self._decoded()
            for frame in source:
                yield empty, frame
        else:
            yield from ((bits, None) for bits in (self._native_bits() if self.native else self._decoded_bits()))

    def unpack(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return packed bits as (rows, columns) of 0 and 1."""
        pixels = self.rows * self.columns
        return np.unpackbits(packed, count=pixels, bitorder="little").reshape(self.rows, self.columns)

    def fill(self, target_of: Callable[[int], NDArray[Any] | None]) -> Iterator[int]:
        """Read frames straight into arrays of the caller; yield the index of each when it is there.

        Nothing is mapped or copied on the way, so that reading a volume takes no more memory than the volume.

        Parameters
        ----------
        target_of
            Returns the array for a frame index, contiguous, (rows, columns), of :attr:`dtype`; None passes over it.

        Raises
        ------
        UnreadableError, UnsupportedError
            The pixel data is damaged, or of single bits.
        """
        if self.bits == 1:
            raise UnsupportedError(f"{self._name}: has pixels of single bits, where numbers are expected.")
        if not self.native:
            for number, frame in enumerate(self._decoded()):
                target = target_of(number)
                if target is not None:
                    target[...] = np.ascontiguousarray(frame, self._unsigned).view(self.dtype)
                    self._without_unused_bits(target)
                    yield number
            return
        with self._reader() as read:
            for number in range(self.count):
                target = target_of(number)
                if target is not None:
                    read(self._start + number * self.bytes_per_frame, target)
                    self._without_unused_bits(target)
                    yield number

    @contextmanager
    def _reader(self) -> Iterator[Callable[[int, NDArray[Any]], None]]:
        """Give a function that reads the bytes at a place of the file, or of the memory, into an array."""
        if not isinstance(self._buffer, mmap.mmap):
            content = memoryview(self._buffer)

            def copy(begin: int, target: NDArray[Any]) -> None:
                target.data.cast("B")[:] = content[begin : begin + target.nbytes]

            yield copy
            return
        # Not through the map: its pages would count as memory of this process, as much again as the volume.
        with Path(self._name).open("rb", buffering=0) as file:

            def read(begin: int, target: NDArray[Any]) -> None:
                view = target.data.cast("B")
                file.seek(begin)
                done = 0
                while done < len(view):
                    got = file.readinto(view[done:])
                    if not got:
                        raise UnreadableError(self._name, "became shorter while it was read.")
                    done += got

            yield read

    def _without_unused_bits(self, pixels: NDArray[Any]) -> None:
        """Clear what may stand above Bits Stored, e.g. an overlay (PS3.5 8.1.1), and extend the sign."""
        unused = self.bits - int(self._header.get("BitsStored") or self.bits)
        if self.dtype.kind != "f" and 0 < unused < self.bits:
            np.left_shift(pixels, unused, out=pixels)
            np.right_shift(pixels, unused, out=pixels)

    def _native_pixels(self) -> Iterator[NDArray[Any]]:
        size = self.bytes_per_frame
        for number in range(self.count):
            begin = self._start + number * size
            # A copy of one frame: a view would keep the map from being closed.
            yield np.frombuffer(self._buffer[begin : begin + size], self._unsigned).reshape(self.rows, self.columns)

    def _native_bits(self) -> Iterator[NDArray[np.uint8]]:
        pixels = self.rows * self.columns
        for number in range(self.count):
            first = number * pixels
            begin, shift = self._start + first // 8, first % 8
            end = self._start + (first + pixels + 7) // 8
            packed = np.frombuffer(self._buffer[begin:end], dtype=np.uint8)
            if shift or pixels % 8:
                bits = np.unpackbits(packed, bitorder="little")[shift : shift + pixels]
                packed = np.packbits(bits, bitorder="little")
            yield packed

    def _encapsulated(self) -> Iterator[bytes]:
        """Yield the compressed bytes of each frame, checking that there are as many as promised."""
        from pydicom.encaps import generate_frames

        extended = None
        if "ExtendedOffsetTable" in self._header and "ExtendedOffsetTableLengths" in self._header:
            extended = (self._header.ExtendedOffsetTable, self._header.ExtendedOffsetTableLengths)
        content = BytesIO(self._buffer[self._start : self._stop])
        found = 0
        try:
            for frame in generate_frames(content, number_of_frames=self.count, extended_offsets=extended):
                found += 1
                yield bytes(frame)
        except (ValueError, EOFError, IndexError) as error:
            raise UnreadableError(self._name, f"its compressed pixel data is damaged: {error}.") from error
        if found != self.count:
            raise UnreadableError(self._name, f"has {found} compressed frames instead of {self.count}.")

    def _decoded_bits(self) -> Iterator[NDArray[np.uint8]]:
        for number, compressed in enumerate(self._encapsulated(), start=1):
            if self._syntax == DEFLATED_IMAGE_FRAME:
                content = self._inflated(compressed, number)
            elif self._syntax == RLE_LOSSLESS:
                content = self._rle_bits(compressed, number)
            else:
                yield np.packbits(self._pydicom_frame(compressed, number) != 0, bitorder="little")
                continue
            yield np.frombuffer(content, dtype=np.uint8, count=self.bytes_per_frame)

    def _decoded(self) -> Iterator[NDArray[Any]]:
        for number, compressed in enumerate(self._encapsulated(), start=1):
            if self._syntax == DEFLATED_IMAGE_FRAME:
                content = self._inflated(compressed, number)[: self.bytes_per_frame]
                yield np.frombuffer(content, self._unsigned).reshape(self.rows, self.columns)
            else:
                yield self._pydicom_frame(compressed, number)

    def _inflated(self, compressed: bytes, number: int) -> bytes:
        try:
            # A bound on the output, so that a few bytes cannot fill the memory.
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(compressed, self.bytes_per_frame + 1)
        except zlib.error as error:
            raise UnreadableError(self._name, f"frame {number} cannot be inflated: {error}.") from error
        return self._checked(content, number)

    def _rle_bits(self, compressed: bytes, number: int) -> bytes:
        """Decode a frame of single bits as pydicom decodes one of bytes (PS3.5 8.2.2, G.2)."""
        shape = {"rows": 1, "columns": self.bytes_per_frame, "bits_allocated": 8, "bits_stored": 8}
        return self._checked(self._decode(compressed, number, **shape).tobytes(), number)

    def _checked(self, content: bytes, number: int) -> bytes:
        if len(content) < self.bytes_per_frame:
            raise UnreadableError(
                self._name, f"frame {number} has {len(content)} bytes instead of {self.bytes_per_frame}."
            )
        return content

    def _pydicom_frame(self, compressed: bytes, number: int) -> NDArray[Any]:
        stored = int(self._header.get("BitsStored") or self.bits)
        frame = self._decode(
            compressed,
            number,
            rows=self.rows,
            columns=self.columns,
            bits_allocated=max(self.bits, 8),
            bits_stored=stored,
        )
        return frame.reshape(self.rows, self.columns)

    def _decode(self, compressed: bytes, number: int, **shape: int) -> NDArray[Any]:
        from pydicom.encaps import encapsulate
        from pydicom.pixels import get_decoder

        size = size_in_codestream(compressed)
        if size not in (None, (shape["rows"], shape["columns"])):
            raise UnreadableError(self._name, f"frame {number} has {size} rows and columns; it contradicts itself.")
        try:
            decoder = get_decoder(self._syntax)
            if not decoder.is_available:
                raise UnsupportedError(
                    f"{self._name}: is compressed ({self._syntax}) and no decoder is installed; pip install "
                    f"'dicombridge[codecs]', or decompress the file. {' '.join(decoder.missing_dependencies)}"
                )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array, _ = decoder.as_array(
                    encapsulate([compressed]),
                    index=0,
                    number_of_frames=1,
                    samples_per_pixel=1,
                    photometric_interpretation="MONOCHROME2",
                    pixel_representation=0,
                    pixel_keyword="PixelData",
                    **shape,
                )
        except UnsupportedError:
            raise
        except NotImplementedError as error:
            raise UnsupportedError(f"{self._name}: {error}") from error
        except Exception as error:  # decoders raise nearly every kind of error for damaged data
            reason = " ".join(str(error).split())
            raise UnreadableError(self._name, f"frame {number} cannot be decoded: {reason}") from error
        return np.asarray(array)
