"""Treatment records: what their tables say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conformance import faults
from pydicom import dcmread
from support.rt_images import plan
from support.rt_records import IMAGE_UID, MAKERS, PLAN_UID, brachy, conventional, ion, sparse, summary, write
from support.scenes import saved_and_read

import dicombridge
from dicombridge.errors import UnreadableError
from dicombridge.tables import column_values

NAN = "no number"


def tables_of(nodes: list[Any]) -> dict[str, Any]:
    """Return nodes by what their names add to that of the first one."""
    main = nodes[0].GetName()
    return {node.GetName().removeprefix(main).removeprefix(" - "): node for node in nodes}


def loaded(dataset: Any, folder: Path, scene: Any, **options: Any) -> dict[str, Any]:
    return tables_of(dicombridge.load(write(dataset, folder, **options), scene=scene))


def column(node: Any, name: str) -> list[Any]:
    values = column_values(node, name)
    assert values is not None, f"{node.GetName()} has no column {name}"
    return [NAN if isinstance(value, float) and math.isnan(value) else value for value in values]


def attributes(node: Any) -> Mapping[str, str]:
    return dict(zip(column(node, "Attribute"), column(node, "Value"), strict=True))


@pytest.mark.parametrize("maker", [name for name in MAKERS if name != "sparse"])
def test_the_records_of_these_tests_are_valid(maker: str, tmp_path: Path) -> None:
    """Two doubts of dciodvfy are wrong.

    VERIFIED is a value of Treatment Verification Status (PS3.3 C.8.8.21). Numbers of pulses are required for PDR, which
    is told at the top level, where it does not look.
    """
    found = faults(write(MAKERS[maker](), tmp_path))
    wrong = ("<VERIFIED>", "NumberOfPulses", "PulseRepetitionInterval")
    assert [fault for fault in found if not any(words in fault for words in wrong)] == []


# --- Beams -----------------------------------------------------------------------------------------------------------


def test_session(tmp_path: Path, scene: Any) -> None:
    session = attributes(loaded(conventional(), tmp_path, scene)[""])
    assert session == {
        "Record": "RT beams treatment record",
        "Treatment date": "2026-01-02",
        "Treatment time": "08:15:00.5",
        "Operators": "Smith^Ann",
        "Fraction group": "1",
        "Fractions planned": "25",
        "Primary dosimeter unit": "MU",
        "Fraction": "3",
        "Delivery type": "TREATMENT",
        "Treatment machine": "Linac 1",
        "Manufacturer of the machine": "Maker",
        "Model of the machine": "Model",
        "Serial number of the machine": "42",
        "Institution": "Clinic",
        "Plan": PLAN_UID,
        "Patient": "Kröger^Test",
        "Patient ID": "RT1",
        "Instance number": "12",
        "Recording system": "Maker",
    }


def test_delivered_and_specified_meterset(tmp_path: Path, scene: Any) -> None:
    """The second beam was interrupted: 20 of 50 MU."""
    beams = loaded(conventional(), tmp_path, scene)["Beams"]
    assert column(beams, "Beam") == [1, 2]
    assert column(beams, "Name") == ["Arc 1", "Arc 2"]
    assert column(beams, "Termination") == ["NORMAL", "MACHINE"]
    assert column(beams, "Specified meterset") == [100, 50]
    assert column(beams, "Delivered meterset") == [99.75, 20]
    assert column(beams, "Meterset difference") == [-0.25, -30]
    assert beams.GetColumnUnitLabel("Delivered meterset") == "MU"
    assert beams.GetColumnUnitLabel("Source to axis") == "mm"
    assert beams.GetColumnDescription("Delivered meterset") == "Delivered Primary Meterset"


def test_control_points(tmp_path: Path, scene: Any) -> None:
    """What is recorded at the first control point alone is a number there, and none at the others."""
    tables = loaded(conventional(), tmp_path, scene)
    points = tables["Control points"]
    assert column(points, "Beam") == [1, 1, 1, 2, 2]
    assert column(points, "Control point") == [0, 1, 2, 0, 1]
    assert column(points, "Specified meterset") == [0, 50, 100, 0, 50]
    assert column(points, "Delivered meterset") == [0, 49.875, 99.75, 0, 20]
    assert column(points, "Time") == ["08:15:00", "08:15:01", "08:15:02", "08:15:00", "08:15:01"]
    assert column(points, "Gantry angle") == [179.9, NAN, NAN, 179.9, NAN]
    assert points.GetColumnUnitLabel("Gantry angle") == "deg"
    leaves = tables["Leaves and jaws"]
    assert column(leaves, "Beam") == [1, 1, 2, 2]
    assert column(leaves, "Device") == ["ASYMX", "MLCX"] * 2
    assert column(leaves, "Leaf or jaw positions")[:2] == ["-50.0\\50.0", "-10.5\\-11.0\\10.5\\11.0"]


def test_overrides_and_corrections(tmp_path: Path, scene: Any) -> None:
    """The attribute that was overridden is told by its name."""
    tables = loaded(conventional(), tmp_path, scene)
    overrides, corrections = tables["Overrides"], tables["Corrections"]
    assert column(overrides, "Overridden parameter") == ["Gantry Angle"]
    assert column(overrides, "Reason") == ["Wrong table"]
    assert column(overrides, "Operators") == ["Lee^Bo"]
    assert (column(overrides, "Beam"), column(overrides, "Control point")) == ([1], [0])
    assert column(corrections, "Corrected parameter") == ["Table Top Vertical Position"]
    assert column(corrections, "Correction") == [2.5]


def test_doses(tmp_path: Path, scene: Any) -> None:
    tables = loaded(conventional(), tmp_path, scene)
    assert column(tables["Measured doses"], "Dose") == [1.98]
    assert column(tables["Measured doses"], "Dose units") == ["GY"]
    assert column(tables["Calculated doses"], "Dose") == [2.01]
    assert tables["Calculated doses"].GetColumnUnitLabel("Dose") == "Gy"
    assert column(tables["Calculated doses by item"], "Beam") == [1]
    assert column(tables["Calculated doses by item"], "Dose") == [1.25]


def test_modifiers(tmp_path: Path, scene: Any) -> None:
    modifiers = loaded(conventional(), tmp_path, scene)["Beam modifiers"]
    assert (column(modifiers, "Beam"), column(modifiers, "Modifier")) == ([2], ["Wedge"])


def test_empty_values_are_no_values(tmp_path: Path, scene: Any) -> None:
    """Neither zero nor a difference is made up for a meterset that was not specified."""
    tables = loaded(sparse(), tmp_path, scene, implicit=True)
    assert column_values(tables["Beams"], "Specified meterset") is None
    assert column_values(tables["Beams"], "Meterset difference") is None
    assert column(tables["Beams"], "Delivered meterset") == [80]
    assert column(tables["Control points"], "Delivered meterset") == [0, 80]
    assert "Fraction" not in attributes(tables[""])


def test_minutes_for_a_dosimeter(tmp_path: Path, scene: Any) -> None:
    beams = loaded(MAKERS["helical"](), tmp_path, scene)["Beams"]
    assert beams.GetColumnUnitLabel("Meterset difference") == "MINUTE"
    assert column(beams, "Delivered time") == [270]


def test_ions(tmp_path: Path, scene: Any) -> None:
    tables = loaded(ion(), tmp_path, scene)
    assert column(tables["Beams"], "Radiation") == ["PROTON"]
    assert column(tables["Control points"], "Delivered meterset") == [0, 29.5]
    assert column(tables["Control points"], "Energy") == [150.5, NAN]
    assert column(tables["Control points"], "Snout") == [250, NAN]
    assert column(tables["Beam modifiers"], "Identifier") == ["RS5"]
    assert attributes(tables[""])["Record"] == "RT ion beams treatment record"


# --- Brachytherapy ---------------------------------------------------------------------------------------------------


def test_dwell_times(tmp_path: Path, scene: Any) -> None:
    """Two control points a dwell; their times differ by 10, 12.5 and 7 seconds, and by 0.5 where the source moves."""
    dwells = loaded(brachy(), tmp_path, scene)["Dwell positions"]
    assert column(dwells, "Channel") == [1, 1, 1, 1, 2, 2]
    assert column(dwells, "Relative position") == [0, 0, 5, 5, 2.5, 2.5]
    assert column(dwells, "Dwell time") == [10, NAN, 12.5, NAN, 7, NAN]
    assert dwells.GetColumnUnitLabel("Dwell time") == "s"


def test_dwell_over_midnight(tmp_path: Path, scene: Any) -> None:
    record = brachy()
    points = record.TreatmentSessionApplicationSetupSequence[0].RecordedChannelSequence[1]
    first, second = points.BrachyControlPointDeliveredSequence
    first.TreatmentControlPointTime = "235957"
    second.TreatmentControlPointDate, second.TreatmentControlPointTime = "20260103", "000001.5"
    assert column(loaded(record, tmp_path, scene)["Dwell positions"], "Dwell time")[4:] == [4.5, NAN]


def test_sources_and_channels(tmp_path: Path, scene: Any) -> None:
    tables = loaded(brachy(), tmp_path, scene)
    assert column(tables["Sources"], "Isotope") == ["Ir-192"]
    assert column(tables["Sources"], "Reference air kerma rate") == [40700]
    assert column(tables["Application setups"], "Total reference air kerma") == [1234.5]
    assert column(tables["Channels"], "Specified time") == [30, 30]
    assert column(tables["Channels"], "Delivered time") == [29.5, 29.5]
    assert attributes(tables[""])["Brachy treatment type"] == "HDR"
    assert attributes(tables[""])["Fraction"] == "2"


def test_pulses(tmp_path: Path, scene: Any) -> None:
    tables = loaded(brachy("PDR"), tmp_path, scene)
    assert column(tables["Pulses"], "Pulse") == [1, 1]
    assert column(tables["Pulses"], "Dwell time") == [4, NAN]
    assert column(tables["Channels"], "Delivered pulses") == [1, NAN]


# --- Summary, references, scene --------------------------------------------------------------------------------------


def test_summary(tmp_path: Path, scene: Any) -> None:
    tables = loaded(summary(), tmp_path, scene)
    assert attributes(tables[""])["Treatment status"] == "ON_BREAK"
    assert attributes(tables[""])["First treatment date"] == "2025-12-30"
    assert column(tables["Fraction groups"], "Fractions planned") == [25, 4]
    assert column(tables["Fraction groups"], "Fractions delivered") == [2, 0]
    assert column(tables["Fractions"], "Termination") == ["NORMAL", "OPERATOR"]
    assert column(tables["Cumulative calculated doses"], "Cumulative dose") == [4.02]
    assert column(tables["Cumulative measured doses"], "Cumulative dose") == [1.5]


def test_the_plan_is_offered_and_linked(tmp_path: Path, scene: Any) -> None:
    write(conventional(), tmp_path, "record.dcm")
    write(plan([(1, 2, 3)]), tmp_path, "plan.dcm")
    plan_node = scene.AddNewNodeByClass("vtkMRMLTableNode", "Plan")
    from dicombridge.hierarchy import add_series

    add_series(scene, plan_node, {"SOPInstanceUIDs": [PLAN_UID], "SeriesInstanceUID": "1.2", "StudyInstanceUID": "1.3"})
    with dicombridge.open_folder(tmp_path) as database:
        (offered,) = [one for one in dicombridge.examine(database) if one.kind == "RTRECORD"]
        nodes = dicombridge.load(offered, scene=scene, database=database)
    assert set(offered.referencedInstanceUIDs) == {PLAN_UID, IMAGE_UID}
    assert "fraction 3, beams Arc 1, Arc 2" in offered.tooltip
    assert offered.warning == ""
    assert nodes[0].GetNodeReference("DICOMBridge.RTPlan") is plan_node
    assert {node.GetAttribute("DICOMBridge.ReferencedRTPlan") for node in nodes} == {PLAN_UID}
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes}
    assert len(parents) == 1
    references = tables_of(nodes)["References"]
    purposes = dict(zip(column(references, "Purpose"), column(references, "SOP Instance UID"), strict=True))
    assert purposes == {"Referenced Verification Image": IMAGE_UID, "Referenced RT Plan": PLAN_UID}


def test_records_of_one_series_are_told_apart(tmp_path: Path) -> None:
    series = "1.2.826.0.1.3680043.8.498.91"
    for name in ("conventional", "helical"):
        record = MAKERS[name]()
        record.SeriesInstanceUID = series
        write(record, tmp_path, f"{name}.dcm")
    with dicombridge.open_folder(tmp_path) as database:
        names = {one.name for one in dicombridge.examine(database)}
    assert names == {
        "7: Treatment [2026-01-02, fraction 3, beams Arc 1, Arc 2]",
        "7: Treatment [2026-01-02, fraction 3, beam Helix]",
    }


def test_tables_survive(tmp_path: Path, scene: Any) -> None:
    """Values, units and references between the nodes are in a saved scene."""
    loaded(conventional(), tmp_path, scene)
    again = saved_and_read(scene, tmp_path)
    main = again.GetFirstNodeByName("7: Treatment")
    others = [main.GetNthNodeReference("DICOMBridge.Table", number) for number in range(10)]
    tables = tables_of([main, *(node for node in others if node is not None)])
    assert len(tables) == 11
    assert attributes(tables[""])["Patient"] == "Kröger^Test"
    assert column(tables["Control points"], "Gantry angle") == [179.9, NAN, NAN, 179.9, NAN]
    assert tables["Control points"].GetColumnUnitLabel("Gantry angle") == "deg"
    assert column(tables["Leaves and jaws"], "Leaf or jaw positions")[0] == "-50.0\\50.0"
    from dicombridge.shadow import remembered

    assert remembered(main).TreatmentSessionBeamSequence[1].DeliveredPrimaryMeterset == 20


def test_an_empty_record_is_told(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    record = sparse()
    record.TreatmentSessionBeamSequence = []
    del record.ReferencedRTPlanSequence
    assert list(loaded(record, tmp_path, scene)) == [""]
    assert "neither beams nor anything else" in caplog.text


@pytest.mark.parametrize("keyword", ["TreatmentSessionBeamSequence", "SOPInstanceUID"])
def test_what_no_record_lacks(keyword: str, tmp_path: Path, scene: Any) -> None:
    """Without a session the file was cut between two attributes."""
    path = write(sparse(), tmp_path)
    record = dcmread(path)
    del record[keyword]
    record.save_as(path)
    with pytest.raises(UnreadableError, match=r"object\.dcm: has no S?[sO]"):
        dicombridge.load(path, scene=scene)
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
