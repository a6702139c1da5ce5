"""Faults that other readers of plans have and we may not; and plans that are damaged or contradict themselves.

SlicerRT keeps of a plan the first isocentre, jaws and angles; it loses metersets, energies, fractions, wedges, doses
and, of brachytherapy, all times. It takes every patient for one who lies supine, head first.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from support.damage import reencoded
from support.items import item
from support.plan_nodes import by_part, loaded, row
from support.rt_ion_brachy_plans import brachy_plan, scanned_plan
from support.rt_plans import (
    beam,
    control_points,
    electron_plan,
    first_settings,
    plan_of,
    two_isocentres_plan,
    vmat_plan,
    written_plan,
)

import dicombridge
from dicombridge.errors import DicomBridgeError, UnreadableError, UnsupportedError
from dicombridge.plan import contents
from dicombridge.plan.reading import read_plan
from dicombridge.tables import column_values

# --- What others lose ----------------------------------------------------------------------------------------------


def test_metersets_energies_and_fractions_are_there(data: Path, scene: Any) -> None:
    nodes = by_part(dicombridge.load(data / "rt/eclipse_breast/rtplan.dcm", scene=scene))
    beams = nodes["beams"]
    assert column_values(beams, "Meterset") == [97, 87, 89, 94]
    assert column_values(beams, "Energy") == [10, 6, 6, 10]
    assert column_values(beams, "Fractions") == ["7"] * 4
    assert column_values(beams, "Control points") == [92, 94, 103, 95]
    assert column_values(nodes["prescriptions"], "Prescription dose")[0] == 14


def test_metersets_of_segments_are_there(data: Path, scene: Any) -> None:
    """Of step-and-shoot fields, each segment's share: pairs of control points with the same weight lie between."""
    table = by_part(dicombridge.load(data / "rt/pinnacle/RTPLAN.dcm", scene=scene))["controlPoints"]
    first = [value for value, number in zip(
        column_values(table, "Cumulative meterset"), column_values(table, "Beam number"), strict=True
    ) if number == 1]  # fmt: skip
    assert first[0] == 0
    assert first[1] == pytest.approx(130 * 8.6215696334839 / 100)
    assert first[-1] == pytest.approx(130)
    assert np.all(np.diff(first) >= 0)


def test_each_beam_keeps_its_own_isocentre(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, two_isocentres_plan(), scene)
    assert nodes["isocentres"].GetNumberOfControlPoints() == 2
    centres = [np.array(model.GetPolyData().GetPoint(1)) for model in nodes["beamModels"]]
    np.testing.assert_allclose(centres, [[0, 0, 0], [-5, 10, -250]])


def test_a_prone_patient_is_not_supine(tmp_path: Path, scene: Any) -> None:
    """The source of gantry 0 is behind a patient who lies on the front."""
    points = control_points(first_settings(isocentre=(0, 0, 0)), [item()])
    nodes = loaded(tmp_path, plan_of([beam(1, "AP", points)], position="HFP"), scene)
    np.testing.assert_allclose(nodes["beamModels"][0].GetPolyData().GetPoint(0), [0, -1000, 0], atol=1e-9)


def test_dwell_times_are_there(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, brachy_plan(), scene)
    assert column_values(nodes["dwellPositions"], "Time") == [12, 0, 30]
    assert row(nodes["channels"])["Total reference air kerma"] == 4970.75


def test_dynamic_beams_make_one_model_each(tmp_path: Path, scene: Any) -> None:
    """Not one for each control point: an arc has hundreds."""
    nodes = loaded(tmp_path, vmat_plan(arcs=2, points=50), scene)
    assert len(nodes["beamModels"]) == 2
    assert nodes["controlPoints"].GetNumberOfRows() == 100


def test_names_are_not_shortened(tmp_path: Path, scene: Any) -> None:
    name = "A name of sixty-four characters, which is what the VR LO allows."
    assert len(name) == 64
    nodes = loaded(tmp_path, plan_of([beam(1, name)]), scene)
    assert column_values(nodes["beams"], "Name") == [name]
    assert nodes["isocentres"].GetNthControlPointLabel(0) == name


# --- Encodings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_transfer_syntaxes(syntax: str, tmp_path: Path, scene: Any) -> None:
    path = written_plan(tmp_path / "plan.dcm", vmat_plan(arcs=1, points=3))
    path.write_bytes(reencoded(path.read_bytes(), syntax))
    nodes = by_part(dicombridge.load(path, scene=scene))
    assert column_values(nodes["beams"], "Meterset") == [100]
    (again,) = dicombridge.export(nodes["beams"], tmp_path / "out", kind="RTPLAN")
    assert pydicom.dcmread(again).BeamSequence[0].BeamName == "Arc 1"


def test_big_endian(tmp_path: Path, scene: Any) -> None:
    plan = scanned_plan(layers=1)
    plan.file_meta = pydicom.dataset.FileMetaDataset()
    plan.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = tmp_path / "plan.dcm"
    pydicom.dcmwrite(path, plan, enforce_file_format=True)
    nodes = by_part(dicombridge.load(path, scene=scene))
    assert column_values(nodes["spots"], "x")[:3] == [-10, 0, 10]
    assert column_values(nodes["spots"], "Weight")[:3] == [1, 2, 3]


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("preamble", [True, False])
def test_files_without_meta_information(implicit: bool, preamble: bool, tmp_path: Path, scene: Any) -> None:
    """With or without preamble, the dataset begins at once; its encoding shows in its first element."""
    path = written_plan(tmp_path / "plan.dcm", plan_of([beam(1, "AP")]), implicit=implicit)
    content = path.read_bytes()
    dataset = content[144 + int.from_bytes(content[140:144], "little") :]
    path.write_bytes((bytes(128) + b"DICM" if preamble else b"") + dataset)
    nodes = by_part(dicombridge.load(path, scene=scene))
    assert column_values(nodes["beams"], "Name") == ["AP"]


# --- Damage and contradictions -------------------------------------------------------------------------------------


def put(dataset: Any, keyword: str, value: Any) -> None:
    """Set an element to a value that its VR does not allow."""
    vr = pydicom.datadict.dictionary_VR(keyword)
    dataset[keyword] = DataElement(pydicom.tag.Tag(keyword), vr, value, already_converted=True)


def saved(folder: Path, plan: Any) -> Path:
    plan.file_meta = pydicom.dataset.FileMetaDataset()
    plan.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.dcm"
    plan.preamble = bytes(128)
    pydicom.dcmwrite(path, plan, implicit_vr=True, little_endian=True, force_encoding=True)
    return path


def encoded(plan: Any, keyword: str) -> list[bytes]:
    """The elements of the items of a sequence, not decoded: some of these values cannot be."""
    elements = [one.get_item(tag) for one in plan[keyword].value for tag in list(one.keys())]
    return [element.value for element in elements if element.VR != "SQ"]


def first_point(plan: Any) -> Any:
    return plan.BeamSequence[0].ControlPointSequence[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: put(first_point(plan), "GantryAngle", "ninety"), "GantryAngle is not a number"),
        (lambda plan: put(first_point(plan), "GantryAngle", "nan"), "GantryAngle is not a finite number"),
        (lambda plan: put(first_point(plan), "GantryAngle", "1e999"), "GantryAngle is not a finite number"),
        (lambda plan: put(first_point(plan), "IsocenterPosition", ["1", "2"]), "has no isocentre"),
        (lambda plan: put(first_point(plan), "IsocenterPosition", ["1", "x", "2"]),
         "IsocenterPosition is not a number"),
        (lambda plan: plan.BeamSequence[0].pop("ControlPointSequence"), "Beam Field 1 has no control points"),
        (lambda plan: plan.BeamSequence[0].ControlPointSequence.pop(), "has 1 control points and says that it has 2"),
        (lambda plan: plan.BeamSequence.append(beam(1, "Twin")), "2 beams have the number 1"),
        (lambda plan: plan.FractionGroupSequence[0].pop("ReferencedBeamSequence"), "meterset of beam Field 1"),
        (lambda plan: plan.pop("FractionGroupSequence"), "No fraction group says the meterset of beam Field 1"),
        (lambda plan: setattr(plan.FractionGroupSequence[0].ReferencedBeamSequence[0], "ReferencedBeamNumber", 9),
         "Fraction group 1 delivers beam 9, which is not there"),
        (lambda plan: plan.pop("BeamSequence"), "Fraction group 1 delivers beam 1, which is not there"),
        (lambda plan: plan.pop("BeamSequence"), "The plan has neither beams nor channels"),
    ],
)  # fmt: skip
def test_each_fault_is_said_and_the_rest_loads(
    change: Any, said: str, tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost either: what is exported is what was loaded, faults and all."""
    plan = plan_of([beam()])
    change(plan)
    path = saved(tmp_path, plan)
    nodes = by_part(dicombridge.load(path, scene=scene))
    assert said in caplog.text
    assert nodes["prescriptions"].GetNumberOfRows() == 2
    (again,) = dicombridge.export(nodes["beams"], tmp_path / "out", kind="RTPLAN")
    before, after = pydicom.dcmread(path), pydicom.dcmread(again)
    for keyword in ("BeamSequence", "FractionGroupSequence"):
        assert (keyword in before) == (keyword in after)
        if keyword in before:
            assert encoded(before, keyword) == encoded(after, keyword)


@pytest.mark.parametrize("weight", ["0", "-1", None])
def test_a_final_weight_that_is_none(weight: str | None, tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam()])
    plan.BeamSequence[0].FinalCumulativeMetersetWeight = weight
    nodes = loaded(tmp_path, plan, scene)
    assert all(math.isnan(value) for value in column_values(nodes["controlPoints"], "Cumulative meterset"))
    assert column_values(nodes["beams"], "Meterset") == [100]


@pytest.mark.parametrize("keyword", ["BeamNumber", "BeamName", "RadiationType", "PrimaryDosimeterUnit", "BeamType"])
def test_missing_attributes_of_beams(keyword: str, tmp_path: Path, scene: Any) -> None:
    plan = plan_of([beam(1), beam(2)])
    delattr(plan.BeamSequence[1], keyword)
    nodes = loaded(tmp_path, plan, scene)
    assert nodes["beams"].GetNumberOfRows() == 2
    assert nodes["isocentres"].GetNumberOfControlPoints() == 2


@pytest.mark.parametrize("place", [["1e300", "0", "0"], ["0", "0", "2e6"]])
def test_an_isocentre_beyond_all_patients(place: list[str], tmp_path: Path, scene: Any) -> None:
    """It stands in the table; points and models so far away would make a view useless."""
    plan = plan_of([beam()])
    first_point(plan).IsocenterPosition = place
    nodes = loaded(tmp_path, plan, scene)
    assert "isocentres" not in nodes
    assert "beamModels" not in nodes
    assert float(place[0]) == column_values(nodes["beams"], "Isocentre L")[0]


def test_absurd_jaws_draw_nothing(tmp_path: Path, scene: Any) -> None:
    settings = first_settings(jaws=(-1e300, 1e300, -10, 10))
    nodes = loaded(tmp_path, plan_of([beam(1, "x", control_points(settings, [item()]))]), scene)
    assert nodes["beamModels"][0].GetPolyData().GetNumberOfCells() == 1, "the axis alone"


def test_blocks_whose_points_do_not_count(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    plan = electron_plan()
    plan.BeamSequence[0].BlockSequence[0].BlockNumberOfPoints = 7
    loaded(tmp_path, plan, scene)
    assert "A block has 4 points and says that it has 7" in caplog.text


def test_spots_and_weights_that_do_not_fit(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    plan = scanned_plan(layers=1, spots=9)
    plan.IonBeamSequence[0].IonControlPointSequence[0].ScanSpotMetersetWeights = [1.0] * 5
    nodes = loaded(tmp_path, plan, scene)
    assert nodes["spots"].GetNumberOfRows() == 5 + 9
    assert "Control point 0 has 9 spots and 5 weights" in caplog.text


def test_the_table_of_spots_is_bounded(
    tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MOST_SPOTS", 20)
    monkeypatch.setattr("dicombridge.plan.loading.MOST_SPOTS", 20)
    nodes = loaded(tmp_path, scanned_plan(layers=2, spots=9), scene)
    assert nodes["spots"].GetNumberOfRows() == 20
    assert "of its 36 scan spots, the table shows the first 20" in caplog.text


def test_many_faults_are_not_a_flood() -> None:
    points = control_points(first_settings(), [item() for _ in range(100)])
    for point in points:
        put(point, "GantryAngle", "x")
    assert len(read_plan(plan_of([beam(1, "x", points)])).problems) <= 22


def test_a_structure_set_is_no_plan(data: Path, scene: Any) -> None:
    file = str(data / "rt/pinnacle/RTSTRUCT.dcm")
    loadable = dicombridge.Loadable(files=[file], name="x", kind="RTPLAN")
    with pytest.raises(UnsupportedError, match="is no RT plan"):
        dicombridge.load(loadable, scene=scene)


def test_a_plan_cut_short(tmp_path: Path, scene: Any) -> None:
    path = written_plan(tmp_path / "plan.dcm", plan_of([beam()]))
    path.write_bytes(path.read_bytes()[:-300])
    loadable = dicombridge.Loadable(files=[str(path)], name="x", kind="RTPLAN")
    with pytest.raises(UnreadableError, match="cut short"):
        dicombridge.load(loadable, scene=scene)
    with pytest.raises(DicomBridgeError, match=r"plan\.dcm"):
        dicombridge.load(path, scene=scene)
