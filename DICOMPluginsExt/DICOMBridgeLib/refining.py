"""Slides in Slicer: from a coarse level to the pixels of a part of it."""

from __future__ import annotations

from typing import Any

from DICOMBridgeLib import application, requirements

__all__ = ["refine_slide"]


def refine_slide(_plugin: Any, volume: Any, region: Any) -> list[Any]:
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
