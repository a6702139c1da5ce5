"""What Spatial Registration and Deformable Spatial Registration objects have in common (PS3.3 A.39)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pydicom.dataset import Dataset

from dicombridge.errors import ExportError
from dicombridge.hierarchy import attributes_of_node
from dicombridge.kinds import kind_named
from dicombridge.output.header import NewObject, new_header, of_64_bytes, record_predecessor, set_references
from dicombridge.references import Reference, references_of
from dicombridge.registration.attributes import REGISTRATION_ITEM
from dicombridge.registration.sides import Side, Sides
from dicombridge.shadow import remembered
from dicombridge.text import plain_text

__all__ = ["checked_images", "grouped", "image_items", "is_on", "kept_item", "registration_header"]


def registration_header(
    sop_class_uid: str,
    node: Any,
    kept: Dataset | None,
    sides: Sequence[Side],
    registered: str,
    renewed: Collection[str],
    title: str,
) -> Dataset:
    """Return all of a registration object but its registrations.

    Parameters
    ----------
    kept
        The object that the node was loaded from, None where it is made here.
    sides
        The fixed one first: patient and study are those of its images.
    registered
        Frame of Reference UID into which all is mapped.
    renewed
        Keywords that the kind writes itself.
    """
    new = NewObject(sop_class_uid, "REG", title, node.GetName() or "", registered, series_number=302)
    source = next((side.header for side in sides if side.header is not None), None)
    dataset = new_header(new, source, kept, _attributes(node, sides), renewed)
    if not dataset.get("ContentLabel"):
        dataset.ContentLabel = re.sub(r"[^A-Z0-9_ ]+", "_", (node.GetName() or "").upper())[:16].strip("_ ") or "REG"
    for keyword, value in (("ContentDescription", of_64_bytes(node.GetName() or title)), ("ContentCreatorName", "")):
        if keyword not in dataset:
            setattr(dataset, keyword, value)
    if "Laterality" not in dataset and "BodyPartExamined" not in dataset:
        dataset.Laterality = ""  # of a paired body part it must be there, even if nobody knows it (PS3.3 C.7.3.1)
    record_predecessor(dataset, kept)
    _refer(dataset, kept, sides)
    return dataset


def _attributes(node: Any, sides: Sequence[Side]) -> dict[str, Any]:
    """Return what the subject hierarchy knows of patient and study, from the fixed volume first."""
    found: dict[str, Any] = {}
    for one in (node, *(side.volume for side in reversed(sides))):
        if one is not None and one.GetScene() is not None:
            known = attributes_of_node(one.GetScene(), one)
            found.update({keyword: value for keyword, value in known.items() if value})
    return found


def _refer(dataset: Dataset, kept: Dataset | None, sides: Sequence[Side]) -> None:
    """Name all images in the General Reference (PS3.3 C.12.4) and the Common Instance Reference module (C.12.2).

    An item that names images is for these images only, whatever else lies in their frame of reference; so the images
    of a registration between frames are named for the object as a whole.
    """
    found: dict[str, Reference] = {}
    for reference in (one for side in sides for one in side.references):
        found.setdefault(reference.sop_instance_uid, reference)
    for reference in references_of(kept) if kept is not None else ():
        if reference.sop_instance_uid and re.fullmatch(r"[0-9.]{1,64}", reference.series_instance_uid):
            found.setdefault(reference.sop_instance_uid, reference)
    images = [one for one in found.values() if one.sop_class_uid in kind_named("IMAGE").sop_classes]
    if images:
        dataset.ReferencedImageSequence = image_items(images)
    set_references(dataset, list(found.values()), str(dataset.StudyInstanceUID))


def grouped(pairs: Iterable[tuple[Side, Any]]) -> list[list[Any]]:
    """Return what goes into one object each: all that leads into the same fixed side."""
    groups: dict[str, list[Any]] = {}
    for fixed, one in pairs:
        # Images without a frame of reference are told apart by their series.
        series = " ".join(dict.fromkeys(reference.series_instance_uid for reference in fixed.references))
        groups.setdefault(fixed.frame_of_reference_uid or series, []).append(one)
    return list(groups.values())


def kept_item(
    node: Any, sides: Sides, sop_class_uid: str, sequence: str, frame_keyword: str
) -> tuple[Dataset | None, int | None]:
    """Return the object that a node was loaded from, and the place of its item there.

    None where it was loaded from none, or is exported as something else: inverted, or between other frames of
    reference.

    Parameters
    ----------
    sequence, frame_keyword
        Keywords of the sequence of items, and of a source frame of reference in it.
    """
    kept = remembered(node)
    text = node.GetAttribute(REGISTRATION_ITEM) or ""
    if kept is None or kept.get("SOPClassUID") != sop_class_uid or not text.isdigit() or sides.inverse:
        return None, None
    items = kept.get(sequence) or []
    if int(text) >= len(items):
        return None, None
    registered = plain_text(kept.get("FrameOfReferenceUID")) or sides.fixed.frame_of_reference_uid
    source = plain_text(items[int(text)].get(frame_keyword))
    known = {side.frame_of_reference_uid for side in sides.moving}
    if registered != sides.fixed.frame_of_reference_uid or (source and source not in known):
        return None, None
    return kept, int(text)


def checked_images(side: Side, name: str) -> list[Dataset]:
    """Return the items of a Referenced Image Sequence where nothing but its images tells what is moved.

    Raises
    ------
    ExportError
        The images are not known.
    """
    if not side.references:
        raise ExportError(
            f"{name}: moving and fixed have the same frame of reference, so that only their images tell them apart, "
            "and the moving images are not known; give moving= as a volume or a series of the database."
        )
    return image_items(side.references)


def is_on(value: Any) -> bool:
    """Whether an option, which may be text, is switched on."""
    return str(value).strip().lower() in ("1", "true", "yes", "on")


def image_items(references: Sequence[Reference]) -> list[Dataset]:
    """Return the items of a Referenced Image Sequence."""
    items = []
    for reference in references:
        item = Dataset()
        item.ReferencedSOPClassUID = reference.sop_class_uid
        item.ReferencedSOPInstanceUID = reference.sop_instance_uid
        items.append(item)
    return items
