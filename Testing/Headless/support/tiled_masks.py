"""What the tests of tiled segmentations share: masks of nodes and files, and what a validator says."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray

from support.seg_nodes import mask_of, segment_ids
from support.tiled_objects import (
    masks,
)

SHARED = ["seg_image_sm_control.dcm", "seg_image_sm_control_labelmap.dcm", "seg_image_sm_dots.dcm"]
KINDS = ["BINARY", "FRACTIONAL", "LABELMAP"]
ORGANIZATIONS = ["TILED_FULL", "TILED_SPARSE"]


def total_matrix(path: Path) -> NDArray[Any]:
    """(rows, columns, segments) as highdicom reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        segmentation = hd.seg.segread(path)
        numbers = list(segmentation.segment_numbers)
        return segmentation.get_total_pixel_matrix(segment_numbers=numbers, combine_segments=False)


def node_masks(node: Any) -> NDArray[np.bool_]:
    """(slices, rows, columns, segments) in the order of the segment numbers."""
    segmentation = node.GetSegmentation()
    ids = sorted(segment_ids(node), key=lambda one: int(one.split("_")[1]))
    return np.stack([mask_of(segmentation.GetSegment(one)) for one in ids], axis=-1)


def errors_of(path: Path) -> list[str]:
    program = shutil.which("dciodvfy", path=str(Path(sys.executable).parent)) or "dciodvfy"
    done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


def stored(kind: str, overlapping: bool = True) -> NDArray[Any]:
    """(rows, columns, 3) as highdicom takes it."""
    found = masks(overlapping=overlapping and kind != "LABELMAP")
    return found * np.float32(0.8) if kind == "FRACTIONAL" else found
