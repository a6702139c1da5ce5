"""SUVs of damaged headers: our errors or a factor that a patient can have, in time that grows with the slices."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from support import pt_headers as pt

from dicombridge import suv
from dicombridge.errors import DicomBridgeError

ODD: list[Any] = [
    "",
    "0",
    "-1",
    "1e308",
    "nan",
    "inf",
    "99999999",
    "20249999",
    "00010101",
    "99991231",
    "256199",
    "x",
    "1\\2",
    "\0",
]
DAMAGED = (
    "PatientWeight",
    "PatientSize",
    "PatientSex",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "Units",
    "DecayCorrection",
    "CorrectedImage",
    "FrameReferenceTime",
    "ActualFrameDuration",
    "DecayFactor",
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
    "TimezoneOffsetFromUTC",
    "DecayCorrectionDateTime",
)


def odd_header(make: Callable[[], Any], keyword: str, value: str) -> Any:
    """A header in which one value is what no writer should write; pydicom would refuse to take it as such."""
    header, tag = make(), Tag(tag_for_keyword(keyword))
    inside = keyword in pt.AGENT
    target = header.RadiopharmaceuticalInformationSequence[0] if inside else header
    raw = value.encode()
    target._dict[tag] = RawDataElement(tag, None, len(raw), raw, 0, True, True)
    return header


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("keyword", DAMAGED)
@pytest.mark.parametrize("make", [pt.header, pt.enhanced], ids=["slice", "enhanced"])
def test_odd_values_end_in_words_or_a_plausible_factor(make: Callable[[], Any], keyword: str) -> None:
    for value in ODD:
        for decay in ({}, {"decay_correction": "NONE"}):
            inputs = suv.inputs_of_series([odd_header(make, keyword, value)])
            found: tuple[float, ...] = ()
            with contextlib.suppress(DicomBridgeError):
                found = suv.factors(inputs, "SUVlbm", **decay).factors
            assert all(1e-5 < factor < 1e-2 for factor in found)
        assert isinstance(suv.offer(odd_header(make, keyword, value))[1], str)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [lambda: pt.philips(pt.header(Units="CNTS"), "0.0003"), pt.enhanced])
def test_flipped_bytes(make: Callable[[], Any]) -> None:
    """A thousand files with damaged bytes: our errors only."""
    buffer = BytesIO()
    dcmwrite(buffer, make(), implicit_vr=False, little_endian=True)
    whole, dice = buffer.getvalue(), random.Random(5)
    read = 0
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 12)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        try:
            header = dcmread(BytesIO(bytes(content)), force=True)
        except Exception:  # pydicom itself cannot read it
            continue
        read += 1
        assert isinstance(suv.offer(header)[0], bool)
        with contextlib.suppress(DicomBridgeError):
            suv.factors(suv.inputs_of_series([header, header]))
    assert read > 100


def test_cost_grows_linearly() -> None:
    """A whole-body series of 1000 slices takes a second or so, not minutes."""
    start = datetime.now()
    result = suv.factors(suv.inputs_of_series(pt.series([{}] * 1000)))
    assert len(result.factors) == 1000
    assert datetime.now() - start < timedelta(seconds=30)


@pytest.mark.parametrize("date", ["00010101", "99991231"])
@pytest.mark.parametrize("decay", ["START", "NONE"])
def test_dates_at_the_end_of_time(date: str, decay: str) -> None:
    """Frame times lead before the first and beyond the last day that a computer knows."""
    headers = pt.series(
        [{"FrameReferenceTime": "900000000"}, {"FrameReferenceTime": "900000000"}],
        AcquisitionDate=date,
        AcquisitionTime="235959.9",
        SeriesDate=date,
        SeriesTime="235959.95",
        DecayCorrection=decay,
        CorrectedImage=["ATTN", "DECY"][: 2 if decay == "START" else 1],
    )
    with pytest.raises(suv.MissingInput, match="is missing"):
        suv.factors(suv.inputs_of_series(headers))


def test_frames_of_which_only_some_have_a_time_zone() -> None:
    """The others are in the same one."""
    times = ("20240131110000+0100", "20240131110300")
    image = pt.enhanced(times)
    assert suv.factors(suv.inputs_of_series([image])).factors == pytest.approx([2.9212735e-4] * 2, rel=1e-7)
    plain = suv.inputs_of_series([pt.enhanced(DecayCorrected="NO")])
    mixed = suv.inputs_of_series([pt.enhanced(times, DecayCorrected="NO")])
    moment = "20240131100000"
    assert suv.factors(mixed, injection_datetime=moment).factors == suv.factors(plain).factors
