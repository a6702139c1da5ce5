"""``dicombridge doctor URL``: what is behind an address, and what it can do."""

from __future__ import annotations

import argparse
import json

from dicombridge.cli import network, tables

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

    server = network.find_server(arguments)
    with network.interruptible() as cancel:
        diagnosis = network.with_secrets(server, lambda: web.doctor(server, cancel=cancel))
    found = diagnosis.server
    if arguments.save:
        found = found.changed(name=arguments.save)
        SavedServers().save(found)
    if arguments.json:
        print(json.dumps({**diagnosis.to_json(), "server": found.to_json()}, indent=2, ensure_ascii=False))
    else:
        with tables.Table(("", "What", "Finding"), flexible=2) as table:
            for finding in diagnosis.findings:
                table.add(SIGNS[finding.ok], finding.what, finding.text)
        print(f"{found.url}" + (f", saved as {arguments.save}" if arguments.save else ""))
