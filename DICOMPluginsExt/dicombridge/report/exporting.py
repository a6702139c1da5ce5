"""From nodes to files: the export half of the kind."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.errors import ExportError
from dicombridge.multiframe import read_header
from dicombridge.output.files import Job, write_file, write_together
from dicombridge.output.header import NewObject, apply_keywords, new_header, record_predecessor, split_options
from dicombridge.part10 import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicombridge.progress import Progress, silent
from dicombridge.references import Reference, references_of
from dicombridge.report.content import content_of_text
from dicombridge.report.contents import COORDINATES, ContentOptions, Contents, contents_of, report_table_of
from dicombridge.report.editing import EditedDocument
from dicombridge.report.encoding import encoded_content
from dicombridge.report.evidence import evidence_items, referenced_instances
from dicombridge.report.groups import Group, Observer
from dicombridge.report.kept import REPORT_ROLE, kept_groups
from dicombridge.report.placement import place_regions
from dicombridge.report.recognizing import recognized_groups
from dicombridge.report.table_edits import with_table_edits
from dicombridge.report.template import PROFILES, group_items, measurement_report
from dicombridge.report.trees import CONTENT_SEQUENCE, ROOT, tree_items, without_content
from dicombridge.shadow import HEADER_ATTRIBUTE, remembered

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["export"]

_log = logging.getLogger(__name__)

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
_CANNOT_HOLD = {
    "1.2.840.10008.5.1.4.1.1.88.11": frozenset({"NUM", "SCOORD", "SCOORD3D", "TCOORD"}),  # Basic Text SR
    "1.2.840.10008.5.1.4.1.1.88.22": frozenset({"SCOORD3D"}),  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.33": frozenset({"SCOORD3D"}),  # Comprehensive SR
}
"""Value types that a class has not; a document that holds one becomes a Comprehensive 3D SR (PS3.3 A.35.13)."""
_FOR_GROUPS = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (22, 33, 34, 35))
"""Enhanced, Comprehensive, Comprehensive 3D and Extensible SR, whose content is free for measurement groups."""
OWN_OPTIONS = ("source", "profile", "coordinates", "observer", "segmentation", "volume")
NOT_OPTIONS = ("ContentSequence", "ValueType", "ConceptNameCodeSequence", "ContentTemplateSequence", "Modality")
RENEWED = (
    "ContentDate",
    "ContentTime",
    "CurrentRequestedProcedureEvidenceSequence",
    "VerifyingObserverSequence",
    "VerificationFlag",
    "PreliminaryFlag",
    "IdenticalDocumentsSequence",
)
"""What does not hold for an edited document; who verified the one that was loaded did not see this one."""
WHO = ("PatientID", "PatientName", "StudyInstanceUID")
"""What tells of whom a report is."""
MOST_NAMES = 10
"""Nodes that a warning names."""
LONGEST_SHORT = 65534
"""Bytes of a value of VR FL in explicit VR (PS3.5 7.1.2)."""


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write markups, segmentations and tables of measurements as TID 1500 reports (PS3.16), Comprehensive 3D SR.

    Parameters
    ----------
    nodes
        Markups of any shape, one measurement group each (of a point list, each point); segmentations, and tables of
        Segment Statistics; the table of a report that was loaded stands for the whole report. What was loaded from one
        report is written to one, and what is new to the first of them. Parent transforms are applied.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where images and segmentations are looked up; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    source
        The images that new shapes belong to: a Series Instance UID of the database, paths of image files or a folder,
        or a volume node. By default the volume that they were drawn on.
    profile
        ``"standard"``, or ``"ohif"`` for what OHIF and Cornerstone3D take up for editing; it has coordinates in images.
    coordinates
        ``"patient"`` (SCOORD3D), or ``"image"``: columns and rows of the slice in which a shape lies, where it does
        (SCOORD). By default loaded regions stay what they were, and new ones are in patient coordinates.
    observer
        Name of the person who measured, as PN.
    segmentation
        File of the DICOM segmentation that a segmentation node was written to, where it was not loaded from one.
    volume
        Volume node that segments are measured in, where no table is given.
    **options
        Attributes of the new object by DICOM keyword; the last word.

    Returns
    -------
    list of Path

    Raises
    ------
    ExportError
        The nodes cannot be written as asked; nothing was written.
    """
    own, keywords = split_options(options, OWN_OPTIONS, NOT_OPTIONS)
    _check(own)
    jobs = [_job(group, database, own, keywords) for group in _by_report(nodes)]
    return write_together(directory, jobs, progress)


def _check(own: dict[str, Any]) -> None:
    own["profile"] = own.get("profile") or PROFILES[0]
    own["coordinates"] = own.get("coordinates") or None
    source = own.get("source")
    if source is not None and not isinstance(source, str | Path | Sequence) and not hasattr(source, "IsA"):
        raise ExportError(
            f"source is a Series Instance UID, paths of image files or a folder, or a volume node, not {source!r}."
        )
    for name, allowed in (("profile", PROFILES), ("coordinates", (None, *COORDINATES))):
        if own[name] not in allowed:
            known = ", ".join(filter(None, allowed))
            raise ExportError(f"{name}={own[name]!r} is not known; there are: {known}.")


def _by_report(nodes: Sequence[Any]) -> list[list[Any]]:
    """Return the nodes of each document: by the report that they were loaded from, new ones in the first."""
    groups: dict[str, list[Any]] = {}
    new = []
    chosen = list(dict.fromkeys(map(_whole, nodes)))
    mains = [table for table in map(report_table_of, chosen) if table is not None]
    by_uid = {str(table.GetAttribute("DICOM.instanceUIDs") or ""): str(table.GetID()) for table in mains}
    for node in chosen:
        table, kept = report_table_of(node), kept_groups(node)
        # By the table, not by the UID: one report may have been loaded twice, and edited in two ways.
        report = str(table.GetID()) if table is not None else ""
        if kept is not None and not report:
            report = by_uid.get(kept.report, kept.report)
        if report:
            groups.setdefault(report, []).append(node)
        else:
            new.append(node)
    if not groups and not new:
        raise ExportError("There is no node to export as a structured report.")
    if new:
        groups.setdefault(next(iter(groups), "new"), []).extend(new)
    return list(groups.values())


def _whole(node: Any) -> Any:
    """Return the main table of a report in place of its outline and its text: they are the whole of it."""
    is_outline = node.IsA("vtkMRMLTextNode") or node.IsA("vtkMRMLTableNode")
    return (node.GetNodeReference(REPORT_ROLE) if is_outline else None) or node


def _job(nodes: Sequence[Any], database: Database | None, own: Mapping[str, Any], keywords: Mapping[str, Any]) -> Job:
    """Return what prepares one file."""

    def prepare(progress: Progress | None) -> tuple[str, Callable[[Path], None]]:
        tell = progress or silent
        tell(0.0, "Collecting measurements")
        before = _groups_of_document(nodes, database)
        options = ContentOptions(own["coordinates"], own["profile"], own.get("segmentation"), before, own.get("volume"))
        contents = contents_of(nodes, database, own.get("source"), options)
        if before and any(node is contents.table for node in nodes):
            contents.groups = with_table_edits(contents.groups, contents.table, before, contents.warnings)
            _check_any(contents)
        tell(0.5, f"Describing {len(contents.groups)} groups")
        known = _segmentations(contents.segmentations, own.get("segmentation"))
        dataset = _dataset(contents, before, database, own, keywords, known)
        contents.warnings += _unknown(contents, nodes, keywords)
        for warning in _together(contents.warnings):
            _log.warning("%s", warning)

        def write(path: Path) -> None:
            tell(0.9, "Writing")
            syntax = _transfer_syntax(dataset)
            is_explicit = syntax == EXPLICIT_VR_LITTLE_ENDIAN
            encoded = {CONTENT_SEQUENCE: encoded_content(dataset)} if is_explicit else {}
            write_file(path, dataset, syntax, encoded=encoded)

        return f"SR_{dataset.SOPInstanceUID}.dcm", write

    return prepare


def _unknown(contents: Contents, nodes: Sequence[Any], keywords: Mapping[str, Any]) -> list[str]:
    """Return warnings about what is missing: the report that nodes come from, and whom the new one is about."""
    warnings = []
    if contents.table is None:
        lost = [node.GetName() for node in nodes if kept_groups(node) is not None]
        warnings += [
            f"{name!r} comes from a report whose table is not in the scene any more: the rest of that report is not "
            "written, and the new one does not name it as its predecessor; load the report again for that."
            for name in lost
        ]
    said = {**contents.attributes, **keywords}
    has_header = contents.kept is not None or any(one.header is not None for one in contents.sources)
    if not has_header and not any(said.get(keyword) for keyword in WHO):
        warnings.append(
            "Nothing is known of patient and study: give the images as source, or attributes such as PatientID and "
            "StudyInstanceUID."
        )
    return warnings


def _check_any(contents: Contents) -> None:
    if not contents.groups:
        raise ExportError(f"{contents.table.GetName()!r}: all groups were removed; there is nothing to report.")


def _together(warnings: Sequence[str]) -> list[str]:
    """Return warnings, those that differ only in the node that they begin with as one."""
    names: dict[str, list[str]] = {}
    for warning in dict.fromkeys(warnings):
        found = re.match(r"'[^']*'|\"[^\"]*\"", warning)
        name = found[0] if found else ""
        names.setdefault(warning[len(name) :], []).append(name)
    return [
        ", ".join(ones[:MOST_NAMES]) + (f" and {len(ones) - MOST_NAMES} more" if len(ones) > MOST_NAMES else "") + said
        for said, ones in names.items()
    ]


def _groups_of_document(nodes: Sequence[Any], database: Database | None) -> list[Group]:
    """Return the groups of the report that nodes come from, as the document says them; none for a new one."""
    table = next(filter(None, map(report_table_of, nodes)), None)
    root = content_of_text(str(table.GetAttribute(HEADER_ATTRIBUTE) or "")) if table is not None else None
    groups = recognized_groups(root) if root is not None else []
    place_regions(groups, database)  # what has no place was said when the report was loaded
    return groups


def _dataset(
    contents: Contents,
    before: Sequence[Group],
    database: Database | None,
    own: Mapping[str, Any],
    keywords: Mapping[str, Any],
    segmentations: Sequence[Reference],
) -> Dataset:
    kept = contents.kept
    edited = kept is not None and (bool(before) or "ContentSequence" in kept)
    root = _edited(contents, before, own) if edited else _new(contents, own)
    positions = {group.position for group in before}
    sop_class = _sop_class(root, kept, any(group.position not in positions for group in contents.groups))
    new = NewObject(sop_class, "SR", "Measurement report", contents.name)
    header = without_content(kept) if kept is not None else None
    dataset = new_header(new, contents.source.header, header, contents.attributes, RENEWED)
    for keyword in ROOT:
        if keyword in root:
            dataset[keyword] = root[keyword]
    dataset.CompletionFlag = str(dataset.get("CompletionFlag") or "COMPLETE")
    dataset.VerificationFlag = "UNVERIFIED"
    for keyword in ("ReferencedPerformedProcedureStepSequence", "PerformedProcedureCodeSequence"):
        if keyword not in dataset:
            setattr(dataset, keyword, [])
    before_it = references_of(header) if header is not None else []
    known = [*before_it, *contents.source.references, *_images(contents), *segmentations]
    evidence = evidence_items(referenced_instances(root), known, database, str(dataset.StudyInstanceUID))
    if evidence:
        dataset.CurrentRequestedProcedureEvidenceSequence = evidence
    record_predecessor(dataset, kept)
    apply_keywords(dataset, keywords)
    return dataset


def _new(contents: Contents, own: Mapping[str, Any]) -> Dataset:
    observers = [Observer(str(own["observer"]))] if own.get("observer") else []
    images = dict.fromkeys(
        one for group in contents.groups for region in group.regions for one in region.images if region.images
    )
    named = {one.sop_instance_uid for one in images}
    library = [*images, *(one for one in contents.library if one.sop_instance_uid not in named)]
    return measurement_report(contents.groups, observers=observers, library=library, profile=own["profile"])


def _edited(contents: Contents, before: Sequence[Group], own: Mapping[str, Any]) -> Dataset:
    """Return the loaded document with the groups as they are now.

    It is edited in place: what was kept was decoded for this export, and nobody looks at its content again.
    """
    document = EditedDocument(contents.kept or Dataset())
    loaded = {group.position: group for group in before}
    now = [group for group in contents.groups if group.position in loaded and _stays(group, own["profile"])]
    document.keep_only(before, {group.position for group in now})
    for group in now:
        document.change(group, loaded[group.position])
    staying = {group.position for group in now}
    new = [group for group in contents.groups if group.position not in staying]
    document.add([item for group in new for item in group_items(group, own["profile"])])
    root = document.finish()
    contents.warnings += document.warnings
    _repair(root)
    return root


def _stays(group: Group, profile: str) -> bool:
    """Whether a loaded group stays where it is; a profile wants shapes of another profile written anew."""
    return profile != "ohif" or not group.regions or group.tracking_identifier.lower().startswith("cornerstone")


def _sop_class(root: Dataset, kept: Dataset | None, has_new_groups: bool) -> str:
    """Return the class of the document: that which it had, where that can hold what is in it now (PS3.3 A.35)."""
    before = str(kept.get("SOPClassUID") or "") if kept is not None else ""
    types = {str(item.get("ValueType") or "") for item in tree_items(root)}
    may_stay = before in _FOR_GROUPS or not has_new_groups
    if before and may_stay and types.isdisjoint(_CANNOT_HOLD.get(before, ())):
        return before
    return COMPREHENSIVE_3D_SR


def _repair(root: Dataset) -> None:
    """Give codes the meaning that the standard demands, where a loaded document has none."""
    for item in tree_items(root):
        measured = item.get("MeasuredValueSequence") or ()
        holders = [(item, "ConceptNameCodeSequence"), (item, "ConceptCodeSequence")]
        holders += [(one, "MeasurementUnitsCodeSequence") for one in measured]
        for holder, keyword in holders:
            for code in holder.get(keyword) or ():
                if not code.get("CodeMeaning") and (code.get("CodeValue") or code.get("LongCodeValue")):
                    code.CodeMeaning = str(code.get("CodeValue") or code.get("LongCodeValue"))[:64]


def _segmentations(nodes: Sequence[Any], path: Any) -> list[Reference]:
    """Return the DICOM segmentations of nodes, and that of a file, with their series: a database may not have them."""
    headers = [remembered(node) for node in nodes]
    if path:
        headers.append(read_header(str(path)))
    keywords = ("SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID")
    return [Reference(*(str(header.get(keyword) or "") for keyword in keywords)) for header in headers if header]


def _images(contents: Contents) -> list[Reference]:
    """Return the source images with their series."""
    return [
        Reference(uid, one.grid.sop_class_uid, one.series_instance_uid, str(one.header.get("StudyInstanceUID") or ""))
        for one in contents.sources
        if one.grid is not None and one.header is not None
        for uid in dict.fromkeys(one.grid.instance_uids)
        if uid
    ]


def _transfer_syntax(dataset: Dataset) -> str:
    """Return explicit VR, or implicit VR where coordinates are longer than explicit VR has room for."""
    for item in tree_items(dataset):
        data = item.get("GraphicData")
        if data is not None and 4 * len(data) > LONGEST_SHORT:
            return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_LITTLE_ENDIAN
