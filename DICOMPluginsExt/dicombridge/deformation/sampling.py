"""A transform as matrix, grid of offsets, matrix: what Deformable Spatial Registration can hold (PS3.3 C.20.3.1.1).

A point x of the registered frame is mapped to ``post (pre x + offset(x))`` in the source frame, all in LPS mm; offsets
are interpolated linearly between the centres of the grid's voxels. A chain of linear transforms and one grid is taken
apart without loss; anything else is sampled, its leading and trailing linear parts kept as matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.geometry import DIRECTION_TOLERANCE, lps_ras_matrix, lps_ras_points, lps_ras_vectors
from dicombridge.registration.matrix_writing import lps_matrix, same_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = NDArray[np.float64]
    PointMap = Callable[[Points], Points]

__all__ = [
    "DEFAULT_SPACING_MM",
    "MOST_VECTORS",
    "Chain",
    "Deformation",
    "Region",
    "chain_of",
    "exact_deformation",
    "largest_difference",
    "sampled_deformation",
    "with_matrices",
]

DEFAULT_SPACING_MM = 5.0
"""Between vectors, where the transform has no grid of its own."""
MOST_VECTORS = 2**24
"""Of a sampled grid: 192 MiB."""
KNOTS = 3
"""Vectors between two knots of a B-spline, which is a cubic polynomial there."""
TEST_POINTS = 1000


@dataclass(frozen=True, eq=False)
class Region:
    """A box in which a transform is sampled.

    Attributes
    ----------
    corner
        (3,) LPS mm: the first vector lies there.
    axes
        3x3: unit vectors (LPS) of i, j and k in its columns, k = i x j.
    lengths
        (3,) mm along the axes.
    """

    corner: NDArray[np.float64]
    axes: NDArray[np.float64]
    lengths: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Deformation:
    """A mapping from the registered to the source frame of reference, LPS mm.

    Attributes
    ----------
    vectors
        (k, j, i, 3) float32; NaN where it is undefined.
    index_to_lps
        4x4 from (i, j, k, 1) to the registered frame, its axes perpendicular and right-handed.
    pre, post
        4x4, before and after the offsets.
    is_exact
        Whether nothing was sampled.
    """

    vectors: NDArray[np.float32]
    index_to_lps: NDArray[np.float64]
    pre: NDArray[np.float64]
    post: NDArray[np.float64]
    is_exact: bool = False

    @property
    def spacing(self) -> NDArray[np.float64]:
        """(3,) mm from one vector to the next along i, j and k."""
        return np.asarray(np.linalg.norm(self.index_to_lps[:3, :3], axis=0))

    def mapped(self, points: Points) -> Points:
        """Map (n, 3) points of the registered frame; beyond the grid the nearest vectors hold."""
        inverse = np.linalg.inv(self.index_to_lps)
        index = (points @ inverse[:3, :3].T + inverse[:3, 3])[:, ::-1]
        return _applied(self.post, _applied(self.pre, points) + _interpolated(self.vectors, index))


@dataclass(frozen=True, eq=False)
class Chain:
    """A transform, its steps in the order in which a point goes through them.

    Attributes
    ----------
    before, after
        4x4, LPS mm: the linear steps at its beginning and at its end.
    middle
        The non-linear steps between them, and the linear ones among those; ``vtkAbstractTransform``, RAS mm.
    """

    before: NDArray[np.float64]
    middle: tuple[Any, ...]
    after: NDArray[np.float64]

    def mapped(self, points: Points) -> Points:
        """Map (n, 3) LPS points."""
        return _applied(self.after, self.bent(_applied(self.before, points)))

    def bent(self, points: Points) -> Points:
        """Map (n, 3) LPS points through the middle alone."""
        from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
        from vtkmodules.vtkCommonCore import vtkPoints

        for step in self.middle:
            given, found = vtkPoints(), vtkPoints()
            given.SetData(numpy_to_vtk(lps_ras_points(points), deep=True))
            found.SetDataTypeToDouble()
            step.TransformPoints(given, found)
            points = lps_ras_points(vtk_to_numpy(found.GetData()))
        return points

    @property
    def own_spacing(self) -> float:
        """mm between vectors that resolves its finest grid; :data:`DEFAULT_SPACING_MM` where it has none."""
        found = []
        for step in self.middle:
            for name, parts in (("GetDisplacementGrid", 1), ("GetCoefficientData", KNOTS)):
                image = getattr(step, name)() if hasattr(step, name) else None
                if image is not None:
                    found.append(min(image.GetSpacing()) / parts)
        return float(min(found, default=DEFAULT_SPACING_MM))


def chain_of(general: Any) -> Chain:
    """Take a ``vtkGeneralTransform`` between RAS points apart."""
    import slicer
    from vtkmodules.vtkCommonCore import vtkCollection

    steps = vtkCollection()
    slicer.vtkMRMLTransformNode.FlattenGeneralTransform(steps, general)
    several = [steps.GetItemAsObject(number) for number in range(steps.GetNumberOfItems())]
    before, after = np.eye(4), np.eye(4)
    while several and _matrix(several[0]) is not None:
        before = lps_matrix(_matrix(several.pop(0))) @ before
    while several and _matrix(several[-1]) is not None:
        after = after @ lps_matrix(_matrix(several.pop()))
    if not several:
        before, after = np.eye(4), after @ before
    return Chain(before, tuple(several), after)


def _matrix(step: Any) -> Any:
    """Return the matrix of a linear step, None of another one."""
    if not step.IsA("vtkLinearTransform") and not step.IsA("vtkHomogeneousTransform"):
        return None
    step.Update()
    return step.GetMatrix()


# --- Without loss --------------------------------------------------------------------------------------------------


def exact_deformation(chain: Chain, node: Any) -> Deformation | None:
    """Return a chain with one grid in its middle as it is; None of another one, or where DICOM cannot hold that grid.

    The vectors are those of the node to the last bit of a float; those that it remembers as undefined are NaN, unless
    they were given a value since.
    """
    from vtkmodules.util.numpy_support import vtk_to_numpy

    from dicombridge.deformation.undefined import undefined_vectors

    if len(chain.middle) != 1 or not chain.middle[0].IsA("vtkOrientedGridTransform"):
        return None
    step = chain.middle[0]
    image = step.GetDisplacementGrid()
    if step.GetInverseFlag() or image is None or image.GetPointData().GetScalars() is None:
        return None
    columns, rows, slices = image.GetDimensions()
    scalars = image.GetPointData().GetScalars()
    if min(columns, rows, slices) < 1 or scalars.GetNumberOfComponents() != 3:
        return None
    index_to_lps = np.linalg.inv(chain.before) @ lps_ras_matrix() @ _grid_matrix(step, image)
    directions = index_to_lps[:3, :3] / np.linalg.norm(index_to_lps[:3, :3], axis=0)
    if np.abs(directions.T @ directions - np.eye(3)).max() > DIRECTION_TOLERANCE:
        return None  # scaled or sheared before the grid
    given = vtk_to_numpy(scalars)
    if (step.GetDisplacementScale(), step.GetDisplacementShift()) != (1.0, 0.0):
        given = given * step.GetDisplacementScale() + step.GetDisplacementShift()
    vectors = np.array(given, dtype=np.float32)
    lps_ras_vectors(vectors.reshape(-1), vectors.reshape(-1))
    undefined = undefined_vectors(node, len(vectors))
    if undefined is not None:
        vectors[undefined & ~vectors.any(axis=1)] = np.nan
    vectors = vectors.reshape(slices, rows, columns, 3)
    return _right_handed(Deformation(vectors, index_to_lps, chain.before, chain.after, True))


def _grid_matrix(step: Any, image: Any) -> NDArray[np.float64]:
    """Return the 4x4 matrix from the index of a displacement grid to RAS."""
    direction = step.GetGridDirectionMatrix()
    matrix = np.eye(4)
    if direction is not None:
        matrix[:3, :3] = [[direction.GetElement(row, column) for column in range(3)] for row in range(3)]
    matrix[:3, :3] = matrix[:3, :3] * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    first = np.array(image.GetExtent()[::2], dtype=float)
    matrix[:3, 3] += matrix[:3, :3] @ first
    return matrix


def _right_handed(deformation: Deformation) -> Deformation:
    """Return the same with the last plane first where the grid is left-handed: k is the cross product of i and j."""
    affine = deformation.index_to_lps
    if np.linalg.det(affine[:3, :3]) > 0:
        return deformation
    affine = affine.copy()
    affine[:3, 3] += affine[:3, 2] * (deformation.vectors.shape[0] - 1)
    affine[:3, 2] = -affine[:3, 2]
    return replace(deformation, vectors=deformation.vectors[::-1], index_to_lps=affine)


def with_matrices(deformation: Deformation, pre: NDArray[np.float64], post: NDArray[np.float64]) -> Deformation | None:
    """Return the same mapping with other matrices, those that it was loaded with; None where they are not of it.

    ``post' (pre' x + offset'(x)) = post (pre x + offset(x))`` holds for all offsets where ``post' pre' = post pre`` and
    ``offset' = post'^-1 post offset``, without the translations.
    """
    if not same_matrix(post @ pre, deformation.post @ deformation.pre):
        return None
    between = np.linalg.inv(post[:3, :3]) @ deformation.post[:3, :3]
    vectors = deformation.vectors
    if np.abs(between - np.eye(3)).max() > 1e-12:
        vectors = (vectors.astype(float) @ between.T).astype(np.float32)
    return replace(deformation, vectors=vectors, pre=pre, post=post)


# --- Sampled -------------------------------------------------------------------------------------------------------


def sampled_deformation(
    chain: Chain, region: Region, spacing_mm: float | None, tell: Callable[[float, str], None]
) -> Deformation:
    """Sample a chain in a region; vectors lie ``spacing_mm`` apart, by default as far as in the transform's own grid.

    Raises
    ------
    ExportError
        The spacing is none, or there would be more than :data:`MOST_VECTORS` vectors.
    """
    spacing = _spacing(chain, region, spacing_mm)
    counts = np.ceil(region.lengths / spacing - 1e-6).astype(int) + 1
    affine = np.eye(4)
    affine[:3, :3] = region.axes * spacing
    affine[:3, 3] = region.corner
    columns, rows, slices = (int(count) for count in counts)
    plane = np.array(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), dtype=float).reshape(2, -1)[::-1]
    vectors = np.empty((slices, rows, columns, 3), np.float32)
    every = max(1, slices // 20)
    for number in range(slices):
        if number % every == 0:
            tell(number / slices, f"Sampling plane {number + 1} of {slices}")
        index = np.vstack([plane, np.full(plane.shape[1], float(number))])
        points = _applied(chain.before, (affine[:3, :3] @ index + affine[:3, 3:]).T)
        vectors[number] = (chain.bent(points) - points).reshape(rows, columns, 3)
    return Deformation(vectors, affine, chain.before, chain.after)


def _spacing(chain: Chain, region: Region, spacing_mm: float | None) -> float:
    def count(spacing: float) -> float:
        return float(np.prod(np.ceil(region.lengths / spacing - 1e-6) + 1))

    if spacing_mm is not None:
        if not np.isfinite(spacing_mm) or spacing_mm <= 0:
            raise ExportError(f"spacing_mm is a length in mm, not {spacing_mm!r}.")
        if count(spacing_mm) > MOST_VECTORS:
            raise ExportError(
                f"A grid of {count(spacing_mm):.3g} vectors is too large; choose a spacing_mm above {spacing_mm:g}."
            )
        return spacing_mm
    spacing = min(chain.own_spacing, float(max(region.lengths.max(), 1e-3)))
    while count(spacing) > MOST_VECTORS:
        spacing *= 1.25
    return spacing


def largest_difference(chain: Chain, deformation: Deformation) -> float:
    """Return by how many mm, at most, the two map 1,000 random points within the grid differently."""
    last = np.array(deformation.vectors.shape[2::-1], dtype=float) - 1
    index = np.random.default_rng(0).uniform(0, 1, (TEST_POINTS, 3)) * last
    points = _applied(deformation.index_to_lps, index)
    difference = np.linalg.norm(chain.mapped(points) - deformation.mapped(points), axis=1)
    known = difference[np.isfinite(difference)]
    return float(known.max()) if len(known) else 0.0


def _applied(matrix: NDArray[np.float64], points: Points) -> Points:
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])


def _interpolated(vectors: NDArray[np.float32], index: Points) -> Points:
    """Return vectors at (n, 3) fractional indices k, j, i; those beyond the grid are the nearest ones."""
    last = np.array(vectors.shape[:3]) - 1
    index = np.clip(index, 0, last)
    lower = np.minimum(np.floor(index).astype(int), np.maximum(last - 1, 0))
    weight = index - lower
    total = np.zeros((len(index), 3))
    for corner in np.ndindex(2, 2, 2):
        at = np.minimum(lower + corner, last)
        part = np.where(corner, weight, 1 - weight).prod(axis=1)[:, None]
        total += np.where(part, part * vectors[at[:, 0], at[:, 1], at[:, 2]], 0.0)
    return total
