"""Retrieving from a real Orthanc, from folders and from zip files: verified, and byte by byte what is kept there."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from support.folders import write_ct
from support.orthanc import Orthanc, start_orthanc

from dicombridge import web
from dicombridge.errors import DicomBridgeError, RefusedError, WebError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.profile import Profile
from dicombridge.web.retrieving import Patience, RetrieveReport, TransferProgress
from dicombridge.web.servers import Authentication, Server

PATIENCE = Patience(reserve=0)


class Kept:
    """An Orthanc with files, as far as it takes them."""

    def __init__(self, orthanc: Orthanc, paths: list[Path]) -> None:
        orthanc.add(paths)
        self.studies: dict[str, dict[str, dict[str, bytes]]] = defaultdict(lambda: defaultdict(dict))
        all_series = {one["ID"]: one for one in orthanc.ask("series?expand")}
        all_studies = {one["ID"]: one["MainDicomTags"]["StudyInstanceUID"] for one in orthanc.ask("studies?expand")}
        for one in orthanc.ask("instances?expand"):
            series = all_series[one["ParentSeries"]]
            study = all_studies[series["ParentStudy"]]
            uid = one["MainDicomTags"]["SOPInstanceUID"]
            self.studies[study][series["MainDicomTags"]["SeriesInstanceUID"]][uid] = orthanc.file_of(one["ID"])
        self.sources = {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        self.server = Server(orthanc.url)


def is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


@cache
def rounds(data: Path) -> list[list[Path]]:
    """All test data, in rounds within which no SOP Instance UID comes twice: Orthanc gives none of such twins."""
    found: list[dict[str, Path]] = []
    for path in sorted(path for path in data.rglob("*") if path.is_file() and is_dicom(path)):
        uid = str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).get("SOPInstanceUID", path.name))
        place = next((one for one in found if uid not in one), None)
        if place is None:
            place = {}
            found.append(place)
        place[uid] = path
    return [list(one.values()) for one in found]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[Kept]:
    """An own one, which keeps what is stored for all tests of this file."""
    with start_orthanc(tmp_path_factory.mktemp("orthanc-of-all-data")) as orthanc:
        yield Kept(orthanc, rounds(data)[0])


def retrieved(server: Server, study: str, *arguments: Any, **options: Any) -> RetrieveReport:
    return web.retrieve(server, study, *arguments, **{"patience": PATIENCE, **options})


def contents(report: RetrieveReport) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in report.files}


def all_of(series: dict[str, dict[str, bytes]]) -> dict[str, bytes]:
    return {uid: content for files in series.values() for uid, content in files.items()}


def test_all_data_byte_by_byte(kept: Kept, orthanc: Orthanc, data: Path, tmp_path: Path) -> None:
    """Every study, whole: each file is what Orthanc keeps, and that is what was stored."""
    number = check_all(kept, tmp_path)
    for paths in rounds(data)[1:]:
        orthanc.clear()
        number += check_all(Kept(orthanc, paths), tmp_path)
    assert number > 950


def check_all(kept: Kept, tmp_path: Path) -> int:
    number = 0
    for study, series in kept.studies.items():
        report = retrieved(kept.server, study, directory=tmp_path / study)
        assert report.complete, report.to_json()
        assert report.notes == ()
        expected = all_of(series)
        assert contents(report) == expected
        for path in report.files:
            assert path.parent.name in series
        lines = [json.loads(line) for line in report.manifest.read_text().splitlines()]
        assert {line["instance"]: line["sha256"] for line in lines} == {
            uid: hashlib.sha256(content).hexdigest() for uid, content in expected.items()
        }
        assert all((tmp_path / study / line["file"]).stat().st_size == line["bytes"] for line in lines)
        assert {line["sha256"] for line in lines} <= kept.sources
        number += len(expected)
        shutil.rmtree(tmp_path / study)
    return number


def largest(kept: Kept) -> tuple[str, str, dict[str, bytes]]:
    """Study, series and files of the series with the most instances."""
    _, study, series = max(
        (len(files), study, uid) for study, one in kept.studies.items() for uid, files in one.items()
    )
    return study, series, kept.studies[study][series]


def test_series_instances_and_what_is_told(kept: Kept, tmp_path: Path) -> None:
    study, series, files = largest(kept)
    told: list[TransferProgress] = []
    arrived: list[Path] = []
    report = retrieved(
        kept.server,
        study,
        series,
        directory=tmp_path / "series",
        progress=told.append,
        arrived=arrived.extend,
        patience=replace(PATIENCE, told=0.0),
    )
    assert contents(report) == files
    assert sorted(arrived) == sorted(report.files)
    assert len(arrived) == len(set(arrived))
    last = told[-1].to_json()
    size = sum(map(len, files.values()))
    assert (last["instances"], last["total_instances"], last["bytes"], last["total_bytes"]) == (
        len(files),
        len(files),
        size,
        size,
    )
    assert report.bytes == size
    assert report.summary == f"{len(files)} of {len(files)} verified"
    some = sorted(files)[:3]
    for chosen in (series, None):
        single = retrieved(kept.server, study, chosen, some, tmp_path / f"some{chosen is None}")
        assert contents(single) == {uid: files[uid] for uid in some}
        assert single.complete
    json.dumps(report.to_json())


def test_a_server_of_single_instances(kept: Kept, tmp_path: Path) -> None:
    """As AWS HealthImaging: no series at once, and so many requests a second."""
    study, series, files = largest(kept)
    profile = Profile(retrieve_levels=("instance",), requests_per_second=200.0)
    progress: list[TransferProgress] = []
    report = retrieved(
        kept.server.changed(profile=profile), study, series, directory=tmp_path, progress=progress.append
    )
    assert contents(report) == files
    assert report.complete


def test_more_connections(kept: Kept, tmp_path: Path) -> None:
    """Where the stream is taken for slow at once, others help it, and nothing comes twice or not at all."""
    study, series, files = largest(kept)
    hasty = Patience(measured=0.0, step=0.01, worthwhile=0.0, reserve=0)
    report = retrieved(kept.server, study, series, directory=tmp_path, patience=hasty, connections=6)
    assert contents(report) == files
    lines = report.manifest.read_text().splitlines()
    assert len(lines) == len(files)


def test_another_transfer_syntax(kept: Kept, tmp_path: Path) -> None:
    """The server transcodes; what is there as stored is not taken for it."""
    study, series, files = next(
        (study, uid, files)
        for study, one in kept.studies.items()
        for uid, files in one.items()
        if all(content_syntax(content) == "1.2.840.10008.1.2.1" for content in files.values())
        and all(b"CT" in content[:1000] or b"MR" in content[:1000] for content in files.values())
        and 2 < len(files) < 12
    )
    stored = retrieved(kept.server, study, series, directory=tmp_path)
    syntax = "1.2.840.10008.1.2.4.70"
    report = retrieved(kept.server, study, series, directory=tmp_path, transfer_syntax=syntax)
    assert (len(report.verified), report.fetched, report.complete) == (len(files), len(files), True)
    assert report.notes == ()
    assert set(report.files) == set(stored.files)
    for path in report.files:
        ours, source = pydicom.dcmread(path), pydicom.dcmread(path, stop_before_pixels=True)
        assert ours.file_meta.TransferSyntaxUID == syntax
        original = tmp_path / "original.dcm"
        original.write_bytes(files[str(source.SOPInstanceUID)])
        assert (ours.pixel_array == pydicom.dcmread(original).pixel_array).all()
    again = retrieved(kept.server, study, series, directory=tmp_path)
    assert again.fetched == len(files)
    assert contents(again) == files


def content_syntax(content: bytes) -> str:
    return str(pydicom.dcmread(BytesIO(content), stop_before_pixels=True).file_meta.TransferSyntaxUID)


def test_users(locked_orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password is an error that names no secret; the right one lets us in."""
    write_ct(tmp_path / "one.dcm", InstanceNumber=1)
    locked_orthanc.add([tmp_path / "one.dcm"])
    dataset = pydicom.dcmread(tmp_path / "one.dcm")
    server = Server(locked_orthanc.url, authentication=Authentication("basic", {"user": "anna"}))
    from dicombridge.web.connection import Connection

    class Basic:
        def __init__(self, password: str) -> None:
            self.password = password

        def apply(self, request: Any) -> None:
            import requests

            requests.auth.HTTPBasicAuth("anna", self.password)(request)

        def renew(self, challenge: str) -> bool:
            return False

    with Connection(server, Basic("wr0ng")) as connection, pytest.raises(web_error("AuthenticationError")) as caught:
        retrieved(server, str(dataset.StudyInstanceUID), directory=tmp_path / "in", connection=connection)
    assert "wr0ng" not in str(caught.value)
    with Connection(server, Basic("s3cret-Pass")) as connection:
        report = retrieved(server, str(dataset.StudyInstanceUID), directory=tmp_path / "in", connection=connection)
    assert contents(report) == {str(dataset.SOPInstanceUID): (tmp_path / "one.dcm").read_bytes()}
    everything = b"".join(path.read_bytes() for path in (tmp_path / "in").rglob("*") if path.is_file())
    assert b"s3cret" not in everything


def web_error(name: str) -> type[WebError]:
    import dicombridge.errors

    return getattr(dicombridge.errors, name)


def test_what_is_not_there(kept: Kept, tmp_path: Path) -> None:
    study, series, files = largest(kept)
    with pytest.raises(RefusedError) as caught:
        retrieved(kept.server, "1.2.3.4.5", directory=tmp_path / "none")
    assert caught.value.status == 404
    some = [sorted(files)[0], "1.2.3.4.5"]
    report = retrieved(kept.server, study, series, some, tmp_path / "some")
    assert (report.verified, report.missing, report.failed) == ((some[0],), ("1.2.3.4.5",), {})
    assert report.summary == "1 of 2 verified, 1 missing"
    assert not report.complete


@pytest.mark.parametrize("uid", ["../../etc", "1.2/3", "", "1.2\n", "1" * 65, "1..2"])
def test_what_is_no_uid_is_refused(uid: str, tmp_path: Path) -> None:
    for arguments in ((uid,), ("1.2", uid), ("1.2", "1.3", [uid])):
        with pytest.raises(DicomBridgeError, match="is not a"):
            retrieved(Server("http://127.0.0.1:9"), *arguments, directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_local_servers(kind: str, tmp_path: Path, own_cache: Path) -> None:
    """Copies, verified in the same way: what is damaged is not copied, what is there is not copied again."""
    source = tmp_path / "source"
    for number in range(6):
        write_ct(source / f"{number}.dcm", InstanceNumber=number + 1)
    paths = sorted(source.iterdir())
    whole = {str(pydicom.dcmread(path).SOPInstanceUID): path.read_bytes() for path in paths}
    broken = pydicom.dcmread(paths[0])
    paths[0].write_bytes(paths[0].read_bytes()[:-10])
    place = source
    if kind == "zip":
        place = tmp_path / "source.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for path in paths:
                archive.write(path, path.name)
    server, target = Server(str(place)), tmp_path / "target"
    told: list[TransferProgress] = []
    arrived: list[Path] = []
    study = str(broken.StudyInstanceUID)
    report = retrieved(server, study, directory=target, progress=told.append, arrived=arrived.extend)
    bad = str(broken.SOPInstanceUID)
    assert contents(report) == {uid: content for uid, content in whole.items() if uid != bad}
    assert list(report.failed) == [bad]
    assert "ends before" in report.failed[bad]
    assert report.summary == "5 of 6 verified, 1 failed"
    assert sorted(arrived) == sorted(report.files)
    assert told[-1].instances == 5
    again = retrieved(server, study, str(broken.SeriesInstanceUID), directory=target)
    assert (again.fetched, len(again.verified)) == (0, 5)
    uid = str(pydicom.dcmread(paths[1]).SOPInstanceUID)
    one = retrieved(server, study, str(broken.SeriesInstanceUID), [uid, "1.2.3"], tmp_path / "one")
    assert (one.verified, one.missing) == ((uid,), ("1.2.3",))
    cancel = Cancel()
    cancel.cancel()
    with pytest.raises(web_error("CancelledError")):
        retrieved(server, study, directory=tmp_path / "cancelled", cancel=cancel)
    with pytest.raises(DicomBridgeError, match="has no such"):
        retrieved(server, "1.2.3.4", directory=tmp_path / "absent")
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_cannot_be_used(kept: Kept, tmp_path: Path) -> None:
    study, series, _ = largest(kept)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DicomBridgeError, match="cannot be used"):
        retrieved(kept.server, study, series, directory=tmp_path / "file")
    (tmp_path / series).write_bytes(b"")
    with pytest.raises(DicomBridgeError, match="should be a folder"):
        retrieved(kept.server, study, series, directory=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "manifest.jsonl", series}
