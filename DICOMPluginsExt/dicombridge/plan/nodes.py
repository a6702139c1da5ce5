"""Values of a plan -> nodes: tables, points, models, and how they belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dicombridge.geometry import lps_ras_points, plausible
from dicombridge.hierarchy import add_series
from dicombridge.plan.models import add_beam_model, colour_of
from dicombridge.plan.shapes import BeamShape
from dicombridge.plan.sheets import Sheet
from dicombridge.plan.values import Beam, Plan
from dicombridge.tables import add_table, cell_text
from dicombridge.text import node_name, plain_text

__all__ = [
    "BEAMS_ATTRIBUTE",
    "DWELLS",
    "ISOCENTRES",
    "PART_ATTRIBUTE",
    "PLAN_ROLE",
    "PlanNodes",
    "isocentre_label",
    "parts_of",
]

PLAN_ROLE = "DICOMBridge.Plan"
"""Node reference of every other node of a plan to its main table."""
PART_ATTRIBUTE = "DICOMBridge.PlanPart"
"""What a node is in its plan: the key of a sheet, or one of the three below."""
ISOCENTRES, DWELLS, MODELS = "isocentres", "dwellPoints", "beamModels"
BEAMS_ATTRIBUTE = "DICOMBridge.IsocentreBeams"
"""For the isocentres: ID of a control point, a colon, and the place (from 0) of its beam; separated by spaces."""

# Attributes of the main table: name -> DICOM keyword.
_SUMMARY = {
    "DICOM.RTPlanLabel": "RTPlanLabel",
    "DICOM.RTPlanName": "RTPlanName",
    "DICOM.RTPlanDescription": "RTPlanDescription",
    "DICOM.RTPlanDate": "RTPlanDate",
    "DICOM.RTPlanTime": "RTPlanTime",
    "DICOM.RTPlanGeometry": "RTPlanGeometry",
    "DICOM.PlanIntent": "PlanIntent",
    "DICOM.TreatmentProtocols": "TreatmentProtocols",
    "DICOM.TreatmentSites": "TreatmentSites",
    "DICOM.PrescriptionDescription": "PrescriptionDescription",
    "DICOM.ApprovalStatus": "ApprovalStatus",
    "DICOM.ReviewDate": "ReviewDate",
    "DICOM.ReviewTime": "ReviewTime",
    "DICOM.ReviewerName": "ReviewerName",
    "DICOM.BrachyTreatmentType": "BrachyTreatmentType",
    "DICOM.BrachyTreatmentTechnique": "BrachyTreatmentTechnique",
}


def _role_of(part: str) -> str:
    """Return the node reference role of the main table to what else belongs to a plan."""
    return f"{PART_ATTRIBUTE}.{part}"


def parts_of(main: Any) -> dict[str, Any]:
    """Return the nodes of a plan by what they are, the models left out; those that were removed are not in it."""
    scene = main.GetScene()
    roles: list[str] = []
    main.GetNodeReferenceRoles(roles)
    found = {main.GetAttribute(PART_ATTRIBUTE): main}
    for role in roles:
        part, uid = role.removeprefix(_role_of("")), main.GetNodeReferenceID(role)
        node = scene.GetNodeByID(uid) if scene is not None and uid and part not in (role, MODELS) else None
        if node is not None:
            found[part] = node
    return found


def isocentre_label(beam: Beam) -> str:
    """Return how the point of a beam's isocentre is named."""
    return plain_text(beam.name) or f"Beam {'?' if beam.number is None else beam.number}"


class PlanNodes:
    """The nodes of one plan, added one after the other within a transaction.

    Parameters
    ----------
    name
        Of the main table; the others are named after it.
    attributes
        As :func:`dicombridge.hierarchy.add_series` wants them.
    """

    def __init__(self, scene: Any, name: str, attributes: Mapping[str, Any]) -> None:
        self.scene, self.name, self.attributes = scene, name, attributes
        self.nodes: list[Any] = []
        self.item = 0
        self._folder = 0

    @property
    def main(self) -> Any:
        """The main table."""
        return self.nodes[0]

    def add_sheet(self, sheet: Sheet) -> Any:
        """Add a table; the first one is the main one."""
        name = self.name if not self.nodes else f"{self.name} - {sheet.title}"
        table = add_table(self.scene, name, sheet.columns)
        table.SetLocked(not sheet.editable)
        self._enter(table, sheet.key)
        return table

    def describe(self, plan: Plan, header_text: str) -> None:
        """Put onto the main table what the plan says of itself."""
        from dicombridge.plan.kept import keep

        for attribute, keyword in _SUMMARY.items():
            value = plan.settings.get(keyword)
            if value is not None:
                self.main.SetAttribute(attribute, plain_text(value))
        for attribute, uids in (
            ("DICOM.ReferencedStructureSetUIDs", plan.structure_sets),
            ("DICOM.ReferencedDoseUIDs", plan.doses),
            ("DICOM.ReferencedPlanUIDs", plan.plans),
        ):
            if uids:
                self.main.SetAttribute(attribute, " ".join(uids))
        keep(self.main, header_text)

    def add_isocentres(self, beams: Sequence[Beam]) -> Any | None:
        """Add the isocentres, one point a beam, also where several beams share a place."""
        placed = [(place, beam) for place, beam in enumerate(beams) if beam.isocentre and plausible(beam.isocentre)]
        if not placed:
            return None
        node = self._points("isocentres")
        of_beams = []
        for place, beam in placed:
            (ras,) = lps_ras_points([beam.isocentre])
            index = node.AddControlPoint(list(ras), isocentre_label(beam))
            node.SetNthControlPointDescription(index, f"Isocentre of beam {beam.number}")
            of_beams.append(f"{node.GetNthControlPointID(index)}:{place}")
        node.SetAttribute(BEAMS_ATTRIBUTE, " ".join(of_beams))
        self._enter(node, ISOCENTRES)
        return node

    def add_dwells(self, plan: Plan) -> Any | None:
        """Add the dwell positions of all channels as points; their times stand in the descriptions."""
        node = None
        for channel in plan.channels:
            for number, dwell in enumerate(channel.dwells, start=1):
                if dwell.position is None or not plausible(dwell.position):
                    continue
                node = node or self._points("dwell points")
                (ras,) = lps_ras_points([dwell.position])
                index = node.AddControlPoint(list(ras), f"{channel.label}-{number}")
                time = "" if dwell.seconds is None else f", {dwell.seconds:.6g} s"
                text = f"Channel {channel.number} of setup {channel.setup_number}, position {number}{time}"
                node.SetNthControlPointDescription(index, text)
        if node is not None:
            node.SetLocked(True)
            self._enter(node, DWELLS)
        return node

    def add_models(self, shapes: Sequence[tuple[int, Beam, BeamShape]]) -> None:
        """Add a model for each shape, in a folder of their own."""
        for place, beam, shape in shapes:
            model = add_beam_model(self.scene, f"{self.name} - {isocentre_label(beam)}", beam, shape, place)
            self._enter(model, MODELS)

    def _points(self, title: str) -> Any:
        """Add a node for points; those of one plan are coloured alike."""
        import slicer

        node = slicer.vtkMRMLMarkupsFiducialNode()
        node.SetName(self.scene.GenerateUniqueName(node_name(f"{self.name} - {title}")))
        self.scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        if display is not None:
            display.SetSelectedColor(*colour_of(0))
        return node

    def _enter(self, node: Any, part: str) -> None:
        """Put a node into the plan: reference, attributes, and a place in the subject hierarchy."""
        import slicer

        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        node.SetAttribute("DICOM.instanceUIDs", " ".join(self.attributes.get("SOPInstanceUIDs") or ()))
        node.SetAttribute(PART_ATTRIBUTE, part)
        self.nodes.append(node)
        if node is self.main:
            self.item = add_series(self.scene, node, self.attributes)
            return
        parent = self.item
        if part == MODELS:
            self._folder = self._folder or hierarchy.CreateFolderItem(self.item, cell_text(f"{self.name} - beams"))
            parent = self._folder
        item = hierarchy.CreateItem(parent, node)
        for name, uid in (("DICOM", "SeriesInstanceUID"), ("DICOMInstanceUID", "SOPInstanceUIDs")):
            value = self.attributes.get(uid) or ""
            text = value if isinstance(value, str) else " ".join(value)
            if text:
                hierarchy.SetItemUID(item, name, text)
        self.main.AddNodeReferenceID(_role_of(part), node.GetID())
        node.SetNodeReferenceID(PLAN_ROLE, self.main.GetID())
