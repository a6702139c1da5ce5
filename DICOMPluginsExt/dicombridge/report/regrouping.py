"""What nodes show -> one measurement group: a new one, or a loaded one as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dicombridge.codes import Terminology, parse_terminology
from dicombridge.output.source import Source
from dicombridge.report.concepts import VOLUME_SURFACE, key
from dicombridge.report.groups import Group, Region, Site
from dicombridge.report.markup_regions import NodeRegion, kind_of_node
from dicombridge.report.measuring import group_remeasured, measurements_of
from dicombridge.report.nodes import TERMINOLOGY_ATTRIBUTE, terminology_of_group
from dicombridge.report.sheets import measurement_name
from dicombridge.report.statistics import sites_of
from dicombridge.text import node_name, plain_text

__all__ = ["Draft", "Part", "group_again", "names_of", "new_group"]


@dataclass(frozen=True, eq=False)
class Part:
    """What one node, or one control point, shows of a group.

    Attributes
    ----------
    numbers
        Of the group's loaded regions; empty for a new node.
    label, comment
        What the user calls it, and says of it.
    called
        What loading called it: any of these; empty where nothing is known of that.
    """

    node: Any
    numbers: tuple[int, ...]
    regions: list[NodeRegion]
    label: str
    comment: str
    source: Source
    called: tuple[str, ...] = ()


@dataclass
class Draft:
    """A group to be: what it was loaded as, and the parts that show it now."""

    kept: Group | None
    name: str
    parts: list[Part] = field(default_factory=list)


# --- Groups that are new ---------------------------------------------------------------------------------------------


def new_group(draft: Draft, number: int, warnings: list[str]) -> Group:
    """Return the group of nodes that were made here."""
    first = draft.parts[0]
    regions = [one.region for part in draft.parts for one in part.regions]
    codes = next(filter(None, (_codes(part.node, warnings) for part in draft.parts)), None)
    is_volume = any(key(region.purpose) == key(VOLUME_SURFACE) for region in regions)
    series = first.source.series_instance_uid
    return Group(
        number,
        tracking_identifier=plain_text(draft.name or first.label) or f"Group {number}",
        category=codes.category if codes is not None else None,
        finding=codes.type if codes is not None else None,
        sites=sites_of(codes) if codes is not None else (),
        comment=plain_text("; ".join(dict.fromkeys(part.comment for part in draft.parts if part.comment))),
        measurements=measurements_of(regions, "arms" if _says_cobb(draft.name) else _kind_of(draft.parts)),
        regions=regions,
        source_series=[series] if is_volume and series else [],
    )


def _says_cobb(name: str) -> bool:
    """Whether the user calls a group of lines a Cobb angle, as geometry alone cannot tell a wide one from two axes."""
    return "cobb" in name.lower()


def _codes(node: Any, warnings: list[str]) -> Terminology | None:
    """Return what the user says of a node in terms of Slicer's terminologies."""
    codes = parse_terminology(node.GetAttribute(TERMINOLOGY_ATTRIBUTE))
    if codes is not None and codes.type_modifier is not None:
        warnings.append(
            f"{node.GetName()!r}: a finding has no modifier in a measurement report; {codes.type_modifier.meaning!r} "
            "was left out. Say it of the anatomic region, where it is a side of that."
        )
    return codes


# --- Groups that were loaded -----------------------------------------------------------------------------------------


def group_again(kept: Group, parts: Sequence[Part], warnings: list[str]) -> Group:
    """Return a loaded group as its nodes are now; what is not as the user may think is appended to ``warnings``."""
    regions, places, moved = _regions_again(kept, parts)
    measurements, said = group_remeasured(kept, regions, places, moved, _kind_of(parts))
    warnings += said
    group = replace(kept, regions=regions, measurements=measurements)
    _rename(group, kept, parts)
    for part in parts:
        _say_codes(group, kept, part.node, warnings)
    return group


def _kind_of(parts: Sequence[Part]) -> str:
    kinds = {kind_of_node(part.node) for part in parts}
    return kinds.pop() if len(kinds) == 1 else ""


def _regions_again(kept: Group, parts: Sequence[Part]) -> tuple[list[Region], dict[int, tuple[int, ...]], set[int]]:
    """Return the regions in their order, where each of the loaded ones is among them, and which have moved."""
    showing = {number: part for part in parts for number in part.numbers}
    regions: list[Region] = []
    places: dict[int, tuple[int, ...]] = {}
    moved: set[int] = set()
    for number, before in enumerate(kept.regions):
        part = showing.get(number)
        if number in places or (part is None and before.points is not None):
            continue  # done with its node, or the user deleted it
        now = part.regions if part is not None else [NodeRegion(before, False)]
        numbers = part.numbers if part is not None else (number,)
        new = tuple(range(len(regions), len(regions) + len(now)))
        regions += [one.region for one in now]
        for place, of_node in enumerate(numbers):
            places[of_node] = (new[place],) if len(new) == len(numbers) else new
        moved.update(numbers if any(one.moved for one in now) else ())
    for part in parts:
        if not part.numbers:
            regions += [one.region for one in part.regions]
    return regions, places, moved


def _rename(group: Group, kept: Group, parts: Sequence[Part]) -> None:
    """Give a group the name and comment that the user gave its node since it was loaded."""
    name = next((plain_text(part.label) for part in parts if _is_renamed(part, kept)), "")
    if name and kept.tracking_identifier.lower().startswith("cornerstone"):
        group.comment = name  # its identifier names the tool, its label is the comment
    elif name:
        group.tracking_identifier = name
    said = next((part.comment for part in parts if part.comment), "")
    if said and said != plain_text(kept.comment):
        group.comment = plain_text(said)


def _is_renamed(part: Part, kept: Group) -> bool:
    """Whether the user called a part otherwise since it was loaded; a part that joined the group later says nothing."""
    if not part.label.strip() or not part.numbers:
        return False
    if part.called:
        return part.label not in part.called
    # A scene of an earlier version does not say what a node was called: its label is in it.
    return node_name(kept.label) not in node_name(part.label)


def names_of(group: Group, regions: Sequence[int] = ()) -> tuple[str, ...]:
    """Return what loading may have labelled a point that shows a group, or one of several regions of it."""
    label = group.label
    names = [label, *(f"{label} ({number + 1})" for number in regions)]
    names += [f"{label} - {measurement_name(one)}" for one in group.measurements]
    return tuple(dict.fromkeys(map(plain_text, names)))


def _say_codes(group: Group, kept: Group, node: Any, warnings: list[str]) -> None:
    """Give a group the codes that were set on a node since it was loaded; the others stay as they were."""
    shown = plain_text(terminology_of_group(kept))
    said = str(node.GetAttribute(TERMINOLOGY_ATTRIBUTE) or "")
    now = _codes(node, warnings) if said and said != shown else None
    if now is None:
        return
    before = parse_terminology(shown) or Terminology(None, None)
    if key(now.category) != key(before.category):
        group.category = now.category
    if key(now.type) != key(before.type):
        group.finding = now.type
    if (key(now.region), key(now.region_modifier)) != (key(before.region), key(before.region_modifier)):
        others: tuple[Site, ...] = kept.sites[1:]
        group.sites = (*sites_of(now), *others)
