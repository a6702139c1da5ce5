"""One instance as a server stores it: a look at its beginning, or all of it in memory. PS3.18 10.4.1.1.1."""

from __future__ import annotations

import re
from typing import NamedTuple

from dicombridge.errors import DamagedAnswerError
from dicombridge.web.addresses import check_uid, joined
from dicombridge.web.connection import Answer, Connection
from dicombridge.web.profile import Profile

__all__ = ["Beginning", "accept_dicom", "beginning", "instance_address", "whole"]

_ENOUGH = 4096
"""Bytes in which the File Meta Information lies."""
_TRANSFER_SYNTAX = b"\x02\x00\x10\x00UI"


class Beginning(NamedTuple):
    """Transfer Syntax UID of an instance ("" where unknown), and its length in bytes where the server says it."""

    transfer_syntax: str
    length: int | None


def instance_address(connection: Connection, study: str, series: str, instance: str) -> str:
    """Return the address of an instance.

    Raises
    ------
    DicomBridgeError
        A UID is none.
    """
    return joined(
        connection.server.wado_root,
        *("studies", check_uid(study, "Study Instance UID")),
        *("series", check_uid(series, "Series Instance UID")),
        *("instances", check_uid(instance, "SOP Instance UID")),
    )


def accept_dicom(profile: Profile, single_part: bool | None = None) -> str:
    """Return the ``Accept`` header for instances as they are stored, or as the server gives them without being asked.

    >>> accept_dicom(Profile())
    'multipart/related; type="application/dicom"; transfer-syntax=*'
    >>> accept_dicom(Profile(single_part=True, any_transfer_syntax=False))
    'application/dicom'
    """
    single = profile.single_part is True if single_part is None else single_part
    quote = '"' if profile.quoted_type else ""
    kind = "application/dicom" if single else f"multipart/related; type={quote}application/dicom{quote}"
    return f"{kind}; transfer-syntax=*" if profile.any_transfer_syntax else kind


def beginning(connection: Connection, study: str, series: str, instance: str) -> Beginning:
    """Look at the beginning of an instance: some kilobytes are read, whatever its size.

    Raises
    ------
    WebError
        The server cannot be reached, or refuses.
    """
    url = instance_address(connection, study, series, instance)
    with connection.get(url, accept=accept_dicom(connection.server.profile)) as answer:
        start = b""
        for piece in answer.chunks(_ENOUGH):
            start += piece
            if len(start) >= _ENOUGH:
                break
        return Beginning(_transfer_syntax(start), _length(answer, start))


def whole(connection: Connection, study: str, series: str, instance: str, most: int) -> bytes:
    """Return an instance as a DICOM file in memory.

    Parameters
    ----------
    most
        Bytes that are read at most.

    Raises
    ------
    DamagedAnswerError
        It is larger, or cut short.
    WebError
        The server cannot be reached, or refuses.
    """
    url = instance_address(connection, study, series, instance)
    with connection.get(url, accept=accept_dicom(connection.server.profile)) as answer:
        length = answer.length
        if length is not None and length > most:
            raise DamagedAnswerError(f"{connection.server}: the instance has {length} bytes, more than wanted.")
        body = answer.read(most)
        kind = answer.headers.get("Content-Type", "")
    if not kind.lower().startswith("multipart/"):
        return body
    return _only_part(body, kind, str(connection.server))


def _only_part(body: bytes, kind: str, server: str) -> bytes:
    found = re.search(r'boundary="?([^";]+)"?', kind)
    delimiter = b"--" + (found[1].encode("latin-1") if found else body[2 : body.find(b"\r\n")])
    start = body.find(b"\r\n\r\n", body.find(delimiter))
    stop = body.rfind(b"\r\n" + delimiter)
    if start < 0 or stop < start:
        raise DamagedAnswerError(f"{server}: the instance is cut short.")
    return body[start + 4 : stop]


def _transfer_syntax(start: bytes) -> str:
    position = start.find(_TRANSFER_SYNTAX, max(start.find(b"DICM"), 0))
    if position < 0 or b"DICM" not in start:
        return ""
    size = int.from_bytes(start[position + 6 : position + 8], "little")
    return start[position + 8 : position + 8 + size].rstrip(b"\0 ").decode("ascii", "replace")


def _length(answer: Answer, start: bytes) -> int | None:
    if not answer.headers.get("Content-Type", "").lower().startswith("multipart/"):
        return answer.length
    found = re.search(rb"content-length:\s*(\d+)", start[: max(start.find(b"\r\n\r\n"), 0)], re.IGNORECASE)
    if found:
        return int(found[1])
    # What is around one part is some hundred bytes.
    return answer.length
