"""Thumbnails of series and instances: the server's own, or made here from one instance. PS3.18 10.4.1.1.3 and .4."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.uid import UID

from dicombridge.errors import DamagedAnswerError, RefusedError, UnreadableError
from dicombridge.web.addresses import check_uid
from dicombridge.web.cancelling import Cancel
from dicombridge.web.catalogue.attributes import plain
from dicombridge.web.catalogue.client import Searcher, query_string
from dicombridge.web.catalogue.query import Query, asked_of
from dicombridge.web.catalogue.search import search
from dicombridge.web.catalogue.single import instance_address, whole
from dicombridge.web.catalogue.windowing import picture
from dicombridge.web.connection import Connection
from dicombridge.web.retrying import Retries
from dicombridge.web.saved import as_server
from dicombridge.web.servers import Server

__all__ = ["Thumbnail", "chosen", "has_pixels", "thumbnails"]

_ACCEPT = "image/jpeg"
"""One type only: Orthanc's plugin 1.7 refuses lists."""
_LARGEST = 4096
_MOST_PICTURE = 8 << 20
_MOST_PIXELS = 64 << 20
"""Pixels of a server's picture: a few bytes may stand for gigabytes."""
_MOST_INSTANCE = 256 << 20
"""Bytes of an instance that is fetched for a picture."""
_BRIEFLY = Retries(times=2, statuses=frozenset({429, 503}))
"""A server that cannot render says so with all sorts of errors, which are not worth another try."""
_STARTS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}


@dataclass(frozen=True)
class Thumbnail:
    """A picture of one frame (from 1) of an instance."""

    instance: str
    frame: int
    media_type: str
    data: bytes


def thumbnails(
    server: Server | str | Path,
    study: str,
    series: str,
    instance: str | None = None,
    frames: int = 1,
    size: int = 128,
    *,
    connection: Connection | None = None,
    cancel: Cancel | None = None,
) -> list[Thumbnail]:
    """Return small pictures of a series or an instance.

    Parameters
    ----------
    server, study, series, instance
        Of what; without an instance, of the middle of the series, or of instances all through it.
    frames
        Number of pictures, e.g. for a strip that moves.
    size
        Most pixels of a side, from 8 to 4096.
    connection, cancel
        As everywhere.

    Returns
    -------
    list of Thumbnail
        JPEG or PNG; empty for objects without pixels.

    Raises
    ------
    DicomBridgeError
        A UID is none.
    WebError
        The server cannot be reached, or refuses.
    """
    server = as_server(server)
    for uid in (study, series, *([instance] if instance else [])):
        check_uid(uid)
    frames, size = max(frames, 1), min(max(size, 8), _LARGEST)
    if server.is_local:
        from dicombridge.web import local

        with local.open(server, cancel) as archive:
            return list(archive.thumbnails(study, series, instance, frames, size))
    with nullcontext(connection) if connection is not None else Connection(server, cancel=cancel) as opened:
        items = _items(opened, study, series, instance, frames)
        painter = _Painter(opened, study, series, size)
        return [one for uid, frame in chosen(items, frames) if (one := painter.thumbnail(uid, frame)) is not None]


def chosen(items: list[Mapping[str, Any]], count: int) -> list[tuple[str, int]]:
    """Return instances and frames evenly through those with pixels.

    >>> chosen([{"SOPInstanceUID": str(number)} for number in range(9)], 3)
    [('1', 1), ('4', 1), ('7', 1)]
    >>> chosen([{"SOPInstanceUID": "1", "NumberOfFrames": 100}], 2)
    [('1', 26), ('1', 76)]
    """
    all_frames: list[tuple[str, int]] = []
    for item in items:
        if not has_pixels(str(item.get("SOPClassUID") or "")):
            continue
        frames = item.get("NumberOfFrames")
        all_frames.append((str(item["SOPInstanceUID"]), frames if isinstance(frames, int) and frames > 0 else 1))
    total = sum(frames for _, frames in all_frames)
    count = max(min(count, total), 1)
    wanted = [(2 * number + 1) * total // (2 * count) for number in range(count)]
    found, passed = [], 0
    for uid, frames in all_frames:
        while wanted and wanted[0] < passed + frames:
            found.append((uid, wanted.pop(0) - passed + 1))
        passed += frames
    return found


def has_pixels(sop_class: str) -> bool:
    """Whether instances of a class have pixels; an unknown one may.

    >>> has_pixels("1.2.840.10008.5.1.4.1.1.2"), has_pixels("1.2.840.10008.5.1.4.1.1.481.3")
    (True, False)
    """
    if not sop_class:
        return True
    name = UID(sop_class).name
    if name == sop_class:
        return True
    return "Surface" not in name and any(
        word in name for word in ("Image", "Segmentation Storage", "RT Dose", "Parametric Map", "Volume Storage")
    )


def _items(
    connection: Connection, study: str, series: str, instance: str | None, frames: int
) -> list[Mapping[str, Any]]:
    """Ask for as few instances as will do."""
    server = connection.server
    if instance is not None:
        found = list(
            search(server, "instance", study=study, series=series, connection=connection, SOPInstanceUID=instance)
        )
        return list(found[:1]) or [{"SOPInstanceUID": instance}]
    if frames > 1:
        return list(search(server, "instance", study=study, series=series, connection=connection))
    count = 0
    for item in search(server, "series", study=study, series=series, connection=connection, limit=1):
        number = item.get("NumberOfSeriesRelatedInstances")
        count = number if isinstance(number, int) else 0
    if count > 1 and server.profile.pages is not False and (middle := _one(connection, study, series, count // 2)):
        return [middle]
    return list(search(server, "instance", study=study, series=series, connection=connection, limit=1))


def _one(connection: Connection, study: str, series: str, offset: int) -> Mapping[str, Any] | None:
    """Ask for an instance further on; any other will do as well, so it does not matter what the server makes of it."""
    asked = asked_of(Query("instance", study, series), connection.server.profile)
    try:
        page = Searcher(connection).page("instance", asked.alternatives[0], study, series, limit=1, offset=offset)
    except RefusedError:
        return None
    return next((item for item in map(plain, page.items) if item.get("SOPInstanceUID")), None)


class _Painter:
    """Asks for pictures in the way that works."""

    def __init__(self, connection: Connection, study: str, series: str, size: int) -> None:
        self._connection = connection
        self._place = (study, series)
        self._size = size
        known = connection.server.profile.thumbnails
        self._ways = {"thumbnail": ["thumbnail", "rendered", "plain"], "none": []}.get(known, ["rendered", "plain"])
        self._fetched: tuple[str, bytes] = ("", b"")

    def thumbnail(self, instance: str, frame: int) -> Thumbnail | None:
        """Return a picture, None where there is no way to one."""
        while self._ways:
            try:
                return self._by_server(self._ways[0], instance, frame)
            except (RefusedError, DamagedAnswerError):
                self._ways.pop(0)
        return self._here(instance, frame)

    def _by_server(self, way: str, instance: str, frame: int) -> Thumbnail:
        url = instance_address(self._connection, *self._place, instance)
        if frame > 1:
            url += f"/frames/{frame}"
        url += "/thumbnail" if way == "thumbnail" else "/rendered"
        query = "" if way == "plain" else query_string({"viewport": f"{self._size},{self._size}"})
        with self._connection.get(url + query, accept=_ACCEPT, retries=_BRIEFLY) as answer:
            data = answer.read(_MOST_PICTURE)
        for start, media_type in _STARTS.items():
            if data.startswith(start):
                return _small(Thumbnail(instance, frame, media_type, data), self._size)
        raise DamagedAnswerError(f"{self._connection.server}: this is no picture.")

    def _here(self, instance: str, frame: int) -> Thumbnail | None:
        if self._fetched[0] != instance:
            try:
                self._fetched = (instance, whole(self._connection, *self._place, instance, _MOST_INSTANCE))
            except (RefusedError, DamagedAnswerError):
                return None
        try:
            return Thumbnail(instance, frame, *picture(BytesIO(self._fetched[1]), frame, self._size, instance))
        except UnreadableError:
            return None


def _small(thumbnail: Thumbnail, size: int) -> Thumbnail:
    """Make a picture small where the server did not look at the size that was asked for."""
    from PIL import Image

    try:
        with Image.open(BytesIO(thumbnail.data)) as image:
            if max(image.size) <= 2 * size:
                return thumbnail
            if image.width * image.height > _MOST_PIXELS:
                raise DamagedAnswerError("This picture is too large.")
            image.thumbnail((size, size))
            written = BytesIO()
            image.save(written, image.format)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DamagedAnswerError("This is no picture.") from error
    return Thumbnail(thumbnail.instance, thumbnail.frame, thumbnail.media_type, written.getvalue())
