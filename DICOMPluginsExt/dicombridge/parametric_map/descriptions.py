"""What the functional groups say of a map beside its values: how it was derived, and how it is to be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dicombridge.parametric_map.groups import FrameGroups
    from dicombridge.parametric_map.mappings import Reading

__all__ = ["derivation", "windows"]

DERIVATION_IMAGE_SEQUENCE = 0x00089124
DERIVATION_CODE_SEQUENCE = 0x00089215
FRAME_VOI_LUT_SEQUENCE = 0x00289132
PIXEL_VALUE_TRANSFORMATION_SEQUENCE = 0x00289145


def derivation(groups: FrameGroups, frame: int) -> str:
    """Return the item of the Derivation Code Sequence of a frame as text (:mod:`dicombridge.shadow`), or nothing."""
    for item in groups.items(frame, DERIVATION_IMAGE_SEQUENCE)[:1]:
        for code in item.items(DERIVATION_CODE_SEQUENCE)[:1]:
            return code.text
    return ""


def windows(groups: FrameGroups, frame: int, reading: Reading) -> tuple[tuple[float, float], ...]:
    """Return centre and width of the windows that a frame suggests, in real world values.

    The file gives them in the output of the Pixel Value Transformation (PS3.3 C.7.6.16.2.10b), which is not the real
    world value.
    """
    item = groups.item(frame, FRAME_VOI_LUT_SEQUENCE)
    if item is None or not reading.is_linear:
        return ()
    transformation = groups.item(frame, PIXEL_VALUE_TRANSFORMATION_SEQUENCE)
    rescale_slope, rescale_intercept = 1.0, 0.0
    if transformation is not None:
        rescale_slope = (_numbers(transformation, "RescaleSlope") or [1.0])[0] or 1.0
        rescale_intercept = (_numbers(transformation, "RescaleIntercept") or [0.0])[0]
    mapping = reading.mappings[0]
    factor = mapping.slope / rescale_slope
    found = []
    for centre, width in zip(_numbers(item, "WindowCenter"), _numbers(item, "WindowWidth"), strict=False):
        window = ((centre - rescale_intercept) * factor + mapping.intercept, abs(width * factor))
        if window[1] > 0 and np.isfinite(window).all():
            found.append(window)
    return tuple(dict.fromkeys(found))


def _numbers(item: Any, keyword: str) -> list[float]:
    value = item.get(keyword)
    if value is None:
        return []
    try:
        parts = [value] if isinstance(value, str | int | float) else list(value)
        return [float(part) for part in parts]
    except (TypeError, ValueError):
        return []
