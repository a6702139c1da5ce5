"""Where the transforms above a node lead: what lies below a registration is exported in the registered frame."""

from __future__ import annotations

from typing import Any

from dicombridge.registration.attributes import FIXED_ROLE, REGISTERED_FRAME
from dicombridge.registration.sides import frame_of_node

__all__ = ["fixed_volume_above", "frame_led_into"]


def _uppermost(node: Any) -> Any | None:
    """Return the transform that leads into the world; a table or a sequence has none."""
    transform = node.GetParentTransformNode() if node.IsA("vtkMRMLTransformableNode") else None
    while transform is not None and transform.GetParentTransformNode() is not None:
        transform = transform.GetParentTransformNode()
    return transform


def frame_led_into(node: Any) -> str:
    """Return the Frame of Reference UID into which the transforms above a node lead; empty where they do not say it."""
    transform = _uppermost(node)
    if transform is None:
        return ""
    fixed = transform.GetNodeReference(FIXED_ROLE)
    return str(transform.GetAttribute(REGISTERED_FRAME) or "") or (frame_of_node(fixed) if fixed is not None else "")


def fixed_volume_above(node: Any) -> Any | None:
    """Return a volume from DICOM in the frame of reference into which the transforms above a node lead, or None."""
    transform = _uppermost(node)
    if transform is None:
        return None
    for number in range(transform.GetNumberOfNodeReferences(FIXED_ROLE)):
        fixed = transform.GetNthNodeReference(FIXED_ROLE, number)
        if fixed is not None and fixed is not node and fixed.GetAttribute("DICOM.instanceUIDs"):
            return fixed if fixed.GetParentTransformNode() is None else None
    return None
