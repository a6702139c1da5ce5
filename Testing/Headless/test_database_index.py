"""FolderDatabase: that it reads once, and what becomes of its index."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pydicom
import pytest
from support.folders import NAME, SERIES, reasons, write_ct

from dicombridge.database import FolderDatabase, header_values, index_file, open_files, open_folder
from dicombridge.database import folder as folder_database
from dicombridge.errors import UnreadableError

pytestmark = pytest.mark.usefixtures("own_cache")


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
from dicombridge.database import folder as folder_database
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
    environment = {**os.environ, "PYTHONPATH": str(Path(folder_database.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 9
    with open_folder(folder) as database:
        assert (database.report.indexed, database.report.unchanged) == (3, 2)


def test_progress_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicombridge.database.scan._SECONDS_BETWEEN_TICKS", 0.0)
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
    environment = {**os.environ, "PYTHONPATH": str(Path(folder_database.__file__).parents[2])}
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
    environment = {**os.environ, "PYTHONPATH": str(Path(folder_database.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
