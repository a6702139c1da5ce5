"""Real world values: mapping objects (RWVM, PS3.3 A.46), mappings inside images, and SUV, as volumes; and back.

======== ======================================================================
examine  what can be loaded
readings dataset -> which mapping holds for which image or frame
uptake   PET series -> mapping to SUV (the arithmetic is in ``dicombridge.suv``)
mapped   series and mappings -> voxels, windows, warnings
nodes    mapped series -> volume node
loading  the load half, put together
fitting  volume and stored values -> slope and intercept of each slice
exporting the export half, put together
======== ======================================================================
"""

from __future__ import annotations

from dicombridge.real_world_value.examine import examine
from dicombridge.real_world_value.exporting import export
from dicombridge.real_world_value.loading import load, load_images

__all__ = ["examine", "export", "load", "load_images"]
