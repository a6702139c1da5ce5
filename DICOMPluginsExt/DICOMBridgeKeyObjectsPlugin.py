"""Export of key object selections in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib import application
from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeKeyObjectsPluginClass(DICOMBridgePlugin):
    """Slices of a volume as Key Object Selection; DICOMBridgeReportPlugin imports them."""

    kindName = "KOS"
    modality = "KO"
    exportConfidence = 0.2  # a volume is seldom exported as a choice of its slices
    exportTags: ClassVar[dict[str, str]] = {"title": "", "description": "", "slices": ""}

    def _exports(self, node: Any, item_id: int) -> bool:
        """Whether the node is a volume of images (no map, no dose), or was placed on one, or came from a selection."""
        volume: Any = application.volume_of_points(node) if node.IsA("vtkMRMLMarkupsFiducialNode") else node
        is_volume = volume is not None and volume.IsA("vtkMRMLScalarVolumeNode")
        is_of_images = is_volume and volume.GetAttribute("DICOMBridge.Kind") in (None, "IMAGE")
        return self._came_from_kind(node) or (is_of_images and bool(volume.GetAttribute("DICOM.instanceUIDs")))


class DICOMBridgeKeyObjectsPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeKeyObjectsPluginClass)
