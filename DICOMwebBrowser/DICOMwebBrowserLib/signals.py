"""Functions to be called when something happens, for objects that are no QObjects."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["Connections", "Signal"]

logger = logging.getLogger(__name__)


class Signal:
    """A list of functions. One that raises does not keep the others from being called."""

    def __init__(self) -> None:
        self._functions: list[Callable[..., Any]] = []

    def connect(self, function: Callable[..., Any]) -> Callable[[], None]:
        """Call a function from now on; return what ends that."""
        self._functions.append(function)

        def disconnect() -> None:
            if function in self._functions:
                self._functions.remove(function)

        return disconnect

    def emit(self, *values: Any) -> None:
        """Call the functions."""
        for function in list(self._functions):
            try:
                function(*values)
            except Exception:  # whatever it is, it is the function's own, and the others are still to be called
                logger.exception("DICOMwebBrowser: %s failed.", getattr(function, "__qualname__", function))


class Connections:
    """What a window has connected to a session that outlives it."""

    def __init__(self) -> None:
        self._ends: list[Callable[[], None]] = []

    def connect(self, signal: Signal, function: Callable[..., Any]) -> None:
        """Connect until :meth:`end`."""
        self._ends.append(signal.connect(function))

    def end(self) -> None:
        """Disconnect everything."""
        for end in self._ends:
            end()
        self._ends.clear()
