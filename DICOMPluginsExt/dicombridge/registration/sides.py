"""The two sides of a registration, and how a node maps one onto the other: what an export has to find out first."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.belonging import frames_of_content, images_of
from dicombridge.errors import DicomBridgeError, ExportError
from dicombridge.hierarchy import attributes_of_node
from dicombridge.multiframe import read_header
from dicombridge.references import Reference
from dicombridge.registration.attributes import (
    FIXED_ROLE,
    MOVING_ROLE,
    REGISTERED_FRAME,
    REGISTRATION_ITEM,
    SOURCE_FRAME,
)
from dicombridge.scene import nodes_in
from dicombridge.shadow import remembered
from dicombridge.tags import FRAME_OF_REFERENCE_UID, SOP_CLASS_UID
from dicombridge.text import plain_text

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["Side", "Sides", "frame_of_node", "sides_of"]

_log = logging.getLogger(__name__)

DIRECTIONS = ("to_parent", "from_parent")


@dataclass(frozen=True, eq=False)
class Side:
    """What lies at one end of a registration.

    Attributes
    ----------
    frame_of_reference_uid
        Empty where the images have none.
    references
        Its images, each with class, series and study.
    header
        Of one of the images; None if there are none at hand.
    volume
        Volume node of the images; None where only UIDs were given.
    """

    frame_of_reference_uid: str = ""
    references: tuple[Reference, ...] = ()
    header: Dataset | None = None
    volume: Any = None

    def is_same_place(self, other: Side) -> bool:
        """Whether both share a frame of reference, so that only the images tell them apart."""
        return self.frame_of_reference_uid == other.frame_of_reference_uid


@dataclass(frozen=True, eq=False)
class Sides:
    """Between what a transform node is exported.

    Attributes
    ----------
    moving
        One side for each frame of reference that is moved.
    fixed
        The side that is not: its frame of reference is the registered one.
    inverse
        Whether the node's transform to parent leads from fixed to moving.
    """

    moving: tuple[Side, ...]
    fixed: Side
    inverse: bool = False


def sides_of(node: Any, database: Database | None, options: Mapping[str, Any]) -> Sides:
    """Return between which frames of reference a transform node is exported.

    Parameters
    ----------
    options
        ``moving`` and ``fixed`` as the caller says: a node, a Series Instance UID, a Frame of Reference UID, or a list
        of them; ``direction``: ``to_parent`` where the node's transform to parent maps moving onto fixed.

    Raises
    ------
    ExportError
        Nothing tells what is moved, or onto what.
    """
    direction = options.get("direction") or ""
    if direction and direction not in DIRECTIONS:
        raise ExportError(f"direction is one of {', '.join(DIRECTIONS)}, not {direction!r}.")
    given = {name for name in ("moving", "fixed") if options.get(name) not in (None, "", [])}
    moving = _several(options["moving"], database, "moving") if "moving" in given else _own_moving(node, database)
    fixed = _single(options["fixed"], database) if "fixed" in given else _own_fixed(node, database)
    name = node.GetName()
    if not moving:
        raise ExportError(
            f"{name}: nothing tells what it moves. Put a volume from DICOM under it, or say moving= with a volume, a "
            "series or a frame of reference UID."
        )
    if fixed is None:
        raise ExportError(
            f"{name}: nothing tells onto what it maps. Say fixed= with a volume from DICOM, a series or a frame of "
            "reference UID."
        )
    inverse = direction == "from_parent"
    if given and not direction and _are_swapped(node, moving, fixed):
        inverse = True
        _log.info("%s: moving and fixed are swapped; its inverse is written.", name)
    return Sides(tuple(moving), fixed, inverse)


def _are_swapped(node: Any, moving: Sequence[Side], fixed: Side) -> bool:
    """Whether the caller wants the opposite of what the node says of itself."""
    target, source = node.GetAttribute(REGISTERED_FRAME), node.GetAttribute(SOURCE_FRAME)
    pairs = [(source, target)]
    for own in _references(node, MOVING_ROLE):
        for other in _references(node, FIXED_ROLE):
            pairs.append((frame_of_node(own), frame_of_node(other)))
    swapped = [(fixed.frame_of_reference_uid, side.frame_of_reference_uid) for side in moving]
    return any(one and other and one != other and (one, other) in swapped for one, other in pairs)


# --- What the node says --------------------------------------------------------------------------------------------


def _own_moving(node: Any, database: Database | None) -> list[Side]:
    """Return what the node refers to as moving, else what it remembers, else what lies under it."""
    nodes = _references(node, MOVING_ROLE)
    frame = node.GetAttribute(SOURCE_FRAME) or ""
    if not nodes and node.GetScene() is not None:
        under = _nodes_under(node)
        nodes = [one for one in under if not frame or frame_of_node(one) == frame]
    found = _merged(_side_of_node(one, database) for one in nodes)
    if frame and not any(side.frame_of_reference_uid == frame for side in found):
        return [_side_of_frame(frame, database)]
    if not found and node.GetAttribute(REGISTRATION_ITEM):
        return [Side()]  # its object names images only, which are not in the scene; they come back with its item
    return found


def _own_fixed(node: Any, database: Database | None) -> Side | None:
    frame = node.GetAttribute(REGISTERED_FRAME) or ""
    for one in _references(node, FIXED_ROLE):
        side = _side_of_node(one, database)
        if side is not None and (not frame or side.frame_of_reference_uid == frame):
            return side
    return _side_of_frame(frame, database) if frame else None


def _references(node: Any, role: str) -> list[Any]:
    found = [node.GetNthNodeReference(role, number) for number in range(node.GetNumberOfNodeReferences(role))]
    return [one for one in found if one is not None]


def _nodes_under(node: Any) -> list[Any]:
    return [
        one
        for one in nodes_in(node.GetScene(), "vtkMRMLTransformableNode")
        if not one.IsA("vtkMRMLTransformNode") and one.GetTransformNodeID() == node.GetID()
    ]


# --- What a caller says --------------------------------------------------------------------------------------------


def _several(given: Any, database: Database | None, name: str) -> list[Side]:
    several = [given] if isinstance(given, str) or hasattr(given, "GetAttribute") else list(given)
    sides = []
    for one in several:
        side = _side_of_node(one, database) if hasattr(one, "GetAttribute") else _side_of_uid(str(one), database)
        if side is None:
            raise ExportError(
                f"{name}: {one.GetName()} has neither images nor a frame of reference from DICOM; give a volume that "
                "was loaded from DICOM, or a UID."
            )
        sides.append(side)
    return _merged(sides)


def _single(given: Any, database: Database | None) -> Side:
    sides = _several(given, database, "fixed")
    if len(sides) != 1:
        raise ExportError(f"fixed: {len(sides)} frames of reference were given; a registration has one.")
    return sides[0]


def _merged(sides: Iterable[Side | None]) -> list[Side]:
    """Return one side for each frame of reference, with the images of all."""
    found: dict[str, Side] = {}
    for side in sides:
        if side is None:
            continue
        known = found.get(side.frame_of_reference_uid)
        if known is None:
            found[side.frame_of_reference_uid] = side
            continue
        references = tuple(dict.fromkeys((*known.references, *side.references)))
        volume = known.volume if known.volume is not None else side.volume
        found[side.frame_of_reference_uid] = Side(
            side.frame_of_reference_uid, references, known.header or side.header, volume
        )
    return list(found.values())


def _side_of_uid(uid: str, database: Database | None) -> Side:
    if database is not None:
        files = [file for file in database.filesForSeries(uid) if file]
        if files:
            references = [_reference_of_file(file, database) for file in files]
            return Side(_value(files[0], FRAME_OF_REFERENCE_UID, database), tuple(references), _header(files[0]))
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)+", uid) or len(uid) > 64:
        raise ExportError(f"{uid!r} is neither a node nor a UID of a series or of a frame of reference.")
    return _side_of_frame(uid, database)


def _side_of_frame(frame: str, database: Database | None) -> Side:
    """Return a side that is known by its frame of reference; its patient is that of images which have it."""
    belonging = images_of([], database, frame)
    files = [file for uid in belonging.series[:1] for file in database.filesForSeries(uid)] if database else []
    return Side(frame, (), _header(files[0]) if files else None)


def _side_of_node(node: Any, database: Database | None) -> Side | None:
    """Return the side that a node lies on; None where it knows no frame of reference and no images."""
    volume = node if node.IsA("vtkMRMLVolumeNode") else None
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split() if volume is not None else []
    files = [file for uid in uids if database is not None and (file := database.fileForInstance(uid))]
    kept = remembered(node)
    frame = frame_of_node(node)
    if files and database is not None and len(files) == len(uids):
        references = [_reference_of_file(file, database) for file in dict.fromkeys(files)]
        frame = frame or _value(files[0], FRAME_OF_REFERENCE_UID, database)
        return Side(frame, tuple(references), _header(files[0]) or kept, volume)
    if kept is not None and uids:
        place = [plain_text(kept.get(key)) for key in ("SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID")]
        of_kept = [Reference(uid, *place) for uid in dict.fromkeys(uids)] if all(place) else []
        return Side(frame, tuple(of_kept), kept, volume) if frame or of_kept else None
    return Side(frame, (), kept, volume) if frame else None


def frame_of_node(node: Any) -> str:
    """Return the Frame of Reference UID that a node knows of, from its object's header or the subject hierarchy."""
    kept = remembered(node)
    frame = next(iter(frames_of_content(kept)), "") if kept is not None else ""  # structure sets have it further in
    if not frame and node.GetScene() is not None:
        frame = str(attributes_of_node(node.GetScene(), node).get("FrameOfReferenceUID") or "")
    return frame


def _reference_of_file(file: str, database: Database) -> Reference:
    series = database.seriesForFile(file)
    instance = database.instanceForFile(file)
    return Reference(instance, _value(file, SOP_CLASS_UID, database), series, database.studyForSeries(series))


def _value(file: str, tag: str, database: Database) -> str:
    return database.fileValue(file, tag)


def _header(file: str) -> Dataset | None:
    try:
        return read_header(file)
    except DicomBridgeError as error:
        _log.warning("%s", error)
        return None
