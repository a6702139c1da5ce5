"""Dose-volume histograms (RT DVH module, PS3.3 C.8.8.4) as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.attribute_values import items_of
from dicombridge.dose.values import codes_text, decimals, one_decimal, text_value, whole
from dicombridge.geometry import plausible
from dicombridge.multiframe import read_header
from dicombridge.tolerance import DAMAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database

__all__ = ["Histogram", "Roi", "histograms_of", "mean_of", "rois_of"]

TYPES = ("CUMULATIVE", "DIFFERENTIAL", "NATURAL")
MOST_BINS = 2**18


@dataclass(frozen=True)
class Roi:
    """A region of interest of the structure set that histograms refer to; colour 0 to 1."""

    name: str
    colour: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Histogram:
    """One dose-volume histogram.

    Attributes
    ----------
    type
        CUMULATIVE, DIFFERENTIAL or NATURAL (PS3.3 C.8.8.4).
    doses
        (bins,) in ``dose_units``. CUMULATIVE: the lower end of each bin, where the volume that receives at least this
        dose is given; else the middle of each bin.
    widths
        (bins,) of the bins, in ``dose_units``.
    volumes
        (bins,) in ``volume_units``.
    volume_units
        CM3, PERCENT or PER_U.
    dose_units, dose_type
        As in the dose itself.
    included, excluded
        ROI Numbers that it is of, less those that were left out of it.
    minimum, maximum, mean
        As the object says them; some planning systems give percent of the prescription. None where it does not.
    """

    type: str
    doses: NDArray[np.float64]
    widths: NDArray[np.float64]
    volumes: NDArray[np.float64]
    volume_units: str
    dose_units: str
    dose_type: str
    included: tuple[int, ...]
    excluded: tuple[int, ...]
    minimum: float | None
    maximum: float | None
    mean: float | None

    def name(self, rois: Mapping[int, Roi]) -> str:
        """Return what the histogram is of, by the names of the regions where they are known."""
        known = [rois[number].name if number in rois else f"ROI {number}" for number in self.included]
        less = [rois[number].name if number in rois else f"ROI {number}" for number in self.excluded]
        return " + ".join(known or ["?"]) + "".join(f" - {one}" for one in less)


def histograms_of(header: Any) -> tuple[list[Histogram], list[str]]:
    """Return the histograms of a dose, and what is wrong with those that are left out or doubtful."""
    found: list[Histogram] = []
    warnings: list[str] = []
    for number, item in enumerate(items_of(header, "DVHSequence"), start=1):
        try:
            histogram = _histogram(item, number, warnings)
        except DAMAGE as error:
            warnings.append(f"Its histogram {number} was left out: {error}.")
            continue
        found.append(histogram)
    return found, warnings


def _histogram(item: Any, number: int, warnings: list[str]) -> Histogram:
    kind = codes_text(item, "DVHType")
    if kind not in TYPES:
        raise ValueError(f"its DVHType is {kind!r}")
    data = decimals(item, "DVHData")
    if data is None or len(data) % 2 or len(data) > 2 * MOST_BINS or not np.isfinite(data).all():
        raise ValueError("its DVHData is not pairs of numbers")
    scaling = one_decimal(item, "DVHDoseScaling")
    if scaling is None or not plausible(scaling) or scaling <= 0:
        raise ValueError(f"its DVHDoseScaling is {text_value(item, 'DVHDoseScaling') or 'missing'}")
    widths = np.array(data[::2]) * scaling
    volumes = np.array(data[1::2])
    if not plausible(widths) or (widths < 0).any():
        raise ValueError("the widths of its bins are no lengths of dose")
    announced = whole(item, "DVHNumberOfBins")
    if announced != len(widths):
        warnings.append(f"Its histogram {number} has {len(widths)} bins, where DVHNumberOfBins is {announced}.")
    upper = np.cumsum(widths)
    doses = upper - (widths if kind == "CUMULATIVE" else widths / 2)
    rois = items_of(item, "DVHReferencedROISequence")
    contributions = [(whole(roi, "ReferencedROINumber"), codes_text(roi, "DVHROIContributionType")) for roi in rois]
    return Histogram(
        type=kind,
        doses=doses,
        widths=widths,
        volumes=volumes,
        volume_units=codes_text(item, "DVHVolumeUnits"),
        dose_units=codes_text(item, "DoseUnits"),
        dose_type=codes_text(item, "DoseType"),
        included=tuple(roi for roi, how in contributions if roi is not None and how != "EXCLUDED"),
        excluded=tuple(roi for roi, how in contributions if roi is not None and how == "EXCLUDED"),
        minimum=one_decimal(item, "DVHMinimumDose"),
        maximum=one_decimal(item, "DVHMaximumDose"),
        mean=one_decimal(item, "DVHMeanDose"),
    )


def rois_of(structure_set_uids: Sequence[str], database: Database | None) -> dict[int, Roi]:
    """Return names and colours of the regions of the first structure set that the database has, by ROI Number."""
    for uid in structure_set_uids if database is not None else ():
        file = database.fileForInstance(uid) if database is not None else ""
        if not file:
            continue
        try:
            return _rois(read_header(file))
        except Exception:  # names are a comfort: a damaged structure set does not make the dose unreadable
            continue
    return {}


def _rois(header: Any) -> dict[int, Roi]:
    colours = {}
    for item in items_of(header, "ROIContourSequence"):
        colour = decimals(item, "ROIDisplayColor")
        if colour is not None and len(colour) == 3 and all(0 <= part <= 255 for part in colour):
            colours[whole(item, "ReferencedROINumber")] = (colour[0] / 255, colour[1] / 255, colour[2] / 255)
    found = {}
    for item in items_of(header, "StructureSetROISequence"):
        number = whole(item, "ROINumber")
        if number is not None:
            found[number] = Roi(text_value(item, "ROIName") or f"ROI {number}", colours.get(number))
    return found


def mean_of(histogram: Histogram) -> float | None:
    """Return the mean dose that a histogram itself tells, in its dose units; None where it cannot be told.

    Within a bin, all doses are taken to be as frequent as each other.
    """
    volumes = histogram.volumes
    if histogram.type == "CUMULATIVE":
        following = np.append(volumes[1:], 0.0)
        total, weighted = float(volumes[0]), float((histogram.widths * (volumes + following)).sum() / 2)
    elif histogram.type == "DIFFERENTIAL":
        total, weighted = float(volumes.sum()), float((volumes * histogram.doses).sum())
    else:
        return None
    return weighted / total if total > 0 else None
