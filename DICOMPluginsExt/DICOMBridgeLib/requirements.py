"""The Python packages that loading and exporting need.

Slicer 5.12 and newer bring them. On older ones they are installed at the first load or export, after the user agreed;
never when a module is imported or data is examined.
"""

from __future__ import annotations

import importlib
import logging
import re
import subprocess
import sys

from dicombridge.errors import DicomBridgeError

__all__ = ["REQUIREMENTS", "RequirementError", "ensure", "missing"]

logger = logging.getLogger(__name__)

REQUIREMENTS = {"pydicom": ">=3.0.1", "highdicom": ">=0.27,<0.29"}
"""Distribution name -> versions, the lowest one first, as in the metadata of the wheel.

Only the lowest one decides whether something is installed: what a newer Slicer brings is not replaced.
"""


class RequirementError(DicomBridgeError):
    """A Python package that is needed is not there and was not installed."""


def missing() -> list[str]:
    """Return the requirements that are not met, as pip writes them, e.g. ``["highdicom>=0.27,<0.29"]``."""
    return [name + versions for name, versions in REQUIREMENTS.items() if not _is_met(name, versions)]


def ensure() -> None:
    """Make sure that all requirements are met, installing what is missing if the user agrees.

    Raises
    ------
    RequirementError
        Something is missing still: the user declined, the installation failed, or Slicer runs its tests.
    """
    wanted = missing()
    if not wanted:
        return
    loaded = [text for text in wanted if text.partition(">=")[0] in sys.modules]
    _install(wanted)
    importlib.invalidate_caches()
    left = missing()
    if left:
        raise RequirementError(
            f"DICOMBridge needs {_listed(left)}, not installed. Load or export again and agree to the installation, "
            f"or run in Slicer's Python console: slicer.util.pip_install({' '.join(left)!r})"
        )
    if loaded:
        # What this process imported stays the old version until it ends.
        raise RequirementError(
            f"{_listed(loaded)} was installed over an older version. Restart Slicer, then try again."
        )


def _is_met(name: str, versions: str) -> bool:
    from importlib import metadata  # takes longer than all the rest of a hook

    try:
        return _numbers(metadata.version(name)) >= _numbers(versions.removeprefix(">="))
    except metadata.PackageNotFoundError:
        return False


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``"3.0.2.dev1"`` -> ``(3, 0, 2)``."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _install(wanted: list[str]) -> None:
    """Ask, then install. A refusal leaves things as they are or raises."""
    try:
        from slicer import packaging
    except ImportError:
        _install_as_before_5_12(wanted)
        return
    try:
        packaging.pip_ensure(wanted, requester="DICOMBridge")
    except (RuntimeError, subprocess.CalledProcessError) as error:
        raise RequirementError(f"DICOMBridge needs {_listed(wanted)}, not installed: {error}") from error


def _install_as_before_5_12(wanted: list[str]) -> None:
    import slicer

    question = f"DICOMBridge needs {_listed(wanted)} to load or export this. Install into Slicer's Python now?"
    if not slicer.util.confirmOkCancelDisplay(question, "Install Python packages"):
        logger.info("Installation of %s was declined.", _listed(wanted))
        return
    try:
        slicer.util.pip_install(" ".join(wanted))
    except subprocess.CalledProcessError as error:
        raise RequirementError(f"DICOMBridge needs {_listed(wanted)}, and installing failed: {error}") from error


def _listed(requirements: list[str]) -> str:
    return " and ".join(requirements)
