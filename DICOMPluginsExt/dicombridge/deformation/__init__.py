"""Deformable Spatial Registration (PS3.3 A.39.2, C.20.3) as grid and composite transforms, and back.

========= ===========================================================
examine   what can be loaded
reading   file -> values, and vectors to where they are used
nodes     values -> transform nodes: matrix, grid and matrix in one
undefined which vectors are undefined
loading   the load half, put together
sampling  transforms -> matrix, grid of vectors, matrix
regions   where a transform is sampled
exporting the export half, put together
========= ===========================================================

What it shares with rigid ones is in :mod:`dicombridge.registration`.
"""

from __future__ import annotations

from dicombridge.deformation.examine import examine
from dicombridge.deformation.exporting import export
from dicombridge.deformation.loading import load

__all__ = ["examine", "export", "load"]
