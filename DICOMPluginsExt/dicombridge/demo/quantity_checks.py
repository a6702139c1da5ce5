"""The tour's comparisons for PET, standardized uptake values and parametric maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import dicombridge
from dicombridge.demo import comparison

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.demo.quantities import MapTruth
    from dicombridge.demo.tour import Row, Tour

__all__ = ["compare_map", "compare_map_exported", "compare_uptake", "compare_uptake_exported"]


def _same(node: Any, values: NDArray[Any], affine: NDArray[np.float64]) -> bool:
    """Whether a volume has these values, to one part in a million, on this grid."""
    got, placed = comparison.node_grid(node)
    return got.shape == values.shape and bool(
        np.allclose(got, values, rtol=1e-6, atol=1e-9 * float(np.abs(values).max()))
        and np.allclose(placed, affine, atol=1e-4)
    )


def compare_uptake(row: Row, tour: Tour) -> None:
    """The PET in SUV by body weight, against the tour's own arithmetic."""
    pet, uptake = tour.study.pet, tour.study.uptake
    (node,) = dicombridge.load(pet.uid, scene=tour.scene, database=tour.database, mapping="SUVbw")
    tour.loaded[f"{pet.uid} SUVbw"] = [node]
    row.voxels = uptake.size
    row.checks["truth"] = _same(node, uptake, pet.affine)
    row.checks["pydicom"] = _codes(node) == ("126400", "{SUVbw}g/ml")


def _codes(node: Any) -> tuple[str, str]:
    quantity, units = node.GetVoxelValueQuantity(), node.GetVoxelValueUnits()
    return quantity.GetCodeValue(), units.GetCodeValue()


def compare_uptake_exported(row: Row, tour: Tour) -> None:
    """The same as a mapping object, loaded again; and its slopes applied to the stored values by hand."""
    from pydicom import dcmread

    pet, uptake = tour.study.pet, tour.study.uptake
    nodes = tour.loaded[f"{pet.uid} SUVbw"]
    (path,) = dicombridge.export(nodes, tour.directory / "exported" / "suv", kind="RWVM", database=tour.database)
    (again,) = dicombridge.load(path, scene=dicombridge.new_scene(), database=tour.database)
    row.voxels = uptake.size
    row.checks["truth"] = _same(again, uptake, pet.affine)
    slopes = {}
    for item in dcmread(path).ReferencedImageRealWorldValueMappingSequence:
        mapping = item.RealWorldValueMappingSequence[0]
        line = float(mapping.RealWorldValueSlope), float(mapping.RealWorldValueIntercept)
        slopes.update({image.ReferencedSOPInstanceUID: line for image in item.ReferencedImageSequence})
    mapped = []
    for file in pet.files:
        image = dcmread(file)
        slope, intercept = slopes[image.SOPInstanceUID]
        mapped.append(image.pixel_array * slope + intercept)
    row.checks["pydicom"] = bool(np.allclose(np.stack(mapped), uptake, rtol=1e-6, atol=1e-9))


def compare_map(row: Row, tour: Tour, truth: MapTruth) -> None:
    """A float map of highdicom: bit for bit."""
    (node,) = tour.nodes_of(truth.file)
    _compare(row, node, truth, truth.file)


def compare_map_exported(row: Row, tour: Tour, truth: MapTruth) -> None:
    """The same, written by us."""
    nodes = tour.nodes_of(truth.file)
    (path,) = dicombridge.export(nodes, tour.directory / "exported" / "map", kind="PM", database=tour.database)
    (again,) = dicombridge.load(path, scene=dicombridge.new_scene(), database=tour.database)
    _compare(row, again, truth, path)


def _compare(row: Row, node: Any, truth: MapTruth, file: Path) -> None:
    import highdicom as hd

    got, affine = comparison.node_grid(node)
    row.voxels = got.size
    on_grid = comparison.on_grid(got, affine, truth.source.affine, truth.values.shape)
    row.checks["truth"] = on_grid.dtype == truth.values.dtype and bool(np.array_equal(on_grid, truth.values))
    image = hd.imread(file)  # highdicom 0.27 makes no volume of floating point frames, so they are placed here
    to_index = np.linalg.inv(truth.source.affine)
    theirs = np.zeros_like(truth.values)
    for frame, groups in zip(image.pixel_array, image.PerFrameFunctionalGroupsSequence, strict=True):
        position = [float(value) for value in groups.PlanePositionSequence[0].ImagePositionPatient]
        theirs[round(float((to_index @ [*position, 1.0])[0]))] = frame
    row.checks["highdicom"] = bool(np.array_equal(theirs, truth.values))
