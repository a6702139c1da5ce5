"""From files to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from dicombridge.hierarchy import add_series, attributes_of_dataset
from dicombridge.parametric_map.nodes import MapImages, add_sequence, add_volume
from dicombridge.parametric_map.reading import Map, MapFile, open_maps
from dicombridge.parametric_map.voxels import read_voxels
from dicombridge.progress import Progress
from dicombridge.scene import transaction
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    region: Sequence[float] | None = None,
) -> list[Any]:
    """Load a DICOM parametric map into a scene.

    Voxels are real world values: the mapping of the file is applied. Those of a float map whose mapping is the
    identity are the stored ones, bit by bit.

    Parameters
    ----------
    loadable
        One file, or all files of a concatenation.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where source images are looked up that tell where the frames lie, if the frames do not; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    region
        Of a map of a slide: only what touches x, y, width, height in slide mm.

    Returns
    -------
    list of nodes
        One node for each map (quantity, channel, b-value, ...) and stack of parallel frames, in the order of the
        object: a ``vtkMRMLScalarVolumeNode``, or a ``vtkMRMLSequenceNode`` of them where a dimension is time.

    Raises
    ------
    DicomBridgeError
        The file is damaged, or cannot be placed in space, or is of a slide and too large to be loaded whole.
    """
    images = MapImages()
    with ExitStack() as files, reading(loadable.files[0]):
        if progress is not None:
            progress(0.0, "Reading the functional groups")
        result = open_maps(loadable.files, database, files, region)
        arrays = read_voxels(result, images.allocate, progress)
    with transaction(scene):
        nodes = []
        for number, one in enumerate(result.maps):
            if progress is not None:
                progress(0.95 + 0.05 * number / len(result.maps), f"Map {number + 1} of {len(result.maps)}")
            nodes.append(_add(scene, loadable.name, result, one, arrays[number], images))
        if progress is not None:
            progress(1.0, "Loaded")
    for warning in dict.fromkeys(result.warnings):
        _log.warning("%s: %s", result.path, warning)
    return nodes


def _add(scene: Any, name: str, result: MapFile, one: Map, arrays: list[Any], images: MapImages) -> Any:
    if one.name:
        name = f"{name} - {one.name}"
    attributes = attributes_of_dataset(result.header)
    attributes["SOPInstanceUIDs"] = [str(part.header.get("SOPInstanceUID") or "") for part in result.parts]
    attributes["ReferencedInstanceUIDs"] = [
        reference.sop_instance_uid for reference in result.references if reference.sop_instance_uid
    ]
    if not one.frames.time_values:
        node = add_volume(scene, name, result, one, arrays[0], images)
        add_series(scene, node, attributes)
        return node
    import slicer

    node, proxy = add_sequence(scene, name, result, one, arrays, images)
    item = add_series(scene, node, attributes)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    hierarchy.CreateItem(hierarchy.GetItemParent(item), proxy)
    return node
