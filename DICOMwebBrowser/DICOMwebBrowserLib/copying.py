"""What was done in the window, as Python that does the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["retrieve_code", "search_code", "store_code"]


def _server(values: dict[str, Any]) -> str:
    """Return the expression of a server; there are no secrets in it."""
    given = dict(values)
    given.pop("profile", None)  # measured; the doctor finds it again
    if set(given) <= {"url", "name"}:
        return f"server = web.Server({given['url']!r})"
    return f"server = web.Server.from_json({given!r})"


def _lines(*lines: str) -> str:
    return "\n".join(["from dicombridge import web", "", *lines, ""])


def search_code(server: dict[str, Any], level: str, filters: dict[str, Any]) -> str:
    """Return the call that searches as the window did."""
    words = "".join(f", {keyword}={value!r}" for keyword, value in filters.items())
    return _lines(_server(server), f"for found in web.search(server, level={level!r}{words}):", "    print(found)")


def retrieve_code(server: dict[str, Any], places: list[tuple[str, str]]) -> str:
    """Return the calls that retrieve series, or whole studies."""
    calls = []
    for study, series in places:
        which = f"study={study!r}" + (f", series={series!r}" if series else "")
        calls += [f'report = web.retrieve(server, {which}, directory="incoming")', "print(report.summary)"]
    return _lines(_server(server), *calls)


def store_code(server: dict[str, Any], paths: list[str], check: bool) -> str:
    """Return the call that stores files."""
    shown = [Path(path).as_posix() for path in paths]
    more = ", check=True" if check else ""
    return _lines(_server(server), f"report = web.store(server, {shown!r}{more})", "print(report.summary)")
