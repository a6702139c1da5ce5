"""What becomes of transfers that are cancelled, paused and interrupted, with a worker that answers when told to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from standins import qt_modules

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
pytestmark = pytest.mark.usefixtures("running_slicer")

LOST = {"kind": "WorkerLost", "message": "It ended.", "details": "", "needs": []}


class Request:
    """A request that was sent; the test says what comes of it."""

    def __init__(self, do: str, on: dict[str, Any], arguments: dict[str, Any]) -> None:
        self.do, self.arguments = do, arguments
        self.ended = False
        self.steered: list[str] = []
        self._on = on

    def answer(self, event: str, **members: Any) -> None:
        self._on[event](members)
        self.ended = event in ("done", "failed", "cancelled")

    def cancel(self) -> None:
        self.steered.append("cancel")

    def pause(self) -> None:
        self.steered.append("pause")

    def resume(self) -> None:
        self.steered.append("resume")


class Transfers:
    """The list of transfers with a worker, settings, indexing and loading of the test's own."""

    def __init__(self) -> None:
        from DICOMwebBrowserLib.jobs import Group, Job, Jobs
        from DICOMwebBrowserLib.signals import Signal

        self.restarted, self.failed = Signal(), Signal()
        self.sent: list[Request] = []
        self.loaded: list[list[str]] = []
        self.wishes: dict[str, str] = {}
        self.indexed: list[Any] = []
        worker = SimpleNamespace(restarted=self.restarted, failed=self.failed, ask=self._ask)
        indexing = SimpleNamespace(add=lambda files: None, when_done=self.indexed.append)
        settings = SimpleNamespace(value=lambda key, default: dict(self.wishes), set_value=self._set_value)
        self.jobs = Jobs(worker, indexing, settings, self._load)  # type: ignore[arg-type]
        self._job, self._group = Job, Group

    def _ask(self, do: str, on: dict[str, Any] | None = None, **arguments: Any) -> Request:
        self.sent.append(Request(do, on or {}, arguments))
        return self.sent[-1]

    def _set_value(self, key: str, value: dict[str, str]) -> None:
        self.wishes = value

    def _load(self, series: list[str]) -> tuple[str, bool]:
        self.loaded.append(series)
        return "Loaded.", False

    def retrieve(self, *series: str, action: str = "download", has_part: bool = False) -> list[Any]:
        """Begin to retrieve series that belong to one wish."""
        group = self._group(action)
        for uid in series:
            arguments = {"server": {"url": "https://h"}, "study": "1", "series": uid, "directory": "/x"}
            self.jobs.begin(self._job("retrieve", uid, "h", arguments, group, has_part=has_part))
        return list(group.jobs)

    def store(self, *paths: str) -> Any:
        """Begin to send files."""
        job = self._job("store", "t", "h", {"server": {"url": "https://h"}, "paths": list(paths)}, self._group("store"))
        self.jobs.begin(job)
        return job

    def lose(self, *jobs: Any) -> None:
        """Let the worker die under these transfers."""
        for job in jobs:
            job.sent.answer("failed", error=LOST)


def results(**states: str) -> list[dict[str, str]]:
    return [{"path": f"/{name}", "state": state} for name, state in states.items()]


def test_what_a_cancelled_store_did_not_come_to_is_sent_again() -> None:
    transfers = Transfers()
    job = transfers.store("/a", "/b", "/c")
    job.sent.answer("results", items=results(a="stored", b="failed"))
    job.sent.answer("cancelled")
    transfers.jobs.retry(job)
    assert transfers.sent[-1].arguments["paths"] == ["/a", "/b", "/c"]
    job.sent.answer("results", items=results(a="duplicate", b="failed", c="stored"))
    job.sent.answer("done", result={"failed": {"/b": "full"}})
    assert job.state == "partial"
    assert [one["path"] for one in job.results] == ["/a", "/b", "/c"]
    transfers.jobs.retry(job)  # that run came to its end: only what failed
    assert transfers.sent[-1].arguments["paths"] == ["/b"]
    job.sent.answer("results", items=results(b="failed"))
    job.sent.answer("cancelled")
    transfers.jobs.retry(job)
    job.sent.answer("results", items=results(b="stored"))
    job.sent.answer("done", result={})
    assert [(one["path"], one["state"]) for one in job.results] == [
        ("/a", "duplicate"),
        ("/c", "stored"),
        ("/b", "stored"),
    ]


def test_a_store_that_was_interrupted_tells_of_each_object_once() -> None:
    transfers = Transfers()
    job = transfers.store("/a", "/b")
    job.sent.answer("results", items=results(a="stored"))
    transfers.lose(job)
    transfers.restarted.emit()
    assert transfers.sent[-1].arguments["paths"] == ["/a", "/b"]
    job.sent.answer("results", items=results(a="duplicate", b="stored"))
    assert [one["path"] for one in job.results] == ["/a", "/b"]


def test_what_was_cancelled_or_paused_stays_so_when_the_worker_dies() -> None:
    transfers = Transfers()
    cancelled, paused, other = transfers.retrieve("1.1", "1.2", "1.3")
    transfers.jobs.cancel(cancelled)
    paused.sent.answer("state", state="running")
    transfers.jobs.pause(paused)
    transfers.lose(cancelled, paused, other)
    transfers.restarted.emit()
    assert [job.state for job in (cancelled, paused, other)] == ["cancelled", "paused", "waiting"]
    assert [one.arguments["series"] for one in transfers.sent[3:]] == ["1.3"]
    transfers.jobs.resume(paused)
    assert [one.arguments["series"] for one in transfers.sent[4:]] == ["1.2"]
    transfers.lose(paused, other)  # it was gone on with: it is sent again by itself
    transfers.restarted.emit()
    assert [one.arguments["series"] for one in transfers.sent[5:]] == ["1.2", "1.3"]
    transfers.jobs.retry(cancelled)
    transfers.lose(cancelled)
    assert cancelled.state == "waiting"


@pytest.mark.parametrize("wish", ["cancel", "pause"])
@pytest.mark.parametrize("answer", ["done", "failed"])
def test_an_answer_on_its_way_does_not_begin_what_nobody_wants_any_more(wish: str, answer: str) -> None:
    transfers = Transfers()
    (job,) = transfers.retrieve("1.1", has_part=True)
    getattr(transfers.jobs, wish)(job)
    assert transfers.sent[0].steered == [wish]
    job.sent.answer(answer, error={"kind": "RefusedError"}, result={})
    assert [one.do for one in transfers.sent] == ["search"]
    assert job.state == {"cancel": "cancelled", "pause": "paused"}[wish]
    (transfers.jobs.retry if wish == "cancel" else transfers.jobs.resume)(job)
    job.sent.answer("done", result={})
    assert [one.do for one in transfers.sent] == ["search", "search", "retrieve"]


def test_what_came_is_loaded_when_the_worker_is_given_up() -> None:
    transfers = Transfers()
    come, lacking = transfers.retrieve("1.1", "1.2", action="load")
    come.sent.answer("done", result={"summary": "1 of 1 verified"})
    transfers.indexed.pop()()
    assert come.state == "ready"
    transfers.lose(lacking)
    transfers.failed.emit("It cannot be kept running.", "")
    assert (come.state, lacking.state) == ("done", "failed")
    assert transfers.loaded == [["1.1"]]


def test_the_wish_to_load_is_forgotten_when_it_was_loaded() -> None:
    transfers = Transfers()
    come, lacking = transfers.retrieve("1.1", "1.2", action="load")
    for job, name in ((come, "a"), (lacking, "b")):
        job.sent.answer("kept", job=name)
    come.sent.answer("done", result={"summary": "1 of 1 verified"})
    transfers.indexed.pop()()
    assert (come.state, transfers.wishes) == ("ready", {"a": "load", "b": "load"})
    lacking.sent.answer("failed", error={"kind": "RefusedError", "message": "No."})
    assert (come.state, transfers.wishes) == ("done", {"b": "load"})
    (other,) = transfers.retrieve("1.3")
    other.sent.answer("kept", job="c")
    other.sent.answer("done", result={"summary": "1 of 1 verified"})
    transfers.indexed.pop()()
    assert (other.state, transfers.wishes) == ("done", {"b": "load"})


def test_wishes_of_which_nothing_is_left_are_forgotten() -> None:
    transfers = Transfers()
    transfers.wishes = {"come": "load", "interrupted": "load"}
    transfers.jobs.load_unfinished()
    arguments = {"server": {"url": "https://h"}, "study": "1", "series": "1.1", "directory": "/x"}
    entry = {"do": "retrieve", "job": "interrupted", "state": "interrupted", "arguments": arguments}
    transfers.sent[-1].answer("done", result={"jobs": [entry]})
    assert transfers.wishes == {"interrupted": "load"}
    assert [job.group.action for job in transfers.jobs.jobs] == ["load"]
