"""Reading segmentation nodes and segmentation objects voxel by voxel, with arithmetic that owes the library nothing."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from support.volumes import array_of_image, elements_of

Points = NDArray[np.float64]

LABELMAP = "Binary labelmap"


# --- nodes -----------------------------------------------------------------------------------------------------------


def segment_ids(node: Any) -> list[str]:
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]


def segment_named(node: Any, name: str) -> Any:
    segmentation = node.GetSegmentation()
    (found,) = [one for one in map(segmentation.GetSegment, segment_ids(node)) if one.GetName() == name]
    return found


def names(node: Any) -> list[str]:
    return [node.GetSegmentation().GetSegment(one).GetName() for one in segment_ids(node)]


def tag(segment: Any, name: str) -> str:
    import vtk

    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def lps_of_ijk(image: Any) -> NDArray[np.float64]:
    """4x4 matrix of a ``vtkOrientedImageData``: column, row, slice to LPS mm."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    to_lps = elements_of(matrix)
    to_lps[:2] *= -1
    return to_lps


def image_of(segment: Any) -> Any:
    return segment.GetRepresentation(LABELMAP)


def mask_of(segment: Any) -> NDArray[np.bool_]:
    return array_of_image(image_of(segment)) == segment.GetLabelValue()


def points_of_mask(mask: NDArray[Any], lps: NDArray[np.float64]) -> Points:
    """LPS (n, 3) of the voxels of [slice, row, column] that are set."""
    k, j, i = np.nonzero(mask)
    return (lps @ np.stack([i, j, k, np.ones_like(i)]))[:3].T


def segment_values(segment: Any, tags: Iterable[str]) -> dict[str, Any]:
    """Colour (as CIELab is not finer than that), tags, and the places of the voxels, in an order of their own."""
    points = points_of_mask(mask_of(segment), lps_of_ijk(image_of(segment)))
    return {
        "colour": [round(255 * part) for part in segment.GetColor()],
        "tags": {name: tag(segment, name) for name in tags},
        "voxels": points[np.lexsort(np.round(points, 3).T)],
    }


def points_of_segment(node: Any, number: int) -> Points:
    segment = node.GetSegmentation().GetSegment(f"Segment_{number}")
    assert segment is not None, f"no segment {number} in {segment_ids(node)}"
    return points_of_mask(mask_of(segment), lps_of_ijk(image_of(segment)))


def assert_segment_is(nodes: Any, number: int, points: Points, tolerance: float = 1e-5) -> None:
    """The voxels of a segment are these LPS points: none moved by more than ``tolerance`` mm, none missing, none added.

    Of several nodes (stacks), each point is in one.
    """
    nodes = [nodes] if hasattr(nodes, "GetSegmentation") else [one for one in nodes if hasattr(one, "GetSegmentation")]
    open_points = np.asarray(points, dtype=float).reshape(-1, 3)
    total = 0
    for node in nodes:
        segment = node.GetSegmentation().GetSegment(f"Segment_{number}")
        assert segment is not None, f"no segment {number} in {segment_ids(node)}"
        mask, to_lps = mask_of(segment), lps_of_ijk(image_of(segment))
        total += int(mask.sum())
        found = _voxels_at(mask, to_lps, open_points, tolerance)
        open_points = open_points[~found]
    assert not len(open_points), f"{len(open_points)} of {len(points)} voxels are missing, e.g. at {open_points[0]}"
    assert total == len(points), f"{total - len(points)} voxels too many"


def _voxels_at(mask: NDArray[Any], to_lps: NDArray[np.float64], points: Points, tolerance: float) -> NDArray[np.bool_]:
    """Whether each point is the centre of a voxel that is set."""
    if not len(points):
        return np.zeros(0, dtype=bool)
    homogeneous = np.hstack([points, np.ones((len(points), 1))]).T
    nearest = np.rint((np.linalg.inv(to_lps) @ homogeneous)[:3]).astype(int)
    centres = to_lps @ np.vstack([nearest, np.ones(len(points))])
    near = np.abs(centres[:3].T - points).max(axis=1) <= tolerance
    sizes = np.array(mask.shape)[::-1, np.newaxis]
    inside = ((nearest >= 0) & (nearest < sizes)).all(axis=0)
    good = near & inside
    i, j, k = np.where(good, nearest, 0)
    assert len(np.unique(nearest[:, good], axis=1).T) == good.sum(), "two points fell on one voxel"
    return good & mask[k, j, i]


# --- segmentation objects, by the functional groups of each frame ----------------------------------------------------


def group_of(dataset: Dataset, frame: int, name: str) -> Dataset | None:
    own = (dataset.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * (frame + 1))[frame]
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    found = own.get(name) or shared.get(name)
    return found[0] if found else None


def frames_of(dataset: Dataset) -> NDArray[Any]:
    """pydicom's own reading of the pixels, (frames, rows, columns)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = np.asarray(dataset.pixel_array)
    return pixels.reshape(-1, dataset.Rows, dataset.Columns)


def points_of_frame(dataset: Dataset, frame: int, mask: NDArray[Any]) -> Points:
    """PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1."""
    position = group_of(dataset, frame, "PlanePositionSequence")
    orientation = group_of(dataset, frame, "PlaneOrientationSequence")
    measures = group_of(dataset, frame, "PixelMeasuresSequence")
    assert position is not None
    assert orientation is not None
    assert measures is not None
    origin = np.array(position.ImagePositionPatient, float)
    cosines = np.array(orientation.ImageOrientationPatient, float)
    between_rows, between_columns = map(float, measures.PixelSpacing)
    row, column = np.nonzero(mask)
    return origin + np.outer(column * between_columns, cosines[:3]) + np.outer(row * between_rows, cosines[3:])


def points_by_segment(
    dataset: Dataset, frames: NDArray[Any] | None = None, threshold: float = 0.5
) -> dict[int, Points]:
    """LPS points of each described segment, the background of a label map too."""
    frames = frames_of(dataset) if frames is None else frames
    kind = dataset.SegmentationType
    found: dict[int, list[Points]] = {int(item.SegmentNumber): [] for item in dataset.SegmentSequence}
    for number, pixels in enumerate(frames):
        if kind == "LABELMAP":
            for value in np.unique(pixels).tolist():
                found.setdefault(value, []).append(points_of_frame(dataset, number, pixels == value))
            continue
        identification = group_of(dataset, number, "SegmentIdentificationSequence")
        segment = int(identification.ReferencedSegmentNumber) if identification else next(iter(found))
        mask = pixels != 0 if kind == "BINARY" else pixels >= threshold * int(dataset.MaximumFractionalValue)
        found.setdefault(segment, []).append(points_of_frame(dataset, number, mask))
    return {segment: np.concatenate(parts) if parts else np.empty((0, 3)) for segment, parts in found.items()}
