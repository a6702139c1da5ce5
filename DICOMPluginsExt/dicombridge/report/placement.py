"""Where the regions of groups lie: coordinates in images become patient coordinates (PS3.3 C.18.6, C.18.9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from dicombridge.errors import DicomBridgeError, MissingReferenceError
from dicombridge.geometry import FARTHEST_MM, plausible, unit_normal
from dicombridge.placing import ImagePlanes, SlideMatrices, pixels_to_patient

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.report.content import Graphic, InstanceReference
    from dicombridge.report.groups import Group, Region

__all__ = ["place_regions"]

EXACT_COUNTS = {"POINT": 1, "CIRCLE": 2, "ELLIPSE": 4, "ELLIPSOID": 6}
"""Points that a Graphic Type has; the others have any number."""
KNOWN = frozenset({*EXACT_COUNTS, "MULTIPOINT", "POLYLINE", "POLYGON"})
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
SEVERAL_FRAMES = "names several frames of its image, and is shown in the first of them"
MOST_NAMES = 10
"""Groups that a warning names."""


def place_regions(groups: Iterable[Group], database: Database | None) -> list[str]:
    """Set points, frame of reference and normal of all regions.

    Returns
    -------
    list of str
        What could not be placed, or not as it is meant, and why; of many alike the first ones and their number.
    """
    planes, slides = ImagePlanes(database), SlideMatrices(database)
    reasons: dict[str, list[str]] = {}
    for group in groups:
        for region in group.regions:
            try:
                if _place(region, planes, slides):
                    reasons.setdefault(SEVERAL_FRAMES, []).append(group.label)
            except MissingReferenceError:
                region.points = None
                reasons.setdefault(
                    "is not shown, because the image in which it lies is not in the database", []
                ).append(group.label)
            except (DicomBridgeError, ValueError) as error:
                region.points = None
                reasons.setdefault(f"is not shown, because {error}", []).append(group.label)
    return [f"{_named(labels)} {reason}." for reason, labels in reasons.items()]


def _named(labels: list[str]) -> str:
    more = f" and {len(labels) - MOST_NAMES} more" if len(labels) > MOST_NAMES else ""
    return ", ".join(Counter(labels[:MOST_NAMES])) + more + ":"


def _place(region: Region, planes: ImagePlanes, slides: SlideMatrices) -> bool:
    """Set where a region lies; return whether that is one of several frames that it names."""
    graphic = region.graphic
    if graphic is None:
        return False
    if graphic.type not in KNOWN:
        raise ValueError(f"its graphic type {graphic.type} is not in the standard")
    count = EXACT_COUNTS.get(graphic.type)
    if graphic.type == "POINT" and len(graphic.data) > 1:
        region.type = "MULTIPOINT"  # seen in the wild: what is a list of points is shown as one
    elif count is not None and len(graphic.data) != count:
        raise ValueError(f"a {graphic.type} has {count} points, not {len(graphic.data)}")
    if not plausible(graphic.data):
        raise ValueError(f"a coordinate is not finite or beyond {FARTHEST_MM:g} mm")
    if not graphic.in_image:
        region.points = graphic.data
        return False
    if len(region.images) != 1:
        raise ValueError(f"its pixel coordinates name {len(region.images)} images instead of one")
    image = region.images[0]
    # Of an image that has no tiles, the total pixel matrix is the image; highdicom writes VOLUME for every image.
    if image.sop_class_uid == WHOLE_SLIDE:
        _place_on_slide(region, graphic, image, slides)
        return graphic.origin == "FRAME" and len(image.frames) > 1
    plane = planes.plane(image.sop_instance_uid, image.frames[:1])
    region.points = pixels_to_patient(plane, graphic.data)
    region.frame_of_reference_uid = plane.frame_of_reference_uid
    if plane.orientation is not None:
        region.normal = tuple(np.asarray(unit_normal(plane.orientation)).tolist())
    return len(image.frames) > 1


def _place_on_slide(region: Region, graphic: Graphic, image: InstanceReference, slides: SlideMatrices) -> None:
    """Set points of a region on a slide: in its total pixel matrix, or in a tile (Pixel Origin Interpretation)."""
    matrix = slides.matrix(image.sop_instance_uid)
    pixels = graphic.data
    if graphic.origin == "FRAME":
        pixels = slides.in_matrix(image.sop_instance_uid, image.frames[:1], pixels)
    region.points = matrix.to_slide(pixels)
    region.frame_of_reference_uid = matrix.frame_of_reference_uid
    region.normal = tuple(np.asarray(unit_normal(matrix.orientation)).tolist())
