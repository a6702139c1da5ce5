"""Descriptions of regions of interest as items: Structure Set ROI (PS3.3 C.8.8.5) and RT ROI Observations (C.8.8.8)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pydicom.dataset import Dataset

from dicombridge.codes import Code, Terminology, code_from_sequence, code_item, modern
from dicombridge.segmentation.segments import Segment
from dicombridge.shadow import dataset_from_text
from dicombridge.text import shortened

__all__ = ["Description", "fitted", "interpreted_type", "observation_items", "structure_item", "unique_names"]

OBSERVATION_LABEL = 16
"""Characters of ROI Observation Label, VR SH."""

_BY_CODE = {
    ("SCT", "228791009"): "GTV",
    ("SCT", "228792002"): "CTV",
    ("SCT", "228793007"): "PTV",
    ("SCT", "228736002"): "BOLUS",
    ("SCT", "38266002"): "EXTERNAL",  # Entire body
    ("SCT", "7140000"): "CONTRAST_AGENT",
    ("SCT", "91806002"): "CAVITY",
    ("DCM", "130047"): "EXTERNAL",
    ("DCM", "130058"): "AVOIDANCE",
    ("DCM", "130060"): "ORGAN",  # Organ At Risk
    ("DCM", "130073"): "ISOCENTER",
    ("DCM", "130078"): "BRACHY_SRC_APP",
    ("DCM", "130079"): "BRACHY_CHNL_SHLD",
    ("DCM", "130080"): "BRACHY_CHANNEL",
}
"""RT ROI Interpreted Type by the code of a type (PS3.3 C.8.8.8.3.1)."""
_BY_CATEGORY = {
    ("DCM", "130047"): "EXTERNAL",
    ("DCM", "130666"): "MARKER",
    ("DCM", "130748"): "DOSE_REGION",
    ("SCT", "123037004"): "ORGAN",  # Anatomical Structure
    ("SCT", "91723000"): "ORGAN",  # the same, as newer lists code it
}
"""The same by the code of a category, where the type says nothing."""
_BY_NAME = re.compile(r"(GTV|CTV|PTV)", re.IGNORECASE)
"""Targets by the beginning of their names, which AAPM Report 263 reserves for them."""


@dataclass(frozen=True)
class Description:
    """What is said of a region, beside its contours.

    Attributes
    ----------
    segment
        What a segment of any origin has; its number is the ROI Number.
    texts
        Other values by DICOM keyword: ``RTROIInterpretedType``, ``ROIObservationLabel``, ``ROIGenerationAlgorithm``,
        ``ROIInterpreter``.
    structure_item, observation_items
        The items that the region came with (:mod:`dicombridge.shadow`); empty for one that did not come from DICOM.
    changed
        Whether its contours are not those that it came with.
    """

    segment: Segment
    texts: dict[str, str] = field(default_factory=dict)
    structure_item: str = ""
    observation_items: Sequence[str] = ()
    changed: bool = True


def fitted(text: str, length: int) -> str:
    """Return text for a VR of so many characters; bytes count too, for some readers take these for characters.

    >>> fitted("Lunge groß", 9), fitted("a\\\\b", 16)
    ('Lunge gro', 'a/b')
    """
    short = shortened(text, length)
    return shortened(short.encode("utf-8")[:length].decode("utf-8", "ignore"), length)


def unique_names(names: Sequence[str], length: int) -> tuple[list[str], list[str]]:
    """Return ROI names that fit and differ by more than upper and lower case, and warnings about changed ones.

    >>> unique_names(["Lung", "lung", "Heart"], 16)[0]
    ['Lung', 'lung_2', 'Heart']
    """
    result: list[str] = []
    warnings = []
    # A name that fits as it is stays with its region, also where a longer one before it is cut to the same.
    taken = {name.casefold() for name in names if fitted(name, length) == name}
    seen: set[str] = set()
    for name in names:
        base = fitted(name, length) or "ROI"
        new = base
        number = 1
        while new.casefold() in seen or (new != name and new.casefold() in taken):
            number += 1
            ending = f"_{number}"
            new = fitted(base, length - len(ending)) + ending
        seen.add(new.casefold())
        result.append(new)
        if new != name:
            warnings.append(
                f"The name {name!r} was written as {new!r}: it has to fit {length} characters and be unique."
            )
    return result, warnings


def interpreted_type(description: Description) -> str:
    """Return the RT ROI Interpreted Type: as it was, else what the codes say, else of a target its name."""
    kept = description.texts.get("RTROIInterpretedType", "").strip()
    if kept:
        return fitted(kept.upper(), 16)
    terminology = description.segment.terminology
    if terminology is not None:
        found = _BY_CODE.get(_key(terminology.type), "")
        if found:
            return found
    named = _BY_NAME.match(description.segment.label)
    if named:
        return named[1].upper()
    return _BY_CATEGORY.get(_key(terminology.category), "") if terminology is not None else ""


def _key(code: Code | None) -> tuple[str, str]:
    if code is None:
        return "", ""
    code = modern(code)
    return code.scheme_designator, code.value


def structure_item(description: Description, name: str, frame_of_reference_uid: str) -> Dataset:
    """Return the Structure Set ROI item of a region, from the one that it came with where it did."""
    item = dataset_from_text(description.structure_item) or Dataset()
    segment = description.segment
    item.ROINumber = segment.number
    item.ReferencedFrameOfReferenceUID = frame_of_reference_uid
    item.ROIName = name
    if not item.get("ROIDescription") and segment.description in _observed(description):
        item.pop("ROIDescription", None)  # it stands in the observation
    else:
        _set(item, "ROIDescription", shortened(segment.description, 1024))
    algorithm = segment.algorithm_type or description.texts.get("ROIGenerationAlgorithm", "")
    item.ROIGenerationAlgorithm = fitted(algorithm.upper(), 16)
    if segment.algorithm_name:
        item.ROIGenerationDescription = fitted(segment.algorithm_name, 64)
    if description.changed:
        for keyword in ("ROIVolume", "ROIDateTime"):
            item.pop(keyword, None)  # they were those of other contours
    return item


def _observed(description: Description) -> list[str]:
    """Return the observation descriptions that a region came with."""
    kept = map(dataset_from_text, description.observation_items)
    return [str(item.get("ROIObservationDescription") or "") for item in kept if item is not None]


def observation_items(description: Description, name: str, first_number: int) -> list[Dataset]:
    """Return the RT ROI Observations items of a region: those that it came with, brought up to date, or a new one."""
    kept = [item for item in map(dataset_from_text, description.observation_items) if item is not None]
    items = kept or [Dataset()]
    for number, item in enumerate(items, start=first_number):
        item.ObservationNumber = number
        item.ReferencedROINumber = description.segment.number
    first = items[0]
    label = fitted(description.texts.get("ROIObservationLabel", ""), OBSERVATION_LABEL)
    _set(first, "ROIObservationLabel", label or ("" if kept else fitted(name, OBSERVATION_LABEL)))
    first.RTROIInterpretedType = interpreted_type(description)
    first.ROIInterpreter = description.texts.get("ROIInterpreter") or first.get("ROIInterpreter") or ""
    if description.segment.terminology is not None:
        _set_codes(first, description.segment.terminology)
    return items


def _set(item: Dataset, keyword: str, value: str) -> None:
    if value:
        setattr(item, keyword, value)
    else:
        item.pop(keyword, None)


def _set_codes(item: Dataset, terminology: Terminology) -> None:
    """Write codes that are not there yet or changed: what stays is as it came, with all that it has beside."""
    for keyword, code, modifier_keyword, modifier in (
        ("SegmentedPropertyCategoryCodeSequence", terminology.category, "", None),
        (
            "RTROIIdentificationCodeSequence",
            terminology.type,
            "SegmentedPropertyTypeModifierCodeSequence",
            terminology.type_modifier,
        ),
        ("AnatomicRegionSequence", terminology.region, "AnatomicRegionModifierSequence", terminology.region_modifier),
    ):
        before = code_from_sequence(item, keyword)
        if code is None or (before is not None and _key(before) == _key(code) and modifier is None):
            continue
        if keyword.startswith("RTROI") and before is None and "SegmentedPropertyTypeCodeSequence" in item:
            before = code_from_sequence(item, "SegmentedPropertyTypeCodeSequence")
            if before is not None and _key(before) == _key(code):
                continue
        coded = code_item(code)
        if modifier is not None:
            setattr(coded, modifier_keyword, [code_item(modifier)])
        setattr(item, keyword, [coded])


def renumbered(descriptions: Sequence[Description]) -> list[Description]:
    """Return descriptions whose ROI Numbers differ: each keeps its own, but the later one of two that are the same."""
    taken = {description.segment.number for description in descriptions if description.segment.number > 0}
    free = (number for number in range(1, 1 << 31) if number not in taken)
    seen: set[int] = set()
    result = []
    for description in descriptions:
        number = description.segment.number
        if number < 0 or number in seen:
            number = next(free)
            description = replace(description, segment=replace(description.segment, number=number))
        seen.add(number)
        result.append(description)
    return result
