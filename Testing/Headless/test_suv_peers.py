"""Agreement with cornerstone's calculate-suv on every case that it supports; where it differs, the reason is here."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from support import peers
from support import pt_headers as pt

from dicombridge import suv

KINDS = {"suvbw": "SUVbw", "suvlbm": "SUVlbm", "suvlbmJanma": "SUVlbm(Janma)", "suvbsa": "SUVbsa"}
AVERAGE_MS = "89857.923"  # of a frame of 180 s

PLAIN = ("Units", "DecayCorrection", "PatientSex", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime")
NUMBERS = ("PatientWeight", "PatientSize", "FrameReferenceTime", "ActualFrameDuration")
AGENT_NUMBERS = ("RadionuclideTotalDose", "RadionuclideHalfLife")
AGENT_PLAIN = ("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime")


def instance(header: Any) -> dict[str, Any]:
    """A header in the shape of calculate-suv's InstanceMetadata."""
    agent = header.RadiopharmaceuticalInformationSequence[0]
    found: dict[str, Any] = {"CorrectedImage": list(header.CorrectedImage)}
    found |= {keyword: str(header[keyword].value) for keyword in PLAIN if header.get(keyword)}
    found |= {keyword: float(header[keyword].value) for keyword in NUMBERS if header.get(keyword) is not None}
    found |= {keyword: float(agent[keyword].value) for keyword in AGENT_NUMBERS if agent.get(keyword) is not None}
    found |= {keyword: str(agent[keyword].value) for keyword in AGENT_PLAIN if agent.get(keyword)}
    with contextlib.suppress(KeyError):
        found["GEPrivatePostInjectionDateTime"] = str(header.private_block(0x0009, pt.GE)[0x0D].value)
    try:
        block = header.private_block(0x7053, pt.PHILIPS)
    except KeyError:
        return found
    names = {0x00: "SUVScaleFactor", 0x09: "ActivityConcentrationScaleFactor"}
    found["PhilipsPETPrivateGroup"] = {name: float(block[at].value) for at, name in names.items() if at in block}
    return found


def theirs(folder: Path, *series: Sequence[Any]) -> list[Any]:
    path = folder / "cases.json"
    path.write_text(json.dumps([[instance(header) for header in headers] for headers in series]))
    answers: list[Any] = peers.node("suv.mjs", path)
    return answers


def slices(count: int = 2, **attributes: Any) -> list[Any]:
    times = ("110000", "110304", "110608.5")
    return pt.series([{"AcquisitionTime": time} for time in times[:count]], **attributes)


def philips(suv_factor: str = "", activity: str = "", **attributes: Any) -> list[Any]:
    return [pt.philips(one, suv_factor, activity) for one in slices(**attributes)]


LATER = {"SeriesTime": "130000"}
CASES: dict[str, tuple[Sequence[Any], tuple[str, ...]]] = {
    # name: headers, what is compared
    "START": (slices(), tuple(KINDS)),
    "START, a woman": (slices(PatientSex="F", PatientWeight="58.4", PatientSize="1.62"), tuple(KINDS)),
    "time of injection only": (slices(RadiopharmaceuticalStartDateTime=None), tuple(KINDS)),
    "fractions of a second": (slices(RadiopharmaceuticalStartDateTime="20240131095959.25"), tuple(KINDS)),
    "injection on the evening before": (
        slices(
            SeriesTime="010000",
            SeriesDate="20240201",
            AcquisitionDate="20240201",
            RadiopharmaceuticalStartDateTime="20240131235000",
            RadiopharmaceuticalStartTime="235000",
        ),
        tuple(KINDS),
    ),
    "Ga-68": (slices(RadionuclideHalfLife="4062.6"), tuple(KINDS)),
    "processed later, GE": (
        [pt.ge(one, "20240131105800.00") for one in slices(Manufacturer="GE MEDICAL SYSTEMS", **LATER)],
        tuple(KINDS),
    ),
    "processed later, GE without private time": (slices(Manufacturer="GE MEDICAL SYSTEMS", **LATER), tuple(KINDS)),
    "processed later, Siemens": (
        pt.series(
            [
                {"AcquisitionTime": "110000", "FrameReferenceTime": AVERAGE_MS},
                {"AcquisitionTime": "110304", "FrameReferenceTime": f"{float(AVERAGE_MS) + 184000:.3f}"},
            ],
            **LATER,
        ),
        tuple(KINDS),
    ),
    "processed later, no reference times": (slices(3, **LATER), tuple(KINDS)),
    "Philips, SUV factor": (philips("0.000123", Units="CNTS"), ("suvbw",)),
    "Philips, activity factor": (philips("", "0.5", Units="CNTS"), ("suvbw",)),
    "Philips, both": (philips("0.00014606367", "0.5", Units="CNTS"), ("suvbw",)),
    "Philips, Bq/ml": (philips("0.7", "3.5"), tuple(KINDS)),
    "SUV already": (slices(Units="GML", SUVType="BW"), ("suvbw",)),
}


def test_cornerstone_agrees(tmp_path: Path) -> None:
    answers = theirs(tmp_path, *(headers for headers, _ in CASES.values()))
    compared = 0
    for (name, (headers, kinds)), answer in zip(CASES.items(), answers, strict=True):
        inputs = suv.inputs_of_series(headers)
        for kind in kinds:
            expected = [one[kind] for one in answer]
            assert suv.factors(inputs, KINDS[kind]).factors == pytest.approx(expected, rel=1e-6), (name, kind)
            compared += 1
    assert compared == 11 * 4 + 4


def test_cornerstone_agrees_on_real_files(data: Path, tmp_path: Path) -> None:
    folders = [data / "pet/sts_001_ge/pet", data / "pet/misc", data / "seg/qin_headneck_0024/pet"]
    real = [[dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())] for folder in folders]
    answers = theirs(tmp_path, *real)
    kinds = (KINDS, {"suvbw": "SUVbw"}, {"suvbw": "SUVbw"})  # two of them have no height
    for headers, answer, names in zip(real, answers, kinds, strict=True):
        inputs = suv.inputs_of_series(headers)
        assert set(answer[0]) == set(names)
        for kind, ours in names.items():
            assert suv.factors(inputs, ours).factors == pytest.approx([one[kind] for one in answer], rel=1e-12)


def test_where_cornerstone_gives_nothing(tmp_path: Path) -> None:
    """What it refuses we refuse too, but for these, which it does not support: PS3.3 C.8.9.1 defines them."""
    unsupported = {
        "CM2ML": slices(Units="CM2ML"),
        "NONE": slices(DecayCorrection="NONE", CorrectedImage=["ATTN"]),
        "midnight": slices(
            SeriesTime="003000",
            AcquisitionTime="003000",
            RadiopharmaceuticalStartTime="233000",
            RadiopharmaceuticalStartDateTime=None,
        ),
    }
    refused = {
        "not corrected for attenuation": slices(CorrectedImage=["DECY"]),
        "START without DECY": slices(CorrectedImage=["ATTN"]),
        "PROPCPS": slices(Units="PROPCPS"),
        "counts": slices(Units="CNTS"),
        "no weight": slices(PatientWeight=None),
        "no dose": slices(RadionuclideTotalDose=None),
        "no half-life": slices(RadionuclideHalfLife=None),
        "injected afterwards": slices(RadiopharmaceuticalStartDateTime="20240131120000"),
        "no injection": slices(RadiopharmaceuticalStartDateTime=None, RadiopharmaceuticalStartTime=None),
        "two weights": pt.series([{}, {"PatientWeight": "71"}]),
    }
    answers = theirs(tmp_path, *unsupported.values(), *refused.values())
    assert [isinstance(answer, dict) and "error" in answer for answer in answers] == [True] * len(answers)
    for headers in unsupported.values():
        assert suv.factors(suv.inputs_of_series(headers)).factors
    for headers in refused.values():
        with pytest.raises(suv.MissingInput):
            suv.factors(suv.inputs_of_series(headers))


def test_where_cornerstone_differs(tmp_path: Path) -> None:
    """It looks neither at Decay Correction, nor at Frame Reference Time, nor at what is plausible."""
    admin = slices(DecayCorrection="ADMIN")
    second_scan = pt.series(
        [
            {"AcquisitionTime": "110000", "FrameReferenceTime": "689857.923"},
            {"AcquisitionTime": "110304", "FrameReferenceTime": "873857.923"},
        ],
        **LATER,
    )
    grams = slices(PatientWeight="70000")
    answers = theirs(tmp_path, admin, second_scan, grams)
    ours = [suv.factors(suv.inputs_of_series(headers)).factor or 0 for headers in (admin, second_scan)]
    # It decays the dose of values that are corrected to the injection: an hour of F-18 too much.
    assert answers[0][0]["suvbw"] / ours[0] == pytest.approx(2 ** (3600 / 6586.2), rel=1e-9)
    # QIBA's variant for several scans after one injection is switched off in it: ten minutes too much.
    assert answers[1][0]["suvbw"] / ours[1] == pytest.approx(2 ** (600 / 6586.2), rel=1e-6)
    assert answers[2][0]["suvbw"] == pytest.approx(0.29212735, rel=1e-7)  # a thousand times too high
    with pytest.raises(suv.MissingInput, match="grams"):
        suv.factors(suv.inputs_of_series(grams))
