"""Nodes of a plan -> file: the plan that was loaded, with what was edited and nothing else changed."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.errors import ExportError
from dicombridge.output.files import write_file, write_together
from dicombridge.output.header import apply_keywords, set_attribute, split_options
from dicombridge.part10 import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicombridge.plan.edits import Edit, edits_of
from dicombridge.plan.kept import kept
from dicombridge.plan.nodes import PART_ATTRIBUTE, PLAN_ROLE, parts_of
from dicombridge.plan.reading import read_plan
from dicombridge.progress import Progress, silent
from dicombridge.shadow import HEADER_ATTRIBUTE
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["export"]

_log = logging.getLogger(__name__)


_SIGNATURES = ("DigitalSignaturesSequence", "MACParametersSequence")
_REVIEW = ("ReviewDate", "ReviewTime", "ReviewerName")
_PLAN_GROUPS = (0x300A, 0x300C)
"""Groups of the attributes that make a plan: whoever approved it approved these."""


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write plans that were loaded, as they were or edited.

    What can be edited: names and descriptions of beams (cells of the table, labels of the isocentres), isocentres,
    doses and descriptions of the prescriptions, descriptions and numbers of fractions, and by DICOM keyword any
    attribute of the top level (``RTPlanLabel="edited"``). Every other element is written as it was.

    An edited plan names the one that it was made from as its predecessor (PS3.3 C.8.8.9), and is unapproved.

    Parameters
    ----------
    nodes
        Any node of a plan, or several; each plan is written once.
    directory
        Where ``RTPLAN_<SOP Instance UID>.dcm`` is written; nothing is left there where anything fails.
    database
        Not needed: a plan has all that is written.
    progress
        Called with a fraction (0 to 1) and a message.
    **options
        DICOM keywords; the last word.

    Raises
    ------
    ExportError
        A node is of no plan that was loaded, or was changed as a plan cannot be.
    """
    _, keywords = split_options(options, ())
    for keyword in keywords:
        if dictionary_VR(keyword) == "SQ":
            raise ExportError(f"{keyword} cannot be an option: it is a sequence; edit the tables of the plan instead.")
    plans = _plans_of(nodes)
    jobs = [lambda tell, main=main, parts=parts: _job(main, parts, keywords, tell) for main, parts in plans]
    return write_together(Path(directory), jobs, progress)


def _plans_of(nodes: Sequence[Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Return the main tables of the plans that nodes belong to, each with the plan's nodes by what they are."""
    mains: list[Any] = []
    for node in nodes:
        main = node if node.GetAttribute(HEADER_ATTRIBUTE) else _main_of(node, nodes)
        if main is None or not main.GetAttribute(PART_ATTRIBUTE):
            raise ExportError(
                f"{node.GetName()}: belongs to no RT plan that was loaded from DICOM (or the main table of its plan "
                "was removed). A loaded plan can be exported, as it was or edited; a new one cannot be made here."
            )
        if not any(main is one for one in mains):
            mains.append(main)
    if not mains:
        raise ExportError("There is no node to export.")
    return [(main, parts_of(main) if main.GetScene() is not None else _given(main, nodes)) for main in mains]


def _main_of(node: Any, nodes: Sequence[Any]) -> Any | None:
    """Return the main table of a node's plan; where the scene is gone, it is looked for among the given nodes."""
    uid = node.GetNodeReferenceID(PLAN_ROLE) or ""
    if node.GetScene() is not None:
        return node.GetScene().GetNodeByID(uid) if uid else None
    instance = _instance(node)
    alike = [one for one in nodes if instance and _instance(one) == instance]
    return next((one for one in alike if one.GetAttribute(HEADER_ATTRIBUTE)), None)


def _given(main: Any, nodes: Sequence[Any]) -> dict[str, Any]:
    """Return the given nodes of a plan by what they are."""
    return {node.GetAttribute(PART_ATTRIBUTE): node for node in nodes if _instance(node) == _instance(main)}


def _instance(node: Any) -> str:
    return str(node.GetAttribute("DICOM.instanceUIDs") or "")


def _job(
    main: Any, parts: Mapping[str, Any], keywords: Mapping[str, Any], progress: Progress | None
) -> tuple[str, Callable[[Path], None]]:
    """Return the name of a file and what writes it; everything that can be refused is refused here."""
    tell = progress or silent
    tell(0.0, f"Comparing {main.GetName()} with its source")
    dataset, implicit = kept(main)
    with quiet():
        # Another copy: values that are read are decoded, and what is written shall be as it was encoded.
        edits = edits_of(parts, read_plan(kept(main)[0]))
        tell(0.5, "Applying the edits")
        _apply(dataset, edits, keywords)
    syntax = IMPLICIT_VR_LITTLE_ENDIAN if implicit else EXPLICIT_VR_LITTLE_ENDIAN

    def write(path: Path) -> None:
        tell(0.8, "Writing the plan")
        with quiet():
            write_file(path, dataset, syntax)

    return f"RTPLAN_{dataset.SOPInstanceUID}.dcm", write


def _apply(dataset: Dataset, edits: Sequence[Edit], keywords: Mapping[str, Any]) -> None:
    """Make a new instance of a dataset: new UIDs and dates, the edits, and what they entail."""
    source = (dataset.get("SOPClassUID"), dataset.get("SOPInstanceUID"))
    _use_fitting_character_set(dataset, edits, keywords)
    for edit in edits:
        _set(dataset, edit)
    of_plan = [name for name in keywords if int(tag_for_keyword(name) or 0) >> 16 in _PLAN_GROUPS]
    _renew(dataset)
    if edits or of_plan:
        _record_edits(dataset, source, edits)
    apply_keywords(dataset, keywords)
    if "ApprovalStatus" not in keywords and (edits or of_plan):
        _withdraw_approval(dataset)


def _set(dataset: Dataset, edit: Edit) -> None:
    item = dataset
    for keyword, place in edit.path:
        item = item[keyword].value[place]
    if edit.value is not None:
        set_attribute(item, edit.keyword, edit.value)
    elif edit.keyword == "NumberOfFractionsPlanned":
        item[edit.keyword].value = None  # may be empty, but not absent (type 2)
    elif edit.keyword in item:
        del item[edit.keyword]


def _renew(dataset: Dataset) -> None:
    now = datetime.datetime.now()
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    if "SeriesDate" in dataset:
        dataset.SeriesDate = dataset.InstanceCreationDate
    if "SeriesTime" in dataset:
        dataset.SeriesTime = dataset.InstanceCreationTime
    dataset.pop("InstanceCreatorUID", None)
    if any(dataset.pop(keyword, None) is not None for keyword in _SIGNATURES):
        _log.warning("Not written again: digital signatures, which hold for the loaded object only.")


def _record_edits(dataset: Dataset, source: tuple[Any, Any], edits: Sequence[Edit]) -> None:
    """Say when and by what a plan was edited, and which one it was before."""
    from dicombridge import __version__

    for edit in edits:
        _log.info("Edited: %s", edit.what)
    if any(edit.keyword == "IsocenterPosition" for edit in edits):
        _log.warning("An isocentre was moved: doses, surface distances and table positions are those of the old place.")
    dataset.RTPlanDate, dataset.RTPlanTime = dataset.InstanceCreationDate, dataset.InstanceCreationTime
    if all(source):
        predecessor = Dataset()
        predecessor.ReferencedSOPClassUID, predecessor.ReferencedSOPInstanceUID = source
        predecessor.RTPlanRelationship = "PREDECESSOR"
        dataset.ReferencedRTPlanSequence = [*(dataset.get("ReferencedRTPlanSequence") or []), predecessor]
    equipment, purpose = Dataset(), Dataset()
    equipment.Manufacturer, equipment.ManufacturerModelName = "DICOMBridge", "dicombridge"
    equipment.SoftwareVersions = __version__
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "109103", "DCM", "Modifying Equipment"
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    equipment.ContributionDescription = "Edited the plan"
    dataset.ContributingEquipmentSequence = [*(dataset.get("ContributingEquipmentSequence") or []), equipment]
    if dataset.get("ReferencedDoseSequence"):
        _log.warning("The edited plan still names the doses of the plan that it was made from.")


def _withdraw_approval(dataset: Dataset) -> None:
    """Make an edited plan unapproved (PS3.3 C.8.8.16): nobody reviewed what is written now."""
    status = str(dataset.get("ApprovalStatus") or "")
    if status in ("", "UNAPPROVED"):
        return
    dataset.ApprovalStatus = "UNAPPROVED"
    for keyword in _REVIEW:
        dataset.pop(keyword, None)
    _log.warning("The plan was %s; edited, it is UNAPPROVED and has to be reviewed again.", status)


# --- Text ----------------------------------------------------------------------------------------------------------


def _use_fitting_character_set(dataset: Dataset, edits: Sequence[Edit], keywords: Mapping[str, Any]) -> None:
    """Write all text as UTF-8 where new text does not fit into the character set of the plan."""
    texts = [str(value) for value in [*(edit.value for edit in edits), *keywords.values()] if value is not None]
    names = dataset.get("SpecificCharacterSet") or "ISO_IR 6"
    codec = convert_encodings([names] if isinstance(names, str) else list(names))[0]
    try:
        for text in texts:
            text.encode("ascii" if codec == "iso8859" else codec)
    except UnicodeEncodeError:
        with config.disable_value_validation():
            dataset.decode()
        for item in [one for element in dataset.iterall() if element.VR == "SQ" for one in element.value or ()]:
            item.pop("SpecificCharacterSet", None)
        dataset.SpecificCharacterSet = "ISO_IR 192"
