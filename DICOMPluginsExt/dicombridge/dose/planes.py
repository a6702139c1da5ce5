"""Where the planes of a dose lie (PS3.3 C.8.8.3.2), and the grids that they form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.dose.values import decimals, tag_numbers
from dicombridge.errors import GeometryError
from dicombridge.geometry import (
    DIRECTION_TOLERANCE,
    POSITION_TOLERANCE_MM,
    SPACING_RELATIVE_TOLERANCE,
    grid,
    plausible,
    stack_planes,
    unit_normal,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.geometry import Grid

__all__ = ["DosePlanes", "Run", "plane_positions", "runs_of"]

GRID_FRAME_OFFSET_VECTOR = 0x3004000C
MOST_RUNS = 20
"""Evenly spaced runs that an irregular dose is shown as; more of them are no help to anybody."""
MOST_SLICES = 4096
"""Slices of an irregular dose that is resampled to even spacing."""


@dataclass(frozen=True)
class Run:
    """Evenly spaced planes.

    Attributes
    ----------
    geometry
        Their grid, right-handed: slices run along the cross product of row and column cosines.
    frames
        (slices,) For each slice the frame (from 0) that lies in it or just before it.
    weights
        (slices,) How far each slice lies towards the next plane, 0 to 1; None where every slice is a frame as it is.
    following
        (slices,) The frame of that next plane.
    """

    geometry: Grid
    frames: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None
    following: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class DosePlanes:
    """The planes of a dose, in the order of its frames.

    Attributes
    ----------
    positions
        (frames, 3) LPS mm: centre of the first pixel of each frame.
    orientation
        ImageOrientationPatient, which all share.
    pixel_spacing
        mm between rows, mm between columns.
    warnings
        What was guessed, for a person.
    """

    positions: NDArray[np.float64]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, float]
    warnings: tuple[str, ...] = ()


def plane_positions(header: Any, frames: int) -> DosePlanes:
    """Return where the frames of a dose lie.

    Grid Frame Offset Vector is relative to the first plane, along the normal, where its first value is 0; it holds z of
    the patient where its first value is z of Image Position (Patient) and the planes are transverse. The standard has
    the latter for the orientation (1,0,0,0,1,0) only; other transverse ones occur in real files.

    Parameters
    ----------
    header
        Dataset of the RT Dose.
    frames
        Number of frames that its pixel data has.

    Raises
    ------
    GeometryError
        Position, orientation, spacing or offsets are missing, or do not fit the frames.
    """
    origin = _exactly(header, "ImagePositionPatient", 3)
    orientation = _exactly(header, "ImageOrientationPatient", 6)
    spacing = _exactly(header, "PixelSpacing", 2)
    normal = unit_normal(orientation.tolist())
    if frames == 1:
        return DosePlanes(origin.reshape(1, 3), tuple(orientation), (spacing[0], spacing[1]))
    offsets, warnings = _offsets(header, frames)
    first = float(offsets[0])
    transverse = abs(normal[2]) > 1 - DIRECTION_TOLERANCE**2
    if first == 0:
        positions = origin + np.outer(offsets, normal)
    elif transverse and abs(first - origin[2]) <= POSITION_TOLERANCE_MM:
        positions = np.repeat(origin[None], frames, axis=0)
        positions[:, 2] = offsets
        if np.abs(orientation - (1, 0, 0, 0, 1, 0)).max() > DIRECTION_TOLERANCE:
            warnings.append(
                "Its GridFrameOffsetVector begins with z of its position, which the standard has for another "
                "orientation only; it was taken for z of the patient."
            )
    else:
        positions = origin + np.outer(offsets - first, normal)
        warnings.append(
            f"Its GridFrameOffsetVector begins with {first:g}, neither 0 nor z of its position; the planes were put "
            "at its position and on from there."
        )
    if not plausible(positions):
        raise GeometryError("Its planes do not lie anywhere near a patient.")
    return DosePlanes(positions, tuple(orientation), (spacing[0], spacing[1]), tuple(warnings))


def _exactly(header: Any, keyword: str, count: int) -> NDArray[np.float64]:
    values = decimals(header, keyword)
    if values is None or len(values) != count or not plausible(values):
        raise GeometryError(f"Its {keyword} is {_shown(header, keyword)}, not {count} numbers: it cannot be placed.")
    return np.array(values)


def _shown(header: Any, keyword: str) -> str:
    values = decimals(header, keyword)
    return "missing or no numbers" if values is None else str(values[:8])


def _offsets(header: Any, frames: int) -> tuple[NDArray[np.float64], list[str]]:
    values = decimals(header, "GridFrameOffsetVector")
    if values is None:
        raise GeometryError(
            f"Its {frames} planes cannot be placed: its GridFrameOffsetVector is missing or holds no numbers."
        )
    if len(values) < frames or not plausible(values):
        raise GeometryError(
            f"Its {frames} planes cannot be placed: its GridFrameOffsetVector holds {len(values)} numbers, "
            f"{values[:3]}..."
        )
    warnings = []
    if len(values) > frames:
        warnings.append(
            f"Its GridFrameOffsetVector holds {len(values)} numbers for {frames} planes; the first ones hold."
        )
    pointer = tag_numbers(header, "FrameIncrementPointer")
    if pointer != [GRID_FRAME_OFFSET_VECTOR]:
        said = "is missing" if not pointer else "does not point to its GridFrameOffsetVector"
        warnings.append(f"Its FrameIncrementPointer {said}, which was used all the same.")
    offsets = np.array(values[:frames])
    steps = np.diff(offsets)
    if not ((steps > 0).all() or (steps < 0).all()):
        warnings.append("Its GridFrameOffsetVector neither rises nor falls throughout; the planes were sorted.")
    return offsets, warnings


def runs_of(
    planes: DosePlanes, shape: Sequence[int], frame_of_reference_uid: str = "", even: bool = False
) -> list[Run]:
    """Return the grids that the planes form: one where they are evenly spaced, else one for each evenly spaced run.

    Neighbouring runs share the plane between them, so that there is no gap.

    Parameters
    ----------
    shape
        Rows, columns.
    even
        Resample irregular planes linearly, to one grid of about their smallest distance.

    Raises
    ------
    GeometryError
        Two planes lie at the same place, or the planes are too irregular.
    """
    stack = stack_planes(planes.positions, planes.orientation, default_spacing=min(planes.pixel_spacing))
    count = len(planes.positions)
    if len(stack.positions) != count:
        raise GeometryError(f"{count - len(stack.positions) + 1} of its {count} planes lie at the same place.")
    normal = unit_normal(planes.orientation)
    distances = planes.positions @ normal
    order = np.argsort(distances)
    size = (int(shape[0]), int(shape[1]))

    def run(first: NDArray[np.float64], step: NDArray[np.float64], slices: int) -> Grid:
        return grid(
            first.tolist(),
            planes.orientation,
            planes.pixel_spacing,
            step.tolist(),
            (slices, *size),
            frame_of_reference_uid or None,
        )

    if stack.regular and not stack.missing:
        return [Run(run(planes.positions[order[0]], stack.step, count), order)]
    if even:
        return [_resampled(planes, order, distances[order], normal, run)]
    pieces = _pieces(distances[order])
    if len(pieces) > MOST_RUNS:
        raise GeometryError(
            f"Its {count} planes are so irregular that they form {len(pieces)} volumes; load it with even=True, which "
            "resamples them to even spacing."
        )
    runs = []
    for start, stop in pieces:
        frames = order[start:stop]
        ends = planes.positions[frames[0]], planes.positions[frames[-1]]
        runs.append(Run(run(ends[0], (ends[1] - ends[0]) / (len(frames) - 1), len(frames)), frames))
    return runs


def _pieces(distances: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return first plane and end (exclusive) of each evenly spaced run of sorted planes; neighbours share a plane."""
    gaps = np.diff(distances)
    pieces = []
    start = 0
    while start < len(gaps):
        tolerance = max(POSITION_TOLERANCE_MM, SPACING_RELATIVE_TOLERANCE * gaps[start])
        stop = start + 1
        while stop < len(gaps) and abs(gaps[stop] - gaps[start]) <= tolerance:
            stop += 1
        pieces.append((start, stop + 1))
        start = stop
    return pieces


def _resampled(
    planes: DosePlanes, order: NDArray[np.int64], distances: NDArray[np.float64], normal: NDArray[np.float64], run: Any
) -> Run:
    """Return one run over all planes, from the first to the last, at about their smallest distance."""
    extent = float(distances[-1] - distances[0])
    steps = max(round(extent / float(np.diff(distances).min())), 1)
    if steps >= MOST_SLICES:
        raise GeometryError(f"Resampled to their smallest distance, its planes would become {steps + 1} slices.")
    places = np.linspace(distances[0], distances[-1], steps + 1)
    before = np.clip(np.searchsorted(distances, places, side="right") - 1, 0, len(distances) - 2)
    weights = (places - distances[before]) / (distances[before + 1] - distances[before])
    # A plane that lies at its place within rounding stays exactly what it was.
    near = np.rint(weights)
    weights = np.where(np.abs(weights - near) < 1e-6, near, weights)
    geometry = run(planes.positions[order[0]], normal * (extent / steps), steps + 1)
    return Run(geometry, order[before], weights, order[before + 1])
