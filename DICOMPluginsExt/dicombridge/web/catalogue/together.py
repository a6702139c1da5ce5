"""Several servers asked at once, their results in one stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dicombridge.errors import CancelledError, DicomBridgeError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.catalogue.attributes import UIDS
from dicombridge.web.catalogue.paging import Told
from dicombridge.web.catalogue.search import search
from dicombridge.web.servers import Server

__all__ = ["Hit", "search_all"]

_WAITING = 500
"""Results that a server may be ahead of the reader: it is not asked for more before they are read."""


@dataclass(frozen=True)
class Hit:
    """A result, and where it is.

    Attributes
    ----------
    server
        The server that gave it.
    item
        The result, as of :func:`~dicombridge.web.catalogue.search.search`.
    first
        The server that gave the same UID before; None for a result that is new.
    """

    server: Server
    item: dict[str, Any]
    first: Server | None = None


def search_all(
    servers: Sequence[Server],
    level: str = "study",
    *,
    cancel: Cancel | None = None,
    told: Told | None = None,
    **arguments: Any,
) -> Iterator[Hit]:
    """Search several servers at once; results come as the servers give them, in each server's order.

    What several servers have comes from each of them, and says which one had it first. A server that fails does not
    end the search: its error is told.

    Parameters
    ----------
    servers
        Servers, folders, zip files.
    level, **arguments
        As of :func:`~dicombridge.web.catalogue.search.search`; ``limit`` is that of each server.
    cancel
        Who may stop it.
    told
        Called, in the reader's thread, with a sentence for each thing that a person should know.

    Raises
    ------
    DicomBridgeError
        The query makes no sense.
    """
    stop = Cancel()
    results: queue.Queue[tuple[int, dict[str, Any] | str | None]] = queue.Queue(_WAITING)
    found = []
    for number, server in enumerate(servers):
        tell = _teller(results, number, stop)
        found.append(search(server, level, cancel=stop, told=tell, **arguments))
    return _merged(servers, level, found, results, stop, cancel or Cancel(), told)


def _teller(results: queue.Queue[Any], number: int, stop: Cancel) -> Told:
    return lambda text: _put(results, (number, text), stop)


def _merged(
    servers: Sequence[Server],
    level: str,
    found: list[Iterator[dict[str, Any]]],
    results: queue.Queue[tuple[int, dict[str, Any] | str | None]],
    stop: Cancel,
    cancel: Cancel,
    told: Told | None,
) -> Iterator[Hit]:
    threads = [
        threading.Thread(target=_read, args=(iterator, results, number, stop, servers[number]), daemon=True)
        for number, iterator in enumerate(found)
    ]
    forget = cancel.on_cancel(stop.cancel)
    first: dict[str, int] = {}
    running = len(threads)
    try:
        for thread in threads:
            thread.start()
        while running:
            cancel.check()
            try:
                number, result = results.get(timeout=0.1)
            except queue.Empty:
                continue
            if result is None:
                running -= 1
            elif isinstance(result, str):
                if told is not None:
                    told(result)
            else:
                uid = str(result.get(UIDS[level][-1]) or "")
                before = first.setdefault(uid, number) if uid else number
                yield Hit(servers[number], result, servers[before] if before != number else None)
    finally:
        forget()
        stop.cancel()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _read(
    found: Iterator[dict[str, Any]], results: queue.Queue[Any], number: int, stop: Cancel, server: Server
) -> None:
    """Pass results on, in a thread of its own."""
    try:
        for item in found:
            _put(results, (number, item), stop)
    except CancelledError:
        return
    except DicomBridgeError as error:
        text = str(error)
        _tell(results, number, stop, text if text.startswith(str(server)) else f"{server}: {text}")
    except Exception as error:  # a defect must not leave the reader waiting
        _tell(results, number, stop, f"{server}: {type(error).__name__}: {error}")
    finally:
        close = getattr(found, "close", None)
        if close is not None:
            close()
        _tell(results, number, stop, None)


def _tell(results: queue.Queue[Any], number: int, stop: Cancel, text: str | None) -> None:
    try:
        _put(results, (number, text), stop)
    except CancelledError:
        return  # nobody reads any more


def _put(results: queue.Queue[Any], result: tuple[int, Any], stop: Cancel) -> None:
    while True:
        stop.check()
        try:
            results.put(result, timeout=0.1)
        except queue.Full:
            continue
        return
