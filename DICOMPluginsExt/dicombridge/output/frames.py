"""The frames of a new multi-frame object: where they lie and what they were made from (PS3.3 C.7.6.16, C.7.6.17).

What every frame has is encoded at once, without a Dataset for each: segmentations have thousands of frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import pack
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.encode import decimal_string, element, sequence

if TYPE_CHECKING:
    from highdicom import VolumeGeometry
    from numpy.typing import NDArray
    from pydicom.sr.coding import Code

    from dicombridge.geometry import SlantedGrid

__all__ = [
    "IMAGE_POSITION",
    "SlicePlaces",
    "code_sequence",
    "derivation_images",
    "dimension_modules",
    "frame_content",
    "frame_positions",
    "packed_frames",
    "plane_position",
    "shared_groups",
]

IMAGE_POSITION = (0x00200032, 0x00209113, "Image Position Patient")
"""The dimension of most objects: element, its functional group, and a label."""


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


class SlicePlaces:
    """Where the frames of an object of a patient lie: each is a slice of a grid, by its number from 0.

    Parameters
    ----------
    grid
        In LPS mm.
    used
        Slices that are written.

    Attributes
    ----------
    shape
        Rows and columns of a frame.
    dimensions
        As :func:`dimension_modules` takes them.
    """

    def __init__(self, grid: VolumeGeometry | SlantedGrid, used: Iterable[int]) -> None:
        self.grid = grid
        self.dimensions = [IMAGE_POSITION]
        self.shape: tuple[int, int] = (int(grid.spatial_shape[1]), int(grid.spatial_shape[2]))
        self._positions = frame_positions(grid)
        self._rank = {place: number for number, place in enumerate(sorted(set(used)), start=1)}

    def index(self, place: int) -> tuple[int, ...]:
        """Return the Dimension Index Values of a frame."""
        return (self._rank[place],)

    def position(self, place: int) -> tuple[bytes, bytes]:
        """Return the functional group that says where a frame lies: what stands before (0028,9132), and after it."""
        return plane_position(self._positions[place]), b""

    def shared_groups(self) -> Dataset:
        """Return the item of the Shared Functional Groups Sequence."""
        return shared_groups(self.grid)

    def set_attributes(self, dataset: Dataset) -> None:
        """Set what the object as a whole says of its frames: their size, and the dimension organization."""
        dataset.Rows, dataset.Columns = self.shape


def dimension_modules(dataset: Dataset, pointers: Sequence[tuple[int, int, str]]) -> None:
    """Fill the Multi-frame Dimension module (PS3.3 C.7.6.17).

    Parameters
    ----------
    pointers
        Element, its functional group, and a label of each dimension, the slowest one first.
    """
    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    dataset.DimensionOrganizationSequence = [organization]
    items = []
    for pointer, group, label in pointers:
        index = Dataset()
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer = pointer
        index.FunctionalGroupPointer = group
        index.DimensionDescriptionLabel = label
        items.append(index)
    dataset.DimensionIndexSequence = items


def plane_position(position: Sequence[float]) -> bytes:
    """Return the Plane Position Sequence of a frame; ImagePositionPatient in LPS mm (PS3.3 C.7.6.16.2.3)."""
    text = "\\".join(decimal_string(value) for value in position).encode("ascii")
    return sequence(0x00209113, [element(0x00200032, b"DS", text)])


def frame_content(index: Sequence[int]) -> bytes:
    """Return the Frame Content Sequence with the Dimension Index Values of a frame (PS3.3 C.7.6.16.2.2)."""
    return sequence(0x00209111, [element(0x00209157, b"UL", pack(f"<{len(index)}L", *index))])


def code_sequence(tag: int, code: Code) -> bytes:
    """Return a code sequence of one item (PS3.3 8.8); values longer than 16 characters are not for this."""
    parts = element(0x00080100, b"SH", code.value.encode("ascii"))
    parts += element(0x00080102, b"SH", code.scheme_designator.encode("ascii"))
    parts += element(0x00080104, b"LO", (code.meaning or code.value)[:64].encode("utf-8"))
    return sequence(tag, [parts])


_PURPOSE = sequence(
    0x0040A170,
    [
        element(0x00080100, b"SH", b"121322")
        + element(0x00080102, b"SH", b"DCM")
        + element(0x00080104, b"LO", b"Source image for image processing operation")
    ],
)
_PRESERVED = element(0x0028135A, b"CS", b"YES")


def derivation_images(sources: Sequence[tuple[str, str, int]], preserved: bool, derivation: bytes) -> bytes:
    """Return the Derivation Image macro (PS3.3 C.7.6.16.2.6), without an item where there are no source images.

    Parameters
    ----------
    sources
        SOP Class UID, SOP Instance UID, frame number (0 where the image has one frame) of each.
    preserved
        The pixels of the frame lie where those of its source images lie (Spatial Locations Preserved).
    derivation
        The Derivation Code Sequence, encoded.
    """
    if not sources:
        return sequence(0x00089124, [])
    images = []
    for sop_class, instance, frame_number in sources:
        image = element(0x00081150, b"UI", sop_class.encode("ascii"))
        image += element(0x00081155, b"UI", instance.encode("ascii"))
        if frame_number:
            image += element(0x00081160, b"IS", str(frame_number).encode("ascii"))
        images.append(image + (_PRESERVED if preserved else b"") + _PURPOSE)
    return sequence(0x00089124, [sequence(0x00082112, images) + derivation])


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
