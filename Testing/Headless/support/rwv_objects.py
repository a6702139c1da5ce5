"""Mapping objects and PET series for tests, written with pydicom alone."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from image_support import as_text, write_slice
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage

from dicombridge.image.series import read_planes
from dicombridge.image.stacks import find_stacks
from support import items, pt_headers
from support.items import code
from support.volumes import array_of

RWVM_STORAGE = "1.2.840.10008.5.1.4.1.1.67"
SUV_UNITS = ("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight")
ADC_UNITS = ("mm2/s", "UCUM", "square millimetre per second")
SUV_QUANTITY = ("126400", "DCM", "Standardized Uptake Value")
ADC_QUANTITY = ("113041", "DCM", "Apparent Diffusion Coefficient")
ENHANCED_CT = "images/enhanced_ct/eCT_Supplemental.dcm"
CT_38 = "seg/dcmqi_23x38x3/ct"
PET_27 = "rt/sts_002_mim/pet/image"


def data_folder() -> Path:
    """Where the shared data is, for objects that are made before a fixture can say so."""
    return Path(os.environ.get("DICOMBRIDGE_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")


def headers_in(folder: Path) -> list[Dataset]:
    """Headers of all images of a folder, in slice order."""
    (stack,) = find_stacks(read_planes([str(path) for path in sorted(folder.iterdir())]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [pydicom.dcmread(path) for path in dict.fromkeys(plane.path for plane in stack.planes)]


def definition(concept: Sequence[str], value: Sequence[str]) -> Dataset:
    item = Dataset()
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence, item.ConceptCodeSequence = [code(*concept)], [code(*value)]
    return item


def mapping_item(
    slope: float | None = 1.0,
    intercept: float | None = 0.0,
    *,
    first: float = 0,
    last: float = 65535,
    lut: Sequence[float] | None = None,
    label: str = "SUVbw",
    units: Sequence[str] = SUV_UNITS,
    quantity: Sequence[str] | None = SUV_QUANTITY,
    vr: str = "US",
    concept: Sequence[str] = ("246205007", "SCT", "Quantity"),
) -> Dataset:
    """An item of a Real World Value Mapping Sequence, element by element."""
    item = Dataset()
    item.LUTLabel, item.LUTExplanation = label, f"Test {label}"
    item.MeasurementUnitsCodeSequence = [code(*units)]
    for end, value in (("First", first), ("Last", last)):
        if vr == "FD":
            setattr(item, f"DoubleFloatRealWorldValue{end}ValueMapped", float(value))
        else:
            element = DataElement(f"RealWorldValue{end}ValueMapped", vr, int(value))
            item[element.tag] = element
    if lut is not None:
        item.RealWorldValueLUTData = [float(value) for value in lut]
    if slope is not None:
        item.RealWorldValueSlope = slope
    if intercept is not None:
        item.RealWorldValueIntercept = intercept
    if lut is not None:
        del item.RealWorldValueSlope, item.RealWorldValueIntercept
    if quantity is not None:
        item.QuantityDefinitionSequence = [definition(concept, quantity)]
    return item


def group(images: Sequence[Dataset], *items: Dataset, frames: Sequence[int] = ()) -> Dataset:
    """An item of the Referenced Image Real World Value Mapping Sequence."""
    outer = Dataset()
    outer.ReferencedImageSequence = [reference(image) for image in images]
    if frames:
        outer.ReferencedImageSequence[0].ReferencedFrameNumber = list(frames)
    outer.RealWorldValueMappingSequence = list(items)
    return outer


def reference(image: Dataset) -> Dataset:
    return items.reference(image.SOPClassUID, image.SOPInstanceUID)


def write_object(path: Path, images: Sequence[Dataset], groups: Sequence[Dataset], **attributes: Any) -> Path:
    """Write a mapping object for images."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = RWVM_STORAGE
    uid = f"2.25.{zlib.crc32(path.name.encode())}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    dataset.SeriesInstanceUID = "2.25.4711"
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate"):
        setattr(dataset, keyword, images[0].get(keyword, ""))
    dataset.StudyTime = dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = "RWV", 9, "Mapped"
    dataset.Manufacturer, dataset.InstanceNumber = "A maker", 1
    dataset.ContentDate, dataset.ContentTime = "20240102", "030405"
    dataset.ContentLabel, dataset.ContentDescription, dataset.ContentCreatorName = "MAP", "A map", "Doe^Jane"
    dataset.ReferencedImageRealWorldValueMappingSequence = list(groups)
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = [reference(image) for image in images]
    dataset.ReferencedSeriesSequence = [series]
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path, enforce_file_format=True)
    return path


def write_pet(folder: Path, slices: int = 4, **attributes: Any) -> list[Dataset]:
    """Write a small PET series whose rescale slope differs from slice to slice; None removes an attribute."""
    agent = Dataset()
    agent.RadiopharmaceuticalStartDateTime = "20240131100000"
    agent.RadionuclideTotalDose, agent.RadionuclideHalfLife = "350000000", "6586.2"
    agent.RadiopharmaceuticalCodeSequence = [code("35321007", "SCT", "Fluorodeoxyglucose F^18^")]
    agent.RadionuclideCodeSequence = [code("77004003", "SCT", "^18^Fluorine")]
    known = {
        "Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["ATTN", "DECY"],
        "PatientWeight": "70", "PatientSize": "1.75", "PatientSex": "F", "SeriesDate": "20240131",
        "SeriesTime": "110000", "AcquisitionDate": "20240131", "AcquisitionTime": "110000",
        "RadiopharmaceuticalInformationSequence": [agent], "SeriesType": ["STATIC", "IMAGE"],
    }  # fmt: skip
    known.update(attributes)
    generator = np.random.default_rng(5)
    paths = []
    for number in range(slices):
        pixels = generator.integers(0, 30000, (4, 5)).astype(np.int16)
        given = {"RescaleSlope": as_text(0.5 + 0.25 * number), "RescaleIntercept": "0", **known}
        paths.append(
            write_slice(
                folder, number + 1, (0, 0, 3 * number), pixels=pixels, series="1.2.3.7",
                sop_class=PositronEmissionTomographyImageStorage,
                **{keyword: value for keyword, value in given.items() if value is not None},
            )
        )  # fmt: skip
    return [pydicom.dcmread(path) for path in paths]


def stored_values(images: Sequence[Dataset]) -> NDArray[np.float64]:
    """Stored values [slice, row, column] as pydicom decodes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.stack([image.pixel_array for image in images]).astype(np.float64)


def applied(item: Dataset, stored: NDArray[np.float64]) -> NDArray[np.float64]:
    """The real world values of stored values, straight from the elements of an item; NaN beyond a table."""
    if "RealWorldValueLUTData" not in item:
        return stored * item.RealWorldValueSlope + item.RealWorldValueIntercept
    first = int(item.RealWorldValueFirstValueMapped)
    table = dict(enumerate(item.RealWorldValueLUTData, start=first))
    return np.vectorize(lambda value: table.get(int(value), np.nan), otypes=[float])(stored)


def values_of_file(path: Path, images: Sequence[Dataset], number: int = 0) -> NDArray[np.float64]:
    """What the one item of each group of a written object makes of the images."""
    found = {}
    for outer in pydicom.dcmread(path).ReferencedImageRealWorldValueMappingSequence:
        for one in outer.ReferencedImageSequence:
            found[one.ReferencedSOPInstanceUID] = outer.RealWorldValueMappingSequence[number]
    return np.stack([applied(found[image.SOPInstanceUID], stored_values([image])[0]) for image in images])


def units_of(node: Any) -> str:
    entry = node.GetVoxelValueUnits()
    return entry.GetCodeValue() if entry is not None else ""


def quantity_of(node: Any) -> str:
    entry = node.GetVoxelValueQuantity()
    return entry.GetCodeValue() if entry is not None else ""


def assert_voxels(node: Any, expected: NDArray[np.float64]) -> None:
    """The voxels are the expected ones, but for the rounding of 32-bit floats; NaN where NaN."""
    np.testing.assert_allclose(array_of(node), expected, rtol=3e-7, atol=1e-30)


def write_enhanced_dynamic_pet(path: Path, pixels: NDArray[np.uint16], **attributes: Any) -> Dataset:
    """Write a multi-frame PET image of stored values [time point, slice, row, column], ten minutes apart."""
    times, slices, rows, columns = pixels.shape
    acquired = [f"2024013111{10 * time:02d}00" for time in range(times) for _ in range(slices)]
    image = pt_headers.enhanced(acquisitions=acquired, rescale=[2.5] * len(acquired), **attributes)
    for number, frame in enumerate(image.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence = [pt_headers.item(ImagePositionPatient=[0, 0, 4 * (number % slices)])]
        frame.FrameContentSequence[0].TemporalPositionIndex = number // slices + 1
    shared = image.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence = [pt_headers.item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
    shared.PixelMeasuresSequence = [pt_headers.item(PixelSpacing=[2, 2])]
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3", "1.2.3.8"
    image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.PixelData = pixels.tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)
    return image
