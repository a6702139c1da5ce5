"""What headers say of the images of a slide: levels of a pyramid, overview, label, or a plain photograph (no pixels).

An instance is one level; where it is split into a concatenation (PS3.3 C.7.6.16.1.3), all its files are. Where a header
does not say where its pixels lie, a guess takes the place of what is missing, and is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from dicombridge.attribute_values import items_of, number_of
from dicombridge.errors import DicomBridgeError, GeometryError, UnreadableError
from dicombridge.geometry import plausible
from dicombridge.kinds import kind_named
from dicombridge.slide.pixel_matrix import MM_PER_Z_UNIT, PixelMatrix
from dicombridge.text import one_line
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["IMAGE", "VOLUME", "Level", "OpticalPath", "read_levels"]

VOLUME = "VOLUME"
"""Image Type, third value, of the levels of a pyramid (PS3.3 C.8.12.4.1.1); the others are below."""
IMAGE = "IMAGE"
"""Stands for a photograph, an endoscopic image and the like, which are no slides."""
_FLAVOURS = ("LABEL", "OVERVIEW", "THUMBNAIL", "LOCALIZER")

SLIDE_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.77.1.6",  # VL Whole Slide Microscopy Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.9",  # Confocal Microscopy Tiled Pyramidal Image Storage
    }
)
"""SOP classes of tiled images; those of the others have a total pixel matrix as well where they are tiled."""

LEAST_SPACING_MM = 1e-6
"""A nanometre: a pixel of light microscopy is some hundreds of them."""

_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class OpticalPath:
    """One item of the Optical Path Sequence (PS3.3 C.8.12.5).

    Attributes
    ----------
    identifier, description
        As the header has them; both may be empty.
    icc_profile
        Bytes of its ICC profile, empty where there is none.
    """

    identifier: str = ""
    description: str = ""
    icc_profile: bytes = b""

    @property
    def title(self) -> str:
        """For a person."""
        return self.description or self.identifier


@dataclass(frozen=True)
class Level:
    """One image of a slide.

    Attributes
    ----------
    files
        Of the instance; several for a concatenation, in its order.
    frame_offsets
        Number of frames of the whole before those of each file.
    sop_instance_uids
        Of the files.
    sop_class_uid
        Of all of them.
    flavour
        VOLUME, THUMBNAIL, LABEL or OVERVIEW; IMAGE for what is no slide.
    matrix
        Where its pixels lie. The z of its origin is in mm, and that of the first focal plane.
    optical_paths
        In the order of their sequence; at least one.
    focal_planes
        Number of focal planes that the header announces.
    plane_spacing
        mm between focal planes, 0 where the header does not say it.
    tiled_full
        Whether the frames are all tiles in a fixed order (PS3.3 C.7.6.17.3); otherwise each says its own position.
    is_tiled
        False for photographs, whose frames are images of their own.
    samples
        Of a pixel when it is loaded: 1, or 3 for RGB.
    bytes_per_sample
        Of a pixel when it is loaded.
    photometric_interpretation
        As stored.
    pyramid_uid
        Of the pyramid that it belongs to, empty where the header does not say it.
    warning
        What the header lacks and was guessed.
    header
        The dataset of the first file, without pixels.
    """

    files: tuple[str, ...]
    frame_offsets: tuple[int, ...]
    sop_instance_uids: tuple[str, ...]
    sop_class_uid: str
    flavour: str
    matrix: PixelMatrix
    optical_paths: tuple[OpticalPath, ...]
    focal_planes: int
    plane_spacing: float
    tiled_full: bool
    is_tiled: bool
    samples: int
    bytes_per_sample: int
    photometric_interpretation: str
    pyramid_uid: str
    warning: str
    header: Any

    def bytes_of(self, rows: int, columns: int, planes: int, paths: int) -> int:
        """Return the memory that so many pixels take."""
        return rows * columns * planes * paths * self.samples * self.bytes_per_sample

    @property
    def all_bytes(self) -> int:
        """Memory that all of it takes, as the header announces it."""
        return self.bytes_of(self.matrix.rows, self.matrix.columns, self.focal_planes, len(self.optical_paths))

    @property
    def size(self) -> str:
        """Columns, rows and spacing for a person."""
        spacing = max(self.matrix.spacing)
        length = f"{spacing * 1e3:.3g} um" if spacing < 0.1 else f"{spacing:.3g} mm"
        return f"{self.matrix.columns} x {self.matrix.rows}, {length}"


def read_levels(files: Sequence[str]) -> tuple[list[Level], list[DicomBridgeError]]:
    """Return what the files are images of, and the errors of those that cannot be understood.

    Files of other SOP classes are passed over. Only headers are read.
    """
    from dicombridge.multiframe import read_header

    groups: dict[str, list[tuple[str, Any]]] = {}
    errors: list[DicomBridgeError] = []
    for file in map(str, files):
        try:
            with reading(file):
                header = read_header(file)
                if str(header.get("SOPClassUID") or "") in kind_named("SLIDE").sop_classes:
                    groups.setdefault(str(header.get("ConcatenationUID") or file), []).append((file, header))
        except DicomBridgeError as error:
            errors.append(error)
    levels = []
    for group in groups.values():
        try:
            with reading(group[0][0]):
                levels.append(_level(group))
        except DicomBridgeError as error:
            errors.append(error)
    return levels, errors


def _level(group: Sequence[tuple[str, Any]]) -> Level:
    parts = sorted(group, key=lambda part: _whole(part[1], "ConcatenationFrameOffsetNumber", 0, least=0))
    first, header = parts[0]
    sop_class_uid = str(header.get("SOPClassUID"))
    is_tiled = sop_class_uid in SLIDE_CLASSES or "TotalPixelMatrixRows" in header
    planes = _whole(header, "TotalPixelMatrixFocalPlanes", 1) if is_tiled else _whole(header, "NumberOfFrames", 1)
    matrix, warnings = _matrix(header, is_tiled)
    samples, size = _pixel_size(first, header)
    return Level(
        files=tuple(file for file, _ in parts),
        frame_offsets=tuple(_whole(one, "ConcatenationFrameOffsetNumber", 0, least=0) for _, one in parts),
        sop_instance_uids=tuple(str(one.get("SOPInstanceUID") or "") for _, one in parts),
        sop_class_uid=sop_class_uid,
        flavour=_flavour(header, is_tiled),
        matrix=matrix,
        optical_paths=_optical_paths(header),
        focal_planes=planes,
        plane_spacing=_plane_spacing(header),
        tiled_full=str(header.get("DimensionOrganizationType") or "").upper() == "TILED_FULL",
        is_tiled=is_tiled,
        samples=samples,
        bytes_per_sample=size,
        photometric_interpretation=str(header.get("PhotometricInterpretation") or "").upper(),
        pyramid_uid=str(header.get("PyramidUID") or ""),
        warning=" ".join(warnings),
        header=header,
    )


def _whole(header: Any, keyword: str, otherwise: int, least: int = 1) -> int:
    value = number_of(header, keyword)
    return otherwise if value is None or value < least or value != int(value) else int(value)


def _flavour(header: Any, is_tiled: bool) -> str:
    if not is_tiled:
        return IMAGE
    image_type = header.get("ImageType") or ()
    values = [image_type] if isinstance(image_type, str) else [str(value).upper() for value in image_type]
    return next((flavour for flavour in _FLAVOURS if flavour in values), VOLUME)


def _pixel_size(file: str, header: Any) -> tuple[int, int]:
    """Return samples and bytes a sample of a pixel as it is loaded: palettes and YBR become RGB."""
    photometric = str(header.get("PhotometricInterpretation") or "").upper()
    samples = _whole(header, "SamplesPerPixel", 1)
    if samples not in (1, 3):
        raise UnreadableError(file, f"has {samples} samples per pixel, where 1 or 3 are expected.")
    allocated = _whole(header, "BitsAllocated", 0)
    if allocated not in (8, 16, 32):
        raise UnreadableError(file, f"has {allocated} bits allocated, where 8, 16 or 32 are expected.")
    return (3, 1) if photometric == "PALETTE COLOR" else (samples, allocated // 8)


def _optical_paths(header: Any) -> tuple[OpticalPath, ...]:
    top = bytes(header.get("ICCProfile") or b"")
    paths = []
    for item in items_of(header, "OpticalPathSequence"):
        profile = bytes(item.get("ICCProfile") or b"") or top
        description = one_line(str(item.get("OpticalPathDescription") or ""))
        paths.append(OpticalPath(one_line(str(item.get("OpticalPathIdentifier") or "")), description, profile))
    return tuple(paths) or (OpticalPath(icc_profile=top),)


# --- Where the pixels lie ------------------------------------------------------------------------------------------


def _shared(header: Any, macro: str) -> Dataset | None:
    groups = items_of(header, "SharedFunctionalGroupsSequence")
    return next(iter(items_of(groups[0], macro)), None) if groups else None


def _plane_spacing(header: Any) -> float:
    """Return the only thing that says where the planes of a TILED_FULL image lie (PS3.3 C.7.6.17.3)."""
    measures = _shared(header, "PixelMeasuresSequence")
    spacing = number_of(measures, "SpacingBetweenSlices") if measures is not None else None
    return spacing if spacing is not None and plausible(spacing) and spacing > 0 else 0.0


def _numbers(values: Any, count: int, least: float | None = None) -> tuple[float, ...] | None:
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    if len(found) != count or not plausible(found) or (least is not None and min(found) < least):
        return None
    return found


def _matrix(header: Any, is_tiled: bool) -> tuple[PixelMatrix, list[str]]:
    """Return the total pixel matrix, and what was guessed for it."""
    warnings: list[str] = []
    tile_rows, tile_columns = (_whole(header, keyword, 0) for keyword in ("Rows", "Columns"))
    rows, columns = tile_rows, tile_columns
    if is_tiled:
        (rows, columns), warnings = _total(header, (tile_rows, tile_columns))
    if not (rows and columns and tile_rows and tile_columns):
        raise GeometryError("the slide cannot be placed: its header lacks size of its total pixel matrix")
    spacing = _spacing(header)
    if spacing is None:
        spacing = _guessed_spacing(header, rows, columns)
        warnings.append(f"The header lacks the pixel spacing; {_listed(spacing)} mm was taken.")
    orientation = _numbers(header.get("ImageOrientationSlide"), 6)
    if orientation is None:
        orientation = _IDENTITY
        warnings.append(f"The header lacks the orientation; {_listed(orientation)} was taken.")
    origin = _origin(header) or _centred(header, rows, columns, spacing, orientation)
    if origin is None:
        origin = 0.0, 0.0, 0.0
        warnings.append("The header does not say where on the slide it lies; its first pixel was put at the origin.")
    x, y, z = origin
    frame = str(header.get("FrameOfReferenceUID") or "")
    place = (x, y, z), orientation, (spacing[0], spacing[1]), frame
    return PixelMatrix(rows, columns, tile_rows, tile_columns, *place), warnings


def _total(header: Any, tile: tuple[int, int]) -> tuple[list[int], list[str]]:
    """Return rows and columns of the total pixel matrix, 0 where they are not known, and what was guessed."""
    sizes, warnings = [], []
    for keyword, of_tile in zip(("TotalPixelMatrixRows", "TotalPixelMatrixColumns"), tile, strict=True):
        size = _whole(header, keyword, 0)
        if not size and _whole(header, "NumberOfFrames", 1) == 1:
            size = of_tile
            warnings.append(f"The header lacks {keyword}; that of its single tile was taken.")
        sizes.append(size)
    return sizes, warnings


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _spacing(header: Any) -> tuple[float, ...] | None:
    measures = _shared(header, "PixelMeasuresSequence")
    for source, keyword in ((measures, "PixelSpacing"), (header, "PixelSpacing"), (header, "ImagerPixelSpacing")):
        found = _numbers(source.get(keyword), 2, LEAST_SPACING_MM) if source is not None else None
        if found is not None:
            return found
    return None


def _guessed_spacing(header: Any, rows: int, columns: int) -> tuple[float, ...]:
    """Return the extent of the imaged volume over its pixels, else 1 mm."""
    height, width = number_of(header, "ImagedVolumeHeight"), number_of(header, "ImagedVolumeWidth")
    found = _numbers((height / rows, width / columns), 2, LEAST_SPACING_MM) if height and width else None
    return found or (1.0, 1.0)


def _offsets(item: Dataset | None) -> tuple[float, ...] | None:
    """Return x, y, z (mm) on the slide; z may be absent."""
    if item is None:
        return None
    x, y, z = (number_of(item, f"{axis}OffsetInSlideCoordinateSystem") for axis in "XYZ")
    return None if x is None or y is None else _numbers((x, y, (z or 0.0) * MM_PER_Z_UNIT), 3)


def _origin(header: Any) -> tuple[float, ...] | None:
    return _offsets(next(iter(items_of(header, "TotalPixelMatrixOriginSequence")), None))


def _centred(
    header: Any, rows: int, columns: int, spacing: Sequence[float], orientation: Sequence[float]
) -> tuple[float, ...] | None:
    """Return the first pixel's centre of an image whose own centre is known (PS3.3 C.8.12.2)."""
    centre = _offsets(next(iter(items_of(header, "ImageCenterPointCoordinatesSequence")), None))
    if centre is None:
        return None
    directions: NDArray[np.float64] = np.array(orientation, dtype=float)
    along_row = directions[:3] * spacing[1] * (columns - 1) / 2
    along_column = directions[3:] * spacing[0] * (rows - 1) / 2
    return _numbers(np.asarray(centre) - along_row - along_column, 3)
