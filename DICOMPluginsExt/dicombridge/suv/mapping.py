"""Units of enhanced PET images: from their real world value maps (PS3.3 C.7.6.16.2.11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicombridge.codes import code_from_sequence
from dicombridge.image.headers import text_of
from dicombridge.suv.attributes import Header, finite, label
from dicombridge.suv.values import Sourced, type_of_unit_code

__all__ = ["UnitMapping", "unit_mapping"]

_ONE = Sourced(1.0, "rescaled values")

_UNIT_CODES: Mapping[str, tuple[str, float]] = {
    "BQ/ML": ("BQML", 1.0),
    "KBQ/ML": ("BQML", 1000.0),
    "{COUNTS}": ("CNTS", 1.0),
    "{COUNTS}/S": ("CPS", 1.0),
    "{PROPCOUNTS}": ("PROPCNTS", 1.0),
    "{PROPCOUNTS}/S": ("PROPCPS", 1.0),
    "CM2/ML": ("CM2ML", 1.0),
}
"""UCUM codes of PS3.16 CID 84 "PET Unit" to Units (0054,1001), and what takes a value to these."""


@dataclass(frozen=True)
class UnitMapping:
    """Units of a frame: as :attr:`SuvInputs.units`, kind of SUV, and what takes rescaled values to the units."""

    units: Sourced[str] | None = None
    suv_type: Sourced[str] | None = None
    scale: Sourced[float] = _ONE
    problem: str = ""


def unit_mapping(frame: Header) -> UnitMapping:
    """Return the units of a frame without Units (0054,1001): by a map to activity, else to SUV, else its Rescale Type.

    A real world value map applies to stored values, so its slope is divided by the rescale slope.
    """
    maps = [(item, *_units_of(item)) for item in frame.sequence("RealWorldValueMappingSequence")]
    maps.sort(key=lambda found: found[1] != "BQML")
    for item, units, suv_type, scale in maps:
        if units in ("BQML", "GML", "CM2ML"):
            return _mapped(frame, item, units, suv_type, scale)
    rescale_type = frame.sourced_text("RescaleType")
    if rescale_type is not None and rescale_type.value not in ("US", "UNSPECIFIED"):
        return UnitMapping(rescale_type)
    source = label("MeasurementUnitsCodeSequence")
    return UnitMapping(Sourced(maps[0][1], source) if maps and maps[0][1] else None)


def _units_of(item: Any) -> tuple[str, str | None, float]:
    try:
        code = code_from_sequence(item, "MeasurementUnitsCodeSequence")
    except Exception:  # a damaged sequence says nothing
        code = None
    if code is None:
        return "", None, 1.0
    suv_type = type_of_unit_code(code.value)
    if suv_type is not None:
        return ("CM2ML" if suv_type == "SUVbsa" else "GML"), suv_type, 1.0
    units, scale = _UNIT_CODES.get(code.value.strip().upper(), (code.value, 1.0))
    return units, None, scale


def _mapped(frame: Header, item: Any, units: str, suv_type: str | None, scale: float) -> UnitMapping:
    source = f"Real World Value Mapping Sequence (0040,9096), {label('MeasurementUnitsCodeSequence')}"
    named = Sourced(units, source)
    kind = Sourced(suv_type, source) if suv_type else None
    slope, intercept = (
        finite(text_of(item, keyword), label(keyword)) for keyword in ("RealWorldValueSlope", "RealWorldValueIntercept")
    )
    if slope is None or intercept is None or slope.value == 0:
        return UnitMapping(named, kind, problem="The real world value map of the image has no slope and intercept.")
    rescale = frame.number_of("RescaleSlope") or Sourced(1.0, "no Rescale Slope")
    offset = frame.number_of("RescaleIntercept") or Sourced(0.0, "no Rescale Intercept")
    if rescale.value == 0:
        return UnitMapping(named, kind, problem="The Rescale Slope (0028,1053) of the image is 0.")
    factor = slope.value / rescale.value
    if abs(intercept.value - factor * offset.value) > 1e-6 * abs(slope.value):
        words = "The real world value map and the rescale intercept of the image do not fit: no factor relates the two."
        return UnitMapping(named, kind, problem=words)
    words = f"{label('RealWorldValueSlope')} {slope.value:g} / {label('RescaleSlope')} {rescale.value:g}"
    return UnitMapping(named, kind, Sourced(factor * scale, words if scale == 1 else f"{words} * {scale:g}"))
