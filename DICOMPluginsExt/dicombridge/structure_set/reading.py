"""An RT structure set as plain values: regions of interest with their descriptions and contours (PS3.3 A.19).

A region is an item of the Structure Set ROI Sequence, with those items of the ROI Contour Sequence and of the RT ROI
Observations Sequence that name its number. None is left out: neither one without contours, nor contours without one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydicom.multival import MultiValue

from dicombridge.codes import Code, Terminology, code_from_sequence
from dicombridge.errors import UnreadableError
from dicombridge.multiframe import MultiFrame, open_multiframe
from dicombridge.part10 import NeedsPydicom, TruncatedError, items
from dicombridge.progress import Progress
from dicombridge.references import Reference, references_of
from dicombridge.segmentation.segments import Segment
from dicombridge.shadow import bytes_to_text
from dicombridge.structure_set.contours import Contours, RoiContour, read_roi_contour

__all__ = ["ROI_CONTOUR_SEQUENCE", "Roi", "StructureSet", "read_structure_set"]

STRUCTURE_SET_ROI_SEQUENCE = 0x30060020
ROI_CONTOUR_SEQUENCE = 0x30060039
RT_ROI_OBSERVATIONS_SEQUENCE = 0x30060080


ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
SPATIAL_CONCEPT = Code("309825002", "SCT", "Spatial and Relational Concept")
_TARGETS = frozenset({"GTV", "CTV", "PTV", "TREATED_VOLUME", "IRRAD_VOLUME", "ISOCENTER", "REGISTRATION", "MARKER"})
"""RT ROI Interpreted Types (PS3.3 C.8.8.8.1) that are no anatomy."""


@dataclass
class Roi:
    """A region of interest.

    Attributes
    ----------
    number
        Number of its segment, from 1 in the order of the file; ROI Numbers may be 0, large or double.
    roi_number
        ROI Number (3006,0022).
    segment
        What a segment of any origin has: name, description, colour, codes.
    texts
        Other descriptions by DICOM keyword: ``RTROIInterpretedType``, ``ROIObservationLabel``,
        ``ROIGenerationAlgorithm``, ``ROIInterpreter``, ``ROIDescription``, ``ROIVolume``.
    physical_properties
        Property and value of each item of the ROI Physical Properties Sequence.
    frame_of_reference_uid
        Referenced Frame of Reference UID.
    structure_item, observation_items
        The items as they came (:mod:`dicombridge.shadow`).
    contour_items
        The items of the ROI Contour Sequence, as they are encoded.
    contours
        The contours in them.
    """

    number: int
    roi_number: int
    segment: Segment
    texts: dict[str, str] = field(default_factory=dict)
    physical_properties: list[dict[str, str]] = field(default_factory=list)
    frame_of_reference_uid: str = ""
    structure_item: str = ""
    observation_items: list[str] = field(default_factory=list)
    contour_items: list[bytes] = field(default_factory=list)
    contours: Contours = field(default_factory=Contours.none)


@dataclass
class StructureSet:
    """What a file holds.

    Attributes
    ----------
    path
        Of the file.
    header
        Its Dataset, without the ROI Contour Sequence.
    shadow
        The same as it was encoded.
    implicit_vr
        Encoding of the items of the regions.
    rois
        Its regions.
    references
        The instances and series that it refers to.
    warnings
        What is doubtful.
    """

    path: str
    header: Any
    shadow: str
    implicit_vr: bool
    rois: list[Roi]
    references: list[Reference]
    warnings: list[str]


def read_structure_set(path: str, progress: Progress | None = None) -> StructureSet:
    """Read a structure set.

    Raises
    ------
    UnreadableError
        The file is no structure set, is cut short or contradicts itself.
    """
    with open_multiframe(path, pixels=False, without=(ROI_CONTOUR_SEQUENCE,)) as opened:
        buffer, layout = opened.top_level()
        if not layout.complete or layout.dataset_stop < len(buffer):
            raise UnreadableError(path, "is cut short: its last element ends beyond the end of the file.")
        header = opened.header
        if STRUCTURE_SET_ROI_SEQUENCE not in header and ROI_CONTOUR_SEQUENCE not in layout.elements:
            raise UnreadableError(path, "has neither regions nor contours: it is no structure set, or cut short.")
        warnings: list[str] = []
        rois = _described(opened, warnings)
        _observe(opened, rois, warnings)
        for item in _roi_contours(opened, progress):
            _give(item, rois, warnings)
        shadow = opened.shadow(without=(ROI_CONTOUR_SEQUENCE,))
        references = _references(header, rois)
        return StructureSet(path, header, shadow, opened.implicit_vr, rois, references, warnings)


def _described(opened: MultiFrame, warnings: list[str]) -> list[Roi]:
    """Return the regions of the Structure Set ROI Sequence."""
    raws = opened.raw_items(STRUCTURE_SET_ROI_SEQUENCE)
    rois: list[Roi] = []
    seen: set[int] = set()
    for position, (item, raw) in enumerate(
        zip(opened.header.get("StructureSetROISequence") or (), raws, strict=True), start=1
    ):
        number = _integer(item, "ROINumber")
        if number is None:
            number = max(seen, default=0) + 1
            warnings.append(f"Item {position} of the Structure Set ROI Sequence has no ROI Number; {number} was given.")
        if number in seen:
            warnings.append(f"ROI number {number} is given twice; its contours belong to the first region.")
        seen.add(number)
        name = text_of(item, "ROIName").strip() or f"ROI {number}"
        algorithm = text_of(item, "ROIGenerationAlgorithm")
        segment = Segment(
            position,
            name,
            description=text_of(item, "ROIDescription"),
            terminology=_terminology(item, ""),
            algorithm_type=algorithm if algorithm in ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL") else "",
        )
        texts = {keyword: text_of(item, keyword) for keyword in ("ROIGenerationAlgorithm", "ROIDescription")}
        texts["ROIVolume"] = text_of(item, "ROIVolume")
        frame = text_of(item, "ReferencedFrameOfReferenceUID")
        shadow = bytes_to_text(raw, opened.implicit_vr, opened.character_set)
        rois.append(Roi(position, number, segment, texts, [], frame, shadow))
    return rois


def _observe(opened: MultiFrame, rois: list[Roi], warnings: list[str]) -> None:
    """Add what the RT ROI Observations Sequence says of the regions."""
    by_number: dict[int | None, Roi] = {roi.roi_number: roi for roi in reversed(rois)}
    observations = opened.header.get("RTROIObservationsSequence") or ()
    for item, raw in zip(observations, opened.raw_items(RT_ROI_OBSERVATIONS_SEQUENCE), strict=True):
        roi = by_number.get(_integer(item, "ReferencedROINumber"))
        if roi is None:
            warnings.append(
                f"There is an observation of ROI number {text_of(item, 'ReferencedROINumber')}, of no region."
            )
            continue
        roi.observation_items.append(bytes_to_text(raw, opened.implicit_vr, opened.character_set))
        for keyword in ("RTROIInterpretedType", "ROIObservationLabel", "ROIInterpreter"):
            roi.texts[keyword] = roi.texts.get(keyword) or text_of(item, keyword)
        terminology = roi.segment.terminology or _terminology(item, roi.texts["RTROIInterpretedType"])
        description = roi.segment.description or text_of(item, "ROIObservationDescription")
        roi.segment = replace(roi.segment, terminology=terminology, description=description)
        for property_item in item.get("ROIPhysicalPropertiesSequence") or ():
            roi.physical_properties.append(
                {
                    "property": text_of(property_item, "ROIPhysicalProperty"),
                    "value": text_of(property_item, "ROIPhysicalPropertyValue"),
                }
            )


def _terminology(item: Any, interpreted_type: str) -> Terminology | None:
    """Return the codes of a region (PS3.3 C.8.8.5, C.8.8.8), None where there are none."""
    identification = code_from_sequence(item, "RTROIIdentificationCodeSequence")
    kind = code_from_sequence(item, "SegmentedPropertyTypeCodeSequence") or identification
    if kind is None:
        return None
    category = code_from_sequence(item, "SegmentedPropertyCategoryCodeSequence")
    if category is None:
        category = SPATIAL_CONCEPT if interpreted_type.upper() in _TARGETS else ANATOMICAL_STRUCTURE
    return Terminology(category, kind, region=code_from_sequence(item, "AnatomicRegionSequence"))


def _roi_contours(opened: MultiFrame, progress: Progress | None) -> list[RoiContour]:
    """Return the items of the ROI Contour Sequence, read."""
    buffer, layout = opened.top_level()
    span = layout.elements.get(ROI_CONTOUR_SEQUENCE)
    found: list[RoiContour] = []
    if span is None:
        return found
    try:
        for start, stop in items(buffer, span.start, span.stop, layout.implicit_vr):
            found.append(read_roi_contour(buffer, start, stop, layout.implicit_vr))
            if progress is not None:
                share = (stop - span.start) / max(span.stop - span.start, 1)
                progress(0.5 * min(share, 1.0), f"Contours of region {len(found)}")
    except (TruncatedError, NeedsPydicom) as error:
        raise UnreadableError(opened.path, f"its ROI Contour Sequence is damaged: {error}.") from error
    return found


def _give(item: RoiContour, rois: list[Roi], warnings: list[str]) -> None:
    """Give contours to their region; contours of none get one of their own."""
    roi = next((roi for roi in rois if roi.roi_number == item.roi_number), None)
    if roi is None:
        number = (
            item.roi_number if item.roi_number is not None else max((roi.roi_number for roi in rois), default=0) + 1
        )
        roi = Roi(len(rois) + 1, number, Segment(len(rois) + 1, f"ROI {number}"))
        rois.append(roi)
        warnings.append(f"There are contours of ROI number {number}, which is not described; it was named so.")
    warnings.extend(f"{roi.segment.label}: {text}." for text in item.warnings)
    if item.colour is not None and roi.segment.rgb is None:
        roi.segment = replace(roi.segment, rgb=item.colour)
    roi.contours = item.contours if not roi.contour_items else _joined(roi.contours, item.contours)
    roi.contour_items.append(item.content)


def _joined(one: Contours, other: Contours) -> Contours:
    """Return the contours of two items of one region."""
    uids = dict.fromkeys([*one.image_uids, *other.image_uids])
    index = {uid: number for number, uid in enumerate(uids)}
    places = np.array([*(index[uid] for uid in other.image_uids), -1])
    return Contours(
        np.concatenate([one.points, other.points]),
        np.concatenate([one.starts, other.starts[1:] + one.starts[-1]]),
        np.concatenate([one.types, other.types]),
        np.concatenate([one.numbers, other.numbers]),
        np.concatenate([one.images, places[other.images]]),
        tuple(uids),
    )


def _references(header: Any, rois: list[Roi]) -> list[Reference]:
    """Return all references; those of contours too, which need not stand in the Referenced Frame of Reference."""
    found = {
        reference.sop_instance_uid or reference.series_instance_uid: reference for reference in references_of(header)
    }
    for roi in rois:
        for uid in roi.contours.image_uids:
            found.setdefault(uid, Reference(uid))
    return list(found.values())


def text_of(item: Any, keyword: str) -> str:
    """Return a value as text; several values joined by backslashes, a missing one as ``""``."""
    value = item.get(keyword)
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value)


def _integer(item: Any, keyword: str) -> int | None:
    try:
        return int(item.get(keyword))
    except (TypeError, ValueError, OverflowError):
        return None
