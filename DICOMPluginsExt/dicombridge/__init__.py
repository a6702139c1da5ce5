"""DICOM objects as MRML nodes, and MRML nodes as DICOM objects.

>>> import dicombridge
>>> sorted(dicombridge.__all__)[:4]
['DicomBridgeError', 'FolderDatabase', 'KINDS', 'Loadable']

Everything is imported at first use, because Slicer pays for imports when it starts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "DicomBridgeError": "errors",
    "FolderDatabase": "database",
    "KINDS": "kinds",
    "Loadable": "loadable",
    "apply_registration": "registration.applying",
    "errors": "",
    "examine": "api",
    "export": "api",
    "load": "api",
    "new_scene": "scene",
    "open_folder": "database",
}

__all__ = [
    "KINDS",
    "DicomBridgeError",
    "FolderDatabase",
    "Loadable",
    "apply_registration",
    "errors",
    "examine",
    "export",
    "load",
    "new_scene",
    "open_folder",
]

if TYPE_CHECKING:
    from dicombridge import errors
    from dicombridge.api import examine, export, load
    from dicombridge.database import FolderDatabase, open_folder
    from dicombridge.errors import DicomBridgeError
    from dicombridge.kinds import KINDS
    from dicombridge.loadable import Loadable
    from dicombridge.registration.applying import apply_registration
    from dicombridge.scene import new_scene


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not home:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
