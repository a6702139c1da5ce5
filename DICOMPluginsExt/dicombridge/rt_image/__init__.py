"""RT images (portal images, DRRs, simulator films; PS3.3 A.17) as volumes of one slice, placed in the patient.

========== ==================================================================
examine    what can be loaded
placement  machine settings -> where the image plane lies in the patient
settings   datasets (image, frame, plan) -> machine settings
pixels     the frames of a file
loading    files -> volume nodes
========== ==================================================================
"""

from __future__ import annotations

from dicombridge.rt_image.examine import examine
from dicombridge.rt_image.loading import load

__all__ = ["examine", "load"]
