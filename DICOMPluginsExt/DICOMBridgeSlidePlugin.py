"""Whole slide images and their annotations in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib import application
from DICOMBridgeLib.plugin import DICOMBridgePlugin, register
from DICOMBridgeLib.refining import RefineMenu, refine_slide


class DICOMBridgeSlidePluginClass(DICOMBridgePlugin):
    """Slides, microscopy and photographs as volumes, bulk annotations as models."""

    kindName = "SLIDE"
    modality = "SM"
    title = "Whole slide image"
    extraTags: ClassVar[dict[str, str]] = {"contentLabel": "0070,0080"}

    refine = refine_slide


class DICOMBridgeSlidePluginSubjectHierarchyPlugin(RefineMenu):
    """The entry in the menus of markups; Slicer finds it by its name, that of the file before it."""

    filePath = __file__


class DICOMBridgeSlidePlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeSlidePluginClass)
        application.add_item_menu(__file__)
