"""Subject hierarchy items, also through a saved scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
import slicer
from pydicom.dataset import Dataset
from support.scenes import add_node, saved_and_read

from dicombridge import hierarchy

ATTRIBUTES: dict[str, Any] = {
    "PatientName": "DOE^JOHN",
    "PatientID": "P-1",
    "PatientSex": "M",
    "PatientBirthDate": "19700101",
    "PatientComments": "",
    "StudyInstanceUID": "1.2.3",
    "StudyID": "S1",
    "StudyDescription": "Abdomen",
    "StudyDate": "20240102",
    "StudyTime": "101112",
    "SeriesInstanceUID": "1.2.3.4",
    "Modality": "SEG",
    "SeriesNumber": "300",
    "SeriesDescription": "Liver",
    "SeriesDate": "20240103",
    "SeriesTime": "1",
    "ContentDate": "20240104",
    "ContentTime": "2",
    "Manufacturer": "Maker",
    "ManufacturerModelName": "Machine",
    "FrameOfReferenceUID": "1.2.3.9",
    "SOPInstanceUIDs": ["1.2.3.4.1", "1.2.3.4.2"],
    "ReferencedInstanceUIDs": ["1.5.1", "1.5.2"],
}


def items_of(scene: Any) -> tuple[Any, list[int]]:
    node = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items: list[int] = []
    node.GetItemChildren(node.GetSceneItemID(), items, True)
    return node, items


def test_items_are_those_of_slicer(scene: Any) -> None:
    node = add_node(scene)
    item = hierarchy.add_series(scene, node, ATTRIBUTES)
    shn, items = items_of(scene)
    study = shn.GetItemParent(item)
    patient = shn.GetItemParent(study)
    assert sorted(items) == sorted([item, study, patient])
    assert shn.GetItemParent(patient) == shn.GetSceneItemID()
    assert shn.GetItemDataNode(item) is node
    assert [shn.GetItemLevel(i) for i in (study, patient)] == ["Study", "Patient"]
    assert [shn.GetItemName(i) for i in (study, patient)] == ["Abdomen (20240102)", "DOE^JOHN (P-1)"]
    assert [shn.GetItemUID(i, "DICOM") for i in (item, study, patient)] == ["1.2.3.4", "1.2.3", "P-1"]
    assert shn.GetItemUID(item, "DICOMInstanceUID") == "1.2.3.4.1 1.2.3.4.2"
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    expected = {
        item: {
            constants.GetDICOMSeriesModalityAttributeName(): "SEG",
            constants.GetDICOMSeriesNumberAttributeName(): "300",
            constants.GetDICOMFrameOfReferenceUIDAttributeName(): "1.2.3.9",
            constants.GetDICOMReferencedInstanceUIDsAttributeName(): "1.5.1 1.5.2",
            "DICOM.SeriesDescription": "Liver",
            "DICOM.SeriesDate": "20240103",
            "DICOM.SeriesTime": "1",
            "DICOM.ContentDate": "20240104",
            "DICOM.ContentTime": "2",
            "DICOM.Manufacturer": "Maker",
            "DICOM.Model": "Machine",
        },
        study: {
            constants.GetDICOMStudyInstanceUIDAttributeName(): "1.2.3",
            constants.GetDICOMStudyIDAttributeName(): "S1",
            constants.GetDICOMStudyDescriptionAttributeName(): "Abdomen",
            constants.GetDICOMStudyDateAttributeName(): "20240102",
            constants.GetDICOMStudyTimeAttributeName(): "101112",
        },
        patient: {
            constants.GetDICOMPatientNameAttributeName(): "DOE^JOHN",
            constants.GetDICOMPatientIDAttributeName(): "P-1",
            constants.GetDICOMPatientSexAttributeName(): "M",
            constants.GetDICOMPatientBirthDateAttributeName(): "19700101",
        },
    }
    for of_item, attributes in expected.items():
        assert {name: shn.GetItemAttribute(of_item, name) for name in attributes} == attributes


def test_adding_again_makes_nothing_new(scene: Any) -> None:
    node = add_node(scene)
    first = hierarchy.add_series(scene, node, ATTRIBUTES)
    second = hierarchy.add_series(scene, node, {**ATTRIBUTES, "SeriesDescription": "edited"})
    shn, items = items_of(scene)
    assert first == second
    assert len(items) == 3
    assert shn.GetItemAttribute(first, "DICOM.SeriesDescription") == "edited"
    assert shn.GetItemLevel(shn.GetItemParent(first)) == "Study"


def test_two_series_share_patient_and_study(scene: Any) -> None:
    nodes = [add_node(scene, f"node {i}") for i in range(3)]
    for i, node in enumerate(nodes[:2]):
        hierarchy.add_series(scene, node, {**ATTRIBUTES, "SeriesInstanceUID": f"1.2.3.{i}"})
    other_study = {**ATTRIBUTES, "SeriesInstanceUID": "1.7.1", "StudyInstanceUID": "1.7", "StudyDate": ""}
    hierarchy.add_series(scene, nodes[2], other_study)
    shn, items = items_of(scene)
    levels = sorted(shn.GetItemLevel(item) for item in items)
    assert levels.count("Patient") == 1
    assert levels.count("Study") == 2
    assert len(items) == 6
    assert shn.GetItemName(shn.GetItemByUID("DICOM", "1.7")) == "Abdomen"


def test_two_nodes_of_one_series(scene: Any) -> None:
    nodes = [add_node(scene, f"node {i}") for i in range(2)]
    for i, node in enumerate(nodes):
        hierarchy.add_series(scene, node, {**ATTRIBUTES, "SOPInstanceUIDs": [f"1.{i}"]})
    assert hierarchy.nodes_of_series(scene, "1.2.3.4") == nodes
    assert hierarchy.node_of_instance(scene, "1.1") is nodes[1]
    assert {hierarchy.attributes_of_node(scene, node)["StudyInstanceUID"] for node in nodes} == {"1.2.3"}


def test_nothing_is_known_of_the_patient(scene: Any) -> None:
    node = add_node(scene)
    known = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.1"}
    item = hierarchy.add_series(scene, node, known)
    shn, _ = items_of(scene)
    study = shn.GetItemParent(item)
    patient = shn.GetItemParent(study)
    assert shn.GetItemUID(patient, "DICOM") == "Patient-1.2"
    assert shn.GetItemName(patient) == "No name (Patient-1.2)"
    assert shn.GetItemAttribute(patient, "DICOM.PatientID") == "Patient-1.2"
    assert shn.GetItemName(study) == "No study description"
    read = hierarchy.attributes_of_node(scene, node)
    assert {keyword: value for keyword, value in read.items() if value} == known


@pytest.mark.parametrize("patient_id", ["1.2.3", "1.2.3.4"])
def test_patient_id_that_is_another_uid(scene: Any, patient_id: str) -> None:
    node = add_node(scene)
    item = hierarchy.add_series(scene, node, {**ATTRIBUTES, "PatientID": patient_id})
    shn, items = items_of(scene)
    assert len(items) == 3
    assert shn.GetItemLevel(shn.GetItemParent(item)) == "Study"


@pytest.mark.parametrize("missing", ["SeriesInstanceUID", "StudyInstanceUID"])
def test_item_without_a_place_stays_below_the_scene(scene: Any, missing: str) -> None:
    node = add_node(scene)
    item = hierarchy.add_series(scene, node, {**ATTRIBUTES, missing: ""})
    shn, items = items_of(scene)
    assert items == [item]
    assert shn.GetItemAttribute(item, "DICOM.Modality") == "SEG"


def test_attributes_come_back(scene: Any, tmp_path: Path) -> None:
    node = add_node(scene)
    assert hierarchy.attributes_of_node(scene, node) == {}
    hierarchy.add_series(scene, node, ATTRIBUTES)
    assert hierarchy.attributes_of_node(scene, node) == ATTRIBUTES
    again = saved_and_read(scene, tmp_path)
    (node,) = hierarchy.nodes_of_series(again, "1.2.3.4")
    assert node.IsA("vtkMRMLTextNode")
    assert hierarchy.attributes_of_node(again, node) == ATTRIBUTES
    assert hierarchy.node_of_instance(again, "1.2.3.4.2") is node


def test_lookups_of_what_is_not_there(scene: Any) -> None:
    assert hierarchy.node_of_instance(scene, "1.2") is None
    assert hierarchy.nodes_of_series(scene, "1.2") == []
    hierarchy.add_series(scene, add_node(scene), ATTRIBUTES)
    # Neither nothing nor the beginning of a UID is a UID.
    for uid in ("", "1.2.3.4.", "1.2"):
        assert hierarchy.node_of_instance(scene, uid) is None
        assert hierarchy.nodes_of_series(scene, uid) == []


def test_missing_instance_uid_keeps_its_place(scene: Any) -> None:
    node = add_node(scene)
    hierarchy.add_series(scene, node, {**ATTRIBUTES, "SOPInstanceUIDs": ["1.1", "", "1.3"]})
    assert hierarchy.attributes_of_node(scene, node)["SOPInstanceUIDs"] == ["1.1", "Unknown", "1.3"]


def test_control_characters_do_not_break_a_saved_scene(scene: Any, tmp_path: Path) -> None:
    node = add_node(scene)
    odd = {"PatientName": "DOE\x1b$B^\x00J", "StudyDescription": "a\x0bb\ufffe", "SeriesDescription": "\x1f"}
    hierarchy.add_series(scene, node, {**ATTRIBUTES, **odd})
    again = saved_and_read(scene, tmp_path)
    (node,) = hierarchy.nodes_of_series(again, "1.2.3.4")
    attributes = hierarchy.attributes_of_node(again, node)
    assert [attributes[keyword] for keyword in odd] == ["DOE$B^J", "ab", ""]


def test_attributes_of_dataset(data: Path) -> None:
    dataset = pydicom.dcmread(data / "seg" / "dcmqi_liver" / "liver.dcm", stop_before_pixels=True)
    attributes = hierarchy.attributes_of_dataset(dataset)
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Modality", "FrameOfReferenceUID"):
        assert attributes[keyword] == str(dataset[keyword].value)
    assert attributes["SOPInstanceUIDs"] == [dataset.SOPInstanceUID]
    assert set(ATTRIBUTES) <= set(attributes)


def test_attributes_of_an_empty_dataset() -> None:
    attributes = hierarchy.attributes_of_dataset(Dataset())
    assert {str(value) for value in attributes.values()} == {"", "[]"}
