"""The doctor: what is behind an address that somebody pastes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import scripted_quirks
from support.certificates import Authority
from support.folders import write_ct
from support.nginx import start_nginx
from support.scripted_quirks import ROOT, Quirks, instance
from support.scripted_server import scripted

from dicombridge import web
from dicombridge.errors import CancelledError, DicomBridgeError, RefusedError
from dicombridge.web import diagnosis as doctors
from dicombridge.web import secrets
from dicombridge.web.diagnosis import Diagnosis
from dicombridge.web.diagnosis.pasted import understood
from dicombridge.web.diagnosis.probing import Found, at

OBJECTS = [instance(number, PatientName=name) for number, name in enumerate(("Big^MF", "Doe^John", "Müller^Eva"), 1)]


def found(diagnosis: Diagnosis, what: str) -> bool | None:
    """What the doctor says of something; fails where it says nothing of it."""
    return next(finding.ok for finding in diagnosis.findings if finding.what == what)


def texts(diagnosis: Diagnosis) -> str:
    return "\n".join(f"{finding.what}: {finding.text}" for finding in diagnosis.findings)


# --- Addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["/dicom-web", "/dicomWeb", "/rs", "/v2", "/orthanc/dicom-web", "/dicomweb", ""])
def test_the_root_is_found_from_the_machine(root: str) -> None:
    with scripted(Quirks(root=root)) as one:
        for text in (one.rest, f"{one.rest}/", one.rest.removeprefix("http://"), f"{one.url}/"):
            assert web.doctor(text).server.url == one.url, text


@pytest.mark.parametrize(
    ("path", "study"),
    [
        (f"/viewer?StudyInstanceUIDs={ROOT}.2", f"{ROOT}.2"),
        (f"/viewer/{ROOT}.2", f"{ROOT}.2"),
        (f"/ohif/viewer?StudyInstanceUIDs={ROOT}.2&SeriesInstanceUIDs={ROOT}.2.1", f"{ROOT}.2"),
        ("/app/explorer.html#study?uuid=6b9e19d9-62094390-5f9ddb01-4a191ae7-9766b715", ""),
        (f"/ui/app/#/filtered-studies?StudyInstanceUID=%22{ROOT}.2%22&expand=study", f"{ROOT}.2"),
        (f"/stone-webviewer/index.html?study={ROOT}.2", f"{ROOT}.2"),
        (f"/dicom-web/studies/{ROOT}.2/series?limit=2", f"{ROOT}.2"),
        ("/dicom-web/studies?PatientName=x", ""),
        ("/some/page", ""),
    ],
)
def test_addresses_of_viewers(path: str, study: str) -> None:
    with scripted() as one:
        diagnosis = web.doctor(one.rest + path)
    assert (diagnosis.server.url, diagnosis.study) == (one.url, study)
    assert diagnosis.ok
    assert diagnosis.series == (f"{ROOT}.2.1" if "SeriesInstanceUIDs" in path else "")


@pytest.mark.parametrize(
    ("text", "root", "study"),
    [
        (
            "https://viewer.imaging.datacommons.cancer.gov/v3/viewer/?StudyInstanceUIDs=1.3.6.1",
            "https://proxy.imaging.datacommons.cancer.gov/current/"
            "viewer-only-no-downloads-see-tinyurl-dot-com-slash-3j3d9jyp/dicomWeb",
            "1.3.6.1",
        ),
        (
            "https://console.cloud.google.com/healthcare/browser/locations/us-central1/datasets/d/dicomStores/s?project=p",
            "https://healthcare.googleapis.com/v1/projects/p/locations/us-central1/datasets/d/dicomStores/s/dicomWeb",
            "",
        ),
        (
            "https://healthcare.googleapis.com/v1/projects/p/locations/l/datasets/d/dicomStores/s",
            "https://healthcare.googleapis.com/v1/projects/p/locations/l/datasets/d/dicomStores/s/dicomWeb",
            "",
        ),
        ("https://demo.kheops.online/view/abcdefgh12345", "https://demo.kheops.online/api", ""),
        ("https://evil.example/viewer.imaging.datacommons.cancer.gov/", "https://evil.example", ""),
        (" <https://anna:secret@host.example/dicom-web/> ", "https://host.example/dicom-web", ""),
        ("host.example:8042", "https://host.example:8042/dicom-web", ""),
        ("localhost:8042/x", "http://localhost:8042/x", ""),
        ("[::1]:8042", "http://[::1]:8042/dicom-web", ""),
        ("https://w-s.dicom.azurehealthcareapis.com", "https://w-s.dicom.azurehealthcareapis.com/v2", ""),
        ("http://host:8080/dcm4chee-arc/ui2/", "http://host:8080/dcm4chee-arc/aets/DCM4CHEE/rs", ""),
    ],
)
def test_what_addresses_mean(text: str, root: str, study: str) -> None:
    pasted = understood(text)
    assert root in pasted.roots
    assert pasted.study == study
    assert "secret" not in repr(pasted)
    assert "abcdefgh12345" not in repr(pasted)
    assert len(pasted.roots) < 45


@pytest.mark.parametrize("text", ["", "   ", "no such folder", "ftp://host/x", "just-a-word"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(DicomBridgeError):
        web.doctor(text)


def test_the_configuration_of_a_viewer_is_read() -> None:
    script = b"window.config = { dataSources: [{ configuration: { qidoRoot: '/deep/inside/wado', wadoRoot: '/x' }}]};"
    with scripted(Quirks(root="/deep/inside/wado"), OBJECTS) as one:
        one.pages["/app-config.js"] = lambda request: (200, "text/javascript", script)
        diagnosis = web.doctor(f"{one.rest}/viewer?StudyInstanceUIDs={ROOT}.1")
    assert diagnosis.server.url == one.url
    assert "configuration" in texts(diagnosis)


def test_nothing_there() -> None:
    with scripted(Quirks(root="/hidden/place"), OBJECTS) as one:
        diagnosis = web.doctor(one.rest)
        assert len(one.requests) < 20
    assert not diagnosis.ok
    assert f"No DICOMweb server was found at {one.rest} or below it" in texts(diagnosis)
    gone = web.doctor(one.rest)
    assert not gone.ok
    assert "nothing listens" in texts(gone)


def test_a_folder_and_a_zip_file(tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm")
    diagnosis = web.doctor(str(tmp_path))
    assert diagnosis.ok
    assert "1 studies" in texts(diagnosis)
    assert len(list(web.search(diagnosis.server))) == 1
    (tmp_path / "x.zip").write_text("no zip")
    assert not web.doctor(str(tmp_path / "x.zip")).ok


def test_the_doctor_is_cancelled() -> None:
    cancel = web.Cancel()
    with scripted(instances=OBJECTS) as one, pytest.raises(CancelledError):
        web.doctor(one.rest, cancel=cancel, found=lambda finding: cancel.cancel())


# --- Credentials ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("challenge", "kind", "words"),
    [
        ('Basic realm="Orthanc Secure Area"', "basic", 'user and a password (Basic, "Orthanc Secure Area")'),
        ('Bearer realm="x"', "bearer", "wants a token (Bearer"),
        (
            'Bearer authorization_uri="https://login.example/t", resource_id="r"',
            "oidc",
            "https://login.example/t issues",
        ),
        ("AWS4-HMAC-SHA256", "sigv4", "signed requests"),
        ("Negotiate", "none", "negotiate, which is not supported"),
        ("", "none", "does not say how"),
    ],
)
def test_the_kind_of_authentication(challenge: str, kind: str, words: str) -> None:
    with scripted(Quirks(user="anna:secret", challenge=challenge), OBJECTS) as one:
        diagnosis = web.doctor(one.rest)
    assert (diagnosis.server.url, diagnosis.server.authentication.kind) == (one.url, kind)
    assert found(diagnosis, "authentication") is False
    assert words in texts(diagnosis)


def test_credentials_are_used_and_what_would_be_asked_for_is_said() -> None:
    with scripted(Quirks(user="anna:s3cret"), OBJECTS) as one:
        server = web.Server(one.rest, authentication=web.Authentication("basic", {"user": "anna"}))
        secrets.set_secret(server, "password", "s3cret")
        diagnosis = web.doctor(server)
    assert diagnosis.ok
    assert diagnosis.server.url == one.url
    assert "Yours is accepted" in texts(diagnosis)
    assert found(diagnosis, "retrieval")
    assert "s3cret" not in json.dumps(diagnosis.to_json()) + repr(diagnosis)


def test_refused_credentials_are_said() -> None:
    with scripted(Quirks(user="anna:other"), OBJECTS) as one:
        server = web.Server(one.url, authentication=web.Authentication("basic", {"user": "anna"}))
        secrets.set_secret(server, "password", "s3cret")
        diagnosis = web.doctor(server)
    assert found(diagnosis, "authentication") is False
    assert "does not accept the credentials" in texts(diagnosis)


def test_credentials_go_to_no_other_server() -> None:
    """Not where the configuration of a viewer points, and not where redirects lead."""
    with scripted(Quirks(user="bob:other"), OBJECTS) as other, scripted(Quirks(root="/nowhere"), OBJECTS) as one:
        script = f"window.config = {{ qidoRoot: '{other.url}' }};".encode()
        one.pages["/app-config.js"] = lambda request: (200, "text/javascript", script)
        server = web.Server(f"{one.rest}/viewer", authentication=web.Authentication("basic", {"user": "anna"}))
        secrets.set_secret(server, "password", "s3cret")
        diagnosis = web.doctor(server)
        assert len(other.requests) > 0
        assert all("Authorization" not in request.headers for request in other.requests)
        assert any("Authorization" in request.headers for request in one.requests)
    assert diagnosis.server.url == other.url
    with scripted(instances=OBJECTS) as other, scripted(Quirks(redirects_to=other.rest), OBJECTS) as one:
        server = web.Server(one.url, authentication=web.Authentication("basic", {"user": "anna"}))
        secrets.set_secret(server, "password", "s3cret")
        assert not web.doctor(server).ok
        assert other.requests == []


def test_a_client_certificate_is_shown_to_no_other_server_and_to_nobody_as_a_stranger() -> None:
    tls = web.Tls(certificate="/keys/anna.pem", key="/keys/anna.key", ca_bundle="/authority.pem")
    server = web.Server("https://pacs.example.org/rs", tls=tls, headers={"X-Project": "secret plans"})
    other = at(server, "https://elsewhere.example.org/rs")
    assert (other.tls, other.headers) == (web.Tls(ca_bundle="/authority.pem"), {})
    assert at(server, "https://pacs.example.org/dicom-web").tls == tls


@pytest.mark.parametrize("lets_strangers_in", [True, False])
def test_what_a_stranger_would_be_asked_for_is_asked_without_the_certificate(
    lets_strangers_in: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[web.Server] = []

    def find_root(server: web.Server, roots: list[str], cancel: object) -> Found:
        asked.append(server)
        refused = None if lets_strangers_in else RefusedError("No required SSL certificate was sent", status=400)
        return Found(server, is_open=lets_strangers_in, error=refused)

    monkeypatch.setattr(doctors, "find_root", find_root)
    certificate = web.Authentication("certificate")
    with scripted(instances=OBJECTS) as one:
        server = web.Server(one.url, authentication=certificate, tls=web.Tls(certificate="/keys/anna.pem"))
        examination = doctors._Examination(understood(one.url), web.Cancel(), lambda finding: None)
        examination._let_in(server, Found(server, is_open=True))
    assert [stranger.tls for stranger in asked] == [web.Tls()]
    (finding,) = examination._findings
    assert ("lets everybody in" in finding.text, "Yours is accepted" in finding.text) == (
        lets_strangers_in,
        not lets_strangers_in,
    )


def test_separate_roots_stay_separate() -> None:
    with scripted(instances=OBJECTS) as queries, scripted(instances=OBJECTS) as files:
        server = web.Server(
            f"{queries.rest}/nothing", qido=queries.url, wado=files.url, stow=f"{files.url}/stow", headers={"X-A": "b"}
        )
        found = web.doctor(server)
        assert found.ok
        assert found.server.changed(profile=web.Profile()) == server
        assert found.server.headers == {"X-A": "b"}
        assert any("/instances/" in request.path for request in files.requests)
        assert not any("/instances/" in request.path for request in queries.requests)
    assert f"The root is {queries.url}." in [finding.text for finding in found.findings]


# --- Certificates --------------------------------------------------------------------------------------------------


def test_whom_a_certificate_is_from(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with (
        scripted(Quirks(root="/dicom-web"), OBJECTS) as one,
        start_nginx(tmp_path / "nginx", one.rest, authority) as nginx,
    ):
        trusted = web.doctor(web.Server(nginx.root, tls=web.Tls(ca_bundle=str(authority.certificate))))
        stranger = web.doctor(nginx.root)
    assert (trusted.server.url, trusted.ok, found(trusted, "TLS")) == (nginx.url, True, True)
    assert "issued by Tests' own authority, until" in texts(trusted)
    assert (stranger.ok, found(stranger, "TLS")) == (False, False)
    assert "is not trusted" in texts(stranger)
    assert "It was issued by Tests' own authority." in texts(stranger)


# --- Capabilities --------------------------------------------------------------------------------------------------

EXPECTED: dict[str, tuple[Quirks, dict[str, Any]]] = {
    "standard": (
        Quirks(),
        {"pages": True, "wildcard": True, "fuzzy": False, "decodes_queries": True, "single_part": False},
    ),
    "orthanc": (
        scripted_quirks.ORTHANC_OLD,
        {"pages": True, "wildcard": True, "fuzzy": False, "decodes_queries": False, "single_part": False},
    ),
    "orthanc-new": (scripted_quirks.ORTHANC_NEW, {"decodes_queries": True, "thumbnails": "thumbnail"}),
    "google": (
        scripted_quirks.GOOGLE,
        {"wildcard": False, "fuzzy": True, "includefield": "list", "single_part": True, "decodes_queries": True},
    ),
    "azure": (scripted_quirks.AZURE, {"wildcard": False, "fuzzy": True, "includefield": "all", "single_part": True}),
    "idc": (scripted_quirks.IDC, {"includefield": "none", "single_part": True}),
    "dcm4chee": (scripted_quirks.DCM4CHEE, {"patients": True, "thumbnails": "thumbnail", "fuzzy": True}),
    "aws": (
        scripted_quirks.AWS,
        {
            "thumbnails": "none",
            "retrieve_levels": ("instance",),
            "quoted_type": False,
            "single_part": True,
            "wildcard": False,
        },
    ),
    "no pages": (Quirks(ignores_offset=True), {"pages": False}),
    "no stored transfer syntax": (Quirks(transfer_syntax_any=False), {"any_transfer_syntax": False}),
    "ignores filters": (
        Quirks(ignored=("AccessionNumber",)),
        {"searchable": tuple(sorted({*scripted_quirks.GOOGLE_SEARCHABLE, "StudyDescription", "ModalitiesInStudy",
                                     "PatientBirthDate"} - {"AccessionNumber"}))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_server_can_do(name: str) -> None:
    quirks, expected = EXPECTED[name]
    told: list[str] = []
    with scripted(quirks, OBJECTS) as one:
        diagnosis = web.doctor(one.url)
        profile = diagnosis.server.profile
        assert {key: getattr(profile, key) for key in expected} == expected
        assert len(one.requests) < 45
        # What was measured is what queries then use.
        stored = web.Server.from_json(json.loads(json.dumps(diagnosis.to_json()["server"])))
        assert stored == diagnosis.server
        results = web.search(stored, told=told.append, PatientName="Big^MF", StudyDate="20010101-20011231")
        assert [item["StudyInstanceUID"] for item in results] == [f"{ROOT}.1"]
        (picture,) = web.thumbnails(stored, f"{ROOT}.1", f"{ROOT}.1.1", size=16)
        assert picture.data.startswith(b"\xff\xd8")
    assert told == []


def test_an_empty_server() -> None:
    with scripted(Quirks(empty_204=True)) as one:
        diagnosis = web.doctor(one.rest)
    assert diagnosis.ok
    assert "has no studies" in texts(diagnosis)


def test_a_wrong_clock_is_said() -> None:
    with scripted(replace(Quirks(), clock_error=3600.0), OBJECTS) as one:
        diagnosis = web.doctor(one.url)
    assert found(diagnosis, "clock") is False
    assert "60 minutes apart" in texts(diagnosis)


def test_findings_come_as_they_are_found() -> None:
    seen: list[Any] = []
    with scripted(instances=OBJECTS) as one:
        diagnosis = web.doctor(one.url, found=seen.append)
    assert tuple(seen) == diagnosis.findings
    assert {"root", "TLS", "authentication", "paging", "wildcards", "fuzzy names", "pictures", "retrieval"} <= {
        finding.what for finding in seen
    }
