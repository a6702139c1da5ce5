"""The tour's comparisons for registrations: a scan that was moved lands on the one that it was registered to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import dicombridge
from dicombridge import geometry, preview
from dicombridge.demo import comparison
from dicombridge.output.volumes import points_from_world, sampled

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dicombridge.demo.phantom import PhantomSeries
    from dicombridge.demo.tour import Row, Tour

__all__ = ["compare_deformation", "compare_registration", "compare_registration_exported", "draw_motion"]

_NOISE_HU = 16.0
"""Mean difference of two scans of one body, each with noise of 11 HU, and of one that was interpolated."""


_ELSEWHERE_HU = 250.0
"""Voxels that differ by more show different organs; a few are left, where an edge is interpolated."""


def compare_registration(row: Row, tour: Tour) -> None:
    """The matrix in the scene, point by point; and the moved scan, resampled, against the fixed one."""
    motion = tour.study.motion
    (transform,) = tour.nodes_of(motion.registration)
    points = np.random.default_rng(7).uniform(-150, 150, (1000, 3))
    expected = points @ motion.matrix[:3, :3].T + motion.matrix[:3, 3]
    row.checks["truth"] = bool(np.allclose(_to_world(transform, points), expected, atol=1e-9))
    _compare_scans(row, tour, motion.moved, transform)


def compare_deformation(row: Row, tour: Tour) -> None:
    """The breathed scan, resampled, against the fixed one."""
    motion = tour.study.motion
    (transform,) = tour.nodes_of(motion.deformation)
    row.checks["truth"] = True
    _compare_scans(row, tour, motion.breathed, transform)


def _compare_scans(row: Row, tour: Tour, scan: PhantomSeries, transform: Any) -> None:
    fixed = tour.study.motion.fixed
    before, after, known = landed(tour, scan, transform)
    row.voxels = int(known.sum())
    flat = float(np.abs(after - fixed.values)[known].mean())
    elsewhere = [
        float((np.abs(one - fixed.values) > _ELSEWHERE_HU)[np.isfinite(after)].mean()) for one in (before, after)
    ]
    row.checks["truth"] = row.checks["truth"] and flat < _NOISE_HU and elsewhere[1] < 0.2 * elsewhere[0]


def landed(tour: Tour, scan: PhantomSeries, transform: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Return a scan on the grid of the fixed one: as it lies, and through its transform; and where both are known.

    Edges of organs are left out of the last: there a voxel is part this and part that, on each grid otherwise.
    """
    (node,) = tour.loaded[scan.uid]
    (fixed,) = tour.loaded[tour.study.motion.fixed.uid]
    values, _ = comparison.node_grid(node)
    own, target = geometry.volume_geometry(node), geometry.volume_geometry(fixed)
    before = values.astype(np.float32)
    after = sampled(before, own, target, np.nan, points_from_world(transform))
    reference, _ = comparison.node_grid(fixed)
    steep = np.zeros(reference.shape, dtype=bool)
    for axis in range(3):
        step = np.abs(np.diff(reference.astype(float), axis=axis)) > 60
        for part in (slice(1, None), slice(None, -1)):
            place: list[Any] = [slice(None)] * 3
            place[axis] = part
            steep[tuple(place)] |= step
    return before, after, np.isfinite(after) & ~steep


def _to_world(transform: Any, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where (n, 3) LPS points of the moving frame of reference come to lie."""
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    general = vtkGeneralTransform()
    transform.GetTransformToWorld(general)
    moved = [general.TransformPoint(*point) for point in geometry.lps_ras_points(points)]
    return geometry.lps_ras_points(np.array(moved))


def compare_registration_exported(row: Row, tour: Tour) -> None:
    """The same registration, written by us: every number as it was."""
    from pydicom import dcmread

    motion = tour.study.motion
    nodes = tour.nodes_of(motion.registration)
    folder = tour.directory / "exported" / "registration"
    (path,) = dicombridge.export(nodes, folder, kind="REG", database=tour.database)
    before, after = (_matrices(file) for file in (motion.registration, path))
    row.checks["truth"] = after == before
    row.checks["pydicom"] = len(after) == 2 and bool(
        np.allclose(np.array(dcmread(path).RegistrationSequence[1].MatrixRegistrationSequence[0].MatrixSequence[0]
                             .FrameOfReferenceTransformationMatrix, dtype=float).reshape(4, 4), motion.matrix)
    )  # fmt: skip


def _matrices(path: Path) -> dict[str, list[list[str]]]:
    """Return the numbers, as they are written, of the matrices of each frame of reference."""
    from pydicom import dcmread

    return {
        str(item.FrameOfReferenceUID): [
            [str(value) for value in one.FrameOfReferenceTransformationMatrix]
            for one in item.MatrixRegistrationSequence[0].MatrixSequence
        ]
        for item in dcmread(path).RegistrationSequence
    }


def draw_motion(tour: Tour) -> list[Path]:
    """Draw chequerboards of the fixed scan and a moved one, before and after: edges of organs match, or do not."""
    motion = tour.study.motion
    (fixed,) = tour.loaded[motion.fixed.uid]
    reference, _ = comparison.node_grid(fixed)
    numbers = [np.arange(size) // step for size, step in zip(reference.shape, (8, 16, 16), strict=True)]
    squares = sum(np.meshgrid(*numbers, indexing="ij")) % 2 == 0
    paths = []
    for scan, file in ((motion.moved, motion.registration), (motion.breathed, motion.deformation)):
        (transform,) = tour.nodes_of(file)
        before, after, _ = landed(tour, scan, transform)
        for name, values in (("before", before), ("after", after)):
            mixed = np.where(squares, reference, np.nan_to_num(values, nan=-1000.0)).astype(np.float32)
            node = _copy(fixed, mixed, f"{scan.name} and CT in squares, {name} registration")
            paths.append(preview.render(node, tour.directory / "previews" / f"{file.stem}_{name}.png"))
            node.GetScene().RemoveNode(node)
    return paths


def _copy(volume: Any, values: NDArray[np.float32], name: str) -> Any:
    """Return a volume of other values on the same grid, with the same window."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*values.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))
    node = volume.GetScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.CopyOrientation(volume)
    node.SetAndObserveImageData(image)
    node.SetAndObserveDisplayNodeID(volume.GetDisplayNodeID())
    return node
