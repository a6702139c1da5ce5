"""Export of bulk annotations in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any

from DICOMBridgeLib import application
from DICOMBridgeLib.plugin import DICOMBridgePlugin, register

_REFERENCE = "referenceImageGeometryRef"


class DICOMBridgeAnnotationsPluginClass(DICOMBridgePlugin):
    """Models and markups as Microscopy Bulk Simple Annotations; DICOMBridgeSlidePlugin imports them."""

    kindName = "ANN"
    modality = "ANN"
    exportConfidence = 0.3  # models and markups can become other objects, too

    def _exports(self, node: Any, item_id: int) -> bool:
        """Whether the node came from annotations, or is a flat shape that lies on a slide."""
        if self._came_from_kind(node):
            return True
        volume: Any = None
        if node.GetClassName() in self.kind.node_classes:
            is_model = node.IsA("vtkMRMLModelNode")
            volume = node.GetNodeReference(_REFERENCE) if is_model else application.volume_of_points(node)
        return volume is not None and bool(volume.GetAttribute("DICOMBridge.Kind") == "SLIDE")


class DICOMBridgeAnnotationsPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeAnnotationsPluginClass)
