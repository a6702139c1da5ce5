"""The job list on disk: what is unfinished is listed after a restart, whatever happened to the worker."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from support.worker_driver import LONG, SERVER, Driver, jobs_of, states_of, wait_until

from dicombridge.web.worker.client import WorkerError
from dicombridge.web.worker.jobs import JobList


def test_what_is_unfinished_is_listed_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Driver(state) as worker:
        done, _ = worker.retrieve(tmp_path / "done", keep=True)
        partial, _ = worker.retrieve(tmp_path / "partial", keep=True, transfer_syntax="1.3")
        wait_until(lambda: done.ended and partial.ended)
        cancelled, _ = worker.retrieve(tmp_path / "cancelled", keep=True, connections=16)
        cancelled.cancel()
        wait_until(lambda: cancelled.ended)
        running, events = worker.retrieve(tmp_path / "running", keep=True, connections=16, series="1.2.3")
        not_kept, _ = worker.retrieve(tmp_path / "not-kept", connections=16)
        wait_until(lambda: "running" in states_of(events))
        assert [job["state"] for job in jobs_of(worker)] == ["partial", "cancelled", "running"]
        with Driver(state) as other:  # another window does not take what is at work here
            assert [job["state"] for job in jobs_of(other)] == ["partial", "cancelled"]
            (name,) = {event["job"] for _, event in events if event["event"] == "kept"}
            with pytest.raises(WorkerError, match="at work already"):
                other.ask("retrieve", timeout=LONG, job=name, server=SERVER, study="1.2", directory=str(tmp_path / "x"))
        worker.kill()
        wait_until(lambda: running.ended and not_kept.ended)
    with Driver(state) as worker:
        jobs = jobs_of(worker)
        assert [job["state"] for job in jobs] == ["partial", "cancelled", "interrupted"]
        assert jobs[2]["do"] == "retrieve"
        assert jobs[2]["arguments"] == {
            "server": SERVER,
            "study": "1.2",
            "series": "1.2.3",
            "directory": str(tmp_path / "running"),
            "transfer_syntax": "*",
            "connections": 16,
            "priority": 0,
            "keep": True,
            "job": jobs[2]["job"],
        }
        again, events = worker.start(jobs[2]["do"], **{**jobs[2]["arguments"], "connections": 1})
        wait_until(lambda: again.ended)
        assert again.result["verified"] == ["1.2"]
        assert [event["job"] for _, event in events if event["event"] == "kept"] == [jobs[2]["job"]]
        for job in jobs[:2]:
            worker.ask("forget", job=job["job"], timeout=LONG)
        assert jobs_of(worker) == []
    assert list((state / "jobs").glob("*.json")) == []


def test_jobs_are_interrupted_when_stdin_closes(tmp_path: Path) -> None:
    with Driver(tmp_path / "state") as worker:
        sent, events = worker.retrieve(tmp_path / "a", keep=True, connections=16)
        hanging, of_hanging = worker.retrieve(tmp_path / "b", keep=True, transfer_syntax="1.2")
        wait_until(lambda: "running" in states_of(events) and "running" in states_of(of_hanging))
        begun = time.monotonic()
        assert worker.close(seconds=LONG) == 0
        assert time.monotonic() - begun < 10
    assert sent.ended
    assert hanging.ended
    states = [(job["state"], job["error"]) for job in JobList(tmp_path / "state").unfinished()]
    assert states == [("interrupted", None)] * 2


def test_a_job_list_that_cannot_be_written_does_not_stop_a_retrieval(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    with Driver(tmp_path / "state") as worker:
        sent, events = worker.retrieve(tmp_path / "a", keep=True)
        wait_until(lambda: sent.ended)
        assert sent.result["verified"] == ["1.2"]
        assert [event["text"] for _, event in events if event["event"] == "told"] == [
            "The job list cannot be written (Not a directory): this will not be listed after a restart."
        ]
        assert jobs_of(worker) == []


def test_damaged_entries_do_not_hide_the_others(tmp_path: Path) -> None:
    jobs = JobList(tmp_path)
    name = jobs.add("retrieve", {"study": "1.2"})
    folder = tmp_path / "jobs"
    for number, text in enumerate(("", "{", "[]", "null", '{"job": "x"}', '{"job": "' + "0" * 31 + '4", "owner": 5}')):
        (folder / f"{number:032x}.json").write_text(text)
    (folder / "notes.json").write_text("{}")
    assert [job["job"] for job in jobs.unfinished()] == [name]
    jobs.leave(name, "failed", {"kind": "UnreachableError", "message": "No."})
    assert jobs.unfinished()[0]["error"] == {"kind": "UnreachableError", "message": "No."}
    jobs.remove("../../something")
    jobs.remove(name)
    assert jobs.unfinished() == []
    jobs.close()


def test_an_entry_is_old_or_new_never_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = JobList(tmp_path)
    name = jobs.add("retrieve", {"study": "1.2"})

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        jobs.leave(name, "failed")
    monkeypatch.undo()
    files = sorted(file.suffix for file in (tmp_path / "jobs").iterdir())
    assert files == [".json", ".lock", ".lock"]
    jobs.close()
    assert [job["state"] for job in jobs.unfinished()] == ["interrupted"]
    assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0


def test_one_of_two_windows_gets_an_interrupted_job(tmp_path: Path) -> None:
    first = JobList(tmp_path)
    name = first.add("retrieve", {"study": "1.2"})
    first.close()
    got: list[str] = []
    lists = [JobList(tmp_path) for _ in range(8)]

    def take(jobs: JobList) -> None:
        try:
            got.append(jobs.add("retrieve", {"study": "1.2"}, name))
        except Exception as error:
            got.append(type(error).__name__)

    threads = [threading.Thread(target=take, args=[jobs]) for jobs in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted([name] + ["DicomBridgeError"] * 7)
    for jobs in lists:
        jobs.close()


def test_what_killed_workers_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    for name, age in (("worker-1-a.lock", 0), ("old.part", 7200), ("new.part", 0)):
        (folder / name).write_text("x")
        os.utime(folder / name, (time.time() - age,) * 2)
    other, jobs = JobList(tmp_path), JobList(tmp_path)
    first = other.add("retrieve", {"study": "1.2"})
    (lock,) = folder.glob("worker-*.lock")
    jobs.add("retrieve", {"study": "1.3"})
    assert lock.exists()  # that of a living one stays
    assert sorted(file.name for file in folder.glob("*.part")) == ["new.part"]
    assert first not in {job["job"] for job in jobs.unfinished()}
    other.close()
    assert first in {job["job"] for job in jobs.unfinished()}
    jobs.close()
