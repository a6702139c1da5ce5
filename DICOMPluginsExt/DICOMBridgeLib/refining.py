"""Slides in Slicer: from a coarse level to the pixels of a part of it, by Python or by a click on the markup."""

from __future__ import annotations

from typing import Any, ClassVar

from dicombridge.errors import DicomBridgeError
from DICOMBridgeLib import application, requirements

__all__ = ["RefineMenu", "refine_slide", "slide_below"]

REGIONS = ("vtkMRMLMarkupsROINode", "vtkMRMLMarkupsPlaneNode", "vtkMRMLMarkupsClosedCurveNode")
"""Markups that enclose a part of a slide."""
_KIND_ATTRIBUTE = "DICOMBridge.Kind"
_TEXT = "Load this part of the slide in finer pixels"


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


def slide_below(region: Any) -> Any | None:
    """Return the slide's volume that a markup encloses a part of, None where there is none.

    Of several it is the one that the markup was placed on, else one that is shown in slices, else the largest.
    """
    if region is None or not any(region.IsA(one) for one in REGIONS):
        return None
    volumes = [one for one in application.nodes("vtkMRMLVolumeNode") if one.GetAttribute(_KIND_ATTRIBUTE) == "SLIDE"]
    overlapping = [one for one in volumes if _overlap(one, region)]
    placed_on, shown = application.volume_of_points(region), application.shown_volumes()
    return max(overlapping, key=lambda one: (one is placed_on, one in shown, _area(one)), default=None)


def _bounds(node: Any) -> list[float]:
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return bounds


def _overlap(volume: Any, region: Any) -> bool:
    """Whether they meet, seen along the light of the microscope."""
    one, other = _bounds(volume), _bounds(region)
    return all(max(one[low], other[low]) < min(one[low + 1], other[low + 1]) for low in (0, 2))


def _area(volume: Any) -> float:
    left, right, back, front, *_ = _bounds(volume)
    return (right - left) * (front - back)


class RefineMenu:
    """An entry in the menus of markups on slides, as a scripted plugin of the subject hierarchy.

    Slicer instantiates the hook's subclass, which it finds by its name, and calls the methods below.
    """

    filePath: ClassVar[str] = ""

    def __init__(self, scriptedPlugin: Any) -> None:
        scriptedPlugin.name = "DICOMBridgeSlide"
        self._action = application.new_action(scriptedPlugin, "DICOMBridgeRefineSlide", _TEXT, self.onRefine)

    def itemContextMenuActions(self) -> list[Any]:
        """Return what can be shown of any item."""
        return [self._action]

    def showContextMenuActionsForItem(self, itemID: int) -> None:
        """Show the entry for markups that enclose a part of a slide."""
        self._action.visible = slide_below(application.item_node(itemID)) is not None

    def onRefine(self) -> None:
        """Load the part that the clicked markup encloses and show it over the slide; say why where that fails."""
        region = application.item_node(application.clicked_item())
        volume = slide_below(region)
        if volume is None:
            return
        try:
            found = refine_slide(None, volume, region)
        except DicomBridgeError as error:
            application.show_error(_TEXT, str(error))
            return
        application.show_above(found[0])
