"""The opening of jaws and leaves in the plane of the isocentre, as outlines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dicombridge.plan.values import Device

__all__ = ["Opening", "Outline", "opening_of"]

Outline = list[tuple[float, float]]
"""Corners (x, y) mm of a closed polygon, the first one not repeated."""

_WIDEST = 1e6


@dataclass(frozen=True)
class Opening:
    """What jaws and leaves leave open.

    Attributes
    ----------
    jaws
        x1, x2, y1, y2 mm; a side that no device limits is None.
    outlines
        Polygons in the beam limiting device system; none where all is closed or nothing limits the beam.
    box
        x1, x2, y1, y2 mm around all that is open; None where all is closed or nothing limits the beam.
    """

    jaws: tuple[float | None, float | None, float | None, float | None]
    outlines: tuple[Outline, ...]
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class _Leaves:
    boundaries: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]

    def at(self, place: float) -> tuple[float, float]:
        """Return what is open between the leaf pair at a place across the leaves."""
        for number, (start, stop) in enumerate(pairwise(self.boundaries)):
            if start <= place < stop:
                return self.low[number], self.high[number]
        return -_WIDEST, _WIDEST  # beyond the leaves only the jaws shield


def opening_of(devices: Sequence[Device], positions: Mapping[str, Sequence[float]]) -> Opening:
    """Return what is open at a control point (PS3.3 C.8.8.14, Leaf/Jaw Positions).

    Parameters
    ----------
    devices
        All devices of the beam.
    positions
        By the type of the device: for jaws the lower and the higher one, for N leaf pairs the N lower and then the N
        higher ones.
    """
    x, y = _jaws(positions, "X"), _jaws(positions, "Y")
    jaws = (x[0], x[1], y[0], y[1])
    across_y, across_x = _leaves(devices, positions, "MLCX"), _leaves(devices, positions, "MLCY")
    if across_y:
        outlines = _runs(across_y, x, y)
    elif across_x:
        outlines = [[(a, b) for b, a in outline] for outline in _runs(across_x, y, x)]
    elif None not in jaws:
        x1, x2, y1, y2 = (float(value or 0) for value in jaws)
        outlines = [[(x1, y1), (x2, y1), (x2, y2), (x1, y2)]] if x1 < x2 and y1 < y2 else []
    else:
        outlines = []
    return Opening(jaws, tuple(outlines), _box(outlines))


def _jaws(positions: Mapping[str, Sequence[float]], axis: str) -> tuple[float | None, float | None]:
    """Return the narrower of symmetric and asymmetric jaws, should there be both."""
    pairs = [positions[kind] for kind in (axis, f"ASYM{axis}") if len(positions.get(kind, ())) == 2]
    if not pairs:
        return None, None
    return max(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


def _leaves(devices: Sequence[Device], positions: Mapping[str, Sequence[float]], prefix: str) -> list[_Leaves]:
    """Return the layers of leaves that move along one axis; those of stacked collimators have a number as suffix."""
    found = []
    for device in devices:
        values = positions.get(device.kind, ()) if device.kind.startswith(prefix) else ()
        pairs = len(values) // 2
        rises = all(a < b for a, b in pairwise(device.boundaries))
        if pairs and len(values) == 2 * pairs and len(device.boundaries) == pairs + 1 and rises:
            found.append(_Leaves(device.boundaries, values[:pairs], values[pairs:]))
    return found


def _runs(
    layers: Sequence[_Leaves], along: tuple[float | None, float | None], across: tuple[float | None, float | None]
) -> list[Outline]:
    """Return outlines of neighbouring open strips, (along the leaves, across them).

    Where the openings of neighbours do not touch, a new outline begins.
    """
    low, high = (-_WIDEST if along[0] is None else along[0]), (_WIDEST if along[1] is None else along[1])
    places = sorted({boundary for layer in layers for boundary in layer.boundaries})
    bottom, top = (places[0] if across[0] is None else across[0]), (places[-1] if across[1] is None else across[1])
    places = sorted({bottom, top, *(place for place in places if bottom < place < top)}) if bottom < top else []
    runs: list[list[tuple[float, float, float, float]]] = []
    for start, stop in pairwise(places):
        limits = [layer.at((start + stop) / 2) for layer in layers]
        left, right = max(low, *(limit[0] for limit in limits)), min(high, *(limit[1] for limit in limits))
        if left >= right or left <= -_WIDEST or right >= _WIDEST:
            continue
        last = runs[-1][-1] if runs else None
        if last is not None and last[1] == start and last[2] < right and left < last[3]:
            runs[-1].append((start, stop, left, right))
        else:
            runs.append([(start, stop, left, right)])
    return [_staircase(run) for run in runs]


def _staircase(run: Sequence[tuple[float, float, float, float]]) -> Outline:
    """Return the polygon around strips: up at their high ends, down at their low ends; no corner in a straight line."""
    corners: Outline = []
    for start, stop, _, right in run:
        corners += [(right, start), (right, stop)]
    for start, stop, left, _ in reversed(run):
        corners += [(left, stop), (left, start)]
    kept: Outline = []
    for number, corner in enumerate(corners):
        before, after = corners[number - 1], corners[(number + 1) % len(corners)]
        if not (corner == after or before[0] == corner[0] == after[0] or before[1] == corner[1] == after[1]):
            kept.append(corner)
    return kept


def _box(outlines: Sequence[Outline]) -> tuple[float, float, float, float] | None:
    corners = [corner for outline in outlines for corner in outline]
    if not corners:
        return None
    x, y = [corner[0] for corner in corners], [corner[1] for corner in corners]
    return min(x), max(x), min(y), max(y)
