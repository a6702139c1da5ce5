"""Keeping the books of one SUV: what was used and where it came from, what is missing, what a person should know."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from dicombridge.suv.values import MissingInput, Sourced

__all__ = ["REFERENCE", "Account", "moment_text", "several"]

REFERENCE = (
    "QIBA FDG-PET, Standardized Uptake Value (SUV), vendor-neutral pseudo-code, "
    "https://qibawiki.rsna.org/index.php/Standardized_Uptake_Value_(SUV)"
)

T = TypeVar("T")


class Account:
    """Lines of the audit, warnings, and everything that is missing: it is told at once, not one by one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.problems: list[str] = []
        self.options: list[str] = []

    def use(self, name: str, value: Sourced[T], unit: str = "") -> T:
        """Note a value that the SUV is made of, and return it."""
        self.note(f"{name}: {_text(value.value)}{unit and ' '}{unit}, from {value.source}")
        return value.value

    def note(self, line: str) -> None:
        if line not in self.lines:
            self.lines.append(line)

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def lack(self, sentence: str, *options: str) -> None:
        """Note something without which there is no SUV, and the options that would supply it."""
        advice = f" Give it as {' or '.join(f'option {option}' for option in options)}." if options else ""
        if sentence + advice not in self.problems:
            self.problems.append(sentence + advice)
            self.options += [option for option in options if option not in self.options]

    def settle(self) -> None:
        """End here if anything is missing.

        Raises
        ------
        MissingInput
            Something is.
        """
        if self.problems:
            raise MissingInput(tuple(self.problems), tuple(self.options))

    def add(self, other: Account) -> None:
        """Take over what another account has."""
        for line in other.lines:
            self.note(line)
        for sentence in other.warnings:
            self.warn(sentence)
        self.problems += other.problems
        self.options += [option for option in other.options if option not in self.options]


def moment_text(moment: datetime) -> str:
    """Return a moment as people read it.

    >>> moment_text(datetime(2020, 1, 2, 3, 4, 5, 500000))
    '2020-01-02 03:04:05.5'
    """
    text = moment.isoformat(sep=" ")
    head, dot, rest = text.partition(".")
    return f"{head}.{rest[:6].rstrip('0')}{rest[6:]}" if dot else text


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, float):
        return f"{value:.10g}"
    return "\\".join(value) if isinstance(value, tuple) else str(value)


def several(values: Sequence[float], unit: str) -> str:
    """Return values that may differ by slice, in words.

    >>> several([1.5, 1.5], "Bq"), several([2.0, 1.0], "Bq")
    ('1.5 Bq', '1 to 2 Bq, by slice')
    """
    low, high = min(values), max(values)
    return f"{low:.10g} {unit}" if low == high else f"{low:.10g} to {high:.10g} {unit}, by slice"
