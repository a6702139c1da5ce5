"""The server dialog field by field (presets, certificates), the folder of a transfer, links that cannot be read."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from standins import qt_modules
from support.browser import SERVER, Browser
from support.certificates import Authority
from support.folders import write_ct
from support.nginx import start_nginx
from support.orthanc import Orthanc

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
Make = Callable[..., Browser]
PATIENCE = 60.0  # seconds; no test waits for them where all is well
STUDY = "1.2.826.0"


def with_presets(window: Browser) -> None:
    """Show the presets of the library, and not those of the fake worker."""
    from dicombridge.web.presets import PRESETS

    window.wait(lambda: window.session.servers.templates, PATIENCE)
    window.session.servers._came({"presets": [one.to_json() for one in PRESETS]})


def added(window: Browser, template: str = "") -> Any:
    window.window.servers.add(template)
    return window.window.servers._dialog


def edited(window: Browser) -> Any:
    window.window.servers.edit()
    return window.window.servers._dialog


def choose(dialog: Any, kind: str) -> None:
    """Choose a kind of authentication."""
    from dicombridge.web.authentication import WAYS

    dialog.authentication.combo.currentIndex = list(WAYS).index(kind)


def type_in(edit: Any, text: str) -> None:
    """Put a text in as a person does: the field says that it was edited."""
    edit.selectAll()
    edit.insert(text)
    edit.textEdited.emit(text)


# ---------------------------------------------------------------------- presets


def test_azure_is_filled_in(browser: Make) -> None:
    from dicombridge.web.presets import preset_server

    window = browser({})
    with_presets(window)
    dialog = added(window, "azure")
    assert list(dialog.preset.edits) == ["workspace", "service", "tenant"]
    assert dialog.url_edit.text == "https://{workspace}-{service}.dicom.azurehealthcareapis.com/v2"
    assert dialog.authentication.kind == "oidc"
    assert dialog.authentication.edits["client_id"].text == ""
    window.picture("azure-empty", dialog.dialog)
    for press in (dialog.save_button, dialog.test_button):
        press.click()
        assert dialog.message.text == "Still missing: Workspace, DICOM service, Tenant."
    assert dialog._sent is None  # nobody is asked with an address that is none
    type_in(dialog.preset.edits["workspace"], "contoso")
    type_in(dialog.preset.edits["service"], "images")
    assert dialog.url_edit.text == "https://contoso-images.dicom.azurehealthcareapis.com/v2"
    dialog.save_button.click()
    assert dialog.message.text == "Still missing: Tenant."
    type_in(dialog.preset.edits["tenant"], " contoso.onmicrosoft.com ")
    dialog.save_button.click()
    assert dialog.message.text == "Client ID is missing."
    dialog.authentication.edits["client_id"].text = "0815"
    window.picture("azure", dialog.dialog)
    dialog.save_button.click()
    words = {"workspace": "contoso", "service": "images", "tenant": "contoso.onmicrosoft.com", "client_id": "0815"}
    (saved,) = window.session.servers.own
    assert saved == preset_server("azure", **words).to_json()
    assert saved["authentication"]["issuer"] == "https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0"
    again = edited(window)
    assert (again.url_edit.text, again.authentication.edits["issuer"].text) == (
        "https://contoso-images.dicom.azurehealthcareapis.com/v2",
        "https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0",
    )
    assert not again.preset.widget.visible


def test_azure_with_a_token_needs_no_tenant(browser: Make) -> None:
    window = browser({})
    with_presets(window)
    dialog = added(window, "azure")
    choose(dialog, "bearer")
    type_in(dialog.preset.edits["workspace"], "evil.example/x?")  # a word brings no host of its own
    assert dialog.url_edit.text.startswith("https://evil.example%2Fx%3F-{service}.dicom.azurehealthcareapis.com/")
    type_in(dialog.preset.edits["workspace"], "contoso")
    # The rest by hand, in the address itself.
    dialog.url_edit.text = str(dialog.url_edit.text).replace("{service}", "images")
    dialog.save_button.click()
    assert window.session.servers.current["url"] == "https://contoso-images.dicom.azurehealthcareapis.com/v2"
    assert window.session.servers.current["authentication"] == {"kind": "bearer"}


def test_aws_is_filled_in(browser: Make) -> None:
    from dicombridge.web.presets import preset_server

    window = browser({})
    with_presets(window)
    dialog = added(window, "aws")
    assert {name: edit.text for name, edit in dialog.preset.edits.items()} == {"region": "us-east-1", "datastore": ""}
    dialog.save_button.click()
    assert dialog.message.text == "Still missing: Data store ID."
    type_in(dialog.preset.edits["datastore"], "0123456789abcdef")
    type_in(dialog.preset.edits["region"], "eu-west-1")
    assert dialog.authentication.edits["region"].text == "eu-west-1"
    dialog.save_button.click()
    expected = preset_server("aws", region="eu-west-1", datastore="0123456789abcdef").to_json()
    assert window.session.servers.current == expected
    assert expected["url"] == "https://dicom-medical-imaging.eu-west-1.amazonaws.com/datastore/0123456789abcdef"


def test_only_presets_that_lack_words_have_fields_for_them(browser: Make) -> None:
    window = browser({})
    with_presets(window)
    dialog = added(window, "azure")
    for name, url in (
        ("orthanc", "http://localhost:8042/dicom-web"),
        ("dcm4chee", "http://localhost:8080/dcm4chee-arc/aets/DCM4CHEE/rs"),
        ("local", ""),
        ("", ""),
    ):
        dialog._choose_template(name)
        assert (dialog.url_edit.text, dialog.preset.widget.visible) == (url, False)
    dialog._choose_template("google")
    assert not dialog.preset.edits  # there are lists to pick from
    dialog.save_button.click()
    assert dialog.message.text == "Still missing: Project, Dataset, DICOM store."
    dialog._google_chosen({"project": "p", "location": "us-central1", "dataset": "d", "store": "s"})
    dialog.save_button.click()
    root = "https://healthcare.googleapis.com/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb"
    assert (window.session.servers.current["url"], window.session.servers.current["name"]) == (root, "s")


def test_another_server_is_not_replaced_by_its_name(browser: Make) -> None:
    window = browser({})
    window.use()
    dialog = added(window)
    dialog.url_edit.text, dialog.name_edit.text = "https://other.example/rs", SERVER["name"]
    dialog.save_button.click()
    assert dialog.message.text == "Another of your servers is called Clinic. Choose another name."
    assert window.session.servers.own == [SERVER]
    dialog.name_edit.text = "Other"
    dialog.save_button.click()
    assert [one["name"] for one in window.session.servers.own] == ["Clinic", "Other"]
    again = edited(window)
    again.url_edit.text = "https://other.example/rs2"
    again.save_button.click()
    assert window.session.servers.current == {"url": "https://other.example/rs2", "name": "Other"}


# ---------------------------------------------------------------------- certificates


def test_certificates_go_into_the_server_and_come_back(browser: Make, tmp_path: Path) -> None:
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca_bundle", "certificate", "key")}
    window = browser({})
    dialog = added(window)
    dialog.url_edit.text, dialog.name_edit.text = "https://pacs.example.org/rs", "Pacs"
    assert not dialog.tls.place.visible
    dialog.tls.box.click()
    assert dialog.tls.place.visible
    for name, edit in dialog.tls.edits.items():
        edit.text = files[name]
    labels = {"ca_bundle": "CA bundle", "certificate": "Own certificate", "key": "Key of it"}
    for name, label in labels.items():  # each is looked for, one after the other
        for press in (dialog.save_button, dialog.test_button):
            press.click()
            assert dialog.message.text == f"{label}: there is no file {files[name]}."
        Path(files[name]).touch()
    window.picture("tls", dialog.dialog)
    dialog.save_button.click()
    assert window.session.servers.current == {"url": "https://pacs.example.org/rs", "name": "Pacs", "tls": files}
    again = edited(window)
    assert again.tls.place.visible
    assert {name: edit.text for name, edit in again.tls.edits.items()} == files
    again.tls.box.click()  # not ticked: none of them
    again.save_button.click()
    assert "tls" not in window.session.servers.current


def test_the_authentication_says_which_files_are_needed(browser: Make, tmp_path: Path) -> None:
    file = tmp_path / "own.pem"
    file.touch()
    window = browser({})
    dialog = added(window)
    dialog.url_edit.text = "https://pacs.example.org/rs"
    choose(dialog, "certificate")
    assert (dialog.tls.place.visible, dialog.tls.box.enabled) == (True, False)
    assert list(dialog.authentication.secret_edits) == ["passphrase"]
    dialog.save_button.click()
    assert dialog.message.text == "Choose the file with your own certificate, or another authentication."
    choose(dialog, "basic")
    assert (dialog.tls.place.visible, dialog.tls.box.enabled) == (False, True)
    choose(dialog, "certificate")
    dialog.tls.edits["key"].text = str(file)
    dialog.tls.edits["certificate"].text = str(file)
    choose(dialog, "none")
    assert dialog.tls.place.visible  # what was typed in is not hidden
    dialog.tls.edits["certificate"].text = ""
    dialog.save_button.click()
    assert dialog.message.text == "A key is of no use without the certificate that it belongs to."
    choose(dialog, "google")
    dialog.tls.edits["key"].text = ""
    absent = str(tmp_path / "absent.json")
    dialog.authentication.edits["key_file"].text = absent
    dialog.save_button.click()
    assert dialog.message.text == f"Key file: there is no file {absent}."
    assert window.session.servers.own == []
    choose(dialog, "certificate")
    dialog.tls.edits["certificate"].text = str(file)
    dialog.save_button.click()
    saved = window.session.servers.current
    assert (saved["authentication"], saved["tls"]) == ({"kind": "certificate"}, {"certificate": str(file)})


@pytest.fixture
def filled(orthanc: Orthanc, tmp_path: Path) -> Orthanc:
    for number in range(2):
        write_ct(tmp_path / "images" / f"{number}.dcm", InstanceNumber=number + 1)
    assert orthanc.add(sorted((tmp_path / "images").iterdir())) == {}
    return orthanc


def findings(window: Browser, dialog: Any) -> str:
    """Press *Test connection*, wait for its end, return what it says."""
    dialog.test_button.click()
    assert dialog._sent is not None
    window.wait(lambda: dialog._sent.ended, PATIENCE, "the test ends")
    return " ".join([*(str(label.text) for label in dialog.finding_labels), dialog.message.text])


def searched(window: Browser) -> int:
    window.ui.searchButton.click()
    window.wait(lambda: not window.session.query.is_running, PATIENCE, "the search ends")
    return len(window.session.results.studies)


def test_a_private_authority(browser: Make, filled: Orthanc, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with start_nginx(tmp_path / "nginx", filled.rest, authority) as nginx:
        window = browser(state=tmp_path / "state")
        dialog = added(window)
        dialog.url_edit.text, dialog.name_edit.text = nginx.url, "Private"
        assert "not trusted" in findings(window, dialog)
        window.picture("not-trusted", dialog.dialog)
        dialog.save_button.click()
        assert searched(window) == 0
        assert "is not trusted" in window.window.message.text
        assert "CA bundle" in window.window.message.text
        assert nginx.log("access") == ""  # no request went out
        again = edited(window)
        again.tls.box.click()
        again.tls.edits["ca_bundle"].text = str(authority.certificate)
        assert "not trusted" not in findings(window, again)
        again.save_button.click()
        assert window.session.servers.current["tls"] == {"ca_bundle": str(authority.certificate)}
        assert searched(window) == 1
        assert window.window.message.text == ""


def test_a_certificate_of_ones_own(browser: Make, filled: Orthanc, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.sign("client", passphrase="open sesame")
    with start_nginx(tmp_path / "nginx", filled.rest, authority, clients=authority) as nginx:
        window = browser(state=tmp_path / "state")
        dialog = added(window)
        dialog.url_edit.text, dialog.name_edit.text = nginx.url, "Private"
        choose(dialog, "certificate")
        for name, path in (("ca_bundle", authority.certificate), ("certificate", pair.certificate), ("key", pair.key)):
            dialog.tls.edits[name].text = str(path)
        dialog.save_button.click()
        assert searched(window) == 0
        assert "passphrase" in window.window.message.text
        window.window.message.click("Sign in...")
        asked = window.window._dialogs[-1]
        asked.edits["passphrase"].text = "open sesame"
        asked.ok_button.click()
        window.wait(lambda: not window.session.query.is_running and window.session.results.studies, PATIENCE)
        assert len(window.session.results.studies) == 1


# ---------------------------------------------------------------------- the folder of a transfer


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the desktop is asked to open; it opens nothing, and refuses what is called so."""
    urls: list[Any] = []
    services = SimpleNamespace(openUrl=lambda url: (urls.append(url), "refused" not in url.path())[1])
    monkeypatch.setattr(qt_modules.QtGui, "QDesktopServices", services)
    return urls


@pytest.mark.parametrize("name", ["data base #1 50%", "refused"])
def test_the_folder_of_a_transfer_is_opened(browser: Make, tmp_path: Path, opened: list[Any], name: str) -> None:
    import pydicom
    import slicer

    for number in range(2):
        write_ct(tmp_path / "server" / f"{number}.dcm", InstanceNumber=number + 1)
    header = pydicom.dcmread(tmp_path / "server" / "0.dcm", stop_before_pixels=True)
    slicer.dicomDatabase._databaseDirectory = str(tmp_path / name)
    window = browser({"sources": [str(tmp_path / "server")]})
    window.use()
    place = (str(header.StudyInstanceUID), str(header.SeriesInstanceUID))
    window.session.retrieving.get([place], "download", window.session.servers.current)
    window.ui.jobsSection.collapsed = False
    window.wait(window.ended, PATIENCE)
    (job,) = window.session.jobs.jobs
    row = window.window.jobs.rows[job.number]
    window.wait(lambda: row.folder.visible, PATIENCE)
    row.folder.click()
    (url,) = opened
    folder = Path(url.toLocalFile())
    assert url == qt_modules.QtCore.QUrl.fromLocalFile(job.directory)
    assert (folder.parent, url.scheme(), url.query(), url.fragment()) == (tmp_path / name / "dicomweb", "file", "", "")
    assert sorted(path.name for path in folder.iterdir()) == ["0.dcm", "1.dcm"]
    told = f"The folder cannot be opened: {job.directory}" if name == "refused" else ""
    assert window.window.message.text == told

    # The same series once more: nothing is fetched, and the folder is that of the database's files.
    window.session.jobs.remove(job)
    moved = tmp_path / "imported"
    shutil.move(folder, moved)
    slicer.dicomDatabase._by_series.clear()
    slicer.dicomDatabase._index(moved)
    window.window.jobs.open_folder(SimpleNamespace(series=job.series, directory=job.directory))
    assert opened[-1] == qt_modules.QtCore.QUrl.fromLocalFile(str(moved))


def test_a_transfer_without_files_has_no_folder(browser: Make, opened: list[Any]) -> None:
    window = browser({"fail": {"retrieve": {"kind": "RefusedError", "message": "Not today."}}})
    window.use()
    window.session.retrieving.get([(STUDY, f"{STUDY}.1")], "download", window.session.servers.current)
    window.wait(window.ended, PATIENCE)
    (job,) = window.session.jobs.jobs
    assert job.state == "failed"
    window.window.jobs.open_folder(job)
    assert opened == []
    assert window.window.message.text == "There are no files of this transfer on this computer."


# ---------------------------------------------------------------------- links


def test_a_dropped_link_that_cannot_be_read_is_logged_without_its_token(
    browser: Make, caplog: pytest.LogCaptureFixture
) -> None:
    from DICOMwebBrowser import DICOMwebBrowserLogic

    browser({})
    good = "slicer://dicomweb?server=https://h.example/x&study=1.2.3"
    bad = "slicer://dicomweb?server=https://h.example/x&study=t0p-secret&access_token=t0p-secret"
    caplog.set_level(logging.DEBUG)
    assert [link.study for link in DICOMwebBrowserLogic().links([bad, good, "https://h.example/"])] == ["1.2.3"]
    assert "cannot be read: DicomBridgeError" in caplog.text
    assert "t0p-secret" not in caplog.text
