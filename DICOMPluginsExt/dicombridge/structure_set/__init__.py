"""RT structure sets (RTSTRUCT, PS3.3 A.19) as segmentation nodes, and back.

========== ==================================================================
examine    what can be loaded
reading    dataset -> regions of interest, plain values
contours   ROI Contour items -> columns of numbers
decimals   decimal strings -> numbers
grids      which grid each region is filled on
regions    which slice a contour belongs to, and how contours combine
rasterize  polygons -> pixels: the fill rule
nodes      names of attributes, tags and roles that both halves use
markups    points and open contours as markups
kept       the original contours, and whether a region was edited
loading    the load half, put together
contents   nodes -> regions that can be written
outlines   labels of a slice -> loops along the edges of pixels
smoothing  loops -> the paths that are written
holes      keyholes
tracing    label arrays -> contours, slice by slice
drawn      markups -> contours
encoding   contours -> bytes
rois       descriptions of regions -> items
profiles   what planning systems insist on
header     the other attributes of a new object
exporting  the export half, put together
========== ==================================================================
"""

from __future__ import annotations

from dicombridge.structure_set.examine import examine
from dicombridge.structure_set.exporting import export
from dicombridge.structure_set.loading import load

__all__ = ["examine", "export", "load"]
