"""The client where a function raises, and where a worker is lost with much still to dispatch."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.worker_driver import wait_until

from dicombridge.web.worker import protocol
from dicombridge.web.worker.client import Requests, WorkerError, WorkerProcess

SOON = 10.0  # seconds; a caller that waits so long waits for ever
ERRORS = [KeyError, ValueError, OSError, SystemExit]

# Answers with one batch and the end; "wait" has no end, and "die" ends the worker.
ECHO = """
import json, sys
cancelled = []
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "die":
        break
    if asked["do"] == "cancel":
        cancelled.append(asked["job"])
        continue
    print(json.dumps({"id": asked["id"], "event": "results", "items": [1, 2]}), flush=True)
    if asked["do"] != "wait":
        print(json.dumps({"id": asked["id"], "event": "done", "result": {"cancelled": cancelled}}), flush=True)
"""
ANSWER = {"cancelled": [], "items": [1, 2]}


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What reached `threading.excepthook`."""
    errors: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.append(args.exc_type))
    return errors


@pytest.fixture
def worker(raised: list[Any]) -> Iterator[WorkerProcess]:
    with WorkerProcess(command=[sys.executable, "-c", ECHO]) as one:
        yield one


def _raiser(kind: type[BaseException]) -> Any:
    def function(event: Any) -> None:
        raise kind("mine")

    return function


@pytest.mark.parametrize("kind", ERRORS)
def test_ask_raises_what_its_function_raised(worker: WorkerProcess, raised: list[Any], kind: type[Exception]) -> None:
    with pytest.raises(kind, match="mine"):
        worker.ask("ping", on={"done": _raiser(kind)}, timeout=SOON)
    assert worker.ask("ping", timeout=SOON) == ANSWER
    assert raised == []


def test_ask_cancels_a_request_whose_function_raised(worker: WorkerProcess) -> None:
    with pytest.raises(KeyError, match="mine"):
        worker.ask("wait", on={"results": _raiser(KeyError)}, timeout=SOON)
    assert worker.ask("ping", timeout=SOON) == {**ANSWER, "cancelled": ["1"]}


@pytest.mark.parametrize("kind", ERRORS)
def test_a_function_that_raises_does_not_end_the_reading(
    worker: WorkerProcess, raised: list[Any], kind: type[Exception]
) -> None:
    worker.send("ping", on={"done": _raiser(kind)})
    assert worker.ask("ping", timeout=SOON) == ANSWER
    assert raised == [kind]


def test_all_requests_end_with_the_worker_although_functions_raise(worker: WorkerProcess, raised: list[Any]) -> None:
    failures: list[str] = []
    for _ in range(2):
        worker.send("wait", on={"failed": _raiser(KeyError)})
        worker.send("wait", on={"failed": lambda event: failures.append(event["error"]["kind"])})
    with pytest.raises(WorkerError) as caught:
        worker.ask("die", timeout=SOON)
    assert caught.value.kind == "WorkerLost"
    assert failures == ["WorkerLost"] * 2
    assert raised == [KeyError] * 2
    assert worker.requests.open == []
    worker.send("ping", on={"failed": _raiser(ValueError)})  # where nobody reads any more
    wait_until(lambda: raised == [KeyError] * 2 + [ValueError], SOON)


@pytest.mark.parametrize("kind", ERRORS)
def test_dispatch_raises_what_a_function_raised_and_goes_on_behind_it(kind: type[Exception]) -> None:
    requests = Requests(lambda line: None)
    events: list[str] = []
    requests.send("ping", on={"done": _raiser(kind), "failed": _raiser(kind)})
    requests.send("ping", on={"*": lambda event: events.append(event["event"])})
    requests.take(b"".join(protocol.to_line({"id": id, "event": "done"}) for id in "12"))
    with pytest.raises(kind, match="mine"):
        requests.dispatch()
    requests.dispatch()
    assert events == ["done"]


# A worker that is lost --------------------------------------------------------------------------------------------


def _told(requests: Requests, events: list[str], **on: Any) -> None:
    requests.send("search", on={"*": lambda event: events.append(event["id"] + event["event"]), **on})


def test_lost_stops_when_its_time_is_over_and_tells_the_end_last() -> None:
    events: list[str] = []
    left: list[str] = []

    def lost(event: dict[str, Any]) -> None:
        events.append("lost")
        left.extend(sent.id for sent in event["requests"])

    requests = Requests(lambda line: None, {"lost": lost})
    for _ in range(3):
        _told(requests, events)
    lines = [{"id": "1", "event": "results", "items": []}] * 2 + [{"id": "2", "event": "done"}]
    requests.take(b"".join(map(protocol.to_line, lines)) + b'{"id": "3", "event": "do')
    assert requests.lost("The worker ended.", 0)
    assert events == ["1results"]
    while requests.dispatch(0):
        pass
    assert events == ["1results", "1results", "2done", "1failed", "3failed", "lost"]
    assert left == ["1", "3"]
    assert requests.open == []
    events.clear()
    _told(requests, events)  # a new worker behind the same object
    requests.feed(protocol.to_line({"id": "4", "event": "done"}))
    assert events == ["4done"]


def test_lost_without_a_limit_leaves_nothing() -> None:
    events: list[str] = []
    requests = Requests(lambda line: None)
    _told(requests, events)
    requests.take(protocol.to_line({"id": "1", "event": "results", "items": []}) * 5)
    assert requests.lost("The worker ended.") is False
    assert events == ["1results"] * 5 + ["1failed"]


def test_lost_reaches_the_requests_behind_one_that_raises() -> None:
    events: list[str] = []
    requests = Requests(lambda line: None, {"lost": lambda event: events.append("lost")})
    _told(requests, events, failed=_raiser(KeyError))
    _told(requests, events)
    with pytest.raises(KeyError):
        requests.lost("The worker ended.")
    assert not requests.dispatch()
    assert events == ["2failed", "lost"]
