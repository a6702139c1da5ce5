"""Millions of decimal strings (VR DS, PS3.5 6.2) as numbers.

Most coordinates look like ``-123.456``. These are read eight characters at a time as one 64 bit number, for all of them
together; the results are those of :class:`float`. Whatever looks otherwise is left to numpy, or read one by one.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

__all__ = ["decimal_number", "decimal_numbers"]

_BACKSLASH, _MINUS, _POINT = b"\\-."
_ZEROS = np.uint64(0x3030303030303030)
_MOST_DIGITS = 15
"""Fewer than 2^53 has, so that their number and the power of ten are exact and their quotient is rounded once."""
_POWERS = 10.0 ** np.arange(_MOST_DIGITS + 1)
_STEP = 1 << 15
"""Numbers that are read at a time: what is in between stays in the cache."""


def decimal_numbers(text: bytes) -> NDArray[np.float64] | None:
    r"""Return the decimal strings between backslashes as numbers, None where one is none.

    >>> decimal_numbers(rb"1.50\-3\ 2e1 ")
    array([ 1.5, -3. , 20. ])
    """
    if not text:
        return np.zeros(0)
    found = _plain_numbers(text)
    if found is not None:
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # older versions of numpy warn where newer ones raise
        try:
            return np.fromstring(text, sep=" \\ ")
        except (ValueError, DeprecationWarning):
            return None


def decimal_number(raw: bytes) -> float:
    """Return one decimal string as a number, NaN where it is none."""
    try:
        return float(raw.strip(b" \0"))
    except ValueError:
        return math.nan


def _plain_numbers(text: bytes) -> NDArray[np.float64] | None:
    """Return numbers written with an optional minus, up to eight digits, and a point with up to eight more."""
    padded = b"0" * 8 + text + b"\\"  # eight characters in front of the first number's end are always there
    characters = np.frombuffer(padded, np.uint8)
    ends = np.flatnonzero(characters == _BACKSLASH)
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 8, ends[:-1] + 1
    points = _points(characters, starts, ends)
    if points is None:
        return None
    words: NDArray[np.uint64] = np.ndarray((len(padded) - 7,), np.dtype("<u8"), padded, strides=(1,))
    values = np.empty(len(ends))
    for first in range(0, len(ends), _STEP):
        part = slice(first, first + _STEP)
        numbers = _read(characters, words, starts[part], points[part], ends[part])
        if numbers is None:
            return None
        values[part] = numbers
    return values


def _points(
    characters: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return where each number's decimal point is, its end where it has none; None where one has two."""
    points = np.flatnonzero(characters == _POINT)
    if len(points) == len(ends) and bool(((points >= starts) & (points < ends)).all()):
        return points
    number = np.searchsorted(ends, points)
    if len(number) > 1 and bool((np.diff(number) == 0).any()):
        return None
    found = ends.copy()
    found[number] = points
    return found


def _read(
    characters: NDArray[np.uint8],
    words: NDArray[np.uint64],
    starts: NDArray[np.int64],
    points: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.float64] | None:
    negative = characters[starts] == _MINUS
    before = points - starts - negative
    after = np.maximum(ends - points - 1, 0)
    total = before + after
    if total.min() < 1 or before.min() < 0 or max(before.max(), after.max()) > 8 or total.max() > _MOST_DIGITS:
        return None
    whole = _digits(words[points - 8], before)
    fraction = _digits(words[ends - 8], after)
    if whole is None or fraction is None:
        return None
    power = _POWERS[after]
    numbers: NDArray[np.float64] = (whole * power + fraction) / power
    np.negative(numbers, out=numbers, where=negative)
    return numbers


def _digits(words: NDArray[np.uint64], count: NDArray[np.int64]) -> NDArray[np.uint64] | None:
    """Return the numbers that the last ``count`` (0 to 8) characters of words of eight are; None where one isn't.

    In memory the last character comes last, so in a little endian word it is the highest byte. Neighbouring digits are
    joined to pairs, pairs to fours, fours to eights, within the word.
    """
    shift = (np.uint64(8) * (np.uint64(8) - count.astype(np.uint64))) & np.uint64(63)
    digits = ((words ^ _ZEROS) >> shift) << shift
    digits[count == 0] = 0
    if ((digits | (digits + np.uint64(0x7676767676767676))) & np.uint64(0x8080808080808080)).any():
        return None
    digits = (digits * np.uint64(10) + (digits >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    digits = (digits * np.uint64(100) + (digits >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return (digits * np.uint64(10000) + (digits >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
