"""The order in which Slicer calls its plugins: examine, select, load.

``slicer`` is imported inside the functions, because outside the application it stands for all of VTK.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

__all__ = [
    "getLoadablesFromFileLists",
    "loadLoadables",
    "loadSeriesByUID",
    "selectHighestConfidenceLoadables",
]

_SERIES = "0020,000E"


def getLoadablesFromFileLists(
    fileLists: Any,
    pluginClassNames: list[str] | None = None,
    messages: list[str] | None = None,
    progressCallback: Any = None,
    pluginInstances: dict[str, Any] | None = None,
) -> tuple[dict[Any, list[Any]], bool]:
    """Ask every plugin; a plugin that finds nothing is asked again under the older name."""
    import slicer

    by_plugin: dict[Any, list[Any]] = {}
    enabled = False
    if not isinstance(fileLists, list) or not fileLists or type(fileLists[0]) not in (tuple, list):
        logging.error("File lists must contain a non-empty list of tuples/lists")
        return by_plugin, enabled
    names = pluginClassNames if pluginClassNames is not None else list(slicer.modules.dicomPlugins)
    instances = pluginInstances if pluginInstances is not None else {}
    for step, name in enumerate(names):
        if name not in instances:
            instances[name] = slicer.modules.dicomPlugins[name]()
        plugin = instances[name]
        if progressCallback and progressCallback(name, step * 100 / len(names)):
            break
        try:
            by_plugin[plugin] = plugin.examineForImport(fileLists)
            if not by_plugin[plugin]:
                by_plugin[plugin] = plugin.examine(fileLists)
            enabled = enabled or by_plugin[plugin] != []
        except Exception as error:
            traceback.print_exc()
            logging.error("DICOM Plugin failed: %s", error)
            if messages:
                messages.append(f"Plugin failed: {name}.")
    return by_plugin, enabled


def selectHighestConfidenceLoadables(loadablesByPlugin: dict[Any, list[Any]]) -> None:
    """Select the surest of each series, all of them where there is a tie; what the plugins selected is overwritten."""
    import slicer

    by_series: dict[str, list[Any]] = {}
    for loadables in loadablesByPlugin.values():
        for loadable in loadables:
            by_series.setdefault(slicer.dicomDatabase.fileValue(loadable.files[0], _SERIES), []).append(loadable)
    for loadables in by_series.values():
        best = max(loadable.confidence for loadable in loadables)
        for loadable in loadables:
            loadable.selected = loadable.confidence == best


def loadLoadables(
    loadablesByPlugin: dict[Any, list[Any]], messages: list[str] | None = None, progressCallback: Any = None
) -> list[str]:
    """Load what is selected; return the IDs of the nodes that came, storage and display nodes excluded."""
    import slicer
    import vtk

    ids: list[str] = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(caller: Any, event: Any, node: Any) -> None:
        if not isinstance(node, slicer.vtkMRMLStorageNode | slicer.vtkMRMLDisplayNode):
            ids.append(node.GetID())

    # The later plugin wins a loadable that two share.
    selected = {one: plugin for plugin, many in loadablesByPlugin.items() for one in many if one.selected}
    tag = slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added)
    for step, (loadable, plugin) in enumerate(selected.items(), start=1):
        if progressCallback and progressCallback(loadable.name, step * 100 / len(selected)):
            break
        try:
            success = plugin.load(loadable)
        except Exception:
            success = False
            logging.error("DICOM plugin failed to load '%s'.\n%s", loadable.name, traceback.format_exc())
        loadable.loadSuccess = bool(success)
        if not success and messages is not None:
            messages.append(f"Could not load: {loadable.name} as a {plugin.loadType}")
    slicer.mrmlScene.RemoveObserver(tag)
    return ids


def loadSeriesByUID(
    seriesUIDs: list[str], messages: list[str] | None = None, progressCallback: Any = None
) -> list[str]:
    """Examine, select and load series of the database."""
    import slicer

    if not isinstance(seriesUIDs, list) or not seriesUIDs:
        raise ValueError("SeriesUIDs must contain a list")
    if not slicer.dicomDatabase.isOpen:
        raise OSError("DICOM module or database cannot be accessed")
    lists = [slicer.dicomDatabase.filesForSeries(uid) for uid in seriesUIDs]
    by_plugin, _ = getLoadablesFromFileLists(lists, None, messages, progressCallback)
    selectHighestConfidenceLoadables(by_plugin)
    return loadLoadables(by_plugin)
