"""Planes through a patient, and pictures of what they cut. numpy in, numpy out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.preview.strokes import evenly_along
from dicombridge.preview.subject import voxel_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.preview.subject import Grid, Region, Subject

__all__ = ["Plane", "heat_colour", "letters_of", "plane_of_view", "slice_picture", "thickness"]

_TOWARDS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
_PATIENT_VIEWS = {"axial": ("L", "P"), "coronal": ("L", "I"), "sagittal": ("P", "I")}  # right, down in the picture
_FILL = 0.38
_FILL_COLOUR = 0.14  # stained tissue has colours of its own, which a fill must leave
_FILL_ALONE = 0.7  # where there is no image that would have to be seen through
_HEAT = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=float)


@dataclass(frozen=True, eq=False)
class Plane:
    """A rectangle in the patient, seen as a picture.

    Attributes
    ----------
    origin
        (3,) RAS mm: centre of the top left pixel.
    right, down
        (3,) RAS: unit directions of a row and of a column of the picture.
    pixel_mm
        Size of a pixel.
    shape
        Rows and columns.
    """

    origin: NDArray[np.float64]
    right: NDArray[np.float64]
    down: NDArray[np.float64]
    pixel_mm: float
    shape: tuple[int, int]

    def pixel_of(self, point: Sequence[float]) -> tuple[int, int]:
        """Return row and column at which a RAS point projects."""
        row, column = self.places_of(np.asarray([point], dtype=float))[0]
        return round(float(row)), round(float(column))

    def places_of(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, 2): row and column, with fractions, at which (n, 3) RAS points project."""
        return (points - self.origin) @ np.stack([self.down, self.right], axis=1) / self.pixel_mm


def plane_of_view(subject: Subject, view: str, size: tuple[int, int]) -> Plane:
    """Return the plane of a view that crosses as many segments as one plane can, fitted into (rows, columns)."""
    frame = subject.frame
    if view == "acquisition":
        axes = frame.ijk_to_ras[:3, :3] / frame.spacing
        right, down = axes[:, 0], axes[:, 1]
    else:
        right, down = (np.array(_TOWARDS[letter], dtype=float) for letter in _PATIENT_VIEWS[view])
    normal = np.cross(right, down)
    corners = frame.corners
    low = np.array([(corners @ axis).min() for axis in (right, down, normal)])
    high = np.array([(corners @ axis).max() for axis in (right, down, normal)])
    depth = _best_depth(subject, normal, (float(low[2]), float(high[2])))
    pixel_mm = max((high[0] - low[0]) / size[1], (high[1] - low[1]) / size[0])
    middle = (low + high) / 2
    half = (np.array([size[1], size[0]]) - 1) / 2 * pixel_mm
    origin = right * (middle[0] - half[0]) + down * (middle[1] - half[1]) + normal * depth
    return Plane(origin, right, down, float(pixel_mm), size)


def _best_depth(subject: Subject, normal: NDArray[np.float64], limits: tuple[float, float]) -> float:
    """Return the place along the normal (mm) with the most segments and strokes, each with much of its extent."""
    bins = max(1, round((limits[1] - limits[0]) / thickness(subject.frame, normal)))
    if bins == 1:
        return (limits[0] + limits[1]) / 2
    edges = np.linspace(limits[0], limits[1], bins + 1)
    score = np.zeros(bins)
    for points in (points for layer in subject.samples for points in layer):
        count, _ = np.histogram(normal @ points, edges)
        score += np.sqrt(count / max(count.max(), 1))
    for stroke in subject.strokes:
        if stroke.is_many:
            continue
        along = evenly_along(stroke) @ normal
        score += np.histogram(along, edges)[0] / len(along)  # all of one that lies in a plane: there it is measured
    if subject.heat is not None:
        low, high = subject.heat_range
        points = voxel_points(subject.heat, np.flatnonzero(subject.heat.values > (low + high) / 2))
        score += np.sqrt(np.histogram(normal @ points, edges)[0])
    best = int(np.argmax(score)) if score.any() else bins // 2
    return float((edges[best] + edges[best + 1]) / 2)


def thickness(frame: Grid, normal: NDArray[np.float64]) -> float:
    """Return how thick (mm) a grid's voxels are along a unit vector, as far as that is one of its axes."""
    return float(np.abs(frame.ijk_to_ras[:3, :3].T @ normal).max())


def heat_colour(probability: float) -> tuple[int, int, int]:
    """Return the colour of a probability (0 to 1) in the heat overlay."""
    place = np.linspace(0, 1, len(_HEAT))
    red, green, blue = (round(float(np.interp(probability, place, _HEAT[:, channel]))) for channel in range(3))
    return red, green, blue


def letters_of(direction: NDArray[np.float64]) -> str:
    """Return the patient direction of a RAS vector, the strongest part first (PS3.3 C.7.6.1.1.1).

    Examples
    --------
    >>> letters_of(np.array([-0.9, 0.4, 0.0]))
    'LA'
    """
    parts = sorted(((float(np.dot(direction, axis)), letter) for letter, axis in _TOWARDS.items()), reverse=True)
    return "".join(letter for part, letter in parts[:2] if part > 0.3)


# Slices -----------------------------------------------------------------------------------------------------------


def slice_picture(subject: Subject, plane: Plane, enlarge: int = 1) -> NDArray[np.uint8]:
    """Return (rows, columns, 3): the background with translucent segments, their outlines and the heat overlay.

    Parameters
    ----------
    subject
        What to show.
    plane
        Where to cut.
    enlarge
        The picture has this many times the plane's rows and columns, so that shrinking it gives smooth edges.
    """
    canvas = _background(subject, plane, enlarge)
    if subject.heat is not None:
        glow, opacity = (_enlarged(values, enlarge) for values in _heat(subject.heat, subject.heat_range, plane))
        canvas = canvas * (1 - opacity) + glow * opacity
    line_width, fill = max(2, round(min(canvas.shape[:2]) / 330)), _FILL_ALONE
    if subject.image is not None:
        fill = _FILL_COLOUR if subject.image.is_colour else _FILL
        line_width += 2 * subject.image.is_colour
    outlines = []
    for grid, regions in subject.layers:
        for region, share in _cut(grid, regions, plane):
            inside = _enlarged(share, enlarge) >= 0.5
            colour = np.array(region.colour) * 255.0
            # Where there is a heat overlay, a fill would hide it.
            if subject.heat is None:
                canvas[inside] = canvas[inside] * (1 - fill) + colour * fill
            outlines.append((_inner_edge(inside, line_width), colour))
    for edge, colour in outlines:
        canvas[edge] = colour
    return np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)


def _background(subject: Subject, plane: Plane, enlarge: int) -> NDArray[np.float32]:
    """Return (rows, columns, 3), enlarged: the image, black where there is none."""
    image = subject.image
    if image is None:
        return np.zeros((plane.shape[0] * enlarge, plane.shape[1] * enlarge, 3), dtype=np.float32)
    if not image.is_colour:
        value, within = _interpolated(image, plane)
        shown = np.where(within[..., None], subject.lookup[_shade(subject, value)], 0)
        return _enlarged(shown.astype(np.float32), enlarge)
    # A slide may have more pixels than the picture: they are averaged, not skipped.
    times = enlarge if plane.pixel_mm > image.spacing[:2].min() else 1
    finer = _finer(plane, times)
    value, within = _interpolated(_averaged(image, finer.pixel_mm), finer)
    shown = np.where(within[..., None], _shade(subject, value), 0).astype(np.float32)
    return _enlarged(shown, enlarge // times)


def _finer(plane: Plane, times: int) -> Plane:
    """Return the same rectangle with so many times the rows and columns."""
    origin = plane.origin + (plane.right + plane.down) * plane.pixel_mm * (1 / times - 1) / 2
    rows, columns = plane.shape
    return Plane(origin, plane.right, plane.down, plane.pixel_mm / times, (rows * times, columns * times))


def _averaged(grid: Grid, pixel_mm: float) -> Grid:
    """Return an image of which no row and no column is narrower than half a pixel: means of squares of voxels."""
    times = int(min(pixel_mm / grid.spacing[:2].max() + 1e-6, *grid.shape[1:]))
    if times < 2:
        return grid
    slices, rows, columns = grid.shape[0], grid.shape[1] // times, grid.shape[2] // times
    whole = grid.values[:, : rows * times, : columns * times]
    means = whole.reshape(slices, rows, times, columns, times, 3).mean(axis=(2, 4), dtype=np.float32)
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :2].sum(axis=1) * (times - 1) / 2
    matrix[:3, :2] *= times
    return replace(grid, values=means, ijk_to_ras=matrix)


def _heat(heat: Grid, limits: tuple[float, float], plane: Plane) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return colours (rows, columns, 3) and opacity (rows, columns, 1) of the heat overlay."""
    value, within = _interpolated(heat, plane)
    low, high = limits
    share = np.where(within & np.isfinite(value), (value - low) / (high - low), 0.0).clip(0.0, 1.0)
    place = np.linspace(0, 1, len(_HEAT))
    colour = np.stack([np.interp(share, place, _HEAT[:, channel]) for channel in range(3)], axis=-1)
    return colour.astype(np.float32), np.clip(share * 4, 0, 0.75)[..., None].astype(np.float32)


def _shade(subject: Subject, value: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return 0 to 255 from the bottom to the top of the window."""
    low, high = subject.window
    return np.clip((value - low) / (high - low) * 255.0, 0, 255).astype(np.uint8)


def _enlarged(values: NDArray[Any], times: int) -> NDArray[np.float32]:
    from PIL import Image

    if times == 1:
        return values
    if values.ndim == 3:
        return np.stack([_enlarged(values[..., channel], times) for channel in range(values.shape[2])], axis=-1)
    rows, columns = values.shape
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(picture.resize((columns * times, rows * times), Image.Resampling.BILINEAR))


def _corner_weights(
    grid: Grid, plane: Plane
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]], NDArray[np.bool_]]:
    """Return flat index and weight of the up to 8 voxels around each pixel, and where the grid has the pixel at all."""
    ras_to_ijk = np.linalg.inv(grid.ijk_to_ras)
    start = ras_to_ijk[:3, :3] @ plane.origin + ras_to_ijk[:3, 3]
    per_row = ras_to_ijk[:3, :3] @ plane.down * plane.pixel_mm
    per_column = ras_to_ijk[:3, :3] @ plane.right * plane.pixel_mm
    rows, columns = np.arange(plane.shape[0])[:, None], np.arange(plane.shape[1])[None, :]
    within = np.ones(plane.shape, dtype=bool)
    choices = []
    for axis, (size, stride) in enumerate(zip(grid.shape[::-1], _strides(grid.shape), strict=True)):
        place = start[axis] + per_row[axis] * rows + per_column[axis] * columns
        # A plane through voxel centres must not need their neighbours for the last digit's sake.
        place = np.where(np.abs(place - np.rint(place)) < 1e-6, np.rint(place), place)
        within &= (place >= -0.5) & (place <= size - 0.5)
        place = np.clip(place, 0, size - 1)
        lower = np.floor(place).astype(np.int64)
        part = (place - lower).astype(np.float32)
        upper = np.minimum(lower + 1, size - 1)
        pairs = [(lower * stride, 1 - part)]
        if part.any():
            pairs.append((upper * stride, part))
        choices.append(pairs)
    corners = list(itertools.product(*choices))
    indices = [i[0] + j[0] + k[0] for i, j, k in corners]
    weights = [i[1] * j[1] * k[1] for i, j, k in corners]
    return indices, weights, within


def _strides(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return 1, shape[2], shape[1] * shape[2]


def _interpolated(grid: Grid, plane: Plane) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return values (or colours) between voxels, linearly, and where the grid has the pixel."""
    indices, weights, within = _corner_weights(grid, plane)
    flat: NDArray[Any] = grid.values.reshape(-1, *grid.values.shape[3:])
    if grid.is_colour:
        weights = [weight[..., None] for weight in weights]
    total = np.zeros((*plane.shape, *flat.shape[1:]), dtype=np.float32)
    for index, weight in zip(indices, weights, strict=True):
        total += flat[index] * weight
    return total, within


def _cut(grid: Grid, regions: list[Region], plane: Plane) -> Iterable[tuple[Region, NDArray[np.float32]]]:
    """Yield each segment that the plane crosses, with how much of each pixel it fills (0 to 1)."""
    indices, weights, within = _corner_weights(grid, plane)
    flat = grid.values.ravel()
    labels = [flat[index] for index in indices]
    present = {label for found in labels for label in np.unique(found).tolist()}
    for region in regions:
        if region.label in present:
            share = np.zeros(plane.shape, dtype=np.float32)
            for found, weight in zip(labels, weights, strict=True):
                share += (found == region.label) * weight
            share *= within
            if (share >= 0.5).any():
                yield region, share


def _inner_edge(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    inner = mask.copy()
    for _ in range(width):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner
