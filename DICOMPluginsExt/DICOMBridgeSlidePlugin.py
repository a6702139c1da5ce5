"""Whole slide images and their annotations in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register
from DICOMBridgeLib.refining import refine_slide


class DICOMBridgeSlidePluginClass(DICOMBridgePlugin):
    """Slides, microscopy and photographs as volumes, bulk annotations as models."""

    kindName = "SLIDE"
    modality = "SM"
    title = "Whole slide image"
    extraTags: ClassVar[dict[str, str]] = {"contentLabel": "0070,0080"}

    refine = refine_slide


class DICOMBridgeSlidePlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeSlidePluginClass)
