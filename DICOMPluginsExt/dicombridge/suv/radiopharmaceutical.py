"""The radiopharmaceutical of a PET series: which item counts, dose, half-life, injection (PS3.3 C.8.9.2, C.8.22.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from dicombridge.codes import code_from_sequence
from dicombridge.image.headers import text_of
from dicombridge.suv.attributes import Header, finite, items, label
from dicombridge.suv.nuclides import HALF_LIVES, SINGLE_PHOTON, nuclide_of
from dicombridge.suv.times import clock_seconds, parse_datetime
from dicombridge.suv.values import Sourced

__all__ = ["Agent", "radiopharmaceutical", "single_photon"]

_SEQUENCE = "RadiopharmaceuticalInformationSequence"
_NM_SEQUENCES = ("EnergyWindowInformationSequence", "DetectorInformationSequence", "RotationInformationSequence")
_NM_TYPES = ("TOMO", "GATED TOMO", "RECON TOMO", "RECON GATED TOMO")
_COLLIMATORS = ("PARA", "PINH", "FANB", "CONE", "SLNT", "ASTG", "DIVG")
"""Collimator Type (0018,1181) of gamma cameras; PET has NONE or RING."""


@dataclass(frozen=True)
class Agent:
    """What one item of the Radiopharmaceutical Information Sequence (0054,0016) says."""

    dose_bq: Sourced[float] | None = None
    half_life_s: Sourced[float] | None = None
    nuclide: Sourced[str] | None = None
    injection: Sourced[datetime] | None = None
    clock: Sourced[float] | None = None


def radiopharmaceutical(frames: Sequence[Header], zone: timezone | None) -> tuple[Agent, list[str]]:
    """Return the radiopharmaceutical that was imaged, and what forbids to say so, in words."""
    found = []
    last: Any = None
    for frame in frames:
        chosen = _chosen(frame, zone) if frame.dataset is not last or frame.groups else ()
        last = frame.dataset
        if chosen and chosen not in found:
            found.append(chosen)
    if len(found) > 1:
        words = (
            f"The slices contradict each other in the {label(_SEQUENCE)}: dose, half-life or time of injection differ."
        )
        return Agent(), [words]
    if not found:
        return Agent(), []
    agents = found[0]
    if len(agents) > 1:
        words = (
            f"The {label(_SEQUENCE)} has {len(agents)} doses, and nothing says which one the images show: "
            "an SUV would mix them up."
        )
        return Agent(), [words]
    return agents[0], []


def _chosen(frame: Header, zone: timezone | None) -> tuple[Agent, ...]:
    """Return the item that the frame uses, the only one with a dose, or all that are left to choose from."""
    sequence = frame.sequence(_SEQUENCE)
    usage = frame.sequence("RadiopharmaceuticalUsageSequence")
    numbers = {text_of(item, "RadiopharmaceuticalAgentNumber") for item in usage} - {""}
    named = [item for item in sequence if text_of(item, "RadiopharmaceuticalAgentNumber") in numbers]
    agents = list(dict.fromkeys(_agent(item, zone) for item in named or sequence))
    with_dose = [agent for agent in agents if agent.dose_bq is not None and agent.dose_bq.value > 0]
    return tuple(with_dose or agents[:1])


def _agent(item: Any, zone: timezone | None) -> Agent:
    injection = parse_datetime(text_of(item, "RadiopharmaceuticalStartDateTime"), zone)
    clock = clock_seconds(text_of(item, "RadiopharmaceuticalStartTime"))
    return Agent(
        dose_bq=finite(text_of(item, "RadionuclideTotalDose"), label("RadionuclideTotalDose")),
        half_life_s=finite(text_of(item, "RadionuclideHalfLife"), label("RadionuclideHalfLife")),
        nuclide=_nuclide(item),
        injection=None if injection is None else Sourced(injection, label("RadiopharmaceuticalStartDateTime")),
        clock=None if clock is None else Sourced(clock, label("RadiopharmaceuticalStartTime")),
    )


def _nuclide(item: Any) -> Sourced[str] | None:
    code = None
    if items(item, "RadionuclideCodeSequence"):
        try:
            code = code_from_sequence(item, "RadionuclideCodeSequence")
        except Exception:  # a damaged sequence says nothing
            code = None
    if code is not None and (name := nuclide_of(code.value, code.meaning)):
        return Sourced(name, label("RadionuclideCodeSequence"))
    name = nuclide_of("", text_of(item, "Radiopharmaceutical"))
    return Sourced(name, label("Radiopharmaceutical")) if name else None


def single_photon(frame: Header, agent: Agent) -> list[str]:
    """Return words where the images are a SPECT that was stored as PET: its values are counts, whatever it says."""
    advice = "These are images of a gamma camera (SPECT) stored as PET, whose values are no activity concentration"
    nuclide = agent.nuclide.value if agent.nuclide else ""
    if nuclide in SINGLE_PHOTON:
        return [f"{advice}: {nuclide} emits no positrons."]
    if nuclide in HALF_LIVES:
        return []
    marks = [label(keyword) for keyword in _NM_SEQUENCES if frame.sequence(keyword)]
    image_type = [part.strip().upper() for part in frame.text("ImageType").split("\\")]
    marks += [f"{label('ImageType')} {part}" for part in image_type[2:] if part in _NM_TYPES]
    collimator = frame.text("CollimatorType").upper()
    marks += [f"{label('CollimatorType')} {collimator}"] if collimator in _COLLIMATORS else []
    half_life = agent.half_life_s.value if agent.half_life_s else 0.0
    others = [name for name, seconds in SINGLE_PHOTON.items() if abs(half_life / seconds - 1) < 0.003]
    if others and not any(abs(half_life / seconds - 1) < 0.003 for seconds in HALF_LIVES.values()):
        marks.append(f"a half-life of {half_life:g} s, that of {others[0]},")
    return [f"{advice}: they have {marks[0]} and no radionuclide that emits positrons."] if marks else []
