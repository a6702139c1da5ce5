"""DICOM Parametric Maps in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeParametricMapPluginClass(DICOMBridgePlugin):
    """Parametric maps, float and integer, of one or several quantities, as volumes or sequences and back."""

    kindName = "PM"
    modality = "OT"
    extraTags: ClassVar[dict[str, str]] = {"contentLabel": "0070,0080", "concatenationUID": "0020,9161"}
    exportConfidence = 0.6  # below an image's own exporters
    exportTags: ClassVar[dict[str, str]] = {"ContentLabel": "", "ContentDescription": "", "ContentCreatorName": ""}


class DICOMBridgeParametricMapPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeParametricMapPluginClass)
