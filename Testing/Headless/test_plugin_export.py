"""The plugins of the DICOM module: export, in the order in which Slicer's export dialog does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from standins.application import SlicerStandIn
from standins.dialogs import exportables_of_item, fill_tags, run_export
from standins.fake_kind import HOOK, SEG_SERIES, STUDY, Room, plugin_of, segmentation_item
from standins.widgets import qSlicerDICOMExportable

from dicombridge.errors import ExportError

pytest_plugins = ["standins.fixtures"]


def test_segmentation_is_offered_once_and_first(slicer_app: SlicerStandIn, room: Room) -> None:
    from DICOMLib import DICOMPlugin

    class Core(DICOMPlugin):
        def examineForExport(self, subjectHierarchyItemID: int) -> list[Any]:
            exportable = qSlicerDICOMExportable()
            exportable.pluginClass, exportable.confidence = "DICOMSegmentationPlugin", 1.0
            return [exportable]

    slicer_app.modules.dicomPlugins = {"DICOMSegmentationPlugin": Core, **slicer_app.modules.dicomPlugins}
    _, item = segmentation_item(slicer_app)
    offers = exportables_of_item(item)
    assert list(offers) == [HOOK, "DICOMSegmentationPlugin"]
    (exportable,) = offers[HOOK]
    assert exportable.subjectHierarchyItemID == item
    assert exportable.name
    assert exportable.tooltip
    assert exportable._values["Modality"] == "SEG"
    assert exportable._values["SeriesDescription"] == "Mine"
    assert exportable._values["SegmentationType"] == "BINARY"
    assert {"SeriesNumber", "Manufacturer"} <= set(exportable._values)


def test_the_type_that_it_had_is_proposed(slicer_app: SlicerStandIn, room: Room) -> None:
    node, item = segmentation_item(slicer_app)
    node.SetAttribute("DICOMBridge.SegmentationType", "LABELMAP")
    (exportable,) = exportables_of_item(item)[HOOK]
    assert exportable._values["SegmentationType"] == "LABELMAP"


def test_what_is_not_offered(slicer_app: SlicerStandIn, room: Room) -> None:
    hierarchy = slicer_app.hierarchy
    plugin = plugin_of(slicer_app)
    model = slicer_app.scene.AddNewNodeByClass("vtkMRMLModelNode", "M")
    volume = slicer_app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    items = [hierarchy.CreateItem(hierarchy.GetSceneItemID(), node) for node in (model, volume)]
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "F")
    assert [plugin.examineForExport(item) for item in (*items, folder, 0, 12345)] == [[], [], [], [], []]
    # A volume of probabilities that came from a segmentation object goes back into one.
    hierarchy.SetItemAttribute(items[1], "DICOM.Modality", "SEG")
    assert len(plugin.examineForExport(items[1])) == 1


def test_export_passes_what_the_user_set(slicer_app: SlicerStandIn, room: Room, tmp_path: Path) -> None:
    _, item = segmentation_item(slicer_app)
    exportables = exportables_of_item(item)[HOOK]
    fill_tags(exportables, {"SegmentationType": "LABELMAP", "SeriesNumber": "301", "Manufacturer": " "})
    assert run_export(HOOK, exportables, tmp_path) == ""
    (call,) = room.called("export")
    _, names, directory, options = call
    assert (names, directory) == (["Mine"], str(tmp_path))
    assert options == {
        "PatientName": "Doe^Jane",
        "PatientID": "P1",
        "StudyInstanceUID": STUDY,
        "SeriesDescription": "Mine",
        "SeriesNumber": "301",
        "SegmentationType": "LABELMAP",
    }


def test_export_of_a_study(slicer_app: SlicerStandIn, room: Room, tmp_path: Path) -> None:
    """All items of a study come in one call; nodes of one series are one object, others are one each."""
    _, first = segmentation_item(slicer_app, "A")
    segmentation_item(slicer_app, "B")
    _, third = segmentation_item(slicer_app, "C")
    for item in (first, third):
        slicer_app.hierarchy.SetItemUID(item, "DICOM", SEG_SERIES)
    study = slicer_app.hierarchy.GetItemParent(first)
    exportables = exportables_of_item(study)[HOOK]
    fill_tags(exportables)
    assert run_export(HOOK, exportables, tmp_path) == ""
    assert sorted(call[1] for call in room.called("export")) == [["A", "C"], ["B"]]


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (ExportError("Segment 'Liver' has no voxels."), "Mine: Segment 'Liver' has no voxels."),
        (ZeroDivisionError("oops"), "Mine: ZeroDivisionError: oops. Details are in the log."),
    ],
)
def test_export_never_raises(
    slicer_app: SlicerStandIn, room: Room, tmp_path: Path, failure: Exception, text: str
) -> None:
    _, item = segmentation_item(slicer_app)
    exportables = exportables_of_item(item)[HOOK]
    fill_tags(exportables)
    room.failure = failure
    assert run_export(HOOK, exportables, tmp_path) == text


def test_export_of_a_removed_node(slicer_app: SlicerStandIn, room: Room, tmp_path: Path) -> None:
    node, item = segmentation_item(slicer_app)
    exportables = exportables_of_item(item)[HOOK]
    slicer_app.scene.RemoveNode(node)
    slicer_app.hierarchy.RemoveItem(item)
    assert "not in the scene" in run_export(HOOK, exportables, tmp_path)
    assert room.called("export") == []


def test_placeholders_of_the_hierarchy_are_not_exported(slicer_app: SlicerStandIn, room: Room, tmp_path: Path) -> None:
    """Slicer names a patient without name 'No name'; that is nobody's name and no value for an object."""
    _, item = segmentation_item(slicer_app)
    exportables = exportables_of_item(item)[HOOK]
    made_up = {"PatientName": "No name", "PatientID": f"Patient-{STUDY}", "StudyDescription": "No study description"}
    fill_tags(exportables, made_up)
    assert run_export(HOOK, exportables, tmp_path) == ""
    assert not made_up.keys() & room.called("export")[0][3].keys()


def test_without_highdicom_export_says_so(slicer_app: SlicerStandIn, no_highdicom: None, tmp_path: Path) -> None:
    _, item = segmentation_item(slicer_app)
    exportables = exportables_of_item(item)[HOOK]
    fill_tags(exportables)
    assert "DICOMBridge needs highdicom>=0.27" in run_export(HOOK, exportables, tmp_path)
