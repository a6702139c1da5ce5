"""What a transform node says of the registration that it stands for: names of attributes and of reference roles."""

from __future__ import annotations

__all__ = [
    "FIXED_ROLE",
    "MOVING_ROLE",
    "REGISTERED_FRAME",
    "REGISTRATION_ITEM",
    "SOURCE_FRAME",
]

REGISTERED_FRAME = "DICOMBridge.RegisteredFrameOfReferenceUID"
"""Frame of Reference UID that the node's transform to parent leads into."""

SOURCE_FRAME = "DICOMBridge.SourceFrameOfReferenceUID"
"""Frame of Reference UID of what is moved; empty where an item names images only."""

REGISTRATION_ITEM = "DICOMBridge.RegistrationItem"
"""Place (from 0) of the node's item in the (Deformable) Registration Sequence of the object that it came from, whose
header the node remembers (:mod:`dicombridge.shadow`)."""

MOVING_ROLE = "spatialRegistrationMoving"
FIXED_ROLE = "spatialRegistrationFixed"
"""Node references to the volumes, in the names that SlicerRT uses."""
