r"""Millions of numbers as decimal strings (VR DS, PS3.5 6.2), each followed by a backslash.

Texts are kept in words of eight characters, in which those that a text does not need are zero: so all texts have the
same size, arrays of them are made from tables, and one call takes the zeros out of the texts of a whole contour.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dicombridge.encode import decimal_string

__all__ = ["number_words", "text_of_words", "text_words"]

Words = NDArray[np.uint64]

DECIMALS = 4
"""Of numbers in mm: a tenth of a micrometre."""
_PARTS = 10**DECIMALS
_TABLE = 10_000
"""Numbers smaller than this are made from tables; coordinates of patients are."""


def text_words(texts: Iterable[str]) -> Words:
    r"""Return texts, each with a backslash behind it, as (n, words).

    >>> text_of_words(text_words(["-12.5", "0.33333333333333"]))
    b'-12.5\\0.33333333333333'
    """
    characters = np.array([f"{text}\\".encode("ascii") for text in texts], np.bytes_)
    return characters.astype(f"S{-(-characters.itemsize // 8) * 8}").view(np.uint64).reshape(len(characters), -1)


def number_words(values: NDArray[np.float64]) -> Words:
    r"""Return numbers with four decimals at the most, as (n, words).

    >>> text_of_words(number_words(np.array([12.0, -0.50004, -0.00001, 123456.78901])))
    b'12\\-0.5\\0\\123456.789'
    """
    parts = np.rint(values * _PARTS)
    if not (np.abs(parts) < _TABLE * _PARTS).all():
        return text_words([decimal_string(value) for value in (parts / _PARTS).tolist()])
    of_whole, of_fraction = _tables()
    size = np.abs(parts).astype(np.uint32)
    whole = size // np.uint32(_PARTS)
    size -= whole * np.uint32(_PARTS)
    whole[parts < 0] += np.uint32(_TABLE)
    result = np.empty((len(values), 2), np.uint64)
    result[:, 0] = of_whole[whole]
    result[:, 1] = of_fraction[size]
    return result


def text_of_words(words: Words) -> bytes:
    """Return texts in their order, without the last backslash."""
    return words.tobytes().translate(None, b"\0")[:-1]


@cache
def _tables() -> tuple[Words, Words]:
    """Return the words of whole numbers, after these the same below zero, and of fractions with their backslash."""
    numbers = np.arange(_TABLE)
    below = (-numbers).astype("S8")
    below[0] = b"-0"
    fractions = [f".{number:0{DECIMALS}}".rstrip("0.") for number in range(_PARTS)]
    return np.concatenate([numbers.astype("S8"), below]).view(np.uint64), text_words(fractions).ravel()
