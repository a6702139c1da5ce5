"""Progress of work that has parts."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "part", "silent"]

Progress = Callable[[float, str], None]
"""Called with a fraction from 0 to 1 and a message."""


def part(progress: Progress | None, start: float, share: float) -> Progress | None:
    """Return what a part of the work calls with a fraction of its own, from 0 to 1; None where nobody listens.

    >>> part(lambda fraction, message: print(fraction, message), 0.5, 0.25)(1.0, "Done")
    0.75 Done
    """
    if progress is None:
        return None
    whole = progress
    return lambda fraction, message: whole(min(start + share * fraction, 1.0), message)


def silent(fraction: float, message: str) -> None:
    """Stand for a listener where nobody listens: ``tell = progress or silent``."""
