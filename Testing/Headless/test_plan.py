"""RT plans as tables, points and models: what they show, what examination says, what a scene file keeps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.items import item
from support.plan_nodes import by_part, loaded, only, row
from support.rt_ion_brachy_plans import REAL, passive_plan, scanned_plan
from support.rt_plans import (
    beam,
    electron_plan,
    plan_of,
    reference,
    two_isocentres_plan,
    vmat_plan,
    wedge_plan,
    written_plan,
)
from support.scenes import saved_and_read

import dicombridge
from dicombridge.tables import cell_text, column_values

# --- Tables --------------------------------------------------------------------------------------------------------


def test_the_beams_of_a_plan(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam(1, "AP"), beam(2, "PA", BeamDescription="from behind")])
    nodes = loaded(tmp_path, plan, scene)
    table = nodes["beams"]
    shown = row(table, 1)
    assert only(shown, "Beam number", "Name", "Description", "Radiation", "Machine", "Meterset", "Meterset unit") == {
        "Beam number": 2, "Name": "PA", "Description": "from behind", "Radiation": "PHOTON", "Machine": "Linac 1",
        "Meterset": 110.0, "Meterset unit": "MU",
    }  # fmt: skip
    assert only(shown, "Energy", "Dose", "Fractions", "Isocentre L", "Isocentre P", "Isocentre S") == {
        "Energy": 6.0, "Dose": 1.0, "Fractions": "25", "Isocentre L": 10.0, "Isocentre P": -20.0, "Isocentre S": 30.0,
    }  # fmt: skip
    assert (table.GetColumnUnitLabel("Dose"), table.GetColumnUnitLabel("Isocentre L")) == ("Gy", "mm")
    assert not table.GetLocked()
    assert nodes["controlPoints"].GetLocked(), "it shows what follows from the plan, and cannot be edited"


def test_what_the_plan_says_of_itself(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam()], PrescriptionDescription="2 Gy x 25")
    plan.ReferencedDoseSequence = [reference("1.2.840.10008.5.1.4.1.1.481.2")]
    main = loaded(tmp_path, plan, scene)["beams"]
    said = {name: main.GetAttribute(f"DICOM.{name}") for name in (
        "RTPlanLabel", "RTPlanName", "RTPlanDate", "PlanIntent", "ApprovalStatus", "RTPlanGeometry",
        "PrescriptionDescription", "ReferencedStructureSetUIDs", "ReferencedDoseUIDs",
    )}  # fmt: skip
    assert said == {
        "RTPlanLabel": "Plan A", "RTPlanName": "First course", "RTPlanDate": "20240103", "PlanIntent": "CURATIVE",
        "ApprovalStatus": "UNAPPROVED", "RTPlanGeometry": "PATIENT", "PrescriptionDescription": "2 Gy x 25",
        "ReferencedStructureSetUIDs": plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID,
        "ReferencedDoseUIDs": plan.ReferencedDoseSequence[0].ReferencedSOPInstanceUID,
    }  # fmt: skip


def test_control_points_inherit(tmp_path: Path, scene: Any) -> None:
    """What a control point leaves out is as at the one before; metersets are shares of the beam's."""
    plan = vmat_plan(arcs=2, points=5)
    table = loaded(tmp_path, plan, scene)["controlPoints"]
    assert column_values(table, "Beam number") == [1] * 5 + [2] * 5
    assert column_values(table, "Index") == [0, 1, 2, 3, 4] * 2
    np.testing.assert_allclose(column_values(table, "Cumulative meterset")[:5], [0, 25, 50, 75, 100])
    np.testing.assert_allclose(column_values(table, "Cumulative meterset")[5:], [0, 27.5, 55, 82.5, 110])
    assert column_values(table, "Energy") == [6.0] * 10
    assert column_values(table, "Isocentre (LPS)") == ["10 -20 30"] * 10
    assert column_values(table, "ASYMX") == ["-50 40"] * 10
    np.testing.assert_allclose(column_values(table, "Gantry angle")[:5], [181, 270.5, 0, 89.5, 179])
    assert column_values(table, "Gantry rotation")[:5] == ["CW"] * 4 + ["NONE"]
    third = plan.BeamSequence[0].ControlPointSequence[2].BeamLimitingDevicePositionSequence[0]
    assert column_values(table, "MLCX")[2] == " ".join(f"{float(value):g}" for value in third.LeafJawPositions)


def test_fractions_and_prescriptions(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, plan_of([beam(1, "AP"), beam(2, "PA")]), scene)
    assert only(row(nodes["fractionGroups"]), "Number", "Fractions planned", "Beams") == {
        "Number": 1, "Fractions planned": 25, "Beams": 2,
    }  # fmt: skip
    assert only(row(nodes["deliveries"], 1), "Fraction group", "Delivers", "Number", "Name", "Meterset", "Dose") == {
        "Fraction group": 1, "Delivers": "beam", "Number": 2, "Name": "PA", "Meterset": 110.0, "Dose": 1.0,
    }  # fmt: skip
    target, cord = row(nodes["prescriptions"], 0), row(nodes["prescriptions"], 1)
    assert only(target, "Description", "Type", "Prescription dose") == {
        "Description": "PTV", "Type": "TARGET", "Prescription dose": 50.0,
    }  # fmt: skip
    assert only(cord, "Organ at risk maximum dose", "Point (LPS)") == {
        "Organ at risk maximum dose": 45.25, "Point (LPS)": "1.5 20 -30",
    }  # fmt: skip
    assert math.isnan(cord["Prescription dose"])
    assert nodes["prescriptions"].GetColumnUnitLabel("Prescription dose") == "Gy"


def test_wedges_and_boli(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, wedge_plan(), scene)
    wedge, bolus = row(nodes["accessories"], 0), row(nodes["accessories"], 1)
    assert only(wedge, "Accessory", "Wedge ID", "Wedge type", "Wedge angle", "Wedge factor") == {
        "Accessory": "wedge", "Wedge ID": "W45", "Wedge type": "STANDARD", "Wedge angle": 45.0, "Wedge factor": 0.5,
    }  # fmt: skip
    assert "SourceToWedgeTrayDistance=580" in wedge["Others"]
    assert (bolus["Accessory"], bolus["Others"]) == ("bolus", "ReferencedROINumber=7; BolusID=B1")
    assert column_values(nodes["controlPoints"], "Wedges") == ["1=OUT", "1=IN", "1=IN"]
    assert row(nodes["beams"])["Accessories"] == "wedge W45; bolus B1"


def test_applicators_and_blocks(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, electron_plan(), scene)
    block, applicator = row(nodes["accessories"], 0), row(nodes["accessories"], 1)
    assert only(block, "Accessory", "Block name", "Block type", "Block thickness", "Material") == {
        "Accessory": "block", "Block name": "Cut-out", "Block type": "APERTURE", "Block thickness": 15.0,
        "Material": "Cerrobend",
    }  # fmt: skip
    assert only(applicator, "Applicator ID", "Applicator type", "Applicator opening") == {
        "Applicator ID": "A10", "Applicator type": "ELECTRON_SQUARE", "Applicator opening": 100.0,
    }  # fmt: skip
    assert row(nodes["beams"])["Radiation"] == "ELECTRON"


def test_scan_spots(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, scanned_plan(layers=2, spots=9), scene)
    spots = nodes["spots"]
    assert spots.GetNumberOfRows() == 4 * 9
    assert only(row(spots, 5), "Beam number", "Control point", "Energy", "x", "y", "Weight") == {
        "Beam number": 1, "Control point": 0, "Energy": 150.0, "x": 10.0, "y": 0.0, "Weight": 6.0,
    }  # fmt: skip
    assert column_values(spots, "Energy") == [150.0] * 18 + [145.0] * 18
    assert row(nodes["beams"])["Energies"] == "150 145"
    assert row(nodes["beams"])["Source to axis"] == "2000 2500"


def test_scan_spots_are_an_option(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, scanned_plan(), scene, scan_spots=False, beam_models=False)
    assert "spots" not in nodes
    assert "beamModels" not in nodes
    assert "isocentres" in nodes


def test_range_shifters_and_modulators(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, passive_plan(), scene)
    assert column_values(nodes["accessories"], "Accessory") == ["block", "snout", "range shifter", "range modulator"]
    assert row(nodes["accessories"], 2)["Range shifter ID"] == "RS40"
    assert row(nodes["accessories"], 3)["Range modulator type"] == "WHL_MODWEIGHTS"
    others = row(nodes["controlPoints"], 1)["Others"]
    assert "RangeShifterSetting IN" in others
    assert "RangeShifterWaterEquivalentThickness 40" in others
    assert row(nodes["controlPoints"])["Snout position"] == 300.0


# --- Points and hierarchy ------------------------------------------------------------------------------------------


def test_each_beam_has_its_isocentre(tmp_path: Path, scene: Any) -> None:
    points = loaded(tmp_path, two_isocentres_plan(), scene)["isocentres"]
    assert [points.GetNthControlPointLabel(number) for number in range(2)] == ["Neck", "Pelvis"]
    np.testing.assert_allclose(points.GetNthControlPointPosition(0), [0, 0, 0])
    np.testing.assert_allclose(points.GetNthControlPointPosition(1), [-5, 10, -250])  # RAS


def test_all_nodes_are_below_the_plan(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam(1, "AP"), beam(2, "PA")])
    nodes = loaded(tmp_path, plan, scene)
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    main = hierarchy.GetItemByDataNode(nodes["beams"])
    assert hierarchy.GetItemName(hierarchy.GetItemParent(main)).startswith("No study description")
    assert hierarchy.GetItemAttribute(main, "DICOM.Modality") == "RTPLAN"
    structure_set = plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID
    assert hierarchy.GetItemAttribute(main, "DICOM.ReferencedInstanceUIDs") == structure_set
    for part, node in nodes.items():
        for one in node if isinstance(node, list) else [node]:
            item_of_node = hierarchy.GetItemByDataNode(one)
            assert hierarchy.GetItemUID(item_of_node, "DICOM") == plan.SeriesInstanceUID
            assert hierarchy.GetItemUID(item_of_node, "DICOMInstanceUID") == plan.SOPInstanceUID
            if part == "beamModels":
                folder = hierarchy.GetItemParent(item_of_node)
                assert hierarchy.GetItemLevel(folder) == "Folder"
                assert hierarchy.GetItemParent(folder) == main
            elif part != "beams":
                assert hierarchy.GetItemParent(item_of_node) == main


def test_a_scene_file_keeps_all(tmp_path: Path, scene: Any) -> None:
    """Also names that a table file cannot hold: tabs, quotes, ampersands."""
    plan = two_isocentres_plan()
    plan.RTPlanLabel = 'A/B "x" & y'
    plan.BeamSequence[0].BeamName = 'a "b" & c'
    plan.BeamSequence[1].BeamName = "007"
    nodes = loaded(tmp_path, plan, scene)
    again = saved_and_read(scene, tmp_path)
    for part, node in nodes.items():
        for one in node if isinstance(node, list) else [node]:
            other = again.GetFirstNodeByName(one.GetName())
            assert other is not None, one.GetName()
            assert other.GetAttribute("DICOMBridge.PlanPart") == part
            if part == "beamModels":
                assert other.GetPolyData().GetNumberOfCells() == one.GetPolyData().GetNumberOfCells()
                assert other.GetPolyData().GetCellData().GetArray("part") is not None
            elif part == "isocentres":
                np.testing.assert_allclose(
                    other.GetNthControlPointPosition(1), one.GetNthControlPointPosition(1), atol=1e-6
                )
            else:
                assert other.GetNumberOfRows() == one.GetNumberOfRows()
                for name in row(one):
                    assert [str(value)[:6] for value in column_values(other, name)] == [
                        str(value)[:6] for value in column_values(one, name)
                    ], name
    assert row(nodes["beams"])["Name"] == "a 'b' & c"


def test_cells_hold_what_table_files_hold() -> None:
    assert cell_text('a\t"b"\nc') == "a 'b' c"


# --- Examination ---------------------------------------------------------------------------------------------------


def offered(folder: Path, dataset: Any) -> Any:
    written_plan(folder / "plan.dcm", dataset)
    database = dicombridge.open_folder(folder)
    (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "RTPLAN"]
    database.close()
    return loadable


def test_what_is_offered(tmp_path: Path) -> None:
    plan = plan_of([beam(1, "AP"), beam(2, "PA")])
    loadable = offered(tmp_path, plan)
    assert loadable.name == "5: Plan A"
    assert loadable.tooltip == "RT Plan as tables, points and models: 2 beams (AP, PA), 25 fractions"
    assert loadable.confidence == 0.99
    assert loadable.selected
    assert loadable.referencedInstanceUIDs == [plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID]
    assert loadable.warning == "The structure set that it was made on is not in the database."


def test_series_description_comes_first(tmp_path: Path) -> None:
    assert offered(tmp_path, plan_of([beam()], SeriesDescription="Boost")).name == "5: Boost"


def test_a_plan_without_images(tmp_path: Path) -> None:
    plan = plan_of([beam()], RTPlanGeometry="TREATMENT_DEVICE")
    del plan.ReferencedStructureSetSequence
    assert "made without images" in offered(tmp_path, plan).warning


def test_another_patient(tmp_path: Path, data: Path) -> None:
    """The structure set that a plan refers to may have another PatientID; both load, and it is said."""
    structure_set = pydicom.dcmread(data / "rt/pinnacle/RTSTRUCT.dcm")
    structure_set.save_as(tmp_path / "rtss.dcm")
    plan = plan_of([beam()])
    plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID = structure_set.SOPInstanceUID
    loadable = offered(tmp_path, plan)
    assert loadable.warning == f"Its structure set is of another patient: {structure_set.PatientID} instead of plan-1."
    assert structure_set.SOPInstanceUID in loadable.referencedInstanceUIDs


def test_several_plans_in_a_series(tmp_path: Path, scene: Any) -> None:
    one, other = plan_of([beam()]), plan_of([beam()], RTPlanLabel="Plan B", SeriesDescription="Plans")
    one.SeriesDescription = "Plans"
    other.SeriesInstanceUID, other.StudyInstanceUID = one.SeriesInstanceUID, one.StudyInstanceUID
    written_plan(tmp_path / "a.dcm", one)
    written_plan(tmp_path / "b.dcm", other)
    database = dicombridge.open_folder(tmp_path)
    names = sorted(loadable.name for loadable in dicombridge.examine(database))
    database.close()
    assert names == ["5: Plans [Plan A]", "5: Plans [Plan B]"]
    nodes = dicombridge.load(tmp_path, scene=scene)
    assert [node.GetAttribute("DICOMBridge.PlanPart") for node in nodes].count("beams") == 2


@pytest.mark.parametrize("file", REAL)
def test_every_real_plan_loads(file: str, data: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    dataset = pydicom.dcmread(data / file, force=True)
    nodes = by_part(dicombridge.load(data / file, scene=scene))
    beams = [*(dataset.get("BeamSequence") or ()), *(dataset.get("IonBeamSequence") or ())]
    channels = [one for setup in dataset.get("ApplicationSetupSequence") or () for one in setup.ChannelSequence]
    if beams:
        assert column_values(nodes["beams"], "Name") == [one.BeamName for one in beams]
        assert nodes["isocentres"].GetNumberOfControlPoints() == len(beams)
        assert len(nodes["beamModels"]) == len(beams)
    assert nodes["channels" if channels else "beams"].GetNumberOfRows() == len(channels or beams)
    assert caplog.text == "", "nothing is missing in these"


def test_slicerrt_is_not_needed(tmp_path: Path, scene: Any) -> None:
    loaded(tmp_path, plan_of([beam()]), scene)
    assert scene.GetNumberOfNodesByClass("vtkMRMLRTPlanNode") == 0


class FakeNode:
    """A node of SlicerRT, as far as it is written to."""

    ArbitraryPoint = 1

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self.beams: list[FakeNode] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("Set"):
            raise AttributeError(name)
        return lambda value: self.said.__setitem__(name.removeprefix("Set"), value)

    def AddBeam(self, node: FakeNode) -> None:
        self.beams.append(node)


class FakeScene:
    """A scene whose factory knows the classes of SlicerRT."""

    def IsNodeClassRegistered(self, _: str) -> bool:
        return True

    def GenerateUniqueName(self, name: str) -> str:
        return name

    def AddNewNodeByClass(self, node_class: str, name: str) -> FakeNode:
        node = FakeNode()
        node.said.update({"class": node_class, "Name": name})
        return node


def test_slicerrt_nodes_where_it_is_installed() -> None:
    """Two isocentres make two of its plan nodes, because it knows only one a plan."""
    from dicombridge.plan.reading import read_plan
    from dicombridge.plan.shapes import beam_shape
    from dicombridge.plan.slicerrt import add_slicerrt_plan

    plan = read_plan(two_isocentres_plan())
    shapes = [(place, one, beam_shape(one)) for place, one in enumerate(plan.beams)]
    nodes = add_slicerrt_plan(FakeScene(), "plan", plan, shapes)  # type: ignore[arg-type]
    assert [node.said["IsocenterPosition"] for node in nodes] == [[0, 0, 0], [-5, 10, -250]]
    (pelvis,) = nodes[1].beams
    assert pelvis.said == {
        "class": "vtkMRMLRTBeamNode", "Name": "Pelvis", "GantryAngle": 180.0, "CollimatorAngle": 0.0,
        "CouchAngle": 0.0, "X1Jaw": -50.0, "X2Jaw": 40.0, "Y1Jaw": -30.0, "Y2Jaw": 60.0, "SAD": 1000.0,
    }  # fmt: skip


def test_items_of_unknown_kinds_are_kept_aside(tmp_path: Path, scene: Any) -> None:
    """A plan of prescriptions alone, without beams: it loads, and says so."""
    plan = plan_of()
    plan.DoseReferenceSequence.append(item(DoseReferenceNumber=3, DoseReferenceType="TARGET"))
    nodes = loaded(tmp_path, plan, scene)
    assert nodes["beams"].GetNumberOfRows() == 0
    assert nodes["prescriptions"].GetNumberOfRows() == 3
    assert "isocentres" not in nodes
