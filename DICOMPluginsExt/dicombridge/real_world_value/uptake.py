"""Standardized uptake values of PET series: which are offered, and as mappings of stored values.

The arithmetic is in :mod:`dicombridge.suv`; its factors of rescaled values become slopes of stored ones here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dicombridge import suv
from dicombridge.errors import UnsupportedError
from dicombridge.image.headers import read_dataset
from dicombridge.real_world_value.nodes import SUV_AUDIT, SUV_FACTORS
from dicombridge.real_world_value.readings import Reading
from dicombridge.value_mapping import MEASUREMENT_METHOD, QUANTITY, ValueMapping

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

    from dicombridge.image.series import Series
    from dicombridge.image.voxels import Encoding

__all__ = [
    "PET_CLASSES",
    "offered_uptakes",
    "supplied_inputs",
    "uptake_definitions",
    "uptake_mapping",
    "uptake_reading",
    "uptake_type",
]

_log = logging.getLogger(__name__)

PET_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.128",  # Positron Emission Tomography Image Storage
        "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced PET Image Storage
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET Image Storage
    }
)

_OTHER_NAMES = {
    "suv": "SUVbw",
    "suvlbm(james)": "SUVlbm",
    "suvlbm(janmahasatian)": "SUVlbm(Janma)",
    "suvlbmjanma": "SUVlbm(Janma)",
    "suvlbmjames128": "SUVlbm(James128)",
}


def uptake_type(name: str | None) -> str | None:
    """Return the kind of SUV (:data:`dicombridge.suv.SUV_TYPES`) that a person means, None for other mappings.

    >>> uptake_type("suvBW"), uptake_type("SUVlbm (Janmahasatian)"), uptake_type("ADC")
    ('SUVbw', 'SUVlbm(Janma)', None)
    """
    plain = "".join(str(name or "").casefold().split())
    known = {kind.casefold(): kind for kind in suv.SUV_TYPES}
    return known.get(plain) or _OTHER_NAMES.get(plain) or suv.type_of_unit_code(plain)


def supplied_inputs(**given: Any) -> dict[str, Any]:
    """Return the options that a caller gave."""
    return {name: value for name, value in given.items() if value is not None}


def offered_uptakes(header: Any) -> Iterator[tuple[str, str, str]]:
    """Yield name, words and warning of each SUV that the header of one image of a series has the data for.

    The one by body weight always, where need be with what is missing: it is the one that people look for.
    """
    inputs = suv.inputs_of_header(header)
    for kind in suv.SUV_TYPES:
        try:
            warning = " ".join(suv.factors(inputs, kind).warnings)
        except UnsupportedError as error:
            if kind != suv.SUV_TYPES[0]:
                continue
            warning = str(error)
        yield kind, suv.UNITS[kind].meaning, warning


def uptake_definitions(kind: str) -> tuple[tuple[Code, Code], ...]:
    """Return the Quantity Definition of a kind of SUV: quantity and measurement method (PS3.16 CID 7180)."""
    return (QUANTITY, suv.QUANTITIES[kind]), (MEASUREMENT_METHOD, suv.METHODS[kind])


def uptake_mapping(kind: str, factor: float, encoding: Encoding) -> ValueMapping:
    """Return the mapping of stored values whose rescaled values times a factor are SUV."""
    low, high = encoding.stored_range
    return ValueMapping(
        label=kind[:16],
        explanation=suv.UNITS[kind].meaning,
        first=float(low),
        last=float(high),
        slope=factor * encoding.slope,
        intercept=factor * encoding.intercept,
        units=suv.UNITS[kind],
        quantity=suv.QUANTITIES[kind],
        definitions=uptake_definitions(kind),
    )


def uptake_reading(series: Series, name: str, supplied: Mapping[str, Any]) -> tuple[Reading, dict[str, str]]:
    """Return the SUV of a series as a reading, and the node attributes that say how it was computed.

    Raises
    ------
    UnsupportedError
        Something that the SUV needs is missing; the message says what, and how to supply it.
    """
    kind = uptake_type(name) or suv.SUV_TYPES[0]
    planes = series.stack.planes
    factors: list[float] = [1.0] * len(planes)
    audits: list[str] = []
    for numbers in _of_instances(series):
        first = planes[numbers[0]]
        headers = [read_dataset(planes[number].path) for number in (numbers[:1] if first.frame else numbers)]
        try:
            result = suv.factors(suv.inputs_of_series(headers), kind, **supplied)
        except suv.MissingInput as error:
            raise UnsupportedError(f"{first.path}: has no {kind}. {error}") from error
        for place, number in enumerate(numbers):
            factors[number] = result.factors[planes[number].frame - 1 if first.frame else place]
        audits.append(result.audit)
        for warning in result.warnings:
            _log.warning("%s: %s", first.path, warning)
    items = {
        (plane.sop_instance_uid, plane.frame): (uptake_mapping(kind, factor, encoding),)
        for plane, factor, encoding in zip(planes, factors, series.encodings, strict=True)
    }
    same = len(set(factors)) == 1
    text = " ".join(repr(factor) for factor in (factors[:1] if same else factors))
    return Reading(kind, items), {SUV_AUDIT: "\n".join(dict.fromkeys(audits)), SUV_FACTORS: text}


def _of_instances(series: Series) -> list[Sequence[int]]:
    """Return the planes whose headers are judged together: all single-frame ones; the frames of one file."""
    planes = series.stack.planes
    everything = range(len(planes))
    if not planes[0].frame:
        return [everything]
    ordered = sorted(everything, key=lambda number: planes[number].path)
    return [list(numbers) for _, numbers in groupby(ordered, key=lambda number: planes[number].path)]
