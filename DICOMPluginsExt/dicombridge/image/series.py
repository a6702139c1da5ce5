"""Image series as plain values: where the slices lie, and what their voxels are (no VTK here)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import GeometryError, UnsupportedError
from dicombridge.geometry import SlantedGrid, same_grid
from dicombridge.image.enhanced import frame_groups
from dicombridge.image.headers import (
    MULTI_FRAME_CLASSES,
    TAGS,
    Plane,
    database_values,
    plane_of_values,
    planes_of_file,
    read_dataset,
)
from dicombridge.image.quantities import quantity_and_units
from dicombridge.image.stacks import Stack, find_stacks
from dicombridge.image.voxels import Encoding, encodings_of_file, fill
from dicombridge.kinds import kind_named
from dicombridge.progress import Progress
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from highdicom import VolumeGeometry
    from numpy.typing import DTypeLike, NDArray
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

__all__ = ["Series", "SourceGrid", "read_planes", "read_series", "series_grid", "series_grids", "source_grid"]

_PLANE_KEYWORDS = (
    *TAGS,
    "NumberOfFrames",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DimensionIndexSequence",
)
_SERIES_KEYWORDS = (
    *_PLANE_KEYWORDS,
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
)


@dataclass(frozen=True, eq=False)
class SourceGrid:
    """The whole grid of an image series, or of one stack of it.

    Attributes
    ----------
    geometry
        Grid of all slices, missing ones included; slanted for images of a tilted gantry.
    instance_uids
        SOP Instance UID of each slice, empty for a missing one; all the same for a multi-frame image.
    frame_numbers
        Frame number (from 1) of each slice of multi-frame images, 0 for a missing one; None for single-frame images.
    sop_class_uid
        SOP Class UID of the instances.
    warning
        What is doubtful about this grid, e.g. missing slices.
    """

    geometry: VolumeGeometry | SlantedGrid
    instance_uids: tuple[str, ...]
    frame_numbers: tuple[int, ...] | None
    sop_class_uid: str
    warning: str


def read_planes(files: Sequence[str], database: Any = None) -> list[Plane]:
    """Return the planes of image files; headers only, from the database's tag cache where it has them.

    Raises
    ------
    UnreadableError
        A file is damaged.
    """
    planes: list[Plane] = []
    for file in files:
        path = str(file)
        if database is not None:
            plane = plane_of_values(path, database_values(database, path))
            if plane.sop_instance_uid and plane.sop_class_uid not in MULTI_FRAME_CLASSES and not plane.lacks:
                planes.append(plane)
                continue
        planes.extend(planes_of_file(path, read_dataset(path, _PLANE_KEYWORDS)))
    return planes


def series_grids(files: Sequence[str], database: Any = None) -> list[SourceGrid]:
    """Return the grids of all stacks of a series that are regular; headers only.

    Raises
    ------
    UnreadableError
        A file is damaged.
    """
    return [
        source_grid(stack)
        for stack in find_stacks(plane for plane in read_planes(files, database) if not plane.lacks)
        if stack.regular
    ]


def series_grid(files: Sequence[str], database: Any = None, referenced: Collection[str] = ()) -> SourceGrid:
    """Return the one grid of an image series; headers only.

    Stacks of the same grid (time points, echoes) count as one: the one with most ``referenced`` instances is returned.

    Parameters
    ----------
    files
        All files of the series, single-frame or multi-frame, in any order.
    database
        Where header values are cached; without it the files are read.
    referenced
        SOP Instance UIDs that matter to the caller: if any are given, stacks that hold none of them are left out.

    Raises
    ------
    UnreadableError
        A file is damaged.
    GeometryError
        The images form no regular grid, or several different ones.
    """
    planes = read_planes(files, database)
    placed = [plane for plane in planes if not plane.lacks]
    if not placed:
        reason = f"their headers lack {planes[0].lacks}" if planes else "there are none"
        raise GeometryError(f"The images cannot be placed in space: {reason}.")
    wanted = set(referenced)
    stacks = find_stacks(placed)
    if wanted:
        counts = [sum(plane.sop_instance_uid in wanted for plane in stack.planes) for stack in stacks]
        ranked = sorted(range(len(stacks)), key=lambda number: -counts[number])
        stacks = [stacks[number] for number in ranked if counts[number]] or stacks
    first = source_grid(stacks[0])
    for stack in stacks[1:]:
        if not same_grid(first.geometry, stack.geometry()):
            raise GeometryError(
                f"The images of this series form {len(stacks)} different volumes, "
                f"e.g. {stacks[0].label!r} and {stack.label!r}."
            )
    return first


def source_grid(stack: Stack) -> SourceGrid:
    """Return the grid of a stack.

    Raises
    ------
    GeometryError
        The stack is irregular.
    """
    uids = [""] * stack.shape[0]
    frames = [0] * stack.shape[0]
    for plane, place in zip(stack.planes, stack.slices, strict=True):
        uids[place] = plane.sop_instance_uid
        frames[place] = plane.frame
    multi_frame = stack.planes[0].frame > 0
    return SourceGrid(
        geometry=stack.geometry(),
        instance_uids=tuple(uids),
        frame_numbers=tuple(frames) if multi_frame else None,
        sop_class_uid=stack.planes[0].sop_class_uid,
        warning=stack.warning,
    )


@dataclass(frozen=True, eq=False)
class Series:
    """One volume of an image series; its voxels are read when they are asked for.

    Attributes
    ----------
    stack
        Planes and grid, sheared or irregular ones too (see ``stack.warning``).
    encodings
        How each plane of the stack is stored.
    header
        First instance in slice order, without pixel data.
    quantity, units
        Codes of what the voxel values are; None where the header does not say.
    """

    stack: Stack
    encodings: tuple[Encoding, ...]
    header: Dataset
    quantity: Code | None
    units: Code | None

    @property
    def instance_uids(self) -> list[str]:
        """SOP Instance UIDs in slice order, without the missing slices; once for a multi-frame instance."""
        return list(dict.fromkeys(plane.sop_instance_uid for plane in self.stack.planes))

    @property
    def instance_numbers(self) -> list[str]:
        """Instance Numbers, in the order of ``instance_uids``; "0" where there is none."""
        first = {plane.sop_instance_uid: plane.instance_number for plane in reversed(self.stack.planes)}
        return [str(first[uid] or 0) for uid in self.instance_uids]

    @property
    def windows(self) -> tuple[tuple[float, float], ...]:
        """Centre and width of the suggested windows.

        Those of the middle slice: where each slice has a window of its own (MR), the ends of the stack show little.
        """
        return self.encodings[len(self.encodings) // 2].windows

    @property
    def inverted(self) -> bool:
        """Whether low values are shown white (MONOCHROME1)."""
        return self.encodings[0].inverted

    def voxels(
        self,
        allocate: Callable[[tuple[int, int, int], DTypeLike], NDArray[Any]] = np.empty,
        progress: Progress | None = None,
    ) -> NDArray[Any]:
        """Read the rescaled voxels into an array ``[slice, row, column]``, which ``allocate(shape, dtype)`` makes.

        Raises
        ------
        UnreadableError
            Pixel data is damaged, cut short, or contradicts the header.
        UnsupportedError
            There is no decoder for this transfer syntax.
        """
        return fill(self.stack, self.encodings, allocate, progress)


def read_series(files: Sequence[str], progress: Progress | None = None) -> list[Series]:
    """Read the headers of image files and return the volumes that they form.

    Raises
    ------
    UnreadableError
        A file is damaged.
    UnsupportedError
        The files are no images of the supported kinds.
    GeometryError
        An image cannot be placed in space.
    """
    if not files:
        raise UnsupportedError("There are no image files to load.")
    planes: list[Plane] = []
    encodings: dict[tuple[str, int], Encoding] = {}
    for number, file in enumerate(files):
        path = str(file)
        dataset = read_dataset(path, _SERIES_KEYWORDS)
        if str(dataset.SOPClassUID) not in kind_named("IMAGE").sop_classes:
            name = getattr(dataset.SOPClassUID, "name", dataset.SOPClassUID)
            raise UnsupportedError(f"{path}: {name} is not read as a volume; only CT, MR and PET images are.")
        of_file = planes_of_file(path, dataset)
        for plane, encoding in zip(of_file, encodings_of_file(path, dataset), strict=True):
            if plane.lacks:
                raise GeometryError(f"{path}: the image cannot be placed in space, its header lacks {plane.lacks}.")
            encodings[path, plane.frame] = encoding
        planes.extend(of_file)
        if progress is not None:
            progress((number + 1) / len(files), f"Header {number + 1} of {len(files)}")
    return [_series(stack, encodings) for stack in find_stacks(planes)]


def _series(stack: Stack, encodings: dict[tuple[str, int], Encoding]) -> Series:
    first = stack.planes[0]
    header = read_dataset(first.path)
    with reading(first.path):
        groups = frame_groups(first.path, header)[first.frame - 1] if first.frame else ()
        quantity, units = quantity_and_units(header, groups)
    of_planes = tuple(encodings[plane.path, plane.frame] for plane in stack.planes)
    return Series(stack, of_planes, header, quantity, units)
