"""Sending, links, the server dialog, drag and drop, and what keyboard and screen readers need."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from standins import qt_modules
from support.browser import SERVER, Browser

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
Make = Callable[..., Browser]
Qt = qt_modules.QtCore.Qt


def asked(log: Path, do: str) -> list[dict[str, Any]]:
    return [one for line in log.read_text().splitlines() if (one := json.loads(line))["do"] == do]


def test_files_are_sent_and_what_failed_again(browser: Make, tmp_path: Path) -> None:
    window = browser({"log": str(tmp_path / "log")})
    window.use()
    window.ui.sendSection.collapsed = False
    window.ui.findSection.collapsed = True
    send = window.window.send
    send.choose_source("files")
    good, bad = str(tmp_path / "good.dcm"), str(tmp_path / "bad.dcm")
    send.add_paths([good, bad])
    send.copy_button.click()
    code = qt_modules.application().clipboard().text()
    compile(code, "copied", "exec")
    assert f"web.store(server, [{good!r}, {bad!r}], check=True)" in code
    send.send_button.click()
    window.wait(window.ended)
    assert window.session.jobs.jobs[0].state == "partial"
    table = send.outcome.table
    window.wait(lambda: table.topLevelItemCount == 2)
    rows = [[table.topLevelItem(row).text(column) for column in range(3)] for row in range(2)]
    assert rows == [["good.dcm", "stored", ""], ["bad.dcm", "not stored", "The server has no room left."]]
    window.picture("partly-sent")
    Path(bad).with_suffix(".sent").touch()
    send.outcome.retry_button.click()
    window.wait(window.ended)
    assert window.session.jobs.jobs[0].state == "done"
    first, second = asked(tmp_path / "log", "store")
    assert (first["paths"], first["check"], second["paths"]) == ([good, bad], True, [bad])


def test_series_of_the_database_are_sent(browser: Make, running_slicer: Any, tmp_path: Path) -> None:
    import slicer
    from support.folders import write_ct

    for number in range(3):
        write_ct(tmp_path / "here" / f"{number}.dcm", InstanceNumber=number + 1, PatientName="Doe^Jane")
    slicer.dicomDatabase._index(tmp_path / "here")
    window = browser({"log": str(tmp_path / "log")})
    window.use()
    send = window.window.send
    send.choose_source("database")
    window.wait(lambda: send.tree.topLevelItemCount == 1 and not send._pacer.is_running("fill"))
    study = send.tree.topLevelItem(0)
    assert study.text(0).startswith("Doe, Jane")
    study.child(0).setCheckState(0, Qt.Checked)
    send.send_button.click()
    window.wait(window.ended)
    (sent,) = asked(tmp_path / "log", "store")
    assert sorted(Path(path).name for path in sent["paths"]) == ["0.dcm", "1.dcm", "2.dcm"]


def test_the_profile_is_shown_before(browser: Make, tmp_path: Path) -> None:
    window = browser({"log": str(tmp_path / "log")})
    window.use()
    send = window.window.send
    send.profile_button.click()
    table = send._profile_dialog.table
    window.wait(lambda: table.topLevelItemCount > 200)
    rows = {table.topLevelItem(row).text(1): table.topLevelItem(row).text(2) for row in range(table.topLevelItemCount)}
    assert rows["PatientName"] == "replaced by a pseudonym of the patient"
    window.picture("profile", send._profile_dialog.dialog)
    send._profile_dialog.dialog.close()
    send.choose_source("files")
    send.add_paths([str(tmp_path / "a.dcm")])
    send.deidentify_box.checked = True
    send.send_button.click()
    window.wait(window.ended)
    assert set(asked(tmp_path / "log", "store")[0]["deidentify"]) == {"secret"}


def test_nothing_is_sent_without_a_choice(browser: Make) -> None:
    window = browser({})
    window.use()
    window.window.send.send_button.click()
    assert window.window.send.message.text == "Check what is to be sent."
    assert window.session.jobs.jobs == []


def test_a_link_is_followed_only_when_somebody_agrees(browser: Make, tmp_path: Path) -> None:
    from DICOMwebBrowserLib import links
    from DICOMwebBrowserLib.following import ask

    window = browser({"log": str(tmp_path / "log"), "studies": 1})
    link = links.parse("slicer://dicomweb?server=https://other.example/rs&study=1.2.826.0&access_token=t0p")
    assert link is not None
    dialog = ask(window.session, link)
    shown = " ".join(str(label.text) for label in dialog.labels.values())
    assert "https://other.example" in shown
    assert "not one of your servers" in shown
    assert "1.2.826.0" in shown
    assert "t0p" not in shown
    window.picture("link", dialog.dialog)
    window.settle(0.3)
    assert asked(tmp_path / "log", "search") == []  # nothing is asked before
    dialog.buttons["load"].click()
    window.wait(lambda: window.ended(4))
    assert {one["series"] for one in asked(tmp_path / "log", "retrieve")} == {f"1.2.826.0.{n}" for n in (1, 2, 3, 4)}
    window.session.settings._settings.sync()
    assert "t0p" not in Path(window.session.settings._settings.fileName()).read_text()
    assert all(server["name"] != "other.example" for server in window.session.servers.own)


def test_series_are_dragged_to_the_scene(browser: Make) -> None:
    from DICOMwebBrowser import DICOMwebBrowserFileDialog

    window = browser({})
    window.use()
    window.search("")
    series = window.open_study("1.2.826.0")
    window.wait(lambda: window.window.tree.select("1.2.826.0", series[1]))
    dragged = window.window._links()
    assert len(dragged) == 1
    data = qt_modules.QtCore.QMimeData()
    data.setData("text/uri-list", "\r\n".join(dragged).encode())
    accepted: list[bool] = []
    slicer_dialog = SimpleNamespace(
        mimeData=lambda: data,
        acceptMimeData=accepted.append,
        dropEvent=lambda: SimpleNamespace(accept=lambda: None),
    )
    dialog = DICOMwebBrowserFileDialog(slicer_dialog)
    dialog.isMimeDataAccepted()
    assert accepted == [True]
    dialog.dropEvent()
    window.wait(window.ended)
    assert [job.series for job in window.session.jobs.jobs] == [series[1]]


def test_the_server_dialog_has_only_the_fields_of_its_way(browser: Make) -> None:
    window = browser({})
    window.window.servers.add()
    dialog = window.window.servers._dialog
    assert dialog is not None
    form = dialog.authentication
    from dicombridge.web.authentication import WAYS

    for index, kind in enumerate(WAYS):
        form.combo.currentIndex = index
        assert set(form.secret_edits) == set(WAYS[kind].secrets)
        assert set(form.edits) <= set(WAYS[kind].fields)
    form.combo.currentIndex = list(WAYS).index("basic")
    dialog.save_button.click()
    assert dialog.message.text == "A server needs an address, or a folder."
    dialog.url_edit.text = "https://pacs.example.org/dicom-web/"
    form.edits["user"].text = "anna"
    form.secret_edits["password"].text = "s3cret"
    window.picture("server", dialog.dialog)
    dialog.save_button.click()
    assert window.session.servers.own == [
        {
            "url": "https://pacs.example.org/dicom-web",
            "name": "pacs.example.org",
            "authentication": {"kind": "basic", "user": "anna"},
        }
    ]
    window.session.settings._settings.sync()
    assert "s3cret" not in Path(window.session.settings._settings.fileName()).read_text()


def test_a_test_fills_in_what_it_found(browser: Make) -> None:
    window = browser({})
    window.window.servers.add()
    dialog = window.window.servers._dialog
    assert dialog is not None
    dialog.url_edit.text = "somewhere"
    dialog._address_edited()
    dialog.test_button.click()
    assert dialog.test_button.text == "Stop the test"
    window.wait(lambda: dialog.test_button.text == "Test connection")
    assert [label.text for label in dialog.finding_labels] == ["It answers.", "Pages work.", "Not known."]
    dialog.save_button.click()
    assert window.session.servers.current["profile"] == {"product": "Found"}


def test_presets(browser: Make) -> None:
    window = browser({})
    window.wait(lambda: window.session.servers.templates)
    window.window.servers.add("orthanc")
    dialog = window.window.servers._dialog
    assert dialog is not None
    assert dialog.url_edit.text == "http://localhost:8042/dicom-web"
    dialog.save_button.click()
    assert window.session.servers.current == {
        "url": "http://localhost:8042/dicom-web",
        "name": "Orthanc",
        "profile": {"product": "Orthanc"},
    }


def test_menu_and_what_it_copies(browser: Make) -> None:
    window = browser({})
    window.use()
    window.search("")
    window.window.tree.select("1.2.826.1")
    menu = window.window.menu()
    entries = {entry.text: entry for entry in menu.actions() if entry.text}
    assert list(entries) == ["Load", "Download", "Tags...", "Copy as Python", "Copy link", "Copy UID", "Columns"]
    assert not entries["Tags..."].enabled
    clipboard = qt_modules.application().clipboard()
    entries["Copy UID"].trigger()
    assert clipboard.text() == "1.2.826.1"
    entries["Copy link"].trigger()
    assert clipboard.text() == "slicer://dicomweb?server=http%3A%2F%2Fpacs.invalid%2Fdicom-web&study=1.2.826.1"
    entries["Copy as Python"].trigger()
    assert f"web.Server({SERVER['url']!r})" in clipboard.text()


def test_everything_has_a_name_and_can_be_reached(browser: Make) -> None:
    """Each control that takes the keyboard has a text or a name that a screen reader can say."""
    window = browser({})
    window.use()
    window.search("")
    for section in (window.ui.jobsSection, window.ui.sendSection):
        section.collapsed = False
    window.settle(0.1)
    widgets = qt_modules.QtWidgets
    kinds = (widgets.QAbstractButton, widgets.QLineEdit, widgets.QComboBox, widgets.QTreeWidget, widgets.QSlider)
    controls = [
        one for kind in kinds for one in window.panel.findChildren(kind) if not one.objectName.startswith("qt_")
    ]
    nameless = [one for one in controls if not (one.accessibleName or getattr(one, "text", "") or one.parent() is None)]
    inner = [one for one in nameless if one.parent().inherits("QLineEdit") or one.parent().inherits("QComboBox")]
    assert [one for one in nameless if one not in inner] == []
    unreachable = [one for one in controls if one not in inner and one.focusPolicy == Qt.NoFocus]
    assert [one.accessibleName or one.objectName for one in unreachable if not one.parent().inherits("QLineEdit")] == []


def test_a_window_of_its_own_and_dark(browser: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    window = browser({"studies": 40})
    window.use()
    window.search("")
    window.ui.windowButton.click()
    root = window.widget.root
    assert root.isWindow()
    root.resize(1200, 700)
    series = window.open_study("1.2.826.3")
    window.wait(lambda: window.window.tree.select("1.2.826.3", series[1]))
    window.wait(lambda: len(window.window.preview.frames) == 9)
    window.settle(0.2)
    assert window.ui.resultsSplitter.orientation == Qt.Horizontal
    window.picture("wide", root)
    root.close()
    assert window.ui.windowButton.checked is False
    assert root.parentWidget() is window.panel
    assert not root.isWindow()


def test_dark(browser: Make) -> None:
    gui = qt_modules.QtGui
    application = qt_modules.application()
    before = application.palette()
    palette = gui.QPalette(gui.QColor("#3a3d41"), gui.QColor("#2b2d30"))
    application.setPalette(palette)
    try:
        window = browser({"instances": 400, "pause": 0.2})
        from DICOMwebBrowserLib import toolkit

        assert toolkit.is_dark()
        window.use()
        window.search("")
        series = window.open_study("1.2.826.0")
        window.wait(lambda: window.window.tree.select("1.2.826.0", series[0]))
        window.ui.downloadButton.click()
        window.wait(lambda: len(window.window.preview.frames) == 9)
        window.picture("dark")
        image = toolkit.picture("download", 16).toImage()
        inked = [
            image.pixelColor(x, y).lightness()
            for x in range(32)
            for y in range(32)
            if image.pixelColor(x, y).alpha() > 200
        ]
        assert min(inked) > 150  # light icons on a dark window
        window.close()
    finally:
        application.setPalette(before)


def test_the_menu_of_the_subject_hierarchy_sends(
    browser: Make, with_plugins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    class Base:
        def __init__(self, scripted: Any) -> None:
            self.scripted = scripted

    monkeypatch.setitem(
        sys.modules,
        "AbstractScriptedSubjectHierarchyPlugin",
        SimpleNamespace(AbstractScriptedSubjectHierarchyPlugin=Base),
    )
    from DICOMwebBrowserLib.DICOMwebBrowserSubjectHierarchyPlugin import DICOMwebBrowserSubjectHierarchyPlugin

    window = browser({})
    hierarchy = with_plugins.hierarchy
    items = []
    for name in ("One", "Two"):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        items.append(hierarchy.CreateItem(hierarchy.GetSceneItemID(), node))
    handler = SimpleNamespace(currentItem=lambda: items[1])
    handlers = SimpleNamespace(instance=lambda: handler)
    monkeypatch.setattr(slicer, "qSlicerSubjectHierarchyPluginHandler", handlers, raising=False)
    monkeypatch.setattr(slicer.util, "selectModule", lambda name: None, raising=False)
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: window.widget, raising=False)
    owner = qt_modules.QtCore.QObject()
    plugin = DICOMwebBrowserSubjectHierarchyPlugin(owner)
    (entry,) = plugin.itemContextMenuActions()
    entry.visible = False
    plugin.showContextMenuActionsForItem(hierarchy.GetSceneItemID())
    assert not entry.visible
    plugin.showContextMenuActionsForItem(items[1])
    assert entry.visible
    entry.trigger()
    send = window.window.send
    window.wait(lambda: send.checked() == [items[1]])
    assert window.ui.sendSection.collapsed is False
    # Without a study it would be lost on the server; that is said, and nothing is sent.
    window.use()
    send.send_button.click()
    assert "belongs to no study" in send.message.text
    assert window.session.jobs.jobs == []


def test_google_is_picked_from_lists(browser: Make, tmp_path: Path) -> None:
    window = browser({"log": str(tmp_path / "log"), "names": ["first", "second\teurope-west4"]})
    from DICOMwebBrowserLib.google_picker import GooglePicker

    chosen: list[dict[str, str]] = []
    picker = GooglePicker(window.session, chosen.append)
    picker.begin()
    for word, combo in picker.combos.items():
        window.wait(lambda combo=combo: combo.count == 2, what=word)
        assert combo.itemText(1) == "second"
        combo.currentIndex = 0
        combo.activated.emit(0)
    assert chosen == [dict.fromkeys(("project", "location", "dataset", "store"), "first")]
    asked_for = [(one["what"], one["project"], one["dataset"]) for one in asked(tmp_path / "log", "google")]
    assert asked_for == [
        ("projects", None, None),
        ("locations", "first", None),
        ("datasets", "first", None),
        ("stores", "first", "first"),
    ]
