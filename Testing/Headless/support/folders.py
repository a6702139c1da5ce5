"""Small folders of CT files, for the tests of the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

SOP, SERIES, STUDY, PATIENT, NAME = "0008,0018", "0020,000E", "0020,000D", "0010,0020", "0010,0010"


def sample(name: str) -> Path:
    return Path(str(get_testdata_file(name)))


def write_ct(path: Path, **values: Any) -> pydicom.Dataset:
    """Write a small CT file; each has its own SOP Instance UID unless one is given."""
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.3.4", "1.2.3"
    for keyword, value in values.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    if "SOPInstanceUID" in dataset:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return dataset


def reasons(pairs: list[tuple[str, str]]) -> dict[str, str]:
    return {Path(path).name: reason for path, reason in pairs}
