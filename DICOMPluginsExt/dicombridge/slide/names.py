"""What the images of a slide are called: ``3: Slide A17 - level 0 (40000 x 30000, 0.5 um)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dicombridge.slide.choice import pyramid_of
from dicombridge.slide.levels import VOLUME, Level
from dicombridge.text import one_line

__all__ = ["label_of", "sized", "title_of"]


def title_of(header: Any) -> str:
    """Return what a slide is called: the series, or the slide itself where the series has no description."""
    container = str(header.get("ContainerIdentifier") or "").strip()
    name = str(header.get("SeriesDescription") or "").strip() or f"Slide {container}".strip()
    number = header.get("SeriesNumber")
    return one_line(name if number is None or not str(number).strip() else f"{number}: {name}")


def label_of(level: Level, levels: Sequence[Level]) -> str:
    """Return what an image is called among those of its slide: ``level 0``, ``overview``, ..."""
    if level.flavour != VOLUME:
        return level.flavour.lower()
    number = next(number for number, group in enumerate(pyramid_of(levels)) if any(one is level for one in group))
    return f"level {number}"


def sized(title: str, label: str, level: Level) -> str:
    """Return the name of an image."""
    return f"{title} - {label} ({level.size})"
