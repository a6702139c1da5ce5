"""``dicombridge demo``: what the library does, shown on a phantom that it makes itself."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from dicombridge.cli import common

HELP = "Write a phantom study, load it, draw it, export it again, and compare the voxels."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-o", "--output", default="dicombridge-demo", metavar="DIR", help="folder for all results")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Take the tour; exit code 1 where anything is not equal."""
    common.use_quiet_vtk()
    from dicombridge.demo.tour import Tour

    def say(line: str) -> None:
        print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    tour = Tour(arguments.output, say)
    good = tour.run()
    if arguments.json:
        rows = [asdict(row) | {"good": row.good} for row in tour.rows]
        print(json.dumps({"good": good, "rows": rows, "files": [str(file) for file in tour.files]}, indent=2))
    else:
        print(f"\n{tour.summary()}\n")
        print("\n".join(str(file) for file in tour.files))
    if not good:
        wrong = ", ".join(row.name for row in tour.rows if not row.good)
        print(f"dicombridge: error: not equal: {wrong}", file=sys.stderr)
    return 0 if good else 1
