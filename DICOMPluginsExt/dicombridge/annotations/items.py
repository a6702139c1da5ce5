"""Groups as items of the Annotation Group Sequence (PS3.3 C.37.1.2)."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from dicombridge.annotations.contents import NewGroup
from dicombridge.annotations.groups import GRAPHIC_TYPES, Measurement
from dicombridge.codes import code_item
from dicombridge.errors import ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["group_item"]

LONGEST = 0xFFFFFFFE
"""Bytes of an element."""


def group_item(group: NewGroup) -> Dataset:
    """Return the item of a group.

    Raises
    ------
    ExportError
        It has more points than an element has room for.
    """
    item = deepcopy(group.item)
    item.NumberOfAnnotations = len(group.starts) - 1
    item.GraphicType = group.graphic_type
    double = group.coordinates.dtype.itemsize == 8
    content = _bytes(group.coordinates, "f8" if double else "f4")
    setattr(item, "DoublePointCoordinatesData" if double else "PointCoordinatesData", content)
    if not GRAPHIC_TYPES[group.graphic_type].points:
        # It counts values, not points, from 1.
        indices = group.starts[:-1] * group.coordinates.shape[1] + 1
        if len(indices) and indices[-1] > 0xFFFFFFFF:
            raise ExportError(f"The group {item.AnnotationGroupLabel!r} has too many points for one group.")
        item.LongPrimitivePointIndexList = _bytes(indices, "u4")
    if group.measurements:
        item.MeasurementsSequence = [_measurements_item(one) for one in group.measurements]
    return item


def _measurements_item(measurement: Measurement) -> Dataset:
    values = Dataset()
    there = ~np.isnan(measurement.values)
    values.FloatingPointValues = _bytes(measurement.values[there], "f4")
    if not there.all():
        values.AnnotationIndexList = _bytes(np.flatnonzero(there) + 1, "u4")
    item = Dataset()
    item.ConceptNameCodeSequence = [code_item(measurement.name)]
    item.MeasurementUnitsCodeSequence = [code_item(measurement.units)]
    item.MeasurementValuesSequence = [values]
    return item


def _bytes(values: NDArray[Any], dtype: str) -> bytes:
    content = np.ascontiguousarray(values, dtype=f"<{dtype}").tobytes()
    if len(content) > LONGEST:
        raise ExportError("A group has more than 4 GiB of coordinates; divide it into several groups.")
    return content
