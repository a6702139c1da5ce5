"""``dicombridge export SCENE NODE --kind K -o DIR``: a node of a scene as DICOM."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from dicombridge.cli import common

HELP = "Write a node of a scene as DICOM."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("scene", metavar="SCENE", help="a scene (.mrb or .mrml)")
    parser.add_argument("node", metavar="NODE", help="name or ID of the node")
    parser.add_argument("--kind", required=True, metavar="KIND", help="what to write, e.g. SEG")
    common.add_export_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Export and name the files."""
    import dicombridge
    from dicombridge.kinds import kind_named

    kind = kind_named(arguments.kind).name
    options = common.export_options(arguments)
    scene = common.read_scene(arguments.scene)
    node = common.find_node(scene, arguments.node)
    database = common.open_path(arguments.source) if arguments.source else None
    paths = dicombridge.export(
        [node], arguments.output, kind=kind, database=database, progress=common.default_progress(), **options
    )
    tell(paths, arguments.json)


def tell(paths: Sequence[Path], as_json: bool) -> None:
    """Print the files that were written."""
    print(json.dumps({"files": [str(path) for path in paths]}, indent=2) if as_json else "\n".join(map(str, paths)))
