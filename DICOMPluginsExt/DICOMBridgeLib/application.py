"""The globals of the running Slicer, each behind a function.

``slicer`` is imported inside the functions: outside the application it stands for all of VTK, and a hook must stay
cheap to import wherever it is imported.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

__all__ = [
    "add_item_menu",
    "add_switch",
    "clicked_item",
    "database",
    "describe",
    "dicom_plugins",
    "is_switched_on",
    "item_node",
    "new_action",
    "new_exportable",
    "nodes",
    "progress_reporter",
    "scene",
    "show_above",
    "show_error",
    "shown_volumes",
    "subject_hierarchy",
    "use_in_library",
    "volume_of_points",
]

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_REPORTS = 0.1
_MILLISECONDS_SHOWN = 5000


def scene() -> Any:
    """Return the scene of the application."""
    import slicer

    return slicer.mrmlScene


def database() -> Any:
    """Return the DICOM database of the application; None before the end of the start-up, or without DICOM module."""
    import slicer

    return getattr(slicer, "dicomDatabase", None)


def nodes(class_name: str) -> list[Any]:
    """Return the nodes of a class in the scene."""
    count = scene().GetNumberOfNodesByClass(class_name)
    return [scene().GetNthNodeByClass(number, class_name) for number in range(count)]


def use_in_library() -> None:
    """Make the application's scene and database the defaults of :mod:`dicombridge`."""
    from dicombridge.scene import use_application

    use_application(scene=scene, database=database)


def dicom_plugins() -> Any:
    """Return the registry of DICOM plugins; whoever comes first makes it."""
    import slicer

    try:
        return slicer.modules.dicomPlugins
    except AttributeError:
        slicer.modules.dicomPlugins = {}
        return slicer.modules.dicomPlugins


def is_switched_on(key: str) -> bool:
    """Return whether the user switched a setting on; a QSettings file gives back text."""
    import slicer

    return str(slicer.app.settings().value(key, False)).lower() in ("true", "1")


def add_switch(panel: Any, parent: Any, key: str, label: str) -> None:
    """Add a check box for a setting to a group box of the DICOM settings panel.

    Parameters
    ----------
    panel
        ``ctkSettingsPanel``, which keeps the setting.
    parent
        The ``ctkCollapsibleGroupBox`` of the plugin, without a layout yet.
    key
        Of the setting; off to begin with.
    label
        What the box says.
    """
    import qt

    form = qt.QFormLayout(parent)
    box = qt.QCheckBox()
    box.text = label
    form.addRow(box)
    panel.registerProperty(key, box, "checked", str(qt.SIGNAL("toggled(bool)")))


def new_exportable() -> Any:
    """Return a new ``qSlicerDICOMExportable``; a Python object would be rejected by the export dialog."""
    import slicer

    return slicer.qSlicerDICOMExportable()


def subject_hierarchy() -> Any:
    """Return the subject hierarchy node of the scene."""
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def item_node(item_id: int) -> Any | None:
    """Return the data node of a subject hierarchy item, or None for a folder, study, patient, segment or nothing."""
    node = subject_hierarchy().GetItemDataNode(item_id) if item_id else None
    # An item can outlive its node's stay in the scene.
    return node if node is not None and node.GetScene() is not None else None


def is_folder(item_id: int) -> bool:
    """Whether an item of the subject hierarchy is a folder; patients and studies are none."""
    return bool(subject_hierarchy().GetItemLevel(item_id) == "Folder")


def items_below(item_id: int) -> list[int]:
    """Return all items below an item of the subject hierarchy."""
    items: list[int] = []
    subject_hierarchy().GetItemChildren(item_id, items, True)
    return items


def volume_of_points(node: Any) -> Any | None:
    """Return the volume that markups were placed on, None where they do not say."""
    volume = node.GetNodeReference("referenceImageGeometryRef")
    if volume is None and node.GetNumberOfControlPoints():
        volume = node.GetScene().GetNodeByID(str(node.GetNthControlPointAssociatedNodeID(0) or ""))
    return volume


def shown_volumes() -> list[Any]:
    """Return the volumes that slice views show, as background or over it."""
    layers = [
        node_id
        for composite in nodes("vtkMRMLSliceCompositeNode")
        for node_id in (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
    ]
    found = (scene().GetNodeByID(node_id) for node_id in dict.fromkeys(filter(None, layers)))
    return [volume for volume in found if volume is not None]


def show_above(volume: Any) -> None:
    """Show a volume in the slice views, over what they show."""
    import slicer

    slicer.util.setSliceViewerLayers(foreground=volume.GetID(), foregroundOpacity=1.0)


def show_error(title: str, text: str) -> None:
    """Tell the user what went wrong."""
    import slicer

    slicer.util.errorDisplay(text, windowTitle=title)


def new_action(parent: Any, name: str, text: str, callback: Callable[[], None]) -> Any:
    """Return an entry of a menu.

    Parameters
    ----------
    parent
        ``QObject`` that owns it.
    name
        By which it is found again.
    """
    import qt

    action = qt.QAction(text, parent)
    action.objectName = name
    action.connect("triggered()", callback)
    return action


def clicked_item() -> int:
    """Return the subject hierarchy item whose menu is open."""
    import slicer

    return int(slicer.qSlicerSubjectHierarchyPluginHandler.instance().currentItem())


def add_item_menu(path: str) -> None:
    """Add what a hook offers in the menus of subject hierarchy items, once Slicer has started.

    Parameters
    ----------
    path
        The hook's file. It has a class that is named as the file, and ``SubjectHierarchyPlugin``.
    """
    import slicer

    def add() -> None:
        plugin = slicer.qSlicerSubjectHierarchyScriptedPlugin(None)
        if plugin.setPythonSource(path):
            slicer.qSlicerSubjectHierarchyPluginHandler.instance().registerPlugin(plugin)

    app = getattr(slicer, "app", None)
    if app is not None:  # there is none where a hook is looked at outside of Slicer
        app.connect("startupCompleted()", add)


def progress_reporter(title: str) -> Callable[[float, str], None]:
    """Return a progress callback of the library that writes to the status bar.

    The status bar is painted at once and no events are processed, so that nothing can be clicked on in the middle of
    a load. Without a main window, and when Slicer runs its tests, reports go to the log only.

    Parameters
    ----------
    title
        What is going on, e.g. ``"Loading 5: Liver"``.
    """
    last = 0.0

    def report(fraction: float, message: str) -> None:
        nonlocal last
        now = time.monotonic()
        if fraction < 1.0 and now - last < _SECONDS_BETWEEN_REPORTS:
            return
        last = now
        _show(f"{title}: {message} ({min(max(fraction, 0.0), 1.0):.0%})")

    return report


def _show(text: str) -> None:
    import slicer

    logger.debug(text)
    if slicer.app.testingEnabled():
        return
    window = slicer.util.mainWindow()
    if window is None:
        return
    slicer.util.showStatusMessage(text, _MILLISECONDS_SHOWN)
    window.statusBar().repaint()


def describe(parent: Any, title: str, help_text: str) -> None:
    """Fill the fields of a hidden module whose only work is to register a plugin.

    Parameters
    ----------
    parent
        The ``qSlicerScriptedLoadableModule`` that Slicer hands to a hook.
    title
        Title of the module; Slicer does not load a module without one.
    help_text
        What a person reads in the list of modules.
    """
    parent.title = title
    parent.categories = ["Developer Tools.DICOM Plugins"]
    parent.contributors = ["DICOMBridge contributors"]
    parent.helpText = help_text
    parent.acknowledgementText = "Reads and writes DICOM with pydicom and highdicom."
    parent.hidden = True
