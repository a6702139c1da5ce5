"""From a file to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.hierarchy import add_series, attributes_of_dataset
from dicombridge.progress import Progress
from dicombridge.scene import transaction
from dicombridge.segmentation.labels import StackLabels, paint_layers
from dicombridge.segmentation.layers import PackedPatch
from dicombridge.segmentation.nodes import LabelImages, add_segments, create_closed_surfaces, set_reference_geometry
from dicombridge.shadow import HEADER_ATTRIBUTE
from dicombridge.source_instances import SOURCES_ATTRIBUTE, sources_text
from dicombridge.structure_set.grids import Group, find_groups, volumes_by_instance
from dicombridge.structure_set.kept import contours_polydata, grid_text, polydata_of
from dicombridge.structure_set.markups import add_markups
from dicombridge.structure_set.nodes import CONTOURS_ROLE, GRID_ATTRIBUTE, MARKUPS_ROLE, PLANAR_CONTOUR, set_roi_tags
from dicombridge.structure_set.reading import Roi, StructureSet, read_structure_set
from dicombridge.structure_set.regions import fill_region
from dicombridge.text import node_name
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)

MOST_REGIONS = 65535
"""Labels are 16 bits wide."""
MOST_NAMED = 10
"""Regions that a warning names."""


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    pixel_size_mm: float | None = None,
    closed_surface: bool = False,
) -> list[Any]:
    """Load an RT structure set into a scene.

    Parameters
    ----------
    loadable
        One RTSTRUCT file.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where the images are looked up, on whose grid the contours are filled; may be None. A volume of them that is in
        the scene does too. Without both, the grid is made for the contours.
    progress
        Called with a fraction (0 to 1) and a message.
    pixel_size_mm
        Pixels of a grid that is made for contours; by default as fine as their points lie, 0.25 to 1 mm.
    closed_surface
        Also make the closed surface representation.

    Returns
    -------
    list of nodes
        A ``vtkMRMLSegmentationNode`` for each grid (nearly always one); for each of them a ``vtkMRMLModelNode`` of the
        original contours, not shown; a ``vtkMRMLMarkupsFiducialNode`` for each region with POINT contours and a
        ``vtkMRMLMarkupsCurveNode`` for each open contour. Every region has a segment, empty or not.

    Raises
    ------
    DicomBridgeError
        The file is damaged or no structure set.
    """
    if pixel_size_mm is not None and not 0.01 <= pixel_size_mm <= 100:
        raise UnsupportedError(f"Pixels of {pixel_size_mm:g} mm are no help; give a size from 0.01 to 100 mm.")
    file = loadable.files[0]
    with reading(file):
        content = read_structure_set(file, progress)
        if len(content.rois) > MOST_REGIONS:
            raise UnreadableError(file, f"has {len(content.rois)} regions; more than {MOST_REGIONS} are not read.")
        groups = find_groups(content, database, scene, pixel_size_mm)
        painted = [_paint(content, group, progress, number / len(groups)) for number, group in enumerate(groups)]
    for warning in dict.fromkeys([*content.warnings, *(text for group in groups for text in group.warnings)]):
        _log.warning("%s: %s", content.path, warning)
    if progress is not None:
        progress(0.95, "Adding nodes")
    with transaction(scene):
        nodes: list[Any] = []
        for number, (group, (images, labels)) in enumerate(zip(groups, painted, strict=True), start=1):
            name = loadable.name if len(groups) == 1 else f"{loadable.name} (grid {number})"
            nodes.extend(_add_nodes(scene, name, content, group, images, labels))
        if closed_surface:
            create_closed_surfaces(nodes)
    return nodes


def _paint(
    content: StructureSet, group: Group, progress: Progress | None, start: float
) -> tuple[LabelImages, StackLabels]:
    """Fill the contours of a group of regions into as few label layers as they allow."""
    images = LabelImages(group.geometry)
    slices, rows, columns = (int(size) for size in group.geometry.spatial_shape)
    label_of = {roi.number: number for number, roi in enumerate(group.rois, start=1)}
    layer = images.allocate((slices, rows, columns), np.uint8 if len(label_of) <= 255 else np.uint16)
    patches: dict[int, list[tuple[int, PackedPatch]]] = {}
    outside, coarse = 0, []
    for number, roi in enumerate(group.rois, start=1):
        region = fill_region(roi.contours, group.geometry)
        content.warnings.extend(f"{roi.segment.label}: {text}." for text in region.warnings)
        outside += region.outside
        if region.is_coarse:
            coarse.append(roi.segment.label)
        for place, patch in region.patches:
            patches.setdefault(place, []).append((roi.number, PackedPatch.of(patch)))
        if progress is not None:
            progress(0.5 + 0.4 * max(start, number / len(group.rois)), f"Region {number} of {len(group.rois)}")
    if outside:
        group.warnings.append(
            f"{outside} contours are outside the grid, wholly or in part; they were kept as contours."
        )
    if coarse:
        names = ", ".join(coarse[:MOST_NAMED]) + (", ..." if len(coarse) > MOST_NAMED else "")
        group.warnings.append(
            f"{len(coarse)} regions ({names}) have contours on every second slice at most; the slices between them "
            "stay empty."
        )
    return images, paint_layers(patches, list(label_of), label_of, layer, images.allocate)


def _add_nodes(
    scene: Any, name: str, content: StructureSet, group: Group, images: LabelImages, labels: StackLabels
) -> list[Any]:
    import slicer

    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(scene.GenerateUniqueName(node_name(name)))
    ids = add_segments(node, [roi.segment for roi in group.rois], labels, images)
    for roi in group.rois:
        segment = node.GetSegmentation().GetSegment(ids[roi.number])
        set_roi_tags(segment, roi)
        if len(roi.contours):
            segment.AddRepresentation(PLANAR_CONTOUR, polydata_of([roi.contours], [roi.roi_number]))
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    uids = {uid for pairs in group.sources.values() for uid, _ in pairs}
    volumes = [volume for of_volume, volume in volumes_by_instance(scene) if not of_volume.isdisjoint(uids)]
    set_reference_geometry(node, group.geometry, volumes, images.image(labels.layers[0]), bool(uids))
    attributes = _remember(node, content, group)
    item = add_series(scene, node, attributes)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    others = [_add_model(scene, node, group.rois, content.implicit_vr)]
    for roi in group.rois:
        markups = add_markups(
            scene, roi, ids[roi.number], node.GetSegmentation().GetSegment(ids[roi.number]).GetColor()
        )
        for one in markups:
            node.AddNodeReferenceID(MARKUPS_ROLE, one.GetID())
        others.extend(markups)
    for other in others:
        hierarchy.CreateItem(hierarchy.GetItemParent(item), other)
    return [node, *others]


def _remember(node: Any, content: StructureSet, group: Group) -> dict[str, Any]:
    """Keep on the node what DICOM knew; return the attributes of its series."""
    uid = str(content.header.get("SOPInstanceUID") or "")
    node.SetAttribute(HEADER_ATTRIBUTE, content.shadow)
    node.SetAttribute("DICOM.instanceUIDs", uid)
    node.SetAttribute(GRID_ATTRIBUTE, grid_text(group.geometry))
    if group.sources:
        node.SetAttribute(SOURCES_ATTRIBUTE, sources_text(group.sources, group.geometry))
    attributes = attributes_of_dataset(content.header)
    attributes["SOPInstanceUIDs"] = [uid]
    attributes["ReferencedInstanceUIDs"] = [
        reference.sop_instance_uid for reference in content.references if reference.sop_instance_uid
    ]
    return attributes


def _add_model(scene: Any, node: Any, rois: list[Roi], implicit_vr: bool) -> Any:
    """Add the model that keeps the original contours; it is not shown."""
    import slicer

    model = slicer.vtkMRMLModelNode()
    model.SetName(scene.GenerateUniqueName(f"{node.GetName()} contours"))
    model.SetAndObservePolyData(contours_polydata(rois, implicit_vr))
    scene.AddNode(model)
    model.CreateDefaultDisplayNodes()
    model.GetDisplayNode().SetVisibility(False)
    node.AddNodeReferenceID(CONTOURS_ROLE, model.GetID())
    return model
