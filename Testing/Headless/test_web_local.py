"""Folders and zip files as servers: the same answers as a DICOMweb server gives, and nothing written where they lie."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import config
from support.folders import sample, write_ct
from support.scripted_quirks import ROOT, instance
from support.scripted_server import part10, scripted

from dicombridge import web
from dicombridge.database import FolderDatabase
from dicombridge.errors import CancelledError, DicomBridgeError, ExportError, UnreadableError
from dicombridge.web import local
from dicombridge.web.catalogue import details, instances, metadata
from dicombridge.web.local import zipped

OBJECTS = [
    *(instance(1, 1, number, PatientName="Müller^Eva", SpecificCharacterSet="ISO_IR 192") for number in (1, 2, 10)),
    instance(1, 2, 1, PatientName="Müller^Eva", SpecificCharacterSet="ISO_IR 192", Modality="SEG"),
    instance(2, PatientName="Doe^John", Modality="MR", NumberOfFrames=12),
    instance(3, PatientName="Doe^Jane", PatientID="P000002", StudyDate="", AccessionNumber=""),
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder"
    for number, one in enumerate(OBJECTS):
        path = folder / f"sub {number % 2}" / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part10(one))
    (folder / "notes.txt").write_text("no DICOM")
    return folder


@pytest.fixture
def zip_file(files: Path) -> Path:
    return Path(shutil.make_archive(str(files.parent / "archive"), "zip", files))


def uids(found: Any, keyword: str = "StudyInstanceUID") -> list[str]:
    return sorted(str(item[keyword]).removeprefix(f"{ROOT}.") for item in found)


FILTERS: list[dict[str, Any]] = [
    {},
    {"PatientName": "doe*"},
    {"PatientName": "M?ller*"},
    {"PatientName": "*e^J?n*"},
    {"PatientName": "Müller^Eva"},
    {"PatientID": "P000002"},
    {"AccessionNumber": "A2"},
    {"StudyDate": "20010101-20011231"},
    {"StudyDate": "20020303-"},
    {"StudyDate": "-20020302"},
    {"ModalitiesInStudy": "SEG"},
    {"ModalitiesInStudy": ["MR", "SEG"]},
    {"Modality": "CT"},
    {"StudyDescription": "Che*"},
    {"StudyInstanceUID": [f"{ROOT}.1", f"{ROOT}.3"]},
    {"StudyInstanceUID": "1.2.3"},
]


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize("level", ["patient", "study", "series", "instance"])
def test_the_same_answers_as_a_server(files: Path, level: str, filters: dict[str, Any]) -> None:
    """With a scripted server, whose matching is no code of ours."""
    if level != "study" and "Modality" in filters:
        filters = {"PatientSex": "F"}
    key = {"patient": "PatientID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}.get(
        level, "StudyInstanceUID"
    )
    with scripted(instances=OBJECTS) as one:
        expected = uids(web.search(web.Server(one.url), level, **filters), key)
    assert uids(web.search(web.Server(str(files)), level, **filters), key) == expected


def test_what_results_have(files: Path) -> None:
    """DICOMfileClient leaves out descriptions, accession numbers and dates of series."""
    server = web.Server(str(files))
    (study,) = web.search(server, study=f"{ROOT}.1", fields=["InstitutionName"])
    assert study["StudyDescription"] == "Chest"
    assert study["ModalitiesInStudy"] == ["CT", "SEG"]
    assert (study["NumberOfStudyRelatedSeries"], study["NumberOfStudyRelatedInstances"]) == (2, 4)
    assert (study["PatientName"], study["AccessionNumber"]) == ("Müller^Eva", "A1")
    assert study["InstitutionName"] == "Hospital"
    series = list(web.search(server, "series", study=f"{ROOT}.1", fields=["RescaleSlope", "AcquisitionMatrix"]))
    assert [one["SeriesDescription"] for one in series] == ["Series 1", "Series 2"]
    assert [one["NumberOfSeriesRelatedInstances"] for one in series] == [3, 1]
    assert [(one["RescaleSlope"], one["AcquisitionMatrix"]) for one in series] == [("", "")] * 2
    found = list(web.search(server, "instance", study=f"{ROOT}.1", series=f"{ROOT}.1.1"))
    assert [one["InstanceNumber"] for one in found] == [1, 2, 10]
    assert [one["Rows"] for one in found] == [16, 16, 16]


@pytest.mark.parametrize(
    ("level", "filters", "expected"),
    [
        ("study", {"SeriesDescription": "Series 2"}, ["1"]),
        ("study", {"Manufacturer": "scr*", "Modality": "MR"}, ["2"]),
        ("series", {"SeriesNumber": 2}, ["1"]),
        ("instance", {"InstanceNumber": "10"}, ["1"]),
        ("instance", {"SOPInstanceUID": f"{ROOT}.2.1.1"}, ["2"]),
        ("instance", {"Modality": "MR"}, ["2"]),
        ("series", {"SpecificCharacterSet": "ISO_IR 192"}, ["1", "1"]),
        ("study", {"ContentDate": "20200101"}, []),
        ("study", {"SOPInstanceUID": f"{ROOT}.1.1.10"}, ["1"]),
        ("series", {"SOPInstanceUID": f"{ROOT}.1.1.2"}, ["1"]),
        ("series", {"InstanceNumber": "10"}, ["1"]),
        ("study", {"InstanceNumber": "10", "Modality": "CT"}, ["1"]),
        ("study", {"InstanceNumber": "10", "SeriesDescription": "Series 2"}, []),
        ("patient", {"SOPInstanceUID": f"{ROOT}.1.1.10", "PatientName": "M*"}, ["P000001"]),
    ],
)
def test_filters_of_other_levels(files: Path, level: str, filters: dict[str, Any], expected: list[str]) -> None:
    found = web.search(web.Server(str(files)), level, **filters)
    assert uids(found, "PatientID" if level == "patient" else "StudyInstanceUID") == expected


def test_order_limit_offset_and_fuzzy(files: Path) -> None:
    server = web.Server(str(files))
    assert [item["StudyDate"] for item in web.search(server)] == ["20020303", "20010202", ""]
    assert uids(web.search(server, limit=1, offset=1)) == ["1"]
    assert uids(web.search(server, fuzzy=True, PatientName="eva mul")) == ["1"]
    assert [patient["PatientID"] for patient in web.search(server, "patient")] == ["P000002", "P000001"]


def test_addresses_of_folders(files: Path) -> None:
    """``file:///a%20b`` finds nothing in DICOMfileClient."""
    for address in (str(files), files.as_uri(), f"file://{files}"):
        assert len(list(web.search(web.Server(address)))) == 3


def test_nothing_is_written_into_the_folder_and_no_setting_changed(files: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in files.rglob("*")}
    modes = (config.settings.reading_validation_mode, config.settings.writing_validation_mode)
    for path in [files, *files.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        server = web.Server(str(files))
        list(web.search(server))
        details(server, f"{ROOT}.1", f"{ROOT}.1.1")
        web.thumbnails(server, f"{ROOT}.1", f"{ROOT}.1.1")
    finally:
        for path in [files, *files.rglob("*")]:
            path.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in files.rglob("*")} == before
    assert (config.settings.reading_validation_mode, config.settings.writing_validation_mode) == modes


def test_files_that_come_and_go(files: Path, reads: list[str]) -> None:
    """DICOMfileClient reads every file each time, and never forgets one."""
    server = web.Server(str(files))
    assert len(list(web.search(server, "instance"))) == 6
    assert len(reads) == 7
    write_ct(files / "new.dcm")
    (files / "sub 0" / "0.dcm").unlink()
    assert len(list(web.search(server, "instance"))) == 6
    assert reads[7:] == [str(files / "new.dcm")]


def test_any_thread_may_ask(files: Path) -> None:
    server, found = web.Server(str(files)), list[int]()
    with local.open(server) as archive:
        thread = threading.Thread(
            target=lambda: found.append(len(archive.files(f"{ROOT}.1")) + len(list(web.search(server))))
        )
        thread.start()
        thread.join()
    assert found == [7]


def test_details_and_headers(files: Path) -> None:
    server = web.Server(str(files))
    found = details(server, f"{ROOT}.1", f"{ROOT}.1.1")
    assert found.size_bytes == sum(len(part10(one)) for one in OBJECTS[:3])
    assert (found.instances, found.transfer_syntaxes) == (3, ("1.2.840.10008.1.2.1",))
    (header,) = metadata(server, f"{ROOT}.1", f"{ROOT}.1.1", f"{ROOT}.1.1.10")
    assert header["00200013"] == {"vr": "IS", "Value": [10]}
    assert header["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert {one.study for one in instances(server, f"{ROOT}.2")} == {f"{ROOT}.2"}
    with pytest.raises(DicomBridgeError, match="no series"):
        details(server, f"{ROOT}.2", f"{ROOT}.1.1")


def test_references_of_real_objects(data: Path) -> None:
    server = web.Server(str(data / "seg"))
    for series in web.search(server, "series", Modality="SEG", PatientID="99000"):
        (found,) = details(server, series["StudyInstanceUID"], series["SeriesInstanceUID"]).references
        assert (found.what, len(found.instances)) == ("CT Image", 3)
        (target,) = web.search(server, "series", study=found.study, series=found.series)
        assert target["Modality"] == "CT"


def test_pictures(files: Path, tmp_path: Path) -> None:
    found = web.thumbnails(web.Server(str(files)), f"{ROOT}.2", f"{ROOT}.2.1", frames=3, size=16)
    assert [one.frame for one in found] == [3, 7, 11]
    write_ct(tmp_path / "ct" / "a.dcm")
    (ct,) = web.thumbnails(web.Server(str(tmp_path / "ct")), "1.2.3", "1.2.3.4")
    assert ct.data.startswith(b"\xff\xd8\xff")
    assert web.thumbnails(web.Server(str(files)), "1.2", "1.2.3") == []


@pytest.mark.parametrize("name", ["MR_small_implicit.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm", "rtplan.dcm"])
def test_files_of_all_transfer_syntaxes(tmp_path: Path, name: str) -> None:
    """13 of 139 are refused by DICOMfileClient."""
    shutil.copyfile(sample(name), tmp_path / name)
    server = web.Server(str(tmp_path))
    (item,) = web.search(server, "instance")
    with local.open(server) as archive:
        (path,) = archive.files(item["StudyInstanceUID"], item["SeriesInstanceUID"], item["SOPInstanceUID"])
    assert path.read_bytes() == sample(name).read_bytes()
    (header,) = metadata(server, item["StudyInstanceUID"], item["SeriesInstanceUID"])
    assert header["00080018"]["Value"] == [item["SOPInstanceUID"]]


def test_a_search_of_a_folder_is_cancelled(files: Path) -> None:
    cancel = web.Cancel()
    found = web.search(web.Server(str(files)), "instance", cancel=cancel)
    next(found)
    cancel.cancel()
    with pytest.raises(CancelledError):
        next(found)
    with pytest.raises(CancelledError):
        list(web.search(web.Server(str(files)), cancel=cancel))


# --- Zip files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filters", [{}, {"PatientName": "doe*"}, {"StudyDate": "20010101-20011231"}])
def test_a_zip_file_answers_as_its_folder(files: Path, zip_file: Path, filters: dict[str, Any]) -> None:
    folder, archive = web.Server(str(files)), web.Server(str(zip_file))
    for level in ("patient", "study", "series", "instance"):
        own = {"MediaStorageSOPClassUID"}
        expected = [{k: v for k, v in item.items() if k not in own} for item in web.search(folder, level, **filters)]
        found = [{k: v for k, v in item.items() if k not in own} for item in web.search(archive, level, **filters)]
        assert found == expected
    assert details(archive, f"{ROOT}.1", f"{ROOT}.1.1") == details(folder, f"{ROOT}.1", f"{ROOT}.1.1")
    with local.open(archive) as opened:
        assert sorted(path.read_bytes() for path in opened.files(f"{ROOT}.1")) == sorted(map(part10, OBJECTS[:4]))


def test_a_zip_file_is_unpacked_once_and_again_when_it_changes(zip_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[Path] = []
    original = zipped._unpack
    monkeypatch.setattr(zipped, "_unpack", lambda path, cancel: unpacked.append(path) or original(path, cancel))
    server = web.Server(str(zip_file))
    assert (len(list(web.search(server))), len(list(web.search(server))), len(unpacked)) == (3, 3, 1)
    with zipfile.ZipFile(zip_file, "a") as archive:
        archive.writestr("new.dcm", part10(instance(9)))
    assert (len(list(web.search(server))), len(unpacked)) == (4, 2)


def test_names_within_a_zip_file_lead_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escaped.dcm", part10(instance(1)))
        archive.writestr("/absolute.dcm", part10(instance(2)))
        archive.writestr("same.dcm", part10(instance(3)))
        archive.writestr("notes.txt", "x" * 1000)
    assert len(list(web.search(web.Server(str(path))))) == 3
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a.zip", "in"]
    assert not Path("/absolute.dcm").exists()


def test_zip_files_that_cannot_be_read(tmp_path: Path, zip_file: Path) -> None:
    whole = zip_file.read_bytes()
    with zipfile.ZipFile(tmp_path / "damaged.zip", "w") as archive:
        archive.writestr("a.dcm", part10(OBJECTS[0]))
    stored = bytearray((tmp_path / "damaged.zip").read_bytes())
    stored[1000] ^= 1
    (tmp_path / "damaged.zip").write_bytes(stored)
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.dcm", part10(OBJECTS[0]))
    stored = bytearray((tmp_path / "lzma.zip").read_bytes())
    stored[60:80] = bytes(20)
    (tmp_path / "lzma.zip").write_bytes(stored)
    (tmp_path / "cut.zip").write_bytes(whole[:-100])
    (tmp_path / "text.zip").write_text("no zip")
    encrypted = bytearray(whole)
    for entry in re.finditer(rb"PK\x01\x02", whole):
        encrypted[entry.start() + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(encrypted)
    for name, words in (
        ("damaged", "is a damaged zip file"),
        ("lzma", "is a damaged zip file"),
        ("cut", "neither a folder nor a zip file"),
        ("text", "neither a folder nor a zip file"),
        ("locked", "is encrypted"),
    ):
        with pytest.raises(UnreadableError, match=words):
            list(web.search(web.Server(str(tmp_path / f"{name}.zip"))))
    with pytest.raises(DicomBridgeError, match="does not exist"):
        list(web.search(web.Server(str(tmp_path / "nowhere"))))


def test_unpacking_stops_when_it_is_cancelled_whoever_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while another job unpacks another file, and while the files are read."""
    for name in ("first", "second"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("a.dcm", part10(OBJECTS[0]))
    begun, go_on = threading.Event(), threading.Event()
    refresh = FolderDatabase.refresh

    def slow(self: FolderDatabase, progress: Any = None, cancelled: Any = None) -> Any:
        begun.set()
        while not go_on.wait(0.01):
            if cancelled is not None and cancelled():
                break
        return refresh(self, progress, cancelled)

    monkeypatch.setattr(FolderDatabase, "refresh", slow)
    left = set(Path(tempfile.gettempdir()).glob("dicombridge-zip-*"))
    cancels, ended = [web.Cancel(), web.Cancel()], []

    def ask(number: int) -> None:
        try:
            local.open(web.Server(str(tmp_path / f"{('first', 'second')[number]}.zip")), cancels[number])
        except CancelledError:
            ended.append(number)

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in (0, 1)]
    try:
        threads[0].start()
        assert begun.wait(10)
        threads[1].start()
        for number in (1, 0):
            cancels[number].cancel()
            threads[number].join(10)
        assert ended == [1, 0]
        assert set(Path(tempfile.gettempdir()).glob("dicombridge-zip-*")) == left
    finally:
        go_on.set()
        for thread in threads:
            thread.join(10)


def test_what_a_killed_process_unpacked_is_removed_by_the_next(zip_file: Path, tmp_path: Path) -> None:
    """There are patients in it. What a process that lives has unpacked stays."""
    code = (
        "import sys, time\nfrom dicombridge import web\n"
        "print(len(list(web.search(web.Server(sys.argv[1])))), flush=True)\ntime.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path), "TMP": str(tmp_path)}
    counts = []
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", code, str(zip_file)], stdout=subprocess.PIPE, env=environment)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"3"
            counts.append(len(list(tmp_path.glob("dicombridge-zip-*"))))
            if len(counts) == 2:
                process.kill()
                process.wait()
    assert counts == [1, 2, 2]


def test_a_zip_file_that_does_not_fit_is_not_unpacked(zip_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(zip_file)
    monkeypatch.setattr(zipped.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    os.utime(zip_file)
    with pytest.raises(UnreadableError, match="has no space"):
        list(web.search(web.Server(str(zip_file))))


# --- Adding --------------------------------------------------------------------------------------------------------


def test_adding_to_a_folder(files: Path, tmp_path: Path) -> None:
    server = web.Server(str(files))
    new = tmp_path / "new.dcm"
    new.write_bytes(part10(instance(5)))
    with local.open(server) as archive:
        added = archive.add(new)
        assert (added.instance, added.is_new) == (f"{ROOT}.5.1.1", True)
        assert added.path == files / f"{ROOT}.5" / f"{ROOT}.5.1" / f"{ROOT}.5.1.1.dcm"
        assert added.path.read_bytes() == new.read_bytes()
        assert archive.add(new).is_new is False
        # The one that lies elsewhere in the folder is found too.
        assert archive.add(files / "sub 0" / "0.dcm") == local.Added(files / "sub 0" / "0.dcm", f"{ROOT}.1.1.1", False)
        new.write_bytes(part10(instance(1, Rows=8)))
        with pytest.raises(ExportError, match="which is another"):
            archive.add(new)
    assert uids(web.search(server)) == ["1", "2", "3", "5"]


def test_what_cannot_be_added(files: Path, zip_file: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    with config.disable_value_validation():
        dataset.StudyInstanceUID = "../../x"
        dataset.save_as(tmp_path / "bad.dcm")
    (tmp_path / "text.dcm").write_text("no DICOM")
    with local.open(web.Server(str(files))) as archive:
        with pytest.raises(DicomBridgeError, match="not a StudyInstanceUID"):
            archive.add(tmp_path / "bad.dcm")
        with pytest.raises(UnreadableError):
            archive.add(tmp_path / "text.dcm")
        with pytest.raises(UnreadableError, match="cannot be read"):
            archive.add(tmp_path / "absent.dcm")
        (files / f"{ROOT}.7").write_text("in the way")
        (tmp_path / "seven.dcm").write_bytes(part10(instance(7)))
        with pytest.raises(ExportError, match="cannot be written to"):
            archive.add(tmp_path / "seven.dcm")
    with local.open(web.Server(str(zip_file))) as archive, pytest.raises(ExportError, match="zip file"):
        archive.add(tmp_path / "seven.dcm")
