"""An image series in real world values, as plain values (no VTK here)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge import suv
from dicombridge.image.series import Series
from dicombridge.image.voxels import fill_mapped
from dicombridge.progress import Progress
from dicombridge.value_mapping import ValueMapping, apply_all, count_outside

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["MappedSeries", "mapped_series"]

_SUV_WINDOW = (3.0, 6.0)
"""Centre and width that Slicer's PET modules show SUV with."""


@dataclass
class _Report:
    """What was found while the voxels were read."""

    outside: int = 0
    unmapped: int = 0
    low: float = math.inf
    high: float = -math.inf
    holes: bool = False


@dataclass(frozen=True, eq=False)
class MappedSeries(Series):
    """A volume of an image series whose voxels are real world values.

    Attributes
    ----------
    mappings
        The items that hold for each plane of the stack; planes without any become NaN.
    is_suv
        Whether it is shown as Slicer's PET modules show SUV.
    report
        What was found while the voxels were read; see :meth:`warnings`.
    """

    mappings: tuple[tuple[ValueMapping, ...], ...] = ()
    is_suv: bool = False
    report: _Report = field(default_factory=_Report)

    def voxels(
        self,
        allocate: Callable[[tuple[int, int, int], DTypeLike], NDArray[Any]] = np.empty,
        progress: Progress | None = None,
    ) -> NDArray[Any]:
        """Read the stored values and write what they mean into a float32 array ``[slice, row, column]``.

        Raises
        ------
        UnreadableError, UnsupportedError
            As :meth:`Series.voxels`.
        """
        return fill_mapped(self.stack, self._write, allocate, progress)

    def _write(self, number: int, stored: NDArray[Any], target: NDArray[Any]) -> None:
        mappings = self.mappings[number]
        if not mappings:
            target[...] = np.nan
            self.report.unmapped += 1
            self.report.holes = True
            return
        self.report.outside += count_outside(mappings, stored)
        apply_all(mappings, stored, target)
        finite = target[np.isfinite(target)]
        self.report.holes |= finite.size < target.size
        self.report.low = float(finite.min(initial=self.report.low))
        self.report.high = float(finite.max(initial=self.report.high))

    @property
    def windows(self) -> tuple[tuple[float, float], ...]:
        """Centre and width of the windows to show: those of the image in real world values."""
        if self.is_suv:
            return (_SUV_WINDOW,)
        middle = len(self.encodings) // 2
        encoding, mappings = self.encodings[middle], self.mappings[middle]
        if len(mappings) == 1 and mappings[0].lut is None and mappings[0].slope * encoding.slope > 0:
            scale = mappings[0].slope / encoding.slope
            shift = mappings[0].intercept - scale * encoding.intercept
            found = ((scale * centre + shift, scale * width) for centre, width in encoding.windows)
            return tuple(window for window in found if all(map(math.isfinite, window)))
        if self.report.holes and self.report.high > self.report.low:
            # Slicer's automatic window is lost where there are voxels that are no number.
            return (((self.report.low + self.report.high) / 2, self.report.high - self.report.low),)
        return ()

    @property
    def inverted(self) -> bool:
        """Whether low values are shown white."""
        return self.is_suv or super().inverted

    @property
    def warnings(self) -> list[str]:
        """What a person must know of the voxels that were read."""
        found = []
        several = any(len(mappings) > 1 or mappings[0].lut is not None for mappings in self.mappings if mappings)
        if self.report.outside and several:
            found.append(f"{self.report.outside} voxels have stored values that no mapping is for; they became NaN.")
        elif self.report.outside:
            one = next(mappings[0] for mappings in self.mappings if mappings)
            found.append(
                f"{self.report.outside} voxels have stored values beyond those that the mapping is for "
                f"({one.first:g} to {one.last:g}); it was applied to them too."
            )
        if self.report.unmapped:
            found.append(f"{self.report.unmapped} of {len(self.mappings)} slices are not mapped; they became NaN.")
        return found


def mapped_series(series: Series, mappings: Sequence[tuple[ValueMapping, ...]], is_suv: bool = False) -> MappedSeries:
    """Return a series in the real world values of mappings, one tuple for each plane."""
    first = next(of_plane[0] for of_plane in mappings if of_plane)
    values = {one.name: getattr(series, one.name) for one in fields(Series)}
    # One spelling on nodes for the two that the units of SUV have.
    kind = suv.type_of_unit_code(first.units.value) if first.units is not None else None
    values.update(quantity=first.quantity, units=suv.UNITS[kind] if kind else first.units)
    return MappedSeries(**values, mappings=tuple(mappings), is_suv=is_suv)
