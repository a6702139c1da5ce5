"""Asking the server what it has: before sending, after answers that say nothing, and as a check at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dicombridge.errors import CancelledError, DicomBridgeError, RefusedError, WebError
from dicombridge.web.addresses import joined
from dicombridge.web.connection import DICOM_JSON, Connection
from dicombridge.web.storing.items import SOP_INSTANCE_UID, Item

__all__ = ["check_stored", "compared", "different", "is_there", "listed"]

_KEY = f"{SOP_INSTANCE_UID:08X}"
_MOST_NAMES = 8


def listed(connection: Connection, study: str, series: str) -> set[str]:
    """Return the SOP Instance UIDs that the server has of a series; none where it does not know the series."""
    from dicombridge.web.catalogue import instances

    try:
        found = instances(connection.server, study, series, connection=connection)
        return {one.instance for one in found}
    except RefusedError as error:
        if error.status == 404:
            return set()
        raise


def is_there(connection: Connection, item: Item) -> bool:
    """Return whether the server has an instance; False also where it cannot be asked.

    It is searched for by its UID. A server that ignores the filter gives others, so what comes is looked through.
    """
    below = ["studies", item.study, "series", item.series] if item.study and item.series else []
    url = joined(connection.server.qido_root, *below, "instances")
    try:
        with connection.get(url, DICOM_JSON, {"SOPInstanceUID": item.uid}, "gzip") as answer:
            found = answer.json() or []
        if not found or _holds(found, item):
            return bool(found)
    except WebError:
        pass  # there are servers that do not search for instances
    if not below:
        return False
    try:
        url = joined(connection.server.wado_root, *below, "instances", item.uid, "metadata")
        with connection.get(url, DICOM_JSON, encoding="gzip") as answer:
            return _holds(answer.json() or [], item)
    except WebError:
        return False


def _holds(found: Any, item: Item) -> bool:
    return isinstance(found, list) and any(_uid(one) == item.uid for one in found if isinstance(one, dict))


def _uid(found: dict[str, Any]) -> str:
    values = (found.get(_KEY) or {}).get("Value") or [""]
    return str(values[0]).strip("\0 ")


def compared(connection: Connection, item: Item) -> str:
    """Retrieve an instance and compare it with what was sent.

    Returns
    -------
    str
        What is different, as a sentence; empty where the server keeps the same bytes.
    """
    from dicombridge.web.retrieving import retrieve

    with tempfile.TemporaryDirectory(prefix="dicombridge-check-") as folder:
        try:
            report = retrieve(
                connection.server, item.study, item.series, [item.uid], directory=folder, connection=connection
            )
        except CancelledError:
            raise
        except DicomBridgeError as error:  # also where there is no room for it here: it is stored all the same
            return f"It could not be retrieved: {error}"
        files = [Path(path) for path in report.files]
        if len(files) != 1:
            reasons = "; ".join(report.failed.values())
            return f"It could not be retrieved{': ' + reasons if reasons else ''}."
        return different(item, files[0])


def different(item: Item, other: Path) -> str:
    """Return how a file differs from what was sent of an item; empty where its bytes are the same."""
    if _same_bytes(item, other):
        return ""
    names = _differing(item.path, other)
    if not names:
        return "The server keeps it in other bytes; all its attributes are the same."
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"The server keeps it changed: {', '.join(names[:_MOST_NAMES])}{more}."


def _same_bytes(item: Item, other: Path) -> bool:
    if other.stat().st_size != item.bytes:
        return False
    with item.path.open("rb") as ours, other.open("rb") as theirs:
        if theirs.read(len(item.prefix)) != item.prefix:
            return False
        ours.seek(item.skip)
        while piece := ours.read(1 << 18):
            if theirs.read(len(piece)) != piece:
                return False
    return True


def _differing(ours: Path, theirs: Path) -> list[str]:
    """Return the names of attributes that differ; group lengths, padding and the header of the file are not content."""
    import pydicom

    from dicombridge.tolerance import quiet

    with quiet():
        left, right = (pydicom.dcmread(path, force=True) for path in (ours, theirs))
        tags = sorted({*left.keys(), *right.keys()})
        return [
            str(pydicom.datadict.keyword_for_tag(tag) or tag)
            for tag in tags
            if tag.element != 0 and tag != 0xFFFCFFFC and not _alike(left, right, tag)
        ]


def _alike(left: Any, right: Any, tag: Any) -> bool:
    if tag not in left or tag not in right:
        return False
    try:
        return bool(left[tag] == right[tag])
    except (ValueError, TypeError, NotImplementedError, DicomBridgeError):
        return False


def check_stored(
    connection: Connection,
    items: Iterable[Item],
    check: bool | str,
    told: Callable[[Item, bool, str], None],
) -> None:
    """Ask for everything that was stored, and tell of each item whether it is there and how it differs.

    Parameters
    ----------
    connection
        With the server.
    items
        What was stored.
    check
        True: the server is asked whether it has them. ``"one"``: one of them is also retrieved and compared; ``"all"``:
        each of them.
    told
        Called with the item, whether the server shows it, and what is different.
    """
    have: dict[tuple[str, str], set[str]] = {}
    one_compared = False
    for item in items:
        connection.cancel.check()
        place = (item.study, item.series)
        if place not in have:
            have[place] = _of_series(connection, item)
        if item.uid not in have[place] and not _appears(connection, item):
            told(item, False, "")
            continue
        compare = check == "all" or (check == "one" and not one_compared)
        one_compared = True
        told(item, True, compared(connection, item) if compare and item.study and item.series else "")


def _of_series(connection: Connection, item: Item) -> set[str]:
    try:
        return listed(connection, item.study, item.series) if item.study and item.series else set()
    except WebError:
        return set()


def _appears(connection: Connection, item: Item) -> bool:
    """Return whether an instance that is not listed is there, or appears soon: some servers index a little later."""
    number = 0
    while not is_there(connection, item):
        delay = connection.retries.delay(number)
        if delay is None or number > 1:
            return False
        connection.cancel.wait(delay)
        number += 1
    return True
