"""Which frames make a map: channels, time points and other dimensions, with and without an index that says so."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from support.pm_objects import MapFrame, group, mapping_item, parametric_map, planes_of, write
from support.scenes import saved_and_read
from support.volumes import array_of, lps_of_volume

import dicombridge
from dicombridge.parametric_map.maps import Mark, sort_frames

TIME_OFFSET = (0x0020930D, 0x00209310, "Time")
TIME_INDEX = (0x00209128, 0x00209111, "Time point")
POSITION = (0x00200032, 0x00209113, "Position")
LABEL = (0x00409210, 0x00409096, "Label")
ACQUIRED = (0x00189074, 0x00209111, "Acquired")
CHANNELS = (
    ("ADC", ("um2/s", "UCUM", "um2/s"), ("113041", "DCM", "Apparent Diffusion Coefficient")),
    ("T1", ("ms", "UCUM", "ms"), ("113063", "DCM", "T1")),
    ("Ktrans", ("/min", "UCUM", "/min"), ("126312", "DCM", "Ktrans")),
)


def load(dataset: Dataset, folder: Path, scene: Any) -> list[Any]:
    return dicombridge.load(write(dataset, folder), scene=scene)


def sequence_arrays(sequence: Any) -> list[Any]:
    return [array_of(sequence.GetNthDataNode(number)) for number in range(sequence.GetNumberOfDataNodes())]


def tail(node: Any) -> str:
    return str(node.GetName().rpartition(" - ")[2])


@pytest.mark.parametrize("order", ["interleaved", "one after the other", "backwards"])
def test_channels_are_volumes_of_their_own(scene: Any, tmp_path: Path, order: str) -> None:
    pixels = planes_of(3 * 4).reshape(3, 4, 6, 8)
    frames = []
    for channel, (label, units, quantity) in enumerate(CHANNELS):
        item = mapping_item(2.0 + channel, 1.0, label=label, units=units, quantity=quantity)
        for k in range(4):
            groups = {"RealWorldValueMappingSequence": [item]}
            frames.append((channel, k, MapFrame((0, 0, 2.0 * k), pixels[channel, k], groups)))
    if order == "interleaved":
        frames.sort(key=lambda one: (one[1], one[0]))
    elif order == "backwards":
        frames.sort(key=lambda one: (one[0], -one[1]))
    nodes = load(parametric_map([frame for _, _, frame in frames]), tmp_path, scene)
    assert [tail(node) for node in nodes] == [quantity[2] for _, _, quantity in CHANNELS]
    assert [node.GetAttribute("DICOMBridge.MapNumber") for node in nodes] == ["1", "2", "3"]
    assert len({node.GetAttribute("DICOM.instanceUIDs") for node in nodes}) == 1
    for channel, node in enumerate(nodes):
        expected = pixels[channel].astype(float) * (2.0 + channel) + 1.0
        np.testing.assert_allclose(array_of(node), expected, rtol=1e-6)
        assert node.GetVoxelValueUnits().GetCodeValue() == CHANNELS[channel][1][0]
        np.testing.assert_allclose(lps_of_volume(node), np.diag([1.25, 0.8, 2.0, 1.0]), atol=1e-6)


def timed(seconds: float, number: int) -> dict[str, Sequence[Dataset]]:
    return {
        "TemporalPositionSequence": group(TemporalPositionTimeOffset=seconds),
        "FrameContentSequence": group(TemporalPositionIndex=number),
    }


@pytest.mark.parametrize("marked", ["time offset", "index", "date and time", "trigger time", "dimension only"])
def test_time_points_are_a_sequence(scene: Any, tmp_path: Path, marked: str) -> None:
    times = [0.0, 12.5, 31.0]
    pixels = planes_of(3 * 4).reshape(3, 4, 6, 8)
    frames = []
    for number, seconds in enumerate(times, start=1):
        groups: dict[str, Any] = {
            "time offset": timed(seconds, number),
            "index": {"FrameContentSequence": group(TemporalPositionIndex=number)},
            "date and time": {"FrameContentSequence": group(
                FrameAcquisitionDateTime=f"202401021011{10 + seconds:09.6f}")},
            "trigger time": {"CardiacSynchronizationSequence": group(NominalCardiacTriggerDelayTime=1000.0 * seconds)},
            "dimension only": {},
        }[marked]  # fmt: skip
        for k in range(4):
            frames.append(MapFrame((0, 0, 2.0 * k), pixels[number - 1, k], groups, indices=(k + 1, number)))
    dimension = ACQUIRED if marked == "date and time" else TIME_INDEX
    shuffled = [frames[n] for n in np.random.default_rng(1).permutation(len(frames))]
    if marked == "dimension only":
        shuffled = frames
    dataset = parametric_map(shuffled, mappings=[mapping_item(2.0)], dimensions=[POSITION, dimension])
    (sequence,) = load(dataset, tmp_path, scene)
    assert sequence.IsA("vtkMRMLSequenceNode")
    known = marked not in ("index", "dimension only")
    expected = times if known else [1.0, 2.0, 3.0]
    assert sequence.GetIndexName() == "time"
    assert sequence.GetIndexUnit() == ("s" if known else "")
    assert [float(sequence.GetNthIndexValue(n)) for n in range(3)] == expected
    assert json.loads(sequence.GetAttribute("DICOMBridge.TimePoints")) == expected
    for array, values in zip(sequence_arrays(sequence), pixels, strict=True):
        np.testing.assert_allclose(array, 2 * values)
    assert sequence.GetNthDataNode(1).GetVoxelValueUnits().GetCodeValue() == "1"


def test_a_sequence_can_be_browsed_and_saved(scene: Any, tmp_path: Path) -> None:
    import slicer

    pixels = planes_of(3 * 2).reshape(3, 2, 6, 8)
    frames = [MapFrame((0, 0, 2.0 * k), pixels[t, k], timed(5.0 * t, t + 1)) for t in range(3) for k in range(2)]
    dataset = parametric_map(frames, mappings=[mapping_item(units=("ms", "UCUM", "ms"))])
    load(dataset, tmp_path, scene)
    again = saved_and_read(scene, tmp_path)
    sequence = again.GetFirstNodeByClass("vtkMRMLSequenceNode")
    browser = again.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")
    for array, values in zip(sequence_arrays(sequence), pixels, strict=True):
        np.testing.assert_array_equal(array, values)
    assert [float(sequence.GetNthIndexValue(n)) for n in range(3)] == [0.0, 5.0, 10.0]
    assert sequence.GetIndexUnit() == "s"
    assert sequence.GetAttribute("DICOMBridge.ValueMapping")
    assert sequence.GetAttribute("DICOM.instanceUIDs") == dataset.SOPInstanceUID
    proxy = browser.GetProxyNode(sequence)
    assert proxy.GetVoxelValueUnits().GetCodeValue() == "ms"
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(again)
    browser.SetSelectedItemNumber(2)
    logic.UpdateProxyNodesFromSequences(browser)
    np.testing.assert_array_equal(array_of(proxy), pixels[2])
    assert proxy.GetDisplayNode() is not None


def test_channels_in_time_are_sequences(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(2 * 3 * 2).reshape(2, 3, 2, 6, 8)
    frames = []
    for k in range(2):
        for t in range(3):
            for channel, (label, units, quantity) in enumerate(CHANNELS[:2]):
                item = mapping_item(label=label, units=units, quantity=quantity)
                groups = {**timed(2.0 * t, t + 1), "RealWorldValueMappingSequence": [item]}
                indices = (channel + 1, t + 1, k + 1)
                frames.append(MapFrame((0, 0, 2.0 * k), pixels[channel, t, k], groups, indices=indices))
    nodes = load(parametric_map(frames, dimensions=[LABEL, TIME_OFFSET, POSITION]), tmp_path, scene)
    assert [node.GetClassName() for node in nodes] == ["vtkMRMLSequenceNode"] * 2
    for node, values in zip(nodes, pixels, strict=True):
        np.testing.assert_array_equal(np.stack(sequence_arrays(node)), values)


@pytest.mark.parametrize("marked", ["b-value", "echo time", "frame type", "label", "dimension", "nothing"])
def test_other_dimensions_are_maps(scene: Any, tmp_path: Path, marked: str, caplog: pytest.LogCaptureFixture) -> None:
    pixels = planes_of(2 * 3).reshape(2, 3, 6, 8)
    frames = []
    for number in range(2):
        groups: dict[str, Any] = {
            "b-value": {"MRDiffusionSequence": group(DiffusionBValue=800.0 * number)},
            "echo time": {"MREchoSequence": group(EffectiveEchoTime=12.5 + number)},
            "frame type": {"ParametricMapFrameTypeSequence": group(
                FrameType=["DERIVED", "PRIMARY", "VOLUME", ("ADC", "FA")[number]])},
            "label": {"FrameContentSequence": group(FrameLabel=("first", "second")[number])},
            "dimension": {},
            "nothing": {},
        }[marked]  # fmt: skip
        for k in range(3):
            indices = (k + 1, number + 1) if marked == "dimension" else ()
            frames.append(MapFrame((0, 0, 2.0 * k), pixels[number, k], groups, indices=indices))
    dimensions = [POSITION, (0x00189087, 0x00189117, "Weighting")] if marked == "dimension" else []
    dataset = parametric_map(frames, mappings=[mapping_item()], dimensions=dimensions)
    with caplog.at_level(logging.WARNING):
        nodes = load(dataset, tmp_path, scene)
    for node, values in zip(nodes, pixels, strict=True):
        np.testing.assert_array_equal(array_of(node), values)
    expected = {
        "b-value": ["b-value 0", "b-value 800"],
        "echo time": ["echo time 12.5", "echo time 13.5"],
        "dimension": ["Weighting 1", "Weighting 2"],
        "nothing": ["repeat 1", "repeat 2"],
    }
    if marked in expected:
        assert [tail(node) for node in nodes] == expected[marked]
    assert ("nothing tells what they show" in caplog.text) == (marked == "nothing")


def test_the_value_of_a_dimension_is_its_name(scene: Any, tmp_path: Path) -> None:
    frames = []
    for number, k in np.ndindex(2, 3):
        groups = {"MRDiffusionSequence": group(DiffusionBValue=800.0 * number),
                  "FrameContentSequence": group(FrameAcquisitionNumber=number + 1)}  # fmt: skip
        frames.append(MapFrame((0, 0, 2.0 * k), planes_of(1)[0], groups, indices=(k + 1, number + 1)))
    dataset = parametric_map(frames, mappings=[mapping_item()],
                             dimensions=[POSITION, (0x00189087, 0x00189117, "Diffusion")])  # fmt: skip
    nodes = load(dataset, tmp_path, scene)
    assert [tail(node) for node in nodes] == ["b-value 0", "b-value 800"]


def test_what_varies_from_slice_to_slice_only_makes_no_maps(scene: Any, tmp_path: Path) -> None:
    """Each slice has its own moment, acquisition and label, as scanners write them: it is one map."""
    pixels = planes_of(6)
    frames = []
    for k in range(6):
        content = group(TemporalPositionIndex=k + 1, FrameAcquisitionNumber=k + 1, FrameLabel=f"slice {k}",
                        FrameAcquisitionDateTime=f"2024010210110{k}")  # fmt: skip
        frames.append(MapFrame((0, 0, 2.0 * k), pixels[k], {"FrameContentSequence": content}, indices=(k + 1, k + 1)))
    dataset = parametric_map(frames, mappings=[mapping_item()], dimensions=[POSITION, ACQUIRED])
    (node,) = load(dataset, tmp_path, scene)
    np.testing.assert_array_equal(array_of(node), pixels)


def test_moments_of_each_frame_do_not_cut_the_maps_of_two_b_values(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(2 * 6).reshape(2, 6, 6, 8)
    frames = []
    for number in range(2):
        for k in range(6):
            moment = group(FrameAcquisitionDateTime=f"2024010210{10 + 6 * number + k}00")
            groups = {"FrameContentSequence": moment, "MRDiffusionSequence": group(DiffusionBValue=1000.0 * number)}
            indices = (k + 1, 6 * number + k + 1)
            frames.append(MapFrame((0, 0, 2.0 * k), pixels[number, k], groups, indices=indices))
    dataset = parametric_map(frames, mappings=[mapping_item()], dimensions=[POSITION, ACQUIRED])
    nodes = load(dataset, tmp_path, scene)
    assert [tail(node) for node in nodes] == ["b-value 0", "b-value 1000"]
    for node, values in zip(nodes, pixels, strict=True):
        np.testing.assert_array_equal(array_of(node), values)


def test_maps_of_other_extent_have_grids_of_their_own(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(5)
    frames = []
    for k in range(5):
        label, units, quantity = CHANNELS[k // 3]
        item = mapping_item(label=label, units=units, quantity=quantity)
        frames.append(MapFrame((0, 0, 2.0 * k), pixels[k], {"RealWorldValueMappingSequence": [item]}))
    first, second = load(parametric_map(frames), tmp_path, scene)
    np.testing.assert_array_equal(array_of(first), pixels[:3])
    np.testing.assert_array_equal(array_of(second), pixels[3:])
    assert lps_of_volume(second)[2, 3] == pytest.approx(6.0)


def test_a_concatenation_is_one_object(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(6)
    parts = []
    for number in (1, 2):
        planes = range(3 * number - 3, 3 * number)
        frames = [MapFrame((0, 0, 2.0 * k), pixels[k]) for k in planes]
        part = parametric_map(frames, mappings=[mapping_item()], ConcatenationUID="1.2.9", InConcatenationNumber=number,
                              SOPInstanceUIDOfConcatenationSource="1.2.99")  # fmt: skip
        parts.append(part)
    (tmp_path / "study").mkdir()
    for number, part in enumerate(reversed(parts)):
        write(part, tmp_path / "study", f"{number}.dcm")
    with dicombridge.open_folder(tmp_path / "study", index=":memory:") as database:
        (loadable,) = dicombridge.examine(database)
        (node,) = dicombridge.load(loadable, scene=scene, database=database)
    np.testing.assert_array_equal(array_of(node), pixels)
    assert node.GetAttribute("DICOM.instanceUIDs").split() == [part.SOPInstanceUID for part in parts]


def test_a_concatenation_that_is_not_complete_says_so(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files that are missing at the end leave no gap that would show."""
    frames = [MapFrame((0, 0, 2.0 * k), pixels) for k, pixels in enumerate(planes_of(3))]
    part = parametric_map(frames, mappings=[mapping_item()], ConcatenationUID="1.2.9", InConcatenationNumber=1,
                          InConcatenationTotalNumber=3, SOPInstanceUIDOfConcatenationSource="1.2.99")  # fmt: skip
    path = write(part, tmp_path)
    with dicombridge.open_folder(tmp_path, index=":memory:") as database:
        (loadable,) = dicombridge.examine(database)
        assert loadable.warning == "2 of the 3 files of its concatenation are missing."
        dicombridge.load(loadable, scene=scene, database=database)
    assert f"{path}: 2 of the 3 files of its concatenation are missing." in caplog.text


@pytest.mark.parametrize("kind", ["Cardiac", "Respiratory"])
def test_phases_of_a_cycle_are_a_sequence(scene: Any, tmp_path: Path, kind: str) -> None:
    phases = [0.0, 37.5, 75.0]
    pixels = planes_of(3 * 2).reshape(3, 2, 6, 8)
    frames = [
        MapFrame(
            (0, 0, 2.0 * k),
            pixels[number, k],
            {f"{kind}SynchronizationSequence": group(**{f"NominalPercentageOf{kind}Phase": phase})},
        )
        for k in range(2)
        for number, phase in reversed(list(enumerate(phases)))
    ]
    (sequence,) = load(parametric_map(frames, mappings=[mapping_item()]), tmp_path, scene)
    assert sequence.GetIndexUnit() == "%"
    assert [float(sequence.GetNthIndexValue(n)) for n in range(3)] == phases
    for array, values in zip(sequence_arrays(sequence), pixels, strict=True):
        np.testing.assert_array_equal(array, values)


def test_stacks_have_names_of_one_kind(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(4)
    frames = [MapFrame((0, 0, 2.0 * k), pixels[k]) for k in range(2)]
    frames += [MapFrame((2.0 * k, 0, 0), pixels[2 + k], orientation=(0, 1, 0, 0, 0, -1)) for k in range(2)]
    nodes = load(parametric_map(frames, mappings=[mapping_item(label="ADC")]), tmp_path, scene)
    assert [tail(node) for node in nodes] == ["ADC (map 1)", "ADC (map 2)"]


def test_pieces_that_share_an_end_are_one_map(scene: Any, tmp_path: Path) -> None:
    pixels = np.array([[0.0, 0.5, 1.0, 1.5, 3.0]] * 2, dtype=np.float32)
    low = mapping_item(2.0, values=(0, 1), vr="FD")
    high = mapping_item(10.0, -8.0, values=(1, 3), vr="FD")
    (node,) = load(parametric_map([MapFrame((0, 0, 0), pixels)], mappings=[low, high]), tmp_path, scene)
    np.testing.assert_array_equal(array_of(node)[0, 0], [0, 1, 2, 7, 22])


def test_time_points_may_be_near_each_other(scene: Any, tmp_path: Path) -> None:
    """Slicer takes times less than a millisecond apart for the same, unless told otherwise."""
    times = [0.0, 0.0001, 0.00025]
    pixels = planes_of(3)
    frames = [MapFrame((0, 0, 0), pixels[t], timed(times[t], t + 1)) for t in range(3)]
    (sequence,) = load(parametric_map(frames, mappings=[mapping_item()]), tmp_path, scene)
    np.testing.assert_array_equal(np.concatenate(sequence_arrays(sequence)), pixels)
    (again,) = saved_and_read(scene, tmp_path).GetNodesByClass("vtkMRMLSequenceNode")
    assert [float(again.GetNthIndexValue(n)) for n in range(3)] == times
    np.testing.assert_array_equal(np.concatenate(sequence_arrays(again)), pixels)


def test_an_incomplete_time_point_has_missing_slices(scene: Any, tmp_path: Path) -> None:
    pixels = planes_of(6).reshape(2, 3, 6, 8)
    frames = [MapFrame((0, 0, 2.0 * k), pixels[t, k], timed(5.0 * t, t + 1)) for t in range(2) for k in range(3)]
    del frames[4]
    (sequence,) = load(parametric_map(frames, mappings=[mapping_item()]), tmp_path, scene)
    whole, cut = sequence_arrays(sequence)
    np.testing.assert_array_equal(whole, pixels[0])
    assert np.isnan(cut[1]).all()
    np.testing.assert_array_equal(cut[[0, 2]], pixels[1, [0, 2]])


def test_sorting_uses_only_marks_that_tell_frames_apart() -> None:
    places = np.array([0, 0, 1, 1])
    marks = [Mark("slice", [1, 1, 2, 2]), Mark("echo", [1, 2, 1, 2])]
    maps, warning = sort_frames(places, marks, np.arange(4))
    assert [one.name for one in maps] == ["echo 1", "echo 2"]
    assert [one.times[0].tolist() for one in maps] == [[0, 2], [1, 3]]
    assert warning == ""
