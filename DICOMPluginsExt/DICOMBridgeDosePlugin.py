"""Export of RT Dose objects in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeDosePluginClass(DICOMBridgePlugin):
    """Volumes as RT Dose; DICOMBridgeRadiotherapyPlugin imports them."""

    kindName = "RTDOSE"
    modality = "RTDOSE"
    exportConfidence = 0.5
    exportedClasses = ("vtkMRMLScalarVolumeNode",)  # histograms go with their dose only
    # Empty ones are left to the library, which knows the volume's units, and whether there is a plan to sum up.
    exportTags: ClassVar[dict[str, str]] = {"DoseUnits": "", "DoseType": "", "DoseSummationType": ""}


class DICOMBridgeDosePlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeDosePluginClass)
