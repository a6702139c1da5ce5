"""Pictures of MRML nodes, for people who have no Slicer window at hand.

:func:`render` cuts volumes and segmentations along planes, draws their surfaces, and writes one PNG. It needs no
display: surfaces are rendered off-screen by VTK, everything else is numpy and Pillow.

=========== ==============================================
subject     nodes -> what is to be seen, as plain values
strokes     lines, curves, angles and boxes of markups
slices      a plane through it, as pixels
annotations markups and their labels upon a plane
surfaces    its closed surfaces, as pixels
page        panels, letters and legend on one page
=========== ==============================================
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dicombridge.errors import DicomBridgeError
from dicombridge.preview.subject import VIEWS, default_views, label_layers, most_telling, subject_of_nodes

__all__ = ["VIEWS", "default_views", "label_layers", "most_telling", "render", "subject_of_nodes"]


def render(
    nodes: Iterable[Any] | Any,
    path: str | Path,
    *,
    views: Sequence[str] | None = None,
    title: str | None = None,
    width: int = 1200,
) -> Path:
    """Write one PNG of up to four panels that shows the nodes together.

    Parameters
    ----------
    nodes
        ``vtkMRMLSegmentationNode``, ``vtkMRMLScalarVolumeNode``, ``vtkMRMLMarkupsNode`` and ``vtkMRMLModelNode``. A
        volume of a quantity (probability, dose, uptake, a parametric map) becomes a heat overlay on another volume.
        Without a volume, the source volume of the first segmentation is taken where the scene has it.
    path
        The PNG; it appears complete or not at all.
    views
        Panels in reading order, out of :data:`VIEWS`; chosen by the nodes where it is None.
    title
        Text at the top; the nodes' names where it is None.
    width
        Pixels.

    Returns
    -------
    Path
        The file.
    """
    from dicombridge.preview.page import compose

    subject = subject_of_nodes(nodes)
    if title is not None:
        subject.title = title
    chosen = tuple(views) if views is not None else default_views(subject)
    unknown = [view for view in chosen if view not in VIEWS]
    if unknown or not 1 <= len(chosen) <= 4:
        raise DicomBridgeError(f"A preview has 1 to 4 views out of {', '.join(VIEWS)}, not {', '.join(chosen)!r}.")
    if not subject.has_planes and set(chosen) != {"3d"}:
        raise DicomBridgeError("Models and markups alone are drawn in 3D; there is no volume that a plane could cut.")
    picture = compose(subject, chosen, width)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        picture.save(temporary, format="PNG", compress_level=6)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target
