"""A small picture of one frame: modality LUT, window, size. PS3.3 C.11, PS3.4 N.2."""

from __future__ import annotations

import contextlib
import warnings
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array

from dicombridge.errors import UnreadableError
from dicombridge.pixels import DEFLATED_IMAGE_FRAME, RLE_LOSSLESS, PixelFrames

__all__ = ["picture"]

_FEWEST_GREYS = 32
"""The part of a window, one of so many, in which values can hardly be told apart."""


def picture(source: Any, frame: int, size: int, name: str) -> tuple[str, bytes]:
    """Return a picture of one frame.

    Parameters
    ----------
    source
        A DICOM file, open or as its path.
    frame
        Number of the frame, from 1.
    size
        Most pixels of a side; the picture keeps the proportions that the frame has in space.
    name
        Of the file, for messages.

    Returns
    -------
    str, bytes
        ``image/png`` for masks and palettes, else ``image/jpeg``, and its bytes.

    Raises
    ------
    UnreadableError
        There are no pixels, or they cannot be decoded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pydicom, about values that do not matter here
            with _opened(source) as file:
                dataset = dcmread(file, stop_before_pixels=True)
                if not file.read(1):
                    raise UnreadableError(name, "has no pixels")
                values, is_mask = _values(dataset, file, frame)
            image = _sized(Image.fromarray(values), dataset, size, is_mask)
    except UnreadableError:
        raise
    except Exception as error:  # decoders raise whatever they like
        raise UnreadableError(name, f"has pixels that cannot be shown ({error})") from error
    written = BytesIO()
    if is_mask:
        image.save(written, "PNG", optimize=True)
        return "image/png", written.getvalue()
    image.save(written, "JPEG", quality=85)
    return "image/jpeg", written.getvalue()


def _opened(source: Any) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(source) if hasattr(source, "read") else Path(source).open("rb")


def _values(dataset: Dataset, file: BinaryIO, frame: int) -> tuple[Any, bool]:
    """Return the frame as 8-bit grey or colour values, and whether it has few values with sharp edges."""
    count = max(int(dataset.get("NumberOfFrames") or 1), 1)
    pixels = _frame(dataset, file, min(frame, count) - 1)
    photometric = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    if photometric == "PALETTE COLOR":
        # Only where all pixels are of the palette: the supplemental one goes with grey values.
        colours = apply_color_lut(pixels, dataset)
        return _eight_bits(colours, float(np.iinfo(colours.dtype).max)), True
    if pixels.ndim == 3:
        return _eight_bits(pixels, float(2 ** int(dataset.get("BitsStored") or 8) - 1)), False
    grey = _windowed(pixels, dataset)
    if photometric == "MONOCHROME1":
        grey = 255 - grey
    return grey, bool(np.unique(pixels[:: max(pixels.shape[0] // 64, 1)]).size <= 4)


def _frame(dataset: Dataset, file: BinaryIO, index: int) -> Any:
    """Decode one frame, and read no other where its place is known.

    Two encodings of segmentations that pydicom does not know are known to the library.
    """
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    one_bit = syntax == RLE_LOSSLESS and dataset.get("BitsAllocated") == 1
    if not (one_bit or syntax == DEFLATED_IMAGE_FRAME):
        return pixel_array(file, index=index)
    file.seek(0)
    data = dcmread(file).PixelData
    return next(islice(PixelFrames("its pixels", data, 0, len(data), syntax, dataset), index, None))


def _windowed(pixels: Any, dataset: Dataset) -> Any:
    """Return grey values from 0 to 255 by the first window, by the LUT, or by what most of the values are."""
    is_integer = pixels.dtype.kind in "iu"
    values = apply_modality_lut(pixels, dataset) if is_integer else pixels
    if is_integer and dataset.get("VOILUTSequence"):
        table = apply_voi(np.asarray(values, np.int64), dataset)
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return _stretched(np.asarray(table, np.float32), 0.0, float(2**bits - 1))
    values = np.asarray(values, np.float32)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(values.shape, np.uint8)
    window = _window(dataset)
    if window is not None and not _is_too_wide(window, float(finite.min()), float(finite.max())):
        return _stretched(values, *window)
    low, high = np.percentile(finite, (1, 99))
    if low == high:
        low, high = finite.min(), finite.max()
    return _stretched(np.nan_to_num(values, nan=low, posinf=high, neginf=low), float(low), float(high))


def _window(dataset: Dataset) -> tuple[float, float] | None:
    """Return what is black and what is white. PS3.3 C.11.2.1.2.1."""
    ends = []
    for keyword in ("WindowCenter", "WindowWidth"):
        value = dataset.get(keyword)
        try:
            ends.append(float(value if isinstance(value, str | int | float) else value[0]))
        except (TypeError, ValueError, IndexError):
            return None
    centre, width = ends
    half = max(width - 1, 1e-6) / 2
    return (centre - 0.5 - half, centre - 0.5 + half) if width > 0 else None


def _is_too_wide(window: tuple[float, float], low: float, high: float) -> bool:
    """Whether all values are within a few grey values of a window, such as one of all that 16 bits hold."""
    return window[0] <= low < high <= window[1] and (high - low) * _FEWEST_GREYS < window[1] - window[0]


def _stretched(values: Any, low: float, high: float) -> Any:
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.clip((values - low) * (255.0 / (high - low)) + 0.5, 0, 255).astype(np.uint8)


def _eight_bits(values: Any, largest: float) -> Any:
    if values.dtype == np.uint8 and largest == 255:
        return values
    return np.clip(values.astype(np.float32) * (255.0 / max(largest, 1.0)), 0, 255).astype(np.uint8)


def _sized(image: Any, dataset: Dataset, size: int, is_mask: bool) -> Any:
    rows, columns = _spacing(dataset)
    width, height = image.width * columns, image.height * rows
    factor = size / max(width, height)
    wanted = (max(round(width * factor), 1), max(round(height * factor), 1))
    resample = Image.Resampling.NEAREST if is_mask and max(image.size) <= size else Image.Resampling.BOX
    return image.resize(wanted, resample if max(image.size) > size or is_mask else Image.Resampling.BILINEAR)


def _spacing(dataset: Dataset) -> tuple[float, float]:
    """Return the proportions of a pixel: distance of rows, and of columns."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        value = dataset.get(keyword)
        if value is not None and not isinstance(value, str) and len(value) == 2:
            rows, columns = float(value[0]), float(value[1])
            if 0.05 < rows / columns < 20 if rows > 0 and columns > 0 else False:
                return rows, columns
    return 1.0, 1.0
