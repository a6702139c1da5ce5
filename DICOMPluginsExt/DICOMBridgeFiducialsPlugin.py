"""Export of spatial fiducials in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeFiducialsPluginClass(DICOMBridgePlugin):
    """Markups as Spatial Fiducials; DICOMBridgeRegistrationPlugin imports them."""

    kindName = "FID"
    modality = "FID"
    exportConfidence = 0.5  # markups can become other objects, too

    def _exports(self, node: Any, item_id: int) -> bool:
        """Whether the node is a markup of whatever shape."""
        return node.GetClassName() in self.kind.node_classes


class DICOMBridgeFiducialsPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeFiducialsPluginClass)
