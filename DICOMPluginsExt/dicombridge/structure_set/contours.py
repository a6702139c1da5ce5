"""ROI Contour items as columns of numbers, without a Dataset for each contour (PS3.3 C.8.8.6).

A structure set has thousands of contours and millions of coordinates. All coordinates of a region are read in one go;
only where they are damaged each contour is read for itself. The items themselves stay as they are encoded: what is
read here can always be read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dicombridge.geometry import FARTHEST_MM
from dicombridge.part10 import Buffer, elements, items
from dicombridge.structure_set.decimals import decimal_number, decimal_numbers

__all__ = [
    "CLOSED_PLANAR",
    "CLOSED_PLANAR_XOR",
    "GEOMETRIC_TYPES",
    "OPEN_NONPLANAR",
    "OPEN_PLANAR",
    "POINT",
    "Contours",
    "RoiContour",
    "read_roi_contour",
]

GEOMETRIC_TYPES = ("", "CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "OPEN_PLANAR", "OPEN_NONPLANAR", "POINT")
"""Contour Geometric Type (PS3.3 C.8.8.6.1); the index of each is its code in :class:`Contours`."""
CLOSED_PLANAR, CLOSED_PLANAR_XOR, OPEN_PLANAR, OPEN_NONPLANAR, POINT = range(1, 6)

REFERENCED_ROI_NUMBER = 0x30060084
ROI_DISPLAY_COLOR = 0x3006002A
CONTOUR_SEQUENCE = 0x30060040
CONTOUR_GEOMETRIC_TYPE = 0x30060042
CONTOUR_OFFSET_VECTOR = 0x30060045
NUMBER_OF_CONTOUR_POINTS = 0x30060046
CONTOUR_NUMBER = 0x30060048
CONTOUR_DATA = 0x30060050
CONTOUR_IMAGE_SEQUENCE = 0x30060016
_UID_TAG = b"\x08\x00\x55\x11"

_CODES = {name.encode(): code for code, name in enumerate(GEOMETRIC_TYPES) if name}
_CODES[b"CLOSED_PLANAR_XOR"] = CLOSED_PLANAR_XOR  # as some write it


@dataclass(frozen=True, eq=False)
class Contours:
    """The contours of a region, in the order of the file.

    Attributes
    ----------
    points
        (n, 3) LPS mm of all contours, Contour Offset Vectors added. NaN where a coordinate is no number.
    starts
        (m + 1,) where the points of each contour begin, and the end of the last one.
    types
        (m,) index into :data:`GEOMETRIC_TYPES`.
    numbers
        (m,) Contour Number, -1 where there is none.
    images
        (m,) index into ``image_uids`` of the image that the contour was drawn on, -1 where none is named.
    image_uids
        SOP Instance UIDs of these images.
    """

    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    types: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    images: NDArray[np.int64]
    image_uids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.types)

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """(m,) whether all coordinates of a contour are numbers."""
        finite = np.ones(len(self), np.bool_)
        bad = np.flatnonzero(np.isnan(self.points.reshape(-1))) // 3
        finite[np.searchsorted(self.starts, bad, side="right") - 1] = False
        return finite

    @cached_property
    def closed(self) -> NDArray[np.int64]:
        """Numbers of the contours that enclose anything: closed ones of three points and more, all of them numbers."""
        return np.flatnonzero(self._is_closed & (np.diff(self.starts) >= 3) & self.finite)

    @property
    def unusable(self) -> int:
        """How many closed contours enclose nothing."""
        return int(np.count_nonzero(self._is_closed)) - len(self.closed)

    @cached_property
    def _is_closed(self) -> NDArray[np.bool_]:
        return (self.types == CLOSED_PLANAR) | (self.types == CLOSED_PLANAR_XOR)

    def of(self, number: int) -> NDArray[np.float64]:
        """Return the (n, 3) points of a contour."""
        return self.points[self.starts[number] : self.starts[number + 1]]

    def chosen(self, which: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return points and starts of some contours."""
        sizes = np.diff(self.starts)[which]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        if len(which) == len(self):
            return self.points, starts
        index = np.arange(starts[-1]) + np.repeat(self.starts[:-1][which] - starts[:-1], sizes)
        return self.points[index], starts

    @classmethod
    def none(cls) -> Contours:
        """Return the contours of a region that has none."""
        empty = np.zeros(0, np.int64)
        return cls(np.zeros((0, 3)), np.zeros(1, np.int64), np.zeros(0, np.uint8), empty, empty)


@dataclass(eq=False)
class RoiContour:
    """One item of the ROI Contour Sequence.

    Attributes
    ----------
    roi_number
        Referenced ROI Number; None where there is none.
    colour
        ROI Display Color as red, green, blue, 0 to 1; None where there is none that can be read.
    contours
        Its contours.
    content
        The item as it is encoded.
    warnings
        What is doubtful about it.
    """

    roi_number: int | None
    colour: tuple[float, float, float] | None
    contours: Contours
    content: bytes
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Columns:
    """What the walk over the contours of one region collects."""

    data: list[bytes] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    declared: list[int] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    offsets: dict[int, bytes] = field(default_factory=dict)
    uids: dict[bytes, int] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)


def read_roi_contour(buffer: Buffer, start: int, stop: int, implicit_vr: bool) -> RoiContour:
    """Read the item of the ROI Contour Sequence whose content lies at ``start:stop``.

    Raises
    ------
    TruncatedError, NeedsPydicom
        The encoding is damaged.
    """
    roi_number, colour = None, None
    columns = _Columns()
    for element in elements(buffer, start, stop, implicit_vr, 1):
        if element.tag == CONTOUR_SEQUENCE:
            inner = implicit_vr or element.vr == b"UN"
            for item_start, item_stop in items(buffer, element.start, element.stop, inner, 2):
                _walk_contour(buffer, item_start, item_stop, inner, columns)
        elif element.tag == REFERENCED_ROI_NUMBER:
            roi_number = _whole(buffer[element.start : element.stop])
        elif element.tag == ROI_DISPLAY_COLOR:
            colour = _colour(buffer[element.start : element.stop])
    contours = _contours(columns)
    told = [f"{text} ({count} contours)" if count > 1 else text for text, count in columns.problems.items()]
    return RoiContour(roi_number, colour, contours, bytes(buffer[start:stop]), told)


def _walk_contour(buffer: Buffer, start: int, stop: int, implicit_vr: bool, columns: _Columns) -> None:
    kind, number, declared, image, data = 0, -1, -1, -1, b""
    for element in elements(buffer, start, stop, implicit_vr, 3):
        tag = element.tag
        if tag == CONTOUR_DATA:
            data = buffer[element.start : element.stop]
        elif tag == CONTOUR_GEOMETRIC_TYPE:
            kind = _CODES.get(buffer[element.start : element.stop].strip(b" \0"), 0)
        elif tag == NUMBER_OF_CONTOUR_POINTS:
            declared = _count(buffer[element.start : element.stop])
        elif tag == CONTOUR_IMAGE_SEQUENCE:
            uid = _first_uid(buffer[element.start : element.stop], implicit_vr or element.vr == b"UN")
            if uid:
                image = columns.uids.setdefault(uid, len(columns.uids))
        elif tag == CONTOUR_NUMBER:
            number = _count(buffer[element.start : element.stop])
        elif tag == CONTOUR_OFFSET_VECTOR:
            columns.offsets[len(columns.data)] = buffer[element.start : element.stop]
    columns.data.append(data.rstrip(b" \0"))
    columns.types.append(kind)
    columns.numbers.append(number)
    columns.declared.append(declared)
    columns.images.append(image)


def _first_uid(sequence: bytes, implicit_vr: bool) -> bytes:
    """Return the first Referenced SOP Instance UID within a sequence."""
    place = sequence.find(_UID_TAG)
    if place < 0:
        return b""
    length = sequence[place + 4 : place + 8] if implicit_vr else sequence[place + 6 : place + 8]
    start = place + 8
    return sequence[start : start + int.from_bytes(length, "little")].rstrip(b"\0 ")


def _whole(raw: bytes) -> int | None:
    try:
        return int(raw.strip(b" \0"))
    except ValueError:
        return None


def _count(raw: bytes) -> int:
    number = _whole(raw)
    return number if number is not None and abs(number) < 1 << 31 else -1


def _colour(raw: bytes) -> tuple[float, float, float] | None:
    try:
        values = [int(float(part)) for part in raw.rstrip(b"\0").split(b"\\")]
    except (ValueError, OverflowError):
        return None
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        return None
    return values[0] / 255, values[1] / 255, values[2] / 255


def _contours(columns: _Columns) -> Contours:
    numbers, counts = _coordinates(columns)
    sizes = counts // 3
    if (counts % 3).any():
        columns.problems["the number of coordinates is no multiple of three; the last ones were left out"] = int(
            np.count_nonzero(counts % 3)
        )
        ends = np.cumsum(counts)
        whole = np.ones(len(numbers), np.bool_)
        for number in np.flatnonzero(counts % 3).tolist():
            whole[ends[number] - counts[number] % 3 : ends[number]] = False
        numbers = numbers[whole]
    declared = np.array(columns.declared, np.int64)
    lies = np.count_nonzero((declared >= 0) & (declared != sizes))
    if lies:
        columns.problems["Number of Contour Points differs from the points that are there, which were taken"] = int(
            lies
        )
    points = numbers.reshape(-1, 3)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for number, raw in columns.offsets.items():
        points = _with_offset(points, starts[number], starts[number + 1], raw, columns)
    types = np.array(columns.types, np.uint8)
    unknown = types == 0
    if unknown.any():
        columns.problems[
            "Contour Geometric Type is missing or unknown; taken for closed, or a point where it is one"
        ] = int(np.count_nonzero(unknown))
        types[unknown] = np.where(sizes[unknown] == 1, POINT, CLOSED_PLANAR)
    return Contours(
        points,
        starts,
        types,
        np.array(columns.numbers, np.int64),
        np.array(columns.images, np.int64),
        tuple(uid.decode("ascii", "replace") for uid in columns.uids),
    )


def _with_offset(
    points: NDArray[np.float64], start: int, stop: int, raw: bytes, columns: _Columns
) -> NDArray[np.float64]:
    """Add a Contour Offset Vector to the points of a contour."""
    offset = [decimal_number(part) for part in raw.rstrip(b"\0").split(b"\\")]
    if len(offset) == 3 and all(abs(value) <= FARTHEST_MM for value in offset):
        points[start:stop] += offset
    else:
        columns.problems["Contour Offset Vector is not three numbers and was left out"] += 1
    return points


def _coordinates(columns: _Columns) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the coordinates of all contours, one after the other, and how many each has."""
    data = columns.data
    counts = np.array([part.count(b"\\") + 1 if part else 0 for part in data], np.int64)
    numbers = decimal_numbers(b"\\".join(part for part in data if part))
    if numbers is None or len(numbers) != counts.sum():
        numbers = _one_by_one(data, columns.problems)
    far = ~(np.abs(numbers) <= FARTHEST_MM)
    if far.any():
        bad = np.unique(np.searchsorted(np.cumsum(counts), np.flatnonzero(far), side="right"))
        columns.problems["coordinates are no numbers, or beyond any patient"] = len(bad)
        numbers[far] = np.nan
    return numbers, counts


def _one_by_one(data: Sequence[bytes], problems: Counter[str]) -> NDArray[np.float64]:
    """Return the coordinates of contours some of which are no numbers; NaN stands for these."""
    values: list[float] = []
    for part in data:
        if part:
            values.extend(map(decimal_number, part.split(b"\\")))
    return np.array(values)
