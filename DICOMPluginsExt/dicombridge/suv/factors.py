"""From what an SUV is made of to its factors (QIBA's vendor-neutral SUV pseudo-code, widened).

``SUV = factor * (rescale slope * stored value + rescale intercept)``, with, for images in Bq/ml,
``factor = body measure / dose decayed to the moment to which the values are corrected``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dicombridge.errors import UnsupportedError
from dicombridge.image.headers import text_of
from dicombridge.suv import plausible
from dicombridge.suv.audit import REFERENCE, Account, several
from dicombridge.suv.body import MEASURES
from dicombridge.suv.decay import TERMS, decayed_doses
from dicombridge.suv.headers import PT_CLASSES, inputs_of_header
from dicombridge.suv.times import parse_datetime
from dicombridge.suv.values import SUV_TYPES, UNITS, MissingInput, Sourced, SuvInputs, SuvResult

__all__ = ["factors", "offer"]

_NO_ACTIVITY = {
    "CNTS": "counts",
    "CPS": "counts per second",
    "PROPCNTS": "proportional to counts",
    "PROPCPS": "proportional to counts per second",
    "PCNT": "percent",
    "NONE": "without units",
}
_AGREE, _CONTRADICT = 0.02, 0.10
_BODY = ("weight_kg", "height_m", "sex")


def factors(
    inputs: SuvInputs,
    type: str = "SUVbw",
    *,
    weight_kg: float | None = None,
    height_m: float | None = None,
    sex: str | None = None,
    injected_dose_bq: float | None = None,
    injection_datetime: datetime | str | None = None,
    scan_datetime: datetime | str | None = None,
    half_life_s: float | None = None,
    decay_correction: str | None = None,
) -> SuvResult:
    """Return what rescaled voxel values are multiplied with to be SUVs.

    Parameters
    ----------
    inputs
        Of :func:`~dicombridge.suv.inputs_of_series`.
    type
        One of :data:`~dicombridge.suv.SUV_TYPES`.
    weight_kg, height_m, sex
        Of the patient, instead of the header's. Sex is ``M`` or ``F``.
    injected_dose_bq, injection_datetime, half_life_s
        Of the radiopharmaceutical, instead of the header's. The dose is that at the moment of injection.
    scan_datetime
        Moment to which the values are corrected: the start of the scan, or with Decay Correction NONE that of the
        images. Moments are datetimes or text such as ``20240131103000`` or ``2024-01-31 10:30``; without a time zone
        they are in that of the header.
    decay_correction
        ``START``, ``ADMIN`` or ``NONE``, instead of the header's.

    Raises
    ------
    MissingInput
        Something is missing, contradicts itself or cannot be right; the message names the option that supplies it.
    UnsupportedError
        The type is none of ours, or an option cannot take effect.
    """
    if type not in SUV_TYPES:
        raise UnsupportedError(f"{type!r} is no kind of SUV; choose one of {', '.join(SUV_TYPES)}.")
    if inputs.problems:
        raise MissingInput(inputs.problems)
    options = _Options(
        weight_kg=_number("weight_kg", weight_kg),
        height_m=_number("height_m", height_m),
        sex=_text("sex", sex),
        injected_dose_bq=_number("injected_dose_bq", injected_dose_bq),
        injection=_moment("injection_datetime", injection_datetime),
        decay_reference=_moment("scan_datetime", scan_datetime),
        half_life_s=_number("half_life_s", half_life_s),
        decay_correction=_term(_text("decay_correction", decay_correction)),
    )
    case = _Case(type, inputs, options.applied(inputs), options, Account())
    account = case.account
    account.note(f"{type} of a PET series" + (f" by {inputs.manufacturer}" if inputs.manufacturer else ""))
    values = _by_units(case)
    account.settle()
    account.note(f"Factor from rescaled values to SUV [{UNITS[type].value}]: {several(values, 'per unit of value')}")
    return SuvResult(type, tuple(values), "\n".join(account.lines), tuple(account.warnings))


def offer(header: Any) -> tuple[bool, str]:
    """Tell from one header whether an SUV (body weight) can be computed, and what a person should know.

    Returns
    -------
    possible : bool
        True if the header has all that is needed, as far as one header can tell.
    warning : str
        What is missing and how to supply it, or what would be assumed; empty if nothing.
    """
    if text_of(header, "SOPClassUID") not in PT_CLASSES:
        return False, "This is no PET image."
    try:
        result = factors(inputs_of_header(header))
    except UnsupportedError as error:
        return False, str(error)
    return True, " ".join(result.warnings)


# --- options -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Options:
    """What the caller knows better, by the names of :class:`SuvInputs`."""

    weight_kg: float | None = None
    height_m: float | None = None
    sex: str | None = None
    injected_dose_bq: float | None = None
    injection: datetime | None = None
    decay_reference: datetime | None = None
    half_life_s: float | None = None
    decay_correction: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}

    def applied(self, inputs: SuvInputs) -> SuvInputs:
        public = {"injection": "injection_datetime", "decay_reference": "scan_datetime"}
        changed: dict[str, Any] = {}
        for name, value in self.given.items():
            plain = value.upper() if isinstance(value, str) else value
            changed[name] = Sourced(plain, f"option {public.get(name, name)}")
        if "injection" in changed:
            changed["injection_clock"] = None
        return replace(inputs, **changed)


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UnsupportedError(f"{name}={value!r} is no number.") from error


def _text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UnsupportedError(f"{name}={value!r} is no text.")
    return value


def _moment(name: str, value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    # A command line makes a number of what has digits only.
    text = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
    try:
        found = parse_datetime(text) or datetime.fromisoformat(text)
    except ValueError as error:
        raise UnsupportedError(f"{name}={value!r} is no date and time; write it as 2024-01-31 10:30:00.") from error
    return found


def _term(value: str | None) -> str | None:
    if value is not None and value.upper() not in TERMS[:3]:
        raise UnsupportedError(f"decay_correction={value!r} is none of {', '.join(TERMS[:3])}.")
    return value


# --- by units ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Case:
    """One SUV of one series: ``header`` is what the header says, ``inputs`` the same with the caller's options."""

    type: str
    header: SuvInputs
    inputs: SuvInputs
    options: _Options
    account: Account

    @property
    def count(self) -> int:
        return max(1, len(self.inputs.frames))


def _by_units(case: _Case) -> list[float]:
    """Return a factor for each frame; empty if the account knows what is missing."""
    inputs, account = case.inputs, case.account
    if inputs.units is None:
        account.lack("The header does not say what the values are (Units (0054,1001)).")
        return []
    units = account.use("Units of rescaled values", inputs.units)
    if units == "BQML":
        plausible.check_corrections(inputs, account)
        return _from_activity(case, [1.0] * case.count, account)
    if units in ("GML", "CM2ML"):
        return _from_suv_images(case, units)
    philips = units == "CNTS" and inputs.frames and any(f.philips_suv or f.philips_activity for f in inputs.frames)
    if philips:
        return _from_philips(case)
    kind = _NO_ACTIVITY.get(units, f"in {units}")
    words = f"The values are {kind} (Units (0054,1001) {units}), no activity concentration"
    more = "; the private factors of Philips that relate them are not there" if units == "CNTS" else ""
    account.lack(f"{words}{more}: there is no SUV of them.")
    return []


def _from_activity(case: _Case, to_bqml: Sequence[float], account: Account) -> list[float]:
    """Return body measure / decayed dose for each frame."""
    numerator = _numerator(case.type, case.inputs, account)
    doses = decayed_doses(case.inputs, account)
    if numerator is None or not doses or account.problems:
        return []
    measure = MEASURES[case.type]
    unit = "cm2" if measure.unit == "m2" else "g"
    account.note(f"Factor = {measure.words} [{unit}] / dose [Bq], for values in Bq/ml")
    account.note(f"Formula by {REFERENCE}")
    scales = [frame.to_units for frame in case.inputs.frames] or [Sourced(1.0, "")]
    if any(scale.value != 1 for scale in scales):
        account.note(
            f"From rescaled values to Bq/ml: {several([s.value for s in scales], '')}, from {scales[0].source}"
        )
    return [numerator / dose * scale.value * factor for dose, scale, factor in zip(doses, scales, to_bqml, strict=True)]


def _numerator(type: str, inputs: SuvInputs, account: Account) -> float | None:
    """Return the body measure in g, or cm2 for the body surface; None if something is missing."""
    measure = MEASURES[type]
    weight = plausible.weight(inputs, account) if type != "SUVibw" else 0.0
    height = plausible.height(inputs, account) if measure.needs_height else 1.0
    sex = plausible.sex(inputs, account) if measure.needs_sex else ""
    if weight is None or height is None or sex is None:
        return None
    value = measure.compute(weight, height, sex)
    formula = measure.formulas[sex]
    if not 0 < value < 1000:
        account.lack(f"The {measure.words} by {formula} is {value:g} {measure.unit}, which cannot be.", *_BODY)
        return None
    where = " (W kg, H cm, BMI kg/m2)" if measure.needs_height else ""
    account.note(f"{measure.words.capitalize()} = {formula}{where} = {value:.10g} {measure.unit}; {measure.reference}")
    return value * measure.to_suv


def _from_suv_images(case: _Case, units: str) -> list[float]:
    """Return 1 for the kind of SUV that the values are already, and the ratio of body measures for another kind."""
    inputs, account = case.inputs, case.account
    stated = inputs.suv_type
    source = stated.value if stated is not None else "SUVbsa" if units == "CM2ML" else "SUVbw"
    if source not in SUV_TYPES:
        account.lack(f"The values are an SUV of unknown kind (SUV Type (0054,1006) {source}).")
        return []
    if (source == "SUVbsa") != (units == "CM2ML"):
        account.lack(f"The header contradicts itself: the units are {units}, but SUV Type (0054,1006) says {source}.")
        return []
    if stated is None and units == "GML":
        account.note("No SUV Type (0054,1006): the values are SUVbw (PS3.3 C.8.9.1)")
    elif stated is not None:
        account.use("Kind of SUV of the values", stated)
    if inputs.corrected is not None and "ATTN" not in inputs.corrected.value:
        account.warn(f"The images are not corrected for attenuation ({inputs.corrected.source}).")
    scales = [frame.to_units.value for frame in inputs.frames] or [1.0]
    return _exchanged(case, source, scales, f"The values are {source} already")


def _exchanged(case: _Case, source: str, values: Sequence[float], because: str) -> list[float]:
    """Return factors of another kind of SUV, or of another weight: times the ratio of the two body measures."""
    account = case.account
    fixed = [name for name in case.options.given if name not in _BODY]
    if fixed:
        public = {"injection": "injection_datetime", "decay_reference": "scan_datetime"}
        names = ", ".join(public.get(name, name) for name in fixed)
        raise UnsupportedError(f"{because}: dose and times are in them, and {names} cannot be exchanged. Leave it out.")
    bodies = [name for name in case.options.given if name in _BODY]
    if case.type == source and not bodies:
        account.note(f"{because}")
        return list(values)
    known = Account()
    old = _numerator(source, case.header, known)
    if old is None:
        # The header has no body measure, so the caller's is the one that the values were made with.
        known = Account()
        old = _numerator(source, case.inputs, known)
    account.add(known)
    new = _numerator(case.type, case.inputs, account)
    if old is None or new is None:
        return []
    account.note(f"{because}; they are multiplied by the ratio of the body measures, {new:.10g} / {old:.10g}")
    return [value * new / old for value in values]


def _from_philips(case: _Case) -> list[float]:
    """Return factors for counts of Philips, whose private factors lead to Bq/ml or to SUVbw."""
    frames, account = case.inputs.frames, case.account
    plausible.check_corrections(case.inputs, account)
    activity = [frame.philips_activity.value for frame in frames if frame.philips_activity is not None]
    direct = [frame.philips_suv.value for frame in frames if frame.philips_suv is not None]
    has_direct = len(direct) == len(frames)
    if len(activity) == len(frames):
        trial = Account()
        found = _from_activity(case, activity, trial)
        if not trial.problems or not has_direct or case.options.given:
            account.note(f"Counts to Bq/ml: {several(activity, 'Bq/ml')} from {_source(case, 'philips_activity')}")
            account.add(trial)
            if has_direct and not case.options.given:
                # The private factor is for SUVbw, whatever kind was asked for.
                _compare(_from_activity(replace(case, type="SUVbw"), activity, Account()), direct, account)
            return found
        account.warn(f"Philips' private SUV factor was used as it is, it cannot be checked: {' '.join(trial.problems)}")
    if not has_direct:
        account.lack("Only some slices have the private factors of Philips from counts to activity or SUV.")
        return []
    account.note(f"Counts to SUVbw: {several(direct, 'g/ml')} from {_source(case, 'philips_suv')}")
    return _exchanged(case, "SUVbw", direct, "Philips' private factor leads to SUVbw already")


def _source(case: _Case, name: str) -> str:
    found = getattr(case.inputs.frames[0], name)
    return str(found.source) if found is not None else ""


def _compare(found: Sequence[float], direct: Sequence[float], account: Account) -> None:
    """Check SUVbw by activity, dose and time against the private SUV factor."""
    if not found:
        return
    ratio = max((one / other for one, other in zip(found, direct, strict=True)), key=lambda value: abs(value - 1))
    words = f"By dose and time the factor is {ratio:.4g} of Philips' private SUV Scale Factor (7053,1000)"
    if abs(ratio - 1) > _CONTRADICT:
        account.lack(
            f"{words}: weight, dose or times of the header are wrong.", "weight_kg", "injected_dose_bq", "scan_datetime"
        )
    elif abs(ratio - 1) > _AGREE:
        account.warn(f"{words}.")
    else:
        account.note(f"Check: {words}")
