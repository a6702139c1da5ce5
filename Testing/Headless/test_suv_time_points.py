"""SUV of dynamic and gated series: each time point is a volume of its own, but the scan had one start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_support import write_slice
from pydicom.uid import PositronEmissionTomographyImageStorage
from support import pt_headers as pt
from support.volumes import array_of

import dicombridge
from dicombridge import suv

HALF_LIFE = 6586.2
START = 70e3 / (350e6 * 2 ** (-3600 / HALF_LIFE))
"""g per Bq of 70 kg and 350 MBq that were injected an hour before the scan: the factor from Bq/ml to SUV."""

STORED = 100


def write_time_points(folder: Path, count: int = 3, minutes: int = 20, **attributes: Any) -> None:
    """Three slices at each time point; rescale slope 2."""
    for time in range(count):
        own = {
            "AcquisitionTime": f"11{minutes * time:02d}00",
            "TemporalPositionIdentifier": str(time + 1),
            "FrameReferenceTime": str(1000 * (60 * minutes * time + 150)),
            **attributes,
        }
        for place in range(3):
            known = pt.header(**{"SeriesType": ["DYNAMIC", "IMAGE"], "RescaleSlope": "2", **own})
            given = {element.keyword: element.value for element in known}
            del given["SOPClassUID"], given["SOPInstanceUID"]
            write_slice(
                folder, 3 * time + place + 1, (0, 0, 3 * place), pixels=np.full((3, 4), STORED, np.int16),
                series="1.2.3.7", sop_class=PositronEmissionTomographyImageStorage, **given,
            )  # fmt: skip


def values_of(nodes: list[Any]) -> list[float]:
    """The value of each volume, all of whose voxels are alike."""
    for node in nodes:
        assert array_of(node).min() == array_of(node).max()
    return [float(array_of(node)[0, 0, 0]) for node in nodes]


def test_time_points_that_are_corrected_to_the_start_have_one_factor(tmp_path: Path) -> None:
    write_time_points(tmp_path)
    nodes = dicombridge.load(tmp_path, mapping="SUVbw")
    assert values_of(nodes) == pytest.approx([2 * STORED * START] * 3, rel=1e-6)


def test_one_time_point_has_the_value_that_it_has_among_all(tmp_path: Path) -> None:
    write_time_points(tmp_path)
    with dicombridge.open_folder(tmp_path) as database:
        offered = [one for one in dicombridge.examine(database) if one.options.get("mapping") == "SUVbw"]
        assert len(offered) == 3
        for one in offered:
            nodes = dicombridge.load(one, scene=dicombridge.new_scene(), database=database)
            assert values_of(nodes) == pytest.approx([2 * STORED * START], rel=1e-6)


def test_time_points_without_decay_correction_have_factors_of_their_own(tmp_path: Path) -> None:
    write_time_points(tmp_path, DecayCorrection="NONE", CorrectedImage=["ATTN"], ActualFrameDuration="300000")
    nodes = dicombridge.load(tmp_path, mapping="SUVbw")
    # With k = ln 2 / 6586.2 s, a frame of 300 s has its average count rate ln(300 k / (1 - e^(-300 k))) / k
    # = 149.61 s after its start.
    expected = [2 * STORED * 70e3 / (350e6 * 2 ** (-(3600 + 1200 * time + 149.606) / HALF_LIFE)) for time in range(3)]
    assert values_of(nodes) == pytest.approx(expected, rel=1e-6)


def test_time_points_that_are_corrected_to_the_injection(tmp_path: Path) -> None:
    write_time_points(tmp_path, DecayCorrection="ADMIN")
    nodes = dicombridge.load(tmp_path, mapping="SUVbw")
    assert values_of(nodes) == pytest.approx([2 * STORED * 70e3 / 350e6] * 3, rel=1e-6)


@pytest.mark.parametrize("marks", [{}, {"SeriesType": ["STATIC", "IMAGE"], "NumberOfTimeSlices": 3}])
def test_a_processed_dynamic_series_does_not_tell_its_start(tmp_path: Path, marks: dict[str, Any]) -> None:
    """Its time points have no start in common: the second one would have an SUV 13 % too high."""
    write_time_points(tmp_path, SeriesTime="150000", FrameReferenceTime=None, **marks)
    with pytest.raises(dicombridge.DicomBridgeError, match=r"time points of a dynamic scan .* option scan_datetime"):
        dicombridge.load(tmp_path, mapping="SUVbw")
    with dicombridge.open_folder(tmp_path) as database:
        offered = [one for one in dicombridge.examine(database) if one.options.get("mapping") == "SUVbw"]
        assert all("scan_datetime" in one.warning for one in offered)
    nodes = dicombridge.load(tmp_path, mapping="SUVbw", scan_datetime="20240131110000")
    assert values_of(nodes) == pytest.approx([2 * STORED * START] * 3, rel=1e-6)


def test_the_start_of_a_processed_dynamic_series_is_computed_back(tmp_path: Path) -> None:
    write_time_points(tmp_path, SeriesTime="150000", ActualFrameDuration="300000")
    nodes = dicombridge.load(tmp_path, mapping="SUVbw")
    # Frame Reference Time is 150 s after the start of each frame, the average count rate 149.606 s.
    assert values_of(nodes) == pytest.approx([2 * STORED * START * 2 ** (-0.394 / HALF_LIFE)] * 3, rel=1e-6)


def test_gates_have_one_factor(tmp_path: Path) -> None:
    write_time_points(tmp_path, 4, minutes=0, SeriesType=["GATED", "IMAGE"], NumberOfTimeSlots=4)
    nodes = dicombridge.load(tmp_path, mapping="SUVbw")
    assert values_of(nodes) == pytest.approx([2 * STORED * START] * 4, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight_kg": "heavy"}, "weight_kg='heavy' is no number"),
        ({"half_life_s": [1.0]}, "half_life_s=.* is no number"),
        ({"sex": 1}, "sex=1 is no text"),
        ({"decay_correction": 1.0}, "decay_correction=1.0 is no text"),
        ({"injection_datetime": 7}, "injection_datetime=7 is no date and time"),
    ],
)
def test_options_of_other_types_are_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(dicombridge.DicomBridgeError, match=words):
        suv.factors(suv.inputs_of_series([pt.header()]), **options)


def test_options_may_be_spelled_as_a_command_line_does() -> None:
    inputs = suv.inputs_of_series([pt.header(PatientWeight=None, SeriesTime=None)])
    result = suv.factors(inputs, weight_kg="70", scan_datetime=20240131110000.0)  # type: ignore[arg-type]
    assert result.factor == pytest.approx(START, rel=1e-9)
