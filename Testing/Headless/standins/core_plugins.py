"""Plugins of others beside which ours live: what they offer, without what they do."""

from __future__ import annotations

from typing import Any

import dicombridge
from dicombridge.kinds import kind_named
from standins.application import SlicerStandIn
from standins.widgets import qSlicerDICOMExportable


def add_volume_plugin(app: SlicerStandIn) -> None:
    """Register what reads images as Slicer's DICOMScalarVolumePlugin does, and like it offers anything else at 0.5."""
    from DICOMLib import DICOMLoadable, DICOMPlugin

    class VolumePlugin(DICOMPlugin):
        def examineFiles(self, files: Any) -> list[Any]:
            import slicer

            loadables = []
            for known in kind_named("IMAGE").room.examine(list(files), slicer.dicomDatabase) or [None]:
                loadable = DICOMLoadable(known)
                loadable.files, loadable.confidence = list(files), known.confidence if known else 0.5
                loadable.known = known
                loadables.append(loadable)
            return loadables

        def load(self, loadable: Any) -> Any:
            import slicer

            nodes = dicombridge.load(loadable.known, scene=slicer.mrmlScene, database=slicer.dicomDatabase)
            for node in nodes:
                node.RemoveAttribute("DICOMBridge.Kind")  # Slicer's own knows nothing of it
            return nodes

        def examineForExport(self, subjectHierarchyItemID: int) -> list[Any]:
            import slicer

            hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
            node = hierarchy.GetItemDataNode(subjectHierarchyItemID)
            if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
                return []
            exportable = qSlicerDICOMExportable()
            exportable.name, exportable.pluginClass = "Scalar Volume", "DICOMScalarVolumePlugin"
            exportable.confidence = 1.0
            return [exportable]

    app.modules.dicomPlugins["DICOMScalarVolumePlugin"] = VolumePlugin


def add_rival(app: SlicerStandIn, key: str, sop_class: str, confidence: float) -> None:
    """Register a plugin that offers all files of a SOP class and cannot load them."""
    from DICOMLib import DICOMLoadable, DICOMPlugin

    class Rival(DICOMPlugin):
        def examineFiles(self, files: Any) -> list[Any]:
            import slicer

            if slicer.dicomDatabase.fileValue(files[0], "0008,0016") != sop_class:
                return []
            loadable = DICOMLoadable()
            loadable.files, loadable.selected, loadable.confidence = files, True, confidence
            return [loadable]

    app.modules.dicomPlugins[key] = Rival
