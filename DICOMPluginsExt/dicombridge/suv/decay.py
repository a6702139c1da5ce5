"""The dose that is left at the moment to which the voxel values are corrected (PS3.3 C.8.9.1.1.4, Decay Correction)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dicombridge.suv import plausible
from dicombridge.suv.audit import Account, several
from dicombridge.suv.injection import injection_moment
from dicombridge.suv.scan import check_decay_factors, frame_moments, scan_start
from dicombridge.suv.times import decayed, seconds_between
from dicombridge.suv.values import Sourced, SuvInputs

__all__ = ["decayed_doses"]

TERMS = ("START", "ADMIN", "NONE", "REFERENCE")


def decayed_doses(inputs: SuvInputs, account: Account) -> list[float]:
    """Return the dose (Bq) for each frame; empty if something is missing, which the account then knows.

    ``START``: decayed from the injection to the start of the scan, which is one moment for all slices. ``ADMIN``: as
    injected. ``NONE``: decayed to the moment of each frame's average count rate, so that it differs by slice.
    """
    dose = plausible.dose(inputs, account)
    correction = inputs.decay_correction
    if correction is None or correction.value not in TERMS:
        said = "missing" if correction is None else f"{correction.value!r}"
        account.lack(f"Decay Correction (0054,1102) is {said}: START, ADMIN or NONE?", "decay_correction")
        return []
    kind = account.use("Decay correction", correction)
    if kind == "ADMIN":
        return _as_injected(inputs, dose, account)
    half_life = plausible.half_life(inputs, account)
    if half_life is None:
        return []
    if kind == "NONE":
        moments = frame_moments(inputs, half_life, account)
    else:
        start = scan_start(inputs, half_life, account)
        moments = [] if start is None else [start] * max(1, len(inputs.frames))
        if start is not None:
            check_decay_factors(inputs, start, half_life, account)
    if not moments:
        return []
    injection = injection_moment(inputs, _first(moments), half_life, account)
    if injection is None or dose is None:
        return []
    return _decayed(dose, injection, moments, half_life, account)


def _first(moments: Sequence[Sourced[datetime]]) -> Sourced[datetime]:
    return min(moments, key=lambda moment: moment.value.replace(tzinfo=None))


def _as_injected(inputs: SuvInputs, dose: float | None, account: Account) -> list[float]:
    account.note("The values are corrected to the moment of injection: the dose is used as it was injected")
    for unused in (inputs.injection, inputs.decay_reference, inputs.half_life_s):
        if unused is not None and unused.source.startswith("option"):
            account.warn(f"The values are corrected to the injection (ADMIN): {unused.source} has no effect.")
    if _looks_like_start(inputs):
        account.lack(
            "The header contradicts itself: Decay Correction (0054,1102) is ADMIN, but Decay Factor (0054,1321) is "
            "that of a correction to the start of the scan. Which is right?",
            "decay_correction",
        )
    return [] if dose is None else [dose] * max(1, len(inputs.frames))


def _looks_like_start(inputs: SuvInputs) -> bool:
    """Tell whether the decay factors are those of START, and not those of ADMIN."""
    if inputs.decay_correction is not None and inputs.decay_correction.source.startswith("option"):
        return False
    trial = Account()
    half_life = plausible.half_life(inputs, trial)
    start = None if half_life is None else scan_start(inputs, half_life, trial)
    if half_life is None or start is None:
        return False
    injection = injection_moment(inputs, start, half_life, trial)
    factor = check_decay_factors(inputs, start, half_life, Account())
    if injection is None or factor is None or trial.problems:
        return False
    delay = seconds_between(injection.value, start.value)
    return abs(factor - 1) < 0.02 and 1 - decayed(1.0, delay, half_life) > 0.1


def _decayed(
    dose: float,
    injection: Sourced[datetime],
    moments: Sequence[Sourced[datetime]],
    half_life: float,
    account: Account,
) -> list[float]:
    delays = [seconds_between(injection.value, moment.value) for moment in moments]
    doses = [decayed(dose, delay, half_life) for delay in delays]
    account.note(f"Time from injection: {several(delays, 's')}")
    account.note(f"Decayed dose = injected dose * 2^(-time / half-life) = {several(doses, 'Bq')}")
    return doses
