"""One frame: from its stored bytes to pixels, grey or RGB (PS3.5 8.2, PS3.3 C.7.6.3.1).

Baseline JPEG, which most slides are in, goes straight through Pillow: pydicom's decoder, which gives the same, takes
longer to be called than a tile takes to be decoded.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codestreams import size_in_codestream
from dicombridge.errors import DicomBridgeError, UnreadableError, UnsupportedError
from dicombridge.part10 import (
    DEFLATED_EXPLICIT_VR,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from dicombridge.pixels import DEFLATED_IMAGE_FRAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST_FRAME_BYTES", "FrameDecoder"]

MOST_FRAME_BYTES = 512 << 20
"""Memory of a frame: all of it is decoded, however small the part that is wanted."""

_NATIVE = frozenset(
    {IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR, EXPLICIT_VR_BIG_ENDIAN}
)
_JPEG = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
"""JPEG Baseline and Extended; only 8 bits of the latter are Pillow's."""
_RGB_IDS = (ord("R"), ord("G"), ord("B"))
_SAMPLES = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}
"""Photometric Interpretations that are read, and how many samples a pixel has."""


class FrameDecoder:
    """How the frames of a file are stored.

    Parameters
    ----------
    name
        The file, for messages.
    transfer_syntax_uid
        Of the file.
    header
        Its dataset.

    Attributes
    ----------
    rows, columns
        Of a frame.
    samples
        Of a decoded pixel: 1, or 3 for RGB.
    dtype
        Of a decoded pixel.
    frame_size
        Bytes of a stored frame; None where frames are compressed.

    Raises
    ------
    UnreadableError, UnsupportedError
        The Image Pixel module contradicts itself, or is one that is not read.
    """

    def __init__(self, name: str, transfer_syntax_uid: str, header: Any) -> None:
        self._name, self._syntax, self._header = name, transfer_syntax_uid, header
        self.rows, self.columns = self._whole("Rows"), self._whole("Columns")
        self._photometric = str(header.get("PhotometricInterpretation") or "").upper()
        self._stored_samples = self._whole("SamplesPerPixel", 1)
        if self._photometric not in _SAMPLES:
            raise UnsupportedError(f"{name}: its photometric interpretation {self._photometric!r} is not read.")
        if _SAMPLES[self._photometric] != self._stored_samples:
            raise UnreadableError(name, f"has {self._stored_samples} samples per pixel in {self._photometric}.")
        self._allocated = self._whole("BitsAllocated")
        self._stored = self._whole("BitsStored", self._allocated)
        if self._allocated not in (8, 16, 32) or not 0 < self._stored <= self._allocated:
            raise UnreadableError(name, f"has {self._stored} bits stored of {self._allocated} bits allocated.")
        signed = header.get("PixelRepresentation") == 1 and self._stored_samples == 1
        self._dtype = np.dtype(f"<{'i' if signed else 'u'}{self._allocated // 8}")
        self._planar = header.get("PlanarConfiguration") == 1 and self._stored_samples > 1
        is_palette = self._photometric == "PALETTE COLOR"
        self.samples = 3 if is_palette else self._stored_samples
        self.dtype = np.dtype(np.uint8) if is_palette else self._dtype
        pixel = self._allocated // 8 * (2 if self._is_subsampled else self._stored_samples)
        size = self.rows * self.columns * pixel
        if size > MOST_FRAME_BYTES:
            raise UnsupportedError(
                f"{name}: a frame of {self.columns} x {self.rows} pixels would take {size >> 20} MB of memory, more "
                f"than the {MOST_FRAME_BYTES >> 20} MB that are decoded at once."
            )
        self.frame_size = size if transfer_syntax_uid in _NATIVE else None
        self._inflated_size = size
        self._stored_pixels = self._pixels_by_syntax()

    @property
    def _is_subsampled(self) -> bool:
        return self._photometric == "YBR_FULL_422" and self._syntax in _NATIVE

    def _whole(self, keyword: str, otherwise: int | None = None) -> int:
        value = self._header.get(keyword)
        if value is None and otherwise is not None:
            return otherwise
        if not isinstance(value, int) or not 0 < value <= 65535:
            raise UnreadableError(self._name, f"its {keyword} is {value!r}.")
        return int(value)

    def _pixels_by_syntax(self) -> Callable[[bytes], NDArray[Any]]:
        if self._syntax in _NATIVE:
            return self._native
        if self._syntax == DEFLATED_IMAGE_FRAME:
            return self._inflated
        return self._jpeg if self._syntax in _JPEG and self._allocated == 8 else self._pydicom

    def decode(self, content: bytes, number: int) -> NDArray[Any]:
        """Return the pixels of a frame, (rows, columns) or (rows, columns, 3) RGB.

        Parameters
        ----------
        content
            The stored bytes.
        number
            Of the frame, for messages.

        Raises
        ------
        UnreadableError
            The frame is damaged.
        UnsupportedError
            No decoder is installed.
        """
        try:
            pixels = self._stored_pixels(content)
            if self._photometric == "PALETTE COLOR":
                pixels = self._coloured(pixels)
        except DicomBridgeError:
            raise
        except NotImplementedError as error:
            raise UnsupportedError(f"{self._name}: {error}") from error
        except MemoryError:
            raise
        except Exception as error:  # decoders raise nearly every kind of error for damaged data
            reason = " ".join(str(error).split())
            raise UnreadableError(self._name, f"frame {number} cannot be decoded: {reason}") from error
        shape = (self.rows, self.columns, 3) if self.samples == 3 else (self.rows, self.columns)
        if pixels.shape != shape or pixels.dtype.itemsize != self.dtype.itemsize:
            raise UnreadableError(
                self._name, f"frame {number} has pixels {pixels.shape} of {pixels.dtype}, {shape} are announced."
            )
        return pixels.view(self.dtype) if pixels.dtype != self.dtype else pixels

    def _native(self, content: bytes) -> NDArray[Any]:
        """Return pixels that are not compressed."""
        if len(content) < self._inflated_size:
            raise UnreadableError(self._name, f"a frame has {len(content)} bytes instead of {self._inflated_size}.")
        flat = np.frombuffer(content, self._dtype, self._inflated_size // self._dtype.itemsize)
        if self._stored_samples == 1:
            return self._masked(flat.reshape(self.rows, self.columns))
        if self._is_subsampled:
            # Two pixels are stored as Y1 Y2 Cb Cr (PS3.3 C.7.6.3.1.2).
            pairs = flat.reshape(-1, 4)
            pixels = np.empty((len(pairs), 2, 3), self._dtype)
            pixels[:, :, 0], pixels[:, :, 1:] = pairs[:, :2], pairs[:, None, 2:]
            pixels = pixels.reshape(self.rows, self.columns, 3)
        elif self._planar:
            pixels = flat.reshape(3, self.rows, self.columns).transpose(1, 2, 0)
        else:
            pixels = flat.reshape(self.rows, self.columns, 3)
        if self._photometric.startswith("YBR_FULL"):
            from pydicom.pixels import convert_color_space

            return np.asarray(convert_color_space(np.ascontiguousarray(pixels), "YBR_FULL", "RGB"))
        return pixels

    def _masked(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Clear what may stand above Bits Stored, and extend the sign."""
        unused = self._allocated - self._stored
        return (pixels << unused) >> unused if unused else pixels

    def _inflated(self, content: bytes) -> NDArray[Any]:
        # A bound on the output, so that a few bytes cannot fill the memory.
        return self._native(zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, self._inflated_size))

    def _jpeg(self, content: bytes) -> NDArray[Any]:
        from PIL import Image

        image = Image.open(BytesIO(content), formats=("JPEG",))
        if image.size != (self.columns, self.rows):
            raise UnreadableError(self._name, f"a frame has {image.size} pixels, {self.columns, self.rows} are due.")
        if self._photometric == "RGB" and image.mode == "RGB":
            ids = tuple(layer[0] for layer in getattr(image, "layer", ()))
            if image.info.get("adobe_transform") != 0 and ids != _RGB_IDS:
                # Stored without a colour transform, of which the JPEG itself says nothing.
                image.draft("YCbCr", image.size)
        return np.asarray(image)

    def _pydicom(self, content: bytes) -> NDArray[Any]:
        from pydicom.encaps import encapsulate
        from pydicom.pixels import get_decoder

        size, due = size_in_codestream(content), (self.rows, self.columns)
        if size not in (None, due):
            raise UnreadableError(self._name, f"a frame has {size} rows and columns, {due} are due.")
        decoder = get_decoder(self._syntax)
        if not decoder.is_available:
            raise UnsupportedError(
                f"{self._name}: is compressed ({self._syntax}) and no decoder is installed; pip install "
                f"'dicombridge[codecs]', or decompress the file. {' '.join(decoder.missing_dependencies)}"
            )
        pixels, _ = decoder.as_array(
            encapsulate([content]),
            index=0,
            number_of_frames=1,
            rows=self.rows,
            columns=self.columns,
            samples_per_pixel=self._stored_samples,
            photometric_interpretation=self._photometric,
            planar_configuration=0,
            bits_allocated=self._allocated,
            bits_stored=self._stored,
            pixel_representation=int(self._dtype.kind == "i"),
            pixel_keyword="PixelData",
        )
        return np.asarray(pixels)

    def _coloured(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the colours of a palette (PS3.3 C.7.6.3.1.5), 8 bits of each."""
        from pydicom.pixels import apply_color_lut

        colours = np.asarray(apply_color_lut(pixels, self._header))[..., :3]
        return (colours >> 8).astype(np.uint8) if colours.dtype.itemsize == 2 else colours.astype(np.uint8)
