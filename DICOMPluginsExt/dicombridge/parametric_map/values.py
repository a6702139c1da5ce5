"""How the values of a map are stored: bit for bit as floats, or as 16-bit numbers with a mapping and a known error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import ExportError
from dicombridge.value_mapping import MEASUREMENT_METHOD, QUANTITY, ValueMapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.codes import Code

__all__ = ["STORED_TYPES", "Storing", "described", "float_type", "storing"]

STORED_TYPES = ("float32", "float64", "uint16")
_LARGEST = 65535
_EXACT_IN_FLOAT32 = 2**24
_ROUNDING = 2.0**-21
"""Relative error of values that were read with a mapping into 32-bit floats."""


@dataclass(frozen=True)
class Storing:
    """How the values of one map become stored values.

    Attributes
    ----------
    mapping
        From stored values back to real world values.
    error
        No value differs by more from what a reader will see, in the map's unit; 0 where they are the same.
    table
        Sorted values and the stored value of each, where the mapping is a table.
    """

    mapping: ValueMapping
    error: float = 0.0
    table: tuple[NDArray[np.float64], NDArray[np.uint16]] | None = None

    def stored(self, values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return real world values as stored ones of that type."""
        if dtype.kind == "f":
            return values.astype(dtype, copy=False)
        if self.table is not None:
            known, numbers = self.table
            return numbers[np.searchsorted(known, values.astype(np.float64))]
        mapping = self.mapping
        return np.rint((values.astype(np.float64) - mapping.intercept) / mapping.slope).astype(np.uint16)


def float_type(arrays: Sequence[NDArray[Any]]) -> str:
    """Return the floating point type that holds all values exactly."""
    for array in arrays:
        if array.dtype == np.float64:
            return "float64"
        wide = array.dtype.kind in "iu" and array.dtype.itemsize > 2 and array.size
        if wide and max(abs(int(array.min())), abs(int(array.max()))) > _EXACT_IN_FLOAT32:
            return "float64"
    return "float32"


def described(
    kept: ValueMapping | None, quantity: Any, units: Any, label: str, method: Code | None = None
) -> ValueMapping:
    """Return what is said of a map's values: as it was loaded, with the node's quantity and units of today.

    Parameters
    ----------
    kept
        The mapping that the map was loaded with.
    quantity, units
        Codes of the node; None keeps what there was.
    label
        For a map that has none.
    method
        How the values were measured; None keeps what there was.
    """
    mapping = kept or ValueMapping()
    definitions = tuple(pair for pair in mapping.definitions if pair[0] != QUANTITY)
    if method is not None:
        others = (pair for pair in definitions if pair[0] != MEASUREMENT_METHOD)
        definitions = ((MEASUREMENT_METHOD, method), *others)
    quantity = quantity or mapping.quantity
    if quantity is not None:
        definitions = ((QUANTITY, quantity), *definitions)
    return replace(
        mapping,
        label=mapping.label or label,
        explanation=mapping.explanation or (quantity.meaning if quantity is not None else label),
        quantity=quantity,
        definitions=definitions,
        units=units or mapping.units,
    )


def storing(mapping: ValueMapping, arrays: Sequence[NDArray[Any]], stored_type: str, name: str) -> Storing:
    """Return how the values of a map are stored.

    Parameters
    ----------
    mapping
        As it was loaded; its slope or table is used again where it gives the values exactly.
    arrays
        The values, one array a time point; NaN only where the type is a floating point one.
    stored_type
        Out of :data:`STORED_TYPES`.
    name
        Of the node, for messages.

    Raises
    ------
    ExportError
        The values cannot be stored in that type.
    """
    low, high = _range(arrays)
    if stored_type != "uint16":
        limit = float(np.finfo(np.float32).max)  # beyond it a reader would see infinity
        if stored_type == "float32" and max(-low, high) > limit:
            raise ExportError(
                f"{name!r} has values up to {max(abs(low), abs(high)):g}, which float32 cannot hold; use float64."
            )
        if mapping.is_identity and mapping.first <= low and high <= mapping.last and np.isfinite(mapping.first):
            return Storing(mapping)
        line = replace(mapping, first=low, last=high, slope=1.0, intercept=0.0, lut=None)
        return Storing(line, _rounding(arrays, np.dtype(stored_type)))
    if any(not np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
        raise ExportError(
            f"{name!r} has voxels without a value (NaN or infinite), which 16-bit numbers cannot say; use float32."
        )
    again = _same_table(mapping, arrays) if mapping.lut is not None else _same_line(mapping, arrays)
    return again or _new_line(mapping, low, high, all(map(_is_whole, arrays)))


def _range(arrays: Sequence[NDArray[Any]]) -> tuple[float, float]:
    ends = [1.0, 0.0]
    for array in arrays:
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" and not np.isfinite(array).all() else array
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
            ends = [low, high] if ends[0] > ends[1] else [min(ends[0], low), max(ends[1], high)]
    return (ends[0], ends[1]) if ends[0] <= ends[1] else (0.0, 0.0)


def _same_line(mapping: ValueMapping, arrays: Sequence[NDArray[Any]]) -> Storing | None:
    """Return the mapping that the map came with, where all values are still on its steps."""
    if mapping.slope == 0 or not np.isfinite(mapping.first):
        return None
    for array in arrays:
        for plane in array:
            stored = np.rint((plane.astype(np.float64) - mapping.intercept) / mapping.slope)
            if stored.size and (stored.min() < 0 or stored.max() > _LARGEST):
                return None
            back = stored * mapping.slope + mapping.intercept
            if (np.abs(back - plane) > _ROUNDING * np.maximum(np.abs(back), abs(mapping.intercept))).any():
                return None
    return Storing(mapping)


def _same_table(mapping: ValueMapping, arrays: Sequence[NDArray[Any]]) -> Storing | None:
    """Return the table that the map came with, where all values are still in it."""
    assert mapping.lut is not None
    for dtype in (np.float64, np.float32):  # values may have been read into 32 bits
        known, first = np.unique(mapping.lut.astype(dtype).astype(np.float64), return_index=True)
        known, first = known[np.isfinite(known)], first[: np.isfinite(known).sum()]
        if known.size and mapping.first >= 0 and all(np.isin(array, known).all() for array in arrays):
            return Storing(mapping, 0.0, (known, (first + int(mapping.first)).astype(np.uint16)))
    return None


def _is_whole(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "iu" or all((plane == np.rint(plane)).all() for plane in array)


def _rounding(arrays: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> float:
    """Return how far values may lie from the nearest ones of a floating point type."""
    worst = 0.0
    for array in arrays:
        if array.dtype.kind == "f" and np.can_cast(array.dtype, dtype):
            continue
        for plane in array:
            if plane.dtype.kind in "iu":
                largest = max(abs(int(plane.min())), abs(int(plane.max())))
                exact = 2 ** (np.finfo(dtype).nmant + 1)
                worst = max(worst, float(np.spacing(dtype.type(largest))) / 2 if largest > exact else 0.0)
            else:
                finite = plane[np.isfinite(plane)]
                worst = max(worst, float(np.abs(finite - finite.astype(dtype)).max(initial=0.0)))
    return worst


def _new_line(mapping: ValueMapping, low: float, high: float, whole: bool) -> Storing:
    """Return a line through all 16-bit numbers; whole numbers that are few enough are stored exactly."""
    if whole and high - low <= _LARGEST and max(-low, high) < 2**53:
        return Storing(replace(mapping, first=0.0, last=high - low, slope=1.0, intercept=low, lut=None))
    slope = (high - low) / _LARGEST or 1.0
    if not np.isfinite(slope):
        raise ExportError(f"Values from {low:g} to {high:g} do not fit 16 bits; use float64.")
    line = replace(mapping, first=0.0, last=float(_LARGEST), slope=slope, intercept=low, lut=None)
    return Storing(line, slope / 2)
