"""A beam in space: its axis, its opening and its edges as lines in LPS."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.geometry import plausible
from dicombridge.plan.apertures import Opening, Outline, opening_of
from dicombridge.plan.iec import PATIENT_POSITIONS, beam_to_patient, gantry_to_patient
from dicombridge.plan.values import Accessory, Beam, ControlPoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PARTS", "BeamShape", "beam_shape"]

PARTS = ("axis", "aperture", "edge", "block", "applicator", "scan spots")
"""What the lines of a beam are, by the number that stands in the cell data ``part``."""

DEFAULT_DISTANCE_MM = 1000.0
_CIRCLE = 36


@dataclass
class BeamShape:
    """Lines that show a beam at its first control point.

    Attributes
    ----------
    isocentre, source
        (3,) LPS mm.
    opening
        Of jaws and leaves.
    lines
        Polylines, each with its number in ``PARTS`` and (n, 3) LPS mm; a closed one ends where it begins.
    assumptions
        What the plan does not say and was assumed, in sentences.
    """

    isocentre: NDArray[np.float64]
    source: NDArray[np.float64]
    opening: Opening
    lines: list[tuple[int, NDArray[np.float64]]] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)


def beam_shape(beam: Beam, accessories: tuple[Accessory, ...] = ()) -> BeamShape | None:
    """Return how a beam lies in the patient, None where the plan does not say where its isocentre is.

    What is drawn in the plane of the isocentre (opening, blocks, applicator, scan spots) has the coordinates that the
    plan gives: they are projected there (PS3.3 C.8.8.14, C.8.8.25).

    Parameters
    ----------
    accessories
        Of the whole plan; those of the beam are picked.
    """
    if not beam.control_points or beam.isocentre is None or not plausible(beam.isocentre):
        return None
    first = beam.control_points[0]
    assumptions: list[str] = []
    position = _position(beam, assumptions)
    distances = _distances(beam, assumptions)
    if "GantryAngle" not in first.settings:
        assumptions.append("its gantry angle is not said; 0 degrees is assumed")
    isocentre = np.array(beam.isocentre)
    device, gantry = beam_to_patient(first.settings, position), gantry_to_patient(first.settings, position)
    opening = opening_of(beam.devices, first.positions)
    shape = BeamShape(isocentre, isocentre + device @ [0, 0, distances[0]], opening, assumptions=assumptions)
    shape.lines.append((0, np.array([shape.source, isocentre])))
    for outline in opening.outlines:
        _add_outline(shape, 1, outline, device)
    for block in beam.blocks:
        _add_outline(shape, 3, list(block.outline), device)
    for outline in _applicators(beam, accessories):
        _add_outline(shape, 4, outline, device)
    spots = _spot_box(beam.control_points)
    if spots is not None:
        _add_outline(shape, 5, _corners(spots), gantry)
    box, rotation = (opening.box, device) if opening.box is not None else (spots, gantry)
    if box is not None and plausible(box):
        _add_edges(shape, box, distances, rotation)
    return shape


def _position(beam: Beam, assumptions: list[str]) -> str:
    position = beam.patient_position.strip().upper()
    if position in PATIENT_POSITIONS:
        return position
    said = f"its patient position {position} is unknown" if position else "its patient position is not said"
    assumptions.append(f"{said}; HFS is assumed")
    return "HFS"


def _distances(beam: Beam, assumptions: list[str]) -> tuple[float, float]:
    """Return the distances (mm) from the isocentre at which the beam diverges in x and in y."""
    value: Any = beam.settings.get("VirtualSourceAxisDistances" if beam.ion else "SourceAxisDistance")
    values = value if isinstance(value, tuple) else (value,)
    usable = [one for one in values if isinstance(one, float) and one > 0 and plausible(one)]
    if not usable:
        assumptions.append(f"the distance of its source is not said; {DEFAULT_DISTANCE_MM:g} mm is assumed")
        return DEFAULT_DISTANCE_MM, DEFAULT_DISTANCE_MM
    return usable[0], usable[-1]


def _add_outline(shape: BeamShape, part: int, outline: Outline, rotation: NDArray[np.float64]) -> None:
    if len(outline) < 2 or not plausible(outline):
        return
    plane = np.array([(x, y, 0.0) for x, y in [*outline, outline[0]]])
    shape.lines.append((part, shape.isocentre + plane @ rotation.T))


def _add_edges(
    shape: BeamShape, box: tuple[float, float, float, float], distances: tuple[float, float], rotation: Any
) -> None:
    """Add the four edges from the source through the corners of the opening.

    Magnets of scanned beams deflect x and y at different distances; then the edges begin at the nearer one.
    """
    height = min(distances)
    for x, y in _corners(box):
        start = [x * (1 - height / distances[0]), y * (1 - height / distances[1]), height]
        shape.lines.append((2, shape.isocentre + np.array([start, [x, y, 0.0]]) @ rotation.T))


def _corners(box: tuple[float, float, float, float]) -> Outline:
    x1, x2, y1, y2 = box
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _spot_box(points: tuple[ControlPoint, ...]) -> tuple[float, float, float, float] | None:
    """Return x1, x2, y1, y2 around the spots of all control points, in the gantry system."""
    with_spots = [point.spots for point in points if point.spots is not None and len(point.spots.x)]
    if not with_spots:
        return None
    return (
        min(min(spots.x) for spots in with_spots),
        max(max(spots.x) for spots in with_spots),
        min(min(spots.y) for spots in with_spots),
        max(max(spots.y) for spots in with_spots),
    )


def _applicators(beam: Beam, accessories: tuple[Accessory, ...]) -> list[Outline]:
    """Return the openings of a beam's applicators (PS3.3 C.8.8.14, Applicator Geometry Sequence)."""
    found: list[Outline] = []
    for accessory in accessories:
        if accessory.kind != "applicator" or accessory.beam_number != beam.number:
            continue
        said = accessory.settings
        side, wide, high = (said.get(f"ApplicatorOpening{axis}") for axis in ("", "X", "Y"))
        if isinstance(side, float) and said.get("ApplicatorApertureShape") == "SYM_CIRCULAR":
            steps = [2 * math.pi * number / _CIRCLE for number in range(_CIRCLE)]
            found.append([(side / 2 * math.cos(step), side / 2 * math.sin(step)) for step in steps])
            continue
        width = wide if isinstance(wide, float) else side
        height = high if isinstance(high, float) else side
        if isinstance(width, float) and isinstance(height, float):
            found.append(_corners((-width / 2, width / 2, -height / 2, height / 2)))
    return found
