"""Where the vectors of a grid are undefined (NaN), kept on the node so that it comes back on export."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["UNDEFINED_COUNT", "UNDEFINED_VECTORS", "keep_undefined", "undefined_vectors"]

UNDEFINED_COUNT = "DICOMBridge.UndefinedVectorCount"
"""Node attribute: how many vectors of the grid were undefined; they are 0 in the node."""
UNDEFINED_VECTORS = "DICOMBridge.UndefinedVectors"
"""Node attribute: which ones, as the number of vectors and, after a colon, base64 of deflated bits."""


def keep_undefined(node: Any, undefined: NDArray[np.bool_]) -> None:
    """Keep on a node which vectors of its grid, i fastest, are undefined."""
    packed = base64.b64encode(zlib.compress(np.packbits(undefined.ravel()).tobytes(), 6)).decode("ascii")
    node.SetAttribute(UNDEFINED_COUNT, str(int(np.count_nonzero(undefined))))
    node.SetAttribute(UNDEFINED_VECTORS, f"{undefined.size}:{packed}")


def undefined_vectors(node: Any, count: int) -> NDArray[np.bool_] | None:
    """Return what :func:`keep_undefined` kept, (count,), i fastest; None where nothing is, or for another grid."""
    size, _, packed = (node.GetAttribute(UNDEFINED_VECTORS) or "").partition(":")
    if size != str(count):
        return None
    try:
        length = (count + 7) // 8
        content = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), length + 1)
    except (ValueError, zlib.error):  # edited by somebody
        return None
    if len(content) != length:
        return None
    return np.unpackbits(np.frombuffer(content, np.uint8), count=count).astype(bool)
