"""Objects of a server as files here: ``dicomweb:SERVER/STUDY/SERIES``, with the series that they refer to.

The files stay in the user's cache folder, one folder a series, so that what was retrieved once is only verified the
next time. ``DICOMBRIDGE_CACHE`` names another folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dicombridge.errors import DicomBridgeError, MissingReferenceError, RefusedError
from dicombridge.web.addresses import local_path
from dicombridge.web.places import user_folder

if TYPE_CHECKING:
    from dicombridge.web.cancelling import Cancel
    from dicombridge.web.retrieving import TransferProgress
    from dicombridge.web.servers import Server

__all__ = ["SCHEME", "Link", "cache_folder", "files_of"]

SCHEME = "dicomweb:"
MOST_SERIES = 64
"""Series that references may lead to, so that a chain through an archive ends."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_WORDS = ("studies", "series", "instances")

Told = Callable[[str], object]


@dataclass(frozen=True)
class Link:
    """What ``dicomweb:SERVER/STUDY[/SERIES[/INSTANCE]]`` names.

    Examples
    --------
    >>> Link.parse("dicomweb:PACS/1.2.3/1.2.4")
    Link(server='PACS', study='1.2.3', series='1.2.4', instance=None)
    >>> Link.parse("dicomweb:https://host/dicom-web/studies/1.2.3/series/1.2.4").server
    'https://host/dicom-web'
    >>> Link.parse("dicomweb:http://127.0.0.1/1.2.3")
    Link(server='http://127.0.0.1', study='1.2.3', series=None, instance=None)
    """

    server: str
    study: str
    series: str | None = None
    instance: str | None = None

    @classmethod
    def parse(cls, text: str) -> Link:
        """Return the link in a text.

        Raises
        ------
        DicomBridgeError
            There is none in it.
        """
        rest = text.removeprefix(SCHEME)
        scheme, mark, after = rest.partition("://")
        parts = (after if mark else rest).rstrip("/").split("/")
        uids: list[str] = []
        while len(parts) > 1 and len(uids) < len(_WORDS) and _UID.fullmatch(parts[-1]) and len(parts[-1]) <= 64:
            uids.insert(0, parts.pop())
            if len(parts) > 1 and parts[-1] in _WORDS:
                parts.pop()
        if not uids or not rest.strip("/"):
            raise DicomBridgeError(f"{text!r} is not {SCHEME}SERVER/STUDY[/SERIES[/INSTANCE]].")
        return cls((f"{scheme}://" if mark else "") + "/".join(parts), *uids)


def cache_folder() -> Path:
    """Return the folder in which retrieved series are kept."""
    given = os.environ.get("DICOMBRIDGE_CACHE")
    return Path(given) if given else user_folder("cache")


def files_of(
    link: Link | str,
    *,
    server: Server | None = None,
    cache: Path | None = None,
    progress: Callable[[TransferProgress], object] | None = None,
    told: Told | None = None,
    cancel: Cancel | None = None,
) -> list[Path]:
    """Retrieve what a link names and the series that it refers to, as far as the server has them.

    Parameters
    ----------
    link
        The link, or its text.
    server
        The server, where it is not simply the one that the link names.
    cache
        Folder for the files; by default that of :func:`cache_folder`.
    progress
        Called with the progress of one series after the other.
    told
        Called with a sentence for each reference that the server does not have.
    cancel
        Who may stop it.

    Returns
    -------
    list of Path
        Verified files.

    Raises
    ------
    DicomBridgeError
        The link is none, or there is nothing behind it.
    MissingReferenceError
        Not everything that the link itself names could be retrieved whole.
    """
    from dicombridge import web

    link = Link.parse(link) if isinstance(link, str) else link
    source = server or web.server(link.server)
    folder = _folder_of(source, cache or cache_folder())
    tell = told or (lambda text: None)
    series = [link.series] if link.series else _series_of(source, link.study, cancel)
    files: dict[Path, None] = {}
    wanted = {(link.study, one): (link.instance,) if link.instance else () for one in series}
    waiting = list(wanted)
    while waiting:
        place = waiting.pop(0)
        asked_for = place[0] == link.study and place[1] in series
        try:
            report = web.retrieve(
                source,
                study=place[0],
                series=place[1],
                instances=list(wanted[place]) or None,
                directory=folder / place[0] / place[1],
                progress=progress,
                cancel=cancel,
            )
        except RefusedError as error:
            if asked_for:
                raise
            tell(f"A series that is referred to could not be retrieved: {error}")
            continue
        if (report.missing or report.failed) and asked_for:
            raise MissingReferenceError(f"{source}: series {place[1]}: {report.summary}; what came stays in the cache.")
        files |= dict.fromkeys(report.files)
        for reference in web.details(source, *place, cancel=cancel).references:
            found = (reference.study, reference.series)
            if not all(found):
                tell(f"{source}: {reference.what or 'what'} that series {place[1]} refers to is not on this server.")
            elif found not in wanted and len(wanted) < MOST_SERIES:
                wanted[found] = ()
                waiting.append(found)
    return list(files)


def _series_of(server: Server, study: str, cancel: Cancel | None) -> list[str]:
    from dicombridge import web

    found = [item["SeriesInstanceUID"] for item in web.search(server, "series", study=study, cancel=cancel)]
    if not found:
        raise DicomBridgeError(f"{server}: there is no study {study}.")
    return found


def _folder_of(server: Server, cache: Path) -> Path:
    """Return a folder of the server's own: two servers may hold different objects under one UID."""
    place = local_path(server.wado_root)
    address = str(place.resolve()) if place else server.wado_root
    folder = cache / "servers" / hashlib.sha256(address.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
