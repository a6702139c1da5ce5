"""From which images each slice of a node was made, kept on the node so that it comes back on export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from highdicom import VolumeGeometry
    from numpy.typing import NDArray

    from dicombridge.geometry import SlantedGrid

__all__ = ["SOURCES_ATTRIBUTE", "remembered_grid", "remembered_sources", "sources_text"]

SOURCES_ATTRIBUTE = "DICOMBridge.SourceInstances"
"""Node attribute that holds what :func:`sources_text` returns."""


def sources_text(by_slice: Mapping[int, Sequence[tuple[str, int]]], grid: VolumeGeometry | SlantedGrid) -> str:
    """Return the source instances of each slice of a grid as JSON; each UID is written once."""
    uids = list(dict.fromkeys(uid for pairs in by_slice.values() for uid, _ in pairs))
    index = {uid: number for number, uid in enumerate(uids)}
    slices = {str(place): [[index[uid], frame] for uid, frame in pairs] for place, pairs in by_slice.items()}
    affine = np.asarray(grid.affine, dtype=float)[:3].ravel().tolist()
    return json.dumps({"uids": uids, "slices": slices, "affine": affine}, separators=(",", ":"))


def remembered_sources(node: Any) -> dict[int, list[tuple[str, int]]]:
    """Return what :func:`sources_text` kept on a node: (SOP Instance UID, frame number or 0) by slice."""
    try:
        kept = json.loads(node.GetAttribute(SOURCES_ATTRIBUTE) or "null")
        uids = kept["uids"]
        return {int(place): [(uids[at], frame) for at, frame in pairs] for place, pairs in kept["slices"].items()}
    except (ValueError, TypeError, KeyError, IndexError):  # nothing kept, or edited by somebody
        return {}


def remembered_grid(node: Any) -> NDArray[np.float64] | None:
    """Return the 4x4 matrix, (slice, row, column, 1) to LPS mm, of the slices of :func:`remembered_sources`."""
    try:
        kept = json.loads(node.GetAttribute(SOURCES_ATTRIBUTE) or "null")
        rows = np.array(kept["affine"], dtype=float).reshape(3, 4)
    except (ValueError, TypeError, KeyError):
        return None
    return np.vstack([rows, [0.0, 0.0, 0.0, 1.0]]) if np.isfinite(rows).all() else None
