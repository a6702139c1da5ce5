"""Options of exporters that are more than text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dicombridge.codes import Code, code_from_entry
from dicombridge.errors import ExportError

__all__ = ["code_option", "grid_option"]


def grid_option(value: Any) -> str | None:
    """Return in whose voxels or slices to write: ``"source"`` (the images), ``"own"`` (the node), None for neither."""
    if value not in (None, "source", "own"):
        raise ExportError(f"grid is 'source' or 'own', not {value!r}.")
    return None if value is None else str(value)


def code_option(value: Any, name: str, scheme: str = "") -> Code | None:
    """Return a code that a caller gives: a Code, its three parts, or text ``value^scheme^meaning``.

    Parameters
    ----------
    scheme
        Of a value that stands alone, e.g. UCUM for units.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if hasattr(value, "GetCodeValue"):
        return code_from_entry(value)
    if hasattr(value, "scheme_designator"):
        return Code(value.value, value.scheme_designator, value.meaning)
    if not isinstance(value, str | Sequence):
        raise ExportError(f"{name} is a code: value^scheme^meaning, not {value!r}.")
    parts = [part.strip() for part in value.split("^")] if isinstance(value, str) else [str(part) for part in value]
    if len(parts) == 1 and scheme:
        parts = [parts[0], scheme, parts[0]]
    if len(parts) != 3 or not parts[0] or not parts[1]:
        raise ExportError(f"{name} is a code: value^scheme^meaning, e.g. 113041^DCM^Apparent Diffusion Coefficient.")
    return Code(parts[0], parts[1], parts[2] or parts[0])
