"""ROI contours as bytes, in Implicit VR Little Endian, without a Dataset for each of thousands of contours.

Implicit VR, because a contour of some thousand points does not fit an element of VR DS in explicit VR: its length has
16 bits there, and what writers do instead (VR UN, PS3.5 6.2.2) is not read everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.encode import decimal_string
from dicombridge.errors import ExportError
from dicombridge.geometry import plausible
from dicombridge.part10 import elements, items
from dicombridge.structure_set.smoothing import INSET, Paths
from dicombridge.structure_set.words import number_words, text_of_words, text_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Contour", "PlaneText", "contour_item", "contour_texts", "image_items", "implicit", "roi_contour_item"]

CONTOUR_IMAGE_SEQUENCE = 0x30060016
ROI_DISPLAY_COLOR = 0x3006002A
ROI_CONTOUR_SEQUENCE = 0x30060039
CONTOUR_SEQUENCE = 0x30060040
CONTOUR_GEOMETRIC_TYPE = 0x30060042
NUMBER_OF_CONTOUR_POINTS = 0x30060046
CONTOUR_NUMBER = 0x30060048
CONTOUR_DATA = 0x30060050
REFERENCED_ROI_NUMBER = 0x30060084

STILL = 1e-5
"""mm by which a coordinate may change from one end of a plane to the other and still count as the same."""

_HEAD = Struct("<HHL").pack
_ITEM = b"\xfe\xff\x00\xe0"
_LENGTH = Struct("<L").pack


def element(tag: int, value: bytes, padding: bytes = b" ") -> bytes:
    """Return an element in implicit VR; the value is padded to even length."""
    if len(value) % 2:
        value += padding
    return _HEAD(tag >> 16, tag & 0xFFFF, len(value)) + value


def sequence(tag: int, contents: Iterable[bytes]) -> bytes:
    """Return a sequence of the contents of its items."""
    value = b"".join([_ITEM + _LENGTH(len(content)) + content for content in contents])
    return _HEAD(tag >> 16, tag & 0xFFFF, len(value)) + value


# --- contours --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contour:
    """One contour: its geometric type, number of points, and its points as text of Contour Data."""

    kind: str
    count: int
    data: bytes
    images: bytes = b""


@dataclass
class PlaneText:
    """Writes points of a plane as text.

    Attributes
    ----------
    origin
        (3,) LPS mm of the centre of the first pixel.
    column, row
        (3,) LPS mm from one column, and from one row, to the next.
    """

    origin: NDArray[np.float64]
    column: NDArray[np.float64]
    row: NDArray[np.float64]
    shape: tuple[int, int]
    _tables: dict[tuple[int, float], tuple[int, NDArray[np.uint64]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Cosines as small as 1e-17 come from rounding; what they would add to a coordinate nobody can measure.
        rows, columns = self.shape
        self.column = np.where(np.abs(self.column) * columns < STILL, 0.0, self.column)
        self.row = np.where(np.abs(self.row) * rows < STILL, 0.0, self.row)

    def at(self, origin: NDArray[np.float64]) -> PlaneText:
        """Return the same for a parallel plane."""
        return PlaneText(origin, self.column, self.row, self.shape, self._tables)

    def words(self, points: NDArray[np.float64]) -> NDArray[np.uint64]:
        """Return the texts of x, y and z (LPS mm) of points in coordinates of pixel corners, one after the other.

        Places of outlines of pixels are written with six decimals, others with four.
        """
        keys = _keys(points)
        parts = [self._words(axis, points, keys) for axis in range(3)]
        result = np.empty((len(points), sum(part.shape[1] for part in parts)), np.uint64)
        first = 0
        for part in parts:
            result[:, first : first + part.shape[1]] = part
            first += part.shape[1]
        return result

    def _words(self, axis: int, points: NDArray[np.float64], keys: NDArray[np.int64] | None) -> NDArray[np.uint64]:
        """Return the texts of one coordinate: of each point, or one for all."""
        along, across = float(self.column[axis]), float(self.row[axis])
        start = float(self.origin[axis]) - 0.5 * (along + across)
        if not along and not across:
            return text_words([decimal_string(round(start, 9))])
        if keys is not None and not (along and across):
            of_points = keys[:, 0 if along else 1]
            first, table = self._table(axis, start, along or across, int(of_points.min()), int(of_points.max()))
            return table.take(of_points - first, axis=0)
        return number_words(start + points[:, 0] * along + points[:, 1] * across)

    def _table(self, axis: int, start: float, step: float, low: int, high: int) -> tuple[int, NDArray[np.uint64]]:
        """Return the texts of a coordinate by key of :func:`_keys`, and the first key."""
        first, table = self._tables.get((axis, start), (low, np.zeros((0, 1), np.uint64)))
        if not len(table) or low < first or high >= first + len(table):
            # As far as the plane reaches at once: the next slice will need other parts of it.
            low, high = min(low, 0), max(high, 12 * max(self.shape) + 12)
            keys = np.arange(low, high + 1)
            values = start + step * ((keys + 1) // 3 / 4 + ((keys + 1) % 3 - 1) * INSET)
            first, table = low, text_words([decimal_string(value) for value in np.round(values, 6).tolist()])
            self._tables[axis, start] = first, table
        return first, table


def _keys(points: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Return whole numbers that stand for places at quarters of pixels, or an inset beside; None for other places."""
    quarters = np.rint(points * 4)
    beside = np.rint((points - quarters / 4) / INSET)
    if np.abs(beside).max(initial=0) > 1 or np.abs(quarters / 4 + beside * INSET - points).max(initial=0) > 1e-9:
        return None
    return (3 * quarters + beside).astype(np.int64)


def contour_texts(paths: Paths, planes: Sequence[PlaneText] | dict[int, PlaneText]) -> Iterator[tuple[int, int, bytes]]:
    """Yield (loop, number of points, Contour Data) of all loops; ``planes`` by slice.

    Raises
    ------
    ExportError
        Coordinates that no patient has: the geometry of the node is damaged.
    """
    bounds = np.flatnonzero(np.diff(paths.slices)) + 1
    edges = [0, *bounds.tolist(), len(paths)]
    for first, last in pairwise(edges):
        if first == last:
            continue
        begin, end = int(paths.starts[first]), int(paths.starts[last])
        plane = planes[int(paths.slices[first])]
        _check(plane)
        words = plane.words(paths.points[begin:end])
        for loop in range(first, last):
            start, stop = int(paths.starts[loop]) - begin, int(paths.starts[loop + 1]) - begin
            yield loop, stop - start, text_of_words(words[start:stop])


def _check(plane: PlaneText) -> None:
    rows, columns = plane.shape
    corner = plane.origin + columns * plane.column + rows * plane.row
    if not plausible([*plane.origin.tolist(), *corner.tolist()]):
        raise ExportError("The grid of the segmentation lies where no patient is; its geometry is damaged.")


def points_text(points: Any) -> bytes:
    """Return (n, 3) points, LPS mm, as text of Contour Data.

    Raises
    ------
    ExportError
        A point lies where no patient is.
    """
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    if not plausible(points):
        raise ExportError("A point of the markups lies where no patient is.")
    return "\\".join(map(decimal_string, np.round(points, 6).ravel().tolist())).encode("ascii")


# --- items -----------------------------------------------------------------------------------------------------------


def image_items(images: Iterable[tuple[str, str, int]]) -> bytes:
    """Return a Contour Image Sequence of (SOP Class UID, SOP Instance UID, frame number or 0); nothing for none."""
    contents = []
    for sop_class, uid, frame in images:
        content = element(0x00081150, sop_class.encode("ascii"), b"\0") + element(
            0x00081155, uid.encode("ascii"), b"\0"
        )
        if frame:
            content += element(0x00081160, str(frame).encode("ascii"))
        contents.append(content)
    return sequence(CONTOUR_IMAGE_SEQUENCE, contents) if contents else b""


def contour_item(contour: Contour, number: int) -> bytes:
    """Return the content of an item of a Contour Sequence (PS3.3 C.8.8.6)."""
    return (
        contour.images
        + element(CONTOUR_GEOMETRIC_TYPE, contour.kind.encode("ascii"))
        + element(NUMBER_OF_CONTOUR_POINTS, str(contour.count).encode("ascii"))
        + element(CONTOUR_NUMBER, str(number).encode("ascii"))
        + element(CONTOUR_DATA, contour.data)
    )


def roi_contour_item(
    roi_number: int, colour: Sequence[int] | None, contours: Sequence[Contour], kept: bytes = b""
) -> bytes:
    """Return the content of an item of the ROI Contour Sequence; an ROI without contours has no Contour Sequence.

    Parameters
    ----------
    colour
        Red, green, blue, 0 to 255.
    kept
        The item as it came, in implicit VR: all but number and colour stay as they are.
    """
    parts = {REFERENCED_ROI_NUMBER: element(REFERENCED_ROI_NUMBER, str(roi_number).encode("ascii"))}
    if colour is not None:
        parts[ROI_DISPLAY_COLOR] = element(ROI_DISPLAY_COLOR, "\\".join(map(str, colour)).encode("ascii"))
    if kept:
        for one in elements(kept, 0, len(kept), implicit_vr=True):
            same = one.tag not in parts or _integers(kept[one.start : one.stop]) == _integers(parts[one.tag][8:])
            if same:
                parts[one.tag] = kept[one.begin : one.next]
    elif contours:
        encoded = [contour_item(contour, number) for number, contour in enumerate(contours, start=1)]
        parts[CONTOUR_SEQUENCE] = sequence(CONTOUR_SEQUENCE, encoded)
    return b"".join(parts[tag] for tag in sorted(parts))


def _integers(value: bytes) -> list[bytes]:
    return [part.strip(b" \0") for part in value.split(b"\\")]


def roi_contour_sequence(items_of_regions: Iterable[bytes]) -> bytes:
    """Return the ROI Contour Sequence."""
    return sequence(ROI_CONTOUR_SEQUENCE, items_of_regions)


def implicit(content: bytes, implicit_vr: bool) -> bytes:
    """Return the elements of an item in Implicit VR Little Endian with defined lengths; values are left as they are."""
    parts = []
    for one in elements(content, 0, len(content), implicit_vr):
        is_sequence = one.vr == b"SQ" or one.undefined_length
        if implicit_vr and not is_sequence:
            is_sequence = _is_sequence(one.tag)
        if is_sequence:
            inner = implicit_vr or one.vr == b"UN"
            spans = items(content, one.start, one.stop, inner)
            parts.append(sequence(one.tag, [implicit(content[start:stop], inner) for start, stop in spans]))
        else:
            value = content[one.start : one.stop]
            parts.append(_HEAD(one.tag >> 16, one.tag & 0xFFFF, len(value)) + value)
    return b"".join(parts)


def _is_sequence(tag: int) -> bool:
    from pydicom.datadict import dictionary_VR

    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False
