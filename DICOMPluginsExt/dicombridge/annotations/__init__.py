"""Microscopy Bulk Simple Annotations (ANN, PS3.3 A.86, C.37.1) as models and markups, and back.

===========  ==================================================================
examine      what can be loaded
groups       what an annotation group says: plain values, the middle
arrays       bytes -> coordinates, index lists, measured values
reading      the file -> groups
placement    pixels of a slide image -> mm on the slide, and back
outlines     shapes -> lines that can be drawn, and back
kept         what a node keeps of its group
polydata     arrays <-> cells
nodes        groups -> models, or markups where they are few
loading      the load half, put together
drawn        nodes -> shapes
contents     shapes -> groups that can be written
slides       the slide image that annotations are written for
items        groups as items of the sequence
exporting    the export half, put together
===========  ==================================================================
"""

from __future__ import annotations

from dicombridge.annotations.examine import examine
from dicombridge.annotations.exporting import export
from dicombridge.annotations.loading import load

__all__ = ["examine", "export", "load"]
