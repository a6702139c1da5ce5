"""Content tree -> measurement groups, by the concepts of items rather than by the template that a document claims.

Both patterns are the same here: a region may stand in a group by itself (TID 1410, 1411: Image Region, Volume Surface),
or below the number that was inferred from it (TID 300; dcmjs and OHIF). Items are found whatever their relationship
type is, because producers differ in it (finding sites as CONTAINS). Geometry outside of groups becomes loose groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dicombridge.codes import Code
from dicombridge.report import concepts
from dicombridge.report.concepts import is_one_of, key
from dicombridge.report.content import ContentItem, InstanceReference
from dicombridge.report.groups import Algorithm, Evaluation, Group, Measurement, Observer, Region, Site, TimePoint

__all__ = ["all_references", "observers_of", "recognized_groups"]

_SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_REAL_WORLD_VALUE_MAPPING = "1.2.840.10008.5.1.4.1.1.67"
_STRUCTURES = frozenset({"1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.5.1.4.1.1.66.5"})
"""RT Structure Set, Surface Segmentation."""
_GEOMETRY = frozenset({"SCOORD", "SCOORD3D"})
_TIME_POINT = {
    key(concepts.TIME_POINT): "label",
    key(concepts.TIME_POINT_TYPE): "type",
    key(concepts.TIME_POINT_ORDER): "order",
    key(concepts.SUBJECT_TIME_POINT): "subject_identifier",
    key(concepts.PROTOCOL_TIME_POINT): "protocol_identifier",
}
LONGEST_NUMBER = 12
"""Characters of a number of VR IS (PS3.5 6.2), as which a structure set has the numbers of its regions."""
_TYPED: dict[str, type] = {"type": Code, "order": float}
"""What of a time point is no text; one that is said otherwise is passed over."""
_OBSERVER = {
    key(concepts.DEVICE_OBSERVER_UID): "uid",
    key(concepts.DEVICE_OBSERVER_NAME): "name",
    key(concepts.DEVICE_OBSERVER_MANUFACTURER): "manufacturer",
    key(concepts.DEVICE_OBSERVER_MODEL): "model",
    key(concepts.DEVICE_OBSERVER_SERIAL_NUMBER): "serial_number",
}
_THEMSELVES = frozenset({"NUM", "IMAGE", "COMPOSITE"})
"""Value types of items that are read by them even if their name is that of a text or a code."""
_LATERALITY = key(concepts.LATERALITY)
_TOPOGRAPHICAL_MODIFIER = key(concepts.TOPOGRAPHICAL_MODIFIER)


@dataclass(frozen=True)
class _Context:
    """What the items around a group say of it."""

    observers: tuple[Observer, ...] = ()
    time_point: TimePoint | None = None
    activity_session: str = ""


def recognized_groups(root: ContentItem) -> list[Group]:
    """Return the measurement groups of a document, and groups for geometry that stands elsewhere."""
    groups: list[Group] = []
    by_position = {item.position: item for item in root.walk()}
    waiting: list[tuple[ContentItem, _Context]] = [(root, _Context())]
    while waiting:
        item, context = waiting.pop()
        inside = _context_inside(item, context)
        if _is_group(item) or (item.value_type != "CONTAINER" and _has_geometry(item)):
            groups.append(_Group(len(groups) + 1, item, inside, by_position).read())
            waiting.extend((nested, inside) for nested in reversed(list(_nested_groups(item))))
        else:
            waiting.extend((child, inside) for child in reversed(item.children))
    return groups


def _is_group(item: ContentItem) -> bool:
    return item.value_type == "CONTAINER" and is_one_of(item.concept, (concepts.MEASUREMENT_GROUP,))


def _has_geometry(item: ContentItem) -> bool:
    if not item.children and item.value_type not in _GEOMETRY:
        return False
    return any(one.value_type in _GEOMETRY for one in item.walk())


def _nested_groups(item: ContentItem) -> Iterator[ContentItem]:
    """Yield the outermost groups inside a group."""
    waiting = list(reversed(item.children))
    while waiting:
        inner = waiting.pop()
        if _is_group(inner):
            yield inner
        else:
            waiting.extend(reversed(inner.children))


def _context_inside(item: ContentItem, context: _Context) -> _Context:
    """Return the context of what is in a container: its own, where it says any, else that around it."""
    if item.value_type != "CONTAINER":
        return context
    session = next((one.text for one in item.children if is_one_of(one.concept, (concepts.ACTIVITY_SESSION,))), "")
    return _Context(
        observers_of(item) or context.observers,
        _time_point_of(item) or context.time_point,
        session or context.activity_session,
    )


def observers_of(item: ContentItem) -> tuple[Observer, ...]:
    """Return the observers that the children of an item name (TID 1002), in their order."""
    found: list[Observer] = []
    open_device = False
    for child in item.children:
        name = key(child.concept)
        if name == key(concepts.OBSERVER_TYPE):
            open_device = False
        elif name == key(concepts.PERSON_OBSERVER_NAME):
            found.append(Observer(child.text))
            open_device = False
        elif name == key(concepts.PERSON_OBSERVER_ORGANIZATION) and found and not found[-1].is_device:
            found[-1] = replace(found[-1], organization=child.text)
        elif name in _OBSERVER:
            if not open_device:
                found.append(Observer("", True))
                open_device = True
            said: dict[str, Any] = {_OBSERVER[name]: child.text}
            found[-1] = replace(found[-1], **said)
    return tuple(found)


def _time_point_of(item: ContentItem) -> TimePoint | None:
    said: dict[str, Any] = {}
    for child in item.children:
        name = _TIME_POINT.get(key(child.concept))
        if name is not None:
            value = child.value if name in _TYPED else child.text
            if isinstance(value, _TYPED.get(name, str)):
                said[name] = value
    return TimePoint(**said) if said else None


def _site_of(item: ContentItem) -> Site | None:
    """Return the site that an item says by codes; what is said of it in other words is passed over."""
    if not isinstance(item.value, Code):
        return None
    coded = [(key(one.concept), one.value) for one in item.children if isinstance(one.value, Code)]
    laterality = next((value for name, value in coded if name == _LATERALITY), None)
    return Site(item.value, laterality, tuple(value for name, value in coded if name == _TOPOGRAPHICAL_MODIFIER))


def _algorithm_of(item: ContentItem) -> Algorithm | None:
    texts: dict[tuple[str, str], list[str]] = {}
    for child in item.children:
        texts.setdefault(key(child.concept), []).append(child.text)
    name = texts.get(key(concepts.ALGORITHM_NAME))
    if name is None:
        return None
    version = texts.get(key(concepts.ALGORITHM_VERSION), [""])[0]
    return Algorithm(name[0], version, tuple(texts.get(key(concepts.ALGORITHM_PARAMETERS), ())))


class _Group:
    """Reads one group."""

    def __init__(
        self, number: int, item: ContentItem, context: _Context, by_position: dict[tuple[int, ...], ContentItem]
    ) -> None:
        self._item = item
        self._by_position = by_position
        self._regions: dict[Any, int] = {}
        self._group = Group(
            number,
            item.position,
            item.template,
            not _is_group(item),
            time_point=context.time_point,
            observers=context.observers,
            activity_session=context.activity_session,
        )

    def read(self) -> Group:
        """Return the group."""
        group = self._group
        if group.is_loose:
            self._read_loose()
        else:
            group.algorithm = _algorithm_of(self._item)
            self._read_children(self._item)
        if len(group.regions) == 1 and not any(one.regions for one in group.measurements):
            # The one region of a group is what its numbers are about.
            for measurement in group.measurements:
                measurement.regions = (0,)
        angles = {number for one in group.measurements if _is_angle(one) for number in one.regions}
        for number in angles:
            group.regions[number].is_angle = _has_arms(group.regions[number])
        return group

    def _read_loose(self) -> None:
        """Read geometry that no group holds: an item that has coordinates, or leads to some."""
        item, group = self._item, self._group
        if item.value_type in ("CODE", "TEXT") and item.text:
            named = item.value if item.value_type == "CODE" else None
            group.finding = named
            group.tracking_identifier = "" if named is not None else item.text
        elif item.concept is not None:
            group.tracking_identifier = item.concept.meaning
        if item.value_type in ("NUM", *_GEOMETRY):
            self._read_one(item)
        else:
            self._read_children(item)

    def _read_children(self, item: ContentItem) -> None:
        for child in item.children:
            if not _is_group(child):
                self._read_one(child)

    def _read_one(self, item: ContentItem) -> None:
        by_concept = _BY_CONCEPT.get(key(item.concept))
        by_type = _BY_TYPE.get(item.value_type)
        if not item.value_type:
            self._named(self._shown(item))
        elif by_concept is not None and _goes_by_concept(item, by_concept):
            by_concept(self, item)
        elif by_type is not None:
            by_type(self, item)

    def _shown(self, item: ContentItem) -> ContentItem:
        """Return the item that an item names, else itself."""
        return self._by_position.get(item.target, item) if item.target else item

    def _named(self, item: ContentItem) -> None:
        """Read a region or an image that stands elsewhere; what is below it belongs to where it stands."""
        if item.value_type in _GEOMETRY:
            self._geometry(item)
        elif item.value_type in ("IMAGE", "COMPOSITE"):
            self._add_references(item)

    # --- By concept --------------------------------------------------------------------------------------------------

    def _tracking_identifier(self, item: ContentItem) -> None:
        self._group.tracking_identifier = item.text

    def _tracking_uid(self, item: ContentItem) -> None:
        self._group.tracking_uid = item.text

    def _category(self, item: ContentItem) -> None:
        self._group.category = item.value if item.value_type == "CODE" else None

    def _finding(self, item: ContentItem) -> None:
        if item.value_type == "CODE" and self._group.finding is None:
            self._group.finding = item.value
        else:
            self._evaluation(item)
        self._read_children(item)

    def _site(self, item: ContentItem) -> None:
        site = _site_of(item)
        if site is not None:
            self._group.sites += (site,)

    def _method(self, item: ContentItem) -> None:
        self._group.method = item.value if item.value_type == "CODE" else None

    def _comment(self, item: ContentItem) -> None:
        self._group.comment = "\n".join(filter(None, (self._group.comment, item.text)))

    def _source_series(self, item: ContentItem) -> None:
        if item.text:
            self._group.source_series.append(item.text)

    def _region_identifier(self, item: ContentItem) -> None:
        if _roi_number(item) is None:  # a number was read with what it is a part of
            self._evaluation(item)

    def _ignored(self, item: ContentItem) -> None:
        """Pass over what was read with the group's context."""

    # --- By value type -----------------------------------------------------------------------------------------------

    def _number(self, item: ContentItem) -> None:
        said = {key(child.concept): child for child in item.children}
        method = said.get(key(concepts.MEASUREMENT_METHOD))
        derivation = said.get(key(concepts.DERIVATION))
        sites = [_site_of(one) for one in item.children if key(one.concept) == key(concepts.FINDING_SITE)]
        measurement = Measurement(
            item.concept or Code("", "", "Number"),
            item.value,
            item.units,
            item.text,
            method.value if method is not None and method.value_type == "CODE" else None,
            derivation.value if derivation is not None and derivation.value_type == "CODE" else None,
            item.qualifier,
            tuple(site for site in sites if site is not None),
            _algorithm_of(item),
            position=item.position,
        )
        regions = []
        for child in item.children:
            shown = self._shown(child)
            if shown.value_type in _GEOMETRY:
                regions.append(self._region_number(shown))
            elif shown is not child:
                self._named(shown)
            elif shown.value_type in ("IMAGE", "COMPOSITE"):
                self._reference(shown)
        measurement.regions = tuple(number for number in dict.fromkeys(regions) if number is not None)
        if not (regions and _is_bearer(item)):
            self._group.measurements.append(measurement)

    def _geometry(self, item: ContentItem) -> None:
        self._region_number(item)

    def _region_number(self, item: ContentItem) -> int | None:
        """Return which of the group's regions an item is; a new one, where it is no other again."""
        graphic = item.graphic
        if graphic is None or _is_of_viewer(item):
            return None
        images = tuple(one for child in item.children for one in self._shown(child).references)
        same = (graphic.type, images, graphic.data.shape, graphic.data.tobytes())
        number = self._regions.get(item.position, self._regions.get(same))
        if number is None:
            points = None if graphic.in_image else graphic.data
            region = Region(graphic.type, points, graphic, graphic.frame_of_reference_uid, images, item.concept)
            region.position = item.position
            number = len(self._group.regions)
            self._group.regions.append(region)
        self._regions[item.position] = self._regions[same] = number
        return number

    def _reference(self, item: ContentItem) -> None:
        self._add_references(item)
        self._read_children(item)

    def _add_references(self, item: ContentItem) -> None:
        numbers = tuple(number for child in item.children if (number := _roi_number(child)) is not None)
        for one in item.references:
            kept = self._list_for(item, one)
            kept.append(replace(one, segments=numbers) if numbers and kept is self._group.structures else one)

    def _list_for(self, item: ContentItem, one: InstanceReference) -> list[InstanceReference]:
        segment = is_one_of(item.concept, (concepts.REFERENCED_SEGMENT, concepts.REFERENCED_SEGMENTATION_FRAME))
        if segment or one.sop_class_uid in _SEGMENTATIONS:
            return self._group.segments
        mapping = is_one_of(item.concept, (concepts.REAL_WORLD_VALUE_MAP,))
        if mapping or one.sop_class_uid == _REAL_WORLD_VALUE_MAPPING:
            return self._group.real_world_value_maps
        if one.sop_class_uid in _STRUCTURES or item.value_type == "COMPOSITE":
            return self._group.structures
        return self._group.sources

    def _evaluation(self, item: ContentItem) -> None:
        if item.concept is not None and item.value is not None and item.text:
            self._group.evaluations.append(Evaluation(item.concept, item.value, item.position))

    def _described(self, item: ContentItem) -> None:
        """Read a statement; below it may be geometry that it was inferred from."""
        self._evaluation(item)
        self._read_children(item)


_Reader = Callable[[_Group, ContentItem], None]

_BY_CONCEPT: dict[tuple[str, str], _Reader] = {
    key(concepts.TRACKING_IDENTIFIER): _Group._tracking_identifier,
    key(concepts.TRACKING_UNIQUE_IDENTIFIER): _Group._tracking_uid,
    key(concepts.ACTIVITY_SESSION): _Group._ignored,
    key(concepts.FINDING_CATEGORY): _Group._category,
    key(concepts.FINDING): _Group._finding,
    key(concepts.FINDING_SITE): _Group._site,
    key(concepts.MEASUREMENT_METHOD): _Group._method,
    key(concepts.COMMENT): _Group._comment,
    key(concepts.SOURCE_SERIES_FOR_SEGMENTATION): _Group._source_series,
    key(concepts.REGION_IDENTIFIER): _Group._region_identifier,
    **{
        key(concept): _Group._ignored
        for concept in (
            concepts.ALGORITHM_NAME,
            concepts.ALGORITHM_VERSION,
            concepts.ALGORITHM_PARAMETERS,
            concepts.OBSERVER_TYPE,
            concepts.PERSON_OBSERVER_NAME,
            concepts.PERSON_OBSERVER_ORGANIZATION,
        )
    },
    **dict.fromkeys([*_TIME_POINT, *_OBSERVER], _Group._ignored),
}
"""What an item is by its name, whatever its relationship."""

_BY_TYPE: dict[str, _Reader] = {
    "NUM": _Group._number,
    "SCOORD": _Group._geometry,
    "SCOORD3D": _Group._geometry,
    "IMAGE": _Group._reference,
    "COMPOSITE": _Group._reference,
    "CONTAINER": _Group._read_children,
    **dict.fromkeys(("CODE", "TEXT", "DATE", "DATETIME", "TIME", "PNAME", "UIDREF"), _Group._described),
}


def _goes_by_concept(item: ContentItem, reader: _Reader) -> bool:
    """Whether an item is what its name says: a number and an image are themselves, but where they are context."""
    return item.value_type not in _GEOMETRY and (item.value_type not in _THEMSELVES or reader is _Group._ignored)


def _roi_number(item: ContentItem) -> int | None:
    """Return which region of a structure set an item names (TID 1411), None if it is another item, or no number."""
    text = item.text.strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
    return int(text) if is_number and is_one_of(item.concept, (concepts.REGION_IDENTIFIER,)) else None


def _is_bearer(item: ContentItem) -> bool:
    """Whether a number is none, but bears coordinates: dcmjs writes (111010, DCM) as 0 without units for a point."""
    return is_one_of(item.concept, (concepts.CENTER,)) and not item.value


def _is_of_viewer(item: ContentItem) -> bool:
    """Whether coordinates say how a viewer draws (handles of a spline, place of a label), and not where a finding is.

    They stay in the document; a region of them would be shown as a finding.
    """
    return item.concept is not None and item.concept.scheme_designator == concepts.CORNERSTONE_SCHEME


def _has_arms(region: Region) -> bool:
    """Whether a line can be an angle: three points, or two lines that meet, as dcmjs writes the vertex twice."""
    if region.type != "POLYLINE" or region.graphic is None:
        return False
    data = region.graphic.data
    return len(data) == 3 or (len(data) == 4 and np.array_equal(data[1], data[2]))


def _is_angle(measurement: Measurement) -> bool:
    in_degrees = measurement.units is not None and measurement.units.value == "deg"
    return in_degrees or is_one_of(measurement.concept, concepts.ANGLES)


def all_references(groups: Sequence[Group]) -> Iterator[InstanceReference]:
    """Yield every instance that groups name."""
    for group in groups:
        yield from group.segments
        yield from group.structures
        yield from group.real_world_value_maps
        yield from group.sources
        for region in group.regions:
            yield from region.images
