"""All errors that dicombridge raises on purpose.

::

    DicomBridgeError
    ├── UnreadableError       the file is not DICOM, is cut short, or contradicts itself
    ├── UnsupportedError      valid DICOM that this version does not map
    ├── GeometryError         the planes do not form the grid that was asked for
    ├── MissingReferenceError an object that is needed is not in the database
    └── ExportError           the nodes cannot be written as asked

A message names the file or node, says what is wrong, and says what to do where something can be done.
Any other exception that leaves the library is a defect of the library.
"""

from __future__ import annotations

__all__ = [
    "DicomBridgeError",
    "ExportError",
    "GeometryError",
    "MissingReferenceError",
    "UnreadableError",
    "UnsupportedError",
]


class DicomBridgeError(Exception):
    """Base of every error that the library raises on purpose."""


class UnreadableError(DicomBridgeError):
    """The file is not DICOM, is cut short, or contradicts itself.

    Parameters
    ----------
    path
        The file, as the caller named it.
    reason
        What is wrong, as the end of a sentence that starts with the path.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class UnsupportedError(DicomBridgeError):
    """The object is valid DICOM, but this version of dicombridge does not map it."""


class GeometryError(DicomBridgeError):
    """The planes do not form the regular grid that was asked for."""


class MissingReferenceError(DicomBridgeError):
    """An object that is needed is not in the database."""


class ExportError(DicomBridgeError):
    """The nodes cannot be written as asked; no file was left behind."""
