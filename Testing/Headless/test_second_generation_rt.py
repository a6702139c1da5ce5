"""Second-generation radiotherapy objects: what their tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.items import item
from support.rt_records import BEAMS, write
from support.rt_second_generation import (
    INTENT_UID,
    MAKERS,
    OTHERS,
    RADIATION_UID,
    TARGET_UID,
    bare,
    c_arm_radiation,
    physician_intent,
    radiation_set,
    tomotherapy,
)
from support.scenes import saved_and_read
from test_treatment_record import NAN, attributes, column, loaded, tables_of

import dicombridge
from dicombridge.kinds import kind_named


def test_every_class_is_made_here() -> None:
    made = {str(maker().SOPClassUID) for maker in MAKERS.values()} | set(OTHERS)
    assert made == kind_named("RTSECOND").sop_classes


@pytest.mark.parametrize("sop_class", OTHERS)
def test_every_class_opens(sop_class: str, tmp_path: Path, scene: Any) -> None:
    """An object of which no part is known has its outline and its references."""
    tables = loaded(bare(sop_class), tmp_path, scene)
    assert list(tables) == ["", "Outline", "References"]
    assert column(tables["References"], "SOP class") == ["RT Beams Treatment Record Storage"]
    assert "Patient's Name" in column(tables["Outline"], "Attribute")


def test_physician_intent(tmp_path: Path, scene: Any) -> None:
    tables = loaded(physician_intent(), tmp_path, scene)
    assert attributes(tables[""])["Object"] == "RT Physician Intent"
    assert attributes(tables[""])["Label"] == "INTENT"
    assert column(tables["Intents"], "Intent type") == ["CURATIVE"]
    assert column(tables["Intents"], "Diagnosis") == ["Malignant tumor of prostate"]
    assert column(tables["Prescriptions"], "Label") == ["Main", "Boost"]
    assert column(tables["Prescriptions"], "Of intent") == [1, NAN]
    assert column(tables["Prescriptions"], "Of prescription") == [NAN, 1]
    assert column(tables["Fractionation"], "Fractions") == [20]
    assert column(tables["Prescribed anatomy"], "Role") == ["Target"]


def test_phases(tmp_path: Path, scene: Any) -> None:
    phases = loaded(physician_intent(), tmp_path, scene)["Treatment phases"]
    assert column(phases, "Label") == ["Phase 1", "Phase 2"]
    assert column(phases, "Teletherapy radiation") == ["PHOTON\\ELECTRON", ""]
    assert column(phases, "Start") == ["2026-01-05", ""]


def test_objectives_and_conceptual_volumes(tmp_path: Path, scene: Any) -> None:
    """The volume is named twice: once with its type, once by its UID alone."""
    tables = loaded(physician_intent(), tmp_path, scene)
    objectives = tables["Dosimetric objectives"]
    assert column(objectives, "Objective") == ["Minimum dose to volume"]
    assert (column(objectives, "Value"), column(objectives, "Unit")) == ([60.5], ["Gy"])
    volumes = tables["Conceptual volumes"]
    assert column(volumes, "Conceptual volume UID") == [TARGET_UID]
    assert column(volumes, "Type") == ["Planning target volume"]
    assert column(volumes, "Label") == ["PTV"]


def test_radiation(tmp_path: Path, scene: Any) -> None:
    tables = loaded(c_arm_radiation(), tmp_path, scene)
    main = attributes(tables[""])
    assert main["Object"] == "C-Arm Photon-Electron Radiation"
    assert main["Treatment technique"] == "Arc therapy"
    assert main["Dosimeter unit"] == "Monitor units"
    assert main["Treatment device"] == "Linac 2"
    modes = tables["Radiation generation modes"]
    assert column(modes, "Radiation type") == ["Photons"]
    assert (column(modes, "Nominal energy"), column(modes, "Energy unit")) == ([6], ["MV"])
    points = tables["Control points"]
    assert column(points, "Cumulative meterset") == [0, 10, 20]
    assert column(points, "Source roll angle") == [180, 179, 178]
    assert column(points, "Delivery rate") == [600, NAN, NAN]


def test_radiation_set(tmp_path: Path, scene: Any) -> None:
    tables = loaded(radiation_set(), tmp_path, scene)
    assert attributes(tables[""])["Fractions intended"] == "20"
    assert column(tables["Radiations"], "Order") == [1, 2]
    assert column(tables["Radiations"], "Radiation") == [RADIATION_UID, f"{RADIATION_UID}.2"]
    references = tables["References"]
    assert column(references, "Purpose") == [
        "Referenced Instance",
        "RT Radiation",
        "RT Radiation",
        "Referenced RT Physician Intent",
    ]
    assert column(references, "Series Instance UID")[0].endswith(".50")


def test_radiations_of_a_set_are_looked_up(tmp_path: Path, scene: Any) -> None:
    """The first radiation is in the folder, the second one is not."""
    first = c_arm_radiation()
    first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = RADIATION_UID
    write(first, tmp_path, "radiation.dcm")
    write(radiation_set(), tmp_path, "set.dcm")
    with dicombridge.open_folder(tmp_path) as database:
        (offered,) = [one for one in dicombridge.examine(database) if one.files[0].endswith("set.dcm")]
        radiations = tables_of(dicombridge.load(offered, scene=scene, database=database))["Radiations"]
    assert column(radiations, "Modality") == ["C-Arm Photon-Electron Radiation"] * 2
    assert column(radiations, "Radiation type") == ["Photons", ""]
    assert column(radiations, "Nominal energy") == [6, NAN]
    assert column(radiations, "Energy unit") == ["MV", ""]


def test_helical_control_points(tmp_path: Path, scene: Any) -> None:
    tables = loaded(tomotherapy(), tmp_path, scene)
    assert column(tables["Control points"], "Cumulative meterset") == [0, 0.5]
    values = dict(zip(column(tables["Outline"], "Attribute"), column(tables["Outline"], "Value"), strict=True))
    assert values["· Tomotherapeutic Leaf Open Durations"].endswith("... (64 values)")


def test_beam_tasks(tmp_path: Path, scene: Any) -> None:
    tasks = loaded(MAKERS["beams-instruction"](), tmp_path, scene)["Beam tasks"]
    assert column(tasks, "Delivery type") == ["CONTINUATION"]
    assert (column(tasks, "Continues from"), column(tasks, "Continues to")) == ([20], [50])


def test_examination(tmp_path: Path) -> None:
    """Names, references and no warning, whatever the class."""
    for name, maker in MAKERS.items():
        write(maker(), tmp_path, f"{name}.dcm")
    with dicombridge.open_folder(tmp_path) as database:
        offered = {one.tooltip.partition(" as")[0]: one for one in dicombridge.examine(database)}
    assert len(offered) == len(MAKERS)
    assert {one.warning for one in offered.values()} == {""}
    assert set(offered["RT Radiation Set"].referencedInstanceUIDs) == {INTENT_UID, RADIATION_UID, f"{RADIATION_UID}.2"}
    assert offered["RT Physician Intent"].name == "7: Second generation"


def test_tables_survive(tmp_path: Path, scene: Any) -> None:
    loaded(physician_intent(), tmp_path, scene)
    again = saved_and_read(scene, tmp_path)
    main = again.GetFirstNodeByName("7: Second generation")
    count = main.GetNumberOfNodeReferences("DICOMBridge.Table")
    tables = tables_of([main, *(main.GetNthNodeReference("DICOMBridge.Table", number) for number in range(count))])
    assert column(tables["Prescriptions"], "Label") == ["Main", "Boost"]
    outline = dict(zip(column(tables["Outline"], "Attribute"), column(tables["Outline"], "Value"), strict=True))
    assert outline["· RT Physician Intent Narrative"].endswith("... (1759 characters)")


def test_objects_without_anything_known(tmp_path: Path, scene: Any) -> None:
    """Sequences of the wrong type, without items, or deeper than any real object do no harm."""
    deep = item(CodeMeaning="bottom")
    for _ in range(60):
        deep = item(ReferencedInstanceSequence=[deep])
    dataset = bare(OTHERS[0])
    dataset.ReferencedInstanceSequence = [deep]
    dataset.RTPrescriptionSequence = []
    dataset.RTTreatmentPhaseIndex = 7
    tables = loaded(dataset, tmp_path, scene)
    assert list(tables) == ["", "Outline"]
    assert any("nested too deeply" in value for value in column(tables["Outline"], "Value"))
    assert dataset.SOPClassUID != BEAMS
