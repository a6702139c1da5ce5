"""Registrations in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeRegistrationPluginClass(DICOMBridgePlugin):
    """Registrations, deformations and fiducials; linear transforms are exported, too."""

    kindName = "REG"
    modality = "REG"
    title = "Spatial registration"
    # Label of the object; the others tell the images of a frame of reference apart.
    extraTags: ClassVar[dict[str, str]] = {
        "contentLabel": "0070,0080",
        "patientID": "0010,0020",
        "modality": "0008,0060",
    }
    # Empty ones are left to the library, which asks the transform and what lies under it.
    exportTags: ClassVar[dict[str, str]] = {"moving": "", "fixed": "", "registration_type": "", "comment": ""}


class DICOMBridgeRegistrationPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeRegistrationPluginClass)
