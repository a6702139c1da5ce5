"""Patient coordinates -> columns and rows of the image in which a region lies (PS3.3 C.18.6): placing, the other way.

===========  ==========================================================================================================
in space     in an image
===========  ==========================================================================================================
POINT        POINT
MULTIPOINT   MULTIPOINT
POLYLINE     POLYLINE
POLYGON      POLYLINE that ends where it starts
ELLIPSE      ELLIPSE; CIRCLE (centre, point on the edge) where it is one and pixels are square
ELLIPSOID    none: it lies in no plane
===========  ==========================================================================================================

On a slide, the image is the total pixel matrix of a level (Pixel Origin Interpretation VOLUME), never a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import DicomBridgeError, ExportError
from dicombridge.geometry import DIRECTION_TOLERANCE, unit_normal
from dicombridge.image.headers import Plane
from dicombridge.multiframe import read_header
from dicombridge.placing import CENTRE_OF_FIRST_PIXEL
from dicombridge.report.content import Graphic, InstanceReference
from dicombridge.report.drawings import drawing_of, is_ring
from dicombridge.report.groups import Region
from dicombridge.report.markup_regions import ellipse_of
from dicombridge.report.placement import WHOLE_SLIDE
from dicombridge.slide.pixel_matrix import pixel_matrix_of
from dicombridge.tags import SOP_CLASS_UID

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database
    from dicombridge.image.series import SourceGrid
    from dicombridge.output.source import Source

    Points = NDArray[np.float64]

__all__ = [
    "IN_PLANE_MM",
    "ImageStack",
    "image_stack",
    "in_image",
    "in_space",
    "patient_to_pixels",
    "required_in_image",
    "why_not",
]

IN_PLANE_MM = 0.1
"""All points of a region that lies in an image are nearer to its plane than this; what is beyond is lost in it."""
ON_EDGE = 1e-6
"""Pixels by which a point on the edge of an image may be outside, as rounding has it."""
SQUARE = 1e-6
"""Part by which the spacings of square pixels may differ."""
SAME_AXES_MM = 1e-4
"""Axes of an ellipse that differ by less are those of a circle."""


def patient_to_pixels(plane: Plane, points: Points) -> Points:
    """Return (n, 2) pixel coordinates (column, row) in an image plane of (n, 3) LPS mm.

    The exact inverse of :func:`dicombridge.placing.pixels_to_patient`: 0.5, 0.5 is the centre of the first pixel.
    Points beside the plane are those below them in it.

    Examples
    --------
    >>> plane = Plane("", 0, "", "", "", (4, 4), (2.0, 0.5), (1, 0, 0, 0, 1, 0), (10.0, 20.0, 30.0), None)
    >>> patient_to_pixels(plane, np.array([[10.0, 20.0, 30.0], [11.0, 22.0, 30.0]])).tolist()
    [[0.5, 0.5], [2.5, 1.5]]
    """
    orientation, spacing = np.asarray(plane.orientation, dtype=float), plane.spacing or (1.0, 1.0)
    # Pixels to patient is one matrix (3 x 2); cosines from a file are perpendicular to their last digit only.
    axes = np.stack([orientation[:3] * spacing[1], orientation[3:] * spacing[0]], axis=1)
    from_first = (np.asarray(points, dtype=float) - np.asarray(plane.position)) @ np.linalg.pinv(axes).T
    return np.asarray(from_first + CENTRE_OF_FIRST_PIXEL, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ImageStack:
    """The planes of source images, to find the one in which a region lies.

    Attributes
    ----------
    planes
        All that say where they lie.
    normals, positions
        (n, 3) LPS of each plane.
    preferred
        SOP Instance UIDs of those to name where several lie in one plane: those that the user sees.
    """

    planes: list[Plane]
    normals: Points
    positions: Points
    preferred: frozenset[str] = frozenset()

    def plane_through(self, points: Points, frame: str, also: Collection[str] = ()) -> Plane | None:
        """Return the plane that is nearest to points (n, 3) LPS mm, None where none is within :data:`IN_PLANE_MM`.

        Points outside of the image's pixels are in none (PS3.3 C.18.6.1.2).

        Parameters
        ----------
        frame
            Frame of Reference UID of the points; empty where it is not known.
        also
            SOP Instance UIDs to name before all others.
        """
        if not self.planes:
            return None
        beside = np.abs(np.einsum("pnx,px->pn", points[None] - self.positions[:, None], self.normals)).max(axis=1)
        near = [int(one) for one in np.flatnonzero(beside <= IN_PLANE_MM) if self._holds(int(one), points, frame)]
        return min((self.planes[one] for one in near), key=self._order(near, beside, also), default=None)

    def _holds(self, number: int, points: Points, frame: str) -> bool:
        plane = self.planes[number]
        if frame and plane.frame_of_reference_uid and plane.frame_of_reference_uid != frame:
            return False
        rows, columns = plane.shape or (0, 0)
        pixels = patient_to_pixels(plane, points)
        return bool((pixels >= -ON_EDGE).all() and (pixels <= np.array([columns, rows]) + ON_EDGE).all())

    def _order(
        self, near: Sequence[int], beside: Points, also: Collection[str]
    ) -> Callable[[Plane], tuple[bool, bool, float]]:
        """Return how to compare planes: images that are wanted first, then the nearest one."""
        distance = {id(self.planes[one]): round(float(beside[one]), 6) for one in near}
        return lambda plane: (
            plane.sop_instance_uid not in also,
            plane.sop_instance_uid not in self.preferred,
            distance[id(plane)],
        )


def image_stack(source: Source, database: Database | None, uids: Collection[str] = ()) -> ImageStack:
    """Return the planes of a node's source images: as their files say, else as the grid has them.

    Parameters
    ----------
    uids
        SOP Instance UIDs of further images, whose series are looked into too: regions of one report may lie in several.
    """
    planes = [plane for plane in _read(source, database, uids) if not plane.lacks] or _of_grids(source)
    slides = _slides(source, database, uids)
    planes += slides
    normals = np.array([unit_normal(plane.orientation or ()) for plane in planes]).reshape(-1, 3)
    positions = np.array([plane.position for plane in planes], dtype=float).reshape(-1, 3)
    shown: Sequence[str] = source.grid.instance_uids if source.grid is not None else ()
    if source.slides and slides:  # the level that the node names comes first
        shown = [slides[0].sop_instance_uid]
    return ImageStack(planes, normals, positions, frozenset(shown))


def _read(source: Source, database: Database | None, uids: Collection[str]) -> list[Plane]:
    from dicombridge.image.series import read_planes

    if database is None:
        return []
    files = [file for uid in uids if (file := database.fileForInstance(uid))]
    series = [source.series_instance_uid, *(database.seriesForFile(file) for file in files)]
    planes: list[Plane] = []
    for uid in dict.fromkeys(filter(None, series)):
        of_series = [file for file in database.filesForSeries(uid) if file]
        if any(database.fileValue(file, SOP_CLASS_UID) == WHOLE_SLIDE for file in of_series[:1]):
            continue
        # What cannot be read has no place for a region either.
        with suppress(DicomBridgeError):
            planes += read_planes(of_series, database)
    return planes


def _slides(source: Source, database: Database | None, uids: Collection[str]) -> list[Plane]:
    """Return each level of a slide as one plane: that of its total pixel matrix, not those of its tiles."""
    headers = [slide.header for slide in source.slides]
    named = [file for uid in uids if database is not None and (file := database.fileForInstance(uid))]
    for file in named:
        with suppress(DicomBridgeError):
            headers.append(read_header(file))
    planes: dict[str, Plane] = {}
    for header in headers:
        if header.get("SOPClassUID") == WHOLE_SLIDE:
            with suppress(DicomBridgeError):
                planes.setdefault(str(header.get("SOPInstanceUID")), _of_slide(header))
    return list(planes.values())


def _of_slide(header: Any) -> Plane:
    matrix = pixel_matrix_of(header)
    return Plane(
        path="",
        frame=0,
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        frame_of_reference_uid=matrix.frame_of_reference_uid,
        shape=(matrix.rows, matrix.columns),
        spacing=matrix.spacing,
        orientation=matrix.orientation,
        position=matrix.origin,
        instance_number=None,
    )


def _of_grids(source: Source) -> list[Plane]:
    """Return the planes of grids: the images may be those of a folder, or of a volume that remembers them."""
    frame = str(source.header.get("FrameOfReferenceUID") or "") if source.header is not None else ""
    grids = [source.grid, *source.others] if source.grid is not None else []
    return [plane for grid in grids for plane in _of_grid(grid, frame)]


def _of_grid(grid: SourceGrid, frame: str) -> list[Plane]:
    affine = np.asarray(grid.geometry.affine, dtype=float)
    between_rows, between_columns = (float(np.linalg.norm(affine[:3, axis])) for axis in (1, 2))
    column, row = affine[:3, 1] / between_rows, affine[:3, 2] / between_columns
    if abs(float(column @ row)) > DIRECTION_TOLERANCE:
        return []
    _, rows, columns = (int(size) for size in grid.geometry.spatial_shape)
    return [
        Plane(
            path="",
            frame=grid.frame_numbers[place] if grid.frame_numbers is not None else 0,
            sop_class_uid=grid.sop_class_uid,
            sop_instance_uid=uid,
            frame_of_reference_uid=frame,
            shape=(rows, columns),
            spacing=(between_rows, between_columns),
            orientation=tuple(np.concatenate([row, column]).tolist()),
            position=tuple((affine[:3, 3] + place * affine[:3, 0]).tolist()),
            instance_number=None,
        )
        for place, uid in enumerate(grid.instance_uids)
        if uid
    ]


def in_image(region: Region, stack: ImageStack, also: Collection[str] = ()) -> Region | None:
    """Return a region as columns and rows of the image in which it lies, None where it lies in none.

    One that is in an image already is returned as it is.

    Parameters
    ----------
    also
        SOP Instance UIDs of images to prefer, e.g. that in which it was loaded.
    """
    if region.graphic is not None and region.graphic.in_image:
        return region
    if region.points is None or region.type not in _IN_IMAGE:
        return None
    points = np.asarray(region.points, dtype=float)
    plane = stack.plane_through(points, region.frame_of_reference_uid, also)
    if plane is None:
        return None
    graphic_type, points = _IN_IMAGE[region.type](points, plane)
    rows, columns = plane.shape or (0, 0)
    pixels = np.clip(patient_to_pixels(plane, points), 0, [columns, rows])
    if graphic_type == "POLYLINE" and np.array_equal(points[0], points[-1]):
        pixels[-1] = pixels[0]
    image = InstanceReference(plane.sop_class_uid, plane.sop_instance_uid, (plane.frame,) if plane.frame else ())
    return replace(
        region,
        type=graphic_type,
        points=points,
        graphic=Graphic(graphic_type, pixels, origin="VOLUME" if plane.sop_class_uid == WHOLE_SLIDE else ""),
        frame_of_reference_uid=plane.frame_of_reference_uid or region.frame_of_reference_uid,
        images=(image,),
        normal=tuple(unit_normal(plane.orientation or ()).tolist()),
    )


def required_in_image(region: Region, stack: ImageStack, name: str, also: Collection[str] = ()) -> Region:
    """Return a region as columns and rows of an image, where a reader knows nothing else.

    Raises
    ------
    ExportError
        It lies in no image.
    """
    found = in_image(region, stack, also)
    if found is None:
        raise ExportError(f"{name!r} {why_not(region, stack)}; draw it in a slice of the images, or leave it out.")
    return found


def why_not(region: Region, stack: ImageStack) -> str:
    """Return why a region lies in no image, as the end of a sentence."""
    if not stack.planes:
        return "has no source images that are at hand: give source="
    if region.type not in _IN_IMAGE:
        return f"is no flat shape ({region.type})"
    return f"lies in no slice of the source images (within {IN_PLANE_MM} mm)"


def in_space(region: Region) -> Region:
    """Return a region in an image as one in space (LPS mm), where it has a place and a frame of reference."""
    graphic = region.graphic
    if graphic is None or not graphic.in_image or region.points is None or not region.frame_of_reference_uid:
        return region
    points, kind = np.asarray(region.points, dtype=float), region.type
    if kind == "CIRCLE":
        drawing = drawing_of(region)
        ends = ellipse_of(drawing.points) if drawing is not None else None
        if ends is None:
            return region
        kind, points = "ELLIPSE", ends
    elif kind == "POLYLINE" and is_ring(graphic.data):
        kind, points = "POLYGON", np.vstack([points[:-1], points[:1]])
    return replace(region, type=kind, points=points, graphic=None, images=())


# --- Graphic types ---------------------------------------------------------------------------------------------------


def _as_it_is(name: str) -> Callable[[Points, Plane], tuple[str, Points]]:
    return lambda points, plane: (name, points)


def _ellipse(points: Points, plane: Plane) -> tuple[str, Points]:
    """Return an ellipse, or a circle: a centre and a point on the edge, for which a pixel has to be square."""
    major, minor = (float(np.linalg.norm(b - a)) for a, b in (points[:2], points[2:]))
    between_rows, between_columns = plane.spacing or (1.0, 1.0)
    if abs(major - minor) <= SAME_AXES_MM and abs(between_rows / between_columns - 1) <= SQUARE:
        return "CIRCLE", np.stack([points.mean(axis=0), points[0]])
    return "ELLIPSE", points


_IN_IMAGE: dict[str, Callable[[Points, Plane], tuple[str, Points]]] = {
    "POINT": _as_it_is("POINT"),
    "MULTIPOINT": _as_it_is("MULTIPOINT"),
    "POLYLINE": _as_it_is("POLYLINE"),
    "POLYGON": _as_it_is("POLYLINE"),
    "ELLIPSE": _ellipse,
}
