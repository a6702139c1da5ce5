"""The plugins of the DICOM module: discovery, examination and loading, in the order in which Slicer does it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from standins.application import SlicerStandIn, discover, install
from standins.ctk_database import CtkDatabase
from standins.dialogs import Browser
from standins.fake_kind import CT_SERIES, HOOK, HOOKS, SEG, SEG_SERIES, STUDY, Room, plugin_of, write_header
from standins.pythonqt import QtObject
from standins.widgets import qSlicerDICOMExportable, qSlicerDICOMLoadable

from dicombridge.errors import UnreadableError
from dicombridge.kinds import KINDS, kind_named
from dicombridge.loadable import Loadable

pytest_plugins = ["standins.fixtures"]


# --------------------------------------------------------------------------- the stand-ins are strict


def test_stand_ins_behave_as_pythonqt(study: CtkDatabase) -> None:
    exportable = qSlicerDICOMExportable()
    with pytest.raises(AttributeError):
        exportable.series = "x"
    with pytest.raises(AttributeError):
        exportable.tags = {}
    with pytest.raises(AttributeError):
        exportable.confidence = "high"
    with pytest.raises(ValueError, match="keyword"):
        exportable.setTag(name="Modality", value="SEG")
    exportable.setTag("A", None)
    exportable.setTag("B", 301)
    assert (exportable.tag("A"), exportable.tag("B"), exportable.tag("C")) == ("None", "301", "")
    assert list(exportable._values) == ["A", "B", "C"], "asking for a tag adds it"
    loadable = qSlicerDICOMLoadable()
    loadable.files = ["a", "b"]
    loadable.name = None
    assert (loadable.files, loadable.name) == (("a", "b"), "None")
    with pytest.raises(AttributeError):
        loadable.files = None
    with pytest.raises(AttributeError):
        loadable.derivedItems = []
    assert isinstance(study, QtObject)


def test_stand_in_database_behaves_as_ctk(study: CtkDatabase) -> None:
    path = study.filesForSeries(SEG_SERIES)[0]
    assert study.studiesForPatient(study.patients()[0]) == (STUDY,)
    assert set(study.seriesForStudy(STUDY)) == {CT_SERIES, SEG_SERIES}
    assert study.fileValue(path, "0008,0016") == study.fileValue(path, 0x0008, 0x0016) == SEG
    assert study.instanceValue(study.instanceForFile(path), "0008,103E") == "Organs"
    assert (study.fileValue("", "0008,0016"), study.fileForInstance("9"), study.filesForSeries("9")) == ("", "", ())
    assert [study.fileValue(path, "7FE0,0010") for _ in range(2)] == ["__VALUE_IS_NOT_STORED__", ""]
    with pytest.raises(ValueError, match="keyword"):
        study.fileValue(path, tag="0008,0016")
    with pytest.raises(AssertionError):
        study.fileValue(path, "0008,103e")
    with pytest.raises(AttributeError):
        study.patientsByName()


# --------------------------------------------------------------------------- registration


def test_hook_registers_itself(slicer_app: SlicerStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = discover(HOOKS, HOOK, monkeypatch)
    assert parent.title, "Slicer does not load a module without a title"
    assert (parent.hidden, parent.categories) == (True, ("Developer Tools.DICOM Plugins",))
    assert parent.helpText
    assert parent.contributors
    plugin_class = slicer_app.modules.dicomPlugins[HOOK]
    assert plugin_class.__module__ == HOOK
    assert plugin_class().loadType == "Segmentation"


def test_hook_keeps_the_plugins_of_others(slicer_app: SlicerStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    slicer_app.modules.dicomPlugins = {"Other": object}
    discover(HOOKS, HOOK, monkeypatch)
    assert list(slicer_app.modules.dicomPlugins) == ["Other", HOOK]


def test_library_finds_the_application(slicer_app: SlicerStandIn) -> None:
    from dicombridge.scene import default_database, default_scene

    assert default_scene() is slicer_app.scene
    assert default_database() is slicer_app.database


@pytest.mark.parametrize("hook", sorted(path.stem for path in HOOKS.glob("*.py")))
def test_every_hook_is_thin_and_light(hook: str) -> None:
    """A fresh interpreter with stand-ins that import nothing: what a hook adds to Slicer's start-up."""
    code = f"""
import sys, types
sys.path[:0] = [{str(HOOKS)!r}, {str(Path(__file__).parent / "standins")!r}]
slicer = types.ModuleType("slicer"); slicer.modules = types.SimpleNamespace(); sys.modules["slicer"] = slicer
import {hook} as hook
parent = types.SimpleNamespace()
getattr(hook, {hook!r})(parent)
plugin = slicer.modules.dicomPlugins[{hook!r}]()
heavy = {{"numpy", "pydicom", "highdicom", "vtk", "vtkmodules", "scipy", "PIL", "sqlite3"}}
print(sorted(heavy & set(sys.modules)), plugin.loadType, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    titles = {kind.title for kind in KINDS if hook in (kind.hook, kind.export_hook)} | {"Radiotherapy"}
    heavy, _, title = done.stdout.strip().partition("|")
    assert heavy == "[]"
    assert title in titles
    assert len((HOOKS / f"{hook}.py").read_text().splitlines()) <= 40


def test_tags_are_few_and_upper_case(slicer_app: SlicerStandIn) -> None:
    tags = plugin_of(slicer_app).tags
    assert "0008,0016" in tags.values()
    assert all(tag == tag.upper() and len(tag) == 9 and tag[4] == "," for tag in tags.values())
    assert "7FE0,0010" not in tags.values()


# --------------------------------------------------------------------------- examine


def test_examine_hands_loadables_over(slicer_app: SlicerStandIn, room: Room) -> None:
    from DICOMLib import DICOMLoadable

    files = slicer_app.database.filesForSeries(SEG_SERIES)
    (loadable,) = plugin_of(slicer_app).examineForImport([files])
    assert isinstance(loadable, DICOMLoadable)
    assert (loadable.name, loadable.tooltip, loadable.warning) == ("7: Organs", "1 segment", "guessed")
    assert loadable.confidence == 0.97
    assert loadable.files == list(files)
    assert loadable.referencedInstanceUIDs == list(slicer_app.database.instancesForSeries(CT_SERIES))
    assert len(loadable.referencedInstanceUIDs) == 3
    assert len({loadable}) == 1, "loadables are keys of dictionaries"


def test_examine_rejects_others_without_loading_the_room(
    slicer_app: SlicerStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dicombridge.segmentation", None)  # importing it would raise
    lists = [slicer_app.database.filesForSeries(CT_SERIES), (), slicer_app.database.filesForSeries("unknown")]
    assert plugin_of(slicer_app).examineForImport(lists) == []
    assert {tag for _, tag in slicer_app.database._asked} == {"0008,0016"}
    slicer_app.database._asked.clear()
    long = [str(number) for number in range(1000)]
    assert plugin_of(slicer_app).examineForImport([long]) == []
    assert len(slicer_app.database._asked) <= 6, "few look-ups for a series, whatever its length"


def test_examine_is_cached(slicer_app: SlicerStandIn, room: Room) -> None:
    room.warning = ""
    plugin = plugin_of(slicer_app)
    files = slicer_app.database.filesForSeries(SEG_SERIES)
    first = plugin.examineForImport([files])
    assert plugin.examineForImport([files])[0] is first[0], "the browser's edits are on this object"
    assert len(room.calls) == 1


def test_a_warning_is_not_kept(slicer_app: SlicerStandIn, room: Room) -> None:
    """The browser keeps its plugins; the images may be imported between two looks."""
    plugin = plugin_of(slicer_app)
    files = slicer_app.database.filesForSeries(SEG_SERIES)
    assert [loadable.warning for loadable in plugin.examineForImport([files])] == ["guessed"]
    room.warning = ""
    assert [loadable.warning for loadable in plugin.examineForImport([files])] == [""]


@pytest.mark.parametrize("failure", [UnreadableError("seg.dcm", "is cut short"), KeyError("x"), MemoryError()])
def test_examine_never_raises(
    slicer_app: SlicerStandIn, room: Room, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    room.failure = failure
    plugin = plugin_of(slicer_app)
    files = slicer_app.database.filesForSeries(SEG_SERIES)
    assert plugin.examineForImport([files]) == []
    assert plugin.examine([files]) == []
    assert len(room.calls) == 1, "an empty answer is cached, because Slicer asks twice"
    assert type(failure).__name__ in caplog.text
    assert "seg.dcm" in caplog.text


def test_one_damaged_series_does_not_hide_another(slicer_app: SlicerStandIn, room: Room, tmp_path: Path) -> None:
    write_header(tmp_path / "bad.dcm", SEG, "1.2.3.99")
    slicer_app.database._index(tmp_path)
    examine = room.examine

    def picky(files: list[str], database: Any) -> list[Loadable]:
        if files[0].endswith("bad.dcm"):
            raise UnreadableError(files[0], "has no frames")
        return examine(files, database)

    room.examine = picky  # type: ignore[method-assign]  # one series only shall fail
    lists = [slicer_app.database.filesForSeries(uid) for uid in ("1.2.3.99", SEG_SERIES)]
    assert [loadable.name for loadable in plugin_of(slicer_app).examineForImport(lists)] == ["7: Organs"]


def test_closed_database_is_no_exception(slicer_app: SlicerStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    monkeypatch.setattr(slicer, "dicomDatabase", None)
    assert plugin_of(slicer_app).examineForImport([("x.dcm",)]) == []


def test_without_highdicom_there_is_a_loadable(
    slicer_app: SlicerStandIn, no_highdicom: None, caplog: pytest.LogCaptureFixture
) -> None:
    browser = Browser()
    (loadable,) = browser.examine([slicer_app.database.filesForSeries(SEG_SERIES)])
    assert (loadable.name, loadable.confidence) == ("7: Organs", 0.97)
    assert "highdicom>=0.27" in loadable.warning
    browser.references()
    messages: list[str] = []
    assert browser.load(messages=messages) == []
    assert messages
    assert "DICOMBridge needs highdicom>=0.27" in caplog.text


def test_broken_room_offers_nothing(
    slicer_app: SlicerStandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With all packages in place an ImportError is a defect, and not a question for the user."""
    monkeypatch.setitem(sys.modules, "dicombridge.segmentation", None)
    files = slicer_app.database.filesForSeries(SEG_SERIES)
    assert plugin_of(slicer_app).examineForImport([files]) == []
    assert "cannot examine" in caplog.text


# --------------------------------------------------------------------------- load


def test_browser_loads_with_the_edited_name(slicer_app: SlicerStandIn, room: Room) -> None:
    browser = Browser()
    browser.examine([slicer_app.database.filesForSeries(SEG_SERIES)])
    ids = browser.load(edit=lambda loadable: setattr(loadable, "name", "My organs"))
    (call,) = room.called("load")
    assert call[1].name == "My organs"
    assert call[1].options == {"stack": 2}, "what examination found out reaches the load"
    assert call[2] is slicer_app.database
    nodes = [slicer_app.scene.GetNodeByID(node_id) for node_id in ids]
    assert [n.GetName() for n in nodes if n.IsA("vtkMRMLSegmentationNode")] == ["My organs"]
    # The cached loadable is not changed: the next examination shows the series' own name again.
    (loadable,) = [one for many in browser.loadables.values() for one in many]
    assert loadable.dicombridgeLoadable.name == "7: Organs"
    assert loadable.loadSuccess is True


def test_series_is_filed_once(slicer_app: SlicerStandIn, room: Room) -> None:
    from DICOMLib import DICOMUtils

    DICOMUtils.loadSeriesByUID([SEG_SERIES])
    items: list[int] = []
    slicer_app.hierarchy.GetItemChildren(slicer_app.hierarchy.GetSceneItemID(), items, True)
    uids = [slicer_app.hierarchy.GetItemUID(item, "DICOM") for item in items]
    assert sorted(uids) == sorted(["P1", STUDY, SEG_SERIES])


def test_browser_offers_the_references(slicer_app: SlicerStandIn, room: Room) -> None:
    browser = Browser()
    browser.examine([slicer_app.database.filesForSeries(SEG_SERIES)])
    browser.references()
    assert [set(files) for files in browser.offered] == [set(slicer_app.database.filesForSeries(CT_SERIES))]


@pytest.mark.parametrize("theirs", [0.95, 0.5])
def test_ours_alone_is_selected_beside_core(slicer_app: SlicerStandIn, room: Room, theirs: float) -> None:
    from DICOMLib import DICOMLoadable, DICOMPlugin

    class Core(DICOMPlugin):
        loaded = 0

        def examineFiles(self, files: Any) -> list[Any]:
            loadable = DICOMLoadable()
            loadable.files, loadable.selected, loadable.confidence = files, True, theirs
            return [loadable]

        def load(self, loadable: Any) -> bool:
            Core.loaded += 1
            return True

    slicer_app.modules.dicomPlugins["DICOMSegmentationPlugin"] = Core
    browser = Browser()
    shown = browser.examine([slicer_app.database.filesForSeries(SEG_SERIES)])
    assert len(shown) == 2
    assert [loadable.confidence for loadable in shown if loadable.selected] == [kind_named("SEG").confidence]
    browser.load()
    assert (Core.loaded, len(room.called("load"))) == (0, 1)


def test_failed_load_is_reported_and_leaves_the_scene(
    slicer_app: SlicerStandIn, room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    browser = Browser()
    (loadable,) = browser.examine([slicer_app.database.filesForSeries(SEG_SERIES)])
    room.failure = UnreadableError("seg.dcm", "is cut short at byte 300")
    before = slicer_app.scene.GetNumberOfNodes()
    messages: list[str] = []
    browser.load(messages=messages)
    assert messages == ["Could not load: 7: Organs as a Segmentation"]
    assert loadable.loadSuccess is False
    assert "is cut short at byte 300" in caplog.text
    assert slicer_app.scene.GetNumberOfNodes() == before


def test_load_of_a_copied_loadable(slicer_app: SlicerStandIn, room: Room) -> None:
    """Scripts copy loadables, and a copy has Slicer's six attributes only."""
    from DICOMLib import DICOMLoadable

    plugin = plugin_of(slicer_app)
    (loadable,) = plugin.examineForImport([slicer_app.database.filesForSeries(SEG_SERIES)])
    loadable.name = "Copied"
    (node,) = plugin.load(DICOMLoadable(loadable))
    assert node.GetName() == "Copied"
    assert room.called("load")[0][1].options == {"stack": 2}


def test_progress_goes_to_the_status_bar(
    slicer_app: SlicerStandIn, room: Room, study: CtkDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = install(monkeypatch, slicer_app.scene, study, testing=False)
    discover(HOOKS, HOOK, monkeypatch)
    plugin = plugin_of(app)
    plugin.load(plugin.examineForImport([study.filesForSeries(SEG_SERIES)])[0])
    assert app.window._messages[-1] == "Loading 7: Organs: done (100%)"
    assert app.window._painted == len(app.window._messages)


def test_progress_is_seldom_and_silent_in_tests(slicer_app: SlicerStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from DICOMBridgeLib import application

    report = application.progress_reporter("Loading x")
    report(1.0, "done")
    assert slicer_app.window._messages == []
    app = install(monkeypatch, slicer_app.scene, slicer_app.database, testing=False)
    report = application.progress_reporter("Loading x")
    for step in range(5000):
        report(step / 5000, "frames")
    report(1.0, "frames")
    assert 2 <= len(app.window._messages) <= 20
    assert app.window._messages[-1].endswith("(100%)")
