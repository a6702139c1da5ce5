"""The frames of a stack as label layers, or as fractions: from encoded pixels to arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicombridge.errors import UnreadableError
from dicombridge.placing import overlap
from dicombridge.progress import Progress
from dicombridge.segmentation.layers import (
    Overlap,
    PackedPatch,
    Patch,
    colour_conflicts,
    crop_bits,
    crop_pixels,
    find_conflicts,
    paint,
)
from dicombridge.segmentation.planes import FrameStack
from dicombridge.segmentation.reading import SegmentationFile, iterate_frames
from dicombridge.segmentation.segments import Segment

__all__ = ["Allocate", "StackLabels", "binary_labels", "fractions", "labelmap_labels", "labels_of_fractions"]

Allocate = Callable[[tuple[int, int, int], Any], "NDArray[Any]"]
"""Returns an array of zeros, [slice, row, column], of the given shape and type."""


MOST_UNDESCRIBED = 64
"""Pixel values of a label map without a description that are still taken for segments; more look like damage."""


@dataclass(frozen=True)
class StackLabels:
    """Label layers of one stack.

    Attributes
    ----------
    layers
        Arrays of labels, [slice, row, column].
    layer_of, label_of
        Layer and label of each segment, by segment number.
    warnings
        What the pixels contradict.
    """

    layers: list[NDArray[Any]]
    layer_of: Mapping[int, int]
    label_of: Mapping[int, int]
    warnings: tuple[str, ...] = ()


def _label_type(largest: int) -> Any:
    return np.uint8 if largest <= 255 else np.uint16


def _shape(stack: FrameStack) -> tuple[int, int, int]:
    slices, rows, columns = (int(size) for size in stack.geometry.spatial_shape)
    return slices, rows, columns


def _places(result: SegmentationFile, stack: FrameStack) -> list[tuple[int, int, int]]:
    """Return slice, row and column of each frame's first pixel; the slice is -1 for frames of other stacks."""
    places = np.full((len(result.segment_numbers), 3), -1, dtype=np.int64)
    places[stack.frames] = np.stack([stack.slices, stack.rows, stack.columns], axis=1)
    return [(place, row, column) for place, row, column in places.tolist()]


def binary_labels(
    result: SegmentationFile, stack: FrameStack, allocate: Allocate, progress: Progress | None = None
) -> StackLabels:
    """Paint the frames of a BINARY segmentation, in one layer where no two segments share a voxel.

    A label is the segment's number, so that it can be recognised in the array.
    """
    numbers = [segment.number for segment in result.segments]
    label_of = _labels_of_numbers(numbers)
    dtype = _label_type(max(label_of.values(), default=1))
    layer = allocate(_shape(stack), dtype)
    places = _places(result, stack)
    try:
        for frame, packed, pixels in iterate_frames(result, stack, progress):
            place, row, column = places[frame]
            patch = _patch(result, row, column, packed, pixels, layer.shape[1:])
            if patch is not None:
                paint(layer, place, patch, label_of[int(result.segment_numbers[frame])], check=True)
    except Overlap:
        patches = _collect(result, stack, places)
        layer[:] = 0
        labels = paint_layers(patches, numbers, label_of, layer, allocate)
    else:
        return StackLabels([layer], dict.fromkeys(numbers, 0), label_of)
    if str(result.header.get("SegmentsOverlap") or "") == "NO":
        warning = "Segments overlap although the object says that they do not; all of them were kept."
        return StackLabels(labels.layers, labels.layer_of, labels.label_of, (warning,))
    return labels


def _labels_of_numbers(numbers: Sequence[int]) -> dict[int, int]:
    """Return a label for each segment number: the number itself, but for 0, which is VTK's background."""
    spare = max(numbers, default=0) + 1
    return {number: number if number > 0 else spare for number in numbers}


def _patch(
    result: SegmentationFile,
    row: int,
    column: int,
    packed: NDArray[np.uint8],
    pixels: NDArray[Any] | None,
    plane: tuple[int, ...],
) -> Patch | None:
    """Return the part of a frame that is not zero, placed in a plane of these rows and columns."""
    frames = result.parts[0].frames
    if frames is None:
        return None
    patch = crop_bits(packed, frames.rows, frames.columns) if pixels is None else crop_pixels(pixels != 0)
    if patch is None or not (row or column or plane != (frames.rows, frames.columns)):
        return patch
    row, column = patch.row + row, patch.column + column
    height, width = patch.mask.shape
    shared = overlap((plane[0], plane[1]), row, column, (height, width))
    return None if shared is None else Patch(max(row, 0), max(column, 0), patch.mask[shared[1]])


def _collect(
    result: SegmentationFile, stack: FrameStack, places: Sequence[tuple[int, int, int]]
) -> dict[int, list[tuple[int, PackedPatch]]]:
    """Return (segment number, patch) of all frames, by slice; packed, so they take no more room than the file."""
    patches: dict[int, list[tuple[int, PackedPatch]]] = defaultdict(list)
    for frame, packed, pixels in iterate_frames(result, stack):
        place, row, column = places[frame]
        patch = _patch(result, row, column, packed, pixels, _shape(stack)[1:])
        if patch is not None:
            patches[place].append((int(result.segment_numbers[frame]), PackedPatch.of(patch)))
    return patches


def paint_layers(
    patches: Mapping[int, list[tuple[int, PackedPatch]]],
    numbers: Sequence[int],
    label_of: Mapping[int, int],
    first_layer: NDArray[Any],
    allocate: Allocate,
) -> StackLabels:
    """Paint overlapping segments into as few layers as they allow."""
    conflicts: set[tuple[int, int]] = set()
    for in_slice in patches.values():
        conflicts |= find_conflicts([(number, patch.unpacked()) for number, patch in in_slice], conflicts)
    layer_of = colour_conflicts(numbers, conflicts)
    layers = [first_layer]
    layers += [allocate(first_layer.shape, first_layer.dtype) for _ in range(max(layer_of.values(), default=0))]
    for place, in_slice in patches.items():
        for number, patch in in_slice:
            paint(layers[layer_of[number]], place, patch.unpacked(), label_of[number], check=False)
    return StackLabels(layers, layer_of, label_of)


def labelmap_labels(
    result: SegmentationFile, stack: FrameStack, allocate: Allocate, progress: Progress | None = None
) -> StackLabels:
    """Copy the frames of a LABELMAP segmentation; pixel values become labels (PS3.3 C.8.20.2)."""
    frames = result.parts[0].frames
    if frames is None:
        raise UnreadableError(result.path, "has no pixel data.")
    places = _places(result, stack)
    label_of = _labels_of_numbers([segment.number for segment in result.segments])
    table = _lookup(result, label_of, frames.bits)
    layer = allocate(_shape(stack), _label_type(int(table.max())))
    seen = np.zeros(2**frames.bits, dtype=np.bool_)
    for frame, _, pixels in iterate_frames(result, stack, progress):
        place, row, column = places[frame]
        shared = overlap(layer.shape[1:], row, column, (frames.rows, frames.columns))
        if shared is not None and pixels is not None:
            shown = pixels[shared[1]]
            seen[shown] = True
            labels = table[shown]
            np.copyto(layer[place][shared[0]], labels, casting="unsafe", where=labels != 0)
    warnings = _describe_values(result, np.flatnonzero(seen & (table > 0)).tolist())
    for segment in result.segments:
        label_of.setdefault(segment.number, segment.number)
    return StackLabels([layer], dict.fromkeys(label_of, 0), label_of, warnings)


def _describe_values(result: SegmentationFile, values: Sequence[int]) -> tuple[str, ...]:
    """Add a segment for every pixel value that the object does not describe, so that no voxel is lost."""
    undescribed = sorted(set(values) - {segment.number for segment in result.segments})
    if not undescribed:
        return ()
    if len(undescribed) > MOST_UNDESCRIBED:
        raise UnreadableError(
            result.path, f"has pixels of {len(undescribed)} segments that it does not describe; it contradicts itself."
        )
    result.segments.extend(Segment(number, f"Segment {number}") for number in undescribed)
    return (f"Segments without a description were named by their number: {undescribed}.",)


def _lookup(result: SegmentationFile, label_of: Mapping[int, int], bits: int) -> NDArray[np.uint16]:
    """Return the label of each pixel value: 0 for background; a value that is not described keeps itself."""
    table = np.arange(2**bits, dtype=np.uint16)
    table[[value for value in result.backgrounds if value < len(table)]] = 0
    for number, label in label_of.items():
        if number < len(table):
            table[number] = label
    return table


def fractions(
    result: SegmentationFile,
    stack: FrameStack,
    allocate: Allocate,
    progress: Progress | None = None,
) -> dict[int, NDArray[np.float32]]:
    """Return for each segment an array of float32, 0 to 1, [slice, row, column] (PS3.3 C.8.20.2.3)."""
    frames = result.parts[0].frames
    if frames is None:
        raise UnreadableError(result.path, "has no pixel data.")
    scale = np.float32(result.maximum_fractional_value)
    arrays = {segment.number: allocate(_shape(stack), np.float32) for segment in result.segments}
    places = _places(result, stack)
    for frame, _, pixels in iterate_frames(result, stack, progress):
        place, row, column = places[frame]
        shared = overlap(_shape(stack)[1:], row, column, (frames.rows, frames.columns))
        if shared is None or pixels is None:
            continue
        target = arrays[int(result.segment_numbers[frame])][place][shared[0]]
        np.maximum(target, pixels[shared[1]].astype(np.float32) / scale, out=target)
    return arrays


def labels_of_fractions(
    arrays: Mapping[int, NDArray[np.float32]], threshold: float, shape: tuple[int, int, int], allocate: Allocate
) -> StackLabels:
    """Return label layers of the voxels whose fraction is at least ``threshold``."""
    numbers = list(arrays)
    label_of = _labels_of_numbers(numbers)
    patches: dict[int, list[tuple[int, PackedPatch]]] = defaultdict(list)
    for number, array in arrays.items():
        for place in range(shape[0]):
            patch = crop_pixels(array[place] >= threshold)
            if patch is not None:
                patches[place].append((number, PackedPatch.of(patch)))
    layer = allocate(shape, _label_type(max(label_of.values(), default=1)))
    return paint_layers(patches, numbers, label_of, layer, allocate)
