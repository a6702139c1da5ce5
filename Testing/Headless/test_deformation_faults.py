"""Faults that other readers of deformations have and we may not; and deformations that contradict themselves.

SlicerRT puts the cosines of a grid into the rows of its matrix, folds the matrix before into the grid's orientation
alone, never uses the matrix after, takes the grid the wrong way round, and keeps the last item only.
"""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from support.damage_child import scene_state
from support.registrations import (
    AFFINE,
    FIXED,
    MOVING,
    OTHER,
    RIGID,
    TRANSLATION,
    deformation,
    deformed,
    field,
    from_parent,
    grid_item,
    loaded,
    matrix,
    points_in,
    registered,
    registration,
    rotation,
    sampled,
    smooth_field,
    written,
)

import dicombridge
from dicombridge.errors import DicomBridgeError, UnsupportedError
from dicombridge.registration.attributes import SOURCE_FRAME

TURNED = rotation(0.4, -0.3, 0.6)
OBLIQUE = [*TURNED[:, 0], *TURNED[:, 1]]

# --- What others get wrong -----------------------------------------------------------------------------------------


def test_cosines_are_columns(tmp_path: Path) -> None:
    """The vector at column 1 lies one step along the row direction, whatever its transpose says."""
    vectors = np.zeros((2, 2, 2, 3), np.float32)
    vectors[0, 0, 1] = 9, 8, 7
    grid = grid_item(vectors, (1, 2, 3), OBLIQUE, (10, 20, 30))
    (node,) = loaded(written(deformation([deformed(MOVING, grid)]), tmp_path / "deform.dcm"))
    place = np.array([[1.0, 2, 3]]) + 10 * TURNED[:, 0]
    np.testing.assert_allclose(from_parent(node, place) - place, [[9, 8, 7]], rtol=0, atol=1e-3)


def test_vectors_are_in_patient_axes_not_in_those_of_the_grid(tmp_path: Path) -> None:
    vectors = np.zeros((2, 2, 2, 3), np.float32) + np.float32([5, 0, 0])
    grid = grid_item(vectors, orientation=OBLIQUE)
    (node,) = loaded(written(deformation([deformed(MOVING, grid)]), tmp_path / "deform.dcm"))
    np.testing.assert_allclose(from_parent(node, np.zeros((1, 3))), [[5, 0, 0]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("which", ["pre", "post"])
def test_no_matrix_is_left_out(which: str, tmp_path: Path) -> None:
    still = np.zeros((2, 2, 2, 3), np.float32)
    item = deformed(MOVING, grid_item(still), **{which: RIGID})  # type: ignore[arg-type]
    (node,) = loaded(written(deformation([item]), tmp_path / "deform.dcm"))
    np.testing.assert_allclose(from_parent(node, np.zeros((1, 3))), [RIGID[:3, 3]], rtol=0, atol=1e-9)


def test_the_direction_is_that_of_sampling(tmp_path: Path) -> None:
    """A voxel of the fixed grid takes its value from x + d: data of the moving frame goes the other way."""
    vectors = np.zeros((3, 3, 3, 3), np.float32) + np.float32([5, 0, 0])
    (node,) = loaded(written(deformation([deformed(MOVING, grid_item(vectors))]), tmp_path / "deform.dcm"))
    scene = node.scene_of_test
    point = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    point.AddControlPoint(-5.0, 0.0, 0.0)  # RAS: 5 mm to the left, in the moving frame
    point.SetAndObserveTransformNodeID(node.GetID())
    np.testing.assert_allclose(point.GetNthControlPointPositionWorld(0), [0, 0, 0], atol=1e-3)


def test_all_items_are_kept(tmp_path: Path) -> None:
    ds = deformation([deformed(MOVING, grid_item(field())), deformed(OTHER, grid_item(field(seed=5)))])
    nodes = loaded(written(ds, tmp_path / "deform.dcm"))
    assert [node.GetAttribute(SOURCE_FRAME) for node in nodes] == [MOVING, OTHER]
    places = points_in(ds.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0])
    for node, item in zip(nodes, ds.DeformableRegistrationSequence, strict=True):
        np.testing.assert_allclose(from_parent(node, places), sampled(item, places), rtol=0, atol=1e-4)


def test_one_undefined_vector_does_not_spread(tmp_path: Path) -> None:
    vectors = field((5, 5, 5))
    vectors[0, 0, 0] = np.nan
    (node,) = loaded(written(deformation([deformed(MOVING, grid_item(vectors))]), tmp_path / "deform.dcm"))
    assert np.isfinite(from_parent(node, points_in(grid_item(vectors), margin=0.5))).all()


# --- What a person should know -------------------------------------------------------------------------------------


def test_doubts_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    two = deformed(OTHER, grid_item(field()))
    two.DeformableRegistrationGridSequence.append(grid_item(field(seed=9)))
    items = [
        deformed(MOVING, grid_item(field(), resolution=(3, -4, 5)), AFFINE),
        two,
        deformed("1.2.3.77"),
    ]
    path = written(deformation(items), tmp_path / "deform.dcm")
    nodes = loaded(path)
    database = dicombridge.open_folder(tmp_path)
    (loadable,) = dicombridge.examine(database)
    for words in (
        "Item 1: A matrix that is called rigid is not",
        "Item 1: Its grid has a negative resolution",
        "Item 2: It has 2 grids where the standard has one",
        "Item 3: It has neither a grid nor a matrix that moves anything",
    ):
        assert words in loadable.warning
        assert words in caplog.text
    database.close()
    places = points_in(items[1].DeformableRegistrationGridSequence[0])
    np.testing.assert_allclose(from_parent(nodes[1], places), sampled(items[1], places), rtol=0, atol=1e-4)


# --- What cannot be loaded -----------------------------------------------------------------------------------------


def with_values(grid: Dataset, **values: Any) -> Dataset:
    for keyword, value in values.items():
        if value is None:
            del grid[keyword]
        else:
            setattr(grid, keyword, value)
    return grid


def filled(value: float) -> Dataset:
    vectors = field()
    vectors[2, 2, 2] = value
    return grid_item(vectors)


SINGULAR = matrix([[1, 2, 3], [2, 4, 6], [0, 0, 1]])
TOO_MANY = r"a grid of 7 x 5 x 7 vectors needs 2940 bytes, its Vector Grid Data has 2520"
WRONG = {
    "more planes": (deformed(MOVING, grid_item(field(), dimensions=(7, 5, 7))), TOO_MANY),
    "huge": (deformed(MOVING, grid_item(field(), dimensions=(60000, 60000, 60000))), "needs 2592000000000000 bytes"),
    "negative": (deformed(MOVING, with_values(grid_item(field()), GridDimensions=[0, 5, 6])), "0, 5, 6, not three"),
    "two sizes": (deformed(MOVING, with_values(grid_item(field()), GridDimensions=[7, 30])), "GridDimensions of 3"),
    "no vectors": (deformed(MOVING, with_values(grid_item(field()), VectorGridData=None)), "Vector Grid Data has 0"),
    "no place": (deformed(MOVING, with_values(grid_item(field()), ImagePositionPatient=None)), "no ImagePositionPati"),
    "no orientation": (
        deformed(MOVING, with_values(grid_item(field()), ImageOrientationPatient=None)),
        "no ImageOrientationPatient of 6",
    ),
    "no plane": (deformed(MOVING, grid_item(field(), orientation=(1, 0, 0, 1, 0, 0))), "two perpendicular unit vect"),
    "no resolution": (deformed(MOVING, grid_item(field(), resolution=(3, 0, 5))), "Resolution is 3, 0, 5, not three"),
    "infinite resolution": (deformed(MOVING, grid_item(field(), resolution=(3, np.inf, 5))), "no GridResolution of 3"),
    "wide": (deformed(MOVING, grid_item(field(), resolution=(9e5, 1, 1))), "reaches beyond 1e\\+06 mm"),
    "all undefined": (deformed(MOVING, grid_item(np.full((6, 5, 7, 3), np.nan))), "none of the vectors .* is defined"),
    "infinite": (deformed(MOVING, filled(np.inf)), "a vector of its grid is infinite"),
    "far": (deformed(MOVING, filled(-2e6)), "longer than 1e\\+06 mm"),
    "singular before": (deformed(MOVING, grid_item(field()), pre=SINGULAR), "matrix before .*: it is singular"),
    "singular after": (deformed(MOVING, grid_item(field()), post=SINGULAR), "matrix after .*: it is singular"),
    "columns": (deformed(MOVING, grid_item(field()), post=TRANSLATION.T), "written column by column"),
    "no frame": (deformed(None, grid_item(field())), "item 2 .*no Source Frame of Reference UID"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str, tmp_path: Path, scene: Any) -> None:
    """An error that names the file, and nothing is left in the scene of the items before."""
    item, words = WRONG[name]
    path = written(deformation([deformed(OTHER, grid_item(field())), item]), tmp_path / "deform.dcm")
    before = scene_state(scene)
    with pytest.raises(DicomBridgeError, match=rf"(?s)deform\.dcm: .*{words}"):
        dicombridge.load(dicombridge.Loadable(files=[str(path)], name="9: PET to CT", kind="DEFORM"), scene=scene)
    assert scene_state(scene) == before
    database = dicombridge.open_folder(tmp_path)
    (loadable,) = dicombridge.examine(database)
    assert bool(loadable.warning) == (name not in ("all undefined", "infinite", "far"))  # vectors are not examined
    database.close()


def test_without_a_registered_frame_nothing_is_guessed(tmp_path: Path) -> None:
    ds = deformation([deformed(MOVING, grid_item(field()))], frame=None)
    with pytest.raises(DicomBridgeError, match="has no Frame of Reference UID"):
        loaded(written(ds, tmp_path / "deform.dcm"))
    with pytest.raises(DicomBridgeError, match="has no Deformable Registration Sequence"):
        loaded(written(deformation([]), tmp_path / "empty.dcm"))


def test_another_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="is no deformable spatial registration"):
        loaded(written(registration([registered(FIXED)]), tmp_path / "reg.dcm"), kind="DEFORM")


def test_a_file_cut_within_its_vectors_is_refused(tmp_path: Path) -> None:
    path = written(deformation([deformed(MOVING, grid_item(field()))]), tmp_path / "deform.dcm")
    content = path.read_bytes()
    for part in (0.5, 0.9, 0.999):
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(DicomBridgeError, match=r"deform\.dcm"):
            loaded(path, kind="DEFORM")


# --- Cost ----------------------------------------------------------------------------------------------------------


def test_vectors_are_copied_once(tmp_path: Path) -> None:
    """Python allocates less than a tenth of the vectors: they go from the mapped file to the memory of VTK."""
    vectors = smooth_field((40, 64, 64))
    path = written(deformation([deformed(MOVING, grid_item(vectors))]), tmp_path / "deform.dcm")
    loaded(path, kind="DEFORM")
    scene = dicombridge.new_scene()
    loadable = dicombridge.Loadable(files=[str(path)], name="9: PET to CT", kind="DEFORM")
    tracemalloc.start()
    dicombridge.load(loadable, scene=scene)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < vectors.nbytes / 10, f"{peak} bytes beside {vectors.nbytes}"


def test_examination_of_a_long_grid_is_short(tmp_path: Path) -> None:
    vectors = smooth_field((40, 64, 64))
    written(deformation([deformed(MOVING, grid_item(vectors))]), tmp_path / "deform.dcm")
    database = dicombridge.open_folder(tmp_path)
    dicombridge.examine(database)
    tracemalloc.start()
    dicombridge.examine(database)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    database.close()
    assert peak < vectors.nbytes / 10, f"{peak} bytes beside {vectors.nbytes}"
