"""What servers answer to store requests, each in its own way, and what we make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.folders import write_ct
from support.stow_server import Reply, Request, StowServer, module, stow_server

from dicombridge.errors import DamagedAnswerError
from dicombridge.web import store
from dicombridge.web.storing.answers import read_answer
from dicombridge.web.storing.reasons import http_words, reason_of, warning_words
from dicombridge.web.storing.report import StoreReport

A, B, C = "1.2.3.4.0", "1.2.3.4.1", "1.2.3.4.2"


@pytest.fixture
def stow() -> Iterator[StowServer]:
    with stow_server() as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.dcm" for number in range(3)]
    for number, path in enumerate(paths):
        write_ct(path, InstanceNumber=number, SOPInstanceUID=f"1.2.3.4.{number}")
    return paths


def stored(stow: StowServer, files: list[Path], **options: Any) -> StoreReport:
    with stow.connection() as connection:
        return store(stow.server, files, connection=connection, **options)


def item(uid: str, **elements: tuple[str, list[Any]]) -> dict[str, Any]:
    values = {tag[1:]: {"vr": vr, "Value": value} for tag, (vr, value) in elements.items()}
    return ({"00081155": {"vr": "UI", "Value": [uid]}} if uid else {}) | values


def as_xml(values: dict[str, Any]) -> bytes:
    """Write DICOM JSON as a Native DICOM Model, as Google and Orthanc do."""

    def attributes(dataset: dict[str, Any]) -> str:
        text = ""
        for tag, element in dataset.items():
            inner = ""
            for number, value in enumerate(element.get("Value", []), start=1):
                if isinstance(value, dict):
                    inner += f'<Item number="{number}">{attributes(value)}</Item>'
                else:
                    inner += f'<Value number="{number}">{value}</Value>'
            text += f'<DicomAttribute tag="{tag}" vr="{element["vr"]}">{inner}</DicomAttribute>'
        return text

    root = '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{root}{attributes(values)}</NativeDicomModel>'.encode()


# --- Forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["application/dicom+json", "application/dicom+json; charset=utf-8", "application/json", "text/plain", ""],
)
def test_json_with_any_content_type(stow: StowServer, files: list[Path], content_type: str) -> None:
    """dicomweb-client makes an empty dataset of all but the first, and the failures are lost."""

    def answer(request: Request) -> Reply:
        body = json.dumps(module([A, C], {B: 0xA900})).encode()
        return Reply(202, body, {"Content-Type": content_type})

    stow.answer = answer
    report = stored(stow, files)
    assert report.stored == [A, C]
    assert report.failed == {B: "The object does not conform to its SOP class (A900)."}


@pytest.mark.parametrize("status", [200, 202, 409])
def test_xml_from_a_server_that_ignores_accept(stow: StowServer, files: list[Path], status: int) -> None:
    values = module([A, C], {B: 272}, {C: 0xB006})
    stow.answer = lambda request: Reply(status, as_xml(values), {"Content-Type": "application/dicom+xml"})
    report = stored(stow, files)
    assert report.stored == [A, C]
    assert report.failed == {B: "The server could not process it (0110)."}
    assert report.warnings == {C: "The server discarded some of its attributes (B006)."}


def test_xml_and_json_say_the_same() -> None:
    values = module([A], {B: 0xC122}, {A: 0xB000})
    assert read_answer(as_xml(values)) == read_answer(json.dumps(values).encode())
    assert read_answer(b"\xef\xbb\xbf  " + json.dumps([values]).encode()) == read_answer(as_xml(values))


@pytest.mark.parametrize("body", [b'{"00081199": ', b"[[[", b"<NativeDicomModel><x></NativeDicomModel>"])
def test_a_damaged_answer_is_not_taken_for_success(stow: StowServer, files: list[Path], body: bytes) -> None:
    with pytest.raises(DamagedAnswerError):
        read_answer(body)

    def answer(request: Request) -> Reply:
        stow.keep(request, [B])
        return Reply(200, body)

    stow.answer = answer
    report = stored(stow, files)
    assert report.stored == [A, C]
    assert report.unconfirmed == {B: "The server's answer was damaged, and the server does not show it."}


def test_xml_with_entities_is_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><NativeDicomModel>&b;</NativeDicomModel>'
    with pytest.raises(DamagedAnswerError, match="definitions of its own"):
        read_answer(bomb)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"OK", b"<html><body>Fine</body></html>"])
@pytest.mark.parametrize("status", [200, 204])
def test_success_without_a_list(stow: StowServer, files: list[Path], status: int, body: bytes) -> None:
    def answer(request: Request) -> Reply:
        stow.keep(request, [C])
        return Reply(status, body if status == 200 else b"")

    stow.answer = answer
    report = stored(stow, files)
    assert report.stored == [A, B]
    assert list(report.unconfirmed) == [C]
    assert report.failed == {}


def test_odd_values_do_no_harm() -> None:
    values = {
        "00081199": {"vr": "SQ", "Value": [None, 7, {}, {"00081155": {"vr": "UI"}}, item(f"{A}\0")]},
        "00081198": {"vr": "SQ", "Value": [item(B, _00081197=("US", ["x"])), item(C, _00081197=("US", ["43264"]))]},
    }
    answer = read_answer(json.dumps(values).encode())
    assert answer.stored == {A: ""}
    assert answer.failed[B].words == "The server does not say why."
    assert answer.failed[C].words == "The object does not conform to its SOP class (A900)."


# --- Products --------------------------------------------------------------------------------------------------------


def test_orthanc_1_9_partial_success_is_400(stow: StowServer, files: list[Path]) -> None:
    """No content type, Failed SOP Sequence with one, and 400 although others were stored."""

    def answer(request: Request) -> Reply:
        if request.uids == [B]:
            return Reply(400, json.dumps({"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ"}}).encode())
        kept = stow.keep(request, [B])
        return Reply(400, json.dumps({**module(kept), "00081198": {"vr": "SQ"}}).encode())

    stow.answer = answer
    report = stored(stow, files)
    assert report.stored == [A, C]
    assert report.failed == {B: "The server could not read it (HTTP 400)."}
    assert [request.uids for request in stow.requests] == [[A, B, C], [B]]


def test_orthanc_sequences_without_value(stow: StowServer, files: list[Path]) -> None:
    stow.answer = lambda request: Reply(200, {**module(request.uids), "00081198": {"vr": "SQ"}})
    assert stored(stow, files).stored == [A, B, C]


def test_orthanc_error_as_json(stow: StowServer, files: list[Path]) -> None:
    error = {"HttpError": "Bad Request", "HttpStatus": 400, "Message": "Bad request", "Details": "Not multipart"}
    stow.answer = lambda request: Reply(400, error)
    assert stored(stow, files[:1]).failed == {A: "The server could not read it (HTTP 400): Not multipart."}


def test_azure_duplicates(stow: StowServer, files: list[Path]) -> None:
    stow.answer = lambda request: Reply(409, module([], dict.fromkeys(request.uids, 45070)))
    report = stored(stow, files)
    assert report.duplicates == [A, B, C]
    assert (report.stored, report.failed, report.complete) == ([], {}, True)
    assert report.summary == "0 of 3 stored, 3 already there"


def test_azure_says_it_exists_after_an_answer_was_lost(stow: StowServer, files: list[Path]) -> None:
    """What we sent ourselves a moment ago is stored, and no duplicate."""

    def answer(request: Request) -> Reply:
        known = [uid for uid in request.uids if uid in stow.have]
        stow.keep(request)
        return Reply(lost=True) if len(stow.requests) == 1 else Reply(409, module([], dict.fromkeys(known, 45070)))

    stow.answer = answer
    report = stored(stow, files)
    assert (report.stored, report.duplicates) == ([A, B, C], [])


def test_azure_busy(stow: StowServer, files: list[Path]) -> None:
    """45071: the same instance is being stored; only this one is sent again."""

    def answer(request: Request) -> Reply:
        if len(stow.requests) < 3 and B in request.uids:
            return Reply(202, module(stow.keep(request, [B]), {B: 45071}))
        return stow.store(request)

    stow.answer = answer
    report = stored(stow, files)
    assert sorted(report.stored) == [A, B, C]
    assert [request.uids for request in stow.requests] == [[A, B, C], [B], [B]]
    stow.answer = lambda request: Reply(409, module([], {A: 45071}))
    assert "for somebody else at the moment (B00F)" in stored(stow, files[:1]).failed[A]


def test_azure_warnings(stow: StowServer, files: list[Path]) -> None:
    comments = [
        {"00000902": {"vr": "LO", "Value": ["DICOM100: (0010,1010) - Invalid age."]}},
        {"00000902": {"vr": "LO", "Value": ["DICOM100: (0008,0020) - Invalid date."]}},
    ]
    values = {
        "00081199": {
            "vr": "SQ",
            "Value": [
                item(A, _00081196=("US", [1]), _00741048=("SQ", comments)),
                item(B, _00081196=("US", [45063])),
                item(C),
            ],
        }
    }
    stow.answer = lambda request: Reply(202, values)
    report = stored(stow, files)
    assert report.stored == [A, B, C]
    assert report.warnings == {
        A: "Some of its attributes are not valid; it is stored, but cannot be found by them (0001): "
        "DICOM100: (0010,1010) - Invalid age.; DICOM100: (0008,0020) - Invalid date.",
        B: "It does not conform to its SOP class, and was stored nevertheless (B007).",
    }


def test_azure_study_mismatch(stow: StowServer, files: list[Path]) -> None:
    stow.answer = lambda request: Reply(409, module([], {A: 43265}))
    words = "It belongs to another study than the one it was sent to (A901)."
    assert stored(stow, files[:1], study="1.2.3").failed == {A: words}


def test_google_checksum(stow: StowServer, files: list[Path]) -> None:
    """XML, the reason in a private attribute; another object is there, so ours is not stored."""
    detail = ("LT", ["existing instance has different checksum"])
    values = {
        "00081199": {"vr": "SQ", "Value": [item(A), item(C)]},
        "00081198": {"vr": "SQ", "Value": [item(B, _00081197=("US", [272]), _00090097=detail)]},
    }
    stow.answer = lambda request: Reply(409, as_xml(values), {"Content-Type": "application/dicom+xml"})
    report = stored(stow, files)
    assert report.failed == {
        B: "The server has another object with the same SOP Instance UID (0110): "
        "existing instance has different checksum."
    }
    assert report.duplicates == []
    assert report.stored == [A, C]


def test_google_failures_without_uid(stow: StowServer, files: list[Path]) -> None:
    """Which one it is, is found by sending those alone that the answer does not mention."""
    nameless = item("", _00081197=("US", [272]), _00090097=("LT", ["could not parse date '20261399'"]))

    def answer(request: Request) -> Reply:
        values = module(stow.keep(request, [B]))
        if B in request.uids:
            values["00081198"]["Value"] = [nameless]
        return Reply(409 if B in request.uids else 200, as_xml(values))

    stow.answer = answer
    report = stored(stow, files)
    assert report.failed == {B: "The server could not process it (0110): could not parse date '20261399'."}
    assert report.stored == [A, C]


def test_google_quota(stow: StowServer, files: list[Path]) -> None:
    error = {"error": {"code": 429, "message": "Quota exceeded for requests.", "status": "RESOURCE_EXHAUSTED"}}
    stow.answer = lambda request: Reply(429, [error])
    report = stored(stow, files[:1])
    assert report.failed == {A: "The server is asked too often (HTTP 429): Quota exceeded for requests."}


def test_other_failures_sequence(stow: StowServer, files: list[Path]) -> None:
    """PS3.18 I: failures of which the server could not read the UID."""

    def answer(request: Request) -> Reply:
        values = module(stow.keep(request, [C]))
        if C in request.uids:
            values["0008119A"] = {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xC000]}}]}
        return Reply(202, values)

    stow.answer = answer
    report = stored(stow, files)
    assert report.stored == [A, B]
    assert report.failed == {
        C: "The server cannot understand it, e.g. because mandatory attributes are missing (C000)."
    }


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("org.dcm4che3.net.service.DicomServiceException: Not a DICOM Stream", "failed"),
        ("Ignore received Instance", "duplicates"),
    ],
)
def test_dcm4chee_says_why_in_a_header(stow: StowServer, files: list[Path], text: str, state: str) -> None:
    headers = {"Warning": f'299 dcm4chee-arc "{text}"'}
    stow.answer = lambda request: Reply(409, module([], dict.fromkeys(request.uids, 0x0110)), headers)
    report = stored(stow, files[:1])
    assert list(getattr(report, state)) == [A]
    if state == "failed":
        assert report.failed == {A: f"The server could not process it (0110): {text}."}


def test_dcm4chee_error_comment(stow: StowServer, files: list[Path]) -> None:
    failed = item(A, _00081197=("US", [0xA778]), _00000902=("LO", ["Conflicting PID"]))
    stow.answer = lambda request: Reply(409, {"00081198": {"vr": "SQ", "Value": [failed]}})
    assert stored(stow, files[:1]).failed[A].endswith("that of the study on the server (A778): Conflicting PID.")


@pytest.mark.parametrize("status", [409, 413, 415, 422])
def test_one_file_refused_without_a_word(stow: StowServer, files: list[Path], status: int) -> None:
    stow.answer = lambda request: Reply(status, b"<html><h1>Error</h1></html>", {"Content-Type": "text/html"})
    assert stored(stow, files[:1]).failed == {A: http_words(status)}
    assert f"(HTTP {status})." in http_words(status)


def test_a_look_at_the_file_says_more(stow: StowServer, tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", SOPInstanceUID=A, PatientID=None)
    whole = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:-1000])
    stow.answer = lambda request: Reply(400, b"")
    words = "The server could not read it (HTTP 400). It has no Patient ID. Its data end early."
    assert stored(stow, [tmp_path / "a.dcm"]).failed == {A: words}


def test_the_report_as_json(stow: StowServer, files: list[Path]) -> None:
    report = store(stow.server, files[:2])
    values = json.loads(json.dumps(report.to_json()))
    assert values["summary"] == "2 of 2 stored"
    assert values["complete"] is True
    assert sorted(values["stored"]) == [A, B]


# --- The table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (0xA700, "failed", "out of resources"),
        (0xA7FF, "failed", "out of resources"),
        (0xA800, "failed", "its SOP class"),
        (0xA9AB, "failed", "does not conform to its SOP class"),
        (0xC123, "failed", "cannot understand it"),
        (0xC122, "failed", "transfer syntax"),
        (0x0110, "failed", "could not process"),
        (0x0111, "duplicate", "already"),
        (0x0122, "failed", "SOP class"),
        (0x0124, "failed", "not allowed"),
        (0x0213, "busy", "at the moment"),
        (0xB00E, "duplicate", "already"),
        (0xB00F, "busy", "at the moment"),
        (0x1234, "failed", "not known"),
    ],
)
def test_reasons(code: int, kind: str, words: str) -> None:
    reason = reason_of(code)
    assert reason.kind == kind
    assert words in reason.words
    assert reason.words.endswith(f" ({code:04X}).")


@pytest.mark.parametrize(
    ("code", "words"), [(0xB000, "changed"), (0xB006, "discarded"), (0xB007, "not conform"), (0xB123, "warns")]
)
def test_warnings(code: int, words: str) -> None:
    assert words in warning_words(code)


def test_statuses_have_words() -> None:
    assert http_words(599) == "The server failed (HTTP 599)."
    assert http_words(418, "short and\nstout.") == "The server refused it (HTTP 418): short and stout."
