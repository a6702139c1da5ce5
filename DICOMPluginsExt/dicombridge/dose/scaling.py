"""Doses as stored integers and their scaling (PS3.3 C.8.8.3): value = stored integer x DoseGridScaling."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.dose.values import one_decimal, text_value, whole
from dicombridge.errors import ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["StoredDoses", "stored_doses"]

BITS = (16, 32)
NEGLIGIBLE = 1e-6
"""Part of the highest dose; what interpolation leaves below zero is smaller."""
_TEN_DIGITS = Context(prec=10, rounding=ROUND_CEILING)
"""Scalings are rounded up, so that the highest dose fits; with their exponent they fill the 16 characters of a DS."""


@dataclass(frozen=True)
class StoredDoses:
    """Doses as integers.

    Attributes
    ----------
    integers
        (slices, rows, columns), of the type that is written.
    scaling
        DoseGridScaling, as text.
    largest_error
        Largest difference of a dose from what is read back, in the units of the doses.
    as_loaded
        The scaling is that of the loaded object, and every dose is read back exactly.
    """

    integers: NDArray[Any]
    scaling: str
    largest_error: float
    as_loaded: bool = False

    @property
    def bits(self) -> int:
        """Bits Allocated and Bits Stored."""
        return 8 * self.integers.dtype.itemsize

    @property
    def signed(self) -> bool:
        """Whether Pixel Representation is two's complement."""
        return self.integers.dtype.kind == "i"


def stored_doses(doses: NDArray[Any], dose_type: str, bits: int | None, kept: Any) -> tuple[StoredDoses, list[str]]:
    """Turn doses into integers with the least error.

    Where the scaling of the loaded object gives every dose back exactly, it stays. Else the highest dose becomes the
    largest integer, so that no dose is wrong by more than half of highest / (2**bits - 1).

    Parameters
    ----------
    doses
        (slices, rows, columns)
    dose_type
        Only doses of type ERROR may be negative, and are signed then (PS3.3 C.8.8.3.4.6).
    bits : {16, 32, None}
        None is as loaded, and 32 for what was not loaded.
    kept
        Header of the loaded object, or None.

    Returns
    -------
    stored doses, warnings

    Raises
    ------
    ExportError
        Doses are not finite, or negative without being errors.
    """
    if bits not in (None, *BITS):
        raise ExportError(f"bits is 16 or 32, not {bits!r}.")
    if not doses.size:
        raise ExportError("The dose has no voxels.")
    if doses.dtype.kind not in "fiu":
        raise ExportError(f"Voxels of type {doses.dtype} are no doses.")
    low, high = float(doses.min()), float(doses.max())
    if not np.isfinite([low, high]).all():
        raise ExportError("Some doses are not finite (NaN or infinite); set them to 0 or to what they are first.")
    warnings = []
    if low < 0 and dose_type != "ERROR":
        if -low > NEGLIGIBLE * high:
            raise ExportError(
                f"Doses down to {low:g} are negative, which only doses of type ERROR may be: give dose_type='ERROR', "
                "or set them to 0 first."
            )
        warnings.append(f"Doses from {low:g} to 0, less than rounding, were written as 0.")
        doses = np.maximum(doses, 0)
        low = 0.0
    again = _as_loaded(doses, dose_type, bits, kept)
    if again is not None:
        return again, warnings
    return _rescaled(doses, low, high, bits or _kept_bits(kept), dose_type == "ERROR"), warnings


def _kept_bits(kept: Any) -> int:
    known = whole(kept, "BitsAllocated") if kept is not None else None
    return known if known in BITS else 32


def _as_loaded(doses: NDArray[Any], dose_type: str, bits: int | None, kept: Any) -> StoredDoses | None:
    """Return the doses in the scaling of the loaded object, None where they are no multiples of it any more."""
    scaling = one_decimal(kept, "DoseGridScaling") if kept is not None else None
    if scaling is None or not np.isfinite(scaling) or scaling <= 0 or doses.dtype.kind != "f":
        return None
    allocated = whole(kept, "BitsAllocated")
    if allocated not in BITS or bits not in (None, allocated):
        return None
    signed = dose_type == "ERROR" and whole(kept, "PixelRepresentation") == 1
    dtype = np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}")
    with np.errstate(over="ignore", invalid="ignore"):
        integers = np.rint(doses / np.float64(scaling))
        limits = np.iinfo(dtype)
        if integers.min() < limits.min or integers.max() > limits.max:
            return None
        if not np.array_equal((integers * np.float64(scaling)).astype(doses.dtype), doses):
            return None
    return StoredDoses(integers.astype(dtype), text_value(kept, "DoseGridScaling"), 0.0, True)


def _rescaled(doses: NDArray[Any], low: float, high: float, bits: int, signed: bool) -> StoredDoses:
    dtype = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
    largest = int(np.iinfo(dtype).max)
    reach = max(high, -low)
    text = scaling_text(reach / largest) if reach > 0 else "1"
    scaling = float(text)
    integers = np.empty(doses.shape, dtype)
    error = 0.0
    for place, plane in enumerate(doses):
        exact = plane.astype(np.float64)
        rounded = np.rint(exact / scaling)
        error = max(error, float(np.abs(rounded * scaling - exact).max(initial=0.0)))
        integers[place] = rounded
    return StoredDoses(integers, text, error)


def scaling_text(scaling: float) -> str:
    """Return a scaling as a decimal string of at most 16 characters, rounded up.

    >>> scaling_text(1 / 3), float(scaling_text(2.5e-10 / 3)) >= 2.5e-10 / 3
    ('0.3333333334', True)
    """
    rounded = _TEN_DIGITS.create_decimal(Decimal(scaling))
    text = str(rounded)
    return text if len(text) <= 16 else f"{rounded:.9E}"
