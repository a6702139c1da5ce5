"""Stopping, and pausing, what runs in another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from dicombridge.errors import CancelledError

__all__ = ["Cancel"]


class Cancel:
    """What one job and those who may stop it share.

    The job asks :meth:`check` between pieces of work and waits with :meth:`wait`; whatever would block it longer, such
    as a socket, registers with :meth:`on_cancel` how it is interrupted. All methods may be called from any thread.

    >>> cancel = Cancel()
    >>> cancel.check()
    >>> cancel.cancel()
    >>> cancel.cancelled
    True
    >>> cancel.check()
    Traceback (most recent call last):
      ...
    dicombridge.errors.CancelledError: Cancelled.
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self._lock = threading.RLock()  # a function that handles a signal may come in the midst of any of these
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._next = 0

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._cancelled.is_set()

    @property
    def paused(self) -> bool:
        """Whether somebody asked to pause."""
        return not self._running.is_set()

    def cancel(self) -> None:
        """Ask to stop, and interrupt what blocks; a second call does nothing."""
        with self._lock:
            self._cancelled.set()
            self._running.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            with suppress(Exception):  # what one of them cannot do must not keep the others from stopping
                callback()

    def pause(self) -> None:
        """Let the job wait at its next :meth:`check`; nothing is interrupted."""
        with self._lock:
            if not self.cancelled:
                self._running.clear()

    def resume(self) -> None:
        """Let a paused job go on."""
        self._running.set()

    def check(self) -> None:
        """Return at once, or when the pause is over.

        Raises
        ------
        CancelledError
            Somebody asked to stop.
        """
        if not self._running.is_set():
            self._running.wait()
        if self._cancelled.is_set():
            raise CancelledError

    def wait(self, seconds: float) -> None:
        """Wait some seconds, unless somebody asks to stop.

        Raises
        ------
        CancelledError
            Somebody asked to stop.
        """
        if self._cancelled.wait(seconds):
            raise CancelledError

    def on_cancel(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call something once when somebody asks to stop, at once if that has happened.

        Returns
        -------
        function
            Takes the registration back.
        """
        with self._lock:
            key = self._next = self._next + 1
            self._callbacks[key] = callback
            if not self._cancelled.is_set():

                def remove() -> None:
                    with self._lock:
                        self._callbacks.pop(key, None)

                return remove
            called = self._callbacks.pop(key, None) is None
        if not called:
            with suppress(Exception):
                callback()
        return lambda: None
