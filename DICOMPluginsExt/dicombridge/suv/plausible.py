"""Values that an SUV must not be made of: zero, absurd, or in another unit than the standard's.

A wrong weight or dose gives a wrong SUV that looks right. Whoever knows better passes the option.
"""

from __future__ import annotations

from dicombridge.suv.audit import Account
from dicombridge.suv.nuclides import HALF_LIFE_SOURCE, HALF_LIVES
from dicombridge.suv.values import Sourced, SuvInputs

__all__ = ["check_corrections", "dose", "half_life", "height", "sex", "weight"]

HEAVIEST_KG = 500.0
LIGHTEST_KG = 0.005
"""A small mouse."""
TALLEST_M = 3.0
SHORTEST_M = 0.1
LONGEST_HALF_LIFE_S = 1e9
LEAST_BQ = 1e4
MOST_BQ = 1e12
LEAST_BQ_PER_KG = 2e4
"""Less than a tenth of what the longest-lived tracers are given in; a dose in kBq is below it."""
MOST_BQ_PER_KG = 4e9
"""Several times what a mouse gets; a patient's weight in tonnes is above it, and a dose a thousand times too high."""


def weight(inputs: SuvInputs, account: Account) -> float | None:
    """Return the weight (kg), None where it is missing or absurd."""
    found = inputs.weight_kg
    if found is None or found.value <= 0:
        said = "missing" if found is None else f"{found.value:g} kg"
        account.lack(f"The patient's weight (Patient's Weight (0010,1030)) is {said}.", "weight_kg")
        return None
    if not LIGHTEST_KG <= found.value <= HEAVIEST_KG:
        guess = " (grams?)" if found.value > HEAVIEST_KG else ""
        account.lack(f"The patient's weight of {found.value:g} kg cannot be right{guess}.", "weight_kg")
        return None
    if found.value < 1:
        account.warn(f"The patient weighs {found.value:g} kg: a small animal?")
    return account.use("Weight W", found, "kg")


def height(inputs: SuvInputs, account: Account) -> float | None:
    """Return the height (m), None where it is missing or absurd."""
    found = inputs.height_m
    if found is None or found.value <= 0:
        said = "missing" if found is None else f"{found.value:g} m"
        account.lack(f"The patient's height (Patient's Size (0010,1020)) is {said}.", "height_m")
        return None
    if not SHORTEST_M <= found.value <= TALLEST_M:
        guess = " (centimetres?)" if found.value > TALLEST_M else ""
        account.lack(f"The patient's height of {found.value:g} m cannot be right{guess}.", "height_m")
        return None
    return account.use("Height H", found, "m")


def sex(inputs: SuvInputs, account: Account) -> str | None:
    """Return ``M`` or ``F``, None where the header has neither."""
    found = inputs.sex
    if found is None or found.value not in ("M", "F"):
        said = "missing" if found is None else f"{found.value!r}, and the formula is for M and F only"
        account.lack(f"The patient's sex (Patient's Sex (0010,0040)) is {said}.", "sex")
        return None
    return account.use("Sex", found)


def dose(inputs: SuvInputs, account: Account) -> float | None:
    """Return the injected activity (Bq), None where it is missing or absurd."""
    found = inputs.injected_dose_bq
    name = "The injected dose (Radionuclide Total Dose (0018,1074))"
    if found is None or found.value <= 0:
        said = "missing" if found is None else f"{found.value:g} Bq"
        account.lack(f"{name} is {said}.", "injected_dose_bq")
        return None
    if not LEAST_BQ <= found.value <= MOST_BQ:
        guess = " (MBq?)" if found.value < LEAST_BQ else ""
        account.lack(f"{name} of {found.value:g} Bq cannot be right{guess}.", "injected_dose_bq")
        return None
    kilograms = inputs.weight_kg.value if inputs.weight_kg is not None else 0.0
    if LIGHTEST_KG <= kilograms <= HEAVIEST_KG and found.value / kilograms < LEAST_BQ_PER_KG:
        words = f"{name} of {found.value:g} Bq cannot be right (kBq?) for {kilograms:g} kg"
        account.lack(f"{words}: it would give an SUV many times too high.", "injected_dose_bq")
        return None
    if kilograms >= LIGHTEST_KG and found.value / kilograms > MOST_BQ_PER_KG:
        words = f"{name} of {found.value:g} Bq and the weight of {kilograms:g} kg cannot both be right."
        account.lack(words, "injected_dose_bq", "weight_kg")
        return None
    return account.use("Injected dose", found, "Bq")


def half_life(inputs: SuvInputs, account: Account) -> float | None:
    """Return the half-life (s): of the header, else of the table of radionuclides; None where neither has it."""
    found, nuclide = inputs.half_life_s, inputs.nuclide
    known = HALF_LIVES.get(nuclide.value) if nuclide is not None else None
    if found is None or found.value <= 0:
        if nuclide is None or known is None:
            text = (
                "The half-life (Radionuclide Half Life (0018,1075)) is missing, and so is a radionuclide that tells it."
            )
            account.lack(text, "half_life_s")
            return None
        source = f"{HALF_LIFE_SOURCE} for {nuclide.value} of {nuclide.source}; the header has no half-life"
        return account.use("Half-life", Sourced(known, source), "s")
    if nuclide is not None and known is not None and abs(found.value / known - 1) > 0.1:
        words = f"The half-life of {found.value:g} s is not that of {nuclide.value} ({known:g} s)"
        if found.source.startswith("option"):
            account.warn(f"{words}.")
        elif abs(found.value / known - 1) > 0.25:
            account.lack(f"{words}.", "half_life_s")
            return None
        else:
            account.warn(f"{words}; the header's value was used.")
    if not 1 <= found.value <= LONGEST_HALF_LIFE_S:
        account.lack(f"The half-life of {found.value:g} s cannot be right.", "half_life_s")
        return None
    return account.use("Half-life", found, "s")


def check_corrections(inputs: SuvInputs, account: Account) -> None:
    """Refuse images whose values are no activity: without attenuation correction, or with a decay of unknown kind."""
    decay = inputs.decay_correction
    if inputs.corrected is None:
        account.warn(
            "The header does not say which corrections were applied (Corrected Image (0028,0051)): "
            "the values are taken to be corrected for attenuation."
        )
        return
    terms = account.use("Corrections", inputs.corrected)
    if "ATTN" not in terms:
        account.lack(
            f"The images are not corrected for attenuation ({inputs.corrected.source} lacks ATTN): "
            "their values are no activity concentration, and there is no SUV of them."
        )
    is_decay = bool({"DECY", "DECAY"} & set(terms))
    stated = decay is not None and not decay.source.startswith("option")
    if decay is not None and stated and is_decay == (decay.value == "NONE"):
        without = "has" if is_decay else "lacks"
        account.lack(
            f"The header contradicts itself: {decay.source} is {decay.value}, but {inputs.corrected.source} {without} "
            "DECY. Which is right?",
            "decay_correction",
        )
