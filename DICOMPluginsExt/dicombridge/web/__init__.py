"""DICOMweb: query, retrieve and store. PS3.18.

====================  ==================================================================================
``servers``           a server as one value, without secrets; ``profile`` is what it can do
``presets, saved``    servers that everybody knows, and those that somebody saved
``secrets``           passwords and tokens: in the keychain or in memory, never in a file
``authentication``    how secrets become credentials of a request
``connection``        requests, answers and clear errors; ``sessions`` below it, ``retrying``, ``cancelling``
``catalogue``         searching, details of series, metadata, thumbnails
``places``            where settings, job lists and what was retrieved are kept
``local``             folders and zip files that answer as servers do
``diagnosis``         finding out what is behind an address
``retrieving``        verified, resumable retrieval
``storing``           storing with a result for each instance
``worker``            all of it in a process of its own, for windows
====================  ==================================================================================

>>> from dicombridge import web
>>> web.Server("https://example.org/dicom-web").wado_root
'https://example.org/dicom-web'

Everything is imported at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Authentication": "servers",
    "Cancel": "cancelling",
    "Connection": "connection",
    "Profile": "profile",
    "Server": "servers",
    "Tls": "servers",
    "details": "catalogue",
    "doctor": "diagnosis",
    "instances": "catalogue",
    "metadata": "catalogue",
    "retrieve": "retrieving",
    "search": "catalogue",
    "secrets": "",
    "server": "saved",
    "store": "storing",
    "thumbnails": "catalogue",
}

__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from dicombridge.web.cancelling import Cancel as Cancel
    from dicombridge.web.connection import Connection as Connection
    from dicombridge.web.profile import Profile as Profile
    from dicombridge.web.servers import Authentication as Authentication
    from dicombridge.web.servers import Server as Server
    from dicombridge.web.servers import Tls as Tls


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not home:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
