"""Folders and zip files that answer as servers do: nothing needs to run, nothing is written where they lie.

=============  =======================================================================
``archive``    searching, details, headers, pictures, files; adding to a folder
``headers``    headers of files as DICOM JSON
``values``     indexed values as those of DICOM JSON
``zipped``     a zip file, unpacked for as long as the process runs
=============  =======================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dicombridge.database import FolderDatabase
from dicombridge.errors import DicomBridgeError, UnreadableError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.catalogue.query import Query
from dicombridge.web.local.archive import Added, Archive
from dicombridge.web.local.zipped import is_zip, unpacked
from dicombridge.web.servers import Server

__all__ = ["Added", "Archive", "open", "results"]


def open(server: Server, cancel: Cancel | None = None) -> Archive:
    """Open a folder or zip file, and bring its index up to date: files that are new, changed or gone.

    Returns
    -------
    Archive
        To be closed, or used with ``with``.

    Raises
    ------
    UnreadableError
        There is no such folder, or the zip file is damaged.
    CancelledError
        Somebody asked to stop; what was indexed is kept.
    """
    path = server.path
    if path is None:
        raise DicomBridgeError(f"{server} is not a folder.")
    if path.is_file():
        if not is_zip(path):
            raise UnreadableError(path, "is neither a folder nor a zip file")
        return Archive(unpacked(path, cancel), path, keeps_open=True)
    database = FolderDatabase(path)
    try:
        stop = cancel or Cancel()
        if database.refresh(cancelled=lambda: stop.cancelled).cancelled:
            stop.check()
    except BaseException:
        database.close()
        raise
    return Archive(database, path)


def results(server: Server, query: Query, cancel: Cancel | None = None) -> Iterator[dict[str, Any]]:
    """Yield what matches a query."""
    with open(server, cancel) as archive:
        for item in archive.results(query):
            if cancel is not None:
                cancel.check()
            yield item
