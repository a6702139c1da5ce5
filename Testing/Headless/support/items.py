"""Items and datasets of plain attributes, and files as pydicom reads them: what no kind is needed for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset


def item(**values: Any) -> Dataset:
    """Return a dataset with these attributes."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def reference(sop_class: str, uid: str, **values: Any) -> Dataset:
    """Return an item that names an instance."""
    return item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid, **values)


def frame_reference(sop_class: str, uid: str, frame: int) -> Dataset:
    """Return an item that names a frame of an instance; the whole instance for frame 0."""
    return reference(sop_class, uid, **({"ReferencedFrameNumber": frame} if frame else {}))


def read(path: Path) -> Dataset:
    """Return a file as pydicom reads it, whatever odd values it has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path)
