"""The attributes that objects of all kinds share: patient, study, series, equipment, references (PS3.3 C.7, C.12).

A new object starts from what the node remembers of the object that it came from, takes patient and study from the
source images at hand, names this program as its maker, and lets the caller have the last word.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pydicom.valuerep import validate_value

from dicombridge.errors import ExportError
from dicombridge.references import Reference
from dicombridge.text import of_bytes

__all__ = [
    "RENEWED_OF_IMAGES",
    "NewObject",
    "apply_keywords",
    "instance_item",
    "new_header",
    "of_64_bytes",
    "record_predecessor",
    "report_losses",
    "set_attribute",
    "set_references",
    "set_source_images",
    "split_options",
]

_log = logging.getLogger(__name__)

# Attributes of patient and study, which a new object shares with the images that it was made on (PS3.3 C.7.1, C.7.2).
PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientComments",
    "OtherPatientIDsSequence",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialTimePointID",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
)

# Of these, values that break the rules of their VR are left out; they say nothing about who the patient is.
_CHECKED = ("PatientAge", "PatientSize", "PatientWeight")

# Of the object that was loaded, these are not those of the new one; everything else is kept.
_RENEWED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "InstanceCreationDate",
    "InstanceCreationTime",
    "InstanceCreatorUID",
    "SeriesDate",
    "SeriesTime",
    "ReferencedSeriesSequence",
    "StudiesContainingOtherReferencedInstancesSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
)

RENEWED_OF_IMAGES = (
    "ContentDate",
    "ContentTime",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelPaddingValue",
    "PhotometricInterpretation",
    "DimensionOrganizationType",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ConcatenationUID",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber",
    "SOPInstanceUIDOfConcatenationSource",
    "ICCProfile",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "PaletteColorLookupTableUID",
)
"""What follows from the frames that are written, for ``renewed`` of :func:`new_header`."""

# What options cannot say, because it follows from what is written.
_NOT_OPTIONS = frozenset(
    {
        "BitsAllocated",
        "BitsStored",
        "Columns",
        "DimensionIndexSequence",
        "DimensionOrganizationSequence",
        "HighBit",
        "NumberOfFrames",
        "PerFrameFunctionalGroupsSequence",
        "PhotometricInterpretation",
        "PixelData",
        "PixelPaddingValue",
        "PixelRepresentation",
        "Rows",
        "SOPClassUID",
        "SamplesPerPixel",
        "SharedFunctionalGroupsSequence",
        "SpecificCharacterSet",
    }
)
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")


@dataclass(frozen=True)
class NewObject:
    """What a new object is.

    Attributes
    ----------
    sop_class_uid, modality
        As they are written.
    title
        Its series description where neither the node nor the loaded object has one.
    name
        Of the node.
    frame_of_reference_uid
        Empty for an object without the Frame of Reference module.
    series_number
        Where the loaded object had none.
    content_date
        Whether the object has Content Date and Content Time.
    """

    sop_class_uid: str
    modality: str
    title: str
    name: str = ""
    frame_of_reference_uid: str = ""
    series_number: int = 300
    content_date: bool = True


def split_options(
    options: Mapping[str, Any], own: Sequence[str], not_options: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the kind's own options, and those that are DICOM keywords.

    Parameters
    ----------
    not_options
        Keywords that the kind cannot take from a caller, beside those that no kind can.

    Raises
    ------
    ExportError
        An option is neither, or follows from what is written.
    """
    mine = {name: value for name, value in options.items() if name in own}
    keywords = {name: value for name, value in options.items() if name not in own}
    unknown = [name for name in keywords if tag_for_keyword(name) is None]
    if unknown:
        raise ExportError(
            f"Unknown option {', '.join(unknown)}: neither a DICOM keyword nor one of {', '.join(sorted(own))}."
        )
    for name in keywords:
        if name in _NOT_OPTIONS or name in not_options or int(tag_for_keyword(name) or 0) < 0x00080000:
            raise ExportError(f"{name} cannot be an option: it follows from what is written.")
    return mine, keywords


def new_header(
    new: NewObject,
    source_header: Dataset | None,
    kept: Dataset | None,
    attributes: Mapping[str, Any],
    renewed: Collection[str] = (),
) -> Dataset:
    """Return the dataset of a new object with all that is not special to its kind.

    Parameters
    ----------
    source_header
        Of one of the source images: the authority on patient and study. None if there are none at hand.
    kept
        Header of the object that the node was loaded from: whatever is not renewed is kept. None if it was made here.
    attributes
        What the subject hierarchy knows of patient and study, by DICOM keyword.
    renewed
        Keywords of what the kind writes anew.
    """
    dataset = _kept_attributes(kept, renewed)
    _set_patient_and_study(dataset, source_header, attributes)
    _set_equipment(dataset, kept)
    now = datetime.datetime.now(_time_zone(dataset))
    dataset.SOPClassUID = new.sop_class_uid
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Modality = new.modality
    for kind in ("InstanceCreation", "Series", *(["Content"] if new.content_date else [])):
        setattr(dataset, f"{kind}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{kind}Time", now.strftime("%H%M%S"))
    if new.frame_of_reference_uid:
        dataset.FrameOfReferenceUID = new.frame_of_reference_uid
        if "PositionReferenceIndicator" not in dataset:
            dataset.PositionReferenceIndicator = ""
    else:
        for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator"):
            dataset.pop(keyword, None)
    description = of_64_bytes(new.name) or new.title
    for keyword, value in (
        ("SeriesNumber", new.series_number),
        ("InstanceNumber", 1),
        ("SeriesDescription", description),
    ):
        if dataset.get(keyword) in (None, ""):
            setattr(dataset, keyword, value)
    return dataset


def _kept_attributes(kept: Dataset | None, renewed: Collection[str]) -> Dataset:
    dataset = Dataset() if kept is None else deepcopy(kept)
    for keyword in (*_RENEWED, *renewed):
        if keyword in dataset:
            delattr(dataset, keyword)
    # All text is written in one encoding that holds it, whatever the source had.
    if kept is not None:
        with config.disable_value_validation():
            dataset.decode()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    return dataset


def report_losses(kept: Dataset, known_groups: Collection[str] = ()) -> None:
    """Log what the loaded object had and the new one has not.

    Parameters
    ----------
    known_groups
        Keywords of the functional groups that the kind writes.
    """
    lost = []
    if "DigitalSignaturesSequence" in kept:
        lost.append("digital signatures, which hold for the loaded object only")
    if "ICCProfile" in kept:
        lost.append("the ICC profile of its palette")
    groups = (kept.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    others = [element.name for element in groups if element.keyword not in known_groups]
    if others:
        lost.append(f"the functional groups {', '.join(others)}")
    for what in lost:
        _log.warning("Not written again: %s.", what)


def _time_zone(dataset: Dataset) -> datetime.tzinfo | None:
    """Return the time zone that the dataset says its times are in, None for the local one."""
    text = str(dataset.get("TimezoneOffsetFromUTC") or "").strip()
    try:
        return datetime.datetime.strptime(text, "%z").tzinfo
    except ValueError:
        return None


def _set_patient_and_study(dataset: Dataset, source_header: Dataset | None, attributes: Mapping[str, Any]) -> None:
    if source_header is not None:
        # The images at hand are the authority: patient data may have been corrected since the object was made.
        for keyword in PATIENT_AND_STUDY:
            if keyword in source_header:
                dataset[keyword] = _decoded(source_header, keyword)
    for keyword in _CHECKED:
        if dataset.get(keyword) and not _is_valid(keyword, dataset.get(keyword)):
            _log.warning("%s %r of the source is invalid and was left out.", keyword, str(dataset.get(keyword)))
            delattr(dataset, keyword)
    for keyword in PATIENT_AND_STUDY:
        value = attributes.get(keyword)
        if value and not dataset.get(keyword):
            try:
                set_attribute(dataset, keyword, value)
            except ExportError as error:
                _log.warning("Left out of what the scene says of the patient: %s", error)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    for keyword in ("AccessionNumber", "ReferringPhysicianName"):
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    if not dataset.get("StudyInstanceUID"):
        dataset.StudyInstanceUID = generate_uid()


def _decoded(header: Dataset, keyword: str) -> DataElement:
    """Return an element alone, its text decoded; elsewhere in a header may be what cannot be read."""
    alone = Dataset()
    with config.disable_value_validation():
        if "SpecificCharacterSet" in header:
            alone.SpecificCharacterSet = header.SpecificCharacterSet
        alone[keyword] = deepcopy(header[keyword])
        alone.decode()
        return alone[keyword]


def _is_valid(keyword: str, value: Any) -> bool:
    try:
        validate_value(dictionary_VR(keyword), str(value), config.RAISE)
    except ValueError:
        return False
    return True


def _set_equipment(dataset: Dataset, kept: Dataset | None) -> None:
    """Name this program as the maker, and the maker of the loaded object as one that contributed (PS3.3 C.12.1)."""
    from dicombridge import __version__

    if kept is not None and any(kept.get(keyword) for keyword in _EQUIPMENT):
        item = Dataset()
        for keyword in (*_EQUIPMENT, "InstitutionName"):
            if kept.get(keyword):
                setattr(item, keyword, kept.get(keyword))
        if "Manufacturer" not in item:
            item.Manufacturer = "Unknown"
        purpose = Dataset()
        purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "109102", "DCM", "Processing Equipment"
        item.PurposeOfReferenceCodeSequence = [purpose]
        item.ContributionDescription = "Made the object that this one was edited from"
        ours = kept.get("Manufacturer") == "DICOMBridge"
        if not ours:
            dataset.ContributingEquipmentSequence = [*(dataset.get("ContributingEquipmentSequence") or []), item]
    dataset.Manufacturer = "DICOMBridge"
    dataset.ManufacturerModelName = "dicombridge"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = __version__


def of_64_bytes(text: str) -> str:
    """Return text for an LO of 64 characters (:func:`dicombridge.text.of_bytes`)."""
    return of_bytes(text, 64)


def record_predecessor(dataset: Dataset, kept: Dataset | None) -> None:
    """Name the object that was loaded as the one that this one was made from (PS3.3 C.12.4, General Reference)."""
    if kept is None or not kept.get("SOPInstanceUID") or not kept.get("SOPClassUID"):
        return
    item = Dataset()
    item.ReferencedSOPClassUID = kept.SOPClassUID
    item.ReferencedSOPInstanceUID = kept.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID = kept.get("SeriesInstanceUID") or generate_uid()
    series.ReferencedSOPSequence = [item]
    study = Dataset()
    study.StudyInstanceUID = kept.get("StudyInstanceUID") or dataset.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    dataset.PredecessorDocumentsSequence = [study]


def set_references(dataset: Dataset, references: Sequence[Reference], study_instance_uid: str) -> None:
    """Fill the Common Instance Reference module (PS3.3 C.12.2) with the instances that the frames refer to."""
    own_study: dict[str, list[Reference]] = {}
    other_studies: dict[str, dict[str, list[Reference]]] = {}
    for reference in references:
        if not reference.series_instance_uid or not reference.sop_class_uid:
            continue
        study = reference.study_instance_uid or study_instance_uid
        series = own_study if study == study_instance_uid else other_studies.setdefault(study, {})
        series.setdefault(reference.series_instance_uid, []).append(reference)
    if own_study:
        dataset.ReferencedSeriesSequence = [_series_item(uid, instances) for uid, instances in own_study.items()]
    if other_studies:
        items = []
        for study, series in other_studies.items():
            item = Dataset()
            item.StudyInstanceUID = study
            item.ReferencedSeriesSequence = [_series_item(uid, instances) for uid, instances in series.items()]
            items.append(item)
        dataset.StudiesContainingOtherReferencedInstancesSequence = items


def set_source_images(dataset: Dataset, references: Sequence[Reference]) -> None:
    """Name the source images for the object as a whole, where not every frame names its own (PS3.3 C.12.4)."""
    if not references or dataset.get("SourceImageSequence"):
        return
    items = []
    for reference in references:
        item = instance_item(reference)
        purpose = Dataset()
        purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
        purpose.CodeMeaning = "Source image for image processing operation"
        item.PurposeOfReferenceCodeSequence = [purpose]
        items.append(item)
    dataset.SourceImageSequence = items


def _series_item(series_uid: str, references: Sequence[Reference]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series_uid
    item.ReferencedInstanceSequence = [instance_item(reference) for reference in references]
    return item


def instance_item(reference: Reference) -> Dataset:
    """Return an item that names one instance (SOP Instance Reference Macro, PS3.3 Table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item


def apply_keywords(dataset: Dataset, keywords: Mapping[str, Any]) -> None:
    """Set attributes by DICOM keyword as the caller says; None removes one.

    Raises
    ------
    ExportError
        A value does not fit its attribute.
    """
    for keyword, value in keywords.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        elif value == "" and dictionary_VR(keyword) == "UI":
            continue  # a field of a form that was left empty; nothing is identified by no UID
        else:
            set_attribute(dataset, keyword, value)


def set_attribute(dataset: Dataset, keyword: str, value: Any) -> None:
    """Set an attribute from a value or its text.

    Raises
    ------
    ExportError
        The value does not fit the attribute.
    """
    try:
        vr = dictionary_VR(keyword)
        if vr in ("US", "UL", "SS", "SL") and isinstance(value, str):
            value = int(value)
        # A new element: one that is there keeps the leniency with which it was read.
        with config.strict_reading():
            dataset[keyword] = DataElement(tag_for_keyword(keyword), vr, value, validation_mode=config.RAISE)
    except (ValueError, TypeError, OverflowError) as error:
        raise ExportError(f"{keyword} cannot be {value!r}: {error}") from error
