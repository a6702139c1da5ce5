"""Slides, and tiled segmentations and parametric maps on them, made by highdicom and element by element."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import VLWholeSlideMicroscopyImageStorage, generate_uid

from support.items import code
from support.pm_objects import mapping_item
from support.seg_objects import dataset_of_class, decimal, decimals, segment_item

UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
TURNED = (0.0, -1.0, 0.0, -1.0, 0.0, 0.0)
"""As most scanners write it: rows run along -y, columns along -x."""
SPACING = (0.0005, 0.00025)
"""mm between rows, between columns."""
ORIGIN = (20.0, 30.0)
SEGMENTATIONS = {
    "BINARY": "1.2.840.10008.5.1.4.1.1.66.4",
    "FRACTIONAL": "1.2.840.10008.5.1.4.1.1.66.4",
    "LABELMAP": "1.2.840.10008.5.1.4.1.1.66.7",
}


def slide(
    shape: tuple[int, int] = (50, 70),
    tile: tuple[int, int] = (16, 24),
    *,
    orientation: Sequence[float] = TURNED,
    organization: str = "TILED_FULL",
    planes: int = 1,
    paths: Sequence[str] = ("1",),
    **attributes: Any,
) -> Dataset:
    """Return a whole slide image without colour; where it is TILED_SPARSE, its tiles are written the last one first.

    Focal planes are 1.5 micrometres apart; optical paths are named.
    """
    dataset = dataset_of_class(VLWholeSlideMicroscopyImageStorage)
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), "SM"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.PositionReferenceIndicator = 1, 1, "SLIDE_CORNER"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Test", "Model"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", "1"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.AcquisitionDateTime, dataset.ContentDate, dataset.ContentTime = "20240102101112", "20240102", "101112"
    dataset.ContainerIdentifier, dataset.IssuerOfTheContainerIdentifierSequence = "S-1", []
    dataset.ContainerTypeCodeSequence = [code("433466003", "SCT", "Microscope slide")]
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "S-1", "1.2.3.4"
    specimen.IssuerOfTheSpecimenIdentifierSequence, specimen.SpecimenPreparationSequence = [], []
    dataset.SpecimenDescriptionSequence = [specimen]
    dataset.OpticalPathSequence = [_path(name) for name in paths]
    dataset.NumberOfOpticalPaths = len(paths)
    set_matrix(dataset, shape, tile, orientation, planes)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.LossyImageCompression = 7, "00"
    dataset.DimensionOrganizationType = organization
    frames = [
        (path, 1.5 * plane, corner) for path in paths for plane in range(planes) for corner in corners_of(shape, tile)
    ]
    dataset.NumberOfFrames = len(frames)
    if organization != "TILED_FULL":
        groups = [_position(dataset, *corner, height) for _, height, corner in reversed(frames)]
        for (path, _, _), group in zip(reversed(frames), groups, strict=True):
            group.OpticalPathIdentificationSequence = [_path(path)]
        dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.PixelData = bytes(len(frames) * tile[0] * tile[1])
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _path(name: str) -> Dataset:
    item = Dataset()
    item.OpticalPathIdentifier = name
    return item


def set_matrix(
    dataset: Dataset,
    shape: tuple[int, int],
    tile: tuple[int, int],
    orientation: Sequence[float] = TURNED,
    planes: int = 1,
    step_um: float = 1.5,
) -> None:
    """Set the attributes of the total pixel matrix and of its place on the slide."""
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = shape
    dataset.Rows, dataset.Columns = tile
    dataset.TotalPixelMatrixFocalPlanes = planes
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = map(decimal, ORIGIN)
    dataset.TotalPixelMatrixOriginSequence = [origin]
    dataset.ImageOrientationSlide = decimals(orientation)
    measures, shared = Dataset(), Dataset()
    measures.SliceThickness, measures.PixelSpacing = "0.005", decimals(SPACING)
    if planes > 1:
        measures.SpacingBetweenSlices = decimal(step_um / 1000)
    shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]


def corners_of(shape: tuple[int, int], tile: tuple[int, int]) -> list[tuple[int, int]]:
    """Row and column, from 0, of all tiles in the order of TILED_FULL."""
    return [(row, column) for row in range(0, shape[0], tile[0]) for column in range(0, shape[1], tile[1])]


def affine_of(dataset: Dataset) -> NDArray[np.float64]:
    """(3, 3): column and row from the centre of the first pixel, 1 -> slide mm; arithmetic of its own."""
    orientation = np.array([float(value) for value in dataset.ImageOrientationSlide])
    spacing = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    return np.stack([orientation[:3] * float(spacing[1]), orientation[3:] * float(spacing[0]), [*ORIGIN, 0.0]], axis=1)


def _position(dataset: Dataset, row: int, column: int, height_um: float) -> Dataset:
    x, y, _ = affine_of(dataset) @ [column, row, 1]
    position, groups = Dataset(), Dataset()
    position.XOffsetInSlideCoordinateSystem, position.YOffsetInSlideCoordinateSystem = decimal(x), decimal(y)
    position.ZOffsetInSlideCoordinateSystem = decimal(height_um)
    position.ColumnPositionInTotalImagePixelMatrix = column + 1
    position.RowPositionInTotalImagePixelMatrix = row + 1
    groups.PlanePositionSlideSequence = [position]
    return groups


def cut(matrix: NDArray[Any], tile: tuple[int, int], row: int, column: int) -> NDArray[Any]:
    """A tile of a matrix; beyond its edge it is 0."""
    image = np.zeros(tile, matrix.dtype)
    part = matrix[row : row + tile[0], column : column + tile[1]]
    image[: part.shape[0], : part.shape[1]] = part
    return image


# --- Segmentations ---------------------------------------------------------------------------------------------------


def masks(shape: tuple[int, int] = (50, 70), overlapping: bool = True) -> NDArray[np.uint8]:
    """(rows, columns, 3) of 0 and 1: blobs over several tiles, one at the far edge; the first two may overlap."""
    found = np.zeros((*shape, 3), np.uint8)
    found[5:30, 10:40, 0] = 1
    found[20:45, 15:20, 1] = 1
    if not overlapping:
        found[..., 1] &= 1 - found[..., 0]
    found[shape[0] - 3 :, shape[1] - 7 :, 2] = 1
    return found


def by_highdicom(
    source: Dataset, kind: str, pixels: NDArray[Any], organization: str = "TILED_SPARSE", **options: Any
) -> Any:
    """Return a segmentation of a slide as highdicom writes it from (rows, columns, segments)."""
    descriptions = [
        hd.seg.SegmentDescription(
            number,
            f"Label {number}",
            code_of("123037004", "SCT", "Anatomical Structure"),
            code_of("10200004", "SCT", "Liver"),
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, pixels.shape[-1] + 1)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hd.seg.Segmentation(
            source_images=[source],
            pixel_array=pixels[None],
            segmentation_type=kind,
            segment_descriptions=descriptions,
            series_instance_uid=generate_uid(),
            series_number=2,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="M",
            manufacturer_model_name="N",
            software_versions="1",
            device_serial_number="1",
            tile_pixel_array=True,
            tile_size=(source.Rows, source.Columns),
            dimension_organization_type=organization,
            omit_empty_frames=organization == "TILED_SPARSE",
            **options,
        )


def code_of(value: str, scheme: str, meaning: str) -> Any:
    return hd.sr.CodedConcept(value, scheme, meaning)


def by_hand(
    kind: str,
    matrices: NDArray[Any],
    tile: tuple[int, int] = (16, 24),
    *,
    organization: str = "TILED_SPARSE",
    orientation: Sequence[float] = TURNED,
    heights_um: Sequence[float] = (0.0,),
    numbers: Sequence[int] = (),
    keep: Callable[[int, int], bool] = lambda row, column: True,
    **attributes: Any,
) -> Dataset:
    """Return a segmentation of a slide.

    Parameters
    ----------
    matrices
        (segments, planes, rows, columns) of what is stored; of label maps (1, planes, rows, columns).
    heights_um
        Z of each focal plane.
    keep
        Whether a sparse tile at a row and column is written.
    """
    shape = matrices.shape[-2:]
    dataset = dataset_of_class(SEGMENTATIONS[kind])
    dataset.SeriesInstanceUID, dataset.Modality, dataset.SeriesNumber = generate_uid(), "SEG", 2
    dataset.ContentLabel, dataset.SegmentationType = "TILES", kind
    step = heights_um[1] - heights_um[0] if len(heights_um) > 1 else 0.0
    set_matrix(dataset, shape, tile, orientation, len(heights_um), step)
    numbers = numbers or range(1, (int(matrices.max()) if kind == "LABELMAP" else len(matrices)) + 1)
    dataset.SegmentSequence = [segment_item(number) for number in numbers]
    frames, groups = [], []
    for number, of_segment in zip([0] if kind == "LABELMAP" else numbers, matrices, strict=True):
        for height, plane in zip(heights_um, of_segment, strict=True):
            for row, column in corners_of(shape, tile):
                if organization == "TILED_SPARSE" and not keep(row, column):
                    continue
                frames.append(cut(plane, tile, row, column))
                group = _position(dataset, row, column, height)
                if number:
                    named = Dataset()
                    named.ReferencedSegmentNumber = number
                    group.SegmentIdentificationSequence = [named]
                groups.append(group)
    dataset.DimensionOrganizationType = organization
    if organization == "TILED_SPARSE":
        dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.NumberOfFrames = bits - 1, len(frames)
    if kind == "FRACTIONAL":
        dataset.SegmentationFractionalType, dataset.MaximumFractionalValue = "PROBABILITY", 255
    stored = np.array(frames, np.uint8)
    content = np.packbits(stored.ravel(), bitorder="little").tobytes() if bits == 1 else stored.tobytes()
    dataset.PixelData = content + bytes(len(content) % 2)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


# --- Parametric maps -------------------------------------------------------------------------------------------------


def map_by_hand(
    matrices: NDArray[Any],
    tile: tuple[int, int] = (16, 24),
    *,
    organization: str = "TILED_SPARSE",
    orientation: Sequence[float] = TURNED,
    heights_um: Sequence[float] = (0.0,),
    keep: Callable[[int, int], bool] = lambda row, column: True,
    mapping: Dataset | None = None,
    **attributes: Any,
) -> Dataset:
    """Return a parametric map of a slide from (planes, rows, columns) of stored values."""
    dataset = dataset_of_class("1.2.840.10008.5.1.4.1.1.30")
    dataset.SeriesInstanceUID, dataset.Modality, dataset.SeriesNumber = generate_uid(), "OT", 3
    dataset.ContentLabel, dataset.ImageType = "MAP", ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]
    shape = matrices.shape[-2:]
    step = heights_um[1] - heights_um[0] if len(heights_um) > 1 else 0.0
    set_matrix(dataset, shape, tile, orientation, len(heights_um), step)
    dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = [mapping or mapping_item()]
    frames, groups = [], []
    for height, plane in zip(heights_um, matrices, strict=True):
        for row, column in corners_of(shape, tile):
            if organization == "TILED_FULL" or keep(row, column):
                frames.append(cut(plane, tile, row, column))
                groups.append(_position(dataset, row, column, height))
    dataset.DimensionOrganizationType = organization
    if organization == "TILED_SPARSE":
        dataset.PerFrameFunctionalGroupsSequence = groups
        _set_dimensions(dataset)
    bits = 8 * matrices.dtype.itemsize
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.NumberOfFrames = bits, len(frames)
    if matrices.dtype.kind != "f":
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    keyword = {"f4": "FloatPixelData", "f8": "DoubleFloatPixelData"}.get(matrices.dtype.str[1:], "PixelData")
    setattr(dataset, keyword, np.array(frames).tobytes())
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def _set_dimensions(dataset: Dataset) -> None:
    """Index tiles by row and column, without which highdicom reads no total pixel matrix."""
    items = []
    for pointer in (0x0048021F, 0x0048021E):
        index = Dataset()
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, 0x0048021A
        items.append(index)
    dataset.DimensionIndexSequence = items
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        position, content = groups.PlanePositionSlideSequence[0], Dataset()
        row, column = position.RowPositionInTotalImagePixelMatrix, position.ColumnPositionInTotalImagePixelMatrix
        content.DimensionIndexValues = [row // dataset.Rows + 1, column // dataset.Columns + 1]
        groups.FrameContentSequence = [content]


def write(dataset: Dataset, directory: Path, name: str) -> Path:
    """Write an object; its folder is made."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    if not hasattr(dataset, "file_meta"):
        raise ValueError("a dataset without file meta information")
    dataset.save_as(path, enforce_file_format=True)
    return path
