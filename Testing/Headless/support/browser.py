"""The DICOMweb browser's window, driven as a person would, and watched for how long it keeps anybody waiting."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from standins import qt_modules

qt_modules.as_pythonqt([__name__])

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
LIBRARY = Path(__file__).parents[3] / "DICOMPluginsExt"
SERVER = {"url": "http://pacs.invalid/dicom-web", "name": "Clinic"}
WIDTH, HEIGHT = 480, 900

PICTURES = os.environ.get("DICOMBRIDGE_WINDOW_PICTURES", "")
"""Folder for pictures of the window; none are made where it is not set."""


class Browser:
    """The module's window in a stand-in for Slicer.

    Parameters
    ----------
    options
        Of the fake worker; None for the real one.
    state
        Folder of the real worker's job list.
    """

    def __init__(self, options: dict[str, Any] | None = None, state: Path | None = None) -> None:
        from DICOMwebBrowserLib import session
        from DICOMwebBrowserLib.worker import Worker

        self._module = session
        if options is None:
            from dicombridge.web.worker.client import worker_arguments

            worker = Worker(sys.executable, worker_arguments(state))
        else:
            worker = Worker(sys.executable, ["-u", str(FAKE_WORKER), json.dumps(options)])
        self.session = session._session = session.Session(worker)
        self.notices: list[tuple[str, ...]] = []
        self.session.notice.connect(lambda *values: self.notices.append(values))
        self.open()

    def open(self) -> None:
        """Open the window, or a new one on the same session as reloading the module does."""
        from DICOMwebBrowser import DICOMwebBrowserWidget

        self.widget = DICOMwebBrowserWidget()
        self.widget.setup()
        self.window, self.ui = self.widget.window, self.widget.ui
        self.panel = self.widget.parent
        self.panel.resize(WIDTH, HEIGHT)
        self.panel.show()

    def reload(self) -> None:
        """Do what reloading the module does to its window."""
        self.close_window()
        self.open()

    def close_window(self) -> None:
        """Close the window; the session goes on."""
        self.widget.cleanup()
        self.panel.hide()
        self.panel.deleteLater()

    def close(self) -> None:
        """End window and session."""
        self.close_window()
        self._module.close()
        qt_modules.application().processEvents()

    def use(self, server: dict[str, Any] | None = None) -> None:
        """Add a server and choose it."""
        self.session.servers.put(server or SERVER)

    def wait(self, condition: Callable[[], Any], seconds: float = 60, what: str = "") -> None:
        """Let the event loop go on until something holds."""
        application, end = qt_modules.application(), time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                said = self.window.message.text if self.widget.window else ""
                raise AssertionError(f"not within {seconds} s: {what or condition}; the window says {said!r}")
            application.processEvents(qt_modules.QtCore.QEventLoop.WaitForMoreEvents, 20)

    def settle(self, seconds: float) -> None:
        """Let the event loop go on for a while."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= end, seconds + 5)

    def search(self, line: str = "", count: int | None = None) -> None:
        """Type a line, search, wait for the end, and for the rows."""
        self.ui.searchEdit.text = line
        self.ui.searchButton.click()
        self.wait(lambda: not self.session.query.is_running, what="the search ends")
        self.wait(lambda: not self.window.tree.is_busy, what="the rows are there")
        if count is not None:
            assert len(self.session.results.studies) == count

    def open_study(self, study: str) -> list[str]:
        """Open a study, wait for its series, return their UIDs."""
        self.window.tree.expand(study)
        self.wait(lambda: study in self.session.results.series, what="the series come")
        return list(self.session.results.series[study])

    def ended(self, count: int = 1) -> bool:
        """Whether there are so many transfers, and all have ended."""
        jobs = self.session.jobs.jobs
        return len(jobs) >= count and all(job.has_ended for job in jobs)

    def picture(self, name: str, widget: Any = None) -> None:
        """Keep a picture of the window, where somebody wants to look at it."""
        if PICTURES:
            self.settle(0.6)
            folder = Path(PICTURES)
            folder.mkdir(parents=True, exist_ok=True)
            (widget or self.panel).grab().save(str(folder / f"{name}.png"))

    @contextmanager
    def latency(self) -> Iterator[Latency]:
        """Measure for how long the event loop did not go on."""
        meter = Latency()
        try:
            yield meter
        finally:
            meter.stop()


class Latency:
    """A timer of 10 ms in the event loop.

    Attributes
    ----------
    longest
        Longest time between two of its ticks, in seconds, by the clock: that others use the machine counts, too.
    busiest
        Longest time of the processor that this thread used between two ticks: what the window itself makes of it.
    """

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()  # what other tests left is not the window's to look through
        self.longest, self.busiest, self.ticks = 0.0, 0.0, 0
        self._last, self._used = time.perf_counter(), time.thread_time()
        self._timer = qt_modules.QtCore.QTimer()
        self._timer.interval = 10
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now, used = time.perf_counter(), time.thread_time()
        self.longest, self._last = max(self.longest, now - self._last), now
        self.busiest, self._used = max(self.busiest, used - self._used), used
        self.ticks += 1

    def stop(self) -> None:
        """Stop measuring."""
        self._timer.stop()
        gc.unfreeze()
