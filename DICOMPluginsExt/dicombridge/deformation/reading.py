"""A Deformable Spatial Registration object as plain values (PS3.3 C.20.3); vectors go straight to where they are used.

A grid of vectors is most of its file. It is never part of a Dataset: the items around it are read by pydicom without
it, and it is copied once, from the mapped file to its destination.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import code_from_sequence
from dicombridge.errors import UnreadableError
from dicombridge.geometry import FARTHEST_MM, lps_ras_vectors, plausible, unit_normal
from dicombridge.part10 import EXPLICIT_VR_BIG_ENDIAN, Buffer, NeedsPydicom, TruncatedError, elements, items
from dicombridge.registration.reading import (
    check_class,
    check_complete,
    images_of_item,
    items_of,
    matrix_of_item,
    matrix_remarks,
    uid_of,
)
from dicombridge.registration.values import DeformedFrame, MatrixItem, VectorGrid, is_identity
from dicombridge.text import plain_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.multiframe import MultiFrame

__all__ = ["DEFORMABLE_REGISTRATION_SEQUENCE", "Deformation", "VectorSpan", "copy_vectors", "read_deformation"]

DEFORMABLE_REGISTRATION_SEQUENCE = 0x00640002
_GRID_SEQUENCE = 0x00640005
_VECTOR_GRID_DATA = 0x00640009
_CHUNK = 3 * 1024 * 64
"""Numbers that are copied at a time: they stay in the cache while their signs and their values are looked after."""


@dataclass(frozen=True)
class VectorSpan:
    """Where the vectors of a grid lie in the bytes of the file: ``start:stop``."""

    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Deformation:
    """A Deformable Spatial Registration object.

    Attributes
    ----------
    header
        All of it but the vectors.
    registered_frame_uid
        Frame of Reference UID of the object, from which the items lead.
    items
        One for each item of the Deformable Registration Sequence, in their order.
    vectors
        For each item, where the vectors of its grid are; None where it has no grid.
    warnings
        What a person should know.
    """

    header: Any
    registered_frame_uid: str
    items: tuple[DeformedFrame, ...]
    vectors: tuple[VectorSpan | None, ...]
    warnings: list[str] = field(default_factory=list)


def read_deformation(opened: MultiFrame, file: str) -> Deformation:
    """Return what a Deformable Spatial Registration says.

    Parameters
    ----------
    opened
        The file, opened without :data:`DEFORMABLE_REGISTRATION_SEQUENCE`.
    file
        For errors.

    Raises
    ------
    DicomBridgeError
        It is no deformable registration, or a matrix, a grid or a frame of reference is missing or impossible.
    """
    from pydicom.sequence import Sequence as DicomSequence

    check_class(opened.header, file, "DEFORM")
    check_complete(opened, file)
    parts = _items_without_vectors(opened, file)
    if not parts:
        raise UnreadableError(file, "has no Deformable Registration Sequence, so that it registers nothing.")
    registered = uid_of(opened.header, "FrameOfReferenceUID")
    if not registered:
        raise UnreadableError(
            file, "has no Frame of Reference UID, so that it is not known where its grids lie; please add it."
        )
    warnings: list[str] = []
    found = [_item(item, span, place, file, warnings) for place, (item, span) in enumerate(parts)]
    header = opened.header
    header.DeformableRegistrationSequence = DicomSequence([item for item, _ in parts])
    spans = tuple(span if one.grid is not None else None for one, (_, span) in zip(found, parts, strict=True))
    return Deformation(header, registered, tuple(found), spans, warnings)


# --- Items without their vectors -----------------------------------------------------------------------------------


def _items_without_vectors(opened: MultiFrame, file: str) -> list[tuple[Any, VectorSpan | None]]:
    """Return each item as a Dataset, and where its vectors are."""
    buffer, layout = opened.top_level()
    span = layout.elements.get(DEFORMABLE_REGISTRATION_SEQUENCE)
    if span is None:
        return []
    implicit_vr = layout.implicit_vr or span.vr == "UN"
    try:
        return [
            _split(opened, buffer, start, stop, implicit_vr)
            for start, stop in items(buffer, span.start, span.stop, implicit_vr)
        ]
    except (NeedsPydicom, TruncatedError) as error:
        raise UnreadableError(file, f"its Deformable Registration Sequence is damaged: {error}.") from error


def _split(
    opened: MultiFrame, buffer: Buffer, start: int, stop: int, implicit_vr: bool
) -> tuple[Any, VectorSpan | None]:
    kept: list[bytes] = []
    grids: list[tuple[Any, VectorSpan | None]] = []
    for element in elements(buffer, start, stop, implicit_vr, 1):
        if element.tag == _GRID_SEQUENCE:
            inner = implicit_vr or element.vr == b"UN"
            for grid_start, grid_stop in items(buffer, element.start, element.stop, inner, 1):
                grids.append(_split_grid(opened, buffer, grid_start, grid_stop, inner))
        else:
            kept.append(buffer[element.begin : element.next])
    item = _dataset(opened, b"".join(kept), implicit_vr)
    if grids:
        item.DeformableRegistrationGridSequence = [grid for grid, _ in grids]
    return item, grids[0][1] if grids else None


def _split_grid(
    opened: MultiFrame, buffer: Buffer, start: int, stop: int, implicit_vr: bool
) -> tuple[Any, VectorSpan | None]:
    kept: list[bytes] = []
    span = None
    for element in elements(buffer, start, stop, implicit_vr, 2):
        if element.tag == _VECTOR_GRID_DATA:
            span = VectorSpan(element.start, element.stop)
        else:
            kept.append(buffer[element.begin : element.next])
    return _dataset(opened, b"".join(kept), implicit_vr), span


def _dataset(opened: MultiFrame, content: bytes, implicit_vr: bool) -> Any:
    """Return a Dataset of encoded elements; its text is in the character set of the object."""
    from pydicom.charset import convert_encodings
    from pydicom.filereader import read_dataset

    encodings = convert_encodings(opened.character_set.split("\\"))
    return read_dataset(BytesIO(content), implicit_vr, True, bytelength=len(content), parent_encoding=encodings)


# --- Values --------------------------------------------------------------------------------------------------------


def _item(item: Any, span: VectorSpan | None, place: int, file: str, warnings: list[str]) -> DeformedFrame:
    where = f"item {place + 1} of its Deformable Registration Sequence"
    frame = uid_of(item, "SourceFrameOfReferenceUID")
    if not frame:
        raise UnreadableError(file, f"{where} has no Source Frame of Reference UID, so what moves is unknown.")
    pre = _matrix(item, "PreDeformationMatrixRegistrationSequence", f"{where}, matrix before the deformation", file)
    post = _matrix(item, "PostDeformationMatrixRegistrationSequence", f"{where}, matrix after the deformation", file)
    grids = items_of(item, "DeformableRegistrationGridSequence")
    grid = _grid(grids[0], span, where, file) if grids else None
    remarks = [remark for matrix in (pre, post) if matrix is not None for remark in matrix_remarks(matrix)]
    if len(grids) > 1:
        remarks.append(f"It has {len(grids)} grids where the standard has one; the first was taken.")
    if grid is not None and min(grid.resolution) < 0:
        remarks.append("Its grid has a negative resolution; it was taken to run backwards along that axis.")
    if grid is None and all(matrix is None or is_identity(matrix.values) for matrix in (pre, post)):
        remarks.append("It has neither a grid nor a matrix that moves anything.")
    warnings += [f"Item {place + 1}: {remark}" for remark in dict.fromkeys(remarks)]
    return DeformedFrame(
        index=place,
        frame_of_reference_uid=frame,
        images=images_of_item(item),
        pre=pre,
        post=post,
        grid=grid,
        comment=plain_text(item.get("FrameOfReferenceTransformationComment")),
        type_code=code_from_sequence(item, "RegistrationTypeCodeSequence"),
        fiducials=tuple(items_of(item, "UsedFiducialsSequence")),
        segments=tuple(items_of(item, "UsedSegmentsSequence")),
    )


def _matrix(item: Any, keyword: str, where: str, file: str) -> MatrixItem | None:
    found = items_of(item, keyword)
    return matrix_of_item(found[0], where, file) if found else None


def _grid(item: Any, span: VectorSpan | None, where: str, file: str) -> VectorGrid:
    """Return a grid whose vectors are as many as it says.

    Raises
    ------
    DicomBridgeError
        Its place, its size or its vectors are missing, or contradict each other.
    """
    sizes = _numbers(item, "GridDimensions", 3, where, file)
    if any(size < 1 or size != int(size) for size in sizes):
        raise UnreadableError(
            file, f"{where}: its Grid Dimensions are {_listed(sizes)}, not three whole numbers from 1."
        )
    resolution = _numbers(item, "GridResolution", 3, where, file)
    if not plausible(resolution) or 0 in resolution:
        raise UnreadableError(file, f"{where}: its Grid Resolution is {_listed(resolution)}, not three lengths.")
    origin = _numbers(item, "ImagePositionPatient", 3, where, file)
    orientation = _numbers(item, "ImageOrientationPatient", 6, where, file)
    unit_normal(orientation)
    columns, rows, planes = (int(size) for size in sizes)
    length = 0 if span is None else span.stop - span.start
    if length != columns * rows * planes * 12:
        raise UnreadableError(
            file,
            f"{where}: a grid of {columns} x {rows} x {planes} vectors needs {columns * rows * planes * 12} bytes, "
            f"its Vector Grid Data has {length}.",
        )
    grid = VectorGrid(
        dimensions=(columns, rows, planes),
        origin=(origin[0], origin[1], origin[2]),
        orientation=tuple(orientation),  # type: ignore[arg-type]
        resolution=(resolution[0], resolution[1], resolution[2]),
    )
    if not plausible(grid.index_to_lps @ [columns, rows, planes, 1]):
        raise UnreadableError(file, f"{where}: its grid reaches beyond {FARTHEST_MM:g} mm.")
    return grid


def _numbers(item: Any, keyword: str, count: int, where: str, file: str) -> list[float]:
    value = item.get(keyword)
    several = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    numbers = [float(one) for one in several]
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise UnreadableError(file, f"{where}: its grid has no {keyword} of {count} numbers.")
    return numbers


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


# --- Vectors -------------------------------------------------------------------------------------------------------


def copy_vectors(
    opened: MultiFrame,
    span: VectorSpan,
    out: NDArray[np.float32],
    file: str,
    tell: Callable[[float], None] = lambda fraction: None,
) -> NDArray[np.bool_] | None:
    """Copy the vectors of a grid from the file, LPS, to where they are used, RAS.

    "A vector triple with values of (NaN,NaN,NaN) shall indicate that the transformation at that point of the
    deformation grid is undefined" (PS3.3 C.20.3.1.3). Transforms of VTK know no such thing, and one NaN would spread to
    its neighbours: there, the vector becomes 0.

    Parameters
    ----------
    out
        (n * 3,) of which n vectors of the span fit; filled with RAS mm.
    tell
        Called with the fraction that is done.

    Returns
    -------
    (n,) array of bool or None
        Where the vectors are undefined; None where all are defined.

    Raises
    ------
    UnreadableError
        A vector is infinite or longer than any patient, or none is defined.
    """
    buffer, _ = opened.top_level()
    swap = opened.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    suspicious = False
    with memoryview(buffer) as source, memoryview(out.data).cast("B") as target:
        for begin in range(0, out.size, _CHUNK):
            chunk = out[begin : begin + _CHUNK]
            first, last = 4 * begin, 4 * (begin + chunk.size)
            # Byte by byte: in a file, numbers begin at any even offset.
            target[first:last] = source[span.start + first : span.start + last]
            if swap:
                chunk.byteswap(inplace=True)
            with np.errstate(all="ignore"):
                lps_ras_vectors(chunk, chunk)
                # Anything that is no number, or huge, makes the sum of squares so.
                suspicious = suspicious or not float(np.dot(chunk, chunk)) <= FARTHEST_MM**2
            if begin // _CHUNK % 32 == 31:
                tell(begin / out.size)
    return _undefined(out, file) if suspicious else None


def _undefined(vectors: NDArray[np.float32], file: str) -> NDArray[np.bool_] | None:
    """Make undefined vectors 0, and return where they are.

    Raises
    ------
    UnreadableError
        A vector is infinite or longer than any patient, or none is defined.
    """
    triples = vectors.reshape(-1, 3)
    undefined = np.asarray(np.isnan(triples).any(axis=1))
    if undefined.all():
        raise UnreadableError(file, "none of the vectors of its grid is defined: all are NaN.")
    triples[undefined] = 0
    if not plausible([triples.min(), triples.max()]):
        raise UnreadableError(file, f"a vector of its grid is infinite, or longer than {FARTHEST_MM:g} mm.")
    return undefined if undefined.any() else None
