"""SlicerRT's own plan and beam nodes, in addition to ours, where SlicerRT is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dicombridge.geometry import lps_ras_points
from dicombridge.plan.shapes import BeamShape
from dicombridge.plan.values import Beam, Plan
from dicombridge.text import node_name

__all__ = ["add_slicerrt_plan"]

_PLAN, _BEAM, _ION_BEAM = "vtkMRMLRTPlanNode", "vtkMRMLRTBeamNode", "vtkMRMLRTIonBeamNode"


def add_slicerrt_plan(scene: Any, name: str, plan: Plan, shapes: Sequence[tuple[int, Beam, BeamShape]]) -> list[Any]:
    """Add a ``vtkMRMLRTPlanNode`` with a beam node for each beam, for the modules of SlicerRT.

    It has one isocentre for all beams and knows neither metersets nor energies nor fractions of its own; where the
    isocentres differ, each isocentre gets a plan node. Without SlicerRT nothing is added.

    Returns
    -------
    list of nodes
        The plan nodes.
    """
    if not all(scene.IsNodeClassRegistered(node_class) for node_class in (_PLAN, _BEAM, _ION_BEAM)):
        return []
    plans: dict[tuple[float, ...], Any] = {}
    for _, beam, shape in shapes:
        place = tuple(round(float(value), 3) for value in shape.isocentre)
        if place not in plans:
            suffix = f" ({len(plans) + 1})" if plans else ""
            node = scene.AddNewNodeByClass(_PLAN, scene.GenerateUniqueName(node_name(f"{name} - SlicerRT{suffix}")))
            node.SetIonPlanFlag(any(one.ion for one in plan.beams))
            node.SetIsocenterSpecification(node.ArbitraryPoint)
            (ras,) = lps_ras_points([shape.isocentre])
            node.SetIsocenterPosition(list(ras))
            plans[place] = node
        _add_beam(scene, plans[place], beam, shape)
    return list(plans.values())


def _add_beam(scene: Any, plan_node: Any, beam: Beam, shape: BeamShape) -> None:
    name = node_name(beam.name or f"Beam {beam.number}")
    node = scene.AddNewNodeByClass(_ION_BEAM if beam.ion else _BEAM, name)
    first = beam.control_points[0].settings
    for keyword, setter in (
        ("GantryAngle", node.SetGantryAngle),
        ("BeamLimitingDeviceAngle", node.SetCollimatorAngle),
        ("PatientSupportAngle", node.SetCouchAngle),
    ):
        value = first.get(keyword)
        if isinstance(value, float):
            setter(value)
    for value, setter in zip(
        shape.opening.jaws, (node.SetX1Jaw, node.SetX2Jaw, node.SetY1Jaw, node.SetY2Jaw), strict=True
    ):
        if value is not None:
            setter(value)
    if not beam.ion:
        node.SetSAD(float(((shape.source - shape.isocentre) ** 2).sum() ** 0.5))
    plan_node.AddBeam(node)
