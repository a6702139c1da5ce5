"""DICOM Segmentation objects in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeSegmentationPluginClass(DICOMBridgePlugin):
    """DICOM Segmentation objects, binary, fractional and label map, as ``vtkMRMLSegmentationNode`` and back."""

    kindName = "SEG"
    modality = "SEG"
    extraTags: ClassVar[dict[str, str]] = {
        "segmentationType": "0062,0001",
        "contentLabel": "0070,0080",
        "concatenationUID": "0020,9161",
    }
    exportTags: ClassVar[dict[str, str]] = {"SegmentationType": "BINARY", "ContentLabel": "", "ContentCreatorName": ""}


class DICOMBridgeSegmentationPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeSegmentationPluginClass)
