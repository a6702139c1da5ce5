"""What the commands that talk to servers share: which server, secrets, stopping, and progress."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dicombridge.cli import tables
from dicombridge.errors import AuthenticationError, DicomBridgeError

if TYPE_CHECKING:
    from dicombridge.web.authentication import SignIn
    from dicombridge.web.cancelling import Cancel
    from dicombridge.web.retrieving import TransferProgress
    from dicombridge.web.servers import Server

__all__ = [
    "Place",
    "add_server_arguments",
    "add_way_arguments",
    "ask_for_secret",
    "files_of_link",
    "find_server",
    "interruptible",
    "listed",
    "place_of",
    "says_way",
    "tell",
    "transfer_progress",
    "whole",
    "with_secrets",
    "with_way",
]

SERVER_HELP = "a saved name, an address, a folder or a zip file"
SECONDS_BETWEEN_LINES = 5.0

Value = TypeVar("Value")


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Add SERVER, and how to get in."""
    parser.add_argument("server", metavar="SERVER", help=SERVER_HELP)
    add_way_arguments(parser)


def add_way_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how to get in to a server. No argument takes a secret: others can read command lines."""
    way = parser.add_argument_group(
        "getting in",
        "for servers that are not saved; secrets are asked for on a terminal, or stand in the environment: "
        "DICOMBRIDGE_SERVER is the address, DICOMBRIDGE_PASSWORD or DICOMBRIDGE_TOKEN what opens it",
    )
    way.add_argument("--user", metavar="NAME", help="name of the user, for a password")
    way.add_argument("--auth", metavar="KIND", help="basic, bearer, gcloud, google, oidc, certificate, sigv4 or kheops")
    way.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the kind, e.g. issuer=https://...; may be repeated",
    )
    way.add_argument("--ca-bundle", metavar="FILE", help="certificates of authorities to trust instead of the usual")
    way.add_argument("--certificate", metavar="FILE", help="certificate of the client")
    way.add_argument("--key", metavar="FILE", help="its key, where it is in another file")
    way.add_argument("--password-stdin", action="store_true", help="read the password or token from standard input")


def find_server(arguments: argparse.Namespace) -> Server:
    """Return the server that the arguments name, with the way in that they say."""
    from dicombridge import web

    return with_way(web.server(arguments.server), arguments)


def with_way(server: Server, arguments: argparse.Namespace) -> Server:
    """Return a server with the way in that the arguments say; what they do not say stays.

    Raises
    ------
    DicomBridgeError
        The arguments contradict each other, or there is no secret on standard input.
    """
    from dicombridge.cli.common import settings
    from dicombridge.web.servers import Authentication, Tls

    fields = settings(arguments.field, "NAME=VALUE, e.g. issuer=https://issuer.example.org", "--field")
    kind = arguments.auth or server.authentication.kind
    if arguments.user:
        fields["user"] = arguments.user
        if not arguments.auth and kind == "none":
            kind = "basic"
    if arguments.certificate and kind == "none":
        kind = "certificate"
    kept = dict(server.authentication.fields) if kind == server.authentication.kind else {}
    tls = Tls(
        arguments.ca_bundle or server.tls.ca_bundle,
        arguments.certificate or server.tls.certificate,
        arguments.key or server.tls.key,
    )
    changed = server.changed(authentication=Authentication(kind, {**kept, **fields}), tls=tls)
    if arguments.password_stdin:
        _read_password(changed)
    return changed


def _read_password(server: Server) -> None:
    from dicombridge.web import secrets
    from dicombridge.web.authentication import WAYS

    names = WAYS[server.authentication.kind].secrets
    if not names:
        raise DicomBridgeError(f"{server} is asked without a secret; --user or --auth says how it is to be used.")
    secrets.set_secret(server, names[0], secrets.read_secret(sys.stdin, f"{names[0].capitalize()} of {server}: "))


def whole(least: int) -> Callable[[str], int]:
    """Return what reads a whole number of an argument that is not below another."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is below {least}")
        return value

    number.__name__ = "whole number"  # as argparse calls it where there is none
    return number


def says_way(arguments: argparse.Namespace) -> bool:
    """Return whether any argument says how to get in."""
    names = ("user", "auth", "field", "ca_bundle", "certificate", "key", "password_stdin")
    return any(getattr(arguments, name) for name in names)


def ask_for_secret(server: Server) -> None:
    """Ask a person at the terminal for the password or token of a server, if nobody gave it before."""
    from dicombridge.web import secrets
    from dicombridge.web.authentication import WAYS

    kind = server.authentication.kind
    if kind in ("basic", "bearer", "kheops") and sys.stdin.isatty():
        name = WAYS[kind].secrets[0]
        if secrets.get_secret(server, name) is None:
            _ask(server, name)


def _ask(server: Server, name: str) -> None:
    from dicombridge.web import secrets

    readable = name.replace("_", " ")
    value = getpass.getpass(f"{readable.capitalize()} of {server}: ")
    if not value:
        raise AuthenticationError(f"{server}: no {readable} was given.")
    secrets.set_secret(server, name, value)


def with_secrets(server: Server, work: Callable[[], Value]) -> Value:
    """Do something, and again when a secret was missing that a person at the terminal can give.

    Raises
    ------
    AuthenticationError
        There is nobody to ask, or the server does not like what was typed in.
    """
    from dicombridge.web.authentication import WAYS, sign_ins_told

    with sign_ins_told(_tell_sign_in):
        while True:
            try:
                return work()
            except AuthenticationError as error:
                known = WAYS[server.authentication.kind].secrets
                wanted = [name for name in error.needs if name in known]
                if not wanted or not sys.stdin.isatty():
                    raise
            for name in wanted:
                _ask(server, name)


def _tell_sign_in(sign_in: SignIn) -> None:
    minutes = max(round(sign_in.seconds / 60), 1)
    print(f"To sign in, open {sign_in.url} and type {sign_in.code} (within {minutes} minutes).", file=sys.stderr)


def tell(text: str) -> None:
    """Say something that a person should know, in a line on stderr."""
    logging.getLogger("dicombridge").warning("%s", text)


class Place(NamedTuple):
    """What in a server is meant: a study, a series or an instance."""

    study: str
    series: str | None = None
    instance: str | None = None


def place_of(text: str, least: int = 1) -> Place:
    """Return what ``STUDY[/SERIES[/INSTANCE]]`` means.

    Parameters
    ----------
    text
        UIDs with slashes between them.
    least
        How many there must be.

    Raises
    ------
    DicomBridgeError
        These are no UIDs, or too few or too many.
    """
    from dicombridge.web.addresses import check_uid

    uids = text.strip("/").split("/")
    if not least <= len(uids) <= 3:
        form = ("STUDY[/SERIES[/INSTANCE]]", "STUDY/SERIES[/INSTANCE]")[least - 1]
        raise DicomBridgeError(f"{text!r} is not {form}, UIDs with slashes between them.")
    return Place(*(check_uid(uid) for uid in uids))


def files_of_link(link: str) -> list[Path]:
    """Retrieve what ``dicomweb:SERVER/STUDY/SERIES`` names, and what it refers to."""
    from dicombridge import web
    from dicombridge.web.opening import Link, files_of

    parsed = Link.parse(link)
    server = web.server(parsed.server)
    with interruptible() as cancel, transfer_progress("Retrieving") as progress:
        return with_secrets(
            server, lambda: files_of(parsed, server=server, progress=progress, told=tell, cancel=cancel)
        )


# Stopping ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def interruptible() -> Iterator[Cancel]:
    """Give what Ctrl-C cancels, so that sockets are shut and files are left as they can be gone on with.

    A second Ctrl-C ends the program at once.
    """
    from dicombridge.web.cancelling import Cancel

    cancel = Cancel()
    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield cancel
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        # In a thread: this one may hold, at this moment, the very locks that are needed for it.
        threading.Thread(target=cancel.cancel, name="interrupted", daemon=True).start()

    signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


# Progress ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def transfer_progress(what: str, quiet: bool = False) -> Iterator[Callable[[TransferProgress], None]]:
    """Give what shows how far a transfer is: a bar on a terminal, else a line every few seconds, on stderr.

    Parameters
    ----------
    what
        What is done, e.g. "Retrieving".
    quiet
        Show nothing.
    """
    if quiet:
        yield lambda progress: None
    elif not sys.stderr.isatty():
        yield _lines(what)
    elif tables.rich_is_there():
        with _bar(what) as show:
            yield show
    else:
        try:
            yield lambda progress: print(f"\r\033[K{_words(what, progress)}", end="", file=sys.stderr, flush=True)
        finally:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _lines(what: str) -> Callable[[TransferProgress], None]:
    last = time.monotonic()

    def show(progress: TransferProgress) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(_words(what, progress), file=sys.stderr, flush=True)

    return show


def _words(what: str, progress: TransferProgress) -> str:
    """Return how far a transfer is, in a line.

    >>> from dicombridge.web.retrieving.report import TransferProgress
    >>> _words("Retrieving", TransferProgress(5_000_000, None, 10, 40, 2_500_000.0, 6.0))
    'Retrieving: 10 of 40 instances, 5.0 MB, 2.5 MB/s, 6 s left'
    """
    count = f"{progress.instances} of {progress.total_instances}" if progress.total_instances else progress.instances
    parts = [f"{count} instances", tables.size(progress.bytes)]
    if progress.bytes_per_second:
        parts.append(f"{tables.size(progress.bytes_per_second)}/s")
    if progress.seconds_left is not None:
        parts.append(f"{progress.seconds_left:.0f} s left")
    return f"{what}: {', '.join(parts)}"


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Callable[[TransferProgress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(what, total=None, words="")

        def show(progress: TransferProgress) -> None:
            by_bytes = bool(progress.total_bytes)
            total = progress.total_bytes if by_bytes else progress.total_instances
            done = min(progress.bytes, total or 0) if by_bytes else progress.instances
            bars.update(bar, total=total, completed=done, words=_words(what, progress).partition(": ")[2])

        yield show


def listed(reasons: Sequence[tuple[str, str]]) -> None:
    """Print what went wrong with which instance."""
    for name, reason in reasons:
        print(tables.plain(f"{name}: {reason}"))
