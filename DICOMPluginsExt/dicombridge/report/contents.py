"""Markups, segmentations and tables -> measurement groups that can be written.

Nodes that were loaded as one group are one group again; what has not moved is as it was, to the last digit. A new
node is a group of its own, a point list one a point; nodes with the same attribute ``DICOMBridge.GroupName`` are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dicombridge.errors import ExportError
from dicombridge.fiducials.positions import reference_volume
from dicombridge.output.source import Source, find_source, frame_of_reference, known_attributes
from dicombridge.registration.leading import frame_led_into
from dicombridge.report.groups import Group, Region
from dicombridge.report.image_coordinates import ImageStack, image_stack, in_image, in_space, required_in_image, why_not
from dicombridge.report.kept import MARKUPS_ROLE, REPORT_ROLE, WHOLE_NODE, KeptGroups, kept_groups
from dicombridge.report.markup_regions import NodeRegion, point_regions, regions_of
from dicombridge.report.nodes import GROUP_ARRAY
from dicombridge.report.regrouping import Draft, Part, group_again, new_group
from dicombridge.report.sheets import GROUP_COLUMN
from dicombridge.report.statistics import is_statistics_table, segment_groups, segmentation_of_table
from dicombridge.shadow import HEADER_ATTRIBUTE, remembered

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicombridge.database import Database

__all__ = ["GROUP_NAME_ATTRIBUTE", "ContentOptions", "Contents", "contents_of", "report_table_of"]

GROUP_NAME_ATTRIBUTE = "DICOMBridge.GroupName"
"""Attribute of new markups: those with the same text are one measurement group, of that Tracking Identifier."""
COORDINATES = ("image", "patient")
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
    """

    coordinates: str | None = None
    profile: str = "standard"
    segmentation: Any = None
    document: Sequence[Group] = ()


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
    """

    groups: list[Group]
    table: Any
    report_uid: str
    source: Source
    attributes: dict[str, Any]
    name: str
    kept: Dataset | None
    warnings: list[str] = field(default_factory=list)


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
        A node holds nothing that can be written, or the source cannot be used.
    """
    options = options or ContentOptions()
    if options.coordinates not in (None, *COORDINATES):
        raise ExportError(f"coordinates is 'image' or 'patient', not {options.coordinates!r}.")
    table = next(filter(None, map(report_table_of, nodes)), None)
    work = _Work(database, source, options)
    shown = list(_with_markups(nodes))
    statistics = next(filter(is_statistics_table, shown), None)
    if statistics is not None and not any(node.IsA("vtkMRMLSegmentationNode") for node in shown):
        shown.append(segmentation_of_table(statistics))
    for node in shown:
        if node.IsA("vtkMRMLMarkupsNode") or node.IsA("vtkMRMLModelNode"):
            work.add(node)
    groups = work.groups(everything=table is not None and any(node is table for node in nodes))
    for node in shown:
        if node.IsA("vtkMRMLSegmentationNode"):
            groups += work.segments(node, statistics, len(groups))
        elif not _is_known(node):
            raise ExportError(f"A {node.GetClassName()} cannot be exported in a structured report.")
    if not groups:
        raise ExportError(f"There is nothing to report in {', '.join(repr(node.GetName()) for node in nodes)}.")
    main = table if table is not None else shown[0]
    found = work.first_source(main)
    return Contents(
        groups,
        table,
        work.report_uid,
        found,
        known_attributes(main, found),
        str(main.GetName() or ""),
        remembered(table) if table is not None else None,
        list(dict.fromkeys(work.warnings)),
    )


def report_table_of(node: Any) -> Any | None:
    """Return the main table of the report that a node comes from, None for a new one."""
    if node.GetNodeReference(REPORT_ROLE) is not None:
        return node.GetNodeReference(REPORT_ROLE)
    is_main = node.GetNumberOfNodeReferences(MARKUPS_ROLE) > 0 or _has_groups(node)
    return node if is_main and node.GetAttribute(HEADER_ATTRIBUTE) else None


def _has_groups(node: Any) -> bool:
    """Whether a node is the table of a report's groups; one of segments alone has no markups."""
    is_of_report = node.IsA("vtkMRMLTableNode") and node.GetAttribute("DICOMBridge.Kind") == "SR"
    return bool(is_of_report and node.GetTable().GetColumnByName(GROUP_COLUMN) is not None)


def _with_markups(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield nodes, each once, and the markups that main tables among them are shown by."""
    seen = set()
    for node in nodes:
        count = node.GetNumberOfNodeReferences(MARKUPS_ROLE)
        for one in (node, *(node.GetNthNodeReference(MARKUPS_ROLE, number) for number in range(count))):
            if one is not None and one not in seen:
                seen.add(one)
                yield one


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
        part = Part(node, numbers, regions, str(node.GetName() or ""), _comment_of(node), found)
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
            part = Part(node, (0,) if loaded else (), placed, label, comment, found)
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

    def groups(self, everything: bool) -> list[Group]:
        """Return the groups; with ``everything``, those too that no node can show."""
        loaded = {draft.kept.number for draft in self._drafts.values() if draft.kept is not None}
        found = [
            group_again(one.kept, one.parts, self.warnings) for one in self._drafts.values() if one.kept is not None
        ]
        if everything:
            unseen = (group for number, group in self._document.items() if number not in loaded)
            found += [group for group in unseen if not any(region.points is not None for region in group.regions)]
        found.sort(key=lambda group: group.number)
        last = found[-1].number if found else 0
        new = [draft for draft in self._drafts.values() if draft.kept is None]
        found += [new_group(draft, last + place, self.warnings) for place, draft in enumerate(new, start=1)]
        return found

    def segments(self, node: Any, table: Any, before: int) -> list[Group]:
        """Return a group a segment of a segmentation."""
        found = self._source_of(node, None)
        groups = segment_groups(node, table, found.volume, self._options.segmentation, self.warnings)
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
