"""What a look at a file tells about why a server may have refused it."""

from __future__ import annotations

import mmap

from dicombridge.errors import DicomBridgeError
from dicombridge.part10 import read_layout
from dicombridge.web.storing.items import Item

__all__ = ["look"]

_MANDATORY = {
    0x00080016: "SOP Class UID",
    0x0020000D: "Study Instance UID",
    0x0020000E: "Series Instance UID",
    0x00100020: "Patient ID",
}


def look(item: Item) -> str:
    """Return what is wrong with a file, as a sentence; empty where nothing is found, or only pydicom could tell."""
    try:
        with item.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            layout = read_layout(whole)
    except (DicomBridgeError, OSError, ValueError):
        return ""
    found = []
    if missing := [name for tag, name in _MANDATORY.items() if tag not in layout.elements]:
        found.append(f"It has no {' and no '.join(missing)}.")
    if not layout.complete:
        found.append("Its data end early.")
    return " ".join(found)
