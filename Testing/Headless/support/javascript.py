"""Structured reports as OHIF writes and reads them: @cornerstonejs/adapters and dcmjs, asked through Node."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from support import peers

__all__ = ["groups", "hydrated", "image_entries", "make_reports"]

Entry = Mapping[str, Any]

ATTRIBUTES = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "SeriesInstanceUID",
    "Modality",
    "SOPInstanceUID",
    "SOPClassUID",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "FrameOfReferenceUID",
)
PLACES = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")


def _plain(value: Any) -> Any:
    if isinstance(value, MultiValue):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(value)
    return int(value) if isinstance(value, int) else str(value)


def _taken(dataset: Dataset, keywords: Sequence[str]) -> dict[str, Any]:
    return {keyword: _plain(dataset[keyword].value) for keyword in keywords if dataset.get(keyword) is not None}


def image_entries(*datasets: Dataset) -> list[dict[str, Any]]:
    """Images as the functions here want them: naturalized attributes, one entry for each frame.

    A frame of a multi-frame image has its ``FrameNumber``, and its place from the functional groups.
    """
    found = []
    for dataset in datasets:
        common = _taken(dataset, (*ATTRIBUTES, *PLACES))
        if "PerFrameFunctionalGroupsSequence" not in dataset:
            found.append(common)
            continue
        shared = list(dataset.get("SharedFunctionalGroupsSequence", []))
        for number, own in enumerate(dataset.PerFrameFunctionalGroupsSequence, 1):
            frame = dict(common)
            for groups_ in (*shared, own):
                for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
                    for item in groups_.get(name, []):
                        frame |= _taken(item, PLACES)
            found.append(frame | {"FrameNumber": number})
    return found


@contextmanager
def _json(content: object) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        yield path


def _ask(script: str, *arguments: object) -> Any:
    """As :func:`peers.node`, for scripts that need the adapters too."""
    if os.environ.get("DICOMBRIDGE_WITHOUT_NODE") != "1":
        installed = (peers.NODE_FOLDER / "node_modules" / "@cornerstonejs" / "adapters").is_dir()
        advice = f"run `npm ci` in {peers.NODE_FOLDER}, or set DICOMBRIDGE_WITHOUT_NODE=1 to go without it"
        assert installed, f"@cornerstonejs/adapters is not installed; {advice}"
    return peers.node(script, *arguments)


def make_reports(
    images: Sequence[Entry], annotations: Sequence[Entry], folder: Path, *, corrected: bool = False
) -> dict[str, Path]:
    """Write reports of annotations with cornerstone's adapters: name -> file.

    There is a file for each tool, with ``Open`` after the name for contours that are not closed, and ``3D`` for
    annotations without image; ``All`` and ``All3D`` have every annotation with, and without image.

    ``images`` are of :func:`image_entries`, or made by hand. An annotation has its ``tool`` (``"Length"``, ...) and
    its ``points`` in millimetres (LPS), and as wanted ``image`` (SOP Instance UID) and ``frame``, or
    ``frameOfReference`` where it has no image; ``label``, ``finding`` and ``findingSites`` (codes with ``CodeValue``,
    ``CodingSchemeDesignator`` and ``CodeMeaning``), ``textBox``, ``stats``, ``closed``, ``controlPoints``,
    ``splineType``, ``arrowFirst``, ``rotation``; ``node/make_reports.mjs`` says more.

    Cornerstone exchanges the two numbers of Pixel Spacing where it makes SCOORDs, which is seen where pixels are not
    square (https://github.com/cornerstonejs/cornerstone3D/issues/2758). With ``corrected`` they are what the standard
    wants; without, what OHIF writes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = {"images": [dict(image) for image in images], "annotations": [dict(one) for one in annotations]}
    with _json({**given, "corrected": corrected}) as path:
        return {name: Path(file) for name, file in _ask("make_reports.mjs", path, folder).items()}


def hydrated(
    path: Path, images: Sequence[Entry], *, corrected: bool = False, complete: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """Annotations that cornerstone's adapters make of a report: tool -> annotations in the order of the groups.

    An annotation has ``tool``, ``points`` (of contours: the polyline without the repeated first point),
    ``controlPoints``, ``closed``, ``splineType``, ``textBox``, ``label``, ``text`` (of arrows), ``description``,
    ``finding``, ``findingSites``, ``stats``, ``image``, ``series``, ``frame``, ``frameOfReference``,
    ``trackingIdentifier`` and ``trackingUID``; what there is not is None. So is a point that an adapter
    expects and the report does not have.

    ``complete`` fails for a report with a group that the adapters pass over; for ``corrected`` see
    :func:`make_reports`.
    """
    with _json({"images": [dict(image) for image in images], "corrected": corrected}) as given:
        found = _ask("read_report.mjs", path, given)
    assert not complete or not found["failures"], "\n".join(found["failures"])
    annotations: dict[str, list[dict[str, Any]]] = found["annotations"]
    return annotations


def groups(path: Path) -> list[dict[str, Any]]:
    """The Measurement Groups of any report as dcmjs reads it, in their order and wherever they are.

    A group has ``trackingIdentifier``, ``trackingUID``, ``finding``, ``findingSites``, ``codes``, ``texts``,
    ``measurements``, ``coordinates`` and ``images``. A measurement has ``name``, ``value``, ``units``, ``modifiers``,
    ``coordinates`` and ``images``; coordinates have ``type`` (SCOORD or SCOORD3D), ``name``, ``graphic``, ``data``,
    ``frameOfReference`` and ``images``. Codes have ``value``, ``scheme`` and ``meaning``.
    """
    found: list[dict[str, Any]] = peers.node("read_groups.mjs", path)
    return found
