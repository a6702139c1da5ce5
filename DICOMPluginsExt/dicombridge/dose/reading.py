"""From an RT Dose file to plain values: grids, doses, what they are doses of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.attribute_values import items_of
from dicombridge.dose.collecting import planes_together
from dicombridge.dose.planes import Run, plane_positions, runs_of
from dicombridge.dose.values import codes_text, one_decimal, text_value, whole
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.multiframe import MultiFrame, open_multiframe
from dicombridge.part10 import (
    DEFLATED_EXPLICIT_VR,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    PIXEL_DATA,
)
from dicombridge.pixels import PixelFrames
from dicombridge.progress import Progress, part

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DoseFile", "DoseGrid", "described_warnings", "open_dose"]

NATIVE = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR, EXPLICIT_VR_BIG_ENDIAN)
RT_DOSE_STORAGE = "1.2.840.10008.5.1.4.1.1.481.2"
EXACT_IN_FLOAT32 = 2**23
"""Stored values up to this come back from their float32 product with the scaling; larger ones need float64."""
UNITS = ("GY", "RELATIVE")
TYPES = ("PHYSICAL", "EFFECTIVE", "ERROR")
PLAUSIBLE_SCALING = 1e-20, 1e6
"""What one stored unit can mean, in Gy or relative to a reference; damaged numbers are beyond."""


@dataclass(frozen=True)
class DoseGrid:
    """The doses of one evenly spaced run of planes.

    Attributes
    ----------
    run
        Their grid.
    doses
        (slices, rows, columns), float32, or float64 where the stored numbers need it: stored value x DoseGridScaling.
    """

    run: Run
    doses: NDArray[np.floating[Any]]


@dataclass
class DoseFile:
    """An RT Dose, read.

    Attributes
    ----------
    path
        The file, as the caller named it.
    header
        Dataset without pixel data.
    grids
        One for each evenly spaced run of planes (nearly always one); none where the object has no pixel data.
    scaling
        DoseGridScaling, as used; NaN where the object has no pixel data.
    shadow
        The header as text (:mod:`dicombridge.shadow`).
    headers
        Of all files, where the dose was written plane by plane; ``header`` is the first of them.
    warnings
        What is doubtful, for a person.
    """

    path: str
    header: Any
    grids: list[DoseGrid] = field(default_factory=list)
    scaling: float = math.nan
    shadow: str = ""
    headers: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def open_dose(
    paths: Sequence[str], progress: Progress | None = None, even: bool = False, scaling: float | None = None
) -> DoseFile:
    """Read an RT Dose.

    Parameters
    ----------
    paths
        One file, or single-frame files that are the planes of one dose.
    progress
        Called with a fraction (0 to 1) and a message.
    even
        Resample irregular planes to even spacing.
    scaling
        In place of the object's DoseGridScaling, where that is missing or wrong.

    Raises
    ------
    UnreadableError
        The file is damaged, or its numbers have no meaning.
    GeometryError
        The planes cannot be placed.
    UnsupportedError
        It is another object, or is compressed in a way that cannot be decoded here.
    """
    parts = []
    for number, path in enumerate(paths):
        tell = part(progress, number / len(paths), 1 / len(paths))
        parts.append(_read_part(path, scaling, tell, several=len(paths) > 1))
    first = parts[0]
    dose = DoseFile(first.path, first.header, shadow=first.shadow)
    dose.headers = [one.header for one in parts]
    dose.warnings += dict.fromkeys(warning for one in parts for warning in one.warnings)
    if first.stored is not None:
        dose.scaling = first.scaling
        _make_grids(dose, parts, even)
    return dose


@dataclass
class _Part:
    """One file: its stored numbers, (frames, rows, columns); None where it has histograms alone."""

    path: str
    header: Any
    shadow: str
    warnings: list[str]
    stored: NDArray[Any] | None = None
    scaling: float = math.nan


def _read_part(path: str, scaling: float | None, progress: Progress | None, several: bool) -> _Part:
    with open_multiframe(path, pixels=False) as opened:
        header = opened.header
        if text_value(header, "SOPClassUID") != RT_DOSE_STORAGE:
            raise UnsupportedError(f"{path}: is no RT Dose but {text_value(header, 'SOPClassUID')}.")
        part = _Part(path, header, opened.shadow(), described_warnings(header))
        if not opened.top_level()[1].complete:
            raise UnreadableError(path, "is cut short: its last element ends beyond the end of the file.")
        frames = _frames(opened, part.warnings)
        if several and (frames is None or frames.count != 1):
            raise UnreadableError(path, "is no single plane; a dose of several planes in one file is loaded alone.")
        if frames is None:
            if not items_of(header, "DVHSequence"):
                raise UnreadableError(path, "has neither doses (no PixelData) nor dose-volume histograms.")
            return part
        part.scaling = _scaling(path, header, scaling)
        if not several:
            plane_positions(header, frames.count)  # before the pixels are read: what cannot be placed is soon told
        part.stored = _stored(part, frames, progress)
    return part


def described_warnings(header: Any) -> list[str]:
    """Return what is doubtful about what the doses are, in words."""
    warnings = []
    units, dose_type = codes_text(header, "DoseUnits"), codes_text(header, "DoseType")
    if units not in UNITS:
        said = f"are {units!r}" if units else "are missing"
        warnings.append(f"Its DoseUnits {said}, neither GY nor RELATIVE; the doses have no unit.")
    if dose_type not in TYPES:
        said = repr(dose_type) if dose_type else "missing"
        warnings.append(f"Its DoseType is {said}, none of {', '.join(TYPES)}.")
    scaling = one_decimal(header, "DoseGridScaling")
    has_planes = whole(header, "Rows") is not None
    if has_planes and (scaling is None or not math.isfinite(scaling) or scaling == 0):
        warnings.append(
            "Its DoseGridScaling is missing, 0 or no number: what its stored numbers mean is unknown, so it does not "
            "load without being told (option dose_grid_scaling)."
        )
    elif scaling is not None and scaling < 0:
        warnings.append("Its DoseGridScaling is negative, and so are its doses.")
    if whole(header, "PixelRepresentation") == 1 and dose_type != "ERROR":
        warnings.append("Its stored numbers are signed, which is for doses of type ERROR only.")
    return warnings


def _scaling(path: str, header: Any, given: float | None) -> float:
    scaling = one_decimal(header, "DoseGridScaling") if given is None else float(given)
    if scaling is None or not _plausible(scaling):
        said = "given scaling" if given is not None else "DoseGridScaling"
        raise UnreadableError(
            path,
            f"its {said} is {'missing or no number' if scaling is None else f'{scaling:g}'}: what its stored numbers "
            "mean is unknown. Where you know it, give it: load(..., dose_grid_scaling=...).",
        )
    return scaling


def _plausible(scaling: float) -> bool:
    return PLAUSIBLE_SCALING[0] <= abs(scaling) <= PLAUSIBLE_SCALING[1]


def _frames(opened: MultiFrame, warnings: list[str]) -> PixelFrames | None:
    """Return the pixel data, None where there is none; a number of frames that is no number is counted."""
    buffer, layout = opened.top_level()
    span = layout.elements.get(PIXEL_DATA)
    if span is None:
        others = [tag for tag in (0x7FE00008, 0x7FE00009) if tag in layout.elements]
        if others:
            raise UnsupportedError(f"{opened.path}: has floating point pixel data, which RT Dose does not know.")
        return None
    header = opened.header
    said = whole(header, "NumberOfFrames")
    held = _counted(header, span.stop - span.start, layout.transfer_syntax_uid)
    if said is None and ("NumberOfFrames" in header or (held or 1) > 1):
        words = repr(text_of_raw(header, "NumberOfFrames")) if "NumberOfFrames" in header else "missing"
        if held is None:
            raise UnreadableError(opened.path, f"its NumberOfFrames is {words}, and its pixel data does not tell.")
        warnings.append(f"Its NumberOfFrames is {words}; its pixel data holds {held} frames.")
        header.pop("NumberOfFrames", None)
        header.NumberOfFrames = held
    elif said is not None and held is not None and held > said > 0:
        warnings.append(f"Its pixel data holds {held} frames; by its NumberOfFrames, only the first {said} were read.")
    return PixelFrames(opened.path, buffer, span.start, span.stop, layout.transfer_syntax_uid, header)


def text_of_raw(header: Any, keyword: str) -> str:
    """Return an element's value as it is encoded, for a message."""
    raw = getattr(header.get_item(keyword), "value", "")
    return raw.decode("ascii", "replace").strip() if isinstance(raw, bytes) else str(raw)


def _counted(header: Any, length: int, transfer_syntax_uid: str) -> int | None:
    """Return how many frames native pixel data of so many bytes holds; None where that is no whole number."""
    sizes = [whole(header, keyword) for keyword in ("Rows", "Columns", "BitsAllocated")]
    if transfer_syntax_uid not in NATIVE or any(size is None or size <= 0 for size in sizes):
        return None
    rows, columns, bits = (int(size or 0) for size in sizes)
    count, rest = divmod(length, rows * columns * bits // 8 or 1)
    return count if count and rest <= 1 else None  # one byte of padding to an even length


def _make_grids(dose: DoseFile, parts: Sequence[_Part], even: bool) -> None:
    each = [part.stored for part in parts if part.stored is not None]
    stored = np.concatenate(each) if len(each) > 1 else each[0]
    scalings = np.repeat([part.scaling for part in parts], [len(one) for one in each])
    if len(parts) > 1:
        planes = planes_together([part.path for part in parts], dose.headers)
    else:
        planes = plane_positions(dose.header, len(stored))
    dose.warnings += planes.warnings
    runs = runs_of(planes, stored.shape[1:], text_value(dose.header, "FrameOfReferenceUID"), even)
    if len(stored) == 1:
        dose.warnings.append(
            f"It has one plane, whose thickness nothing tells; it is shown {min(planes.pixel_spacing):g} mm thick."
        )
    elif len(runs) > 1:
        dose.warnings.append(
            f"Its planes are not evenly spaced; they became {len(runs)} volumes, one for each evenly spaced run, so "
            "that no dose is guessed (even=True resamples them to one)."
        )
    elif runs[0].weights is not None:
        dose.warnings.append("Its planes are not evenly spaced; they were resampled linearly to even spacing.")
    element_type = _element_type(stored)
    for run in runs:
        dose.grids.append(DoseGrid(run, _doses(stored, run, scalings, element_type)))


def _stored(part: _Part, frames: PixelFrames, progress: Progress | None) -> NDArray[Any]:
    """Return the stored numbers of all frames, (frames, rows, columns), in the order of the file."""
    if frames.bits == 1:
        raise UnreadableError(part.path, "has 1 bit allocated, where 16 or 32 are expected.")
    stored_bits, high_bit = whole(part.header, "BitsStored") or frames.bits, whole(part.header, "HighBit")
    if not 0 < stored_bits <= frames.bits or high_bit not in (None, stored_bits - 1):
        raise UnreadableError(
            part.path,
            f"its numbers are {stored_bits} bits up to bit {high_bit} of {frames.bits}, which RT Dose forbids.",
        )
    if not frames.native:
        next(iter(frames))  # decoding one proves that rows and columns are true before memory is asked for by them
    stored = np.empty((frames.count, frames.rows, frames.columns), frames.dtype)
    every = max(1, frames.count // 50)
    for number in frames.fill(stored.__getitem__):
        if progress is not None and number % every == 0:
            progress(number / frames.count, f"Dose plane {number + 1} of {frames.count}")
    return stored


def _element_type(stored: NDArray[Any]) -> Any:
    largest = max(int(stored.max()), -int(stored.min()))
    return np.float32 if largest <= EXACT_IN_FLOAT32 else np.float64


def _doses(
    stored: NDArray[Any], run: Run, scalings: NDArray[np.float64], element_type: Any
) -> NDArray[np.floating[Any]]:
    doses = np.empty((len(run.frames), *stored.shape[1:]), element_type)
    for place, frame in enumerate(run.frames):
        plane = stored[frame] * scalings[frame]
        if run.weights is not None and run.following is not None and run.weights[place]:
            weight, following = run.weights[place], run.following[place]
            plane = (1 - weight) * plane + weight * (stored[following] * scalings[following])
        doses[place] = plane
    return doses
