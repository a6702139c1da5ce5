"""Patients, studies and series in the subject hierarchy.

What is written is what ``DICOMPlugin.addSeriesInSubjectHierarchy`` of Slicer writes, so that other modules find it:
names, levels, UIDs and attributes. Nothing is read from a database: the values come with the call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydicom.dataset import Dataset

from dicombridge.text import plain_text

__all__ = [
    "add_series",
    "attributes_of_dataset",
    "attributes_of_node",
    "instances_of_node",
    "node_of_instance",
    "nodes_by_instance",
    "nodes_of_series",
]

# DICOM keyword -> attribute of the item, level by level.
_SERIES = {
    "Modality": "DICOM.Modality",
    "SeriesNumber": "DICOM.SeriesNumber",
    "FrameOfReferenceUID": "DICOM.FrameOfReferenceUID",
    "SeriesDescription": "DICOM.SeriesDescription",
    "SeriesDate": "DICOM.SeriesDate",
    "SeriesTime": "DICOM.SeriesTime",
    "ContentDate": "DICOM.ContentDate",
    "ContentTime": "DICOM.ContentTime",
    "Manufacturer": "DICOM.Manufacturer",
    "ManufacturerModelName": "DICOM.Model",
}
_STUDY = {
    "StudyInstanceUID": "DICOM.StudyInstanceUID",
    "StudyID": "DICOM.StudyID",
    "StudyDescription": "DICOM.StudyDescription",
    "StudyDate": "DICOM.StudyDate",
    "StudyTime": "DICOM.StudyTime",
}
_PATIENT = {
    "PatientName": "DICOM.PatientName",
    "PatientID": "DICOM.PatientID",
    "PatientSex": "DICOM.PatientSex",
    "PatientBirthDate": "DICOM.PatientBirthDate",
    "PatientComments": "DICOM.PatientComments",
}
_NO_NAME = "No name"
_NO_STUDY_DESCRIPTION = "No study description"
_MADE_UP_PATIENT = "Patient-"


# --- Subject hierarchy ---------------------------------------------------------------------------------------------


def add_series(scene: Any, node: Any, attributes: Mapping[str, Any]) -> int:
    """Put a node into the subject hierarchy as a series below its study and patient, which are made where missing.

    Adding a node again updates its item; several nodes of one series get an item each.

    Parameters
    ----------
    scene
        The scene that ``node`` is in.
    node
        Any MRML node that stands for a series.
    attributes
        Values by DICOM keyword: ``PatientID``, ``PatientName``, ``StudyInstanceUID``, ``SeriesInstanceUID``,
        ``Modality``, ... as :func:`attributes_of_dataset` returns them; ``SOPInstanceUIDs`` and
        ``ReferencedInstanceUIDs`` are lists of UIDs. All may be missing; without a series UID or a study UID the item
        stays directly below the scene.

    Returns
    -------
    int
        The item of the node.
    """
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    series_uid = plain_text(attributes.get("SeriesInstanceUID"))
    study_uid = plain_text(attributes.get("StudyInstanceUID"))
    instance_uids = " ".join(_uids(attributes.get("SOPInstanceUIDs")))
    for name, value in (("DICOM", series_uid), ("DICOMInstanceUID", instance_uids)):
        if value:
            hierarchy.SetItemUID(item, name, value)
    _set_attributes(hierarchy, item, _SERIES, attributes)
    referenced = " ".join(uid for uid in _uids(attributes.get("ReferencedInstanceUIDs")) if uid != "Unknown")
    hierarchy.SetItemAttribute(item, "DICOM.ReferencedInstanceUIDs", referenced)
    if series_uid and study_uid:
        _insert(hierarchy, series_uid, study_uid, attributes)
    return int(item)


def _insert(hierarchy: Any, series_uid: str, study_uid: str, attributes: Mapping[str, Any]) -> None:
    """Move the series below its study and patient; describe those of the two that are new."""
    import slicer

    # Patient ID identifies the patient's item, but it may be empty (Slicer makes up the same), and some anonymizers put
    # a study UID there, which would make patient and study one item.
    patient_id = plain_text(attributes.get("PatientID"))
    if patient_id in ("", study_uid, series_uid):
        patient_id = _MADE_UP_PATIENT + (patient_id or study_uid)
    is_new_patient = not hierarchy.GetItemByUID("DICOM", patient_id)
    is_new_study = not hierarchy.GetItemByUID("DICOM", study_uid)
    slicer.vtkSlicerSubjectHierarchyModuleLogic.InsertDicomSeriesInHierarchy(
        hierarchy, patient_id, study_uid, series_uid
    )
    if is_new_patient:
        name = plain_text(attributes.get("PatientName")) or _NO_NAME
        patient = hierarchy.GetItemByUID("DICOM", patient_id)
        _set_attributes(hierarchy, patient, _PATIENT, {**attributes, "PatientName": name, "PatientID": patient_id})
        hierarchy.SetItemName(patient, _item_name(name, patient_id))
    if is_new_study:
        description = plain_text(attributes.get("StudyDescription")) or _NO_STUDY_DESCRIPTION
        study = hierarchy.GetItemByUID("DICOM", study_uid)
        _set_attributes(hierarchy, study, _STUDY, {**attributes, "StudyDescription": description})
        hierarchy.SetItemName(study, _item_name(description, plain_text(attributes.get("StudyDate"))))


def _item_name(name: str, detail: str) -> str:
    return f"{name} ({detail})" if detail else name


def _set_attributes(hierarchy: Any, item: int, names: Mapping[str, str], attributes: Mapping[str, Any]) -> None:
    for keyword, name in names.items():
        hierarchy.SetItemAttribute(item, name, plain_text(attributes.get(keyword)))


def attributes_of_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return what :func:`add_series` wants to know of a dataset; missing or unreadable values are ``""``.

    ``SOPInstanceUIDs`` holds the dataset's own UID and ``ReferencedInstanceUIDs`` is empty: the caller knows of others.
    """
    keywords = [*_PATIENT, *_STUDY, "SeriesInstanceUID", *_SERIES]
    attributes: dict[str, Any] = {keyword: _value_text(dataset, keyword) for keyword in keywords}
    attributes["SOPInstanceUIDs"] = _uids(_value_text(dataset, "SOPInstanceUID"))
    attributes["ReferencedInstanceUIDs"] = []
    return attributes


def attributes_of_node(scene: Any, node: Any) -> dict[str, Any]:
    """Read back from the subject hierarchy what :func:`add_series` wrote for a node; ``{}`` if it has no item.

    What was made up for display (a patient's name or ID, a study's description) comes back as ``""``.
    """
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if not item:
        return {}
    attributes: dict[str, Any] = dict.fromkeys([*_PATIENT, *_STUDY], "")
    attributes["SeriesInstanceUID"] = hierarchy.GetItemUID(item, "DICOM")
    attributes["SOPInstanceUIDs"] = _uids(hierarchy.GetItemUID(item, "DICOMInstanceUID"))
    referenced = hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs")
    attributes["ReferencedInstanceUIDs"] = _uids(referenced)
    attributes.update({keyword: hierarchy.GetItemAttribute(item, name) for keyword, name in _SERIES.items()})
    for level, names in (("Study", _STUDY), ("Patient", _PATIENT)):
        ancestor = hierarchy.GetItemAncestorAtLevel(item, level)
        if ancestor:
            attributes.update({keyword: _item_attribute(hierarchy, ancestor, name) for keyword, name in names.items()})
    made_up = (
        ("PatientName", _NO_NAME),
        ("PatientID", _MADE_UP_PATIENT + attributes["StudyInstanceUID"]),
        ("StudyDescription", _NO_STUDY_DESCRIPTION),
    )
    attributes.update({keyword: "" for keyword, value in made_up if attributes[keyword] == value})
    return attributes


def _item_attribute(hierarchy: Any, item: int, name: str) -> str:
    # Slicer up to 5.2 wrote StudyInstanceUID and StudyID without the prefix.
    return str(hierarchy.GetItemAttribute(item, name) or hierarchy.GetItemAttribute(item, name.removeprefix("DICOM.")))


def node_of_instance(scene: Any, sop_uid: str) -> Any | None:
    """Return a node that was loaded from the instance with this SOP Instance UID, or None."""
    if not sop_uid:
        return None
    for hierarchy, item in _items_with_nodes(scene):
        if sop_uid in hierarchy.GetItemUID(item, "DICOMInstanceUID").split():
            return hierarchy.GetItemDataNode(item)
    return None


def instances_of_node(node: Any) -> set[str]:
    """Return the SOP Instance UIDs that a node was loaded from, as its item in the subject hierarchy says."""
    hierarchy = node.GetScene().GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    return set(hierarchy.GetItemUID(item, "DICOMInstanceUID").split()) if item else set()


def nodes_by_instance(scene: Any) -> dict[str, list[Any]]:
    """Return SOP Instance UID -> the nodes that were loaded from that instance, in the order of the hierarchy."""
    found: dict[str, list[Any]] = {}
    for hierarchy, item in _items_with_nodes(scene):
        for uid in dict.fromkeys(hierarchy.GetItemUID(item, "DICOMInstanceUID").split()):
            found.setdefault(uid, []).append(hierarchy.GetItemDataNode(item))
    return found


def nodes_of_series(scene: Any, series_uid: str) -> list[Any]:
    """Return all nodes that were loaded from the series with this Series Instance UID."""
    return [
        hierarchy.GetItemDataNode(item)
        for hierarchy, item in _items_with_nodes(scene)
        if series_uid and hierarchy.GetItemUID(item, "DICOM") == series_uid
    ]


def _items_with_nodes(scene: Any) -> Iterable[tuple[Any, int]]:
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    if hierarchy is None:
        return
    items: list[int] = []
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    for item in items:
        if hierarchy.GetItemDataNode(item) is not None:
            yield hierarchy, item


def _uids(value: object) -> list[str]:
    """Return UIDs, given as text or in a list, as a list; one that is missing keeps its place as "Unknown"."""
    if isinstance(value, str):
        return value.split()
    return [plain_text(uid) or "Unknown" for uid in value] if isinstance(value, Iterable) else []


def _value_text(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom raises many kinds for a value that its VR does not allow
        return ""
    return plain_text(value)
