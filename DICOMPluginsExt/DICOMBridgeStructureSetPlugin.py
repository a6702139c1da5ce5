"""Export of RT Structure Sets in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeStructureSetPluginClass(DICOMBridgePlugin):
    """Segmentations as RT Structure Set; DICOMBridgeRadiotherapyPlugin imports them."""

    kindName = "RTSTRUCT"
    modality = "RTSTRUCT"
    exportConfidence = 1.02  # beside a segmentation object, which holds more
    exportedClasses = ("vtkMRMLSegmentationNode",)
    partRoles = ("DICOMBridge.markups",)  # points and lines of a structure set, which may have been moved
    exportTags: ClassVar[dict[str, str]] = {"StructureSetLabel": "", "ApprovalStatus": "UNAPPROVED"}


class DICOMBridgeStructureSetPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeStructureSetPluginClass)
