"""The segmentation plugin with real objects: database, browser, export dialog and the library together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from standins.application import SlicerStandIn, discover, install
from standins.ctk_database import CtkDatabase, cut_after_import
from standins.dialogs import Browser, exportables_of_item, fill_tags, run_export
from standins.fake_kind import HOOK, HOOKS

import dicombridge
from dicombridge.database import Database

# Segmentation, its source series; both below seg/ of the test data.
OBJECTS = {
    "dcmqi": ("dcmqi_liver/liver.dcm", "dcmqi_liver/ct"),
    "overlap": ("dcmqi_liver/partial_overlaps.dcm", "dcmqi_liver/ct"),
    "highdicom": ("highdicom/seg_image_ct_binary.dcm", "highdicom/source_ct"),
    "fractional": ("highdicom/seg_image_ct_true_fractional.dcm", "highdicom/source_ct"),
    "labelmap": ("dcmqi_24x38x3/sparse-labelmap-ppv5.dcm", "dcmqi_24x38x3/ct"),
}
ROLE = "referenceImageGeometryRef"


class Session:
    """The application with one segmentation and its source series in the database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, segmentation: Path, source: Path) -> None:
        self.header = pydicom.dcmread(segmentation, stop_before_pixels=True)
        self.database = CtkDatabase(segmentation, source)
        self.app: SlicerStandIn = install(monkeypatch, dicombridge.new_scene(), self.database)
        monkeypatch.setattr("dicombridge.scene._application", {})
        discover(HOOKS, HOOK, monkeypatch)
        self.files = self.database.filesForSeries(str(self.header.SeriesInstanceUID))
        self.source_uid = next(
            uid
            for uid in self.database.seriesForStudy(self.database.studiesForPatient(self.database.patients()[0])[0])
            if uid != self.header.SeriesInstanceUID
        )

    def load(self, name: str = "") -> list[Any]:
        """Load as the browser does; return the segmentation nodes."""
        browser, messages = Browser(), list[str]()
        browser.examine([self.files])
        ids = browser.load(edit=lambda one: setattr(one, "name", name or one.name), messages=messages)
        assert messages == []
        nodes = [self.app.scene.GetNodeByID(node_id) for node_id in ids]
        return [node for node in nodes if node is not None and node.IsA("vtkMRMLSegmentationNode")]

    def load_source(self) -> list[Any]:
        """Load the images as another plugin would; a series of unlike images is several volumes."""
        found = [one for one in dicombridge.examine(self.database, series=self.source_uid) if one.selected]
        scene, database = self.app.scene, self.database
        return [node for one in found for node in dicombridge.load(one, scene=scene, database=database)]


@pytest.fixture(params=OBJECTS)
def session(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, data: Path) -> Session:
    segmentation, source = OBJECTS[request.param]
    return Session(monkeypatch, data / "seg" / segmentation, data / "seg" / source)


def test_stand_in_and_folder_database_agree(data: Path) -> None:
    """The stand-in is a Database as it stands, and the folder's index has its values."""
    folder = data / "seg" / "highdicom" / "source_ct"
    theirs, ours = CtkDatabase(folder), dicombridge.open_folder(folder)
    assert isinstance(theirs, Database)
    studies = [sorted(uid for p in db.patients() for uid in db.studiesForPatient(p)) for db in (theirs, ours)]
    assert studies[0] == studies[1] != []
    (series,) = theirs.seriesForStudy(studies[0][0])
    assert sorted(theirs.filesForSeries(series)) == sorted(map(str, ours.filesForSeries(series)))
    for path in theirs.filesForSeries(series):
        for tag in ("0008,0016", "0008,0018", "0020,0032", "0020,0037", "0028,0030", "0010,0010", "0028,0010"):
            assert ours.fileValue(path, tag) == theirs.fileValue(path, tag) != "", tag
        for absent in ("0062,0002", "0008,1140", "0009,9999"):
            assert ours.fileValue(path, absent) == theirs.fileValue(path, absent) == "", absent


def test_examine(session: Session) -> None:
    browser = Browser()
    (loadable,) = [one for one in browser.examine([session.files]) if one.selected]
    assert loadable.confidence == 0.97
    assert loadable.files == list(session.files)
    assert set(loadable.referencedInstanceUIDs) == set(session.database.instancesForSeries(session.source_uid))
    browser.references()
    assert [set(files) for files in browser.offered] == [set(session.database.filesForSeries(session.source_uid))]


def test_examine_asks_for_cached_tags_only(session: Session) -> None:
    """Other tags make the database open the file again at every look."""
    plugin = session.app.modules.dicomPlugins[HOOK]()
    plugin.examineForImport([session.files])
    assert {tag for _, tag in session.database._asked} <= set(plugin.tags.values())


def test_load_asks_for_cached_tags_only(session: Session) -> None:
    """Unless the images have to be told apart first."""
    plugin = session.app.modules.dicomPlugins[HOOK]()
    several = len(dicombridge.examine(session.database, series=session.source_uid)) > 1
    session.database._asked.clear()
    session.load()
    asked = {tag for _, tag in session.database._asked}
    assert (asked <= set(plugin.tags.values())) is not several


def test_load(session: Session) -> None:
    (node,) = session.load("My organs")
    assert node.GetName() == "My organs"
    hierarchy = session.app.hierarchy
    item = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemUID(item, "DICOM") == session.header.SeriesInstanceUID
    assert hierarchy.GetItemUID(item, "DICOMInstanceUID") == session.header.SOPInstanceUID
    assert hierarchy.GetItemAttribute(item, "DICOM.Modality") == "SEG"
    study = hierarchy.GetItemParent(item)
    assert hierarchy.GetItemUID(study, "DICOM") == session.header.StudyInstanceUID
    assert hierarchy.GetItemLevel(hierarchy.GetItemParent(study)) == "Patient"
    referenced = set(hierarchy.GetItemAttribute(item, "DICOM.ReferencedInstanceUIDs").split())
    assert referenced
    assert referenced <= set(session.database.instancesForSeries(session.source_uid))


def test_reference_geometry_from_a_volume_that_is_there(session: Session) -> None:
    volumes = session.load_source()
    (node,) = session.load()
    assert node.GetNodeReference(ROLE) in volumes


def test_reference_geometry_from_a_volume_that_comes_later(session: Session) -> None:
    (node,) = session.load()
    assert node.GetNodeReference(ROLE) is None
    volumes = session.load_source()
    assert node.GetNodeReference(ROLE) in volumes


@pytest.mark.parametrize("segmentation_type", ["BINARY", "LABELMAP"])
def test_export(session: Session, tmp_path: Path, segmentation_type: str) -> None:
    (node,) = session.load()
    (exportable,) = exportables_of_item(session.app.hierarchy.GetItemByDataNode(node))[HOOK]
    edits = {"SeriesDescription": "Edited", "SeriesNumber": "301", "SegmentationType": segmentation_type}
    fill_tags([exportable], edits)
    if segmentation_type == "LABELMAP" and "partial_overlaps" in session.files[0]:
        assert "Segments overlap" in run_export(HOOK, [exportable], tmp_path)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        return
    assert run_export(HOOK, [exportable], tmp_path) == ""
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    written = pydicom.dcmread(path)
    assert (written.SeriesDescription, written.SeriesNumber) == ("Edited", 301)
    assert written.SegmentationType == segmentation_type
    assert written.StudyInstanceUID == session.header.StudyInstanceUID
    assert written.get("PatientID") == session.header.get("PatientID")
    assert str(written.get("PatientName", "")) == str(session.header.get("PatientName", ""))
    assert written.SeriesInstanceUID != session.header.SeriesInstanceUID
    assert written.SOPInstanceUID != session.header.SOPInstanceUID


def test_damaged_file(session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that was cut short after it came into the database: our words in the log, the scene as it was."""
    damaged = cut_after_import(session.database, Path(session.files[0]), tmp_path, 2 / 3)
    before = session.app.scene.GetNumberOfNodes()
    browser, messages = Browser(), list[str]()
    browser.examine([(str(damaged.absolute()),)])
    browser.load(messages=messages)
    assert session.app.scene.GetNumberOfNodes() == before
    assert "damaged.dcm" in caplog.text or not browser.loadables
    assert "dicombridge.errors." in caplog.text or "cannot examine" in caplog.text
