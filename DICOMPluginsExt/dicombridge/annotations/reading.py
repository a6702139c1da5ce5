"""From a file to annotation groups: coordinates, index lists and measured values as arrays, all else as items.

Nothing is done shape by shape: a file may have millions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dicombridge.annotations.arrays import (
    ANNOTATION_INDEX_LIST,
    DOUBLE_POINT_COORDINATES_DATA,
    FLOATING_POINT_VALUES,
    LONG_PRIMITIVE_POINT_INDEX_LIST,
    POINT_COORDINATES_DATA,
    array_of,
    dimensions_of,
    scattered,
    starts_of,
    values_parts,
)
from dicombridge.annotations.groups import GRAPHIC_TYPES, Annotations, Group, Measurement
from dicombridge.annotations.placement import Plane, plane_of_image
from dicombridge.codes import Code, code_from_sequence
from dicombridge.errors import GeometryError, MissingReferenceError, UnreadableError
from dicombridge.multiframe import MultiFrame, open_multiframe
from dicombridge.part10 import EXPLICIT_VR_BIG_ENDIAN, Buffer, Element, NeedsPydicom, TruncatedError, items
from dicombridge.references import references_of
from dicombridge.shadow import bytes_to_text, dataset_from_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database

__all__ = ["GROUP_SEQUENCE", "described_groups", "read_annotations"]

GROUP_SEQUENCE = 0x006A0002
MEASUREMENTS_SEQUENCE = 0x00660121
MEASUREMENT_VALUES_SEQUENCE = 0x00660132
MOST_GROUPS = 10_000
"""Of an object; each becomes a node."""
MOST_SPREAD = 1 << 26
"""Measured values that may be missing: a list of a few measured shapes becomes a value for each shape."""
NO_UNITS = Code("1", "UCUM", "no units")


class _Encoding(NamedTuple):
    """How the bytes of a dataset are to be understood."""

    buffer: Buffer
    implicit_vr: bool
    big_endian: bool
    character_set: str


@dataclass
class _Budget:
    """How many values without a measurement there are so far; damaged files could ask for any number."""

    left: int = MOST_SPREAD
    warnings: list[str] = field(default_factory=list)


def read_annotations(path: str, database: Database | None) -> Annotations:
    """Read a Microscopy Bulk Simple Annotations object (PS3.3 A.86).

    Parameters
    ----------
    database
        Where the slide image is looked up, in whose pixels 2D coordinates are; may be None.

    Raises
    ------
    UnreadableError
        The file is damaged, or contradicts itself.
    MissingReferenceError
        Its coordinates are pixels of an image that is not in the database.
    """
    warnings: list[str] = []
    with open_multiframe(path, pixels=False, without=(GROUP_SEQUENCE,)) as opened:
        if not opened.top_level()[1].complete:
            raise UnreadableError(path, "is cut short: its last element ends beyond the end of the file.")
        header = opened.header
        coordinate_type = _coordinate_type(path, header)
        plane = _plane(path, header, coordinate_type, database)
        try:
            groups = list(_groups(path, opened, coordinate_type, warnings))
        except (TruncatedError, NeedsPydicom) as error:
            raise UnreadableError(path, f"its annotation groups are damaged: {error}.") from error
        shadow = opened.shadow(without=(GROUP_SEQUENCE,))
    if not groups:
        raise UnreadableError(path, "has no annotation group.")
    return Annotations(path, header, shadow, coordinate_type, plane, groups, references_of(header), warnings)


def _coordinate_type(path: str, header: Any) -> str:
    said = str(header.get("AnnotationCoordinateType") or "").strip()
    if said not in ("2D", "3D"):
        raise UnreadableError(path, f"its Annotation Coordinate Type is {said!r}, neither 2D nor 3D.")
    return said


def _plane(path: str, header: Any, coordinate_type: str, database: Database | None) -> Plane | None:
    try:
        return plane_of_image(header, database)
    except MissingReferenceError as error:
        if coordinate_type == "2D":
            raise MissingReferenceError(f"{path}: {error}") from error
    except (GeometryError, UnreadableError) as error:
        if coordinate_type == "2D":
            raise GeometryError(f"{path}: {error}") from error
    return None


def _groups(path: str, opened: MultiFrame, coordinate_type: str, warnings: list[str]) -> Iterator[Group]:
    buffer, layout = opened.top_level()
    span = layout.elements.get(GROUP_SEQUENCE)
    if span is None:
        return
    # Big endian files are written anew in little endian by pydicom, which leaves the bytes of arrays as they are.
    big_endian = opened.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
    inner = layout.implicit_vr or span.vr == "UN"
    encoding = _Encoding(buffer, inner, big_endian, opened.character_set)
    budget = _Budget()
    for place, (start, stop) in enumerate(items(buffer, span.start, span.stop, inner), start=1):
        if place > MOST_GROUPS:
            raise UnreadableError(path, f"has more than {MOST_GROUPS} annotation groups.")
        budget.warnings = []
        try:
            yield _group(encoding, start, stop, coordinate_type, budget)
        except ValueError as error:
            raise UnreadableError(path, f"its annotation group {place} {error}.") from error
        warnings.extend(f"Annotation group {place} {warning}." for warning in budget.warnings)


def _group(encoding: _Encoding, start: int, stop: int, coordinate_type: str, budget: _Budget) -> Group:
    rest, large = values_parts(encoding.buffer, start, stop, encoding.implicit_vr)
    text = bytes_to_text(rest, encoding.implicit_vr, encoding.character_set)
    item = dataset_from_text(text)
    if item is None:
        raise ValueError("cannot be read")
    graphic_type = str(item.get("GraphicType") or "").strip()
    if graphic_type not in GRAPHIC_TYPES:
        raise ValueError(f"has the Graphic Type {graphic_type!r}; there are: {', '.join(GRAPHIC_TYPES)}")
    announced = _whole_number(item.get("NumberOfAnnotations"))
    common_z = _common_z(item)
    values = _coordinate_values(encoding, large, budget.warnings)
    indices = _array(encoding, large, LONG_PRIMITIVE_POINT_INDEX_LIST)
    allowed = [2] if coordinate_type == "2D" else [2, 3] if common_z else [3, 2]
    dimensions = dimensions_of(len(values), allowed, graphic_type, announced, indices)
    if dimensions != allowed[0]:
        budget.warnings.append(f"has points of {dimensions} values where {allowed[0]} are due")
    starts = starts_of(graphic_type, len(values), dimensions, announced, indices, budget.warnings)
    group = Group(item, text, graphic_type, values.reshape(-1, dimensions), starts, common_z)
    group.measurements = _measurements(encoding, large.get(MEASUREMENTS_SEQUENCE), group.count, budget)
    return group


def _whole_number(value: Any) -> int:
    return value if isinstance(value, int) else -1


def _common_z(item: Any) -> tuple[float, ...]:
    value = item.get("CommonZCoordinateValue")
    if value is None or value == "":
        return ()
    values = [float(value)] if isinstance(value, int | float) else [float(one) for one in value]
    if not np.isfinite(values).all():
        raise ValueError("has a common Z coordinate that is no number")
    return tuple(values)


def _array(encoding: _Encoding, large: dict[int, Element], tag: int) -> NDArray[Any] | None:
    element = large.get(tag)
    return None if element is None else array_of(encoding.buffer, element, encoding.big_endian)


def _coordinate_values(encoding: _Encoding, large: dict[int, Element], warnings: list[str]) -> NDArray[Any]:
    doubles = _array(encoding, large, DOUBLE_POINT_COORDINATES_DATA)
    singles = _array(encoding, large, POINT_COORDINATES_DATA)
    if doubles is not None and len(doubles):
        if singles is not None and len(singles):
            warnings.append("has its coordinates twice; those of double precision were taken")
        return doubles
    found = singles if singles is not None else doubles
    return found if found is not None else np.zeros(0, dtype=np.float32)


# --- Measurements ----------------------------------------------------------------------------------------------------


def _measurements(encoding: _Encoding, element: Element | None, count: int, budget: _Budget) -> list[Measurement]:
    if element is None:
        return []
    inner = encoding._replace(implicit_vr=encoding.implicit_vr or element.vr == b"UN")
    spans = items(encoding.buffer, element.start, element.stop, inner.implicit_vr, 1)
    found = [_measurement(inner, start, stop, count, budget) for start, stop in spans]
    return [one for one in found if one is not None]


def _measurement(encoding: _Encoding, start: int, stop: int, count: int, budget: _Budget) -> Measurement | None:
    rest, large = values_parts(encoding.buffer, start, stop, encoding.implicit_vr)
    item = dataset_from_text(bytes_to_text(rest, encoding.implicit_vr, encoding.character_set))
    name = code_from_sequence(item, "ConceptNameCodeSequence") if item is not None else None
    units = code_from_sequence(item, "MeasurementUnitsCodeSequence") if item is not None else None
    if name is None:
        budget.warnings.append("has measurements that do not say what they are, which were left out")
        return None
    element = large.get(MEASUREMENT_VALUES_SEQUENCE)
    if element is None:
        budget.warnings.append(f"has no values of its measurement {name.meaning}")
        return None
    values = _measured(encoding, element, count, budget)
    return Measurement(name, units or NO_UNITS, values)


def _measured(encoding: _Encoding, element: Element, count: int, budget: _Budget) -> NDArray[np.float32]:
    """Return one value a shape; several items, of which some have values of some shapes, are put together."""
    implicit_vr = encoding.implicit_vr or element.vr == b"UN"
    found: NDArray[np.float32] | None = None
    for start, stop in items(encoding.buffer, element.start, element.stop, implicit_vr, 2):
        _, large = values_parts(encoding.buffer, start, stop, implicit_vr)
        values = _array(encoding, large, FLOATING_POINT_VALUES)
        indices = _array(encoding, large, ANNOTATION_INDEX_LIST)
        if values is None:
            continue
        budget.left -= max(count - len(values), 0)
        if budget.left < 0:
            raise ValueError(f"has more than {MOST_SPREAD} shapes without a measurement; it is damaged")
        one = scattered(values, indices, count, budget.warnings)
        found = one if found is None else np.where(np.isnan(one), found, one)
    return found if found is not None else np.full(count, np.nan, dtype=np.float32)


# --- Without the arrays ----------------------------------------------------------------------------------------------


def described_groups(path: str) -> tuple[Any, list[Any]]:
    """Return the header of an object, and its groups without coordinates and measurements, which are not read.

    Raises
    ------
    UnreadableError
        The file is damaged.
    """
    found: list[Any] = []
    with open_multiframe(path, pixels=False, without=(GROUP_SEQUENCE,)) as opened:
        buffer, layout = opened.top_level()
        span = layout.elements.get(GROUP_SEQUENCE)
        if span is not None:
            inner = layout.implicit_vr or span.vr == "UN"
            try:
                for start, stop in items(buffer, span.start, span.stop, inner):
                    rest, _ = values_parts(buffer, start, stop, inner)
                    item = dataset_from_text(bytes_to_text(rest, inner, opened.character_set))
                    if item is not None and len(found) < MOST_GROUPS:
                        found.append(item)
            except (TruncatedError, NeedsPydicom) as error:
                raise UnreadableError(path, f"its annotation groups are damaged: {error}.") from error
        return opened.header, found
