"""Export of key object selections in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeKeyObjectsPluginClass(DICOMBridgePlugin):
    """Slices of a volume as Key Object Selection; DICOMBridgeReportPlugin imports them."""

    kindName = "KOS"
    modality = "KO"
    exportConfidence = 0.2  # a volume is seldom exported as a choice of its slices
    exportTags: ClassVar[dict[str, str]] = {"title": "", "description": "", "slices": ""}

    def _exports(self, node: Any, item_id: int) -> bool:
        """Whether the node was loaded from images, or lies in some, or came from such a document."""
        if self._came_from_kind(node):
            return True
        is_volume = node.IsA("vtkMRMLScalarVolumeNode") and bool(node.GetAttribute("DICOM.instanceUIDs"))
        return is_volume or node.IsA("vtkMRMLMarkupsFiducialNode")


class DICOMBridgeKeyObjectsPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeKeyObjectsPluginClass)
