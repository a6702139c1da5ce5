"""From files to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import UnsupportedError
from dicombridge.geometry import ijk_to_ras, vtk_matrix
from dicombridge.hierarchy import add_series, attributes_of_dataset, node_of_instance
from dicombridge.image.series import SourceGrid
from dicombridge.progress import Progress
from dicombridge.references import Reference
from dicombridge.scene import transaction
from dicombridge.segmentation.labels import StackLabels, binary_labels, fractions, labelmap_labels, labels_of_fractions
from dicombridge.segmentation.nodes import (
    BACKGROUND_ATTRIBUTE,
    FRACTION_ROLE,
    SEGMENT_ID_ATTRIBUTE,
    SOURCES_ATTRIBUTE,
    THRESHOLD_ATTRIBUTE,
    TYPE_ATTRIBUTE,
    LabelImages,
    add_segments,
    create_closed_surfaces,
    set_reference_geometry,
    sources_text,
    volume_geometry,
)
from dicombridge.segmentation.planes import FrameStack
from dicombridge.segmentation.reading import SegmentationFile, open_segmentation
from dicombridge.shadow import HEADER_ATTRIBUTE
from dicombridge.text import node_name
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)


@dataclass
class _Painted:
    """One stack, read: what a segmentation node needs."""

    stack: FrameStack
    images: LabelImages
    labels: StackLabels
    fractions: dict[int, NDArray[np.float32]]
    sources: dict[int, list[tuple[str, int]]]


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    threshold: float = 0.5,
    closed_surface: bool = False,
    region: Sequence[float] | None = None,
) -> list[Any]:
    """Load a DICOM segmentation into a scene.

    Parameters
    ----------
    loadable
        One SEG file, or all files of a concatenation.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where the source images are looked up, whose whole grid the segmentation then has; may be None. A volume of
        them that is in the scene does too.
    progress
        Called with a fraction (0 to 1) and a message.
    threshold
        A voxel of a FRACTIONAL segmentation belongs to a segment where its fraction is at least this; above 0 to 1.
    closed_surface
        Also make the closed surface representation.
    region
        Of a segmentation of a slide: only what touches x, y, width, height in slide mm. Tiles beside it are not read.

    Returns
    -------
    list of nodes
        One ``vtkMRMLSegmentationNode`` for each stack of parallel frames (nearly always one); for FRACTIONAL
        segmentations, also one ``vtkMRMLScalarVolumeNode`` of float32 fractions, 0 to 1, for each segment.

    Raises
    ------
    DicomBridgeError
        The file is damaged, or cannot be placed in space, or is of a slide and too large to be loaded whole.
    """
    if not 0 < threshold <= 1:  # at 0, all of space would belong to each segment
        raise UnsupportedError(f"A threshold of {threshold:g} separates nothing; give one above 0 and at most 1.")
    with ExitStack() as files, reading(loadable.files[0]):
        result = open_segmentation(
            loadable.files, database, files, lambda references: _grids_of_volumes(scene, references), region
        )
        painted = [_paint(result, number, progress, threshold) for number in range(len(result.stacks))]
    for warning in [*result.warnings, *(warning for one in painted for warning in one.labels.warnings)]:
        _log.warning("%s: %s", result.path, warning)
    with transaction(scene):
        nodes: list[Any] = []
        for number, one in enumerate(painted, start=1):
            name = loadable.name if len(painted) == 1 else f"{loadable.name} (stack {number})"
            nodes.extend(_add_nodes(scene, name, result, one, threshold))
        if closed_surface:
            create_closed_surfaces(nodes)
    return nodes


def _paint(result: SegmentationFile, number: int, progress: Progress | None, threshold: float) -> _Painted:
    stack = result.stacks[number]
    images = LabelImages(stack.geometry)
    by_segment: dict[int, NDArray[np.float32]] = {}
    if result.segmentation_type == "BINARY":
        labels = binary_labels(result, stack, images.allocate, progress)
    elif result.segmentation_type == "LABELMAP":
        labels = labelmap_labels(result, stack, images.allocate, progress)
    else:
        by_segment = fractions(result, stack, images.allocate, progress)
        slices, rows, columns = (int(size) for size in stack.geometry.spatial_shape)
        labels = labels_of_fractions(by_segment, threshold, (slices, rows, columns), images.allocate)
    return _Painted(stack, images, labels, by_segment, result.source_frames[number])


def _add_nodes(scene: Any, name: str, result: SegmentationFile, one: _Painted, threshold: float) -> list[Any]:
    import slicer

    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(scene.GenerateUniqueName(node_name(name)))
    ids = add_segments(node, result.segments, one.labels, one.images)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    volumes = _source_volumes(scene, result, one.sources)
    first_image = one.images.image(one.labels.layers[0])
    set_reference_geometry(node, one.stack.geometry, volumes, first_image, bool(result.references))
    _remember(node, result, one)
    attributes = attributes_of_dataset(result.header)
    attributes["SOPInstanceUIDs"] = [str(part.header.get("SOPInstanceUID") or "") for part in result.parts]
    attributes["ReferencedInstanceUIDs"] = [
        reference.sop_instance_uid for reference in result.references if reference.sop_instance_uid
    ]
    item = add_series(scene, node, attributes)
    fraction_nodes = [_add_fraction(scene, node, item, result, one, number, ids[number]) for number in one.fractions]
    if fraction_nodes:
        node.SetAttribute(THRESHOLD_ATTRIBUTE, f"{threshold:g}")
    return [node, *fraction_nodes]


def _source_volumes(scene: Any, result: SegmentationFile, sources: dict[int, list[tuple[str, int]]]) -> list[Any]:
    """Return the volume nodes in the scene that the segmentation was made on, wherever in the hierarchy they are."""
    uids = dict.fromkeys(uid for pairs in sources.values() for uid, _ in pairs)
    uids.update(dict.fromkeys(reference.sop_instance_uid for reference in result.references))
    found: dict[str, Any] = {}
    for volume_uids, volume in _volumes_by_instance(scene):
        if not volume_uids.isdisjoint(uids):
            found[volume.GetID()] = volume
    for uid in list(uids)[:1]:
        volume = node_of_instance(scene, uid)
        if volume is not None and volume.IsA("vtkMRMLScalarVolumeNode"):
            found.setdefault(volume.GetID(), volume)
    return list(found.values())


def _grids_of_volumes(scene: Any, references: Sequence[Reference]) -> list[SourceGrid]:
    """Return the grids of the volume nodes in the scene that were made from referenced images."""
    wanted = {reference.sop_instance_uid for reference in references}
    grids = []
    for uids, volume in _volumes_by_instance(scene):
        if volume.GetImageData() is not None and not wanted.isdisjoint(uids):
            of_slices = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
            grids.append((len(wanted & uids), SourceGrid(volume_geometry(volume), tuple(of_slices), None, "", "")))
    return [grid for _, grid in sorted(grids, key=lambda pair: -pair[0])]


def _volumes_by_instance(scene: Any) -> list[tuple[set[str], Any]]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    volumes = [scene.GetNthNodeByClass(number, "vtkMRMLScalarVolumeNode") for number in range(count)]
    return [(set((volume.GetAttribute("DICOM.instanceUIDs") or "").split()), volume) for volume in volumes]


def _remember(node: Any, result: SegmentationFile, one: _Painted) -> None:
    node.SetAttribute(HEADER_ATTRIBUTE, result.shadow)
    uids = " ".join(str(part.header.get("SOPInstanceUID") or "") for part in result.parts)
    node.SetAttribute("DICOM.instanceUIDs", uids)
    node.SetAttribute(TYPE_ATTRIBUTE, result.segmentation_type)
    if one.sources:
        node.SetAttribute(SOURCES_ATTRIBUTE, sources_text(one.sources, one.stack.geometry))
    if result.background_segment is not None:
        node.SetAttribute(BACKGROUND_ATTRIBUTE, result.background_segment.shadow)


def _add_fraction(
    scene: Any, node: Any, item: int, result: SegmentationFile, one: _Painted, number: int, segment_id: str
) -> Any:
    """Add the volume of one segment's fractions, beside the segmentation in the subject hierarchy."""
    import slicer

    segment = next(segment for segment in result.segments if segment.number == number)
    image = one.images.image(one.fractions[number])
    plain = slicer.vtkOrientedImageData()
    plain.ShallowCopy(image)
    plain.SetOrigin(0, 0, 0)
    plain.SetSpacing(1, 1, 1)
    plain.SetDirections([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    volume = slicer.vtkMRMLScalarVolumeNode()
    volume.SetName(scene.GenerateUniqueName(node_name(f"{node.GetName()} - {segment.label}")))
    volume.SetAndObserveImageData(plain)
    volume.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(one.stack.geometry)))
    volume.SetAttribute(SEGMENT_ID_ATTRIBUTE, segment_id)
    fractional_type = str(result.header.get("SegmentationFractionalType") or "PROBABILITY")
    volume.SetAttribute("DICOMBridge.SegmentationFractionalType", fractional_type)
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("1", "UCUM", "no units")
    volume.SetVoxelValueUnits(units)
    scene.AddNode(volume)
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(1.0, 0.5)
    node.AddNodeReferenceID(FRACTION_ROLE, volume.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.CreateItem(hierarchy.GetItemParent(item), volume)
    return volume
