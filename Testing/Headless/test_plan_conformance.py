"""RT plans do what every kind must do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from conformance import Example, KindConformance
from support.rt_ion_brachy_plans import PLANS
from support.rt_plans import vmat_plan, written_plan

from dicombridge.tables import column_values

# What the real plans have against the standard, and keep: their own values are not corrected.
MADE_UP_UIDS = r"Illegal root for UID|Invalid use of NEMA organization root"
NO_SCAN_MODE_TYPE = r"ModulatedScanModeType.*Missing attribute"
TOPAS = NO_SCAN_MODE_TYPE + (
    r"|DateOfLastCalibration|PatientBirthDate|PatientIdentityRemoved|PatientSex|ReferencedStructureSetSequence"
)
PINNACLE = (
    r"ApplicationSetupSequence|BrachyTreatmentTechnique|ReferencedBrachyApplicationSetup|SourceSequence"
    r"|TreatmentMachineSequence"
)


def made(name: str) -> Any:
    return lambda folder: written_plan(folder / "plan.dcm", PLANS[name]())


def plain(value: Any) -> Any:
    """A cell; what is no number is None, because a NaN is not equal to itself."""
    return None if isinstance(value, float) and math.isnan(value) else value


def table_values(node: Any) -> dict[str, list[Any]]:
    names = [node.GetColumnName(number) for number in range(node.GetNumberOfColumns())]
    return {name: [plain(value) for value in column_values(node, name) or ()] for name in names}


def point_values(node: Any) -> dict[str, Any]:
    count = range(node.GetNumberOfControlPoints())
    return {
        "labels": [node.GetNthControlPointLabel(number) for number in count],
        "descriptions": [node.GetNthControlPointDescription(number) for number in count],
        "places": np.array([node.GetNthControlPointPositionWorld(number) for number in count]),
    }


def model_values(node: Any) -> dict[str, Any]:
    data = node.GetPolyData()
    names = [name for name in node.GetAttributeNames() if name.startswith("DicomRtImport.")]
    return {
        "points": np.array([data.GetPoint(number) for number in range(data.GetNumberOfPoints())]),
        "parts": [data.GetCellData().GetArray("part").GetValue(n) for n in range(data.GetNumberOfCells())],
        "attributes": {name: node.GetAttribute(name) for name in names},
    }


class TestPlan(KindConformance):
    kind = "RTPLAN"
    sizes = (40, 80)
    examples: ClassVar[tuple[Example, ...]] = (
        Example("photons", "rt/plans/rtplan.dcm", damages="tfae", flips=100, faults=MADE_UP_UIDS),
        Example("photons-no-meta", "rt/plans/rtplan_monaco_06mv_nometa.dcm", damages="tf", flips=30,
                faults=MADE_UP_UIDS),
        Example("brachy", "rt/plans/rtplan_oncentra_brachy_hdr.dcm", damages="tf", flips=30),
        Example("ions-blocks", "rt/plans/rtionplan_topas_demo.dcm", damages="tfa", flips=60, faults=TOPAS),
        Example("photons-dynamic", "rt/eclipse_breast/rtplan.dcm", damages="f", flips=15),
        Example("ions-one-energy", "rt/eclipse_proton/rtionplan_mono_implicit.dcm", damages="f", flips=30,
                faults=NO_SCAN_MODE_TYPE),
        Example("ions-scanned", "rt/raystation_proton/rtionplan_ramp_full.dcm", faults=NO_SCAN_MODE_TYPE),
        Example("photons-and-brachy-dose", "rt/pinnacle/RTPLAN.dcm", damages="f", flips=15, faults=PINNACLE),
        *(Example(f"made-{name.replace(' ', '-')}", make=made(name)) for name in PLANS),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        found: dict[str, Any] = {}
        for node in nodes:
            if node.IsA("vtkMRMLTableNode"):
                found[node.GetAttribute("DICOMBridge.PlanPart")] = table_values(node)
            elif node.IsA("vtkMRMLMarkupsFiducialNode"):
                found[node.GetName().rpartition(" - ")[2]] = point_values(node)
            else:
                found[node.GetName().rpartition(" - ")[2]] = model_values(node)
        return found

    def write_large(self, folder: Path, size: int) -> object:
        return written_plan(folder / "large.dcm", vmat_plan(arcs=1, points=size))
