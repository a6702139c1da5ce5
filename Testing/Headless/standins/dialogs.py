"""What the DICOM browser and the export dialog do with plugins, without their windows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from standins.widgets import qSlicerDICOMExportable

_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientComments")
_STUDY = ("StudyInstanceUID", "StudyID", "StudyDescription", "StudyDate", "StudyTime")


# ---------------------------------------------------------------------- browser


class Browser:
    """Basic mode of the DICOM browser; plugin instances live as long as it does."""

    def __init__(self) -> None:
        self.instances: dict[str, Any] = {}
        self.loadables: dict[Any, list[Any]] = {}
        self.offered: list[tuple[str, ...]] = []

    def examine(self, file_lists: list[Any]) -> list[Any]:
        """Examine and select; return what the table shows."""
        from DICOMLib import DICOMUtils

        self.loadables, _ = DICOMUtils.getLoadablesFromFileLists(file_lists, None, None, None, self.instances)
        DICOMUtils.selectHighestConfidenceLoadables(self.loadables)
        return [loadable for loadables in self.loadables.values() for loadable in loadables]

    def references(self) -> list[Any]:
        """Return the loadables of the series that the loadables refer to: what the browser offers to load, too."""
        import slicer
        from DICOMLib import DICOMUtils

        known = [tuple(one.files) for many in self.loadables.values() for one in many]
        series: dict[str, list[str]] = {}
        for loadables in self.loadables.values():
            for loadable in loadables:
                if not hasattr(loadable, "referencedInstanceUIDs"):
                    continue
                for uid in loadable.referencedInstanceUIDs:
                    path = slicer.dicomDatabase.fileForInstance(uid)
                    if path:
                        files = series.setdefault(slicer.dicomDatabase.seriesForFile(path), [])
                        if path not in files:
                            files.append(path)
        self.offered = [tuple(files) for files in series.values() if tuple(files) not in known]
        if not self.offered:
            return []
        by_plugin, _ = DICOMUtils.getLoadablesFromFileLists(list(self.offered), None, None, None, self.instances)
        return [loadable for loadables in by_plugin.values() for loadable in loadables]

    def load(self, edit: Callable[[Any], None] | None = None, messages: list[str] | None = None) -> list[str]:
        """Write the table back (name and check mark) and load."""
        from DICOMLib import DICOMUtils

        for loadables in self.loadables.values():
            for loadable in loadables:
                if edit is not None:
                    edit(loadable)
        return DICOMUtils.loadLoadables(self.loadables, messages)


# ---------------------------------------------------------------------- export


def exportables_of_item(item_id: int) -> dict[str, list[Any]]:
    """Return plugin class -> exportables, the surest first, as the dialog lists them.

    All plugins are asked for every series item: the item itself, or the children of a study.
    """
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    groups: dict[str, list[Any]] = {}
    for item in _series_items(hierarchy, item_id):
        for name, plugin_class in slicer.modules.dicomPlugins.items():
            for exportable in _ask(name, plugin_class, item):
                groups.setdefault(exportable.pluginClass, []).append(exportable)
    ordered = sorted(groups, key=lambda name: -sum(e.confidence for e in groups[name]) / len(groups[name]))
    return {name: groups[name] for name in ordered}


def _ask(name: str, plugin_class: Any, item: int) -> Iterable[Any]:
    try:
        found = plugin_class().examineForExport(item)
    except Exception:
        logging.exception("%s failed to examine for export", name)
        return []
    # The dialog casts to the C++ class; a plain Python object is dropped.
    return [exportable for exportable in found if isinstance(exportable, qSlicerDICOMExportable)]


def _series_items(hierarchy: Any, item_id: int) -> list[int]:
    if hierarchy.GetItemDataNode(item_id) is not None:
        return [item_id]
    if hierarchy.GetItemLevel(item_id) != "Study":
        raise ValueError("Study or series item must be selected")
    children: list[int] = []
    hierarchy.GetItemChildren(item_id, children, False)
    return children


def fill_tags(exportables: list[Any], edits: dict[str, str] | None = None) -> None:
    """Do what the tag editor does: patient and study from the hierarchy, series from tags and item, then the user."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    for exportable in exportables:
        item = exportable.subjectHierarchyItemID
        patient = hierarchy.GetItemAncestorAtLevel(item, "Patient")
        study = hierarchy.GetItemAncestorAtLevel(item, "Study")
        if not patient or not study:
            raise ValueError("No patient found" if not patient else "No study found")
        series = list(exportable._values)
        for ancestor, names in ((patient, _PATIENT), (study, _STUDY)):
            for name in names:
                exportable.setTag(name, hierarchy.GetItemAttribute(ancestor, f"DICOM.{name}"))
        for name in series:
            value = hierarchy.GetItemAttribute(item, f"DICOM.{name}")
            if value and name not in (*_PATIENT, *_STUDY):
                exportable.setTag(name, value)
        for name, value in (edits or {}).items():
            exportable.setTag(name, value)


def run_export(plugin_class: str, exportables: list[Any], directory: Path) -> str:
    """Export as the dialog does; return its error text, empty for success."""
    import slicer

    for exportable in exportables:
        exportable.directory = str(directory)
    answer: Any = slicer.modules.dicomPlugins[plugin_class]().export(tuple(exportables))
    if answer is None or isinstance(answer, list | tuple):
        return "Error occurred in exporter"
    return str(answer).lower() if isinstance(answer, bool) else str(answer)
