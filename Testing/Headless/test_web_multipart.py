"""Multipart answers: found in any split of the stream, and never taken for whole when they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.message import Message
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dicombridge.errors import DamagedAnswerError
from dicombridge.web.retrieving.multipart import (
    LONGEST_HEADERS,
    LONGEST_PREAMBLE,
    WRONG_LENGTH,
    MultipartParser,
    boundary_of,
    media_type,
)

BOUNDARY = "b7e1"


class Part(NamedTuple):
    headers: dict[str, str]
    data: bytes
    fault: str


class Collected:
    """Takes parts as bytes."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.open: list[bytes] | None = None
        self.headers: dict[str, str] = {}

    def begin(self, headers: Mapping[str, str]) -> None:
        assert self.open is None, "a part begins within another"
        self.headers, self.open = dict(headers), []

    def data(self, view: memoryview) -> None:
        assert self.open is not None
        self.open.append(bytes(view))

    def end(self, fault: str) -> None:
        assert self.open is not None
        self.parts.append(Part(self.headers, b"".join(self.open), fault))
        self.open = None


def body(parts: Sequence[bytes], lengths: bool, boundary: str = BOUNDARY, closing: bool = True) -> bytes:
    """What a server sends."""
    text = b""
    for part in parts:
        length = b"Content-Length: %d\r\n" % len(part) if lengths else b""
        text += b"\r\n--%s\r\nContent-Type: application/dicom\r\n%s\r\n" % (boundary.encode(), length) + part
    return text + (b"\r\n--%s--\r\n" % boundary.encode() if closing else b"")


def parsed(
    text: bytes, cuts: Sequence[int] = (), lengths: bool = True, boundary: str = BOUNDARY
) -> tuple[list[Part], bool]:
    """Feed a body in pieces, as a socket gives them: what is left over comes again at the front of another buffer."""
    collected = Collected()
    parser = MultipartParser(boundary, collected, lengths)
    rest = b""
    places = [0, *sorted({min(cut, len(text)) for cut in cuts}), len(text)]
    for start, stop in pairwise(places):
        buffer = bytearray(rest + text[start:stop] + b"\xee" * 7)
        end = len(buffer) - 7
        position = parser.feed(buffer, 0, end)
        assert 0 <= position <= end
        rest = bytes(buffer[position:end])
        buffer[:] = b"\xdd" * len(buffer)  # the views that were handed on may be used no longer than this
    closed = parser.finish()
    assert collected.open is None
    return collected.parts, closed


nasty = st.lists(
    st.sampled_from([b"\r\n", b"--", b"\r", b"\n", BOUNDARY.encode(), b"\r\n--" + BOUNDARY.encode()[:2], b"x", b"\0"]),
    max_size=12,
).map(b"".join)
contents = st.one_of(st.binary(max_size=80), nasty).filter(lambda data: b"--" + BOUNDARY.encode() not in data)
places = st.lists(st.integers(0, 900), max_size=40)


@given(st.lists(contents, max_size=5), st.booleans(), places)
@example([b"ab"], True, list(range(200)))
@example([b"", b"\r\n", b"--"], False, list(range(300)))
def test_any_split_gives_the_parts(parts: list[bytes], lengths: bool, cuts: list[int]) -> None:
    found, closed = parsed(body(parts, lengths), cuts)
    assert closed
    assert [part.data for part in found] == parts
    assert {part.fault for part in found} <= {""}
    assert all(part.headers["content-type"] == "application/dicom" for part in found)


@given(st.lists(contents, min_size=1, max_size=4), st.booleans(), st.data())
def test_a_cut_answer_is_never_complete(parts: list[bytes], lengths: bool, data: st.DataObject) -> None:
    """Whole parts stay whole; the one that is cut has a fault; nothing that is not sent is there."""
    text = body(parts, lengths)
    stop = data.draw(st.integers(0, len(text) - len(b"--\r\n") - 1))
    found, closed = parsed(text[:stop], data.draw(places))
    assert not closed
    whole = [part.data for part in found if not part.fault]
    assert whole == parts[: len(whole)]
    assert len(found) - len(whole) <= 1


@given(st.lists(contents, min_size=1, max_size=4), st.data())
def test_wrong_lengths_are_seen(parts: list[bytes], data: st.DataObject) -> None:
    """A part whose length is wrong is faulty, and those that come after it are found again."""
    which = data.draw(st.integers(0, len(parts) - 1))
    real = len(parts[which])
    said = data.draw(st.integers(0, real + 30).filter(lambda value: value != real))
    pieces = [body([part], True, closing=False) for part in parts]
    pieces[which] = pieces[which].replace(b"Content-Length: %d\r" % real, b"Content-Length: %d\r" % said, 1)
    found, _ = parsed(b"".join(pieces) + b"\r\n--%s--" % BOUNDARY.encode(), data.draw(places))
    good = [part.data for part in found if not part.fault]
    assert [part for part in found if part.fault], "nobody noticed"
    assert good[:which] == parts[:which]
    if said < real:
        assert good == parts[:which] + parts[which + 1 :]
        assert found[which].fault.startswith(WRONG_LENGTH)
    without, closed = parsed(b"".join(pieces) + b"\r\n--%s--" % BOUNDARY.encode(), lengths=False)
    assert closed
    assert [part.data for part in without] == parts


@given(st.lists(contents, min_size=1, max_size=3))
def test_the_standard_library_finds_the_same(parts: list[bytes]) -> None:
    """Another parser of the same bytes, of texts that it does not change."""
    parts = [part.hex().encode() for part in parts]
    text = b'Content-Type: multipart/related; boundary="%s"\r\n\r\n' % BOUNDARY.encode() + body(parts, False)
    import email

    theirs = [one.get_payload() for one in email.message_from_bytes(text).walk() if not one.is_multipart()]
    ours, _ = parsed(body(parts, False))
    assert [part.data.decode() for part in ours] == theirs


def test_what_looks_like_the_boundary_is_data() -> None:
    """A longer word that begins as the boundary does is none; with a length, not even the boundary itself is one."""
    inside = b"1\r\n--b7e1x\r\n2"
    found, closed = parsed(body([inside], lengths=False))
    assert (found[0].data, found[0].fault, closed) == (inside, "", True)
    real = b"1\r\n--b7e1\r\n\r\n2"
    assert parsed(body([real], lengths=True))[0] == [
        Part({"content-type": "application/dicom", "content-length": str(len(real))}, real, "")
    ]


def test_preamble_padding_and_epilogue() -> None:
    text = b"ignore --b7 this\r\n--b7e1 \t\r\n\r\nno headers\r\n--b7e1\t\r\nX:  y \r\n\r\n\r\n"
    text += b"--b7e1--\r\nepilogue --b7e1\r\n"
    for cuts in ((), range(len(text))):
        found, closed = parsed(text, list(cuts))
        assert closed
        assert found == [Part({}, b"no headers", ""), Part({"x": "y"}, b"", "")]


def test_endless_beginnings_are_refused() -> None:
    with pytest.raises(DamagedAnswerError, match="no part"):
        parsed(b"x" * (LONGEST_PREAMBLE + 100), range(0, LONGEST_PREAMBLE, 4096))
    with pytest.raises(DamagedAnswerError, match="headers"):
        parsed(b"--b7e1\r\n" + b"X: y\r\n" * LONGEST_HEADERS, range(0, 4 * LONGEST_HEADERS, 4096))


@pytest.mark.parametrize("length", ["-1", "4 ", "0x4", "4, 4", "", "9" * 30, "vier"])
def test_lengths_that_are_no_number_are_not_believed(length: str) -> None:
    text = f"--b7e1\r\nContent-Length: {length}\r\n\r\n1234\r\n--b7e1--".encode()
    assert [(part.data, part.fault) for part in parsed(text)[0]] == [(b"1234", "")]


@pytest.mark.parametrize(
    ("text", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', "abc"),
        ('Multipart/Related;boundary="a;b c"; start="<x>"', "a;b c"),
        ("multipart/related; BOUNDARY=a-b_c=d'", "a-b_c=d'"),
    ],
)
def test_boundaries(text: str, boundary: str) -> None:
    assert boundary_of(text) == boundary
    assert media_type(text) == "multipart/related"
    assert Message().get_boundary() is None


@pytest.mark.parametrize("text", ["multipart/related", "multipart/related; boundary=", "x; boundary=" + "a" * 300, ""])
def test_no_boundary(text: str) -> None:
    with pytest.raises(DamagedAnswerError):
        boundary_of(text)
