"""What PS3.15 Table E.1-1 says of each attribute, from the tables of ``dicom-anonymizer``."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from dicombridge.errors import UnsupportedError

__all__ = ["MAP", "REMOVE", "Action", "Actions", "actions", "words"]

Action = Literal["remove", "empty", "replace", "map", "map or empty"]
REMOVE: Action = "remove"
MAP: Action = "map"

_EDITIONS = ("dicomfields_2026c", "dicomfields_2024b", "dicomfields_2023")  # the newest that the package has
# Where the standard leaves a choice that depends on the IOD, the one that keeps every object valid.
_OF_CATEGORY: dict[str, Action] = {
    "X_TAGS": "remove",
    "Z_TAGS": "empty",
    "D_TAGS": "replace",
    "U_TAGS": "map",
    "Z_D_TAGS": "replace",
    "X_Z_TAGS": "empty",
    "X_D_TAGS": "replace",
    "X_Z_D_TAGS": "replace",
    "X_Z_U_STAR_TAGS": "map or empty",
}
_WORDS: dict[Action, str] = {
    "remove": "removed",
    "empty": "emptied",
    "replace": "replaced by a dummy value",
    "map": "replaced by another UID, the same everywhere",
    "map or empty": "kept, with the UIDs in it mapped",
}


@dataclass(frozen=True)
class Actions:
    """What is done with which attribute.

    Attributes
    ----------
    exact
        Tag -> action.
    masked
        (tag, mask, action) of repeating groups.
    """

    exact: dict[int, Action]
    masked: tuple[tuple[int, int, Action], ...]

    def of(self, tag: int) -> Action | None:
        """Return the action for a tag, None where it stays."""
        found = self.exact.get(tag)
        if found is None:
            found = next((action for value, mask, action in self.masked if tag & mask == value & mask), None)
        return found


def actions() -> Actions:
    """Return the actions of the Basic Profile.

    Raises
    ------
    UnsupportedError
        The package is not installed.
    """
    table = _table()
    exact: dict[int, Action] = {}
    masked: list[tuple[int, int, Action]] = []
    for category, action in _OF_CATEGORY.items():
        for entry in table[category]:
            tag = entry[0] << 16 | entry[1]
            if len(entry) > 2:
                masked.append((tag, entry[2] << 16 | entry[3], action))
            else:
                exact[tag] = action
    return Actions(exact, tuple(masked))


def words(action: Action) -> str:
    """Return an action in words."""
    return _WORDS[action]


def _table() -> dict[str, Any]:
    try:
        package = importlib.import_module("dicomanonymizer.dicomfields_selector")
    except ImportError as error:
        raise UnsupportedError(
            "De-identification needs the package dicom-anonymizer, which is not installed: pip install dicom-anonymizer"
        ) from error
    for edition in _EDITIONS:
        try:
            return dict(package.dicom_anonymization_database_selector(edition))
        except ValueError:
            continue
    raise UnsupportedError("This version of dicom-anonymizer has no table that we know; install another one.")
