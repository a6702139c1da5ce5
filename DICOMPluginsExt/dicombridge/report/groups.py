"""What a measurement group says (PS3.16 TID 1410, 1411, 1501), as plain values: the middle of both halves.

Reading makes these of a content tree, export of nodes; neither half knows of the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dicombridge.codes import Code
from dicombridge.text import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Algorithm",
    "Evaluation",
    "Graphic",
    "Group",
    "InstanceReference",
    "Measurement",
    "Observer",
    "Region",
    "Site",
    "TimePoint",
]


LONGEST_LABEL = 120
"""Characters of a group's label."""


@dataclass(frozen=True)
class InstanceReference:
    """An instance that a content item names, and what of it (PS3.3 C.18.3, C.18.4).

    Attributes
    ----------
    frames
        Frame numbers.
    segments
        Segment numbers; of an RT structure set, ROI numbers (PS3.16 TID 1411).
    """

    sop_class_uid: str
    sop_instance_uid: str
    frames: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Graphic:
    """Coordinates as they are written (PS3.3 C.18.6, C.18.9).

    Attributes
    ----------
    type
        Graphic Type: POINT, MULTIPOINT, POLYLINE, POLYGON, CIRCLE, ELLIPSE, ELLIPSOID.
    data
        (n, 2) columns and rows from the corner of an image, or (n, 3) LPS mm.
    frame_of_reference_uid
        Of three-dimensional ones.
    origin
        Pixel Origin Interpretation: VOLUME where columns and rows are those of a slide's total pixel matrix.
    """

    type: str
    data: NDArray[np.float64]
    frame_of_reference_uid: str = ""
    origin: str = ""

    @property
    def in_image(self) -> bool:
        """Whether the coordinates are columns and rows."""
        return self.data.shape[1] == 2


@dataclass(frozen=True)
class Site:
    """Where a finding is (TID 1501 rows 7 ff.): site, side, and modifiers."""

    code: Code
    laterality: Code | None = None
    modifiers: tuple[Code, ...] = ()


@dataclass(frozen=True)
class Algorithm:
    """What measured or found (TID 4019)."""

    name: str
    version: str = ""
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observer:
    """Who observed (TID 1002): a person's name, or what is known of a device."""

    name: str
    is_device: bool = False
    uid: str = ""
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    organization: str = ""


@dataclass(frozen=True)
class TimePoint:
    """To which time point of a study a group belongs (TID 1502)."""

    label: str = ""
    type: Code | None = None
    order: float | None = None
    subject_identifier: str = ""
    protocol_identifier: str = ""


@dataclass(eq=False)
class Measurement:
    """One number of a group (TID 300).

    Attributes
    ----------
    value
        None where the report says that there is none, or where it is no number.
    text
        As it is written in the report; empty for one that was made here.
    qualifier
        Why there is no value, or what is special with it.
    regions
        Numbers (from 0) of the group's regions that it was inferred from.
    position
        Of its content item; empty for one that was made here.
    """

    concept: Code
    value: float | None
    units: Code | None = None
    text: str = ""
    method: Code | None = None
    derivation: Code | None = None
    qualifier: Code | None = None
    sites: tuple[Site, ...] = ()
    algorithm: Algorithm | None = None
    regions: tuple[int, ...] = ()
    position: tuple[int, ...] = ()


@dataclass(eq=False)
class Evaluation:
    """A statement about a group that is no number: a code or a text."""

    concept: Code
    value: Code | str
    position: tuple[int, ...] = ()


@dataclass(eq=False)
class Region:
    """A place that a group is about.

    Attributes
    ----------
    graphic
        As it is written; None for one that was made here.
    type
        Graphic Type.
    points
        (n, 3) LPS mm, in the order that the Graphic Type prescribes; None where the image in which it lies is missing.
    frame_of_reference_uid
        Of ``points``.
    images
        In which it lies, or from which it was selected.
    purpose
        Concept Name of its item: Image Region, Volume Surface, ...; None where it has none.
    is_angle
        Whether its three points are an angle; of four, the two in the middle are both the vertex.
    normal
        Unit normal (LPS) of the image in which it lies: a circle is given by two points, which have no plane.
    position
        Of its content item; empty for one that was made here.
    """

    type: str
    points: NDArray[np.float64] | None
    graphic: Graphic | None = None
    frame_of_reference_uid: str = ""
    images: tuple[InstanceReference, ...] = ()
    purpose: Code | None = None
    is_angle: bool = False
    normal: tuple[float, ...] = ()
    position: tuple[int, ...] = ()


@dataclass(eq=False)
class Group:
    """One measurement group, or geometry that stands in a document without one.

    Attributes
    ----------
    number
        From 1, in the order of the document.
    position
        Of its container in the content tree; empty for one that was made here.
    template
        Template Identifier, e.g. ``"1410"``; empty if it says none.
    is_loose
        Whether it is no measurement group, but geometry found elsewhere.
    segments
        Segmentations, and which segments or frames of them, that are its region.
    structures
        Other objects that are its region: RT structure sets, surface segmentations.
    real_world_value_maps
        Used for its measurements.
    sources
        Images that it is about: source images for segmentation, sources of measurements.
    source_series
        Series Instance UIDs of its source series.
    """

    number: int
    position: tuple[int, ...] = ()
    template: str = ""
    is_loose: bool = False
    tracking_identifier: str = ""
    tracking_uid: str = ""
    activity_session: str = ""
    category: Code | None = None
    finding: Code | None = None
    sites: tuple[Site, ...] = ()
    method: Code | None = None
    algorithm: Algorithm | None = None
    time_point: TimePoint | None = None
    observers: tuple[Observer, ...] = ()
    comment: str = ""
    measurements: list[Measurement] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    segments: list[InstanceReference] = field(default_factory=list)
    structures: list[InstanceReference] = field(default_factory=list)
    real_world_value_maps: list[InstanceReference] = field(default_factory=list)
    sources: list[InstanceReference] = field(default_factory=list)
    source_series: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What a person calls it: its finding's free text, its tracking identifier, its finding, or its number.

        >>> Group(3, tracking_identifier="Cornerstone3DTools@^0.1.0:Length").label
        'Length 3'
        """
        identifier = self.tracking_identifier
        if identifier.lower().startswith("cornerstone") and ":" in identifier:
            free_text = self.comment or (self.finding.meaning if self.finding is not None else "")
            return free_text or f"{identifier.split(':')[1]} {self.number}"
        if identifier:
            return one_line(identifier)[:LONGEST_LABEL]
        return self.finding.meaning if self.finding is not None else f"Group {self.number}"
