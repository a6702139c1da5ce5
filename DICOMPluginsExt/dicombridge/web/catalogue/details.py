"""What a series is, before it is retrieved: how much, of what kind, and what else it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import UID

from dicombridge.errors import DamagedAnswerError, DicomBridgeError, RefusedError, WebError
from dicombridge.web.addresses import check_uid
from dicombridge.web.cancelling import Cancel
from dicombridge.web.catalogue.attributes import plain
from dicombridge.web.catalogue.client import Searcher
from dicombridge.web.catalogue.paging import Told
from dicombridge.web.catalogue.referring import Reference, grouped, named_by
from dicombridge.web.catalogue.search import search
from dicombridge.web.catalogue.single import beginning
from dicombridge.web.connection import Connection
from dicombridge.web.saved import as_server
from dicombridge.web.servers import Server

__all__ = ["SeriesDetails", "details", "names_others"]

_MOST_HEADERS = 32
"""Instances whose headers are read for references; series of more hold images, which need nothing."""
_HEADER_BYTES = 2048
_SHAPE = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel")


@dataclass(frozen=True)
class SeriesDetails:
    """What a series is.

    Attributes
    ----------
    study, series
        Its UIDs.
    instances
        Number of instances.
    size_bytes
        Their size together; an estimate on servers, None where nothing is known.
    sop_classes
        SOP Class UID -> number of instances.
    transfer_syntaxes
        UIDs, of those instances that were looked at.
    references
        Series that are needed with it.
    """

    study: str
    series: str
    instances: int
    size_bytes: int | None
    sop_classes: Mapping[str, int]
    transfer_syntaxes: tuple[str, ...]
    references: tuple[Reference, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with names beside UIDs."""
        return {
            "study": self.study,
            "series": self.series,
            "instances": self.instances,
            "size_bytes": self.size_bytes,
            "sop_classes": [
                {"uid": uid, "name": _name(uid), "instances": count} for uid, count in self.sop_classes.items()
            ],
            "transfer_syntaxes": [{"uid": uid, "name": _name(uid)} for uid in self.transfer_syntaxes],
            "references": [reference.to_json() for reference in self.references],
        }


def details(
    server: Server | str | Path,
    study: str,
    series: str,
    *,
    connection: Connection | None = None,
    cancel: Cancel | None = None,
    told: Told | None = None,
) -> SeriesDetails:
    """Find out what a series is, without retrieving it: from a query, a header or some, and one look at an instance.

    Raises
    ------
    DicomBridgeError
        A UID is none, or there is no such series.
    WebError
        The server cannot be reached, or refuses.
    """
    server = as_server(server)
    check_uid(study, "Study Instance UID")
    check_uid(series, "Series Instance UID")
    if server.is_local:
        from dicombridge.web import local

        with local.open(server, cancel) as archive:
            return archive.details(study, series)
    with nullcontext(connection) if connection is not None else Connection(server, cancel=cancel) as opened:
        items = list(search(server, "instance", study=study, series=series, connection=opened, told=told))
        if not items:
            raise DicomBridgeError(f"{server}: there is no series {series} in study {study}.")
        return _Look(opened, study, series, items).details()


def names_others(sop_class: str) -> bool:
    """Whether instances of a class may need other objects: all but plain images."""
    name = UID(sop_class).name if sop_class else ""
    return not ("Image Storage" in name and "Slide" not in name)


class _Look:
    """One series of a server."""

    def __init__(self, connection: Connection, study: str, series: str, items: list[dict[str, Any]]) -> None:
        self._connection = connection
        self._searcher = Searcher(connection)
        self._place = (study, series)
        self._items = items

    def details(self) -> SeriesDetails:
        headers = self._headers()
        if headers:
            complete = {str(item.get("SOPInstanceUID")): item for item in map(plain, headers)}
            self._items = [{**complete.get(str(item["SOPInstanceUID"]), {}), **_known(item)} for item in self._items]
        shapes = [item for item in self._items if all(isinstance(item.get(name), int) for name in _SHAPE[:3])]
        classes = Counter(str(item.get("SOPClassUID") or "") for item in self._items)
        if not classes.keys() - {""} and shapes:
            classes = Counter({str(shapes[0].get("SOPClassUID") or ""): len(self._items)})
        start = None
        with suppress(RefusedError, DamagedAnswerError):
            middle = self._items[len(self._items) // 2]
            start = beginning(self._connection, *self._place, str(middle["SOPInstanceUID"]))
        return SeriesDetails(
            *self._place,
            len(self._items),
            self._size(start.length if start else None, shapes, bool(start and _compresses(start.transfer_syntax))),
            dict(classes),
            self._transfer_syntaxes(start.transfer_syntax if start else ""),
            grouped((one for header in headers for one in named_by(header)), self._place[0], self._find),
        )

    def _headers(self) -> list[dict[str, Any]]:
        """Return headers: of all that may name others; of one, where the query did not tell what an image is like."""
        sop_classes = [str(item.get("SOPClassUID") or "") for item in self._items]
        first = str(self._items[0]["SOPInstanceUID"])
        wanted = [
            str(item["SOPInstanceUID"])
            for item, sop_class in zip(self._items, sop_classes, strict=True)
            if sop_class and names_others(sop_class)
        ]
        if not all(sop_classes) or (not wanted and not all(isinstance(self._items[0].get(n), int) for n in _SHAPE[:3])):
            wanted.append(first)
        headers: list[dict[str, Any]] = []
        for uid in dict.fromkeys(wanted[:_MOST_HEADERS]):
            try:
                headers += self._searcher.metadata(*self._place, uid)
            except RefusedError:
                break  # a server without metadata, or without this one
        return headers

    def _size(self, length: int | None, shapes: list[dict[str, Any]], compressed: bool) -> int | None:
        """Estimate from the size of one, or from the number of pixels."""
        frames = [_frames(item) for item in self._items]
        if length is not None and len(set(frames)) == 1:
            return length * len(self._items)
        if not shapes or compressed:
            return length * len(self._items) if length is not None else None
        sizes = [_pixel_bytes(item) for item in shapes]
        per_frame = sum(sizes) / sum(_frames(item) for item in shapes)
        return round(per_frame * sum(frames)) + _HEADER_BYTES * len(frames)

    def _transfer_syntaxes(self, seen: str) -> tuple[str, ...]:
        told: list[str] = [seen] if seen else []
        for item in self._items:
            for keyword in ("AvailableTransferSyntaxUID", "TransferSyntaxUID"):
                value = item.get(keyword)
                told += value if isinstance(value, list) else [str(value)] if value else []
        return tuple(dict.fromkeys(told))

    def _find(self, instance: str) -> tuple[str, str] | None:
        """Ask in which series an instance is: in the same study, which every server can answer."""
        try:
            check_uid(instance)
            found = self._searcher.page("instance", [("00080018", instance)], self._place[0], limit=1).items
        except (WebError, DicomBridgeError):
            return None
        for item in map(plain, found):
            if item.get("SOPInstanceUID") == instance and item.get("SeriesInstanceUID"):
                return self._place[0], str(item["SeriesInstanceUID"])
        return None


def details_of(
    study: str,
    series: str,
    items: Iterable[Mapping[str, Any]],
    size: int,
    headers: Iterable[Mapping[str, Any]],
    find: Callable[[str], tuple[str, str] | None],
) -> SeriesDetails:
    """Return details of a series of which everything is known."""
    found = list(items)
    return SeriesDetails(
        study,
        series,
        len(found),
        size,
        dict(Counter(str(item.get("SOPClassUID") or "") for item in found)),
        tuple(dict.fromkeys(str(item["TransferSyntaxUID"]) for item in found if item.get("TransferSyntaxUID"))),
        grouped((one for header in headers for one in named_by(header)), study, find),
    )


def _known(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if value not in ("", [])}


def _frames(item: Mapping[str, Any]) -> int:
    frames = item.get("NumberOfFrames")
    return frames if isinstance(frames, int) and frames > 0 else 1


def _pixel_bytes(item: Mapping[str, Any]) -> int:
    samples = item.get("SamplesPerPixel")
    pixels = int(item["Rows"]) * int(item["Columns"]) * (samples if isinstance(samples, int) else 1)
    return pixels * int(item["BitsAllocated"]) * _frames(item) // 8


def _compresses(transfer_syntax: str) -> bool:
    uid = UID(transfer_syntax)
    return bool(transfer_syntax) and uid.is_transfer_syntax and (uid.is_compressed or uid.is_deflated)


def _name(uid: str) -> str:
    return str(UID(uid).name) if uid else ""
