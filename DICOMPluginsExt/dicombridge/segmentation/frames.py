"""The frames of a new segmentation: their functional groups and their pixels, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.encode import decimal_string, element, sequence

if TYPE_CHECKING:
    from highdicom import VolumeGeometry
    from numpy.typing import NDArray

    from dicombridge.geometry import SlantedGrid

__all__ = ["Frame", "functional_groups", "shared_groups", "slices_by_label"]


@dataclass(frozen=True)
class Frame:
    """One frame to be written: the slice, and for BINARY and FRACTIONAL the segment, that it shows."""

    place: int
    segment: int


def slices_by_label(array: NDArray[Any]) -> dict[int, list[int]]:
    """Return the slices in which each label of a layer occurs; 0 is left out."""
    slices: dict[int, list[int]] = {}
    for place, image in enumerate(array):
        if array.dtype.itemsize <= 2 and array.dtype.kind == "u":
            labels = np.flatnonzero(np.bincount(image.ravel()))
        else:
            labels = np.unique(image)
        for label in labels.tolist():
            if label:
                slices.setdefault(int(label), []).append(place)
    return slices


def frame_positions(grid: VolumeGeometry | SlantedGrid) -> list[tuple[float, float, float]]:
    """Return ImagePositionPatient (LPS mm) of each slice."""
    affine = np.asarray(grid.affine, dtype=float)
    slices = int(grid.spatial_shape[0])
    return [tuple((affine[:3, 3] + place * affine[:3, 0]).tolist()) for place in range(slices)]


def shared_groups(grid: VolumeGeometry | SlantedGrid) -> Dataset:
    """Return the item of the Shared Functional Groups Sequence: orientation and pixel measures."""
    affine = np.asarray(grid.affine, dtype=float)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    row_cosines, column_cosines = affine[:3, 2] / lengths[2], affine[:3, 1] / lengths[1]
    normal = np.cross(row_cosines, column_cosines)
    spacing = abs(float(affine[:3, 0] @ normal))
    measures = Dataset()
    measures.SliceThickness = decimal_string(spacing)
    measures.SpacingBetweenSlices = decimal_string(spacing)
    measures.PixelSpacing = [decimal_string(lengths[1]), decimal_string(lengths[2])]
    orientation = Dataset()
    orientation.ImageOrientationPatient = [decimal_string(value) for value in [*row_cosines, *column_cosines]]
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    return shared


def dimension_modules(dataset: Dataset, by_segment: bool) -> None:
    """Fill the Multi-frame Dimension module (PS3.3 C.7.6.17): segment, then position."""
    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    dataset.DimensionOrganizationSequence = [organization]
    pointers = [(0x0062000B, 0x0062000A, "Segment Number")] if by_segment else []
    pointers.append((0x00200032, 0x00209113, "Image Position Patient"))
    items = []
    for pointer, group, label in pointers:
        index = Dataset()
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer = pointer
        index.FunctionalGroupPointer = group
        index.DimensionDescriptionLabel = label
        items.append(index)
    dataset.DimensionIndexSequence = items


def functional_groups(
    frames: Sequence[Frame],
    grid: VolumeGeometry | SlantedGrid,
    sources: Mapping[int, Sequence[tuple[str, str, int]]],
    by_segment: bool,
    preserved: bool = True,
) -> bytes:
    """Return the Per-frame Functional Groups Sequence, encoded in Explicit VR Little Endian.

    Parameters
    ----------
    sources
        By slice: (SOP Class UID, SOP Instance UID, frame number or 0) of the source images.
    by_segment
        Each frame names its segment (all types but LABELMAP).
    preserved
        The pixels of each frame lie where those of its source images lie (Spatial Locations Preserved).
    """
    positions = frame_positions(grid)
    used = sorted({frame.place for frame in frames})
    rank = {place: number for number, place in enumerate(used, start=1)}
    of_place = {place: _plane_position(positions[place]) for place in used}
    # A functional group of one frame is one of all frames (PS3.3 C.7.6.16.1.1), also where there is nothing to say.
    is_derived = any(sources.get(place) for place in used)
    derivation = {place: _derivation(sources.get(place, ()), preserved) if is_derived else b"" for place in used}
    contents = []
    for frame in frames:
        index = (frame.segment, rank[frame.place]) if by_segment else (rank[frame.place],)
        content = derivation[frame.place] + _frame_content(index) + of_place[frame.place]
        contents.append(content + (_segment_identification(frame.segment) if by_segment else b""))
    return sequence(0x52009230, contents)


def _plane_position(position: Sequence[float]) -> bytes:
    text = "\\".join(decimal_string(value) for value in position).encode("ascii")
    return sequence(0x00209113, [element(0x00200032, b"DS", text)])


def _frame_content(index: Sequence[int]) -> bytes:
    return sequence(0x00209111, [element(0x00209157, b"UL", pack(f"<{len(index)}L", *index))])


def _segment_identification(number: int) -> bytes:
    return sequence(0x0062000A, [element(0x0062000B, b"US", pack("<H", number))])


def _code(tag: int, value: bytes, meaning: bytes) -> bytes:
    parts = element(0x00080100, b"SH", value) + element(0x00080102, b"SH", b"DCM") + element(0x00080104, b"LO", meaning)
    return sequence(tag, [parts])


_PURPOSE = _code(0x0040A170, b"121322", b"Source image for image processing operation")
_DERIVATION = _code(0x00089215, b"113076", b"Segmentation")
_PRESERVED = element(0x0028135A, b"CS", b"YES")


def _derivation(sources: Sequence[tuple[str, str, int]], preserved: bool) -> bytes:
    """Return the Derivation Image macro (PS3.3 C.7.6.16.2.6), without an item where there are no source images."""
    if not sources:
        return sequence(0x00089124, [])
    images = []
    for sop_class, instance, frame_number in sources:
        image = element(0x00081150, b"UI", sop_class.encode("ascii"))
        image += element(0x00081155, b"UI", instance.encode("ascii"))
        if frame_number:
            image += element(0x00081160, b"IS", str(frame_number).encode("ascii"))
        images.append(image + (_PRESERVED if preserved else b"") + _PURPOSE)
    return sequence(0x00089124, [sequence(0x00082112, images) + _DERIVATION])


def binary_frames(
    frames: Sequence[Frame], arrays: Mapping[int, tuple[NDArray[Any], int]], empty: NDArray[np.bool_]
) -> Iterator[NDArray[np.bool_]]:
    """Yield the pixels of BINARY frames; ``arrays`` holds layer and label of each segment number that has voxels."""
    for frame in frames:
        if frame.segment in arrays:
            array, label = arrays[frame.segment]
            yield array[frame.place] == label
        else:
            yield empty


def packed_frames(frames: Iterator[NDArray[np.bool_]]) -> Iterator[bytes]:
    """Yield the bits of frames as one stream, in whole bytes (PS3.5 8.1.1: frames are not aligned to bytes)."""
    rest = np.empty(0, dtype=np.bool_)
    for frame in frames:
        bits = frame.ravel() if not len(rest) else np.concatenate([rest, frame.ravel()])
        whole = len(bits) // 8 * 8
        rest = bits[whole:]
        yield np.packbits(bits[:whole] if len(rest) else bits, bitorder="little").tobytes()
    if len(rest):
        yield np.packbits(rest, bitorder="little").tobytes()
