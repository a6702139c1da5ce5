"""Markups -> fiducials that can be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.fiducials.kept import (
    SHAPE_ATTRIBUTE,
    WHOLE_NODE,
    KeptFiducial,
    KeptSet,
    kept_others,
    kept_set,
)
from dicombridge.fiducials.positions import SAME_MM, control_points, reference_volume
from dicombridge.fiducials.shapes import CLOUD, contour_points, fits, shape_of_class
from dicombridge.output.source import Source, find_source, frame_of_reference, known_attributes
from dicombridge.registration.leading import frame_led_into
from dicombridge.shadow import remembered

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from dicombridge.database import Database

__all__ = ["Contents", "NewFiducial", "NewSet", "contents_of"]

T_TOLERANCE_MM = 0.01
"""How far the middle of a T may be from where the other points have it."""


@dataclass(frozen=True, eq=False)
class NewFiducial:
    """A fiducial to write.

    Attributes
    ----------
    label
        What it is called now.
    points
        (n, 3) LPS mm; None for one that is only kept.
    kept
        What it was loaded as; None if it was made here.
    moved
        Whether its points are others than those that it was loaded with.
    """

    label: str
    description: str
    shape: str
    points: NDArray[np.float64] | None
    kept: KeptFiducial | None
    moved: bool


@dataclass(eq=False)
class NewSet:
    """A set to write.

    Attributes
    ----------
    frame_of_reference_uid
        Of the points.
    kept
        The set that was loaded; None for a new one, or where the points are in another frame of reference now.
    source
        The images that they were drawn on.
    """

    frame_of_reference_uid: str
    kept: KeptSet | None
    source: Source
    fiducials: list[NewFiducial] = field(default_factory=list)


@dataclass
class Contents:
    """All that an object holds."""

    sets: list[NewSet]
    source: Source
    kept: Dataset | None
    attributes: dict[str, Any]
    name: str
    warnings: list[str] = field(default_factory=list)


def contents_of(nodes: Sequence[Any], database: Database | None, source: Any) -> Contents:
    """Return what markups hold, set by set.

    Raises
    ------
    ExportError
        A node holds nothing that can be written, or the source cannot be used.
    """
    warnings: list[str] = []
    sets: dict[tuple[int, str], NewSet] = {}
    sources: dict[Any, Source] = {}
    # Lists of points first: lines and curves that are new join the set of the points in their frame of reference.
    for place, node in enumerate(sorted(nodes, key=lambda node: not node.IsA(CLOUD))):
        kept = kept_set(node)
        found = _source_of(node, kept, database, source, sources, warnings)
        frame = _frame_of(node, kept, found, source, sources, warnings)
        same_frame = kept is not None and (frame == kept.frame_of_reference_uid or not kept.frame_of_reference_uid)
        key = (kept.number, frame) if kept is not None else _set_to_join(sets, frame, node, place)
        fiducials = _fiducials_of(node, kept, found, warnings)
        if not fiducials:
            continue
        group = sets.setdefault(key, NewSet(frame, kept if same_frame else None, found))
        group.fiducials.extend(fiducials)
    if not sets:
        raise ExportError(f"There is no point with a position in {', '.join(repr(node.GetName()) for node in nodes)}.")
    ordered = [sets[key] for key in sorted(sets, key=lambda key: key[0])]
    for group in ordered:
        # Stable, so that new ones stay in their order behind those that were loaded.
        group.fiducials.sort(key=lambda one: one.kept.number if one.kept is not None else 1 << 31)
    ordered.extend(_others(nodes, ordered[0].source))
    first = ordered[0].source
    return Contents(
        ordered, first, remembered_fiducials(nodes), known_attributes(nodes[0], first), nodes[0].GetName(), warnings
    )


def remembered_fiducials(nodes: Sequence[Any]) -> Dataset | None:
    """Return the header of the object that markups were loaded from."""
    for node in nodes:
        header = remembered(node) if kept_set(node) is not None else None
        if header is not None:
            return header
    return None


def _source_of(
    node: Any,
    kept: KeptSet | None,
    database: Database | None,
    source: Any,
    sources: dict[Any, Source],
    warnings: list[str],
) -> Source:
    """Return the images of a node; those of a set, and those that the caller names, are looked up once."""
    key = "given" if source is not None else kept.number if kept is not None else node.GetID()
    if key not in sources:
        given = source if source is not None or kept is not None else reference_volume(node)
        sources[key] = find_source(node, database, given)
        if source is not None:
            warnings.extend(sources[key].warnings)
    return sources[key]


def _frame_of(
    node: Any, kept: KeptSet | None, found: Source, source: Any, frames: dict[Any, Any], warnings: list[str]
) -> str:
    """Return the frame of reference in which the node's points are written."""
    if source is None:
        fixed = frame_led_into(node)
        if fixed:
            return fixed
        if kept is not None and kept.frame_of_reference_uid:
            if node.GetParentTransformNode() is not None:
                warnings.append(
                    f"{node.GetName()!r} is under a transform that does not say into which frame of reference it "
                    "leads; its points were written where they are now, in the frame of reference that they had."
                )
            return kept.frame_of_reference_uid
    if found.header is None and kept is None:
        uid = known_attributes(node, found).get("FrameOfReferenceUID")
        if uid:
            return str(uid)
    # One made up for all nodes of these images, not one for each.
    key = ("frame", id(found) if found.header is not None or kept is not None else "none")
    if key not in frames:
        frames[key] = frame_of_reference(node, found, None)
    return str(frames[key])


def _set_to_join(sets: dict[tuple[int, str], NewSet], frame: str, node: Any, place: int) -> tuple[int, str]:
    """Return the key of the set that a new node is in: each list of points is one, other shapes join the first."""
    if not node.IsA(CLOUD) or _shape_of(node, None) != "POINT":
        for key, group in sets.items():
            if group.frame_of_reference_uid == frame:
                return key
    return (1 << 20) + place, frame


def _fiducials_of(node: Any, kept: KeptSet | None, found: Source, warnings: list[str]) -> list[NewFiducial]:
    whole = kept.fiducials.get(WHOLE_NODE) if kept is not None else None
    shape = _shape_of(node, whole)
    if node.IsA(CLOUD) and shape == "POINT":
        return _points_of(node, kept, found, warnings)
    _, points = control_points(node, found.volume, sampled=shape == "SHAPE")
    if shape == "T_SHAPE" and len(points) == 4:
        off = float(np.linalg.norm(points[2] - points[:2].mean(axis=0)))
        if off > T_TOLERANCE_MM:
            warnings.append(
                f"{node.GetName()!r}: the third point of its T is {off:.3g} mm from the middle of the first two, which "
                "is where it will be."
            )
    points = contour_points(shape, node.GetClassName(), points)
    if not len(points):
        warnings.append(f"{node.GetName()!r} has no point with a position and was left out.")
        return []
    if not fits(shape, len(points)):
        raise ExportError(
            f"{node.GetName()!r} has {len(points)} points, which is no {shape} (PS3.3 C.21.2.1.1); complete it, or set "
            f"its attribute {SHAPE_ATTRIBUTE} to another shape."
        )
    return [_new(_name_of(node, whole), node.GetNthControlPointDescription(0), shape, points, whole)]


def _points_of(node: Any, kept: KeptSet | None, found: Source, warnings: list[str]) -> list[NewFiducial]:
    numbers, points = control_points(node, found.volume, sampled=False)
    if len(numbers) < node.GetNumberOfControlPoints():
        count = node.GetNumberOfControlPoints() - len(numbers)
        warnings.append(f"{node.GetName()!r}: {count} points without a position were left out.")
    known = kept.fiducials if kept is not None else {}
    return [
        _new(
            str(node.GetNthControlPointLabel(number)),
            node.GetNthControlPointDescription(number),
            "POINT",
            point[None],
            known.get(str(node.GetNthControlPointID(number))),
        )
        for number, point in zip(numbers, points, strict=True)
    ]


def _new(
    label: str, description: Any, shape: str, points: NDArray[np.float64], kept: KeptFiducial | None
) -> NewFiducial:
    before = kept.points if kept is not None else None
    same = before is not None and before.shape == points.shape and bool(np.abs(before - points).max() < SAME_MM)
    if same and before is not None:
        points = before  # to the last digit
    return NewFiducial(label, str(description or ""), shape, points, kept, not same)


def _shape_of(node: Any, whole: KeptFiducial | None) -> str:
    said = str(node.GetAttribute(SHAPE_ATTRIBUTE) or (whole.shape if whole is not None else "")).strip().upper()
    if said and (node.IsA(CLOUD) or said != "POINT"):
        return said
    return shape_of_class(node.GetClassName())


def _name_of(node: Any, whole: KeptFiducial | None) -> str:
    """Return the label of a node that is one fiducial: its name, unless that is still the one that it got when loaded.

    A scene makes names unique by a number at their end.
    """
    name = str(node.GetName() or "")
    if whole is not None:
        from dicombridge.text import node_name

        given = node_name(whole.label)
        if name == given or (name.startswith(f"{given}_") and name[len(given) + 1 :].isdigit()):
            return whole.label
    return name


def _others(nodes: Sequence[Any], source: Source) -> list[NewSet]:
    """Return the sets of fiducials that could not be placed when they were loaded, as they were."""
    found: dict[int, NewSet] = {}
    for node in nodes:
        for kept in kept_others(node):
            if kept.number not in found:
                as_it_was = replace(kept, says_frame=False)
                found[kept.number] = NewSet("", as_it_was, source)
                found[kept.number].fiducials = [
                    NewFiducial(one.label, one.description, one.shape, None, one, False)
                    for one in sorted(kept.fiducials.values(), key=lambda one: one.number)
                ]
    return list(found.values())
