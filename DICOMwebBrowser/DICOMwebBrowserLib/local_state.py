"""What Slicer's DICOM database has of a series already."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

__all__ = ["ABSENT", "HERE", "PART", "database", "explanation", "folder_of_files", "of_series", "of_study", "words"]

ABSENT, PART, HERE = "absent", "part", "here"


def database() -> Any:
    """Return the open database of Slicer, None where there is none yet."""
    import slicer

    found = getattr(slicer, "dicomDatabase", None)
    return found if found is not None and found.isOpen else None


def of_series(series: str, expected: Any) -> str:
    """Return the state of a series, by its number of instances on the server."""
    base = database()
    here = len(base.instancesForSeries(series)) if base else 0
    return _state(here, expected)


def of_study(study: str, expected: Any) -> str:
    """Return the state of a study, by its number of instances on the server."""
    base = database()
    here = sum(len(base.instancesForSeries(series)) for series in base.seriesForStudy(study)) if base else 0
    return _state(here, expected)


def folder_of_files(series: str, directory: str) -> str:
    """Return the folder with the files of a series: where they came to, or where the database has them; else ""."""
    if directory and qt.QDir(directory).exists():
        return directory
    base = database()
    files = base.filesForSeries(series, 1) if base and series else ()
    folder = str(qt.QFileInfo(str(files[0])).absolutePath()) if files else ""
    return folder if folder and qt.QDir(folder).exists() else ""


def _state(here: int, expected: Any) -> str:
    if not here:
        return ABSENT
    text = str(expected or "")
    return PART if text.isdigit() and here < int(text) else HERE


def words(state: str) -> str:
    """Return a state as the table shows it."""
    return {HERE: _("here"), PART: _("partly")}.get(state, "")


def explanation(state: str) -> str:
    """Return what a state means."""
    whole = {HERE: _("In Slicer's DICOM database"), PART: _("Partly in Slicer's DICOM database")}
    return whole.get(state, _("On the server only"))
