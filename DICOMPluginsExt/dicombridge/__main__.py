"""``python -m dicombridge`` is the command ``dicombridge``."""

from __future__ import annotations

import sys

from dicombridge.cli import main

if __name__ == "__main__":
    sys.exit(main())
