"""Transforms -> Deformable Spatial Registration objects (PS3.3 A.39.2, C.20.3): the export half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.deformation.regions import region_of
from dicombridge.deformation.sampling import (
    Chain,
    Deformation,
    Region,
    chain_of,
    exact_deformation,
    largest_difference,
    sampled_deformation,
    with_matrices,
)
from dicombridge.deformation.undefined import UNDEFINED_COUNT
from dicombridge.encode import decimal_string
from dicombridge.errors import ExportError
from dicombridge.output.files import Job, write_file, write_together
from dicombridge.output.header import apply_keywords, split_options
from dicombridge.progress import Progress, part, silent
from dicombridge.registration.matrix_writing import (
    describe_registration,
    linear_part,
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
from dicombridge.registration.sides import Side, Sides, sides_of
from dicombridge.text import plain_text

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["OWN_OPTIONS", "export"]

_log = logging.getLogger(__name__)

STORAGE = "1.2.840.10008.5.1.4.1.1.66.3"
OWN_OPTIONS = ("moving", "fixed", "direction", "registration_type", "comment", "spacing_mm", "list_images")
"""Options of :func:`export` that are not DICOM keywords."""
NOT_OPTIONS = ("Modality", "DeformableRegistrationSequence", "FrameOfReferenceUID")

TOLERATED_MM = 1.0
"""Largest difference between a transform and its sampled grid that is not warned of."""
PRE, POST = "PreDeformationMatrixRegistrationSequence", "PostDeformationMatrixRegistrationSequence"


@dataclass(frozen=True, eq=False)
class Warp:
    """One transform, ready to be written.

    Attributes
    ----------
    node
        The transform node.
    moving, fixed
        Its sides: the source frames of reference, and the registered one.
    deformation
        Registered -> source.
    kept, place
        The object that it was loaded from, and its item there; None where it does not stand for that any more.
    """

    node: Any
    moving: tuple[Side, ...]
    fixed: Side
    deformation: Deformation
    kept: Dataset | None = None
    place: int | None = None


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write transforms as Deformable Spatial Registration objects, one for each registered frame of reference.

    An object tells where in the source frame of reference a point of the registered one is found. A displacement grid
    that leads that way is written as it is, with the linear transforms before and after it as matrices; what leads the
    other way, B-splines and chains are sampled, and the largest difference is logged.

    Parameters
    ----------
    nodes
        Transform nodes: grids, B-splines, composite ones, also linear ones.
    directory
        Where ``DEFORM_<SOP Instance UID>.dcm`` is written; nothing is left there where anything fails.
    database
        Where images are looked up.
    progress
        Called with a fraction (0 to 1) and a message.
    **options
        ``moving``, ``fixed``, ``direction``, ``registration_type``, ``comment``, ``list_images`` as in
        :func:`dicombridge.registration.export`.
        ``spacing_mm``: between sampled vectors, over the voxels of the fixed images; by default as close as in the
        transform's own grid, or 5 mm. Given, it makes a grid be sampled that could be written as it is.
        All others are DICOM keywords; the last word.

    Raises
    ------
    ExportError
        Nothing tells between which frames of reference a transform maps, or where to sample it.
    """
    own, keywords = split_options(options, OWN_OPTIONS, NOT_OPTIONS)
    code = registration_type_code(own.get("registration_type"))
    spacing = _spacing(own.get("spacing_mm"))
    sides = [(node, sides_of(_checked(node), database, own)) for node in nodes]
    groups = grouped((one.fixed, (node, one)) for node, one in sides)

    def job(group: Sequence[tuple[Any, Sides]], tell: Progress | None) -> tuple[str, Callable[[Path], None]]:
        report = tell or silent
        report(0.0, "Looking at the transforms")
        warps = []
        for number, (node, one) in enumerate(group):
            share, begin = 0.7 / len(group), 0.7 * number / len(group)
            warps.append(_warp(node, one, database, spacing, part(report, begin, share) or silent))
        report(0.7, "Writing the deformation")
        dataset = _dataset(warps, own, code)
        apply_keywords(dataset, keywords)

        def write(path: Path) -> None:
            write_file(path, dataset)
            report(0.9, "Wrote the deformation")

        return f"DEFORM_{dataset.SOPInstanceUID}.dcm", write

    jobs: list[Job] = [lambda tell, group=group: job(group, tell) for group in groups]  # type: ignore[misc]
    return write_together(Path(directory), jobs, progress)


def _checked(node: Any) -> Any:
    if not node.IsA("vtkMRMLTransformNode"):
        raise ExportError(f"{node.GetName()}: is no transform.")
    return node


def _spacing(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ExportError(f"spacing_mm is a length in mm, not {value!r}.") from None


# --- One transform -------------------------------------------------------------------------------------------------


def _warp(node: Any, sides: Sides, database: Database | None, spacing: float | None, tell: Progress) -> Warp:
    kept, place = kept_item(node, sides, STORAGE, "DeformableRegistrationSequence", "SourceFrameOfReferenceUID")
    try:
        chain = _registered_to_source(node, sides)
        deformation = exact_deformation(chain, node) if spacing is None else None
        if deformation is None:
            deformation = _sampled(node, sides, chain, database, spacing, tell)
    except ExportError as error:
        raise ExportError(f"{node.GetName()}: {error}") from None
    if kept is not None and place is not None:
        deformation = _with_kept_matrices(deformation, kept.DeformableRegistrationSequence[place])
    return Warp(node, sides.moving, sides.fixed, deformation, kept, place)


def _registered_to_source(node: Any, sides: Sides) -> Chain:
    """Return the transform from the fixed volume's own coordinates to those below the node, or back."""
    import slicer
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    general = vtkGeneralTransform()
    fixed = sides.fixed.volume.GetParentTransformNode() if sides.fixed.volume is not None else None
    ends = (node, fixed) if sides.inverse else (fixed, node)
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(*ends, general)
    return chain_of(general)


def _sampled(
    node: Any, sides: Sides, chain: Chain, database: Database | None, spacing: float | None, tell: Progress
) -> Deformation:
    region = region_of(sides.fixed, chain, database)
    if not chain.middle:
        # The standard wants a grid in one item at least; the offsets of a linear transform are all zero.
        region = region or Region(np.zeros(3), np.eye(3), np.ones(3))
        spacing = spacing or float(max(region.lengths.max(), 1.0))
    if region is None:
        raise ExportError("nothing tells where to sample it; give fixed= as a volume or a series of the database.")
    deformation = sampled_deformation(chain, region, spacing, tell)
    if int(node.GetAttribute(UNDEFINED_COUNT) or 0):
        _log.warning("%s: sampled, so that where it is undefined nothing is displaced.", node.GetName())
    difference = largest_difference(chain, deformation)
    level = logging.WARNING if difference > TOLERATED_MM else logging.INFO
    _log.log(
        level,
        "%s: sampled every %.3g mm, %s vectors; their linear interpolation is at most %.3g mm away from it (at 1,000 "
        "random points).",
        node.GetName(),
        deformation.spacing.min(),
        "x".join(str(count) for count in deformation.vectors.shape[2::-1]),
        difference,
    )
    return deformation


def _matrix_of(item: Dataset, keyword: str) -> Any:
    several = item.get(keyword) or []
    return linear_part(several[0]) if several else np.eye(4)


def _with_kept_matrices(deformation: Deformation, item: Dataset) -> Deformation:
    """Return the deformation with the matrices that it was loaded with, where they still are its own."""
    pre, post = _matrix_of(item, PRE), _matrix_of(item, POST)
    if pre is None or post is None or abs(float(np.linalg.det(post[:3, :3]))) < 1e-12:
        return deformation
    return with_matrices(deformation, pre, post) or deformation


# --- The object ----------------------------------------------------------------------------------------------------


def _dataset(group: Sequence[Warp], own: Mapping[str, Any], code: Any) -> Dataset:
    fixed = next((warp.fixed for warp in group if warp.fixed.header is not None), group[0].fixed)
    kept = next((warp.kept for warp in group if warp.kept is not None), None)
    registered = fixed.frame_of_reference_uid or generate_uid()
    sides = [fixed, *(side for warp in group for side in warp.moving)]
    renewed = ("DeformableRegistrationSequence",)
    dataset = registration_header(
        STORAGE, group[0].node, kept, sides, registered, renewed, "Deformable spatial registration"
    )
    items = _kept_items(group, kept, own, code)
    for warp in group:
        if kept is None or not _is_of(warp, kept):
            items += [_new_item(warp, side, own, code) for side in warp.moving]
    dataset.DeformableRegistrationSequence = items
    return dataset


def _is_of(warp: Warp, kept: Dataset) -> bool:
    return warp.kept is not None and warp.kept.get("SOPInstanceUID") == kept.get("SOPInstanceUID")


def _kept_items(group: Sequence[Warp], kept: Dataset | None, own: Mapping[str, Any], code: Any) -> list[Dataset]:
    """Return the items of the loaded object, each with the deformation of its node."""
    by_place = {warp.place: warp for warp in group if kept is not None and _is_of(warp, kept)}
    items = []
    for place, loaded in enumerate((kept.get("DeformableRegistrationSequence") or []) if kept is not None else []):
        warp, item = by_place.get(place), deepcopy(loaded)
        if warp is None:
            frame = plain_text(item.get("SourceFrameOfReferenceUID"))
            if _moves_nothing(item):
                items.append(item)
            else:
                _log.warning("The item of the frame of reference %s is left out: its transform is not exported.", frame)
            continue
        had_grid = bool(item.get("DeformableRegistrationGridSequence"))
        _write_deformation(item, warp.deformation, had_grid)
        describe_registration(item, code, own.get("comment"), is_new=False)
        items.append(item)
    if items and not any(item.get("DeformableRegistrationGridSequence") for item in items):
        for warp, item in zip(by_place.values(), items, strict=False):
            _write_deformation(item, warp.deformation, True)
    return items


def _moves_nothing(item: Dataset) -> bool:
    matrices = [_matrix_of(item, keyword) for keyword in (PRE, POST)]
    still = all(matrix is not None and same_matrix(matrix, np.eye(4)) for matrix in matrices)
    return still and not item.get("DeformableRegistrationGridSequence")


def _new_item(warp: Warp, side: Side, own: Mapping[str, Any], code: Any) -> Dataset:
    name = warp.node.GetName()
    if not side.frame_of_reference_uid:
        raise ExportError(f"{name}: the moving images have no frame of reference, which a deformation needs.")
    item = Dataset()
    item.SourceFrameOfReferenceUID = side.frame_of_reference_uid
    if side.is_same_place(warp.fixed):
        item.ReferencedImageSequence = checked_images(side, name)
    elif side.references and is_on(own.get("list_images")):
        item.ReferencedImageSequence = image_items(side.references)
    describe_registration(item, code, own.get("comment") or warp.node.GetDescription(), is_new=True)
    _write_deformation(item, warp.deformation, True)
    return item


def _write_deformation(item: Dataset, deformation: Deformation, with_grid: bool) -> None:
    """Give an item its matrices and its grid; a matrix that is there stays as it was written where it is the same."""
    for keyword, matrix in ((PRE, deformation.pre), (POST, deformation.post)):
        known = _matrix_of(item, keyword)
        if known is not None and same_matrix(known, matrix):
            continue
        if same_matrix(matrix, np.eye(4)):
            item.pop(keyword, None)
        else:
            setattr(item, keyword, [matrix_item(matrix)])
    if with_grid or np.nan_to_num(deformation.vectors, nan=1.0).any():
        loaded = (item.get("DeformableRegistrationGridSequence") or [Dataset()])[0]
        item.DeformableRegistrationGridSequence = [_grid_item(deformation, loaded)]


def _grid_item(deformation: Deformation, loaded: Dataset) -> Dataset:
    """Return the grid as an item; what it was loaded with is kept where it still says the same place."""
    grid = deepcopy(loaded)
    affine, spacing = deformation.index_to_lps, deformation.spacing
    cosines = affine[:3, :3] / spacing
    slices, rows, columns = deformation.vectors.shape[:3]
    if not _lies_there(loaded, affine):
        grid.ImagePositionPatient = [decimal_string(value) for value in affine[:3, 3]]
        grid.ImageOrientationPatient = [decimal_string(value) for value in cosines[:, :2].T.ravel()]
        grid.GridResolution = [float(value) for value in spacing]
    grid.GridDimensions = [columns, rows, slices]
    grid.add_new(0x00640009, "OF", np.ascontiguousarray(deformation.vectors, dtype="<f4").tobytes())
    return grid


def _lies_there(loaded: Dataset, affine: Any) -> bool:
    try:
        position = np.array(loaded.ImagePositionPatient, dtype=float)
        row, column = np.array(loaded.ImageOrientationPatient, dtype=float).reshape(2, 3)
        resolution = np.array(loaded.GridResolution, dtype=float)
    except (AttributeError, TypeError, ValueError):
        return False
    known = np.eye(4)
    known[:3, :3] = np.column_stack([row, column, np.cross(row, column)]) * resolution
    known[:3, 3] = position
    return same_matrix(known, affine)
