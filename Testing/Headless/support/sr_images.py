"""Small image series for structured reports, in any orientation, and where their pixels lie by the standard's equation.

Nothing here is taken from the library: what is expected of it is computed in this file from PS3.3 alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from support.items import code, item

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
ROW_SPACING, COLUMN_SPACING = 0.7, 1.3
"""Millimetres between rows, between columns: not square, so that none is taken for the other."""

_HALF = float(np.sqrt(0.5))
_TURNED = float(np.sqrt(3) / 2)
ORIENTATIONS: dict[str, tuple[tuple[float, ...], str]] = {
    "axial": ((1, 0, 0, 0, 1, 0), "HFS"),
    "sagittal": ((0, 1, 0, 0, 0, -1), "HFS"),
    "coronal": ((1, 0, 0, 0, 0, -1), "HFS"),
    # Axes turned by 45 degrees around z, then by 30 degrees around the row.
    "oblique": ((_HALF, _HALF, 0, -_HALF * _TURNED, _HALF * _TURNED, 0.5), "HFS"),
    "decubitus": ((0, -1, 0, 1, 0, 0), "HFDR"),
    "feet_first": ((-1, 0, 0, 0, 1, 0), "FFS"),
}
"""Image Orientation (Patient) and Patient Position by name."""


@dataclass(frozen=True)
class SeriesOfImages:
    """An image series that was written.

    Attributes
    ----------
    paths, datasets, uids
        Of its files, in the order of the planes: one a plane, or one for all planes.
    origins
        (planes, 3) LPS mm, centres of the planes' first pixels.
    row, column
        (3,) direction cosines along a row, along a column.
    spacing
        Between rows, between columns, mm.
    is_multi_frame
        Whether all planes are frames of one instance.
    """

    folder: Path
    paths: list[Path]
    datasets: list[Dataset]
    uids: list[str]
    series: str
    study: str
    frame_of_reference: str
    sop_class: str
    origins: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    spacing: tuple[float, float]
    shape: tuple[int, int, int]
    is_multi_frame: bool = False

    def uid(self, plane: int) -> str:
        """SOP Instance UID of the instance that has a plane (from 0)."""
        return self.uids[0 if self.is_multi_frame else plane]

    def dataset(self, plane: int) -> Dataset:
        """Dataset of the instance that has a plane (from 0)."""
        return self.datasets[0 if self.is_multi_frame else plane]

    def frames(self, plane: int) -> list[int] | None:
        """Frame numbers by which a plane (from 0) is named; None for an image of one frame."""
        return [plane + 1] if self.is_multi_frame else None

    def of_pixels(self, plane: int, indices: Any) -> NDArray[np.float64]:
        """(n, 2) indices (column, row), from 0 at the centre of the first pixel -> (n, 3) LPS mm: PS3.3 C.7.6.2.1.1."""
        between_rows, between_columns = self.spacing
        found = []
        for i, j in np.asarray(indices, float).reshape(-1, 2):
            found.append(self.origins[plane] + self.row * between_columns * i + self.column * between_rows * j)
        return np.array(found)

    def of_graphic(self, plane: int, data: Any) -> NDArray[np.float64]:
        """(n, 2) Graphic Data of an SCOORD -> (n, 3) LPS mm; (0, 0) is the corner of the first pixel: C.18.6.1.1."""
        return self.of_pixels(plane, np.asarray(data, float).reshape(-1, 2) - 0.5)


def write_series(
    folder: Path,
    orientation: str = "axial",
    modality: str = "CT",
    shape: tuple[int, int, int] = (5, 40, 48),
    origin: Sequence[float] = (-31.25, -22.5, 101.75),
    step: float = 2.5,
    spacing: tuple[float, float] = (ROW_SPACING, COLUMN_SPACING),
    study: str = "",
    patient: str = "P1",
) -> SeriesOfImages:
    """Write a file a plane. ``spacing`` is between rows, then columns; ``step`` between planes along the normal, mm."""
    made = _series(folder, orientation, CLASSES[modality], shape, origin, step, spacing, study)
    for number, position in enumerate(made.origins):
        image = _common(made, modality, patient)
        image.PatientPosition = ORIENTATIONS[orientation][1]
        image.InstanceNumber, image.AcquisitionNumber = number + 1, 1
        image.ImagePositionPatient = _decimals(position)
        image.ImageOrientationPatient = _decimals([*made.row, *made.column])
        image.PixelSpacing, image.SliceThickness = list(spacing), step
        for keyword, value in _OF_MODALITY[modality].items():
            setattr(image, keyword, value)
        image.PixelData = _pixels(shape, number).tobytes()
        _save(image, made, f"{modality}{number + 1:03d}.dcm")
    return made


def write_multi_frame(
    folder: Path,
    orientation: str = "oblique",
    shape: tuple[int, int, int] = (6, 40, 48),
    origin: Sequence[float] = (14.5, -60.25, 33.0),
    step: float = 1.75,
    spacing: tuple[float, float] = (ROW_SPACING, COLUMN_SPACING),
    study: str = "",
    patient: str = "P1",
) -> SeriesOfImages:
    """Write one Enhanced CT image; its frames lie one behind the other along the normal (PS3.3 A.38.1)."""
    made = _series(folder, orientation, ENHANCED_CT, shape, origin, step, spacing, study, is_multi_frame=True)
    image = _common(made, "CT", patient)
    image.PatientPosition = ORIENTATIONS[orientation][1]
    image.InstanceNumber, image.NumberOfFrames = 1, shape[0]
    for keyword, value in _OF_ENHANCED.items():
        setattr(image, keyword, value)
    organization = generate_uid()
    image.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    image.DimensionIndexSequence = [
        item(
            DimensionIndexPointer=0x00209057, FunctionalGroupPointer=0x00209111,  # In-Stack Position Number
            DimensionOrganizationUID=organization, DimensionDescriptionLabel="In-Stack Position Number",
        )
    ]  # fmt: skip
    image.SharedFunctionalGroupsSequence = [_shared_groups(made, step)]
    image.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[
                item(FrameAcquisitionNumber=1, StackID="1", InStackPositionNumber=n + 1, DimensionIndexValues=[n + 1])
            ],
            PlanePositionSequence=[item(ImagePositionPatient=_decimals(position))],
        )
        for n, position in enumerate(made.origins)
    ]
    image.PixelData = b"".join(_pixels(shape, number).tobytes() for number in range(shape[0]))
    _save(image, made, "enhanced.dcm")
    return made


def _series(
    folder: Path,
    orientation: str,
    sop_class: str,
    shape: tuple[int, int, int],
    origin: Sequence[float],
    step: float,
    spacing: tuple[float, float],
    study: str,
    is_multi_frame: bool = False,
) -> SeriesOfImages:
    folder.mkdir(parents=True, exist_ok=True)
    # As the files say it: decimal strings have 16 characters.
    cosines = np.array(_decimals(ORIENTATIONS[orientation][0]))
    row, column = cosines[:3], cosines[3:]
    positions = np.array(origin) + np.arange(shape[0])[:, None] * step * np.cross(row, column)
    origins = np.array([_decimals(position) for position in positions])
    uids = (generate_uid(), study or generate_uid(), generate_uid())
    return SeriesOfImages(folder, [], [], [], *uids, sop_class, origins, row, column, spacing, shape, is_multi_frame)


def _decimals(values: Any) -> list[float]:
    """Numbers that a decimal string of 16 characters can say (PS3.5 6.2)."""
    return [float(f"{value:.9f}") for value in np.asarray(values, float)]


def _pixels(shape: tuple[int, int, int], plane: int) -> NDArray[np.int16]:
    rows, columns = np.indices(shape[1:])
    return (rows * 7 + columns * 3 + plane * 11).astype("<i2")


def _common(made: SeriesOfImages, modality: str, patient: str) -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = made.sop_class, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = made.study, made.series
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = made.frame_of_reference, ""
    image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "Doe^Jane", patient, "", "F"
    image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20260101", "120000", "1", ""
    image.SeriesNumber, image.SeriesDescription, image.Modality = 1, "Images", modality
    image.ReferringPhysicianName = ""
    if not made.is_multi_frame:  # of a paired body part it must be there (PS3.3 C.7.3.1), and frames say it themselves
        image.Laterality = ""
    image.Manufacturer, image.ManufacturerModelName = "test", "test"
    image.DeviceSerialNumber, image.SoftwareVersions = "1", "1"
    image.ContentDate, image.ContentTime = "20260101", "120000"
    image.Rows, image.Columns = made.shape[1:]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    return image


_OF_MODALITY: dict[str, dict[str, Any]] = {
    "CT": {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "HU",
        "KVP": 120,
    },
    "MR": {
        "ImageType": ["ORIGINAL", "PRIMARY", "M"], "ScanningSequence": "SE", "SequenceVariant": "NONE",
        "ScanOptions": "", "MRAcquisitionType": "2D", "EchoTime": 20, "EchoTrainLength": 1, "RepetitionTime": 500,
    },
}  # fmt: skip

_OF_ENHANCED: dict[str, Any] = {
    "ImageType": ["DERIVED", "PRIMARY", "VOLUME", "NONE"],
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
    "ContentQualification": "RESEARCH",
    "PresentationLUTShape": "IDENTITY",
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00",
    "InstanceCreationDate": "20260101",
    "AcquisitionContextSequence": [],
    "DimensionOrganizationType": "3D",
}


def _shared_groups(made: SeriesOfImages, step: float) -> Dataset:
    """The functional groups that Enhanced CT images which are derived need (PS3.3 Table A.38-2)."""
    anatomy = item(AnatomicRegionSequence=[code("818981001", "SCT", "Abdomen")], FrameLaterality="U")
    frame_type = item(
        FrameType=_OF_ENHANCED["ImageType"], PixelPresentation="MONOCHROME", VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )  # fmt: skip
    return item(
        PixelMeasuresSequence=[item(PixelSpacing=list(made.spacing), SliceThickness=step)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=_decimals([*made.row, *made.column]))],
        FrameAnatomySequence=[anatomy],
        CTImageFrameTypeSequence=[frame_type],
        PixelValueTransformationSequence=[item(RescaleIntercept=0, RescaleSlope=1, RescaleType="HU")],
        FrameVOILUTSequence=[item(WindowCenter=100, WindowWidth=400)],
        IrradiationEventIdentificationSequence=[item(IrradiationEventUID=generate_uid())],
    )


def _save(image: Dataset, made: SeriesOfImages, name: str) -> None:
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = made.folder / name
    image.save_as(path, enforce_file_format=True)
    made.paths.append(path)
    made.datasets.append(image)
    made.uids.append(image.SOPInstanceUID)
