"""FolderDatabase: what it reads, what it survives, and that it does so once."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.errors import BytesLengthException
from pydicom.uid import generate_uid

from dicombridge import folder_database, header_values, index_file
from dicombridge.database import Database, FolderDatabase, open_files, open_folder
from dicombridge.errors import UnreadableError
from dicombridge.indexed_tags import INDEXED_TAGS

SOP, SERIES, STUDY, PATIENT, NAME = "0008,0018", "0020,000E", "0020,000D", "0010,0020", "0010,0010"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the default index out of the user's cache folder."""
    cache = tmp_path_factory.mktemp("cache")
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(cache))
    return cache


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths of files that indexing reads, as they are read."""
    paths: list[str] = []
    original = header_values.read_indexed_values

    def counted(path: str) -> Any:
        paths.append(path)
        return original(path)

    monkeypatch.setattr(folder_database, "read_indexed_values", counted)
    return paths


def sample(name: str) -> Path:
    return Path(str(get_testdata_file(name)))


def write_ct(path: Path, **values: Any) -> pydicom.Dataset:
    """Write a small CT file; each has its own SOP Instance UID unless one is given."""
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.3.4", "1.2.3"
    for keyword, value in values.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    if "SOPInstanceUID" in dataset:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a series of five, written in another order than that of their numbers."""
    directory = tmp_path / "files"
    for number, name in enumerate("ecbda", start=1):
        write_ct(directory / f"{name}.dcm", InstanceNumber=number)
    return directory


def reasons(pairs: list[tuple[str, str]]) -> dict[str, str]:
    return {Path(path).name: reason for path, reason in pairs}


# -- the protocol --------------------------------------------------------------------------------------------


def test_is_a_database(folder: Path) -> None:
    with open_folder(folder) as database:
        assert isinstance(database, Database)
        assert database.patients() == ("1CT1",)
        assert database.studiesForPatient("1CT1") == ("1.2.3",)
        assert database.seriesForStudy("1.2.3") == ("1.2.3.4",)
        files = database.filesForSeries("1.2.3.4")
        assert files == tuple(str(folder / f"{name}.dcm") for name in "ecbda")
        assert database.filesForSeries("1.2.3.4", 2) == files[:2]
        instances = database.instancesForSeries("1.2.3.4")
        assert [database.fileForInstance(instance) for instance in instances] == list(files)
        assert [database.instanceForFile(file) for file in files] == list(instances)
        assert database.seriesForFile(files[0]) == "1.2.3.4"
        assert database.studyForSeries("1.2.3.4") == "1.2.3"
        assert database.patientForStudy("1.2.3") == "1CT1"
        assert database.allFiles() == tuple(sorted(files))
        assert repr(database).endswith("1 patients, 1 studies, 1 series, 5 instances)")


def test_what_is_missing_is_empty(folder: Path) -> None:
    with open_folder(folder) as database:
        file = database.allFiles()[0]
        for nothing in ("", "9.9.9"):
            assert database.studiesForPatient(nothing) == ()
            assert database.seriesForStudy(nothing) == ()
            assert database.instancesForSeries(nothing) == ()
            assert database.filesForSeries(nothing) == ()
            assert database.fileForInstance(nothing) == ""
            assert database.instanceForFile(nothing) == ""
            assert database.seriesForFile(nothing) == ""
            assert database.studyForSeries(nothing) == ""
            assert database.patientForStudy(nothing) == ""
            assert database.instanceValue(nothing, NAME) == ""
            assert database.fileValue(nothing, NAME) == ""
        assert database.fileValue(str(folder / "absent.dcm"), NAME) == ""
        assert database.fileValue(file, "0062,0001") == ""  # indexed, not in this object
        assert database.fileValue(file, "0009,9999") == ""  # not indexed, not in this object
        assert database.fileValue(file, "7FE0,0010") == ""
        for nonsense in ("", "PatientName", "0010|0010", "00100010", "0010,00", "zzzz,0010"):
            assert database.fileValue(file, nonsense) == ""


def test_values_as_text(folder: Path) -> None:
    with open_folder(folder) as database:
        file = database.filesForSeries("1.2.3.4")[0]
        sop = database.instanceForFile(file)
        assert database.fileValue(file, "0008,0008") == "ORIGINAL\\PRIMARY\\AXIAL"
        assert database.fileValue(file, "0020,0032") == "-158.135803\\-179.035797\\-75.699997"
        assert database.fileValue(file, "0028,0010") == "128"
        assert database.fileValue(file, "0028,0120") == "-2000"  # US or SS, by pixel representation
        assert database.fileValue(file, "0002,0010") == "1.2.840.10008.1.2.1"
        assert database.fileValue(file, "0020,000e") == "1.2.3.4"  # lower case too
        assert database.instanceValue(sop, "0020,0013") == "1"
        assert database.fileValue(file, "0010,1002") == ""  # OtherPatientIDsSequence
        # Read from the file since the index has not got them; twice, the second time from memory.
        for _ in range(2):
            assert database.fileValue(file, "0018,1150") == str(pydicom.dcmread(file).ExposureTime)
            assert database.fileValue(file, "0009,1001") == "GE_GENESIS_FF"


def test_file_outside_is_read_from_disk(folder: Path, tmp_path: Path) -> None:
    write_ct(tmp_path / "elsewhere.dcm", PatientID="other")
    with open_folder(folder) as database:
        assert database.fileValue(str(tmp_path / "elsewhere.dcm"), PATIENT) == "other"
        assert database.fileValue(str(tmp_path / "elsewhere.dcm"), "0008,0060") == "CT"
        assert database.instanceForFile(str(tmp_path / "elsewhere.dcm")) == ""


def test_relative_and_unnormalised_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    with open_folder("files") as database:
        assert database.filesForSeries("1.2.3.4")[0] == str(folder / "e.dcm")
        assert database.fileValue("files/../files/e.dcm", "0020,0013") == "1"
        assert database.instanceForFile("files/e.dcm") == database.instancesForSeries("1.2.3.4")[0]


def test_table_of_tags_agrees_with_the_dictionary() -> None:
    for tag, (key, vr, keyword) in INDEXED_TAGS.items():
        assert (keyword_for_tag(tag), dictionary_VR(tag)) == (keyword, vr)
        assert header_values.tag_key(tag) == key
        assert header_values.tag_number(key) == tag


def test_order_of_studies_and_series(tmp_path: Path) -> None:
    for number, (study, date, series, place) in enumerate(
        [("1.9", "20200101", "1.9.1", 10), ("1.9", "20200101", "1.9.2", 2), ("1.8", "20210101", "1.8.1", 1)]
    ):
        write_ct(
            tmp_path / f"{number}.dcm",
            StudyInstanceUID=study,
            StudyDate=date,
            SeriesInstanceUID=series,
            SeriesNumber=place,
        )
    with open_folder(tmp_path) as database:
        assert database.studiesForPatient("1CT1") == ("1.9", "1.8")
        assert database.seriesForStudy("1.9") == ("1.9.2", "1.9.1")


NOT_TEXT = frozenset({"AT", "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UN"})


# -- against pydicom -----------------------------------------------------------------------------------------


def expected_text(element: Any) -> str:
    """Return what pydicom says of an element, in ctk's form."""
    value = element.value
    values = list(value) if element.VM > 1 else [value]
    if element.VR in ("FL", "FD"):
        return "\\".join(repr(item).removesuffix(".0") for item in values)
    if element.VR in ("DS", "IS"):
        values = [getattr(item, "original_string", item) for item in values]
    texts = ["" if item is None else str(item) for item in values]
    if element.VR not in ("LT", "ST", "UT"):
        texts = [text.strip(" ") for text in texts]
    return "\\".join(texts).rstrip(" \0")


def readable_texts(dataset: pydicom.Dataset, tags: Container[int]) -> Iterator[tuple[str, str]]:
    """Yield key and text of the elements with these tags, as far as pydicom can read them."""
    for tag in sorted(dataset.keys()):
        if tag in tags:
            try:
                element = dataset[tag]
            except BytesLengthException:  # a decimal string where a binary number is due
                continue
            if element.VR not in NOT_TEXT:
                yield f"{tag >> 16:04X},{tag & 0xFFFF:04X}", expected_text(element)


def independent_index(directory: Path) -> dict[str, pydicom.Dataset]:
    found = {}
    for path in sorted(directory.rglob("*"), key=os.fsencode):
        if path.is_file():
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            if all(keyword in dataset for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")):
                found[str(path)] = dataset
    return found


def test_shared_data_as_pydicom_reads_it(data: Path) -> None:
    """Every file of the shared data, every indexed tag: the same values; the same instances, series and patients."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = independent_index(data)
        expected = {path: dict(readable_texts(dataset, INDEXED_TAGS)) for path, dataset in datasets.items()}
    first: dict[str, str] = {}
    for path, dataset in datasets.items():
        first.setdefault(str(dataset.SOPInstanceUID), path)
    with open_folder(data, index=":memory:") as database:
        assert set(database.allFiles()) == set(first.values())
        assert {path for path, _ in database.report.duplicates} == set(datasets) - set(first.values())
        assert database.report.indexed == len(datasets) > 900
        assert len(database.report.skipped) == sum(path.is_file() for path in data.rglob("*")) - len(datasets)
        differences = [
            (path, tag, database.fileValue(path, tag), value)
            for path, values in expected.items()
            for tag, value in values.items()
            if database.fileValue(path, tag) != value
        ]
        assert not differences
        for tag, _, _ in INDEXED_TAGS.values():
            if tag.startswith("0002"):
                continue
            for path, values in expected.items():
                if tag not in values:
                    assert database.fileValue(path, tag) == "", (path, tag)
        series = {str(datasets[path].SeriesInstanceUID) for path in first.values()}
        listed = [
            uid
            for patient in database.patients()
            for study in database.studiesForPatient(patient)
            for uid in database.seriesForStudy(study)
        ]
        assert set(listed) == series
        assert sorted(sum((database.filesForSeries(uid) for uid in series), ())) == sorted(first.values())


def test_other_tags_of_shared_data(data: Path) -> None:
    """Tags outside the index, read when asked for, on one file of each folder."""
    folders = {path.parent: str(path) for path in sorted(data.rglob("*.dcm"))}
    with open_files(folders.values()) as database, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compared = 0
        for path in database.allFiles():
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            others = {
                tag
                for tag in dataset.keys()  # noqa: SIM118 - a Dataset iterates over elements
                if tag not in INDEXED_TAGS and not tag.is_private and tag < 0x7FE00000
            }
            for key, value in readable_texts(dataset, others):
                assert database.fileValue(path, key) == value, (path, key)
                compared += 1
        assert compared > 200


@pytest.mark.parametrize("path", sorted(map(str, get_charset_files("*.dcm"))), ids=lambda path: Path(path).stem)
def test_character_sets(path: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        name, charset = str(dataset.get("PatientName", "")), dataset.get("SpecificCharacterSet")
    with FolderDatabase(tmp_path, ":memory:") as database:
        assert database.fileValue(path, NAME).rstrip("=") == name.rstrip()
        joined = charset if isinstance(charset, str) else "\\".join(charset or [])
        assert database.fileValue(path, "0008,0005") == joined


# -- odd files -----------------------------------------------------------------------------------------------


def save_in(path: Path, syntax: str) -> None:
    """Write a CT file in another transfer syntax, as pydicom does it."""
    dataset = write_ct(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].VR = "OW"
    little, implicit = syntax != "1.2.840.10008.1.2.2", syntax == "1.2.840.10008.1.2"
    pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little)


@pytest.fixture
def odd(folder: Path) -> Path:
    """Add one of each kind of odd file to the folder of five."""
    whole = (folder / "a.dcm").read_bytes()
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "readme.txt").write_text("This is a text.")
    (folder / "zeros.bin").write_bytes(bytes(100_000))
    (folder / "junk.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 500)
    (folder / "only_prefix.dcm").write_bytes(whole[:132])
    (folder / "cut_in_header.dcm").write_bytes(whole[:409])
    write_ct(folder / "cut_in_pixels.dcm")
    with (folder / "cut_in_pixels.dcm").open("r+b") as file:
        file.truncate(len(whole) - 1000)
    write_ct(folder / "cut_behind_uids.dcm")
    cut = (folder / "cut_behind_uids.dcm").read_bytes()
    (folder / "cut_behind_uids.dcm").write_bytes(cut[: cut.index(b"1.2.3.4") + 18])
    shutil.copy(sample("DICOMDIR"), folder / "DICOMDIR")
    for name, syntax in (
        ("deflated", "1.2.840.10008.1.2.1.99"),
        ("big_endian", "1.2.840.10008.1.2.2"),
        ("implicit", "1.2.840.10008.1.2"),
    ):
        save_in(folder / f"{name}.dcm", syntax)
    for name in ("implicit", "explicit"):
        bare = write_ct(folder / f"no_preamble_{name}.dcm")
        bare["PixelData"].VR = "OW"
        bare.preamble, bare.file_meta = None, pydicom.dataset.FileMetaDataset()
        pydicom.dcmwrite(folder / f"no_preamble_{name}.dcm", bare, implicit_vr=name == "implicit", little_endian=True)
    shutil.copy(folder / "e.dcm", folder / "z_duplicate.dcm")
    write_ct(folder / "no_sop.dcm", SOPInstanceUID=None)
    write_ct(folder / "no_series.dcm", SeriesInstanceUID=None)
    write_ct(folder / "no_study.dcm", StudyInstanceUID=None)
    write_ct(folder / "no_patient.dcm", PatientID=None, StudyInstanceUID="1.7", SeriesInstanceUID="1.7.1")
    return folder


def test_odd_files_are_named_and_none_is_fatal(odd: Path) -> None:
    with open_folder(odd) as database:
        report = database.report
        skipped, unusual = reasons(report.skipped), reasons(report.odd)
        assert skipped == {
            "DICOMDIR": "is a DICOMDIR, a list of other files, which are looked at one by one",
            "cut_in_header.dcm": skipped["cut_in_header.dcm"],
            "empty.dcm": "is empty",
            "junk.dcm": skipped["junk.dcm"],
            "no_series.dcm": "has no Series Instance UID, so it is left out",
            "no_sop.dcm": "has no SOP Instance UID, so it is left out",
            "no_study.dcm": "has no Study Instance UID, so it is left out",
            "only_prefix.dcm": skipped["only_prefix.dcm"],
            "readme.txt": "is not DICOM",
            "zeros.bin": "is not DICOM",
        }
        assert "cut short" in skipped["cut_in_header.dcm"]
        assert "cut short" in skipped["only_prefix.dcm"]
        assert skipped["junk.dcm"] == "has the mark of a DICOM file, but is cut short or damaged right behind it"
        assert unusual == {
            "big_endian.dcm": "is in big endian byte order",
            "cut_behind_uids.dcm": "is cut short within its header",
            "cut_in_pixels.dcm": unusual["cut_in_pixels.dcm"],
            "deflated.dcm": "is deflated",
            "no_preamble_explicit.dcm": "has no preamble (a DICOM file should begin with 128 bytes and 'DICM')",
            "no_preamble_implicit.dcm": "has no preamble (a DICOM file should begin with 128 bytes and 'DICM')",
        }
        assert "of 32768 bytes of its pixel data" in unusual["cut_in_pixels.dcm"]
        assert report.duplicates == [(str(odd / "z_duplicate.dcm"), str(odd / "e.dcm"))]
        instances = {Path(path).name for path in database.allFiles()}
        assert instances == {f"{n}.dcm" for n in "abcde"} | set(unusual) | {"implicit.dcm", "no_patient.dcm"}
        for path in map(str, sorted(odd.iterdir())):
            assert Path(path).name in str(report) or Path(path).name in instances


@pytest.mark.parametrize(
    "name", ["big_endian", "deflated", "implicit", "no_preamble_explicit", "no_preamble_implicit", "cut_in_pixels"]
)
def test_odd_encodings_have_the_same_values(odd: Path, name: str) -> None:
    plain, file = str(odd / "a.dcm"), str(odd / f"{name}.dcm")
    differing = {SOP, "0020,0013", "0002,0010", "0002,0002"}
    with open_folder(odd) as database:
        for key, _, _ in INDEXED_TAGS.values():
            if key not in differing:
                assert database.fileValue(file, key) == database.fileValue(plain, key), key
        assert database.instanceForFile(file) == str(pydicom.dcmread(file, force=True).SOPInstanceUID)
        assert database.fileValue(file, "0018,1150") == database.fileValue(plain, "0018,1150") != ""
        if name in ("big_endian", "deflated"):
            syntax = {"big_endian": "1.2.840.10008.1.2.2", "deflated": "1.2.840.10008.1.2.1.99"}[name]
            assert database.fileValue(file, "0002,0010") == syntax


def test_missing_patient_id_is_the_study(odd: Path) -> None:
    with open_folder(odd) as database:
        assert database.patients() == ("1.7", "1CT1")
        assert database.studiesForPatient("1.7") == ("1.7",)
        assert database.patientForStudy("1.7") == "1.7"


def test_report_of_an_unchanged_folder_names_all_again(odd: Path, reads: list[str]) -> None:
    with open_folder(odd) as database:
        first, count = database.report, len(reads)
        second = database.refresh()
        assert len(reads) == count
        assert (second.indexed, second.removed, second.unchanged) == (0, 0, count)
        assert (second.skipped, second.odd, second.duplicates) == (first.skipped, first.odd, first.duplicates)


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncated_anywhere(data: Path, tmp_path: Path, fraction: float) -> None:
    """Cut files are named in the report, whatever they hold and wherever they are cut."""
    sources = [
        sample("CT_small.dcm"),
        sample("MR_small_RLE.dcm"),
        sample("rtplan.dcm"),
        data / "seg" / "dcmqi_liver" / "liver.dcm",
        data / "images" / "enhanced_mr" / "philips_enhanced_anat.dcm",
    ]
    for number, source in enumerate(sources):
        content = source.read_bytes()
        (tmp_path / f"{number}.dcm").write_bytes(content[: int(len(content) * fraction)])
    with open_folder(tmp_path) as database:
        named = reasons(database.report.skipped) | reasons(database.report.odd)
        assert set(named) == {f"{number}.dcm" for number in range(len(sources))}
        assert len(database.report.skipped) + len(database.allFiles()) == len(sources)


def test_whole_files_are_not_called_cut(data: Path) -> None:
    with open_folder(data, index=":memory:") as database:
        assert not [entry for entry in database.report.odd if "cut" in entry[1]]


def test_byte_flips_are_never_fatal(tmp_path: Path) -> None:
    import random

    content = sample("CT_small.dcm").read_bytes()[:6000]
    generator = random.Random(1)
    for number in range(150):
        damaged = bytearray(content)
        for _ in range(20):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        (tmp_path / f"{number}.dcm").write_bytes(damaged)
    with open_folder(tmp_path) as database:
        assert database.report.indexed + len(database.report.skipped) == 150
        for path in map(str, tmp_path.iterdir()):
            database.fileValue(path, "0040,9999")


def test_value_outside_the_first_read(tmp_path: Path) -> None:
    """Indexed tags are found behind a long element, of defined and of undefined length."""
    for name, undefined in (("defined", False), ("undefined", True)):
        item = pydicom.Dataset()
        item.add_new(0x00204000, "LT", "x" * 9000)
        dataset = write_ct(tmp_path / f"{name}.dcm", SOPInstanceUID=f"1.2.{int(undefined)}")
        dataset.ReferencedImageSequence = [item] * 12
        dataset["ReferencedImageSequence"].is_undefined_length = undefined
        dataset.save_as(tmp_path / f"{name}.dcm")
    with open_folder(tmp_path) as database:
        assert not database.report.odd
        for name in ("defined", "undefined"):
            path = str(tmp_path / f"{name}.dcm")
            assert database.fileValue(path, "0028,0010") == "128"
            assert database.fileValue(path, "0008,1140") == ""


def test_pixel_data_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 64 MiB of pixel data: only its beginning is read."""
    path = folder / "big.dcm"
    dataset = write_ct(path, SOPInstanceUID="1.2.9")
    dataset.PixelData = b""
    dataset.save_as(path)
    content = bytearray(path.read_bytes())
    start = content.index(b"\xe0\x7f\x10\x00OW")
    length = 64 * 1024 * 1024
    content[start + 8 : start + 12] = length.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(content[: start + 12])
        file.truncate(start + 12 + length)

    def forbidden(*_arguments: Any, **_options: Any) -> Any:
        raise AssertionError("mapped")

    monkeypatch.setattr("mmap.mmap", forbidden)
    with open_folder(folder) as database:
        assert database.report.indexed == 6
        assert not database.report.odd


# -- incremental ---------------------------------------------------------------------------------------------


def test_nothing_is_read_twice(folder: Path, reads: list[str]) -> None:
    with open_folder(folder) as database:
        assert sorted(reads) == list(database.allFiles())
        assert (database.report.indexed, database.report.unchanged) == (5, 0)
        reads.clear()
    with open_folder(folder) as database:  # another database object, the same index
        assert (database.report.indexed, database.report.unchanged) == (0, 5)
        assert len(database.filesForSeries("1.2.3.4")) == 5
        write_ct(folder / "new" / "f.dcm", InstanceNumber=0)
        write_ct(folder / "a.dcm", InstanceNumber=77, PatientName="Changed^Name")
        assert database.fileValue(str(folder / "a.dcm"), "0020,0013") == "5"
        database.refresh()
        assert sorted(reads) == [str(folder / "a.dcm"), str(folder / "new" / "f.dcm")]
        assert database.fileValue(str(folder / "a.dcm"), "0020,0013") == "77"
        names = [Path(path).name for path in database.filesForSeries("1.2.3.4")]
        assert names == ["f.dcm", "e.dcm", "c.dcm", "b.dcm", "d.dcm", "a.dcm"]


def test_removed_files_are_forgotten(folder: Path) -> None:
    with open_folder(folder) as database:
        path = str(folder / "b.dcm")
        sop = database.instanceForFile(path)
        (folder / "b.dcm").unlink()
        assert database.refresh().removed == 1
        assert database.fileForInstance(sop) == ""
        assert database.fileValue(path, NAME) == ""
        assert len(database.instancesForSeries("1.2.3.4")) == 4


def test_duplicates_first_path_is_the_instance(folder: Path) -> None:
    sop = str(pydicom.dcmread(folder / "c.dcm").SOPInstanceUID)
    with open_folder(folder) as database:
        shutil.copy(folder / "c.dcm", folder / "0.dcm")  # comes later, sorts earlier
        shutil.copy(folder / "c.dcm", folder / "z.dcm")
        report = database.refresh()
        first = str(folder / "0.dcm")
        assert report.duplicates == [(str(folder / "c.dcm"), first), (str(folder / "z.dcm"), first)]
        assert database.fileForInstance(sop) == first
        assert len(database.filesForSeries("1.2.3.4")) == len(database.instancesForSeries("1.2.3.4")) == 5
        assert first in str(report)
        assert str(folder / "z.dcm") in str(report)
        (folder / "0.dcm").unlink()
        assert database.refresh().duplicates == [(str(folder / "z.dcm"), str(folder / "c.dcm"))]
        assert database.fileForInstance(sop) == str(folder / "c.dcm")
        (folder / "c.dcm").unlink()
        assert database.refresh().duplicates == []
        assert database.fileForInstance(sop) == str(folder / "z.dcm")


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_interruption_by_an_exception_keeps_what_is_done(
    folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    original = folder_database.__dict__["read_indexed_values"]

    def interrupted(path: str) -> Any:
        if len(reads) == 3:
            raise error
        return original(path)

    monkeypatch.setattr(folder_database, "read_indexed_values", interrupted)
    with FolderDatabase(folder) as database:
        with pytest.raises(error):
            database.refresh()
        assert len(database.allFiles()) == 3
    monkeypatch.setattr(folder_database, "read_indexed_values", original)
    with open_folder(folder) as database:
        assert (database.report.indexed, database.report.unchanged) == (2, 3)
        assert len(reads) == 5
        assert len(database.allFiles()) == 5


def test_cancelling(folder: Path, reads: list[str]) -> None:
    shutil.copy(folder / "a.dcm", folder / "z.dcm")
    with FolderDatabase(folder) as database:
        report = database.refresh(cancelled=lambda: len(reads) >= 2)
        assert report.cancelled
        assert "refresh()" in str(report)
        assert len(database.allFiles()) == 2
        assert database.refresh(cancelled=lambda: True).cancelled  # during the scan: nothing is forgotten
        assert len(database.allFiles()) == 2
        report = database.refresh()
        assert not report.cancelled
        assert (report.indexed, report.unchanged) == (4, 2)
        assert report.duplicates == [(str(folder / "z.dcm"), str(folder / "a.dcm"))]


def test_a_killed_process_keeps_its_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is committed is there without any clean-up: the process ends in the midst of the second batch."""
    code = f"""
import os
from dicombridge import folder_database
folder_database._BATCH = 2
read, count = folder_database.read_indexed_values, []
def limited(path):
    count.append(path)
    if len(count) == 4:
        os._exit(9)
    return read(path)
folder_database.read_indexed_values = limited
folder_database.FolderDatabase({str(folder)!r}).refresh()
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(folder_database.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 9
    with open_folder(folder) as database:
        assert (database.report.indexed, database.report.unchanged) == (3, 2)


def test_progress_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicombridge.folder_scan._SECONDS_BETWEEN_TICKS", 0.0)
    calls: list[tuple[float, str]] = []
    open_folder(folder, lambda fraction, message: calls.append((fraction, message))).close()
    fractions = [fraction for fraction, _ in calls]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    messages = [message for _, message in calls]
    assert "Looking for files: 5 found" in messages
    assert "Reading headers: 3 of 5 files" in messages
    assert messages[-1] == "5 files in the folder, 5 of them read now"


# -- names, links, folders -----------------------------------------------------------------------------------


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    directory = tmp_path / "Üntersuchung 検査"
    write_ct(directory / "Bild é.dcm", SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen", PatientID="ä1")
    with open_folder(directory) as database:
        assert database.patients() == ("ä1",)
        assert database.filesForSeries("1.2.3.4") == (str(directory / "Bild é.dcm"),)
        assert database.fileValue(str(directory / "Bild é.dcm"), NAME) == "Müller^Jürgen"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are text there")
def test_name_that_is_not_text(folder: Path) -> None:
    name = os.fsencode(folder) + b"/\xff\xfe.dcm"
    os.rename(folder / "a.dcm", name)  # noqa: PTH104 - a name in bytes
    with open_folder(folder) as database:
        assert os.fsdecode(name) in database.filesForSeries("1.2.3.4")
        assert database.fileValue(os.fsdecode(name), "0020,0013") == "5"
        assert database.refresh().unchanged == 5


def test_links(folder: Path, tmp_path: Path) -> None:
    write_ct(tmp_path / "other" / "x.dcm")
    try:
        (folder / "loop").symlink_to(folder, target_is_directory=True)
        (folder / "up").symlink_to(tmp_path, target_is_directory=True)
        (folder / "0other").symlink_to(tmp_path / "other", target_is_directory=True)
        (folder / "nowhere.dcm").symlink_to(tmp_path / "absent")
        (folder / "itself").symlink_to(folder / "itself")
    except OSError as error:
        pytest.skip(f"no links here: {error}")
    with open_folder(folder) as database:
        names = sorted(Path(path).name for path in database.allFiles())
        assert names == ["a.dcm", "b.dcm", "c.dcm", "d.dcm", "e.dcm", "x.dcm"]
        assert set(reasons(database.report.skipped)) == {"itself", "nowhere.dcm"}
        assert database.report.duplicates == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipe_does_not_hang(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with open_folder(folder) as database:
        assert reasons(database.report.skipped) == {"pipe": "is not a regular file"}


def test_unreadable_file_is_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = header_values.read_indexed_values

    def denied(path: str) -> Any:
        if path.endswith("b.dcm"):
            raise PermissionError(13, "Permission denied", path)
        return original(path)

    monkeypatch.setattr(folder_database, "read_indexed_values", denied)
    with open_folder(folder) as database:
        assert reasons(database.report.skipped) == {"b.dcm": "cannot be read (Permission denied)"}
        monkeypatch.setattr(folder_database, "read_indexed_values", original)
        report = database.refresh()
        assert (report.indexed, report.skipped) == (1, [])


def test_not_a_folder(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UnreadableError, match="does not exist"):
        open_folder(tmp_path / "absent")
    database = open_folder(folder)
    shutil.rmtree(folder)
    with pytest.raises(UnreadableError):
        database.refresh()
    assert len(database.allFiles()) == 5  # a drive that went away is not an empty folder
    database.close()
    with pytest.raises(UnreadableError, match="closed"):
        database.patients()
    folder.mkdir()
    with pytest.raises(UnreadableError, match="closed"):
        database.refresh()
    assert repr(database).endswith("closed)")


def test_empty_folder(tmp_path: Path) -> None:
    with open_folder(tmp_path) as database:
        assert database.patients() == ()
        assert str(database.report) == "0 files indexed, 0 unchanged, 0 removed"


def test_one_file(folder: Path, own_cache: Path) -> None:
    with open_folder(folder / "a.dcm") as database:
        assert database.allFiles() == (str(folder / "a.dcm"),)
        assert database.index == ":memory:"
        assert database.fileValue(str(folder / "b.dcm"), "0020,0013") == "3"
    (folder / "text.dcm").write_text("no")
    with pytest.raises(UnreadableError, match=r"text\.dcm: is not DICOM"):
        open_folder(folder / "text.dcm")
    assert list(own_cache.iterdir()) == []


def test_list_of_files(folder: Path, tmp_path: Path) -> None:
    write_ct(tmp_path / "other" / "x.dcm")
    paths: list[str | Path] = [
        folder / "b.dcm",
        tmp_path / "other" / "x.dcm",
        folder / "absent.dcm",
        str(folder / "b.dcm"),
    ]
    with open_files(paths) as database:
        assert set(database.allFiles()) == {str(paths[0]), str(paths[1])}
        assert set(reasons(database.report.skipped)) == {"absent.dcm"}
    with open_files([]) as database:
        assert database.allFiles() == ()


# -- the index -----------------------------------------------------------------------------------------------


def test_index_is_outside_the_data(folder: Path, own_cache: Path) -> None:
    before = sorted(folder.rglob("*"))
    with open_folder(folder) as database:
        assert own_cache in Path(database.index).parents
        if os.name == "posix":
            assert Path(database.index).stat().st_mode & 0o077 == 0  # it holds names of patients
    assert sorted(folder.rglob("*")) == before


def test_index_where_the_caller_wants_it(folder: Path) -> None:
    index = folder / "sub" / "index.sqlite"
    with open_folder(folder, index=index) as database:
        assert database.index == str(index)
        assert database.refresh().skipped == []  # the index itself is not looked at
    with open_folder(folder, index=index) as database:
        assert database.report.unchanged == 5


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000], ids=["text", "header"]
)
def test_damaged_index_is_made_anew(folder: Path, content: bytes) -> None:
    with open_folder(folder) as database:
        index = Path(database.index)
    index.write_bytes(content)
    with open_folder(folder) as database:
        assert len(database.allFiles()) == 5
        assert Path(database.index) == index
        assert any("damaged" in note for note in database.report.notes)
        assert index.with_name(index.name + ".damaged").read_bytes() == content
    with open_folder(folder) as database:
        assert (database.report.unchanged, database.report.notes) == (5, [])


def test_damage_found_later(folder: Path) -> None:
    """The header of the index is whole, a page behind it isn't."""
    with open_folder(folder) as database:
        index = Path(database.index)
    content = bytearray(index.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    index.write_bytes(content)
    with open_folder(folder) as database:
        assert len(database.allFiles()) == 5
        assert database.report.notes


def test_a_file_of_the_callers_is_never_renamed(folder: Path, tmp_path: Path) -> None:
    for name, make in (
        ("notes.txt", lambda path: path.write_text("mine" * 1000)),
        (
            "mine.sqlite",
            lambda path: (
                sqlite3.connect(path)
                .executescript("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)")
                .connection.close()
            ),
        ),
    ):
        path = tmp_path / name
        make(path)
        before = path.read_bytes()
        with open_folder(folder, index=path) as database:
            assert database.index == ":memory:"
            assert len(database.allFiles()) == 5
            assert any("index=" in note for note in database.report.notes)
        assert path.read_bytes() == before
        assert sorted(tmp_path.glob("*.damaged")) == []


def test_old_schema_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_folder(folder).close()
    monkeypatch.setattr(index_file, "_VERSION", 7)
    with open_folder(folder) as database:
        assert (database.report.indexed, database.report.notes) == (5, [])
    with open_folder(folder) as database:
        assert database.report.unchanged == 5


def test_index_of_another_folder(folder: Path, tmp_path: Path) -> None:
    write_ct(tmp_path / "other" / "x.dcm")
    index = tmp_path / "index.sqlite"
    open_folder(folder, index=index).close()
    with FolderDatabase(tmp_path / "other", index) as database:
        assert database.allFiles() == ()
        assert database.refresh().indexed == 1


def test_cache_folder_that_cannot_be_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "occupied").write_text("a file where a folder should be")
    monkeypatch.setattr(folder_database, "default_index_path", lambda _: str(tmp_path / "occupied" / "i.sqlite"))
    with open_folder(folder) as database:
        assert database.index == ":memory:"
        assert len(database.allFiles()) == 5
        assert "kept in memory" in str(database.report)


def test_locked_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_file, "_PATIENCE", 0.1)
    with open_folder(folder) as database:
        index = database.index
        other = sqlite3.connect(index)
        other.execute("BEGIN EXCLUSIVE")
        try:
            with open_folder(folder) as second:
                assert second.index == ":memory:"
                assert len(second.allFiles()) == 5
                assert "locked" in str(second.report)
            report = database.refresh()  # the lock came after it was opened
            assert len(database.allFiles()) == 5
            assert "locked" in str(report)
        finally:
            other.close()
    with open_folder(folder) as database:
        assert (database.index, database.report.unchanged) == (index, 5)


def test_processes_and_threads_at_once(folder: Path) -> None:
    for number in range(200):
        shutil.copy(folder / "a.dcm", folder / f"copy{number}.dcm")
    code = f"from dicombridge import open_folder; print(len(open_folder({str(folder)!r}).allFiles()))"
    environment = {**os.environ, "PYTHONPATH": str(Path(folder_database.__file__).parents[1])}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in started] == ["5"] * 3
    with open_folder(folder) as database:
        assert database.report.unchanged == 205
        assert len(database.report.duplicates) == 200
        connection = sqlite3.connect(database.index)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        failures: list[BaseException] = []

        def query() -> None:
            try:
                for path in database.allFiles() * 20:
                    assert database.fileValue(path, SERIES) == "1.2.3.4"
                database.refresh()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=query) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


def test_importing_is_light() -> None:
    code = (
        "import sys, dicombridge.database; print(sorted({'numpy', 'pydicom', 'vtk', 'highdicom'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(folder_database.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
