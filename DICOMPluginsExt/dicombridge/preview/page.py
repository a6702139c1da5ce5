"""The page of a preview: title, panels with orientation letters, legend. numpy arrays in, a Pillow image out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.preview import slices
from dicombridge.preview.annotations import draw_labels, draw_marks, draw_strokes, font_of

if TYPE_CHECKING:
    from dicombridge.preview.slices import Plane
    from dicombridge.preview.subject import Subject

__all__ = ["compose"]

_PAGE = (22, 24, 29)
_TEXT = (236, 238, 242)
_FAINT = (150, 156, 168)
_MARGIN = 16
_GAP = 12
_TITLE_HEIGHT = 50
_CAPTION_HEIGHT = 28
_LEGEND_LINE = 30
_LEGEND_MOST = 32
_SMOOTH = 2  # everything is drawn this many times larger and then shrunk, so that no edge is jagged


def compose(subject: Subject, views: Sequence[str], width: int) -> Any:
    """Return the page as ``PIL.Image.Image``."""
    from PIL import Image, ImageDraw

    columns = {1: 1, 3: 3}.get(len(views), 2)
    panel_width = (width - 2 * _MARGIN - (columns - 1) * _GAP) // columns
    rows = [views[i : i + columns] for i in range(0, len(views), columns)]
    heights = [max(_panel_height(subject, view, panel_width) for view in row) for row in rows]
    legend = _legend_entries(subject)
    legend_columns = max(1, (width - 2 * _MARGIN) // 230)
    legend_lines = -(-len(legend) // legend_columns) + (subject.heat is not None)
    height = _TITLE_HEIGHT + sum(heights) + len(rows) * (_CAPTION_HEIGHT + _GAP)
    height += legend_lines * _LEGEND_LINE + (_MARGIN if legend_lines else 4)
    page = Image.new("RGB", (width, height), _PAGE)
    draw = ImageDraw.Draw(page)
    title_font = font_of(22)
    draw.text(
        (_MARGIN, _TITLE_HEIGHT / 2 + 2),
        _fitted(draw, subject.title, title_font, width - 2 * _MARGIN),
        font=title_font,
        fill=_TEXT,
        anchor="lm",
    )
    top = _TITLE_HEIGHT
    for row, panel_height in zip(rows, heights, strict=True):
        for column, view in enumerate(row):
            left = _MARGIN + column * (panel_width + _GAP)
            panel, caption = _panel(subject, view, (panel_height, panel_width))
            draw.text(
                (left + 2, top + _CAPTION_HEIGHT / 2),
                _fitted(draw, caption, font_of(15), panel_width),
                font=font_of(15),
                fill=_FAINT,
                anchor="lm",
            )
            page.paste(panel, (left, top + _CAPTION_HEIGHT))
        top += panel_height + _CAPTION_HEIGHT + _GAP
    _draw_legend(draw, legend, top, width, legend_columns)
    if subject.heat is not None:
        _draw_heat_scale(draw, subject, top + (legend_lines - 1) * _LEGEND_LINE + _LEGEND_LINE / 2, width)
    return page


def _panel_height(subject: Subject, view: str, panel_width: int) -> int:
    """Return the height at which the field of view fills the panel's width, within reason."""
    if view == "3d":
        return round(panel_width * 0.8)
    plane = slices.plane_of_view(subject, view, (100, 100))
    extent = np.ptp(subject.frame.corners @ np.stack([plane.right, plane.down], axis=1), axis=0)
    return round(min(max(panel_width * extent[1] / extent[0], panel_width * 0.55), panel_width * 1.0))


def _panel(subject: Subject, view: str, size: tuple[int, int]) -> tuple[Any, str]:
    from PIL import Image, ImageDraw

    if view == "3d":
        from dicombridge.preview.surfaces import surface_picture

        solid = [stroke for stroke in subject.strokes if not stroke.is_many]
        rendered = surface_picture(subject.surfaces, size, subject.models, subject.marks, solid)
        return Image.fromarray(rendered), "3D, from the front and the patient's left"
    plane = slices.plane_of_view(subject, view, size)
    picture = Image.fromarray(slices.slice_picture(subject, plane, enlarge=_SMOOTH))
    labels = draw_strokes(ImageDraw.Draw(picture), subject, plane, _SMOOTH)
    picture = picture.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    labels += draw_marks(draw, subject, plane)
    draw_labels(draw, labels, size)
    if subject.on_slide:
        _draw_scale(draw, plane, size)
        return picture, _extent(subject)
    _draw_letters(draw, plane, size)
    return picture, _caption(view, plane)


def _caption(view: str, plane: Plane) -> str:
    normal = np.cross(plane.right, plane.down)
    axis = int(np.argmax(np.abs(normal)))
    place = float(plane.origin[axis]) if abs(normal[axis]) > 0.9999 else None
    name = "Acquisition plane" if view == "acquisition" else view.capitalize()
    if place is None:
        return name
    letter = "RAS"[axis] if place >= 0 else "LPI"[axis]
    return f"{name}  {letter} {abs(place):.1f} mm"


def _extent(subject: Subject) -> str:
    """Return how large a slide's image is."""
    _, rows, columns = subject.frame.shape
    width, height = subject.frame.spacing[:2] * (columns, rows)
    return f"{columns} x {rows} pixels, {width:.3g} x {height:.3g} mm"


def _draw_scale(draw: Any, plane: Plane, size: tuple[int, int]) -> None:
    """Draw a bar of a round length, about a sixth of the picture's width, into its lower right corner."""
    rows, columns = size
    wanted = plane.pixel_mm * columns / 6
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    text = f"{length:g} mm" if length >= 1 else f"{length * 1000:g} µm"
    right, bottom = columns - 16, rows - 14
    left = right - length / plane.pixel_mm
    draw.rectangle((left - 2, bottom - 5, right + 2, bottom + 2), fill=(0, 0, 0))
    draw.rectangle((left, bottom - 3, right, bottom), fill=(255, 255, 255))
    draw.text(
        ((left + right) / 2, bottom - 8), text, font=font_of(15), fill=(255, 255, 255), anchor="md",
        stroke_width=2, stroke_fill=(0, 0, 0),
    )  # fmt: skip


def _draw_letters(draw: Any, plane: Plane, size: tuple[int, int]) -> None:
    """Write where the patient's sides are at the four borders."""
    rows, columns = size
    places = {
        "lm": ((8, rows / 2), [-1.0 * value for value in plane.right]),
        "rm": ((columns - 8, rows / 2), plane.right),
        "ma": ((columns / 2, 6), [-1.0 * value for value in plane.down]),
        "md": ((columns / 2, rows - 6), plane.down),
    }
    for anchor, (place, direction) in places.items():
        text = slices.letters_of(np.asarray(direction))
        draw.text(
            place, text, font=font_of(17), fill=(255, 255, 255), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0)
        )


def _legend_entries(subject: Subject) -> list[tuple[str, tuple[int, int, int] | None]]:
    samples = [points for layer in subject.samples for points in layer]
    found = [(region, points.size > 0) for region, points in zip(subject.regions, samples, strict=True)]
    entries: list[tuple[str, tuple[int, int, int] | None]] = []
    for region, filled in sorted(found, key=lambda one: (one[0].node, one[0].place)):
        red, green, blue = (round(c * 255) for c in region.colour)
        entries.append((region.name if filled else f"{region.name} (empty)", (red, green, blue)))
    for stroke in (one for one in subject.strokes if one.is_many):
        red, green, blue = (round(c * 255) for c in stroke.colour)
        entries.append((stroke.name, (red, green, blue)))
    entries = list(dict.fromkeys(entries))  # two segmentations of the same organs
    if len(entries) > _LEGEND_MOST:
        entries = [*entries[: _LEGEND_MOST - 1], (f"and {len(entries) - _LEGEND_MOST + 1} more", None)]
    return entries


def _draw_legend(draw: Any, entries: list[Any], top: int, width: int, columns: int) -> None:
    cell = (width - 2 * _MARGIN) / columns
    font = font_of(16)
    for index, (text, colour) in enumerate(entries):
        left = _MARGIN + (index % columns) * cell
        middle = top + (index // columns) * _LEGEND_LINE + _LEGEND_LINE / 2
        text_left = left + 26
        if colour is not None:
            draw.rounded_rectangle((left + 1, middle - 8, left + 17, middle + 8), radius=4, fill=colour)
        else:
            text_left = left
        draw.text(
            (text_left, middle),
            _fitted(draw, text, font, left + cell - text_left - 8),
            font=font,
            fill=_TEXT,
            anchor="lm",
        )


def _draw_heat_scale(draw: Any, subject: Subject, middle: float, width: int) -> None:
    """Draw the colours of the heat overlay, what its ends are, and of which quantity: a line of the legend."""
    for step in range(66):
        draw.line((_MARGIN + 1 + step, middle - 8, _MARGIN + 1 + step, middle + 8), fill=slices.heat_colour(step / 65))
    low, high = subject.heat_range
    text = f"{low:.4g} to {high:.4g} {subject.heat_meaning}"
    left = _MARGIN + 78
    font = font_of(16)
    draw.text((left, middle), _fitted(draw, text, font, width - _MARGIN - left), font=font, fill=_TEXT, anchor="lm")


def _fitted(draw: Any, text: str, font: Any, room: float) -> str:
    """Return the text, shortened in its middle where it is too long for the room."""
    if draw.textlength(text, font=font) <= room:
        return text
    keep = len(text)
    while keep > 4 and draw.textlength(_shortened(text, keep), font=font) > room:
        keep -= 1
    return _shortened(text, keep)


def _shortened(text: str, keep: int) -> str:
    return f"{text[: (keep + 1) // 2].rstrip()}…{text[len(text) - keep // 2 :].lstrip()}"
