"""A Spatial Registration object as plain values (PS3.3 C.20.2), and what its items share with deformable ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dicombridge.codes import code_from_sequence
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.geometry import FARTHEST_MM, plausible
from dicombridge.kinds import kind_named
from dicombridge.registration.values import (
    MATRIX_TYPES,
    ImageReference,
    MatrixItem,
    RegisteredFrame,
    composed,
    orthonormality_error,
)
from dicombridge.text import plain_text

__all__ = [
    "Registration",
    "check_class",
    "check_complete",
    "images_of_item",
    "items_of",
    "matrix_of_item",
    "matrix_remarks",
    "read_registration",
    "uid_of",
]

SMALLEST_DETERMINANT = 1e-9
"""Below it (of axes of about unit length) a matrix puts all points into a plane, and nothing brings them back."""


@dataclass(frozen=True, eq=False)
class Registration:
    """A Spatial Registration object.

    Attributes
    ----------
    registered_frame_uid
        Frame of Reference UID of the object, into which all matrices lead.
    items
        One for each item of the Registration Sequence, in their order.
    warnings
        What a person should know.
    """

    registered_frame_uid: str
    items: tuple[RegisteredFrame, ...]
    warnings: list[str] = field(default_factory=list)

    @property
    def to_load(self) -> tuple[RegisteredFrame, ...]:
        """The items that need a transform: all but the identity of the registered frame, which moves nothing.

        Where the object has nothing else, that one, so that it can be seen.
        """
        return tuple(one for one in self.items if not (one.is_registered_frame and one.is_identity)) or self.items[:1]


def read_registration(header: Any, file: str) -> Registration:
    """Return what a Spatial Registration says; ``file`` is for errors.

    Raises
    ------
    DicomBridgeError
        It is no registration, or a matrix or a frame of reference is missing or impossible: half a registration would
        put data into a wrong place.
    """
    check_class(header, file, "REG")
    given = items_of(header, "RegistrationSequence")
    if not given:
        raise UnreadableError(file, "has no Registration Sequence, so that it registers nothing.")
    parts = [_parts(item, place, file) for place, item in enumerate(given)]
    warnings: list[str] = []
    registered = uid_of(header, "FrameOfReferenceUID") or _guessed_frame(parts, file, warnings)
    items = tuple(_finished(part, registered) for part in parts)
    for item, source in zip(items, given, strict=True):
        warnings += _remarks(item, len(items_of(source, "MatrixRegistrationSequence")))
    return Registration(registered, items, warnings)


def _parts(item: Any, place: int, file: str) -> RegisteredFrame:
    """Return an item as it is, before it is known which frame is the registered one."""
    frame, images = uid_of(item, "FrameOfReferenceUID"), images_of_item(item)
    where = f"item {place + 1} of its Registration Sequence"
    if not frame and not images:
        raise UnreadableError(file, f"{where} names neither a frame of reference nor images, so what moves is unknown.")
    registrations = items_of(item, "MatrixRegistrationSequence")
    matrix_items = items_of(registrations[0], "MatrixSequence") if registrations else []
    if not matrix_items:
        raise UnreadableError(file, f"{where} has no matrix.")
    matrices = tuple(
        matrix_of_item(one, f"{where}, matrix {number}", file) for number, one in enumerate(matrix_items, 1)
    )
    product = composed(matrices)
    if not plausible(product):
        raise UnreadableError(file, f"{where} moves points farther than {FARTHEST_MM:g} mm.")
    first = registrations[0]
    return RegisteredFrame(
        index=place,
        frame_of_reference_uid=frame,
        images=images,
        matrices=matrices,
        matrix=product,
        comment=plain_text(first.get("FrameOfReferenceTransformationComment")),
        type_code=code_from_sequence(first, "RegistrationTypeCodeSequence"),
        fiducials=tuple(items_of(first, "UsedFiducialsSequence") or items_of(item, "UsedFiducialsSequence")),
        segments=tuple(items_of(first, "UsedSegmentsSequence") or items_of(item, "UsedSegmentsSequence")),
    )


def _finished(part: RegisteredFrame, registered: str) -> RegisteredFrame:
    return replace(part, is_registered_frame=part.frame_of_reference_uid == registered)


def _guessed_frame(parts: Sequence[RegisteredFrame], file: str, warnings: list[str]) -> str:
    """Return the registered frame of an object that does not say it: that of its only identity item."""
    frames = {part.frame_of_reference_uid for part in parts if part.is_identity and part.frame_of_reference_uid}
    if len(frames) != 1:
        raise UnreadableError(
            file, "has no Frame of Reference UID, so that it is not known where its matrices lead to; please add it."
        )
    (frame,) = frames
    warnings.append(f"It has no Frame of Reference UID; that of its identity item was taken ({frame}).")
    return frame


def _remarks(item: RegisteredFrame, registrations: int) -> list[str]:
    where = f"Item {item.index + 1}"
    found = [f"{where}: {remark}" for matrix in item.matrices for remark in matrix_remarks(matrix)]
    if registrations > 1:
        # Its matrices are alternatives or mistakes, but no part of one product.
        found.append(f"{where} has {registrations} registrations where the standard has one; the first was taken.")
    if any(image.frames for image in item.images):
        found.append(f"{where} is for some frames of an image only; a transform is for all of it.")
    if item.is_registered_frame and not item.is_identity and not item.images:
        found.append(
            f"{where} moves the registered frame of reference itself, which contradicts the object; "
            "it was loaded, please check what it is for."
        )
    return list(dict.fromkeys(found))


# --- What items of both kinds have ---------------------------------------------------------------------------------


def check_class(header: Any, file: str, kind: str) -> None:
    """Refuse another kind of object.

    Raises
    ------
    UnsupportedError
        The SOP class is not one of the kind's.
    """
    row = kind_named(kind)
    sop_class = plain_text(header.get("SOPClassUID"))
    if sop_class not in row.sop_classes:
        raise UnsupportedError(f"{file}: is no {row.title.lower()}; its SOP class is {sop_class}.")


def check_complete(opened: Any, file: str) -> None:
    """Refuse a file of which a part is missing.

    Raises
    ------
    UnreadableError
        The last element ends beyond the file.
    """
    if not opened.top_level()[1].complete:
        raise UnreadableError(file, "is cut short: its last element ends beyond the end of the file.")


def items_of(dataset: Any, keyword: str) -> list[Any]:
    """Return the items of a sequence; none where it is absent or empty."""
    return [item for item in dataset.get(keyword) or () if hasattr(item, "get")]


def uid_of(dataset: Any, keyword: str) -> str:
    """Return a UID as text, empty where there is none; of several, which are not allowed, the first."""
    value = dataset.get(keyword)
    if value is not None and not isinstance(value, str) and isinstance(value, Sequence):
        value = value[0] if value else None
    return plain_text(value)


def images_of_item(item: Any) -> tuple[ImageReference, ...]:
    """Return the images of an item's Referenced Image Sequence, those without a UID left out."""
    found = []
    for reference in items_of(item, "ReferencedImageSequence"):
        uid = uid_of(reference, "ReferencedSOPInstanceUID")
        frames = reference.get("ReferencedFrameNumber")
        several = frames if isinstance(frames, Sequence) and not isinstance(frames, str) else [frames]
        numbers = tuple(int(frame) for frame in several if frame not in (None, ""))
        if uid:
            found.append(ImageReference(uid, uid_of(reference, "ReferencedSOPClassUID"), numbers))
    return tuple(found)


def matrix_of_item(item: Any, where: str, file: str) -> MatrixItem:
    """Return the matrix of an item.

    Raises
    ------
    UnreadableError
        It is not a 4x4 matrix of numbers, not affine, or singular.
    """
    given = item.get("FrameOfReferenceTransformationMatrix")
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else []
    if len(several) != 16:
        raise UnreadableError(file, f"{where}: it has {len(several)} numbers, a matrix has 16.")
    values = np.array([float(one) for one in several]).reshape(4, 4)  # row by row (C.20.2.1.1)
    if not plausible(values):
        raise UnreadableError(file, f"{where}: its numbers are not finite, or beyond {FARTHEST_MM:g}.")
    if np.abs(values[3] - [0, 0, 0, 1]).max() > 1e-6:
        hint = ""
        if not values[:3, 3].any() and values[3, 3] == 1:
            hint = " It seems to be written column by column, and the standard wants rows."
        raise UnreadableError(file, f"{where}: its last row is not 0, 0, 0, 1.{hint}")
    values[3] = 0, 0, 0, 1
    # Relative to the lengths of the axes: a matrix may scale down.
    lengths = np.linalg.norm(values[:3, :3], axis=0)
    if lengths.min() <= 0 or abs(np.linalg.det(values[:3, :3] / lengths)) < SMALLEST_DETERMINANT:
        raise UnreadableError(file, f"{where}: it is singular, i.e. it puts all points into a plane.")
    matrix_type = plain_text(item.get("FrameOfReferenceTransformationMatrixType")).upper()
    return MatrixItem(values, matrix_type)


def matrix_remarks(matrix: MatrixItem) -> list[str]:
    """Return what a person should know of a matrix; it is used as it is all the same."""
    found = []
    axes = matrix.values[:3, :3]
    if matrix.falsely_rigid:
        error = orthonormality_error(matrix.values)
        by = "it mirrors" if error >= FARTHEST_MM else f"its axes are off by {error:.2g}"
        found.append(f"A matrix that is called rigid is not: {by}. It was used as it is.")
    elif matrix.matrix_type == "RIGID_SCALE" and not _scales_only(axes):
        found.append("A matrix that is called rigid with scaling shears, too. It was used as it is.")
    elif np.linalg.det(axes) < 0:
        found.append("A matrix mirrors: left becomes right.")
    if matrix.matrix_type not in MATRIX_TYPES:
        said = matrix.matrix_type or "none"
        found.append(f"The type of a matrix is {said}, not one of {', '.join(MATRIX_TYPES)}.")
    return found


def _scales_only(axes: Any) -> bool:
    """Whether columns (scaled before the rotation) or rows (scaled after it) are perpendicular (C.20.2.1.2)."""
    for directions in (axes / np.linalg.norm(axes, axis=0), (axes.T / np.linalg.norm(axes, axis=1))):
        off = directions.T @ directions - np.eye(3)
        if np.abs(off).max() <= 1e-3:
            return True
    return False
