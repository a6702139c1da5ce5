"""Segmentation objects and source images made element by element: a test can have any of them, right or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from support.items import code, frame_reference

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
SPACING = (0.8, 1.25)
"""mm between rows, between columns."""


@dataclass
class Frame:
    """A frame to be written."""

    segment: int
    position: Sequence[float]
    pixels: NDArray[Any]
    orientation: Sequence[float] | None = None
    sources: Sequence[tuple[str, int]] = field(default=())
    """(SOP Instance UID, frame number or 0) of the source images."""


def decimal(value: float) -> str:
    return pydicom.valuerep.format_number_as_ds(float(value))


def decimals(values: Sequence[float]) -> list[str]:
    return [decimal(value) for value in values]


def segment_item(number: int, label: str = "", **attributes: Any) -> Dataset:
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel = label or f"Label {number}"
    item.SegmentAlgorithmType = "MANUAL"
    item.SegmentedPropertyCategoryCodeSequence = [code("123037004", "SCT", "Anatomical Structure")]
    item.SegmentedPropertyTypeCodeSequence = [code("10200004", "SCT", "Liver")]
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def dataset_of_class(sop_class: str, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = "1.2.3", "1.2.3.9"
    dataset.PatientID, dataset.PatientName, dataset.PatientSex, dataset.PatientBirthDate = "P-1", "DOE^JANE", "F", ""
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20240102", "101112", "1", ""
    dataset.ReferringPhysicianName, dataset.StudyDescription = "", "A study"
    return dataset


def segmentation(
    frames: Sequence[Frame],
    *,
    kind: str = "BINARY",
    segments: Sequence[Dataset] | None = None,
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = SPACING,
    bits: int = 8,
    **attributes: Any,
) -> Dataset:
    """Return a segmentation; SliceThickness and SpacingBetweenSlices are left out."""
    dataset = dataset_of_class(LABEL_MAP if kind == "LABELMAP" else SEGMENTATION)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SeriesInstanceUID, dataset.Modality, dataset.SeriesNumber = "1.2.3.50", "SEG", 50
    dataset.SeriesDescription, dataset.InstanceNumber, dataset.ContentLabel = "Organs", 1, "ORGANS"
    dataset.ContentCreatorName, dataset.Manufacturer, dataset.ManufacturerModelName = "DOE^JOHN", "Acme", "Seg 1"
    dataset.SegmentationType = kind
    numbers = sorted({frame.segment for frame in frames})
    dataset.SegmentSequence = [segment_item(number) for number in numbers] if segments is None else list(segments)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.Rows, dataset.Columns = frames[0].pixels.shape
    dataset.NumberOfFrames = len(frames)
    dataset.BitsAllocated = dataset.BitsStored = 1 if kind == "BINARY" else bits
    dataset.HighBit = dataset.BitsStored - 1
    if kind == "FRACTIONAL":
        dataset.SegmentationFractionalType, dataset.MaximumFractionalValue = "PROBABILITY", 255
    dataset.SharedFunctionalGroupsSequence = [_shared(orientation, spacing)]
    dataset.PerFrameFunctionalGroupsSequence = [_group(frame, kind) for frame in frames]
    pixels = np.stack([frame.pixels for frame in frames])
    if kind == "BINARY":
        content = np.packbits(pixels.ravel() != 0, bitorder="little").tobytes()
    else:
        content = pixels.astype("<u2" if bits == 16 else "u1").tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OW" if bits == 16 and kind != "BINARY" else "OB"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _shared(orientation: Sequence[float], spacing: Sequence[float]) -> Dataset:
    group, plane, measures = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = decimals(orientation)
    measures.PixelSpacing = decimals(spacing)
    group.PlaneOrientationSequence, group.PixelMeasuresSequence = [plane], [measures]
    return group


def _group(frame: Frame, kind: str) -> Dataset:
    group, plane = Dataset(), Dataset()
    plane.ImagePositionPatient = decimals(frame.position)
    if frame.sources:
        derivation = Dataset()
        derivation.SourceImageSequence = [frame_reference(CTImageStorage, uid, number) for uid, number in frame.sources]
        group.DerivationImageSequence = [derivation]
    group.PlanePositionSequence = [plane]
    if frame.orientation is not None:
        own = Dataset()
        own.ImageOrientationPatient = decimals(frame.orientation)
        group.PlaneOrientationSequence = [own]
    if kind != "LABELMAP":
        identification = Dataset()
        identification.ReferencedSegmentNumber = frame.segment
        group.SegmentIdentificationSequence = [identification]
    return group


def refer_to_series(dataset: Dataset, instances: Sequence[str], series: str = "1.2.3.40") -> None:
    """Common Instance Reference module (PS3.3 C.12.2)."""
    item = Dataset()
    item.SeriesInstanceUID = series
    item.ReferencedInstanceSequence = [frame_reference(CTImageStorage, uid, 0) for uid in instances]
    dataset.ReferencedSeriesSequence = [item]


def save(dataset: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def normal_of(orientation: Sequence[float]) -> NDArray[np.float64]:
    return np.cross(orientation[:3], orientation[3:])


def positions_along(
    orientation: Sequence[float], count: int, step: float, origin: Sequence[float] = (-10.5, 20.25, 30.0)
) -> list[NDArray[np.float64]]:
    return [np.array(origin) + place * step * normal_of(orientation) for place in range(count)]


def ct_series(
    folder: Path,
    positions: Sequence[Sequence[float]],
    *,
    shape: tuple[int, int] = (12, 10),
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = SPACING,
    series: str = "1.2.3.40",
    **attributes: Any,
) -> list[str]:
    """Write single-frame CT images and return their SOP Instance UIDs."""
    uids = []
    for number, position in enumerate(positions, start=1):
        dataset = dataset_of_class(CTImageStorage)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{series}.{number}"
        dataset.SeriesInstanceUID, dataset.Modality, dataset.SeriesNumber = series, "CT", 4
        dataset.SeriesDescription, dataset.InstanceNumber = "Source", number
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = decimals(position), decimals(orientation)
        dataset.PixelSpacing, dataset.SliceThickness = decimals(spacing), "7"
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 1
        dataset.Rows, dataset.Columns = shape
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "0"
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.PixelData = np.full(shape, number, "<i2").tobytes()
        save(dataset, folder / f"{series.rsplit('.')[-1]}-{number:04}.dcm")
        uids.append(str(dataset.SOPInstanceUID))
    return uids


def blobs(seed: int, count: int, shape: tuple[int, int] = (12, 10), density: float = 0.3) -> NDArray[np.uint8]:
    """Random masks, (count, rows, columns)."""
    return (np.random.default_rng(seed).random((count, *shape)) < density).astype(np.uint8)


def stack_frames(
    masks: Mapping[int, NDArray[Any]], positions: Sequence[Sequence[float]], sources: Sequence[str] = ()
) -> list[Frame]:
    """Frames of segments whose masks are (slices, rows, columns); those without a voxel are left out."""
    return [
        Frame(number, positions[place], mask[place], sources=[(sources[place], 0)] if sources else ())
        for number, mask in masks.items()
        for place in range(len(positions))
        if mask[place].any()
    ]
