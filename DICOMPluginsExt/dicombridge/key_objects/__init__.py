"""Key object selections (KOS, PS3.3 A.35.4): images that somebody chose, and why.

========= ======================================================
examine   what can be loaded; loading is that of reports
titles    what a selection is called, and why
slices    slices of volumes and points in them -> instances
selecting nodes and options -> what is selected
exporting the export half, put together
========= ======================================================
"""

from __future__ import annotations

from dicombridge.key_objects.examine import examine
from dicombridge.key_objects.exporting import export
from dicombridge.report.loading import load

__all__ = ["examine", "export", "load"]
