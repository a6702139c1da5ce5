"""What a server can do, found out with small questions about what it has; nothing is changed on it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from pydicom.uid import UID

from dicombridge.errors import AuthenticationError, CancelledError, DamagedAnswerError, RefusedError, WebError
from dicombridge.web.catalogue.attributes import key_of, plain
from dicombridge.web.catalogue.client import Searcher, query_string
from dicombridge.web.catalogue.pictures import has_pixels
from dicombridge.web.catalogue.query import BASIC
from dicombridge.web.catalogue.single import accept_dicom, beginning, instance_address
from dicombridge.web.connection import Connection
from dicombridge.web.profile import Profile

__all__ = ["Finding", "measured"]

_SAMPLE = 25
_MOST_CLOCK_ERROR = 300.0
_PICTURE = 64
_MOST_TRIED = 8
_IMAGES = 3
_SPECIAL = re.compile(r"[^A-Za-z0-9*?,.:/@!$'()~_\\-]")


@dataclass(frozen=True)
class Finding:
    """What was found: ``ok`` is False for what is missing or odd, and None where nothing could be found out."""

    what: str
    ok: bool | None
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"what": self.what, "ok": self.ok, "text": self.text}


Measured = tuple[Finding, dict[str, Any]]


def measured(connection: Connection, found: Callable[[Finding], object]) -> Profile:
    """Measure what a server can do.

    Parameters
    ----------
    connection
        With the server, whose profile says what is known; it is returned with what was measured.
    found
        Called with each finding.

    Raises
    ------
    CancelledError
        Somebody asked to stop.
    """
    bench = _Bench(connection)
    profile = connection.server.profile
    for what, step in bench.steps():
        try:
            results = list(step())
        except CancelledError:
            raise
        except WebError as error:
            results = [(Finding(what, None, f"It could not be found out: {error}"), {})]
        for finding, values in results:
            found(finding)
            profile = replace(profile, **values)
            bench.profile = profile
    return profile


class _Bench:
    """The questions; each yields findings, and the values of the profile that they mean."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._searcher = Searcher(connection)
        self._studies: list[dict[str, Any]] = []
        self._tried: list[tuple[str, str, str]] = []
        self.profile = connection.server.profile

    def steps(self) -> Iterator[tuple[str, Callable[[], Iterator[Measured]]]]:
        """Yield the questions in their order."""
        yield "clock", self._clock
        yield "queries", self._queries
        if not self._studies:
            return
        yield "paging", self._paging
        yield "more attributes", self._more_attributes
        yield "filters", self._filters
        yield "wildcards", self._wildcards
        yield "special characters", self._special_characters
        yield "fuzzy names", self._fuzzy_names
        yield "patients", self._patients
        yield "instances", self._instances
        if self._tried:
            yield "pictures", self._pictures
            yield "retrieval", self._retrieval

    def _ask(self, *parameters: tuple[str, str], limit: int | None = _SAMPLE, offset: int | None = None) -> list[Any]:
        page = self._searcher.page("study", parameters, limit=limit, offset=offset)
        return [plain(item) for item in page.items]

    def _uids(self, *parameters: tuple[str, str], **window: Any) -> list[str]:
        return [str(item.get("StudyInstanceUID") or "") for item in self._ask(*parameters, **window)]

    # -- queries ---------------------------------------------------------------------------------------------

    def _clock(self) -> Iterator[Measured]:
        url = f"{self._connection.server.qido_root}/studies?limit=1"
        with self._connection.get(url, accept="application/dicom+json", encoding="gzip") as answer:
            text = answer.headers.get("Date", "")
            product = answer.headers.get("Server", "")
        if product and not self.profile.product:
            yield Finding("product", True, f"The server calls itself {product}."), {}
        try:
            difference = time.time() - parsedate_to_datetime(text).timestamp()
        except (TypeError, ValueError):
            return
        if abs(difference) > _MOST_CLOCK_ERROR:
            minutes = round(abs(difference) / 60)
            yield Finding("clock", False, f"Its clock and ours are {minutes} minutes apart: tokens may be refused."), {}

    def _queries(self) -> Iterator[Measured]:
        self._studies = self._ask()
        count = len(self._studies)
        if not count:
            yield Finding("queries", True, "It answers, but has no studies: the rest could not be tried."), {}
        elif count > _SAMPLE:
            text = f"It does not heed the limit of a query: asked for {_SAMPLE} studies, it gave {count}."
            yield Finding("queries", False, text), {}
        else:
            yield Finding("queries", True, "It answers queries."), {}

    def _paging(self) -> Iterator[Measured]:
        first = [str(item.get("StudyInstanceUID") or "") for item in self._studies]
        if len(first) == 1:
            works = not self._uids(limit=1, offset=1)
        else:
            second = self._uids(limit=1, offset=1)
            works = len(second) == 1 and second[0] != first[0]
        text = "Results can be read page by page." if works else "It ignores the offset of a query, so pages repeat."
        yield Finding("paging", works, text), {"pages": works}

    def _more_attributes(self) -> Iterator[Measured]:
        """Look whether some attribute comes that does not come by itself."""
        names = ("StudyDescription", "NumberOfStudyRelatedInstances", "ModalitiesInStudy", "StudyID", "InstitutionName")
        by_itself = {keyword for item in self._studies for keyword in item}
        for way, parameters in (
            ("list", [("includefield", key_of(name)) for name in names]),
            ("all", [("includefield", "all")]),
        ):
            try:
                asked = {keyword for item in self._ask(*parameters) for keyword in item}
            except RefusedError:
                continue
            if asked - by_itself or (way == "list" and set(names[:3]) <= by_itself):
                more = ", ".join(sorted(asked - by_itself)[:4]) or "nothing that it does not give anyway"
                yield Finding("more attributes", True, f"includefield works ({way}): {more}."), {"includefield": way}
                return
        try:
            self._ask(("includefield", key_of("StudyDescription")))
            listed = True
        except RefusedError:
            listed = False
        way = "list" if listed else "none"
        text = "includefield makes no difference." if listed else "includefield is refused."
        yield Finding("more attributes", False, text), {"includefield": way}

    def _filters(self) -> Iterator[Measured]:
        """Look for what nobody has."""
        nobody = f"nobody-{secrets.token_hex(4)}"
        heeded = not self._uids((key_of("PatientID"), nobody))
        ignored, refused = [], []
        for keyword in ("AccessionNumber", "StudyDescription", "ModalitiesInStudy"):
            value = "XX" if keyword == "ModalitiesInStudy" else nobody[:16]
            try:
                if self._uids((key_of(keyword), value)):
                    ignored.append(keyword)
            except RefusedError:
                refused.append(keyword)
        searchable: dict[str, Any] = {}
        if ignored or refused:
            unsearchable = {*ignored, *refused}
            known = self.profile.searchable or (*BASIC, "StudyDescription", "ModalitiesInStudy", "PatientBirthDate")
            searchable["searchable"] = tuple(sorted({*known} - unsearchable))
        if not heeded:
            yield Finding("filters", False, "It ignores even Patient IDs: all filtering is done here."), searchable
        elif ignored or refused:
            text = "; ".join(
                f"it {verb} {', '.join(names)}" for verb, names in (("ignores", ignored), ("refuses", refused)) if names
            )
            yield Finding("filters", False, f"Some filters are done here: {text}."), searchable
        else:
            yield Finding("filters", True, "It heeds the usual filters."), searchable

    def _wildcards(self) -> Iterator[Measured]:
        for keyword in ("PatientID", "PatientName"):
            for item in self._studies:
                value = str(item.get(keyword) or "")
                start = re.match(r"[A-Za-z0-9]{2,}", value)
                if start is None or len(value) < 3:
                    continue
                works = item["StudyInstanceUID"] in self._uids((key_of(keyword), f"{start[0][:-1]}*"), limit=200)
                text = "* and ? work in texts." if works else "Wildcards do not work: texts are found whole."
                yield Finding("wildcards", works, text), {"wildcard": works}
                return
        yield Finding("wildcards", None, "No study has a text with which to try it."), {}

    def _special_characters(self) -> Iterator[Measured]:
        """Look for a value with characters that are percent-encoded in addresses; one server does not decode them."""
        for keyword in ("PatientName", "PatientID", "AccessionNumber"):
            for item in self._studies:
                value = str(item.get(keyword) or "")
                if not _SPECIAL.search(value) or "=" in value or "%" in value:
                    continue
                if item["StudyInstanceUID"] in self._uids((key_of(keyword), value), limit=200):
                    yield (
                        Finding("special characters", True, "^, blanks and umlauts are understood."),
                        self._decodes(True),
                    )
                    return
                masked = _SPECIAL.sub(lambda found: "?" if found[0].isascii() else "*", value)
                if item["StudyInstanceUID"] in self._uids((key_of(keyword), masked), limit=200):
                    text = "It does not decode ^, blanks and umlauts in queries: they are asked for with wildcards."
                    yield Finding("special characters", False, text), self._decodes(False)
                    return
        yield Finding("special characters", None, "No study has a value with which to try it."), {}

    @staticmethod
    def _decodes(value: bool) -> dict[str, Any]:
        return {"decodes_queries": value}

    def _fuzzy_names(self) -> Iterator[Measured]:
        name, fuzzy = key_of("PatientName"), ("fuzzymatching", "true")
        for item in self._studies:
            parts = re.findall(r"[A-Za-z]{3,}", str(item.get("PatientName") or ""))
            if not parts:
                continue
            start = parts[0][:-1].lower()
            try:
                works = item["StudyInstanceUID"] in self._uids((name, start), fuzzy, limit=200)
            except RefusedError:
                works = False
            text = "Beginnings of names are found." if works else "Fuzzy matching does not work; it is done here."
            yield Finding("fuzzy names", works, text), {"fuzzy": works}
            return
        yield Finding("fuzzy names", None, "No study has a name with which to try it."), {}

    def _patients(self) -> Iterator[Measured]:
        try:
            found = [plain(item) for item in self._searcher.page("patient", (), limit=1).items]
        except (RefusedError, DamagedAnswerError, AuthenticationError):
            found = []
        works = bool(found) and "PatientID" in found[0] and not found[0].get("StudyInstanceUID")
        text = "It lists patients." if works else "It has no list of patients; they are taken from the studies."
        yield Finding("patients", works, text), {"patients": works}

    # -- retrieval -------------------------------------------------------------------------------------------

    def _instances(self) -> Iterator[Measured]:
        """Find images of some studies, else any instance."""
        images: list[tuple[str, str, str]] = []
        others: list[tuple[str, str, str]] = []
        for study in [str(item.get("StudyInstanceUID") or "") for item in self._studies[:_MOST_TRIED]]:
            for item in [plain(one) for one in self._searcher.page("instance", (), study, limit=5).items]:
                place = (study, str(item.get("SeriesInstanceUID") or ""), str(item.get("SOPInstanceUID") or ""))
                if all(place):
                    (images if has_pixels(str(item.get("SOPClassUID") or "")) else others).append(place)
            if len({place[0] for place in images}) >= _IMAGES:
                break
        self._tried = [*{place[0]: place for place in images}.values()] or others[:1]
        if not self._tried:
            yield Finding("instances", False, "It lists no instances of its studies."), {}

    def _pictures(self) -> Iterator[Measured]:
        query = query_string({"viewport": f"{_PICTURE},{_PICTURE}"})
        for way in ("thumbnail", "rendered"):
            for place in self._tried:
                if self._is_picture(f"{instance_address(self._connection, *place)}/{way}{query}"):
                    yield Finding("pictures", True, f"It makes pictures (/{way})."), {"thumbnails": way}
                    return
        yield Finding("pictures", False, "It makes no pictures; they are made here."), {"thumbnails": "none"}

    def _is_picture(self, url: str) -> bool:
        try:
            with self._connection.get(url, accept="image/jpeg") as answer:
                return next(answer.chunks(64), b"").startswith((b"\xff\xd8\xff", b"\x89PNG"))
        except (RefusedError, DamagedAnswerError, AuthenticationError):
            return False

    def _retrieval(self) -> Iterator[Measured]:
        values: dict[str, Any] = {}
        profile = self.profile
        ways: tuple[dict[str, Any], ...] = (
            {"any_transfer_syntax": True, "quoted_type": True},
            {"any_transfer_syntax": True, "quoted_type": False},
            {"any_transfer_syntax": False, "quoted_type": True},
            {"any_transfer_syntax": False, "quoted_type": False},
        )
        for changed in ways:
            if self._gives(replace(profile, **changed), single_part=False):
                values = dict(changed)
                break
        single = self._gives(replace(profile, **values), single_part=True)
        values["single_part"] = single
        if len(values) == 1 and not single:
            yield Finding("retrieval", False, "It does not give instances."), {}
            return
        server = self._connection.server.changed(profile=replace(profile, **values))
        with Connection(server, self._connection.session.credentials, self._connection.cancel) as other:
            syntax = beginning(other, *self._tried[0]).transfer_syntax
        as_stored = values.get("any_transfer_syntax", profile.any_transfer_syntax)
        name = f" (here {UID(syntax).name})" if syntax else ""
        how = f"as they are stored{name}" if as_stored else f"only in the server's transfer syntax{name}"
        yield (
            Finding("retrieval", True, f"It gives instances {how}{', also without multipart' if single else ''}."),
            values,
        )
        yield from self._levels()

    def _gives(self, profile: Profile, single_part: bool) -> bool:
        url = instance_address(self._connection, *self._tried[0])
        return self._answers(url, accept_dicom(profile, single_part))

    def _levels(self) -> Iterator[Measured]:
        """Ask for a series, and read no more than its first bytes."""
        url = instance_address(self._connection, *self._tried[0]).rpartition("/instances/")[0]
        works = self._answers(url, accept_dicom(self.profile, single_part=False))
        if works:
            return
        text = "Whole series cannot be retrieved: instances are fetched one by one."
        yield Finding("retrieval of series", False, text), {"retrieve_levels": ("instance",)}

    def _answers(self, url: str, accept: str) -> bool:
        try:
            with self._connection.get(url, accept=accept) as answer:
                return b"DICM" in next(answer.chunks(4096), b"") or answer.status == 200
        except (RefusedError, DamagedAnswerError, AuthenticationError):
            return False
