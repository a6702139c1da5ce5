"""Passwords and tokens that are typed into the window are in no scene, settings, log, link, text or file."""

from __future__ import annotations

import base64
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from standins import qt_modules
from support.browser import Browser
from support.folders import write_ct
from support.nginx import start_nginx
from support.orthanc import Orthanc

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
Make = Callable[..., Browser]
Places = dict[str, bytes]
PATIENCE = 60.0  # seconds; no test waits for them where all is well
STUDY, SERIES, USER = "1.2.3", "1.2.3.4", "anna"

# Each has a core of letters and digits, which is the same however the rest is written.
CORES = {"password": "Zx7QvL9k", "token": "Hd3MwR8t", "wrong": "Yb5NcT2j"}
SECRETS = {"password": "Zx7QvL9k w&d/\u00f6", "token": "Hd3MwR8t/4.2~x=", "wrong": "Yb5NcT2j/%"}


def forms(name: str) -> set[bytes]:
    """Return how a secret may be written: as it is, for addresses, XML and JSON, in base64 wherever it begins."""
    secret, core = SECRETS[name], CORES[name].encode()
    texts = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        escape(secret),
        json.dumps(secret)[1:-1],
    }
    coded = {base64.b64encode(text.encode()) for text in (secret, f"{USER}:{secret}")}
    # Without its first and last letters, which depend on what stands beside it.
    within = {base64.b64encode(b"x" * shift + core)[4 if shift else 0 : -4] for shift in (0, 1, 2)}
    return {text.encode() for text in texts} | coded | within | {core}


def betrayed(places: Places) -> list[tuple[str, str]]:
    """Return which secrets are in which places."""
    return [(name, place) for name in SECRETS for place, text in places.items() if any(f in text for f in forms(name))]


# ---------------------------------------------------------------------- where one looks


def of_scene(scene: Any, folder: Path) -> Places:
    """Return all that a scene can be saved as, and what its nodes and items say themselves."""
    import slicer

    scene.SetSaveToXMLString(1)
    scene.Commit()
    places = {"scene as text": scene.GetSceneXMLString().encode()}
    scene.SetSaveToXMLString(0)
    bundle = folder / "scene.mrb"
    assert scene.WriteToMRB(str(bundle))
    with zipfile.ZipFile(bundle) as archive:
        assert any(name.endswith(".mrml") for name in archive.namelist())
        places |= {f"scene.mrb/{name}": archive.read(name) + name.encode() for name in archive.namelist()}
    said = []
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        names = list(node.GetAttributeNames() or ())
        said += [node.GetName(), node.GetDescription(), str(node), *names, *map(node.GetAttribute, names)]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items: list[int] = []
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    for item in items:
        names = list(hierarchy.GetItemAttributeNames(item) or ())
        said += [hierarchy.GetItemName(item), *names, *(hierarchy.GetItemAttribute(item, name) for name in names)]
        said += [hierarchy.GetItemUID(item, name) for name in ("DICOM", "DICOMInstanceUIDList", "DICOMweb")]
    places["nodes and items"] = "\n".join(str(one) for one in said if one).encode()
    return places


def of_files(*folders: Path) -> Places:
    """Return all files, with their names."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): str(path).encode() + path.read_bytes() for path in files}


def of_process(number: int) -> Places:
    """Return the command line and the environment of a process, where the system shows them."""
    folder = Path(f"/proc/{number}")
    return {f"{name} of the worker": (folder / name).read_bytes() for name in ("cmdline", "environ") if folder.is_dir()}


def of_widgets() -> Places:
    """Return all texts of all windows; those of the fields for secrets, which are empty by now, as well."""
    found: list[str] = []
    for widget in qt_modules.application().allWidgets():
        meta = widget.metaObject()
        values = (meta.property(at).read(widget) for at in range(meta.propertyCount()))
        found += [value for value in values if isinstance(value, str)]
        if isinstance(widget, qt_modules.QtWidgets.QTreeWidget):
            rows = iter(qt_modules.QtWidgets.QTreeWidgetItemIterator(widget))
            found += [row.value().text(at) for row in rows for at in range(widget.columnCount)]
    return {"texts of windows": "\n".join(found).encode()}


def of_log(caplog: pytest.LogCaptureFixture) -> Places:
    """Return what was logged, also what no format shows."""
    return {"log": "\n".join([caplog.text, *(str(vars(record)) for record in caplog.records)]).encode()}


def kinds_of(scene: Any) -> list[str]:
    """Return the classes of all nodes."""
    return sorted(scene.GetNthNode(index).GetClassName() for index in range(scene.GetNumberOfNodes()))


# ---------------------------------------------------------------------- what is done


@pytest.fixture
def filled(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Orthanc:
    folder = tmp_path_factory.mktemp("images")
    for number in range(3):
        write_ct(folder / f"{number}.dcm", InstanceNumber=number + 1, ImagePositionPatient=[0, 0, 5 * number])
    assert orthanc.add(sorted(folder.iterdir())) == {}
    return orthanc


@pytest.fixture
def door(request: pytest.FixtureRequest, filled: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An nginx that wants a password or a token; its own files, in which these are, are not among those looked at."""
    folder = tmp_path_factory.mktemp("nginx")
    users = {USER: SECRETS["password"]} if request.param == "basic" else None
    tokens = [SECRETS["token"]] if request.param == "bearer" else []
    with start_nginx(folder, filled.rest, users=users, tokens=tokens) as nginx:
        yield nginx


def type_secret(window: Browser, url: str, kind: str, secret: str) -> None:
    """Add the server, or edit it, with a secret in its dialog; test the connection and save."""
    from dicombridge.web.authentication import WAYS

    if window.session.servers.own:
        window.window.servers.edit()
    else:
        window.window.servers.add()
    dialog = window.window.servers._dialog
    assert dialog is not None
    dialog.url_edit.text, dialog.name_edit.text = url, "Archive"
    dialog.authentication.combo.currentIndex = list(WAYS).index(kind)
    if kind == "basic":
        dialog.authentication.edits["user"].text = USER
    (edit,) = dialog.authentication.secret_edits.values()
    edit.text = secret
    dialog.test_button.click()
    window.wait(lambda: dialog._sent.ended, PATIENCE, "the test ends")
    dialog.authentication.keep_box.checked = True  # there is no keychain here, which is told
    dialog.save_button.click()


def searched(window: Browser, count: int) -> None:
    window.ui.searchButton.click()
    window.wait(lambda: not window.session.query.is_running, PATIENCE, "the search ends")
    window.wait(lambda: not window.window.tree.is_busy, PATIENCE)
    assert len(window.session.results.studies) == count


def copied(window: Browser) -> list[str]:
    """Return what the menu copies, with and without a selection."""
    clipboard, found = qt_modules.application().clipboard(), []
    for title in ("Copy as Python", "Copy link", "Copy UID"):
        clipboard.setText("")
        next(one for one in window.window.menu().actions() if one.text == title).trigger()
        assert clipboard.text()
        found.append(clipboard.text())
    window.ui.resultsTree.clearSelection()
    window.window._copy_python()
    assert clipboard.text() not in found
    return [*found, clipboard.text()]


def follow_link_with_token(window: Browser, url: str, token: str) -> None:
    """Do what Slicer does with a link that somebody clicked on, and agree to it."""
    import slicer

    from DICOMwebBrowser import DICOMwebBrowser
    from DICOMwebBrowserLib import following

    DICOMwebBrowser(SimpleNamespace())
    asked: list[Any] = []
    original, following.ask = following.ask, lambda *a: asked.append(original(*a))  # type: ignore[func-returns-value]
    try:
        link = f"slicer://dicomweb?server={quote(url, safe='')}&study={STUDY}&access_token={quote(token, safe='')}"
        slicer.app._emit("urlReceived(QString)", link)
    finally:
        following.ask = original
    asked[0].buttons["show"].click()
    window.wait(lambda: not window.session.query.is_running, PATIENCE)
    assert len(window.session.results.studies) == 1


@pytest.mark.parametrize("door", ["basic", "bearer"], indirect=True)
def test_nothing_secret_is_left_anywhere(
    browser: Make,
    with_plugins: Any,
    door: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    import slicer

    caplog.set_level(logging.DEBUG)
    kind = request.node.callspec.params["door"]
    window = browser(state=tmp_path / "state")
    type_secret(window, door.url, kind, SECRETS["wrong"])
    searched(window, 0)
    said = [window.window.message.text]
    assert said != [""]
    type_secret(window, door.url, kind, SECRETS["password" if kind == "basic" else "token"])
    searched(window, 1)

    assert window.open_study(STUDY) == [SERIES]
    window.wait(lambda: window.window.tree.select(STUDY, SERIES), PATIENCE)
    window.wait(lambda: window.window.preview.frames, PATIENCE, "pictures")
    window.window.show_tags()
    tags = window.window._dialogs[-1]
    window.wait(lambda: tags.table.topLevelItemCount > 50, PATIENCE, "tags")
    window.ui.downloadButton.click()
    window.wait(window.ended, PATIENCE)
    window.ui.loadButton.click()
    window.wait(lambda: window.ended(2), PATIENCE)
    assert [job.error for job in window.session.jobs.jobs] == [{}, {}]
    texts = copied(window)
    if kind == "bearer":
        follow_link_with_token(window, door.url, SECRETS["token"])

    # What the window makes of the scene is what loading makes of it: it has no parameter node, and no other node.
    scene = slicer.mrmlScene
    assert "vtkMRMLScriptedModuleNode" not in kinds_of(scene)
    with monkeypatch.context() as patch:
        import dicombridge
        from DICOMwebBrowserLib.loading import load

        patch.setattr(slicer, "mrmlScene", dicombridge.new_scene())
        assert load([SERIES])[1] is False
        assert kinds_of(scene) == kinds_of(slicer.mrmlScene)

    places = of_process(window.session.worker.pid)
    door.stop()  # and now a server that is gone
    searched(window, 0)
    said += [window.window.message.text, window.window.message.details.plainText]
    window.session.settings._settings.sync()
    settings = Path(window.session.settings._settings.fileName())
    assert b"Archive" in settings.read_bytes()
    environment = [Path(os.environ[name]) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME")]
    places |= {"told": str([*said, window.notices]).encode(), "copied": "\n".join(texts).encode()}
    places |= of_scene(scene, tmp_path) | of_widgets() | of_log(caplog)
    places["log of the worker"] = window.session.worker.log.encode()
    window.close()
    places |= of_files(tmp_path, *environment)
    assert str(settings) in places
    places["output"] = "".join(capfd.readouterr()).encode()
    assert set(door.statuses(5)) >= {200, 401}  # the wrong one was refused, and the right one used
    assert betrayed(places) == []


# ---------------------------------------------------------------------- it could fail


@pytest.mark.parametrize("turn", range(3))
def test_what_is_left_is_found(
    running_slicer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, turn: int
) -> None:
    """The test above looks in the right places, and knows the secrets in the ways in which they are written there."""
    names = [*SECRETS][turn:] + [*SECRETS][:turn]
    first, second, third = (SECRETS[name] for name in names)
    scene, hierarchy = running_slicer.scene, running_slicer.hierarchy
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", second)
    node.SetAttribute("DICOMweb", "Basic " + base64.b64encode(f"{USER}:{first}".encode()).decode())
    item = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    if turn:
        hierarchy.SetItemAttribute(item, "DICOMweb", third)
    else:
        hierarchy.SetItemUID(item, "DICOMweb", quote(third, safe=""))
    found = betrayed(of_scene(scene, tmp_path))
    assert {name for name, place in found if place == "scene as text"} == set(SECRETS)
    assert {name for name, place in found if place == "nodes and items"} == set(SECRETS)
    assert {name for name, place in found if place.endswith(".mrml")} == set(SECRETS)

    settings = qt_modules.QtCore.QSettings()
    settings.setValue("DICOMwebBrowser/Servers", json.dumps([{"url": f"https://h/?token={quote(first, safe='')}"}]))
    settings.sync()
    assert {name for name, _place in betrayed(of_files(tmp_path / "settings"))} == {names[0]}
    field = qt_modules.QtWidgets.QLineEdit(second)
    assert betrayed(of_widgets()) == [(names[1], "texts of windows")]
    field.clear()
    assert betrayed(of_widgets()) == []
    logging.getLogger("dicombridge").warning("Asked.", extra={"headers": f"Bearer {third}"})
    assert betrayed(of_log(caplog)) == [(names[2], "log")]
