"""What a DICOMweb server can do, and where it is odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["Profile"]


@dataclass(frozen=True)
class Profile:
    """What a server can do. Presets state it, the doctor measures it, and everything else reads it here.

    The defaults suit a server that follows the standard and of which nothing else is known.
    """

    product: str = ""
    """The server's product where it is known, for people to read."""

    # Queries, PS3.18 10.6
    page_size: int = 200
    """Most results that are asked for in one request."""
    pages: bool | None = None
    """Whether ``offset`` works; None where nobody knows, then a page that repeats the one before ends the query."""
    last_offset: int | None = None
    """Largest ``offset`` that the server takes."""
    includefield: str = "list"
    """How more attributes are asked for: ``list``, ``all``, or ``none``."""
    wildcard: bool | None = None
    """Whether ``*`` and ``?`` work in texts."""
    fuzzy: bool | None = None
    """Whether ``fuzzymatching=true`` works."""
    searchable: tuple[str, ...] = ()
    """Keywords that the server can search for; empty: the usual ones."""
    decodes_queries: bool | None = None
    """False for a server that does not decode ``%5E`` and other characters in values (Orthanc's plugin 1.7)."""
    patients: bool = False
    """Whether there is a ``/patients`` resource, which the standard does not have."""

    # Retrieve, PS3.18 10.4
    retrieve_levels: tuple[str, ...] = ("study", "series", "instance")
    """Levels at which instances can be retrieved."""
    any_transfer_syntax: bool = True
    """Whether ``transfer-syntax=*``, as stored, can be asked for."""
    quoted_type: bool = True
    """Whether the type in ``multipart/related; type="application/dicom"`` is written in quotes."""
    single_part: bool | None = None
    """Whether an instance can be retrieved as ``application/dicom``, without multipart."""
    thumbnails: str = "rendered"
    """How pictures are asked for: ``thumbnail``, ``rendered``, or ``none``."""
    frames: bool = True
    """Whether single frames can be retrieved."""
    connections: int = 16
    """Most connections at a time; a transfer opens them only where that makes it faster."""
    requests_per_second: float | None = None
    """Most requests a second."""

    # Store, PS3.18 10.5
    store: bool = True
    """Whether objects can be stored."""
    store_instances: int = 20
    """Instances that are sent in one request."""
    store_bytes: int | None = None
    """Most bytes of one request."""

    notes: tuple[str, ...] = ()
    """What a person should know, in sentences."""

    def to_json(self) -> dict[str, Any]:
        """Return what differs from the defaults, as plain JSON values."""
        default = Profile()
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value != getattr(default, name)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Profile:
        """Return the profile that :meth:`to_json` gave; what this version does not know is left out.

        >>> Profile.from_json({"page_size": "many", "connections": 4, "notes": ["Slow."], "of": "tomorrow"}).to_json()
        {'connections': 4, 'notes': ['Slow.']}
        """
        known = get_type_hints(cls)
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**{name: value for name, value in plain.items() if name in known and _fits(value, known[name])})


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value is of a kind that a field takes: files are changed by hand, and come from others."""
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    kinds = get_args(kind) or (kind,)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return type(value) in kinds
    return value >= 0 and (type(value) in kinds or float in kinds)
