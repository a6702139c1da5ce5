"""Which instance, and frame of it, each slice of a volume node shows, and in which slices points lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dicombridge.errors import ExportError
from dicombridge.image.volume import FRAME_NUMBERS, MISSING_SLICES

__all__ = ["instances_of_volume", "points_of_markups", "slice_numbers", "slices_of_points"]

Shown = tuple[str, int]
"""SOP Instance UID and frame number, 0 for the whole instance; the UID is empty where nothing is shown."""


def instances_of_volume(volume: Any, slices: Sequence[int] | None = None) -> list[Shown]:
    """Return what a volume shows: all its instances, or those of some slices.

    Parameters
    ----------
    slices
        Numbers (from 0, the third index of IJK). A slice of a multi-frame image is a frame.

    Raises
    ------
    ExportError
        The volume has no DICOM instances, or not one for each slice, or not so many slices.
    """
    uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    if not uids:
        raise ExportError(f"{volume.GetName()!r} was not loaded from DICOM; only DICOM images can be selected.")
    if slices is None:
        return [(uid, 0) for uid in dict.fromkeys(uids)]
    shown = _by_slice(volume, uids)
    for number in slices:
        if not 0 <= number < len(shown):
            raise ExportError(f"{volume.GetName()!r} has no slice {number}; its slices are 0 to {len(shown) - 1}.")
        if not shown[number][0]:
            raise ExportError(f"Slice {number} of {volume.GetName()!r} is missing in DICOM: no image can be selected.")
    return [shown[number] for number in slices]


def _by_slice(volume: Any, uids: Sequence[str]) -> list[Shown]:
    frames = _numbers(volume, FRAME_NUMBERS)
    missing = set(_numbers(volume, MISSING_SLICES))
    if frames and len(uids) == 1:
        shown = [(uids[0] if frame else "", frame) for frame in frames]
    else:
        rest = iter(uids)
        total = len(uids) + len(missing)
        shown = [("", 0) if place in missing else (next(rest, ""), 0) for place in range(total)]
    # Somebody may have cropped or resampled the volume since: then a slice is no image.
    if volume.GetImageData() is None or volume.GetImageData().GetDimensions()[2] != len(shown):
        raise ExportError(
            f"The slices of {volume.GetName()!r} are not those of its {len(shown)} images any more; select the images "
            "by their UIDs."
        )
    return shown


def _numbers(volume: Any, attribute: str) -> list[int]:
    return [int(text) for text in (volume.GetAttribute(attribute) or "").split() if text.isdigit()]


def slice_numbers(value: Any) -> list[int] | None:
    """Return the slices that a caller gives: a number, several, or text such as ``"3, 5"``; None if none.

    Examples
    --------
    >>> slice_numbers("3, 5"), slice_numbers(4), slice_numbers(None)
    ([3, 5], [4], None)
    """
    if value is None or value == "":
        return None
    parts = value.replace(",", " ").split() if isinstance(value, str) else [value] if isinstance(value, int) else value
    try:
        numbers = [int(part) for part in parts]
        whole = all(number == float(part) for number, part in zip(numbers, parts, strict=True))
    except (TypeError, ValueError):
        whole = False
    if not whole or not numbers:
        raise ExportError(f"slices are numbers of slices from 0, e.g. '3, 5', not {value!r}.")
    return list(dict.fromkeys(numbers))


def points_of_markups(node: Any) -> list[tuple[float, float, float]]:
    """Return the control points that have a position, RAS mm of the world."""
    found = []
    for number in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(number) == node.PositionDefined:
            point = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(number, point)
            found.append((point[0], point[1], point[2]))
    return found


def slices_of_points(volume: Any, points: Sequence[tuple[float, float, float]]) -> list[int]:
    """Return the slices in which points (RAS mm of the world) lie, each once, in their order; others are left out."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    from_world, to_ijk = vtkGeneralTransform(), vtkMatrix4x4()
    if volume.GetParentTransformNode() is not None:
        volume.GetParentTransformNode().GetTransformFromWorld(from_world)
    volume.GetRASToIJKMatrix(to_ijk)
    image = volume.GetImageData()
    size = image.GetDimensions() if image is not None else (0, 0, 0)
    found = set()
    for point in points:
        index = to_ijk.MultiplyPoint((*from_world.TransformPoint(point), 1.0))[:3]
        # A voxel reaches half of its size from its centre.
        if all(-0.5 <= place < count - 0.5 for place, count in zip(index, size, strict=True)):
            found.add(int(index[2] + 0.5))
    return sorted(found)
