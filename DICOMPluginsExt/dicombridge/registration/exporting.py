"""Linear transforms -> Spatial Registration objects (PS3.3 A.39.1, C.20.2): the export half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.errors import ExportError
from dicombridge.output.files import Job, write_file, write_together
from dicombridge.output.header import apply_keywords, split_options
from dicombridge.progress import Progress, silent
from dicombridge.registration.matrix_writing import (
    IDENTITY_CODE,
    describe_registration,
    linear_part,
    lps_matrix,
    matrix_item,
    registration_type_code,
    same_matrix,
)
from dicombridge.registration.object_writing import (
    checked_images,
    grouped,
    image_items,
    is_on,
    kept_item,
    registration_header,
)
from dicombridge.registration.sides import Side, sides_of
from dicombridge.text import plain_text

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["OWN_OPTIONS", "export"]

_log = logging.getLogger(__name__)

STORAGE = "1.2.840.10008.5.1.4.1.1.66.1"
OWN_OPTIONS = ("moving", "fixed", "direction", "registration_type", "comment", "list_images")
"""Options of :func:`export` that are not DICOM keywords."""
NOT_OPTIONS = ("Modality", "RegistrationSequence", "FrameOfReferenceUID")


@dataclass(frozen=True, eq=False)
class Motion:
    """One linear transform, ready to be written.

    Attributes
    ----------
    node
        The transform node.
    moving, fixed
        Its sides.
    matrix
        4x4, LPS mm of the moving side to LPS mm of the fixed side.
    kept, place
        The object that it was loaded from, and its item there; None where it does not stand for that any more.
    """

    node: Any
    moving: tuple[Side, ...]
    fixed: Side
    matrix: NDArray[np.float64]
    kept: Dataset | None = None
    place: int | None = None


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write linear transforms as Spatial Registration objects, one for each registered frame of reference.

    Every matrix leads from the frame of reference of what is moved into the registered one. A transform that was loaded
    and not edited is written with the numbers that it came with.

    Parameters
    ----------
    nodes
        ``vtkMRMLLinearTransformNode`` (or other transform nodes that are linear).
    directory
        Where ``REG_<SOP Instance UID>.dcm`` is written; nothing is left there where anything fails.
    database
        Where images are looked up.
    progress
        Called with a fraction (0 to 1) and a message.
    **options
        ``moving``, ``fixed``: a node, a Series Instance UID or a Frame of Reference UID (``moving``: or several). By
        default the nodes that the transform refers to (``spatialRegistrationMoving``, ``spatialRegistrationFixed``),
        what it was loaded with, or, as moving, what lies under it.
        ``direction``: ``to_parent`` (default: the transform to parent maps moving onto fixed) or ``from_parent``.
        ``registration_type``: a code, or a meaning of CID 7100, e.g. ``visual alignment``; empty where nobody knows.
        ``comment``: Frame of Reference Transformation Comment.
        ``list_images``: each item names its images too, not only its frame of reference. They are always named where
        both sides share a frame of reference.
        All others are DICOM keywords; the last word.

    Raises
    ------
    ExportError
        A transform is not linear or has no inverse, or nothing tells between which frames of reference it maps.
    """
    own, keywords = split_options(options, OWN_OPTIONS, NOT_OPTIONS)
    code = registration_type_code(own.get("registration_type"))
    motions = [_motion(node, database, own) for node in nodes]
    groups = grouped((motion.fixed, motion) for motion in motions)

    def job(group: list[Motion], tell: Progress | None) -> tuple[str, Callable[[Path], None]]:
        (tell or silent)(0.1, f"Registering into {group[0].fixed.frame_of_reference_uid or 'the fixed images'}")
        dataset = _dataset(group, own, code)
        apply_keywords(dataset, keywords)
        (tell or silent)(0.6, "Writing the registration")

        def write(path: Path) -> None:
            write_file(path, dataset)
            (tell or silent)(0.9, "Wrote the registration")

        return f"REG_{dataset.SOPInstanceUID}.dcm", write

    jobs: list[Job] = [lambda tell, group=group: job(group, tell) for group in groups]  # type: ignore[misc]
    return write_together(Path(directory), jobs, progress)


def _motion(node: Any, database: Database | None, own: Mapping[str, Any]) -> Motion:
    if not node.IsA("vtkMRMLTransformNode"):
        raise ExportError(f"{node.GetName()}: is no transform.")
    sides = sides_of(node, database, own)
    try:
        matrix = lps_matrix(_matrix_between(node, sides.fixed.volume))
    except ExportError as error:
        raise ExportError(f"{node.GetName()}: {error}") from None
    if sides.inverse:
        matrix = np.asarray(np.linalg.inv(matrix), dtype=float)
    kept, place = kept_item(node, sides, STORAGE, "RegistrationSequence", "FrameOfReferenceUID")
    return Motion(node, sides.moving, sides.fixed, matrix, kept, place)


def _matrix_between(node: Any, fixed: Any) -> Any:
    """Return the RAS matrix from below a transform node to where the fixed volume has its own coordinates."""
    import slicer
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    target = fixed.GetParentTransformNode() if fixed is not None else None
    found = slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(node, target, matrix)
    if not found:
        raise ExportError("it is not linear; write it as a Deformable Spatial Registration (kind DEFORM).")
    return matrix


# --- The object ----------------------------------------------------------------------------------------------------


def _dataset(group: Sequence[Motion], own: Mapping[str, Any], code: Any) -> Dataset:
    fixed = next((motion.fixed for motion in group if motion.fixed.header is not None), group[0].fixed)
    registered = fixed.frame_of_reference_uid or generate_uid()
    kept = next((motion.kept for motion in group if motion.kept is not None), None)
    sides = [fixed, *(side for motion in group for side in motion.moving)]
    dataset = registration_header(
        STORAGE, group[0].node, kept, sides, registered, ("RegistrationSequence",), "Spatial registration"
    )
    items = _kept_items(group, kept, own, code)
    if kept is None:
        items.insert(0, _identity(registered, fixed, _names_images(group, own)))
    for motion in group:
        if kept is None or not _is_of(motion, kept):
            items += [_new_item(motion, side, own, code) for side in motion.moving]
    dataset.RegistrationSequence = items
    return dataset


def _is_of(motion: Motion, kept: Dataset) -> bool:
    return motion.kept is not None and motion.kept.get("SOPInstanceUID") == kept.get("SOPInstanceUID")


def _names_images(group: Sequence[Motion], own: Mapping[str, Any]) -> bool:
    """Whether the fixed images have to be named: where a frame of reference alone does not tell them from others."""
    frame = group[0].fixed.frame_of_reference_uid
    shared = any(side.frame_of_reference_uid == frame for motion in group for side in motion.moving)
    return shared or not frame or is_on(own.get("list_images"))


def _kept_items(group: Sequence[Motion], kept: Dataset | None, own: Mapping[str, Any], code: Any) -> list[Dataset]:
    """Return the items of the loaded object, those of edited nodes with their new matrices."""
    by_place = {motion.place: motion for motion in group if kept is not None and _is_of(motion, kept)}
    items = []
    for place, item in enumerate((kept.get("RegistrationSequence") or []) if kept is not None else []):
        motion = by_place.get(place)
        known = _product(item)
        if motion is None:
            if known is not None and same_matrix(known, np.eye(4)):
                items.append(deepcopy(item))
            else:
                frame = plain_text(item.get("FrameOfReferenceUID")) or "images without one"
                _log.warning("The item of the frame of reference %s is left out: its transform is not exported.", frame)
            continue
        items.append(_edited(deepcopy(item), motion, known, own, code))
    return items


def _product(item: Dataset) -> NDArray[np.float64] | None:
    """Return the product of an item's matrices in their order (PS3.3 Equation C.20.2-2)."""
    product = np.eye(4)
    for registration in item.get("MatrixRegistrationSequence") or []:
        for one in registration.get("MatrixSequence") or []:
            matrix = linear_part(one)
            if matrix is None:
                return None
            product = product @ matrix
    return product


def _edited(
    item: Dataset, motion: Motion, known: NDArray[np.float64] | None, own: Mapping[str, Any], code: Any
) -> Dataset:
    registrations = item.get("MatrixRegistrationSequence") or []
    registration = registrations[0] if registrations else Dataset()
    if known is None or not same_matrix(known, motion.matrix):
        registration.MatrixSequence = [matrix_item(motion.matrix)]
        item.MatrixRegistrationSequence = [registration]
    describe_registration(registration, code, own.get("comment"), is_new=False)
    return item


def _new_item(motion: Motion, side: Side, own: Mapping[str, Any], code: Any) -> Dataset:
    if not side.frame_of_reference_uid and not side.references:
        raise ExportError(f"{motion.node.GetName()}: the images that it moves are not at hand; give moving=.")
    item = Dataset()
    shared = side.is_same_place(motion.fixed)
    if side.frame_of_reference_uid:
        item.FrameOfReferenceUID = side.frame_of_reference_uid
    if shared:
        item.ReferencedImageSequence = checked_images(side, motion.node.GetName())
    elif side.references and (not side.frame_of_reference_uid or is_on(own.get("list_images"))):
        item.ReferencedImageSequence = image_items(side.references)
    registration = Dataset()
    describe_registration(registration, code, own.get("comment") or motion.node.GetDescription(), is_new=True)
    registration.MatrixSequence = [matrix_item(motion.matrix)]
    item.MatrixRegistrationSequence = [registration]
    return item


def _identity(registered: str, fixed: Side, names_images: bool) -> Dataset:
    """Return the item of the registered frame of reference itself: the identity."""
    item = Dataset()
    item.FrameOfReferenceUID = registered
    if names_images and fixed.references:
        item.ReferencedImageSequence = image_items(fixed.references)
    registration = Dataset()
    describe_registration(registration, IDENTITY_CODE, None, is_new=True)
    registration.MatrixSequence = [matrix_item(np.eye(4))]
    item.MatrixRegistrationSequence = [registration]
    return item
