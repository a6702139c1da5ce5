"""Segmentation nodes made by hand, as a user of Slicer makes them, and comparison of what comes back."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from support import volumes
from support.items import read
from support.seg_nodes import Points, frames_of, lps_of_ijk, mask_of, points_by_segment, points_of_mask, segment_ids

LABELMAP = "Binary labelmap"
SURFACE = "Closed surface"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
RLE = "1.2.840.10008.1.2.5"
AFFINE = np.array([[0.8, 0, 0, -11.0], [0, 0.9, 0, 22.0], [0, 0, 2.5, -33.0], [0, 0, 0, 1.0]])
"""(column, row, slice, 1) to LPS mm."""
RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

Masks = Mapping[str, NDArray[Any]]


def oblique(affine: NDArray[np.float64] = AFFINE) -> NDArray[np.float64]:
    """The same grid, turned about two axes."""
    a, b = np.deg2rad(20.0), np.deg2rad(-35.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    turned = affine.copy()
    turned[:3] = about_z @ about_x @ affine[:3]
    return turned


def masks_of(
    seed: int, names: Sequence[str], shape: tuple[int, int, int] = (5, 12, 10)
) -> dict[str, NDArray[np.bool_]]:
    """Random segments, [slice, row, column], that share no voxel."""
    labels = np.random.default_rng(seed).integers(0, 2 * len(names) + 1, shape)
    return {name: labels == number for number, name in enumerate(names, start=1)}


def oriented_image(array: NDArray[Any], affine: NDArray[np.float64]) -> Any:
    import slicer

    image = volumes.image_data(array, slicer.vtkOrientedImageData())
    image.SetImageToWorldMatrix(volumes.vtk_matrix(RAS_OF_LPS @ affine))
    return image


def segmentation_node(
    scene: Any, masks: Masks, affine: NDArray[np.float64] = AFFINE, *, name: str = "Mine", shared: bool = True
) -> Any:
    """A segmentation that never saw DICOM; in one shared layer, or each segment in a layer of its own."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(LABELMAP)
    layer: Any = None
    if shared:
        array = np.zeros(next(iter(masks.values())).shape, np.uint8 if len(masks) < 256 else np.uint16)
        for number, mask in enumerate(masks.values(), start=1):
            array[mask] = number
        layer = oriented_image(array, affine)
    for number, (label, mask) in enumerate(masks.items(), start=1):
        segment = slicer.vtkSegment()
        segment.SetName(label)
        segment.SetLabelValue(number if shared else 1)
        segment.AddRepresentation(LABELMAP, layer if shared else oriented_image(mask.astype(np.uint8), affine))
        segmentation.AddSegment(segment, f"id-{number}")
    return node


def volume_node(scene: Any, array: NDArray[Any], affine: NDArray[np.float64] = AFFINE, name: str = "Volume") -> Any:
    """A volume that never saw DICOM; ``affine`` is IJK to LPS."""
    return volumes.volume_node(scene, array, RAS_OF_LPS @ affine, name)


def under_transform(node: Any, ras_matrix: NDArray[np.float64] | None = None, transform: Any = None) -> Any:
    """Put a node under a new transform of its scene."""
    import vtk

    parent = node.GetScene().AddNewNodeByClass("vtkMRMLTransformNode", "Transform")
    if ras_matrix is not None:
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(np.asarray(ras_matrix, float).ravel().tolist())
        parent.SetMatrixTransformToParent(matrix)
    else:
        parent.SetAndObserveTransformToParent(transform)
    node.SetAndObserveTransformNodeID(parent.GetID())
    return parent


def points_of_masks(masks: Masks, affine: NDArray[np.float64] = AFFINE) -> dict[str, Points]:
    return {name: points_of_mask(mask, affine) for name, mask in masks.items()}


def points_of_node(node: Any) -> dict[str, Points]:
    """LPS points by segment name."""
    segmentation = node.GetSegmentation()
    found: dict[str, Points] = {}
    for segment_id in segment_ids(node):
        segment = segmentation.GetSegment(segment_id)
        image = segment.GetRepresentation(LABELMAP)
        found[segment.GetName()] = points_of_mask(mask_of(segment), lps_of_ijk(image))
    return found


def decoded(dataset: Dataset) -> NDArray[Any]:
    """The pixels, (frames, rows, columns): pydicom's own reading, and by hand what pydicom does not know."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax != DEFLATED_FRAMES and not (syntax == RLE and dataset.BitsAllocated == 1):
        return frames_of(dataset)
    size = dataset.Rows * dataset.Columns
    frames = []
    for fragment in generate_frames(dataset.PixelData, number_of_frames=dataset.NumberOfFrames):
        unpack = _unpacked if syntax == RLE else zlib.decompressobj(wbits=-15).decompress
        content = np.frombuffer(unpack(fragment), np.uint8)
        if dataset.BitsAllocated == 1:
            content = np.unpackbits(content, bitorder="little")
        values = content.view("<u2") if dataset.BitsAllocated == 16 else content
        frames.append(values[:size].reshape(dataset.Rows, dataset.Columns))
    return np.stack(frames)


def _unpacked(fragment: bytes) -> bytes:
    """The one segment of an RLE frame (PS3.5 G.3, G.4)."""
    assert int.from_bytes(fragment[:4], "little") == 1
    content, at, result = fragment[64:], 0, bytearray()
    while at + 1 < len(content):
        head, at = content[at], at + 1
        if head < 128:
            result += content[at : at + head + 1]
            at += head + 1
        elif head > 128:
            result += content[at : at + 1] * (257 - head)
            at += 1
    return bytes(result)


def points_of_file(path: Path, threshold: float = 0.5) -> dict[str, Points]:
    """LPS points by segment label, by arithmetic on the functional groups; without the background of label maps."""
    dataset = read(path)
    points = points_by_segment(dataset, decoded(dataset), threshold)
    labels = {int(item.SegmentNumber): str(item.SegmentLabel) for item in dataset.SegmentSequence}
    assert points.keys() <= labels.keys() | {0}
    return {
        label: points[number] for number, label in labels.items() if number or dataset.SegmentationType != "LABELMAP"
    }


def assert_same_points(found: Mapping[str, Points], expected: Mapping[str, Points], tolerance: float = 1e-5) -> None:
    """The same segments with the same voxel centres (mm)."""
    assert list(found) == list(expected)
    for name, points in expected.items():
        assert len(found[name]) == len(points), f"{name}: {len(found[name])} voxels instead of {len(points)}"
        if not len(points):
            continue
        one, other = _sorted(found[name]), _sorted(points)
        assert np.abs(one - other).max() <= tolerance, name


def _sorted(points: Points) -> Points:
    rounded = np.round(points, 3) + 0.0
    return points[np.lexsort(rounded.T)]


def headers(folder: Path) -> dict[str, Dataset]:
    """Headers of the files of a folder by SOP Instance UID."""
    found = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir()) if path.is_file()]
    return {str(header.SOPInstanceUID): header for header in found}
