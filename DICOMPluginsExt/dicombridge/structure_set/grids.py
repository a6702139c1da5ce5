"""Which grid each region is filled on: that of its images, or one made for its contours.

Contours are looked up by instance, series, frame of reference (:mod:`dicombridge.belonging`), region by region: one
structure set may have regions on several series. A grid is grown where contours reach beyond the images, so that
nothing is cut off; it is made where there are no images, and where contours lie across the slices of the images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dicombridge.belonging import Belonging, frames_of_reference, images_of
from dicombridge.errors import DicomBridgeError
from dicombridge.geometry import grid, grid_of_affine, stack_planes, volume_geometry
from dicombridge.image.series import SourceGrid, series_grids
from dicombridge.scene import nodes_in
from dicombridge.structure_set.contours import Contours
from dicombridge.structure_set.reading import Roi, StructureSet
from dicombridge.structure_set.regions import grid_points

if TYPE_CHECKING:
    from highdicom import VolumeGeometry

    from dicombridge.database import Database
    from dicombridge.geometry import SlantedGrid

__all__ = ["Group", "find_groups", "grown", "own_grid", "volumes_by_instance"]

PARALLEL = float(np.cos(np.radians(0.5)))
"""Cosine of the angle between planes that count as parallel."""
FINEST_MM, COARSEST_MM = 0.25, 1.0
"""Pixel sizes that are chosen for grids of our own, as fine as the points of the contours lie."""
MOST_PIXELS = 1024
"""Rows and columns of a grid of our own; pixels become larger instead."""
MOST_VOXELS = 1 << 27
"""Voxels of a grid of our own."""
MOST_SLICES = 4096
FARTHEST_GROWTH_MM = 1000.0
"""How far a grid is grown beyond its images; what lies farther out is damage, or of another patient."""


@dataclass(eq=False)
class Group:
    """Regions that share a grid, and so a segmentation node.

    Attributes
    ----------
    geometry
        The grid.
    rois
        The regions.
    sources
        For each slice, (SOP Instance UID, frame number or 0) of its images.
    series_instance_uid
        Of the images; empty for a grid of our own.
    warnings
        What is doubtful about the grid.
    """

    geometry: VolumeGeometry | SlantedGrid
    rois: list[Roi]
    sources: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    series_instance_uid: str = ""
    warnings: list[str] = field(default_factory=list)


def find_groups(
    content: StructureSet, database: Database | None, scene: Any, pixel_size_mm: float | None = None
) -> list[Group]:
    """Find the grids of all regions; those that enclose nothing go with the first group.

    Parameters
    ----------
    scene
        Its volumes of the referenced images serve where the database has none; may be None.
    pixel_size_mm
        Of grids of our own; by default as fine as the points of the contours lie.
    """
    filled = [roi for roi in content.rois if len(roi.contours.closed)]
    groups: list[Group] = []
    alone: list[Roi] = []
    for key, rois in _by_series(content, filled, database).items():
        group = _image_group(key, rois, database, scene, content.warnings)
        if group is None:
            alone.extend(rois)
            continue
        across = [roi for roi in rois if _lies_across(roi.contours, group.geometry)]
        group.rois = [roi for roi in rois if roi not in across]
        if across:
            names = ", ".join(roi.segment.label for roi in across)
            content.warnings.append(
                f"Regions that lie across the slices of the images have a grid of their own: {names}."
            )
            alone.extend(across)
        if group.rois:
            groups.append(group)
    for rois in _by_normal(alone):
        geometry, warnings = own_grid([roi.contours for roi in rois], pixel_size_mm)
        groups.append(Group(geometry, rois, warnings=warnings))
    empty = [roi for roi in content.rois if roi not in filled]
    if not groups:
        groups.append(_empty_group(content, database, scene))
    groups[0].rois = sorted([*groups[0].rois, *empty], key=lambda roi: roi.number)
    return groups


# --- Images --------------------------------------------------------------------------------------------------------


def _by_series(content: StructureSet, rois: Sequence[Roi], database: Database | None) -> dict[Belonging, list[Roi]]:
    """Return the regions by the series that they belong to."""
    whole = _whole(content, database)
    known: dict[str, str] = {}
    found: dict[Belonging, list[Roi]] = {}
    for roi in rois:
        found.setdefault(_belonging(roi, whole, database, known), []).append(roi)
    return found


def _whole(content: StructureSet, database: Database | None) -> Belonging:
    """Return the series that the structure set as a whole belongs to."""
    patient = str(content.header.get("PatientID") or "")
    return images_of(content.references, database, frames_of_reference(content.header), patient)


def _belonging(roi: Roi, whole: Belonging, database: Database | None, known: dict[str, str]) -> Belonging:
    if database is None:
        return whole
    for uid in roi.contours.image_uids:
        if uid not in known:
            file = database.fileForInstance(uid)
            known[uid] = database.seriesForFile(file) if file else ""
    counts = Counter(known[uid] for uid in roi.contours.image_uids if known[uid])
    if counts:
        series = counts.most_common(1)[0][0]
        if series in whole.series:
            return replace(whole, series_instance_uid=series)
    elif roi.frame_of_reference_uid and len(whole.series) > 1:
        return _of_frame(roi.frame_of_reference_uid, whole, database)
    return whole


def _of_frame(frame_of_reference_uid: str, whole: Belonging, database: Database) -> Belonging:
    """Return the one of several series that has a region's frame of reference."""
    for series in whole.series:
        files = database.filesForSeries(series)
        if files and database.fileValue(files[0], "0020,0052") == frame_of_reference_uid:
            return replace(whole, series_instance_uid=series)
    return whole


def _image_group(
    belonging: Belonging, rois: list[Roi], database: Database | None, scene: Any, warnings: list[str]
) -> Group | None:
    """Return a group on the grid of its images, None where they give none."""
    wanted = {uid for roi in rois for uid in roi.contours.image_uids}
    found: SourceGrid | None = None
    if belonging.series_instance_uid and database is not None:
        try:
            files = [file for file in database.filesForSeries(belonging.series_instance_uid) if file]
            grids = sorted(series_grids(files, database), key=lambda one: -len(wanted.intersection(one.instance_uids)))
            found = grids[0] if grids else None
            if found is None:
                warnings.append("The images that it belongs to form no regular grid.")
        except DicomBridgeError as error:
            warnings.append(f"The images that it belongs to give no grid: {error}")
    if found is None:
        found = _grid_in_scene(scene, wanted)
    if found is None:
        return None
    geometry = _with_spacing(found, rois)
    geometry, shift, doubts = grown(geometry, [roi.contours for roi in rois])
    frames = found.frame_numbers or (0,) * len(found.instance_uids)
    sources = {
        place + shift: [(uid, frame)]
        for place, (uid, frame) in enumerate(zip(found.instance_uids, frames, strict=True))
        if uid
    }
    return Group(geometry, rois, sources, belonging.series_instance_uid, doubts)


def _grid_in_scene(scene: Any, wanted: set[str]) -> SourceGrid | None:
    """Return the grid of the volume in the scene that was made from most of some images."""
    if scene is None or not wanted:
        return None
    found = [(len(wanted & uids), volume) for uids, volume in volumes_by_instance(scene) if wanted & uids]
    if not found:
        return None
    _, volume = max(found, key=lambda pair: pair[0])
    of_slices = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    geometry = volume_geometry(volume)
    if len(of_slices) != geometry.spatial_shape[0]:
        of_slices = []
    return SourceGrid(geometry, tuple(of_slices), None, "", "")


def volumes_by_instance(scene: Any) -> list[tuple[set[str], Any]]:
    """Return the volume nodes of a scene that have voxels, each with the SOP Instance UIDs that it was made from."""
    volumes = nodes_in(scene, "vtkMRMLScalarVolumeNode")
    return [
        (set((volume.GetAttribute("DICOM.instanceUIDs") or "").split()), volume)
        for volume in volumes
        if volume.GetImageData() is not None
    ]


def _with_spacing(source: SourceGrid, rois: list[Roi]) -> VolumeGeometry | SlantedGrid:
    """Return the grid of images; of a single image, whose spacing nobody knows, with that of the contours."""
    geometry = source.geometry
    if geometry.spatial_shape[0] != 1:
        return geometry
    affine = np.array(geometry.affine, dtype=float)
    orientation = np.concatenate([affine[:3, 2], affine[:3, 1]])
    orientation /= np.repeat(np.linalg.norm(orientation.reshape(2, 3), axis=1), 3)
    normal = np.cross(orientation[:3], orientation[3:])
    heights = [_heights(roi.contours, normal) for roi in rois]
    distances = np.concatenate([[affine[:3, 3] @ normal], *heights])
    stack = stack_planes(np.outer(distances, normal), orientation.tolist())
    if stack.slices > 1 and stack.regular:
        affine[:3, 0] = normal * stack.spacing
    return grid_of_affine(affine, geometry.spatial_shape, geometry.frame_of_reference_uid)


def _heights(contours: Contours, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the closed contours lie along a normal."""
    points, starts = contours.chosen(contours.closed)
    distance = points @ normal
    low, high = np.minimum.reduceat(distance, starts[:-1]), np.maximum.reduceat(distance, starts[:-1])
    return np.asarray((low + high) / 2)[high - low < 1.0]


def grown(
    geometry: VolumeGeometry | SlantedGrid, contours: Sequence[Contours]
) -> tuple[VolumeGeometry | SlantedGrid, int, list[str]]:
    """Return a grid that also holds the contours beyond it, by how many slices the first one moved, and warnings."""
    affine = np.array(geometry.affine, dtype=float)
    shape = np.array([int(size) for size in geometry.spatial_shape])
    low, high = np.zeros(3), shape - 1.0
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    nearest, farthest = -FARTHEST_GROWTH_MM / spacing, shape - 1 + FARTHEST_GROWTH_MM / spacing
    for one in contours:
        points, starts = one.chosen(one.closed)
        if not len(points):
            continue
        places = grid_points(points, affine)
        boxes_low, boxes_high = np.minimum.reduceat(places, starts[:-1]), np.maximum.reduceat(places, starts[:-1])
        near = (boxes_low >= nearest).all(axis=1) & (boxes_high <= farthest).all(axis=1)
        near &= boxes_high[:, 0] - boxes_low[:, 0] <= 0.5
        if near.any():
            low = np.minimum(low, boxes_low[near].min(axis=0))
            high = np.maximum(high, boxes_high[near].max(axis=0))
    # From the first centre that is not above the contours to the last one that is above their lower edge.
    before = np.maximum(np.floor(-low + 1e-6), 0).astype(np.int64)
    after = np.maximum(np.ceil(high - shape - 1e-6), 0).astype(np.int64)
    before[0], after[0] = max(int(np.ceil(-low[0] - 0.5)), 0), max(int(np.ceil(high[0] - shape[0] + 0.5)), 0)
    if not (before.any() or after.any()):
        return geometry, 0, []
    new_shape = shape + before + after
    if np.prod(new_shape) > max(4 * int(np.prod(shape)), MOST_VOXELS):
        return (
            geometry,
            0,
            ["Contours lie so far outside the images that they have no pixels; they were kept as contours."],
        )
    affine[:3, 3] -= affine[:3, :3] @ before
    warning = "Contours reach beyond the images; the grid was grown beyond them, so that none is cut off."
    new = grid_of_affine(affine, new_shape.tolist(), geometry.frame_of_reference_uid)
    return new, int(before[0]), [warning]


# --- Grids of our own ----------------------------------------------------------------------------------------------


def area_vectors(points: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (m, 3) the normal of each polygon, as long as its area."""
    first = np.repeat(points[starts[:-1]], np.diff(starts), axis=0)
    arms = points - first
    crosses = np.cross(arms[:-1], arms[1:]) if len(arms) > 1 else np.zeros((0, 3))
    crosses = np.vstack([crosses, np.zeros((1, 3))])
    crosses[starts[1:] - 1] = 0.0
    return np.asarray(np.add.reduceat(crosses, starts[:-1], axis=0)) / 2


def _normal(contours: Contours) -> NDArray[np.float64]:
    """Return the normal of a region's largest contour, its largest part positive; that of the axial plane for none."""
    points, starts = contours.chosen(contours.closed)
    areas = area_vectors(points, starts)
    largest = areas[np.argmax(np.linalg.norm(areas, axis=1))]
    length = np.linalg.norm(largest)
    if not length > 0:
        return np.array([0.0, 0.0, 1.0])
    normal = largest / length
    return np.asarray(normal * np.sign(normal[np.argmax(np.abs(normal))]))


def _lies_across(contours: Contours, geometry: VolumeGeometry | SlantedGrid) -> bool:
    """Whether most contours of a region lie across the slices of a grid."""
    points, starts = contours.chosen(contours.closed)
    places = grid_points(points, np.asarray(geometry.affine, dtype=float))[:, 0]
    extent = np.maximum.reduceat(places, starts[:-1]) - np.minimum.reduceat(places, starts[:-1])
    return bool(np.count_nonzero(extent > 0.5) * 2 > len(extent))


def _by_normal(rois: Sequence[Roi]) -> list[list[Roi]]:
    """Return the regions by the direction of their planes."""
    found: list[tuple[NDArray[np.float64], list[Roi]]] = []
    for roi in rois:
        normal = _normal(roi.contours)
        group = next((members for other, members in found if abs(float(other @ normal)) > PARALLEL), None)
        if group is None:
            found.append((normal, [roi]))
        else:
            group.append(roi)
    return [members for _, members in found]


def _orientation(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return row and column cosines of planes: as those of images are, where the normal allows it."""
    if abs(normal[2]) > 1 - 1e-6:
        return np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    along = np.array([1.0, 0.0, 0.0]) if abs(normal[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    row = along - (along @ normal) * normal
    row /= np.linalg.norm(row)
    return np.concatenate([row, np.cross(normal, row)])


def own_grid(
    contours: Sequence[Contours], pixel_size_mm: float | None = None
) -> tuple[VolumeGeometry | SlantedGrid, list[str]]:
    """Return a grid that holds contours in parallel planes, and what is doubtful about it.

    Its slices are the planes of the contours; its pixels are as fine as their points lie, within bounds.
    """
    warnings: list[str] = []
    largest = max(contours, key=lambda one: len(one.points))
    orientation = _orientation(_normal(largest))
    row, column, normal = orientation[:3], orientation[3:], np.cross(orientation[:3], orientation[3:])
    distances = np.concatenate([_heights(one, normal) for one in contours])
    points = np.vstack([one.chosen(one.closed)[0] for one in contours])
    if not len(distances):  # they are in no plane at all
        distances = np.mean(points @ normal, keepdims=True)
    stack = stack_planes(np.outer(distances, normal), orientation.tolist())
    if stack.slices == 1:
        warnings.append("There are contours in one plane only, so that the thickness of the slice is a guess (1 mm).")
    spacing, slices = stack.spacing, stack.slices
    if not stack.regular or slices > MOST_SLICES:
        spacing, slices = _irregular(distances)
        warnings.append(
            f"The planes of the contours are at irregular distances; the grid has slices every {spacing:.3g} mm."
        )
    elif stack.missing:
        warnings.append(f"There are no contours on {len(stack.missing)} slices between the planes of the contours.")
    in_plane = np.stack([points @ column, points @ row], axis=1)
    low, high = in_plane.min(axis=0), in_plane.max(axis=0)
    pixel = pixel_size_mm or _pixel_size(in_plane)
    while (
        max((high - low) / pixel) > MOST_PIXELS - 3 or float(np.prod((high - low) / pixel + 3)) * slices > MOST_VOXELS
    ):
        pixel *= 2
    first = np.floor(low / pixel) - 1
    size = (np.ceil(high / pixel) + 1 - first + 1).astype(np.int64)
    origin = first[0] * pixel * column + first[1] * pixel * row + distances.min() * normal
    geometry = grid(
        origin, orientation.tolist(), (pixel, pixel), (normal * spacing).tolist(), (slices, int(size[0]), int(size[1]))
    )
    return geometry, warnings


def _irregular(distances: NDArray[np.float64]) -> tuple[float, int]:
    """Return spacing and number of slices that give every plane a slice of its own, as far as can be."""
    heights = np.unique(np.round(distances, 2))
    extent = float(heights[-1] - heights[0])
    spacing = max(float(np.diff(heights).min()), 0.1, extent / (MOST_SLICES - 2))
    return spacing, int(np.ceil(extent / spacing)) + 1


def _pixel_size(in_plane: NDArray[np.float64]) -> float:
    steps = np.linalg.norm(np.diff(in_plane, axis=0), axis=1)
    steps = steps[steps > 1e-3]
    return float(np.clip(np.median(steps), FINEST_MM, COARSEST_MM)) if len(steps) else COARSEST_MM


def _empty_group(content: StructureSet, database: Database | None, scene: Any) -> Group:
    """Return the group of a structure set that encloses nothing: on its images, or on a grid of one voxel."""
    belonging = _whole(content, database)
    group = _image_group(belonging, [], database, scene, content.warnings)
    if group is not None:
        return group
    points = [point for roi in content.rois for point in roi.contours.points[:1] if np.isfinite(point).all()]
    origin = points[0] if points else np.zeros(3)
    geometry = grid(origin.tolist(), [1, 0, 0, 0, 1, 0], (1.0, 1.0), (0.0, 0.0, 1.0), (1, 1, 1))
    return Group(geometry, [])
