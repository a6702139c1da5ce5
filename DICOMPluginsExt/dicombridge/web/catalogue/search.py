"""Searching a server: what it cannot do, or does wrongly, is done here or told. PS3.18 10.6."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from dicombridge.errors import DicomBridgeError, RefusedError
from dicombridge.web.cancelling import Cancel
from dicombridge.web.catalogue.attributes import UIDS, key_of, level_of, plain, vr_of
from dicombridge.web.catalogue.client import Searcher
from dicombridge.web.catalogue.matching import fuzzy_match, matches
from dicombridge.web.catalogue.paging import Parameters, Told, first_text, pages
from dicombridge.web.catalogue.query import BASIC, Asked, Query, again, asked_of, query_of
from dicombridge.web.catalogue.seen import Seen
from dicombridge.web.connection import Connection
from dicombridge.web.saved import as_server
from dicombridge.web.servers import Server

__all__ = ["Instance", "instances", "search"]

_REFUSALS = frozenset({400, 413, 414, 422, 501})
"""Statuses of servers that do not like a query."""
_SMALL_PAGE = 100
_LONG_LIST = 1000
"""Instances that are asked for at once where only their UIDs matter; more would take memory."""
_UID_KEYS = frozenset(map(key_of, UIDS["instance"]))
_IDENTIFIERS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")

Item = dict[str, Any]


def search(
    server: Server | str | Path,
    level: str = "study",
    *,
    study: str | None = None,
    series: str | None = None,
    limit: int | None = None,
    offset: int = 0,
    fields: Sequence[str] = (),
    fuzzy: bool = False,
    connection: Connection | None = None,
    cancel: Cancel | None = None,
    told: Told | None = None,
    **filters: Any,
) -> Iterator[Item]:
    """Search for patients, studies, series or instances; results come page by page as the server gives them.

    Parameters
    ----------
    server
        A DICOMweb server, a folder or a zip file; also as saved name, address or path.
    level
        ``patient``, ``study``, ``series`` or ``instance``.
    study, series
        UIDs within which to search.
    limit, offset
        Most results, and how many to pass over.
    fields
        Keywords of more attributes that results should have.
    fuzzy
        Whether each word of a name may be the beginning of any part of it, without looking at accents.
    connection
        Of a job that has one.
    cancel
        Who may stop it.
    told
        Called with a sentence for each thing that a person should know: a filter that the server ignores, a list that
        it cuts short.
    **filters
        Keywords of attributes (or tags) and what is looked for: text with ``*`` and ``?``; dates as text, as ``date``,
        as range ``20200101-20201231`` or as a pair with None for an open end; a list where one of several has to
        match.

    Returns
    -------
    iterator of dict
        Keyword -> text, number or list; each result once. Series of a study and instances of a series come by their
        numbers within a page; all else in the server's order.

    Raises
    ------
    DicomBridgeError
        The query makes no sense. This comes at once; errors of the server (``WebError``) come while iterating.
    """
    server = as_server(server)
    if offset < 0 or (limit is not None and limit < 0):
        raise DicomBridgeError("limit and offset of a search are not below 0.")
    query = query_of(level, study, series, filters, fields, fuzzy)
    tell = told or (lambda _text: None)
    stop = None if limit is None else offset + limit
    if limit is not None and limit <= 0:
        return iter(())
    if server.is_local:
        from dicombridge.web import local

        return islice(local.results(server, query, cancel), offset, stop)
    return _searched(server, query, limit, offset, connection, cancel, tell)


class Instance(NamedTuple):
    """An instance's UIDs, and its SOP Class UID where the server says it."""

    study: str
    series: str
    instance: str
    sop_class: str


def instances(
    server: Server | str | Path,
    study: str,
    series: str | None = None,
    *,
    connection: Connection | None = None,
    cancel: Cancel | None = None,
    told: Told | None = None,
) -> Iterator[Instance]:
    """Yield the instances of a study or series, which is what a retrieval has to bring.

    Nothing but identifiers is asked for, in as few requests as the server allows: archives take as long for each of
    these as for sending a hundred megabytes.
    """
    server = as_server(server)
    query = query_of("instance", study, series, {}, (), False)
    tell = told or (lambda _text: None)
    if server.is_local:
        for item in search(server, "instance", study=study, series=series, cancel=cancel, told=told):
            yield Instance(*(str(item.get(keyword) or "") for keyword in _IDENTIFIERS))
        return
    with nullcontext(connection) if connection is not None else Connection(server, cancel=cancel) as opened:
        for page in _listed(Searcher(opened), query, tell):
            for found in page:
                uids = [first_text(found.get(key_of(keyword))).strip() for keyword in _IDENTIFIERS]
                if uids[2]:
                    yield Instance(uids[0] or study, uids[1] or series or "", uids[2], uids[3])
                else:
                    tell(f"{server} lists an instance without SOPInstanceUID.")


def _listed(searcher: Searcher, query: Query, told: Told) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the pages of a list; large ones, and such as the profile says where the server refuses these."""
    page_size = max(searcher.connection.server.profile.page_size, 1)
    for size in dict.fromkeys((max(_LONG_LIST, page_size), page_size, _SMALL_PAGE)):
        found = pages(searcher, query, (), size, None, 0, None, Seen(), told, asks_on=True)
        try:
            first = next(found, None)
        except RefusedError as error:
            if error.status not in _REFUSALS or size == _SMALL_PAGE:
                raise
            continue
        if first is not None:
            yield from _with_first(first, found)
        return


def _searched(
    server: Server,
    query: Query,
    limit: int | None,
    offset: int,
    connection: Connection | None,
    cancel: Cancel | None,
    told: Told,
) -> Iterator[Item]:
    with nullcontext(connection) if connection is not None else Connection(server, cancel=cancel) as opened:
        searcher = Searcher(opened)
        if query.level == "patient" and not server.profile.patients:
            found = _patients(searcher, query, told)
            yield from islice(found, offset, None if limit is None else offset + limit)
            return
        search_ = _Search(searcher, query, told)
        yield from search_.results(limit, offset)


def _patients(searcher: Searcher, query: Query, told: Told) -> Iterator[Item]:
    """Yield the patients of studies: the standard has no query for patients (PS3.18 10.6.1)."""
    study_query = Query("study", None, None, query.filters, query.fields, query.fuzzy)
    seen = Seen()
    for item in _Search(searcher, study_query, told).results(None, 0):
        patient = {keyword: value for keyword, value in item.items() if level_of(keyword) == "patient"}
        identifier = patient.setdefault("PatientID", "")
        issuer = patient.get("IssuerOfPatientID", "")
        name = "" if identifier else (patient.get("PatientName", ""), patient.get("PatientBirthDate", ""))
        if seen.add(repr((identifier, issuer, name))):
            yield patient


class _Search:
    """One query on one server."""

    def __init__(self, searcher: Searcher, query: Query, told: Told) -> None:
        self._searcher = searcher
        self._query = query
        self._server = searcher.connection.server
        self._profile = self._server.profile
        self._told = told
        self._said: set[str] = set()
        # How the server wants to be asked; each refusal makes it more modest.
        self._size = max(self._profile.page_size, 1)
        self._with_fields = True
        self._basic_only = False
        self._knows_lists = False
        self._found = 0
        self._dropped = 0
        self._returned: set[str] = set()  # keywords of filters whose attributes the server returns
        self._unheeded: set[str] = set()  # and of those that it turned out to ignore

    def results(self, limit: int | None, offset: int) -> Iterator[Item]:
        """Yield the results, from ``offset`` on and at most ``limit``."""
        query = self._query
        asked = asked_of(query, self._profile)
        done_by_server = len(asked.alternatives) == 1 and not asked.here and not asked.wide
        if not done_by_server:
            yield from islice(self._all(None, 0), offset, None if limit is None else offset + limit)
            return
        found = self._all(limit, offset)
        first = next(found, None)
        if offset and (self._dropped or self._basic_only or (first is None and self._may_be_misread)):
            # The server passed over something else than was meant: passing over is done here.
            found.close()
            anew = _Search(self._searcher, query, self._tell)
            yield from islice(anew._all(None, 0), offset, None if limit is None else offset + limit)
        elif first is not None:
            yield first
            yield from islice(found, None if limit is None else limit - 1)

    @property
    def _may_be_misread(self) -> bool:
        return next(again(self._query, self._profile), None) is not None

    def _all(self, most: int | None, offset: int) -> Generator[Item, None, None]:
        """Yield all results; where there are none, ask in other ways."""
        yield from self._asked(self._query, most, offset)
        if not self._nothing_came() or offset:
            return
        for other in again(self._query, self._profile):
            for item in self._asked(other, None, 0):
                self._tell(f"{self._server} found nothing at first; it was asked again with wildcards.")
                yield item
            if not self._nothing_came():
                return

    def _nothing_came(self) -> bool:
        return not self._found and not self._dropped

    def _asked(self, sent: Query, most: int | None, offset: int) -> Iterator[Item]:
        """Ask for ``sent`` and yield what matches the query."""
        seen = Seen()
        number = 0
        while True:
            asked = asked_of(sent, self._profile, self._basic_only, self._with_fields)
            if number >= len(asked.alternatives):
                return
            parameters = asked.alternatives[number]
            number += 1
            # Where there are filters, what comes is looked through, so nobody knows how many results will do.
            enough = None if self._query.filters else most
            found = pages(self._searcher, sent, parameters, self._size, most, offset, enough, seen, self._tell)
            try:
                first = next(found, None)
            except RefusedError as error:
                if not self._more_modest(sent, error):
                    raise
                number -= 1
                continue
            lists = [pair for pair in parameters if "," in pair[1] and pair[0] in _UID_KEYS]
            uids = lists[0] if len(lists) == 1 else None
            if first is None:
                if uids is not None and not self._knows_lists:
                    yield from self._one_by_one(sent, parameters, uids, seen)
                continue
            self._knows_lists = self._knows_lists or uids is not None
            for page in _with_first(first, found):
                yield from self._matching(page, asked, sent)

    def _one_by_one(self, sent: Query, parameters: Parameters, uids: tuple[str, str], seen: Seen) -> Iterator[Item]:
        """Ask for each UID of a list, for a server that found nothing and may not know lists."""
        name, value = uids
        rest = tuple(pair for pair in parameters if pair != uids)
        for uid in value.split(","):
            one = (*rest, (name, uid))
            for page in pages(self._searcher, sent, one, self._size, None, 0, None, seen, self._tell):
                yield from self._matching(page, Asked((one,)), sent)

    def _more_modest(self, sent: Query, error: RefusedError) -> bool:
        """Ask for less after a refusal; false where there is nothing left to leave out."""
        if error.status not in _REFUSALS:
            return False
        refused = [name for name in sent.filters if name not in BASIC]
        if self._with_fields and self._profile.includefield != "none":
            self._with_fields = False
        elif self._size > _SMALL_PAGE:
            self._size = _SMALL_PAGE
        elif refused and not self._basic_only:
            self._basic_only = True
            self._tell(f"{self._server} refuses to search for {', '.join(refused)}; that is done here.")
            self._with_fields = True
        else:
            return False
        return True

    def _matching(self, page: Sequence[Mapping[str, Any]], asked: Asked, sent: Query) -> Iterator[Item]:
        """Yield the results of a page that match what was asked for, whoever looked."""
        query = self._query
        items = [item for one in page if (item := self._complete(plain(one))) is not None]
        known = {keyword for keyword in query.filters if any(keyword in item for item in items)}
        self._returned |= known
        self._tell_unknown(items, self._returned, asked)
        by_server = query.filters.keys() - asked.here - asked.wide if sent is query else frozenset()
        for item in items:
            for keyword in by_server & known:
                if not self._matches(item, keyword, True):
                    self._unheeded.add(keyword)
                    self._tell(f"{self._server} does not heed the filter {keyword}; its results are filtered here.")
        by_server = by_server - self._unheeded
        kept = [
            item
            for item in items
            if all(self._matches(item, keyword, keyword in by_server) for keyword in self._returned)
        ]
        self._dropped += len(items) - len(kept)
        self._found += len(kept)
        yield from sorted(kept, key=_number_of(query)) if _number_of(query) else kept

    def _matches(self, item: Item, keyword: str, by_server: bool) -> bool:
        """Whether an item matches; what it lacks has no value, unless the server knew and left it out."""
        query = self._query
        if keyword not in item:
            return by_server
        is_name = vr_of(keyword) == "PN"
        if is_name and query.fuzzy and by_server:
            return True  # the server's own idea of what sounds alike
        texts = query.filters[keyword]
        found = matches(item, keyword, texts, query.fuzzy)
        if not found and is_name and by_server:
            # Servers may be more generous with names, e.g. with accents; what they ignore looks different.
            return any(fuzzy_match(str(item[keyword]), text) for text in texts)
        return bool(found)

    def _tell_unknown(self, items: Sequence[Item], known: set[str], asked: Asked) -> None:
        for keyword in self._query.filters if items else ():
            if keyword in known:
                continue
            if keyword in asked.here:
                self._tell(f"{self._server} neither searches for {keyword} nor returns it: this filter is not applied.")
            else:
                self._tell(f"{self._server} does not return {keyword}: whether it heeds this filter cannot be seen.")

    def _complete(self, item: Item) -> Item | None:
        """Add the UIDs that were given, which some servers leave out; None for what has no identity."""
        query = self._query
        if query.study:
            item.setdefault("StudyInstanceUID", query.study)
        if query.series:
            item.setdefault("SeriesInstanceUID", query.series)
        if not item.get(query.uids[-1]) and query.level != "patient":
            self._tell(f"{self._server} gave a result without {query.uids[-1]}, which is left out.")
            return None
        return item

    def _tell(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._told(text)


def _with_first(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _number_of(query: Query) -> Any:
    """Return the key by which a page is sorted, None for the server's own order."""
    number, within = {"series": ("SeriesNumber", query.study), "instance": ("InstanceNumber", query.series)}.get(
        query.level, ("", None)
    )
    if not within:
        return None

    def key(item: Item) -> tuple[bool, float, str]:
        value = item.get(number)
        known = isinstance(value, int | float)
        return not known, float(value) if isinstance(value, int | float) else 0.0, str(item[query.uids[-1]])

    return key
