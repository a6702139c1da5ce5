"""Why a server did not store an instance, or what it changed, in words: the one table of codes.

Failure Reason (0008,1197) and Warning Reason (0008,1196) of PS3.18 I.2, statuses of the Storage Service Class (PS3.4
B.2.3) and of DIMSE (PS3.7 C), and codes of single products.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["BUSY", "CONFLICT", "DUPLICATE", "FAILED", "Reason", "http_words", "reason_of", "warning_words"]

FAILED = "failed"
DUPLICATE = "duplicate"
"""The server has it already."""
CONFLICT = "conflict"
"""The server has another object of the same UID."""
BUSY = "busy"
"""It may work in a moment."""


class Reason(NamedTuple):
    """What a code means: its kind (one of the names above), and words for people."""

    kind: str
    words: str


_FAILURES = {
    0x0105: Reason(FAILED, "an attribute is not known"),
    0x0106: Reason(FAILED, "the value of an attribute is not valid"),
    0x0107: Reason(FAILED, "some attributes are not known"),
    0x0110: Reason(FAILED, "the server could not process it"),
    0x0111: Reason(DUPLICATE, "it is there already"),
    0x0112: Reason(FAILED, "the server knows no such instance"),
    0x0115: Reason(FAILED, "the value of an argument is not valid"),
    0x0116: Reason(FAILED, "the value of an attribute is out of range"),
    0x0117: Reason(FAILED, "its SOP Instance UID is not valid"),
    0x0118: Reason(FAILED, "the server does not know its SOP class"),
    0x0119: Reason(FAILED, "its SOP class is not that of the instance the server has"),
    0x0120: Reason(FAILED, "an attribute that must be there is missing"),
    0x0121: Reason(FAILED, "an attribute that must have a value has none"),
    0x0122: Reason(FAILED, "the server does not take objects of its SOP class"),
    0x0124: Reason(FAILED, "it is not allowed to store this"),
    0x0131: Reason(FAILED, "the server has seen this transaction before"),
    0x0210: Reason(FAILED, "the server has seen this message before"),
    0x0211: Reason(FAILED, "the server does not know this operation"),
    0x0212: Reason(FAILED, "the server did not understand the message"),
    0x0213: Reason(BUSY, "the server has not enough resources at the moment"),
    0xA700: Reason(FAILED, "the server is out of resources, e.g. its disk is full"),
    # The next ones are those of dcm4chee.
    0xA770: Reason(DUPLICATE, "the rejection note is there already"),
    0xA771: Reason(FAILED, "the object was rejected on the server before"),
    0xA772: Reason(FAILED, "it rejects an instance that the server does not have"),
    0xA773: Reason(FAILED, "it rejects an instance of another SOP class than the server has"),
    0xA774: Reason(FAILED, "it rejects an instance that is rejected already"),
    0xA777: Reason(FAILED, "the server wants a Patient ID, and there is none"),
    0xA778: Reason(FAILED, "its Patient ID conflicts with that of the study on the server"),
    0xA779: Reason(FAILED, "its patient's attributes conflict with those on the server"),
    0xA900: Reason(FAILED, "the object does not conform to its SOP class"),
    0xA901: Reason(FAILED, "it belongs to another study than the one it was sent to"),
    0xB00E: Reason(DUPLICATE, "it is there already"),  # 45070, Azure
    0xB00F: Reason(BUSY, "the server is storing the same instance for somebody else at the moment"),  # 45071, Azure
    0xC000: Reason(FAILED, "the server cannot understand it, e.g. because mandatory attributes are missing"),
    0xC122: Reason(FAILED, "the server does not take objects of its transfer syntax"),
}
_FAILURE_RANGES = {
    0xA7: Reason(FAILED, "the server is out of resources"),
    0xA8: Reason(FAILED, "the server does not take objects of its SOP class"),
    0xA9: Reason(FAILED, "the object does not conform to its SOP class"),
    0xC: Reason(FAILED, "the server cannot understand it"),
    0xB: Reason(FAILED, "the server did not store it, with a warning"),
}

_WARNINGS = {
    0x0001: "some of its attributes are not valid; it is stored, but cannot be found by them",  # Azure
    0xB000: "the server changed some of its attributes",
    0xB006: "the server discarded some of its attributes",
    0xB007: "it does not conform to its SOP class, and was stored nevertheless",
}

# What servers say in texts beside a code that says nothing. The first that is found counts.
_TEXTS = (
    (re.compile(r"checksum|different (bytes|content)", re.IGNORECASE), CONFLICT),
    (re.compile(r"ignore received instance|already (exist|stor|present)", re.IGNORECASE), DUPLICATE),
)
_SAYS_NOTHING = (None, 0x0110)
_OTHER_OBJECT = "the server has another object with the same SOP Instance UID"

_HTTP = {
    400: "the server could not read it",
    404: "there is nothing at this address; is this the root of the server's DICOMweb services?",
    405: "this server does not store",
    406: "the server cannot answer in a form that we read",
    408: "the server waited too long for the data",
    409: "it is in conflict with what the server has, or not valid",
    411: "the server wants to know the length of a request",
    413: "it is larger than the server takes",
    415: "the server does not take objects of its kind or transfer syntax",
    422: "the server could not process it",
    429: "the server is asked too often",
    500: "the server failed",
    501: "this server does not store",
    502: "the server behind the gateway does not answer",
    503: "the server is busy",
    504: "the server behind the gateway does not answer in time",
    507: "the server's disk is full",
}


def reason_of(code: int | None, detail: str = "") -> Reason:
    """Return what a Failure Reason (0008,1197) means.

    Parameters
    ----------
    code
        The value; None where the server gives none.
    detail
        What the server says besides, in its own words.

    Examples
    --------
    >>> reason_of(0xA900).words
    'The object does not conform to its SOP class (A900).'
    >>> reason_of(45070).kind
    'duplicate'
    >>> reason_of(272, "checksum mismatch").words
    'The server has another object with the same SOP Instance UID (0110): checksum mismatch.'
    """
    if code is None:
        found = Reason(FAILED, "the server does not say why")
    else:
        found = _FAILURES.get(code) or _of_range(code) or Reason(FAILED, "the server gives a code that is not known")
    for pattern, kind in _TEXTS:
        if code in _SAYS_NOTHING and found.kind == FAILED and pattern.search(detail):
            found = Reason(kind, _OTHER_OBJECT if kind == CONFLICT else "it is there already")
    return Reason(found.kind, _sentence(found.words, "" if code is None else f"{code:04X}", detail))


def warning_words(code: int | None, detail: str = "") -> str:
    """Return what a Warning Reason (0008,1196) means.

    >>> warning_words(0xB006)
    'The server discarded some of its attributes (B006).'
    """
    words = _WARNINGS.get(code or 0, "the server warns")
    return _sentence(words, "" if code is None else f"{code:04X}", detail)


def http_words(status: int, detail: str = "") -> str:
    """Return why a request was refused as a whole.

    >>> http_words(413)
    'It is larger than the server takes (HTTP 413).'
    """
    words = _HTTP.get(status) or ("the server failed" if status >= 500 else "the server refused it")
    return _sentence(words, f"HTTP {status}", detail)


def _of_range(code: int) -> Reason | None:
    return _FAILURE_RANGES.get(code >> 8) or _FAILURE_RANGES.get(code >> 12)


def _sentence(words: str, code: str, detail: str) -> str:
    text = words[0].upper() + words[1:] + (f" ({code})" if code else "")
    detail = " ".join(detail.split()).rstrip(". ")
    return f"{text}: {detail}." if detail else f"{text}."
