"""What joins :mod:`dicombridge` to the DICOM module of Slicer: the only code of the plugins that knows the application.

Slicer pays for imports when it starts, so nothing is imported here.
"""

from __future__ import annotations
