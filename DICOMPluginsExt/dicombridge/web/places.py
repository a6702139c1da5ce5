"""The folders of a user in which programs keep settings, state and what can be fetched again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["user_folder"]

_NAME = "dicombridge"
# Where platformdirs (an extra) is not installed, these are the places that it would name.
_ELSEWHERE = {"config": ("XDG_CONFIG_HOME", ".config"), "state": ("XDG_STATE_HOME", ".local/state")}
_CACHE = ("XDG_CACHE_HOME", ".cache")


def user_folder(kind: str) -> Path:
    """Return the user's folder of a kind: ``config``, ``state`` or ``cache``. It need not exist."""
    try:
        import platformdirs
    except ImportError:
        pass
    else:
        return Path(getattr(platformdirs, f"user_{kind}_dir")(_NAME, appauthor=False))
    home = Path.home()
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / _NAME
        return folder / "Cache" if kind == "cache" else folder
    if sys.platform == "darwin":
        return home / "Library" / ("Caches" if kind == "cache" else "Application Support") / _NAME
    variable, usual = _ELSEWHERE.get(kind, _CACHE)
    return Path(os.environ.get(variable) or home / usual) / _NAME
