"""What a server answers to a store request: the Store Instances Response Module, PS3.18 I.

As DICOM JSON or, from servers that ignore ``Accept``, as DICOM XML (PS3.19 A.1); with or without a content type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from dicombridge.errors import DamagedAnswerError
from dicombridge.web.storing.reasons import Reason, reason_of, warning_words

__all__ = ["StoreAnswer", "read_answer"]

FAILED_SOP_SEQUENCE, REFERENCED_SOP_SEQUENCE, OTHER_FAILURES_SEQUENCE = "00081198", "00081199", "0008119A"
REFERENCED_SOP_INSTANCE_UID, FAILURE_REASON, WARNING_REASON = "00081155", "00081197", "00081196"
FAILED_ATTRIBUTES_SEQUENCE, ERROR_COMMENT = "00741048", "00000902"
_TEXT_VRS = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))
_LONGEST_DETAIL = 500
_WARNING_HEADER = re.compile(r'\b\d{3}\s+\S+\s+"((?:[^"\\]|\\.)*)"')


@dataclass
class StoreAnswer:
    """What a server says of each instance of a request.

    Attributes
    ----------
    stored
        SOP Instance UIDs of what was stored, each with the server's warning in words, or an empty text.
    failed
        SOP Instance UIDs of what was not, each with the reason.
    nameless
        Reasons of failures of which the server does not say whose they are.
    told
        What the server says of the request as a whole, in its own words.
    """

    stored: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Reason] = field(default_factory=dict)
    nameless: list[Reason] = field(default_factory=list)
    told: str = ""


def read_answer(body: bytes, headers: Mapping[str, str] | None = None) -> StoreAnswer:
    """Read the body of an answer to a store request.

    What it is, is told by its first character: Orthanc sends no content type with errors.

    Parameters
    ----------
    body
        As it came; may be empty.
    headers
        Of the answer; dcm4chee puts reasons into ``Warning``.

    Raises
    ------
    DamagedAnswerError
        It begins as JSON or XML does, and is none.

    Examples
    --------
    >>> read_answer(b'{"00081198": {}, "00081199": {"Value": [{"00081155": {"Value": ["1.2"]}}]}}').stored
    {'1.2': ''}
    >>> read_answer(b"Bad Request").told
    'Bad Request'
    """
    told = _warning(headers or {})
    text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"["):
        modules = list(_of_json(text))
    elif text[:1] == b"<" and b"<NativeDicomModel" in text[:2000]:
        modules = [_of_xml(text)]
    else:
        modules = []
        plain = text.decode("utf-8", "replace").strip()
        if plain and not plain.startswith("<"):
            told = "; ".join(filter(None, (plain.splitlines()[0][:_LONGEST_DETAIL], told)))
    answer = StoreAnswer(told=told)
    for module in modules:
        _interpret(module, answer)
        if not (answer.stored or answer.failed or answer.nameless) and not answer.told:
            answer.told = _error_text(module)
    return answer


def _interpret(module: Mapping[str, Any], answer: StoreAnswer) -> None:
    """Add what one Store Instances Response Module says; failures win over successes of the same instance."""
    for item in _items(module, REFERENCED_SOP_SEQUENCE):
        uid, code = _uid(item), _number(item, WARNING_REASON)
        detail = _detail(item)
        if uid:
            answer.stored[uid] = warning_words(code, detail) if code is not None or detail else ""
    for sequence in (FAILED_SOP_SEQUENCE, OTHER_FAILURES_SEQUENCE):
        for item in _items(module, sequence):
            uid, reason = _uid(item), reason_of(_number(item, FAILURE_REASON), _detail(item) or answer.told)
            if uid:
                answer.failed[uid] = reason
                answer.stored.pop(uid, None)
            else:
                answer.nameless.append(reason)


def _items(module: Mapping[str, Any], tag: str) -> Iterator[Mapping[str, Any]]:
    """Yield the items of a sequence, which may be there without ``Value`` (Orthanc before 1.19)."""
    for item in _values(module, tag):
        if isinstance(item, Mapping):
            yield item


def _values(item: Mapping[str, Any], tag: str) -> list[Any]:
    element = item.get(tag)
    value = element.get("Value") if isinstance(element, Mapping) else None
    return value if isinstance(value, list) else [] if value is None else [value]


def _uid(item: Mapping[str, Any]) -> str:
    return next((str(value).strip("\0 ") for value in _values(item, REFERENCED_SOP_INSTANCE_UID) if value), "")


def _number(item: Mapping[str, Any], tag: str) -> int | None:
    for value in _values(item, tag):
        try:
            return int(value)
        except (TypeError, ValueError):
            continue
    return None


def _detail(item: Mapping[str, Any]) -> str:
    """Return what a server says in words: Error Comment, Failed Attributes Sequence, or texts of private elements."""
    words = [str(value) for value in _values(item, ERROR_COMMENT)]
    for attribute in _items(item, FAILED_ATTRIBUTES_SEQUENCE):
        words += [str(value) for value in _values(attribute, ERROR_COMMENT)]
    for tag, element in item.items():
        if not _is_private(tag) or not isinstance(element, Mapping) or element.get("vr") not in _TEXT_VRS:
            continue
        if (tag[4:6], element.get("vr")) != ("00", "LO"):  # a private creator; Google's FailureDetail is (0009,0097) LT
            words += [str(value) for value in _values(item, tag)]
    return "; ".join(word.strip() for word in words if word.strip())[:_LONGEST_DETAIL]


def _is_private(tag: str) -> bool:
    return bool(re.fullmatch(r"[0-9A-Fa-f]{3}[13579BDFbdf][0-9A-Fa-f]{4}", tag))


def _error_text(values: Mapping[str, Any]) -> str:
    """Return what JSON that is no DICOM says: Orthanc, Google and others name the error there."""
    inner = values.get("error")
    for place in (inner if isinstance(inner, Mapping) else {}, values):
        for name in ("Details", "message", "Message", "error_description", "title", "errorMessage"):
            if isinstance(place.get(name), str) and place[name].strip():
                return str(place[name]).strip()[:_LONGEST_DETAIL]
    return ""


def _warning(headers: Mapping[str, str]) -> str:
    """Return the texts of ``Warning`` headers (RFC 7234 5.5)."""
    value = headers.get("Warning") or ""
    texts = [text.replace('\\"', '"') for text in _WARNING_HEADER.findall(value)]
    return "; ".join(texts)[:_LONGEST_DETAIL]


def _of_json(text: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedAnswerError("The answer to a store request is not JSON.", str(error)) from error
    for value in values if isinstance(values, list) else [values]:
        if isinstance(value, Mapping):
            yield value


def _of_xml(text: bytes) -> dict[str, Any]:
    """Return a Native DICOM Model as the same values that JSON has."""
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # entities that stand for entities would fill the memory
        raise DamagedAnswerError("The answer to a store request is XML with definitions of its own.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DamagedAnswerError("The answer to a store request is not XML.", str(error)) from error
    return _attributes(root)


def _attributes(parent: ElementTree.Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in parent.iterfind("{*}DicomAttribute"):
        values: list[Any] = [_attributes(item) for item in attribute.iterfind("{*}Item")]
        values += [value.text or "" for value in attribute.iterfind("{*}Value")]
        found[attribute.get("tag", "").upper()] = {"vr": attribute.get("vr", ""), "Value": values}
    return found
