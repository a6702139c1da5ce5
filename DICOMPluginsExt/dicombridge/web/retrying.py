"""When to ask again, and how long to wait before."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

__all__ = ["NEVER", "Retries", "retry_after"]

TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP status codes after which the same request may succeed."""


@dataclass(frozen=True)
class Retries:
    """How often a request is sent again, and after how long.

    Parameters
    ----------
    times
        How often, at most; 0 for never.
    first
        Seconds before the first repetition; they double each time, with a random part, so that many clients that a
        server sent away do not come back at the same moment.
    longest
        Most seconds to wait, also where the server asks for more: then its error is given to the caller instead.
    statuses
        HTTP status codes after which it is worth asking again.
    """

    times: int = 4
    first: float = 0.5
    longest: float = 60.0
    statuses: frozenset[int] = TEMPORARY

    def delay(self, number: int, asked: float | None = None) -> float | None:
        """Return how many seconds to wait before repetition ``number`` (from 0); None to give up.

        >>> Retries(times=1).delay(1) is None
        True
        >>> 2.0 <= Retries().delay(0, asked=2.0) <= 2.5
        True
        >>> Retries(longest=5).delay(0, asked=3600) is None
        True
        """
        if number >= self.times:
            return None
        own = min(self.first * 2**number, self.longest)
        if asked is None:
            return random.uniform(own / 2, own)
        if asked > self.longest:
            return None
        return asked + random.uniform(0, min(own, 0.5))


NEVER = Retries(times=0)


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, which may be a number or a date; None without one.

    >>> retry_after("120"), retry_after("soon"), retry_after(None)
    (120.0, None, None)
    """
    if not value:
        return None
    text = value.strip()
    if text.isdecimal() and text.isascii():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(moment.timestamp() - time.time(), 0.0)
