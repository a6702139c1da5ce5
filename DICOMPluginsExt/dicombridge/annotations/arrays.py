"""Coordinates, index lists and measured values straight from the bytes of a file, checked (PS3.3 C.37.1.2.1).

What contradicts itself raises ValueError, whose text is the end of a sentence that begins with the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.annotations.groups import GRAPHIC_TYPES
from dicombridge.part10 import Buffer, Element, elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ARRAYS", "array_of", "dimensions_of", "scattered", "starts_of", "values_parts"]

POINT_COORDINATES_DATA = 0x00660016
DOUBLE_POINT_COORDINATES_DATA = 0x00660022
LONG_PRIMITIVE_POINT_INDEX_LIST = 0x00660040
FLOATING_POINT_VALUES = 0x00660125
ANNOTATION_INDEX_LIST = 0x006A0011

ARRAYS = {
    POINT_COORDINATES_DATA: "f4",
    DOUBLE_POINT_COORDINATES_DATA: "f8",
    LONG_PRIMITIVE_POINT_INDEX_LIST: "u4",
    FLOATING_POINT_VALUES: "f4",
    ANNOTATION_INDEX_LIST: "u4",
}
"""Elements that are arrays, by tag, whatever VR a producer gave them (OF, OD and OL; UN and OB occur)."""


def array_of(buffer: Buffer, element: Element, big_endian: bool) -> NDArray[Any]:
    """Return the numbers of an element, (n,), in the byte order of this machine.

    Raises
    ------
    ValueError
        Its length is no multiple of that of a number.
    """
    content = buffer[element.start : element.stop]
    dtype = np.dtype(ARRAYS[element.tag]).newbyteorder(">" if big_endian else "<")
    if len(content) % dtype.itemsize:
        raise ValueError(f"has {len(content)} bytes of {dtype.itemsize}-byte numbers in ({element.tag:08X})")
    values = np.frombuffer(content, dtype)
    return values.astype(dtype.newbyteorder("="), copy=False)


def values_parts(buffer: Buffer, start: int, stop: int, implicit_vr: bool) -> tuple[bytes, dict[int, Element]]:
    """Return an item's small elements as they are encoded, and where its arrays and measurements lie."""
    rest: list[bytes] = []
    large: dict[int, Element] = {}
    for element in elements(buffer, start, stop, implicit_vr, 1):
        if element.tag in ARRAYS or element.tag in (0x00660121, 0x00660132):
            large[element.tag] = element
        else:
            rest.append(buffer[element.begin : element.next])
    return b"".join(rest), large


# --- Coordinates -----------------------------------------------------------------------------------------------------


def dimensions_of(
    values: int, allowed: Sequence[int], graphic_type: str, announced: int, indices: NDArray[Any] | None
) -> int:
    """Return how many values a point has: the first number that fits all else that is said, else the first.

    Parameters
    ----------
    values
        Number of coordinate values.
    allowed
        2, 3 or both, what the attributes say first.
    announced
        Number of Annotations.
    indices
        The index list.
    """
    points = GRAPHIC_TYPES[graphic_type].points

    def fits(dimensions: int) -> bool:
        if points:
            return values == announced * points * dimensions
        on_points = indices is None or not ((indices.astype(np.int64) - 1) % dimensions).any()
        return values % dimensions == 0 and on_points

    return next(filter(fits, allowed), allowed[0])


def starts_of(
    graphic_type: str, values: int, dimensions: int, announced: int, indices: NDArray[Any] | None, warnings: list[str]
) -> NDArray[np.int64]:
    """Return the number of the first point of each shape, and behind them the number of points (shapes + 1,).

    Raises
    ------
    ValueError
        The numbers of values and shapes, or the indices, contradict each other.
    """
    if values % dimensions:
        raise ValueError(f"has {values} coordinate values, which are not points of {dimensions}")
    points = values // dimensions
    each = GRAPHIC_TYPES[graphic_type].points
    if each:
        if points % each:
            raise ValueError(f"has {points} points, which is no whole number of {graphic_type} shapes of {each}")
        starts = np.arange(0, points + 1, each, dtype=np.int64)
    elif indices is not None and len(indices):
        first = _first_points(indices.astype(np.int64), values, dimensions, warnings)
        starts = np.append(first, points)
    elif announced == 1 or not points:
        starts = np.array([0, points] if points else [0], dtype=np.int64)
        if points:
            warnings.append("has no index list; its one shape was taken to have all points")
    else:
        raise ValueError(f"has no Long Primitive Point Index List that divides its points into {graphic_type} shapes")
    if announced != len(starts) - 1:
        warnings.append(f"announces {announced} annotations and holds {len(starts) - 1}")
    short = int((np.diff(starts) < GRAPHIC_TYPES[graphic_type].least).sum())
    if short:
        warnings.append(f"has {short} shapes of fewer points than a {graphic_type} needs")
    return starts


def _first_points(indices: NDArray[np.int64], values: int, dimensions: int, warnings: list[str]) -> NDArray[np.int64]:
    """Return the first point of each shape of an index list, which counts coordinate values from 1.

    Some count from 0, others points.
    """
    if (np.diff(indices) <= 0).any():
        raise ValueError("has an index list that does not increase")
    if indices[0] == 0:
        warnings.append("has an index list that counts from 0")
        indices = indices + 1
    places = indices - 1
    if not (places % dimensions).any():
        points = places // dimensions
    elif places[-1] < values // dimensions:
        warnings.append("has an index list that counts points, not their values")
        points = places
    else:
        raise ValueError(f"has an index list that points between the {dimensions} values of a point")
    if points[-1] >= values // dimensions:
        raise ValueError(f"has an index list that goes to {indices[-1]}, beyond its {values} values")
    if points[0]:
        warnings.append(f"has {points[0]} points in front of its first shape, which were left out")
    return points


# --- Measurements ----------------------------------------------------------------------------------------------------


def scattered(
    values: NDArray[Any], indices: NDArray[Any] | None, count: int, warnings: list[str]
) -> NDArray[np.float32]:
    """Return one value for each of so many shapes, NaN where there is none.

    Parameters
    ----------
    values
        Floating Point Values.
    indices
        Annotation Index List: the shapes that they are of, from 1; None where they are of all.

    Raises
    ------
    ValueError
        There are not as many values as shapes that they are of.
    """
    if indices is None or not len(indices):
        if len(values) != count:
            raise ValueError(f"has {len(values)} measured values for {count} shapes")
        return np.array(values, dtype=np.float32)
    if len(indices) != len(values):
        raise ValueError(f"has {len(values)} measured values for {len(indices)} listed shapes")
    places = indices.astype(np.int64) - 1
    good = (places >= 0) & (places < count)
    if not good.all():
        if places.min() == -1 and places.max() == count - 2 and len(places) == count:
            warnings.append("has a list of measured shapes that counts from 0")
            places, good = places + 1, np.ones(len(places), dtype=bool)
        else:
            warnings.append(f"has {int((~good).sum())} measured values of shapes that do not exist; they were left out")
    found = np.full(count, np.nan, dtype=np.float32)
    found[places[good]] = values[good]
    return found
