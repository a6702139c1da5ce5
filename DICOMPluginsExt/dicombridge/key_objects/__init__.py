"""Key object selections (KOS, PS3.3 A.35.4): images that somebody chose, and why."""

from __future__ import annotations

from dicombridge.key_objects.examine import examine
from dicombridge.report.loading import load

__all__ = ["examine", "load"]
