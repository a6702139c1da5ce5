"""The base class of all plugins of the DICOM module: everything but the kind is the same for all of them.

A hook is a class with :attr:`DICOMBridgePlugin.kindName` and a call of :func:`register`. What a kind can do stands in
its room in :mod:`dicombridge`; what stands here is how Slicer asks for it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, ClassVar

from DICOMLib import DICOMLoadable, DICOMPlugin

from dicombridge.errors import DicomBridgeError
from dicombridge.kinds import Kind, kind_named, kinds_of_node_class
from dicombridge.loadable import Loadable
from DICOMBridgeLib import application, requirements

__all__ = ["DICOMBridgePlugin", "register"]

logger = logging.getLogger(__name__)

_SOP_CLASS_UID = "0008,0016"
_SERIES_NUMBER = "0020,0011"
_SERIES_DESCRIPTION = "0008,103E"

# Of images, when an object is placed on them: else the database opens each of them for each of these.
_PLACE_TAGS = {
    "instanceNumber": "0020,0013",
    "imageOrientationPatient": "0020,0037",
    "frameOfReferenceUID": "0020,0052",
    "rows": "0028,0010",
    "columns": "0028,0011",
    "pixelSpacing": "0028,0030",
}

# The export dialog lists the best exporter first. Slicer core offers a segmentation at 1.0 and a volume at up to 1.0,
# whether it can be written or not; nothing in the dialog limits the value to 1.
_EXPORT_CONFIDENCE = 1.05

# A qSlicerDICOMExportable cannot list its tags (its map has no form in Python), so those to ask for are named here:
# patient and study (the dialog takes them from the subject hierarchy), then what the dialog lets the user edit.
_SUBJECT_TAGS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientComments",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
)
_SERIES_TAGS = ("SeriesDescription", "SeriesNumber", "Manufacturer")

# What Slicer shows in the subject hierarchy where the data has nothing; nobody is called so.
_MADE_UP = {"PatientName": "No name", "StudyDescription": "No study description"}


class DICOMBridgePlugin(DICOMPlugin):
    """One kind of :data:`dicombridge.kinds.KINDS` as a plugin of Slicer's DICOM module."""

    kindName: ClassVar[str] = ""
    """Row in the table of kinds."""

    modality: ClassVar[str] = ""
    """Modality (0008,0060) of what the kind exports."""

    extraTags: ClassVar[dict[str, str]] = {}
    """What the kind asks the database for beyond the common tags; ``"GGGG,EEEE"``, hexadecimal digits in upper case."""

    exportTags: ClassVar[dict[str, str]] = {}
    """What the user can set in the export dialog beyond the common tags: DICOM keyword -> value to begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.loadType = self.kind.title
        # The database copies the values of these for every instance that it ever sees: few, and never PixelData.
        self.tags["sopClassUID"] = _SOP_CLASS_UID
        self.tags["seriesNumber"] = _SERIES_NUMBER
        self.tags["seriesDescription"] = _SERIES_DESCRIPTION
        self.tags.update(_PLACE_TAGS)
        self.tags.update(self.extraTags)

    @property
    def kind(self) -> Kind:
        """The plugin's row in the table of kinds."""
        return kind_named(self.kindName)

    # ------------------------------------------------------------------ import

    def examineForImport(self, fileLists: Any) -> list[DICOMLoadable]:
        """Return what can be loaded from the file lists, one list a series. Never raises.

        Nothing is imported and nothing is opened for a series of another kind: the database knows its SOP class.
        """
        loadables: list[DICOMLoadable] = []
        for files in fileLists:
            if not files or not self._is_ours(files[0]):
                continue
            # DICOMUtils asks a second time after an empty answer, so that an empty answer is worth keeping, too. A
            # warning is not: the browser keeps its plugins, and what was missing may be imported or installed later.
            found = self.getCachedLoadables(files)
            if found is None or any(loadable.warning for loadable in found):
                found = self.examineFiles(files)
                self.cacheLoadables(files, found)
            loadables += found
        return loadables

    def examineFiles(self, files: Any) -> list[DICOMLoadable]:
        """Return what can be loaded from the files of one series. Never raises."""
        if not files or not self._is_ours(files[0]):
            return []
        try:
            return [_as_slicer_loadable(found) for found in self.kind.room.examine(list(files), application.database())]
        except Exception as error:
            if isinstance(error, ImportError) and requirements.missing():
                # An older Slicer: the packages are asked for when this is loaded.
                return [self._unexamined(files)]
            logger.exception("DICOMBridge cannot examine %s as %s.", files[0], self.loadType)
            return []

    def _is_ours(self, path: str) -> bool:
        try:
            return application.database().fileValue(path, _SOP_CLASS_UID) in self.kind.sop_classes
        except Exception:
            logger.exception("The DICOM database cannot tell what %s is.", path)
            return False

    def _unexamined(self, files: Any) -> DICOMLoadable:
        """Return a loadable that is made without opening anything, for when the packages are not installed."""
        value = application.database().fileValue
        number, description = value(files[0], _SERIES_NUMBER), value(files[0], _SERIES_DESCRIPTION)
        loadable = DICOMLoadable()
        loadable.files = list(files)
        loadable.name = ": ".join(part for part in (number, description or self.loadType) if part)
        loadable.tooltip = f"{self.loadType}, {len(files)} file(s)"
        loadable.warning = (
            f"Not examined, because DICOMBridge needs {' and '.join(requirements.missing())}; "
            "Slicer asks before it installs something."
        )
        loadable.selected = True
        loadable.confidence = self.kind.confidence
        loadable.referencedInstanceUIDs = []
        return loadable

    def load(self, loadable: Any) -> list[Any]:
        """Load into the application's scene and return the nodes; the library files them in the subject hierarchy.

        Raises
        ------
        DicomBridgeError
            The object cannot be loaded; the scene is as it was. DICOMUtils logs this.
        """
        requirements.ensure()
        import dicombridge

        return dicombridge.load(
            self._library_loadable(loadable),
            scene=application.scene(),
            database=application.database(),
            progress=application.progress_reporter(f"Loading {loadable.name}"),
        )

    def _library_loadable(self, loadable: Any) -> Loadable:
        """Return the library's loadable for Slicer's, which may have been renamed by the user or copied by a script."""
        source = getattr(loadable, "dicombridgeLoadable", None)
        if source is None:
            found = self.kind.room.examine(list(loadable.files), application.database())
            if not found:
                raise DicomBridgeError(f"{loadable.name}: there is nothing in it to load as {self.loadType}.")
            source = max(found, key=lambda candidate: candidate.confidence)
        return replace(source, name=loadable.name)

    # ------------------------------------------------------------------ export

    def examineForExport(self, subjectHierarchyItemID: int) -> list[Any]:
        """Return one exportable if the item's node can be written as this kind, else none.

        One and not one a variant: the export dialog writes all exportables of a plugin together. The variant is a
        tag that the user edits.
        """
        node = application.item_node(subjectHierarchyItemID)
        if node is None or not self._exports(node, subjectHierarchyItemID):
            return []
        exportable = application.new_exportable()
        exportable.name = f"{self.kind.title} (DICOMBridge)"
        exportable.tooltip = f"Writes {node.GetName()} as DICOM {self.kind.title} object"
        exportable.subjectHierarchyItemID = subjectHierarchyItemID
        exportable.pluginClass = type(self).__module__
        exportable.confidence = _EXPORT_CONFIDENCE
        for name, value in self._tags_to_edit(node).items():
            exportable.setTag(name, value)
        return [exportable]

    def _exports(self, node: Any, item_id: int) -> bool:
        """Whether the node is of the kind's main class, or is one of several nodes that came from such an object."""
        node_class = node.GetClassName()
        if self.kind.name not in [kind.name for kind in kinds_of_node_class(node_class)]:
            return False
        modality = application.subject_hierarchy().GetItemAttribute(item_id, "DICOM.Modality")
        return node_class == self.kind.node_classes[0] or modality == self.modality

    def _tags_to_edit(self, node: Any) -> dict[str, str]:
        """Return what the dialog shows for the series. Values are text: the dialog would show None as 'None'.

        What the library remembers on the node under the same name, e.g. ``DICOMBridge.SegmentationType``, comes before
        the kind's usual value.
        """
        common = dict.fromkeys(_SERIES_TAGS, "")
        remembered = {
            name: node.GetAttribute(f"DICOMBridge.{name}") or usual for name, usual in self.exportTags.items()
        }
        return common | {"Modality": self.modality, "SeriesDescription": node.GetName() or ""} | remembered

    def export(self, exportables: Any) -> str:
        """Write the exportables, and return an empty text or what went wrong. Never raises.

        Nodes that came from one series are written together, because they were one object.
        """
        errors = []
        try:
            requirements.ensure()
            groups = _grouped_by_series(exportables)
        except Exception as error:
            return _explained(error, "Export")
        for group in groups:
            try:
                self._export_together(group)
            except Exception as error:
                errors.append(_explained(error, _names(group)))
        return "\n".join(errors)

    def _export_together(self, exportables: list[Any]) -> None:
        import dicombridge

        nodes = [application.item_node(exportable.subjectHierarchyItemID) for exportable in exportables]
        if None in nodes:
            raise DicomBridgeError("what was to be exported is not in the scene any more.")
        dicombridge.export(
            nodes,
            exportables[0].directory,
            kind=self.kind.name,
            database=application.database(),
            progress=application.progress_reporter(f"Exporting {_names(exportables)}"),
            **self._options(exportables[0]),
        )

    def _options(self, exportable: Any) -> dict[str, str]:
        """Return the tags that have a value, with the user's edits."""
        names = (*_SUBJECT_TAGS, *_SERIES_TAGS, *self.exportTags)
        values = {name: str(exportable.tag(name)).strip() for name in names}
        made_up = _MADE_UP | {"PatientID": f"Patient-{values['StudyInstanceUID']}"}
        return {name: value for name, value in values.items() if value and value != made_up.get(name)}


def register(parent: Any, plugin_class: type[DICOMBridgePlugin]) -> None:
    """Describe the hook's module and put its plugin into the DICOM module's registry.

    The key is the name of the hook's file, because the export dialog looks a plugin up by ``pluginClass``, which is
    that name, too.

    Parameters
    ----------
    parent
        The ``qSlicerScriptedLoadableModule`` that Slicer hands to a hook.
    plugin_class
        The hook's plugin.
    """
    kind = kind_named(plugin_class.kindName)
    application.describe(
        parent,
        f"DICOMBridge {kind.title} plugin",
        f"Lets the DICOM module load and export DICOM objects of the kind: {kind.title}.",
    )
    application.use_in_library()
    application.dicom_plugins()[plugin_class.__module__] = plugin_class


def _as_slicer_loadable(found: Loadable) -> DICOMLoadable:
    """Return the library's loadable as Slicer's, which takes further attributes."""
    loadable = DICOMLoadable()
    loadable.files = list(found.files)
    loadable.name = found.name
    loadable.tooltip = found.tooltip
    loadable.warning = found.warning
    loadable.selected = found.selected
    loadable.confidence = found.confidence
    # A list even where it is empty: the browser adds these up over all loadables.
    loadable.referencedInstanceUIDs = list(found.referencedInstanceUIDs)
    loadable.dicombridgeLoadable = found
    return loadable


def _grouped_by_series(exportables: Any) -> list[list[Any]]:
    """Return the exportables in groups of one DICOM series each; what has no series is a group of its own."""
    hierarchy = application.subject_hierarchy()
    groups: dict[Any, list[Any]] = {}
    for exportable in exportables:
        item_id = exportable.subjectHierarchyItemID
        groups.setdefault(hierarchy.GetItemUID(item_id, "DICOM") or item_id, []).append(exportable)
    return list(groups.values())


def _names(exportables: list[Any]) -> str:
    nodes = [application.item_node(exportable.subjectHierarchyItemID) for exportable in exportables]
    return ", ".join(node.GetName() or "unnamed node" for node in nodes if node is not None) or exportables[0].name


def _explained(error: Exception, what: str) -> str:
    """Return one text for the person at the dialog; what is a defect goes to the log with its traceback."""
    if not isinstance(error, DicomBridgeError):
        logger.exception("DICOMBridge failed to export.")
        return f"{what}: {type(error).__name__}: {error}. Details are in the log."
    return f"{what}: {error}"
