"""The parts of the DICOMweb browser one by one: search lines, settings, links, code to copy, and manners."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from standins import browser_app, qt_modules

from dicombridge.errors import DicomBridgeError

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
pytestmark = pytest.mark.usefixtures("running_slicer")

MODULE = browser_app.MODULE
FILES = sorted(MODULE.rglob("*.py"))
BLOCKING_MODULES = {"requests", "urllib3", "subprocess", "socket", "http", "dicomweb_client", "pydicom", "threading"}
BLOCKING_CALLS = {
    *(
        "time.sleep",
        "os.walk",
        "os.scandir",
        "os.listdir",
        "os.system",
        "shutil.copy",
        "shutil.rmtree",
        "shutil.copytree",
    ),
    *("subprocess.run", "subprocess.Popen", "open"),
}
BLOCKING_METHODS = {"rglob", "glob", "iterdir", "read_bytes", "waitForStarted", "waitForReadyRead", "processEvents"}


def blocking(tree: ast.AST) -> Iterator[str]:
    """What would make the event loop wait: network, sleeping, processes, walks through files."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]}
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in BLOCKING_CALLS or name.rpartition(".")[2] in BLOCKING_METHODS:
                yield f"line {node.lineno}: {name}"
            continue
        else:
            continue
        for name in sorted(names & BLOCKING_MODULES):
            yield f"line {node.lineno}: import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_waits(path: Path) -> None:
    assert list(blocking(ast.parse(path.read_text()))) == []


def test_waiting_is_found() -> None:
    bad = "import requests\nfrom subprocess import run\ntime.sleep(1)\nfor f in Path('.').rglob('*'): open(f)"
    assert len(list(blocking(ast.parse(bad)))) == 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_pythonqt_does_not_have(path: Path) -> None:
    """Scoped enumerations, and the setters and getters of properties that are values there and here."""
    text = path.read_text()
    assert re.findall(r"qt\.Qt\.[A-Z]\w+\.[A-Z]\w+", text) == []
    methods = "setText|setVisible|setEnabled|setChecked|setWindowTitle|isVisible|isChecked"
    calls = re.findall(rf"([\w()]+)\.(?:{methods})\((?:[^,()]|\([^()]*\))*\)", text)
    assert set(calls) <= {"clipboard()", "data"}  # these two have no such property
    assert 'f"' not in "".join(re.findall(r'_\(\s*f"', text)), "translated text has no f-string"


def set_from_outside(tree: ast.AST) -> set[str]:
    """Return the names of attributes that are set on other objects than ``self``."""
    targets = [target for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets]
    targets += [one for target in targets if isinstance(target, ast.Tuple) for one in target.elts]
    return {one.attr for one in targets if isinstance(one, ast.Attribute) and ast.unparse(one.value) != "self"}


def own_attributes(tree: ast.AST) -> set[str]:
    """Return the names of attributes of classes in a file."""
    stored = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    own = {node.attr for node in stored if ast.unparse(node.value) == "self"}
    return own | {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_only_properties_of_qt_are_set_as_such(path: Path) -> None:
    """E.g. ``windowFlags`` is none: PythonQt refuses it, and PySide takes it for an attribute that has no effect."""
    allowed = {"contentsMargins"}  # a property from Qt 6 on; toolkit.set_margins does both
    widgets, core = qt_modules.QtWidgets, qt_modules.QtCore
    bases = (widgets.QWidget, widgets.QLayout, qt_modules.QtGui.QAction, core.QTimer)
    for kind in [*(getattr(widgets, name) for name in dir(widgets)), *bases]:
        if isinstance(kind, type) and issubclass(kind, bases):
            meta = kind.staticMetaObject
            allowed |= {meta.property(at).name() for at in range(meta.propertyCount())}
    assert "windowTitle" in allowed
    assert "windowFlags" not in allowed
    for one in FILES:
        allowed |= own_attributes(ast.parse(one.read_text()))
    slicer = {
        "dependencies",
        "contributors",
        "helpText",
        "acknowledgementText",
        "categories",
        "fileType",
        "description",
    }
    assert (
        set_from_outside(ast.parse(path.read_text()))
        - allowed
        - slicer
        - {"action", "directory", "backgroundImportEnabled", "collapsed"}
        == set()
    )


@pytest.mark.parametrize(
    ("line", "filters"),
    [
        ("", [{}]),
        ("doe", [{"PatientName": "doe*"}, {"PatientName": "*doe*"}]),
        ("jane doe", [{"PatientName": "jane*^doe*"}, {"PatientName": "doe*^jane*"}]),
        ("Doe^Jane", [{"PatientName": "Doe^Jane"}]),
        ("D?e*", [{"PatientName": "D?e*"}]),
        ("  4711 ", [{"PatientID": "4711"}, {"AccessionNumber": "4711"}]),
        ("ABC-1234", [{"PatientID": "ABC-1234"}, {"AccessionNumber": "ABC-1234"}]),
        ("id: doe", [{"PatientID": "doe"}]),
        ("acc:7", [{"AccessionNumber": "7"}]),
        ("1.2.840.1.5", [{"StudyInstanceUID": "1.2.840.1.5"}, {"SeriesInstanceUID": "1.2.840.1.5"}]),
    ],
)
def test_search_lines(line: str, filters: list[dict[str, str]]) -> None:
    from DICOMwebBrowserLib.search_terms import attempts

    found = attempts(line)
    assert [attempt.filters for attempt in found] == filters
    assert all(attempt.words for attempt in found) or not line.strip()


def test_servers_without_wildcards_are_asked_without() -> None:
    from DICOMwebBrowserLib.search_terms import attempts, description_filter

    assert [attempt.filters for attempt in attempts("doe", wildcard=False)] == [{"PatientName": "doe"}]
    assert description_filter("thorax", wildcard=False) == {"StudyDescription": "thorax"}


def test_dates() -> None:
    from DICOMwebBrowserLib.search_terms import date_range

    today = date(2026, 3, 1)
    assert date_range("any", today=today) == ""
    assert date_range("today", today=today) == "20260301"
    assert date_range("month", today=today) == "20260130-20260301"
    assert date_range("range", date(2026, 2, 2), date(2026, 1, 1)) == "20260101-20260202"


def test_words() -> None:
    from DICOMwebBrowserLib import texts

    assert [texts.size(n) for n in (None, 12, 5_300_000, 263_000_000)] == ["", "12 B", "5.3 MB", "263 MB"]
    assert [texts.duration(n) for n in (None, 0.2, 59, 90, 7300)] == ["", "1 s", "59 s", "2 min", "2 h 1 min"]
    assert texts.name("Doe^Jane^^Dr=X") == "Doe, Jane"
    assert texts.count(1200, "{n} study", "{n} studies") == "1,200 studies"


def test_old_settings_are_imported_once_and_without_secrets() -> None:
    from DICOMwebBrowserLib.settings import Settings

    stored = qt_modules.QtCore.QSettings()
    stored.setValue("DICOMwebBrowser/ServerURL", "https://anna:geheim@pacs.example.org/dicom-web?token=abc")
    old = ["http://localhost:8042/dicom-web", "https://demo.kheops.online/view/SecretToken123", "no address"]
    stored.setValue("DICOMwebBrowser/ServerURLHistory", old)
    settings = Settings()
    assert [server["url"] for server in settings.servers] == [
        "https://pacs.example.org/dicom-web",
        "http://localhost:8042/dicom-web",
        "https://demo.kheops.online/api",
    ]
    ours = "".join(str(stored.value(f"DICOMwebBrowser/{key}")) for key in ("Servers", "Server", "Columns"))
    assert not any(secret in ours for secret in ("geheim", "abc", "SecretToken"))
    settings.servers = []
    assert Settings().servers == []  # not imported again


def test_links() -> None:
    from DICOMwebBrowserLib import links

    made = links.link_to("https://anna:pw@pacs.example.org/dicom-web?token=x", "1.2.3", "1.2.3.4")
    assert made == "slicer://dicomweb?server=https%3A%2F%2Fpacs.example.org%2Fdicom-web&study=1.2.3&series=1.2.3.4"
    link = links.parse(made + "&access_token=t0p")
    assert link is not None
    assert (link.host, link.study, link.series, link.token) == (
        "https://pacs.example.org",
        "1.2.3",
        ("1.2.3.4",),
        "t0p",
    )
    assert "t0p" not in repr(link)
    assert links.parse("slicer://viewer/?studyUID=1.2") is None
    assert links.parse("https://example.org/") is None
    for bad in ("slicer://dicomweb?study=1.2.3", "slicer://dicomweb?server=https://h/x&study=../../etc&token=t0p"):
        with pytest.raises(DicomBridgeError) as error:
            links.parse(bad)
        assert "t0p" not in str(error.value)


def test_code_to_copy_runs(tmp_path: Path) -> None:
    """It finds what is in a folder, the same way as the window."""
    from support.folders import write_ct

    from DICOMwebBrowserLib import copying

    write_ct(tmp_path / "one.dcm", PatientName="Doe^Jane")
    code = copying.search_code({"url": str(tmp_path), "name": "x"}, "study", {"PatientName": "doe*"})
    printed: list[Any] = []
    exec(code, {"print": printed.append})
    assert [study["PatientName"] for study in printed] == ["Doe^Jane"]
    server = {
        "url": "https://h/dicom-web",
        "authentication": {"kind": "basic", "user": "anna"},
        "profile": {"pages": True},
    }
    code = copying.retrieve_code(server, [("1.2", "1.2.3"), ("1.4", "")])
    compile(code, "copied", "exec")
    assert "study='1.2', series='1.2.3'" in code
    assert "'user': 'anna'" in code
    assert "profile" not in code


def test_google_is_still_where_others_import_it() -> None:
    """mpReview and others do this."""
    from DICOMwebBrowser import GoogleCloudPlatform

    assert all(
        hasattr(GoogleCloudPlatform, name) for name in ("gcloud", "projects", "datasets", "dicomStores", "token")
    )


@pytest.mark.parametrize(
    "query",
    [
        "study=1.2&access_token=t0p-secret",
        "server=t0p-secret&study=1.2",
        "server=https://h:t0p-secret/x&study=1.2",
        "server=https://h/x&study=t0p-secret",
    ],
)
def test_module_and_links_of_the_application(running_slicer: Any, caplog: pytest.LogCaptureFixture, query: str) -> None:
    import slicer

    from DICOMwebBrowser import DICOMwebBrowser
    from DICOMwebBrowserLib import session

    parent = SimpleNamespace()
    DICOMwebBrowser(parent)
    assert parent.title == "DICOMweb Browser"
    slicer.app._emit("startupCompleted()")  # starts no process
    assert session._session is None
    shown: list[str] = []
    slicer.util.errorDisplay = lambda text, *args: shown.append(
        text
    )  # put back by the fixture's monkeypatch of modules
    try:
        slicer.app._emit("urlReceived(QString)", f"slicer://dicomweb?{query}")
    finally:
        del slicer.util.errorDisplay
    assert len(shown) == 1
    assert "t0p-secret" not in shown[0] + caplog.text


def test_servers_are_put_and_removed() -> None:
    from DICOMwebBrowserLib.servers import Servers
    from DICOMwebBrowserLib.settings import Settings

    asked: list[Any] = []
    servers = Servers(Settings(), SimpleNamespace(ask=lambda *a, **k: asked.append(a)))  # type: ignore[arg-type]
    assert servers.current == {}
    servers.put({"url": "https://a/x", "name": "A"})
    servers.put({"url": "https://b/x", "name": "B"})
    servers.put({"url": "https://c/x", "name": "C"}, instead_of="A")
    assert [server["name"] for server in servers.own] == ["C", "B"]
    assert servers.current["name"] == "C"
    servers.remove({"url": "https://c/x", "name": "C"})
    assert [server["name"] for server in Settings().servers] == ["B"]
    kept = qt_modules.QtCore.QSettings().value("DICOMwebBrowser/Servers")
    assert json.loads(kept) == [{"url": "https://b/x", "name": "B"}]


def test_files_that_keep_coming_are_indexed_in_ever_fewer_batches() -> None:
    """Before each, ctkDICOMIndexer reads the dates of all files of the database in the main thread."""
    from DICOMwebBrowserLib.indexing import Indexing

    batches: list[int] = []
    pauses: list[int] = []
    told: list[int] = []
    indexing = Indexing()
    indexing._delay = SimpleNamespace(start=pauses.append, soon=pauses.append)  # type: ignore[assignment]
    indexing._indexer = SimpleNamespace(
        setDatabase=lambda base: None, addListOfFiles=lambda files, copy: batches.append(len(files))
    )
    for _turn in range(7):
        indexing.add(["one"] * 600)
        indexing._next()
        indexing._complete()
    assert batches == [600] * 7
    assert pauses == [400, 800, 1600, 3200, 6400, 12_800, 12_800]
    indexing.add(["one"] * 6000)
    assert pauses[-1] == 0  # so many do not wait
    indexing.when_done(lambda: told.append(sum(batches)))
    for _turn in range(2):
        indexing._next()
        indexing._complete()
    assert batches[7:] == [5000, 1000]
    assert told == [7 * 600 + 6000]
    indexing.add(["one"])
    assert pauses[-1] == 400  # what comes later has a beginning of its own
