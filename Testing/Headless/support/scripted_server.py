"""A DICOMweb server that answers as it is told: as real ones do, with their quirks as switches."""

from __future__ import annotations

import base64
import fnmatch
import functools
import gzip
import json
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, unquote

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from support.scripted_quirks import Quirks, Studies

_UIDS = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}
_DEFAULT = {
    "study": (
        *("StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "PatientName"),
        *("PatientID", "PatientBirthDate", "PatientSex", "StudyID", "NumberOfStudyRelatedInstances"),
    ),
    "series": (
        *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
        "NumberOfSeriesRelatedInstances",
    ),
    "instance": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}
_MORE = {
    "study": ("StudyDescription", "InstitutionName"),
    "series": ("BodyPartExamined", "ProtocolName", "Manufacturer"),
    "instance": ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames"),
}


@dataclass
class Request:
    """A request that came."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]

    def value(self, name: str) -> str | None:
        """Return the last value of a parameter."""
        return dict(self.query).get(name)


@dataclass
class Scripted:
    """A running server."""

    quirks: Quirks
    instances: Sequence[Mapping[str, Any]]
    requests: list[Request] = field(default_factory=list)
    pages: dict[str, Callable[[Request], tuple[int, str, bytes]]] = field(default_factory=dict)
    """Path -> status, type and body, for whatever else there is."""
    headers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """SOP Instance UID -> DICOM JSON that ``/metadata`` gives instead of the attributes."""
    port: int = 0

    @property
    def url(self) -> str:
        """The root."""
        return f"{self.rest}{self.quirks.root}"

    @property
    def rest(self) -> str:
        """The address without the root."""
        return f"http://127.0.0.1:{self.port}"

    def asked(self, ending: str) -> list[Request]:
        """Return the requests whose path ends so."""
        return [request for request in self.requests if request.path.endswith(ending)]


@contextmanager
def scripted(quirks: Quirks | None = None, instances: Sequence[Mapping[str, Any]] = ()) -> Iterator[Scripted]:
    """Run a server, and end it."""
    server = Scripted(quirks or Quirks(), instances)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    http.block_on_close = False
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join(10)


class _Refusal(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _handler(server: Scripted) -> type[BaseHTTPRequestHandler]:
    quirks = server.quirks

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # header and body are written apart, and the second would wait 40 ms

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def version_string(self) -> str:
            return quirks.product

        def date_time_string(self, timestamp: float | None = None) -> str:
            import time

            return formatdate((timestamp or time.time()) + quirks.clock_error, usegmt=True)

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            plus = query if quirks.decodes else query.replace("%", "%25")
            request = Request("GET", path, parse_qsl(plus, keep_blank_values=True), dict(self.headers.items()))
            server.requests.append(request)
            try:
                status, headers, body = self._answer(request)
            except _Refusal as refusal:
                status, headers, body = refusal.status, {"Content-Type": "text/plain"}, str(refusal).encode()
            if quirks.gzip and "gzip" in self.headers.get("Accept-Encoding", "") and body:
                body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the client has seen enough

        def _answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
            inside = request.path == quirks.root or request.path.startswith(f"{quirks.root}/")
            if quirks.user and (inside or quirks.locks_all) and not self._is_let_in():
                return (403 if quirks.forbids else 401), {"WWW-Authenticate": quirks.challenge}, b""
            if request.path in server.pages:
                status, kind, body = server.pages[request.path](request)
                return status, {"Content-Type": kind}, body
            if not inside:
                return 200, {"Content-Type": "text/html"}, b"<html>a page of somebody else</html>"
            if quirks.redirects_to:
                return 302, {"Location": quirks.redirects_to + self.path}, b""
            return _resource(
                server, request, [unquote(part) for part in request.path[len(quirks.root) + 1 :].split("/")]
            )

        def _is_let_in(self) -> bool:
            expected = "Basic " + base64.b64encode(quirks.user.encode()).decode()
            return self.headers.get("Authorization") in (expected, f"Bearer {quirks.user}")

    return Handler


def _resource(server: Scripted, request: Request, parts: list[str]) -> tuple[int, dict[str, str], bytes]:
    quirks = server.quirks
    within = {}
    while len(parts) >= 2 and parts[0] in ("studies", "series", "instances"):
        level = {"studies": "study", "series": "series", "instances": "instance"}[parts[0]]
        within[_UIDS[level]] = parts[1]
        parts = parts[2:]
    match parts:
        case ["studies"]:
            return _search(server, request, "study", within)
        case ["series"]:
            return _search(server, request, "series", within)
        case ["instances"]:
            return _search(server, request, "instance", within)
        case ["patients"] if quirks.patients:
            return _search(server, request, "patient", within)
        case ["metadata"] if quirks.metadata:
            found = _found(server, within)
            headers = [server.headers.get(str(one["SOPInstanceUID"])) or dicom_json(one) for one in found]
            return 200, {"Content-Type": "application/dicom+json"}, json.dumps(headers).encode()
        case [*frames, ("rendered" | "thumbnail") as way]:
            return _picture(server, request, within, frames, way)
        case []:
            return _instances(server, request, within)
    raise _Refusal(404, "no such resource")


# --- Queries -------------------------------------------------------------------------------------------------------


def _found(server: Scripted, within: Mapping[str, str]) -> list[Mapping[str, Any]]:
    if not within and isinstance(server.instances, Studies):
        raise _Refusal(413, "too many")
    return [one for one in server.instances if all(one[keyword] == uid for keyword, uid in within.items())]


def _search(
    server: Scripted, request: Request, level: str, within: Mapping[str, str]
) -> tuple[int, dict[str, str], bytes]:
    quirks = server.quirks
    limit, offset = _window(quirks, request)
    filters = _filters(quirks, request, level)
    if not filters and not within and level == "study" and isinstance(server.instances, Studies):
        total, page = len(server.instances), [_item(one, level) for one in server.instances[offset : offset + limit]]
    else:
        items = _items(server, level, within)
        items = [one for one in items if all(_matches(quirks, one, *each, request) for each in filters.items())]
        total, page = len(items), items[offset : offset + limit]
    keywords = _keywords(quirks, request, level)
    answers = [dicom_json({k: v for k, v in one.items() if k in keywords}) for one in page]
    if not answers and quirks.empty_204:
        return 204, {}, b""
    headers = {"Content-Type": "application/dicom+json"}
    if quirks.warns and offset + len(page) < total:
        text = f"There are {total - offset - len(page)} additional results that can be requested"
        headers["Warning"] = f'299 scripted: "{text}"'
    return 200, headers, json.dumps(answers).encode()


def _window(quirks: Quirks, request: Request) -> tuple[int, int]:
    text = request.value("limit")
    limit = int(text) if text else quirks.default_limit or 10**9
    if quirks.most is not None and limit > quirks.most:
        if quirks.refuses_more and text:
            raise _Refusal(400, f"limit must be at most {quirks.most}")
        limit = quirks.most
    if quirks.ignores_limit:
        limit = 10**9
    offset = int(request.value("offset") or 0)
    if offset:
        offset = max(offset - quirks.shifts, 0)
    return limit, 0 if quirks.ignores_offset else offset


def _filters(quirks: Quirks, request: Request, level: str) -> dict[str, str]:
    found = {}
    for name, value in request.query:
        if name in ("limit", "offset", "includefield", "fuzzymatching"):
            continue
        keyword = keyword_for_tag(int(name, 16)) if re.fullmatch(r"[0-9A-Fa-f]{8}", name) else name
        if quirks.searchable and keyword not in quirks.searchable:
            raise _Refusal(400, f"{keyword} is not a supported search attribute")
        if keyword not in quirks.ignored:
            found[keyword] = value
    return found


def _items(server: Scripted, level: str, within: Mapping[str, str]) -> list[dict[str, Any]]:
    if level == "instance":
        return [_item(one, level) for one in _found(server, within)]
    key = "PatientID" if level == "patient" else _UIDS[level]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in server.instances:
        if all(one[keyword] == uid for keyword, uid in within.items()):
            groups.setdefault(str(one[key]), []).append(one)
    return [
        {
            **_item(group[0], level),
            "ModalitiesInStudy": list(dict.fromkeys(one["Modality"] for one in group)),
            "NumberOfStudyRelatedInstances": len(group),
            "NumberOfSeriesRelatedInstances": len(group),
        }
        for group in groups.values()
    ]


def _item(one: Mapping[str, Any], level: str) -> dict[str, Any]:
    return {**one, "ModalitiesInStudy": [one["Modality"]]} if level == "study" else dict(one)


def _keywords(quirks: Quirks, request: Request, level: str) -> set[str]:
    if level == "patient":
        return {"PatientID", "PatientName", "PatientBirthDate", "PatientSex"}
    found = {*_DEFAULT[level]}
    if quirks.describes:
        found |= {"StudyDescription"} if level == "study" else set()
    for name, value in request.query:
        if name != "includefield":
            continue
        if quirks.includefield == "refused":
            raise _Refusal(400, "includefield is not supported for this attribute")
        for one in value.split(","):
            keyword = keyword_for_tag(int(one, 16)) if re.fullmatch(r"[0-9A-Fa-f]{8}", one) else one
            if quirks.includefield == "list" and (keyword in _MORE[level] or keyword in _DEFAULT[level]):
                found.add(keyword)
            if quirks.includefield == "all" and one == "all":
                found |= set(_MORE[level])
    return found - {*quirks.leaves_out}


def _matches(quirks: Quirks, item: Mapping[str, Any], keyword: str, wanted: str, request: Request) -> bool:
    if keyword not in item:
        return quirks.ignores_unknown
    values = item[keyword] if isinstance(item[keyword], list) else [item[keyword]]
    vr = dictionary_VR(tag_for_keyword(keyword))
    return any(_one_matches(quirks, str(value), wanted, vr, request) for value in values)


def _one_matches(quirks: Quirks, value: str, wanted: str, vr: str, request: Request) -> bool:
    if vr == "UI":
        return value in (wanted.split(",") if quirks.uid_lists else [wanted])
    if vr == "DA" and "-" in wanted:
        low, _, high = wanted.partition("-")
        return (low or "0") <= value <= (high or "9")
    if vr == "PN" and quirks.fuzzy and request.value("fuzzymatching") == "true":
        words = re.split(r"[ ^]+", _bare(wanted))
        return all(any(part.startswith(word) for part in re.split(r"[ ^]+", _bare(value))) for word in words)
    if quirks.wildcard and re.search(r"[*?]", wanted):
        return fnmatch.fnmatchcase(value.lower(), wanted.lower())
    return value == wanted


def _bare(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(one))


@functools.cache
def _known(keyword: str) -> tuple[str, str]:
    tag = tag_for_keyword(keyword)
    return f"{tag:08X}", str(dictionary_VR(tag))


def dicom_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords and values as DICOM JSON."""
    found = {}
    for keyword, value in values.items():
        key, vr = _known(keyword)
        items = value if isinstance(value, list) else [value]
        if vr == "SQ":
            items = [dicom_json(item) for item in items]
        elif vr == "PN":
            items = [{"Alphabetic": item} for item in items]
        element: dict[str, Any] = {"vr": vr}
        if value not in ("", None, []):
            element["Value"] = items
        found[key] = element
    return found


# --- Retrieval -----------------------------------------------------------------------------------------------------


def part10(values: Mapping[str, Any]) -> bytes:
    """Return an instance as a DICOM file: a ramp of grey."""
    dataset = Dataset()
    for keyword, value in values.items():
        if keyword != "NumberOfFrames" or value != 1:
            setattr(dataset, keyword, value)
    frames = int(values.get("NumberOfFrames", 1))
    rows, columns = int(values["Rows"]), int(values["Columns"])
    ramp = np.arange(frames * rows * columns, dtype=np.uint16).reshape(frames, rows, columns)
    dataset.PhotometricInterpretation, dataset.BitsStored, dataset.HighBit = "MONOCHROME2", 16, 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = ramp.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = values["SOPClassUID"]
    dataset.file_meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
    written = BytesIO()
    dcmwrite(written, dataset, enforce_file_format=True)
    return written.getvalue()


def _instances(server: Scripted, request: Request, within: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    quirks = server.quirks
    accept = request.headers.get("Accept", "")
    if "SOPInstanceUID" not in within and not quirks.series_retrieval:
        raise _Refusal(404, "only instances can be retrieved")
    if "transfer-syntax=*" in accept and not quirks.transfer_syntax_any:
        raise _Refusal(406, "no such transfer syntax")
    found = _found(server, within)
    if not found:
        raise _Refusal(404, "no such instance")
    if accept.startswith("application/dicom"):
        if not quirks.single_part or len(found) > 1:
            raise _Refusal(400, "multipart only")
        return 200, {"Content-Type": "application/dicom"}, part10(found[0])
    if ('"' in accept) != quirks.quoted_type:
        raise _Refusal(406, "not so")
    body = b""
    for one in found:
        data = part10(one)
        body += b"\r\n--b0\r\nContent-Type: application/dicom\r\nContent-Length: %d\r\n\r\n" % len(data) + data
    kind = 'multipart/related; type="application/dicom"; boundary=b0'
    return 200, {"Content-Type": kind}, body + b"\r\n--b0--\r\n"


def _picture(
    server: Scripted, request: Request, within: Mapping[str, str], frames: list[str], way: str
) -> tuple[int, dict[str, str], bytes]:
    quirks = server.quirks
    if not (quirks.thumbnail if way == "thumbnail" else quirks.rendered):
        raise _Refusal(404 if way == "thumbnail" else 501, f"no {way}")
    if quirks.refuses_lists_of_types and "," in request.headers.get("Accept", ""):
        raise _Refusal(400, "one type only")
    if not _found(server, within):
        raise _Refusal(404, "no such instance")
    width, height = (int(one) for one in (request.value("viewport") or "300,200").split(",")[:2])
    grey = int(frames[1]) * 10 % 256 if frames else 200
    written = BytesIO()
    Image.new("L", (width, height), grey).save(written, "JPEG")
    return 200, {"Content-Type": "image/jpeg"}, written.getvalue()
