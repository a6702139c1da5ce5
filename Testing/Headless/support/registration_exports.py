"""Image series in frames of reference of their own, transforms and points: what registrations are exported from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage

import dicombridge

FLIP = np.array([-1.0, -1.0, 1.0])
"""Between LPS and RAS, written out here so that the library's own conversion is not its own judge."""

FIXED, MOVING, OTHER = "1.2.3.1", "1.2.3.2", "1.2.3.3"
"""Frame of Reference UIDs."""
ASYMMETRIC = np.array(
    [
        [0.8137976813493738, -0.4409696105298823, 0.3785223063697924, 17.25],
        [0.4698463103929542, 0.8825641192593856, 0.0180283112362973, -31.5],
        [-0.3420201433256687, 0.1631759111665349, 0.9254165783983234, 8.125],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""A rigid motion in LPS mm with three different angles, which no inverse or transpose resembles."""


def write_series(
    folder: Path,
    frame: str,
    shape: tuple[int, int, int] = (6, 20, 24),
    spacing: tuple[float, float, float] = (5.0, 4.0, 3.0),
    position: tuple[float, float, float] = (-30.0, -40.0, -10.0),
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    study: str = "1.2.9",
    modality: str = "CT",
    series: str = "",
) -> list[Path]:
    """Write a series of one file a slice; voxels hold their own number."""
    folder.mkdir(parents=True, exist_ok=True)
    series = series or f"{frame}.{shape[0]}{shape[1]}"
    normal = np.cross(orientation[:3], orientation[3:])
    voxels = np.arange(np.prod(shape)).reshape(shape) % 2000
    paths = []
    for number, plane in enumerate(voxels):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.SOPClassUID = CTImageStorage if modality == "CT" else PositronEmissionTomographyImageStorage
        one.SOPInstanceUID = f"{series}.{number + 1}"
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "Reg^Test", "REG1", "19600102", "F"
        one.StudyID, one.StudyDate, one.StudyTime, one.AccessionNumber = "1", "20260101", "120000", ""
        one.ReferringPhysicianName = one.PositionReferenceIndicator = one.Manufacturer = ""
        one.Modality, one.SeriesNumber, one.InstanceNumber = modality, 1, number + 1
        one.SeriesDescription = f"{modality} in {frame}"
        one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        one.ImageOrientationPatient = [float(cosine) for cosine in orientation]
        one.ImagePositionPatient = [float(value) for value in np.array(position) + number * spacing[0] * normal]
        one.PixelSpacing, one.SliceThickness = list(spacing[1:]), spacing[0]
        one.Rows, one.Columns = plane.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
        one.RescaleSlope, one.RescaleIntercept, one.KVP, one.AcquisitionNumber = 1, 0, "", ""
        one.PixelData = plane.astype("<i2").tobytes()
        path = folder / f"{series}-{number:03}.dcm"
        one.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


class Study:
    """Image series of several frames of reference in a folder, and in a scene."""

    def __init__(self, folder: Path, frames: tuple[str, ...] = (FIXED, MOVING)) -> None:
        self.folder = folder
        self.files: dict[str, list[Path]] = {}
        for number, frame in enumerate(frames):
            position = (-30.0 - number, -40.0 + 2 * number, -10.0 - 5 * number)
            self.files[frame] = write_series(folder / f"series{number}", frame, (6 + number, 20, 24), position=position)
        self.database = dicombridge.open_folder(folder)
        self.scene = dicombridge.new_scene()
        self.volumes: dict[str, Any] = {}
        for one in dicombridge.examine(self.database):
            (volume,) = dicombridge.load(one, scene=self.scene, database=self.database)
            self.volumes[str(pydicom.dcmread(one.files[0]).FrameOfReferenceUID)] = volume

    def linear(self, lps: NDArray[Any], name: str = "Motion") -> Any:
        """Add a linear transform whose matrix to parent is, in LPS, the given one."""
        from vtkmodules.vtkCommonMath import vtkMatrix4x4

        node = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        matrix = vtkMatrix4x4()
        matrix.DeepCopy(ras(lps).ravel().tolist())
        node.SetMatrixTransformToParent(matrix)
        return node

    def export(self, nodes: Any, folder: str = "out", **options: Any) -> Dataset:
        """Export, check that it is one file, and read it."""
        (path,) = dicombridge.export(nodes, self.folder.parent / folder, database=self.database, **options)
        return pydicom.dcmread(path)

    def instances(self, frame: str) -> list[str]:
        return [str(pydicom.dcmread(path).SOPInstanceUID) for path in self.files[frame]]


def ras(lps: NDArray[Any]) -> NDArray[np.float64]:
    """A matrix between LPS coordinates as one between RAS coordinates, or the other way."""
    signs = np.array([*FLIP, 1.0])
    return np.asarray(signs[:, None] * np.asarray(lps) * signs)


def random_points(count: int = 1000, low: float = -200.0, high: float = 200.0) -> NDArray[np.float64]:
    return np.random.default_rng(5).uniform(low, high, (count, 3))


def applied(matrix: Any, points: NDArray[Any]) -> NDArray[np.float64]:
    matrix = np.asarray(matrix, dtype=float).reshape(4, 4)
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def through_node(node: Any, lps: NDArray[Any], to_parent: bool = True) -> NDArray[np.float64]:
    """Map (n, 3) LPS points through a transform node, point by point as MRML does."""
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    general = vtkGeneralTransform()
    if to_parent:
        node.GetTransformToWorld(general)
    else:
        node.GetTransformFromWorld(general)
    return np.array([general.TransformPoint(point) for point in lps * FLIP]) * FLIP


def item_matrix(item: Dataset) -> NDArray[np.float64]:
    """The product of the matrices of a Registration Sequence item, in the order of PS3.3 Equation C.20.2-2."""
    product = np.eye(4)
    for one in item.MatrixRegistrationSequence[0].MatrixSequence:
        product = product @ np.array(one.FrameOfReferenceTransformationMatrix, dtype=float).reshape(4, 4)
    return product


def item_of(dataset: Dataset, frame: str) -> Dataset:
    """The one item of a frame of reference."""
    (item,) = [one for one in dataset.RegistrationSequence if one.FrameOfReferenceUID == frame]
    return item


def through_dataset(item: Dataset, registered: NDArray[Any]) -> NDArray[np.float64]:
    """Map (n, 3) LPS points of the registered frame by an item of a Deformable Registration Sequence.

    PS3.3 C.20.3.1.1, with linear interpolation between the centres of the grid's voxels.
    """
    moved = registered
    if "PreDeformationMatrixRegistrationSequence" in item:
        moved = applied(item.PreDeformationMatrixRegistrationSequence[0].FrameOfReferenceTransformationMatrix, moved)
    if item.get("DeformableRegistrationGridSequence"):
        moved = moved + vectors_at(item.DeformableRegistrationGridSequence[0], registered)
    if "PostDeformationMatrixRegistrationSequence" in item:
        moved = applied(item.PostDeformationMatrixRegistrationSequence[0].FrameOfReferenceTransformationMatrix, moved)
    return moved


def grid_index(grid: Dataset, points: NDArray[Any]) -> NDArray[np.float64]:
    """Fractional (i, j, k) of points on a Deformable Registration Grid."""
    row, column = np.array(grid.ImageOrientationPatient, dtype=float).reshape(2, 3)
    axes = np.array([row, column, np.cross(row, column)]).T * np.array(grid.GridResolution, dtype=float)
    return np.asarray((points - np.array(grid.ImagePositionPatient, dtype=float)) @ np.linalg.inv(axes).T)


def grid_vectors(grid: Dataset) -> NDArray[np.float64]:
    """Vectors as [k, j, i, component]."""
    columns, rows, slices = (int(size) for size in grid.GridDimensions)
    return np.frombuffer(grid.VectorGridData, "<f4").reshape(slices, rows, columns, 3).astype(float)


def vectors_at(grid: Dataset, points: NDArray[Any]) -> NDArray[np.float64]:
    vectors = grid_vectors(grid)
    index = grid_index(grid, points)[:, ::-1]  # k, j, i
    last = np.array(vectors.shape[:3]) - 1
    lower = np.clip(np.floor(index).astype(int), 0, np.maximum(last - 1, 0))
    weight = index - lower
    total = np.zeros((len(points), 3))
    for corner in np.ndindex(2, 2, 2):
        at = np.minimum(lower + corner, last)
        part = np.where(corner, weight, 1 - weight).prod(axis=1)
        total += part[:, None] * vectors[at[:, 0], at[:, 1], at[:, 2]]
    return total


def numbers_of(matrix: Any) -> list[str]:
    """Sixteen numbers as another program may have written them: fewer digits, exponents, signs."""
    return [f"{value:+.10E}" if abs(value) < 1e-2 and value else f"{value:.6f}" for value in np.ravel(matrix)]


def registration_item(frame: str, *matrices: Any, kind: str = "RIGID", images: tuple[str, ...] = ()) -> Dataset:
    """An item of a Registration Sequence with a comment, a code, used fiducials and used segments."""
    item = Dataset()
    item.FrameOfReferenceUID = frame
    if images:
        item.ReferencedImageSequence = [reference(CTImageStorage, uid) for uid in images]
    registration = Dataset()
    registration.FrameOfReferenceTransformationComment = f"By hand, {frame}"
    registration.RegistrationTypeCodeSequence = [code("125022", "Fiducial Alignment")]
    registration.MatrixSequence = []
    for matrix in matrices:
        one = Dataset()
        one.FrameOfReferenceTransformationMatrixType = kind
        one.FrameOfReferenceTransformationMatrix = numbers_of(matrix)
        registration.MatrixSequence.append(one)
    fiducials = reference("1.2.840.10008.5.1.4.1.1.66.2", "1.2.3.77")
    fiducials.FiducialUID = "1.2.3.78"
    registration.UsedFiducialsSequence = [fiducials]
    item.MatrixRegistrationSequence = [registration]
    return item


def code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def reference(sop_class_uid: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, uid
    return item


def write_object(path: Path, sop_class_uid: str, registered: str = FIXED, **values: Any) -> Path:
    """Write a registration object of another maker."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = sop_class_uid
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9.1"
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = "1.2.9", "1.2.3.9", registered
    one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = "Reg^Test", "REG1", "19600102", "F"
    one.StudyID, one.StudyDate, one.StudyTime, one.AccessionNumber = "1", "20260101", "120000", ""
    one.ReferringPhysicianName = one.PositionReferenceIndicator = ""
    one.Manufacturer, one.ManufacturerModelName = "Another", "Aligner"
    one.DeviceSerialNumber, one.SoftwareVersions = "7", "3.1"
    one.Modality, one.SeriesNumber, one.InstanceNumber = "REG", 9, 1
    one.SeriesDescription, one.ContentLabel, one.ContentDescription = "Aligned", "ALIGNED", "PET to CT"
    one.ContentCreatorName, one.ContentDate, one.ContentTime = "Doe^J", "20260102", "101112"
    for keyword, value in values.items():
        setattr(one, keyword, value)
    one.save_as(path, enforce_file_format=True)
    return path


def spatial_registration(path: Path, *items: Dataset) -> Path:
    return write_object(path, "1.2.840.10008.5.1.4.1.1.66.1", RegistrationSequence=list(items))
