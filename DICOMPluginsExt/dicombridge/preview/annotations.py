"""What is drawn upon the picture of a plane: markups' points, lines and labels."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.preview.slices import thickness
from dicombridge.preview.strokes import strokes_in_plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.preview.slices import Plane
    from dicombridge.preview.subject import Subject

__all__ = ["Label", "draw_labels", "draw_marks", "draw_strokes", "font_of"]

_MARK_NEAR_MM = 6.0  # a point this far from the plane is still shown in it
_BLACK = (0, 0, 0)
_LABEL_SIZE = 15
_ARM = 7  # of a point's cross
_GAP = 6  # between a shape and its label
_NAMED = 0.2  # part of a stroke that must lie in the plane; of a line that merely crosses it, there is but a dot
_KNOT = 4  # radius of the dots at the ends of a line
_FINE_LINE, _FINE_KNOT = 1.5, 2.5  # of many small shapes, which a black border would hide

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True)
class Label:
    """A text that wants to stand beside a shape."""

    text: str
    colour: tuple[int, int, int]
    shape: Box


def draw_strokes(draw: Any, subject: Subject, plane: Plane, enlarged: int) -> list[Label]:
    """Draw the lines, curves and boxes as far as they lie in the plane, upon a picture that is so much enlarged.

    Returns
    -------
    list of Label
        Their names and numbers, for a picture of the plane's own size.
    """
    normal = np.cross(plane.right, plane.down)
    reach = thickness(subject.frame, normal) / 2 if subject.strokes else 0.0
    if subject.on_slide:
        reach = max(reach, _MARK_NEAR_MM)  # of whichever focal plane: Slicer projects them, too
    labels = []
    for stroke, pieces, knots in strokes_in_plane(subject.strokes, plane, reach):
        colour = _bytes(stroke.colour)
        paths = [_enlarged(piece, enlarged) for piece in pieces]
        if stroke.is_many:
            for path in paths:
                draw.line(path, fill=colour, width=round(_FINE_LINE * enlarged), joint="curve")
            _draw_knots(draw, _enlarged(knots, enlarged), colour, enlarged * _FINE_KNOT)
            continue
        for width, fill in ((4 * enlarged, _BLACK), (2 * enlarged, colour)):
            for path in paths:
                draw.line(path, fill=fill, width=width, joint="curve")
            _draw_knots(draw, _enlarged(knots, enlarged), fill, enlarged * _KNOT + (width - 2 * enlarged) / 2)
        seen = sum(float(np.linalg.norm(np.diff(one, axis=0), axis=1).sum()) for one in pieces) * plane.pixel_mm
        if seen < _NAMED * stroke.length_mm and not stroke.is_box:
            continue
        text = "\n".join(filter(None, (stroke.name, stroke.value)))
        places = np.concatenate(pieces)
        (top, left), (bottom, right) = places.min(axis=0), places.max(axis=0)
        labels.append(Label(text, colour, (left - _KNOT, top - _KNOT, right + _KNOT, bottom + _KNOT)))
    return labels


def _enlarged(places: NDArray[np.float64], times: int) -> list[tuple[float, float]]:
    """Return (x, y) in the enlarged picture, whose pixels are parts of those of the plane."""
    return [(float(column), float(row)) for row, column in (places + 0.5) * times - 0.5]


def _draw_knots(draw: Any, places: Sequence[tuple[float, float]], fill: Any, radius: float) -> None:
    for x, y in places:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def draw_marks(draw: Any, subject: Subject, plane: Plane) -> list[Label]:
    """Draw a cross at the points that lie near the plane; return their labels."""
    normal = np.cross(plane.right, plane.down)
    near = [m for m in subject.marks if abs(float((np.asarray(m.point) - plane.origin) @ normal)) <= _MARK_NEAR_MM]
    names: dict[tuple[int, int], list[str]] = {}  # points of one place share a label
    colours = {plane.pixel_of(mark.point): _bytes(mark.colour) for mark in near}
    for mark in near:
        names.setdefault(plane.pixel_of(mark.point), []).append(mark.label)
    labels = []
    for (row, column), texts in names.items():
        colour = colours[row, column]
        for width, fill in ((4, _BLACK), (2, colour)):
            draw.line((column - _ARM, row, column + _ARM, row), fill=fill, width=width)
            draw.line((column, row - _ARM, column, row + _ARM), fill=fill, width=width)
        text = "\n".join(filter(None, dict.fromkeys(texts)))
        labels.append(Label(text, colour, (column - _ARM, row - _ARM, column + _ARM, row + _ARM)))
    return labels


def draw_labels(draw: Any, labels: Sequence[Label], size: tuple[int, int]) -> None:
    """Write each label beside its shape, where it hides least of the other labels and shapes.

    Parameters
    ----------
    draw
        Of the picture.
    labels
        What to write.
    size
        Rows and columns of the picture.
    """
    taken: list[Box] = []
    shapes = [label.shape for label in labels]
    # A small shape has few places where its label is understood: it chooses first.
    for label in sorted(labels, key=lambda one: _area(one.shape)):
        if not label.text:
            continue
        options = [(place, _box_of_text(draw, place, label.text)) for place in _places(label.shape)]
        # Of equals the first one: min() keeps their order.
        place, box = min(options, key=lambda one: _cost(one[1], taken, shapes, size))
        taken.append(box)
        draw.multiline_text(
            place[:2], label.text, anchor=place[2], font=font_of(_LABEL_SIZE), fill=label.colour, stroke_width=2,
            stroke_fill=_BLACK, align={"l": "left", "r": "right", "m": "center"}[place[2][0]],
        )  # fmt: skip


def _places(shape: Box) -> Iterator[tuple[float, float, str]]:
    """Yield x, y and Pillow's anchor of texts around a shape, the most usual place first."""
    left, top, right, bottom = shape
    middle, centre = (top + bottom) / 2, (left + right) / 2
    yield right + _GAP, middle, "lm"
    yield centre, top - _GAP, "md"
    yield centre, bottom + _GAP, "ma"
    yield left - _GAP, middle, "rm"
    for x, side in ((right, "l"), (left, "r")):
        yield x, bottom + _GAP, f"{side}a"
        yield x, top - _GAP, f"{side}d"


def _box_of_text(draw: Any, place: tuple[float, float, str], text: str) -> Box:
    box = draw.multiline_textbbox(place[:2], text, anchor=place[2], font=font_of(_LABEL_SIZE), stroke_width=2)
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])


def _cost(box: Box, taken: Sequence[Box], shapes: Sequence[Box], size: tuple[int, int]) -> float:
    """Return how bad a place is: outside the picture it cannot be read, over other labels hardly."""
    outside = _area(box) - _overlap(box, (0, 0, size[1], size[0]))
    return 8 * outside + 4 * sum(_overlap(box, one) for one in taken) + sum(_overlap(box, one) for one in shapes)


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def _overlap(one: Box, other: Box) -> float:
    return _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))


def _bytes(colour: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (round(part * 255) for part in colour)
    return red, green, blue


@functools.cache
def font_of(size: int) -> Any:
    """Return a sans serif font of the system, else the one that Pillow brings (Latin letters only)."""
    from PIL import ImageFont

    for name in ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf", "Helvetica.ttc"):
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
