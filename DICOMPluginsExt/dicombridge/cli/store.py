"""``dicombridge store SERVER PATH...``: files, folders, or a node of a scene, to a server."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicombridge.cli import common, network
from dicombridge.cli.tables import json_text
from dicombridge.errors import CancelledError, DicomBridgeError, UnreadableError

if TYPE_CHECKING:
    from dicombridge.web.storing import StoreReport

SAME = "Is the same as "
HELP = "Store files, folders or a node of a scene on a server."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    network.add_server_arguments(parser)
    parser.add_argument("paths", metavar="PATH", nargs="*", help="DICOM files and folders")
    parser.add_argument("--scene", nargs=2, metavar=("SCENE", "NODE"), help="a node of a scene (.mrb) instead of files")
    parser.add_argument("--kind", metavar="KIND", help="what the node is written as, e.g. SEG")
    parser.add_argument("--source", metavar="PATH", help="file or folder with the images that the node refers to")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEYWORD=VALUE", help="attribute of the node's object, or option"
    )
    parser.add_argument(
        "--check",
        nargs="?",
        const="true",
        choices=("true", "one", "all"),
        help="ask the server afterwards what it has; one or all: fetch one instance, or each, and compare",
    )
    parser.add_argument("--deidentify", action="store_true", help="remove who it is of, before it is sent")
    parser.add_argument("--connections", type=network.whole(1), metavar="N", help="requests at a time (a few)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Store and say what became of each instance that was not simply stored."""
    from dicombridge import web

    server = network.find_server(arguments)
    what, options = _what(arguments)
    with network.interruptible() as cancel, network.transfer_progress("Storing", arguments.json) as progress:
        try:
            report = network.with_secrets(
                server,
                lambda: web.store(
                    server,
                    what,
                    progress=progress,
                    cancel=cancel,
                    check={None: False, "true": True}.get(arguments.check, arguments.check),
                    connections=arguments.connections,
                    deidentify=True if arguments.deidentify else None,
                    export_options=options,
                ),
            )
        except CancelledError as error:
            done = getattr(error, "report", None)
            raise CancelledError(f"interrupted; {done.summary if done else 'nothing was stored'}") from None
    if arguments.json:
        print(json_text(report.to_json(), indent=2))
    else:
        _tell(report)
    if not report.complete:
        raise DicomBridgeError(f"{report.summary}.")
    _refuse_nothing(arguments.paths, report)


def _refuse_nothing(paths: list[str], report: StoreReport) -> None:
    """What was named on the command line and is nothing to store must not pass for stored."""
    for path in paths:
        reason = report.skipped.get(str(Path(path).expanduser()), "")
        if reason and not reason.startswith(SAME):
            raise DicomBridgeError(f"{path}: {reason[0].lower()}{reason[1:]}")
    if not report.total:
        raise DicomBridgeError(f"{', '.join(paths)}: there are no DICOM objects to store.")


def _what(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return what to store, and options of its export."""
    if bool(arguments.paths) == bool(arguments.scene):
        raise DicomBridgeError("store takes files and folders, or --scene with a scene and a node.")
    if not arguments.scene:
        if arguments.kind or arguments.source or arguments.set:
            raise DicomBridgeError("--kind, --source and --set are for --scene.")
        for path in arguments.paths:
            if not Path(path).exists():
                raise UnreadableError(path, "there is no such file or folder.")
        return arguments.paths, {}
    if not arguments.kind:
        raise DicomBridgeError("--scene needs --kind, e.g. --kind SEG.")
    from dicombridge.kinds import kind_named

    options: dict[str, Any] = common.settings(arguments.set, "KEYWORD=VALUE, e.g. SeriesDescription=edited")
    options["kind"] = kind_named(arguments.kind).name
    if arguments.source:
        options["source"] = arguments.source
        options["database"] = common.open_path(arguments.source)
    path, name = arguments.scene
    scene = common.read_scene(path)
    node = common.find_node(scene, name)
    return node, options


def _tell(report: StoreReport) -> None:
    network.listed([(uid, f"warning: {words}") for uid, words in report.warnings.items()])
    network.listed([(uid, f"not known: {words}") for uid, words in report.unconfirmed.items()])
    network.listed(list(report.failed.items()))
    if report.complete:
        print(report.summary)
