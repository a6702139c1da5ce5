"""Doses that were written plane by plane: single-frame objects of one series that are one dose together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.attribute_values import items_of
from dicombridge.dose.planes import DosePlanes, plane_positions
from dicombridge.dose.values import codes_text, decimals, text_value, whole
from dicombridge.errors import DicomBridgeError, GeometryError, UnreadableError
from dicombridge.geometry import POSITION_TOLERANCE_MM, unit_normal
from dicombridge.multiframe import read_header
from dicombridge.tolerance import DAMAGE

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["collected", "label_of", "planes_together"]

NUMBER_OF_FRAMES = "0028,0008"


def label_of(header: Any) -> str:
    """Return what tells the doses of one series apart: of the plan, of which beam, an error of dose or not."""
    words = [codes_text(header, "DoseSummationType").replace("_", " ").lower()]
    for plan in items_of(header, "ReferencedRTPlanSequence"):
        for group in items_of(plan, "ReferencedFractionGroupSequence"):
            beams = [whole(beam, "ReferencedBeamNumber") for beam in items_of(group, "ReferencedBeamSequence")]
            words.extend(str(beam) for beam in beams if beam is not None)
    if codes_text(header, "DoseType") == "ERROR":
        words.append("error")
    return " ".join(filter(None, words))


def collected(files: Sequence[str], database: Database) -> list[tuple[list[str], list[Any]]]:
    """Return the files of a series, those that are planes of one dose together, in the order of their planes.

    With planes that are taken together come their headers, which were read to see that.

    Single planes are taken together where all that they say of the dose and of the grid agrees, and no two of them
    lie at the same place; several beams, whose planes do, stay apart by their numbers.
    """
    single = [file for file in files if str(database.fileValue(file, NUMBER_OF_FRAMES) or "").strip() in ("", "1")]
    if len(single) < 2:
        return [([file], []) for file in files]
    groups: dict[tuple[str, ...], list[tuple[float, str, Any]]] = {}
    alone: list[str] = [file for file in files if file not in single]
    for file in single:
        try:
            header = read_header(file)
            key = _key(header)
            place = float(np.dot(_origin(header), unit_normal(decimals(header, "ImageOrientationPatient") or [])))
        except (DicomBridgeError, *DAMAGE):  # what is wrong with it is told where it is looked at alone
            alone.append(file)
            continue
        groups.setdefault(key, []).append((place, file, header))
    found: list[tuple[list[str], list[Any]]] = []
    for placed in groups.values():
        placed.sort(key=lambda one: one[0])
        if len(placed) > 1 and np.diff([place for place, _, _ in placed]).min() > POSITION_TOLERANCE_MM:
            found.append(([file for _, file, _ in placed], [header for _, _, header in placed]))
        else:
            alone.extend(file for _, file, _ in placed)
    found += [([file], []) for file in alone]
    order = {file: number for number, file in enumerate(files)}
    return sorted(found, key=lambda group: min(order[file] for file in group[0]))


def _key(header: Any) -> tuple[str, ...]:
    """Return all in which planes of one dose agree."""
    keywords = ("DoseUnits", "DoseType", "DoseSummationType", "FrameOfReferenceUID", "Rows", "Columns",
                "ImageOrientationPatient", "PixelSpacing", "PixelRepresentation", "SeriesInstanceUID")  # fmt: skip
    plans = [text_value(item, "ReferencedSOPInstanceUID") for item in items_of(header, "ReferencedRTPlanSequence")]
    return (*(text_value(header, keyword) for keyword in keywords), *plans, label_of(header))


def _origin(header: Any) -> list[float]:
    origin = decimals(header, "ImagePositionPatient")
    if origin is None or len(origin) != 3:
        raise GeometryError("Its ImagePositionPatient is missing.")
    return origin


def planes_together(paths: Sequence[str], headers: Sequence[Any]) -> DosePlanes:
    """Return where the planes of single-frame doses lie.

    Raises
    ------
    UnreadableError
        They are not planes of one dose.
    GeometryError
        One cannot be placed.
    """
    for path, header in zip(paths, headers, strict=True):
        if _key(header) != _key(headers[0]):
            raise UnreadableError(path, f"is no plane of the same dose as {paths[0]}.")
    planes = [plane_positions(header, 1) for header in headers]
    return DosePlanes(np.concatenate([one.positions for one in planes]), planes[0].orientation, planes[0].pixel_spacing)
