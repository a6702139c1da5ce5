"""Export of bulk annotations in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeAnnotationsPluginClass(DICOMBridgePlugin):
    """Models and markups as Microscopy Bulk Simple Annotations; DICOMBridgeSlidePlugin imports them."""

    kindName = "ANN"
    modality = "ANN"
    exportConfidence = 0.3  # models and markups can become other objects, too

    def _exports(self, node: Any, item_id: int) -> bool:
        """Whether the node is a model or a markup of whatever flat shape."""
        return node.GetClassName() in self.kind.node_classes


class DICOMBridgeAnnotationsPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeAnnotationsPluginClass)
