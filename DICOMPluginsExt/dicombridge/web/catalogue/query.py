"""What a query asks of a server, in the server's own words, and what is left to be done with its results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dicombridge.errors import DicomBridgeError
from dicombridge.web.addresses import check_uid
from dicombridge.web.catalogue.attributes import (
    FIELDS,
    LEVELS,
    UIDS,
    checked_keyword,
    key_of,
    level_of,
    vr_of,
)
from dicombridge.web.catalogue.matching import Wanted, is_pattern, wanted
from dicombridge.web.profile import Profile

__all__ = ["BASIC", "Asked", "Query", "again", "asked_of", "query_of"]

BASIC = frozenset(
    {
        *("StudyInstanceUID", "PatientName", "PatientID", "AccessionNumber", "ReferringPhysicianName", "StudyDate"),
        *("SeriesInstanceUID", "Modality", "SOPInstanceUID"),
    }
)
"""What every server can search for."""
_PLAIN = re.compile(r"[A-Za-z0-9*?,.:/@!$'()~_-]*")
_MOST_UIDS = 40
"""UIDs in one request: addresses of some 2000 characters are safe everywhere."""


@dataclass(frozen=True)
class Query:
    """A query as a person means it; ``filters`` are texts by keyword, of which one has to match."""

    level: str
    study: str | None = None
    series: str | None = None
    filters: Mapping[str, Wanted] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    fuzzy: bool = False

    @property
    def uids(self) -> tuple[str, ...]:
        """Keywords of what identifies a result."""
        return UIDS[self.level]


@dataclass(frozen=True)
class Asked:
    """Requests for a query: alternatives to be asked one after the other, each a list of parameters."""

    alternatives: tuple[tuple[tuple[str, str], ...], ...]
    here: frozenset[str] = frozenset()
    """Filters that this server is not asked for, so that they are done here."""
    wide: frozenset[str] = frozenset()
    """Filters that the server is asked for with more wildcards than meant, so that its results are looked through."""


def query_of(
    level: str,
    study: str | None,
    series: str | None,
    filters: Mapping[str, Any],
    fields: Sequence[str],
    fuzzy: bool,
) -> Query:
    """Return a checked query.

    Raises
    ------
    DicomBridgeError
        A level, keyword, UID or date is none.
    """
    if level not in LEVELS:
        raise DicomBridgeError(f"{level!r} is not a level; there are {', '.join(LEVELS)}.")
    if series and not study and level != "series":
        raise DicomBridgeError("A series is named together with its study.")
    if series and level == "series":
        filters, series = {**filters, "SeriesInstanceUID": series}, None
    if study and level in ("patient", "study"):
        filters, study = {**filters, "StudyInstanceUID": study}, None
    known: dict[str, Wanted] = {}
    for name, value in filters.items():
        keyword = checked_keyword(name)
        if vr_of(keyword) == "SQ":
            raise DicomBridgeError(f"{keyword} is a sequence, which cannot be searched for.")
        # What a person means by "studies with CT" and "series of studies with CT".
        if keyword == "Modality" and level in ("patient", "study"):
            keyword = "ModalitiesInStudy"
        elif keyword == "ModalitiesInStudy" and level in ("series", "instance"):
            keyword = "Modality"
        if texts := wanted(keyword, value):
            known[keyword] = texts
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        for uid in known.get(keyword, ()):
            check_uid(uid, keyword)
    return Query(
        level,
        check_uid(study, "Study Instance UID") if study else None,
        check_uid(series, "Series Instance UID") if series else None,
        known,
        tuple(dict.fromkeys(checked_keyword(name) for name in fields)),
        fuzzy,
    )


def asked_of(query: Query, profile: Profile, basic_only: bool = False, with_fields: bool = True) -> Asked:
    """Return what to ask a server of this profile.

    Parameters
    ----------
    basic_only
        Ask only for what every server can search for.
    with_fields
        Ask for more attributes than the server returns by itself.
    """
    searchable = BASIC if basic_only else frozenset(profile.searchable)
    here, wide = set(), set()
    fixed: list[tuple[str, str]] = []
    alternatives: list[list[tuple[str, str]]] = [[]]
    for keyword, texts in query.filters.items():
        if searchable and keyword not in searchable:
            here.add(keyword)
            continue
        sent = [_sent(keyword, text, query, profile) for text in texts]
        if any(text is None for text in sent):
            here.add(keyword)
            continue
        known = [text for text in sent if text is not None]
        if known != list(texts):
            wide.add(keyword)
        known = [text for text in dict.fromkeys(known) if text != "*"]
        if len(known) == 1:
            fixed.append((key_of(keyword), known[0]))
        elif known:
            choices = [(key_of(keyword), text) for text in _choices(keyword, known)]
            alternatives = [[*one, choice] for one in alternatives for choice in choices]
    if query.fuzzy and profile.fuzzy is not False and "PatientName" in query.filters:
        fixed.append(("fuzzymatching", "true"))
    if with_fields:
        fixed += _fields(query, profile)
    return Asked(tuple((*fixed, *one) for one in alternatives), frozenset(here), frozenset(wide))


def again(query: Query, profile: Profile) -> Iterator[Query]:
    """Yield other ways to ask, for a server that found nothing and may have misread the question.

    The first has wildcards for all characters that one server does not decode; the second has them around names, or
    no names at all, for a server that does not say that it knows no fuzzy matching. The caller looks through the
    results.
    """
    if profile.decodes_queries is None and profile.wildcard is not False:
        masked = {keyword: tuple(_masked(keyword, text) for text in texts) for keyword, texts in query.filters.items()}
        if masked != query.filters:
            yield replace(query, filters=masked)
    if query.fuzzy and profile.fuzzy is None and "PatientName" in query.filters:
        around = tuple(_around(text) for text in query.filters["PatientName"])
        names = {"PatientName": around} if profile.wildcard is not False else {}
        others = {keyword: texts for keyword, texts in query.filters.items() if keyword != "PatientName"}
        yield replace(query, filters={**others, **names}, fuzzy=False)


def _sent(keyword: str, text: str, query: Query, profile: Profile) -> str | None:
    """Return a text as it is sent to the server, None where the server cannot be asked."""
    if query.fuzzy and keyword == "PatientName" and profile.fuzzy is False:
        return _around(text) if profile.wildcard is not False else None
    if profile.decodes_queries is False:
        masked = _masked(keyword, text)
        if masked != text:
            return masked if profile.wildcard is not False else None
    if is_pattern(keyword, text) and profile.wildcard is False:
        return None
    return text


def _masked(keyword: str, text: str) -> str:
    """Return a text with wildcards for what would be percent-encoded.

    >>> _masked("PatientName", "Big^MF Müller"), _masked("StudyDate", "20200101-")
    ('Big?MF?M*ller', '20200101-')
    """
    if _PLAIN.fullmatch(text) or not is_pattern(keyword, "*"):
        return text
    # Several bytes may be one character or several on the other side.
    return re.sub(r"\*+", "*", "".join(_mask_of(letter) for letter in text))


def _mask_of(letter: str) -> str:
    if _PLAIN.fullmatch(letter):
        return letter
    return "?" if letter.isascii() else "*"


def _around(text: str) -> str:
    """Return the longest word of a name with wildcards around it."""
    words = [word for word in re.split(r"[\^=\s,*?]+", text) if word]
    longest = max(words, key=len, default="")
    return _masked("PatientName", f"*{longest}*") if longest else "*"


def _choices(keyword: str, texts: Sequence[str]) -> list[str]:
    """Return values that are asked for one after the other: lists are for UIDs only (PS3.4 C.2.2.2.2)."""
    if vr_of(keyword) != "UI":
        return list(texts)
    return [",".join(texts[start : start + _MOST_UIDS]) for start in range(0, len(texts), _MOST_UIDS)]


def _fields(query: Query, profile: Profile) -> list[tuple[str, str]]:
    if profile.includefield == "none":
        return []
    if profile.includefield == "all":
        return [("includefield", "all")]
    levels = LEVELS[: LEVELS.index(query.level) + 1]
    wanted_ones = [*FIELDS[query.level], *query.fields]
    wanted_ones += [keyword for keyword in query.filters if level_of(keyword) in levels]
    return [("includefield", key_of(keyword)) for keyword in dict.fromkeys(wanted_ones) if keyword not in query.uids]
