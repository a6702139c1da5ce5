"""Export of deformations in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeDeformationPluginClass(DICOMBridgePlugin):
    """Transforms as Deformable Spatial Registration; DICOMBridgeRegistrationPlugin imports them."""

    kindName = "DEFORM"
    modality = "REG"
    exportedClasses = ("vtkMRMLGridTransformNode", "vtkMRMLBSplineTransformNode", "vtkMRMLTransformNode")
    exportTags: ClassVar[dict[str, str]] = {
        "moving": "",
        "fixed": "",
        "spacing_mm": "",
        "registration_type": "",
        "comment": "",
    }

    def _exports(self, node: Any, item_id: int) -> bool:
        """Whether the node is a deformation of whatever class, or the matrix of a loaded one."""
        return node.GetClassName() in self.exportedClasses or self._came_from_kind(node)


class DICOMBridgeDeformationPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeDeformationPluginClass)
