"""Fiducials -> items of the Fiducial Set Sequence (PS3.3 C.21.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.encode import decimal_string
from dicombridge.errors import ExportError
from dicombridge.shadow import dataset_from_text
from dicombridge.text import one_line, shortened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dicombridge.fiducials.contents import NewFiducial, NewSet

__all__ = ["LONGEST_DS", "Identifiers", "set_items"]

LONGEST_IDENTIFIER = 16
"""Characters of an SH."""
LONGEST_DESCRIPTION = 1024
"""Characters of an ST."""
LONGEST_DS = 65534
"""Bytes of a value of VR DS in explicit VR (PS3.5 7.1.2)."""


class Identifiers:
    """Fiducial Identifiers that are unique within a set."""

    def __init__(self, fiducials: Sequence[NewFiducial]) -> None:
        # Those that were loaded and not renamed have the first claim on theirs.
        self._taken: set[str] = set()
        self._kept: dict[int, str] = {}
        for one in fiducials:
            identifier = one.kept.identifier if one.kept is not None and one.kept.label == one.label else ""
            if identifier and identifier not in self._taken and identifier == shortened(identifier, LONGEST_IDENTIFIER):
                self._taken.add(identifier)
                self._kept[id(one)] = identifier

    def of(self, one: NewFiducial) -> str:
        """Return the identifier of a fiducial: the one that it had, or its label as far as it fits."""
        if id(one) in self._kept:
            return self._kept[id(one)]
        wanted = shortened(one_line(one.label), LONGEST_IDENTIFIER) or "F"
        identifier, number = wanted, 1
        while identifier in self._taken:
            number += 1
            identifier = f"{wanted[: LONGEST_IDENTIFIER - 1 - len(str(number))]}-{number}"
        self._taken.add(identifier)
        return identifier


def set_items(
    one: NewSet, images: Sequence[tuple[str, str]], radius_mm: float | None, warnings: list[str]
) -> list[Dataset]:
    """Return the items of a set: one, or two where some fiducials have pixel coordinates alone.

    A set that named no frame of reference, and whose fiducials are all where they were, is written as it was. Otherwise
    the set names one, and each fiducial in it has Contour Data, as the standard wants. Fiducials that moved lose their
    pixel coordinates.

    Parameters
    ----------
    images
        SOP Class and Instance UIDs that a new set refers to.
    radius_mm
        Uncertainty of fiducials that were made here; None if it is not known.
    """
    identifiers = Identifiers(one.fiducials)
    kept = one.kept
    as_it_was = kept is not None and not kept.says_frame and not any(each.moved for each in one.fiducials)
    as_it_was = as_it_was and all(each.kept is not None and each.kept.in_image for each in one.fiducials)
    item = _kept_item(kept.item) if kept is not None else Dataset()
    if not as_it_was:
        item.FrameOfReferenceUID = one.frame_of_reference_uid
    if kept is None and images:
        item.ReferencedImageSequence = [_image(*image) for image in images]
    moved = [each.label for each in one.fiducials if each.moved and each.kept is not None and each.kept.in_image]
    if moved:
        warnings.append(f"{', '.join(moved[:10])}: moved, so only patient coordinates are written.")
    item.FiducialSequence = list(_items(one, identifiers, as_it_was, radius_mm))
    return [item]


def _items(one: NewSet, identifiers: Identifiers, as_it_was: bool, radius_mm: float | None) -> Iterator[Dataset]:
    uids: set[str] = set()
    for each in one.fiducials:
        item = _kept_item(each.kept.item) if each.kept is not None else Dataset()
        item.FiducialIdentifier = identifiers.of(each)
        item.ShapeType = each.shape
        _set_description(item, each)
        _set_uid(item, each.kept is not None and one.kept is not None and not each.moved, uids)
        if each.kept is None:
            item.FiducialUID = generate_uid()
        if each.kept is None and radius_mm is not None:
            item.ContourUncertaintyRadius = radius_mm
        if not as_it_was:
            if each.points is None:
                raise ExportError(f"{each.label!r} has no position.")
            item.NumberOfContourPoints = len(each.points)
            item.ContourData = contour_data(each.points)
            if each.moved or one.kept is None:
                item.pop("GraphicCoordinatesDataSequence", None)
        yield item


def _set_uid(item: Dataset, same: bool, taken: set[str]) -> None:
    """Give a fiducial that is another one than before a UID of its own.

    Fiducial UID identifies the assignment of a place to a fiducial, to which registrations refer: one that was moved or
    copied from another one is a new one.
    """
    if "FiducialUID" in item and (not same or str(item.FiducialUID) in taken):
        item.FiducialUID = generate_uid()
    taken.add(str(item.get("FiducialUID") or ""))


def contour_data(points: NDArray[np.float64]) -> list[str]:
    """Return points as decimal strings."""
    return [decimal_string(value) for value in points.ravel().tolist()]


def _kept_item(text: str) -> Dataset:
    """Return an item that was loaded, a new one where somebody edited its text beyond use."""
    item = dataset_from_text(text) or Dataset()
    item.pop("SpecificCharacterSet", None)
    return item


def _set_description(item: Dataset, one: NewFiducial) -> None:
    before = one.kept.description if one.kept is not None else ""
    if one.description == before:
        return
    if one.description:
        item.FiducialDescription = one.description[:LONGEST_DESCRIPTION]
    else:
        item.pop("FiducialDescription", None)


def _image(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item: Any = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item
