"""The worker's lines: what is a request, what an error says, and what the client makes of events."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest

from dicombridge.web.worker import protocol
from dicombridge.web.worker.client import Requests, Sent, WorkerError
from dicombridge.web.worker.protocol import COMMANDS, BadRequestError, parse

RETRIEVE = {"server": "PACS", "study": "1.2", "directory": "in"}


def _line(**members: Any) -> bytes:
    return json.dumps({"id": "1", **members}).encode()


def _reason(line: bytes) -> str:
    with pytest.raises(BadRequestError) as caught:
        parse(line)
    return str(caught.value)


# Requests ---------------------------------------------------------------------------------------------------------


def test_defaults_are_filled_in() -> None:
    request = parse(_line(do="retrieve", **RETRIEVE, series=None))
    assert (request.id, request.do) == ("1", "retrieve")
    assert request.arguments == {
        **RETRIEVE,
        "series": None,
        "instances": None,
        "transfer_syntax": "*",
        "connections": None,
        "priority": 0,
        "keep": False,
        "job": None,
    }


def test_the_table_in_the_docstring_names_every_argument() -> None:
    table = (protocol.__doc__ or "").split("===\n")[1:3]
    assert len(table) == 2
    rows: dict[str, str] = {}
    for line in table[1].splitlines():
        command = line[:11].strip()
        if command and not command.startswith("="):
            rows[command] = ""
        if rows and not line.startswith("="):
            rows[list(rows)[-1]] += line[12:74]
    assert list(rows) == list(COMMANDS)
    for name, command in COMMANDS.items():
        for argument, rule in command.arguments.items():
            assert argument in rows[name], (name, argument)
            if not rule.required and name != "google":
                assert f"[{argument}" in rows[name], (name, argument)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not UTF-8 (byte 0)"),
        (b"[]", "not an object"),
        (b'"text"', "not an object"),
        (b"null", "not an object"),
        (b'{"id": NaN}', "not JSON that can be read"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not JSON that can be read"),
        (b"[" * 200_000, "not JSON"),
        (b"{}", '"id"'),
        (b'{"id": 7, "do": "ping"}', '"id"'),
        (b'{"id": "", "do": "ping"}', '"id"'),
        (b'{"id": "\\ud800", "do": "ping"}', '"id"'),
        (_line(), "There is no command that is no text; there are: secret, servers,"),
        (_line(do=7), "There is no command that is no text"),
        (_line(do=["ping"]), "There is no command that is no text"),
        (_line(do="pong"), "There is no command 'pong'; did you mean 'ping'?"),
        (_line(do="x" * 9999), "There is no command 'xxxxxxxx"),
        (_line(do="ping", loud=True), "ping has no argument 'loud'"),
        (_line(do="details", server="PACS", study="1.2"), "details needs series: a UID."),
        (_line(do="search", server="PACS", serie="1.2"), "search has no argument 'serie'; did you mean 'series'?"),
        (_line(do="search", server=7), "server of search is to be a server"),
        (_line(do="search", server={}), "server of search is to be a server"),
        (_line(do="search", server={"url": "\ud800"}), "server of search is to be a server"),
        (_line(do="search", server="PACS", level="frame"), "one of patient, study, series, instance"),
        (_line(do="search", server="PACS", limit=0), "limit of search is to be a whole number from 1 to"),
        (_line(do="search", server="PACS", limit=True), "a whole number"),
        (_line(do="search", server="PACS", limit="10"), "a whole number"),
        (_line(do="search", server="PACS", fuzzy=1), "true or false"),
        (_line(do="search", server="PACS", filters=[]), "an object {Keyword"),
        (_line(do="search", server="PACS", filters={"a b": "x"}), "an object {Keyword"),
        (_line(do="search", server="PACS", filters={"PatientName": {}}), "an object {Keyword"),
        (_line(do="search", server="PACS", filters={"PatientName": "\udfff"}), "an object {Keyword"),
        (_line(do="search", server="PACS", fields="Rows"), "fields of search is to be a list"),
        (_line(do="search", server="PACS", fields=[1]), "a list, each text"),
        (_line(do="search", server="PACS", series="1.2"), "series of search needs its study."),
        (_line(do="retrieve", **{**RETRIEVE, "study": "../../etc"}), "study of retrieve is to be a UID."),
        (_line(do="retrieve", **{**RETRIEVE, "study": "1..2"}), "a UID"),
        (_line(do="retrieve", **{**RETRIEVE, "study": "1.2\n"}), "a UID"),
        (_line(do="retrieve", **{**RETRIEVE, "study": "1.\u0663"}), "a UID"),
        (_line(do="retrieve", **{**RETRIEVE, "directory": "a\0b"}), "a path"),
        (_line(do="retrieve", **RETRIEVE, instances=["1.2.3"]), "instances of retrieve need their series."),
        (_line(do="retrieve", **RETRIEVE, series="1.2", instances=[]), "a list"),
        (_line(do="retrieve", **RETRIEVE, connections=1000), "connections of retrieve"),
        (_line(do="store", server="PACS", paths=[]), "paths of store is to be a list"),
        (_line(do="store", server="PACS", paths="x.dcm"), "a list"),
        (_line(do="priority", job="1", priority=1.5), "a whole number"),
    ],
)
def test_what_is_no_request_is_named(line: bytes, reason: str) -> None:
    assert reason in _reason(line)


def test_an_error_does_not_repeat_values() -> None:
    """The line that is wrong may be the one with the password."""
    secret = "correct horse battery"
    for members in (
        {"do": "secret", "server": 7, "field": "password", "value": secret},
        {"do": "secret", "server": "x", "field": "password", "value": [secret]},
        {"do": "secrt", "server": "x", "field": "password", "value": secret},
        {"do": "secret", "server": "x", "field": {"password": secret}},
    ):
        assert secret not in _reason(_line(**members))
    assert secret not in _reason(_line(do="secret", value=secret)[:-1])
    assert secret not in repr(parse(_line(do="secret", server="x", field="password", value=secret)))


def test_errors_have_the_id_where_there_is_one() -> None:
    for line, id in ((_line(do="nothing"), "1"), (b"[]", None), (b'{"id": 5}', None)):
        with pytest.raises(BadRequestError) as caught:
            parse(line)
        assert caught.value.id == id


def test_paths_may_be_no_unicode() -> None:
    """Names of files are bytes on Linux; Python has those that are no UTF-8 as lone surrogates."""
    name = b"caf\xe9.dcm".decode("utf-8", "surrogateescape")
    assert parse(_line(do="store", server="PACS", paths=[name])).arguments["paths"] == [name]
    assert "a path" in _reason(_line(do="store", server="PACS", paths=["\ud800"]))


def test_random_lines_never_raise_anything_else() -> None:
    chance = random.Random(7)
    good = _line(do="search", server={"url": "https://h/x"}, filters={"PatientName": "Gr\u00fc*"}, limit=5)
    requests = 0
    reasons = []
    for _ in range(3000):
        line = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(line))
            line[place : place + chance.randint(0, 3)] = chance.choice(string.printable).encode()
        try:
            requests += parse(bytes(line)).do == "search"
        except BadRequestError as error:
            reasons.append(str(error))
    assert requests > 0
    assert len(reasons) > 1000
    assert all(reason.isascii() for reason in reasons)


def test_lines_are_ascii_and_one() -> None:
    line = protocol.to_line({"text": "Grüße\u2028\n", "half": "\ud800"})
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"text": "Grüße\u2028\n", "half": "\ud800"}


# The client -------------------------------------------------------------------------------------------------------


class _Wire:
    """A transport that keeps what was written."""

    def __init__(self, **on: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.requests = Requests(lambda line: self.sent.append(json.loads(line)), {"*": self.events.append, **on})

    def send(self, do: str, **arguments: Any) -> tuple[Sent, list[dict[str, Any]]]:
        events: list[dict[str, Any]] = []
        return self.requests.send(do, on={"*": events.append}, **arguments), events

    def answer(self, *events: dict[str, Any]) -> None:
        self.requests.feed(b"".join(protocol.to_line(event) for event in events))


def test_requests_that_the_client_writes_are_requests() -> None:
    wire = _Wire()
    wire.send("search", server="PACS", filters={"PatientName": "Grü*"}, limit=None)
    wire.send("ping")
    parsed = [parse(json.dumps(sent).encode()) for sent in wire.sent]
    assert [(one.id, one.do) for one in parsed] == [("1", "search"), ("2", "ping")]
    assert parsed[0].arguments["limit"] is None


def test_events_reach_their_request_in_pieces_of_any_size() -> None:
    wire = _Wire()
    first, of_first = wire.send("search", server="A")
    _, of_second = wire.send("search", server="B")
    events = [
        {"id": "2", "event": "results", "items": [{"PatientName": "Grün"}]},
        {"id": "1", "event": "told", "text": "a"},
        {"id": "1", "event": "done", "result": {"count": 0}},
        {"id": "1", "event": "told", "text": "too late"},
        {"id": "9", "event": "done"},
    ]
    data = b"".join(protocol.to_line(event) for event in events) + b'{"id": "2", "event": "rest'
    for place in range(0, len(data), 7):
        wire.requests.feed(data[place : place + 7])
    assert of_first == events[1:3]
    assert of_second == events[:1]
    assert first.ended
    assert first.result == {"count": 0}
    assert [one.id for one in wire.requests.open] == ["2"]
    assert wire.events == []


def test_handlers_of_one_event() -> None:
    seen: list[str] = []
    wire = _Wire()
    wire.requests.send(
        "ping",
        on={"done": lambda _: seen.append("done"), "ended": lambda _: seen.append("ended"), "failed": seen.append},
    )
    wire.answer({"id": "1", "event": "done", "result": {}})
    assert seen == ["done", "ended"]


def test_failure_becomes_an_exception() -> None:
    wire = _Wire()
    sent, _ = wire.send("search", server="A")
    with pytest.raises(WorkerError, match="The request is running"):
        _ = sent.result
    error = {"kind": "AuthenticationError", "message": "No.", "details": "401", "needs": ["password"]}
    wire.answer({"id": "1", "event": "failed", "error": error})
    with pytest.raises(WorkerError) as caught:
        _ = sent.result
    assert (caught.value.kind, str(caught.value), caught.value.details) == ("AuthenticationError", "No.", "401")
    assert caught.value.needs == ["password"]


def test_steering_sends_the_id_and_stops_after_the_end() -> None:
    wire = _Wire()
    sent, _ = wire.send("retrieve", **RETRIEVE)
    sent.pause()
    sent.resume()
    sent.set_priority(5)
    sent.cancel()
    wanted = [("pause", "1"), ("resume", "1"), ("priority", "1"), ("cancel", "1")]
    assert [(one["do"], one["job"]) for one in wire.sent[1:]] == wanted
    wire.answer({"id": "1", "event": "cancelled"})
    sent.cancel()
    assert len(wire.sent) == 5


def test_a_lost_worker_ends_all_requests() -> None:
    wire = _Wire()
    wire.answer({"event": "ready", "version": "1", "pid": 2})
    assert wire.requests.ready is not None
    sent, events = wire.send("search", server="A")
    wire.requests.take(b'{"id": "1", "event": "results", "items": []}\n{"id": "1", "ev')
    wire.requests.lost("The worker ended.")
    assert [event["event"] for event in events] == ["results", "failed"]
    assert events[-1]["error"]["kind"] == "WorkerLost"
    assert wire.requests.ready is None
    assert [event["event"] for event in wire.events] == ["ready", "lost"]
    assert wire.events[-1]["requests"] == [sent]
    again, of_again = wire.send("ping")  # a new worker behind the same object
    wire.answer({"id": again.id, "event": "done", "result": {}})
    assert [event["event"] for event in of_again] == ["done"]


def test_a_pipe_that_is_broken_fails_the_request() -> None:
    def broken(line: bytes) -> None:
        raise BrokenPipeError

    requests = Requests(broken)
    seen: list[Any] = []
    sent = requests.send("ping", on={"failed": seen.append})
    assert seen == []  # not before the caller has the request in hand
    requests.dispatch()
    assert seen[0]["error"]["kind"] == "WorkerLost"
    assert sent.ended
    assert requests.open == []


def test_dispatch_stops_when_its_time_is_over() -> None:
    wire = _Wire()
    _, events = wire.send("search", server="A")
    wire.requests.take(b'{"id":"1","event":"told","text":""}\n' * 10)
    assert wire.requests.dispatch(0)
    assert len(events) == 1
    assert not wire.requests.dispatch()
    assert len(events) == 10


def test_a_function_that_raises_does_not_keep_others_from_theirs() -> None:
    wire = _Wire()
    wire.requests.send("ping", on={"done": lambda _: 1 / 0})
    _, events = wire.send("ping")
    wire.answer({"id": "1", "event": "done"}, {"id": "2", "event": "done"})
    assert [event["event"] for event in events] == ["done"]
    assert [type(event["error"]) for event in wire.events] == [ZeroDivisionError]


def test_nonsense_from_the_worker_is_passed_over() -> None:
    wire = _Wire()
    _, events = wire.send("ping")
    wire.requests.feed(b"what a library printed\n[]\n\n\xff\n" + protocol.to_line({"id": "1", "event": "done"}))
    assert [event["event"] for event in events] == ["done"]
