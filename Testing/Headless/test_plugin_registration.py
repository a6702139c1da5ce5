"""The plugins of registrations with database, browser and export dialog: one imports three kinds, three export."""

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
from support.fiducials import every_shape, write_fiducials
from support.registration_exports import (
    ASYMMETRIC,
    FIXED,
    MOVING,
    item_matrix,
    item_of,
    registration_item,
    spatial_registration,
    write_object,
    write_series,
)
from test_deformation_export import deformation_item, smooth

import dicombridge
from dicombridge.kinds import KINDS

IMPORTER = "DICOMBridgeRegistrationPlugin"
EXPORTERS = {"REG": IMPORTER, "DEFORM": "DICOMBridgeDeformationPlugin", "FID": "DICOMBridgeFiducialsPlugin"}
SOP_CLASS_PREFIX = "1.2.840.10008.5.1.4.1.1.66."


class Session:
    """The application with two image series, a registration, a deformation and fiducials in the database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        write_series(folder / "fixed", FIXED)
        write_series(folder / "moving", MOVING, (7, 20, 24))
        items = [registration_item(FIXED, np.eye(4)), registration_item(MOVING, ASYMMETRIC)]
        deformable = write_object(
            folder / "deform.dcm", f"{SOP_CLASS_PREFIX}3",
            DeformableRegistrationSequence=[deformation_item(MOVING, smooth(), ASYMMETRIC)],
            SeriesInstanceUID="1.2.3.10", SOPInstanceUID="1.2.3.10.1",
        )  # fmt: skip
        self.paths = {
            "REG": spatial_registration(folder / "reg.dcm", *items),
            "DEFORM": deformable,
            "FID": write_fiducials(folder / "fid.dcm", [every_shape()], study="1.2.9"),
        }
        self.database = CtkDatabase(folder)
        self.app: SlicerStandIn = install(monkeypatch, dicombridge.new_scene(), self.database)
        monkeypatch.setattr("dicombridge.scene._application", {})
        for hook in EXPORTERS.values():
            discover(HOOKS, hook, monkeypatch)

    def files(self, kind: str) -> tuple[str, ...]:
        uid = str(pydicom.dcmread(self.paths[kind]).SeriesInstanceUID)
        return tuple(self.database.filesForSeries(uid))

    def load(self, kind: str) -> list[Any]:
        browser, messages = Browser(), list[str]()
        browser.examine([self.files(kind)])
        ids = browser.load(messages=messages)
        assert messages == []
        nodes = [self.app.scene.GetNodeByID(node_id) for node_id in ids]
        return [node for node in nodes if node is not None and node.GetAttribute("DICOMBridge.Kind") == kind]

    def volume(self, frame: str) -> Any:
        (series,) = {
            self.database.seriesForFile(path)
            for path in self.database._headers
            if self.database.fileValue(path, "0020,0052") == frame
            and self.database.fileValue(path, "0008,0060") == "CT"
        }
        (loadable,) = dicombridge.examine(self.database, series=series)
        return dicombridge.load(loadable, scene=self.app.scene, database=self.database)[0]

    def exportables(self, node: Any) -> dict[str, list[Any]]:
        return exportables_of_item(self.app.hierarchy.GetItemByDataNode(node))


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Session:
    return Session(monkeypatch, tmp_path / "in")


@pytest.mark.parametrize("kind", EXPORTERS)
def test_one_plugin_imports_all(session: Session, kind: str) -> None:
    browser = Browser()
    (loadable,) = [one for one in browser.examine([session.files(kind)]) if one.selected]
    assert (loadable.confidence, loadable.dicombridgeLoadable.kind) == (0.97, kind)
    assert [type(plugin).__module__ for plugin, many in browser.loadables.items() if many] == [IMPORTER]
    assert {one.name for one in KINDS if one.hook == IMPORTER} == set(EXPORTERS)


@pytest.mark.parametrize("kind", ["REG", "DEFORM"])
def test_all_series_of_both_frames_are_offered(session: Session, kind: str) -> None:
    browser = Browser()
    (loadable,) = [one for one in browser.examine([session.files(kind)]) if one.selected]
    images = {uid for uid, header in ((h.SOPInstanceUID, h) for h in session.database._headers.values())
              if header.Modality == "CT"}  # fmt: skip
    assert images <= set(loadable.referencedInstanceUIDs)


@pytest.mark.parametrize("kind", EXPORTERS)
def test_examine_and_load_ask_for_cached_tags_only(session: Session, kind: str) -> None:
    """Other tags make the database open the file again at every look."""
    plugin = session.app.modules.dicomPlugins[IMPORTER]()
    for loadable in plugin.examineForImport([session.files(kind)]):
        plugin.load(loadable)
    assert {tag for _, tag in session.database._asked} <= set(plugin.tags.values())


@pytest.mark.parametrize("kind", EXPORTERS)
def test_loaded_objects_are_exported_as_they_came(session: Session, tmp_path: Path, kind: str) -> None:
    node = session.load(kind)[0]
    found = session.exportables(node)
    assert next(iter(found)) == EXPORTERS[kind]
    fill_tags(found[EXPORTERS[kind]], {"SeriesDescription": "Edited"})
    assert run_export(EXPORTERS[kind], found[EXPORTERS[kind]], tmp_path / "out") == ""
    (path,) = (tmp_path / "out").iterdir()
    written, source = pydicom.dcmread(path), pydicom.dcmread(session.paths[kind])
    assert (written.SeriesDescription, written.SOPClassUID) == ("Edited", source.SOPClassUID)
    assert written.SOPInstanceUID != source.SOPInstanceUID
    assert written.StudyInstanceUID == source.StudyInstanceUID


def test_new_transform_is_exported(session: Session, tmp_path: Path) -> None:
    """Fixed is said in the dialog; moving is what lies under the transform."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    volume = session.volume(MOVING)
    node = session.app.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Motion")
    matrix = vtkMatrix4x4()
    matrix.SetElement(0, 3, -12.5)
    matrix.SetElement(2, 3, 4.0)
    node.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(node.GetID())
    hierarchy = session.app.hierarchy
    study = hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(volume), "Study")
    hierarchy.CreateItem(study, node)
    (exportable,) = session.exportables(node)[IMPORTER]
    fill_tags([exportable])
    assert "fixed=" in run_export(IMPORTER, [exportable], tmp_path / "out")
    fill_tags([exportable], {"fixed": FIXED, "registration_type": "visual alignment"})
    assert run_export(IMPORTER, [exportable], tmp_path / "out") == ""
    (path,) = (tmp_path / "out").glob("*.dcm")
    item = item_of(pydicom.dcmread(path), MOVING)
    assert item_matrix(item)[:3, 3].tolist() == [12.5, 0.0, 4.0]
    assert item.MatrixRegistrationSequence[0].RegistrationTypeCodeSequence[0].CodeValue == "125025"


@pytest.mark.parametrize(
    ("node_class", "exporters"),
    [
        ("vtkMRMLLinearTransformNode", {IMPORTER}),
        ("vtkMRMLGridTransformNode", {EXPORTERS["DEFORM"]}),
        ("vtkMRMLBSplineTransformNode", {EXPORTERS["DEFORM"]}),
        ("vtkMRMLTransformNode", {EXPORTERS["DEFORM"]}),
        ("vtkMRMLMarkupsFiducialNode", {EXPORTERS["FID"]}),
        ("vtkMRMLMarkupsLineNode", {EXPORTERS["FID"]}),
        ("vtkMRMLMarkupsClosedCurveNode", {EXPORTERS["FID"]}),
        ("vtkMRMLScalarVolumeNode", set()),
    ],
)
def test_what_is_offered_for_nodes_made_in_slicer(session: Session, node_class: str, exporters: set[str]) -> None:
    node = session.app.scene.AddNewNodeByClass(node_class, "Made here")
    session.app.hierarchy.CreateItem(session.app.hierarchy.GetSceneItemID(), node)
    assert set(session.exportables(node)) == exporters
