"""The plugins of slides with database, browser and export dialog: one imports slides and annotations, one exports."""

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
from standins.item_menus import install_menus
from support import annotations
from support.annotations import AREA, cell_values, group, lps_of_model, shapes_of

import dicombridge
from dicombridge.kinds import KINDS
from dicombridge.slide.pixel_matrix import pixel_matrix_of

IMPORTER = "DICOMBridgeSlidePlugin"
EXPORTER = "DICOMBridgeAnnotationsPlugin"
AREAS = np.arange(5, dtype=np.float32) + 0.5


class Session:
    """The application with a slide of two levels and annotations of it in the database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.slide = annotations.write_slide(folder / "slide")
        groups = [group(1, "POLYGON", shapes_of("POLYGON", 5), {AREA: AREAS})]
        self.annotations = annotations.annotations(self.slide, "2D", groups)
        annotations.write(folder / "ann.dcm", self.annotations)
        self.database = CtkDatabase(folder)
        self.app: SlicerStandIn = install(monkeypatch, dicombridge.new_scene(), self.database)
        monkeypatch.setattr("dicombridge.scene._application", {})
        for hook in (IMPORTER, EXPORTER, "DICOMBridgeFiducialsPlugin"):
            discover(HOOKS, hook, monkeypatch)

    def files(self, kind: str) -> tuple[str, ...]:
        one = self.annotations if kind == "ANN" else self.slide.first
        return tuple(self.database.filesForSeries(str(one.SeriesInstanceUID)))

    def load(self, kind: str) -> list[Any]:
        """Load the first offer for a series, as if the user had unchecked the others."""
        browser, messages = Browser(), list[str]()
        first = browser.examine([self.files(kind)])[0]

        def check(loadable: Any) -> None:
            loadable.selected = loadable is first

        ids = browser.load(check, messages)
        assert messages == []
        nodes = [self.app.scene.GetNodeByID(node_id) for node_id in ids]
        return [node for node in nodes if node is not None and node.GetAttribute("DICOMBridge.Kind") == kind]

    def exportables(self, node: Any) -> dict[str, list[Any]]:
        return exportables_of_item(self.app.hierarchy.GetItemByDataNode(node))

    def made(self, node_class: str, volume: Any = None) -> Any:
        """Return a node that somebody made in Slicer, upon a volume, in that volume's study."""
        node = self.app.scene.AddNewNodeByClass(node_class, "Made here")
        parent = self.app.hierarchy.GetSceneItemID()
        if volume is not None:
            node.SetNodeReferenceID("referenceImageGeometryRef", volume.GetID())
            item = self.app.hierarchy.GetItemByDataNode(volume)
            parent = self.app.hierarchy.GetItemAncestorAtLevel(item, "Study")
        self.app.hierarchy.CreateItem(parent, node)
        return node


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Session:
    return Session(monkeypatch, tmp_path / "in")


@pytest.mark.parametrize("kind", ["SLIDE", "ANN"])
def test_one_plugin_imports_both(session: Session, kind: str) -> None:
    browser = Browser()
    loadable = browser.examine([session.files(kind)])[0]
    assert (loadable.selected, loadable.confidence, loadable.dicombridgeLoadable.kind) == (True, 0.97, kind)
    assert [type(plugin).__module__ for plugin, many in browser.loadables.items() if many] == [IMPORTER]
    assert {one.name for one in KINDS if one.hook == IMPORTER} == {"SLIDE", "ANN"}
    assert [one.name for one in KINDS if (one.export_hook or one.hook) == EXPORTER] == ["ANN"]


def test_levels_are_offered_and_the_largest_is_first(session: Session) -> None:
    offers = Browser().examine([session.files("SLIDE")])
    names = [one.name for one in offers]
    assert any("level 0 (128 x 64" in name for name in names)
    assert any("level 1 (64 x 32" in name for name in names)
    (node,) = session.load("SLIDE")
    assert node.GetImageData().GetDimensions() == (128, 64, 1)


def test_one_level_is_chosen(session: Session) -> None:
    """Slicer's browser keeps of a series the readings of the highest confidence, whatever was selected before."""
    offers = Browser().examine([session.files("SLIDE")])
    assert [one.selected for one in offers] == [True, *[False] * (len(offers) - 1)]


def test_the_slide_is_offered_with_its_annotations(session: Session) -> None:
    browser = Browser()
    (loadable,) = [one for one in browser.examine([session.files("ANN")]) if one.selected]
    assert str(session.slide.first.SOPInstanceUID) in loadable.referencedInstanceUIDs
    assert any(one.dicombridgeLoadable.kind == "SLIDE" for one in browser.references())


@pytest.mark.parametrize(
    "kind",
    [
        "SLIDE",
        "ANN",
    ],
)
def test_examine_asks_for_cached_tags_only(session: Session, kind: str) -> None:
    """Other tags make the database open the file again at every look."""
    plugin = session.app.modules.dicomPlugins[IMPORTER]()
    loadables = plugin.examineForImport([session.files(kind)])
    for loadable in [one for one in loadables if one.selected]:
        plugin.load(loadable)
    assert session.database._asked
    assert {tag for _, tag in session.database._asked} <= set(plugin.tags.values())


def test_loaded_annotations_are_exported_as_they_came(session: Session, tmp_path: Path) -> None:
    (node,) = session.load("ANN")
    found = session.exportables(node)
    assert next(iter(found)) == EXPORTER
    fill_tags(found[EXPORTER], {"SeriesDescription": "Edited"})
    assert run_export(EXPORTER, found[EXPORTER], tmp_path / "out") == ""
    (path,) = (tmp_path / "out").iterdir()
    written, source = pydicom.dcmread(path), session.annotations
    assert (written.SeriesDescription, written.SOPClassUID) == ("Edited", source.SOPClassUID)
    assert written.SOPInstanceUID != source.SOPInstanceUID
    assert written.StudyInstanceUID == source.StudyInstanceUID
    (item,), (original,) = written.AnnotationGroupSequence, source.AnnotationGroupSequence
    assert item.PointCoordinatesData == original.PointCoordinatesData
    assert item.AnnotationGroupUID == original.AnnotationGroupUID
    again = dicombridge.load(path, scene=dicombridge.new_scene(), database=session.database)[0]
    np.testing.assert_allclose(lps_of_model(again), lps_of_model(node), atol=1e-9)
    np.testing.assert_array_equal(cell_values(again, "Area"), AREAS)


def test_points_made_on_a_slide_are_exported(session: Session, tmp_path: Path) -> None:
    (volume,) = session.load("SLIDE")
    points = session.made("vtkMRMLMarkupsFiducialNode", volume)
    wanted = [(20, 10), (100, 40)]  # columns and rows of pixels
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    for column, row in wanted:
        points.AddControlPoint(*matrix.MultiplyPoint((column, row, 0, 1))[:3])
    (exportable,) = session.exportables(points)[EXPORTER]
    fill_tags([exportable])
    assert run_export(EXPORTER, [exportable], tmp_path / "out") == ""
    (path,) = (tmp_path / "out").glob("*.dcm")
    (item,) = pydicom.dcmread(path).AnnotationGroupSequence
    assert (item.GraphicType, item.NumberOfAnnotations) == ("POINT", 2)
    (again,) = dicombridge.load(path, scene=dicombridge.new_scene(), database=session.database)
    places = [points.GetNthControlPointPositionWorld(number) for number in range(2)]
    np.testing.assert_allclose(lps_of_model(again) * (-1, -1, 1), places, atol=1e-5)


@pytest.mark.parametrize(
    ("node_class", "on_slide", "elsewhere"),
    [
        ("vtkMRMLModelNode", {EXPORTER}, set()),
        ("vtkMRMLMarkupsFiducialNode", {EXPORTER, "DICOMBridgeFiducialsPlugin"}, {"DICOMBridgeFiducialsPlugin"}),
        ("vtkMRMLMarkupsClosedCurveNode", {EXPORTER, "DICOMBridgeFiducialsPlugin"}, {"DICOMBridgeFiducialsPlugin"}),
        pytest.param("vtkMRMLVectorVolumeNode", set(), set()),
        ("vtkMRMLScalarVolumeNode", set(), set()),
        ("vtkMRMLLinearTransformNode", set(), set()),
    ],
)
def test_what_is_offered_for_nodes_made_in_slicer(
    session: Session, node_class: str, on_slide: set[str], elsewhere: set[str]
) -> None:
    """Models and markups are annotations of the slide on which they lie; on other images they are not."""
    (volume,) = session.load("SLIDE")
    image = session.app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    session.app.hierarchy.CreateItem(session.app.hierarchy.GetSceneItemID(), image)
    assert set(session.exportables(session.made(node_class, volume))) == on_slide
    assert set(session.exportables(session.made(node_class))) == elsewhere
    other = session.app.scene.AddNewNodeByClass(node_class, "On another image")
    other.SetNodeReferenceID("referenceImageGeometryRef", image.GetID())
    session.app.hierarchy.CreateItem(session.app.hierarchy.GetSceneItemID(), other)
    assert set(session.exportables(other)) == elsewhere


def test_a_slide_itself_is_not_exported(session: Session) -> None:
    (volume,) = session.load("SLIDE")
    assert session.exportables(volume) == {}


# --- Refining ------------------------------------------------------------------------------------------------------

ENTRY = "Load this part of the slide in finer pixels"


class Menus:
    """A session whose start-up is complete, with a coarse level, and the menus of items."""

    def __init__(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        import slicer

        self.session, self.scene = session, session.app.scene
        self.handler = install_menus(monkeypatch)
        for slot in slicer.app._slots["startupCompleted()"]:
            slot()
        self.errors: list[str] = []
        self.layers: list[dict[str, Any]] = []
        for name, stand_in in (
            ("errorDisplay", lambda text, windowTitle: self.errors.append(text)),
            ("setSliceViewerLayers", lambda **layers: self.layers.append(layers)),
        ):
            monkeypatch.setattr(slicer.util, name, stand_in, raising=False)
        (self.volume,) = dicombridge.load(session.slide.paths[1], scene=self.scene, database=session.database)

    def region(self, node_class: str, middle: tuple[float, float], size: float) -> int:
        """Add a markup around a pixel (column, row) of the largest level, ``size`` mm wide; return its item."""
        matrix = pixel_matrix_of(self.session.slide.first)
        x, y, z = matrix.to_slide(np.array([middle]))[0] * (-1, -1, 1)
        node = self.session.made(node_class)
        node.SetName("Part")
        if node.IsA("vtkMRMLMarkupsROINode"):
            node.SetCenter(x, y, z)
            node.SetSize(size, size, size)
        else:
            for right, up in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                node.AddControlPoint(x + right * size / 2, y + up * size / 2, z)
        return int(self.session.app.hierarchy.GetItemByDataNode(node))

    def loaded(self) -> list[Any]:
        return [one for one in application_nodes(self.scene) if one is not self.volume]


def application_nodes(scene: Any) -> list[Any]:
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    return [scene.GetNthNodeByClass(number, "vtkMRMLScalarVolumeNode") for number in range(count)]


@pytest.fixture
def menus(session: Session, monkeypatch: pytest.MonkeyPatch) -> Menus:
    return Menus(session, monkeypatch)


@pytest.mark.parametrize("node_class", ["vtkMRMLMarkupsROINode", "vtkMRMLMarkupsClosedCurveNode"])
def test_a_part_is_refined_by_the_menu_of_its_markup(menus: Menus, node_class: str) -> None:
    item = menus.region(node_class, (40, 30), 0.005)
    entry = menus.handler.menu_of(item)[ENTRY]
    assert entry.objectName == "DICOMBridgeRefineSlide"
    for slot in entry._slots:
        slot()
    assert menus.errors == []
    (fine,) = menus.loaded()
    assert fine.GetName().endswith("region - Part")
    assert min(fine.GetSpacing()) < min(menus.volume.GetSpacing())
    assert menus.layers == [{"foreground": fine.GetID(), "foregroundOpacity": 1.0}]


def test_other_items_have_no_such_entry(menus: Menus) -> None:
    """Markups beside the slide, those that enclose nothing, volumes, folders, items without anything."""
    hierarchy = menus.session.app.hierarchy
    beside = menus.region("vtkMRMLMarkupsROINode", (4000, 30), 0.005)
    points = menus.region("vtkMRMLMarkupsFiducialNode", (40, 30), 0.005)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Folder")
    for item in (beside, points, hierarchy.GetItemByDataNode(menus.volume), folder, 0):
        assert menus.handler.menu_of(item) == {}


def test_what_went_wrong_is_shown(menus: Menus) -> None:
    item = menus.region("vtkMRMLMarkupsROINode", (40, 30), 0.005)
    entry = menus.handler.menu_of(item)[ENTRY]
    for path in menus.session.slide.paths:
        path.unlink()
    for slot in entry._slots:
        slot()
    assert len(menus.errors) == 1
    assert menus.loaded() == []


def test_the_slide_that_is_shown_is_refined(menus: Menus, tmp_path: Path) -> None:
    """Slides lie in the same millimetres; the markup does not say which one is meant."""
    from DICOMBridgeLib.refining import slide_below

    other = annotations.write_slide(tmp_path / "other")
    (second,) = dicombridge.load(other.paths[0], scene=menus.scene)
    node = menus.session.app.hierarchy.GetItemDataNode(menus.region("vtkMRMLMarkupsROINode", (40, 30), 0.005))
    composite = menus.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    for shown in (second, menus.volume):
        composite.SetBackgroundVolumeID(shown.GetID())
        assert slide_below(node) is shown
    node.SetNodeReferenceID("referenceImageGeometryRef", second.GetID())
    assert slide_below(node) is second
