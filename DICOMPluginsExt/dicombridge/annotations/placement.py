"""Columns and rows of the referenced slide image -> mm on the slide, and back (PS3.3 C.37.1.2, C.8.12.4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import MissingReferenceError
from dicombridge.slide.pixel_matrix import HALF, PixelMatrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database

__all__ = ["Plane", "affine_to_slide", "plane_from_values", "plane_of_image", "plane_values", "referenced_image"]


@dataclass(frozen=True)
class Plane:
    """Where the pixels of a slide image lie, to which 2D coordinates refer.

    Attributes
    ----------
    matrix
        The image's total pixel matrix.
    offset
        Column and row in it at which coordinates are 0; not 0 where they are those of a frame.
    sop_class_uid, sop_instance_uid
        Of the image.
    frame
        Number of the frame, 0 for coordinates in the total pixel matrix.
    """

    matrix: PixelMatrix
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    offset: tuple[float, float] = (0.0, 0.0)
    frame: int = 0

    @property
    def affine(self) -> NDArray[np.float64]:
        """(3, 3) of (column, row, 1), from the corner at which coordinates are 0, to slide mm."""
        corner = np.eye(3)
        corner[:2, 2] = np.asarray(self.offset) - HALF
        return np.asarray(self.matrix.affine @ corner, dtype=np.float64)

    @property
    def z(self) -> float:
        """mm: of the centre of the first pixel."""
        return float(self.matrix.origin[2])

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, 2) columns and rows of (n, 3) slide mm, seen along the normal."""
        return self.matrix.to_pixels(points) - np.asarray(self.offset)

    def distance_in_pixels(self, points: NDArray[np.float64]) -> float:
        """Return how far the farthest of (n, 3) points (slide mm) is from the plane, in widths of a pixel."""
        if not len(points):
            return 0.0
        affine = self.matrix.affine
        normal = np.cross(affine[:, 0], affine[:, 1])
        normal /= np.linalg.norm(normal)
        return float(np.abs((points - affine[:, 2]) @ normal).max() / min(self.matrix.spacing))


def referenced_image(header: Any) -> tuple[str, str, int]:
    """Return SOP Class UID, SOP Instance UID and frame number (0: none) of the image that coordinates refer to."""
    from dicombridge.placing import image_reference

    item = next(iter(header.get("ReferencedImageSequence") or ()), None)
    if item is None:  # some name it among the references of the object alone
        series = next(iter(header.get("ReferencedSeriesSequence") or ()), None)
        item = next(iter((series.get("ReferencedInstanceSequence") if series is not None else None) or ()), None)
    if item is None:
        return "", "", 0
    sop_class, uid, frames = image_reference(item)
    return sop_class, uid, frames[0] if frames else 0


def plane_of_image(header: Any, database: Database | None) -> Plane:
    """Return the plane to which the 2D coordinates of an object refer; the image is looked up in a database.

    Raises
    ------
    MissingReferenceError
        The image is not in the database.
    GeometryError
        The image does not say where it lies, or has no such frame.
    """
    from dicombridge.placing import SlideMatrices

    sop_class, uid, frame = referenced_image(header)
    file = database.fileForInstance(uid) if database is not None and uid else ""
    if not file:
        raise MissingReferenceError(
            f"its annotations are pixel coordinates of the slide image {uid or 'that it does not name'}, which is not "
            "in the database; without it nobody knows where they lie. Add the slide to the database and load again."
        )
    slides = SlideMatrices(database)
    matrix = slides.matrix(uid)
    plane = Plane(matrix, sop_class, uid)
    if str(header.get("PixelOriginInterpretation") or "").strip() != "FRAME":
        return plane
    ((column, row),) = slides.in_matrix(uid, [frame] if frame else [], np.zeros((1, 2)))
    return Plane(matrix, sop_class, uid, (float(column), float(row)), frame or 1)


def plane_values(plane: Plane) -> dict[str, Any]:
    """Return a plane as what JSON can hold."""
    return asdict(plane)


def plane_from_values(values: Mapping[str, Any]) -> Plane:
    """Return the plane of what :func:`plane_values` returned."""
    matrix: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values["matrix"].items()
    }
    offset = (float(values["offset"][0]), float(values["offset"][1]))
    return Plane(
        PixelMatrix(**matrix),
        str(values["sop_class_uid"]),
        str(values["sop_instance_uid"]),
        offset,
        int(values["frame"]),
    )


def affine_to_slide(dimensions: int, plane: Plane | None, z: float) -> NDArray[np.float64]:
    """Return (3, dimensions + 1) of (coordinates, 1) to slide mm.

    Parameters
    ----------
    dimensions
        2 or 3 values a point.
    plane
        Of 2D coordinates; None for those in mm.
    z
        mm: of points in mm that have none of their own.
    """
    if plane is not None:
        return plane.affine
    affine = np.eye(3, dimensions + 1)
    if dimensions == 2:
        affine[2] = 0, 0, z
    return affine
