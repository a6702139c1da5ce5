"""Brachytherapy: channels, dwell positions and their times, sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.items import item
from support.plan_nodes import by_part, loaded, only, row
from support.rt_ion_brachy_plans import brachy_plan, seeds_plan
from support.rt_plans import written_plan

import dicombridge
from dicombridge.plan.reading import read_plan
from dicombridge.tables import column_values


def test_channels(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, brachy_plan(channels=2), scene)
    assert "beams" not in nodes, "without beams, the channels are the main table"
    assert nodes["channels"].GetNumberOfRows() == 2
    shown = row(nodes["channels"], 1)
    assert only(
        shown, "Application setup", "Setup type", "Channel number", "Total time", "Dwell positions", "Length",
        "Movement", "Isotope", "Half-life", "Reference air kerma rate", "Total reference air kerma", "Setup dose",
    ) == {
        "Application setup": 1, "Setup type": "VAGINAL", "Channel number": 2, "Total time": 42.0, "Dwell positions": 3,
        "Length": 1500.0, "Movement": "STEPWISE", "Isotope": "Ir-192", "Half-life": 73.83,
        "Reference air kerma rate": 40800.0, "Total reference air kerma": 4970.75, "Setup dose": 7.0,
    }  # fmt: skip
    assert nodes["channels"].GetColumnUnitLabel("Total time") == "s"
    assert nodes["channels"].GetAttribute("DICOM.BrachyTreatmentType") == "HDR"


def test_dwell_times(tmp_path: Path, scene: Any) -> None:
    """12 s, nothing, 30 s; the stop without time is a position all the same."""
    table = loaded(tmp_path, brachy_plan(stops=((5, 12), (10, 0), (15, 30))), scene)["dwellPositions"]
    assert column_values(table, "Time") == [12.0, 0.0, 30.0]
    assert column_values(table, "Relative position") == [5.0, 10.0, 15.0]
    assert column_values(table, "Transit") == [0.0, 0.0, 0.0]
    assert [column_values(table, axis) for axis in "LPS"] == [[10.0] * 3, [-5.5] * 3, [5.0, 10.0, 15.0]]


def test_weights_are_shares_of_the_total_time() -> None:
    plan = brachy_plan(stops=((5, 1), (10, 3)))
    one = plan.ApplicationSetupSequence[0].ChannelSequence[0]
    one.ChannelTotalTime = "200"  # weights end at 4
    (channel,) = read_plan(plan).channels
    assert [dwell.seconds for dwell in channel.dwells] == [50.0, 150.0]


def times_of(points: list[tuple[float, float]]) -> tuple[list[float | None], list[float | None]]:
    """Dwell and transit times of control points (mm along the channel, cumulative weight in seconds)."""
    plan = brachy_plan()
    one = plan.ApplicationSetupSequence[0].ChannelSequence[0]
    one.ChannelTotalTime = one.FinalCumulativeTimeWeight = str(points[-1][1])
    one.NumberOfControlPoints = len(points)
    one.BrachyControlPointSequence = [
        item(ControlPointIndex=index, ControlPointRelativePosition=str(place), CumulativeTimeWeight=str(weight))
        for index, (place, weight) in enumerate(points)
    ]
    (channel,) = read_plan(plan).channels
    return [dwell.seconds for dwell in channel.dwells], [dwell.transit for dwell in channel.dwells]


@pytest.mark.parametrize(
    ("points", "dwells", "transits"),
    [
        ([(30, 0), (30, 25), (20, 25), (20, 50), (10, 50), (10, 75), (0, 75), (0, 100)], [25] * 4, [0] * 4),
        ([(0, 0), (0, 100)], [100], [0]),
        ([(100, 0), (0, 100)], [0, 0], [0, 100]),
        ([(30, 0), (30, 25), (20, 27), (20, 52), (10, 54), (10, 79)], [25] * 3, [0, 2, 2]),
        ([(1200, 0), (30, 150), (30, 175), (20, 177), (20, 202), (10, 204), (10, 229), (1200, 383)],
         [0, 25, 25, 25, 0], [0, 150, 2, 2, 154]),
    ],
    ids=["stepwise", "fixed", "oscillating", "stepwise with transit", "with transit from and to the safe"],
)  # fmt: skip
def test_the_examples_of_the_standard(
    points: list[tuple[float, float]], dwells: list[float], transits: list[float]
) -> None:
    """PS3.3 C.8.8.15.7."""
    assert times_of(points) == (pytest.approx(dwells), pytest.approx(transits))


def test_pulses(tmp_path: Path, scene: Any) -> None:
    """Times are those of one pulse (PS3.3 C.8.8.15.6); how many there are stands beside them."""
    plan = brachy_plan(treatment="PDR")
    one = plan.ApplicationSetupSequence[0].ChannelSequence[0]
    one.NumberOfPulses, one.PulseRepetitionInterval = 30, "3600"
    shown = row(loaded(tmp_path, plan, scene)["channels"])
    assert (shown["Pulses"], shown["Total time"]) == (30, 42)
    assert "PulseRepetitionInterval=3600" in shown["Others"]


def test_time_between_positions_is_transit() -> None:
    """Oscillating sources and slow ones: what passes from one place to the next is not lost."""
    plan = brachy_plan(stops=((5, 10), (10, 10)))
    points = plan.ApplicationSetupSequence[0].ChannelSequence[0].BrachyControlPointSequence
    points[2].CumulativeTimeWeight, points[3].CumulativeTimeWeight = "12", "20"
    (channel,) = read_plan(plan).channels
    assert [dwell.seconds for dwell in channel.dwells] == [10.0, 8.0]
    assert [dwell.transit for dwell in channel.dwells] == [0.0, 2.0]
    assert [dwell.control_points for dwell in channel.dwells] == [(0, 1), (2, 3)]


def test_dwell_positions_are_points(tmp_path: Path, scene: Any) -> None:
    points = loaded(tmp_path, brachy_plan(channels=2), scene)["dwellPoints"]
    assert points.GetNumberOfControlPoints() == 6
    assert points.GetNthControlPointLabel(3) == "1/2-1"
    assert points.GetNthControlPointDescription(3) == "Channel 2 of setup 1, position 1, 12 s"
    np.testing.assert_allclose(points.GetNthControlPointPosition(3), [-20, 5.5, 5])  # RAS
    assert points.GetLocked()


def test_channels_without_positions_in_the_patient(tmp_path: Path, scene: Any) -> None:
    """3D positions are optional: then there are no points, and the table has places along the channel."""
    plan = brachy_plan()
    for point in plan.ApplicationSetupSequence[0].ChannelSequence[0].BrachyControlPointSequence:
        del point.ControlPoint3DPosition
    nodes = loaded(tmp_path, plan, scene)
    assert "dwellPoints" not in nodes
    assert column_values(nodes["dwellPositions"], "Relative position") == [5.0, 10.0, 15.0]


def test_seeds(tmp_path: Path, scene: Any) -> None:
    nodes = loaded(tmp_path, seeds_plan(4), scene)
    assert nodes["channels"].GetNumberOfRows() == 4
    assert column_values(nodes["channels"], "Isotope") == ["I-125"] * 4
    assert nodes["dwellPoints"].GetNumberOfControlPoints() == 4
    assert only(row(nodes["sources"]), "Isotope", "Half-life", "Reference date") == {
        "Isotope": "I-125", "Half-life": 59.4, "Reference date": "20240101",
    }  # fmt: skip


def test_a_source_that_is_not_there(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    plan = brachy_plan()
    plan.ApplicationSetupSequence[0].ChannelSequence[0].ReferencedSourceNumber = 9
    assert loaded(tmp_path, plan, scene)["channels"].GetNumberOfRows() == 1
    assert "The source of channel 1 is not in the plan." in caplog.text


def test_several_setups_have_channels_of_the_same_number(tmp_path: Path, scene: Any) -> None:
    plan = brachy_plan()
    second = brachy_plan(stops=((20, 5),)).ApplicationSetupSequence[0]
    second.ApplicationSetupNumber = 2
    plan.ApplicationSetupSequence.append(second)
    group = plan.FractionGroupSequence[0]
    group.NumberOfBrachyApplicationSetups = 2
    group.ReferencedBrachyApplicationSetupSequence.append(
        item(ReferencedBrachyApplicationSetupNumber=2, BrachyApplicationSetupDose="3.5")
    )
    nodes = loaded(tmp_path, plan, scene)
    assert column_values(nodes["channels"], "Setup dose") == [7.0, 3.5]
    labels = [nodes["dwellPoints"].GetNthControlPointLabel(number) for number in range(4)]
    assert labels == ["1/1-1", "1/1-2", "1/1-3", "2/1-1"]


def test_a_real_afterloader_plan(data: Path, scene: Any) -> None:
    """Oncentra: six and seven stops of equal time in two channels; times and places add up."""
    file = data / "rt/plans/rtplan_oncentra_brachy_hdr.dcm"
    dataset = pydicom.dcmread(file)
    nodes = by_part(dicombridge.load(file, scene=scene))
    table = nodes["dwellPositions"]
    times = np.array(column_values(table, "Time"))
    channel = np.array(column_values(table, "Channel number"))
    for one in dataset.ApplicationSetupSequence[0].ChannelSequence:
        assert times[channel == one.ChannelNumber].sum() == pytest.approx(float(one.ChannelTotalTime))
    assert ((channel == 1).sum(), (channel == 2).sum()) == (6, 7)
    first = dataset.ApplicationSetupSequence[0].ChannelSequence[0].BrachyControlPointSequence[0]
    expected = [float(value) for value in first.ControlPoint3DPosition]
    np.testing.assert_allclose([column_values(table, axis)[0] for axis in "LPS"], expected)
    assert row(nodes["channels"])["Total reference air kerma"] == pytest.approx(4970.75123470623)
    assert row(nodes["channels"])["Setup dose"] == pytest.approx(7.1)


def test_a_channel_without_total_time(tmp_path: Path) -> None:
    plan = brachy_plan()
    plan.ApplicationSetupSequence[0].ChannelSequence[0].ChannelTotalTime = None
    (channel,) = read_plan(plan).channels
    assert [dwell.seconds for dwell in channel.dwells] == [None, None, None]
    assert written_plan(tmp_path / "plan.dcm", plan).is_file()
