"""What the tests of geometry share: loading a dataset and asking its nodes where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

import dicombridge
from support.seg_nodes import (
    assert_segment_is,
    image_of,
    lps_of_ijk,
    points_by_segment,
)
from support.seg_objects import (
    save,
)


def rotated(x: float, y: float, z: float) -> tuple[float, ...]:
    """Cosines of an axial plane after turning it about x, y, z (degrees)."""
    a, b, c = np.radians([x, y, z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return tuple((about_z @ about_y @ about_x)[:, :2].T.ravel())


def load(dataset: Dataset, folder: Path, database: Any = None) -> list[Any]:
    return dicombridge.load(save(dataset, folder / "seg.dcm"), scene=dicombridge.new_scene(), database=database)


def check(nodes: Sequence[Any], dataset: Dataset, tolerance: float = 1e-5) -> None:
    """All voxels of all segments are where the frames say."""
    for number, points in points_by_segment(dataset).items():
        assert_segment_is(nodes, number, points, tolerance)


def dimensions(node: Any) -> tuple[int, int, int]:
    return image_of(node.GetSegmentation().GetNthSegment(0)).GetDimensions()


def matrix(node: Any) -> NDArray[np.float64]:
    return lps_of_ijk(image_of(node.GetSegmentation().GetNthSegment(0)))


def steps(node: Any) -> list[float]:
    return np.linalg.norm(matrix(node)[:3, :3], axis=0).tolist()
