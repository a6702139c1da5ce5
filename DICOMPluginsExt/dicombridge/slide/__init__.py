"""Slides: whole slide images (SM, PS3.3 A.32.8), microscopic images, photographs and endoscopic images as volumes.

============== ==============================================================
examine        what can be loaded
pixel_matrix   where the pixels of a slide lie
levels         headers -> levels, plain values
choice         which level, which part of it, whether it fits into the memory
names          what each is called
tiling         which frame is which tile
frames         where the bytes of each frame lie
decoding       bytes of a frame -> pixels
tiles          a rectangle of a level -> an array
profile        colours by the ICC profile
volume         pixels -> a volume node
loading        the load half, put together
refining       a finer image of what a markup encloses
============== ==============================================================
"""

from __future__ import annotations

from dicombridge.slide.examine import examine
from dicombridge.slide.loading import load
from dicombridge.slide.refining import refine

__all__ = ["examine", "load", "refine"]
