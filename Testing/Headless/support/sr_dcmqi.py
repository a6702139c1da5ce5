"""Reports by dcmqi's ``tid1500writer``, and what its ``tid1500reader`` finds in a report."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pydicom

from support.peers import run, tool

Code = tuple[str, str, str]
"""Value, scheme, meaning."""

VOLUME, MEAN = ("118565006", "SCT", "Volume"), ("373098007", "SCT", "Mean")
ATTENUATION = ("112031", "DCM", "Attenuation Coefficient")
HOUNSFIELD, CUBIC = ("[hnsf'U]", "UCUM", "Hounsfield unit"), ("mm3", "UCUM", "cubic millimeter")
MEASURED: tuple[dict[str, Any], ...] = (
    {"value": "37.3289", "quantity": ATTENUATION, "units": HOUNSFIELD, "derivationModifier": MEAN},
    {"value": "70361.9", "quantity": VOLUME, "units": CUBIC},
)
"""What :func:`write_tid1500` writes."""


def write_tid1500(folder: Path, data: Path, **values: Any) -> Path:
    """Write a report on the liver's segment of the shared data; ``values`` are further values of its group."""
    folder.mkdir(parents=True, exist_ok=True)
    seg = pydicom.dcmread(data / "seg/dcmqi_liver/liver.dcm", stop_before_pixels=True)
    first = pydicom.dcmread(data / "seg/dcmqi_liver/ct/01.dcm", stop_before_pixels=True)
    group = {
        "TrackingIdentifier": "Liver 1",
        "ReferencedSegment": 1,
        "SourceSeriesForImageSegmentation": str(first.SeriesInstanceUID),
        "segmentationSOPInstanceUID": str(seg.SOPInstanceUID),
        "Finding": _code(("113343008", "SCT", "Organ")),
        "FindingSite": _code(("10200004", "SCT", "Liver")),
        "measurementItems": [_plain(one) for one in MEASURED],
        **values,
    }
    described = {
        "SeriesDescription": "Measurements",
        "SeriesNumber": "1001",
        "InstanceNumber": "1",
        "compositeContext": ["liver.dcm"],
        "imageLibrary": ["01.dcm", "02.dcm", "03.dcm"],
        "observerContext": {"ObserverType": "PERSON", "PersonObserverName": "Reader1"},
        "VerificationFlag": "VERIFIED",
        "CompletionFlag": "COMPLETE",
        "activitySession": "1",
        "timePoint": "1",
        "Measurements": [group],
    }
    metadata, path = folder / "metadata.json", folder / "sr.dcm"
    metadata.write_text(json.dumps(described))
    run(
        tool("tid1500writer"), "--inputMetadata", metadata, "--outputDICOM", path,
        "--inputImageLibraryDirectory", data / "seg/dcmqi_liver/ct",
        "--inputCompositeContextDirectory", data / "seg/dcmqi_liver",
    )  # fmt: skip
    metadata.unlink()
    return path


def tid1500_json(path: Path) -> dict[str, Any]:
    """Return what ``tid1500reader`` finds in a report."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        run(tool("tid1500reader"), "--inputDICOM", path, "--outputMetadata", found)
        described: dict[str, Any] = json.loads(found.read_text())
        return described


def _code(code: Code) -> dict[str, str]:
    return dict(zip(("CodeValue", "CodingSchemeDesignator", "CodeMeaning"), code, strict=True))


def _plain(measured: dict[str, Any]) -> dict[str, Any]:
    return {key: _code(value) if isinstance(value, tuple) else value for key, value in measured.items()}
