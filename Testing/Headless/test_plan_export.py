"""RT plans written again: unchanged they are equal, edited they differ in what was edited and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from support.items import item
from support.peers import run, tool
from support.plan_nodes import loaded, set_cell
from support.rt_ion_brachy_plans import PLANS, REAL, brachy_plan, scanned_plan
from support.rt_plans import beam, control_points, first_settings, plan_of, two_isocentres_plan, vmat_plan
from support.scenes import saved_and_read

import dicombridge
from dicombridge.errors import ExportError

RENEWED = {
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "InstanceCreationDate",
    "InstanceCreationTime",
    "InstanceCreatorUID",
    "SeriesDate",
    "SeriesTime",
}
RECORDED = {"RTPlanDate", "RTPlanTime", "ReferencedRTPlanSequence", "ContributingEquipmentSequence"}
"""What an edit entails: when, from which plan, by what."""


def elements(dataset: Any, path: str = "") -> dict[str, Any]:
    """Every element by its path, with its VR and its value as it is encoded."""
    found: dict[str, Any] = {}
    for tag in sorted(dataset.keys()):
        element = dataset[tag]
        name = path + (element.keyword or str(tag))
        if element.VR == "SQ":
            found[name] = ("SQ", len(element.value))
            for number, one in enumerate(element.value):
                found.update(elements(one, f"{name}[{number}]."))
        else:
            value = element.value if element.VR == "PN" else getattr(element.value, "original_string", element.value)
            found[name] = (element.VR, str(value))
    return found


def read(path: Path) -> Any:
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset = pydicom.dcmread(path, force=True)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    return dataset


def differences(one: Any, other: Any) -> set[str]:
    before, after = elements(one), elements(other)
    found = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return {name for name in found if name.partition("[")[0] not in RENEWED | RECORDED}


def exported(nodes: Any, folder: Path, **options: Any) -> Any:
    (path,) = dicombridge.export(nodes, folder, kind="RTPLAN", **options)
    return read(path)


# --- Unchanged -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", REAL)
def test_a_real_plan_comes_back_unchanged(file: str, data: Path, tmp_path: Path) -> None:
    """Private elements, odd values, encodings: element by element, in the transfer syntax that it had."""
    nodes = dicombridge.load(data / file)
    source, written = read(data / file), exported(nodes, tmp_path)
    before, after = elements(source), elements(written)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed <= RENEWED
    assert written.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID
    assert written.SOPInstanceUID != source.SOPInstanceUID
    assert written.SeriesInstanceUID != source.SeriesInstanceUID


@pytest.mark.parametrize("name", PLANS)
def test_a_scene_file_keeps_the_plan(name: str, tmp_path: Path, scene: Any) -> None:
    """Tables in files have six digits, and numbers where text looks like one; neither is an edit."""
    plan = PLANS[name]()
    nodes = loaded(tmp_path, plan, scene)
    main = nodes.get("beams") or nodes["channels"]
    again = saved_and_read(scene, tmp_path)
    written = exported(again.GetFirstNodeByName(main.GetName()), tmp_path / "out")
    changed = {name for name in elements(plan) if elements(plan)[name] != elements(written).get(name)}
    assert changed <= RENEWED
    assert "ReferencedRTPlanSequence" not in written


@pytest.mark.parametrize(
    ("plan", "structure_set"),
    [
        ("rt/eclipse_breast/rtplan.dcm", "rt/eclipse_breast/rtss.dcm"),
        ("rt/raystation_proton/rtionplan_ramp_full.dcm", "rt/raystation_proton/rtstruct.dcm"),
    ],
)
def test_dcentvfy_finds_what_it_found_in_the_source(plan: str, structure_set: str, data: Path, tmp_path: Path) -> None:
    """Patient, study, frame of reference and references are as they were (the images are not public)."""

    def found(path: Path) -> list[str]:
        done = run(tool("dcentvfy"), path, data / structure_set, check=False)
        lines = [line.replace(str(path), "") for line in (done.stdout + done.stderr).splitlines()]
        return sorted(line for line in lines if line.startswith("Error"))

    (path,) = dicombridge.export(dicombridge.load(data / plan), tmp_path, kind="RTPLAN")
    assert found(path) == found(data / plan)


def test_names_that_look_like_numbers_are_no_edits(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam(1, "01"), beam(2, "002"), beam(3, "1e3")])
    nodes = loaded(tmp_path, plan, scene)
    again = saved_and_read(scene, tmp_path)
    written = exported(again.GetFirstNodeByName(nodes["beams"].GetName()), tmp_path / "out")
    assert [one.BeamName for one in written.BeamSequence] == ["01", "002", "1e3"]
    assert "ReferencedRTPlanSequence" not in written


def test_long_private_values_come_back(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam()])
    block = plan.private_block(0x3253, "MAKER", create=True)
    block.add_new(0, "OB", bytes(range(256)) * 400)
    inner = plan.BeamSequence[0].private_block(0x3255, "MAKER", create=True)
    inner.add_new(1, "OB", b"x" * 50000)
    written = exported(loaded(tmp_path, plan, scene)["beams"], tmp_path / "out")
    assert written[0x3253, 0x1000].value == bytes(range(256)) * 400
    assert written.BeamSequence[0][0x3255, 0x1001].value == b"x" * 50000


@pytest.mark.parametrize("part", ["beams", "controlPoints", "isocentres"])
def test_any_node_stands_for_its_plan(part: str, tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, plan_of([beam()]), scene)
    assert exported(nodes[part], tmp_path / "out").RTPlanLabel == "Plan A"


def test_two_plans_at_once(tmp_path: Path, scene: Any) -> None:
    one = loaded(tmp_path / "a", plan_of([beam(1, "A")]), scene)
    other = loaded(tmp_path / "b", plan_of([beam(1, "B")]), scene)
    nodes = [one["beams"], one["isocentres"], other["controlPoints"]]
    paths = dicombridge.export(nodes, tmp_path / "out", kind="RTPLAN")
    assert sorted(read(path).BeamSequence[0].BeamName for path in paths) == ["A", "B"]
    assert all(path.name == f"RTPLAN_{read(path).SOPInstanceUID}.dcm" for path in paths)


def test_removed_tables_say_nothing(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam()])
    nodes = loaded(tmp_path, plan, scene)
    for part in ("controlPoints", "prescriptions", "isocentres"):
        scene.RemoveNode(nodes[part])
    assert differences(plan, exported(nodes["beams"], tmp_path / "out")) == set()


# --- Edits ---------------------------------------------------------------------------------------------------------


def test_a_beam_gets_another_name(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam(1, "AP"), beam(2, "PA")])
    nodes = loaded(tmp_path, plan, scene)
    set_cell(nodes["beams"], "Name", 1, "Posterior")
    written = exported(nodes["beams"], tmp_path / "out")
    assert differences(plan, written) == {"BeamSequence[1].BeamName"}
    assert written.BeamSequence[1].BeamName == "Posterior"


def test_the_label_of_an_isocentre_names_the_beam_too(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam(1, "AP"), beam(2, "PA")])
    nodes = loaded(tmp_path, plan, scene)
    nodes["isocentres"].SetNthControlPointLabel(0, "Anterior")
    written = exported(nodes["beams"], tmp_path / "out")
    assert differences(plan, written) == {"BeamSequence[0].BeamName"}
    assert written.BeamSequence[0].BeamName == "Anterior"


def test_the_table_wins_over_the_label(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    nodes = loaded(tmp_path, plan_of([beam(1, "AP")]), scene)
    set_cell(nodes["beams"], "Name", 0, "From the table")
    nodes["isocentres"].SetNthControlPointLabel(0, "From the point")
    assert exported(nodes["beams"], tmp_path / "out").BeamSequence[0].BeamName == "From the table"
    assert "label From the point is not written" in caplog.text


def test_an_isocentre_is_moved(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """10 mm to the left, 5 to the back, 2 to the feet; RAS in the scene, LPS in the plan."""
    plan = two_isocentres_plan()
    nodes = loaded(tmp_path, plan, scene)
    nodes["isocentres"].SetNthControlPointPosition(1, -5 - 10, 10 - 5, -250 - 2)
    written = exported(nodes["beams"], tmp_path / "out")
    assert differences(plan, written) == {"BeamSequence[1].ControlPointSequence[0].IsocenterPosition"}
    assert written.BeamSequence[1].ControlPointSequence[0].IsocenterPosition == [15, -5, -252]
    assert "surface distances and table positions are those of the old place" in caplog.text


def test_an_isocentre_is_moved_by_a_transform(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam()])
    nodes = loaded(tmp_path, plan, scene)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    matrix = np.eye(4)
    matrix[:3, 3] = 1, 2, 3
    from dicombridge.geometry import vtk_matrix

    transform.SetMatrixTransformToParent(vtk_matrix(matrix))
    nodes["isocentres"].SetAndObserveTransformNodeID(transform.GetID())
    written = exported(nodes["beams"], tmp_path / "out")
    assert written.BeamSequence[0].ControlPointSequence[0].IsocenterPosition == [9, -22, 33]


def test_isocentres_of_all_control_points_move(tmp_path: Path, scene: Any) -> None:
    """Where later control points have their own isocentre, the edit moves each; where not, they still have none."""
    second = item(IsocenterPosition=["20", "-20", "30"])
    plan = plan_of([beam(1, "Moving", control_points(first_settings(), [item(), second, item()]))])
    nodes = loaded(tmp_path, plan, scene)
    nodes["isocentres"].SetNthControlPointPosition(0, -11, 20, 30)
    written = exported(nodes["beams"], tmp_path / "out")
    points = written.BeamSequence[0].ControlPointSequence
    assert [point.get("IsocenterPosition") for point in points] == [[11, -20, 30], None, [21, -20, 30], None]


def test_an_ion_isocentre_is_moved_after_a_scene_file(tmp_path: Path, scene: Any) -> None:
    plan = scanned_plan()
    nodes = loaded(tmp_path, plan, scene)
    again = saved_and_read(scene, tmp_path)
    points = again.GetFirstNodeByName(nodes["isocentres"].GetName())
    points.SetNthControlPointPosition(0, 0, 16, 5)
    written = exported(again.GetFirstNodeByName(nodes["beams"].GetName()), tmp_path / "out")
    assert differences(plan, written) == {"IonBeamSequence[0].IonControlPointSequence[0].IsocenterPosition"}
    first = written.IonBeamSequence[0].IonControlPointSequence[0]
    assert first.IsocenterPosition == [0, -16, 5]


def test_prescriptions_are_edited(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam()])
    nodes = loaded(tmp_path, plan, scene)
    set_cell(nodes["prescriptions"], "Prescription dose", 0, 52.5)
    set_cell(nodes["prescriptions"], "Target minimum dose", 0, 47.5)  # was absent
    set_cell(nodes["prescriptions"], "Organ at risk maximum dose", 1, float("nan"))  # emptied
    set_cell(nodes["prescriptions"], "Description", 1, "Cord + 5 mm")
    written = exported(nodes["beams"], tmp_path / "out")
    assert differences(plan, written) == {
        "DoseReferenceSequence[0].TargetPrescriptionDose",
        "DoseReferenceSequence[0].TargetMinimumDose",
        "DoseReferenceSequence[1].OrganAtRiskMaximumDose",
        "DoseReferenceSequence[1].DoseReferenceDescription",
    }
    first, second = written.DoseReferenceSequence
    assert (first.TargetPrescriptionDose, first.TargetMinimumDose) == (52.5, 47.5)
    assert "OrganAtRiskMaximumDose" not in second
    assert second.DoseReferenceDescription == "Cord + 5 mm"


def test_fractions_are_edited(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam()])
    nodes = loaded(tmp_path, plan, scene)
    set_cell(nodes["fractionGroups"], "Fractions planned", 0, 28)
    written = exported(nodes["beams"], tmp_path / "out")
    assert differences(plan, written) == {"FractionGroupSequence[0].NumberOfFractionsPlanned"}
    assert written.FractionGroupSequence[0].NumberOfFractionsPlanned == 28


def test_labels_by_keyword(tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam()])
    nodes = loaded(tmp_path, plan, scene)
    written = exported(nodes["beams"], tmp_path / "out", RTPlanLabel="Plan B", SeriesDescription="Edited")
    assert differences(plan, written) == {"RTPlanLabel", "SeriesDescription"}
    assert (written.RTPlanLabel, written.SeriesDescription) == ("Plan B", "Edited")


# --- What an edit entails ------------------------------------------------------------------------------------------


def test_an_edited_plan_names_its_predecessor(tmp_path: Path, scene: Any) -> None:
    """Behind those that it named already (PS3.3 C.8.8.9), with who edited it and when."""
    plan = plan_of([beam()])
    plan.ReferencedRTPlanSequence = [
        item(ReferencedSOPClassUID=plan.SOPClassUID, ReferencedSOPInstanceUID="1.2.3", RTPlanRelationship="PRIOR")
    ]
    nodes = loaded(tmp_path, plan, scene)
    set_cell(nodes["beams"], "Name", 0, "New name")
    written = exported(nodes["beams"], tmp_path / "out")
    said = [(one.ReferencedSOPInstanceUID, one.RTPlanRelationship) for one in written.ReferencedRTPlanSequence]
    assert said == [("1.2.3", "PRIOR"), (plan.SOPInstanceUID, "PREDECESSOR")]
    assert (written.Manufacturer, written.ManufacturerModelName) == ("Maker", "Planner")
    (equipment,) = written.ContributingEquipmentSequence
    assert (equipment.Manufacturer, equipment.PurposeOfReferenceCodeSequence[0].CodeValue) == ("DICOMBridge", "109103")
    assert (written.RTPlanDate, written.RTPlanTime) == (written.InstanceCreationDate, written.InstanceCreationTime)


def approved_plan() -> Any:
    return plan_of(
        [beam()], ApprovalStatus="APPROVED", ReviewDate="20240104", ReviewTime="120000", ReviewerName="Doe^Jane"
    )


def test_an_edited_plan_is_unapproved(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    nodes = loaded(tmp_path, approved_plan(), scene)
    set_cell(nodes["prescriptions"], "Prescription dose", 0, 60.0)
    written = exported(nodes["beams"], tmp_path / "out")
    assert written.ApprovalStatus == "UNAPPROVED"
    assert not {"ReviewDate", "ReviewTime", "ReviewerName"} & {element.keyword for element in written}
    assert "The plan was APPROVED; edited, it is UNAPPROVED" in caplog.text


@pytest.mark.parametrize("options", [{}, {"SeriesDescription": "Copy"}, {"PatientID": "other"}])
def test_an_unchanged_plan_stays_approved(options: dict[str, str], tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, approved_plan(), scene)
    written = exported(nodes["beams"], tmp_path / "out", **options)
    assert (written.ApprovalStatus, written.ReviewerName) == ("APPROVED", "Doe^Jane")
    assert "ReferencedRTPlanSequence" not in written


def test_the_caller_has_the_last_word(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, approved_plan(), scene)
    written = exported(nodes["beams"], tmp_path / "out", RTPlanLabel="B", ApprovalStatus="APPROVED")
    assert written.ApprovalStatus == "APPROVED"


def test_signatures_are_not_written_again(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of([beam()])
    plan.MACParametersSequence = [item(MACIDNumber=1)]
    plan.DigitalSignaturesSequence = [item(MACIDNumber=1)]
    written = exported(loaded(tmp_path, plan, scene)["beams"], tmp_path / "out")
    assert "DigitalSignaturesSequence" not in written
    assert "digital signatures" in caplog.text


def test_text_beyond_the_character_set(tmp_path: Path, scene: Any) -> None:
    """The plan is in Latin-1; a name in Greek makes all of it UTF-8, and what was there stays readable."""
    plan = plan_of([beam(1, "Überlauf")])
    nodes = loaded(tmp_path, plan, scene)
    nodes["isocentres"].SetNthControlPointLabel(0, "πεδίο 1")
    written = exported(nodes["beams"], tmp_path / "out")
    assert written.SpecificCharacterSet == "ISO_IR 192"
    assert (written.PatientName, written.BeamSequence[0].BeamName) == ("Müller^Anna", "πεδίο 1")
    assert differences(plan, written) == {"BeamSequence[0].BeamName", "SpecificCharacterSet"}


def test_text_within_the_character_set(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, plan_of([beam(1, "AP")]), scene)
    set_cell(nodes["beams"], "Name", 0, "Rücken")
    written = exported(nodes["beams"], tmp_path / "out")
    assert (written.SpecificCharacterSet, written.BeamSequence[0].BeamName) == ("ISO_IR 100", "Rücken")


@pytest.mark.parametrize("name", PLANS)
def test_edited_exports_pass_dciodvfy(name: str, tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, PLANS[name](), scene)
    set_cell(nodes["prescriptions"], "Prescription dose", 0, 12.25)
    if "isocentres" in nodes:
        nodes["isocentres"].SetNthControlPointPosition(0, 1.123456789, -2.5, 3)
    (path,) = dicombridge.export(nodes["prescriptions"], tmp_path / "out", kind="RTPLAN", RTPlanLabel="B")
    assert faults(path) == []


# --- What is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "column", "value", "said"),
    [
        ("beams", "Meterset", 500.0, "columns of this table that can be edited: Name, Description"),
        ("beams", "Gantry angle", "45", "can be edited: Name, Description"),
        ("controlPoints", "Cumulative meterset weight", 0.5, "that can be edited: none"),
        ("deliveries", "Meterset", 1.0, "that can be edited: none"),
        ("prescriptions", "Prescription dose", -2.0, "is not a number of at least 0"),
        ("prescriptions", "Prescription dose", float("inf"), "is not a number of at least 0"),
        ("prescriptions", "Type", "ORGAN_AT_RISK", "Prescription dose"),
        ("prescriptions", "Description", "x" * 65, "DoseReferenceDescription"),
        ("beams", "Name", "x" * 65, "BeamName"),
    ],
)
def test_what_cannot_be_edited_is_said(
    part: str, column: str, value: Any, said: str, tmp_path: Path, scene: Any
) -> None:
    nodes = loaded(tmp_path, plan_of([beam()]), scene)
    set_cell(nodes[part], column, 0, value)
    with pytest.raises(ExportError, match=said):
        exported(nodes["beams"], tmp_path / "out")
    assert list((tmp_path / "out").glob("*")) == []


def test_beams_of_ions_need_a_name(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, scanned_plan(), scene)
    set_cell(nodes["beams"], "Name", 0, " ")
    with pytest.raises(ExportError, match="needs a name"):
        exported(nodes["beams"], tmp_path / "out")


def test_beams_of_photons_need_none(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, plan_of([beam()]), scene)
    set_cell(nodes["beams"], "Name", 0, "")
    assert "BeamName" not in exported(nodes["beams"], tmp_path / "out").BeamSequence[0]


def test_removed_rows_and_points_are_said(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, plan_of([beam(1), beam(2)]), scene)
    nodes["isocentres"].RemoveNthControlPoint(0)
    with pytest.raises(ExportError, match="the isocentre of beam Field 1 was removed"):
        exported(nodes["beams"], tmp_path / "out")
    nodes["prescriptions"].RemoveRow(0)
    with pytest.raises(ExportError, match="has 1 rows, and the plan 2"):
        exported(nodes["beams"], tmp_path / "out")


def test_moved_dwell_positions_are_refused(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, brachy_plan(), scene)
    nodes["dwellPoints"].SetNthControlPointPosition(0, 0, 0, 0)
    with pytest.raises(ExportError, match="dwell positions were moved"):
        exported(nodes["channels"], tmp_path / "out")


def test_added_points_and_columns_are_named(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of([beam()])
    nodes = loaded(tmp_path, plan, scene)
    nodes["isocentres"].AddControlPoint([0, 0, 0], "mine")
    nodes["beams"].AddColumn().SetName("My remarks")
    assert differences(plan, exported(nodes["beams"], tmp_path / "out")) == set()
    assert "1 points of no beam are not written" in caplog.text
    assert "not written: ['My remarks']" in caplog.text


def test_a_plan_that_did_not_come_from_dicom(tmp_path: Path, scene: Any) -> None:
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "my table")
    with pytest.raises(ExportError, match="belongs to no RT plan that was loaded from DICOM"):
        exported(table, tmp_path)


def test_a_plan_whose_main_table_is_gone(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, plan_of([beam()]), scene)
    scene.RemoveNode(nodes["beams"])
    with pytest.raises(ExportError, match="main table of its plan was removed"):
        exported(nodes["isocentres"], tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"BeamSequence": []}, "it is a sequence"),
        ({"nonsense": 1}, "Unknown option nonsense"),
        ({"SOPClassUID": "1.2"}, "cannot be an option"),
        ({"RTPlanDate": "yesterday"}, "RTPlanDate"),
    ],
)
def test_options_that_are_none(options: dict[str, Any], said: str, tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, plan_of([beam()]), scene)
    with pytest.raises(ExportError, match=said):
        exported(nodes["beams"], tmp_path / "out", **options)
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.parametrize("text", ["nonsense", "explicit;ISO_IR 6;%%%", "other;ISO_IR 6;AAAA"])
def test_a_source_that_was_changed(text: str, tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, plan_of([beam()]), scene)
    nodes["beams"].SetAttribute("DICOMBridge.Header", text)
    with pytest.raises(ExportError, match="load it again"):
        exported(nodes["beams"], tmp_path / "out")


def test_the_kept_plan_is_small_beside_its_file(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, vmat_plan(arcs=1, points=50), scene)
    size = (tmp_path / "plan.dcm").stat().st_size
    assert len(nodes["beams"].GetAttribute("DICOMBridge.Header")) < 1.4 * size
