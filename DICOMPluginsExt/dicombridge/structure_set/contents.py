"""From nodes to regions that can be written: descriptions, names, numbers and contours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.codes import DEFAULT_CATEGORY, DEFAULT_TYPE, Terminology
from dicombridge.errors import ExportError
from dicombridge.kinds import kind_of_sop_class
from dicombridge.output.source import (
    SliceSources,
    find_source,
    frame_of_reference,
    instances_to_name,
    known_attributes,
    slice_sources,
)
from dicombridge.progress import Progress, part
from dicombridge.references import Reference
from dicombridge.segmentation.nodes import BINARY_LABELMAP, remembered_number, segment_of_node
from dicombridge.segmentation.preparing import node_labels
from dicombridge.segmentation.segments import Segment
from dicombridge.shadow import dataset_from_text, remembered
from dicombridge.structure_set.drawn import is_in_place, markups_contours, same_markups
from dicombridge.structure_set.encoding import Contour, PlaneText, implicit, roi_contour_item
from dicombridge.structure_set.kept import ITEMS_ARRAY, KeptContours, is_unedited, kept_contours
from dicombridge.structure_set.nodes import (
    OBSERVATIONS_TAG,
    ROI_NUMBER_ATTRIBUTE,
    ROI_NUMBER_TAG,
    SEGMENT_ID_ATTRIBUTE,
    STRUCTURE_SET_ROI_TAG,
    TEXT_TAGS,
    segment_tag,
)
from dicombridge.structure_set.rois import Description, renumbered, unique_names
from dicombridge.structure_set.tracing import plane_texts, trace

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.segmentation.arrays import NodeLabels
    from dicombridge.structure_set.exporting import Settings

__all__ = ["Contents", "Region", "contents_of"]

RT_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
IMAGE_POSITION = "0020,0032"
CLOSED_SURFACE = "Closed surface"
NO_IMAGES = ("RTPLAN", "RTRECORD", "RTSECOND", "RTSTRUCT", "SEG")
"""Kinds of objects that structure sets refer to, but not as what contours lie on."""


@dataclass
class Region:
    """A region of interest as it will be written.

    Attributes
    ----------
    description
        All but its contours; its segment's number is the ROI Number.
    frame_of_reference_uid
        Of its coordinates.
    name
        ROI Name.
    contours
        Its contours, in the order in which they are written.
    kept
        Its items of the ROI Contour Sequence as they came, where they are written again; None where they are not.
    """

    description: Description
    frame_of_reference_uid: str = ""
    name: str = ""
    contours: list[Contour] = field(default_factory=list)
    kept: KeptContours | None = None

    def contour_items(self) -> Iterator[bytes]:
        """Yield its items of the ROI Contour Sequence."""
        rgb = self.description.segment.rgb
        colour = [round(255 * min(max(part, 0.0), 1.0)) for part in rgb] if rgb is not None else None
        number = self.description.segment.number
        if self.kept is None or not self.kept.items:
            yield roi_contour_item(number, colour, self.contours)
            return
        for item in self.kept.items:
            yield roi_contour_item(number, colour, (), implicit(item, self.kept.implicit_vr))

    @property
    def is_empty(self) -> bool:
        """Whether it has no contour."""
        return not self.contours and (self.kept is None or not any(len(part) for part in self.kept.values))


@dataclass
class Contents:
    """All that a structure set is made from.

    Attributes
    ----------
    name
        Of the main node.
    kept
        Header of the structure set that the main node was loaded from; None if it was not.
    origin
        A header that tells patient and study: of an image, else of the object that the main node was loaded from.
    attributes
        What the subject hierarchy knows of patient and study.
    references
        Images that are referred to, by Frame of Reference UID; that of the main node first.
    regions
        Regions in their order.
    warnings
        What is not as the user may think.
    """

    name: str
    kept: Dataset | None
    origin: Dataset | None
    attributes: Mapping[str, Any]
    references: dict[str, list[Reference]] = field(default_factory=dict)
    regions: list[Region] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def contents_of(
    nodes: Sequence[Any], database: Database | None, settings: Settings, progress: Progress | None
) -> Contents:
    """Return what nodes hold, as regions of one structure set.

    Parameters
    ----------
    nodes
        The main node first: a segmentation, if there is one.

    Raises
    ------
    ExportError
        The nodes cannot be written as asked.
    """
    segmentations = [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]
    markups = [node for node in nodes if node.IsA("vtkMRMLMarkupsNode")]
    share = 0.9 / max(len(segmentations), 1)
    works = [
        _Work(node, database, settings, part(progress, number * share, share))
        for number, node in enumerate(segmentations or nodes[:1])
    ]
    first = works[0]
    contents = Contents(
        str(nodes[0].GetName() or ""),
        first.kept_header,
        first.source.header if first.source.header is not None else remembered(nodes[0]),
        known_attributes(nodes[0], first.source),
    )
    regions: list[Region] = []
    loose = list(markups)
    for work in works if segmentations else ():
        mine = [node for node in loose if work.owns(node)]
        loose = [node for node in loose if node not in mine]
        regions += work.segments(mine)
    for node in nodes:
        if node.IsA("vtkMRMLModelNode"):
            regions += first.model(node)
    regions += [first.markups(node) for node in loose]
    for work in works:
        others = {uid for other in works if other is not work for uid in other.image_uids} - work.image_uids
        references = contents.references.setdefault(work.frame_of_reference_uid, [])
        named = [one for one in work.references() if one.sop_instance_uid not in others]
        references += [one for one in named if one not in references]
        contents.warnings += work.warnings
    contents.regions = _finished(regions, settings, contents.warnings)
    return contents


def _finished(regions: Sequence[Region], settings: Settings, warnings: list[str]) -> list[Region]:
    """Return the regions that are written, with names and numbers that differ."""
    if not settings.profile.empty:
        for region in regions:
            if region.is_empty:
                warnings.append(f"{region.description.segment.label!r} has no contours and was left out.")
        regions = [region for region in regions if not region.is_empty]
    if not regions:
        raise ExportError("There is nothing to export: no segment, no markups and no surface.")
    names, told = unique_names([region.description.segment.label for region in regions], settings.profile.name_length)
    warnings.extend(told)
    descriptions = renumbered([region.description for region in regions])
    return [
        replace(region, description=description, name=name)
        for region, description, name in zip(regions, descriptions, names, strict=True)
    ]


class _Work:
    """Turns a segmentation, and what belongs to it, into regions."""

    def __init__(self, node: Any, database: Database | None, settings: Settings, progress: Progress | None) -> None:
        self._node, self._database, self._settings, self._progress = node, database, settings, progress
        self.source = find_source(node, database, settings.source)
        header = remembered(node)
        is_set = header is not None and header.get("SOPClassUID") == RT_STRUCTURE_SET_STORAGE
        self.kept_header = header if is_set else None
        self.warnings = list(self.source.warnings)
        self.frame_of_reference_uid = self._frame_of_reference(header)
        self._kept = kept_contours(node) if is_set and node.IsA("vtkMRMLSegmentationNode") else {}
        self._planes: list[PlaneText] = []
        self._images: dict[int, list[tuple[str, str, int]]] = {}
        self._sources = SliceSources({}, True)
        if settings.profile.needs_images and self.source.grid is None:
            raise ExportError(
                f"{node.GetName()!r}: the images that its contours lie on were not found, and {settings.profile.title} "
                "is known to ask for them; give a source, or no profile."
            )

    @property
    def image_uids(self) -> set[str]:
        """SOP Instance UIDs of the images that it lies on."""
        return set(self.source.grid.instance_uids) - {""} if self.source.grid is not None else set()

    def _frame_of_reference(self, header: Dataset | None) -> str:
        """Return the Frame of Reference UID: of the images, else that of the regions as they came, else a new one."""
        if self.source.header is not None and self.source.header.get("FrameOfReferenceUID"):
            return str(self.source.header.FrameOfReferenceUID)
        if self.kept_header is not None:
            uids = [
                str(dataset.ReferencedFrameOfReferenceUID)
                for dataset in self._structure_items()
                if dataset.get("ReferencedFrameOfReferenceUID")
            ]
            if uids:
                return max(uids, key=uids.count)
        return frame_of_reference(self._node, self.source, header)

    def _structure_items(self) -> list[Dataset]:
        if not self._node.IsA("vtkMRMLSegmentationNode"):
            return []
        segmentation = self._node.GetSegmentation()
        count = segmentation.GetNumberOfSegments()
        texts = [segment_tag(segmentation.GetNthSegment(number), STRUCTURE_SET_ROI_TAG) for number in range(count)]
        return [item for item in map(dataset_from_text, texts) if item is not None]

    def _tell(self, fraction: float, message: str) -> None:
        if self._progress is not None:
            self._progress(fraction, message)

    # --- Segments ----------------------------------------------------------------------------------------------------

    def owns(self, markups: Any) -> bool:
        """Whether markups were loaded with a region of this segmentation."""
        return self._segment_of(markups) is not None

    def _segment_of(self, markups: Any) -> Any:
        segment_id = str(markups.GetAttribute(SEGMENT_ID_ATTRIBUTE) or "")
        number = str(markups.GetAttribute(ROI_NUMBER_ATTRIBUTE) or "")
        segment = self._node.GetSegmentation().GetSegment(segment_id) if segment_id else None
        return segment if segment is not None and segment_tag(segment, ROI_NUMBER_TAG) == number else None

    def segments(self, markups: Sequence[Any]) -> list[Region]:
        """Return the regions of the segmentation, with the contours of markups that were loaded with them."""
        self._tell(0.0, "Reading segments")
        segmentation = self._node.GetSegmentation()
        ids = [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]
        edited = {
            str(node.GetAttribute(SEGMENT_ID_ATTRIBUTE))
            for node in markups
            if not same_markups(node, self.source.volume, self._kept_of(self._segment_of(node)))
        }
        regions, wanted = {}, set()
        for position, segment_id in enumerate(ids, start=1):
            vtk_segment = segmentation.GetSegment(segment_id)
            kept = None if segment_id in edited else self._reusable(segment_id, vtk_segment)
            description = replace(description_of_segment(vtk_segment, position), changed=kept is None)
            regions[segment_id] = Region(description, self.frame_of_reference_uid, kept=kept)
            if kept is None and _has_content(vtk_segment, segmentation.GetSourceRepresentationName()):
                wanted.add(segment_id)
        self._tell(0.1, "Contours of segments")
        for segment_id, contours in self._traced(self._node, wanted).items():
            regions[segment_id].contours = contours
        for node in markups:
            region = regions[str(node.GetAttribute(SEGMENT_ID_ATTRIBUTE))]
            if region.kept is None:
                region.contours += self._contours_of_markups(node)
        return list(regions.values())

    def _kept_of(self, vtk_segment: Any) -> KeptContours | None:
        number = segment_tag(vtk_segment, ROI_NUMBER_TAG) if vtk_segment is not None else ""
        return self._kept.get(int(number)) if number.lstrip("-").isdigit() else None

    def _reusable(self, segment_id: str, vtk_segment: Any) -> KeptContours | None:
        """Return the contours that a segment came with, if they still are its contours, as the caller wants them."""
        kept = self._kept_of(vtk_segment)
        if kept is None or self._settings.anew or not is_in_place(self._node, self.source.volume):
            return None
        named = {uid for part in kept.values for uid in part.image_uids}
        images = self.image_uids
        if self.source.given and images and named - images:
            return None  # the caller wants other images than those that the contours name
        if not (named and named <= images) and not self._has_frame(vtk_segment):
            return None
        profile = self._settings.profile
        kinds = {kind for kind, _ in kept.contours}
        if (profile.holes == "keyhole" and "CLOSEDPLANAR_XOR" in kinds) or (profile.needs_images and not named):
            return None
        return kept if is_unedited(self._node, segment_id, self._kept) else None

    def _has_frame(self, vtk_segment: Any) -> bool:
        """Whether a region came with the frame of reference that is written, or none."""
        item = dataset_from_text(segment_tag(vtk_segment, STRUCTURE_SET_ROI_TAG))
        uid = str(item.get("ReferencedFrameOfReferenceUID") or "") if item is not None else ""
        return uid in ("", self.frame_of_reference_uid)

    def _traced(self, node: Any, wanted: set[str]) -> dict[str, list[Contour]]:
        if not wanted:
            return {}
        labels = self._labels(node)
        self._tell(0.2, "Labels read")
        planes, images = self._slices(node, labels.grid)
        return trace(
            labels, planes, images, self._settings.style, wanted, lambda part, text: self._tell(0.2 + 0.8 * part, text)
        )

    def _labels(self, node: Any) -> NodeLabels:
        """Return labels on the grid of the images, or on their own where some would be lost there."""
        told: list[str] = []
        labels = node_labels(node, self.source, self._settings.grid, told)
        if labels.resampled and labels.cut and self._settings.grid is None:
            told = [
                "The labels reach beyond the images and have other voxels; contours were drawn on their own slices."
            ]
            labels = node_labels(node, self.source, "own", told)
        self.warnings += told
        return labels

    # --- Slices ------------------------------------------------------------------------------------------------------

    def _slices(self, node: Any, grid: Any) -> tuple[list[PlaneText], dict[int, list[tuple[str, str, int]]]]:
        """Return planes and images of the slices of a grid."""
        sources = slice_sources(node, self.source, grid)
        planes = plane_texts(grid, self._positions(sources))
        if not self._planes:
            self._planes, self._images, self._sources = planes, sources.by_slice, sources
        if not sources.by_slice:
            self.warnings.append("No images were found, so the contours name none.")
        elif len(sources.by_slice) < len(planes):
            self.warnings.append("Some slices lie beyond the images; contours there name no image.")
        return planes, sources.by_slice

    def _positions(self, sources: SliceSources) -> dict[int, list[float]]:
        """Return Image Position (Patient) of the images in slices, as far as the database tells it."""
        positions: dict[int, list[float]] = {}
        if self._database is None:
            return positions
        for place, images in sources.by_slice.items():
            for _, uid, frame in images:
                file = self._database.fileForInstance(uid) if not frame else ""
                texts = (self._database.fileValue(file, IMAGE_POSITION) if file else "").split("\\")
                with suppress(ValueError):
                    if len(texts) == 3:
                        positions[place] = [float(text) for text in texts]
                        break
        return positions

    # --- Models and markups ------------------------------------------------------------------------------------------

    def model(self, node: Any) -> list[Region]:
        """Return the region of a closed surface; none for a model that shows the contours of a structure set."""
        surface = node.GetPolyData()
        if surface is not None and surface.GetFieldData().GetArray(ITEMS_ARRAY) is not None:
            return []
        if surface is None or not surface.GetNumberOfPolys():
            self.warnings.append(f"The model {node.GetName()!r} has no surface and was left out.")
            return []
        display = node.GetDisplayNode()
        rgb = tuple(display.GetColor()) if display is not None else None
        segment = Segment(-1, str(node.GetName() or "Model"), rgb=rgb)
        contours = self._traced(_segmentation_of_model(node), {"model"}).get("model", [])
        return [Region(Description(segment), self.frame_of_reference_uid, contours=contours)]

    def markups(self, node: Any) -> Region:
        """Return the region of markups that belong to no segment."""
        number = str(node.GetAttribute(ROI_NUMBER_ATTRIBUTE) or "")
        display = node.GetDisplayNode()
        rgb = tuple(display.GetSelectedColor()) if display is not None else None
        segment = Segment(int(number) if number.isdigit() else -1, str(node.GetName() or "Markups"), rgb=rgb)
        kind = "MARKER" if node.IsA("vtkMRMLMarkupsFiducialNode") else ""
        contours = self._contours_of_markups(node)
        description = Description(segment, {"RTROIInterpretedType": kind})
        return Region(description, self.frame_of_reference_uid, contours=contours)

    def _contours_of_markups(self, node: Any) -> list[Contour]:
        if self.source.grid is not None and not self._planes:
            self._slices(self._node, self.source.grid.geometry)
        return markups_contours(node, self.source.volume, self._planes, self._images, self.warnings)

    def references(self) -> list[Reference]:
        """Return the images that the structure set refers to."""
        # Regions also name, for example, the structure set or segmentation that they were copied from.
        self.source.references = [one for one in self.source.references if _may_be_image(one.sop_class_uid)]
        references, warnings = instances_to_name(self.source, self._sources)
        self.warnings.extend(warnings)
        return references


def description_of_segment(vtk_segment: Any, position: int) -> Description:
    """Return what a segment says of its region; ``position`` counts from 1."""
    text = segment_tag(vtk_segment, ROI_NUMBER_TAG)
    number = int(text) if text.isdigit() else remembered_number(vtk_segment) or position
    texts = {keyword: segment_tag(vtk_segment, tag) for keyword, tag in TEXT_TAGS.items()}
    segment = segment_of_node(vtk_segment, number)
    if _says_nothing(segment.terminology):
        segment = replace(segment, terminology=None)
    return Description(
        segment,
        {keyword: value for keyword, value in texts.items() if value},
        segment_tag(vtk_segment, STRUCTURE_SET_ROI_TAG),
        tuple(filter(None, segment_tag(vtk_segment, OBSERVATIONS_TAG).split(","))),
    )


def _may_be_image(sop_class_uid: str) -> bool:
    """Whether contours may lie on instances of a class."""
    kind = kind_of_sop_class(sop_class_uid)
    return kind is None or kind.name not in NO_IMAGES


def _says_nothing(terminology: Terminology | None) -> bool:
    """Whether a terminology is what Slicer gives every new segment; regions need no codes, so none are made up."""
    if terminology is None or terminology.region is not None or terminology.type_modifier is not None:
        return terminology is None
    return terminology.category == DEFAULT_CATEGORY and terminology.type == DEFAULT_TYPE


def _has_content(vtk_segment: Any, representation: str) -> bool:
    """Whether a segment has any voxels or points."""
    data = vtk_segment.GetRepresentation(representation)
    if data is None:
        return False
    if representation == BINARY_LABELMAP:
        extent = data.GetExtent()
        return bool(extent[0] <= extent[1] and extent[2] <= extent[3] and extent[4] <= extent[5])
    return bool(data.GetNumberOfPoints())


def _segmentation_of_model(node: Any) -> Any:
    """Return a segmentation node, in no scene, with the surface of a model in world coordinates."""
    import slicer
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform
    from vtkmodules.vtkFiltersGeneral import vtkTransformPolyDataFilter

    surface = node.GetPolyData()
    if node.GetParentTransformNode() is not None:
        general = vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, general)
        transformed = vtkTransformPolyDataFilter()
        transformed.SetInputData(surface)
        transformed.SetTransform(general)
        transformed.Update()
        surface = transformed.GetOutput()
    result = slicer.vtkMRMLSegmentationNode()
    result.SetName(str(node.GetName() or ""))
    segmentation = result.GetSegmentation()
    segmentation.SetSourceRepresentationName(CLOSED_SURFACE)
    segment = slicer.vtkSegment()
    segment.AddRepresentation(CLOSED_SURFACE, surface)
    segmentation.AddSegment(segment, "model")
    return result
