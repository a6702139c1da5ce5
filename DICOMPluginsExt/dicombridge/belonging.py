"""Which image series an object belongs to: by instance, then series, then frame of reference, or none at all.

All of these occur in real radiotherapy objects: images that exist nowhere, a made up frame of reference beside right
instance UIDs, no reference at all, another Patient ID than that of the images. What is found less surely is said in
words, for a person to judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dicombridge.examination import all_series
from dicombridge.kinds import kind_named
from dicombridge.references import Reference, references_of
from dicombridge.tags import FRAME_OF_REFERENCE_UID, MODALITY, PATIENT_ID, SOP_CLASS_UID
from dicombridge.text import plain_text

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["Belonging", "frames_of_content", "frames_of_reference", "images_of"]

How = Literal["instance", "series", "frame of reference", "none"]


@dataclass(frozen=True)
class Belonging:
    """The image series that an object belongs to.

    Attributes
    ----------
    series_instance_uid
        The best one; empty where there is none.
    how
        What tells: a referenced instance, a referenced series, the frame of reference, or nothing.
    series
        All series that could be meant, the best one first.
    warning
        What a person should know about it; empty where an instance says it and nothing contradicts.
    other_patient
        Whether the series bears another Patient ID than the object.
    """

    series_instance_uid: str = ""
    how: How = "none"
    series: tuple[str, ...] = ()
    warning: str = ""
    other_patient: bool = False


def images_of(
    header_or_references: Any,
    database: Database | None,
    frame_of_reference_uid: str | Sequence[str] = "",
    patient_id: str = "",
) -> Belonging:
    """Find the image series (CT, MR, PET) that an object belongs to.

    Parameters
    ----------
    header_or_references
        The object's Dataset, or its :class:`~dicombridge.references.Reference` s where they are known already.
    database
        Where to look; without one, nothing is found.
    frame_of_reference_uid
        Of the object's coordinates, one or several; by default, where a Dataset was given, the one that it says.
    patient_id
        Series of this patient are preferred where only the frame of reference tells; by default that of the Dataset.

    Returns
    -------
    Belonging
        Never raises for what is missing.
    """
    if hasattr(header_or_references, "get") and hasattr(header_or_references, "to_json"):
        references = references_of(header_or_references)
        frames = frames_of_reference(header_or_references)
        patient_id = patient_id or plain_text(header_or_references.get("PatientID"))
    else:
        references, frames = list(header_or_references), []
    if frame_of_reference_uid:
        frames = [frame_of_reference_uid] if isinstance(frame_of_reference_uid, str) else list(frame_of_reference_uid)
    if database is None:
        return Belonging(warning="There is no database in which its images could be looked up.")
    return (
        _by_instance(references, database, frames, patient_id)
        or _by_series(references, database, patient_id)
        or _by_frame_of_reference(database, frames, patient_id, any(_names_image(one) for one in references))
        or _none(references, frames)
    )


def frames_of_reference(header: Any) -> list[str]:
    """Return the Frame of Reference UIDs that an object names: its own, those of its references and of its ROIs."""
    found = [header.get("FrameOfReferenceUID")]
    found += [item.get("FrameOfReferenceUID") for item in header.get("ReferencedFrameOfReferenceSequence") or ()]
    found += [item.get("ReferencedFrameOfReferenceUID") for item in header.get("StructureSetROISequence") or ()]
    return list(dict.fromkeys(uid for uid in map(plain_text, found) if uid))


def frames_of_content(header: Any) -> list[str]:
    """Return the Frame of Reference UIDs in which the content of an object lies.

    Of a structure set that says it, those of its regions: it may name others beside them, e.g. that which they were
    drawn in. Else all that the object names.
    """
    regions = [
        plain_text(one.get("ReferencedFrameOfReferenceUID")) for one in header.get("StructureSetROISequence") or ()
    ]
    return list(dict.fromkeys(filter(None, regions))) or frames_of_reference(header)


def _names_image(reference: Reference) -> bool:
    return reference.sop_class_uid in kind_named("IMAGE").sop_classes


def _by_instance(
    references: Iterable[Reference], database: Database, frames: list[str], patient_id: str
) -> Belonging | None:
    counts: Counter[str] = Counter()
    for reference in references:
        file = database.fileForInstance(reference.sop_instance_uid) if reference.sop_instance_uid else ""
        if file and database.fileValue(file, SOP_CLASS_UID) in kind_named("IMAGE").sop_classes:
            counts[database.seriesForFile(file)] += 1
    if not counts:
        return None
    series = sorted(counts, key=lambda uid: (-counts[uid], *_rank(uid, database)))
    frame = _value(series[0], FRAME_OF_REFERENCE_UID, database)
    warning = ""
    if frame and frames and frame not in frames:
        warning = (
            "It names another frame of reference than the images that it refers to; it is taken to lie in that of "
            "the images."
        )
    other = _of_another_patient(series[0], patient_id, database)
    warning = " ".join(filter(None, (warning, other)))
    return Belonging(series[0], "instance", tuple(series), warning, bool(other))


def _by_series(references: Iterable[Reference], database: Database, patient_id: str) -> Belonging | None:
    named = dict.fromkeys(reference.series_instance_uid for reference in references if reference.series_instance_uid)
    series = sorted((uid for uid in named if _is_image(uid, database)), key=lambda uid: _rank(uid, database))
    if not series:
        return None
    warning = f"None of the instances that it names is in the database; the series that it names is ({series[0]})."
    other = _of_another_patient(series[0], patient_id, database)
    warning = " ".join(filter(None, (warning, other)))
    return Belonging(series[0], "series", tuple(series), warning, bool(other))


def _by_frame_of_reference(
    database: Database, frames: list[str], patient_id: str, names_images: bool
) -> Belonging | None:
    if not frames:
        return None
    found = [
        uid
        for uid in all_series(database)
        if _is_image(uid, database) and _value(uid, FRAME_OF_REFERENCE_UID, database) in frames
    ]
    if not found:
        return None
    of_patient = [uid for uid in found if patient_id and _value(uid, PATIENT_ID, database) == patient_id]
    series = sorted(found, key=lambda uid: (uid not in of_patient, *_rank(uid, database)))
    reason = "The images that it names are not in the database" if names_images else "It names no images"
    choice = f"of {len(series)} image series with" if len(series) > 1 else "an image series with"
    warning = f"{reason}; by its frame of reference it was put on {choice} the same one ({series[0]})."
    other = _of_another_patient(series[0], patient_id, database)
    return Belonging(
        series[0], "frame of reference", tuple(series), " ".join(filter(None, (warning, other))), bool(other)
    )


def _of_another_patient(series: str, patient_id: str, database: Database) -> str:
    other = _value(series, PATIENT_ID, database)
    if not patient_id or other == patient_id:
        return ""
    return f"The image series is of another Patient ID ({other or 'none'}, not {patient_id})."


def _none(references: Iterable[Reference], frames: list[str]) -> Belonging:
    if any(reference.sop_instance_uid or reference.series_instance_uid for reference in references):
        return Belonging(warning="The images that it was made on are not in the database.")
    if frames:
        return Belonging(warning="It names no images, and none in the database have its frame of reference.")
    return Belonging(warning="It names neither images nor a frame of reference.")


def _is_image(series: str, database: Database) -> bool:
    return _value(series, SOP_CLASS_UID, database) in kind_named("IMAGE").sop_classes


def _rank(series: str, database: Database) -> tuple[bool, int, str]:
    """Order series of equal right: CT first, on which plans are made; then the one with most instances."""
    return _value(series, MODALITY, database) != "CT", -len(database.instancesForSeries(series)), series


def _value(series: str, tag: str, database: Database) -> str:
    files = database.filesForSeries(series)
    return database.fileValue(files[0], tag) if files else ""
