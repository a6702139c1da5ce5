"""Objects of radiotherapy in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib import application
from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeRadiotherapyPluginClass(DICOMBridgePlugin):
    """Structure sets, doses, plans, images and records of radiotherapy; plans are exported, too."""

    kindName = "RTPLAN"
    modality = "RTPLAN"
    title = "Radiotherapy"
    extraTags: ClassVar[dict[str, str]] = {
        "patientID": "0010,0020",
        "numberOfFrames": "0028,0008",
        "structureSetLabel": "3006,0002",
    }
    exportConfidence = 0.0  # a table that was no plan cannot become one
    exportTags: ClassVar[dict[str, str]] = {"RTPlanLabel": ""}
    preference = "DICOMBridge/PreferForRadiotherapy"

    @staticmethod
    def settingsPanelEntry(panel: Any, parent: Any) -> None:
        """Let the user choose between this plugin and SlicerRT, where both are installed."""
        key = DICOMBridgeRadiotherapyPluginClass.preference
        application.add_switch(panel, parent, key, "Load radiotherapy objects with DICOMBridge rather than SlicerRT")


class DICOMBridgeRadiotherapyPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeRadiotherapyPluginClass)
