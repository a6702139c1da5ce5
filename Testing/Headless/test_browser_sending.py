"""What of the scene becomes what, and the files of it: kept as long as somebody may want to send them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from standins import qt_modules
from standins.widgets import qSlicerDICOMExportable
from support.browser import Browser

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
Make = Callable[..., Browser]
Qt = qt_modules.QtCore.Qt


def asked(log: Path, do: str) -> list[dict[str, Any]]:
    return [one for line in log.read_text().splitlines() if (one := json.loads(line))["do"] == do]


def plugin(name: str, title: str, confidence: float, refused: str = "") -> Any:
    """A plugin that writes any node as one file, whose name says who wrote it."""

    class Plugin:
        def examineForExport(self, item: int) -> list[Any]:
            found = qSlicerDICOMExportable()
            found.name, found.pluginClass, found.confidence, found.tooltip = title, name, confidence, f"by {name}"
            return [found]

        def export(self, exportables: Any) -> str:
            (one,) = exportables
            if not refused:
                Path(one.directory, f"{name} {one.tag('StudyInstanceUID')}.dcm").write_bytes(b"")
            return refused

    return Plugin


@pytest.fixture
def scene(running_slicer: Any, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A segmentation in a study, and a model in none; three plugins."""
    import slicer

    plugins = {
        "SegPlugin": plugin("SegPlugin", "Segmentation", 1.0),
        "OtherSegPlugin": plugin("OtherSegPlugin", "Segmentation", 0.8),
        "StructPlugin": plugin("StructPlugin", "RT Structure Set", 0.5),
    }
    monkeypatch.setattr(slicer.modules, "dicomPlugins", plugins)
    hierarchy = running_slicer.hierarchy
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe, Jane")
    study = hierarchy.CreateStudyItem(patient, "Chest")
    hierarchy.SetItemUID(study, "DICOM", "1.2.3")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Liver")
    item = hierarchy.CreateItem(study, node)
    lone = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "Lone")
    return SimpleNamespace(
        study=study, item=item, node=node, lone=hierarchy.CreateItem(hierarchy.GetSceneItemID(), lone)
    )


def filled(window: Browser) -> Any:
    send = window.window.send
    send.choose_source("scene")
    window.wait(lambda: not send._pacer.is_running("fill"))
    return send


def row_of(send: Any, item: int) -> Any:
    rows = [send.tree.topLevelItem(index) for index in range(send.tree.topLevelItemCount)]
    return next(row for row in rows if row.data(0, Qt.UserRole) == item)


def test_all_that_the_plugins_offer_can_be_chosen(browser: Make, scene: Any, tmp_path: Path) -> None:
    window = browser({"log": str(tmp_path / "log")})
    window.use()
    window.ui.sendSection.collapsed = False
    window.ui.findSection.collapsed = True
    send = filled(window)
    row = row_of(send, scene.item)
    assert row.text(2) == "Chest \N{MIDDLE DOT} Doe, Jane"
    assert "1.2.3" in row.toolTip(2)
    assert row_of(send, scene.lone).text(2) == "none"
    combo = send.kind_combos[scene.item]
    names = [combo.itemText(index) for index in range(combo.count)]
    assert names == ["Segmentation (SegPlugin)", "Segmentation (OtherSegPlugin)", "RT Structure Set"]
    assert combo.itemData(2, Qt.ToolTipRole) == "by StructPlugin"
    assert combo.currentIndex == 0  # the best
    assert combo.accessibleName == "What Liver becomes"
    window.picture("send-choice")
    row.setCheckState(0, Qt.Checked)
    combo.currentIndex = 2
    send.send_button.click()
    window.wait(window.ended)
    (sent,) = asked(tmp_path / "log", "store")
    assert len(sent["paths"]) == 1


def test_what_was_chosen_stays_when_somebody_comes_back(browser: Make, scene: Any) -> None:
    window = browser({})
    send = filled(window)
    row_of(send, scene.item).setCheckState(0, Qt.Checked)
    send.kind_combos[scene.item].currentIndex = 1
    window.panel.hide()
    window.panel.show()
    window.wait(lambda: not send._pacer.is_running("fill") and send.tree.topLevelItemCount == 2)
    assert send.checked() == [scene.item]
    assert send.kind_combos[scene.item].currentIndex == 1


def test_only_the_chosen_plugin_writes(browser: Make, scene: Any, tmp_path: Path) -> None:
    window = browser({"hang": ["store"], "log": str(tmp_path / "log")})
    window.use()
    send = filled(window)
    row_of(send, scene.item).setCheckState(0, Qt.Checked)
    send.kind_combos[scene.item].currentIndex = 2
    send.send_button.click()
    (job,) = window.session.jobs.jobs
    (folder,) = job.arguments["paths"]
    assert [path.name for path in Path(folder).iterdir()] == ["StructPlugin 1.2.3.dcm"]
    # What is cancelled can be sent again, so that its files stay; they go with the transfer.
    window.window.jobs.rows[job.number].cancel.click()
    window.wait(lambda: job.state == "cancelled")
    assert Path(folder).exists()
    window.session.jobs.remove(job)
    assert not Path(folder).exists()


def test_files_of_the_scene_go_when_slicer_ends_and_when_they_were_sent(browser: Make, scene: Any) -> None:
    window = browser({"delay": 0.3})
    window.use()
    send = filled(window)
    row_of(send, scene.item).setCheckState(0, Qt.Checked)
    send.send_button.click()
    (job,) = window.session.jobs.jobs
    (folder,) = job.arguments["paths"]
    assert Path(folder).exists()
    window.reload()  # the new panel knows of them, too
    window.wait(window.ended)
    window.wait(lambda: not Path(folder).exists())
    send = filled(window)
    row_of(send, scene.item).setCheckState(0, Qt.Checked)
    send.send_button.click()
    (folder,) = window.session.jobs.jobs[-1].arguments["paths"]
    assert Path(folder).exists()
    window.close()
    assert not Path(folder).exists()


def test_what_left_the_scene_is_told(browser: Make, scene: Any) -> None:
    import slicer

    window = browser({})
    window.use()
    send = filled(window)
    row_of(send, scene.item).setCheckState(0, Qt.Checked)
    slicer.mrmlScene.RemoveNode(scene.node)
    send.send_button.click()
    assert "no longer in the scene" in send.message.text
    assert window.session.jobs.jobs == []


def test_again_is_only_what_failed_and_under_the_same_pseudonym(browser: Make, tmp_path: Path) -> None:
    window = browser({"log": str(tmp_path / "log")})
    window.use()
    send = window.window.send
    send.choose_source("files")
    good, bad = str(tmp_path / "good.dcm"), str(tmp_path / "bad.dcm")
    send.add_paths([good, bad])
    send.deidentify_box.checked = True
    send.send_button.click()
    window.wait(window.ended)
    (job,) = window.session.jobs.jobs
    Path(bad).with_suffix(".sent").touch()
    window.wait(lambda: window.window.jobs.rows[job.number].retry.visible)
    window.window.jobs.rows[job.number].retry.click()  # that of the list does the same as that below the table
    window.wait(window.ended)
    first, second = asked(tmp_path / "log", "store")
    assert second["paths"] == [bad]
    assert first["deidentify"] == second["deidentify"]
    assert len(first["deidentify"]["secret"]) >= 32
    table = send.outcome.table
    window.wait(lambda: table.topLevelItemCount == 2)
    assert [table.topLevelItem(row).text(1) for row in range(2)] == ["stored", "stored"]
    settings = window.session.settings._settings
    settings.sync()
    assert first["deidentify"]["secret"] not in Path(settings.fileName()).read_text()


def test_a_study_of_the_hierarchy_offers_what_is_below(
    browser: Make, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    import slicer

    base = SimpleNamespace(AbstractScriptedSubjectHierarchyPlugin=type("Base", (), {"__init__": lambda *_: None}))
    monkeypatch.setitem(sys.modules, "AbstractScriptedSubjectHierarchyPlugin", base)
    from DICOMwebBrowserLib.DICOMwebBrowserSubjectHierarchyPlugin import DICOMwebBrowserSubjectHierarchyPlugin

    window = browser({})
    handlers = SimpleNamespace(instance=lambda: SimpleNamespace(currentItem=lambda: scene.study))
    monkeypatch.setattr(slicer, "qSlicerSubjectHierarchyPluginHandler", handlers, raising=False)
    monkeypatch.setattr(slicer.util, "selectModule", lambda name: None, raising=False)
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: window.widget, raising=False)
    owner = qt_modules.QtCore.QObject()
    menu = DICOMwebBrowserSubjectHierarchyPlugin(owner)
    (entry,) = menu.itemContextMenuActions()
    entry.visible = False
    menu.showContextMenuActionsForItem(scene.study)
    assert entry.visible
    entry.trigger()
    window.wait(lambda: window.window.send.checked() == [scene.item])


@pytest.mark.parametrize("waits", [True, False])
def test_that_a_package_cannot_be_installed_is_told(
    browser: Make, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """Of older versions of Slicer, pip raises; of newer ones it calls back when it has ended."""
    import slicer

    from DICOMwebBrowserLib import profile_dialog, send_panel

    there, network, ended = [False], [False], []

    def pip_install(name: str) -> None:
        assert name == "dicom-anonymizer"
        if not network[0]:
            raise RuntimeError("No network.")
        there[0] = True

    def pip_begin(name: str, blocking: bool, completedCallback: Callable[[int], None]) -> None:
        assert not blocking
        there[0] = network[0]
        ended.append(completedCallback)

    for module in (profile_dialog, send_panel):
        monkeypatch.setattr(module, "is_available", lambda: there[0])
    if waits:
        monkeypatch.setattr(slicer.util, "pip_install", pip_install, raising=False)
    else:
        monkeypatch.setattr(slicer, "packaging", SimpleNamespace(pip_install=pip_begin), raising=False)
    send = browser({}).window.send
    send.deidentify_box.checked = True
    assert not send.deidentify_box.checked
    for title, said in (("Install it", "dicom-anonymizer could not be installed."), ("Try again", "")):
        send.message.click(title)
        if not waits:
            assert send.message.text == "dicom-anonymizer is being installed..."
            ended.pop()(0 if network[0] else 1)
        assert send.message.text == said
        assert send.deidentify_box.checked == network[0]
        if said:
            assert send.message.details.plainText == ("No network." if waits else "Slicer's log says why.")
        network[0] = True
