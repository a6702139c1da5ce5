"""The phantom at other times: a CT of the patient lying elsewhere, one breathed out, and what registered them.

Both scans have a frame of reference of their own. What moved is known exactly, because the organs are functions of the
place: a scan shows, at a point of its frame of reference, the organ at the point that the motion leads to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.demo import anatomy
from dicombridge.demo.phantom import PhantomSeries, decimal, image_header, phantom_uid

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

__all__ = ["Motion", "write_motion"]

_TURN_DEGREES, _SHIFT_MM = (4.0, -3.0, 9.0), (18.0, -11.0, 6.0)
_BREATH_MM, _BREATH_CENTRE, _BREATH_RADIUS_MM = (0.0, -3.0, -14.0), (-20.0, -10.0, 30.0), 75.0
_GRID_SPACING_MM = 8.0


@dataclass(frozen=True)
class Motion:
    """Two scans after motion, and their registrations.

    Attributes
    ----------
    moved, breathed
        The scans; values are in HU, as those of the CT that they are registered to.
    registration, deformation
        The objects.
    fixed
        The CT that they are registered to.
    matrix
        (4, 4) LPS: maps points of the moved scan's frame of reference into that of the fixed one.
    """

    moved: PhantomSeries
    breathed: PhantomSeries
    registration: Path
    deformation: Path
    fixed: PhantomSeries
    matrix: NDArray[np.float64]


def write_motion(directory: Path, fixed: PhantomSeries) -> Motion:
    """Write both scans and both registrations into a folder."""
    matrix = _matrix()
    grid = anatomy.points_of_grid(fixed.affine, fixed.values.shape)
    points = np.stack([axis.ravel() for axis in grid])
    there = matrix[:3, :3] @ points + matrix[:3, 3:]
    moved = _scan(directory / "moved", "CT moved", 5, _shaped(there, fixed), fixed)
    breathed = _scan(directory / "breathed", "CT breathed out", 6, _shaped(_unbreathed(points), fixed), fixed)
    objects = {
        "registration": _registration(fixed, moved, matrix),
        "deformation": _deformation(fixed, breathed),
    }
    paths = {name: directory / f"{name}.dcm" for name in objects}
    for name, dataset in objects.items():
        dataset.save_as(paths[name], enforce_file_format=True)
    return Motion(moved, breathed, paths["registration"], paths["deformation"], fixed, matrix)


def _matrix() -> NDArray[np.float64]:
    """Return the rigid motion, each number as a decimal string holds it."""
    (sx, cx), (sy, cy), (sz, cz) = [(np.sin(angle), np.cos(angle)) for angle in np.deg2rad(_TURN_DEGREES)]
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = x @ y @ z
    matrix[:3, 3] = _SHIFT_MM
    return np.array([[float(decimal(value)) for value in row] for row in matrix])


def _breath(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far (mm) each point of the fixed frame of reference, (3, n), went when the patient breathed out."""
    distance = np.linalg.norm(points - np.array(_BREATH_CENTRE)[:, None], axis=0)
    return np.array(_BREATH_MM)[:, None] * np.exp(-((distance / _BREATH_RADIUS_MM) ** 2))


def _unbreathed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where points of the breathed scan were before: the deformation's inverse, by fixed-point iteration."""
    before = points
    for _ in range(40):
        before = points - _breath(before)
    return before


def _shaped(points: NDArray[np.float64], fixed: PhantomSeries) -> Any:
    return tuple(axis.reshape(fixed.values.shape) for axis in points)


def _scan(directory: Path, name: str, number: int, points: Any, fixed: PhantomSeries) -> PhantomSeries:
    """Write what a scanner sees at these points of the anatomy, on the planes of the fixed CT."""
    directory.mkdir(parents=True, exist_ok=True)
    values = anatomy.ct_values(points, seed=number)
    files = []
    for index, plane in enumerate(values):
        specific = {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
            "SOPInstanceUID": phantom_uid(f"instance/{name}/{index}"),
            "Modality": "CT",
            "SeriesNumber": number,
            "SeriesDescription": name,
            "FrameOfReferenceUID": _frame(name),
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "RescaleIntercept": "-1024",
            "RescaleSlope": "1",
            "RescaleType": "HU",
            "KVP": "120",
            "WindowCenter": "50",
            "WindowWidth": "400",
            "InstanceNumber": index + 1,
            "ImagePositionPatient": [decimal(value) for value in fixed.affine[:3, 3] + index * fixed.affine[:3, 0]],
            "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
            "PixelSpacing": [decimal(fixed.affine[1, 1]), decimal(fixed.affine[0, 2])],
            "SliceThickness": decimal(fixed.affine[2, 0]),
            "Rows": plane.shape[0],
            "Columns": plane.shape[1],
        }
        dataset = image_header(phantom_uid(f"series/{name}"), specific)
        dataset.PixelData = (plane.astype(np.int32) + 1024).astype("<u2").tobytes()
        files.append(directory / f"CT{index + 1:03d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return PhantomSeries(name, directory, tuple(files), phantom_uid(f"series/{name}"), fixed.affine, values)


def _frame(name: str) -> str:
    return phantom_uid(f"frame of reference/{name}")


# Registrations ----------------------------------------------------------------------------------------------------


def _item(**attributes: Any) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _object(sop_class: str, number: int, name: str, series: list[PhantomSeries]) -> Dataset:
    """Return patient, study, series and the references that the registration objects share."""
    dataset = image_header(
        phantom_uid(f"series/{name}"),
        {
            "SOPClassUID": sop_class,
            "SOPInstanceUID": phantom_uid(f"instance/{name}"),
            "Modality": "REG",
            "SeriesNumber": number,
            "SeriesDescription": name,
            "InstanceNumber": 1,
            "ContentLabel": "REGISTRATION",
            "ContentDescription": name,
            "ContentCreatorName": "Phantom^Registrar",
        },
    )
    for keyword in (
        "AcquisitionDate",
        "AcquisitionNumber",
        "AcquisitionTime",
        "BitsAllocated",
        "BitsStored",
        "BodyPartExamined",
        "HighBit",
        "PatientPosition",
        "PhotometricInterpretation",
        "PixelRepresentation",
        "SamplesPerPixel",
    ):
        delattr(dataset, keyword)
    dataset.Laterality = ""
    dataset.ReferencedSeriesSequence = [
        _item(SeriesInstanceUID=one.uid, ReferencedInstanceSequence=_images(one)) for one in series
    ]
    return dataset


def _images(series: PhantomSeries) -> list[Dataset]:
    name = "CT" if series.uid == phantom_uid("series/CT") else series.name
    return [
        _item(
            ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2",
            ReferencedSOPInstanceUID=phantom_uid(f"instance/{name}/{index}"),
        )
        for index in range(len(series.files))
    ]


def _code(value: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=meaning)


def _matrix_item(matrix: NDArray[np.float64]) -> Dataset:
    return _item(
        FrameOfReferenceTransformationMatrixType="RIGID",
        FrameOfReferenceTransformationMatrix=[decimal(value) for value in matrix.ravel()],
    )


def _registration(fixed: PhantomSeries, moved: PhantomSeries, matrix: NDArray[np.float64]) -> Dataset:
    """Return a Spatial Registration: an identity for the fixed frame of reference, the motion for the other one."""
    name = "Moved CT to CT"
    dataset = _object("1.2.840.10008.5.1.4.1.1.66.1", 30, name, [fixed, moved])
    items = []
    for series, frame, values in (
        (fixed, dataset.FrameOfReferenceUID, np.eye(4)),
        (moved, _frame(moved.name), matrix),
    ):
        registered = _item(
            RegistrationTypeCodeSequence=[_code("125025", "Visual Alignment")], MatrixSequence=[_matrix_item(values)]
        )
        items.append(
            _item(
                FrameOfReferenceUID=frame,
                ReferencedImageSequence=_images(series),
                MatrixRegistrationSequence=[registered],
            )
        )
    dataset.RegistrationSequence = items
    return dataset


def _deformation(fixed: PhantomSeries, breathed: PhantomSeries) -> Dataset:
    """Return a Deformable Spatial Registration: at each point of the fixed frame, the way to the breathed scan's."""
    name = "Breathed CT to CT"
    dataset = _object("1.2.840.10008.5.1.4.1.1.66.3", 31, name, [fixed, breathed])
    corners = fixed.affine @ np.array([[0, 0, 0, 1], [*(np.array(fixed.values.shape) - 1), 1]]).T
    low, high = corners[:3].min(axis=1), corners[:3].max(axis=1)
    sizes = (np.ceil((high - low) / _GRID_SPACING_MM) + 1).astype(int)
    z, y, x = np.meshgrid(*[np.arange(n) * _GRID_SPACING_MM for n in sizes[::-1]], indexing="ij")
    points = np.stack([axis.ravel() for axis in (x, y, z)]) + low[:, None]
    grid = _item(
        ImagePositionPatient=[decimal(value) for value in low],
        ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
        GridDimensions=[int(size) for size in sizes],
        GridResolution=[_GRID_SPACING_MM] * 3,
        VectorGridData=np.ascontiguousarray(_breath(points).T, dtype="<f4").tobytes(),
    )
    dataset.DeformableRegistrationSequence = [
        _item(
            SourceFrameOfReferenceUID=_frame(breathed.name),
            ReferencedImageSequence=_images(breathed),
            RegistrationTypeCodeSequence=[_code("125024", "Image Content-based Alignment")],
            DeformableRegistrationGridSequence=[grid],
        )
    ]
    return dataset
