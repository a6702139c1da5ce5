"""Synthetic RT structure sets and the images that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicombridge.encode import decimal_string, element, sequence

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass
class Images:
    """An image series that was written."""

    folder: Path
    uids: list[str]
    series: str
    study: str
    frame_of_reference: str
    modality: str
    affine: NDArray[np.float64]

    def lps(self, points: Any) -> NDArray[np.float64]:
        """Return (n, 3) points (slice, row, column) in LPS."""
        return np.asarray(points, float) @ self.affine[:3, :3].T + self.affine[:3, 3]


def write_images(
    folder: Path,
    shape: tuple[int, int, int] = (5, 20, 24),
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (1.0, 1.0),
    step: float = 2.0,
    modality: str = "CT",
    frame_of_reference: str = "",
    patient: str = "P1",
    study: str = "",
) -> Images:
    """Write a series of small images; ``spacing`` is between rows, then columns, ``step`` between slices, in mm."""
    folder.mkdir(parents=True, exist_ok=True)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    study, series = study or generate_uid(), generate_uid()
    frame_of_reference = frame_of_reference or generate_uid()
    uids = [generate_uid() for _ in range(shape[0])]
    for number, uid in enumerate(uids):
        image = _common(CLASSES[modality], uid, study, series, modality, patient)
        image.FrameOfReferenceUID, image.PositionReferenceIndicator = frame_of_reference, ""
        image.SeriesNumber, image.InstanceNumber = 1, number + 1
        image.ImagePositionPatient = [decimal_string(value) for value in np.array(origin) + number * step * normal]
        image.ImageOrientationPatient = [decimal_string(value) for value in orientation]
        image.PixelSpacing, image.SliceThickness = list(spacing), step
        image.Rows, image.Columns = shape[1:]
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.RescaleIntercept, image.RescaleSlope = 0, 1
        image.PixelData = bytes(2 * shape[1] * shape[2])
        image.save_as(folder / f"{modality}{number:03d}.dcm", enforce_file_format=True)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * step, column * spacing[0], row * spacing[1]
    affine[:3, 3] = origin
    return Images(folder, uids, series, study, frame_of_reference, modality, affine)


def _common(sop_class: str, uid: str, study: str, series: str, modality: str, patient: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = sop_class, uid
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "20260101", "120000", "", "1"
    dataset.ReferringPhysicianName, dataset.Manufacturer = "", "test"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Doe^Jane", patient, "", "F"
    dataset.Modality = modality
    return dataset


@dataclass
class Drawn:
    """A contour to write."""

    points: Any
    type: str = "CLOSED_PLANAR"
    image: str = ""
    number: int | None = None
    declared: int | None = None
    offset: Sequence[float] | None = None
    text: bytes | None = None
    """Contour Data as it is written, instead of ``points``."""


@dataclass
class Drawing:
    """A region to write."""

    name: str
    contours: list[Drawn] = field(default_factory=list)
    number: int | None = None
    colour: Sequence[int] | None = None
    structure: dict[str, Any] = field(default_factory=dict)
    observation: dict[str, Any] | None = None
    has_item: bool = True
    """Whether there is an item in the ROI Contour Sequence."""


def write_structure_set(
    path: Path,
    regions: Sequence[Drawing],
    images: Images | None = None,
    frame_of_reference: str = "",
    patient: str = "P1",
    refer: bool = True,
    **values: Any,
) -> Path:
    """Write a structure set in explicit VR little endian; ``values`` are further attributes by keyword."""
    study = images.study if images else generate_uid()
    frame = frame_of_reference or (images.frame_of_reference if images else generate_uid())
    dataset = _common(RT_STRUCTURE_SET, generate_uid(), study, generate_uid(), "RTSTRUCT", patient)
    dataset.SeriesNumber, dataset.SeriesDescription, dataset.InstanceNumber = 7, "Structures", 1
    dataset.OperatorsName, dataset.StructureSetLabel = "", "Structures"
    dataset.StructureSetDate, dataset.StructureSetTime, dataset.ApprovalStatus = "20260101", "120000", "UNAPPROVED"
    if refer and images is not None:
        dataset.ReferencedFrameOfReferenceSequence = [_referenced(images, frame)]
    numbers = [position if one.number is None else one.number for position, one in enumerate(regions, start=1)]
    dataset.StructureSetROISequence = [
        _structure(one, number, frame) for one, number in zip(regions, numbers, strict=True)
    ]
    observations = [(one, number) for one, number in zip(regions, numbers, strict=True) if one.observation is not None]
    dataset.RTROIObservationsSequence = [
        _observation(one, number, place) for place, (one, number) in enumerate(observations, start=1)
    ]
    for keyword, value in values.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    sop_class = CLASSES[images.modality] if images else CLASSES["CT"]
    contours = sequence(
        0x30060039,
        [_roi_contour(one, number, sop_class) for one, number in zip(regions, numbers, strict=True) if one.has_item],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_file(dataset, contours))
    return path


def _referenced(images: Images, frame: str) -> Dataset:
    frame_item, study_item, series_item = Dataset(), Dataset(), Dataset()
    frame_item.FrameOfReferenceUID = frame
    study_item.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study_item.ReferencedSOPInstanceUID = images.study
    series_item.SeriesInstanceUID = images.series
    series_item.ContourImageSequence = [_image(uid, CLASSES[images.modality]) for uid in images.uids]
    study_item.RTReferencedSeriesSequence = [series_item]
    frame_item.RTReferencedStudySequence = [study_item]
    return frame_item


def _image(uid: str, sop_class: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


def _structure(one: Drawing, number: int, frame: str) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ReferencedFrameOfReferenceUID = number, frame
    item.ROIName, item.ROIGenerationAlgorithm = one.name, "MANUAL"
    for keyword, value in one.structure.items():
        setattr(item, keyword, value)
    return item


def _observation(one: Drawing, number: int, place: int) -> Dataset:
    item = Dataset()
    item.ObservationNumber, item.ReferencedROINumber = place, number
    item.RTROIInterpretedType, item.ROIInterpreter = "", ""
    for keyword, value in (one.observation or {}).items():
        setattr(item, keyword, value)
    return item


def _roi_contour(one: Drawing, number: int, sop_class: str) -> bytes:
    parts = []
    if one.colour is not None:
        parts.append(element(0x3006002A, b"IS", "\\".join(map(str, one.colour)).encode()))
    if one.contours:
        parts.append(sequence(0x30060040, [_contour(contour, sop_class) for contour in one.contours]))
    parts.append(element(0x30060084, b"IS", str(number).encode()))
    return b"".join(parts)


def _contour(one: Drawn, sop_class: str) -> bytes:
    points = np.asarray(one.points, float).reshape(-1, 3)
    parts = []
    if one.image:
        image = element(0x00081150, b"UI", sop_class.encode()) + element(0x00081155, b"UI", one.image.encode())
        parts.append(sequence(0x30060016, [image]))
    if one.type:
        parts.append(element(0x30060042, b"CS", one.type.encode()))
    if one.offset is not None:
        parts.append(element(0x30060045, b"DS", "\\".join(map(str, one.offset)).encode()))
    declared = len(points) if one.declared is None else one.declared
    parts.append(element(0x30060046, b"IS", str(declared).encode()))
    if one.number is not None:
        parts.append(element(0x30060048, b"IS", str(one.number).encode()))
    text = one.text
    if text is None:
        text = "\\".join(map(decimal_string, points.ravel().tolist())).encode()
    return b"".join(parts) + _contour_data(text)


def _contour_data(text: bytes) -> bytes:
    """Return Contour Data; beyond 64 KiB as UN, since the length of DS has 16 bits (PS3.5 6.2.2 note 2)."""
    if len(text) < 1 << 16:
        return element(0x30060050, b"DS", text)
    text += b" " * (len(text) % 2)
    return b"\x06\x30\x50\x00UN\0\0" + len(text).to_bytes(4, "little") + text


def _file(dataset: Dataset, contours: bytes) -> bytes:
    """Return the file: the ROI Contour Sequence is put between the other elements as it is."""
    before, after, meta = DicomBytes(), DicomBytes(), DicomBytes()
    dataset.file_meta.ImplementationClassUID = "1.2.3"
    write_file_meta_info(meta, dataset.file_meta)
    write_dataset(before, dataset[:0x30060039])
    write_dataset(after, dataset[0x30060039:])
    return b"\0" * 128 + b"DICM" + meta.content() + before.content() + contours + after.content()


class DicomBytes(DicomIO):
    """A buffer in explicit VR little endian."""

    def __init__(self) -> None:
        self._bytes = BytesIO()
        super().__init__(self._bytes)
        self.is_little_endian, self.is_implicit_VR = True, False

    def content(self) -> bytes:
        return self._bytes.getvalue()


# --- Shapes --------------------------------------------------------------------------------------------------------


def circle(place: float, row: float, column: float, radius: float, points: int = 60) -> NDArray[np.float64]:
    """Return (n, 3) points (slice, row, column)."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.full(points, place), row + radius * np.sin(angle), column + radius * np.cos(angle)], axis=1)


def box(place: float, top: float, left: float, bottom: float, right: float) -> NDArray[np.float64]:
    """Return the four corners of a rectangle, (slice, row, column)."""
    return np.array([[place, top, left], [place, top, right], [place, bottom, right], [place, bottom, left]], float)
