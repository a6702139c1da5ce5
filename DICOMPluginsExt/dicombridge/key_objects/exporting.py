"""From a choice of images to files: the export half of the kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import generate_uid

from dicombridge.codes import Code, code_from_sequence
from dicombridge.errors import ExportError
from dicombridge.key_objects.selecting import KEY_OBJECT_SELECTION, Selection, document_of, select
from dicombridge.key_objects.titles import OF_INTEREST, reason_option, title_option
from dicombridge.multiframe import read_header
from dicombridge.output.files import Job, write_file, write_together
from dicombridge.output.header import (
    NewObject,
    apply_keywords,
    instance_item,
    new_header,
    record_predecessor,
    split_options,
)
from dicombridge.part10 import EXPLICIT_VR_LITTLE_ENDIAN
from dicombridge.progress import Progress, silent
from dicombridge.references import Reference, references_of
from dicombridge.report import concepts, items
from dicombridge.report.evidence import evidence_items, referenced_instances
from dicombridge.report.trees import ROOT, without_content
from dicombridge.shadow import remembered

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.report.content import InstanceReference

__all__ = ["export"]

OWN_OPTIONS = ("slices", "instances", "frames", "title", "reason", "description", "observer", "source")
EVIDENCE = "CurrentRequestedProcedureEvidenceSequence"
NOT_OPTIONS = (*ROOT, EVIDENCE, "IdenticalDocumentsSequence", "Modality")
RENEWED = ("ContentDate", "ContentTime", EVIDENCE, "IdenticalDocumentsSequence", *ROOT)
TITLE_MODIFIER = Code("113011", "DCM", "Document Title Modifier")
ROWS = "0028,0010"
WAVEFORMS = "1.2.840.10008.5.1.4.1.1.9."
_REFERENCES = ("IMAGE", "COMPOSITE", "WAVEFORM")


@dataclass(frozen=True)
class _Document:
    """What a document says, whichever studies it goes to."""

    root: Dataset
    selection: Selection
    known: list[Reference]
    kept: Dataset | None


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write a choice of images as a Key Object Selection Document (PS3.3 A.35.4, PS3.16 TID 2010).

    Parameters
    ----------
    nodes
        Volumes that were loaded from DICOM: all their images, or those of ``slices``. Markups: the images in whose
        slices their control points lie, of the volumes beside them, else of the volume that they were placed on. A
        table or text of a loaded selection: what it refers to, and what the other nodes add. May be empty where
        ``instances`` are given.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where series and studies of the images are looked up; may be None for volumes.
    progress
        Called with a fraction (0 to 1) and a message.
    slices
        Slices (from 0) of the volumes. Of multi-frame images, frames are selected.
    instances
        SOP Instance UIDs, or pairs of UID and frame numbers.
    frames
        Frame numbers (from 1) of the one instance that ``instances`` names.
    title
        A code, or a meaning of CID 7010, e.g. ``"For Referring Provider"``; Of Interest by default.
    reason
        Of a title that has one, e.g. a meaning of CID 7011 for ``"Rejected for Quality Reasons"``.
    description
        Free text.
    observer
        Name of the person who selected, as PN.
    source
        Not needed, and taken because all kinds do: images are looked up in ``database``.
    **options
        Attributes of the new object by DICOM keyword; the last word.

    Returns
    -------
    list of Path
        One file a document and study: images of several studies are named in a document in each of them, which name
        each other as identical (PS3.3 C.17.6.2.1).

    Raises
    ------
    ExportError
        The nodes cannot be written as asked; nothing was written.
    """
    tell = progress or silent
    own, keywords = split_options(options, OWN_OPTIONS, NOT_OPTIONS)
    tell(0.0, "Collecting images")
    documents = [_document(group, database, own, number == 0) for number, group in enumerate(_groups(nodes))]
    datasets = [dataset for one in documents for dataset in _datasets(one, database, keywords)]
    return write_together(directory, [_job(dataset) for dataset in datasets], progress)


def _groups(nodes: Sequence[Any]) -> list[list[Any]]:
    """Return the nodes of each document: the table of a loaded one first; what is new joins the first."""
    loaded: dict[str, list[Any]] = {}
    others = []
    for node in nodes:
        main = document_of(node)
        if main is not None:
            loaded.setdefault(main.GetID(), [main])
        elif node.IsA("vtkMRMLVolumeNode") or node.IsA("vtkMRMLMarkupsNode"):
            others.append(node)
        else:
            raise ExportError(f"A {node.GetClassName()} cannot be exported as a key object selection.")
    groups = list(loaded.values()) or [[]]
    groups[0].extend(others)
    return groups


def _job(dataset: Dataset) -> Job:
    def prepare(progress: Progress | None) -> tuple[str, Callable[[Path], None]]:
        def write(path: Path) -> None:
            (progress or silent)(0.9, "Writing")
            write_file(path, dataset, EXPLICIT_VR_LITTLE_ENDIAN)

        return f"KOS_{dataset.SOPInstanceUID}.dcm", write

    return prepare


# --- Content -------------------------------------------------------------------------------------------------------


def _document(nodes: Sequence[Any], database: Database | None, own: Mapping[str, Any], first: bool) -> _Document:
    kept = remembered(nodes[0]) if nodes and document_of(nodes[0]) is not None else None
    rest = nodes[1:] if kept is not None else nodes
    selection = select(rest, database, own if first else {})
    before = list(kept.get("ContentSequence") or ()) if kept is not None else []
    # What names nothing is not valid, and says nothing.
    references = [deepcopy(one) for one in before if one.get("ValueType") in _REFERENCES and _names_something(one)]
    selection.instances = [new for one in selection.instances if (new := _not_named(one, references)) is not None]
    references += [_item(one, database) for one in selection.instances]
    if not references:
        raise ExportError("No image is selected: give a volume that was loaded from DICOM, or instances.")
    root = _root(kept, [item for item in before if item.get("ValueType") not in _REFERENCES], own)
    root.ContentSequence = [*(root.get("ContentSequence") or ()), *references]
    known = [*(references_of(kept) if kept is not None else ()), *selection.known]
    if kept is not None:
        selection.name = selection.name or str(kept.get("SeriesDescription") or "")
    return _Document(root, selection, known, kept)


def _names_something(item: Dataset) -> bool:
    return any(one.get("ReferencedSOPInstanceUID") for one in item.get("ReferencedSOPSequence") or ())


def _not_named(one: InstanceReference, references: Sequence[Dataset]) -> InstanceReference | None:
    """Return what a document does not name of an instance yet: all, or some of its frames; None where it names all."""
    frames: set[int] = set()
    for item in references:
        for named in item.get("ReferencedSOPSequence") or ():
            if named.get("ReferencedSOPInstanceUID") != one.sop_instance_uid:
                continue
            numbers = named.get("ReferencedFrameNumber")
            if numbers in (None, ""):
                return None
            frames.update(map(int, numbers if isinstance(numbers, Sequence | MultiValue) else [numbers]))
    new = tuple(number for number in one.frames if number not in frames)
    return replace(one, frames=new) if new or not one.frames else None


def _root(kept: Dataset | None, before: Sequence[Dataset], own: Mapping[str, Any]) -> Dataset:
    """Return the document's root with all but its references: as it was, but for what the caller says."""
    said = title_option(own.get("title"))
    old = code_from_sequence(kept, "ConceptNameCodeSequence") if kept is not None else None
    title = said or old or OF_INTEREST
    reason = reason_option(own.get("reason"), title)
    description, observer = (str(own.get(name) or "").strip() for name in ("description", "observer"))
    is_other_title = said is not None and concepts.key(said) != concepts.key(old)
    replaced = [
        *([TITLE_MODIFIER] if reason is not None or is_other_title else []),
        *([concepts.KEY_OBJECT_DESCRIPTION] if description else []),
    ]
    children = [
        deepcopy(item)
        for item in before
        if not concepts.is_one_of(code_from_sequence(item, "ConceptNameCodeSequence"), replaced)
        and not (observer and item.get("RelationshipType") == items.HAS_OBS_CONTEXT)
    ]
    # TID 2010 has an order: modifiers, observers, description.
    if observer:
        children[:0] = [
            items.code(items.HAS_OBS_CONTEXT, concepts.OBSERVER_TYPE, concepts.PERSON),
            items.person_name(items.HAS_OBS_CONTEXT, concepts.PERSON_OBSERVER_NAME, observer),
        ]
    if reason is not None:
        children.insert(0, items.code(items.HAS_CONCEPT_MOD, TITLE_MODIFIER, reason))
    if description:
        children.append(items.text(items.CONTAINS, concepts.KEY_OBJECT_DESCRIPTION, description))
    return items.container("", title, children, template="2010")


def _item(one: InstanceReference, database: Database | None) -> Dataset:
    """Return the item of an instance: an image, a waveform, or another object."""
    if one.sop_class_uid.startswith(WAVEFORMS):
        waveform = items.composite(items.CONTAINS, None, one)
        waveform.ValueType = "WAVEFORM"
        return waveform
    file = database.fileForInstance(one.sop_instance_uid) if database is not None else ""
    if file and database is not None and not database.fileValue(file, ROWS):
        return items.composite(items.CONTAINS, None, one)
    return items.image(items.CONTAINS, None, one)


# --- Documents of each study ---------------------------------------------------------------------------------------


def _datasets(one: _Document, database: Database | None, keywords: Mapping[str, Any]) -> list[Dataset]:
    """Return the document for each study that it refers to (PS3.3 C.17.6.2.1)."""
    named = referenced_instances(one.root)
    fallback = str(one.kept.get("StudyInstanceUID") or "") if one.kept is not None else ""
    evidence = evidence_items(named, one.known, database, fallback or generate_uid())
    listed = {uid for study in evidence for uid in _listed(study)}
    lost = [reference.sop_instance_uid for reference in named if reference.sop_instance_uid not in listed]
    if lost:
        raise ExportError(
            f"The series of {len(lost)} selected objects is not known, e.g. of {lost[0]}; add them to the database."
        )
    datasets = [_dataset(one, evidence, number, database, keywords) for number in range(len(evidence))]
    for dataset in datasets if len(datasets) > 1 else ():
        dataset.IdenticalDocumentsSequence = [_identical(other) for other in datasets if other is not dataset]
    return datasets


def _listed(study: Dataset) -> list[str]:
    return [
        str(item.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]


def _dataset(
    one: _Document, evidence: Sequence[Dataset], number: int, database: Database | None, keywords: Mapping[str, Any]
) -> Dataset:
    """Return the document that is for the study of an item of the evidence."""
    study = evidence[number]
    uid = str(study.StudyInstanceUID)
    header = _header(one, study, database)
    attributes = {**one.selection.attributes, "StudyInstanceUID": uid}
    new = NewObject(KEY_OBJECT_SELECTION, "KO", "Key objects", one.selection.name)
    kept = without_content(one.kept) if one.kept is not None else None
    dataset = new_header(new, header, kept, attributes, RENEWED)
    dataset.StudyInstanceUID = uid
    for keyword in ROOT:
        if keyword in one.root:
            dataset[keyword] = deepcopy(one.root[keyword])
    if "ReferencedPerformedProcedureStepSequence" not in dataset:
        dataset.ReferencedPerformedProcedureStepSequence = []
    setattr(dataset, EVIDENCE, deepcopy(list(evidence)))
    record_predecessor(dataset, one.kept)
    apply_keywords(dataset, keywords)
    return dataset


def _header(one: _Document, study: Dataset, database: Database | None) -> Dataset | None:
    """Return a header that knows patient and study: of a selected image; None if there is none at hand."""
    for uid in _listed(study) if database is not None else ():
        file = database.fileForInstance(uid) if database is not None else ""
        if file:
            return read_header(file)
    return one.selection.headers.get(str(study.StudyInstanceUID))


def _identical(other: Dataset) -> Dataset:
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID = other.SeriesInstanceUID
    series.ReferencedSOPSequence = [instance_item(Reference(str(other.SOPInstanceUID), KEY_OBJECT_SELECTION))]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = other.StudyInstanceUID, [series]
    return study
