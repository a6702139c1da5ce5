"""RT treatment records (PS3.3 A.29, A.30, A.31, A.53) as tables.

========== ==================================================================
examine    what can be loaded
loading    files -> table nodes
session    what all records have: session, machine, references, dose references
beams      beams and control points of photon, electron and ion sessions
brachy     sources, application setups, channels, dwell times
summary    fraction groups, fractions, cumulative doses of a whole course
========== ==================================================================
"""

from __future__ import annotations

from dicombridge.treatment_record.examine import examine
from dicombridge.treatment_record.loading import load

__all__ = ["examine", "load"]
