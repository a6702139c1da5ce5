"""Second-generation radiotherapy objects (PS3.3 A.86, A.64, A.65, ...) as tables.

========== ==================================================================
examine    what can be loaded
loading    files -> table nodes
summary    what a person asks first: intents, prescriptions, phases, energies, control points
radiations the radiations of a set, with what their own objects say
========== ==================================================================

Their geometry is not drawn. All that they hold is in the outline (:mod:`dicombridge.outline`).
"""

from __future__ import annotations

from dicombridge.second_generation_rt.examine import examine
from dicombridge.second_generation_rt.loading import load

__all__ = ["examine", "load"]
