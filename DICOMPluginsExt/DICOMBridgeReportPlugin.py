"""Structured reports in Slicer's DICOM module: the hook that Slicer discovers."""

from __future__ import annotations

from typing import Any, ClassVar

from DICOMBridgeLib.plugin import DICOMBridgePlugin, register


class DICOMBridgeReportPluginClass(DICOMBridgePlugin):
    """Structured reports and key object selections; markups, tables and segmentations are exported as reports."""

    kindName = "SR"
    modality = "SR"
    title = "Structured report"
    exportConfidence = 0.6  # above fiducials: what a person measured is wanted as a report more often
    exportsFolders = True
    # Empty ones are left to the library; profile "ohif" is what OHIF opens, coordinates "image" are pixels of slices.
    exportTags: ClassVar[dict[str, str]] = {"profile": "", "coordinates": "", "observer": ""}

    def _exports(self, node: Any, item_id: int) -> bool:
        """Whether the node is a markup, a segmentation, a table of its statistics, or what came from a report."""
        if self._came_from_kind(node):
            return True
        if node.IsA("vtkMRMLTableNode"):
            return node.GetTable() is not None and node.GetTable().GetColumnByName("Segment") is not None
        return node.GetClassName().startswith("vtkMRMLMarkups") or node.IsA("vtkMRMLSegmentationNode")


class DICOMBridgeReportPlugin:
    """The module, named as its file."""

    def __init__(self, parent: Any) -> None:
        register(parent, DICOMBridgeReportPluginClass)
