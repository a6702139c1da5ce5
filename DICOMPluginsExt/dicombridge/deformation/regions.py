"""Where a transform is sampled: over the fixed images, or where its own grid lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.deformation.sampling import Chain, Region
from dicombridge.errors import DicomBridgeError
from dicombridge.geometry import lps_ras_points, volume_geometry
from dicombridge.registration.sides import Side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database

__all__ = ["region_of"]


def region_of(fixed: Side, chain: Chain, database: Database | None) -> Region | None:
    """Return the box of the fixed images' voxels, in their orientation, else that of the transform's own grids.

    None where neither is known.
    """
    if fixed.volume is not None and fixed.volume.GetImageData() is not None:
        return _box_of_grid(volume_geometry(fixed.volume))
    grid = _grid_of_images(fixed, database)
    return _box_of_grid(grid) if grid is not None else _box_of_own_grids(chain)


def _grid_of_images(fixed: Side, database: Database | None) -> Any:
    """Return the grid of the fixed images in the database, the largest where they form several."""
    if database is None or not fixed.references:
        return None
    from dicombridge.image.series import series_grids

    series = fixed.references[0].series_instance_uid
    files = [file for file in database.filesForSeries(series) if file]
    try:
        grids = series_grids(files, database) if files else []
    except DicomBridgeError:
        return None
    return max((one.geometry for one in grids), key=lambda one: float(np.prod(one.spatial_shape)), default=None)


def _box_of_grid(grid: Any) -> Region:
    """Return the box around all voxels of a grid, along its rows, its columns and the normal of both."""
    affine = np.asarray(grid.affine, dtype=float)
    row = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    normal = np.cross(row, affine[:3, 1])
    normal /= np.linalg.norm(normal)
    axes = np.column_stack([row, np.cross(normal, row), normal])
    ends = [[-0.5, size - 0.5] for size in grid.spatial_shape]
    index = np.array(np.meshgrid(*ends, indexing="ij"), dtype=float).reshape(3, -1)
    return _box((affine[:3, :3] @ index + affine[:3, 3:]).T, axes)


def _box_of_own_grids(chain: Chain) -> Region | None:
    """Return the box around the grids of a transform, as far as they lie where its points come from."""
    corners = []
    for step in chain.middle:
        for name in ("GetDisplacementGrid", "GetCoefficientData"):
            image = getattr(step, name)() if hasattr(step, name) else None
            if image is not None:
                corners.append(_corners(step, image))
    if not corners:
        return None
    points = lps_ras_points(np.vstack(corners))
    back = np.linalg.inv(chain.before)
    return _box(points @ back[:3, :3].T + back[:3, 3], np.eye(3))


def _corners(step: Any, image: Any) -> NDArray[np.float64]:
    """Return the (8, 3) RAS corners of a grid of displacements or of knots."""
    direction = step.GetGridDirectionMatrix()
    axes = np.eye(3)
    if direction is not None:
        axes = np.array([[direction.GetElement(row, column) for column in range(3)] for row in range(3)])
    extent = np.array(image.GetExtent(), dtype=float).reshape(3, 2)
    index = np.array(np.meshgrid(*extent, indexing="ij")).reshape(3, -1)
    return np.asarray(((axes * np.array(image.GetSpacing())) @ index).T + np.array(image.GetOrigin()))


def _box(points: NDArray[np.float64], axes: NDArray[np.float64]) -> Region:
    places = points @ axes
    low, high = places.min(axis=0), places.max(axis=0)
    return Region(axes @ low, axes, high - low)
