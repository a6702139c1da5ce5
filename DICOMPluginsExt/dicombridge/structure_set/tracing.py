"""From label arrays to contours: slice by slice, all labels of a slice at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.progress import Progress
from dicombridge.structure_set.encoding import Contour, PlaneText, contour_texts, image_items
from dicombridge.structure_set.holes import with_keyholes
from dicombridge.structure_set.outlines import Outlines, label_outlines
from dicombridge.structure_set.smoothing import KEEPS_MASK, Paths, pixel_paths, simplified, smooth_paths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.segmentation.arrays import NodeLabels

__all__ = ["Style", "plane_texts", "trace"]

SLICES_AT_ONCE = 16
"""Slices whose paths are smoothed together: enough to make numpy's overhead small, few enough to keep memory small."""


@dataclass(frozen=True)
class Style:
    """How contours are drawn.

    Attributes
    ----------
    contours
        ``"smooth"`` or ``"pixel"``.
    holes
        ``"keyhole"`` or ``"xor"``.
    tolerance
        mm by which a contour may leave its path to have fewer points; 0 for points on straight lines alone. None for
        as much as keeps the mask, which for outlines of pixels is 0.
    """

    contours: str = "smooth"
    holes: str = "keyhole"
    tolerance: float | None = None


@dataclass
class _Found:
    contours: list[Contour] = field(default_factory=list)
    holes: bool = False


def plane_texts(grid: Any, positions: Mapping[int, Any]) -> list[PlaneText]:
    """Return what writes the points of each slice of a grid.

    Parameters
    ----------
    positions
        (3,) LPS mm of the first pixel of the images that lie in slices, as these say it themselves. A regular grid may
        be some hundredths of a millimetre off; contours lie in the planes of the images.
    """
    affine = np.asarray(grid.affine, dtype=float)
    slices, rows, columns = (int(size) for size in grid.spatial_shape)
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    first = PlaneText(affine[:3, 3], affine[:3, 2], affine[:3, 1], (rows, columns))
    spacing = abs(float(normal @ affine[:3, 0]))
    planes = []
    for place in range(slices):
        origin = affine[:3, 3] + place * affine[:3, 0]
        if place in positions:
            away = float(normal @ (np.asarray(positions[place], dtype=float) - origin))
            origin = origin + (away if abs(away) < 0.1 * spacing else 0.0) * normal
        planes.append(first.at(origin))
    return planes


def trace(
    labels: NodeLabels,
    planes: Sequence[PlaneText],
    images: Mapping[int, Sequence[tuple[str, str, int]]],
    style: Style,
    wanted: set[str],
    progress: Progress | None = None,
) -> dict[str, list[Contour]]:
    """Return the contours of segments by segment ID, in the order of the slices.

    Parameters
    ----------
    planes
        What writes the points of each slice.
    images
        (SOP Class UID, SOP Instance UID, frame number or 0) of the images in slices.
    wanted
        Segment IDs to trace.
    """
    found: dict[str, _Found] = defaultdict(_Found)
    layers = [(array, _by_label(of_layer, wanted)) for array, of_layer in labels.layers]
    layers = [(array, by_label) for array, by_label in layers if by_label]
    references = {place: image_items(of_slice) for place, of_slice in images.items()}
    spacing = [float(np.linalg.norm(plane)) for plane in (planes[0].column, planes[0].row)] if planes else [1.0, 1.0]
    for number, (array, by_label) in enumerate(layers):
        batches = list(_batches(array))
        for done, batch in enumerate(batches):
            if progress is not None:
                progress((number + done / len(batches)) / len(layers), f"Contours of slice {batch[0] + 1}")
            outlines = [(place, label_outlines(_only(array[place], by_label))) for place in batch]
            paths = _paths(outlines, style, spacing)
            with_holes = {int(label) for _, one in outlines for label in one.labels[list(one.links)]}
            for label in with_holes:
                found[by_label[label]].holes = True
            for loop, count, data in contour_texts(paths, planes):
                place = int(paths.slices[loop])
                contour = Contour("CLOSED_PLANAR", count, data, references.get(place, b""))
                found[by_label[int(paths.labels[loop])]].contours.append(contour)
    if style.holes == "xor":
        # One type for all contours of a region: those that are combined have to say so (PS3.3 C.8.8.6.3).
        for one in found.values():
            if one.holes:
                one.contours = [Contour("CLOSEDPLANAR_XOR", *_rest(contour)) for contour in one.contours]
    return {segment_id: one.contours for segment_id, one in found.items()}


def _rest(contour: Contour) -> tuple[int, bytes, bytes]:
    return contour.count, contour.data, contour.images


def _by_label(of_layer: Mapping[str, int], wanted: set[str]) -> dict[int, str]:
    return {label: segment_id for segment_id, label in of_layer.items() if segment_id in wanted}


def _batches(array: NDArray[Any]) -> Iterator[list[int]]:
    """Yield the slices that have labels, some at once."""
    used = np.flatnonzero(array.reshape(len(array), -1).any(axis=1)).tolist() if array.size else []
    for first in range(0, len(used), SLICES_AT_ONCE):
        yield used[first : first + SLICES_AT_ONCE]


def _only(image: NDArray[Any], by_label: Mapping[int, str]) -> NDArray[Any]:
    """Return the image without labels that belong to no wanted segment."""
    highest = int(image.max(initial=0))
    if len(by_label) >= highest and all(label in by_label for label in range(1, highest + 1)):
        return image
    present = np.flatnonzero(np.bincount(image.ravel())) if highest < 1 << 16 and image.dtype.kind == "u" else None
    values = (np.unique(image) if present is None else present).tolist()
    strange = [value for value in values if value and value not in by_label]
    return np.where(np.isin(image, strange), 0, image) if strange else image


def _paths(outlines: Sequence[tuple[int, Outlines]], style: Style, spacing: Sequence[float]) -> Paths:
    if style.contours == "pixel":
        paths = pixel_paths(outlines)
        if style.tolerance:
            paths = simplified(paths, style.tolerance, spacing)
    else:
        tolerance = KEEPS_MASK * min(spacing) if style.tolerance is None else style.tolerance
        paths = simplified(smooth_paths(outlines), tolerance, spacing)
    return with_keyholes(paths) if style.holes == "keyhole" else paths
