"""Contours on a grid: which slice each belongs to, how those of one slice combine, and the pixels that they enclose.

1. A contour belongs to the slice whose centre is nearest; one that lies half way between two, to the higher one.
2. Where contours of several planes of one region belong to one slice, those of the plane nearest to its centre count.
   Slices that no contour belongs to stay empty: nothing is interpolated.
3. Contours of one plane combine by the even-odd rule (:mod:`~dicombridge.structure_set.rasterize`): one within another
   is a hole, one within that an island. That is what CLOSEDPLANAR_XOR says (PS3.3 C.8.8.6.3), and what CLOSED_PLANAR
   contours mean in practice. Keyholes are a matter of course.
4. But CLOSED_PLANAR contours that only overlap, less than nine tenths of the smaller one within the larger, are two
   solid parts, and are united. Of contours that are there twice, one counts.
5. A contour that reaches through more than half a slice lies across the slices, and has no pixels on this grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dicombridge.segmentation.layers import Patch
from dicombridge.structure_set.contours import CLOSED_PLANAR, Contours
from dicombridge.structure_set.rasterize import bounding_boxes, even_odd

if TYPE_CHECKING:
    from highdicom import VolumeGeometry

    from dicombridge.geometry import SlantedGrid

__all__ = ["Region", "fill_region", "grid_points"]

SAME_PLANE_MM = 0.1
"""Contours nearer than this along the normal lie in one plane: coordinates are often rounded to one digit."""
NESTED = 0.9
"""Part of the smaller contour that lies within the larger one where it is a hole in it."""
MOST_COMPARED = 100
"""Contours in one plane that are compared with each other; more than that are damage, or noise, and are combined."""
_EDGE = 1e-4
"""Of a slice: rounding errors that must not decide to which of two slices a contour belongs."""


@dataclass(eq=False)
class Region:
    """The pixels of a region.

    Attributes
    ----------
    patches
        Slice and pixels.
    warnings
        What of its contours is not shown by them.
    outside
        Contours that are wholly or partly outside the grid.
    """

    patches: list[tuple[int, Patch]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    outside: int = 0

    @property
    def is_coarse(self) -> bool:
        """Whether its contours are farther apart than the slices, for the most part."""
        places = np.unique([place for place, _ in self.patches])
        return len(places) > 1 and bool(np.median(np.diff(places)) >= 2)


def grid_points(points: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3) LPS points as (slice, row, column) of a grid."""
    inverse = np.linalg.inv(affine)
    return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])


def fill_region(contours: Contours, geometry: VolumeGeometry | SlantedGrid) -> Region:
    """Return the pixels that closed contours enclose on a grid, by the rules above."""
    region = Region()
    which = contours.closed
    if contours.unusable:
        region.warnings.append(
            f"{contours.unusable} closed contours have less than three points, or coordinates without value"
        )
    if not len(which):
        return region
    slices, rows, columns = (int(size) for size in geometry.spatial_shape)
    affine = np.asarray(geometry.affine, dtype=float)
    points, starts = contours.chosen(which)
    places = grid_points(points, affine)
    kinds = contours.types[which]
    at, keep = _slices_of(places[:, 0], starts, affine, region)
    inside = (at >= 0) & (at < slices)
    region.outside = int(np.count_nonzero(keep & ~inside)) + _beyond(places, starts, keep & inside, rows, columns)
    kept = np.flatnonzero(keep & inside)
    if len(kept):
        polygons, starts = _chosen(places[:, 1:], starts, kept)
        region.patches = _fill(polygons, starts, at[kept], kinds[kept], (rows, columns), region.warnings)
    return region


def _slices_of(
    places: NDArray[np.float64], starts: NDArray[np.int64], affine: NDArray[np.float64], region: Region
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the slice of each contour, and which contours count on it."""
    low, high = np.minimum.reduceat(places, starts[:-1]), np.maximum.reduceat(places, starts[:-1])
    middle = (low + high) / 2
    keep = high - low <= 0.5
    across = int(np.count_nonzero(~keep))
    if across:
        region.warnings.append(f"{across} contours lie across the slices and were kept as contours only")
    at = np.floor(middle + 0.5 + _EDGE).astype(np.int64)
    offset = middle - at
    normal = np.cross(affine[:3, 1], affine[:3, 2])
    spacing = abs(float(normal @ affine[:3, 0])) / float(np.linalg.norm(normal))
    tolerance = min(SAME_PLANE_MM / spacing, 0.25)
    order = np.lexsort((offset, np.round(np.abs(offset), 6), at, ~keep))
    order = order[: int(np.count_nonzero(keep))]
    if len(order):
        begins = np.flatnonzero(np.diff(at[order], prepend=at[order[0]] - 1))
        nearest = np.repeat(offset[order][begins], np.diff(np.append(begins, len(order))))
        other = np.abs(offset[order] - nearest) > tolerance
        if other.any():
            keep[order[other]] = False
            region.warnings.append(
                f"{np.count_nonzero(other)} contours lie nearer to a slice's edge than others of that slice, and were "
                "kept as contours only"
            )
    return at, keep


def _beyond(
    places: NDArray[np.float64], starts: NDArray[np.int64], which: NDArray[np.bool_], rows: int, columns: int
) -> int:
    """Return how many contours reach beyond the rows and columns of a grid."""
    boxes = bounding_boxes(places[:, 1:], starts)[which]
    beyond = (boxes[:, :2] <= -1).any(axis=1) | (boxes[:, 2:] > (rows + _EDGE, columns + _EDGE)).any(axis=1)
    return int(np.count_nonzero(beyond))


def _chosen(
    points: NDArray[np.float64], starts: NDArray[np.int64], which: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    sizes = np.diff(starts)[which]
    chosen = np.concatenate([[0], np.cumsum(sizes)])
    if len(which) == len(starts) - 1:
        return points, chosen
    return points[np.arange(chosen[-1]) + np.repeat(starts[:-1][which] - chosen[:-1], sizes)], chosen


def _fill(
    polygons: NDArray[np.float64],
    starts: NDArray[np.int64],
    at: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    shape: tuple[int, int],
    warnings: list[str],
) -> list[tuple[int, Patch]]:
    """Fill the polygons of all slices: at once where they are alone or apart, else one by one."""
    double = _doubles(polygons, starts, at, kinds)
    if double.any():
        warnings.append(f"{np.count_nonzero(double)} contours are there twice")
    special = _slices_to_look_at(polygons, starts, at, kinds, double)
    plain = np.flatnonzero(~np.isin(at, special) & ~double)
    patches: list[tuple[int, Patch]] = []
    if len(plain):
        points, plain_starts = _chosen(polygons, starts, plain)
        patches.extend(even_odd(points, plain_starts, at[plain], shape))
    united = 0
    for place in special:
        here = np.flatnonzero((at == place) & ~double)
        points, here_starts = _chosen(polygons, starts, here)
        parts = dict(even_odd(points, here_starts, np.arange(len(here)), shape))
        patch, count = _combined([(kinds[here[number]], part) for number, part in parts.items()])
        united += count
        if patch is not None:
            patches.append((place, patch))
    if united:
        warnings.append(f"{united} contours overlap others of their plane in part, and were united with them")
    return patches


def _doubles(
    polygons: NDArray[np.float64], starts: NDArray[np.int64], at: NDArray[np.int64], kinds: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Return which CLOSED_PLANAR polygons repeat an earlier one of their slice point by point."""
    double = np.zeros(len(at), np.bool_)
    _, inverse, counts = np.unique(at, return_inverse=True, return_counts=True)
    seen: set[tuple[int, bytes]] = set()
    for number in np.flatnonzero((counts[inverse] > 1) & (kinds == CLOSED_PLANAR)).tolist():
        key = (int(at[number]), polygons[starts[number] : starts[number + 1]].tobytes())
        double[number] = key in seen
        seen.add(key)
    return double


def _slices_to_look_at(
    polygons: NDArray[np.float64],
    starts: NDArray[np.int64],
    at: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    double: NDArray[np.bool_],
) -> list[int]:
    """Return the slices where boxes around CLOSED_PLANAR polygons overlap: elsewhere there is nothing to decide."""
    found: list[int] = []
    boxes = bounding_boxes(polygons, starts)
    order = np.flatnonzero((kinds == CLOSED_PLANAR) & ~double)
    order = order[np.argsort(at[order], kind="stable")]
    if not len(order):
        return []
    begins = np.flatnonzero(np.diff(at[order], prepend=-1))
    for first, last in zip(begins.tolist(), [*begins[1:].tolist(), len(order)], strict=True):
        if 2 <= last - first <= MOST_COMPARED:
            low, high = boxes[order[first:last], :2], boxes[order[first:last], 2:]
            touch = (low[:, None] < high[None]).all(axis=2) & (low[None] < high[:, None]).all(axis=2)
            if np.count_nonzero(touch) > last - first:  # each overlaps itself
                found.append(int(at[order[first]]))
    return found


def _combined(parts: list[tuple[int, Patch]]) -> tuple[Patch | None, int]:
    """Combine the polygons of one plane; also return how many were united instead of taken for holes."""
    if not parts:
        return None, 0
    top, left = min(part.row for _, part in parts), min(part.column for _, part in parts)
    bottom = max(part.row + part.mask.shape[0] for _, part in parts)
    right = max(part.column + part.mask.shape[1] for _, part in parts)
    result = np.zeros((bottom - top, right - left), np.uint8)
    masks: list[tuple[int, NDArray[np.uint8]]] = []
    # Those of XOR come last; of the others the largest first, so that holes follow what they are in.
    for kind, part in sorted(parts, key=lambda one: (one[0] != CLOSED_PLANAR, -int(one[1].mask.sum()))):
        mask = np.zeros_like(result)
        row, column = part.row - top, part.column - left
        mask[row : row + part.mask.shape[0], column : column + part.mask.shape[1]] = part.mask
        masks.append((kind, mask))
    united = 0
    for number, (kind, mask) in enumerate(masks):
        if kind == CLOSED_PLANAR and _overlaps_in_part(mask, [other for _, other in masks[:number]]):
            result |= mask
            united += 1
        else:
            result ^= mask
    return (Patch(top, left, result), united) if result.any() else (None, united)


def _overlaps_in_part(mask: NDArray[np.uint8], larger: list[NDArray[np.uint8]]) -> bool:
    pixels = int(mask.sum())
    shared = (int((mask & other).sum()) for other in larger)
    return any(0 < count < NESTED * pixels for count in shared)
