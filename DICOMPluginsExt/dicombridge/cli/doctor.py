"""``dicombridge doctor URL``: what is behind an address, and what it can do."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dicombridge.cli import network, tables
from dicombridge.errors import DicomBridgeError

if TYPE_CHECKING:
    from dicombridge.web.diagnosis import Finding
    from dicombridge.web.servers import Server

HELP = "Find the server behind an address and find out what it can do."

SIGNS = {True: "yes", False: "no", None: "?"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "server", metavar="URL", help="address of a server or of its viewer, a saved name, a folder or a zip file"
    )
    network.add_way_arguments(parser)
    parser.add_argument("--save", metavar="NAME", help="save the server that was found under this name")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Examine and print the findings as they come."""
    from dicombridge import web
    from dicombridge.web.saved import SavedServers

    server = _server(arguments)
    if not isinstance(server, str):
        network.ask_for_secret(server)
    with network.interruptible() as cancel:
        diagnosis = web.doctor(server, cancel=cancel, found=(lambda finding: None) if arguments.json else _show)
    found = diagnosis.server
    if arguments.save and diagnosis.ok:
        found = found.changed(name=arguments.save)
        SavedServers().save(found)
    if arguments.json:
        print(tables.json_text({**diagnosis.to_json(), "server": found.to_json()}, indent=2))
    if not diagnosis.ok:
        wrong = next(one.text for one in diagnosis.findings if one.ok is False)
        raise DicomBridgeError(f"{found} cannot be used as it is: {tables.plain(wrong)}")
    if not arguments.json:
        print(found.url + (f", saved as {arguments.save}" if arguments.save else ""))


def _server(arguments: argparse.Namespace) -> Server | str:
    """Return the server that is meant, or the text as it was pasted where nothing more is said of it."""
    from dicombridge.web.diagnosis.pasted import understood
    from dicombridge.web.saved import SavedServers
    from dicombridge.web.servers import Server

    text = arguments.server
    saved = SavedServers().get(text)
    if saved is None and not network.says_way(arguments):
        return str(text)
    if saved is None:
        saved = Server(text) if "://" in text else understood(text).server
    return network.with_way(saved, arguments)


def _show(finding: Finding) -> None:
    print(f"{SIGNS[finding.ok]:3}  {finding.what:15}  {tables.plain(finding.text)}".rstrip(), flush=True)
