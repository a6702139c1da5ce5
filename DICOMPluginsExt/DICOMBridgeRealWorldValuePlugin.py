"""Real world values, SUV among them, in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeRealWorldValuePluginClass(DICOMBridgePlugin):
    """Images in real world values: through mapping objects, mappings in the images, and SUV of PET; mappings back."""

    kindName = "RWVM"
    modality = "RWV"
    extraTags: ClassVar[dict[str, str]] = {"contentLabel": "0070,0080"}
    exportConfidence = 0.4
    exportTags: ClassVar[dict[str, str]] = {"ContentLabel": "", "ContentDescription": "", "ContentCreatorName": ""}


class DICOMBridgeRealWorldValuePlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeRealWorldValuePluginClass)
