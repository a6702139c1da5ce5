"""FolderDatabase: what it reads, what it survives, and that it does so once."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_charset_files
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.errors import BytesLengthException
from support.folders import NAME, PATIENT, SOP, reasons, sample, write_ct

from dicombridge.database import Database, FolderDatabase, header_values, open_files, open_folder
from dicombridge.database.indexed_tags import INDEXED_TAGS

pytestmark = pytest.mark.usefixtures("own_cache")


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
