"""What an annotation group says: plain values between files and nodes (PS3.3 C.37.1.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from dicombridge.codes import Code, code_from_sequence
from dicombridge.text import plain_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.annotations.placement import Plane
    from dicombridge.references import Reference

__all__ = ["GRAPHIC_TYPES", "Annotations", "GraphicType", "Group", "Measurement", "measured_name"]


class GraphicType(NamedTuple):
    """How many points a shape has, and what they mean (PS3.3 C.37.1.2.1).

    Attributes
    ----------
    points
        Of each shape; 0 where the index list says how many.
    least
        Points of which a shape makes sense.
    closed
        Whether its last point is joined to its first.
    """

    points: int
    least: int
    closed: bool


GRAPHIC_TYPES = {
    "POINT": GraphicType(1, 1, False),
    "POLYLINE": GraphicType(0, 2, False),
    "POLYGON": GraphicType(0, 3, True),
    "ELLIPSE": GraphicType(4, 4, True),
    "RECTANGLE": GraphicType(4, 4, True),
}
"""All Graphic Types (0070,0023) of annotations.

The points of an ellipse are the ends of its major axis, then those of its minor axis; a rectangle has its corners.
"""


@dataclass(frozen=True, eq=False)
class Measurement:
    """One number for each shape of a group, or for some.

    Attributes
    ----------
    name, units
        Concept Name and Measurement Units.
    values
        (shapes,) float32; NaN where there is none.
    """

    name: Code
    units: Code
    values: NDArray[Any]


@dataclass(eq=False)
class Group:
    """An item of the Annotation Group Sequence.

    Attributes
    ----------
    item
        All its elements but the arrays.
    text
        The same as text (:mod:`dicombridge.shadow`).
    coordinates
        (points, 2) columns and rows, or x and y; (points, 3) x, y and z: float32 or float64, as they are stored.
    starts
        (shapes + 1,) int64: number of the first point of each shape, and of all points.
    common_z
        mm: Common Z Coordinate Value.
    """

    item: Any
    text: str
    graphic_type: str
    coordinates: NDArray[Any]
    starts: NDArray[Any]
    common_z: tuple[float, ...] = ()
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of shapes."""
        return len(self.starts) - 1

    @property
    def number(self) -> int:
        """Annotation Group Number, 0 where it is none of 16 bits."""
        value = self.item.get("AnnotationGroupNumber")
        return value if isinstance(value, int) and 0 < value < 1 << 16 else 0

    @property
    def uid(self) -> str:
        """Annotation Group UID."""
        return str(self.item.get("AnnotationGroupUID") or "")

    @property
    def label(self) -> str:
        """Annotation Group Label, or what tells as much."""
        kind = code_from_sequence(self.item, "AnnotationPropertyTypeCodeSequence")
        names = (str(self.item.get("AnnotationGroupLabel") or "").strip(), kind.meaning if kind is not None else "")
        return next(filter(None, names), f"Group {self.number}")


@dataclass(eq=False)
class Annotations:
    """All that an object says.

    Attributes
    ----------
    header
        Dataset without the groups.
    shadow
        The same as text.
    coordinate_type
        ``"2D"`` or ``"3D"``.
    plane
        Where columns and rows lie on the slide; None where it is not known, which 3D coordinates do not need.
    """

    path: str
    header: Any
    shadow: str
    coordinate_type: str
    plane: Plane | None
    groups: list[Group]
    references: list[Reference]
    warnings: list[str] = field(default_factory=list)

    @property
    def uid(self) -> str:
        """SOP Instance UID."""
        return str(self.header.get("SOPInstanceUID") or "")


def measured_name(name: Code, units: Code, taken: Any) -> str:
    """Return a name for an array of measured values that no other array of its node has.

    >>> measured_name(Code("42798000", "SCT", "Area"), Code("um2", "UCUM", "um2"), ["Area"])
    'Area (um2)'
    """
    names = [name.meaning, f"{name.meaning} ({units.value})"]
    names += [f"{name.meaning} ({number})" for number in range(2, len(taken) + 3)]
    return next(one for one in map(plain_text, names) if one not in taken)
