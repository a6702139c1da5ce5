"""Servers as values: presets, servers that were saved, and those of the earlier browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicombridge.errors import DicomBridgeError
from dicombridge.web.authentication import WAYS
from dicombridge.web.opening import cache_folder
from dicombridge.web.presets import PRESETS, kheops_link, preset, preset_server
from dicombridge.web.profile import Profile
from dicombridge.web.saved import SavedServers, SettingsFile, server, settings_folder
from dicombridge.web.secrets import session
from dicombridge.web.servers import KINDS, Authentication, Server, Tls
from dicombridge.web.worker.jobs import default_state_folder

FULL = Server(
    "https://pacs.example.org:8443/rs",
    name="Our PACS \u00e4\u65e5",
    qido="https://query.example.org/q",
    stow="https://store.example.org/s",
    authentication=Authentication("oidc", {"issuer": "https://sso.example.org", "client_id": "viewer"}),
    tls=Tls("ca.pem", "client.pem", "client.key"),
    profile=Profile(product="dcm4chee-arc", page_size=50, wildcard=False, retrieve_levels=("instance",), notes=("a",)),
    headers={"X-Goog-User-Project": "alpha"},
)


class QSettings:
    """Settings as PythonQt gives them: text comes back as text, lists as tuples, and nothing as None."""

    def __init__(self, **values: Any) -> None:
        self.values = {name.replace("__", "/"): value for name, value in values.items()}
        self.writes = 0

    def value(self, key: str) -> Any:
        found = self.values.get(key)
        return tuple(found) if isinstance(found, list) else found

    def setValue(self, key: str, value: Any) -> None:
        assert isinstance(value, str), "QSettings would write a Python object as bytes"
        self.values[key] = value
        self.writes += 1


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    return SettingsFile(tmp_path / "new folder" / "servers.json")


# Presets


def test_presets_are_complete() -> None:
    assert [one.name for one in PRESETS] == ["local", "orthanc", "dcm4chee", "google", "azure", "aws", "idc", "kheops"]
    for one in PRESETS:
        assert set(one.ways) <= set(KINDS) == set(WAYS)
        words = {word: value or "x" for word, value in one.words.items()}
        made = preset_server(one.name, **words)
        assert made.profile == one.profile
        assert made.authentication.kind == one.ways[0]
        assert not any("{" in text for text in (made.url, *made.authentication.fields.values()))
        assert Server.from_json(json.loads(json.dumps(made.to_json()))) == made
        plain = json.loads(json.dumps(one.to_json()))
        assert plain["title"] == one.title
        assert tuple(plain["fields"].items()) == one.fields
        known = set(WAYS[made.authentication.kind].fields)
        assert set(made.authentication.fields) <= known


ADDRESSES = {
    "orthanc": ({}, "http://localhost:8042/dicom-web"),
    "dcm4chee": ({"host": "arc", "aet": "AS RECEIVED"}, "http://arc:8080/dcm4chee-arc/aets/AS%20RECEIVED/rs"),
    "google": (
        {"project": "p", "dataset": "d", "store": "s"},
        "https://healthcare.googleapis.com/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb",
    ),
    "azure": ({"workspace": "w", "service": "s"}, "https://w-s.dicom.azurehealthcareapis.com/v2"),
    "aws": (
        {"datastore": "0123", "region": "eu-west-2"},
        "https://dicom-medical-imaging.eu-west-2.amazonaws.com/datastore/0123",
    ),
    "idc": (
        {},
        "https://proxy.imaging.datacommons.cancer.gov/current/"
        "viewer-only-no-downloads-see-tinyurl-dot-com-slash-3j3d9jyp/dicomWeb",
    ),
    "kheops": ({}, "https://demo.kheops.online/api"),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_addresses_of_presets(name: str) -> None:
    words, url = ADDRESSES[name]
    assert preset_server(name, **words).url == url


def test_what_servers_can_do() -> None:
    """The facts of the servers' documentation that everything else relies on."""
    profiles = {one.name: one.profile for one in PRESETS}
    assert profiles["aws"].retrieve_levels == ("instance",)
    assert (profiles["aws"].requests_per_second, profiles["aws"].store_bytes) == (50.0, 1 << 30)
    assert (profiles["azure"].page_size, profiles["azure"].store_bytes) == (200, 2 << 30)
    assert profiles["google"].last_offset == 1_000_000
    assert not profiles["google"].wildcard
    assert "ModalitiesInStudy" not in profiles["google"].searchable
    assert not profiles["idc"].store
    assert profiles["orthanc"].single_part is False
    assert profiles["dcm4chee"].last_offset == 99_999
    assert preset_server("aws", datastore="1", region="eu-west-2").authentication.get("region") == "eu-west-2"
    azure = preset_server("azure", workspace="w", service="s", tenant="t", client_id="c")
    assert azure.authentication.get("issuer") == "https://login.microsoftonline.com/t/v2.0"


def test_presets_refuse_what_they_do_not_know() -> None:
    with pytest.raises(DicomBridgeError, match="not a preset; there are local, orthanc"):
        preset("orthank")
    with pytest.raises(DicomBridgeError, match="needs dataset, project, store"):
        preset_server("google")
    with pytest.raises(DicomBridgeError, match="does not know hots"):
        preset_server("orthanc", hots="x")
    assert preset_server("orthanc", host="h/../evil.org#").url == "http://h%2F..%2Fevil.org%23:8042/dicom-web"


def test_kheops_links() -> None:
    found = kheops_link(" https://kheops.example.org:8443/view/AbCd1234EfGh ")
    assert found is not None
    assert found[0].url == "https://kheops.example.org:8443/api", "not demo.kheops.online"
    assert found[1].reveal() == "AbCd1234EfGh"
    assert "AbCd1234EfGh" not in json.dumps(found[0].to_json())
    for other in (
        "https://x.org/api",
        "https://x.org/view/",
        "ftp://x.org/view/AbCd1234EfGh",
        "https://a@x.org/view/AbCd1234",
    ):
        assert kheops_link(other) is None


# Saved servers


def test_settings_file(file: SettingsFile) -> None:
    saved = SavedServers(file)
    assert saved.all() == []
    assert not file.path.exists(), "looking writes nothing"
    saved.save(FULL)
    saved.save(preset_server("orthanc"))
    again = SavedServers(SettingsFile(file.path))
    assert again.all() == [FULL, preset_server("orthanc")]
    assert again.get(FULL.name) == FULL
    assert again.get("absent") is None
    changed = FULL.changed(url="https://new.example.org/rs")
    again.save(changed)
    assert [one.url for one in saved.all()] == [changed.url, "http://localhost:8042/dicom-web"], "in its old place"
    saved.remove(FULL.name)
    assert [one.name for one in again.all()] == ["Orthanc"]
    with pytest.raises(DicomBridgeError, match="No server"):
        saved.remove(FULL.name)
    with pytest.raises(DicomBridgeError, match="needs a name"):
        saved.save(Server("https://example.org/rs"))
    assert [path.name for path in file.path.parent.iterdir()] == ["servers.json"], "no temporary file is left"


def test_settings_of_an_application() -> None:
    settings = QSettings()
    SavedServers(settings).save(FULL)
    assert SavedServers(settings).all() == [FULL]
    assert list(settings.values) == ["DICOMBridge/Servers"]
    SavedServers(settings).all()
    assert settings.writes == 1


def test_damaged_settings(file: SettingsFile) -> None:
    saved = SavedServers(file)
    saved.save(FULL)
    for text, reason in {"{": "not JSON any more", "[]": "does not hold settings"}.items():
        file.path.write_text(text)
        with pytest.raises(DicomBridgeError, match=reason):
            saved.all()
        with pytest.raises(DicomBridgeError, match=reason):
            saved.save(FULL)
        assert file.path.read_text() == text, "nothing is thrown away"
    with pytest.raises(DicomBridgeError, match="is damaged"):
        SavedServers(QSettings(DICOMBridge__Servers="{")).all()
    one_bad = json.dumps(
        [{"name": "no address"}, FULL.to_json(), "text", {"url": "x", "authentication": {"kind": "new"}}]
    )
    assert SavedServers(QSettings(DICOMBridge__Servers=one_bad)).all() == [FULL]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((DicomBridgeError, OSError)):
        SavedServers(SettingsFile(tmp_path / "file" / "servers.json")).save(FULL)


def test_export_and_import(file: SettingsFile, tmp_path: Path) -> None:
    saved = SavedServers(file)
    orthanc = preset_server("orthanc")
    saved.save(FULL)
    saved.save(orthanc)
    saved.export(tmp_path / "servers.json")
    fresh = SavedServers(QSettings())
    assert fresh.import_file(tmp_path / "servers.json") == [FULL, orthanc]
    assert fresh.all() == [FULL, orthanc]
    assert fresh.import_file(tmp_path / "servers.json") == [], "they are here already"
    assert len(fresh.all()) == 2
    other = SavedServers(QSettings())
    other.save(Server("https://evil.example.org/rs", name="Orthanc"))
    imported = other.import_file(tmp_path / "servers.json")
    assert [one.name for one in imported] == [FULL.name, "Orthanc (2)"]
    assert other.get("Orthanc") == Server("https://evil.example.org/rs", name="Orthanc"), (
        "a known name stays where it was"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"servers": 5}',
        '{"servers": [{}]}',
        '{"servers": [{"url": "https://a@b.org"}]}',
        '{"servers": [{"url": "https://b.org", "authentication": {"kind": "bearer", "token": "abc"}}]}',
    ],
)
def test_files_that_hold_no_servers(text: str, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    settings = QSettings()
    with pytest.raises(DicomBridgeError):
        SavedServers(settings).import_file(path)
    assert settings.values == {}
    with pytest.raises(DicomBridgeError, match="No such file"):
        SavedServers(settings).import_file(tmp_path / "absent.json")


def test_the_earlier_browsers_servers() -> None:
    settings = QSettings(
        DICOMwebBrowser__ServerURL="http://localhost:8042/dicom-web/",
        DICOMwebBrowser__ServerURLHistory=[
            "http://localhost:8042/dicom-web",
            "https://healthcare.googleapis.com/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb",
            "https://anna:s3cret-Pass@pacs.example.org/rs",
            "https://pacs.example.org/other?access_token=s3cret-Token",
            "https://demo.kheops.online/view/s3cretLink123",
            "",
            "nonsense",
            "https://googleapis.com.example.org/rs",
        ],
    )
    before = dict(settings.values)
    found = {one.name: one for one in SavedServers(settings).all()}
    assert {name: (one.url, one.authentication.kind) for name, one in found.items()} == {
        "localhost:8042": ("http://localhost:8042/dicom-web", "none"),
        "healthcare.googleapis.com": (before["DICOMwebBrowser/ServerURLHistory"][1], "gcloud"),
        "pacs.example.org": ("https://pacs.example.org/rs", "basic"),
        "pacs.example.org (2)": ("https://pacs.example.org/other", "none"),
        "Kheops demo.kheops.online": ("https://demo.kheops.online/api", "kheops"),
        "googleapis.com.example.org": ("https://googleapis.com.example.org/rs", "none"),
    }
    for name, field, value in (
        ("pacs.example.org", "password", "s3cret-Pass"),
        ("Kheops demo.kheops.online", "token", "s3cretLink123"),
    ):
        secret = session.get(found[name], field)
        assert secret is not None
        assert secret.reveal() == value, "in memory, for this session"
        session.forget(found[name], field)
    new = {key: value for key, value in settings.values.items() if key not in before}
    assert "s3cret" not in json.dumps(new)
    assert {key: settings.values[key] for key in before} == before, "the old settings stay for the old browser"
    # Once: what was removed does not come back.
    SavedServers(settings).remove("localhost:8042")
    assert "localhost:8042" not in {one.name for one in SavedServers(settings).all()}


@pytest.mark.parametrize("value", [None, "", (), [], "http://localhost:8042/dicom-web"])
def test_old_settings_of_all_forms(value: Any) -> None:
    settings = QSettings(DICOMwebBrowser__ServerURL=value, DICOMwebBrowser__ServerURLHistory=value)
    assert len(SavedServers(settings).all()) == (1 if value else 0)


# What somebody means


def test_finding_a_server(file: SettingsFile, tmp_path: Path) -> None:
    saved = SavedServers(file)
    saved.save(FULL)
    assert server(f" {FULL.name} ", file) == FULL
    assert server(FULL.url + "/", file) == FULL, "with what was saved about it"
    assert server("https://new.example.org/rs", file) == Server("https://new.example.org/rs")
    assert server(str(tmp_path), file).path == tmp_path
    assert server(tmp_path.as_uri(), file).path == tmp_path
    linked = server("https://demo.kheops.online/view/AbCd1234EfGh", file)
    secret = session.get(linked, "token")
    assert secret is not None
    assert secret.reveal() == "AbCd1234EfGh"
    session.forget(linked, "token")
    for text in ("Our PAX", "", "/nonexistent/folder"):
        with pytest.raises(DicomBridgeError, match="Saved servers: Our PACS"):
            server(text, file)


def test_a_folder_does_not_hide_a_saved_name(
    file: SettingsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orthanc").mkdir()
    monkeypatch.chdir(tmp_path)
    assert server("orthanc", file).is_local
    SavedServers(file).save(preset_server("orthanc", title="orthanc"))
    assert not server("orthanc", file).is_local


@pytest.mark.parametrize(
    ("folder", "variable", "usual"),
    [
        (settings_folder, "XDG_CONFIG_HOME", ".config"),
        (default_state_folder, "XDG_STATE_HOME", ".local/state"),
        (cache_folder, "XDG_CACHE_HOME", ".cache"),
    ],
)
def test_folders_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Callable[[], Path], variable: str, usual: str
) -> None:
    """Our own fallback agrees with platformdirs."""
    places = []
    for platformdirs in (True, False):
        with monkeypatch.context() as patch:
            if not platformdirs:
                patch.setitem(sys.modules, "platformdirs", None)
            patch.delenv("DICOMBRIDGE_CACHE", raising=False)
            patch.setenv(variable, str(tmp_path))
            places.append(folder())
            patch.delenv(variable)
            patch.setenv("HOME", str(tmp_path / "home"))
            places.append(folder())
    assert places == [tmp_path / "dicombridge", tmp_path / "home" / usual / "dicombridge"] * 2


def test_a_reader_never_sees_half_a_file(file: SettingsFile) -> None:
    """One process writes again and again; another reads all the while."""
    saved = SavedServers(file)
    saved.save(FULL)
    code = (
        "import sys\nfrom dicombridge.web.saved import SavedServers, SettingsFile\n"
        "from dicombridge.web.servers import Server\nsaved = SavedServers(SettingsFile(sys.argv[1]))\n"
        "for n in range(30): saved.save(Server('https://example.org/rs', name=f'server {n % 7}'))"
    )
    folder = Path(__file__).parents[2] / "DICOMPluginsExt"
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    reads = 0
    with subprocess.Popen([sys.executable, "-c", code, str(file.path)], env=environment) as writer:
        while writer.poll() is None:
            assert FULL in saved.all()
            reads += 1
    assert writer.returncode == 0
    assert len(saved.all()) == 8
    assert reads > 3


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)

header_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)


@settings(max_examples=40, deadline=None)
@given(
    name=texts,
    path=st.from_regex(r"(/[a-z0-9.-]{1,8}){0,3}", fullmatch=True),
    fields=st.dictionaries(st.sampled_from(["user", "issuer", "client_id", "scope"]), texts),
    kind=st.sampled_from(KINDS),
    headers=st.dictionaries(st.sampled_from(["X-A", "X-Goog-User-Project"]), header_texts),
    size=st.integers(1, 10_000),
)
def test_servers_survive_json(
    name: str, path: str, fields: dict[str, str], kind: str, headers: dict[str, str], size: int
) -> None:
    fields = {} if kind == "none" else fields
    one = Server(
        f"https://example.org{path}",
        name=name,
        authentication=Authentication(kind, fields),
        profile=Profile(page_size=size),
        headers=headers,
    )
    assert Server.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_import_is_light() -> None:
    """The window and the command line need these before anything is asked of a server."""
    code = (
        "import sys; from dicombridge.web import saved, presets, secrets, authentication, google; "
        "print(sorted({n.partition('.')[0] for n in sys.modules}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "DICOMPluginsExt")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    heavy = ("requests", "urllib3", "numpy", "pydicom", "keyring", "google", "botocore", "vtk", "platformdirs")
    assert [name for name in heavy if f"'{name}'" in done.stdout] == []
