"""Shapes -> lines that can be drawn, and back: an ellipse is drawn as a polygon, and keeps its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CORNERS_OF_ELLIPSE", "axes_of_outlines", "outlines_of_axes"]

CORNERS_OF_ELLIPSE = 32
"""Points of a drawn ellipse; a multiple of 4, so that the ends of its axes are among them."""


def outlines_of_axes(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 32, 3) points on ellipses, of which (n, 4, 3) are the ends of major and minor axis.

    Examples
    --------
    >>> circle = np.array([[[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]])
    >>> bool(np.allclose(np.linalg.norm(outlines_of_axes(circle), axis=2), 1))
    True
    """
    angles = 2 * np.pi / CORNERS_OF_ELLIPSE * np.arange(CORNERS_OF_ELLIPSE)[:, None]
    centres = ends.mean(axis=1, keepdims=True)
    major = ((ends[:, 0] - ends[:, 1]) / 2)[:, None]
    minor = ((ends[:, 2] - ends[:, 3]) / 2)[:, None]
    return np.asarray(centres + np.cos(angles) * major + np.sin(angles) * minor, dtype=np.float64)


def axes_of_outlines(outlines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ends (n, 4, 3) of major and minor axis of ellipses that are drawn as (n, 32, 3) points.

    What was sheared or stretched since is an ellipse still, but its axes are others.

    Examples
    --------
    >>> ends = np.array([[[3.0, 0, 0], [-1, 0, 0], [1, 1, 0], [1, -1, 0]]])
    >>> bool(np.allclose(axes_of_outlines(outlines_of_axes(ends)), ends))
    True
    """
    quarter = CORNERS_OF_ELLIPSE // 4
    centres = outlines.mean(axis=1, keepdims=True)
    first = (outlines[:, 0] - outlines[:, 2 * quarter]) / 2
    second = (outlines[:, quarter] - outlines[:, 3 * quarter]) / 2
    across = np.einsum("ij,ij->i", first, second)
    lengths = np.einsum("ij,ij->i", first, first), np.einsum("ij,ij->i", second, second)
    # The angle at which the ellipse of these conjugate radii is widest; where it is 0 the axes are left as they are.
    angle = 0.5 * np.arctan2(2 * across, lengths[0] - lengths[1])
    skew = np.abs(across) > 1e-9 * (lengths[0] + lengths[1])
    angle = np.where(skew, angle, 0.0)[:, None]
    major = np.cos(angle) * first + np.sin(angle) * second
    minor = np.cos(angle) * second - np.sin(angle) * first
    return np.stack(
        [centres[:, 0] + major, centres[:, 0] - major, centres[:, 0] + minor, centres[:, 0] - minor], axis=1
    )
