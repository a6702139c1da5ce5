"""Registration objects for tests, made from the standard's text alone, and its formulas in numpy.

Nothing here is taken from the library: neither the way it reads an object, nor its matrices, nor its axes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid

import dicombridge
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable

SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"
DEFORMABLE_SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.3"
SPATIAL_FIDUCIALS = "1.2.840.10008.5.1.4.1.1.66.2"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
FIXED, MOVING, OTHER = "1.2.826.0.1.1", "1.2.826.0.1.2", "1.2.826.0.1.3"
"""Frames of reference."""

Matrix = NDArray[np.float64]
IDENTITY = np.eye(4)


# --- Matrices ------------------------------------------------------------------------------------------------------


def rotation(about_x: float, about_y: float, about_z: float) -> Matrix:
    """3x3, radians; three different angles make a matrix that is not symmetric."""
    (sx, cx), (sy, cy), (sz, cz) = [(np.sin(a), np.cos(a)) for a in (about_x, about_y, about_z)]
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    product: Matrix = x @ y @ z
    return product


def matrix(axes: Any = None, shift: Sequence[float] = (0, 0, 0)) -> Matrix:
    whole = np.eye(4)
    whole[:3, :3] = np.eye(3) if axes is None else axes
    whole[:3, 3] = shift
    return whole


RIGID = matrix(rotation(0.3, -0.2, 0.5), (12.5, -40.0, 7.25))
SCALED = matrix(rotation(-0.1, 0.4, 0.2) @ np.diag([1.1, 0.9, 1.25]), (-3.0, 5.0, 11.0))
AFFINE = matrix([[1.05, 0.12, -0.07], [-0.2, 0.95, 0.1], [0.03, -0.15, 1.2]], (20.0, -8.0, 3.5))
TRANSLATION = matrix(shift=(100.0, -20.0, 3.0))


# --- Objects -------------------------------------------------------------------------------------------------------


def reference(uid: str, sop_class: str = CT_IMAGE, frames: Sequence[int] = ()) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    if frames:
        item.ReferencedFrameNumber = list(frames)
    return item


def code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def decimals(values: Any) -> list[float]:
    """Numbers with as many digits as a decimal string (VR DS) holds: what is written is what is meant."""
    found = []
    for value in np.asarray(values, dtype=float).ravel():
        text = next(text for digits in range(16, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)
        found.append(float(text))
    return found


def matrix_item(values: Matrix, matrix_type: str | None = "RIGID") -> Dataset:
    item = Dataset()
    item.FrameOfReferenceTransformationMatrix = decimals(values)
    if matrix_type is not None:
        item.FrameOfReferenceTransformationMatrixType = matrix_type
    return item


def registered(
    frame: str | None,
    matrices: Sequence[Matrix] = (IDENTITY,),
    matrix_type: str | None = "RIGID",
    images: Sequence[str | Dataset] = (),
    **values: Any,
) -> Dataset:
    """An item of the Registration Sequence; ``values`` are attributes of its Matrix Registration item."""
    registration = Dataset()
    registration.RegistrationTypeCodeSequence = [code("125021", "Frame of Reference Identity")]
    registration.MatrixSequence = [matrix_item(one, matrix_type) for one in matrices]
    for keyword, value in values.items():
        setattr(registration, keyword, value)
    item = Dataset()
    if frame is not None:
        item.FrameOfReferenceUID = frame
    if images:
        item.ReferencedImageSequence = [reference(one) if isinstance(one, str) else one for one in images]
    item.MatrixRegistrationSequence = [registration]
    return item


def grid_item(
    vectors: Any,
    origin: Sequence[float] = (-30.0, -40.0, 25.0),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    resolution: Sequence[float] = (3.0, 4.0, 5.0),
    dimensions: Sequence[int] | None = None,
) -> Dataset:
    """A Deformable Registration Grid; vectors are (planes, rows, columns, 3), LPS mm."""
    array = np.ascontiguousarray(vectors, dtype="<f4")
    item = Dataset()
    item.ImagePositionPatient, item.ImageOrientationPatient = list(origin), decimals(orientation)
    item.GridDimensions = list(array.shape[2::-1] if dimensions is None else dimensions)
    item.GridResolution = [float(one) for one in resolution]
    item.VectorGridData = array.tobytes()
    return item


def deformed(
    frame: str | None,
    grid: Dataset | None = None,
    pre: Matrix | None = None,
    post: Matrix | None = None,
    images: Sequence[str | Dataset] = (),
    matrix_type: str = "RIGID",
    **values: Any,
) -> Dataset:
    """An item of the Deformable Registration Sequence."""
    item = Dataset()
    if frame is not None:
        item.SourceFrameOfReferenceUID = frame
    if images:
        item.ReferencedImageSequence = [reference(one) if isinstance(one, str) else one for one in images]
    item.RegistrationTypeCodeSequence = [code("125024", "Image Content-based Alignment")]
    if pre is not None:
        item.PreDeformationMatrixRegistrationSequence = [matrix_item(pre, matrix_type)]
    if post is not None:
        item.PostDeformationMatrixRegistrationSequence = [matrix_item(post, matrix_type)]
    if grid is not None:
        item.DeformableRegistrationGridSequence = [grid]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def series(**instances: Sequence[str]) -> list[Dataset]:
    """Items of a Referenced Series Sequence, which an object needs that names images: ``series(s1=["1.2.3"])``."""
    found = []
    for number, uids in enumerate(instances.values(), start=1):
        item = Dataset()
        item.SeriesInstanceUID = f"1.2.3.9.{number}"
        item.ReferencedInstanceSequence = [reference(uid) for uid in uids]
        found.append(item)
    return found


def _object(sop_class: str, frame: str | None, values: dict[str, Any]) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "REG", "Aligner", "One"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1.0"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Reg^Test", "reg-1", "", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.1", generate_uid()
    ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription = 9, 1, "PET to CT"
    ds.ContentDate, ds.ContentTime, ds.ContentLabel, ds.ContentDescription = "20240607", "101500", "ALIGNED", ""
    ds.ContentCreatorName = ""
    if frame is not None:
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = frame, ""
    for keyword, value in values.items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    return ds


def registration(items: Sequence[Dataset] | None = None, frame: str | None = FIXED, **values: Any) -> Dataset:
    """A Spatial Registration; by default with the identity item and one moving frame. A value of None removes it."""
    ds = _object(SPATIAL_REGISTRATION, frame, values)
    ds.RegistrationSequence = [registered(FIXED), registered(MOVING, [RIGID])] if items is None else list(items)
    return ds


def deformation(items: Sequence[Dataset], frame: str | None = FIXED, **values: Any) -> Dataset:
    """A Deformable Spatial Registration."""
    ds = _object(DEFORMABLE_SPATIAL_REGISTRATION, frame, values)
    ds.DeformableRegistrationSequence = list(items)
    return ds


def written(ds: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    grids = [
        grid for item in ds.get("DeformableRegistrationSequence") or ()
        for grid in item.get("DeformableRegistrationGridSequence") or ()
    ]  # fmt: skip
    for grid in grids if syntax == ExplicitVRBigEndian else ():  # pydicom writes what it is given
        grid.VectorGridData = np.frombuffer(grid.VectorGridData, "<f4").astype(">f4").tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(path, enforce_file_format=True)
    return path


def loaded(path: Path, scene: Any = None, database: Any = None, kind: str = "", **options: Any) -> list[Any]:
    """Load one file without examination; the nodes keep their scene alive."""
    from pydicom import dcmread

    kind = kind or ("DEFORM" if dcmread(path).SOPClassUID == DEFORMABLE_SPATIAL_REGISTRATION else "REG")
    scene = dicombridge.new_scene() if scene is None else scene
    loadable = Loadable(files=[str(path)], name="9: PET to CT", kind=kind)
    nodes: list[Any] = kind_named(kind).room.load(loadable, scene, database, **options)
    for node in nodes:
        node.scene_of_test = scene
    return nodes


# --- The standard's formulas ---------------------------------------------------------------------------------------


def moved(item: Dataset, points: Matrix) -> Matrix:
    """Points (n, 3) LPS of an item's frame -> registered frame: PS3.3 C.20.2.1.1, from the item's own numbers."""
    found = np.column_stack([points, np.ones(len(points))])
    for one in reversed(item.MatrixRegistrationSequence[0].MatrixSequence):  # M1 M2 M3 p
        found = found @ np.array(one.FrameOfReferenceTransformationMatrix, dtype=float).reshape(4, 4).T
    return found[:, :3]


def sampled(item: Dataset, points: Matrix) -> Matrix:
    """Points (n, 3) LPS of the registered frame -> source frame: Mpost (Mpre x + d(x)), PS3.3 C.20.3.1.1.

    d is interpolated linearly between the vectors, and outside of the grid that of its border; undefined ones are 0.
    """
    pre, post = (
        np.array(one[0].FrameOfReferenceTransformationMatrix, dtype=float).reshape(4, 4) if one else np.eye(4)
        for one in (
            item.get("PreDeformationMatrixRegistrationSequence"),
            item.get("PostDeformationMatrixRegistrationSequence"),
        )
    )
    between = points @ pre[:3, :3].T + pre[:3, 3]
    if "DeformableRegistrationGridSequence" in item:
        between = between + offsets(item.DeformableRegistrationGridSequence[0], points)
    result: Matrix = between @ post[:3, :3].T + post[:3, 3]
    return result


def _grid_axes(grid: Dataset) -> Matrix:
    """Columns are the steps from one vector to the next, LPS mm."""
    row, column = np.array(grid.ImageOrientationPatient, dtype=float).reshape(2, 3)
    dx, dy, dz = grid.GridResolution
    return np.stack([row * dx, column * dy, np.cross(row, column) * dz], axis=1)


def offsets(grid: Dataset, points: Matrix) -> Matrix:
    """Offsets (n, 3) of a grid at points of the registered frame."""
    columns, rows, planes = grid.GridDimensions
    vectors = np.frombuffer(grid.VectorGridData, "<f4").reshape(planes, rows, columns, 3).astype(float)
    vectors[np.isnan(vectors).any(axis=-1)] = 0
    origin = np.array(grid.ImagePositionPatient, dtype=float)
    index = np.linalg.solve(_grid_axes(grid), (points - origin).T).T
    last = np.array([columns, rows, planes]) - 1
    index = np.clip(index, 0, last)
    low = np.minimum(np.floor(index).astype(int), np.maximum(last - 1, 0))
    part = index - low
    found = np.zeros_like(points)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        i, j, k = np.minimum(low + corner, last).T
        found += weight[:, None] * vectors[k, j, i]
    return found


def points_in(grid: Dataset, count: int = 1000, seed: int = 7, margin: float = 0.0) -> Matrix:
    """Random points (count, 3) LPS within a grid, and, with a margin (part of its size), around it."""
    columns, rows, planes = grid.GridDimensions
    random = np.random.default_rng(seed).uniform(-margin, 1 + margin, (count, 3))
    index = random * (np.array([columns, rows, planes]) - 1)
    found: Matrix = np.array(grid.ImagePositionPatient, dtype=float) + index @ _grid_axes(grid).T
    return found


def points(count: int = 1000, seed: int = 7) -> Matrix:
    return np.random.default_rng(seed).uniform(-300, 300, (count, 3))


def field(shape: tuple[int, int, int] = (6, 5, 7), largest: float = 4.0, seed: int = 3) -> NDArray[np.float32]:
    """Vectors (planes, rows, columns, 3), no two alike and no axis like another."""
    random = np.random.default_rng(seed).uniform(-1, 1, (*shape, 3)) * [largest, largest / 2, largest / 3]
    return (random + np.array([1.0, -2.0, 0.5])).astype(np.float32)


def smooth_field(shape: tuple[int, int, int] = (9, 8, 10), largest: float = 3.0) -> NDArray[np.float32]:
    """Vectors of a deformation that does not fold, so that it has an inverse."""
    k, j, i = np.indices(shape) / 9.0
    x = np.sin(2 * i + j) + 0.5
    y = np.cos(1.5 * j - k) - 0.3
    z = np.sin(k + 0.7 * i)
    return (largest * np.stack([x, y, z], axis=-1)).astype(np.float32)


# --- What nodes do -------------------------------------------------------------------------------------------------


def ras(lps: Any) -> Matrix:
    return np.array([[-x, -y, z] for x, y, z in np.asarray(lps, dtype=float)])


def through(transform: Any, lps: Matrix) -> Matrix:
    """Send points LPS through a vtkAbstractTransform of RAS, and return them LPS."""
    return ras([transform.TransformPoint(*point) for point in ras(lps)])


def to_parent(node: Any, lps: Matrix) -> Matrix:
    return through(node.GetTransformToParent(), lps)


def from_parent(node: Any, lps: Matrix) -> Matrix:
    return through(node.GetTransformFromParent(), lps)
