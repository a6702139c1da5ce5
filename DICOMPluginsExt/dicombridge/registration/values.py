"""What registration objects say, as plain values; both rooms (rigid and deformable) and their exports share them.

All coordinates are LPS mm, as in the objects. Two frames take part in each item: the *source* (of the data that the
item names) and the *registered* one (of the object). A Spatial Registration maps source -> registered (PS3.3
C.20.2.1.1), a Deformable Spatial Registration maps registered -> source, i.e. where to sample (PS3.3 C.20.3.1.1,
PS3.17 O.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code
from dicombridge.geometry import DIRECTION_TOLERANCE, FARTHEST_MM

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "IDENTITY_TOLERANCE",
    "MATRIX_TYPES",
    "DeformedFrame",
    "ImageReference",
    "MatrixItem",
    "RegisteredFrame",
    "VectorGrid",
    "code_text",
    "composed",
    "is_identity",
    "most_general",
    "orthonormality_error",
]

MATRIX_TYPES = ("RIGID", "RIGID_SCALE", "AFFINE")
"""Frame of Reference Transformation Matrix Type (0070,030C), from the most special to the most general one."""

IDENTITY_TOLERANCE = 1e-6
"""Largest difference, of cosines and in mm, at which a matrix is taken for the identity."""


@dataclass(frozen=True)
class ImageReference:
    """An image that an item names (PS3.3 Table 10-3).

    Attributes
    ----------
    sop_instance_uid, sop_class_uid
        As they are named.
    frames
        Referenced Frame Numbers, from 1; empty for all frames.
    """

    sop_instance_uid: str
    sop_class_uid: str = ""
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class MatrixItem:
    """One Frame of Reference Transformation Matrix (3006,00C6), LPS mm.

    Attributes
    ----------
    values
        4x4.
    matrix_type
        One of :data:`MATRIX_TYPES`, as the object says; empty where it does not.
    """

    values: NDArray[np.float64]
    matrix_type: str = ""

    @property
    def falsely_rigid(self) -> bool:
        """Whether it is called rigid but its axes are not perpendicular, of length 1 and right-handed."""
        return self.matrix_type == "RIGID" and orthonormality_error(self.values) > DIRECTION_TOLERANCE


@dataclass(frozen=True, eq=False)
class RegisteredFrame:
    """One item of the Registration Sequence (PS3.3 C.20.2): how a source frame of reference comes into the registered.

    Attributes
    ----------
    index
        Place of the item in the sequence, from 0.
    frame_of_reference_uid
        Of the source; empty where the item names images only.
    images
        The images that the item is for; empty where it is for all of the frame of reference.
    matrices
        As read, in the order of the items of the Matrix Sequence.
    matrix
        4x4, LPS mm, source -> registered: the product of ``matrices`` in the order of their items, M1 M2 M3, so that
        the last one is applied first (PS3.3 C.20.2.1.1: "the Item order is significant and corresponds to matrix
        multiplication order").
    comment
        Frame of Reference Transformation Comment.
    type_code
        What the registration is based on (CID 7100).
    fiducials, segments
        Items of the Used Fiducials Sequence and of the Used Segments Sequence, as Datasets.
    is_registered_frame
        The source is the registered frame itself.
    """

    index: int
    frame_of_reference_uid: str
    images: tuple[ImageReference, ...]
    matrices: tuple[MatrixItem, ...]
    matrix: NDArray[np.float64]
    comment: str = ""
    type_code: Code | None = None
    fiducials: tuple[Any, ...] = ()
    segments: tuple[Any, ...] = ()
    is_registered_frame: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether nothing is moved."""
        return is_identity(self.matrix)

    @property
    def matrix_type(self) -> str:
        """The most general type of the matrices, i.e. that of their product; empty where none says its type."""
        return most_general(self.matrices)

    @property
    def falsely_rigid(self) -> bool:
        """Whether one of the matrices is called rigid and is not."""
        return any(matrix.falsely_rigid for matrix in self.matrices)


@dataclass(frozen=True, eq=False)
class VectorGrid:
    """A grid of offsets (PS3.3 C.20.3.1.2, C.20.3.1.3), without its vectors: they are long, and stay in the file.

    Attributes
    ----------
    dimensions
        Vectors along the row (i), the column (j) and the depth (k) direction.
    origin
        (3,) LPS mm, in the registered frame: Image Position (Patient) of the vector at (0, 0, 0).
    orientation
        (6,) cosines of the row and of the column direction; depth is their cross product.
    resolution
        (3,) mm from one vector to the next; a negative one, which the standard does not foresee, runs backwards and
        makes a left-handed grid.
    vectors
        (k, j, i, 3) LPS mm, float32, NaN where undefined; None where they were not read.
    """

    dimensions: tuple[int, int, int]
    origin: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    resolution: tuple[float, float, float]
    vectors: NDArray[np.float32] | None = None

    @property
    def index_to_lps(self) -> NDArray[np.float64]:
        """4x4 from (i, j, k, 1) to LPS mm in the registered frame (Equation C.20.3-1)."""
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        affine = np.eye(4)
        affine[:3, :3] = np.column_stack([row, column, np.cross(row, column)]) * np.array(self.resolution)
        affine[:3, 3] = self.origin
        return affine


@dataclass(frozen=True, eq=False)
class DeformedFrame:
    """One item of the Deformable Registration Sequence (PS3.3 C.20.3): where in a source frame of reference to sample.

    Attributes
    ----------
    index
        Place of the item in the sequence, from 0.
    frame_of_reference_uid
        Source Frame of Reference UID.
    images
        The images that the item is for; empty where it is for all of the frame of reference.
    pre, post
        Matrices before and after the deformation; None where there are none.
    grid
        None where the item has matrices only.
    comment, type_code, fiducials, segments
        As in :class:`RegisteredFrame`.
    """

    index: int
    frame_of_reference_uid: str
    images: tuple[ImageReference, ...] = ()
    pre: MatrixItem | None = None
    post: MatrixItem | None = None
    grid: VectorGrid | None = None
    comment: str = ""
    type_code: Code | None = None
    fiducials: tuple[Any, ...] = ()
    segments: tuple[Any, ...] = ()
    warnings: list[str] = field(default_factory=list)

    @property
    def matrix_type(self) -> str:
        """The most general type of the two matrices."""
        return most_general([matrix for matrix in (self.pre, self.post) if matrix is not None])


def composed(matrices: Sequence[MatrixItem]) -> NDArray[np.float64]:
    """Return the product of the matrices of a Matrix Sequence, in the order of their items (PS3.3 C.20.2.1.1).

    >>> turn = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> shift = np.array([[1.0, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> (composed([MatrixItem(turn), MatrixItem(shift)]) @ [0, 0, 0, 1]).tolist()  # shifted first
    [0.0, 5.0, 0.0, 1.0]
    """
    product = np.eye(4)
    for matrix in matrices:
        product = product @ matrix.values
    return product


def is_identity(matrix: NDArray[np.float64]) -> bool:
    """Whether a 4x4 matrix moves nothing, to :data:`IDENTITY_TOLERANCE`."""
    return bool(np.abs(matrix - np.eye(4)).max() <= IDENTITY_TOLERANCE)


def orthonormality_error(matrix: NDArray[np.float64]) -> float:
    """Return by how much the axes of a 4x4 matrix differ from a right-handed orthonormal frame; 0 where they do not."""
    axes = np.asarray(matrix, dtype=float)[:3, :3]
    error = float(np.abs(axes.T @ axes - np.eye(3)).max())
    return error if np.linalg.det(axes) > 0 else max(error, FARTHEST_MM)


def most_general(matrices: Sequence[MatrixItem]) -> str:
    """Return the most general matrix type of several; empty where none says any of the three."""
    places = [MATRIX_TYPES.index(matrix.matrix_type) for matrix in matrices if matrix.matrix_type in MATRIX_TYPES]
    return MATRIX_TYPES[max(places)] if places else ""


def code_text(code: Code | None) -> str:
    """Return a code as text for a node attribute, ``value^scheme^meaning``; empty where there is none.

    >>> code_text(Code("125024", "DCM", "Image Content-based Alignment"))
    '125024^DCM^Image Content-based Alignment'
    """
    return "" if code is None else f"{code.value}^{code.scheme_designator}^{code.meaning}"
