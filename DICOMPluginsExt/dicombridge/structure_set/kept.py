"""The original contours, kept beside the segmentation: an unedited region is exported as it came, to the byte.

A model node shows them. Its field data holds the items of the ROI Contour Sequence as they are encoded, in one array
of bytes: a JSON text that says which region each belongs to, a zero byte, and the items one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicombridge.errors import DicomBridgeError
from dicombridge.geometry import geometry_of_matrix, grid_of_affine, lps_ras_points
from dicombridge.structure_set.contours import GEOMETRIC_TYPES, POINT, Contours, read_roi_contour
from dicombridge.structure_set.nodes import CONTOURS_ROLE, GRID_ATTRIBUTE, ROI_NUMBER_TAG, segment_tag
from dicombridge.structure_set.regions import fill_region

if TYPE_CHECKING:
    from highdicom import VolumeGeometry

    from dicombridge.geometry import SlantedGrid
    from dicombridge.structure_set.reading import Roi

__all__ = ["KeptContours", "contours_polydata", "grid_text", "is_unedited", "kept_contours", "kept_grid"]

ITEMS_ARRAY = "DICOMBridge.ROIContourItems"
_SHIFT_TOLERANCE = 1e-3
"""Of a voxel: how far the grid of an array may be off that of the contours."""


@dataclass(frozen=True, eq=False)
class KeptContours:
    """The contours of a region, as they came.

    Attributes
    ----------
    items
        Its items of the ROI Contour Sequence, as they are encoded (nearly always one).
    implicit_vr
        Their encoding; little endian always.
    values
        The contours in them, read.
    """

    items: tuple[bytes, ...]
    implicit_vr: bool
    values: tuple[Contours, ...]

    @property
    def item_bytes(self) -> bytes:
        """The first item; all there is, but for files that describe a region twice."""
        return self.items[0] if self.items else b""

    @property
    def contours(self) -> list[tuple[str, NDArray[np.float64]]]:
        """Contour Geometric Type and (n, 3) LPS points of each contour, in the order of the file."""
        return [
            (GEOMETRIC_TYPES[int(part.types[number])], part.of(number))
            for part in self.values
            for number in range(len(part))
        ]


def contours_polydata(rois: Sequence[Roi], implicit_vr: bool) -> Any:
    """Return the contours of all regions as ``vtkPolyData`` (RAS), with their items in its field data.

    Cells are polylines, closed ones for contours that are, and single points; their arrays ``ROINumber``,
    ``ContourNumber`` (from 1 in the order of the file) and ``GeometricType`` (index into
    :data:`~dicombridge.structure_set.contours.GEOMETRIC_TYPES`) say what they are. Contours with coordinates that are
    no numbers have no cell.
    """
    from vtkmodules.util.numpy_support import numpy_to_vtk

    polydata = polydata_of([roi.contours for roi in rois], [roi.roi_number for roi in rois])
    header = {
        "implicit_vr": implicit_vr,
        "items": [[roi.roi_number, len(item)] for roi in rois for item in roi.contour_items],
    }
    content = b"".join(
        [json.dumps(header).encode("ascii"), b"\0", *(item for roi in rois for item in roi.contour_items)]
    )
    array = numpy_to_vtk(np.frombuffer(content, np.uint8), deep=True)
    array.SetName(ITEMS_ARRAY)
    polydata.GetFieldData().AddArray(array)
    return polydata


def polydata_of(contours: Sequence[Contours], roi_numbers: Sequence[int]) -> Any:
    """Return contours as ``vtkPolyData`` in RAS, double precision."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkPolyData

    polydata = vtkPolyData()
    points = lps_ras_points(np.concatenate([one.points for one in contours]) if contours else np.zeros((0, 3)))
    usable = np.concatenate([one.finite for one in contours]) if contours else np.zeros(0, np.bool_)
    if not usable.all():
        points[np.isnan(points).any(axis=1)] = 0.0
    sizes = np.concatenate([np.diff(one.starts) for one in contours]) if contours else np.zeros(0, np.int64)
    types = np.concatenate([one.types for one in contours]) if contours else np.zeros(0, np.uint8)
    numbers = np.concatenate([np.arange(1, len(one) + 1) for one in contours]) if contours else np.zeros(0, np.int64)
    rois = np.repeat(np.array(roi_numbers, np.int64), [len(one) for one in contours])
    starts = np.cumsum(sizes) - sizes
    usable &= sizes > 0
    vtk_points = vtkPoints()
    vtk_points.SetData(numpy_to_vtk(points, deep=True))
    polydata.SetPoints(vtk_points)
    single = usable & (types == POINT)
    lines = usable & ~single
    polydata.SetVerts(_cells(starts[single], sizes[single], np.zeros(np.count_nonzero(single), np.bool_)))
    polydata.SetLines(_cells(starts[lines], sizes[lines], types[lines] <= 2))
    order = np.concatenate([np.flatnonzero(single), np.flatnonzero(lines)])  # as VTK numbers its cells
    for name, values in (("ROINumber", rois), ("ContourNumber", numbers), ("GeometricType", types)):
        array = numpy_to_vtk(values[order].astype(np.int32), deep=True)
        array.SetName(name)
        polydata.GetCellData().AddArray(array)
    return polydata


def _cells(starts: NDArray[np.int64], sizes: NDArray[np.int64], is_closed: NDArray[np.bool_]) -> Any:
    """Return a ``vtkCellArray`` of runs of points; closed ones end with their first point."""
    from vtkmodules.util.numpy_support import numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonDataModel import vtkCellArray

    lengths = sizes + is_closed
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    within[within == np.repeat(sizes, lengths)] = 0
    connectivity = within + np.repeat(starts, lengths)
    cells = vtkCellArray()
    cells.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=True), numpy_to_vtkIdTypeArray(connectivity.astype(np.int64), deep=True)
    )
    return cells


def kept_contours(node: Any) -> dict[int, KeptContours]:
    """Return the original contours of a segmentation node by ROI Number; empty where there are none."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    model = node.GetNodeReference(CONTOURS_ROLE) if node is not None else None
    polydata = model.GetPolyData() if model is not None else None
    array = polydata.GetFieldData().GetArray(ITEMS_ARRAY) if polydata is not None else None
    if array is None:
        return {}
    content = vtk_to_numpy(array).astype(np.uint8, copy=False).tobytes()
    text, _, rest = content.partition(b"\0")
    try:
        header = json.loads(text)
        implicit_vr, pairs = bool(header["implicit_vr"]), [(int(one), int(size)) for one, size in header["items"]]
        return _read_items(rest, implicit_vr, pairs)
    except (ValueError, TypeError, KeyError, DicomBridgeError):  # somebody changed it
        return {}


def _read_items(rest: bytes, implicit_vr: bool, pairs: Sequence[tuple[int, int]]) -> dict[int, KeptContours]:
    found: dict[int, list[bytes]] = {}
    start = 0
    for roi_number, size in pairs:
        found.setdefault(roi_number, []).append(rest[start : start + size])
        start += size
    return {
        roi_number: KeptContours(
            tuple(of_roi),
            implicit_vr,
            tuple(read_roi_contour(item, 0, len(item), implicit_vr).contours for item in of_roi),
        )
        for roi_number, of_roi in found.items()
    }


# --- Whether a region was edited -----------------------------------------------------------------------------------


def grid_text(geometry: VolumeGeometry | SlantedGrid) -> str:
    """Return a grid as JSON, exactly."""
    affine = np.asarray(geometry.affine, dtype=float)[:3].ravel().tolist()
    return json.dumps({"affine": affine, "shape": [int(size) for size in geometry.spatial_shape]})


def kept_grid(node: Any) -> VolumeGeometry | SlantedGrid | None:
    """Return the grid that the contours of a segmentation node were filled on, None where there is none."""
    try:
        kept = json.loads(node.GetAttribute(GRID_ATTRIBUTE) or "null")
        rows = np.array(kept["affine"], dtype=float).reshape(3, 4)
        return grid_of_affine(np.vstack([rows, [0.0, 0.0, 0.0, 1.0]]), kept["shape"])
    except (ValueError, TypeError, KeyError, DicomBridgeError):
        return None


def is_unedited(node: Any, segment_id: str, kept: Mapping[int, KeptContours] | None = None) -> bool:
    """Whether a segment still has the voxels that its original contours enclose.

    The contours are filled again, and compared with its labels voxel by voxel. Parent transforms are not looked at; nor
    are name and colour.

    Parameters
    ----------
    kept
        What :func:`kept_contours` returned for the node, where the caller has it already.
    """
    segment = node.GetSegmentation().GetSegment(segment_id)
    geometry = kept_grid(node)
    number = segment_tag(segment, ROI_NUMBER_TAG) if segment is not None else ""
    if geometry is None or not number.lstrip("-").isdigit():
        return False
    kept = kept_contours(node) if kept is None else kept
    if int(number) not in kept and int(number) in _numbers_of_others(node, segment_id):
        return False  # of two regions with one number, the other one has the contours
    found = _labels(node, segment_id, segment, geometry)
    if found is None:
        return False
    labels, first = found
    parts = kept[int(number)].values if int(number) in kept else ()
    expected = [patch for part in parts for patch in fill_region(part, geometry).patches]
    total = 0
    for place, patch in expected:
        rows, columns = patch.mask.shape
        at, row, column = place - first[0], patch.row - first[1], patch.column - first[2]
        total += int(np.count_nonzero(patch.mask))
        top, left = max(row, 0), max(column, 0)
        if not 0 <= at < labels.shape[0]:
            return False
        own = labels[at, top : max(row + rows, 0), left : max(column + columns, 0)]
        height, width = own.shape
        mask = patch.mask[top - row : top - row + height, left - column : left - column + width]
        if np.count_nonzero(mask) != np.count_nonzero(patch.mask) or not np.array_equal(own, mask != 0):
            return False
    return int(np.count_nonzero(labels)) == total


def _numbers_of_others(node: Any, segment_id: str) -> set[int]:
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    texts = [segment_tag(segmentation.GetSegment(one), ROI_NUMBER_TAG) for one in ids if one != segment_id]
    return {int(text) for text in texts if text.lstrip("-").isdigit()}


def _labels(
    node: Any, segment_id: str, segment: Any, geometry: VolumeGeometry | SlantedGrid
) -> tuple[NDArray[np.bool_], tuple[int, int, int]] | None:
    """Return a segment's voxels and at which slice, row, column of the grid they begin; None where no grid fits."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    image = node.GetBinaryLabelmapInternalRepresentation(segment_id)
    if image is None or image.GetPointData().GetScalars() is None:
        return np.zeros((0, 0, 0), np.bool_), (0, 0, 0)
    extent = image.GetExtent()
    shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
    matrix = vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    own = np.asarray(geometry_of_matrix(matrix, shape).affine)
    relative = np.linalg.inv(np.asarray(geometry.affine)) @ own
    relative[:3, 3] += [extent[4], extent[2], extent[0]]
    shift = np.rint(relative[:3, 3])
    expected = np.eye(4)
    expected[:3, 3] = shift
    # Along an axis, a difference of the spacing adds up.
    if np.abs(relative - expected).max() * max(shape) > _SHIFT_TOLERANCE * 50 * max(shape):
        return None
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape) == segment.GetLabelValue()
    return voxels, (int(shift[0]), int(shift[1]), int(shift[2]))
