"""Verified, resumable retrieval. PS3.18 10.4.

===============  ===================================================================================
``multipart``    parts of an answer, found while it comes in
``receiving``    from a socket into files, with their SHA-256
``whole``        whether a file is whole
``folder``       where files are written, and never half or elsewhere
``manifest``     which are there
``ledger``       which are wanted, under way, there or lost
``fetching``     asking for a series, or for one instance, with patience
``retrieval``    one stream, more connections where one is the limit, and then what is missing
``copying``      the same from a folder or zip file
``report``       what came of it
===============  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from dicombridge.errors import DicomBridgeError
from dicombridge.web.addresses import check_uid
from dicombridge.web.cancelling import Cancel
from dicombridge.web.connection import Connection
from dicombridge.web.retrieving.fetching import Patience
from dicombridge.web.retrieving.folder import Folder
from dicombridge.web.retrieving.ledger import Ledger
from dicombridge.web.retrieving.manifest import Manifest
from dicombridge.web.retrieving.report import RetrieveReport, TransferProgress
from dicombridge.web.retrieving.retrieval import Retrieval, UnsureListError
from dicombridge.web.saved import as_server
from dicombridge.web.servers import Server

__all__ = ["Patience", "RetrieveReport", "TransferProgress", "retrieve"]


def retrieve(
    server: Server | str | Path,
    study: str,
    series: str | None = None,
    instances: Iterable[str] | None = None,
    directory: Path | str = ".",
    *,
    transfer_syntax: str = "*",
    progress: Callable[[TransferProgress], object] | None = None,
    arrived: Callable[[list[Path]], object] | None = None,
    cancel: Cancel | None = None,
    connections: int | None = None,
    connection: Connection | None = None,
    patience: Patience | None = None,
) -> RetrieveReport:
    """Retrieve a study, a series or some instances into a folder, and verify each of them.

    What is there already, from an earlier retrieval that was cancelled, killed or cut off, is not fetched again.

    Parameters
    ----------
    server
        Where from; also as saved name, address or path.
    study, series
        UIDs; without ``series``, all series of the study.
    instances
        SOP Instance UIDs, where not all are wanted.
    directory
        Files become ``SERIES/INSTANCE.dcm`` in it, and are listed with their SHA-256 in ``manifest.jsonl``.
    transfer_syntax
        UID of the one to ask for; ``*`` for the instances as the server keeps them, byte by byte.
    progress
        Told how far it is, some times a second, in the caller's thread.
    arrived
        Told which files are complete, in batches, while the others come; also which were there before.
    cancel
        Who may stop or pause it.
    connections
        Most connections at a time; by default what the server's profile says.
    connection
        One that is there already, with the same ``cancel``.
    patience
        How long things may take.

    Returns
    -------
    RetrieveReport
        Which instances are there, and why others are not.

    Raises
    ------
    CancelledError
        Somebody asked to stop; what is complete stays.
    AuthenticationError
        The server does not let us in, any more.
    RefusedError
        The server has no instances of the study or series.
    WebError
        Nothing came.
    DicomBridgeError
        There is no room, the folder cannot be written to, or a UID is none.
    """
    server = as_server(server)
    check_uid(study, "Study Instance UID")
    if series is not None:
        check_uid(series, "Series Instance UID")
    only = None if instances is None else frozenset(check_uid(uid, "SOP Instance UID") for uid in instances)
    if transfer_syntax != "*":
        check_uid(transfer_syntax, "Transfer Syntax UID")
    patience = patience or Patience()
    with ExitStack() as stack:
        folder = stack.enter_context(Folder(Path(directory), patience.reserve))
        manifest = stack.enter_context(Manifest(folder))
        ledger = Ledger(folder, manifest, study, series, transfer_syntax)
        ledger.only = only
        if server.is_local:
            from dicombridge.web.retrieving.copying import copy

            return copy(server, ledger, progress, arrived, cancel or Cancel())
        if connection is None:
            profile = replace(server.profile, connections=connections or server.profile.connections)
            connection = stack.enter_context(Connection(server.changed(profile=profile), cancel=cancel))
        opened = connection
        most = connections or server.profile.connections
        run = Retrieval(
            opened, ledger, lambda: _listed(opened, ledger), lambda: _counts(opened, ledger), most, patience
        )
        if only is not None and series is not None:
            ledger.want(dict.fromkeys(sorted(only), series))
        return run.run(progress, arrived)


def _listed(connection: Connection, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Yield the server's list of instances; what is no UID never becomes part of an address or a path."""
    from dicombridge.web.catalogue import instances

    listed = set()
    told: list[str] = []
    for found in instances(connection.server, ledger.study, ledger.series, connection=connection, told=told.append):
        if ledger.only is not None and found.instance not in ledger.only:
            continue
        try:
            uids = check_uid(found.instance, "SOP Instance UID"), check_uid(found.series or ledger.series or "")
        except DicomBridgeError as error:
            ledger.gave_up(found.instance[:64], str(error))
            continue
        listed.add(found.instance)
        yield uids
    if told and (ledger.only is None or ledger.only - listed):
        raise UnsureListError(told[0])
    for uid in (ledger.only or frozenset()) - listed:
        ledger.gave_up(uid, "the server does not list it", missing=True)


def _counts(connection: Connection, ledger: Ledger) -> dict[str, int]:
    """Return how many instances the server says that its series have; nothing where it does not say so of each."""
    from dicombridge.web.catalogue import search

    filters: dict[str, Any] = {} if ledger.series is None else {"SeriesInstanceUID": ledger.series}
    keyword = "NumberOfSeriesRelatedInstances"
    found = search(connection.server, "series", study=ledger.study, fields=(keyword,), connection=connection, **filters)
    counts = {str(item["SeriesInstanceUID"]): item.get(keyword) for item in found}
    known = {uid: count for uid, count in counts.items() if isinstance(count, int) and count > 0}
    return known if len(known) == len(counts) else {}
