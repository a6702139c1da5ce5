"""The worker's protocol: JSON lines, UTF-8, one object a line, and the checks of what comes in.

To the worker (stdin)
---------------------
``{"id": "7", "do": COMMAND, ARGUMENT: VALUE, ...}``. An id is text of 1 to 100 characters, new for every request; one
that is still at work is refused. An argument that is null or left out has its default; one that the command does not
have is an error. ``server`` is the JSON form of a :class:`~dicombridge.web.servers.Server` (never a secret in it), a
saved name, a URL, or the path of a folder or zip.

=========== ============================================================= ============================================
command     arguments (those in brackets may be left out)                 result
=========== ============================================================= ============================================
secret      server, field, [value: forget where null], [keep=false: in    {}
            the keychain]
servers     --                                                            {servers: [{...}], presets: [{...}]}
doctor      server (also any text that a person pasted)                   {server: {...}, study, series,
                                                                          findings: [{what, ok, text}]}
search      server, [level=study], [filters={}], [study], [series],       {count, more, offset: of the next page}
            [limit], [offset=0], [fuzzy=false], [fields=[]]
details     server, study, series                                         SeriesDetails
tags        server, study, series, [instance]                             {count}
thumbnails  server, study, series, [instance], [frames=1], [size=128]     {count}
retrieve    server, study, [series], [instances], directory,              RetrieveReport
            [transfer_syntax=*], [connections], [priority=0],
            [keep=false: in the job list on disk], [job]
store       server, paths, [check=false: or true, one, all],              StoreReport
            [deidentify: true or options], [study], [ask_first=false],
            [connections], [priority=0]
google      what: projects, locations, datasets or stores,                {names: [...]}
            [project], [location], [dataset]
jobs        --                                                            {jobs: [{job, do, arguments, state, error}]}
forget      job                                                           {}
cancel      job                                                           {found}
pause       job                                                           {found}
resume      job                                                           {found}
priority    job, priority                                                 {found}
ping        --                                                            {}
=========== ============================================================= ============================================

``job`` of cancel, pause, resume and priority is the id of a request that has not ended; ``found`` is false where it
has. ``job`` of forget and retrieve, and of the entries of ``jobs``, names an entry of the job list on disk.

From the worker (stdout)
------------------------
First ``{"event": "ready", "version", "pid", "protocol": 1}``. Then, to a request, any number of events, and at the end
exactly one of ``done {result}``, ``failed {error}`` and ``cancelled`` (of a store with the report of what was done as
``result``, if it ended in time); each with ``id``. Nothing comes for an id after its end. A line that is no request has
one ``failed``, with its id where that could be told; one that repeats an id that is still at work has one with ``id``
null.

========== ==================================================== ======================================================
event      members                                              of
========== ==================================================== ======================================================
results    items: [{...}] (at most 500, or what 100 ms          search: {Keyword: value};
           brought)                                             tags: {tag, keyword, vr, value};
                                                                thumbnails: {instance, frame, media_type,
                                                                data: base64};
                                                                store: {uid, path, state, reason}
told       text                                                 any: what a person should know (a filter was ignored)
finding    what, ok (true, false, null), text                   doctor
state      state: waiting, running or paused                    retrieve, store
kept       job                                                  retrieve with keep: its name in the job list
progress   bytes, total_bytes, instances, total_instances,      retrieve, store; at most 10 times a second,
           bytes_per_second, seconds_left (null: not known)     the last one always
files      files: [path, ...] whole and verified                retrieve
sign-in    url, code, seconds                                   any: show the code to the person, go on waiting
========== ==================================================== ======================================================

``error`` is ``{"kind": class name, "message": one sentence, "details": text or "", "needs": [names of missing
secrets]}``: ask for those, send them with ``secret``, and send the request again. ``AuthenticationError`` with nothing
in ``needs`` means that what was sent is wrong.

Order and time
--------------
Searches, details, tags and thumbnails never wait for transfers; searches go before thumbnails. Two transfers run at
once, the one with the highest ``priority`` (any whole number; 0) first; one of higher priority pauses a running one.
Transfers into the same directory run one after the other. A paused transfer gives its place to the next. ``cancelled``
comes within 200 ms, even where a server does not answer.

The worker ends when its stdin closes: jobs are cancelled, and what has come stays where it is, to be resumed.

The job list on disk
--------------------
A ``retrieve`` with ``keep`` is written there before it begins, and removed when all of it is verified. What is left is
listed by ``jobs`` with a state: ``interrupted`` (the worker ended or died), ``cancelled``, ``failed``, ``partial``
(some instances are missing) or ``running`` (here). Jobs at work in another window's worker are not listed. Its
``arguments`` are complete: send them as a new request to go on where it stopped. The list holds no secret.

>>> parse(b'{"id": "7", "do": "search", "server": "PACS", "filters": {"PatientName": "DOE*"}}').arguments["level"]
'study'
>>> parse(b'{"id": "7", "do": "serach"}')
Traceback (most recent call last):
dicombridge.web.worker.protocol.BadRequestError: There is no command 'serach'; did you mean 'search'?
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dicombridge.errors import DicomBridgeError

__all__ = ["COMMANDS", "ENDS", "MAXIMUM_LINE", "VERSION", "BadRequestError", "Request", "parse", "to_line"]

VERSION = 1
"""Of the protocol; goes up when a client of the version before would misunderstand."""

MAXIMUM_LINE = 32 << 20
"""Longest line (bytes), room for half a million UIDs; what is longer is skipped, and answered with an error."""

ENDS = ("done", "failed", "cancelled")
"""Events that end a request."""

_LONGEST_TEXT = 100_000
_LONGEST_SHOWN = 40  # characters of what came in that an error repeats

_KEYWORD = re.compile(r"[A-Z][A-Za-z0-9]*|[0-9A-Fa-f]{8}")  # or a tag; other names are those of our own arguments

Check = Callable[[Any], str]
"""Returns what a value should have been, or "" where it is good."""


class BadRequestError(DicomBridgeError):
    """A line that is no request.

    Parameters
    ----------
    reason
        One sentence. Of the line it repeats names at most, because the line may hold a secret.
    id
        Of the request, where it could be told.
    """

    def __init__(self, reason: str, id: str | None = None) -> None:
        super().__init__(reason)
        self.id = id


# Values -----------------------------------------------------------------------------------------------------------


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and _is_unicode(value)


def _is_unicode(text: str) -> bool:
    """JSON can write half of a surrogate pair, which no encoding can."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _text(value: Any) -> str:
    return "" if _is_text(value) and value else "text"


def _any_text(value: Any) -> str:
    return "" if _is_text(value) else "text"


def _path(value: Any) -> str:
    """File names that are not UTF-8 have lone surrogates in Python (PEP 383), so these may."""
    good = isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and "\0" not in value
    good = good and not any("\ud800" <= c <= "\udc7f" or "\udd00" <= c <= "\udfff" for c in value)
    return "" if good else "a path"


def _uid(value: Any) -> str:
    """Characters and length of PS3.5 9.1, so that no UID can name another path of the server; tolerant of zeros."""
    good = isinstance(value, str) and 0 < len(value) <= 64 and value.isascii()
    return "" if good and all(part.isdigit() for part in value.split(".")) else "a UID"


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "true or false"


def _whole(least: int, most: int) -> Check:
    def check(value: Any) -> str:
        return "" if _is_whole(value) and least <= value <= most else f"a whole number from {least} to {most}"

    return check


def _one_of(*names: str) -> Check:
    return lambda value: "" if isinstance(value, str) and value in names else f"one of {', '.join(names)}"


def _list_of(check: Check, least: int = 0) -> Check:
    def check_list(value: Any) -> str:
        wrong = "a list" if not isinstance(value, list) or len(value) < least else ""
        return wrong or next((f"a list, each {reason}" for reason in map(check, value) if reason), "")

    return check_list


def _filters(value: Any) -> str:
    wanted = "an object {Keyword: text, number or list of texts}"
    if not isinstance(value, dict) or not all(_is_text(key) and _KEYWORD.fullmatch(key) for key in value):
        return wanted
    good = all(
        _is_text(one) or _is_whole(one) or isinstance(one, float) or (isinstance(one, list) and all(map(_is_text, one)))
        for one in value.values()
    )
    return "" if good else wanted


def _server(value: Any) -> str:
    """Its members are checked where the Server is made of it."""
    good = (isinstance(value, dict) and _is_plain(value)) or (isinstance(value, str) and not _path(value))
    return "" if good and value else "a server: an object, a saved name, an address or a path"


def _profile(value: Any) -> str:
    good = isinstance(value, bool) or (isinstance(value, dict) and _is_plain(value))
    return "" if good else "true, false, or an object of options"


def _check(value: Any) -> str:
    return "" if isinstance(value, bool) or value in ("one", "all") else "true, false, one or all"


def _is_plain(value: Any) -> bool:
    """Whether all text in a JSON value is Unicode."""
    if isinstance(value, dict):
        return all(_is_text(key) and _is_plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return not isinstance(value, str) or _is_text(value)


# Commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Argument:
    """One argument of a command: its check, and its default where it may be left out."""

    check: Check
    default: Any = None
    required: bool = False


@dataclass(frozen=True)
class Command:
    """What a command takes, and how it is run.

    Attributes
    ----------
    lane
        ``now``: answered before the next line is read; ``quick``: beside transfers; ``transfer``: two at once.
    urgency
        Order among those that wait in the lane, lowest first.
    """

    arguments: Mapping[str, Argument] = field(default_factory=dict)
    lane: str = "now"
    urgency: int = 0


def _needed(check: Check) -> Argument:
    return Argument(check, required=True)


_SERVER = {"server": _needed(_server)}
_SERIES = {**_SERVER, "study": _needed(_uid), "series": _needed(_uid)}
_OF_JOB = {"job": _needed(_text)}
_PRIORITY = _whole(-1_000_000, 1_000_000)
_CONNECTIONS = Argument(_whole(1, 16))

COMMANDS: dict[str, Command] = {
    "secret": Command(
        {**_SERVER, "field": _needed(_text), "value": Argument(_any_text), "keep": Argument(_flag, False)}, "quick"
    ),
    "servers": Command({}, "quick"),
    "doctor": Command(_SERVER, "quick", 1),
    "search": Command(
        {
            **_SERVER,
            "level": Argument(_one_of("patient", "study", "series", "instance"), "study"),
            "filters": Argument(_filters, {}),
            "study": Argument(_uid),
            "series": Argument(_uid),
            "limit": Argument(_whole(1, 10_000_000)),
            "offset": Argument(_whole(0, 2**53), 0),
            "fuzzy": Argument(_flag, False),
            "fields": Argument(_list_of(_text), []),
        },
        "quick",
    ),
    "details": Command(_SERIES, "quick"),
    "tags": Command({**_SERIES, "instance": Argument(_uid)}, "quick"),
    "thumbnails": Command(
        {
            **_SERIES,
            "instance": Argument(_uid),
            "frames": Argument(_whole(1, 1000), 1),
            "size": Argument(_whole(16, 4096), 128),
        },
        "quick",
        2,
    ),
    "retrieve": Command(
        {
            **_SERVER,
            "study": _needed(_uid),
            "series": Argument(_uid),
            "instances": Argument(_list_of(_uid, 1)),
            "directory": _needed(_path),
            "transfer_syntax": Argument(lambda value: "" if value == "*" else _uid(value) and "* or a UID", "*"),
            "connections": _CONNECTIONS,
            "priority": Argument(_PRIORITY, 0),
            "keep": Argument(_flag, False),
            "job": Argument(_text),
        },
        "transfer",
    ),
    "store": Command(
        {
            **_SERVER,
            "paths": _needed(_list_of(_path, 1)),
            "check": Argument(_check, False),
            "deidentify": Argument(_profile),
            "study": Argument(_uid),
            "ask_first": Argument(_flag, False),
            "connections": _CONNECTIONS,
            "priority": Argument(_PRIORITY, 0),
        },
        "transfer",
    ),
    "google": Command(
        {
            "what": _needed(_one_of("projects", "locations", "datasets", "stores")),
            "project": Argument(_text),
            "location": Argument(_text),
            "dataset": Argument(_text),
        },
        "quick",
        1,
    ),
    "jobs": Command(),
    "forget": Command(_OF_JOB),
    "cancel": Command(_OF_JOB),
    "pause": Command(_OF_JOB),
    "resume": Command(_OF_JOB),
    "priority": Command({**_OF_JOB, "priority": _needed(_PRIORITY)}),
    "ping": Command(),
}


@dataclass(frozen=True)
class Request:
    """A request that has been checked; every argument of its command is there.

    ``repr`` leaves the arguments out, so that no secret comes into a log with it.
    """

    id: str
    do: str
    arguments: dict[str, Any] = field(repr=False)

    @property
    def command(self) -> Command:
        """Row of the table of commands."""
        return COMMANDS[self.do]


def parse(line: bytes) -> Request:
    """Return the request in a line.

    Raises
    ------
    BadRequestError
        It is none, with its id where that could be read.
    """
    given = _object(line)
    id = given.pop("id", None)
    if not (_is_text(id) and 0 < len(id) <= 100):
        raise BadRequestError('A request has an "id": text of 1 to 100 characters.')
    do = given.pop("do", None)
    if not isinstance(do, str) or do not in COMMANDS:
        raise BadRequestError(_unknown(f"There is no command {_shown(do)}", do, list(COMMANDS)), id)
    known = COMMANDS[do].arguments
    for name in given:
        if name not in known:
            raise BadRequestError(_unknown(f"{do} has no argument {_shown(name)}", name, list(known)), id)
    arguments = {}
    for name, argument in known.items():
        value = given.get(name)
        if value is None and argument.required:
            raise BadRequestError(f"{do} needs {name}: {argument.check(None)}.", id)
        if value is not None and (wanted := argument.check(value)):
            raise BadRequestError(f"{name} of {do} is to be {wanted}.", id)
        arguments[name] = argument.default if value is None else value
    if arguments.get("series") and not arguments.get("study"):
        raise BadRequestError(f"series of {do} needs its study.", id)
    if do == "retrieve" and arguments["instances"] and not arguments["series"]:
        raise BadRequestError("instances of retrieve need their series.", id)
    return Request(id, do, arguments)


def _object(line: bytes) -> dict[str, Any]:
    # What is wrong is said without the line: it may be one with a secret.
    if len(line) > MAXIMUM_LINE:
        raise BadRequestError(f"A line has at most {MAXIMUM_LINE >> 20} MiB.")
    try:
        value = json.loads(line.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise BadRequestError(f"The line is not UTF-8 (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise BadRequestError(f"The line is not JSON: {error.msg} (character {error.pos}).") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, NaN; nested too deeply
        raise BadRequestError("The line is not JSON that can be read.") from None
    if not isinstance(value, dict):
        raise BadRequestError("The line is JSON, but not an object.")
    return value


def _no_number(name: str) -> float:
    raise ValueError(name)


def _shown(name: object) -> str:
    """Return a name of the line as ASCII, and not much of it."""
    return ascii(name)[:_LONGEST_SHOWN] if isinstance(name, str) else "that is no text"


def _unknown(sentence: str, name: object, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:_LONGEST_SHOWN], known, 1) if isinstance(name, str) else []
    return f"{sentence}; did you mean {near[0]!r}?" if near else f"{sentence}; there are: {', '.join(known) or 'none'}."


def to_line(value: Mapping[str, Any]) -> bytes:
    """Return an object as a line with its end; in ASCII, so that no text can break it.

    >>> to_line({"id": "1", "event": "told", "text": "Grüße"})
    b'{"id":"1","event":"told","text":"Gr\\\\u00fc\\\\u00dfe"}\\n'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
