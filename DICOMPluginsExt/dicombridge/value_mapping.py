"""Real world value mappings: from stored values to what they mean (PS3.3 C.7.6.16.2.11), read, applied and written.

A mapping is one item of a Real World Value Mapping Sequence, in an image, in the functional groups of an enhanced
image or a parametric map, or in an object of its own (PS3.3 A.46). It is always applied to **stored** values, never to
rescaled ones. No VTK here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicombridge.codes import code_from_sequence, code_item, modern
from dicombridge.errors import UnreadableError
from dicombridge.text import of_bytes
from dicombridge.tolerance import quiet, reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MEASUREMENT_METHOD",
    "QUANTITY",
    "ValueMapping",
    "apply_all",
    "count_outside",
    "families",
    "item_of_mapping",
    "mapping_of_item",
    "mappings_of_sequence",
]

QUANTITY = Code("246205007", "SCT", "Quantity")
"""Concept name of the item of a Quantity Definition that says what is measured (PS3.16 TID "Quantity Descriptors")."""

MEASUREMENT_METHOD = Code("370129005", "SCT", "Measurement Method")
"""Concept name of the item that says how it is measured."""

_NO_UNITS = Code("1", "UCUM", "no units")
_LUT_DATA = 0x00409212
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, eq=False)
class ValueMapping:
    """One item of a Real World Value Mapping Sequence.

    Attributes
    ----------
    label, explanation
        LUT Label and LUT Explanation.
    first, last
        Lowest and highest stored value that is mapped; -inf and inf where the item does not say.
    slope, intercept
        Real world value = slope x stored value + intercept; meaningless where there is a table.
    lut
        The real world value of each stored value from ``first`` to ``last``, float64; None for a linear mapping.
        NaN where the table holds no number.
    units
        Measurement Units Code.
    quantity
        What is measured, from the Quantity Definition.
    definitions
        The whole Quantity Definition: pairs of concept name and value.
    item
        The item as it was read; empty for a new mapping.
    """

    label: str = ""
    explanation: str = ""
    first: float = -math.inf
    last: float = math.inf
    slope: float = 1.0
    intercept: float = 0.0
    lut: NDArray[np.float64] | None = None
    units: Code | None = None
    quantity: Code | None = None
    definitions: tuple[tuple[Code, Code | str | float], ...] = ()
    item: Dataset = field(default_factory=Dataset, repr=False)

    @property
    def is_identity(self) -> bool:
        """Whether the real world values are the stored values."""
        return self.lut is None and self.slope == 1 and self.intercept == 0

    def overlaps(self, other: ValueMapping) -> bool:
        """Whether both map some of the same stored values; two ranges that only share an end do not overlap."""
        low, high = max(self.first, other.first), min(self.last, other.last)
        is_point = self.first == self.last or other.first == other.last
        return low < high or (low == high and is_point)

    def means_the_same(self, other: ValueMapping) -> bool:
        """Whether both lead to the same quantity in the same units."""
        return _key(self.units) == _key(other.units) and _key(self.quantity) == _key(other.quantity)

    def contains(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Return for each stored value whether this item maps it."""
        return np.asarray((stored >= self.first) & (stored <= self.last))

    def apply(self, stored: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the real world values of stored values of any shape.

        A linear mapping is applied beyond its range too (see :func:`count_outside`); what a table does not hold
        becomes NaN.

        Parameters
        ----------
        stored
            Stored values, before any rescaling.
        out
            Where to write, of a floating point type; a new float64 array where it is not given.
        """
        if out is None:
            out = np.empty(stored.shape, dtype=np.float64)
        if self.lut is None:
            if self.is_identity:
                out[...] = stored
            else:
                with np.errstate(over="ignore", invalid="ignore"):  # an absurd slope gives infinite values, as it says
                    out[...] = stored.astype(np.float64) * self.slope + self.intercept
            return out
        inside = self.contains(stored)
        index = np.where(inside, stored, self.first).astype(np.float64) - self.first
        with np.errstate(over="ignore"):
            out[...] = np.where(inside, self.lut[np.rint(index).astype(np.intp)], np.nan)
        return out


def _key(code: Code | None) -> tuple[str, str]:
    if code is None:
        return "", ""
    code = modern(code)
    return code.value, code.scheme_designator


def families(mappings: Iterable[ValueMapping]) -> list[list[ValueMapping]]:
    """Divide the items of one sequence into those that describe one quantity together: a curve in pieces.

    They have units and quantity in common, and their ranges do not overlap; where they do, the items are alternatives.
    """
    found: list[list[ValueMapping]] = []
    for mapping in mappings:
        for family in found:
            if family[0].means_the_same(mapping) and not any(mapping.overlaps(one) for one in family):
                family.append(mapping)
                break
        else:
            found.append([mapping])
    return found


def apply_all(mappings: Sequence[ValueMapping], stored: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the real world values of stored values under all items that describe one quantity.

    A single linear item is applied beyond its range too. With several items or a table, a value that no item maps
    becomes NaN, and of items whose ranges overlap the first one counts.

    Parameters
    ----------
    mappings
        The items, at least one.
    stored
        Stored values of any shape, before any rescaling.
    out
        Where to write, of a floating point type; a new float64 array where it is not given.
    """
    if len(mappings) == 1:
        return mappings[0].apply(stored, out)
    if out is None:
        out = np.empty(stored.shape, dtype=np.float64)
    out[...] = np.nan
    for mapping in reversed(mappings):
        inside = mapping.contains(stored)
        out[inside] = mapping.apply(stored[inside])
    return out


def count_outside(mappings: Sequence[ValueMapping], stored: NDArray[Any]) -> int:
    """Return how many stored values lie outside the ranges of all items."""
    if not stored.size:
        return 0
    low, high = stored.min(), stored.max()
    if any(mapping.first <= low and high <= mapping.last for mapping in mappings):
        return 0
    outside = np.ones(stored.shape, dtype=bool)
    for mapping in mappings:
        outside &= ~mapping.contains(stored)
    return int(np.count_nonzero(outside))


# --- Reading -------------------------------------------------------------------------------------------------------


def mappings_of_sequence(
    sequence: Iterable[Dataset] | None, signed: bool | None = None, path: str = "Real World Value Mapping Sequence"
) -> list[ValueMapping]:
    """Return the mappings of a Real World Value Mapping Sequence in their order; none for an absent one.

    Parameters
    ----------
    sequence
        Value of (0040,9096).
    signed
        Whether Pixel Representation of the images says two's complement; None where it is not known.
    path
        The file, for messages.

    Raises
    ------
    UnreadableError
        An item is damaged.
    """
    with reading(path):
        return [mapping_of_item(item, signed, path) for item in sequence or ()]


def mapping_of_item(
    item: Dataset, signed: bool | None = None, path: str = "Real World Value Mapping Sequence"
) -> ValueMapping:
    """Return the mapping of one item; parameters as :func:`mappings_of_sequence`.

    Raises
    ------
    UnreadableError
        The item has neither slope nor table, values that are no numbers, or a table that does not fit its range.
    """
    with reading(path):
        first, last = _range(item, signed)
        label = _text(item, "LUTLabel")
        name = f"its real world value mapping {label!r}" if label else "its real world value mapping"
        if math.isnan(first) or math.isnan(last) or first > last:
            raise UnreadableError(path, f"{name} is for stored values from {first:g} to {last:g}.")
        slope, intercept, lut = 1.0, 0.0, None
        if item.get("RealWorldValueLUTData") is not None:
            lut = _lut(item, first, last, path, name)
        else:
            slope, intercept = _line(item, path, name)
        definitions = tuple(_definitions(item))
        return ValueMapping(
            label=label,
            explanation=_text(item, "LUTExplanation"),
            first=first,
            last=last,
            slope=slope,
            intercept=intercept,
            lut=lut,
            units=code_from_sequence(item, "MeasurementUnitsCodeSequence"),
            quantity=next(
                (value for concept, value in definitions if concept == QUANTITY and isinstance(value, Code)), None
            ),
            definitions=definitions,
            item=item,
        )


def _text(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    return "" if value is None else str(value).strip()


def _range(item: Dataset, signed: bool | None) -> tuple[float, float]:
    """Return lowest and highest mapped value; infinite where the item does not say.

    The 16-bit elements are US or SS by Pixel Representation. An object without pixels has none, and some writers take
    US for signed images too: what makes a range that ends after it begins was meant.
    """
    ends = [_whole(item, f"RealWorldValue{end}ValueMapped") for end in ("First", "Last")]
    if None not in ends:
        negative = [value - 65536 if value >= 32768 else value for value in ends]
        if (signed or ends[0] > ends[1]) and negative[0] <= negative[1]:
            ends = negative
    for number, end in enumerate(("First", "Last")):
        wide = item.get(f"DoubleFloatRealWorldValue{end}ValueMapped")
        if wide is not None:
            ends[number] = float(wide)
    low, high = ends
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _whole(item: Dataset, keyword: str) -> Any:
    value = item.get(keyword)
    if value is None or (isinstance(value, bytes) and len(value) < 2):
        return None
    if isinstance(value, bytes):  # implicit VR, and nothing told pydicom which of US and SS it is
        value = struct.unpack_from("<H", value)[0]
    return float(value)


def _lut(item: Dataset, first: float, last: float, path: str, name: str) -> NDArray[np.float64]:
    if isinstance(item.RealWorldValueLUTData, bytes):
        # More than 8191 numbers stand as UN in a file of explicit VR (PS3.5 6.2.2); here, they are numbers again.
        raw = item.RealWorldValueLUTData
        numbers = np.frombuffer(raw, dtype="<f8", count=len(raw) // 8).tolist()
        item[_LUT_DATA] = DataElement(_LUT_DATA, "FD", numbers)
    lut = np.atleast_1d(np.asarray(item.RealWorldValueLUTData, dtype=np.float64))
    wanted = last - first + 1
    if not math.isfinite(wanted) or not first.is_integer() or lut.size != wanted:
        raise UnreadableError(
            path, f"{name} has a table of {lut.size} values for the stored values from {first:g} to {last:g}."
        )
    return np.where(np.isfinite(lut), lut, np.nan)


def _line(item: Dataset, path: str, name: str) -> tuple[float, float]:
    slope, intercept = item.get("RealWorldValueSlope"), item.get("RealWorldValueIntercept")
    if slope is None:
        raise UnreadableError(path, f"{name} has neither a slope nor a table.")
    line = float(slope), float(0.0 if intercept is None else intercept)
    if not all(map(math.isfinite, line)):
        raise UnreadableError(path, f"{name} has the slope {line[0]:g} and the intercept {line[1]:g}.")
    return line


def _definitions(item: Dataset) -> Iterable[tuple[Code, Code | str | float]]:
    """Yield concept name and value of the content items of the Quantity Definition (PS3.3 10.2); odd ones are left."""
    for part in item.get("QuantityDefinitionSequence") or ():
        concept = code_from_sequence(part, "ConceptNameCodeSequence")
        value = _content(part)
        if concept is not None and value is not None:
            yield modern(concept), value


def _content(part: Dataset) -> Code | str | float | None:
    code = code_from_sequence(part, "ConceptCodeSequence")
    if code is not None:
        return modern(code)
    number = part.get("NumericValue")
    if number is not None:
        return float(number if not isinstance(number, Sequence) or isinstance(number, str) else number[0])
    return _text(part, "TextValue") or None


# --- Writing -------------------------------------------------------------------------------------------------------


def item_of_mapping(mapping: ValueMapping, signed: bool | None = None) -> Dataset:
    """Return the mapping as an item of a Real World Value Mapping Sequence (PS3.3 Table C.7.6.16-12b).

    Parameters
    ----------
    mapping
        A range without end is written as that of all double precision numbers.
    signed
        Whether the stored values are two's complement; without it, whether ``first`` is negative. It tells the VR of
        a range that fits 16 bits; others are written in double precision.
    """
    item = Dataset()
    item.LUTExplanation = of_bytes(mapping.explanation or mapping.label, 64) or "Real world values"
    item.LUTLabel = of_bytes(mapping.label, 16) or "RWV"
    item.MeasurementUnitsCodeSequence = [code_item(mapping.units or _NO_UNITS)]
    _set_range(item, mapping, signed)
    if mapping.lut is None:
        item.RealWorldValueIntercept, item.RealWorldValueSlope = float(mapping.intercept), float(mapping.slope)
    else:
        item.RealWorldValueLUTData = [float(value) for value in mapping.lut]
    definitions = list(mapping.definitions)
    if mapping.quantity is not None and not any(concept == QUANTITY for concept, _ in definitions):
        definitions.insert(0, (QUANTITY, mapping.quantity))
    if definitions:
        item.QuantityDefinitionSequence = [_definition_item(*pair, mapping.item) for pair in definitions]
    return item


def _set_range(item: Dataset, mapping: ValueMapping, signed: bool | None) -> None:
    signed = mapping.first < 0 if signed is None else signed
    low, high = (-32768, 32767) if signed else (0, 65535)
    ends = {"First": mapping.first, "Last": mapping.last}
    for end, value in ends.items():
        if all(low <= other <= high and float(other).is_integer() for other in ends.values()):
            keyword = f"RealWorldValue{end}ValueMapped"
            with config.disable_value_validation():
                element = DataElement(keyword, "SS" if signed else "US", int(value))
            item[element.tag] = element
        else:
            setattr(item, f"DoubleFloatRealWorldValue{end}ValueMapped", min(max(float(value), -_LARGEST), _LARGEST))


@quiet()
def _definition_item(concept: Code, value: Code | str | float, read: Dataset) -> Dataset:
    """Return a content item; a number keeps the units that it was read with."""
    item = Dataset()
    item.ConceptNameCodeSequence = [code_item(concept)]
    if isinstance(value, Code):
        item.ValueType, item.ConceptCodeSequence = "CODE", [code_item(value)]
    elif isinstance(value, str):
        item.ValueType, item.TextValue = "TEXT", value
    else:
        for part in read.get("QuantityDefinitionSequence") or ():
            known = code_from_sequence(part, "ConceptNameCodeSequence")
            content = _content(part)
            if known is not None and modern(known) == concept and isinstance(content, float) and content == value:
                return deepcopy(part)
        item.ValueType, item.NumericValue = "NUMERIC", f"{value:.10g}"
        item.MeasurementUnitsCodeSequence = [code_item(_NO_UNITS)]
    return item
