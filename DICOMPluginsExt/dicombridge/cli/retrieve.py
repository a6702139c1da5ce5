"""``dicombridge retrieve SERVER STUDY[/SERIES[/INSTANCE]] -o DIR``: verified files."""

from __future__ import annotations

import argparse
from pathlib import Path

from dicombridge.cli import network
from dicombridge.cli.tables import json_text
from dicombridge.errors import CancelledError, DicomBridgeError

HELP = "Retrieve a study, series or instance from a server; what is there already is not fetched again."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    network.add_server_arguments(parser)
    parser.add_argument("what", metavar="STUDY[/SERIES[/INSTANCE]]", help="UIDs with slashes between them")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the DICOM files")
    parser.add_argument("--transfer-syntax", default="*", metavar="UID", help="ask for this one (as it is stored)")
    parser.add_argument("--connections", type=network.whole(1), metavar="N", help="so many at a time (as many as help)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Retrieve and say what came."""
    from dicombridge import web

    server = network.find_server(arguments)
    place = network.place_of(arguments.what)
    with network.interruptible() as cancel, network.transfer_progress("Retrieving", arguments.json) as progress:
        try:
            report = network.with_secrets(
                server,
                lambda: web.retrieve(
                    server,
                    study=place.study,
                    series=place.series,
                    instances=[place.instance] if place.instance else None,
                    directory=Path(arguments.output),
                    transfer_syntax=arguments.transfer_syntax,
                    connections=arguments.connections,
                    progress=progress,
                    cancel=cancel,
                ),
            )
        except CancelledError:
            raise CancelledError(
                f"interrupted; what came stays in {arguments.output}, and the same command goes on with it"
            ) from None
    if arguments.json:
        print(json_text(report.to_json(), indent=2))
    else:
        for note in report.notes:
            network.tell(note)
        network.listed([(uid, "missing: the server does not have it") for uid in report.missing])
        network.listed(list(report.failed.items()))
    if report.missing or report.failed:
        raise DicomBridgeError(f"{report.summary}.")
    if not arguments.json:
        print(f"{report.summary}, in {arguments.output}")
