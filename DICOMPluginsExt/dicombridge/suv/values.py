"""What an SUV is made of, as plain values: every number knows the attribute that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from pydicom.sr.coding import Code

from dicombridge.errors import UnsupportedError

__all__ = [
    "DICOM_UNITS",
    "METHODS",
    "QUANTITIES",
    "SUV_TYPES",
    "UNITS",
    "FrameInputs",
    "MissingInput",
    "Sourced",
    "SuvInputs",
    "SuvResult",
    "type_of_unit_code",
]

SUV_TYPES = ("SUVbw", "SUVlbm", "SUVlbm(James128)", "SUVlbm(Janma)", "SUVbsa", "SUVibw")
"""The kinds of SUV, by the names of PS3.16 CID 7180 "Abstract Multi-dimensional Image Model Component Semantic".

``SUVlbm`` is lean body mass by James as Morgan printed it (factor 120 for men), ``SUVlbm(James128)`` as James published
it (128), ``SUVlbm(Janma)`` lean body mass by Janmahasatian.
"""

_WORDS: Mapping[str, str] = {
    "SUVbw": "body weight",
    "SUVlbm": "lean body mass (James)",
    "SUVlbm(James128)": "lean body mass (James 128 multiplier)",
    "SUVlbm(Janma)": "lean body mass (Janma)",
    "SUVbsa": "body surface area",
    "SUVibw": "ideal body weight",
}


def _unit(name: str) -> str:
    return "cm2/ml" if name == "SUVbsa" else "g/ml"


UNITS: Mapping[str, Code] = {
    name: Code(f"{{{name}}}{_unit(name)}", "UCUM", f"Standardized Uptake Value {words}")
    for name, words in _WORDS.items()
}
"""Units of voxel values as Slicer's modules and older objects spell them: ``{SUVbw}g/ml``."""

DICOM_UNITS: Mapping[str, Code] = {
    name: Code(f"{_unit(name)}{{{name}}}", "UCUM", f"Standardized Uptake Value {words}")
    for name, words in _WORDS.items()
}
"""The same units as PS3.16 CID 85 "SUV Unit" spells them: ``g/ml{SUVbw}``. For what is written to DICOM objects."""

QUANTITIES: Mapping[str, Code] = dict.fromkeys(SUV_TYPES, Code("126400", "DCM", "Standardized Uptake Value"))
"""What the voxels of a volume are; the units tell one kind of SUV from another."""

METHODS: Mapping[str, Code] = {
    "SUVbw": Code("126410", "DCM", "SUV body weight calculation method"),
    "SUVlbm": Code("126411", "DCM", "SUV lean body mass calculation method"),
    "SUVlbm(James128)": Code("126415", "DCM", "SUV lean body mass calculation method using 128 multiplier"),
    "SUVlbm(Janma)": Code("126414", "DCM", "SUV lean body mass calculation Janmahasatian method"),
    "SUVbsa": Code("126412", "DCM", "SUV body surface area calculation method"),
    "SUVibw": Code("126413", "DCM", "SUV ideal body weight calculation method"),
}
"""Measurement methods (PS3.16 Annex D), e.g. for the Quantity Definition of a Real World Value Map."""

_TYPE_BY_CODE = {codes[name].value.upper(): name for codes in (UNITS, DICOM_UNITS) for name in SUV_TYPES}


def type_of_unit_code(value: str) -> str | None:
    """Return the kind of SUV that a UCUM code stands for, in either spelling, or None.

    >>> type_of_unit_code("{SUVbw}g/ml"), type_of_unit_code("g/ml{SUVlbm(Janma)}"), type_of_unit_code("Bq/ml")
    ('SUVbw', 'SUVlbm(Janma)', None)
    """
    return _TYPE_BY_CODE.get(value.strip().upper())


class MissingInput(UnsupportedError):
    """Something that the SUV needs is missing, or is so improbable that it must not be used.

    Parameters
    ----------
    problems
        Sentences, each of which says what is wrong and what to do.
    options
        Keywords of :func:`dicombridge.suv.factors` that would supply what is missing.
    """

    def __init__(self, problems: tuple[str, ...], options: tuple[str, ...] = ()) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems
        self.options = options


T = TypeVar("T")


@dataclass(frozen=True)
class Sourced(Generic[T]):
    """A value and where it came from, e.g. ``Patient's Weight (0010,1030)``."""

    value: T
    source: str


@dataclass(frozen=True)
class FrameInputs:
    """What differs between the slices of a series, or the frames of a multi-frame image.

    Attributes
    ----------
    sop_instance_uid, number
        The instance, and the number of the frame from 1 in it, 0 for a single-frame image.
    acquisition
        When the acquisition of the frame began.
    reference_s
        Frame Reference Time: seconds from the start of the scan to the moment of the average count rate.
    duration_s
        Seconds that the frame was acquired.
    decay_factor
        The factor by which the pixels were multiplied to correct for decay.
    philips_suv, philips_activity
        Private factors of Philips from counts to SUVbw and to Bq/ml; only read for images in counts.
    to_units
        What rescaled values are multiplied with to be in :attr:`SuvInputs.units`; not 1 only where a multi-frame image
        has real world value maps beside its rescale slope.
    """

    sop_instance_uid: str = ""
    number: int = 0
    acquisition: Sourced[datetime] | None = None
    reference_s: Sourced[float] | None = None
    duration_s: Sourced[float] | None = None
    decay_factor: Sourced[float] | None = None
    philips_suv: Sourced[float] | None = None
    philips_activity: Sourced[float] | None = None
    to_units: Sourced[float] = Sourced(1.0, "rescaled values")


@dataclass(frozen=True)
class SuvInputs:
    """Everything in the headers of a PET series that an SUV may need. What is absent or unreadable is None.

    Attributes
    ----------
    units
        Units (0054,1001) in capitals (PS3.3 C.8.9.1.1.3), e.g. ``BQML``; of enhanced images, what their codes mean.
    suv_type
        Which SUV the values are already, where the units are ``GML`` or ``CM2ML``.
    decay_correction
        ``START``, ``ADMIN`` or ``NONE``; ``REFERENCE`` where the header states the moment itself.
    corrected
        Values of Corrected Image (0028,0051), or what an enhanced image says in its stead; None if it says nothing.
    weight_kg, height_m, sex
        Of the patient.
    injected_dose_bq, half_life_s, nuclide
        Of the radiopharmaceutical, as it was assayed for the moment of injection.
    injection
        When it was given: date and time.
    injection_clock
        The same as a time of day only; (hour, minute, second, microsecond) as seconds after midnight.
    series_start, ge_scan_start, decay_reference
        Series date and time, GE's private scan date and time, Decay Correction DateTime (0018,9701).
    dynamic
        The series is dynamic, i.e. it may have begun before the injection.
    frames
        In the order of the headers.
    problems
        Contradictions that forbid any SUV, in words.
    manufacturer
        As the header spells it.
    """

    units: Sourced[str] | None = None
    suv_type: Sourced[str] | None = None
    decay_correction: Sourced[str] | None = None
    corrected: Sourced[tuple[str, ...]] | None = None
    weight_kg: Sourced[float] | None = None
    height_m: Sourced[float] | None = None
    sex: Sourced[str] | None = None
    injected_dose_bq: Sourced[float] | None = None
    half_life_s: Sourced[float] | None = None
    nuclide: Sourced[str] | None = None
    injection: Sourced[datetime] | None = None
    injection_clock: Sourced[float] | None = None
    series_start: Sourced[datetime] | None = None
    ge_scan_start: Sourced[datetime] | None = None
    decay_reference: Sourced[datetime] | None = None
    dynamic: bool = False
    frames: tuple[FrameInputs, ...] = ()
    problems: tuple[str, ...] = ()
    manufacturer: str = ""


@dataclass(frozen=True)
class SuvResult:
    """Factors from rescaled voxel values to SUV.

    Attributes
    ----------
    type
        One of :data:`SUV_TYPES`.
    factors
        One for each header, or for each frame of a multi-frame image, in their order:
        ``SUV = factor * (rescale slope * stored value + rescale intercept)``.
    audit
        Lines of text: every value, the attribute that it came from, the formula and its reference.
    warnings
        What was assumed, in words.
    units, quantity, method
        Codes of the SUV.
    """

    type: str
    factors: tuple[float, ...]
    audit: str
    warnings: tuple[str, ...] = ()

    @property
    def factor(self) -> float | None:
        """The factor, where it is the same for all slices, else None."""
        first = self.factors[0]
        return first if all(value == first for value in self.factors) else None

    @property
    def units(self) -> Code:
        return UNITS[self.type]

    @property
    def quantity(self) -> Code:
        return QUANTITIES[self.type]

    @property
    def method(self) -> Code:
        return METHODS[self.type]
