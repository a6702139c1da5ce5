"""A driver of the worker whose engine is made up, and what tests of it share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dicombridge.web.worker.client import Sent, WorkerProcess

FAKES = Path(__file__).parent / "worker_of_fakes.py"
SERVER = {"url": "https://example.org/dicom-web", "authentication": {"kind": "basic", "user": "anna"}}
LONG = 60.0  # seconds until a test gives up


class Driver(WorkerProcess):
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


def wait_until(condition: Callable[[], Any], seconds: float = LONG) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.005)


def names_of(events: list[tuple[float, dict[str, Any]]]) -> list[str]:
    """Names of events, in their order."""
    return [event["event"] for _, event in events]


def states_of(events: list[tuple[float, dict[str, Any]]]) -> list[str]:
    """States that the worker told of a transfer."""
    return [event["state"] for _, event in events if event["event"] == "state"]


def jobs_of(worker: WorkerProcess) -> list[dict[str, Any]]:
    """What the worker lists as unfinished."""
    return list(worker.ask("jobs", timeout=LONG)["jobs"])
