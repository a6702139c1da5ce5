"""What a node keeps of its fiducials, as text in its attributes, so that it comes back on export.

``DICOMBridge.Fiducials`` is JSON::

    {"set": 1, "frame_of_reference_uid": "1.2.3", "says_frame": true, "item": "explicit;...",
     "fiducials": {"1": {"identifier": "NASION", "label": "NASION", "shape": "POINT", "radius_mm": 0.5, ...}}}

Keys of ``fiducials`` are IDs of control points in a list of points, and ``""`` in a node that is one fiducial.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.geometry import plausible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.fiducials.reading import Fiducial, FiducialSet

__all__ = [
    "FIDUCIALS_ATTRIBUTE",
    "OTHERS_ATTRIBUTE",
    "SHAPE_ATTRIBUTE",
    "WHOLE_NODE",
    "KeptFiducial",
    "KeptSet",
    "kept_others",
    "kept_set",
    "others_text",
    "set_text",
]

FIDUCIALS_ATTRIBUTE = "DICOMBridge.Fiducials"
"""Attribute of markups: the set that they were loaded from and their fiducials, as JSON."""
OTHERS_ATTRIBUTE = "DICOMBridge.OtherFiducials"
"""Attribute of the first node of an object: fiducials that could not be placed, as JSON."""
SHAPE_ATTRIBUTE = "DICOMBridge.FiducialShape"
"""Attribute of markups: Shape Type of the fiducial that the node is (PS3.3 C.21.2.1.1); who draws may set it."""
WHOLE_NODE = ""
"""Key of the fiducial of a node that is one."""


@dataclass(frozen=True, eq=False)
class KeptFiducial:
    """What is kept of a fiducial; the names are those of :class:`~dicombridge.fiducials.reading.Fiducial`.

    ``points`` is None where they could not be placed.
    """

    number: int
    identifier: str
    label: str
    description: str
    uid: str
    shape: str
    in_image: bool
    points: NDArray[np.float64] | None
    item: str


@dataclass(frozen=True, eq=False)
class KeptSet:
    """What is kept of a set, and of its fiducials by control point ID."""

    number: int
    frame_of_reference_uid: str
    says_frame: bool
    item: str
    fiducials: dict[str, KeptFiducial] = field(default_factory=dict)


def set_text(one: FiducialSet, fiducials: dict[str, Fiducial]) -> str:
    """Return the text of a set and those of its fiducials that a node shows, by control point ID."""
    return json.dumps(
        {**_set_values(one), "fiducials": {key: _values(fiducial) for key, fiducial in fiducials.items()}},
        separators=(",", ":"),
    )


def others_text(sets: list[tuple[FiducialSet, list[Fiducial]]]) -> str:
    """Return the text of fiducials that no node shows."""
    values = [
        {**_set_values(one), "fiducials": {str(number): _values(fiducial) for number, fiducial in enumerate(others)}}
        for one, others in sets
    ]
    return json.dumps(values, separators=(",", ":"))


def _set_values(one: FiducialSet) -> dict[str, Any]:
    return {
        "set": one.number,
        "frame_of_reference_uid": one.frame_of_reference_uid,
        "says_frame": one.says_frame,
        "item": one.item,
    }


def _values(one: Fiducial) -> dict[str, Any]:
    values: dict[str, Any] = {
        "number": one.number,
        "identifier": one.identifier,
        "label": one.label,
        "description": one.description,
        "uid": one.uid,
        "shape": one.shape,
        "in_image": one.in_image,
        "radius_mm": one.radius_mm,
        "code": one.code,
        "category": one.category,
        "points": one.points.tolist() if one.points is not None else None,
        "item": one.item,
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def kept_set(node: Any) -> KeptSet | None:
    """Return what a node keeps, None if it keeps nothing or somebody edited it beyond use."""
    try:
        return _set_of(json.loads(node.GetAttribute(FIDUCIALS_ATTRIBUTE) or "null"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def kept_others(node: Any) -> list[KeptSet]:
    """Return the fiducials that could not be placed, set by set."""
    try:
        return [_set_of(values) for values in json.loads(node.GetAttribute(OTHERS_ATTRIBUTE) or "[]")]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _set_of(values: dict[str, Any]) -> KeptSet:
    return KeptSet(
        int(values["set"]),
        str(values["frame_of_reference_uid"]),
        bool(values["says_frame"]),
        str(values["item"]),
        {str(key): _fiducial_of(one) for key, one in values["fiducials"].items()},
    )


def _fiducial_of(values: dict[str, Any]) -> KeptFiducial:
    points = np.array(values["points"], dtype=float).reshape(-1, 3) if "points" in values else None
    if points is not None and not plausible(points):
        raise ValueError("kept points are no positions")
    identifier, label, description, uid, shape = (
        str(values.get(name, "")) for name in ("identifier", "label", "description", "uid", "shape")
    )
    in_image, item = bool(values.get("in_image")), str(values["item"])
    return KeptFiducial(int(values["number"]), identifier, label, description, uid, shape, in_image, points, item)
