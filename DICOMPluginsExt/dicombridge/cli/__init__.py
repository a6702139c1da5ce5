"""The command ``dicombridge``: one file a command.

A command is a module with ``HELP`` (one line), ``add_arguments(parser)`` and ``run(arguments) -> int | None``.
Exit code 0, or 1 with one line on stderr that says what is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]

COMMANDS = (
    *("info", "load", "export", "convert", "demo"),
    *("servers", "doctor", "query", "retrieve", "store", "thumbnail"),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line; argparse would print the whole usage and exit with 2."""
        self.exit(1, f"dicombridge: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        Arguments after the program's name; ``sys.argv`` where it is None.

    Returns
    -------
    int
        Exit code: 0, or 1 after one line on stderr.
    """
    arguments = _parser().parse_args(argv)
    from dicombridge.cli import common
    from dicombridge.cli.tables import plain as one_line
    from dicombridge.errors import DicomBridgeError

    common.quiet(arguments.debug)
    try:
        return int(arguments.run(arguments) or 0)
    except DicomBridgeError as error:
        reason = str(error)
    except BrokenPipeError:
        # The reader of our output has seen enough (``| head``); closing stdout again at exit would complain.
        sys.stderr.close()
        return 1
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    except KeyboardInterrupt:
        reason = "interrupted"
    except MemoryError:
        reason = "not enough memory"
    except Exception as error:  # a defect of ours: one line for the person, the place with --debug
        if arguments.debug:
            raise
        reason = f"unexpected {type(error).__name__}: {error} (please report this; --debug shows where)"
    if arguments.debug:
        import traceback

        traceback.print_exc()
    print(f"dicombridge: error: {one_line(reason)}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    from dicombridge import __version__

    parser = _Parser(prog="dicombridge", description="DICOM objects as MRML nodes of 3D Slicer, and back.")
    parser.add_argument("--version", action="version", version=f"dicombridge {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"dicombridge.cli.{name}")
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show where an error comes from, and VTK's messages")
        command.set_defaults(run=module.run)
    return parser
