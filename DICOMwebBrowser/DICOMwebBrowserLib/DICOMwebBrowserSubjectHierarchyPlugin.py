"""*Send to a DICOMweb server...* in the menu of the subject hierarchy. Slicer finds the class by the file's name."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from AbstractScriptedSubjectHierarchyPlugin import AbstractScriptedSubjectHierarchyPlugin
from slicer.i18n import tr as _


class DICOMwebBrowserSubjectHierarchyPlugin(AbstractScriptedSubjectHierarchyPlugin):
    """Owns no items; it offers one action for those that have a data node, and for studies and folders of such."""

    filePath = __file__

    def __init__(self, scriptedPlugin: Any) -> None:
        scriptedPlugin.name = "DICOMwebBrowser"
        AbstractScriptedSubjectHierarchyPlugin.__init__(self, scriptedPlugin)
        self.sendAction = qt.QAction(_("Send to a DICOMweb server..."), scriptedPlugin)
        self.sendAction.objectName = "SendToDICOMwebAction"
        self.sendAction.triggered.connect(lambda *_args: self.send())

    def canAddNodeToSubjectHierarchy(self, node: Any, parentItemID: int) -> float:
        """Own nothing."""
        return 0.0

    def canOwnSubjectHierarchyItem(self, itemID: int) -> float:
        """Own nothing."""
        return 0.0

    def roleForPlugin(self) -> str:
        """Have no role."""
        return "N/A"

    def itemContextMenuActions(self) -> list[Any]:
        """Return the one action."""
        return [self.sendAction]

    def showContextMenuActionsForItem(self, itemID: int) -> None:
        """Show it for what has a data node, or some below it; Slicer hides it before."""
        if self._data_items(itemID):
            self.sendAction.visible = True

    def send(self) -> None:
        """Open the module with the item checked; nothing is sent before the person says so."""
        item = slicer.qSlicerSubjectHierarchyPluginHandler.instance().currentItem()
        items = self._data_items(item)
        if not items:
            return
        slicer.util.selectModule("DICOMwebBrowser")
        slicer.util.getModuleWidget("DICOMwebBrowser").window.offer(items)

    def _data_items(self, item: int) -> list[int]:
        from DICOMwebBrowserLib.sending import data_items

        return data_items(item)
