"""Which other objects an object needs, from every place where the standard lets it say so.

A reference is any item that has a Referenced SOP Instance UID: in the Common Instance Reference module (PS3.3 C.12.2),
in functional groups, in evidence sequences, in the many sequences of radiotherapy objects. Its series and study are
those of the items around it. So a new object kind needs no code here, only its exceptions.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset

from dicombridge.errors import UnreadableError
from dicombridge.part10 import PER_FRAME_GROUPS, Buffer, NeedsPydicom, TruncatedError, elements, items

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.functional_groups import FrameTable
    from dicombridge.multiframe import MultiFrame

__all__ = ["Reference", "instances_needed", "references_of", "references_of_file", "series_of_references"]

_REFERENCED_SOP_CLASS_UID = 0x00081150
_REFERENCED_SOP_INSTANCE_UID = 0x00081155
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_RT_REFERENCED_STUDY = 0x30060012
"""RT Referenced Study Sequence: what its items name as SOP instance is a study (PS3.3 C.8.8.5)."""
_REFERENCE_TAGS = frozenset(
    {_REFERENCED_SOP_CLASS_UID, _REFERENCED_SOP_INSTANCE_UID, _STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID}
)

NOT_NEEDED = frozenset(
    {
        "SegmentSequence",
        "PredecessorDocumentsSequence",
        "PredecessorStructureSetSequence",
        "ReferencedImageEvidenceSequence",
        "ReferencedPatientSequence",
        "ReferencedPerformedProcedureStepSequence",
        "ReferencedRequestSequence",
        "ReferencedStudySequence",
        "ReferencedVisitSequence",
        "IdenticalDocumentsSequence",
    }
)
"""Sequences that name objects of the workflow, earlier versions, or none at all: nothing is missing without them.

They are not walked; a Segment Sequence alone can be longer than all the rest of a header.
"""


_SKIPPED = frozenset({*(tag_for_keyword(keyword) for keyword in NOT_NEEDED), PER_FRAME_GROUPS})


@dataclass(frozen=True)
class Reference:
    """A referenced instance; a series that is referenced as a whole has no instance UID."""

    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    series_instance_uid: str = ""
    study_instance_uid: str = ""


def references_of(header: Dataset, table: FrameTable | None = None) -> list[Reference]:
    """Return the instances (and whole series) that an object refers to, each once, the most telling naming of each.

    Parameters
    ----------
    header
        The dataset, with or without per-frame functional groups.
    table
        Its per-frame functional groups, where they were read apart.
    """
    return _each_once(_walk(header, Reference(), top=True), header, table)


def _each_once(named: Iterable[Reference], header: Dataset, table: FrameTable | None) -> list[Reference]:
    """Return references, and those of the frames, each once; an object does not need itself."""
    found: dict[str, Reference] = {}
    for reference in named:
        _keep(found, reference)
    if table is not None:
        for value in set(table.values_of(_REFERENCED_SOP_INSTANCE_UID)):
            _keep(found, Reference(_uid(value)))
    found.pop(str(header.get("SOPInstanceUID") or ""), None)
    return list(found.values())


def _keep(found: dict[str, Reference], reference: Reference) -> None:
    key = reference.sop_instance_uid or f"series {reference.series_instance_uid}"
    known = found.get(key)
    if known is None or (reference.series_instance_uid and not known.series_instance_uid):
        found[key] = reference


def references_of_file(opened: MultiFrame) -> list[Reference]:
    """Return what :func:`references_of` returns, from the bytes of an open file: without a Dataset for each item."""
    try:
        return _each_once(_walk_file(opened), opened.header, opened.table)
    except (TruncatedError, NeedsPydicom) as error:
        raise UnreadableError(opened.path, f"its references are damaged: {error}.") from error


def _walk_file(opened: MultiFrame) -> Iterator[Reference]:
    buffer, layout = opened.top_level()
    for tag, span in layout.elements.items():
        if tag not in _SKIPPED and _may_be_sequence(tag, span.vr):
            inner = layout.implicit_vr or span.vr == "UN"
            for start, stop in items(buffer, span.start, span.stop, inner):
                yield from _walk_bytes(buffer, start, stop, inner, Reference(), 1, tag == _RT_REFERENCED_STUDY)


def _walk_bytes(
    buffer: Buffer, start: int, stop: int, implicit_vr: bool, around: Reference, depth: int, is_study: bool = False
) -> Iterator[Reference]:
    """Yield the references of an item that lies at ``start:stop``; the twin of :func:`_walk` for bytes."""
    values: dict[int, str] = {}
    sequences = []
    for element in elements(buffer, start, stop, implicit_vr, depth):
        if element.tag in _REFERENCE_TAGS:
            values[element.tag] = _uid(buffer[element.start : element.stop])
        elif element.tag not in _SKIPPED and _may_be_sequence(element.tag, element.vr.decode("ascii")):
            sequences.append(element)
    if is_study:
        values[_STUDY_INSTANCE_UID] = values.pop(_REFERENCED_SOP_INSTANCE_UID, "")
    around = replace(
        around,
        series_instance_uid=values.get(_SERIES_INSTANCE_UID) or around.series_instance_uid,
        study_instance_uid=values.get(_STUDY_INSTANCE_UID) or around.study_instance_uid,
    )
    if values.get(_REFERENCED_SOP_INSTANCE_UID):
        sop_class = values.get(_REFERENCED_SOP_CLASS_UID, "")
        yield replace(around, sop_instance_uid=values[_REFERENCED_SOP_INSTANCE_UID], sop_class_uid=sop_class)
    elif values.get(_SERIES_INSTANCE_UID):
        yield around
    for element in sequences:
        # UN of undefined length holds implicit VR (PS3.5 6.2.2).
        inner = implicit_vr or element.vr == b"UN"
        for item_start, item_stop in items(buffer, element.start, element.stop, inner, depth):
            is_study = element.tag == _RT_REFERENCED_STUDY
            yield from _walk_bytes(buffer, item_start, item_stop, inner, around, depth + 1, is_study)


def _uid(raw: bytes) -> str:
    return raw.rstrip(b"\0 ").decode("ascii", "replace")


@functools.cache
def _may_be_sequence(tag: int, vr: str) -> bool:
    """Whether an element is a sequence that is worth a walk; private ones are not."""
    if (tag >> 16) % 2:
        return False
    if vr not in ("", "UN"):  # a sequence that some software did not know is UN (PS3.5 6.2.2)
        return vr == "SQ"
    try:
        return bool(dictionary_VR(tag) == "SQ")
    except KeyError:
        return False


def _walk(dataset: Dataset, around: Reference, top: bool = False, is_study: bool = False) -> Iterator[Reference]:
    if not top:
        series = str(dataset.get("SeriesInstanceUID") or around.series_instance_uid)
        study = str(dataset.get("StudyInstanceUID") or around.study_instance_uid)
        instance = str(dataset.get("ReferencedSOPInstanceUID") or "")
        if is_study:
            study, instance = instance or study, ""
        around = replace(around, series_instance_uid=series, study_instance_uid=study)
        if instance:
            sop_class = str(dataset.get("ReferencedSOPClassUID") or "")
            yield replace(around, sop_instance_uid=instance, sop_class_uid=sop_class)
        elif dataset.get("SeriesInstanceUID"):
            yield around
    for tag in list(dataset.keys()):
        if tag.is_private or not _is_sequence(dataset, tag):
            continue
        if keyword_for_tag(tag) in NOT_NEEDED:
            continue
        for item in dataset[tag].value or ():
            yield from _walk(item, around, is_study=tag == _RT_REFERENCED_STUDY)


def _is_sequence(dataset: Dataset, tag: Any) -> bool:
    """Whether an element is a sequence, without decoding the ones that are not."""
    raw = dataset.get_item(tag)
    return raw is not None and _may_be_sequence(int(tag), raw.VR or "")


def series_of_references(references: Iterable[Reference], database: Database) -> dict[str, list[str]]:
    """Return the referenced series that the database knows, the one with most references first.

    Returns
    -------
    dict
        Series Instance UID -> referenced SOP Instance UIDs in it (empty where only the series was named).
    """
    series: dict[str, list[str]] = {}
    for reference in references:
        uid = ""
        if reference.sop_instance_uid:
            file = database.fileForInstance(reference.sop_instance_uid)
            uid = database.seriesForFile(file) if file else ""
        uid = uid or reference.series_instance_uid
        if uid and (uid in series or database.instancesForSeries(uid)):
            instances = series.setdefault(uid, [])
            if reference.sop_instance_uid:
                instances.append(reference.sop_instance_uid)
    return dict(sorted(series.items(), key=lambda item: -len(item[1])))


def instances_needed(references: Iterable[Reference], database: Database | None) -> list[str]:
    """Return the SOP Instance UIDs to offer for loading: the named ones, and all others of their series.

    Whole series, because a volume of only those slices that have contours or labels is not what a person wants.
    """
    references = list(references)
    needed = dict.fromkeys(reference.sop_instance_uid for reference in references if reference.sop_instance_uid)
    if database is not None:
        for series_uid in series_of_references(references, database):
            needed.update(dict.fromkeys(database.instancesForSeries(series_uid)))
    return list(needed)
