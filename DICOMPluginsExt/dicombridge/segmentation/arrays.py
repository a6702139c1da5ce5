"""A segmentation node as label arrays on a grid of our choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.geometry import geometry_of_matrix, ijk_to_ras, set_image_geometry
from dicombridge.segmentation.nodes import BINARY_LABELMAP

if TYPE_CHECKING:
    from highdicom import VolumeGeometry
    from numpy.typing import NDArray

    from dicombridge.geometry import SlantedGrid

    Grid = VolumeGeometry | SlantedGrid

__all__ = ["Layer", "NodeLabels", "label_images", "own_grid", "to_grid"]

ALIGNED = 1e-3
"""Part of a voxel by which two grids may be shifted against each other and still count as the same voxels."""


@dataclass
class Layer:
    """A label image and its segments.

    Attributes
    ----------
    image
        ``vtkOrientedImageData``, in RAS, all parent transforms applied.
    labels
        Label of each segment by segment ID.
    """

    image: Any
    labels: dict[str, int]


@dataclass
class NodeLabels:
    """Label arrays on one grid.

    Attributes
    ----------
    grid
        Of the arrays.
    layers
        (array [slice, row, column], label by segment ID) each.
    warnings
        What was resampled or cut.
    """

    grid: Grid
    layers: list[tuple[NDArray[Any], dict[str, int]]]
    warnings: list[str]


def label_images(node: Any, target: Grid | None) -> list[Layer]:
    """Return the label layers of a segmentation node; the node stays as it is.

    Other source representations (closed surface) are converted on ``target``, or on a grid that Slicer chooses.

    Raises
    ------
    ExportError
        The node cannot be converted to label maps.
    """
    segmentation = node.GetSegmentation()
    if segmentation.GetSourceRepresentationName() != BINARY_LABELMAP and segmentation.GetNumberOfSegments():
        segmentation = _converted(segmentation, target)
    layers: dict[str, Layer] = {}
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        image = segment.GetRepresentation(BINARY_LABELMAP)
        if image is None:
            continue
        layer = layers.setdefault(image.GetAddressAsString(""), Layer(image, {}))
        layer.labels[segmentation.GetNthSegmentID(number)] = int(segment.GetLabelValue())
    if node.GetParentTransformNode() is not None:
        for layer in layers.values():
            layer.image = _transformed(node, layer.image)
    return list(layers.values())


def _converted(segmentation: Any, target: Grid | None) -> Any:
    """Return a copy of a segmentation with binary labelmaps, made on the target grid."""
    import slicer

    logic = slicer.vtkSlicerSegmentationsModuleLogic()  # registers the converters where nobody did yet
    scene = slicer.vtkMRMLScene()
    logic.SetMRMLScene(scene)
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    if target is not None:
        converter = slicer.vtkSegmentationConverter
        copy.SetConversionParameter(
            converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(_empty_image(target))
        )
    if not copy.CreateRepresentation(BINARY_LABELMAP, True):
        name = segmentation.GetSourceRepresentationName()
        raise ExportError(f"The segmentation's source representation {name!r} cannot be converted to label maps.")
    return copy


def _empty_image(grid: Grid) -> Any:
    """Return an image of a grid's extent and geometry, without voxels."""
    import slicer

    slices, rows, columns = (int(size) for size in grid.spatial_shape)
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, columns - 1, 0, rows - 1, 0, slices - 1)
    set_image_geometry(image, grid)
    return image


def _transformed(node: Any, image: Any) -> Any:
    """Return a copy of a label image with all parent transforms of the node applied."""
    import slicer

    copy = slicer.vtkOrientedImageData()
    copy.DeepCopy(image)
    # Nearest neighbour: labels are names, not quantities.
    if not slicer.vtkSlicerSegmentationsModuleLogic.ApplyParentTransformToOrientedImageData(node, copy, False):
        raise ExportError(f"The transform of {node.GetName()!r} could not be applied to its label maps.")
    return copy


def own_grid(layers: Sequence[Layer]) -> Grid | None:
    """Return the grid that holds all layers, None where they are empty or do not share one."""
    boxes = []
    first: Any = None
    for layer in layers:
        extent = layer.image.GetExtent()
        if extent[0] > extent[1] or extent[2] > extent[3] or extent[4] > extent[5]:
            continue
        matrix = _index_to_ras(layer.image)
        if first is None:
            first = matrix
        shift = _shift(first, matrix)
        if shift is None:
            return None
        low = np.array(extent[0::2]) + shift
        boxes.append((low, np.array(extent[1::2]) + shift))
    if first is None:
        return None
    low = np.min([box[0] for box in boxes], axis=0)
    high = np.max([box[1] for box in boxes], axis=0)
    corner = np.array(first)
    corner[:3, 3] = (first @ [*low, 1.0])[:3]
    columns, rows, slices = (int(size) for size in high - low + 1)
    return geometry_of_matrix(corner, (slices, rows, columns))


def _index_to_ras(image: Any) -> NDArray[np.float64]:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _shift(target: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Return the whole-voxel offset of one index frame in another, None where they are not aligned."""
    relative = np.linalg.inv(target) @ own
    if np.abs(relative[:3, :3] - np.eye(3)).max() > ALIGNED / 10:
        return None
    offset = np.rint(relative[:3, 3])
    if np.abs(relative[:3, 3] - offset).max() > ALIGNED * 10:
        return None
    return offset.astype(np.int64)


def to_grid(layers: Sequence[Layer], grid: Grid) -> NodeLabels:
    """Return the layers on a grid: copied where the voxels are the same, else resampled (nearest neighbour)."""
    result = NodeLabels(grid, [], [])
    target = np.asarray(ijk_to_ras(grid))
    for layer in layers:
        extent = layer.image.GetExtent()
        if extent[0] > extent[1] or extent[2] > extent[3] or extent[4] > extent[5]:
            result.layers.append((np.zeros(tuple(int(n) for n in grid.spatial_shape), np.uint8), layer.labels))
            continue
        shift = _shift(target, _index_to_ras(layer.image))
        if shift is None:
            array = _resampled(layer.image, grid)
            _warn_once(
                result, "Labels were resampled (nearest neighbour): their grid is not the one of the source images."
            )
        else:
            array, lost = _copied(layer.image, shift, grid)
            if lost:
                _warn_once(result, "Labels outside of the source images' grid were left out.")
        result.layers.append((array, layer.labels))
    return result


def _warn_once(result: NodeLabels, warning: str) -> None:
    if warning not in result.warnings:
        result.warnings.append(warning)


def image_array(image: Any) -> NDArray[Any]:
    """Return a label image's voxels, [slice, row, column], without a copy."""
    from vtk.util.numpy_support import vtk_to_numpy

    columns, rows, slices = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(slices, rows, columns)


def _copied(image: Any, shift: NDArray[np.int64], grid: Grid) -> tuple[NDArray[Any], bool]:
    """Return the voxels placed on the grid, and whether any label was cut off."""
    source = image_array(image)
    shape = tuple(int(size) for size in grid.spatial_shape)
    low = (np.array(image.GetExtent()[0::2]) + shift)[::-1]
    if source.shape == shape and not low.any():
        return source, False
    begin = np.maximum(low, 0)
    end = np.minimum(low + source.shape, shape)
    array = np.zeros(shape, source.dtype)
    if (end <= begin).any():
        return array, bool(source.any())
    part = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
    own = tuple(slice(b - at, e - at) for b, e, at in zip(begin, end, low, strict=True))
    array[part] = source[own]
    cut = (begin != low).any() or (end != low + source.shape).any()
    return array, bool(cut and np.count_nonzero(source) != np.count_nonzero(array[part]))


def _resampled(image: Any, grid: Grid) -> NDArray[Any]:
    import slicer

    output = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not resample(image, _empty_image(grid), output, False):
        raise ExportError("Labels could not be resampled to the grid of the source images.")
    return image_array(output).copy()
