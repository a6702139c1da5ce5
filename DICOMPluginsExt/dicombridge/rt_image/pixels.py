"""The frames of an RT image: any bits, signed or not, rescaled (PS3.3 C.7.6.3, C.11.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.attribute_values import number_of, value_of
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.image.headers import read_dataset
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["frame_count", "read_frames"]

_MOST_PIXELS = 2**28
"""Of a frame; a detector has some 2048 x 2048."""


def frame_count(path: str, header: Any) -> int:
    """Return the number of frames.

    Raises
    ------
    UnreadableError
        It is not a number above 0.
    UnsupportedError
        The image is in colour.
    """
    count = 1.0 if value_of(header, "NumberOfFrames") is None else number_of(header, "NumberOfFrames")
    if header.get("NumberOfFrames") is not None and (count is None or count < 1):
        raise UnreadableError(path, f"its NumberOfFrames is {header.get('NumberOfFrames')!r}.")
    photometric = str(value_of(header, "PhotometricInterpretation") or "MONOCHROME2")
    if (number_of(header, "SamplesPerPixel") or 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedError(f"{path}: RT images in colour ({photometric}) are not read as volumes.")
    rows, columns = number_of(header, "Rows"), number_of(header, "Columns")
    if not rows or not columns or rows * columns > _MOST_PIXELS:
        raise UnreadableError(path, f"its frames have {rows} rows and {columns} columns.")
    return int(count or 1)


def read_frames(path: str, header: Any, frames: Collection[int]) -> Iterator[NDArray[Any]]:
    """Yield frames, (rows, columns), rescaled; whole numbers where slope, intercept and table are whole.

    Parameters
    ----------
    path
        The file.
    header
        Its dataset without pixels; a file of another size is an error.
    frames
        Numbers from 1, ascending.

    Raises
    ------
    UnreadableError
        The pixel data is damaged, cut short, or contradicts the header.
    UnsupportedError
        There is no decoder for the transfer syntax.
    """
    from pydicom.pixels import iter_pixels

    dataset = read_dataset(path, pixels=True)
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise UnreadableError(path, "has no pixel data.")
    indices = [frame - 1 for frame in frames] if int(number_of(header, "NumberOfFrames") or 1) > 1 else None
    decoded = iter_pixels(dataset, indices=indices)
    shape = int(number_of(header, "Rows") or 0), int(number_of(header, "Columns") or 0)
    for frame in frames:
        try:
            with quiet():
                stored = np.asarray(next(decoded))
        except StopIteration:
            raise UnreadableError(path, "has fewer frames than it says.") from None
        except Exception as error:  # decoders raise nearly every kind of error for damaged data
            reason = " ".join(str(error).split())
            if "missing dependencies" in reason or isinstance(error, NotImplementedError):
                raise UnsupportedError(f"{path}: its compressed pixels cannot be decoded here: {reason}") from error
            raise UnreadableError(path, f"frame {frame} has damaged pixel data ({reason}).") from error
        if stored.shape != shape:
            raise UnreadableError(path, f"has pixels of shape {stored.shape} where {shape} was announced.")
        yield _rescaled(path, stored, dataset)


def _rescaled(path: str, stored: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Apply the modality transformation: a lookup table, or slope and intercept."""
    if dataset.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        if stored.dtype.kind == "f":
            raise UnreadableError(path, "has a lookup table for floating point pixels.")
        try:
            return np.ascontiguousarray(apply_modality_lut(stored, dataset))
        except Exception as error:  # pydicom converts the table only now
            raise UnreadableError(path, f"has a damaged lookup table ({error}).") from error
    slope, intercept = (
        default if value_of(dataset, keyword) is None else number_of(dataset, keyword)
        for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not slope or intercept is None:
        raise UnreadableError(path, "has a rescale slope or intercept that is no number.")
    if slope == 1 and intercept == 0:
        return np.ascontiguousarray(stored)
    if stored.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        ends = [slope * float(end) + intercept for end in (stored.min(), stored.max())]
        for whole in (np.int16, np.uint16, np.int32):
            if np.iinfo(whole).min <= min(ends) and max(ends) <= np.iinfo(whole).max:
                return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(whole)
    with np.errstate(over="ignore"):  # an absurd slope gives infinite values, as it says
        return (stored.astype(np.float64) * slope + intercept).astype(np.float32)
