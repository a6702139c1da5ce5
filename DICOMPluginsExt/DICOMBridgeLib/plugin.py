"""The base class of all plugins of the DICOM module: everything but the kind is the same for all of them.

A hook is a class with :attr:`DICOMBridgePlugin.kindName` and a call of :func:`register`. What a kind can do stands in
its room in :mod:`dicombridge`; what stands here is how Slicer asks for it. Which kinds a hook imports and exports says
the table of kinds: one hook imports all objects of radiotherapy, and the export dialog wants a plugin for each kind.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, ClassVar

from DICOMLib import DICOMLoadable, DICOMPlugin

from dicombridge.errors import DicomBridgeError
from dicombridge.kinds import KINDS, Kind, kind_named, kind_of_sop_class
from dicombridge.loadable import Loadable, chosen
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

_LOOKED_AT = 3
"""Files at either end of a series whose SOP classes decide whether it is examined: each costs a look-up."""

# The export dialog lists the best exporter first. Slicer core offers a segmentation at 1.0 and a volume at up to 1.0,
# whether it can be written or not; nothing in the dialog limits the value to 1. Where the user prefers ours it beats
# SlicerRT, which is at 1.0 too.
_BEST = 1.05
_AS_IT_CAME = 1.08  # what a node was loaded from comes before all else that it can become

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

# What dicombridge.load tells of a node; dicombridge.api is not imported when Slicer starts.
_KIND_ATTRIBUTE = "DICOMBridge.Kind"

# What Slicer shows in the subject hierarchy where the data has nothing; nobody is called so.
_MADE_UP = {"PatientName": "No name", "StudyDescription": "No study description"}


class DICOMBridgePlugin(DICOMPlugin):
    """One kind of :data:`dicombridge.kinds.KINDS` as a plugin of Slicer's DICOM module."""

    kindName: ClassVar[str] = ""
    """Row in the table of kinds: what the plugin exports, and its name where it imports several."""

    title: ClassVar[str] = ""
    """What the plugin is called, where that is not the title of its kind."""

    modality: ClassVar[str] = ""
    """Modality (0008,0060) of what the kind exports."""

    exportConfidence: ClassVar[float] = _BEST
    """Of exporting a node that did not come from an object of this kind; 0 where that cannot be."""

    preference: ClassVar[str] = ""
    """Key of a setting that, switched on, lets this plugin win over SlicerRT."""

    extraTags: ClassVar[dict[str, str]] = {}
    """What the kind asks the database for beyond the common tags; ``"GGGG,EEEE"``, hexadecimal digits in upper case."""

    exportedClasses: ClassVar[tuple[str, ...]] = ()
    """MRML classes that can be exported alone, where those are not all that the kind makes."""

    partRoles: ClassVar[tuple[str, ...]] = ()
    """Node reference roles of what is exported with a node, because it is not offered alone."""

    exportsFolders: ClassVar[bool] = False
    """Whether all that a folder of the subject hierarchy holds can be exported as one object."""

    exportTags: ClassVar[dict[str, str]] = {}
    """What the user can set in the export dialog beyond the common tags: DICOM keyword -> value to begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.loadType = self.title or self.kind.title
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

    @property
    def imported(self) -> list[Kind]:
        """The kinds that the plugin imports."""
        return [kind for kind in KINDS if kind.hook == type(self).__module__]

    # ------------------------------------------------------------------ import

    def examineForImport(self, fileLists: Any) -> list[DICOMLoadable]:
        """Return what can be loaded from the file lists, one list a series. Never raises.

        Nothing is imported and nothing is opened for a series of another kind: the database knows its SOP class.
        """
        loadables: list[DICOMLoadable] = []
        for files in fileLists:
            if not self._has_ours(files):
                continue
            # DICOMUtils asks a second time after an empty answer, so that an empty answer is worth keeping, too. A
            # warning is not: the browser keeps its plugins, and what was missing may be imported or installed later.
            found = self.getCachedLoadables(files)
            if found is None or any(loadable.warning for loadable in found):
                found = self.examineFiles(files)
                self.cacheLoadables(files, found)
            self._set_confidence(found)
            loadables += found
        return loadables

    def examineFiles(self, files: Any) -> list[DICOMLoadable]:
        """Return what can be loaded from the files of one series. Never raises."""
        if not self._has_ours(files):
            return []
        try:
            loadables = [_as_slicer_loadable(found) for found in self._found(files)]
            self._set_confidence(loadables)
            return loadables
        except Exception as error:
            if isinstance(error, ImportError) and requirements.missing():
                # An older Slicer: the packages are asked for when this is loaded.
                return self._unexamined(files)
            logger.exception("DICOMBridge cannot examine %s as %s.", files[0], self.loadType)
            return []

    def _found(self, files: Any) -> list[Loadable]:
        """Return what the rooms offer; a room passes over files of other classes."""
        database, kinds = application.database(), self.imported
        if len(kinds) > 1:
            classes = {database.fileValue(file, _SOP_CLASS_UID) for file in files}
            kinds = [kind for kind in kinds if not classes.isdisjoint(kind.sop_classes | kind.also_examines)]
        return [found for kind in kinds for found in kind.room.examine(list(files), database)]

    def _set_confidence(self, loadables: list[DICOMLoadable]) -> None:
        """Raise the confidence where the user prefers this plugin, but not that of a doubtful or a second reading.

        Done anew for what was kept since the last look, because the user may have changed the setting.
        """
        if not self.preference:
            return
        is_preferred = application.is_switched_on(self.preference)
        for loadable in loadables:
            found = getattr(loadable, "dicombridgeLoadable", None)
            if found is not None:
                is_sure = found.selected and found.confidence == kind_named(found.kind).confidence
                loadable.confidence = _BEST if is_preferred and is_sure else found.confidence

    def _has_ours(self, files: Any) -> bool:
        """Whether the first or the last files are of our classes; some systems put all that they send into a series."""
        imported = self.imported
        if not files or not imported:
            return False
        some = dict.fromkeys([*files[:_LOOKED_AT], *files[-_LOOKED_AT:]])
        try:
            classes = {application.database().fileValue(file, _SOP_CLASS_UID) for file in some}
        except Exception:
            logger.exception("The DICOM database cannot tell what %s is.", files[0])
            return False
        return any(not classes.isdisjoint(kind.sop_classes | kind.also_examines) for kind in imported)

    def _unexamined(self, files: Any) -> list[DICOMLoadable]:
        """Return a loadable that is made without opening anything, for when the packages are not installed.

        None for what has another kind of its own: Slicer loads images without us, and ours would be in its way.
        """
        value = application.database().fileValue
        imported = self.imported
        kinds = {file: kind_of_sop_class(value(file, _SOP_CLASS_UID)) for file in files}
        ours = {file: kind for file, kind in kinds.items() if kind is not None and kind in imported}
        if not ours:
            return []
        first, kind = next(iter(ours.items()))
        number, description = value(first, _SERIES_NUMBER), value(first, _SERIES_DESCRIPTION)
        loadable = DICOMLoadable()
        loadable.files = list(ours)
        loadable.name = ": ".join(part for part in (number, description or self.loadType) if part)
        loadable.tooltip = f"{self.loadType}, {len(ours)} file(s)"
        loadable.warning = (
            f"Not examined, because DICOMBridge needs {' and '.join(requirements.missing())}; "
            "Slicer asks before it installs something."
        )
        loadable.selected = True
        loadable.confidence = kind.confidence
        loadable.referencedInstanceUIDs = []
        loadable.dicombridgeUnexamined = True
        return [loadable]

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
            self._library_loadables(loadable),
            scene=application.scene(),
            database=application.database(),
            progress=application.progress_reporter(f"Loading {loadable.name}"),
        )

    def _library_loadables(self, loadable: Any) -> list[Loadable]:
        """Return the library's loadable for Slicer's, which may have been renamed by the user or copied by a script.

        A copy has name and tooltip: they tell which of several readings of the same files it is, else the best is.
        What could not be examined before the packages were installed may be several.
        """
        source = getattr(loadable, "dicombridgeLoadable", None)
        if source is None:
            found = self._found(loadable.files)
            if not found:
                raise DicomBridgeError(f"{loadable.name}: there is nothing in it to load as {self.loadType}.")
            if getattr(loadable, "dicombridgeUnexamined", False) and len(chosen(found)) > 1:
                return chosen(found)
            source = max(
                found,
                key=lambda one: (one.name == loadable.name, one.tooltip == loadable.tooltip, one.confidence),
            )
        return [replace(source, name=loadable.name)]

    # ------------------------------------------------------------------ export

    def examineForExport(self, subjectHierarchyItemID: int) -> list[Any]:
        """Return one exportable if the item's node can be written as this kind, else none.

        One and not one a variant: the export dialog writes all exportables of a plugin together. The variant is a
        tag that the user edits.
        """
        nodes = self._nodes_of_item(subjectHierarchyItemID)
        if not nodes:
            return []
        node = nodes[0]
        exportable = application.new_exportable()
        exportable.name = f"{self.kind.title} (DICOMBridge)"
        exportable.tooltip = f"Writes {node.GetName()} as DICOM {self.kind.title} object"
        exportable.subjectHierarchyItemID = subjectHierarchyItemID
        exportable.pluginClass = type(self).__module__
        exportable.confidence = _AS_IT_CAME if self._came_from_kind(node) else self.exportConfidence
        for name, value in self._tags_to_edit(node).items():
            exportable.setTag(name, value)
        return [exportable]

    def _nodes_of_item(self, item_id: int) -> list[Any]:
        """Return what of an item can be exported: its node, or of a folder all nodes below; the best one first."""
        if not self.kind.exports:
            return []
        node = application.item_node(item_id)
        if node is not None:
            return [node] if self._exports(node, item_id) else []
        if not self.exportsFolders or not application.is_folder(item_id):
            return []
        below = application.items_below(item_id)
        nodes = [one for one in below if (made := application.item_node(one)) is not None and self._exports(made, one)]
        found = [application.item_node(one) for one in nodes]
        return sorted(found, key=lambda one: not self._came_from_kind(one))

    def _exports(self, node: Any, item_id: int) -> bool:
        """Whether the node is of the kind's main class, or is one of several nodes that came from such an object."""
        node_class = node.GetClassName()
        if node_class not in (self.exportedClasses or self.kind.node_classes):
            return False
        if self._came_from_kind(node):
            return True
        modality = application.subject_hierarchy().GetItemAttribute(item_id, "DICOM.Modality")
        is_main = node_class == self.kind.node_classes[0] or modality == self.modality
        return is_main and self.exportConfidence > 0

    def _came_from_kind(self, node: Any) -> bool:
        return bool(node.GetAttribute(_KIND_ATTRIBUTE) == self.kind.name)

    def _tags_to_edit(self, node: Any) -> dict[str, str]:
        """Return what the dialog shows for the series. Values are text: the dialog would show None as 'None'.

        What the library remembers on the node under the same name, e.g. ``DICOMBridge.SegmentationType``, comes before
        the kind's usual value, and that is one of nodes of the main class: a volume of fractions is no binary one.
        """
        common = dict.fromkeys(_SERIES_TAGS, "")
        is_main = node.GetClassName() == self.kind.node_classes[0]
        remembered = {
            name: node.GetAttribute(f"DICOMBridge.{name}") or (usual if is_main else "")
            for name, usual in self.exportTags.items()
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

        parts = [self._nodes_of_item(exportable.subjectHierarchyItemID) for exportable in exportables]
        nodes = list(dict.fromkeys(node for part in parts for node in part))
        if not all(parts):
            raise DicomBridgeError("what was to be exported is not in the scene any more.")
        dicombridge.export(
            self._with_parts(nodes),
            exportables[0].directory,
            kind=self.kind.name,
            database=application.database(),
            progress=application.progress_reporter(f"Exporting {_names(exportables)}"),
            **self._options(exportables[0]),
        )

    def _with_parts(self, nodes: list[Any]) -> list[Any]:
        parts = [
            node.GetNthNodeReference(role, number)
            for node in nodes
            for role in self.partRoles
            for number in range(node.GetNumberOfNodeReferences(role))
        ]
        return list(dict.fromkeys([*nodes, *(part for part in parts if part is not None)]))

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
    title = plugin_class.title or kind_named(plugin_class.kindName).title
    application.describe(
        parent,
        f"DICOMBridge {title} plugin",
        f"Lets the DICOM module load and export DICOM objects of the kind: {title}.",
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
