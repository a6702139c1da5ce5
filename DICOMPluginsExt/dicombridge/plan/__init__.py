"""RT plans (RTPLAN, PS3.3 A.20; RT Ion Plan, A.49) as tables, points and models, and back.

========== ==================================================================
examine    what can be loaded
values     a plan as plain values
items      items of a dataset, read with tolerance
beams      beams and their control points: dataset -> values
brachy     channels and dwell positions: dataset -> values
reading    the values half, put together
iec        rotations from the beam limiting device to the patient
apertures  the opening of jaws and leaves
shapes     a beam as lines in space
sheets     how tables are made, and which cells can be edited
contents   which tables a plan becomes
models     lines -> model nodes
nodes      values -> nodes
slicerrt   SlicerRT's own nodes, where it is installed
kept       the source dataset on the main node
loading    the load half, put together
edits      what a person changed in the nodes
exporting  the export half, put together
========== ==================================================================
"""

from __future__ import annotations

from dicombridge.plan.examine import examine
from dicombridge.plan.exporting import export
from dicombridge.plan.loading import load

__all__ = ["examine", "export", "load"]
