"""Beams in space: rotations and outlines by hand-computed cases, and by what real plans say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.items import item
from support.rt_ion_brachy_plans import passive_plan, scanned_plan
from support.rt_plans import (
    beam,
    control_points,
    electron_plan,
    first_settings,
    leaves,
    plan_of,
    vmat_plan,
    written_plan,
)

import dicombridge
from dicombridge.plan.apertures import opening_of
from dicombridge.plan.iec import PATIENT_POSITIONS, beam_to_patient, gantry_to_patient, table_of_patient
from dicombridge.plan.reading import read_plan
from dicombridge.plan.shapes import PARTS, BeamShape, beam_shape
from dicombridge.plan.values import Device

LEFT, RIGHT, BACK, FRONT, HEAD, FEET = (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)
SOURCE = (0, 0, 1)
"""Direction to the source in the gantry and the beam limiting device system."""


def shape_of(dataset: Any, place: int = 0) -> BeamShape:
    plan = read_plan(dataset)
    shape = beam_shape(plan.beams[place], plan.accessories)
    assert shape is not None
    return shape


def lines(shape: BeamShape, part: str) -> list[Any]:
    return [line for number, line in shape.lines if PARTS[number] == part]


# --- Rotations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "gantry", "couch", "source"),
    [
        ("HFS", 0, 0, FRONT),
        ("HFS", 90, 0, LEFT),
        ("HFS", 180, 0, BACK),
        ("HFS", 270, 0, RIGHT),
        ("HFP", 0, 0, BACK),
        ("HFP", 90, 0, RIGHT),
        ("FFS", 0, 0, FRONT),
        ("FFS", 90, 0, RIGHT),
        ("FFP", 0, 0, BACK),
        ("FFP", 90, 0, LEFT),
        ("HFDL", 0, 0, RIGHT),  # the left side is down
        ("HFDR", 0, 0, LEFT),
        ("FFDL", 0, 0, RIGHT),
        ("FFDR", 0, 0, LEFT),
        ("HFDL", 90, 0, FRONT),
        ("HFDR", 90, 0, BACK),
        ("HFS", 0, 90, FRONT),  # the table turns about the beam
        ("HFS", 90, 90, FEET),  # counterclockwise from above: the head goes to -x, the feet to the source
        ("HFS", 270, 90, HEAD),
        ("HFS", 90, 270, HEAD),
        ("FFS", 90, 90, HEAD),
        ("SITTING", 0, 0, HEAD),
        ("SITTING", 90, 270, FRONT),  # the patient looks into the beam port (PS3.3 C.8.8.25.6.3)
    ],
)
def test_where_the_source_is(position: str, gantry: float, couch: float, source: tuple[float, ...]) -> None:
    settings = {"GantryAngle": float(gantry), "PatientSupportAngle": float(couch)}
    np.testing.assert_allclose(gantry_to_patient(settings, position) @ SOURCE, source, atol=1e-12)


def test_eccentric_rotation_adds_to_that_of_the_support() -> None:
    both = {"GantryAngle": 90.0, "PatientSupportAngle": 60.0, "TableTopEccentricAngle": 30.0}
    np.testing.assert_allclose(gantry_to_patient(both, "HFS") @ SOURCE, FEET, atol=1e-12)


@pytest.mark.parametrize(
    ("keyword", "gantry", "source"),
    [
        # Clockwise along the positive axis, which is right-handed: the head end (y) goes up (z) with the pitch.
        ("TableTopPitchAngle", 0.0, HEAD),
        # Up (z) goes to the left (x) with the roll, so that the front looks to x and the right side looks up.
        ("TableTopRollAngle", 0.0, RIGHT),
        ("GantryPitchAngle", 0.0, FEET),
        ("GantryPitchAngle", 90.0, FEET),  # about x of the gantry, which has turned with it (C.8.8.25.6.5)
    ],
)
def test_pitch_and_roll_of_90_degrees(keyword: str, gantry: float, source: tuple[float, ...]) -> None:
    settings = {"GantryAngle": gantry, keyword: 90.0}
    np.testing.assert_allclose(gantry_to_patient(settings, "HFS") @ SOURCE, source, atol=1e-12)


def test_pitch_comes_before_roll() -> None:
    settings = {"TableTopPitchAngle": 90.0, "TableTopRollAngle": 90.0}
    # Rx(90) Ry(90): x_t -> -y_f?  By columns: Ry takes z to x, then Rx leaves x. So z_t lies along x_f, and what is
    # up in the room, z_f = Rx(y), is y_t: the head.
    np.testing.assert_allclose(gantry_to_patient(settings, "HFS") @ SOURCE, HEAD, atol=1e-12)


def test_collimator_turns_the_jaws() -> None:
    """At gantry 0, HFS, x of the collimator is to the left and y to the head; a positive angle turns x to y."""
    straight = beam_to_patient({"GantryAngle": 0.0}, "HFS")
    np.testing.assert_allclose(straight @ [1, 0, 0], LEFT, atol=1e-12)
    np.testing.assert_allclose(straight @ [0, 1, 0], HEAD, atol=1e-12)
    turned = beam_to_patient({"GantryAngle": 0.0, "BeamLimitingDeviceAngle": 90.0}, "HFS")
    np.testing.assert_allclose(turned @ [1, 0, 0], HEAD, atol=1e-12)
    np.testing.assert_allclose(turned @ [0, 1, 0], RIGHT, atol=1e-12)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_positions_are_rotations(position: str) -> None:
    table = table_of_patient(position)
    np.testing.assert_allclose(table @ table.T, np.eye(3))
    assert np.linalg.det(table) == pytest.approx(1)


# --- Openings ------------------------------------------------------------------------------------------------------


def test_opening_of_jaws() -> None:
    opening = opening_of([], {"ASYMX": (-50.0, 40.0), "Y": (-30.0, 60.0)})
    assert opening.outlines == ([(-50, -30), (40, -30), (40, 60), (-50, 60)],)
    assert opening.box == (-50, 40, -30, 60)
    assert opening.jaws == (-50, 40, -30, 60)


@pytest.mark.parametrize("positions", [{"X": (10.0, 10.0), "Y": (-5.0, 5.0)}, {"X": (20.0, 10.0), "Y": (-5.0, 5.0)}])
def test_closed_jaws(positions: dict[str, tuple[float, float]]) -> None:
    assert opening_of([], positions).box is None


def test_opening_of_leaves() -> None:
    """Three pairs of 10 mm; the jaws cut the first one in half and the right side of the last one."""
    device = Device("MLCX", (-15.0, -5.0, 5.0, 15.0))
    positions = {"MLCX": (-20.0, -10.0, -20.0, 20.0, 30.0, 40.0), "X": (-100.0, 35.0), "Y": (-10.0, 15.0)}
    opening = opening_of([device], positions)
    assert opening.outlines == (
        [(20, -10), (20, -5), (30, -5), (30, 5), (35, 5), (35, 15), (-20, 15), (-20, 5), (-10, 5), (-10, -5), (-20, -5),
         (-20, -10)],
    )  # fmt: skip
    assert opening.box == (-20, 35, -10, 15)


def test_leaves_that_move_along_y() -> None:
    device = Device("MLCY", (0.0, 10.0, 20.0))
    opening = opening_of([device], {"MLCY": (-5.0, -5.0, 5.0, 8.0)})
    assert opening.box == (0, 20, -5, 8)


def test_openings_that_do_not_touch_are_several() -> None:
    device = Device("MLCX", (0.0, 10.0, 20.0, 30.0))
    opening = opening_of([device], {"MLCX": (-30.0, 0.0, 10.0, -10.0, 0.0, 20.0)})
    assert [sorted(outline) for outline in opening.outlines] == [
        [(-30, 0), (-30, 10), (-10, 0), (-10, 10)],
        [(10, 20), (10, 30), (20, 20), (20, 30)],
    ]


def test_two_layers_of_leaves() -> None:
    """Stacked layers with shifted leaves: what both leave open."""
    upper, lower = Device("MLCX1", (0.0, 10.0, 20.0)), Device("MLCX2", (-5.0, 5.0, 15.0, 25.0))
    positions = {"MLCX1": (-10.0, -10.0, 10.0, 10.0), "MLCX2": (-10.0, -4.0, -10.0, 10.0, 10.0, 10.0)}
    opening = opening_of([upper, lower], positions)
    assert opening.outlines == ([(10, -5), (10, 25), (-10, 25), (-10, 15), (-4, 15), (-4, 5), (-10, 5), (-10, -5)],)


def test_damaged_leaves_do_not_limit() -> None:
    """Boundaries that do not rise or do not fit say nothing; then the jaws alone count."""
    positions = {"MLCX": (-1.0, -1.0, 1.0, 1.0), "X": (-5.0, 5.0), "Y": (-6.0, 6.0)}
    for boundaries in ((0.0, 10.0), (0.0, 20.0, 10.0), ()):
        assert opening_of([Device("MLCX", boundaries)], positions).box == (-5, 5, -6, 6)


# --- Shapes --------------------------------------------------------------------------------------------------------


def test_a_beam_from_the_left() -> None:
    """Gantry 90, HFS, isocentre (10, -20, 30): the source is 1 m to the left; x of the jaws runs to the back."""
    settings = first_settings(gantry=90.0, jaws=(-50, 40, -30, 60))
    shape = shape_of(plan_of([beam(1, "Left", control_points(settings, [item()]))]))
    np.testing.assert_allclose(shape.source, [1010, -20, 30])
    (axis,) = lines(shape, "axis")
    np.testing.assert_allclose(axis, [[1010, -20, 30], [10, -20, 30]])
    (aperture,) = lines(shape, "aperture")
    # x of the gantry at 90 degrees points down, which is the back of a patient who lies on it.
    expected = [[10, -70, 0], [10, 20, 0], [10, 20, 90], [10, -70, 90], [10, -70, 0]]
    np.testing.assert_allclose(aperture, expected, atol=1e-9)
    edges = lines(shape, "edge")
    assert len(edges) == 4
    for edge in edges:
        np.testing.assert_allclose(edge[0], shape.source)
    np.testing.assert_allclose(sorted(edge[1].tolist() for edge in edges), sorted(expected[:4]), atol=1e-9)


def test_the_leaves_of_an_arc() -> None:
    shape = shape_of(vmat_plan(arcs=1, points=3))
    assert len(shape.opening.outlines) == 1
    low = [float(value) for value in leaves(0)[:60]]
    # Jaws from -50 to 40 and from -30 to 60: pairs of 400 / 60 mm, of which the ones between count.
    assert shape.opening.box == (min(low[25:39]), 20, -30, 60)


def test_applicator_and_cut_out_of_electrons() -> None:
    shape = shape_of(electron_plan())
    (applicator,), (block,) = lines(shape, "applicator"), lines(shape, "block")
    rotation = beam_to_patient({"GantryAngle": 30.0}, "HFS")
    plane = (block - shape.isocentre) @ rotation
    np.testing.assert_allclose(plane[:, :2], [[-40, -30], [40, -30], [45.5, 20], [-35, 30], [-40, -30]], atol=1e-9)
    np.testing.assert_allclose(plane[:, 2], 0, atol=1e-9)
    assert np.linalg.norm(applicator[1] - applicator[0]) == pytest.approx(100)


def test_spots_and_two_source_distances() -> None:
    """Scanned protons, gantry 270: x and y diverge from 2000 and 2500 mm; the edges begin at the nearer one."""
    shape = shape_of(scanned_plan())
    (box,) = lines(shape, "scan spots")
    rotation = gantry_to_patient({"GantryAngle": 270.0}, "HFS")
    np.testing.assert_allclose(
        ((box - shape.isocentre) @ rotation)[:4, :2], [[-10, -10], [10, -10], [10, 10], [-10, 10]], atol=1e-9
    )
    start = (lines(shape, "edge")[0][0] - shape.isocentre) @ rotation
    np.testing.assert_allclose(start, [0, -10 * (1 - 2000 / 2500), 2000], atol=1e-9)
    np.testing.assert_allclose(shape.source, [-2000, -15, 5], atol=1e-9)


def test_the_aperture_of_passive_ions() -> None:
    (block,) = lines(shape_of(passive_plan()), "block")
    np.testing.assert_allclose(block - [0, -15, 5], [[-30, 0, -30], [30, 0, -30], [0, 0, 40], [-30, 0, -30]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plan: delattr(plan.PatientSetupSequence[0], "PatientPosition"), "patient position is not said"),
        (lambda plan: setattr(plan.PatientSetupSequence[0], "PatientPosition", "UPSIDE"), "UPSIDE is unknown"),
        (lambda plan: delattr(plan.BeamSequence[0], "SourceAxisDistance"), "1000 mm is assumed"),
        (lambda plan: delattr(plan.BeamSequence[0].ControlPointSequence[0], "GantryAngle"), "0 degrees is assumed"),
    ],
)
def test_what_is_assumed_is_said(change: Any, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of([beam()])
    change(plan)
    nodes = dicombridge.load(written_plan(tmp_path / "plan.dcm", plan), scene=dicombridge.new_scene())
    assert nodes[-1].IsA("vtkMRMLModelNode")
    assert said in caplog.text


def test_without_an_isocentre_there_is_no_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of([beam()])
    del plan.BeamSequence[0].ControlPointSequence[0].IsocenterPosition
    nodes = dicombridge.load(written_plan(tmp_path / "plan.dcm", plan), scene=dicombridge.new_scene())
    assert all(node.IsA("vtkMRMLTableNode") for node in nodes)
    assert "Beam Field 1 has no isocentre" in caplog.text


# --- Models --------------------------------------------------------------------------------------------------------


def test_the_model_of_a_beam(tmp_path: Path) -> None:
    """RAS, so the source at the patient's left is at negative x; SlicerRT's attributes stand on the node."""
    settings = first_settings(gantry=90.0, collimator=15.0, couch=0.0)
    plan = plan_of([beam(3, "Left", control_points(settings, [item()]))])
    scene = dicombridge.new_scene()
    model = dicombridge.load(written_plan(tmp_path / "plan.dcm", plan), scene=scene)[-1]
    data = model.GetPolyData()
    np.testing.assert_allclose(data.GetPoint(0), [-1010, 20, 30])
    np.testing.assert_allclose(data.GetPoint(1), [-10, 20, 30])
    parts = data.GetCellData().GetArray("part")
    assert [parts.GetValue(number) for number in range(parts.GetNumberOfValues())] == [0, 1, 2, 2, 2, 2]
    assert data.GetCell(1).GetNumberOfPoints() == 5, "a closed outline of four corners"
    said = {name: model.GetAttribute(f"DicomRtImport.{name}") for name in (
        "SourceAxisDistance", "GantryAngle", "CouchAngle", "CollimatorAngle", "JawPositions", "BeamNumber",
    )}  # fmt: skip
    assert said == {
        "SourceAxisDistance": "1000", "GantryAngle": "90", "CouchAngle": "0", "CollimatorAngle": "15",
        "JawPositions": "-50 40 -30 60", "BeamNumber": "3",
    }  # fmt: skip


def test_beams_have_different_colours(tmp_path: Path) -> None:
    plan = plan_of([beam(number, isocentre) for number, isocentre in ((1, "a"), (2, "b"), (3, "c"), (4, "d"))])
    scene = dicombridge.new_scene()
    nodes = dicombridge.load(written_plan(tmp_path / "plan.dcm", plan), scene=scene)
    colours = [node.GetDisplayNode().GetColor() for node in nodes if node.IsA("vtkMRMLModelNode")]
    distances = [np.abs(np.subtract(one, other)).max() for one in colours for other in colours if one != other]
    assert len(set(colours)) == 4
    assert min(distances) > 0.2


def test_real_beams_come_from_where_their_names_say(data: Path) -> None:
    """RAO is right anterior oblique, LPO left posterior oblique, PA from the back, RT from the right."""
    directions = {"R": RIGHT, "L": LEFT, "A": FRONT, "P": BACK}
    expected = {
        "rt/eclipse_breast/rtplan.dcm": {"3 RAO": "RA", "4 AP": "A", "5 LAO": "LA", "6 LPO": "LP"},
        "rt/pinnacle/RTPLAN.dcm": {
            "PA": "P", "RT": "R", "LT": "L", "RPO": "RP", "LPO": "LP", "Left": "L", "Anterior": "A",
        },
    }  # fmt: skip
    for file, names in expected.items():
        import pydicom

        plan = read_plan(pydicom.dcmread(data / file))
        for one in plan.beams:
            shape = beam_shape(one)
            assert shape is not None
            towards = (shape.source - shape.isocentre) / np.linalg.norm(shape.source - shape.isocentre)
            for letter in names.get(one.name, ""):
                assert towards @ directions[letter] > 0.4, (file, one.name, letter)


def test_a_real_beam_enters_where_the_plan_says(data: Path) -> None:
    """The surface entry point of a proton plan lies on the axis, at its distance from the source."""
    import pydicom

    dataset = pydicom.dcmread(data / "rt/plans/rtionplan_topas_demo.dcm")
    first = dataset.IonBeamSequence[0].IonControlPointSequence[0]
    shape = shape_of(dataset)
    entry = np.array(first.SurfaceEntryPoint, dtype=float)
    axis = (shape.source - shape.isocentre) / np.linalg.norm(shape.source - shape.isocentre)
    np.testing.assert_allclose(np.cross(entry - shape.isocentre, axis), 0, atol=1e-6)
    assert (entry - shape.isocentre) @ axis > 0
