"""Headers of PET series made element by element: a test can have any vendor's, right or wrong.

The patient of all of them: 70 kg, 1.75 m, male; 350 MBq of F-18 (6586.2 s) at 10:00 on 31 January 2024, scan at 11:00.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

PET = "1.2.840.10008.5.1.4.1.1.128"
LEGACY_PET = "1.2.840.10008.5.1.4.1.1.128.1"
ENHANCED_PET = "1.2.840.10008.5.1.4.1.1.130"
PHILIPS = "Philips PET Private Group"
GE = "GEMS_PETD_01"

BASE: Mapping[str, Any] = {
    "SOPClassUID": PET,
    "Modality": "PT",
    "Manufacturer": "SIEMENS",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "SeriesType": ["WHOLE BODY", "IMAGE"],
    "Units": "BQML",
    "CountsSource": "EMISSION",
    "DecayCorrection": "START",
    "CorrectedImage": ["NORM", "DTIM", "ATTN", "SCAT", "DECY"],
    "PatientWeight": "70",
    "PatientSize": "1.75",
    "PatientSex": "M",
    "SeriesDate": "20240131",
    "SeriesTime": "110000",
    "AcquisitionDate": "20240131",
    "AcquisitionTime": "110000",
    "ActualFrameDuration": "180000",
    "RescaleSlope": "2.5",
    "RescaleIntercept": "0",
}
AGENT: Mapping[str, Any] = {
    "RadiopharmaceuticalStartTime": "100000",
    "RadiopharmaceuticalStartDateTime": "20240131100000",
    "RadionuclideTotalDose": "350000000",
    "RadionuclideHalfLife": "6586.2",
}


def with_attributes(dataset: Dataset, attributes: Mapping[str, Any]) -> Dataset:
    """Set attributes; None removes one."""
    for keyword, value in attributes.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)
    return dataset


def code(value: str, scheme: str, meaning: str) -> Dataset:
    return with_attributes(
        Dataset(), {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning or value}
    )


def agent(**attributes: Any) -> Dataset:
    """An item of the Radiopharmaceutical Information Sequence."""
    return with_attributes(Dataset(), {**AGENT, **attributes})


def header(agents: Sequence[Dataset] | None = None, **attributes: Any) -> Dataset:
    """The header of a slice. Attributes of the radiopharmaceutical go into its item."""
    own = {keyword: attributes.pop(keyword) for keyword in list(attributes) if keyword in AGENT}
    dataset = with_attributes(Dataset(), {**BASE, "SOPInstanceUID": generate_uid(), **attributes})
    dataset.RadiopharmaceuticalInformationSequence = [agent(**own)] if agents is None else list(agents)
    return dataset


def series(slices: Sequence[Mapping[str, Any]], **attributes: Any) -> list[Dataset]:
    """Headers of slices that differ in some attributes."""
    return [header(**{**attributes, **own}) for own in slices]


def philips(dataset: Dataset, suv: str = "", activity: str = "", creator: str = PHILIPS) -> Dataset:
    """Add the private factors of Philips."""
    block = dataset.private_block(0x7053, creator, create=True)
    for element, value in ((0x00, suv), (0x09, activity)):
        if value:
            block.add_new(element, "DS", value)
    return dataset


def ge(dataset: Dataset, scan: str, creator: str = GE) -> Dataset:
    """Add the private scan date and time of GE."""
    dataset.private_block(0x0009, creator, create=True).add_new(0x0D, "DT", scan)
    return dataset


# --- multi-frame ---------------------------------------------------------------------------------------------------


def item(**attributes: Any) -> Dataset:
    return with_attributes(Dataset(), attributes)


def value_map(units: Dataset, slope: float, intercept: float = 0.0) -> Dataset:
    """An item of the Real World Value Mapping Sequence."""
    return item(MeasurementUnitsCodeSequence=[units], RealWorldValueSlope=slope, RealWorldValueIntercept=intercept)


def enhanced(
    acquisitions: Sequence[str] = ("20240131110000", "20240131110300"),
    units: Dataset | None = None,
    rescale: Sequence[float] = (2.5, 5.0),
    factors: Sequence[float] = (),
    maps: bool = True,
    **attributes: Any,
) -> Dataset:
    """An Enhanced PET Image: times are in the frames, units in real world value maps."""
    own = {keyword: attributes.pop(keyword) for keyword in list(attributes) if keyword in AGENT}
    units = units or code("Bq/ml", "UCUM", "Becquerels/milliliter")
    dataset = with_attributes(
        Dataset(),
        {
            "SOPClassUID": ENHANCED_PET,
            "SOPInstanceUID": generate_uid(),
            "Modality": "PT",
            "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            "PatientWeight": "70",
            "PatientSize": "1.75",
            "PatientSex": "M",
            "SeriesDate": "20240131",
            "SeriesTime": "120000",
            "AttenuationCorrected": "YES",
            "DecayCorrected": "YES",
            "DecayCorrectionDateTime": "20240131110000",
            "NumberOfFrames": len(acquisitions),
            **attributes,
        },
    )
    dataset.RadiopharmaceuticalInformationSequence = [agent(**{"RadiopharmaceuticalStartTime": None, **own})]
    dataset.SharedFunctionalGroupsSequence = [Dataset()]
    frames = []
    for number, acquired in enumerate(acquisitions):
        frame = item(
            FrameContentSequence=[item(FrameAcquisitionDateTime=acquired, FrameAcquisitionDuration=180000.0)],
            PixelValueTransformationSequence=[
                item(RescaleSlope=str(rescale[number]), RescaleIntercept="0", RescaleType="US")
            ],
        )
        if maps:
            frame.RealWorldValueMappingSequence = [value_map(units, rescale[number])]
        if factors:
            frame.PETFrameCorrectionFactorsSequence = [item(DecayFactor=factors[number])]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    return dataset


def legacy(headers: Sequence[Dataset]) -> Dataset:
    """A Legacy Converted Enhanced PET Image of slices: what all share, and what is each one's, as it was."""
    own = ("AcquisitionDate", "AcquisitionTime", "FrameReferenceTime", "DecayFactor", "ActualFrameDuration")
    top = ("SOPClassUID", "SOPInstanceUID", "Modality", "SeriesDate", "SeriesTime", "PatientWeight", "PatientSize")
    dataset, shared, frames = Dataset(), Dataset(), []
    for element in headers[0]:
        (dataset if element.keyword in (*top, "PatientSex") else shared).add(element)
    dataset.SOPClassUID, dataset.NumberOfFrames = LEGACY_PET, len(headers)
    for one in headers:
        frame = with_attributes(Dataset(), {keyword: one.get(keyword) for keyword in own if keyword in one})
        transformation = item(RescaleSlope=one.RescaleSlope, RescaleIntercept="0", RescaleType="US")
        frames.append(
            item(
                UnassignedPerFrameConvertedAttributesSequence=[frame],
                PixelValueTransformationSequence=[transformation],
            )
        )
    for keyword in (*own, "RescaleSlope", "RescaleIntercept"):
        if keyword in shared:
            delattr(shared, keyword)
    dataset.SharedFunctionalGroupsSequence = [item(UnassignedSharedConvertedAttributesSequence=[shared])]
    dataset.PerFrameFunctionalGroupsSequence = frames
    return dataset
