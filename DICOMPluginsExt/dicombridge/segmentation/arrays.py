"""A segmentation node as label arrays on a grid of our choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.geometry import DIRECTION_TOLERANCE, geometry_of_matrix, ijk_to_ras, set_image_geometry
from dicombridge.scene import register_converters
from dicombridge.segmentation.nodes import BINARY_LABELMAP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.geometry import Grid

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
    resampled
        Whether the labels had other voxels.
    cut
        Whether labels lay outside of the grid.
    """

    grid: Grid
    layers: list[tuple[NDArray[Any], dict[str, int]]]
    resampled: bool = False
    cut: bool = False


def label_images(node: Any, target: Grid | None, volume: Any = None) -> list[Layer]:
    """Return the label layers of a segmentation node; the node stays as it is.

    Other source representations (closed surface) are converted on ``target``, or on a grid that Slicer chooses.

    Parameters
    ----------
    volume
        The volume node that shows the source images, None if there is none. Where both it and the segmentation are
        under transforms, what counts is how they lie to each other: DICOM images know nothing of a scene's transforms.

    Raises
    ------
    ExportError
        The node cannot be converted to label maps.
    """
    segmentation = node.GetSegmentation()
    transform = _transform_to(volume, node)
    if segmentation.GetSourceRepresentationName() != BINARY_LABELMAP and segmentation.GetNumberOfSegments():
        # Surfaces are moved before they are converted, so that nothing is cut off at the grid where they were.
        segmentation, transform = _converted(segmentation, target, transform), None
    layers: dict[str, Layer] = {}
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        image = segment.GetRepresentation(BINARY_LABELMAP)
        if image is None:
            continue
        layer = layers.setdefault(image.GetAddressAsString(""), Layer(image, {}))
        layer.labels[segmentation.GetNthSegmentID(number)] = int(segment.GetLabelValue())
    if transform is not None:
        for layer in layers.values():
            layer.image = _transformed(transform, layer.image)
    return list(layers.values())


def _transform_to(volume: Any, node: Any) -> Any:
    """Return the transform from a node's coordinates to those of the source images, None where they are the same."""
    import slicer
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform, vtkTransform

    own = node.GetParentTransformNode()
    of_images = volume.GetParentTransformNode() if volume is not None else None
    if own is of_images:
        return None
    general = vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(own, of_images, general)
    linear = vtkTransform()
    # A general transform of linear parts is linear, which spares the labels from being resampled.
    is_linear = slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(general, linear)
    return linear if is_linear else general


def _converted(segmentation: Any, target: Grid | None, transform: Any) -> Any:
    """Return a copy of a segmentation, transformed, with binary labelmaps made on the target grid."""
    import slicer

    register_converters()
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    if transform is not None:
        apply = copy.ApplyLinearTransform if transform.IsA("vtkTransform") else copy.ApplyNonLinearTransform
        apply(transform)
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


def _transformed(transform: Any, image: Any) -> Any:
    """Return a copy of a label image with a transform applied; a linear one changes its geometry alone."""
    import slicer

    copy = slicer.vtkOrientedImageData()
    copy.DeepCopy(image)
    if not _is_empty(image):
        # Nearest neighbour: labels are names, not quantities.
        slicer.vtkOrientedImageDataResample.TransformOrientedImage(copy, transform, False, False, False)
    return copy


def _is_empty(image: Any) -> bool:
    extent = image.GetExtent()
    return bool(extent[0] > extent[1] or extent[2] > extent[3] or extent[4] > extent[5])


def own_grid(layers: Sequence[Layer], axes: Grid | None = None) -> Grid | None:
    """Return a grid that holds all layers, None where they are empty.

    Its voxels are those of the layers; where these differ, of the finest layer.

    Parameters
    ----------
    axes
        A grid of the same voxels: its rows and columns are kept, so that frames stay as large as its images.
    """
    full = [layer.image for layer in layers if not _is_empty(layer.image)]
    if not full:
        return None
    matrices = [_index_to_ras(image) for image in full]
    first = min(matrices, key=lambda matrix: abs(float(np.linalg.det(matrix[:3, :3]))))
    boxes = []
    if axes is not None:
        _, rows, columns = (int(size) for size in axes.spatial_shape)
        first = np.asarray(ijk_to_ras(axes))
    else:
        first = _with_perpendicular_rows(first)
    for image, matrix in zip(full, matrices, strict=True):
        extent = np.array(image.GetExtent()).reshape(3, 2)
        corners = np.array(np.meshgrid(*extent, indexing="ij")).reshape(3, -1)
        index = (np.linalg.inv(first) @ matrix @ np.vstack([corners, np.ones(8)]))[:3]
        boxes.append((np.floor(index.min(axis=1) + ALIGNED), np.ceil(index.max(axis=1) - ALIGNED)))
    low = np.min([box[0] for box in boxes], axis=0)
    high = np.max([box[1] for box in boxes], axis=0)
    if axes is not None:
        low[:2] = np.minimum(low[:2], 0)
        high[:2] = np.maximum(high[:2], [columns - 1, rows - 1])
    corner = np.array(first)
    corner[:3, 3] = (first @ [*low, 1.0])[:3]
    columns, rows, slices = (int(size) for size in high - low + 1)
    return geometry_of_matrix(corner, (slices, rows, columns))


def _with_perpendicular_rows(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix, with perpendicular axes where a transform sheared rows against columns (PS3.3 C.7.6.2.1.1)."""
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    columns, rows, _ = (matrix[:3, :3] / lengths).T
    if abs(float(columns @ rows)) <= DIRECTION_TOLERANCE:
        return matrix
    rows = rows - (rows @ columns) * columns
    rows /= np.linalg.norm(rows)
    normal = np.cross(columns, rows)
    if normal @ matrix[:3, 2] < 0:
        normal = -normal
    result = np.array(matrix)
    result[:3, :3] = np.stack([columns, rows, normal], axis=1) * lengths
    return result


def _index_to_ras(image: Any) -> NDArray[np.float64]:
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
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
    result = NodeLabels(grid, [])
    target = np.asarray(ijk_to_ras(grid))
    for layer in layers:
        if _is_empty(layer.image):
            result.layers.append((np.zeros(tuple(int(n) for n in grid.spatial_shape), np.uint8), layer.labels))
            continue
        own = _index_to_ras(layer.image)
        shift = _shift(target, own)
        if shift is None:
            array = _resampled(layer.image, grid)
            result.resampled = True
            result.cut |= _reaches_out(layer.image, np.linalg.inv(target) @ own, grid)
        else:
            array, cut = _copied(layer.image, shift, grid)
            result.cut |= cut
        result.layers.append((array, layer.labels))
    return result


def _reaches_out(image: Any, between: NDArray[np.float64], grid: Grid) -> bool:
    """Whether the centre of a labelled voxel lies outside of all voxels of a grid; ``between`` goes to its IJK."""
    labelled = np.argwhere(image_array(image))
    if not len(labelled):
        return False
    first, last = labelled.min(axis=0)[::-1], labelled.max(axis=0)[::-1]
    corners = np.array(np.meshgrid(*zip(first, last, strict=True), indexing="ij")).reshape(3, -1)
    corners = corners + np.array(image.GetExtent()[0::2])[:, None]
    index = (between @ np.vstack([corners, np.ones(8)]))[:3]
    size = np.array([int(n) for n in grid.spatial_shape])[::-1]
    return bool((index.min(axis=1) < -0.5 - ALIGNED).any() or (index.max(axis=1) > size - 0.5 + ALIGNED).any())


def image_array(image: Any) -> NDArray[Any]:
    """Return a label image's voxels, [slice, row, column], without a copy."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

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
