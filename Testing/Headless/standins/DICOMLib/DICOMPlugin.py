"""DICOMLoadable and DICOMPlugin, with the attributes and the caching of Slicer 5.13."""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["DICOMLoadable", "DICOMPlugin"]


class DICOMLoadable:
    """A plain Python object, to which plugins add attributes."""

    def __init__(self, qLoadable: Any = None) -> None:
        self.files: Any = []
        self.name = "Unknown"
        self.tooltip = "No further information available"
        self.warning = ""
        self.selected = False
        self.confidence = 0.5
        if qLoadable is not None:
            for name in ("files", "name", "tooltip", "warning", "selected", "confidence"):
                setattr(self, name, getattr(qLoadable, name))


class DICOMPlugin:
    """What a plugin inherits."""

    def __init__(self) -> None:
        self.loadType = "Generic DICOM"
        self.loadableCache: dict[bytes, list[Any]] = {}
        self.tags = {
            "seriesInstanceUID": "0020,000E",
            "seriesDescription": "0008,103E",
            "seriesNumber": "0020,0011",
            "modality": "0008,0060",
            "instanceUID": "0008,0018",
            "classUID": "0008,0016",
            "position": "0020,0032",
        }
        self.tempDir = None

    def hashFiles(self, files: Any) -> bytes:
        digest = hashlib.md5(usedforsecurity=False)
        for file in files:
            digest.update(file.encode("UTF-8", "ignore"))
        return digest.digest()

    def getCachedLoadables(self, files: Any) -> list[Any] | None:
        return self.loadableCache.get(self.hashFiles(files))

    def cacheLoadables(self, files: Any, loadables: list[Any]) -> None:
        self.loadableCache[self.hashFiles(files)] = loadables

    def examineForImport(self, fileLists: Any) -> list[Any]:
        loadables: list[Any] = []
        for files in fileLists:
            found = self.getCachedLoadables(files)
            if found is None:
                found = self.examineFiles(files)
                self.cacheLoadables(files, found)
            loadables += found
        return loadables

    def examine(self, fileLists: Any) -> list[Any]:
        return self.examineForImport(fileLists)

    def examineFiles(self, files: Any) -> list[Any]:
        return []

    def load(self, loadable: Any) -> Any:
        return True

    def examineForExport(self, subjectHierarchyItemID: int) -> list[Any]:
        return []

    def export(self, exportables: Any) -> str:
        return ""

    def addSeriesInSubjectHierarchy(self, loadable: Any, dataNode: Any) -> None:
        raise AssertionError("dicombridge.hierarchy files the nodes; doing it twice makes two items")
