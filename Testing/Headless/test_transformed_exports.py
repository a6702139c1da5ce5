"""Nodes below a transform are exported where it puts them, by every kind that has a place in space.

Each is compared with the transforms' own formulas, written out here, and not with what the library or VTK make of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
import pytest
from conformance import PLACES_TEST, Example, KindConformance
from numpy.typing import NDArray
from support.fiducials import every_shape, write_fiducials
from support.registration_exports import (
    FIXED,
    MOVING,
    Study,
    applied,
    registration_item,
    spatial_registration,
)
from support.seg_exports import points_of_file, segmentation_node, under_transform, volume_node
from support.volumes import lps_of_volume

import dicombridge

Points = NDArray[np.float64]

SHAPE = (16, 30, 32)
AFFINE = np.array([[2.0, 0, 0, -30], [0, 2.0, 0, -28], [0, 0, 2.0, -16], [0, 0, 0, 1]])
"""(column, row, slice, 1) to LPS mm."""
FLIP = np.array([-1.0, -1.0, 1.0])
BOX = np.array([[-10.0, 12.0], [-14.0, 0.0], [-6.0, 8.0]])
"""LPS mm: centres of the outermost voxels of the mask; nothing about it is symmetric."""
TURN = np.array([[0.9397, -0.3386, 0.0496, 6.5], [0.3420, 0.9293, -0.1392, -4.0], [0.0010, 0.1478, 0.9890, 3.0],
                 [0, 0, 0, 1.0]])  # fmt: skip
TURN[:3, :3] = np.linalg.qr(TURN[:3, :3])[0] * np.sign(np.diag(np.linalg.qr(TURN[:3, :3])[1]))
SLOPE = 0.5
"""mm to the side for each mm along the long axis away from the middle: a fold, which no matrix is."""


def turned(points: Points) -> Points:
    """The linear transform, LPS."""
    return np.asarray(points @ TURN[:3, :3].T + TURN[:3, 3])


def turned_back(points: Points) -> Points:
    return np.asarray((points - TURN[:3, 3]) @ TURN[:3, :3])


def folded(points: Points) -> Points:
    """The one that is not: x grows with the distance from z = 0."""
    return points + np.abs(points[:, 2:]) * [SLOPE, 0, 0]


def folded_back(points: Points) -> Points:
    return points - np.abs(points[:, 2:]) * [SLOPE, 0, 0]


def fold() -> Any:
    """The same as a displacement grid with three planes; RAS."""
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(2, 2, 3)
    image.SetSpacing(400.0, 400.0, 100.0)
    image.SetOrigin(-200.0, -200.0, -100.0)
    vectors = np.zeros((3, 2, 2, 3))
    vectors[[0, 2], ..., 0] = -100 * SLOPE
    image.GetPointData().SetScalars(numpy_to_vtk(vectors.reshape(-1, 3), deep=True))
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(image)
    transform.SetInterpolationModeToLinear()
    return transform


class Bend:
    """A transform: its formula, the inverse of that, and how a node comes below it."""

    def __init__(self, name: str, there: Callable[[Points], Points], back: Callable[[Points], Points]) -> None:
        self.name, self.there, self.back = name, there, back

    def applied_to(self, node: Any) -> None:
        if self.name == "linear":
            signs = np.array([*FLIP, 1.0])
            under_transform(node, signs[:, None] * TURN * signs)
        else:
            under_transform(node, transform=fold())


BENDS = [Bend("linear", turned, turned_back), Bend("folded", folded, folded_back)]


@pytest.fixture(params=BENDS, ids=lambda bend: bend.name)
def bend(request: pytest.FixtureRequest) -> Bend:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def scene() -> Any:
    return dicombridge.new_scene()


def centres() -> Points:
    """LPS of all voxels, [slice, row, column, 3]."""
    k, j, i = np.indices(SHAPE)
    return np.stack([i, j, k, np.ones(SHAPE)], axis=-1) @ AFFINE[:3].T


def mask() -> NDArray[np.bool_]:
    places = centres()
    return np.asarray(((places >= BOX[:, 0]) & (places <= BOX[:, 1])).all(axis=-1))


def value(points: Points) -> Points:
    """What voxels hold: linear in space, so that interpolation adds no error."""
    return np.asarray(200 + points @ [1.0, -0.5, 2.0])


def ramp(scene: Any) -> Any:
    return volume_node(scene, value(centres()).astype(np.float32), AFFINE)


def exported(node: Any, kind: str, folder: Path, **options: Any) -> Path:
    (path,) = dicombridge.export(node, folder / "out", kind=kind, **options)
    return path


def placed_voxels(path: Path) -> tuple[NDArray[np.float64], Points]:
    """Values of a file with one plane a frame, and their LPS points."""
    dataset = pydicom.dcmread(path)
    stored = "FloatPixelData" in dataset
    array = np.frombuffer(dataset.FloatPixelData, "<f4") if stored else dataset.pixel_array.astype(float).ravel()
    array = array.reshape(-1, int(dataset.Rows), int(dataset.Columns)) * float(dataset.get("DoseGridScaling") or 1)
    points = np.empty((*array.shape, 3))
    for number in range(len(array)):
        position, cosines, spacing = plane(dataset, number)
        row, column = cosines.reshape(2, 3)
        j, i = np.indices(array.shape[1:])
        points[number] = position + i[..., None] * row * spacing[1] + j[..., None] * column * spacing[0]
    return array, points


def plane(dataset: Any, number: int) -> tuple[Points, Points, Points]:
    if "GridFrameOffsetVector" in dataset:  # RT Dose (PS3.3 C.8.8.3.2)
        cosines = np.array(dataset.ImageOrientationPatient, dtype=float)
        normal = np.cross(cosines[:3], cosines[3:])
        offset = float(dataset.GridFrameOffsetVector[number])
        position = np.array(dataset.ImagePositionPatient, dtype=float) + offset * normal
        return position, cosines, np.array(dataset.PixelSpacing, dtype=float)
    shared, own = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence[number]

    def group(name: str) -> Any:
        return (own.get(name) or shared.get(name))[0]

    measures, orientation = group("PixelMeasuresSequence"), group("PlaneOrientationSequence")
    position = np.array(group("PlanePositionSequence").ImagePositionPatient, dtype=float)
    cosines = np.array(orientation.ImageOrientationPatient, dtype=float)
    return position, cosines, np.array(measures.PixelSpacing, dtype=float)


# --- Voxels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PM", "RTDOSE"])
def test_voxels(scene: Any, tmp_path: Path, bend: Bend, kind: str) -> None:
    node = ramp(scene)
    bend.applied_to(node)
    found, points = placed_voxels(exported(node, kind, tmp_path))
    origins = bend.back(points.reshape(-1, 3)).reshape(points.shape)
    last = centres()[-1, -1, -1]
    inside = ((origins > AFFINE[:3, 3] + 0.1) & (origins < last - 0.1)).all(axis=-1)
    assert inside.sum() > 0.5 * found.size
    tolerance = 0.01 if kind == "PM" else 0.02  # of 200; doses are stored as integers
    assert np.abs(found - value(origins))[inside].max() < tolerance
    assert np.abs(found - value(points))[inside].mean() > 1  # and that is another place than the old one


@pytest.mark.parametrize("segmentation_type", ["BINARY", "LABELMAP"])
def test_segments(scene: Any, tmp_path: Path, bend: Bend, segmentation_type: str) -> None:
    node = segmentation_node(scene, {"Box": mask()}, AFFINE)
    bend.applied_to(node)
    path = exported(node, "SEG", tmp_path, SegmentationType=segmentation_type)
    found = next(iter(points_of_file(path).values()))
    expected = bend.there(centres()[mask()])
    assert abs(len(found) / len(expected) - 1) < 0.03  # both transforms keep volumes
    assert np.abs(found.mean(axis=0) - expected.mean(axis=0)).max() < 0.25
    origins = bend.back(found)
    assert ((origins > BOX[:, 0] - 1.1) & (origins < BOX[:, 1] + 1.1)).all(axis=1).mean() > 0.97
    if bend.name == "linear":  # the grid is turned, nothing is interpolated
        order = [np.lexsort(np.round(points, 3).T) for points in (origins, centres()[mask()])]
        assert np.abs(origins[order[0]] - centres()[mask()][order[1]]).max() < 1e-3


# --- Points --------------------------------------------------------------------------------------------------------


def contour_points(path: Path) -> Points:
    contours = [
        np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        for roi in pydicom.dcmread(path).ROIContourSequence
        for contour in roi.ContourSequence
    ]
    return np.concatenate(contours)


def test_contours(scene: Any, tmp_path: Path, bend: Bend) -> None:
    node = segmentation_node(scene, {"Box": mask()}, AFFINE)
    bend.applied_to(node)
    origins = bend.back(contour_points(exported(node, "RTSTRUCT", tmp_path)))
    voxel = 2.0
    assert ((origins > BOX[:, 0] - 1.25 * voxel) & (origins < BOX[:, 1] + 1.25 * voxel)).all()
    assert np.abs(origins.min(axis=0) - BOX[:, 0]).max() < 1.25 * voxel
    assert np.abs(origins.max(axis=0) - BOX[:, 1]).max() < 1.25 * voxel


MARKS = np.array([[1.5, -20.25, 3.0], [-12.0, 7.0, -9.5], [30.0, 2.0, 11.0]])


@pytest.mark.parametrize("kind", ["RTSTRUCT", "FID", "SR"])
def test_markups(scene: Any, tmp_path: Path, bend: Bend, kind: str) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Marks")
    for point in MARKS * FLIP:
        node.AddControlPoint(*point)
    bend.applied_to(node)
    dataset = pydicom.dcmread(exported(node, kind, tmp_path))
    if kind in ("FID", "SR"):
        found = points_in(dataset)
    else:
        found = contour_points(tmp_path / "out" / f"RTSTRUCT_{dataset.SOPInstanceUID}.dcm")
    assert np.abs(found - bend.there(MARKS)).max() < 1e-4  # an SCOORD3D has single floats
    places = [[node.GetNthControlPointPosition(number)[axis] for axis in range(3)] for number in range(3)]
    assert np.array_equal(np.array(places), MARKS * FLIP)  # the node itself is as it was


def points_in(dataset: Any) -> Points:
    """LPS of all fiducials, or of all coordinates in space, in the order of the file."""
    names = ("ContourData", "GraphicData")
    data = [np.array(one.value, dtype=float) for one in dataset.iterall() if one.keyword in names]
    return np.concatenate([one.reshape(-1, 3) for one in data])


# --- Below a registration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT", "PM", "RTDOSE", "FID", "SR"])
@pytest.mark.parametrize("with_fixed", [True, False], ids=["fixed-in-scene", "frame-only"])
def test_below_a_registration_it_lies_in_the_registered_frame(tmp_path: Path, kind: str, with_fixed: bool) -> None:
    """New coordinates under the old Frame of Reference UID would be a place that nobody meant."""
    study = Study(tmp_path / "in")
    image = study.volumes[MOVING]
    if not with_fixed:
        study.scene.RemoveNode(study.volumes[FIXED])
    file = spatial_registration(tmp_path / "reg.dcm", registration_item(MOVING, TILT))
    (transform,) = dicombridge.load(file, scene=study.scene, database=study.database)
    node = made_on(study, image, kind)
    options = {"database": study.database}
    before = frames_of(exported(node, kind, tmp_path / "before", **options))
    assert before == {MOVING}
    node.SetAndObserveTransformNodeID(transform.GetID())
    path = exported(node, kind, tmp_path, **options)
    assert frames_of(path) == {FIXED}
    lps = lps_of_volume(image)
    k, j, i = np.nonzero(small_mask(image))
    box = (lps @ np.stack([i, j, k, np.ones_like(i)]))[:3].T.mean(axis=0)
    expected = applied(TILT, np.array([MARK if kind in ("FID", "SR") else box]))[0]
    tolerance = {"FID": 1e-4, "SR": 1e-4, "RTSTRUCT": 1.0}.get(kind, 0.5)  # mm; voxels are of 3 x 4 x 5 mm
    assert np.abs(centre_of_file(path, kind) - expected).max() < tolerance


def centre_of_file(path: Path, kind: str) -> Points:
    """LPS centre of what a file holds: of voxels, of contours or of points."""
    if kind == "SEG":
        (points,) = points_of_file(path).values()
    elif kind in ("PM", "RTDOSE"):
        values, places = placed_voxels(path)
        points = places[values > 0.5 * values.max()]
    else:
        points = points_in(pydicom.dcmread(path))
        points = np.stack([points.min(axis=0), points.max(axis=0)])  # points of contours are not evenly spread
    return np.asarray(points.mean(axis=0))


MARK = (-1.0, -2.0, 3.0)
"""LPS."""


TILT = np.array([[0.9950041653, -0.0998334166, 0, 4.0], [0.0998334166, 0.9950041653, 0, -3.0], [0, 0, 1, 5.0],
                 [0, 0, 0, 1]])  # fmt: skip
"""LPS, from the moving images onto the fixed ones, so that what is small stays within these."""


def small_mask(image: Any) -> NDArray[np.uint8]:
    mask = np.zeros(image.GetImageData().GetDimensions()[::-1], np.uint8)
    mask[2:5, 5:12, 8:17] = 1
    return mask


def made_on(study: Study, image: Any, kind: str) -> Any:
    """A node that was made in Slicer on an image."""
    lps = lps_of_volume(image)
    if kind in ("SEG", "RTSTRUCT"):
        node = segmentation_node(study.scene, {"Box": small_mask(image) == 1}, lps)
        node.SetReferenceImageGeometryParameterFromVolumeNode(image)
        return node
    if kind in ("FID", "SR"):
        node = study.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Marks")
        node.AddControlPoint(*(MARK * FLIP))
        node.SetAndObserveNodeReferenceID("referenceImageGeometryRef", image.GetID())
        node.SetNthControlPointAssociatedNodeID(0, image.GetID())
        return node
    node = volume_node(study.scene, small_mask(image).astype(np.float32), lps)
    node.SetNodeReferenceID("referenceImageGeometryRef", image.GetID())
    return node


def frames_of(path: Path) -> set[str]:
    """All Frame of Reference UIDs that say where the content of a file lies."""
    dataset = pydicom.dcmread(path)
    names = ("FrameOfReferenceUID", "ReferencedFrameOfReferenceUID")
    return {str(element.value) for element in dataset.iterall() if element.keyword in names}


# --- The check that every kind inherits ----------------------------------------------------------------------------


def corner_places(nodes: Sequence[Any]) -> Points:
    """RAS of a few voxels of each volume, in the world."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    places = []
    for node in (one for one in nodes if one.IsA("vtkMRMLScalarVolumeNode")):
        matrix, parent = vtkMatrix4x4(), vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        if node.GetParentTransformNode() is not None:
            node.GetParentTransformNode().GetMatrixTransformToWorld(parent)
            vtkMatrix4x4.Multiply4x4(parent, matrix, matrix)
        places += [matrix.MultiplyPoint((*index, 1.0))[:3] for index in ((0, 0, 0), (3, 0, 0), (0, 2, 0), (1, 1, 1))]
    return np.array(places)


def marked_places(nodes: Sequence[Any]) -> Points:
    """RAS of control points in the world, sorted."""
    found = [
        tuple(node.GetNthControlPointPositionWorld(number))
        for node in nodes
        if node.IsA("vtkMRMLMarkupsNode")
        for number in range(node.GetNumberOfControlPoints())
    ]
    return np.array(sorted(np.round(found, 4).tolist()))


def only_places(suite: type[KindConformance]) -> type[KindConformance]:
    """Leave one test of a suite; the others are those of the kind's own file."""
    for name in dir(suite):
        if name.startswith("test_") and name != PLACES_TEST:
            setattr(suite, name, None)
    return suite


def write_dose(folder: Path) -> None:
    from support.rt_doses import dose, written

    written(dose(), folder / "dose.dcm")


@only_places
class TestPlacesOfDoses(KindConformance):
    kind = "RTDOSE"
    examples: ClassVar[tuple[Example, ...]] = (Example("own", make=write_dose),)

    def places(self, nodes: Sequence[Any]) -> Any:
        return corner_places(nodes)


@only_places
class TestPlacesOfFiducials(KindConformance):
    kind = "FID"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("own", make=lambda folder: write_fiducials(folder / "fid.dcm", [every_shape()])),
    )

    def places(self, nodes: Sequence[Any]) -> Any:
        return marked_places(nodes)


def test_a_kind_without_places_is_not_asked() -> None:
    class Silent(KindConformance):
        kind = "SEG"
        examples = ()

    assert getattr(Silent, PLACES_TEST) is None
    assert callable(getattr(TestPlacesOfDoses, PLACES_TEST))
