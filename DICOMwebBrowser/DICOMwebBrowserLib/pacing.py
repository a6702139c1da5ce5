"""Work of the window in slices of a few milliseconds, so that the event loop goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import qt

__all__ = ["Delay", "Pacer"]

logger = logging.getLogger(__name__)

SLICE = 0.008
"""Seconds that one slice takes, and the longest step of a piece of work on top of it."""


class Pacer:
    """Runs generators a slice at a time; each ``yield`` of them is a place where the event loop may go on."""

    def __init__(self) -> None:
        self._work: dict[str, Iterator[Any]] = {}
        self._timer = qt.QTimer()
        self._timer.interval = 1
        self._timer.timeout.connect(self._step)

    def run(self, name: str, work: Iterator[Any]) -> None:
        """Begin a piece of work; one of the same name that has not ended is dropped."""
        self._work.pop(name, None)
        self._work[name] = work
        self._timer.start()

    def run_now(self, name: str, work: Iterator[Any]) -> None:
        """Begin a piece of work, its first slice at once: what is small is done when this returns."""
        self.run(name, work)
        self._step()

    def drop(self, name: str) -> None:
        """Forget a piece of work."""
        self._work.pop(name, None)

    def is_running(self, name: str) -> bool:
        """Whether a piece of work has not ended."""
        return name in self._work

    def stop(self) -> None:
        """Forget all work."""
        self._work.clear()
        self._timer.stop()

    def _step(self) -> None:
        end = time.monotonic() + SLICE
        while self._work and time.monotonic() < end:
            name, work = next(iter(self._work.items()))
            try:
                next(work)
            except StopIteration:
                self._forget(name, work)
            except Exception:  # out of a timer's slot it would reach nobody, and come again every millisecond
                logger.exception("DICOMwebBrowser: %s failed.", name)
                self._forget(name, work)
        if not self._work:
            self._timer.stop()

    def _forget(self, name: str, work: Iterator[Any]) -> None:
        # What ended may have begun its successor under the same name.
        if self._work.get(name) is work:
            del self._work[name]


class Delay:
    """Calls a function once, some time after the last wish for it, or after the first."""

    def __init__(self, milliseconds: int, function: Callable[[], Any]) -> None:
        self._milliseconds, self._function = milliseconds, function
        self._is_waiting = False
        self._timer = qt.QTimer()
        self._timer.timeout.connect(self._fire)

    def start(self, milliseconds: int | None = None) -> None:
        """Wish; the time begins anew: for what is to wait until somebody rests."""
        self._is_waiting = True
        self._timer.start(self._milliseconds if milliseconds is None else milliseconds)

    def soon(self, milliseconds: int | None = None) -> None:
        """Wish; a wish that waits already is not put off: for what is to happen now and then."""
        if not self._is_waiting:
            self.start(milliseconds)

    def stop(self) -> None:
        """Take the wish back."""
        self._is_waiting = False
        self._timer.stop()

    def _fire(self) -> None:
        self.stop()
        self._function()
