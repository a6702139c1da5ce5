"""What a voxel value is: quantity, units and windows (no VTK here)."""

from __future__ import annotations

from typing import Any

from pydicom.sr.coding import Code

from dicombridge.image.enhanced import group_item
from dicombridge.image.headers import numbers, text_of

__all__ = ["quantity_and_units", "windows"]

_CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_MR_CLASSES = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
_PT_CLASSES = ("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.128.1", "1.2.840.10008.5.1.4.1.1.130")

_ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
_HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
_MR_SIGNAL = Code("110852", "DCM", "MR signal intensity")
_NO_UNITS = Code("1", "UCUM", "no units")
_ACTIVITY = Code("110821", "DCM", "Nuclear Medicine Tomographic Activity")
_SUV = Code("126400", "DCM", "Standardized Uptake Value")
_BODY_SURFACE_AREA = Code("{SUVbsa}cm2/ml", "UCUM", "Standardized Uptake Value body surface area")

_PET_UNITS: dict[str, tuple[Code, Code]] = {
    "BQML": (_ACTIVITY, Code("Bq/ml", "UCUM", "Becquerels/milliliter")),
    "CNTS": (_ACTIVITY, Code("{counts}", "UCUM", "Counts")),
    "CPS": (_ACTIVITY, Code("{counts}/s", "UCUM", "Counts per second")),
    "PROPCNTS": (_ACTIVITY, Code("{propcounts}", "UCUM", "Proportional to counts")),
    "PROPCPS": (_ACTIVITY, Code("{propcounts}/s", "UCUM", "Proportional to counts per second")),
    "CM2ML": (_SUV, _BODY_SURFACE_AREA),
}
"""Units (0054,1001) (PS3.3 C.8.9.1.1.3) to the codes that Slicer's PET modules use."""

_SUV_UNITS: dict[str, Code] = {
    "BW": Code("{SUVbw}g/ml", "UCUM", "Standardized Uptake Value body weight"),
    "BSA": _BODY_SURFACE_AREA,
    "LBM": Code("{SUVlbm}g/ml", "UCUM", "Standardized Uptake Value lean body mass (James)"),
    "LBMJAMES128": Code("{SUVlbm(James128)}g/ml", "UCUM", "Standardized Uptake Value lean body mass (James 128)"),
    "LBMJANMA": Code("{SUVlbm(Janma)}g/ml", "UCUM", "Standardized Uptake Value lean body mass (Janma)"),
    "IBW": Code("{SUVibw}g/ml", "UCUM", "Standardized Uptake Value ideal body weight"),
}
"""SUV Type (0054,1006) to the units of GML images; absent, it is body weight (PS3.3 C.8.9.1)."""


def quantity_and_units(dataset: Any, groups: tuple[Any, ...] = ()) -> tuple[Code | None, Code | None]:
    """Return the codes of what the rescaled values of an image are, None where the header does not say.

    Parameters
    ----------
    dataset
        Header of an instance.
    groups
        Functional groups of a frame of it, where it is a multi-frame instance.
    """
    sop_class = text_of(dataset, "SOPClassUID")
    transformation = group_item(groups, "PixelValueTransformationSequence") or dataset
    rescale_type = text_of(transformation, "RescaleType").upper()
    # Rescale Type is required wherever the values are not Hounsfield units (PS3.3 C.8.2.1.1.4).
    if sop_class in _CT_CLASSES and rescale_type in ("", "HU"):
        return _ATTENUATION, _HOUNSFIELD
    if sop_class in _MR_CLASSES:
        return _MR_SIGNAL, _NO_UNITS
    if sop_class in _PT_CLASSES:
        units = text_of(dataset, "Units").upper() or rescale_type
        if units == "GML":
            return _SUV, _SUV_UNITS.get(text_of(dataset, "SUVType").upper(), _SUV_UNITS["BW"])
        return _PET_UNITS.get(units, (None, None))
    return None, None


def windows(dataset: Any, groups: tuple[Any, ...] = ()) -> tuple[tuple[float, float], ...]:
    """Return centre and width of each window that an image or frame suggests (PS3.3 C.11.2.1.2)."""
    source = group_item(groups, "FrameVOILUTSequence") or dataset
    centres, widths = (
        [value[0] for part in text_of(source, keyword).split("\\") if (value := numbers(part, 1))]
        for keyword in ("WindowCenter", "WindowWidth")
    )
    return tuple(dict.fromkeys((c, w) for c, w in zip(centres, widths, strict=False) if w > 0))
