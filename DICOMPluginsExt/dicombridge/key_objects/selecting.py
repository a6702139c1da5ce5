"""Nodes and options -> what is selected, with what is known of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.errors import ExportError
from dicombridge.fiducials.positions import reference_volume
from dicombridge.hierarchy import attributes_of_node
from dicombridge.key_objects.slices import (
    instances_of_volume,
    points_of_markups,
    slice_numbers,
    slices_of_points,
)
from dicombridge.references import Reference
from dicombridge.report.content import InstanceReference
from dicombridge.report.kept import REPORT_ROLE
from dicombridge.shadow import remembered
from dicombridge.tags import SOP_CLASS_UID

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["KEY_OBJECT_SELECTION", "Selection", "document_of", "select"]

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
NUMBER_OF_FRAMES = "0028,0008"
_UID = re.compile(r"[0-9][0-9.]{0,63}")


@dataclass
class Selection:
    """What a new document refers to.

    Attributes
    ----------
    instances
        Each once, with its frames; none of these names all frames.
    known
        Series and study of instances, from what volumes remember.
    headers
        Of selected volumes, as they are remembered, by Study Instance UID.
    attributes
        What the subject hierarchy knows of the patient.
    """

    instances: list[InstanceReference] = field(default_factory=list)
    known: list[Reference] = field(default_factory=list)
    headers: dict[str, Dataset] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""


def document_of(node: Any) -> Any | None:
    """Return the table of the loaded selection that a table or text node shows; None for another node."""
    if not (node.IsA("vtkMRMLTableNode") or node.IsA("vtkMRMLTextNode")):
        return None
    main = node.GetNodeReference(REPORT_ROLE) or node
    header = remembered(main)
    if header is None or header.get("SOPClassUID") != KEY_OBJECT_SELECTION:
        raise ExportError(f"{node.GetName()!r} does not come from a key object selection, and names no images.")
    return main


def select(nodes: Sequence[Any], database: Database | None, own: Mapping[str, Any]) -> Selection:
    """Return what volumes, markups and the options ``slices`` and ``instances`` select.

    Raises
    ------
    ExportError
        Something cannot be selected.
    """
    made = Selection()
    volumes = [node for node in nodes if node.IsA("vtkMRMLVolumeNode")]
    markups = [node for node in nodes if node.IsA("vtkMRMLMarkupsNode")]
    shown: list[tuple[str, tuple[int, ...], str]] = []
    slices = slice_numbers(own.get("slices"))
    wanted = [(volume, slices) for volume in volumes] if not markups else _below_points(markups, volumes)
    if slices is not None and (markups or not volumes):
        raise ExportError("slices are those of volumes; markups say themselves in which slices they lie.")
    for volume, numbers in wanted:
        header = _describe(made, volume)
        sop_class = str(header.get("SOPClassUID") or "")
        for uid, frame in instances_of_volume(volume, numbers):
            shown.append((uid, (frame,) if frame else (), sop_class))
            made.known.append(_reference(uid, header))
    shown += [(uid, _frames_of(uid, frames, database), "") for uid, frames in _given(own)]
    made.instances = _each_once(shown, database)
    return made


def _below_points(markups: Sequence[Any], volumes: Sequence[Any]) -> list[tuple[Any, list[int]]]:
    """Return volumes and their slices in which control points lie: the given volumes, else those of the markups."""
    found: dict[str, tuple[Any, set[int]]] = {}
    for node in markups:
        own = reference_volume(node)
        candidates = volumes or ([own] if own is not None else [])
        if not candidates:
            raise ExportError(f"{node.GetName()!r} belongs to no volume; give the volume in whose slices it lies too.")
        points = points_of_markups(node)
        lying = [(volume, slices_of_points(volume, points)) for volume in candidates]
        if not any(slices for _, slices in lying):
            names = ", ".join(repr(volume.GetName()) for volume in candidates)
            raise ExportError(f"No control point of {node.GetName()!r} lies in a slice of {names}.")
        for volume, slices in lying:
            found.setdefault(volume.GetID(), (volume, set()))[1].update(slices)
    return [(volume, sorted(slices)) for volume, slices in found.values() if slices]


def _describe(made: Selection, volume: Any) -> Dataset:
    """Keep what a volume knows of patient, study and series; return its header, empty if it remembers none."""
    header = remembered(volume) or Dataset()
    if header.get("StudyInstanceUID"):
        made.headers.setdefault(str(header.StudyInstanceUID), header)
    if volume.GetScene() is not None:
        known = attributes_of_node(volume.GetScene(), volume)
        made.attributes = made.attributes or {keyword: value for keyword, value in known.items() if value}
    made.name = made.name or str(volume.GetName() or "")
    return header


def _reference(uid: str, header: Dataset) -> Reference:
    values = [str(header.get(name) or "") for name in ("SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID")]
    return Reference(uid, *values)


def _given(own: Mapping[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
    """Return instances that a caller names: UIDs in a list or a text, or pairs of UID and frames."""
    value = own.get("instances")
    if value is not None and not isinstance(value, Iterable):
        raise ExportError(f"instances are SOP Instance UIDs, or pairs of UID and frames; {value!r} is neither.")
    listed = value.replace(",", " ").split() if isinstance(value, str) else list(value or ())
    found = []
    for one in listed:
        if not isinstance(one, str) and (not isinstance(one, Sequence) or len(one) != 2):
            raise ExportError(f"instances are SOP Instance UIDs, or pairs of UID and frames; {one!r} is neither.")
        uid, frames = (one, own.get("frames")) if isinstance(one, str) else (one[0], one[1])
        numbers = slice_numbers(frames) or []
        if not _UID.fullmatch(str(uid)):
            raise ExportError(f"instances are SOP Instance UIDs; {uid!r} is none.")
        if any(number < 1 for number in numbers):
            raise ExportError("Frames are numbered from 1.")
        found.append((str(uid), tuple(numbers)))
    if own.get("frames") not in (None, "") and len(listed) != 1:
        raise ExportError("frames are those of one instance: name it, and no other, in instances.")
    return found


def _frames_of(uid: str, frames: tuple[int, ...], database: Database | None) -> tuple[int, ...]:
    """Return the frames that an instance has; an image of one frame is named as a whole (PS3.3 Table 10-3)."""
    file = database.fileForInstance(uid) if frames and database is not None else ""
    if not file or database is None:
        return frames
    text = str(database.fileValue(file, NUMBER_OF_FRAMES)).strip()
    count = int(text) if text.isdigit() else 1
    if max(frames) > count:
        raise ExportError(f"The instance {uid} has no frame {max(frames)}; its frames are 1 to {count}.")
    return frames if text.isdigit() else ()


def _each_once(shown: Iterable[tuple[str, tuple[int, ...], str]], database: Database | None) -> list[InstanceReference]:
    frames: dict[str, list[int]] = {}
    whole: set[str] = set()
    classes: dict[str, str] = {}
    for uid, numbers, sop_class in shown:
        frames.setdefault(uid, []).extend(numbers)
        classes[uid] = classes.get(uid) or sop_class
        if not numbers:
            whole.add(uid)
    return [
        InstanceReference(
            _class_of(uid, classes[uid], database), uid, () if uid in whole else tuple(dict.fromkeys(numbers))
        )
        for uid, numbers in frames.items()
    ]


def _class_of(uid: str, remembered_class: str, database: Database | None) -> str:
    file = database.fileForInstance(uid) if database is not None else ""
    found = database.fileValue(file, SOP_CLASS_UID) if file and database is not None else ""
    if not found and not remembered_class:
        raise ExportError(f"The instance {uid} is not in the database; add the folder that it is in.")
    return str(found or remembered_class)
