"""What examination offers: something that can be loaded, and how sure we are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Loadable", "chosen"]

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Loadable:
    """One reading of a series.

    The first seven attributes are those of Slicer's ``DICOMLoadable``, by name and meaning, so that the
    plugin hands a loadable over unchanged. Equality is identity and instances are hashable, because
    Slicer keeps loadables in dictionaries.

    Attributes
    ----------
    files
        Absolute paths, in the order in which they are read.
    name
        What the loaded node is called, e.g. ``"5: Liver"``.
    tooltip
        One line for a person.
    warning
        Empty, or what is dropped, guessed or doubtful in this reading.
    selected
        Whether this is the best reading of its series.
    confidence
        0 to 1; the highest one of a series wins in Slicer's DICOM module.
    referencedInstanceUIDs
        SOP Instance UIDs of what this object needs to make sense (all instances of the referenced series).
    kind
        Name of the row in :mod:`dicombridge.kinds`.
    seriesInstanceUID
        Series of ``files``.
    options
        Extra arguments for the kind's ``load`` that belong to this reading.
    """

    files: list[str] = field(default_factory=list)
    name: str = "Unknown"
    tooltip: str = "No further information available"
    warning: str = ""
    selected: bool = False
    confidence: float = 0.5
    referencedInstanceUIDs: list[str] = field(default_factory=list)
    kind: str = ""
    seriesInstanceUID: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def chosen(offered: Sequence[Loadable]) -> list[Loadable]:
    """Return the selected loadables, or all where none is: then loading them tells why."""
    selected = [loadable for loadable in offered if loadable.selected]
    taken = {file for loadable in selected for file in loadable.files}
    for loadable in offered if selected else ():
        # Another reading of files that are loaded leaves nothing out.
        if loadable.warning and not loadable.selected and not taken.issuperset(loadable.files):
            _log.warning("%s: was left out. %s", loadable.files[0], loadable.warning)
    return selected or list(offered)
