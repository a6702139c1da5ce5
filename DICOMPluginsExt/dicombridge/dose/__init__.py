"""RT Dose (PS3.3 A.18.3) as scalar volumes in units of dose, and back.

============ =================================================================
examine      what can be loaded
values       single values of a header, read tolerantly
collecting   which files are one dose
surroundings the images that it lies on
planes       where the planes lie, and the grids that they form
reading      file -> grids of doses
dvh          dose-volume histograms -> plain values
nodes        grids -> volume nodes
histograms   histograms -> table and plot nodes
loading      the load half, put together
scaling      doses -> stored integers
describing   the attributes of a new object
exporting    the export half, put together
============ =================================================================
"""

from __future__ import annotations

from dicombridge.dose.examine import examine
from dicombridge.dose.exporting import export
from dicombridge.dose.loading import load

__all__ = ["examine", "export", "load"]
