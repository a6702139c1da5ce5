"""Voxel values of a stack: decoded as pydicom decodes them, rescaled, one plane at a time (no VTK here)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.image.enhanced import frame_groups, group_item
from dicombridge.image.headers import MULTI_FRAME_CLASSES, Plane, numbers, read_dataset, text_of, whole
from dicombridge.image.quantities import windows
from dicombridge.image.stacks import Stack
from dicombridge.progress import Progress
from dicombridge.tolerance import quiet, reading

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Encoding", "element_types", "encodings_of_file", "fill", "fill_mapped", "stored_planes"]


_PIXEL_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "PixelData",
)
"""All that decoding needs (PS3.3 C.7.6.3)."""


@dataclass(frozen=True)
class Encoding:
    """How the values of one plane are stored.

    Attributes
    ----------
    slope, intercept
        Of the linear modality transformation (PS3.3 C.11.1.1.2, C.7.6.16.2.9); real world value maps are not applied.
    bits, signed
        BitsStored, and whether PixelRepresentation says two's complement.
    inverted
        MONOCHROME1: the lowest value is shown white.
    windows
        Centre and width of each suggested window.
    """

    slope: float
    intercept: float
    bits: int
    signed: bool
    inverted: bool
    windows: tuple[tuple[float, float], ...]

    @property
    def whole(self) -> bool:
        """Whether the rescaled values are whole numbers."""
        return self.slope.is_integer() and self.intercept.is_integer()

    @property
    def stored_range(self) -> tuple[int, int]:
        """Lowest and highest stored value that the stored bits can hold."""
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest rescaled value that the stored bits can hold."""
        low, high = self.stored_range
        ends = low * self.slope + self.intercept, high * self.slope + self.intercept
        return min(ends), max(ends)


def encodings_of_file(path: str, dataset: Any) -> list[Encoding]:
    """Return how each plane of a file is stored.

    Raises
    ------
    UnsupportedError
        The image is in colour, or its modality lookup table is not a linear one.
    UnreadableError
        Functional groups are damaged.
    """
    with reading(path):
        return _encodings(path, dataset)


def _encodings(path: str, dataset: Any) -> list[Encoding]:
    photometric = text_of(dataset, "PhotometricInterpretation").upper()
    if (whole(text_of(dataset, "SamplesPerPixel")) or 1) != 1 or photometric not in ("", "MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedError(f"{path}: colour images ({photometric}) are not read as volumes.")
    if "ModalityLUTSequence" in dataset:
        raise UnsupportedError(f"{path}: its values are defined by a modality lookup table, which is not supported.")
    multi_frame = text_of(dataset, "SOPClassUID") in MULTI_FRAME_CLASSES
    if not multi_frame and (whole(text_of(dataset, "NumberOfFrames")) or 1) > 1:
        raise UnsupportedError(f"{path}: several frames in an object that is defined for one (PS3.3 A.3, A.4, A.21).")
    bits = whole(text_of(dataset, "BitsStored")) or whole(text_of(dataset, "BitsAllocated")) or 16
    signed = whole(text_of(dataset, "PixelRepresentation")) == 1
    groups_of_frames: Sequence[tuple[Any, ...]] = frame_groups(path, dataset) if multi_frame else [()]
    encodings = []
    for groups in groups_of_frames:
        source = group_item(groups, "PixelValueTransformationSequence") or dataset
        slope = numbers(text_of(source, "RescaleSlope") or "1", 1)
        intercept = numbers(text_of(source, "RescaleIntercept") or "0", 1)
        if slope is None or intercept is None or not slope[0]:
            raise UnreadableError(path, "has a rescale slope or intercept that is no number")
        encodings.append(
            Encoding(
                slope[0],
                intercept[0],
                min(max(bits, 1), 32),
                signed,
                photometric == "MONOCHROME1",
                windows(dataset, groups),
            )
        )
    return encodings


def element_types(encodings: Sequence[Encoding]) -> list[np.dtype[Any]]:
    """Return the types to try for the rescaled values, the smallest first; the last one holds all possible values.

    Whole numbers stay integers. Others become 32-bit floats, as in Slicer: 24 bits of mantissa hold every stored value
    of up to 16 bits times its slope to a relative error of 6e-8.
    """
    if not all(encoding.whole for encoding in encodings):
        return [np.dtype(np.float32)]
    low = min(encoding.range[0] for encoding in encodings)
    high = max(encoding.range[1] for encoding in encodings)
    for candidate in (np.uint8, np.int16, np.uint16, np.int32):
        limits = np.iinfo(candidate)
        if limits.min <= low and high <= limits.max:
            # 16 bits and an intercept of -1024 could need 32 bits; nearly never do the values of a CT.
            optimistic = [np.dtype(np.int16)] if candidate is np.int32 else []
            return [*optimistic, np.dtype(candidate)]
    return [np.dtype(np.int16), np.dtype(np.int32), np.dtype(np.float64)]


def fill(
    stack: Stack,
    encodings: Sequence[Encoding],
    allocate: Callable[[tuple[int, int, int], DTypeLike], NDArray[Any]],
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Read the voxels of a stack into an array from ``allocate``, slice by slice; never two copies of the volume.

    Parameters
    ----------
    stack
        Where the planes go. Missing slices get the lowest value of the others.
    encodings
        How each plane of the stack is stored.
    allocate
        Given shape (slices, rows, columns) and type, returns the array to fill. Called again with a wider type where
        values turn out not to fit.
    progress
        Called with a fraction from 0 to 1 and a message.

    Raises
    ------
    UnreadableError
        Pixel data is damaged, cut short, or contradicts the header.
    UnsupportedError
        There is no decoder for this transfer syntax.
    """
    # Decoding one plane first proves that rows and columns are true before memory is asked for by them.
    for _ in stored_planes(stack, [0]):
        pass
    error: OverflowError | None = None
    for element_type in element_types(encodings):
        voxels = allocate(stack.shape, element_type)
        try:
            for done, (number, stored) in enumerate(stored_planes(stack, range(len(stack.planes))), start=1):
                _rescale(stored, encodings[number], voxels[stack.slices[number]])
                if progress is not None:  # frames come in the order of the file, slices may run against it
                    progress(done / len(stack.planes), f"Slice {done} of {len(stack.planes)}")
        except OverflowError as overflow:
            error = overflow
            continue
        if stack.missing:
            lowest = min(voxels[place].min() for place in stack.slices)
            for place in stack.missing:
                voxels[place] = lowest
        return voxels
    raise UnreadableError(stack.planes[0].path, f"has values beyond those that its header allows ({error})")


def fill_mapped(
    stack: Stack,
    write: Callable[[int, NDArray[Any], NDArray[Any]], None],
    allocate: Callable[[tuple[int, int, int], DTypeLike], NDArray[Any]],
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Read the stored values of a stack into a float32 array from ``allocate``, changed on the way.

    Parameters
    ----------
    stack
        Where the planes go. Missing slices get the lowest value of the others.
    write
        Given the number of a plane, its stored values and its part of the array, writes there what they mean.
    allocate, progress
        As for :func:`fill`.

    Raises
    ------
    UnreadableError, UnsupportedError
        As :func:`fill`.
    """
    for _ in stored_planes(stack, [0]):  # as in fill(): before memory is asked for by rows and columns
        pass
    voxels = allocate(stack.shape, np.float32)
    for done, (number, stored) in enumerate(stored_planes(stack, range(len(stack.planes))), start=1):
        with np.errstate(over="ignore"):  # an absurd slope gives infinite values, as it says
            write(number, stored, voxels[stack.slices[number]])
        if progress is not None:
            progress(done / len(stack.planes), f"Slice {done} of {len(stack.planes)}")
    if stack.missing:
        lowest = min(np.fmin.reduce(voxels[place], axis=None) for place in stack.slices)
        for place in stack.missing:
            voxels[place] = lowest
    return voxels


def _rescale(stored: NDArray[Any], encoding: Encoding, target: NDArray[Any]) -> None:
    """Write slope x stored + intercept into ``target``.

    Raises
    ------
    OverflowError
        A value does not fit the type of ``target``.
    """
    plain = encoding.slope == 1 and encoding.intercept == 0
    if target.dtype.kind == "f":
        if plain:
            target[...] = stored
        else:
            with np.errstate(over="ignore"):  # an absurd slope gives infinite values, as it says
                target[...] = stored.astype(np.float64) * encoding.slope + encoding.intercept
        return
    if stored.dtype.kind == "f":
        raise OverflowError("floating point pixel data")
    limits = np.iinfo(target.dtype)
    low, high = int(stored.min()), int(stored.max())
    ends = [int(encoding.slope) * value + int(encoding.intercept) for value in (low, high)]
    if min(ends) < limits.min or max(ends) > limits.max:
        raise OverflowError(f"{min(ends)} to {max(ends)}")
    if plain:
        target[...] = stored
        return
    if (
        encoding.slope == 1
        and limits.min <= low
        and high <= limits.max
        and limits.min <= encoding.intercept <= limits.max
    ):
        np.add(stored, target.dtype.type(encoding.intercept), out=target, dtype=target.dtype, casting="unsafe")
        return
    # Products of values that fit fit too, but not always in the stored type.
    work = np.int32 if max(abs(low), abs(high), *map(abs, ends)) * abs(int(encoding.slope)) < 2**31 else np.int64
    target[...] = stored.astype(work) * work(encoding.slope) + work(encoding.intercept)


def stored_planes(stack: Stack, chosen: Sequence[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield number and stored values of the chosen planes; frames of one file come out in the file's order.

    Raises
    ------
    UnreadableError, UnsupportedError
        As :func:`fill`.
    """
    order = list(chosen)
    if stack.planes[0].frame:
        order.sort(key=lambda number: (stack.planes[number].path, stack.planes[number].frame))
    for path, numbers_of_file in groupby(order, key=lambda number: stack.planes[number].path):
        group = list(numbers_of_file)
        frames = _decode(path, [stack.planes[number] for number in group])
        for number in group:
            array = next(frames)
            if array.shape != stack.shape[1:]:
                raise UnreadableError(path, f"has pixels of shape {array.shape} where {stack.shape[1:]} was announced")
            yield number, array


def _decode(path: str, planes: Sequence[Plane]) -> Iterator[NDArray[Any]]:
    """Yield the stored values of planes of one file, in the order of ``planes``."""
    from pydicom.pixels import iter_pixels

    dataset = read_dataset(path, _PIXEL_KEYWORDS, pixels=True)
    if text_of(dataset, "SOPInstanceUID") != planes[0].sop_instance_uid:
        raise UnreadableError(path, "holds another image than before; examine the series again")
    frames = iter_pixels(dataset, indices=[plane.frame - 1 for plane in planes] if planes[0].frame else None)
    for _ in planes:
        try:
            with quiet():
                array = next(frames)
        except StopIteration:
            raise UnreadableError(path, "has fewer frames than it says") from None
        except Exception as error:  # decoders raise nearly every kind of error for damaged data
            if "missing dependencies" in str(error) or isinstance(error, NotImplementedError):
                raise UnsupportedError(f"{path}: its compressed pixels cannot be decoded here: {error}") from error
            raise UnreadableError(path, f"has damaged pixel data ({error})") from error
        yield array
