"""The plugin of parametric maps with a real one: database, browser, export dialog and the library together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from standins.core_plugins import add_rival
from standins.ctk_database import cut_after_import
from standins.dialogs import Browser
from standins.phantom import Session, values_on

import dicombridge
from dicombridge.demo.phantom import PhantomStudy

pytest_plugins = ["standins.phantom_fixtures"]

HOOK = "DICOMBridgeParametricMapPlugin"
STORAGE = "1.2.840.10008.5.1.4.1.1.30"


# --------------------------------------------------------------------------- examine


def test_it_is_chosen_beside_core(session: Session, phantom: PhantomStudy) -> None:
    """Core's own is at 0.95, and its volume plugin offers everything at 0.5."""
    add_rival(session.app, "DICOMParametricMapPlugin", STORAGE, 0.95)
    assert session.chosen(phantom.diffusion.file) == [(HOOK, "15: MR diffusion coefficient")]


def test_examine(session: Session, phantom: PhantomStudy) -> None:
    (loadable,) = session.plugin(HOOK).examineForImport(session.all_series)
    assert (loadable.files, loadable.confidence) == ([str(phantom.diffusion.file)], 0.97)
    assert (loadable.warning, loadable.selected) == ("", True)
    images = session.database.instancesForSeries(phantom.mr.uid)
    assert set(loadable.referencedInstanceUIDs) == set(images)


def test_databases_agree(session: Session, phantom: PhantomStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer's database and that of a folder answer alike."""
    import slicer

    lists = session.files(phantom.diffusion.file)
    theirs = session.plugin(HOOK).examineForImport(lists)
    monkeypatch.setattr(slicer, "dicomDatabase", dicombridge.open_folder(phantom.directory))
    ours = session.plugin(HOOK).examineForImport(lists)
    for name in ("files", "name", "tooltip", "warning", "selected", "confidence"):
        assert [getattr(one, name) for one in ours] == [getattr(one, name) for one in theirs] != []
    assert set(ours[0].referencedInstanceUIDs) == set(theirs[0].referencedInstanceUIDs)


def test_examine_and_load_ask_for_cached_tags_only(session: Session, phantom: PhantomStudy) -> None:
    """Other tags make the database open the file again at every look."""
    plugin = session.plugin(HOOK)
    (loadable,) = plugin.examineForImport(session.all_series)
    plugin.load(loadable)
    assert {tag for _, tag in session.database._asked} <= set(plugin.tags.values())
    assert len(plugin.tags) <= 17


def test_the_images_are_offered(session: Session, phantom: PhantomStudy) -> None:
    browser = Browser()
    browser.examine(session.files(phantom.diffusion.file))
    browser.references()
    assert [set(files) for files in browser.offered] == [set(session.database.filesForSeries(phantom.mr.uid))]


# --------------------------------------------------------------------------- load


def test_load(session: Session, phantom: PhantomStudy) -> None:
    (node,) = session.load(phantom.diffusion.file)
    np.testing.assert_array_equal(values_on(node, phantom.mr.affine, phantom.mr.values.shape), phantom.diffusion.values)
    assert node.GetVoxelValueUnits().GetCodeValue() == "um2/s"
    hierarchy, header = session.app.hierarchy, pydicom.dcmread(phantom.diffusion.file, stop_before_pixels=True)
    item = session.item(node)
    assert hierarchy.GetItemUID(item, "DICOM") == header.SeriesInstanceUID
    assert hierarchy.GetItemUID(hierarchy.GetItemParent(item), "DICOM") == header.StudyInstanceUID
    assert hierarchy.GetItemAttribute(item, "DICOM.Modality") == header.Modality


def test_damaged_file(
    session: Session, phantom: PhantomStudy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that was cut short after it came into the database: our words in the log, the scene as it was."""
    damaged = cut_after_import(session.database, phantom.diffusion.file, tmp_path)
    before = session.app.scene.GetNumberOfNodes()
    browser, messages = Browser(), list[str]()
    browser.examine([(str(damaged),)])
    for loadables in browser.loadables.values():
        for loadable in loadables:
            loadable.selected = loadable.confidence > 0.5  # Slicer's own is not what is tested
    assert browser.load(messages=messages) == []
    assert messages == ["Could not load: 15: MR diffusion coefficient as a Parametric map"]
    assert "damaged.dcm" in caplog.text
    assert "dicombridge.errors." in caplog.text
    assert session.app.scene.GetNumberOfNodes() == before


# --------------------------------------------------------------------------- export


def test_what_is_offered(session: Session, phantom: PhantomStudy) -> None:
    (node,) = session.load(phantom.diffusion.file)
    assert session.offers(node) == {
        HOOK: 1.08,
        "DICOMBridgeDosePlugin": 0.5,
        "DICOMBridgeRealWorldValuePlugin": 0.4,
    }
    volume = session.new_node("vtkMRMLScalarVolumeNode", "Made here", node)
    assert session.offers(volume) == {
        HOOK: 0.6,
        "DICOMBridgeDosePlugin": 0.5,
        "DICOMBridgeRealWorldValuePlugin": 0.4,
    }
    others = ("vtkMRMLModelNode", "vtkMRMLTableNode", "vtkMRMLMarkupsFiducialNode", "vtkMRMLLabelMapVolumeNode")
    assert [session.offers(session.new_node(name, name)) for name in others] == [
        {},
        {},
        {"DICOMBridgeReportPlugin": 0.6, "DICOMBridgeFiducialsPlugin": 0.5},
        {},
    ]


def test_export(session: Session, phantom: PhantomStudy, tmp_path: Path) -> None:
    (node,) = session.load(phantom.diffusion.file)
    edits = {"SeriesDescription": "Edited", "SeriesNumber": "301", "ContentLabel": "ADC_2", "PatientID": "NEW"}
    error, (path,) = session.export(node, HOOK, tmp_path, **edits)
    assert error == ""
    written, source = pydicom.dcmread(path), pydicom.dcmread(phantom.diffusion.file)
    assert written.SOPClassUID == STORAGE
    assert (written.SeriesDescription, written.SeriesNumber) == ("Edited", 301)
    assert (written.ContentLabel, written.PatientID) == ("ADC_2", "NEW")
    assert written.StudyInstanceUID == source.StudyInstanceUID
    assert written.PatientName == source.PatientName
    assert written.SeriesInstanceUID != source.SeriesInstanceUID
    assert written.SOPInstanceUID != source.SOPInstanceUID
    session.database._index(path)
    (again,) = session.load(path)
    assert again.GetName() == "301: Edited"
    np.testing.assert_array_equal(
        values_on(again, phantom.mr.affine, phantom.mr.values.shape), phantom.diffusion.values
    )


def test_export_of_a_volume_that_slicer_loaded(session: Session, phantom: PhantomStudy, tmp_path: Path) -> None:
    (node,) = session.load(phantom.mr.files[0])
    assert session.offers(node)[HOOK] == 0.6
    error, (path,) = session.export(node, HOOK, tmp_path)
    assert error == ""
    session.database._index(path)
    (again,) = session.load(path)
    assert again.GetAttribute("DICOMBridge.Kind") == "PM"
    np.testing.assert_array_equal(values_on(again, phantom.mr.affine, phantom.mr.values.shape), phantom.mr.values)


def test_errors_come_back_as_text(session: Session, phantom: PhantomStudy, tmp_path: Path) -> None:
    session.load(phantom.diffusion.file)
    empty = session.new_node("vtkMRMLScalarVolumeNode", "Empty")
    error, files = session.export(empty, HOOK, tmp_path)
    assert error.startswith("Empty: ")
    assert "Traceback" not in error
    assert "Details are in the log" not in error
    assert files == []
