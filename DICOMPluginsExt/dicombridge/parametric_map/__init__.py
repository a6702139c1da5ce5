"""Parametric map objects (PM, PS3.3 A.75) as volume nodes and sequences of them, and back.

============ ================================================================
examine      what can be loaded
reading      dataset -> plain values, put together
groups       functional groups of single frames, as they are encoded
mappings     what the stored values of each frame mean
maps         which frames make a map: quantities, channels, time points
descriptions how a map was derived, and how it is to be shown
voxels       frames -> arrays of real world values
nodes        maps -> volumes and sequences, and what these keep
loading      the load half, put together
preparing    nodes -> plain values: voxels, grid, mappings, sources
values       voxels -> stored values and their mappings
frames       voxels -> functional groups and pixels
header       the other attributes of a new object
exporting    the export half, put together
============ ================================================================
"""

from __future__ import annotations

from dicombridge.parametric_map.examine import examine
from dicombridge.parametric_map.exporting import export
from dicombridge.parametric_map.loading import load

__all__ = ["examine", "export", "load"]
