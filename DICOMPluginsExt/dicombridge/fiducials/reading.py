"""Dataset -> sets of fiducials, as plain values (PS3.3 C.21.2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import DicomBridgeError, MissingReferenceError, UnreadableError, UnsupportedError
from dicombridge.fiducials.shapes import fitting_shape
from dicombridge.geometry import FARTHEST_MM, plausible
from dicombridge.kinds import kind_named
from dicombridge.multiframe import open_multiframe
from dicombridge.placing import ImagePlanes, image_reference, pixels_to_patient
from dicombridge.references import Reference, references_of
from dicombridge.shadow import dataset_to_text
from dicombridge.text import one_line, plain_text

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from dicombridge.database import Database

__all__ = ["Fiducial", "FiducialSet", "Fiducials", "item_text", "read_fiducials"]

FIDUCIAL_SET_SEQUENCE = 0x0070031C
MOST_SHAPES = 1000
"""Lines, curves and surfaces of an object: each is a node."""
MOST_WARNINGS = 20
"""Lines of one kind in the log; the others are counted."""


@dataclass(frozen=True, eq=False)
class Fiducial:
    """One fiducial.

    Attributes
    ----------
    number
        Its place in its set, from 1.
    identifier
        Fiducial Identifier as it is written, empty if there is none.
    label
        What a person reads: unique in its set.
    shape
        Shape Type.
    points
        (n, 3) LPS mm; None where the image in which it lies is not at hand.
    in_image
        Whether its place follows from an image alone.
    radius_mm
        Contour Uncertainty Radius; None if it is not known.
    code, category
        Value, scheme and meaning of its identifier code and of its category; None if absent.
    item
        Its text form (:mod:`dicombridge.shadow`), without Contour Data.
    """

    number: int
    identifier: str
    label: str
    description: str
    uid: str
    shape: str
    points: NDArray[np.float64] | None
    in_image: bool
    radius_mm: float | None
    code: tuple[str, str, str] | None
    category: tuple[str, str, str] | None
    item: str


@dataclass(frozen=True, eq=False)
class FiducialSet:
    """One item of the Fiducial Set Sequence.

    Attributes
    ----------
    number
        Its place in the sequence, from 1.
    frame_of_reference_uid
        Of the points: that of the set, or of the images in which its fiducials lie; empty where neither says it.
    says_frame
        Whether the set itself names it.
    images
        SOP Instance UIDs of the images that the set refers to.
    item
        Its text form, without the fiducials.
    """

    number: int
    frame_of_reference_uid: str
    says_frame: bool
    images: tuple[str, ...]
    item: str
    fiducials: tuple[Fiducial, ...]


@dataclass
class Fiducials:
    """A Spatial Fiducials object.

    ``shadow`` is the header without the sets, as text (:mod:`dicombridge.shadow`).
    """

    path: str
    header: Dataset
    shadow: str
    sets: list[FiducialSet]
    references: list[Reference]
    warnings: list[str] = field(default_factory=list)


def read_fiducials(file: str, database: Database | None) -> Fiducials:
    """Read a Spatial Fiducials object; images are looked up for fiducials that have pixel coordinates only.

    Raises
    ------
    UnreadableError
        The file is damaged or no Spatial Fiducials object, or none of its fiducials has a place.
    MissingReferenceError
        All fiducials lie in images that are not in the database.
    UnsupportedError
        There are more shapes than can be nodes.
    """
    with open_multiframe(file, pixels=False) as opened:
        buffer, layout = opened.top_level()
        if not layout.complete or layout.dataset_stop < len(buffer):
            raise UnreadableError(file, "is cut short: its last element ends beyond the end of the file.")
        header, shadow = opened.header, opened.shadow(without=(FIDUCIAL_SET_SEQUENCE,))
        if str(header.get("SOPClassUID") or "") not in kind_named("FID").sop_classes:
            raise UnreadableError(file, "is no Spatial Fiducials object.")
        header.decode()
    warnings = _Warnings()
    planes = ImagePlanes(database)
    sets = [
        _read_set(number, item, planes, warnings)
        for number, item in enumerate(header.get("FiducialSetSequence") or (), start=1)
    ]
    fiducials = [one for group in sets for one in group.fiducials]
    if not any(one.points is not None for one in fiducials):
        if warnings.missing:
            raise MissingReferenceError(
                f"{file}: its fiducials lie in images that are not in the database, e.g. {warnings.missing[0]}; import "
                "these images too."
            )
        raise UnreadableError(file, f"holds no fiducial that has a place. {' '.join(warnings.texts()[:3])}".strip())
    shapes = sum(one.points is not None and one.shape != "POINT" for one in fiducials)
    if shapes > MOST_SHAPES:
        raise UnsupportedError(f"{file}: has {shapes} lines and curves; more than {MOST_SHAPES} are not loaded.")
    return Fiducials(file, header, shadow, sets, references_of(header), warnings.texts())


class _Warnings:
    """What a person should know; of many alike, the first ones and their number."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self.missing: list[str] = []

    def add(self, reason: str, where: str) -> None:
        self._texts.setdefault(reason, []).append(where)

    def texts(self) -> list[str]:
        found = []
        for reason, places in self._texts.items():
            more = f" and {len(places) - MOST_WARNINGS} more" if len(places) > MOST_WARNINGS else ""
            found.append(f"{', '.join(places[:MOST_WARNINGS])}{more}: {reason}.")
        return found


def _read_set(number: int, item: Dataset, planes: ImagePlanes, warnings: _Warnings) -> FiducialSet:
    own_frame = plain_text(item.get("FrameOfReferenceUID"))
    images = [image_reference(one)[1] for one in item.get("ReferencedImageSequence") or ()]
    frames: Counter[str] = Counter()
    fiducials: list[Fiducial] = []
    for place, one in enumerate(item.get("FiducialSequence") or (), start=1):
        fiducials.extend(_read_fiducial(f"set {number}, fiducial {place}", place, one, planes, frames, warnings))
    if not fiducials:
        warnings.add("there are no fiducials in it", f"set {number}")
    frame = own_frame or next((uid for uid, _ in frames.most_common(1)), "")
    if len(frames) > 1 and not own_frame:
        warnings.add("its images have different frames of reference; only one can be right", f"set {number}")
    text = item_text(item, "FiducialSequence")
    return FiducialSet(number, frame, bool(own_frame), tuple(images), text, tuple(_unique(fiducials)))


def _read_fiducial(
    where: str, number: int, item: Dataset, planes: ImagePlanes, frames: Counter[str], warnings: _Warnings
) -> list[Fiducial]:
    """Return the fiducial of an item; several points where the item calls them one."""
    identifier = plain_text(item.get("FiducialIdentifier"))
    code = _code(item, "FiducialIdentifierCodeSequence")
    label = one_line(identifier) or (one_line(code[2]) if code else "") or f"F-{number}"
    where = f"{where} ({label})"
    points, in_image = _points(where, item, planes, frames, warnings)
    if points is not None and not len(points):
        return []
    shape = plain_text(item.get("ShapeType")).upper()
    if points is not None:
        fitted = fitting_shape(shape, len(points))
        if shape == "POINT" and len(points) > 1:
            fitted = "POINT"
            warnings.add("one POINT with several positions was read as so many points", where)
        elif fitted != shape:
            warnings.add(f"{len(points)} positions are no {shape or 'shape that is named'}; read as {fitted}", where)
        shape = fitted
    one = Fiducial(
        number=number,
        identifier=identifier,
        label=label,
        description=plain_text(item.get("FiducialDescription")),
        uid=plain_text(item.get("FiducialUID")),
        shape=shape,
        points=points,
        in_image=in_image,
        radius_mm=_radius(where, item, warnings),
        code=code,
        category=_code(item, "FiducialsPropertyCategoryCodeSequence"),
        item=item_text(item),
    )
    if shape != "POINT" or points is None or len(points) == 1:
        return [one]
    return [replace(one, points=points[at : at + 1], uid=one.uid if not at else "") for at in range(len(points))]


def _points(
    where: str, item: Dataset, planes: ImagePlanes, frames: Counter[str], warnings: _Warnings
) -> tuple[NDArray[np.float64] | None, bool]:
    """Return the points (LPS), none of them where they are damaged and None where their image is missing."""
    nothing = np.zeros((0, 3))
    values = item.get("ContourData")
    in_image = values is None or values == ""
    try:
        points = _placed(where, item, planes, frames, warnings) if in_image else _contour(where, item, values, warnings)
    except MissingReferenceError as error:
        warnings.add("not loaded, because the image in which it lies is not in the database", where)
        warnings.missing.append(str(error).removeprefix("the image ").removesuffix(" is not in the database"))
        return None, True
    except (DicomBridgeError, ValueError, TypeError, OverflowError) as error:
        warnings.add(f"left out, because {error}", where)
        return nothing, in_image
    if not len(points):
        warnings.add("left out, because it has no position", where)
    elif not plausible(points):
        warnings.add(f"left out, because a coordinate is not finite or beyond {FARTHEST_MM:g} mm", where)
        return nothing, in_image
    return points, in_image


def _contour(where: str, item: Dataset, values: Any, warnings: _Warnings) -> NDArray[np.float64]:
    """Return the points of Contour Data."""
    coordinates = np.array(values, dtype=float).ravel()
    if len(coordinates) % 3:
        raise ValueError(f"its {len(coordinates)} coordinates are not triplets")
    declared = plain_text(item.get("NumberOfContourPoints"))
    if declared and declared != str(len(coordinates) // 3):
        warnings.add("the number of points that it declares is not the number that it has", where)
    return coordinates.reshape(-1, 3)


def _placed(
    where: str, item: Dataset, planes: ImagePlanes, frames: Counter[str], warnings: _Warnings
) -> NDArray[np.float64]:
    """Return the points of Graphic Coordinates Data: item after item, each in its image."""
    placed: list[NDArray[np.float64]] = [np.zeros((0, 3))]
    for part in item.get("GraphicCoordinatesDataSequence") or ():
        values = part.get("GraphicData")
        pixels = np.array([] if values is None else values, dtype=float).ravel()
        if len(pixels) % 2:
            raise ValueError(f"its {len(pixels)} pixel coordinates are not pairs")
        if not plausible(pixels):
            raise ValueError("a pixel coordinate is not finite, or far outside of every image")
        images = part.get("ReferencedImageSequence") or ()
        if len(images) != 1:
            raise ValueError(f"its pixel coordinates name {len(images)} images instead of one")
        _sop_class, uid, numbers = image_reference(next(iter(images)))
        plane = planes.plane(uid, numbers)
        if plane.frame_of_reference_uid:
            frames[plane.frame_of_reference_uid] += 1
        pairs = pixels.reshape(-1, 2)
        if plane.shape is not None and ((pairs < 0) | (pairs > plane.shape[::-1])).any():
            warnings.add("its pixel coordinates are outside of the image", where)
        placed.append(pixels_to_patient(plane, pairs))
    return np.concatenate(placed)


def _radius(where: str, item: Dataset, warnings: _Warnings) -> float | None:
    value = item.get("ContourUncertaintyRadius")
    if value is None or value == "":
        return None
    try:
        radius = float(value)
    except (TypeError, ValueError):
        radius = -1.0
    if not 0 <= radius <= FARTHEST_MM:
        warnings.add(f"its uncertainty radius is no length ({value})", where)
        return None
    return radius


def _code(item: Dataset, keyword: str) -> tuple[str, str, str] | None:
    for code in item.get(keyword) or ():
        value = code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue")
        return (
            plain_text(value),
            plain_text(code.get("CodingSchemeDesignator")),
            plain_text(code.get("CodeMeaning")),
        )
    return None


def _unique(fiducials: list[Fiducial]) -> list[Fiducial]:
    """Return fiducials with labels that are unique in their set."""
    taken: set[str] = set()
    found = []
    following: Counter[str] = Counter()
    every = {one.label for one in fiducials}
    for one in fiducials:
        label = one.label
        while label in taken or (label != one.label and label in every):
            following[one.label] += 1
            label = f"{one.label}-{following[one.label] + 1}"
        taken.add(label)
        found.append(replace(one, label=label))
    return found


def item_text(item: Dataset, *without: str) -> str:
    """Return the text form of an item, its text in UTF-8, without some of its elements."""
    from pydicom.dataset import Dataset

    copy = Dataset()
    copy.SpecificCharacterSet = "ISO_IR 192"
    for element in item:
        if element.keyword not in without:
            copy.add(element)
    return dataset_to_text(copy)
