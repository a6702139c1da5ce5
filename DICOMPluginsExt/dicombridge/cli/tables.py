"""Tables for people: with rich on a terminal, in plain columns elsewhere; a row is shown when it comes."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

__all__ = ["Table", "harmless", "json_text", "plain", "rich_is_there", "size", "text_of"]

_COMMANDS = re.compile("[\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
"""Control characters, those that turn the direction of writing, and halves of characters, which cannot be written."""
FIRST_ROWS = 50
"""Rows that are awaited before the widths of columns are chosen."""


def rich_is_there() -> bool:
    """Whether the extra ``cli`` is installed."""
    return importlib.util.find_spec("rich") is not None


def harmless(line: str) -> str:
    """Return a line that does nothing to a terminal: what files and servers hold may be its commands.

    >>> harmless("  DOE^JANE\\x1b[2J")
    '  DOE^JANE?[2J'
    """
    return "".join(character if character.isprintable() else "?" for character in line)


def plain(text: str) -> str:
    """Return a text in one harmless line.

    >>> plain("DOE^JANE\\x1b\\n [2J")
    'DOE^JANE? [2J'
    """
    return harmless(" ".join(text.split()))


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that does nothing to a terminal either: the commands that JSON itself lets through.

    >>> json_text({"name": "Müller\\x9b2J"})
    '{"name": "Müller\\\\u009b2J"}'
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def text_of(value: Any) -> str:
    """Return a value as the text of a cell.

    >>> text_of(["CT", "SEG"]), text_of(None), text_of(3)
    ('CT, SEG', '', '3')
    """
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(text_of, value))
    return plain(str(value))


def size(count: float) -> str:
    """Return a number of bytes for a person.

    >>> size(0), size(999), size(1_234_567), size(5e9)
    ('0 B', '999 B', '1.2 MB', '5.0 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class Table:
    """A table that is written while its rows come; memory does not grow with them.

    Parameters
    ----------
    columns
        Their headings.
    flexible
        The column that becomes narrower where the terminal is; none in plain columns, which programs may read.
    """

    def __init__(self, columns: Sequence[str], flexible: int = -1) -> None:
        self._columns, self._flexible = list(columns), flexible
        self._rows: list[list[str]] = []
        self._widths: list[int] | None = None
        self._rich = sys.stdout.isatty() and rich_is_there()

    def __enter__(self) -> Table:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rows:  # also before an error: what came was asked for
            self._flush()

    def add(self, *cells: Any) -> None:
        """Take a row."""
        self._rows.append([text_of(cell) for cell in cells])
        if len(self._rows) >= FIRST_ROWS:
            self._flush()

    def _flush(self) -> None:
        first = self._widths is None
        if self._widths is None:
            cells = [self._columns, *self._rows]
            self._widths = [max(len(row[number]) for row in cells) for number in range(len(self._columns))]
        if self._rich:
            self._print_rich(first, self._widths)
        else:
            rows = [self._columns, *self._rows] if first else self._rows
            lines = ["  ".join(map(str.ljust, row, self._widths)).rstrip() for row in rows]
            print("\n".join(lines), flush=True)
        self._rows = []

    def _print_rich(self, first: bool, widths: list[int]) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        room = shutil.get_terminal_size().columns - 3 * len(widths) - 1
        fixed = list(widths)
        fixed[self._flexible] = max(min(fixed[self._flexible], room - sum(fixed) + fixed[self._flexible]), 8)
        table = RichTable(box=box.SIMPLE_HEAD if first else box.SIMPLE, show_header=first, show_edge=False)
        for heading, width in zip(self._columns, fixed, strict=True):
            table.add_column(heading, width=width, overflow="fold")
        for row in self._rows:
            table.add_row(*map(Text, row))  # Text, because brackets in names are no markup
        Console(width=max(sum(fixed) + 3 * len(fixed) + 1, 20)).print(table)
