"""Results of a query page by page, from servers that page as the standard says and from those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dicombridge.web.catalogue.attributes import key_of
from dicombridge.web.catalogue.client import Page, Searcher
from dicombridge.web.catalogue.query import Query
from dicombridge.web.catalogue.seen import Seen
from dicombridge.web.profile import Profile

__all__ = ["Parameters", "Told", "pages"]

Told = Callable[[str], object]
Parameters = tuple[tuple[str, str], ...]
_GROWTH = 4
_PROBE = 10
_PATIENT_ID = key_of("PatientID")


@dataclass
class _Window:
    """The part of the results that is asked for next."""

    size: int
    offset: int


def pages(
    searcher: Searcher,
    query: Query,
    parameters: Parameters,
    size: int,
    first: int | None,
    offset: int,
    most: int | None,
    seen: Seen,
    told: Told,
    asks_on: bool = False,
) -> Iterator[list[Mapping[str, Any]]]:
    """Yield pages of results that did not come before, until the server has no more.

    A page that is shorter than asked for is the last, unless the server says that there are more, or its length is a
    round number, which may be the server's own limit. A server that ignores ``offset`` repeats itself: then larger and
    larger pages are asked for, what comes twice is left out, and results are passed over here.

    Parameters
    ----------
    size
        Results to ask for in one request.
    first
        Fewer that will perhaps do, and are asked for first.
    offset
        Results to pass over.
    most
        Results that are needed, None for all.
    seen
        What came before, also from other requests of the same query.
    asks_on
        Do not believe that a short page is the last: ask for a few more behind it, until there are none.
    """
    profile = searcher.connection.server.profile
    key = key_of(query.uids[-1])
    repeats = profile.pages is False
    over = offset if repeats else 0  # results that are still to be passed over here
    window = _Window(min(size, first) if first and not over else size, offset - over)
    is_probe = False
    given = 0
    before = 0
    while True:
        if profile.last_offset is not None and window.offset > profile.last_offset:
            told(f"{_name(searcher)} gives no more than {window.offset} results. Narrow the search to see the others.")
            return
        page = _page(searcher, query, parameters, window, repeats)
        if offset and window.offset == offset and profile.pages is None and _begins(searcher, query, parameters, page):
            repeats, over, window.offset = True, offset, 0
        new = [item for number, item in enumerate(page.items) if seen.add(_identity(item, key, number))]
        wanted = new[over:]
        over -= min(over, len(new))
        if wanted:
            yield wanted
        given += len(wanted)
        count = len(page.items)
        is_last = _is_last(page, window.size)
        if not count or (most is not None and given >= most) or (is_last and not asks_on) or (is_probe and not new):
            return
        is_probe = is_last
        if is_probe:
            window.offset += count
            window.size = _PROBE
        elif not new or repeats:
            if not _grow(searcher, page, window, before, repeats, profile, told):
                return
            repeats = True
            before = count
        else:
            window.offset += count
            window.size = size


def _page(searcher: Searcher, query: Query, parameters: Parameters, window: _Window, repeats: bool) -> Page:
    offset = window.offset if window.offset and not repeats else None
    return searcher.page(query.level, parameters, query.study, query.series, window.size, offset)


def _begins(searcher: Searcher, query: Query, parameters: Parameters, page: Page) -> bool:
    """Whether a page that is further on is the first one, so that the server did not look at the offset."""
    if not page.items:
        return False
    first = _page(searcher, query, parameters, _Window(1, 0), False).items
    key = key_of(query.uids[-1])
    return bool(first) and _identity(first[0], key, 0) == _identity(page.items[0], key, 0)


def _grow(
    searcher: Searcher, page: Page, window: _Window, before: int, repeats: bool, profile: Profile, told: Told
) -> bool:
    """Ask a server that repeats itself for more at a time; false where that gives nothing new."""
    count = len(page.items)
    if count != window.size and repeats:
        # It gives as many as it likes, whatever it is asked for.
        if count >= before or page.says_more:
            told(f"{_name(searcher)} gives no more than {count} results. Narrow the search to see the others.")
        return False
    if count > window.size:
        return False  # it gave all at once, without looking at the limit
    window.size *= _GROWTH
    return not (repeats and count <= before)


def _is_last(page: Page, size: int) -> bool:
    count = len(page.items)
    return count < size and not page.says_more and count % 10 != 0


def _identity(item: Mapping[str, Any], key: str, number: int) -> str:
    """Return the UID of a result, with its patient: some archives have one study of two; a person should see both."""
    uid, patient = (first_text(item.get(one)) for one in (key, _PATIENT_ID))
    return f"{uid} {patient}" if uid else f"no UID {number} {item!r}"


def first_text(element: Any) -> str:
    """Return the first value of an element of DICOM JSON as text, empty where it has none."""
    value = element.get("Value") if isinstance(element, dict) else None
    return str(value[0]) if isinstance(value, list) and value and value[0] is not None else ""


def _name(searcher: Searcher) -> str:
    return str(searcher.connection.server)
