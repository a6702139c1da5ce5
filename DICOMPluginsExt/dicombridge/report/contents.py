"""Markups, segmentations and tables -> measurement groups that can be written.

Nodes that were loaded as one group are one group again; what has not moved is as it was, to the last digit. A new
node is a group of its own, a point list one a point; nodes with the same attribute ``DICOMBridge.GroupName`` are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.fiducials.positions import reference_volume
from dicombridge.output.source import Source, find_source, frame_of_reference, known_attributes
from dicombridge.registration.leading import frame_led_into
from dicombridge.report.content import InstanceReference
from dicombridge.report.groups import Group, Region
from dicombridge.report.image_coordinates import ImageStack, image_stack, in_image, in_space, required_in_image, why_not
from dicombridge.report.kept import (
    MARKUPS_ROLE,
    REPORT_ROLE,
    SHOWN_ATTRIBUTE,
    WHOLE_NODE,
    KeptGroups,
    kept_groups,
)
from dicombridge.report.markup_regions import NodeRegion, point_regions, regions_of
from dicombridge.report.nodes import GROUP_ARRAY
from dicombridge.report.regrouping import Draft, Part, group_again, names_of, new_group
from dicombridge.report.statistics import is_statistics_table, segment_groups, tables_of_segmentations
from dicombridge.shadow import HEADER_ATTRIBUTE, remembered

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from dicombridge.database import Database
    from dicombridge.image.series import SourceGrid

__all__ = ["COORDINATES", "GROUP_NAME_ATTRIBUTE", "ContentOptions", "Contents", "contents_of", "report_table_of"]

GROUP_NAME_ATTRIBUTE = "DICOMBridge.GroupName"
"""Attribute of new markups: those with the same text are one measurement group, of that Tracking Identifier."""
COORDINATES = ("patient", "image")
MOST_IMAGES = 500
"""Images of a series that a report names where its regions lie in none of them."""
CLOUD = "vtkMRMLMarkupsFiducialNode"
_PASSED_OVER = ("vtkMRMLVolumeNode", "vtkMRMLTextNode", "vtkMRMLTableNode")
"""What may be among the nodes, but is no content of its own."""


@dataclass(frozen=True)
class ContentOptions:
    """How nodes become content.

    Attributes
    ----------
    coordinates
        ``"image"``: columns and rows of the source images, where regions lie in one. ``"patient"``: coordinates in
        space. None: as regions were loaded, in space where they are new.
    profile
        ``"ohif"`` takes coordinates in images alone.
    segmentation
        Path of the DICOM segmentation to which the segmentation node was written.
    document
        All groups of the report that the nodes come from, where it is at hand: nodes of very many points do not keep
        theirs, and groups that no node shows (segments, missing images) are taken from it with the report's table.
    volume
        Scalar volume node in which segments without a table are measured; None for that of the source images.
    """

    coordinates: str | None = None
    profile: str = "standard"
    segmentation: Any = None
    document: Sequence[Group] = ()
    volume: Any = None


@dataclass
class Contents:
    """All that a report holds.

    Attributes
    ----------
    groups
        Loaded ones first, under the numbers that they had, then new ones.
    table
        Main table of the report that nodes come from; None for a new report.
    report_uid
        SOP Instance UID of that report; empty for a new one.
    source
        The images that it is about.
    attributes
        What the subject hierarchy knows of patient and study, by DICOM keyword.
    kept
        Header of the report that nodes come from.
    segmentations
        Segmentation nodes whose segments are among the groups.
    sources
        All images that nodes belong to, ``source`` among them.
    library
        Images in whose slices regions in patient coordinates lie, which name none themselves.
    """

    groups: list[Group]
    table: Any
    report_uid: str
    source: Source
    attributes: dict[str, Any]
    name: str
    kept: Dataset | None
    warnings: list[str] = field(default_factory=list)
    segmentations: list[Any] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    library: list[InstanceReference] = field(default_factory=list)


def contents_of(
    nodes: Sequence[Any], database: Database | None, source: Any = None, options: ContentOptions | None = None
) -> Contents:
    """Return what nodes hold, group by group.

    Parameters
    ----------
    nodes
        Markups, models of loaded regions, segmentations (with a table of Segment Statistics, or measured here), and the
        main table of a loaded report, which brings the markups that show it. Volumes and texts are passed over.
    source
        As :func:`dicombridge.output.source.find_source` takes it.

    Raises
    ------
    ExportError
        A node holds nothing that can be written, or the source or the volume cannot be used.
    """
    options = options or ContentOptions()
    _check_volume(options.volume)
    if options.coordinates not in (None, *COORDINATES):
        raise ExportError(f"coordinates is 'image' or 'patient', not {options.coordinates!r}.")
    table = next(filter(None, map(report_table_of, nodes)), None)
    work = _Work(database, source, options)
    shown = list(_with_markups(nodes))
    statistics = _statistics(shown, work.warnings)
    shown += [node for node in statistics if node not in shown]
    for node in shown:
        if node.IsA("vtkMRMLMarkupsNode") or node.IsA("vtkMRMLModelNode"):
            work.add(node)
    groups = work.groups(table if table is not None and any(node is table for node in nodes) else None)
    for node in shown:
        if node.IsA("vtkMRMLSegmentationNode"):
            groups += work.segments(node, statistics.get(node), len(groups))
        elif not _is_known(node):
            raise ExportError(f"A {node.GetClassName()} cannot be exported in a structured report.")
    if not groups:
        raise ExportError(f"There is nothing to report in {', '.join(repr(node.GetName()) for node in nodes)}.")
    main = table if table is not None else shown[0]
    found = work.first_source(main)
    sources = work.sources(found)
    return Contents(
        groups,
        table,
        work.report_uid,
        found,
        known_attributes(main, found),
        str(main.GetName() or ""),
        remembered(table) if table is not None else None,
        list(dict.fromkeys(work.warnings)),
        [node for node in shown if node.IsA("vtkMRMLSegmentationNode")],
        sources,
        _images_of_regions(sources, groups),
    )


def _check_volume(volume: Any) -> None:
    if volume is None or (hasattr(volume, "IsA") and volume.IsA("vtkMRMLScalarVolumeNode")):
        return
    named = f"a {volume.GetClassName()}" if hasattr(volume, "GetClassName") else repr(volume)
    raise ExportError(f"volume is the scalar volume node that segments are measured in, not {named}.")


def _statistics(nodes: Sequence[Any], warnings: list[str]) -> dict[Any, Any]:
    """Return the table of Segment Statistics of each segmentation that has one; warn of other tables."""
    tables = [node for node in nodes if node.IsA("vtkMRMLTableNode") and report_table_of(node) is None]
    measured = [table for table in tables if is_statistics_table(table)]
    segmentations = [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]
    found = tables_of_segmentations(measured, segmentations)
    lost = [table for table in tables if not any(table is one for one in found.values())]
    for table in lost:
        reason = "its segmentation has a table already" if table in measured else "it is no table of Segment Statistics"
        warnings.append(f"{table.GetName()!r} was passed over: {reason}.")
    return found


def report_table_of(node: Any) -> Any | None:
    """Return the main table of the report that a node comes from, None for a new one."""
    if node.GetNodeReference(REPORT_ROLE) is not None:
        return node.GetNodeReference(REPORT_ROLE)
    is_main = node.GetNumberOfNodeReferences(MARKUPS_ROLE) > 0 or _is_of_report(node)
    return node if is_main and node.GetAttribute(HEADER_ATTRIBUTE) else None


def _is_of_report(node: Any) -> bool:
    """Whether a node is a table of a report; a report of segments alone, or without any groups, has no markups."""
    return bool(node.IsA("vtkMRMLTableNode") and node.GetAttribute("DICOMBridge.Kind") == "SR")


def _with_markups(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield nodes, each once, and the markups that main tables among them are shown by."""
    seen = set()
    for node in nodes:
        count = node.GetNumberOfNodeReferences(MARKUPS_ROLE)
        for one in (node, *(node.GetNthNodeReference(MARKUPS_ROLE, number) for number in range(count))):
            if one is not None and one not in seen:
                seen.add(one)
                yield one


def _images_of_regions(sources: Sequence[Source], groups: Sequence[Group]) -> list[InstanceReference]:
    """Return the images in whose slices regions in patient coordinates lie; all of a series, where none lies in any."""
    regions = [one for group in groups for one in group.regions if one.graphic is None or not one.graphic.in_image]
    regions = [one for one in regions if one.points is not None]
    found: dict[str, InstanceReference] = {}
    for source in sources if regions or any(group.segments for group in groups) else ():
        grid = source.grid
        if grid is None or source.header is None:
            continue
        frame = source.header.get("FrameOfReferenceUID")
        here = [np.asarray(one.points) for one in regions if one.frame_of_reference_uid == frame]
        slices = {number for points in here for number in _slices(grid, points)}
        for number in sorted(slices) or range(min(len(grid.instance_uids), MOST_IMAGES)):
            uid, frames = grid.instance_uids[number], (grid.frame_numbers[number],) if grid.frame_numbers else ()
            before = found.get(uid)
            if uid and (before is None or set(frames) - set(before.frames)):
                named = (*(before.frames if before is not None else ()), *frames)
                found[uid] = InstanceReference(grid.sop_class_uid, uid, named)
    return list(found.values())


def _slices(grid: SourceGrid, points: NDArray[np.float64]) -> range:
    """Return the slices of a grid from the first to the last that points (n, 3), LPS mm, lie in."""
    inverse = np.linalg.inv(np.asarray(grid.geometry.affine, dtype=np.float64))
    numbers = np.rint(points @ inverse[0, :3] + inverse[0, 3])
    return range(max(int(numbers.min()), 0), min(int(numbers.max()) + 1, len(grid.instance_uids)))


def _is_known(node: Any) -> bool:
    return any(node.IsA(name) for name in ("vtkMRMLMarkupsNode", "vtkMRMLModelNode", *_PASSED_OVER))


# --- Collecting ------------------------------------------------------------------------------------------------------


class _Work:
    """Collects parts of groups from nodes."""

    def __init__(self, database: Database | None, source: Any, options: ContentOptions) -> None:
        self.warnings: list[str] = []
        self.report_uid = ""
        self._database = database
        self._given = source
        self._options = options
        self._document = {group.number: group for group in options.document}
        self._sources: dict[Any, Source] = {}
        self._frames: dict[Any, str] = {}
        self._stacks: dict[Any, ImageStack] = {}
        self._drafts: dict[Any, Draft] = {}

    def add(self, node: Any) -> None:
        """Collect what a node shows."""
        kept = kept_groups(node)
        if kept is None and node.IsA("vtkMRMLModelNode") and report_table_of(node) is not None:
            self._add_shapes(node)
            return
        found = self._source_of(node, kept)
        frame = self._frame_of(node, kept, found)
        self.report_uid = self.report_uid or (kept.report if kept is not None else "")
        whole = self._whole(kept.groups.get(WHOLE_NODE)) if kept is not None else None
        if node.IsA(CLOUD) and not _is_one_region(kept, whole):
            self._add_points(node, kept, whole, found, frame)
            return
        numbers = kept.regions if kept is not None and whole is not None else ()
        numbers = tuple(number for number in numbers if whole is not None and number < len(whole.regions))
        before = [whole.regions[number] for number in numbers] if whole is not None else []
        usable = before if _in_frame(before, frame) else []
        regions = regions_of(node, found.volume, frame, usable, self.warnings)
        placed = [self._placed(node, one, before, found) for one in regions]
        # Faces of a box of which some lie in a slice by chance are one surface, which is in space.
        in_images = {one.region.graphic is not None and one.region.graphic.in_image for one in placed}
        regions = placed if len(in_images) == 1 else regions
        called = (kept.name,) if kept is not None and kept.name else ()
        part = Part(node, numbers, regions, str(node.GetName() or ""), _comment_of(node), found, called)
        self._join(part, kept, whole, node.GetID())

    def _add_shapes(self, node: Any) -> None:
        """Collect the groups of a model of very many shapes, which cannot be edited but deleted as a whole.

        Raises
        ------
        ExportError
            It lies under a transform.
        """
        if node.GetParentTransformNode() is not None:
            raise ExportError(
                f"{node.GetName()!r} shows many measurement groups at once and cannot be moved; load the report again "
                "with more markups (most_markups=...), or take it from under its transform."
            )
        array = node.GetPolyData().GetCellData().GetArray(GROUP_ARRAY) if node.GetPolyData() is not None else None
        numbers = {int(array.GetValue(cell)) for cell in range(array.GetNumberOfTuples())} if array is not None else ()
        found = self._source_of(node, None)
        for number in sorted(numbers):
            group = self._document.get(number)
            if group is not None:
                regions = [NodeRegion(region, False) for region in group.regions]
                draft = self._drafts.setdefault(("kept", self.report_uid, number), Draft(group, group.label))
                draft.parts.append(Part(node, tuple(range(len(regions))), regions, group.label, "", found))

    def _add_points(self, node: Any, kept: KeptGroups | None, whole: Group | None, found: Source, frame: str) -> None:
        """Collect the points of a list, each of which is a group, or one of the points of a group."""
        known = dict(kept.groups) if kept is not None else {}
        name = str(node.GetName() or "")
        # Of a node that shows one point, either the node or the point may have been renamed.
        renamed = whole is not None and kept is not None and bool(kept.name) and name != kept.name
        if whole is not None and node.GetNumberOfControlPoints():
            known = {str(node.GetNthControlPointID(0)): whole}
        before = {point: group.regions[0] for point, group in known.items() if group.regions}
        usable = {point: region for point, region in before.items() if _in_frame([region], frame)}
        for number, one in point_regions(node, found.volume, frame, usable, self.warnings):
            point = str(node.GetNthControlPointID(number))
            group = known.get(point)
            loaded = [before[point]] if point in before else []
            label = str(node.GetNthControlPointLabel(number) or f"{node.GetName()}-{number + 1}")
            comment = str(node.GetNthControlPointDescription(number) or "")
            placed = [self._placed(node, one, loaded, found)]
            called = names_of(group, kept.regions if kept is not None else ()) if group is not None else ()
            if renamed and label in called:
                label = name
            part = Part(node, (0,) if loaded else (), placed, label, comment, found, called)
            self._join(part, kept, group, f"{node.GetID()} {point}")

    def _whole(self, group: Group | None) -> Group | None:
        """Return a kept group; of one that was too large to be kept with its regions, that of the document."""
        if group is None or group.regions:
            return group
        return self._document.get(group.number, group)

    def _join(self, part: Part, kept: KeptGroups | None, group: Group | None, own: str) -> None:
        """Let a part be of the group that it was loaded as, or of a new one."""
        if kept is not None and group is not None:
            draft = self._drafts.setdefault(("kept", kept.report, group.number), Draft(group, group.label))
            if not any(set(other.numbers) & set(part.numbers) for other in draft.parts):
                draft.parts.append(part)
                return
            # Somebody copied a node: the copy is another finding.
            part = replace(part, numbers=())
        name = str(part.node.GetAttribute(GROUP_NAME_ATTRIBUTE) or "").strip()
        new = self._drafts.setdefault(("named", name) if name else ("new", own), Draft(None, name))
        new.parts.append(part)

    # --- Where parts are ---------------------------------------------------------------------------------------------

    def _source_of(self, node: Any, kept: KeptGroups | None) -> Source:
        """Return the images of a node; those of a report, and those that the caller names, are looked up once."""
        led, given = bool(frame_led_into(node)), self._given
        asked = node if kept is None or led else report_table_of(node) or node
        if given is None and kept is None and not led and node.IsA("vtkMRMLMarkupsNode"):
            given = reference_volume(node)
        lookup = asked.GetID() if led or given is None else given.GetID() if self._given is None else "given"
        if lookup not in self._sources:
            self._sources[lookup] = find_source(asked, self._database, given)
            if self._given is not None:
                self.warnings.extend(self._sources[lookup].warnings)
        return self._sources[lookup]

    def sources(self, first: Source) -> list[Source]:
        """Return the images of all nodes, those that the report is about first."""
        return [first, *(one for one in self._sources.values() if one is not first)]

    def first_source(self, node: Any) -> Source:
        """Return the images that the report is about: those of its first group."""
        return next(iter(self._sources.values()), None) or find_source(node, self._database, self._given)

    def _frame_of(self, node: Any, kept: KeptGroups | None, found: Source) -> str:
        """Return the frame of reference in which the node's points are written."""
        before = _kept_frame(kept)
        if self._given is None:
            fixed = frame_led_into(node)
            if fixed:
                return fixed
            if before:
                if node.GetParentTransformNode() is not None:
                    self.warnings.append(
                        f"{node.GetName()!r} is under a transform that does not say into which frame of reference it "
                        "leads; its points were written where they are now, in the frame of reference that they had."
                    )
                return before
        if found.header is None:
            uid = known_attributes(node, found).get("FrameOfReferenceUID") or before
            if uid:
                return str(uid)
        # One made up for all nodes of these images, not one for each.
        lookup = id(found) if found.header is not None else "none"
        if lookup not in self._frames:
            self._frames[lookup] = frame_of_reference(node, found, None)
        return self._frames[lookup]

    def _placed(self, node: Any, one: NodeRegion, before: Sequence[Region], found: Source) -> NodeRegion:
        """Return a region in the coordinates that are wanted: of an image, or in space."""
        options, region = self._options, one.region
        required = options.profile == "ohif"
        if options.coordinates == "patient" and not required:
            return replace(one, region=in_space(region))
        was_in_image = any(other.graphic is not None and other.graphic.in_image for other in before)
        if not (required or options.coordinates == "image" or was_in_image):
            return one
        images = {image.sop_instance_uid for other in before for image in other.images}
        stack = self._stack(found, images)
        if required:
            return replace(one, region=required_in_image(region, stack, str(node.GetName()), images))
        placed = in_image(region, stack, images)
        if placed is None:
            self.warnings.append(
                f"{node.GetName()!r} {why_not(region, stack)}; it was written with coordinates in space (SCOORD3D)."
            )
        return replace(one, region=placed or region)

    def _stack(self, found: Source, images: set[str]) -> ImageStack:
        lookup = (id(found), frozenset(images))
        if lookup not in self._stacks:
            self._stacks[lookup] = image_stack(found, self._database, images)
        return self._stacks[lookup]

    # --- Groups ------------------------------------------------------------------------------------------------------

    def groups(self, table: Any) -> list[Group]:
        """Return the groups; with the report's table, those too that no node showed when the report was loaded."""
        loaded = {draft.kept.number for draft in self._drafts.values() if draft.kept is not None}
        found = [
            group_again(one.kept, one.parts, self.warnings) for one in self._drafts.values() if one.kept is not None
        ]
        if table is not None:
            deleted = self._shown_at_load(table) - loaded
            found += [group for number, group in self._document.items() if number not in deleted | loaded]
        found.sort(key=lambda group: group.number)
        last = found[-1].number if found else 0
        new = [draft for draft in self._drafts.values() if draft.kept is None]
        found += [new_group(draft, last + place, self.warnings) for place, draft in enumerate(new, start=1)]
        return found

    def _shown_at_load(self, table: Any) -> set[int]:
        """Return the numbers of the groups that had nodes: what has none now, the user deleted."""
        said = table.GetAttribute(SHOWN_ATTRIBUTE)
        if said is not None:
            return {int(number) for number in str(said).split() if number.isdigit()}
        # A scene of an earlier version does not say; then it is what could be shown now.
        with_place = (
            number
            for number, group in self._document.items()
            if any(region.points is not None for region in group.regions)
        )
        return set(with_place)

    def segments(self, node: Any, table: Any, before: int) -> list[Group]:
        """Return a group a segment of a segmentation."""
        found = self._source_of(node, None)
        volume = self._options.volume or found.volume
        groups = segment_groups(node, table, volume, self._options.segmentation, self.warnings)
        for group in groups:
            group.number += before
            if not group.source_series and found.series_instance_uid:
                group.source_series = [found.series_instance_uid]
        return groups


def _comment_of(node: Any) -> str:
    """Return what the user says of a node: markups write their measurements into their own description."""
    if not node.IsA("vtkMRMLMarkupsNode"):
        return str(node.GetDescription() or "")
    return str(node.GetNthControlPointDescription(0) or "") if node.GetNumberOfControlPoints() else ""


def _is_one_region(kept: KeptGroups | None, whole: Group | None) -> bool:
    """Whether a point list was loaded as one region of many points."""
    if kept is None or whole is None:
        return False
    return any(number < len(whole.regions) and whole.regions[number].type == "MULTIPOINT" for number in kept.regions)


def _kept_frame(kept: KeptGroups | None) -> str:
    groups = kept.groups.values() if kept is not None else ()
    frames = (region.frame_of_reference_uid for group in groups for region in group.regions)
    return next(filter(None, frames), "")


def _in_frame(regions: Sequence[Region], frame: str) -> bool:
    return all(region.frame_of_reference_uid in ("", frame) for region in regions)
