"""Whole slide images and their annotations in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib import application, requirements
from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeSlidePluginClass(DICOMBridgePlugin):
    """Slides, microscopy and photographs as volumes, bulk annotations as models."""

    kindName = "SLIDE"
    modality = "SM"
    title = "Whole slide image"
    extraTags: ClassVar[dict[str, str]] = {"contentLabel": "0070,0080"}

    def examineForExport(self, subjectHierarchyItemID: int) -> list[Any]:
        """Offer nothing: slides are not written, and annotations have an exporter of their own."""
        return []

    def refine(self, volume: Any, region: Any) -> list[Any]:
        """Load what a markup encloses of a slide that was loaded coarsely, and return the new nodes.

        For Python's console and for modules with a button::

            slicer.modules.dicomPlugins["DICOMBridgeSlidePlugin"]().refine(volume, roi)

        Parameters
        ----------
        volume
            Volume node of an overview or a level.
        region
            Markups node: a region of interest, a plane, a closed curve.
        """
        requirements.ensure()
        from dicombridge.slide import refine

        progress = application.progress_reporter(f"Loading a part of {volume.GetName()}")
        return refine(volume, region, application.database(), progress)


class DICOMBridgeSlidePlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeSlidePluginClass)
