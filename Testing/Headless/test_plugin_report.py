"""The plugins of reports and key objects with database, browser and export dialog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from standins.application import SlicerStandIn, discover, install
from standins.ctk_database import CtkDatabase
from standins.dialogs import Browser, exportables_of_item, fill_tags, run_export
from standins.fake_kind import HOOKS
from support.items import read
from support.sr_exports import graphics_of, groups_of, images_of, numbers_of
from support.sr_objects import CASES
from support.sr_odd import ODD
from support.sr_templates import write_other
from test_key_objects import named

import dicombridge
from dicombridge.kinds import KINDS

REPORT, KEYS = "DICOMBridgeReportPlugin", "DICOMBridgeKeyObjectsPlugin"
FIDUCIALS, SEGMENTATION = "DICOMBridgeFiducialsPlugin", "DICOMBridgeSegmentationPlugin"


class Session:
    """The application with a report of lines, one of segments, and a selection; each in a study of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.paths: dict[str, Path] = {}
        self.paths["SR"], self.expected = CASES["planar oblique"](folder / "a")
        self.paths["segments"], self.with_segments = CASES["segments"](folder / "b")
        self.paths["KOS"], self.chosen = write_other(folder / "c", "key objects")
        self.images = self.expected.images
        self.database = CtkDatabase(folder)
        self.app: SlicerStandIn = install(monkeypatch, dicombridge.new_scene(), self.database)
        monkeypatch.setattr("dicombridge.scene._application", {})
        for hook in (REPORT, KEYS, FIDUCIALS, SEGMENTATION):
            discover(HOOKS, hook, monkeypatch)

    def files(self, name: str) -> tuple[str, ...]:
        uid = str(pydicom.dcmread(self.paths[name]).SeriesInstanceUID)
        return tuple(self.database.filesForSeries(uid))

    def load(self, name: str) -> list[Any]:
        browser, messages = Browser(), list[str]()
        browser.examine([self.files(name)])
        ids = browser.load(messages=messages)
        assert messages == []
        nodes = [self.app.scene.GetNodeByID(node_id) for node_id in ids]
        return [node for node in nodes if node is not None and node.GetAttribute("DICOMBridge.Kind")]

    def volume(self) -> Any:
        (loadable,) = dicombridge.examine(self.database, series=self.images.series)
        return dicombridge.load(loadable, scene=self.app.scene, database=self.database)[0]

    def add(self, node_class: str, name: str, points: Any = (), parent: int = 0) -> Any:
        """A node made here, at an item of the subject hierarchy."""
        node = self.app.scene.AddNewNodeByClass(node_class, name)
        for x, y, z in np.asarray(points, float).tolist():
            node.AddControlPointWorld(-x, -y, z)
        hierarchy = self.app.hierarchy
        hierarchy.CreateItem(parent or hierarchy.GetSceneItemID(), node)
        return node

    def study_of(self, node: Any) -> int:
        hierarchy = self.app.hierarchy
        return int(hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(node), "Study"))

    def offers(self, node: Any) -> dict[str, float]:
        found = exportables_of_item(self.app.hierarchy.GetItemByDataNode(node))
        return {name: many[0].confidence for name, many in found.items()}

    def export(self, item: int, hook: str, folder: Path, **edits: str) -> tuple[str, list[Path]]:
        exportables = exportables_of_item(item)[hook]
        fill_tags(exportables, edits)
        error = run_export(hook, exportables, folder)
        return error, sorted(folder.glob("*.dcm")) if folder.exists() else []

    def export_node(self, node: Any, hook: str, folder: Path, **edits: str) -> Any:
        """The dataset of the one file that a node is written to."""
        error, (path,) = self.export(self.app.hierarchy.GetItemByDataNode(node), hook, folder, **edits)
        assert error == ""
        return read(path)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Session:
    return Session(monkeypatch, tmp_path / "in")


# --- Import ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("SR", "SR"), ("segments", "SR"), ("KOS", "KOS")])
def test_one_plugin_imports_both(session: Session, name: str, kind: str) -> None:
    browser = Browser()
    (loadable,) = [one for one in browser.examine([session.files(name)]) if one.selected]
    assert (loadable.confidence, loadable.dicombridgeLoadable.kind) == (0.97, kind)
    assert [type(plugin).__module__ for plugin, many in browser.loadables.items() if many] == [REPORT]
    assert {one.name: one.export_hook for one in KINDS if one.hook == REPORT} == {"SR": None, "KOS": KEYS}


def test_all_images_of_the_series_are_references(session: Session) -> None:
    for name, images in (("SR", session.images), ("KOS", session.chosen), ("segments", session.with_segments.images)):
        browser = Browser()
        (loadable,) = [one for one in browser.examine([session.files(name)]) if one.selected]
        assert set(images.uids) <= set(loadable.referencedInstanceUIDs)
        offered = {file for one in (browser.references(), browser.offered)[1] for file in one}
        assert {str(path) for path in images.paths} <= offered


@pytest.mark.parametrize("name", ["SR", "segments", "KOS"])
def test_examine_and_load_ask_for_cached_tags_only(session: Session, name: str) -> None:
    """Other tags make the database open the file again at every look."""
    plugin = session.app.modules.dicomPlugins[REPORT]()
    for loadable in plugin.examineForImport([session.files(name)]):
        plugin.load(loadable)
    assert {tag for _, tag in session.database._asked} <= set(plugin.tags.values())


def test_private_data_of_a_vendor_is_no_report(session: Session, data: Path) -> None:
    path = data / "sr" / "misc" / "siemens_phoenix_ve.dcm"
    session.database._index(path)
    browser = Browser()
    browser.examine([(str(path),)])
    assert [many for plugin, many in browser.loadables.items() if type(plugin).__module__ == REPORT and many] == []


def test_what_is_loaded(session: Session) -> None:
    nodes = session.load("SR")
    assert [node.GetClassName() for node in nodes[:3]] == ["vtkMRMLTableNode", "vtkMRMLTableNode", "vtkMRMLTextNode"]
    assert len(nodes) == 3 + len(session.expected.groups)
    hierarchy = session.app.hierarchy
    (folder,) = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes}
    assert hierarchy.GetItemUID(hierarchy.GetItemParent(folder), "DICOM") == session.images.study


# --- What is offered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node_class", "offers"),
    [
        ("vtkMRMLMarkupsFiducialNode", {REPORT: 0.6, FIDUCIALS: 0.5}),
        ("vtkMRMLMarkupsLineNode", {REPORT: 0.6, FIDUCIALS: 0.5}),
        ("vtkMRMLMarkupsAngleNode", {REPORT: 0.6}),
        ("vtkMRMLMarkupsCurveNode", {REPORT: 0.6, FIDUCIALS: 0.5}),
        ("vtkMRMLMarkupsClosedCurveNode", {REPORT: 0.6, FIDUCIALS: 0.5}),
        ("vtkMRMLMarkupsPlaneNode", {REPORT: 0.6}),
        ("vtkMRMLMarkupsROINode", {REPORT: 0.6}),
        ("vtkMRMLSegmentationNode", {SEGMENTATION: 1.05, REPORT: 0.6}),
        ("vtkMRMLScalarVolumeNode", {}),
        ("vtkMRMLTableNode", {}),
        ("vtkMRMLTextNode", {}),
        ("vtkMRMLModelNode", {}),
        ("vtkMRMLLinearTransformNode", {}),
    ],
)
def test_what_is_offered_for_nodes_made_in_slicer(session: Session, node_class: str, offers: dict[str, float]) -> None:
    assert session.offers(session.add(node_class, "Made here")) == offers


def test_what_is_offered_for_what_was_loaded(session: Session) -> None:
    offered = [session.offers(node) for node in session.load("SR")]
    assert [next(iter(one)) for one in offered] == [REPORT] * len(offered)
    assert [one[REPORT] for one in offered] == [1.08] * len(offered)
    assert [session.offers(node) for node in session.load("KOS")] == [{KEYS: 1.08}] * 2


def test_key_objects_are_offered_for_images(session: Session) -> None:
    volume = session.volume()
    assert session.offers(volume) == {KEYS: 0.2}
    points = session.add("vtkMRMLMarkupsFiducialNode", "P", [(1, 2, 3)])
    assert KEYS not in session.offers(points)
    points.SetNthControlPointAssociatedNodeID(0, volume.GetID())
    assert session.offers(points) == {REPORT: 0.6, FIDUCIALS: 0.5, KEYS: 0.2}
    volume.SetAttribute("DICOMBridge.Kind", "RTDOSE")
    assert KEYS not in session.offers(volume), "a dose is no image"


# --- Export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_loaded_report_is_exported_as_it_came(session: Session, tmp_path: Path, place: int) -> None:
    """Its tables and its text stand for the whole of it."""
    node = session.load("SR")[place]
    written = session.export_node(node, REPORT, tmp_path / "out", SeriesDescription="Edited")
    source = pydicom.dcmread(session.paths["SR"])
    assert (written.SeriesDescription, written.SOPClassUID) == ("Edited", source.SOPClassUID)
    assert written.SOPInstanceUID != source.SOPInstanceUID
    assert list(groups_of(written)) == list(groups_of(source))
    assert [one[0] for one in graphics_of(written)] == [one[0] for one in graphics_of(source)]


def test_new_markups_with_the_dialogs_fields(session: Session, tmp_path: Path) -> None:
    volume = session.volume()
    points = session.images.of_pixels(2, [(3, 4), (13, 4)])
    line = session.add("vtkMRMLMarkupsLineNode", "Line", points, session.study_of(volume))
    line.SetNodeReferenceID("referenceImageGeometryRef", volume.GetID())
    edits = {"coordinates": "image", "observer": "Doe^Jane", "SeriesNumber": "12"}
    written = session.export_node(line, REPORT, tmp_path / "out", **edits)
    assert (written.StudyInstanceUID, written.SeriesNumber, written.Modality) == (session.images.study, 12, "SR")
    assert numbers_of(groups_of(written)["Line"]) == pytest.approx({"Length": 13.0}, rel=1e-6)
    assert images_of(written) == [(session.images.uid(2), [])]
    assert [str(one.PersonName) for one in written.ContentSequence if one.ValueType == "PNAME"] == ["Doe^Jane"]


def test_all_markups_of_a_folder_are_one_report(session: Session, tmp_path: Path) -> None:
    volume = session.volume()
    hierarchy = session.app.hierarchy
    folder = hierarchy.CreateFolderItem(session.study_of(volume), "Findings")
    session.add("vtkMRMLMarkupsLineNode", "Line", [(0, 0, 0), (3, 4, 0)], folder)
    session.add("vtkMRMLMarkupsAngleNode", "Angle", [(5, 0, 0), (0, 0, 0), (0, 5, 0)], folder)
    session.add("vtkMRMLTableNode", "Other", (), folder)
    error, (path,) = session.export(session.study_of(volume), REPORT, tmp_path / "out")
    assert error == ""
    groups = groups_of(read(path))
    assert {name: numbers_of(one) for name, one in groups.items()} == {
        "Line": pytest.approx({"Length": 5}), "Angle": pytest.approx({"Angle": 90}),
    }  # fmt: skip


def test_the_folder_of_a_report_with_what_is_new_in_it(session: Session, tmp_path: Path) -> None:
    nodes = session.load("SR")
    hierarchy = session.app.hierarchy
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes[0]))
    session.add("vtkMRMLMarkupsLineNode", "new", [(0, 0, 0), (3, 4, 0)], folder)
    source = groups_of(pydicom.dcmread(session.paths["SR"]))
    error, (path,) = session.export(hierarchy.GetItemParent(folder), REPORT, tmp_path / "out")
    assert error == ""
    assert list(groups_of(read(path))) == [*source, "new"]


def test_slices_are_said_in_the_dialog(session: Session, tmp_path: Path) -> None:
    volume = session.volume()
    edits = {"slices": "1,3", "title": "For Referring Provider", "description": "Zwei Bilder"}
    written = session.export_node(volume, KEYS, tmp_path / "out", **edits)
    uids = volume.GetAttribute("DICOM.instanceUIDs").split()
    chosen = [one for one in written.ContentSequence if one.ValueType == "IMAGE"]
    assert [one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in chosen] == [uids[1], uids[3]]
    assert written.ConceptNameCodeSequence[0].CodeMeaning == "For Referring Provider"
    assert [one.TextValue for one in written.ContentSequence if one.ValueType == "TEXT"] == ["Zwei Bilder"]


def test_a_loaded_selection_is_exported_as_it_came(session: Session, tmp_path: Path) -> None:
    import highdicom as hd

    table, text = session.load("KOS")
    for place, node in enumerate((table, text)):
        written = session.export_node(node, KEYS, tmp_path / f"{place}")
        document = hd.ko.KeyObjectSelectionDocument.from_dataset(written)
        assert [uid for uid, _ in named(document)] == [session.chosen.uids[0], session.chosen.uids[2]]


def test_errors_come_back_as_text(session: Session, tmp_path: Path) -> None:
    volume = session.volume()
    empty = session.add("vtkMRMLMarkupsLineNode", "Half", [(1, 2, 3)], session.study_of(volume))
    hierarchy = session.app.hierarchy
    error, files = session.export(hierarchy.GetItemByDataNode(empty), REPORT, tmp_path / "1")
    assert error.startswith("Half: 'Half' has 1 points with a position, of the 2 that it needs")
    assert files == []
    error, files = session.export(hierarchy.GetItemByDataNode(volume), KEYS, tmp_path / "2", slices="1,99")
    assert "has no slice 99; its slices are 0 to 4" in error
    assert files == []


def test_what_a_report_of_other_programs_needs(session: Session, tmp_path: Path) -> None:
    """One that was made item by item, through browser and dialog."""
    path, expected = ODD["bidirectional"](tmp_path / "more")
    session.database._index(tmp_path / "more")
    session.paths["odd"] = path
    nodes = session.load("odd")
    written = session.export_node(nodes[0], REPORT, tmp_path / "out")
    (group,) = groups_of(written).values()
    assert list(numbers_of(group).values()) == [one.value for one in expected.groups[0].measurements]
