"""Spatial Registration (PS3.3 A.39.1, C.20.2) as linear transforms, and back; what deformable ones share with it.

============== =================================================================
examine        what can be loaded
values         what registration objects say: matrices, grids, items
reading        header -> values
nodes          values -> transform nodes
participants   what in a scene lies in which frame of reference
loading        the load half, put together
applying       the registration graph: data under the transforms of their frames
attributes     names of attributes and reference roles of the nodes
leading        into which frame the transforms above a node lead
sides          between which frames a node leads, for an export
matrix_writing matrices, their types and codes as items
object_writing all of a new object but its registrations
exporting      the export half, put together
============== =================================================================
"""

from __future__ import annotations

from dicombridge.registration.examine import examine
from dicombridge.registration.exporting import export
from dicombridge.registration.loading import load

__all__ = ["examine", "export", "load"]
