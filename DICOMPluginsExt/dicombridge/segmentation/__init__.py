"""Segmentation objects (SEG, PS3.3 A.51) as segmentation nodes, and back.

========== =============================================================
reading    dataset -> plain values: segments, planes, frames
labels     frames -> label layers or fractions (numpy)
nodes      segments and layers <-> ``vtkSegmentation``
loading    the load half, put together
arrays     segmentation node -> label arrays on a target grid
writing    plain values -> file
exporting  the export half, put together
========== =============================================================
"""

from __future__ import annotations

from dicombridge.segmentation.examine import examine
from dicombridge.segmentation.loading import load

__all__ = ["examine", "load"]
