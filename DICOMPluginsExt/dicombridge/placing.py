"""Pixel coordinates of an image -> patient coordinates.

Graphic Data (0070,0022) are pairs (column, row) with sub-pixel resolution (PS3.3 C.18.6, C.10.5): 0, 0 is the top left
corner of the first pixel and 1, 1 its bottom right corner. Image Position (Patient) is the centre of the first pixel
(PS3.3 C.7.6.2.1.1), which therefore has the pixel coordinates 0.5, 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import DicomBridgeError, GeometryError, MissingReferenceError, UnreadableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database
    from dicombridge.image.headers import Plane
    from dicombridge.segmentation.tiles import TilePlaces
    from dicombridge.slide.pixel_matrix import PixelMatrix

__all__ = [
    "CENTRE_OF_FIRST_PIXEL",
    "ImagePlanes",
    "SlideMatrices",
    "image_reference",
    "overlap",
    "pixels_to_patient",
]

CENTRE_OF_FIRST_PIXEL = 0.5
"""Column and row, in pixel coordinates."""


def pixels_to_patient(plane: Plane, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3) LPS mm of (n, 2) pixel coordinates (column, row) in an image plane.

    Raises
    ------
    GeometryError
        The image says not where it lies.
    """
    if plane.position is None or plane.orientation is None or plane.spacing is None:
        raise GeometryError(f"the image cannot be placed in space: its header lacks {plane.lacks}")
    along_row, along_column = np.asarray(plane.orientation[:3]), np.asarray(plane.orientation[3:])
    between_rows, between_columns = plane.spacing
    columns, rows = (np.asarray(pixels, dtype=float) - CENTRE_OF_FIRST_PIXEL).T
    placed = np.outer(columns * between_columns, along_row) + np.outer(rows * between_rows, along_column)
    return np.asarray(placed + plane.position, dtype=np.float64)


def overlap(
    shape: tuple[int, int], row: int, column: int, frame: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return the part of a grid's plane that a frame shows and that part of the frame; None where there is none.

    Parameters
    ----------
    shape, frame
        Rows and columns of the plane and of the frame.
    row, column
        Of the frame's first pixel in the plane; a tile may begin before the plane does.
    """
    first = max(row, 0), max(column, 0)
    last = min(row + frame[0], shape[0]), min(column + frame[1], shape[1])
    if first[0] >= last[0] or first[1] >= last[1]:
        return None
    of_plane = slice(first[0], last[0]), slice(first[1], last[1])
    return of_plane, (slice(first[0] - row, last[0] - row), slice(first[1] - column, last[1] - column))


def image_reference(item: Any) -> tuple[str, str, list[int]]:
    """Return SOP Class UID, SOP Instance UID and frame numbers of an item of a Referenced Image Sequence."""
    numbers = item.get("ReferencedFrameNumber")
    if numbers is None or numbers == "":
        frames: list[int] = []
    else:
        frames = [int(number) for number in (numbers if isinstance(numbers, Sequence | list) else [numbers])]
    return str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or ""), frames


@dataclass
class SlideMatrices:
    """The total pixel matrices of referenced slides, looked up in a database; each file is read once."""

    database: Database | None
    _known: dict[str, tuple[str, PixelMatrix]] = field(default_factory=dict)
    _tiles: dict[str, TilePlaces] = field(default_factory=dict)

    def matrix(self, sop_instance_uid: str) -> PixelMatrix:
        """Return the matrix of a slide.

        Raises
        ------
        MissingReferenceError
            The slide is not in the database.
        GeometryError
            It cannot be read, or does not say where its pixels lie.
        """
        return self._slide(sop_instance_uid)[1]

    def in_matrix(
        self, sop_instance_uid: str, frames: Sequence[int], pixels: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return columns and rows (n, 2) in the matrix of those in a tile, which is named by its frame number.

        An image of one frame need not name it.

        Raises
        ------
        MissingReferenceError, GeometryError
            As above, or the slide has no such frame, or it is not said which one.
        """
        tiles = self._tiles_of(sop_instance_uid)
        if not frames and len(tiles.rows) == 1:
            frames = [1]
        if len(frames) != 1:
            raise GeometryError(f"it names {len(frames)} frames of a slide instead of the one in which it lies")
        if not 0 < frames[0] <= len(tiles.rows):
            raise GeometryError(f"the slide has no frame {frames[0]}")
        place = frames[0] - 1
        return np.asarray(pixels, dtype=np.float64) + np.array([tiles.columns[place], tiles.rows[place]])

    def _slide(self, sop_instance_uid: str) -> tuple[str, PixelMatrix]:
        if sop_instance_uid not in self._known:
            from dicombridge.multiframe import read_header
            from dicombridge.slide.pixel_matrix import pixel_matrix_of

            file = _file_of(self.database, sop_instance_uid)
            try:
                self._known[sop_instance_uid] = file, pixel_matrix_of(read_header(file))
            except UnreadableError as error:
                raise GeometryError(f"its slide cannot be read ({error})") from error
        return self._known[sop_instance_uid]

    def _tiles_of(self, sop_instance_uid: str) -> TilePlaces:
        if sop_instance_uid not in self._tiles:
            from dicombridge.multiframe import open_multiframe
            from dicombridge.segmentation.tiles import tile_places

            try:
                with open_multiframe(self._slide(sop_instance_uid)[0], pixels=False, until_pixels=True) as opened:
                    self._tiles[sop_instance_uid] = tile_places([opened])
            except UnreadableError as error:
                raise GeometryError(f"its slide cannot be read ({error})") from error
        return self._tiles[sop_instance_uid]


def _file_of(database: Database | None, sop_instance_uid: str) -> str:
    file = database.fileForInstance(sop_instance_uid) if database is not None and sop_instance_uid else ""
    if not file:
        raise MissingReferenceError(f"the image {sop_instance_uid or 'without UID'} is not in the database")
    return file


@dataclass
class ImagePlanes:
    """The planes of referenced images, looked up in a database; each file is read once."""

    database: Database | None
    _known: dict[str, list[Plane]] = field(default_factory=dict)

    def plane(self, sop_instance_uid: str, frames: Sequence[int]) -> Plane:
        """Return the plane of a referenced image or frame.

        Raises
        ------
        MissingReferenceError
            The image is not in the database.
        GeometryError
            The image cannot be read or has no such frame, or it is not said which one.
        """
        if sop_instance_uid not in self._known:
            self._known[sop_instance_uid] = self._read(sop_instance_uid)
        planes = self._known[sop_instance_uid]
        if len(frames) > 1:
            raise GeometryError("it names several frames, which do not say where one position is")
        if frames:
            found = [plane for plane in planes if plane.frame == frames[0] or (not plane.frame and frames[0] == 1)]
            if not found:
                raise GeometryError(f"the image has no frame {frames[0]}")
            return found[0]
        if len(planes) > 1:
            raise GeometryError(f"it does not say in which of the {len(planes)} frames of the image it lies")
        return planes[0]

    def _read(self, sop_instance_uid: str) -> list[Plane]:
        from dicombridge.image.series import read_planes

        file = _file_of(self.database, sop_instance_uid)
        try:
            planes = read_planes([file], self.database)
        except DicomBridgeError as error:
            raise GeometryError(f"its image cannot be read ({error})") from error
        if not planes:
            raise GeometryError("its image has no frames")
        return planes
