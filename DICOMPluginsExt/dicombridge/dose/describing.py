"""What a new dose is a dose of: units, type, summation, and the plans and structure sets that it refers to."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom import config
from pydicom.dataset import Dataset

from dicombridge.attribute_values import items_of
from dicombridge.codes import Code, code_item
from dicombridge.dose.nodes import ATTRIBUTES, DOSE_UNIT_NAME
from dicombridge.dose.values import codes_text, text_value
from dicombridge.errors import DicomBridgeError, ExportError
from dicombridge.multiframe import read_header
from dicombridge.output.header import instance_item
from dicombridge.references import Reference
from dicombridge.shadow import remembered
from dicombridge.text import shortened

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["Description", "describe", "named_object", "set_description"]

_log = logging.getLogger(__name__)

UNITS = ("GY", "RELATIVE")
TYPES = ("PHYSICAL", "EFFECTIVE", "ERROR")
SUMMATIONS = (
    "PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "FRACTION", "BEAM", "BRACHY", "FRACTION_SESSION", "BEAM_SESSION",
    "BRACHY_SESSION", "CONTROL_POINT", "RECORD",
)  # fmt: skip
"""Defined terms of Dose Summation Type (PS3.3 C.8.8.3); all but PLAN_OVERVIEW and RECORD are of known plans."""
NEEDS_NO_PLAN = ("PLAN_OVERVIEW", "RECORD")
PARTS = {"BEAM": ("ReferencedBeamSequence", "ReferencedBeamNumber"),
         "BRACHY": ("ReferencedBrachyApplicationSetupSequence", "ReferencedBrachyApplicationSetupNumber")}  # fmt: skip
"""Which part of a fraction group the summation is over, and how its number is called."""

STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
PLAN_STORAGE = "1.2.840.10008.5.1.4.1.1.481.5"
ION_PLAN_STORAGE = "1.2.840.10008.5.1.4.1.1.481.8"
DOSE_CALCULATION_STRUCTURE = Code("130042", "DCM", "RT Dose Calculation Structure")
"""What a structure set that is named without histograms is for."""


@dataclass(frozen=True)
class Description:
    """What a dose is a dose of.

    Attributes
    ----------
    units, type, summation
        Dose Units, Dose Type, Dose Summation Type.
    plans, structure_sets
        Items of Referenced RT Plan Sequence and Referenced Structure Set Sequence.
    headers
        Of the plans and structure sets that are at hand.
    references
        To them, for the Common Instance Reference module.
    warnings
        What was assumed, for a person.
    """

    units: str
    type: str
    summation: str
    plans: list[Dataset] = field(default_factory=list)
    structure_sets: list[Dataset] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def describe(node: Any, kept: Any, options: Mapping[str, Any], database: Database | None) -> Description:
    """Put together what is said of a dose: by the caller, by the node, by the object that it was loaded from.

    Raises
    ------
    ExportError
        A term is not one of the standard's, a plan cannot be found, or the summation needs one that is not known.
    """
    warnings: list[str] = []
    units = _term(options.get("units"), "units", UNITS) or _known(node, kept, "DoseUnits", UNITS) or _units_of(node)
    if not units:
        units = "GY"
        warnings.append("Nothing says what the doses are measured in; they were written as Gy (units='RELATIVE' else).")
    dose_type = _term(options.get("dose_type"), "dose_type", TYPES) or _known(node, kept, "DoseType", TYPES)
    headers: list[Any] = []
    references: list[Reference] = []

    def item_of(what: Any, classes: Sequence[str], kind: str) -> Dataset:
        header, reference, guessed = named_object(what, classes, kind, database)
        warnings.extend(guessed)
        references.append(reference)
        if header is not None:
            headers.append(header)
        return _reference_item(reference)

    given_plans, given_sets = _several(options.get("plan")), _several(options.get("structure_set"))
    plans = [item_of(plan, (PLAN_STORAGE, ION_PLAN_STORAGE), "plan") for plan in given_plans]
    sets = [item_of(one, (STRUCTURE_SET_STORAGE,), "structure set") for one in given_sets]
    if not plans:
        plans = _kept_items(kept, "ReferencedRTPlanSequence", warnings)
    if not sets:
        sets = _kept_items(kept, "ReferencedStructureSetSequence", warnings)
        sets += [one for one in _kept_items(kept, "ReferencedInstanceSequence", warnings) if _is_structure_set(one)]
    said = _term(options.get("summation_type"), "summation_type", SUMMATIONS)
    summation = said or _known(node, kept, "DoseSummationType", SUMMATIONS)
    summation = _fitting(summation, bool(said), plans, bool(given_plans), warnings)
    _set_parts(plans, summation, options)
    if database is not None:
        kept_uids = [(text_value(one, "ReferencedSOPInstanceUID"), one) for one in [*plans, *sets]]
        headers += _headers_at_hand([uid for uid, _ in kept_uids], references, database)
    return Description(units, dose_type or "PHYSICAL", summation, plans, sets, headers, references, warnings)


def _several(what: Any) -> list[Any]:
    """Return what was given, one or several, as a list."""
    if what is None:
        return []
    return list(what) if isinstance(what, list | tuple) else [what]


def _term(value: Any, option: str, terms: Sequence[str]) -> str:
    if value in (None, ""):
        return ""
    term = str(value).upper()
    if term not in terms:
        raise ExportError(f"{option} is one of {', '.join(terms)}, not {value!r}.")
    return term


def _known(node: Any, kept: Any, keyword: str, terms: Sequence[str]) -> str:
    """Return what the node or the loaded object says, where that is a term of the standard."""
    said = (node.GetAttribute(ATTRIBUTES[keyword]) or "").upper()
    if not said and kept is not None:
        said = codes_text(kept, keyword)
    return said if said in terms else ""


def _units_of(node: Any) -> str:
    """Return the units that the voxels or, as SlicerRT keeps them, the study have."""
    entry = node.GetVoxelValueUnits()
    if entry is not None and (entry.GetCodeValue() or "").upper() == "GY":
        return "GY"
    scene = node.GetScene()
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode") if scene is not None else None
    if hierarchy is None:
        return ""
    item = hierarchy.GetItemByDataNode(node)
    study = hierarchy.GetItemAncestorAtLevel(item, "Study") if item else 0
    said = str(hierarchy.GetItemAttribute(study, DOSE_UNIT_NAME) or "").upper() if study else ""
    return said if said in UNITS else ""


def _fitting(summation: str, said: bool, plans: list[Dataset], given: bool, warnings: list[str]) -> str:
    """Return a summation type that fits the plans that are known."""
    of_plans = summation in ("", "PLAN", "MULTI_PLAN") or (summation == "PLAN_OVERVIEW" and given)
    if not summation or (of_plans and not said):
        summation = ("MULTI_PLAN" if len(plans) > 1 else "PLAN") if plans else "PLAN_OVERVIEW"
    if not plans and summation not in NEEDS_NO_PLAN:
        raise ExportError(
            f"A dose of summation type {summation} needs a plan: give plan=..., or summation_type='PLAN_OVERVIEW'."
        )
    if not plans and summation == "PLAN_OVERVIEW":
        warnings.append(
            "No plan is known; the dose was written as one of a PLAN_OVERVIEW, which needs none (plan=... names one)."
        )
    if len(plans) > 1 and summation != "MULTI_PLAN":
        raise ExportError(f"Several plans make a dose of summation type MULTI_PLAN, not {summation}.")
    if len(plans) < 2 and summation == "MULTI_PLAN":
        raise ExportError("A dose of summation type MULTI_PLAN needs two plans or more: give plan=[..., ...].")
    return summation


def _set_parts(plans: list[Dataset], summation: str, options: Mapping[str, Any]) -> None:
    """Name fraction group and beams (or brachy setups) where the caller does; say what is missing."""
    numbers = [int(number) for number in _several(options.get("beams"))]
    group = options.get("fraction_group")
    if (numbers or group is not None) and len(plans) == 1:
        item = Dataset()
        item.ReferencedFractionGroupNumber = int(group) if group is not None else 1
        if summation in PARTS and numbers:
            sequence, keyword = PARTS[summation]
            parts = []
            for number in numbers:
                part = Dataset()
                setattr(part, keyword, number)
                parts.append(part)
            setattr(item, sequence, parts)
        plans[0].ReferencedFractionGroupSequence = [item]
    if summation in ("FRACTION", *PARTS) and not items_of(plans[0], "ReferencedFractionGroupSequence"):
        what = "beams=[1] (numbers in the plan)" if summation in PARTS else "fraction_group=1"
        raise ExportError(f"A dose of summation type {summation} says of which part of the plan: give {what}.")


def _kept_items(kept: Any, keyword: str, warnings: list[str]) -> list[Dataset]:
    """Return the references of the loaded object; one whose UID is none cannot be written."""
    if kept is None:
        return []
    items = []
    for item in items_of(kept, keyword):
        uids = [text_value(item, "ReferencedSOPInstanceUID"), text_value(item, "ReferencedSOPClassUID")]
        if all(re.fullmatch(r"[0-9.]{1,64}", uid) for uid in uids):
            items.append(deepcopy(item))
        else:
            warnings.append(f"A reference of the loaded dose was left out: {uids[0] or 'no UID'!r} is no UID.")
    return items


def _headers_at_hand(uids: Sequence[str], references: list[Reference], database: Database) -> list[Any]:
    """Return headers of referenced objects that the database has, and add references with their series."""
    headers = []
    named = {one.sop_instance_uid for one in references}
    for uid in uids:
        file = database.fileForInstance(uid) if uid and uid not in named else ""
        if file:
            try:
                header = read_header(file)
            except DicomBridgeError:
                continue
            headers.append(header)
            references.append(_reference_to(header))
    return headers


def named_object(
    what: Any, classes: Sequence[str], kind: str, database: Database | None
) -> tuple[Any, Reference, list[str]]:
    """Find the plan or structure set that a caller names by a node, a path or a SOP Instance UID.

    Returns
    -------
    header or None, reference, warnings

    Raises
    ------
    ExportError
        There is none, or it is another kind of object.
    """
    header, uid = None, ""
    if hasattr(what, "GetAttribute"):
        header = remembered(what)
        uid = next(iter((what.GetAttribute("DICOM.instanceUIDs") or "").split()), "")
        if header is None and not uid:
            raise ExportError(f"The node {what.GetName()!r} does not come from a DICOM {kind}.")
    elif Path(str(what)).is_file():
        header = _header(str(what), kind)
    else:
        uid = str(what)
    if header is None:
        file = database.fileForInstance(uid) if database is not None else ""
        header = _header(file, kind) if file else None
    if header is None:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)+", uid) or len(uid) > 64:
            raise ExportError(f"The {kind} {what!r} is neither a node, a file nor the UID of an instance.")
        warning = f"The {kind} {uid} is not at hand; it was named by its UID alone."
        return None, Reference(uid, classes[0]), [warning]
    if text_value(header, "SOPClassUID") not in classes:
        raise ExportError(f"{what if uid == '' else uid}: is no {kind} but {text_value(header, 'SOPClassUID')}.")
    return header, _reference_to(header), []


def _header(path: str, kind: str) -> Any:
    try:
        return read_header(path)
    except DicomBridgeError as error:
        raise ExportError(f"The {kind} cannot be read: {error}") from error


def _reference_to(header: Any) -> Reference:
    keywords = ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID")
    return Reference(*(text_value(header, keyword) for keyword in keywords))


def _reference_item(reference: Reference) -> Dataset:
    with config.disable_value_validation():  # checked, or read from an object that exists
        return instance_item(reference)


def set_description(dataset: Dataset, description: Description, name: str, images: Sequence[Reference]) -> None:
    """Write units, type, summation and references into a new dose (PS3.3 C.8.8.3)."""
    dataset.DoseUnits, dataset.DoseType = description.units, description.type
    dataset.DoseSummationType = description.summation
    if description.plans:
        dataset.ReferencedRTPlanSequence = description.plans
    else:
        dataset.pop("ReferencedRTPlanSequence", None)
    _set_structure_sets(dataset, description)
    if description.summation == "PLAN_OVERVIEW" and not items_of(dataset, "PlanOverviewSequence"):
        dataset.PlanOverviewSequence = [_overview(name, description.structure_sets, images)]
    elif description.summation != "PLAN_OVERVIEW":
        dataset.pop("PlanOverviewSequence", None)


def _set_structure_sets(dataset: Dataset, description: Description) -> None:
    """Name the structure sets: beside histograms in their module (PS3.3 C.8.8.4), else in that of the dose."""
    others = [one for one in items_of(dataset, "ReferencedInstanceSequence") if not _is_structure_set(one)]
    dataset.pop("ReferencedStructureSetSequence", None)
    if "DVHSequence" in dataset and description.structure_sets:
        dataset.ReferencedStructureSetSequence = description.structure_sets
    elif description.summation != "PLAN_OVERVIEW":
        for one in description.structure_sets:
            item = _reference_item(Reference(one.ReferencedSOPInstanceUID, one.ReferencedSOPClassUID))
            item.PurposeOfReferenceCodeSequence = [code_item(DOSE_CALCULATION_STRUCTURE)]
            others.append(item)
    if others:
        dataset.ReferencedInstanceSequence = others
    else:
        dataset.pop("ReferencedInstanceSequence", None)


def _is_structure_set(item: Dataset) -> bool:
    return text_value(item, "ReferencedSOPClassUID") == STRUCTURE_SET_STORAGE


def _overview(name: str, structure_sets: Sequence[Dataset], images: Sequence[Reference]) -> Dataset:
    """Return the item that stands for a plan that is not known (Plan Overview Sequence, PS3.3 C.8.8.3)."""
    item = Dataset()
    item.PlanOverviewIndex = 1
    item.RTPlanLabel = shortened(name, 16)
    item.TreatmentSite = ""
    item.TreatmentSiteCodeSequence = []
    item.PrescriptionOverviewSequence = []
    if structure_sets:
        item.ReferencedStructureSetSequence = [deepcopy(one) for one in structure_sets]
    elif images:
        item.ReferencedImageSequence = [_reference_item(one) for one in images]
    return item
