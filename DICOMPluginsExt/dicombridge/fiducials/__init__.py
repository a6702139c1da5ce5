"""Spatial fiducials (FID, PS3.3 A.40 and C.21.2) as markups, and back.

========== ==================================================================
examine    what can be loaded
reading    dataset -> sets of fiducials, plain values
shapes     which points a shape has, and how it is drawn
kept       what a node keeps of its fiducials
nodes      sets -> markups
loading    the load half, put together
positions  where the points of markups lie, and in whose coordinates
contents   markups -> fiducials that can be written
items      fiducials -> items of the sequences
exporting  the export half, put together
========== ==================================================================
"""

from __future__ import annotations

from dicombridge.fiducials.examine import examine
from dicombridge.fiducials.exporting import export
from dicombridge.fiducials.loading import load

__all__ = ["examine", "export", "load"]
