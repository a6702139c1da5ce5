"""Colours as the scanner's ICC profile means them (PS3.3 C.11.15)."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import UnreadableError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["to_srgb"]

_STRIP = 1 << 22
"""Pixels that are converted at once, so that the memory does not grow with the image."""


def to_srgb(pixels: NDArray[Any], profile: bytes, file: str) -> bool:
    """Turn RGB pixels into sRGB, in place.

    Parameters
    ----------
    pixels
        (..., columns, 3) of 8 bits, contiguous.
    profile
        The ICC profile; nothing is done where it is empty.
    file
        Where it comes from, for messages.

    Returns
    -------
    bool
        Whether there was a profile.

    Raises
    ------
    UnsupportedError
        The samples have more than 8 bits.
    UnreadableError
        The profile is damaged, or is of no RGB input.
    """
    from PIL import Image, ImageCms

    if not profile:
        return False
    if pixels.dtype.itemsize != 1:
        raise UnsupportedError(f"{file}: ICC profiles are applied to colours of 8 bits; load it with icc=False.")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UnreadableError(file, f"its ICC profile cannot be applied ({reason}); load it with icc=False.") from error
    rows = pixels.reshape(-1, pixels.shape[-2], 3)
    step = max(_STRIP // rows.shape[1], 1)
    for first in range(0, len(rows), step):
        strip = Image.fromarray(rows[first : first + step])
        ImageCms.applyTransform(strip, transform, inPlace=True)
        rows[first : first + step] = np.asarray(strip)
    return True
