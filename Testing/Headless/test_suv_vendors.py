"""SUV factors, vendor by vendor and correction by correction, against arithmetic that is written out here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from support import pt_headers as pt

from dicombridge import suv
from dicombridge.errors import UnsupportedError

# The patient of support.pt_headers: 70 kg, 350 MBq of F-18 at 10:00, scan at 11:00.
# An hour is 3600 / 6586.2 = 0.5466 half-lives: 2^-0.5466 = 0.684633 is left, 239.6215 MBq; 70000 g / 239.6215 MBq.
HOUR = 2.921273e-4
UNDECAYED = 2.0e-4  # 70000 g / 350e6 Bq
AVERAGE_S = 89.857923  # of 180 s: k = ln 2 / 6586.2, 1/k ln(180 k / (1 - exp(-180 k)))
PROCESSED = {"SeriesTime": "130000"}  # after the acquisition


def frames(*times: str, **attributes: Any) -> list[Any]:
    return pt.series([{"AcquisitionTime": time} for time in times], **attributes)


def siemens_offsets(*offsets_s: float) -> list[Any]:
    """Beds of 180 s from 11:00, 184 s apart, whose average count rates are so long after the start of the scan."""
    times = ("110000", "110304", "110608")
    return pt.series(
        [
            {"AcquisitionTime": time, "FrameReferenceTime": f"{offset * 1000:.3f}"}
            for time, offset in zip(times, offsets_s, strict=False)
        ],
        **PROCESSED,
    )


def philips(suv_factor: str = "", activity: str = "", **attributes: Any) -> list[Any]:
    slices = pt.series([{}, {}], Manufacturer="Philips Medical Systems", **{"Units": "CNTS", **attributes})
    return [pt.philips(one, suv_factor, activity) for one in slices]


CASES: dict[str, tuple[Callable[[], list[Any]], float, float]] = {
    # name: headers, arithmetic, the same by hand (7 digits)
    "START, series time": (lambda: frames("110000", "110304"), 70e3 / (350e6 * 2 ** (-3600 / 6586.2)), HOUR),
    "START, time of injection only": (
        lambda: frames("110000", RadiopharmaceuticalStartDateTime=None),
        70e3 / (350e6 * 2 ** (-3600 / 6586.2)),
        HOUR,
    ),
    "START, series begins before the first bed": (
        lambda: frames("110130", "110434"),  # the series starts at 11:00:00 all the same
        70e3 / (350e6 * 2 ** (-3600 / 6586.2)),
        HOUR,
    ),
    "START, processed later, Siemens: from Frame Reference Time": (
        lambda: siemens_offsets(AVERAGE_S, AVERAGE_S + 184, AVERAGE_S + 368),
        70e3 / (350e6 * 2 ** (-3600 / 6586.2)),
        HOUR,
    ),
    "START, second scan after one injection, Siemens: values are corrected to a start 600 s before the first bed": (
        lambda: siemens_offsets(AVERAGE_S + 600, AVERAGE_S + 784),
        70e3 / (350e6 * 2 ** (-3000 / 6586.2)),  # 10:50; 2^-0.455498 = 0.729258, 255.2405 MBq
        2.742512e-4,
    ),
    "START, processed later, GE: private scan date and time": (
        lambda: [pt.ge(one, "20240131105800.00") for one in frames("110000", Manufacturer="GE", **PROCESSED)],
        70e3 / (350e6 * 2 ** (-3480 / 6586.2)),  # 10:58; 2^-0.528378 = 0.693334, 242.6669 MBq
        2.884612e-4,
    ),
    "START, processed later, GE without it: the earliest bed": (
        lambda: frames("110304", "110000", Manufacturer="GE MEDICAL SYSTEMS", **PROCESSED),
        70e3 / (350e6 * 2 ** (-3600 / 6586.2)),
        HOUR,
    ),
    "START, Decay Correction DateTime precedes all": (
        lambda: frames("110000", DecayCorrectionDateTime="20240131103000"),
        70e3 / (350e6 * 2 ** (-1800 / 6586.2)),  # 2^-0.273299 = 0.827425, 289.5989 MBq
        2.417136e-4,
    ),
    "ADMIN": (lambda: frames("110000", DecayCorrection="ADMIN"), 70e3 / 350e6, UNDECAYED),
    "NONE": (
        lambda: frames("110000", DecayCorrection="NONE", CorrectedImage=["ATTN"], ActualFrameDuration="180000"),
        70e3 / (350e6 * 2 ** (-(3600 + AVERAGE_S) / 6586.2)),  # 11:01:29.86; 2^-0.560241 = 0.678189, 237.3661 MBq
        2.949031e-4,
    ),
    "midnight": (
        lambda: frames(
            "003000",
            SeriesTime="003000",
            RadiopharmaceuticalStartTime="233000",
            RadiopharmaceuticalStartDateTime=None,
        ),
        70e3 / (350e6 * 2 ** (-3600 / 6586.2)),
        HOUR,
    ),
    "Philips counts with both factors": (
        # 0.5 Bq/ml a count: 0.5 * 2.921273e-4 = 1.460637e-4 SUV a count, as the SUV factor says
        lambda: philips("0.0001460637", "0.5"),
        0.5 * 70e3 / (350e6 * 2 ** (-3600 / 6586.2)),
        1.460637e-4,
    ),
    "Philips counts, factor to activity": (
        lambda: philips(activity="0.5"),
        0.5 * 70e3 / (350e6 * 2 ** (-3600 / 6586.2)),
        1.460637e-4,
    ),
    "Philips counts, factor to activity, ADMIN": (
        lambda: philips(activity="0.5", DecayCorrection="ADMIN"),
        0.5 * 70e3 / 350e6,
        1.0e-4,
    ),
    "Philips counts, factor to SUV": (lambda: philips("0.000123"), 0.000123, 1.23e-4),
    "Philips counts, factor to activity is 0": (lambda: philips("0.000123", "0"), 0.000123, 1.23e-4),
    "Philips counts, no dose but a factor to SUV": (
        lambda: philips("0.000123", "0.5", RadionuclideTotalDose=None),
        0.000123,
        1.23e-4,
    ),
    "Philips Bq/ml: its private factors are for counts": (
        lambda: philips("0.7", "3.5", Units="BQML"),
        70e3 / (350e6 * 2 ** (-3600 / 6586.2)),
        HOUR,
    ),
    "SUV already": (lambda: frames("110000", Units="GML", SUVType="BW"), 1.0, 1.0),
    "SUV already, no type": (lambda: frames("110000", Units="GML", RadionuclideTotalDose=None), 1.0, 1.0),
    "SUVlbm already": (
        lambda: frames("110000", Units="GML", SUVType="LBM"),
        70 / (1.10 * 70 - 120 * (70 / 175) ** 2),  # 77 - 120 * 0.16 = 57.8 kg
        1.211073,
    ),
    "SUVlbm by Janmahasatian already": (
        lambda: frames("110000", Units="GML", SUVType="LBMJANMA"),
        70 / (9270 * 70 / (6680 + 216 * 70 / 1.75**2)),  # BMI 22.857143: 648900 / 11617.142857 = 55.857108 kg
        1.253198,
    ),
    "SUVbsa already": (
        lambda: frames("110000", Units="CM2ML"),
        70e3 / (1e4 * 0.007184 * 70**0.425 * 175**0.725),  # 1.848143 m2
        3.787586,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_body_weight(name: str) -> None:
    headers, arithmetic, by_hand = CASES[name]
    result = suv.factors(suv.inputs_of_series(headers()), "SUVbw")
    assert arithmetic == pytest.approx(by_hand, rel=3e-7)
    assert result.factor == pytest.approx(arithmetic, rel=1e-6)
    assert len(result.factors) == len(headers())
    # Nothing is assumed but what the name says.
    assumed = {
        "midnight",
        "START, processed later, GE without it: the earliest bed",
        "Philips counts, no dose but a factor to SUV",
    }
    assert bool(result.warnings) == (name in assumed)


def test_no_decay_correction_differs_by_slice() -> None:
    slices = frames("110000", "110304", DecayCorrection="NONE", CorrectedImage=["ATTN"], ActualFrameDuration="180000")
    result = suv.factors(suv.inputs_of_series(slices), "SUVbw")
    first, second = (70e3 / (350e6 * 2 ** (-(3600 + wait + AVERAGE_S) / 6586.2)) for wait in (0, 184))
    assert result.factors == pytest.approx((first, second), rel=1e-7)
    assert second / first == pytest.approx(2 ** (184 / 6586.2), rel=1e-7)  # 1.019553
    assert result.factor is None
    assert "by slice" in result.audit


# --- enhanced ------------------------------------------------------------------------------------------------------


def test_enhanced() -> None:
    """The slope varies by frame, the factor for rescaled values does not."""
    result = suv.factors(suv.inputs_of_series([pt.enhanced()]), "SUVbw")
    assert result.factors == pytest.approx([HOUR, HOUR], rel=1e-6)
    assert result.warnings == ()
    assert "Decay Correction DateTime (0018,9701)" in result.audit


def test_enhanced_with_stored_values_in_other_units_than_rescaled_ones() -> None:
    """The map says 1000 Bq/ml a stored value where the rescale slope says 2.5: a rescaled value is 400 Bq/ml."""
    image = pt.enhanced(maps=False)
    for frame, slope in zip(image.PerFrameFunctionalGroupsSequence, (1000.0, 3000.0), strict=True):
        frame.RealWorldValueMappingSequence = [pt.value_map(pt.code("Bq/ml", "UCUM", ""), slope)]
    result = suv.factors(suv.inputs_of_series([image]), "SUVbw")
    assert result.factors == pytest.approx([1000 / 2.5 * HOUR, 3000 / 5 * HOUR], rel=1e-6)


@pytest.mark.parametrize("spelling", ["{SUVlbm}g/ml", "g/ml{SUVlbm}"])
def test_enhanced_suv(spelling: str) -> None:
    image = pt.enhanced(units=pt.code(spelling, "UCUM", "lean body mass"))
    inputs = suv.inputs_of_series([image])
    assert suv.factors(inputs, "SUVlbm").factor == 1.0
    assert suv.factors(inputs, "SUVbw").factor == pytest.approx(70 / 57.8, rel=1e-12)


def test_enhanced_kilobecquerels() -> None:
    image = pt.enhanced(units=pt.code("kBq/ml", "UCUM", ""))
    assert suv.factors(suv.inputs_of_series([image]), "SUVbw").factor == pytest.approx(1000 * HOUR, rel=1e-6)


def test_enhanced_without_decay_correction() -> None:
    image = pt.enhanced(DecayCorrected="NO", DecayCorrectionDateTime=None)
    result = suv.factors(suv.inputs_of_series([image]), "SUVbw")
    waits = (3600 + AVERAGE_S, 3780 + AVERAGE_S)
    assert result.factors == pytest.approx([70e3 / (350e6 * 2 ** (-wait / 6586.2)) for wait in waits], rel=1e-7)


def test_enhanced_across_time_zones() -> None:
    """Injected at 10:00+0100, corrected to 10:00 UTC: an hour."""
    image = pt.enhanced(
        DecayCorrectionDateTime="20240131100000+0000", RadiopharmaceuticalStartDateTime="20240131100000+0100"
    )
    assert suv.factors(suv.inputs_of_series([image])).factor == pytest.approx(HOUR, rel=1e-6)


def test_enhanced_with_two_agents_uses_that_of_its_frames() -> None:
    image = pt.enhanced()
    image.RadiopharmaceuticalInformationSequence = [
        pt.agent(RadiopharmaceuticalAgentNumber=1, RadionuclideTotalDose="700000000"),
        pt.agent(RadiopharmaceuticalAgentNumber=2),
    ]
    with pytest.raises(suv.MissingInput, match="2 doses"):
        suv.factors(suv.inputs_of_series([image]))
    image.SharedFunctionalGroupsSequence[0].RadiopharmaceuticalUsageSequence = [
        pt.item(RadiopharmaceuticalAgentNumber=2)
    ]
    assert suv.factors(suv.inputs_of_series([image])).factor == pytest.approx(HOUR, rel=1e-6)


def test_enhanced_map_that_does_not_fit_the_rescaled_values() -> None:
    image = pt.enhanced()
    image.PerFrameFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].RealWorldValueIntercept = 100.0
    with pytest.raises(suv.MissingInput, match="do not fit"):
        suv.factors(suv.inputs_of_series([image]))


def test_legacy_converted() -> None:
    result = suv.factors(suv.inputs_of_series([pt.legacy(frames("110000", "110304"))]))
    assert result.factors == pytest.approx([HOUR, HOUR], rel=1e-6)
    processed = pt.legacy(siemens_offsets(AVERAGE_S + 600, AVERAGE_S + 784))
    result = suv.factors(suv.inputs_of_series([processed]))
    assert result.factors == pytest.approx([2.742512e-4] * 2, rel=1e-6)
    none = pt.legacy(frames("110000", "110304", DecayCorrection="NONE", CorrectedImage=["ATTN"]))
    assert suv.factors(suv.inputs_of_series([none])).factors[0] == pytest.approx(2.949031e-4, rel=1e-6)


# --- real files ----------------------------------------------------------------------------------------------------


def real(folder: Path) -> list[Any]:
    return [dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir()) if path.suffix != ".gz"]


def test_ge_discovery(data: Path) -> None:
    """11:20:11 - 10:35:00 = 2711 s = 0.411506 half-lives of 6588 s: 388.777472 MBq * 0.751838 = 292.2978 MBq; 71 kg.

    The slope differs in all 267 slices; the factor is for rescaled values.
    """
    headers = real(data / "pet/sts_001_ge/pet")
    inputs = suv.inputs_of_series(headers)
    result = suv.factors(inputs, "SUVbw")
    assert len(result.factors) == 267
    assert result.factor == pytest.approx(71e3 / (388777472 * 2 ** (-2711 / 6588)), rel=1e-12)
    assert result.factor == pytest.approx(2.429030e-4, rel=2e-7)
    assert result.warnings == ()
    # 1.10 * 71 - 120 * (71 / 163)^2 = 78.1 - 22.767887 = 55.332113 kg
    assert suv.factors(inputs, "SUVlbm").factor == pytest.approx(55.332113 / 71 * 2.429030e-4, rel=1e-6)
    # 0.007184 * 71^0.425 * 163^0.725 = 1.765985 m2
    assert suv.factors(inputs, "SUVbsa").factor == pytest.approx(17659.85 / 71e3 * 2.429030e-4, rel=1e-6)
    assert all(suv.offer(header) == (True, "") for header in headers[::20])


def test_siemens_of_acrin(data: Path) -> None:
    """15:23:16.921 - 14:17:00 = 3976.921 s: 178.340012 MBq * 2^-0.603826 = 117.348881 MBq; 69.7344 kg. No height."""
    (header,) = real(data / "pet/misc")
    inputs = suv.inputs_of_series([header])
    result = suv.factors(inputs, "SUVbw")
    assert result.factor == pytest.approx(69734.4 / (178340011.59668 * 2 ** (-3976.921 / 6586.2)), rel=1e-12)
    assert result.factor == pytest.approx(69734.4 / 117348881, rel=1e-7)
    for kind in suv.SUV_TYPES[1:]:
        with pytest.raises(suv.MissingInput, match=r"height.*missing.*option height_m"):
            suv.factors(inputs, kind)
    # 0.91 * (165 - 152) + 45.5 = 57.33 kg
    ideal = suv.factors(inputs, "SUVibw", height_m=1.65)
    assert ideal.factor == pytest.approx(57330 / 117348881, rel=1e-7)
    assert suv.offer(header) == (True, "")


def test_cps(data: Path) -> None:
    """13:02:44.678 - 11:39:00 = 5024.678 s: 381.47 MBq * 2^-0.762910 = 224.802734 MBq; 66.2 kg. Eight beds."""
    inputs = suv.inputs_of_series(real(data / "seg/qin_headneck_0024/pet"))
    result = suv.factors(inputs, "SUVbw")
    assert len(result.factors) == 299
    assert result.factor == pytest.approx(66200 / (381.47e6 * 2 ** (-5024.678 / 6586.2)), rel=1e-12)
    assert result.factor == pytest.approx(66200 / 224802734, rel=1e-7)
    assert result.warnings == ()


def test_suv_images_of_ibsi(data: Path) -> None:
    """Its values are SUVbw; the date of its injection is wrong, which does not matter then. 99 kg, 1.74 m."""
    inputs = suv.inputs_of_series(real(data / "rt/sts_002_mim/pet/image"))
    assert suv.factors(inputs, "SUVbw").factors == (1.0,) * 48
    # 1.10 * 99 - 120 * (99 / 174)^2 = 108.9 - 38.846611 = 70.053389 kg
    assert suv.factors(inputs, "SUVlbm").factor == pytest.approx(70.053389 / 99, rel=1e-8)
    with pytest.raises(UnsupportedError, match="injected_dose_bq cannot be exchanged"):
        suv.factors(inputs, "SUVbw", injected_dose_bq=1e8)


def test_nuclear_medicine(data: Path) -> None:
    header = dcmread(data / "images/nm/nm_adac.dcm", stop_before_pixels=True)
    possible, why = suv.offer(header)
    assert (possible, why) == (False, "This is no PET image.")
    with pytest.raises(suv.MissingInput, match="no PET images"):
        suv.factors(suv.inputs_of_series([header]))


def test_nuclear_medicine_stored_as_pet(data: Path) -> None:
    """The same gamma camera's header under the SOP class of PET, with all that an SUV asks for."""
    header = dcmread(data / "images/nm/nm_adac.dcm", stop_before_pixels=True)
    agent = header.RadiopharmaceuticalInformationSequence[0]
    pt.with_attributes(agent, {**pt.AGENT, "RadionuclideHalfLife": "21624"})
    pt.with_attributes(header, {**pt.BASE, "Manufacturer": "ADAC"})
    possible, why = suv.offer(header)
    assert not possible
    assert "Tc-99m emits no positrons" in why


# --- beside the trodden path ---------------------------------------------------------------------------------------


def test_reference_times_from_somewhere_else() -> None:
    """Frame Reference Time that does not count from one moment is not used, and a person is told."""
    inputs = suv.inputs_of_series(siemens_offsets(AVERAGE_S, AVERAGE_S + 400, AVERAGE_S + 5000))
    result = suv.factors(inputs)
    assert result.factor == pytest.approx(HOUR, rel=1e-6)
    assert "another start of the scan for each slice" in result.warnings[0]


def test_no_radiopharmaceutical() -> None:
    with pytest.raises(suv.MissingInput) as caught:
        suv.factors(suv.inputs_of_series([pt.header([])]))
    assert caught.value.options == ("injected_dose_bq", "half_life_s")
    options = {"injected_dose_bq": 350e6, "half_life_s": 6586.2, "injection_datetime": "20240131100000"}
    assert suv.factors(suv.inputs_of_series([pt.header([])]), **options).factor == pytest.approx(HOUR, rel=1e-6)


def test_private_factors_of_unknown_representation() -> None:
    """An archive that does not know the private elements hands them on as UN, in bytes."""
    header = pt.header(Units="CNTS")
    header.private_block(0x7053, pt.PHILIPS, create=True).add_new(0x00, "UN", b"0.000123 ")
    assert suv.factors(suv.inputs_of_series([header])).factor == 0.000123


def test_suv_images_without_attenuation_correction() -> None:
    result = suv.factors(suv.inputs_of_series(frames("110000", Units="GML", CorrectedImage=["DECY"])))
    assert (result.factor, result.warnings) == (
        1.0,
        ("The images are not corrected for attenuation (Corrected Image (0028,0051)).",),
    )


@pytest.mark.parametrize(
    ("units", "slope", "words"),
    [
        ("Bq/ml", None, "no slope and intercept"),
        ("{propcounts}/s", 2.5, "PROPCPS.*no SUV"),
        ("mmol/l", 2.5, "in mmol/l.*no SUV"),
    ],
)
def test_enhanced_maps_that_lead_nowhere(units: str, slope: float | None, words: str) -> None:
    image = pt.enhanced(units=pt.code(units, "UCUM", ""))
    for frame in image.PerFrameFunctionalGroupsSequence:
        frame.RealWorldValueMappingSequence[0].RealWorldValueSlope = slope
    with pytest.raises(suv.MissingInput, match=words):
        suv.factors(suv.inputs_of_series([image]))


def test_enhanced_frames_in_different_units() -> None:
    image = pt.enhanced()
    counts = pt.code("{counts}", "UCUM", "")
    image.PerFrameFunctionalGroupsSequence[1].RealWorldValueMappingSequence = [pt.value_map(counts, 1.0)]
    with pytest.raises(suv.MissingInput, match="units are BQML, CNTS"):
        suv.factors(suv.inputs_of_series([image]))


def test_enhanced_with_maps_to_activity_and_to_suv() -> None:
    """The scanner's own SUV map is not taken: what went into it is unknown, the activity is not."""
    image = pt.enhanced()
    other = pt.code("g/ml{SUVbw}", "UCUM", "")
    for frame in image.PerFrameFunctionalGroupsSequence:
        frame.RealWorldValueMappingSequence.insert(0, pt.value_map(other, 0.001))
    assert suv.factors(suv.inputs_of_series([image])).factor == pytest.approx(HOUR, rel=1e-6)


def test_result_has_the_codes_of_its_kind() -> None:
    result = suv.factors(suv.inputs_of_series(frames("110000")), "SUVlbm(Janma)")
    assert (result.units.value, result.method.value) == ("{SUVlbm(Janma)}g/ml", "126414")
