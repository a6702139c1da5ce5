"""What of the scene and of the database can be sent, and how it becomes files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import local_state, texts

__all__ = [
    "Choice",
    "DatabaseSeries",
    "ExportError",
    "data_items",
    "database_series",
    "discard",
    "export",
    "exportables",
    "scene_choices",
    "titles",
]

logger = logging.getLogger(__name__)

_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientComments")
_STUDY = ("StudyInstanceUID", "StudyID", "StudyDescription", "StudyDate", "StudyTime")
_DOT = " \N{MIDDLE DOT} "
_folders = 0


class ExportError(Exception):
    """Something of the scene cannot be written; the message is for people."""


@dataclass(frozen=True)
class Choice:
    """An item of the subject hierarchy that may be sent.

    Attributes
    ----------
    item
        Its number in the subject hierarchy.
    name, what
        Its name, and its kind of node.
    study, study_uid
        Study and patient that it belongs to, and the study's UID; "" where it belongs to none.
    """

    item: int
    name: str
    what: str
    study: str
    study_uid: str


def _hierarchy() -> Any:
    import slicer

    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def scene_choices() -> Iterator[Choice]:
    """Return what the scene has that a person put there or made."""
    hierarchy = _hierarchy()
    items: list[int] = []
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    for item in items:
        node = hierarchy.GetItemDataNode(item)
        if node is None or node.GetHideFromEditors():
            continue
        study = hierarchy.GetItemAncestorAtLevel(item, "Study")
        patient = hierarchy.GetItemAncestorAtLevel(item, "Patient")
        described = str(hierarchy.GetItemName(study)) if study else ""
        whose = texts.name(str(hierarchy.GetItemName(patient))) if study and patient else ""
        above = [part for part in (described, whose) if part]
        uid = str(hierarchy.GetItemUID(study, "DICOM") or "") if study else ""
        yield Choice(int(item), str(hierarchy.GetItemName(item) or node.GetName()), _kind(node), _DOT.join(above), uid)


def data_items(item: int) -> list[int]:
    """Return the items with a data node that one of the subject hierarchy stands for: itself, or those below it."""
    hierarchy = _hierarchy()
    if not item or item == hierarchy.GetSceneItemID():
        return []
    if hierarchy.GetItemDataNode(item) is not None:
        return [int(item)]
    below: list[int] = []
    hierarchy.GetItemChildren(item, below, True)
    return [int(one) for one in below if hierarchy.GetItemDataNode(one) is not None]


def _kind(node: Any) -> str:
    return str(node.GetNodeTagName()) if hasattr(node, "GetNodeTagName") else str(node.GetClassName())


def exportables(item: int) -> list[Any]:
    """Return what an item can be written as, the best first, as Slicer's export dialog asks for it."""
    import slicer

    found = []
    for name, plugin_class in dict(slicer.modules.dicomPlugins).items():
        try:
            found += list(plugin_class().examineForExport(item))
        except Exception:  # anybody's plugin: one that raises anything must not hide what the others offer
            logger.exception("DICOMwebBrowser: %s cannot tell what it exports.", name)
    return sorted(found, key=lambda one: -one.confidence)


def titles(found: list[Any]) -> list[str]:
    """Return what exportables are called; those of the same name with their plugins."""
    names = [str(one.name) for one in found]
    return [
        f"{name} ({one.pluginClass})" if names.count(name) > 1 else name for name, one in zip(names, found, strict=True)
    ]


def export(item: int, exportable: Any) -> str:
    """Write an item as DICOM files; return their folder, a new one.

    Raises
    ------
    ExportError
        The plugin does not write it; the message is its own.
    """
    import slicer

    global _folders
    node = _hierarchy().GetItemDataNode(item)
    if node is None or not slicer.mrmlScene.IsNodePresent(node):
        raise ExportError(_("It is no longer in the scene. Look again what there is."))
    _folders += 1
    application = qt.QCoreApplication.applicationPid()
    folder = f"{slicer.app.temporaryPath}/dicomweb-send-{application}-{_folders}"
    if not qt.QDir().mkpath(folder):
        raise ExportError(_("{folder} cannot be made.").format(folder=folder))
    _fill_tags(item, exportable)
    exportable.directory = folder
    try:
        answer = slicer.modules.dicomPlugins[exportable.pluginClass]().export((exportable,))
    except Exception as error:  # anybody's plugin may raise anything; the person is told, and the files go
        logger.exception("DICOMwebBrowser: the export failed.")
        answer = str(error)
    if answer != "":
        discard(folder)
        raise ExportError(str(answer or _("It cannot be written.")))
    return folder


def discard(folder: str) -> None:
    """Remove the files of an export."""
    qt.QDir(folder).removeRecursively()


def _fill_tags(item: int, exportable: Any) -> None:
    """Take patient and study from the subject hierarchy, as the export dialog does."""
    hierarchy = _hierarchy()
    for level, names in (("Patient", _PATIENT), ("Study", _STUDY)):
        ancestor = hierarchy.GetItemAncestorAtLevel(item, level)
        if not ancestor:
            raise ExportError(
                _("It belongs to no study. Drag it below a study in the Data module, so that it is found there later.")
            )
        for name in names:
            value = str(hierarchy.GetItemAttribute(ancestor, f"DICOM.{name}") or "")
            if name == "StudyInstanceUID":
                value = value or str(hierarchy.GetItemUID(ancestor, "DICOM"))
            exportable.setTag(name, value)


@dataclass(frozen=True)
class DatabaseSeries:
    """A series of Slicer's database."""

    patient: str
    study: str
    study_title: str
    series: str
    title: str


def database_series() -> Iterator[DatabaseSeries]:
    """Return all series of the database."""
    base = local_state.database()
    if base is None:
        return
    for patient in base.patients():
        name = texts.name(base.nameForPatient(patient)) or _("(no name)")
        for study in base.studiesForPatient(patient):
            described = str(base.descriptionForStudy(study)) or _("(no description)")
            for series in base.seriesForStudy(study):
                files = base.filesForSeries(series, 1) or ("",)
                modality, number = (base.fileValue(files[0], tag) for tag in ("0008,0060", "0020,0011"))
                title = str(base.descriptionForSeries(series)) or _("(no description)")
                parts = [str(number), str(modality), title]
                yield DatabaseSeries(name, study, described, series, "  ".join(part for part in parts if part))
