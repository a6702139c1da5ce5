"""The worker as a process: several jobs, cancelling, hostile input, secrets, its end, and the job list on disk."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dicombridge.web.worker.client import Sent, WorkerError, WorkerProcess
from dicombridge.web.worker.jobs import JobList
from dicombridge.web.worker.protocol import MAXIMUM_LINE

FAKES = Path(__file__).parent / "support" / "worker_of_fakes.py"
SERVER = {"url": "https://example.org/dicom-web", "authentication": {"kind": "basic", "user": "anna"}}
PASSWORD = "correct-horse-battery"
LONG = 30.0  # seconds until a test gives up


class _Driver(WorkerProcess):
    """A worker of fakes, and all that it sent."""

    def __init__(self, state: Path) -> None:
        self.unbound: list[dict[str, Any]] = []
        super().__init__(command=[sys.executable, "-u", str(FAKES), str(state)], on={"*": self.unbound.append})

    def start(self, do: str, **arguments: Any) -> tuple[Sent, list[tuple[float, dict[str, Any]]]]:
        """Send, and keep the events with their time."""
        events: list[tuple[float, dict[str, Any]]] = []
        sent = self.send(do, on={"*": lambda event: events.append((time.monotonic(), event))}, **arguments)
        return sent, events

    def search(self, what: str, **arguments: Any) -> tuple[Sent, list[tuple[float, dict[str, Any]]]]:
        """Let the made up engine do something."""
        return self.start("search", server=SERVER, filters={"PatientName": what}, **arguments)

    def retrieve(self, directory: Path, **arguments: Any) -> tuple[Sent, list[tuple[float, dict[str, Any]]]]:
        """Let the made up engine retrieve."""
        return self.start("retrieve", server=SERVER, study="1.2", directory=str(directory), **arguments)

    def raw(self, line: bytes) -> None:
        """Write what no client would."""
        self._write(line)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[_Driver]:
    with _Driver(tmp_path / "state") as one:
        yield one


def _wait(condition: Callable[[], Any], seconds: float = LONG) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.005)


def _names(events: list[tuple[float, dict[str, Any]]]) -> list[str]:
    return [event["event"] for _, event in events]


def _states(events: list[tuple[float, dict[str, Any]]]) -> list[str]:
    return [event["state"] for _, event in events if event["event"] == "state"]


# Starting, asking, ending -----------------------------------------------------------------------------------------


def test_it_greets_answers_and_ends_with_its_stdin(worker: _Driver) -> None:
    assert worker.ask("ping", timeout=LONG) == {}
    (greeting,) = worker.unbound
    assert greeting["event"] == "ready"
    assert greeting["pid"] == worker.pid
    assert greeting["protocol"] == 1
    assert worker.close() == 0
    with pytest.raises(WorkerError) as caught:
        worker.ask("ping", timeout=LONG)
    assert caught.value.kind == "WorkerLost"


def test_as_a_module(tmp_path: Path) -> None:
    with WorkerProcess(state=tmp_path) as worker:
        assert worker.ask("jobs", timeout=LONG) == {"jobs": []}
    assert worker.log == []


def test_results_come_in_batches_and_at_once(worker: _Driver) -> None:
    sent, events = worker.search("items:20000")
    _wait(lambda: sent.ended)
    assert sent.result == {"count": 20000}
    batches = [event["items"] for _, event in events if event["event"] == "results"]
    assert [item["index"] for batch in batches for item in batch] == list(range(20000))
    assert max(map(len, batches)) == 500
    assert len(batches) < 80
    assert len(batches[0]) == 1  # a window shows something before the first batch is full


def test_items_of_a_slow_source_are_not_held_back(worker: _Driver) -> None:
    sent, events = worker.search("slow:3")
    _wait(lambda: sum(len(event.get("items", ())) for _, event in events) == 3)
    assert not sent.ended
    sent.cancel()
    _wait(lambda: sent.ended)
    assert _names(events)[-1] == "cancelled"


def test_progress_comes_ten_times_a_second_and_the_last_always(worker: _Driver, tmp_path: Path) -> None:
    sent, events = worker.retrieve(tmp_path / "a", connections=8)
    _wait(lambda: sent.ended)
    progress = [(at, event) for at, event in events if event["event"] == "progress"]
    assert progress[-1][1]["bytes"] == progress[-1][1]["total_bytes"] == 800
    seconds = progress[-1][0] - progress[0][0]
    assert 2 < len(progress) <= 10 * seconds + 3
    assert _states(events) == ["waiting", "running"]
    assert _names(events)[-1] == "done"


# Several at once --------------------------------------------------------------------------------------------------


def test_searches_do_not_wait_for_transfers(worker: _Driver, tmp_path: Path) -> None:
    transfers = [worker.retrieve(tmp_path / str(number), connections=16)[0] for number in range(4)]
    sent, _ = worker.search("items:5")
    _wait(lambda: sent.ended)
    assert not any(transfer.ended for transfer in transfers)


def test_two_transfers_run_and_the_highest_priority_first(worker: _Driver, tmp_path: Path) -> None:
    first, second, third, fourth = (worker.retrieve(tmp_path / str(number), connections=4) for number in range(4))
    _wait(lambda: _states(fourth[1]) == ["waiting"])
    assert _states(second[1]) == ["waiting", "running"]
    assert _states(third[1]) == ["waiting"]
    fourth[0].set_priority(1)
    _wait(lambda: "running" in _states(fourth[1]))
    _wait(lambda: all(one[0].ended for one in (first, second, third, fourth)))
    assert _states(first[1]) == ["waiting", "running"]
    # The second had to leave its place to the fourth, and went on later; nothing was begun anew.
    assert _states(second[1]) == ["waiting", "running", "waiting", "running"]
    assert all(one[0].result["verified"] for one in (first, second, third, fourth))
    ends = [one[1][-1][0] for one in (first, second, third, fourth)]
    assert ends[3] < ends[2]


def test_pause_gives_the_place_to_the_next(worker: _Driver, tmp_path: Path) -> None:
    first, second, third = (worker.retrieve(tmp_path / str(number), connections=3) for number in range(3))
    _wait(lambda: "running" in _states(first[1]))
    first[0].pause()
    _wait(lambda: third[0].ended and second[0].ended)
    assert _states(first[1]) == ["waiting", "running", "paused"]
    assert not first[0].ended
    first[0].resume()
    _wait(lambda: first[0].ended)
    assert _states(first[1]) == ["waiting", "running", "paused", "running"]


def test_transfers_into_one_directory_run_one_after_the_other(worker: _Driver, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first, second = worker.retrieve(tmp_path / "a"), worker.retrieve(tmp_path / "a" / ".." / "a")
    _wait(lambda: second[0].ended)
    first_end = first[1][-1][0]
    (second_start,) = (at for at, event in second[1] if event.get("state") == "running")
    assert first_end <= second_start


def test_many_at_once_each_with_one_end(worker: _Driver) -> None:
    jobs = [worker.search(f"items:{number}") for number in range(60)]
    for sent, _ in jobs[::3]:
        sent.cancel()
    _wait(lambda: all(sent.ended for sent, _ in jobs))
    for number, (sent, events) in enumerate(jobs):
        ends = [name for name in _names(events) if name in ("done", "failed", "cancelled")]
        assert len(ends) == 1
        if number % 3:
            assert sent.result == {"count": number}


# Cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["running", "hanging", "waiting"])
def test_cancel_is_answered_soon(worker: _Driver, tmp_path: Path, how: str) -> None:
    """200 ms are promised; the machine of this test may be busy, so that the best of a few counts."""
    took = []
    for number in range(5):
        busy = [worker.retrieve(tmp_path / f"{number}-{n}", connections=16)[0] for n in range(2 * (how == "waiting"))]
        syntax = "1.2" if how == "hanging" else "*"
        sent, events = worker.retrieve(tmp_path / str(number), connections=16, transfer_syntax=syntax)
        _wait(lambda events=events: _states(events)[-1:] == ["waiting" if how == "waiting" else "running"])
        begun = time.monotonic()
        sent.cancel()
        _wait(lambda sent=sent: sent.ended)
        assert sent.end is not None
        assert sent.end["event"] == "cancelled"
        took.append(events[-1][0] - begun)
        for other in busy:
            other.cancel()
        _wait(lambda busy=busy: all(other.ended for other in busy))
    assert min(took) < 0.2


def test_a_directory_stays_taken_while_a_cancelled_thread_hangs_in_it(worker: _Driver, tmp_path: Path) -> None:
    hanging, events = worker.retrieve(tmp_path / "a", transfer_syntax="1.2")
    _wait(lambda: "running" in _states(events))
    hanging.cancel()
    _wait(lambda: hanging.ended)
    again, of_again = worker.retrieve(tmp_path / "a")
    other, _ = worker.retrieve(tmp_path / "b")
    _wait(lambda: other.ended)
    assert _states(of_again) == ["waiting"]
    again.cancel()
    _wait(lambda: again.ended)


def test_hanging_jobs_do_not_use_up_the_places(worker: _Driver) -> None:
    for _ in range(3):
        hanging = [worker.search("hang")[0] for _ in range(6)]
        waiting, _ = worker.search("items:1")
        time.sleep(0.05)
        assert not waiting.ended
        for sent in hanging:
            sent.cancel()
        _wait(lambda waiting=waiting: waiting.ended)


def test_steering_what_is_not_there(worker: _Driver) -> None:
    assert worker.ask("cancel", job="99", timeout=LONG) == {"found": False}
    assert worker.ask("pause", job="99", timeout=LONG) == {"found": False}
    sent, events = worker.search("slow:1")
    with pytest.raises(WorkerError, match="search cannot be paused"):
        worker.ask("pause", job=sent.id, timeout=LONG)
    _wait(lambda: events)
    sent.cancel()
    _wait(lambda: sent.ended)
    assert worker.ask("cancel", job=sent.id, timeout=LONG) == {"found": False}


# Hostile input ----------------------------------------------------------------------------------------------------


def test_bad_lines_have_an_error_and_do_no_harm(worker: _Driver) -> None:
    lines = [
        b"nonsense\n",
        b"\xff\xfe\x00\n",
        b"[1, 2]\n",
        b'{"id": "x1", "do": "fly"}\n',
        b'{"id": "x2", "do": "search"}\n',
        b'{"id": "x3", "do": "search", "server": "\\ud800"}\n',
        b'{"id": "x4", "do": "search", "server": {"address": "https://h"}}\n',
        b'{"id": "x5", "do": "search", "server": ' + b"[" * 100_000 + b"\n",
        b'{"id": "x6", "do": "ping", "text": "' + b"a" * 10_000_000 + b'"}\n',
        b"a" * (MAXIMUM_LINE + 10) + b"\n",
        b"\n   \n\r\n",
    ]
    for line in lines:
        worker.raw(line)
    assert worker.ask("ping", timeout=LONG) == {}
    _wait(lambda: sum(event["event"] == "failed" for event in worker.unbound) >= 5)
    unknown = [event for event in worker.unbound if event["event"] == "failed"]
    assert {event["error"]["kind"] for event in unknown} == {"BadRequestError"}
    assert "32 MiB" in unknown[-1]["error"]["message"]
    assert max(len(event["error"]["message"]) for event in unknown) < 500


def test_bad_requests_fail_by_their_id(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", str(FAKES), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        lines = (
            b'{"id": "a", "do": "fly"}\n'
            b'{"id": "b", "do": "search", "server": "x", "filters": {"PatientName": "slow:1"}}\n'
            b'{"id": "b", "do": "ping"}\n'
            b'{"id": "b", "do": "fly"}\n'
            b'{"id": "c", "do": "search", "server": {"address": "h"}}\n'
            b'{"id": "d", "do": "ping"}\n{"id": "d", "do": "ping"}\n'
            b'{"id": "e", "do": "ping", "half of a line'
        )
        assert process.stdin
        process.stdin.write(lines)
        process.stdin.flush()
        time.sleep(0.5)
        output, _ = process.communicate(timeout=LONG)
    assert process.returncode == 0
    events = [json.loads(line) for line in output.splitlines()]
    ends = [(event.get("id"), event["event"]) for event in events if event["event"] in ("done", "failed", "cancelled")]
    assert sorted(ends, key=str) == sorted(
        [
            ("a", "failed"),
            (None, "failed"),
            (None, "failed"),
            ("b", "cancelled"),
            ("c", "failed"),
            ("d", "done"),
            ("d", "done"),  # an id may be used again after its end
            (None, "failed"),
        ],
        key=str,
    )


def test_only_lines_of_the_protocol_on_stdout(worker: _Driver) -> None:
    sent, _ = worker.search("prints")
    _wait(lambda: sent.ended)
    assert sent.result == {}
    assert [event["event"] for event in worker.unbound] == ["ready"]
    worker.close()
    log = "\n".join(worker.log)
    for text in ("a print", "no line end", "to the file itself", "a child", "from C", "a warning"):
        assert text in log


def test_values_that_json_lacks(worker: _Driver) -> None:
    sent, events = worker.search("odd")
    _wait(lambda: sent.ended)
    assert sent.result == {"infinite": None}
    assert events[0][1]["items"] == [{"nan": None, "path": "x", "half": "\ud800"}]


def test_a_client_that_does_not_read_does_not_keep_it(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", str(FAKES), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    with process, process.stdout, process.stdin:
        process.stdin.write(
            b'{"id": "a", "do": "search", "server": "x", "filters": {"PatientName": "items:1000000"}}\n'
        )
        process.stdin.flush()
        time.sleep(0.5)
        process.stdin.close()
        assert process.wait(LONG) == 0


def test_a_client_that_closes_its_end(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", str(FAKES), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    with process, process.stdin:
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b'{"id": "a", "do": "ping"}\n')
        process.stdin.flush()
        assert process.wait(LONG) == 0


# Errors and secrets -----------------------------------------------------------------------------------------------


def test_an_error_says_which_secret_is_missing(worker: _Driver) -> None:
    sent, _ = worker.search("refuses")
    _wait(lambda: sent.ended)
    with pytest.raises(WorkerError) as caught:
        _ = sent.result
    assert (caught.value.kind, caught.value.details, caught.value.needs) == ("AuthenticationError", "401", ["password"])


def test_secrets_are_known_at_once_and_seen_nowhere(worker: _Driver, tmp_path: Path) -> None:
    secret, _ = worker.start("secret", server=SERVER, field="password", value=PASSWORD)
    sent, events = worker.search("leaks")
    kept, _ = worker.retrieve(tmp_path / "a", keep=True, transfer_syntax="1.3")
    _wait(lambda: sent.ended and kept.ended)
    assert secret.result == {}
    with pytest.raises(WorkerError, match="the server did not like '\\(secret\\)'") as caught:
        _ = sent.result
    assert caught.value.kind == "RuntimeError"
    worker.close()
    coded = base64.b64encode(PASSWORD.encode()).decode()
    seen = repr([events, worker.unbound, worker.log])
    seen += "".join(file.read_text() for file in (tmp_path / "state").rglob("*") if file.is_file())
    assert "sent (secret)" in seen
    assert PASSWORD not in seen
    assert coded not in seen
    assert PASSWORD not in Path(f"/proc/{os.getpid()}/cmdline").read_text()


def test_a_secret_for_the_keychain_is_known_also_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    with _Driver(tmp_path / "state") as worker:
        with pytest.raises(WorkerError) as caught:
            worker.ask("secret", server=SERVER, field="password", value=PASSWORD, keep=True, timeout=LONG)
        assert caught.value.kind == "UnsupportedError"
        assert PASSWORD not in str(caught.value)
        with pytest.raises(WorkerError, match="did not like '\\(secret\\)'"):
            worker.ask("search", server=SERVER, filters={"PatientName": "leaks"}, timeout=LONG)
        assert worker.ask("secret", server=SERVER, field="password", timeout=LONG) == {}
        with pytest.raises(WorkerError) as forgotten:
            worker.ask("search", server=SERVER, filters={"PatientName": "leaks"}, timeout=LONG)
        assert forgotten.value.kind == "AssertionError"  # of the fake, which finds none


def test_a_person_is_asked_to_sign_in(worker: _Driver) -> None:
    sent, events = worker.search("sign-in")
    _wait(lambda: sent.ended)
    assert _names(events) == ["sign-in", "done"]
    assert {name: events[0][1][name] for name in ("url", "code", "seconds")} == {
        "url": "https://example.org/device",
        "code": "ABCD-EFGH",
        "seconds": 600.0,
    }


def test_a_server_with_a_secret_in_it_is_refused(worker: _Driver, tmp_path: Path) -> None:
    """The job list keeps the values of servers, so that these must be without secrets."""
    for members in (
        {"authentication": {"kind": "basic", "user": "anna", "password": PASSWORD}},
        {"headers": {"Authorization": f"Bearer {PASSWORD}"}},
        {"url": f"https://anna:{PASSWORD}@example.org/dicom-web"},
    ):
        sent, events = worker.start(
            "retrieve", server={**SERVER, **members}, study="1.2", directory=str(tmp_path / "a"), keep=True
        )
        _wait(lambda sent=sent: sent.ended)
        assert _names(events) == ["failed"]
        assert PASSWORD not in repr(events)
    assert _jobs(worker) == []
    assert all(PASSWORD not in file.read_text() for file in (tmp_path / "state").rglob("*") if file.is_file())


# The job list on disk ---------------------------------------------------------------------------------------------


def _jobs(worker: WorkerProcess) -> list[dict[str, Any]]:
    return list(worker.ask("jobs", timeout=LONG)["jobs"])


def test_what_is_unfinished_is_listed_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _Driver(state) as worker:
        done, _ = worker.retrieve(tmp_path / "done", keep=True)
        partial, _ = worker.retrieve(tmp_path / "partial", keep=True, transfer_syntax="1.3")
        _wait(lambda: done.ended and partial.ended)
        cancelled, _ = worker.retrieve(tmp_path / "cancelled", keep=True, connections=16)
        cancelled.cancel()
        _wait(lambda: cancelled.ended)
        running, events = worker.retrieve(tmp_path / "running", keep=True, connections=16, series="1.2.3")
        not_kept, _ = worker.retrieve(tmp_path / "not-kept", connections=16)
        _wait(lambda: "running" in _states(events))
        assert [job["state"] for job in _jobs(worker)] == ["partial", "cancelled", "running"]
        with _Driver(state) as other:  # another window does not take what is at work here
            assert [job["state"] for job in _jobs(other)] == ["partial", "cancelled"]
            (name,) = {event["job"] for _, event in events if event["event"] == "kept"}
            with pytest.raises(WorkerError, match="at work already"):
                other.ask("retrieve", timeout=LONG, job=name, server=SERVER, study="1.2", directory=str(tmp_path / "x"))
        worker.kill()
        _wait(lambda: running.ended and not_kept.ended)
    with _Driver(state) as worker:
        jobs = _jobs(worker)
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
        _wait(lambda: again.ended)
        assert again.result["verified"] == ["1.2"]
        assert [event["job"] for _, event in events if event["event"] == "kept"] == [jobs[2]["job"]]
        for job in jobs[:2]:
            worker.ask("forget", job=job["job"], timeout=LONG)
        assert _jobs(worker) == []
    assert list((state / "jobs").glob("*.json")) == []


def test_jobs_are_interrupted_when_stdin_closes(tmp_path: Path) -> None:
    with _Driver(tmp_path / "state") as worker:
        sent, events = worker.retrieve(tmp_path / "a", keep=True, connections=16)
        hanging, of_hanging = worker.retrieve(tmp_path / "b", keep=True, transfer_syntax="1.2")
        _wait(lambda: "running" in _states(events) and "running" in _states(of_hanging))
        begun = time.monotonic()
        assert worker.close(seconds=LONG) == 0
        assert time.monotonic() - begun < 10
    assert sent.ended
    assert hanging.ended
    states = [(job["state"], job["error"]) for job in JobList(tmp_path / "state").unfinished()]
    assert states == [("interrupted", None)] * 2


def test_a_job_list_that_cannot_be_written_does_not_stop_a_retrieval(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    with _Driver(tmp_path / "state") as worker:
        sent, events = worker.retrieve(tmp_path / "a", keep=True)
        _wait(lambda: sent.ended)
        assert sent.result["verified"] == ["1.2"]
        assert [event["text"] for _, event in events if event["event"] == "told"] == [
            "The job list cannot be written (Not a directory): this will not be listed after a restart."
        ]
        assert _jobs(worker) == []


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
