"""Grids, B-splines and chains of transforms -> Deformable Spatial Registration objects, and back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from support.peers import run, tool
from support.registration_exports import (
    ASYMMETRIC,
    FIXED,
    FLIP,
    MOVING,
    OTHER,
    Study,
    applied,
    code,
    grid_index,
    grid_vectors,
    numbers_of,
    ras,
    through_dataset,
    through_node,
    write_object,
)

import dicombridge

INSIDE = np.array([[-25.0, 20.0], [-30.0, 18.0], [-5.0, 15.0]])
"""LPS mm: within the fixed volume and all grids, whatever the transform does to the points."""
SHEAR = np.array([[1.02, 0.03, 0, 2.5], [0, 0.97, -0.02, -1.5], [0.01, 0, 1.01, 3.0], [0, 0, 0, 1]])
SLIGHT = np.array([[0.9950041652780258, -0.0998334166468282, 0, 1.5], [0.0998334166468282, 0.9950041652780258, 0, -2],
                   [0, 0, 1, 3], [0, 0, 0, 1]])  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "in")


def points(count: int = 1000) -> NDArray[np.float64]:
    return np.random.default_rng(7).uniform(INSIDE[:, 0], INSIDE[:, 1], (count, 3))


def grid_transform(
    vectors: NDArray[Any], spacing: tuple[float, ...], origin: tuple[float, ...], axes: Any = None
) -> Any:
    """A displacement grid in RAS, vectors [k, j, i, 3]."""
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    image = vtkImageData()
    image.SetDimensions(*vectors.shape[2::-1])
    image.SetSpacing(*spacing)
    image.SetOrigin(*origin)
    image.GetPointData().SetScalars(numpy_to_vtk(vectors.reshape(-1, 3), deep=True))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    transform.SetInterpolationModeToLinear()
    if axes is not None:
        matrix = vtkMatrix4x4()
        matrix.DeepCopy(np.block([[axes, np.zeros((3, 1))], [0, 0, 0, 1]]).ravel().tolist())
        transform.SetGridDirectionMatrix(matrix)
    return transform


def smooth(shape: tuple[int, int, int] = (10, 9, 8), size: float = 2.0, dtype: str = "f8") -> NDArray[Any]:
    """Vectors that differ along all axes and in all components."""
    k, j, i = np.indices(shape)
    return np.stack([size * np.sin(0.5 * i + 0.1 * k), size * np.cos(0.4 * j), size * np.sin(0.3 * k + 0.2 * i + 1)],
                    axis=-1).astype(dtype)  # fmt: skip


def grid_node(study: Study, to_parent: bool = False, size: float = 2.0, axes: Any = None) -> Any:
    node = study.scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Warp")
    transform = grid_transform(smooth(size=size), (12.0, 13.0, 14.0), (-45.0, -40.0, -60.0), axes)
    if to_parent:
        node.SetAndObserveTransformToParent(transform)
    else:
        node.SetAndObserveTransformFromParent(transform)
    return node


def spline_node(study: Study) -> Any:
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(9, 9, 9)
    image.SetSpacing(20.0, 20.0, 20.0)
    image.SetOrigin(-80.0, -80.0, -80.0)
    vectors = smooth((9, 9, 9), 4.0)
    image.GetPointData().SetScalars(numpy_to_vtk(vectors.reshape(-1, 3), deep=True))
    transform = slicer.vtkOrientedBSplineTransform()
    transform.SetCoefficientData(image)
    node = study.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Spline")
    node.SetAndObserveTransformFromParent(transform)
    return node


def composite(study: Study, *steps: Any) -> Any:
    """A node whose transform from parent is these steps, in that order; matrices are in LPS."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    whole = vtkGeneralTransform()
    whole.PostMultiply()
    for step in steps:
        if isinstance(step, np.ndarray):
            matrix = vtkMatrix4x4()
            matrix.DeepCopy(ras(step).ravel().tolist())
            whole.Concatenate(matrix)
        else:
            whole.Concatenate(step)
    node = study.scene.AddNewNodeByClass("vtkMRMLTransformNode", "Composite")
    node.SetAndObserveTransformFromParent(whole)
    return node


def written_item(study: Study, node: Any, folder: str = "out", **options: Any) -> Dataset:
    sides = {"moving": study.volumes[MOVING], "fixed": study.volumes[FIXED]}
    dataset = study.export(node, folder, kind="DEFORM", **{**sides, **options})
    assert dataset.FrameOfReferenceUID == options.get("fixed", FIXED)
    (item,) = dataset.DeformableRegistrationSequence
    return item


# --- Direction, exactness ------------------------------------------------------------------------------------------


def test_grid_leads_from_registered_to_source(study: Study) -> None:
    """PS3.3 C.20.3.1.1: what resamples, i.e. the transform from parent of what moves."""
    node = grid_node(study)
    item = written_item(study, node)
    assert item.SourceFrameOfReferenceUID == MOVING
    assert np.abs(through_dataset(item, points()) - through_node(node, points(), to_parent=False)).max() < 1e-4
    grid = item.DeformableRegistrationGridSequence[0]
    assert list(grid.GridDimensions) == [8, 9, 10]
    assert np.array_equal(grid_vectors(grid), (smooth() * FLIP).astype("f4"))


def test_grid_of_left_handed_or_oblique_axes(study: Study) -> None:
    turned = ASYMMETRIC[:3, :3]
    for axes in (np.eye(3) * [1, 1, -1.0], turned, turned * [-1.0, 1, 1], turned[:, [1, 0, 2]]):
        node = study.scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Oblique")
        half = axes @ (np.array([7 * 20.0, 8 * 20, 9 * 20]) / 2)
        node.SetAndObserveTransformFromParent(grid_transform(smooth(), (20.0, 20.0, 20.0), tuple(-half), axes))
        item = written_item(study, node, f"out{study.scene.GetNumberOfNodes()}")
        grid = item.DeformableRegistrationGridSequence[0]
        assert min(grid.GridResolution) > 0
        found = through_dataset(item, points())
        assert np.abs(found - through_node(node, points(), to_parent=False)).max() < 1e-4


@pytest.mark.parametrize("kind", ["before", "after", "both"])
def test_linear_parts_are_written_as_matrices(study: Study, kind: str) -> None:
    grid = grid_transform(smooth(), (14.0, 14.0, 14.0), (-55.0, -45.0, -60.0))
    steps = {"before": (SLIGHT, grid), "after": (grid, SHEAR), "both": (SLIGHT, grid, SHEAR)}[kind]
    node = composite(study, *steps)
    item = written_item(study, node)
    for name, matrix, is_there in (("Pre", SLIGHT, kind != "after"), ("Post", SHEAR, kind != "before")):
        sequence = item.get(f"{name}DeformationMatrixRegistrationSequence")
        assert (sequence is not None) is is_there
        if sequence:
            found = np.array(sequence[0].FrameOfReferenceTransformationMatrix, dtype=float).reshape(4, 4)
            assert np.abs(found - matrix).max() < 1e-12
            assert sequence[0].FrameOfReferenceTransformationMatrixType == {"Pre": "RIGID", "Post": "AFFINE"}[name]
    vectors = grid_vectors(item.DeformableRegistrationGridSequence[0])
    assert np.array_equal(vectors, (smooth() * FLIP).astype("f4"))
    assert np.abs(through_dataset(item, points()) - through_node(node, points(), to_parent=False)).max() < 1e-4


def test_shear_before_the_grid_is_sampled(study: Study) -> None:
    """The grid would not be straight in the registered frame."""
    node = composite(study, SHEAR, grid_transform(smooth(), (14.0, 14.0, 14.0), (-55.0, -45.0, -60.0)), SLIGHT)
    item = written_item(study, node, spacing_mm=2.0)
    assert "PreDeformationMatrixRegistrationSequence" in item
    assert list(item.DeformableRegistrationGridSequence[0].GridResolution) == [2.0, 2.0, 2.0]
    assert np.abs(through_dataset(item, points()) - through_node(node, points(), to_parent=False)).max() < 0.1


def test_transform_to_parent_is_inverted_by_sampling(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    node = grid_node(study, to_parent=True, size=1.0)
    with caplog.at_level(logging.INFO):
        item = written_item(study, node, spacing_mm=2.0)
    found = through_dataset(item, points())
    difference = np.linalg.norm(found - through_node(node, points(), to_parent=False), axis=1).max()
    assert difference < 0.2
    assert np.linalg.norm(through_node(node, found) - points(), axis=1).max() < 0.2
    (said,) = [record.args for record in caplog.records if "sampled every" in record.getMessage()]
    assert said[1] == pytest.approx(2.0)
    assert difference <= said[3] * 1.5


def test_spline_is_sampled_over_the_fixed_volume(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    node = spline_node(study)
    with caplog.at_level(logging.INFO):
        coarse = written_item(study, node)
    fine = written_item(study, node, "fine", spacing_mm=1.5)
    truth = through_node(node, points(), to_parent=False)
    errors = [np.linalg.norm(through_dataset(item, points()) - truth, axis=1).max() for item in (coarse, fine)]
    assert errors[1] < 0.02
    assert errors[1] < errors[0] < 0.3
    grid = coarse.DeformableRegistrationGridSequence[0]
    assert grid.GridResolution == pytest.approx([20 / 3] * 3)
    shape = np.array(pydicom.dcmread(study.files[FIXED][0]).get("PixelSpacing"), dtype=float)
    corners = np.array([[-30 - shape[1] / 2, -40 - shape[0] / 2, -12.5], [39 + shape[1] / 2, 36 + shape[0] / 2, 17.5]])
    index = grid_index(grid, corners)
    assert np.abs(index[0]).max() < 1e-9
    assert (index[1] <= np.array(grid.GridDimensions) - 1 + 1e-6).all()
    (said,) = [record.args for record in caplog.records if "6.67 mm" in record.getMessage()]
    assert 0.5 * errors[0] < said[3] < 2 * errors[0]


def test_series_of_the_database_gives_the_region(study: Study) -> None:
    uid = str(pydicom.dcmread(study.files[FIXED][0]).SeriesInstanceUID)
    one = written_item(study, spline_node(study), spacing_mm=6.0)
    dataset = study.export(spline_node(study), "two", kind="DEFORM", moving=MOVING, fixed=uid, spacing_mm=6.0)
    two = dataset.DeformableRegistrationSequence[0]
    grids = [item.DeformableRegistrationGridSequence[0] for item in (one, two)]
    assert grids[0] == grids[1]


def test_oblique_fixed_volume_is_covered(tmp_path: Path) -> None:
    from support.registration_exports import write_series

    study = Study(tmp_path / "in", (MOVING,))
    cosines = tuple(np.concatenate([ASYMMETRIC[:3, 0], ASYMMETRIC[:3, 1]]).tolist())
    write_series(tmp_path / "in" / "oblique", FIXED, orientation=cosines)
    study.database.refresh()
    series = f"{FIXED}.620"
    dataset = study.export(spline_node(study), kind="DEFORM", moving=MOVING, fixed=series, spacing_mm=7.0)
    grid = dataset.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0]
    assert np.abs(np.array(grid.ImageOrientationPatient, dtype=float) - cosines).max() < 1e-12
    assert np.abs(grid_index(grid, np.array([[-30.0, -40, -10]]))[0] * 7 - [1.5, 2, 2.5]).max() < 1e-9


def test_linear_transform_is_a_matrix_and_a_grid_of_zeros(study: Study) -> None:
    """At least one item must have a grid (PS3.3 C.20.3)."""
    node = study.linear(ASYMMETRIC)
    item = written_item(study, node)
    assert not grid_vectors(item.DeformableRegistrationGridSequence[0]).any()
    assert np.abs(through_dataset(item, points()) - applied(np.linalg.inv(ASYMMETRIC), points())).max() < 1e-9


def test_chain_of_nodes_up_to_the_fixed_volume(study: Study) -> None:
    grid, turn, of_fixed = grid_node(study), study.linear(SLIGHT), study.linear(SHEAR)
    turn.SetAndObserveTransformNodeID(grid.GetID())
    study.volumes[FIXED].SetAndObserveTransformNodeID(of_fixed.GetID())
    item = written_item(study, turn, spacing_mm=2.0)
    expected = through_node(turn, applied(SHEAR, points()), to_parent=False)
    assert np.abs(through_dataset(item, points()) - expected).max() < 0.1


# --- Both directions, round trips ----------------------------------------------------------------------------------


def test_swapped_sides_write_the_inverse(study: Study) -> None:
    node = grid_node(study, to_parent=True)
    node.SetNodeReferenceID("spatialRegistrationMoving", study.volumes[MOVING].GetID())
    node.SetNodeReferenceID("spatialRegistrationFixed", study.volumes[FIXED].GetID())
    dataset = study.export(node, kind="DEFORM", moving=study.volumes[FIXED], fixed=study.volumes[MOVING])
    assert dataset.FrameOfReferenceUID == MOVING
    (item,) = dataset.DeformableRegistrationSequence
    assert item.SourceFrameOfReferenceUID == FIXED
    # The grid leads that way: nothing is sampled.
    assert np.array_equal(grid_vectors(item.DeformableRegistrationGridSequence[0]), (smooth() * FLIP).astype("f4"))
    assert np.abs(through_dataset(item, points()) - through_node(node, points())).max() < 1e-4


@pytest.mark.parametrize("kind", ["grid", "composite", "linear"])
def test_export_then_import_is_the_identity_on_points(study: Study, kind: str) -> None:
    grid = grid_transform(smooth(), (14.0, 14.0, 14.0), (-55.0, -45.0, -60.0))
    node = {
        "grid": lambda: grid_node(study),
        "composite": lambda: composite(study, SLIGHT, grid, SHEAR),
        "linear": lambda: study.linear(ASYMMETRIC),
    }[kind]()
    sides = {"moving": study.volumes[MOVING], "fixed": study.volumes[FIXED]}
    (path,) = dicombridge.export(node, study.folder / "out", kind="DEFORM", database=study.database, **sides)
    (again,) = dicombridge.load(path, scene=study.scene, database=study.database)
    for to_parent in (False, True):
        difference = through_node(again, points(), to_parent) - through_node(node, points(), to_parent)
        assert np.abs(difference).max() < (2e-2 if to_parent else 1e-4)  # to parent, VTK iterates until it is this near


def deformation_item(frame: str, vectors: NDArray[Any] | None, pre: Any = None, post: Any = None) -> Dataset:
    """An item as another program may have written it."""
    item = Dataset()
    item.SourceFrameOfReferenceUID = frame
    item.FrameOfReferenceTransformationComment = f"Warped {frame}"
    item.RegistrationTypeCodeSequence = [code("125024", "Image Content-based Alignment")]
    for name, matrix in (("Pre", pre), ("Post", post)):
        if matrix is not None:
            one = Dataset()
            one.FrameOfReferenceTransformationMatrixType = "AFFINE"
            one.FrameOfReferenceTransformationMatrix = numbers_of(matrix)
            setattr(item, f"{name}DeformationMatrixRegistrationSequence", [one])
    if vectors is not None:
        grid = Dataset()
        grid.ImagePositionPatient = ["-50.5", "-4.05e1", "-60"]
        grid.ImageOrientationPatient = ["0.6", "0.8", "0", "-0.8", "0.6", "0.0"]
        grid.GridDimensions = list(vectors.shape[2::-1])
        grid.GridResolution = [12.0, 13.0, 14.0]
        grid.add_new(0x00640009, "OF", vectors.astype("<f4").tobytes())
        item.DeformableRegistrationGridSequence = [grid]
    return item


def loaded(study: Study, *items: Dataset) -> tuple[Dataset, list[Any]]:
    values = {"DeformableRegistrationSequence": list(items)}
    path = write_object(study.folder / "deform.dcm", "1.2.840.10008.5.1.4.1.1.66.3", **values)
    return pydicom.dcmread(path), dicombridge.load(path, scene=study.scene, database=study.database)


@pytest.mark.parametrize("pre", [None, np.eye(4), SLIGHT], ids=["no-pre", "identity", "pre"])
@pytest.mark.parametrize("post", [None, SHEAR], ids=["no-post", "post"])
def test_unedited_deformation_comes_back(study: Study, pre: Any, post: Any) -> None:
    vectors = smooth().astype("f4")
    vectors[3, 2, 1] = np.nan
    vectors[0, 0, :2] = np.nan
    before, nodes = loaded(study, deformation_item(MOVING, vectors, pre, post))
    after = study.export(nodes, kind="DEFORM")
    one, two = before.DeformableRegistrationSequence[0], after.DeformableRegistrationSequence[0]
    assert one == two  # the grid, the matrices, the comment and the code, to the last digit
    for name in ("Pre", "Post"):
        several = [item.get(f"{name}DeformationMatrixRegistrationSequence") or [] for item in (one, two)]
        for first, second in zip(*several, strict=True):
            values = [
                [value.original_string for value in matrix.FrameOfReferenceTransformationMatrix]
                for matrix in (first, second)
            ]
            assert values[0] == values[1]
    kept = np.frombuffer(two.DeformableRegistrationGridSequence[0].VectorGridData, "<f4").reshape(vectors.shape)
    assert np.array_equal(kept, vectors, equal_nan=True)


def test_unedited_after_a_scene_file(study: Study, tmp_path: Path) -> None:
    from dicombridge.cli.common import read_scene, save_scene

    vectors = smooth().astype("f4")
    vectors[3, 2, 1] = np.nan
    before, (node,) = loaded(study, deformation_item(MOVING, vectors, SLIGHT, SHEAR))
    name = node.GetName()
    save_scene(study.scene, tmp_path / "scene.mrb")
    scene = read_scene(str(tmp_path / "scene.mrb"))
    after = study.export(scene.GetFirstNodeByName(name), kind="DEFORM")
    one, two = before.DeformableRegistrationSequence[0], after.DeformableRegistrationSequence[0]
    grids = [item.DeformableRegistrationGridSequence[0] for item in (one, two)]
    # Equal numbers, not equal bits: a scene file has no negative zeros.
    assert np.array_equal(grid_vectors(grids[0]), grid_vectors(grids[1]), equal_nan=True)
    for grid in grids:
        del grid.VectorGridData
    assert one == two


def test_several_sources_are_one_object(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    items = [deformation_item(MOVING, smooth(), SLIGHT), deformation_item(OTHER, None, None, SHEAR)]
    before, nodes = loaded(study, *items)
    after = study.export(nodes, kind="DEFORM")
    assert list(before.DeformableRegistrationSequence) == list(after.DeformableRegistrationSequence)
    with caplog.at_level(logging.WARNING):
        alone = study.export(nodes[1], "alone", kind="DEFORM")
    assert MOVING in caplog.text
    (item,) = alone.DeformableRegistrationSequence
    assert item.SourceFrameOfReferenceUID == OTHER
    assert not grid_vectors(item.DeformableRegistrationGridSequence[0]).any()


def test_edited_grid_is_written(study: Study) -> None:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    _, (node,) = loaded(study, deformation_item(MOVING, smooth()))
    scalars = node.GetTransformFromParent().GetDisplacementGrid().GetPointData().GetScalars()
    vtk_to_numpy(scalars)[5] = [-7.0, -8.0, 9.0]
    node.GetTransformFromParent().GetDisplacementGrid().Modified()
    item = study.export(node, kind="DEFORM").DeformableRegistrationSequence[0]
    vectors = grid_vectors(item.DeformableRegistrationGridSequence[0]).reshape(-1, 3)
    assert vectors[5].tolist() == [7.0, 8.0, 9.0]
    others = np.delete(vectors, 5, axis=0)
    assert np.array_equal(others, np.delete(smooth().astype("f4").reshape(-1, 3), 5, axis=0))


# --- What cannot be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [0, -1, "wide", float("nan"), 0.01])
def test_impossible_spacings(study: Study, spacing: Any) -> None:
    with pytest.raises(dicombridge.errors.ExportError, match="spacing_mm"):
        written_item(study, spline_node(study), spacing_mm=spacing)
    assert not list(study.folder.parent.glob("out/*"))


def test_undefined_vectors_cannot_be_sampled_silently(study: Study, caplog: pytest.LogCaptureFixture) -> None:
    vectors = smooth().astype("f4")
    vectors[3, 2, 1] = np.nan
    _, nodes = loaded(study, deformation_item(MOVING, vectors))
    caplog.clear()
    item = study.export(nodes, kind="DEFORM", fixed=study.volumes[FIXED], spacing_mm=8).DeformableRegistrationSequence[
        0
    ]
    assert np.isfinite(grid_vectors(item.DeformableRegistrationGridSequence[0])).all()
    assert "undefined" in caplog.text


def test_cancelled_export_leaves_nothing(study: Study) -> None:
    told: list[float] = []

    def stop(fraction: float, message: str) -> None:
        told.append(fraction)
        if len(told) == 8:
            raise KeyboardInterrupt

    sides = {"moving": MOVING, "fixed": study.volumes[FIXED], "spacing_mm": 2}
    with pytest.raises(KeyboardInterrupt):
        dicombridge.export(spline_node(study), study.folder / "out", progress=stop, **sides)
    assert told == sorted(told)
    assert list((study.folder / "out").iterdir()) == []


def test_default_spacing_is_bounded(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from dicombridge.deformation import sampling

    monkeypatch.setattr(sampling, "MOST_VECTORS", 300)
    grid = written_item(study, spline_node(study)).DeformableRegistrationGridSequence[0]
    assert np.prod(grid.GridDimensions) <= 300


def test_valid_and_consistent_with_the_images(study: Study) -> None:
    grid = grid_transform(smooth(), (14.0, 14.0, 14.0), (-55.0, -45.0, -60.0))
    sides = {"moving": study.volumes[MOVING], "fixed": study.volumes[FIXED]}
    paths = []
    for number, node in enumerate([composite(study, SLIGHT, grid, SHEAR), spline_node(study), study.linear(SHEAR)]):
        folder = study.folder / f"out{number}"
        paths += dicombridge.export(node, folder, kind="DEFORM", database=study.database, **sides)
    _, nodes = loaded(study, deformation_item(MOVING, smooth(), SLIGHT))
    paths += dicombridge.export(nodes, study.folder / "again", kind="DEFORM", database=study.database)
    others = [study.folder / "deform.dcm", *(path for files in study.files.values() for path in files)]
    for path in paths:
        assert faults(path) == []
        done = run(tool("dcentvfy"), path, *others, check=False)
        assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []
