"""The attributes of a new structure set, but for its contours (PS3.3 A.19.3)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.errors import ExportError
from dicombridge.output.header import NewObject, apply_keywords, instance_item, new_header
from dicombridge.structure_set.contents import RT_STRUCTURE_SET_STORAGE
from dicombridge.structure_set.rois import fitted, observation_items, structure_item

if TYPE_CHECKING:
    from dicombridge.references import Reference
    from dicombridge.structure_set.contents import Contents

__all__ = ["RT_STRUCTURE_SET_STORAGE", "structure_set_header"]

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management: retired, and what everybody writes as the class of a referenced study."""
RENEWED = (
    "ApprovalStatus",
    "ContentDate",
    "ContentTime",
    "ROIContourSequence",
    "RTROIObservationsSequence",
    "ReferencedFrameOfReferenceSequence",
    "ReviewDate",
    "ReviewTime",
    "ReviewerName",
    "StructureSetDate",
    "StructureSetROISequence",
    "StructureSetTime",
)
APPROVALS = ("APPROVED", "UNAPPROVED", "REJECTED")


def structure_set_header(contents: Contents, keywords: Mapping[str, Any]) -> Dataset:
    """Return the dataset of a new structure set without its ROI Contour Sequence.

    Parameters
    ----------
    keywords
        What the caller says, by DICOM keyword; the last word.

    Raises
    ------
    ExportError
        A keyword has a value that it cannot have.
    """
    frame_of_reference_uid = next(iter(contents.references))
    new = NewObject(
        RT_STRUCTURE_SET_STORAGE,
        "RTSTRUCT",
        "Structure set",
        contents.name,
        frame_of_reference_uid,
        content_date=False,
    )
    dataset = new_header(new, contents.origin, contents.kept, contents.attributes, RENEWED)
    _set_structure_set(dataset, contents)
    dataset.ReferencedFrameOfReferenceSequence = _frames_of_reference(contents, dataset)
    items: list[Dataset] = []
    observations: list[Dataset] = []
    for region in contents.regions:
        items.append(structure_item(region.description, region.name, region.frame_of_reference_uid))
        observations += observation_items(region.description, region.name, len(observations) + 1)
    dataset.StructureSetROISequence = items
    dataset.RTROIObservationsSequence = observations
    _set_predecessor(dataset, contents.kept)
    status = str(keywords.get("ApprovalStatus") or "UNAPPROVED").strip().upper()
    apply_keywords(dataset, {**keywords, "ApprovalStatus": status})
    _complete_approval(dataset)
    return dataset


def _set_structure_set(dataset: Dataset, contents: Contents) -> None:
    now = datetime.datetime.now()
    dataset.StructureSetLabel = fitted(str(dataset.get("StructureSetLabel") or contents.name), 16) or "STRUCTURES"
    if not dataset.get("StructureSetName"):
        dataset.StructureSetName = fitted(contents.name, 64) or dataset.StructureSetLabel
    dataset.StructureSetDate = dataset.get("SeriesDate") or now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.get("SeriesTime") or now.strftime("%H%M%S")
    if "OperatorsName" not in dataset:
        dataset.OperatorsName = ""


def _frames_of_reference(contents: Contents, dataset: Dataset) -> list[Dataset]:
    """Return the Referenced Frame of Reference Sequence: those of the regions, and others that they came with."""
    items = []
    for uid, references in contents.references.items():
        item = Dataset()
        item.FrameOfReferenceUID = uid
        studies = _studies(references, str(dataset.StudyInstanceUID))
        if studies:
            item.RTReferencedStudySequence = studies
        items.append(item)
    kept = contents.kept.get("ReferencedFrameOfReferenceSequence") if contents.kept is not None else None
    for item in kept or ():
        if item.get("FrameOfReferenceUID") and str(item.FrameOfReferenceUID) not in contents.references:
            items.append(deepcopy(item))
    return items


def _studies(references: Sequence[Reference], study_instance_uid: str) -> list[Dataset]:
    by_study: dict[str, dict[str, list[Reference]]] = {}
    for reference in references:
        if reference.series_instance_uid and reference.sop_class_uid and reference.sop_instance_uid:
            series = by_study.setdefault(reference.study_instance_uid or study_instance_uid, {})
            series.setdefault(reference.series_instance_uid, []).append(reference)
    studies = []
    for study_uid, series in by_study.items():
        study = Dataset()
        study.ReferencedSOPClassUID = STUDY_CLASS
        study.ReferencedSOPInstanceUID = study_uid
        study.RTReferencedSeriesSequence = [_series(series_uid, images) for series_uid, images in series.items()]
        studies.append(study)
    return studies


def _series(series_uid: str, references: Sequence[Reference]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = series_uid
    series.ContourImageSequence = [instance_item(reference) for reference in references]
    return series


def _set_predecessor(dataset: Dataset, kept: Dataset | None) -> None:
    """Name the structure set that was loaded as the one that this one was made from (PS3.3 C.8.8.5)."""
    if kept is None or not kept.get("SOPInstanceUID"):
        return
    item = Dataset()
    item.ReferencedSOPClassUID = RT_STRUCTURE_SET_STORAGE
    item.ReferencedSOPInstanceUID = kept.SOPInstanceUID
    dataset.PredecessorStructureSetSequence = [item]


def _complete_approval(dataset: Dataset) -> None:
    """Add who approved and when, which have to be there, if empty, where a structure set was reviewed (C.8.8.16)."""
    status = str(dataset.get("ApprovalStatus") or "UNAPPROVED").upper()
    if status not in APPROVALS:
        raise ExportError(f"ApprovalStatus is one of {', '.join(APPROVALS)}, not {status!r}.")
    dataset.ApprovalStatus = status
    if status == "UNAPPROVED":
        for keyword in ("ReviewDate", "ReviewTime", "ReviewerName"):
            dataset.pop(keyword, None)
        return
    for keyword, value in (
        ("ReviewDate", dataset.StructureSetDate),
        ("ReviewTime", dataset.StructureSetTime),
        ("ReviewerName", ""),
    ):
        if keyword not in dataset:
            setattr(dataset, keyword, value)
