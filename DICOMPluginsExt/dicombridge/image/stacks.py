"""From planes in any order to stacks that are regular grids, and to words for all that are not.

A series may hold several volumes: other orientations (localizers), other pixel sizes, several images at each position
(time points, echoes, b-values), or blocks with different distances. Each becomes a stack of its own. What remains
irregular after that is one stack with a warning, never a regular looking grid without one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import GeometryError
from dicombridge.geometry import (
    DIRECTION_TOLERANCE,
    POSITION_TOLERANCE_MM,
    SPACING_RELATIVE_TOLERANCE,
    PlaneStack,
    SlantedGrid,
    grid_of_affine,
    stack_planes,
    unit_normal,
)
from dicombridge.image.headers import Plane

if TYPE_CHECKING:
    from highdicom import VolumeGeometry
    from numpy.typing import NDArray

__all__ = ["Stack", "find_stacks"]

SPACING_TOLERANCE = 1e-4
"""Relative difference of pixel spacings of one volume: they are decimal strings, rounded to 6 digits and more."""

MISSING_FRACTION = 1 / 3
"""Slices that may be missing, as part of the slices present; beyond it a gap is rather a border between two blocks."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Parallel planes as one grid.

    Attributes
    ----------
    planes
        The planes, sorted along their normal.
    slices
        For each plane, the slice of the grid that it fills.
    shape
        Slices (missing ones included), rows, columns.
    affine
        4x4: (slice, row, column, 1) to LPS mm.
    regular
        Every plane is at its place on the grid. If not, only the first and the last are.
    shear_mm
        Shift within the plane from one slice to the next; above 0, the grid's axes are not perpendicular.
    label
        What sets this stack apart from the others of the series, e.g. ``"acquisition 2"``.
    warning
        What is doubtful, for a person.
    """

    planes: tuple[Plane, ...]
    slices: tuple[int, ...]
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    regular: bool
    shear_mm: float
    label: str
    warning: str

    @property
    def missing(self) -> tuple[int, ...]:
        """Slices of the grid that no plane fills."""
        return tuple(sorted(set(range(self.shape[0])) - set(self.slices)))

    @property
    def frame_of_reference_uid(self) -> str:
        """FrameOfReferenceUID that the planes share, empty if unknown."""
        return self.planes[0].frame_of_reference_uid

    def geometry(self) -> VolumeGeometry | SlantedGrid:
        """Return the grid, if it is a regular one.

        Raises
        ------
        GeometryError
            The planes form no such grid.
        """
        if not self.regular:
            raise GeometryError(f"{self.planes[0].path}: {self.warning}")
        return self.placement

    @property
    def placement(self) -> VolumeGeometry | SlantedGrid:
        """The grid as which the stack is shown; for an irregular one, it is not where the planes are."""
        return grid_of_affine(self.affine, self.shape, self.frame_of_reference_uid)


def find_stacks(planes: Iterable[Plane]) -> list[Stack]:
    """Return the stacks that these planes form: blocks as they come, within a block by time point, echo or the like.

    Parameters
    ----------
    planes
        Planes in any order; all can be placed (``plane.lacks`` is empty). Repeated SOP instances count once.
    """
    stacks: list[Stack] = []
    blocks = list(_blocks(planes))
    for number, block in enumerate(blocks, start=1):
        words = f"block {number}" if len(blocks) > 1 else ""
        for label, part, note in _distinct(block):
            for run_label, run, run_note in _regular_runs(part):
                text = ", ".join(filter(None, (words, label, run_label)))
                stacks.append(_stack(run, text, " ".join(filter(None, (note, run_note)))))
    return stacks


def _blocks(planes: Iterable[Plane]) -> Iterator[list[Plane]]:
    """Yield the planes that have size, spacing, orientation, stack and frame of reference in common."""
    blocks: list[list[Plane]] = []
    seen: set[tuple[str, int]] = set()
    for plane in planes:
        key = (plane.sop_instance_uid or plane.path, plane.frame)
        if key in seen:
            continue
        seen.add(key)
        for block in blocks:
            if _alike(block[0], plane):
                block.append(plane)
                break
        else:
            blocks.append([plane])
    yield from blocks


def _alike(one: Plane, other: Plane) -> bool:
    same = (one.shape, one.stack, one.frame_of_reference_uid) == (
        other.shape,
        other.stack,
        other.frame_of_reference_uid,
    )
    return same and _near(one.spacing, other.spacing, SPACING_TOLERANCE) and _parallel(one, other)


def _near(one: Any, other: Any, relative: float) -> bool:
    return one == other or bool(np.allclose(one, other, rtol=relative, atol=0))


def _parallel(one: Plane, other: Plane) -> bool:
    if one.orientation == other.orientation:
        return True
    difference = np.subtract(one.orientation or (), other.orientation or ())
    return bool(np.abs(difference).max() <= DIRECTION_TOLERANCE)


def _arrange(planes: Sequence[Plane]) -> PlaneStack:
    """Return the planes as a stack; evenly spaced ones count as regular though single distances differ by more.

    A scanner that joins bed positions leaves a gap that is a little wider or narrower at each joint, and the planes are
    still where an even grid has them.
    """
    stack = stack_planes([plane.position for plane in planes], planes[0].orientation or ())
    count = len(stack.positions)
    if stack.regular or count < 3:
        return stack
    step = (stack.positions[-1] - stack.positions[0]) / (count - 1)
    normal = unit_normal(planes[0].orientation or ())
    spacing = float(step @ normal)
    tolerance = max(POSITION_TOLERANCE_MM, SPACING_RELATIVE_TOLERANCE * spacing)
    away = np.linalg.norm(stack.positions - stack.positions[0] - np.outer(np.arange(count), step), axis=1)
    if away.max() > tolerance:
        return stack
    shear = float(np.linalg.norm(step - normal * spacing))
    if shear * (count - 1) <= tolerance:
        step, shear = normal * spacing, 0.0
    return replace(stack, slices=count, spacing=spacing, regular=True, missing=(), step=step, shear_mm=shear)


def _multiplicity(planes: Sequence[Plane]) -> int:
    """Return how many planes at most lie at one place along the normal."""
    stack = _arrange(planes)
    if len(stack.positions) == len(planes):
        return 1
    return max(Counter(stack.index.tolist()).values())


Part = tuple[str, list[Plane], str]
"""Label, planes, warning."""


def _distinct(planes: list[Plane]) -> list[Part]:
    """Split planes so that no two of a part lie at the same place."""
    repeats = _multiplicity(planes)
    if repeats == 1:
        return [("", planes, "")]
    # As many parts as there are images at one position is what time points or echoes look like; a mark with more
    # values than that (a time of each single image) tells nothing.
    found = _split_by_marks(planes, most=repeats, fits=lambda part: _multiplicity(part) == 1)
    if found is not None:
        return found
    note = (
        f"There are up to {repeats} images at one position and no header value tells them apart: "
        "they were distributed over the volumes in the order of their instance numbers; check the result."
    )
    return [(f"repeat {number}", part, note) for number, part in enumerate(_by_rank(planes), start=1)]


def _split_by_marks(planes: list[Plane], most: int, fits: Callable[[list[Plane]], bool]) -> list[Part] | None:
    """Split planes by the first mark, or pair of marks, of which every part fits; None if there is none."""
    marked = _with_place_in_plane(planes)
    names = list(dict.fromkeys(name for _, marks in marked for name in marks))
    telling = [name for name in names if len({marks.get(name, "") for _, marks in marked}) > 1]
    for count in (1, 2):
        for chosen in combinations(telling, count):
            groups: dict[tuple[str, ...], list[Plane]] = defaultdict(list)
            for plane, marks in marked:
                groups[tuple(marks.get(name, "") for name in chosen)].append(plane)
            if 1 < len(groups) <= most and all(fits(part) for part in groups.values()):
                ordered = sorted(groups.items(), key=lambda group: [_sort_key(text) for text in group[0]])
                return [(_label(chosen, values), part, "") for values, part in ordered]
    return None


def _with_place_in_plane(planes: list[Plane]) -> list[tuple[Plane, dict[str, str]]]:
    """Return the planes with their marks; where they lie in their plane is one more (stacks side by side)."""
    orientation = np.reshape(planes[0].orientation or (), (2, 3))
    places = np.rint(np.asarray([plane.position for plane in planes]) @ orientation.T).astype(int)
    return [
        (plane, {**plane.marks, "place": f"{row} {column}"})
        for plane, (row, column) in zip(planes, places.tolist(), strict=True)
    ]


def _label(names: Sequence[str], values: Sequence[str]) -> str:
    return ", ".join(f"{name} {value.replace(chr(92), ' ')}" for name, value in zip(names, values, strict=True))


def _sort_key(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _by_rank(planes: list[Plane]) -> list[list[Plane]]:
    index = _arrange(planes).index.tolist()
    parts: dict[int, list[Plane]] = defaultdict(list)
    taken: Counter[int] = Counter()
    for number in sorted(range(len(planes)), key=lambda n: (planes[n].instance_number or 0, planes[n].frame, n)):
        parts[taken[index[number]]].append(planes[number])
        taken[index[number]] += 1
    return list(parts.values())


def _regular_runs(planes: list[Plane]) -> list[Part]:
    """Split planes of distinct places where that gives regular stacks."""
    if len(planes) < 3 or _fits_a_grid(planes):
        return [("", planes, "")]
    # More parts than this are not blocks but jitter, which stays in one piece, with a warning.
    most = max(2, len(planes) // 4)
    note = "The distances between the slices of this series differ: it was split into volumes of even distances."
    found = _split_by_marks(planes, most, fits=lambda part: len(part) > 1 and _fits_a_grid(part))
    if found is not None:
        return [(label, part, note) for label, part, _ in found]
    runs = list(_runs(planes))
    if len(runs) > most:
        return [("", planes, "")]
    return [(f"part {number}", run, note) for number, run in enumerate(runs, start=1)]


def _fits_a_grid(planes: list[Plane]) -> bool:
    """Whether planes are a regular grid in which only single slices are missing.

    Two larger distances in a row are a change of the spacing, not two missing slices: filling each second slice of
    half a volume with air would not be what the scanner measured.
    """
    stack = _arrange(planes)
    if not stack.regular:
        return False
    steps = np.diff(np.unique(stack.index))
    wide = steps > 1
    change = bool((wide[1:] & wide[:-1]).any())
    return not change and len(stack.missing) <= MISSING_FRACTION * len(planes)


def _runs(planes: list[Plane]) -> Iterator[list[Plane]]:
    """Yield runs of evenly spaced neighbours; a plane between two runs belongs to the longer one."""
    ordered = sorted(planes, key=lambda plane: plane.distance)
    gaps = np.diff([plane.distance for plane in ordered])
    tolerance = np.maximum(POSITION_TOLERANCE_MM, SPACING_RELATIVE_TOLERANCE * gaps)
    # Runs of equal gaps, as (number of gaps, gap, first plane).
    runs: list[tuple[int, float, int]] = []
    start = 0
    for end in range(1, len(gaps) + 1):
        if end == len(gaps) or abs(gaps[end] - gaps[start]) > tolerance[start]:
            runs.append((end - start, float(gaps[start]), start))
            start = end
    taken = np.full(len(ordered), -1)
    for number, (length, _, first) in enumerate(sorted(runs, key=lambda run: (-run[0], run[1], run[2]))):
        here = slice(first, first + length + 1)
        taken[here] = np.where(taken[here] < 0, number, taken[here])
    for number in dict.fromkeys(taken.tolist()):
        yield [plane for plane, run in zip(ordered, taken.tolist(), strict=True) if run == number]


def _stack(planes: list[Plane], label: str, note: str) -> Stack:
    arranged = _arrange(planes)
    first = planes[0]
    order = sorted(range(len(planes)), key=lambda number: planes[number].distance)
    ordered = tuple(planes[number] for number in order)
    slices = tuple(int(arranged.index[number]) for number in order)
    step = arranged.step
    if not arranged.regular:
        # Both ends right and errors in between, rather than right at one end and worse with every slice.
        slices = tuple(range(len(ordered)))
        span = ordered[-1].distance - ordered[0].distance
        step = unit_normal(first.orientation or ()) * span / max(len(ordered) - 1, 1)
    rows, columns = first.shape or (0, 0)
    affine = np.eye(4)
    orientation, spacing = np.asarray(first.orientation), first.spacing or (1.0, 1.0)
    affine[:3, 0] = step
    affine[:3, 1] = orientation[3:] * spacing[0]
    affine[:3, 2] = orientation[:3] * spacing[1]
    affine[:3, 3] = ordered[0].position
    count = arranged.slices if arranged.regular else len(ordered)
    shear = arranged.shear_mm if arranged.regular else 0.0
    stack = Stack(ordered, slices, (count, rows, columns), affine, arranged.regular, shear, label, "")
    return replace(stack, warning=" ".join(filter(None, (note, _warning(stack)))))


def _warning(stack: Stack) -> str:
    """Return what is doubtful about a stack, in words."""
    if not stack.regular:
        places = [plane.distance for plane in stack.planes]
        wanted = np.linspace(places[0], places[-1], len(places))
        gaps = np.diff(places)
        away = np.linalg.norm(
            np.asarray([plane.position for plane in stack.planes])
            - (stack.affine[:3, 3] + np.outer(np.arange(len(places)), stack.affine[:3, 0])),
            axis=1,
        )
        worst = max(float(np.abs(np.asarray(places) - wanted).max()), float(away.max()))
        return (
            f"The slices do not form a regular grid (distances of {gaps.min():.4g} to {gaps.max():.4g} mm): "
            f"they are shown at equal distances, up to {worst:.4g} mm away from where they were taken. "
            "Do not measure distances or volumes in this volume."
        )
    notes = []
    if stack.shear_mm:
        notes.append(
            f"Each slice is shifted by {stack.shear_mm:.4g} mm within its plane against the one before "
            "(images of a tilted gantry): the volume keeps this slant, so that every voxel is at its right place; "
            "resample it before using tools that need right angles."
        )
    if stack.missing:
        names = ", ".join(str(number + 1) for number in stack.missing)
        notes.append(
            f"Missing slices: {names} of {stack.shape[0]}. They were filled with the lowest value; "
            "check whether all files of the series are there."
        )
    if stack.shape[0] == 1:
        notes.append("This is one slice only: its thickness in space is not known and was set to 1 mm.")
    return " ".join(notes)
