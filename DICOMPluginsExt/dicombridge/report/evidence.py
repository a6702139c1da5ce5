"""Which instances a document refers to, by study and series (PS3.3 C.17.2.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.output.header import instance_item
from dicombridge.references import Reference, references_of
from dicombridge.tags import SOP_CLASS_UID

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["evidence_items", "referenced_instances"]


def referenced_instances(content: Dataset) -> list[Reference]:
    """Return the instances that a content tree names, each once."""
    found: dict[str, Reference] = {}
    waiting = [content]
    while waiting:
        item = waiting.pop()
        waiting.extend(reversed(item.get("ContentSequence") or ()))
        if "ReferencedSOPSequence" in item and item is not content:
            # Of most items this is all that refers to an object: reading each of their elements would take long.
            alone = Dataset()
            alone.ReferencedSOPSequence = item.ReferencedSOPSequence
            found.update({one.sop_instance_uid: one for one in references_of(alone) if one.sop_instance_uid})
    return list(found.values())


def evidence_items(
    named: Iterable[Reference], known: Sequence[Reference], database: Database | None, study_instance_uid: str
) -> list[Dataset]:
    """Return the items of a Current Requested Procedure Evidence Sequence.

    Parameters
    ----------
    named
        What the content names.
    known
        References with series and study, from the source images and from the evidence of a loaded document.
    study_instance_uid
        Of the document, for what names no study.

    Returns
    -------
    list of Dataset
        An item a study, in which each series and each instance is once. Instances of unknown series cannot be listed.
    """
    by_uid = {one.sop_instance_uid: one for one in known if one.series_instance_uid}
    studies: dict[str, dict[str, dict[str, Reference]]] = {}
    for one in named:
        found = _complete(by_uid.get(one.sop_instance_uid, one), database)
        if found.series_instance_uid and found.sop_class_uid:
            study = studies.setdefault(found.study_instance_uid or study_instance_uid, {})
            study.setdefault(found.series_instance_uid, {})[found.sop_instance_uid] = found
    items = []
    for study_uid, series in studies.items():
        item = Dataset()
        item.ReferencedSeriesSequence = [_series_item(uid, list(ones.values())) for uid, ones in series.items()]
        item.StudyInstanceUID = study_uid
        items.append(item)
    return items


def _complete(one: Reference, database: Database | None) -> Reference:
    file = database.fileForInstance(one.sop_instance_uid) if database is not None else ""
    if not file or database is None:
        return one
    series = one.series_instance_uid or database.seriesForFile(file)
    sop_class: Any = one.sop_class_uid or database.fileValue(file, SOP_CLASS_UID)
    study = one.study_instance_uid or database.studyForSeries(series)
    return replace(one, series_instance_uid=series, sop_class_uid=sop_class, study_instance_uid=study)


def _series_item(uid: str, references: Sequence[Reference]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    item.ReferencedSOPSequence = [instance_item(one) for one in references]
    return item
