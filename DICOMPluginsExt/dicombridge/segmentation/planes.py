"""Where the frames of a segmentation lie: stacks of parallel frames, each on a regular grid.

Positions and orientations of the frames are used, or, where there are none, those of the images that the frames were
derived from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import GeometryError, MissingReferenceError, UnreadableError
from dicombridge.geometry import (
    DIRECTION_TOLERANCE,
    FARTHEST_MM,
    POSITION_TOLERANCE_MM,
    PlaneStack,
    SlantedGrid,
    grid,
    grid_of_affine,
    plausible,
    stack_planes,
    unit_normal,
)

if TYPE_CHECKING:
    from highdicom import VolumeGeometry
    from numpy.typing import NDArray

    from dicombridge.database import Database
    from dicombridge.image.series import SourceGrid
    from dicombridge.multiframe import MultiFrame

__all__ = ["FramePlanes", "FrameStack", "concatenated", "frame_planes", "place_stacks", "source_uids"]

PLANE_POSITION = (0x00209113, 0, 0x00200032)
PLANE_ORIENTATION = (0x00209116, 0, 0x00200037)
PIXEL_SPACING = (0x00289110, 0, 0x00280030)
SLICE_THICKNESS = (0x00289110, 0, 0x00180050)
DERIVATION_SOURCE_UID = (0x00089124, None, 0x00082112, None, 0x00081155)
DERIVATION_SOURCE_FRAME = (0x00089124, None, 0x00082112, None, 0x00081160)

WHOLE_PIXELS = 0.05
"""Part of a pixel that frames may be away from a common grid."""

SCATTER_PIXELS = 0.25
"""Frames of one plane that are farther apart than this part of a pixel show different parts of the plane."""

MOST_STACKS = 1024
"""Grids that the frames of one object may lie on; more is damage. Each becomes a node."""

MOST_MISSING_SLICES = 4096
"""Empty slices that a stack may have between its frames; more would only fill the memory, so they become stacks."""


@dataclass(frozen=True)
class FramePlanes:
    """Plane of each frame.

    Attributes
    ----------
    positions, orientations, spacings
        (frames, 3), (frames, 6) LPS mm and cosines; (frames, 2) mm between rows, between columns.
    thickness
        mm, of the first frame, 0 if unknown. Only for a stack of one plane, whose extent positions cannot tell.
    warnings
        What was guessed.
    """

    positions: NDArray[np.float64]
    orientations: NDArray[np.float64]
    spacings: NDArray[np.float64]
    thickness: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class FrameStack:
    """Frames that lie on one grid.

    Attributes
    ----------
    geometry
        The grid: the whole one of the source images where they are known, else the extent of the frames.
    frames
        Indices of the frames.
    slices
        Slice of the grid for each of them.
    rows, columns
        Where the first pixel of each of them lies on the grid. Tiles of a slide may begin before it, and end after it.
    source
        Grid of the source images, None if unknown.
    """

    geometry: VolumeGeometry | SlantedGrid
    frames: NDArray[np.int64]
    slices: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    source: SourceGrid | None


def frame_planes(opened: MultiFrame, frames: int, database: Database | None) -> FramePlanes:
    """Return the planes of all frames.

    Raises
    ------
    UnreadableError
        A frame has no place in space and no source image tells it.
    MissingReferenceError
        Only source images could tell, and they are not in the database.
    """
    path = opened.path
    positions = _values(opened, PLANE_POSITION, "PlanePositionSequence", "ImagePositionPatient", frames, 3)
    orientations = _values(opened, PLANE_ORIENTATION, "PlaneOrientationSequence", "ImageOrientationPatient", frames, 6)
    spacings = _values(opened, PIXEL_SPACING, "PixelMeasuresSequence", "PixelSpacing", frames, 2)
    thickness = _values(opened, SLICE_THICKNESS, "PixelMeasuresSequence", "SliceThickness", frames, 1)
    warnings: list[str] = []
    if positions is None or orientations is None or spacings is None:
        positions, orientations, spacings = _planes_of_sources(
            opened, frames, database, positions, orientations, spacings
        )
        warnings.append("The frames do not say where they lie; they were placed where their source images lie.")
    if not (plausible(positions) and plausible(orientations) and plausible(spacings) and spacings.min() > 0):
        raise UnreadableError(
            path, f"a plane position, orientation or spacing is not a number that can be, up to {FARTHEST_MM:g} mm."
        )
    return FramePlanes(
        positions, orientations, spacings, 0.0 if thickness is None else float(thickness[0, 0]), tuple(warnings)
    )


def concatenated(parts: Sequence[FramePlanes]) -> FramePlanes:
    """Return the planes of several files as those of one."""
    return FramePlanes(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.orientations for part in parts]),
        np.concatenate([part.spacings for part in parts]),
        parts[0].thickness,
        tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
    )


def _values(
    opened: MultiFrame, path: tuple[int, ...], group: str, keyword: str, frames: int, size: int
) -> NDArray[np.float64] | None:
    """Return (frames, size) numbers of a functional group: per frame, else shared, else of the whole image."""
    column = opened.table.column(*path)
    if any(value is not None for value in column):
        parsed: dict[bytes | None, tuple[float, ...] | None] = {raw: _decimals(raw, size) for raw in set(column)}
        values = [parsed[raw] for raw in column]
        shared = None if all(value is not None for value in values) else _shared(opened, group, keyword, size)
        complete = [shared if value is None else value for value in values]
        return None if any(value is None for value in complete) else np.array(complete, dtype=float)
    shared = _shared(opened, group, keyword, size)
    return None if shared is None else np.tile(np.array(shared, dtype=float), (frames, 1))


def _decimals(raw: bytes | None, size: int) -> tuple[float, ...] | None:
    if raw is None:
        return None
    try:
        numbers = tuple(float(part) for part in raw.decode("ascii").strip(" \0").split("\\"))
    except ValueError:
        return None
    return numbers if len(numbers) == size else None


def _shared(opened: MultiFrame, group: str, keyword: str, size: int) -> tuple[float, ...] | None:
    header = opened.header
    groups = header.get("SharedFunctionalGroupsSequence")
    items = groups[0].get(group) if groups else None
    value = items[0].get(keyword) if items else None
    if value is None:
        value = header.get(keyword)  # some producers keep the attributes of single-frame images
    if value is None:
        return None
    try:
        numbers = tuple(float(part) for part in (value if size > 1 else [value]))
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == size else None


def source_uids(opened: MultiFrame) -> tuple[list[list[str]], list[list[int]]]:
    """Return the SOP Instance UIDs of each frame's source images, and their frame numbers (0 where not multi-frame)."""
    text: dict[bytes, str] = {}  # a source image is named by as many frames as there are segments in its slice
    uids = []
    for values in opened.table.repeated(DERIVATION_SOURCE_UID):
        for value in values:
            if value not in text:
                text[value] = value.rstrip(b"\0 ").decode("ascii", "replace")
        uids.append([text[value] for value in values])
    numbers = []
    for values, of_frame in zip(opened.table.repeated(DERIVATION_SOURCE_FRAME), uids, strict=True):
        firsts = [_first_number(value) for value in values]
        numbers.append(firsts if len(firsts) == len(of_frame) else [0] * len(of_frame))
    return uids, numbers


def _first_number(raw: bytes) -> int:
    text = raw.decode("ascii", "replace").strip(" \0").split("\\")[0]
    return int(text) if text.isdigit() else 0


def _planes_of_sources(
    opened: MultiFrame,
    frames: int,
    database: Database | None,
    positions: NDArray[np.float64] | None,
    orientations: NDArray[np.float64] | None,
    spacings: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fill in what the frames lack from the planes of their source images (e.g. Siemens syngo writes no positions)."""
    from dicombridge.image.series import read_planes

    uids, numbers = source_uids(opened)
    if len(uids) != frames or not all(uids):
        raise UnreadableError(
            opened.path, "its frames say neither where they lie nor from which images they were derived."
        )
    if database is None:
        raise MissingReferenceError(
            f"{opened.path}: its frames can only be placed through their source images; give a database."
        )
    planes: dict[str, list[Any]] = {}
    found = []
    for of_frame, number_of_frame in zip(uids, numbers, strict=True):
        uid, number = of_frame[0], number_of_frame[0]
        if uid not in planes:
            file = database.fileForInstance(uid)
            if not file:
                raise MissingReferenceError(
                    f"{opened.path}: its frames can only be placed through their source images, and {uid} is not in "
                    "the database. Import the referenced images first."
                )
            planes[uid] = read_planes([file], database)
        in_file = planes[uid]
        plane = in_file[number - 1] if 0 < number <= len(in_file) else in_file[0]
        if plane.lacks:
            raise MissingReferenceError(f"{opened.path}: its source image {plane.path} lacks {plane.lacks}.")
        found.append(plane)
    rows, columns = int(opened.header.Rows), int(opened.header.Columns)
    if any(plane.shape != (rows, columns) for plane in found):
        raise GeometryError(
            f"{opened.path}: its frames say not where they lie, and their source images have another size."
        )
    return (
        np.array([plane.position for plane in found]) if positions is None else positions,
        np.array([plane.orientation for plane in found]) if orientations is None else orientations,
        np.array([plane.spacing for plane in found]) if spacings is None else spacings,
    )


def place_stacks(
    planes: FramePlanes, rows: int, columns: int, sources: Sequence[SourceGrid], frame_of_reference_uid: str
) -> list[FrameStack]:
    """Sort frames into stacks, each on the grid of the source images that it fits, or on its own.

    Raises
    ------
    GeometryError
        The planes are no planes, or too far apart.
    """
    stacks: list[FrameStack] = []
    for frames in _parallel_groups(planes):
        whole = next(
            (stack for source in sources if (stack := _on_source(planes, frames, rows, columns, source)) is not None),
            None,
        )
        if whole is not None:
            stacks.append(whole)
        else:
            stacks.extend(_on_own_grid(planes, frames, rows, columns, frame_of_reference_uid))
    return stacks


def _parallel_groups(planes: FramePlanes) -> list[NDArray[np.int64]]:
    """Return the indices of frames of the same orientation and pixel spacing, group by group."""
    keys = np.hstack([planes.orientations, planes.spacings])
    groups: list[list[int]] = []
    representatives: list[NDArray[np.float64]] = []
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    group_of_unique = []
    for key in unique:
        number = next((number for number, known in enumerate(representatives) if _parallel(key, known)), len(groups))
        if number == len(groups):
            representatives.append(key)
            groups.append([])
        if number == MOST_STACKS:
            raise GeometryError(f"The frames have more than {MOST_STACKS} orientations; they are damaged.")
        group_of_unique.append(number)
    for frame, key_number in enumerate(inverse.ravel()):
        groups[group_of_unique[key_number]].append(frame)
    return [np.array(group, dtype=np.int64) for group in groups]


def _parallel(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two rows of orientation and pixel spacing are the same but for their rounding."""
    turned = np.abs(one[:6] - other[:6]).max() >= DIRECTION_TOLERANCE
    return not turned and bool((np.abs(one[6:] - other[6:]) <= 1e-4 * np.abs(other[6:])).all())


def _on_source(
    planes: FramePlanes, frames: NDArray[np.int64], rows: int, columns: int, source: SourceGrid
) -> FrameStack | None:
    """Return the frames on the whole grid of the source images, None where they do not fit it pixel by pixel."""
    geometry = source.geometry
    affine = np.asarray(geometry.affine, dtype=float)
    first = frames[0]
    normal = unit_normal(planes.orientations[first])
    own = grid(
        planes.positions[first], planes.orientations[first], planes.spacings[first], normal.tolist(), (1, rows, columns)
    )
    far = np.array([rows, columns], dtype=float)
    # The far corner of a frame may be away from its place on the grid by a tenth of a pixel, not more.
    in_plane_error = np.abs((np.asarray(own.affine)[:3, 1:3] - affine[:3, 1:3]) * far).max()
    if in_plane_error > 0.1 * float(min(planes.spacings[first])):
        return None
    points = np.hstack([planes.positions[frames], np.ones((len(frames), 1))])
    index = (np.linalg.inv(affine) @ points.T)[:3].T
    nearest = np.rint(index)
    scale = np.linalg.norm(affine[:3, :3], axis=0)
    tolerance = np.maximum(POSITION_TOLERANCE_MM / scale, 0.05)
    if (np.abs(index - nearest) > tolerance).any():
        return None
    place = nearest.astype(np.int64)
    if place.min() < 0 or (place + np.array([1, rows, columns]) > geometry.spatial_shape).any():
        return None
    return FrameStack(geometry, frames, place[:, 0], place[:, 1], place[:, 2], source)


def _on_own_grid(
    planes: FramePlanes, frames: NDArray[np.int64], rows: int, columns: int, frame_of_reference_uid: str
) -> list[FrameStack]:
    """Return the frames on grids of their own: one, or one for each evenly spaced run of planes."""
    orientation = planes.orientations[frames[0]]
    default = planes.thickness if planes.thickness > 0 and plausible(planes.thickness) else 1.0
    stack = stack_planes(planes.positions[frames], orientation, default_spacing=default)
    plane_of_frame = _plane_of_frame(stack, planes.positions[frames], orientation)
    in_plane = _in_plane(planes, frames)
    corners = in_plane[np.unique(plane_of_frame, return_index=True)[1]]
    scattered = bool(np.abs(in_plane - corners[plane_of_frame]).max() > SCATTER_PIXELS)
    even = stack.regular and len(stack.missing) <= MOST_MISSING_SLICES
    parts: list[NDArray[np.int64]] | None = None
    if scattered or not even:
        shifts = np.rint(in_plane).astype(np.int64)
        if shifts.any() and np.abs(in_plane - shifts).max() <= WHOLE_PIXELS:
            return _on_shifted_grid(planes, frames, rows, columns, frame_of_reference_uid, shifts)
        parts = _near_groups(in_plane) if scattered else _regular_runs(stack, orientation, plane_of_frame)
    if parts is not None:
        return [
            part
            for indices in parts
            for part in _on_own_grid(planes, frames[indices], rows, columns, frame_of_reference_uid)
        ]
    origin = stack.positions[0]
    geometry = grid(
        origin,
        orientation,
        planes.spacings[frames[0]],
        stack.step.tolist(),
        (stack.slices, rows, columns),
        frame_of_reference_uid,
    )
    corner = np.zeros(len(frames), dtype=np.int64)
    return [FrameStack(geometry, frames, stack.index, corner, corner, None)]


def _plane_of_frame(
    stack: PlaneStack, positions: NDArray[np.float64], orientation: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return for each frame which of the stack's distinct planes it lies in (missing slices do not count)."""
    normal = unit_normal(orientation.tolist())
    starts = stack.positions @ normal - POSITION_TOLERANCE_MM / 1000  # for the rounding of the products
    return np.searchsorted(starts, positions @ normal, side="right") - 1


def _in_plane(planes: FramePlanes, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return row and column, in pixels, of each frame's first pixel against that of the first frame."""
    first = frames[0]
    offsets = planes.positions[frames] - planes.positions[first]
    cosines, spacing = planes.orientations[first], planes.spacings[first]
    return np.stack([offsets @ cosines[3:] / spacing[0], offsets @ cosines[:3] / spacing[1]], axis=1)


def _on_shifted_grid(
    planes: FramePlanes,
    frames: NDArray[np.int64],
    rows: int,
    columns: int,
    frame_of_reference_uid: str,
    shifts: NDArray[np.int64],
) -> list[FrameStack]:
    """Return frames that show different parts of their planes (each cut to its segment) on grids that hold them all."""
    spacing, cosines = planes.spacings[frames[0]], planes.orientations[frames[0]]
    shift_of_frame = np.zeros((len(planes.positions), 2), dtype=np.int64)
    shift_of_frame[frames] = shifts
    axes = np.stack([cosines[3:] * spacing[0], cosines[:3] * spacing[1]])
    straight = replace(planes, positions=planes.positions - shift_of_frame @ axes)
    stacks = []
    for stack in _on_own_grid(straight, frames, rows, columns, frame_of_reference_uid):
        place = shift_of_frame[stack.frames]
        low, high = place.min(axis=0), place.max(axis=0)
        affine = np.array(stack.geometry.affine, dtype=float)
        affine[:3, 3] += low @ axes
        shape = (stack.geometry.spatial_shape[0], rows + int(high[0] - low[0]), columns + int(high[1] - low[1]))
        geometry = grid_of_affine(affine, shape, frame_of_reference_uid)
        stacks.append(replace(stack, geometry=geometry, rows=place[:, 0] - low[0], columns=place[:, 1] - low[1]))
    return stacks


def _near_groups(in_plane: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Return the indices of frames that begin at the same place of their planes, group by group."""
    groups: list[NDArray[np.int64]] = []
    rest = np.arange(len(in_plane))
    while len(rest):
        near = np.abs(in_plane[rest] - in_plane[rest[0]]).max(axis=1) <= SCATTER_PIXELS / 2.5
        groups.append(rest[near])
        rest = rest[~near]
        if len(groups) > MOST_STACKS:
            raise GeometryError(f"The frames lie on more than {MOST_STACKS} grids; the positions are damaged.")
    return groups


def _regular_runs(
    stack: PlaneStack, orientation: NDArray[np.float64], plane_of_frame: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Split an uneven stack into runs of planes that are evenly spaced each; return the indices of their frames."""
    runs: list[list[int]] = []
    for plane in range(len(stack.positions)):
        if runs:
            trial = stack_planes(stack.positions[[*runs[-1], plane]], orientation.tolist())
            if trial.regular and not trial.missing:
                runs[-1].append(plane)
                continue
        runs.append([plane])
    if len(runs) == 1:  # at the limit of the tolerance the planes are even, and with all their frames they are not
        runs = [[plane] for plane in runs[0]]
    if len(runs) > MOST_STACKS:
        raise GeometryError(f"The frames lie on more than {MOST_STACKS} grids; the positions are damaged.")
    return [np.flatnonzero(np.isin(plane_of_frame, run)) for run in runs]
