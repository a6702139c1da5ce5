"""From a volume and the stored values of its images to mappings: known ones proven, unknown ones fitted (no VTK)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.image.voxels import stored_planes
from dicombridge.progress import Progress, part
from dicombridge.value_mapping import ValueMapping, apply_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.image.series import Series

__all__ = ["OfPlanes", "explaining", "fitted"]

OfPlanes = Sequence[tuple[ValueMapping, ...]]
"""The mappings that hold for each plane of a stack."""

_ROUNDING = 2.0**-22
"""Relative error of a value that was computed in 32-bit floats, in two steps."""


def explaining(
    candidates: Sequence[OfPlanes],
    series: Series,
    voxels: NDArray[Any],
    progress: Progress | None = None,
) -> tuple[int | None, str]:
    """Return the first of several mappings that gives the voxels of a volume, and what contradicts the last one.

    Parameters
    ----------
    candidates
        Mappings of all planes; the images are decoded once for all of them.
    series
        The images.
    voxels
        ``[slice, row, column]`` of the volume, in the order of the stack.

    Returns
    -------
    tuple
        Number of the candidate, None if none does, and then how far off the last one is, in words.
    """
    alive = list(range(len(candidates)))
    reason = ""
    for number, stored, values in _planes(series, voxels, progress, "Comparing"):
        for candidate in list(alive):
            contradiction = _contradiction(candidates[candidate][number], stored, values)
            if contradiction:
                alive.remove(candidate)
                reason = f"slice {series.stack.slices[number] + 1} {contradiction}"
        if not alive:
            return None, reason
    return (alive[0], "") if alive else (None, reason)


def _planes(
    series: Series, voxels: NDArray[Any], progress: Progress | None, words: str
) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
    count = len(series.stack.planes)
    for done, (number, stored) in enumerate(stored_planes(series.stack, range(count)), start=1):
        yield number, stored, voxels[series.stack.slices[number]]
        if progress is not None:
            progress(done / count, f"{words} slice {done} of {count}")


def _contradiction(mappings: tuple[ValueMapping, ...], stored: NDArray[Any], values: NDArray[Any]) -> str:
    """Return how a slice differs from what its mappings say, in words; empty where it does not."""
    if not mappings:
        return "" if not np.isfinite(values).any() else "is not mapped"
    expected = apply_all(mappings, stored)
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(values)):
        return "has values where there should be none, or none where there should be some"
    largest = float(np.abs(expected[finite]).max(initial=0.0))
    for mapping in mappings:
        if mapping.lut is None:  # the terms of the sum are rounded too
            reach = float(np.abs(stored).max(initial=0)) * abs(mapping.slope)
            largest = max(largest, abs(mapping.intercept), min(reach, 2 * abs(mapping.intercept)))
    tolerance = _ROUNDING * largest
    off = float(np.abs(values[finite].astype(np.float64) - expected[finite]).max(initial=0.0))
    return "" if off <= tolerance else f"is off by {off:.4g}, where rounding explains {tolerance:.4g}"


def fitted(
    series: Series,
    voxels: NDArray[Any],
    template: ValueMapping,
    name: str,
    progress: Progress | None = None,
) -> OfPlanes:
    """Return linear mappings that give the voxels of a volume: of rescaled values if one does, else slice by slice.

    Parameters
    ----------
    series, voxels
        As for :func:`explaining`.
    template
        Label, units and quantity.
    name
        Of the volume, for messages.

    Raises
    ------
    ExportError
        The voxels are no linear function of the stored values of their slice.
    """
    planes = len(series.stack.planes)
    moments = np.zeros((5, planes))
    for number, stored, values in _planes(series, voxels, part(progress, 0.0, 0.5), "Fitting"):
        if not np.isfinite(values).all():
            raise ExportError(
                f"{name}: slice {series.stack.slices[number] + 1} has voxels that are no number; no mapping of its "
                "images gives these."
            )
        x, y = stored.astype(np.float64), values.astype(np.float64)
        from_middle = x - x.mean()
        moments[:, number] = x.size, x.mean(), y.mean(), (from_middle**2).sum(), (from_middle * y).sum()
    candidates = [
        [(replace(template, slope=float(a), intercept=float(b), lut=None),) for a, b in zip(*line, strict=True)]
        for line in _lines(moments, series)
    ]
    found, reason = explaining(candidates, series, voxels, part(progress, 0.5, 0.5))
    if found is None:
        raise ExportError(
            f"{name}: its voxels are no linear function of the stored values of its images ({reason}), so that no "
            "Real World Value Mapping gives them; a parametric map (kind PM) holds values of any origin."
        )
    return candidates[found]


def _lines(moments: NDArray[np.float64], series: Series) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield slopes and intercepts for stored values, the most probable first.

    Proportional to rescaled values; linear in rescaled values; linear in the stored values of each slice.

    Parameters
    ----------
    moments
        (5, planes): count, mean of stored values x and of voxels y, sums of squares of x and of x times y about means.
    """
    count, x, y, xx, xy = moments
    scale = np.array([one.slope for one in series.encodings])
    shift = np.array([one.intercept for one in series.encodings])
    mean, square, product = scale * x + shift, scale**2 * xx, scale * xy
    about_zero = float((square + count * mean**2).sum())
    factor = float((product + count * mean * y).sum()) / about_zero if about_zero else 1.0
    yield factor * scale, factor * shift
    middle, height = float((count * mean).sum() / count.sum()), float((count * y).sum() / count.sum())
    spread = float((square + count * (mean - middle) ** 2).sum())
    factor = float((product + count * (mean - middle) * (y - height)).sum()) / spread if spread else 1.0
    offset = height - factor * middle
    yield factor * scale, factor * shift + offset
    # A slice of one value fits any slope; it takes the common one.
    slope = np.where(xx > 0, xy / np.where(xx > 0, xx, 1.0), factor * scale)
    yield slope, y - slope * x
