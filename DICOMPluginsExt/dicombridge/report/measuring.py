"""What geometry alone measures: lengths, angles, areas and volumes of regions, as measurements with codes (no VTK).

=================  ====================================================  ==============================================
kind               which regions                                         measured
=================  ====================================================  ==============================================
points             POINT, MULTIPOINT                                     nothing
line, path         POLYLINE that is open                                 Length
axes               two POLYLINE of two points in one group               Long axis, Short axis
arms               such lines that do not cross, at less than 60 degrees Cobb angle
angle              POLYLINE of three points that is one                  Angle
polygon            POLYGON and closed POLYLINE, in a plane               Area, Perimeter, Long axis, Short axis
loop               closed POLYLINE in no plane                           Perimeter
sheet              POLYGON of a markups plane                            Area
circle             CIRCLE, ELLIPSE of equal axes                         Diameter, Area
ellipse            ELLIPSE                                               Long axis, Short axis, Area
solid              ELLIPSOID, six faces of a box                         Volume, Long, Short and Perpendicular axis
surface            other closed surfaces of polygons                     Volume
=================  ====================================================  ==============================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code
from dicombridge.report import concepts
from dicombridge.report.concepts import key
from dicombridge.report.drawings import box_of_faces, is_ring
from dicombridge.report.groups import Group, Measurement, Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]

__all__ = ["LENGTHS", "PLANAR_MM", "group_remeasured", "measurements_of", "newell_area", "off_plane_mm", "remeasured"]

PLANAR_MM = 0.01
"""Points that are nearer to their common plane than this lie in it."""
EQUAL_MM = 1e-4
"""Axes of an ellipse that differ by less are those of a circle; coordinates are written with 24 bits."""
LEAST_BETWEEN_AXES = 60.0
"""Degrees between two lines that are the axes of something though they do not cross."""
MEETING_MM = 1.0
"""Lines cross that pass each other nearer than this."""
FACES_OF_BOX = 6

MAJOR_AXIS = Code("131187009", "SCT", "Major Axis")
MINOR_AXIS = Code("131188004", "SCT", "Minor Axis")
PERPENDICULAR_AXIS = Code("131189007", "SCT", "Perpendicular Axis")
RADIUS = Code("131190003", "SCT", "Radius")
CIRCUMFERENCE = Code("74551000", "SCT", "Circumference")
PATH_LENGTH = Code("121211", "DCM", "Path length")
LINE_SEGMENT_LENGTH = Code("121227", "DCM", "Line segment length")
DISTANCE = Code("121206", "DCM", "Distance")
HEIGHT = Code("121207", "DCM", "Height")
WIDTH = Code("103355008", "SCT", "Width")
DEPTH = Code("131197000", "SCT", "Depth")

LENGTHS = (
    concepts.LENGTH, PATH_LENGTH, LINE_SEGMENT_LENGTH, DISTANCE, HEIGHT, WIDTH, DEPTH, concepts.DIAMETER,
    concepts.LONG_AXIS, concepts.SHORT_AXIS, MAJOR_AXIS, MINOR_AXIS, PERPENDICULAR_AXIS,
)  # fmt: skip
"""What a line may be called; its number is the length all the same (PS3.16 CID 7470)."""

_UNITS: dict[str, tuple[Code, dict[str, float]]] = {
    "length": (concepts.MILLIMETRE, {"mm": 1.0, "cm": 0.1, "m": 1e-3, "um": 1e3}),
    "area": (concepts.SQUARE_MILLIMETRE, {"mm2": 1.0, "cm2": 1e-2, "m2": 1e-6, "um2": 1e6}),
    "volume": (
        concepts.CUBIC_MILLIMETRE,
        {"mm3": 1.0, "cm3": 1e-3, "ml": 1e-3, "mL": 1e-3, "dm3": 1e-6, "l": 1e-6, "L": 1e-6, "um3": 1e9},
    ),
    "angle": (concepts.DEGREE, {"deg": 1.0, "rad": np.pi / 180}),
}
"""The units that are written, and those (UCUM) in which others' numbers are; each with its part of the first."""

_Values = list[tuple[Code, str, float]]
"""Concept, which of the units, and number."""


def measurements_of(regions: Region | Sequence[Region], kind: str = "", every: bool = False) -> list[Measurement]:
    """Return what the geometry of a group's regions measures.

    Parameters
    ----------
    regions
        One region, or all of a group; ``points`` are LPS mm. Those without points measure nothing.
    kind
        A kind of the table above, where the regions do not tell it: ``"sheet"``, ``"arms"``.
    every
        Whether to return also what is not said of a new region, but may be said in somebody's report: radii,
        circumferences, and what a line may be called otherwise. Values may then be there under several names.

    Returns
    -------
    list of Measurement
        In mm, mm2, mm3 and degrees; ``regions`` are numbers of the given ones.

    Examples
    --------
    >>> line = Region("POLYLINE", np.array([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]]))
    >>> [(one.concept.meaning, one.value, one.units.value) for one in measurements_of(line)]
    [('Length', 5.0, 'mm')]
    """
    given = [regions] if isinstance(regions, Region) else list(regions)
    placed = [number for number, one in enumerate(given) if one.points is not None and len(one.points)]
    found: list[Measurement] = []
    points = {number: np.asarray(given[number].points, dtype=float) for number in placed}
    together = _kind_together([given[number] for number in placed])
    if together == "lines" and not every:
        together = "arms" if kind == "arms" or _are_arms(*points.values()) else "axes"
    if together:
        found += _measurements(_TOGETHER[together](list(points.values())), placed)
        found = [_of_its_line(one, points) if together in ("lines", "axes") else one for one in found]
    if not together or together == "lines":
        alone = kind if kind in _KINDS else ""
        for number in placed:
            found += _measurements(_KINDS[alone or _kind_of(given[number])](points[number]), [number])
    if not every:
        return found
    own = {key(one.concept) for one in found}
    others = (other for one in found for other in _under_other_names(one))
    return found + [other for other in others if key(other.concept) not in own]


def _measurements(values: _Values, regions: Sequence[int]) -> list[Measurement]:
    return [
        Measurement(concept, float(value), _UNITS[units][0], regions=tuple(regions))
        for concept, units, value in values
        if np.isfinite(value)
    ]


def _of_its_line(one: Measurement, points: Mapping[int, Points]) -> Measurement:
    """Return the measurement of an axis, of two lines, as that of the line which it is."""
    which = {key(concepts.LONG_AXIS): 1, key(concepts.SHORT_AXIS): 0}.get(key(one.concept))
    if which is None:
        return one
    by_length = sorted(points, key=lambda number: _path_length(points[number]))
    return replace(one, regions=(by_length[which],))


# --- Kinds -----------------------------------------------------------------------------------------------------------


def _kind_together(regions: Sequence[Region]) -> str:
    """Return the kind of shape that several regions are together; empty where each is one by itself."""
    if len(regions) == 2 and all(one.type == "POLYLINE" and len(np.asarray(one.points)) == 2 for one in regions):
        return "lines"
    if len(regions) >= 4 and all(one.type == "POLYGON" for one in regions):
        if len(regions) == FACES_OF_BOX and box_of_faces(regions) is not None:
            return "box"
        if _is_closed_surface([np.asarray(one.points) for one in regions]):
            return "surface"
    return ""


def _kind_of(region: Region) -> str:
    points = np.asarray(region.points, dtype=float)
    if region.type == "POLYGON" or (region.type == "POLYLINE" and is_ring(points)):
        return "polygon" if off_plane_mm(points) <= PLANAR_MM else "loop"
    if region.type == "POLYLINE":
        return "angle" if region.is_angle and len(points) in (3, 4) else "path"
    return _KIND_OF_TYPE.get(region.type, "points")


def _points(points: Points) -> _Values:
    return []


def _path(points: Points) -> _Values:
    return [(concepts.LENGTH, "length", _path_length(points))]


def _lines(lines: Sequence[Points]) -> _Values:
    return [*_axes(lines), *_arms(lines)]


def _axes(lines: Sequence[Points]) -> _Values:
    short, long = sorted(_path_length(one) for one in lines)
    return [(concepts.LONG_AXIS, "length", long), (concepts.SHORT_AXIS, "length", short)]


def _arms(lines: Sequence[Points]) -> _Values:
    return [(concepts.COBB_ANGLE, "angle", _cobb_angle(*lines))]


def _cobb_angle(one: Points, other: Points) -> float:
    """Return the angle (degrees) of two lines, seen from where they are nearest, whichever way they were drawn."""
    pairs = [(a, b) for a in (one, one[::-1]) for b in (other, other[::-1])]
    near, far = min(pairs, key=lambda pair: float(np.linalg.norm(pair[0][0] - pair[1][0])))
    return _between(near[1] - near[0], far[1] - far[0])


def _are_arms(one: Points, other: Points) -> bool:
    """Whether two lines of a group are those of an angle, rather than two axes, which cross or stand on each other."""
    between = _between(one[1] - one[0], other[1] - other[0])
    return min(between, 180 - between) < LEAST_BETWEEN_AXES and _distance_between(one, other) > MEETING_MM


def _distance_between(one: Points, other: Points) -> float:
    """Return the distance (mm) between two lines of two points."""
    along, across, apart = one[1] - one[0], other[1] - other[0], one[0] - other[0]
    matrix = np.array([[along @ along, -along @ across], [-along @ across, across @ across]])
    inside = np.linalg.lstsq(matrix, np.array([-along @ apart, across @ apart]), rcond=None)[0]
    if ((inside >= 0) & (inside <= 1)).all():
        return float(np.linalg.norm(apart + inside[0] * along - inside[1] * across))
    return min(_distance_to(point, line) for points, line in ((one, other), (other, one)) for point in points)


def _distance_to(point: Points, line: Points) -> float:
    along = line[1] - line[0]
    squared = float(along @ along)
    part = float(np.clip((point - line[0]) @ along / squared, 0, 1)) if squared else 0.0
    return float(np.linalg.norm(point - line[0] - part * along))


def _angle(points: Points) -> _Values:
    return [(concepts.ANGLE, "angle", _between(points[0] - points[1], points[-1] - points[1]))]


def _polygon(points: Points) -> _Values:
    ring = points[:-1] if is_ring(points) else points
    long, short = _long_and_short_axis(ring)
    return [
        (concepts.AREA, "area", newell_area(ring)),
        *_loop(points),
        (concepts.LONG_AXIS, "length", long),
        (concepts.SHORT_AXIS, "length", short),
    ]


def _loop(points: Points) -> _Values:
    return [(concepts.PERIMETER, "length", _path_length(np.vstack([points, points[:1]])))]


def _sheet(points: Points) -> _Values:
    return [(concepts.AREA, "area", newell_area(points))]


def _circle(points: Points) -> _Values:
    """Measure a centre and a point on the edge."""
    return _round(2 * float(np.linalg.norm(points[1] - points[0])))


def _round(diameter: float) -> _Values:
    return [(concepts.DIAMETER, "length", diameter), (concepts.AREA, "area", np.pi * diameter**2 / 4)]


def _ellipse(points: Points) -> _Values:
    """Measure the ends of the major axis and of the minor one."""
    long, short = sorted((float(np.linalg.norm(b - a)) for a, b in (points[:2], points[2:])), reverse=True)
    if long - short <= EQUAL_MM:
        return _round((long + short) / 2)
    return [
        (concepts.LONG_AXIS, "length", long),
        (concepts.SHORT_AXIS, "length", short),
        (concepts.AREA, "area", np.pi * long * short / 4),
    ]


def _ellipsoid(points: Points) -> _Values:
    """Measure the ends of three axes."""
    return _solid(points[1::2] - points[::2], np.pi / 6)


def _box(faces: Sequence[Points]) -> _Values:
    ends = box_of_faces([Region("POLYGON", one) for one in faces])
    return _solid(ends[1::2] - ends[::2], 1.0) if ends is not None else []


def _solid(axes: Points, part: float) -> _Values:
    """Measure a solid that fills a part of the box along three axes (3, 3)."""
    longest, middle, shortest = sorted((float(np.linalg.norm(one)) for one in axes), reverse=True)
    return [
        (concepts.VOLUME, "volume", part * abs(float(np.linalg.det(axes)))),
        (concepts.LONG_AXIS, "length", longest),
        (concepts.SHORT_AXIS, "length", middle),
        (PERPENDICULAR_AXIS, "length", shortest),
    ]


def _surface(faces: Sequence[Points]) -> _Values:
    """Measure what closed faces enclose, as the sum of the pyramids that they are the bases of."""
    apex = np.mean([one.mean(axis=0) for one in faces], axis=0)
    sixfold = sum(
        float(np.linalg.det(np.stack([face[0], face[place], face[place + 1]]) - apex))
        for face in faces
        for place in range(1, len(face) - 1)
    )
    return [(concepts.VOLUME, "volume", abs(sixfold) / 6)]


_KINDS: dict[str, Callable[[Any], _Values]] = {
    "points": _points,
    "path": _path,
    "angle": _angle,
    "polygon": _polygon,
    "loop": _loop,
    "sheet": _sheet,
    "circle": _circle,
    "ellipse": _ellipse,
    "solid": _ellipsoid,
}
_TOGETHER: dict[str, Callable[[Any], _Values]] = {
    "lines": _lines,
    "axes": _axes,
    "arms": _arms,
    "box": _box,
    "surface": _surface,
}
_KIND_OF_TYPE = {"CIRCLE": "circle", "ELLIPSE": "ellipse", "ELLIPSOID": "solid"}


# --- Arithmetic ------------------------------------------------------------------------------------------------------


def newell_area(points: Points) -> float:
    """Return the area (mm2) that a polygon (n, 3) has in its plane; of one in no plane, in the plane that fits best.

    The first point may be there again at the end.

    >>> newell_area(np.array([[0.0, 0.0, 1.0], [2.0, 0.0, 1.0], [2.0, 3.0, 1.0], [0.0, 3.0, 1.0]]))
    6.0
    """
    return float(np.linalg.norm(_newell(points)))


def _newell(points: Points) -> Points:
    """Return the normal of a polygon, as long as its area."""
    # From the middle, so that the area of a small polygon far out does not drown in its distance.
    ring = points - points.mean(axis=0)
    return np.asarray(np.cross(ring, np.roll(ring, -1, axis=0)).sum(axis=0) / 2, dtype=np.float64)


def off_plane_mm(points: Points) -> float:
    """Return how far (mm) points (n, 3) are from the plane that fits them best."""
    centred = points - points.mean(axis=0)
    if len(points) < 4:
        return 0.0
    normal = np.linalg.svd(centred, full_matrices=False)[2][2]
    return float(np.abs(centred @ normal).max())


def _path_length(points: Points) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _between(one: Points, other: Points) -> float:
    """Return the angle (degrees, 0 to 180) between two vectors; exact for small ones too, which the cosine is not."""
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)))


def _long_and_short_axis(ring: Points) -> tuple[float, float]:
    """Return the longest diameter of a polygon, and its extent across that in its plane."""
    longest, along = -1.0, np.zeros(3)
    for place, point in enumerate(ring):  # point by point: all pairs at once need memory by the square
        vectors = ring[place:] - point
        lengths = np.linalg.norm(vectors, axis=1)
        farthest = int(lengths.argmax())
        if lengths[farthest] > longest:
            longest, along = float(lengths[farthest]), vectors[farthest]
    normal = _newell(ring)
    across = np.cross(normal, along)
    length = float(np.linalg.norm(across))
    return longest, float(np.ptp(ring @ across) / length) if length else 0.0


def _is_closed_surface(faces: Sequence[Points]) -> bool:
    """Whether each edge of faces is there once in either direction."""
    edges: Counter[tuple[Any, Any]] = Counter()
    for face in faces:
        corners = [tuple(corner) for corner in np.round(face, 3).tolist()]
        corners = corners if corners[0] == corners[-1] else [*corners, corners[0]]
        edges.update(pairwise(corners))
    return bool(edges) and all(count == 1 and edges[b, a] == 1 for (a, b), count in edges.items())


# --- Measuring again -------------------------------------------------------------------------------------------------


_ALSO: dict[tuple[str, str], list[tuple[Code, float]]] = {
    key(concepts.LENGTH): [(name, 1.0) for name in LENGTHS if name != concepts.LENGTH],
    key(concepts.DIAMETER): [
        (RADIUS, 0.5),
        *((name, np.pi) for name in (CIRCUMFERENCE, concepts.PERIMETER)),
        *((name, 1.0) for name in (concepts.LONG_AXIS, concepts.SHORT_AXIS, MAJOR_AXIS, MINOR_AXIS)),
    ],
    key(concepts.LONG_AXIS): [(MAJOR_AXIS, 1.0)],
    key(concepts.SHORT_AXIS): [(MINOR_AXIS, 1.0)],
    key(concepts.PERIMETER): [(CIRCUMFERENCE, 1.0), (concepts.LENGTH, 1.0)],
    key(concepts.ANGLE): [(concepts.COBB_ANGLE, 1.0)],
}
"""Under which other names somebody may have written a number, or what part of it."""


def _under_other_names(one: Measurement) -> list[Measurement]:
    value = one.value or 0.0
    return [replace(one, concept=concept, value=value * part) for concept, part in _ALSO.get(key(one.concept), ())]


def remeasured(
    kept: Sequence[Measurement], new: Sequence[Measurement], moved: bool
) -> tuple[list[Measurement], list[str]]:
    """Return the measurements of a loaded group, as its geometry is now.

    Parameters
    ----------
    kept
        As they were loaded.
    new
        What the geometry measures (:func:`measurements_of`, best with ``every``).
    moved
        Whether the geometry is another one. Where it is not, all are returned as they are.

    Returns
    -------
    measurements, warnings
        Numbers that follow from the geometry are set anew, in the units that they had. Others (intensities, or what was
        derived from several values) are no longer true: they are left out, and a warning says which.
    """
    if not moved:
        return list(kept), []
    result, lost = [], []
    for one in kept:
        value = None if one.derivation is not None else _value_of(one, new)
        if value is None:
            lost.append(" ".join(part.meaning for part in (one.derivation, one.concept) if part is not None))
        else:
            # What is said of how it was found (method, algorithm, qualifier) was said of the other number.
            result.append(replace(one, value=value, text="", method=None, qualifier=None, algorithm=None))
    warning = f"{', '.join(dict.fromkeys(lost))} cannot be measured from the new place alone and was left out"
    return result, [warning] if lost else []


def group_remeasured(
    kept: Group, regions: Sequence[Region], places: Mapping[int, Sequence[int]], moved: Collection[int], kind: str = ""
) -> tuple[list[Measurement], list[str]]:
    """Return the measurements of a loaded group, region by region as :func:`remeasured` does.

    Parameters
    ----------
    regions
        As they are now.
    places
        Numbers in ``regions`` by number in ``kept.regions``; a region that was deleted has none.
    moved
        Numbers in ``kept.regions`` of those that lie elsewhere now.
    """
    deleted = set(range(len(kept.regions))) - set(places)
    if not (moved or deleted or len(regions) != len(kept.regions)):
        return list(kept.measurements), []
    new = measurements_of(regions, kind, every=True)
    result: list[Measurement] = []
    warnings: list[str] = []
    for one in kept.measurements:
        now = tuple(place for number in one.regions for place in places.get(number, ()))
        if one.regions and not now:
            warnings.append(f"{kept.label!r}: {one.concept.meaning} was left out with the region that it was of.")
            continue
        # What does not say of which regions it is, is of all of them.
        changed = bool((deleted | set(moved)).intersection(one.regions)) if one.regions else True
        again, said = remeasured([replace(one, regions=now)], new, changed)
        result += again
        warnings += [f"{kept.label!r} has moved: {text}." for text in said]
    return result, warnings


def _value_of(one: Measurement, new: Sequence[Measurement]) -> float | None:
    """Return what a measurement is now, in its own units; None where the geometry does not tell."""
    same = [other for other in new if key(other.concept) == key(one.concept)]
    near = [other for other in same if set(one.regions) & set(other.regions)] if one.regions else []
    numbers = [number for other in near or same if (number := _in_units(other, one.units)) is not None]
    # Without a word on which region it is of, the number of one region stands for none of several.
    return numbers[0] if numbers and (near or np.ptp(numbers) <= EQUAL_MM) else None


def _in_units(measured: Measurement, units: Code | None) -> float | None:
    value = units.value if units is not None else ""
    for written, parts in _UNITS.values():
        if measured.units == written and value in parts and measured.value is not None:
            return float(measured.value * parts[value])
    return None
