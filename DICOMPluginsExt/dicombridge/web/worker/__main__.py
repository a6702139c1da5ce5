"""``python -m dicombridge.web.worker``: lines on stdin and stdout; see :mod:`dicombridge.web.worker.protocol`."""

from __future__ import annotations

import argparse
import importlib
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from dicombridge.web.worker.scheduling import TRANSFERS
from dicombridge.web.worker.serving import serve


def main() -> NoReturn:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m dicombridge.web.worker", description="DICOMweb in JSON lines; ends when its stdin closes."
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="folder of the job list (one of the user)")
    parser.add_argument("--transfers", type=int, default=TRANSFERS, metavar="N", help="how many run at once (2)")
    arguments = parser.parse_args()
    threading.Thread(target=_warm_up, name="warm up", daemon=True).start()
    serve(arguments.state, max(arguments.transfers, 1))


def _warm_up() -> None:
    """Import in the meantime what the first search needs, which takes longer than the search."""
    with suppress(ImportError):  # it will say so itself
        importlib.import_module("dicombridge.web.catalogue")
        importlib.import_module("dicombridge.web.retrieving")


if __name__ == "__main__":
    main()
