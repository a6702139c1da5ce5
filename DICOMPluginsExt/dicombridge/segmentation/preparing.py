"""From a segmentation node to plain values that can be written: descriptions, arrays on one grid, frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from pydicom.dataset import Dataset

from dicombridge.errors import ExportError
from dicombridge.geometry import geometry_of_matrix, same_grid
from dicombridge.output.frames import SlicePlaces
from dicombridge.output.source import Source
from dicombridge.output.tiles import TileGrid, TilePlaces, TileStack, pixels_around, tile_grid
from dicombridge.segmentation.arrays import NodeLabels, image_array, label_images, own_grid, to_grid
from dicombridge.segmentation.frames import Frame
from dicombridge.segmentation.frames import slices_by_label as find_slices
from dicombridge.segmentation.nodes import (
    SEGMENT_ID_ATTRIBUTE,
    THRESHOLD_ATTRIBUTE,
    TYPE_ATTRIBUTE,
    remembered_number,
    segment_of_node,
    volume_geometry,
)
from dicombridge.segmentation.segments import Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.geometry import Grid

__all__ = ["Content", "content_of", "node_labels", "type_of"]

TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")
HIGHEST_FRACTION = 255
"""Maximum Fractional Value, where the fractions are not those of an object that had another one."""


Frames: TypeAlias = "NDArray[Any] | TileStack"
"""Images, one a slice or one a tile."""


@dataclass(frozen=True)
class Content:
    """A segmentation as plain values.

    Attributes
    ----------
    kind
        BINARY, FRACTIONAL or LABELMAP.
    segments
        In the order of their numbers.
    grid
        Of all arrays.
    tiles
        Where the grid lies on a slide; None for images of a patient.
    places
        Where the slices, or tiles, that are written lie.
    arrays
        Layer, [slice, row, column], or its tiles, and label in it, by segment number. A segment without voxels may
        have none.
    fractions
        Fractions, 0 to 1, by segment number.
    maximum
        What stands for a fraction of 1 (Maximum Fractional Value).
    frames
        What is to be written, empty frames left out.
    overlap
        Segments Overlap: NO where it is known, else UNDEFINED.
    warnings
        What is not as the user may think.
    """

    kind: str
    segments: list[Segment]
    grid: Grid
    tiles: TileGrid | None
    places: SlicePlaces | TilePlaces
    arrays: dict[int, tuple[Frames, int]]
    fractions: dict[int, Frames]
    maximum: int
    frames: list[Frame]
    overlap: str
    warnings: list[str]


def type_of(node: Any, volumes: Sequence[Any], given: Any) -> str:
    """Return the Segmentation Type to be written: the given one, else that of the loaded object, else BINARY.

    Raises
    ------
    ExportError
        There is no such type, or the nodes cannot have it.
    """
    is_segmentation = bool(node.IsA("vtkMRMLSegmentationNode"))
    if given:
        kind = str(given).strip().upper()
        if kind not in TYPES:
            raise ExportError(f"segmentation_type is one of {', '.join(TYPES)}, not {given!r}.")
        if kind != "FRACTIONAL" and not is_segmentation:
            raise ExportError(
                f"The volume {node.GetName()!r} holds fractions; without a segmentation it can be FRACTIONAL only."
            )
        return kind
    if not is_segmentation:
        return "FRACTIONAL"
    kept = str(node.GetAttribute(TYPE_ATTRIBUTE) or "")
    if kept == "FRACTIONAL":
        return "FRACTIONAL" if volumes else "BINARY"
    return kept if kept in TYPES else "BINARY"


def content_of(
    node: Any, volumes: Sequence[Any], kind: str, source: Source, grid: str | None, kept: Dataset | None
) -> Content:
    """Return what a segmentation node (or volumes of fractions) holds, on the grid that it is to be written on.

    Parameters
    ----------
    grid
        ``"source"``, ``"own"``, or None: that of the source unless labels would be cut off.
    kept
        Header of the object that the node was loaded from.

    Raises
    ------
    ExportError
        The nodes cannot be written as that type.
    """
    is_segmentation = bool(node.IsA("vtkMRMLSegmentationNode"))
    if is_segmentation and not node.GetSegmentation().GetNumberOfSegments():
        raise ExportError(f"The segmentation {node.GetName()!r} has no segments.")
    if kind != "FRACTIONAL":
        volumes = []
    numbers, segments = _segments(node, volumes, kind)
    target = _grid_of_fractions(volumes)
    warnings: list[str] = []
    arrays: dict[int, tuple[NDArray[Any], int]] = {}
    if is_segmentation:
        labels = _labels(node, target, source, grid, warnings)
        target = labels.grid
        for array, by_id in labels.layers:
            arrays.update({numbers[segment_id]: (array, label) for segment_id, label in by_id.items()})
    if target is None:
        raise ExportError(f"{node.GetName()!r} has no voxels.")
    fractions = _fractions(volumes, numbers)
    edited = _edited(node, segments, arrays, fractions)
    if edited:
        warnings.append(
            f"The labels of {', '.join(map(repr, edited))} are no longer what the threshold gives; the fractions were "
            "written, not these labels. BINARY holds the labels."
        )
    maximum = _maximum(fractions, kept)
    tiles = tile_grid(target, source, kept, str(node.GetName()))
    if tiles is not None:
        if any(tiles.leaves_out(array) for array in [*(array for array, _ in arrays.values()), *fractions.values()]):
            warnings.append("Labels beyond the slide's total pixel matrix were left out.")
        layers, volumes_of = _in_tiles(tiles, arrays, fractions)
    else:
        layers, volumes_of = dict[int, tuple[Frames, int]](arrays), dict[int, Frames](fractions)
    of_source = source.grid is not None and same_grid(source.grid.geometry, target, 0.1)
    slices = 0 if tiles is not None or of_source else int(target.spatial_shape[0])
    frames, overlap = _frames(kind, segments, layers, volumes_of, maximum, slices)
    used = {frame.place for frame in frames}
    places = TilePlaces(tiles, used) if tiles is not None else SlicePlaces(target, used)
    return Content(kind, segments, target, tiles, places, layers, volumes_of, maximum, frames, overlap, warnings)


def _in_tiles(
    tiles: TileGrid, arrays: Mapping[int, tuple[NDArray[Any], int]], fractions: Mapping[int, NDArray[Any]]
) -> tuple[dict[int, tuple[Frames, int]], dict[int, Frames]]:
    """Return layers and fractions as tiles; segments that share a layer share its tiles."""
    of_layer = {id(array): TileStack(tiles, array) for array, _ in arrays.values()}
    layers: dict[int, tuple[Frames, int]] = {
        number: (of_layer[id(array)], label) for number, (array, label) in arrays.items()
    }
    return layers, {number: TileStack(tiles, array) for number, array in fractions.items()}


# --- segments --------------------------------------------------------------------------------------------------------


def _segments(node: Any, volumes: Sequence[Any], kind: str) -> tuple[dict[str, int], list[Segment]]:
    """Return segment numbers by segment ID, and the descriptions.

    A label map keeps the numbers that its segments had. In the other types numbers have to run from 1 without holes
    (PS3.3 C.8.20.2), so they are given anew; a segment's identity is its Tracking UID.
    """
    if not node.IsA("vtkMRMLSegmentationNode"):
        numbers = {volume.GetID(): number for number, volume in enumerate(volumes, start=1)}
        segments = [Segment(numbers[volume.GetID()], volume.GetName() or "Fraction") for volume in volumes]
        return numbers, segments
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
    if len(ids) > 65535:
        raise ExportError("A segmentation can have 65535 segments at the most.")
    kept = [remembered_number(segmentation.GetSegment(segment_id)) for segment_id in ids]
    if kind == "LABELMAP":
        given = _label_map_numbers(kept)
    else:
        positions = list(range(1, len(ids) + 1))
        known = [number for number in kept if number is not None]
        given = known if sorted(known) == positions else positions
    numbers = dict(zip(ids, given, strict=True))
    segments = [segment_of_node(segmentation.GetSegment(segment_id), numbers[segment_id]) for segment_id in ids]
    return numbers, sorted(segments, key=lambda segment: segment.number)


def _label_map_numbers(kept: Sequence[int | None]) -> list[int]:
    taken: set[int] = set()
    numbers: list[int | None] = []
    for number in kept:
        usable = number is not None and 0 < number <= 65535 and number not in taken
        numbers.append(number if usable else None)
        if usable and number is not None:
            taken.add(number)
    free = (number for number in range(1, 65536) if number not in taken)
    return [next(free) if number is None else number for number in numbers]


# --- labels ----------------------------------------------------------------------------------------------------------


def node_labels(node: Any, source: Source, grid: str | None, warnings: list[str]) -> NodeLabels:
    """Return the labels of a segmentation node on the grid that it is to be written on.

    Parameters
    ----------
    grid
        As for :func:`content_of`.
    warnings
        What happened to the labels is appended.

    Raises
    ------
    ExportError
        There is no grid, or no label lies on it.
    """
    return _labels(node, None, source, grid, warnings)


def _labels(node: Any, fraction_grid: Grid | None, source: Source, grid: str | None, warnings: list[str]) -> NodeLabels:
    """Return the labels on the grid that is to be written; append what happened to them to the warnings."""
    images = source.grid.geometry if source.grid is not None else None
    target = fraction_grid if fraction_grid is not None else images if grid != "own" else None
    shown = _grid_of_volume(source.volume)
    layers = label_images(
        node, target if target is not None else images if images is not None else shown, source.volume
    )
    if grid == "source" and target is None and (own := own_grid(layers)) is not None:
        target = pixels_around(own, source)
    if target is None:
        own = next(
            (one for one in (own_grid(layers), images, shown, _remembered_geometry(node)) if one is not None), None
        )
        if own is None:
            raise ExportError(
                f"The segmentation {node.GetName()!r} is empty and has no reference geometry, so there is no grid to "
                "write it on; give a source."
            )
        labels = to_grid(layers, own)
        if labels.resampled:
            warnings.append(
                "Labels were resampled (nearest neighbour), because segments have voxels of different kinds."
            )
        return labels
    labels = to_grid(layers, target)
    if labels.cut and not labels.resampled and grid is None and fraction_grid is None:
        own = own_grid(layers, axes=target)
        warnings.append("Labels lie outside of the source images; slices beyond the images were written for them.")
        return to_grid(layers, own) if own is not None else labels
    if labels.cut and fraction_grid is None and not any(array.any() for array, _ in labels.layers):
        raise ExportError(
            f"No label of {node.GetName()!r} lies in the source images, so nothing would be left of it: give its own "
            "source, or grid='own'."
        )
    of_what = "the source images" if fraction_grid is None else "the volumes of fractions"
    if labels.resampled:
        warnings.append(f"Labels were resampled (nearest neighbour): their grid is not the one of {of_what}.")
    if labels.cut:
        warnings.append(f"Labels outside of the grid of {of_what} were left out.")
    return labels


def _grid_of_volume(volume: Any) -> Grid | None:
    return volume_geometry(volume) if volume is not None and volume.GetImageData() is not None else None


def _remembered_geometry(node: Any) -> Grid | None:
    """Return the reference geometry that the segmentation itself keeps, None if there is none."""
    import slicer
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    converter = slicer.vtkSegmentationConverter
    text = node.GetSegmentation().GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    matrix, extent = vtkMatrix4x4(), [0, -1, 0, -1, 0, -1]
    if not text or not converter.DeserializeImageGeometry(text, matrix, extent):
        return None
    columns, rows, slices = (stop - start + 1 for start, stop in zip(extent[::2], extent[1::2], strict=True))
    if min(columns, rows, slices) < 1:
        return None
    corner = matrix.MultiplyPoint((extent[0], extent[2], extent[4], 1))
    for row in range(3):
        matrix.SetElement(row, 3, corner[row])
    return geometry_of_matrix(matrix, (slices, rows, columns))


# --- fractions -------------------------------------------------------------------------------------------------------


def _grid_of_fractions(volumes: Sequence[Any]) -> Grid | None:
    if not volumes:
        return None
    grids = [_grid_of_volume(volume) for volume in volumes]
    for volume, grid in zip(volumes, grids, strict=True):
        if grid is None or min(int(size) for size in grid.spatial_shape) < 1:
            raise ExportError(f"The volume {volume.GetName()!r} has no voxels.")
        if volume.GetParentTransformNode() is not None:
            raise ExportError(f"The volume {volume.GetName()!r} is under a transform; harden the transform first.")
        if grids[0] is None or not same_grid(grids[0], grid):
            raise ExportError("The volumes of fractions lie on different grids; resample them to one first.")
    return grids[0]


def _fractions(volumes: Sequence[Any], numbers: Mapping[str, int]) -> dict[int, NDArray[Any]]:
    fractions: dict[int, NDArray[Any]] = {}
    for volume in volumes:
        segment_id = volume.GetAttribute(SEGMENT_ID_ATTRIBUTE) or volume.GetID()
        number = numbers.get(segment_id, numbers.get(volume.GetID()))
        if number is None:
            raise ExportError(
                f"The volume {volume.GetName()!r} belongs to no segment: set its attribute {SEGMENT_ID_ATTRIBUTE} to a "
                "segment ID."
            )
        if number in fractions:
            raise ExportError(f"There are two volumes of fractions for one segment, one is {volume.GetName()!r}.")
        if volume.GetImageData().GetNumberOfScalarComponents() != 1:
            raise ExportError(f"The volume {volume.GetName()!r} has several values a voxel, so it holds no fractions.")
        array = image_array(volume.GetImageData())
        if np.nanmin(array, initial=0) < -1e-6 or np.nanmax(array, initial=0) > 1 + 1e-6:
            raise ExportError(
                f"The volume {volume.GetName()!r} has values outside of 0 to 1, so it holds no fractions."
            )
        fractions[number] = array
    return fractions


def _edited(
    node: Any,
    segments: Sequence[Segment],
    arrays: Mapping[int, tuple[NDArray[Any], int]],
    fractions: Mapping[int, NDArray[Any]],
) -> list[str]:
    """Return the names of segments whose labels are not their fractions at the threshold of loading: edited ones."""
    try:
        threshold = float(node.GetAttribute(THRESHOLD_ATTRIBUTE) or "")
    except ValueError:  # the labels were not made from fractions
        return []
    return [
        segment.label
        for segment in segments
        if segment.number in fractions and segment.number in arrays
        if _differ(*arrays[segment.number], fractions[segment.number], threshold)
    ]


def _differ(layer: NDArray[Any], label: int, fractions: NDArray[Any], threshold: float) -> bool:
    return any(
        ((labels == label) != (image >= threshold)).any() for labels, image in zip(layer, fractions, strict=True)
    )


def _maximum(fractions: Mapping[int, NDArray[Any]], kept: Dataset | None) -> int:
    """Return the Maximum Fractional Value: as it was, if it still holds all fractions exactly."""
    try:
        before = int(kept.get("MaximumFractionalValue") or 0) if kept is not None else 0
    except (TypeError, ValueError):
        return HIGHEST_FRACTION
    if not 0 < before < HIGHEST_FRACTION:
        return HIGHEST_FRACTION
    for array in fractions.values():
        for image in array:
            scaled = np.asarray(image, dtype=float) * before
            if not np.allclose(scaled, np.rint(scaled), rtol=0, atol=1e-4):
                return HIGHEST_FRACTION
    return before


# --- frames ----------------------------------------------------------------------------------------------------------


def _frames(
    kind: str,
    segments: Sequence[Segment],
    arrays: Mapping[int, tuple[Frames, int]],
    fractions: Mapping[int, Frames],
    maximum: int,
    slices: int,
) -> tuple[list[Frame], str]:
    """Return the frames to write, empty ones left out, and the value of Segments Overlap.

    Parameters
    ----------
    slices
        Of a grid that is to be found again from the frames alone; 0 where something else tells it.
    """
    places: dict[int, list[int]] = {}
    by_array: dict[int, dict[int, list[int]]] = {}
    for number, (array, label) in arrays.items():
        if id(array) not in by_array:
            by_array[id(array)] = find_slices(array)
        places[number] = by_array[id(array)].get(label, [])
    for number, array in fractions.items():
        # rint: exactly a half becomes 0.
        places[number] = [place for place, image in enumerate(array) if np.nanmax(image, initial=0) * maximum > 0.5]
    wanted = [segment.number for segment in segments]
    used = sorted({place for number in wanted for place in places.get(number, [])})
    needed = used or [0]
    if slices:
        needed = _with_frames_of_grid(used, slices)
    if kind == "LABELMAP":
        return [Frame(place, 0) for place in needed], "NO"
    extra = set(needed) - set(used)
    frames = [Frame(place, wanted[0]) for place in sorted({*places.get(wanted[0], []), *extra})]
    frames += [Frame(place, number) for number in wanted[1:] for place in places.get(number, [])]
    return frames, "NO" if len(by_array) <= 1 and not fractions else "UNDEFINED"


def _with_frames_of_grid(used: list[int], slices: int) -> list[int]:
    """Add the slices without which the grid could not be found again from the frames; they are written empty.

    Where the grid is that of the source images, these tell it. Elsewhere positions alone place the
    frames: the first and the last one tell the extent, and two neighbours the spacing.
    """
    needed = sorted({*used, 0, slices - 1})
    neighbours = any(after - before == 1 for before, after in pairwise(needed))
    return needed if neighbours or slices == 1 else sorted({*needed, 1})
