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
