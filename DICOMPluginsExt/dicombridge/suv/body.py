"""Body measures that SUVs are normalised to, with their formulas and references.

Lean body mass has three formulas. James' (1976) for men is ``1.10 W - 128 (W/H)^2``; Morgan and Bray (1994) printed it
with 120, and much software followed them. DICOM keeps the two apart (PS3.16 CID 85): the units ``g/ml{SUVlbm}`` are for
120, as QIBA's conformance text, GE and cornerstone compute it; ``g/ml{SUVlbm(James128)}`` are for 128.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["MEASURES", "Measure"]


@dataclass(frozen=True)
class Measure:
    """A body measure.

    Attributes
    ----------
    words
        What it is.
    unit
        Unit of :attr:`compute`'s result.
    to_suv
        Factor from that unit to the numerator of the SUV: g of kg, cm2 of m2.
    formulas
        Sex to formula; ``""`` where the sex does not matter. W is kg, H is cm, BMI is kg/m2.
    reference
        Where the formula comes from.
    needs_height
        The height is needed.
    compute
        Function of weight (kg), height (m) and sex (``M`` or ``F``).
    """

    words: str
    unit: str
    to_suv: float
    formulas: Mapping[str, str]
    reference: str
    needs_height: bool
    compute: Callable[[float, float, str], float]

    @property
    def needs_sex(self) -> bool:
        """The formula is another one for women than for men."""
        return "" not in self.formulas


def _weight(weight: float, height: float, sex: str) -> float:
    return weight


def _james(men: float) -> Callable[[float, float, str], float]:
    def compute(weight: float, height: float, sex: str) -> float:
        ratio = (weight / (height * 100)) ** 2
        return 1.10 * weight - men * ratio if sex == "M" else 1.07 * weight - 148 * ratio

    return compute


def _janmahasatian(weight: float, height: float, sex: str) -> float:
    index = weight / height**2
    return 9270 * weight / (6680 + 216 * index if sex == "M" else 8780 + 244 * index)


def _du_bois(weight: float, height: float, sex: str) -> float:
    return float(0.007184 * weight**0.425 * (height * 100) ** 0.725)


def _ideal(weight: float, height: float, sex: str) -> float:
    return 48.0 + 1.06 * (height * 100 - 152) if sex == "M" else 45.5 + 0.91 * (height * 100 - 152)


_FEMALE_JAMES = "1.07 W - 148 (W/H)^2"

MEASURES: Mapping[str, Measure] = {
    "SUVbw": Measure("body weight", "kg", 1000.0, {"": "W"}, "QIBA SUV pseudo-code", False, _weight),
    "SUVlbm": Measure(
        "lean body mass",
        "kg",
        1000.0,
        {"M": "1.10 W - 120 (W/H)^2", "F": _FEMALE_JAMES},
        "James 1976 as printed by Morgan and Bray 1994 (factor 120)",
        True,
        _james(120.0),
    ),
    "SUVlbm(James128)": Measure(
        "lean body mass",
        "kg",
        1000.0,
        {"M": "1.10 W - 128 (W/H)^2", "F": _FEMALE_JAMES},
        "James 1976 (factor 128)",
        True,
        _james(128.0),
    ),
    "SUVlbm(Janma)": Measure(
        "lean body mass",
        "kg",
        1000.0,
        {"M": "9270 W / (6680 + 216 BMI)", "F": "9270 W / (8780 + 244 BMI)"},
        "Janmahasatian et al. 2005, Clin Pharmacokinet 44:1051",
        True,
        _janmahasatian,
    ),
    "SUVbsa": Measure(
        "body surface area",
        "m2",
        10000.0,
        {"": "0.007184 W^0.425 H^0.725"},
        "Du Bois and Du Bois 1916, Arch Intern Med 17:863",
        True,
        _du_bois,
    ),
    "SUVibw": Measure(
        "ideal body weight",
        "kg",
        1000.0,
        {"M": "48.0 + 1.06 (H - 152)", "F": "45.5 + 0.91 (H - 152)"},
        "Sugawara et al. 1999, Radiology 213:521; QIBA SUV pseudo-code",
        True,
        _ideal,
    ),
}
"""Kind of SUV to the measure that the activity is normalised to."""
