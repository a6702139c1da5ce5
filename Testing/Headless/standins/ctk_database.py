"""A stand-in for ``ctkDICOMDatabase`` that reads its headers with pydicom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from standins.pythonqt import Property, QtObject, method, texts_in

_TAG = re.compile(r"[0-9A-F]{4},[0-9A-F]{4}")
_EXCLUDED = {"7FE0,0010"}
_NOT_STORED = "__VALUE_IS_NOT_STORED__"


class CtkDatabase(QtObject):
    """Patients, studies, series and instances of a folder, under the method names of CTK.

    ``_asked`` is the list of all (path, tag) that were read; ``_cached`` holds the tags of ``tagsToPrecache``.
    """

    isOpen = Property(True, None)
    isInMemory = Property(False, None)
    lastError = Property("", None)
    databaseFilename = Property("ctkDICOM.sql", None)
    databaseDirectory = Property("", None)
    tagsToPrecache = Property((), texts_in)
    tagsToExcludeFromStorage = Property(("7FE0,0010",), texts_in)
    loadedSeriesInstanceUIDs = Property((), texts_in)

    def __init__(self, *folders: Path) -> None:
        self._headers: dict[str, Dataset] = {}
        self._marked: set[tuple[str, str]] = set()
        self._asked: list[tuple[str, str]] = []
        for folder in folders:
            self._index(Path(folder))

    def _index(self, folder: Path) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
        for path in paths:
            try:
                header = pydicom.dcmread(path, stop_before_pixels=True)
            except Exception:  # noqa: S112, RUF100 - what isn't DICOM is skipped, as the indexer does
                continue
            # Without a study UID CTK rejects a file, without a series UID it makes no instance.
            if header.get("StudyInstanceUID") and header.get("SeriesInstanceUID") and header.get("SOPInstanceUID"):
                self._headers = {p: h for p, h in self._headers.items() if h.SOPInstanceUID != header.SOPInstanceUID}
                self._headers[str(path.absolute())] = header

    def _values(self, wanted: str, keyword: str, value: str) -> tuple[str, ...]:
        found = [str(h.get(wanted, "")) for h in self._headers.values() if str(h.get(keyword, "")) == value]
        return tuple(dict.fromkeys(found))

    def _patient_keys(self) -> list[tuple[str, str]]:
        keys = ((str(h.get("PatientID", "")), str(h.get("PatientName", ""))) for h in self._headers.values())
        return list(dict.fromkeys(keys))

    def _path(self, instance: str) -> str:
        return next((path for path, h in self._headers.items() if h.SOPInstanceUID == instance), "")

    # Patients are row numbers, not Patient IDs; the same patient has the same ID and the same name.

    @method
    def patients(self):
        return tuple(str(row) for row, _ in enumerate(self._patient_keys(), start=1))

    @method
    def studiesForPatient(self, patient):
        rows = dict(zip(self.patients(), self._patient_keys(), strict=True))
        key = rows.get(str(patient))
        mine = [
            h for h in self._headers.values() if (str(h.get("PatientID", "")), str(h.get("PatientName", ""))) == key
        ]
        return tuple(dict.fromkeys(str(h.StudyInstanceUID) for h in mine))

    @method
    def seriesForStudy(self, study):
        return self._values("SeriesInstanceUID", "StudyInstanceUID", str(study))

    @method
    def instancesForSeries(self, series, hits=-1):
        return self._values("SOPInstanceUID", "SeriesInstanceUID", str(series))[: hits if hits >= 0 else None]

    @method
    def filesForSeries(self, series, hits=-1):
        return tuple(map(self._path, self.instancesForSeries(series, hits)))

    @method
    def studyForSeries(self, series):
        return next(iter(self._values("StudyInstanceUID", "SeriesInstanceUID", str(series))), "")

    @method
    def patientForStudy(self, study):
        return next((row for row in self.patients() if str(study) in self.studiesForPatient(row)), "")

    @method
    def fileForInstance(self, instance):
        return self._path(str(instance))

    @method
    def instanceForFile(self, path):
        return str(self._headers[path].SOPInstanceUID) if path in self._headers else ""

    @method
    def seriesForFile(self, path):
        return str(self._headers[path].SeriesInstanceUID) if path in self._headers else ""

    @method
    def allFiles(self):
        return tuple(self._headers)

    @method
    def fileValue(self, path, tag, element=None):
        """Return the value as text; tag is ``"GGGG,EEEE"``, or two numbers."""
        if element is not None:
            tag = f"{tag:04X},{element:04X}"
        # CTK has no defined result for other notations, and lower case is cached where nobody looks.
        assert _TAG.fullmatch(str(tag)), f"{tag!r} is no tag that ctkDICOMDatabase understands"
        self._asked.append((str(path), tag))
        header = self._headers.get(str(path)) or _header_from_disk(str(path))
        if header is None:
            return ""
        if tag in _EXCLUDED and (str(path), tag) not in self._marked:
            self._marked.add((str(path), tag))
            return _NOT_STORED
        return _text(header, tag)

    @method
    def instanceValue(self, instance, tag, element=None):
        path = self._path(str(instance))
        return self.fileValue(path, tag, element) if path else ""


def _header_from_disk(path: str) -> Dataset | None:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception:
        return None


def _text(header: Dataset, tag: str) -> str:
    element: Any = header.get((int(tag[:4], 16), int(tag[5:], 16)))
    if element is None or element.VR in ("SQ", "OB", "OW", "UN") or element.value is None:
        return ""
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    return "\\".join(map(_as_written, values))


def _as_written(value: Any) -> str:
    """Return a number with the digits of the file; a person's name keeps bytes there, which are no text."""
    written = getattr(value, "original_string", None)
    return written if isinstance(written, str) else str(value)


def cut_after_import(database: CtkDatabase, file: Path, folder: Path, part: float = 0.5) -> Path:
    """Return a copy of a file, ``damaged.dcm``, of which a part is left since it came into the database."""
    content = file.read_bytes()
    damaged = folder / "damaged.dcm"
    damaged.write_bytes(content)
    database._index(damaged)
    damaged.write_bytes(content[: int(len(content) * part)])
    return damaged
