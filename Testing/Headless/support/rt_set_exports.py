"""Segmentations with holes, islands and corners on images, for the export of structure sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import dicombridge
from support.rt_structures import AXIAL, Images, write_images
from support.seg_exports import segmentation_node
from support.seg_nodes import lps_of_ijk, mask_of, segment_ids

SHAPE = (6, 48, 48)
OBLIQUE = (0.8137976813493738, 0.4698463103929542, -0.3420201433256687, -0.5, 0.8660254037844387, 0.0)

Masks = dict[str, NDArray[np.bool_]]


def disc(
    radius: float, centre: tuple[float, float] = (20.0, 24.0), shape: tuple[int, int] = SHAPE[1:]
) -> NDArray[np.bool_]:
    """Pixels, [row, column], whose centres are within a circle."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(rows - centre[0], columns - centre[1]) <= radius)


def shapes() -> Masks:
    """All that an outline can meet, in masks that share no pixel."""
    masks = {name: np.zeros(SHAPE, np.bool_) for name in ("Ring", "Island", "Edge", "Crumbs", "Plain")}
    masks["Ring"][1:5] = disc(15.3) & ~disc(9.2) & ~disc(2.1, (20, 11.5))
    masks["Island"][1:5] = (disc(6.4) & ~disc(3.1)) | disc(1.2)
    masks["Edge"][:, :3, :] = masks["Edge"][:, :, :2] = masks["Edge"][:, :4, 44:] = True
    crumbs = np.random.default_rng(7).random(SHAPE) < 0.5
    masks["Crumbs"][:, 37:, 2:] = crumbs[:, 37:, 2:]
    masks["Plain"][2:4, 6:9, 40:43] = True
    return masks


@dataclass
class Study:
    """Images, their database, and a segmentation on their grid."""

    images: Images
    database: Any
    scene: Any
    node: Any
    masks: Masks

    def export(self, folder: Path, nodes: Any = None, **options: Any) -> Path:
        """The one file of a structure set."""
        nodes = self.node if nodes is None else nodes
        (path,) = dicombridge.export(nodes, folder, kind="RTSTRUCT", database=self.database, **options)
        return path


def study(
    folder: Path,
    masks: Masks | None = None,
    orientation: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float] = (0.9765625, 0.75),
    load_volume: bool = True,
) -> Study:
    """Write images, load them, and make a segmentation of masks on them."""
    masks = shapes() if masks is None else masks
    shape = next(iter(masks.values())).shape
    images = write_images(folder / "images", shape, (-31.25, 12.3, -57.1), orientation, spacing, 2.5)
    database = dicombridge.open_folder(images.folder)
    scene = dicombridge.new_scene()
    volume = dicombridge.load(images.folder, scene=scene, database=database)[0] if load_volume else None
    node = segmentation_node(scene, masks, images.affine[:, [2, 1, 0, 3]], name="Mine")
    if volume is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    return Study(images, database, scene, node, masks)


def masks_of_node(node: Any, images: Images, shape: tuple[int, ...] = SHAPE) -> Masks:
    """Masks of the segments on the grid of images, by name; voxels elsewhere fail."""
    inverse = np.linalg.inv(images.affine[:, [2, 1, 0, 3]])
    masks: Masks = {}
    for segment_id in segment_ids(node):
        segment = node.GetSegmentation().GetSegment(segment_id)
        mask = np.zeros(shape, np.bool_)
        image = segment.GetRepresentation("Binary labelmap")
        if image is not None and image.GetNumberOfPoints():
            k, j, i = np.nonzero(mask_of(segment))
            extent = image.GetExtent()
            places = np.stack([i + extent[0], j + extent[2], k + extent[4], np.ones_like(i)])
            index = np.rint((inverse @ lps_of_ijk(image) @ places)[:3]).astype(int)
            mask[index[2], index[1], index[0]] = True
        masks[segment.GetName()] = mask
    return masks


def loaded(path: Path, one: Study) -> list[Any]:
    """The nodes of a structure set, in a scene of its own, which lives as long as the first of them."""
    return dicombridge.load(path, database=one.database)
