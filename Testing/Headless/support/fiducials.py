"""Synthetic Spatial Fiducials objects, as PS3.3 C.21.2 describes them, with the habits of several producers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from support.rt_structures import Images

SPATIAL_FIDUCIALS = "1.2.840.10008.5.1.4.1.1.66.2"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
FRAME = "1.2.826.0.1.3680043.8.498.77"


@dataclass
class Pixels:
    """Graphic Data in an image: pairs (column, row)."""

    uid: str
    pairs: Sequence[Sequence[float]]
    frame: int | Sequence[int] | None = None
    sop_class: str = "1.2.840.10008.5.1.4.1.1.2"


@dataclass
class Mark:
    """A fiducial to write: ``points`` are LPS mm; ``values`` are further attributes by keyword, None removes one."""

    identifier: str
    shape: str = "POINT"
    points: Any = None
    pixels: Sequence[Pixels] = ()
    code: tuple[str, str, str] | None = None
    category: tuple[str, str, str] | None = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class MarkSet:
    """A fiducial set to write."""

    marks: Sequence[Mark]
    frame: str = FRAME
    images: Sequence[tuple[str, str]] = ()


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def image_item(sop_class: str, uid: str, frame: int | Sequence[int] | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    if frame is not None:
        item.ReferencedFrameNumber = frame if isinstance(frame, int) else list(frame)
    return item


def write_fiducials(path: Path, sets: Sequence[MarkSet], study: str = "", **values: Any) -> Path:
    """Write an object in explicit VR little endian; ``values`` are further attributes, None removes one."""
    dataset = _common(SPATIAL_FIDUCIALS, generate_uid(), study or generate_uid(), generate_uid(), "FID")
    dataset.SeriesNumber, dataset.SeriesDescription, dataset.InstanceNumber = 9, "Landmarks", 1
    dataset.ContentDate, dataset.ContentTime = "20260102", "101112"
    dataset.ContentLabel, dataset.ContentDescription = "LANDMARKS", "Landmarks of a test"
    dataset.FiducialSetSequence = [_set(one) for one in sets]
    for keyword, value in values.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _common(sop_class: str, uid: str, study: str, series: str, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = sop_class, uid
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "20260101", "120000", "", "1"
    dataset.ReferringPhysicianName, dataset.Manufacturer = "", "test"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Doe^Jane", "P1", "", "F"
    dataset.Modality = modality
    return dataset


def _set(one: MarkSet) -> Dataset:
    item = Dataset()
    if one.frame:
        item.FrameOfReferenceUID = one.frame
    if one.images:
        item.ReferencedImageSequence = [image_item(*image) for image in one.images]
    item.FiducialSequence = [_mark(mark) for mark in one.marks]
    return item


def _mark(one: Mark) -> Dataset:
    item = Dataset()
    if one.identifier:
        item.FiducialIdentifier = one.identifier
    item.ShapeType, item.FiducialUID = one.shape, generate_uid()
    if one.code:
        item.FiducialIdentifierCodeSequence = [code(*one.code)]
    if one.category:
        item.FiducialsPropertyCategoryCodeSequence = [code(*one.category)]
    if one.points is not None:
        points = np.asarray(one.points, float).reshape(-1, 3)
        item.NumberOfContourPoints = len(points)
        item.ContourData = [repr(value)[:16] for value in points.ravel().tolist()]
    if one.pixels:
        item.GraphicCoordinatesDataSequence = [_graphic(part) for part in one.pixels]
    for keyword, value in one.values.items():
        if value is None:
            del item[keyword]
        else:
            setattr(item, keyword, value)
    return item


def _graphic(one: Pixels) -> Dataset:
    item = Dataset()
    item.ReferencedImageSequence = [image_item(one.sop_class, one.uid, one.frame)]
    item.GraphicData = [float(value) for pair in one.pairs for value in pair]
    return item


# --- Objects -------------------------------------------------------------------------------------------------------

NASION = ("12345", "99TEST", "Nasion")
L_POINTS = ((0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (10.0, 5.0, 0.0))


def every_shape() -> MarkSet:
    """One fiducial of each shape in patient coordinates, with all that may be said about one."""
    described = {"FiducialDescription": "Bridge of the nose", "ContourUncertaintyRadius": 0.75}
    return MarkSet(
        [
            Mark("NASION", points=[(1.25, -80.5, 30.125)], code=NASION,
                 category=("111412", "DCM", "Anatomic landmark"), values=described),
            Mark("AXIS", "LINE", [(-30.0, 0.5, 2.0), (31.5, 0.25, 2.0)], values={"ContourUncertaintyRadius": 2.0}),
            Mark("LPA", points=[(70.0, 10.0, -5.5)]),
            Mark("MSP", "PLANE", [(0.0, -50.0, 0.0), (0.5, 50.0, 0.0), (0.25, 0.0, 60.0)]),
            Mark("SKIN", "SURFACE", [(x, y, x * y / 50.0) for x in (-20.0, 0.0, 20.0) for y in (-9.0, 0.0, 9.5)]),
            Mark("RULE", "RULER", [(5.0 * n, 100.0, 3.0) for n in range(6)]),
            Mark("ELL", "L_SHAPE", L_POINTS),
            Mark("TEE", "T_SHAPE", [(-8.0, 0.0, 4.0), (8.0, 0.0, 4.0), (0.0, 12.0, 4.0)]),
            Mark("RING", "SHAPE", [(0.0, 0.0, 9.0), (9.0, 0.0, 9.0), (9.0, 9.0, 9.5), (0.0, 0.0, 9.0)]),
            Mark("ZIG", "SHAPE", [(0.0, 0.0, 1.0), (3.0, 0.0, 1.0), (3.0, 4.0, 2.0)]),
            Mark("BAR", "SHAPE", [(0.0, 0.0, 1.0), (3.0, 4.0, 1.0)]),
        ]
    )  # fmt: skip


def in_images(images: Images, sop_class: str = "1.2.840.10008.5.1.4.1.1.2") -> MarkSet:
    """Fiducials that have pixel coordinates alone; the line goes from one slice to another."""
    return MarkSet(
        [
            Mark("P1", pixels=[Pixels(images.uids[1], [(3.5, 4.25)], sop_class=sop_class)]),
            Mark("P2", pixels=[Pixels(images.uids[3], [(0.5, 0.5)], sop_class=sop_class)]),
            Mark("TRACK", "LINE", pixels=[Pixels(images.uids[0], [(2.0, 3.0)], sop_class=sop_class),
                                          Pixels(images.uids[4], [(10.25, 7.0)], sop_class=sop_class)]),
        ],
        frame="",
        images=[(sop_class, uid) for uid in images.uids],
    )  # fmt: skip


def write_multi_frame(folder: Path, frame_of_reference: str) -> tuple[str, NDArray[np.float64]]:
    """Write an Enhanced MR image of three oblique frames, not in order; return its UID and (3, 3) positions."""
    uid = generate_uid()
    dataset = _common(ENHANCED_MR, uid, generate_uid(), generate_uid(), "MR")
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = frame_of_reference, ""
    dataset.InstanceNumber, dataset.NumberOfFrames, dataset.Rows, dataset.Columns = 1, 3, 10, 12
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    row, column = oblique()
    positions = np.array([[5.0, 6.0, 7.0]]) + np.outer([0.0, 8.0, 4.0], np.cross(row, column))
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [1.5, 0.5]
    orientation.ImageOrientationPatient = [f"{value:.12f}" for value in (*row, *column)]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for position in positions:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [f"{value:.12f}" for value in position]
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.PixelData = bytes(3 * 10 * 12)
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / "multi.dcm", enforce_file_format=True)
    return uid, np.array([[float(f"{value:.12f}") for value in position] for position in positions])


def oblique() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions of a row and of a column that are along no axis."""
    row = np.array([2.0, 1.0, -2.0]) / 3
    column = np.array([1.0, 2.0, 2.0]) / 3
    return row, column


# --- Reading -------------------------------------------------------------------------------------------------------


def lps_of(node: Any) -> NDArray[np.float64]:
    """Control points in LPS mm, turned here once more by hand."""
    points = [node.GetNthControlPointPositionWorld(number) for number in range(node.GetNumberOfControlPoints())]
    return np.array([(-x, -y, z) for x, y, z in points], dtype=float).reshape(-1, 3)


def labels_of(node: Any) -> list[str]:
    return [node.GetNthControlPointLabel(number) for number in range(node.GetNumberOfControlPoints())]
