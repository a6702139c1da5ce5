"""The images that a dose lies on: those that it names, or its plan and structure set, or those of its frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dicombridge.belonging import Belonging, images_of
from dicombridge.errors import DicomBridgeError
from dicombridge.multiframe import read_header
from dicombridge.references import Reference, references_of

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["images_around"]

RT_DOSE_STORAGE = "1.2.840.10008.5.1.4.1.1.481.2"
_PREPARED_FROM = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.481.3",  # RT Structure Set Storage
        "1.2.840.10008.5.1.4.1.1.481.5",  # RT Plan Storage
        "1.2.840.10008.5.1.4.1.1.481.8",  # RT Ion Plan Storage
    }
)
"""What a dose refers to, and what in turn refers to the images; a dose itself seldom names any."""
_LONG = (0x30060039, 0x300A00B0, 0x300A03A2, 0x300A0230)
"""Contours, beams, ion beams and brachy setups of those: nearly all of them, and without a word on the images."""


def images_around(
    references: Iterable[Reference], database: Database, frame_of_reference_uid: str, patient_id: str
) -> tuple[Belonging, list[Reference]]:
    """Find the images of a dose from what it refers to, step by step: plan, structure set, images.

    Returns
    -------
    the image series, references to the plans and structure sets on the way and to the series
        Of these, those that the database has.
    """
    found = {one.sop_instance_uid: one for one in references if one.sop_instance_uid}
    seen: set[str] = set()
    while waiting := [uid for uid in found if uid not in seen and found[uid].sop_class_uid in _PREPARED_FROM]:
        for uid in waiting:
            seen.add(uid)
            file = database.fileForInstance(uid)
            try:
                further = references_of(read_header(file, without=_LONG)) if file else []
            except DicomBridgeError:
                continue  # it is only asked for its images; loading it will tell what is wrong
            for one in further:
                if one.sop_instance_uid and one.sop_class_uid != RT_DOSE_STORAGE:
                    found.setdefault(one.sop_instance_uid, one)
    belonging = images_of(list(found.values()), database, frame_of_reference_uid, patient_id)
    series = [Reference(series_instance_uid=belonging.series_instance_uid)] if belonging.series_instance_uid else []
    prepared = [Reference(uid) for uid in seen if database.fileForInstance(uid)]
    return belonging, [*prepared, *series]
