"""Measurement groups as annotations of Cornerstone3D, so that OHIF takes them up for editing.

OHIF makes one annotation of each group (``@cornerstonejs/adapters``, MeasurementReport.generateToolState). The Tracking
Identifier says of which tool; coordinates are those of an image, below the first number; numbers are found by the
meaning of their concepts; the label is the group's comment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from dicombridge.codes import Code
from dicombridge.errors import ExportError
from dicombridge.report import concepts
from dicombridge.report.content import Graphic
from dicombridge.report.drawings import is_ring
from dicombridge.report.groups import Evaluation, Group, Measurement, Region
from dicombridge.report.measuring import RADIUS, measurements_of

__all__ = ["editable_groups"]

TAG = "Cornerstone3DTools@^0.1.0"
LESION_IDENTIFIER = Code("121151", "DCM", "Lesion Identifier")
"""Concept of the user's own identifier of a group that has a comment too."""

_FREE_TEXT = "CORNERSTONEFREETEXT"

# The adapters look for these meanings, letter by letter.
_MEANINGS = {
    concepts.key(concept): concept.meaning
    for concept in (
        concepts.LENGTH,
        concepts.AREA,
        concepts.PERIMETER,
        concepts.MEAN,
        concepts.MINIMUM,
        concepts.MAXIMUM,
        concepts.STANDARD_DEVIATION,
        Code("131190003", "SCT", "Radius"),
        Code("103339001", "SCT", "Long Axis"),
        Code("103340004", "SCT", "Short Axis"),
    )
}
_FIRST = {
    "Length": (concepts.LENGTH,),
    "Bidirectional": (concepts.LONG_AXIS,),
    "Angle": concepts.ANGLES,
    "CobbAngle": concepts.ANGLES,
}
"""Measurements that a tool takes from the first number of its group; contours take their area."""


def editable_groups(group: Group) -> list[Group]:
    """Return a group as cornerstone would have written it, one group for each annotation.

    Raises
    ------
    ExportError
        A region does not lie in an image.
    """
    extras = [region for region in group.regions if _is_extra(region)]
    regions = [_checked(region) for region in group.regions if not _is_extra(region)]
    paired = _pair(group, regions)
    if paired is not None:
        return [_annotation(group, *paired, extras)]
    singles = [
        (single, [] if place else measured)
        for region, measured in zip(regions, _by_region(group, regions), strict=True)
        for place, single in enumerate(_single(region))
    ]
    if len(singles) > 1 or _tool_named(group) == "Bidirectional":
        group = _renamed(group)
    parts = [_part(group, place, measured) for place, (_, measured) in enumerate(singles)]
    return [
        _annotation(part, _tool(part, single), [single], extras if part is parts[0] else [])
        for part, (single, _) in zip(parts, singles, strict=True)
    ]


def _is_extra(region: Region) -> bool:
    return region.purpose is not None and region.purpose.scheme_designator == concepts.CORNERSTONE_SCHEME


def _checked(region: Region) -> Region:
    if region.graphic is None or not region.graphic.in_image or not region.images:
        raise ExportError(
            f"its {region.type} does not lie in the plane of an image, as OHIF wants it to; "
            "choose the standard profile instead."
        )
    return region


def _by_region(group: Group, regions: Sequence[Region]) -> list[list[Measurement]]:
    """Return what was measured of each region; the first one takes what was measured of no particular one."""
    places = {id(region): place for place, region in enumerate(regions)}
    by_number = [places.get(id(region)) for region in group.regions]
    measured: list[list[Measurement]] = [[] for _ in regions]
    for one in group.measurements:
        known = (by_number[number] for number in one.regions if 0 <= number < len(by_number))
        measured[next((place for place in known if place is not None), 0)].append(one)
    return measured


def _part(group: Group, place: int, measurements: list[Measurement]) -> Group:
    """Return a group for another annotation of the same: two annotations cannot share a UID."""
    uid = group.tracking_uid
    if place and uid:
        uid = str(generate_uid(entropy_srcs=[uid, str(place)]))
    return replace(group, tracking_uid=uid, measurements=measurements)


def _single(region: Region) -> list[Region]:
    """Return a region, points each for itself."""
    if region.type != "MULTIPOINT" or region.graphic is None:
        return [region]
    points = [replace(region.graphic, type="POINT", data=row[np.newaxis]) for row in region.graphic.data]
    return [replace(region, type="POINT", graphic=point, points=None) for point in points]


# --- Tools -----------------------------------------------------------------------------------------------------------


def _pair(group: Group, regions: list[Region]) -> tuple[str, list[Region]] | None:
    """Return the tool of two lines that are one annotation, and the lines, None if they are not."""
    if len(regions) != 2 or not all(_is_line(region) for region in regions):
        return None
    numbers = {id(region): number for number, region in enumerate(group.regions)}
    axes = [_region_of(group, concept) for concept in (concepts.LONG_AXIS, concepts.SHORT_AXIS)]
    if {numbers[id(region)] for region in regions} == set(axes):
        return "Bidirectional", [group.regions[number] for number in axes if number is not None]
    if any(concepts.is_one_of(one.concept, concepts.ANGLES) for one in group.measurements):
        return ("CobbAngle", [_joined(regions)]) if regions[0].images == regions[1].images else None
    return None


def _region_of(group: Group, concept: Code) -> int | None:
    found = (one.regions[0] for one in group.measurements if one.regions and concepts.is_one_of(one.concept, [concept]))
    return next(found, None)


def _is_line(region: Region) -> bool:
    return region.type == "POLYLINE" and len(_data(region)) == 2


def _joined(regions: Sequence[Region]) -> Region:
    data = np.vstack([_data(region) for region in regions])
    return replace(regions[0], graphic=Graphic("POLYLINE", data), points=None)


def _data(region: Region) -> NDArray[np.float64]:
    assert region.graphic is not None  # checked before
    return region.graphic.data


def _tool(group: Group, region: Region) -> str:
    """Return the tool that a group came from, else the first one whose rule holds."""
    return _tool_named(group) or next(tool for holds, tool in _RULES if holds(group, region))


def _tool_named(group: Group) -> str:
    """Return the tool that the tracking identifier names, empty if it is none of cornerstone's."""
    tag, _, tools = group.tracking_identifier.partition(":")
    return tools.split(":")[0] if tag.lower().startswith("cornerstone") else ""


def _renamed(group: Group) -> Group:
    """Return a group without the name of a tool whose shape it does not have any more."""
    return replace(group, tracking_identifier="") if _tool_named(group) else group


def _is_rectangle(region: Region) -> bool:
    """Whether a contour has four corners, and sides along columns and rows: the tool takes its area for that."""
    data = _opened(_data(region))
    if region.type not in ("POLYLINE", "POLYGON") or len(data) != 4 or not _is_closed(region):
        return False
    sides = np.abs(np.roll(data, -1, axis=0) - data)
    along = sides > 1e-3 * sides.max()
    return bool((along.sum(axis=1) == 1).all() and (along[0] != along[1]).all())


def _is_closed(region: Region) -> bool:
    return region.type == "POLYGON" or is_ring(_data(region))


def _opened(data: NDArray[np.float64]) -> NDArray[np.float64]:
    return data[:-1] if len(data) > 1 and bool((data[0] == data[-1]).all()) else data


def _says_cobb(group: Group) -> bool:
    return any(concepts.is_one_of(one.concept, [concepts.COBB_ANGLE]) for one in group.measurements)


_RULES: tuple[tuple[Callable[[Group, Region], bool], str], ...] = (
    (lambda group, region: region.type == "POINT" and bool(_free_text(group)), "ArrowAnnotate"),
    (lambda group, region: region.type == "POINT", "Probe"),
    (lambda group, region: region.type == "CIRCLE", "CircleROI"),
    (lambda group, region: region.type == "ELLIPSE", "EllipticalROI"),
    (lambda group, region: _is_line(region), "Length"),
    (lambda group, region: region.is_angle, "Angle"),
    (lambda group, region: _says_cobb(group) and len(_data(region)) == 4, "CobbAngle"),
    (lambda group, region: _is_rectangle(region), "RectangleROI"),
    (lambda group, region: True, "PlanarFreehandROI"),
)


# --- Annotations -----------------------------------------------------------------------------------------------------


def _annotation(group: Group, tool: str, regions: Sequence[Region], extras: Sequence[Region]) -> Group:
    """Return a group whose numbers carry its regions: each axis its own, else the first number all."""
    shapes = [_shape(tool, region) for region in regions]
    measurements = [_named(one) for one in _sorted(group.measurements, tool)]
    if not any(one.value is not None for one in measurements):
        measurements.insert(0, _computed(tool, regions[0]))
    points = regions[0].points
    if tool == "CircleROI" and points is not None and _lacks(measurements, RADIUS):
        measurements.append(
            Measurement(RADIUS, math.dist(points[0], points[1]), concepts.MILLIMETRE)
        )  # it shows none else
    kept = [len(shapes) + place for place, extra in enumerate(extras) if _carried(extra)]
    carried = {0: tuple(range(len(shapes)))}
    if tool == "Bidirectional":
        axes = (concepts.LONG_AXIS, concepts.SHORT_AXIS)
        carried = {_index(measurements, axis): (number,) for number, axis in enumerate(axes)}
    carried[0] = (*carried.get(0, ()), *kept)
    placed = [replace(one, regions=carried.get(place, ())) for place, one in enumerate(measurements)]
    return replace(_labelled(group, tool), regions=[*shapes, *extras], measurements=placed)


def _carried(extra: Region) -> bool:
    """Whether an extra hangs on the first number, as control points do, and not on the group."""
    return extra.purpose is not None and concepts.is_one_of(extra.purpose, [concepts.CONTROL_POINTS])


def _lacks(measurements: Sequence[Measurement], concept: Code) -> bool:
    return not any(concepts.is_one_of(one.concept, [concept]) for one in measurements)


def _index(measurements: Sequence[Measurement], concept: Code) -> int:
    return next(place for place, one in enumerate(measurements) if concepts.is_one_of(one.concept, [concept]))


def _shape(tool: str, region: Region) -> Region:
    """Return a region as the tool has it: angles of two lines, contours as closed lines."""
    data = _data(region)
    if tool == "Angle" and len(data) == 3:
        data = data[[0, 1, 1, 2]]
    if region.type == "POLYGON" and not bool((data[0] == data[-1]).all()):
        data = np.vstack([data, data[:1]])
    kind = "POLYLINE" if region.type == "POLYGON" else region.type
    origin = region.graphic.origin if region.graphic is not None else ""
    return replace(region, type=kind, graphic=Graphic(kind, data, origin=origin), points=None, purpose=None)


def _sorted(measurements: Sequence[Measurement], tool: str) -> list[Measurement]:
    """Return what the tool shows first, and what has no value last; else the order stays."""
    first = _FIRST.get(tool, (concepts.AREA,))
    return sorted(measurements, key=lambda one: (one.value is None, not concepts.is_one_of(one.concept, first)))


def _named(measurement: Measurement) -> Measurement:
    code = measurement.concept
    meaning = _MEANINGS.get(concepts.key(code), code.meaning)
    return replace(measurement, concept=Code(code.value, code.scheme_designator, meaning, code.scheme_version))


def _labelled(group: Group, tool: str) -> Group:
    """Return a group with cornerstone's identifier; the user's own is the label, or stands beside it."""
    if _tool_named(group):
        return replace(group, comment=_free_text(group))
    own, label = group.tracking_identifier, _free_text(group)
    beside = [Evaluation(LESION_IDENTIFIER, own)] if own and label and own != label else []
    evaluations = [*group.evaluations, *beside]
    return replace(group, tracking_identifier=f"{TAG}:{tool}", comment=label or own, evaluations=evaluations)


def _free_text(group: Group) -> str:
    finding = group.finding
    return group.comment or (finding.meaning if finding is not None and finding.value == _FREE_TEXT else "")


# --- Numbers of groups that have none --------------------------------------------------------------------------------


def _computed(tool: str, region: Region) -> Measurement:
    """Return the number that a tool shows, of the points in millimetres; the adapters refuse groups without any."""
    shown = concepts.LENGTH if tool == "PlanarFreehandROI" and not _is_closed(region) else _SHOWN.get(tool)
    wanted = [shown] if shown is not None else []
    is_contour = concepts.is_one_of(concepts.AREA, wanted) and region.type in ("POLYLINE", "POLYGON")
    found = measurements_of(replace(region, is_angle=tool == "Angle"), "polygon" if is_contour else "")
    bearer = Measurement(concepts.CENTER, 0.0, concepts.NO_UNITS)
    return next((one for one in found if concepts.is_one_of(one.concept, wanted)), bearer)


_SHOWN = {
    "Length": concepts.LENGTH,
    "Angle": concepts.ANGLE,
    **dict.fromkeys(("CircleROI", "EllipticalROI", "RectangleROI", "PlanarFreehandROI"), concepts.AREA),
}
"""The number that a tool shows."""
