"""SUVs that must not be: what is missing or wrong is named with the option that supplies it, and no number is given."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from support import pt_headers as pt

from dicombridge import suv
from dicombridge.errors import UnsupportedError
from dicombridge.suv.nuclides import HALF_LIVES

HOUR = 2.9212735e-4
"""SUVbw of 1 Bq/ml in the patient of support.pt_headers; test_suv_vendors.py has the arithmetic."""
DECAYED = 350e6 * 2 ** (-3600 / 6586.2)


def result_of(*headers: Any, type: str = "SUVbw", **options: Any) -> suv.SuvResult:
    return suv.factors(suv.inputs_of_series(headers or [pt.header()]), type, **options)


def refused(*headers: Any, type: str = "SUVbw", **options: Any) -> suv.MissingInput:
    with pytest.raises(suv.MissingInput) as caught:
        result_of(*headers, type=type, **options)
    return caught.value


# --- body measures -------------------------------------------------------------------------------------------------

BODIES: list[tuple[str, str, float]] = [
    # 70 kg, 175 cm: W/H = 0.4, BMI = 70 / 1.75^2 = 22.857143
    ("SUVbw", "M", 70e3),
    ("SUVbw", "F", 70e3),
    ("SUVlbm", "M", 57.8e3),  # 1.10 * 70 - 120 * 0.16 = 77 - 19.2
    ("SUVlbm", "F", 51.22e3),  # 1.07 * 70 - 148 * 0.16 = 74.9 - 23.68
    ("SUVlbm(James128)", "M", 56.52e3),  # 77 - 128 * 0.16 = 77 - 20.48
    ("SUVlbm(James128)", "F", 51.22e3),
    ("SUVlbm(Janma)", "M", 55.8571077e3),  # 648900 / (6680 + 216 * 22.857143) = 648900 / 11617.142857
    ("SUVlbm(Janma)", "F", 45.1970149e3),  # 648900 / (8780 + 244 * 22.857143) = 648900 / 14357.142857
    ("SUVbsa", "M", 1.84814302e4),  # 0.007184 * 70^0.425 * 175^0.725 = 0.007184 * 6.083237 * 42.289...
    ("SUVibw", "M", 72.38e3),  # 48.0 + 1.06 * (175 - 152) = 48 + 24.38
    ("SUVibw", "F", 66.43e3),  # 45.5 + 0.91 * 23 = 45.5 + 20.93
]


@pytest.mark.parametrize(("kind", "sex", "numerator"), BODIES)
def test_kinds(kind: str, sex: str, numerator: float) -> None:
    result = result_of(pt.header(PatientSex=sex), type=kind)
    assert result.factor == pytest.approx(numerator / DECAYED, rel=1e-8)
    assert result.warnings == ()
    assert result.units.value.startswith(f"{{{kind}}}")
    assert suv.DICOM_UNITS[kind].value.endswith(f"{{{kind}}}")
    assert (result.quantity.value, result.quantity.scheme_designator) == ("126400", "DCM")


def test_codes_are_those_of_the_standard() -> None:
    """PS3.16 CID 85 "SUV Unit" and the measurement methods, as pydicom has them."""
    from pydicom.sr._cid_dict import cid_concepts
    from pydicom.sr._concepts_dict import concepts

    units = {code for name in cid_concepts[85]["UCUM"] for code in concepts["UCUM"][name]}
    assert {code.value for code in suv.DICOM_UNITS.values()} == units
    methods = {code: meaning for name in concepts["DCM"] for code, (meaning, _) in concepts["DCM"][name].items()}
    assert all(methods[code.value] == code.meaning for code in suv.METHODS.values())
    assert {code.value for code in suv.METHODS.values()} == {str(number) for number in range(126410, 126416)}


def test_unknown_kind() -> None:
    with pytest.raises(UnsupportedError, match="choose one of SUVbw, SUVlbm"):
        result_of(type="SUVfat")


# --- missing and wrong values --------------------------------------------------------------------------------------

AT_ELEVEN = {"injection_datetime": "20240131100000"}
NO_DATETIME = {"RadiopharmaceuticalStartDateTime": None}
NO_TIME = {**NO_DATETIME, "RadiopharmaceuticalStartTime": None}
NO_SCAN = {"SeriesTime": None, "AcquisitionTime": None}
LONG = {"RadionuclideHalfLife": "282276", **NO_DATETIME}  # Zr-89
OTHER_DATE = {"RadiopharmaceuticalStartDateTime": "20100605100000"}

REFUSALS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    # name: what is wrong, words of the message, the options that make it right
    "no weight": ({"PatientWeight": None}, "weight.*is missing", {"weight_kg": 70}),
    "empty weight": ({"PatientWeight": ""}, "weight.*is missing", {"weight_kg": 70}),
    "weight 0": ({"PatientWeight": "0"}, "weight.*is 0 kg", {"weight_kg": 70}),
    "weight in g": ({"PatientWeight": "70000"}, "70000 kg cannot be right.*grams", {"weight_kg": 70}),
    "negative weight": ({"PatientWeight": "-70"}, "weight.*is -70 kg", {"weight_kg": 70}),
    "no dose": ({"RadionuclideTotalDose": None}, "dose.*is missing", {"injected_dose_bq": 350e6}),
    "dose 0": ({"RadionuclideTotalDose": "0"}, "dose.*is 0 Bq", {"injected_dose_bq": 350e6}),
    "dose in MBq": ({"RadionuclideTotalDose": "350"}, "350 Bq cannot be right.*MBq", {"injected_dose_bq": 350e6}),
    "dose in kBq": ({"RadionuclideTotalDose": "350000"}, "350000 Bq cannot.*kBq", {"injected_dose_bq": 350e6}),
    "absurd dose": ({"RadionuclideTotalDose": "3.5e14"}, "3.5e.14 Bq cannot be right", {"injected_dose_bq": 350e6}),
    "weight in tonnes": ({"PatientWeight": "0.07"}, "0.07 kg cannot both be right", {"weight_kg": 70}),
    "no half-life": ({"RadionuclideHalfLife": None}, "half-life.*is missing", {"half_life_s": 6586.2}),
    "half-life in min": ({"RadionuclideHalfLife": "0.5"}, "0.5 s cannot be right", {"half_life_s": 6586.2}),
    "no injection": (NO_TIME, "injected is missing", AT_ELEVEN),
    "injection at midnight": (
        {**NO_DATETIME, "RadiopharmaceuticalStartTime": "000000.00"},
        "exactly midnight: it was removed",
        AT_ELEVEN,
    ),
    "injection after the scan": (
        {**NO_DATETIME, "RadiopharmaceuticalStartTime": "113000"},
        "after the start of the scan.*day before would be too early",
        AT_ELEVEN,
    ),
    "injection an hour too late": ({"RadiopharmaceuticalStartDateTime": "20240131120000"}, "do not fit", AT_ELEVEN),
    "injection years before": ({**OTHER_DATE, "RadiopharmaceuticalStartTime": None}, "do not fit", AT_ELEVEN),
    "injection 20 hours before": (
        {**NO_DATETIME, "RadiopharmaceuticalStartTime": "010000", "SeriesTime": "210000", "AcquisitionTime": "210000"},
        "10.9 half-lives before",
        {"injection_datetime": "20240131200000"},
    ),
    "no date of a long-lived nuclide": (LONG, "may have been on another day", {**AT_ELEVEN, "half_life_s": 6586.2}),
    "zone of the injection alone": (
        {"RadiopharmaceuticalStartDateTime": "20240131090000+0000"},
        "has a time zone, but the times of the series have none",
        AT_ELEVEN,
    ),
    "no scan": (NO_SCAN, "scan started is missing", {"scan_datetime": "20240131110000"}),
    "scan at midnight": (
        {"SeriesTime": "000000", "AcquisitionTime": "000000"},
        "exactly midnight.*its time was removed",
        {"scan_datetime": "20240131110000"},
    ),
    "series years before its acquisition": (
        {"SeriesDate": "19000101"},
        "do not fit; a date was altered",
        {"scan_datetime": "20240131110000"},
    ),
    "decay factor of another start": (
        {"DecayFactor": "1.48"},
        "Decay Factor .* is 1.48, 1.466 of what",
        {"scan_datetime": "20240131110000"},
    ),
    "no decay correction": ({"DecayCorrection": None}, "START, ADMIN or NONE", {"decay_correction": "START"}),
    "unknown decay correction": ({"DecayCorrection": "YES"}, "'YES': START", {"decay_correction": "start"}),
    "START without DECY": ({"CorrectedImage": ["ATTN"]}, "lacks DECY", {"decay_correction": "START"}),
    "NONE with DECY": ({"DecayCorrection": "NONE"}, "NONE, but.*has DECY", {"decay_correction": "START"}),
    "NONE with a decay factor": (
        {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"], "DecayFactor": "1.2"},
        "Decay Factor .* above 1",
        {"decay_correction": "START", "scan_datetime": "20240131110000"},
    ),
    "ADMIN with the decay factor of START": (
        {"DecayCorrection": "ADMIN", "DecayFactor": "1.009502"},
        "ADMIN, but Decay Factor .* is that of a correction to the start",
        {"decay_correction": "START"},
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_until_supplied(name: str) -> None:
    attributes, words, options = REFUSALS[name]
    with pytest.raises(suv.MissingInput, match=words) as caught:
        result_of(pt.header(**attributes))
    assert set(caught.value.options) & set(options)
    assert all(f"option {option}" in str(caught.value) for option in caught.value.options)
    possible, warning = suv.offer(pt.header(**attributes))
    assert (possible, warning) == (False, str(caught.value))
    result = result_of(pt.header(**attributes), **options)
    assert result.factor == pytest.approx(HOUR, rel=1e-6)
    assert all(f"from option {option}" in result.audit for option in caught.value.options if option in options)


NEVER: dict[str, tuple[dict[str, Any], str]] = {
    "not corrected for attenuation": ({"CorrectedImage": ["DECY", "SCAT"]}, "not corrected for attenuation"),
    "PROPCPS": ({"Units": "PROPCPS"}, "proportional to counts per second.*no SUV"),
    "PROPCNTS": ({"Units": "PROPCNTS"}, "proportional to counts .*no SUV"),
    "CPS": ({"Units": "CPS"}, "counts per second.*no SUV"),
    "PCNT": ({"Units": "PCNT"}, "percent.*no SUV"),
    "1CM": ({"Units": "1CM"}, "in 1CM.*no SUV"),
    "CNTS without private factors": ({"Units": "CNTS"}, "private factors of Philips.*not there.*no SUV"),
    "no units": ({"Units": None}, "does not say what the values are"),
    "transmission": ({"CountsSource": "TRANSMISSION"}, "transmission image"),
    "unknown kind": ({"Units": "GML", "SUVType": "FAT"}, "unknown kind"),
    "GML of a surface": ({"Units": "GML", "SUVType": "BSA"}, "contradicts itself"),
    "CM2ML of a weight": ({"Units": "CM2ML", "SUVType": "BW"}, "contradicts itself"),
    "SPECT by image type": ({"ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]}, "gamma camera"),
    "SPECT by modality": ({"Modality": "NM"}, "gamma camera"),
    "SPECT by half-life": ({"RadionuclideHalfLife": "21620"}, "gamma camera.*Tc-99m"),
    "SPECT of In-111": ({"RadionuclideHalfLife": "242326"}, "gamma camera.*In-111"),
    "SPECT by collimator": ({"CollimatorType": "PARA"}, "gamma camera.*Collimator Type"),
    "SPECT by energy windows": ({"EnergyWindowInformationSequence": [pt.item()]}, "gamma camera"),
    "CT": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "no PET image"),
}


@pytest.mark.parametrize("name", NEVER)
def test_never(name: str) -> None:
    attributes, words = NEVER[name]
    with pytest.raises(suv.MissingInput, match=words) as caught:
        result_of(pt.header(**attributes))
    assert caught.value.options == ()
    assert suv.offer(pt.header(**attributes))[0] is False
    everything = {"weight_kg": 70, "injected_dose_bq": 350e6, "decay_correction": "START", **AT_ELEVEN}
    with pytest.raises(suv.MissingInput, match=words):
        result_of(pt.header(**attributes), **everything)


def test_all_that_is_missing_is_told_at_once() -> None:
    error = refused(pt.header(PatientWeight=None, RadionuclideTotalDose=None, DecayCorrection=None))
    assert error.options == ("weight_kg", "injected_dose_bq", "decay_correction")
    assert len(error.problems) == 3
    error = refused(pt.header(PatientSize="175", PatientSex="O"), type="SUVlbm")
    assert error.options == ("height_m", "sex")
    assert "175 m cannot be right (centimetres?)" in str(error)
    assert result_of(pt.header(PatientSize="175", PatientSex="O"), type="SUVlbm", height_m=1.75, sex="m").factor == (
        pytest.approx(57.8e3 / DECAYED, rel=1e-9)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight_kg": 70000}, "70000 kg cannot be right"),
        ({"height_m": 175}, "175 m cannot be right"),
        ({"injected_dose_bq": 350}, "350 Bq cannot be right"),
        ({"half_life_s": 0.0}, "is missing"),
        ({"sex": "other"}, "'OTHER', and the formula is for M and F"),
        ({"injection_datetime": "20240131120000"}, "do not fit"),
        ({"injection_datetime": datetime(2024, 1, 1)}, "do not fit"),
    ],
)
def test_options_are_checked_too(options: dict[str, Any], words: str) -> None:
    with pytest.raises(suv.MissingInput) as caught:
        result_of(type="SUVlbm", **options)
    assert words in str(caught.value)


def test_moment_of_images_without_decay_correction() -> None:
    slices = pt.series([{}, {"AcquisitionTime": "120000"}], DecayCorrection="NONE", CorrectedImage=["ATTN"])
    result = result_of(*slices, scan_datetime=datetime(2024, 1, 31, 11))
    assert result.factors == pytest.approx([HOUR, HOUR], rel=1e-6)


def test_options_without_effect() -> None:
    result = result_of(pt.header(DecayCorrection="ADMIN"), half_life_s=100)
    assert (result.factor, result.warnings[0].split(": ")[1]) == (2e-4, "option half_life_s has no effect.")


def test_options_that_are_no_moments() -> None:
    with pytest.raises(UnsupportedError, match="injection_datetime='ten' is no date"):
        result_of(injection_datetime="ten")
    with pytest.raises(UnsupportedError, match="decay_correction='LATER' is none of START"):
        result_of(decay_correction="LATER")


def test_lean_body_mass_that_cannot_be() -> None:
    """James' formula turns over: 150 kg at 1.10 m is 165 - 120 * 1.8595 = -58 kg."""
    assert "which cannot be" in str(refused(pt.header(PatientWeight="150", PatientSize="1.1"), type="SUVlbm"))


# --- assumed, and said so ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "hours", "words"),
    [
        ({"CorrectedImage": None}, 1, "does not say which corrections"),
        (OTHER_DATE, 1, "Only the time of day was used"),
        ({"RadiopharmaceuticalStartTime": "093000"}, 1, "is another time of day"),
        ({"DecayFactor": "1.05"}, 1, "Decay Factor .* is 1.05, 1.04 of what"),
        (
            {**NO_DATETIME, "SeriesType": ["DYNAMIC", "IMAGE"], "RadiopharmaceuticalStartTime": "110100"},
            -1 / 60,
            "dynamic",
        ),
        ({"RadiopharmaceuticalStartDateTime": "20240131010000"}, 10, "5.5 half-lives after"),
        ({**NO_DATETIME, "RadiopharmaceuticalStartTime": "110000"}, 0, "the same moment"),
        ({"SeriesDate": None, "SeriesTime": None}, 1, "taken to start with the earliest acquisition"),
        ({"AcquisitionTime": None}, 1, "No acquisition time"),
    ],
)
def test_warnings(attributes: dict[str, Any], hours: float, words: str) -> None:
    result = result_of(pt.header(**attributes))
    assert result.factor == pytest.approx(2e-4 * 2 ** (hours * 3600 / 6586.2), rel=1e-9)
    assert any(re.search(words, sentence) for sentence in result.warnings)
    possible, warning = suv.offer(pt.header(**attributes))
    assert possible
    assert warning == " ".join(result.warnings)


@pytest.mark.parametrize(
    ("code", "scheme", "meaning", "nuclide"),
    [
        ("C-111A1", "SRT", "", "F-18"),
        ("77004003", "SCT", "^18^Fluorine", "F-18"),
        ("1", "99X", "18F", "F-18"),
        ("1", "99X", "F-18 fluorodeoxyglucose", "F-18"),
        ("C-131A3", "SNM3", "^68^Gallium", "Ga-68"),
        ("1", "99X", "68Ga", "Ga-68"),
        ("C-105A1", "SRT", "", "C-11"),
    ],
)
def test_half_life_of_the_radionuclide(code: str, scheme: str, meaning: str, nuclide: str) -> None:
    item = pt.agent(
        RadionuclideHalfLife=None,
        RadionuclideCodeSequence=[pt.code(code, scheme, meaning)],
        RadiopharmaceuticalStartDateTime="20240131104500",
        RadiopharmaceuticalStartTime=None,
    )
    result = result_of(pt.header([item]))
    assert result.factor == pytest.approx(2e-4 * 2 ** (900 / HALF_LIVES[nuclide]), rel=1e-9)
    assert f"for {nuclide} of Radionuclide Code Sequence (0054,0300)" in result.audit


def test_half_life_of_another_radionuclide() -> None:
    def item(half_life: str) -> Any:
        return pt.agent(RadionuclideHalfLife=half_life, RadionuclideCodeSequence=[pt.code("C-111A1", "SRT", "")])

    assert result_of(pt.header([item("6588")])).warnings == ()
    assert "is not that of F-18 (6586.2 s)" in result_of(pt.header([item("7500")])).warnings[0]
    for other in ("4062.6", "1221.84", "13172"):  # Ga-68, C-11, twice too long
        assert refused(pt.header([item(other)])).options == ("half_life_s",)
    assert result_of(pt.header([item("4062.6")]), half_life_s=6586.2).factor == pytest.approx(HOUR, rel=1e-6)


# --- series --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"PatientWeight": "71"}, "Patient's Weight (0010,1030) is 70.0, 71.0"),
        ({"Units": "CNTS"}, "Units (0054,1001) is BQML, CNTS"),
        ({"DecayCorrection": "ADMIN"}, "Decay Correction (0054,1102) is ADMIN, START"),
        ({"CorrectedImage": ["ATTN"]}, "Corrected Image (0028,0051)"),
        ({"RadionuclideTotalDose": "1e8"}, "dose, half-life or time of injection differ"),
    ],
)
def test_slices_that_contradict_each_other(other: dict[str, Any], words: str) -> None:
    assert words in str(refused(pt.header(), pt.header(**other)))


def test_one_slice_of_a_processed_series_is_offered() -> None:
    """The decay factor of a late bed is that of a start that only the first bed tells."""
    slices = pt.series(
        [{"DecayFactor": "1.009502"}, {"AcquisitionTime": "113000", "DecayFactor": "1.220066"}], SeriesTime="130000"
    )
    assert result_of(*slices).factor == pytest.approx(HOUR, rel=1e-6)
    assert [suv.offer(header)[0] for header in slices] == [True, True]
    with pytest.raises(suv.MissingInput, match="Decay Factor"):
        result_of(slices[1])


def test_enhanced_is_offered_by_its_header_alone() -> None:
    """The light reader leaves the per-frame groups out."""
    for attributes in ({}, {"DecayCorrected": "NO", "DecayCorrectionDateTime": None}):
        header = pt.enhanced(**attributes)
        del header.PerFrameFunctionalGroupsSequence
        possible, warning = suv.offer(header)
        assert possible, warning
    assert "Decay Correction DateTime (0018,9701) is missing" in suv.offer(pt.enhanced(DecayCorrectionDateTime=None))[1]


def test_private_time_far_from_the_acquisition() -> None:
    ge = pt.ge(pt.header(SeriesTime="130000", Manufacturer="GE MEDICAL SYSTEMS"), "20100131105800")
    result = result_of(ge)
    assert result.factor == pytest.approx(HOUR, rel=1e-6)
    assert "far from the acquisition" in result.warnings[0]


def test_two_doses() -> None:
    other = pt.agent(RadionuclideTotalDose="100000000")
    assert "2 doses" in str(refused(pt.header([pt.agent(), other])))
    without = pt.agent(RadionuclideTotalDose=None)
    assert result_of(pt.header([without, pt.agent()])).factor == pytest.approx(HOUR, rel=1e-6)
    assert result_of(pt.header([pt.agent(), pt.agent()])).factor == pytest.approx(HOUR, rel=1e-6)


def test_no_headers() -> None:
    with pytest.raises(suv.MissingInput, match="The series has no images"):
        suv.factors(suv.inputs_of_series([]))


def test_series_times_that_differ_are_not_used() -> None:
    slices = pt.series([{"SeriesTime": "100500"}, {"SeriesTime": "105000", "AcquisitionTime": "110304"}])
    result = result_of(*slices)
    assert result.factor == pytest.approx(HOUR, rel=1e-6)
    assert "earliest acquisition" in result.warnings[0]


def test_scan_across_midnight() -> None:
    """The scan begins before midnight, its last bed is after it, the injection was on the evening."""
    slices = pt.series(
        [{"AcquisitionTime": "235800"}, {"AcquisitionDate": "20240201", "AcquisitionTime": "000100"}],
        SeriesTime="235800",
        RadiopharmaceuticalStartTime="225800",
        **NO_DATETIME,
    )
    assert result_of(*slices).factor == pytest.approx(HOUR, rel=1e-6)


def test_time_zones() -> None:
    """The series is in the zone that its header names, the injection in its own: 04:00-0500 is 10:00+0100."""
    header = pt.header(
        TimezoneOffsetFromUTC="+0100",
        RadiopharmaceuticalStartDateTime="20240131040000-0500",
        RadiopharmaceuticalStartTime=None,
    )
    assert result_of(header).factor == pytest.approx(HOUR, rel=1e-6)
    zoned = datetime.fromisoformat("2024-01-31T09:00:00+00:00")
    assert result_of(header, injection_datetime=zoned).factor == pytest.approx(HOUR, rel=1e-6)
    assert result_of(header, injection_datetime="2024-01-31 10:00").factor == pytest.approx(HOUR, rel=1e-6)


def test_private_factors_of_somebody_else() -> None:
    """The same elements under another private creator are not Philips' (PS3.5 7.8.1), nor GE's."""
    header = pt.philips(pt.header(Units="CNTS"), "0.0003", "0.5", creator="ACME")
    assert "no SUV" in str(refused(header))
    moved = pt.philips(pt.philips(pt.header(Units="CNTS"), "9", "9", creator="ACME"), "0.0003", "")
    assert result_of(moved).factor == 0.0003
    ge = pt.ge(pt.header(SeriesTime="130000", Manufacturer="GE"), "20240131105800", creator="ACME")
    assert result_of(ge).factor == pytest.approx(HOUR, rel=1e-6)


def test_philips_factors_that_contradict_the_header() -> None:
    header = pt.philips(pt.header(Units="CNTS"), "0.0003", "0.5")
    error = refused(header)
    assert "0.4869 of Philips' private SUV Scale Factor" in str(error)
    assert "weight_kg" in error.options
    assert str(refused(header, type="SUVlbm")) == str(error)
    supplied = result_of(header, weight_kg=71)
    assert supplied.factor == pytest.approx(0.5 * 71 / 70 * HOUR, rel=1e-6)
    near = result_of(pt.philips(pt.header(Units="CNTS"), "0.00014", "0.5"))
    assert near.factor == pytest.approx(0.5 * HOUR, rel=1e-6)
    assert "1.043 of Philips' private SUV Scale Factor" in near.warnings[0]
    assert refused(pt.philips(pt.header(Units="CNTS"), "", "0.5"), pt.philips(pt.header(Units="CNTS"), "1", ""))


def test_values_that_are_suv_already_keep_their_dose() -> None:
    for header in (pt.header(Units="GML"), pt.philips(pt.header(Units="CNTS"), "0.0003")):
        with pytest.raises(UnsupportedError, match="scan_datetime cannot be exchanged"):
            result_of(header, scan_datetime="20240131110000")
        base = result_of(header).factor or 0
        # Another weight: SUV * new / old, and the header's own one is the old one.
        assert result_of(header, weight_kg=77).factor == pytest.approx(base * 1.1, rel=1e-12)
    nobody = pt.header(Units="GML", PatientWeight=None, PatientSize=None)
    assert result_of(nobody).factor == 1.0
    assert refused(nobody, type="SUVlbm").options == ("weight_kg", "height_m")
    supplied = result_of(nobody, type="SUVlbm", weight_kg=70, height_m=1.75)
    assert supplied.factor == pytest.approx(57.8 / 70, rel=1e-12)


def test_audit_names_every_value_and_where_it_came_from() -> None:
    audit = result_of(type="SUVlbm").audit
    for line in (
        "Units of rescaled values: BQML, from Units (0054,1001)",
        "Weight W: 70 kg, from Patient's Weight (0010,1030)",
        "Height H: 1.75 m, from Patient's Size (0010,1020)",
        "Sex: M, from Patient's Sex (0010,0040)",
        "Injected dose: 350000000 Bq, from Radionuclide Total Dose (0018,1074)",
        "Half-life: 6586.2 s, from Radionuclide Half Life (0018,1075)",
        "Start of the scan: 2024-01-31 11:00:00, from Series Date (0008,0021), Series Time (0008,0031)",
        "Injection: 2024-01-31 10:00:00, from Radiopharmaceutical Start DateTime (0018,1078)",
        "Time from injection: 3600 s",
        "Decay correction: START, from Decay Correction (0054,1102)",
    ):
        assert line in audit.splitlines()
    assert "1.10 W - 120 (W/H)^2" in audit
    assert "Morgan and Bray" in audit
    assert "qibawiki.rsna.org" in audit
