"""What leaves the worker: whole lines, no secrets in texts, and not more of them than a window can use."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dicombridge.web import secrets
from dicombridge.web.worker.protocol import to_line

__all__ = ["Batches", "Latest", "Lines", "Ticker", "hidden"]

INTERVAL = 0.1  # seconds between two events of a kind
MOST_ITEMS = 500
_TEXTS = ("error", "text", "what")  # members that hold words of ours or of a library, and no data


def hidden(value: Any) -> Any:
    """Return a JSON value without the secrets that this process knows: libraries repeat what they were given."""
    if isinstance(value, str):
        return secrets.hidden(value)
    if isinstance(value, Mapping):
        return {key: hidden(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(one) for one in value]
    return value


class Lines:
    """Writes objects as lines, from any thread.

    Parameters
    ----------
    write
        Takes bytes, all of them.
    broken
        Called once when nobody reads any more.
    """

    def __init__(self, write: Callable[[bytes], object], broken: Callable[[], object]) -> None:
        self._write, self._broken = write, broken
        self._lock = threading.Lock()
        self._closed = False

    def send(self, event: Mapping[str, Any]) -> None:
        """Write one object; data of the server stay as they are, texts lose secrets."""
        cleaned = {name: hidden(value) if name in _TEXTS else value for name, value in event.items()}
        try:
            line = to_line(cleaned)
        except (TypeError, ValueError):
            line = to_line(_plain(cleaned))
        with self._lock:
            if self._closed:
                return
            try:
                self._write(line)
                return
            except (OSError, ValueError):  # nobody reads; or the pipe is closed here
                self._closed = True
        self._broken()


def _plain(value: Any) -> Any:
    """Return what JSON can say of a value: servers send NaN, and an error may hold anything."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


class Ticker:
    """Calls back a moment later what holds events back; one thread for all, asleep while nothing is held."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: dict[Callable[[], object], float] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def call(self, function: Callable[[], object], seconds: float) -> None:
        """Call a function after some seconds; once, however often it is asked for until then."""
        with self._condition:
            if self._closed or function in self._waiting:
                return
            self._waiting[function] = time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)
                self._thread.start()
            self._condition.notify()

    def close(self) -> None:
        """End the thread; what is held is not called."""
        with self._condition:
            self._closed = True
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._closed:
                    return
                now = time.monotonic()
                due = [function for function, at in self._waiting.items() if at <= now]
                for function in due:
                    del self._waiting[function]
                if not due:
                    self._condition.wait(min(self._waiting.values()) - now if self._waiting else None)
            for function in due:
                function()


class Batches:
    """Items that become events of at most 500, at most ten times a second unless full, and never held longer.

    Parameters
    ----------
    send
        Takes a list of items.
    ticker
        Sends what waits when the source is slow.
    most
        Items of an event.
    """

    def __init__(self, send: Callable[[list[Any]], object], ticker: Ticker, most: int = MOST_ITEMS) -> None:
        self._send, self._ticker, self._most = send, ticker, most
        self._lock = threading.Lock()
        self._items: list[Any] = []
        self._sent = float("-inf")
        self.count = 0

    def add(self, *items: Any) -> None:
        """Take items; the first goes at once, so that a window has something to show."""
        with self._lock:
            for item in items:
                self._items.append(item)
                self.count += 1
                if len(self._items) >= self._most:
                    self._flush()
            if self._items and time.monotonic() - self._sent >= INTERVAL:
                self._flush()
            waits = bool(self._items)
        if waits:
            self._ticker.call(self.flush, INTERVAL)

    def extend(self, items: Iterable[Any]) -> None:
        """Take items one by one, as they come."""
        for item in items:
            self.add(item)

    def flush(self) -> None:
        """Send what waits."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if self._items:
            items, self._items = self._items, []
            self._sent = time.monotonic()
            self._send(items)


class Latest:
    """A value that changes often and of which the latest counts: sent at most ten times a second, the last always."""

    def __init__(self, send: Callable[[Any], object], ticker: Ticker) -> None:
        self._send, self._ticker = send, ticker
        self._lock = threading.Lock()
        self._value: Any = None
        self._sent = float("-inf")

    def set(self, value: Any) -> None:
        """Take a value."""
        with self._lock:
            self._value = value
            wait = self._sent + INTERVAL - time.monotonic()
            if wait <= 0:
                self._flush()
        if wait > 0:
            self._ticker.call(self.flush, wait)

    def flush(self) -> None:
        """Send the value if it was not sent yet."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if self._value is not None:
            value, self._value = self._value, None
            self._sent = time.monotonic()
            self._send(value)
