"""Measurement groups as content of a Measurement Report (PS3.16 TID 1500, 1410, 1411, 1501).

A group gets the most specific template whose rules it fulfils: TID 1410 for one planar region, TID 1411 for a volume
with its source, else TID 1501, which takes any number of regions and tells from which of them a number was inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.codes import Code
from dicombridge.errors import ExportError
from dicombridge.report import concepts, cornerstone, items
from dicombridge.report.content import InstanceReference
from dicombridge.report.drawings import is_ring
from dicombridge.report.groups import Algorithm, Evaluation, Group, Measurement, Observer, Region, Site, TimePoint
from dicombridge.report.items import CONTAINS, HAS_CONCEPT_MOD, HAS_OBS_CONTEXT, HAS_PROPERTIES, INFERRED_FROM

__all__ = [
    "PROFILES",
    "group_items",
    "measurement_item",
    "measurement_report",
    "region_item",
    "site_items",
    "template_of",
]

PROFILES = ("standard", "ohif")
"""How groups are laid out: as the standard's templates say, or as viewers of Cornerstone3D take them up for editing."""

PROGRAM = Observer("DICOMBridge", is_device=True, manufacturer="DICOMBridge", model="dicombridge")
"""Observer of a report that names none."""
IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
"""Procedure of a report that names none (CID 100)."""
ENGLISH = Code("en", "RFC5646", "English")
UNITED_STATES = Code("US", "ISO3166_1", "United States")

_COUNTRY_OF_LANGUAGE = Code("121046", "DCM", "Country of Language")
_UNKNOWN = "unknown"
"""Where a template demands a text that nobody knows."""

Items = Iterator[Dataset]


def measurement_report(
    groups: Sequence[Group],
    *,
    observers: Sequence[Observer] = (),
    library: Sequence[InstanceReference] = (),
    profile: str = "standard",
) -> Dataset:
    """Return the elements of the root of a report (PS3.16 TID 1500) in English; header and evidence are the caller's.

    Parameters
    ----------
    observers
        Without any, this program is named.
    library
        Images that the report is about (TID 1600).
    profile
        One of :data:`PROFILES`.

    Raises
    ------
    ExportError
        A group cannot be written.
    """
    measured = [item for group in groups for item in group_items(group, profile)]
    content = [
        _language(),
        *_observers(observers or (PROGRAM,)),
        items.code(HAS_CONCEPT_MOD, concepts.PROCEDURE_REPORTED, IMAGING_PROCEDURE),
        *_library(library),
        items.container(CONTAINS, concepts.IMAGING_MEASUREMENTS, measured),
    ]
    return items.container("", concepts.IMAGING_MEASUREMENT_REPORT, content, "1500")


def group_items(group: Group, profile: str = "standard") -> list[Dataset]:
    """Return the Measurement Groups of a group: one, or several where the profile has no group of several regions.

    Raises
    ------
    ExportError
        The profile is none, or the group cannot be written; the message names the group.
    """
    if profile not in PROFILES:
        raise ExportError(f"There is no profile {profile!r} of reports; there are {', '.join(PROFILES)}.")
    try:
        if profile == "ohif" and group.regions:
            return [_group(part, "1501", _editable_measurement) for part in cornerstone.editable_groups(group)]
        return [_group(group, template_of(group), _measurement)]
    except ExportError as error:
        raise ExportError(f"Measurement group {group.label!r}: {error}") from error


# --- Templates -------------------------------------------------------------------------------------------------------


def template_of(group: Group) -> str:
    """Return the template that a group fulfils: ``"1410"``, ``"1411"`` or ``"1501"``."""
    present = [name for name in _TEMPLATE_BY_KIND if getattr(group, name)]
    return _TEMPLATE_BY_KIND[present[0]](group) if len(present) == 1 else "1501"


def _template_of_segments(group: Group) -> str:
    reference, *others = group.segments
    if others or len(reference.segments) > 1 or not _has_source(group):
        return "1501"
    is_frame = len(items.written_frames(reference)) == 1 and len(_sources(group)) == 1
    return "1410" if is_frame else "1411"


def _template_of_structures(group: Group) -> str:
    return "1411" if len(group.structures) == 1 and len(group.structures[0].segments) == 1 else "1501"


def _template_of_regions(group: Group) -> str:
    types = {region.type for region in group.regions}
    named = {concepts.key(region.purpose) for region in group.regions}
    if named - _PURPOSES or "MULTIPOINT" in types:
        return "1501"
    in_image = {_in_image(region) for region in group.regions}
    count = len(group.regions)
    if count == 1 and "ELLIPSOID" not in types and (in_image == {True} or concepts.key(_SURFACE) not in named):
        return "1410"
    if count > 1 and _tells_regions_apart(group):
        return "1501"
    if in_image == {True}:
        return "1411" if all(map(_is_closed, group.regions)) else "1501"
    return "1411" if in_image == {False} and _is_surface(group) and _has_source(group) else "1501"


_TEMPLATE_BY_KIND: dict[str, Callable[[Group], str]] = {
    "regions": _template_of_regions,
    "segments": _template_of_segments,
    "structures": _template_of_structures,
}
_SURFACE = concepts.VOLUME_SURFACE
_PURPOSES = {concepts.key(None), concepts.key(concepts.IMAGE_REGION), concepts.key(_SURFACE)}
"""Concept Names of regions that follow from the template; others are kept, which TID 1501 alone allows."""


def _is_surface(group: Group) -> bool:
    """Whether regions in space form a surface: one ellipsoid or point, or contours (TID 1411 row 10)."""
    types = {region.type for region in group.regions}
    frames = {_frame_of_reference(region) for region in group.regions}
    alone = types <= {"ELLIPSOID", "POINT"}
    if len(types) != 1 or len(frames) != 1:
        return False
    return len(group.regions) == 1 if alone else len(group.regions) > 1 and types <= {"POLYGON", "ELLIPSE"}


def _tells_regions_apart(group: Group) -> bool:
    everything = set(range(len(group.regions)))
    return any(one.regions and set(one.regions) != everything for one in group.measurements)


def _is_closed(region: Region) -> bool:
    if region.type != "POLYLINE" or region.graphic is None:
        return region.type in ("CIRCLE", "ELLIPSE", "POLYGON")
    return is_ring(region.graphic.data)


def _in_image(region: Region) -> bool:
    """Whether a region is written as columns and rows of an image."""
    return region.graphic is not None and region.graphic.in_image and bool(region.images)


def _sources(group: Group) -> list[InstanceReference]:
    """Return the images of a group; SCOORD3D items cannot name those that they were drawn on, so the group does."""
    drawn_on = [one for region in group.regions if not _in_image(region) for one in region.images]
    return list(dict.fromkeys([*group.sources, *drawn_on]))


def _has_source(group: Group) -> bool:
    """Whether rows 11 and 12 of TID 1411 can be filled: images, or one series."""
    return bool(_sources(group)) or len(group.source_series) == 1


# --- Groups ----------------------------------------------------------------------------------------------------------


def _group(group: Group, template: str, measured: Callable[[Measurement, Group], Dataset]) -> Dataset:
    """Return the container of a group, in the order of its template."""
    apart = template == "1501"
    used = {number for one in group.measurements for number in one.regions} if apart else set()
    whole = group if apart else replace(group, measurements=[replace(one, regions=()) for one in group.measurements])
    places = [
        *(region_item(CONTAINS, region, template) for i, region in enumerate(group.regions) if i not in used),
        *_references(group, template),
    ]
    numbers = [measured(one, whole) for one in whole.measurements]
    maps = [items.composite(CONTAINS, concepts.REAL_WORLD_VALUE_MAP, one) for one in group.real_world_value_maps]
    modifiers = [*_method(group.method), *site_items(group.sites)]
    algorithm = list(_algorithm(group.algorithm))
    body = [modifiers, maps, algorithm, numbers, places] if apart else [places, maps, modifiers, algorithm, numbers]
    content = [*_context(group), *(item for part in body for item in part), *_statements(group)]
    return items.container(CONTAINS, concepts.MEASUREMENT_GROUP, content, template)


def _context(group: Group) -> Items:
    """Yield what all three templates begin with."""
    if group.activity_session:
        yield items.text(HAS_OBS_CONTEXT, concepts.ACTIVITY_SESSION, group.activity_session)
    yield items.text(HAS_OBS_CONTEXT, concepts.TRACKING_IDENTIFIER, group.tracking_identifier or group.label)
    uid = group.tracking_uid or str(generate_uid())
    yield items.uid_reference(HAS_OBS_CONTEXT, concepts.TRACKING_UNIQUE_IDENTIFIER, uid)
    for concept, value in ((concepts.FINDING_CATEGORY, group.category), (concepts.FINDING, group.finding)):
        if value is not None:
            yield items.code(CONTAINS, concept, value)
    if group.time_point is not None:
        yield from _time_point(group.time_point)
    yield from _observers(group.observers)


def _references(group: Group, template: str) -> Items:
    """Yield segments, structures and sources."""
    is_frame = template == "1410"
    segment = concepts.REFERENCED_SEGMENTATION_FRAME if is_frame else concepts.REFERENCED_SEGMENT
    yield from (items.image(CONTAINS, segment, one) for one in group.segments)
    for one in group.structures:
        identifiers = [items.text(HAS_PROPERTIES, concepts.REGION_IDENTIFIER, str(number)) for number in one.segments]
        yield items.composite(CONTAINS, concepts.REGION_IN_SPACE, one, identifiers)
    is_surface = template == "1411" and bool(group.regions) and not any(map(_in_image, group.regions))
    of_segmentation = bool(group.segments) or is_surface
    source = concepts.SOURCE_IMAGE_FOR_SEGMENTATION if of_segmentation else concepts.SOURCE_OF_MEASUREMENT
    sources = _sources(group)
    yield from (items.image(CONTAINS, source, one) for one in sources)
    if not sources or template == "1501":  # TID 1411 takes either images or their series
        for series in group.source_series:
            yield items.uid_reference(CONTAINS, concepts.SOURCE_SERIES_FOR_SEGMENTATION, series)


def _statements(group: Group) -> Items:
    yield from (_evaluation(one) for one in group.evaluations if one.value)
    if group.comment:
        yield items.text(CONTAINS, concepts.COMMENT, group.comment)


def _evaluation(evaluation: Evaluation) -> Dataset:
    if isinstance(evaluation.value, Code):
        return items.code(CONTAINS, evaluation.concept, evaluation.value)
    return items.text(CONTAINS, evaluation.concept, evaluation.value)


def region_item(relation: str, region: Region, template: str = "1501") -> Dataset:
    """Return a region's coordinates: those that were read, where it has them, else its points.

    Raises
    ------
    ExportError
        It has neither an image nor a place.
    """
    surface = template == "1411" and not _in_image(region)
    by_template = {"1410": concepts.IMAGE_REGION, "1411": _SURFACE if surface else concepts.IMAGE_REGION}
    # What a number was inferred from needs no name (TID 320); children of a group do.
    unnamed = None if relation == INFERRED_FROM else concepts.IMAGE_REGION
    purpose = by_template.get(template, region.purpose or unnamed)
    if _in_image(region) and region.graphic is not None:
        return items.scoord(relation, purpose, region.graphic, region.images[0])
    in_space = region.graphic.data if region.graphic is not None and not region.graphic.in_image else region.points
    frame = _frame_of_reference(region)
    if in_space is None or not frame:
        raise ExportError(
            f"its {region.type} has neither an image nor points in a frame of reference; load the images first."
        )
    return items.scoord3d(relation, purpose, region.type, in_space, frame)


def _frame_of_reference(region: Region) -> str:
    written = region.graphic.frame_of_reference_uid if region.graphic is not None else ""
    return written or region.frame_of_reference_uid


# --- Measurements (TID 300) ------------------------------------------------------------------------------------------


def measurement_item(measurement: Measurement) -> Dataset:
    """Return a number by itself (TID 300), without what it was inferred from."""
    return _number(measurement, list(_modifiers(measurement)))


def _measurement(measurement: Measurement, group: Group) -> Dataset:
    return _number(measurement, [*_modifiers(measurement), *_coordinates(measurement, group)])


def _editable_measurement(measurement: Measurement, group: Group) -> Dataset:
    """Return a NUM whose coordinates come first; some versions of OHIF look at its first child only."""
    return _number(measurement, [*_coordinates(measurement, group), *_modifiers(measurement)])


def _number(measurement: Measurement, children: Iterable[Dataset]) -> Dataset:
    return items.number(
        CONTAINS,
        measurement.concept,
        measurement.value,
        measurement.units,
        text=measurement.text,
        qualifier=measurement.qualifier,
        children=children,
    )


def _modifiers(measurement: Measurement) -> Items:
    yield from _method(measurement.method)
    if measurement.derivation is not None:
        yield items.code(HAS_CONCEPT_MOD, concepts.DERIVATION, measurement.derivation)
    yield from site_items(measurement.sites)
    yield from _algorithm(measurement.algorithm)


def _coordinates(measurement: Measurement, group: Group) -> Items:
    known = [group.regions[number] for number in measurement.regions if 0 <= number < len(group.regions)]
    return (region_item(INFERRED_FROM, region, "1501") for region in known)


# --- Parts of several templates --------------------------------------------------------------------------------------


def _method(method: Code | None) -> Items:
    if method is not None:
        yield items.code(HAS_CONCEPT_MOD, concepts.MEASUREMENT_METHOD, method)


def site_items(sites: Iterable[Site]) -> Items:
    """Yield sites with their sides and modifiers."""
    for site in sites:
        below = [(concepts.TOPOGRAPHICAL_MODIFIER, modifier) for modifier in site.modifiers]
        if site.laterality is not None:
            below.insert(0, (concepts.LATERALITY, site.laterality))
        children = [items.code(HAS_CONCEPT_MOD, concept, value) for concept, value in below]
        yield items.code(HAS_CONCEPT_MOD, concepts.FINDING_SITE, site.code, children)


def _algorithm(algorithm: Algorithm | None) -> Items:
    """Yield TID 4019, where name and version are mandatory."""
    if algorithm is None:
        return
    yield items.text(HAS_CONCEPT_MOD, concepts.ALGORITHM_NAME, algorithm.name or _UNKNOWN)
    yield items.text(HAS_CONCEPT_MOD, concepts.ALGORITHM_VERSION, algorithm.version or _UNKNOWN)
    for parameter in filter(None, algorithm.parameters):
        yield items.text(HAS_CONCEPT_MOD, concepts.ALGORITHM_PARAMETERS, parameter)


def _time_point(point: TimePoint) -> Items:
    """Yield TID 1502, where the label is mandatory."""
    label = point.label or (point.type.meaning if point.type is not None else "") or _UNKNOWN
    texts = (
        (concepts.SUBJECT_TIME_POINT, point.subject_identifier),
        (concepts.PROTOCOL_TIME_POINT, point.protocol_identifier),
        (concepts.TIME_POINT, label),
    )
    yield from (items.text(HAS_OBS_CONTEXT, concept, value) for concept, value in texts if value)
    if point.type is not None:
        yield items.code(HAS_OBS_CONTEXT, concepts.TIME_POINT_TYPE, point.type)
    if point.order is not None:
        yield items.number(HAS_OBS_CONTEXT, concepts.TIME_POINT_ORDER, point.order, concepts.NO_UNITS)


def _observers(observers: Iterable[Observer]) -> Items:
    """Yield TID 1002, the type of each before what is known of it."""
    for observer in observers:
        kind = concepts.DEVICE if observer.is_device else concepts.PERSON
        yield items.code(HAS_OBS_CONTEXT, concepts.OBSERVER_TYPE, kind)
        yield from _device(observer) if observer.is_device else _person(observer)


def _person(observer: Observer) -> Items:
    yield items.person_name(HAS_OBS_CONTEXT, concepts.PERSON_OBSERVER_NAME, observer.name or _UNKNOWN)
    if observer.organization:
        yield items.text(HAS_OBS_CONTEXT, concepts.PERSON_OBSERVER_ORGANIZATION, observer.organization)


def _device(observer: Observer) -> Items:
    described = (
        (concepts.DEVICE_OBSERVER_NAME, observer.name),
        (concepts.DEVICE_OBSERVER_MANUFACTURER, observer.manufacturer),
        (concepts.DEVICE_OBSERVER_MODEL, observer.model),
        (concepts.DEVICE_OBSERVER_SERIAL_NUMBER, observer.serial_number),
    )
    # The UID is mandatory; without one, the same device has the same UID in all reports.
    uid = observer.uid or "\n".join(value for _, value in described)
    yield items.uid_reference(HAS_OBS_CONTEXT, concepts.DEVICE_OBSERVER_UID, uid)
    yield from (items.text(HAS_OBS_CONTEXT, concept, value) for concept, value in described if value)


def _language() -> Dataset:
    """Return TID 1204: the meanings of codes are in this language."""
    country = items.code(HAS_CONCEPT_MOD, _COUNTRY_OF_LANGUAGE, UNITED_STATES)
    return items.code(HAS_CONCEPT_MOD, concepts.LANGUAGE, ENGLISH, [country])


def _library(library: Sequence[InstanceReference]) -> Items:
    """Yield TID 1600 with one group; what its images share is not known here."""
    if library:
        images = [items.image(CONTAINS, None, one) for one in library]
        group = items.container(CONTAINS, concepts.IMAGE_LIBRARY_GROUP, images)
        yield items.container(CONTAINS, concepts.IMAGE_LIBRARY, [group])
