"""Segmentation objects (SEG, PS3.3 A.51) as segmentation nodes, and back.

========== ==================================================================
examine    what can be loaded
reading    dataset -> plain values, put together
segments   segment items <-> plain values
planes     where the frames lie, and the grids that they form
tiles      the same for the tiles of a slide
selecting  reading some frames and passing over others
layers     which segments can share a label layer
labels     frames -> label layers or fractions (numpy)
nodes      segments and layers <-> ``vtkSegmentation``
loading    the load half, put together
arrays     node -> label arrays on a grid
preparing  node -> plain values: segments, grid, arrays, frames
frames     label arrays -> functional groups and pixels
header     the other attributes of a new object
exporting  the export half, put together
========== ==================================================================
"""

from __future__ import annotations

from dicombridge.segmentation.examine import examine
from dicombridge.segmentation.exporting import export
from dicombridge.segmentation.loading import load

__all__ = ["examine", "export", "load"]
