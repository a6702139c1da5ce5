"""``python -m dicombridge.web.worker``: lines on stdin and stdout; see :mod:`dicombridge.web.worker.protocol`."""

from __future__ import annotations

import argparse
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
    serve(arguments.state, max(arguments.transfers, 1))


if __name__ == "__main__":
    main()
