"""Which nodes of a scene lie in a frame of reference, or come from certain images."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from dicombridge.belonging import frames_of_content
from dicombridge.scene import nodes_in
from dicombridge.shadow import HEADER_ATTRIBUTE, remembered

__all__ = ["Participant", "participants", "volumes_of"]

_FRAME = "DICOM.FrameOfReferenceUID"
_KIND = "DICOMBridge.Kind"
_REFERENCED = "DICOM.ReferencedInstanceUIDs"
_OWN_ROLES = "DICOMBridge."
"""How roles begin by which a node refers to others of its object, e.g. a structure set to its points and contours."""


@dataclass(frozen=True, eq=False)
class Participant:
    """A node that came from DICOM and has a place in space.

    Attributes
    ----------
    node
        ``vtkMRMLTransformableNode`` that is no transform itself.
    frames
        Its Frame of Reference UIDs: one, none where nothing tells, several where its object names several.
    instances
        SOP Instance UIDs that it was loaded from.
    referenced
        SOP Instance UIDs that its object refers to.
    """

    node: Any
    frames: tuple[str, ...]
    instances: frozenset[str]
    referenced: frozenset[str]

    def is_from(self, images: Collection[str]) -> bool:
        """Whether it was loaded from one of these images, or made on one of them (a segmentation, a dose).

        Images that refer to other images, e.g. to those that they were planned on, are not made on them.
        """
        if not self.instances.isdisjoint(images):
            return True
        is_image = self.node.IsA("vtkMRMLVolumeNode") and self.node.GetAttribute(_KIND) in (None, "", "IMAGE")
        return not is_image and not self.referenced.isdisjoint(images)


def participants(scene: Any) -> list[Participant]:
    """Return the nodes of a scene that could take part in a registration, in the order of the scene."""
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    if hierarchy is None:
        return []
    found = [_participant(hierarchy, node) for node in _placed_nodes(scene)]
    wholes = {part.GetID(): one for one in found for part in _parts(one.node)}
    return [_as_its_whole(one, wholes.get(one.node.GetID())) for one in found]


def volumes_of(found: Collection[Participant], frame: str, images: Collection[str] = ()) -> list[Any]:
    """Return the volume nodes that lie in a frame of reference, or, where images are given, that come from them."""
    return [
        one.node
        for one in found
        if one.node.IsA("vtkMRMLVolumeNode")
        and (one.is_from(images) if images else bool(frame) and frame in one.frames)
    ]


def _placed_nodes(scene: Any) -> Iterator[Any]:
    for node in nodes_in(scene, "vtkMRMLTransformableNode"):
        if not node.IsA("vtkMRMLTransformNode") and not node.GetHideFromEditors():
            yield node


def _parts(node: Any) -> Iterator[Any]:
    """Yield the nodes that were made of the same object as a node, and are of its series without saying so."""
    for place in range(node.GetNumberOfNodeReferenceRoles()):
        role = node.GetNthNodeReferenceRole(place) or ""
        for number in range(node.GetNumberOfNodeReferences(role) if role.startswith(_OWN_ROLES) else 0):
            part = node.GetNthNodeReference(role, number)
            if part is not None:
                yield part


def _as_its_whole(one: Participant, whole: Participant | None) -> Participant:
    return one if whole is None or one.frames or one.instances else replace(whole, node=one.node)


def _participant(hierarchy: Any, node: Any) -> Participant:
    frame, instances, referenced = "", "", ""
    item = hierarchy.GetItemByDataNode(node)
    # What is below a series, e.g. the points of a plan, has neither UIDs nor a frame of its own.
    while item and item != hierarchy.GetSceneItemID() and hierarchy.GetItemLevel(item) not in ("Study", "Patient"):
        frame = frame or hierarchy.GetItemAttribute(item, _FRAME)
        instances = instances or hierarchy.GetItemUID(item, "DICOMInstanceUID")
        referenced = referenced or hierarchy.GetItemAttribute(item, _REFERENCED)
        item = hierarchy.GetItemParent(item)
    frames = (frame,) if frame else _frames_of_header(node)
    return Participant(node, frames, frozenset(instances.split()), frozenset(referenced.split()))


def _frames_of_header(node: Any) -> tuple[str, ...]:
    """Return what the remembered object says; structure sets say their frames in sequences only."""
    header = remembered(node) if node.GetAttribute(HEADER_ATTRIBUTE) else None
    return tuple(frames_of_content(header)) if header is not None else ()
