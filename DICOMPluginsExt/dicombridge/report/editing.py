"""A loaded document with what was changed in it, and all else to the byte.

Only what differs is written anew: a region that moved, a number that was measured again, a statement that was edited.
Items that nobody here understands stay where they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dicombridge.codes import Code
from dicombridge.errors import ExportError
from dicombridge.report import concepts, items, template
from dicombridge.report.concepts import key
from dicombridge.report.groups import Group, Measurement, Region, Site
from dicombridge.report.trees import Position, placed_items, tree_items

__all__ = ["EditedDocument"]

_CODED: tuple[tuple[str, Code], ...] = (("category", concepts.FINDING_CATEGORY), ("finding", concepts.FINDING))
_TEXTS: tuple[tuple[str, Code, str], ...] = (
    ("tracking_identifier", concepts.TRACKING_IDENTIFIER, items.HAS_OBS_CONTEXT),
    ("comment", concepts.COMMENT, items.CONTAINS),
)


class EditedDocument:
    """A document that is being edited.

    Parameters
    ----------
    dataset
        Of the document, changed in place.

    Attributes
    ----------
    warnings
        What was edited and could not be written.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.warnings: list[str] = []
        self._removed: set[int] = set()
        # What items refer to by its position is found now: positions change when items are removed.
        self._targets = [(item, self._item(_target(item))) for item in tree_items(dataset) if _target(item)]

    # --- Groups ------------------------------------------------------------------------------------------------------

    def keep_only(self, groups: Iterable[Group], positions: Collection[Position]) -> None:
        """Remove the groups that are not at one of some positions."""
        for group in groups:
            if group.position not in positions:
                self._remove(group.position)

    def change(self, group: Group, before: Group) -> None:
        """Write a group as it is now; items are those of ``before``, which is what the document says.

        Raises
        ------
        ExportError
            It cannot be written.
        """
        container = self._item(group.position)
        if container is None:
            raise ExportError(f"{group.label!r} is not in the document that it was loaded from.")
        self._change_regions(group, before, container)
        self._change_measurements(group, before, container)
        if container.get("ValueType") != "CONTAINER":
            self._warn_of_statements(group, before)
            return
        for name, concept in _CODED:
            if key(getattr(group, name)) != key(getattr(before, name)):
                self._set_code(container, concept, getattr(group, name))
        for name, concept, relation in _TEXTS:
            if concept is concepts.TRACKING_IDENTIFIER and before.tracking_identifier and not group.tracking_identifier:
                self.warnings.append(
                    f"{before.label!r}: a measurement group has a Tracking Identifier; the one that was removed stays."
                )
            elif getattr(group, name) != getattr(before, name):
                self._set_text(container, concept, getattr(group, name), relation)
        if list(map(_site_key, group.sites)) != list(map(_site_key, before.sites)):
            self._set_sites(container, group.sites)

    def add(self, new: Sequence[Dataset]) -> None:
        """Append new groups to the measurements; a document that has none gets a container for them."""
        if not new:
            return
        for child in self.dataset.get("ContentSequence") or ():
            if _concept(child) == key(concepts.IMAGING_MEASUREMENTS):
                _append(child, new)
                return
        _append(self.dataset, [items.container(items.CONTAINS, concepts.IMAGING_MEASUREMENTS, new)])

    def finish(self) -> Dataset:
        """Take out what was removed, let references by position follow, and return the dataset."""
        self._purge(self.dataset)
        places = {id(item): position for position, item in placed_items(self.dataset)}
        dangling = set()
        for item, target in self._targets:
            if target is None:
                continue  # it led nowhere before
            place = places.get(id(target))
            if place is not None:
                item.ReferencedContentItemIdentifier = list(place)
            else:
                dangling.add(id(item))
        if dangling:
            self._removed = dangling
            self._purge(self.dataset)
        return self.dataset

    # --- Parts of a group --------------------------------------------------------------------------------------------

    def _change_regions(self, group: Group, before: Group, container: Dataset) -> None:
        now = {region.position for region in group.regions if region.position}
        for region in before.regions:
            if region.position and region.position not in now:
                self._remove(region.position)
        known = {region.position: region for region in before.regions}
        for region in group.regions:
            old = known.get(region.position)
            if old is None:
                _append(container, [template.region_item(items.CONTAINS, region)])
            elif not _same_region(region, old):
                self._drop_control_points(group, container)
                copies = [item for item in tree_items(container) if _says(item, old)]
                for item in copies or filter(None, [self._item(region.position)]):
                    _replace(item, _region_like(item, region))

    def _drop_control_points(self, group: Group, container: Dataset) -> None:
        """Let go of what cornerstone would rebuild the shape from as it was; it is a contour like others now."""
        found = [
            item
            for item in tree_items(container)
            if _concept(item) in (key(concepts.CONTROL_POINTS), key(concepts.SPLINE_TYPE))
        ]
        self._removed.update(map(id, found))
        parts = group.tracking_identifier.split(":")
        if found and len(parts) == 3:
            self._set_text(container, concepts.TRACKING_IDENTIFIER, ":".join(parts[:2]), items.HAS_OBS_CONTEXT)

    def _change_measurements(self, group: Group, before: Group, container: Dataset) -> None:
        now = {one.position for one in group.measurements if one.position}
        for one in before.measurements:
            if one.position and one.position not in now:
                self._remove_measurement(one, group)
        known = {one.position: one for one in before.measurements}
        for one in group.measurements:
            old = known.get(one.position)
            if old is None and container.get("ValueType") == "CONTAINER":
                _append(container, [template.measurement_item(one)])
            elif old is None:
                self.warnings.append(
                    f"{before.label!r} is no measurement group of the report; {one.concept.meaning} cannot be written."
                )
            elif one.value != old.value or key(one.units) != key(old.units):
                self._set_value(one)

    def _remove_measurement(self, one: Measurement, group: Group) -> None:
        """Remove a number; coordinates below it that the group still has move up into the group."""
        item = self._item(one.position)
        below = [region for region in group.regions if region.position[: len(one.position)] == one.position]
        container = self._item(group.position)
        if item is None or container is None:
            return
        for region in below:
            inner = self._item(region.position)
            if inner is not None and id(inner) not in self._removed:
                inner.RelationshipType = items.CONTAINS
                if not inner.get("ConceptNameCodeSequence"):
                    inner.ConceptNameCodeSequence = [items.coded(concepts.IMAGE_REGION)]
                _append(container, [inner])
        self._remove(one.position)

    def _set_value(self, one: Measurement) -> None:
        item = self._item(one.position)
        if item is None:
            return
        made = items.number("", one.concept, one.value, one.units, qualifier=one.qualifier)
        item.MeasuredValueSequence = made.get("MeasuredValueSequence") or []
        item.pop("NumericValueQualifierCodeSequence", None)
        if "NumericValueQualifierCodeSequence" in made:
            item.NumericValueQualifierCodeSequence = made.NumericValueQualifierCodeSequence

    def _set_code(self, container: Dataset, concept: Code, value: Code | None) -> None:
        old = _child(container, concept)
        if value is None:
            self._removed.update([id(old)] if old is not None else [])
        elif old is not None and old.get("ValueType") == "CODE":
            old.ConceptCodeSequence = [items.coded(value)]
        else:
            self._removed.update([id(old)] if old is not None else [])
            _append(container, [items.code(items.CONTAINS, concept, value)])

    def _set_text(self, container: Dataset, concept: Code, value: str, relation: str) -> None:
        """Let a text be the only one of its concept: of several, a group says all in one (:class:`Group`)."""
        there = [one for one in container.get("ContentSequence") or () if _concept(one) == key(concept)]
        texts = [one for one in there if one.get("ValueType") == "TEXT"]
        kept = texts[:1] if value else []
        self._removed.update(id(one) for one in there if not any(one is other for other in kept))
        if kept:
            kept[0].TextValue = items.text(relation, concept, value).TextValue
        elif value:
            _append(container, [items.text(relation, concept, value)])

    def _warn_of_statements(self, group: Group, before: Group) -> None:
        """Warn of what was said of geometry below a text or a code, which no template lets have any statements."""
        names = [*(name for name, _ in _CODED), *(name for name, _, _ in _TEXTS)]
        edited = any(_said(group, name) != _said(before, name) for name in names)
        if edited or list(map(_site_key, group.sites)) != list(map(_site_key, before.sites)):
            self.warnings.append(
                f"{before.label!r} is no measurement group of the report; the name, comment and codes that it was "
                "given cannot be written."
            )

    def _set_sites(self, container: Dataset, sites: Sequence[Site]) -> None:
        content = container.get("ContentSequence") or ()
        old = [child for child in content if _concept(child) == key(concepts.FINDING_SITE)]
        self._removed.update(map(id, old))
        _append(container, list(template.site_items(sites)))

    # --- Items -------------------------------------------------------------------------------------------------------

    def _item(self, position: Position) -> Dataset | None:
        """Return the item at a position of the document as it was loaded; what is added goes behind all of it."""
        item = self.dataset
        for place in position[1:]:
            content = item.get("ContentSequence") or ()
            if not 1 <= place <= len(content):
                return None
            item = content[place - 1]
        return item

    def _remove(self, position: Position) -> None:
        item = self._item(position)
        if item is not None:
            self._removed.add(id(item))

    def _purge(self, dataset: Dataset) -> None:
        waiting = [dataset]
        while waiting:
            item = waiting.pop()
            content = item.get("ContentSequence")
            if not content:
                continue
            kept = [child for child in content if id(child) not in self._removed]
            if len(kept) < len(content):
                item.ContentSequence = kept
                if not kept:
                    del item.ContentSequence
            waiting.extend(kept)


def _replace(item: Dataset, made: Dataset) -> None:
    """Give an item other content; it stays the same object, to which others may refer."""
    for tag in list(item.keys()):
        del item[tag]
    item.update(made)


def _append(container: Dataset, new: Iterable[Dataset]) -> None:
    container.ContentSequence = [*(container.get("ContentSequence") or ()), *new]


def _target(item: Dataset) -> Position:
    value = item.get("ReferencedContentItemIdentifier")
    if value is None or value == "":
        return ()
    return tuple(int(place) for place in value) if isinstance(value, Sequence | list) else (int(value),)


def _concept(item: Dataset) -> tuple[str, str]:
    from dicombridge.codes import code_from_sequence

    return key(code_from_sequence(item, "ConceptNameCodeSequence"))


def _child(container: Dataset, concept: Code) -> Dataset | None:
    return next((one for one in container.get("ContentSequence") or () if _concept(one) == key(concept)), None)


def _said(group: Group, name: str) -> Any:
    value = getattr(group, name)
    return key(value) if isinstance(value, Code) else value or ""


def _site_key(site: Site) -> Any:
    return key(site.code), key(site.laterality), tuple(map(key, site.modifiers))


def _same_region(region: Region, old: Region) -> bool:
    if region.graphic is None or old.graphic is None:
        return region.graphic is old.graphic and np.array_equal(np.asarray(region.points), np.asarray(old.points))
    same = region.graphic.type == old.graphic.type and np.array_equal(region.graphic.data, old.graphic.data)
    return same and region.images == old.images


def _region_like(item: Dataset, region: Region) -> Dataset:
    """Return a region as an item with the relationship and the name of the one that it replaces."""
    relation = str(item.get("RelationshipType") or items.CONTAINS)
    made = template.region_item(relation, region)
    made.pop("ConceptNameCodeSequence", None)
    if item.get("ConceptNameCodeSequence"):
        made.ConceptNameCodeSequence = item.ConceptNameCodeSequence
    elif relation == items.CONTAINS:
        made.ConceptNameCodeSequence = [items.coded(concepts.IMAGE_REGION)]
    return made


def _says(item: Dataset, region: Region) -> bool:
    """Whether an item has the coordinates of a region: of several numbers, each may have its own copy of them."""
    graphic = region.graphic
    if graphic is None or item.get("ValueType") != ("SCOORD" if graphic.in_image else "SCOORD3D"):
        return False
    data = item.get("GraphicData")
    if data is None or item.get("GraphicType") != graphic.type:
        return False
    return np.array_equal(np.asarray(data, dtype=np.float64).ravel(), graphic.data.ravel())
