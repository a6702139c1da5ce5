"""What a selection is called, and why (PS3.16 CID 7010, 7011, 7012)."""

from __future__ import annotations

import functools
from typing import Any

from pydicom.sr.codedict import codes

from dicombridge.codes import Code
from dicombridge.errors import ExportError
from dicombridge.output.options import code_option

__all__ = ["OF_INTEREST", "reason_option", "title_option"]

OF_INTEREST = Code("113000", "DCM", "Of Interest")
"""The title where nobody says another one."""

_TITLES = "cid7010"
_REASONS = {
    "113001": "cid7011",  # Rejected for Quality Reasons
    "113010": "cid7011",  # Quality Issue
    "113013": "cid7012",  # Best In Set
}
"""Titles that may have a Document Title Modifier, and from which context group (TID 2010)."""


def title_option(value: Any) -> Code | None:
    """Return the title that a caller gives: a code, or the meaning or value of one of CID 7010; None if none.

    Examples
    --------
    >>> title_option("for referring provider")
    Code(value='113002', scheme_designator='DCM', meaning='For Referring Provider', scheme_version=None)
    """
    return _code_of(value, "title", _TITLES)


def reason_option(value: Any, title: Code) -> Code | None:
    """Return the reason that a caller gives for a title that may have one.

    Raises
    ------
    ExportError
        The title has no reasons, or the text names none of them.
    """
    if value in (None, ""):
        return None
    group = _REASONS.get(title.value) if title.scheme_designator == "DCM" else None
    if group is None:
        raise ExportError(
            f"A selection of title {title.meaning!r} has no reason; Rejected for Quality Reasons, Quality Issue and "
            "Best In Set do."
        )
    return _code_of(value, "reason", group)


def _code_of(value: Any, name: str, group: str) -> Code | None:
    if not isinstance(value, str) or "^" in value or not value.strip():
        return code_option(value, name)
    known = _context_group(group)
    found = known.get(value.strip().lower())
    if found is None:
        names = ", ".join(sorted({code.meaning for code in known.values()})[:8])
        raise ExportError(f"{name}={value!r} is not known; say a code as value^scheme^meaning, or one of: {names}, ...")
    return found


@functools.cache
def _context_group(group: str) -> dict[str, Code]:
    """Return the codes of a context group by meaning, in lower case, and by value."""
    members = getattr(codes, group)
    found: dict[str, Code] = {}
    for keyword in members.dir():
        code = getattr(members, keyword)
        found[code.meaning.lower()] = found[code.value.lower()] = Code(code.value, code.scheme_designator, code.meaning)
    return found
