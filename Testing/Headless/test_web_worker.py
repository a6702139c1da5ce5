"""The worker as a process: several jobs, cancelling, hostile input, secrets, its end."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.worker_driver import FAKES, LONG, SERVER, Driver, jobs_of, names_of, states_of, wait_until

from dicombridge.web.worker.client import WorkerError, WorkerProcess
from dicombridge.web.worker.protocol import MAXIMUM_LINE

PASSWORD = "correct-horse-battery"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Driver]:
    with Driver(tmp_path / "state") as one:
        yield one


# Starting, asking, ending -----------------------------------------------------------------------------------------


def test_it_greets_answers_and_ends_with_its_stdin(worker: Driver) -> None:
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


def test_results_come_in_batches_and_at_once(worker: Driver) -> None:
    sent, events = worker.search("items:20000")
    wait_until(lambda: sent.ended)
    assert sent.result == {"count": 20000}
    batches = [event["items"] for _, event in events if event["event"] == "results"]
    assert [item["index"] for batch in batches for item in batch] == list(range(20000))
    assert max(map(len, batches)) == 500
    assert len(batches) < 80
    assert len(batches[0]) == 1  # a window shows something before the first batch is full


def test_items_of_a_slow_source_are_not_held_back(worker: Driver) -> None:
    sent, events = worker.search("slow:3")
    wait_until(lambda: sum(len(event.get("items", ())) for _, event in events) == 3)
    assert not sent.ended
    sent.cancel()
    wait_until(lambda: sent.ended)
    assert names_of(events)[-1] == "cancelled"


def test_progress_comes_ten_times_a_second_and_the_last_always(worker: Driver, tmp_path: Path) -> None:
    sent, events = worker.retrieve(tmp_path / "a", connections=8)
    wait_until(lambda: sent.ended)
    progress = [(at, event) for at, event in events if event["event"] == "progress"]
    assert progress[-1][1]["bytes"] == progress[-1][1]["total_bytes"] == 800
    seconds = progress[-1][0] - progress[0][0]
    assert 2 < len(progress) <= 10 * seconds + 3
    assert states_of(events) == ["waiting", "running"]
    assert names_of(events)[-1] == "done"


# Several at once --------------------------------------------------------------------------------------------------


def test_searches_do_not_wait_for_transfers(worker: Driver, tmp_path: Path) -> None:
    transfers = [worker.retrieve(tmp_path / str(number), connections=16)[0] for number in range(4)]
    sent, _ = worker.search("items:5")
    wait_until(lambda: sent.ended)
    assert not any(transfer.ended for transfer in transfers)


def test_two_transfers_run_and_the_highest_priority_first(worker: Driver, tmp_path: Path) -> None:
    first, second, third, fourth = (worker.retrieve(tmp_path / str(number), connections=4) for number in range(4))
    wait_until(lambda: states_of(fourth[1]) == ["waiting"])
    assert states_of(second[1]) == ["waiting", "running"]
    assert states_of(third[1]) == ["waiting"]
    fourth[0].set_priority(1)
    wait_until(lambda: "running" in states_of(fourth[1]))
    wait_until(lambda: all(one[0].ended for one in (first, second, third, fourth)))
    assert states_of(first[1]) == ["waiting", "running"]
    # The second had to leave its place to the fourth, and went on later; nothing was begun anew.
    assert states_of(second[1]) == ["waiting", "running", "waiting", "running"]
    assert all(one[0].result["verified"] for one in (first, second, third, fourth))
    ends = [one[1][-1][0] for one in (first, second, third, fourth)]
    assert ends[3] < ends[2]


def test_pause_gives_the_place_to_the_next(worker: Driver, tmp_path: Path) -> None:
    first, second, third = (worker.retrieve(tmp_path / str(number), connections=3) for number in range(3))
    wait_until(lambda: "running" in states_of(first[1]))
    first[0].pause()
    wait_until(lambda: third[0].ended and second[0].ended)
    assert states_of(first[1]) == ["waiting", "running", "paused"]
    assert not first[0].ended
    first[0].resume()
    wait_until(lambda: first[0].ended)
    assert states_of(first[1]) == ["waiting", "running", "paused", "running"]


def test_transfers_into_one_directory_run_one_after_the_other(worker: Driver, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first, second = worker.retrieve(tmp_path / "a"), worker.retrieve(tmp_path / "a" / ".." / "a")
    wait_until(lambda: second[0].ended)
    first_end = first[1][-1][0]
    (second_start,) = (at for at, event in second[1] if event.get("state") == "running")
    assert first_end <= second_start


def test_many_at_once_each_with_one_end(worker: Driver) -> None:
    jobs = [worker.search(f"items:{number}") for number in range(60)]
    for sent, _ in jobs[::3]:
        sent.cancel()
    wait_until(lambda: all(sent.ended for sent, _ in jobs))
    for number, (sent, events) in enumerate(jobs):
        ends = [name for name in names_of(events) if name in ("done", "failed", "cancelled")]
        assert len(ends) == 1
        if number % 3:
            assert sent.result == {"count": number}


# Cancelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["running", "hanging", "waiting"])
def test_cancel_is_answered_soon(worker: Driver, tmp_path: Path, how: str) -> None:
    """200 ms are promised; the machine of this test may be busy, so that the best of a few counts."""
    took = []
    for number in range(5):
        busy = [worker.retrieve(tmp_path / f"{number}-{n}", connections=16)[0] for n in range(2 * (how == "waiting"))]
        syntax = "1.2" if how == "hanging" else "*"
        sent, events = worker.retrieve(tmp_path / str(number), connections=16, transfer_syntax=syntax)
        wait_until(lambda events=events: states_of(events)[-1:] == ["waiting" if how == "waiting" else "running"])
        begun = time.monotonic()
        sent.cancel()
        wait_until(lambda sent=sent: sent.ended)
        assert sent.end is not None
        assert sent.end["event"] == "cancelled"
        took.append(events[-1][0] - begun)
        for other in busy:
            other.cancel()
        wait_until(lambda busy=busy: all(other.ended for other in busy))
    assert min(took) < 0.2


def test_a_directory_stays_taken_while_a_cancelled_thread_hangs_in_it(worker: Driver, tmp_path: Path) -> None:
    hanging, events = worker.retrieve(tmp_path / "a", transfer_syntax="1.2")
    wait_until(lambda: "running" in states_of(events))
    hanging.cancel()
    wait_until(lambda: hanging.ended)
    again, of_again = worker.retrieve(tmp_path / "a")
    other, _ = worker.retrieve(tmp_path / "b")
    wait_until(lambda: other.ended)
    assert states_of(of_again) == ["waiting"]
    again.cancel()
    wait_until(lambda: again.ended)


def test_hanging_jobs_do_not_use_up_the_places(worker: Driver) -> None:
    for _ in range(3):
        hanging = [worker.search("hang")[0] for _ in range(6)]
        waiting, _ = worker.search("items:1")
        time.sleep(0.05)
        assert not waiting.ended
        for sent in hanging:
            sent.cancel()
        wait_until(lambda waiting=waiting: waiting.ended)


def test_steering_what_is_not_there(worker: Driver) -> None:
    assert worker.ask("cancel", job="99", timeout=LONG) == {"found": False}
    assert worker.ask("pause", job="99", timeout=LONG) == {"found": False}
    sent, events = worker.search("slow:1")
    with pytest.raises(WorkerError, match="search cannot be paused"):
        worker.ask("pause", job=sent.id, timeout=LONG)
    wait_until(lambda: events)
    sent.cancel()
    wait_until(lambda: sent.ended)
    assert worker.ask("cancel", job=sent.id, timeout=LONG) == {"found": False}


# Hostile input ----------------------------------------------------------------------------------------------------


def test_bad_lines_have_an_error_and_do_no_harm(worker: Driver) -> None:
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
    wait_until(lambda: sum(event["event"] == "failed" for event in worker.unbound) >= 5)
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
        assert process.stdout
        output = []
        while not (any(b'"c"' in line for line in output) and any(b'"results"' in line for line in output)):
            output.append(process.stdout.readline())
        process.stdin.close()
        output += process.stdout.readlines()
    assert process.returncode == 0
    events = [json.loads(line) for line in output]
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


def test_only_lines_of_the_protocol_on_stdout(worker: Driver) -> None:
    sent, _ = worker.search("prints")
    wait_until(lambda: sent.ended)
    assert sent.result == {}
    assert [event["event"] for event in worker.unbound] == ["ready"]
    worker.close()
    log = "\n".join(worker.log)
    for text in ("a print", "no line end", "to the file itself", "a child", "from C", "a warning"):
        assert text in log


def test_values_that_json_lacks(worker: Driver) -> None:
    sent, events = worker.search("odd")
    wait_until(lambda: sent.ended)
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


def test_an_error_says_which_secret_is_missing(worker: Driver) -> None:
    sent, _ = worker.search("refuses")
    wait_until(lambda: sent.ended)
    with pytest.raises(WorkerError) as caught:
        _ = sent.result
    assert (caught.value.kind, caught.value.details, caught.value.needs) == ("AuthenticationError", "401", ["password"])


def test_secrets_are_known_at_once_and_seen_nowhere(worker: Driver, tmp_path: Path) -> None:
    secret, _ = worker.start("secret", server=SERVER, field="password", value=PASSWORD)
    sent, events = worker.search("leaks")
    kept, _ = worker.retrieve(tmp_path / "a", keep=True, transfer_syntax="1.3")
    wait_until(lambda: sent.ended and kept.ended)
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
    with Driver(tmp_path / "state") as worker:
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


def test_a_person_is_asked_to_sign_in(worker: Driver) -> None:
    sent, events = worker.search("sign-in")
    wait_until(lambda: sent.ended)
    assert names_of(events) == ["sign-in", "done"]
    assert {name: events[0][1][name] for name in ("url", "code", "seconds")} == {
        "url": "https://example.org/device",
        "code": "ABCD-EFGH",
        "seconds": 600.0,
    }


def test_a_server_with_a_secret_in_it_is_refused(worker: Driver, tmp_path: Path) -> None:
    """The job list keeps the values of servers, so that these must be without secrets."""
    for members in (
        {"authentication": {"kind": "basic", "user": "anna", "password": PASSWORD}},
        {"headers": {"Authorization": f"Bearer {PASSWORD}"}},
        {"url": f"https://anna:{PASSWORD}@example.org/dicom-web"},
    ):
        sent, events = worker.start(
            "retrieve", server={**SERVER, **members}, study="1.2", directory=str(tmp_path / "a"), keep=True
        )
        wait_until(lambda sent=sent: sent.ended)
        assert names_of(events) == ["failed"]
        assert PASSWORD not in repr(events)
    assert jobs_of(worker) == []
    assert all(PASSWORD not in file.read_text() for file in (tmp_path / "state").rglob("*") if file.is_file())
